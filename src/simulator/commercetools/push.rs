//! Subscriptions with push delivery (platform-commercetools A6): at least once, in no promised order.
//!
//! The platform itself has no plain webhook; this stands for any queue that pushes the notification
//! in Platform format to an HTTP endpoint.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::clock::{Clock, Millis};
use crate::simulator::front::{Front, lock};

/// A subscription whose destination is an HTTP endpoint.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Push {
    pub url: String,
    /// Sent as `Authorization: Bearer <token>`.
    pub token: String,
    /// Share of the notifications that are lost for good, 0–1. The platform promises at least once;
    /// this is for what happens on the way.
    #[serde(default)]
    pub drop: f64,
    /// Share of the notifications that are delivered twice, 0–1.
    #[serde(default)]
    pub duplicate: f64,
    /// Deliver up to 16 at once and hold each back for up to 2 s of the clock. Without it there is
    /// one at a time, in the order of the changes, but for retries.
    #[serde(default)]
    pub reorder: bool,
}

/// How long a notification is retried, and how long one attempt may take on the real network.
const GIVE_UP: Millis = 24 * 60 * 60 * 1000;
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// One subscription at work.
pub(super) struct Pusher {
    push: Push,
    clock: Clock,
    http: reqwest::Client,
    queue: Mutex<Queue>,
    wake: Notify,
}

struct Queue {
    /// By due time, then in the order of arrival.
    waiting: BTreeMap<(Millis, u64), Delivery>,
    arrivals: u64,
    in_flight: usize,
    dice: StdRng,
}

impl Queue {
    fn push(&mut self, due: Millis, delivery: Delivery) {
        self.arrivals += 1;
        self.waiting.insert((due, self.arrivals), delivery);
    }
}

struct Delivery {
    since: Millis,
    attempts: u32,
    body: Arc<str>,
}

impl Pusher {
    pub fn new(push: Push, clock: Clock, http: reqwest::Client, seed: u64) -> Arc<Self> {
        let queue = Queue { waiting: BTreeMap::new(), arrivals: 0, in_flight: 0, dice: StdRng::seed_from_u64(seed) };
        Arc::new(Self { push, clock, http, queue: Mutex::new(queue), wake: Notify::new() })
    }

    /// How many workers a subscription has.
    pub fn workers(&self) -> usize {
        if self.push.reorder { 16 } else { 1 }
    }

    /// Delivers until the front is stopped.
    pub async fn run(self: Arc<Self>, front: Arc<Front>) {
        loop {
            tokio::select! {
                () = self.step() => {}
                () = front.stopped() => return,
            }
        }
    }

    /// Puts a notification in line, as the dice decide.
    pub fn enqueue(&self, body: &Arc<str>) {
        let now = self.clock.now();
        let mut queue = lock(&self.queue);
        if queue.dice.random_bool(self.push.drop.clamp(0.0, 1.0)) {
            return;
        }
        let copies = 1 + u32::from(queue.dice.random_bool(self.push.duplicate.clamp(0.0, 1.0)));
        for _ in 0..copies {
            let delay = if self.push.reorder { queue.dice.random_range(0..2000) } else { 0 };
            queue.push(now + delay, Delivery { since: now, attempts: 0, body: body.clone() });
        }
        drop(queue);
        self.wake.notify_one();
    }

    /// Deliveries that are due now or in flight.
    pub fn pending(&self) -> usize {
        let now = self.clock.now();
        let queue = lock(&self.queue);
        queue.in_flight + queue.waiting.range(..=(now, u64::MAX)).count()
    }

    /// One attempt, now, whatever the dice say; the status, or 0 without an answer.
    pub async fn attempt(&self, body: String) -> u16 {
        let request = self
            .http
            .post(&self.push.url)
            .bearer_auth(&self.push.token)
            .header("content-type", "application/json")
            .timeout(ANSWER_WITHIN)
            .body(body);
        request.send().await.map_or(0, |answer| answer.status().as_u16())
    }

    async fn step(&self) {
        let Some(delivery) = self.take() else { return self.rest().await };
        let status = self.attempt(delivery.body.to_string()).await;
        self.finish(delivery, (200..300).contains(&status));
    }

    /// The first delivery that is due.
    fn take(&self) -> Option<Delivery> {
        let now = self.clock.now();
        let mut queue = lock(&self.queue);
        let entry = queue.waiting.first_entry().filter(|entry| entry.key().0 <= now)?;
        let delivery = entry.remove();
        queue.in_flight += 1;
        Some(delivery)
    }

    /// A failed delivery comes back after 1 s, 2 s, 4 s … 60 s, for 24 h in all.
    fn finish(&self, mut delivery: Delivery, delivered: bool) {
        let now = self.clock.now();
        let mut queue = lock(&self.queue);
        queue.in_flight -= 1;
        if delivered || now - delivery.since >= GIVE_UP {
            return;
        }
        let due = now + (1000_i64 << delivery.attempts.min(6)).min(60_000);
        delivery.attempts += 1;
        queue.push(due, delivery);
    }

    async fn rest(&self) {
        let next = lock(&self.queue).waiting.first_key_value().map(|((due, _), _)| *due);
        match next {
            None => self.wake.notified().await,
            Some(due) => tokio::select! {
                () = self.wake.notified() => {}
                () = self.clock.sleep_until(due) => {}
            },
        }
    }
}
