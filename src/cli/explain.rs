//! `explain …`: what happened to one thing.

use serde_json::Value;

use super::ExplainVerb;
use super::client::Client;
use super::output::{Output, local, text};
use super::refusal::Refusal;

/// Runs it.
pub async fn perform(verb: &ExplainVerb, client: &Client, output: &Output) -> Result<(), Refusal> {
    let ExplainVerb::Order { name, stored, connection } = verb;
    let mut query = Vec::new();
    if *stored {
        query.push(("stored", "true".to_owned()));
    }
    query.extend(connection.iter().map(|connection| ("connection", connection.clone())));
    let answer = client.read(&["api", "v1", "explain", "orders", name], &query).await?;
    match output.is_json() {
        true => output.document(&answer),
        false => story(&answer, output),
    }
}

fn story(answer: &Value, output: &Output) -> Result<(), Refusal> {
    let of = |name: &str| text(&answer["order"][name]);
    output.facts(&[
        ("order number", of("order_number")),
        ("connection", of("connection")),
        ("commercetools id", of("commercetools_id")),
        ("fluent id", of("fluent_id")),
        ("fluent ref", of("fluent_ref")),
        ("commercetools", text(&answer["read"]["commercetools"])),
        ("fluent", text(&answer["read"]["fluent"])),
    ])?;
    output.line("")?;
    let entry = |entry: &Value| {
        vec![local(&entry["time"]), text(&entry["where"]), text(&entry["what"]), text(&entry["detail"])]
    };
    output.table(&["time", "where", "what", "detail"], of_list(&answer["timeline"]).map(entry))?;
    output.line("")?;
    let state = |state: &Value| {
        let side = |name: &str| {
            let read = text(&state[format!("{name}_read")]);
            let value = text(&state[name]);
            match (value.is_empty(), read.as_str()) {
                (true, _) => "–".to_owned(),
                (false, "stored") => format!("{value} (stored)"),
                (false, _) => value,
            }
        };
        vec![text(&state["axis"]), side("commercetools"), side("fluent")]
    };
    output.table(&["state", "commercetools", "fluent"], of_list(&answer["states"]).map(state))?;
    for difference in of_list(&answer["differences"]) {
        output.line(&format!("\nDiffers: {}", text(difference)))?;
    }
    if let Some(open) = answer["open"].as_array().filter(|open| !open.is_empty()) {
        output.line("")?;
        let row = |row: &Value| ["id", "route", "state", "reason", "detail"].map(|name| text(&row[name])).to_vec();
        output.table(&["open", "route", "state", "reason", "detail"], open.iter().map(row))?;
    }
    let next = &answer["next"];
    output.line(&format!("\n{}", text(&next["why"])))?;
    match next["command"].as_str() {
        Some(command) => output.line(&format!("Next: {command}")),
        None => Ok(()),
    }
}

fn of_list(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}
