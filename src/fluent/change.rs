//! An order that Fluent has: what `OrderById` shows of it, and what may still be changed.
//!
//! Absent members stay as they are in Fluent; items cannot be added or removed (platform-fluent.md 2.8).

use serde::{Deserialize, Serialize};

use super::input::{AttributeInput, CreateOrderBillingAddressInput};
use super::model::{Connection, Id};

/// `updateOrder`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UpdateOrderInput {
    pub id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub billing_address: Option<AddressInput>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<AttributeInput>,
}

/// `updateFulfilmentChoice`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UpdateFulfilmentChoiceInput {
    pub id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery_first_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery_last_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery_contact: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery_email: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery_instruction: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deliver_after: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deliver_before: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pickup_location_ref: Option<String>,
}

/// `updateCustomerAddress`, and the billing address of `updateOrder`: an address by its id, which is mandatory.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AddressInput {
    pub id: String,
    #[serde(flatten)]
    pub address: CreateOrderBillingAddressInput,
}

/// What `OrderById` answers.
#[derive(Clone, Debug, Deserialize)]
pub struct OrderById {
    #[serde(rename = "orderById")]
    pub order: Option<OrderState>,
}

/// An order as far as changes need it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OrderState {
    pub id: String,
    #[serde(rename = "ref")]
    pub reference: Option<String>,
    #[serde(rename = "type")]
    pub kind: String,
    pub status: Option<String>,
    pub billing_address: Option<Id>,
    pub fulfilment_choices: Option<Connection<ChoiceState>>,
}

/// A fulfilment choice of such an order.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChoiceState {
    pub id: String,
    #[serde(rename = "ref")]
    pub reference: Option<String>,
    pub delivery_address: Option<Id>,
}

impl OrderState {
    /// The status, in a sentence.
    pub fn status(&self) -> &str {
        self.status.as_deref().unwrap_or("a status of its own")
    }

    /// The choice with this ref; where the refs are another connector's, the one at this place of as many.
    pub fn choice(&self, reference: &str, at: usize, of: usize) -> Option<&ChoiceState> {
        let choices: Vec<&ChoiceState> = self.fulfilment_choices.iter().flat_map(Connection::nodes).collect();
        let named = choices.iter().find(|choice| choice.reference.as_deref() == Some(reference));
        named.or_else(|| choices.get(at).filter(|_| choices.len() == of)).copied()
    }
}
