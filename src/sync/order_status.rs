//! Fluent → commercetools: order status (`fluent-to-commercetools.md` 5).
//!
//! The status a Fluent order has *now* decides orderState, shipmentState, paymentState and, if
//! wanted, the workflow State. A step back is not written, because customers and other systems have
//! acted on the higher state. Routes: `fluent.order-updated` and its poll twin; they ask for slice
//! `status` of the Order. Field table: `docs/mapping/order-status.md`.

pub mod axes;
pub mod inbox;

use axes::{Axis, row, written};

use super::slice::{Note, Part};
use super::source::Source;
use crate::commercetools::action::{Action, OrderState, PaymentState, ResourceIdentifier, ShipmentState};
use crate::commercetools::known::{Known, State};
use crate::commercetools::remembered::RememberedOrder;
use crate::config::model::{self, OrderStatus, Unmapped};
use crate::config::timing::Timing;
use crate::failure::Failure;
use crate::fluent::model::Order;
use crate::queue::Routes;

/// Registers this flow's routes.
pub fn register(routes: &mut Routes) {
    routes.inbox("fluent.order-updated", inbox::receive).lane("status");
    routes.job("job.order-status-sync", inbox::sync).timed(|connection| {
        let config = &connection.order_status;
        (config.enabled && config.poll.enabled).then(|| Timing::every(config.poll.every))
    });
}

/// What brings the states of the Order up to the Fluent status.
pub fn project(source: &Source, order: &RememberedOrder, known: &Known, config: &OrderStatus) -> Part {
    if !config.enabled {
        return Part::default();
    }
    let fluent = &source.order;
    let round = Round { source, fluent, status: fluent.status.as_deref().unwrap_or("(none)"), order, config };
    if !round.is_mapped() {
        return round.unmapped();
    }
    let mut part = Part::default();
    round.workflow_state(known, &mut part);
    round.axis(round.shipment(), &mut part);
    round.axis(round.row::<PaymentState>().flatten(), &mut part);
    round.axis(round.row::<OrderState>().flatten(), &mut part);
    part
}

/// What is wrong with the tables of a configuration, one sentence per entry; empty = nothing.
/// Fluent statuses are compared exactly, so a key in another case would never match.
pub fn check(config: &OrderStatus) -> Vec<String> {
    let mut wrong = Vec::new();
    check_axis::<OrderState>(config, &mut wrong);
    check_axis::<ShipmentState>(config, &mut wrong);
    check_axis::<PaymentState>(config, &mut wrong);
    for status in config.workflow_state.mapping.keys() {
        wrong.extend(wrong_case("order_status.workflow_state.mapping", status));
    }
    wrong
}

fn check_axis<A: Axis>(config: &OrderStatus, wrong: &mut Vec<String>) {
    let axis = A::config(config);
    let name = format!("order_status.{}", axis_name::<A>());
    let general = axis.mapping.iter().map(|(status, state)| (format!("{name}.mapping"), status, state));
    let by_type = axis.by_type.iter().flat_map(|(kind, rows)| {
        let name = &name;
        rows.iter().map(move |(status, state)| (format!("{name}.by_type.{kind}"), status, state))
    });
    for (place, status, state) in general.chain(by_type) {
        wrong.extend(wrong_case(&place, status));
        if written::<A>(Some(state)).is_none() {
            wrong.push(format!("{place}.{status}: {:?} is no {}.", state.as_deref().unwrap_or_default(), A::FIELD));
        }
    }
}

fn axis_name<A: Axis>() -> &'static str {
    match A::NAME {
        model::AxisName::Order => "order",
        model::AxisName::Shipment => "shipment",
        model::AxisName::Payment => "payment",
    }
}

fn wrong_case(place: &str, status: &str) -> Option<String> {
    let upper = status.to_uppercase();
    (status != upper).then(|| format!("{place}.{status}: Fluent statuses are compared exactly; write {upper}."))
}

/// One look at an order.
struct Round<'a> {
    source: &'a Source,
    fluent: &'a Order,
    status: &'a str,
    order: &'a RememberedOrder,
    config: &'a OrderStatus,
}

impl Round<'_> {
    fn row<A: Axis>(&self) -> Option<Option<A>> {
        row(self.config, &self.fluent.kind, self.status)
    }

    /// Whether any table has an entry, be it "nothing". An axis that is switched off still knows
    /// its statuses.
    fn is_mapped(&self) -> bool {
        self.row::<OrderState>().is_some()
            || self.row::<ShipmentState>().is_some()
            || self.row::<PaymentState>().is_some()
            || (self.config.workflow_state.enabled && self.config.workflow_state.mapping.contains_key(self.status))
    }

    fn unmapped(&self) -> Part {
        let sentence = format!(
            "Fluent order {} has status {}, which no table maps; order, payment and shipment state of commercetools order {} stay as they are.",
            self.fluent.label(),
            self.status,
            self.order.label()
        );
        let code = "order_status.unmapped";
        match self.config.unmapped {
            Unmapped::Note => Part { notes: vec![Note::new(code, sentence)], ..Part::default() },
            Unmapped::Ignore => Part::default(),
            Unmapped::Reject => Part::refused(code, Failure::rejected(sentence)),
        }
    }

    /// What the table says, unless fulfilments or consignments say more (F 5.2). A cancelled order
    /// stays cancelled.
    fn shipment(&self) -> Option<ShipmentState> {
        let of_table = self.row::<ShipmentState>().flatten();
        if of_table == Some(ShipmentState::Canceled) {
            return of_table;
        }
        let delivered = self.is_delivered().then_some(ShipmentState::Delivered);
        let partial = self.is_partly_shipped().then_some(ShipmentState::Partial);
        [of_table, partial, delivered].into_iter().flatten().max_by_key(|state| state.rank())
    }

    /// Some, but not all of the fulfilments that are still alive were shipped.
    fn is_partly_shipped(&self) -> bool {
        let live = |status: &&str| !matches!(*status, "REJECTED" | "EXPIRED" | "CANCELLED");
        let statuses = self.fluent.fulfilments().map(|fulfilment| fulfilment.status.as_deref().unwrap_or_default());
        let live: Vec<&str> = statuses.filter(live).collect();
        let shipped = live.iter().filter(|status| self.config.shipped_statuses.iter().any(|known| known == *status));
        let shipped = shipped.count();
        self.config.partial_from_fulfilments && shipped > 0 && shipped < live.len()
    }

    /// Every consignment that we know of the order has arrived.
    fn is_delivered(&self) -> bool {
        let read = &self.source.consignments;
        let remembered = self.source.known.iter().filter(|(id, _)| read.iter().all(|one| one.id != **id));
        let remembered = remembered.map(|(_, known)| known.status.as_deref());
        let mut statuses = read.iter().map(|one| one.status.as_deref()).chain(remembered).peekable();
        let delivered = &self.config.delivered_consignment_statuses;
        statuses.peek().is_some()
            && statuses.all(|status| status.is_some_and(|status| delivered.iter().any(|known| known == status)))
    }

    fn axis<A: Axis>(&self, target: Option<A>, part: &mut Part) {
        if !A::config(self.config).enabled {
            return;
        }
        let Some(target) = target else { return };
        let current = A::current(self.order);
        let wanted = target.to_string();
        if current == Some(wanted.as_str()) {
            return;
        }
        // A state that this version does not know may be higher than any it does.
        let forward = match current.map(str::parse::<A>) {
            None => target.follows(None),
            Some(Ok(from)) => target.follows(Some(from)),
            Some(Err(_)) => false,
        };
        if forward || self.may_step_back::<A>(current, &wanted) {
            part.actions.push(target.action());
        } else {
            part.notes.push(self.backward(A::FIELD, current.unwrap_or("(none)"), &wanted));
        }
    }

    fn may_step_back<A: Axis>(&self, from: Option<&str>, to: &str) -> bool {
        self.config
            .allow_back
            .iter()
            .any(|allowed| allowed.axis == A::NAME && Some(allowed.from.as_str()) == from && allowed.to == to)
    }

    fn backward(&self, axis: &str, from: &str, to: &str) -> Note {
        let sentence = format!(
            "Fluent order {} is {}; {axis} would go from {from} to {to}, which is a step back. It was not written.",
            self.fluent.label(),
            self.status
        );
        Note::new("order_status.backward", sentence)
    }

    fn workflow_state(&self, known: &Known, part: &mut Part) {
        let config = &self.config.workflow_state;
        let Some(key) = config.key_of(self.status).filter(|_| config.enabled) else { return };
        let Some(target) = known.state_with_key(key) else {
            let sentence = format!(
                "State {key} does not exist in commercetools; create it or run provision. The rest was written."
            );
            return part.notes.push(Note::new("order_status.state_missing", sentence));
        };
        let reference = self.order.state.as_ref();
        if reference.is_some_and(|current| current.names(&target.id, Some(&target.key))) {
            return;
        }
        let current = reference.and_then(|reference| known.state_named(reference));
        let from = current.map(|state| state.key.as_str()).or_else(|| reference.map(|reference| reference.label()));
        let from = from.unwrap_or("(none)");
        if config.steps_back(from, key) {
            return part.notes.push(self.backward("state", from, key));
        }
        let allowed =
            if reference.is_none() { target.initial } else { current.is_none_or(|from| leads_to(from, target)) };
        if allowed || config.force {
            let state = ResourceIdentifier::state(key);
            return part.actions.push(Action::TransitionState { state, force: !allowed });
        }
        let sentence = format!(
            "State {from} of order {} has no transition to {key}; the State was left as it is.",
            self.order.label()
        );
        part.notes.push(Note::new("order_status.transition_not_allowed", sentence));
    }
}

/// A State without list of transitions leads everywhere.
fn leads_to(from: &State, to: &State) -> bool {
    from.transitions.as_ref().is_none_or(|next| next.iter().any(|state| state.names(&to.id, Some(&to.key))))
}
