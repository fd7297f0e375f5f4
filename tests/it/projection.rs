//! Random lives of orders: whatever happens to them in Fluent, and however its events come, the
//! commercetools Order ends the same (F 12, decision 1).
//!
//! The projection is the real one; its updates go to the simulated platform's own guards, without a
//! wire between. The ordinary run plays a few dozen lives; PROPTEST_CASES asks for more.

mod life;

use std::collections::BTreeSet;

use fluent_connector::clock::Clock;
use fluent_connector::commercetools::action::{OrderState, OrderUpdate, PaymentState, ShipmentState};
use fluent_connector::commercetools::known::{Known, State, Type};
use fluent_connector::commercetools::remembered::RememberedOrder;
use fluent_connector::config::model::Connection;
use fluent_connector::simulator::commercetools::{Commercetools, Options};
use fluent_connector::sync::consignment;
use fluent_connector::sync::order_status::axes::Axis;
use fluent_connector::sync::order_update::project;
use fluent_connector::sync::slice::Slice;
use fluent_connector::sync::source::Source;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use crate::golden_fluent_to_commercetools::connection;
use life::{Life, Lines};

/// As many cases as asked for; a quarter of the usual number if nobody asked.
fn cases() -> ProptestConfig {
    let usual = ProptestConfig::default();
    let cases = if usual.cases == 256 { 64 } else { usual.cases };
    ProptestConfig { cases, ..usual }
}

proptest! {
    #![proptest_config(cases())]

    /// Every event arrives, but late, in any order and some of them twice.
    #[test]
    fn events_in_any_order_end_like_the_calm_run(
        kind in select(&["HD", "CC", "MULTI"][..]),
        lines in vec(1i64..5, 1..4),
        steps in vec(any::<u16>(), 1..40),
        dice in vec(any::<u16>(), 200),
    ) {
        with_a_shop(|shop| {
            let (calm, _) = calm(shop, kind, &lines, &steps);
            let mut dice = Dice(dice.iter().cycle());
            let mut order = shop.order(kind, &lines);
            let mut pending: Vec<Slice> = Vec::new();
            let mut life = Life::new(kind, order.lines.clone());
            for step in &steps {
                for event in life.step(*step) {
                    let copies = if dice.roll(4) == 0 { 2 } else { 1 };
                    pending.extend(std::iter::repeat_n(event, copies));
                }
                for _ in 0..dice.roll(3) {
                    if !pending.is_empty() {
                        let event = pending.swap_remove(dice.roll(pending.len()));
                        order.round(&life, &BTreeSet::from([event]));
                    }
                }
            }
            while !pending.is_empty() {
                // Some of them are claimed together.
                let together = 1 + dice.roll(pending.len().min(3));
                let claimed = (0..together).map(|_| pending.swap_remove(dice.roll(pending.len()))).collect();
                order.round(&life, &claimed);
            }
            assert_eq!(order.seen(), calm);
        });
    }

    /// Most events are lost; in the end the polls name everything once.
    #[test]
    fn lost_events_are_made_up_for_by_the_polls(
        kind in select(&["HD", "CC", "MULTI"][..]),
        lines in vec(1i64..5, 1..4),
        steps in vec(any::<u16>(), 1..40),
        dice in vec(any::<u16>(), 200),
    ) {
        with_a_shop(|shop| {
            let (calm, _) = calm(shop, kind, &lines, &steps);
            let mut dice = Dice(dice.iter().cycle());
            let mut order = shop.order(kind, &lines);
            let mut life = Life::new(kind, order.lines.clone());
            for step in &steps {
                for event in life.step(*step) {
                    if dice.roll(4) == 0 {
                        order.round(&life, &BTreeSet::from([event]));
                    }
                }
            }
            order.round(&life, &life.everything());
            assert_eq!(order.seen(), calm);
            let before = order.document();
            order.round(&life, &life.everything());
            assert_eq!(order.document(), before, "a second look has nothing to write");
        });
    }

    /// Whatever Fluent does, steps back included, no state of the Order goes back, and no unit leaves
    /// the last State.
    #[test]
    fn no_axis_steps_back(
        kind in select(&["HD", "CC", "MULTI"][..]),
        lines in vec(1i64..5, 1..4),
        steps in vec((any::<u16>(), select(life::STATUSES), 0..6usize), 1..30),
    ) {
        with_a_shop(|shop| {
            let mut order = shop.order(kind, &lines);
            let mut life = Life::new(kind, order.lines.clone());
            for (step, status, wild) in &steps {
                let mut events: BTreeSet<Slice> = life.step(*step).into_iter().collect();
                if *wild == 0 {
                    life.status = (*status).to_owned();
                    events.insert(Slice::Status);
                }
                let before = order.remembered.clone();
                order.round(&life, &events);
                goes_on::<OrderState>(&before, &order.remembered);
                goes_on::<ShipmentState>(&before, &order.remembered);
                goes_on::<PaymentState>(&before, &order.remembered);
                for (before, after) in before.line_items.iter().zip(&order.remembered.line_items) {
                    let shipped = |line: &fluent_connector::commercetools::remembered::RememberedLineItem| {
                        let of = |state: &&fluent_connector::commercetools::remembered::ItemState| {
                            shop.known.state_named(&state.state).is_some_and(|state| state.key == "flLineItemShipped")
                        };
                        line.state.iter().filter(of).map(|state| state.quantity).sum::<i64>()
                    };
                    assert!(shipped(after) >= shipped(before), "{before:?} to {after:?}");
                }
            }
        });
    }
}

/// The same or a step forward.
fn goes_on<A: Axis>(before: &RememberedOrder, after: &RememberedOrder) {
    let known = |order| A::current(order).map(|state| state.parse::<A>().ok().unwrap());
    match (known(before), known(after)) {
        (before, Some(after)) => assert!(
            before == Some(after) || after.follows(before),
            "{before:?}",
            before = before.map(|state| state.to_string())
        ),
        (before, None) => assert!(before.is_none()),
    }
}

/// Each step's events at once, one by one. Answers what is seen in the end, and the life.
fn calm(shop: &Shop, kind: &str, lines: &[i64], steps: &[u16]) -> (Value, Life) {
    let mut order = shop.order(kind, lines);
    let mut life = Life::new(kind, order.lines.clone());
    for step in steps {
        for event in life.step(*step) {
            order.round(&life, &BTreeSet::from([event]));
        }
    }
    (order.seen(), life)
}

/// Numbers as somebody rolled them.
struct Dice<'a, I: Iterator<Item = &'a u16>>(I);

impl<'a, I: Iterator<Item = &'a u16>> Dice<'a, I> {
    fn roll(&mut self, sides: usize) -> usize {
        usize::from(*self.0.next().unwrap()) % sides.max(1)
    }
}

/// Plays with a simulated project that is thrown away afterwards.
fn with_a_shop(play: impl FnOnce(&Shop)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let shop = runtime.block_on(Shop::open());
    play(&shop);
    shop.commercetools.front().stop();
}

struct Shop {
    commercetools: Commercetools,
    connection: Connection,
    known: Known,
}

impl Shop {
    async fn open() -> Self {
        let clock = Clock::simulated(crate::world::START);
        let commercetools = Commercetools::start(clock, Options::default()).await.unwrap();
        commercetools.seed_shop();
        for key in ["flLineItemAllocated", "flLineItemPicking", "flLineItemPacked", "flLineItemShipped"] {
            let state = json!({"key": key, "type": "LineItemState", "initial": false, "builtIn": false, "roles": []});
            commercetools.put("states", state);
        }
        let types: Vec<Type> = read(commercetools.documents("types"));
        let states: Vec<State> = read(commercetools.documents("states"));
        let connection = connection(&json!({
            "fulfilment": {"line_item_states": {"enabled": true}},
            "order_status": {"payment": {"enabled": true}},
            "consignment": {"tracking_urls": {"C": "https://c.example/{tracking_id}"}},
        }));
        Self { commercetools, connection, known: Known { types, states, channels: vec![] } }
    }

    fn order(&self, kind: &str, lines: &[i64]) -> Order<'_> {
        let skus = ["TEE-RED-S", "TEE-RED-M", "MUG-BLK", "CAP-1"];
        let draft =
            self.commercetools.order(None).guest("guest@example.org").shipping(if kind == "CC" { 0 } else { 499 });
        let draft = lines.iter().zip(skus).fold(draft, |draft, (quantity, sku)| draft.line(sku, *quantity, 1_000));
        let id = draft.place();
        let document = self.commercetools.document("orders", &id).unwrap();
        let remembered = RememberedOrder::from_answer(&document).unwrap();
        let lines = remembered.line_items.iter().map(|line| (line.id.clone(), line.quantity)).collect();
        Order { shop: self, remembered, lines, known: Default::default() }
    }
}

fn read<T: serde::de::DeserializeOwned>(documents: Vec<Value>) -> Vec<T> {
    documents.into_iter().map(|document| serde_json::from_value(document).unwrap()).collect()
}

/// One Order, and what the connector remembers of it.
struct Order<'a> {
    shop: &'a Shop,
    remembered: RememberedOrder,
    lines: Lines,
    known: std::collections::BTreeMap<String, fluent_connector::sync::source::KnownConsignment>,
}

impl Order<'_> {
    /// What the handler does with claimed slices, without queue and wire.
    fn round(&mut self, life: &Life, slices: &BTreeSet<Slice>) {
        let source = Source { known: self.known.clone(), ..life.source(slices) };
        let connection = &self.shop.connection;
        let projection = project(slices, &source, &self.remembered, &self.shop.known, connection);
        assert_eq!(projection.rejected, []);
        for actions in projection.updates(connection.order_update.max_actions) {
            let body = json!(OrderUpdate { version: self.remembered.version, actions });
            let document = self.shop.commercetools.update("orders", &self.remembered.id, &body);
            let document = document.unwrap_or_else(|refusal| panic!("{refusal}\n{body:#}"));
            self.remembered = RememberedOrder::from_answer(&document).unwrap();
        }
        for one in &source.consignments {
            let known = consignment::remembered(one, &source, &self.remembered, connection);
            self.known.insert(one.id.clone(), known);
        }
        let again = project(
            slices,
            &Source { known: self.known.clone(), ..source },
            &self.remembered,
            &self.shop.known,
            connection,
        );
        assert_eq!(again.actions, [], "doing it twice writes nothing");
    }

    fn document(&self) -> Value {
        self.shop.commercetools.document("orders", &self.remembered.id).unwrap()
    }

    /// The Order without what must differ: ids and times.
    fn seen(&self) -> Value {
        let document = self.document();
        let lines: Vec<Value> = document["lineItems"].as_array().unwrap().iter().map(|line| self.line(line)).collect();
        let mut deliveries: Vec<Value> = document["shippingInfo"]["deliveries"].as_array().cloned().unwrap_or_default();
        for delivery in &mut deliveries {
            self.anonymous(delivery);
            let parcels = delivery["parcels"].as_array_mut().unwrap();
            parcels.iter_mut().for_each(|parcel| self.anonymous(parcel));
            parcels.sort_by_key(|parcel| parcel["key"].as_str().unwrap().to_owned());
        }
        deliveries.sort_by_key(|delivery| delivery["key"].as_str().unwrap().to_owned());
        json!({
            "orderState": document["orderState"], "shipmentState": document["shipmentState"],
            "paymentState": document["paymentState"], "lines": lines, "deliveries": deliveries,
        })
    }

    fn anonymous(&self, of: &mut Value) {
        let members = of.as_object_mut().unwrap();
        members.remove("id");
        members.remove("createdAt");
        for item in of["items"].as_array_mut().unwrap() {
            let place = self.lines.iter().position(|(id, _)| item["id"] == *id);
            item["id"] = json!(place);
        }
    }

    fn line(&self, line: &Value) -> Value {
        let mut states: Vec<Value> = line["state"].as_array().cloned().unwrap();
        states.sort_by_key(|state| state["state"]["id"].as_str().unwrap().to_owned());
        json!({"states": states, "custom": line["custom"]})
    }
}
