//! `status` and `healthcheck`.

use serde_json::{Value, json};

use super::client::Client;
use super::connection::stopped;
use super::output::{Output, local, text};
use super::refusal::{Code, Refusal};

const STATES: [&str; 6] = ["ready", "running", "waiting", "parked", "done", "skipped"];

/// An overview; with `recount` also whether the counters are right.
pub async fn show(client: &Client, recount: bool, output: &Output) -> Result<(), Refusal> {
    let query: &[(&str, String)] = if recount { &[("recount", "true".into())] } else { &[] };
    let status = client.read(&["api", "v1", "status"], query).await?;
    if output.is_json() {
        output.document(&status)?;
    } else {
        overview(&status, output)?;
    }
    match status["balance"]["recount"]["equal"].as_bool() {
        Some(false) => {
            let sentence = "The counters differ from the messages; --json says where.";
            Err(Refusal::new(Code::Differences, sentence))
        }
        _ => Ok(()),
    }
}

fn overview(status: &Value, output: &Output) -> Result<(), Refusal> {
    let count = |state: &str| status["totals"][state].as_i64().unwrap_or(0);
    let needs = match count("parked") {
        0 => "Nothing is parked.".to_owned(),
        1 => "1 message is parked: message list --state parked".to_owned(),
        n => format!("{n} messages are parked: message list --state parked"),
    };
    for incident in of(&status["incidents"]) {
        output.line(&format!("{} It began {}.", text(&incident["title"]), local(&incident["first_at"])))?;
        output.line("")?;
    }
    for connection in of(&status["connections"]).filter(|connection| !connection["writes_stopped"].is_null()) {
        output.line(&format!("{}: {}", text(&connection["name"]), stopped(&connection["writes_stopped"])))?;
        output.line("")?;
    }
    let draining = if status["draining"] == true { ", stopping" } else { "" };
    output.facts(&[
        ("version", text(&status["version"])),
        ("database", text(&status["database"])),
        ("started", format!("{}{draining}", local(&status["started"]))),
        ("daemons", text(&status["daemons"])),
        ("imbalance", text(&status["balance"]["imbalance"])),
        ("recount", recounted(&status["balance"]["recount"])),
        ("open work", needs),
    ])?;
    output.line("")?;
    let rows = of(&status["lanes"]).map(|lane| {
        let mut row = vec![text(&lane["connection"]), text(&lane["lane"])];
        row.extend(STATES.iter().map(|state| lane["counts"][state].as_i64().unwrap_or(0).to_string()));
        row.push(output.age(&status["overdue_since"][lane["lane"].as_str().unwrap_or_default()]));
        row
    });
    let header: Vec<_> = ["connection", "lane"].into_iter().chain(STATES).chain(["overdue"]).collect();
    output.table(&header, rows)?;
    output.line("")?;
    budgets(status, output)?;
    let mut streams = of(&status["streams"]).peekable();
    if streams.peek().is_none() {
        return Ok(());
    }
    output.line("")?;
    let row = |stream: &Value| {
        let age = output.age(&stream["changed"]);
        vec![
            text(&stream["connection"]),
            text(&stream["stream"]),
            age,
            text(&stream["found"]),
            text(&stream["position"]),
        ]
    };
    output.table(&["connection", "stream", "moved", "found by poll only", "position"], streams.map(row))
}

/// What each remote allows, and whether it is asked at all.
fn budgets(status: &Value, output: &Output) -> Result<(), Refusal> {
    let rows = of(&status["budgets"]).map(|budget| {
        let breaker = &budget["breaker"];
        vec![
            text(&budget["connection"]),
            text(&budget["remote"]),
            text(&budget["limit"]),
            text(&budget["learned"]),
            text(&budget["in_flight"]),
            text(&budget["waiting"]),
            format!("reads {}, writes {}", text(&breaker["reads"]), text(&breaker["writes"])),
        ]
    });
    let header = ["connection", "remote", "requests/s", "learned", "in flight", "waiting", "breaker"];
    output.table(&header, rows)
}

fn recounted(recount: &Value) -> String {
    match recount["equal"].as_bool() {
        Some(true) => "equal".into(),
        Some(false) => "DIFFERS".into(),
        None => String::new(),
    }
}

fn of(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

/// Does the daemon live, and with `ready`: does it take messages in?
pub async fn health(client: &Client, ready: bool, output: &Output) -> Result<(), Refusal> {
    let (status, body) = client.ask(&[if ready { "readyz" } else { "healthz" }]).await?;
    let body = body.trim();
    match output.is_json() {
        true => {
            let said = serde_json::from_str(body).unwrap_or_else(|_| Value::from(body));
            output.document(&json!({"ok": status.is_success(), "status": status.as_u16(), "said": said}))?;
        }
        false => output.line(body)?,
    }
    match status.is_success() {
        true => Ok(()),
        false => Err(Refusal::failed(format!("The daemon is not well: it answered {}.", status.as_u16()))),
    }
}
