//! Table `cursor`: how far each stream was read. A cursor moves in the transaction that stores what
//! was read, never ahead of it, and only from where the mover believes it to be.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::FromRow;
use sqlx::types::Json;

use super::{Db, Result, Tx, on};
use crate::clock::Millis;

/// Where a stream stands.
#[derive(Clone, Debug, FromRow, Serialize)]
pub struct Cursor {
    pub connection: String,
    /// Named after its job: `order-status-sync`.
    pub stream: String,
    pub position: Json<Position>,
    /// How many records only this poll found: their webhook or message never came.
    pub found: i64,
    /// How many of these had become visible so late that an earlier look had missed them.
    pub late: i64,
    /// The distance that the poll keeps from the source's clock since rows came late, in milliseconds.
    pub settle: Option<Millis>,
    /// Until when it does so.
    pub settle_until: Option<Millis>,
    pub changed: Millis,
}

/// How far a stream was read, on its source's clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Position {
    /// A window is under way: its pages up to `after` are done.
    Window {
        #[serde(with = "instant")]
        from: Millis,
        #[serde(with = "instant")]
        to: Millis,
        /// Up to here, this moment included, earlier windows have looked already.
        #[serde(with = "instant")]
        fresh: Millis,
        /// See [`Done`](Self::Done).
        #[serde(with = "instant")]
        since: Millis,
        /// The last page's end, in the source's own form; `None` = the first page is next.
        after: Option<Value>,
    },
    /// Everything up to `end` was read.
    Done {
        #[serde(with = "instant")]
        end: Millis,
        /// Where the very first window began, or where an operator set the cursor: no overlap reaches
        /// behind it.
        #[serde(with = "instant")]
        since: Millis,
    },
}

impl Position {
    /// Everything up to this moment was read.
    pub fn read_to(&self) -> Millis {
        match self {
            Self::Window { fresh, .. } => *fresh,
            Self::Done { end, .. } => *end,
        }
    }
}

/// What a page adds to the counters of its stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    pub found: i64,
    pub late: i64,
    /// A greater distance from now on, and until when; `None` leaves it as it is.
    pub settle: Option<(Millis, Millis)>,
}

impl Tx {
    /// Moves a cursor from `expected` (`None` = it has none yet) and adds to its counters. `false`:
    /// it stands elsewhere by now, and nothing was changed.
    pub async fn advance(
        &mut self,
        connection: &str,
        stream: &str,
        expected: Option<&Position>,
        position: &Position,
        counted: Counted,
    ) -> Result<bool> {
        let now = self.clock.now();
        let (settle, settle_until) = counted.settle.unzip();
        let moved = match expected {
            None => on!(&mut self.db, |c| {
                sqlx::query(
                    "insert into cursor (connection, stream, position, found, late, settle, settle_until, changed) \
                     values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict (connection, stream) do nothing",
                )
                .bind(connection)
                .bind(stream)
                .bind(Json(position))
                .bind(counted.found)
                .bind(counted.late)
                .bind(settle)
                .bind(settle_until)
                .bind(now)
                .execute(c)
                .await?
                .rows_affected()
            }),
            Some(expected) => on!(&mut self.db, |c| {
                sqlx::query(
                    "update cursor set position = $1, found = found + $2, late = late + $3, settle = coalesce($4, settle), \
                     settle_until = coalesce($5, settle_until), changed = $6 \
                     where connection = $7 and stream = $8 and position = $9",
                )
                .bind(Json(position))
                .bind(counted.found)
                .bind(counted.late)
                .bind(settle)
                .bind(settle_until)
                .bind(now)
                .bind(connection)
                .bind(stream)
                .bind(Json(expected))
                .execute(c)
                .await?
                .rows_affected()
            }),
        };
        Ok(moved == 1)
    }

    /// Counts a record that turned out to be found by this stream only. The cursor stays where it is.
    pub async fn found(&mut self, connection: &str, stream: &str) -> Result<()> {
        on!(&mut self.db, |c| {
            sqlx::query("update cursor set found = found + 1 where connection = $1 and stream = $2")
                .bind(connection)
                .bind(stream)
                .execute(c)
                .await?
                .rows_affected()
        });
        Ok(())
    }
}

impl Db {
    /// Where a stream stands; `None` before its first run.
    pub async fn cursor(&mut self, connection: &str, stream: &str) -> Result<Option<Cursor>> {
        Ok(on!(self, |c| {
            sqlx::query_as(
                "select connection, stream, position, found, late, settle, settle_until, changed from cursor \
                 where connection = $1 and stream = $2",
            )
            .bind(connection)
            .bind(stream)
            .fetch_optional(c)
            .await?
        }))
    }

    /// All streams.
    pub async fn cursors(&mut self) -> Result<Vec<Cursor>> {
        Ok(on!(self, |c| {
            sqlx::query_as(
                "select connection, stream, position, found, late, settle, settle_until, changed from cursor \
                 order by connection, stream",
            )
            .fetch_all(c)
            .await?
        }))
    }
}

/// Instants stand in a position as people read them.
mod instant {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::clock::{Millis, parse_rfc3339, rfc3339};

    pub fn serialize<S: Serializer>(at: &Millis, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&rfc3339(*at))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Millis, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_rfc3339(&text).ok_or_else(|| D::Error::custom(format!("{text:?} is not an instant")))
    }
}
