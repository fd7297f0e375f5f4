//! `/api/v1/jobs` and `/api/v1/runs`: what runs by itself, when, and running it now.
//!
//! A job is named with or without `job.`, or as the Java connector calls it. A run is a message of
//! the queue.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::tokens::Nothing;
use super::{Parameters, Received, body, instant, maybe_time, messages, reason, seen, time};
use crate::app::Connection;
use crate::http::Surface;
use crate::http::answer::Problem;
use crate::http::auth::Actor;
use crate::queue::{Kind, Range, Route};
use crate::store::{Filter, Row, Scheduled, Urgency};

/// The job that takes more than a range.
const BACKFILL: &str = "job.order-backfill-sync";

/// Runs that are shown of a job; the newest ones.
const RUNS: i64 = 20;

/// All jobs of all connections that the peer sees.
pub async fn list(
    State(surface): State<Surface>,
    actor: Actor,
    Parameters(Nothing {}): Parameters<Nothing>,
) -> Result<Json<Value>, Problem> {
    actor.may("jobs:read")?;
    let routes = &surface.queue().routes;
    let jobs: Vec<&Route> = routes.iter().filter(|route| route.kind == Kind::Job).collect();
    Ok(Json(json!({"items": views(&surface, &actor, &jobs).await?, "next": null})))
}

/// One job: where it stands for each connection, and its latest runs.
pub async fn show(
    State(surface): State<Surface>,
    actor: Actor,
    Path(name): Path<String>,
    Parameters(Nothing {}): Parameters<Nothing>,
) -> Result<Json<Value>, Problem> {
    actor.may("jobs:read")?;
    let jobs = named(&surface, &name)?;
    let mut db = surface.queue().app.store().read().await?;
    let mut runs = Vec::new();
    for job in &jobs {
        let filter = Filter { route: Some(job.name.clone()), among: actor.among(), ..Filter::default() };
        runs.extend(db.messages(&filter, RUNS).await?);
    }
    drop(db);
    let runs: Vec<Value> = runs.iter().map(run_view).collect();
    Ok(Json(json!({"jobs": views(&surface, &actor, &jobs).await?, "runs": runs})))
}

/// Which connection, and which part of its history.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    connection: Option<String>,
    from: Option<String>,
    to: Option<String>,
    /// Of a back-fill: only look (also without it).
    dry_run: Option<bool>,
    /// Of a back-fill: how many orders may be created.
    confirm: Option<u64>,
    /// Of a back-fill: what narrows the selection.
    props: Option<Map<String, Value>>,
}

/// Runs a job now. With a range it is an extra run that looks again at everything in it and leaves
/// the cursor where it is.
pub async fn run(
    State(surface): State<Surface>,
    actor: Actor,
    Path(name): Path<String>,
    headers: HeaderMap,
    bytes: Received,
) -> Result<(StatusCode, Json<Value>), Problem> {
    actor.may("jobs:run")?;
    let jobs = named(&surface, &name)?;
    let wanted: Wanted = body(&headers, bytes)?;
    let connection = the_connection(&surface, &actor, wanted.connection.as_deref())?;
    let range = range(&wanted)?;
    let options = options(&wanted, &jobs)?;
    let mut runs = Vec::new();
    for job in jobs {
        let id = surface.queue().run_job_with(connection, job, range, options.clone(), &actor.name).await?;
        runs.push(json!({"id": id, "job": job.name, "connection": connection}));
    }
    Ok((StatusCode::ACCEPTED, Json(json!({"runs": runs}))))
}

/// One run: the message that it is.
pub async fn run_of(
    State(surface): State<Surface>,
    actor: Actor,
    Path(id): Path<String>,
    Parameters(Nothing {}): Parameters<Nothing>,
) -> Result<Json<Value>, Problem> {
    actor.may("jobs:read")?;
    let missing = || Problem::not_found(format!("There is no run {id}."));
    let parsed = Uuid::try_parse(&id).map_err(|_| missing())?;
    let row = surface.queue().app.store().read().await?.message(parsed).await?;
    let is_run = |row: &Row| surface.queue().routes.find(&row.route).is_some_and(|route| route.kind == Kind::Job);
    let row = row.filter(|row| is_run(row) && actor.sees(&row.connection)).ok_or_else(missing)?;
    Ok(Json(run_view(&row)))
}

/// Why it may.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Approved {
    reason: String,
}

/// Lets a run that found too much missing do what it found.
pub async fn approve(
    State(surface): State<Surface>,
    actor: Actor,
    Path(id): Path<String>,
    headers: HeaderMap,
    bytes: Received,
) -> Result<Json<Value>, Problem> {
    actor.may("jobs:write")?;
    let missing = || Problem::not_found(format!("No run {id} waits for an approval."));
    let parsed = Uuid::try_parse(&id).map_err(|_| missing())?;
    let approved: Approved = body(&headers, bytes)?;
    let (by, why) = (actor.name.clone(), reason(&approved.reason)?);
    let store = surface.queue().app.store();
    let run = store.read().await?.run(parsed).await?.filter(|run| actor.sees(&run.connection)).ok_or_else(missing)?;
    tracing::info!(connection = run.connection, actor = by, "{}: run {id} approved by {by}: {why}", run.connection);
    let approve =
        store.write(Urgency::Urgent, move |tx| Box::pin(async move { tx.approve_run(parsed, &by, &why).await }));
    match approve.await? {
        true => Ok(Json(json!({"id": run.id, "stream": run.stream, "connection": run.connection}))),
        false => Err(missing()),
    }
}

/// Why and for how long; without a connection all that the peer sees.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Paused {
    reason: String,
    until: Option<String>,
    connection: Option<String>,
}

/// No more ticks until somebody resumes the job, or until a given time.
pub async fn pause(
    State(surface): State<Surface>,
    actor: Actor,
    Path(name): Path<String>,
    headers: HeaderMap,
    bytes: Received,
) -> Result<Json<Value>, Problem> {
    actor.may("jobs:write")?;
    let jobs = named(&surface, &name)?;
    let paused: Paused = body(&headers, bytes)?;
    seen(&actor, paused.connection.as_deref())?;
    let pause = super::pause(&surface, &actor, &paused.reason, paused.until.as_deref())?;
    for connection in visible(&surface, &actor, paused.connection.as_deref())? {
        for job in &jobs {
            surface.queue().pause(&connection.config.name, job, pause.clone()).await?;
        }
    }
    Ok(Json(json!({"jobs": views(&surface, &actor, &jobs).await?})))
}

/// Which connection; without one all that the peer sees.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Resumed {
    connection: Option<String>,
}

/// The job ticks again, from its next planned time on. Resuming one that is not paused changes nothing.
pub async fn resume(
    State(surface): State<Surface>,
    actor: Actor,
    Path(name): Path<String>,
    headers: HeaderMap,
    bytes: Received,
) -> Result<Json<Value>, Problem> {
    actor.may("jobs:write")?;
    let jobs = named(&surface, &name)?;
    let is_empty = bytes.as_ref().is_ok_and(|bytes| bytes.is_empty());
    let resumed: Resumed = if is_empty { Resumed::default() } else { body(&headers, bytes)? };
    seen(&actor, resumed.connection.as_deref())?;
    let now = surface.queue().app.clock().now();
    for connection in visible(&surface, &actor, resumed.connection.as_deref())? {
        for job in &jobs {
            surface.queue().resume(&connection.config.name, job, now).await?;
        }
    }
    Ok(Json(json!({"jobs": views(&surface, &actor, &jobs).await?})))
}

fn named<'s>(surface: &'s Surface, name: &str) -> Result<Vec<&'s Route>, Problem> {
    let jobs = surface.queue().routes.jobs_named(name);
    if jobs.is_empty() { Err(Problem::not_found(format!("There is no job {name}."))) } else { Ok(jobs) }
}

/// The connections meant: enabled, seen by the peer, and with this name if one is given.
fn visible<'s>(surface: &'s Surface, actor: &Actor, name: Option<&str>) -> Result<Vec<&'s Connection>, Problem> {
    let all = surface.queue().app.connections().filter(|connection| actor.sees(&connection.config.name));
    let meant: Vec<_> = all.filter(|connection| name.is_none_or(|name| connection.config.name == name)).collect();
    match (meant.is_empty(), name) {
        (true, Some(name)) => Err(Problem::not_found(format!("There is no connection {name}."))),
        _ => Ok(meant),
    }
}

/// The one connection meant.
fn the_connection<'s>(surface: &'s Surface, actor: &Actor, name: Option<&str>) -> Result<&'s str, Problem> {
    match visible(surface, actor, name)?[..] {
        [one] => Ok(&one.config.name),
        [] => Err(Problem::not_found("There is no connection.")),
        ref many => {
            let names: Vec<&str> = many.iter().map(|connection| connection.config.name.as_str()).collect();
            Err(Problem::invalid(format!("connection is one of {}.", names.join(", "))))
        }
    }
}

/// What only a back-fill takes.
fn options(wanted: &Wanted, jobs: &[&Route]) -> Result<Map<String, Value>, Problem> {
    let members = [
        ("dry_run", wanted.dry_run.map(Value::from)),
        ("confirm", wanted.confirm.map(Value::from)),
        ("props", wanted.props.clone().map(Value::from)),
    ];
    let given = members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    let options: Map<String, Value> = given.collect();
    if !options.is_empty() && jobs.iter().any(|job| job.name != BACKFILL) {
        return Err(Problem::invalid("dry_run, confirm and props are for order-backfill-sync only."));
    }
    Ok(options)
}

fn range(wanted: &Wanted) -> Result<Option<Range>, Problem> {
    let (from, to) = (instant("from", wanted.from.as_deref())?, instant("to", wanted.to.as_deref())?);
    match (from, to) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(Problem::invalid("A range needs its beginning: from.")),
        (Some(from), Some(to)) if to < from => Err(Problem::invalid("The range ends before it begins.")),
        (Some(from), to) => Ok(Some(Range { from, to })),
    }
}

/// Every pair of these jobs and the connections that the peer sees.
async fn views(surface: &Surface, actor: &Actor, jobs: &[&Route]) -> Result<Vec<Value>, Problem> {
    let app = &surface.queue().app;
    let rows = app.store().read().await?.schedule().await?;
    let now = app.clock().now();
    let mut views = Vec::new();
    for job in jobs {
        for connection in app.connections().filter(|connection| actor.sees(&connection.config.name)) {
            let meant = |row: &&Scheduled| row.connection == connection.config.name && row.job == job.name;
            views.push(view(surface, job, connection, rows.iter().find(meant), now));
        }
    }
    Ok(views)
}

fn view(surface: &Surface, job: &Route, connection: &Connection, row: Option<&Scheduled>, now: i64) -> Value {
    let timing = surface.queue().timing(connection, job).ok().flatten();
    let paused = row.filter(|row| row.is_paused(now));
    let next_due = row.and_then(|row| row.next_due).filter(|_| paused.is_none() && timing.is_some());
    json!({
        "name": job.name, "connection": connection.config.name,
        "timing": timing.map(|timing| timing.to_string()),
        "next_due": maybe_time(next_due),
        "last_planned": maybe_time(row.and_then(|row| row.last_planned)),
        "last_started": maybe_time(row.and_then(|row| row.last_started)),
        "last_ok": maybe_time(row.and_then(|row| row.last_ok)),
        "paused": paused.map(|row| json!({
            "at": maybe_time(row.paused_at), "by": row.paused_by, "until": maybe_time(row.paused_until),
            "reason": row.paused_reason,
        })),
    })
}

fn run_view(row: &Row) -> Value {
    let message = messages::view(row);
    json!({
        "id": row.id, "job": row.route, "connection": row.connection, "state": row.state, "reason": row.reason,
        "detail": row.detail, "notes": message["notes"], "tries": row.attempts, "source": row.source,
        "range": row.payload.0.get("from").map(|from| json!({
            "from": from.as_i64().map(time), "to": row.payload.0["to"].as_i64().map(time),
        })),
        "created": message["created"], "changed": message["changed"], "due": message["due"],
    })
}
