//! Write transactions: whole or not at all, never at a neighbour's cost, never stopped by a caller.

use fluent_connector::store::{Error, Result, Urgency};
use futures_util::FutureExt;
use futures_util::future::join_all;

use super::{Bench, message};
use crate::database::{Database, on_both};
use crate::settle::eventually;

on_both!(
    a_failed_write_leaves_nothing_and_its_neighbours_remain,
    a_body_that_panics_fails_alone,
    a_dropped_caller_does_not_stop_a_write,
    every_commit_that_makes_work_wakes_the_dispatcher,
    what_an_eager_write_sees_every_reader_sees,
    bulk_work_is_done_although_urgent_work_keeps_coming,
);

async fn a_failed_write_leaves_nothing_and_its_neighbours_remain(database: Database) {
    let bench = Bench::new(database).await;
    // While nobody may write, all of them gather into one group.
    let lock = bench.database.lock().await;
    let writes = join_all((0..30).map(|n| {
        bench.write(move |tx| {
            async move {
                tx.put(vec![message(format!("message {n}"))]).await?;
                tx.setting_or("main", &format!("setting {n}"), "there").await?;
                match n % 3 {
                    0 => Err(Error::Fenced { subject: format!("order:{n}") }),
                    _ => Ok(n),
                }
            }
            .boxed()
        })
    }));
    let (answers, ()) = tokio::join!(writes, lock.release());
    let answers: Vec<Result<i32>> = answers;
    let mut db = bench.store.read().await.unwrap();
    for (n, answer) in answers.into_iter().enumerate() {
        let there = db.setting("main", &format!("setting {n}")).await.unwrap().is_some();
        match answer {
            Ok(value) => assert!(value as usize == n && n % 3 != 0 && there),
            Err(Error::Fenced { subject }) => assert!(subject == format!("order:{n}") && n % 3 == 0 && !there),
            Err(error) => panic!("{n}: {error}"),
        }
    }
    assert_eq!(db.active(bench.now()).await.unwrap(), 20);
    drop(db);
    bench.balanced().await;
}

async fn a_body_that_panics_fails_alone(database: Database) {
    let bench = Bench::new(database).await;
    let broken = bench
        .write(|tx| {
            async move {
                tx.put(vec![message("of the broken one")]).await?;
                if tx.setting("main", "nothing").await?.is_none() {
                    panic!("an effect with a bug");
                }
                Ok(())
            }
            .boxed()
        })
        .await;
    let sentence = broken.unwrap_err().to_string();
    assert!(sentence.contains("an effect with a bug"), "{sentence}");
    bench.put(message("after it")).await;
    bench.write(|tx| async move { tx.setting_or("main", "s", "1").await }.boxed()).await.unwrap();
    assert_eq!(bench.store.read().await.unwrap().active(bench.now()).await.unwrap(), 1);
    bench.balanced().await;
}

async fn a_dropped_caller_does_not_stop_a_write(database: Database) {
    let bench = Bench::new(database).await;
    let lock = bench.database.lock().await;
    for n in 0..10 {
        // Polled once, then dropped while the database does not answer.
        let write = bench.write(move |tx| {
            async move {
                tx.put(vec![message(format!("{n} first"))]).await?;
                tx.put(vec![message(format!("{n} second"))]).await
            }
            .boxed()
        });
        assert!(write.now_or_never().is_none());
    }
    lock.release().await;
    eventually("all 20 messages", async || bench.store.read().await.unwrap().active(bench.now()).await.unwrap() == 20)
        .await;
    bench.balanced().await;
}

/// What is added and what is taken within one group must not cancel each other out.
async fn every_commit_that_makes_work_wakes_the_dispatcher(database: Database) {
    let bench = Bench::new(database).await;
    let old = bench.put(message("old")).await;
    assert!(bench.store.due().notified().now_or_never().is_some(), "the first put");
    bench
        .write(move |tx| {
            async move {
                tx.skip_parked(old, "not needed").await?;
                tx.put(vec![message("new")]).await
            }
            .boxed()
        })
        .await
        .unwrap();
    assert!(bench.store.due().notified().now_or_never().is_some(), "one ready message less and one more");
    bench.write(|tx| async move { tx.setting_or("main", "s", "1").await }.boxed()).await.unwrap();
    assert!(bench.store.due().notified().now_or_never().is_none(), "a setting makes no work");
    let claimed = bench.one(uuid::Uuid::now_v7()).await;
    assert!(bench.store.due().notified().now_or_never().is_none(), "a claim makes no work");
    bench.finish(&claimed).await.unwrap();
    assert!(bench.store.due().notified().now_or_never().is_some(), "the next of the subject may run");
}

/// A claim starts a handler, and the handler reads: it must not see less than the claim saw.
async fn what_an_eager_write_sees_every_reader_sees(database: Database) {
    let bench = Bench::new(database).await;
    for round in 0..20 {
        let setting = format!("setting {round}");
        let lock = bench.database.lock().await;
        let first = bench.write(move |tx| async move { tx.put(vec![message(round.to_string())]).await }.boxed());
        let name = setting.clone();
        let second = bench.write(move |tx| async move { tx.setting_or("main", &name, "1").await }.boxed());
        let name = setting.clone();
        let eager = async {
            let look = bench.store.write_eager(move |tx| async move { tx.setting("main", &name).await }.boxed());
            let seen = look.await.unwrap().is_some();
            let read = bench.store.read().await.unwrap().setting("main", &setting).await.unwrap().is_some();
            assert!(read || !seen, "round {round}: a reader does not see what the eager write saw");
        };
        let (first, second, (), ()) = tokio::join!(first, second, eager, lock.release());
        first.unwrap();
        second.unwrap();
    }
}

async fn bulk_work_is_done_although_urgent_work_keeps_coming(database: Database) {
    let bench = Bench::new(database).await;
    let bulk = bench.store.write(Urgency::Bulk, |tx| async move { tx.setting_or("main", "bulk", "1").await }.boxed());
    let urgent = async {
        for round in 0.. {
            let puts = (0..8).map(|n| bench.store.put(vec![message(format!("{round}.{n}"))]));
            join_all(puts).await;
        }
    };
    let crowd = join_all([urgent.boxed_local(), async { std::future::pending().await }.boxed_local()]);
    tokio::select! {
        written = bulk => drop(written.unwrap()),
        _ = crowd => unreachable!(),
        _ = eventually("the bulk write", async || false) => {}
    }
}
