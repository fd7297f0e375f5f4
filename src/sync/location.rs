//! Locations, Fluent → commercetools: a location is a Channel (F 3).
//!
//! Routes `fluent.location-updated` (in `inbox`) and `commercetools.set-channel` (in `send`), subject
//! `channel:<Channel key>`; `job.location-sync` and `job.location-full-sync` (in `walk`) are the main
//! way, the webhook is the addition. A Channel is never deleted: prices, stores and stock refer to it.
//! The pure part is [`project`]. Field table: `docs/mapping/location.md`.

pub mod channel;
pub mod inbox;
pub mod send;
pub mod walk;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::key::key_of;
use super::text::fill;
use crate::commercetools::channel::{Channel, ChannelAction, ChannelDraft};
use crate::config::model::{self, Connection, OnInactive};
use crate::config::timing::Timing;
use crate::failure::Failure;
use crate::fluent::stock::Location;
use crate::queue::{Draft, Note, Routes};
use crate::store::Mapping;

/// Registers this flow's routes.
pub fn register(routes: &mut Routes) {
    routes.inbox("fluent.location-updated", inbox::receive).lane("channel");
    routes.outbox(SET_CHANNEL, send::send).lane("channel");
    routes.job("job.location-sync", walk::sync).timed(|connection| {
        let config = &connection.location;
        (config.enabled && config.poll.enabled).then(|| Timing::every(config.poll.every))
    });
    routes.job(FULL_SYNC, walk::full_sync).timed(|connection| {
        let config = &connection.location;
        let expression = config.full_sync.as_deref().filter(|_| config.enabled)?;
        // The check of the configuration refuses one that cannot be read.
        Timing::cron(expression, "UTC").ok()
    });
}

/// Mapping kind of locations.
pub const KIND: &str = "location";

const SET_CHANNEL: &str = "commercetools.set-channel";
const FULL_SYNC: &str = "job.location-full-sync";

/// Payload of `commercetools.set-channel`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Target {
    /// Fluent id.
    pub id: String,
    #[serde(rename = "ref")]
    pub reference: String,
}

/// The message that brings the Channel of a location up to date.
fn set_channel(draft: impl Fn(&str, String) -> Draft, target: &Target, key: String, config: &model::Location) -> Draft {
    let subject = format!("channel:{}", channel_key(&target.reference, config));
    draft(SET_CHANNEL, key).subject(subject).payload(json!(target))
}

/// The key of a location's Channel.
pub fn channel_key(reference: &str, config: &model::Location) -> String {
    key_of(&fill(&config.channel_key, |token| (token == "ref").then(|| reference.to_owned())))
}

/// Is the location taken (F 3.2)? One of status CREATED is not, so that a store that is being built shows
/// nowhere.
pub fn is_in_scope(location: &Location, connection: &Connection) -> bool {
    let config = &connection.location;
    let member = match config.networks.is_empty() {
        true => {
            location.retailer.as_ref().is_some_and(|retailer| retailer.id == connection.fluent.retailer_id.to_string())
        }
        false => location.networks.as_ref().is_some_and(|networks| !networks.edges.is_empty()),
    };
    let kind = location.kind.as_deref().unwrap_or_default();
    let meant = config.types.is_empty() || config.types.iter().any(|listed| listed == kind);
    member && meant && (config.include_created || location.status.as_deref() != Some("CREATED"))
}

/// Why a location is left out.
pub fn left_out(location: &Location, config: &model::Location) -> Note {
    let sentence =
        format!("location {} belongs to none of the networks {} and was left out.", location.label(), networks(config));
    Note::new("location.outside_network", sentence)
}

fn networks(config: &model::Location) -> String {
    config.networks.join(", ")
}

/// What is to be sent.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    Create(ChannelDraft),
    /// Never without actions.
    Update {
        id: String,
        version: i64,
        actions: Vec<ChannelAction>,
    },
    Nothing,
}

/// What makes the Channel so as the location is.
///
/// # Errors
/// Rejected if the location has no ref.
pub fn project(
    location: &Location,
    channel: Option<&Channel>,
    known: &crate::commercetools::known::Known,
    connection: &Connection,
) -> Result<(Write, Vec<Note>), Failure> {
    let Some(reference) = location.reference.as_deref().filter(|reference| !reference.trim().is_empty()) else {
        return Err(no_ref(location));
    };
    let config = &connection.location;
    let mut notes = Vec::new();
    let wanted = channel::to_commercetools(location, reference, connection, &mut notes);
    let Some(channel) = channel else { return Ok((Write::Create(wanted.draft(known, connection, &mut notes)), notes)) };
    let actions = match is_inactive(location, config) {
        true => channel::closed(channel, location.status.as_deref(), &wanted.label, known, connection, &mut notes),
        false => wanted.difference(channel, known, connection, &mut notes),
    };
    Ok((update(channel, actions), notes))
}

/// What marks the Channel of a location that is not there any more.
pub fn project_gone(
    reference: &str,
    channel: &Channel,
    known: &crate::commercetools::known::Known,
    connection: &Connection,
) -> (Write, Vec<Note>) {
    let sentence = format!(
        "location {reference} was not found in the networks {} any more; Channel {} is marked INACTIVE.",
        networks(&connection.location),
        channel.key
    );
    let mut notes = vec![Note::new("location.disappeared", sentence)];
    let label = format!("Channel {}", channel.key);
    let actions = channel::closed(channel, Some("INACTIVE"), &label, known, connection, &mut notes);
    (update(channel, actions), notes)
}

fn update(channel: &Channel, actions: Vec<ChannelAction>) -> Write {
    match actions.is_empty() {
        true => Write::Nothing,
        false => Write::Update { id: channel.id.clone(), version: channel.version, actions },
    }
}

/// Is it closed?
pub fn is_inactive(location: &Location, config: &model::Location) -> bool {
    let status = location.status.as_deref().unwrap_or_default();
    config.inactive_statuses.iter().any(|inactive| inactive == status)
}

/// Roles of a closed location's Channel, if they are taken away.
fn restricted(config: &model::Location) -> Option<&[String]> {
    (config.on_inactive == OnInactive::Restrict).then_some(config.inactive_roles.as_slice())
}

fn no_ref(location: &Location) -> Failure {
    Failure::rejected(format!("A Fluent location (id {}) has no ref, so it cannot get a Channel key.", location.id))
}

/// What was last transferred of a location, kept in its mapping.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Extra {
    pub updated_on: Option<String>,
    pub status: Option<String>,
}

/// Was this very state of the location transferred?
fn is_transferred(row: &Mapping, location: &Location) -> bool {
    let extra: Extra = super::catalogue::extra(row);
    row.state == "active" && extra.updated_on == location.updated_on && extra.status == location.status
}
