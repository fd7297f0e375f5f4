//! Stories of locations: Fluent to the channels of commercetools (F 3).

use std::time::Duration;

use fluent_connector::simulator::{Fault, Rule};
use fluent_connector::store::{Filter, Urgency};
use serde_json::{Value, json};

use crate::caller::Request;
use crate::database::Engine;
use crate::on_both_databases;
use crate::world::{Settings, World};

on_both_databases! {
    the_first_run_brings_all_locations,
    a_changed_location_is_found_by_the_poll,
    a_webhook_is_followed_at_once,
    what_is_outside_the_networks_is_left_alone,
    a_closed_location_is_marked,
    a_closed_location_loses_roles_where_that_is_wanted,
    a_location_that_is_gone_is_marked_and_comes_back,
    too_many_missing_locations_wait_for_an_approval,
    absence_does_not_count_where_the_scope_changed,
    a_channel_of_somebody_else_is_adopted,
    a_channel_of_somebody_else_is_left_alone_where_that_is_wanted,
    a_create_whose_answer_was_lost_makes_one_channel,
    an_update_whose_answer_was_lost_is_not_repeated,
    two_locations_never_share_a_channel,
    a_location_without_ref_is_told_and_holds_nothing_up,
    a_walk_that_was_cut_goes_on_where_it_was,
}

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn networks() -> Settings {
    with("networks: [BASE_5]")
}

fn with(location: &str) -> Settings {
    Settings { connection: format!("    location: {{ {location} }}"), ..Settings::default() }
}

/// A world whose Fluent has these locations from the start.
async fn world(engine: Engine, settings: Settings, locations: &[&str]) -> Option<World> {
    let world = World::with(engine, settings).await?;
    for reference in locations {
        world.fluent.add_location(reference, &["BASE_5"], json!({}));
    }
    // The daemon has looked before there was anything.
    world.advance(6 * MINUTE).await;
    Some(world)
}

fn channel(world: &World, key: &str) -> Option<Value> {
    world.commercetools.documents("channels").into_iter().find(|channel| channel["key"] == key)
}

fn status(world: &World, key: &str) -> Value {
    channel(world, key).unwrap()["custom"]["fields"]["flStatus"].clone()
}

/// Our writes of channels, in order.
fn writes(world: &World) -> Vec<String> {
    let ledger = world.commercetools.front().ledger();
    let ours = ledger.into_iter().filter(|effect| effect.entity == "channel" && effect.changed);
    ours.map(|effect| format!("{} {}", effect.operation, effect.reference)).collect()
}

async fn full_sync(world: &World) {
    let queue = &world.daemons[0].queue;
    let job = queue.routes.find("job.location-full-sync").unwrap();
    queue.run_job("main", job, None, "story").await.unwrap();
    world.settle().await;
}

async fn quiet(world: &World) {
    let parked = world.parked().await;
    assert!(parked.is_empty(), "{parked:#?}");
    world.nothing_lost().await;
}

async fn the_first_run_brings_all_locations(engine: Engine) {
    let names: Vec<String> = (0..120).map(|n| format!("STORE_{n:03}")).collect();
    let refs: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut settings = networks();
    settings.connection = "    location: { enabled: false }".into();
    let Some(mut world) = world(engine, settings, &refs).await else { return };
    assert!(writes(&world).is_empty(), "switched off");
    world.set(networks());
    world.restart().await;
    assert_eq!(writes(&world).len(), 120);
    let first = channel(&world, "STORE_000").unwrap();
    assert_eq!(first["roles"], json!(["InventorySupply", "ProductDistribution"]));
    assert_eq!(first["address"]["streetName"], "1 George St");
    assert_eq!(first["custom"]["fields"]["flStatus"], "ACTIVE");
    assert_eq!(world.fluent_requests("AllLocations").len(), 3, "fifty at a time");
    world.pass(12 * MINUTE, MINUTE).await;
    assert_eq!(writes(&world).len(), 120, "nothing changed since");
    quiet(&world).await;
}

async fn a_changed_location_is_found_by_the_poll(engine: Engine) {
    let mut settings = networks();
    settings.without_webhooks = true;
    let Some(world) = world(engine, settings, &["STORE_A", "STORE_B"]).await else { return };
    assert!(channel(&world, "STORE_A").is_some(), "found by the delta, though it came after the first walk");
    let before = writes(&world).len();
    world.fluent.edit_location("STORE_A", json!({"name": "Sydney Central"}));
    world.pass(6 * MINUTE, MINUTE).await;
    assert_eq!(channel(&world, "STORE_A").unwrap()["name"], json!({"en": "Sydney Central"}));
    assert_eq!(writes(&world)[before..], ["POST /channels/{id} STORE_A"]);
    world.pass(20 * MINUTE, MINUTE).await;
    assert_eq!(writes(&world).len(), before + 1, "windows overlap, and nothing is written twice");
    quiet(&world).await;
}

async fn a_webhook_is_followed_at_once(engine: Engine) {
    let Some(world) = world(engine, networks(), &["STORE_A"]).await else { return };
    world.fluent.edit_location("STORE_A", json!({"name": "Now"}));
    world.settle().await;
    assert_eq!(channel(&world, "STORE_A").unwrap()["name"], json!({"en": "Now"}));
    // Names of other languages, and what others keep in the address, stay.
    let id = channel(&world, "STORE_A").unwrap()["id"].as_str().unwrap().to_owned();
    world.commercetools.edit("channels", &id, |channel| {
        channel["name"]["de"] = "Jetzt".into();
        channel["address"]["additionalAddressInfo"] = "2nd floor".into();
    });
    world.fluent.edit_location(
        "STORE_A",
        json!({"name": "Later", "primaryAddress": {
        "__typename": "StoreAddress", "id": "1", "street": "2 George St", "city": "Sydney", "country": "Australia"}}),
    );
    world.settle().await;
    let now = channel(&world, "STORE_A").unwrap();
    assert_eq!(now["name"], json!({"de": "Jetzt", "en": "Later"}));
    assert_eq!(
        (&now["address"]["additionalAddressInfo"], &now["address"]["email"]),
        (&json!("2nd floor"), &json!("sydney@acme.example"))
    );
    assert_eq!((&now["address"]["streetName"], now["address"].get("postalCode")), (&json!("2 George St"), None));
    quiet(&world).await;
}

async fn what_is_outside_the_networks_is_left_alone(engine: Engine) {
    let Some(world) = world(engine, networks(), &[]).await else { return };
    world.fluent.add_location("STORE_NZ", &["BASE_NZ"], json!({}));
    world.fluent.add_location("STORE_NEW", &["BASE_5"], json!({"status": "CREATED"}));
    world.fluent.edit_location("STORE_NZ", json!({"name": "Auckland"}));
    world.pass(12 * MINUTE, MINUTE).await;
    assert!(writes(&world).is_empty());
    let told = "location STORE_NZ belongs to none of the networks BASE_5 and was left out.";
    assert!(world.notes("location.outside_network").await.iter().any(|note| note == told));
    quiet(&world).await;
}

async fn a_closed_location_is_marked(engine: Engine) {
    let Some(world) = world(engine, networks(), &["STORE_A"]).await else { return };
    world.fluent.edit_location("STORE_A", json!({"status": "INACTIVE", "name": "Closed"}));
    world.settle().await;
    let closed = channel(&world, "STORE_A").unwrap();
    assert_eq!(closed["custom"]["fields"]["flStatus"], "INACTIVE");
    assert_eq!(
        (&closed["roles"], &closed["name"]["en"]),
        (&json!(["InventorySupply", "ProductDistribution"]), &json!("STORE_A"))
    );
    quiet(&world).await;
}

async fn a_closed_location_loses_roles_where_that_is_wanted(engine: Engine) {
    let Some(world) = world(engine, with("networks: [BASE_5], on_inactive: restrict"), &["STORE_A"]).await else {
        return;
    };
    world.fluent.edit_location("STORE_A", json!({"status": "INACTIVE"}));
    world.settle().await;
    assert_eq!(channel(&world, "STORE_A").unwrap()["roles"], json!(["InventorySupply"]));
    world.fluent.edit_location("STORE_A", json!({"status": "ACTIVE"}));
    world.settle().await;
    assert_eq!(channel(&world, "STORE_A").unwrap()["roles"], json!(["InventorySupply", "ProductDistribution"]));
    quiet(&world).await;
}

async fn a_location_that_is_gone_is_marked_and_comes_back(engine: Engine) {
    let Some(world) = world(engine, networks(), &["STORE_A", "STORE_B", "STORE_C"]).await else { return };
    full_sync(&world).await;
    world.fluent.remove_location("STORE_A");
    world.fluent.edit_location("STORE_B", json!({"networks": ["BASE_NZ"]}));
    world.settle().await;
    assert_eq!(status(&world, "STORE_B"), "INACTIVE", "the webhook told that it left");
    full_sync(&world).await;
    assert_eq!(status(&world, "STORE_A"), "INACTIVE");
    let told = "location STORE_A was not found in the networks BASE_5 any more; Channel STORE_A is marked INACTIVE.";
    assert!(world.notes("location.disappeared").await.iter().any(|note| note == told));
    let before = writes(&world).len();
    full_sync(&world).await;
    assert_eq!(writes(&world).len(), before, "once");
    world.fluent.edit_location("STORE_B", json!({"networks": ["BASE_5"]}));
    world.settle().await;
    assert_eq!((status(&world, "STORE_B"), status(&world, "STORE_C")), (json!("ACTIVE"), json!("ACTIVE")));
    quiet(&world).await;
}

async fn too_many_missing_locations_wait_for_an_approval(engine: Engine) {
    let names: Vec<String> = (0..10).map(|n| format!("STORE_{n}")).collect();
    let refs: Vec<&str> = names.iter().map(String::as_str).collect();
    let Some(world) = world(engine, networks(), &refs).await else { return };
    full_sync(&world).await;
    let before = writes(&world).len();
    for reference in &refs[..6] {
        assert!(world.fluent.remove_location(reference));
    }
    full_sync(&world).await;
    assert_eq!(writes(&world).len(), before);
    let waiting = world.newest("job.location-full-sync").await;
    assert_eq!(waiting.state, "waiting");
    let key = waiting.wait_for.clone().unwrap();
    let run: uuid::Uuid = key.strip_prefix("approval:").unwrap().parse().unwrap();
    let told = format!(
        "6 of 10 locations are missing; nothing was deactivated. Approve run {run} or correct location.networks."
    );
    assert_eq!(waiting.detail.unwrap(), told);
    let token = world.token(&["jobs:write"]).await;
    let path = format!("/api/v1/runs/{run}/approve");
    let approve = Request::post(path, r#"{"reason": "they moved"}"#).bearer(&token);
    assert_eq!(approve.send(&world.url(0)).await.status, 200);
    world.settle().await;
    assert_eq!(writes(&world).len(), before + 6);
    assert_eq!((status(&world, "STORE_0"), status(&world, "STORE_9")), (json!("INACTIVE"), json!("ACTIVE")));
    quiet(&world).await;
}

async fn absence_does_not_count_where_the_scope_changed(engine: Engine) {
    let Some(mut world) = world(engine, networks(), &["STORE_A"]).await else { return };
    world.fluent.add_location("STORE_B", &["BASE_NZ"], json!({}));
    full_sync(&world).await;
    // What changed lately the delta sees, too.
    world.pass(30 * MINUTE, MINUTE).await;
    world.set(with("networks: [BASE_NZ]"));
    world.restart().await;
    full_sync(&world).await;
    assert_eq!(status(&world, "STORE_A"), "ACTIVE", "it was looked for elsewhere");
    assert_eq!(status(&world, "STORE_B"), "ACTIVE");
    full_sync(&world).await;
    assert_eq!(status(&world, "STORE_A"), "INACTIVE", "now it was looked for twice where it is not");
    quiet(&world).await;
}

async fn a_channel_of_somebody_else_is_adopted(engine: Engine) {
    let Some(world) = world(engine, networks(), &[]).await else { return };
    let theirs = json!({"key": "STORE_A", "roles": ["Primary"], "name": {"fr": "Magasin"}});
    world.commercetools.put("channels", theirs);
    world.fluent.add_location("STORE_A", &["BASE_5"], json!({}));
    world.pass(6 * MINUTE, MINUTE).await;
    let ours = channel(&world, "STORE_A").unwrap();
    assert_eq!(ours["roles"], json!(["Primary", "InventorySupply", "ProductDistribution"]));
    assert_eq!(ours["name"], json!({"fr": "Magasin", "en": "STORE_A"}));
    let told = "Channel STORE_A existed before; it is now kept up to date from location STORE_A.";
    assert_eq!(world.notes("location.adopted").await, [told]);
    full_sync(&world).await;
    assert_eq!(world.notes("location.adopted").await.len(), 1);
    quiet(&world).await;
}

async fn a_channel_of_somebody_else_is_left_alone_where_that_is_wanted(engine: Engine) {
    let Some(world) = world(engine, with("networks: [BASE_5], adopt: false"), &[]).await else { return };
    world.commercetools.put("channels", json!({"key": "STORE_A", "roles": ["Primary"]}));
    world.fluent.add_location("STORE_A", &["BASE_5"], json!({}));
    world.fluent.add_location("STORE_B", &["BASE_5"], json!({}));
    world.pass(6 * MINUTE, MINUTE).await;
    assert_eq!(channel(&world, "STORE_A").unwrap()["roles"], json!(["Primary"]));
    assert_eq!(status(&world, "STORE_B"), "ACTIVE", "its neighbour is not affected");
    assert!(world.the_parked().await.detail.unwrap().contains("location.adopt is off"));
    world.nothing_lost().await;
}

fn lost(operation: &str) -> Rule {
    Rule { fault: Fault::LostAnswer, operation: Some(operation.into()), times: Some(1), rate: 1.0 }
}

async fn a_create_whose_answer_was_lost_makes_one_channel(engine: Engine) {
    let Some(world) = world(engine, networks(), &[]).await else { return };
    world.commercetools.front().fault(lost("POST /channels"));
    world.fluent.add_location("STORE_A", &["BASE_5"], json!({}));
    world.pass(12 * MINUTE, MINUTE).await;
    assert_eq!(writes(&world), ["POST /channels STORE_A"]);
    quiet(&world).await;
}

async fn an_update_whose_answer_was_lost_is_not_repeated(engine: Engine) {
    let Some(world) = world(engine, networks(), &["STORE_A"]).await else { return };
    let before = world.commercetools.front().received("POST /channels/{id}");
    world.commercetools.front().fault(lost("POST /channels/{id}"));
    world.fluent.edit_location("STORE_A", json!({"name": "Once"}));
    world.pass(2 * MINUTE, MINUTE).await;
    assert_eq!(channel(&world, "STORE_A").unwrap()["name"]["en"], "Once");
    assert_eq!(world.commercetools.front().received("POST /channels/{id}"), before + 1);
    quiet(&world).await;
}

async fn two_locations_never_share_a_channel(engine: Engine) {
    let Some(world) = world(engine, with("networks: [BASE_5], channel_key: \"STORE_A{ref}\""), &[]).await else {
        return;
    };
    // Both templates lead to one key only if the platform's escapes are read as plain text.
    world.fluent.add_location("B", &["BASE_5"], json!({}));
    world.pass(6 * MINUTE, MINUTE).await;
    let row = {
        let mut db = world.daemons[0].app.store().read().await.unwrap();
        db.mapping_by_fluent_ref("main", "location", "B").await.unwrap().unwrap()
    };
    assert_eq!(row.commercetools_key.as_deref(), Some("STORE_AB"));
    // Another location was paired with the key that the next one wants.
    let mut other = fluent_connector::store::Mapping::new("main", "location", "somewhere");
    other.commercetools_key = Some("STORE_AC".into());
    other.fluent_ref = Some("OLD".into());
    let store = world.daemons[0].app.store();
    store.write(Urgency::Urgent, move |tx| Box::pin(async move { tx.put_mapping(&other).await })).await.unwrap();
    world.fluent.add_location("C", &["BASE_5"], json!({}));
    world.pass(6 * MINUTE, MINUTE).await;
    let told = "Channel STORE_AC is already mapped to location OLD; location C needs another channel_key.";
    assert_eq!(world.the_parked().await.detail.unwrap(), told);
    assert!(channel(&world, "STORE_AC").is_none());
    world.nothing_lost().await;
}

async fn a_location_without_ref_is_told_and_holds_nothing_up(engine: Engine) {
    let Some(world) = world(engine, networks(), &[]).await else { return };
    let id = world.fluent.add_location("NOBODY", &["BASE_5"], json!({"ref": null}));
    world.fluent.add_location("STORE_B", &["BASE_5"], json!({}));
    world.pass(12 * MINUTE, MINUTE).await;
    assert_eq!(status(&world, "STORE_B"), "ACTIVE");
    let told = format!("A Fluent location (id {id}) has no ref, so it cannot get a Channel key.");
    assert_eq!(world.the_parked().await.detail.unwrap(), told);
    world.nothing_lost().await;
}

async fn a_walk_that_was_cut_goes_on_where_it_was(engine: Engine) {
    let names: Vec<String> = (0..120).map(|n| format!("STORE_{n:03}")).collect();
    let refs: Vec<&str> = names.iter().map(String::as_str).collect();
    let Some(mut world) = world(engine, with("enabled: false"), &refs).await else { return };
    let unavailable =
        Rule { fault: Fault::ErrorBefore(503), operation: Some("AllLocations".into()), times: None, rate: 1.0 };
    world.fluent.front().fault_after(1, unavailable);
    world.set(networks());
    world.restart().await;
    let read = world.fluent_requests("AllLocations").iter().filter(|look| look.status == 200).count();
    assert_eq!(read, 1);
    world.restart().await;
    world.fluent.front().heal();
    world.pass(10 * MINUTE, MINUTE).await;
    assert_eq!(writes(&world).len(), 120);
    let looks = world.fluent_requests("AllLocations");
    let good: Vec<&Value> =
        looks.iter().filter(|look| look.status == 200).map(|look| &look.request["variables"]["after"]).collect();
    assert_eq!(good.iter().filter(|after| after.is_null()).count(), 1, "the first page was read once");
    world.pass(DAY, 60 * MINUTE).await;
    let rows = world.messages(Filter { route: Some("job.location-full-sync".into()), ..Filter::default() }).await;
    assert!(rows.iter().all(|row| row.state == "done" || row.reason.as_deref() == Some("superseded")), "{rows:#?}");
    quiet(&world).await;
}
