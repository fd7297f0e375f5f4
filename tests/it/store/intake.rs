//! Taking messages in: new ones, duplicates, many at once, and one that the database refuses.

use std::time::Duration;

use fluent_connector::store::{Ending, Filter, New, Put, Source};
use futures_util::FutureExt;
use futures_util::future::join_all;
use uuid::Uuid;

use super::{Bench, accepted, message, of};
use crate::database::{Database, START, on_both};
use crate::settle::eventually;

on_both!(
    a_message_is_stored_as_it_was_put,
    a_key_is_new_once_per_connection_and_route,
    many_messages_at_once,
    more_messages_than_one_statement_can_carry,
    a_message_born_finished_is_only_counted,
    intakes_at_once_are_all_answered,
    a_refused_message_takes_no_neighbour_with_it,
    a_dropped_caller_does_not_stop_an_intake,
    messages_are_listed_newest_first_and_narrowed,
);

async fn a_message_is_stored_as_it_was_put(database: Database) {
    let bench = Bench::new(database).await;
    let put = New {
        source: Source::Webhook,
        at_least: 7,
        due: START + 5,
        body: Some(vec![0, 159, 146, 150]),
        ..of("order:1", "k")
    };
    let id = bench.put(put.clone()).await;
    let row = bench.row(id).await;
    assert_eq!(
        (row.connection, row.route, row.key, row.subject, row.lane),
        (put.connection, put.route, put.key, put.subject, put.lane)
    );
    assert_eq!((row.source.as_str(), row.at_least, row.due, row.correlation), ("webhook", 7, START + 5, "c-1".into()));
    assert_eq!(row.payload.0, put.payload);
    assert_eq!((row.state.as_str(), row.attempts, row.created, row.changed), ("ready", 0, START, START));
    assert_eq!((row.reason, row.detail, row.notes, row.wait_for, row.held_since), (None, None, None, None, None));
    let mut db = bench.store.read().await.unwrap();
    assert_eq!(db.message_body(id).await.unwrap(), put.body);
}

async fn a_key_is_new_once_per_connection_and_route(database: Database) {
    let bench = Bench::new(database).await;
    let puts = bench.store.put(vec![message("a"), message("b"), message("a")]).await.unwrap();
    assert!(matches!(puts[..], [Put::Accepted(_), Put::Accepted(_), Put::Duplicate]), "{puts:?}");
    let again = bench.store.put(vec![message("c"), message("a")]).await.unwrap();
    assert!(matches!(again[..], [Put::Accepted(_), Put::Duplicate]), "{again:?}");
    let elsewhere = New { connection: "other".into(), ..message("a") };
    let otherwise = New { route: "test.other-thing".into(), ..message("a") };
    accepted(&bench.store.put(vec![elsewhere, otherwise]).await.unwrap());
    bench.balanced().await;
    let mut db = bench.store.read().await.unwrap();
    let tally = db.tally().await.unwrap();
    assert_eq!(tally[&("main".into(), "order".into())].of("accepted"), 4);
}

async fn many_messages_at_once(database: Database) {
    let bench = Bench::new(database).await;
    let puts = bench.store.put((0..300).map(|n| of(&format!("s:{}", n % 7), n.to_string())).collect()).await.unwrap();
    assert_eq!(accepted(&puts).len(), 300);
    assert_eq!(bench.store.read().await.unwrap().active(bench.now()).await.unwrap(), 300);
    bench.balanced().await;
}

async fn more_messages_than_one_statement_can_carry(database: Database) {
    let bench = Bench::new(database).await;
    let all: Vec<New> = (0..5000).map(|n| of(&format!("s:{n}"), n.to_string())).collect();
    let puts = bench.store.put(all.clone()).await.unwrap();
    let ids = accepted(&puts);
    assert_eq!(bench.row(ids[0]).await.key, "0");
    assert_eq!(bench.row(ids[4999]).await.key, "4999");
    let again = bench.store.put(all).await.unwrap();
    assert!(again.len() == 5000 && again.iter().all(|put| *put == Put::Duplicate));
    bench.balanced().await;
}

async fn a_message_born_finished_is_only_counted(database: Database) {
    let bench = Bench::new(database).await;
    let ending = Some((Ending::Skipped("ignored"), "Nobody wants it.".to_owned()));
    let id = bench.put(New { ending, ..of("s", "k") }).await;
    let row = bench.row(id).await;
    assert_eq!((row.state.as_str(), row.reason.as_deref()), ("skipped", Some("ignored")));
    assert_eq!(row.detail.as_deref(), Some("Nobody wants it."));
    assert!(bench.claim(Uuid::now_v7(), 10).await.is_empty());
    bench.balanced().await;
}

async fn intakes_at_once_are_all_answered(database: Database) {
    let bench = Bench::new(database).await;
    let puts = (0..200).map(|n| bench.store.put(vec![message(format!("{}", n / 2))]));
    let answers: Vec<Put> = join_all(puts).await.into_iter().flat_map(Result::unwrap).collect();
    assert_eq!(answers.iter().filter(|put| **put == Put::Duplicate).count(), 100);
    bench.balanced().await;
}

async fn a_refused_message_takes_no_neighbour_with_it(database: Database) {
    let bench = Bench::new(database).await;
    bench.database.refuse_bad_keys().await;
    let batches = (0..60).map(|n| {
        let middle = if n == 30 { "bad".to_owned() } else { format!("{n}b") };
        bench.store.put(vec![message(format!("{n}a")), message(middle), of("s", format!("{n}c"))])
    });
    let answers = join_all(batches).await;
    for (n, answer) in answers.into_iter().enumerate() {
        match answer {
            Ok(puts) if n != 30 => assert_eq!(accepted(&puts).len(), 3),
            Err(error) if n == 30 => assert!(error.to_string().contains("bad"), "{error}"),
            other => panic!("{n}: {other:?}"),
        }
    }
    let mut db = bench.store.read().await.unwrap();
    assert_eq!(db.active(bench.now()).await.unwrap(), 177, "59 batches of 3, and nothing of the refused one");
    drop(db);
    bench.balanced().await;
}

async fn a_dropped_caller_does_not_stop_an_intake(database: Database) {
    let bench = Bench::new(database).await;
    let lock = bench.database.lock().await;
    for n in 0..40 {
        // Polled once, then dropped while the database does not answer.
        let dropped = bench.store.put(vec![message(format!("{n}a")), message(format!("{n}b"))]).now_or_never();
        assert!(dropped.is_none());
    }
    lock.release().await;
    eventually("all 80 messages", async || bench.store.read().await.unwrap().active(bench.now()).await.unwrap() == 80)
        .await;
    bench.balanced().await;
}

async fn messages_are_listed_newest_first_and_narrowed(database: Database) {
    let bench = Bench::new(database).await;
    let ids: Vec<_> = accepted(
        &bench
            .store
            .put(vec![message("1"), of("order:9", "2"), New { route: "r".into(), ..message("3") }])
            .await
            .unwrap(),
    );
    bench.clock.advance(Duration::from_secs(1));
    let fourth = bench.put(New { connection: "other".into(), ..message("4") }).await;
    let list = async |filter: Filter, limit| -> Vec<String> {
        let rows = bench.store.read().await.unwrap().messages(&filter, limit).await.unwrap();
        rows.into_iter().map(|row| row.key).collect()
    };
    assert_eq!(list(Filter::default(), 3).await, ["4", "3", "2"]);
    assert_eq!(list(Filter { before: Some(ids[1]), ..Filter::default() }, 3).await, ["1"]);
    assert_eq!(list(Filter { subject: Some("order:9".into()), ..Filter::default() }, 3).await, ["2"]);
    assert_eq!(list(Filter { route: Some("r".into()), ..Filter::default() }, 3).await, ["3"]);
    assert_eq!(list(Filter { connection: Some("other".into()), ..Filter::default() }, 3).await, ["4"]);
    assert_eq!(list(Filter { since: Some(START + 1000), ..Filter::default() }, 3).await, ["4"]);
    assert_eq!(list(Filter { state: Some("parked".into()), ..Filter::default() }, 3).await, [""; 0]);
    assert_eq!(bench.row(fourth).await.created, START + 1000);
}
