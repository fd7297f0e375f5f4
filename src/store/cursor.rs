//! Table `cursor`: how far each stream was read. A cursor moves in the transaction that stores what
//! was read, never ahead of it.

use serde::Serialize;
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
    /// The stream's own form; see the job.
    pub position: Json<Value>,
    /// How many records only this poll found: their webhook or message never came.
    pub found: i64,
    pub changed: Millis,
}

impl Tx {
    /// Moves a cursor and adds what only the poll found.
    pub async fn advance(&mut self, connection: &str, stream: &str, position: Value, found: i64) -> Result<()> {
        let now = self.clock.now();
        on!(&mut self.db, |c| {
            sqlx::query(
                "insert into cursor (connection, stream, position, found, changed) values ($1, $2, $3, $4, $5) \
                 on conflict (connection, stream) do update set position = excluded.position, \
                 found = cursor.found + excluded.found, changed = excluded.changed",
            )
            .bind(connection)
            .bind(stream)
            .bind(Json(position))
            .bind(found)
            .bind(now)
            .execute(c)
            .await?
            .rows_affected()
        });
        Ok(())
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
                "select connection, stream, position, found, changed from cursor where connection = $1 and stream = $2",
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
                "select connection, stream, position, found, changed from cursor order by connection, stream",
            )
            .fetch_all(c)
            .await?
        }))
    }
}
