//! `GET /api/v1/status`: one call that feeds an overview.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Parameters, connections, maybe_time, time};
use crate::clock;
use crate::http::Surface;
use crate::http::answer::Problem;
use crate::http::auth::Actor;
use crate::store::{Balance, Counts, Cursor, Trouble};

/// What may be asked.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// Also count all messages and compare; reads the whole table.
    #[serde(default)]
    recount: bool,
}

type Lanes = BTreeMap<(String, String), Counts>;

/// Version, database, connections, counts per lane with their balance, budgets, streams.
pub async fn show(
    State(surface): State<Surface>,
    actor: Actor,
    Parameters(asked): Parameters<Asked>,
) -> Result<Json<Value>, Problem> {
    actor.may("status:read")?;
    let seen = overview(&surface, &actor, asked.recount).await;
    match surface.queue().app.store().trouble() {
        // Nothing can be counted, but what is wrong can be told.
        Some(Trouble { sentence, since, .. }) if seen.is_err() => {
            Err(Problem::unavailable(format!("{sentence} It began at {}.", clock::rfc3339(since))).after(2))
        }
        _ => seen.map(Json),
    }
}

async fn overview(surface: &Surface, actor: &Actor, recount: bool) -> Result<Value, Problem> {
    let app = &surface.queue().app;
    let now = app.clock().now();
    let mut db = app.store().read().await?;
    let among = actor.among();
    let mut lanes = db.tally().await?;
    lanes.retain(|(connection, _), _| actor.sees(connection));
    let mut oldest = BTreeMap::new();
    for lane in app.config().queue.lanes.keys() {
        oldest.insert(lane.clone(), db.overdue(lane, among.as_deref(), now).await?);
    }
    let balance = if recount { Some(db.balance().await?) } else { None };
    let daemons = db.live_daemons().await?;
    let streams: Vec<Cursor> =
        db.cursors().await?.into_iter().filter(|cursor| actor.sees(&cursor.connection)).collect();
    Ok(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "database": app.store().database(),
        "now": time(now),
        "started": time(surface.0.started),
        "uptime_seconds": (now - surface.0.started) / 1000,
        "draining": surface.0.closing.is_leaving(),
        "daemons": daemons,
        "incidents": app.store().trouble().iter().map(incident).collect::<Vec<_>>(),
        "connections": connections::views(surface, actor, &mut db).await?,
        "lanes": lanes.iter().map(|((connection, lane), counts)| counted(connection, lane, counts)).collect::<Vec<_>>(),
        "overdue_since": oldest.into_iter().map(|(lane, since)| (lane, maybe_time(since))).collect::<Map<_, _>>(),
        "totals": total(&lanes).0,
        "balance": balanced(&lanes, balance, actor),
        "budgets": budgets(surface, actor),
        "streams": streams.iter().map(stream).collect::<Vec<_>>(),
    }))
}

/// What is wrong now, in an operator's words.
fn incident(trouble: &Trouble) -> Value {
    json!({
        "kind": "store-error", "severity": "critical", "state": "open",
        "title": trouble.sentence, "first_at": time(trouble.since),
    })
}

/// Of each remote: requests per second now, limit found for all daemons, and whether it is asked.
fn budgets(surface: &Surface, actor: &Actor) -> Vec<Value> {
    let seen = surface.queue().app.connections().filter(|connection| actor.sees(&connection.config.name));
    seen.flat_map(|connection| {
        connection.remotes().map(|(platform, remote)| {
            let (standing, (reads, writes)) = (remote.budget().standing(), remote.breakers());
            json!({
                "connection": connection.config.name, "remote": platform,
                "limit": (standing.limit * 100.0).round() / 100.0,
                "learned": standing.learned.map(|learned| learned.to_string()),
                "in_flight": standing.in_flight, "waiting": standing.waiting,
                "breaker": {"reads": reads, "writes": writes},
            })
        })
    })
    .collect()
}

fn counted(connection: &str, lane: &str, counts: &Counts) -> Value {
    json!({"connection": connection, "lane": lane, "counts": counts, "imbalance": counts.imbalance()})
}

fn total(lanes: &Lanes) -> Counts {
    let mut total = Counts::default();
    for (state, count) in lanes.values().flat_map(|counts| &counts.0) {
        *total.0.entry(state.clone()).or_default() += count;
    }
    total
}

/// `imbalance` is zero, or something was lost or doubled.
fn balanced(lanes: &Lanes, balance: Option<Balance>, actor: &Actor) -> Value {
    let imbalance: i64 = lanes.values().map(|counts| counts.imbalance().abs()).sum();
    let recount = balance.map(|Balance { kept, counted }| {
        let differs = |key: &&(String, String)| kept.get(*key) != counted.get(*key);
        let keys = kept.keys().chain(counted.keys().filter(|key| !kept.contains_key(*key)));
        let differing: Vec<Value> = keys
            .filter(|(connection, _)| actor.sees(connection))
            .filter(differs)
            .map(|key| json!({"connection": key.0, "lane": key.1, "kept": kept.get(key), "counted": counted.get(key)}))
            .collect();
        json!({"equal": differing.is_empty(), "differences": differing})
    });
    json!({"imbalance": imbalance, "recount": recount})
}

fn stream(cursor: &Cursor) -> Value {
    json!({
        "connection": cursor.connection, "stream": cursor.stream, "position": cursor.position,
        "found": cursor.found, "late": cursor.late, "changed": time(cursor.changed),
    })
}
