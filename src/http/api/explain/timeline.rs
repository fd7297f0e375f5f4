//! One timeline over both platforms and us, oldest first.

use serde::Serialize;

use super::Step;
use super::live::{Commercetools, Fluent, Live};
use super::order::Order;
use crate::clock::{Millis, parse_rfc3339, rfc3339};
use crate::store::Row;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    pub time: String,
    /// `commercetools`, `connector`, `fluent` or `external`.
    #[serde(rename = "where")]
    pub place: &'static str,
    pub what: String,
    pub detail: String,
}

/// Everything known about an order, in the order in which it happened.
pub fn timeline(order: &Order, live: &Live, steps: &[Step]) -> Vec<Entry> {
    let mut timeline = Timeline::default();
    if let Some(found) = &live.commercetools.found {
        timeline.commercetools(found);
    }
    if let Some(found) = &live.fluent.found {
        timeline.fluent(found);
    }
    if let Some(pair) = &order.mapping {
        let fluent = pair.fluent_ref.as_deref().or(pair.fluent_id.as_deref()).unwrap_or("(not created yet)");
        timeline.add(pair.first_seen, "connector", "first seen", format!("Fluent order {fluent}"));
        if pair.written > pair.first_seen {
            timeline.add(pair.written, "connector", "pair last written", String::new());
        }
    }
    for step in steps {
        timeline.step(step);
    }
    timeline.0.sort_by_key(|(at, _)| *at);
    timeline.0.into_iter().map(|(_, entry)| entry).collect()
}

#[derive(Default)]
struct Timeline(Vec<(Millis, Entry)>);

impl Timeline {
    fn add(&mut self, at: Millis, place: &'static str, what: impl Into<String>, detail: impl AsRef<str>) {
        let entry = Entry { time: rfc3339(at), place, what: what.into(), detail: without_mails(detail.as_ref()) };
        self.0.push((at, entry));
    }

    fn commercetools(&mut self, found: &Commercetools) {
        let order = &found.order;
        if let Some(at) = found.created.as_deref().and_then(parse_rfc3339) {
            self.add(at, "commercetools", "order created", format!("order {}", order.label()));
        }
        if let Some(at) = found.changed.as_deref().and_then(parse_rfc3339) {
            let detail = format!("version {}, {}", order.version, order.order_state);
            self.add(at, "commercetools", "order last changed", detail);
        }
    }

    fn fluent(&mut self, found: &Fluent) {
        if let Some(at) = found.order.updated_on.as_deref().and_then(parse_rfc3339) {
            let status = found.order.status.as_deref().unwrap_or("(none)");
            self.add(at, "fluent", "order last changed", format!("status {status}"));
        }
    }

    fn step(&mut self, step: &Step) {
        let row = &step.row;
        let (place, what) = match row.source.as_str() {
            "webhook" => ("fluent", format!("webhook: {}", row.route)),
            "plain" => ("commercetools", format!("notification: {}", row.route)),
            source => ("connector", format!("{} put by {source}", row.route)),
        };
        self.add(row.created, place, what, format!("message {}", row.id));
        for attempt in &step.attempts {
            let what = format!("{}: try {} {}", row.route, attempt.number, attempt.outcome);
            self.add(attempt.at, "connector", what, &attempt.detail);
        }
        if let Some(what) = ending(row) {
            self.add(row.changed, "connector", what, row.detail.as_deref().unwrap_or_default());
        }
    }
}

/// How a message stands, unless nothing has happened to it or a try said it already.
fn ending(row: &Row) -> Option<String> {
    let reason = row.reason.as_deref().unwrap_or_default();
    match row.state.as_str() {
        "done" | "skipped" | "parked" => Some(format!("{}: {} ({reason})", row.route, row.state)),
        "running" => Some(format!("{}: running", row.route)),
        _ => None,
    }
}

/// Sentences of the platforms may quote a mail address.
pub fn without_mails(text: &str) -> String {
    let is_mail = |word: &&str| word.split_once('@').is_some_and(|(name, host)| !name.is_empty() && host.contains('.'));
    let words = text.split(' ').map(|word| if is_mail(&word) { "(mail)" } else { word });
    words.collect::<Vec<_>>().join(" ")
}
