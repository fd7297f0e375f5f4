//! The remembered Order: what an update is computed from without reading the Order again.
//!
//! Made from each answer that carries an Order and kept in the mapping row. It holds what a
//! projection compares with and nothing personal. A copy that went stale costs one refused update
//! (409), after which the Order is read.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::action::{Item, ParcelMeasurements, TrackingData};
use super::known::Reference;

/// A compact copy of an Order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RememberedOrder {
    pub id: String,
    /// The version an update must name.
    pub version: i64,
    /// Orders need not have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_number: Option<String>,
    /// As the platform spelt it; it may add values.
    pub order_state: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shipment_state: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment_state: Option<String>,
    /// The workflow State.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<Reference>,
    /// `Single` or `Multiple`.
    pub shipping_mode: String,
    pub line_items: Vec<RememberedLineItem>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub custom_line_items: Vec<RememberedLineItem>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sync_info: Vec<SyncInfo>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom: Option<Custom>,
    /// One entry for `Single`, one per shipping for `Multiple`, none before shipping is chosen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shipping: Vec<Shipping>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub return_info: Vec<ReturnInfo>,
}

impl RememberedOrder {
    /// Takes the copy from the JSON of an Order. An answer that is not a whole Order is an error:
    /// the caller then remembers nothing and reads the Order next time.
    pub fn from_answer(answer: &Value) -> Result<Self, serde_json::Error> {
        Answer::deserialize(answer).map(Self::from)
    }

    /// What a sentence calls it: the order number, else the id.
    pub fn label(&self) -> &str {
        self.order_number.as_deref().unwrap_or(&self.id)
    }

    /// The Deliveries of all its shippings.
    pub fn deliveries(&self) -> impl Iterator<Item = &Delivery> {
        self.shipping.iter().flat_map(|shipping| &shipping.deliveries)
    }
}

/// A Line Item or a custom Line Item.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RememberedLineItem {
    pub id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Custom Line Items have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sku: Option<String>,
    pub quantity: i64,
    pub state: Vec<ItemState>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom: Option<Custom>,
    /// Keys of the shippings its units go with; only with shipping mode `Multiple`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shipping_keys: Vec<String>,
}

/// So many units are in that State.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ItemState {
    pub quantity: i64,
    pub state: Reference,
}

/// The link to an order elsewhere, one per Channel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SyncInfo {
    pub channel: Reference,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
}

/// The custom Type of a resource and its fields.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Custom {
    #[serde(rename = "type")]
    pub kind: Reference,
    #[serde(default)]
    pub fields: Map<String, Value>,
}

/// What was shipped under one shipping method.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Shipping {
    /// Only with shipping mode `Multiple`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shipping_key: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deliveries: Vec<Delivery>,
}

/// A Delivery, without its address.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Delivery {
    pub id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<Item>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parcels: Vec<Parcel>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom: Option<Custom>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Parcel {
    pub id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measurements: Option<ParcelMeasurements>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracking_data: Option<TrackingData>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<Item>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom: Option<Custom>,
}

/// One return.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReturnInfo {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub return_tracking_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub return_date: Option<String>,
    #[serde(default)]
    pub items: Vec<ReturnItem>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReturnItem {
    pub id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    pub quantity: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line_item_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom_line_item_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    pub shipment_state: String,
    pub payment_state: String,
}

impl From<Answer> for RememberedOrder {
    fn from(answer: Answer) -> Self {
        let single = answer.shipping_info.map(|info| Shipping { shipping_key: None, deliveries: info.deliveries });
        let multiple = answer.shipping.into_iter().map(|shipping| Shipping {
            shipping_key: Some(shipping.shipping_key),
            deliveries: shipping.shipping_info.map(|info| info.deliveries).unwrap_or_default(),
        });
        Self {
            id: answer.id,
            version: answer.version,
            order_number: answer.order_number,
            order_state: answer.order_state,
            shipment_state: answer.shipment_state,
            payment_state: answer.payment_state,
            state: answer.state,
            shipping_mode: answer.shipping_mode.unwrap_or_else(|| "Single".to_owned()),
            line_items: answer.line_items.into_iter().map(RememberedLineItem::from).collect(),
            custom_line_items: answer.custom_line_items.into_iter().map(RememberedLineItem::from).collect(),
            sync_info: answer.sync_info,
            custom: answer.custom,
            shipping: single.into_iter().chain(multiple).collect(),
            return_info: answer.return_info,
        }
    }
}

impl From<AnswerLineItem> for RememberedLineItem {
    fn from(item: AnswerLineItem) -> Self {
        Self {
            id: item.id,
            key: item.key,
            sku: item.variant.and_then(|variant| variant.sku),
            quantity: item.quantity,
            state: item.state,
            custom: item.custom,
            shipping_keys: item
                .shipping_details
                .into_iter()
                .flat_map(|details| details.targets)
                .filter_map(|target| target.shipping_method_key)
                .collect(),
        }
    }
}

/// The Order as the platform answers it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    id: String,
    version: i64,
    order_number: Option<String>,
    order_state: String,
    shipment_state: Option<String>,
    payment_state: Option<String>,
    state: Option<Reference>,
    /// Absent in answers from before there were several shippings.
    shipping_mode: Option<String>,
    line_items: Vec<AnswerLineItem>,
    #[serde(default)]
    custom_line_items: Vec<AnswerLineItem>,
    #[serde(default)]
    sync_info: Vec<SyncInfo>,
    custom: Option<Custom>,
    shipping_info: Option<AnswerShippingInfo>,
    #[serde(default)]
    shipping: Vec<AnswerShipping>,
    #[serde(default)]
    return_info: Vec<ReturnInfo>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AnswerLineItem {
    id: String,
    key: Option<String>,
    variant: Option<AnswerVariant>,
    quantity: i64,
    state: Vec<ItemState>,
    custom: Option<Custom>,
    shipping_details: Option<ShippingDetails>,
}

#[derive(Deserialize)]
struct ShippingDetails {
    #[serde(default)]
    targets: Vec<ShippingTarget>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ShippingTarget {
    shipping_method_key: Option<String>,
}

#[derive(Deserialize)]
struct AnswerVariant {
    sku: Option<String>,
}

#[derive(Deserialize)]
struct AnswerShippingInfo {
    #[serde(default)]
    deliveries: Vec<Delivery>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AnswerShipping {
    shipping_key: String,
    shipping_info: Option<AnswerShippingInfo>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer() -> Value {
        json!({
            "id": "o-1", "version": 7, "orderNumber": "100234", "orderState": "Open", "shippingMode": "Single",
            "customerEmail": "someone@example.com",
            "state": {"typeId": "state", "id": "s-1"},
            "lineItems": [{
                "id": "l-1", "key": "first", "productId": "p", "variant": {"id": 1, "sku": "SHIRT-RED-M"},
                "quantity": 3, "state": [{"quantity": 3, "state": {"typeId": "state", "id": "s-0"}}],
                "custom": {"type": {"typeId": "type", "id": "t-1"}, "fields": {"text": "For M."}},
            }],
            "customLineItems": [{
                "id": "c-1", "slug": "wrap", "quantity": 1,
                "state": [{"quantity": 1, "state": {"typeId": "state", "id": "s-0"}}],
            }],
            "shippingInfo": {"shippingMethodName": "Standard", "deliveries": [
                {"id": "d-1", "items": [{"id": "l-1", "quantity": 3}], "parcels": [], "address": {"city": "someone@example.com"}},
            ]},
            "syncInfo": [{"channel": {"typeId": "channel", "id": "ch-1"}, "externalId": "6469", "syncedAt": "2026-11-20T09:00:01.000Z"}],
            "returnInfo": [{"items": []}],
        })
    }

    #[test]
    fn what_is_stored_reads_back_the_same_and_carries_nothing_personal() {
        let order = RememberedOrder::from_answer(&answer()).unwrap();
        let stored = serde_json::to_string(&order).unwrap();
        assert_eq!(serde_json::from_str::<RememberedOrder>(&stored).unwrap(), order);
        assert!(!stored.contains("someone@example.com"));
        assert_eq!(order.line_items[0].sku.as_deref(), Some("SHIRT-RED-M"));
        assert_eq!(order.custom_line_items[0].sku, None);
        assert_eq!(order.deliveries().next().unwrap().items, [Item { id: "l-1".to_owned(), quantity: 3 }]);
    }

    #[test]
    fn every_shipping_of_several_keeps_its_deliveries() {
        let mut answer = answer();
        answer["shippingMode"] = json!("Multiple");
        answer["shippingInfo"] = Value::Null;
        answer["shipping"] = json!([
            {"shippingKey": "a", "shippingInfo": {"deliveries": [{"id": "d-1"}]}},
            {"shippingKey": "b"},
        ]);
        let order = RememberedOrder::from_answer(&answer).unwrap();
        assert_eq!(order.shipping[0].deliveries[0].id, "d-1");
        assert_eq!(order.shipping[1], Shipping { shipping_key: Some("b".to_owned()), deliveries: vec![] });
    }

    #[test]
    fn half_an_order_is_not_remembered() {
        assert!(RememberedOrder::from_answer(&json!({"id": "o-1", "version": 13})).is_err());
    }
}
