//! Many at once: two daemons with four claimers each over many subjects, with intake, releases and
//! decisions beside them. On SQLite the "daemons" share the file's only handle.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fluent_connector::clock::Clock;
use fluent_connector::store::{Claimed, Ending, Error, Mapping, MappingFilter, New, Put, Store, Urgency};
use futures_util::FutureExt;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::{Bench, message, of, on_route};
use crate::database::{Database, START, on_both, register};

on_both!(
    nothing_runs_twice_and_nothing_is_lost,
    two_daemons_that_put_the_same_do_not_block_each_other,
    who_waits_while_the_pair_is_written_is_woken,
    what_a_daemon_claims_while_another_takes_over_is_not_stuck,
);

const SUBJECTS: usize = 200;
const MESSAGES: usize = 4000;
const ROUTES: [&str; 2] = ["x", "y"];

/// What the claimers did, watched from outside.
#[derive(Default)]
struct Watch {
    running: Mutex<BTreeSet<String>>,
    done: Mutex<BTreeMap<String, usize>>,
}

async fn nothing_runs_twice_and_nothing_is_lost(database: Database) {
    let bench = Bench::new(database.clone()).await;
    let other = database.second(&bench.store, &bench.clock).await;
    let watch = Arc::new(Watch::default());
    let mut crowd = JoinSet::new();
    for (n, store) in [&bench.store, &other].into_iter().enumerate() {
        crowd.spawn(put_all(store.clone(), n));
        for claimer in 0..4 {
            crowd.spawn(work(store.clone(), bench.clock.clone(), watch.clone(), claimer));
        }
    }
    let all = async {
        while let Some(ended) = crowd.join_next().await {
            ended.unwrap()
        }
    };
    tokio::time::timeout(Duration::from_secs(120), all).await.expect("they come to an end");
    let done = watch.done.lock().unwrap().clone();
    assert_eq!(done.len(), MESSAGES, "each message was done");
    let twice: Vec<_> = done.iter().filter(|(_, times)| **times != 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
    bench.balanced().await;
}

/// Both daemons are told of half of the messages, and of some twice.
async fn put_all(store: Store, daemon: usize) {
    let mut accepted = 0;
    for chunk in 0..MESSAGES / 40 {
        if chunk % 2 != daemon {
            continue;
        }
        let one = |n: usize| {
            let key = format!("m{}", chunk * 40 + n);
            let message = match n % 10 {
                0 => message(key),
                _ => of(&format!("s:{}", (chunk * 40 + n) % SUBJECTS), key),
            };
            on_route(ROUTES[n % 2], message)
        };
        let puts = store.put((0..40).chain(5..10).map(one).collect()).await.unwrap();
        accepted += puts.iter().filter(|put| matches!(put, Put::Accepted(_))).count();
    }
    assert_eq!(accepted, MESSAGES / 2);
}

async fn work(store: Store, clock: Clock, watch: Arc<Watch>, number: usize) {
    let holder = Uuid::now_v7();
    register(&store, holder).await;
    let mut tries = 0;
    while watch.done.lock().unwrap().len() < MESSAGES {
        let claimed = match number % 2 {
            0 => store.write_eager(move |tx| async move { tx.claim(holder, "order", 8).await }.boxed()).await,
            _ => {
                store.write(Urgency::Urgent, move |tx| async move { tx.claim(holder, "order", 8).await }.boxed()).await
            }
        };
        let claimed = claimed.unwrap();
        if claimed.is_empty() {
            tokio::time::timeout(Duration::from_millis(20), store.due().notified()).await.ok();
        }
        let mut beside = JoinSet::new();
        for claimed in claimed {
            tries += 1;
            beside.spawn(handle(store.clone(), clock.clone(), watch.clone(), claimed, tries));
        }
        while let Some(ended) = beside.join_next().await {
            ended.unwrap();
        }
    }
}

async fn handle(store: Store, clock: Clock, watch: Arc<Watch>, claimed: Claimed, tries: usize) {
    let subject = claimed.lead().subject.clone().unwrap_or_else(|| claimed.lead().key.clone());
    assert!(watch.running.lock().unwrap().insert(subject.clone()), "{subject} runs twice at once");
    for _ in 0..3 {
        tokio::task::yield_now().await;
    }
    assert!(watch.running.lock().unwrap().remove(&subject));
    // Some wait for what another one brings, some are tried again; the others end.
    let again = claimed.lead().attempts == 1 && claimed.lead().held_since.is_none();
    let (waits, retries) = (again && tries % 5 == 1, again && tries % 5 == 2);
    let keys: Vec<String> = claimed.rows.iter().map(|row| row.key.clone()).collect();
    let now = clock.now();
    store
        .write(Urgency::Urgent, move |tx| {
            async move {
                tx.release(&claimed, (waits || retries).then_some(claimed.lead().id)).await?;
                if waits {
                    return tx.wait(&claimed, &format!("thing:{}", tries % 3), now, "", now).await;
                }
                let pair =
                    Mapping { fluent_id: Some("1".into()), ..Mapping::new("main", "thing", &(tries % 7).to_string()) };
                tx.put_mapping(&pair).await?;
                if retries {
                    tx.retry(&claimed, now, "network", "", now).await
                } else {
                    tx.finish(&claimed, Ending::Done("written"), "", None).await
                }
            }
            .boxed()
        })
        .await
        .unwrap();
    if !waits && !retries {
        for key in keys {
            *watch.done.lock().unwrap().entry(key).or_default() += 1;
        }
    }
}

async fn two_daemons_that_put_the_same_do_not_block_each_other(database: Database) {
    let bench = Bench::new(database.clone()).await;
    let other = database.second(&bench.store, &bench.clock).await;
    let mut crowd = JoinSet::new();
    for (n, store) in [&bench.store, &other, &bench.store, &other].into_iter().enumerate() {
        let store = store.clone();
        crowd.spawn(async move {
            for round in 0..40 {
                // The same messages and subjects, each time in another order.
                let mut messages: Vec<New> =
                    (0..50).map(|k| of(&format!("r{round} s{}", k * 7 % 50), format!("{round}.{k}"))).collect();
                messages.rotate_left(n * 13);
                if n % 2 == 1 {
                    messages.reverse();
                }
                let written = match n {
                    0 | 1 => store.put(messages).await.map(|_| ()),
                    _ => {
                        store
                            .write(Urgency::Urgent, move |tx| async move { tx.put(messages).await.map(|_| ()) }.boxed())
                            .await
                    }
                };
                written?;
            }
            Ok::<(), Error>(())
        });
    }
    while let Some(ended) = crowd.join_next().await {
        ended.unwrap().unwrap();
    }
    assert_eq!(bench.store.read().await.unwrap().active(START).await.unwrap(), 2000);
    bench.balanced().await;
}

async fn who_waits_while_the_pair_is_written_is_woken(database: Database) {
    const ROUNDS: usize = 100;
    let bench = Bench::new(database.clone()).await;
    let other = database.second(&bench.store, &bench.clock).await;
    for round in 0..ROUNDS {
        bench.put(of(&format!("s:{round}"), format!("m{round}"))).await;
        let claimed = bench.one(Uuid::now_v7()).await;
        let (key, late) = (format!("thing:{round}"), START + 600_000);
        let wait = bench.write(move |tx| {
            async move {
                tx.release(&claimed, None).await?;
                tx.wait(&claimed, &key, late, "", START).await
            }
            .boxed()
        });
        let pair = Mapping::new("main", "thing", &round.to_string());
        let write = other.write(Urgency::Urgent, move |tx| async move { tx.put_mapping(&pair).await }.boxed());
        let (waits, written) = match round % 2 {
            0 => tokio::join!(wait, write),
            _ => {
                let (written, waits) = tokio::join!(write, wait);
                (waits, written)
            }
        };
        waits.and(written).unwrap();
        assert_eq!(bench.one(Uuid::now_v7()).await.lead().key, format!("m{round}"), "it looks again at once");
    }
    assert_eq!(
        bench.store.read().await.unwrap().mappings(&MappingFilter::default(), 1000).await.unwrap().len(),
        ROUNDS
    );
    bench.balanced().await;
}

/// A claim may still be on its way into the database when its daemon is dead and the next one starts.
async fn what_a_daemon_claims_while_another_takes_over_is_not_stuck(database: Database) {
    const ROUNDS: usize = 100;
    let bench = Bench::new(database.clone()).await;
    let other = database.second(&bench.store, &bench.clock).await;
    let mut dead = Uuid::now_v7();
    bench.write(move |tx| async move { tx.take_lease("ours", dead, START).await }.boxed()).await.unwrap();
    for round in 0..ROUNDS {
        bench.put(of(&format!("s:{round}"), format!("m{round}"))).await;
        let (before, next) = (dead, Uuid::now_v7());
        let claim = bench.write(move |tx| async move { tx.claim(before, "order", 10).await }.boxed());
        let take_over = other.write(Urgency::Urgent, move |tx| {
            async move {
                let replaced = tx.take_lease("ours", next, START).await?;
                tx.reclaim(replaced.as_slice()).await
            }
            .boxed()
        });
        let (claimed, taken) = match round % 2 {
            0 => tokio::join!(claim, take_over),
            _ => {
                let (taken, claimed) = tokio::join!(take_over, claim);
                (claimed, taken)
            }
        };
        assert_eq!(claimed.unwrap().len() as u64, taken.unwrap().ready, "claimed in time and freed, or not claimed");
        let claimed = bench.write(move |tx| async move { tx.claim(next, "order", 10).await }.boxed()).await.unwrap();
        assert_eq!(claimed.len(), 1, "the next daemon has it");
        assert_eq!(claimed[0].lead().key, format!("m{round}"));
        bench.finish(&claimed[0]).await.unwrap();
        dead = next;
    }
    bench.balanced().await;
}
