//! commercetools resources as far as they are read: orders, customers and payments.
//!
//! Members we do not use are ignored. States and modes are text, because the platform adds new ones.
//! Source of names and of what may be absent: HTTP API reference, general types `Order`, `Cart`,
//! `Customer`, `Payment`. Amounts keep their integers ([`Money`]) and rates their decimal digits
//! ([`Number`]): nothing here passes through binary floating point.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// An order as read from `GET /orders/{id}`, with payments and shipping methods expanded.
#[derive(Clone, Debug, Deserialize)]
#[serde(remote = "Self", rename_all = "camelCase")]
pub struct Order {
    pub id: String,
    pub version: i64,
    /// Unique in the project and unchangeable once set.
    pub order_number: Option<String>,
    pub created_at: Option<String>,
    pub last_modified_at: Option<String>,
    /// Absent for guests.
    pub customer_id: Option<String>,
    pub customer_email: Option<String>,
    pub store: Option<KeyReference>,
    /// Language tag the customer ordered in.
    pub locale: Option<String>,
    #[serde(default)]
    pub line_items: Vec<LineItem>,
    #[serde(default)]
    pub custom_line_items: Vec<CustomLineItem>,
    pub total_price: Money,
    /// Absent while not every line has a tax rate.
    pub taxed_price: Option<TaxedPrice>,
    pub discount_on_total_price: Option<DiscountOnTotalPrice>,
    /// `Platform`, `External`, `ExternalAmount` or `Disabled`.
    pub tax_mode: Option<String>,
    pub billing_address: Option<Address>,
    pub shipping_address: Option<Address>,
    /// `Single` or `Multiple`.
    pub shipping_mode: Option<String>,
    /// Only with shipping mode `Single`.
    pub shipping_info: Option<ShippingInfo>,
    pub shipping_custom_fields: Option<CustomFields>,
    /// Only with shipping mode `Multiple`.
    #[serde(default)]
    pub shipping: Vec<Shipping>,
    #[serde(default)]
    pub item_shipping_addresses: Vec<Address>,
    pub payment_info: Option<PaymentInfo>,
    /// `Open`, `Confirmed`, `Complete` or `Cancelled`.
    pub order_state: Option<String>,
    pub shipment_state: Option<String>,
    pub payment_state: Option<String>,
    /// Workflow state.
    pub state: Option<Expanded<WorkflowState>>,
    #[serde(default)]
    pub sync_info: Vec<SyncInfo>,
    pub custom: Option<CustomFields>,
    /// The whole document, for values that configuration names by path.
    #[serde(skip)]
    pub source: Value,
}

/// A customer as read from `GET /customers/{id}`.
#[derive(Clone, Debug, Deserialize)]
#[serde(remote = "Self", rename_all = "camelCase")]
pub struct Customer {
    pub id: String,
    pub version: i64,
    pub key: Option<String>,
    pub customer_number: Option<String>,
    #[serde(default)]
    pub email: String,
    pub title: Option<String>,
    pub first_name: Option<String>,
    pub last_name: Option<String>,
    pub company_name: Option<String>,
    #[serde(default)]
    pub addresses: Vec<Address>,
    pub default_shipping_address_id: Option<String>,
    pub default_billing_address_id: Option<String>,
    pub custom: Option<CustomFields>,
    /// The whole document, for values that configuration names by path.
    #[serde(skip)]
    pub source: Value,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LineItem {
    pub id: String,
    pub product_id: String,
    pub product_key: Option<String>,
    #[serde(default)]
    pub name: Localized,
    pub variant: Variant,
    pub price: Price,
    pub quantity: i64,
    pub total_price: Money,
    pub taxed_price: Option<TaxedPrice>,
    pub tax_rate: Option<TaxRate>,
    /// `Standard` or `GiftLineItem`.
    pub line_item_mode: Option<String>,
    #[serde(default)]
    pub state: Vec<ItemState>,
    pub shipping_details: Option<ShippingDetails>,
    /// Instead of `taxRate` with shipping mode `Multiple`.
    #[serde(default)]
    pub per_method_tax_rate: Vec<MethodTaxRate>,
    /// What `taxedPrice` is made of with shipping mode `Multiple`.
    #[serde(default)]
    pub taxed_price_portions: Vec<TaxedPricePortion>,
    pub supply_channel: Option<Expanded<KeyReference>>,
    pub custom: Option<CustomFields>,
}

/// A fee, a voucher, a service: a row without product.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CustomLineItem {
    pub id: String,
    #[serde(default)]
    pub name: Localized,
    /// Price of one; may be negative.
    pub money: Money,
    pub slug: String,
    pub quantity: i64,
    pub total_price: Money,
    pub taxed_price: Option<TaxedPrice>,
    pub tax_rate: Option<TaxRate>,
    #[serde(default)]
    pub state: Vec<ItemState>,
    pub shipping_details: Option<ShippingDetails>,
    /// Instead of `taxRate` with shipping mode `Multiple`.
    #[serde(default)]
    pub per_method_tax_rate: Vec<MethodTaxRate>,
    pub custom: Option<CustomFields>,
}

/// The variant as it was when it was ordered.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Variant {
    pub id: i64,
    pub sku: Option<String>,
    #[serde(default)]
    pub images: Vec<Image>,
    #[serde(default)]
    pub attributes: Vec<Attribute>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Image {
    pub url: String,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Attribute {
    pub name: String,
    /// Text, number, boolean, enum, money, reference, set …, by product type.
    #[serde(default)]
    pub value: Value,
}

/// Unit price of a line. A product discount stands in `discounted`, which is not read: it is in the totals.
#[derive(Clone, Debug, Deserialize)]
pub struct Price {
    /// List price, before all discounts.
    pub value: Money,
}

/// Net, gross and tax of a row or of the order.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaxedPrice {
    pub total_net: Money,
    pub total_gross: Money,
    pub total_tax: Option<Money>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaxRate {
    #[serde(default)]
    pub name: String,
    /// `0.19` for 19 %.
    pub amount: Number,
    #[serde(default)]
    pub included_in_price: bool,
    #[serde(default)]
    pub country: String,
}

/// The tax rate of a line that is sent by this shipping method.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MethodTaxRate {
    pub shipping_method_key: String,
    pub tax_rate: Option<TaxRate>,
}

/// What of a line is sent by this shipping method costs.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaxedPricePortion {
    pub shipping_method_key: String,
    pub taxed_price: Option<TaxedPrice>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DiscountOnTotalPrice {
    pub discounted_amount: Money,
    /// Present if the order has a `taxedPrice`.
    pub discounted_net_amount: Option<Money>,
    pub discounted_gross_amount: Option<Money>,
}

/// One of several deliveries (shipping mode `Multiple`).
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Shipping {
    pub shipping_key: Option<String>,
    pub shipping_info: Option<ShippingInfo>,
    pub shipping_address: Option<Address>,
    pub shipping_custom_fields: Option<CustomFields>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ShippingInfo {
    #[serde(default)]
    pub shipping_method_name: String,
    pub price: Money,
    pub discounted_price: Option<DiscountedPrice>,
    pub taxed_price: Option<TaxedPrice>,
    pub shipping_method: Option<Expanded<ShippingMethod>>,
    pub estimated_delivery: Option<EstimatedDelivery>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct DiscountedPrice {
    pub value: Money,
}

#[derive(Clone, Debug, Deserialize)]
pub struct ShippingMethod {
    pub key: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct WorkflowState {
    pub key: Option<String>,
}

/// RFC 3339; either end may be open.
#[derive(Clone, Debug, Deserialize)]
pub struct EstimatedDelivery {
    pub from: Option<String>,
    pub until: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct ShippingDetails {
    #[serde(default)]
    pub targets: Vec<ShippingTarget>,
}

/// How much of a line goes to which of the `itemShippingAddresses`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ShippingTarget {
    pub address_key: Option<String>,
    pub quantity: i64,
    /// `shippingKey` of one of `shipping`, with shipping mode `Multiple`.
    pub shipping_method_key: Option<String>,
}

/// How much of a line is in which workflow state.
#[derive(Clone, Debug, Deserialize)]
pub struct ItemState {
    pub quantity: i64,
    pub state: Reference,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Address {
    pub id: Option<String>,
    pub key: Option<String>,
    pub title: Option<String>,
    pub first_name: Option<String>,
    pub last_name: Option<String>,
    pub company: Option<String>,
    pub street_name: Option<String>,
    pub street_number: Option<String>,
    pub additional_street_info: Option<String>,
    pub building: Option<String>,
    pub apartment: Option<String>,
    #[serde(rename = "pOBox")]
    pub po_box: Option<String>,
    pub postal_code: Option<String>,
    pub city: Option<String>,
    pub region: Option<String>,
    pub state: Option<String>,
    /// ISO 3166-1 alpha-2.
    pub country: Option<String>,
    pub phone: Option<String>,
    pub mobile: Option<String>,
    pub email: Option<String>,
    pub additional_address_info: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub struct PaymentInfo {
    #[serde(default)]
    pub payments: Vec<Expanded<Payment>>,
}

/// A payment as read from `GET /payments/{id}` or expanded in an order.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Payment {
    pub id: String,
    pub version: Option<i64>,
    /// Its identity at the payment provider.
    pub interface_id: Option<String>,
    #[serde(default)]
    pub payment_method_info: PaymentMethodInfo,
    #[serde(default)]
    pub transactions: Vec<Transaction>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PaymentMethodInfo {
    /// The payment provider.
    pub payment_interface: Option<String>,
    /// `CREDIT_CARD` …, free text of the project.
    pub method: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Transaction {
    pub id: String,
    /// `Authorization`, `CancelAuthorization`, `Charge`, `Refund` or `Chargeback`.
    #[serde(rename = "type")]
    pub kind: String,
    pub amount: Money,
    pub interaction_id: Option<String>,
    /// `Initial`, `Pending`, `Success` or `Failure`.
    pub state: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SyncInfo {
    pub channel: Reference,
    pub external_id: Option<String>,
    pub synced_at: Option<String>,
}

/// Custom fields of a resource; a resource has at most one custom type.
#[derive(Clone, Debug, Deserialize)]
pub struct CustomFields {
    #[serde(rename = "type")]
    pub kind: Option<Reference>,
    #[serde(default)]
    pub fields: Map<String, Value>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reference {
    pub type_id: Option<String>,
    pub id: Option<String>,
    pub key: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct KeyReference {
    pub key: String,
}

/// A reference that may carry what it refers to (`expand=`).
#[derive(Clone, Debug, Deserialize)]
pub struct Expanded<T> {
    pub id: Option<String>,
    pub obj: Option<T>,
}

/// Text by language tag, in tag order.
pub type Localized = BTreeMap<String, String>;

/// An amount of money. `fractionDigits` says what the integers mean and is never assumed.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Money {
    #[serde(rename = "type")]
    pub kind: Option<MoneyKind>,
    pub currency_code: String,
    pub cent_amount: i64,
    /// Only with [`MoneyKind::HighPrecision`]; then `fractionDigits` belongs to it.
    pub precise_amount: Option<i64>,
    pub fraction_digits: Option<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum MoneyKind {
    CentPrecision,
    HighPrecision,
}

/// A JSON number kept as its decimal digits: `unscaled / 10^scale`, without trailing zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number {
    pub unscaled: i128,
    pub scale: u8,
}

impl CustomFields {
    /// A field that is there and not null.
    pub fn field(&self, name: &str) -> Option<&Value> {
        self.fields.get(name).filter(|value| !value.is_null())
    }
}

impl<'de> Deserialize<'de> for Order {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        // The inherent `deserialize` is the derived one (`remote = "Self"`).
        let read = Self::deserialize(&mut serde_json::Deserializer::from_str(raw.get()));
        let source = serde_json::from_str(raw.get()).map_err(D::Error::custom)?;
        Ok(Self { source, ..read.map_err(D::Error::custom)? })
    }
}

impl<'de> Deserialize<'de> for Customer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        // The inherent `deserialize` is the derived one (`remote = "Self"`).
        let read = Self::deserialize(&mut serde_json::Deserializer::from_str(raw.get()));
        let source = serde_json::from_str(raw.get()).map_err(D::Error::custom)?;
        Ok(Self { source, ..read.map_err(D::Error::custom)? })
    }
}

impl<'de> Deserialize<'de> for Number {
    /// Reads the digits of the JSON text. Works wherever `RawValue` does: not behind `flatten` or untagged enums.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Box::<RawValue>::deserialize(deserializer)?.get().parse().map_err(D::Error::custom)
    }
}

impl FromStr for Number {
    type Err = String;

    /// `0.19`, `-3`, `1e-7`; refuses what has more than 38 digits.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a number of at most 38 digits");
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(wrong());
        }
        let mut unscaled: i128 = format!("{whole}{fraction}").parse().map_err(|_| wrong())?;
        let exponent: i64 = exponent.parse().map_err(|_| wrong())?;
        let mut scale = i64::try_from(fraction.len()).map_err(|_| wrong())?.checked_sub(exponent).ok_or_else(wrong)?;
        if unscaled == 0 {
            return Ok(Self { unscaled, scale: 0 });
        }
        while unscaled % 10 == 0 && scale > 0 {
            (unscaled, scale) = (unscaled / 10, scale - 1);
        }
        while scale < 0 {
            (unscaled, scale) = (unscaled.checked_mul(10).ok_or_else(wrong)?, scale + 1);
        }
        match u8::try_from(scale) {
            Ok(scale) if scale <= 38 => Ok(Self { unscaled, scale }),
            _ => Err(wrong()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_rate_keeps_the_digits_of_the_text() {
        let rate: TaxRate = serde_json::from_str(r#"{"amount": 0.1900000000000000000001}"#).unwrap();
        assert_eq!(rate.amount, Number { unscaled: 1_900_000_000_000_000_000_001, scale: 22 });
    }

    #[test]
    fn numbers_are_read_in_every_form_of_json() {
        let number = |text: &str| text.parse::<Number>().map(|number| (number.unscaled, number.scale));
        assert_eq!(number("0.190"), Ok((19, 2)));
        assert_eq!(number("-0.5"), Ok((-5, 1)));
        assert_eq!(number("1e-7"), Ok((1, 7)));
        assert_eq!(number("1.5E2"), Ok((150, 0)));
        assert_eq!(number("-0.0"), Ok((0, 0)));
        for text in ["", "true", "\"1\"", "1.-5", "1e999999999999", "1e99", "0.1e-60"] {
            assert!(number(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_order_remembers_its_whole_document() {
        let document = json!({
            "id": "o", "version": 1, "unknown": {"member": 1}, "custom": {"fields": {"gift": null, "note": "x"}},
            "totalPrice": {"currencyCode": "EUR", "centAmount": 0, "fractionDigits": 2}
        });
        let order: Order = serde_json::from_value(document.clone()).unwrap();
        assert_eq!(order.source, document);
        let custom = order.custom.unwrap();
        assert_eq!((custom.field("gift"), custom.field("note")), (None, Some(&json!("x"))));
    }
}
