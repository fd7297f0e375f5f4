//! Messages (platform-commercetools A5) and their notifications (A6): what a change says about itself.
//!
//! Messages follow from the difference between two documents, whoever made it. Updates that have no
//! message type on the platform (`updateSyncInfo`, `setOrderNumber`) say nothing here either.

use serde_json::{Map, Value, json};

use super::catalogue;
use super::project::Author;

/// A change worth a Message: its type and the type-specific fields.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub kind: &'static str,
    pub fields: Map<String, Value>,
}

impl Event {
    pub fn new(kind: &'static str, fields: Value) -> Self {
        let fields = match fields {
            // Absent, not null: `oldOrderState` of a first value and the like.
            Value::Object(fields) => fields.into_iter().filter(|(_, value)| !value.is_null()).collect(),
            _ => Map::new(),
        };
        Self { kind, fields }
    }
}

/// What a change of a resource from `before` (`None` = created) to `after` announces.
pub(super) fn events(type_id: &str, before: Option<&Value>, after: &Value) -> Vec<Event> {
    match (type_id, before) {
        ("order", None) => {
            let kind = if after.get("cart").is_some() { "OrderCreated" } else { "OrderImported" };
            vec![Event::new(kind, json!({"order": after}))]
        }
        ("order", Some(before)) => order_events(before, after),
        ("payment", None) => vec![Event::new("PaymentCreated", json!({"payment": after}))],
        ("payment", Some(before)) => payment_events(before, after),
        ("customer", None) => vec![Event::new("CustomerCreated", json!({"customer": after}))],
        ("customer", Some(before)) if before["email"] != after["email"] => {
            let fields = json!({"email": after["email"], "oldEmail": before["email"]});
            vec![Event::new("CustomerEmailChanged", fields)]
        }
        ("category", _) => catalogue::category_events(before, after),
        ("product", _) => catalogue::product_events(before, after),
        ("standalone-price", _) => vec![catalogue::price_event(before, after)],
        // Channels, Types and States have no messages (A5).
        _ => Vec::new(),
    }
}

/// What the deletion of an order or a customer announces.
pub(super) fn deleted(type_id: &str, before: &Value) -> Option<Event> {
    match type_id {
        "order" => Some(Event::new("OrderDeleted", json!({"order": before}))),
        "customer" => Some(Event::new("CustomerDeleted", json!({}))),
        _ => None,
    }
}

fn order_events(before: &Value, after: &Value) -> Vec<Event> {
    let mut found = Vec::new();
    for (field, kind, new, old) in [
        ("billingAddress", "OrderBillingAddressSet", "address", "oldAddress"),
        ("shippingAddress", "OrderShippingAddressSet", "address", "oldAddress"),
        ("customerEmail", "OrderCustomerEmailSet", "email", "oldEmail"),
        ("state", "OrderStateTransition", "state", "oldState"),
        ("shipmentState", "OrderShipmentStateChanged", "shipmentState", "oldShipmentState"),
        ("paymentState", "OrderPaymentStateChanged", "paymentState", "oldPaymentState"),
        ("orderState", "OrderStateChanged", "orderState", "oldOrderState"),
    ] {
        if before.get(field) != after.get(field) {
            let mut fields = json!({new: after.get(field), old: before.get(field)});
            if field == "state" {
                fields["force"] = false.into();
            }
            found.push(Event::new(kind, fields));
        }
    }
    let payments = |order: &Value| order["paymentInfo"]["payments"].as_array().cloned().unwrap_or_default();
    let known = payments(before);
    for payment in payments(after) {
        if !known.iter().any(|old| old["id"] == payment["id"]) {
            found.push(Event::new("OrderPaymentAdded", json!({"paymentRef": payment})));
        }
    }
    custom_events(before.get("custom"), after.get("custom"), &mut found);
    if goods(before) != goods(after) {
        // Lines of an order change by an Order Edit only.
        found.push(Event::new("OrderEditApplied", edit_applied(before, after)));
    }
    line_item_events(before, after, &mut found);
    delivery_events(before, after, &mut found);
    return_events(before, after, &mut found);
    found
}

/// What was ordered: the lines without what is noted at them.
fn goods(order: &Value) -> Vec<Value> {
    let mut lines = order["lineItems"].as_array().cloned().unwrap_or_default();
    for line in lines.iter_mut().filter_map(Value::as_object_mut) {
        line.retain(|name, _| !matches!(name.as_str(), "state" | "custom"));
    }
    lines
}

fn edit_applied(before: &Value, after: &Value) -> Value {
    let excerpt = |order: &Value| json!({"totalPrice": order["totalPrice"], "version": order["version"]});
    json!({
        "edit": {"typeId": "order-edit", "id": before["id"]},
        "result": {
            "type": "Applied", "appliedAt": before["lastModifiedAt"],
            "excerptBeforeEdit": excerpt(before), "excerptAfterEdit": excerpt(after),
        },
    })
}

/// One action moves units from one State to another; it is seen from what both hold.
fn line_item_events(before: &Value, after: &Value, found: &mut Vec<Event>) {
    let lines = |order: &Value| order["lineItems"].as_array().cloned().unwrap_or_default();
    for (old, new) in lines(before).iter().zip(lines(after)).filter(|(old, new)| old["state"] != new["state"]) {
        let held = |line: &Value, state: &Value| {
            let mut rows = line["state"].as_array().into_iter().flatten().filter(|row| row["state"] == *state);
            rows.next().and_then(|row| row["quantity"].as_i64()).unwrap_or_default()
        };
        let states = |line: &Value| line["state"].as_array().cloned().unwrap_or_default();
        let from = states(old).into_iter().find(|row| held(&new, &row["state"]) < held(old, &row["state"]));
        let to = states(&new).into_iter().find(|row| held(old, &row["state"]) < held(&new, &row["state"]));
        if let (Some(from), Some(to)) = (from, to) {
            let quantity = held(&new, &to["state"]) - held(old, &to["state"]);
            let fields = json!({
                "lineItemId": new["id"], "transitionDate": after["lastModifiedAt"], "quantity": quantity,
                "fromState": from["state"], "toState": to["state"],
            });
            found.push(Event::new("LineItemStateTransition", fields));
        }
    }
}

fn delivery_events(before: &Value, after: &Value, found: &mut Vec<Event>) {
    let (known, now) = (deliveries(before), deliveries(after));
    for delivery in &now {
        let Some(old) = known.iter().find(|old| old["id"] == delivery["id"]) else {
            found.push(Event::new("DeliveryAdded", json!({"delivery": delivery})));
            continue;
        };
        if old["items"] != delivery["items"] {
            let fields = json!({"deliveryId": delivery["id"], "items": delivery["items"], "oldItems": old["items"]});
            found.push(Event::new("DeliveryItemsUpdated", fields));
        }
        parcel_events(old, delivery, found);
    }
    for old in known.iter().filter(|old| now.iter().all(|delivery| delivery["id"] != old["id"])) {
        found.push(Event::new("DeliveryRemoved", json!({"delivery": old})));
    }
}

fn parcel_events(before: &Value, after: &Value, found: &mut Vec<Event>) {
    let parcels = |delivery: &Value| delivery["parcels"].as_array().cloned().unwrap_or_default();
    let (known, now) = (parcels(before), parcels(after));
    for parcel in &now {
        let Some(old) = known.iter().find(|old| old["id"] == parcel["id"]) else {
            found.push(Event::new("ParcelAddedToDelivery", json!({"delivery": after, "parcel": parcel})));
            continue;
        };
        for (field, kind) in [("trackingData", "ParcelTrackingDataUpdated"), ("items", "ParcelItemsUpdated")] {
            if old.get(field) != parcel.get(field) {
                let mut fields = json!({"deliveryId": after["id"], "parcelId": parcel["id"], field: parcel.get(field)});
                if field == "items" {
                    fields["oldItems"] = old["items"].clone();
                }
                found.push(Event::new(kind, fields));
            }
        }
    }
    for old in known.iter().filter(|old| now.iter().all(|parcel| parcel["id"] != old["id"])) {
        found.push(Event::new("ParcelRemovedFromDelivery", json!({"deliveryId": after["id"], "parcel": old})));
    }
}

fn deliveries(order: &Value) -> Vec<Value> {
    let single = order["shippingInfo"]["deliveries"].as_array().into_iter().flatten();
    let all = order["shipping"].as_array().into_iter().flatten();
    let all = all.flat_map(|shipping| shipping["shippingInfo"]["deliveries"].as_array().into_iter().flatten());
    single.chain(all).cloned().collect()
}

fn return_events(before: &Value, after: &Value, found: &mut Vec<Event>) {
    let infos = |order: &Value| order["returnInfo"].as_array().cloned().unwrap_or_default();
    let (known, now) = (infos(before), infos(after));
    if now.len() == known.len() + 1 && now.starts_with(&known) {
        found.push(Event::new("ReturnInfoAdded", json!({"returnInfo": now.last()})));
        return;
    }
    let items = |infos: &[Value]| -> Vec<Value> {
        infos.iter().flat_map(|info| info["items"].as_array().cloned().unwrap_or_default()).collect()
    };
    let (old, new) = (items(&known), items(&now));
    let same = old.len() == new.len() && old.iter().zip(&new).all(|(old, new)| old["id"] == new["id"]);
    if !same {
        found.push(Event::new("ReturnInfoSet", json!({"returnInfo": now})));
        return;
    }
    for (_, item) in old.iter().zip(&new).filter(|(old, new)| old["shipmentState"] != new["shipmentState"]) {
        let fields = json!({"returnItemId": item["id"], "returnShipmentState": item["shipmentState"]});
        found.push(Event::new("OrderReturnShipmentStateChanged", fields));
    }
}

fn custom_events(before: Option<&Value>, after: Option<&Value>, found: &mut Vec<Event>) {
    let type_of = |custom: Option<&Value>| custom.map(|custom| custom["type"]["id"].clone());
    match (before, after) {
        (_, Some(custom)) if type_of(before) != type_of(after) => {
            let fields = json!({"customFields": custom, "previousTypeId": type_of(before)});
            found.push(Event::new("OrderCustomTypeSet", fields));
        }
        (Some(_), None) => {
            found.push(Event::new("OrderCustomTypeRemoved", json!({"previousTypeId": type_of(before)})));
        }
        (Some(before), Some(after)) => field_events(&before["fields"], &after["fields"], found),
        _ => {}
    }
}

fn field_events(before: &Value, after: &Value, found: &mut Vec<Event>) {
    for (name, value) in after.as_object().into_iter().flatten() {
        match before.get(name) {
            None => found.push(Event::new("OrderCustomFieldAdded", json!({"name": name, "value": value}))),
            Some(old) if old != value => {
                let fields = json!({"name": name, "value": value, "previousValue": old});
                found.push(Event::new("OrderCustomFieldChanged", fields));
            }
            Some(_) => {}
        }
    }
    for (name, _) in before.as_object().into_iter().flatten() {
        if after.get(name).is_none() {
            found.push(Event::new("OrderCustomFieldRemoved", json!({"name": name})));
        }
    }
}

fn payment_events(before: &Value, after: &Value) -> Vec<Event> {
    let known = before["transactions"].as_array().map_or(&[][..], Vec::as_slice);
    let transactions = after["transactions"].as_array().into_iter().flatten();
    transactions
        .filter_map(|transaction| match known.iter().find(|old| old["id"] == transaction["id"]) {
            None => Some(Event::new("PaymentTransactionAdded", json!({"transaction": transaction}))),
            Some(old) if old["state"] != transaction["state"] => {
                let fields = json!({"transactionId": transaction["id"], "state": transaction["state"]});
                Some(Event::new("PaymentTransactionStateChanged", fields))
            }
            Some(_) => None,
        })
        .collect()
}

/// The Message as the Messages endpoint answers it.
pub(super) fn message(
    id: &str,
    sequence: u64,
    type_id: &str,
    document: &Value,
    version: u64,
    event: Event,
    author: Author,
) -> Value {
    let at = &document["lastModifiedAt"];
    let mut message = json!({
        "id": id,
        "version": 1,
        "sequenceNumber": sequence,
        "resource": {"typeId": type_id, "id": document["id"]},
        "resourceVersion": version,
        "type": event.kind,
        "createdAt": at,
        "lastModifiedAt": at,
    });
    let identifiers: Map<String, Value> = ["key", "externalId", "orderNumber", "customerNumber", "sku"]
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), document.get(name)?.clone())))
        .collect();
    if !identifiers.is_empty() {
        message["resourceUserProvidedIdentifiers"] = identifiers.into();
    }
    if let Author::Client(id) = author {
        message["createdBy"] = client(id);
        message["lastModifiedBy"] = client(id);
    }
    if let Some(fields) = message.as_object_mut() {
        fields.extend(event.fields);
    }
    message
}

/// A change notification (A6): that something changed, and nothing else.
pub(super) fn change(project_key: &str, kind: &str, type_id: &str, document: &Value) -> Value {
    let mut change = json!({
        "notificationType": kind,
        "projectKey": project_key,
        "resource": {"typeId": type_id, "id": document["id"]},
        "version": document["version"],
        "modifiedAt": document["lastModifiedAt"],
    });
    let identifiers =
        ["key", "slug"].into_iter().filter_map(|name| Some((name.to_owned(), document.get(name)?.clone())));
    change["resourceUserProvidedIdentifiers"] = identifiers.collect::<Map<_, _>>().into();
    if document["dataErasure"] == true {
        change["dataErasure"] = true.into();
    }
    if let (true, Some(version)) = (kind == "ResourceUpdated", document["version"].as_u64()) {
        change["oldVersion"] = version.saturating_sub(1).into();
    }
    change
}

/// `createdBy` and `lastModifiedBy` of a change that an API client made.
pub(super) fn client(id: &str) -> Value {
    json!({"clientId": id, "isPlatformClient": false})
}

/// The notification of a Message in Platform format (A6); the payload is left out above 256 KB,
/// and the type with it (API reference, MessageDeliveryPayload).
pub(super) fn notification(project_key: &str, message: &Value) -> Value {
    let mut notification = message.clone();
    notification["notificationType"] = "Message".into();
    notification["projectKey"] = project_key.into();
    if notification.to_string().len() <= 256 * 1024 {
        return notification;
    }
    let reason = json!({"reason": "Payload too large.", "payloadType": message["type"]});
    if let Some(fields) = notification.as_object_mut() {
        fields.retain(|name, _| COMMON.contains(&name.as_str()));
        fields.insert("payloadNotIncluded".into(), reason);
    }
    notification
}

const COMMON: [&str; 13] = [
    "notificationType",
    "projectKey",
    "id",
    "version",
    "sequenceNumber",
    "resource",
    "resourceVersion",
    "resourceUserProvidedIdentifiers",
    "createdAt",
    "lastModifiedAt",
    "createdBy",
    "lastModifiedBy",
    "payloadNotIncluded",
];

/// The notification that the creation of a subscription sends; consumers must ignore it (A6).
pub(super) fn test_notification(project_key: &str, id: &str, key: &str, at: &str) -> Value {
    json!({
        "notificationType": "ResourceCreated",
        "projectKey": project_key,
        "resource": {"typeId": "subscription", "id": id},
        "resourceUserProvidedIdentifiers": {"key": key},
        "version": 1,
        "modifiedAt": at,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(before: Value, after: Value) -> Vec<&'static str> {
        events("order", Some(&before), &after).into_iter().map(|event| event.kind).collect()
    }

    #[test]
    fn each_difference_has_its_message() {
        let before = json!({"orderState": "Open"});
        assert_eq!(kinds(before.clone(), json!({"orderState": "Confirmed"})), ["OrderStateChanged"]);
        assert_eq!(
            kinds(before.clone(), json!({"orderState": "Open", "paymentState": "Paid", "syncInfo": [{}]})),
            ["OrderPaymentStateChanged"],
            "updateSyncInfo has no message"
        );
        let paid = json!({"orderState": "Open", "paymentInfo": {"payments": [{"typeId": "payment", "id": "p"}]}});
        assert_eq!(kinds(before, paid), ["OrderPaymentAdded"]);
        let custom = |fields: Value| json!({"custom": {"type": {"typeId": "type", "id": "t"}, "fields": fields}});
        assert_eq!(kinds(json!({}), custom(json!({"a": 1}))), ["OrderCustomTypeSet"]);
        assert_eq!(
            kinds(custom(json!({"a": 1})), custom(json!({"a": 2, "b": 1}))),
            ["OrderCustomFieldChanged", "OrderCustomFieldAdded"]
        );
        assert_eq!(kinds(custom(json!({"a": 1})), json!({})), ["OrderCustomTypeRemoved"]);
    }

    #[test]
    fn a_big_payload_is_left_out() {
        let order = json!({"id": "o", "version": 1, "lastModifiedAt": "t", "blob": "x".repeat(300_000)});
        let event = events("order", None, &order).remove(0);
        let message = message("m", 1, "order", &order, 1, event, Author::Shop);
        let notification = notification("demo-project", &message);
        assert!(notification.get("order").is_none());
        assert_eq!(notification["payloadNotIncluded"]["payloadType"], "OrderImported");
        assert_eq!(notification["sequenceNumber"], 1);
    }
}
