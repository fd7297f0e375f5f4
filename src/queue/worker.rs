//! The worker: claims due messages lane by lane, runs their handlers, and commits each outcome
//! together with everything the handler added.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use serde_json::json;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::message::{Findings, Message};
use super::{Kind, Queue, retry, schedule};
use crate::clock::Millis;
use crate::config::model::Lane;
use crate::failure::{Class, Failure, Outcome, Skip};
use crate::store::{Claimed, Ending, Error, Urgency};

/// How long a daemon that shares its database looks away from what others put.
const LOOK: Duration = Duration::from_millis(500);
/// Between two tries to reach a database that is gone.
const DATABASE_GONE: Duration = Duration::from_millis(500);

/// Works on the queue until it is stopped.
pub struct Worker {
    queue: Queue,
    daemon: Uuid,
    lanes: BTreeMap<String, Slots>,
    shared: usize,
    freed: Arc<Notify>,
    running: TaskTracker,
}

struct Slots {
    lane: Lane,
    busy: Arc<AtomicUsize>,
}

impl Worker {
    pub fn new(queue: Queue, daemon: Uuid) -> Self {
        let config = &queue.app.config().queue;
        let reserved: usize = config.lanes.values().map(|lane| lane.reserved).sum();
        let shared = config.workers.saturating_sub(reserved);
        let slots = |lane: &Lane| Slots { lane: *lane, busy: Arc::default() };
        let lanes = config.lanes.iter().map(|(name, lane)| (name.clone(), slots(lane))).collect();
        Self { queue, daemon, lanes, shared, freed: Arc::default(), running: TaskTracker::new() }
    }

    /// Claims and runs until `stop`; then lets running handlers finish for `drain`.
    pub async fn run(self, stop: CancellationToken, drain: Duration) {
        while !stop.is_cancelled() {
            match self.claim().await {
                Ok(0) => self.rest(&stop).await,
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!("the queue cannot be read: {error}");
                    self.pause(&stop, DATABASE_GONE).await;
                }
            }
        }
        self.running.close();
        if tokio::time::timeout(drain, self.running.wait()).await.is_err() {
            tracing::warn!("{} handlers did not finish in time; their messages run again", self.running.len());
        }
    }

    /// Fills free slots, the heaviest lane first; answers how many handlers it started.
    async fn claim(&self) -> Result<usize, Error> {
        let over = |slots: &Slots| slots.busy().saturating_sub(slots.lane.reserved);
        let mut shared = self.shared.saturating_sub(self.lanes.values().map(over).sum());
        let mut weight: usize = self.lanes.values().map(|slots| slots.lane.weight as usize).sum();
        let mut lanes: Vec<_> = self.lanes.iter().collect();
        lanes.sort_by_key(|(_, slots)| std::cmp::Reverse(slots.lane.weight));
        let mut started = 0;
        for (lane, slots) in lanes {
            let reserved = slots.lane.reserved.saturating_sub(slots.busy());
            // A lane is lent its part by weight; what it does not need stays for the next ones.
            let lent = (shared * slots.lane.weight as usize).div_ceil(weight.max(1)).min(shared);
            weight -= slots.lane.weight as usize;
            if reserved + lent == 0 {
                continue;
            }
            let (daemon, name, free) = (self.daemon, lane.to_owned(), reserved + lent);
            let store = self.queue.app.store();
            let claimed =
                store.write_eager(move |tx| async move { tx.claim(daemon, &name, free).await }.boxed()).await?;
            started += claimed.len();
            shared -= claimed.len().saturating_sub(reserved).min(shared);
            for claimed in claimed {
                self.start(slots, claimed);
            }
        }
        Ok(started)
    }

    fn start(&self, slots: &Slots, claimed: Claimed) {
        slots.busy.fetch_add(1, Ordering::SeqCst);
        let (queue, busy, freed) = (self.queue.clone(), slots.busy.clone(), self.freed.clone());
        self.running.spawn(async move {
            work(queue, claimed).await;
            busy.fetch_sub(1, Ordering::SeqCst);
            freed.notify_one();
        });
    }

    /// Sleeps until something may have become due.
    async fn rest(&self, stop: &CancellationToken) {
        let app = &self.queue.app;
        let now = app.clock().now();
        let lanes: Vec<String> = self.lanes.keys().cloned().collect();
        let next = async { app.store().read().await?.next_due(&lanes, now).await }.await;
        let mut wake = next.ok().flatten().unwrap_or(Millis::MAX);
        if app.store().database() == "postgres" {
            wake = wake.min(now + LOOK.as_millis() as Millis);
        }
        tokio::select! {
            () = app.store().due().notified() => {}
            () = self.freed.notified() => {}
            () = app.clock().sleep_until(wake), if wake < Millis::MAX => {}
            () = stop.cancelled() => {}
        }
    }

    async fn pause(&self, stop: &CancellationToken, pause: Duration) {
        #[expect(clippy::disallowed_methods, reason = "a database that is gone is real, also in a story")]
        let pause = tokio::time::sleep(pause);
        tokio::select! { () = pause => {}, () = stop.cancelled() => {} }
    }
}

impl Slots {
    fn busy(&self) -> usize {
        self.busy.load(Ordering::SeqCst)
    }
}

/// Runs one claim to its outcome and commits it.
async fn work(queue: Queue, claimed: Claimed) {
    let message = Message::new(queue.clone(), claimed);
    let started = queue.app.clock().now();
    let outcome = judge(&queue, &message).await;
    let findings = message.findings();
    let verdict = Verdict::of(&queue, &message, outcome, &findings);
    verdict.log(&message, queue.app.clock().now() - started);
    commit(&queue, &message, started, verdict, findings).await;
}

/// What a handler says, unless its route does not let it speak.
async fn judge(queue: &Queue, message: &Message) -> Outcome {
    let config = queue.app.config();
    let Some(route) = queue.routes.find(message.route()) else {
        return Err(Failure::rejected(format!("This version has no route {}.", message.route())));
    };
    if queue.app.connection(message.connection()).is_none() {
        return Err(Failure::retry(Class::Setup, format!("The connection {} is off or gone.", message.connection())));
    }
    if config.routes.get(message.route()).and_then(|route| route.enabled) == Some(false) {
        let sentence = format!("The route {} is switched off.", message.route());
        return Err(Failure::Skipped { reason: Skip::Ignored, sentence });
    }
    if route.kind == Kind::Job
        && let Some(held) = schedule::held(queue, message).await?
    {
        return Err(held);
    }
    let handled = AssertUnwindSafe((route.handler)(queue.app.clone(), message.clone())).catch_unwind().await;
    handled.unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().map(String::as_str);
        let said = said.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
        Err(Failure::rejected(format!("The handler of {} failed inside: {said}", message.route())))
    })
}

/// What becomes of a message.
enum Verdict {
    End { ending: Ending, detail: String, class: Option<Class> },
    Retry { due: Millis, held_since: Millis, class: Class, detail: String },
    Wait { key: String, due: Millis, held_since: Millis, detail: String },
}

impl Verdict {
    fn of(queue: &Queue, message: &Message, outcome: Outcome, findings: &Findings) -> Verdict {
        let now = queue.app.clock().now();
        match outcome {
            Ok(()) => Self::end(Ending::Done(findings.reason), findings.detail.clone()),
            Err(Failure::Rejected { sentence }) => Self::end(Ending::Parked("rejected"), sentence),
            Err(Failure::Skipped { reason, sentence }) => Self::end(Ending::Skipped(reason.name()), sentence),
            Err(Failure::Waiting { key, sentence }) => Self::wait(queue, message, now, key, sentence),
            Err(Failure::Retry { class, sentence, after }) => Self::retry(queue, message, now, class, sentence, after),
        }
    }

    fn end(ending: Ending, detail: String) -> Verdict {
        Self::End { ending, detail, class: None }
    }

    fn wait(queue: &Queue, message: &Message, now: Millis, key: String, sentence: String) -> Verdict {
        let held_since = message.held_since().unwrap_or(now);
        let limit = queue.routes.find(message.route()).and_then(|route| route.wait_limit);
        let connection = queue.app.connection(message.connection());
        if let (Some(limit), Some(connection)) = (limit, connection)
            && now - held_since >= limit(&connection.config).millis()
        {
            return Self::end(Ending::Parked("rejected"), format!("{sentence} It never came."));
        }
        let due = now + queue.app.config().queue.retry.recheck.millis();
        Self::Wait { key, due, held_since, detail: sentence }
    }

    fn retry(
        queue: &Queue,
        message: &Message,
        now: Millis,
        class: Class,
        sentence: String,
        after: Option<Duration>,
    ) -> Verdict {
        let config = queue.app.config();
        let held_since = message.held_since().unwrap_or(now);
        let give_up = config.routes.get(message.route()).and_then(|route| route.give_up);
        if now - held_since >= give_up.unwrap_or(config.queue.retry.give_up).millis() {
            let detail = format!("{sentence} Given up after {} tries.", message.attempt());
            return Self::End { ending: Ending::Parked("gave-up"), detail, class: Some(class) };
        }
        let due = retry::due(now, &config.queue.retry, message.attempt(), after);
        Self::Retry { due, held_since, class, detail: sentence }
    }

    /// Did the handler try its work?
    fn ran(&self) -> bool {
        !matches!(self, Self::End { ending: Ending::Skipped(_), .. })
    }

    /// Did it succeed?
    fn well(&self) -> bool {
        matches!(self, Self::End { ending: Ending::Done(_), .. })
    }

    /// One line per message, at the edge, with the identifier in the sentence.
    fn log(&self, message: &Message, took: Millis) {
        let (route, subject) = (message.route(), message.subject().unwrap_or(message.key()));
        let (connection, lane) = (message.connection(), message.lane());
        let (message_id, correlation_id) = (message.id(), message.correlation());
        let attempt = message.attempt();
        macro_rules! line {
            ($level:ident, $($sentence:tt)*) => {
                tracing::$level!(connection, route, lane, %message_id, subject, attempt, correlation_id, duration_ms = took, $($sentence)*)
            };
        }
        match self {
            Self::End { ending: Ending::Done(reason), detail, .. } => {
                line!(info, "{subject}: {route} {reason} {detail} (attempt {attempt}, {took} ms)");
            }
            Self::End { ending: Ending::Skipped(reason), detail, .. } => {
                line!(info, "{subject}: {route} skipped, {reason}: {detail}");
            }
            Self::End { ending: Ending::Parked(reason), detail, .. } => {
                line!(error, "{subject}: {route} parked, {reason}: {detail}");
            }
            Self::Retry { class, detail, .. } => {
                line!(warn, error_class = class.name(), "{subject}: {route} again later, {class}: {detail}")
            }
            Self::Wait { key, detail, .. } => line!(info, "{subject}: {route} waits for {key}: {detail}"),
        }
    }
}

/// Commits outcome and effects. While the database is gone it keeps trying: the handler's work is
/// done, only its record is missing.
async fn commit(queue: &Queue, message: &Message, started: Millis, verdict: Verdict, findings: Findings) {
    let route = queue.routes.find(message.route());
    let (claimed, blocks) = (message.claimed().clone(), route.is_some_and(|route| route.blocks));
    let ticked = route.is_some_and(|route| route.kind == Kind::Job) && schedule::is_tick(message);
    let notes = (!findings.notes.is_empty()).then(|| json!(findings.notes));
    let effects = findings.effects;
    let subject = message.subject().unwrap_or(message.key()).to_owned();
    let written = queue
        .app
        .store()
        .write(Urgency::Urgent, move |tx| {
            async move {
                let lead = claimed.lead().clone();
                let held = matches!(verdict, Verdict::Retry { .. } | Verdict::Wait { .. });
                tx.release(&claimed, (blocks && held).then_some(lead.id)).await?;
                for effect in effects {
                    effect(tx).await?;
                }
                if ticked && verdict.ran() {
                    tx.job_ran(&lead.connection, &lead.route, started, verdict.well()).await?;
                }
                // One tick that is tried again is enough; more would come with every planned time.
                let claimed = if ticked && held { tx.supersede(claimed).await? } else { claimed };
                let number = lead.attempts;
                match verdict {
                    Verdict::End { ending, detail, class } => {
                        if let Ending::Parked(reason) = ending {
                            tx.put_attempt(lead.id, number, reason, class.map(Class::name), &detail).await?;
                        }
                        tx.finish(&claimed, ending, &detail, notes).await
                    }
                    Verdict::Retry { due, held_since, class, detail } => {
                        tx.put_attempt(lead.id, number, "retry", Some(class.name()), &detail).await?;
                        tx.retry(&claimed, due, class.name(), &detail, held_since).await
                    }
                    Verdict::Wait { key, due, held_since, detail } => {
                        tx.put_attempt(lead.id, number, "waiting", None, &detail).await?;
                        tx.wait(&claimed, &key, due, &detail, held_since).await
                    }
                }
            }
            .boxed()
        })
        .await;
    match written {
        Ok(()) => {}
        Err(error @ Error::Fenced { .. }) => tracing::warn!("{subject}: {error}"),
        Err(error) => {
            // The claim is still ours: give it back as soon as the database answers.
            tracing::error!("{subject}: the outcome could not be stored, the message runs again: {error}");
            hand_back(queue, message).await;
        }
    }
}

async fn hand_back(queue: &Queue, message: &Message) {
    loop {
        let claimed = message.claimed().clone();
        let due = queue.app.clock().now();
        let given = queue
            .app
            .store()
            .write(Urgency::Urgent, move |tx| {
                async move {
                    tx.release(&claimed, None).await?;
                    tx.hand_back(&claimed, due).await
                }
                .boxed()
            })
            .await;
        match given {
            Ok(()) | Err(Error::Fenced { .. }) => return,
            Err(_) => {
                #[expect(clippy::disallowed_methods, reason = "a database that is gone is real, also in a story")]
                tokio::time::sleep(DATABASE_GONE).await;
            }
        }
    }
}
