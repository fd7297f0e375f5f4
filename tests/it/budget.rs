//! Stories of limits and outages: a remote that allows less than we could do, and one that is gone.

use std::collections::BTreeSet;
use std::time::Duration;

use fluent_connector::remote::Learned;
use fluent_connector::remote::breaker::Position;
use fluent_connector::simulator::commercetools::{ADA, ARTICLES};
use fluent_connector::simulator::{Exchange, Traffic, fluent};
use fluent_connector::store::{Filter, Row};
use serde_json::Value;

use crate::database::Engine;
use crate::world::{Settings, World, tick};
use crate::{on_both_databases, summary};

on_both_databases! {
    a_limit_that_nobody_told_us_is_learned_kept_and_used,
    while_fluent_is_down_messages_wait_and_lose_nothing,
    an_observing_breaker_stops_nothing,
}

/// Of Fluent, in requests per second.
const LIMIT: f64 = 50.0;
const ORDERS: usize = 300;

async fn a_limit_that_nobody_told_us_is_learned_kept_and_used(engine: Engine) {
    let budgets = "  commercetools: { requests_per_second: 10000, in_flight: 32 }
  fluent: { requests_per_second: auto, start: 10, max: 1000, in_flight: 16 }";
    let traffic = Traffic { limit: Some(LIMIT), latency: Duration::ZERO };
    let settings = Settings {
        budgets: Some(budgets.into()),
        fluent: Some(fluent::Options { traffic, ..fluent::Options::default() }),
        ..Settings::default()
    };
    let Some(mut world) = World::with(engine, settings).await else { return };
    (0..ORDERS).for_each(|n| place(&world, n));
    arrive(&world, ORDERS).await;
    assert_eq!(world.fluent_effects("createOrder", "ORDER").len(), ORDERS);

    let exchanges = world.fluent.front().exchanges();
    let refused = exchanges.iter().filter(|exchange| exchange.status == 429).count();
    assert!(refused * 20 <= exchanges.len(), "{refused} of {} requests were refused", exchanges.len());

    let learned = learned(&world, 0).expect("something is known of the limit");
    let (all, orders) = (exchanges.len(), ORDERS);
    summary::note(&format!(
        "budget on {engine:?}: {orders} orders, {all} requests, {refused} refused, learned {learned} of {LIMIT}/s"
    ));
    let shown = status(&world, 0).await;
    let budget = shown["budgets"].as_array().unwrap().iter().find(|budget| budget["remote"] == "fluent").unwrap();
    assert_eq!(budget["connection"], "main");
    assert_eq!(budget["breaker"], serde_json::json!({"reads": "closed", "writes": "closed"}));
    assert_eq!(budget["learned"], learned.to_string());

    world.daemons.remove(0).stop().await;
    world.start_daemon().await;
    let kept = self::learned(&world, 0).expect("the next daemon knows it");
    assert!(kept.is_near(learned), "learned {learned}, kept {kept}");
    let rate = world.daemons[0].app.connection("main").unwrap().fluent.remote().budget().standing().limit;
    let (Learned::Limit(limit) | Learned::AtLeast(limit)) = learned;
    assert!((0.95..=1.01).contains(&(rate / limit)), "starts at {rate} of {limit}");
    world.nothing_lost().await;
}

async fn while_fluent_is_down_messages_wait_and_lose_nothing(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    place(&world, 0);
    world.settle().await;
    let front = world.fluent.front().clone();

    front.down(true);
    (1..25).for_each(|n| place(&world, n));
    world.settle().await;
    let breaker = || world.daemons[0].app.connection("main").unwrap().fluent.remote().breakers();
    assert_ne!(breaker().0, Position::Closed, "the reads have failed too often");

    let open = waiting(&world).await;
    let (asked, attempts) = (front.exchanges().len(), attempts(&open));
    let untried: Vec<_> = open.iter().filter(|row| row.attempts == 0 && row.held_since.is_none()).collect();
    assert!(untried.len() >= 5, "most of the messages were never tried: {}", untried.len());
    assert!(untried[0].detail.as_deref().unwrap().contains("left alone"), "{:?}", untried[0].detail);

    // Twenty-nine of the thirty seconds: nobody asks Fluent, and nobody loses an attempt.
    let shop = requests(&world.commercetools.front().exchanges());
    (25..30).for_each(|n| place(&world, n));
    world.pass(Duration::from_secs(29), Duration::from_secs(7)).await;
    assert_eq!(front.exchanges().len(), asked, "the breaker is open");
    assert_eq!(self::attempts(&waiting(&world).await), attempts);
    assert!(requests(&world.commercetools.front().exchanges()) >= shop + 5, "commercetools is asked all the time");

    // Ten minutes: one call each half minute sees whether Fluent is back.
    world.pass(Duration::from_secs(600), Duration::from_secs(30)).await;
    let tried = front.exchanges().len() - asked;
    assert!((10..=21).contains(&tried), "{tried} calls in ten minutes");
    assert_eq!(self::attempts(&waiting(&world).await), attempts, "what only tries is no attempt");
    assert_eq!(world.fluent_effects("createOrder", "ORDER").len(), 1);

    front.down(false);
    arrive(&world, 30).await;
    assert_eq!(world.fluent_effects("createOrder", "ORDER").len(), 30);
    assert_eq!(breaker(), (Position::Closed, Position::Closed));
    world.nothing_lost().await;
}

async fn an_observing_breaker_stops_nothing(engine: Engine) {
    let budgets = "  commercetools: { requests_per_second: 10000, in_flight: 32 }
  fluent: { requests_per_second: 10000, in_flight: 16 }
  breaker: { mode: observe }";
    let Some(world) = World::with(engine, Settings { budgets: Some(budgets.into()), ..Settings::default() }).await
    else {
        return;
    };
    let front = world.fluent.front();
    front.down(true);
    (0..12).for_each(|n| place(&world, n));
    world.settle().await;
    assert_eq!(status(&world, 0).await["budgets"][1]["breaker"]["reads"], "open");
    let asked = front.exchanges().len();
    assert!(waiting(&world).await.iter().all(|row| row.attempts > 0), "all of them were tried");
    world.advance(Duration::from_secs(7)).await;
    assert!(front.exchanges().len() >= asked + 12, "and are tried again");
    front.down(false);
    arrive(&world, 12).await;
    world.nothing_lost().await;
}

fn place(world: &World, n: usize) {
    let article = &ARTICLES[n % ARTICLES.len()];
    let number = (20_000 + n).to_string();
    world.commercetools.order(Some(&number)).customer(ADA).line(article.sku, 1, article.cent_amount).place();
}

/// Waits until so many orders are in Fluent and nothing is open. Requests are paced in real time, so
/// the clock moves beside them. Fails when for half a minute nothing arrives.
async fn arrive(world: &World, orders: usize) {
    let (mut arrived, mut patience) = (0, 0);
    while arrived < orders || !waiting(world).await.is_empty() {
        let now = refs(world).len();
        patience = if now > arrived { 0 } else { patience + 1 };
        arrived = now;
        assert!(patience < 600, "{arrived} of {orders} orders arrived; open: {:?}", waiting(world).await.first());
        for _ in 0..25 {
            tick().await;
        }
        world.clock.advance(Duration::from_secs(1));
    }
    assert!(world.parked().await.is_empty(), "{:?}", world.parked().await);
}

fn refs(world: &World) -> BTreeSet<String> {
    world.fluent_effects("createOrder", "ORDER").into_iter().map(|effect| effect.reference).collect()
}

/// Unfinished messages about orders; jobs come again and again.
async fn waiting(world: &World) -> Vec<Row> {
    let rows = world.messages(Filter::default()).await;
    let open = |row: &Row| ["ready", "running", "waiting"].contains(&row.state.as_str()) && row.lane != "bulk";
    rows.into_iter().filter(open).collect()
}

fn attempts(rows: &[Row]) -> i64 {
    rows.iter().map(|row| row.attempts).sum()
}

fn requests(exchanges: &[Exchange]) -> usize {
    exchanges.iter().filter(|exchange| exchange.path.contains("/orders")).count()
}

fn learned(world: &World, daemon: usize) -> Option<Learned> {
    world.daemons[daemon].app.connection("main").unwrap().fluent.remote().budget().standing().learned
}

async fn status(world: &World, daemon: usize) -> Value {
    let token = world.token(&["status:read"]).await;
    let client = fluent_connector::remote::http_client().unwrap();
    let url = format!("{}/api/v1/status", world.url(daemon));
    client.get(url).bearer_auth(token).send().await.unwrap().json().await.unwrap()
}
