//! `job.order-backfill-sync`: orders from before this connection's time (C 9).
//!
//! Started by a person, with a range. Windows by `createdAt`, page by page behind a place, which is a cursor of this run's
//! own: the live cursor stays, and a run that stops goes on where it was. Without `dry_run: false` it only looks: which
//! orders Fluent has already under a ref of an earlier connector, and which it would create. A new Fluent order ships
//! goods (D-19), so it creates none unless configuration allows that and the number of orders is confirmed.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::create::read;
use super::{adopt, label, references, to_fluent};
use crate::app::{App, Connection};
use crate::clock::{self, Millis};
use crate::commercetools::client::{Page, Query};
use crate::commercetools::model::KeyReference;
use crate::config::model::BackfillMode;
use crate::failure::{Class, Failure, Outcome};
use crate::queue::{Draft, Message, Note};
use crate::store::{Counted, Error, New, Position, Urgency};
use crate::sync::connection;
use crate::sync::order_lookup::KIND;
use crate::sync::walk::{After, PAGE, now};

/// Name of the job.
pub const JOB: &str = "job.order-backfill-sync";
/// Lane of what it hands on.
const LANE: &str = "backfill";
/// Sentences that a report keeps.
const SENTENCES: usize = 200;
/// Between two looks of a run whose job is paused.
const PAUSED: Duration = Duration::from_secs(60);

/// What a person asked for.
#[derive(Debug, Deserialize)]
struct Run {
    from: Millis,
    to: Option<Millis>,
    #[serde(default)]
    options: Options,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    dry_run: Option<bool>,
    /// How many orders may be created.
    confirm: Option<u64>,
    #[serde(default)]
    props: Props,
}

/// Narrows the selection; a list, or text with commas.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Props {
    states: Option<List>,
    stores: Option<List>,
    order_numbers: Option<List>,
}

#[derive(Debug, Deserialize)]
#[serde(from = "Value")]
struct List(Vec<String>);

/// Where a run stands.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Place {
    phase: Phase,
    after: Option<After>,
    report: Report,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Phase {
    /// Looks what would happen.
    Count,
    /// Hands the orders on.
    Put,
}

/// What a run met.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Report {
    adopted: u64,
    created: u64,
    skipped: u64,
    rejected: u64,
    known: u64,
    put: u64,
    sentences: Vec<String>,
}

/// A row of `GET /orders`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    id: String,
    version: i64,
    order_number: Option<String>,
    created_at: String,
    order_state: Option<String>,
    shipment_state: Option<String>,
    store: Option<KeyReference>,
}

/// Walks the orders of a range.
///
/// # Errors
/// Rejected if it is switched off, has no range, or the number of orders to be created is not confirmed.
pub async fn sync(app: App, message: Message) -> Outcome {
    let connection = connection(&app, &message)?;
    if !connection.config.order_backfill.enabled {
        return Err(Failure::rejected("Back-fill is switched off for this connection (order_backfill.enabled)."));
    }
    let Some(run) = message.payload::<Option<Run>>()? else {
        return Err(Failure::rejected("Back-fill needs a range: from, and to if it does not end now."));
    };
    let dry = run.options.dry_run.unwrap_or(true);
    let creates = connection.config.order_backfill.mode == BackfillMode::Create;
    if !dry && creates && run.options.confirm.is_none() {
        return Err(Failure::rejected(
            "Back-fill creates orders only with confirm, the number of orders that a dry run would create.",
        ));
    }
    let walk = Walk { app: &app, message: &message, connection, run: &run, dry, creates };
    walk.run().await
}

struct Walk<'a> {
    app: &'a App,
    message: &'a Message,
    connection: &'a Connection,
    run: &'a Run,
    dry: bool,
    creates: bool,
}

/// The part of the range under way, and where in it.
struct Window {
    from: Millis,
    to: Millis,
    /// End of the range.
    end: Millis,
    place: Place,
    stored: Option<Position>,
}

impl Walk<'_> {
    async fn run(&self) -> Outcome {
        let mut window = self.open().await?;
        loop {
            self.may_go_on().await?;
            let page = self.page(&window).await?;
            let is_last = page.len() < usize::from(PAGE);
            let drafts = match window.place.phase {
                Phase::Count => {
                    for row in &page {
                        self.look(row, &mut window.place.report).await?;
                    }
                    vec![]
                }
                Phase::Put => self.hand_on(&page, &mut window.place.report).await?,
            };
            let last = page.last().map(|row| After { at: row.created_at.clone(), id: row.id.clone() });
            match is_last {
                false => window.place.after = last,
                true => {
                    window.place.after = None;
                    window.from = window.to;
                    window.to = self.window_end(window.from, window.end);
                }
            }
            let is_through = window.from >= window.end;
            self.commit(&mut window, drafts).await?;
            if is_through {
                match (window.place.phase, self.dry) {
                    (Phase::Count, false) => self.begin_to_put(&mut window).await?,
                    _ => return self.tell(window.place),
                }
            }
        }
    }

    /// Where this run was, or its beginning.
    async fn open(&self) -> Result<Window, Failure> {
        let stream = self.stream();
        let stored = self.app.store().read().await?.cursor(self.message.connection(), &stream).await?;
        if let Some(Position::Window { from, to, fresh, since, after: Some(after) }) = stored.map(|row| row.position.0)
        {
            let place: Place = serde_json::from_value(after.clone())
                .map_err(|error| Failure::rejected(format!("The cursor of {stream} cannot be read: {error}")))?;
            let stored = Some(Position::Window { from, to, fresh, since, after: Some(after) });
            return Ok(Window { from, to, end: fresh, place, stored });
        }
        let settled = now(&self.connection.commercetools.on(self.message.call())).await?;
        let settled = settled - self.connection.config.poll.settle.millis();
        let end = self.run.to.map_or(settled, |to| to.min(settled)).max(self.run.from);
        let phase = if self.dry || self.creates { Phase::Count } else { Phase::Put };
        let place = Place { phase, after: None, report: Report::default() };
        let to = self.window_end(self.run.from, end);
        Ok(Window { from: self.run.from, to, end, place, stored: None })
    }

    /// The name of this run's cursor.
    fn stream(&self) -> String {
        format!("order-backfill-sync#{}", self.message.id())
    }

    fn window_end(&self, from: Millis, end: Millis) -> Millis {
        (from + self.connection.config.order_backfill.window.millis().max(1)).min(end)
    }

    /// Not while the daemon stops or the job is paused; the next try goes on behind the last page.
    async fn may_go_on(&self) -> Outcome {
        let again = |sentence: &str, after| Failure::Again { class: Class::Setup, sentence: sentence.into(), after };
        if self.message.is_leaving() {
            return Err(again("The connector stops; back-fill goes on when it runs again.", Duration::ZERO));
        }
        let row = self.app.store().read().await?.scheduled(self.message.connection(), JOB).await?;
        match row.is_some_and(|row| row.is_paused(self.app.clock().now())) {
            true => Err(again("Back-fill is paused.", PAUSED)),
            false => Ok(()),
        }
    }

    async fn page(&self, window: &Window) -> Result<Vec<Row>, Failure> {
        let mut predicates = vec!["createdAt >= :from and createdAt < :to".to_owned()];
        let mut variables = vec![
            ("from".to_owned(), clock::rfc3339(window.from)),
            ("to".to_owned(), clock::rfc3339(window.to.max(window.from))),
        ];
        if let Some(After { at, id }) = &window.place.after {
            predicates.push("(createdAt > :t or (createdAt = :t and id > :id))".into());
            variables.extend([("t".to_owned(), at.clone()), ("id".to_owned(), id.clone())]);
        }
        if let Some(List(numbers)) = &self.run.options.props.order_numbers {
            let quoted = numbers.iter().map(|number| Value::from(number.as_str()).to_string());
            predicates.push(format!("orderNumber in ({})", quoted.collect::<Vec<_>>().join(", ")));
        }
        let sort = vec!["createdAt asc".into(), "id asc".into()];
        let query = Query { predicates, variables, sort, limit: PAGE };
        let page: Page<Row> =
            self.connection.commercetools.on(self.message.call()).query("GET /orders", &query).await?;
        Ok(page.results)
    }

    /// Why an order is not taken; `None` = it is.
    fn refusal(&self, row: &Row) -> Option<String> {
        let (config, props) = (&self.connection.config, &self.run.options.props);
        let name = row.order_number.as_ref().unwrap_or(&row.id);
        let store = row.store.as_ref().map_or("", |store| store.key.as_str());
        let belongs = |stores: &[String]| stores.is_empty() || stores.iter().any(|key| key == store);
        let asked = props.stores.as_ref().is_none_or(|List(stores)| belongs(stores));
        if !asked || !belongs(&config.stores) {
            return Some(format!("Back-fill skips order {name}: it belongs to another store."));
        }
        let states = props.states.as_ref().map_or(&config.order_backfill.states, |List(states)| states);
        let state = row.order_state.as_deref().unwrap_or("Open");
        let shipment = row.shipment_state.as_deref();
        let shipments = &config.order_backfill.shipment_states;
        let reached = match shipment.filter(|shipment| !shipments.iter().any(|taken| taken == shipment)) {
            Some(shipment) => Some(shipment),
            None => Some(state).filter(|state| !states.iter().any(|taken| taken == state)),
        };
        reached.map(|reached| format!("Back-fill skips order {name}: it is already {reached} in commercetools."))
    }

    /// What would become of an order?
    async fn look(&self, row: &Row, report: &mut Report) -> Outcome {
        if let Some(sentence) = self.refusal(row) {
            report.skipped += 1;
            report.say(sentence);
            return Ok(());
        }
        let ids = [row.id.clone()];
        if !self.app.store().read().await?.transferred(self.message.connection(), KIND, &ids).await?.is_empty() {
            report.known += 1;
            return Ok(());
        }
        let Some(order) = read(self.message, self.connection, &row.id).await? else { return Ok(()) };
        let config = &self.connection.config;
        let found = match to_fluent(&order, "", config) {
            Ok(mapped) => {
                let refs = references(&order, &mapped.input.kind, config);
                adopt::find(self.message, self.connection, &refs, &order, &mapped.input).await
            }
            Err(refusal) => Err(refusal),
        };
        match found {
            Ok(Some(existing)) => {
                report.adopted += 1;
                report.say(format!("Order {} is {} in Fluent.", label(&order), existing.reference));
            }
            Ok(None) => {
                report.created += 1;
                report.say(format!("Order {} is not in Fluent.", label(&order)));
            }
            Err(Failure::Rejected { sentence }) => {
                report.rejected += 1;
                report.say(sentence);
            }
            Err(failure) => return Err(failure),
        }
        Ok(())
    }

    /// The messages of a page, as many in a second as configured.
    async fn hand_on(&self, page: &[Row], report: &mut Report) -> Result<Vec<Draft>, Failure> {
        let ids: Vec<String> = page.iter().map(|row| row.id.clone()).collect();
        let known = self.app.store().read().await?.transferred(self.message.connection(), KIND, &ids).await?;
        let rate = self.connection.config.order_backfill.rate.0.max(f64::MIN_POSITIVE);
        let mut drafts = vec![];
        for row in page {
            if let Some(sentence) = self.refusal(row) {
                report.skipped += 1;
                report.say(sentence);
            } else if known.contains_key(&row.id) {
                report.known += 1;
            } else {
                let due = self.message.created() + (report.put as f64 * 1000.0 / rate) as Millis;
                report.put += 1;
                let key = format!("{}#{}@{}", row.id, row.version, self.message.id());
                let draft = self.message.polled("commercetools.order-created", key);
                let payload = json!({"id": row.id, "backfill": self.connection.config.order_backfill.mode});
                let draft = draft.subject(format!("order:{}", row.id)).lane(LANE).payload(payload);
                drafts.push(draft.at_least(row.version).due(due.max(self.app.clock().now())));
            }
        }
        Ok(drafts)
    }

    /// The range again, now for good; if it would create as many orders as were confirmed.
    async fn begin_to_put(&self, window: &mut Window) -> Outcome {
        let (confirmed, count) = (self.run.options.confirm.unwrap_or_default(), window.place.report.created);
        if count != confirmed {
            return Err(Failure::rejected(format!(
                "Back-fill would create {count} orders, not {confirmed}. Look at them in a dry run, then confirm {count}."
            )));
        }
        window.place = Place { phase: Phase::Put, after: None, report: Report::default() };
        window.from = self.run.from;
        window.to = self.window_end(window.from, window.end);
        self.commit(window, vec![]).await
    }

    /// Stores a page together with the place behind it.
    async fn commit(&self, window: &mut Window, drafts: Vec<Draft>) -> Outcome {
        let position = Position::Window {
            from: window.from,
            to: window.to,
            fresh: window.end,
            since: self.run.from,
            after: Some(json!(window.place)),
        };
        let (connection, stream) = (self.message.connection().to_owned(), self.stream());
        let (expected, moved) = (window.stored.clone(), position.clone());
        let rows: Vec<New> = drafts.into_iter().map(New::from).collect();
        let write = self.app.store().write(Urgency::Bulk, move |tx| {
            Box::pin(async move {
                tx.put(rows).await?;
                match tx.advance(&connection, &stream, expected.as_ref(), &moved, Counted::default()).await? {
                    true => Ok(()),
                    false => Err(Error::Fenced { subject: format!("the cursor of {stream}") }),
                }
            })
        });
        write.await?;
        window.stored = Some(position);
        Ok(())
    }

    fn tell(&self, place: Place) -> Outcome {
        let Report { adopted, created, skipped, rejected, known, put, sentences } = place.report;
        for sentence in sentences {
            self.message.note(Note::new("order_backfill.order", sentence));
        }
        let what = match place.phase {
            Phase::Put => format!("{put} orders were handed on"),
            Phase::Count => format!(
                "dry run: {adopted} orders are in Fluent and would be adopted, {created} would be created, {rejected} \
                 cannot be sent"
            ),
        };
        self.message.tell(format!("{what}, {skipped} skipped, {known} were linked before"));
        Ok(())
    }
}

impl Report {
    /// Keeps the first sentences; how many there were in all is counted.
    fn say(&mut self, sentence: String) {
        if self.sentences.len() < SENTENCES {
            self.sentences.push(sentence);
        }
    }
}

impl From<Value> for List {
    fn from(value: Value) -> Self {
        let texts: Vec<String> = match value {
            Value::Array(values) => values.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            Value::String(text) => text.split(',').map(|part| part.trim().to_owned()).collect(),
            other => vec![other.to_string()],
        };
        Self(texts.into_iter().filter(|text| !text.is_empty()).collect())
    }
}
