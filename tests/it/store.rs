//! What the store promises, on both databases: every test of these modules exists as
//! `<name>::sqlite` and `<name>::postgres`, except where one of them has something the other has not.

mod balance;
mod blocking;
mod claim;
mod crowd;
mod intake;
mod network;
mod operator;
mod reclaim;
mod retention;
mod schema;
mod sqlite;
mod tables;
mod write;

use fluent_connector::clock::{Clock, Millis};
use fluent_connector::store::{Claimed, Ending, New, Put, Result, Row, Source, Store, Tx, Urgency};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::json;
use uuid::Uuid;

use crate::database::{Database, START, register};

/// A store on a clock that stands still.
struct Bench {
    database: Database,
    store: Store,
    clock: Clock,
}

impl Bench {
    async fn new(database: Database) -> Self {
        let clock = Clock::simulated(START);
        let store = database.open(&clock).await;
        Self { database, store, clock }
    }

    fn now(&self) -> Millis {
        self.clock.now()
    }

    async fn put(&self, message: New) -> Uuid {
        accepted(&self.store.put(vec![message]).await.unwrap())[0]
    }

    async fn write<T, F>(&self, body: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T>> + Send + 'static,
    {
        self.store.write(Urgency::Urgent, body).await
    }

    /// As a daemon that lives.
    async fn claim(&self, holder: Uuid, limit: usize) -> Vec<Claimed> {
        self.claim_in("order", holder, limit).await
    }

    async fn claim_in(&self, lane: &'static str, holder: Uuid, limit: usize) -> Vec<Claimed> {
        register(&self.store, holder).await;
        self.write(move |tx| async move { tx.claim(holder, lane, limit).await }.boxed()).await.unwrap()
    }

    /// Claims exactly one.
    async fn one(&self, holder: Uuid) -> Claimed {
        let mut claimed = self.claim(holder, 10).await;
        assert_eq!(claimed.len(), 1, "{claimed:?}");
        claimed.remove(0)
    }

    async fn finish(&self, claimed: &Claimed) -> Result<()> {
        let claimed = claimed.clone();
        self.write(move |tx| {
            async move {
                tx.release(&claimed, None).await?;
                tx.finish(&claimed, Ending::Done("written"), "", None).await
            }
            .boxed()
        })
        .await
    }

    /// Puts it back; `blocks` holds later rows of the subject behind it.
    async fn retry(&self, claimed: &Claimed, due: Millis, blocks: bool) -> Result<()> {
        let claimed = claimed.clone();
        let held_since = self.now();
        self.write(move |tx| {
            async move {
                tx.release(&claimed, blocks.then_some(claimed.lead().id)).await?;
                tx.retry(&claimed, due, "network", "The line is dead.", held_since).await
            }
            .boxed()
        })
        .await
    }

    async fn wait(&self, claimed: &Claimed, key: &'static str, due: Millis, blocks: bool) -> Result<()> {
        let claimed = claimed.clone();
        let held_since = self.now();
        self.write(move |tx| {
            async move {
                tx.release(&claimed, blocks.then_some(claimed.lead().id)).await?;
                tx.wait(&claimed, key, due, "It waits.", held_since).await
            }
            .boxed()
        })
        .await
    }

    async fn park(&self, claimed: &Claimed) -> Result<()> {
        let claimed = claimed.clone();
        self.write(move |tx| {
            async move {
                tx.release(&claimed, None).await?;
                tx.finish(&claimed, Ending::Parked("rejected"), "It is wrong.", None).await
            }
            .boxed()
        })
        .await
    }

    async fn reclaim(&self, dead: Uuid) -> u64 {
        self.write(move |tx| async move { tx.reclaim(&[dead]).await }.boxed()).await.unwrap().ready
    }

    async fn row(&self, id: Uuid) -> Row {
        self.store.read().await.unwrap().message(id).await.unwrap().expect("the message is there")
    }

    async fn state(&self, id: Uuid) -> String {
        self.row(id).await.state
    }

    /// The counters are right: they balance, and counting the rows gives the same.
    async fn balanced(&self) {
        let mut db = self.store.read().await.unwrap();
        let (mut tally, recount) = (db.tally().await.unwrap(), db.recount().await.unwrap());
        for (place, counts) in &mut tally {
            assert_eq!(counts.imbalance(), 0, "{place:?}: {counts:?}");
            counts.0.remove("accepted");
            counts.0.remove("pruned");
        }
        tally.retain(|_, counts| !counts.0.is_empty());
        assert_eq!(tally, recount);
    }
}

/// A message without subject, due at the start.
fn message(key: impl Into<String>) -> New {
    New {
        connection: "main".into(),
        route: "test.thing-changed".into(),
        key: key.into(),
        subject: None,
        lane: "order".into(),
        source: Source::Handler,
        at_least: 0,
        due: START,
        correlation: "c-1".into(),
        payload: json!({"b": 1, "a": [1.5, null, "ü"]}),
        body: None,
        ending: None,
    }
}

fn of(subject: &str, key: impl Into<String>) -> New {
    New { subject: Some(subject.into()), ..message(key) }
}

fn on_route(route: &str, message: New) -> New {
    New { route: route.into(), ..message }
}

fn accepted(puts: &[Put]) -> Vec<Uuid> {
    let id = |put: &Put| match put {
        Put::Accepted(id) => *id,
        Put::Duplicate => panic!("a duplicate among {puts:?}"),
    };
    puts.iter().map(id).collect()
}

fn keys(claimed: &[Claimed]) -> Vec<Vec<&str>> {
    claimed.iter().map(|claimed| claimed.rows.iter().map(|row| row.key.as_str()).collect()).collect()
}
