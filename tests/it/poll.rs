//! Stories of the poll twin: what no webhook told is found all the same, and counted.

use std::collections::BTreeSet;
use std::time::Duration;

use fluent_connector::simulator::commercetools::{ADA, ARTICLES};
use fluent_connector::simulator::fluent::WebhookFaults;
use serde_json::{Value, json};

use crate::database::Engine;
use crate::on_both_databases;
use crate::world::World;

on_both_databases! {
    half_of_all_webhooks_are_lost_and_every_status_arrives,
    without_losses_the_poll_finds_nothing,
}

const LIFE: [&str; 5] = ["RECEIVED", "BOOKED", "PICK_PACK", "AWAITING_COURIER_COLLECTION", "COMPLETE"];

async fn half_of_all_webhooks_are_lost_and_every_status_arrives(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    world.fluent.webhook_faults(WebhookFaults { drop: 0.5, ..WebhookFaults::default() });
    let ids = lives(&world, 40).await;
    let lost = lost(&world);
    assert!((5..=35).contains(&lost.len()), "the dice are loaded: {}", lost.len());

    // The window closes 30 s before Fluent's clock, and the job looks every minute.
    world.pass(Duration::from_secs(120), Duration::from_secs(30)).await;
    complete(&world, &ids);
    assert_eq!(found(&world).await, lost.len() as i64, "what only the poll found");
    world.pass(Duration::from_secs(600), Duration::from_secs(60)).await;
    assert_eq!(found(&world).await, lost.len() as i64, "the overlap is read again and finds nothing new");
    world.nothing_lost().await;
}

async fn without_losses_the_poll_finds_nothing(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    let ids = lives(&world, 10).await;
    complete(&world, &ids);
    world.pass(Duration::from_secs(600), Duration::from_secs(60)).await;
    assert_eq!(found(&world).await, 0);
    world.nothing_lost().await;
}

/// Orders that go from CREATED to COMPLETE; answers their commercetools ids.
async fn lives(world: &World, count: usize) -> Vec<String> {
    let article = ARTICLES[0];
    let place = |number: usize| {
        let order = world.commercetools.order(Some(&number.to_string())).customer(ADA);
        order.line(article.sku, 1, article.cent_amount).place()
    };
    let ids: Vec<String> = (0..count).map(place).collect();
    world.settle().await;
    for status in LIFE {
        for number in 0..count {
            assert!(world.fluent.set_order_status(&format!("HD_{number}"), status), "order {number} is in Fluent");
        }
        world.settle().await;
    }
    ids
}

/// Orders whose last webhook never came.
fn lost(world: &World) -> BTreeSet<String> {
    let dropped = world.fluent.webhooks().into_iter().filter(|delivery| delivery["outcome"] == json!("dropped"));
    let last = dropped.filter(|delivery| delivery["entityStatus"] == json!("COMPLETE"));
    last.filter(|delivery| delivery["entityType"] == json!("ORDER"))
        .filter_map(|delivery| delivery["entityRef"].as_str().map(str::to_owned))
        .collect()
}

fn complete(world: &World, ids: &[String]) {
    for id in ids {
        let order: Value = world.shop_order(id);
        assert_eq!(json!([order["orderState"], order["shipmentState"]]), json!(["Complete", "Shipped"]));
    }
}

/// What the poll alone found, as `status` reports it.
async fn found(world: &World) -> i64 {
    let mut db = world.daemons[0].app.store().read().await.unwrap();
    db.cursors().await.unwrap().iter().map(|cursor| cursor.found).sum()
}
