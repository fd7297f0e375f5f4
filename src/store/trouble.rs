//! Trouble with the database as a whole: since when, and why, in an operator's words.
//!
//! It begins with the first write or connection that fails for a reason that concerns every other one
//! as well, and ends when somebody proved that the store takes writes again. Both are one line in the
//! log; what fails in between only says so to whoever asked for it.

use sqlx::error::DatabaseError;
use sqlx::sqlite::SqliteError;
use tokio::sync::watch;

use super::{Error, Store};
use crate::clock::{Clock, Millis};

/// What is wrong with the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    pub since: Millis,
    /// Says what is wrong and what to do; holds no names and no paths.
    pub sentence: &'static str,
    /// How much failed for it so far.
    pub failures: u64,
}

/// Notices when trouble begins and when it is over; clones watch the same store.
#[derive(Clone)]
pub struct Watch {
    state: watch::Sender<Option<Trouble>>,
    clock: Clock,
}

impl Watch {
    pub fn new(clock: Clock) -> Self {
        Self { state: watch::Sender::new(None), clock }
    }

    /// Something failed; if the database as a whole is the reason, that is noted.
    pub fn failed(&self, error: &Error) {
        let Some(sentence) = sentence(error) else { return };
        let since = self.clock.now();
        self.state.send_modify(|state| match state {
            // A connection that just ended hides what the next one meets: the last word counts.
            Some(trouble) => (trouble.failures, trouble.sentence) = (trouble.failures + 1, sentence),
            None => {
                tracing::error!("{sentence} Nothing is taken in meanwhile: {error}");
                *state = Some(Trouble { since, sentence, failures: 1 });
            }
        });
    }
}

impl Store {
    /// What is wrong with the database at the moment, if anything is.
    pub fn trouble(&self) -> Option<Trouble> {
        self.0.watch.state.borrow().clone()
    }

    /// Returns when there is trouble.
    pub async fn troubled(&self) {
        let mut state = self.0.watch.state.subscribe();
        // The sender lives as long as the store, so waiting cannot fail.
        let _ = state.wait_for(Option::is_some).await;
    }

    /// The store was seen to take writes again.
    pub fn recovered(&self) {
        if let Some(trouble) = self.0.watch.state.send_replace(None) {
            let seconds = (self.0.clock.now() - trouble.since) as f64 / 1000.0;
            let failures = trouble.failures;
            tracing::warn!("the database takes writes again after {seconds:.1} s; {failures} failed meanwhile");
        }
    }
}

impl Error {
    /// Is it the trouble that the log tells of anyhow, or news?
    pub fn is_trouble(&self) -> bool {
        matches!(self, Self::Down(_)) || sentence(self).is_some()
    }

    /// The same once more, for somebody else whose work was lost with it.
    pub(super) fn again(&self) -> Self {
        match self.is_trouble() {
            true => Self::Down(self.to_string()),
            false => Self::Unusable(self.to_string()),
        }
    }
}

const FULL: &str = "The disk that holds the database is full. Free space there; the connector goes on by itself.";
const LOW: &str = "The disk that holds the database has less than database.disk_reserve left. Free space there; the \
                   connector goes on by itself.";
const LOCKED: &str = "Another program holds the database file. End it; the connector goes on by itself.";
const READ_ONLY: &str = "The database is read-only. Make it writable; the connector goes on by itself.";
const DISK: &str = "The disk that holds the database fails. Look at the machine's own log.";
const DAMAGED: &str = "The database file is damaged. Stop the connector and restore a backup.";
const AWAY: &str = "The database cannot be reached. Bring it back; the connector goes on by itself.";

/// `None`: the reason is what was asked of the database, not the database.
fn sentence(error: &Error) -> Option<&'static str> {
    let error = match error {
        Error::Database(error) => error,
        Error::Silent => return Some(AWAY),
        Error::Low => return Some(LOW),
        _ => return None,
    };
    match error {
        sqlx::Error::Database(error) => match error.try_downcast_ref::<SqliteError>() {
            Some(error) => of_sqlite(error),
            None => of_postgres(error.code()?.as_ref()),
        },
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => Some(AWAY),
        _ => None,
    }
}

/// Primary result codes of SQLite; the extended ones carry them in their last byte.
fn of_sqlite(error: &SqliteError) -> Option<&'static str> {
    let code: u32 = error.code()?.parse().ok()?;
    match code & 0xff {
        5 | 6 => Some(LOCKED),
        8 => Some(READ_ONLY),
        10 => Some(DISK),
        11 | 26 => Some(DAMAGED),
        13 => Some(FULL),
        14 => Some(AWAY),
        _ => None,
    }
}

/// SQLSTATE of Postgres (its documentation, appendix A).
fn of_postgres(code: &str) -> Option<&'static str> {
    match code {
        "53100" => Some(FULL),
        "25006" => Some(READ_ONLY),
        "XX001" | "XX002" => Some(DAMAGED),
        code if code.starts_with("58") => Some(DISK),
        code if ["08", "53", "57P"].iter().any(|class| code.starts_with(class)) => Some(AWAY),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn away() -> Error {
        Error::Database(sqlx::Error::PoolTimedOut)
    }

    #[test]
    fn trouble_is_what_concerns_everybody() {
        assert!(away().is_trouble() && away().again().is_trouble());
        assert!(!Error::Database(sqlx::Error::RowNotFound).is_trouble());
        assert!(Error::Silent.is_trouble() && Error::Silent.again().is_trouble());
        assert!(!Error::Busy.is_trouble() && !Error::Busy.again().is_trouble());
        let known = [("53100", FULL), ("25006", READ_ONLY), ("57P01", AWAY), ("08006", AWAY), ("58030", DISK)];
        assert!(known.iter().all(|(code, sentence)| of_postgres(code) == Some(*sentence)));
        assert_eq!(of_postgres("23505"), None, "a duplicate is no trouble");
    }

    #[test]
    fn it_begins_once_and_keeps_its_beginning() {
        let clock = Clock::simulated(1_000);
        let watch = Watch::new(clock.clone());
        watch.failed(&Error::Busy);
        assert_eq!(*watch.state.borrow(), None);
        watch.failed(&away());
        clock.advance(std::time::Duration::from_secs(1));
        watch.failed(&away());
        assert_eq!(*watch.state.borrow(), Some(Trouble { since: 1_000, sentence: AWAY, failures: 2 }));
    }
}
