//! A row in retry of a blocking route (creating an order) holds later rows of its subject back.

use std::time::Duration;

use fluent_connector::store::New;
use futures_util::FutureExt;
use uuid::Uuid;

use super::{Bench, keys, message, of, on_route};
use crate::database::{Database, START, on_both};

on_both!(
    later_rows_wait_behind_a_blocking_one,
    a_row_that_does_not_block_lets_the_others_pass,
    more_rows_of_the_blocking_route_join_it,
    what_is_held_back_is_not_active,
    a_blocking_row_that_is_skipped_lets_the_others_pass,
    a_blocking_row_that_is_retried_by_hand_still_goes_first,
    a_blocking_row_survives_the_death_of_its_daemon,
);

/// A create that is in retry until START + 5000, and an update behind it that has been due for longer.
async fn blocked(bench: &Bench) -> (Uuid, Uuid) {
    let create = bench.put(on_route("create", of("order:1", "create"))).await;
    let claimed = bench.one(Uuid::now_v7()).await;
    let update = bench.put(New { due: START - 1000, ..on_route("update", of("order:1", "update")) }).await;
    bench.retry(&claimed, START + 5000, true).await.unwrap();
    (create, update)
}

async fn later_rows_wait_behind_a_blocking_one(database: Database) {
    let bench = Bench::new(database).await;
    blocked(&bench).await;
    bench.put(on_route("update", of("order:2", "other order"))).await;
    assert_eq!(keys(&bench.claim(Uuid::now_v7(), 10).await), [["other order"]]);
    bench.clock.advance(Duration::from_secs(5));
    let create = bench.one(Uuid::now_v7()).await;
    assert_eq!(create.lead().key, "create", "the blocking row itself is not held back");
    bench.finish(&create).await.unwrap();
    assert_eq!(keys(&bench.claim(Uuid::now_v7(), 10).await), [["update"]]);
    bench.balanced().await;
}

async fn a_row_that_does_not_block_lets_the_others_pass(database: Database) {
    let bench = Bench::new(database).await;
    bench.put(on_route("create", of("order:1", "create"))).await;
    let claimed = bench.one(Uuid::now_v7()).await;
    bench.put(on_route("update", of("order:1", "update"))).await;
    bench.retry(&claimed, START + 5000, false).await.unwrap();
    assert_eq!(keys(&bench.claim(Uuid::now_v7(), 10).await), [["update"]]);
}

async fn more_rows_of_the_blocking_route_join_it(database: Database) {
    let bench = Bench::new(database).await;
    blocked(&bench).await;
    bench.put(on_route("create", of("order:1", "again"))).await;
    assert_eq!(bench.claim(Uuid::now_v7(), 10).await.len(), 0);
    bench.clock.advance(Duration::from_secs(5));
    let both = bench.one(Uuid::now_v7()).await;
    assert_eq!(keys(std::slice::from_ref(&both)), [["create", "again"]]);
    // The newer one leads, so it is the one that blocks from now on.
    bench.retry(&both, START + 9000, true).await.unwrap();
    assert_eq!(bench.claim(Uuid::now_v7(), 10).await.len(), 0);
    bench.clock.advance(Duration::from_secs(4));
    let both = bench.one(Uuid::now_v7()).await;
    assert_eq!(both.rows.len(), 2);
    bench.finish(&both).await.unwrap();
    assert_eq!(bench.one(Uuid::now_v7()).await.lead().key, "update");
}

async fn what_is_held_back_is_not_active(database: Database) {
    let bench = Bench::new(database).await;
    blocked(&bench).await;
    let active = async || bench.store.read().await.unwrap().active(bench.now()).await.unwrap();
    assert_eq!(active().await, 0);
    bench.put(message("without subject")).await;
    assert_eq!(active().await, 1);
    bench.clock.advance(Duration::from_secs(5));
    assert_eq!(active().await, 2, "the blocking row is due");
}

async fn a_blocking_row_that_is_skipped_lets_the_others_pass(database: Database) {
    let bench = Bench::new(database).await;
    let (create, _) = blocked(&bench).await;
    assert!(bench.write(move |tx| async move { tx.skip_parked(create, "Not needed.").await }.boxed()).await.unwrap());
    assert_eq!(bench.one(Uuid::now_v7()).await.lead().key, "update");
    bench.balanced().await;
}

async fn a_blocking_row_that_is_retried_by_hand_still_goes_first(database: Database) {
    let bench = Bench::new(database).await;
    let create = bench.put(on_route("create", of("order:1", "create"))).await;
    let claimed = bench.one(Uuid::now_v7()).await;
    bench.put(New { due: START - 1000, ..on_route("update", of("order:1", "update")) }).await;
    bench.wait(&claimed, "customer:7", START + 300_000, true).await.unwrap();
    assert_eq!(bench.claim(Uuid::now_v7(), 10).await.len(), 0);
    assert!(bench.write(move |tx| async move { tx.retry_parked(create).await }.boxed()).await.unwrap());
    let first = bench.one(Uuid::now_v7()).await;
    assert_eq!(first.lead().key, "create");
    bench.finish(&first).await.unwrap();
    assert_eq!(bench.one(Uuid::now_v7()).await.lead().key, "update");
}

async fn a_blocking_row_survives_the_death_of_its_daemon(database: Database) {
    let bench = Bench::new(database).await;
    blocked(&bench).await;
    bench.clock.advance(Duration::from_secs(5));
    let dead = Uuid::now_v7();
    assert_eq!(bench.one(dead).await.lead().key, "create");
    bench.reclaim(dead).await;
    assert_eq!(bench.one(Uuid::now_v7()).await.lead().key, "create", "the update still waits behind it");
}
