//! Stories of consignments: the Deliveries and Parcels of the shop's order (F 7).

use std::time::Duration;

use fluent_connector::simulator::commercetools::ADA;
use fluent_connector::simulator::fluent::WebhookFaults;
use fluent_connector::simulator::{Fault, Rule};
use serde_json::{Value, json};

use crate::database::Engine;
use crate::on_both_databases;
use crate::world::Settings;
use crate::world::shipped::{ORDER, Shipped};

on_both_databases! {
    an_order_goes_its_way_to_the_customer,
    a_second_parcel_and_another_label,
    events_twice_and_in_any_order_end_the_same,
    lost_webhooks_are_found_by_the_poll,
    a_lost_answer_makes_no_second_delivery,
    a_foreign_writer_and_his_deliveries_stay,
    a_delivery_of_another_connector_is_adopted,
    an_article_without_items,
    two_consignments_of_one_fulfilment_without_items,
    a_consignment_without_articles,
    a_consignment_of_two_orders,
    an_order_without_shipping_information,
    several_shippings_need_a_clear_one,
    a_cancelled_consignment,
    an_article_that_left,
    a_consignment_that_is_not_there_yet,
    a_consignment_that_leads_nowhere,
    all_delivered_is_delivered,
    measures_with_units,
}

async fn an_order_goes_its_way_to_the_customer(engine: Engine) {
    let settings = Settings { automatic: true, ..Settings::default() };
    let Some(order) = Shipped::with(engine, settings).await else { return };
    let world = &order.world;
    world.pass(Duration::from_secs(90), Duration::from_secs(5)).await;

    assert_eq!(world.states(&order.id), ["Complete", "Shipped"]);
    let (delivery, consignment) = (order.delivery(), world.fluent.consignments().remove(0));
    let key = format!("consignment-{}", consignment["id"].as_str().unwrap());
    assert_eq!((&delivery["key"], order.units(&delivery)), (&json!(key), [3, 1]));
    let fields = json!({"flConsignmentRef": consignment["ref"], "flConsignmentStatus": "ACTIVE_LODGED"});
    assert_eq!(delivery["custom"]["fields"], fields);
    let parcel = &delivery["parcels"][0];
    let tracking = json!({
        "trackingId": consignment["trackingLabel"], "carrier": "Simulated carrier", "provider": "SIMULATED_CARRIER",
        "providerTransaction": consignment["consignmentReference"], "isReturn": false,
    });
    assert_eq!((&parcel["trackingData"], order.units(parcel)), (&tracking, [3, 1]));
    assert_eq!(order.metadata(&order.mug)[0]["fulfilmentStatus"], "COMPLETE");
    assert!(world.parked().await.is_empty());
    world.nothing_lost().await;
}

async fn a_second_parcel_and_another_label(engine: Engine) {
    let urls = "    consignment: { tracking_urls: { SIMULATED_CARRIER: \"https://track.example.com/{tracking_id}\" } }";
    let Some(order) = Shipped::new(engine, urls).await else { return };
    let world = &order.world;
    let fulfilment = order.fulfilment("FULFILLED");
    let (consignment, _) = order.consignment(&fulfilment, &[(&order.shirt, 2)], "ACTIVE_LODGED");
    world.settle().await;
    let first = order.delivery();
    assert_eq!(first["parcels"][0]["custom"]["fields"]["flTrackingUrl"], "https://track.example.com/33ABC0001");

    let second = [(order.shirt.as_str(), 1), (&order.mug, 1)];
    let article = world.fluent.add_article(ORDER, &[&fulfilment], &second, json!({}));
    world.fluent.join_consignment(&consignment, &article);
    world.fluent.change(&consignment, None, json!({"trackingLabel": "33 ABC/2", "status": "ACTIVE_SENT"}));
    world.settle().await;

    let delivery = order.delivery();
    assert_eq!((&delivery["id"], order.units(&delivery)), (&first["id"], [3, 1]));
    let parcels = delivery["parcels"].as_array().unwrap();
    assert_eq!(parcels.iter().map(|parcel| order.units(parcel)).collect::<Vec<_>>(), [[2, 0], [1, 1]]);
    for parcel in parcels {
        assert_eq!(parcel["trackingData"]["trackingId"], "33 ABC/2");
        assert_eq!(parcel["custom"]["fields"]["flTrackingUrl"], "https://track.example.com/33%20ABC%2F2");
    }
    assert_eq!(delivery["custom"]["fields"]["flConsignmentStatus"], "ACTIVE_SENT");
    // A label that vanished takes nothing away.
    world.fluent.change(&consignment, None, json!({"trackingLabel": null, "consignmentReference": ""}));
    world.settle().await;
    assert_eq!(order.delivery()["parcels"][0]["trackingData"]["trackingId"], "33 ABC/2");
    world.nothing_lost().await;
}

async fn events_twice_and_in_any_order_end_the_same(engine: Engine) {
    let Some(order) = Shipped::new(engine, "").await else { return };
    let world = &order.world;
    world.fluent.webhook_faults(WebhookFaults { duplicate: 0.7, reorder: 0.7, ..WebhookFaults::default() });
    let fulfilment = order.fulfilment("FULFILLED");
    let (first, _) = order.consignment(&fulfilment, &[(&order.shirt, 3)], "CREATED");
    let (second, _) = order.consignment(&fulfilment, &[(&order.mug, 1)], "PROCESSING");
    for status in ["PROCESSING", "ACTIVE_LODGED", "ACTIVE_SENT"] {
        world.fluent.set_status(&first, status);
        world.fluent.set_status(&second, status);
    }
    world.pass(Duration::from_secs(10), Duration::from_secs(1)).await;

    let deliveries = order.deliveries();
    assert_eq!(deliveries.len(), 2);
    for (id, units) in [(first, [3, 0]), (second, [0, 1])] {
        let delivery = deliveries.iter().find(|found| found["key"] == format!("consignment-{id}")).unwrap();
        assert_eq!((order.units(delivery), delivery["parcels"].as_array().unwrap().len()), (units, 1));
        assert_eq!(delivery["custom"]["fields"]["flConsignmentStatus"], "ACTIVE_SENT");
    }
    assert!(world.parked().await.is_empty());
    world.nothing_lost().await;
}

async fn lost_webhooks_are_found_by_the_poll(engine: Engine) {
    let Some(order) = Shipped::new(engine, "").await else { return };
    let world = &order.world;
    world.pass(Duration::from_secs(120), Duration::from_secs(30)).await;
    world.fluent.webhook_faults(WebhookFaults { drop: 1.0, ..WebhookFaults::default() });
    let fulfilment = order.fulfilment("FULFILLED");
    let (consignment, _) = order.consignment(&fulfilment, &[(&order.shirt, 3)], "ACTIVE_LODGED");
    let elsewhere = json!({"retailer": {"id": "77"}});
    world.fluent.add_consignment(ORDER, &[], "ACTIVE_LODGED", elsewhere);
    world.pass(Duration::from_secs(120), Duration::from_secs(30)).await;

    assert_eq!(order.delivery()["key"], format!("consignment-{consignment}"), "and none of another retailer");
    assert_eq!(order.metadata(&order.shirt)[0]["fulfilmentStatus"], "FULFILLED");
    let reads = world.fluent_requests("ConsignmentSource").len();
    world.pass(Duration::from_secs(600), Duration::from_secs(30)).await;
    assert_eq!(world.fluent_requests("ConsignmentSource").len(), reads, "what was transferred is passed over");
    assert!(world.parked().await.is_empty());
    world.nothing_lost().await;
}

async fn a_lost_answer_makes_no_second_delivery(engine: Engine) {
    for fault in [Fault::LostAnswer, Fault::ErrorAfter(500), Fault::ErrorAfter(504)] {
        let Some(order) = Shipped::new(engine, "").await else { return };
        let world = &order.world;
        let fulfilment = order.fulfilment("FULFILLED");
        world.settle().await;
        let before = order.updates();
        let operation = Some("POST /orders/{id}".to_owned());
        world.commercetools.front().fault(Rule { fault, operation, times: Some(1), rate: 1.0 });
        order.consignment(&fulfilment, &[(&order.shirt, 3)], "ACTIVE_LODGED");
        world.pass(Duration::from_secs(60), Duration::from_secs(5)).await;

        assert_eq!((order.deliveries().len(), order.updates()), (1, before + 1), "{fault:?}");
        assert!(world.parked().await.is_empty());
        world.nothing_lost().await;
    }
}

async fn a_foreign_writer_and_his_deliveries_stay(engine: Engine) {
    let Some(order) = Shipped::new(engine, "").await else { return };
    let world = &order.world;
    let fulfilment = order.fulfilment("FULFILLED");
    let (consignment, _) = order.consignment(&fulfilment, &[(&order.shirt, 3)], "ACTIVE_LODGED");
    world.settle().await;
    let theirs = json!({
        "id": "f0000000-0000-4000-8000-000000000001", "createdAt": "2026-06-15T10:00:00.000Z", "key": "dropship-1",
        "items": [{"id": order.mug, "quantity": 1}],
        "parcels": [{"id": "f0000000-0000-4000-8000-000000000002", "createdAt": "2026-06-15T10:00:00.000Z",
                     "trackingData": {"trackingId": "33ABC0001", "isReturn": false}, "items": []}],
    });
    let added = theirs.clone();
    world.commercetools.edit("orders", &order.id, |shop| {
        shop["shippingInfo"]["deliveries"].as_array_mut().unwrap().push(added);
    });
    world.fluent.set_status(&consignment, "ACTIVE_SENT");
    world.settle().await;

    let deliveries = order.deliveries();
    assert_eq!(deliveries[0]["custom"]["fields"]["flConsignmentStatus"], "ACTIVE_SENT");
    assert_eq!(deliveries[1], theirs, "and theirs is as it was");
    let filter =
        fluent_connector::store::Filter { route: Some("commercetools.update-order".into()), ..Default::default() };
    assert!(world.messages(filter).await.iter().all(|row| row.attempts == 1), "solved within one attempt");
    world.nothing_lost().await;
}

async fn a_delivery_of_another_connector_is_adopted(engine: Engine) {
    let Some(order) = Shipped::new(engine, "").await else { return };
    let world = &order.world;
    let fulfilment = order.fulfilment("FULFILLED");
    let article = world.fluent.add_article(ORDER, &[&fulfilment], &[(&order.shirt, 3)], json!({"ref": "ART-1"}));
    let types = world.commercetools.documents("types");
    let custom = |key: &str, fields: Value| {
        let kind = types.iter().find(|kind| kind["key"] == key).unwrap();
        json!({"type": {"typeId": "type", "id": kind["id"]}, "fields": fields})
    };
    let delivery = json!({
        "id": "d1000000-0000-4000-8000-000000000001", "createdAt": "2026-06-15T10:00:00.000Z",
        "items": [{"id": order.shirt, "quantity": 3}],
        "custom": custom("flConsignment", json!({"flConsignmentRef": "CON-1", "flConsignmentStatus": "PROCESSING"})),
        "parcels": [{"id": "a1000000-0000-4000-8000-000000000001", "createdAt": "2026-06-15T10:00:00.000Z", "items": [],
                     "custom": custom("flArticle", json!({"flArticleRef": "ART-1"}))}],
    });
    world.commercetools.edit("orders", &order.id, |shop| shop["shippingInfo"]["deliveries"] = json!([delivery]));
    world.fluent.add_consignment(ORDER, &[&article], "ACTIVE_LODGED", json!({"ref": "CON-1"}));
    world.settle().await;

    let adopted = order.delivery();
    assert_eq!(adopted["id"], "d1000000-0000-4000-8000-000000000001");
    assert_eq!(adopted["custom"]["fields"]["flConsignmentStatus"], "ACTIVE_LODGED");
    let parcels = adopted["parcels"].as_array().unwrap();
    assert_eq!((parcels.len(), &parcels[0]["id"]), (1, &json!("a1000000-0000-4000-8000-000000000001")));
    assert_eq!((order.units(&parcels[0]), &parcels[0]["trackingData"]["trackingId"]), ([3, 0], &json!("33ABC0001")));
    world.nothing_lost().await;
}

async fn an_article_without_items(engine: Engine) {
    let Some(order) = Shipped::new(engine, "").await else { return };
    let world = &order.world;
    let fulfilment = order.fulfilment("FULFILLED");
    world.fluent.fill(&fulfilment, &order.shirt, 2, 1);
    world.fluent.fill(&fulfilment, &order.mug, 1, 0);
    order.consignment(&fulfilment, &[], "ACTIVE_LODGED");
    world.settle().await;
    let delivery = order.delivery();
    assert_eq!((order.units(&delivery), order.units(&delivery["parcels"][0])), ([2, 1], [2, 1]));
    world.nothing_lost().await;
}

/// Nobody says which of the two has the units; whatever was written before is taken back.
async fn two_consignments_of_one_fulfilment_without_items(engine: Engine) {
    let Some(order) = Shipped::new(engine, "").await else { return };
    let world = &order.world;
    let fulfilment = order.fulfilment("FULFILLED");
    world.fluent.fill(&fulfilment, &order.shirt, 3, 0);
    order.consignment(&fulfilment, &[], "ACTIVE_LODGED");
    world.settle().await;
    assert_eq!(order.units(&order.delivery()), [3, 0]);
    order.consignment(&fulfilment, &[(&order.shirt, 1)], "ACTIVE_LODGED");
    world.settle().await;
    let units: Vec<[i64; 2]> = order.deliveries().iter().map(|delivery| order.units(delivery)).collect();
    assert_eq!(units, [[0, 0], [1, 0]]);
    assert!(world.parked().await.is_empty());
    world.nothing_lost().await;
}

async fn a_consignment_without_articles(engine: Engine) {
    let Some(order) = Shipped::new(engine, "").await else { return };
    order.world.fluent.add_consignment(ORDER, &[], "ACTIVE_LODGED", json!({}));
    order.world.settle().await;
    assert_eq!((order.units(&order.delivery()), &order.delivery()["parcels"]), ([0, 0], &json!([])));
    order.world.nothing_lost().await;
}

async fn a_consignment_of_two_orders(engine: Engine) {
    for lost in [false, true] {
        let Some(order) = Shipped::new(engine, "").await else { return };
        let world = &order.world;
        let other = world.commercetools.order(Some("2")).customer(ADA).shipping(499).place();
        world.settle().await;
        let line = world.shop_order(&other)["lineItems"][0]["id"].as_str().unwrap().to_owned();
        world.pass(Duration::from_secs(120), Duration::from_secs(30)).await;
        let drop = if lost { 1.0 } else { 0.0 };
        world.fluent.webhook_faults(WebhookFaults { drop, ..WebhookFaults::default() });
        let first = order.fulfilment("FULFILLED");
        let second = world.fluent.add_fulfilment("HD_2", "WH_MEL", "FULFILLED", &[(&line, 1)]);
        let ours = world.fluent.add_article(ORDER, &[&first], &[(&order.shirt, 3)], json!({}));
        let theirs = world.fluent.add_article("HD_2", &[&second], &[(&line, 1)], json!({}));
        let id = world.fluent.add_consignment(ORDER, &[&ours, &theirs], "ACTIVE_LODGED", json!({}));
        world.pass(Duration::from_secs(180), Duration::from_secs(30)).await;

        assert_eq!(
            (order.units(&order.delivery()), order.delivery()["parcels"].as_array().unwrap().len()),
            ([3, 0], 1)
        );
        let deliveries = world.shop_order(&other)["shippingInfo"]["deliveries"].clone();
        assert_eq!(deliveries[0]["items"], json!([{"id": line, "quantity": 1}]), "lost: {lost}");
        assert_eq!(deliveries[0]["parcels"][0]["key"], format!("consignment-{id}-article-{theirs}"));
        assert_eq!(deliveries.as_array().unwrap().len(), 1);
        assert!(world.parked().await.is_empty());
        world.nothing_lost().await;
    }
}

async fn an_order_without_shipping_information(engine: Engine) {
    let Some(order) = Shipped::new(engine, "").await else { return };
    let world = &order.world;
    // Our copy of the Order does not know yet.
    let without = |shop: &mut Value| drop(shop.as_object_mut().unwrap().remove("shippingInfo"));
    world.commercetools.edit("orders", &order.id, without);
    let fulfilment = order.fulfilment("FULFILLED");
    order.consignment(&fulfilment, &[(&order.shirt, 3)], "ACTIVE_LODGED");
    world.fluent.set_order_status(ORDER, "AWAITING_COURIER_COLLECTION");
    world.settle().await;
    let notes = world.notes("consignment.no_shipping_info").await;
    let told = "commercetools order 1 has no shipping information, so Delivery for consignment CON-";
    assert!(!notes.is_empty() && notes.iter().all(|note| note.starts_with(told)), "{notes:?}");
    assert_eq!(world.states(&order.id), ["Confirmed", "Ready"], "the rest is written");
    assert!(world.parked().await.is_empty());
    world.nothing_lost().await;
}

async fn several_shippings_need_a_clear_one(engine: Engine) {
    let several = |shop: &mut Value| {
        let info = shop.as_object_mut().unwrap().remove("shippingInfo").unwrap();
        let mut free = info.clone();
        for amount in [
            "/price",
            "/shippingRate/price",
            "/taxedPrice/totalNet",
            "/taxedPrice/totalGross",
            "/taxedPrice/totalTax",
            "/taxedPrice/taxPortions/0/amount",
        ] {
            free.pointer_mut(amount).unwrap()["centAmount"] = 0.into();
        }
        let shipping = |key: &str, info: Value| json!({"shippingKey": key, "shippingInfo": info, "shippingAddress": shop["shippingAddress"]});
        let both = json!([shipping("standard", info), shipping("express", free)]);
        shop["shipping"] = both;
        shop["shippingMode"] = "Multiple".into();
        let target = |key: &str, quantity: i64| json!({"valid": true, "targets": [{"addressKey": "home", "quantity": quantity, "shippingMethodKey": key}]});
        shop["lineItems"][0]["shippingDetails"] = target("standard", 3);
        shop["lineItems"][1]["shippingDetails"] = target("express", 1);
    };
    let Some(order) = Shipped::changed(engine, Settings::default(), "MULTI_1", several).await else { return };
    let world = &order.world;
    let fulfilment = order.fulfilment("FULFILLED");
    order.consignment(&fulfilment, &[(&order.mug, 1)], "ACTIVE_LODGED");
    world.settle().await;
    let deliveries = |at: usize| world.shop_order(&order.id)["shipping"][at]["shippingInfo"]["deliveries"].clone();
    assert_eq!((deliveries(0), deliveries(1).as_array().unwrap().len()), (json!([]), 1));
    let (unclear, _) = order.consignment(&fulfilment, &[(&order.shirt, 1), (&order.mug, 1)], "ACTIVE_LODGED");
    world.settle().await;
    let sentence = world.the_parked().await.detail.unwrap();
    assert_eq!(
        sentence,
        format!("Order 1 has several shipping methods and consignment CON-{unclear} fits none of them clearly.")
    );
    world.nothing_lost().await;
}

async fn a_cancelled_consignment(engine: Engine) {
    for (on_cancel, left) in [("mark", 1), ("remove", 0)] {
        let config = format!("    consignment: {{ on_cancel: {on_cancel} }}");
        let Some(order) = Shipped::new(engine, &config).await else { return };
        let world = &order.world;
        let fulfilment = order.fulfilment("FULFILLED");
        let (first, _) = order.consignment(&fulfilment, &[(&order.shirt, 3)], "ACTIVE_LODGED");
        let (second, _) = order.consignment(&fulfilment, &[(&order.mug, 1)], "CREATED");
        world.settle().await;
        assert_eq!(order.deliveries().len(), 1, "nothing is written while one is CREATED");
        world.fluent.set_status(&first, "CANCELLED");
        world.fluent.set_status(&second, "CANCELLED");
        world.settle().await;
        assert_eq!(order.deliveries().len(), left, "{on_cancel}; one without Delivery gets none");
        if let Some(delivery) = order.deliveries().first() {
            assert_eq!(
                (order.units(delivery), &delivery["custom"]["fields"]["flConsignmentStatus"]),
                ([3, 0], &json!("CANCELLED"))
            );
        }
        world.nothing_lost().await;
    }
}

async fn an_article_that_left(engine: Engine) {
    for (policy, left) in [("keep", 2), ("remove", 1)] {
        let config = format!("    consignment: {{ on_parcel_gone: {policy} }}");
        let Some(order) = Shipped::new(engine, &config).await else { return };
        let world = &order.world;
        let fulfilment = order.fulfilment("FULFILLED");
        let (consignment, _) = order.consignment(&fulfilment, &[(&order.shirt, 3)], "ACTIVE_LODGED");
        let article = world.fluent.add_article(ORDER, &[&fulfilment], &[(&order.mug, 1)], json!({}));
        world.fluent.join_consignment(&consignment, &article);
        world.fluent.set_status(&consignment, "BOOKED");
        world.settle().await;
        assert_eq!(order.delivery()["parcels"].as_array().unwrap().len(), 2);
        world.fluent.leave_consignment(&consignment, &article);
        world.fluent.set_status(&consignment, "ACTIVE_SENT");
        world.settle().await;
        assert_eq!(order.delivery()["parcels"].as_array().unwrap().len(), left, "{policy}");
        assert_eq!(order.units(&order.delivery()), [3, 0]);
        let note =
            format!("Article ART-{article} is no longer part of consignment CON-{consignment}; its Parcel was kept.");
        assert_eq!(world.notes("consignment.parcel_gone").await.contains(&note), left == 2);
        world.nothing_lost().await;
    }
}

async fn a_consignment_that_is_not_there_yet(engine: Engine) {
    let Some(order) = Shipped::new(engine, "").await else { return };
    let world = &order.world;
    let fulfilment = order.fulfilment("FULFILLED");
    world.settle().await;
    world.fluent.graphql_fault("ConsignmentSource", "C0120E", 2);
    let (id, _) = order.consignment(&fulfilment, &[(&order.shirt, 3)], "ACTIVE_LODGED");
    world.settle().await;
    let sentence = format!("Fluent has no CONSIGNMENT with id {id} (yet).");
    assert!(world.sentences("commercetools.update-order").await.contains(&sentence));
    world.fluent.set_order_status(ORDER, "AWAITING_COURIER_COLLECTION");
    world.settle().await;
    assert_eq!(world.states(&order.id), ["Confirmed", "Ready"], "the states do not wait for it");
    world.pass(Duration::from_secs(120), Duration::from_secs(5)).await;
    assert_eq!(order.units(&order.delivery()), [3, 0]);
    assert!(world.parked().await.is_empty());
    world.nothing_lost().await;
}

async fn a_consignment_that_leads_nowhere(engine: Engine) {
    let Some(order) = Shipped::new(engine, "").await else { return };
    let world = &order.world;
    world.pass(Duration::from_secs(120), Duration::from_secs(30)).await;
    world.fluent.webhook_faults(WebhookFaults { drop: 1.0, ..WebhookFaults::default() });
    let id = world.fluent.add_consignment(ORDER, &[], "ACTIVE_LODGED", json!({"order": null}));
    // The try after which it is given up comes up to 15 minutes after the first, as the jitter has it.
    world.pass(Duration::from_secs(1200), Duration::from_secs(30)).await;
    let sentence = world.the_parked().await.detail.unwrap();
    assert_eq!(sentence, format!("Consignment CON-{id} has no article that leads to an order."));
    world.nothing_lost().await;
}

async fn all_delivered_is_delivered(engine: Engine) {
    let config = "    order_status: { delivered_consignment_statuses: [ACTIVE_DELIVERED] }";
    let Some(order) = Shipped::new(engine, config).await else { return };
    let world = &order.world;
    let fulfilment = order.fulfilment("FULFILLED");
    let (first, _) = order.consignment(&fulfilment, &[(&order.shirt, 3)], "ACTIVE_SENT");
    let (second, _) = order.consignment(&fulfilment, &[(&order.mug, 1)], "ACTIVE_SENT");
    world.fluent.set_order_status(ORDER, "COMPLETE");
    world.settle().await;
    assert_eq!(world.states(&order.id), ["Complete", "Shipped"]);
    world.fluent.set_status(&first, "ACTIVE_DELIVERED");
    world.settle().await;
    assert_eq!(world.states(&order.id), ["Complete", "Shipped"], "one is still on its way");
    world.fluent.set_status(&second, "ACTIVE_DELIVERED");
    world.settle().await;
    assert_eq!(world.states(&order.id), ["Complete", "Delivered"]);
    world.nothing_lost().await;
}

async fn measures_with_units(engine: Engine) {
    let config = "    consignment: { measurements: { length_unit: cm, weight_unit: kg } }";
    let Some(order) = Shipped::new(engine, config).await else { return };
    let fulfilment = order.fulfilment("FULFILLED");
    order.consignment(&fulfilment, &[(&order.shirt, 3)], "ACTIVE_LODGED");
    order.world.settle().await;
    let measures =
        json!({"heightInMillimeter": 100, "lengthInMillimeter": 300, "widthInMillimeter": 200, "weightInGram": 1200});
    assert_eq!(order.delivery()["parcels"][0]["measurements"], measures);
    order.world.nothing_lost().await;
}
