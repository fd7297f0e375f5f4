//! Stock, Fluent → commercetools: a virtual position is the quantity of an InventoryEntry (F 4).
//!
//! `job.inventory-sync` (in `delta`) looks for changed positions, `job.inventory-full-sync` (in `full`)
//! compares all positions of a pair with all entries of its Channel. Both are runs in pages: a page of a
//! source is written down beside what the target has (`read`), then what differs is written page by page,
//! what fell to 0 first (`write`, or `import` through the Import API). What is alone, and what fails in a
//! page, is a message of route `commercetools.set-inventory` (in `send`), subject
//! `inventory:<Channel key>:<sku>`. The pure part is [`stock`]. Field table: `docs/mapping/inventory.md`.

pub mod delta;
pub mod full;
pub mod import;
pub mod inbox;
pub mod page;
pub mod pair;
pub mod read;
pub mod run;
pub mod send;
pub mod write;
pub mod writer;

use serde::{Deserialize, Serialize};

use super::key::{fitting, key_of};
use super::text::{fill, present};
use crate::commercetools::import_api::InventoryImport;
use crate::commercetools::inventory::InventoryEntryDraft;
use crate::config::model::{self, NullQuantity, Pair};
use crate::config::timing::Timing;
use crate::failure::Failure;
use crate::fluent::stock::Position;
use crate::queue::{Note, Routes};

/// Registers this flow's routes.
pub fn register(routes: &mut Routes) {
    routes.inbox("fluent.position-updated", inbox::receive).lane("stock");
    routes.outbox(SET_INVENTORY, send::send).lane("stock").wait_limit(|_| send::WAIT);
    routes.outbox(PAGE, page::page).lane("bulk");
    // One request of a run.
    routes.outbox(IMPORT, page::page).lane("bulk");
    routes.job("job.inventory-sync", delta::sync).timed(|connection| {
        let config = &connection.inventory;
        (config.enabled && config.poll.enabled && !config.pairs.is_empty()).then(|| Timing::every(config.poll.every))
    });
    routes.job("job.inventory-full-sync", full::sync).timed(|connection| {
        let config = &connection.inventory;
        let expression = config.full_sync.as_deref().filter(|_| config.enabled && !config.pairs.is_empty())?;
        // The check of the configuration refuses one that cannot be read.
        Timing::cron(expression, "UTC").ok()
    });
    routes.job("job.import-operation-sync", import::sync).timed(|connection| {
        let config = &connection.inventory;
        let imports = config.enabled && !config.pairs.is_empty() && config.write != model::StockWrite::Http;
        imports.then(|| Timing::every(import::EVERY))
    });
}

/// Mapping kind of positions.
pub const KIND: &str = "position";

const SET_INVENTORY: &str = "commercetools.set-inventory";
const PAGE: &str = "commercetools.set-inventory-page";
const IMPORT: &str = "commercetools.import-inventory";
/// Routes of the pages of a run.
const PAGES: [&str; 2] = [PAGE, IMPORT];
const URGENT: &str = "stock-urgent";

/// What one entry is to have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stock {
    pub catalogue: String,
    /// Ref of the position.
    pub reference: String,
    pub sku: String,
    /// Key of the Channel.
    pub channel: String,
    pub quantity: i64,
    pub updated_on: Option<String>,
}

impl Stock {
    /// How the pair of position and entry is known.
    pub fn fluent_ref(&self) -> String {
        fluent_ref(&self.catalogue, &self.reference)
    }

    /// What orders work on the entry.
    pub fn subject(&self) -> String {
        format!("inventory:{}:{}", self.channel, self.sku)
    }

    /// The entry when there is none yet.
    pub fn draft(&self) -> InventoryEntryDraft {
        InventoryEntryDraft {
            key: entry_key(&self.channel, &self.sku),
            sku: self.sku.clone(),
            supply_channel: crate::commercetools::import_api::channel(&self.channel),
            quantity_on_stock: self.quantity,
        }
    }

    /// The entry on its way through the Import API.
    pub fn import(&self) -> InventoryImport {
        let InventoryEntryDraft { key, sku, supply_channel, quantity_on_stock } = self.draft();
        InventoryImport { key, sku, quantity_on_stock, supply_channel }
    }
}

/// A position's ref is unique in its catalogue only.
pub fn fluent_ref(catalogue: &str, reference: &str) -> String {
    format!("{catalogue}/{reference}")
}

/// The key of an entry of ours; one of somebody else keeps its own.
pub fn entry_key(channel: &str, sku: &str) -> String {
    let whole = format!("{channel}_{}", key_of(sku));
    fitting(whole, &format!("{channel} {sku}"))
}

/// What a position of a pair means for the entry in this Channel (F 4.3, 4.4); `None` = nothing.
///
/// # Errors
/// Rejected if it names no product.
pub fn stock(
    position: &Position,
    pair: &Pair,
    channel: &str,
    config: &model::Inventory,
    notes: &mut Vec<Note>,
) -> Result<Option<Stock>, Failure> {
    let (reference, catalogue) = (&position.reference, &pair.virtual_catalogue);
    let sku = sku(position, catalogue, config)?;
    let mut note = |code: &'static str, what: String| {
        let sentence =
            format!("position {reference} of catalogue {catalogue} has {what}; 0 was written to Channel {channel}.");
        notes.push(Note::new(code, sentence));
    };
    let is_zero = position.status.as_ref().is_some_and(|status| config.zero_statuses.contains(status));
    let available = match position.quantity {
        _ if is_zero => 0,
        None if config.null_quantity == NullQuantity::Skip => return Ok(None),
        None => {
            note("inventory.null", "no quantity".to_owned());
            0
        }
        Some(quantity) if quantity < 0 => {
            note("inventory.negative", format!("quantity {quantity}"));
            0
        }
        Some(quantity) => quantity,
    };
    let listed = pair.buffers.iter().find(|buffer| buffer.fits(&sku)).map(|buffer| buffer.buffer);
    let buffer = i64::try_from(listed.unwrap_or(pair.safety_buffer)).unwrap_or(i64::MAX);
    let quantity = available.saturating_sub(buffer).max(0).min(config.max_quantity.unwrap_or(i64::MAX));
    Ok(Some(Stock {
        catalogue: catalogue.clone(),
        reference: reference.clone(),
        sku,
        channel: channel.to_owned(),
        quantity,
        updated_on: position.updated_on.clone(),
    }))
}

/// The SKU that a position is about.
///
/// # Errors
/// Rejected if it names no product.
pub fn sku(position: &Position, catalogue: &str, config: &model::Inventory) -> Result<String, Failure> {
    let Some(product) = present(position.product_ref.as_deref()) else {
        let sentence = format!("position {} of catalogue {catalogue} names no product.", position.reference);
        return Err(Failure::rejected(sentence));
    };
    Ok(fill(&config.sku, |token| (token == "product_ref").then(|| product.trim().to_owned())))
}

/// What was written for a position that is gone.
pub fn disappeared(stock: &Stock) -> Note {
    let sentence = format!(
        "position {} is no longer in catalogue {}; quantity 0 was written for {} in Channel {}.",
        stock.reference, stock.catalogue, stock.sku, stock.channel
    );
    Note::new("inventory.disappeared", sentence)
}

/// What is remembered of a pair beside its identities; the quantity stands in its content hash.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Extra {
    pub channel: String,
    pub sku: String,
    pub updated_on: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::fixture::connection;
    use serde_json::{Value, json};

    fn quantity(changes: Value, pair: Value, config: Value) -> Option<(i64, Vec<&'static str>)> {
        let mut position =
            json!({"ref": "A:G", "type": "AGGREGATE", "status": "ACTIVE", "productRef": "A", "quantity": 10});
        for (name, value) in changes.as_object().unwrap() {
            position[name] = value.clone();
        }
        let mut whole = json!({"virtual_catalogue": "ATS:2", "channel": "c"});
        whole.as_object_mut().unwrap().extend(pair.as_object().unwrap().clone());
        let config = connection(&json!({"inventory": config})).inventory;
        let mut notes = Vec::new();
        let pair: Pair = serde_json::from_value(whole).unwrap();
        let position: Position = serde_json::from_value(position).unwrap();
        let stock = stock(&position, &pair, "c", &config, &mut notes).unwrap()?;
        Some((stock.quantity, notes.iter().map(|note| note.code).collect()))
    }

    #[test]
    fn buffers_and_the_greatest_quantity_apply_after_each_other() {
        let plain = |changes: Value, pair: Value, config: Value| quantity(changes, pair, config).unwrap().0;
        assert_eq!(plain(json!({}), json!({"safety_buffer": 3}), json!({})), 7);
        assert_eq!(plain(json!({}), json!({"safety_buffer": 30}), json!({})), 0);
        let buffers = json!({"safety_buffer": 3, "buffers": [{"sku": "A*", "buffer": 1}, {"sku": "*", "buffer": 9}]});
        assert_eq!(plain(json!({}), buffers, json!({})), 9);
        assert_eq!(plain(json!({}), json!({"safety_buffer": 3}), json!({"max_quantity": 5})), 5);
        assert_eq!(plain(json!({"quantity": i64::MAX}), json!({}), json!({})), i64::MAX);
    }

    #[test]
    fn what_is_no_quantity_is_none_or_left_alone() {
        assert_eq!(quantity(json!({"quantity": null}), json!({}), json!({})), Some((0, vec!["inventory.null"])));
        assert_eq!(quantity(json!({"quantity": null}), json!({}), json!({"null_quantity": "skip"})), None);
        assert_eq!(quantity(json!({"quantity": -1}), json!({}), json!({})), Some((0, vec!["inventory.negative"])));
        assert_eq!(quantity(json!({"status": "INACTIVE", "quantity": -1}), json!({}), json!({})), Some((0, vec![])));
    }

    #[test]
    fn entries_have_keys_of_channel_and_sku() {
        assert_eq!(entry_key("ct-fluent-channel", "SHIRT RED/L"), "ct-fluent-channel_SHIRT_x20RED_x2FL");
        assert_eq!(entry_key(&"c".repeat(256), "A").len(), 256);
        assert_ne!(entry_key(&"c".repeat(256), "A"), entry_key(&"c".repeat(256), "B"));
    }
}
