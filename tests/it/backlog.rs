//! Stories of daemons that end in the middle of their work, and of two on one database.

use std::time::Duration;

use fluent_connector::remote;
use fluent_connector::simulator::Traffic;
use fluent_connector::simulator::commercetools::{ADA, BORIS, CHIARA};
use futures_util::future::join_all;

use crate::database::Engine;
use crate::on_both_databases;
use crate::world::{Settings, World};

on_both_databases! {
    stopped_and_started_in_the_middle_of_a_backlog,
    killed_in_the_middle_of_a_backlog,
}

async fn stopped_and_started_in_the_middle_of_a_backlog(engine: Engine) {
    let Some(mut world) = World::new(engine).await else { return };
    let ids = crowd(&world);
    for round in 1..4 {
        at_work(&world, round * 8).await;
        world.stop_and_start(0).await;
    }
    whole(&world, &ids).await;
}

async fn killed_in_the_middle_of_a_backlog(engine: Engine) {
    let Some(mut world) = World::new(engine).await else { return };
    let mut life = world.make_mortal(0).await;
    let ids = crowd(&world);
    for round in 1..4 {
        at_work(&world, round * 8).await;
        let config = world.kill(0, life);
        let daemon = world.start_again(config).await;
        world.daemons.push(daemon);
        life = world.make_mortal(0).await;
    }
    let config = world.kill(0, life);
    let daemon = world.start_again(config).await;
    world.daemons.push(daemon);
    whole(&world, &ids).await;
}

/// Only Postgres takes two.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_copies_at_two_daemons_are_one_order() {
    let settings = Settings { without_push: true, ..Settings::default() };
    let Some(mut world) = World::with(Engine::Postgres, settings).await else { return };
    world.start_daemon().await;
    slow(&world);
    let id = world.commercetools.order(Some("10001")).customer(ADA).payment("CREDIT_CARD", 2_999).place();
    let notification = world.commercetools.notifications().pop().unwrap();
    let token = world.token(&["intake:commercetools"]).await;
    let http = remote::http_client().unwrap();
    let post = |number: usize| {
        let url = format!("{}/intake/commercetools/plain/main", world.url(number % 2));
        let request = http.post(url).bearer_auth(&token).header("content-type", "application/json");
        request.body(notification.to_string()).send()
    };
    for answer in join_all((0..50).map(post)).await {
        assert_eq!(answer.unwrap().status(), 202);
    }
    world.settle().await;

    world.arrived(&id);
    assert_eq!(world.fluent_requests("CreateOrder").len(), 1);
    assert_eq!(world.fluent.transactions().len(), 1);
    assert_eq!(world.updates(&id), 1, "one link");
    world.nothing_lost().await;
}

/// Both daemons take their part of the work, and each order and status comes once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_daemons_share_a_backlog() {
    let Some(mut world) = World::new(Engine::Postgres).await else { return };
    world.start_daemon().await;
    let ids = crowd(&world);
    whole(&world, &ids).await;
    for status in ["BOOKED", "PICK_PACK", "COMPLETE"] {
        for number in 0..ids.len() {
            world.fluent.set_order_status(&format!("HD_{number}"), status);
        }
    }
    world.settle().await;
    for id in &ids {
        assert_eq!(world.states(id), ["Complete", "Shipped"]);
    }
    world.nothing_lost().await;
}

fn slow(world: &World) {
    for front in [world.fluent.front(), world.commercetools.front()] {
        front.traffic(Traffic { limit: None, latency: Duration::from_millis(20) });
    }
}

/// So many orders are in Fluent, and others on their way.
async fn at_work(world: &World, orders: usize) {
    let there = async || {
        world.tick(Duration::from_millis(100));
        world.fluent.orders().len() >= orders
    };
    world.until("the daemon works", there).await;
    assert!(world.fluent.orders().len() < 40, "too fast for this story");
}

/// Forty orders at once, at platforms that take their time.
fn crowd(world: &World) -> Vec<String> {
    slow(world);
    let order = |number: usize| {
        let buyer = [ADA, BORIS, CHIARA][number % 3];
        let order = world.commercetools.order(Some(&number.to_string())).customer(buyer);
        order.payment("CREDIT_CARD", 2_999).place()
    };
    (0..40).map(order).collect()
}

async fn whole(world: &World, ids: &[String]) {
    world.settle().await;
    world.pass(Duration::from_secs(1800), Duration::from_secs(20)).await;
    for id in ids {
        world.arrived(id);
        assert_eq!(world.updates(id), 1, "one link");
    }
    assert_eq!(world.fluent.orders().len(), ids.len());
    assert_eq!(world.fluent.customers().len(), 3);
    assert!(world.parked().await.is_empty(), "{:#?}", world.parked().await);
    world.nothing_lost().await;
}
