//! Update actions of Orders (platform-commercetools A8).

use serde_json::{Value, json};

use super::project::Project;
use super::refusal::{Answer, Refusal};
use super::update::{address, one_of, optional_text, set, text, unknown_action};
use super::{custom, delivery, line_item, returns};
use crate::clock::{parse_rfc3339, rfc3339};

const ORDER_STATES: &[&str] = &["Open", "Confirmed", "Complete", "Cancelled"];
/// `Canceled` has one l here and two in the order state.
const SHIPMENT_STATES: &[&str] =
    &["Shipped", "Delivered", "Ready", "Pending", "Delayed", "Partial", "Backorder", "Canceled"];
const PAYMENT_STATES: &[&str] = &["BalanceDue", "Failed", "Pending", "CreditOwed", "Paid"];

/// Applies one action to `order`.
pub(super) fn change(project: &Project, order: &mut Value, name: &str, action: &Value) -> Answer<()> {
    match name {
        "updateSyncInfo" => update_sync_info(project, order, action)?,
        "setCustomType" => custom::set_type(project, "order", order, action)?,
        "setCustomField" => custom::set_field(project, order, action)?,
        "changeOrderState" => order["orderState"] = one_of(action, "orderState", ORDER_STATES)?.into(),
        "changeShipmentState" => order["shipmentState"] = one_of(action, "shipmentState", SHIPMENT_STATES)?.into(),
        "changePaymentState" => order["paymentState"] = one_of(action, "paymentState", PAYMENT_STATES)?.into(),
        "transitionState" => transition_state(project, order, action)?,
        "setBillingAddress" => set(order, "billingAddress", address(action, "address")?),
        "setShippingAddress" => set(order, "shippingAddress", address(action, "address")?),
        "setCustomerEmail" => set(order, "customerEmail", optional_text(action, "email")?),
        "addPayment" => add_payment(project, order, action)?,
        "setOrderNumber" => set_order_number(order, action)?,
        "setLineItemCustomType" | "setLineItemCustomField" | "transitionLineItemState" | "importLineItemState" => {
            line_item::change(project, order, name, action)?;
        }
        "addReturnInfo" | "setReturnInfo" | "setReturnShipmentState" | "setReturnPaymentState" => {
            returns::change(project, order, name, action)?;
        }
        other if delivery::ACTIONS.contains(&other) => delivery::change(project, order, other, action)?,
        other if NOT_SIMULATED.contains(&other) => return Err(Refusal::not_simulated(format!("Order action {other}"))),
        other => return Err(unknown_action(other)),
    }
    Ok(())
}

/// The channel must exist and have an order role; its former entry is replaced.
fn update_sync_info(project: &Project, order: &mut Value, action: &Value) -> Answer<()> {
    let channel = project.resolve("channel", "channel", action.get("channel"))?;
    let has = |role: &str| channel["roles"].as_array().is_some_and(|roles| roles.iter().any(|found| found == role));
    if !has("OrderExport") && !has("OrderImport") {
        let key = &channel["key"];
        let message = format!("Channel {key} has neither the role OrderExport nor OrderImport.");
        return Err(Refusal::invalid_operation(message));
    }
    let synced_at = match action.get("syncedAt").filter(|at| !at.is_null()) {
        None => project.clock.now(),
        Some(at) => at
            .as_str()
            .and_then(parse_rfc3339)
            .ok_or_else(|| Refusal::invalid_json("syncedAt: Expected a date and time"))?,
    };
    let mut entry = json!({
        "channel": {"typeId": "channel", "id": channel["id"]},
        "syncedAt": rfc3339(synced_at),
    });
    set(&mut entry, "externalId", optional_text(action, "externalId")?);
    let mut entries = order["syncInfo"].as_array().cloned().unwrap_or_default();
    match entries.iter_mut().find(|found| found["channel"]["id"] == channel["id"]) {
        Some(found) => *found = entry,
        None => entries.push(entry),
    }
    order["syncInfo"] = entries.into();
    Ok(())
}

/// The first State must be initial; later ones must be among the current one's transitions, if it
/// names any. `force` turns both rules off.
fn transition_state(project: &Project, order: &mut Value, action: &Value) -> Answer<()> {
    let target = project.resolve("state", "state", action.get("state"))?;
    if target["type"] != "OrderState" {
        return Err(Refusal::invalid_operation(format!("State {} is not an OrderState.", target["key"])));
    }
    let states = super::resource::of_type("state");
    let current = states.zip(order["state"]["id"].as_str()).and_then(|(states, id)| project.find(states, id));
    if action["force"] != true {
        match current {
            None if target["initial"] != true => {
                return Err(Refusal::invalid_operation(format!("State {} is not initial.", target["key"])));
            }
            Some(current) => check_transition(current, target)?,
            None => {}
        }
    }
    order["state"] = json!({"typeId": "state", "id": target["id"]});
    Ok(())
}

pub(super) fn check_transition(current: &Value, target: &Value) -> Answer<()> {
    let Some(transitions) = current["transitions"].as_array() else { return Ok(()) };
    if transitions.iter().any(|allowed| allowed["id"] == target["id"]) {
        return Ok(());
    }
    let (from, to) = (&current["key"], &target["key"]);
    Err(Refusal::invalid_operation(format!("The transition from State {from} to {to} is not allowed.")))
}

fn add_payment(project: &Project, order: &mut Value, action: &Value) -> Answer<()> {
    let payment = project.resolve("payment", "payment", action.get("payment"))?;
    let reference = json!({"typeId": "payment", "id": payment["id"]});
    let mut payments = order["paymentInfo"]["payments"].as_array().cloned().unwrap_or_default();
    if payments.iter().any(|found| found["id"] == payment["id"]) {
        return Err(Refusal::invalid_operation(format!("Payment {} is already added.", payment["id"])));
    }
    payments.push(reference);
    order["paymentInfo"] = json!({"payments": payments});
    Ok(())
}

/// An order number cannot be changed once it is set; uniqueness is checked with the whole update.
fn set_order_number(order: &mut Value, action: &Value) -> Answer<()> {
    let number = text(action, "orderNumber")?;
    match order.get("orderNumber") {
        Some(set) if set != number => Err(Refusal::invalid_operation("The order number is already set.")),
        _ => {
            order["orderNumber"] = number.into();
            Ok(())
        }
    }
}

/// Actions that Orders have and this simulation has not.
const NOT_SIMULATED: &[&str] = &[
    "addItemShippingAddress",
    "importCustomLineItemState",
    "removeItemShippingAddress",
    "removePayment",
    "setBillingAddressCustomField",
    "setBillingAddressCustomType",
    "setBusinessUnit",
    "setCustomLineItemCustomField",
    "setCustomLineItemCustomType",
    "setCustomLineItemShippingDetails",
    "setCustomerId",
    "setDeliveryAddress",
    "setDeliveryAddressCustomField",
    "setDeliveryAddressCustomType",
    "setEstimatedDelivery",
    "setItemShippingAddressCustomField",
    "setItemShippingAddressCustomType",
    "setLineItemShippingDetails",
    "setLocale",
    "setPurchaseOrderNumber",
    "setReturnItemCustomField",
    "setReturnItemCustomType",
    "setShippingAddressCustomField",
    "setShippingAddressCustomType",
    "setShippingCustomField",
    "setShippingCustomType",
    "setStore",
    "transitionCustomLineItemState",
    "updateItemShippingAddress",
];
