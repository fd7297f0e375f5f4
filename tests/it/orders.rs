//! Stories of orders: there and back.

use std::time::Duration;

use fluent_connector::simulator::commercetools::{ADA, ARTICLES};
use serde_json::json;

use crate::database::Engine;
use crate::on_both_databases;
use crate::world::World;

on_both_databases! {
    an_order_reaches_fluent_and_its_status_comes_back,
}

async fn an_order_reaches_fluent_and_its_status_comes_back(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    let [first, second, ..] = ARTICLES;
    let id = world
        .commercetools
        .order(Some("10001"))
        .customer(ADA)
        .line(first.sku, 2, first.cent_amount)
        .line(second.sku, 1, second.cent_amount)
        .shipping(495)
        .payment("CREDIT_CARD", 2 * first.cent_amount + second.cent_amount + 495)
        .place();
    world.settle().await;

    let order = world.fluent.order("HD_10001").expect("the order is in Fluent");
    let shop = world.shop_order(&id);
    let cents = |value: &serde_json::Value| (value.as_f64().unwrap() * 100.0).round() as i64;
    assert_eq!(cents(&order["totalPrice"]), shop["taxedPrice"]["totalNet"]["centAmount"].as_i64().unwrap());
    assert_eq!(cents(&order["totalTaxPrice"]), shop["taxedPrice"]["totalTax"]["centAmount"].as_i64().unwrap());
    assert_eq!(world.fluent.transactions().len(), 1);
    assert_eq!(shop["syncInfo"][0]["externalId"], order["id"]);

    for (status, states) in [
        ("RECEIVED", json!(["Open", "Pending"])),
        ("BOOKED", json!(["Confirmed", "Pending"])),
        ("PICK_PACK", json!(["Confirmed", "Pending"])),
        ("AWAITING_COURIER_COLLECTION", json!(["Confirmed", "Ready"])),
        ("COMPLETE", json!(["Complete", "Shipped"])),
    ] {
        world.fluent.set_order_status("HD_10001", status);
        world.settle().await;
        let shop = world.shop_order(&id);
        assert_eq!(json!([shop["orderState"], shop["shipmentState"]]), states, "after {status}");
    }
    world.pass(Duration::from_secs(600), Duration::from_secs(60)).await;
    assert_eq!(world.fluent_effects("createOrder", "ORDER").len(), 1);
    assert!(world.parked().await.is_empty());
    world.nothing_lost().await;
}
