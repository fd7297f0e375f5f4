//! Stories of fulfilments: what the Line Items of the shop's order say about them (F 6).

use std::time::Duration;

use fluent_connector::simulator::fluent::WebhookFaults;
use serde_json::{Value, json};

use crate::caller::Request;
use crate::database::Engine;
use crate::on_both_databases;
use crate::world::World;
use crate::world::shipped::{ORDER, Shipped};

on_both_databases! {
    a_fulfilment_is_told_to_its_line_items,
    events_twice_and_in_any_order_end_the_same,
    a_split_and_a_rejection_are_seen_in_one_pass,
    lost_webhooks_are_found_by_the_poll_and_counted,
    a_foreign_type_is_left_alone,
    a_foreign_type_that_has_our_field_is_used,
    an_item_that_the_shop_does_not_know_is_noted,
    some_but_not_all_shipped_is_partial,
    units_follow_their_fulfilments_through_states,
    a_state_that_does_not_exist_is_noted,
    more_than_a_page_of_fulfilments,
    a_query_that_is_too_complex_asks_for_smaller_pages,
    a_flow_that_is_off_hears_nothing,
}

/// Loses every webhook from now on.
fn deaf(world: &World) {
    world.fluent.webhook_faults(WebhookFaults { drop: 1.0, ..WebhookFaults::default() });
}

/// How many records only this poll found.
async fn found(world: &World, stream: &str) -> i64 {
    let token = world.token(&["status:read"]).await;
    let reply = Request::new("GET", "/api/v1/status").bearer(&token).send(&world.url(0)).await;
    let streams = reply.body["streams"].as_array().unwrap();
    streams.iter().find(|row| row["stream"] == stream).map_or(0, |row| row["found"].as_i64().unwrap())
}

async fn a_fulfilment_is_told_to_its_line_items(engine: Engine) {
    let Some(order) = Shipped::new(engine, "").await else { return };
    let (world, before) = (&order.world, order.updates());
    let id = order.fulfilment("ASSIGNED");
    world.settle().await;

    let element = |requested: i64| {
        json!([{
            "fulfilmentId": id, "fulfilmentRef": "HD_1-F1", "fulfilmentLocationRef": "STORE_SYD",
            "fulfilmentLocationName": "Sydney CBD", "fulfilmentStatus": "ASSIGNED",
            "requestedQuantity": requested, "filledQuantity": 0, "rejectedQuantity": 0,
        }])
    };
    assert_eq!((order.metadata(&order.shirt), order.metadata(&order.mug)), (element(3), element(1)));
    assert_eq!(order.updates(), before + 1, "one update carries it all");
    world.fluent.redeliver_last_webhook().await;
    world.fluent.change(&id, None, json!({}));
    world.settle().await;
    assert_eq!(order.updates(), before + 1, "nothing differs");
    assert_eq!(world.fluent_requests("LocationNames").len(), 1, "names are believed for an hour");
    assert!(world.parked().await.is_empty());
    world.nothing_lost().await;
}

async fn events_twice_and_in_any_order_end_the_same(engine: Engine) {
    let Some(order) = Shipped::new(engine, "").await else { return };
    let world = &order.world;
    world.fluent.webhook_faults(WebhookFaults { duplicate: 0.7, reorder: 0.7, ..WebhookFaults::default() });
    let id = order.fulfilment("CREATED");
    for status in ["PROCESSING", "AWAITING_WAVE", "ASSIGNED"] {
        world.fluent.set_status(&id, status);
    }
    world.fluent.fill(&id, &order.shirt, 2, 1);
    world.fluent.set_status(&id, "PARTIALLY_FULFILLED");
    world.pass(Duration::from_secs(10), Duration::from_secs(1)).await;

    let element = &order.metadata(&order.shirt)[0];
    assert_eq!(
        (&element["fulfilmentStatus"], &element["filledQuantity"], &element["rejectedQuantity"]),
        (&json!("PARTIALLY_FULFILLED"), &json!(2), &json!(1))
    );
    assert!(world.parked().await.is_empty());
    world.nothing_lost().await;
}

async fn a_split_and_a_rejection_are_seen_in_one_pass(engine: Engine) {
    let Some(order) = Shipped::new(engine, "").await else { return };
    let (world, before) = (&order.world, order.updates());
    deaf(world);
    let first = order.fulfilment("ASSIGNED");
    world.fluent.fill(&first, &order.shirt, 1, 2);
    world.fluent.set_status(&first, "PARTIALLY_FULFILLED");
    world.fluent.webhook_faults(WebhookFaults::default());
    let second = world.fluent.add_fulfilment(ORDER, "WH_MEL", "AWAITING_WAVE", &[(&order.shirt, 2)]);
    world.settle().await;

    let elements = order.metadata(&order.shirt);
    let told: Vec<(&Value, &Value)> = elements
        .as_array()
        .unwrap()
        .iter()
        .map(|element| (&element["fulfilmentId"], &element["fulfilmentLocationName"]))
        .collect();
    assert_eq!(told, [(&json!(first), &json!("Sydney CBD")), (&json!(second), &json!("Melbourne DC"))]);
    assert_eq!(order.updates(), before + 1, "the second one's webhook brought both");
    world.nothing_lost().await;
}

async fn lost_webhooks_are_found_by_the_poll_and_counted(engine: Engine) {
    let Some(order) = Shipped::new(engine, "").await else { return };
    let world = &order.world;
    world.pass(Duration::from_secs(120), Duration::from_secs(30)).await;
    deaf(world);
    let id = order.fulfilment("ASSIGNED");
    world.pass(Duration::from_secs(120), Duration::from_secs(30)).await;
    assert_eq!(order.metadata(&order.mug)[0]["fulfilmentStatus"], "ASSIGNED");
    assert_eq!(found(world, "fulfilment-sync").await, 1);
    world.fluent.webhook_faults(WebhookFaults::default());
    world.fluent.set_status(&id, "FULFILLED");
    world.settle().await;
    let puts = world.sentences("fluent.fulfilment-updated").await.len();
    world.pass(Duration::from_secs(600), Duration::from_secs(30)).await;
    assert_eq!(found(world, "fulfilment-sync").await, 1, "what a webhook told is not found again");
    assert_eq!(world.sentences("fluent.fulfilment-updated").await.len(), puts, "nor put again");
    assert!(world.parked().await.is_empty());
    world.nothing_lost().await;
}

async fn a_foreign_type_is_left_alone(engine: Engine) {
    let Some(order) = Shipped::new(engine, "").await else { return };
    let world = &order.world;
    engrave(&order, &["text"]);
    order.fulfilment("ASSIGNED");
    world.settle().await;

    let shop = world.shop_order(&order.id);
    assert_eq!(shop["lineItems"][0]["custom"]["fields"], json!({"text": "For M."}), "theirs stays as it was");
    assert!(order.metadata(&order.mug).is_array(), "the other line is written");
    let sentence = format!(
        "line item {} of order 1 carries the custom Type engraving, which has no field flFulfilmentMetadata; the fulfilment metadata was not written.",
        order.shirt
    );
    assert_eq!(world.notes("custom_type.foreign").await, [sentence]);
    assert!(world.parked().await.is_empty());
    world.nothing_lost().await;
}

async fn a_foreign_type_that_has_our_field_is_used(engine: Engine) {
    let Some(order) = Shipped::new(engine, "").await else { return };
    engrave(&order, &["text", "flFulfilmentMetadata"]);
    order.fulfilment("ASSIGNED");
    order.world.settle().await;

    assert_eq!(order.world.shop_order(&order.id)["lineItems"][0]["custom"]["fields"]["text"], "For M.");
    assert_eq!(order.metadata(&order.shirt)[0]["fulfilmentStatus"], "ASSIGNED");
    assert!(order.world.notes("custom_type.foreign").await.is_empty());
    order.world.nothing_lost().await;
}

async fn an_item_that_the_shop_does_not_know_is_noted(engine: Engine) {
    let Some(order) = Shipped::new(engine, "").await else { return };
    let world = &order.world;
    let gone = order.mug.clone();
    let without = move |shop: &mut Value| shop["lineItems"].as_array_mut().unwrap().retain(|line| line["id"] != gone);
    world.commercetools.edit("orders", &order.id, without);
    order.fulfilment("ASSIGNED");
    world.settle().await;

    assert_eq!(order.metadata(&order.shirt)[0]["requestedQuantity"], 3);
    let sentence = format!(
        "Fluent order item {} (MUG-BLK) of order HD_1 matches no line item of commercetools order 1.",
        order.mug
    );
    assert_eq!(world.notes("fulfilment.line_unknown").await, [sentence]);
    world.nothing_lost().await;
}

async fn some_but_not_all_shipped_is_partial(engine: Engine) {
    let Some(order) = Shipped::new(engine, "").await else { return };
    let world = &order.world;
    let first = world.fluent.add_fulfilment(ORDER, "STORE_SYD", "ASSIGNED", &[(&order.shirt, 3)]);
    let second = world.fluent.add_fulfilment(ORDER, "WH_MEL", "ASSIGNED", &[(&order.mug, 1)]);
    world.fluent.set_order_status(ORDER, "PICK_PACK");
    world.settle().await;
    assert_eq!(world.states(&order.id), ["Confirmed", "Pending"]);
    world.fluent.set_status(&first, "COMPLETE");
    world.settle().await;
    assert_eq!(world.states(&order.id), ["Confirmed", "Partial"]);
    world.fluent.set_status(&second, "COMPLETE");
    world.fluent.set_order_status(ORDER, "COMPLETE");
    world.settle().await;
    assert_eq!(world.states(&order.id), ["Complete", "Shipped"]);
    world.nothing_lost().await;
}

const STATES: [&str; 4] = ["flLineItemAllocated", "flLineItemPicking", "flLineItemPacked", "flLineItemShipped"];

async fn units_follow_their_fulfilments_through_states(engine: Engine) {
    for method in ["transition", "import"] {
        let config = format!("    fulfilment: {{ line_item_states: {{ enabled: true, method: {method} }} }}");
        let Some(order) = Shipped::new(engine, &config).await else { return };
        let world = &order.world;
        STATES.iter().for_each(|key| add_state(world, key));
        let first = order.fulfilment("ASSIGNED");
        world.settle().await;
        assert_eq!(held(&order), [("flLineItemPicking".to_owned(), 3)], "{method}");
        world.fluent.fill(&first, &order.shirt, 2, 1);
        world.fluent.set_status(&first, "PARTIALLY_FULFILLED");
        world.fluent.add_fulfilment(ORDER, "WH_MEL", "AWAITING_WAVE", &[(&order.shirt, 1)]);
        world.settle().await;
        assert_eq!(held(&order), [("flLineItemAllocated".to_owned(), 1), ("flLineItemPacked".to_owned(), 2)]);
        world.fluent.set_status(&first, "COMPLETE");
        world.settle().await;
        assert_eq!(held(&order), [("flLineItemAllocated".to_owned(), 1), ("flLineItemShipped".to_owned(), 2)]);
        world.fluent.set_status(&first, "LEFT_THE_HOUSE");
        world.settle().await;
        assert_eq!(
            world.notes("fulfilment.unmapped").await,
            ["Fulfilment HD_1-F1 has status LEFT_THE_HOUSE, which has no State; its units were left where they are."]
        );
        assert_eq!(order.metadata(&order.shirt)[0]["fulfilmentStatus"], "LEFT_THE_HOUSE", "the metadata is written");
        assert_eq!(held(&order), [("flLineItemAllocated".to_owned(), 1), ("flLineItemShipped".to_owned(), 2)]);
        assert!(world.parked().await.is_empty());
        world.nothing_lost().await;
    }
}

async fn a_state_that_does_not_exist_is_noted(engine: Engine) {
    let config = "    fulfilment: { line_item_states: { enabled: true } }";
    let Some(order) = Shipped::new(engine, config).await else { return };
    order.fulfilment("ASSIGNED");
    order.world.settle().await;
    assert_eq!(
        order.world.notes("fulfilment.state_missing").await,
        ["State flLineItemPicking does not exist in commercetools; create it or run provision."]
    );
    assert_eq!(held(&order), [("Initial".to_owned(), 3)]);
    assert!(order.metadata(&order.shirt).is_array());
    order.world.nothing_lost().await;
}

async fn more_than_a_page_of_fulfilments(engine: Engine) {
    let Some(order) = Shipped::new(engine, "").await else { return };
    let world = &order.world;
    deaf(world);
    for _ in 0..45 {
        world.fluent.add_fulfilment(ORDER, "WH_MEL", "REJECTED", &[(&order.mug, 1)]);
    }
    // One with more items than a page of items has.
    let many: Vec<(&str, i64)> = (0..120).map(|_| (order.shirt.as_str(), 1)).collect();
    world.fluent.add_fulfilment(ORDER, "STORE_SYD", "REJECTED", &many);
    world.fluent.webhook_faults(WebhookFaults::default());
    order.fulfilment("ASSIGNED");
    world.settle().await;

    assert_eq!(order.metadata(&order.mug).as_array().unwrap().len(), 46);
    let elements = order.metadata(&order.shirt);
    let elements = elements.as_array().unwrap();
    assert_eq!(elements.last().unwrap()["fulfilmentStatus"], "ASSIGNED", "the newest one is always there");
    let text = serde_json::to_string(elements).unwrap();
    assert!((9_000..=10_000).contains(&text.len()), "{} characters", text.len());
    assert_eq!(world.notes("custom_type.cut").await.len(), 1);
    assert!(world.fluent_requests("FulfilmentItems").len() >= 2);
    world.nothing_lost().await;
}

async fn a_query_that_is_too_complex_asks_for_smaller_pages(engine: Engine) {
    let Some(order) = Shipped::new(engine, "").await else { return };
    let world = &order.world;
    world.fluent.graphql_fault("OrderUpdateSource", "C0001E", 2);
    order.fulfilment("ASSIGNED");
    world.settle().await;
    assert!(order.metadata(&order.shirt).is_array());
    let asked: Vec<bool> = world
        .fluent_requests("OrderUpdateSource")
        .iter()
        .map(|exchange| exchange.request["query"].as_str().unwrap().contains("items(first: 12)"))
        .collect();
    assert_eq!(asked.iter().filter(|smallest| **smallest).count(), 1, "after two refusals: {asked:?}");
    assert!(world.parked().await.is_empty());
    world.nothing_lost().await;
}

async fn a_flow_that_is_off_hears_nothing(engine: Engine) {
    let off =
        "    fulfilment: { enabled: false }\n    consignment: { enabled: false }\n    order_status: { enabled: false }";
    let Some(order) = Shipped::new(engine, off).await else { return };
    let (world, before) = (&order.world, order.updates());
    let fulfilment = order.fulfilment("ASSIGNED");
    order.consignment(&fulfilment, &[(&order.shirt, 3)], "ACTIVE_LODGED");
    world.fluent.set_order_status(ORDER, "BOOKED");
    world.pass(Duration::from_secs(180), Duration::from_secs(30)).await;

    assert_eq!((order.updates(), order.deliveries(), world.states(&order.id)[0].as_str()), (before, vec![], "Open"));
    for (route, sentence) in [
        ("fluent.order-updated", "Order statuses are not transferred by this connection (order_status.enabled)."),
        ("fluent.fulfilment-updated", "Fulfilments are not transferred by this connection (fulfilment.enabled)."),
        ("fluent.consignment-updated", "Consignments are not transferred by this connection (consignment.enabled)."),
    ] {
        let row = world.newest(route).await;
        assert_eq!((row.state.as_str(), row.reason.as_deref()), ("skipped", Some("ignored")));
        assert_eq!(row.detail.as_deref(), Some(sentence));
    }
    assert!(world.fluent_requests("FulfilmentsUpdated").is_empty());
    world.nothing_lost().await;
}

/// The first line carries the shop's own Type with these fields.
fn engrave(order: &Shipped, fields: &[&str]) {
    let field = |name: &&str| json!({"name": name, "label": {"en": name}, "required": false, "type": {"name": "String"}, "inputHint": "SingleLine"});
    let fields: Vec<Value> = fields.iter().map(field).collect();
    let kind = order.world.commercetools.put(
        "types",
        json!({"key": "engraving", "name": {"en": "Engraving"}, "resourceTypeIds": ["line-item"], "fieldDefinitions": fields}),
    );
    let custom = json!({"type": {"typeId": "type", "id": kind["id"]}, "fields": {"text": "For M."}});
    order.world.commercetools.edit("orders", &order.id, |shop| shop["lineItems"][0]["custom"] = custom);
}

fn add_state(world: &World, key: &str) {
    let state = json!({"key": key, "type": "LineItemState", "initial": false, "builtIn": false, "roles": []});
    world.commercetools.put("states", state);
}

/// Where the shirts are: State keys with their units, by key.
fn held(order: &Shipped) -> Vec<(String, i64)> {
    let states = order.world.commercetools.documents("states");
    let shop = order.world.shop_order(&order.id);
    let mut held: Vec<(String, i64)> = shop["lineItems"][0]["state"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            let state = states.iter().find(|state| state["id"] == row["state"]["id"]).unwrap();
            (state["key"].as_str().unwrap().to_owned(), row["quantity"].as_i64().unwrap())
        })
        .collect();
    held.sort();
    held
}
