//! Stopping: running handlers finish, or their messages are handed back as if never tried.

use std::sync::Arc;
use std::time::Duration;

use fluent_connector::app::App;
use fluent_connector::queue::Message;
use fluent_connector::store::Urgency;
use futures_util::FutureExt;
use tokio::sync::Semaphore;

use super::{Bench, Seen};
use crate::database::{Database, START, on_both};
use crate::settle::eventually;

on_both!(a_stop_lets_handlers_finish_and_claims_nothing_more, a_handler_that_does_not_finish_is_handed_back);

fn gated(seen: &Seen, gate: &Arc<Semaphore>) -> impl FnOnce(&mut fluent_connector::queue::Routes) {
    let (seen, gate) = (seen.clone(), gate.clone());
    move |routes| {
        routes.inbox("test.slow", move |_: App, message: Message| {
            let (seen, gate) = (seen.clone(), gate.clone());
            async move {
                seen.add(message.key());
                gate.acquire().await.unwrap().forget();
                Ok(())
            }
        });
    }
}

async fn a_stop_lets_handlers_finish_and_claims_nothing_more(database: Database) {
    let (seen, gate) = (Seen::default(), Arc::new(Semaphore::new(0)));
    let mut bench = Bench::new(database, gated(&seen, &gate)).await;
    let running = bench.put(bench.draft("test.slow", "running").subject("order:1")).await;
    eventually("it runs", async || seen.count() == 1).await;
    bench.stop.cancel();
    // A round of claims that was under way ends.
    for n in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        let write = bench.store().write(Urgency::Urgent, move |tx| tx.setting_or("main", n, n).boxed());
        write.await.unwrap();
    }
    let behind = bench.put(bench.draft("test.slow", "behind").subject("order:1")).await;
    let beside = bench.put(bench.draft("test.slow", "beside")).await;
    gate.add_permits(10);
    bench.stop().await;
    assert_eq!(bench.row(running).await.state, "done");
    assert_eq!((bench.row(behind).await.state, bench.row(beside).await.state), ("ready".into(), "ready".into()));
    assert_eq!(seen.count(), 1);
    bench.start(Duration::from_secs(20));
    bench.settle().await;
    assert_eq!(seen.count(), 3);
}

async fn a_handler_that_does_not_finish_is_handed_back(database: Database) {
    let (seen, gate) = (Seen::default(), Arc::new(Semaphore::new(0)));
    let mut bench = Bench::new(database, gated(&seen, &gate)).await;
    bench.stop().await;
    bench.start(Duration::from_millis(50));
    let one = bench.put(bench.draft("test.slow", "1").subject("order:1")).await;
    let two = bench.put(bench.draft("test.slow", "2")).await;
    eventually("both run", async || seen.count() == 2).await;
    bench.stop().await;
    for id in [one, two] {
        let row = bench.row(id).await;
        assert_eq!((row.state.as_str(), row.attempts, row.due, row.held_since), ("ready", 0, START, None));
        assert!(bench.store().read().await.unwrap().attempts(id).await.unwrap().is_empty());
    }
    gate.add_permits(2);
    bench.start(Duration::from_secs(20));
    bench.settle().await;
    assert_eq!((bench.row(one).await.state, bench.row(two).await.state), ("done".into(), "done".into()));
    let expected: Vec<String> = seen.take();
    assert_eq!(expected.len(), 4, "nothing went on behind the stop: {expected:?}");
}
