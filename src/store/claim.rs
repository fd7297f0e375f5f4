//! Table `subject`, and claims: who works on what.
//!
//! A subject (an order, a product) is a lock row with a fencing token: whoever holds it is the only
//! one who works on it. All ready and waiting rows of one route and subject are claimed together
//! and end together; a holder that was taken for dead cannot commit any more.

use std::collections::BTreeSet;

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

impl Tx {
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
            let mut update =
                QueryBuilder::new("update message set state = 'running', attempts = attempts + 1, claim = ");
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
            wait_for: None,
            held_since: None,
            due: 0,
            attempts_back: false,
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

    /// Puts all rows of a claim back: to be tried again at `due`. `class` tells why.
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

    /// Everything that these daemons held is free again, and what they ran is ready.
    pub async fn reclaim(&mut self, dead: &[Uuid]) -> Result<u64> {
        let now = self.clock.now();
        let mut count = 0;
        for daemon in dead {
            let rows: Vec<(String, String)> = on!(&mut self.db, |c| {
                sqlx::query("update subject set holder = null, token = token + 1 where holder = $1")
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
