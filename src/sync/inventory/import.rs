//! Stock through the Import API (F 4.6): twenty entries in one request, written later and without versions.
//! While a value is on its way, newer ones of its entry wait, so that none is overtaken.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::FutureExt;
use serde_json::json;

use super::read::name;
use super::run::{Counts, Work};
use super::send::Target;
use super::write::{Done, take, write};
use super::writer::{Entry, pair_of, placeholder};
use super::{Extra, KIND, SET_INVENTORY, Stock, entry_key, pair};
use crate::app::{App, Connection};
use crate::clock::{self, Millis};
use crate::commercetools::client::OPERATIONS;
use crate::commercetools::import_api::{
    BATCH, CONTAINER, ImportOperation as Operation, InventoryImportRequest, reasons,
};
use crate::config::value::Span;
use crate::failure::{Failure, Outcome, Skip, skip};
use crate::queue::{Effect, Message, Note};
use crate::store::{ImportOperation, Mapping, New, Urgency};
use crate::sync::catalogue::set_extra;
use crate::sync::connection;

/// Pause between two looks at what became of the imports.
pub const EVERY: Span = Span(Duration::from_secs(30));
/// An import whose Channel is missing for longer than this is given up.
const UNRESOLVED: Millis = 10 * 60 * 1000;
/// The platform forgets operations after this time.
const FORGOTTEN: Millis = 48 * 60 * 60 * 1000;

/// The name of the day's nth container.
pub fn container_name(connection: &str, day: Millis, number: u64) -> String {
    let day: String = clock::rfc3339(day).chars().take(10).filter(|character| *character != '-').collect();
    format!("fl-inventory-{connection}-{day}-{number}")
}

/// The container of a run's first requests; `None`: the client may not import, so stock goes over HTTP.
///
/// # Errors
/// As the client says.
pub async fn container(work: &Work<'_>) -> Result<Option<String>, Failure> {
    let container = nth_container(work, 0).await?;
    match work.connection.commercetools.on(work.message.call()).make_container(&container).await {
        Ok(()) => Ok(Some(container)),
        Err(error) if error.status == 403 => {
            let sentence = format!("{} The stock was written over HTTP.", error.sentence);
            work.message.note(Note::new("commercetools.scope_missing", sentence));
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// The name of a run's nth container, given once. Numbers count within the day.
async fn nth_container(work: &Work<'_>, nth: u64) -> Result<String, Failure> {
    let now = work.app.clock().now();
    let (connection, run) = (work.message.connection().to_owned(), work.run.id);
    let write = work.app.store().write(Urgency::Bulk, move |tx| {
        async move {
            let own = format!("inventory-container:{run}:{nth}");
            if let Some(given) = tx.setting(&connection, &own).await? {
                return Ok(given);
            }
            let today = container_name("", now, 0);
            let last = tx.setting(&connection, "inventory-container").await?;
            let last = last.and_then(|last| last.split_once('/').map(|(day, n)| (day.to_owned(), n.to_owned())));
            let number =
                last.filter(|(day, _)| *day == today).and_then(|(_, n)| n.parse::<u64>().ok()).unwrap_or(0) + 1;
            let given = container_name(&connection, now, number);
            tx.put_setting(&connection, "inventory-container", &format!("{today}/{number}")).await?;
            tx.setting_or(&connection, &own, &given).await
        }
        .boxed()
    });
    Ok(write.await?)
}

/// Sends the next twenty entries. What has a key of somebody else goes over HTTP: the Import API knows
/// entries by their keys, and would make a second one.
///
/// # Errors
/// As the client says; sent twice, a request does the same twice.
pub async fn page(work: &Work<'_>) -> Outcome {
    let batch = take(work, BATCH).await?;
    let mut done = Done { names: Vec::new(), pairs: Vec::new(), forgotten: Vec::new(), drafts: batch.drafts };
    let known = look_up(work, batch.wanted).await?;
    let (mut imports, mut direct) = (Vec::new(), Vec::new());
    for (stock, entry) in known {
        let own = entry_key(&stock.channel, &stock.sku);
        match entry {
            Some(entry) if entry.quantity == stock.quantity => {
                done.names.push(name(&stock.channel, &stock.sku));
                done.pairs.push(pair_of(work.message, &stock, &entry));
            }
            Some(entry) if entry.key.as_ref() != Some(&own) => direct.push((stock, Some(entry))),
            None if stock.quantity == 0 && !work.connection.config.inventory.create_zero => {
                done.names.push(name(&stock.channel, &stock.sku));
            }
            _ => imports.push(stock),
        }
    }
    if let Some(failure) = write(work, direct, batch.gone, &mut done).await? {
        done.keep(work).await?;
        return Err(failure);
    }
    let operations = send(work, &imports, &mut done).await?;
    let written = (done.names.len()) as i64;
    let (counts, count) = (Counts { written, ..Counts::default() }, operations.len());
    let put: Effect = Box::new(move |tx| async move { tx.put_imports(&operations).await }.boxed());
    work.done(counts, vec![put, done.effect(work)]);
    work.message.tell(format!("the Import API took {count} entries of catalogue {}", work.pair.virtual_catalogue));
    Ok(())
}

/// Entries that nobody remembers are looked up; a full sync has seen all of them.
async fn look_up(work: &Work<'_>, wanted: Vec<(Stock, Option<Entry>)>) -> Result<Vec<(Stock, Option<Entry>)>, Failure> {
    match work.place.full {
        true => Ok(wanted),
        false => super::write::look_up(work, wanted).await,
    }
}

async fn send(work: &Work<'_>, stocks: &[Stock], done: &mut Done) -> Result<Vec<ImportOperation>, Failure> {
    if stocks.is_empty() {
        return Ok(Vec::new());
    }
    let container = nth_container(work, (work.page.number - 1) / (CONTAINER / BATCH as u64)).await?;
    let client = work.connection.commercetools.on(work.message.call());
    let request = InventoryImportRequest::new(stocks.iter().map(Stock::import).collect());
    let response = match client.import_inventory(&container, &request).await {
        Err(error) if error.status == 404 => {
            client.make_container(&container).await?;
            client.import_inventory(&container, &request).await?
        }
        answer => answer?,
    };
    let sent = work.app.clock().now();
    let mut operations = Vec::new();
    for (stock, status) in stocks.iter().zip(response.operation_status) {
        let Some(id) = status.operation_id.filter(|_| status.state == "processing") else {
            work.message.note(failed(&stock.sku, &stock.channel, &status.state, &reasons(&status.errors)));
            done.leave(work, stock);
            continue;
        };
        done.names.push(name(&stock.channel, &stock.sku));
        operations.push(ImportOperation {
            connection: work.message.connection().to_owned(),
            id,
            container: container.clone(),
            resource_key: entry_key(&stock.channel, &stock.sku),
            subject: stock.subject(),
            fluent_ref: stock.fluent_ref(),
            quantity: stock.quantity,
            updated_on: stock.updated_on.clone(),
            sent,
        });
    }
    Ok(operations)
}

fn failed(sku: &str, channel: &str, state: &str, why: &str) -> Note {
    let sentence =
        format!("The Import API did not take {sku} in Channel {channel} ({state}: {why}); it was sent directly.");
    Note::new("inventory.import_failed", sentence)
}

/// `job.import-operation-sync`: what became of the imports? What was not taken is sent over HTTP once.
///
/// # Errors
/// As the client says; what was seen until then is kept.
pub async fn sync(app: App, message: Message) -> Outcome {
    let connection = connection(&app, &message)?;
    if !connection.config.inventory.enabled {
        return skip(Skip::Ignored, "Stock is switched off for this connection.");
    }
    let containers = app.store().read().await?.import_containers(message.connection()).await?;
    let look = Look { app: &app, message: &message, connection };
    let (mut imported, mut refused) = (0, 0);
    for container in containers {
        let seen = look.container(&container).await?;
        imported += seen.0;
        refused += seen.1;
    }
    match imported + refused {
        0 => message.unchanged(),
        _ => message.tell(format!("{imported} entries were imported, {refused} go over HTTP")),
    }
    Ok(())
}

struct Look<'a> {
    app: &'a App,
    message: &'a Message,
    connection: &'a Connection,
}

impl Look<'_> {
    /// Looks at the operations of a container; answers how many were imported and how many were not.
    async fn container(&self, container: &str) -> Result<(usize, usize), Failure> {
        let name = self.message.connection();
        let open = self.app.store().read().await?.imports_of(name, container).await?;
        let mut open: HashMap<String, ImportOperation> =
            open.into_iter().map(|operation| (operation.id.clone(), operation)).collect();
        let client = self.connection.commercetools.on(self.message.call());
        let (mut imported, mut refused, mut offset) = (0, 0, 0);
        while !open.is_empty() {
            let page = match client.import_operations(container, offset).await {
                // The container is gone with all it had.
                Err(error) if error.status == 404 => Vec::new(),
                answer => answer?.results,
            };
            let more = page.len() >= OPERATIONS;
            offset += page.len();
            let (mut good, mut bad) = (Vec::new(), Vec::new());
            for seen in page {
                let Some(operation) = open.get(&seen.id) else { continue };
                match self.verdict(&seen, operation) {
                    None => drop(open.remove(&seen.id)),
                    Some(true) => good.extend(open.remove(&seen.id)),
                    Some(false) => bad.extend(open.remove(&seen.id).map(|operation| (operation, seen))),
                }
            }
            imported += good.len();
            refused += bad.len();
            self.settle(good, bad).await?;
            if !more {
                break;
            }
        }
        // What the platform does not list any more is looked at directly.
        let now = self.app.clock().now();
        let lost = open.into_values().filter(|operation| now - operation.sent > FORGOTTEN);
        let lost: Vec<_> = lost
            .map(|operation| {
                let seen = Operation {
                    id: operation.id.clone(),
                    resource_key: operation.resource_key.clone(),
                    state: "forgotten".into(),
                    errors: Vec::new(),
                };
                (operation, seen)
            })
            .collect();
        refused += lost.len();
        self.settle(Vec::new(), lost).await?;
        Ok((imported, refused))
    }

    /// `None` = not over yet.
    fn verdict(&self, seen: &Operation, operation: &ImportOperation) -> Option<bool> {
        let waited = self.app.clock().now() - operation.sent;
        match seen.state.as_str() {
            "imported" => Some(true),
            "processing" | "waitForMasterVariant" => None,
            "unresolved" if waited < UNRESOLVED => None,
            _ => Some(false),
        }
    }

    async fn settle(&self, good: Vec<ImportOperation>, bad: Vec<(ImportOperation, Operation)>) -> Outcome {
        if good.is_empty() && bad.is_empty() {
            return Ok(());
        }
        let connection = self.message.connection().to_owned();
        let refs: Vec<String> = good.iter().map(|operation| operation.fluent_ref.clone()).collect();
        let rows = self.app.store().read().await?.mappings_by_fluent_refs(&connection, KIND, &refs).await?;
        let rows: HashMap<&str, &Mapping> =
            rows.iter().filter_map(|row| Some((row.fluent_ref.as_deref()?, row))).collect();
        let pairs: Vec<Mapping> = good
            .iter()
            .map(|operation| self.pair(operation, rows.get(operation.fluent_ref.as_str()).copied()))
            .collect();
        let drafts: Vec<New> = bad.iter().filter_map(|(operation, seen)| self.alone(operation, seen)).collect();
        let over: Vec<ImportOperation> =
            good.into_iter().chain(bad.into_iter().map(|(operation, _)| operation)).collect();
        let write = self.app.store().write(Urgency::Bulk, move |tx| {
            async move {
                tx.put_pairs(pairs).await?;
                tx.put(drafts).await?;
                tx.end_imports(&connection, &over).await
            }
            .boxed()
        });
        Ok(write.await?)
    }

    /// The pair after an import: the quantity is known, the version is not.
    fn pair(&self, operation: &ImportOperation, row: Option<&Mapping>) -> Mapping {
        let id = row.map_or_else(|| placeholder(&operation.resource_key), |row| row.commercetools_id.clone());
        let mut pair = Mapping::new(&operation.connection, KIND, &id);
        pair.commercetools_key = Some(operation.resource_key.clone());
        pair.fluent_ref = Some(operation.fluent_ref.clone());
        pair.content_hash = Some(operation.quantity.to_string());
        pair.last_message = Some(self.message.id());
        let (channel, sku) = place(operation);
        let known =
            Extra { channel: channel.to_owned(), sku: sku.to_owned(), updated_on: operation.updated_on.clone() };
        set_extra(&mut pair, &json!(known));
        pair
    }

    fn alone(&self, operation: &ImportOperation, seen: &Operation) -> Option<New> {
        let (channel, sku) = place(operation);
        self.message.note(failed(sku, channel, &seen.state, &reasons(&seen.errors)));
        let pairs = &self.connection.config.inventory.pairs;
        let (pair, reference) = pairs.iter().find_map(|pair| {
            let reference = operation.fluent_ref.strip_prefix(&format!("{}/", pair.virtual_catalogue))?;
            pair.channel.as_deref().is_none_or(|own| own == channel).then_some((pair, reference))
        })?;
        let target = Target { pair: pair::name(pair), reference: reference.to_owned() };
        let updated_on = operation.updated_on.as_deref().unwrap_or_default();
        let key = format!("{channel}:{reference}@{updated_on}#{}", operation.id);
        let draft = self.message.polled(SET_INVENTORY, key).subject(operation.subject.clone()).payload(json!(target));
        Some(draft.into())
    }
}

/// Channel and SKU of an operation's subject.
fn place(operation: &ImportOperation) -> (&str, &str) {
    operation.subject.strip_prefix("inventory:").and_then(|rest| rest.split_once(':')).unwrap_or_default()
}
