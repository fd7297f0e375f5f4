//! The Import API: many resources in one request, written later and without versions
//! (platform-commercetools A9). What becomes of a resource tells its import operation.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::action::ResourceIdentifier;

/// Most resources of one request.
pub const BATCH: usize = 20;
/// Operations of one container at most. 200,000 are advised, but no more than 10,500 can be listed again: an
/// offset ends at 10,000.
pub const CONTAINER: u64 = 10_000;

/// An entry on its way through the Import API, known by its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InventoryImport {
    pub key: String,
    pub sku: String,
    pub quantity_on_stock: i64,
    pub supply_channel: ResourceIdentifier,
}

/// One request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InventoryImportRequest {
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// At most [`BATCH`].
    pub resources: Vec<InventoryImport>,
}

impl InventoryImportRequest {
    /// A request for these entries.
    pub fn new(resources: Vec<InventoryImport>) -> Self {
        Self { kind: "inventory", resources }
    }
}

/// What a request answers: one status per resource, in their order.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImportResponse {
    pub operation_status: Vec<OperationStatus>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OperationStatus {
    /// Absent if the resource was not taken.
    pub operation_id: Option<String>,
    /// `processing` or `validationFailed`.
    pub state: String,
    #[serde(default)]
    pub errors: Vec<ImportError>,
}

/// What became of a resource.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImportOperation {
    pub id: String,
    pub resource_key: String,
    /// `processing`, `imported`, `unresolved`, `validationFailed`, `rejected`, `canceled` …
    pub state: String,
    #[serde(default)]
    pub errors: Vec<ImportError>,
}

/// Why not.
#[derive(Clone, Debug, Deserialize)]
pub struct ImportError {
    #[serde(default)]
    pub message: String,
}

/// A page of operations.
#[derive(Clone, Debug, Deserialize)]
pub struct ImportOperations {
    pub results: Vec<ImportOperation>,
}

/// The body that creates a container: what is in it goes after three days.
pub fn container(key: &str) -> Value {
    json!({
        "key": key, "resourceType": "inventory",
        "retentionPolicy": {"strategy": "ttl", "config": {"timeToLive": "72h"}},
    })
}

/// The reasons in one sentence.
pub fn reasons(errors: &[ImportError]) -> String {
    let sentences: Vec<&str> =
        errors.iter().map(|error| error.message.as_str()).filter(|text| !text.is_empty()).collect();
    match sentences.is_empty() {
        true => "no reason given".to_owned(),
        false => sentences.join("; "),
    }
}

/// The Channel that an imported entry belongs to.
pub fn channel(key: &str) -> ResourceIdentifier {
    ResourceIdentifier::channel(key)
}
