//! Stories of retention (G11, G18): what is old goes by itself, what is open stays, and what comes
//! again after that has no second effect.

use std::time::Duration;

use fluent_connector::app::App;
use fluent_connector::failure::reject;
use fluent_connector::queue::{Message, Routes};
use fluent_connector::store::{Filter, Row};
use serde_json::{Value, json};

use crate::database::Engine;
use crate::on_both_databases;
use crate::webhook::Booked;
use crate::world::{Settings, World};

on_both_databases! {
    what_is_old_goes_and_its_copies_are_duplicates,
    an_unfinished_sweep_goes_on_with_the_next_run,
    two_daemons_prune_beside_each_other,
}

const HOUR: Duration = Duration::from_secs(3600);

fn quiet(retention: &str) -> Settings {
    Settings {
        top: format!("retention: {{ {retention} }}"),
        connection: "    order_status: { poll: { enabled: false } }\n    order: { poll: 24h }\n".into(),
        register: Some(|routes: &mut Routes| {
            routes.inbox("test.poison", async |_: App, _: Message| reject("It cannot be done."));
            routes.inbox("test.thing", async |_: App, _: Message| Ok(()));
        }),
        ..Settings::default()
    }
}

async fn put(world: &World, route: &str, keys: std::ops::Range<usize>) {
    let queue = &world.daemons[0].queue;
    let draft = |n: usize| {
        let draft = queue.draft("main", route, n.to_string(), fluent_connector::store::Source::Plain);
        draft.subject(format!("thing:{n}")).body(vec![0; 100])
    };
    queue.put(keys.map(draft).collect()).await.unwrap();
}

async fn of_route(world: &World, route: &str) -> Vec<Row> {
    world.messages(Filter { route: Some(route.into()), ..Filter::default() }).await
}

async fn status(world: &World, token: &str) -> Value {
    let http = fluent_connector::remote::http_client().unwrap();
    let url = format!("{}/api/v1/status?recount=true", world.url(0));
    http.get(url).bearer_auth(token).send().await.unwrap().json().await.unwrap()
}

async fn what_is_old_goes_and_its_copies_are_duplicates(engine: Engine) {
    let Some(booked) = Booked::with(engine, quiet("message: 2d, payload: 1d, dedupe: 3d")).await else { return };
    let (world, webhook) = (&booked.world, booked.signed(&booked.webhook("w-1")));
    let first = webhook.send(&world.url(0)).await.body;
    put(world, "test.poison", 0..2).await;
    world.settle().await;
    let updates = world.updates(&booked.shop_id);
    world.pass(25 * HOUR, HOUR).await;
    let row = world.newest("fluent.order-updated").await;
    let mut db = world.daemons[0].app.store().read().await.unwrap();
    assert_eq!(db.message_body(row.id).await.unwrap(), None, "its body is gone");
    drop(db);
    world.pass(25 * HOUR, HOUR).await;
    assert_eq!(of_route(world, "fluent.order-updated").await.len(), 0, "then its row");
    assert_eq!(of_route(world, "test.poison").await.len(), 2, "what a person must decide about stays");
    let again = webhook.send(&world.url(0)).await.body;
    assert_eq!((&again["status"], &again["id"]), (&json!("duplicate"), &first["id"]));
    world.settle().await;
    assert_eq!(world.updates(&booked.shop_id), updates, "no second effect");
    let token = world.token(&["status:read"]).await;
    let status = status(world, &token).await;
    assert_eq!(status["balance"], json!({"imbalance": 0, "recount": {"equal": true, "differences": []}}));
    assert!(status["totals"]["pruned"].as_i64().unwrap() > 0, "{status}");
    world.nothing_lost().await;
    world.pass(75 * HOUR, HOUR).await;
    assert_eq!(webhook.send(&world.url(0)).await.body["status"], "accepted", "after retention.dedupe it is forgotten");
    world.settle().await;
    assert_eq!(world.updates(&booked.shop_id), updates, "and has no second effect all the same");
    world.nothing_lost().await;
}

async fn an_unfinished_sweep_goes_on_with_the_next_run(engine: Engine) {
    let Some(mut world) = World::with(engine, quiet("message: 1h, batch: 2")).await else { return };
    put(&world, "test.thing", 0..100).await;
    world.settle().await;
    world.daemons.remove(0).stop().await;
    world.tick(2 * HOUR);
    world.start_daemon().await;
    // Stops it wherever it is.
    world.daemons.remove(0).stop().await;
    world.start_daemon().await;
    world.pass(2 * HOUR, HOUR).await;
    assert_eq!(of_route(&world, "test.thing").await.len(), 0);
    world.nothing_lost().await;
}

async fn two_daemons_prune_beside_each_other(engine: Engine) {
    let Some(mut world) = World::with(engine, quiet("message: 1h, batch: 3")).await else { return };
    if engine == Engine::Postgres {
        world.start_daemon().await;
    }
    put(&world, "test.thing", 0..100).await;
    world.settle().await;
    for _ in 0..3 {
        world.tick(2 * HOUR);
        let runs = world.daemons.iter().map(async |daemon| {
            let job = daemon.queue.routes.find("job.retention").unwrap();
            let range = fluent_connector::queue::Range { from: 0, to: None };
            // With a range it is a run beside the others.
            daemon.queue.run_job("main", job, Some(range), "story").await.unwrap()
        });
        futures_util::future::join_all(runs).await;
        world.settle().await;
    }
    assert_eq!(of_route(&world, "test.thing").await.len(), 0);
    assert!(world.parked().await.is_empty());
    world.nothing_lost().await;
}
