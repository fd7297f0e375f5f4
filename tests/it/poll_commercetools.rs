//! Stories of the poll of commercetools: without any push it finds every order, once (G5, G6, G14).

use std::collections::BTreeSet;
use std::time::Duration;

use fluent_connector::clock;
use fluent_connector::simulator::commercetools::Options;
use fluent_connector::simulator::{Exchange, Fault, Rule, Traffic};
use fluent_connector::store::{Cursor, Filter, Position, Row};
use serde_json::Value;

use crate::database::Engine;
use crate::on_both_databases;
use crate::world::{Settings, World, tick};

on_both_databases! {
    every_order_is_found_once,
    a_walk_goes_on_at_the_page_it_stopped_at,
    a_failed_page_is_no_empty_page,
    a_page_that_is_too_much_is_asked_for_in_parts,
    messages_are_read_where_the_project_keeps_them,
    what_is_wrong_with_messages_does_not_close_the_walk,
    orders_right_after_the_installation_are_taken_whatever_our_clock_says,
    a_row_later_than_the_settle_time_is_found_by_the_overlap,
    a_known_order_that_changed_is_counted,
    two_daemons_poll_once,
}

const MINUTE: Duration = Duration::from_secs(60);

/// Neither push nor webhooks, no link back: what happens here happened because of the poll.
fn polling(rest: Settings) -> Settings {
    let connection = "    order_status: { poll: { enabled: false } }\n    order_link: { enabled: false }\n".to_owned();
    Settings { without_push: true, without_webhooks: true, connection: connection + &rest.connection, ..rest }
}

/// Orders of the big story; FLUENT_CONNECTOR_STORY_ORDERS makes it a campaign.
fn orders() -> usize {
    #[expect(clippy::disallowed_methods, reason = "the size of a campaign is no configuration of the connector")]
    let wanted = std::env::var("FLUENT_CONNECTOR_STORY_ORDERS").ok();
    wanted.map_or(2_500, |wanted| wanted.parse().expect("a number"))
}

/// The shop is 90 s behind us, commits each order up to 50 s late, and places two of them in each
/// millisecond, so that every page ends between two orders of the same time.
async fn every_order_is_found_once(engine: Engine) {
    let settings = polling(Settings { shop_ahead: -90_000, ..Settings::default() });
    let Some(world) = World::with(engine, settings).await else { return };
    world.commercetools.messages(false);
    let count = orders();
    for n in 0..count {
        if n % 2 == 1 {
            world.tick(Duration::from_millis(1));
        }
        world.commercetools.commit_late(Duration::from_millis((n as u64 * 7_919) % 50_000));
        world.commercetools.order(Some(&format!("P-{n}"))).place();
    }
    for _ in 0..10 {
        world.tick(Duration::from_secs(30));
        world.settle_within(15_000 + 100 * count).await;
    }
    let created = world.fluent_effects("createOrder", "ORDER");
    let references: BTreeSet<&str> = created.iter().map(|effect| effect.reference.as_str()).collect();
    let missing: Vec<usize> = (0..count).filter(|n| !references.contains(format!("HD_P-{n}").as_str())).collect();
    assert_eq!((missing.as_slice(), created.len()), (&[][..], count), "every order, and each once");
    let full = pages(&world, "GET /orders").iter().filter(|page| page.response["count"] == 500).count();
    assert!(full >= count / 500, "{full} full pages: the edges were not tried");
    assert_eq!(cursor(&world, "order-sync").await.found, count as i64);
    assert!(world.parked().await.is_empty());
    world.nothing_lost().await;
}

async fn a_walk_goes_on_at_the_page_it_stopped_at(engine: Engine) {
    // Nobody works on what the walk finds: what is asked of commercetools is the walk's.
    let top = "routes: { commercetools.order-created: { enabled: false } }".to_owned();
    let Some(mut world) = World::with(engine, polling(Settings { top, ..Settings::default() })).await else { return };
    world.commercetools.messages(false);
    let front = world.commercetools.front().clone();
    place(&world, 2_300);
    front.traffic(Traffic { latency: Duration::from_millis(300), ..Traffic::default() });
    // Two seconds more, because commercetools tells its time in whole seconds.
    world.tick(MINUTE + Duration::from_secs(2));
    let mut looks = 0;
    while front.received("GET /orders") < 2 {
        tick().await;
        looks += 1;
        assert!(looks < 15_000, "the first two pages were not read");
    }
    // The next page, or the one behind it, is not to be had, and the daemon stops.
    front.fault(rule(Fault::ErrorBefore(503), "GET /orders", None));
    world.daemons.remove(0).stop().await;
    front.traffic(Traffic::default());
    let before = front.exchanges().len();
    world.start_daemon().await;
    let stood = cursor(&world, "order-sync").await.position.0;
    let Position::Window { to, after: Some(after), .. } = &stood else { panic!("the window was closed: {stood:?}") };
    front.heal();
    world.tick(MINUTE);
    world.settle_within(60_000).await;
    world.advance(MINUTE).await;
    // The next window may have been opened meanwhile; each has an end of its own, fixed for its whole walk.
    let until = clock::rfc3339(*to).replace('-', "%2D").replace(':', "%3A").replace('.', "%2E");
    let in_window = |page: &&Exchange| page.operation == "GET /orders" && page.path.contains(&until);
    let exchanges = front.exchanges();
    let first = exchanges[before..].iter().find(|page| page.operation == "GET /orders").unwrap();
    let id = after["id"].as_str().unwrap().replace('-', "%2D");
    assert!(in_window(&first), "the window was opened anew: {}", first.path);
    assert!(first.path.contains(&format!("var%2Eid={id}")), "{} does not begin behind {after}", first.path);
    let rows: i64 = exchanges.iter().filter(in_window).filter_map(|page| page.response["count"].as_i64()).sum();
    assert_eq!(rows, 2_300, "no row was read twice");
    assert_eq!(cursor(&world, "order-sync").await.found, 2_300);
    world.nothing_lost().await;
}

async fn a_failed_page_is_no_empty_page(engine: Engine) {
    let Some(world) = World::with(engine, polling(Settings::default())).await else { return };
    world.commercetools.messages(false);
    place(&world, 3);
    for fault in [Fault::ErrorBefore(500), Fault::LostAnswer, Fault::RateLimited] {
        let end = cursor(&world, "order-sync").await.position.0.read_to();
        world.commercetools.front().fault(rule(fault, "GET /orders", None));
        world.advance(MINUTE).await;
        world.advance(MINUTE).await;
        assert_eq!(cursor(&world, "order-sync").await.position.0.read_to(), end, "{fault:?} closed the window");
        assert_eq!(world.fluent_effects("createOrder", "ORDER").len(), 0);
        assert_eq!(open(&world, "job.order-sync").await.len(), 1, "one open tick, however often it failed");
        world.commercetools.front().heal();
    }
    world.pass(3 * MINUTE, MINUTE).await;
    assert_eq!(world.fluent_effects("createOrder", "ORDER").len(), 3);
    assert!(world.parked().await.is_empty());
    world.nothing_lost().await;
}

async fn a_page_that_is_too_much_is_asked_for_in_parts(engine: Engine) {
    let Some(world) = World::with(engine, polling(Settings::default())).await else { return };
    world.commercetools.messages(false);
    world.commercetools.largest_page(Some(7));
    place(&world, 30);
    world.pass(3 * MINUTE, MINUTE).await;
    let refused = |page: &&Exchange| page.response["errors"][0]["code"] == "ContentTooLarge";
    assert!(pages(&world, "GET /orders").iter().any(|page| refused(&page)), "nothing was too much");
    assert_eq!(world.fluent_effects("createOrder", "ORDER").len(), 30);
    assert!(world.parked().await.is_empty());
}

async fn messages_are_read_where_the_project_keeps_them(engine: Engine) {
    let Some(world) = World::with(engine, polling(Settings::default())).await else { return };
    world.commercetools.messages(false);
    world.commercetools.order(Some("10001")).place();
    world.pass(3 * MINUTE, MINUTE).await;
    let asked = pages(&world, "GET /messages").len();
    world.commercetools.messages(true);
    let id = world.commercetools.order(Some("10002")).place();
    world.pass(3 * MINUTE, MINUTE).await;
    assert!(pages(&world, "GET /messages").len() > asked, "the Messages are read");
    assert_eq!(cursor(&world, "order-sync-messages").await.found, 1, "only what was kept is heard");
    let filter = Filter { subject: Some(format!("order:{id}")), ..Filter::default() };
    let keys: BTreeSet<String> = world.messages(filter).await.into_iter().map(|row| row.key).collect();
    assert!(keys.contains(&format!("{id}@1")), "kept under the key a push would have: {keys:?}");
    world.commercetools.messages(false);
    let asked = pages(&world, "GET /messages").len();
    world.pass(3 * MINUTE, MINUTE).await;
    assert_eq!(pages(&world, "GET /messages").len(), asked, "nobody asks a project that keeps none");
    assert_eq!(world.fluent_effects("createOrder", "ORDER").len(), 2, "each order once, however often it was heard of");
    world.nothing_lost().await;
}

async fn what_is_wrong_with_messages_does_not_close_the_walk(engine: Engine) {
    let without = |scope: &str| {
        let scopes = Options::default().scopes.into_iter().filter(|held| held != scope).collect();
        let commercetools = Some(Options { scopes, ..Options::default() });
        polling(Settings { commercetools, ..Settings::default() })
    };
    for scope in ["view_messages", "view_project_settings"] {
        let Some(world) = World::with(engine, without(scope)).await else { return };
        world.commercetools.order(Some("10001")).place();
        world.pass(3 * MINUTE, MINUTE).await;
        assert_eq!(world.fluent_effects("createOrder", "ORDER").len(), 1, "without {scope}");
        assert!(world.parked().await.is_empty(), "without {scope}");
        let runs = world.messages(Filter { route: Some("job.order-sync".into()), ..Filter::default() }).await;
        let notes = runs[0].notes.as_ref().unwrap().0.to_string();
        assert!(notes.contains(scope), "the scope is named: {notes}");
    }
}

async fn orders_right_after_the_installation_are_taken_whatever_our_clock_says(engine: Engine) {
    for shop_ahead in [-90_000, 90_000] {
        let settings = polling(Settings { shop_ahead, ..Settings::default() });
        let Some(world) = World::with(engine, settings).await else { return };
        world.commercetools.order(Some("10001")).place();
        world.pass(5 * MINUTE, MINUTE).await;
        assert_eq!(world.fluent_effects("createOrder", "ORDER").len(), 1, "the shop is {shop_ahead} ms ahead");
        world.nothing_lost().await;
    }
}

async fn a_row_later_than_the_settle_time_is_found_by_the_overlap(engine: Engine) {
    let Some(world) = World::with(engine, polling(Settings::default())).await else { return };
    world.commercetools.messages(false);
    world.advance(2 * MINUTE).await;
    world.commercetools.commit_late(Duration::from_secs(100));
    world.commercetools.order(Some("10001")).place();
    world.advance(MINUTE + MINUTE / 2).await;
    world.commercetools.commit_late(Duration::ZERO);
    assert_eq!(world.fluent_effects("createOrder", "ORDER").len(), 0);
    world.pass(2 * MINUTE, MINUTE / 2).await;
    assert_eq!(world.fluent_effects("createOrder", "ORDER").len(), 1);
    let late = cursor(&world, "order-sync").await;
    assert_eq!((late.found, late.late), (1, 1), "it came late, and that is told");
    assert_eq!(late.settle, Some(90_000), "half as much again from now on");
    let distance = async || world.clock.now() - cursor(&world, "order-sync").await.position.0.read_to();
    world.pass(10 * MINUTE, MINUTE).await;
    assert_eq!(distance().await, 90_000);
    world.advance(24 * 60 * MINUTE).await;
    world.pass(3 * MINUTE, MINUTE).await;
    assert_eq!(distance().await, 60_000, "as configured, a day later");
}

async fn a_known_order_that_changed_is_counted(engine: Engine) {
    let Some(world) = World::with(engine, polling(Settings::default())).await else { return };
    world.commercetools.messages(false);
    let id = world.commercetools.order(Some("10001")).place();
    world.pass(5 * MINUTE, MINUTE).await;
    world.commercetools.edit("orders", &id, |order| order["customerEmail"] = "new@example.com".into());
    world.pass(2 * MINUTE, MINUTE).await;
    let runs = world.messages(Filter { route: Some("job.order-sync".into()), ..Filter::default() }).await;
    let told: Vec<&str> = runs.iter().filter_map(|run| run.detail.as_deref()).collect();
    assert!(told.iter().any(|told| told.contains("1 orders of Fluent changed")), "{told:?}");
    assert_eq!(world.fluent_order(&id)["fulfilmentChoices"][0]["deliveryEmail"], "new@example.com");
}

async fn two_daemons_poll_once(engine: Engine) {
    if engine == Engine::Sqlite {
        return; // One daemon at a time.
    }
    let Some(mut world) = World::with(engine, polling(Settings::default())).await else { return };
    world.start_daemon().await;
    world.commercetools.order(Some("10001")).place();
    // The first look is at the minute before the installation: there is nothing to see in it.
    world.advance(MINUTE).await;
    assert_eq!(world.commercetools.front().received("GET /orders"), 0);
    world.pass(4 * MINUTE, MINUTE).await;
    assert_eq!(world.commercetools.front().received("GET /orders"), 4, "one walk of one page a minute");
    let ticks = world.messages(Filter { route: Some("job.order-sync".into()), ..Filter::default() }).await;
    let keys: BTreeSet<&str> = ticks.iter().map(|tick| tick.key.as_str()).collect();
    assert_eq!((keys.len(), ticks.len()), (6, 6), "one row per planned time");
    assert_eq!(world.fluent_effects("createOrder", "ORDER").len(), 1);
}

/// Two orders in each millisecond.
fn place(world: &World, count: usize) {
    for n in 0..count {
        if n % 2 == 1 {
            world.tick(Duration::from_millis(1));
        }
        world.commercetools.order(Some(&format!("P-{n}"))).place();
    }
}

fn rule(fault: Fault, operation: &str, times: Option<u32>) -> Rule {
    Rule { fault, operation: Some(operation.into()), times, rate: 1.0 }
}

async fn cursor(world: &World, stream: &str) -> Cursor {
    let mut db = world.daemons[0].app.store().read().await.unwrap();
    db.cursor("main", stream).await.unwrap().unwrap_or_else(|| panic!("{stream} was never read"))
}

async fn open(world: &World, route: &str) -> Vec<Row> {
    let rows = world.messages(Filter { route: Some(route.into()), ..Filter::default() }).await;
    rows.into_iter().filter(|row| ["ready", "running", "waiting", "parked"].contains(&row.state.as_str())).collect()
}

/// Pages that were read.
fn pages(world: &World, operation: &str) -> Vec<Exchange> {
    let exchanges = world.commercetools.front().exchanges().into_iter();
    exchanges.filter(|exchange| exchange.operation == operation && exchange.response != Value::Null).collect()
}
