//! What becomes of a message: each way to end, and what is kept with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fluent_connector::app::App;
use fluent_connector::config::value::Span;
use fluent_connector::failure::{Class, Failure, Skip, reject, skip, waiting};
use fluent_connector::queue::{Message, Note};
use fluent_connector::store::{Mapping, Urgency};
use futures_util::FutureExt;
use serde_json::json;

use super::{Bench, Seen, seen};
use crate::database::{Database, START, on_both};

on_both!(
    done_is_done_with_its_reason,
    a_failure_is_tried_again_on_schedule_and_given_up,
    a_route_may_give_up_earlier,
    a_remote_may_ask_for_a_longer_pause,
    a_rejection_parks_with_its_sentence,
    a_message_waits_until_its_thing_appears,
    what_appears_while_the_handler_looks_is_not_missed,
    who_waits_too_long_is_parked,
    a_skip_says_why,
    a_panic_parks_the_message_and_nothing_else,
    an_unknown_route_parks_and_a_missing_connection_waits,
    a_route_that_is_switched_off_skips,
    a_replaced_handler_is_the_one_that_runs,
    collapsed_messages_are_handled_once,
);

async fn done_is_done_with_its_reason(database: Database) {
    let bench = Bench::new(database, |routes| {
        routes.inbox("test.plain", async |_: App, _: Message| Ok(()));
        routes.inbox("test.full", async |_: App, message: Message| {
            message.adopted();
            message.tell("Order 10001 was there already.");
            message.note(Note::new("order_status.unmapped", "Status X is not mapped."));
            message.note(Note::new("order.total", "A cent is missing."));
            Ok(())
        });
    })
    .await;
    let row = bench.run(bench.draft("test.plain", "1")).await;
    assert_eq!((row.state.as_str(), row.reason.as_deref(), row.attempts), ("done", Some("written"), 1));
    let row = bench.run(bench.draft("test.full", "2")).await;
    assert_eq!((row.state.as_str(), row.reason.as_deref()), ("done", Some("adopted")));
    assert_eq!(row.detail.as_deref(), Some("Order 10001 was there already."));
    let notes = json!([
        {"code": "order_status.unmapped", "sentence": "Status X is not mapped."},
        {"code": "order.total", "sentence": "A cent is missing."},
    ]);
    assert_eq!(row.notes.unwrap().0, notes);
}

async fn a_failure_is_tried_again_on_schedule_and_given_up(database: Database) {
    let tries = Seen::default();
    let bench = Bench::new(database, |routes| {
        let fail = seen(&tries, |_| Err(Failure::retry(Class::Network, "Fluent cannot be reached.")));
        routes.inbox("test.failing", fail);
    })
    .await;
    let id = bench.put(bench.draft("test.failing", "1").subject("order:1")).await;
    bench.settle().await;
    let mut due = START;
    for (attempt, seconds) in [5, 30, 120, 600, 1800, 3600, 3600, 3600].into_iter().enumerate() {
        due += seconds * 1000;
        let row = bench.row(id).await;
        assert_eq!((row.state.as_str(), row.due, row.attempts), ("ready", due, attempt as i64 + 1));
        assert_eq!((row.reason.as_deref(), row.held_since), (Some("network"), Some(START)));
        bench.pass(Duration::from_millis(seconds as u64 * 1000 - 1)).await;
        assert_eq!(tries.count(), attempt + 1, "not a millisecond early");
        bench.pass(Duration::from_millis(1)).await;
        assert_eq!(tries.count(), attempt + 2);
    }
    for _ in 0..24 {
        bench.pass(Duration::from_secs(3600)).await;
    }
    let row = bench.row(id).await;
    assert_eq!((row.state.as_str(), row.reason.as_deref()), ("parked", Some("gave-up")));
    let detail = format!("Fluent cannot be reached. Given up after {} tries.", tries.count());
    assert_eq!(row.detail.as_deref(), Some(detail.as_str()));
    let attempts = bench.store().read().await.unwrap().attempts(id).await.unwrap();
    assert_eq!(attempts.len(), tries.count());
    assert_eq!((attempts[0].outcome.as_str(), attempts[0].class.as_deref()), ("retry", Some("network")));
    assert_eq!(attempts.last().unwrap().outcome, "gave-up");
    let given_up_after = attempts.last().unwrap().at - START;
    assert!((24 * 3600..25 * 3600).contains(&(given_up_after / 1000)), "after {given_up_after} ms");
}

async fn a_route_may_give_up_earlier(database: Database) {
    let tries = Seen::default();
    let bench = Bench::new(database, |routes| {
        routes.inbox("test.hasty", seen(&tries, |_| Err(Failure::retry(Class::Server, "No."))));
    })
    .await;
    let id = bench.put(bench.draft("test.hasty", "1")).await;
    bench.settle().await;
    for seconds in [5, 30, 120] {
        bench.pass(Duration::from_secs(seconds)).await;
    }
    assert_eq!(bench.row(id).await.reason.as_deref(), Some("gave-up"));
    assert_eq!(tries.count(), 4);
}

async fn a_remote_may_ask_for_a_longer_pause(database: Database) {
    let bench = Bench::new(database, |routes| {
        routes.inbox("test.limited", async |_: App, _: Message| {
            let after = Some(Duration::from_secs(77));
            Err(Failure::Retry { class: Class::RateLimited, sentence: "Slow down.".into(), after })
        });
    })
    .await;
    let row = bench.run(bench.draft("test.limited", "1")).await;
    assert_eq!((row.due, row.reason.as_deref()), (START + 77_000, Some("rate-limited")));
}

async fn a_rejection_parks_with_its_sentence(database: Database) {
    let bench = Bench::new(database, |routes| {
        routes.inbox("test.rejecting", async |_: App, _: Message| reject("Order 10001 has no line items."));
    })
    .await;
    let row = bench.run(bench.draft("test.rejecting", "1")).await;
    assert_eq!((row.state.as_str(), row.reason.as_deref()), ("parked", Some("rejected")));
    assert_eq!(row.detail.as_deref(), Some("Order 10001 has no line items."));
    let attempts = bench.store().read().await.unwrap().attempts(row.id).await.unwrap();
    assert_eq!((attempts.len(), attempts[0].outcome.as_str(), attempts[0].number), (1, "rejected", 1));
    assert_eq!(attempts[0].detail, "Order 10001 has no line items.");
}

/// Looks for the pair of customer 7, as a flow would.
async fn needs_customer(app: App, message: Message) -> Result<(), Failure> {
    let pair = app.store().read().await?.mapping(message.connection(), "customer", "7").await?;
    match pair {
        Some(_) => Ok(()),
        None => waiting("customer:7", "Order 10001 waits for customer 7."),
    }
}

async fn customer_appears(bench: &Bench) {
    let pair = Mapping { fluent_id: Some("12".into()), ..Mapping::new("main", "customer", "7") };
    let put = bench.store().write(Urgency::Urgent, move |tx| async move { tx.put_mapping(&pair).await }.boxed());
    put.await.unwrap();
}

async fn a_message_waits_until_its_thing_appears(database: Database) {
    let bench = Bench::new(database, |routes| {
        routes.inbox("test.waiting", needs_customer);
    })
    .await;
    let row = bench.run(bench.draft("test.waiting", "1").subject("order:1")).await;
    assert_eq!((row.state.as_str(), row.wait_for.as_deref()), ("waiting", Some("customer:7")));
    assert_eq!((row.detail.as_deref(), row.due), (Some("Order 10001 waits for customer 7."), START + 300_000));
    bench.pass(Duration::from_secs(300)).await;
    let again = bench.row(row.id).await;
    assert_eq!((again.state.as_str(), again.due, again.attempts), ("waiting", START + 600_000, 0));
    assert_eq!(again.held_since, Some(START));
    customer_appears(&bench).await;
    bench.settle().await;
    let row = bench.row(row.id).await;
    assert_eq!((row.state.as_str(), row.attempts, row.held_since), ("done", 1, None));
}

async fn what_appears_while_the_handler_looks_is_not_missed(database: Database) {
    let (looked, appeared) = (Arc::new(tokio::sync::Notify::new()), Arc::new(tokio::sync::Notify::new()));
    let (look, appear) = (looked.clone(), appeared.clone());
    let bench = Bench::new(database, move |routes| {
        routes.inbox("test.waiting", move |app: App, message: Message| {
            let (look, appear) = (look.clone(), appear.clone());
            async move {
                let outcome = needs_customer(app, message).await;
                if outcome.is_err() {
                    look.notify_one();
                    appear.notified().await;
                }
                outcome
            }
        });
    })
    .await;
    let id = bench.put(bench.draft("test.waiting", "1").subject("order:1")).await;
    looked.notified().await;
    bench.clock.advance(Duration::from_millis(5));
    customer_appears(&bench).await;
    appeared.notify_one();
    bench.settle().await;
    assert_eq!(bench.row(id).await.state, "done", "without waiting for the next look in five minutes");
}

async fn who_waits_too_long_is_parked(database: Database) {
    let bench = Bench::new(database, |routes| {
        routes.inbox("test.patient", needs_customer);
        routes.inbox("test.limited", needs_customer).wait_limit(|_| Span(Duration::from_secs(3600)));
    })
    .await;
    let patient = bench.put(bench.draft("test.patient", "1")).await;
    let limited = bench.put(bench.draft("test.limited", "2").subject("order:1")).await;
    bench.settle().await;
    for minute in 0..60 / 5 {
        assert_eq!(bench.row(limited).await.state, "waiting", "after {minute} looks");
        // News of the same order do not start the wait anew.
        let again = bench.draft("test.limited", &format!("again {minute}")).subject("order:1");
        bench.put(again).await;
        bench.pass(Duration::from_secs(300)).await;
    }
    let row = bench.row(limited).await;
    assert_eq!((row.state.as_str(), row.reason.as_deref()), ("parked", Some("rejected")));
    assert_eq!(row.detail.as_deref(), Some("Order 10001 waits for customer 7. It never came."));
    assert_eq!(bench.row(patient).await.state, "waiting");
}

async fn a_skip_says_why(database: Database) {
    let bench = Bench::new(database, |routes| {
        routes.inbox("test.skipping", async |_: App, message: Message| {
            let reason = match message.key() {
                "ignored" => Skip::Ignored,
                "own-write" => Skip::OwnWrite,
                "superseded" => Skip::Superseded,
                _ => Skip::Filtered,
            };
            skip(reason, "Nothing to do.")
        });
    })
    .await;
    for reason in ["ignored", "own-write", "superseded", "filtered"] {
        let row = bench.run(bench.draft("test.skipping", reason)).await;
        assert_eq!((row.state.as_str(), row.reason.as_deref()), ("skipped", Some(reason)));
        assert_eq!(row.detail.as_deref(), Some("Nothing to do."));
    }
}

async fn a_panic_parks_the_message_and_nothing_else(database: Database) {
    let bench = Bench::new(database, |routes| {
        routes.inbox("test.broken", async |_: App, message: Message| match message.key() {
            "bad" => panic!("index out of bounds"),
            _ => Ok(()),
        });
    })
    .await;
    let row = bench.run(bench.draft("test.broken", "bad").subject("order:1")).await;
    assert_eq!((row.state.as_str(), row.reason.as_deref()), ("parked", Some("rejected")));
    let detail = row.detail.unwrap();
    assert!(detail.contains("test.broken") && detail.contains("index out of bounds"), "{detail}");
    let next = bench.run(bench.draft("test.broken", "good").subject("order:1")).await;
    assert_eq!(next.state, "done", "the subject is free again");
}

async fn an_unknown_route_parks_and_a_missing_connection_waits(database: Database) {
    let bench = Bench::new(database, |routes| {
        routes.inbox("test.known", async |_: App, _: Message| Ok(()));
    })
    .await;
    let row = bench.run(bench.draft("test.unknown", "1").lane("order")).await;
    assert_eq!((row.state.as_str(), row.reason.as_deref()), ("parked", Some("rejected")));
    assert!(row.detail.unwrap().contains("test.unknown"));
    let elsewhere = bench.queue.draft("gone", "test.known", "1", fluent_connector::store::Source::Handler);
    let row = bench.run(elsewhere).await;
    assert_eq!((row.state.as_str(), row.reason.as_deref(), row.due), ("ready", Some("setup"), START + 5000));
}

async fn a_route_that_is_switched_off_skips(database: Database) {
    let runs = Seen::default();
    let bench = Bench::new(database, |routes| {
        routes.inbox("test.switched-off", seen(&runs, |_| Ok(())));
    })
    .await;
    let row = bench.run(bench.draft("test.switched-off", "1")).await;
    assert_eq!((row.state.as_str(), row.reason.as_deref()), ("skipped", Some("ignored")));
    assert!(row.detail.unwrap().contains("switched off"));
    assert_eq!(runs.count(), 0);
}

async fn a_replaced_handler_is_the_one_that_runs(database: Database) {
    let (first, second) = (Seen::default(), Seen::default());
    let bench = Bench::new(database, |routes| {
        routes.inbox("test.ours", seen(&first, |_| Ok(()))).lane("status");
        routes.replace("test.ours", seen(&second, |_| Ok(())));
    })
    .await;
    let row = bench.run(bench.draft("test.ours", "1")).await;
    assert_eq!((row.state.as_str(), row.lane.as_str()), ("done", "status"), "lane and policies stay");
    assert_eq!((first.count(), second.count()), (0, 1));
}

async fn collapsed_messages_are_handled_once(database: Database) {
    let (runs, told) = (Arc::new(AtomicUsize::new(0)), Seen::default());
    let (counter, seen) = (runs.clone(), told.clone());
    let mut bench = Bench::new(database, move |routes| {
        routes.inbox("test.collapsing", move |_: App, message: Message| {
            counter.fetch_add(1, Ordering::SeqCst);
            let all: Vec<String> = message.payloads().map(ToString::to_string).collect();
            let payload = message.payload::<i64>().unwrap();
            seen.add(format!("{} {payload} of {} at least {}", message.key(), all.join(","), message.at_least()));
            std::future::ready(Ok(()))
        });
    })
    .await;
    bench.stop().await;
    for (n, at_least) in [(1, 3), (2, 9), (3, 4)] {
        let draft = bench.draft("test.collapsing", &n.to_string()).subject("order:1").at_least(at_least);
        bench.put(draft.payload(json!(n))).await;
    }
    bench.start(Duration::from_secs(20));
    bench.settle().await;
    assert_eq!(told.take(), ["3 3 of 1,2,3 at least 9"]);
    assert_eq!(runs.load(Ordering::SeqCst), 1);
    assert!(bench.rows().await.iter().all(|row| row.state == "done"));
}
