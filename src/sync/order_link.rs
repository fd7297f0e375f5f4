//! Fluent → commercetools: the link from a commercetools Order to its Fluent order.
//!
//! Pure part of slice `link` (`fluent-to-commercetools.md` 10): `syncInfo` of our Channel carries
//! the Fluent order id, and two custom fields if they are wanted. Fluent's side of the link is
//! written by the order flow.

use serde_json::Value;

use super::custom_fields::{self, Wanted, Writing};
use super::slice::Part;
use crate::commercetools::action::{Action, ResourceIdentifier};
use crate::commercetools::known::{Channel, Known};
use crate::commercetools::remembered::RememberedOrder;
use crate::config::model::{Connection, CustomTypes, OrderLink};
use crate::failure::{Class, Failure};
use crate::fluent::model::Order;

/// The code of a refusal that concerns the whole update: the Order belongs to someone else.
pub const OTHER: &str = "order_link.other";

/// What links the Order; nothing if it is linked.
pub fn project(fluent: &Order, order: &RememberedOrder, known: &Known, connection: &Connection) -> Part {
    let config = &connection.order_link;
    if !config.enabled {
        return Part::default();
    }
    let Some(channel) = export_channel(known, config) else {
        let sentence = format!("Channel {} with role OrderExport does not exist; run provision.", config.channel);
        return Part::refused("order_link.channel_missing", Failure::retry(Class::Setup, sentence));
    };
    if let Some(other) = linked_elsewhere(order, channel, &fluent.id) {
        let sentence = format!(
            "commercetools order {} is already linked to Fluent order {other}; not linked to {}.",
            order.label(),
            fluent.id
        );
        return Part::refused(OTHER, Failure::rejected(sentence));
    }
    let mut part = Part::default();
    part.actions.extend(sync_info(fluent, order, channel));
    if config.custom_fields {
        add_custom_fields(&mut part, fluent, order, known, &connection.custom_types);
    }
    part
}

/// The Channel our syncInfo entries name, if it exists with its role.
pub fn export_channel<'a>(known: &'a Known, config: &OrderLink) -> Option<&'a Channel> {
    known.channel_with_key(&config.channel).filter(|channel| channel.roles.iter().any(|role| role == "OrderExport"))
}

/// The other Fluent order this Order is linked to, if it is linked to another one.
pub fn linked_elsewhere<'a>(order: &'a RememberedOrder, channel: &Channel, fluent_id: &str) -> Option<&'a str> {
    let mut ids = external_ids(order, channel).peekable();
    let first = ids.peek().copied()?;
    ids.all(|id| id != fluent_id).then_some(first)
}

/// The Fluent order ids in the syncInfo of the Channel.
fn external_ids<'a>(order: &'a RememberedOrder, channel: &Channel) -> impl Iterator<Item = &'a str> {
    order
        .sync_info
        .iter()
        .filter(|info| info.channel.names(&channel.id, Some(&channel.key)))
        .filter_map(|info| info.external_id.as_deref())
}

fn sync_info(fluent: &Order, order: &RememberedOrder, channel: &Channel) -> Option<Action> {
    if external_ids(order, channel).any(|id| id == fluent.id) {
        return None;
    }
    Some(Action::UpdateSyncInfo { channel: ResourceIdentifier::channel(&channel.key), external_id: fluent.id.clone() })
}

fn add_custom_fields(part: &mut Part, fluent: &Order, order: &RememberedOrder, known: &Known, types: &CustomTypes) {
    let named = |field: &str| types.order.fields.get(field).and_then(Option::as_deref);
    let id = named("order_id").map(|name| (name, Value::from(fluent.id.as_str())));
    let reference = named("order_ref").zip(fluent.reference.as_deref()).map(|(name, text)| (name, Value::from(text)));
    let resource = format!("order {}", order.label());
    let values = id.into_iter().chain(reference).collect();
    let wanted =
        Wanted { values, resource: &resource, what: "the link in custom fields", max_length: types.max_length };
    let (writing, notes) = custom_fields::write(&wanted, order.custom.as_ref(), &types.order, known);
    part.notes.extend(notes);
    match writing {
        Writing::Type { key, fields } => {
            part.actions.push(Action::SetCustomType { kind: ResourceIdentifier::custom_type(key), fields });
        }
        Writing::Fields(fields) => {
            part.actions.extend(fields.into_iter().map(|(name, value)| Action::SetCustomField { name, value }));
        }
    }
}
