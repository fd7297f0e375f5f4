//! `cursor …`: how far each stream was read.

use serde_json::{Value, json};

use super::CursorVerb;
use super::client::Client;
use super::output::{Output, instant, local, text};
use super::refusal::Refusal;

/// Runs one of them.
pub async fn perform(verb: &CursorVerb, client: &Client, output: &Output) -> Result<(), Refusal> {
    match verb {
        CursorVerb::List => list(client, output).await,
        CursorVerb::Set { connection, stream, position, expected, reason, accept_gap } => {
            let position = instant("POSITION", position, output.now())?;
            let wanted = json!({
                "position": position, "expected": read(expected, output)?, "reason": reason, "accept_gap": accept_gap,
            });
            let cursor = client.put(&["api", "v1", "cursors", connection, stream], &wanted).await?;
            match output.is_json() {
                true => output.document(&cursor),
                false => output.line(&format!("{connection} {stream} {}", place(&cursor["position"]))),
            }
        }
    }
}

async fn list(client: &Client, output: &Output) -> Result<(), Refusal> {
    let answer = client.read(&["api", "v1", "cursors"], &[]).await?;
    if output.is_json() {
        return output.document(&answer);
    }
    let row = |cursor: &Value| {
        let cell = |name: &str| text(&cursor[name]);
        let (lag, moved) = (format!("{}s", cell("lag_seconds")), local(&cursor["changed"]));
        let place = place(&cursor["position"]);
        vec![cell("connection"), cell("stream"), lag, cell("found"), cell("late"), moved, place]
    };
    let rows = answer["items"].as_array().into_iter().flatten().map(row);
    output.table(&["connection", "stream", "lag", "found", "late", "moved", "position"], rows)
}

/// A closed window's end, or the whole position of an open one; either is what `--expected` takes.
fn place(position: &Value) -> String {
    position["end"].as_str().map_or_else(|| position.to_string(), str::to_owned)
}

fn read(expected: &str, output: &Output) -> Result<Value, Refusal> {
    if !expected.starts_with('{') {
        return instant("--expected", expected, output.now()).map(Value::String);
    }
    serde_json::from_str(expected)
        .map_err(|error| Refusal::usage(format!("--expected is no position of `cursor list`: {error}.")))
}
