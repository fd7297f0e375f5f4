//! Messages whose holders die: they run again, and one that takes a daemon with it each time is
//! parked in the end.

use std::time::Duration;

use fluent_connector::store::{DEATHS, New, Plan, Reclaimed, Source};
use futures_util::FutureExt;
use uuid::Uuid;

use super::{Bench, message, of};
use crate::database::{Database, on_both};

on_both!(
    a_message_that_daemons_die_of_is_parked,
    any_outcome_of_a_living_daemon_ends_the_row,
    a_clean_stop_is_no_death,
    a_person_gives_it_new_lives,
    what_was_not_running_is_not_counted,
    a_blocking_message_that_is_parked_lets_its_subject_go,
    those_who_died_together_run_apart,
    a_tick_that_daemons_die_of_is_not_hastened,
);

impl Bench {
    /// Claims one message with a daemon that dies of it; answers what became of its work.
    async fn die(&self) -> Reclaimed {
        let daemon = Uuid::now_v7();
        self.one(daemon).await;
        self.bury(daemon).await
    }

    async fn bury(&self, daemon: Uuid) -> Reclaimed {
        self.write(move |tx| async move { tx.reclaim(&[daemon]).await }.boxed()).await.unwrap()
    }

    async fn retry_parked(&self, id: Uuid) -> bool {
        self.write(move |tx| async move { tx.retry_parked(id).await }.boxed()).await.unwrap()
    }
}

async fn a_message_that_daemons_die_of_is_parked(database: Database) {
    for message in [message("without"), of("order:1", "with subject")] {
        let bench = Bench::new(database.clone()).await;
        let id = bench.put(message).await;
        for _ in 1..DEATHS {
            assert_eq!(bench.die().await, Reclaimed { ready: 1, parked: 0 });
            assert_eq!(bench.state(id).await, "ready");
            bench.balanced().await;
        }
        assert_eq!(bench.die().await, Reclaimed { ready: 0, parked: 1 });
        let row = bench.row(id).await;
        assert_eq!((row.state.as_str(), row.reason.as_deref(), row.attempts), ("parked", Some("gave-up"), DEATHS));
        let sentence = row.detail.unwrap();
        assert!(sentence.contains("died") && sentence.contains("message retry"), "{sentence}");
        assert_eq!(bench.claim(Uuid::now_v7(), 10).await.len(), 0);
        let attempts = bench.store.read().await.unwrap().attempts(id).await.unwrap();
        assert_eq!((attempts.len(), attempts[0].outcome.as_str()), (1, "gave-up"));
        bench.balanced().await;
    }
}

async fn any_outcome_of_a_living_daemon_ends_the_row(database: Database) {
    let bench = Bench::new(database).await;
    let id = bench.put(of("order:1", "a")).await;
    for round in 0..3 {
        for _ in 1..DEATHS {
            assert_eq!(bench.die().await.ready, 1, "round {round}");
        }
        let claimed = bench.one(Uuid::now_v7()).await;
        match round {
            0 => bench.retry(&claimed, bench.now(), false).await.unwrap(),
            1 => bench.wait(&claimed, "customer:7", bench.now(), false).await.unwrap(),
            _ => {
                bench
                    .write(move |tx| {
                        async move {
                            tx.release(&claimed, None).await?;
                            tx.hand_back(&claimed, 0, None).await
                        }
                        .boxed()
                    })
                    .await
                    .unwrap();
            }
        }
    }
    assert_eq!(bench.die().await.ready, 1);
    assert_eq!(bench.state(id).await, "ready");
}

async fn a_clean_stop_is_no_death(database: Database) {
    let bench = Bench::new(database).await;
    let id = bench.put(of("order:1", "a")).await;
    for _ in 0..3 * DEATHS {
        let daemon = Uuid::now_v7();
        bench.one(daemon).await;
        let back = bench.write(move |tx| async move { tx.give_back(daemon).await }.boxed()).await.unwrap();
        assert_eq!((back, bench.state(id).await.as_str()), (1, "ready"));
    }
    bench.balanced().await;
}

async fn a_person_gives_it_new_lives(database: Database) {
    let bench = Bench::new(database).await;
    let id = bench.put(message("a")).await;
    for _ in 0..2 {
        for death in 1..=DEATHS {
            assert_eq!(bench.die().await.parked, u64::from(death == DEATHS));
        }
        assert!(bench.retry_parked(id).await);
    }
    let claimed = bench.one(Uuid::now_v7()).await;
    bench.finish(&claimed).await.unwrap();
    bench.balanced().await;
}

/// A daemon that was only paused, or died of something else: its lease ends, and its ready messages
/// are none of its business.
async fn what_was_not_running_is_not_counted(database: Database) {
    let bench = Bench::new(database).await;
    bench.put(of("order:1", "killer")).await;
    for _ in 1..DEATHS {
        let daemon = Uuid::now_v7();
        bench.one(daemon).await;
        bench.put(of("order:1", Uuid::now_v7().to_string())).await;
        bench.bury(daemon).await;
    }
    let last = Uuid::now_v7();
    let claimed = bench.one(last).await;
    assert_eq!(claimed.rows.len(), DEATHS as usize);
    let innocent = bench.put(of("order:2", "innocent")).await;
    assert_eq!(bench.bury(last).await, Reclaimed { ready: DEATHS as u64 - 1, parked: 1 });
    let deaths: Vec<(i64,)> = bench.database.rows("select deaths from message where key = 'innocent'").await;
    assert_eq!((deaths[0].0, bench.state(innocent).await.as_str()), (0, "ready"));
    bench.balanced().await;
}

async fn a_blocking_message_that_is_parked_lets_its_subject_go(database: Database) {
    let bench = Bench::new(database).await;
    bench.put(of("order:1", "killer")).await;
    bench.retry(&bench.one(Uuid::now_v7()).await, bench.now(), true).await.unwrap();
    for death in 1..=DEATHS {
        assert_eq!(bench.die().await.parked, u64::from(death == DEATHS));
    }
    bench.put(super::on_route("test.later", of("order:1", "later"))).await;
    assert_eq!(bench.one(Uuid::now_v7()).await.lead().key, "later");
}

/// Several messages were running each time a daemon died: all but the reason for it end alone.
async fn those_who_died_together_run_apart(database: Database) {
    let bench = Bench::new(database).await;
    let all = ["killer", "b", "c", "d"];
    for key in all {
        bench.put(of(key, key)).await;
    }
    for _ in 0..2 {
        let daemon = Uuid::now_v7();
        assert_eq!(bench.claim(daemon, 10).await.len(), 4);
        bench.bury(daemon).await;
    }
    let mut done = 0;
    for _ in 0..3 * DEATHS {
        let daemon = Uuid::now_v7();
        let claimed = bench.claim(daemon, 10).await;
        assert!(claimed.len() <= 1, "one at a time: {claimed:?}");
        for claimed in &claimed {
            match claimed.lead().key.as_str() {
                "killer" => drop(bench.bury(daemon).await),
                _ => {
                    bench.finish(claimed).await.unwrap();
                    done += 1;
                }
            }
        }
        bench.clock.advance(Duration::from_secs(1));
    }
    assert_eq!(done, 3);
    let parked: Vec<(String,)> = bench.database.rows("select key from message where state = 'parked'").await;
    assert_eq!(parked, [("killer".to_owned(),)]);
    bench.balanced().await;
}

async fn a_tick_that_daemons_die_of_is_not_hastened(database: Database) {
    let bench = Bench::new(database).await;
    let job = "job.killer";
    let tick = |key: &str| New { source: Source::Timer, route: job.into(), ..of(job, key) };
    let id = bench.put(tick("1")).await;
    for _ in 0..DEATHS {
        bench.die().await;
    }
    let plan = Plan {
        connection: "main".into(),
        job: job.into(),
        timing: "every 1m".into(),
        expected: None,
        next_due: Some(bench.now() + 60_000),
    };
    let next = tick("2");
    let ticked = bench.write(move |tx| async move { tx.tick(&plan, 2, next).await }.boxed()).await.unwrap();
    assert!(ticked);
    assert_eq!(bench.state(id).await, "parked");
    assert_eq!(bench.claim(Uuid::now_v7(), 10).await.len(), 0);
    bench.balanced().await;
}
