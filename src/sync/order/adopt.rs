//! An order that Fluent has already: ours from an earlier try, or made by another connector (C 5.3).

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{create, label, payment};
use crate::app::Connection as Link;
use crate::commercetools::model::{Number, Order, Payment};
use crate::failure::Failure;
use crate::fluent::input::{CreateFinancialTransactionInput, CreateOrderInput, Decimal};
use crate::fluent::model::{Attribute, Connection, OrderItem};
use crate::fluent::{Client, operation};
use crate::queue::Message;
use crate::sync::attribute::own;
use crate::sync::text::Notes;

/// An order as `OrdersByRef` shows it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Existing {
    pub id: String,
    #[serde(rename = "ref")]
    pub reference: String,
    #[serde(rename = "type")]
    pub kind: String,
    total_price: Option<Box<RawValue>>,
    attributes: Option<Vec<Attribute>>,
    items: Connection<OrderItem>,
    fulfilment_choices: Option<Connection<Choice>>,
    financial_transactions: Option<Connection<TransactionState>>,
}

#[derive(Debug, Deserialize)]
struct Choice {
    id: String,
    #[serde(rename = "ref")]
    reference: Option<String>,
}

/// A transaction that Fluent has.
#[derive(Debug, Deserialize)]
pub struct TransactionState {
    #[serde(rename = "ref")]
    pub reference: Option<String>,
    total: Option<Box<RawValue>>,
}

#[derive(Debug, Deserialize)]
struct Orders {
    orders: Connection<Existing>,
}

/// Looks for the order under these refs.
///
/// # Errors
/// A rejection if the ref is taken by a different order.
pub async fn find(
    message: &Message,
    link: &Link,
    references: &[String],
    order: &Order,
    input: &CreateOrderInput,
) -> Result<Option<Existing>, Failure> {
    let fluent = link.fluent.on(message.call());
    let variables = json!({"ref": references, "retailerId": [link.config.fluent.retailer_id]});
    let found: Orders = fluent.run(&operation::ORDERS_BY_REF, variables).await?;
    let mut taken = None;
    for existing in found.orders.edges.into_iter().map(|edge| edge.node) {
        let ours = match identity(&existing, link) {
            Some(id) => id.as_str() == Some(&order.id),
            None => is_equal(&existing, &items(&fluent, &existing).await?, input),
        };
        if ours {
            return Ok(Some(existing));
        }
        // Another ref of the list may belong to anybody; only our own must be free.
        if existing.reference == input.reference {
            taken = Some(existing.reference);
        }
    }
    match taken {
        None => Ok(None),
        Some(reference) => {
            Err(Failure::rejected(format!("Fluent already has an order {reference} that is a different order.")))
        }
    }
}

/// The commercetools order that it says it is.
fn identity<'a>(existing: &'a Existing, link: &Link) -> Option<&'a Value> {
    let name = own(&link.config, "OrderId");
    let attribute = existing.attributes.iter().flatten().find(|attribute| attribute.name == name);
    attribute.map(|attribute| &attribute.value)
}

/// All items: the look-up shows the first hundred.
async fn items(fluent: &Client, existing: &Existing) -> Result<Vec<OrderItem>, Failure> {
    let mut items: Vec<OrderItem> = existing.items.nodes().cloned().collect();
    if existing.items.page_info.has_next_page {
        items.extend(fluent.order_items(&existing.id, existing.items.next()).await?);
    }
    Ok(items)
}

/// Does it hold what was bought, at the same price?
fn is_equal(existing: &Existing, items: &[OrderItem], input: &CreateOrderInput) -> bool {
    let mut theirs: BTreeMap<&str, i64> = BTreeMap::new();
    for item in items {
        *theirs.entry(&item.product.reference).or_default() += item.quantity;
    }
    let mut ours: BTreeMap<&str, i64> = BTreeMap::new();
    for item in &input.items {
        *ours.entry(&item.product_ref).or_default() += i64::from(item.quantity);
    }
    let currency = input.items.first().map(|item| item.currency.as_str());
    let currencies = items.iter().all(|item| item.currency.as_deref().is_none_or(|c| Some(c) == currency));
    theirs == ours && currencies && decimal(existing.total_price.as_deref()) == input.total_price
}

fn decimal(number: Option<&RawValue>) -> Option<Decimal> {
    let number: Number = number?.get().parse().ok()?;
    Some(Decimal::new(number.unscaled, number.scale))
}

/// What Fluent shows of a transaction must be what would be sent now if it were missing.
///
/// # Errors
/// Rejected if its amount is another one.
pub fn check(
    had: &TransactionState,
    payment: &Payment,
    sent: &BTreeSet<String>,
    order_id: &str,
    link: &Link,
) -> Result<(), Failure> {
    let (Some(reference), Some(theirs)) = (&had.reference, decimal(had.total.as_deref())) else { return Ok(()) };
    let mut others = sent.clone();
    others.remove(reference);
    let due = payment::later_transactions(payment, &others, order_id, &link.config, &mut Notes::default())?;
    match due.into_iter().find(|input| input.transaction.reference == *reference) {
        Some(input) if input.transaction.amount != theirs => Err(Failure::rejected(format!(
            "Fluent already holds transaction {reference} with {theirs}, commercetools says {}.",
            input.transaction.amount
        ))),
        _ => Ok(()),
    }
}

/// Creates a transaction; one that is there already is an earlier try of ours.
///
/// # Errors
/// As the client says.
pub async fn create_transaction(
    message: &Message,
    link: &Link,
    input: &CreateFinancialTransactionInput,
) -> Result<(), Failure> {
    let fluent = link.fluent.on(message.call());
    let created: Result<Value, _> =
        fluent.run(&operation::CREATE_FINANCIAL_TRANSACTION, create::json_input(input)).await;
    match created {
        Ok(_) => Ok(()),
        Err(error) if error.code == "C0123E" => Ok(()),
        Err(error) => Err(error.into()),
    }
}

impl Existing {
    /// Fluent ids of the items that the look-up shows (the first hundred), by ref.
    pub fn item_ids(&self) -> BTreeMap<String, String> {
        self.items.nodes().filter_map(|item| Some((item.reference.clone()?, item.id.clone()?))).collect()
    }

    /// Fluent ids of the fulfilment choices, by ref.
    pub fn choice_ids(&self) -> BTreeMap<String, String> {
        let choices = self.fulfilment_choices.iter().flat_map(Connection::nodes);
        choices.filter_map(|choice| Some((choice.reference.clone()?, choice.id.clone()))).collect()
    }
}

/// Creates the transactions that the order in Fluent lacks; answers the refs of all it then has.
///
/// # Errors
/// As the client says.
pub async fn add_transactions(
    message: &Message,
    link: &Link,
    order: &Order,
    existing: &Existing,
) -> Result<BTreeSet<String>, Failure> {
    let had: Vec<&TransactionState> = existing.financial_transactions.iter().flat_map(Connection::nodes).collect();
    let mut sent: BTreeSet<String> = had.iter().filter_map(|transaction| transaction.reference.clone()).collect();
    let mut notes = Notes::default();
    let payments = order.payment_info.iter().flat_map(|info| &info.payments).filter_map(|payment| payment.obj.as_ref());
    for payment in payments {
        for transaction in &had {
            check(transaction, payment, &sent, &existing.id, link)?;
        }
        for input in payment::later_transactions(payment, &sent.clone(), &existing.id, &link.config, &mut notes)? {
            create_transaction(message, link, &input).await?;
            sent.insert(input.transaction.reference);
        }
    }
    for sentence in notes.sentences {
        message.note(crate::queue::Note::new("order.mapping", format!("Order {}: {sentence}", label(order))));
    }
    Ok(sent)
}
