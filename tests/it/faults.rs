//! Stories of everything that may happen to one request of the order flow: each fault hits each
//! operation once, and in the end both platforms are as after a calm day.

use std::collections::BTreeMap;
use std::time::Duration;

use fluent_connector::simulator::commercetools::ADA;
use fluent_connector::simulator::fluent::WebhookFaults;
use fluent_connector::simulator::{Exchange, Fault, Rule};
use fluent_connector::store::Filter;
use serde_json::{Value, json};

use crate::database::Engine;
use crate::on_both_databases;
use crate::world::{Settings, World};

on_both_databases! {
    a_connection_that_is_reset,
    an_answer_that_is_lost,
    half_an_answer,
    an_answer_that_comes_too_slowly,
    no_answer_at_all,
    an_answer_that_is_no_json,
    null_data_with_errors,
    a_token_that_is_refused,
    an_answer_that_is_slow_but_comes,
    a_read_without_a_usable_answer_is_a_retry,
    a_write_without_a_usable_answer_is_an_unknown_outcome,
    a_login_without_a_usable_answer_is_tried_again,
    a_token_that_is_refused_in_mid_job,
    a_token_that_is_refused_twice,
    a_cursor_that_is_refused_in_mid_job,
    reads_that_are_behind,
    a_look_that_is_behind_the_create,
}

/// Operations of the order flow, and the order that meets them.
const OF_FLUENT: [&str; 8] = [
    "CustomersByUsername",
    "VariantsByRef",
    "OrdersByRef",
    "CreateCustomer",
    "CreateOrder",
    "OrderUpdateSource",
    "OrdersUpdated",
    "Me",
];
const OF_COMMERCETOOLS: [&str; 3] = ["GET /orders/{id}", "GET /customers/{id}", "POST /orders/{id}"];
/// What leaves open whether the platform did it.
const OPEN: [Fault; 6] =
    [Fault::LostAnswer, Fault::HalfBody, Fault::Slow(TOO_SLOW), Fault::Silent, Fault::InvalidJson, Fault::NullData];
/// Milliseconds, well over what a call may take here.
const TOO_SLOW: u32 = 8_000;

async fn a_connection_that_is_reset(engine: Engine) {
    everywhere(engine, Fault::Reset).await;
}

async fn an_answer_that_is_lost(engine: Engine) {
    everywhere(engine, Fault::LostAnswer).await;
}

async fn half_an_answer(engine: Engine) {
    everywhere(engine, Fault::HalfBody).await;
}

async fn an_answer_that_comes_too_slowly(engine: Engine) {
    everywhere(engine, Fault::Slow(TOO_SLOW)).await;
}

async fn no_answer_at_all(engine: Engine) {
    everywhere(engine, Fault::Silent).await;
}

async fn an_answer_that_is_no_json(engine: Engine) {
    everywhere(engine, Fault::InvalidJson).await;
}

async fn null_data_with_errors(engine: Engine) {
    everywhere(engine, Fault::NullData).await;
}

async fn a_token_that_is_refused(engine: Engine) {
    everywhere(engine, Fault::Unauthorized).await;
}

async fn an_answer_that_is_slow_but_comes(engine: Engine) {
    everywhere(engine, Fault::Slow(60)).await;
}

/// One fault after the other at every operation, each in the middle of an order of its own, with an
/// order beside it that must not notice.
async fn everywhere(engine: Engine, fault: Fault) {
    let settings = || match fault {
        Fault::Silent | Fault::Slow(TOO_SLOW) => impatient(),
        _ => Settings::default(),
    };
    let Some(world) = World::with(engine, settings()).await else { return };
    let mut day = Day::new(world);
    let shop = OF_COMMERCETOOLS.into_iter().filter(|_| !fault.is_graphql());
    let operations: Vec<&str> = OF_FLUENT.into_iter().chain(shop).collect();
    for operation in &operations {
        day.order(operation, Some(fault)).await;
    }
    let Some(world) = World::with(engine, Settings::default()).await else { return };
    let mut calm = Day::new(world);
    for operation in &operations {
        calm.order(operation, None).await;
    }
    let ((orders, effects), (calm_orders, calm_effects)) = (day.picture(), calm.picture());
    for (order, calm) in orders.iter().zip(&calm_orders) {
        assert_eq!(order, calm);
    }
    assert_eq!((orders.len(), effects), (calm_orders.len(), calm_effects));
    for day in [day, calm] {
        assert!(day.world.parked().await.is_empty(), "{:#?}", day.world.parked().await);
        day.world.nothing_lost().await;
    }
}

/// Calls end after two seconds; long enough for a busy machine.
fn impatient() -> Settings {
    let over = "connections: [{ name: main, fluent: { timeout: 2s }, commercetools: { timeout: 2s } }]".to_owned();
    Settings { over, ..Settings::default() }
}

/// Orders of one day, two by two.
struct Day {
    world: World,
    /// commercetools ids; order `n` has number `n`.
    orders: Vec<String>,
}

impl Day {
    fn new(world: World) -> Self {
        Self { world, orders: Vec::new() }
    }

    /// Two orders go their way, the first one through a fault.
    async fn order(&mut self, operation: &str, fault: Option<Fault>) {
        let world = &self.world;
        // What is known of variants is believed for ten minutes: nobody would ask for them.
        world.advance(Duration::from_secs(600)).await;
        let known = operation == "GET /customers/{id}";
        let fronts = [world.fluent.front(), world.commercetools.front()];
        if let Some(fault) = fault {
            let front = fronts[usize::from(OF_COMMERCETOOLS.contains(&operation))];
            front.fault(once(fault, operation));
        }
        let first = self.orders.len() + 1;
        let hit = place(world, first, known);
        world.settle().await;
        let neighbour = place(world, first + 1, known);
        world.settle().await;
        assert_eq!(world.fluent_orders(&neighbour).len(), 1, "{operation}, {fault:?}: its neighbour is held up");
        world.pass(Duration::from_secs(100), Duration::from_secs(10)).await;
        world.fluent.set_order_status(&format!("HD_{first}"), "BOOKED");
        world.settle().await;
        world.fluent.set_order_status(&format!("HD_{}", first + 1), "BOOKED");
        world.settle().await;
        assert_eq!(world.states(&neighbour)[0], "Confirmed", "{operation}, {fault:?}: its neighbour is held up");
        world.pass(Duration::from_secs(100), Duration::from_secs(10)).await;
        for id in [&hit, &neighbour] {
            world.arrived(id);
            assert_eq!(world.states(id), ["Confirmed", "Pending"], "{operation}, {fault:?}");
        }
        assert!(fronts.iter().all(|front| front.armed() == 0), "{operation}: {fault:?} was not met");
        self.orders.extend([hit, neighbour]);
    }

    /// What there is at the end, without what chance has made: ids and times. How often each order was
    /// written tells whether something was done twice.
    fn picture(&self) -> (Vec<Value>, BTreeMap<String, usize>) {
        let mut effects: BTreeMap<String, usize> = BTreeMap::new();
        for front in [self.world.fluent.front(), self.world.commercetools.front()] {
            for effect in front.ledger().iter().filter(|effect| effect.changed) {
                *effects.entry(format!("{} {}", effect.operation, effect.entity)).or_default() += 1;
            }
        }
        effects.retain(|operation, _| operation.starts_with("create"));
        let orders = self.orders.iter().map(|id| {
            let (order, shop) = (self.world.fluent_order(id), self.world.shop_order(id));
            let items: Vec<Value> = order["items"].as_array().into_iter().flatten().map(item).collect();
            json!({
                "ref": order["ref"], "status": order["status"], "items": items,
                "total": order["totalPrice"], "tax": order["totalTaxPrice"],
                "payments": order["financialTransactions"].as_array().map(Vec::len),
                "number": shop["orderNumber"], "states": self.world.states(id),
                "links": shop["syncInfo"].as_array().map(Vec::len), "version": shop["version"],
            })
        });
        (orders.collect(), effects)
    }
}

fn item(item: &Value) -> Value {
    json!([item["quantity"], item["price"], item["paidPrice"], item["currency"], item["product"]["ref"]])
}

/// An order with a customer of its own, or of one that the shop knows.
fn place(world: &World, number: usize, known: bool) -> String {
    let order = world.commercetools.order(Some(&number.to_string()));
    let order = if known { order.customer(ADA) } else { order.guest(&format!("guest-{number}@example.org")) };
    order.payment("CREDIT_CARD", 2_999).place()
}

fn once(fault: Fault, operation: &str) -> Rule {
    Rule { fault, operation: Some(operation.into()), times: Some(1), rate: 1.0 }
}

/// Classes of the tries of the newest message of a route that did not end well.
async fn classes(world: &World, route: &str) -> Vec<String> {
    let id = world.newest(route).await.id;
    let mut db = world.daemons[0].app.store().read().await.unwrap();
    let attempts = db.attempts(id).await.unwrap();
    attempts.into_iter().map(|attempt| attempt.class.unwrap_or(attempt.outcome)).collect()
}

async fn a_read_without_a_usable_answer_is_a_retry(engine: Engine) {
    let Some(world) = World::with(engine, impatient()).await else { return };
    for (number, fault) in OPEN.into_iter().enumerate() {
        world.fluent.front().fault(once(fault, "OrdersByRef"));
        let id = place(&world, number, false);
        world.settle().await;
        let class = match fault {
            Fault::InvalidJson | Fault::NullData => "server",
            _ => "network",
        };
        assert_eq!(classes(&world, "fluent.create-order").await, [class], "{fault:?}");
        world.pass(Duration::from_secs(40), Duration::from_secs(10)).await;
        world.arrived(&id);
    }
    assert_eq!(world.fluent.front().received("CreateOrder"), OPEN.len() as u64);
    world.nothing_lost().await;
}

async fn a_write_without_a_usable_answer_is_an_unknown_outcome(engine: Engine) {
    let Some(world) = World::with(engine, impatient()).await else { return };
    for (number, fault) in OPEN.into_iter().enumerate() {
        world.fluent.front().fault(once(fault, "CreateOrder"));
        let shop = world.commercetools.front();
        if !fault.is_graphql() {
            shop.fault(once(fault, "POST /orders/{id}"));
        }
        let updates = shop.received("POST /orders/{id}");
        let id = place(&world, number, false);
        world.settle().await;
        assert_eq!(classes(&world, "fluent.create-order").await, ["unknown-outcome"], "{fault:?}");
        world.advance(Duration::from_secs(2)).await;
        world.arrived(&id);
        assert_eq!(world.newest("fluent.create-order").await.reason.as_deref(), Some("adopted"), "{fault:?}");
        // The look that follows shows that it was done: no second try, no second request.
        assert_eq!(classes(&world, "commercetools.update-order").await, [""; 0], "{fault:?}");
        assert_eq!(shop.received("POST /orders/{id}"), updates + 1, "{fault:?}");
        assert_eq!(world.updates(&id), 1);
    }
    assert_eq!(world.fluent.front().received("CreateOrder"), OPEN.len() as u64);
    assert_eq!(world.fluent_effects("createOrder", "ORDER").len(), OPEN.len());
    world.nothing_lost().await;
}

async fn a_login_without_a_usable_answer_is_tried_again(engine: Engine) {
    let Some(world) = World::with(engine, impatient()).await else { return };
    for (number, fault) in OPEN.into_iter().filter(|fault| !fault.is_graphql()).enumerate() {
        world.fluent.revoke_tokens();
        world.fluent.front().fault(once(fault, "POST /oauth/token"));
        let id = place(&world, number, false);
        world.settle().await;
        world.pass(Duration::from_secs(40), Duration::from_secs(10)).await;
        world.arrived(&id);
        let said = world.messages(Filter::default()).await;
        let wrong = said.iter().filter(|row| row.detail.as_ref().is_some_and(|it| it.contains("does not log in")));
        assert_eq!(wrong.count(), 0, "{fault:?}: the password is right");
    }
    assert!(world.parked().await.is_empty());
    world.nothing_lost().await;
}

/// Orders whose webhooks are lost: only the poll finds them, on two pages.
async fn unheard(engine: Engine) -> Option<(World, Vec<String>)> {
    let world = World::new(engine).await?;
    let ids: Vec<String> = (0..110).map(|number| place(&world, number, true)).collect();
    world.settle().await;
    world.advance(Duration::from_secs(60)).await;
    world.fluent.webhook_faults(WebhookFaults { drop: 1.0, ..WebhookFaults::default() });
    for number in 0..110 {
        world.fluent.set_order_status(&format!("HD_{number}"), "BOOKED");
    }
    Some((world, ids))
}

/// What the poll asked for since then.
fn pages(world: &World, before: usize) -> Vec<Exchange> {
    world.fluent_requests("OrdersUpdated").split_off(before)
}

async fn a_token_that_is_refused_in_mid_job(engine: Engine) {
    let Some((world, ids)) = unheard(engine).await else { return };
    let before = world.fluent_requests("OrdersUpdated").len();
    world.fluent.front().fault_after(1, once(Fault::Unauthorized, "OrdersUpdated"));
    world.advance(Duration::from_secs(61)).await;
    let statuses: Vec<u16> = pages(&world, before).iter().map(|page| page.status).collect();
    assert_eq!(statuses, [200, 401, 200], "it goes on with a new token where it was");
    assert!(ids.iter().all(|id| world.states(id)[0] == "Confirmed"));
    assert!(world.parked().await.is_empty());
    world.nothing_lost().await;
}

async fn a_cursor_that_is_refused_in_mid_job(engine: Engine) {
    let Some((world, ids)) = unheard(engine).await else { return };
    let before = world.fluent_requests("OrdersUpdated").len();
    world.fluent.front().fault(once(Fault::RefusedCursor, "OrdersUpdated"));
    world.advance(Duration::from_secs(61)).await;
    world.pass(Duration::from_secs(20), Duration::from_secs(5)).await;
    let pages = pages(&world, before);
    let after: Vec<bool> = pages.iter().map(|page| page.request["variables"]["after"].is_string()).collect();
    assert_eq!(after[..4], [false, true, false, true], "the window starts again");
    let span = |page: &Exchange| (page.request["variables"]["from"].clone(), page.request["variables"]["to"].clone());
    assert_eq!(span(&pages[0]), span(&pages[2]), "and it is the same one");
    assert!(ids.iter().all(|id| world.states(id)[0] == "Confirmed"));
    assert!(ids.iter().all(|id| world.updates(id) == 2), "the link and the status, each once");
    assert!(world.parked().await.is_empty());
    world.nothing_lost().await;
}

async fn a_token_that_is_refused_twice(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    world.fluent.front().fault(Rule { times: Some(2), ..once(Fault::Unauthorized, "CreateOrder") });
    world.commercetools.front().fault(Rule { times: Some(2), ..once(Fault::Unauthorized, "POST /orders/{id}") });
    let id = place(&world, 1, false);
    world.settle().await;
    assert_eq!(classes(&world, "fluent.create-order").await, ["unauthorized"]);
    world.advance(Duration::from_secs(7)).await;
    assert_eq!(classes(&world, "commercetools.update-order").await, ["unauthorized"]);
    world.pass(Duration::from_secs(20), Duration::from_secs(5)).await;
    world.arrived(&id);
    assert_eq!((world.fluent.orders().len(), world.updates(&id)), (1, 1));
    world.nothing_lost().await;
}

/// Both platforms show each write only twenty seconds later, to whoever asks.
async fn reads_that_are_behind(engine: Engine) {
    let connection = "    customer: { sync: on_order }".to_owned();
    let Some(world) = World::with(engine, Settings { connection, ..Settings::default() }).await else { return };
    world.fluent.stale_reads(Duration::from_secs(20));
    world.commercetools.stale_reads(Duration::from_secs(20));
    let ids: Vec<String> = (0..5).map(|number| place(&world, number, number % 2 == 0)).collect();
    world.settle().await;
    world.pass(Duration::from_secs(240), Duration::from_secs(5)).await;
    for status in ["BOOKED", "PICK_PACK", "COMPLETE"] {
        for number in 0..5 {
            world.fluent.set_order_status(&format!("HD_{number}"), status);
        }
        world.settle().await;
        world.pass(Duration::from_secs(240), Duration::from_secs(5)).await;
    }
    assert!(world.parked().await.is_empty(), "{:#?}", world.parked().await);
    for id in &ids {
        world.arrived(id);
        assert_eq!(world.states(id), ["Complete", "Shipped"]);
    }
    assert_eq!((world.fluent.orders().len(), world.fluent.transactions().len()), (5, 5));
    assert_eq!(world.fluent_effects("createCustomer", "CUSTOMER").len(), 3);
    world.nothing_lost().await;
}

/// The create was done, but even the last of the looks does not show it.
async fn a_look_that_is_behind_the_create(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    let first = place(&world, 1, true);
    world.settle().await;
    world.advance(Duration::from_secs(120)).await;
    world.fluent.stale_reads(Duration::from_secs(90));
    world.fluent.front().fault(once(Fault::LostAnswer, "CreateOrder"));
    let second = place(&world, 2, true);
    world.settle().await;
    // The fourth try is followed by a long pause.
    world.pass(Duration::from_secs(1_500), Duration::from_secs(15)).await;
    for id in [&first, &second] {
        world.arrived(id);
    }
    assert_eq!(world.fluent_effects("createOrder", "ORDER").len(), 2, "the second create was refused");
    assert!(world.parked().await.is_empty(), "{:#?}", world.parked().await);
    world.nothing_lost().await;
}
