//! Writing one entry over plain HTTP (F 4.5): compare, change with the remembered version, look where that
//! fails, create where there is none.

use std::collections::HashMap;

use serde_json::json;

use super::{Extra, KIND, Stock};
use crate::app::Connection;
use crate::commercetools;
use crate::commercetools::inventory::{InventoryEntry, InventoryEntryDraft};
use crate::failure::{Class, Failure};
use crate::queue::Message;
use crate::remote::{Error, Kind};
use crate::store::Mapping;
use crate::sync::catalogue::set_extra;

/// Rounds of looking and writing while others change the same entry (F 4.5).
const ROUNDS: u32 = 5;

/// What is known of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub id: String,
    pub version: i64,
    pub key: Option<String>,
    pub quantity: i64,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// It has the quantity already.
    Kept(Entry),
    Wrote(Entry),
    /// There is none, and none is to be made for a quantity of 0.
    Nothing,
}

impl From<InventoryEntry> for Entry {
    fn from(entry: InventoryEntry) -> Self {
        let InventoryEntry { id, version, key, quantity_on_stock, .. } = entry;
        Self { id, version, key, quantity: quantity_on_stock }
    }
}

/// Writes entries of one Channel.
pub struct Writer {
    client: commercetools::Client,
    /// Id of the Channel.
    channel: String,
    create_zero: bool,
}

impl Writer {
    /// For the Channel with this id, on behalf of a message.
    pub fn new(connection: &Connection, message: &Message, channel: String) -> Self {
        let create_zero = connection.config.inventory.create_zero;
        Self { client: connection.commercetools.on(message.call()), channel, create_zero }
    }

    /// Makes sure that the entry has the quantity; `known` is what was last seen of it, if there is one. A
    /// second call finds it so and sends nothing.
    ///
    /// # Errors
    /// As the client says; a conflict when others keep changing it.
    pub async fn set(&self, stock: &Stock, known: Option<Entry>) -> Result<Written, Failure> {
        let mut entry = known;
        let mut wrote = false;
        for _ in 0..ROUNDS {
            let sent = match (request(stock, entry.as_ref(), self.create_zero), &entry) {
                (Request::Nothing, Some(entry)) if wrote => return Ok(Written::Wrote(entry.clone())),
                (Request::Nothing, Some(entry)) => return Ok(Written::Kept(entry.clone())),
                (Request::Nothing, None) => return Ok(Written::Nothing),
                (Request::Change { id, version, quantity }, _) => {
                    self.client.set_quantity(&id, version, quantity).await
                }
                (Request::Create(draft), _) => self.client.create_inventory_entry(&draft).await,
            };
            let error = match sent {
                Ok(entry) => return Ok(Written::Wrote(entry.into())),
                Err(error) => error,
            };
            if !is_worth_a_look(&error) {
                return Err(error.into());
            }
            wrote |= error.outcome_unknown();
            entry = match &entry {
                Some(Entry { id, .. }) if error.status != 404 => {
                    self.client.inventory_entry(id).await?.map(Entry::from)
                }
                _ => None,
            };
            if entry.is_none() {
                entry = self.find(&stock.sku).await?;
            }
        }
        let sentence =
            format!("The entry of {} in Channel {} was changed by others {ROUNDS} times.", stock.sku, stock.channel);
        Err(Failure::retry(Class::Conflict, sentence))
    }

    /// The entry of a SKU.
    ///
    /// # Errors
    /// As the client says.
    pub async fn find(&self, sku: &str) -> Result<Option<Entry>, Failure> {
        Ok(self.find_all(&[sku]).await?.remove(sku))
    }

    /// The entries of SKUs.
    ///
    /// # Errors
    /// As the client says.
    pub async fn find_all(&self, skus: &[&str]) -> Result<HashMap<String, Entry>, Failure> {
        let found = self.client.inventory_of(&self.channel, skus).await?;
        Ok(found.into_iter().map(|entry| (entry.sku.clone(), entry.into())).collect())
    }

    /// Takes an entry away.
    ///
    /// # Errors
    /// As the client says.
    pub async fn delete(&self, entry: &Entry) -> Result<(), Failure> {
        let mut version = entry.version;
        for _ in 0..ROUNDS {
            match self.client.delete_inventory_entry(&entry.id, version).await {
                Ok(_) => return Ok(()),
                Err(error) if !is_worth_a_look(&error) => return Err(error.into()),
                Err(_) => match self.client.inventory_entry(&entry.id).await? {
                    None => return Ok(()),
                    Some(fresh) => version = fresh.version,
                },
            }
        }
        Err(Failure::retry(Class::Conflict, format!("The entry {} was changed by others {ROUNDS} times.", entry.id)))
    }
}

/// What is to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    Create(InventoryEntryDraft),
    Change { id: String, version: i64, quantity: i64 },
    Nothing,
}

/// What makes the entry so as the position is; without one a shop may sell without limit, so that it is made
/// for a quantity of 0, too.
pub fn request(stock: &Stock, entry: Option<&Entry>, create_zero: bool) -> Request {
    let quantity = stock.quantity;
    match entry {
        Some(entry) if entry.quantity == quantity => Request::Nothing,
        Some(entry) => Request::Change { id: entry.id.clone(), version: entry.version, quantity },
        None if quantity == 0 && !create_zero => Request::Nothing,
        None => Request::Create(stock.draft()),
    }
}

/// Does what is there now tell how to go on?
fn is_worth_a_look(error: &Error) -> bool {
    matches!(error.kind, Kind::Temporary(Class::Conflict | Class::UnknownOutcome))
        || error.code == "DuplicateField"
        || error.status == 404
}

/// Is it the remote that fails, and not this one record?
pub fn is_general(failure: &Failure) -> bool {
    matches!(
        failure,
        Failure::Retry {
            class: Class::Network
                | Class::BreakerOpen
                | Class::WritesStopped
                | Class::RateLimited
                | Class::Server
                | Class::Unauthorized
                | Class::UnknownOutcome
                | Class::Store,
            ..
        }
    )
}

/// How an entry is known that the Import API makes: its id is not known yet.
pub fn placeholder(key: &str) -> String {
    format!("key={key}")
}

/// The entry that a pair remembers; `None` = it has to be looked up.
pub fn remembered(row: &Mapping) -> Option<Entry> {
    let quantity = row.content_hash.as_ref()?.parse().ok()?;
    let is_known = !row.commercetools_id.starts_with("key=") && row.commercetools_version > 0;
    is_known.then(|| Entry {
        id: row.commercetools_id.clone(),
        version: row.commercetools_version,
        key: row.commercetools_key.clone(),
        quantity,
    })
}

/// The pair as it is after a write.
pub fn pair_of(message: &Message, stock: &Stock, entry: &Entry) -> Mapping {
    let mut row = Mapping::new(message.connection(), KIND, &entry.id);
    row.commercetools_key.clone_from(&entry.key);
    row.commercetools_version = entry.version;
    row.fluent_ref = Some(stock.fluent_ref());
    row.content_hash = Some(entry.quantity.to_string());
    row.last_message = Some(message.id());
    let extra = Extra { channel: stock.channel.clone(), sku: stock.sku.clone(), updated_on: stock.updated_on.clone() };
    set_extra(&mut row, &json!(extra));
    row
}
