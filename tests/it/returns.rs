//! Stories of returns: the returnInfo of the shop's order (F 8).

use std::time::Duration;

use fluent_connector::simulator::fluent::WebhookFaults;
use serde_json::{Value, json};

use crate::database::Engine;
use crate::on_both_databases;
use crate::world::shipped::{ORDER, Shipped};

on_both_databases! {
    returns_are_off_unless_wanted,
    goods_that_came_back_are_written_once,
    an_announced_return_waits,
    goods_with_a_disposition_at_once,
    an_advised_item_advances_if_all_is_ours,
    an_advised_item_stays_beside_entries_of_others,
    a_return_that_was_withdrawn,
    a_return_of_no_order_is_ignored,
    lost_webhooks_are_found_by_the_poll,
}

const ON: &str = "    returns: { enabled: true }";
const ADVISED: &str = "    returns: { enabled: true, create_at: advised }";

fn infos(order: &Shipped) -> Vec<Value> {
    order.world.shop_order(&order.id)["returnInfo"].as_array().cloned().unwrap()
}

/// State of each return item of the order.
fn states(order: &Shipped) -> Vec<String> {
    let items = infos(order).into_iter().flat_map(|info| info["items"].as_array().cloned().unwrap());
    items.map(|item| item["shipmentState"].as_str().unwrap().to_owned()).collect()
}

async fn returns_are_off_unless_wanted(engine: Engine) {
    let Some(order) = Shipped::new(engine, "").await else { return };
    let world = &order.world;
    world.fluent.add_return(Some(ORDER), "RET-1", "RECEIVED", &[(&order.shirt, 1)], json!({}));
    world.pass(Duration::from_secs(600), Duration::from_secs(60)).await;
    assert!(infos(&order).is_empty());
    let row = world.newest("fluent.return-updated").await;
    assert_eq!(row.detail.as_deref(), Some("Returns are not transferred by this connection (returns.enabled)."));
    assert!(world.fluent_requests("ReturnsUpdated").is_empty());
    world.nothing_lost().await;
}

async fn goods_that_came_back_are_written_once(engine: Engine) {
    let Some(order) = Shipped::new(engine, ON).await else { return };
    let world = &order.world;
    let id =
        world.fluent.add_return(Some(ORDER), "RET@1", "RECEIVED", &[(&order.shirt, 2), (&order.mug, 1)], json!({}));
    world.settle().await;
    let info = &infos(&order)[0];
    assert_eq!((infos(&order).len(), &info["returnTrackingId"]), (1, &json!("RET@1")));
    let item = &info["items"][0];
    assert_eq!((&item["lineItemId"], &item["quantity"]), (&json!(order.shirt), &json!(2)));
    assert_eq!((&item["comment"], &item["paymentState"]), (&json!("Wrong Size: too small"), &json!("Initial")));
    assert!(item["key"].as_str().unwrap().starts_with(&format!("return-{id}-item-")));
    assert_eq!(states(&order), ["Returned", "Returned"]);

    let before = order.updates();
    world.fluent.redeliver_last_webhook().await;
    world.fluent.change(&id, None, json!({}));
    world.settle().await;
    assert_eq!(order.updates(), before, "once");
    let restock = json!({"returnDispositionAction": {"value": "RESTOCK", "label": "Restock"}});
    world.fluent.change(&id, Some("returnOrderItems"), restock);
    world.settle().await;
    assert_eq!(states(&order), ["BackInStock", "BackInStock"]);
    let destroy = json!({"returnDispositionAction": {"value": "DESTROY", "label": "Destroy"}});
    world.fluent.change(&id, Some("returnOrderItems"), destroy);
    world.settle().await;
    assert_eq!(states(&order), ["BackInStock", "BackInStock"], "final states never change");
    assert!(world.parked().await.is_empty());
    world.nothing_lost().await;
}

async fn an_announced_return_waits(engine: Engine) {
    let Some(order) = Shipped::new(engine, ON).await else { return };
    let world = &order.world;
    let id = world.fluent.add_return(Some(ORDER), "RET-1", "CREATED", &[(&order.shirt, 1)], json!({}));
    world.settle().await;
    assert!(infos(&order).is_empty());
    let notes = world.notes("returns.waiting").await;
    assert_eq!(notes, ["return RET-1 of order HD_1 has status CREATED; it is written when the goods are received."]);
    world.fluent.set_status(&id, "RECEIVED");
    world.settle().await;
    assert_eq!(states(&order), ["Returned"]);
    world.nothing_lost().await;
}

async fn goods_with_a_disposition_at_once(engine: Engine) {
    let Some(order) = Shipped::new(engine, ON).await else { return };
    let before = order.updates();
    let broken = json!({"returnDispositionAction": {"value": "BROKEN", "label": "Broken"}});
    order.world.fluent.add_return(Some(ORDER), "RET-1", "COMPLETE", &[(&order.mug, 1)], broken);
    order.world.settle().await;
    assert_eq!((states(&order), order.updates()), (vec!["Unusable".to_owned()], before + 1), "in one update");
    order.world.nothing_lost().await;
}

async fn an_advised_item_advances_if_all_is_ours(engine: Engine) {
    let Some(order) = Shipped::new(engine, ADVISED).await else { return };
    let world = &order.world;
    let first = world.fluent.add_return(Some(ORDER), "RET-1", "CREATED", &[(&order.shirt, 1)], json!({}));
    let unusable = json!({"returnDispositionAction": {"value": "BROKEN", "label": "Broken"}});
    world.fluent.add_return(Some(ORDER), "RET-2", "RECEIVED", &[(&order.mug, 1)], unusable);
    world.settle().await;
    let mut have = states(&order);
    have.sort();
    assert_eq!(have, ["Advised", "Unusable"]);
    world.fluent.change(&first, Some("returnOrderItems"), json!({"status": "RECEIVED"}));
    world.settle().await;
    let mut have = states(&order);
    have.sort();
    assert_eq!(have, ["Returned", "Unusable"], "and the other one is what it was");
    assert!(world.parked().await.is_empty());
    world.nothing_lost().await;
}

async fn an_advised_item_stays_beside_entries_of_others(engine: Engine) {
    let Some(order) = Shipped::new(engine, ADVISED).await else { return };
    let world = &order.world;
    let id = world.fluent.add_return(Some(ORDER), "RET-1", "CREATED", &[(&order.shirt, 1)], json!({}));
    world.settle().await;
    let (mug, at) = (order.mug.clone(), "2026-06-15T10:00:00.000Z");
    let theirs = json!({"returnTrackingId": "shop-1", "items": [{
        "id": "b7000000-0000-4000-8000-000000000009", "type": "LineItemReturnItem", "quantity": 1, "lineItemId": mug,
        "shipmentState": "Returned", "paymentState": "Refunded", "createdAt": at, "lastModifiedAt": at,
    }]});
    let added = theirs.clone();
    world.commercetools.edit("orders", &order.id, |shop| shop["returnInfo"].as_array_mut().unwrap().push(added));
    world.fluent.set_status(&id, "RECEIVED");
    world.settle().await;
    world.fluent.change(&id, None, json!({}));
    world.settle().await;
    assert_eq!(states(&order), ["Advised", "Returned"]);
    assert_eq!(infos(&order)[1], theirs);
    let note = "return RET-1 stays Advised: order 1 has return entries of others.";
    assert!(world.notes("returns.cannot_advance").await.iter().any(|found| found == note));
    assert!(world.parked().await.is_empty());
    world.nothing_lost().await;
}

async fn a_return_that_was_withdrawn(engine: Engine) {
    let Some(order) = Shipped::new(engine, ON).await else { return };
    let world = &order.world;
    world.fluent.add_return(Some(ORDER), "RET-1", "DECLINED", &[(&order.shirt, 1)], json!({}));
    let id = world.fluent.add_return(Some(ORDER), "RET-2", "RECEIVED", &[(&order.shirt, 1)], json!({}));
    world.settle().await;
    assert_eq!(states(&order), ["Returned"]);
    world.fluent.set_status(&id, "CANCELLED");
    world.settle().await;
    assert_eq!(states(&order), ["Returned"], "it stays");
    let notes = world.notes("returns.withdrawn").await;
    assert_eq!(notes, ["return RET-2 is CANCELLED in Fluent but already recorded in commercetools order 1."]);
    world.nothing_lost().await;
}

async fn a_return_of_no_order_is_ignored(engine: Engine) {
    let Some(order) = Shipped::new(engine, ON).await else { return };
    let world = &order.world;
    world.fluent.add_return(None, "RET-1", "RECEIVED", &[], json!({}));
    world.settle().await;
    let row = world.newest("fluent.return-updated").await;
    assert_eq!((row.state.as_str(), row.reason.as_deref()), ("skipped", Some("ignored")));
    assert_eq!(row.detail.as_deref(), Some("return RET-1 names no order."));
    world.nothing_lost().await;
}

async fn lost_webhooks_are_found_by_the_poll(engine: Engine) {
    let Some(order) = Shipped::new(engine, ON).await else { return };
    let world = &order.world;
    world.pass(Duration::from_secs(600), Duration::from_secs(60)).await;
    world.fluent.webhook_faults(WebhookFaults { drop: 1.0, ..WebhookFaults::default() });
    world.fluent.add_return(Some(ORDER), "RET-1", "RECEIVED", &[(&order.shirt, 1)], json!({}));
    world.pass(Duration::from_secs(420), Duration::from_secs(60)).await;
    assert_eq!(states(&order), ["Returned"]);
    let reads = world.fluent_requests("ReturnSource").len();
    world.pass(Duration::from_secs(1800), Duration::from_secs(60)).await;
    assert_eq!(world.fluent_requests("ReturnSource").len(), reads, "what was transferred is passed over");
    assert!(world.parked().await.is_empty());
    world.nothing_lost().await;
}
