//! Deliveries and Parcels of an Order (platform-commercetools A8).
//!
//! Keys are unique within the Order. Quantities are not checked against the Order, as on the platform.

use serde_json::{Value, json};

use super::custom;
use super::project::Project;
use super::refusal::{Answer, Refusal};
use super::update::{key_named, set, text};
use crate::clock::rfc3339;

/// The actions that [`change`] knows.
pub(super) const ACTIONS: &[&str] = &[
    "addDelivery",
    "removeDelivery",
    "setDeliveryItems",
    "setDeliveryCustomType",
    "setDeliveryCustomField",
    "addParcelToDelivery",
    "removeParcelFromDelivery",
    "setParcelTrackingData",
    "setParcelItems",
    "setParcelMeasurements",
    "setParcelCustomType",
    "setParcelCustomField",
];

/// Applies one action to `order`.
pub(super) fn change(project: &Project, order: &mut Value, name: &str, action: &Value) -> Answer<()> {
    match name {
        "addDelivery" => add(project, order, action),
        "removeDelivery" => {
            let id = delivery(order, action)?["id"].clone();
            each_list(order, |deliveries| deliveries.retain(|delivery| delivery["id"] != id));
            Ok(())
        }
        "setDeliveryItems" => {
            let items = items(order, action, true)?;
            delivery(order, action)?["items"] = items;
            Ok(())
        }
        "setDeliveryCustomType" => custom::set_type(project, "order-delivery", delivery(order, action)?, action),
        "setDeliveryCustomField" => custom::set_field(project, delivery(order, action)?, action),
        "addParcelToDelivery" => {
            let parcel = parcel_of(project, order, action, "parcelKey")?;
            delivery(order, action)?["parcels"].as_array_mut().into_iter().for_each(|all| all.push(parcel.clone()));
            Ok(())
        }
        "removeParcelFromDelivery" => {
            let id = parcel(order, action)?["id"].clone();
            let remove = |delivery: &mut Value| {
                delivery["parcels"].as_array_mut().into_iter().for_each(|all| all.retain(|found| found["id"] != id));
            };
            each_list(order, |deliveries| deliveries.iter_mut().for_each(remove));
            Ok(())
        }
        "setParcelTrackingData" => {
            set(parcel(order, action)?, "trackingData", tracking_data(action)?);
            Ok(())
        }
        "setParcelItems" => {
            let items = items(order, action, true)?;
            parcel(order, action)?["items"] = items;
            Ok(())
        }
        "setParcelMeasurements" => {
            set(parcel(order, action)?, "measurements", measurements(action)?);
            Ok(())
        }
        "setParcelCustomType" => custom::set_type(project, "order-parcel", parcel(order, action)?, action),
        _ => custom::set_field(project, parcel(order, action)?, action),
    }
}

fn add(project: &Project, order: &mut Value, action: &Value) -> Answer<()> {
    let mut added = json!({
        "id": project.new_id(), "createdAt": rfc3339(project.clock.now()), "items": items(order, action, false)?,
        "parcels": [],
    });
    if action.get("deliveryKey").is_some_and(|key| !key.is_null()) {
        let key = key_named(action, "deliveryKey")?;
        if deliveries(order).any(|delivery| delivery["key"] == key) {
            return Err(Refusal::duplicate("deliveryKey", &key));
        }
        added["key"] = key;
    }
    let mut parcels: Vec<Value> = Vec::new();
    for draft in action["parcels"].as_array().into_iter().flatten() {
        let parcel = parcel_of(project, order, draft, "key")?;
        if parcel.get("key").is_some() && parcels.iter().any(|other| other["key"] == parcel["key"]) {
            return Err(Refusal::duplicate("parcels.key", &parcel["key"]));
        }
        parcels.push(parcel);
    }
    added["parcels"] = parcels.into();
    if let Some(draft) = action.get("custom").filter(|draft| !draft.is_null()) {
        added["custom"] = custom::from_draft(project, "order-delivery", draft)?;
    }
    let shipping = match order["shippingMode"] == "Multiple" {
        true => {
            let key = action.get("shippingKey").and_then(Value::as_str);
            let key = key.ok_or_else(|| Refusal::required_field("shippingKey"))?;
            let mut all = order["shipping"].as_array_mut().into_iter().flatten();
            all.find(|shipping| shipping["shippingKey"] == key).map(|shipping| &mut shipping["shippingInfo"])
        }
        false => order.get_mut("shippingInfo"),
    };
    let shipping = shipping.filter(|info| info.is_object());
    let shipping = shipping.ok_or_else(|| Refusal::invalid_operation("The order has no shipping info."))?;
    if shipping["deliveries"].is_null() {
        shipping["deliveries"] = json!([]);
    }
    shipping["deliveries"].as_array_mut().into_iter().for_each(|all| all.push(added.clone()));
    Ok(())
}

/// A Parcel from its draft; its key stands in `key_field`.
fn parcel_of(project: &Project, order: &Value, draft: &Value, key_field: &str) -> Answer<Value> {
    let mut parcel = json!({
        "id": project.new_id(), "createdAt": rfc3339(project.clock.now()), "items": items(order, draft, false)?,
    });
    if draft.get(key_field).is_some_and(|key| !key.is_null()) {
        let key = key_named(draft, key_field)?;
        let mut all = deliveries(order).flat_map(|delivery| delivery["parcels"].as_array().into_iter().flatten());
        if all.any(|other| other["key"] == key) {
            return Err(Refusal::duplicate(key_field, &key));
        }
        parcel["key"] = key;
    }
    set(&mut parcel, "trackingData", tracking_data(draft)?);
    set(&mut parcel, "measurements", measurements(draft)?);
    if let Some(custom) = draft.get("custom").filter(|custom| !custom.is_null()) {
        parcel["custom"] = custom::from_draft(project, "order-parcel", custom)?;
    }
    Ok(parcel)
}

/// Units of lines of this Order.
fn items(order: &Value, of: &Value, required: bool) -> Answer<Value> {
    let Some(items) = of.get("items").and_then(Value::as_array) else {
        return match required {
            true => Err(Refusal::invalid_json("items: Missing required value")),
            false => Ok(json!([])),
        };
    };
    for item in items {
        let id = text(item, "id")?;
        if item["quantity"].as_i64().is_none() {
            return Err(Refusal::invalid_json("items -> quantity: Missing required value"));
        }
        let lines = ["lineItems", "customLineItems"].map(|list| order[list].as_array().into_iter().flatten());
        if !lines.into_iter().flatten().any(|line| line["id"] == id) {
            return Err(Refusal::invalid_operation(format!("The order has no line item with the id '{id}'.")));
        }
    }
    Ok(items.iter().map(|item| json!({"id": item["id"], "quantity": item["quantity"]})).collect())
}

fn tracking_data(of: &Value) -> Answer<Option<Value>> {
    let Some(data) = of.get("trackingData").filter(|data| !data.is_null()) else { return Ok(None) };
    let mut stored = json!({"isReturn": data["isReturn"] == true});
    for name in ["trackingId", "carrier", "provider", "providerTransaction"] {
        set(&mut stored, name, super::update::optional_text(data, name)?);
    }
    Ok(Some(stored))
}

fn measurements(of: &Value) -> Answer<Option<Value>> {
    let Some(given) = of.get("measurements").filter(|given| !given.is_null()) else { return Ok(None) };
    for name in ["heightInMillimeter", "lengthInMillimeter", "widthInMillimeter", "weightInGram"] {
        if given.get(name).is_some_and(|number| number.as_i64().is_none()) {
            return Err(Refusal::invalid_json(format!("measurements -> {name}: Expected a whole number")));
        }
    }
    Ok(Some(given.clone()))
}

fn deliveries(order: &Value) -> impl Iterator<Item = &Value> {
    let single = order["shippingInfo"]["deliveries"].as_array().into_iter().flatten();
    let all = order["shipping"].as_array().into_iter().flatten();
    single.chain(all.flat_map(|shipping| shipping["shippingInfo"]["deliveries"].as_array().into_iter().flatten()))
}

/// The lists of Deliveries of the Order, one per shipping.
fn lists(order: &mut Value) -> Vec<&mut Vec<Value>> {
    let mut lists = Vec::new();
    let Some(order) = order.as_object_mut() else { return lists };
    for (name, value) in order.iter_mut() {
        match name.as_str() {
            "shippingInfo" => lists.extend(value.get_mut("deliveries").and_then(Value::as_array_mut)),
            "shipping" => {
                let all = value.as_array_mut().into_iter().flatten();
                lists.extend(all.filter_map(|one| one.get_mut("shippingInfo")?.get_mut("deliveries")?.as_array_mut()));
            }
            _ => {}
        }
    }
    lists
}

fn each_list(order: &mut Value, change: impl FnMut(&mut Vec<Value>)) {
    lists(order).into_iter().for_each(change);
}

/// The Delivery that an action names by id or key.
fn delivery<'o>(order: &'o mut Value, action: &Value) -> Answer<&'o mut Value> {
    let (member, name) = named(action, "deliveryId", "deliveryKey")?;
    let mut all = lists(order).into_iter().flatten();
    all.find(|delivery| delivery[member] == *name).ok_or_else(|| unknown("delivery", name))
}

/// The Parcel that an action names by id or key.
fn parcel<'o>(order: &'o mut Value, action: &Value) -> Answer<&'o mut Value> {
    let (member, name) = named(action, "parcelId", "parcelKey")?;
    let all = lists(order).into_iter().flatten();
    let mut all = all.flat_map(|delivery| delivery["parcels"].as_array_mut().into_iter().flatten());
    all.find(|parcel| parcel[member] == *name).ok_or_else(|| unknown("parcel", name))
}

/// Which member of a resource an action names, and its value.
pub(super) fn named<'a>(action: &'a Value, id: &str, key: &str) -> Answer<(&'static str, &'a Value)> {
    let given = |field: &str| action.get(field).filter(|value| value.is_string());
    let by_id = given(id).map(|value| ("id", value));
    by_id.or_else(|| given(key).map(|value| ("key", value))).ok_or_else(|| Refusal::required_field(id))
}

pub(super) fn unknown(what: &str, name: &Value) -> Refusal {
    Refusal::invalid_operation(format!("The order has no {what} {name}."))
}
