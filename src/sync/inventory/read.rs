//! Reading both sides of a run: positions of Fluent, entries of commercetools (F 4.1, 4.7).

use std::collections::HashMap;

use futures_util::FutureExt;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::run::{Counts, Work};
use super::send::Target;
use super::writer::remembered;
use super::{Extra, KIND, SET_INVENTORY, Stock, URGENT, fluent_ref, pair, stock};
use crate::clock::{self, Millis};
use crate::failure::{Class, Failure, Outcome};
use crate::fluent::operation;
use crate::fluent::stock::{Position, PositionsFound};
use crate::queue::{Draft, Effect, Note};
use crate::store::{Ending, Mapping, MappingFilter, New, Record, Side};
use crate::sync::catalogue::extra;
use crate::sync::location;

/// Positions of a page, and the fewest when Fluent finds that too complex (C0001E).
const FIRST: u64 = 500;
const FEWEST: u64 = 10;
/// Notes of one page with the same code.
const NOTES: usize = 20;

/// Reads a page of positions, and writes down what of it may have to be written.
///
/// # Errors
/// As the client says. A cursor that Fluent refuses starts the walk again.
pub async fn positions(work: &Work<'_>) -> Outcome {
    let after: Option<String> = work.page.after.as_ref().and_then(|after| after.as_str()).map(str::to_owned);
    let Some(page) = read(work, after.as_deref()).await? else { return work.restart().await };
    if page.positions.is_broken() {
        let sentence = format!(
            "Fluent announced more positions after cursor {} but sent none; the window stays open.",
            after.as_deref().unwrap_or("(none)")
        );
        return Err(Failure::retry(Class::Server, sentence));
    }
    work.read_to(page.positions.next().map(|next| json!(next))).await?;
    let positions: Vec<&Position> = page.positions.nodes().collect();
    let staged = Staging::new(work, &positions).await?.stage(&positions).await?;
    let counts = staged.counts;
    let (run, records, drafts) = (work.run.id, staged.records, staged.drafts);
    let side = if work.place.full { Side::Source } else { Side::Both };
    let put: Effect = Box::new(move |tx| {
        async move {
            tx.put_records(run, side, records).await?;
            tx.put(drafts).await.map(|_| ())
        }
        .boxed()
    });
    work.done(counts, vec![put]);
    work.message.tell(format!("{} positions, {} to look at", counts.read, counts.changed));
    Ok(())
}

/// `None`: Fluent does not take the cursor.
async fn read(work: &Work<'_>, after: Option<&str>) -> Result<Option<PositionsFound>, Failure> {
    let fluent = work.connection.fluent.on(work.message.call());
    let mut first = FIRST;
    loop {
        let mut variables = json!({
            "catalogue": {"ref": work.pair.virtual_catalogue}, "types": work.pair.types, "groups": work.pair.groups,
            "first": first, "after": after,
        });
        let operation = match &work.place.frame {
            None => &operation::ALL_VIRTUAL_POSITIONS,
            Some(frame) => {
                variables["from"] = clock::rfc3339(frame.from).into();
                variables["to"] = clock::rfc3339(frame.to).into();
                &operation::VIRTUAL_POSITIONS_UPDATED
            }
        };
        match fluent.run(operation, variables).await {
            Err(error) if error.code == "C0001E" && first > FEWEST => first = (first / 2).max(FEWEST),
            Err(error) if error.code == "C0160E" && after.is_some() => return Ok(None),
            answer => return answer.map(Some).map_err(|error| pair::explained(error, work.pair)),
        }
    }
}

/// A page of positions beside what is remembered of them.
struct Staging<'a> {
    work: &'a Work<'a>,
    /// Pairs by their ref.
    rows: HashMap<String, Mapping>,
    /// Pairs of the locations that the positions name.
    locations: Vec<Mapping>,
    records: HashMap<String, Record>,
    drafts: Vec<New>,
    notes: Vec<Note>,
    counts: Counts,
}

struct Staged {
    records: Vec<Record>,
    drafts: Vec<New>,
    counts: Counts,
}

impl<'a> Staging<'a> {
    async fn new(work: &'a Work<'a>, positions: &[&Position]) -> Result<Self, Failure> {
        let catalogue = &work.pair.virtual_catalogue;
        let refs: Vec<String> = positions.iter().map(|position| fluent_ref(catalogue, &position.reference)).collect();
        let mut groups: Vec<String> = positions.iter().filter_map(|position| position.group_ref.clone()).collect();
        groups.sort();
        groups.dedup();
        let mut db = work.app.store().read().await?;
        let connection = work.message.connection();
        // A full sync compares with the entries themselves.
        let rows = match work.place.full {
            true => Vec::new(),
            false => db.mappings_by_fluent_refs(connection, KIND, &refs).await?,
        };
        let locations = match work.pair.channel {
            Some(_) => Vec::new(),
            None => db.mappings_by_fluent_refs(connection, location::KIND, &groups).await?,
        };
        let rows = rows.into_iter().filter_map(|row| Some((row.fluent_ref.clone()?, row))).collect();
        let (records, drafts, notes, counts) = Default::default();
        Ok(Self { work, rows, locations, records, drafts, notes, counts })
    }

    async fn stage(mut self, positions: &[&Position]) -> Result<Staged, Failure> {
        for position in positions {
            self.counts.read += 1;
            self.look(position);
        }
        self.drop_doubles().await?;
        let mut told: HashMap<&'static str, usize> = HashMap::new();
        for note in self.notes {
            let times = told.entry(note.code).or_default();
            *times += 1;
            if *times <= NOTES {
                self.work.message.note(note);
            }
        }
        Ok(Staged { records: self.records.into_values().collect(), drafts: self.drafts, counts: self.counts })
    }

    fn look(&mut self, position: &Position) {
        let config = &self.work.connection.config.inventory;
        let group = position.group_ref.as_deref().unwrap_or_default();
        let channel = match &self.work.pair.channel {
            Some(channel) => Some(channel.clone()),
            None => pair::channel_among(&self.locations, group),
        };
        let Some(channel) = channel else {
            // Its message waits for the Channel of its location.
            let sku = super::sku(position, &self.work.pair.virtual_catalogue, config).unwrap_or_default();
            self.alone(position, group, &sku);
            return;
        };
        let mut notes = Vec::new();
        match stock(position, self.work.pair, &channel, config, &mut notes) {
            Ok(Some(stock)) => self.compare(position, stock, notes),
            Ok(None) => {}
            Err(failure) => {
                let key = self.key(&channel, position);
                let parked = Ending::Parked("rejected");
                let draft = self.work.message.polled(SET_INVENTORY, key).ended(parked, failure.to_string());
                self.drafts.push(draft.into());
            }
        }
    }

    fn compare(&mut self, position: &Position, stock: Stock, notes: Vec<Note>) {
        let updated = stock.updated_on.as_deref().and_then(clock::parse_rfc3339);
        let row = self.rows.get(&stock.fluent_ref());
        let again = self.work.place.frame.as_ref().is_some_and(|frame| frame.extra);
        if let Some(row) = row.filter(|row| row.state == "active" && !again) {
            let quantity = row.content_hash.as_deref().and_then(|text| text.parse().ok());
            let known: Extra = extra(row);
            let same = quantity == Some(stock.quantity) && known.channel == stock.channel && known.sku == stock.sku;
            let is_older = known.updated_on.as_deref().and_then(clock::parse_rfc3339) > updated;
            if same || is_older {
                return;
            }
        }
        self.counts.changed += 1;
        let fresh = self.work.place.frame.as_ref().map_or(Millis::MIN, |frame| frame.fresh);
        self.counts.late += i64::from(updated.is_some_and(|updated| updated <= fresh));
        self.notes.extend(notes);
        let known = row.and_then(remembered);
        let record = Record {
            name: name(&stock.channel, &stock.sku),
            rank: i64::from(stock.quantity > 0),
            source: Some(stock.reference.clone()),
            source_quantity: Some(stock.quantity),
            source_updated: updated,
            target_key: known.as_ref().and_then(|entry| entry.key.clone()),
            target_version: known.as_ref().map(|entry| entry.version),
            target_quantity: known.as_ref().map(|entry| entry.quantity),
            target: known.map(|entry| entry.id),
            written: 0,
        };
        match self.records.get(&record.name) {
            // Two positions for one entry: each alone finds out which one has it.
            Some(first) if first.source != record.source => self.alone(position, &stock.channel, &stock.sku),
            _ => drop(self.records.insert(record.name.clone(), record)),
        }
    }

    /// Positions whose entry an earlier page has from another position.
    async fn drop_doubles(&mut self) -> Outcome {
        let names: Vec<String> = self.records.keys().cloned().collect();
        let earlier = self.work.app.store().read().await?.records(self.work.run.id, &names).await?;
        for record in earlier {
            let doubled = self.records.get(&record.name);
            let doubled = doubled.filter(|ours| record.source.is_some() && ours.source != record.source).cloned();
            if let Some(ours) = doubled {
                self.records.remove(&record.name);
                let (channel, sku) = ours.name.split_once(':').unwrap_or_default();
                let draft =
                    alone(self.work, &ours.source.unwrap_or_default(), (channel, sku), ours.source_updated, false);
                self.drafts.push(draft.into());
            }
        }
        Ok(())
    }

    fn alone(&mut self, position: &Position, channel: &str, sku: &str) {
        let updated = position.updated_on.as_deref().and_then(clock::parse_rfc3339);
        let draft = alone(self.work, &position.reference, (channel, sku), updated, position.quantity.unwrap_or(0) <= 0);
        self.drafts.push(draft.into());
    }

    fn key(&self, channel: &str, position: &Position) -> String {
        format!("{channel}:{}@{}", position.reference, position.updated_on.as_deref().unwrap_or_default())
    }
}

/// The message for one position on its own (F 1.4).
pub fn alone(
    work: &Work<'_>,
    reference: &str,
    (channel, sku): (&str, &str),
    updated: Option<Millis>,
    is_urgent: bool,
) -> Draft {
    let updated_on = updated.map(clock::rfc3339).unwrap_or_default();
    // Windows overlap: what one of them left to this message the next one need not.
    let again = work.place.frame.as_ref().is_none_or(|frame| frame.extra);
    let suffix = if again { format!("#{}", work.run.id) } else { String::new() };
    let key = format!("{channel}:{reference}@{updated_on}{suffix}");
    let target = Target { pair: work.place.pair.clone(), reference: reference.to_owned() };
    let draft =
        work.message.polled(SET_INVENTORY, key).subject(format!("inventory:{channel}:{sku}")).payload(json!(target));
    if is_urgent { draft.lane(URGENT) } else { draft }
}

/// How a run calls an entry. A Channel key has no colon.
pub fn name(channel: &str, sku: &str) -> String {
    format!("{channel}:{sku}")
}

/// Where a page of entries begins: behind this one, in this Channel.
#[derive(Debug, Serialize, Deserialize)]
struct Behind {
    channel: String,
    last: Option<String>,
}

/// Reads a page of entries of the pair's Channel, or of the Channels of all locations one after the other.
///
/// # Errors
/// As the client says.
pub async fn entries(work: &Work<'_>) -> Outcome {
    let channels = channels(work).await?;
    let behind: Option<Behind> = work.page.after.clone().and_then(|after| serde_json::from_value(after).ok());
    let behind = behind.or_else(|| channels.first().map(|channel| Behind { channel: channel.clone(), last: None }));
    let Some(Behind { channel, last }) = behind else {
        work.read_to(None).await?;
        work.done(Counts::default(), Vec::new());
        return Ok(());
    };
    let client = work.connection.commercetools.on(work.message.call());
    let id = pair::channel_id(work.connection, work.message, &channel).await?;
    let page = client.inventory_page(&id, last.as_deref()).await?.results;
    let more = page.len() >= usize::from(crate::commercetools::client::INVENTORY_PAGE);
    let next = match page.last().filter(|_| more) {
        Some(last) => Some(Behind { channel: channel.clone(), last: Some(last.id.clone()) }),
        None => channels.into_iter().find(|next| *next > channel).map(|channel| Behind { channel, last: None }),
    };
    work.read_to(next.map(|next| json!(next))).await?;
    let count = page.len() as i64;
    let records = page.into_iter().map(|entry| Record {
        name: name(&channel, &entry.sku),
        target: Some(entry.id),
        target_key: entry.key,
        target_version: Some(entry.version),
        target_quantity: Some(entry.quantity_on_stock),
        ..Record::default()
    });
    let (run, records): (_, Vec<Record>) = (work.run.id, records.collect());
    let put: Effect = Box::new(move |tx| async move { tx.put_records(run, Side::Target, records).await }.boxed());
    work.done(Counts::default(), vec![put]);
    work.message.tell(format!("{count} entries of Channel {channel}"));
    Ok(())
}

/// Keys of the pair's Channels, in order.
async fn channels(work: &Work<'_>) -> Result<Vec<String>, Failure> {
    if let Some(channel) = &work.pair.channel {
        return Ok(vec![channel.clone()]);
    }
    let (mut keys, mut after) = (Vec::new(), None);
    loop {
        let filter = MappingFilter {
            connection: Some(work.message.connection().to_owned()),
            kind: Some(location::KIND.to_owned()),
            after,
            ..MappingFilter::default()
        };
        let rows = work.app.store().read().await?.mappings(&filter, 500).await?;
        after = rows.last().map(|row| row.id);
        keys.extend(rows.into_iter().filter_map(|row| row.commercetools_key));
        if after.is_none() {
            break;
        }
    }
    keys.sort();
    keys.dedup();
    Ok(keys)
}
