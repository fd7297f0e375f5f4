//! `job …`: what runs by itself.

use std::time::Duration;

use serde_json::{Value, json};

use super::JobVerb;
use super::client::Client;
use super::output::{Output, deadline, instant, local, text};
use super::refusal::Refusal;
use crate::clock::Clock;

/// Between two looks at a run that is waited for.
const LOOK: Duration = Duration::from_millis(500);

/// Runs one of them.
pub async fn perform(verb: &JobVerb, client: &Client, output: &Output) -> Result<(), Refusal> {
    match verb {
        JobVerb::List => list(client, output).await,
        JobVerb::Run { name, from, to, full, set, confirm, dry_run, connection, wait } => {
            let mut wanted = given(connection);
            if let Some(count) = confirm {
                wanted["confirm"] = json!(count);
            }
            if let Some(dry_run) = dry_run {
                wanted["dry_run"] = json!(dry_run);
            }
            if *full {
                wanted["from"] = json!("1970-01-01T00:00:00Z");
            }
            for pair in set {
                let Some((key, value)) = pair.split_once('=') else {
                    return Err(Refusal::usage(format!("--set {pair}: it takes KEY=VALUE.")));
                };
                wanted["props"][key] = json!(value);
            }
            for (key, option, value) in [("from", "--from", from), ("to", "--to", to)] {
                if let Some(text) = value {
                    wanted[key] = json!(instant(option, text, output.now())?);
                }
            }
            run(name, &wanted, *wait, client, output).await
        }
        JobVerb::Pause { name, reason, until, connection } => {
            let mut wanted = given(connection);
            wanted["reason"] = json!(reason);
            if let Some(until) = until {
                wanted["until"] = json!(deadline("--until", until, output.now())?);
            }
            decide(name, "pause", &wanted, client, output).await
        }
        JobVerb::Approve { run, reason } => approve(run, reason, client, output).await,
        JobVerb::Resume { name, connection } => decide(name, "resume", &given(connection), client, output).await,
    }
}

async fn list(client: &Client, output: &Output) -> Result<(), Refusal> {
    let answer = client.read(&["api", "v1", "jobs"], &[]).await?;
    if output.is_json() {
        return output.document(&answer);
    }
    jobs(&answer["items"], output)
}

/// Starts it; waits for every run that came of it, if wanted.
async fn run(name: &str, wanted: &Value, wait: bool, client: &Client, output: &Output) -> Result<(), Refusal> {
    let started = client.post(&["api", "v1", "jobs", name, "run"], Some(wanted)).await?;
    let mut runs = Vec::new();
    for run in started["runs"].as_array().into_iter().flatten() {
        runs.push(if wait { ended(&text(&run["id"]), client).await? } else { run.clone() });
    }
    if output.is_json() {
        output.document(&json!({"runs": runs}))?;
    } else {
        for run in &runs {
            let words = ["id", "job", "connection", "state", "reason", "detail"].map(|name| text(&run[name]));
            output.line(words.iter().filter(|word| !word.is_empty()).cloned().collect::<Vec<_>>().join(" ").trim())?;
        }
    }
    match runs.iter().find(|run| run["state"] == "parked") {
        Some(run) => Err(Refusal::failed(format!("{} did not succeed: {}", text(&run["job"]), text(&run["detail"])))),
        None => Ok(()),
    }
}

async fn ended(id: &str, client: &Client) -> Result<Value, Refusal> {
    let clock = Clock::system();
    let mut told = String::new();
    loop {
        let run = client.read(&["api", "v1", "runs", id], &[]).await?;
        if matches!(run["state"].as_str(), Some("done" | "skipped" | "parked")) {
            return Ok(run);
        }
        let detail = text(&run["detail"]);
        if !detail.is_empty() && detail != told {
            eprintln!("{}: {detail}", text(&run["state"]));
            told = detail;
        }
        clock.sleep(LOOK).await;
    }
}

async fn approve(run: &str, reason: &str, client: &Client, output: &Output) -> Result<(), Refusal> {
    let answer = client.post(&["api", "v1", "runs", run, "approve"], Some(&json!({"reason": reason}))).await?;
    if output.is_json() {
        return output.document(&answer);
    }
    output.line(&format!("{} of {} goes on", text(&answer["stream"]), text(&answer["connection"])))
}

async fn decide(name: &str, what: &str, wanted: &Value, client: &Client, output: &Output) -> Result<(), Refusal> {
    let answer = client.post(&["api", "v1", "jobs", name, what], Some(wanted)).await?;
    if output.is_json() {
        return output.document(&answer);
    }
    jobs(&answer["jobs"], output)
}

fn jobs(jobs: &Value, output: &Output) -> Result<(), Refusal> {
    let row = |job: &Value| {
        let timing = match &job["timing"] {
            Value::Null => "by hand".into(),
            timing => text(timing),
        };
        let [name, connection] = ["name", "connection"].map(|name| text(&job[name]));
        let next = if job["paused"].is_null() { local(&job["next_due"]) } else { paused(&job["paused"]) };
        vec![name, connection, timing, local(&job["last_started"]), local(&job["last_ok"]), next]
    };
    let header = ["job", "connection", "timing", "last run", "last success", "next run"];
    output.table(&header, jobs.as_array().into_iter().flatten().map(row))
}

fn paused(pause: &Value) -> String {
    let until = match local(&pause["until"]) {
        until if until.is_empty() => until,
        until => format!(" until {until}"),
    };
    format!("paused{until} by {}: {}", text(&pause["by"]), text(&pause["reason"]))
}

fn given(connection: &Option<String>) -> Value {
    connection.as_ref().map_or_else(|| json!({}), |connection| json!({"connection": connection}))
}
