//! `connection …`: which platforms are tied together, and whether anything is written to them.

use clap::Subcommand;
use serde_json::{Value, json};

use super::client::Client;
use super::output::{Output, deadline, local, text};
use super::refusal::Refusal;

/// `connection …`
#[derive(Debug, Subcommand)]
pub enum ConnectionVerb {
    /// List connections, and whether writes are stopped.
    List,
    /// Write nothing to either platform until it is resumed; intake and reading go on, also over restarts.
    Pause {
        name: String,
        /// Stop every write; the one thing that can be paused for a whole connection.
        #[arg(long, required = true)]
        writes: bool,
        /// Why; shown wherever the connection is.
        #[arg(long, value_name = "SENTENCE")]
        reason: String,
        /// Then it goes on by itself: in how long (2h), or a time.
        #[arg(long, value_name = "TIME")]
        until: Option<String>,
    },
    /// Let what waits be written.
    Resume { name: String },
}

/// Runs one of them.
pub async fn perform(verb: &ConnectionVerb, client: &Client, output: &Output) -> Result<(), Refusal> {
    match verb {
        ConnectionVerb::List => {
            let answer = client.read(&["api", "v1", "connections"], &[]).await?;
            match output.is_json() {
                true => output.document(&answer),
                false => table(answer["items"].as_array().into_iter().flatten(), output),
            }
        }
        ConnectionVerb::Pause { name, writes, reason, until } => {
            let mut wanted = json!({"writes": writes, "reason": reason});
            if let Some(until) = until {
                wanted["until"] = json!(deadline("--until", until, output.now())?);
            }
            decide(name, "pause", &wanted, client, output).await
        }
        ConnectionVerb::Resume { name } => decide(name, "resume", &json!({}), client, output).await,
    }
}

async fn decide(name: &str, what: &str, wanted: &Value, client: &Client, output: &Output) -> Result<(), Refusal> {
    let answer = client.post(&["api", "v1", "connections", name, what], Some(wanted)).await?;
    match output.is_json() {
        true => output.document(&answer),
        false => table(std::iter::once(&answer), output),
    }
}

fn table<'v>(connections: impl Iterator<Item = &'v Value>, output: &Output) -> Result<(), Refusal> {
    let row = |connection: &Value| {
        let stop = &connection["writes_stopped"];
        let writes = match (connection["enabled"] == true, stop.is_null()) {
            (false, _) => "off".to_owned(),
            (true, true) => "on".to_owned(),
            (true, false) => stopped(stop),
        };
        vec![
            text(&connection["name"]),
            text(&connection["commercetools"]["project_key"]),
            format!("{}/{}", text(&connection["fluent"]["account"]), text(&connection["fluent"]["retailer_id"])),
            writes,
        ]
    };
    output.table(&["connection", "commercetools", "fluent", "writes"], connections.map(row))
}

/// A write stop in one sentence.
pub fn stopped(stop: &Value) -> String {
    let until = match local(&stop["until"]) {
        until if until.is_empty() => until,
        until => format!(" until {until}"),
    };
    let [by, reason, waiting] = ["by", "reason", "waiting"].map(|name| text(&stop[name]));
    format!("writes are stopped{until} by {by}: {reason} ({waiting} messages wait)")
}
