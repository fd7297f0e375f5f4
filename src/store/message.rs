//! Tables `message` and `attempt`: the durable queue.
//!
//! A message is `ready`, `running`, `waiting`, `done`, `skipped` or `parked`; there is no other
//! state and no silent end. Who works on it is decided in `claim`.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::types::Json;
use sqlx::{FromRow, QueryBuilder};
use uuid::Uuid;

use super::{Db, Result, Tx, on};
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
    Pubsub,
    Sns,
    Eventbridge,
    Eventgrid,
    Sqs,
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

/// What a list of messages is narrowed to.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Filter {
    pub connection: Option<String>,
    /// Only messages of these connections; `None` = of all.
    pub among: Option<Vec<String>>,
    pub state: Option<String>,
    pub route: Option<String>,
    pub lane: Option<String>,
    pub subject: Option<String>,
    /// Only messages created at or after this.
    pub since: Option<Millis>,
    /// Only messages before this one (newest first paging).
    pub before: Option<Uuid>,
}

pub(super) const COLUMNS: &str = "id, connection, route, key, subject, lane, state, reason, detail, notes, wait_for, held_since, \
                       due, at_least, attempts, source, correlation, payload, created, changed";

/// Most rows of one statement: SQLite takes 32,766 parameters, and a message has 18.
const CHUNK: usize = 256;

impl Source {
    /// The stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Plain => "plain",
            Self::Pubsub => "pubsub",
            Self::Sns => "sns",
            Self::Eventbridge => "eventbridge",
            Self::Eventgrid => "eventgrid",
            Self::Sqs => "sqs",
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
    /// Stores messages, up to [`CHUNK`] in one statement; a key that exists already, or did until its
    /// message was pruned, is a [`Put::Duplicate`].
    pub async fn put(&mut self, messages: Vec<New>) -> Result<Vec<Put>> {
        self.put_all(&messages.iter().collect::<Vec<_>>()).await
    }

    pub(super) async fn put_all(&mut self, messages: &[&New]) -> Result<Vec<Put>> {
        // Ids follow the order of the messages; rows are inserted in the order of their keys, so that
        // two transactions with the same keys never wait for each other crosswise.
        let mut rows: Vec<(Uuid, &New)> = messages.iter().map(|new| (Uuid::now_v7(), *new)).collect();
        let ids: Vec<Uuid> = rows.iter().map(|(id, _)| *id).collect();
        rows.sort_by_key(|(_, new)| (&new.connection, &new.route, &new.key));
        let mut stored = BTreeSet::new();
        for chunk in chunks(&rows) {
            stored.extend(self.insert(chunk).await?);
        }
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

    /// Inserts rows in one statement; answers the ids of those that were new. Both databases name the
    /// columns of a list of values `column1` and so on.
    async fn insert(&mut self, rows: &[(Uuid, &New)]) -> Result<Vec<Uuid>> {
        let now = self.clock.now();
        Ok(on!(&mut self.db, |c| {
            let mut insert = QueryBuilder::new(
                "insert into message (id, connection, route, key, subject, lane, state, reason, detail, due, at_least, \
                 attempts, source, correlation, payload, body, created, changed) \
                 select column1, column2, column3, column4, column5, column6, column7, column8, column9, column10, \
                 column11, column12, column13, column14, column15, column16, column17, column18 from (",
            );
            insert.push_values(rows, |mut row, (id, new)| {
                row.push_bind(*id)
                    .push_bind(new.connection.as_str())
                    .push_bind(new.route.as_str())
                    .push_bind(new.key.as_str())
                    .push_bind(new.subject.as_deref())
                    .push_bind(new.lane.as_str())
                    .push_bind(new.state())
                    .push_bind(new.ending.as_ref().map(|(ending, _)| ending.reason()))
                    .push_bind(new.ending.as_ref().map(|(_, detail)| detail.as_str()))
                    .push_bind(new.due)
                    .push_bind(new.at_least)
                    .push_bind(0_i64)
                    .push_bind(new.source.name())
                    .push_bind(new.correlation.as_str())
                    .push_bind(Json(&new.payload))
                    .push_bind(new.body.as_deref())
                    .push_bind(now)
                    .push_bind(now);
            });
            insert.push(
                ") fresh where not exists (select 1 from idempotency i where i.connection = fresh.column2 \
                 and i.route = fresh.column3 and i.key = fresh.column4) \
                 on conflict (connection, route, key) do nothing returning id",
            );
            insert.build_query_scalar().fetch_all(c).await?
        }))
    }

    /// Makes the subjects that are not there; answers how many that were. Why their tokens start with
    /// the time is told where subjects go (`retention`).
    pub(super) async fn put_subjects(&mut self, subjects: &BTreeSet<(&str, &str)>) -> Result<u64> {
        let now = self.clock.now();
        let subjects: Vec<&(&str, &str)> = subjects.iter().collect();
        let mut made = 0;
        for chunk in chunks(&subjects) {
            made += on!(&mut self.db, |c| {
                let mut insert = QueryBuilder::new("insert into subject (connection, name, token) ");
                insert.push_values(chunk, |mut row, (connection, name)| {
                    row.push_bind(*connection).push_bind(*name).push_bind(now);
                });
                insert.push(" on conflict (connection, name) do nothing");
                insert.build().execute(c).await?.rows_affected()
            });
        }
        Ok(made)
    }

    /// Makes a subject if it is not there, and keeps it from everybody else until this transaction ends:
    /// whoever takes other rows of it afterwards waits for nobody who holds it already.
    pub(super) async fn hold_subject(&mut self, connection: &str, name: &str) -> Result<()> {
        self.put_subjects(&BTreeSet::from([(connection, name)])).await?;
        let locked = self.db.locking(" for update");
        let _: Option<String> = on!(&mut self.db, |c| {
            let mut select = QueryBuilder::new("select name from subject where connection = ");
            select.push_bind(connection.to_owned()).push(" and name = ").push_bind(name.to_owned()).push(locked);
            select.build_query_scalar().fetch_optional(c).await?
        });
        Ok(())
    }

    /// Remembers a try that did not end well.
    pub async fn put_attempt(
        &mut self,
        message: Uuid,
        number: i64,
        outcome: &str,
        class: Option<&str>,
        detail: &str,
    ) -> Result<()> {
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
        self.all_arrived(connection, &[key.to_owned()]).await
    }

    /// The same for several keys.
    pub async fn all_arrived(&mut self, connection: &str, keys: &[String]) -> Result<u64> {
        let now = self.clock.now();
        let mut released = 0;
        for chunk in keys.chunks(CHUNK) {
            let lanes: Vec<(String,)> = on!(&mut self.db, |c| {
                let mut update = QueryBuilder::new("update message set state = 'ready', wait_for = null, due = ");
                update.push_bind(now).push(", changed = ").push_bind(now).push(" where connection = ");
                update.push_bind(connection.to_owned()).push(" and state = 'waiting' and wait_for in (");
                let mut list = update.separated(", ");
                for key in chunk {
                    list.push_bind(key.clone());
                }
                update.push(") returning lane");
                update.build_query_as().persistent(chunk.len() == 1).fetch_all(c).await?
            });
            for (lane,) in &lanes {
                self.tally.add(connection, lane, "waiting", -1);
                self.tally.add(connection, lane, "ready", 1);
            }
            released += lanes.len() as u64;
        }
        Ok(released)
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
        // Subject before message, as those who finish do it, so that nobody waits crosswise.
        if let Some(subject) = &row.subject {
            self.hold_subject(&row.connection, subject).await?;
            if state != "ready" {
                self.unblock(&row.connection, subject, id).await?;
            }
        }
        let changed = on!(&mut self.db, |c| {
            sqlx::query(
                "update message set state = $1, reason = $2, detail = $3, wait_for = null, held_since = null, due = $4, \
                 deaths = 0, changed = $4 where id = $5 and state = $6",
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
        }
        Ok(changed == 1)
    }

    pub(super) async fn unblock(&mut self, connection: &str, subject: &str, id: Uuid) -> Result<()> {
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
}

/// Pieces of 256, 128, 64 … rows: each size is one statement, which the database prepares once.
fn chunks<T>(mut rows: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let size = CHUNK.min(1 << rows.len().checked_ilog2()?);
        let (piece, rest) = rows.split_at(size);
        rows = rest;
        Some(piece)
    })
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

    /// The message that was put with this key, also if it was pruned meanwhile.
    pub async fn message_id(&mut self, connection: &str, route: &str, key: &str) -> Result<Option<Uuid>> {
        Ok(on!(self, |c| {
            sqlx::query_scalar(
                "select id from message where connection = $1 and route = $2 and key = $3 \
                 union all select message from idempotency where connection = $1 and route = $2 and key = $3",
            )
            .bind(connection)
            .bind(route)
            .bind(key)
            .fetch_optional(c)
            .await?
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
                ("lane", &filter.lane),
                ("subject", &filter.subject),
            ] {
                if let Some(value) = value {
                    select.push(format!(" and {column} = ")).push_bind(value.clone());
                }
            }
            push_among(&mut select, filter.among.as_deref());
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
            sqlx::query_as(
                "select number, at, outcome, class, detail from attempt where message = $1 order by at, number",
            )
            .bind(message)
            .fetch_all(c)
            .await?
        }))
    }

    /// When the next message of a lane falls due after `now`.
    pub async fn next_due(&mut self, lane: &str, now: Millis) -> Result<Option<Millis>> {
        Ok(on!(self, |c| {
            sqlx::query_scalar(
                "select min(due) from message where state in ('ready', 'waiting') and lane = $1 and due > $2",
            )
            .bind(lane)
            .bind(now)
            .fetch_one(c)
            .await?
        }))
    }

    /// Everything about one business object, newest first: messages of its subject, and messages of
    /// the connection whose payload holds one of `mentions` as a text. Reads every message of the
    /// connection since `since`: for a person's question, not for a handler.
    pub async fn messages_about(
        &mut self,
        connection: &str,
        subject: Option<&str>,
        mentions: &[String],
        since: Millis,
        limit: i64,
    ) -> Result<Vec<Row>> {
        Ok(on!(self, |c| {
            let mut select = QueryBuilder::new("select ");
            select.push(COLUMNS).push(" from message where connection = ").push_bind(connection.to_owned());
            select
                .push(" and created >= ")
                .push_bind(since)
                .push(" and (subject = ")
                .push_bind(subject.map(str::to_owned));
            for mention in mentions {
                let pattern = format!("%{}%", escaped(&Value::from(mention.as_str()).to_string()));
                select.push(" or cast(payload as text) like ").push_bind(pattern).push(" escape '!'");
            }
            select.push(") order by id desc limit ").push_bind(limit);
            select.build_query_as().persistent(false).fetch_all(c).await?
        }))
    }

    /// Since when the most overdue message of a lane could have run; `None` if none is due.
    pub async fn overdue(&mut self, lane: &str, among: Option<&[String]>, now: Millis) -> Result<Option<Millis>> {
        Ok(on!(self, |c| {
            let mut select =
                QueryBuilder::new("select min(due) from message where state in ('ready', 'waiting') and lane = ");
            select.push_bind(lane.to_owned()).push(" and due <= ").push_bind(now);
            push_among(&mut select, among);
            select.build_query_scalar().persistent(false).fetch_one(c).await?
        }))
    }

    /// How many messages could run now or are running; those that a blocking one holds back could not.
    pub async fn active(&mut self, now: Millis) -> Result<i64> {
        Ok(on!(self, |c| {
            sqlx::query_scalar(
                "select count(*) from message m left join subject s on s.connection = m.connection and s.name = m.subject \
                 where m.state = 'running' or (m.state in ('ready', 'waiting') and m.due <= $1 \
                   and (s.holder is not null or s.blocked_by is null or s.blocked_by = m.id))",
            )
            .bind(now)
            .fetch_one(c)
            .await?
        }))
    }
}

/// Narrows a query to some connections.
pub(super) fn push_among<D: sqlx::Database>(select: &mut QueryBuilder<D>, among: Option<&[String]>)
where
    String: for<'q> sqlx::Encode<'q, D> + sqlx::Type<D>,
{
    let Some(among) = among else { return };
    select.push(" and connection in (");
    let mut names = select.separated(", ");
    for name in among {
        names.push_bind(name.clone());
    }
    if among.is_empty() {
        names.push("null");
    }
    select.push(")");
}

/// A text for `like … escape '!'` that means itself.
fn escaped(text: &str) -> String {
    text.chars().flat_map(|c| ['!'].into_iter().filter(move |_| matches!(c, '%' | '_' | '!')).chain([c])).collect()
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
