//! Stories of a daemon that stops under load and of the one that follows it (architecture 6, G1, G8).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use fluent_connector::simulator::Traffic;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::caller::Request;
use crate::database::Engine;
use crate::on_both_databases;
use crate::settle::eventually;
use crate::webhook::Booked;
use crate::world::{Settings, World};

on_both_databases! {
    what_was_answered_200_has_its_effect_after_a_restart,
    a_successor_starts_as_soon_as_its_predecessor_has_stopped,
}

/// Places orders that Fluent then has.
async fn orders(world: &World, count: usize) -> Vec<(String, String)> {
    let numbers: Vec<String> = (1..=count).map(|number| number.to_string()).collect();
    let orders = numbers.into_iter().map(|number| {
        let draft = world.commercetools.order(Some(&number)).guest(&format!("guest-{number}@example.org"));
        (format!("HD_{number}"), draft.place())
    });
    let orders = orders.collect();
    world.settle().await;
    orders
}

/// Refs whose webhook was answered with 200.
fn answered(world: &World) -> BTreeSet<String> {
    let log = world.fluent.webhooks();
    let delivered = log.iter().filter(|row| row["outcome"] == "delivered" && row["status"] == 200);
    delivered.map(|row| row["entityRef"].as_str().unwrap().to_owned()).collect()
}

async fn what_was_answered_200_has_its_effect_after_a_restart(engine: Engine) {
    let settings =
        Settings { connection: "    order_status: { poll: { enabled: false } }".into(), ..Settings::default() };
    let Some(mut world) = World::with(engine, settings).await else { return };
    let orders = orders(&world, 40).await;
    let state = |world: &World, id: &str| world.shop_order(id)["orderState"].as_str().unwrap().to_owned();
    world.commercetools.front().traffic(Traffic { latency: Duration::from_millis(30), ..Traffic::default() });
    for (reference, _) in &orders {
        world.fluent.set_order_status(reference, "BOOKED");
    }
    world.until("some webhooks are answered", async || answered(&world).len() >= 10).await;
    world.stop_daemon().await;
    let taken = answered(&world);
    let open = orders.iter().filter(|(_, id)| state(&world, id) == "Open").count();
    assert!(open > 0, "it stopped too late to show anything");
    world.start_daemon_again().await;
    // What was under way may come again a little later.
    world
        .until("all that was taken is done", async || {
            orders.iter().all(|(reference, id)| !taken.contains(reference) || state(&world, id) == "Confirmed")
        })
        .await;
    world.pass(Duration::from_secs(16), Duration::from_secs(2)).await;
    assert_eq!(answered(&world).len(), 40, "Fluent tried the others again: {:?}", world.fluent.given_up());
    for (reference, id) in &orders {
        assert_eq!(state(&world, id), "Confirmed", "{reference}");
    }
    let written: Vec<Value> = world.commercetools.front().ledger().into_iter().map(|effect| effect.detail).collect();
    let confirmed = written.iter().filter(|detail| detail.to_string().contains("changeOrderState")).count();
    assert_eq!(confirmed, 40, "each once");
    world.nothing_lost().await;
}

async fn a_successor_starts_as_soon_as_its_predecessor_has_stopped(engine: Engine) {
    let Some(mut world) = World::new(engine).await else { return };
    let (reference, id) = orders(&world, 1).await.remove(0);
    for (status, state) in [("BOOKED", "Confirmed"), ("PICK_PACK", "Confirmed"), ("COMPLETE", "Complete")] {
        let url = world.url(0);
        let held = Request::post("/intake/commercetools/plain/main", "[]").begin(&url).await;
        let ready = Request::new("GET", "/readyz");
        // Answered later than the other was heard: from now on that one is under way.
        assert_eq!(ready.send(&url).await.status, 200);
        let finish = async {
            let gone = async || TcpStream::connect(url.trim_start_matches("http://")).await.is_err();
            eventually("nobody else is let in", gone).await;
            held.finish().await
        };
        // The stop waits for requests under way. Then all that it held is free: address and file.
        let next = async {
            world.stop_daemon().await;
            world.start_daemon_again().await;
        };
        let ((), reply) = tokio::join!(next, finish);
        assert_eq!(reply.problem(), (401, "unauthenticated"));
        world.fluent.set_order_status(&reference, status);
        world.settle().await;
        assert_eq!(world.shop_order(&id)["orderState"], state);
    }
    world.nothing_lost().await;
}

/// In this process only Postgres can show it: the handler that hangs keeps the SQLite file.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_did_not_end_in_time_runs_again() {
    let over = "server: { shutdown: { drain: 100ms, deadline: 1s } }".to_owned();
    let settings = Settings { over, ..Settings::default() };
    let Some(mut booked) = Booked::with(Engine::Postgres, settings).await else { return };
    booked.world.stop_daemon().await;
    let inside = Arc::new(Semaphore::new(0));
    let enters = inside.clone();
    let hangs = move |_, _| {
        enters.add_permits(1);
        std::future::pending()
    };
    booked.world.start_daemon_with(|routes| routes.replace("fluent.order-updated", hangs)).await;
    let request = booked.signed(&booked.webhook("w-1"));
    assert_eq!(request.send(&booked.world.url(0)).await.status, 200);
    let _ = inside.acquire().await;
    booked.world.restart().await;
    assert_eq!(booked.world.shop_order(&booked.shop_id)["orderState"], "Confirmed");
    booked.world.nothing_lost().await;
}
