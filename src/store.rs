//! The durable store: SQLite or Postgres behind one set of statements.
//!
//! Every SQL statement of the project is written once, in a file of this module named after its
//! table, with `$1` placeholders, and runs on both databases through the `on!` macro. Reading
//! functions live on [`Db`], writing ones on [`Tx`].
//!
//! [`Store::write`] runs a closure inside a transaction and returns when it is on stable storage.
//! It does so in a task of its own: a request that is dropped halfway can neither undo nor half-do
//! it. A database future is cancelled in one case only, with its connection (`line`): when Postgres
//! falls silent. [`Store::put`] is the intake: what arrives while a
//! commit is under way is committed together in one multi-row statement.

mod bell;
mod claim;
mod cursor;
mod disk;
mod lease;
mod line;
mod mapping;
mod message;
mod open;
mod pause;
mod reclaim;
mod retention;
mod run;
mod schedule;
mod seen;
mod setting;
mod stock;
mod tally;
pub mod token;
mod trouble;
mod writer;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use futures_util::future::BoxFuture;
use sqlx::pool::PoolConnection;
use sqlx::{Sqlite, SqlitePool};
use tokio::sync::mpsc;

use crate::clock::Clock;
use crate::failure::{Class, Failure};

pub use bell::{Bell, Lanes};
pub use claim::Claimed;
pub use cursor::{Counted, Cursor, Position};
pub use lease::Lease;
pub use line::Line;
pub use mapping::{Mapping, MappingFilter};
pub use message::{Attempt, Ending, Filter, New, Put, Row, Source};
pub use open::Options;
pub use pause::Stopped;
pub use reclaim::{DEATHS, Reclaimed};
pub use retention::AttemptPlace;
pub use run::{Missing, Record, Run, Side};
pub use schedule::{Pause, Plan, Scheduled};
/// A JSON column.
pub use sqlx::types::Json;
pub use stock::ImportOperation;
pub use tally::{Balance, Counts};
pub use token::Token;
pub use trouble::Trouble;

/// What may go wrong in here.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database did not do it; nothing was changed.
    #[error("the database failed: {0}")]
    Database(#[from] sqlx::Error),
    /// The database did not answer; whether it did what it was asked is not known.
    #[error("the database does not answer")]
    Silent,
    /// The work was handed to another daemon meanwhile; nothing was changed.
    #[error("the lease on {subject} was lost; another daemon goes on with it")]
    Fenced { subject: String },
    /// The database cannot be used as it is: version, lock, schema.
    #[error("{0}")]
    Unusable(String),
    /// The database as a whole is in trouble; nothing was changed.
    #[error("{0}")]
    Down(String),
    /// Less than `database.disk_reserve` is free.
    #[error("the disk of the database is low")]
    Low,
    /// The writer's queue is full, or the store is closed.
    #[error("the store takes nothing at the moment")]
    Busy,
    /// The code of a write is wrong; nothing was changed.
    #[error("a write failed inside: {0}")]
    Panicked(String),
    /// A stored document is not what it should be.
    #[error("a stored {what} cannot be read: {source}")]
    Corrupt { what: &'static str, source: serde_json::Error },
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::retry(Class::Store, error.to_string())
    }
}

/// Handle to the store; clones share it.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    pools: Pools,
    /// To the writer task: all writes on SQLite, intake on both.
    writer: mpsc::Sender<writer::Job>,
    bulk: mpsc::Sender<writer::Job>,
    shard: AtomicI64,
    due: Arc<Bell>,
    clock: Clock,
    watch: trouble::Watch,
    disk: disk::Disk,
    /// Held while the process uses the SQLite file; released by the operating system on any death.
    _lock: Option<std::fs::File>,
}

enum Pools {
    Sqlite { read: SqlitePool },
    Postgres(line::Lines),
}

/// One connection, for reading.
pub enum Db {
    Sqlite(PoolConnection<Sqlite>),
    Postgres(Line),
}

/// An open write transaction. No network call may happen while it is open.
pub struct Tx {
    db: Db,
    tally: tally::Deltas,
    clock: Clock,
}

/// How urgent a write is: order work and intake go before bulk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    Urgent,
    Bulk,
}

/// Runs one statement text on whichever database it is; on Postgres for a bounded time only (`line`).
macro_rules! on {
    ($db:expr, |$c:ident| $body:expr) => {
        match $db {
            $crate::store::Db::Sqlite(connection) => {
                let $c = &mut **connection;
                $body
            }
            $crate::store::Db::Postgres(line) => {
                let patience = line.patience()?;
                let asked = async {
                    let $c = &mut **line;
                    Ok::<_, $crate::store::Error>($body)
                };
                let answered = tokio::time::timeout(patience, asked).await;
                match answered {
                    Ok(done) => done?,
                    Err(_) => return Err(line.give_up()),
                }
            }
        }
    };
}
pub(crate) use on;

/// The body of a write: gets the open transaction, returns what the caller wants to know.
pub type Body<T> = Box<dyn for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T>> + Send>;

impl Store {
    /// A connection for reading.
    pub async fn read(&self) -> Result<Db> {
        let db = match &self.0.pools {
            Pools::Sqlite { read } => read.acquire().await.map(Db::Sqlite).map_err(Error::from),
            Pools::Postgres(lines) => lines.take().await,
        };
        db.inspect_err(|error| self.0.watch.failed(error))
    }

    /// Runs `body` in a write transaction and returns when it is on stable storage. If `body`
    /// fails, nothing of it remains.
    pub async fn write<T, F>(&self, urgency: Urgency, body: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T>> + Send + 'static,
    {
        self.run(urgency, false, Box::new(body)).await
    }

    /// Like [`Store::write`], but returns as soon as the change is visible to later transactions,
    /// without waiting for the disk. For claims only: a claim that a crash forgets was never made.
    pub async fn write_eager<T, F>(&self, body: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T>> + Send + 'static,
    {
        self.run(Urgency::Urgent, true, Box::new(body)).await
    }

    /// Takes messages in; the answer per message says whether it was new. Returns when they are on
    /// stable storage.
    ///
    /// # Errors
    /// [`Error::Low`] while the disk is low: what was taken in before is worked on all the same.
    pub async fn put(&self, messages: Vec<New>) -> Result<Vec<Put>> {
        self.0.disk.has_room()?;
        let (answer, answered) = tokio::sync::oneshot::channel();
        self.0.writer.try_send(writer::Job::Put { messages, answer }).map_err(|_| Error::Busy)?;
        answered.await.map_err(|_| Error::Busy)?
    }

    /// Rings whenever a commit may have made work due.
    pub fn due(&self) -> &Bell {
        &self.0.due
    }

    /// `sqlite` or `postgres`.
    pub fn database(&self) -> &'static str {
        match self.0.pools {
            Pools::Sqlite { .. } => "sqlite",
            Pools::Postgres(_) => "postgres",
        }
    }

    async fn run<T: Send + 'static>(&self, urgency: Urgency, eager: bool, body: Body<T>) -> Result<T> {
        match &self.0.pools {
            Pools::Sqlite { .. } => {
                let queue = match urgency {
                    Urgency::Urgent => &self.0.writer,
                    Urgency::Bulk => &self.0.bulk,
                };
                writer::submit(queue, eager, body).await
            }
            Pools::Postgres(lines) => {
                let (lines, clock, due) = (lines.clone(), self.0.clock.clone(), self.0.due.clone());
                let shard = 1 + self.0.shard.fetch_add(1, Ordering::Relaxed) % 15;
                let written = writer::detached(async move {
                    let mut tx = Tx::open(lines.take().await?, clock).await?;
                    match writer::guarded(&mut tx, body).await {
                        Ok(value) => tx.commit(shard, &due).await.map(|_| value),
                        Err(error) => {
                            tx.abandon().await;
                            Err(error)
                        }
                    }
                })
                .await;
                written.inspect_err(|error| self.0.watch.failed(error))
            }
        }
    }
}

impl Db {
    /// A locking clause, for the database that knows some: on SQLite a write transaction is alone.
    fn locking(&self, clause: &'static str) -> &'static str {
        match self {
            Self::Sqlite(_) => "",
            Self::Postgres(_) => clause,
        }
    }
}

impl Tx {
    /// What time it is.
    pub fn now(&self) -> crate::clock::Millis {
        self.clock.now()
    }
}

impl std::ops::Deref for Tx {
    type Target = Db;
    fn deref(&self) -> &Db {
        &self.db
    }
}

impl std::ops::DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut Db {
        &mut self.db
    }
}
