//! An order that Fluent has already: ours from an earlier try, or made by another connector (C 5.3).

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::{create, label, payment};
use crate::app::Connection as Link;
use crate::commercetools::model::{Number, Order};
use crate::failure::Failure;
use crate::fluent::input::{CreateOrderInput, Decimal};
use crate::fluent::model::{Attribute, Connection};
use crate::fluent::operation;
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
    total_price: Option<Box<RawValue>>,
    attributes: Option<Vec<Attribute>>,
    items: Connection<Item>,
    financial_transactions: Option<Connection<Transaction>>,
}

#[derive(Debug, Deserialize)]
struct Item {
    quantity: i64,
    currency: Option<String>,
    product: Product,
}

#[derive(Debug, Deserialize)]
struct Product {
    #[serde(rename = "ref")]
    reference: String,
}

#[derive(Debug, Deserialize)]
struct Transaction {
    #[serde(rename = "ref")]
    reference: Option<String>,
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
        if is_ours(&existing, order, input, link) {
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

/// By the identity attribute; without one, by what was bought and what it cost.
fn is_ours(existing: &Existing, order: &Order, input: &CreateOrderInput, link: &Link) -> bool {
    let identity = own(&link.config, "OrderId");
    let attribute = existing.attributes.iter().flatten().find(|attribute| attribute.name == identity);
    if let Some(attribute) = attribute {
        return attribute.value.as_str() == Some(&order.id);
    }
    let mut theirs: BTreeMap<&str, i64> = BTreeMap::new();
    for item in existing.items.nodes() {
        *theirs.entry(&item.product.reference).or_default() += item.quantity;
    }
    let mut ours: BTreeMap<&str, i64> = BTreeMap::new();
    for item in &input.items {
        *ours.entry(&item.product_ref).or_default() += i64::from(item.quantity);
    }
    let currency = input.items.first().map(|item| item.currency.as_str());
    let currencies = existing.items.nodes().all(|item| item.currency.as_deref().is_none_or(|c| Some(c) == currency));
    let total = existing.total_price.as_ref().and_then(|total| total.get().parse::<Number>().ok());
    let total = total.map(|total| Decimal::new(total.unscaled, total.scale));
    theirs == ours && currencies && total == input.total_price
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
    let had = existing.financial_transactions.iter().flat_map(Connection::nodes);
    let mut sent: BTreeSet<String> = had.filter_map(|transaction| transaction.reference.clone()).collect();
    let fluent = link.fluent.on(message.call());
    let mut notes = Notes::default();
    let payments = order.payment_info.iter().flat_map(|info| &info.payments).filter_map(|payment| payment.obj.as_ref());
    for payment in payments {
        for input in payment::later_transactions(payment, &sent.clone(), &existing.id, &link.config, &mut notes)? {
            let created: Result<serde_json::Value, _> =
                fluent.run(&operation::CREATE_FINANCIAL_TRANSACTION, create::json_input(&input)).await;
            match created {
                Ok(_) => {}
                // An earlier try of ours.
                Err(error) if error.code == "C0123E" => {}
                Err(error) => return Err(error.into()),
            }
            sent.insert(input.transaction.reference);
        }
    }
    for sentence in notes.sentences {
        message.note(crate::queue::Note::new("order.mapping", format!("Order {}: {sentence}", label(order))));
    }
    Ok(sent)
}
