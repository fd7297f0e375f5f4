//! One claim from its handler to its end: what the handler says becomes a verdict, which is committed
//! together with everything the handler added.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::message::{Effect, Findings, Message, Note};
use super::{Kind, Queue, retry, schedule};
use crate::clock::Millis;
use crate::failure::{Class, Failure, Outcome, Skip};
use crate::store::{Claimed, Ending, Error, New, Result, Source, Tx, Urgency};

/// Between two tries to reach a database that is gone.
pub const DATABASE_GONE: Duration = Duration::from_millis(500);

/// While writes are stopped without an end, messages look again this often, in milliseconds: those that
/// find nothing to write any more end.
const STOPPED: Millis = 3_600_000;

/// How a drain ends for what is still running.
#[derive(Clone, Default)]
pub struct End {
    /// The daemon stops; nothing new is claimed.
    pub leaving: CancellationToken,
    /// Calls to remotes are ended: what fails now has not really been tried.
    pub hung_up: CancellationToken,
    /// Handlers that wait for something else are dropped. None of their writes is cut off (they run
    /// in tasks of their own), and a connection that comes back in the middle of a read is put in
    /// order by the pool.
    pub dropped: CancellationToken,
}

/// Runs one claim to its outcome and commits it; at the end of a drain it is handed back instead.
pub async fn work(queue: Queue, claimed: Claimed, end: End) {
    let message = Message::new(queue.clone(), claimed, end.leaving.clone());
    let started = queue.app.clock().now();
    let outcome = tokio::select! {
        outcome = judge(&queue, &message) => outcome,
        () = end.dropped.cancelled() => return keep(&queue, &message, |due| Verdict::Back { due, detail: None }).await,
    };
    let findings = message.findings();
    let verdict = match outcome {
        Err(failure) if end.hung_up.is_cancelled() => Verdict::hung_up(&queue, &message, failure, &findings),
        outcome => Verdict::of(&queue, &message, outcome, &findings),
    };
    verdict.log(&message, queue.app.clock().now() - started);
    commit(&queue, &message, verdict, findings).await;
}

/// Gives a claim back untouched.
pub async fn hand_back(queue: &Queue, claimed: Claimed) {
    let message = Message::new(queue.clone(), claimed, CancellationToken::new());
    keep(queue, &message, |due| Verdict::Back { due, detail: None }).await;
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
    End {
        ending: Ending,
        detail: String,
        class: Option<Class>,
    },
    Retry {
        due: Millis,
        held_since: Millis,
        class: Class,
        detail: String,
    },
    Wait {
        key: String,
        due: Millis,
        held_since: Millis,
        detail: String,
    },
    /// As if it had not been tried: the daemon stops, or (with a detail) the remote is not to be asked.
    Back {
        due: Millis,
        detail: Option<String>,
    },
    /// The same until writes are resumed.
    Stopped {
        due: Millis,
        detail: String,
    },
    /// As if it had not been tried, but a write may have been done whose answer was not waited for: the next
    /// try looks first.
    CutOff {
        due: Millis,
        held_since: Millis,
        detail: String,
    },
}

impl Verdict {
    /// What fails when calls are ended is not the message's fault, nor the remote's.
    fn hung_up(queue: &Queue, message: &Message, failure: Failure, findings: &Findings) -> Verdict {
        let now = queue.app.clock().now();
        let (class, detail, after) = match failure {
            Failure::Retry { class, sentence, after } => (class, sentence, after.unwrap_or_default()),
            Failure::Again { class, sentence, after } => (class, sentence, after),
            other => return Self::of(queue, message, Err(other), findings),
        };
        if class != Class::UnknownOutcome {
            return Self::Back { due: now, detail: None };
        }
        let held_since = message.held_since().unwrap_or(now);
        Self::CutOff { due: now + after.as_millis() as Millis, held_since, detail }
    }

    fn of(queue: &Queue, message: &Message, outcome: Outcome, findings: &Findings) -> Verdict {
        let now = queue.app.clock().now();
        match outcome {
            Ok(()) => Self::end(Ending::Done(findings.reason), findings.detail.clone()),
            Err(Failure::Rejected { sentence }) => Self::end(Ending::Parked("rejected"), sentence),
            Err(Failure::Skipped { reason, sentence }) => Self::end(Ending::Skipped(reason.name()), sentence),
            Err(Failure::Waiting { key, sentence }) => Self::wait(queue, message, now, key, sentence),
            // No attempt, and no time towards giving up.
            Err(Failure::Retry { class: Class::BreakerOpen, sentence, after }) => {
                Self::Back { due: now + after.unwrap_or_default().as_millis() as Millis, detail: Some(sentence) }
            }
            Err(Failure::Retry { class: Class::WritesStopped, sentence, after }) => {
                let due = now + after.map_or(STOPPED, |after| after.as_millis() as Millis);
                Self::Stopped { due, detail: sentence }
            }
            Err(Failure::Retry { class, sentence, after }) => {
                let due = retry::due(now, &queue.app.config().queue.retry, message.attempt(), after);
                Self::retry(queue, message, now, due, class, sentence)
            }
            Err(Failure::Again { class, sentence, after }) => {
                Self::retry(queue, message, now, now + after.as_millis() as Millis, class, sentence)
            }
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

    fn retry(queue: &Queue, message: &Message, now: Millis, due: Millis, class: Class, sentence: String) -> Verdict {
        let config = queue.app.config();
        let held_since = message.held_since().unwrap_or(now);
        let give_up = config.routes.get(message.route()).and_then(|route| route.give_up);
        if now - held_since >= give_up.unwrap_or(config.queue.retry.give_up).millis() {
            let detail = format!("{sentence} Given up after {} tries.", message.attempt());
            return Self::End { ending: Ending::Parked("gave-up"), detail, class: Some(class) };
        }
        Self::Retry { due, held_since, class, detail: sentence }
    }

    /// Did the handler try its work?
    fn ran(&self) -> bool {
        let ended_unheard = matches!(self, Self::End { ending: Ending::Skipped(_), .. });
        !ended_unheard && !matches!(self, Self::Back { .. } | Self::Stopped { .. } | Self::CutOff { .. })
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
            Self::Back { detail: None, .. } => line!(info, "{subject}: {route} handed back"),
            // Thousands may wait for one breaker; that it opened is in the log.
            Self::Back { detail: Some(detail), .. } => line!(debug, "{subject}: {route} waits: {detail}"),
            Self::Stopped { detail, .. } => line!(debug, "{subject}: {route} waits: {detail}"),
            Self::CutOff { detail, .. } => {
                line!(info, "{subject}: {route} handed back in the middle of a write: {detail}")
            }
        }
    }
}

/// Commits verdict and effects. If they cannot be stored, the message is tried again on schedule: the
/// handler finds what it did.
async fn commit(queue: &Queue, message: &Message, verdict: Verdict, findings: Findings) {
    let subject = message.subject().unwrap_or(message.key());
    match store(queue, message, verdict, findings.notes, findings.effects).await {
        Ok(()) => {}
        Err(error @ Error::Fenced { .. }) => {
            tracing::warn!("{subject}: {error}");
            look_again(queue, message).await;
        }
        Err(error) => {
            match error.is_trouble() {
                true => tracing::debug!("{subject}: the outcome could not be stored, the message runs again: {error}"),
                false => tracing::error!("{subject}: the outcome could not be stored, the message runs again: {error}"),
            }
            let sentence = format!("The outcome could not be stored: {error}.");
            let schedule = &queue.app.config().queue.retry;
            let again = |now| {
                let due = retry::due(now, schedule, message.attempt(), None);
                Verdict::retry(queue, message, now, due, Class::Store, sentence.clone())
            };
            keep(queue, message, again).await;
        }
    }
}

/// Stores a verdict without effects, however long the database is gone.
async fn keep(queue: &Queue, message: &Message, verdict: impl Fn(Millis) -> Verdict) {
    loop {
        let verdict = verdict(queue.app.clock().now());
        match store(queue, message, verdict, Vec::new(), Vec::new()).await {
            Ok(()) => return,
            Err(Error::Fenced { .. }) => return look_again(queue, message).await,
            Err(error) => again_later(message, &error).await,
        }
    }
}

/// The claim was lost, and what this handler wrote cannot be called back: its subject is looked at
/// once more, so that the target ends up as the source is.
async fn look_again(queue: &Queue, message: &Message) {
    let Some(subject) = message.subject() else { return };
    let claimed = message.claimed();
    let lead = claimed.lead();
    let fresh = New {
        connection: lead.connection.clone(),
        route: lead.route.clone(),
        key: format!("{}~{}", lead.key, claimed.claim),
        subject: Some(subject.to_owned()),
        lane: lead.lane.clone(),
        source: Source::Handler,
        at_least: message.at_least(),
        due: queue.app.clock().now(),
        correlation: lead.correlation.clone(),
        payload: lead.payload.0.clone(),
        body: None,
        ending: None,
    };
    while let Err(error) = queue.app.store().put(vec![fresh.clone()]).await {
        again_later(message, &error).await;
    }
}

async fn again_later(message: &Message, error: &Error) {
    let subject = message.subject().unwrap_or(message.key());
    match error.is_trouble() {
        true => tracing::debug!("{subject}: not stored yet: {error}"),
        false => tracing::warn!("{subject}: not stored yet: {error}"),
    }
    #[expect(clippy::disallowed_methods, reason = "a database that is gone is real, also in a story")]
    tokio::time::sleep(DATABASE_GONE).await;
}

async fn store(
    queue: &Queue,
    message: &Message,
    verdict: Verdict,
    notes: Vec<Note>,
    effects: Vec<Effect>,
) -> Result<()> {
    let claimed = message.claimed().clone();
    let route = queue.routes.find(message.route());
    let blocks = route.is_some_and(|route| route.blocks);
    let is_tick = route.is_some_and(|route| route.kind == Kind::Job) && schedule::is_tick(message);
    let held = match &verdict {
        Verdict::End { .. } => false,
        Verdict::Retry { .. } | Verdict::Wait { .. } | Verdict::Stopped { .. } | Verdict::CutOff { .. } => true,
        Verdict::Back { detail, .. } => detail.is_some() || message.held_since().is_some(),
    };
    let blocked_by = (blocks && held).then_some(claimed.lead().id);
    let notes = (!notes.is_empty()).then(|| json!(notes));
    let write = queue.app.store().write(Urgency::Urgent, move |tx| {
        async move {
            tx.release(&claimed, blocked_by).await?;
            for effect in effects {
                effect(tx).await?;
            }
            if is_tick && verdict.ran() {
                let lead = claimed.lead();
                tx.job_ran(&lead.connection, &lead.route, lead.changed, verdict.well()).await?;
            }
            // One tick that is tried again is enough; more would come with every planned time.
            let claimed = if is_tick && held { tx.supersede(claimed).await? } else { claimed };
            verdict.write(tx, &claimed, notes).await
        }
        .boxed()
    });
    write.await
}

impl Verdict {
    async fn write(self, tx: &mut Tx, claimed: &Claimed, notes: Option<Value>) -> Result<()> {
        let (id, number) = (claimed.lead().id, claimed.lead().attempts);
        match self {
            Self::End { ending, detail, class } => {
                if let Ending::Parked(reason) = ending {
                    tx.put_attempt(id, number, reason, class.map(Class::name), &detail).await?;
                }
                tx.finish(claimed, ending, &detail, notes).await
            }
            Self::Retry { due, held_since, class, detail } => {
                tx.put_attempt(id, number, "retry", Some(class.name()), &detail).await?;
                tx.retry(claimed, due, class.name(), &detail, held_since).await
            }
            Self::Wait { key, due, held_since, detail } => {
                tx.put_attempt(id, number, "waiting", None, &detail).await?;
                tx.wait(claimed, &key, due, &detail, held_since).await
            }
            Self::Back { due, detail } => tx.hand_back(claimed, due, detail.as_deref()).await,
            Self::Stopped { due, detail } => tx.wait_for_writes(claimed, due, &detail).await,
            Self::CutOff { due, held_since, detail } => {
                tx.hand_back_unknown(claimed, due, Class::UnknownOutcome.name(), &detail, held_since).await
            }
        }
    }
}
