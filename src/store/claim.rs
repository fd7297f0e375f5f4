//! Table `subject`, and claims: who works on what.
//!
//! A subject (an order, a product) is a lock row with a fencing token: whoever holds it is the only
//! one who works on it. All ready and waiting rows of one route and subject are claimed together
//! and end together; a holder that was taken for dead cannot commit any more.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use sqlx::types::Json;
use sqlx::{FromRow, QueryBuilder};
use uuid::Uuid;

use super::message::COLUMNS;
use super::{Ending, Error, Result, Row, Tx, on};
use crate::clock::Millis;

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

/// Most rows of one subject and route that one claim takes (F 1.4).
const FOLD: i64 = 200;
/// Clocks of daemons that share a database may differ by this much, in milliseconds.
const SKEW: Millis = 5_000;

impl Tx {
    /// Takes due work of one lane for `holder`: up to `limit` subjects (or single messages), each
    /// with all its ready and waiting rows of the same route.
    ///
    /// A claim passes over what other transactions have locked (on Postgres), so claims neither queue up behind
    /// each other nor take part in a deadlock. It waits only for its daemon's lease to be renewed, and where it
    /// makes a missing subject for whoever makes it at the same time. Who has no lease gets nothing.
    pub async fn claim(&mut self, holder: Uuid, lane: &str, limit: usize) -> Result<Vec<Claimed>> {
        if !self.keep_lease(holder).await? {
            return Ok(Vec::new());
        }
        let now = self.clock.now();
        let heads = self.due_heads(lane, now, limit).await?;
        let mut claimed = Vec::new();
        for head in heads {
            let token = match &head.subject {
                None => None,
                Some(name) => match self.lock(holder, &head, name).await? {
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
        let locked = self.db.locking(" for update of m skip locked");
        let candidates: Vec<Head> = on!(&mut self.db, |c| {
            let mut select = QueryBuilder::new(
                "select m.id, m.connection, m.route, m.subject, s.name is not null as has_subject from message m \
                 left join subject s on s.connection = m.connection and s.name = m.subject \
                 where m.state in ('ready', 'waiting') and m.lane = ",
            );
            select.push_bind(lane.to_owned()).push(" and m.due <= ").push_bind(now);
            select.push(" and s.holder is null and (s.blocked_by is null or s.blocked_by = m.id) order by m.due, m.id");
            select.push(" limit ").push_bind((limit * 4) as i64).push(locked);
            select.build_query_as().fetch_all(c).await?
        });
        let mut seen = BTreeSet::new();
        let first = |head: &Head| {
            let subject = head.subject.as_ref();
            subject.is_none_or(|subject| seen.insert((head.connection.clone(), subject.clone())))
        };
        Ok(candidates.into_iter().filter(first).take(limit).collect())
    }

    /// Looks at the subject again: since the heads were read another daemon may have had it. Answers
    /// the fencing token.
    async fn lock(&mut self, holder: Uuid, head: &Head, name: &str) -> Result<Option<i64>> {
        if !head.has_subject {
            // It was pruned while the message was being put.
            self.put_subjects(&BTreeSet::from([(head.connection.as_str(), name)])).await?;
        }
        let now = self.clock.now();
        let locked = self.db.locking(" for update skip locked");
        Ok(on!(&mut self.db, |c| {
            let mut update = QueryBuilder::new("update subject set token = case when token < ");
            update.push_bind(now).push(" then ").push_bind(now).push(" else token + 1 end, holder = ");
            update.push_bind(holder).push(" where (connection, name) in (select connection, name from subject");
            update.push(" where connection = ").push_bind(head.connection.clone());
            update.push(" and name = ").push_bind(name.to_owned());
            update.push(" and holder is null and (blocked_by is null or blocked_by = ").push_bind(head.id).push(")");
            update.push(locked).push(") returning token");
            update.build_query_scalar().fetch_optional(c).await?
        }))
    }

    /// Marks the rows of a head as running; those that another transaction is changing just now
    /// come with the next claim.
    async fn take(&mut self, head: &Head, holder: Uuid, claim: Uuid, now: Millis) -> Result<Vec<Row>> {
        let locked = self.db.locking(" for update skip locked");
        let before: BTreeMap<Uuid, String> = on!(&mut self.db, |c| {
            let mut select =
                QueryBuilder::new("select id, state from message where state in ('ready', 'waiting') and ");
            match &head.subject {
                None => select.push("id = ").push_bind(head.id),
                Some(subject) => {
                    select.push("connection = ").push_bind(head.connection.clone());
                    select.push(" and subject = ").push_bind(subject.clone());
                    select.push(" and route = ").push_bind(head.route.clone());
                    select.push(" order by created, id limit ").push_bind(FOLD)
                }
            };
            select.push(locked);
            let rows: Vec<(Uuid, String)> = select.build_query_as().fetch_all(&mut *c).await?;
            rows.into_iter().collect()
        });
        if before.is_empty() {
            return Ok(Vec::new());
        }
        let rows: Vec<Row> = on!(&mut self.db, |c| {
            let mut update =
                QueryBuilder::new("update message set state = 'running', attempts = attempts + 1, claim = ");
            update.push_bind(claim).push(", holder = ").push_bind(holder).push(", changed = ").push_bind(now);
            update.push(" where id in (");
            let mut ids = update.separated(", ");
            for id in before.keys() {
                ids.push_bind(*id);
            }
            update.push(") returning ").push(COLUMNS);
            update.build_query_as().persistent(before.len() == 1).fetch_all(c).await?
        });
        for row in &rows {
            let state = if before[&row.id] == "waiting" { "waiting" } else { "ready" };
            self.tally.add(&row.connection, &row.lane, state, -1);
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
            (Some(name), Some(token)) => self.unlock(claimed.holder, &lead.connection, name, token, blocked_by).await,
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
    pub async fn finish(
        &mut self,
        claimed: &Claimed,
        ending: Ending,
        detail: &str,
        notes: Option<Value>,
    ) -> Result<()> {
        let update = Update {
            state: ending.state(),
            reason: Some(ending.reason()),
            detail: Some(detail),
            notes,
            ends: true,
            ..Update::default()
        };
        self.settle(claimed, update).await
    }

    /// Ends all rows of a claim but the newest, which stands for them from now on.
    pub async fn supersede(&mut self, mut claimed: Claimed) -> Result<Claimed> {
        let Some(lead) = claimed.rows.pop() else { return Ok(claimed) };
        let now = self.clock.now();
        let detail = format!("Message {} stands for it.", lead.id);
        let ended: Vec<(String, String)> = on!(&mut self.db, |c| {
            sqlx::query_as(
                "update message set state = 'skipped', reason = 'superseded', detail = $1, wait_for = null, \
                 held_since = null, changed = $2, claim = null, holder = null \
                 where claim = $3 and state = 'running' and id <> $4 returning connection, lane",
            )
            .bind(detail)
            .bind(now)
            .bind(claimed.claim)
            .bind(lead.id)
            .fetch_all(c)
            .await?
        });
        for (connection, lane) in ended {
            self.tally.add(&connection, &lane, "running", -1);
            self.tally.add(&connection, &lane, "skipped", 1);
        }
        Ok(Claimed { rows: vec![lead], ..claimed })
    }

    /// Puts all rows of a claim back: to be tried again at `due`. `class` tells why. A row that was
    /// held before keeps its own `held_since`.
    pub async fn retry(
        &mut self,
        claimed: &Claimed,
        due: Millis,
        class: &str,
        detail: &str,
        held_since: Millis,
    ) -> Result<()> {
        let update = Update {
            state: "ready",
            reason: Some(class),
            detail: Some(detail),
            held_since: Some(held_since),
            due,
            ..Update::default()
        };
        self.settle(claimed, update).await
    }

    /// Puts all rows of a claim back without counting the attempt: the daemon stops, or the remote
    /// is not to be asked at the moment. Since when and why it is in retry stays as it was; an
    /// unknown outcome must not be forgotten. `detail` tells the operator what it waits for.
    pub async fn hand_back(&mut self, claimed: &Claimed, due: Millis, detail: Option<&str>) -> Result<()> {
        let update = Update {
            state: "ready",
            reason: claimed.lead().reason.as_deref(),
            detail,
            due,
            attempts_back: true,
            ..Update::default()
        };
        self.settle(claimed, update).await
    }

    /// The same after a write that may have been done: the next try knows since when.
    pub async fn hand_back_unknown(
        &mut self,
        claimed: &Claimed,
        due: Millis,
        class: &str,
        detail: &str,
        held_since: Millis,
    ) -> Result<()> {
        let update = Update {
            state: "ready",
            reason: Some(class),
            detail: Some(detail),
            held_since: Some(held_since),
            due,
            attempts_back: true,
            ..Update::default()
        };
        self.settle(claimed, update).await
    }

    /// Lets all rows of a claim wait for a key; they look again at `due` by themselves, and at once
    /// if what they wait for was written since they were claimed.
    pub async fn wait(
        &mut self,
        claimed: &Claimed,
        key: &str,
        due: Millis,
        detail: &str,
        held_since: Millis,
    ) -> Result<()> {
        let lead = claimed.lead();
        let due = if self.written_since(&lead.connection, key, lead.changed).await? { self.clock.now() } else { due };
        let update = Update {
            state: "waiting",
            detail: Some(detail),
            wait_for: Some(key),
            held_since: Some(held_since),
            due,
            attempts_back: true,
            ..Update::default()
        };
        self.settle(claimed, update).await
    }

    /// The same without counting anything: neither the attempt nor the time until giving up. Why it is in
    /// retry stays as it was; an unknown outcome must not be forgotten.
    pub(super) async fn wait_uncounted(
        &mut self,
        claimed: &Claimed,
        key: &str,
        due: Millis,
        detail: &str,
    ) -> Result<()> {
        let update = Update {
            state: "waiting",
            reason: claimed.lead().reason.as_deref(),
            detail: Some(detail),
            wait_for: Some(key),
            due,
            attempts_back: true,
            ..Update::default()
        };
        self.settle(claimed, update).await
    }

    async fn settle(&mut self, claimed: &Claimed, update: Update<'_>) -> Result<()> {
        let now = self.clock.now();
        let changed: Vec<(String, String)> = on!(&mut self.db, |c| {
            sqlx::query_as(
                "update message set state = $1, reason = $2, detail = coalesce($3, detail), notes = coalesce($4, notes), \
                 wait_for = $5, held_since = case when $6 then null else coalesce(held_since, $7) end, due = $8, \
                 attempts = attempts - $9, deaths = 0, changed = $10, claim = null, holder = null \
                 where claim = $11 and state = 'running' returning connection, lane",
            )
            .bind(update.state)
            .bind(update.reason)
            .bind(update.detail)
            .bind(update.notes.map(Json))
            .bind(update.wait_for)
            .bind(update.ends)
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

    /// Rows that were written by a clock ahead of ours keep their waiting time, counted from now: the
    /// system clock was set back while nobody ran, and they must not wait until it has caught up.
    pub async fn follow_clock_back(&mut self) -> Result<u64> {
        if let super::Db::Postgres(line) = &mut self.db {
            // All that waits may be a lot, and this is once in a while.
            line.be_patient();
        }
        let now = self.clock.now();
        Ok(on!(&mut self.db, |c| {
            sqlx::query(
                "update message set due = due - (changed - $1), changed = $1, \
                 held_since = case when held_since > $1 then $1 else held_since end \
                 where state in ('ready', 'waiting') and due > $1 and changed > $2",
            )
            .bind(now)
            .bind(now + SKEW)
            .execute(c)
            .await?
            .rows_affected()
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

    /// Since when the longest-held row is in retry, or waits; `None` if none was held yet.
    pub fn held_since(&self) -> Option<Millis> {
        self.rows.iter().filter_map(|row| row.held_since).min()
    }
}

#[derive(FromRow)]
struct Head {
    id: Uuid,
    connection: String,
    route: String,
    subject: Option<String>,
    /// Is the subject's row there?
    has_subject: bool,
}

#[derive(Default)]
struct Update<'a> {
    state: &'static str,
    reason: Option<&'a str>,
    detail: Option<&'a str>,
    notes: Option<Value>,
    wait_for: Option<&'a str>,
    /// Set where the row is not held already.
    held_since: Option<Millis>,
    due: Millis,
    attempts_back: bool,
    /// No longer held.
    ends: bool,
}
