//! Runs over a collection of the catalogue (C 1.8; architecture 3): its pages are messages, and their records
//! are written from them, in requests of twenty aliases.
//!
//! A run walks what changed in a frozen window, the first one all there is. Its cursor moves when all pages
//! are done. A record that is no plain create or update, or that fails alone, becomes a message of its own.

use std::collections::HashMap;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::app::{App, Connection};
use crate::clock::{self, Millis};
use crate::config::model::CommercetoolsPoll;
use crate::failure::{Class, Failure, Outcome};
use crate::fluent::client::batch::ALIASES;
use crate::fluent::operation::Operation;
use crate::queue::{Draft, Message, Range};
use crate::remote::Kind;
use crate::store::{Error, Mapping, New, Put, Result, Run, Tx, Urgency};
use crate::sync::pages::{Chain, OPEN, PAGE_AT_WORK, is_at_work};
use crate::sync::poll::{Frame, Pace, Window};
use crate::sync::walk::{self, After, PAGE, Row};

/// Requests of one page on their way at once.
const REQUESTS: usize = 8;
/// Rows of one transaction.
const CHUNK: usize = 64;

/// What a run walks.
pub struct Collection {
    /// The cursor's name, and that of the runs.
    pub stream: &'static str,
    /// `GET /categories`
    pub collection: &'static str,
    /// Kind in the mapping and in the subject.
    pub kind: &'static str,
    /// Route of a page.
    pub page: &'static str,
    /// Where a record goes that the page leaves alone.
    pub single: &'static str,
    /// What people call the records.
    pub plural: &'static str,
}

/// Payload of a page's message.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct PageOf {
    run: Uuid,
    /// From 1.
    number: u64,
    /// The place it begins behind; none = at the beginning.
    after: Option<After>,
}

/// How far a run is.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Place {
    frame: Frame,
    chain: Chain,
    counts: Counts,
}

/// What a run saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Rows of the source.
    pub read: i64,
    /// Records that were written from their page.
    pub written: i64,
    /// Records that became messages.
    pub alone: i64,
    /// News that became visible late.
    pub late: i64,
}

/// A page at work.
pub struct Work<'a> {
    pub app: &'a App,
    pub message: &'a Message,
    pub connection: &'a Connection,
    of: &'a Collection,
    run: Run,
    place: Place,
    page: PageOf,
}

/// A record of a page, and when it changed.
pub struct Found {
    pub id: String,
    pub version: i64,
    pub at: Millis,
    pub document: Box<RawValue>,
}

/// Begins a run, unless one is at work.
///
/// # Errors
/// As the client says; a run over a range of its own comes after the one that is at work.
pub async fn begin(app: &App, message: &Message, connection: &Connection, of: &Collection) -> Outcome {
    if is_at_work(app, message, of.stream, &[of.page]).await? {
        let sentence = format!("A run over {} is at work already.", of.plural);
        if message.payload::<Option<Range>>()?.is_some() {
            return Err(Failure::Again { class: Class::Stale, sentence, after: PAGE_AT_WORK });
        }
        message.unchanged();
        message.tell(sentence);
        return Ok(());
    }
    let now = walk::now(&connection.commercetools.on(message.call())).await?;
    let CommercetoolsPoll { settle, overlap } = connection.config.poll;
    let window = Window::open(app, message, of.stream, now, Pace { settle, overlap }, Some(0)).await?;
    let Some(window) = window else {
        message.unchanged();
        return Ok(());
    };
    let place = Place { frame: window.frame(), chain: Chain::begun(), counts: Counts::default() };
    let run = Run::new(message.connection(), of.stream, of.kind, json!(place), app.clock().now());
    let first = put(&template(message, of), &PageOf { run: run.id, number: 1, after: None });
    let opened = app.store().write(Urgency::Bulk, move |tx| {
        Box::pin(async move {
            if !tx.open_run(&run).await? {
                return Ok(());
            }
            if !place.frame.begin(tx, &run.connection, &run.stream).await? {
                return Err(Error::Fenced { subject: format!("the cursor of {}", run.stream) });
            }
            tx.put(vec![first]).await.map(|_| ())
        })
    });
    opened.await?;
    message.tell(format!("the {} are read page by page", of.plural));
    Ok(())
}

/// What the messages of pages look like; built before the transaction that puts them.
fn template(message: &Message, of: &Collection) -> New {
    message.next(of.page, "").lane("bulk").into()
}

fn put(template: &New, page: &PageOf) -> New {
    New { key: format!("{}:{}", page.run, page.number), payload: json!(page), ..template.clone() }
}

/// Changes a run's place in an open transaction, and puts the page that may begin.
async fn change(
    tx: &mut Tx,
    run: Uuid,
    template: &New,
    change: impl FnOnce(&mut Place) -> Option<(u64, Value)> + Send,
) -> Result<()> {
    let Some(held) = tx.hold_run(run).await? else { return Ok(()) };
    let unreadable = |source| Error::Corrupt { what: "place of a run", source };
    let mut place: Place = serde_json::from_value(held.position.0.clone()).map_err(unreadable)?;
    if let Some((number, after)) = change(&mut place) {
        let after = serde_json::from_value(after).map_err(unreadable)?;
        tx.put(vec![put(template, &PageOf { run, number, after })]).await?;
    }
    tx.move_run(run, json!(place)).await?;
    if place.chain.is_over() {
        tx.end_run(run, "done").await?;
        tx.forget_runs(&held).await?;
        let (now, counted) = (tx.now(), (place.counts.written + place.counts.alone, place.counts.late));
        // An operator may have set the cursor elsewhere meanwhile; there it stays.
        place.frame.end(tx, &held.connection, &held.stream, counted, now).await?;
    }
    Ok(())
}

impl<'a> Work<'a> {
    /// The page that a message is about; `None` = its run is over.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn open(
        app: &'a App,
        message: &'a Message,
        connection: &'a Connection,
        of: &'a Collection,
    ) -> std::result::Result<Option<Self>, Failure> {
        let page: PageOf = message.payload()?;
        let run = app.store().read().await?.run(page.run).await?.filter(|run| run.state == "open");
        let Some(run) = run else { return Ok(None) };
        let place = serde_json::from_value(run.position.0.clone())
            .map_err(|error| Failure::rejected(format!("The place of run {} cannot be read: {error}", run.id)))?;
        Ok(Some(Self { app, message, connection, of, run, place, page }))
    }

    /// Reads the page and lets the next one begin. Answers how many rows it has, and those that may be news.
    ///
    /// # Errors
    /// As the client says.
    pub async fn read(&self) -> std::result::Result<(usize, Vec<Found>), Failure> {
        let commercetools = self.connection.commercetools.on(self.message.call());
        let (frame, mut limit) = (&self.place.frame, PAGE);
        let span = (frame.from, frame.to);
        let after = self.page.after.as_ref();
        let page: walk::RawPage =
            walk::page_between(&commercetools, self.of.collection, None, span, after, &mut limit).await?;
        let rows: Vec<(Row, Box<RawValue>)> = page
            .results
            .into_iter()
            .map(|document| Ok((serde_json::from_str(document.get())?, document)))
            .collect::<std::result::Result<_, serde_json::Error>>()
            .map_err(|error| {
                Failure::retry(
                    Class::Server,
                    format!("commercetools sent {} without identity: {error}", self.of.plural),
                )
            })?;
        let last = rows.last().map(|(row, _)| (&row.last_modified_at, &row.id));
        self.read_to(walk::after(last, rows.len(), limit)).await?;
        let ids: Vec<String> = rows.iter().map(|(row, _)| row.id.clone()).collect();
        let mut db = self.app.store().read().await?;
        let known = db.mappings_of(self.message.connection(), self.of.kind, &ids).await?;
        drop(db);
        let known: HashMap<String, i64> =
            known.into_iter().map(|row| (row.commercetools_id, row.commercetools_version)).collect();
        let is_news = |row: &Row| frame.extra || known.get(&row.id).is_none_or(|version| *version < row.version);
        let read = rows.len();
        let news = rows.into_iter().filter(|(row, _)| is_news(row)).map(|(row, document)| Found {
            at: clock::parse_rfc3339(&row.last_modified_at).unwrap_or(frame.to),
            id: row.id,
            version: row.version,
            document,
        });
        Ok((read, news.collect()))
    }

    async fn read_to(&self, next: Option<After>) -> Outcome {
        let (template, run, number) = (template(self.message, self.of), self.run.id, self.page.number);
        let write = self.app.store().write(Urgency::Bulk, move |tx| {
            Box::pin(async move {
                change(tx, run, &template, |place| place.chain.read(number, next.map(|next| json!(next)), OPEN)).await
            })
        });
        Ok(write.await?)
    }

    /// The message that looks at a record by itself. A run over a range of its own looks again at what was
    /// looked at before.
    pub fn alone(&self, found: &Found) -> Draft {
        let key = match self.place.frame.extra {
            true => format!("{}#{}@{}", found.id, found.version, self.run.id),
            false => format!("{}#{}", found.id, found.version),
        };
        let draft = self.message.polled(self.of.single, key).subject(format!("{}:{}", self.of.kind, found.id));
        draft.at_least(found.version).payload(json!({"id": found.id}))
    }

    /// Which of these records have no open message of these routes.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn busy(&self, routes: &[&str], found: &[Found]) -> std::result::Result<Vec<bool>, Failure> {
        let subjects: Vec<String> = found.iter().map(|found| format!("{}:{}", self.of.kind, found.id)).collect();
        let mut db = self.app.store().read().await?;
        let mut open = std::collections::HashSet::new();
        for route in routes {
            open.extend(db.open_subjects(self.message.connection(), route, &subjects).await?);
        }
        Ok(subjects.iter().map(|subject| open.contains(subject)).collect())
    }

    /// Stores the refs of what is new before the first call (D-1), and claims the pairs. Answers whose pair
    /// is ours now.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn claim(
        &self,
        reserved: Vec<Mapping>,
        refs: Vec<String>,
    ) -> std::result::Result<std::collections::HashSet<String>, Failure> {
        self.commit(reserved, Vec::new()).await?;
        let (connection, kind, page) = (self.message.connection().to_owned(), self.of.kind, self.message.id());
        let claim = self.app.store().write(Urgency::Bulk, move |tx| {
            Box::pin(async move { tx.claim_pairs(&connection, kind, &refs, page).await })
        });
        Ok(claim.await?)
    }

    /// Remembers what was written, and releases what waits for these keys.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn commit(&self, rows: Vec<Mapping>, keys: Vec<String>) -> Outcome {
        let mut rows = rows.into_iter().peekable();
        while rows.peek().is_some() {
            let chunk: Vec<Mapping> = rows.by_ref().take(CHUNK).collect();
            let write = self.app.store().write(Urgency::Bulk, move |tx| {
                Box::pin(async move {
                    for row in &chunk {
                        tx.put_mapping(row).await?;
                    }
                    Ok(())
                })
            });
            write.await?;
        }
        if !keys.is_empty() {
            let connection = self.message.connection().to_owned();
            let write = self.app.store().write(Urgency::Bulk, move |tx| {
                Box::pin(async move { tx.all_arrived(&connection, &keys).await.map(|_| ()) })
            });
            write.await?;
        }
        Ok(())
    }

    /// Sends these inputs, twenty a request, and remembers with `written` each one that Fluent took. Answers
    /// for each whether it did. Of a request whose outcome is unknown, or that Fluent refuses as a whole, none is
    /// taken for written: each of its records looks for itself.
    ///
    /// # Errors
    /// When Fluent cannot be reached for now; what was written is remembered all the same.
    pub async fn send<T: Serialize + Sync>(
        &self,
        operation: &Operation,
        inputs: &[(usize, T)],
        written: impl Fn(usize) -> (Mapping, Option<String>) + Sync,
    ) -> std::result::Result<Vec<usize>, Failure> {
        let written = &written;
        // Boxed one by one: a closure over borrowed parts is not general enough for a handler.
        let requests: Vec<BoxFuture<'_, std::result::Result<Vec<usize>, Failure>>> =
            inputs.chunks(ALIASES).map(|batch| self.request(operation, batch, written).boxed()).collect();
        // All of them end: none is given up on its way because another one failed.
        let ended: Vec<_> = stream::iter(requests).buffer_unordered(REQUESTS).collect().await;
        Ok(ended.into_iter().collect::<std::result::Result<Vec<_>, _>>()?.concat())
    }

    async fn request<T: Serialize + Sync>(
        &self,
        operation: &Operation,
        batch: &[(usize, T)],
        written: &(impl Fn(usize) -> (Mapping, Option<String>) + Sync),
    ) -> std::result::Result<Vec<usize>, Failure> {
        let bodies: Vec<&T> = batch.iter().map(|(_, input)| input).collect();
        let fluent = self.connection.fluent.on(self.message.call());
        let outcomes = match fluent.run_each(operation, &bodies).await {
            Ok(outcomes) => outcomes,
            Err(error) if matches!(error.kind, Kind::Refused | Kind::Temporary(Class::UnknownOutcome)) => {
                return Ok(Vec::new());
            }
            Err(error) => return Err(Failure::from(error)),
        };
        let taken = batch.iter().zip(outcomes).filter(|(_, outcome)| outcome.is_ok());
        let taken: Vec<usize> = taken.map(|((at, _), _)| *at).collect();
        let (rows, keys): (Vec<_>, Vec<_>) = taken.iter().map(|at| written(*at)).unzip();
        self.commit(rows, keys.into_iter().flatten().collect()).await?;
        Ok(taken)
    }

    /// The page is done: puts the messages of records that go alone, gives the pairs free, and counts.
    pub fn done(&self, read: usize, written: usize, alone: Vec<(Millis, Draft)>, later: Vec<Draft>) {
        let (template, run, page) = (template(self.message, self.of), self.run.id, self.message.id());
        let fresh = self.place.frame.fresh;
        let (times, drafts): (Vec<Millis>, Vec<New>) =
            alone.into_iter().map(|(at, draft)| (at, New::from(draft))).unzip();
        let later: Vec<New> = later.into_iter().map(New::from).collect();
        self.message.tell(format!(
            "{read} {}, {written} written, {} with a message of their own",
            self.of.plural,
            drafts.len()
        ));
        self.message.with(move |tx| {
            Box::pin(async move {
                let put = tx.put(drafts).await?;
                let new = put.iter().zip(times).filter(|(put, _)| matches!(put, Put::Accepted(_)));
                let new: Vec<Millis> = new.map(|(_, at)| at).collect();
                tx.put(later).await?;
                tx.release_pairs(page).await?;
                change(tx, run, &template, |place| {
                    place.counts.read += read as i64;
                    place.counts.written += written as i64;
                    place.counts.alone += new.len() as i64;
                    place.counts.late += new.iter().filter(|at| **at <= fresh).count() as i64;
                    place.chain.done()
                })
                .await
            })
        });
    }
}
