//! Webhooks: one signed POST per status change, tried again by the schedule (platform document 4).
//!
//! A delivery is tried at once, then 2, 4 and 8 s later (by the clock, each counted from the attempt
//! before), then given up: 14 s in all, as in 4.4. Deliveries of one order go out one after the
//! other, those of different orders side by side.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::Fluent;
use super::account::Account;
use super::store::text;
use crate::clock::{Millis, rfc3339};

/// Wait before the second, third and fourth attempt.
const RETRIES: [Millis; 3] = [2_000, 4_000, 8_000];
/// Real time that a receiver has for its answer.
const DEADLINE: Duration = Duration::from_secs(5);
/// Most deliveries on their way at the same time.
const IN_FLIGHT: usize = 16;

/// A receiver of status changes.
#[derive(Clone, Debug)]
pub struct Webhook {
    pub url: String,
    /// Entity type → webhook name; types that are not listed are not sent.
    pub names: BTreeMap<String, String>,
}

impl Webhook {
    /// Sends status changes of orders, fulfilments, consignments and returns, and updates of locations, under
    /// their contract names.
    pub fn to(url: impl Into<String>) -> Self {
        let kinds = [
            ("ORDER", "order"),
            ("FULFILMENT", "fulfilment"),
            ("CONSIGNMENT", "consignment"),
            ("RETURN_ORDER", "return"),
        ];
        let name = |(kind, name): (&str, &str)| (kind.to_owned(), format!("fc.connect.{name}.webhook.status-update"));
        let mut names: BTreeMap<String, String> = kinds.map(name).into();
        names.insert("LOCATION".into(), "fc.connect.location.update".into());
        Self { url: url.into(), names }
    }
}

/// What goes wrong with webhooks: shares of all deliveries, 0–1, decided by the seed.
#[derive(Clone, Copy, Debug, Default)]
pub struct WebhookFaults {
    /// Never sent.
    pub drop: f64,
    /// Sent twice.
    pub duplicate: f64,
    /// Held back 1–3 s, so that later ones overtake it.
    pub reorder: f64,
    /// Every attempt carries signatures that do not fit the body.
    pub bad_signature: f64,
}

/// Deliveries that wait, are on their way, or are over.
pub struct Outbox {
    pub webhooks: Vec<Webhook>,
    pub faults: WebhookFaults,
    /// Rung when something changed.
    pub bell: std::sync::Arc<Notify>,
    waiting: BTreeMap<(Millis, u64), Delivery>,
    /// Roots whose delivery is on its way.
    busy: BTreeSet<String>,
    in_flight: usize,
    number: u64,
    dice: StdRng,
    log: Vec<Value>,
    given_up: Vec<Value>,
    last: Option<Delivery>,
}

#[derive(Clone)]
struct Delivery {
    url: String,
    body: Value,
    /// Attempts made.
    attempts: usize,
    forged: bool,
}

impl Outbox {
    pub fn new(seed: u64) -> Self {
        Self {
            webhooks: Vec::new(),
            faults: WebhookFaults::default(),
            bell: std::sync::Arc::default(),
            waiting: BTreeMap::new(),
            busy: BTreeSet::new(),
            in_flight: 0,
            number: 0,
            dice: StdRng::seed_from_u64(seed),
            log: Vec::new(),
            given_up: Vec::new(),
            last: None,
        }
    }

    /// Deliveries due by `now` or on their way.
    pub fn pending(&self, now: Millis) -> usize {
        self.in_flight + self.waiting.range(..=(now, u64::MAX)).count()
    }

    /// One row per attempt, and one per dropped delivery.
    pub fn log(&self) -> Vec<Value> {
        self.log.clone()
    }

    /// Bodies that no attempt could deliver.
    pub fn given_up(&self) -> Vec<Value> {
        self.given_up.clone()
    }

    fn wait(&mut self, due: Millis, delivery: Delivery) {
        self.number += 1;
        self.waiting.insert((due, self.number), delivery);
        self.bell.notify_one();
    }

    fn take_due(&mut self, now: Millis) -> Option<(Millis, Delivery)> {
        if self.in_flight >= IN_FLIGHT {
            return None;
        }
        let due = self.waiting.range(..=(now, u64::MAX));
        let key = due.into_iter().find(|(_, delivery)| !self.busy.contains(&delivery.root())).map(|(key, _)| *key)?;
        let delivery = self.waiting.remove(&key)?;
        self.busy.insert(delivery.root());
        self.in_flight += 1;
        Some((key.0, delivery))
    }

    /// When there is something to do again without the bell; `None` = only the bell can tell.
    fn next_due(&self, now: Millis) -> Option<Millis> {
        self.waiting.range((now + 1, 0)..).next().map(|((due, _), _)| *due)
    }

    fn roll(&mut self, share: f64) -> bool {
        self.dice.random_bool(share.clamp(0.0, 1.0))
    }

    fn note(&mut self, now: Millis, delivery: &Delivery, outcome: &str, status: Option<u16>) {
        self.log.push(json!({
            "at": rfc3339(now), "id": delivery.body["id"], "name": delivery.body["name"], "entityType": delivery.body["entityType"],
            "entityRef": delivery.body["entityRef"], "entityStatus": delivery.body["entityStatus"], "url": delivery.url,
            "attempt": delivery.attempts, "outcome": outcome, "status": status, "forged": delivery.forged,
        }));
    }
}

impl Delivery {
    fn root(&self) -> String {
        format!("{} {}", self.url, self.body["rootEntityId"])
    }
}

impl Account {
    /// Queues the webhooks of an entity whose status changed.
    pub fn announce(&mut self, id: u64) {
        let Some(document) = self.store.any(id) else { return };
        let context = self.context(&document);
        let receivers = self.outbox.webhooks.clone();
        for webhook in receivers {
            let Some(name) = context["entityType"].as_str().and_then(|kind| webhook.names.get(kind)) else { continue };
            let body = json!({
                "id": Uuid::new_v4().to_string(), "name": name, "accountId": self.options.account,
                "retailerId": self.retailer.to_string(), "entityId": context["entityId"], "entityRef": context["entityRef"],
                "entityType": context["entityType"], "entitySubtype": text(&document, "type"),
                "rootEntityId": context["rootEntityId"], "rootEntityRef": context["rootEntityRef"],
                "rootEntityType": context["rootEntityType"], "entityStatus": text(&document, "status"), "type": "NORMAL",
                "attributes": {}, "meta": {}, "source": null,
            });
            self.post(webhook.url, body);
        }
    }

    fn post(&mut self, url: String, body: Value) {
        let now = self.front.clock.now();
        let outbox = &mut self.outbox;
        let faults = outbox.faults;
        let delivery = Delivery { url, body, attempts: 0, forged: outbox.roll(faults.bad_signature) };
        if outbox.roll(faults.drop) {
            outbox.note(now, &delivery, "dropped", None);
            return;
        }
        let due = if outbox.roll(faults.reorder) { now + outbox.dice.random_range(1_000..=3_000) } else { now };
        if outbox.roll(faults.duplicate) {
            outbox.wait(due, delivery.clone());
        }
        outbox.wait(due, delivery);
    }

    fn settle(&mut self, due: Millis, delivery: Delivery, status: Option<u16>) {
        let now = self.front.clock.now();
        let outbox = &mut self.outbox;
        outbox.in_flight -= 1;
        outbox.busy.remove(&delivery.root());
        outbox.last = Some(delivery.clone());
        if status.is_some_and(|status| (200..300).contains(&status)) {
            outbox.note(now, &delivery, "delivered", status);
        } else if let Some(wait) = RETRIES.get(delivery.attempts - 1) {
            outbox.note(now, &delivery, "failed", status);
            outbox.wait(due + wait, delivery);
        } else {
            outbox.note(now, &delivery, "given-up", status);
            outbox.given_up.push(delivery.body);
        }
        outbox.bell.notify_one();
    }
}

/// Delivers until the simulator stops.
pub async fn run(fluent: Fluent) {
    let bell = fluent.account().outbox.bell.clone();
    let mut running = JoinSet::new();
    loop {
        let now = fluent.front().clock.now();
        while let Some((due, mut delivery)) = fluent.take_delivery(now) {
            let fluent = fluent.clone();
            running.spawn(async move {
                delivery.attempts += 1;
                let status = fluent.deliver(&delivery).await;
                fluent.account().settle(due, delivery, status);
            });
        }
        while running.try_join_next().is_some() {}
        let due = fluent.account().outbox.next_due(now);
        let wait = async {
            match due {
                Some(due) => fluent.front().clock.sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = wait => {}
            () = bell.notified() => {}
            () = fluent.stopped() => return,
        }
    }
}

impl Fluent {
    fn take_delivery(&self, now: Millis) -> Option<(Millis, Delivery)> {
        self.account().outbox.take_due(now)
    }

    /// The status of the answer; `None` if there was none in time.
    async fn deliver(&self, delivery: &Delivery) -> Option<u16> {
        let body = delivery.body.to_string().into_bytes();
        let signed = if delivery.forged { b"another body".as_slice() } else { body.as_slice() };
        let (sha512, md5) = self.sign(signed);
        let request = self.client().post(&delivery.url).header("content-type", "application/json");
        let request = request.header("fluent-signature", sha512).header("flex.signature", md5).body(body);
        request.timeout(DEADLINE).send().await.ok().map(|answer| answer.status().as_u16())
    }

    /// Sends the last webhook that was sent once more, the same id and body, whatever its outcome
    /// was. Returns the status of the answer; `None` if nothing was sent yet or nobody answered.
    pub async fn redeliver_last_webhook(&self) -> Option<u16> {
        let mut delivery = self.account().outbox.last.clone()?;
        delivery.attempts += 1;
        let status = self.deliver(&delivery).await;
        let now = self.front().clock.now();
        let delivered = status.is_some_and(|status| (200..300).contains(&status));
        self.account().outbox.note(now, &delivery, if delivered { "delivered" } else { "failed" }, status);
        status
    }
}
