//! Stories of products that Fluent does not know when the order comes.

use std::time::Duration;

use fluent_connector::simulator::commercetools::ADA;
use serde_json::Value;

use crate::database::Engine;
use crate::on_both_databases;
use crate::world::{Settings, World};

on_both_databases! {
    a_missing_product_is_created_from_the_line,
    a_big_order_asks_for_its_products_at_once,
    a_product_that_is_there_is_not_asked_for_again_soon,
    an_order_waits_for_its_product,
    an_order_does_not_wait_for_ever,
    a_missing_product_may_refuse_the_order,
    an_order_cancelled_while_it_waits_is_not_sent,
}

async fn a_missing_product_is_created_from_the_line(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    let id = world.commercetools.order(Some("1")).customer(ADA).line("NEW-1", 2, 1_999).line("NEW-2", 1, 500).place();
    world.settle().await;

    let order = world.arrived(&id);
    let created: Vec<String> =
        ["createStandardProduct", "createVariantProduct"].iter().flat_map(|kind| new_products(&world, kind)).collect();
    assert_eq!(created, ["NEW-1_STANDARD", "NEW-2_STANDARD", "NEW-1", "NEW-2"]);
    let ledger = world.fluent.front().ledger();
    let last = ledger.iter().rposition(|effect| effect.operation == "createVariantProduct").unwrap();
    let first = ledger.iter().position(|effect| effect.operation == "createOrder").unwrap();
    assert!(last < first, "the products come before the order");
    assert_eq!(order["items"].as_array().unwrap().len(), 2);
    assert_eq!(
        world.notes("order.product_created").await,
        ["NEW-1", "NEW-2"].map(|sku| format!("SKU {sku} was unknown to Fluent and was created from order 1."))
    );
    world.nothing_lost().await;
}

async fn a_big_order_asks_for_its_products_at_once(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    let mut order = world.commercetools.order(Some("1")).customer(ADA);
    for number in 0..120 {
        world.fluent.add_product(&format!("BULK-{number}"));
        order = order.line(&format!("BULK-{number}"), 1, 119);
    }
    let id = order.place();
    world.settle().await;

    world.arrived(&id);
    let looks = world.fluent_requests("VariantsByRef").len();
    assert!(looks <= 4, "{looks} requests for 120 products");
    world.nothing_lost().await;
}

async fn a_product_that_is_there_is_not_asked_for_again_soon(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    let looks = || world.fluent_requests("VariantsByRef").len();
    for (number, minutes, asked) in [("1", 0, 1), ("2", 9, 1), ("3", 2, 2)] {
        world.advance(Duration::from_secs(minutes * 60)).await;
        let id = world.commercetools.order(Some(number)).customer(ADA).place();
        world.settle().await;
        world.arrived(&id);
        assert_eq!(looks(), asked, "order {number}");
    }
    world.nothing_lost().await;
}

async fn an_order_waits_for_its_product(engine: Engine) {
    let Some(world) = with(engine, "wait").await else { return };
    let id = new_order(&world);
    let other = world.commercetools.order(Some("2")).customer(ADA).place();
    world.settle().await;
    assert_eq!(world.fluent_orders(&id).len(), 0);
    world.arrived(&other);
    let filter = fluent_connector::store::Filter { state: Some("waiting".into()), ..Default::default() };
    let waiting = world.messages(filter).await.remove(0);
    assert_eq!(waiting.detail.as_deref(), Some("Order 1 waits for SKU NEW-1."));
    assert_eq!(waiting.wait_for.as_deref(), Some("variant:NEW-1"));

    world.fluent.add_product("NEW-1");
    world.pass(Duration::from_secs(300), Duration::from_secs(60)).await;
    world.arrived(&id);
    assert!(new_products(&world, "createVariantProduct").is_empty(), "nothing was created for it");
    world.nothing_lost().await;
}

async fn an_order_does_not_wait_for_ever(engine: Engine) {
    let Some(world) = with(engine, "wait").await else { return };
    let id = new_order(&world);
    world.settle().await;
    world.pass(Duration::from_secs(59 * 60), Duration::from_secs(300)).await;
    assert!(world.parked().await.is_empty());
    world.pass(Duration::from_secs(6 * 60), Duration::from_secs(60)).await;
    let parked = world.the_parked().await;
    assert_eq!(parked.detail.as_deref(), Some("Order 1 waits for SKU NEW-1. It never came."));

    world.fluent.add_product("NEW-1");
    world.retry(&parked).await;
    world.arrived(&id);
    world.nothing_lost().await;
}

async fn a_missing_product_may_refuse_the_order(engine: Engine) {
    let Some(world) = with(engine, "reject").await else { return };
    let id = new_order(&world);
    world.settle().await;
    let parked = world.the_parked().await;
    assert_eq!(parked.detail.as_deref(), Some("SKU NEW-1 is unknown to Fluent."));

    world.fluent.add_product("NEW-1");
    world.retry(&parked).await;
    world.arrived(&id);
    world.nothing_lost().await;
}

async fn an_order_cancelled_while_it_waits_is_not_sent(engine: Engine) {
    let Some(world) = with(engine, "wait").await else { return };
    let id = new_order(&world);
    world.settle().await;
    world.commercetools.edit("orders", &id, |order: &mut Value| order["orderState"] = "Cancelled".into());
    world.fluent.add_product("NEW-1");
    world.pass(Duration::from_secs(600), Duration::from_secs(60)).await;

    assert!(world.fluent.orders().is_empty());
    let sentence = world.newest("fluent.create-order").await.detail.unwrap();
    assert_eq!(sentence, "Order 1 was cancelled before it was sent to Fluent.");
    world.nothing_lost().await;
}

async fn with(engine: Engine, missing: &str) -> Option<World> {
    let connection = format!("    order: {{ missing_product: {missing}, wait_limit: 1h, payment_poll: 0s }}");
    World::with(engine, Settings { connection, ..Settings::default() }).await
}

fn new_order(world: &World) -> String {
    world.commercetools.order(Some("1")).customer(ADA).line("NEW-1", 1, 1_999).payment("PAYPAL", 1_999).place()
}

/// Refs of the products that an operation created.
fn new_products(world: &World, operation: &str) -> Vec<String> {
    let ledger = world.fluent.front().ledger();
    let ours = ledger.into_iter().filter(|effect| effect.operation == operation);
    ours.map(|effect| effect.reference).collect()
}
