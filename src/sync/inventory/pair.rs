//! Pairs of a virtual catalogue and a Channel (F 4.2).

use crate::app::{App, Connection};
use crate::config::model::Pair;
use crate::failure::{Class, Failure};
use crate::fluent::stock::Position;
use crate::queue::Message;
use crate::remote::Error;
use crate::store::Mapping;
use crate::sync::canonical::canonical_hash;
use crate::sync::location;

/// What a pair is called in streams: its catalogue, and its Channel.
pub fn name(pair: &Pair) -> String {
    format!("{}:{}", pair.virtual_catalogue, pair.channel.as_deref().unwrap_or("group_ref"))
}

/// The pair of this name, if it is configured.
pub fn named<'a>(connection: &'a Connection, wanted: &str) -> Option<&'a Pair> {
    connection.config.inventory.pairs.iter().find(|pair| name(pair) == wanted)
}

/// Hash of what a full sync of a pair looks for.
///
/// # Errors
/// Rejected if it cannot be written as JSON.
pub fn scope(pair: &Pair, connection: &Connection) -> Result<String, Failure> {
    let scope = (name(pair), &pair.types, &pair.groups, &connection.config.inventory.sku);
    canonical_hash(&scope).map_err(|error| Failure::rejected(format!("The pair cannot be written as JSON: {error}")))
}

/// Is a position of the catalogue one of this pair's?
pub fn has(pair: &Pair, position: &Position) -> bool {
    let among = |list: &Option<Vec<String>>, value: &Option<String>| {
        list.as_ref().is_none_or(|list| value.as_ref().is_some_and(|value| list.contains(value)))
    };
    among(&pair.types, &position.kind) && among(&pair.groups, &position.group_ref)
}

/// Key of the Channel that a position's stock is in.
///
/// # Errors
/// Waiting for the location where its Channel does not exist yet.
pub async fn channel_of(app: &App, message: &Message, pair: &Pair, position: &Position) -> Result<String, Failure> {
    if let Some(channel) = &pair.channel {
        return Ok(channel.clone());
    }
    let group = position.group_ref.clone().unwrap_or_default();
    let refs = std::slice::from_ref(&group);
    let rows = app.store().read().await?.mappings_by_fluent_refs(message.connection(), location::KIND, refs).await?;
    channel_among(&rows, &group).ok_or_else(|| {
        let key = format!("channel:{group}");
        Failure::Waiting { key, sentence: missing_sentence(&group) }
    })
}

/// The Channel of a location among their pairs.
pub fn channel_among(rows: &[Mapping], group: &str) -> Option<String> {
    rows.iter().find(|row| row.fluent_ref.as_deref() == Some(group)).and_then(|row| row.commercetools_key.clone())
}

/// Id of the Channel with this key.
///
/// # Errors
/// A retry if it does not exist.
pub async fn channel_id(connection: &Connection, message: &Message, key: &str) -> Result<String, Failure> {
    match connection.commercetools.on(message.call()).channel_by_key(key).await? {
        Some(channel) => Ok(channel.id),
        None => Err(Failure::retry(Class::Setup, missing_sentence(key))),
    }
}

fn missing_sentence(channel: &str) -> String {
    format!("Channel {channel} does not exist in commercetools; create it or run provision.")
}

/// What Fluent's refusal means.
pub fn explained(error: Error, pair: &Pair) -> Failure {
    if error.code == "C0120E" {
        let channel = pair.channel.as_deref().unwrap_or("of its locations");
        return Failure::rejected(format!(
            "Fluent has no virtual catalogue {}; the pair with Channel {channel} is stopped.",
            pair.virtual_catalogue
        ));
    }
    error.into()
}
