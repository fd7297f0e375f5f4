//! Return information of an Order (platform-commercetools A8). Items begin as `Advised` or
//! `Returned`; only from `Returned` they go on.

use serde_json::{Value, json};

use super::delivery::{named, unknown};
use super::project::Project;
use super::refusal::{Answer, Refusal};
use super::update::{key, one_of, optional_text, set};
use crate::clock::{parse_rfc3339, rfc3339};

/// Applies one action to `order`.
pub(super) fn change(project: &Project, order: &mut Value, name: &str, action: &Value) -> Answer<()> {
    match name {
        "addReturnInfo" => {
            let mut infos = order["returnInfo"].as_array().cloned().unwrap_or_default();
            let added = info(project, order, action, &infos)?;
            infos.push(added);
            order["returnInfo"] = infos.into();
        }
        "setReturnInfo" => {
            let mut infos = Vec::new();
            for draft in action["items"].as_array().into_iter().flatten() {
                let added = info(project, order, draft, &infos)?;
                infos.push(added);
            }
            order["returnInfo"] = infos.into();
        }
        "setReturnShipmentState" => {
            let state = one_of(action, "shipmentState", &["Advised", "Returned", "BackInStock", "Unusable"])?;
            let item = item(order, action)?;
            if item["shipmentState"] != "Returned" || !matches!(state, "BackInStock" | "Unusable") {
                let message = format!("A return item in state {} cannot become {state}.", item["shipmentState"]);
                return Err(Refusal::invalid_operation(message));
            }
            item["shipmentState"] = state.into();
        }
        _ => {
            let states = ["NonRefundable", "Initial", "Refunded", "NotRefunded"];
            let state = one_of(action, "paymentState", &states)?;
            item(order, action)?["paymentState"] = state.into();
        }
    }
    Ok(())
}

/// A return from its draft; keys of its items must be new in the Order.
fn info(project: &Project, order: &Value, draft: &Value, others: &[Value]) -> Answer<Value> {
    let mut added = json!({"items": []});
    set(&mut added, "returnTrackingId", optional_text(draft, "returnTrackingId")?);
    let date = optional_text(draft, "returnDate")?;
    if date.as_ref().and_then(Value::as_str).is_some_and(|date| parse_rfc3339(date).is_none()) {
        return Err(Refusal::invalid_json("returnDate: Expected a date and time"));
    }
    set(&mut added, "returnDate", date);
    let drafts = draft["items"].as_array().ok_or_else(|| Refusal::invalid_json("items: Missing required value"))?;
    let mut items: Vec<Value> = Vec::new();
    for draft in drafts {
        let item = item_of(project, order, draft)?;
        let all = others.iter().flat_map(|info| info["items"].as_array().into_iter().flatten()).chain(&items);
        if item.get("key").is_some() && all.into_iter().any(|other| other.get("key") == item.get("key")) {
            return Err(Refusal::duplicate("items.key", &item["key"]));
        }
        items.push(item);
    }
    added["items"] = items.into();
    Ok(added)
}

fn item_of(project: &Project, order: &Value, draft: &Value) -> Answer<Value> {
    let state = one_of(draft, "shipmentState", &["Advised", "Returned"])?;
    let quantity = draft["quantity"].as_i64().filter(|quantity| *quantity > 0);
    let quantity = quantity.ok_or_else(|| Refusal::invalid_json("quantity: Expected a positive number"))?;
    let now = rfc3339(project.clock.now());
    let mut item = json!({
        "id": project.new_id(), "quantity": quantity, "shipmentState": state,
        "paymentState": if state == "Advised" { "NonRefundable" } else { "Initial" },
        "createdAt": now, "lastModifiedAt": now,
    });
    let lines = [
        ("lineItemId", "lineItems", "LineItemReturnItem"),
        ("customLineItemId", "customLineItems", "CustomLineItemReturnItem"),
    ];
    let mut known = lines.into_iter().filter(|(field, ..)| draft.get(field).is_some_and(Value::is_string));
    let (field, list, kind) = known.next().ok_or_else(|| Refusal::required_field("lineItemId"))?;
    if !order[list].as_array().into_iter().flatten().any(|line| line["id"] == draft[field]) {
        return Err(unknown("line item", &draft[field]));
    }
    item[field] = draft[field].clone();
    item["type"] = kind.into();
    if draft.get("key").is_some_and(|key| !key.is_null()) {
        item["key"] = key(draft)?;
    }
    set(&mut item, "comment", optional_text(draft, "comment")?);
    Ok(item)
}

/// The return item that an action names by id or key.
fn item<'o>(order: &'o mut Value, action: &Value) -> Answer<&'o mut Value> {
    let (member, name) = named(action, "returnItemId", "returnItemKey")?;
    let infos = order["returnInfo"].as_array_mut().into_iter().flatten();
    let mut items = infos.flat_map(|info| info["items"].as_array_mut().into_iter().flatten());
    items.find(|item| item[member] == *name).ok_or_else(|| unknown("return item", name))
}
