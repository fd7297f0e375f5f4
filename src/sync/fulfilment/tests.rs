//! Corners of the mapping that no golden example shows.

use serde_json::{Value, json};

use super::*;
use crate::commercetools::known::State;
use crate::sync::fixture;

const STATES: [&str; 5] =
    ["Initial", "flLineItemAllocated", "flLineItemPicking", "flLineItemPacked", "flLineItemShipped"];

/// An order of one line with three units, and what moves them.
fn project_units(held: Value, fulfilments: &[(&str, i64, i64, i64)], config: Value) -> (Vec<Value>, Vec<String>) {
    let order = RememberedOrder::from_answer(&json!({
        "id": "o", "version": 1, "orderNumber": "100234", "orderState": "Open",
        "lineItems": [{"id": "l-1", "variant": {"sku": "CAP"}, "quantity": 3, "state": held}],
        "customLineItems": [{"id": "c-1", "key": "wrap", "quantity": 1, "state": []}],
    }))
    .unwrap();
    let node = |(at, (status, requested, filled, rejected)): (usize, &(&str, i64, i64, i64))| {
        let item = |id: usize, reference: &str, quantity: i64| {
            json!({"node": {"id": id.to_string(), "requestedQuantity": quantity, "filledQuantity": filled,
                   "rejectedQuantity": rejected, "orderItem": {"id": "1", "ref": reference, "product": {"ref": "CAP"}}}})
        };
        json!({"node": {"id": (998 + at).to_string(), "ref": format!("F-{at}"), "status": status, "eta": " ",
               "updatedOn": null, "fromLocation": null,
               "items": {"edges": [item(at, "l-1", *requested), item(at + 10, "wrap", 1)]}}})
    };
    let fulfilments: Vec<Value> = fulfilments.iter().enumerate().map(node).rev().collect();
    let fluent = json!({"id": "6469", "ref": "HD_100234", "type": "HD", "status": "PICK_PACK", "updatedOn": null,
                        "retailer": null, "fulfilments": {"edges": fulfilments}});
    let state = |key: &str| State { id: format!("id-{key}"), key: key.into(), initial: false, transitions: None };
    let known = Known { states: STATES.into_iter().chain(["gift-wrapped"]).map(state).collect(), ..Known::default() };
    let mut connection = fixture::connection(&json!({"fulfilment": {"line_item_states": {"enabled": true}}}));
    let states = &mut connection.fulfilment;
    states.metadata = config["metadata"] == true;
    if config["import"] == true {
        states.line_item_states.method = crate::config::model::StateMethod::Import;
    }
    let part = super::project(&Source::new(fixture::read(&fluent)), &order, &known, &connection);
    let actions = part.actions.iter().map(|action| json!(action)).collect();
    (actions, part.notes.iter().map(ToString::to_string).collect())
}

fn in_state(key: &str, quantity: i64) -> Value {
    json!({"quantity": quantity, "state": {"typeId": "state", "id": format!("id-{key}")}})
}

/// `2 flLineItemPicking > flLineItemPacked`
fn moves(actions: &[Value]) -> Vec<String> {
    let key = |action: &Value, member: &str| action[member]["key"].as_str().unwrap().to_owned();
    let text =
        |action: &Value| format!("{} {} > {}", action["quantity"], key(action, "fromState"), key(action, "toState"));
    actions.iter().map(text).collect()
}

#[test]
fn units_never_leave_the_last_state_nor_one_that_is_not_ours() {
    let held = json!([in_state("flLineItemShipped", 1), in_state("gift-wrapped", 1), in_state("Initial", 1)]);
    let (actions, notes) = project_units(held, &[("ASSIGNED", 3, 0, 0)], json!({}));
    assert_eq!((moves(&actions), notes), (vec!["1 Initial > flLineItemPicking".to_owned()], vec![]));
}

#[test]
fn what_was_rejected_goes_back_to_the_beginning() {
    let (actions, _) = project_units(json!([in_state("flLineItemPicking", 3)]), &[("REJECTED", 3, 0, 3)], json!({}));
    assert_eq!(moves(&actions), ["3 flLineItemPicking > Initial"]);
    let split = [("PARTIALLY_FULFILLED", 3, 2, 1), ("ASSIGNED", 1, 0, 0)];
    let (actions, _) = project_units(json!([in_state("flLineItemAllocated", 3)]), &split, json!({}));
    assert_eq!(
        moves(&actions),
        ["2 flLineItemAllocated > flLineItemPacked", "1 flLineItemAllocated > flLineItemPicking"]
    );
}

#[test]
fn more_units_than_the_line_has_move_nothing() {
    let twice = [("ASSIGNED", 3, 0, 0), ("AWAITING_WAVE", 1, 0, 0)];
    let (actions, notes) = project_units(json!([in_state("Initial", 3)]), &twice, json!({}));
    assert_eq!(actions, Vec::<Value>::new());
    assert_eq!(
        notes,
        [
            "fulfilment.too_many: Fulfilments of order HD_100234 hold 4 units of line item l-1, which has 3; its States were left as they are."
        ]
    );
}

#[test]
fn an_import_writes_the_whole_distribution() {
    let held = json!([in_state("gift-wrapped", 1), in_state("Initial", 2)]);
    let (actions, _) = project_units(held, &[("COMPLETE", 3, 2, 1)], json!({"import": true}));
    let by_id = |key: &str, quantity: i64| json!({"quantity": quantity, "state": {"typeId": "state", "id": format!("id-{key}")}});
    // The unit that was rejected stays; of the two that were shipped only one is in a State of ours.
    let state = json!([by_id("gift-wrapped", 1), by_id("Initial", 1), by_id("flLineItemShipped", 1)]);
    assert_eq!(actions, [json!({"action": "importLineItemState", "lineItemId": "l-1", "state": state})]);
}

/// 998 comes before 1000, whatever the order of the answer; blank text is absent; the custom Line Item is known
/// but has no field of ours.
#[test]
fn elements_are_sorted_by_number_and_say_only_what_is_there() {
    let rows = [("CREATED", 1, 0, 0), ("CREATED", 1, 0, 0), ("CREATED", 1, 0, 0)];
    let held = json!([in_state("flLineItemAllocated", 3)]);
    let (actions, notes) = project_units(held, &rows, json!({"metadata": true}));
    assert_eq!((actions.len(), notes), (1, vec![]));
    let text = actions[0]["fields"]["flFulfilmentMetadata"].as_str().unwrap();
    let element = |id: i64, at: usize| {
        format!(
            r#"{{"fulfilmentId":"{id}","fulfilmentRef":"F-{at}","fulfilmentStatus":"CREATED","requestedQuantity":1,"filledQuantity":0,"rejectedQuantity":0}}"#
        )
    };
    assert_eq!(text, format!("[{},{},{}]", element(998, 0), element(999, 1), element(1000, 2)));
}
