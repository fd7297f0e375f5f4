//! Channels: reading one as it is now, creating, updating.

use reqwest::Method;
use serde::Serialize;
use serde_json::json;

use super::{Client, encoded, written};
use crate::commercetools::channel::{Channel, ChannelAction, ChannelDraft};
use crate::remote::Error;

impl Client {
    /// `GET /channels/key={key}`, as it is now; `None` = 404.
    ///
    /// # Errors
    /// As the error table says.
    pub async fn channel(&self, key: &str) -> Result<Option<Channel>, Error> {
        self.find("GET /channels/key={key}", &format!("/channels/key={}", encoded(key)), &[]).await
    }

    /// `POST /channels`. A key that is taken is refused with `DuplicateField`.
    ///
    /// # Errors
    /// As the error table says.
    pub async fn create_channel(&self, draft: &ChannelDraft) -> Result<Channel, Error> {
        self.create("POST /channels", "/channels", draft).await
    }

    /// `POST /channels/{id}`: all actions or none, guarded by `version`.
    ///
    /// # Errors
    /// As the error table says.
    pub async fn update_channel(&self, id: &str, version: i64, actions: &[ChannelAction]) -> Result<Channel, Error> {
        let body = json!({"version": version, "actions": actions});
        self.create("POST /channels/{id}", &format!("/channels/{id}"), &body).await
    }

    /// Sends a body. An answer that cannot be read leaves it open whether it was done.
    pub(super) async fn create<T: serde::de::DeserializeOwned>(
        &self,
        operation: &'static str,
        path: &str,
        body: &(impl Serialize + Sync),
    ) -> Result<T, Error> {
        let answer = self.send(operation, Method::POST, path, &[], Some(&json!(body))).await?;
        written(operation, &answer)
    }
}
