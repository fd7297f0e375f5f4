//! Stories of runs over the catalogue: many products, page by page, commercetools to Fluent.

use std::collections::BTreeMap;
use std::time::Duration;

use fluent_connector::queue::Range;
use fluent_connector::simulator::commercetools::{category, product, variant};
use fluent_connector::simulator::{Fault, Rule};
use fluent_connector::store::Filter;

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
        let id = product(&key(number), "", &[], vec![])["id"].as_str().unwrap().to_owned();
        world.commercetools.edit("products", &id, |product| {
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
    let queue = &world.daemons[0].queue;
    let job = queue.routes.find("job.product-sync").unwrap();
    queue.run_job("main", job, Some(Range { from: 0, to: None }), "story").await.unwrap();
    world.settle().await;
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
