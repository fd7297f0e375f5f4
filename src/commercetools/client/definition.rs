//! What a project defines, as it is now: Types, Channels, States, Subscriptions and its settings.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{Client, Query, encoded};
use crate::commercetools::definition::{Collection, DefinitionAction};
use crate::remote::Error;

/// Rows of one page (A2).
const PAGE: u16 = 500;

impl Client {
    /// The definition with this key, as it is now; `None` = 404.
    ///
    /// # Errors
    /// As the error table says.
    pub async fn definition<T: DeserializeOwned>(&self, of: Collection, key: &str) -> Result<Option<T>, Error> {
        let operation = match of {
            Collection::Types => "GET /types/key={key}",
            Collection::Channels => "GET /channels/key={key}",
            Collection::States => "GET /states/key={key}",
            Collection::Subscriptions => "GET /subscriptions/key={key}",
        };
        self.find(operation, &format!("/{}/key={}", of.path(), encoded(key)), &[]).await
    }

    /// All definitions of a kind.
    ///
    /// # Errors
    /// As the error table says.
    pub async fn definitions<T: DeserializeOwned>(&self, of: Collection) -> Result<Vec<T>, Error> {
        let collection = match of {
            Collection::Types => "GET /types",
            Collection::Channels => "GET /channels",
            Collection::States => "GET /states",
            Collection::Subscriptions => "GET /subscriptions",
        };
        let mut query = Query { sort: vec!["id asc".into()], limit: PAGE, ..Query::default() };
        let mut found = Vec::new();
        loop {
            let page = self.query::<Value>(collection, &query).await?.results;
            let last = page.last().and_then(|row| row["id"].as_str()).map(str::to_owned);
            let is_last = page.len() < usize::from(PAGE);
            for row in page {
                found.push(parsed_row(collection, row)?);
            }
            match last.filter(|_| !is_last) {
                None => return Ok(found),
                Some(last) => {
                    query.predicates = vec!["id > :last".into()];
                    query.variables = vec![("last".into(), last)];
                }
            }
        }
    }

    /// `POST /{collection}`. A key that is taken is refused with `DuplicateField`.
    ///
    /// # Errors
    /// As the error table says.
    pub async fn define(&self, of: Collection, draft: &(impl Serialize + Sync)) -> Result<(), Error> {
        let operation = match of {
            Collection::Types => "POST /types",
            Collection::Channels => "POST /channels",
            Collection::States => "POST /states",
            Collection::Subscriptions => "POST /subscriptions",
        };
        self.create::<Value>(operation, &format!("/{}", of.path()), draft).await.map(|_| ())
    }

    /// `POST /{collection}/{id}`: all actions or none, guarded by `version`.
    ///
    /// # Errors
    /// As the error table says.
    pub async fn redefine(
        &self,
        of: Collection,
        id: &str,
        version: i64,
        actions: &[DefinitionAction],
    ) -> Result<(), Error> {
        let operation = match of {
            Collection::Types => "POST /types/{id}",
            Collection::Channels => "POST /channels/{id}",
            Collection::States => "POST /states/{id}",
            Collection::Subscriptions => "POST /subscriptions/{id}",
        };
        let body = json!({"version": version, "actions": actions});
        self.create::<Value>(operation, &format!("/{}/{id}", of.path()), &body).await.map(|_| ())
    }

    /// `POST /{projectKey}`, guarded by `version`; needs `manage_project_settings`.
    ///
    /// # Errors
    /// As the error table says.
    pub async fn update_project(&self, version: i64, actions: &[DefinitionAction]) -> Result<(), Error> {
        let body = json!({"version": version, "actions": actions});
        self.create::<Value>("POST /{projectKey}", "", &body).await.map(|_| ())
    }
}

fn parsed_row<T: DeserializeOwned>(operation: &str, row: Value) -> Result<T, Error> {
    serde_json::from_value(row).map_err(|error| super::unreadable(operation, 200, &error))
}
