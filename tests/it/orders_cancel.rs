//! Stories of orders that are cancelled in commercetools.

use std::time::Duration;

use fluent_connector::simulator::commercetools::ADA;
use fluent_connector::simulator::{Fault, Rule};
use serde_json::{Value, json};

use crate::database::Engine;
use crate::on_both_databases;
use crate::world::{Settings, World};

on_both_databases! {
    a_cancelled_order_is_cancelled_in_fluent,
    the_poll_finds_a_cancellation_that_nobody_told_of,
    a_cancellation_that_comes_back_is_not_sent,
    a_cancellation_that_is_too_late_is_parked,
    a_lost_answer_is_looked_up,
    an_event_that_never_arrived_is_sent_again,
    a_workflow_that_does_nothing_is_named,
    an_asynchronous_event_is_looked_up,
    cancelled_while_its_creation_is_not_known,
    a_workflow_state_may_mean_cancelled,
    an_order_that_is_open_again_is_not_cancelled,
    a_deleted_order_may_be_cancelled,
}

async fn a_cancelled_order_is_cancelled_in_fluent(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    let id = placed(&world).await;
    let cancelled = cancel(&world, &id);
    world.settle().await;
    assert_eq!(status(&world), "CANCELLED");
    let event = sent(&world).remove(0);
    assert_eq!((&event["entitySubtype"], &event["entityRef"]), (&json!("HD"), &json!("HD_1")));
    assert_eq!(event["attributes"]["commercetoolsOrderId"], id.as_str());
    assert_eq!(event["attributes"]["commercetoolsOrderVersion"], cancelled["version"]);

    let again = world.commercetools.notifications().into_iter().find(|it| it["orderState"] == "Cancelled").unwrap();
    world.commercetools.deliver(&again).await;
    world.pass(Duration::from_secs(600), Duration::from_secs(60)).await;
    assert_eq!(sent(&world).len(), 1, "once per order");
    assert!(world.parked().await.is_empty());
    world.nothing_lost().await;
}

async fn the_poll_finds_a_cancellation_that_nobody_told_of(engine: Engine) {
    let Some(world) = World::with(engine, Settings { without_push: true, ..Settings::default() }).await else { return };
    let id = world.commercetools.order(Some("1")).customer(ADA).place();
    world.pass(Duration::from_secs(180), Duration::from_secs(60)).await;
    assert_eq!(world.fluent_orders(&id).len(), 1);
    cancel(&world, &id);
    world.pass(Duration::from_secs(180), Duration::from_secs(60)).await;

    assert_eq!(status(&world), "CANCELLED");
    assert_eq!(sent(&world).len(), 1);
    world.nothing_lost().await;
}

/// Fluent cancelled it: what we then write into commercetools is no news for Fluent.
async fn a_cancellation_that_comes_back_is_not_sent(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    let id = placed(&world).await;
    world.fluent.set_order_status("HD_1", "CANCELLED");
    world.settle().await;
    assert_eq!(world.states(&id)[0], "Cancelled");
    world.pass(Duration::from_secs(600), Duration::from_secs(60)).await;

    assert!(sent(&world).is_empty());
    assert!(world.parked().await.is_empty());
    world.nothing_lost().await;
}

async fn a_cancellation_that_is_too_late_is_parked(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    let id = placed(&world).await;
    world.fluent.set_order_status("HD_1", "PICK_PACK");
    world.settle().await;
    cancel(&world, &id);
    world.settle().await;

    let parked = world.the_parked().await;
    assert_eq!(
        parked.detail.clone().unwrap(),
        "Fluent does not accept the cancellation of order 1 any more: it is at PICK_PACK. Stop the parcel by hand or plan \
         a return."
    );
    assert_eq!(parked.attempts, 1);
    // Somebody talked to the store.
    world.fluent.set_order_status("HD_1", "BOOKED");
    world.settle().await;
    world.retry(&parked).await;
    assert_eq!(status(&world), "CANCELLED");
    world.nothing_lost().await;
}

async fn a_lost_answer_is_looked_up(engine: Engine) {
    for fault in [Fault::LostAnswer, Fault::ErrorAfter(500)] {
        let Some(world) = World::new(engine).await else { return };
        let id = placed(&world).await;
        world.fluent.front().fault(once(fault));
        cancel(&world, &id);
        world.settle().await;
        world.pass(Duration::from_secs(120), Duration::from_secs(10)).await;

        assert_eq!(status(&world), "CANCELLED");
        assert_eq!(sent(&world).len(), 1, "it was done");
        assert!(world.parked().await.is_empty());
        world.nothing_lost().await;
    }
}

async fn an_event_that_never_arrived_is_sent_again(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    let id = placed(&world).await;
    world.fluent.front().fault(once(Fault::ErrorBefore(503)));
    cancel(&world, &id);
    world.settle().await;
    world.pass(Duration::from_secs(120), Duration::from_secs(10)).await;

    assert_eq!(status(&world), "CANCELLED");
    assert_eq!(sent(&world).len(), 2);
    assert_eq!(world.fluent_requests("GET event").len(), 1, "the log was asked first");
    world.nothing_lost().await;
}

async fn a_workflow_that_does_nothing_is_named(engine: Engine) {
    let settings = Settings {
        connection: "    order_cancel: { cancelled_statuses: [VOID], confirm_within: 2m }".into(),
        ..Settings::default()
    };
    let Some(world) = World::with(engine, settings).await else { return };
    let id = placed(&world).await;
    cancel(&world, &id);
    world.settle().await;
    world.pass(Duration::from_secs(300), Duration::from_secs(15)).await;

    let sentence = world.the_parked().await.detail.unwrap();
    assert_eq!(sentence, "Fluent accepted the cancellation of order 1 but still shows CANCELLED after 2 min.");
    assert_eq!(sent(&world).len(), 1);
    world.nothing_lost().await;
}

async fn an_asynchronous_event_is_looked_up(engine: Engine) {
    let settings = Settings { connection: "    order_cancel: { mode: async }".into(), ..Settings::default() };
    let Some(world) = World::with(engine, settings).await else { return };
    let id = placed(&world).await;
    cancel(&world, &id);
    world.settle().await;
    world.pass(Duration::from_secs(60), Duration::from_secs(5)).await;

    assert_eq!(status(&world), "CANCELLED");
    assert_eq!(world.fluent_requests("event/async").len(), 1);
    assert!(world.parked().await.is_empty());
    world.nothing_lost().await;
}

/// Fluent may have it: that is found out first, and then it is cancelled there.
async fn cancelled_while_its_creation_is_not_known(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    world.fluent.front().fault(Rule { operation: Some("CreateOrder".into()), ..once(Fault::LostAnswer) });
    let id = world.commercetools.order(Some("1")).customer(ADA).place();
    world.settle().await;
    cancel(&world, &id);
    world.pass(Duration::from_secs(60), Duration::from_secs(1)).await;

    assert_eq!(world.fluent_orders(&id).len(), 1);
    assert_eq!(status(&world), "CANCELLED");
    assert_eq!(sent(&world).len(), 1);
    world.nothing_lost().await;
}

async fn a_workflow_state_may_mean_cancelled(engine: Engine) {
    let settings = Settings { connection: "    order_cancel: { state_keys: [void] }".into(), ..Settings::default() };
    let Some(world) = World::with(engine, settings).await else { return };
    let id = placed(&world).await;
    let state = json!({"key": "void", "type": "OrderState", "initial": true, "builtIn": false, "roles": []});
    let state = json!({"typeId": "state", "id": world.commercetools.put("states", state)["id"]});
    world.commercetools.edit("orders", &id, |order| order["state"] = state);
    world.settle().await;

    assert_eq!(status(&world), "CANCELLED");
    world.nothing_lost().await;
}

async fn an_order_that_is_open_again_is_not_cancelled(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    let id = placed(&world).await;
    world.fluent.front().down(true);
    cancel(&world, &id);
    world.settle().await;
    world.commercetools.edit("orders", &id, |order| order["orderState"] = "Open".into());
    world.fluent.front().down(false);
    world.pass(Duration::from_secs(600), Duration::from_secs(30)).await;

    assert_eq!(status(&world), "CREATED");
    assert!(sent(&world).is_empty());
    assert_eq!(world.newest("fluent.cancel-order").await.reason.as_deref(), Some("superseded"));
    world.nothing_lost().await;
}

async fn a_deleted_order_may_be_cancelled(engine: Engine) {
    for (cancels, settings) in [(false, ""), (true, "    order: { on_delete: cancel }")] {
        let settings = Settings { connection: settings.into(), ..Settings::default() };
        let Some(world) = World::with(engine, settings).await else { return };
        let id = placed(&world).await;
        world.commercetools.delete("orders", &id);
        world.settle().await;

        assert_eq!(status(&world), if cancels { "CANCELLED" } else { "CREATED" });
        let notes = world.notes("order.deleted").await;
        assert_eq!(notes.len(), usize::from(!cancels), "{notes:?}");
        // What Fluent then says of the order has nowhere to go.
        assert_eq!(world.parked().await.len(), usize::from(cancels));
        world.nothing_lost().await;
    }
}

/// Order 1, in Fluent.
async fn placed(world: &World) -> String {
    let id = world.commercetools.order(Some("1")).customer(ADA).payment("PAYPAL", 2_999).place();
    world.settle().await;
    world.arrived(&id);
    id
}

fn cancel(world: &World, id: &str) -> Value {
    world.commercetools.edit("orders", id, |order| order["orderState"] = "Cancelled".into()).unwrap()
}

fn status(world: &World) -> String {
    world.fluent.order("HD_1").unwrap()["status"].as_str().unwrap().to_owned()
}

/// Bodies of the events that Fluent received by the synchronous endpoint.
fn sent(world: &World) -> Vec<Value> {
    world.fluent_requests("event/sync").into_iter().map(|exchange| exchange.request).collect()
}

fn once(fault: Fault) -> Rule {
    Rule { fault, operation: Some("event/sync".into()), times: Some(1), rate: 1.0 }
}
