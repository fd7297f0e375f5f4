//! Units of a Line Item move through States as their fulfilments move (F 6.4).

use super::Unit;
use crate::commercetools::action::{Action, ResourceIdentifier, StateDraft};
use crate::commercetools::known::Known;
use crate::commercetools::remembered::{ItemState, RememberedLineItem, RememberedOrder};
use crate::config::model::{LineItemStates, StateMethod};
use crate::sync::slice::{Note, Part};
use crate::sync::source::Source;

/// What moves the units of every Line Item to where their fulfilments are.
pub(super) fn project(
    units: &[Unit],
    source: &Source,
    order: &RememberedOrder,
    known: &Known,
    config: &LineItemStates,
    part: &mut Part,
) {
    let mut look = Look { source, known, config, notes: Vec::new() };
    for line in &order.line_items {
        let of_line: Vec<&Unit> = units.iter().filter(|unit| unit.line == line.id).collect();
        let Some(target) = look.target(line, &of_line) else { continue };
        let moves = look.moves(line, target);
        part.actions.extend(look.actions(line, moves));
    }
    part.notes.append(&mut look.notes);
}

struct Look<'a> {
    source: &'a Source,
    known: &'a Known,
    config: &'a LineItemStates,
    notes: Vec<Note>,
}

/// So many units from one State to another, by their places in the order of States.
struct Move {
    quantity: i64,
    from: usize,
    to: usize,
}

impl Look<'_> {
    /// Units per State, in the order of States; `None` = they stay where they are.
    fn target(&mut self, line: &RememberedLineItem, units: &[&Unit]) -> Option<Vec<i64>> {
        let mut target = vec![0; self.config.order.len()];
        let initial = self.place(&self.config.initial_state)?;
        let mut held = 0;
        for unit in units {
            let status = unit.fulfilment.status.as_deref().unwrap_or("(none)");
            let Some(key) = state_of(self.config, status) else {
                self.unmapped(unit.fulfilment.reference.as_deref().unwrap_or(&unit.fulfilment.id), status);
                return None;
            };
            let Some(key) = key else { continue };
            let place = self.place(key)?;
            let quantity = quantity(unit, self.config.after_pick_statuses.iter().any(|after| after == status));
            target[place] += quantity;
            held += quantity;
        }
        if held > line.quantity {
            let sentence = format!(
                "Fulfilments of order {} hold {held} units of line item {}, which has {}; its States were left as they are.",
                self.source.order.label(),
                line.id,
                line.quantity
            );
            self.note("fulfilment.too_many", sentence);
            return None;
        }
        target[initial] += line.quantity - held;
        Some(target)
    }

    /// Where a State stands in the order, if it exists in commercetools.
    fn place(&mut self, key: &str) -> Option<usize> {
        if self.known.state_with_key(key).is_none() {
            let sentence = format!("State {key} does not exist in commercetools; create it or run provision.");
            self.note("fulfilment.state_missing", sentence);
            return None;
        }
        self.config.order.iter().position(|known| known == key)
    }

    fn unmapped(&mut self, fulfilment: &str, status: &str) {
        let sentence = format!(
            "Fulfilment {fulfilment} has status {status}, which has no State; its units were left where they are."
        );
        self.note("fulfilment.unmapped", sentence);
    }

    /// The same sentence is said once.
    fn note(&mut self, code: &'static str, sentence: String) {
        if self.notes.iter().all(|note| note.sentence != sentence) {
            self.notes.push(Note::new(code, sentence));
        }
    }

    /// Walks the target States from last to first and takes what they miss from States with a
    /// surplus, first to last. Units in the last State never leave it; units in States that are not
    /// in the order are not ours to move.
    fn moves(&self, line: &RememberedLineItem, target: Vec<i64>) -> Vec<Move> {
        let mut present = vec![0; target.len()];
        for held in &line.state {
            let key = self.known.state_named(&held.state).map_or_else(|| held.state.label(), |state| &state.key);
            if let Some(place) = self.config.order.iter().position(|known| known == key) {
                present[place] += held.quantity;
            }
        }
        let mut moves = Vec::new();
        let last = target.len().saturating_sub(1);
        for to in (0..target.len()).rev() {
            for from in (0..last).filter(|from| *from != to) {
                let quantity = (target[to] - present[to]).min(present[from] - target[from]);
                if quantity > 0 {
                    present[to] += quantity;
                    present[from] -= quantity;
                    moves.push(Move { quantity, from, to });
                }
            }
        }
        moves
    }

    fn actions(&self, line: &RememberedLineItem, moves: Vec<Move>) -> Vec<Action> {
        let state = |place: usize| ResourceIdentifier::state(&self.config.order[place]);
        if self.config.method == StateMethod::Import {
            return self.import(line, &moves).into_iter().collect();
        }
        let transition = |Move { quantity, from, to }| Action::TransitionLineItemState {
            line_item_id: line.id.clone(),
            quantity,
            from_state: state(from),
            to_state: state(to),
        };
        moves.into_iter().map(transition).collect()
    }

    /// The whole distribution after the moves; its units sum up to those of the line.
    fn import(&self, line: &RememberedLineItem, moves: &[Move]) -> Option<Action> {
        if moves.is_empty() {
            return None;
        }
        let mut state: Vec<StateDraft> = Vec::new();
        let mut add = |quantity: i64, identifier: ResourceIdentifier| match state
            .iter_mut()
            .find(|draft| draft.state == identifier)
        {
            Some(draft) => draft.quantity += quantity,
            None => state.push(StateDraft { quantity, state: identifier }),
        };
        for held in &line.state {
            add(held.quantity, self.identifier(held));
        }
        for Move { quantity, from, to } in moves {
            add(-quantity, self.reference(&self.config.order[*from]));
            add(*quantity, self.reference(&self.config.order[*to]));
        }
        state.retain(|draft| draft.quantity > 0);
        Some(Action::ImportLineItemState { line_item_id: line.id.clone(), state })
    }

    fn identifier(&self, held: &ItemState) -> ResourceIdentifier {
        match (self.known.state_named(&held.state), &held.state.id, &held.state.key) {
            (Some(state), ..) => ResourceIdentifier::state_by_id(state.id.clone()),
            (None, None, Some(key)) => self.reference(key),
            (None, id, _) => ResourceIdentifier::state_by_id(id.clone().unwrap_or_default()),
        }
    }

    /// An import takes States by their ids only (commercetools, `ItemState`).
    fn reference(&self, key: &str) -> ResourceIdentifier {
        let known = self.known.state_with_key(key);
        known.map_or_else(|| ResourceIdentifier::state(key), |state| ResourceIdentifier::state_by_id(state.id.clone()))
    }
}

/// The State of a fulfilment status: the operator's entry, else the built-in one. `Some(None)` = no
/// quantity, `None` = no row.
fn state_of<'a>(config: &'a LineItemStates, status: &str) -> Option<Option<&'a str>> {
    match config.mapping.get(status).map(Option::as_deref) {
        Some(None | Some("" | "IGNORE")) => Some(None),
        Some(Some(key)) => Some(Some(key)),
        None => match status {
            "CREATED" | "PROCESSING" | "AWAITING_WAVE" => Some(Some("flLineItemAllocated")),
            "ASSIGNED" => Some(Some("flLineItemPicking")),
            "FULFILLED" | "PARTIALLY_FULFILLED" | "AWAITING_COURIER_COLLECTION" => Some(Some("flLineItemPacked")),
            "COMPLETE" => Some(Some("flLineItemShipped")),
            "REJECTED" | "EXPIRED" | "CANCELLED" | "ESCALATED" => Some(None),
            _ => None,
        },
    }
}

/// Before the pick what was asked for and not refused; after it what was found.
fn quantity(unit: &Unit, after_pick: bool) -> i64 {
    let item = unit.item;
    let open = item.requested_quantity.unwrap_or_default() - item.rejected_quantity.unwrap_or_default();
    if after_pick { item.filled_quantity.unwrap_or_default() } else { open }.max(0)
}
