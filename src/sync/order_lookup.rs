//! Which commercetools Order is this Fluent order (F 1.6)?
//!
//! The mapping row, else the identity attribute, else our sync info, else the order number; the
//! first hit becomes the mapping row. What belongs to another channel of the retailer is not ours.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::app::{App, Connection};
use crate::clock::{self, Millis};
use crate::commercetools::client::Query;
use crate::commercetools::remembered::RememberedOrder;
use crate::config::model::UnknownOrder;
use crate::failure::{self, Failure, Skip};
use crate::fluent::model::{Order, OrderItem};
use crate::queue::Message;
use crate::store::{Db, Mapping};
use crate::sync::order::told::{Class, Told};
use crate::sync::order_line;
use crate::sync::source::KnownConsignment;

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
    /// How many fulfilments it had when they were last read.
    #[serde(skip_serializing_if = "is_zero")]
    pub fulfilments: usize,
    /// Its consignments that were read, by id.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub consignments: BTreeMap<String, KnownConsignment>,
}

fn is_zero(number: &usize) -> bool {
    *number == 0
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
    let order = fluent_order(connection, message, id, false).await?;
    let Some((found, unlinked)) = search(message, connection, &order).await? else {
        return Err(unknown(app, message, connection, &order));
    };
    let candidate = Candidate { fluent: order, order: found, unlinked };
    link(app, message, &candidate).await?;
    Ok(Found { commercetools_id: candidate.order.id, unlinked })
}

/// An Order that could be a Fluent order's.
#[derive(Clone, Debug)]
pub struct Candidate {
    pub fluent: Order,
    pub order: RememberedOrder,
    /// As in [`Found`].
    pub unlinked: bool,
}

/// Looks for the Order of a Fluent order without asking the mapping.
///
/// # Errors
/// As [`find`], but `None` if there is none.
pub async fn candidate(message: &Message, connection: &Connection, id: &str) -> Result<Option<Candidate>, Failure> {
    let fluent = fluent_order(connection, message, id, false).await?;
    let found = search(message, connection, &fluent).await?;
    Ok(found.map(|(order, unlinked)| Candidate { fluent, order, unlinked }))
}

/// Commits the pair of a candidate with the outcome of `message`.
///
/// # Errors
/// A rejection if the Order belongs to another Fluent order.
pub async fn link(app: &App, message: &Message, candidate: &Candidate) -> Result<(), Failure> {
    let Candidate { fluent, order: found, .. } = candidate;
    let linked = Pair::load(&mut app.store().read().await?, message.connection(), &found.id).await?;
    let mut pair = linked.unwrap_or_else(|| Pair::new(message.connection(), &found.id));
    if let Some(other) = pair.mapping.fluent_id.as_deref().filter(|other| *other != fluent.id) {
        return Err(Failure::rejected(format!(
            "commercetools order {} is already linked to Fluent order {other}; not linked to {}.",
            found.label(),
            fluent.id
        )));
    }
    pair.mapping.state = "active".into();
    pair.mapping.fluent_id = Some(fluent.id.clone());
    pair.mapping.fluent_ref = pair.mapping.fluent_ref.or_else(|| fluent.reference.clone());
    pair.mapping.commercetools_key = found.order_number.clone();
    pair.extra.kind = Some(fluent.kind.clone());
    let row = pair.row(message);
    message.with(move |tx| Box::pin(async move { tx.put_mapping(&row).await }));
    Ok(())
}

/// Reads a Fluent order by its id: its header, on demand with all its fulfilments.
///
/// # Errors
/// Retry for ten minutes if Fluent does not have it (yet), then a rejection.
pub async fn fluent_order(
    connection: &Connection,
    message: &Message,
    id: &str,
    with_fulfilments: bool,
) -> Result<Order, Failure> {
    let fluent = connection.fluent.on(message.call());
    let order = fluent.order_source(id, with_fulfilments).await?;
    order.ok_or_else(|| message.not_there_yet(format!("Fluent has no ORDER with id {id} (yet).")))
}

/// The Order, and whether the link is still to be written into it.
async fn search(
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
    let has_line = |item: &OrderItem| {
        order_line::find(&found.0, item.reference.as_deref(), Some(&item.product.reference)).is_some()
    };
    match items.iter().all(has_line) {
        true => Ok(Some((found.0, true))),
        false => Err(Failure::rejected(format!(
            "Order number {number} exists in commercetools, but its Line Items do not match Fluent order {}; not linked.",
            order.label()
        ))),
    }
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
