//! Runs in pages: which page comes next, and when all are done.
//!
//! A page is a message. As soon as a page of a source is read, the next one is put, if fewer than [`OPEN`]
//! are at work; else by the next page that ends. All of it stands in the run's row, which moves in the
//! transactions of the pages, so a run goes on wherever it was cut.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{IMPORT, PAGE, pair};
use crate::app::{App, Connection};
use crate::clock::Millis;
use crate::config::model::Pair;
use crate::failure::{Failure, Outcome};
use crate::queue::{Effect, Message};
use crate::store::{Counted, Error, New, Position, Result, Run, Tx, Urgency};
use crate::sync::pages::{Chain, OPEN, give_up};
use crate::sync::poll::Frame;

/// Pages of one step at work at once, for requests of twenty entries each, which are much shorter.
const OPEN_IMPORTS: u64 = 24;

/// What a page does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Reads positions.
    Positions,
    /// Reads entries.
    Entries,
    /// Looks at what was found, once all of it is.
    Decide,
    /// Writes what differs.
    Write,
}

/// Payload of a page's message.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PageOf {
    pub run: Uuid,
    pub step: Step,
    /// From 1.
    pub number: u64,
    /// The place it begins behind; none = at the beginning.
    pub after: Option<Value>,
}

/// How far a run is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Place {
    /// Name of the pair.
    pub pair: String,
    /// All positions and all entries, or the positions that changed.
    pub full: bool,
    /// Fluent's clock when it began.
    pub began: Millis,
    /// The window of a run that looks for changes.
    pub frame: Option<Frame>,
    chains: BTreeMap<Step, Chain>,
    /// The container that is written to; none = plain HTTP.
    pub container: Option<String>,
    /// Does it count that something is missing?
    pub absence: bool,
    pub counts: Counts,
}

/// What a run saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Rows of the source.
    pub read: i64,
    /// Rows that differ from what is remembered.
    pub changed: i64,
    /// Those that became visible late.
    pub late: i64,
    pub written: i64,
}

impl Place {
    /// A run of a pair that begins now.
    pub fn new(pair: &Pair, began: Millis, frame: Option<Frame>) -> Self {
        Self {
            pair: pair::name(pair),
            full: frame.is_none(),
            began,
            frame,
            chains: BTreeMap::new(),
            container: None,
            absence: false,
            counts: Counts::default(),
        }
    }

    /// The stream of runs like this one.
    pub fn stream(&self) -> String {
        stream(self.full, &self.pair)
    }

    /// The first pages: of positions, and of entries where all are compared.
    fn begin(&mut self, run: Uuid) -> Vec<PageOf> {
        let steps: &[Step] = if self.full { &[Step::Positions, Step::Entries] } else { &[Step::Positions] };
        steps.iter().map(|step| self.start(run, *step)).collect()
    }

    /// The first page of a step.
    pub fn start(&mut self, run: Uuid, step: Step) -> PageOf {
        self.chains.insert(step, Chain::begun());
        PageOf { run, step, number: 1, after: None }
    }

    /// Page `number` ends at `next`; `None` = it is the last one. Answers the page that may begin.
    fn read(&mut self, run: Uuid, step: Step, number: u64, next: Option<Value>) -> Option<PageOf> {
        let most = if self.container.is_some() && step == Step::Write { OPEN_IMPORTS } else { OPEN };
        let (number, after) = self.chains.entry(step).or_default().read(number, next, most)?;
        Some(PageOf { run, step, number, after: Some(after) })
    }

    /// A page is done. Answers the page that may begin now.
    fn done(&mut self, run: Uuid, step: Step) -> Option<PageOf> {
        if let Some((number, after)) = self.chains.entry(step).or_default().done() {
            return Some(PageOf { run, step, number, after: Some(after) });
        }
        let reading = step != Step::Write && self.chains.values().all(Chain::is_over);
        reading.then(|| self.start(run, Step::Decide))
    }

    /// Is nothing left to write?
    fn is_written(&self) -> bool {
        self.chains.get(&Step::Write).is_some_and(Chain::is_over)
    }
}

/// The name of a pair's runs, and of its cursor.
pub fn stream(full: bool, pair: &str) -> String {
    format!("{}:{pair}", if full { "inventory-full-sync" } else { "inventory-sync" })
}

/// A page at work.
pub struct Work<'a> {
    pub app: &'a App,
    pub message: &'a Message,
    pub connection: &'a Connection,
    pub pair: &'a Pair,
    pub run: Run,
    pub place: Place,
    pub page: PageOf,
}

/// Begins a run, unless one of its stream is open. Answers whether it did.
///
/// # Errors
/// When the database fails.
pub async fn begin(
    app: &App,
    message: &Message,
    connection: &Connection,
    pair: &Pair,
    mut place: Place,
) -> std::result::Result<bool, Failure> {
    let scope = pair::scope(pair, connection)?;
    let mut run = Run::new(message.connection(), &place.stream(), &scope, Value::Null, app.clock().now());
    let pages = place.begin(run.id);
    run.position.0 = json!(place);
    let drafts = puts(message, &place, pages);
    let opened = app.store().write(Urgency::Bulk, move |tx| {
        Box::pin(async move {
            if !tx.open_run(&run).await? {
                return Ok(false);
            }
            if let Some(frame) = &place.frame
                && !frame.begin(tx, &run.connection, &run.stream).await?
            {
                return Err(Error::Fenced { subject: format!("the cursor of {}", run.stream) });
            }
            tx.put(drafts).await?;
            Ok(true)
        })
    });
    Ok(opened.await?)
}

/// The messages of pages.
fn puts(message: &Message, place: &Place, pages: impl IntoIterator<Item = PageOf>) -> Vec<New> {
    let template = Template::of(message, place);
    pages.into_iter().map(|page| template.message(&page)).collect()
}

/// What the messages of a run's pages look like; built before the transaction that puts them.
#[derive(Clone)]
pub struct Template {
    page: New,
    import: New,
}

impl Template {
    /// The pages of a run that looks for changes are in a hurry.
    pub fn of(message: &Message, place: &Place) -> Self {
        let lane = if place.full { "bulk" } else { "stock" };
        let draft = |route: &str| New::from(message.next(route, "").lane(lane));
        Self { page: draft(PAGE), import: draft(IMPORT) }
    }

    fn message(&self, page: &PageOf) -> New {
        let named = serde_json::to_value(page.step).unwrap_or_default();
        let key = format!("{}:{}:{}", page.run, named.as_str().unwrap_or_default(), page.number);
        New { key, payload: json!(page), ..self.page.clone() }
    }

    /// The same for a page that is one request to the Import API (F 1.4).
    fn batch(&self, page: &PageOf) -> New {
        New { key: format!("{}:{}", page.run, page.number), payload: json!(page), ..self.import.clone() }
    }

    fn put(&self, page: &PageOf, place: &Place) -> New {
        match page.step == Step::Write && place.container.is_some() {
            true => self.batch(page),
            false => self.message(page),
        }
    }
}

/// Changes a run's place in an open transaction, and puts the pages that may begin. `false` = it is over.
async fn change(
    tx: &mut Tx,
    run: Uuid,
    template: &Template,
    change: impl FnOnce(&mut Place) -> Vec<PageOf> + Send,
) -> Result<bool> {
    let Some(held) = tx.hold_run(run).await? else { return Ok(false) };
    let mut place: Place = serde_json::from_value(held.position.0.clone())
        .map_err(|source| Error::Corrupt { what: "place of a run", source })?;
    let pages = change(&mut place);
    let drafts = pages.iter().map(|page| template.put(page, &place)).collect();
    tx.put(drafts).await?;
    tx.move_run(run, json!(place)).await?;
    if place.is_written() {
        finish(tx, &held, &place).await?;
    }
    Ok(true)
}

/// All is written: the window closes, and after a full sync the delta goes on from its beginning.
async fn finish(tx: &mut Tx, run: &Run, place: &Place) -> Result<()> {
    tx.end_run(run.id, "done").await?;
    tx.forget_runs(run).await?;
    let now = tx.now();
    match &place.frame {
        Some(frame) => {
            let counted = (place.counts.changed, place.counts.late);
            // An operator may have set the cursor elsewhere meanwhile; there it stays.
            frame.end(tx, &run.connection, &run.stream, counted, now).await?;
        }
        None => {
            let done = Position::Done { end: place.began, since: place.began };
            let stream = stream(false, &place.pair);
            // A cursor that stands already stays, too.
            tx.advance(&run.connection, &stream, None, &done, Counted::default()).await?;
        }
    }
    Ok(())
}

impl Work<'_> {
    /// The page ends at `next`: the following one may begin while this one is still at work.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn read_to(&self, next: Option<Value>) -> Outcome {
        let (template, run) = (Template::of(self.message, &self.place), self.run.id);
        let (step, number) = (self.page.step, self.page.number);
        let write = self.app.store().write(Urgency::Bulk, move |tx| {
            Box::pin(async move {
                change(tx, run, &template, |place| place.read(run, step, number, next).into_iter().collect()).await?;
                Ok(())
            })
        });
        Ok(write.await?)
    }

    /// The page is done; commits `effects` with it, and counts what it saw.
    pub fn done(&self, counts: Counts, effects: Vec<Effect>) {
        let (template, run, step) = (Template::of(self.message, &self.place), self.run.id, self.page.step);
        let page = self.message.id();
        self.message.with(move |tx| {
            Box::pin(async move {
                for effect in effects {
                    effect(tx).await?;
                }
                tx.release_pairs(page).await?;
                change(tx, run, &template, |place| {
                    place.counts.read += counts.read;
                    place.counts.changed += counts.changed;
                    place.counts.late += counts.late;
                    place.counts.written += counts.written;
                    place.done(run, step).into_iter().collect()
                })
                .await?;
                Ok(())
            })
        });
    }

    /// What was found is to be written now; `None` = there is nothing.
    pub fn decided(&self, container: Option<String>, absence: bool, is_empty: bool) {
        let (template, run) = (Template::of(self.message, &self.place), self.run.id);
        self.message.with(move |tx| {
            Box::pin(async move {
                change(tx, run, &template, |place| {
                    place.container = container;
                    place.absence = absence;
                    let first = place.start(run, Step::Write);
                    if is_empty {
                        place.read(run, Step::Write, 1, None);
                        place.done(run, Step::Write);
                        return Vec::new();
                    }
                    vec![first]
                })
                .await?;
                Ok(())
            })
        });
    }

    /// The source does not take the place any more: the same run from its first page.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn restart(&self) -> Outcome {
        give_up(self.app, self.run.id).await?;
        let mut frame = self.place.frame.clone();
        if let Some(frame) = &mut frame {
            frame.again();
        }
        let place = Place::new(self.pair, self.place.began, frame);
        begin(self.app, self.message, self.connection, self.pair, place).await?;
        self.message.tell("Fluent refused the cursor; the walk starts again.");
        Ok(())
    }
}
