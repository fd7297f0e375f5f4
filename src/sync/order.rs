//! Orders, commercetools → Fluent: a home delivery with one fulfilment choice.
//!
//! Routes `commercetools.order-created` and `fluent.create-order` (in `create`), subject `order:<id>`;
//! `job.order-sync` (in `poll`) finds the orders that nobody told us of.
//! The pure part: [`to_fluent`] maps an order as read. What it is called in Fluent is decided by
//! [`reference`] before the first call and then remembered. Field tables: `commercetools-to-fluent`,
//! sections 5 and 6.

pub mod address;
pub mod adopt;
pub mod amounts;
pub mod choice;
pub mod create;
pub mod from_line;
mod gap;
pub mod item;
pub mod payment;
pub mod poll;

use serde_json::Value;

use self::amounts::Amounts;
use super::attribute::{self, own};
use super::text::{Notes, fill, fits, present};
use crate::commercetools::model::{Address, Order};
use crate::config::model::Connection;
use crate::config::timing::Timing;
use crate::failure::Failure;
use crate::fluent::input::{AttributeInput, CreateOrderInput, Id};
use crate::intake::GAP;
use crate::queue::Routes;

pub use create::{SINCE, receive, send};

/// Registers this flow's routes.
pub fn register(routes: &mut Routes) {
    routes.inbox("commercetools.order-created", receive).lane("order");
    routes.inbox(GAP, gap::fill).lane("order");
    routes
        .outbox("fluent.create-order", send)
        .lane("order")
        .blocks()
        .wait_limit(|connection| connection.order.wait_limit);
    routes.job("job.order-sync", poll::sync).timed(|connection| {
        let config = &connection.order;
        (config.enabled && !config.poll.0.is_zero()).then(|| Timing::every(config.poll))
    });
}

/// An order as Fluent gets it.
#[derive(Clone, Debug, PartialEq)]
pub struct Mapped {
    /// Its ref and type are `input.reference` and `input.kind`.
    pub input: CreateOrderInput,
    /// What Fluent must know before the order comes: the SKUs of its lines and the product refs of mapped custom line
    /// items, each once.
    pub skus: Vec<String>,
    pub notes: Notes,
}

/// Maps an order, under the ref that [`reference`] gives it.
///
/// # Errors
/// Rejected with the sentences of 5.7, if the order cannot be sent as it is.
pub fn to_fluent(order: &Order, customer_id: &str, connection: &Connection) -> Result<Mapped, Failure> {
    to_fluent_as(order, &reference(order, connection), customer_id, connection)
}

/// Maps an order under a ref that is remembered: a ref is never recomputed (D-1).
///
/// # Errors
/// As [`to_fluent`].
pub fn to_fluent_as(
    order: &Order,
    reference: &str,
    customer_id: &str,
    connection: &Connection,
) -> Result<Mapped, Failure> {
    if !item::any(order, connection) {
        return Err(Failure::rejected(format!("Order {} has nothing that Fluent can fulfil.", label(order))));
    }
    let destination = choice::home_delivery(order)?;
    check_emails(order, destination)?;
    let mut notes = Notes::default();
    let chain = chain(order, connection);
    let amounts = Amounts::read(order, connection, &mut notes)?;
    let items = item::items(order, &amounts, connection, &chain)?;
    let email = order.customer_email.as_deref();
    let billing = order.billing_address.as_ref();
    let mut skus: Vec<String> = vec![];
    for item in &items {
        if !skus.contains(&item.product_ref) {
            skus.push(item.product_ref.clone());
        }
    }
    let input = CreateOrderInput {
        reference: reference.to_owned(),
        kind: connection.order.types.hd.clone(),
        retailer: Id { id: connection.fluent.retailer_id.to_string() },
        customer: Id { id: customer_id.to_owned() },
        total_price: Some(amounts.total_price()),
        total_tax_price: amounts.total_tax_price(),
        items,
        fulfilment_choice: choice::home(order, destination, reference, &amounts, connection, &mut notes),
        billing_address: billing.map(|billing| address::fields(billing, email, &connection.order, &mut notes)),
        financial_transactions: payment::transactions(order, connection, &mut notes)?,
        attributes: attributes(order, &amounts, connection, &chain),
    };
    Ok(Mapped { input, skus, notes })
}

/// Emails identify and are therefore not cut.
fn check_emails(order: &Order, destination: &Address) -> Result<(), Failure> {
    let billing = order.billing_address.as_ref().and_then(|billing| billing.email.as_deref());
    let emails = [order.customer_email.as_deref(), destination.email.as_deref(), billing];
    if emails.into_iter().flatten().all(|email| fits(email, 255)) {
        return Ok(());
    }
    let label = label(order);
    Err(Failure::rejected(format!("Order {label} has an email longer than 255 characters; Fluent cannot hold it.")))
}

/// The ref an order gets in Fluent: `order.ref_pattern`, or `{type}_{id}` where that is longer than 100 characters.
pub fn reference(order: &Order, connection: &Connection) -> String {
    let wanted = filled(&connection.order.ref_pattern, order, connection);
    if fits(&wanted, REF) { wanted } else { filled("{type}_{id}", order, connection) }
}

/// All refs under which the order may be in Fluent already: ours, and those of an earlier connector.
pub fn references(order: &Order, connection: &Connection) -> Vec<String> {
    let mut references = vec![reference(order, connection)];
    for pattern in &connection.order.adopt_ref_patterns {
        let candidate = filled(pattern, order, connection);
        if fits(&candidate, REF) && !references.contains(&candidate) {
            references.push(candidate);
        }
    }
    references
}

/// Longest ref.
const REF: usize = 100;

fn filled(pattern: &str, order: &Order, connection: &Connection) -> String {
    fill(pattern, |token| match token {
        "type" => Some(connection.order.types.hd.clone()),
        "order_number" => Some(label(order).to_owned()),
        "id" => Some(order.id.clone()),
        "store" => Some(order.store.as_ref().map_or_else(String::new, |store| store.key.clone())),
        _ => None,
    })
}

/// What people call the order: its number, else its id.
pub fn label(order: &Order) -> &str {
    present(order.order_number.as_deref()).unwrap_or(&order.id)
}

/// Languages of texts that stand in an order: the customer's first.
fn chain<'a>(order: &'a Order, connection: &'a Connection) -> Vec<&'a str> {
    order.locale.as_deref().into_iter().chain(connection.locale.chain.iter().map(String::as_str)).collect()
}

/// The attributes of the order: its identity, what Fluent has no field for, and what configuration adds.
fn attributes(order: &Order, amounts: &Amounts, connection: &Connection, chain: &[&str]) -> Vec<AttributeInput> {
    let store = order.store.as_ref().map(|store| store.key.as_str());
    let currency = amounts.currency.to_string();
    let identity = [
        (own(connection, "OrderId"), Some(order.id.as_str())),
        (own(connection, "OrderNumber"), order.order_number.as_deref()),
        (own(connection, "ProjectKey"), Some(connection.commercetools.project_key.as_str())),
        ("currency".to_owned(), Some(currency.as_str())),
        (own(connection, "StoreKey"), store),
    ];
    let mut attributes: Vec<AttributeInput> =
        identity.into_iter().filter_map(|(name, value)| Some(attribute::string(name, present(value)?))).collect();
    let entries = item::entries(order, amounts, connection, chain);
    if !entries.is_empty() {
        attributes.push(attribute::typed(own(connection, "CustomLineItems"), "JSON", Value::Array(entries)));
    }
    if let Some(discount) = amounts.discount() {
        attributes.push(attribute::string(own(connection, "DiscountOnTotalPrice"), discount.to_string()));
    }
    if let Some(difference) = amounts.rounding_difference() {
        attributes.push(attribute::string(own(connection, "RoundingDifference"), difference.to_string()));
    }
    attributes.extend(attribute::from_rules(&order.source, &connection.order.attributes, chain));
    attributes
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
