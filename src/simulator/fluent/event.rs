//! The Event API: `POST /api/v4.1/event/async|sync`, `GET /api/v4.1/event` (platform document 3).
//!
//! The only event that clients may raise with an effect is `OrderCancel`; every other name finds no
//! ruleset (NO_MATCH). The workflow's own events and CREATE events are kept in the same log.

use std::collections::BTreeMap;

use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, Response, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use super::account::{Account, entity_type};
use super::guard::instant;
use super::store::{Document, id_of, linked, text};
use super::workflow::Step;
use super::{Fluent, token};
use crate::clock::{Millis, rfc3339};
use crate::simulator::front::plain;

const DAY: Millis = 24 * 60 * 60 * 1000;
/// Root entities; events of other types must name theirs (platform document 3.1, 3.3).
const ROOTS: [&str; 10] = [
    "ORDER",
    "LOCATION",
    "FULFILMENT_OPTIONS",
    "PRODUCT_CATALOGUE",
    "INVENTORY_CATALOGUE",
    "VIRTUAL_CATALOGUE",
    "CONTROL_GROUP",
    "RETURN_ORDER",
    "BILLING_ACCOUNT",
    "JOB",
];

/// All events, oldest first.
#[derive(Default)]
pub struct Events(Vec<(Millis, Value)>);

impl Events {
    pub fn all(&self) -> Vec<Value> {
        self.0.iter().map(|(_, event)| event.clone()).collect()
    }
}

/// Takes an event. Refuses what 3.1 calls mandatory when it is missing, other retailers and
/// accounts, and attributes that are no object.
pub async fn send(
    State(fluent): State<Fluent>,
    Path(mode): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let mut account = fluent.account();
    if !token::is_authorised(&account, &headers) {
        return token::refusal();
    }
    let Ok(event) = serde_json::from_slice::<Value>(&body) else {
        return invalid("InvalidJson", "the body is not JSON");
    };
    if let Err((code, message)) = account.check_event(&event) {
        return invalid(code, &message);
    }
    match mode.as_str() {
        "async" => {
            let number = account.keep_event(&event);
            let now = account.now();
            account.schedule(now, Step::Event(number));
            plain(StatusCode::OK, json!({"id": account.events.0[number].1["id"]}))
        }
        "sync" => {
            let number = account.keep_event(&event);
            account.run_event(number);
            sync_answer(&account.events.0[number].1)
        }
        _ => plain(StatusCode::NOT_FOUND, json!({"errors": [{"code": "404", "message": "unknown event mode"}]})),
    }
}

fn sync_answer(event: &Value) -> Response<Body> {
    let mut answer =
        json!({"eventId": event["id"], "entityId": event["context"]["entityId"], "eventStatus": event["eventStatus"]});
    match event["eventStatus"].as_str() {
        Some("COMPLETE") => return plain(StatusCode::OK, answer),
        Some("FAILED") => answer["errorMessage"] = "Event has Failed".into(),
        _ => {}
    }
    plain(StatusCode::BAD_REQUEST, answer)
}

fn invalid(code: &str, message: &str) -> Response<Body> {
    plain(StatusCode::BAD_REQUEST, json!({"errors": [{"code": code, "message": message}]}))
}

/// One event by id; 404 if there is none.
pub async fn one(State(fluent): State<Fluent>, Path(id): Path<String>, headers: HeaderMap) -> Response<Body> {
    let account = fluent.account();
    if !token::is_authorised(&account, &headers) {
        return token::refusal();
    }
    match account.events.0.iter().find(|(_, event)| event["id"] == id) {
        Some((_, event)) => plain(StatusCode::OK, event.clone()),
        None => plain(StatusCode::NOT_FOUND, json!({"errors": [{"code": "404", "message": "event not found"}]})),
    }
}

/// The event query of 3.2.
pub async fn list(
    State(fluent): State<Fluent>,
    Query(asked): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
) -> Response<Body> {
    let account = fluent.account();
    if !token::is_authorised(&account, &headers) {
        return token::refusal();
    }
    let window = match Window::read(&asked, account.now()) {
        Ok(window) => window,
        Err(message) => return invalid("InvalidInput", &message),
    };
    let matching =
        account.events.0.iter().filter(|(at, event)| window.from <= *at && *at <= window.to && is_asked(event, &asked));
    let mut found = matching.skip(window.start).map(|(_, event)| event.clone());
    let results: Vec<_> = found.by_ref().take(window.count).collect();
    let more = found.next().is_some();
    plain(StatusCode::OK, json!({"start": window.start, "count": window.count, "hasMore": more, "results": results}))
}

struct Window {
    from: Millis,
    to: Millis,
    start: usize,
    count: usize,
}

impl Window {
    fn read(asked: &BTreeMap<String, String>, now: Millis) -> Result<Self, String> {
        let end = |name: &str, default: Millis| match asked.get(name) {
            None => Ok(default),
            Some(text) => instant(text).ok_or_else(|| format!("{name} is not a date")),
        };
        let number = |name: &str, default: usize| match asked.get(name) {
            None => Ok(default),
            Some(text) => text.parse().map_err(|_| format!("{name} is not a number")),
        };
        let window = Self {
            from: end("from", now - 30 * DAY)?,
            to: end("to", now + DAY)?,
            start: number("start", 0)?,
            count: number("count", 100)?,
        };
        if window.count > 5_000 {
            return Err("count is greater than 5000".into());
        }
        if window.from < now - 123 * DAY || window.to > now + 31 * DAY {
            return Err("the range reaches further than events are kept".into());
        }
        Ok(window)
    }
}

fn is_asked(event: &Value, asked: &BTreeMap<String, String>) -> bool {
    let filters = asked.iter().filter(|(name, _)| !["from", "to", "start", "count"].contains(&name.as_str()));
    filters.into_iter().all(|(name, wanted)| {
        let have = match name.as_str() {
            "eventId" => &event["id"],
            "eventType" => &event["type"],
            dotted => match dotted.strip_prefix("context.") {
                Some(member) => &event["context"][member],
                None => &event[dotted],
            },
        };
        match have {
            Value::Array(list) => list.iter().any(|one| one == wanted),
            have => have == wanted,
        }
    })
}

impl Account {
    /// Code and message of what is wrong with a received event.
    fn check_event(&self, event: &Value) -> Result<(), (&'static str, String)> {
        for name in ["name", "retailerId", "entityType"] {
            if is_blank(&event[name]) {
                return Err(("NotNull", format!("'{name}' is required")));
            }
        }
        if is_blank(&event["entityRef"]) && is_blank(&event["entityId"]) {
            return Err(("NotNull", "'entityRef' or 'entityId' is required".into()));
        }
        let kind = event["entityType"].as_str().unwrap_or_default();
        let rootless = is_blank(&event["rootEntityType"])
            || (is_blank(&event["rootEntityRef"]) && is_blank(&event["rootEntityId"]));
        if !ROOTS.contains(&kind) && rootless {
            return Err(("NotNull", "'rootEntityType' and 'rootEntityRef' or 'rootEntityId' are required".into()));
        }
        if id_of(&event["retailerId"]) != Some(self.retailer) {
            return Err(("InvalidInput", "the retailer is not known or not ours".into()));
        }
        if !event["accountId"].is_null() && event["accountId"] != self.options.account.as_str() {
            return Err(("InvalidInput", "the account is not ours".into()));
        }
        if !event["attributes"].is_null() && !event["attributes"].is_object() {
            return Err(("InvalidInput", "'attributes' is not an object".into()));
        }
        Ok(())
    }

    /// Stores a received event as PENDING and returns its position.
    fn keep_event(&mut self, event: &Value) -> usize {
        let attributes = event["attributes"].as_object().filter(|attributes| !attributes.is_empty());
        let attributes = attributes.map(|attributes| {
            attributes
                .iter()
                .map(|(name, value)| json!({"name": name, "value": value, "type": "STRING"}))
                .collect::<Value>()
        });
        let as_text = |name: &str| match &event[name] {
            Value::Number(number) => Value::String(number.to_string()),
            value => value.clone(),
        };
        let context = json!({
            "sourceEvents": [], "entityType": event["entityType"], "entityId": as_text("entityId"), "entityRef": event["entityRef"],
            "rootEntityType": event["rootEntityType"], "rootEntityId": as_text("rootEntityId"), "rootEntityRef": event["rootEntityRef"],
        });
        let mut kept = self.event(event["name"].as_str().unwrap_or_default(), context, "PENDING");
        kept["attributes"] = attributes.unwrap_or_default();
        kept["source"] = event["source"].clone();
        kept["entitySubtype"] = event["entitySubtype"].clone();
        self.log_event(kept)
    }

    fn event(&self, name: &str, context: Value, status: &str) -> Value {
        json!({
            "id": Uuid::new_v4().to_string(), "name": name, "type": "ORCHESTRATION", "accountId": self.options.account,
            "retailerId": self.retailer.to_string(), "category": "ruleSet", "context": context, "eventStatus": status,
            "attributes": null, "source": null, "generatedBy": "Rubix User",
            "generatedOn": rfc3339(self.now()).replace('Z', "+00:00"),
        })
    }

    fn log_event(&mut self, event: Value) -> usize {
        self.events.0.push((self.front.clock.now(), event));
        self.events.0.len() - 1
    }

    /// Logs an event that the platform itself raises for an entity.
    pub fn raise(&mut self, name: &str, id: u64) {
        let Some(document) = self.store.any(id) else { return };
        let context = self.context(&document);
        let event = self.event(name, context, "COMPLETE");
        self.log_event(event);
    }

    /// The identity of an entity and its root: the order it belongs to, or itself.
    pub fn context(&self, document: &Document) -> Value {
        let owner = if text(document, "__typename") == "VirtualPosition" { "catalogue" } else { "order" };
        let root = self.store.follow(document.get(owner));
        let root = root.as_deref().or(self.order_of_article(document).as_deref()).unwrap_or(document).clone();
        let kind = |document: &Document| entity_type(text(document, "__typename"));
        json!({
            "sourceEvents": [], "entityType": kind(document), "entityId": text(document, "id"), "entityRef": text(document, "ref"),
            "rootEntityType": kind(&root), "rootEntityId": text(&root, "id"), "rootEntityRef": text(&root, "ref"),
        })
    }

    fn order_of_article(&self, document: &Document) -> Option<std::sync::Arc<Document>> {
        let fulfilment = document.get("fulfilments")?.as_array()?.first().and_then(linked)?;
        self.store.follow(self.store.any(fulfilment)?.get("order"))
    }

    /// Runs a stored event and writes its outcome into it.
    pub fn run_event(&mut self, number: usize) {
        let Some((_, event)) = self.events.0.get(number) else { return };
        let event = event.clone();
        let entity = self.event_entity(&event["context"]);
        let status = match (event["name"].as_str(), event["context"]["entityType"].as_str(), &entity) {
            (_, Some("ORDER"), None) => "FAILED",
            (Some("OrderCancel"), Some("ORDER"), Some(order)) => {
                let own = self.store.any(*order).unwrap_or_default();
                let subtype = event["entitySubtype"].as_str();
                match subtype.is_none_or(|subtype| subtype == text(&own, "type")) && self.cancel(*order) {
                    true => "COMPLETE",
                    false => "NO_MATCH",
                }
            }
            _ => "NO_MATCH",
        };
        let kept = &mut self.events.0[number].1;
        kept["eventStatus"] = status.into();
        if let Some(id) = entity {
            kept["context"]["entityId"] = id.to_string().into();
        }
    }

    fn event_entity(&self, context: &Value) -> Option<u64> {
        if context["entityType"] != "ORDER" {
            return None;
        }
        match id_of(&context["entityId"]) {
            Some(id) => self.store.find("Order", id).map(|_| id),
            None => self.store.ids_of("Order", context["entityRef"].as_str()?).first().copied(),
        }
    }
}

fn is_blank(value: &Value) -> bool {
    value.is_null() || value == ""
}
