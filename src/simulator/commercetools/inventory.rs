//! Inventory entries (platform-commercetools A9): one of a SKU in a supply channel.

use serde_json::{Value, json};

use super::project::Project;
use super::refusal::{Answer, Refusal};
use super::update::{key, set, text, unknown_action};

/// An entry from its draft.
pub(super) fn create(project: &Project, draft: &Value) -> Answer<Value> {
    let quantity = whole(draft, "quantityOnStock")?;
    let mut entry = json!({"sku": text(draft, "sku")?, "quantityOnStock": quantity, "availableQuantity": quantity});
    if draft.get("key").is_some_and(|key| !key.is_null()) {
        entry["key"] = key(draft)?;
    }
    if let Some(channel) = draft.get("supplyChannel").filter(|channel| !channel.is_null()) {
        let found = project.resolve("channel", "supplyChannel", Some(channel))?;
        if !found["roles"].as_array().is_some_and(|roles| roles.iter().any(|role| role == "InventorySupply")) {
            return Err(Refusal::invalid_operation("The channel does not have the role InventorySupply."));
        }
        entry["supplyChannel"] = json!({"typeId": "channel", "id": found["id"]});
    }
    Ok(entry)
}

/// Applies one action to `entry`.
pub(super) fn change(_: &Project, entry: &mut Value, name: &str, action: &Value) -> Answer<()> {
    let stock = entry["quantityOnStock"].as_i64().unwrap_or_default();
    let quantity = match name {
        "changeQuantity" => whole(action, "quantity")?,
        "addQuantity" => stock + whole(action, "quantity")?,
        "removeQuantity" => stock - whole(action, "quantity")?,
        "setKey" => {
            let new = action.get("key").filter(|key| !key.is_null()).map(|_| key(action)).transpose()?;
            set(entry, "key", new);
            return Ok(());
        }
        "setSupplyChannel"
        | "setExpectedDelivery"
        | "setRestockableInDays"
        | "setReservationExpirationInMinutes"
        | "setReorderPoint"
        | "setSafetyStock"
        | "setInventoryLimits"
        | "setCustomType"
        | "setCustomField" => {
            return Err(Refusal::not_simulated(format!("Inventory action {name}")));
        }
        other => return Err(unknown_action(other)),
    };
    entry["quantityOnStock"] = quantity.into();
    entry["availableQuantity"] = quantity.into();
    Ok(())
}

/// What is unique beside the key.
pub(super) fn place(entry: &Value) -> Option<String> {
    let channel = entry["supplyChannel"]["id"].as_str().unwrap_or_default();
    Some(format!("{channel} {}", entry["sku"].as_str()?))
}

fn whole(of: &Value, field: &str) -> Answer<i64> {
    let value = of.get(field).and_then(Value::as_i64);
    value.ok_or_else(|| Refusal::invalid_json(format!("{field}: Expected a whole number")))
}
