//! What is written is what is read.

use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::clock::{Millis, parse_rfc3339, rfc3339};

#[tokio::test]
async fn aliases_fail_alone() {
    let world = World::start(by_hand()).await;
    let query = "mutation Two($a: CreateCustomerInput, $b: CreateCustomerInput, $c: CreateCustomerInput) {
        a: createCustomer(input: $a) { id } b: createCustomer(input: $b) { id } c: createCustomer(input: $c) { id username } }";
    let variables = json!({"a": customer("one"), "b": customer("one"), "c": customer("two")});
    let answer = world.graphql(query, variables).await;
    assert_eq!(code(&answer), "C0123E");
    assert_eq!(answer["errors"][0]["path"], json!(["b"]));
    assert_eq!(answer["data"]["b"], Value::Null);
    assert_eq!(answer["data"]["c"]["username"], "two");
    assert_eq!(world.fluent.customers().len(), 2);
}

#[tokio::test]
async fn an_order_is_created_once_with_all_it_embeds() {
    let world = World::start(by_hand()).await;
    let id = world.order("HD_1").await;
    let customer = world.fluent.customers()[0]["id"].as_str().unwrap().to_owned();
    let again = world.graphql(CREATE_ORDER, json!({"input": order("HD_1", &customer)})).await;
    assert_eq!((code(&again), &again["data"]["createOrder"]), ("C0121E", &Value::Null));
    let read = "query($ref: [String], $retailerId: [Int!]) { orders(ref: $ref, retailerId: $retailerId, first: 5) { edges { node {
        id totalPrice totalTaxPrice customer { username } customerLink { ref } attributes { name type value }
        items(first: 100) { edges { node { ref quantity product { ref ... on VariantProduct { gtin product { ref } } } } } pageInfo { hasNextPage } }
        fulfilmentChoice { ref } fulfilmentChoices(first: 20) { edges { node { type deliveryType deliveryAddress { id ref street } } } }
        billingAddress { city } financialTransactions(ref: [\"HD_1-pay\"]) { edges { node { total currency paymentProviderName } } } } } } }";
    let answer = world.graphql(read, json!({"ref": ["HD_1"], "retailerId": [5]})).await;
    let node = &answer["data"]["orders"]["edges"][0]["node"];
    assert_eq!(node["id"], id.as_str(), "{answer}");
    assert_eq!((&node["totalTaxPrice"], &node["customer"]["username"]), (&json!(10.0), &json!("c-1")));
    let item = &node["items"]["edges"][0]["node"];
    assert_eq!(
        item["product"],
        json!({"ref": "TEE-RED-M", "gtin": "TEE-RED-M", "product": {"ref": "TEE-RED-M-STANDARD"}})
    );
    assert_eq!(node["fulfilmentChoices"]["edges"][0]["node"]["deliveryAddress"]["street"], "1 X St");
    assert_eq!(
        node["financialTransactions"]["edges"][0]["node"],
        json!({"total": 110.0, "currency": "AUD", "paymentProviderName": "PSP"})
    );
    let none = world.graphql(read, json!({"ref": ["HD_1"], "retailerId": [6]})).await;
    assert_eq!(none["data"]["orders"]["edges"], json!([]));
    let created: Vec<_> = world
        .fluent
        .front()
        .ledger()
        .into_iter()
        .filter(|row| row.operation == "createOrder" && row.entity == "ORDER")
        .collect();
    assert_eq!(
        (created.len(), created[0].reference.as_str(), created[0].detail["type"].as_str()),
        (1, "HD_1", Some("HD"))
    );
}

#[tokio::test]
async fn orders_naming_what_is_not_there_are_refused_whole() {
    let world = World::start(by_hand()).await;
    let customer = world.customer().await;
    let try_with = async |change: &dyn Fn(&mut Value)| {
        let mut input = order("HD_2", &customer);
        change(&mut input);
        world.graphql(CREATE_ORDER, json!({"input": input})).await
    };
    assert_eq!(code(&try_with(&|order| order["items"][0]["productRef"] = "NOPE".into()).await), "C0120E");
    assert_eq!(code(&try_with(&|order| order["items"][0]["productCatalogueRef"] = Value::Null).await), "C0120E");
    assert_eq!(code(&try_with(&|order| order["customer"]["id"] = "99".into()).await), "C0120E");
    assert_eq!(code(&try_with(&|order| order["retailer"]["id"] = "6".into()).await), "C0120E");
    assert_eq!(code(&try_with(&|order| order["items"] = json!([])).await), "C0160E");
    assert_eq!(code(&try_with(&|order| order["totalPrice"] = json!(-1)).await), "C0122E");
    let no_ref = try_with(&|order| order["fulfilmentChoice"]["deliveryAddress"]["ref"] = Value::Null).await;
    assert_eq!(code(&no_ref), "C0140E");
    assert!(world.fluent.orders().is_empty() && world.fluent.transactions().is_empty());
    assert_eq!(try_with(&|_| {}).await["data"]["createOrder"]["status"], "CREATED");
    let again = |input: &mut Value| {
        input["ref"] = "HD_3".into();
    };
    assert_eq!(code(&try_with(&again).await), "C0123E", "the transaction's ref is in use");
}

#[tokio::test]
async fn products_are_upserted_by_parts() {
    let world = World::start(by_hand()).await;
    let catalogue = json!({"ref": "PC:MASTER:5"});
    let create = "mutation($c: CreateCategoryInput, $s: CreateStandardProductInput, $v: CreateVariantProductInput) {
        createCategory(input: $c) { id status } createStandardProduct(input: $s) { id } createVariantProduct(input: $v) { id ref status product { ref } } }";
    let answer = world.graphql(create, json!({
        "c": {"ref": "shirts", "type": "DEFAULT", "name": "Shirts", "catalogue": catalogue},
        "s": {"ref": "P-1", "type": "STANDARD", "gtin": "1", "name": "Shirt", "catalogue": catalogue, "categories": [{"ref": "shirts", "catalogue": catalogue}]},
        "v": {"ref": "V-1", "type": "VARIANT", "gtin": "2", "name": "Shirt M", "catalogue": catalogue, "product": {"ref": "P-1", "catalogue": catalogue},
            "prices": [{"type": "DEFAULT", "currency": "EUR", "value": 10}], "attributes": [{"name": "a", "type": "STRING", "value": "1"}]},
    })).await;
    assert_eq!(answer["data"]["createVariantProduct"]["product"]["ref"], "P-1", "{answer}");
    assert_eq!(answer["data"]["createVariantProduct"]["status"], "CREATED");
    let update = "mutation($i: UpdateVariantProductInput) { updateVariantProduct(input: $i) { name prices { currency value } attributes { name value } } }";
    let answer = world.graphql(update, json!({"i": {"ref": "V-1", "catalogue": catalogue, "name": "Shirt medium",
        "prices": [{"type": "DEFAULT", "currency": "USD", "value": 11}], "attributes": [{"name": "b", "type": "STRING", "value": "2"}]}})).await;
    assert_eq!(
        answer["data"]["updateVariantProduct"],
        json!({"name": "Shirt medium",
        "prices": [{"currency": "EUR", "value": 10.0}, {"currency": "USD", "value": 11.0}],
        "attributes": [{"name": "a", "value": "1"}, {"name": "b", "value": "2"}]})
    );
    world.idle().await;
    let read = "query($c: ProductCatalogueKey!) { standardProduct(ref: \"P-1\", catalogue: $c) { status
        categories { edges { node { ref } } } variants { edges { node { ref } } } }
        standardProducts(category: {ref: \"shirts\", catalogue: $c}) { edges { node { ref } } } }";
    let answer = world.graphql(read, json!({"c": catalogue})).await;
    assert_eq!(
        answer["data"]["standardProduct"],
        json!({"status": "ACTIVE", "categories": {"edges": [{"node": {"ref": "shirts"}}]},
        "variants": {"edges": [{"node": {"ref": "V-1"}}]}})
    );
    assert_eq!(answer["data"]["standardProducts"]["edges"], json!([{"node": {"ref": "P-1"}}]));
    let remove = "mutation($i: RemoveCategoriesFromStandardProductInput) { removeCategoriesFromStandardProduct(input: $i) { __typename } }";
    let input = json!({"i": {"standardProduct": {"ref": "P-1", "catalogue": catalogue}, "categories": [{"ref": "shirts", "catalogue": catalogue}]}});
    assert!(world.graphql(remove, input).await.get("errors").is_none());
    let answer = world.graphql(read, json!({"c": catalogue})).await;
    assert_eq!(answer["data"]["standardProduct"]["categories"]["edges"], json!([]));
}

#[tokio::test]
async fn settings_are_unique_by_name_and_context() {
    let world = World::start(by_hand()).await;
    let create = "mutation($i: CreateSettingInput) { createSetting(input: $i) { id name lobValue } }";
    let setting =
        json!({"name": "fc.x", "valueType": "JSON", "lobValue": {"a": [1]}, "context": "RETAILER", "contextId": 5});
    let answer = world.graphql(create, json!({"i": setting})).await;
    assert_eq!(answer["data"]["createSetting"]["lobValue"], json!({"a": [1]}));
    assert_eq!(code(&world.graphql(create, json!({"i": setting})).await), "C0123E");
    let id = &answer["data"]["createSetting"]["id"];
    let update =
        json!({"i": {"id": id, "valueType": "JSON", "lobValue": {"a": 2}, "context": "RETAILER", "contextId": 5}});
    let answer =
        world.graphql("mutation($i: UpdateSettingInput) { updateSetting(input: $i) { lobValue name } }", update).await;
    assert_eq!(answer["data"]["updateSetting"], json!({"lobValue": {"a": 2}, "name": "fc.x"}));
}

#[tokio::test]
async fn polls_see_every_change_in_their_window() {
    let world = World::start(by_hand()).await;
    for number in 0..5 {
        world.order(&format!("HD_{number}")).await;
        world.clock.advance(Duration::from_secs(1));
    }
    world.fluent.set_order_status("HD_0", "BOOKED");
    let query = "query($from: DateTime, $to: DateTime, $after: String) { orders(updatedOn: {from: $from, to: $to}, retailerId: 5, first: 2, after: $after) {
        edges { cursor node { ref updatedOn } } pageInfo { hasNextPage hasPreviousPage } } }";
    let (mut refs, mut after) = (vec![], Value::Null);
    loop {
        let answer = world.graphql(query, json!({"from": START, "to": "2026-06-15T10:00:05Z", "after": after})).await;
        let page = &answer["data"]["orders"];
        refs.extend(
            page["edges"]
                .as_array()
                .unwrap_or_else(|| panic!("{answer}"))
                .iter()
                .map(|edge| edge["node"]["ref"].clone()),
        );
        after = page["edges"].as_array().unwrap().last().unwrap()["cursor"].clone();
        if page["pageInfo"]["hasNextPage"] == false {
            break;
        }
    }
    assert_eq!(refs, ["HD_1", "HD_2", "HD_3", "HD_4", "HD_0"]);
    let (none, at): (Value, Millis) = (json!({"after": "bm90LW91cnM"}), parse_rfc3339(START).unwrap());
    assert_eq!(code(&world.graphql(query, none).await), "C0101E");
    let late = json!({"from": rfc3339(at), "after": "bm90LW91cnM"});
    assert_eq!(code(&world.graphql(query, late).await), "C0160E");
}
