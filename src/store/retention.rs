//! What may go, in small batches: bodies and rows of messages that ended, old attempts, and table
//! `idempotency`, which keeps the keys of pruned messages so that a copy that comes later is still a
//! duplicate. Ready, waiting, running and parked messages never go.
//!
//! Each function prunes one batch and answers how much it was; less than `limit` means that nothing
//! else was to be had. On Postgres a batch passes over what another transaction holds, so pruners
//! beside each other share the work instead of waiting.

use std::collections::BTreeSet;

use sqlx::{FromRow, QueryBuilder};
use uuid::Uuid;

use super::{Result, Tx, on};
use crate::clock::Millis;

/// How far old attempts were looked at: those of open messages stay, and are not looked at twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttemptPlace {
    at: Millis,
    message: Uuid,
    number: i64,
}

impl AttemptPlace {
    /// Before the oldest one.
    pub const START: Self = Self { at: Millis::MIN, message: Uuid::nil(), number: 0 };
}

/// Subjects of one statement.
const SUBJECTS: usize = 1000;

impl Tx {
    /// Empties the bodies of messages that ended before this.
    pub async fn prune_bodies(&mut self, before: Millis, limit: i64) -> Result<u64> {
        let locked = self.db.locking(" for update skip locked");
        Ok(on!(&mut self.db, |c| {
            let mut update = QueryBuilder::new(
                "update message set body = null where id in (select id from message where body is not null \
                 and state in ('done', 'skipped') and changed < ",
            );
            update.push_bind(before).push(" order by changed limit ").push_bind(limit).push(locked).push(")");
            update.build().execute(c).await?.rows_affected()
        }))
    }

    /// Empties the bodies of all messages of these subjects: somebody asked to be forgotten.
    pub async fn erase_bodies(&mut self, connection: &str, subjects: &[String]) -> Result<()> {
        for subjects in subjects.chunks(SUBJECTS) {
            on!(&mut self.db, |c| {
                let mut update = QueryBuilder::new("update message set body = null where connection = ");
                update.push_bind(connection.to_owned()).push(" and subject in (");
                let mut list = update.separated(", ");
                for subject in subjects {
                    list.push_bind(subject.clone());
                }
                update.push(")");
                update.build().persistent(false).execute(c).await?.rows_affected()
            });
        }
        Ok(())
    }

    /// Removes messages that ended before this, with their attempts, and the subjects nobody works on
    /// any more. Their keys stay known until [`Tx::prune_keys`].
    ///
    /// On Postgres a copy that arrives in the very moment in which its message goes may be taken for
    /// new: its insert waits for the row to go, with a view in which the key is not kept yet. It is
    /// then done once more, which is harmless, as for every message.
    pub async fn prune_messages(&mut self, before: Millis, limit: i64) -> Result<u64> {
        let locked = self.db.locking(" for update skip locked");
        let mut gone: Vec<Gone> = on!(&mut self.db, |c| {
            let mut delete = QueryBuilder::new(
                "delete from message where id in (select id from message where state in ('done', 'skipped') \
                 and changed < ",
            );
            delete.push_bind(before).push(" order by changed limit ").push_bind(limit).push(locked);
            delete.push(") returning id, connection, route, key, subject, lane, state, source");
            delete.build_query_as().fetch_all(c).await?
        });
        if gone.is_empty() {
            return Ok(0);
        }
        gone.sort_by(|a, b| (&a.connection, &a.route, &a.key).cmp(&(&b.connection, &b.route, &b.key)));
        self.forget_attempts(&gone).await?;
        self.keep_keys(&gone).await?;
        self.forget_subjects(&gone).await?;
        for row in &gone {
            let state = if row.state == "skipped" { "skipped" } else { "done" };
            self.tally.add(&row.connection, &row.lane, state, -1);
            self.tally.add(&row.connection, &row.lane, "pruned", 1);
        }
        Ok(gone.len() as u64)
    }

    /// Removes attempts from before this whose messages ended, beginning after `place`. Answers how
    /// many went, and where to go on; `None` = all were looked at.
    pub async fn prune_attempts(
        &mut self,
        before: Millis,
        place: AttemptPlace,
        limit: i64,
    ) -> Result<(u64, Option<AttemptPlace>)> {
        let locked = self.db.locking(" for update of a skip locked");
        let page: Vec<(Millis, Uuid, i64, Option<String>)> = on!(&mut self.db, |c| {
            let mut select = QueryBuilder::new(
                "select a.at, a.message, a.number, m.state from attempt a left join message m on m.id = a.message \
                 where a.at < ",
            );
            select.push_bind(before).push(" and (a.at, a.message, a.number) > (").push_bind(place.at).push(", ");
            select.push_bind(place.message).push(", ").push_bind(place.number);
            select.push(") order by a.at, a.message, a.number limit ").push_bind(limit).push(locked);
            select.build_query_as().fetch_all(c).await?
        });
        let ended = |state: &Option<String>| state.as_deref().is_none_or(|state| matches!(state, "done" | "skipped"));
        let old: Vec<_> = page.iter().filter(|(.., state)| ended(state)).collect();
        let more = page.last().filter(|_| page.len() as i64 == limit);
        let more = more.map(|(at, message, number, _)| AttemptPlace { at: *at, message: *message, number: *number });
        if old.is_empty() {
            return Ok((0, more));
        }
        let count = on!(&mut self.db, |c| {
            let mut delete = QueryBuilder::new("delete from attempt where (message, number, at) in (");
            delete.push_values(old, |mut row, (at, message, number, _)| {
                row.push_bind(*message).push_bind(*number).push_bind(*at);
            });
            delete.push(")").build().persistent(false).execute(c).await?.rows_affected()
        });
        Ok((count, more))
    }

    /// Forgets keys of messages that were pruned before this.
    pub async fn prune_keys(&mut self, before: Millis, limit: i64) -> Result<u64> {
        let locked = self.db.locking(" for update skip locked");
        Ok(on!(&mut self.db, |c| {
            let mut delete = QueryBuilder::new(
                "delete from idempotency where (connection, route, key) in \
                 (select connection, route, key from idempotency where pruned < ",
            );
            delete.push_bind(before).push(" order by pruned limit ").push_bind(limit).push(locked).push(")");
            delete.build().execute(c).await?.rows_affected()
        }))
    }

    async fn forget_attempts(&mut self, gone: &[Gone]) -> Result<()> {
        on!(&mut self.db, |c| {
            let mut delete = QueryBuilder::new("delete from attempt where message in (");
            let mut ids = delete.separated(", ");
            for row in gone {
                ids.push_bind(row.id);
            }
            delete.push(")").build().persistent(false).execute(c).await?.rows_affected();
        });
        Ok(())
    }

    /// Nobody sends a tick or an operator's run twice: their keys need not be kept.
    async fn keep_keys(&mut self, gone: &[Gone]) -> Result<()> {
        let now = self.clock.now();
        let kept: Vec<&Gone> = gone.iter().filter(|row| !matches!(row.source.as_str(), "timer" | "operator")).collect();
        if kept.is_empty() {
            return Ok(());
        }
        on!(&mut self.db, |c| {
            let mut insert = QueryBuilder::new("insert into idempotency (connection, route, key, message, pruned) ");
            insert.push_values(kept, |mut row, gone| {
                row.push_bind(gone.connection.clone())
                    .push_bind(gone.route.clone())
                    .push_bind(gone.key.clone())
                    .push_bind(gone.id)
                    .push_bind(now);
            });
            insert.push(
                " on conflict (connection, route, key) do update set message = excluded.message, \
                 pruned = excluded.pruned",
            );
            insert.build().persistent(false).execute(c).await?.rows_affected();
        });
        Ok(())
    }

    /// A subject is only a lock, so it may go when there is nothing to lock: nobody holds it, nothing
    /// blocks it, no open message refers to it. Whoever opens a message of it makes it anew.
    ///
    /// No stale holder gets through by that. A fencing token is the time of its claim, so a subject
    /// that is made anew starts above all tokens of its earlier life, and a holder of then finds
    /// neither its token nor its own name. Should clocks disagree by more than the message's age, its
    /// claim still finds no running row, and nothing of it is committed (`settle`).
    ///
    /// On Postgres a message may be put while its subject goes; the claim then makes the subject
    /// (`lock`).
    async fn forget_subjects(&mut self, gone: &[Gone]) -> Result<()> {
        let subjects: BTreeSet<(&str, &str)> =
            gone.iter().filter_map(|row| Some((row.connection.as_str(), row.subject.as_deref()?))).collect();
        if subjects.is_empty() {
            return Ok(());
        }
        let locked = self.db.locking(" for update of s skip locked");
        on!(&mut self.db, |c| {
            let mut delete = QueryBuilder::new(
                "delete from subject where (connection, name) in (select s.connection, s.name from subject s \
                 where s.holder is null and s.blocked_by is null and (s.connection, s.name) in (",
            );
            delete.push_values(&subjects, |mut row, (connection, name)| {
                row.push_bind((*connection).to_owned()).push_bind((*name).to_owned());
            });
            delete.push(
                ") and not exists (select 1 from message m where m.connection = s.connection and m.subject = s.name \
                 and m.state in ('ready', 'waiting', 'running'))",
            );
            delete.push(locked).push(")").build().persistent(false).execute(c).await?.rows_affected();
        });
        Ok(())
    }
}

/// A message that was pruned.
#[derive(FromRow)]
struct Gone {
    id: Uuid,
    connection: String,
    route: String,
    key: String,
    subject: Option<String>,
    lane: String,
    state: String,
    source: String,
}
