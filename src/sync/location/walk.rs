//! Looking for changed locations, and at all of them (F 1.5, 3.1, 3.5).

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{FULL_SYNC, KIND, SET_CHANNEL, Target, inbox, is_in_scope, is_transferred, left_out, no_ref, set_channel};
use crate::app::{App, Connection};
use crate::clock::{self, Millis};
use crate::failure::{Class, Failure, Outcome, Skip, skip};
use crate::fluent::operation::{self, Operation};
use crate::fluent::stock::{Location, LocationsFound};
use crate::queue::{Draft, Message};
use crate::store::{Counted, Ending, Error, Mapping, Position, Record, Run, Side, Urgency};
use crate::sync::canonical::canonical_hash;
use crate::sync::connection;
use crate::sync::pages;
use crate::sync::poll::{Found, Pace, Window};

/// The streams; cursor and runs carry these names.
pub const STREAM: &str = "location-sync";
const FULL_STREAM: &str = "location-full-sync";
/// Notes of one run about locations that are left out; more are counted.
const NOTES: usize = 20;
/// Missing locations of one transaction.
const MISSING: i64 = 50;

/// `job.location-sync`: walks the locations that changed in a frozen window. The first run is a full sync.
///
/// # Errors
/// A page that cannot be read leaves the window open.
pub async fn sync(app: App, message: Message) -> Outcome {
    let connection = connection(&app, &message)?;
    if !connection.config.location.enabled {
        return skip(Skip::Ignored, "Locations are switched off for this connection.");
    }
    let mut db = app.store().read().await?;
    let (cursor, open) =
        (db.cursor(message.connection(), STREAM).await?, db.open_run(message.connection(), FULL_STREAM).await?);
    drop(db);
    if cursor.is_none() {
        // Whatever the full sync sees need not be looked for again.
        message.then(
            open.is_none().then(|| message.next(FULL_SYNC, format!("first:{}", message.id())).subject(FULL_SYNC)),
        );
        message.unchanged();
        return Ok(());
    }
    let poll = &connection.config.location.poll;
    let now = connection.fluent.on(message.call()).now().await?;
    let pace = Pace { settle: poll.settle, overlap: poll.overlap };
    let Some(mut window) = Window::open(&app, &message, STREAM, now, pace, None).await? else {
        message.unchanged();
        return Ok(());
    };
    let walk = Walk { app: &app, message: &message, connection };
    loop {
        let after: Option<String> = window.after()?;
        let (from, to) = (clock::rfc3339(window.from), clock::rfc3339(window.to));
        let variables = json!({"from": from, "to": to, "networkRefs": inbox::network_refs(connection), "after": after});
        let page = match walk.read(&operation::LOCATIONS, variables, after.as_deref()).await? {
            Some(page) => page,
            None => {
                window.restart().await?;
                return Err(Failure::retry(Class::Stale, "Fluent refused the cursor; the window starts again."));
            }
        };
        let next = page.locations.next().map(str::to_owned);
        let more = next.is_some();
        let looked = walk.look(page.locations.nodes(), window.is_extra(), "").await?;
        let found = looked.into_iter().map(|(location, draft)| {
            let at = location.updated_on.as_deref().and_then(clock::parse_rfc3339).unwrap_or(window.to);
            Found { at, draft, counts: true }
        });
        window.commit(found.collect(), next).await?;
        if !more {
            break;
        }
    }
    match window.found {
        0 => message.unchanged(),
        found => message.tell(format!("{found} locations changed")),
    }
    Ok(())
}

/// How far a full sync is.
#[derive(Debug, Serialize, Deserialize)]
struct Place {
    /// Fluent's clock when it began; from here on the delta looks.
    #[serde(rename = "since")]
    began: Millis,
    after: Option<String>,
    /// All pages are read.
    walked: bool,
}

/// `job.location-full-sync`: looks at all locations, and marks the Channels of those that are gone.
///
/// # Errors
/// Waiting for an approval where too many are gone.
pub async fn full_sync(app: App, message: Message) -> Outcome {
    let connection = connection(&app, &message)?;
    if !connection.config.location.enabled {
        return skip(Skip::Ignored, "Locations are switched off for this connection.");
    }
    let walk = Walk { app: &app, message: &message, connection };
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
}

impl Walk<'_> {
    /// The run under way, unless it looks for something else than what is configured now; else a new one.
    async fn open(&self) -> Result<(Run, Place), Failure> {
        let config = &self.connection.config.location;
        let scope =
            (self.connection.config.fluent.retailer_id, &config.networks, &config.types, config.include_created);
        let scope = canonical_hash(&scope).map_err(|error| Failure::rejected(error.to_string()))?;
        if let Some(found) = pages::under_way(self.app, self.message, FULL_STREAM, &scope).await? {
            return Ok(found);
        }
        let began = self.connection.fluent.on(self.message.call()).now().await?;
        let place = Place { began, after: None, walked: false };
        let run = Run::new(self.message.connection(), FULL_STREAM, &scope, json!(place), self.app.clock().now());
        pages::open(self.app, &run).await?;
        Ok((run, place))
    }

    /// Reads a page, and commits what it asks for together with the place behind it.
    async fn page(&self, run: &Run, place: Place) -> Result<Place, Failure> {
        let variables = json!({"networkRefs": inbox::network_refs(self.connection), "after": place.after});
        let Some(page) = self.read(&operation::ALL_LOCATIONS, variables, place.after.as_deref()).await? else {
            pages::give_up(self.app, run.id).await?;
            return Err(Failure::retry(Class::Stale, "Fluent refused the cursor; the walk starts again."));
        };
        let next = page.locations.next().map(str::to_owned);
        let place = Place { walked: next.is_none(), after: next, ..place };
        let seen = page.locations.nodes().filter(|location| is_in_scope(location, &self.connection.config));
        let seen = seen.filter_map(|location| {
            let name = location.reference.clone()?;
            Some(Record { name, source: Some(location.id.clone()), ..Record::default() })
        });
        let seen: Vec<Record> = seen.collect();
        let looked = self.look(page.locations.nodes(), true, &format!("#{}", run.id)).await?;
        let drafts: Vec<_> = looked.into_iter().map(|(_, draft)| draft.into()).collect();
        let (id, position) = (run.id, json!(place));
        let write = self.app.store().write(Urgency::Bulk, move |tx| {
            Box::pin(async move {
                if tx.hold_run(id).await?.is_none() {
                    return Err(Error::Fenced { subject: FULL_STREAM.into() });
                }
                tx.put_records(id, Side::Source, seen).await?;
                tx.put(drafts).await?;
                tx.move_run(id, position).await
            })
        });
        write.await?;
        Ok(place)
    }

    /// Marks what is gone, unless that is too much, and lets the delta go on from where this began.
    async fn finish(&self, run: &Run, place: &Place) -> Outcome {
        let (name, config) = (self.message.connection(), &self.connection.config.location);
        let mut db = self.app.store().read().await?;
        let last = db.last_run(name, FULL_STREAM).await?;
        let counted = db.count_unseen(name, KIND, run.id).await?;
        let now = db.run(run.id).await?;
        drop(db);
        let counts = last.is_some_and(|last| last.scope == run.scope);
        let is_approved = now.is_some_and(|run| run.approved_by.is_some());
        let (missing, total) = (counted.missing.unsigned_abs(), counted.total.unsigned_abs());
        if counts && !is_approved && config.missing_threshold.is_exceeded(missing, total) {
            let id = run.id;
            let sentence = format!(
                "{missing} of {total} locations are missing; nothing was deactivated. Approve run {id} or correct \
                 location.networks."
            );
            return Err(Failure::Waiting { key: format!("approval:{id}"), sentence });
        }
        if counts {
            self.mark_missing(run).await?;
        }
        let (ended, connection, end) = (run.clone(), name.to_owned(), place.began);
        self.message.with(move |tx| {
            Box::pin(async move {
                tx.end_run(ended.id, "done").await?;
                tx.forget_runs(&ended).await?;
                let done = Position::Done { end, since: end };
                tx.advance(&connection, STREAM, None, &done, Counted::default()).await.map(|_| ())
            })
        });
        self.message.tell(match counts {
            true => format!("all locations were looked at, {missing} of {total} are gone"),
            false => "all locations were looked at; what is gone counts from the next full sync on".to_owned(),
        });
        Ok(())
    }

    async fn mark_missing(&self, run: &Run) -> Outcome {
        let (store, mut after) = (self.app.store(), None::<String>);
        loop {
            let mut db = store.read().await?;
            let rows = db.unseen(self.message.connection(), KIND, run.id, after.as_deref(), MISSING).await?;
            drop(db);
            let Some(last) = rows.last() else { return Ok(()) };
            after.clone_from(&last.fluent_ref);
            let drafts: Vec<_> = rows.iter().filter_map(|row| self.gone(run, row)).map(Into::into).collect();
            store.write(Urgency::Bulk, move |tx| Box::pin(async move { tx.put(drafts).await.map(|_| ()) })).await?;
        }
    }

    fn gone(&self, run: &Run, row: &Mapping) -> Option<Draft> {
        let target = Target { id: row.fluent_id.clone()?, reference: row.fluent_ref.clone()? };
        let key = format!("{}@gone#{}", target.reference, run.id);
        let config = &self.connection.config.location;
        Some(set_channel(|route, key| self.message.polled(route, key), &target, key, config))
    }

    /// A page, or `None` if Fluent does not take the cursor.
    async fn read(
        &self,
        operation: &Operation,
        variables: Value,
        after: Option<&str>,
    ) -> Result<Option<LocationsFound>, Failure> {
        let answer = self.connection.fluent.on(self.message.call()).run(operation, variables).await;
        let page: LocationsFound = match answer {
            Err(error) if error.refused() && after.is_some() => return Ok(None),
            answer => answer?,
        };
        if page.locations.is_broken() {
            let after = after.unwrap_or("(none)");
            let sentence =
                format!("Fluent announced more locations after cursor {after} but sent none; the window stays open.");
            return Err(Failure::retry(Class::Server, sentence));
        }
        Ok(Some(page))
    }

    /// Locations whose Channels have to be looked at, each with its message.
    async fn look<'l>(
        &self,
        locations: impl Iterator<Item = &'l Location>,
        again: bool,
        suffix: &str,
    ) -> Result<Vec<(&'l Location, Draft)>, Failure> {
        let config = &self.connection.config.location;
        let locations: Vec<&Location> = locations.collect();
        let refs: Vec<String> = locations.iter().filter_map(|location| location.reference.clone()).collect();
        let rows =
            self.app.store().read().await?.mappings_by_fluent_refs(self.message.connection(), KIND, &refs).await?;
        let mut looked = Vec::new();
        let mut noted = 0;
        for location in locations {
            let Some(reference) = location.reference.clone() else {
                let updated_on = location.updated_on.as_deref().unwrap_or_default();
                let key = format!("{}@{updated_on}{suffix}", location.id);
                let parked = Ending::Parked("rejected");
                looked.push((
                    location,
                    self.message.polled(SET_CHANNEL, key).ended(parked, no_ref(location).to_string()),
                ));
                continue;
            };
            let row = rows.iter().find(|row| row.fluent_ref.as_deref() == Some(&reference));
            let scope = is_in_scope(location, &self.connection.config);
            match (scope, row) {
                (false, None) => {
                    noted += 1;
                    if noted <= NOTES {
                        self.message.note(left_out(location, config));
                    }
                }
                // The full sync counts it among the missing ones, and asks if there are too many.
                (false, Some(_)) if !suffix.is_empty() => {}
                (false, Some(row)) if row.state != "active" => {}
                (true, Some(row)) if !again && is_transferred(row, location) => {}
                (_, _) => {
                    let updated_on = location.updated_on.as_deref().unwrap_or_default();
                    let key = match again && suffix.is_empty() {
                        true => format!("{reference}@{updated_on}@{}", self.message.id()),
                        false => format!("{reference}@{updated_on}{suffix}"),
                    };
                    let target = Target { id: location.id.clone(), reference };
                    let draft = set_channel(|route, key| self.message.polled(route, key), &target, key, config);
                    looked.push((location, draft));
                }
            }
        }
        Ok(looked)
    }
}
