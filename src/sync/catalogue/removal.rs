//! Sweeps for what is gone and nobody told of (C 10): the ids of a collection against the active pairs.
//!
//! Absence counts only in a sweep that saw all of it, when the one before it saw the same scope; each entity
//! is read once more by its own message before it is deactivated. Too much of it waits for a person.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::run::Collection;
use crate::app::{App, Connection};
use crate::commercetools::client::{Page, Query};
use crate::config::model::Threshold;
use crate::failure::{Failure, Outcome};
use crate::queue::Message;
use crate::store::{Error, Record, Run, Side, Urgency};
use crate::sync::canonical::canonical_hash;
use crate::sync::pages;
use crate::sync::walk::PAGE;

/// What may be gone without asking anybody: the greater of both (C 10).
const THRESHOLD: Threshold = Threshold { percent: 2, count: 50 };
/// Entities of one transaction.
const GONE: i64 = 50;

/// What a sweep walks.
pub struct Sweep {
    /// Name of its runs.
    pub stream: &'static str,
    pub of: &'static Collection,
    /// Where an entity goes that may be gone.
    pub route: &'static str,
}

/// How far a sweep is.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Place {
    /// The last id.
    after: Option<String>,
    walked: bool,
    read: u64,
}

#[derive(Debug, Deserialize)]
struct Id {
    id: String,
}

/// Walks all ids, page by page, and has what is gone looked at. A sweep that is cut goes on behind the last
/// page.
///
/// # Errors
/// As the client says; waiting for an approval where too much is gone.
pub async fn sweep(app: &App, message: &Message, connection: &Connection, sweep: &Sweep) -> Outcome {
    let walk = Walk { app, message, connection, sweep };
    let (run, mut place) = walk.open().await?;
    while !place.walked {
        place = walk.page(&run, place).await?;
    }
    walk.finish(&run, &place).await
}

struct Walk<'a> {
    app: &'a App,
    message: &'a Message,
    connection: &'a Connection,
    sweep: &'a Sweep,
}

impl Walk<'_> {
    /// The sweep under way, unless it walks another scope than is configured now; else a new one.
    async fn open(&self) -> Result<(Run, Place), Failure> {
        let scope = (&self.connection.config.commercetools.project_key, self.sweep.of.collection);
        let scope = canonical_hash(&scope).map_err(|error| Failure::rejected(error.to_string()))?;
        if let Some(found) = pages::under_way(self.app, self.message, self.sweep.stream, &scope).await? {
            return Ok(found);
        }
        let place = Place::default();
        let now = self.app.clock().now();
        let run = Run::new(self.message.connection(), self.sweep.stream, &scope, json!(place), now);
        pages::open(self.app, &run).await?;
        Ok((run, place))
    }

    /// Reads a page of ids, and writes down whose pairs they are together with the place behind it.
    async fn page(&self, run: &Run, place: Place) -> Result<Place, Failure> {
        let query = Query {
            predicates: place.after.iter().map(|_| "id > :last".to_owned()).collect(),
            variables: place.after.iter().map(|last| ("last".to_owned(), last.clone())).collect(),
            sort: vec!["id asc".into()],
            limit: PAGE,
        };
        let commercetools = self.connection.commercetools.on(self.message.call());
        let page: Page<Id> = commercetools.query(self.sweep.of.collection, &query).await?;
        let ids: Vec<String> = page.results.into_iter().map(|row| row.id).collect();
        let place = Place {
            walked: ids.len() < usize::from(PAGE),
            read: place.read + ids.len() as u64,
            after: ids.last().cloned().or(place.after),
        };
        let mut db = self.app.store().read().await?;
        let pairs = db.mappings_of(self.message.connection(), self.sweep.of.kind, &ids).await?;
        drop(db);
        let seen: Vec<Record> = pairs
            .into_iter()
            .filter_map(|row| {
                Some(Record { name: row.fluent_ref?, source: Some(row.commercetools_id), ..Record::default() })
            })
            .collect();
        let (id, position, stream) = (run.id, json!(place), self.sweep.stream);
        let write = self.app.store().write(Urgency::Bulk, move |tx| {
            Box::pin(async move {
                if tx.hold_run(id).await?.is_none() {
                    return Err(Error::Fenced { subject: stream.into() });
                }
                tx.put_records(id, Side::Source, seen).await?;
                tx.move_run(id, position).await
            })
        });
        write.await?;
        Ok(place)
    }

    /// Has what is gone looked at, unless that is too much.
    async fn finish(&self, run: &Run, place: &Place) -> Outcome {
        let (name, of) = (self.message.connection(), self.sweep.of);
        let mut db = self.app.store().read().await?;
        let last = db.last_run(name, self.sweep.stream).await?;
        let counted = db.count_unseen(name, of.kind, run.id).await?;
        let now = db.run(run.id).await?;
        drop(db);
        let counts = last.is_some_and(|last| last.scope == run.scope);
        let is_approved = now.is_some_and(|run| run.approved_by.is_some());
        let (missing, total) = (counted.missing.unsigned_abs(), counted.total.unsigned_abs());
        if counts && !is_approved && THRESHOLD.is_exceeded(missing, total) {
            let sentence = format!(
                "The sweep would deactivate {missing} {} ({} %). Approve it or correct the scope.",
                of.plural,
                missing * 100 / total.max(1)
            );
            return Err(Failure::Waiting { key: format!("approval:{}", run.id), sentence });
        }
        if counts {
            self.look(run).await?;
        }
        let ended = run.clone();
        self.message.with(move |tx| {
            Box::pin(async move {
                tx.end_run(ended.id, "done").await?;
                tx.forget_runs(&ended).await
            })
        });
        match (counts, missing) {
            (_, 0) => self.message.unchanged(),
            (true, missing) => {
                self.message.tell(format!("{} {} are there, {missing} may be gone", place.read, of.plural))
            }
            (false, missing) => self.message.tell(format!(
                "{missing} {} are not there; that counts when the next sweep does not see them either",
                of.plural
            )),
        }
        Ok(())
    }

    /// Puts a message for each entity that was not seen; it reads it once more.
    async fn look(&self, run: &Run) -> Outcome {
        let (store, kind, mut after) = (self.app.store(), self.sweep.of.kind, None::<String>);
        loop {
            let mut db = store.read().await?;
            let rows = db.unseen(self.message.connection(), kind, run.id, after.as_deref(), GONE).await?;
            drop(db);
            let Some(last) = rows.last() else { return Ok(()) };
            after.clone_from(&last.fluent_ref);
            let drafts = rows.iter().map(|row| {
                let id = &row.commercetools_id;
                let draft = self.message.polled(self.sweep.route, format!("{id}#{}", run.id));
                draft.subject(format!("{kind}:{id}")).payload(json!({"id": id})).into()
            });
            let drafts = drafts.collect();
            store.write(Urgency::Bulk, move |tx| Box::pin(async move { tx.put(drafts).await.map(|_| ()) })).await?;
        }
    }
}
