//! Line items and custom line items as items of the Fluent order (`commercetools-to-fluent`, 5.5 and 5.6).
//!
//! Fluent sources every item, so a fee must not become one by accident: a custom line item is an item
//! only if configuration names a product for its slug; otherwise it is an entry of an attribute.

use serde_json::{Map, Value};

use super::amounts::{Amounts, Row};
use super::delivery::{Deliveries, Part};
use super::{REF, choice, label};
use crate::commercetools::model::{CustomLineItem, LineItem, MethodTaxRate, Money, Order, TaxRate};
use crate::config::model::Connection;
use crate::failure::Failure;
use crate::fluent::input::{AttributeInput, CreateOrderItemWithOrderInput};
use crate::sync::attribute::{self, own};
use crate::sync::country;
use crate::sync::text::{fits, localized, present};

/// Has the order anything that becomes an item?
pub fn any(order: &Order, connection: &Connection) -> bool {
    !order.line_items.is_empty() || order.custom_line_items.iter().any(|line| product_ref(line, connection).is_some())
}

/// All items: the lines (each part of a split one), then the custom lines that stand for a product.
///
/// # Errors
/// Rejected if a line has no SKU, or its SKU, quantity or price cannot be sent.
pub fn items(
    order: &Order,
    deliveries: &Deliveries<'_>,
    reference: &str,
    amounts: &Amounts,
    connection: &Connection,
    chain: &[&str],
) -> Result<Vec<CreateOrderItemWithOrderInput>, Failure> {
    let sender = Sender { order, deliveries, reference, amounts, connection, chain };
    let parts = order.line_items.iter().zip(&deliveries.lines).enumerate();
    let parts = parts.flat_map(|(at, (line, parts))| parts.iter().enumerate().map(move |part| (at, line, part)));
    let lines = parts.map(|(at, line, part)| sender.line(at, line, part));
    let custom_lines = order.custom_line_items.iter().enumerate().filter_map(|(at, line)| {
        let product_ref = product_ref(line, connection)?;
        Some(sender.custom_line(at, line, product_ref))
    });
    lines.chain(custom_lines).collect()
}

/// The custom lines that are no items, for attribute `commercetoolsCustomLineItems`: amounts as decimal text.
pub fn entries(order: &Order, amounts: &Amounts, connection: &Connection, chain: &[&str]) -> Vec<Value> {
    let lines = order.custom_line_items.iter().enumerate();
    let entry = |(at, line): (usize, &CustomLineItem)| {
        let row = amounts.custom_line(at);
        let tax = amounts.tax_price(row).map(|tax| ("totalTaxPrice", Value::from(tax.to_string())));
        let members = [
            ("id", Value::from(line.id.as_str())),
            ("slug", Value::from(line.slug.as_str())),
            ("name", Value::from(localized(&line.name, chain).unwrap_or(&line.slug))),
            ("quantity", Value::from(line.quantity)),
            ("totalPrice", Value::from(amounts.price(row).to_string())),
            ("currency", Value::from(amounts.currency.to_string())),
        ];
        let members = members.into_iter().chain(tax).map(|(name, value)| (name.to_owned(), value));
        Value::Object(members.collect::<Map<String, Value>>())
    };
    lines.filter(|(_, line)| product_ref(line, connection).is_none()).map(entry).collect()
}

/// The product a custom line stands for; a negative one never does.
pub fn product_ref<'a>(line: &CustomLineItem, connection: &'a Connection) -> Option<&'a str> {
    let negative = is_negative(&line.money) || is_negative(&line.total_price);
    let product_ref = connection.order.custom_line_item_product_refs.get(&line.slug)?;
    (!negative).then_some(product_ref)
}

fn is_negative(money: &Money) -> bool {
    money.precise_amount.unwrap_or(money.cent_amount) < 0
}

/// What every item of an order needs to know.
struct Sender<'a> {
    order: &'a Order,
    deliveries: &'a Deliveries<'a>,
    /// Of the order.
    reference: &'a str,
    amounts: &'a Amounts,
    connection: &'a Connection,
    chain: &'a [&'a str],
}

/// What line items and custom line items have in common.
struct Source<'a> {
    id: &'a str,
    reference: String,
    /// Where it belongs.
    group: usize,
    product_ref: &'a str,
    quantity: i64,
    list_price: &'a Money,
    tax_rate: Option<&'a TaxRate>,
    row: Row,
    attributes: Vec<AttributeInput>,
}

impl Sender<'_> {
    fn line(
        &self,
        at: usize,
        line: &LineItem,
        (number, part): (usize, &Part),
    ) -> Result<CreateOrderItemWithOrderInput, Failure> {
        let Some(sku) = present(line.variant.sku.as_deref()) else {
            return Err(Failure::rejected(format!("Line {} of order {} has no SKU.", line.id, label(self.order))));
        };
        let mut attributes = vec![attribute::string(own(self.connection, "LineItemId"), &line.id)];
        if let Some(mode) = line.line_item_mode.as_deref().filter(|mode| *mode == "GiftLineItem") {
            attributes.push(attribute::string(own(self.connection, "LineItemMode"), mode));
        }
        if let Some(source) = self.order.source.pointer(&format!("/lineItems/{at}")) {
            attributes.extend(attribute::from_rules(source, &self.connection.order.item_attributes, self.chain));
        }
        self.item(Source {
            id: &line.id,
            reference: match self.deliveries.lines[at].len() {
                1 => line.id.clone(),
                _ => format!("{}:{}", line.id, number + 1),
            },
            group: part.group,
            product_ref: sku,
            quantity: part.quantity,
            list_price: &line.price.value,
            tax_rate: self.tax_rate(&line.per_method_tax_rate, part.group).or(line.tax_rate.as_ref()),
            row: self.amounts.line(at, number),
            attributes,
        })
    }

    fn custom_line(
        &self,
        at: usize,
        line: &CustomLineItem,
        product_ref: &str,
    ) -> Result<CreateOrderItemWithOrderInput, Failure> {
        let mut attributes = vec![attribute::string(own(self.connection, "CustomLineItemId"), &line.id)];
        if let Some(source) = self.order.source.pointer(&format!("/customLineItems/{at}")) {
            attributes.extend(attribute::from_rules(source, &self.connection.order.item_attributes, self.chain));
        }
        self.item(Source {
            id: &line.id,
            reference: line.id.clone(),
            group: self.deliveries.custom_lines[at],
            product_ref,
            quantity: line.quantity,
            list_price: &line.money,
            tax_rate: self
                .tax_rate(&line.per_method_tax_rate, self.deliveries.custom_lines[at])
                .or(line.tax_rate.as_ref()),
            row: self.amounts.custom_line(at),
            attributes,
        })
    }

    fn item(&self, source: Source) -> Result<CreateOrderItemWithOrderInput, Failure> {
        let subject = format!("Order {}", label(self.order));
        if !fits(source.product_ref, REF) {
            return Err(Failure::rejected(format!(
                "The SKU {} is longer than 100 characters; Fluent cannot hold it.",
                source.product_ref
            )));
        }
        let quantity = i32::try_from(source.quantity).ok().filter(|quantity| *quantity > 0).ok_or_else(|| {
            Failure::rejected(format!(
                "Line {} of order {} has the quantity {}, which Fluent cannot hold.",
                source.id,
                label(self.order),
                source.quantity
            ))
        })?;
        let (amounts, row) = (self.amounts, source.row);
        let list_price = amounts.list_price(source.list_price, source.tax_rate);
        Ok(CreateOrderItemWithOrderInput {
            reference: source.reference,
            product_ref: source.product_ref.to_owned(),
            product_catalogue_ref: self.connection.fluent.product_catalogue.reference.clone(),
            fulfilment_choice_ref: self
                .deliveries
                .is_multi()
                .then(|| choice::reference(self.order, self.reference, source.group)),
            quantity,
            price: list_price.map_err(|error| error.reject(&subject))?,
            paid_price: amounts.price_of_one(row, quantity).map_err(|error| error.reject(&subject))?,
            tax_price: amounts.tax_of_one(row, quantity).map_err(|error| error.reject(&subject))?,
            total_price: amounts.price(row),
            total_tax_price: amounts.tax_price(row),
            tax_type: source.tax_rate.map(|rate| self.tax_type(rate)),
            currency: amounts.currency.to_string(),
            attributes: source.attributes,
        })
    }

    /// The rate of the shipping method that a group goes by, if the line has one.
    fn tax_rate<'r>(&self, rates: &'r [MethodTaxRate], group: usize) -> Option<&'r TaxRate> {
        let key = self.deliveries.groups[group].key?;
        rates.iter().find(|rate| rate.shipping_method_key == key)?.tax_rate.as_ref()
    }

    /// By the name of the rate, else by its country.
    fn tax_type(&self, rate: &TaxRate) -> String {
        let named = self.connection.order.tax_types.get(&rate.name).cloned();
        named.unwrap_or_else(|| country::tax_type(&rate.country).to_owned())
    }
}
