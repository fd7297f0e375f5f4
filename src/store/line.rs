//! A Postgres connection that is not waited for without end.
//!
//! A server behind a network that swallows packets neither answers nor fails. Each statement
//! therefore has a deadline of real time. A connection that missed one is closed and never used
//! again, so that nothing is left half-done in it; whether the server did what it was asked is not
//! known, as after any connection that breaks. The server ends a transaction that it hears nothing
//! more of (`idle_in_transaction_session_timeout`), and with that its locks.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, PgPool, Postgres};

use super::{Db, Error, Result};

/// Where lines come from.
#[derive(Clone)]
pub struct Lines {
    pub pool: PgPool,
    /// How long a statement may take.
    pub patience: Duration,
}

/// One connection.
pub struct Line {
    connection: PoolConnection<Postgres>,
    patience: Duration,
    silent: bool,
}

impl Lines {
    pub async fn take(&self) -> Result<Db> {
        let connection = self.pool.acquire().await?;
        Ok(Db::Postgres(Line { connection, patience: self.patience, silent: false }))
    }
}

impl Line {
    /// How long the next statement may take.
    ///
    /// # Errors
    /// [`Error::Silent`] if an earlier one had no answer.
    pub fn patience(&self) -> Result<Duration> {
        if self.silent { Err(Error::Silent) } else { Ok(self.patience) }
    }

    /// For statements that rightly take long.
    pub fn be_patient(&mut self) {
        self.patience = Duration::from_secs(3600);
    }

    /// A statement had no answer.
    pub fn give_up(&mut self) -> Error {
        self.silent = true;
        self.connection.close_on_drop();
        Error::Silent
    }

    /// Closes it instead of giving it back.
    pub async fn close(mut self) {
        if self.silent {
            return;
        }
        let patience = self.patience;
        self.connection.close_on_drop();
        // It is of no use any more; how its end goes changes nothing.
        drop(tokio::time::timeout(patience, self.connection.close()).await);
    }
}

impl Deref for Line {
    type Target = PgConnection;
    fn deref(&self) -> &PgConnection {
        &self.connection
    }
}

impl DerefMut for Line {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.connection
    }
}
