//! Inventory entries: what is read of them, and what is written (platform-commercetools A9).

use serde::{Deserialize, Serialize};

use super::action::ResourceIdentifier;

/// An entry as read. There is at most one of a SKU in a Channel.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InventoryEntry {
    pub id: String,
    pub version: i64,
    pub key: Option<String>,
    pub sku: String,
    pub quantity_on_stock: i64,
}

/// A new entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InventoryEntryDraft {
    /// 2 to 256 letters, digits, `_` and `-`; unique in the project.
    pub key: String,
    pub sku: String,
    pub supply_channel: ResourceIdentifier,
    pub quantity_on_stock: i64,
}

/// The one thing that is changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "action", rename_all = "camelCase")]
pub enum InventoryAction {
    /// An absolute value.
    ChangeQuantity { quantity: i64 },
}
