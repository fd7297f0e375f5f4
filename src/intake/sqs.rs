//! Pulling commercetools notifications from Amazon SQS (`surfaces.md` 2.4).
//!
//! A message is deleted only after its row is on stable storage; until then it stays in the queue,
//! hidden, and comes back to somebody if we die. No order is assumed.

use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use tokio_util::sync::CancellationToken;

use super::Arrivals;
use super::wrapper::{Accepted, Wrong, unwrapped};
use crate::app::Connection;
use crate::clock::Millis;
use crate::cloud::sqs::{Received, Sqs, Trouble};
use crate::config::model::SqsQueue;
use crate::queue::Queue;
use crate::store::{Result, Source, Store};

/// First and longest pause after a failure that may be over soon.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// Between two tries with new credentials.
const CREDENTIALS: Duration = Duration::from_secs(30);
/// Between two looks for a queue that does not exist.
const ABSENT: Duration = Duration::from_secs(60);
/// Between two looks whether the store takes something again.
const STORE: Duration = Duration::from_secs(1);
/// A queue that is out of reach for so long is told as one.
const DOWN: Millis = 2 * 60 * 1000;
/// Nothing stays hidden for longer.
const HELD: Millis = 10 * 60 * 1000;

/// One of the pollers of a queue.
pub struct Poller {
    queue: Queue,
    config: SqsQueue,
    sqs: Arc<Sqs>,
    /// Failures in a row, and since when.
    failing: Option<(u32, Millis)>,
}

impl Poller {
    /// Nothing is asked yet.
    pub fn new(queue: Queue, config: SqsQueue, sqs: Arc<Sqs>) -> Self {
        Self { queue, config, sqs, failing: None }
    }

    /// Pulls until `leaving`.
    pub async fn run(mut self, leaving: CancellationToken) {
        while !leaving.is_cancelled() {
            if let Some(pause) = self.turn(&leaving).await {
                tokio::select! { () = self.queue.app.clock().sleep(pause) => {}, () = leaving.cancelled() => {} }
            }
        }
    }

    /// One receive and what follows from it; answers how long to wait before the next.
    async fn turn(&mut self, leaving: &CancellationToken) -> Option<Duration> {
        let app = self.queue.app.clone();
        let Some(connection) = app.connection(&self.config.connection) else { return Some(ABSENT) };
        if !takes(app.store(), app.config().queue.max_pending).await {
            return Some(STORE);
        }
        let (wait, visibility) = (self.config.wait.0, self.config.visibility.0);
        let received = tokio::select! {
            received = self.sqs.receive(wait, self.config.batch, visibility) => received,
            // A poll that waits holds nothing.
            () = leaving.cancelled() => return None,
        };
        match received {
            Ok(received) => {
                self.recovered();
                if received.is_empty() {
                    // Without a long poll an empty queue would be asked without a breath.
                    return wait.is_zero().then_some(PAUSES.0);
                }
                // What is held is finished, also when we leave.
                let batch = Batch { poller: self, connection, receipts: receipts(&received) };
                (!batch.keep(&received).await).then_some(STORE)
            }
            Err(trouble) => Some(self.failed(&trouble)),
        }
    }

    fn recovered(&mut self) {
        if let Some((failures, _)) = self.failing.take() {
            tracing::info!(queue = self.config.name, "Amazon SQS answers again after {failures} failures");
        }
    }

    fn failed(&mut self, trouble: &Trouble) -> Duration {
        let now = self.queue.app.clock().now();
        let (failures, since) = self.failing.map_or((0, now), |(failures, since)| (failures, since));
        self.failing = Some((failures + 1, since));
        let queue = &self.config.name;
        match trouble {
            Trouble::Credentials(why) => {
                tracing::error!(queue, incident = "credentials-rejected", "{why}");
                // New ones at once, then every so often.
                if failures == 0 { Duration::ZERO } else { CREDENTIALS }
            }
            Trouble::NoQueue(why) => {
                tracing::error!(queue, incident = "remote-down", "{why}");
                ABSENT
            }
            Trouble::Temporary(why) => {
                match now - since >= DOWN {
                    true => tracing::error!(queue, incident = "remote-down", "{why}"),
                    false => tracing::warn!(queue, "{why}"),
                }
                let most = PAUSES.0.saturating_mul(1 << failures.min(5)).min(PAUSES.1);
                most.mul_f64(rand::rng().random())
            }
        }
    }
}

/// Messages that were received together.
struct Batch<'a> {
    poller: &'a Poller,
    connection: &'a Connection,
    receipts: Vec<String>,
}

impl Batch<'_> {
    /// Stores them, then deletes them. `false`: they were given back.
    async fn keep(&self, received: &[Received]) -> bool {
        match self.store(received).await {
            Ok(()) => {
                self.delete().await;
                true
            }
            Err(why) => {
                tracing::warn!(queue = self.poller.config.name, "{} messages stay in the queue: {why}", received.len());
                self.give_back().await;
                false
            }
        }
    }

    /// Puts the rows; while that takes long, nobody else gets the messages.
    async fn store(&self, received: &[Received]) -> Result<()> {
        let Poller { queue, config, .. } = self.poller;
        let mut arrivals = Arrivals::new(queue, self.connection, Source::Sqs, None);
        let project = &self.connection.config.commercetools.project_key;
        let accepted = Accepted { formats: &config.formats, topics: &config.sns_topics, project };
        for message in received {
            let raw = message.body.as_bytes();
            match unwrapped(&message.body, accepted) {
                Ok(document) => arrivals.take_or_park(document, raw),
                Err(Wrong::Unreadable(why)) => arrivals.unreadable(raw, &why),
                Err(Wrong::Refused(why)) => arrivals.refused(raw, &why),
            }
        }
        let stored = arrivals.store();
        tokio::pin!(stored);
        let clock = queue.app.clock();
        let since = clock.now();
        loop {
            tokio::select! {
                done = &mut stored => return done.map(|_| ()),
                () = clock.sleep(config.visibility.0 / 2), if clock.now() - since < HELD => self.extend().await,
            }
        }
    }

    async fn extend(&self) {
        match self.poller.sqs.hide(self.receipts.clone(), self.poller.config.visibility.0).await {
            Ok(_) => {}
            Err(trouble) => tracing::warn!(queue = self.poller.config.name, "messages may come twice: {trouble}"),
        }
    }

    /// Twice at most: what is left after that comes again, as a duplicate.
    async fn delete(&self) {
        let mut left = self.receipts.clone();
        for _ in 0..2 {
            match self.poller.sqs.delete(left.clone()).await {
                Ok(failed) if failed.is_empty() => return,
                Ok(failed) => left = failed,
                Err(trouble) => tracing::warn!(queue = self.poller.config.name, "messages will come again: {trouble}"),
            }
        }
    }

    async fn give_back(&self) {
        if let Err(trouble) = self.poller.sqs.hide(self.receipts.clone(), Duration::ZERO).await {
            tracing::warn!(queue = self.poller.config.name, "messages come back when their time is over: {trouble}");
        }
    }
}

fn receipts(received: &[Received]) -> Vec<String> {
    received.iter().map(|message| message.receipt_handle.clone()).collect()
}

/// Does the store take something, and is there not too much in it already?
async fn takes(store: &Store, most: u64) -> bool {
    if store.trouble().is_some() {
        return false;
    }
    let open = async { store.read().await?.tally().await }.await.map(|tally| {
        let states = ["ready", "running", "waiting"];
        tally.values().flat_map(|counts| states.map(|state| counts.of(state).max(0) as u64)).sum::<u64>()
    });
    open.is_ok_and(|open| open < most)
}
