//! Fluent → commercetools: everything that is written to one Order, in one update.
//!
//! Route `commercetools.update-order`, subject `order:<id>` (`fluent-to-commercetools.md` 1.4, 1.7).
//! The slices of all claimed messages are projected together from the Fluent order as it is now and
//! compared with the Order as we remember it; only the difference is sent, states last. Doing it
//! twice gives nothing to send. Field tables: `docs/mapping/order-status.md`, `fulfilment.md`,
//! `consignment.md`, `return.md`.

mod send;

use std::collections::BTreeSet;

use super::slice::{Note, Part, Refusal, Slice};
use super::source::Source;
use super::{consignment, fulfilment, order_link, order_status, returns};
use crate::commercetools::action::Action;
use crate::commercetools::known::Known;
use crate::commercetools::remembered::RememberedOrder;
use crate::config::model::Connection;
use crate::queue::Routes;

pub use send::{Update, send};

/// Registers this flow's routes.
pub fn register(routes: &mut Routes) {
    routes.outbox("commercetools.update-order", send).lane("status");
}

/// Compares both orders for the claimed slices. The states are always brought up to date, whatever
/// was claimed: the header of the Fluent order is read anyway.
///
/// `known` must hold the Types and States the Order refers to, our own ones, and for slice `link`
/// its Channel: a Type that is not in there counts as foreign, a State or Channel as missing.
pub fn project(
    slices: &BTreeSet<Slice>,
    source: &Source,
    order: &RememberedOrder,
    known: &Known,
    connection: &Connection,
) -> Projection {
    let mut projection = Projection::default();
    if slices.contains(&Slice::Link) {
        projection.add(Slice::Link, order_link::project(&source.order, order, known, connection));
        if let Some(refusal) = projection.belongs_to_another() {
            return Projection::refused(slices, refusal);
        }
    }
    if slices.contains(&Slice::Fulfilment) {
        projection.add(Slice::Fulfilment, fulfilment::project(source, order, known, connection));
    }
    for one in &source.consignments {
        let part = consignment::project(one, source, order, known, connection);
        projection.add(Slice::Consignment(one.id.clone()), part);
    }
    projection.add_returns(source, order, connection);
    for (slice, failure) in &source.absent {
        projection.add(slice.clone(), Part::refused("fluent.not_found", failure.clone()));
    }
    let mut status = order_status::project(source, order, known, &connection.order_status);
    if !slices.contains(&Slice::Status) {
        // Nobody asked for the states, so nobody is refused for their sake.
        status.notes.extend(status.refusal.take().map(|refusal| Note::new(refusal.code, refusal.failure.to_string())));
    }
    projection.add(Slice::Status, status);
    projection.actions.sort_by_key(|planned| planned.action.place());
    projection
}

/// What an update of one Order consists of.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Projection {
    /// In the order of the body; empty = nothing to send.
    pub actions: Vec<Planned>,
    /// What the operator should know, in the order of the actions they stand for.
    pub notes: Vec<Note>,
    /// Slices that are not written; their messages end with the failure, the others go on.
    pub rejected: Vec<Rejected>,
    /// Something can only be computed from what the Order is like after these actions.
    pub is_unfinished: bool,
}

/// An action and the slice that wants it.
#[derive(Clone, Debug, PartialEq)]
pub struct Planned {
    pub slice: Slice,
    pub action: Action,
}

/// A slice that is not written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    pub slice: Slice,
    pub refusal: Refusal,
}

impl Projection {
    /// The actions as consecutive updates of at most `most` actions, the states in the last one.
    /// Each goes out with the version of the answer before.
    pub fn updates(&self, most: usize) -> Vec<Vec<Action>> {
        let most = most.max(1);
        let (states, details): (Vec<Action>, Vec<Action>) =
            self.actions.iter().map(|planned| planned.action.clone()).partition(Action::is_state);
        let mut updates: Vec<Vec<Action>> = details.chunks(most).map(<[Action]>::to_vec).collect();
        match updates.last_mut() {
            Some(last) if last.len() + states.len() <= most => last.extend(states),
            _ => updates.extend(states.chunks(most).map(<[Action]>::to_vec)),
        }
        updates
    }

    /// The slices that want something, each once.
    pub fn slices(&self) -> BTreeSet<Slice> {
        self.actions.iter().map(|planned| planned.slice.clone()).collect()
    }

    /// What remains if one slice is sent on its own, to find the one the platform refuses.
    pub fn only(&self, slice: &Slice) -> Self {
        Self {
            actions: self.actions.iter().filter(|planned| planned.slice == *slice).cloned().collect(),
            ..Self::default()
        }
    }

    fn add(&mut self, slice: Slice, part: Part) {
        self.actions.extend(part.actions.into_iter().map(|action| Planned { slice: slice.clone(), action }));
        for note in part.notes {
            if !self.notes.contains(&note) {
                self.notes.push(note);
            }
        }
        self.rejected.extend(part.refusal.map(|refusal| Rejected { slice, refusal }));
    }

    /// Writing the list of returns anew goes alone: the others are computed from what it was.
    fn add_returns(&mut self, source: &Source, order: &RememberedOrder, connection: &Connection) {
        let is_anew = |action: &Action| matches!(action, Action::SetReturnInfo { .. });
        let mut parts: Vec<(Slice, Part)> = source
            .returns
            .iter()
            .map(|one| (Slice::Return(one.reference.clone()), returns::project(one, order, &connection.returns)))
            .collect();
        if let Some(alone) = parts.iter().position(|(_, part)| part.actions.iter().any(is_anew)) {
            for (_, (_, part)) in parts.iter_mut().enumerate().filter(|(at, _)| *at != alone) {
                self.is_unfinished |= !part.actions.is_empty();
                part.actions.clear();
            }
        }
        for (slice, part) in parts {
            self.add(slice, part);
        }
    }

    fn belongs_to_another(&self) -> Option<Refusal> {
        let mut refusals = self.rejected.iter().map(|rejected| &rejected.refusal);
        refusals.find(|refusal| refusal.code == order_link::OTHER).cloned()
    }

    /// Nothing may be written from this Fluent order.
    fn refused(slices: &BTreeSet<Slice>, refusal: Refusal) -> Self {
        let rejected = slices.iter().map(|slice| Rejected { slice: slice.clone(), refusal: refusal.clone() });
        Self { rejected: rejected.collect(), ..Self::default() }
    }
}
