//! Pages that are messages: which one comes next, and when all are done.
//!
//! As soon as a page is read, the next one is put, if few enough are at work; else by the next page that
//! ends. It stands in a run's row, which moves in the transactions of the pages, so a run goes on wherever
//! it was cut.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::app::App;
use crate::failure::{Class, Failure, Outcome};
use crate::queue::Message;
use crate::store::{Run, Urgency};

/// Pages of one source at work at once.
pub const OPEN: u64 = 3;
/// When a message whose pair a page is writing looks again.
pub const PAGE_AT_WORK: Duration = Duration::from_secs(2);

/// Is a run at work? One whose pages, messages of these routes, all ended without ending it is given up: the
/// next one starts again.
///
/// # Errors
/// When the database fails.
pub async fn is_at_work(app: &App, message: &Message, stream: &str, routes: &[&str]) -> Result<bool, Failure> {
    let mut db = app.store().read().await?;
    let Some(run) = db.open_run(message.connection(), stream).await? else { return Ok(false) };
    let prefix = run.id.to_string();
    for route in routes {
        if db.live_messages(message.connection(), route, &prefix).await? > 0 {
            return Ok(true);
        }
    }
    drop(db);
    give_up(app, run.id).await?;
    Ok(false)
}

/// The run of a stream that is under way, with its place. One over another scope than is configured now, or
/// whose place cannot be read, is given up.
///
/// # Errors
/// When the database fails.
pub async fn under_way<P: DeserializeOwned>(
    app: &App,
    message: &Message,
    stream: &str,
    scope: &str,
) -> Result<Option<(Run, P)>, Failure> {
    let store = app.store();
    let Some(run) = store.read().await?.open_run(message.connection(), stream).await? else { return Ok(None) };
    if run.scope == scope
        && let Ok(place) = serde_json::from_value(run.position.0.clone())
    {
        return Ok(Some((run, place)));
    }
    give_up(app, run.id).await?;
    Ok(None)
}

/// Opens a run that walks page by page in one message.
///
/// # Errors
/// To be tried again, if another one has just begun; when the database fails.
pub async fn open(app: &App, run: &Run) -> Outcome {
    let opened = run.clone();
    match app.store().write(Urgency::Bulk, move |tx| Box::pin(async move { tx.open_run(&opened).await })).await? {
        true => Ok(()),
        false => Err(Failure::retry(Class::Stale, "Another run of this job has just begun.")),
    }
}

/// Ends a run without a result; the next one starts from the beginning.
///
/// # Errors
/// When the database fails.
pub async fn give_up(app: &App, run: Uuid) -> Outcome {
    let store = app.store();
    Ok(store
        .write(Urgency::Bulk, move |tx| Box::pin(async move { tx.end_run(run, "given-up").await.map(|_| ()) }))
        .await?)
}

/// The pages of one source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chain {
    /// Pages whose end is known.
    read: u64,
    /// Pages at work.
    open: u64,
    /// Where the next page begins, while too many are at work.
    next: Option<Value>,
    ended: bool,
}

impl Chain {
    /// The first page is at work.
    pub fn begun() -> Self {
        Self { open: 1, ..Self::default() }
    }

    /// Page `number`, from 1, ends at `next`; `None` = it is the last one. Answers the page that may begin:
    /// its number, and the place it begins behind.
    pub fn read(&mut self, number: u64, next: Option<Value>, most: u64) -> Option<(u64, Value)> {
        if self.read >= number {
            return None;
        }
        self.read = number;
        self.ended = next.is_none();
        match next {
            Some(after) if self.open < most => {
                self.open += 1;
                Some((number + 1, after))
            }
            next => {
                self.next = next;
                None
            }
        }
    }

    /// A page is done. Answers the page that may begin now.
    pub fn done(&mut self) -> Option<(u64, Value)> {
        self.open = self.open.saturating_sub(1);
        let after = self.next.take()?;
        self.open += 1;
        Some((self.read + 1, after))
    }

    /// Are all pages done?
    pub fn is_over(&self) -> bool {
        self.ended && self.open == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn three_pages_are_at_work_and_each_is_put_once() {
        let mut chain = Chain::begun();
        assert_eq!(chain.read(1, Some(json!("a")), OPEN), Some((2, json!("a"))));
        assert_eq!(chain.read(1, Some(json!("a")), OPEN), None, "a page that runs again puts nothing");
        assert_eq!(chain.read(2, Some(json!("b")), OPEN), Some((3, json!("b"))));
        assert_eq!(chain.read(3, Some(json!("c")), OPEN), None, "three are at work");
        assert_eq!(chain.done(), Some((4, json!("c"))));
        assert_eq!(chain.read(4, None, OPEN), None);
        assert!(!chain.is_over());
        assert_eq!([chain.done(), chain.done(), chain.done()], [None, None, None]);
        assert!(chain.is_over());
    }
}
