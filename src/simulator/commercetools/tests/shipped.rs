//! Guards of Line Items, Deliveries, Parcels and returns.

use serde_json::{Value, json};

use super::*;

/// An order with shipping information in a shop without wire.
struct Shop {
    platform: Commercetools,
    id: String,
    line: String,
}

impl Shop {
    async fn new() -> Self {
        let platform = Commercetools::start(Clock::simulated(NOON), Options::default()).await.unwrap();
        platform.seed_shop();
        let id = platform.order(Some("1")).guest("guest@example.org").shipping(499).line("CAP-1", 3, 1_500).place();
        let line = platform.document("orders", &id).unwrap()["lineItems"][0]["id"].as_str().unwrap().to_owned();
        Self { platform, id, line }
    }

    fn order(&self) -> Value {
        self.platform.document("orders", &self.id).unwrap()
    }

    fn try_update(&self, actions: Value) -> Result<Value, Value> {
        let body = json!({"version": self.order()["version"], "actions": actions});
        self.platform.update("orders", &self.id, &body)
    }

    fn update(&self, actions: Value) -> Value {
        self.try_update(actions).unwrap()
    }

    /// Code of the refusal.
    fn refused(&self, action: Value) -> String {
        let before = self.order();
        let refusal = self.try_update(json!([action])).unwrap_err();
        assert_eq!(self.order(), before, "nothing was changed");
        refusal["errors"][0]["code"].as_str().unwrap().to_owned()
    }

    fn messages(&self) -> Vec<String> {
        let all = self.platform.notifications();
        let of_order = all.iter().filter(|message| message["resource"]["id"] == self.id);
        of_order.map(|message| message["type"].as_str().unwrap_or_default().to_owned()).collect()
    }
}

#[tokio::test]
async fn deliveries_and_parcels_have_keys_of_their_own() {
    let shop = Shop::new().await;
    let items = json!([{"id": shop.line, "quantity": 2}]);
    let parcel = json!({"key": "p-1", "items": items, "trackingData": {"trackingId": "T"}});
    let add = json!({"action": "addDelivery", "deliveryKey": "d-1", "items": items, "parcels": [parcel]});
    let order = shop.update(json!([add]));
    let delivery = order["shippingInfo"]["deliveries"][0].clone();
    assert_eq!((&delivery["items"], &delivery["parcels"][0]["trackingData"]["isReturn"]), (&items, &json!(false)));

    assert_eq!(shop.refused(add.clone()), "DuplicateField");
    let mut again = add.clone();
    again["deliveryKey"] = "d-2".into();
    assert_eq!(shop.refused(again.clone()), "DuplicateField", "its Parcel is there already");
    again["parcels"] = json!([{"key": "p-2"}, {"key": "p-2"}]);
    assert_eq!(shop.refused(again.clone()), "DuplicateField");
    again["parcels"] = json!([]);
    again["items"] = json!([{"id": "another", "quantity": 1}]);
    assert_eq!(shop.refused(again), "InvalidOperation");
    let joined = json!({"action": "addParcelToDelivery", "deliveryKey": "d-1", "parcelKey": "p-1"});
    assert_eq!(shop.refused(joined), "DuplicateField");
    assert_eq!(
        shop.refused(json!({"action": "setDeliveryItems", "deliveryKey": "d-9", "items": []})),
        "InvalidOperation"
    );
    assert_eq!(shop.refused(json!({"action": "setDeliveryItems", "items": []})), "RequiredField");
    let field =
        json!({"action": "setDeliveryCustomField", "deliveryKey": "d-1", "name": "flConsignmentRef", "value": "C"});
    assert_eq!(shop.refused(field), "InvalidOperation", "it has no Type");
    let foreign = json!({"action": "setParcelCustomType", "parcelKey": "p-1", "type": {"typeId": "type", "key": "flConsignment"}});
    assert_eq!(shop.refused(foreign), "InvalidOperation", "the Type is for Deliveries");

    shop.update(json!([
        {"action": "setParcelTrackingData", "parcelKey": "p-1", "trackingData": {"trackingId": "U"}},
        {"action": "setDeliveryItems", "deliveryId": delivery["id"], "items": []},
        {"action": "addParcelToDelivery", "deliveryId": delivery["id"], "parcelKey": "p-2"},
        {"action": "setParcelItems", "parcelKey": "p-2", "items": items},
        {"action": "removeParcelFromDelivery", "parcelKey": "p-1"},
        {"action": "removeDelivery", "deliveryKey": "d-1"},
    ]));
    assert_eq!(shop.order()["shippingInfo"]["deliveries"], json!([]));
    let messages = shop.messages();
    assert_eq!(
        messages[messages.len() - 7..],
        [
            "DeliveryAdded",
            "ParcelTrackingDataUpdated",
            "DeliveryItemsUpdated",
            "ParcelAddedToDelivery",
            "ParcelItemsUpdated",
            "ParcelRemovedFromDelivery",
            "DeliveryRemoved"
        ]
    );
}

#[tokio::test]
async fn a_delivery_needs_shipping_information() {
    let shop = Shop::new().await;
    let add = json!({"action": "addDelivery", "deliveryKey": "d-1"});
    shop.platform.edit("orders", &shop.id, |order| {
        order["shippingMode"] = "Multiple".into();
        order["shipping"] = json!([{"shippingKey": "a", "shippingInfo": order["shippingInfo"]}]);
        order.as_object_mut().unwrap().remove("shippingInfo");
    });
    assert_eq!(shop.refused(add.clone()), "RequiredField");
    let mut elsewhere = add.clone();
    elsewhere["shippingKey"] = "b".into();
    assert_eq!(shop.refused(elsewhere.clone()), "InvalidOperation");
    elsewhere["shippingKey"] = "a".into();
    let order = shop.update(json!([elsewhere]));
    assert_eq!(order["shipping"][0]["shippingInfo"]["deliveries"][0]["key"], "d-1");
    shop.platform.edit("orders", &shop.id, |order| order["shippingMode"] = "Single".into());
    assert_eq!(shop.refused(json!({"action": "addDelivery", "deliveryKey": "d-2"})), "InvalidOperation");
}

#[tokio::test]
async fn units_move_only_from_states_that_hold_them() {
    let shop = Shop::new().await;
    let initial =
        |state: &str| json!({"key": state, "type": "LineItemState", "initial": false, "builtIn": false, "roles": []});
    let packed = shop.platform.put("states", initial("packed"));
    shop.platform
        .put("states", json!({"key": "booked", "type": "OrderState", "initial": true, "builtIn": false, "roles": []}));
    let mut closed = initial("closed");
    closed["transitions"] = json!([]);
    shop.platform.put("states", closed);
    let step = |from: &str, to: &str, quantity: i64| {
        json!({"action": "transitionLineItemState", "lineItemId": shop.line, "quantity": quantity,
               "fromState": {"typeId": "state", "key": from}, "toState": {"typeId": "state", "key": to}})
    };
    assert_eq!(shop.refused(step("Initial", "packed", 4)), "InvalidOperation");
    assert_eq!(shop.refused(step("packed", "Initial", 1)), "InvalidOperation");
    assert_eq!(shop.refused(step("Initial", "booked", 1)), "InvalidOperation");
    assert_eq!(shop.refused(step("Initial", "nowhere", 1)), "ReferencedResourceNotFound");
    let order = shop.update(json!([step("Initial", "packed", 2), step("Initial", "closed", 1)]));
    let held = &order["lineItems"][0]["state"];
    assert_eq!((held.as_array().unwrap().len(), &held[0]["state"]["id"]), (2, &packed["id"]));
    assert_eq!(shop.refused(step("closed", "packed", 1)), "InvalidOperation", "nothing leads out of it");
    let import = |quantity: i64| {
        let state = json!([{"quantity": quantity, "state": {"typeId": "state", "id": packed["id"]}}]);
        json!({"action": "importLineItemState", "lineItemId": shop.line, "state": state})
    };
    assert_eq!(shop.refused(import(2)), "InvalidOperation", "the line has three");
    shop.update(json!([import(3)]));
    let moves = shop.messages().iter().filter(|kind| *kind == "LineItemStateTransition").count();
    assert_eq!(moves, 3);
}

#[tokio::test]
async fn return_items_go_on_from_returned_only() {
    let shop = Shop::new().await;
    let item =
        |key: &str, state: &str| json!({"key": key, "quantity": 1, "lineItemId": shop.line, "shipmentState": state});
    let add = |item: Value| json!({"action": "addReturnInfo", "returnTrackingId": "R", "items": [item]});
    assert_eq!(shop.refused(add(item("a", "BackInStock"))), "InvalidJsonInput");
    let mut nobodys = item("aa", "Returned");
    nobodys["lineItemId"] = "another".into();
    assert_eq!(shop.refused(add(nobodys)), "InvalidOperation");
    let order = shop.update(json!([add(item("aa", "Advised")), add(item("bb", "Returned"))]));
    let payments = [0, 1].map(|at: usize| order["returnInfo"][at]["items"][0]["paymentState"].clone());
    assert_eq!(payments, ["NonRefundable", "Initial"]);
    assert_eq!(shop.refused(add(item("bb", "Returned"))), "DuplicateField");
    let set = |key: &str, state: &str| json!({"action": "setReturnShipmentState", "returnItemKey": key, "shipmentState": state});
    assert_eq!(shop.refused(set("aa", "BackInStock")), "InvalidOperation");
    assert_eq!(shop.refused(set("bb", "Advised")), "InvalidOperation");
    shop.update(json!([set("bb", "Unusable")]));
    assert_eq!(shop.refused(set("bb", "BackInStock")), "InvalidOperation");
    let anew = json!({"action": "setReturnInfo", "items": [{"items": [item("aa", "Returned")]}]});
    let order = shop.update(json!([anew, set("aa", "BackInStock")]));
    assert_eq!(order["returnInfo"][0]["items"][0]["shipmentState"], "BackInStock");
}
