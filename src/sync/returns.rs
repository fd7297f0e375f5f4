//! Fluent → commercetools: returns (`fluent-to-commercetools.md` 8). Off unless the operator says
//! otherwise: merchants differ, and no money may move without a rule.
//!
//! One `returnInfo` per return order. Items are written when the goods are there, and follow what
//! becomes of them. Routes: `fluent.return-updated` and its poll twin; they ask for slice
//! `return:<ref>` of the Order. Field table: `docs/mapping/return.md`.

use super::fulfilment::present;
use super::order_line::{self, Line};
use super::slice::{Note, Part, Slice};
use super::twin::{self, Twin};
use super::{connection, heard};
use crate::app::{App, Connection};
use crate::commercetools::action::{Action, ReturnInfoDraft, ReturnItemDraft, ReturnItemName, ReturnShipmentState};
use crate::commercetools::remembered::{self, RememberedOrder};
use crate::config::model::{CreateAt, Disposition, Returns};
use crate::config::timing::Timing;
use crate::failure::{Failure, Outcome, Skip, reject, skip};
use crate::fluent::fulfilment::{OrderRef, ReturnItem, ReturnOrder};
use crate::fluent::operation;
use crate::queue::{Message, Routes};

/// Kind of the mapping rows that remember which returns were transferred.
pub const KIND: &str = "return";

/// Most characters of a comment.
const COMMENT: usize = 500;

const TWIN: Twin = Twin {
    stream: "return-sync",
    operation: &operation::RETURNS_UPDATED,
    list: "returnOrders",
    entity: "RETURN_ORDER",
    kind: KIND,
    route: "fluent.return-updated",
    plural: "returns",
};

/// Registers this flow's routes.
pub fn register(routes: &mut Routes) {
    routes.inbox("fluent.return-updated", receive).lane("status");
    routes.job("job.return-sync", sync).timed(|connection| {
        let config = &connection.returns;
        (config.enabled && config.poll.enabled).then(|| Timing::every(config.poll.every))
    });
}

/// `fluent.return-updated`: finds the Order of a return and asks for its slice.
///
/// # Errors
/// As [`heard::ask`]; skipped if the return belongs to no order.
pub async fn receive(app: App, message: Message) -> Outcome {
    let connection = connection(&app, &message)?;
    heard::wanted(connection.config.returns.enabled, "Returns are", "returns")?;
    let envelope: heard::Envelope = message.payload()?;
    let (entity, id) = (&envelope.entity_type, &envelope.entity_id);
    let Some(reference) = envelope.entity_ref.as_deref().filter(|_| entity == "RETURN_ORDER") else {
        return reject(format!("The webhook names {entity} {id} but no return."));
    };
    let Some(found) = connection.fluent.on(message.call()).return_order(reference).await? else {
        return Err(heard::not_found(&message, entity, reference));
    };
    let Some(order) = order_of(&found).and_then(|order| order.reference.as_deref()) else {
        return skip(Skip::Ignored, format!("return {reference} names no order."));
    };
    let order = order_id(&message, connection, order).await?;
    heard::ask(&app, &message, &envelope, &TWIN, &order, Slice::Return(found.reference)).await
}

fn order_of(found: &ReturnOrder) -> Option<&OrderRef> {
    found.order.as_ref()
}

/// Returns know their order by its ref.
async fn order_id(message: &Message, connection: &Connection, reference: &str) -> Result<String, Failure> {
    match connection.fluent.on(message.call()).order_header(reference).await? {
        Some(header) => Ok(header.id),
        None => Err(heard::not_found(message, "ORDER", reference)),
    }
}

/// `job.return-sync`.
///
/// # Errors
/// As [`twin::sync`].
pub async fn sync(app: App, message: Message) -> Outcome {
    let connection = connection(&app, &message)?;
    twin::sync(&app, &message, connection, &TWIN, &connection.config.returns.poll).await
}

/// What brings the returnInfo of one return order up to date. Entries of others are left alone.
pub fn project(found: &ReturnOrder, order: &RememberedOrder, config: &Returns) -> Part {
    let mut round = Round { found, order, config, part: Part::default(), new: Vec::new(), advance: Vec::new() };
    if config.enabled {
        for item in found.items() {
            round.item(item);
        }
        round.advance();
        round.add();
    }
    round.part
}

struct Round<'a> {
    found: &'a ReturnOrder,
    order: &'a RememberedOrder,
    config: &'a Returns,
    part: Part,
    /// Items to be added, with what becomes of them at once.
    new: Vec<(ReturnItemDraft, Option<ReturnShipmentState>)>,
    /// Keys of items that were announced and are there now, with what becomes of them.
    advance: Vec<(String, Option<ReturnShipmentState>)>,
}

impl Round<'_> {
    fn item(&mut self, item: &ReturnItem) {
        let key = self.key(item);
        let withdrawn = self.is(&self.config.rejected_statuses, item);
        let disposition = self.disposition(item);
        let Some(written) = self.written(&key) else {
            if !withdrawn {
                self.create(item, key, disposition);
            }
            return;
        };
        if withdrawn {
            let sentence = format!(
                "return {} is {} in Fluent but already recorded in commercetools order {}.",
                self.found.reference,
                self.status(),
                self.order.label()
            );
            return self.note("returns.withdrawn", sentence);
        }
        match (written.shipment_state.as_str(), disposition) {
            ("Advised", disposition) if self.is(&self.config.received_statuses, item) => {
                self.advance.push((key, disposition));
            }
            ("Returned", Some(shipment_state)) => {
                let item = ReturnItemName::Id(written.id.clone());
                self.part.actions.push(Action::SetReturnShipmentState { item, shipment_state });
            }
            _ => {}
        }
    }

    fn create(&mut self, item: &ReturnItem, key: String, disposition: Option<ReturnShipmentState>) {
        let received = self.is(&self.config.received_statuses, item);
        if !received && self.config.create_at == CreateAt::Received {
            let sentence = format!(
                "return {} of order {} has status {}; it is written when the goods are received.",
                self.found.reference,
                order_of(self.found).and_then(|order| order.reference.as_deref()).unwrap_or("(none)"),
                self.status()
            );
            return self.note("returns.waiting", sentence);
        }
        let reference = item.order_item.as_ref().and_then(|ordered| ordered.reference.as_deref());
        let sku = item.product.as_ref().and_then(|product| product.reference.as_deref());
        let quantity = item.unit_quantity.as_ref().and_then(|quantity| quantity.quantity);
        let line = order_line::find(self.order, reference, sku);
        let (Some(line), Some(quantity)) = (line, quantity.filter(|quantity| *quantity > 0)) else {
            let sentence = format!(
                "Item {} of return {} matches no line item of commercetools order {}.",
                item.reference.as_deref().unwrap_or(&item.id),
                self.found.reference,
                self.order.label()
            );
            return self.note("returns.line_unknown", sentence);
        };
        let id = line.id().to_owned();
        let (line_item_id, custom_line_item_id) = match line {
            Line::Item(_) => (Some(id), None),
            Line::Custom(_) => (None, Some(id)),
        };
        let draft = ReturnItemDraft {
            key: Some(key),
            quantity,
            line_item_id,
            custom_line_item_id,
            comment: comment(item),
            shipment_state: if received { ReturnShipmentState::Returned } else { ReturnShipmentState::Advised },
        };
        self.new.push((draft, disposition.filter(|_| received)));
    }

    /// No action leads from `Advised` to `Returned`; only writing the whole list anew does, and that
    /// is ours to do only if all of it is ours and no money has moved.
    fn advance(&mut self) {
        if self.advance.is_empty() {
            return;
        }
        let items = || self.order.return_info.iter().flat_map(|info| &info.items);
        let ours = |item: &remembered::ReturnItem| item.key.as_deref().is_some_and(|key| key.starts_with("return-"));
        let unpaid = |item: &remembered::ReturnItem| matches!(item.payment_state.as_str(), "Initial" | "NonRefundable");
        if !items().all(|item| ours(item) && unpaid(item)) {
            let sentence = format!(
                "return {} stays Advised: order {} has return entries of others.",
                self.found.reference,
                self.order.label()
            );
            return self.note("returns.cannot_advance", sentence);
        }
        let mut settled: Vec<(String, ReturnShipmentState)> = Vec::new();
        let advance = std::mem::take(&mut self.advance);
        let mut again = |item: &remembered::ReturnItem| {
            let arrives = advance.iter().find(|(key, _)| item.key.as_deref() == Some(key));
            let was: Option<ReturnShipmentState> = item.shipment_state.parse().ok();
            let becomes = arrives.map_or(was.filter(|was| was.is_final()), |(_, disposition)| *disposition);
            settled.extend(item.key.clone().zip(becomes));
            let advised = arrives.is_none() && was == Some(ReturnShipmentState::Advised);
            ReturnItemDraft {
                key: item.key.clone(),
                quantity: item.quantity,
                line_item_id: item.line_item_id.clone(),
                custom_line_item_id: item.custom_line_item_id.clone(),
                comment: item.comment.clone(),
                shipment_state: if advised { ReturnShipmentState::Advised } else { ReturnShipmentState::Returned },
            }
        };
        let infos = self.order.return_info.iter().map(|info| ReturnInfoDraft {
            return_tracking_id: info.return_tracking_id.clone(),
            return_date: info.return_date.clone(),
            items: info.items.iter().map(&mut again).collect(),
        });
        let items = infos.collect();
        // Everything is written anew, so what named an item by its id names it by its key from here on.
        self.part.actions.retain(|action| !matches!(action, Action::SetReturnShipmentState { .. }));
        self.part.actions.push(Action::SetReturnInfo { items });
        for item in self.found.items() {
            let key = self.key(item);
            let returned = self.written(&key).is_some_and(|written| written.shipment_state == "Returned");
            settled.extend(self.disposition(item).filter(|_| returned).map(|becomes| (key, becomes)));
        }
        self.settle(settled);
    }

    fn add(&mut self) {
        if self.new.is_empty() {
            return;
        }
        let (items, settled): (Vec<_>, Vec<_>) = std::mem::take(&mut self.new)
            .into_iter()
            .map(|(draft, disposition)| {
                let settled = draft.key.clone().zip(disposition);
                (draft, settled)
            })
            .unzip();
        let info = ReturnInfoDraft {
            return_tracking_id: Some(self.found.reference.clone()),
            return_date: self.found.created_on.clone(),
            items,
        };
        self.part.actions.push(Action::AddReturnInfo { info });
        self.settle(settled.into_iter().flatten().collect());
    }

    fn settle(&mut self, settled: Vec<(String, ReturnShipmentState)>) {
        let actions = settled.into_iter().map(|(key, shipment_state)| {
            let item = ReturnItemName::Key(key);
            Action::SetReturnShipmentState { item, shipment_state }
        });
        self.part.actions.extend(actions);
    }

    fn written(&self, key: &str) -> Option<&remembered::ReturnItem> {
        let mut items = self.order.return_info.iter().flat_map(|info| &info.items);
        items.find(|item| item.key.as_deref() == Some(key))
    }

    fn key(&self, item: &ReturnItem) -> String {
        format!("return-{}-item-{}", self.found.id, item.id)
    }

    /// Whether the item or the whole return has one of these statuses.
    fn is(&self, statuses: &[String], item: &ReturnItem) -> bool {
        let mut have = [item.status.as_deref(), self.found.status.as_deref()].into_iter().flatten();
        have.any(|status| statuses.iter().any(|known| known == status))
    }

    fn status(&self) -> &str {
        self.found.status.as_deref().unwrap_or("(none)")
    }

    fn disposition(&self, item: &ReturnItem) -> Option<ReturnShipmentState> {
        let value = item.return_disposition_action.as_ref()?.value.as_deref()?;
        Some(match self.config.disposition.get(value)? {
            Disposition::BackInStock => ReturnShipmentState::BackInStock,
            Disposition::Unusable => ReturnShipmentState::Unusable,
        })
    }

    /// The same sentence is said once.
    fn note(&mut self, code: &'static str, sentence: String) {
        let note = Note::new(code, sentence);
        if !self.part.notes.contains(&note) {
            self.part.notes.push(note);
        }
    }
}

impl ReturnShipmentState {
    fn is_final(self) -> bool {
        matches!(self, Self::BackInStock | Self::Unusable)
    }
}

/// The reason, and what the customer said about it.
fn comment(item: &ReturnItem) -> Option<String> {
    let reason = item.return_reason.as_ref();
    let reason = reason.and_then(|reason| present(reason.label.as_deref()).or(present(reason.value.as_deref())));
    let said = present(item.return_reason_comment.as_deref());
    let parts: Vec<&str> = reason.into_iter().chain(said).collect();
    let text: String = parts.join(": ").chars().take(COMMENT).collect();
    (!text.is_empty()).then_some(text)
}
