//! A webhook says that a location may have changed (F 3.1).

use serde::Deserialize;
use serde_json::json;

use super::{KIND, Target, is_in_scope, left_out, no_ref, set_channel};
use crate::app::{App, Connection};
use crate::failure::{Failure, Outcome, Skip, skip};
use crate::fluent::operation;
use crate::fluent::stock::{Location, LocationFound};
use crate::queue::Message;
use crate::sync::connection;

/// What a webhook says.
#[derive(Debug, Deserialize)]
struct Envelope {
    entity_id: String,
}

/// `fluent.location-updated`: reads the location and asks for its Channel to be brought up to date.
///
/// # Errors
/// Skipped if it is out of scope and was never transferred.
pub async fn receive(app: App, message: Message) -> Outcome {
    let Envelope { entity_id: id } = message.payload()?;
    let connection = connection(&app, &message)?;
    let config = &connection.config.location;
    if !config.enabled {
        return skip(Skip::Ignored, "Locations are switched off for this connection.");
    }
    let Some(location) = read(&message, connection, &id).await? else {
        return Err(message.not_there_yet(format!("Fluent has no LOCATION with id {id} (yet).")));
    };
    let Some(reference) = location.reference.clone() else { return Err(no_ref(&location)) };
    if !is_in_scope(&location, &connection.config) {
        let known = app.store().read().await?.mapping_by_fluent_ref(message.connection(), KIND, &reference).await?;
        if known.is_none() {
            return skip(Skip::Ignored, left_out(&location, config).to_string());
        }
    }
    let updated_on = location.updated_on.as_deref().unwrap_or_default();
    // Each webhook is looked at: what changed may not have moved the time.
    let key = format!("{reference}@{updated_on}@{}", message.key());
    let target = Target { id, reference };
    message.then([set_channel(|route, key| message.next(route, key), &target, key, config)]);
    message.tell(format!("location {} may have changed", location.label()));
    Ok(())
}

/// The location as it is now, with those of its networks that count.
pub async fn read(message: &Message, connection: &Connection, id: &str) -> Result<Option<Location>, Failure> {
    let variables = json!({"id": id, "networkRefs": network_refs(connection)});
    let fluent = connection.fluent.on(message.call());
    let found: LocationFound = fluent.run(&operation::LOCATION_BY_ID, variables).await?;
    Ok(found.location)
}

/// Refs that the networks of a location are narrowed to; `None` = all.
pub fn network_refs(connection: &Connection) -> Option<&[String]> {
    Some(connection.config.location.networks.as_slice()).filter(|networks| !networks.is_empty())
}
