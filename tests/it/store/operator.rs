//! What a person decides about a message.

use fluent_connector::store::Error;
use futures_util::FutureExt;
use uuid::Uuid;

use super::{Bench, message, of};
use crate::database::{Database, START, on_both};

on_both!(a_parked_message_is_retried_by_hand, a_message_is_skipped_by_hand, only_open_messages_can_be_decided);

async fn retry(bench: &Bench, id: Uuid) -> bool {
    bench.write(move |tx| async move { tx.retry_parked(id).await }.boxed()).await.unwrap()
}

async fn skip(bench: &Bench, id: Uuid) -> bool {
    bench.write(move |tx| async move { tx.skip_parked(id, "Ann: a test order.").await }.boxed()).await.unwrap()
}

async fn a_parked_message_is_retried_by_hand(database: Database) {
    let bench = Bench::new(database).await;
    for message in [of("s", "a"), message("b")] {
        let id = bench.put(message).await;
        let claimed = bench.one(Uuid::now_v7()).await;
        bench.park(&claimed).await.unwrap();
        let row = bench.row(id).await;
        assert_eq!((row.state.as_str(), row.detail.as_deref()), ("parked", Some("It is wrong.")));
        assert_eq!(bench.claim(Uuid::now_v7(), 10).await.len(), 0);
        assert!(retry(&bench, id).await);
        let row = bench.row(id).await;
        assert_eq!((row.state.as_str(), row.reason, row.due, row.held_since), ("ready", None, START, None));
        assert!(!retry(&bench, id).await, "it is ready already");
        bench.balanced().await;
        let again = bench.one(Uuid::now_v7()).await;
        bench.finish(&again).await.unwrap();
        bench.balanced().await;
    }
}

async fn a_message_is_skipped_by_hand(database: Database) {
    let bench = Bench::new(database).await;
    let ready = bench.put(of("s:1", "ready")).await;
    assert!(skip(&bench, ready).await);
    let waiting = bench.put(of("s:2", "waiting")).await;
    let claimed = bench.one(Uuid::now_v7()).await;
    bench.wait(&claimed, "customer:7", START + 1, false).await.unwrap();
    assert!(skip(&bench, waiting).await);
    let parked = bench.put(message("parked")).await;
    let claimed = bench.one(Uuid::now_v7()).await;
    bench.park(&claimed).await.unwrap();
    assert!(skip(&bench, parked).await);
    for id in [ready, waiting, parked] {
        let row = bench.row(id).await;
        assert_eq!((row.state.as_str(), row.reason.as_deref()), ("skipped", Some("by-operator")));
        assert_eq!((row.detail.as_deref(), row.wait_for), (Some("Ann: a test order."), None));
    }
    let released = bench.write(|tx| async move { tx.arrived("main", "customer:7").await }.boxed()).await.unwrap();
    assert_eq!(released, 0);
    assert_eq!(bench.claim(Uuid::now_v7(), 10).await.len(), 0);
    bench.balanced().await;
}

async fn only_open_messages_can_be_decided(database: Database) {
    let bench = Bench::new(database).await;
    let id = bench.put(of("s", "a")).await;
    let claimed = bench.one(Uuid::now_v7()).await;
    assert!(!retry(&bench, id).await && !skip(&bench, id).await, "it runs");
    bench.finish(&claimed).await.unwrap();
    assert!(!retry(&bench, id).await && !skip(&bench, id).await, "it is done");
    assert!(!skip(&bench, Uuid::now_v7()).await, "there is no such message");
    assert!(matches!(bench.finish(&claimed).await, Err(Error::Fenced { .. })));
    bench.balanced().await;
}
