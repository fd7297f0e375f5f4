//! Stories of the poll that finds what no webhook told (F 1.5; architecture 6, G5, G6).

use std::collections::BTreeSet;
use std::time::Duration;

use fluent_connector::simulator::Fault;
use fluent_connector::simulator::fluent::WebhookFaults;
use fluent_connector::simulator::{Exchange, Rule};
use serde_json::{Value, json};

use crate::caller::Request;
use crate::database::Engine;
use crate::on_both_databases;
use crate::world::{Settings, World};

on_both_databases! {
    every_lost_webhook_is_found_and_counted,
    nothing_is_found_where_nothing_was_lost,
    a_window_stays_as_it_was_until_it_is_walked,
    a_cursor_that_fluent_refuses_starts_the_window_again,
    a_page_that_is_none_is_a_failure,
    a_row_that_shows_up_late_is_found,
    the_first_look_does_not_go_back,
    the_first_look_goes_back_as_far_as_it_is_told,
    a_time_off_is_made_up_for,
    fluents_clock_decides,
    a_poll_that_is_off_looks_at_nothing,
    two_daemons_walk_each_window_once,
}

const MINUTE: Duration = Duration::from_secs(60);

/// Orders that both platforms have, under a Fluent that loses webhooks.
struct Orders {
    world: World,
    /// Fluent ref and commercetools id.
    all: Vec<(String, String)>,
}

impl Orders {
    async fn new(engine: Engine, count: usize) -> Option<Self> {
        Self::with(engine, count, Settings::default()).await
    }

    async fn with(engine: Engine, count: usize, settings: Settings) -> Option<Self> {
        let world = World::with(engine, settings).await?;
        let place = |number: usize| {
            let draft = world.commercetools.order(Some(&number.to_string()));
            let draft = draft.guest(&format!("guest-{number}@example.org"));
            (format!("HD_{number}"), draft.place())
        };
        let all = (1..=count).map(place).collect();
        world.settle().await;
        Some(Self { world, all })
    }

    /// From now on this share of the webhooks is lost.
    fn lose(&self, drop: f64) {
        self.world.fluent.webhook_faults(WebhookFaults { drop, ..WebhookFaults::default() });
    }

    fn move_all(&self, status: &str) {
        for (reference, _) in &self.all {
            self.world.fluent.set_order_status(reference, status);
        }
    }

    /// orderState of the shop's orders, in order.
    fn states(&self) -> Vec<String> {
        self.all.iter().map(|(_, id)| self.world.states(id)[0].clone()).collect()
    }

    fn all_are(&self, state: &str) -> bool {
        self.states().iter().all(|have| have == state)
    }

    /// How many orders only the poll found, as the admin API tells it.
    async fn found(&self) -> i64 {
        let token = self.world.token(&["status:read"]).await;
        let reply = Request::new("GET", "/api/v1/status").bearer(&token).send(&self.world.url(0)).await;
        let streams = reply.body["streams"].as_array().unwrap();
        let of_poll = streams.iter().find(|stream| stream["stream"] == "order-status-sync");
        of_poll.map_or(0, |stream| stream["found"].as_i64().unwrap())
    }

    /// The requests of the poll, in order.
    fn looks(&self) -> Vec<Exchange> {
        let all = self.world.fluent.front().exchanges();
        all.into_iter().filter(|exchange| exchange.operation == "OrdersUpdated").collect()
    }
}

/// from, to and after of a look.
fn window(look: &Exchange) -> Value {
    let variables = &look.request["variables"];
    json!([variables["from"], variables["to"], variables["after"]])
}

fn span(window: &Value) -> [&Value; 2] {
    [&window[0], &window[1]]
}

fn unavailable() -> Rule {
    Rule { fault: Fault::ErrorBefore(503), operation: Some("OrdersUpdated".into()), times: Some(1), rate: 1.0 }
}

async fn every_lost_webhook_is_found_and_counted(engine: Engine) {
    for drop in [0.5, 1.0] {
        let Some(orders) = Orders::new(engine, 40).await else { return };
        orders.lose(drop);
        for status in ["BOOKED", "PICK_PACK", "COMPLETE"] {
            orders.move_all(status);
            orders.world.advance(Duration::from_secs(1)).await;
        }
        // A lost webhook that was followed by another one is not missed: the later one tells all.
        let log = orders.world.fluent.webhooks();
        let lost = log.iter().filter(|row| row["entityStatus"] == "COMPLETE" && row["outcome"] == "dropped");
        let lost: BTreeSet<&str> = lost.map(|row| row["entityRef"].as_str().unwrap()).collect();
        assert!(if drop < 1.0 { (5..35).contains(&lost.len()) } else { lost.len() == 40 }, "{} lost", lost.len());
        let late = orders.all.iter().filter(|(_, id)| orders.world.states(id)[0] != "Complete");
        let late: BTreeSet<&str> = late.map(|(reference, _)| reference.as_str()).collect();
        assert_eq!(late, lost, "the others came by webhook");
        orders.world.advance(MINUTE + Duration::from_secs(30)).await;
        assert!(orders.all_are("Complete"), "within an interval and the settling time");
        assert_eq!(orders.found().await, lost.len() as i64);
        orders.world.pass(Duration::from_secs(600), MINUTE).await;
        assert_eq!(orders.found().await, lost.len() as i64, "each once, though windows overlap");
        assert!(orders.world.parked().await.is_empty());
        orders.world.nothing_lost().await;
    }
}

async fn nothing_is_found_where_nothing_was_lost(engine: Engine) {
    let settings = Settings { automatic: true, ..Settings::default() };
    let Some(orders) = Orders::with(engine, 10, settings).await else { return };
    // An order of another channel: its webhooks come too, and nothing of it was ever lost.
    orders.world.foreign_order(json!({"ref": "POS-1"}));
    for _ in 0..20 {
        orders.world.advance(Duration::from_secs(30)).await;
    }
    assert!(orders.all_are("Complete"));
    assert!(orders.looks().len() > 5);
    assert_eq!(orders.found().await, 0);
    orders.world.pass(Duration::from_secs(1800), MINUTE).await;
    assert_eq!(orders.found().await, 0);
    assert!(orders.world.parked().await.is_empty());
    orders.world.nothing_lost().await;
}

async fn a_window_stays_as_it_was_until_it_is_walked(engine: Engine) {
    let Some(orders) = Orders::new(engine, 250).await else { return };
    orders.lose(1.0);
    // All at the same moment, so that rows with the same time lie on both sides of every page's edge.
    orders.move_all("BOOKED");
    orders.world.fluent.front().fault_after(1, unavailable());
    orders.world.advance(MINUTE).await;
    assert_eq!(orders.states().iter().filter(|state| *state == "Confirmed").count(), 100, "one page");
    let (first, failed) = (window(&orders.looks()[0]), window(&orders.looks()[1]));
    assert_eq!(first[2], Value::Null);
    assert_eq!(span(&failed), span(&first));
    // One that was seen and one that was not change meanwhile; both leave the window.
    let (seen, unseen) = (&orders.all[0], &orders.all[249]);
    orders.world.fluent.set_order_status(&seen.0, "COMPLETE");
    orders.world.fluent.set_order_status(&unseen.0, "COMPLETE");
    orders.world.advance(Duration::from_secs(7)).await;
    let looks = orders.looks();
    assert_eq!(window(&looks[2]), failed, "it goes on behind the last page");
    assert!(looks.iter().all(|look| span(&window(look)) == span(&first)), "the window is the same");
    assert_eq!(looks.len(), 4, "three pages and a failure");
    let confirmed = orders.states().iter().filter(|state| *state == "Confirmed").count();
    assert_eq!((confirmed, orders.found().await), (249, 249));
    orders.world.advance(MINUTE + Duration::from_secs(30)).await;
    for (_, id) in [seen, unseen] {
        assert_eq!(orders.world.states(id)[0], "Complete", "the next window has them");
    }
    assert_eq!(orders.found().await, 251);
    assert!(orders.world.parked().await.is_empty());
    orders.world.nothing_lost().await;
}

async fn a_cursor_that_fluent_refuses_starts_the_window_again(engine: Engine) {
    let Some(orders) = Orders::new(engine, 110).await else { return };
    orders.lose(1.0);
    orders.move_all("BOOKED");
    orders.world.fluent.front().fault_after(1, unavailable());
    orders.world.advance(MINUTE).await;
    orders.world.fluent.graphql_fault("OrdersUpdated", "C0160E", 1);
    orders.world.pass(Duration::from_secs(50), Duration::from_secs(10)).await;
    let looks: Vec<Value> = orders.looks().iter().map(window).collect();
    let (first, second) = (&looks[0], &looks[1]);
    assert_eq!(looks, [first, second, second, first, second].map(Clone::clone));
    assert!(orders.all_are("Confirmed"));
    assert_eq!(orders.found().await, 110, "rows that came twice count once");
    orders.world.nothing_lost().await;
}

async fn a_page_that_is_none_is_a_failure(engine: Engine) {
    let Some(orders) = Orders::new(engine, 3).await else { return };
    orders.lose(1.0);
    orders.move_all("BOOKED");
    orders.world.fluent.broken_pages("OrdersUpdated", 1);
    orders.world.advance(MINUTE).await;
    assert!(orders.all_are("Open"));
    orders.world.advance(Duration::from_secs(7)).await;
    let looks: Vec<Value> = orders.looks().iter().map(window).collect();
    assert_eq!(looks[0][0], looks[1][0], "the window was not closed");
    assert!(orders.all_are("Confirmed"));
    assert_eq!(orders.found().await, 3);
    orders.world.nothing_lost().await;
}

async fn a_row_that_shows_up_late_is_found(engine: Engine) {
    let Some(orders) = Orders::new(engine, 2).await else { return };
    orders.lose(1.0);
    orders.world.fluent.lag(Duration::from_secs(150));
    orders.world.fluent.set_order_status(&orders.all[0].0, "BOOKED");
    orders.world.advance(MINUTE).await;
    orders.world.fluent.set_order_status(&orders.all[1].0, "BOOKED");
    orders.world.pass(Duration::from_secs(90), Duration::from_secs(30)).await;
    assert_eq!(orders.found().await, 0, "nobody can see them yet");
    assert!(orders.all_are("Open"));
    orders.world.pass(Duration::from_secs(120), Duration::from_secs(30)).await;
    assert!(orders.all_are("Confirmed"), "windows that ended after them did not close over them");
    assert_eq!(orders.found().await, 2);
    orders.world.nothing_lost().await;
}

/// Orders that moved unheard before anybody looked: one two minutes ago, one an hour ago.
async fn unheard(engine: Engine, poll: &str) -> Option<Orders> {
    let connection = "    order_status: { poll: { enabled: false } }".to_owned();
    let mut orders = Orders::with(engine, 2, Settings { connection, ..Settings::default() }).await?;
    orders.lose(1.0);
    orders.world.advance(MINUTE).await;
    orders.world.fluent.set_order_status(&orders.all[0].0, "BOOKED");
    orders.world.advance(58 * MINUTE).await;
    orders.world.fluent.set_order_status(&orders.all[1].0, "BOOKED");
    orders.world.advance(2 * MINUTE).await;
    assert!(orders.looks().is_empty());
    orders.world.change(|settings| settings.connection = format!("    order_status: {{ poll: {{ {poll} }} }}"));
    orders.world.restart().await;
    orders.world.pass(10 * MINUTE, MINUTE).await;
    Some(orders)
}

async fn the_first_look_does_not_go_back(engine: Engine) {
    let Some(orders) = unheard(engine, "enabled: true").await else { return };
    assert!(orders.looks().len() > 5);
    assert!(orders.all_are("Open"), "{:?}", orders.states());
    orders.move_all("PICK_PACK");
    orders.world.advance(2 * MINUTE).await;
    assert!(orders.all_are("Confirmed"), "from then on nothing is missed");
    assert_eq!(orders.found().await, 2);
    orders.world.nothing_lost().await;
}

async fn the_first_look_goes_back_as_far_as_it_is_told(engine: Engine) {
    let Some(orders) = unheard(engine, "start_at: \"2026-06-15T10:30:00Z\"").await else { return };
    assert_eq!(orders.states(), ["Open", "Confirmed"]);
    let Some(orders) = unheard(engine, "start_at: \"2026-06-15T11:00:00+01:00\"").await else { return };
    assert_eq!(orders.states(), ["Confirmed", "Confirmed"]);
    assert_eq!(orders.found().await, 2);
    orders.world.nothing_lost().await;
}

async fn a_time_off_is_made_up_for(engine: Engine) {
    let Some(mut orders) = Orders::new(engine, 5).await else { return };
    orders.world.advance(MINUTE).await;
    orders.world.stop_daemon().await;
    orders.world.tick(MINUTE);
    orders.move_all("BOOKED");
    orders.world.until("Fluent has tried", async || orders.world.fluent.pending_webhooks() == 0).await;
    for _ in 0..12 {
        orders.world.tick(10 * MINUTE);
        orders.world.until("Fluent has tried", async || orders.world.fluent.pending_webhooks() == 0).await;
    }
    assert_eq!(orders.world.fluent.given_up().len(), 5);
    orders.world.start_daemon_again().await;
    orders.world.settle().await;
    assert!(orders.all_are("Confirmed"), "the first look covers all the time");
    assert_eq!(orders.found().await, 5);
    orders.world.nothing_lost().await;
}

async fn fluents_clock_decides(engine: Engine) {
    for fluent_ahead in [90_000, -90_000] {
        let settings = Settings { fluent_ahead, ..Settings::default() };
        let Some(orders) = Orders::with(engine, 5, settings).await else { return };
        orders.lose(1.0);
        for (status, state) in [("BOOKED", "Confirmed"), ("COMPLETE", "Complete")] {
            orders.move_all(status);
            orders.world.pass(Duration::from_secs(120), Duration::from_secs(30)).await;
            assert!(orders.all_are(state), "{fluent_ahead} ms: {:?}", orders.states());
        }
        assert_eq!(orders.found().await, 10);
        orders.world.nothing_lost().await;
    }
}

async fn a_poll_that_is_off_looks_at_nothing(engine: Engine) {
    for connection in ["    order_status: { poll: { enabled: false } }", "    order_status: { enabled: false }"] {
        let settings = Settings { connection: connection.into(), ..Settings::default() };
        let Some(orders) = Orders::with(engine, 2, settings).await else { return };
        orders.lose(1.0);
        orders.move_all("BOOKED");
        orders.world.pass(10 * MINUTE, MINUTE).await;
        assert!(orders.looks().is_empty(), "{connection}");
        assert!(orders.all_are("Open"));
        orders.world.nothing_lost().await;
    }
}

async fn two_daemons_walk_each_window_once(engine: Engine) {
    if engine == Engine::Sqlite {
        return;
    }
    let Some(mut orders) = Orders::new(engine, 10).await else { return };
    orders.world.start_daemon().await;
    orders.lose(1.0);
    for status in ["BOOKED", "PICK_PACK", "COMPLETE"] {
        orders.move_all(status);
        orders.world.pass(2 * MINUTE, Duration::from_secs(30)).await;
    }
    assert!(orders.all_are("Complete"));
    assert_eq!(orders.found().await, 30);
    let looks: Vec<String> = orders.looks().iter().map(|look| window(look).to_string()).collect();
    assert_eq!(looks.len(), 6, "one a minute");
    assert_eq!(looks.iter().collect::<BTreeSet<_>>().len(), 6);
    orders.world.nothing_lost().await;
}
