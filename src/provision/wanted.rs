//! What has to be there, from the configuration alone: the drafts of F 11.1.

use super::{ChannelWanted, Extension, PARTS, Part, Wanted, subscription};
use crate::commercetools::definition::{FieldDraft, StateDraft, Texts, TypeDraft};
use crate::commercetools::known::FieldType;
use crate::config::model::{Connection, CustomType, Intake};

/// Everything a connection needs of these parts, in the order in which it is brought about.
pub fn wanted(connection: &Connection, intake: &Intake, only: &[Part], extensions: &[Extension]) -> Vec<Wanted> {
    let locales = &connection.provision.locales;
    let parts = PARTS.into_iter().filter(|part| only.contains(part));
    let of_part = |part| match part {
        Part::Types => types(connection, extensions),
        Part::Channels => channels(connection),
        Part::States => line_item_states(connection, locales).chain(order_states(connection, locales)).collect(),
        Part::Subscription => {
            let subscription = subscription::wanted(connection, intake).map(Wanted::Subscription);
            [Wanted::MessageStorage].into_iter().chain(subscription).collect()
        }
    };
    parts.flat_map(of_part).collect()
}

/// Resources that take our fields, as commercetools calls them.
pub const RESOURCES: [&str; 5] = ["order", "line-item", "order-delivery", "order-parcel", "channel"];

/// Our fields of one kind of resource: our value, label, type and whether it has several lines.
type Labels = &'static [(&'static str, &'static str, &'static str, bool)];

const ORDER: Labels =
    &[("order_id", "Fluent Order Id", "String", false), ("order_ref", "Fluent Order Ref", "String", false)];
const LINE_ITEM: Labels = &[("metadata", "Fulfilment Metadata", "String", true)];
const DELIVERY: Labels =
    &[("ref", "Fluent Consignment Ref", "String", false), ("status", "Fluent Consignment Status", "String", false)];
const PARCEL: Labels =
    &[("tracking_url", "Fluent Tracking Url", "String", false), ("article_ref", "Fluent Article Ref", "String", false)];
const CHANNEL: Labels = &[
    ("type", "Type", "String", false),
    ("status", "Status", "String", false),
    ("email", "Email", "String", false),
    ("phone", "Phone No.", "String", false),
    ("latitude", "Latitude", "Number", false),
    ("longitude", "Longitude", "Number", false),
    ("timezone", "Timezone", "String", false),
    ("opening_schedule", "Opening Schedule", "String", true),
    ("attributes", "Attributes", "String", true),
];

/// Our Types, then the extensions. Resources whose Type has the same key share it.
fn types(connection: &Connection, extensions: &[Extension]) -> Vec<Wanted> {
    let mut drafts: Vec<TypeDraft> = Vec::new();
    for resource in RESOURCES {
        let (ours, name, _) = of_resource(connection, resource);
        let fields = fields(connection, resource);
        match drafts.iter_mut().find(|draft| draft.key == ours.key) {
            Some(shared) => {
                shared.resource_type_ids.push(resource.to_owned());
                let known = shared.field_definitions.clone();
                let new = fields.into_iter().filter(|field| known.iter().all(|known| known.name != field.name));
                shared.field_definitions.extend(new);
            }
            None => drafts.push(TypeDraft {
                key: ours.key.clone(),
                name: texts(name, &connection.provision.locales),
                resource_type_ids: vec![resource.to_owned()],
                field_definitions: fields,
            }),
        }
    }
    let extended = extensions.iter().map(|extension| Wanted::Extension {
        key: extension.key.clone(),
        resource: extension.resource.clone(),
        fields: fields(connection, &extension.resource),
    });
    drafts.into_iter().map(Wanted::Type).chain(extended).collect()
}

/// The Type of a resource as configured, its name, and what we know of its fields.
fn of_resource<'a>(connection: &'a Connection, resource: &str) -> (&'a CustomType, &'static str, Labels) {
    let types = &connection.custom_types;
    match resource {
        "order" => (&types.order, "Fluent Order", ORDER),
        "line-item" => (&types.line_item, "Fluent Fulfilment Metadata", LINE_ITEM),
        "order-delivery" => (&types.delivery, "Fluent Consignment", DELIVERY),
        "order-parcel" => (&types.parcel, "Fluent Article", PARCEL),
        _ => (&types.channel, "Fluent Store Details", CHANNEL),
    }
}

/// The fields of a resource that are on. Where a customer collects is read by the other direction
/// (`order.pickup.custom_field`, C 5.2).
fn fields(connection: &Connection, resource: &str) -> Vec<FieldDraft> {
    let (ours, _, labels) = of_resource(connection, resource);
    let locales = &connection.provision.locales;
    let draft = |name: &str, label: &str, kind: &str, lines: bool| FieldDraft {
        name: name.to_owned(),
        label: texts(label, locales),
        required: false,
        kind: FieldType { name: kind.to_owned(), element_type: None },
        input_hint: lines.then_some("MultiLine"),
    };
    let named = labels.iter().filter_map(|(value, label, kind, lines)| {
        let name = ours.fields.get(*value)?.as_deref()?;
        Some(draft(name, label, kind, *lines))
    });
    let pickup = (resource == "order").then_some(&connection.order.pickup.custom_field).filter(|name| !name.is_empty());
    named.chain(pickup.map(|name| draft(name, "Pickup Location Ref", "String", false))).collect()
}

/// The Channel of links, and one per pair with a fixed Channel.
fn channels(connection: &Connection) -> Vec<Wanted> {
    let locales = &connection.provision.locales;
    let channel =
        |key: &str, name, role| ChannelWanted { key: key.to_owned(), name: texts(name, locales), roles: vec![role] };
    let mut channels = vec![channel(&connection.order_link.channel, "Fluent Order Management", "OrderExport")];
    for key in connection.inventory.pairs.iter().filter_map(|pair| pair.channel.as_deref()) {
        match channels.iter_mut().find(|known| known.key == key) {
            None => channels.push(channel(key, "Fluent aggregate inventory", "InventorySupply")),
            Some(shared) if !shared.roles.contains(&"InventorySupply") => shared.roles.push("InventorySupply"),
            Some(_) => {}
        }
    }
    channels.into_iter().map(Wanted::Channel).collect()
}

/// Only where Line Items move through States; the first of them is the platform's own.
fn line_item_states<'a>(connection: &'a Connection, locales: &'a [String]) -> impl Iterator<Item = Wanted> + 'a {
    let states = &connection.fulfilment.line_item_states;
    let keys = states.order.iter().filter(|key| states.enabled && **key != states.initial_state);
    keys.map(|key| state(key, "LineItemState", false, locales))
}

/// Only where orders follow a workflow. All are initial: an Order may be first seen in any status.
fn order_states<'a>(connection: &'a Connection, locales: &'a [String]) -> impl Iterator<Item = Wanted> + 'a {
    let workflow = &connection.order_status.workflow_state;
    let keys = workflow.keys().into_iter().filter(|_| workflow.enabled);
    keys.map(|key| state(key, "OrderState", true, locales))
}

fn state(key: &str, kind: &'static str, initial: bool, locales: &[String]) -> Wanted {
    let name = match key {
        "flLineItemAllocated" => "Fluent: allocated",
        "flLineItemPicking" | "flOrderPicking" => "Fluent: picking",
        "flLineItemPacked" => "Fluent: packed",
        "flLineItemShipped" => "Fluent: shipped",
        "flOrderReceived" => "Fluent: received",
        "flOrderEscalated" => "Fluent: escalated",
        "flOrderBooked" => "Fluent: booked",
        "flOrderReady" => "Fluent: ready for collection",
        "flOrderComplete" => "Fluent: complete",
        "flOrderCancelled" => "Fluent: cancelled",
        other => other,
    };
    Wanted::State(StateDraft { key: key.to_owned(), kind, name: texts(name, locales), initial })
}

fn texts(text: &str, locales: &[String]) -> Texts {
    locales.iter().map(|locale| (locale.clone(), text.to_owned())).collect()
}
