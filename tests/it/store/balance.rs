//! `accepted − pruned = Σ states`, after every step of a long random life, and counting gives the same.

use std::time::Duration;

use fluent_connector::store::{Claimed, Filter, New};
use futures_util::FutureExt;
use rand::prelude::*;
use rand::rngs::StdRng;
use uuid::Uuid;

use super::{Bench, message};
use crate::database::{Database, on_both};

on_both!(the_balance_closes_after_every_step);

const STEPS: usize = 400;

async fn the_balance_closes_after_every_step(database: Database) {
    let bench = Bench::new(database).await;
    let seed: u64 = rand::random();
    eprintln!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let daemons = [(); 3].map(|()| Uuid::now_v7());
    let mut running: Vec<Claimed> = Vec::new();
    for step in 0..STEPS {
        let told = walk(&bench, &mut random, &daemons, &mut running, step).await;
        let balanced = std::panic::AssertUnwindSafe(bench.balanced()).catch_unwind().await;
        assert!(balanced.is_ok(), "seed {seed}, step {step}: {told}");
    }
    drain(&bench, &mut running).await;
}

async fn walk(bench: &Bench, random: &mut StdRng, daemons: &[Uuid], running: &mut Vec<Claimed>, step: usize) -> String {
    let daemon = *daemons.choose(random).unwrap();
    match random.random_range(0..12) {
        0..3 => {
            let messages = (0..random.random_range(1..6)).map(|n| some_message(bench, random, step, n)).collect();
            bench.store.put(messages).await.unwrap();
            "put".into()
        }
        3..6 => {
            let claimed = bench.claim(daemon, random.random_range(1..5)).await;
            running.extend(claimed);
            "claim".into()
        }
        6..9 if !running.is_empty() => {
            let claimed = running.swap_remove(random.random_range(0..running.len()));
            end(bench, random, &claimed).await
        }
        9 => {
            bench.reclaim(daemon).await;
            let (dead, alive) = std::mem::take(running).into_iter().partition::<Vec<_>, _>(|c| c.holder == daemon);
            *running = alive;
            if let Some(stale) = dead.first() {
                bench.finish(stale).await.expect_err("a dead daemon's outcome");
            }
            "reclaim".into()
        }
        10 => {
            let rows = bench.store.read().await.unwrap().messages(&Filter::default(), 1000).await.unwrap();
            let Some(row) = rows.choose(random) else { return "nothing to decide".into() };
            let (id, skip) = (row.id, random.random());
            match skip {
                true => bench.write(move |tx| async move { tx.skip_parked(id, "no").await }.boxed()).await.unwrap(),
                false => bench.write(move |tx| async move { tx.retry_parked(id).await }.boxed()).await.unwrap(),
            };
            format!("decide {} skip {skip}", row.state)
        }
        _ => {
            bench.clock.advance(Duration::from_millis(random.random_range(0..3000)));
            bench.write(|tx| async move { tx.arrived("main", "thing:1").await }.boxed()).await.unwrap();
            "time passes, thing:1 arrives".into()
        }
    }
}

fn some_message(bench: &Bench, random: &mut StdRng, step: usize, n: usize) -> New {
    let subject = random.random_bool(0.7).then(|| format!("s:{}", random.random_range(0..6)));
    // Some keys come again.
    let key = if random.random_bool(0.2) { "again".to_owned() } else { format!("{step}.{n}") };
    New {
        subject,
        connection: ["main", "main", "other"].choose(random).unwrap().to_string(),
        route: ["x", "y"].choose(random).unwrap().to_string(),
        lane: ["order", "order", "order", "status"].choose(random).unwrap().to_string(),
        due: bench.now() + random.random_range(-500..1500),
        ..message(key)
    }
}

async fn end(bench: &Bench, random: &mut StdRng, claimed: &Claimed) -> String {
    let due = bench.now() + random.random_range(0..2000);
    let blocks = random.random();
    let how = random.random_range(0..4);
    match how {
        0 => bench.finish(claimed).await.unwrap(),
        1 => bench.retry(claimed, due, blocks).await.unwrap(),
        2 => bench.wait(claimed, ["thing:1", "thing:2"].choose(random).unwrap(), due, blocks).await.unwrap(),
        _ => bench.park(claimed).await.unwrap(),
    }
    format!("end {how} with {} rows", claimed.rows.len())
}

/// Whatever the life was like, all that is left can still be done.
async fn drain(bench: &Bench, running: &mut Vec<Claimed>) {
    for claimed in running.drain(..) {
        bench.finish(&claimed).await.unwrap();
    }
    bench.clock.advance(Duration::from_secs(60));
    loop {
        let mut claimed = bench.claim(Uuid::now_v7(), 50).await;
        claimed.extend(bench.claim_in("status", Uuid::now_v7(), 50).await);
        if claimed.is_empty() {
            break;
        }
        for claimed in claimed {
            bench.finish(&claimed).await.unwrap();
        }
        bench.balanced().await;
    }
    let tally = bench.store.read().await.unwrap().tally().await.unwrap();
    for (place, counts) in tally {
        assert_eq!(counts.of("ready") + counts.of("waiting") + counts.of("running"), 0, "{place:?} {counts:?}");
    }
}
