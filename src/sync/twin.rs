//! The poll beside each webhook of Fluent: it finds what no webhook told (F 1.5).
//!
//! It walks what changed in a frozen window, page by page; a page and the cursor behind it are one
//! transaction. What was transferred already is passed over.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::poll::{Found, Pace, Window};
use crate::app::{App, Connection};
use crate::clock;
use crate::config::model::Poll;
use crate::failure::{Class, Failure, Outcome};
use crate::fluent::model::{self, Id};
use crate::fluent::operation::Operation;
use crate::queue::Message;
use crate::store::{Db, Mapping};

/// What one poll looks for.
pub struct Twin {
    /// The cursor's name.
    pub stream: &'static str,
    pub operation: &'static Operation,
    /// The list in its answer.
    pub list: &'static str,
    /// Fluent's name of the rows.
    pub entity: &'static str,
    /// Kind of the mapping rows that remember what was transferred.
    pub kind: &'static str,
    /// Where news go.
    pub route: &'static str,
    /// What people call the rows.
    pub plural: &'static str,
}

/// A row, as far as it is looked at; the entity is read again by its handler.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    id: String,
    #[serde(rename = "ref")]
    reference: Option<String>,
    status: Option<String>,
    updated_on: Option<String>,
    /// Lists without filter for retailers name it.
    #[serde(default)]
    retailer: Option<Id>,
    #[serde(default)]
    order: Option<Owner>,
}

#[derive(Clone, Debug, Deserialize)]
struct Owner {
    /// Returns name their order by ref only.
    id: Option<String>,
}

/// Puts a message for each row that changed and was not transferred in that state yet.
///
/// # Errors
/// A page that cannot be read leaves the window open; the next run goes on behind the last page.
pub async fn sync(app: &App, message: &Message, connection: &Connection, twin: &Twin, poll: &Poll) -> Outcome {
    let now = connection.fluent.on(message.call()).now().await?;
    let pace = Pace { settle: poll.settle, overlap: poll.overlap };
    let start = poll.start_at.as_deref().and_then(clock::parse_rfc3339);
    let Some(window) = Window::open(app, message, twin.stream, now, pace, start).await? else {
        message.unchanged();
        return Ok(());
    };
    let mut walk = Walk { app, message, connection, twin, window };
    while walk.page().await? {}
    match walk.window.found {
        0 => message.unchanged(),
        found => message.tell(format!("{found} {} may have changed unheard", twin.plural)),
    }
    Ok(())
}

struct Walk<'a> {
    app: &'a App,
    message: &'a Message,
    connection: &'a Connection,
    twin: &'a Twin,
    window: Window<'a>,
}

impl Walk<'_> {
    /// Reads and commits one page; is there another?
    async fn page(&mut self) -> Result<bool, Failure> {
        let (from, to) = (clock::rfc3339(self.window.from), clock::rfc3339(self.window.to));
        let after: Option<String> = self.window.after()?;
        let mut variables = json!({"from": from, "to": to, "after": after});
        // Not every list can be asked for a retailer.
        if self.twin.operation.text.contains("$retailerId") {
            variables["retailerId"] = json!([self.connection.config.fluent.retailer_id]);
        }
        let fluent = self.connection.fluent.on(self.message.call());
        let answer = fluent.run::<BTreeMap<String, model::Connection<Row>>>(self.twin.operation, variables).await;
        let mut lists = match answer {
            // A cursor that Fluent no longer takes: the same window from its first page.
            Err(error) if error.refused() && after.is_some() => {
                self.window.restart().await?;
                return Err(Failure::retry(Class::Stale, format!("{error} The window starts again.")));
            }
            answer => answer?,
        };
        let page = lists.remove(self.twin.list).filter(|page| !page.is_broken());
        let Some(page) = page else {
            let sentence = format!(
                "Fluent announced more {} after cursor {} but sent none; the window {from} to {to} stays open.",
                self.twin.plural,
                after.as_deref().unwrap_or("(none)")
            );
            return Err(Failure::retry(Class::Server, sentence));
        };
        let next = page.next();
        let news = self.news(page.nodes()).await?;
        self.window.commit(news, next).await?;
        Ok(next.is_some())
    }

    /// Rows of our retailer that were not transferred yet, as messages.
    async fn news(&self, rows: impl Iterator<Item = &Row>) -> Result<Vec<Found>, Failure> {
        let ours = self.connection.config.fluent.retailer_id.to_string();
        let rows: Vec<&Row> =
            rows.filter(|row| row.retailer.as_ref().is_none_or(|retailer| retailer.id == ours)).collect();
        let ids: Vec<String> = rows.iter().map(|row| row.id.clone()).collect();
        let mut db = self.app.store().read().await?;
        let seen = Seen::load(&mut db, self.message.connection(), self.twin.kind, &ids).await?;
        let news = rows.into_iter().filter(|row| self.window.is_extra() || !seen.is_same(row));
        Ok(news.map(|row| self.found(row)).collect())
    }

    fn found(&self, row: &Row) -> Found {
        let updated_on = row.updated_on.as_deref().unwrap_or_default();
        let order = row.order.as_ref().and_then(|order| order.id.as_deref());
        let payload = json!({
            "entity_type": self.twin.entity, "entity_id": row.id, "entity_ref": row.reference,
            "entity_status": row.status, "root_entity_type": order.map(|_| "ORDER"), "root_entity_id": order,
            "updated_on": row.updated_on.as_deref().filter(|_| !self.window.is_extra()),
        });
        let key = self.window.key(format!("poll:{}:{}@{updated_on}", self.twin.entity, row.id));
        let draft = self.message.polled(self.twin.route, key).payload(payload);
        // Whether a webhook should have told of it is known once it is known whether it is ours.
        Found { at: clock::parse_rfc3339(updated_on).unwrap_or(self.window.to), draft, counts: false }
    }
}

/// Which state of an entity was transferred last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Transferred {
    #[serde(rename = "fluent_updated_on", skip_serializing_if = "Option::is_none")]
    pub updated_on: Option<String>,
    #[serde(rename = "fluent_status", skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
}

impl Transferred {
    /// The row that remembers it; `order` is the id of the commercetools Order it was written to.
    /// Orders have a row of their own.
    pub fn row(&self, message: &Message, kind: &str, order: &str, fluent_id: &str) -> Mapping {
        let mut row = Mapping::new(message.connection(), kind, &format!("{order}/{kind}-{fluent_id}"));
        row.fluent_id = Some(fluent_id.to_owned());
        row.extra.0 = json!(self);
        row.last_message = Some(message.id());
        row
    }
}

/// What was transferred of some entities, by Fluent id. A consignment may be in several Orders.
pub struct Seen(Vec<(String, Transferred)>);

impl Seen {
    /// # Errors
    /// When the database fails.
    pub async fn load(db: &mut Db, connection: &str, kind: &str, ids: &[String]) -> Result<Self, Failure> {
        let rows = db.mappings_by_fluent_ids(connection, kind, ids).await?;
        let read = |row: Mapping| Some((row.fluent_id?, serde_json::from_value(row.extra.0).unwrap_or_default()));
        Ok(Self(rows.into_iter().filter_map(read).collect()))
    }

    /// Was this very state transferred, or a newer one?
    pub fn is_transferred(&self, id: &str, updated_on: &str, status: Option<&str>) -> bool {
        let told = clock::parse_rfc3339(updated_on);
        self.all(id, |seen| {
            let transferred = seen.updated_on.as_deref().and_then(clock::parse_rfc3339);
            transferred.zip(told).is_some_and(|(transferred, told)| {
                transferred > told || (transferred == told && seen.status.as_deref() == status)
            })
        })
    }

    /// Was exactly this state transferred?
    fn is_same(&self, row: &Row) -> bool {
        self.all(&row.id, |seen| seen.updated_on == row.updated_on && seen.status == row.status)
    }

    fn all(&self, id: &str, is: impl Fn(&Transferred) -> bool) -> bool {
        let mut rows = self.0.iter().filter(|(of, _)| of == id).map(|(_, seen)| seen).peekable();
        rows.peek().is_some() && rows.all(is)
    }
}
