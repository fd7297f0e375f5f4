//! `job.order-sync`: finds the orders that no notification told of (C 1.8, 5.1). Without push it finds
//! them all.
//!
//! The orders themselves are the authority: everything that happened to one moves its
//! `lastModifiedAt`. Where the project keeps Messages these are read, too. They say more than the
//! document does, but they come late without a promised bound, and are off at first and kept for days
//! only (platform-commercetools A3, A5); so the orders are always walked, whatever the Messages said.

use std::collections::HashMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::SINCE;
use super::create::since;
use super::gap;
use crate::app::{App, Connection};
use crate::clock::{self, Millis};
use crate::commercetools::client::{Client, Page};
use crate::commercetools::notification::ORDER_CREATED;
use crate::config::model::CommercetoolsPoll;
use crate::failure::{Class, Failure, Outcome};
use crate::queue::{Message, Note};
use crate::store::Urgency;
use crate::sync::connection;
use crate::sync::order_lookup::KIND;
use crate::sync::poll::{Found, Pace, Window};
use crate::sync::walk::{PAGE, after, page};

/// The stream of the orders; its cursor carries this name.
pub const STREAM: &str = "order-sync";
/// The stream of their Messages.
pub const MESSAGES: &str = "order-sync-messages";

/// Walks Messages and orders that changed in a frozen window, page by page.
///
/// # Errors
/// A page that cannot be read leaves its window open; the next run goes on behind the last page.
pub async fn sync(app: App, message: Message) -> Outcome {
    let connection = connection(&app, &message)?;
    let commercetools = connection.commercetools.on(message.call());
    let keeps_messages = keeps_messages(&message, &commercetools).await?;
    let now = commercetools.now();
    let now = now.ok_or_else(|| Failure::retry(Class::Server, "commercetools does not say what time it is."))?;
    correct_since(&app, connection, now).await?;
    let since = since(&app, connection).await?;
    let poll = Poll { app: &app, message: &message, connection, commercetools, now, since };
    // What is wrong with one way must not close the other.
    let heard = if keeps_messages { poll.messages().await } else { Ok(0) };
    let walked = poll.orders().await?;
    let heard = match heard {
        Err(Failure::Rejected { sentence }) => {
            message.note(Note::new("order_sync.messages_unreadable", sentence));
            0
        }
        heard => heard?,
    };
    poll.tell(heard, &walked);
    Ok(())
}

/// Asks for the project's settings; the answer also carries its clock.
pub(super) async fn keeps_messages(message: &Message, commercetools: &Client) -> Result<bool, Failure> {
    match commercetools.settings().await {
        Ok(settings) => Ok(settings.messages.enabled),
        Err(error) if error.status == 403 => {
            message.note(Note::new("order_sync.settings_unreadable", error.sentence));
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

/// `order.since` was stored by our clock when this connection first started. If that was ahead of
/// commercetools', orders placed right after the installation would count as old ones.
async fn correct_since(app: &App, connection: &Connection, now: Millis) -> Result<(), Failure> {
    let name = &connection.config.name;
    let ahead = app.clock().now() - now;
    if connection.config.order.since.is_some() || ahead <= 0 {
        return Ok(());
    }
    let mut db = app.store().read().await?;
    let (Some(stored), None) = (db.setting(name, SINCE).await?, db.cursor(name, STREAM).await?) else { return Ok(()) };
    let Some(stored) = clock::parse_rfc3339(&stored) else { return Ok(()) };
    let (name, value) = (name.clone(), clock::rfc3339(stored - ahead));
    let store = app.store();
    let corrected =
        store.write(Urgency::Bulk, move |tx| Box::pin(async move { tx.put_setting(&name, SINCE, &value).await }));
    Ok(corrected.await?)
}

struct Poll<'a> {
    app: &'a App,
    message: &'a Message,
    connection: &'a Connection,
    commercetools: Client,
    now: Millis,
    /// Older orders are left alone.
    since: Option<Millis>,
}

/// A row of `GET /orders`, as far as it is looked at; the order is read again by its handler.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    id: String,
    version: i64,
    created_at: Option<String>,
    last_modified_at: String,
}

/// What a walk over the orders met.
#[derive(Default)]
struct Walked {
    found: usize,
    changed: usize,
}

impl Poll<'_> {
    /// Walks the orders.
    async fn orders(&self) -> Result<Walked, Failure> {
        let mut walked = Walked::default();
        let Some(mut window) = self.window(STREAM).await? else { return Ok(walked) };
        let mut limit = PAGE;
        loop {
            let page: Page<Row> = self.page("GET /orders", None, &window, &mut limit).await?;
            let ids: Vec<String> = page.results.iter().map(|row| row.id.clone()).collect();
            let known = self.app.store().read().await?.transferred(self.message.connection(), KIND, &ids).await?;
            walked.changed += page.results.iter().filter(|row| changed(row, &known)).count();
            let news = page.results.iter().filter_map(|row| {
                let route = match known.get(&row.id) {
                    Some(_) if changed(row, &known) => "commercetools.order-changed",
                    None if self.is_new(row) => "commercetools.order-created",
                    _ => return None,
                };
                Some(self.found(route, row, &window))
            });
            let news = news.collect();
            let last = page.results.last().map(|row| (&row.last_modified_at, &row.id));
            let next = after(last, page.results.len(), limit);
            let more = next.is_some();
            window.commit(news, next).await?;
            if !more {
                walked.found = window.found;
                return Ok(walked);
            }
        }
    }

    /// Walks the Messages of orders; answers how many no push had brought.
    async fn messages(&self) -> Result<usize, Failure> {
        let Some(mut window) = self.window(MESSAGES).await? else { return Ok(0) };
        let mut limit = PAGE;
        let types: Vec<String> = ORDER_CREATED.iter().map(|kind| format!("\"{kind}\"")).collect();
        let filter = format!("type in ({}) and resource(typeId = \"order\")", types.join(", "));
        loop {
            let page: Page<Value> = self.page("GET /messages", Some(&filter), &window, &mut limit).await?;
            let text = |row: &Value, name: &str| row[name].as_str().map(str::to_owned).unwrap_or_default();
            let last = page.results.last().map(|row| (text(row, "lastModifiedAt"), text(row, "id")));
            let next = after(last.as_ref().map(|(at, id)| (at, id)), page.results.len(), limit);
            let more = next.is_some();
            let heard = page.results.into_iter().map(|row| self.heard(row, &window)).collect();
            window.commit(heard, next).await?;
            if !more {
                return Ok(window.found);
            }
        }
    }

    async fn window(&self, stream: &'static str) -> Result<Option<Window<'_>>, Failure> {
        let CommercetoolsPoll { settle, overlap } = self.connection.config.poll;
        Window::open(self.app, self.message, stream, self.now, Pace { settle, overlap }, self.since).await
    }

    async fn page<T: DeserializeOwned>(
        &self,
        collection: &'static str,
        filter: Option<&str>,
        window: &Window<'_>,
        limit: &mut u16,
    ) -> Result<Page<T>, Failure> {
        page(&self.commercetools, collection, filter, window, limit).await
    }

    /// For us to bring to Fluent?
    fn is_new(&self, row: &Row) -> bool {
        let created = row.created_at.as_deref().and_then(clock::parse_rfc3339);
        created.zip(self.since).is_none_or(|(created, since)| created >= since)
    }

    fn found(&self, route: &'static str, row: &Row, window: &Window<'_>) -> Found {
        let (id, key) = (&row.id, window.key(format!("{}#{}", row.id, row.version)));
        let draft = self.message.polled(route, key);
        let draft = draft.subject(format!("order:{id}")).at_least(row.version).payload(json!({"id": id}));
        Found { at: clock::parse_rfc3339(&row.last_modified_at).unwrap_or(window.to), draft, counts: true }
    }

    /// A Message, kept as if it had been pushed.
    fn heard(&self, row: Value, window: &Window<'_>) -> Found {
        let at = row["lastModifiedAt"].as_str().and_then(clock::parse_rfc3339).unwrap_or(window.to);
        let draft = gap::heard(self.message, self.connection, row, |key| window.key(key));
        Found { at, draft, counts: true }
    }

    fn tell(&self, heard: usize, walked: &Walked) {
        if heard == 0 && walked.found == 0 {
            self.message.unchanged();
        }
        let Walked { found, changed } = walked;
        let sentence = format!(
            "{found} orders without a notification that reached us, {heard} Messages likewise, {changed} orders of \
             Fluent changed"
        );
        self.message.tell(sentence);
    }
}

/// In Fluent, and changed since it was last read for that.
fn changed(row: &Row, known: &HashMap<String, i64>) -> bool {
    known.get(&row.id).is_some_and(|version| row.version > *version)
}
