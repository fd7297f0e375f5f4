//! `/api/v1/cursors`: how far each stream was read, and setting it by hand.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use futures_util::FutureExt;
use serde::Deserialize;
use serde_json::{Value, json};

use super::tokens::Nothing;
use super::{Parameters, Received, body, instant, reason, seen, time};
use crate::clock::{Millis, rfc3339};
use crate::http::Surface;
use crate::http::answer::Problem;
use crate::http::auth::Actor;
use crate::store::{Counted, Cursor, Position, Urgency};

/// All streams of the connections that the peer sees.
pub async fn list(
    State(surface): State<Surface>,
    actor: Actor,
    Parameters(Nothing {}): Parameters<Nothing>,
) -> Result<Json<Value>, Problem> {
    actor.may("jobs:read")?;
    let app = &surface.queue().app;
    let now = app.clock().now();
    let mut cursors = app.store().read().await?.cursors().await?;
    cursors.retain(|cursor| actor.sees(&cursor.connection));
    let items: Vec<Value> = cursors.iter().map(|cursor| view(cursor, now)).collect();
    Ok(Json(json!({"items": items, "next": null})))
}

/// Where a stream is to go on.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Move {
    /// A time: everything before it counts as read.
    position: String,
    reason: String,
    /// Where the stream stands now: its `position`, or just the time of one that has no window open.
    expected: Value,
    /// What lies between is given up.
    #[serde(default)]
    accept_gap: bool,
}

/// Sets a cursor, if it stands where the peer believes it to stand. The next run begins there.
pub async fn put(
    State(surface): State<Surface>,
    actor: Actor,
    Path((connection, stream)): Path<(String, String)>,
    headers: HeaderMap,
    bytes: Received,
) -> Result<Json<Value>, Problem> {
    actor.may("cursors:write")?;
    seen(&actor, Some(&connection))?;
    let missing = || Problem::not_found(format!("Connection {connection} has no stream {stream} that was read yet."));
    let found = surface.queue().app.store().read().await?.cursor(&connection, &stream).await?;
    let before = found.ok_or_else(missing)?.position.0;
    let Move { position, reason: why, expected, accept_gap } = body(&headers, bytes)?;
    let (why, end) = (reason(&why)?, moment(&position)?);
    if !is(&before, &expected)? {
        let sentence = format!("{stream} stands at {}, not at {expected}; look again.", json!(before));
        return Err(Problem::conflict(sentence));
    }
    if end > before.read_to() && !accept_gap {
        let read_to = rfc3339(before.read_to());
        let sentence = format!(
            "{stream} was read up to {read_to}; what changed between then and {} would never be read. accept_gap: true \
             gives it up.",
            rfc3339(end)
        );
        return Err(Problem::refused_by_guard(sentence));
    }
    set(&surface, &connection, &stream, before, end).await?;
    tracing::info!(
        connection,
        stream,
        actor = actor.name,
        "cursor of {stream} set to {position} by {}: {why}",
        actor.name
    );
    let now = surface.queue().app.clock().now();
    let moved = surface.queue().app.store().read().await?.cursor(&connection, &stream).await?;
    Ok(Json(moved.map_or(Value::Null, |cursor| view(&cursor, now))))
}

async fn set(surface: &Surface, connection: &str, stream: &str, before: Position, end: Millis) -> Result<(), Problem> {
    let (connection, name) = (connection.to_owned(), stream.to_owned());
    let store = surface.queue().app.store();
    let moved = store.write(Urgency::Urgent, move |tx| {
        async move {
            tx.advance(&connection, &name, Some(&before), &Position::Done { end, since: end }, Counted::default()).await
        }
        .boxed()
    });
    match moved.await? {
        true => Ok(()),
        false => Err(Problem::conflict(format!("{stream} moved on at this moment; look again."))),
    }
}

/// Does a stream stand where the peer says?
fn is(position: &Position, expected: &Value) -> Result<bool, Problem> {
    match (position, expected) {
        (Position::Done { end, .. }, Value::String(text)) => Ok(*end == moment(text)?),
        _ => Ok(json!(position) == *expected),
    }
}

fn moment(text: &str) -> Result<Millis, Problem> {
    instant("position", Some(text))?.ok_or_else(|| Problem::invalid("position is a time."))
}

fn view(cursor: &Cursor, now: Millis) -> Value {
    let read_to = cursor.position.0.read_to();
    let raised = cursor.settle.zip(cursor.settle_until).filter(|(_, until)| now < *until);
    json!({
        "connection": cursor.connection, "stream": cursor.stream, "position": cursor.position,
        "read_to": time(read_to), "lag_seconds": (now - read_to).max(0) / 1000,
        "found": cursor.found, "late": cursor.late, "changed": time(cursor.changed),
        // Only while the poll keeps a greater distance than configured.
        "settle_seconds": raised.map(|(settle, _)| settle / 1000), "settle_until": raised.map(|(_, until)| time(until)),
    })
}
