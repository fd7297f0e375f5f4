//! `/api/v1/messages`: the durable queue as an operator sees it.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use base64::Engine;
use futures_util::FutureExt;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Parameters, Received, after, body, instant, limit, maybe_time, page, seen, time};
use crate::http::Surface;
use crate::http::answer::Problem;
use crate::http::auth::Actor;
use crate::store::{Attempt, Filter, Row, Urgency};

const STATES: [&str; 6] = ["ready", "running", "waiting", "done", "skipped", "parked"];

/// Filters of the list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filters {
    state: Option<String>,
    route: Option<String>,
    lane: Option<String>,
    connection: Option<String>,
    subject: Option<String>,
    since: Option<String>,
    limit: Option<i64>,
    after: Option<String>,
}

/// Messages, newest first.
pub async fn list(
    State(surface): State<Surface>,
    actor: Actor,
    Parameters(filters): Parameters<Filters>,
    uri: Uri,
) -> Result<Response, Problem> {
    actor.may("messages:read")?;
    seen(&actor, filters.connection.as_deref())?;
    if filters.state.as_deref().is_some_and(|state| !STATES.contains(&state)) {
        return Err(Problem::malformed(format!("state is one of {}.", STATES.join(", "))));
    }
    let limit = limit(filters.limit)?;
    let filter = Filter {
        since: instant("since", filters.since.as_deref())?,
        before: after(filters.after.as_deref())?,
        among: actor.among(),
        connection: filters.connection,
        state: filters.state,
        route: filters.route,
        lane: filters.lane,
        subject: filters.subject,
    };
    let mut rows = surface.queue().app.store().read().await?.messages(&filter, limit + 1).await?;
    let more = rows.len() as i64 > limit;
    rows.truncate(limit as usize);
    let next = rows.last().filter(|_| more).map(|row| row.id);
    Ok(page(&uri, rows.iter().map(view).collect(), next))
}

/// What may be asked of one message.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// Also the body as it was received; needs `personal-data:read`.
    #[serde(default)]
    payload: bool,
}

/// One message with the tries that did not end well.
pub async fn show(
    State(surface): State<Surface>,
    actor: Actor,
    Path(id): Path<String>,
    Parameters(asked): Parameters<Asked>,
) -> Result<Json<Value>, Problem> {
    actor.may("messages:read")?;
    if asked.payload {
        actor.may("personal-data:read")?;
    }
    let row = find(&surface, &actor, &id).await?;
    let mut db = surface.queue().app.store().read().await?;
    let attempts = db.attempts(row.id).await?;
    let mut document = view(&row);
    document["attempts"] = json!(attempts.iter().map(tried).collect::<Vec<_>>());
    document["payload"] = row.payload.0.clone();
    if asked.payload {
        document["received"] = received(db.message_body(row.id).await?);
    }
    Ok(Json(document))
}

/// A parked or waiting message is ready again; its tries stay in its history.
pub async fn retry(
    State(surface): State<Surface>,
    actor: Actor,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    actor.may("messages:write")?;
    let row = find(&surface, &actor, &id).await?;
    let id = row.id;
    let store = surface.queue().app.store();
    let done = store.write(Urgency::Urgent, move |tx| async move { tx.retry_parked(id).await }.boxed()).await?;
    decided(&surface, &actor, row, done, "retried", "parked or waiting").await
}

/// Why a message is skipped.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Because {
    reason: String,
}

/// A message that needs no effect any more ends as skipped, with the person's reason.
pub async fn skip(
    State(surface): State<Surface>,
    actor: Actor,
    Path(id): Path<String>,
    headers: HeaderMap,
    bytes: Received,
) -> Result<Json<Value>, Problem> {
    actor.may("messages:write")?;
    let row = find(&surface, &actor, &id).await?;
    let Because { reason } = body(&headers, bytes)?;
    let (id, why) = (row.id, format!("{} ({})", super::reason(&reason)?, actor.name));
    let store = surface.queue().app.store();
    let done = store.write(Urgency::Urgent, move |tx| async move { tx.skip_parked(id, &why).await }.boxed()).await?;
    decided(&surface, &actor, row, done, "skipped", "parked, waiting or ready").await
}

/// Answers with the row as it is now, or why nothing was decided.
async fn decided(
    surface: &Surface,
    actor: &Actor,
    row: Row,
    done: bool,
    what: &str,
    states: &str,
) -> Result<Json<Value>, Problem> {
    let now = find(surface, actor, &row.id.to_string()).await?;
    if !done {
        let sentence = format!("Message {} is {}; only one that is {states} can be {what}.", row.id, now.state);
        return Err(Problem::conflict(sentence));
    }
    tracing::info!(message_id = %row.id, route = row.route, actor = actor.name, "{}: {what} by {}", row.id, actor.name);
    Ok(Json(view(&now)))
}

/// A message that this peer sees.
async fn find(surface: &Surface, actor: &Actor, id: &str) -> Result<Row, Problem> {
    let missing = || Problem::not_found(format!("There is no message {id}."));
    let parsed = Uuid::try_parse(id).map_err(|_| missing())?;
    let row = surface.queue().app.store().read().await?.message(parsed).await?;
    row.filter(|row| actor.sees(&row.connection)).ok_or_else(missing)
}

/// A row as the API shows it.
pub fn view(row: &Row) -> Value {
    json!({
        "id": row.id, "connection": row.connection, "route": row.route, "key": row.key, "subject": row.subject,
        "lane": row.lane, "state": row.state, "reason": row.reason, "detail": row.detail, "notes": row.notes,
        "waits_for": row.wait_for, "held_since": maybe_time(row.held_since), "due": time(row.due),
        "at_least": row.at_least, "tries": row.attempts, "source": row.source, "correlation_id": row.correlation,
        "created": time(row.created), "changed": time(row.changed),
    })
}

fn tried(attempt: &Attempt) -> Value {
    json!({
        "number": attempt.number, "at": time(attempt.at), "outcome": attempt.outcome, "class": attempt.class,
        "detail": attempt.detail,
    })
}

/// Bytes as they came: as text if they are text.
fn received(body: Option<Vec<u8>>) -> Value {
    match body.map(String::from_utf8) {
        None => Value::Null,
        Some(Ok(text)) => json!({"encoding": "text", "content": text}),
        Some(Err(bytes)) => {
            let content = base64::engine::general_purpose::STANDARD.encode(bytes.as_bytes());
            json!({"encoding": "base64", "content": content})
        }
    }
}
