//! Stories of a platform that is gone for a while.

use std::time::Duration;

use fluent_connector::simulator::commercetools::{ADA, BORIS, CHIARA};

use crate::database::Engine;
use crate::on_both_databases;
use crate::world::World;

on_both_databases! {
    fluent_is_gone_for_ten_minutes,
    commercetools_is_gone_for_ten_minutes,
    both_are_gone_for_ten_minutes,
}

async fn fluent_is_gone_for_ten_minutes(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    let mut ids = shop_for(&world, 0, 3).await;
    gone(&world, true, false);
    ids.extend(shop_for(&world, 3, 10).await);
    assert_eq!(world.fluent.orders().len(), 3);
    assert_eq!(world.commercetools.pending_pushes(), 0, "every push was answered");
    gone(&world, false, false);
    ids.extend(shop_for(&world, 13, 2).await);
    drained(&world, &ids).await;
}

async fn commercetools_is_gone_for_ten_minutes(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    let mut ids = shop_for(&world, 0, 3).await;
    gone(&world, false, true);
    ids.extend(shop_for(&world, 3, 10).await);
    for number in 0..3 {
        for status in ["RECEIVED", "BOOKED", "PICK_PACK"] {
            world.fluent.set_order_status(&format!("HD_{number}"), status);
            world.settle().await;
        }
    }
    assert_eq!(world.commercetools.pending_pushes() + world.fluent.pending_webhooks(), 0, "all were answered");
    gone(&world, false, false);
    drained(&world, &ids).await;
    for id in &ids[..3] {
        assert_eq!(world.states(id), ["Confirmed", "Pending"]);
    }
}

async fn both_are_gone_for_ten_minutes(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    gone(&world, true, true);
    let ids = shop_for(&world, 0, 10).await;
    gone(&world, true, false);
    world.advance(Duration::from_secs(60)).await;
    gone(&world, false, false);
    drained(&world, &ids).await;
}

fn gone(world: &World, fluent: bool, commercetools: bool) {
    world.fluent.front().down(fluent);
    world.commercetools.front().down(commercetools);
}

/// One order a minute.
async fn shop_for(world: &World, from: usize, minutes: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for number in from..from + minutes {
        let buyer = [ADA, BORIS, CHIARA][number % 3];
        let order = world.commercetools.order(Some(&number.to_string())).customer(buyer);
        ids.push(order.payment("CREDIT_CARD", 2_999).place());
        world.settle().await;
        world.advance(Duration::from_secs(60)).await;
    }
    ids
}

/// The backlog comes to its end, each order once.
async fn drained(world: &World, ids: &[String]) {
    world.pass(Duration::from_secs(3600), Duration::from_secs(30)).await;
    for id in ids {
        world.arrived(id);
    }
    assert_eq!(world.fluent.orders().len(), ids.len());
    assert_eq!(world.fluent.customers().len(), 3);
    assert!(world.parked().await.is_empty(), "{:#?}", world.parked().await);
    world.nothing_lost().await;
}
