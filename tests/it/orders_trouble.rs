//! Stories of orders in trouble: poison, lost answers, and looking before doing it again.

use std::time::Duration;

use fluent_connector::simulator::commercetools::{ADA, ARTICLES};
use fluent_connector::simulator::{Exchange, Fault, Rule};
use serde_json::Value;

use crate::database::Engine;
use crate::on_both_databases;
use crate::world::{START, Settings, World};

on_both_databases! {
    poison_is_parked_and_arrives_after_its_repair,
    an_order_without_address_is_parked,
    a_lost_answer_is_no_second_order,
    an_error_after_the_write_is_no_second_order,
    a_second_create_waits_for_three_looks,
    the_looks_begin_with_the_lost_answer,
    a_create_that_never_works_slows_down,
    cancelled_between_a_lost_answer_and_the_look,
    a_lost_answer_is_no_second_customer,
    a_lost_answer_is_no_second_update,
    an_order_deleted_before_it_was_sent,
    an_order_deleted_without_a_word_before_it_was_sent,
    an_order_deleted_after_it_was_sent,
    a_product_that_fluent_has_twice_is_named,
    a_payment_of_another_order_is_named,
    tries_that_failed_otherwise_are_no_looks,
}

async fn poison_is_parked_and_arrives_after_its_repair(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    let before = order(&world, "1");
    let poison = world.commercetools.order(Some("2")).customer(ADA).without_sku().payment("CREDIT_CARD", 2999).place();
    let after = order(&world, "3");
    world.settle().await;

    let parked = world.the_parked().await;
    let line = world.shop_order(&poison)["lineItems"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(parked.detail.as_deref(), Some(format!("Line {line} of order 2 has no SKU.").as_str()));
    assert_eq!(parked.attempts, 1, "poison is not tried again and again");
    for id in [&before, &after] {
        world.arrived(id);
    }
    assert!(world.fluent_orders(&poison).is_empty());

    let repair = |order: &mut Value| order["lineItems"][0]["variant"]["sku"] = ARTICLES[0].sku.into();
    world.commercetools.edit("orders", &poison, repair);
    world.settle().await;
    world.retry(&parked).await;
    world.arrived(&poison);
    assert!(world.parked().await.is_empty());
    world.nothing_lost().await;
}

async fn an_order_without_address_is_parked(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    let homeless = |order: &mut Value| drop(order.as_object_mut().unwrap().remove("shippingAddress"));
    world.commercetools.order(Some("1")).customer(ADA).changed(homeless).place();
    world.settle().await;

    let sentence = world.the_parked().await.detail.unwrap();
    assert_eq!(sentence, "Order 1 is a home delivery without a shipping address.");
    assert!(world.fluent.customers().is_empty(), "nothing is created for what cannot be sent");
    world.nothing_lost().await;
}

async fn a_lost_answer_is_no_second_order(engine: Engine) {
    after_the_write(engine, Fault::LostAnswer).await;
}

async fn an_error_after_the_write_is_no_second_order(engine: Engine) {
    after_the_write(engine, Fault::ErrorAfter(503)).await;
}

async fn after_the_write(engine: Engine, fault: Fault) {
    let Some(world) = World::new(engine).await else { return };
    world.fluent.front().fault(once(fault, "CreateOrder"));
    let id = order(&world, "1");
    world.settle().await;
    world.advance(Duration::from_secs(2)).await;

    world.arrived(&id);
    assert_eq!(world.fluent_requests("CreateOrder").len(), 1);
    assert_eq!(world.fluent.transactions().len(), 1);
    assert_eq!(world.newest("fluent.create-order").await.reason.as_deref(), Some("adopted"));
    world.nothing_lost().await;
}

async fn a_payment_of_another_order_is_named(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    let first = world.commercetools.order(Some("1")).customer(ADA).payment("CREDIT_CARD", 2999).place();
    world.settle().await;
    let payments = world.shop_order(&first)["paymentInfo"].clone();
    let same = move |order: &mut Value| order["paymentInfo"] = payments.clone();
    let second = world.commercetools.order(Some("2")).customer(ADA).changed(same).place();
    world.pass(Duration::from_secs(600), Duration::from_secs(20)).await;

    world.arrived(&first);
    assert!(world.fluent_orders(&second).is_empty());
    let parked = world.the_parked().await;
    let sentence = parked.detail.unwrap();
    let reference = world.fluent.transactions()[0]["ref"].as_str().unwrap().to_owned();
    assert!(sentence.contains("Fluent has no order") && sentence.contains(&reference), "{sentence}");
    assert_eq!(parked.attempts, 4, "the order may still have become visible");
    world.nothing_lost().await;
}

/// Whether Fluent shows an order is not known better after it did not answer at all.
async fn tries_that_failed_otherwise_are_no_looks(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    let first = world.commercetools.order(Some("1")).customer(ADA).payment("CREDIT_CARD", 2999).place();
    world.settle().await;
    let payments = world.shop_order(&first)["paymentInfo"].clone();
    let fault = Rule { times: Some(3), ..once(Fault::ErrorBefore(503), "OrdersByRef") };
    world.fluent.front().fault(fault);
    let same = move |order: &mut Value| order["paymentInfo"] = payments.clone();
    world.commercetools.order(Some("2")).customer(ADA).changed(same).place();
    world.pass(Duration::from_secs(1800), Duration::from_secs(30)).await;

    assert_eq!(world.the_parked().await.attempts, 5, "three without an answer, one look, and one more");
    assert_eq!(world.fluent_requests("CreateOrder").len(), 3);
    world.nothing_lost().await;
}

async fn a_second_create_waits_for_three_looks(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    // The platform did nothing, but its answer does not tell.
    world.fluent.front().fault(once(Fault::ErrorBefore(500), "CreateOrder"));
    let id = order(&world, "1");
    world.settle().await;
    world.pass(Duration::from_secs(60), Duration::from_secs(1)).await;

    world.arrived(&id);
    assert_eq!(seconds(&world.fluent_requests("OrdersByRef")), [0, 2, 12, 42]);
    assert_eq!(seconds(&world.fluent_requests("CreateOrder")), [0, 42]);
    world.nothing_lost().await;
}

async fn the_looks_begin_with_the_lost_answer(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    world.fluent.front().down(true);
    let id = order(&world, "1");
    world.settle().await;
    world.pass(Duration::from_secs(120), Duration::from_secs(10)).await;
    world.fluent.front().down(false);
    world.fluent.front().fault(once(Fault::ErrorBefore(500), "CreateOrder"));
    world.pass(Duration::from_secs(300), Duration::from_secs(2)).await;

    world.arrived(&id);
    let [first, second] = seconds(&world.fluent_requests("CreateOrder"))[..] else { panic!("not two creates") };
    assert_eq!(second - first, 42, "being late is no reason to be hasty");
    world.nothing_lost().await;
}

async fn a_create_that_never_works_slows_down(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    let never = Rule { fault: Fault::ErrorBefore(500), operation: Some("CreateOrder".into()), times: None, rate: 1.0 };
    world.fluent.front().fault(never);
    let id = order(&world, "1");
    world.settle().await;
    world.pass(Duration::from_secs(4 * 3600), Duration::from_secs(30)).await;
    let tries = world.fluent_requests("CreateOrder").len();
    assert!((3..=10).contains(&tries), "{tries} tries in four hours");

    world.fluent.front().heal();
    world.pass(Duration::from_secs(2 * 3600), Duration::from_secs(60)).await;
    world.arrived(&id);
    world.nothing_lost().await;
}

/// The order is in Fluent, though nobody here knows: it must not be forgotten there.
async fn cancelled_between_a_lost_answer_and_the_look(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    world.fluent.front().fault(once(Fault::LostAnswer, "CreateOrder"));
    let id = order(&world, "1");
    world.settle().await;
    world.commercetools.edit("orders", &id, |order| order["orderState"] = "Cancelled".into());
    world.advance(Duration::from_secs(2)).await;

    world.arrived(&id);
    world.nothing_lost().await;
}

async fn a_lost_answer_is_no_second_customer(engine: Engine) {
    for fault in [Fault::LostAnswer, Fault::ErrorAfter(500)] {
        let Some(world) = World::new(engine).await else { return };
        world.fluent.front().fault(once(fault, "CreateCustomer"));
        let id = order(&world, "1");
        world.settle().await;
        let waiting = world.newest("fluent.create-order").await.detail.unwrap();
        assert!(waiting.starts_with("Order 1 waits for its customer; "), "{waiting}");
        world.advance(Duration::from_secs(40)).await;

        world.arrived(&id);
        assert_eq!(world.fluent.customers().len(), 1);
        world.nothing_lost().await;
    }
}

async fn a_lost_answer_is_no_second_update(engine: Engine) {
    for fault in [Fault::LostAnswer, Fault::ErrorAfter(500), Fault::ErrorAfter(504)] {
        let Some(world) = World::new(engine).await else { return };
        world.commercetools.front().fault(once(fault, "POST /orders/{id}"));
        let id = order(&world, "1");
        world.settle().await;

        world.arrived(&id);
        assert_eq!(world.updates(&id), 1, "the look shows that it was done");
        assert_eq!(world.shop_requests("POST /orders/{id}").len(), 1);
        assert_eq!(world.newest("commercetools.update-order").await.attempts, 1, "solved within one attempt");
        world.nothing_lost().await;
    }
}

async fn an_order_deleted_before_it_was_sent(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    world.fluent.front().down(true);
    let id = order(&world, "1");
    world.settle().await;
    world.commercetools.delete("orders", &id);
    world.fluent.front().down(false);
    world.pass(Duration::from_secs(3600), Duration::from_secs(60)).await;

    let create = world.newest("fluent.create-order").await;
    assert_eq!((create.state.as_str(), create.reason.as_deref()), ("skipped", Some("ignored")));
    assert_eq!(create.detail.unwrap(), "The order no longer exists in commercetools.");
    assert!(world.parked().await.is_empty() && world.fluent.orders().is_empty());
    world.nothing_lost().await;
}

async fn an_order_deleted_without_a_word_before_it_was_sent(engine: Engine) {
    let connection = "    order: { payment_poll: 0s }".to_owned();
    let settings = Settings { without_push: true, connection, ..Settings::default() };
    let Some(world) = World::with(engine, settings).await else { return };
    world.fluent.front().down(true);
    let id = order(&world, "1");
    world.pass(Duration::from_secs(120), Duration::from_secs(60)).await;
    world.commercetools.delete("orders", &id);
    world.fluent.front().down(false);
    world.pass(Duration::from_secs(3600), Duration::from_secs(60)).await;

    // Its create, and what a second look found of it meanwhile, if it did.
    let parked = world.parked().await;
    assert!(!parked.is_empty());
    for row in parked {
        assert_eq!(row.detail, Some(format!("commercetools announced order {id} but does not return it.")));
    }
    assert!(world.fluent.orders().is_empty());
    world.nothing_lost().await;
}

async fn an_order_deleted_after_it_was_sent(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    let id = order(&world, "1");
    world.settle().await;
    world.arrived(&id);
    world.commercetools.delete("orders", &id);
    world.fluent.set_order_status("HD_1", "BOOKED");
    world.settle().await;

    let sentence = world.the_parked().await.detail.unwrap();
    assert_eq!(sentence, "commercetools Order 1 no longer exists; Fluent order HD_1 was not transferred.");
    world.nothing_lost().await;
}

async fn a_product_that_fluent_has_twice_is_named(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    world.fluent.graphql_fault("CreateOrder", "C0128E", 1);
    let id = order(&world, "1");
    world.settle().await;

    let parked = world.the_parked().await;
    let sentence = parked.detail.clone().unwrap();
    assert!(sentence.starts_with("Fluent has several products with the same ref: "), "{sentence}");
    assert!(sentence.ends_with(" Remove the duplicate in Fluent, then retry."), "{sentence}");
    world.retry(&parked).await;
    world.arrived(&id);
    world.nothing_lost().await;
}

fn order(world: &World, number: &str) -> String {
    world.commercetools.order(Some(number)).customer(ADA).payment("CREDIT_CARD", 2999).place()
}

fn once(fault: Fault, operation: &str) -> Rule {
    Rule { fault, operation: Some(operation.into()), times: Some(1), rate: 1.0 }
}

/// When requests came, in seconds since the world began.
fn seconds(exchanges: &[Exchange]) -> Vec<i64> {
    exchanges.iter().map(|exchange| (exchange.at - START) / 1000).collect()
}
