//! Table `pause`: connections to whose platforms nothing is written until a person resumes them. What
//! would write waits for the key [`WRITES`] and is released in the transaction that ends the stop.

use sqlx::FromRow;

use super::{Claimed, Db, Pause, Result, Tx, on};
use crate::clock::Millis;

/// What is stopped, and the key that stopped messages wait for.
const WRITES: &str = "writes";

/// Another daemon learns of a resumption this much later, in milliseconds.
const LEARNS: Millis = 1_000;

/// A connection whose writes are stopped.
#[derive(Clone, Debug, FromRow)]
pub struct Stopped {
    pub connection: String,
    pub paused_at: Millis,
    pub paused_by: String,
    pub paused_reason: String,
    /// `None` = until somebody resumes it.
    pub paused_until: Option<Millis>,
}

impl Tx {
    /// Stops the writes of a connection; stopping it again replaces who, why and until when.
    pub async fn stop_writes(&mut self, connection: &str, pause: &Pause) -> Result<()> {
        let now = self.clock.now();
        on!(&mut self.db, |c| {
            sqlx::query(
                "insert into pause (connection, what, paused_at, paused_by, paused_reason, paused_until) \
                 values ($1, $2, $3, $4, $5, $6) on conflict (connection, what) do update set \
                 paused_at = excluded.paused_at, paused_by = excluded.paused_by, \
                 paused_reason = excluded.paused_reason, paused_until = excluded.paused_until",
            )
            .bind(connection)
            .bind(WRITES)
            .bind(now)
            .bind(&pause.by)
            .bind(&pause.reason)
            .bind(pause.until)
            .execute(c)
            .await?
            .rows_affected()
        });
        Ok(())
    }

    /// Ends a stop and releases what waited for it, whose time in retry counts from now. Answers how
    /// many that were; `None` if nothing was stopped, or if it is to last longer than `by`.
    pub async fn resume_writes(&mut self, connection: &str, by: Option<Millis>) -> Result<Option<u64>> {
        let now = self.clock.now();
        let ended = on!(&mut self.db, |c| {
            sqlx::query("delete from pause where connection = $1 and what = $2 and (paused_until <= $3 or $4)")
                .bind(connection)
                .bind(WRITES)
                .bind(by)
                .bind(by.is_none())
                .execute(c)
                .await?
                .rows_affected()
        });
        if ended == 0 {
            return Ok(None);
        }
        on!(&mut self.db, |c| {
            sqlx::query(
                "update message set held_since = $1 \
                 where connection = $2 and state = 'waiting' and wait_for = $3 and held_since is not null",
            )
            .bind(now)
            .bind(connection)
            .bind(WRITES)
            .execute(c)
            .await?
            .rows_affected()
        });
        self.arrived(connection, WRITES).await.map(Some)
    }

    /// Lets all rows of a claim wait for the end of the stop, at most until `due`; no attempt counts. If it
    /// ended meanwhile they run again at once.
    pub async fn wait_for_writes(&mut self, claimed: &Claimed, due: Millis, detail: &str) -> Result<()> {
        let connection = &claimed.lead().connection;
        // Whoever ends the stop waits for this row, and then sees what waits.
        let locked = self.db.locking(" for share");
        let stopped: Option<i64> = on!(&mut self.db, |c| {
            let mut select = sqlx::QueryBuilder::new("select paused_at from pause where connection = ");
            select.push_bind(connection.clone()).push(" and what = ").push_bind(WRITES).push(locked);
            select.build_query_scalar().fetch_optional(c).await?
        });
        let due = if stopped.is_some() { due } else { self.clock.now() + LEARNS };
        self.wait_uncounted(claimed, WRITES, due, detail).await
    }
}

impl Db {
    /// The connections whose writes are stopped.
    pub async fn stopped_writes(&mut self) -> Result<Vec<Stopped>> {
        Ok(on!(self, |c| {
            sqlx::query_as(
                "select connection, paused_at, paused_by, paused_reason, paused_until from pause \
                 where what = $1 order by connection",
            )
            .bind(WRITES)
            .fetch_all(c)
            .await?
        }))
    }

    /// How many messages wait for the end of the stop.
    pub async fn waiting_for_writes(&mut self, connection: &str) -> Result<i64> {
        Ok(on!(self, |c| {
            sqlx::query_scalar(
                "select count(*) from message where connection = $1 and state = 'waiting' and wait_for = $2",
            )
            .bind(connection)
            .bind(WRITES)
            .fetch_one(c)
            .await?
        }))
    }
}
