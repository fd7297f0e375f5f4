//! Stories of a person who stops all writes of a connection: intake goes on, neither platform is
//! changed, and nothing is lost or doubled once they are resumed.

use std::time::Duration;

use fluent_connector::simulator::Traffic;
use fluent_connector::store::{Filter, Row};
use serde_json::{Value, json};

use crate::caller::{Reply, Request};
use crate::database::Engine;
use crate::inventory;
use crate::on_both_databases;
use crate::world::World;

on_both_databases! {
    nothing_is_written_until_it_is_resumed_and_then_all_of_it_once,
    a_stop_with_an_end_ends_by_itself,
    a_page_of_stock_that_was_stopped_goes_on,
    what_cannot_be_stopped_is_refused,
}

const MINUTE: Duration = Duration::from_secs(60);

async fn ask(world: &World, method: &'static str, path: &str, body: &Value) -> Reply {
    let token = world.token(&["jobs:write", "status:read"]).await;
    let request = Request::new(method, path).body(body.to_string()).header("Content-Type", "application/json");
    request.bearer(&token).send(&world.url(0)).await
}

async fn pause(world: &World, more: Value) -> Value {
    let mut body = json!({"writes": true, "reason": "the shop moves"});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let reply = ask(world, "POST", "/api/v1/connections/main/pause", &body).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    reply.body
}

async fn resume(world: &World) -> Value {
    let reply = ask(world, "POST", "/api/v1/connections/main/resume", &json!({})).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    reply.body
}

async fn stop_of(world: &World) -> Value {
    ask(world, "GET", "/api/v1/connections/main", &Value::Null).await.body["writes_stopped"].clone()
}

/// How many effects each platform has seen that are not its own doing.
fn effects(world: &World) -> [usize; 2] {
    let fronts = [world.commercetools.front(), world.fluent.front()];
    fronts.map(|front| front.ledger().iter().filter(|effect| effect.operation != "workflow").count())
}

/// What waits for the end of the stop.
async fn stopped(world: &World) -> Vec<Row> {
    let rows = world.messages(Filter { state: Some("waiting".into()), ..Filter::default() }).await;
    rows.into_iter().filter(|row| row.wait_for.as_deref() == Some("writes")).collect()
}

async fn readiness(world: &World) -> (u16, Value) {
    let reply = Request::new("GET", "/readyz").send(&world.url(0)).await;
    (reply.status, reply.body["connections_without_writes"].clone())
}

async fn nothing_is_written_until_it_is_resumed_and_then_all_of_it_once(engine: Engine) {
    let Some(mut world) = World::new(engine).await else { return };
    let known = world.commercetools.order(Some("1")).place();
    world.settle().await;
    world.arrived(&known);
    let updates = world.updates(&known);
    assert_eq!(readiness(&world).await, (200, json!(0)));

    let said = pause(&world, json!({})).await;
    assert_eq!(said["writes_stopped"]["reason"], "the shop moves");
    let before = effects(&world);
    let new: Vec<String> = ["2", "3"].map(|number| world.commercetools.order(Some(number)).place()).into();
    world.fluent.set_order_status("HD_1", "BOOKED");
    world.settle().await;
    let webhooks = world.fluent.webhooks();
    let last = webhooks.last().expect("the webhook was sent");
    assert_eq!((&last["outcome"], &last["status"]), (&json!("delivered"), &json!(200)));
    assert_eq!(effects(&world), before);
    assert_eq!(stop_of(&world).await["waiting"], 3, "two orders and a status");
    assert_eq!(readiness(&world).await, (200, json!(1)));

    world.restart().await;
    world.pass(150 * MINUTE, 10 * MINUTE).await;
    assert_eq!(effects(&world), before, "neither a restart nor the polls change that");
    assert_eq!(readiness(&world).await, (200, json!(1)));
    let waiting = stopped(&world).await;
    assert!(waiting.len() >= 3, "{waiting:#?}");
    assert!(waiting.iter().all(|row| row.attempts == 0), "no attempt counts: {waiting:#?}");
    assert_eq!(stop_of(&world).await["waiting"], waiting.len());

    assert_eq!(resume(&world).await["writes_stopped"], Value::Null);
    world.settle().await;
    world.pass(60 * MINUTE, 10 * MINUTE).await;
    for id in &new {
        world.arrived(id);
        assert_eq!(world.updates(id), 1, "the link");
    }
    assert_eq!(world.states(&known)[0], "Confirmed");
    assert_eq!(world.updates(&known), updates + 1);
    assert_eq!(world.fluent_effects("createOrder", "ORDER").len(), 3, "each once");
    let after = effects(&world);
    resume(&world).await;
    world.pass(60 * MINUTE, 10 * MINUTE).await;
    assert_eq!(effects(&world), after);
    assert!(stopped(&world).await.is_empty());
    inventory::quiet(&world).await;
}

async fn a_stop_with_an_end_ends_by_itself(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    // Ten minutes from the beginning of a story.
    pause(&world, json!({"until": "2026-06-15T10:10:00Z"})).await;
    let before = effects(&world);
    let id = world.commercetools.order(Some("1")).place();
    world.settle().await;
    world.pass(9 * MINUTE, MINUTE).await;
    assert_eq!(effects(&world), before);
    assert_eq!(stopped(&world).await.len(), 1);
    world.pass(2 * MINUTE, MINUTE / 4).await;
    world.arrived(&id);
    assert_eq!(stop_of(&world).await, Value::Null);
    assert_eq!(world.fluent_effects("createOrder", "ORDER").len(), 1);
    inventory::quiet(&world).await;
}

async fn a_page_of_stock_that_was_stopped_goes_on(engine: Engine) {
    let all = inventory::many(900);
    let positions = inventory::borrowed(&all);
    let Some(mut world) = inventory::world(engine, inventory::pair("enabled: false"), &positions).await else { return };
    world.set(inventory::pair(""));
    world.commercetools.front().traffic(Traffic { latency: Duration::from_millis(30), ..Traffic::default() });
    world.stop_daemon().await;
    world.start_daemon_again().await;
    world.until("some entries are written", async || inventory::writes(&world).len() >= 50).await;
    pause(&world, json!({})).await;
    let half = inventory::writes(&world).len();
    assert!(half < 900, "it was stopped too late to show anything");
    let before = effects(&world);
    world.commercetools.front().traffic(Traffic::default());
    world.settle().await;
    world.pass(10 * MINUTE, MINUTE).await;
    world.restart().await;
    world.pass(70 * MINUTE, 10 * MINUTE).await;
    assert_eq!(effects(&world), before);
    resume(&world).await;
    world.settle().await;
    let expected = positions.iter().map(|(sku, quantity)| ((*sku).to_owned(), *quantity)).collect();
    assert_eq!(inventory::entries(&world), expected);
    world.pass(30 * MINUTE, 5 * MINUTE).await;
    assert_eq!(inventory::writes(&world).len(), 900, "each once");
    inventory::quiet(&world).await;
}

async fn what_cannot_be_stopped_is_refused(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    for (name, body, status) in [
        ("nowhere", json!({"writes": true, "reason": "r"}), 404),
        ("main", json!({"writes": false, "reason": "r"}), 422),
        ("main", json!({"writes": true, "reason": "r", "until": "2026-06-15T09:59:59Z"}), 422),
        ("main", json!({"writes": true, "reason": ""}), 422),
    ] {
        let reply = ask(&world, "POST", &format!("/api/v1/connections/{name}/pause"), &body).await;
        assert_eq!(reply.status, status, "{body}: {}", reply.body);
    }
    assert_eq!(stop_of(&world).await, Value::Null);
    let id = world.commercetools.order(Some("1")).place();
    world.settle().await;
    world.arrived(&id);
}
