//! Jobs: one tick per interval, whoever notices it.

use std::time::Duration;

use fluent_connector::config::timing::Timing;
use fluent_connector::config::value::Span;
use fluent_connector::queue::{Message, Queue, Routes, schedule};
use fluent_connector::store::{Row, Store};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{Bench, Seen, seen};
use crate::database::{Database, START, on_both};
use crate::settle::eventually;

on_both!(
    two_daemons_tick_once,
    missed_ticks_come_once,
    a_job_never_runs_twice_at_once,
    a_job_that_is_off_does_not_tick
);

fn jobs(runs: &Seen) -> impl FnOnce(&mut Routes) {
    let handler = seen(runs, |_| Ok(()));
    move |routes| {
        routes.job("job.thing-sync", handler).timed(|_| Some(Timing::every(Span(Duration::from_secs(60)))));
    }
}

/// `schedule` beside a test.
struct Ticking(CancellationToken, JoinSet<()>);

impl Ticking {
    fn start(queues: &[Queue]) -> Self {
        let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
        for queue in queues {
            tasks.spawn(schedule(queue.clone(), stop.clone()));
        }
        Self(stop, tasks)
    }

    async fn stop(mut self) {
        self.0.cancel();
        while let Some(ended) = self.1.join_next().await {
            ended.unwrap();
        }
    }
}

async fn rows(store: &Store) -> Vec<Row> {
    store.read().await.unwrap().messages(&Default::default(), 1000).await.unwrap()
}

async fn two_daemons_tick_once(database: Database) {
    let runs = Seen::default();
    let bench = Bench::new(database.clone(), jobs(&runs)).await;
    let second = database.second(bench.store(), &bench.clock).await;
    let other = super::queue(second, &bench.clock, jobs(&Seen::default()));
    let ticking = Ticking::start(&[bench.queue.clone(), other.clone(), other]);
    for minute in 1..=10 {
        eventually("a tick", async || rows(bench.store()).await.len() >= minute).await;
        bench.settle().await;
        bench.pass(Duration::from_secs(60)).await;
    }
    eventually("the last tick", async || rows(bench.store()).await.len() >= 11).await;
    ticking.stop().await;
    bench.settle().await;
    let rows = rows(bench.store()).await;
    assert_eq!((rows.len(), runs.count()), (11, 11));
    assert!(rows.iter().all(|row| row.source == "timer" && row.subject.as_deref() == Some("job.thing-sync")));
    assert_eq!(rows.last().unwrap().key, (START / 60_000 * 60_000).to_string());
}

async fn missed_ticks_come_once(database: Database) {
    let runs = Seen::default();
    let bench = Bench::new(database, jobs(&runs)).await;
    let ticking = Ticking::start(std::slice::from_ref(&bench.queue));
    eventually("the first tick", async || runs.count() == 1).await;
    ticking.stop().await;
    bench.pass(Duration::from_secs(3600)).await;
    assert_eq!(runs.count(), 1);
    let ticking = Ticking::start(std::slice::from_ref(&bench.queue));
    eventually("the missed ones, once", async || runs.count() == 2).await;
    bench.clock.advance(Duration::from_secs(600));
    eventually("ten at a jump, once", async || runs.count() == 3).await;
    ticking.stop().await;
    bench.settle().await;
    assert_eq!((rows(bench.store()).await.len(), runs.count()), (3, 3));
}

async fn a_job_never_runs_twice_at_once(database: Database) {
    let (runs, gate) = (Seen::default(), std::sync::Arc::new(tokio::sync::Semaphore::new(0)));
    let (seen, open) = (runs.clone(), gate.clone());
    let bench = Bench::new(database, move |routes| {
        let handler = move |_, message: Message| {
            let (seen, open) = (seen.clone(), open.clone());
            async move {
                seen.add(message.payloads().count().to_string());
                open.acquire().await.unwrap().forget();
                Ok(())
            }
        };
        routes.job("job.slow-sync", handler).timed(|_| Some(Timing::every(Span(Duration::from_secs(60)))));
    })
    .await;
    let ticking = Ticking::start(std::slice::from_ref(&bench.queue));
    eventually("the first run", async || runs.count() == 1).await;
    bench.clock.advance(Duration::from_secs(60));
    eventually("a tick", async || rows(bench.store()).await.len() == 2).await;
    for minute in 2..=5 {
        bench.clock.advance(Duration::from_secs(60));
        let planned = Some(START + minute * 60_000);
        let planned_is =
            async || bench.store().read().await.unwrap().schedule().await.unwrap()[0].last_planned == planned;
        eventually("its tick", planned_is).await;
    }
    assert_eq!(rows(bench.store()).await.len(), 2, "one that runs, and one for all that fell due meanwhile");
    assert_eq!(runs.count(), 1);
    gate.add_permits(2);
    eventually("the rest at once", async || runs.count() == 2).await;
    ticking.stop().await;
    bench.settle().await;
    assert_eq!(runs.take(), ["1", "1"]);
}

async fn a_job_that_is_off_does_not_tick(database: Database) {
    let bench = Bench::new(database, |routes| {
        routes.job("job.off-sync", async |_: fluent_connector::app::App, _| Ok(()));
    })
    .await;
    let ticking = Ticking::start(std::slice::from_ref(&bench.queue));
    ticking.stop().await;
    assert!(rows(bench.store()).await.is_empty());
}
