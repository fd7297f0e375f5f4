//! Custom fields and States of the Line Items of an Order (platform-commercetools A8).

use serde_json::{Value, json};

use super::custom;
use super::delivery::{named, unknown};
use super::order::check_transition;
use super::project::Project;
use super::refusal::{Answer, Refusal};

/// Applies one action to `order`.
pub(super) fn change(project: &Project, order: &mut Value, name: &str, action: &Value) -> Answer<()> {
    let (member, wanted) = named(action, "lineItemId", "lineItemKey")?;
    let mut lines = order["lineItems"].as_array_mut().into_iter().flatten();
    let line = lines.find(|line| line[member] == *wanted).ok_or_else(|| unknown("line item", wanted))?;
    match name {
        "setLineItemCustomType" => custom::set_type(project, "line-item", line, action),
        "setLineItemCustomField" => custom::set_field(project, line, action),
        "transitionLineItemState" => transition(project, line, action),
        _ => import(project, line, action),
    }
}

/// Moves units from a State that has them to one that its transitions allow.
fn transition(project: &Project, line: &mut Value, action: &Value) -> Answer<()> {
    let quantity = action["quantity"].as_i64().filter(|quantity| *quantity > 0);
    let quantity = quantity.ok_or_else(|| Refusal::invalid_json("quantity: Expected a positive number"))?;
    let (from, to) = (state(project, action, "fromState")?, state(project, action, "toState")?);
    check_transition(from, to)?;
    let mut states = line["state"].as_array().cloned().unwrap_or_default();
    let held = states.iter_mut().find(|held| held["state"]["id"] == from["id"]);
    let held = held.filter(|held| held["quantity"].as_i64().is_some_and(|held| held >= quantity));
    let Some(held) = held else {
        let message = format!("State {} does not hold {quantity} units of the line item.", from["key"]);
        return Err(Refusal::invalid_operation(message));
    };
    held["quantity"] = (held["quantity"].as_i64().unwrap_or_default() - quantity).into();
    match states.iter_mut().find(|held| held["state"]["id"] == to["id"]) {
        Some(held) => held["quantity"] = (held["quantity"].as_i64().unwrap_or_default() + quantity).into(),
        None => states.push(json!({"quantity": quantity, "state": {"typeId": "state", "id": to["id"]}})),
    }
    states.retain(|held| held["quantity"] != 0);
    line["state"] = states.into();
    Ok(())
}

/// Distributes all units anew; transitions do not matter, but the sum does.
fn import(project: &Project, line: &mut Value, action: &Value) -> Answer<()> {
    let given = action["state"].as_array().ok_or_else(|| Refusal::invalid_json("state: Missing required value"))?;
    let mut states = Vec::new();
    for draft in given {
        // A reference, not a resource identifier (schema ItemState): a key does not do.
        if !draft["state"]["id"].is_string() {
            return Err(Refusal::invalid_json("state.id: Missing required value"));
        }
        let found = state(project, draft, "state")?;
        states.push(json!({"quantity": draft["quantity"], "state": {"typeId": "state", "id": found["id"]}}));
    }
    let sum: i64 = states.iter().filter_map(|held| held["quantity"].as_i64()).sum();
    if Some(sum) != line["quantity"].as_i64() {
        let message = format!("The states hold {sum} units, the line item has {}.", line["quantity"]);
        return Err(Refusal::invalid_operation(message));
    }
    line["state"] = states.into();
    Ok(())
}

fn state<'p>(project: &'p Project, of: &Value, field: &'static str) -> Answer<&'p Value> {
    let found = project.resolve("state", field, of.get(field))?;
    match found["type"] == "LineItemState" {
        true => Ok(found),
        false => Err(Refusal::invalid_operation(format!("State {} is not a LineItemState.", found["key"]))),
    }
}
