//! Stories of runs over the catalogue: many products, page by page, commercetools to Fluent.

use std::collections::BTreeMap;
use std::time::Duration;

use fluent_connector::queue::Range;
use fluent_connector::simulator::commercetools::{category, product, variant};
use fluent_connector::simulator::{Fault, Rule};
use fluent_connector::store::{Filter, Urgency};

use crate::database::Engine;
use crate::on_both_databases;
use crate::world::{Settings, World};

on_both_databases! {
    the_first_run_brings_all_products,
    a_change_is_the_only_thing_written,
    an_alias_that_fails_concerns_nobody_else,
    a_request_whose_answer_was_lost_is_looked_for,
    a_run_that_is_cut_goes_on_and_writes_each_product_once,
    what_cannot_be_sent_stops_nobody,
    categories_come_parents_first,
    what_is_gone_unheard_of_is_deactivated,
    too_much_that_is_gone_waits_for_a_person,
}

const MINUTE: Duration = Duration::from_secs(60);
/// More than two pages.
const MANY: usize = 1_100;

async fn the_first_run_brings_all_products(engine: Engine) {
    let Some(world) = shop(engine, MANY).await else { return };
    world.pass(16 * MINUTE, MINUTE).await;
    each_once(&world, MANY);
    // Two variants a product, in requests of twenty.
    let (standards, variants) = (requests(&world, "CreateStandardProducts"), requests(&world, "CreateVariantProducts"));
    assert_eq!((standards, variants), (25 + 25 + 5, 50 + 50 + 10));
    assert!(singles(&world).await.is_empty(), "records leave no messages");

    let before = world.fluent.front().ledger().len();
    again(&world).await;
    assert_eq!(world.fluent.front().ledger().len(), before, "nothing changed, so nothing is written");
    assert!(singles(&world).await.is_empty());
    quiet(&world).await;
}

async fn a_change_is_the_only_thing_written(engine: Engine) {
    let Some(world) = shop(engine, 60).await else { return };
    world.pass(16 * MINUTE, MINUTE).await;
    each_once(&world, 60);
    for number in [7, 8] {
        world.commercetools.edit("products", &id(number), |product| {
            product["masterData"]["current"]["variants"][0]["prices"][0]["value"]["centAmount"] = 1_234.into();
        });
    }
    let before = world.fluent.front().ledger().len();
    world.pass(16 * MINUTE, MINUTE).await;
    let ledger = world.fluent.front().ledger();
    let mut written: Vec<String> =
        ledger[before..].iter().map(|effect| format!("{} {}", effect.operation, effect.reference)).collect();
    written.sort();
    assert_eq!(written, ["updateVariantProduct P-0007-L", "updateVariantProduct P-0008-L"]);
    assert_eq!(requests(&world, "UpdateVariantProducts"), 1, "both in one request");
    quiet(&world).await;
}

async fn an_alias_that_fails_concerns_nobody_else(engine: Engine) {
    let Some(world) = shop(engine, 40).await else { return };
    for operation in ["CreateStandardProducts", "CreateVariantProducts"] {
        fault(&world, Fault::FailedAlias, operation, 1);
    }
    world.pass(16 * MINUTE, MINUTE).await;
    let alone = singles(&world).await;
    assert_eq!(alone.len(), 2, "one alias of each request: {alone:?}");
    world.pass(10 * MINUTE, MINUTE).await;
    each_once(&world, 40);
    quiet(&world).await;
}

async fn a_request_whose_answer_was_lost_is_looked_for(engine: Engine) {
    let Some(world) = shop(engine, 40).await else { return };
    for operation in ["CreateStandardProducts", "CreateVariantProducts"] {
        fault(&world, Fault::LostAnswer, operation, 1);
    }
    world.pass(40 * MINUTE, MINUTE).await;
    each_once(&world, 40);
    assert!(requests(&world, "ProductsByRef") > 0, "they were looked for");
    quiet(&world).await;
}

async fn a_run_that_is_cut_goes_on_and_writes_each_product_once(engine: Engine) {
    let Some(mut world) = shop(engine, MANY).await else { return };
    let life = world.make_mortal(0).await;
    world.tick(16 * MINUTE);
    let ledger = || world.fluent.front().ledger().len();
    crate::settle::eventually("some of it is written", async || ledger() > 600).await;
    let config = world.kill(0, life);
    let daemon = world.start_again(config).await;
    world.daemons.push(daemon);
    world.pass(60 * MINUTE, MINUTE).await;
    each_once(&world, MANY);
    quiet(&world).await;
}

async fn what_cannot_be_sent_stops_nobody(engine: Engine) {
    let Some(world) = shop(engine, 30).await else { return };
    let mut nameless = variant("", 100);
    nameless.as_object_mut().unwrap().remove("sku");
    world.commercetools.put("products", product("nameless", "Nameless", &[], vec![nameless]));
    // The catalogue of another one already has this SKU.
    world.commercetools.put("products", product("P-0003-M", "Clash", &[], vec![variant("CLASH", 100)]));
    world.pass(30 * MINUTE, MINUTE).await;
    let mut parked: Vec<String> = world.parked().await.into_iter().filter_map(|row| row.detail).collect();
    parked.sort();
    assert_eq!(
        parked,
        [
            "Product nameless has no variant with a SKU.",
            "The key P-0003-M is also a SKU. Change the product key, then retry."
        ]
    );
    each_once(&world, 30);
    world.nothing_lost().await;
}

async fn categories_come_parents_first(engine: Engine) {
    let Some(world) = World::with(engine, Settings { without_push: true, ..Settings::default() }).await else { return };
    // Children before their parents, and more of them than one request takes.
    for number in 0..30 {
        let document = category(&format!("c-{number:02}"), "Child", Some(&format!("p-{}", number % 3)));
        world.commercetools.put("categories", document);
    }
    for number in 0..3 {
        world.commercetools.put("categories", category(&format!("p-{number}"), "Parent", None));
    }
    world.pass(16 * MINUTE, MINUTE).await;
    let made: Vec<String> = world
        .fluent
        .front()
        .ledger()
        .into_iter()
        .filter(|effect| effect.operation == "createCategory")
        .map(|effect| effect.reference)
        .collect();
    assert_eq!(made.len(), 33, "each once: {made:?}");
    assert!(made[..3].iter().all(|name| name.starts_with("p-")), "{made:?}");
    assert_eq!(requests(&world, "CreateCategories"), 3, "one for the parents, two for the children");
    let child = world.fluent.categories().into_iter().find(|category| category["ref"] == "c-04").unwrap();
    assert_eq!(child["parentCategory"]["ref"], "p-1");
    quiet(&world).await;
}

async fn what_is_gone_unheard_of_is_deactivated(engine: Engine) {
    let Some(world) = shop(engine, 20).await else { return };
    world.pass(16 * MINUTE, MINUTE).await;
    job(&world, "job.product-removal-sync", None).await;
    for number in [3, 4] {
        assert!(world.commercetools.delete("products", &id(number)));
    }
    assert_eq!(inactive(&world), 0);
    job(&world, "job.product-removal-sync", None).await;
    assert_eq!(inactive(&world), 6, "two products with two variants each");
    let before = world.fluent.front().ledger().len();
    job(&world, "job.product-removal-sync", None).await;
    assert_eq!(world.fluent.front().ledger().len(), before, "once is enough");
    quiet(&world).await;
}

async fn too_much_that_is_gone_waits_for_a_person(engine: Engine) {
    let Some(world) = shop(engine, 60).await else { return };
    world.pass(16 * MINUTE, MINUTE).await;
    job(&world, "job.product-removal-sync", None).await;
    for number in 0..51 {
        assert!(world.commercetools.delete("products", &id(number)));
    }
    job(&world, "job.product-removal-sync", None).await;
    let waiting = world.newest("job.product-removal-sync").await;
    let sentence = "The sweep would deactivate 51 products (85 %). Approve it or correct the scope.";
    assert_eq!((waiting.state.as_str(), waiting.detail.as_deref()), ("waiting", Some(sentence)));
    assert_eq!(inactive(&world), 0);

    let store = world.daemons[0].app.store();
    let run = store.read().await.unwrap().open_run("main", "product-removal-sync").await.unwrap().unwrap().id;
    let approved = store.write(Urgency::Bulk, move |tx| {
        Box::pin(async move { tx.approve_run(run, "a person", "we closed a shop").await })
    });
    assert!(approved.await.unwrap());
    world.settle().await;
    world.pass(MINUTE, MINUTE).await;
    assert_eq!(inactive(&world), 51 * 3);
    quiet(&world).await;
}

fn id(number: usize) -> String {
    product(&key(number), "", &[], vec![])["id"].as_str().unwrap().to_owned()
}

/// How many products of Fluent are out of use.
fn inactive(world: &World) -> usize {
    world.fluent.products().iter().filter(|product| product["status"] == "INACTIVE").count()
}

async fn job(world: &World, name: &str, range: Option<Range>) {
    let queue = &world.daemons[0].queue;
    let job = queue.routes.find(name).unwrap();
    queue.run_job("main", job, range, "story").await.unwrap();
    world.settle().await;
}

/// A shop with so many products of two variants each, that nobody told us of.
async fn shop(engine: Engine, count: usize) -> Option<World> {
    let world = World::with(engine, Settings { without_push: true, ..Settings::default() }).await?;
    world.commercetools.put("categories", category("women", "Women", None));
    for number in 0..count {
        let key = key(number);
        let variants = ["M", "L"].map(|size| variant(&format!("{key}-{size}"), 2_999));
        world.commercetools.put("products", product(&key, "Shirt", &[], variants.to_vec()));
    }
    Some(world)
}

fn key(number: usize) -> String {
    format!("P-{number:04}")
}

/// A run over all there is.
async fn again(world: &World) {
    job(world, "job.product-sync", Some(Range { from: 0, to: None })).await;
}

/// By Fluent's own ledger: each product and each variant was created once.
#[track_caller]
fn each_once(world: &World, count: usize) {
    let mut made: BTreeMap<String, usize> = BTreeMap::new();
    for effect in world.fluent.front().ledger() {
        if effect.operation.starts_with("create") && effect.reference.starts_with("P-") {
            *made.entry(effect.reference).or_default() += 1;
        }
    }
    let wanted = (0..count).flat_map(|number| {
        let key = key(number);
        [(key.clone(), 1), (format!("{key}-L"), 1), (format!("{key}-M"), 1)]
    });
    assert_eq!(made, wanted.collect());
}

fn requests(world: &World, operation: &str) -> usize {
    world.fluent_requests(operation).len()
}

fn fault(world: &World, fault: Fault, operation: &str, times: u32) {
    let rule = Rule { fault, operation: Some(operation.into()), times: Some(times), rate: 1.0 };
    world.fluent.front().fault(rule);
}

/// Keys of messages that looked at a product by itself.
async fn singles(world: &World) -> Vec<String> {
    let filter = Filter { route: Some("commercetools.product-changed".into()), ..Filter::default() };
    world.messages(filter).await.into_iter().map(|row| row.key).collect()
}

async fn quiet(world: &World) {
    let parked = world.parked().await;
    assert!(parked.is_empty(), "{parked:#?}");
    world.nothing_lost().await;
}
