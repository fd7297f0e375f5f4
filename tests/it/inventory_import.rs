//! Stories of stock through the Import API (F 4.6).

use std::time::Duration;

use fluent_connector::simulator::{Fault, Rule};
use fluent_connector::store::Filter;
use serde_json::{Value, json};

use crate::database::Engine;
use crate::inventory::{borrowed, entries, full_sync, many, pair, quiet, set, world, writes};
use crate::on_both_databases;
use crate::world::World;

on_both_databases! {
    a_large_run_goes_through_the_import_api,
    a_small_run_does_not,
    without_the_scope_stock_goes_over_http,
    a_newer_value_waits_for_the_import,
    what_the_import_api_does_not_take_goes_over_http,
    an_entry_with_a_foreign_key_is_not_imported,
    a_request_whose_answer_was_lost_is_looked_for,
}

const MINUTE: Duration = Duration::from_secs(60);
const BATCH: &str = "POST /inventories/import-containers/{key}";

fn requests(world: &World) -> Vec<Value> {
    world.shop_requests(BATCH).into_iter().map(|exchange| exchange.request).collect()
}

async fn a_large_run_goes_through_the_import_api(engine: Engine) {
    let all = many(130);
    let Some(world) = world(engine, pair("import_threshold: 100"), &borrowed(&all)).await else { return };
    world.pass(2 * MINUTE, MINUTE).await;
    assert_eq!(entries(&world), all.iter().cloned().collect());
    let sent = requests(&world);
    assert_eq!(sent.len(), 7, "twenty in each");
    assert_eq!(sent[0]["resources"].as_array().unwrap().len(), 20);
    let first = &sent[0]["resources"][0];
    assert_eq!((&first["key"], &first["quantityOnStock"]), (&json!("ct-fluent-channel_SKU-0000"), &json!(0)));
    let container = &world.shop_requests("POST /import-containers")[0].request;
    assert_eq!(
        (&container["key"], &container["retentionPolicy"]["config"]["timeToLive"]),
        (&json!("fl-inventory-main-20260615-1"), &json!("72h"))
    );
    assert_eq!(writes(&world).len(), 130);
    // What was imported is remembered, so that a change needs one look and one write.
    set(&world, "SKU-0001", 50);
    world.pass(3 * MINUTE, MINUTE).await;
    assert_eq!((entries(&world)["SKU-0001"], writes(&world).len()), (50, 131));
    full_sync(&world).await;
    world.pass(2 * MINUTE, MINUTE).await;
    assert_eq!(writes(&world).len(), 131, "nothing differs");
    quiet(&world).await;
}

async fn a_small_run_does_not(engine: Engine) {
    let all = many(100);
    let Some(world) = world(engine, pair("import_threshold: 100"), &borrowed(&all)).await else { return };
    assert_eq!(entries(&world), all.iter().cloned().collect());
    assert!(requests(&world).is_empty());
    quiet(&world).await;
}

async fn without_the_scope_stock_goes_over_http(engine: Engine) {
    let all = many(30);
    let Some(world) = world(engine, pair("write: import"), &[]).await else { return };
    let refuse = Rule {
        fault: Fault::ErrorBefore(403),
        operation: Some("POST /import-containers".into()),
        times: None,
        rate: 1.0,
    };
    world.commercetools.front().fault(refuse);
    all.iter().for_each(|(sku, quantity)| set(&world, sku, *quantity));
    world.pass(3 * MINUTE, MINUTE).await;
    assert_eq!(entries(&world), all.iter().cloned().collect());
    assert!(requests(&world).is_empty());
    assert_eq!(world.notes("commercetools.scope_missing").await.len(), 1);
    quiet(&world).await;
}

async fn a_newer_value_waits_for_the_import(engine: Engine) {
    let Some(world) = world(engine, pair("write: import"), &[]).await else { return };
    world.commercetools.import_delay(3 * MINUTE);
    set(&world, "A", 5);
    world.pass(2 * MINUTE, MINUTE).await;
    assert_eq!(requests(&world).len(), 1);
    set(&world, "A", 2);
    world.pass(MINUTE, MINUTE).await;
    assert!(entries(&world).get("A").is_none_or(|quantity| *quantity == 5), "the older one has not come yet");
    world.pass(8 * MINUTE, MINUTE).await;
    assert_eq!(entries(&world)["A"], 2);
    assert_eq!(writes(&world).iter().map(|(_, quantity)| *quantity).collect::<Vec<_>>(), [5, 2], "in this order");
    quiet(&world).await;
}

async fn what_the_import_api_does_not_take_goes_over_http(engine: Engine) {
    let Some(world) = world(engine, pair("write: import"), &[]).await else { return };
    world.commercetools.import_delay(3 * MINUTE);
    set(&world, "A", 5);
    set(&world, "B", 6);
    world.pass(2 * MINUTE, MINUTE).await;
    assert_eq!(requests(&world).len(), 1);
    // Before it is written, somebody makes an entry of the SKU with another key.
    let channel =
        world.commercetools.documents("channels").into_iter().find(|one| one["key"] == "ct-fluent-channel").unwrap();
    world.commercetools.put(
        "inventory",
        json!({"key": "erp-A", "sku": "A", "quantityOnStock": 1, "availableQuantity": 1,
        "supplyChannel": {"typeId": "channel", "id": channel["id"]}}),
    );
    world.pass(5 * MINUTE, MINUTE).await;
    assert_eq!(entries(&world), [("A".to_owned(), 5), ("B".to_owned(), 6)].into());
    let notes = world.notes("inventory.import_failed").await;
    assert_eq!(notes.len(), 1);
    assert!(
        notes[0].starts_with("The Import API did not take A in Channel ct-fluent-channel (rejected: "),
        "{}",
        notes[0]
    );
    assert!(notes[0].ends_with("); it was sent directly."), "{}", notes[0]);
    quiet(&world).await;
}

async fn an_entry_with_a_foreign_key_is_not_imported(engine: Engine) {
    let Some(world) = world(engine, pair("write: import"), &[]).await else { return };
    let channel =
        world.commercetools.documents("channels").into_iter().find(|one| one["key"] == "ct-fluent-channel").unwrap();
    world.commercetools.put(
        "inventory",
        json!({"key": "erp-A", "sku": "A", "quantityOnStock": 1, "availableQuantity": 1,
        "supplyChannel": {"typeId": "channel", "id": channel["id"]}}),
    );
    set(&world, "A", 5);
    set(&world, "B", 6);
    full_sync(&world).await;
    world.pass(2 * MINUTE, MINUTE).await;
    assert_eq!(entries(&world), [("A".to_owned(), 5), ("B".to_owned(), 6)].into());
    let sent = requests(&world);
    let keys: Vec<&Value> =
        sent.iter().flat_map(|one| one["resources"].as_array().unwrap()).map(|one| &one["key"]).collect();
    assert_eq!(keys, [&json!("ct-fluent-channel_B_")]);
    quiet(&world).await;
}

async fn a_request_whose_answer_was_lost_is_looked_for(engine: Engine) {
    let all = many(50);
    let Some(world) = world(engine, pair("write: import"), &[]).await else { return };
    let lost = Rule { fault: Fault::LostAnswer, operation: Some(BATCH.into()), times: Some(1), rate: 1.0 };
    world.commercetools.front().fault(lost);
    all.iter().for_each(|(sku, quantity)| set(&world, sku, *quantity));
    world.pass(10 * MINUTE, MINUTE).await;
    assert_eq!(entries(&world), all.iter().cloned().collect());
    assert_eq!(requests(&world).len(), 3, "what was taken all the same is seen");
    let alone = world.messages(Filter { route: Some("commercetools.set-inventory".into()), ..Filter::default() }).await;
    assert!(alone.is_empty());
    quiet(&world).await;
}
