//! Stories of stock: Fluent's virtual positions to the inventory entries of commercetools (F 4).

use std::collections::BTreeMap;
use std::time::Duration;

use fluent_connector::simulator::{Fault, Rule};
use fluent_connector::store::{Filter, Urgency};
use serde_json::{Value, json};

use crate::database::Engine;
use crate::on_both_databases;
use crate::world::{Settings, World};

on_both_databases! {
    the_first_run_brings_all_stock,
    a_change_is_found_and_nothing_else_is_written,
    a_webhook_is_followed_at_once,
    a_value_of_a_foreign_writer_is_corrected_by_the_full_sync,
    an_entry_of_somebody_else_is_adopted_with_its_key,
    a_position_that_is_gone_becomes_zero,
    a_position_that_is_gone_is_kept_or_deleted_where_that_is_wanted,
    too_many_missing_positions_wait_for_an_approval,
    a_bad_record_holds_its_neighbours_up_in_no_way,
    an_entry_that_is_refused_becomes_a_message_of_its_own,
    lost_answers_write_nothing_twice,
    two_positions_of_one_entry_are_told,
    stock_waits_for_the_channel_of_its_location,
    a_run_that_was_cut_goes_on_where_it_was,
    a_remote_that_is_gone_delays_the_page_only,
    the_channel_of_a_pair_is_waited_for,
}

const MINUTE: Duration = Duration::from_secs(60);
const CATALOGUE: &str = "ATS:5";
const CHANNEL: &str = "ct-fluent-channel";
const GROUP: &str = "BASE_5";

pub fn pair(more: &str) -> Settings {
    let inventory =
        format!("    inventory: {{ pairs: [{{ virtual_catalogue: \"{CATALOGUE}\", channel: {CHANNEL} }}], {more} }}");
    Settings { connection: inventory, ..Settings::default() }
}

/// A world with these positions from the start; the daemon knows of stock only once it is restarted.
pub async fn world(engine: Engine, settings: Settings, positions: &[(&str, i64)]) -> Option<World> {
    let mut world = World::new(engine).await?;
    world.commercetools.put("channels", json!({"key": CHANNEL, "roles": ["InventorySupply"]}));
    world.fluent.add_virtual_catalogue(CATALOGUE);
    for (sku, quantity) in positions {
        set(&world, sku, *quantity);
    }
    world.tick(MINUTE);
    world.set(settings);
    world.restart().await;
    Some(world)
}

pub fn set(world: &World, sku: &str, quantity: i64) {
    world.fluent.set_position(CATALOGUE, sku, GROUP, json!({"quantity": quantity}));
}

/// SKU → quantity, as commercetools has it.
pub fn entries(world: &World) -> BTreeMap<String, i64> {
    let all = world.commercetools.documents("inventory").into_iter();
    all.map(|entry| (entry["sku"].as_str().unwrap().to_owned(), entry["quantityOnStock"].as_i64().unwrap())).collect()
}

fn stock(list: &[(&str, i64)]) -> BTreeMap<String, i64> {
    list.iter().map(|(sku, quantity)| ((*sku).to_owned(), *quantity)).collect()
}

fn entry(world: &World, sku: &str) -> Value {
    world.commercetools.documents("inventory").into_iter().find(|entry| entry["sku"] == sku).unwrap()
}

/// Our writes of entries: key and quantity, in order.
pub fn writes(world: &World) -> Vec<(String, i64)> {
    let ledger = world.commercetools.front().ledger().into_iter();
    let ours = ledger.filter(|effect| effect.entity == "inventory-entry");
    ours.map(|effect| (effect.reference, effect.detail["quantityOnStock"].as_i64().unwrap())).collect()
}

pub async fn full_sync(world: &World) {
    let queue = &world.daemons[0].queue;
    let job = queue.routes.find("job.inventory-full-sync").unwrap();
    queue.run_job("main", job, None, "story").await.unwrap();
    world.settle().await;
}

pub async fn quiet(world: &World) {
    let parked = world.parked().await;
    assert!(parked.is_empty(), "{parked:#?}");
    world.nothing_lost().await;
}

pub fn many(count: usize) -> Vec<(String, i64)> {
    (0..count).map(|n| (format!("SKU-{n:04}"), n as i64 % 7)).collect()
}

pub fn borrowed(list: &[(String, i64)]) -> Vec<(&str, i64)> {
    list.iter().map(|(sku, quantity)| (sku.as_str(), *quantity)).collect()
}

async fn the_first_run_brings_all_stock(engine: Engine) {
    let all = many(1_100);
    let Some(world) = world(engine, pair(""), &borrowed(&all)).await else { return };
    assert_eq!(entries(&world), stock(&borrowed(&all)));
    assert_eq!(writes(&world).len(), 1_100, "each once");
    assert_eq!(world.fluent_requests("AllVirtualPositions").len(), 3);
    let made = entry(&world, "SKU-0001");
    assert_eq!(made["key"], "ct-fluent-channel_SKU-0001");
    world.pass(10 * MINUTE, MINUTE).await;
    assert_eq!(writes(&world).len(), 1_100);
    full_sync(&world).await;
    assert_eq!(writes(&world).len(), 1_100, "nothing differs");
    let singles =
        world.messages(Filter { route: Some("commercetools.set-inventory".into()), ..Filter::default() }).await;
    assert!(singles.is_empty(), "records leave no messages");
    quiet(&world).await;
}

async fn a_change_is_found_and_nothing_else_is_written(engine: Engine) {
    let Some(world) = world(engine, pair(""), &[("A", 5), ("B", 7), ("SHIRT RED/L", 1)]).await else { return };
    let before = writes(&world).len();
    set(&world, "A", 4);
    set(&world, "B", 7);
    world.fluent.set_position(CATALOGUE, "SHIRT RED/L", GROUP, json!({"quantity": 3, "status": "INACTIVE"}));
    set(&world, "NEW", 2);
    world.pass(3 * MINUTE, MINUTE).await;
    assert_eq!(entries(&world), stock(&[("A", 4), ("B", 7), ("NEW", 2), ("SHIRT RED/L", 0)]));
    let wrote = &writes(&world)[before..];
    assert_eq!(wrote.len(), 3, "{wrote:?}");
    assert_eq!(wrote[0], ("ct-fluent-channel_SHIRT_x20RED_x2FL".to_owned(), 0), "zero first");
    world.pass(10 * MINUTE, MINUTE).await;
    assert_eq!(writes(&world).len(), before + 3, "windows overlap, and nothing is written twice");
    quiet(&world).await;
}

async fn a_webhook_is_followed_at_once(engine: Engine) {
    let Some(world) = world(engine, pair(""), &[("A", 5)]).await else { return };
    let mut names = BTreeMap::new();
    names.insert("VIRTUAL_POSITION".to_owned(), "acme.stock.changed".to_owned());
    let url = format!("{}/api/v1/fluent-connect/webhook", world.url(0));
    world.fluent.webhook(fluent_connector::simulator::fluent::Webhook { url, names });
    set(&world, "A", 0);
    set(&world, "NEW", 9);
    world.settle().await;
    assert_eq!(entries(&world), stock(&[("A", 0), ("NEW", 9)]));
    assert_eq!(world.newest("fluent.position-updated").await.state, "done");
    let before = writes(&world).len();
    world.pass(5 * MINUTE, MINUTE).await;
    assert_eq!(writes(&world).len(), before, "the poll finds nothing new");
    quiet(&world).await;
}

async fn a_value_of_a_foreign_writer_is_corrected_by_the_full_sync(engine: Engine) {
    let Some(world) = world(engine, pair(""), &[("A", 5), ("B", 7)]).await else { return };
    let theirs = |sku: &str, quantity: i64| {
        let id = entry(&world, sku)["id"].as_str().unwrap().to_owned();
        world.commercetools.edit("inventory", &id, |entry| entry["quantityOnStock"] = quantity.into());
    };
    theirs("A", 99);
    theirs("B", 99);
    world.pass(3 * MINUTE, MINUTE).await;
    assert_eq!(entries(&world), stock(&[("A", 99), ("B", 99)]), "only what changes in Fluent is looked at");
    set(&world, "A", 4);
    world.pass(3 * MINUTE, MINUTE).await;
    assert_eq!(
        entries(&world),
        stock(&[("A", 4), ("B", 99)]),
        "a version that is not the remembered one is read again"
    );
    full_sync(&world).await;
    assert_eq!(entries(&world), stock(&[("A", 4), ("B", 7)]));
    assert_eq!(world.fluent_requests("VirtualPositionsByRef").len(), 1, "what differs is read once more");
    quiet(&world).await;
}

async fn an_entry_of_somebody_else_is_adopted_with_its_key(engine: Engine) {
    let Some(world) = world(engine, pair(""), &[]).await else { return };
    let channel = world.commercetools.documents("channels").into_iter().find(|one| one["key"] == CHANNEL).unwrap();
    let channel = json!({"typeId": "channel", "id": channel["id"]});
    for (sku, quantity) in [("THEIRS", 3), ("SAME", 5), ("FOREIGN", 8)] {
        let key = format!("erp-{sku}");
        let entry = json!({"key": key, "sku": sku, "quantityOnStock": quantity, "availableQuantity": quantity,
                           "supplyChannel": channel});
        world.commercetools.put("inventory", entry);
    }
    set(&world, "THEIRS", 4);
    set(&world, "SAME", 5);
    full_sync(&world).await;
    assert_eq!(entries(&world), stock(&[("THEIRS", 4), ("SAME", 5), ("FOREIGN", 8)]));
    assert_eq!((&entry(&world, "THEIRS")["key"], writes(&world).len()), (&json!("erp-THEIRS"), 1));
    let told = "1 entries have no position and are not ours; they were left alone.";
    assert_eq!(world.notes("inventory.foreign_entries").await, [told]);
    // From now on they are ours.
    world.fluent.remove_position(CATALOGUE, "SAME:BASE_5");
    full_sync(&world).await;
    assert_eq!(entries(&world), stock(&[("THEIRS", 4), ("SAME", 0), ("FOREIGN", 8)]));
    quiet(&world).await;
}

async fn a_position_that_is_gone_becomes_zero(engine: Engine) {
    let Some(world) = world(engine, pair(""), &[("A", 5), ("B", 7)]).await else { return };
    world.fluent.remove_position(CATALOGUE, "A:BASE_5");
    world.pass(3 * MINUTE, MINUTE).await;
    assert_eq!(entries(&world), stock(&[("A", 5), ("B", 7)]), "the delta does not see what is not there");
    full_sync(&world).await;
    assert_eq!(entries(&world), stock(&[("A", 0), ("B", 7)]));
    let told =
        "position A:BASE_5 is no longer in catalogue ATS:5; quantity 0 was written for A in Channel ct-fluent-channel.";
    assert_eq!(world.notes("inventory.disappeared").await, [told]);
    full_sync(&world).await;
    assert_eq!(world.notes("inventory.disappeared").await.len(), 1, "once");
    set(&world, "A", 6);
    world.pass(3 * MINUTE, MINUTE).await;
    assert_eq!(entries(&world), stock(&[("A", 6), ("B", 7)]), "it is back");
    quiet(&world).await;
}

async fn a_position_that_is_gone_is_kept_or_deleted_where_that_is_wanted(engine: Engine) {
    for (setting, left) in [("keep", vec![("A", 5), ("B", 7)]), ("delete", vec![("B", 7)])] {
        let settings = pair(&format!("on_disappeared: {setting}"));
        let Some(world) = world(engine, settings, &[("A", 5), ("B", 7)]).await else { return };
        world.fluent.remove_position(CATALOGUE, "A:BASE_5");
        full_sync(&world).await;
        assert_eq!(entries(&world), stock(&left), "{setting}");
        quiet(&world).await;
    }
}

async fn too_many_missing_positions_wait_for_an_approval(engine: Engine) {
    let all = many(100);
    let Some(world) = world(engine, pair(""), &borrowed(&all)).await else { return };
    full_sync(&world).await;
    let before = entries(&world);
    for (sku, _) in &all[..60] {
        world.fluent.remove_position(CATALOGUE, &format!("{sku}:{GROUP}"));
    }
    full_sync(&world).await;
    assert_eq!(entries(&world), before);
    let waiting = world.messages(Filter { state: Some("waiting".into()), ..Filter::default() }).await;
    let run: uuid::Uuid = waiting[0].wait_for.as_ref().unwrap().strip_prefix("approval:").unwrap().parse().unwrap();
    let told = format!(
        "60 of 100 positions of catalogue ATS:5 are missing; stock was not changed. Approve run {run} or correct the pair."
    );
    assert_eq!(waiting[0].detail.as_deref(), Some(told.as_str()));
    set(&world, "SKU-0099", 50);
    world.pass(3 * MINUTE, MINUTE).await;
    assert_eq!(entries(&world)["SKU-0099"], 50, "the delta goes on meanwhile");
    let store = world.daemons[0].app.store();
    let approve =
        store.write(Urgency::Urgent, move |tx| Box::pin(async move { tx.approve_run(run, "story", "sold").await }));
    assert!(approve.await.unwrap());
    world.settle().await;
    let now = entries(&world);
    assert!(all[..60].iter().all(|(sku, _)| now[sku] == 0));
    assert!(all[60..99].iter().all(|(sku, quantity)| now[sku] == *quantity));
    assert_eq!(now["SKU-0099"], 50, "an older value does not come back");
    quiet(&world).await;
}

async fn a_bad_record_holds_its_neighbours_up_in_no_way(engine: Engine) {
    let Some(world) = world(engine, pair(""), &[("A", 5)]).await else { return };
    world.fluent.set_position(CATALOGUE, "NOBODY", GROUP, json!({"productRef": null, "quantity": 3}));
    world.fluent.set_position(CATALOGUE, "MINUS", GROUP, json!({"quantity": -4}));
    world.fluent.set_position(CATALOGUE, "NONE", GROUP, json!({"quantity": null}));
    set(&world, "A", 6);
    world.pass(3 * MINUTE, MINUTE).await;
    assert_eq!(entries(&world), stock(&[("A", 6), ("MINUS", 0), ("NONE", 0)]));
    let told = "position NOBODY:BASE_5 of catalogue ATS:5 names no product.";
    assert_eq!(world.the_parked().await.detail.unwrap(), told);
    let told = "position MINUS:BASE_5 of catalogue ATS:5 has quantity -4; 0 was written to Channel ct-fluent-channel.";
    assert_eq!(world.notes("inventory.negative").await, [told]);
    let told = "position NONE:BASE_5 of catalogue ATS:5 has no quantity; 0 was written to Channel ct-fluent-channel.";
    assert_eq!(world.notes("inventory.null").await, [told]);
    world.pass(5 * MINUTE, MINUTE).await;
    assert_eq!(world.parked().await.len(), 1, "told once");
    world.nothing_lost().await;
}

async fn an_entry_that_is_refused_becomes_a_message_of_its_own(engine: Engine) {
    let Some(world) = world(engine, pair(""), &[("A", 5), ("B", 7), ("C", 9)]).await else { return };
    let refuse = |times| Rule {
        fault: Fault::ErrorBefore(400),
        operation: Some("POST /inventory/{id}".into()),
        times: Some(times),
        rate: 1.0,
    };
    world.commercetools.front().fault(refuse(1));
    for sku in ["A", "B", "C"] {
        set(&world, sku, 1);
    }
    world.pass(3 * MINUTE, MINUTE).await;
    assert_eq!(entries(&world), stock(&[("A", 1), ("B", 1), ("C", 1)]), "alone it went through");
    let alone = world.messages(Filter { route: Some("commercetools.set-inventory".into()), ..Filter::default() }).await;
    assert_eq!(alone.len(), 1);
    assert!(alone[0].key.starts_with("ct-fluent-channel:"), "{}", alone[0].key);
    quiet(&world).await;
}

async fn lost_answers_write_nothing_twice(engine: Engine) {
    let Some(world) = world(engine, pair(""), &[("A", 5)]).await else { return };
    for (operation, fault) in [
        ("POST /inventory", Fault::LostAnswer),
        ("POST /inventory/{id}", Fault::LostAnswer),
        ("POST /inventory/{id}", Fault::ErrorAfter(500)),
    ] {
        let rule = Rule { fault, operation: Some(operation.into()), times: Some(1), rate: 1.0 };
        world.commercetools.front().fault(rule);
    }
    let before = writes(&world).len();
    set(&world, "A", 4);
    set(&world, "B", 2);
    world.pass(4 * MINUTE, MINUTE).await;
    set(&world, "A", 3);
    world.pass(4 * MINUTE, MINUTE).await;
    assert_eq!(entries(&world), stock(&[("A", 3), ("B", 2)]));
    assert_eq!(world.commercetools.front().armed(), 0);
    assert_eq!(writes(&world).len(), before + 3, "{:?}", writes(&world));
    quiet(&world).await;
}

async fn two_positions_of_one_entry_are_told(engine: Engine) {
    let Some(world) = world(engine, pair(""), &[("A", 5), ("B", 7)]).await else { return };
    world.fluent.set_position(CATALOGUE, "A2", "OTHER", json!({"productRef": "A", "quantity": 50}));
    world.pass(3 * MINUTE, MINUTE).await;
    assert_eq!(entries(&world), stock(&[("A", 5), ("B", 7)]), "who has it keeps it");
    let told = "positions A:BASE_5 and A2:OTHER both give stock of A in Channel ct-fluent-channel; set groups or combine: sum for this pair.";
    assert_eq!(world.the_parked().await.detail.unwrap(), told);
    let parked = world.the_parked().await;
    world.fluent.remove_position(CATALOGUE, "A:BASE_5");
    world.retry(&parked).await;
    assert_eq!(entries(&world), stock(&[("A", 50), ("B", 7)]), "the other one is gone");
    quiet(&world).await;
}

async fn stock_waits_for_the_channel_of_its_location(engine: Engine) {
    let settings = Settings {
        connection: "    inventory: { pairs: [{ virtual_catalogue: \"ATS:5\", channel_from: group_ref }] }\n    location: { networks: [BASE_5] }".into(),
        ..Settings::default()
    };
    let Some(world) = world(engine, settings, &[]).await else { return };
    world.fluent.set_position(CATALOGUE, "A", "STORE 1", json!({"quantity": 4}));
    world.fluent.set_position(CATALOGUE, "A", "STORE 2", json!({"quantity": 5}));
    world.pass(3 * MINUTE, MINUTE).await;
    assert!(entries(&world).is_empty());
    let waiting = world.messages(Filter { state: Some("waiting".into()), ..Filter::default() }).await;
    assert_eq!(waiting.len(), 2);
    let sentences: Vec<&str> = waiting.iter().filter_map(|row| row.detail.as_deref()).collect();
    assert!(
        sentences.contains(&"Channel STORE 1 does not exist in commercetools; create it or run provision."),
        "{sentences:?}"
    );
    world.fluent.add_location("STORE 1", &["BASE_5"], json!({}));
    world.fluent.add_location("STORE 2", &["BASE_5"], json!({}));
    world.pass(6 * MINUTE, MINUTE).await;
    let mut keys: Vec<(String, i64)> = world
        .commercetools
        .documents("inventory")
        .iter()
        .map(|entry| (entry["key"].as_str().unwrap().to_owned(), entry["quantityOnStock"].as_i64().unwrap()))
        .collect();
    keys.sort();
    assert_eq!(keys, [("STORE_x201_A_".to_owned(), 4), ("STORE_x202_A_".to_owned(), 5)]);
    world.fluent.set_position(CATALOGUE, "A", "STORE 1", json!({"quantity": 0}));
    full_sync(&world).await;
    world.fluent.remove_position(CATALOGUE, "A:STORE 2");
    full_sync(&world).await;
    assert!(world.commercetools.documents("inventory").iter().all(|entry| entry["quantityOnStock"] == 0));
    quiet(&world).await;
}

async fn a_run_that_was_cut_goes_on_where_it_was(engine: Engine) {
    let all = many(1_800);
    // Cut while the positions are read, and again while entries are written.
    let Some(mut world) = world(engine, pair("enabled: false"), &borrowed(&all)).await else { return };
    let gone =
        |operation: &str| Rule { fault: Fault::Reset, operation: Some(operation.into()), times: None, rate: 1.0 };
    world.fluent.front().fault_after(2, gone("AllVirtualPositions"));
    world.set(pair(""));
    world.restart().await;
    assert!(entries(&world).is_empty());
    world.restart().await;
    world.commercetools.front().fault_after(700, gone("POST /inventory"));
    world.fluent.front().heal();
    world.pass(3 * MINUTE, MINUTE).await;
    let half = entries(&world).len();
    assert!((1..1_800).contains(&half), "{half}");
    world.restart().await;
    world.commercetools.front().heal();
    world.pass(40 * MINUTE, 5 * MINUTE).await;
    assert_eq!(entries(&world), stock(&borrowed(&all)));
    assert_eq!(writes(&world).len(), 1_800, "each once");
    let good = world.fluent_requests("AllVirtualPositions").into_iter().filter(|look| look.status == 200).count();
    assert_eq!(good, 4, "no page was read twice");
    quiet(&world).await;
}

async fn a_remote_that_is_gone_delays_the_page_only(engine: Engine) {
    let Some(world) = world(engine, pair(""), &[("A", 5), ("B", 7)]).await else { return };
    world.commercetools.front().down(true);
    set(&world, "A", 1);
    set(&world, "B", 0);
    world.pass(5 * MINUTE, MINUTE).await;
    world.commercetools.front().down(false);
    world.pass(30 * MINUTE, 5 * MINUTE).await;
    assert_eq!(entries(&world), stock(&[("A", 1), ("B", 0)]));
    let alone = world.messages(Filter { route: Some("commercetools.set-inventory".into()), ..Filter::default() }).await;
    assert!(alone.is_empty(), "{alone:#?}");
    quiet(&world).await;
}

async fn the_channel_of_a_pair_is_waited_for(engine: Engine) {
    let mut settings = pair("");
    settings.connection = settings.connection.replace(CHANNEL, "not-yet");
    let Some(world) = world(engine, settings, &[("A", 5)]).await else { return };
    let told = "Channel not-yet does not exist in commercetools; create it or run provision.";
    assert_eq!(world.newest("job.inventory-sync").await.detail.unwrap(), told);
    world.commercetools.put("channels", json!({"key": "not-yet", "roles": ["InventorySupply"]}));
    world.pass(10 * MINUTE, MINUTE).await;
    assert_eq!(entries(&world), stock(&[("A", 5)]));
    quiet(&world).await;
}
