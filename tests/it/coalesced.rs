//! Stories of one Order that several flows write: one projection, one update (F 1.4, 1.7).

use std::time::Duration;

use fluent_connector::simulator::Traffic;
use fluent_connector::simulator::commercetools::ADA;
use fluent_connector::simulator::fluent::WebhookFaults;
use fluent_connector::store::Filter;
use serde_json::{Value, json};

use crate::database::Engine;
use crate::on_both_databases;
use crate::world::shipped::{ORDER, Shipped};
use crate::world::{Settings, World};

on_both_databases! {
    what_gathered_meanwhile_goes_out_as_one_update,
    one_bad_slice_holds_back_no_other,
    more_actions_than_one_update_takes,
    a_foreign_writer_in_the_middle_of_everything,
    an_order_that_was_deleted,
    an_order_that_was_imported_anew,
    an_order_that_is_collected,
    an_order_of_several_ways,
    a_line_that_two_deliveries_share,
}

async fn what_gathered_meanwhile_goes_out_as_one_update(engine: Engine) {
    let Some(order) = Shipped::new(engine, "").await else { return };
    let (world, before) = (&order.world, order.updates());
    // The first one is still under way when all the others are heard of.
    world.commercetools.front().traffic(Traffic { limit: None, latency: Duration::from_secs(2) });
    let reads = world.fluent.front().received("OrderStatuses");
    world.fluent.set_order_status(ORDER, "PICK_PACK");
    world.until("it is under way", async || world.fluent.front().received("OrderStatuses") > reads).await;
    let fulfilment = order.fulfilment("FULFILLED");
    order.consignment(&fulfilment, &[(&order.shirt, 3)], "ACTIVE_LODGED");
    order.consignment(&fulfilment, &[(&order.mug, 1)], "ACTIVE_LODGED");
    world.fluent.set_order_status(ORDER, "AWAITING_COURIER_COLLECTION");
    let heard = async || world.fluent.pending_webhooks() == 0 && !is_any(world, &["ready", "running"], "fluent.").await;
    world.until("all are heard of", heard).await;
    world.commercetools.front().traffic(Traffic::default());
    world.settle().await;

    assert_eq!(world.states(&order.id), ["Confirmed", "Ready"]);
    assert_eq!((order.deliveries().len(), order.metadata(&order.mug).is_array()), (2, true));
    assert!(order.updates() <= before + 3, "{} updates for seven events", order.updates() - before);
    let sent = world.shop_requests("POST /orders/{id}");
    let together = sent.iter().any(|exchange| {
        let actions = exchange.request["actions"].as_array().unwrap();
        let has = |name: &str| actions.iter().any(|action| action["action"] == name);
        has("addDelivery") && has("changeShipmentState")
    });
    assert!(together, "details and states in one body");
    world.nothing_lost().await;
}

/// Is any message of these routes in one of these states?
async fn is_any(world: &World, states: &[&str], routes: &str) -> bool {
    let rows = world.messages(Filter::default()).await;
    rows.iter().any(|row| row.route.starts_with(routes) && states.contains(&row.state.as_str()))
}

async fn one_bad_slice_holds_back_no_other(engine: Engine) {
    let Some(order) = Shipped::new(engine, "").await else { return };
    let world = &order.world;
    let types = world.commercetools.documents("types");
    let kind = types.iter().find(|kind| kind["key"] == "flArticle").unwrap()["id"].as_str().unwrap().to_owned();
    world.commercetools.delete("types", &kind);
    world.commercetools.front().traffic(Traffic { limit: None, latency: Duration::from_millis(200) });
    world.fluent.set_order_status(ORDER, "RECEIVED");
    world.breathe(40).await;
    let fulfilment = order.fulfilment("FULFILLED");
    let (consignment, _) = order.consignment(&fulfilment, &[(&order.shirt, 3)], "ACTIVE_LODGED");
    world.fluent.set_order_status(ORDER, "AWAITING_COURIER_COLLECTION");
    world.settle().await;

    assert_eq!(world.states(&order.id), ["Confirmed", "Ready"]);
    assert!(order.metadata(&order.shirt).is_array());
    assert!(order.deliveries().is_empty());
    let parked = world.parked().await;
    let bad: Vec<_> = parked.iter().filter(|row| row.key.starts_with("consignment:")).collect();
    assert_eq!(bad.len(), 1, "{parked:#?}");
    let sentence = bad[0].detail.as_deref().unwrap();
    assert!(sentence.contains("flArticle") && sentence.contains(&format!("consignment:{consignment}")), "{sentence}");
    // The operator provisions the Type and retries.
    let field = |name: &str| json!({"name": name, "label": {"en": name}, "required": false, "type": {"name": "String"}, "inputHint": "SingleLine"});
    world.commercetools.put(
        "types",
        json!({"key": "flArticle", "name": {"en": "a"}, "resourceTypeIds": ["order-parcel"],
        "fieldDefinitions": [field("flTrackingUrl"), field("flArticleRef")]}),
    );
    for row in &parked {
        world.retry(row).await;
    }
    assert_eq!(order.units(&order.delivery()), [3, 0]);
    assert!(world.parked().await.is_empty());
    world.nothing_lost().await;
}

async fn more_actions_than_one_update_takes(engine: Engine) {
    let Some(order) = Shipped::new(engine, "    order_update: { max_actions: 2 }").await else { return };
    let (world, before) = (&order.world, order.updates());
    world.fluent.webhook_faults(WebhookFaults { drop: 1.0, ..WebhookFaults::default() });
    world.fluent.set_order_status(ORDER, "PICK_PACK");
    world.fluent.webhook_faults(WebhookFaults::default());
    order.fulfilment("FULFILLED");
    world.settle().await;

    assert_eq!(world.states(&order.id), ["Confirmed", "Pending"]);
    assert!(order.metadata(&order.shirt).is_array() && order.metadata(&order.mug).is_array());
    let sent = world.shop_requests("POST /orders/{id}");
    let bodies: Vec<Vec<&str>> = sent[sent.len() - 2..]
        .iter()
        .map(|exchange| {
            let actions = exchange.request["actions"].as_array().unwrap();
            actions.iter().map(|action| action["action"].as_str().unwrap()).collect()
        })
        .collect();
    let details = vec!["setLineItemCustomType", "setLineItemCustomType"];
    assert_eq!(bodies, [details, vec!["changeShipmentState", "changeOrderState"]], "the states come last");
    assert_eq!(order.updates(), before + 2);
    world.nothing_lost().await;
}

async fn a_foreign_writer_in_the_middle_of_everything(engine: Engine) {
    let Some(order) = Shipped::new(engine, "").await else { return };
    let world = &order.world;
    world.commercetools.front().traffic(Traffic { limit: None, latency: Duration::from_millis(10) });
    let fulfilment = order.fulfilment("ASSIGNED");
    let (consignment, _) = order.consignment(&fulfilment, &[(&order.shirt, 3)], "PROCESSING");
    for round in 0..10 {
        let touch = |shop: &mut Value| shop["purchaseOrderNumber"] = round.to_string().into();
        world.commercetools.edit("orders", &order.id, touch);
        world.fluent.set_status(&fulfilment, if round % 2 == 0 { "FULFILLED" } else { "AWAITING_COURIER_COLLECTION" });
        world.fluent.set_status(&consignment, if round % 2 == 0 { "BOOKED" } else { "ACTIVE_LODGED" });
        world.breathe(5).await;
    }
    world.settle().await;

    assert_eq!(order.delivery()["custom"]["fields"]["flConsignmentStatus"], "ACTIVE_LODGED");
    assert_eq!(order.metadata(&order.mug)[0]["fulfilmentStatus"], "AWAITING_COURIER_COLLECTION");
    assert_eq!(world.shop_order(&order.id)["purchaseOrderNumber"], "9");
    assert!(world.parked().await.is_empty());
    world.nothing_lost().await;
}

async fn an_order_that_was_deleted(engine: Engine) {
    let Some(order) = Shipped::new(engine, "").await else { return };
    let world = &order.world;
    world.commercetools.delete("orders", &order.id);
    world.fluent.set_order_status(ORDER, "BOOKED");
    world.settle().await;
    let parked = world.the_parked().await;
    assert_eq!(
        parked.detail.as_deref(),
        Some("commercetools Order 1 no longer exists; Fluent order HD_1 was not transferred.")
    );
    // What happens to it from now on is an order of nobody's.
    world.tick(Duration::from_secs(1200));
    order.fulfilment("ASSIGNED");
    world.settle().await;
    let row = world.newest("fluent.fulfilment-updated").await;
    assert_eq!((row.state.as_str(), row.reason.as_deref()), ("skipped", Some("ignored")), "{:?}", row.detail);
    assert_eq!(world.parked().await.len(), 1);
    world.nothing_lost().await;
}

async fn an_order_that_was_imported_anew(engine: Engine) {
    // The shop's order flow is off: else it would take the new one for another order.
    let settings = Settings { connection: "    order: { enabled: false }".into(), ..Settings::default() };
    let Some(world) = World::with(engine, settings).await else { return };
    let first = world.commercetools.order(Some("10001")).customer(ADA).place();
    let theirs = world.foreign_order(json!({"ref": "HD_10001"}));
    world.fluent.set_order_status("HD_10001", "RECEIVED");
    world.settle().await;
    assert_eq!(world.links(&first), [theirs.as_str()]);
    world.commercetools.delete("orders", &first);
    let second = world.commercetools.order(Some("10001")).customer(ADA).place();
    world.fluent.set_order_status("HD_10001", "BOOKED");
    world.settle().await;
    assert_eq!((world.states(&second), world.links(&second)), (["Confirmed".into(), "Pending".into()], vec![theirs]));
    assert!(world.parked().await.is_empty());
    world.fluent.set_order_status("HD_10001", "COMPLETE");
    world.settle().await;
    assert_eq!(world.states(&second)[0], "Complete");
    world.nothing_lost().await;
}

async fn an_order_that_is_collected(engine: Engine) {
    let settings = Settings { connection: "    order: { enabled: false }".into(), ..Settings::default() };
    let Some(world) = World::with(engine, settings).await else { return };
    let id = world.commercetools.order(Some("10001")).customer(ADA).place();
    let choice = json!({"fulfilmentType": "CC_PFS", "currency": "EUR", "deliveryType": "STANDARD", "pickupLocationRef": "LOC-1"});
    world.foreign_order(json!({"ref": "CC_10001", "type": "CC", "fulfilmentChoice": choice}));
    let mut way = Vec::new();
    while world.fluent.advance_order("CC_10001").is_some() {
        world.settle().await;
        way.push(world.states(&id)[1].clone());
    }
    way.dedup();
    assert_eq!(way, ["Pending", "Ready", "Delivered"]);
    assert_eq!(world.states(&id)[0], "Complete");
    let line = &world.shop_order(&id)["lineItems"][0];
    let metadata = line["custom"]["fields"]["flFulfilmentMetadata"].as_str().unwrap();
    assert!(metadata.contains(r#""fulfilmentLocationName":"Warehouse 1","fulfilmentStatus":"COMPLETE""#), "{metadata}");
    assert!(world.parked().await.is_empty());
    world.nothing_lost().await;
}

async fn an_order_of_several_ways(engine: Engine) {
    let settings = Settings { connection: "    order: { enabled: false }".into(), ..Settings::default() };
    let Some(world) = World::with(engine, settings).await else { return };
    let draft = world.commercetools.order(Some("10001")).customer(ADA).shipping(499);
    let id = draft.line("CAP-1", 1, 1_500).line("MUG-BLK", 2, 1_250).place();
    let item = |sku: &str, quantity: i64, choice: &str| {
        json!({"ref": format!("item-{sku}"), "productRef": sku, "productCatalogueRef": world.fluent.options().catalogue,
               "quantity": quantity, "currency": "EUR", "fulfilmentChoiceRef": choice})
    };
    let choices = json!([
        {"ref": "home", "type": "HD", "fulfilmentType": "HD_PFS", "currency": "EUR", "deliveryType": "STANDARD",
         "deliveryAddress": {"ref": "a", "name": "Somebody", "city": "Berlin"}},
        {"ref": "shop", "type": "CC", "fulfilmentType": "CC_PFS", "currency": "EUR", "deliveryType": "STANDARD",
         "pickupLocationRef": "LOC-1"},
    ]);
    world.foreign_order(json!({
        "ref": "MULTI_10001", "type": "MULTI", "fulfilmentChoice": null, "fulfilmentChoices": choices,
        "items": [item("CAP-1", 1, "home"), item("MUG-BLK", 2, "shop")],
    }));
    while world.fluent.advance_order("MULTI_10001").is_some() {
        world.settle().await;
    }
    assert_eq!(world.states(&id), ["Complete", "Shipped"]);
    let shop = world.shop_order(&id);
    let deliveries = shop["shippingInfo"]["deliveries"].as_array().unwrap();
    assert_eq!(deliveries.len(), 1, "what is collected has no consignment");
    assert_eq!(deliveries[0]["items"], json!([{"id": shop["lineItems"][0]["id"], "quantity": 1}]));
    assert!((0..2).all(|at| shop["lineItems"][at]["custom"]["fields"]["flFulfilmentMetadata"].is_string()));
    assert!(world.parked().await.is_empty());
    world.nothing_lost().await;
}

/// Both lines sell the same, so that only the ref says whose part an item is.
async fn a_line_that_two_deliveries_share(engine: Engine) {
    let shared = |shop: &mut Value| {
        shop["itemShippingAddresses"] =
            json!([{"key": "office", "streetName": "Werkstrasse 1", "city": "Jena", "country": "DE"}]);
        let targets = json!([{"addressKey": "home", "quantity": 2}, {"addressKey": "office", "quantity": 1}]);
        shop["lineItems"][0]["shippingDetails"] = json!({"valid": true, "targets": targets});
        shop["lineItems"][1]["variant"]["sku"] = shop["lineItems"][0]["variant"]["sku"].clone();
    };
    let settings = Settings { automatic: true, ..Settings::default() };
    let Some(order) = Shipped::changed(engine, settings, "MULTI_1", shared).await else { return };
    let world = &order.world;
    world.pass(Duration::from_secs(90), Duration::from_secs(5)).await;

    assert_eq!(world.states(&order.id), ["Complete", "Shipped"]);
    let mut units: Vec<[i64; 2]> = order.deliveries().iter().map(|delivery| order.units(delivery)).collect();
    units.sort_unstable();
    assert_eq!(units, [[1, 0], [2, 1]]);
    let elements = |line: &str| order.metadata(line).as_array().map_or(0, Vec::len);
    assert_eq!((elements(&order.shirt), elements(&order.mug)), (2, 1));
    assert!(world.parked().await.is_empty());
    world.nothing_lost().await;
}
