//! Events: what is asked of a workflow, and what became of it (platform-fluent.md 3).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::config::model::EventMode;

/// An event to an order.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// Name of the ruleset.
    pub name: String,
    pub account_id: String,
    pub retailer_id: String,
    pub entity_type: &'static str,
    /// Type of the order: HD, CC, MULTI.
    pub entity_subtype: String,
    pub entity_id: String,
    pub entity_ref: String,
    pub root_entity_type: &'static str,
    pub root_entity_id: String,
    pub root_entity_ref: String,
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub source: &'static str,
    pub attributes: Map<String, Value>,
}

/// What an event came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// A ruleset ran: `COMPLETE`, `SUCCESS`.
    Complete,
    /// Not done yet: `PENDING`, `SCHEDULED`, and what an asynchronous call answers.
    Pending,
    /// A rule failed: `FAILED`.
    Failed,
    /// No ruleset takes it in the entity's status: `NO_MATCH`.
    NoMatch,
}

/// What a sent event was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    pub status: Status,
    /// Id of the event, where Fluent tells it.
    pub id: Option<String>,
    /// Why it failed.
    pub message: Option<String>,
}

/// An event of the log.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Logged {
    pub id: String,
    event_status: String,
    /// RFC 3339.
    pub generated_on: Option<String>,
    pub source: Option<String>,
}

impl Event {
    /// An event to this order of a retailer.
    pub fn to_order(
        name: &str,
        (account, retailer): (&str, u64),
        order: (&str, &str, &str),
        attributes: Map<String, Value>,
    ) -> Self {
        let (kind, id, reference) = order;
        Self {
            name: name.to_owned(),
            account_id: account.to_owned(),
            retailer_id: retailer.to_string(),
            entity_type: "ORDER",
            entity_subtype: kind.to_owned(),
            entity_id: id.to_owned(),
            entity_ref: reference.to_owned(),
            root_entity_type: "ORDER",
            root_entity_id: id.to_owned(),
            root_entity_ref: reference.to_owned(),
            kind: "NORMAL",
            source: SOURCE,
            attributes,
        }
    }
}

/// `source` of our events.
pub const SOURCE: &str = "connector";

impl Status {
    /// Reads `eventStatus`; an unknown one is not done yet.
    pub fn read(text: &str) -> Self {
        match text {
            "COMPLETE" | "SUCCESS" => Self::Complete,
            "FAILED" => Self::Failed,
            "NO_MATCH" => Self::NoMatch,
            _ => Self::Pending,
        }
    }
}

impl Logged {
    pub fn status(&self) -> Status {
        Status::read(&self.event_status)
    }
}

/// The path of the endpoint for a mode.
pub fn path(mode: EventMode) -> &'static str {
    match mode {
        EventMode::Sync => "/api/v4.1/event/sync",
        EventMode::Async => "/api/v4.1/event/async",
    }
}
