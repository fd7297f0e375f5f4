//! Orders, commercetools → Fluent: home deliveries, click and collect, and both mixed.
//!
//! Routes `commercetools.order-created`, `-changed`, `-cancelled` and `-deleted` (in `inbox`), `fluent.create-order` (in
//! `create`), `fluent.update-order` (in `change`), `fluent.cancel-order` (in `cancel`) and
//! `fluent.create-financial-transaction` (in `transaction`), all of subject `order:<id>`; `job.order-sync` (in `poll`)
//! and `job.payment-sync` find what nobody told us of, `job.order-backfill-sync` (in `backfill`) what was there before.
//! The pure part: [`to_fluent`] maps an order as read. What it is called in Fluent is decided by
//! [`reference`] before the first call and then remembered. Field tables: `commercetools-to-fluent`,
//! sections 5 and 6.

pub mod address;
pub mod adopt;
pub mod amounts;
pub mod backfill;
pub mod cancel;
pub mod change;
pub mod choice;
pub mod create;
pub mod delivery;
pub mod from_line;
mod gap;
pub mod inbox;
pub mod item;
pub mod payment;
pub mod poll;
pub mod told;
pub mod transaction;

use serde_json::Value;

use self::amounts::Amounts;
use self::delivery::Deliveries;
use super::attribute::{self, own};
use super::text::{Notes, fill, fits, present};
use crate::commercetools::model::Order;
use crate::config::model::Connection;
use crate::config::timing::Timing;
use crate::config::value::Span;
use crate::failure::Failure;
use crate::fluent::input::{AttributeInput, CreateOrderInput, Id};
use crate::intake::GAP;
use crate::queue::Routes;

pub use create::SINCE;

/// Registers this flow's routes.
pub fn register(routes: &mut Routes) {
    let wait_limit = |connection: &Connection| connection.order.wait_limit;
    routes.inbox("commercetools.order-created", inbox::created).lane("order");
    for route in ["commercetools.order-changed", "commercetools.order-cancelled"] {
        routes.inbox(route, inbox::changed).lane("order");
    }
    routes.inbox(GAP, gap::fill).lane("order");
    routes.inbox("commercetools.order-deleted", inbox::deleted).lane("order");
    routes.inbox("commercetools.payment-changed", transaction::changed).lane("order").wait_limit(wait_limit);
    routes.outbox("fluent.create-order", create::send).lane("order").blocks().wait_limit(wait_limit);
    routes.outbox("fluent.update-order", change::send).lane("order").wait_limit(wait_limit);
    routes.outbox("fluent.cancel-order", cancel::send).lane("order");
    routes.outbox("fluent.create-financial-transaction", transaction::send).lane("order").wait_limit(wait_limit);
    routes.job("job.order-sync", poll::sync).timed(|connection| timing(connection, connection.order.poll));
    routes
        .job("job.payment-sync", transaction::sync)
        .timed(|connection| timing(connection, connection.order.payment_poll));
    // By hand only: it is never timed.
    routes.job(backfill::JOB, backfill::sync).lane("backfill").timed(|_| None);
}

fn timing(connection: &Connection, pause: Span) -> Option<Timing> {
    (connection.order.enabled && !pause.0.is_zero()).then(|| Timing::every(pause))
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
    mapped(order, None, customer_id, connection)
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
    mapped(order, Some(reference), customer_id, connection)
}

fn mapped(
    order: &Order,
    remembered: Option<&str>,
    customer_id: &str,
    connection: &Connection,
) -> Result<Mapped, Failure> {
    if !item::any(order, connection) {
        return Err(Failure::rejected(format!("Order {} has nothing that Fluent can fulfil.", label(order))));
    }
    let deliveries = Deliveries::read(order, connection)?;
    check_emails(order, &deliveries)?;
    let mut notes = Notes::default();
    let chain = chain(order, connection);
    let kind = deliveries.order_type(&connection.order);
    let reference = remembered.map_or_else(|| reference(order, kind, connection), str::to_owned);
    let amounts = Amounts::read(order, &deliveries, connection, &mut notes)?;
    let items = item::items(order, &deliveries, &reference, &amounts, connection, &chain)?;
    let mut choices = choice::choices(order, &deliveries, &reference, &amounts, connection, &mut notes)?;
    let email = order.customer_email.as_deref();
    let billing = order.billing_address.as_ref();
    let mut skus: Vec<String> = vec![];
    for item in &items {
        if !skus.contains(&item.product_ref) {
            skus.push(item.product_ref.clone());
        }
    }
    let input = CreateOrderInput {
        reference,
        kind: kind.to_owned(),
        retailer: Id { id: connection.fluent.retailer_id.to_string() },
        customer: Id { id: customer_id.to_owned() },
        total_price: Some(amounts.total_price()),
        total_tax_price: amounts.total_tax_price(),
        items,
        fulfilment_choice: if deliveries.is_multi() { None } else { choices.pop() },
        fulfilment_choices: choices,
        billing_address: billing.map(|billing| address::fields(billing, email, &connection.order, &mut notes)),
        financial_transactions: payment::transactions(order, connection, &mut notes)?,
        attributes: attributes(order, &amounts, connection, &chain),
    };
    Ok(Mapped { input, skus, notes })
}

/// Emails identify and are therefore not cut.
fn check_emails(order: &Order, deliveries: &Deliveries<'_>) -> Result<(), Failure> {
    let addresses = deliveries.groups.iter().filter_map(|group| group.address).chain(&order.billing_address);
    let emails = addresses.map(|address| address.email.as_deref()).chain([order.customer_email.as_deref()]);
    if emails.flatten().all(|email| fits(email, 255)) {
        return Ok(());
    }
    let label = label(order);
    Err(Failure::rejected(format!("Order {label} has an email longer than 255 characters; Fluent cannot hold it.")))
}

/// The ref an order of this type gets in Fluent: `order.ref_pattern`, or `{type}_{id}` where that is longer than 100
/// characters.
pub fn reference(order: &Order, kind: &str, connection: &Connection) -> String {
    let wanted = filled(&connection.order.ref_pattern, order, kind);
    if fits(&wanted, REF) { wanted } else { filled("{type}_{id}", order, kind) }
}

/// All refs under which the order may be in Fluent already: ours, and those of an earlier connector.
pub fn references(order: &Order, kind: &str, connection: &Connection) -> Vec<String> {
    let mut references = vec![reference(order, kind, connection)];
    for pattern in &connection.order.adopt_ref_patterns {
        let candidate = filled(pattern, order, kind);
        if fits(&candidate, REF) && !references.contains(&candidate) {
            references.push(candidate);
        }
    }
    references
}

/// Longest ref.
const REF: usize = 100;

fn filled(pattern: &str, order: &Order, kind: &str) -> String {
    fill(pattern, |token| match token {
        "type" => Some(kind.to_owned()),
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
mod delivery_tests;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
