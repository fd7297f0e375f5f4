//! Table `schedule`: what must be known of timed jobs after a restart. The scheduler only wakes; when
//! a job is due, when it last ran and whether it is paused are rows.

use sqlx::FromRow;
use uuid::Uuid;

use super::{DEATHS, Db, New, Put, Result, Tx, on};
use crate::clock::Millis;

/// What is known of a job of one connection.
#[derive(Clone, Debug, FromRow)]
pub struct Scheduled {
    pub connection: String,
    pub job: String,
    /// The timing by which `next_due` was planned, in words.
    pub timing: String,
    /// For when the last tick was planned.
    pub last_planned: Option<Millis>,
    /// When the last tick that has ended began to run.
    pub last_started: Option<Millis>,
    /// When the last one that ended well began.
    pub last_ok: Option<Millis>,
    pub next_due: Option<Millis>,
    pub paused_at: Option<Millis>,
    pub paused_by: Option<String>,
    /// `None` = until somebody resumes it.
    pub paused_until: Option<Millis>,
    pub paused_reason: Option<String>,
}

/// Where a schedule moves to.
#[derive(Clone, Debug)]
pub struct Plan {
    pub connection: String,
    pub job: String,
    pub timing: String,
    /// What the mover believes `next_due` to be.
    pub expected: Option<Millis>,
    pub next_due: Option<Millis>,
}

/// Who pauses a job, and why.
#[derive(Clone, Debug)]
pub struct Pause {
    pub by: String,
    pub reason: String,
    pub until: Option<Millis>,
}

const COLUMNS: &str = "connection, job, timing, last_planned, last_started, last_ok, next_due, paused_at, paused_by, \
                       paused_until, paused_reason";

impl Scheduled {
    /// Is it paused at this moment?
    pub fn is_paused(&self, now: Millis) -> bool {
        self.paused_at.is_some() && self.paused_until.is_none_or(|until| until > now)
    }
}

impl Tx {
    /// Plans the next tick. `false`: another daemon planned it meanwhile, nothing was changed.
    pub async fn plan(&mut self, plan: &Plan, ticked: Option<Millis>) -> Result<bool> {
        let moved = on!(&mut self.db, |c| {
            sqlx::query(
                "insert into schedule (connection, job, timing, last_planned, next_due) values ($1, $2, $3, $4, $5) \
                 on conflict (connection, job) do update set timing = excluded.timing, \
                 next_due = excluded.next_due, last_planned = coalesce(excluded.last_planned, schedule.last_planned) \
                 where schedule.next_due is not distinct from $6",
            )
            .bind(&plan.connection)
            .bind(&plan.job)
            .bind(&plan.timing)
            .bind(ticked)
            .bind(plan.next_due)
            .bind(plan.expected)
            .execute(c)
            .await?
            .rows_affected()
        });
        Ok(moved == 1)
    }

    /// Puts the tick that was planned for `planned` and plans the next one. A tick that is still
    /// open, or was parked, is this tick too: it becomes due instead of getting a second beside it.
    /// `false`: another daemon did it, nothing was changed.
    pub async fn tick(&mut self, plan: &Plan, planned: Millis, tick: New) -> Result<bool> {
        // Subject before schedule, as those who finish a run do it, so that nobody waits crosswise.
        if let Some(subject) = &tick.subject {
            self.hold_subject(&tick.connection, subject).await?;
        }
        if !self.plan(plan, Some(planned)).await? {
            return Ok(false);
        }
        if self.hasten(&tick).await? {
            return Ok(true);
        }
        // The key is taken only if the clock was set back: that must not silence the job.
        let again = New { key: format!("{}@{}", tick.key, Uuid::now_v7()), ..tick.clone() };
        if self.put(vec![tick]).await? == [Put::Duplicate] {
            self.put(vec![again]).await?;
        }
        Ok(true)
    }

    /// The open tick of a job runs when `tick` would, at the latest.
    async fn hasten(&mut self, tick: &New) -> Result<bool> {
        let Some(subject) = &tick.subject else { return Ok(false) };
        let now = self.clock.now();
        let open: Option<(Uuid, String, String, i64)> = on!(&mut self.db, |c| {
            sqlx::query_as(
                "select id, state, lane, deaths from message where connection = $1 and route = $2 and subject = $3 \
                 and state in ('ready', 'waiting', 'parked') order by created desc, id desc limit 1",
            )
            .bind(&tick.connection)
            .bind(&tick.route)
            .bind(subject)
            .fetch_optional(&mut *c)
            .await?
        });
        let Some((id, state, lane, deaths)) = open else { return Ok(false) };
        // Daemons died of it; a person decides when the next one may try.
        if deaths >= DEATHS {
            return Ok(true);
        }
        let hastened = on!(&mut self.db, |c| {
            sqlx::query(
                "update message set due = case when state = 'ready' and due < $1 then due else $1 end, \
                 held_since = case when state = 'parked' then null else held_since end, \
                 wait_for = null, state = 'ready', changed = $2 where id = $3 and state = $4",
            )
            .bind(tick.due)
            .bind(now)
            .bind(id)
            .bind(&state)
            .execute(&mut *c)
            .await?
            .rows_affected()
        });
        self.tally.sooner();
        if hastened == 1 && state != "ready" {
            let before = if state == "parked" { "parked" } else { "waiting" };
            self.tally.add(&tick.connection, &lane, before, -1);
            self.tally.add(&tick.connection, &lane, "ready", 1);
        }
        Ok(hastened == 1)
    }

    /// Remembers that a tick began at `started` and ended, well or not.
    pub async fn job_ran(&mut self, connection: &str, job: &str, started: Millis, well: bool) -> Result<()> {
        on!(&mut self.db, |c| {
            sqlx::query(
                "insert into schedule (connection, job, timing, last_started, last_ok) values ($1, $2, '', $3, $4) \
                 on conflict (connection, job) do update set last_started = excluded.last_started, \
                 last_ok = coalesce(excluded.last_ok, schedule.last_ok)",
            )
            .bind(connection)
            .bind(job)
            .bind(started)
            .bind(well.then_some(started))
            .execute(c)
            .await?
            .rows_affected()
        });
        Ok(())
    }

    /// Stops the ticks of a job; pausing it again replaces who, why and until when.
    pub async fn pause_job(&mut self, connection: &str, job: &str, pause: &Pause) -> Result<()> {
        let now = self.clock.now();
        on!(&mut self.db, |c| {
            sqlx::query(
                "insert into schedule (connection, job, timing, paused_at, paused_by, paused_until, paused_reason) \
                 values ($1, $2, '', $3, $4, $5, $6) on conflict (connection, job) do update set \
                 paused_at = excluded.paused_at, paused_by = excluded.paused_by, \
                 paused_until = excluded.paused_until, paused_reason = excluded.paused_reason",
            )
            .bind(connection)
            .bind(job)
            .bind(now)
            .bind(&pause.by)
            .bind(pause.until)
            .bind(&pause.reason)
            .execute(c)
            .await?
            .rows_affected()
        });
        Ok(())
    }

    /// Ends a pause; the next tick is at `next_due`, what the pause held back is not made up for.
    /// `false` if it was not paused.
    pub async fn resume_job(&mut self, connection: &str, job: &str, next_due: Option<Millis>) -> Result<bool> {
        let resumed = on!(&mut self.db, |c| {
            sqlx::query(
                "update schedule set paused_at = null, paused_by = null, paused_until = null, paused_reason = null, \
                 next_due = $1 where connection = $2 and job = $3 and paused_at is not null",
            )
            .bind(next_due)
            .bind(connection)
            .bind(job)
            .execute(c)
            .await?
            .rows_affected()
        });
        Ok(resumed == 1)
    }
}

impl Db {
    /// Everything the scheduler knows.
    pub async fn schedule(&mut self) -> Result<Vec<Scheduled>> {
        Ok(on!(self, |c| {
            let mut select = sqlx::QueryBuilder::new("select ");
            select.push(COLUMNS).push(" from schedule order by job, connection");
            select.build_query_as().fetch_all(c).await?
        }))
    }

    /// What is known of one job; `None` before its first tick.
    pub async fn scheduled(&mut self, connection: &str, job: &str) -> Result<Option<Scheduled>> {
        Ok(on!(self, |c| {
            let mut select = sqlx::QueryBuilder::new("select ");
            select.push(COLUMNS).push(" from schedule where connection = ").push_bind(connection.to_owned());
            select.push(" and job = ").push_bind(job.to_owned());
            select.build_query_as().fetch_optional(c).await?
        }))
    }
}
