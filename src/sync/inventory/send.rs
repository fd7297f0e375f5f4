//! One entry alone (F 4.5): what a webhook told of, and what failed in a page.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::writer::{Entry, Writer, Written, pair_of, placeholder, remembered};
use super::{Extra, KIND, Stock, disappeared, entry_key, fluent_ref, pair, stock};
use crate::app::{App, Connection};
use crate::config::model::{OnDisappeared, Pair};
use crate::config::value::Span;
use crate::failure::{Class, Failure, Outcome, Skip, reject, skip};
use crate::fluent::operation;
use crate::fluent::stock::{Position, PositionFound};
use crate::queue::Message;
use crate::store::Mapping;
use crate::sync::catalogue::extra;
use crate::sync::connection;
use crate::sync::pages::PAGE_AT_WORK;

/// A stock value waits for its Channel for a day.
pub const WAIT: Span = Span(Duration::from_secs(24 * 60 * 60));

/// Payload of `commercetools.set-inventory`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Target {
    /// Name of the pair.
    pub pair: String,
    /// Ref of the position.
    #[serde(rename = "ref")]
    pub reference: String,
}

/// `commercetools.set-inventory`: makes sure that the entry of a position has its quantity.
///
/// # Errors
/// Rejected with the sentences of F 4.8; waiting for a Channel, or for the Import API.
pub async fn send(app: App, message: Message) -> Outcome {
    let target: Target = message.payload()?;
    let connection = connection(&app, &message)?;
    let config = &connection.config.inventory;
    let Some(meant) = pair::named(connection, &target.pair).filter(|_| config.enabled) else {
        return skip(Skip::Ignored, format!("The pair {} is not configured any more, or switched off.", target.pair));
    };
    let name = fluent_ref(&meant.virtual_catalogue, &target.reference);
    let mut db = app.store().read().await?;
    let is_claimed = db.is_claimed(message.connection(), KIND, &name).await?;
    let row = db.mapping_by_fluent_ref(message.connection(), KIND, &name).await?;
    drop(db);
    if is_claimed {
        let sentence = format!("A page of a run is writing the stock of position {} just now.", target.reference);
        return Err(Failure::Again { class: Class::Stale, sentence, after: PAGE_AT_WORK });
    }
    let step = Step { app: &app, message: &message, connection, pair: meant };
    match (position(&message, connection, meant, &target.reference).await?, row) {
        (Some(position), row) => step.set(&position, row).await,
        (None, Some(row)) if row.state == "active" => step.gone(&target.reference, row).await,
        (None, _) => {
            let sentence = format!("Fluent has no VIRTUAL_POSITION with id {} (yet).", target.reference);
            Err(message.not_there_yet(sentence))
        }
    }
}

/// A position as it is now.
///
/// # Errors
/// As the client says.
pub async fn position(
    message: &Message,
    connection: &Connection,
    pair: &Pair,
    reference: &str,
) -> Result<Option<Position>, Failure> {
    let variables = json!({"ref": reference, "catalogue": {"ref": pair.virtual_catalogue}});
    let found = connection.fluent.on(message.call()).run(&operation::VIRTUAL_POSITION, variables).await;
    let found: PositionFound = found.map_err(|error| pair::explained(error, pair))?;
    Ok(found.position)
}

struct Step<'a> {
    app: &'a App,
    message: &'a Message,
    connection: &'a Connection,
    pair: &'a Pair,
}

impl Step<'_> {
    async fn set(&self, position: &Position, row: Option<Mapping>) -> Outcome {
        let channel = pair::channel_of(self.app, self.message, self.pair, position).await?;
        let mut notes = Vec::new();
        let wanted = stock(position, self.pair, &channel, &self.connection.config.inventory, &mut notes)?;
        let Some(wanted) = wanted else {
            return skip(Skip::Ignored, format!("Position {} has no quantity.", position.reference));
        };
        self.wait_for_imports(&wanted).await?;
        let channel = pair::channel_id(self.connection, self.message, &channel).await?;
        let writer = Writer::new(self.connection, self.message, channel);
        let known = match row.as_ref().and_then(remembered) {
            Some(known) => Some(known),
            None => writer.find(&wanted.sku).await?,
        };
        self.check_owner(&wanted, known.as_ref()).await?;
        let entry = match writer.set(&wanted, known).await? {
            Written::Nothing => return skip(Skip::Ignored, format!("{} has no stock and no entry.", wanted.sku)),
            Written::Kept(entry) => {
                self.message.unchanged();
                entry
            }
            Written::Wrote(entry) => {
                notes.into_iter().for_each(|note| self.message.note(note));
                self.message.tell(format!("{} has {} in Channel {}", wanted.sku, entry.quantity, wanted.channel));
                entry
            }
        };
        self.remember(pair_of(self.message, &wanted, &entry));
        Ok(())
    }

    /// The position is not there any more; it was said so by a full sync, or it went since.
    async fn gone(&self, reference: &str, mut row: Mapping) -> Outcome {
        let Extra { channel, sku, .. } = extra(&row);
        let wanted = Stock {
            catalogue: self.pair.virtual_catalogue.clone(),
            reference: reference.to_owned(),
            sku,
            channel,
            quantity: 0,
            updated_on: None,
        };
        let on_disappeared = self.connection.config.inventory.on_disappeared;
        if on_disappeared == OnDisappeared::Keep {
            return skip(
                Skip::Ignored,
                format!("Position {reference} is gone; inventory.on_disappeared keeps its entry."),
            );
        }
        self.wait_for_imports(&wanted).await?;
        let channel = pair::channel_id(self.connection, self.message, &wanted.channel).await?;
        let writer = Writer::new(self.connection, self.message, channel);
        let known = match remembered(&row) {
            Some(known) => Some(known),
            None => writer.find(&wanted.sku).await?,
        };
        match (on_disappeared, known) {
            (OnDisappeared::Delete, Some(entry)) => {
                writer.delete(&entry).await?;
                let id = row.id;
                self.message.with(move |tx| Box::pin(async move { tx.forget_mapping(id).await }));
                self.message.tell(format!("the entry of {} in Channel {} was deleted", wanted.sku, wanted.channel));
                return Ok(());
            }
            (OnDisappeared::Zero, Some(entry)) => {
                if let Written::Kept(entry) | Written::Wrote(entry) = writer.set(&wanted, Some(entry)).await? {
                    row = pair_of(self.message, &wanted, &entry);
                }
                self.message.note(disappeared(&wanted));
            }
            (_, _) => {}
        }
        row.state = "inactive".into();
        self.remember(row);
        Ok(())
    }

    /// A newer value never overtakes one that the Import API has not written yet.
    async fn wait_for_imports(&self, stock: &Stock) -> Outcome {
        let subject = stock.subject();
        let open = self
            .app
            .store()
            .read()
            .await?
            .open_imports(self.message.connection(), std::slice::from_ref(&subject))
            .await?;
        match open.is_empty() {
            true => Ok(()),
            false => Err(Failure::Waiting {
                key: format!("import:{subject}"),
                sentence: format!("The Import API has not written an earlier value of {} yet.", stock.sku),
            }),
        }
    }

    /// One entry has one position. Another one that has the entry, and is there still, keeps it.
    async fn check_owner(&self, wanted: &Stock, entry: Option<&Entry>) -> Outcome {
        let own = placeholder(&entry_key(&wanted.channel, &wanted.sku));
        let ids: Vec<String> = entry.map(|entry| entry.id.clone()).into_iter().chain([own]).collect();
        let rows = self.app.store().read().await?.mappings_of(self.message.connection(), KIND, &ids).await?;
        let ours = wanted.fluent_ref();
        for row in rows.into_iter().filter(|row| row.fluent_ref.as_deref() != Some(&ours)) {
            let name = row.fluent_ref.as_deref().unwrap_or_default();
            let (catalogue, other) = name.split_once('/').unwrap_or_default();
            if catalogue != wanted.catalogue {
                continue;
            }
            let other = position(self.message, self.connection, self.pair, other).await?;
            let Some(other) = other.filter(|other| pair::has(self.pair, other)) else { continue };
            if super::sku(&other, catalogue, &self.connection.config.inventory)? == wanted.sku {
                return reject(format!(
                    "positions {} and {} both give stock of {} in Channel {}; set groups or combine: sum for this pair.",
                    other.reference, wanted.reference, wanted.sku, wanted.channel
                ));
            }
        }
        Ok(())
    }

    fn remember(&self, row: Mapping) {
        self.message.with(move |tx| Box::pin(async move { tx.put_pairs(vec![row]).await }));
    }
}

/// A pair whose position is gone.
pub fn inactive(mut row: Mapping, quantity: i64) -> Mapping {
    row.state = "inactive".into();
    row.content_hash = Some(quantity.to_string());
    row
}
