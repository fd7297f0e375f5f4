//! What follows from the timeline: both sides side by side, what differs, what is open, what to do.

use serde_json::{Value, json};

use super::live::Live;
use super::order::Order;
use super::timeline::without_mails;
use crate::app::Connection;
use crate::clock::rfc3339;
use crate::commercetools::remembered::RememberedOrder;
use crate::store::Row;

/// The states of both sides; live where they were read, else as last transferred.
pub fn states(order: &Order, live: &Live) -> Vec<Value> {
    let remembered = order.remembered();
    let read = live.commercetools.found.as_ref().map(|found| &found.order);
    let (commercetools, from) = match (read, &remembered) {
        (Some(order), _) => (Some(order), "live"),
        (None, Some(order)) => (Some(order), "stored"),
        (None, None) => (None, "unknown"),
    };
    let (status, of) = match (&live.fluent.found, order.transferred()) {
        (Some(found), _) => (found.order.status.as_deref(), "live"),
        (None, Some(status)) => (Some(status), "stored"),
        (None, None) => (None, "unknown"),
    };
    let axis = |name: &str, state: fn(&RememberedOrder) -> Option<&str>| {
        json!({
            "axis": name,
            "commercetools": commercetools.and_then(state), "commercetools_read": from,
            "fluent": status, "fluent_read": of,
        })
    };
    let mut states = vec![
        axis("order", |order| Some(&order.order_state)),
        axis("shipment", |order| order.shipment_state.as_deref()),
        axis("payment", |order| order.payment_state.as_deref()),
        axis("workflow", |order| order.state.as_ref().map(|state| state.label())),
    ];
    let fulfilments = live.fluent.found.iter().flat_map(|found| &found.fulfilments);
    states.extend(fulfilments.map(|fulfilment| {
        let name = fulfilment.reference.as_deref().unwrap_or("(no ref)");
        json!({
            "axis": format!("fulfilment {name}"), "commercetools": null, "commercetools_read": from,
            "fluent": fulfilment.status, "fluent_read": of,
        })
    }));
    states
}

/// What is not as it should be when nothing is under way; one sentence each.
pub fn differences(order: &Order, live: &Live, connection: Option<&Connection>) -> Vec<String> {
    let mut differences = Vec::new();
    let (commercetools, fluent) = (&live.commercetools, &live.fluent);
    if commercetools.absent() {
        differences.push("commercetools does not have this order.".into());
    }
    if fluent.absent() || (commercetools.found.is_some() && fluent.asked && order.fluent_id.is_none()) {
        differences.push("Fluent does not have this order.".into());
    }
    if commercetools.found.is_some() && fluent.found.is_some() && order.mapping.is_none() {
        differences.push("Both platforms have this order, but the connector has not linked it.".into());
    }
    if let (Some(found), Some(transferred)) = (&fluent.found, order.transferred())
        && let Some(status) = found.order.status.as_deref().filter(|status| *status != transferred)
    {
        differences.push(format!("Fluent's status {status} is not transferred; the last one was {transferred}."));
    }
    let Some(link) = connection.map(|connection| &connection.config.order_link) else { return differences };
    if let (Some(found), Some(id)) = (&fluent.found, &order.commercetools_id)
        && let Some(other) = found.order.attribute(&link.identity_attribute).and_then(Value::as_str)
        && other != id
    {
        differences.push(format!("The Fluent order names commercetools order {other}, not {id}."));
    }
    if let (Some(found), Some(id), true) = (&commercetools.found, &order.fluent_id, link.enabled)
        && !found.order.sync_info.iter().any(|info| info.external_id.as_ref() == Some(id))
    {
        differences.push(format!("The commercetools order does not carry the link to Fluent order {id}."));
    }
    differences
}

/// Is there still something to do for this message?
pub fn is_open(row: &Row) -> bool {
    !matches!(row.state.as_str(), "done" | "skipped")
}

/// An open message, in short.
pub fn open(row: &Row) -> Value {
    json!({
        "id": row.id, "route": row.route, "state": row.state, "reason": row.reason,
        "detail": row.detail.as_deref().map(without_mails), "waits_for": row.wait_for, "due": rfc3339(row.due),
    })
}

/// The one command that helps most, and why.
pub fn next(
    name: &str,
    order: &Order,
    open: &[&Row],
    differences: &[String],
    connection: Option<&Connection>,
) -> Value {
    let with = |state: &str| open.iter().find(|row| row.state == state);
    let detail = |row: &Row| without_mails(row.detail.as_deref().unwrap_or("It does not say why."));
    if let Some(row) = with("parked") {
        let why = format!("{} is parked. Mend this first: {}", row.route, detail(row));
        return step(format!("message retry {}", row.id), why);
    }
    if let Some(row) = with("waiting") {
        let key = row.wait_for.as_deref().unwrap_or("something");
        let why = format!("{} goes on by itself when {key} is there. {}", row.route, detail(row));
        return step(format!("message show {}", row.id), why);
    }
    if let Some(row) = open.iter().find(|row| row.attempts > 0) {
        let why = format!("{} is tried again by itself, not before {}. {}", row.route, rfc3339(row.due), detail(row));
        return step(format!("message show {}", row.id), why);
    }
    if !open.is_empty() {
        return step(format!("explain order {}", quoted(name)), "Work is under way; look again in a moment.".into());
    }
    if order.mapping.is_none() {
        let subject = order.commercetools_id.as_ref().map(|id| format!("message list --subject order:{id}"));
        let why = "The connector has no pair for this order: was it told of it, and is the order in scope (order.since, order.states, stores)?";
        return step(subject.unwrap_or_else(|| "message list --state parked".into()), why.into());
    }
    match (differences, connection) {
        ([], _) => json!({"command": null, "why": "Nothing is open and nothing differs."}),
        ([first, ..], Some(connection)) if connection.config.order_status.poll.enabled => {
            let every = connection.config.order_status.poll.every;
            step(
                format!("explain order {}", quoted(name)),
                format!("{first} The poll looks every {every}; look again then."),
            )
        }
        ([first, ..], _) => step("status".into(), format!("{first} Is the connector working?")),
    }
}

/// A name that a shell leaves as it is.
fn quoted(name: &str) -> String {
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ':'));
    if plain { name.to_owned() } else { format!("'{}'", name.replace('\'', r"'\''")) }
}

fn step(arguments: String, why: String) -> Value {
    json!({"command": format!("fluent-connector {arguments}"), "why": why})
}
