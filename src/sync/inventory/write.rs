//! Deciding about what a run found, and writing it page by page (F 4.5, 4.7).

use std::collections::{HashMap, HashSet};

use futures_util::{FutureExt, StreamExt, stream};
use serde_json::json;

use super::import;
use super::read::{alone, name};
use super::run::{Counts, Work};
use super::send::inactive;
use super::writer::{Entry, Writer, Written, is_general, pair_of, placeholder};
use super::{Extra, KIND, SET_INVENTORY, Stock, disappeared, entry_key, fluent_ref, pair, stock};
use crate::clock;
use crate::config::model::{OnDisappeared, StockWrite};
use crate::failure::{Failure, Outcome};
use crate::fluent::operation;
use crate::fluent::stock::{Position, PositionsFound};
use crate::queue::{Effect, Note};
use crate::store::{Mapping, New, Record, Urgency};
use crate::sync::catalogue::extra;

/// Records of a page that is written over plain HTTP.
const PAGE: usize = 500;

/// Both sides are known: is it too much, and how is it written?
///
/// # Errors
/// Waiting for an approval where too many positions are gone.
pub async fn decide(work: &Work<'_>) -> Outcome {
    let config = &work.connection.config.inventory;
    let mut db = work.app.store().read().await?;
    let mut absence = false;
    if work.place.full {
        let last = db.last_run(work.message.connection(), &work.run.stream).await?;
        absence = last.is_some_and(|last| last.scope == work.run.scope) && config.on_disappeared != OnDisappeared::Keep;
        let found = db.missing(&work.run, KIND).await?;
        let (missing, total) = (found.missing.unsigned_abs(), found.total.unsigned_abs());
        let is_approved = work.run.approved_by.is_some();
        if absence && !is_approved && config.missing_threshold.is_exceeded(missing, total) {
            let (id, catalogue) = (work.run.id, &work.pair.virtual_catalogue);
            let sentence = format!(
                "{missing} of {total} positions of catalogue {catalogue} are missing; stock was not changed. Approve \
                 run {id} or correct the pair."
            );
            return Err(Failure::Waiting { key: format!("approval:{id}"), sentence });
        }
        let foreign = db.foreign_targets(&work.run, KIND).await?;
        if foreign > 0 {
            let sentence = format!("{foreign} entries have no position and are not ours; they were left alone.");
            work.message.note(Note::new("inventory.foreign_entries", sentence));
        }
    }
    let bound = i64::try_from(config.import_threshold).unwrap_or(i64::MAX).saturating_add(1);
    let differences = db.count_differences(&work.run, bound).await?;
    drop(db);
    let imports = match config.write {
        StockWrite::Http => false,
        StockWrite::Import => differences > 0,
        StockWrite::Auto => differences >= bound,
    };
    let container = if imports { import::container(work).await? } else { None };
    let is_empty = work.app.store().read().await?.differences(&work.run, KIND, None, 1).await?.is_empty();
    work.decided(container, absence, is_empty);
    let way = if imports { "through the Import API" } else { "over HTTP" };
    match differences {
        0 => work.message.unchanged(),
        n if n >= bound => work.message.tell(format!("more than {} entries differ; they are written {way}", n - 1)),
        n => work.message.tell(format!("{n} entries differ; they are written {way}")),
    }
    Ok(())
}

/// What a page is going to write.
pub struct Batch {
    pub wanted: Vec<(Stock, Option<Entry>)>,
    /// Entries whose positions are gone, with their pairs.
    pub gone: Vec<(Stock, Entry, Mapping)>,
    /// Messages for what is left to others.
    pub drafts: Vec<New>,
}

/// Writes a page of what differs, over plain HTTP.
///
/// # Errors
/// A remote that fails: the page is tried again, without what was written.
pub async fn page(work: &Work<'_>) -> Outcome {
    let batch = take(work, PAGE).await?;
    let mut done = Done { names: Vec::new(), pairs: Vec::new(), forgotten: Vec::new(), drafts: batch.drafts };
    let general = write(work, batch.wanted, batch.gone, &mut done).await?;
    let written = done.names.len() as i64;
    match general {
        Some(failure) => {
            done.keep(work).await?;
            Err(failure)
        }
        None => {
            let counts = Counts { written, ..Counts::default() };
            work.done(counts, vec![done.effect(work)]);
            work.message.tell(format!("{written} entries of catalogue {} were written", work.pair.virtual_catalogue));
            Ok(())
        }
    }
}

/// Takes the records of a page, lets the next page begin, and leaves to others what is theirs.
///
/// # Errors
/// When the database or Fluent fails.
pub async fn take(work: &Work<'_>, size: usize) -> Result<Batch, Failure> {
    let after: Option<(i64, String)> = work.page.after.clone().and_then(|after| serde_json::from_value(after).ok());
    let mut db = work.app.store().read().await?;
    let records = db.differences(&work.run, KIND, after.as_ref(), size as i64).await?;
    drop(db);
    let last = records.last().filter(|_| records.len() == size);
    work.read_to(last.map(|last| json!((last.rank, &last.name)))).await?;
    let records: Vec<Record> = records.into_iter().filter(|record| record.written == 0).collect();
    let mut batch = Batch { wanted: Vec::new(), gone: Vec::new(), drafts: Vec::new() };
    let sorted = Sorted::new(work, records).await?;
    sorted.sort(work, &mut batch).await?;
    Ok(batch)
}

/// Records of a page beside what is known of them.
struct Sorted {
    records: Vec<Record>,
    /// Pairs by their ref, and by the id of their entry.
    by_ref: HashMap<String, Mapping>,
    by_entry: HashMap<String, Mapping>,
    /// Subjects that a message of their own, or the Import API, is at work on.
    busy: HashSet<String>,
    claimed: HashSet<String>,
}

impl Sorted {
    async fn new(work: &Work<'_>, records: Vec<Record>) -> Result<Self, Failure> {
        let (connection, catalogue) = (work.message.connection(), &work.pair.virtual_catalogue);
        let refs: Vec<String> =
            records.iter().filter_map(|record| Some(fluent_ref(catalogue, record.source.as_deref()?))).collect();
        let entries: Vec<String> = records.iter().filter_map(|record| record.target.clone()).collect();
        let subjects: Vec<String> = records.iter().map(|record| format!("inventory:{}", record.name)).collect();
        let mut db = work.app.store().read().await?;
        let by_ref = db.mappings_by_fluent_refs(connection, KIND, &refs).await?;
        let by_entry = db.mappings_of(connection, KIND, &entries).await?;
        let mut busy = db.open_imports(connection, &subjects).await?;
        if work.place.full {
            busy.extend(db.open_subjects(connection, SET_INVENTORY, &subjects).await?);
        }
        drop(db);
        let known = |row: &Mapping| row.fluent_ref.clone();
        let names: Vec<String> = by_ref.iter().chain(&by_entry).filter_map(known).collect();
        let (place, page) = (connection.to_owned(), work.message.id());
        let store = work.app.store();
        let claim = store
            .write(Urgency::Bulk, move |tx| async move { tx.claim_pairs(&place, KIND, &names, page).await }.boxed());
        Ok(Self {
            records,
            claimed: claim.await?,
            busy,
            by_ref: by_ref.into_iter().filter_map(|row| Some((row.fluent_ref.clone()?, row))).collect(),
            by_entry: by_entry.into_iter().map(|row| (row.commercetools_id.clone(), row)).collect(),
        })
    }

    async fn sort(self, work: &Work<'_>, batch: &mut Batch) -> Outcome {
        let mut again = Vec::new();
        for record in &self.records {
            let (channel, sku) = record.name.split_once(':').unwrap_or_default();
            let entry = entry(record);
            let is_busy = self.busy.contains(&format!("inventory:{}", record.name));
            let Some(reference) = record.source.as_deref() else {
                self.gone(work, record, (channel, sku), batch, is_busy);
                continue;
            };
            let wanted = Stock {
                catalogue: work.pair.virtual_catalogue.clone(),
                reference: reference.to_owned(),
                sku: sku.to_owned(),
                channel: channel.to_owned(),
                quantity: record.source_quantity.unwrap_or_default(),
                updated_on: record.source_updated.map(clock::rfc3339),
            };
            let changed_since = work.place.full && record.source_updated.is_some_and(|at| at > work.place.began);
            let row = self.by_ref.get(&wanted.fluent_ref());
            if (work.place.full && is_busy) || changed_since || row.is_some_and(|row| is_older(&wanted, row)) {
                // The delta has it, or had it already.
                continue;
            }
            let is_claimed = row.is_some() && !self.claimed.contains(&wanted.fluent_ref());
            if is_busy || is_claimed {
                let urgent = wanted.quantity == 0;
                batch.drafts.push(alone(work, reference, (channel, sku), record.source_updated, urgent).into());
                continue;
            }
            match work.place.full && entry.is_some() {
                true => again.push((wanted, entry)),
                false => batch.wanted.push((wanted, entry)),
            }
        }
        batch.wanted.extend(read_again(work, again).await?);
        Ok(())
    }

    /// An entry of ours whose position is gone.
    fn gone(&self, work: &Work<'_>, record: &Record, (channel, sku): (&str, &str), batch: &mut Batch, is_busy: bool) {
        let (Some(entry), true, false) = (entry(record), work.place.absence, is_busy) else { return };
        let Some(row) = self.by_entry.get(&entry.id) else { return };
        let prefix = format!("{}/", work.pair.virtual_catalogue);
        let Some(reference) = row.fluent_ref.as_deref().and_then(|name| name.strip_prefix(&prefix)) else { return };
        let is_claimed = row.fluent_ref.as_ref().is_some_and(|name| self.claimed.contains(name));
        if !is_claimed || (row.state != "active" && entry.quantity == 0) {
            return;
        }
        let wanted = Stock {
            catalogue: work.pair.virtual_catalogue.clone(),
            reference: reference.to_owned(),
            sku: sku.to_owned(),
            channel: channel.to_owned(),
            quantity: 0,
            updated_on: None,
        };
        batch.gone.push((wanted, entry, row.clone()));
    }
}

fn entry(record: &Record) -> Option<Entry> {
    Some(Entry {
        id: record.target.clone()?,
        version: record.target_version?,
        key: record.target_key.clone(),
        quantity: record.target_quantity?,
    })
}

/// Was a newer state of the position written already?
fn is_older(wanted: &Stock, row: &Mapping) -> bool {
    let known: Extra = extra(row);
    let at = |text: Option<&str>| text.and_then(clock::parse_rfc3339);
    at(known.updated_on.as_deref()) > at(wanted.updated_on.as_deref())
}

/// Positions that differ from their entries are read once more: the walk took its time (F 4.7).
async fn read_again(
    work: &Work<'_>,
    records: Vec<(Stock, Option<Entry>)>,
) -> Result<Vec<(Stock, Option<Entry>)>, Failure> {
    if records.is_empty() {
        return Ok(records);
    }
    let refs: Vec<&str> = records.iter().map(|(wanted, _)| wanted.reference.as_str()).collect();
    let variables = json!({"catalogue": {"ref": work.pair.virtual_catalogue}, "refs": refs, "first": PAGE});
    let fluent = work.connection.fluent.on(work.message.call());
    let found: PositionsFound = fluent
        .run(&operation::VIRTUAL_POSITIONS_BY_REF, variables)
        .await
        .map_err(|error| pair::explained(error, work.pair))?;
    let now: HashMap<&str, &Position> =
        found.positions.nodes().map(|position| (position.reference.as_str(), position)).collect();
    let config = &work.connection.config.inventory;
    let mut wanted = Vec::new();
    for (earlier, entry) in records {
        // One that went meanwhile is missing in the next full sync.
        let Some(position) = now.get(earlier.reference.as_str()) else { continue };
        let mut notes = Vec::new();
        let fresh = stock(position, work.pair, &earlier.channel, config, &mut notes);
        if let Ok(Some(fresh)) = fresh.map(|fresh| fresh.filter(|fresh| fresh.sku == earlier.sku)) {
            wanted.push((fresh, entry));
        }
    }
    Ok(wanted)
}

/// What a page has done so far.
pub struct Done {
    /// Records that need not be looked at again.
    pub names: Vec<String>,
    pub pairs: Vec<Mapping>,
    /// Pairs whose entries were deleted.
    pub forgotten: Vec<uuid::Uuid>,
    pub drafts: Vec<New>,
}

impl Done {
    /// Leaves a record to a message of its own.
    pub fn leave(&mut self, work: &Work<'_>, stock: &Stock) {
        let updated = stock.updated_on.as_deref().and_then(clock::parse_rfc3339);
        let place = (stock.channel.as_str(), stock.sku.as_str());
        self.drafts.push(alone(work, &stock.reference, place, updated, stock.quantity == 0).into());
        self.names.push(name(&stock.channel, &stock.sku));
    }

    /// To be committed with the page.
    pub fn effect(self, work: &Work<'_>) -> Effect {
        let run = work.run.id;
        Box::new(move |tx| {
            async move {
                tx.put_pairs(self.pairs).await?;
                for id in self.forgotten {
                    tx.forget_mapping(id).await?;
                }
                tx.mark_written(run, &self.names).await?;
                tx.put(self.drafts).await.map(|_| ())
            }
            .boxed()
        })
    }

    /// Committed at once: the page fails.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn keep(self, work: &Work<'_>) -> Outcome {
        let (effect, page) = (self.effect(work), work.message.id());
        let write = work.app.store().write(Urgency::Bulk, move |tx| {
            async move {
                effect(tx).await?;
                // Single messages need not wait for as long as the remote is gone.
                tx.release_pairs(page).await
            }
            .boxed()
        });
        Ok(write.await?)
    }
}

/// Writes all records side by side. Answers what failed in general; what failed for one record alone becomes
/// its own message.
pub async fn write(
    work: &Work<'_>,
    wanted: Vec<(Stock, Option<Entry>)>,
    gone: Vec<(Stock, Entry, Mapping)>,
    done: &mut Done,
) -> Result<Option<Failure>, Failure> {
    let stocks = wanted.iter().map(|(stock, _)| stock).chain(gone.iter().map(|(stock, _, _)| stock));
    let writers = Writers::new(work, stocks).await?;
    let wanted = if work.place.full { wanted } else { look_up(work, wanted).await? };
    let wanted = part_owned(work, wanted, done).await?;
    let (writers, at_once) = (&writers, work.connection.config.inventory.concurrency.max(1));
    let mut general = None;
    // What is sold out goes first.
    let (zero, rest): (Vec<_>, Vec<_>) = wanted.into_iter().partition(|(stock, _)| stock.quantity == 0);
    for wanted in [zero, rest] {
        let written = wanted.into_iter().map(|(stock, entry)| async move {
            let outcome = writers.of(&stock).set(&stock, entry).await;
            (stock, outcome)
        });
        let mut written = stream::iter(written).buffer_unordered(at_once);
        while let Some((stock, outcome)) = written.next().await {
            match outcome {
                Ok(Written::Wrote(entry) | Written::Kept(entry)) => {
                    done.names.push(name(&stock.channel, &stock.sku));
                    done.pairs.push(pair_of(work.message, &stock, &entry));
                }
                Ok(Written::Nothing) => done.names.push(name(&stock.channel, &stock.sku)),
                Err(failure) if is_general(&failure) => general = Some(failure),
                Err(_) => done.leave(work, &stock),
            }
        }
    }
    let failed = take_away(work, writers, gone, done).await;
    Ok(general.or(failed))
}

/// Entries whose positions are gone: to 0, or away. Answers what failed in general.
async fn take_away(
    work: &Work<'_>,
    writers: &Writers,
    gone: Vec<(Stock, Entry, Mapping)>,
    done: &mut Done,
) -> Option<Failure> {
    let mut general = None;
    let at_once = work.connection.config.inventory.concurrency.max(1);
    let deletes = work.connection.config.inventory.on_disappeared == OnDisappeared::Delete;
    let taken = gone.into_iter().map(|(stock, entry, row)| async move {
        let writer = writers.of(&stock);
        let outcome = match deletes {
            true => writer.delete(&entry).await.map(|()| Written::Nothing),
            false => writer.set(&stock, Some(entry)).await,
        };
        (stock, row, outcome)
    });
    let mut taken = stream::iter(taken).buffer_unordered(at_once);
    while let Some((stock, row, outcome)) = taken.next().await {
        match outcome {
            Ok(Written::Wrote(entry) | Written::Kept(entry)) => {
                work.message.note(disappeared(&stock));
                done.pairs.push(inactive(Mapping { commercetools_version: entry.version, ..row }, 0));
                done.names.push(name(&stock.channel, &stock.sku));
            }
            Ok(Written::Nothing) => {
                done.forgotten.push(row.id);
                done.names.push(name(&stock.channel, &stock.sku));
            }
            Err(failure) if is_general(&failure) => general = Some(failure),
            Err(_) => done.leave(work, &stock),
        }
    }
    general
}

/// One writer per Channel of the page.
struct Writers(HashMap<String, Writer>);

impl Writers {
    async fn new<'s>(work: &Work<'_>, stocks: impl Iterator<Item = &'s Stock>) -> Result<Self, Failure> {
        let mut writers = HashMap::new();
        for stock in stocks {
            if !writers.contains_key(&stock.channel) {
                let id = pair::channel_id(work.connection, work.message, &stock.channel).await?;
                writers.insert(stock.channel.clone(), Writer::new(work.connection, work.message, id));
            }
        }
        Ok(Self(writers))
    }

    fn of(&self, stock: &Stock) -> &Writer {
        // One was made for each Channel of the page.
        &self.0[&stock.channel]
    }
}

/// Looks up in bulk what nobody remembers.
///
/// # Errors
/// As the client says.
pub async fn look_up(
    work: &Work<'_>,
    wanted: Vec<(Stock, Option<Entry>)>,
) -> Result<Vec<(Stock, Option<Entry>)>, Failure> {
    let mut unknown: HashMap<&str, Vec<&str>> = HashMap::new();
    for (stock, _) in wanted.iter().filter(|(_, entry)| entry.is_none()) {
        unknown.entry(&stock.channel).or_default().push(&stock.sku);
    }
    let writers = Writers::new(work, wanted.iter().map(|(stock, _)| stock)).await?;
    let mut found = HashMap::new();
    for (channel, skus) in unknown {
        let entries = writers.0[channel].find_all(&skus).await?;
        found.extend(entries.into_iter().map(|(sku, entry)| (name(channel, &sku), entry)));
    }
    let known = |(stock, entry): (Stock, Option<Entry>)| {
        let entry = entry.or_else(|| found.get(&name(&stock.channel, &stock.sku)).cloned());
        (stock, entry)
    };
    Ok(wanted.into_iter().map(known).collect())
}

/// Parts what another position has, or had: whose entry it is, each finds out alone.
async fn part_owned(
    work: &Work<'_>,
    wanted: Vec<(Stock, Option<Entry>)>,
    done: &mut Done,
) -> Result<Vec<(Stock, Option<Entry>)>, Failure> {
    let id = |(stock, entry): &(Stock, Option<Entry>)| {
        entry.as_ref().map_or_else(|| placeholder(&entry_key(&stock.channel, &stock.sku)), |entry| entry.id.clone())
    };
    let ids: Vec<String> = wanted.iter().map(id).collect();
    let rows = work.app.store().read().await?.mappings_of(work.message.connection(), KIND, &ids).await?;
    let owners: HashMap<String, Option<String>> =
        rows.into_iter().map(|row| (row.commercetools_id, row.fluent_ref)).collect();
    let mut ours = Vec::new();
    for (one, id) in wanted.into_iter().zip(ids) {
        match owners.get(&id) {
            Some(Some(owner)) if *owner != one.0.fluent_ref() => done.leave(work, &one.0),
            _ => ours.push(one),
        }
    }
    Ok(ours)
}
