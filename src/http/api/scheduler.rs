//! `PUT /api/v1/fluent-connect/scheduler/add/{account}/{retailer}/{job}`: the path by which the timers of
//! the Java connector start its jobs (`surfaces.md` 2.3). With our own schedule running it is a harmless
//! extra run.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Received, body};
use crate::clock::{Millis, parse_rfc3339};
use crate::http::Surface;
use crate::http::answer::Problem;
use crate::http::auth::Actor;
use crate::queue::{Range, Route};
use crate::store::Filter;

/// Largest body, in bytes.
pub const BODY: usize = 64 * 1024;

/// Names under which the ends of a period are given.
const ENDS: [(&str, &str); 3] = [("start", "end"), ("startDate", "endDate"), ("from", "to")];

/// Queues a job, or says that it waits already; one that runs gets a successor.
pub async fn add(
    State(surface): State<Surface>,
    actor: Actor,
    Path((account, retailer, job)): Path<(String, String, String)>,
    headers: HeaderMap,
    bytes: Received,
) -> Result<(StatusCode, Json<Value>), Problem> {
    actor.may("jobs:run")?;
    let queue = surface.queue();
    let is_meant = |fluent: &crate::config::model::FluentRemote| {
        fluent.account == account && fluent.retailer_id.to_string() == retailer
    };
    let mut connections = queue.app.connections().filter(|connection| actor.sees(&connection.config.name));
    let Some(connection) = connections.find(|connection| is_meant(&connection.config.fluent)) else {
        return Err(Problem::not_found(format!("No connection serves Fluent account {account}, retailer {retailer}.")));
    };
    let connection = connection.config.name.as_str();
    let jobs = queue.routes.jobs_named(&job);
    if jobs.is_empty() {
        return Err(Problem::not_found(format!("There is no job {job}.")));
    }
    let is_empty = bytes.as_ref().is_ok_and(|bytes| bytes.is_empty());
    let range = if is_empty { None } else { range(&body(&headers, bytes)?)? };
    unpaused(&surface, connection, &jobs).await?;
    let key = named(&headers, &actor, &format!("{account}/{retailer}/{job}"))?;
    let mut runs = Vec::new();
    for job in jobs {
        runs.push(queued(&surface, &actor, connection, job, range, key.as_deref()).await?);
    }
    let mut answer = runs[0].clone();
    answer["job"] = job.into();
    answer["runs"] = runs.into();
    Ok((StatusCode::ACCEPTED, Json(answer)))
}

async fn queued(
    surface: &Surface,
    actor: &Actor,
    connection: &str,
    job: &Route,
    range: Option<Range>,
    key: Option<&str>,
) -> Result<Value, Problem> {
    let queue = surface.queue();
    let answer = |id, status: &str| json!({"id": id, "job": job.name, "status": status});
    if range.is_none() && key.is_none() {
        let filter = Filter {
            route: Some(job.name.clone()),
            connection: Some(connection.to_owned()),
            subject: Some(job.name.clone()),
            ..Filter::default()
        };
        let rows = queue.app.store().read().await?.messages(&filter, 20).await?;
        if let Some(row) = rows.iter().find(|row| row.state == "ready" || row.state == "waiting") {
            return Ok(answer(row.id, "already-queued"));
        }
    }
    let id = queue.run_job_named(connection, job, range, key, &actor.name).await?;
    Ok(answer(id, "queued"))
}

async fn unpaused(surface: &Surface, connection: &str, jobs: &[&Route]) -> Result<(), Problem> {
    let app = &surface.queue().app;
    let mut db = app.store().read().await?;
    for job in jobs {
        let row = db.scheduled(connection, &job.name).await?;
        if let Some(row) = row.filter(|row| row.is_paused(app.clock().now())) {
            let (by, why) = (row.paused_by.unwrap_or_default(), row.paused_reason.unwrap_or_default());
            return Err(Problem::conflict(format!("{} is paused by {by}: {why}", job.name)));
        }
    }
    Ok(())
}

/// The same request of the same caller has the same name, so that it starts one run.
fn named(headers: &HeaderMap, actor: &Actor, what: &str) -> Result<Option<String>, Problem> {
    let Some(key) = headers.get("idempotency-key") else { return Ok(None) };
    match key.to_str() {
        Ok(key) if (8..=128).contains(&key.len()) => {
            let digest = Sha256::digest(format!("{}\n{what}\n{key}", actor.name));
            Ok(Some(digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()))
        }
        _ => Err(Problem::malformed("Idempotency-Key is 8 to 128 visible ASCII characters.")),
    }
}

/// The period of a body, at top level or in `props`; nothing else can be set by a request.
fn range(body: &Value) -> Result<Option<Range>, Problem> {
    let Some(members) = body.as_object() else { return Err(Problem::invalid("The body is an object.")) };
    let empty = serde_json::Map::new();
    let props = match members.get("props") {
        None | Some(Value::Null) => &empty,
        Some(props) => props.as_object().ok_or_else(|| Problem::invalid("props is an object."))?,
    };
    let unknown = members.keys().filter(|name| !["customDateRange", "props"].contains(&name.as_str()));
    let unknown = unknown.chain(props.keys().filter(|name| *name != "customDateRange")).next();
    if let Some(name) = unknown {
        let sentence = format!("{name} cannot be set by a request; the configuration of the job's flow says it.");
        return Err(Problem::invalid(sentence));
    }
    let given = members.get("customDateRange").or_else(|| props.get("customDateRange"));
    let Some(given) = given.filter(|range| !range.is_null()) else { return Ok(None) };
    let pair = ENDS.iter().find(|(start, _)| given.get(*start).is_some());
    let Some((start, end)) = pair else {
        return Err(Problem::invalid("customDateRange has start and end, startDate and endDate, or from and to."));
    };
    let from = instant(&given[*start])?;
    let to = given.get(*end).map(instant).transpose()?;
    match to {
        Some(to) if to < from => Err(Problem::invalid("customDateRange ends before it begins.")),
        to => Ok(Some(Range { from, to })),
    }
}

/// A time; without a zone it is UTC, as the Java connector writes it.
fn instant(text: &Value) -> Result<Millis, Problem> {
    let wrong = || Problem::invalid(format!("{text} is no time such as 2026-01-01T10:00:00Z."));
    let text = text.as_str().ok_or_else(wrong)?;
    parse_rfc3339(text).or_else(|| parse_rfc3339(&format!("{text}Z"))).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_is_read_in_every_spelling() {
        let expected = Some(Range { from: 0, to: Some(1_000) });
        for (start, end) in ENDS {
            let given = json!({start: "1970-01-01T00:00:00Z", end: "1970-01-01T00:00:01.000000000"});
            assert_eq!(range(&json!({"customDateRange": given})).unwrap(), expected);
            assert_eq!(range(&json!({"props": {"customDateRange": given}})).unwrap(), expected);
        }
        assert_eq!(range(&json!({"props": {}})).unwrap(), None);
    }

    #[test]
    fn what_has_no_effect_is_refused() {
        for body in [
            json!([]),
            json!({"customDateRange": {"begin": "1970-01-01T00:00:00Z"}}),
            json!({"customDateRange": {"from": "yesterday"}}),
            json!({"customDateRange": {"from": "1970-01-02T00:00:00Z", "to": "1970-01-01T00:00:00Z"}}),
            json!({"props": {"ctChannelKey": "x"}}),
        ] {
            assert!(range(&body).is_err(), "{body}");
        }
    }
}
