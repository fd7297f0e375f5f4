//! Stories of orders from before the connector's time.

use std::time::Duration;

use fluent_connector::queue::Range;
use fluent_connector::simulator::commercetools::ADA;
use fluent_connector::store::Row;
use serde_json::{Map, Value, json};

use crate::database::Engine;
use crate::on_both_databases;
use crate::world::look::attribute;
use crate::world::{START, Settings, World};

on_both_databases! {
    a_dry_run_changes_nothing_and_says_what_would_happen,
    what_fluent_has_is_adopted,
    nothing_is_created_unless_that_is_allowed,
    orders_are_created_once_their_number_is_confirmed,
    a_run_that_is_paused_goes_on_where_it_was,
    a_back_fill_that_is_off_does_not_run,
}

const DAY: i64 = 24 * 60 * 60 * 1000;
const ADOPT: &str = "    order_backfill: { enabled: true, rate: 100/s }";
const CREATE: &str = "    order_backfill: { enabled: true, mode: create, rate: 100/s }";

async fn a_dry_run_changes_nothing_and_says_what_would_happen(engine: Engine) {
    let Some(world) = with(engine, CREATE).await else { return };
    old(&world, "1", 9, |_| {});
    old(&world, "2", 5, |order| order["shipmentState"] = "Shipped".into());
    old(&world, "3", 5, |order| order["orderState"] = "Cancelled".into());
    old(&world, "4", 1, |_| {});
    old(&world, "5", 20, |_| {});
    world.settle().await;
    let run = run(&world, json!({})).await;

    assert_eq!(run.state, "done", "{run:?}");
    assert_eq!(
        run.detail.unwrap(),
        "dry run: 0 orders are in Fluent and would be adopted, 2 would be created, 0 cannot be sent, 2 skipped, 0 were \
         linked before"
    );
    let said = world.notes("order_backfill.order").await;
    assert!(said.contains(&"Back-fill skips order 2: it is already Shipped in commercetools.".to_owned()), "{said:?}");
    assert!(
        said.contains(&"Back-fill skips order 3: it is already Cancelled in commercetools.".to_owned()),
        "{said:?}"
    );
    assert!(world.fluent.orders().is_empty() && world.fluent.customers().is_empty());
    world.nothing_lost().await;
}

async fn what_fluent_has_is_adopted(engine: Engine) {
    let Some(world) = with(engine, ADOPT).await else { return };
    let id = old(&world, "1", 3, |_| {});
    let theirs = of_another_connector(&world, &id);
    let missing = old(&world, "2", 3, |_| {});
    world.settle().await;
    let cursor = |stream: &'static str| async {
        world.daemons[0].app.store().read().await.unwrap().cursor("main", stream).await.unwrap().map(|it| it.position.0)
    };
    let live = cursor("order-sync").await;
    let run = run(&world, json!({"dry_run": false})).await;
    world.pass(Duration::from_secs(30), Duration::from_secs(5)).await;

    assert_eq!(run.detail.unwrap(), "2 orders were handed on, 0 skipped, 0 were linked before");
    let [order] = &world.fluent.orders()[..] else { panic!("nothing is created") };
    assert_eq!(order["id"], theirs.as_str());
    assert_eq!(world.links(&id), [theirs.as_str()]);
    assert!(world.links(&missing).is_empty());
    let said = world.sentences("fluent.create-order").await;
    assert!(said.contains(&"Order 2 is not in Fluent; back-fill only adopts.".to_owned()), "{said:?}");
    assert_eq!(cursor("order-sync").await.map(|it| it.read_to()).is_some(), live.is_some());
    assert!(world.parked().await.is_empty());
    world.nothing_lost().await;
}

async fn nothing_is_created_unless_that_is_allowed(engine: Engine) {
    let Some(world) = with(engine, CREATE).await else { return };
    old(&world, "1", 3, |_| {});
    old(&world, "2", 2, |_| {});
    world.settle().await;
    let without = run(&world, json!({"dry_run": false})).await;
    assert_eq!(
        without.detail.unwrap(),
        "Back-fill creates orders only with confirm, the number of orders that a dry run would create."
    );
    let wrong = run(&world, json!({"dry_run": false, "confirm": 3})).await;
    assert_eq!(
        wrong.detail.unwrap(),
        "Back-fill would create 2 orders, not 3. Look at them in a dry run, then confirm 2."
    );
    assert!(world.fluent.orders().is_empty());
    world.nothing_lost().await;
}

async fn orders_are_created_once_their_number_is_confirmed(engine: Engine) {
    let Some(world) = with(engine, CREATE).await else { return };
    let id = old(&world, "1", 3, |_| {});
    let other = old(&world, "2", 2, |order| order["store"] = json!({"typeId": "store", "key": "fr"}));
    world.settle().await;
    for _ in 0..2 {
        run(&world, json!({"dry_run": false, "confirm": 1, "props": {"order_numbers": "1"}})).await;
        world.pass(Duration::from_secs(30), Duration::from_secs(5)).await;
    }
    let order = world.arrived(&id);
    assert_eq!(attribute(&order, "commercetoolsBackfilled"), Some(&json!(true)));
    assert!(world.fluent_orders(&other).is_empty());
    assert_eq!(world.fluent_requests("CreateOrder").len(), 1);
    world.commercetools.edit("orders", &id, |order| order["billingAddress"]["city"] = "Bonn".into());
    world.settle().await;
    let order = world.fluent_order(&id);
    assert_eq!(order["billingAddress"]["city"], "Bonn");
    assert_eq!(attribute(&order, "commercetoolsBackfilled"), Some(&json!(true)), "it stays");
    world.nothing_lost().await;
}

async fn a_run_that_is_paused_goes_on_where_it_was(engine: Engine) {
    let Some(world) = with(engine, ADOPT).await else { return };
    let id = old(&world, "1", 3, |_| {});
    of_another_connector(&world, &id);
    world.settle().await;
    let queue = &world.daemons[0].queue;
    let job = queue.routes.find("job.order-backfill-sync").unwrap();
    let pause = fluent_connector::store::Pause { by: "story".into(), reason: "peak hour".into(), until: None };
    queue.pause("main", job, pause).await.unwrap();
    let paused = run(&world, json!({"dry_run": false})).await;
    assert_eq!(paused.detail.as_deref(), Some("Back-fill is paused."));
    assert!(world.links(&id).is_empty());
    queue.resume("main", job, world.clock.now()).await.unwrap();
    world.pass(Duration::from_secs(120), Duration::from_secs(20)).await;

    assert_eq!(world.links(&id).len(), 1);
    assert_eq!(world.newest("job.order-backfill-sync").await.state, "done");
    world.nothing_lost().await;
}

async fn a_back_fill_that_is_off_does_not_run(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    old(&world, "1", 3, |_| {});
    let refused = run(&world, json!({"dry_run": false})).await;
    assert_eq!(refused.detail.unwrap(), "Back-fill is switched off for this connection (order_backfill.enabled).");
    assert!(world.fluent.orders().is_empty());
    world.nothing_lost().await;
}

/// An order of some days ago; what is told of it is too old for the live flow.
fn old(world: &World, number: &str, days: i64, change: impl FnOnce(&mut Value) + 'static) -> String {
    let at = fluent_connector::clock::rfc3339(START - days * DAY);
    let aged = move |order: &mut Value| {
        order["createdAt"] = at.into();
        change(order);
    };
    world.commercetools.order(Some(number)).customer(ADA).payment("PAYPAL", 2_999).changed(aged).place()
}

/// The same order in Fluent, as an earlier connector made it: under its number, without our identity.
fn of_another_connector(world: &World, id: &str) -> String {
    let shop = world.shop_order(id);
    let customer = json!({"username": ADA, "primaryEmail": "ada@example.com", "timezone": "UTC", "promotionOptIn": false,
                          "retailer": {"id": world.fluent.options().retailer_id}});
    let customer = world.fluent.add_customer(customer).unwrap();
    let line = &shop["lineItems"][0];
    let net = |taxed: &Value| json!(taxed["totalNet"]["centAmount"].as_i64().unwrap() as f64 / 100.0);
    let input = json!({
        "ref": shop["orderNumber"], "type": "HD", "retailer": {"id": world.fluent.options().retailer_id},
        "customer": {"id": customer}, "totalPrice": net(&shop["taxedPrice"]),
        "items": [{"ref": "1", "productRef": line["variant"]["sku"], "quantity": line["quantity"], "currency": "EUR",
                   "productCatalogueRef": world.fluent.options().catalogue}],
        "fulfilmentChoice": {"deliveryType": "STANDARD"},
    });
    world.fluent.add_order(input).unwrap()
}

/// Runs the job over the last ten days.
async fn run(world: &World, options: Value) -> Row {
    let queue = &world.daemons[0].queue;
    let job = queue.routes.find("job.order-backfill-sync").unwrap();
    let range = Range { from: START - 10 * DAY, to: None };
    let options: Map<String, Value> = options.as_object().unwrap().clone();
    queue.run_job_with("main", job, Some(range), options, "story").await.unwrap();
    world.settle().await;
    world.newest("job.order-backfill-sync").await
}

async fn with(engine: Engine, connection: &str) -> Option<World> {
    World::with(engine, Settings { connection: connection.into(), ..Settings::default() }).await
}
