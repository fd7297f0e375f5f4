//! The network between us and Postgres: callers that go away in the middle of a round trip, and a
//! database that is gone for a while.

use std::collections::BTreeSet;
use std::time::Duration;

use fluent_connector::clock::Clock;
use fluent_connector::store::{Db, Filter, Options, Put, Store, Urgency};
use futures_util::FutureExt;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

use super::message;
use crate::database::{Database, START, on_postgres};
use crate::proxy::through;
use crate::settle::eventually;

on_postgres!(
    cancelled_callers_cost_no_acknowledged_write,
    a_connection_that_comes_back_inside_a_transaction_is_freed_of_it,
    without_the_guard_a_cancelled_begin_swallows_the_next_write,
    a_database_that_is_gone_pauses_and_loses_nothing,
    a_database_that_falls_silent_is_not_waited_for,
    what_was_committed_in_silence_is_a_duplicate,
);

/// One way of a round trip through the slow proxy.
const DELAY: Duration = Duration::from_millis(20);

async fn cancelled_callers_cost_no_acknowledged_write(database: Database) {
    let (proxy, url) = through(&database).await;
    let clock = Clock::simulated(START);
    let store = Store::open(Options { url, pool: 4, ..database.options() }, clock).await.unwrap();
    proxy.delay(DELAY);
    let mut acknowledged = BTreeSet::new();
    for round in 0..15 {
        for cut in [5, 15, 25, 45] {
            let key = format!("{round}.{cut}");
            let put = store.put(vec![message(format!("put {key}"))]);
            let of_write = format!("write {key}");
            let write =
                store.write(Urgency::Urgent, move |tx| async move { tx.put(vec![message(of_write)]).await }.boxed());
            let read = async { store.read().await?.messages(&Filter::default(), 10).await };
            let patience = Duration::from_millis(cut);
            let (put, write, _) = tokio::join!(
                tokio::time::timeout(patience, put),
                tokio::time::timeout(patience, write),
                tokio::time::timeout(patience, read),
            );
            acknowledged.extend(matches!(put, Ok(Ok(_))).then(|| format!("put {key}")));
            acknowledged.extend(matches!(write, Ok(Ok(_))).then(|| format!("write {key}")));
        }
        // Whoever borrows next is the one who would lose.
        for (n, key) in [format!("next put {round}"), format!("next write {round}")].into_iter().enumerate() {
            let message = vec![message(key.clone())];
            match n {
                0 => store.put(message).await.unwrap(),
                _ => {
                    store.write(Urgency::Urgent, move |tx| async move { tx.put(message).await }.boxed()).await.unwrap()
                }
            };
            acknowledged.insert(key);
        }
    }
    assert!(acknowledged.len() >= 30);
    let stored = stored(&database).await;
    let lost: Vec<_> = acknowledged.difference(&stored).collect();
    assert!(lost.is_empty(), "acknowledged and not there: {lost:?}");
    assert!(stored.len() == 150, "a dropped caller's write is done all the same: {}", stored.len());
    eventually("no connection inside a transaction", async || inside_a_transaction(&database).await == 0).await;
}

async fn a_connection_that_comes_back_inside_a_transaction_is_freed_of_it(database: Database) {
    let store = Store::open(Options { pool: 1, ..database.options() }, Clock::simulated(START)).await.unwrap();
    for statements in ["begin", "begin; insert into setting values ('main', 'left open', '', 0)", "begin; select 1"] {
        let mut reading = store.read().await.unwrap();
        let Db::Postgres(connection) = &mut reading else { panic!("not Postgres") };
        sqlx::raw_sql(statements).execute(&mut **connection).await.unwrap();
        drop(reading);
        store.put(vec![message(statements)]).await.unwrap();
        assert!(stored(&database).await.contains(statements));
        assert_eq!(inside_a_transaction(&database).await, 0);
    }
    let left: Vec<(String,)> = database.rows("select name from setting").await;
    assert_eq!(left, [], "what was left open was never committed");
}

/// The raw pattern, so that the test above is known to be able to fail.
async fn without_the_guard_a_cancelled_begin_swallows_the_next_write(database: Database) {
    drop(database.open(&Clock::simulated(START)).await);
    let (proxy, url) = through(&database).await;
    let pool: PgPool = PgPoolOptions::new().max_connections(1).test_before_acquire(false).connect(&url).await.unwrap();
    proxy.delay(DELAY);
    let mut swallowed = 0;
    for round in 0..5 {
        drop(tokio::time::timeout(DELAY / 2, pool.begin()).await);
        let name = format!("round {round}");
        let written = sqlx::query("insert into setting (connection, name, value, changed) values ('main', $1, '', 0)")
            .bind(&name)
            .execute(&pool)
            .await;
        let there: Vec<(String,)> = database.rows("select name from setting").await;
        swallowed += usize::from(written.is_ok() && !there.contains(&(name,)));
    }
    assert!(swallowed > 0, "sqlx no longer loses writes after a cancelled begin: its guards here may be dropped");
}

async fn a_database_that_is_gone_pauses_and_loses_nothing(database: Database) {
    let (proxy, url) = through(&database).await;
    let clock = Clock::simulated(START);
    let store = Store::open(Options { url, pool: 4, ..database.options() }, clock).await.unwrap();
    let mut acknowledged = BTreeSet::new();
    for outage in 0..3 {
        for n in 0..20 {
            let key = format!("before {outage}.{n}");
            store.put(vec![message(&key)]).await.unwrap();
            acknowledged.insert(key);
        }
        proxy.cut();
        let refused = store.put(vec![message(format!("during {outage}"))]).await;
        assert!(refused.is_err(), "{refused:?}");
        let refused = store
            .write(Urgency::Urgent, |tx| async move { tx.put(vec![message("during, written")]).await }.boxed())
            .await;
        assert!(refused.is_err(), "{refused:?}");
        proxy.restore();
        eventually("the store works again", async || store.put(vec![message(format!("after {outage}"))]).await.is_ok())
            .await;
        acknowledged.insert(format!("after {outage}"));
    }
    let stored = stored(&database).await;
    assert_eq!(stored, acknowledged);
}

/// Packets vanish: no side learns that the other one is gone.
async fn a_database_that_falls_silent_is_not_waited_for(database: Database) {
    let (proxy, url) = through(&database).await;
    let options = Options { url, pool: 4, answer_within: Duration::from_secs(1), ..database.options() };
    let store = Store::open(options, Clock::simulated(START)).await.unwrap();
    let write = async |key: &'static str| {
        store.write(Urgency::Urgent, move |tx| async move { tx.put(vec![message(key)]).await }.boxed()).await
    };
    for outage in 0..2 {
        store.put(vec![message(format!("before {outage}"))]).await.unwrap();
        let mut reading = store.read().await.unwrap();
        proxy.swallow(true);
        let all = async {
            let intakes = (0..20).map(|n| store.put(vec![message(format!("during {outage}.{n}"))]));
            let refused = futures_util::future::join_all(intakes).await;
            assert!(refused.iter().all(Result::is_err), "{refused:?}");
            let refused = write("during, written").await;
            assert!(refused.is_err(), "{refused:?}");
            assert!(reading.ping().await.is_err(), "a connection that was open");
            assert!(reading.ping().await.is_err(), "and it is never used again");
        };
        tokio::time::timeout(Duration::from_secs(60), all).await.expect("everybody has an answer");
        drop(reading);
        proxy.swallow(false);
        let after = format!("after {outage}");
        eventually("the store works again", async || store.put(vec![message(&after)]).await.is_ok()).await;
        write(["first", "second"][outage]).await.unwrap();
    }
    let stored = stored(&database).await;
    let expected = ["after 0", "after 1", "before 0", "before 1", "first", "second"].map(str::to_owned);
    assert_eq!(stored, BTreeSet::from(expected));
}

async fn what_was_committed_in_silence_is_a_duplicate(database: Database) {
    let (proxy, url) = through(&database).await;
    let options = Options { url, pool: 4, answer_within: Duration::from_secs(1), ..database.options() };
    let store = Store::open(options, Clock::simulated(START)).await.unwrap();
    proxy.hush_commits(true);
    let refused = store.put(vec![message("a")]).await;
    assert!(refused.is_err(), "nobody says that it was stored: {refused:?}");
    assert!(stored(&database).await.contains("a"));
    proxy.hush_commits(false);
    eventually("the store works again", async || match store.put(vec![message("a")]).await {
        Ok(puts) => {
            assert_eq!(puts, [Put::Duplicate]);
            true
        }
        Err(_) => false,
    })
    .await;
}

async fn stored(database: &Database) -> BTreeSet<String> {
    let rows: Vec<(String,)> = database.rows("select key from message").await;
    rows.into_iter().map(|(key,)| key).collect()
}

async fn inside_a_transaction(database: &Database) -> i64 {
    let statement = format!(
        "select count(*) from pg_stat_activity where datname = '{}' and state like 'idle in transaction%'",
        database.name()
    );
    let rows: Vec<(i64,)> = database.rows(&statement).await;
    rows[0].0
}
