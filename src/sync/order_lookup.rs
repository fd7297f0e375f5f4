//! Which commercetools Order is this Fluent order (F 1.6)?
//!
//! The mapping row, else the identity attribute, else our sync info, else the order number; the
//! first hit becomes the mapping row. What belongs to another channel of the retailer is not ours.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::app::{App, Connection};
use crate::clock::{self, Millis};
use crate::commercetools::client::Query;
use crate::commercetools::remembered::{RememberedLineItem, RememberedOrder};
use crate::config::model::UnknownOrder;
use crate::failure::{self, Failure, Skip};
use crate::fluent::model::{Order, OrderItem};
use crate::fluent::operation;
use crate::queue::Message;
use crate::store::{Db, Mapping};
use crate::sync::order::told::{Class, Told};

/// Kind of the mapping rows of orders.
pub const KIND: &str = "order";

/// The mapping row of an order, with what its flows remember in it.
#[derive(Clone, Debug)]
pub struct Pair {
    pub mapping: Mapping,
    pub extra: Extra,
}

/// What the flows remember beside the identities.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Extra {
    /// Fluent order type: HD, CC, MULTI.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// When a create was sent whose outcome is not known: it may still appear.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unknown_since: Option<Millis>,
    /// What Fluent was told of it; `None` = another connector created it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub told: Option<Told>,
    /// Changes that a person was told of: class → hash of what is refused.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub reported: BTreeMap<Class, String>,
    /// Fluent ids of the items of an order that was taken over, by ref.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub items: BTreeMap<String, String>,
    /// Fluent ids of its fulfilment choices, by ref.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub choices: BTreeMap<String, String>,
    /// It was cancelled before Fluent had it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub cancelled_before_send: bool,
    /// When the last event that cancels it was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cancel_sent: Option<Millis>,
    /// It was deleted in commercetools.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub deleted: bool,
    /// `updatedOn` of the Fluent order that was last transferred.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fluent_updated_on: Option<String>,
    /// Its status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fluent_status: Option<String>,
}

/// A found Order.
#[derive(Clone, Debug)]
pub struct Found {
    pub commercetools_id: String,
    /// commercetools does not say yet that it is this Fluent order.
    pub unlinked: bool,
}

impl Pair {
    /// A pair that nothing is known of yet.
    pub fn new(connection: &str, commercetools_id: &str) -> Self {
        Self { mapping: Mapping::new(connection, KIND, commercetools_id), extra: Extra::default() }
    }

    /// The pair of a commercetools Order.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn load(db: &mut Db, connection: &str, commercetools_id: &str) -> Result<Option<Self>, Failure> {
        Ok(db.mapping(connection, KIND, commercetools_id).await?.map(Self::from))
    }

    /// The row to be written.
    pub fn row(&self, message: &Message) -> Mapping {
        let mut row = self.mapping.clone();
        // Extra is plain data; it always has a JSON form.
        row.extra.0 = serde_json::to_value(&self.extra).unwrap_or_default();
        row.last_message = Some(message.id());
        row
    }

    /// The Order as the last answer showed it, if that is still readable.
    pub fn remembered(&self) -> Option<RememberedOrder> {
        serde_json::from_value(self.mapping.remembered.as_ref()?.0.clone()).ok()
    }
}

impl From<Mapping> for Pair {
    fn from(mapping: Mapping) -> Self {
        let extra = serde_json::from_value(mapping.extra.0.clone()).unwrap_or_default();
        Self { mapping, extra }
    }
}

/// Finds the Order of a Fluent order; a new link is committed with the outcome of `message`.
///
/// # Errors
/// Waiting or skipped if there is none, rejected if it is ambiguous.
pub async fn find(app: &App, message: &Message, connection: &Connection, id: &str) -> Result<Found, Failure> {
    let known = app.store().read().await?.mapping_by_fluent_id(message.connection(), KIND, id).await?;
    if let Some(mapping) = known {
        return Ok(Found { commercetools_id: mapping.commercetools_id, unlinked: false });
    }
    let order = fluent_order(connection, message, id).await?;
    let Some((found, unlinked)) = candidate(message, connection, &order).await? else {
        return Err(unknown(app, message, connection, &order));
    };
    let linked = Pair::load(&mut app.store().read().await?, message.connection(), &found.id).await?;
    let mut pair = linked.unwrap_or_else(|| Pair::new(message.connection(), &found.id));
    if let Some(other) = pair.mapping.fluent_id.as_deref().filter(|other| *other != id) {
        return Err(Failure::rejected(format!(
            "commercetools order {} is already linked to Fluent order {other}; not linked to {id}.",
            found.label()
        )));
    }
    pair.mapping.fluent_id = Some(id.to_owned());
    pair.mapping.fluent_ref = pair.mapping.fluent_ref.or_else(|| order.reference.clone());
    pair.mapping.commercetools_key = found.order_number.clone();
    pair.extra.kind = Some(order.kind.clone());
    let row = pair.row(message);
    message.with(move |tx| Box::pin(async move { tx.put_mapping(&row).await }));
    Ok(Found { commercetools_id: found.id, unlinked })
}

/// Reads the header of a Fluent order by its id.
///
/// # Errors
/// Retry for ten minutes if Fluent does not have it (yet), then a rejection.
pub async fn fluent_order(connection: &Connection, message: &Message, id: &str) -> Result<Order, Failure> {
    #[derive(Deserialize)]
    struct Source {
        #[serde(rename = "orderById")]
        order: Option<Order>,
    }
    let fluent = connection.fluent.on(message.call());
    let variables = json!({"id": id, "withFulfilments": false, "after": null});
    let source: Result<Source, _> = fluent.run(&operation::ORDER_UPDATE_SOURCE, variables).await;
    match source {
        Ok(Source { order: Some(order) }) => Ok(order),
        Err(error) if error.code != "C0120E" => Err(error.into()),
        _ => Err(message.not_there_yet(format!("Fluent has no ORDER with id {id} (yet)."))),
    }
}

/// The Order, and whether the link is still to be written into it.
async fn candidate(
    message: &Message,
    connection: &Connection,
    order: &Order,
) -> Result<Option<(RememberedOrder, bool)>, Failure> {
    let commercetools = connection.commercetools.on(message.call());
    let attribute = order.attribute(&connection.config.order_link.identity_attribute).and_then(Value::as_str);
    if let Some(id) = attribute
        && let Some(found) = commercetools.order::<RememberedAnswer>(id, &[]).await?
    {
        return Ok(Some((found.0, true)));
    }
    let query = Query {
        predicates: vec!["syncInfo(externalId = :id)".into()],
        variables: vec![("id".into(), order.id.clone())],
        limit: 2,
        ..Query::default()
    };
    let mut linked = commercetools.query::<RememberedAnswer>("/orders", &query).await?.results;
    match (linked.pop(), linked.pop()) {
        (Some(one), None) => return Ok(Some((one.0, false))),
        (Some(a), Some(b)) => {
            return Err(Failure::rejected(format!(
                "Fluent order {} could be commercetools Orders {} and {}; set the link by hand.",
                order.label(),
                b.0.label(),
                a.0.label()
            )));
        }
        _ => {}
    }
    by_number(message, connection, order).await
}

/// Numbers are the shop's own: only with the same Line Items is it the same order.
async fn by_number(
    message: &Message,
    connection: &Connection,
    order: &Order,
) -> Result<Option<(RememberedOrder, bool)>, Failure> {
    let prefix = format!("{}_", order.kind);
    let number = order.reference.as_deref().and_then(|reference| reference.strip_prefix(&prefix));
    let Some(number) = number else { return Ok(None) };
    let commercetools = connection.commercetools.on(message.call());
    let Some(found) = commercetools.order_by_number::<RememberedAnswer>(number).await? else { return Ok(None) };
    let items = connection.fluent.on(message.call()).order_items(&order.id, None).await?;
    match items.iter().all(|item| has_line(&found.0, item)) {
        true => Ok(Some((found.0, true))),
        false => Err(Failure::rejected(format!(
            "Order number {number} exists in commercetools, but its Line Items do not match Fluent order {}; not linked.",
            order.label()
        ))),
    }
}

/// By the id of the line, else its key, else the SKU if no other line has it (F 6.3).
fn has_line(order: &RememberedOrder, item: &OrderItem) -> bool {
    let named = |line: &RememberedLineItem| {
        item.reference.as_ref().is_some_and(|name| *name == line.id || Some(name) == line.key.as_ref())
    };
    let sold = |line: &&RememberedLineItem| line.sku.as_deref() == Some(&item.product.reference);
    order.line_items.iter().chain(&order.custom_line_items).any(named)
        || order.line_items.iter().filter(sold).count() == 1
}

/// The first looks for the Order of a new Fluent order; then the pauses grow with its age.
const FIRST_LOOKS: Millis = 5_000;

/// No commercetools Order: perhaps the order flow is still writing, perhaps it is not ours.
fn unknown(app: &App, message: &Message, connection: &Connection, order: &Order) -> Failure {
    let config = &connection.config.order_update;
    let now: Millis = app.clock().now();
    let name = order.label();
    let created = order.created_on.as_deref().and_then(clock::parse_rfc3339).unwrap_or(message.created());
    let until = created + config.unknown_order_wait.millis();
    if now < until {
        let pause = (now - created).max(FIRST_LOOKS).min(until - now);
        return Failure::Again {
            class: failure::Class::Stale,
            sentence: format!(
                "Fluent order {name} is not linked to a commercetools Order yet; waiting until {}.",
                clock::rfc3339(until)
            ),
            after: Duration::from_millis(pause as u64),
        };
    }
    let sentence =
        format!("Fluent order {name} belongs to no commercetools Order of connection {}.", connection.config.name);
    match config.unknown_order {
        UnknownOrder::Ignore => Failure::Skipped { reason: Skip::Ignored, sentence },
        UnknownOrder::Reject => Failure::rejected(sentence),
    }
}

/// An Order answer, reduced to what is remembered.
#[derive(Debug)]
pub struct RememberedAnswer(pub RememberedOrder);

impl<'de> Deserialize<'de> for RememberedAnswer {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let answer = Value::deserialize(deserializer)?;
        RememberedOrder::from_answer(&answer).map(Self).map_err(serde::de::Error::custom)
    }
}
