//! Hearing that something of an order changed: a webhook, or the poll that finds what no webhook
//! told (F 1.3–1.6). The status in a webhook is never used: it may be old.

use std::fmt;

use serde::Deserialize;
use serde_json::json;

use super::connection;
use super::order_lookup;
use super::order_update::Update;
use super::twin::{Seen, Twin};
use crate::app::App;
use crate::failure::{Failure, Outcome, Skip};
use crate::queue::{Draft, Message};

/// What a webhook or the poll says: which entity to look at.
#[derive(Debug, Deserialize)]
pub struct Envelope {
    pub entity_type: String,
    pub entity_id: String,
    pub entity_ref: Option<String>,
    pub root_entity_type: Option<String>,
    pub root_entity_id: Option<String>,
    pub entity_status: Option<String>,
    /// Only in what the timed poll says.
    pub updated_on: Option<String>,
}

impl Envelope {
    /// The Fluent order it leads to without reading anything.
    pub fn order_id(&self) -> Option<&str> {
        if self.entity_type == "ORDER" {
            return Some(&self.entity_id);
        }
        let root = self.root_entity_type.as_deref() == Some("ORDER");
        self.root_entity_id.as_deref().filter(|_| root)
    }
}

/// Goes on only if the flow is on.
///
/// # Errors
/// Skipped otherwise.
pub fn wanted(enabled: bool, what: &str, flow: &str) -> Result<(), Failure> {
    match enabled {
        true => Ok(()),
        false => Err(Failure::Skipped {
            reason: Skip::Ignored,
            sentence: format!("{what} not transferred by this connection ({flow}.enabled)."),
        }),
    }
}

/// Fluent does not have what was announced: a retry for ten minutes, then a rejection.
pub fn not_found(message: &Message, entity_type: &str, id: &str) -> Failure {
    message.not_there_yet(format!("Fluent has no {entity_type} with id {id} (yet)."))
}

/// Finds the commercetools Order of a Fluent order and asks for one slice of it, and for the link if
/// it has none. What the poll found and was transferred meanwhile ends here.
///
/// # Errors
/// As [`order_lookup::find`].
pub async fn ask(
    app: &App,
    message: &Message,
    envelope: &Envelope,
    twin: &Twin,
    fluent_order: &str,
    slice: impl fmt::Display,
) -> Outcome {
    let connection = connection(app, message)?;
    let found = order_lookup::find(app, message, connection, fluent_order).await?;
    if let Some(updated_on) = envelope.updated_on.as_deref() {
        let mut db = app.store().read().await?;
        let seen =
            Seen::load(&mut db, message.connection(), twin.kind, std::slice::from_ref(&envelope.entity_id)).await?;
        if seen.is_transferred(&envelope.entity_id, updated_on, envelope.entity_status.as_deref()) {
            message.unchanged();
            return Ok(());
        }
        // One of ours, and no webhook has told of it yet.
        let (connection, stream) = (message.connection().to_owned(), twin.stream);
        message.with(move |tx| Box::pin(async move { tx.found(&connection, stream).await }));
    }
    let update = Update { order_id: found.commercetools_id, fluent_order_id: fluent_order.to_owned() };
    let link = (found.unlinked && connection.config.order_link.enabled).then(|| update_order(message, "link", &update));
    message.then(link.into_iter().chain([update_order(message, slice, &update)]));
    message.tell(format!("Fluent order {fluent_order} is commercetools order {}", update.order_id));
    Ok(())
}

/// The outbox message for one slice of an Order.
pub fn update_order(message: &Message, slice: impl fmt::Display, update: &Update) -> Draft {
    message
        .next("commercetools.update-order", format!("{slice}@{}", message.key()))
        .subject(format!("order:{}", update.order_id))
        .payload(json!(update))
}
