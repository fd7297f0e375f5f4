//! Lanes: reserved workers, the shared rest, and messages that are never overlooked.
//!
//! With the default configuration there are 16 workers: 3 reserved for `order`, 2 for `status`, 1 for
//! `catalogue`, and 10 that all lanes share.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fluent_connector::app::App;
use fluent_connector::queue::{Message, Routes};
use tokio::sync::Semaphore;

use super::Bench;
use crate::database::{Database, on_both};
use crate::settle::eventually;

on_both!(
    a_lane_full_of_slow_handlers_starves_no_other,
    an_idle_share_is_lent,
    the_shared_workers_are_shared_by_weight,
    a_lane_that_is_not_configured_is_served_all_the_same,
    a_message_that_falls_due_between_two_looks_is_not_overlooked,
);

/// Handlers that wait until they are let go, counted per route.
#[derive(Clone)]
struct Gate {
    open: Arc<[Semaphore; 3]>,
    inside: Arc<[AtomicUsize; 3]>,
}

const ROUTES: [(&str, &str); 3] = [("test.order", "order"), ("test.status", "status"), ("test.catalogue", "catalogue")];

impl Gate {
    fn new() -> Self {
        Self { open: Arc::new([0; 3].map(Semaphore::new)), inside: Arc::default() }
    }

    fn register(&self, routes: &mut Routes) {
        for (n, (name, lane)) in ROUTES.into_iter().enumerate() {
            let gate = self.clone();
            let handler = move |_: App, _: Message| {
                let gate = gate.clone();
                async move {
                    gate.inside[n].fetch_add(1, Ordering::SeqCst);
                    gate.open[n].acquire().await.unwrap().forget();
                    gate.inside[n].fetch_sub(1, Ordering::SeqCst);
                    Ok(())
                }
            };
            routes.inbox(name, handler).lane(lane);
        }
    }

    fn open_all(&self) {
        for gate in self.open.iter() {
            gate.add_permits(1000);
        }
    }

    fn inside(&self) -> [usize; 3] {
        [0, 1, 2].map(|n| self.inside[n].load(Ordering::SeqCst))
    }

    async fn reached(&self, inside: [usize; 3]) {
        let gate = self.clone();
        eventually(&format!("{inside:?} handlers inside"), async move || gate.inside() == inside).await;
    }
}

async fn put(bench: &Bench, route: usize, count: usize) {
    for n in 0..count {
        bench.put(bench.draft(ROUTES[route].0, &format!("{route}.{n}"))).await;
    }
}

async fn a_lane_full_of_slow_handlers_starves_no_other(database: Database) {
    let gate = Gate::new();
    let bench = Bench::new(database, |routes| gate.register(routes)).await;
    put(&bench, 2, 40).await;
    gate.reached([0, 0, 11]).await;
    put(&bench, 0, 5).await;
    put(&bench, 1, 5).await;
    gate.reached([3, 2, 11]).await;
    gate.open_all();
    bench.settle().await;
    assert!(bench.rows().await.iter().all(|row| row.state == "done"));
}

async fn an_idle_share_is_lent(database: Database) {
    for (route, most) in [(0, 13), (1, 12), (2, 11)] {
        let gate = Gate::new();
        let mut bench = Bench::new(database.clone(), |routes| gate.register(routes)).await;
        put_named(&bench, route, 20, "lent").await;
        let mut inside = [0; 3];
        inside[route] = most;
        gate.reached(inside).await;
        gate.open_all();
        bench.settle().await;
        bench.stop().await;
        drop(bench);
    }
}

async fn put_named(bench: &Bench, route: usize, count: usize, name: &str) {
    for n in 0..count {
        bench.put(bench.draft(ROUTES[route].0, &format!("{name} {route}.{n}"))).await;
    }
}

/// With a backlog in every lane each has its reserved workers and its part of the shared ones, and a
/// worker that becomes free goes back to the lane whose part it was.
async fn the_shared_workers_are_shared_by_weight(database: Database) {
    let gate = Gate::new();
    let mut bench = Bench::new(database, |routes| gate.register(routes)).await;
    bench.stop().await;
    for route in 0..3 {
        put(&bench, route, 60).await;
    }
    bench.start(Duration::from_secs(20));
    // 10 shared by 8 : 6 : 2, rounded up for the heavier ones.
    gate.reached([3 + 5, 2 + 4, 1 + 1]).await;
    let done = async |lane: &str| bench.rows().await.iter().filter(|r| r.lane == lane && r.state == "done").count();
    for (route, lane) in [(2, "catalogue"), (1, "status"), (0, "order")] {
        for n in 1..=10 {
            gate.open[route].add_permits(1);
            eventually("one is done", async || done(lane).await == n).await;
            gate.reached([3 + 5, 2 + 4, 1 + 1]).await;
        }
    }
    gate.open_all();
    bench.settle().await;
}

async fn a_lane_that_is_not_configured_is_served_all_the_same(database: Database) {
    let bench = Bench::new(database, |routes| {
        routes.job("job.thing-sync", async |_: App, _: Message| Ok(()));
        routes.inbox("test.own-lane", async |_: App, _: Message| Ok(())).lane("of-a-plugin");
    })
    .await;
    let row = bench.run(bench.draft("job.thing-sync", "1")).await;
    assert_eq!((row.lane.as_str(), row.state.as_str()), ("bulk", "done"));
    let row = bench.run(bench.draft("test.own-lane", "1")).await;
    assert_eq!((row.lane.as_str(), row.state.as_str()), ("of-a-plugin", "done"));
}

async fn a_message_that_falls_due_between_two_looks_is_not_overlooked(database: Database) {
    let bench = Bench::new(database, |routes| {
        routes.inbox("test.plain", async |_: App, _: Message| Ok(()));
    })
    .await;
    for n in 0..200 {
        let due = bench.clock.now() + 1;
        bench.put(bench.draft("test.plain", &n.to_string()).due(due)).await;
        for _ in 0..n % 8 {
            tokio::task::yield_now().await;
        }
        bench.pass(Duration::from_millis(1)).await;
    }
}
