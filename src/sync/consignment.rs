//! Fluent → commercetools: consignments (`fluent-to-commercetools.md` 7).
//!
//! One Delivery per consignment and Order, one Parcel per article. A Delivery that another connector
//! made for the consignment is adopted. Routes: `fluent.consignment-updated` and its poll twin; they
//! ask for slice `consignment:<id>` of every Order the articles lead to. Field table:
//! `docs/mapping/consignment.md`.

mod content;
mod parcel;

use serde_json::Value;

use super::custom_fields::{self, Wanted, Writing};
use super::fulfilment::present;
use super::slice::{Note, Part, Slice};
use super::source::{KnownConsignment, Source, of_order};
use super::twin::{self, Twin};
use super::{connection, heard};
use crate::app::App;
use crate::commercetools::action::{Action, CustomDraft, Item, ResourceIdentifier};
use crate::commercetools::known::Known;
use crate::commercetools::remembered::{Custom, Delivery, RememberedOrder};
use crate::config::model::{self, Connection, CustomType, OnCancel};
use crate::config::timing::Timing;
use crate::failure::{Failure, Outcome, reject};
use crate::fluent::fulfilment::Consignment;
use crate::fluent::operation;
use crate::queue::{Draft, Message, Routes};

use content::Content;

/// Kind of the mapping rows that remember which consignments were transferred.
pub const KIND: &str = "consignment";

const TWIN: Twin = Twin {
    stream: "consignment-sync",
    operation: &operation::CONSIGNMENTS_UPDATED,
    list: "consignments",
    entity: "CONSIGNMENT",
    kind: KIND,
    route: "fluent.consignment-updated",
    plural: "consignments",
};

/// Registers this flow's routes.
pub fn register(routes: &mut Routes) {
    routes.inbox("fluent.consignment-updated", receive).lane("status");
    routes.job("job.consignment-sync", sync).timed(|connection| {
        let config = &connection.consignment;
        (config.enabled && config.poll.enabled).then(|| Timing::every(config.poll.every))
    });
}

/// `fluent.consignment-updated`: asks every Order that the consignment belongs to for its slice.
///
/// # Errors
/// As [`heard::ask`].
pub async fn receive(app: App, message: Message) -> Outcome {
    let connection = connection(&app, &message)?;
    heard::wanted(connection.config.consignment.enabled, "Consignments are", "consignment")?;
    let envelope: heard::Envelope = message.payload()?;
    let (entity, id) = (&envelope.entity_type, &envelope.entity_id);
    if entity != "CONSIGNMENT" {
        return reject(format!("The webhook names {entity} {id} but no consignment."));
    }
    let slice = Slice::Consignment(id.clone());
    if let Some(order) = envelope.order_id() {
        return heard::ask(&app, &message, &envelope, &TWIN, order, slice).await;
    }
    let Some(consignment) = connection.fluent.on(message.call()).consignment(id).await? else {
        return Err(heard::not_found(&message, entity, id));
    };
    match consignment.orders()[..] {
        [] => Err(message
            .not_there_yet(format!("Consignment {} has no article that leads to an order.", consignment.label()))),
        [order] => heard::ask(&app, &message, &envelope, &TWIN, order, slice).await,
        ref orders => {
            message.then(orders.iter().map(|order| for_order(&message, &consignment, order)));
            message.tell(format!("consignment {} belongs to {} orders", consignment.label(), orders.len()));
            Ok(())
        }
    }
}

/// What tells one of several orders of a consignment about it, once per state of the consignment.
pub fn for_order(message: &Message, consignment: &Consignment, order: &str) -> Draft {
    let updated_on = consignment.updated_on.as_deref().unwrap_or_default();
    let payload = serde_json::json!({
        "entity_type": "CONSIGNMENT", "entity_id": consignment.id, "entity_ref": consignment.reference,
        "entity_status": consignment.status, "root_entity_type": "ORDER", "root_entity_id": order,
    });
    let key = format!("order:{order}:CONSIGNMENT:{}@{updated_on}", consignment.id);
    message.next("fluent.consignment-updated", key).payload(payload)
}

/// `job.consignment-sync`.
///
/// # Errors
/// As [`twin::sync`].
pub async fn sync(app: App, message: Message) -> Outcome {
    let connection = connection(&app, &message)?;
    twin::sync(&app, &message, connection, &TWIN, &connection.config.consignment.poll).await
}

/// What brings the Delivery of one consignment up to date.
pub fn project(
    consignment: &Consignment,
    source: &Source,
    order: &RememberedOrder,
    known: &Known,
    connection: &Connection,
) -> Part {
    let config = &connection.consignment;
    let status = consignment.status.as_deref().unwrap_or_default();
    let elsewhere = consignment.articles().next().is_some() && of_order(consignment, &source.order.id).next().is_none();
    if !config.enabled || elsewhere || config.skip_statuses.iter().any(|skipped| skipped == status) {
        return Part::default();
    }
    let round = Round { consignment, source, order, known, connection };
    let delivery = find(consignment, source, order, connection);
    match (delivery, config.cancelled_statuses.iter().any(|cancelled| cancelled == status)) {
        (None, true) => Part::default(),
        (None, false) => round.add(),
        (Some(delivery), true) if config.on_cancel == OnCancel::Remove => {
            Part { actions: vec![Action::RemoveDelivery { delivery_id: delivery.id.clone() }], ..Part::default() }
        }
        (Some(delivery), true) => {
            let mut part = Part::default();
            round.delivery_custom(delivery, &mut part);
            part
        }
        (Some(delivery), false) => round.update(delivery),
    }
}

/// The Delivery of a consignment: by what is remembered, else by its key, else by the ref in its
/// custom field.
pub fn find<'a>(
    consignment: &Consignment,
    source: &Source,
    order: &'a RememberedOrder,
    connection: &Connection,
) -> Option<&'a Delivery> {
    let remembered = source.known.get(&consignment.id).and_then(|known| known.delivery.as_deref());
    let key = key(consignment);
    let field = field(&connection.custom_types.delivery, "ref");
    let named = |delivery: &&Delivery| {
        let custom = delivery.custom.as_ref();
        let reference = field.and_then(|field| custom?.fields.get(field)?.as_str());
        // A key of ours says whose it is, whatever the field says.
        let of_another = delivery.key.as_deref().is_some_and(|key| key.starts_with("consignment-"));
        reference == Some(consignment.label()) && !of_another
    };
    let of_id = remembered.and_then(|id| order.deliveries().find(|delivery| delivery.id == id));
    let of_key = || order.deliveries().find(|delivery| delivery.key.as_deref() == Some(&key));
    of_id.or_else(of_key).or_else(|| order.deliveries().find(named))
}

/// What will be remembered of a consignment that was transferred to this Order.
pub fn remembered(
    consignment: &Consignment,
    source: &Source,
    order: &RememberedOrder,
    connection: &Connection,
) -> KnownConsignment {
    let delivery = find(consignment, source, order, connection);
    KnownConsignment {
        delivery: delivery.map(|delivery| delivery.id.clone()),
        borrowed: delivery.is_some() && Content::new(consignment, source, order).borrowed,
        ..KnownConsignment::new(consignment, &source.order.id)
    }
}

fn key(consignment: &Consignment) -> String {
    format!("consignment-{}", consignment.id)
}

/// Name of the field that carries one of our values; `None` = it is turned off.
fn field<'a>(of: &'a CustomType, value: &str) -> Option<&'a str> {
    of.fields.get(value).and_then(Option::as_deref)
}

/// One look at a consignment.
struct Round<'a> {
    consignment: &'a Consignment,
    source: &'a Source,
    order: &'a RememberedOrder,
    known: &'a Known,
    connection: &'a Connection,
}

impl Round<'_> {
    fn config(&self) -> &model::Consignment {
        &self.connection.consignment
    }

    fn add(&self) -> Part {
        let mut part = Part::default();
        if self.order.shipping.is_empty() {
            let sentence = format!(
                "commercetools order {} has no shipping information, so Delivery for consignment {} cannot be added.",
                self.order.label(),
                self.consignment.label()
            );
            part.notes.push(Note::new("consignment.no_shipping_info", sentence));
            return part;
        }
        let content = Content::new(self.consignment, self.source, self.order);
        let shipping_key = match self.shipping_key(&content.items) {
            Ok(key) => key,
            Err(refusal) => return *refusal,
        };
        self.content_notes(&content, None, &mut part);
        let parcels = content.articles.iter().map(|article| self.new_parcel(article, &mut part.notes)).collect();
        let (writing, notes) = self.delivery_writing(None);
        part.notes.extend(notes);
        part.actions.push(Action::AddDelivery {
            delivery_key: key(self.consignment),
            shipping_key,
            items: content.items,
            parcels,
            custom: draft(writing),
        });
        part
    }

    fn update(&self, delivery: &Delivery) -> Part {
        let mut part = Part::default();
        let content = Content::new(self.consignment, self.source, self.order);
        self.content_notes(&content, Some(delivery), &mut part);
        if content.is_told && !same(&content.items, &delivery.items) {
            part.actions
                .push(Action::SetDeliveryItems { delivery_id: delivery.id.clone(), items: content.items.clone() });
        }
        self.delivery_custom(delivery, &mut part);
        self.parcels(delivery, &content, &mut part);
        part
    }

    fn delivery_custom(&self, delivery: &Delivery, part: &mut Part) {
        let (writing, notes) = self.delivery_writing(delivery.custom.as_ref());
        part.notes.extend(notes);
        let delivery_id = delivery.id.clone();
        match writing {
            Writing::Type { key, fields } => {
                let custom = CustomDraft { kind: ResourceIdentifier::custom_type(key), fields };
                part.actions.push(Action::SetDeliveryCustomType { delivery_id, custom });
            }
            Writing::Fields(fields) => {
                part.actions.extend(fields.into_iter().map(|(name, value)| Action::SetDeliveryCustomField {
                    delivery_id: delivery_id.clone(),
                    name,
                    value,
                }))
            }
        }
    }

    fn delivery_writing(&self, found: Option<&Custom>) -> (Writing, Vec<Note>) {
        let types = &self.connection.custom_types;
        let reference = field(&types.delivery, "ref").map(|name| (name, Value::from(self.consignment.label())));
        let status = field(&types.delivery, "status").zip(present(self.consignment.status.as_deref()));
        let resource = format!("Delivery {} of order {}", key(self.consignment), self.order.label());
        let wanted = Wanted {
            values: reference.into_iter().chain(status.map(|(name, status)| (name, status.into()))).collect(),
            resource: &resource,
            what: "the consignment",
            max_length: types.max_length,
        };
        custom_fields::write(&wanted, found, &types.delivery, self.known)
    }

    /// Only with several shippings: the only one, else the one that all its lines share.
    fn shipping_key(&self, items: &[Item]) -> Result<Option<String>, Box<Part>> {
        if self.order.shipping_mode != "Multiple" {
            return Ok(None);
        }
        let keys: Vec<&String> =
            self.order.shipping.iter().filter_map(|shipping| shipping.shipping_key.as_ref()).collect();
        let goes_with = |key: &&&String| {
            let lines = self.order.line_items.iter().chain(&self.order.custom_line_items);
            let mut shipped = lines.filter(|line| items.iter().any(|item| item.id == line.id)).peekable();
            shipped.peek().is_some() && shipped.all(|line| line.shipping_keys.contains(key))
        };
        let shared: Vec<&&String> = keys.iter().filter(goes_with).collect();
        match (&keys[..], &shared[..]) {
            ([only], _) => Ok(Some((*only).clone())),
            (_, [only]) => Ok(Some((**only).clone())),
            _ => {
                let sentence = format!(
                    "Order {} has several shipping methods and consignment {} fits none of them clearly.",
                    self.order.label(),
                    self.consignment.label()
                );
                Err(Box::new(Part::refused("consignment.shipping_key_unknown", Failure::rejected(sentence))))
            }
        }
    }

    /// What is odd about the units in it: lines nobody knows, and more than was ordered.
    fn content_notes(&self, content: &Content, own: Option<&Delivery>, part: &mut Part) {
        for item in &content.unknown {
            let sentence = format!(
                "Order item {item} of consignment {} matches no line item of commercetools order {}; it is missing in the Delivery.",
                self.consignment.label(),
                self.order.label()
            );
            part.notes.push(Note::new("consignment.line_unknown", sentence));
        }
        let others = self.order.deliveries().filter(|delivery| own.is_none_or(|own| own.id != delivery.id));
        let others: Vec<&Item> = others.flat_map(|delivery| &delivery.items).collect();
        for item in &content.items {
            let elsewhere = others.iter().filter(|other| other.id == item.id).map(|other| other.quantity);
            let delivered = item.quantity + elsewhere.sum::<i64>();
            let lines = self.order.line_items.iter().chain(&self.order.custom_line_items);
            let ordered = lines.filter(|line| line.id == item.id).map(|line| line.quantity).sum::<i64>();
            if delivered > ordered {
                let sentence = format!(
                    "Deliveries of order {} hold {delivered} units of line item {}, which has {ordered}.",
                    self.order.label(),
                    item.id
                );
                part.notes.push(Note::new("consignment.too_many", sentence));
            }
        }
    }
}

/// For a resource that is made new.
fn draft(writing: Writing) -> Option<CustomDraft> {
    match writing {
        Writing::Type { key, fields } => Some(CustomDraft { kind: ResourceIdentifier::custom_type(key), fields }),
        Writing::Fields(_) => None,
    }
}

/// The same units of the same lines, in any order.
fn same(one: &[Item], other: &[Item]) -> bool {
    let sorted = |items: &[Item]| {
        let mut items: Vec<(String, i64)> = items.iter().map(|item| (item.id.clone(), item.quantity)).collect();
        items.sort();
        items
    };
    sorted(one) == sorted(other)
}
