//! Stories of statuses: what Fluent does with an order shows in commercetools, and never backwards.

use std::time::Duration;

use fluent_connector::simulator::Traffic;
use fluent_connector::simulator::commercetools::ADA;
use fluent_connector::simulator::fluent::WebhookFaults;

use crate::database::Engine;
use crate::on_both_databases;
use crate::world::{Settings, World};

on_both_databases! {
    every_status_shows,
    a_cancelled_order_shows,
    webhooks_out_of_order_and_twice,
    a_step_back_is_noted_and_not_written,
    an_unmapped_status_is_noted,
    lost_webhooks_are_found_by_the_poll,
    a_foreign_writer_does_not_stop_us,
    a_foreign_writer_in_the_middle_of_every_update,
    a_foreign_writer_who_is_ahead_stays_ahead,
}

const WAY: [(&str, [&str; 2]); 6] = [
    ("CREATED", ["Open", "-"]),
    ("RECEIVED", ["Open", "Pending"]),
    ("BOOKED", ["Confirmed", "Pending"]),
    ("PICK_PACK", ["Confirmed", "Pending"]),
    ("AWAITING_COURIER_COLLECTION", ["Confirmed", "Ready"]),
    ("COMPLETE", ["Complete", "Shipped"]),
];

async fn every_status_shows(engine: Engine) {
    let Some((world, id)) = with_an_order(engine).await else { return };
    for (status, states) in WAY {
        world.fluent.set_order_status("HD_1", status);
        world.settle().await;
        assert_eq!(world.states(&id), states, "after {status}");
    }
    assert_eq!(world.updates(&id), 5, "the link, and one update for each status that says something new");
    assert_eq!(world.shop_requests("GET /orders/{id}").len(), 3, "two reads for the create, one for the link");
    world.nothing_lost().await;
}

async fn a_cancelled_order_shows(engine: Engine) {
    let Some((world, id)) = with_an_order(engine).await else { return };
    for status in ["RECEIVED", "BOOKED", "CANCELLED"] {
        world.fluent.set_order_status("HD_1", status);
    }
    world.settle().await;
    assert_eq!(world.states(&id), ["Cancelled", "Canceled"]);
    world.nothing_lost().await;
}

async fn webhooks_out_of_order_and_twice(engine: Engine) {
    let Some((world, id)) = with_an_order(engine).await else { return };
    world.fluent.webhook_faults(WebhookFaults { duplicate: 1.0, reorder: 1.0, ..WebhookFaults::default() });
    for (status, _) in WAY {
        world.fluent.set_order_status("HD_1", status);
        world.advance(Duration::from_millis(500)).await;
    }
    world.pass(Duration::from_secs(4), Duration::from_millis(200)).await;
    assert_eq!(world.states(&id), ["Complete", "Shipped"]);
    let history = history(&world, &id);
    assert!(history == ["Confirmed", "Complete"] || history == ["Complete"], "{history:?}");

    let updates = world.updates(&id);
    assert_eq!(world.fluent.redeliver_last_webhook().await, Some(200));
    world.settle().await;
    assert_eq!(world.updates(&id), updates);
    world.nothing_lost().await;
}

async fn a_step_back_is_noted_and_not_written(engine: Engine) {
    let Some((world, id)) = with_an_order(engine).await else { return };
    for status in ["BOOKED", "ESCALATED"] {
        world.fluent.set_order_status("HD_1", status);
        world.settle().await;
    }
    assert_eq!(world.states(&id), ["Confirmed", "Delayed"], "the axis that may move moves");
    assert_eq!(
        world.notes("order_status.backward").await,
        [
            "Fluent order HD_1 is ESCALATED; orderState would go from Confirmed to Open, which is a step back. It was not written."
        ]
    );
    world.fluent.set_order_status("HD_1", "COMPLETE");
    world.settle().await;
    assert_eq!(world.states(&id), ["Complete", "Shipped"]);
    world.nothing_lost().await;
}

async fn an_unmapped_status_is_noted(engine: Engine) {
    let Some((world, id)) = with_an_order(engine).await else { return };
    world.fluent.set_order_status("HD_1", "BOOKED");
    world.settle().await;
    world.fluent.set_order_status("HD_1", "IN_THE_LIFT");
    world.settle().await;

    assert_eq!(world.states(&id), ["Confirmed", "Pending"]);
    assert_eq!(
        world.notes("order_status.unmapped").await,
        [
            "Fluent order HD_1 has status IN_THE_LIFT, which no table maps; order, payment and shipment state of commercetools order 1 stay as they are."
        ]
    );
    assert!(world.parked().await.is_empty());
    world.nothing_lost().await;
}

async fn lost_webhooks_are_found_by_the_poll(engine: Engine) {
    let Some((world, id)) = with_an_order(engine).await else { return };
    world.fluent.webhook_faults(WebhookFaults { drop: 1.0, ..WebhookFaults::default() });
    for (status, states) in WAY {
        world.fluent.set_order_status("HD_1", status);
        world.pass(Duration::from_secs(90), Duration::from_secs(15)).await;
        assert_eq!(world.states(&id), states, "90 s after {status}");
    }
    world.nothing_lost().await;
}

async fn a_foreign_writer_does_not_stop_us(engine: Engine) {
    let Some((world, id)) = with_an_order(engine).await else { return };
    for round in 0..30 {
        touch(&world, &id, round);
        let (status, states) = WAY[round / 5];
        world.fluent.set_order_status("HD_1", status);
        world.settle().await;
        assert_eq!(world.states(&id), states, "round {round}");
    }
    solved_within_one_attempt(&world, &id).await;
    assert_eq!(world.shop_order(&id)["purchaseOrderNumber"], "29", "and we do not stop them");
    world.nothing_lost().await;
}

/// Every update of ours meets a version that is not the one we know.
async fn a_foreign_writer_in_the_middle_of_every_update(engine: Engine) {
    let Some((world, id)) = with_an_order(engine).await else { return };
    world.commercetools.front().traffic(Traffic { limit: None, latency: Duration::from_millis(10) });
    let before = world.shop_requests("POST /orders/{id}").len();
    let mut round = 0;
    for (status, _) in WAY {
        world.fluent.set_order_status("HD_1", status);
        for _ in 0..5 {
            touch(&world, &id, round);
            round += 1;
            world.breathe(4).await;
        }
        world.settle().await;
    }
    world.settle().await;

    assert_eq!(world.states(&id), ["Complete", "Shipped"]);
    assert!(world.shop_requests("POST /orders/{id}").len() > before + 5, "there were conflicts, or this shows nothing");
    solved_within_one_attempt(&world, &id).await;
    assert_eq!(world.shop_order(&id)["purchaseOrderNumber"], "29");
    world.nothing_lost().await;
}

async fn a_foreign_writer_who_is_ahead_stays_ahead(engine: Engine) {
    let Some((world, id)) = with_an_order(engine).await else { return };
    world.commercetools.edit("orders", &id, |order| order["orderState"] = "Complete".into());
    for status in ["RECEIVED", "BOOKED", "PICK_PACK"] {
        world.fluent.set_order_status("HD_1", status);
        world.settle().await;
    }
    assert_eq!(world.states(&id), ["Complete", "Pending"]);
    let notes = world.notes("order_status.backward").await;
    let note = "Fluent order HD_1 is BOOKED; orderState would go from Complete to Confirmed, which is a step back. It was not written.";
    assert!(notes.iter().any(|found| found == note), "{notes:?}");
    world.nothing_lost().await;
}

/// A world with order 1 of Ada, linked.
async fn with_an_order(engine: Engine) -> Option<(World, String)> {
    let world = World::with(engine, Settings::default()).await?;
    let id = world.commercetools.order(Some("1")).customer(ADA).payment("PAYPAL", 2_999).place();
    world.settle().await;
    world.arrived(&id);
    Some((world, id))
}

/// Another system writes something of its own into the order.
fn touch(world: &World, id: &str, round: usize) {
    world.commercetools.edit("orders", id, |order| order["purchaseOrderNumber"] = round.to_string().into());
}

async fn solved_within_one_attempt(world: &World, id: &str) {
    let filter = fluent_connector::store::Filter {
        route: Some("commercetools.update-order".into()),
        subject: Some(format!("order:{id}")),
        ..Default::default()
    };
    for row in world.messages(filter).await {
        assert_eq!((row.state.as_str(), row.attempts), ("done", 1), "{row:#?}");
    }
}

/// Order states that the order went through.
fn history(world: &World, id: &str) -> Vec<String> {
    let notifications = world.commercetools.notifications();
    let of_order = notifications.iter().filter(|it| it["type"] == "OrderStateChanged" && it["resource"]["id"] == id);
    of_order.map(|it| it["orderState"].as_str().unwrap().to_owned()).collect()
}
