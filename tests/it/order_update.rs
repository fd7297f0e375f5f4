//! What must hold for every life of an order, not only for the golden ones, and the corners of the
//! projection that no golden example shows.

use std::collections::BTreeSet;

use fluent_connector::commercetools::action::{
    Action, Name, OrderState, PaymentState, ResourceIdentifier, ShipmentState,
};
use fluent_connector::commercetools::known::{Channel, Known, State};
use fluent_connector::commercetools::remembered::{Custom, RememberedOrder, SyncInfo};
use fluent_connector::config::model::Connection;
use fluent_connector::failure::{Class, Failure};
use fluent_connector::fluent::model::Order;
use fluent_connector::sync::order_status;
use fluent_connector::sync::order_status::axes::Axis;
use fluent_connector::sync::order_update::{Projection, project};
use fluent_connector::sync::slice::Slice;
use fluent_connector::sync::source::Source;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Value, json};

use crate::golden_fluent_to_commercetools::{connection, our_types};

/// Statuses a life may pass, in any order and with steps back.
const STATUSES: &[&str] = &[
    "CREATED",
    "RECEIVED",
    "PENDING_PAYMENT",
    "ESCALATED",
    "BOOKED",
    "PICK_PACK",
    "PICK_PACK_CC",
    "AWAITING_COURIER_COLLECTION",
    "AWAITING_CUSTOMER_COLLECTION",
    "AWAITING_COLLECTION",
    "COMPLETE",
    "CANCELLED",
    "GIFT_WRAPPING",
];

/// A life without step back, from which any statuses may be missed.
const FORWARD: &[&str] = &["CREATED", "RECEIVED", "ESCALATED", "AWAITING_COURIER_COLLECTION", "COMPLETE"];

proptest! {
    /// Events only say that something changed: whatever the Order went through before, and in
    /// whatever order and however often the events come, it ends where one look at the source ends.
    #[test]
    fn order_and_number_of_events_do_not_matter(
        past in vec(select(STATUSES), 0..8),
        now in select(STATUSES),
        kind in select(&["HD", "CC", "MULTI"][..]),
        events in vec(slices(), 1..12),
    ) {
        let world = World::new(json!({"order_link": {"custom_fields": true}}));
        let start = past.iter().fold(new_order(), |order, status| {
            world.round(&order, &fluent(kind, status), &only_status())
        });
        let source = fluent(kind, now);
        let once = world.round(&start, &source, &both());
        let many = events.iter().chain([&both()]).fold(start, |order, slices| world.round(&order, &source, slices));
        prop_assert_eq!(RememberedOrder { version: 0, ..many }, RememberedOrder { version: 0, ..once });
    }

    /// Reads that fall anywhere between the changes end where the last read alone would.
    #[test]
    fn reads_in_between_do_not_matter_without_steps_back(
        life in subsequence(FORWARD, 1..=FORWARD.len()),
        read in vec(any::<bool>(), FORWARD.len()),
        kind in select(&["HD", "CC", "MULTI"][..]),
    ) {
        let world = World::new(json!({"order_status": {"payment": {"enabled": true}}}));
        let last = fluent(kind, life[life.len() - 1]);
        let alone = world.round(&new_order(), &last, &both());
        let mut order = new_order();
        for (status, _) in life.iter().zip(read).filter(|(_, read)| *read) {
            order = world.round(&order, &fluent(kind, status), &both());
        }
        let order = world.round(&order, &last, &both());
        prop_assert_eq!(states(&order), states(&alone));
    }

    /// Whatever Fluent does, no state of the Order goes back, and each step not taken is noted.
    #[test]
    fn no_axis_steps_back(life in vec(select(STATUSES), 1..12), kind in select(&["HD", "CC", "MULTI"][..])) {
        let world = World::new(json!({"order_status": {"payment": {"enabled": true}}}));
        let mut order = new_order();
        for status in life {
            let projection = world.project(&order, &fluent(kind, status), &both());
            let next = apply(&order, &projection);
            prop_assert!(goes_on::<OrderState>(&order, &next), "{status}: {order:?} to {next:?}");
            prop_assert!(goes_on::<ShipmentState>(&order, &next), "{status}: {order:?} to {next:?}");
            prop_assert!(goes_on::<PaymentState>(&order, &next), "{status}: {order:?} to {next:?}");
            let expected = if status == "GIFT_WRAPPING" { "order_status.unmapped" } else { "order_status.backward" };
            prop_assert!(notes(&projection).iter().all(|code| *code == expected), "{:?}", projection.notes);
            order = next;
        }
    }

    /// A second look at the same source has nothing to send.
    #[test]
    fn projecting_twice_yields_nothing(
        life in vec(select(STATUSES), 1..8),
        kind in select(&["HD", "CC", "MULTI"][..]),
        slices in slices(),
    ) {
        let world = World::new(json!({
            "order_link": {"custom_fields": true},
            "order_status": {"payment": {"enabled": true}, "workflow_state": {"enabled": true}},
        }));
        let mut order = new_order();
        for status in life {
            let source = fluent(kind, status);
            order = world.round(&order, &source, &slices);
            prop_assert_eq!(world.project(&order, &source, &slices).actions, vec![]);
        }
    }

    /// A status that no table knows changes no state, whatever the Order is in.
    #[test]
    fn unmapped_statuses_change_nothing(
        status in "[A-Z_]{1,20}",
        before in select(STATUSES),
        unmapped in select(&["note", "ignore", "reject"][..]),
    ) {
        prop_assume!(!STATUSES.contains(&status.as_str()));
        let world = World::new(json!({
            "order_status": {"unmapped": unmapped, "payment": {"enabled": true}, "workflow_state": {"enabled": true}},
        }));
        let order = world.round(&new_order(), &fluent("HD", before), &both());
        let projection = world.project(&order, &fluent("HD", &status), &only_status());
        prop_assert_eq!(projection.actions, vec![]);
        prop_assert_eq!(projection.notes.len(), usize::from(unmapped == "note"));
        prop_assert_eq!(projection.rejected.len(), usize::from(unmapped == "reject"));
    }

    /// However small the updates are, nothing is lost, details come before states, and the states
    /// of one update are the last ones.
    #[test]
    fn cutting_keeps_every_action_and_the_order(most in 1usize..10) {
        let world = World::new(json!({
            "order_link": {"custom_fields": true},
            "order_status": {"payment": {"enabled": true}, "workflow_state": {"enabled": true}},
        }));
        let projection = world.project(&in_state("flOrderBooked"), &fluent("HD", "COMPLETE"), &both());
        prop_assert_eq!(projection.actions.len(), 6);
        let updates = projection.updates(most);
        let whole: Vec<Action> = projection.actions.iter().map(|planned| planned.action.clone()).collect();
        prop_assert_eq!(updates.concat(), whole);
        prop_assert!(updates.iter().all(|update| !update.is_empty() && update.len() <= most));
        if most >= 4 {
            let last = updates.last().unwrap();
            prop_assert_eq!(last.iter().filter(|action| action.is_state()).count(), 4);
        }
    }
}

#[test]
fn the_body_has_details_first_and_order_state_last() {
    let world = World::new(json!({
        "order_link": {"custom_fields": true},
        "order_status": {"payment": {"enabled": true}, "workflow_state": {"enabled": true}},
    }));
    let projection = world.project(&in_state("flOrderBooked"), &fluent("HD", "COMPLETE"), &both());
    let updates = projection.updates(500);
    let names: Vec<Value> = updates[0].iter().map(|action| json!(action)["action"].clone()).collect();
    assert_eq!(
        names,
        [
            "updateSyncInfo",
            "setCustomType",
            "transitionState",
            "changeShipmentState",
            "changePaymentState",
            "changeOrderState"
        ]
    );
    assert_eq!(projection.only(&Slice::Link).actions.len(), 2);
    assert_eq!(projection.only(&Slice::Status).actions.len(), 4);
}

/// Fluent status, type, orderState, shipmentState, paymentState, workflow State; `-` = nothing.
#[test]
fn the_built_in_tables_are_the_documented_ones() {
    let documented = "
        CREATED                      HD    Open      -         -       -
        RECEIVED                     HD    Open      Pending   -       flOrderReceived
        PENDING_PAYMENT              HD    Open      Pending   Pending -
        ESCALATED                    HD    Open      Delayed   -       flOrderEscalated
        BOOKED                       HD    Confirmed Pending   -       flOrderBooked
        PICK_PACK                    HD    Confirmed Pending   -       flOrderPicking
        PICK_PACK_CC                 CC    Confirmed Pending   -       flOrderPicking
        AWAITING_COURIER_COLLECTION  MULTI Confirmed Ready     -       flOrderReady
        AWAITING_CUSTOMER_COLLECTION CC    Confirmed Ready     -       flOrderReady
        AWAITING_COLLECTION          CC    Confirmed Ready     -       flOrderReady
        COMPLETE                     HD    Complete  Shipped   Paid    flOrderComplete
        COMPLETE                     CC    Complete  Delivered Paid    flOrderComplete
        COMPLETE                     MULTI Complete  Shipped   Paid    flOrderComplete
        CANCELLED                    HD    Cancelled Canceled  -       flOrderCancelled
    ";
    let mut world = World::new(json!({
        "order_status": {"payment": {"enabled": true}, "workflow_state": {"enabled": true}},
    }));
    world.known.states.push(
        serde_json::from_value(json!({"id": "id-of-flOrderCancelled", "key": "flOrderCancelled", "initial": true}))
            .unwrap(),
    );
    world.known.states.iter_mut().for_each(|state| state.initial = true);
    for line in documented.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let order = world.round(&new_order(), &fluent(columns[1], columns[0]), &only_status());
        let state = order.state.as_ref().and_then(|state| state.id.as_deref());
        let got = [
            columns[0],
            columns[1],
            &order.order_state,
            order.shipment_state.as_deref().unwrap_or("-"),
            order.payment_state.as_deref().unwrap_or("-"),
            state.map_or("-", |id| id.trim_start_matches("id-of-")),
        ];
        assert_eq!(got, columns.as_slice());
    }
}

#[test]
fn the_operators_rows_beat_the_built_in_ones_of_a_type() {
    let states_of = |config: Value, kind: &str, status: &str| {
        let world = World::new(json!({"order_status": config}));
        states(&world.round(&new_order(), &fluent(kind, status), &only_status()))
    };
    let complete = |shipment: Option<&str>| ("Complete".to_owned(), shipment.map(str::to_owned), None);
    let general = json!({"shipment": {"mapping": {"COMPLETE": "Partial"}}});
    assert_eq!(states_of(json!({}), "CC", "COMPLETE"), complete(Some("Delivered")));
    assert_eq!(states_of(json!({}), "HD", "COMPLETE"), complete(Some("Shipped")));
    assert_eq!(states_of(general, "CC", "COMPLETE"), complete(Some("Partial")));
    let of_type = json!({"shipment": {"mapping": {"COMPLETE": "Partial"}, "by_type": {"CC": {"COMPLETE": "Ready"}}}});
    assert_eq!(states_of(of_type.clone(), "CC", "COMPLETE"), complete(Some("Ready")));
    assert_eq!(states_of(of_type, "HD", "COMPLETE"), complete(Some("Partial")));
    for nothing in [json!(null), json!(""), json!("IGNORE")] {
        let off = json!({"shipment": {"mapping": {"COMPLETE": nothing}}});
        assert_eq!(states_of(off, "CC", "COMPLETE"), complete(None));
    }
    let wrong = json!({"shipment": {"mapping": {"COMPLETE": "Cancelled"}}});
    assert_eq!(states_of(wrong, "HD", "COMPLETE"), complete(Some("Shipped")));
}

#[test]
fn a_table_that_could_never_match_is_a_configuration_error() {
    let config = json!({"order_status": {
        "order": {"mapping": {"Booked": "Confirmed", "GIFT_WRAPPING": "Canceled"}},
        "shipment": {"by_type": {"CC": {"COMPLETE": "Cancelled"}}},
    }});
    assert_eq!(
        order_status::check(&connection(&config).order_status),
        [
            "order_status.order.mapping.Booked: Fluent statuses are compared exactly; write BOOKED.",
            "order_status.order.mapping.GIFT_WRAPPING: \"Canceled\" is no orderState.",
            "order_status.shipment.by_type.CC.COMPLETE: \"Cancelled\" is no shipmentState.",
        ]
    );
    assert_eq!(order_status::check(&connection(&json!({})).order_status), Vec::<String>::new());
}

#[test]
fn a_step_back_happens_only_where_it_is_allowed() {
    let order =
        RememberedOrder { order_state: "Confirmed".into(), shipment_state: Some("Ready".into()), ..new_order() };
    let allow = json!({"order_status": {"allow_back": [{"axis": "order", "from": "Confirmed", "to": "Open"}]}});
    let projection = World::new(allow).project(&order, &fluent("HD", "ESCALATED"), &only_status());
    let actions: Vec<&Action> = projection.actions.iter().map(|planned| &planned.action).collect();
    assert_eq!(actions, [&Action::ChangeOrderState { order_state: OrderState::Open }]);
    assert_eq!(notes(&projection), ["order_status.backward"]);
}

#[test]
fn a_state_the_platform_added_later_is_left_alone() {
    let order = RememberedOrder { order_state: "Archived".into(), ..new_order() };
    let projection = World::new(json!({})).project(&order, &fluent("HD", "CREATED"), &only_status());
    assert_eq!((projection.actions, notes_of(&projection.notes)), (vec![], vec!["order_status.backward"]));
}

#[test]
fn workflow_states_follow_transitions_and_never_go_back() {
    let world = |force: bool| {
        World::new(json!({"order_status": {
            "order": {"enabled": false}, "shipment": {"enabled": false},
            "workflow_state": {"enabled": true, "force": force},
        }}))
    };
    let moved = |world: &World, order: &RememberedOrder, status: &str| {
        let projection = world.project(order, &fluent("HD", status), &only_status());
        let actions: Vec<Value> = projection.actions.iter().map(|planned| json!(planned.action)).collect();
        (actions, projection.notes.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    let goes = |key: &str| json!({"action": "transitionState", "state": {"typeId": "state", "key": key}});

    // Received is the only initial State, and leads to Booked only.
    let strict = world(false);
    assert_eq!(moved(&strict, &new_order(), "RECEIVED"), (vec![goes("flOrderReceived")], vec![]));
    let not_allowed = |from: &str, to: &str| {
        let code = "order_status.transition_not_allowed";
        vec![format!("{code}: State {from} of order 100234 has no transition to {to}; the State was left as it is.")]
    };
    assert_eq!(moved(&strict, &new_order(), "BOOKED"), (vec![], not_allowed("(none)", "flOrderBooked")));
    assert_eq!(moved(&strict, &in_state("flOrderReceived"), "BOOKED"), (vec![goes("flOrderBooked")], vec![]));
    assert_eq!(
        moved(&strict, &in_state("flOrderReceived"), "COMPLETE"),
        (vec![], not_allowed("flOrderReceived", "flOrderComplete"))
    );
    assert_eq!(moved(&strict, &in_state("flOrderBooked"), "COMPLETE"), (vec![goes("flOrderComplete")], vec![]));
    let back = "order_status.backward: Fluent order HD_100234 is ESCALATED; state would go from flOrderBooked to \
                flOrderEscalated, which is a step back. It was not written.";
    assert_eq!(moved(&strict, &in_state("flOrderBooked"), "ESCALATED"), (vec![], vec![back.to_owned()]));
    let missing = "order_status.state_missing: State flOrderCancelled does not exist in commercetools; create it or run \
                   provision. The rest was written.";
    assert_eq!(moved(&strict, &in_state("flOrderBooked"), "CANCELLED"), (vec![], vec![missing.to_owned()]));

    // Force is used where it is needed.
    let mut forced = goes("flOrderComplete");
    forced["force"] = json!(true);
    assert_eq!(moved(&world(true), &in_state("flOrderReceived"), "BOOKED"), (vec![goes("flOrderBooked")], vec![]));
    assert_eq!(moved(&world(true), &in_state("flOrderReceived"), "COMPLETE"), (vec![forced], vec![]));
}

#[test]
fn a_status_that_only_has_a_workflow_state_is_mapped() {
    let world = |enabled: bool| {
        let workflow = json!({"enabled": enabled, "mapping": {"GIFT_WRAPPING": "flOrderReceived"}});
        World::new(json!({"order_status": {"workflow_state": workflow}}))
    };
    let on = world(true).project(&new_order(), &fluent("HD", "GIFT_WRAPPING"), &only_status());
    assert_eq!((on.actions.len(), notes(&on)), (1, vec![]));
    let off = world(false).project(&new_order(), &fluent("HD", "GIFT_WRAPPING"), &only_status());
    assert_eq!((off.actions.len(), notes(&off)), (0, vec!["order_status.unmapped"]));
}

#[test]
fn an_order_of_another_fluent_order_is_not_touched() {
    let mut order = new_order();
    order.sync_info = vec![
        serde_json::from_value(json!({
            "channel": {"typeId": "channel", "id": "id-of-channel"}, "externalId": "1111",
        }))
        .unwrap(),
    ];
    let projection = World::new(json!({})).project(&order, &fluent("HD", "BOOKED"), &both());
    assert_eq!(projection.actions, []);
    let refused: Vec<(&Slice, &str)> =
        projection.rejected.iter().map(|rejected| (&rejected.slice, rejected.refusal.code)).collect();
    assert_eq!(refused, [(&Slice::Link, "order_link.other"), (&Slice::Status, "order_link.other")]);
    assert_eq!(
        projection.rejected[0].refusal.failure,
        Failure::rejected("commercetools order 100234 is already linked to Fluent order 1111; not linked to 6469.")
    );
}

#[test]
fn an_order_that_names_this_fluent_order_among_others_is_linked() {
    let entry = |id: &str| {
        let info = json!({"channel": {"typeId": "channel", "id": "id-of-channel"}, "externalId": id});
        serde_json::from_value(info).unwrap()
    };
    let order = RememberedOrder { sync_info: vec![entry("1111"), entry("6469")], ..new_order() };
    let projection = World::new(json!({})).project(&order, &fluent("HD", "CREATED"), &both());
    assert_eq!((projection.actions, projection.rejected), (vec![], vec![]));
}

#[test]
fn without_its_channel_the_link_waits_and_the_states_go_on() {
    let mut world = World::new(json!({}));
    world.known.channels[0].roles = vec!["InventorySupply".into()];
    let projection = world.project(&new_order(), &fluent("HD", "BOOKED"), &both());
    let refusal = &projection.rejected[0].refusal;
    assert_eq!(refusal.code, "order_link.channel_missing");
    assert_eq!(
        refusal.failure,
        Failure::retry(Class::Setup, "Channel flOrderExport with role OrderExport does not exist; run provision.")
    );
    assert!(projection.actions.iter().all(|planned| planned.slice == Slice::Status));
    assert_eq!(projection.actions.len(), 2);
}

#[test]
fn the_link_of_another_channel_is_not_ours() {
    let world = World::new(json!({}));
    let mut order = new_order();
    order.sync_info = vec![
        serde_json::from_value(json!({
            "channel": {"typeId": "channel", "id": "somebody-else"}, "externalId": "6469",
        }))
        .unwrap(),
    ];
    let projection = world.project(&order, &fluent("HD", "CREATED"), &both());
    assert_eq!(projection.actions.len(), 1, "{:?}", projection.actions);
    assert_eq!(world.project(&apply(&order, &projection), &fluent("HD", "CREATED"), &both()).actions, []);
}

#[test]
fn a_link_is_not_refused_because_of_an_unmapped_status() {
    let world = World::new(json!({"order_status": {"unmapped": "reject"}}));
    let projection = world.project(&new_order(), &fluent("HD", "GIFT_WRAPPING"), &BTreeSet::from([Slice::Link]));
    assert_eq!((projection.actions.len(), projection.rejected.len()), (1, 0));
    assert_eq!(notes(&projection), ["order_status.unmapped"]);
}

/// Configuration and definitions of one project.
struct World {
    connection: Connection,
    known: Known,
}

impl World {
    fn new(config: Value) -> Self {
        let connection = connection(&config);
        let known = Known { types: our_types(&connection), states: workflow(), channels: vec![channel()] };
        Self { connection, known }
    }

    fn project(&self, order: &RememberedOrder, fluent: &Order, slices: &BTreeSet<Slice>) -> Projection {
        project(slices, &Source::new(fluent.clone()), order, &self.known, &self.connection)
    }

    /// One projection and what the Order is afterwards.
    fn round(&self, order: &RememberedOrder, fluent: &Order, slices: &BTreeSet<Slice>) -> RememberedOrder {
        apply(order, &self.project(order, fluent, slices))
    }
}

fn channel() -> Channel {
    Channel { id: "id-of-channel".into(), key: "flOrderExport".into(), roles: vec!["OrderExport".into()] }
}

/// Received (initial) → Booked → anywhere; flOrderCancelled does not exist.
fn workflow() -> Vec<State> {
    let state = |key: &str, next: Option<&[&str]>| {
        let next = next.map(|next| next.iter().map(|key| json!({"typeId": "state", "id": format!("id-of-{key}")})));
        let state = json!({
            "id": format!("id-of-{key}"), "key": key, "initial": key == "flOrderReceived",
            "transitions": next.map(Iterator::collect::<Vec<Value>>),
        });
        serde_json::from_value(state).unwrap()
    };
    vec![
        state("flOrderReceived", Some(&["flOrderBooked"])),
        state("flOrderEscalated", None),
        state("flOrderBooked", None),
        state("flOrderPicking", None),
        state("flOrderReady", None),
        state("flOrderComplete", Some(&[])),
    ]
}

fn fluent(kind: &str, status: &str) -> Order {
    serde_json::from_value(json!({
        "id": "6469", "ref": format!("{kind}_100234"), "type": kind, "status": status,
        "updatedOn": "2026-11-20T10:15:00.120Z", "retailer": {"id": "2"}, "attributes": [],
    }))
    .unwrap()
}

fn new_order() -> RememberedOrder {
    RememberedOrder::from_answer(&json!({
        "id": "0b7f9a3e", "version": 7, "orderNumber": "100234", "orderState": "Open", "lineItems": [],
    }))
    .unwrap()
}

fn in_state(key: &str) -> RememberedOrder {
    let state = serde_json::from_value(json!({"typeId": "state", "id": format!("id-of-{key}")})).unwrap();
    RememberedOrder { state: Some(state), ..new_order() }
}

/// The Order after the platform has done what was asked.
fn apply(order: &RememberedOrder, projection: &Projection) -> RememberedOrder {
    let mut order = order.clone();
    for planned in &projection.actions {
        match &planned.action {
            Action::UpdateSyncInfo { external_id, .. } => {
                let channel = serde_json::from_value(json!({"id": "id-of-channel"})).unwrap();
                order.sync_info.push(SyncInfo { channel, external_id: Some(external_id.clone()) });
            }
            Action::SetCustomType { kind, fields } => {
                let kind = serde_json::from_value(json!({"id": format!("id-of-{}", key_of(kind))})).unwrap();
                order.custom = Some(Custom { kind, fields: fields.clone() });
            }
            Action::SetCustomField { name, value } => {
                order.custom.as_mut().expect("a field needs a Type").fields.insert(name.clone(), value.clone());
            }
            Action::TransitionState { state, .. } => {
                order.state = Some(serde_json::from_value(json!({"id": format!("id-of-{}", key_of(state))})).unwrap());
            }
            Action::ChangeShipmentState { shipment_state } => order.shipment_state = Some(shipment_state.to_string()),
            Action::ChangePaymentState { payment_state } => order.payment_state = Some(payment_state.to_string()),
            Action::ChangeOrderState { order_state } => order.order_state = order_state.to_string(),
            other => panic!("link and status do not ask for {other:?}"),
        }
        order.version += 1;
    }
    order
}

fn key_of(identifier: &ResourceIdentifier) -> &str {
    match &identifier.name {
        Name::Key(key) | Name::Id(key) => key,
    }
}

/// The same or a step forward.
fn goes_on<A: Axis>(before: &RememberedOrder, after: &RememberedOrder) -> bool {
    let known = |order| A::current(order).map(|state| state.parse::<A>().ok().expect("we write known states only"));
    match (known(before), known(after)) {
        (before, Some(after)) => before == Some(after) || after.follows(before),
        (before, None) => before.is_none(),
    }
}

fn states(order: &RememberedOrder) -> (String, Option<String>, Option<String>) {
    (order.order_state.clone(), order.shipment_state.clone(), order.payment_state.clone())
}

fn notes(projection: &Projection) -> Vec<&str> {
    notes_of(&projection.notes)
}

fn notes_of(notes: &[fluent_connector::sync::slice::Note]) -> Vec<&str> {
    notes.iter().map(|note| note.code).collect()
}

fn both() -> BTreeSet<Slice> {
    BTreeSet::from([Slice::Link, Slice::Status])
}

fn only_status() -> BTreeSet<Slice> {
    BTreeSet::from([Slice::Status])
}

fn slices() -> impl Strategy<Value = BTreeSet<Slice>> {
    select(vec![BTreeSet::from([Slice::Link]), only_status(), both()])
}
