//! Stories of orders that are not for us, or not yet.

use std::time::Duration;

use fluent_connector::simulator::commercetools::ADA;
use serde_json::{Value, json};

use crate::database::Engine;
use crate::on_both_databases;
use crate::world::{Settings, World};

on_both_databases! {
    an_order_is_held_until_it_is_paid,
    an_order_is_held_until_it_is_released,
    an_old_order_is_left_alone,
    since_the_first_start_survives_a_restart,
    an_order_of_another_store_is_left_alone,
    orders_switched_off_are_left_alone,
    orders_in_other_states_are_left_alone,
    an_order_cancelled_before_it_was_sent_is_not_sent,
}

async fn an_order_is_held_until_it_is_paid(engine: Engine) {
    let Some(world) = with(engine, "    order: { hold_until_payment_state: [Paid] }").await else { return };
    let id = world.commercetools.order(Some("10001")).customer(ADA).place();
    let paid = world.commercetools.order(Some("10002")).customer(ADA).payment("PAYPAL", 2_999).place();
    world.settle().await;
    world.arrived(&paid);
    assert!(world.fluent_orders(&id).is_empty());
    let waits = world.sentences("commercetools.order-created").await;
    assert!(waits.contains(&"Order 10001 waits until its payment state is Paid.".to_owned()), "{waits:?}");

    world.commercetools.edit("orders", &id, |order| order["paymentState"] = "BalanceDue".into());
    world.settle().await;
    assert!(world.fluent_orders(&id).is_empty());
    world.commercetools.edit("orders", &id, |order| order["paymentState"] = "Paid".into());
    world.settle().await;
    world.arrived(&id);
    world.nothing_lost().await;
}

async fn an_order_is_held_until_it_is_released(engine: Engine) {
    let Some(world) = with(engine, "    order: { hold_until_states: [released, urgent] }").await else { return };
    let state = |key: &str| {
        let state = json!({"key": key, "type": "OrderState", "initial": true});
        world.commercetools.put("states", state)["id"].clone()
    };
    let (checked, released) = (state("checked"), state("released"));
    let id = world.commercetools.order(Some("10001")).customer(ADA).place();
    let set = |state: &Value| {
        let reference = json!({"typeId": "state", "id": state});
        world.commercetools.edit("orders", &id, |order| order["state"] = reference);
    };
    world.settle().await;
    let waits = world.sentences("commercetools.order-created").await;
    assert!(waits.contains(&"Order 10001 waits until its state is released or urgent.".to_owned()), "{waits:?}");
    set(&checked);
    world.settle().await;
    assert!(world.fluent_orders(&id).is_empty());
    set(&released);
    world.settle().await;
    world.arrived(&id);
    world.nothing_lost().await;
}

async fn an_old_order_is_left_alone(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    let yesterday = |order: &mut Value| order["createdAt"] = "2026-06-14T23:59:59.000Z".into();
    world.commercetools.order(Some("1")).customer(ADA).changed(yesterday).place();
    world.settle().await;

    ignored(&world, "Order 1 is older than 2026-06-15T10:00:00.000Z, from which on orders are taken.").await;
    world.nothing_lost().await;
}

async fn since_the_first_start_survives_a_restart(engine: Engine) {
    let Some(mut world) = World::new(engine).await else { return };
    world.advance(Duration::from_secs(3600)).await;
    let before = json!(fluent_connector::clock::rfc3339(world.clock.now() - 60_000));
    world.clock.advance(Duration::from_secs(60));
    world.stop_and_start(0).await;
    let id =
        world.commercetools.order(Some("1")).customer(ADA).changed(move |order| order["createdAt"] = before).place();
    world.settle().await;

    world.arrived(&id);
    world.nothing_lost().await;
}

async fn an_order_of_another_store_is_left_alone(engine: Engine) {
    let Some(world) = with(engine, "    stores: [de]").await else { return };
    let store = |key: &'static str| move |order: &mut Value| order["store"] = json!({"typeId": "store", "key": key});
    let ours = world.commercetools.order(Some("1")).customer(ADA).changed(store("de")).place();
    world.commercetools.order(Some("2")).customer(ADA).changed(store("fr")).place();
    world.commercetools.order(Some("3")).customer(ADA).place();
    world.settle().await;

    world.arrived(&ours);
    assert_eq!(world.fluent.orders().len(), 1);
    let sentences = world.sentences("commercetools.order-created").await;
    for number in [2, 3] {
        assert!(sentences.contains(&format!("Order {number} belongs to another store.")), "{sentences:?}");
    }
    world.nothing_lost().await;
}

async fn orders_switched_off_are_left_alone(engine: Engine) {
    let Some(world) = with(engine, "    order: { enabled: false }").await else { return };
    world.commercetools.order(Some("1")).customer(ADA).place();
    world.settle().await;

    ignored(&world, "Orders are switched off for this connection.").await;
    world.nothing_lost().await;
}

async fn orders_in_other_states_are_left_alone(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    world.commercetools.order(Some("1")).customer(ADA).changed(|order| order["orderState"] = "Complete".into()).place();
    world.settle().await;

    ignored(&world, "Order 1 is Complete; orders in that state are not taken.").await;
    world.nothing_lost().await;
}

async fn an_order_cancelled_before_it_was_sent_is_not_sent(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    world.fluent.front().down(true);
    let id = world.commercetools.order(Some("1")).customer(ADA).payment("PAYPAL", 2_999).place();
    world.settle().await;
    world.commercetools.edit("orders", &id, |order| order["orderState"] = "Cancelled".into());
    world.fluent.front().down(false);
    world.pass(Duration::from_secs(600), Duration::from_secs(10)).await;

    assert!(world.fluent.orders().is_empty());
    assert!(world.fluent.customers().is_empty());
    let create = world.newest("fluent.create-order").await;
    assert_eq!(create.reason.as_deref(), Some("superseded"));
    assert_eq!(create.detail.unwrap(), "Order 1 was cancelled before it was sent to Fluent.");
    assert!(world.fluent.events().is_empty(), "what Fluent never had needs no cancellation");
    world.nothing_lost().await;
}

async fn with(engine: Engine, connection: &str) -> Option<World> {
    World::with(engine, Settings { connection: connection.into(), ..Settings::default() }).await
}

async fn ignored(world: &World, why: &str) {
    let row = world.newest("commercetools.order-created").await;
    assert_eq!(
        (row.state.as_str(), row.reason.as_deref(), row.detail.as_deref()),
        ("skipped", Some("ignored"), Some(why))
    );
    assert!(world.fluent.orders().is_empty() && world.fluent.customers().is_empty());
}
