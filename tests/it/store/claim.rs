//! Claiming: who works on what, what collapses, and who may still commit.

use std::time::Duration;

use fluent_connector::clock::Clock;
use fluent_connector::store::{Ending, Error, New};
use futures_util::FutureExt;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Bench, keys, message, of, on_route};
use crate::database::{Database, START, on_both};

on_both!(
    due_work_of_a_lane_is_claimed_in_order,
    a_subject_has_one_runner,
    messages_of_a_route_and_subject_collapse,
    more_than_one_fold_is_taken_in_turns,
    routes_of_a_subject_take_turns,
    an_outcome_is_written_to_all_rows_of_a_claim,
    a_retry_comes_back_when_it_is_due,
    each_row_keeps_since_when_it_is_held,
    handing_back_counts_no_attempt,
    a_waiting_message_looks_again_by_itself,
    what_arrives_releases_those_who_wait_for_it,
    a_waiting_message_without_subject_is_counted_right,
    a_holder_that_was_taken_for_dead_cannot_commit,
    the_next_due_time_is_known,
    what_waits_follows_a_clock_that_was_set_back,
);

async fn due_work_of_a_lane_is_claimed_in_order(database: Database) {
    let bench = Bench::new(database).await;
    let other_lane = New { lane: "status".into(), ..message("elsewhere") };
    let late = New { due: START + 10, ..message("late") };
    let earliest = New { due: START - 10, ..of("s", "earliest") };
    bench.store.put(vec![message("first"), other_lane, late, earliest, message("second")]).await.unwrap();
    let holder = Uuid::now_v7();
    let three = bench.claim(holder, 3).await;
    let mut claimed: Vec<&str> = keys(&three).concat();
    claimed.sort_unstable();
    assert_eq!(claimed, ["earliest", "first", "second"]);
    let row = bench.row(three[0].lead().id).await;
    assert_eq!((row.state.as_str(), row.attempts), ("running", 1));
    assert_eq!(bench.claim(holder, 3).await.len(), 0);
    bench.clock.advance(Duration::from_millis(10));
    assert_eq!(keys(&bench.claim(holder, 3).await), [["late"]]);
    bench.balanced().await;
}

async fn a_subject_has_one_runner(database: Database) {
    let bench = Bench::new(database).await;
    bench.put(of("order:1", "a")).await;
    let running = bench.one(Uuid::now_v7()).await;
    bench.put(of("order:1", "b")).await;
    bench.put(New { connection: "other".into(), ..of("order:1", "c") }).await;
    let elsewhere = bench.one(Uuid::now_v7()).await;
    assert_eq!(elsewhere.lead().connection, "other", "the same name in another connection is another subject");
    assert_eq!(bench.claim(Uuid::now_v7(), 10).await.len(), 0);
    bench.finish(&running).await.unwrap();
    let next = bench.one(Uuid::now_v7()).await;
    assert_eq!(next.lead().key, "b");
    assert!(next.token > running.token);
}

async fn messages_of_a_route_and_subject_collapse(database: Database) {
    let bench = Bench::new(database).await;
    bench.put(New { at_least: 3, payload: json!(1), ..of("s", "a") }).await;
    bench.put(New { at_least: 9, payload: json!(2), due: START + 60_000, ..of("s", "b") }).await;
    bench.clock.advance(Duration::from_millis(1));
    bench.put(New { at_least: 4, payload: json!(3), ..of("s", "c") }).await;
    let claimed = bench.one(Uuid::now_v7()).await;
    assert_eq!(keys(std::slice::from_ref(&claimed)), [["a", "b", "c"]], "the earliest due time counts for all");
    assert_eq!((claimed.lead().key.as_str(), claimed.at_least()), ("c", 9));
    let payloads: Vec<&Value> = claimed.rows.iter().map(|row| &row.payload.0).collect();
    assert_eq!(payloads, [&json!(1), &json!(2), &json!(3)]);
    bench.put(of("s", "d")).await;
    bench.finish(&claimed).await.unwrap();
    assert_eq!(keys(&[bench.one(Uuid::now_v7()).await]), [["d"]], "never into a running one");
    bench.balanced().await;
}

async fn more_than_one_fold_is_taken_in_turns(database: Database) {
    let bench = Bench::new(database).await;
    bench.store.put((0..450).map(|n| of("s", n.to_string())).collect()).await.unwrap();
    let mut seen = 0;
    for expected in [200, 200, 50] {
        let claimed = bench.one(Uuid::now_v7()).await;
        assert_eq!((claimed.rows.len(), claimed.rows[0].key.clone()), (expected, seen.to_string()));
        seen += expected;
        bench.finish(&claimed).await.unwrap();
    }
    assert_eq!(bench.claim(Uuid::now_v7(), 10).await.len(), 0);
    bench.balanced().await;
}

async fn routes_of_a_subject_take_turns(database: Database) {
    let bench = Bench::new(database).await;
    for (route, key) in [("x", "1"), ("y", "2"), ("x", "3"), ("z", "4")] {
        bench.put(on_route(route, of("s", key))).await;
    }
    let holder = Uuid::now_v7();
    for expected in [vec!["1", "3"], vec!["2"], vec!["4"]] {
        let claimed = bench.one(holder).await;
        assert_eq!(keys(std::slice::from_ref(&claimed)), [expected]);
        assert_eq!(bench.claim(holder, 10).await.len(), 0);
        bench.finish(&claimed).await.unwrap();
    }
}

async fn an_outcome_is_written_to_all_rows_of_a_claim(database: Database) {
    let bench = Bench::new(database).await;
    let ids = [bench.put(of("s", "a")).await, bench.put(of("s", "b")).await];
    let claimed = bench.one(Uuid::now_v7()).await;
    let ended = claimed.clone();
    bench
        .write(move |tx| {
            async move {
                tx.release(&ended, None).await?;
                let notes = Some(json!([{"code": "a.b", "sentence": "Look."}]));
                tx.finish(&ended, Ending::Done("adopted"), "It was there.", notes).await
            }
            .boxed()
        })
        .await
        .unwrap();
    for id in ids {
        let row = bench.row(id).await;
        assert_eq!((row.state.as_str(), row.reason.as_deref()), ("done", Some("adopted")));
        assert_eq!(row.detail.as_deref(), Some("It was there."));
        assert_eq!(row.notes.unwrap().0, json!([{"code": "a.b", "sentence": "Look."}]));
    }
    assert!(matches!(bench.finish(&claimed).await, Err(Error::Fenced { .. })), "an outcome is written once");
    bench.balanced().await;
}

async fn a_retry_comes_back_when_it_is_due(database: Database) {
    let bench = Bench::new(database).await;
    let id = bench.put(of("s", "a")).await;
    let claimed = bench.one(Uuid::now_v7()).await;
    bench.retry(&claimed, START + 5000, false).await.unwrap();
    let row = bench.row(id).await;
    assert_eq!((row.state.as_str(), row.due, row.attempts), ("ready", START + 5000, 1));
    assert_eq!((row.reason.as_deref(), row.detail.as_deref()), (Some("network"), Some("The line is dead.")));
    assert_eq!(row.held_since, Some(START));
    bench.clock.advance(Duration::from_millis(4999));
    assert_eq!(bench.claim(Uuid::now_v7(), 10).await.len(), 0);
    bench.clock.advance(Duration::from_millis(1));
    let again = bench.one(Uuid::now_v7()).await;
    assert_eq!(again.lead().attempts, 2);
    bench.finish(&again).await.unwrap();
    let row = bench.row(id).await;
    assert_eq!((row.held_since, row.reason.as_deref()), (None, Some("written")));
    bench.balanced().await;
}

async fn each_row_keeps_since_when_it_is_held(database: Database) {
    let bench = Bench::new(database).await;
    let old = bench.put(of("s", "old")).await;
    let claimed = bench.one(Uuid::now_v7()).await;
    bench.retry(&claimed, START + 3_600_000, false).await.unwrap();
    bench.clock.advance(Duration::from_secs(60));
    let new = bench.put(of("s", "new")).await;
    let both = bench.one(Uuid::now_v7()).await;
    assert_eq!((both.rows.len(), both.held_since()), (2, Some(START)));
    bench.retry(&both, START + 3_600_000, false).await.unwrap();
    assert_eq!(bench.row(old).await.held_since, Some(START));
    assert_eq!(bench.row(new).await.held_since, Some(START + 60_000));
    bench.clock.advance(Duration::from_secs(3600));
    let both = bench.one(Uuid::now_v7()).await;
    let why = both.lead().reason.clone();
    bench
        .write(move |tx| {
            async move {
                tx.release(&both, None).await?;
                tx.hand_back(&both, START, Some("waits")).await
            }
            .boxed()
        })
        .await
        .unwrap();
    assert_eq!(bench.row(old).await.held_since, Some(START));
    let row = bench.row(new).await;
    assert_eq!((row.held_since, row.detail.as_deref()), (Some(START + 60_000), Some("waits")));
    assert!(row.reason.is_some() && row.reason == why, "why it is in retry is not forgotten: {:?}", row.reason);
}

async fn handing_back_counts_no_attempt(database: Database) {
    let bench = Bench::new(database).await;
    let id = bench.put(of("s", "a")).await;
    let claimed = bench.one(Uuid::now_v7()).await;
    let due = START + 7;
    bench
        .write(move |tx| {
            async move {
                tx.release(&claimed, None).await?;
                tx.hand_back(&claimed, due, None).await
            }
            .boxed()
        })
        .await
        .unwrap();
    let row = bench.row(id).await;
    assert_eq!((row.state.as_str(), row.attempts, row.due, row.held_since), ("ready", 0, START + 7, None));
    bench.balanced().await;
}

async fn a_waiting_message_looks_again_by_itself(database: Database) {
    let bench = Bench::new(database).await;
    let id = bench.put(of("s", "a")).await;
    let claimed = bench.one(Uuid::now_v7()).await;
    bench.wait(&claimed, "customer:7", START + 300_000, false).await.unwrap();
    let row = bench.row(id).await;
    assert_eq!((row.state.as_str(), row.wait_for.as_deref(), row.attempts), ("waiting", Some("customer:7"), 0));
    assert_eq!((row.held_since, row.due), (Some(START), START + 300_000));
    bench.balanced().await;
    assert_eq!(bench.claim(Uuid::now_v7(), 10).await.len(), 0);
    bench.clock.advance(Duration::from_secs(300));
    let again = bench.one(Uuid::now_v7()).await;
    bench.balanced().await;
    bench.finish(&again).await.unwrap();
    let row = bench.row(id).await;
    assert_eq!((row.wait_for, row.held_since, row.state.as_str()), (None, None, "done"));
    bench.balanced().await;
}

async fn what_arrives_releases_those_who_wait_for_it(database: Database) {
    let bench = Bench::new(database).await;
    let mut ids = Vec::new();
    for (subject, key) in [("s:1", "customer:7"), ("s:2", "customer:7"), ("s:3", "customer:8")] {
        ids.push(bench.put(of(subject, subject)).await);
        let claimed = bench.one(Uuid::now_v7()).await;
        bench.wait(&claimed, key, START + 300_000, false).await.unwrap();
    }
    let elsewhere = bench.write(|tx| async move { tx.arrived("other", "customer:7").await }.boxed()).await.unwrap();
    assert_eq!(elsewhere, 0, "another connection's customer is another one");
    let released = bench.write(|tx| async move { tx.arrived("main", "customer:7").await }.boxed()).await.unwrap();
    assert_eq!(released, 2);
    bench.balanced().await;
    assert_eq!(keys(&bench.claim(Uuid::now_v7(), 10).await), [["s:1"], ["s:2"]]);
    let row = bench.row(ids[2]).await;
    assert_eq!((row.state.as_str(), row.wait_for.as_deref()), ("waiting", Some("customer:8")));
}

async fn a_waiting_message_without_subject_is_counted_right(database: Database) {
    let bench = Bench::new(database).await;
    bench.put(message("a")).await;
    let claimed = bench.one(Uuid::now_v7()).await;
    bench.wait(&claimed, "customer:7", START, false).await.unwrap();
    let again = bench.one(Uuid::now_v7()).await;
    bench.balanced().await;
    bench.finish(&again).await.unwrap();
    bench.balanced().await;
}

async fn a_holder_that_was_taken_for_dead_cannot_commit(database: Database) {
    let bench = Bench::new(database).await;
    for message in [of("s", "with subject"), message("without")] {
        let id = bench.put(message).await;
        let holder = Uuid::now_v7();
        let stale = bench.one(holder).await;
        assert_eq!(bench.reclaim(Uuid::now_v7()).await, 0, "somebody else's work is not touched");
        assert_eq!(bench.reclaim(holder).await, 1);
        assert_eq!(bench.state(id).await, "ready");
        let late = |claimed: &fluent_connector::store::Claimed| {
            let (claimed, key) = (claimed.clone(), format!("effect of {}", claimed.lead().key));
            bench.write(move |tx| {
                async move {
                    tx.put(vec![super::message(key)]).await?;
                    tx.release(&claimed, None).await?;
                    tx.finish(&claimed, Ending::Done("written"), "", None).await
                }
                .boxed()
            })
        };
        assert!(matches!(late(&stale).await, Err(Error::Fenced { .. })), "nobody has it yet");
        let fresh = bench.one(Uuid::now_v7()).await;
        assert_eq!(fresh.lead().attempts, 2, "what a dead daemon tried counts");
        assert!(matches!(late(&stale).await, Err(Error::Fenced { .. })), "somebody else has it");
        bench.balanced().await;
        bench.finish(&fresh).await.unwrap();
        assert!(matches!(late(&stale).await, Err(Error::Fenced { .. })), "it is done");
        assert_eq!(bench.claim(holder, 10).await.len(), 0, "no effect of a fenced outcome remains");
        bench.balanced().await;
    }
}

async fn the_next_due_time_is_known(database: Database) {
    let bench = Bench::new(database).await;
    let next = async |lane: &str, now| bench.store.read().await.unwrap().next_due(lane, now).await.unwrap();
    assert_eq!(next("order", START).await, None);
    let status = New { lane: "status".into(), due: START + 50, ..message("c") };
    bench.store.put(vec![New { due: START + 100, ..message("a") }, message("b"), status]).await.unwrap();
    assert_eq!(next("order", START).await, Some(START + 100), "what is due is not next");
    assert_eq!(next("order", START - 1).await, Some(START));
    assert_eq!(next("status", START).await, Some(START + 50));
    let claimed = bench.one(Uuid::now_v7()).await;
    bench.wait(&claimed, "x", START + 20, false).await.unwrap();
    assert_eq!(next("order", START).await, Some(START + 20), "who waits looks again");
}

/// The machine's clock was an hour ahead when these were put and is right at the next start.
async fn what_waits_follows_a_clock_that_was_set_back(database: Database) {
    const HOUR: i64 = 3_600_000;
    let ahead = Bench::new(database).await;
    let soon = ahead.put(message("soon")).await;
    ahead.clock.advance(Duration::from_millis(HOUR as u64));
    let ready = ahead.put(New { due: START + HOUR, ..message("ready") }).await;
    let later = ahead.put(New { due: START + HOUR + 30_000, ..message("later") }).await;
    let Bench { database, store, .. } = ahead;
    drop(store);
    let clock = Clock::simulated(START + 1);
    let bench = Bench { store: database.open(&clock).await, database, clock };
    let follow = async || bench.write(|tx| async move { tx.follow_clock_back().await }.boxed()).await.unwrap();
    assert_eq!(follow().await, 2);
    let due = async |id| bench.row(id).await.due;
    assert_eq!((due(soon).await, due(ready).await, due(later).await), (START, START + 1, START + 30_001));
    assert_eq!(follow().await, 0);
}
