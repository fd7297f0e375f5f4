//! The scheduler: puts a message for every tick of every job.
//!
//! All it knows is in the table `schedule`, so that a restart forgets nothing and several daemons on
//! one database make one tick: whoever moves the row puts the message. A job's name is the subject of
//! its ticks, so no job runs twice at once. Ticks that fell due while nothing ran come once.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::FutureExt;
use rand::Rng;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::alarm::Alarm;
use super::{Kind, Message, Queue, Route};
use crate::app::Connection;
use crate::clock::Millis;
use crate::config::model::Missed;
use crate::config::timing::Timing;
use crate::failure::{Failure, Skip};
use crate::store::{New, Pause, Plan, Put, Result, Scheduled, Source, Urgency};

/// A tick that is noticed later than this was missed, in milliseconds.
const MISSED: Millis = 60_000;
/// Other daemons pause and resume jobs, too: the table is looked at this often, in milliseconds.
const LOOK: Millis = 30_000;
/// After a database that did not answer.
const AGAIN: Duration = Duration::from_secs(1);
/// Key of a run that somebody asked for.
const RUN: &str = "run:";

/// What a run over a given range looks at, on the source's clock; such a run moves no cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    pub from: Millis,
    /// `None` = as far as the source has settled.
    pub to: Option<Millis>,
}

/// Puts the ticks of all jobs until `stop`.
pub async fn schedule(queue: Queue, stop: CancellationToken) {
    let timed = timed(&queue);
    if timed.is_empty() {
        return;
    }
    let alarm = Alarm::set(timed.iter().map(|job| &job.timing)).await;
    let pulse = queue.app.pulses().join("scheduler");
    while !stop.is_cancelled() {
        pulse.turn();
        let now = queue.app.clock().now();
        let next = match look(&queue, &timed, now).await {
            Ok(next) => next,
            Err(error) => {
                match error.is_trouble() {
                    true => tracing::debug!("the schedule cannot be read or moved, looking again: {error}"),
                    false => tracing::warn!("the schedule cannot be read or moved, looking again: {error}"),
                }
                #[expect(clippy::disallowed_methods, reason = "a database that is gone is real, also in a story")]
                let pause = tokio::time::sleep(AGAIN);
                tokio::select! { () = pause => {}, () = stop.cancelled() => {} }
                continue;
            }
        };
        tokio::select! {
            () = queue.app.clock().sleep_until(next.min(now + LOOK)) => {}
            () = alarm.rung() => {}
            () = pulse.asked() => {}
            () = stop.cancelled() => {}
        }
    }
    alarm.stop().await;
}

/// A job that has a timing for a connection.
struct Timed<'a> {
    connection: &'a str,
    job: &'a Route,
    timing: Timing,
}

fn timed(queue: &Queue) -> Vec<Timed<'_>> {
    let jobs = || queue.routes.iter().filter(|route| route.kind == Kind::Job);
    let pairs = queue.app.connections().flat_map(|connection| jobs().map(move |job| (connection, job)));
    let timing = |(connection, job): (&'_ Connection, &'_ Route)| match queue.timing(connection, job) {
        Ok(timing) => timing,
        Err(error) => {
            tracing::error!("schedule.jobs.{}: {error}; it runs by hand only", job.name);
            None
        }
    };
    pairs
        .filter_map(|(connection, job)| {
            Some(Timed { connection: &connection.config.name, job, timing: timing((connection, job))? })
        })
        .collect()
}

/// Makes the ticks that are due; answers when the next one is.
async fn look(queue: &Queue, timed: &[Timed<'_>], now: Millis) -> Result<Millis> {
    let rows = queue.app.store().read().await?.schedule().await?;
    let rows: BTreeMap<_, _> = rows.iter().map(|row| ((row.connection.as_str(), row.job.as_str()), row)).collect();
    let mut next = Millis::MAX;
    for job in timed {
        let row = rows.get(&(job.connection, job.job.name.as_str())).copied();
        next = next.min(job.look(queue, row, now).await?);
    }
    Ok(next)
}

impl Timed<'_> {
    /// Ticks if it is time; answers when to look again.
    async fn look(&self, queue: &Queue, row: Option<&Scheduled>, now: Millis) -> Result<Millis> {
        let upcoming = self.timing.next_after(now);
        let plan = Plan {
            connection: self.connection.to_owned(),
            job: self.job.name.clone(),
            timing: self.timing.to_string(),
            expected: row.and_then(|row| row.next_due),
            next_due: upcoming,
        };
        match row {
            // Whoever installs a poll wants to see it work; a nightly job waits for its night.
            None if self.timing.is_interval() => self.tick(queue, plan, now, now).await?,
            Some(row) if row.is_paused(now) => return Ok(row.paused_until.unwrap_or(Millis::MAX)),
            Some(row) if row.paused_at.is_some() => queue.resume(self.connection, self.job, now).await.map(|_| ())?,
            Some(row) => {
                match row.next_due.filter(|due| row.timing == plan.timing && *due <= self.farthest(upcoming)) {
                    Some(due) if due > now => return Ok(due),
                    Some(due) => self.tick(queue, plan, due, now).await?,
                    // Never planned, planned by another timing, or the clock was set back.
                    None => self.plan(queue, plan).await?,
                }
            }
            None => self.plan(queue, plan).await?,
        }
        Ok(upcoming.unwrap_or(Millis::MAX))
    }

    /// The latest time for which somebody may have planned the next tick: another daemon, whose clock
    /// or whose look is a little ahead of ours, has made the upcoming one already.
    fn farthest(&self, upcoming: Option<Millis>) -> Millis {
        upcoming.and_then(|upcoming| self.timing.next_after(upcoming)).unwrap_or(Millis::MAX)
    }

    async fn plan(&self, queue: &Queue, plan: Plan) -> Result<()> {
        let store = queue.app.store();
        store.write(Urgency::Urgent, move |tx| async move { tx.plan(&plan, None).await.map(|_| ()) }.boxed()).await
    }

    async fn tick(&self, queue: &Queue, plan: Plan, planned: Millis, now: Millis) -> Result<()> {
        if now - planned > MISSED && queue.app.config().schedule.missed == Missed::Skip {
            tracing::info!("{}: {} was missed and is skipped", self.connection, self.job.name);
            return self.plan(queue, plan).await;
        }
        let jitter = self.timing.jitter.millis();
        let put_off = if jitter > 0 { rand::rng().random_range(0..=jitter) } else { 0 };
        let draft = queue.draft(self.connection, &self.job.name, planned.to_string(), Source::Timer);
        let tick = New::from(draft.subject(&self.job.name).due(now + put_off));
        let store = queue.app.store();
        let ticked = store.write(Urgency::Urgent, move |tx| async move { tx.tick(&plan, planned, tick).await }.boxed());
        ticked.await.map(|_| ())
    }
}

impl Queue {
    /// When a job runs for a connection; `None` = by hand only.
    ///
    /// # Errors
    /// What is wrong with its timing.
    pub fn timing(&self, connection: &Connection, job: &Route) -> std::result::Result<Option<Timing>, String> {
        job.timing(&connection.config, self.app.config())
    }

    /// Runs a job now, whether it is timed, paused or neither; answers the run. With a range it is an
    /// extra run beside the timed ones, which moves no cursor.
    ///
    /// # Errors
    /// When the store does not take it.
    pub async fn run_job(&self, connection: &str, job: &Route, range: Option<Range>, by: &str) -> Result<Uuid> {
        self.run_job_with(connection, job, range, Map::new(), by).await
    }

    /// The same with what else the job wants to know, as member `options` of its payload.
    ///
    /// # Errors
    /// When the store does not take it.
    pub async fn run_job_with(
        &self,
        connection: &str,
        job: &Route,
        range: Option<Range>,
        options: Map<String, Value>,
        by: &str,
    ) -> Result<Uuid> {
        let run = Uuid::now_v7();
        let subject = range.map_or_else(|| job.name.clone(), |_| format!("{}#{run}", job.name));
        let draft = self.draft(connection, &job.name, format!("{RUN}{run}"), Source::Operator).subject(subject);
        let mut payload = json!(range);
        if !options.is_empty() && payload.is_object() {
            payload["options"] = options.into();
        }
        let put = self.put(vec![draft.payload(payload)]).await?;
        tracing::info!(connection, job = job.name, actor = by, "{connection}: {} is run by {by}", job.name);
        Ok(match put[..] {
            [Put::Accepted(id)] => id,
            _ => run,
        })
    }

    /// No tick of this job from now on. A run under way ends.
    ///
    /// # Errors
    /// When the store does not take it.
    pub async fn pause(&self, connection: &str, job: &Route, pause: Pause) -> Result<()> {
        let (name, place) = (job.name.clone(), connection.to_owned());
        tracing::info!(connection, job = name, actor = pause.by, "{connection}: {name} paused: {}", pause.reason);
        let store = self.app.store();
        store.write(Urgency::Urgent, move |tx| async move { tx.pause_job(&place, &name, &pause).await }.boxed()).await
    }

    /// Ends a pause; `false` if there was none. The next tick comes as planned.
    ///
    /// # Errors
    /// When the store does not take it.
    pub async fn resume(&self, connection: &str, job: &Route, now: Millis) -> Result<bool> {
        let timing = self.app.connection(connection).and_then(|connection| self.timing(connection, job).ok().flatten());
        let next_due = timing.and_then(|timing| timing.next_after(now));
        let (name, place) = (job.name.clone(), connection.to_owned());
        tracing::info!(connection, job = name, "{connection}: {name} resumed");
        let store = self.app.store();
        store
            .write(Urgency::Urgent, move |tx| async move { tx.resume_job(&place, &name, next_due).await }.boxed())
            .await
    }
}

/// A tick that fell due before its job was paused does not run; a run that a person asked for does.
pub(super) async fn held(queue: &Queue, message: &Message) -> Result<Option<Failure>> {
    if message.keys().any(|key| key.starts_with(RUN)) {
        return Ok(None);
    }
    let mut db = queue.app.store().read().await?;
    let row = db.scheduled(message.connection(), message.route()).await?;
    Ok(row.filter(|row| row.is_paused(queue.app.clock().now())).map(|row| {
        let (by, why) = (row.paused_by.unwrap_or_default(), row.paused_reason.unwrap_or_default());
        let sentence = format!("{} is paused by {by}: {why}", message.route());
        Failure::Skipped { reason: Skip::ByOperator, sentence }
    }))
}

/// Does this message stand for the timed runs of its job?
pub(super) fn is_tick(message: &Message) -> bool {
    message.subject() == Some(message.route())
}
