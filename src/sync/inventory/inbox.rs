//! A webhook says that a position may have changed (F 4.1).

use serde::Deserialize;
use serde_json::json;

use super::send::Target;
use super::{SET_INVENTORY, URGENT, pair, send, sku};
use crate::app::App;
use crate::failure::{Outcome, Skip, skip};
use crate::queue::Message;
use crate::sync::connection;

/// What a webhook says.
#[derive(Debug, Deserialize)]
struct Envelope {
    entity_ref: String,
    root_entity_type: Option<String>,
    root_entity_ref: Option<String>,
}

/// `fluent.position-updated`: asks for the entry of a position to be brought up to date. Where the webhook
/// does not name the catalogue, every pair is tried.
///
/// # Errors
/// Skipped if no pair has the position.
pub async fn receive(app: App, message: Message) -> Outcome {
    let envelope: Envelope = message.payload()?;
    let connection = connection(&app, &message)?;
    let config = &connection.config.inventory;
    if !config.enabled {
        return skip(Skip::Ignored, "Stock is switched off for this connection.");
    }
    let named = envelope.root_entity_ref.as_deref();
    let catalogue = named.filter(|_| envelope.root_entity_type.as_deref() == Some("VIRTUAL_CATALOGUE"));
    let meant = config.pairs.iter().filter(|pair| catalogue.is_none_or(|name| name == pair.virtual_catalogue));
    let mut drafts = Vec::new();
    for meant in meant {
        let Some(position) = send::position(&message, connection, meant, &envelope.entity_ref).await? else { continue };
        if !pair::has(meant, &position) {
            continue;
        }
        let channel = match pair::channel_of(&app, &message, meant, &position).await {
            Ok(channel) => channel,
            // The message that asks for it waits, so that this one need not.
            Err(crate::failure::Failure::Waiting { .. }) => position.group_ref.clone().unwrap_or_default(),
            Err(failure) => return Err(failure),
        };
        let sku = sku(&position, &meant.virtual_catalogue, config)?;
        let target = Target { pair: pair::name(meant), reference: position.reference.clone() };
        let key = format!(
            "{channel}:{}@{}@{}",
            target.reference,
            position.updated_on.as_deref().unwrap_or_default(),
            message.key()
        );
        let draft =
            message.next(SET_INVENTORY, key).subject(format!("inventory:{channel}:{sku}")).payload(json!(target));
        drafts.push(if position.quantity.unwrap_or(0) <= 0 { draft.lane(URGENT) } else { draft });
    }
    if drafts.is_empty() {
        return skip(Skip::Ignored, format!("Position {} belongs to no pair of inventory.pairs.", envelope.entity_ref));
    }
    message.tell(format!("position {} may have changed", envelope.entity_ref));
    message.then(drafts);
    Ok(())
}
