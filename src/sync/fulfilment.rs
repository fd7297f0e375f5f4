//! Fluent → commercetools: fulfilments (`fluent-to-commercetools.md` 6).
//!
//! Whichever fulfilment an event names, all fulfilments of the order are read and all its Line Items
//! projected, so splits, re-sourcing and lost events come out right in one pass. Routes:
//! `fluent.fulfilment-updated` and its poll twin; they ask for slice `fulfilment` of the Order. Field
//! table: `docs/mapping/fulfilment.md`.

mod states;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::custom_fields::{self, Wanted, Writing};
use super::order_line;
use super::slice::{Note, Part};
use super::source::Source;
use super::twin::{self, Twin};
use super::{connection, heard};
use crate::app::App;
use crate::commercetools::action::{Action, ResourceIdentifier};
use crate::commercetools::known::Known;
use crate::commercetools::remembered::{RememberedLineItem, RememberedOrder};
use crate::config::model::Connection;
use crate::config::timing::Timing;
use crate::failure::{Outcome, reject};
use crate::fluent::fulfilment::{Fulfilment, FulfilmentItem};
use crate::fluent::operation;
use crate::queue::{Message, Routes};

/// Kind of the mapping rows that remember which fulfilments were transferred.
pub const KIND: &str = "fulfilment";

const TWIN: Twin = Twin {
    stream: "fulfilment-sync",
    operation: &operation::FULFILMENTS_UPDATED,
    list: "fulfilments",
    entity: "FULFILMENT",
    kind: KIND,
    route: "fluent.fulfilment-updated",
    plural: "fulfilments",
};

/// Registers this flow's routes.
pub fn register(routes: &mut Routes) {
    routes.inbox("fluent.fulfilment-updated", receive).lane("status");
    routes.job("job.fulfilment-sync", sync).timed(|connection| {
        let config = &connection.fulfilment;
        (config.enabled && config.poll.enabled).then(|| Timing::every(config.poll.every))
    });
}

/// `fluent.fulfilment-updated`: asks for the fulfilments of the Order to be brought up to date.
///
/// # Errors
/// As [`heard::ask`].
pub async fn receive(app: App, message: Message) -> Outcome {
    let connection = connection(&app, &message)?;
    heard::wanted(connection.config.fulfilment.enabled, "Fulfilments are", "fulfilment")?;
    let envelope: heard::Envelope = message.payload()?;
    let order = match envelope.order_id() {
        Some(id) => Some(id.to_owned()),
        None if envelope.entity_type == "FULFILMENT" => {
            let fluent = connection.fluent.on(message.call());
            match fluent.order_of_fulfilment(&envelope.entity_id).await? {
                None => return Err(heard::not_found(&message, &envelope.entity_type, &envelope.entity_id)),
                found => found,
            }
        }
        None => None,
    };
    let Some(order) = order else {
        return reject(format!("The webhook names {} {} but no order.", envelope.entity_type, envelope.entity_id));
    };
    heard::ask(&app, &message, &envelope, &TWIN, &order, "fulfilment").await
}

/// `job.fulfilment-sync`.
///
/// # Errors
/// As [`twin::sync`].
pub async fn sync(app: App, message: Message) -> Outcome {
    let connection = connection(&app, &message)?;
    twin::sync(&app, &message, connection, &TWIN, &connection.config.fulfilment.poll).await
}

/// What brings the Line Items of the Order up to the fulfilments.
pub fn project(source: &Source, order: &RememberedOrder, known: &Known, connection: &Connection) -> Part {
    let mut part = Part::default();
    if !connection.fulfilment.enabled {
        return part;
    }
    let units = units(source, order, &mut part);
    if connection.fulfilment.metadata {
        for line in &order.line_items {
            let of_line: Vec<&Unit> = units.iter().filter(|unit| unit.line == line.id).collect();
            metadata(source, order, line, &of_line, known, connection, &mut part);
        }
    }
    if connection.fulfilment.line_item_states.enabled {
        states::project(&units, source, order, known, &connection.fulfilment.line_item_states, &mut part);
    }
    part
}

/// What a fulfilment has of a Line Item.
pub(super) struct Unit<'a> {
    pub line: &'a str,
    pub fulfilment: &'a Fulfilment,
    pub item: &'a FulfilmentItem,
}

/// All units that belong to a line of the Order, by fulfilment and item; the others are noted.
fn units<'a>(source: &'a Source, order: &'a RememberedOrder, part: &mut Part) -> Vec<Unit<'a>> {
    let mut fulfilments: Vec<&Fulfilment> = source.order.fulfilments().collect();
    fulfilments.sort_by_key(|fulfilment| numeric(&fulfilment.id));
    let mut units = Vec::new();
    let mut unknown: Vec<&str> = Vec::new();
    for fulfilment in fulfilments {
        let mut items: Vec<&FulfilmentItem> = fulfilment.items.nodes().collect();
        items.sort_by_key(|item| numeric(&item.id));
        for item in items {
            let Some(ordered) = &item.order_item else { continue };
            if let Some(line) = order_line::of_item(order, ordered) {
                units.push(Unit { line: line.id(), fulfilment, item });
                continue;
            }
            let name = ordered.reference.as_deref().or(ordered.id.as_deref()).unwrap_or(&item.id);
            if !unknown.contains(&name) {
                unknown.push(name);
                let sku = ordered.product.as_ref().map_or("no product", |product| &product.reference);
                let sentence = format!(
                    "Fluent order item {name} ({sku}) of order {} matches no line item of commercetools order {}.",
                    source.order.label(),
                    order.label()
                );
                part.notes.push(Note::new("fulfilment.line_unknown", sentence));
            }
        }
    }
    units
}

/// Ids are numbers written as text: 999 comes before 1000.
fn numeric(id: &str) -> (usize, &str) {
    let digits = id.trim_start_matches('0');
    (digits.len(), digits)
}

/// One element of the list; the order of members is part of the format.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Element<'a> {
    fulfilment_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    fulfilment_ref: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fulfilment_location_ref: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fulfilment_location_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fulfilment_status: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    requested_quantity: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    filled_quantity: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rejected_quantity: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    eta: Option<&'a str>,
}

impl<'a> Element<'a> {
    fn new(unit: &Unit<'a>, names: &'a BTreeMap<String, String>) -> Self {
        let Unit { fulfilment, item, .. } = unit;
        let location = present(fulfilment.from_location.as_ref().and_then(|location| location.reference.as_deref()));
        Self {
            fulfilment_id: &fulfilment.id,
            fulfilment_ref: present(fulfilment.reference.as_deref()),
            fulfilment_location_ref: location,
            fulfilment_location_name: present(location.and_then(|location| names.get(location)).map(String::as_str)),
            fulfilment_status: present(fulfilment.status.as_deref()),
            requested_quantity: item.requested_quantity,
            filled_quantity: item.filled_quantity,
            rejected_quantity: item.rejected_quantity,
            eta: present(fulfilment.eta.as_deref()),
        }
    }
}

/// Trimmed; empty text counts as absent.
pub(super) fn present(text: Option<&str>) -> Option<&str> {
    text.map(str::trim).filter(|text| !text.is_empty())
}

fn metadata(
    source: &Source,
    order: &RememberedOrder,
    line: &RememberedLineItem,
    units: &[&Unit],
    known: &Known,
    connection: &Connection,
    part: &mut Part,
) {
    let types = &connection.custom_types;
    let Some(field) = types.line_item.fields.get("metadata").and_then(Option::as_deref) else { return };
    if units.is_empty() {
        return;
    }
    let elements: Vec<Element> = units.iter().map(|unit| Element::new(unit, &source.location_names)).collect();
    // Texts and numbers always have a JSON form.
    let text = serde_json::to_string(&elements).unwrap_or_default();
    let resource = format!("line item {} of order {}", line.id, order.label());
    let wanted = Wanted {
        values: vec![(field, Value::from(text))],
        resource: &resource,
        what: "the fulfilment metadata",
        max_length: types.max_length,
    };
    let (writing, notes) = custom_fields::write(&wanted, line.custom.as_ref(), &types.line_item, known);
    part.notes.extend(notes);
    let line_item_id = line.id.clone();
    match writing {
        Writing::Type { key, fields } => {
            let kind = ResourceIdentifier::custom_type(key);
            part.actions.push(Action::SetLineItemCustomType { line_item_id, kind, fields });
        }
        Writing::Fields(fields) => {
            part.actions.extend(fields.into_iter().map(|(name, value)| Action::SetLineItemCustomField {
                line_item_id: line_item_id.clone(),
                name,
                value,
            }))
        }
    }
}
