//! The Import API of the project. It shares token and budget with the HTTP API.

use reqwest::Method;
use serde_json::json;

use super::{Client, encoded, parsed, query_string, written};
use crate::commercetools::import_api::{ImportOperations, ImportResponse, InventoryImportRequest, container};
use crate::remote::Error;

/// Largest page of operations.
pub const OPERATIONS: usize = 500;

impl Client {
    /// `POST /import-containers`; one that exists already serves as well.
    ///
    /// # Errors
    /// As the error table says; 403 without the scope.
    pub async fn make_container(&self, key: &str) -> Result<(), Error> {
        let url = format!("{}/import-containers", self.project.import_root);
        match self.send_to("POST /import-containers", Method::POST, url, Some(&container(key))).await {
            Ok(_) => Ok(()),
            Err(error) if error.code == "DuplicateField" => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// `POST /inventories/import-containers/{key}`. Sent twice it does the same twice.
    ///
    /// # Errors
    /// As the error table says.
    pub async fn import_inventory(
        &self,
        container: &str,
        request: &InventoryImportRequest,
    ) -> Result<ImportResponse, Error> {
        let operation = "POST /inventories/import-containers/{key}";
        let url = format!("{}/inventories/import-containers/{}", self.project.import_root, encoded(container));
        let answer = self.send_to(operation, Method::POST, url, Some(&json!(request))).await?;
        written(operation, &answer)
    }

    /// `GET /import-containers/{key}/import-operations`, by id; those from `offset` on, at most 500.
    ///
    /// # Errors
    /// As the error table says.
    pub async fn import_operations(&self, container: &str, offset: usize) -> Result<ImportOperations, Error> {
        let operation = "GET /import-containers/{key}/import-operations";
        let (limit, offset) = (OPERATIONS.to_string(), offset.to_string());
        let query = query_string(&[("limit", &limit), ("offset", &offset), ("sort", "id asc")]);
        let path = format!("import-containers/{}/import-operations{query}", encoded(container));
        let url = format!("{}/{path}", self.project.import_root);
        parsed(operation, &self.send_to(operation, Method::GET, url, None).await?)
    }
}
