//! What the handlers of categories and products have in common.

pub mod removal;
pub mod run;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::pages::PAGE_AT_WORK;
use super::text::Notes;
use crate::app::{App, Connection};
use crate::failure::{Class, Failure};
use crate::queue::{Draft, Message, Note};
use crate::remote::Error;
use crate::store::Mapping;

/// What the messages of both flows carry.
#[derive(Debug, Deserialize)]
pub struct Notice {
    pub id: String,
}

/// The message that follows from `message` for one version of the source: once per version, unless the
/// same version is handled `again`, or for a cause that stands in the key of `message` (C 1.3.3).
pub fn next(message: &Message, route: &str, of: (&str, &str), version: i64, again: bool) -> Draft {
    let (kind, id) = of;
    let versioned = message.key().strip_prefix(id).is_some_and(|rest| rest.starts_with('#'));
    let cause = match message.key().split_once('@') {
        _ if again => Some(message.key()),
        Some((_, cause)) if versioned => Some(cause),
        _ => None,
    };
    let key = cause.map_or_else(|| format!("{id}#{version}"), |cause| format!("{id}#{version}@{cause}"));
    message.next(route, key).subject(format!("{kind}:{id}")).at_least(version).payload(json!({"id": id}))
}

/// A message that asks for something else than what the handled one is about.
pub fn ask(message: &Message, route: &str, of: (&str, &str), why: &str) -> Draft {
    let (kind, id) = of;
    message.next(route, format!("{id}@{why}")).subject(format!("{kind}:{id}")).payload(json!({"id": id}))
}

/// Was it written to Fluent at some time? A row whose ref is only reserved was not.
pub fn is_written(row: &Mapping) -> bool {
    row.fluent_ref.is_some() && row.state != "absent"
}

/// What the flow remembers beside the row's columns; of another version's shape nothing is taken.
pub fn extra<T: for<'de> Deserialize<'de> + Default>(row: &Mapping) -> T {
    serde_json::from_value(row.extra.0.clone()).unwrap_or_default()
}

/// Puts it back.
pub fn set_extra(row: &mut Mapping, extra: &impl Serialize) {
    row.extra.0 = json!(extra);
}

/// How long the message has been waiting or retried, in milliseconds.
pub fn held(app: &App, message: &Message) -> i64 {
    message.held_since().map_or(0, |since| app.clock().now() - since)
}

/// Does Fluent not have what was to be updated?
pub fn is_lost(error: &Error, connection: &Connection) -> bool {
    error.code == "C0120E" && !names_catalogue(error, connection)
}

fn names_catalogue(error: &Error, connection: &Connection) -> bool {
    error.sentence.contains(connection.config.fluent.product_catalogue.reference.as_str())
}

/// What Fluent's refusal means; a catalogue that does not exist is a mistake in the configuration.
pub fn explained(error: Error, connection: &Connection) -> Failure {
    let catalogue = &connection.config.fluent.product_catalogue.reference;
    if error.code == "C0120E" && names_catalogue(&error, connection) {
        return Failure::rejected(format!(
            "The product catalogue {catalogue} does not exist in Fluent. Correct fluent.product_catalogue.ref."
        ));
    }
    error.into()
}

/// Tells what the mapping cut or left out.
pub fn note(message: &Message, notes: &Notes) {
    for (field, count) in &notes.cuts {
        let sentence = format!("{count} values of {field} were too long and were cut or left out.");
        message.note(Note::new("text.cut", sentence));
    }
}

/// Is a page of a run writing it just now? Then a message of its own comes later.
///
/// # Errors
/// To be tried again soon, if so; when the database fails.
pub async fn unclaimed(app: &App, message: &Message, row: Option<&Mapping>) -> Result<(), Failure> {
    let Some((kind, name)) = row.and_then(|row| Some((&row.kind, row.fluent_ref.as_ref()?))) else { return Ok(()) };
    if app.store().read().await?.is_claimed(message.connection(), kind, name).await? {
        let sentence = format!("A page of a run is writing {kind} {name} just now.");
        return Err(Failure::Again { class: Class::Stale, sentence, after: PAGE_AT_WORK });
    }
    Ok(())
}
