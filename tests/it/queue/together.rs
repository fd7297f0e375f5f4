//! What is committed together with an outcome, and what becomes of it when that cannot be committed.

use std::time::Duration;

use fluent_connector::app::App;
use fluent_connector::failure::{Class, Failure, reject};
use fluent_connector::queue::Message;
use fluent_connector::store::{Mapping, Store, Urgency};
use futures_util::FutureExt;
use serde_json::json;
use uuid::Uuid;

use super::{Bench, Seen};
use crate::database::{Database, START, on_both, on_postgres};
use crate::proxy::through;
use crate::settle::eventually;

on_both!(
    effects_are_committed_with_the_outcome,
    what_follows_keeps_correlation_and_has_its_own_lane,
    an_outcome_of_a_lost_claim_leaves_nothing_and_the_subject_is_looked_at_again,
    effects_that_cannot_be_stored_are_tried_again_on_schedule,
    an_effect_that_panics_is_tried_again_on_schedule,
);
on_postgres!(an_outcome_survives_a_database_that_is_gone);

async fn effects_are_committed_with_the_outcome(database: Database) {
    let bench = Bench::new(database, |routes| {
        routes.inbox("test.effects", async |_: App, message: Message| {
            let key = message.key().to_owned();
            message.with(move |tx| {
                async move {
                    tx.put_mapping(&Mapping::new("main", "order", &key)).await?;
                    tx.setting_or("main", &key, "effect").await.map(|_| ())
                }
                .boxed()
            });
            match message.key() {
                "done" => Ok(()),
                "parked" => reject("No."),
                _ => Err(Failure::retry(Class::Server, "Later.")),
            }
        });
    })
    .await;
    for (key, state) in [("done", "done"), ("parked", "parked"), ("retried", "ready")] {
        let row = bench.run(bench.draft("test.effects", key)).await;
        assert_eq!(row.state, state);
        let mut db = bench.store().read().await.unwrap();
        assert!(db.mapping("main", "order", key).await.unwrap().is_some(), "{key}: whatever the outcome is");
        assert_eq!(db.setting("main", key).await.unwrap().as_deref(), Some("effect"));
    }
}

async fn what_follows_keeps_correlation_and_has_its_own_lane(database: Database) {
    let bench = Bench::new(database, |routes| {
        routes.inbox("test.first", async |_: App, message: Message| {
            let next = message.next("test.second", "2").subject("order:1").payload(json!({"order": 1}));
            message.then([next]);
            Ok(())
        });
        routes.outbox("test.second", async |_: App, message: Message| {
            message.tell(format!("correlation {}", message.correlation()));
            Ok(())
        });
        routes.find("test.second").unwrap();
    })
    .await;
    bench.run(bench.draft("test.first", "1").correlation("abc")).await;
    let rows = bench.rows().await;
    assert_eq!(rows.len(), 2);
    assert_eq!((rows[1].state.as_str(), rows[1].lane.as_str()), ("done", "catalogue"));
    assert_eq!((rows[1].source.as_str(), rows[1].detail.as_deref()), ("handler", Some("correlation abc")));
    let again = bench.run(bench.draft("test.first", "again")).await;
    assert_eq!(again.state, "done", "what follows is there already, and that is no failure");
    assert_eq!(bench.rows().await.len(), 3);
}

/// While the handler runs, its daemon is taken for dead and somebody else finishes the message.
async fn an_outcome_of_a_lost_claim_leaves_nothing_and_the_subject_is_looked_at_again(database: Database) {
    let runs = Seen::default();
    let daemon = std::sync::Arc::new(std::sync::OnceLock::<Uuid>::new());
    let (told, me) = (runs.clone(), daemon.clone());
    let bench = Bench::new(database, move |routes| {
        routes.inbox("test.slow", move |app: App, message: Message| {
            let (told, me) = (told.clone(), me.clone());
            async move {
                told.add(message.key());
                if told.count() > 1 {
                    return Ok(());
                }
                let (dead, other) = (*me.get().unwrap(), Uuid::now_v7());
                let lane = message.lane().to_owned();
                app.store()
                    .write(Urgency::Urgent, move |tx| {
                        async move {
                            tx.reclaim(&[dead]).await?;
                            tx.take_lease("another", other, i64::MAX).await?;
                            for claimed in tx.claim(other, &lane, 10).await? {
                                tx.release(&claimed, None).await?;
                                let ending = fluent_connector::store::Ending::Done("written");
                                tx.finish(&claimed, ending, "by the other daemon", None).await?;
                            }
                            Ok(())
                        }
                        .boxed()
                    })
                    .await?;
                let pair = Mapping::new("main", "order", "1");
                message.with(move |tx| async move { tx.put_mapping(&pair).await }.boxed());
                message.then([message.next("test.never", "1")]);
                reject("Too late.")
            }
        });
    })
    .await;
    daemon.set(bench.daemon).unwrap();
    let row = bench.run(bench.draft("test.slow", "1").subject("order:1").at_least(4).payload(json!(7))).await;
    assert_eq!((row.state.as_str(), row.detail.as_deref()), ("done", Some("by the other daemon")));
    assert!(bench.store().read().await.unwrap().mapping("main", "order", "1").await.unwrap().is_none());
    eventually("the subject is looked at again", async || runs.count() == 2).await;
    bench.settle().await;
    let rows = bench.rows().await;
    assert_eq!(rows.len(), 2, "{rows:?}");
    assert_eq!((rows[1].route.as_str(), rows[1].subject.as_deref()), ("test.slow", Some("order:1")));
    assert_eq!((rows[1].state.as_str(), rows[1].at_least, &rows[1].payload.0), ("done", 4, &json!(7)));
}

async fn effects_that_cannot_be_stored_are_tried_again_on_schedule(database: Database) {
    let runs = Seen::default();
    let told = runs.clone();
    let bench = Bench::new(database, move |routes| {
        routes.inbox("test.hasty", move |_: App, message: Message| {
            told.add(message.key());
            // Somebody else has this ref.
            let pair = Mapping { fluent_ref: Some("HD_1".into()), ..Mapping::new("main", "order", message.key()) };
            message.with(move |tx| async move { tx.put_mapping(&pair).await }.boxed());
            std::future::ready(Ok(()))
        });
    })
    .await;
    let first = bench.run(bench.draft("test.hasty", "1")).await;
    assert_eq!(first.state, "done");
    let row = bench.run(bench.draft("test.hasty", "2").subject("order:2")).await;
    assert_eq!((row.state.as_str(), row.reason.as_deref(), row.due), ("ready", Some("store"), START + 5000));
    assert_eq!((runs.count(), row.attempts, row.held_since), (2, 1, Some(START)), "it does not run in circles");
    for seconds in [5, 30, 120] {
        bench.pass(Duration::from_secs(seconds)).await;
    }
    let row = bench.row(row.id).await;
    assert_eq!((row.state.as_str(), row.reason.as_deref()), ("parked", Some("gave-up")));
    assert!(row.detail.unwrap().to_lowercase().contains("unique"));
}

async fn an_effect_that_panics_is_tried_again_on_schedule(database: Database) {
    let bench = Bench::new(database, |routes| {
        routes.inbox("test.broken", async |_: App, message: Message| {
            message.with(|_| async { panic!("an effect with a bug") }.boxed());
            Ok(())
        });
        routes.inbox("test.good", async |_: App, _: Message| Ok(()));
    })
    .await;
    let row = bench.run(bench.draft("test.broken", "1")).await;
    assert_eq!((row.state.as_str(), row.reason.as_deref(), row.due), ("ready", Some("store"), START + 5000));
    assert!(row.detail.unwrap().contains("an effect with a bug"));
    assert_eq!(bench.run(bench.draft("test.good", "2")).await.state, "done", "the others go on");
}

async fn an_outcome_survives_a_database_that_is_gone(database: Database) {
    let (proxy, url) = through(&database).await;
    let proxy = std::sync::Arc::new(proxy);
    let clock = fluent_connector::clock::Clock::simulated(START);
    let options = fluent_connector::store::Options { url, pool: 4, ..database.options() };
    let store = Store::open(options, clock.clone()).await.unwrap();
    let runs = Seen::default();
    let (told, cut) = (runs.clone(), proxy.clone());
    let bench = Bench::on(store, clock, move |routes| {
        routes.inbox("test.unlucky", move |_: App, message: Message| {
            told.add(message.key());
            if told.count() == 1 {
                cut.cut();
            }
            let pair = Mapping::new("main", "order", message.key());
            message.with(move |tx| async move { tx.put_mapping(&pair).await }.boxed());
            std::future::ready(Ok(()))
        });
    });
    let id = bench.put(bench.draft("test.unlucky", "1").subject("order:1")).await;
    // The dispatcher and the outcome both try; half a second lies between two tries of one.
    eventually("both were refused", async || runs.count() == 1 && proxy.refused() >= 3).await;
    proxy.restore();
    eventually("the message is given back", async || match bench.store().read().await {
        Ok(mut db) => db.message(id).await.is_ok_and(|row| row.is_some_and(|row| row.state == "ready")),
        Err(_) => false,
    })
    .await;
    bench.pass(Duration::from_secs(5)).await;
    let row = bench.row(id).await;
    assert_eq!((row.state.as_str(), runs.count()), ("done", 2));
    assert!(bench.store().read().await.unwrap().mapping("main", "order", "1").await.unwrap().is_some());
}
