//! Input types of Fluent's GraphQL mutations, as far as they are sent.
//!
//! Names and types are those of the October 2023 schema, the floor we support. Absent values are left
//! out, members come in a fixed order, ids are text, and a Float is a [`Decimal`] written from digits.

use std::fmt;

use serde::ser::Error as _;
use serde::{Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

/// `createCustomer`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CreateCustomerInput {
    /// At most 250 characters; the key of later updates.
    pub username: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_name: Option<String>,
    pub primary_email: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub primary_phone: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    pub timezone: String,
    pub promotion_opt_in: bool,
    pub retailer: Id,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<AttributeInput>,
}

/// `updateCustomer`, by username. Absent members stay as they are in Fluent.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UpdateCustomerInput {
    pub username: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub primary_email: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub primary_phone: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub promotion_opt_in: Option<bool>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<AttributeInput>,
}

/// `createOrder`: with one fulfilment choice, or with several.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CreateOrderInput {
    /// At most 100 characters, unique in the retailer.
    #[serde(rename = "ref")]
    pub reference: String,
    /// `HD` …; with it Fluent finds the workflow.
    #[serde(rename = "type")]
    pub kind: String,
    pub retailer: Id,
    pub customer: Id,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_price: Option<Decimal>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_tax_price: Option<Decimal>,
    pub items: Vec<CreateOrderItemWithOrderInput>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fulfilment_choice: Option<CreateFulfilmentChoiceWithOrderInput>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fulfilment_choices: Vec<CreateFulfilmentChoiceWithOrderInput>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub billing_address: Option<CreateOrderBillingAddressInput>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub financial_transactions: Vec<CreateFinancialTransactionWithOrderInput>,
    pub attributes: Vec<AttributeInput>,
}

/// One item of an order.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CreateOrderItemWithOrderInput {
    #[serde(rename = "ref")]
    pub reference: String,
    pub product_ref: String,
    pub product_catalogue_ref: String,
    /// Which of several choices it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fulfilment_choice_ref: Option<String>,
    pub quantity: i32,
    /// List price of one, before discounts.
    pub price: Decimal,
    /// Price of one after discounts, without tax.
    pub paid_price: Decimal,
    /// Tax of one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tax_price: Option<Decimal>,
    pub total_price: Decimal,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_tax_price: Option<Decimal>,
    /// `GST`, `VAT` or `EXCLTAX`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tax_type: Option<String>,
    pub currency: String,
    pub attributes: Vec<AttributeInput>,
}

/// How an order reaches the customer.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CreateFulfilmentChoiceWithOrderInput {
    #[serde(rename = "ref")]
    pub reference: String,
    /// `HD` or `CC`, in a MULTI order.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// `HD_PFS`, `HD_PFDC` …
    pub fulfilment_type: String,
    /// `STANDARD`, `EXPRESS`, `OVERNIGHT` …
    pub delivery_type: String,
    pub currency: String,
    pub fulfilment_price: Decimal,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fulfilment_tax_price: Option<Decimal>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery_first_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery_last_name: Option<String>,
    /// A phone number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery_contact: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery_email: Option<String>,
    /// At most 250 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery_instruction: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deliver_after: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deliver_before: Option<String>,
    /// Ref of the location where the customer collects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pickup_location_ref: Option<String>,
    /// Of home deliveries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery_address: Option<CreateCustomerAddressInput>,
}

/// An address with a ref of its own.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CreateCustomerAddressInput {
    #[serde(rename = "ref")]
    pub reference: String,
    /// The same members.
    #[serde(flatten)]
    pub address: CreateOrderBillingAddressInput,
}

/// An address without ref. Latitude, longitude and time zone are left to Fluent.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CreateOrderBillingAddressInput {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub company_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub street: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub street2: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub city: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub postcode: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
}

/// A payment or refund inside `createOrder`. Immutable in Fluent except for its status.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CreateFinancialTransactionWithOrderInput {
    #[serde(rename = "ref")]
    pub reference: String,
    /// `PAYMENT` or `REFUND`.
    #[serde(rename = "type")]
    pub kind: String,
    pub amount: Decimal,
    /// With `unscaledValue` the same amount in integers; both or neither.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unscaled_value: Option<i32>,
    pub currency: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_transaction_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_transaction_code: Option<String>,
    /// `CREDITCARD`, `PAYPAL`, `GIFTVOUCHER` …; not enforced.
    pub payment_method: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payment_provider: Option<String>,
    pub attributes: Vec<AttributeInput>,
}

/// `createFinancialTransaction`: the same for an order that is already there.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CreateFinancialTransactionInput {
    #[serde(flatten)]
    pub transaction: CreateFinancialTransactionWithOrderInput,
    pub order: Id,
}

/// `RetailerId`, `CustomerId`, `OrderId`: an entity by its number, as text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Id {
    pub id: String,
}

/// A product catalogue by ref.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProductCatalogueKey {
    #[serde(rename = "ref")]
    pub reference: String,
}

/// A product by ref and catalogue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProductKey {
    #[serde(rename = "ref")]
    pub reference: String,
    pub catalogue: ProductCatalogueKey,
}

/// A free attribute. Attributes are upserted by name and can never be removed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AttributeInput {
    pub name: String,
    /// `STRING`, `INTEGER`, `FLOAT`, `BOOLEAN`, `DATE`, `JSON` …; not enforced.
    #[serde(rename = "type")]
    pub kind: String,
    pub value: Value,
}

/// A decimal number that becomes a GraphQL `Float`: written from its digits, without exponent, trailing zeros or a
/// point that nothing follows (`57.91`, `5900`, `1.2345`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Decimal {
    unscaled: i128,
    scale: u8,
}

impl Decimal {
    /// `unscaled / 10^scale`. Equal numbers are equal, however they are written.
    pub fn new(mut unscaled: i128, mut scale: u8) -> Self {
        while scale > 0 && unscaled % 10 == 0 {
            (unscaled, scale) = (unscaled / 10, scale - 1);
        }
        Self { unscaled, scale }
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scale = usize::from(self.scale);
        let sign = if self.unscaled < 0 { "-" } else { "" };
        let digits = format!("{:0>width$}", self.unscaled.unsigned_abs(), width = scale + 1);
        let (whole, fraction) = digits.split_at(digits.len() - scale);
        if scale == 0 { write!(f, "{sign}{whole}") } else { write!(f, "{sign}{whole}.{fraction}") }
    }
}

impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        RawValue::from_string(self.to_string()).map_err(S::Error::custom)?.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn decimals_are_written_as_bare_digits() {
        let written = |unscaled, scale| serde_json::to_string(&Decimal::new(unscaled, scale)).unwrap();
        assert_eq!(written(5791, 2), "57.91");
        assert_eq!(written(590_000, 2), "5900");
        assert_eq!(written(12_345, 4), "1.2345");
        assert_eq!(written(-5, 2), "-0.05");
        assert_eq!(written(0, 3), "0");
        assert_eq!(written(123_456_789_012_345_678_901, 2), "1234567890123456789.01");
    }

    #[test]
    fn a_decimal_keeps_its_digits_in_a_flattened_input() {
        let transaction = CreateFinancialTransactionWithOrderInput {
            reference: "t".into(),
            kind: "PAYMENT".into(),
            amount: Decimal::new(12_345_678_901_234_567_891, 2),
            scale: None,
            unscaled_value: None,
            currency: "EUR".into(),
            external_transaction_id: None,
            external_transaction_code: None,
            payment_method: "OTHER".into(),
            payment_provider: None,
            attributes: vec![],
        };
        let later = CreateFinancialTransactionInput { transaction, order: Id { id: "7001".into() } };
        assert_eq!(
            serde_json::to_string(&later).unwrap(),
            r#"{"ref":"t","type":"PAYMENT","amount":123456789012345678.91,"currency":"EUR","paymentMethod":"OTHER","attributes":[],"order":{"id":"7001"}}"#
        );
    }

    proptest! {
        #[test]
        fn every_decimal_is_written_exactly(unscaled: i64, scale in 0u8..=20) {
            let text = Decimal::new(unscaled.into(), scale).to_string();
            let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
            prop_assert!(!fraction.ends_with('0') && !text.ends_with('.') && !text.contains(['e', 'E']));
            let zeros = "0".repeat(usize::from(scale) - fraction.len());
            let read: i128 = format!("{whole}{fraction}{zeros}").parse().unwrap();
            prop_assert_eq!(read, i128::from(unscaled));
        }
    }
}
