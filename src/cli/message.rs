//! `message …`: the queue.

use serde_json::{Value, json};

use super::client::Client;
use super::output::{Output, instant, local, text};
use super::refusal::Refusal;
use super::{MessageFilters, MessageVerb, Page};

/// Runs one of them.
pub async fn perform(verb: &MessageVerb, client: &Client, output: &Output) -> Result<(), Refusal> {
    match verb {
        MessageVerb::List(filters) => list(filters, client, output).await,
        MessageVerb::Show { id, payload } => show(id, *payload, client, output).await,
        MessageVerb::Retry { ids } => decide(ids, "retry", None, client, output).await,
        MessageVerb::Skip { ids, reason } => {
            decide(ids, "skip", Some(&json!({"reason": reason})), client, output).await
        }
    }
}

async fn list(filters: &MessageFilters, client: &Client, output: &Output) -> Result<(), Refusal> {
    let mut query = given(&[
        ("state", &filters.state),
        ("route", &filters.route),
        ("lane", &filters.lane),
        ("connection", &filters.connection),
        ("subject", &filters.subject),
    ]);
    if let Some(since) = &filters.since {
        query.push(("since", instant("--since", since, output.now())?));
    }
    query.extend(paging(&filters.page));
    let answer = client.read(&["api", "v1", "messages"], &query).await?;
    if output.is_json() {
        return output.document(&answer);
    }
    let rows = answer["items"].as_array().into_iter().flatten().map(|message| {
        let cell = |name: &str| text(&message[name]);
        let (age, subject) = (output.age(&message["created"]), cell("subject"));
        vec![cell("id"), age, cell("route"), subject, cell("state"), reason(message), cell("detail")]
    });
    output.table(&["id", "age", "route", "subject", "state", "reason", "detail"], rows)?;
    more(&answer)
}

async fn show(id: &str, payload: bool, client: &Client, output: &Output) -> Result<(), Refusal> {
    let query: &[(&str, String)] = if payload { &[("payload", "true".into())] } else { &[] };
    let message = client.read(&["api", "v1", "messages", id], query).await?;
    if output.is_json() {
        return output.document(&message);
    }
    let cell = |name: &str| text(&message[name]);
    output.facts(&[
        ("id", cell("id")),
        ("connection", cell("connection")),
        ("route", cell("route")),
        ("lane", cell("lane")),
        ("subject", cell("subject")),
        ("key", cell("key")),
        ("state", cell("state")),
        ("reason", cell("reason")),
        ("detail", cell("detail")),
        ("waits for", cell("waits_for")),
        ("tries", cell("tries")),
        ("source", cell("source")),
        ("correlation id", cell("correlation_id")),
        ("created", local(&message["created"])),
        ("changed", local(&message["changed"])),
        ("due", if is_open(&message) { local(&message["due"]) } else { String::new() }),
        ("payload", cell("payload")),
    ])?;
    for note in message["notes"].as_array().into_iter().flatten() {
        output.line(&format!("note {}: {}", text(&note["code"]), text(&note["sentence"])))?;
    }
    let mut attempts = message["attempts"].as_array().into_iter().flatten().peekable();
    if attempts.peek().is_some() {
        output.line("")?;
        let row = |attempt: &Value| {
            let cell = |name: &str| text(&attempt[name]);
            vec![cell("number"), local(&attempt["at"]), cell("outcome"), cell("class"), cell("detail")]
        };
        output.table(&["try", "time", "outcome", "class", "detail"], attempts.map(row))?;
    }
    match &message["received"] {
        Value::Null => Ok(()),
        received => output.line(&format!("\n{}", text(&received["content"]))),
    }
}

/// Each message on its own; the first refusal is the verb's, after all were tried.
async fn decide(
    ids: &[String],
    what: &str,
    body: Option<&Value>,
    client: &Client,
    output: &Output,
) -> Result<(), Refusal> {
    let (mut done, mut refused) = (Vec::new(), Vec::new());
    for id in ids {
        match client.post(&["api", "v1", "messages", id, what], body).await {
            Ok(message) => done.push(message),
            Err(refusal) => refused.push(refusal),
        }
    }
    if output.is_json() {
        output.document(&json!({"items": done, "next": null}))?;
    } else {
        let lines = done.iter().map(|message| format!("{} {}", text(&message["id"]), text(&message["state"])));
        lines.into_iter().try_for_each(|line| output.line(&line))?;
    }
    let Some(first) = refused.first() else { return Ok(()) };
    let sentences: Vec<String> = refused.iter().map(ToString::to_string).collect();
    Err(Refusal::new(first.code, sentences.join("\n")))
}

/// The filters that were given.
pub fn given<'a>(filters: &[(&'a str, &Option<String>)]) -> Vec<(&'a str, String)> {
    filters.iter().filter_map(|(name, value)| Some((*name, value.as_ref()?.clone()))).collect()
}

/// Which part of the list.
pub fn paging(page: &Page) -> Vec<(&'static str, String)> {
    let limit = page.limit.map(|limit| ("limit", limit.to_string()));
    limit.into_iter().chain(page.after.clone().map(|after| ("after", after))).collect()
}

/// Tells on standard error that the list goes on.
pub fn more(answer: &Value) -> Result<(), Refusal> {
    if let Some(next) = answer["next"].as_str() {
        eprintln!("There is more: --after {next}");
    }
    Ok(())
}

/// A waiting message has a key instead of a reason.
fn reason(message: &Value) -> String {
    let known = [&message["reason"], &message["waits_for"]].into_iter().find(|reason| !reason.is_null());
    known.map_or(String::new(), text)
}

fn is_open(message: &Value) -> bool {
    matches!(message["state"].as_str(), Some("ready" | "waiting"))
}
