//! `/api/v1/connections`: which platforms are tied together, and the stop of all writes to them.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use futures_util::FutureExt;
use serde::Deserialize;
use serde_json::{Value, json};

use super::tokens::Nothing;
use super::{Parameters, Received, body, maybe_time, seen, time};
use crate::config::model;
use crate::http::Surface;
use crate::http::answer::Problem;
use crate::http::auth::Actor;
use crate::store::{Db, Result, Stopped, Urgency};

/// All connections that the peer sees.
pub async fn list(
    State(surface): State<Surface>,
    actor: Actor,
    Parameters(Nothing {}): Parameters<Nothing>,
) -> Result<Json<Value>, Problem> {
    actor.may("status:read")?;
    let mut db = surface.queue().app.store().read().await?;
    Ok(Json(json!({"items": views(&surface, &actor, &mut db).await?, "next": null})))
}

/// One of them.
pub async fn show(
    State(surface): State<Surface>,
    actor: Actor,
    Path(name): Path<String>,
    Parameters(Nothing {}): Parameters<Nothing>,
) -> Result<Json<Value>, Problem> {
    actor.may("status:read")?;
    one(&surface, &actor, &name).await
}

/// What is paused, why and until when.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Paused {
    /// The one thing that can be paused for a whole connection.
    writes: bool,
    reason: String,
    until: Option<String>,
}

/// Writes nothing to either platform until somebody resumes it, or until a given time. When this is
/// answered no write of this daemon is under way any more; others follow within two seconds.
pub async fn pause(
    State(surface): State<Surface>,
    actor: Actor,
    Path(name): Path<String>,
    headers: HeaderMap,
    bytes: Received,
) -> Result<Json<Value>, Problem> {
    actor.may("jobs:write")?;
    known(&surface, &actor, &name)?;
    let paused: Paused = body(&headers, bytes)?;
    if !paused.writes {
        return Err(Problem::invalid("Of a whole connection only the writes can be paused: writes is true."));
    }
    let app = &surface.queue().app;
    let pause = super::pause(&surface, &actor, &paused.reason, paused.until.as_deref())?;
    let connection = name.clone();
    let stop =
        app.store().write(Urgency::Urgent, move |tx| async move { tx.stop_writes(&connection, &pause).await }.boxed());
    stop.await?;
    app.follow_stops().await?;
    one(&surface, &actor, &name).await
}

/// Writes go on, what waited first. Resuming what is not paused changes nothing.
pub async fn resume(
    State(surface): State<Surface>,
    actor: Actor,
    Path(name): Path<String>,
    headers: HeaderMap,
    bytes: Received,
) -> Result<Json<Value>, Problem> {
    actor.may("jobs:write")?;
    known(&surface, &actor, &name)?;
    if !bytes.as_ref().is_ok_and(|bytes| bytes.is_empty()) {
        let Nothing {} = body(&headers, bytes)?;
    }
    let app = &surface.queue().app;
    let connection = name.clone();
    let resume =
        app.store().write(Urgency::Urgent, move |tx| async move { tx.resume_writes(&connection, None).await }.boxed());
    if let Some(released) = resume.await? {
        let by = &actor.name;
        tracing::info!(connection = name, actor = by, "{name}: writes resumed by {by}, {released} messages go on");
    }
    app.follow_stops().await?;
    one(&surface, &actor, &name).await
}

/// Every connection that the peer sees, with what is stopped.
pub async fn views(surface: &Surface, actor: &Actor, db: &mut Db) -> Result<Vec<Value>> {
    let stops = db.stopped_writes().await?;
    let mut views = Vec::new();
    let all = surface.queue().app.config().connections.iter();
    for connection in all.filter(|connection| actor.sees(&connection.name)) {
        let stop = match stops.iter().find(|stop| stop.connection == connection.name) {
            Some(stop) => stopped(stop, db.waiting_for_writes(&connection.name).await?),
            None => Value::Null,
        };
        views.push(view(connection, stop));
    }
    Ok(views)
}

async fn one(surface: &Surface, actor: &Actor, name: &str) -> Result<Json<Value>, Problem> {
    let mut db = surface.queue().app.store().read().await?;
    let views = views(surface, actor, &mut db).await?;
    let found = views.into_iter().find(|view| view["name"] == name);
    found.map(Json).ok_or_else(|| missing(name))
}

fn known(surface: &Surface, actor: &Actor, name: &str) -> Result<(), Problem> {
    seen(actor, Some(name))?;
    let is_known = surface.queue().app.config().connections.iter().any(|connection| connection.name == name);
    if is_known { Ok(()) } else { Err(missing(name)) }
}

fn missing(name: &str) -> Problem {
    Problem::not_found(format!("There is no connection {name}."))
}

fn view(connection: &model::Connection, stop: Value) -> Value {
    json!({
        "name": connection.name, "enabled": connection.enabled,
        "commercetools": {"project_key": connection.commercetools.project_key},
        "fluent": {"account": connection.fluent.account, "retailer_id": connection.fluent.retailer_id},
        "writes_stopped": stop,
    })
}

fn stopped(stop: &Stopped, waiting: i64) -> Value {
    json!({
        "at": time(stop.paused_at), "by": stop.paused_by, "until": maybe_time(stop.paused_until),
        "reason": stop.paused_reason, "waiting": waiting,
    })
}
