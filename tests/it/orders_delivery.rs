//! Stories of orders that are collected, or that go to several places.

use std::time::Duration;

use fluent_connector::simulator::commercetools::{ADA, ARTICLES};
use fluent_connector::simulator::{Fault, Rule};
use serde_json::{Value, json};

use crate::database::Engine;
use crate::on_both_databases;
use crate::world::look::cents;
use crate::world::{Settings, World};

on_both_databases! {
    a_collected_order_goes_its_way,
    a_mixed_order_goes_its_way,
    the_same_message_twice_is_one_order,
    a_lost_answer_is_no_second_mixed_order,
    an_order_that_nobody_knows_where_to_collect_is_parked,
}

fn pickup(location: &str) -> impl FnOnce(&mut Value) + 'static {
    let fields = json!({"type": {"typeId": "type", "id": "t"}, "fields": {"flPickupLocationRef": location}});
    move |order| order["shippingCustomFields"] = fields
}

/// The first line is collected, the second one sent.
fn mixed(order: &mut Value) {
    order["lineItems"][0]["custom"] =
        json!({"type": {"typeId": "type", "id": "t"}, "fields": {"flPickupLocationRef": "LOC-7"}});
}

async fn a_collected_order_goes_its_way(engine: Engine) {
    let Some(world) = automatic(engine).await else { return };
    let id =
        world.commercetools.order(Some("1")).customer(ADA).payment("PAYPAL", 2_999).changed(pickup("LOC-7")).place();
    world.settle().await;

    let order = world.arrived(&id);
    assert_eq!((&order["ref"], &order["type"]), (&json!("CC_1"), &json!("CC")));
    let choice = &order["fulfilmentChoices"][0];
    assert_eq!((&choice["type"], &choice["pickupLocationRef"]), (&json!("CC"), &json!("LOC-7")));
    assert!(choice["deliveryAddress"].is_null());
    world.pass(Duration::from_secs(600), Duration::from_secs(5)).await;
    assert_eq!(world.states(&id), ["Complete", "Delivered"]);
    assert!(world.parked().await.is_empty());
    world.nothing_lost().await;
}

async fn a_mixed_order_goes_its_way(engine: Engine) {
    let Some(world) = automatic(engine).await else { return };
    let id = two_lines(&world, "1").changed(mixed).place();
    world.settle().await;

    let order = world.arrived(&id);
    assert_eq!((&order["ref"], &order["type"]), (&json!("MULTI_1"), &json!("MULTI")));
    let choices = order["fulfilmentChoices"].as_array().unwrap();
    let kinds: Vec<&Value> = choices.iter().map(|choice| &choice["type"]).collect();
    assert_eq!(kinds, [&json!("HD"), &json!("CC")]);
    let shop = world.shop_order(&id);
    assert_eq!(cents(&choices[0]["fulfilmentPrice"]), shop["shippingInfo"]["taxedPrice"]["totalNet"]["centAmount"]);
    assert_eq!(cents(&choices[1]["fulfilmentPrice"]), 0);
    for choice in choices {
        assert_eq!(choice["items"].as_array().unwrap().len(), 1, "{choice}");
    }
    world.pass(Duration::from_secs(600), Duration::from_secs(5)).await;
    assert_eq!(world.states(&id)[0], "Complete");
    assert!(world.parked().await.is_empty());
    world.nothing_lost().await;
}

async fn the_same_message_twice_is_one_order(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    let id = two_lines(&world, "1").changed(mixed).place();
    world.settle().await;
    let created = world.commercetools.notifications().into_iter().find(|it| it["type"] == "OrderImported").unwrap();
    world.commercetools.deliver(&created).await;
    let mut again = created.clone();
    again["sequenceNumber"] = 99.into();
    world.commercetools.deliver(&again).await;
    world.settle().await;

    world.arrived(&id);
    assert_eq!(world.fluent_requests("CreateOrder").len(), 1);
    world.nothing_lost().await;
}

async fn a_lost_answer_is_no_second_mixed_order(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    let lost = Rule { fault: Fault::LostAnswer, operation: Some("CreateOrder".into()), times: Some(1), rate: 1.0 };
    world.fluent.front().fault(lost);
    let id = two_lines(&world, "1").changed(mixed).place();
    world.settle().await;
    world.advance(Duration::from_secs(2)).await;

    world.arrived(&id);
    assert_eq!(world.fluent_requests("CreateOrder").len(), 1);
    world.nothing_lost().await;
}

async fn an_order_that_nobody_knows_where_to_collect_is_parked(engine: Engine) {
    let settings = Settings {
        connection: "    order: { shipping_methods: { \"DHL Standard\": { order_type: CC } } }".into(),
        ..Settings::default()
    };
    let Some(world) = World::with(engine, settings).await else { return };
    let nowhere = world.commercetools.order(Some("1")).customer(ADA).shipping(0).place();
    let somewhere = world.commercetools.order(Some("2")).customer(ADA).shipping(0).changed(pickup("LOC-7")).place();
    world.settle().await;

    let parked = world.the_parked().await;
    assert_eq!(
        parked.detail.clone().unwrap(),
        "Order 1 is click and collect, but no pickup location is given (field flPickupLocationRef)."
    );
    world.arrived(&somewhere);
    world.commercetools.edit("orders", &nowhere, pickup("LOC-8"));
    world.settle().await;
    world.retry(&parked).await;
    assert_eq!(world.arrived(&nowhere)["fulfilmentChoices"][0]["pickupLocationRef"], "LOC-8");
    world.nothing_lost().await;
}

fn two_lines(world: &World, number: &str) -> fluent_connector::simulator::commercetools::OrderDraft {
    let [first, second, ..] = ARTICLES;
    let total = 2 * first.cent_amount + second.cent_amount + 495;
    let draft = world.commercetools.order(Some(number)).customer(ADA).shipping(495).payment("CREDIT_CARD", total);
    draft.line(first.sku, 2, first.cent_amount).line(second.sku, 1, second.cent_amount)
}

async fn automatic(engine: Engine) -> Option<World> {
    World::with(engine, Settings { automatic: true, ..Settings::default() }).await
}
