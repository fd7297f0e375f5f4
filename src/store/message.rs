//! Table `message`, with `subject` and `attempt`: the durable queue.
//!
//! A message is `ready`, `running`, `waiting`, `done`, `skipped` or `parked`; there is no other
//! state and no silent end. Its subject (an order, a product) is a lock row with a fencing token:
//! whoever holds it is the only one who works on that subject.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::types::Json;
use sqlx::{FromRow, QueryBuilder};
use uuid::Uuid;

use super::{Db, Error, Result, Tx, on};
use crate::clock::Millis;

/// A message to be stored.
#[derive(Clone, Debug)]
pub struct New {
    pub connection: String,
    pub route: String,
    /// Unique within connection and route; a second put with the same key is a duplicate.
    pub key: String,
    /// What orders work; `None` = independent.
    pub subject: Option<String>,
    pub lane: String,
    pub source: Source,
    /// Version of the source that was announced; a handler that reads less has read too early.
    pub at_least: i64,
    /// Not before.
    pub due: Millis,
    pub correlation: String,
    pub payload: Value,
    /// What was received, byte for byte.
    pub body: Option<Vec<u8>>,
    /// `None` = ready; else the message is born finished and only countable.
    pub ending: Option<(Ending, String)>,
}

/// Where a message came from; a label of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    Webhook,
    Plain,
    Poll,
    Handler,
    Timer,
    Operator,
}

/// Was it new?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    Accepted(Uuid),
    Duplicate,
}

/// A final state with its reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Done(&'static str),
    Skipped(&'static str),
    Parked(&'static str),
}

/// One row of `message`.
#[derive(Clone, Debug, FromRow, Serialize)]
pub struct Row {
    pub id: Uuid,
    pub connection: String,
    pub route: String,
    pub key: String,
    pub subject: Option<String>,
    pub lane: String,
    pub state: String,
    pub reason: Option<String>,
    pub detail: Option<String>,
    pub notes: Option<Json<Value>>,
    pub wait_for: Option<String>,
    pub held_since: Option<Millis>,
    pub due: Millis,
    pub at_least: i64,
    pub attempts: i64,
    pub source: String,
    pub correlation: String,
    pub payload: Json<Value>,
    pub created: Millis,
    pub changed: Millis,
}

/// One row of `attempt`: a try that did not end well.
#[derive(Clone, Debug, FromRow, Serialize)]
pub struct Attempt {
    pub number: i64,
    pub at: Millis,
    pub outcome: String,
    pub class: Option<String>,
    pub detail: String,
}

/// Messages that one worker now holds: the newest one leads, the others collapse into it.
#[derive(Clone, Debug)]
pub struct Claimed {
    pub claim: Uuid,
    pub holder: Uuid,
    /// Fencing token of the subject; `None` without subject.
    pub token: Option<i64>,
    /// At least one; same connection, route and subject; oldest first.
    pub rows: Vec<Row>,
}

/// What a list of messages is narrowed to.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Filter {
    pub connection: Option<String>,
    pub state: Option<String>,
    pub route: Option<String>,
    pub subject: Option<String>,
    /// Only messages created at or after this.
    pub since: Option<Millis>,
    /// Only messages before this one (newest first paging).
    pub before: Option<Uuid>,
}

const COLUMNS: &str = "id, connection, route, key, subject, lane, state, reason, detail, notes, wait_for, held_since, \
                       due, at_least, attempts, source, correlation, payload, created, changed";

/// Most rows of one subject and route that one claim takes (F 1.4).
const FOLD: i64 = 200;

impl Source {
    /// The stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Plain => "plain",
            Self::Poll => "poll",
            Self::Handler => "handler",
            Self::Timer => "timer",
            Self::Operator => "operator",
        }
    }
}

impl Ending {
    /// State name as stored.
    pub fn state(self) -> &'static str {
        match self {
            Self::Done(_) => "done",
            Self::Skipped(_) => "skipped",
            Self::Parked(_) => "parked",
        }
    }

    /// Reason as stored.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Done(reason) | Self::Skipped(reason) | Self::Parked(reason) => reason,
        }
    }
}

impl New {
    fn state(&self) -> &'static str {
        self.ending.as_ref().map_or("ready", |(ending, _)| ending.state())
    }
}

impl Tx {
    /// Stores messages, all in one statement; a key that exists already is a [`Put::Duplicate`].
    pub async fn put(&mut self, messages: Vec<New>) -> Result<Vec<Put>> {
        if messages.is_empty() {
            return Ok(Vec::new());
        }
        let now = self.clock.now();
        let ids: Vec<Uuid> = messages.iter().map(|_| Uuid::now_v7()).collect();
        let stored: BTreeSet<Uuid> = on!(&mut self.db, |c| {
            let mut insert = QueryBuilder::new(
                "insert into message (id, connection, route, key, subject, lane, state, reason, detail, due, at_least, \
                 attempts, source, correlation, payload, body, created, changed) ",
            );
            insert.push_values(messages.iter().zip(&ids), |mut row, (new, id)| {
                row.push_bind(*id)
                    .push_bind(new.connection.clone())
                    .push_bind(new.route.clone())
                    .push_bind(new.key.clone())
                    .push_bind(new.subject.clone())
                    .push_bind(new.lane.clone())
                    .push_bind(new.state())
                    .push_bind(new.ending.as_ref().map(|(ending, _)| ending.reason()))
                    .push_bind(new.ending.as_ref().map(|(_, detail)| detail.clone()))
                    .push_bind(new.due)
                    .push_bind(new.at_least)
                    .push_bind(0_i64)
                    .push_bind(new.source.name())
                    .push_bind(new.correlation.clone())
                    .push_bind(Json(new.payload.clone()))
                    .push_bind(new.body.clone())
                    .push_bind(now)
                    .push_bind(now);
            });
            insert.push(" on conflict (connection, route, key) do nothing returning id");
            let statement = insert.build_query_scalar::<Uuid>().persistent(messages.len() == 1);
            statement.fetch_all(c).await?.into_iter().collect()
        });
        let mut subjects = BTreeSet::new();
        let mut puts = Vec::with_capacity(messages.len());
        for (new, id) in messages.iter().zip(ids) {
            if !stored.contains(&id) {
                puts.push(Put::Duplicate);
                continue;
            }
            self.tally.add(&new.connection, &new.lane, "accepted", 1);
            self.tally.add(&new.connection, &new.lane, new.state(), 1);
            if let (Some(subject), None) = (&new.subject, &new.ending) {
                subjects.insert((new.connection.as_str(), subject.as_str()));
            }
            puts.push(Put::Accepted(id));
        }
        self.put_subjects(&subjects).await?;
        Ok(puts)
    }

    async fn put_subjects(&mut self, subjects: &BTreeSet<(&str, &str)>) -> Result<()> {
        if subjects.is_empty() {
            return Ok(());
        }
        on!(&mut self.db, |c| {
            let mut insert = QueryBuilder::new("insert into subject (connection, name, token) ");
            insert.push_values(subjects, |mut row, (connection, name)| {
                row.push_bind(connection.to_string()).push_bind(name.to_string()).push_bind(0_i64);
            });
            insert.push(" on conflict (connection, name) do nothing");
            insert.build().persistent(subjects.len() == 1).execute(c).await?.rows_affected();
        });
        Ok(())
    }

    /// Takes due work of one lane for `holder`: up to `limit` subjects (or single messages), each
    /// with all its ready and waiting rows of the same route.
    pub async fn claim(&mut self, holder: Uuid, lane: &str, limit: usize) -> Result<Vec<Claimed>> {
        let now = self.clock.now();
        let heads = self.due_heads(lane, now, limit).await?;
        let mut claimed = Vec::new();
        for head in heads {
            let token = match &head.subject {
                None => None,
                Some(name) => match self.lock(holder, &head.connection, name).await? {
                    Some(token) => Some(token),
                    None => continue,
                },
            };
            let claim = Uuid::now_v7();
            let mut rows = self.take(&head, holder, claim, now).await?;
            rows.sort_by_key(|row| (row.created, row.id));
            match (rows.is_empty(), &head.subject, token) {
                (false, _, _) => claimed.push(Claimed { claim, holder, token, rows }),
                (true, Some(name), Some(token)) => self.unlock(holder, &head.connection, name, token, None).await?,
                (true, _, _) => {}
            }
        }
        Ok(claimed)
    }

    async fn due_heads(&mut self, lane: &str, now: Millis, limit: usize) -> Result<Vec<Head>> {
        let candidates: Vec<Head> = on!(&mut self.db, |c| {
            sqlx::query_as(
                "select m.id, m.connection, m.route, m.subject from message m \
                 left join subject s on s.connection = m.connection and s.name = m.subject \
                 where m.state in ('ready', 'waiting') and m.lane = $1 and m.due <= $2 \
                   and s.holder is null and (s.blocked_by is null or s.blocked_by = m.id) \
                 order by m.due, m.id limit $3",
            )
            .bind(lane)
            .bind(now)
            .bind((limit * 4) as i64)
            .fetch_all(c)
            .await?
        });
        let mut seen = BTreeSet::new();
        let first = |head: &Head| {
            let subject = head.subject.as_ref();
            subject.is_none_or(|subject| seen.insert((head.connection.clone(), subject.clone())))
        };
        let mut heads: Vec<Head> = candidates.into_iter().filter(first).take(limit).collect();
        // Always in the same order, so that two daemons never wait for each other's rows.
        heads.sort_by(|a, b| (&a.connection, &a.subject, a.id).cmp(&(&b.connection, &b.subject, b.id)));
        Ok(heads)
    }

    async fn lock(&mut self, holder: Uuid, connection: &str, name: &str) -> Result<Option<i64>> {
        Ok(on!(&mut self.db, |c| {
            sqlx::query_scalar(
                "update subject set holder = $1, token = token + 1 \
                 where connection = $2 and name = $3 and holder is null returning token",
            )
            .bind(holder)
            .bind(connection)
            .bind(name)
            .fetch_optional(c)
            .await?
        }))
    }

    async fn take(&mut self, head: &Head, holder: Uuid, claim: Uuid, now: Millis) -> Result<Vec<Row>> {
        let before: Vec<(Uuid, String)> = match &head.subject {
            None => vec![(head.id, "ready".into())],
            Some(subject) => on!(&mut self.db, |c| {
                sqlx::query_as(
                    "select id, state from message where connection = $1 and subject = $2 and route = $3 \
                     and state in ('ready', 'waiting') order by created, id limit $4",
                )
                .bind(&head.connection)
                .bind(subject)
                .bind(&head.route)
                .bind(FOLD)
                .fetch_all(c)
                .await?
            }),
        };
        let rows: Vec<Row> = on!(&mut self.db, |c| {
            let mut update = QueryBuilder::new("update message set state = 'running', attempts = attempts + 1, claim = ");
            update.push_bind(claim).push(", holder = ").push_bind(holder).push(", changed = ").push_bind(now);
            update.push(" where state in ('ready', 'waiting') and id in (");
            let mut ids = update.separated(", ");
            for (id, _) in &before {
                ids.push_bind(*id);
            }
            update.push(") returning ").push(COLUMNS);
            update.build_query_as().persistent(before.len() == 1).fetch_all(c).await?
        });
        for row in &rows {
            let state = before.iter().find(|(id, _)| *id == row.id).map_or("ready", |(_, state)| state.as_str());
            self.tally.add(&row.connection, &row.lane, if state == "waiting" { "waiting" } else { "ready" }, -1);
            self.tally.add(&row.connection, &row.lane, "running", 1);
        }
        Ok(rows)
    }

    /// Gives the subject of a claim free; every effect of the claim is in this transaction too.
    ///
    /// # Errors
    /// [`Error::Fenced`] if somebody else holds it by now: then the whole transaction must go.
    pub async fn release(&mut self, claimed: &Claimed, blocked_by: Option<Uuid>) -> Result<()> {
        let lead = claimed.lead();
        match (&lead.subject, claimed.token) {
            (Some(name), Some(token)) => {
                self.unlock(claimed.holder, &lead.connection, name, token, blocked_by).await
            }
            _ => Ok(()),
        }
    }

    async fn unlock(
        &mut self,
        holder: Uuid,
        connection: &str,
        name: &str,
        token: i64,
        blocked_by: Option<Uuid>,
    ) -> Result<()> {
        let freed = on!(&mut self.db, |c| {
            sqlx::query(
                "update subject set holder = null, blocked_by = $1 \
                 where connection = $2 and name = $3 and token = $4 and holder = $5",
            )
            .bind(blocked_by)
            .bind(connection)
            .bind(name)
            .bind(token)
            .bind(holder)
            .execute(c)
            .await?
            .rows_affected()
        });
        if freed == 1 { Ok(()) } else { Err(Error::Fenced { subject: name.into() }) }
    }

    /// Ends all rows of a claim with one outcome.
    pub async fn finish(&mut self, claimed: &Claimed, ending: Ending, detail: &str, notes: Option<Value>) -> Result<()> {
        let update = Update {
            state: ending.state(),
            reason: Some(ending.reason()),
            detail: Some(detail),
            notes,
            wait_for: None,
            held_since: None,
            due: 0,
            attempts_back: false,
        };
        self.settle(claimed, update).await
    }

    /// Puts all rows of a claim back: to be tried again at `due`.
    pub async fn retry(&mut self, claimed: &Claimed, due: Millis, detail: &str, held_since: Millis) -> Result<()> {
        let update = Update {
            state: "ready",
            reason: Some("retry"),
            detail: Some(detail),
            notes: None,
            wait_for: None,
            held_since: Some(held_since),
            due,
            attempts_back: false,
        };
        self.settle(claimed, update).await
    }

    /// Puts all rows of a claim back without counting the attempt: the daemon stops, or the remote
    /// is not to be asked at the moment.
    pub async fn hand_back(&mut self, claimed: &Claimed, due: Millis) -> Result<()> {
        let update = Update {
            state: "ready",
            reason: None,
            detail: None,
            notes: None,
            wait_for: None,
            held_since: claimed.lead().held_since,
            due,
            attempts_back: true,
        };
        self.settle(claimed, update).await
    }

    /// Lets all rows of a claim wait for a key; they look again at `due` by themselves.
    pub async fn wait(
        &mut self,
        claimed: &Claimed,
        key: &str,
        due: Millis,
        detail: &str,
        held_since: Millis,
    ) -> Result<()> {
        let update = Update {
            state: "waiting",
            reason: None,
            detail: Some(detail),
            notes: None,
            wait_for: Some(key),
            held_since: Some(held_since),
            due,
            attempts_back: true,
        };
        self.settle(claimed, update).await
    }

    async fn settle(&mut self, claimed: &Claimed, update: Update<'_>) -> Result<()> {
        let now = self.clock.now();
        let changed: Vec<(String, String)> = on!(&mut self.db, |c| {
            sqlx::query_as(
                "update message set state = $1, reason = $2, detail = coalesce($3, detail), notes = coalesce($4, notes), \
                 wait_for = $5, held_since = $6, due = $7, attempts = attempts - $8, changed = $9, claim = null, \
                 holder = null where claim = $10 and state = 'running' returning connection, lane",
            )
            .bind(update.state)
            .bind(update.reason)
            .bind(update.detail)
            .bind(update.notes.map(Json))
            .bind(update.wait_for)
            .bind(update.held_since)
            .bind(update.due)
            .bind(i64::from(update.attempts_back))
            .bind(now)
            .bind(claimed.claim)
            .fetch_all(c)
            .await?
        });
        if changed.len() != claimed.rows.len() {
            return Err(Error::Fenced { subject: claimed.lead().key.clone() });
        }
        for (connection, lane) in changed {
            self.tally.add(&connection, &lane, "running", -1);
            self.tally.add(&connection, &lane, update.state, 1);
        }
        Ok(())
    }

    /// Remembers a try that did not end well.
    pub async fn put_attempt(&mut self, message: Uuid, number: i64, outcome: &str, class: Option<&str>, detail: &str) -> Result<()> {
        let now = self.clock.now();
        on!(&mut self.db, |c| {
            sqlx::query(
                "insert into attempt (message, number, at, outcome, class, detail) values ($1, $2, $3, $4, $5, $6) \
                 on conflict (message, number, at) do nothing",
            )
            .bind(message)
            .bind(number)
            .bind(now)
            .bind(outcome)
            .bind(class)
            .bind(detail)
            .execute(c)
            .await?
            .rows_affected()
        });
        Ok(())
    }

    /// What waited for `key` is ready again.
    pub async fn arrived(&mut self, connection: &str, key: &str) -> Result<u64> {
        let now = self.clock.now();
        let lanes: Vec<(String,)> = on!(&mut self.db, |c| {
            sqlx::query_as(
                "update message set state = 'ready', wait_for = null, due = $1, changed = $1 \
                 where connection = $2 and wait_for = $3 and state = 'waiting' returning lane",
            )
            .bind(now)
            .bind(connection)
            .bind(key)
            .fetch_all(c)
            .await?
        });
        for (lane,) in &lanes {
            self.tally.add(connection, lane, "waiting", -1);
            self.tally.add(connection, lane, "ready", 1);
        }
        Ok(lanes.len() as u64)
    }

    /// A parked or waiting message is ready again, by a person's decision. `false` if it is neither.
    pub async fn retry_parked(&mut self, id: Uuid) -> Result<bool> {
        self.decide(id, "ready", None, "retried by an operator").await
    }

    /// A parked, waiting or ready message is skipped, by a person's decision. `false` if it is none of these.
    pub async fn skip_parked(&mut self, id: Uuid, why: &str) -> Result<bool> {
        self.decide(id, "skipped", Some("by-operator"), why).await
    }

    async fn decide(&mut self, id: Uuid, state: &'static str, reason: Option<&str>, detail: &str) -> Result<bool> {
        let now = self.clock.now();
        let Some(row) = self.message(id).await? else { return Ok(false) };
        let open = matches!(row.state.as_str(), "parked" | "waiting" | "ready");
        if !open || (state == "ready" && row.state == "ready") {
            return Ok(false);
        }
        let changed = on!(&mut self.db, |c| {
            sqlx::query(
                "update message set state = $1, reason = $2, detail = $3, wait_for = null, held_since = null, due = $4, \
                 changed = $4 where id = $5 and state = $6",
            )
            .bind(state)
            .bind(reason)
            .bind(detail)
            .bind(now)
            .bind(id)
            .bind(&row.state)
            .execute(c)
            .await?
            .rows_affected()
        });
        if changed == 1 {
            self.tally.add(&row.connection, &row.lane, state_name(&row.state), -1);
            self.tally.add(&row.connection, &row.lane, state, 1);
            if let Some(subject) = &row.subject {
                self.put_subjects(&BTreeSet::from([(row.connection.as_str(), subject.as_str())])).await?;
                self.unblock(&row.connection, subject, id).await?;
            }
        }
        Ok(changed == 1)
    }

    async fn unblock(&mut self, connection: &str, subject: &str, id: Uuid) -> Result<()> {
        on!(&mut self.db, |c| {
            sqlx::query("update subject set blocked_by = null where connection = $1 and name = $2 and blocked_by = $3")
                .bind(connection)
                .bind(subject)
                .bind(id)
                .execute(c)
                .await?
                .rows_affected()
        });
        Ok(())
    }

    /// Everything that these daemons held is free again, and what they ran is ready.
    pub async fn reclaim(&mut self, dead: &[Uuid]) -> Result<u64> {
        let now = self.clock.now();
        let mut count = 0;
        for daemon in dead {
            let rows: Vec<(String, String)> = on!(&mut self.db, |c| {
                sqlx::query(
                    "update subject set holder = null, token = token + 1 where holder = $1",
                )
                .bind(daemon)
                .execute(&mut *c)
                .await?;
                sqlx::query_as(
                    "update message set state = 'ready', claim = null, holder = null, due = $1, changed = $1 \
                     where state = 'running' and holder = $2 returning connection, lane",
                )
                .bind(now)
                .bind(daemon)
                .fetch_all(&mut *c)
                .await?
            });
            count += rows.len() as u64;
            for (connection, lane) in rows {
                self.tally.add(&connection, &lane, "running", -1);
                self.tally.add(&connection, &lane, "ready", 1);
            }
        }
        Ok(count)
    }
}

impl Db {
    /// One message.
    pub async fn message(&mut self, id: Uuid) -> Result<Option<Row>> {
        Ok(on!(self, |c| {
            let mut select = QueryBuilder::new("select ");
            select.push(COLUMNS).push(" from message where id = ").push_bind(id);
            select.build_query_as().fetch_optional(c).await?
        }))
    }

    /// The body of a message as it was received.
    pub async fn message_body(&mut self, id: Uuid) -> Result<Option<Vec<u8>>> {
        let body: Option<(Option<Vec<u8>>,)> =
            on!(self, |c| sqlx::query_as("select body from message where id = $1").bind(id).fetch_optional(c).await?);
        Ok(body.and_then(|(body,)| body))
    }

    /// Messages, newest first.
    pub async fn messages(&mut self, filter: &Filter, limit: i64) -> Result<Vec<Row>> {
        Ok(on!(self, |c| {
            let mut select = QueryBuilder::new("select ");
            select.push(COLUMNS).push(" from message where 1 = 1");
            for (column, value) in [
                ("connection", &filter.connection),
                ("state", &filter.state),
                ("route", &filter.route),
                ("subject", &filter.subject),
            ] {
                if let Some(value) = value {
                    select.push(format!(" and {column} = ")).push_bind(value.clone());
                }
            }
            if let Some(since) = filter.since {
                select.push(" and created >= ").push_bind(since);
            }
            if let Some(before) = filter.before {
                select.push(" and id < ").push_bind(before);
            }
            select.push(" order by id desc limit ").push_bind(limit);
            select.build_query_as().persistent(false).fetch_all(c).await?
        }))
    }

    /// The tries of one message that did not end well, oldest first.
    pub async fn attempts(&mut self, message: Uuid) -> Result<Vec<Attempt>> {
        Ok(on!(self, |c| {
            sqlx::query_as("select number, at, outcome, class, detail from attempt where message = $1 order by at, number")
                .bind(message)
                .fetch_all(c)
                .await?
        }))
    }

    /// When the next message of these lanes falls due after `now`.
    pub async fn next_due(&mut self, lanes: &[String], now: Millis) -> Result<Option<Millis>> {
        let mut next: Option<Millis> = None;
        for lane in lanes {
            let due: Option<Millis> = on!(self, |c| {
                sqlx::query_scalar(
                    "select min(due) from message where state in ('ready', 'waiting') and lane = $1 and due > $2",
                )
                .bind(lane)
                .bind(now)
                .fetch_one(c)
                .await?
            });
            next = match (next, due) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
        }
        Ok(next)
    }

    /// How many messages could run now or are running.
    pub async fn active(&mut self, now: Millis) -> Result<i64> {
        Ok(on!(self, |c| {
            sqlx::query_scalar(
                "select count(*) from message where state = 'running' or (state in ('ready', 'waiting') and due <= $1)",
            )
            .bind(now)
            .fetch_one(c)
            .await?
        }))
    }
}

impl Claimed {
    /// The newest row: its payload is what the handler sees.
    #[expect(clippy::missing_panics_doc, reason = "a claim without rows is never built")]
    pub fn lead(&self) -> &Row {
        self.rows.last().expect("a claim has rows")
    }

    /// Greatest announced version of all rows.
    pub fn at_least(&self) -> i64 {
        self.rows.iter().map(|row| row.at_least).max().unwrap_or(0)
    }
}

#[derive(FromRow)]
struct Head {
    id: Uuid,
    connection: String,
    route: String,
    subject: Option<String>,
}

struct Update<'a> {
    state: &'static str,
    reason: Option<&'a str>,
    detail: Option<&'a str>,
    notes: Option<Value>,
    wait_for: Option<&'a str>,
    held_since: Option<Millis>,
    due: Millis,
    attempts_back: bool,
}

/// The static name of a stored state.
fn state_name(state: &str) -> &'static str {
    match state {
        "ready" => "ready",
        "running" => "running",
        "waiting" => "waiting",
        "done" => "done",
        "skipped" => "skipped",
        _ => "parked",
    }
}
