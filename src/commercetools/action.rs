//! Update actions on an Order, spelt as the platform wants them.
//!
//! `POST /{projectKey}/orders/{id}` takes `{"version", "actions"}` and applies all of them or none
//! (commercetools API reference, "Update Order").

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The body of one update.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OrderUpdate {
    /// The version the actions were computed from.
    pub version: i64,
    pub actions: Vec<Action>,
}

/// One update action.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "action", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Action {
    /// Without `syncedAt`: the platform sets it.
    UpdateSyncInfo {
        channel: ResourceIdentifier,
        external_id: String,
    },
    /// Replaces the custom Type and all its fields.
    SetCustomType {
        #[serde(rename = "type")]
        kind: ResourceIdentifier,
        fields: Map<String, Value>,
    },
    SetCustomField {
        name: String,
        value: Value,
    },
    /// Replaces the custom Type of a Line Item and all its fields.
    SetLineItemCustomType {
        line_item_id: String,
        #[serde(rename = "type")]
        kind: ResourceIdentifier,
        fields: Map<String, Value>,
    },
    SetLineItemCustomField {
        line_item_id: String,
        name: String,
        value: Value,
    },
    /// Moves so many units from one State to another.
    TransitionLineItemState {
        line_item_id: String,
        quantity: i64,
        from_state: ResourceIdentifier,
        to_state: ResourceIdentifier,
    },
    /// Distributes all units anew, whatever the transitions of the States allow.
    ImportLineItemState {
        line_item_id: String,
        state: Vec<StateDraft>,
    },
    AddDelivery {
        delivery_key: String,
        /// Required with shipping mode `Multiple`.
        #[serde(skip_serializing_if = "Option::is_none")]
        shipping_key: Option<String>,
        items: Vec<Item>,
        parcels: Vec<ParcelDraft>,
        #[serde(skip_serializing_if = "Option::is_none")]
        custom: Option<CustomDraft>,
    },
    RemoveDelivery {
        delivery_id: String,
    },
    SetDeliveryItems {
        delivery_id: String,
        items: Vec<Item>,
    },
    SetDeliveryCustomType {
        delivery_id: String,
        #[serde(flatten)]
        custom: CustomDraft,
    },
    SetDeliveryCustomField {
        delivery_id: String,
        name: String,
        value: Value,
    },
    AddParcelToDelivery {
        delivery_id: String,
        parcel_key: String,
        #[serde(flatten)]
        parcel: Contents,
    },
    RemoveParcelFromDelivery {
        parcel_id: String,
    },
    SetParcelTrackingData {
        parcel_id: String,
        tracking_data: TrackingData,
    },
    SetParcelItems {
        parcel_id: String,
        items: Vec<Item>,
    },
    SetParcelMeasurements {
        parcel_id: String,
        measurements: ParcelMeasurements,
    },
    SetParcelCustomType {
        parcel_id: String,
        #[serde(flatten)]
        custom: CustomDraft,
    },
    SetParcelCustomField {
        parcel_id: String,
        name: String,
        value: Value,
    },
    AddReturnInfo {
        #[serde(flatten)]
        info: ReturnInfoDraft,
    },
    /// Replaces the whole list; every item begins anew.
    SetReturnInfo {
        items: Vec<ReturnInfoDraft>,
    },
    /// Only from `Returned` to one of the two final states.
    SetReturnShipmentState {
        #[serde(flatten)]
        item: ReturnItemName,
        shipment_state: ReturnShipmentState,
    },
    TransitionState {
        state: ResourceIdentifier,
        /// Goes there although no transition leads there.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        force: bool,
    },
    ChangeShipmentState {
        shipment_state: ShipmentState,
    },
    ChangePaymentState {
        payment_state: PaymentState,
    },
    ChangeOrderState {
        order_state: OrderState,
    },
}

impl Action {
    /// Where the action stands in a body. States come last, so that whoever reacts to a state
    /// finds the details already there; between 60 and 80 is room for actions of third parties.
    pub fn place(&self) -> u8 {
        match self {
            Self::UpdateSyncInfo { .. } => 10,
            Self::SetCustomType { .. } | Self::SetCustomField { .. } => 20,
            Self::SetLineItemCustomType { .. } | Self::SetLineItemCustomField { .. } => 30,
            Self::TransitionLineItemState { .. } | Self::ImportLineItemState { .. } => 40,
            Self::AddDelivery { .. }
            | Self::RemoveDelivery { .. }
            | Self::SetDeliveryItems { .. }
            | Self::SetDeliveryCustomType { .. }
            | Self::SetDeliveryCustomField { .. }
            | Self::AddParcelToDelivery { .. }
            | Self::RemoveParcelFromDelivery { .. }
            | Self::SetParcelTrackingData { .. }
            | Self::SetParcelItems { .. }
            | Self::SetParcelMeasurements { .. }
            | Self::SetParcelCustomType { .. }
            | Self::SetParcelCustomField { .. } => 50,
            Self::AddReturnInfo { .. } | Self::SetReturnInfo { .. } | Self::SetReturnShipmentState { .. } => 60,
            Self::TransitionState { .. } => 80,
            Self::ChangeShipmentState { .. } => 81,
            Self::ChangePaymentState { .. } => 82,
            Self::ChangeOrderState { .. } => 83,
        }
    }

    /// Whether it moves one of the states that come last.
    pub fn is_state(&self) -> bool {
        self.place() >= 80
    }
}

/// Names another resource by its key: `{"typeId": "channel", "key": "flOrderExport"}`; by its id
/// where the key is not known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceIdentifier {
    pub type_id: &'static str,
    #[serde(flatten)]
    pub name: Name,
}

/// Key or id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Name {
    Key(String),
    Id(String),
}

impl ResourceIdentifier {
    pub fn channel(key: impl Into<String>) -> Self {
        Self { type_id: "channel", name: Name::Key(key.into()) }
    }

    pub fn state(key: impl Into<String>) -> Self {
        Self { type_id: "state", name: Name::Key(key.into()) }
    }

    /// A State that is known by its id only.
    pub fn state_by_id(id: impl Into<String>) -> Self {
        Self { type_id: "state", name: Name::Id(id.into()) }
    }

    /// A custom Type.
    pub fn custom_type(key: impl Into<String>) -> Self {
        Self { type_id: "type", name: Name::Key(key.into()) }
    }
}

/// So many units in that State.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StateDraft {
    pub quantity: i64,
    pub state: ResourceIdentifier,
}

/// Units of a Line Item or custom Line Item in a Delivery or Parcel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    pub id: String,
    pub quantity: i64,
}

/// A Type with fields for a resource that has none yet.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CustomDraft {
    #[serde(rename = "type")]
    pub kind: ResourceIdentifier,
    pub fields: Map<String, Value>,
}

/// A Parcel of a new Delivery.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ParcelDraft {
    pub key: String,
    #[serde(flatten)]
    pub contents: Contents,
}

/// What a Parcel is made of.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Contents {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub measurements: Option<ParcelMeasurements>,
    pub tracking_data: TrackingData,
    pub items: Vec<Item>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub custom: Option<CustomDraft>,
}

/// Whole millimetres and grams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ParcelMeasurements {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height_in_millimeter: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length_in_millimeter: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width_in_millimeter: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight_in_gram: Option<i64>,
}

/// How to follow a Parcel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrackingData {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracking_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub carrier: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_transaction: Option<String>,
    #[serde(default)]
    pub is_return: bool,
}

/// One return.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReturnInfoDraft {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub return_tracking_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub return_date: Option<String>,
    pub items: Vec<ReturnItemDraft>,
}

/// An item of a return; it begins as `Advised` or `Returned`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReturnItemDraft {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    pub quantity: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line_item_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub custom_line_item_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    pub shipment_state: ReturnShipmentState,
}

/// Names a return item that exists, or one that is added by the same update.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum ReturnItemName {
    #[serde(rename = "returnItemId")]
    Id(String),
    #[serde(rename = "returnItemKey")]
    Key(String),
}

/// A closed list of names that the platform spells in one way.
macro_rules! names {
    ($(#[$doc:meta])* $name:ident: $($value:ident)*) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
        pub enum $name { $($value),* }

        impl $name {
            /// All of them, in the platform's order.
            pub const ALL: &[Self] = &[$(Self::$value),*];
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$value => stringify!($value)),* })
            }
        }

        impl FromStr for $name {
            type Err = ();
            /// Exact spelling only.
            fn from_str(text: &str) -> Result<Self, ()> {
                match text {
                    $(stringify!($value) => Ok(Self::$value),)*
                    _ => Err(()),
                }
            }
        }
    };
}

names! {
    /// `orderState`: always set, spelt with two l in *Cancelled*.
    OrderState: Open Confirmed Complete Cancelled
}

names! {
    /// `shipmentState`: absent on a new Order, spelt with one l in *Canceled*.
    ShipmentState: Shipped Delivered Ready Pending Delayed Partial Backorder Canceled
}

names! {
    /// `paymentState`: absent on a new Order.
    PaymentState: BalanceDue Failed Pending CreditOwed Paid
}

names! {
    /// `shipmentState` of a return item.
    ReturnShipmentState: Advised Returned BackInStock Unusable
}

#[cfg(test)]
mod tests {
    use serde_json::{json, to_value};

    use super::*;

    #[test]
    fn actions_are_spelt_as_the_platform_wants_them() {
        let fields = json!({"flOrderId": "6469"}).as_object().unwrap().clone();
        let update = OrderUpdate {
            version: 7,
            actions: vec![
                Action::UpdateSyncInfo {
                    channel: ResourceIdentifier::channel("flOrderExport"),
                    external_id: "6469".into(),
                },
                Action::SetCustomType { kind: ResourceIdentifier::custom_type("flOrder"), fields },
                Action::SetCustomField { name: "flOrderRef".into(), value: json!("HD_100234") },
                Action::TransitionState { state: ResourceIdentifier::state("flOrderBooked"), force: false },
                Action::TransitionState { state: ResourceIdentifier::state("flOrderBooked"), force: true },
                Action::ChangeShipmentState { shipment_state: ShipmentState::Canceled },
                Action::ChangePaymentState { payment_state: PaymentState::BalanceDue },
                Action::ChangeOrderState { order_state: OrderState::Cancelled },
            ],
        };
        let body = json!({"version": 7, "actions": [
            {"action": "updateSyncInfo", "channel": {"typeId": "channel", "key": "flOrderExport"}, "externalId": "6469"},
            {"action": "setCustomType", "type": {"typeId": "type", "key": "flOrder"}, "fields": {"flOrderId": "6469"}},
            {"action": "setCustomField", "name": "flOrderRef", "value": "HD_100234"},
            {"action": "transitionState", "state": {"typeId": "state", "key": "flOrderBooked"}},
            {"action": "transitionState", "state": {"typeId": "state", "key": "flOrderBooked"}, "force": true},
            {"action": "changeShipmentState", "shipmentState": "Canceled"},
            {"action": "changePaymentState", "paymentState": "BalanceDue"},
            {"action": "changeOrderState", "orderState": "Cancelled"},
        ]});
        assert_eq!(to_value(&update).unwrap(), body);
        assert!(update.actions.is_sorted_by_key(Action::place));
    }

    #[test]
    fn names_read_back_and_no_other_spelling_does() {
        for state in ShipmentState::ALL {
            assert_eq!(state.to_string().parse(), Ok(*state));
        }
        assert_eq!("Cancelled".parse::<ShipmentState>(), Err(()));
        assert_eq!("Canceled".parse::<OrderState>(), Err(()));
        assert_eq!("confirmed".parse::<OrderState>(), Err(()));
    }
}
