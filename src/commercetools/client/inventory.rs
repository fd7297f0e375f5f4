//! Inventory entries: look-ups in bulk, one write per entry (A9: the HTTP API has no bulk write).

use reqwest::Method;
use serde_json::json;

use super::{Client, Page, Query};
use crate::commercetools::inventory::{InventoryAction, InventoryEntry, InventoryEntryDraft};
use crate::remote::Error;

/// Most SKUs of one query: more would make the URL too long (A2).
const SKUS: usize = 100;
/// Largest page (A2).
pub const PAGE: u16 = 500;

impl Client {
    /// `GET /inventory/{id}`; `None` = 404.
    ///
    /// # Errors
    /// As the error table says.
    pub async fn inventory_entry(&self, id: &str) -> Result<Option<InventoryEntry>, Error> {
        self.find("GET /inventory/{id}", &format!("/inventory/{id}"), &[]).await
    }

    /// The entries of these SKUs in the Channel with this id.
    ///
    /// # Errors
    /// As the error table says.
    pub async fn inventory_of(&self, channel: &str, skus: &[&str]) -> Result<Vec<InventoryEntry>, Error> {
        let mut entries = Vec::new();
        for skus in skus.chunks(SKUS) {
            let quoted: Vec<String> = skus.iter().map(|sku| serde_json::Value::from(*sku).to_string()).collect();
            let query = Query {
                predicates: vec![format!("supplyChannel(id = :c) and sku in ({})", quoted.join(", "))],
                variables: vec![("c".into(), channel.to_owned())],
                sort: vec![],
                limit: PAGE,
            };
            entries.extend(self.query::<InventoryEntry>("GET /inventory", &query).await?.results);
        }
        Ok(entries)
    }

    /// The next entries of a Channel behind an id, in the platform's order of ids.
    ///
    /// # Errors
    /// As the error table says.
    pub async fn inventory_page(&self, channel: &str, last: Option<&str>) -> Result<Page<InventoryEntry>, Error> {
        let mut query = Query {
            predicates: vec!["supplyChannel(id = :c)".into()],
            variables: vec![("c".into(), channel.to_owned())],
            sort: vec!["id asc".into()],
            limit: PAGE,
        };
        if let Some(last) = last {
            query.predicates.push("id > :last".into());
            query.variables.push(("last".into(), last.to_owned()));
        }
        self.query("GET /inventory", &query).await
    }

    /// `POST /inventory`. A SKU that has an entry in the Channel, and a key that is taken, are refused with
    /// `DuplicateField`.
    ///
    /// # Errors
    /// As the error table says.
    pub async fn create_inventory_entry(&self, draft: &InventoryEntryDraft) -> Result<InventoryEntry, Error> {
        self.create("POST /inventory", "/inventory", draft).await
    }

    /// `POST /inventory/{id}`, guarded by `version`.
    ///
    /// # Errors
    /// As the error table says.
    pub async fn set_quantity(&self, id: &str, version: i64, quantity: i64) -> Result<InventoryEntry, Error> {
        let body = json!({"version": version, "actions": [InventoryAction::ChangeQuantity { quantity }]});
        self.create("POST /inventory/{id}", &format!("/inventory/{id}"), &body).await
    }

    /// `DELETE /inventory/{id}`, guarded by `version`; `false` = there is none.
    ///
    /// # Errors
    /// As the error table says.
    pub async fn delete_inventory_entry(&self, id: &str, version: i64) -> Result<bool, Error> {
        let version = version.to_string();
        let path = format!("/inventory/{id}");
        match self.send("DELETE /inventory/{id}", Method::DELETE, &path, &[("version", version.as_str())], None).await {
            Ok(_) => Ok(true),
            Err(error) if error.status == 404 => Ok(false),
            Err(error) => Err(error),
        }
    }
}
