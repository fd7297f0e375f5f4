//! The three states of an Order that follow the Fluent order status: their tables and their orders.
//!
//! Built-in tables: `fluent-to-commercetools.md` 5.2; what counts as a step back: 1.8.

use std::fmt::Display;
use std::str::FromStr;

use crate::commercetools::action::{Action, OrderState, PaymentState, ShipmentState};
use crate::commercetools::remembered::RememberedOrder;
use crate::config::model::{self, AxisName, OrderStatus};

/// One state of the Order, many Fluent statuses to one value.
pub trait Axis: Copy + PartialEq + Display + FromStr + 'static {
    /// The field of the Order.
    const FIELD: &'static str;
    /// Its name in the configuration.
    const NAME: AxisName;

    fn config(config: &OrderStatus) -> &model::Axis;
    fn current(order: &RememberedOrder) -> Option<&str>;
    /// The built-in row: `None` = no row, `Some(None)` = mapped to nothing on purpose.
    fn built_in(order_type: &str, status: &str) -> Option<Option<Self>>;
    /// Whether going from `from` to this value is a step forward.
    fn follows(self, from: Option<Self>) -> bool;
    fn action(self) -> Action;
}

/// The row for a status. Per value the operator's row beats the built-in one, and in both a row of
/// the order type beats the general one. An entry that is no state of the axis does not count.
pub fn row<A: Axis>(config: &OrderStatus, order_type: &str, status: &str) -> Option<Option<A>> {
    let axis = A::config(config);
    let of_type = axis.by_type.get(order_type).and_then(|rows| rows.get(status));
    written(of_type).or_else(|| written(axis.mapping.get(status))).or_else(|| A::built_in(order_type, status))
}

/// What an operator's entry says: `null`, empty and `IGNORE` map to nothing.
pub(super) fn written<A: FromStr>(entry: Option<&Option<String>>) -> Option<Option<A>> {
    match entry?.as_deref() {
        None | Some("" | "IGNORE") => Some(None),
        Some(state) => state.parse().ok().map(Some),
    }
}

impl Axis for OrderState {
    const FIELD: &'static str = "orderState";
    const NAME: AxisName = AxisName::Order;

    fn config(config: &OrderStatus) -> &model::Axis {
        &config.order
    }

    fn current(order: &RememberedOrder) -> Option<&str> {
        Some(&order.order_state)
    }

    fn built_in(_: &str, status: &str) -> Option<Option<Self>> {
        Some(Some(match status {
            "CREATED" | "RECEIVED" | "PENDING_PAYMENT" | "ESCALATED" => Self::Open,
            "BOOKED"
            | "PICK_PACK"
            | "PICK_PACK_CC"
            | "AWAITING_COURIER_COLLECTION"
            | "AWAITING_CUSTOMER_COLLECTION"
            | "AWAITING_COLLECTION" => Self::Confirmed,
            "COMPLETE" => Self::Complete,
            "CANCELLED" => Self::Cancelled,
            _ => return None,
        }))
    }

    fn follows(self, from: Option<Self>) -> bool {
        match from {
            None => true,
            Some(Self::Open) => self != Self::Open,
            Some(Self::Confirmed) => matches!(self, Self::Complete | Self::Cancelled),
            Some(Self::Complete | Self::Cancelled) => false,
        }
    }

    fn action(self) -> Action {
        Action::ChangeOrderState { order_state: self }
    }
}

impl Axis for ShipmentState {
    const FIELD: &'static str = "shipmentState";
    const NAME: AxisName = AxisName::Shipment;

    fn config(config: &OrderStatus) -> &model::Axis {
        &config.shipment
    }

    fn current(order: &RememberedOrder) -> Option<&str> {
        order.shipment_state.as_deref()
    }

    fn built_in(order_type: &str, status: &str) -> Option<Option<Self>> {
        Some(Some(match status {
            "CREATED" => return Some(None),
            "RECEIVED" | "PENDING_PAYMENT" | "BOOKED" | "PICK_PACK" | "PICK_PACK_CC" => Self::Pending,
            "ESCALATED" => Self::Delayed,
            "AWAITING_COURIER_COLLECTION" | "AWAITING_CUSTOMER_COLLECTION" | "AWAITING_COLLECTION" => Self::Ready,
            "COMPLETE" if order_type == "CC" => Self::Delivered,
            "COMPLETE" => Self::Shipped,
            "CANCELLED" => Self::Canceled,
            _ => return None,
        }))
    }

    fn follows(self, from: Option<Self>) -> bool {
        let Some(from) = from else { return true };
        match (from, self) {
            (Self::Delivered | Self::Canceled, _) => false,
            (_, Self::Canceled) => from.rank() < Self::Partial.rank(),
            (Self::Backorder, Self::Delayed) | (Self::Delayed, Self::Backorder) => true,
            _ => self.rank() > from.rank(),
        }
    }

    fn action(self) -> Action {
        Action::ChangeShipmentState { shipment_state: self }
    }
}

impl ShipmentState {
    /// How far the shipment is. Canceled is as final as Delivered; who may go there is decided before
    /// ranks are compared.
    pub fn rank(self) -> u8 {
        match self {
            Self::Pending => 10,
            Self::Backorder | Self::Delayed => 20,
            Self::Ready => 30,
            Self::Partial => 40,
            Self::Shipped => 50,
            Self::Delivered | Self::Canceled => 60,
        }
    }
}

impl Axis for PaymentState {
    const FIELD: &'static str = "paymentState";
    const NAME: AxisName = AxisName::Payment;

    fn config(config: &OrderStatus) -> &model::Axis {
        &config.payment
    }

    fn current(order: &RememberedOrder) -> Option<&str> {
        order.payment_state.as_deref()
    }

    fn built_in(_: &str, status: &str) -> Option<Option<Self>> {
        match status {
            "PENDING_PAYMENT" => Some(Some(Self::Pending)),
            "COMPLETE" => Some(Some(Self::Paid)),
            "CREATED"
            | "RECEIVED"
            | "ESCALATED"
            | "BOOKED"
            | "PICK_PACK"
            | "PICK_PACK_CC"
            | "AWAITING_COURIER_COLLECTION"
            | "AWAITING_CUSTOMER_COLLECTION"
            | "AWAITING_COLLECTION"
            | "CANCELLED" => Some(None),
            _ => None,
        }
    }

    fn follows(self, from: Option<Self>) -> bool {
        let rank = |state| match state {
            Self::BalanceDue => 10,
            Self::Pending | Self::Failed => 20,
            Self::Paid => 30,
            Self::CreditOwed => 40,
        };
        match (from, self) {
            (None, _) | (Some(Self::Pending), Self::Failed) | (Some(Self::Failed), Self::Pending) => true,
            (Some(from), to) => rank(to) > rank(from),
        }
    }

    fn action(self) -> Action {
        Action::ChangePaymentState { payment_state: self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every allowed step of an axis, from the absent state as `-`.
    fn steps<A: Axis>(all: &[A]) -> Vec<String> {
        let from = std::iter::once(None).chain(all.iter().copied().map(Some));
        from.map(|from| {
            let to: Vec<String> =
                all.iter().filter(|to| Some(**to) != from && to.follows(from)).map(ToString::to_string).collect();
            format!("{} > {}", from.map_or("-".to_owned(), |from| from.to_string()), to.join(" "))
        })
        .collect()
    }

    #[test]
    fn order_states_end_in_complete_or_cancelled() {
        assert_eq!(
            steps(OrderState::ALL),
            [
                "- > Open Confirmed Complete Cancelled",
                "Open > Confirmed Complete Cancelled",
                "Confirmed > Complete Cancelled",
                "Complete > ",
                "Cancelled > ",
            ]
        );
    }

    #[test]
    fn shipment_states_climb_and_are_cancelled_only_before_a_part_was_shipped() {
        assert_eq!(
            steps(ShipmentState::ALL),
            [
                "- > Shipped Delivered Ready Pending Delayed Partial Backorder Canceled",
                "Shipped > Delivered",
                "Delivered > ",
                "Ready > Shipped Delivered Partial Canceled",
                "Pending > Shipped Delivered Ready Delayed Partial Backorder Canceled",
                "Delayed > Shipped Delivered Ready Partial Backorder Canceled",
                "Partial > Shipped Delivered",
                "Backorder > Shipped Delivered Ready Delayed Partial Canceled",
                "Canceled > ",
            ]
        );
    }

    #[test]
    fn payment_states_climb() {
        assert_eq!(
            steps(PaymentState::ALL),
            [
                "- > BalanceDue Failed Pending CreditOwed Paid",
                "BalanceDue > Failed Pending CreditOwed Paid",
                "Failed > Pending CreditOwed Paid",
                "Pending > Failed CreditOwed Paid",
                "CreditOwed > ",
                "Paid > CreditOwed",
            ]
        );
    }
}
