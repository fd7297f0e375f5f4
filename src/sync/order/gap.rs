//! `commercetools.gap-found`: an order's message came without the one before it (C 5.1). The numbers
//! of a resource have no holes, so one that is still missing a while later was lost.
//!
//! What was lost is read from the Messages, where the project keeps them, and taken in as if it had
//! been delivered. The order is read again in any case.

use serde::Deserialize;
use serde_json::{Value, json};

use super::poll::keeps_messages;
use crate::app::{App, Connection};
use crate::commercetools::client::{Client, Page, Query};
use crate::commercetools::notification::{Notification, Taken};
use crate::failure::{Failure, Outcome, Skip, skip};
use crate::intake;
use crate::queue::{Draft, Message, Note};
use crate::store::Ending;
use crate::sync::connection;

/// Most messages that are looked for at once.
const MOST: i64 = 100;

#[derive(Debug, Deserialize)]
struct Look {
    /// Of the order.
    id: String,
    /// Of the message before which one was missing.
    number: i64,
}

/// Looks whether the hole is still there, and fills it.
///
/// # Errors
/// When commercetools or the database cannot be asked.
pub async fn fill(app: App, message: Message) -> Outcome {
    let Look { id, number } = message.payload()?;
    let connection = connection(&app, &message)?;
    if !connection.config.order.enabled {
        return skip(Skip::Ignored, "Orders are switched off for this connection.");
    }
    let Some(first) = hole(&app, &message, &id, number).await? else {
        message.unchanged();
        message.tell(format!("message {} of order {id} came late", number - 1));
        return Ok(());
    };
    let commercetools = connection.commercetools.on(message.call());
    let found = match keeps_messages(&message, &commercetools).await? {
        true => lost(&commercetools, &id, first, number).await?,
        false => Vec::new(),
    };
    let count = found.len();
    message.then(found.into_iter().map(|row| heard(&message, connection, row, |key| key)));
    let reread = message.polled("commercetools.order-changed", format!("{id}@{first}-{number}"));
    message.then([reread.subject(format!("order:{id}")).payload(json!({"id": id}))]);
    let sentence = format!(
        "Messages {first} to {} of order {id} did not reach us; {count} were read from commercetools.",
        number - 1
    );
    message.note(Note::new("order_sync.gap_found", sentence.clone()));
    message.tell(sentence);
    Ok(())
}

/// The first number of the hole that ends before `number`; `None` = it was filled meanwhile.
async fn hole(app: &App, message: &Message, id: &str, number: i64) -> Result<Option<i64>, Failure> {
    let least = (number - MOST).max(1);
    let keys: Vec<String> = (least..number).map(|number| format!("{id}@{number}")).collect();
    let known = intake::known(app, message.connection(), &keys).await?;
    let missing = (least..number).rev().take_while(|number| !known.contains(&format!("{id}@{number}")));
    Ok(missing.last())
}

/// The Messages of the hole, as far as they are kept.
async fn lost(commercetools: &Client, id: &str, first: i64, number: i64) -> Result<Vec<Value>, Failure> {
    let query = Query {
        predicates: vec![format!(
            "resource(typeId = \"order\" and id = :id) and sequenceNumber >= {first} and sequenceNumber < {number}"
        )],
        variables: vec![("id".into(), id.to_owned())],
        sort: vec!["createdAt asc".into(), "id asc".into()],
        limit: MOST as u16,
    };
    let page: Page<Value> = commercetools.query("GET /messages", &query).await?;
    Ok(page.results)
}

/// A Message, kept as if it had been pushed: under the same key, but for what `keyed` makes of it.
pub(super) fn heard(
    message: &Message,
    connection: &Connection,
    mut row: Value,
    keyed: impl Fn(String) -> String,
) -> Draft {
    row["notificationType"] = json!("Message");
    row["projectKey"] = json!(connection.config.commercetools.project_key);
    let (raw, id) = (row.to_string().into_bytes(), row["id"].to_string());
    let start = |route: &str, key: String| message.polled(route, keyed(key));
    let draft = match Notification::read(row) {
        Ok(notification) => intake::draft(&notification, Taken::by(&connection.config), start),
        Err(why) => start("commercetools.unreadable", id)
            .ended(Ending::Parked("unreadable"), format!("The Message cannot be read: {why}")),
    };
    draft.body(raw)
}
