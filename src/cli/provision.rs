//! `provision`: what the connector needs in commercetools, planned or brought about. Needs no daemon.

use std::path::PathBuf;

use clap::{ArgGroup, Args, ValueEnum};
use serde_json::{Value, json};

use super::Arguments;
use super::output::Output;
use super::refusal::{Code, Refusal};
use crate::app::commercetools_alone;
use crate::clock::Clock;
use crate::config::model::Connection;
use crate::config::value::Secret;
use crate::config::{Config, load};
use crate::failure::Class;
use crate::provision::{self, Extension, PARTS, Row};
use crate::remote::Kind;

/// What is to be done.
#[derive(Clone, Debug, Args)]
#[command(group(ArgGroup::new("way").required(true).args(["plan", "apply"])))]
pub struct Provision {
    /// Say what would be done, with the exact calls. Exit code 0 nothing, 4 something, 1 a conflict.
    #[arg(long)]
    plan: bool,
    /// Do it. May be repeated at any time; nothing is ever removed.
    #[arg(long)]
    apply: bool,
    /// Only these parts. Without it: all.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "PARTS")]
    only: Vec<Part>,
    /// Add our fields to a Type of yours, for example line-item=engraving; may be given several times.
    #[arg(long, value_name = "RESOURCE=TYPE", value_parser = extension)]
    extend: Vec<Extension>,
    /// Only this connection. Without it: all.
    #[arg(long, value_name = "NAME")]
    pub(super) connection: Option<String>,
    #[command(flatten)]
    pub(super) client: OtherClient,
}

/// An API client with more scopes than the daemon's; it is not stored.
#[derive(Clone, Debug, Default, Args)]
pub struct OtherClient {
    /// Another API client for this one time; needs --secret-file.
    #[arg(long, value_name = "ID", requires = "secret_file", help_heading = ONCE)]
    commercetools_client_id: Option<String>,
    /// File with its secret; only its owner may be able to read it.
    #[arg(long, value_name = "FILE", requires = "commercetools_client_id", help_heading = ONCE)]
    secret_file: Option<PathBuf>,
}

/// Heading of the options of another client.
const ONCE: &str = "For scopes that the daemon does not need";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    Types,
    Channels,
    States,
    Subscription,
}

/// Runs it.
pub async fn perform(wanted: &Provision, arguments: &Arguments, output: &Output) -> Result<(), Refusal> {
    let config = load(&arguments.sources())?.config;
    let only: Vec<provision::Part> = match wanted.only.is_empty() {
        true => PARTS.to_vec(),
        false => wanted.only.iter().map(|part| part.meant()).collect(),
    };
    let mut rows = Vec::new();
    for connection in connections(&config, wanted.connection.as_deref())? {
        let connection = wanted.client.of(connection);
        let client = commercetools_alone(&config, &connection.commercetools, Clock::system());
        let client = client.map_err(|error| Refusal::failed(format!("No client can be built: {error}.")))?;
        let all = provision::wanted(&connection, &config.intake, &only, &wanted.extend);
        let project_key = &connection.commercetools.project_key;
        let done = match wanted.apply {
            true => provision::apply(&client, &all, project_key).await,
            false => provision::plan(&client, &all, project_key).await,
        };
        rows.extend(done.into_iter().map(|row| (connection.name.clone(), row)));
    }
    show(&rows, wanted.apply, output)?;
    ended(&rows, wanted.apply)
}

/// The enabled connections, or the one that is named.
pub(super) fn connections<'a>(config: &'a Config, named: Option<&str>) -> Result<Vec<&'a Connection>, Refusal> {
    let on = config.connections.iter().filter(|connection| connection.enabled);
    let chosen: Vec<_> = on.filter(|connection| named.is_none_or(|name| connection.name == name)).collect();
    match (chosen.is_empty(), named) {
        (false, _) => Ok(chosen),
        (true, Some(name)) => {
            Err(Refusal::new(Code::NotFound, format!("There is no connection {name} that is enabled.")))
        }
        (true, None) => Err(Refusal::new(Code::Configuration, "The configuration has no connection that is enabled.")),
    }
}

fn show(rows: &[(String, Row)], applied: bool, output: &Output) -> Result<(), Refusal> {
    if output.is_json() {
        let items: Vec<Value> = rows.iter().map(|(connection, row)| document(connection, row, applied)).collect();
        return output.document(&json!({"applied": applied, "items": items, "next": null}));
    }
    let cells = rows.iter().map(|(connection, row)| {
        let said = if tells(row, applied) { row.sentences.join(" ") } else { String::new() };
        vec![connection.clone(), outcome(row, applied).to_owned(), row.resource.to_owned(), row.key.clone(), said]
    });
    output.table(&["connection", "outcome", "resource", "key", "said"], cells)?;
    let calls = rows.iter().filter(|_| !applied).filter_map(|(_, row)| row.call.as_ref());
    for call in calls {
        let text = |member: &str| call[member].as_str().unwrap_or_default();
        output.line(&format!("{} {} {}", text("method"), text("path"), call["body"]))?;
    }
    Ok(())
}

fn document(connection: &str, row: &Row, applied: bool) -> Value {
    let sentences = if tells(row, applied) { json!(row.sentences) } else { json!([]) };
    json!({
        "connection": connection, "resource": row.resource, "key": row.key, "verdict": row.verdict,
        "outcome": outcome(row, applied), "call": row.call, "sentences": sentences,
    })
}

/// What has been done is not told before it is.
fn tells(row: &Row, applied: bool) -> bool {
    applied || row.failed.is_some() || !matches!(row.verdict, "create" | "change")
}

fn outcome(row: &Row, applied: bool) -> &'static str {
    match (row.failed.is_some(), applied, row.verdict) {
        (true, _, _) => "failed",
        (false, true, "create") => "created",
        (false, true, "change") => "changed",
        (_, _, verdict) => verdict,
    }
}

fn ended(rows: &[(String, Row)], applied: bool) -> Result<(), Refusal> {
    let count = |verdict: &str| rows.iter().filter(|(_, row)| row.failed.is_none() && row.verdict == verdict).count();
    let failed: Vec<&Row> = rows.iter().map(|(_, row)| row).filter(|row| row.failed.is_some()).collect();
    let unreachable = failed
        .iter()
        .filter_map(|row| row.failed.as_ref())
        .any(|error| !error.refused() && !matches!(error.kind, Kind::Temporary(Class::Conflict)));
    let conflicts = count("conflict");
    let open = count("foreign") + if applied { 0 } else { count("create") + count("change") };
    match (failed.len(), conflicts, open) {
        (0, 0, 0) => Ok(()),
        (0, 0, open) if applied => {
            Err(Refusal::new(Code::Differences, format!("{open} of them need a decision of yours; the rest is there.")))
        }
        (0, 0, open) => {
            Err(Refusal::new(Code::Differences, format!("{open} changes are pending; run provision --apply.")))
        }
        (0, conflicts, _) => {
            Err(Refusal::failed(format!("{conflicts} of them are in conflict with what the project has; see above.")))
        }
        (failed, _, _) => {
            let code = if unreachable { Code::Credentials } else { Code::Failed };
            Err(Refusal::new(
                code,
                format!("{failed} of them could not be looked at or were refused; see above, then repeat."),
            ))
        }
    }
}

impl OtherClient {
    /// The connection as this client sees it.
    pub(super) fn of(&self, connection: &Connection) -> Connection {
        let mut connection = connection.clone();
        if let (Some(id), Some(file)) = (&self.commercetools_client_id, &self.secret_file) {
            let remote = &mut connection.commercetools;
            remote.client_id = id.clone();
            remote.client_secret = Secret::File { file: file.clone() };
            remote.scopes = Vec::new();
        }
        connection
    }
}

impl Part {
    fn meant(self) -> provision::Part {
        match self {
            Self::Types => provision::Part::Types,
            Self::Channels => provision::Part::Channels,
            Self::States => provision::Part::States,
            Self::Subscription => provision::Part::Subscription,
        }
    }
}

/// `line-item=engraving`
fn extension(text: &str) -> Result<Extension, String> {
    let (resource, key) = text.split_once('=').ok_or("write RESOURCE=TYPE, for example line-item=engraving")?;
    match provision::RESOURCES.contains(&resource) && !key.is_empty() {
        true => Ok(Extension { resource: resource.to_owned(), key: key.to_owned() }),
        false => Err(format!("we have fields for {}", provision::RESOURCES.join(", "))),
    }
}
