//! Update actions on an Order, spelt as the platform wants them.
//!
//! `POST /{projectKey}/orders/{id}` takes `{"version", "actions"}` and applies all of them or none
//! (commercetools API reference, "Update Order").

use std::fmt;
use std::str::FromStr;

use serde::Serialize;
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
    /// finds the details already there; between 20 and 80 is room for Line Items, Deliveries,
    /// Parcels, returns and actions of third parties, in this order.
    pub fn place(&self) -> u8 {
        match self {
            Self::UpdateSyncInfo { .. } => 10,
            Self::SetCustomType { .. } | Self::SetCustomField { .. } => 20,
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

/// Names another resource by its key: `{"typeId": "channel", "key": "flOrderExport"}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceIdentifier {
    pub type_id: &'static str,
    pub key: String,
}

impl ResourceIdentifier {
    pub fn channel(key: impl Into<String>) -> Self {
        Self { type_id: "channel", key: key.into() }
    }

    pub fn state(key: impl Into<String>) -> Self {
        Self { type_id: "state", key: key.into() }
    }

    /// A custom Type.
    pub fn custom_type(key: impl Into<String>) -> Self {
        Self { type_id: "type", key: key.into() }
    }
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
