//! Where an order goes: click and collect, several addresses, several shippings.

use serde_json::{Value, json};

use super::to_fluent;
use crate::failure::Failure;
use crate::sync::fixture::{connection, order};

fn input(changes: Value, overrides: Value) -> Value {
    let input = to_fluent(&order(&changes), "4711", &connection(&overrides)).unwrap().input;
    serde_json::from_str(&serde_json::to_string(&input).unwrap()).unwrap()
}

fn refusal(changes: Value, overrides: Value) -> String {
    match to_fluent(&order(&changes), "4711", &connection(&overrides)) {
        Err(Failure::Rejected { sentence }) => sentence,
        other => panic!("not rejected: {other:?}"),
    }
}

/// A line item that goes to these addresses or, as `method:key`, by these shippings.
fn to(targets: &[(&str, i64)]) -> Value {
    let target = |(key, quantity): &(&str, i64)| match key.strip_prefix("method:") {
        Some(method) => json!({"shippingMethodKey": method, "quantity": quantity}),
        None => json!({"addressKey": key, "quantity": quantity}),
    };
    json!({"shippingDetails": {"targets": targets.iter().map(target).collect::<Vec<_>>(), "valid": true}})
}

fn pickup(location: &str) -> Value {
    json!({"fields": {"flPickupLocationRef": location}})
}

fn office() -> Value {
    json!([{"key": "office", "city": "Hamburg", "country": "DE"}])
}

/// `<choice> <type>: <items>` of every choice.
fn shown(input: &Value) -> Vec<String> {
    let items = input["items"].as_array().unwrap();
    let of = |choice: &Value| {
        let named =
            |item: &&Value| item["fulfilmentChoiceRef"].is_null() || item["fulfilmentChoiceRef"] == choice["ref"];
        let items = items.iter().filter(named);
        let items: Vec<String> =
            items.map(|item| format!("{} {}", item["ref"].as_str().unwrap(), item["quantity"])).collect();
        let place = choice["pickupLocationRef"].as_str().or(choice["deliveryAddress"]["city"].as_str()).unwrap_or("-");
        format!(
            "{} {} at {}: {}",
            choice["type"].as_str().unwrap_or("-"),
            place,
            choice["fulfilmentPrice"],
            items.join(", ")
        )
    };
    match input["fulfilmentChoices"].as_array() {
        Some(several) => several.iter().map(of).collect(),
        None => vec![of(&input["fulfilmentChoice"])],
    }
}

#[test]
fn the_pickup_location_is_found_in_its_order() {
    let fields = json!({"custom": pickup("ORDER"), "shippingCustomFields": pickup("SHIPPING")});
    let methods = json!({"order": {"shipping_methods": {"dhl": {"pickup_location_ref": "METHOD"}}}});
    let of = |changes: Value, overrides: Value| {
        let input = input(changes, overrides);
        (input["type"].clone(), input["fulfilmentChoice"]["pickupLocationRef"].clone())
    };
    assert_eq!(of(fields, methods.clone()), (json!("CC"), json!("SHIPPING")));
    assert_eq!(of(json!({"custom": pickup("ORDER")}), methods.clone()), (json!("CC"), json!("ORDER")));
    assert_eq!(of(json!({"custom": pickup(" ")}), methods), (json!("CC"), json!("METHOD")));
    assert_eq!(of(json!({}), json!({})), (json!("HD"), json!(null)));
    let channel = |key: &str| json!({"supplyChannel": {"id": "c", "obj": {"key": key}}});
    let overrides = json!({"order": {"pickup": {"from_supply_channel": true}}});
    let same = json!({"lineItems": [channel("STORE"), channel("STORE")]});
    assert_eq!(of(same.clone(), overrides.clone()), (json!("CC"), json!("STORE")));
    assert_eq!(of(same, json!({})).0, json!("HD"), "only by configuration");
    let others = json!({"lineItems": [channel("STORE"), channel("OTHER")]});
    assert_eq!(of(others, overrides).0, json!("HD"));
    let own = json!({"order": {"pickup": {"custom_field": "store"}}});
    assert_eq!(of(json!({"custom": {"fields": {"store": "S"}}}), own), (json!("CC"), json!("S")));
}

#[test]
fn who_collects_needs_no_address_but_a_location() {
    let changes = json!({"custom": pickup("LOC"), "shippingAddress": null});
    let nowhere = input(changes, json!({"order": {"types": {"CC": "COLLECT"}}}));
    let choice = &nowhere["fulfilmentChoice"];
    assert_eq!((&nowhere["ref"], &nowhere["type"]), (&json!("COLLECT_20001"), &json!("COLLECT")));
    assert_eq!((&choice["fulfilmentType"], choice.get("type")), (&json!("CC_PFS"), None));
    assert_eq!(choice.get("deliveryAddress"), None);
    let named = input(
        json!({"custom": pickup("LOC"), "shippingAddress": {"firstName": null, "lastName": ""},
               "billingAddress": {"firstName": "Bo", "lastName": "Pay"}}),
        json!({}),
    );
    let choice = &named["fulfilmentChoice"];
    assert_eq!((&choice["deliveryFirstName"], &choice["deliveryLastName"]), (&json!("Bo"), &json!("Pay")));
    let methods = json!({"order": {"shipping_methods": {"dhl": {"order_type": "CC"}}}});
    assert_eq!(
        refusal(json!({}), methods),
        "Order 20001 is click and collect, but no pickup location is given (field flPickupLocationRef)."
    );
}

#[test]
fn several_addresses_are_several_deliveries() {
    let split = json!({
        "lineItems": [to(&[("office", 1), ("home", 1)]), to(&[("home", 1)])], "itemShippingAddresses": office()
    });
    let split = input(split, json!({}));
    assert_eq!(split["type"], "MULTI");
    assert_eq!(shown(&split), ["HD Hamburg at 3.74: line-1:1 1", "HD Berlin at 0: line-1:2 1, line-2 1"]);
    let one = input(json!({"lineItems": [to(&[("home", 2)])]}), json!({}));
    assert_eq!(shown(&one), ["- Berlin at 3.74: line-1 2, line-2 1"], "the shipping address by its key");
    let lines = json!([to(&[("office", 2)]), to(&[("office", 1)])]);
    let office_only = input(json!({"lineItems": lines, "itemShippingAddresses": office()}), json!({}));
    assert_eq!(shown(&office_only), ["- Hamburg at 3.74: line-1 2, line-2 1"]);
    assert_eq!(office_only["fulfilmentChoice"]["deliveryEmail"], "ada@example.com");
    let rest = json!({"lineItems": [to(&[("office", 1)])], "itemShippingAddresses": office()});
    assert_eq!(
        shown(&input(rest, json!({}))),
        ["HD Hamburg at 3.74: line-1:1 1", "HD Berlin at 0: line-1:2 1, line-2 1"],
        "what no target names goes to the shipping address"
    );
    let much = json!({"lineItems": [to(&[("office", 3)])], "itemShippingAddresses": office()});
    assert_eq!(refusal(much, json!({})), "Line line-1 of order 20001 has the quantity 2, but 3 are to be delivered.");
}

#[test]
fn lines_that_are_collected_are_deliveries_of_their_own_after_the_others() {
    let collected = json!({"lineItems": [{"custom": pickup("LOC-1")}]});
    let mixed = input(collected.clone(), json!({}));
    assert_eq!(shown(&mixed), ["HD Berlin at 3.74: line-2 1", "CC LOC-1 at 0: line-1 2"]);
    assert_eq!(
        refusal(collected, json!({"order": {"multi": "reject"}})),
        "Order 20001 needs two deliveries; this connection does not allow MULTI orders."
    );
    let all = json!({"lineItems": [{"custom": pickup("LOC-1")}, {"custom": pickup("LOC-1")}]});
    assert_eq!(shown(&input(all, json!({}))), ["- LOC-1 at 3.74: line-1 2, line-2 1"]);
    let two = json!({"lineItems": [{"custom": pickup("LOC-1")}, {"custom": pickup("LOC-2")}]});
    assert_eq!(shown(&input(two, json!({}))), ["CC LOC-1 at 3.74: line-1 2", "CC LOC-2 at 0: line-2 1"]);
}

#[test]
fn a_shipping_without_lines_leaves_its_price_to_the_first() {
    let shipping = |key: &str, city: &str| {
        json!({"shippingKey": key, "shippingAddress": {"key": city, "city": city, "country": "DE"},
               "shippingInfo": order(&json!({})).source["shippingInfo"]})
    };
    let several = |lines: Value| {
        json!({
            "shippingMode": "Multiple", "shippingInfo": null, "lineItems": lines,
            "shipping": [shipping("a", "Bonn"), shipping("b", "Jena"), shipping("c", "Kiel")]
        })
    };
    let unchecked = json!({"order": {"total_check": "off", "total_discount": "attribute",
        "custom_line_item_product_refs": {"gift-wrap": "WRAP"}}});
    let lines = json!([to(&[("method:c", 1), ("method:b", 1)]), to(&[("Kiel", 1)])]);
    let shown_of = |lines: Value| shown(&input(several(lines), unchecked.clone()));
    assert_eq!(shown_of(lines), ["HD Jena at 8.32: line-1:1 1, custom-1 1", "HD Kiel at 4.16: line-1:2 1, line-2 1"]);
    assert_eq!(
        shown_of(json!([{}])),
        ["- Bonn at 12.48: line-1 2, line-2 1, custom-1 1"],
        "without targets: the first"
    );
    let nowhere = refusal(several(json!([to(&[("method:x", 1)])])), json!({}));
    assert_eq!(nowhere, "Line line-1 of order 20001 is to be sent by x, which is no shipping of the order.");
}
