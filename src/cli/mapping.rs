//! `mapping …`: the stored pairs.

use std::io::Write;
use std::path::Path;

use serde_json::Value;

use super::client::{Client, broken};
use super::message::{given, more, paging};
use super::output::{Output, instant, local, text};
use super::refusal::{Code, Refusal};
use super::{ExportFormat, MappingVerb};

/// Runs one of them.
pub async fn perform(verb: &MappingVerb, client: &Client, output: &Output) -> Result<(), Refusal> {
    match verb {
        MappingVerb::List(filters) => {
            let mut query =
                given(&[("connection", &filters.connection), ("kind", &filters.kind), ("state", &filters.state)]);
            query.extend(between(&filters.from, &filters.to, output)?);
            query.extend(paging(&filters.page));
            list(query, client, output).await.map(|_| ())
        }
        MappingVerb::Find { name } => match list(vec![("any", name.clone())], client, output).await? {
            0 => Err(Refusal::new(Code::NotFound, format!("No pair has {name} on either side."))),
            _ => Ok(()),
        },
        MappingVerb::Export { kind, format, connection, from, to, output: file } => {
            let mut query = given(&[("kind", kind), ("connection", connection)]);
            query.push(("format", format.name().into()));
            query.extend(between(from, to, output)?);
            export(&query, file.as_deref(), client, output).await
        }
    }
}

/// Prints a page and answers how many pairs it had.
async fn list(query: Vec<(&str, String)>, client: &Client, output: &Output) -> Result<usize, Refusal> {
    let answer = client.read(&["api", "v1", "mappings"], &query).await?;
    let items = answer["items"].as_array().map_or(&[][..], Vec::as_slice);
    if output.is_json() {
        output.document(&answer)?;
        return Ok(items.len());
    }
    if !items.is_empty() || query.iter().all(|(name, _)| *name != "any") {
        let row = |pair: &Value| {
            let names =
                ["connection", "kind", "commercetools_id", "commercetools_key", "fluent_id", "fluent_ref", "state"];
            names.into_iter().map(|name| text(&pair[name])).chain([local(&pair["last_synced"])]).collect()
        };
        let header = ["connection", "kind", "commercetools id", "key", "fluent id", "ref", "state", "last written"];
        output.table(&header, items.iter().map(row))?;
    }
    more(&answer)?;
    Ok(items.len())
}

/// Writes the export as it comes. A file appears under its name only when it is whole.
async fn export(
    query: &[(&str, String)],
    file: Option<&Path>,
    client: &Client,
    output: &Output,
) -> Result<(), Refusal> {
    let mut response = client.stream(&["api", "v1", "mappings", "export"], query).await?;
    let Some(file) = file else {
        while let Some(piece) = response.chunk().await.map_err(broken)? {
            output.bytes(&piece)?;
        }
        return Ok(());
    };
    let unwritten = |error: std::io::Error| Refusal::failed(format!("{} cannot be written: {error}.", file.display()));
    let mut part = file.as_os_str().to_owned();
    part.push(".part");
    let mut writer = std::fs::File::create(&part).map_err(unwritten)?;
    while let Some(piece) = response.chunk().await.map_err(broken)? {
        writer.write_all(&piece).map_err(unwritten)?;
    }
    writer.sync_all().and_then(|()| std::fs::rename(&part, file)).map_err(unwritten)
}

fn between(
    from: &Option<String>,
    to: &Option<String>,
    output: &Output,
) -> Result<Vec<(&'static str, String)>, Refusal> {
    let mut query = Vec::new();
    for (name, option, value) in [("from", "--from", from), ("to", "--to", to)] {
        if let Some(text) = value {
            query.push((name, instant(option, text, output.now())?));
        }
    }
    Ok(query)
}

impl ExportFormat {
    fn name(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Json => "json",
            Self::Ndjson => "ndjson",
        }
    }
}
