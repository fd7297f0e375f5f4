//! Stories of categories and products: commercetools to Fluent.

use std::time::Duration;

use fluent_connector::simulator::commercetools::{category, product, variant};
use fluent_connector::simulator::{Fault, Rule};
use fluent_connector::store::{Filter, Mapping};
use serde_json::{Value, json};

use crate::database::Engine;
use crate::on_both_databases;
use crate::world::look::attribute;
use crate::world::{Settings, World};

on_both_databases! {
    a_catalogue_reaches_fluent,
    a_change_is_sent_and_nothing_else,
    what_concerns_only_stock_writes_nothing,
    what_no_notification_told_is_found_by_the_poll,
    a_child_waits_for_its_parent,
    a_notification_that_comes_twice_has_one_effect,
    a_create_whose_answer_was_lost_is_taken_over,
    what_another_system_created_is_taken_over,
    a_ref_of_somebody_else_parks_what_wants_it,
    an_unpublished_product_is_deactivated_and_comes_back,
    what_is_deleted_is_deactivated,
    a_variant_that_leaves_is_deactivated,
    a_sku_moves_to_another_product,
    a_product_does_not_wait_for_a_category_for_long,
    a_price_begins_at_its_time,
    a_variant_without_sku_is_told_once,
    a_standalone_price_reaches_its_variant,
    a_catalogue_that_does_not_exist_is_named,
}

const MINUTE: Duration = Duration::from_secs(60);

async fn a_catalogue_reaches_fluent(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    world.commercetools.put("categories", category("women", "Women", None));
    world.commercetools.put("categories", category("shirts", "Shirts", Some("women")));
    let id = put_shirt(&world, "shirt", &["shirts"], &["SHIRT-M", "SHIRT-L"]);
    world.settle().await;

    let shirts = fluent_category(&world, "shirts");
    assert_eq!((&shirts["name"], &shirts["parentCategory"]["ref"]), (&json!("Shirts"), &json!("women")));
    let standard = fluent_product(&world, "shirt");
    assert_eq!((&standard["type"], &standard["categories"][0]["ref"]), (&json!("STANDARD"), &json!("shirts")));
    assert_eq!(attribute(&standard, "commercetoolsId"), Some(&json!(id)));
    for sku in ["SHIRT-M", "SHIRT-L"] {
        let variant = fluent_product(&world, sku);
        assert_eq!((&variant["type"], &variant["product"]["ref"]), (&json!("VARIANT"), &json!("shirt")));
        assert_eq!(variant["prices"], json!([{"type": "DEFAULT", "currency": "EUR", "value": 29.99}]));
    }
    assert_eq!(
        writes(&world),
        ["createCategory", "createCategory", "createStandardProduct"]
            .map(str::to_owned)
            .into_iter()
            .chain(["createVariantProduct", "createVariantProduct"].map(str::to_owned))
            .collect::<Vec<_>>()
    );
    quiet(&world).await;
}

async fn a_change_is_sent_and_nothing_else(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    world.commercetools.put("categories", category("women", "Women", None));
    let id = put_shirt(&world, "shirt", &["women"], &["SHIRT-M", "SHIRT-L"]);
    world.settle().await;
    let before = writes(&world).len();
    publish(&world, &id, |current| current["variants"][0]["prices"][0]["value"]["centAmount"] = 1_999.into());
    world.settle().await;
    assert_eq!(writes(&world)[before..], ["updateVariantProduct"]);
    assert_eq!(fluent_product(&world, "SHIRT-L")["prices"][0]["value"], json!(19.99));

    let women = category_id("women");
    world.commercetools.edit("categories", &women, |category| category["name"]["en-GB"] = "Ladies".into());
    world.settle().await;
    assert_eq!(fluent_category(&world, "women")["name"], "Ladies");
    world.commercetools.edit("categories", &women, |category| category["key"] = "ladies".into());
    world.settle().await;
    assert_eq!(fluent_category(&world, "women")["name"], "Ladies", "a ref never changes");
    assert_eq!(world.fluent.categories().len(), 1);

    publish(&world, &id, |current| current["categories"] = json!([]));
    world.settle().await;
    assert_eq!(fluent_product(&world, "shirt")["categories"], json!([]), "updates only add, so it was unlinked");
    assert_eq!(fluent_product(&world, "SHIRT-M")["categories"], json!([]));
    quiet(&world).await;
}

async fn what_concerns_only_stock_writes_nothing(engine: Engine) {
    let connection = "    product: { accept_change_notifications: true }".to_owned();
    let Some(world) = World::with(engine, Settings { connection, ..Settings::default() }).await else { return };
    let id = put_shirt(&world, "shirt", &[], &["SHIRT-M"]);
    world.settle().await;
    let before = writes(&world);
    let stocked = world.commercetools.edit("products", &id, |product| {
        product["masterData"]["current"]["masterVariant"]["availability"] = json!({"availableQuantity": 7});
    });
    let version = stocked.unwrap()["version"].as_i64().unwrap();
    let change = json!({"notificationType": "ResourceUpdated", "projectKey": "demo-project", "version": version,
                        "resource": {"typeId": "product", "id": id}});
    assert_eq!(world.commercetools.deliver(&change).await, [202]);
    world.settle().await;
    let newest = world.newest("commercetools.product-changed").await;
    assert_eq!((newest.state.as_str(), newest.reason.as_deref()), ("done", Some("unchanged")));
    assert_eq!(mapping(&world, "product", &id).await.unwrap().commercetools_version, version);
    world.pass(20 * MINUTE, 5 * MINUTE).await;
    assert_eq!(writes(&world), before);
    quiet(&world).await;
}

async fn what_no_notification_told_is_found_by_the_poll(engine: Engine) {
    let settings = Settings { without_push: true, ..Settings::default() };
    let Some(world) = World::with(engine, settings).await else { return };
    put_shirt(&world, "shirt", &["shirts"], &["SHIRT-M"]);
    world.commercetools.put("categories", category("shirts", "Shirts", Some("women")));
    world.commercetools.put("categories", category("women", "Women", None));
    // The walk comes after 15 minutes; what waits for another row looks again every five.
    world.pass(30 * MINUTE, MINUTE).await;
    assert_eq!(fluent_category(&world, "shirts")["parentCategory"]["ref"], "women");
    assert_eq!(fluent_product(&world, "shirt")["categories"][0]["ref"], "shirts");
    assert_eq!(writes(&world).len(), 4, "each of them once: {:?}", writes(&world));
    world
        .commercetools
        .edit("categories", &category_id("women"), |category| category["name"]["en-GB"] = "Ladies".into());
    world.pass(20 * MINUTE, MINUTE).await;
    assert_eq!(fluent_category(&world, "women")["name"], "Ladies");
    quiet(&world).await;
}

async fn a_child_waits_for_its_parent(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    world.commercetools.put("categories", category("shirts", "Shirts", Some("women")));
    world.settle().await;
    assert!(world.fluent.categories().is_empty());
    let women = category_id("women");
    let child = world.newest("fluent.upsert-category").await;
    assert_eq!((child.state.as_str(), child.wait_for), ("waiting", Some(format!("category:{women}"))));
    assert_eq!(child.detail.unwrap(), format!("Waiting for the parent category {women}."));

    world.commercetools.put("categories", category("women", "Women", None));
    world.settle().await;
    assert_eq!(fluent_category(&world, "shirts")["parentCategory"]["ref"], "women");
    world.pass(15 * MINUTE, MINUTE).await;
    quiet(&world).await;
}

async fn a_notification_that_comes_twice_has_one_effect(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    world.commercetools.put("categories", category("women", "Women", None));
    let id = put_shirt(&world, "shirt", &["women"], &["SHIRT-M"]);
    publish(&world, &id, |current| current["name"]["en-GB"] = "Better shirt".into());
    world.settle().await;
    let before = writes(&world);
    let mut told = world.commercetools.notifications();
    assert!(told.len() >= 5, "{}", told.len());
    told.reverse();
    for notification in &told {
        world.commercetools.deliver(notification).await;
    }
    // One that nobody had before, about an older version.
    let late = json!({"notificationType": "Message", "projectKey": "demo-project", "id": "late", "version": 1,
                      "sequenceNumber": 77, "resource": {"typeId": "product", "id": id}, "resourceVersion": 1,
                      "type": "ProductUnpublished"});
    assert_eq!(world.commercetools.deliver(&late).await, [202]);
    world.settle().await;
    assert_eq!(writes(&world), before);
    assert_eq!(
        world.newest("commercetools.product-unpublished").await.detail.unwrap(),
        "product shirt is published all the same"
    );
    quiet(&world).await;
}

async fn a_create_whose_answer_was_lost_is_taken_over(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    for operation in ["CreateCategory", "CreateStandardProduct", "CreateVariantProduct"] {
        let fault = Rule { fault: Fault::LostAnswer, operation: Some(operation.into()), times: Some(1), rate: 1.0 };
        world.fluent.front().fault(fault);
    }
    world.commercetools.put("categories", category("women", "Women", None));
    put_shirt(&world, "shirt", &["women"], &["SHIRT-M", "SHIRT-L"]);
    world.settle().await;
    world.pass(30 * MINUTE, MINUTE).await;
    for (operation, times) in [("createCategory", 1), ("createStandardProduct", 1), ("createVariantProduct", 2)] {
        assert_eq!(writes(&world).iter().filter(|name| *name == operation).count(), times, "{operation}");
    }
    assert_eq!(world.fluent_requests("CreateCategory").len(), 1, "it was looked for first");
    let adopted = world.messages(Filter { route: Some("fluent.upsert-category".into()), ..Filter::default() }).await;
    assert_eq!(adopted[0].reason.as_deref(), Some("adopted"));
    fluent_product(&world, "SHIRT-L");
    quiet(&world).await;
}

async fn what_another_system_created_is_taken_over(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    add_category(&world, "women", json!([]));
    world.fluent.add_product("SHIRT-M");
    world.commercetools.put("categories", category("women", "Women", None));
    put_shirt(&world, "shirt", &["women"], &["SHIRT-M"]);
    world.settle().await;
    assert_eq!(attribute(&fluent_category(&world, "women"), "commercetoolsId"), Some(&json!(category_id("women"))));
    let variant = fluent_product(&world, "SHIRT-M");
    assert_eq!((&variant["name"], &variant["product"]["ref"]), (&json!("Shirt"), &json!("shirt")));
    assert!(!writes(&world).contains(&"createVariantProduct".to_owned()));
    quiet(&world).await;
}

async fn a_ref_of_somebody_else_parks_what_wants_it(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    add_category(&world, "women", json!([{"name": "commercetoolsId", "type": "STRING", "value": "another"}]));
    world.commercetools.put("categories", category("women", "Women", None));
    world.settle().await;
    let parked = world.the_parked().await;
    assert_eq!(
        parked.detail.as_deref(),
        Some(
            "Fluent already has a category women that belongs to another commercetools category. Rename one of the keys, \
             then retry."
        )
    );
    world.commercetools.put("products", product("trousers", "Trousers", &[], vec![variant("TROUSERS-M", 100)]));
    world.settle().await;
    world.commercetools.put("products", product("TROUSERS-M", "Other", &[], vec![variant("OTHER-M", 100)]));
    world.settle().await;
    let sentence = world.newest("commercetools.product-changed").await.detail.unwrap();
    assert_eq!(sentence, "The key TROUSERS-M is also a SKU. Change the product key, then retry.");
    world.nothing_lost().await;
}

async fn an_unpublished_product_is_deactivated_and_comes_back(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    let id = put_shirt(&world, "shirt", &[], &["SHIRT-M", "SHIRT-L"]);
    world.settle().await;
    let before = writes(&world).len();
    world.commercetools.edit("products", &id, |product| product["masterData"]["published"] = false.into());
    world.settle().await;
    assert_eq!(
        refs_of_writes(&world)[before..],
        ["updateVariantProduct SHIRT-L", "updateVariantProduct SHIRT-M", "updateStandardProduct shirt"]
    );
    assert_eq!(statuses(&world), ["INACTIVE", "INACTIVE", "INACTIVE"]);
    assert_eq!(mapping(&world, "product", &id).await.unwrap().state, "inactive");

    world.commercetools.edit("products", &id, |product| product["masterData"]["published"] = true.into());
    world.settle().await;
    assert_eq!(statuses(&world), ["ACTIVE", "ACTIVE", "ACTIVE"]);
    world.pass(20 * MINUTE, 5 * MINUTE).await;
    quiet(&world).await;
}

async fn what_is_deleted_is_deactivated(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    world.commercetools.put("categories", category("women", "Women", None));
    let id = put_shirt(&world, "shirt", &[], &["SHIRT-M", "SHIRT-L"]);
    world.settle().await;
    assert!(world.commercetools.delete("products", &id));
    assert!(world.commercetools.delete("categories", &category_id("women")));
    world.settle().await;
    assert_eq!(statuses(&world), ["INACTIVE", "INACTIVE", "INACTIVE"]);
    assert_eq!(fluent_category(&world, "women")["status"], "INACTIVE");

    // Deleted before anybody looked: nobody waits for it.
    let mut draft = product("draft", "Draft", &[], vec![variant("DRAFT-M", 100)]);
    draft["masterData"]["published"] = false.into();
    let draft = world.commercetools.put("products", draft)["id"].as_str().unwrap().to_owned();
    world.commercetools.delete("products", &draft);
    world.settle().await;
    world.pass(20 * MINUTE, MINUTE).await;
    assert_eq!(
        world.fluent_effects("createStandardProduct", "PRODUCT").len(),
        1,
        "what was never published is not sent"
    );
    quiet(&world).await;
}

async fn a_variant_that_leaves_is_deactivated(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    let id = put_shirt(&world, "shirt", &[], &["SHIRT-M", "SHIRT-L"]);
    world.settle().await;
    let before = writes(&world).len();
    publish(&world, &id, |current| current["variants"] = json!([]));
    world.settle().await;
    assert_eq!(refs_of_writes(&world)[before..], ["updateVariantProduct SHIRT-L"]);
    assert_eq!(fluent_product(&world, "SHIRT-L")["status"], "INACTIVE");
    let mut back = variant("SHIRT-L", 2_999);
    back["id"] = 2.into();
    publish(&world, &id, |current| current["variants"] = json!([back]));
    world.settle().await;
    assert_eq!(fluent_product(&world, "SHIRT-L")["status"], "ACTIVE");
    quiet(&world).await;
}

async fn a_sku_moves_to_another_product(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    let id = put_shirt(&world, "shirt", &[], &["SHIRT-M", "SHIRT-L"]);
    world.settle().await;
    world.fluent.front().fault(Rule {
        fault: Fault::ErrorBefore(503),
        operation: Some("UpdateVariantProduct".into()),
        times: Some(1),
        rate: 1.0,
    });
    publish(&world, &id, |current| current["variants"] = json!([]));
    let other = put_shirt(&world, "polo", &[], &["SHIRT-L"]);
    world.settle().await;
    world.pass(5 * MINUTE, MINUTE).await;
    let moved = fluent_product(&world, "SHIRT-L");
    assert_eq!(moved["product"]["ref"], "polo");
    assert_ne!(moved["status"], "INACTIVE", "it is the other product's now");
    assert_eq!(attribute(&moved, "commercetoolsProductId"), Some(&json!(other)));
    quiet(&world).await;
}

async fn a_product_does_not_wait_for_a_category_for_long(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    put_shirt(&world, "shirt", &["women"], &["SHIRT-M"]);
    world.settle().await;
    world.pass(5 * MINUTE, MINUTE).await;
    assert!(writes(&world).is_empty());
    let women = category_id("women");
    let waiting = world.newest("fluent.upsert-product").await.detail.unwrap();
    assert_eq!(waiting, format!("Waiting for category {women} (then sent without it)."));
    world.pass(6 * MINUTE, MINUTE).await;
    assert_eq!(fluent_product(&world, "SHIRT-M")["categories"], json!([]));
    let waiting = world.newest("fluent.upsert-product").await;
    let sentence = format!("Product shirt was sent without category {women} and is sent again when that arrives.");
    assert_eq!((waiting.state.as_str(), waiting.detail), ("waiting", Some(sentence)));

    world.commercetools.put("categories", category("women", "Women", None));
    world.settle().await;
    for name in ["shirt", "SHIRT-M"] {
        assert_eq!(fluent_product(&world, name)["categories"][0]["ref"], "women", "{name}");
    }
    world.nothing_lost().await;
}

async fn a_price_begins_at_its_time(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    let mut shirt = variant("SHIRT-M", 2_999);
    let mut sale = shirt["prices"][0].clone();
    sale["value"]["centAmount"] = 1_999.into();
    (sale["validFrom"], sale["validUntil"]) = ("2026-06-15T10:30:00Z".into(), "2026-06-15T11:30:00Z".into());
    shirt["prices"].as_array_mut().unwrap().push(sale);
    world.commercetools.put("products", product("shirt", "Shirt", &[], vec![shirt]));
    world.settle().await;
    let price = || fluent_product(&world, "SHIRT-M")["prices"][0]["value"].clone();
    assert_eq!(price(), json!(29.99));
    world.pass(29 * MINUTE, MINUTE).await;
    assert_eq!(price(), json!(29.99));
    world.pass(2 * MINUTE, MINUTE).await;
    assert_eq!(price(), json!(19.99));
    world.pass(60 * MINUTE, 5 * MINUTE).await;
    assert_eq!(price(), json!(29.99));
    quiet(&world).await;
}

async fn a_variant_without_sku_is_told_once(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    let mut nameless = variant("", 100);
    nameless.as_object_mut().unwrap().remove("sku");
    let shirt = product("shirt", "Shirt", &[], vec![variant("SHIRT-M", 2_999), nameless]);
    let id = world.commercetools.put("products", shirt)["id"].as_str().unwrap().to_owned();
    world.settle().await;
    let sentence = "Variant 2 of product shirt has no SKU, so Fluent cannot hold it. The other variants were sent.";
    assert_eq!(world.the_parked().await.detail.as_deref(), Some(sentence));
    fluent_product(&world, "SHIRT-M");
    world.commercetools.edit("products", &id, |product| product["version"] = 9.into());
    world.pass(20 * MINUTE, 5 * MINUTE).await;
    assert_eq!(world.parked().await.len(), 1, "a later update that changes nothing does not tell it again");
    world.nothing_lost().await;
}

async fn a_standalone_price_reaches_its_variant(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    let price = |cents: i64| {
        let value = json!({"type": "centPrecision", "currencyCode": "EUR", "centAmount": cents, "fractionDigits": 2});
        json!({"id": "6fff7495-1574-430c-9980-0823833732ff", "sku": "SHIRT-M", "value": value, "active": true})
    };
    world.commercetools.put("standalone-prices", price(1_000));
    let mut shirt = product("shirt", "Shirt", &[], vec![variant("SHIRT-M", 2_999), variant("SHIRT-L", 2_999)]);
    shirt["priceMode"] = "Standalone".into();
    world.commercetools.put("products", shirt);
    world.settle().await;
    assert_eq!(fluent_product(&world, "SHIRT-M")["prices"][0]["value"].as_f64(), Some(10.0));
    assert_eq!(fluent_product(&world, "SHIRT-L")["prices"], Value::Null, "embedded prices do not count");
    let before = writes(&world).len();
    world.commercetools.put("standalone-prices", price(1_250));
    world.settle().await;
    assert_eq!(fluent_product(&world, "SHIRT-M")["prices"][0]["value"], json!(12.5));
    assert_eq!(writes(&world)[before..], ["updateVariantProduct"]);
    quiet(&world).await;
}

async fn a_catalogue_that_does_not_exist_is_named(engine: Engine) {
    let over = "connections: [{ name: main, fluent: { product_catalogue: { ref: \"PC:WRONG:1\" } } }]".to_owned();
    let Some(world) = World::with(engine, Settings { over, ..Settings::default() }).await else { return };
    world.commercetools.put("categories", category("women", "Women", None));
    world.settle().await;
    assert_eq!(
        world.the_parked().await.detail.as_deref(),
        Some("The product catalogue PC:WRONG:1 does not exist in Fluent. Correct fluent.product_catalogue.ref.")
    );
}

fn put_shirt(world: &World, key: &str, categories: &[&str], skus: &[&str]) -> String {
    let variants = skus.iter().map(|sku| variant(sku, 2_999)).collect();
    let stored = world.commercetools.put("products", product(key, "Shirt", categories, variants));
    stored["id"].as_str().unwrap().to_owned()
}

/// Changes a product and publishes the change.
fn publish(world: &World, id: &str, change: impl FnOnce(&mut Value)) {
    let edited = world.commercetools.edit("products", id, |product| {
        change(&mut product["masterData"]["current"]);
        product["masterData"]["staged"] = product["masterData"]["current"].clone();
    });
    assert!(edited.is_some());
}

fn category_id(key: &str) -> String {
    category(key, "", None)["id"].as_str().unwrap().to_owned()
}

fn add_category(world: &World, reference: &str, attributes: Value) {
    let catalogue = world.fluent.options().catalogue;
    let input = json!({"ref": reference, "type": "DEFAULT", "name": "Old", "catalogue": {"ref": catalogue}, "attributes": attributes});
    world.fluent.add_category(input).unwrap();
}

fn fluent_category(world: &World, reference: &str) -> Value {
    let mut found = world.fluent.categories().into_iter().filter(|category| category["ref"] == reference);
    found.next().unwrap_or_else(|| panic!("Fluent has no category {reference}"))
}

fn fluent_product(world: &World, reference: &str) -> Value {
    let mut found = world.fluent.products().into_iter().filter(|product| product["ref"] == reference);
    found.next().unwrap_or_else(|| panic!("Fluent has no product {reference}"))
}

/// Statuses of the product `shirt` and its variants.
fn statuses(world: &World) -> [String; 3] {
    ["shirt", "SHIRT-M", "SHIRT-L"].map(|name| fluent_product(world, name)["status"].as_str().unwrap().to_owned())
}

/// Our writes in their order.
fn writes(world: &World) -> Vec<String> {
    refs_of_writes(world).iter().map(|write| write.split(' ').next().unwrap().to_owned()).collect()
}

/// Our writes in their order, each with the ref it concerns.
fn refs_of_writes(world: &World) -> Vec<String> {
    let ledger = world.fluent.front().ledger();
    let ours = ledger
        .iter()
        .filter(|effect| ["create", "update", "remove"].iter().any(|verb| effect.operation.starts_with(verb)))
        // The customers of the shop come by a poll of their own.
        .filter(|effect| effect.entity != "CUSTOMER");
    ours.map(|effect| format!("{} {}", effect.operation, effect.reference)).collect()
}

async fn mapping(world: &World, kind: &str, id: &str) -> Option<Mapping> {
    world.daemons[0].app.store().read().await.unwrap().mapping("main", kind, id).await.unwrap()
}

/// Nothing is parked, and the counters close.
async fn quiet(world: &World) {
    let parked = world.parked().await;
    assert!(parked.is_empty(), "{parked:#?}");
    world.nothing_lost().await;
}
