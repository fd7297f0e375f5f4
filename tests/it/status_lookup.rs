//! Stories of Fluent orders whose commercetools order has to be found first, or does not exist.

use std::time::Duration;

use fluent_connector::simulator::commercetools::{ADA, ARTICLES};
use serde_json::{Value, json};

use crate::database::Engine;
use crate::on_both_databases;
use crate::world::{Settings, World};

on_both_databases! {
    found_by_its_identity_attribute,
    found_by_its_sync_info,
    found_by_its_number,
    a_number_with_other_lines_is_not_linked,
    two_orders_with_one_sync_info_are_parked,
    an_order_that_is_linked_already_is_parked,
    an_order_of_another_channel_is_ignored_after_a_while,
    an_unknown_order_may_be_parked,
    an_old_order_of_another_channel_is_ignored_at_once,
    a_webhook_of_another_retailer_is_refused,
    the_poll_sees_no_other_retailer,
}

async fn found_by_its_identity_attribute(engine: Engine) {
    let Some(world) = passive(engine, "").await else { return };
    let id = world.commercetools.order(Some("1")).customer(ADA).place();
    let theirs = world.foreign_order(json!({"ref": "X-1", "attributes": identity(&id)}));
    follows(&world, "X-1", &id, &theirs).await;
}

async fn found_by_its_sync_info(engine: Engine) {
    let Some(world) = passive(engine, "").await else { return };
    let theirs = world.foreign_order(json!({"ref": "X-1"}));
    let id = world.commercetools.order(Some("1")).customer(ADA).changed(sync_info(&world, &theirs)).place();
    follows(&world, "X-1", &id, &theirs).await;
    assert_eq!(world.updates(&id), 1, "the states only");
}

async fn found_by_its_number(engine: Engine) {
    let Some(world) = passive(engine, "").await else { return };
    let id = world.commercetools.order(Some("10001")).customer(ADA).place();
    let theirs = world.foreign_order(json!({"ref": "HD_10001"}));
    follows(&world, "HD_10001", &id, &theirs).await;
}

async fn a_number_with_other_lines_is_not_linked(engine: Engine) {
    let Some(world) = passive(engine, "").await else { return };
    let id = world.commercetools.order(Some("10001")).customer(ADA).place();
    world.foreign_order(json!({"ref": "HD_10001", "skus": [ARTICLES[0].sku, ARTICLES[1].sku]}));
    world.fluent.set_order_status("HD_10001", "RECEIVED");
    world.settle().await;

    let sentence = world.the_parked().await.detail.unwrap();
    assert_eq!(
        sentence,
        "Order number 10001 exists in commercetools, but its Line Items do not match Fluent order HD_10001; not linked."
    );
    assert!(world.links(&id).is_empty());
    assert_eq!(world.states(&id), ["Open", "-"]);
    world.nothing_lost().await;
}

async fn two_orders_with_one_sync_info_are_parked(engine: Engine) {
    let Some(world) = passive(engine, "").await else { return };
    let theirs = world.foreign_order(json!({"ref": "X-1"}));
    for number in ["1", "2"] {
        world.commercetools.order(Some(number)).customer(ADA).changed(sync_info(&world, &theirs)).place();
    }
    world.fluent.set_order_status("X-1", "BOOKED");
    world.settle().await;

    let sentence = world.the_parked().await.detail.unwrap();
    let either =
        |a: &str, b: &str| format!("Fluent order X-1 could be commercetools Orders {a} and {b}; set the link by hand.");
    assert!([either("1", "2"), either("2", "1")].contains(&sentence), "{sentence}");
    world.nothing_lost().await;
}

async fn an_order_that_is_linked_already_is_parked(engine: Engine) {
    let Some(world) = passive(engine, "").await else { return };
    let id = world.commercetools.order(Some("10001")).customer(ADA).place();
    let first = world.foreign_order(json!({"ref": "HD_10001"}));
    world.fluent.set_order_status("HD_10001", "RECEIVED");
    world.settle().await;
    assert_eq!(world.links(&id), [first.as_str()]);
    let second = world.foreign_order(json!({"ref": "X-2", "attributes": identity(&id)}));
    world.fluent.set_order_status("X-2", "BOOKED");
    world.settle().await;

    let parked = world.parked().await;
    let sentence =
        format!("commercetools order 10001 is already linked to Fluent order {first}; not linked to {second}.");
    assert!(!parked.is_empty() && parked.iter().all(|row| row.detail.as_ref() == Some(&sentence)), "{parked:#?}");
    assert_eq!((world.links(&id), world.states(&id)), (vec![first], ["Open".into(), "Pending".into()]));
    world.nothing_lost().await;
}

async fn an_order_of_another_channel_is_ignored_after_a_while(engine: Engine) {
    let Some(world) = passive(engine, "").await else { return };
    world.foreign_order(json!({"ref": "STORE-1"}));
    world.fluent.set_order_status("STORE-1", "RECEIVED");
    world.settle().await;
    let row = world.newest("fluent.order-updated").await;
    assert_eq!(
        row.detail.as_deref(),
        Some(
            "Fluent order STORE-1 is not linked to a commercetools Order yet; waiting until 2026-06-15T10:15:00.000Z."
        )
    );
    world.pass(Duration::from_secs(14 * 60), Duration::from_secs(60)).await;
    assert_eq!(world.newest("fluent.order-updated").await.state, "ready");
    world.pass(Duration::from_secs(90), Duration::from_secs(10)).await;

    let row = world.newest("fluent.order-updated").await;
    assert_eq!((row.state.as_str(), row.reason.as_deref()), ("skipped", Some("ignored")));
    assert_eq!(
        row.detail.as_deref(),
        Some("Fluent order STORE-1 belongs to no commercetools Order of connection main.")
    );
    world.nothing_lost().await;
}

async fn an_unknown_order_may_be_parked(engine: Engine) {
    let Some(world) = passive(engine, "    order_update: { unknown_order: reject, unknown_order_wait: 1m }").await
    else {
        return;
    };
    world.foreign_order(json!({"ref": "STORE-1"}));
    world.fluent.set_order_status("STORE-1", "RECEIVED");
    world.settle().await;
    world.pass(Duration::from_secs(90), Duration::from_secs(10)).await;

    let parked = world.parked().await;
    let sentence = "Fluent order STORE-1 belongs to no commercetools Order of connection main.";
    assert_eq!(parked.len(), 2, "the webhook's and the poll's: {parked:#?}");
    assert!(parked.iter().all(|row| row.detail.as_deref() == Some(sentence)));
    // The shop imports the order after all.
    let theirs = world.fluent.order("STORE-1").unwrap()["id"].as_str().unwrap().to_owned();
    let id = world.commercetools.order(Some("1")).customer(ADA).changed(sync_info(&world, &theirs)).place();
    for row in &parked {
        world.retry(row).await;
    }
    assert_eq!(world.links(&id), [theirs]);
    assert!(world.parked().await.is_empty());
    world.nothing_lost().await;
}

async fn an_old_order_of_another_channel_is_ignored_at_once(engine: Engine) {
    let Some(world) = passive(engine, "").await else { return };
    world.foreign_order(json!({"ref": "STORE-1"}));
    world.clock.advance(Duration::from_secs(1200));
    world.fluent.set_order_status("STORE-1", "COMPLETE");
    world.settle().await;

    let row = world.newest("fluent.order-updated").await;
    assert_eq!((row.state.as_str(), row.attempts), ("skipped", 1), "{:?}", row.detail);
    world.nothing_lost().await;
}

async fn a_webhook_of_another_retailer_is_refused(engine: Engine) {
    let Some(world) = passive(engine, "").await else { return };
    let before = world.messages(Default::default()).await.len();
    let webhook = json!({
        "id": "6f0c2a53-4d8e-4f6b-9a51-7c4f6a1d0e11", "name": "fc.connect.order.webhook.status-update",
        "accountId": world.fluent.options().account, "retailerId": "6", "entityId": "1", "entityRef": "HD_1",
        "entityType": "ORDER", "rootEntityId": "1", "rootEntityRef": "HD_1", "rootEntityType": "ORDER",
        "entityStatus": "BOOKED", "type": "NORMAL",
    });
    let body = webhook.to_string();
    let (sha512, _) = world.fluent.sign(body.as_bytes());
    let request = fluent_connector::remote::http_client().unwrap();
    let request = request.post(format!("{}/api/v1/fluent-connect/webhook", world.url(0)));
    let request = request.header("content-type", "application/json").header("fluent-signature", sha512);
    assert_eq!(request.body(body).send().await.unwrap().status(), 404);
    assert_eq!(world.messages(Default::default()).await.len(), before, "nothing is stored");
    world.nothing_lost().await;
}

async fn the_poll_sees_no_other_retailer(engine: Engine) {
    let Some(world) = passive(engine, "").await else { return };
    world.pass(Duration::from_secs(900), Duration::from_secs(30)).await;
    let polls = world.fluent_requests("OrdersUpdated");
    assert!(polls.len() >= 2, "{} polls", polls.len());
    assert!(polls.iter().all(|poll| poll.request["variables"]["retailerId"] == json!([5])));
    world.nothing_lost().await;
}

/// A status change reaches the order, and both are linked.
async fn follows(world: &World, reference: &str, id: &str, theirs: &str) {
    world.settle().await;
    world.fluent.set_order_status(reference, "BOOKED");
    world.settle().await;
    assert_eq!(world.states(id), ["Confirmed", "Pending"]);
    assert_eq!(world.links(id), [theirs]);
    assert!(world.parked().await.is_empty());
    world.nothing_lost().await;
}

/// Another system creates the orders in Fluent.
async fn passive(engine: Engine, connection: &str) -> Option<World> {
    let connection = format!("    order: {{ enabled: false }}\n{connection}");
    World::with(engine, Settings { connection, ..Settings::default() }).await
}

fn identity(id: &str) -> Value {
    json!([{"name": "commercetoolsOrderId", "type": "STRING", "value": id}])
}

fn sync_info(world: &World, fluent_id: &str) -> impl FnOnce(&mut Value) + 'static {
    let (fluent_id, channel) = (fluent_id.to_owned(), world.order_channel());
    move |order| {
        let channel = json!({"typeId": "channel", "id": channel});
        order["syncInfo"] =
            json!([{"channel": channel, "externalId": fluent_id, "syncedAt": "2026-06-15T09:00:00.000Z"}]);
    }
}
