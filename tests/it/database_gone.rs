//! Stories of a database that goes away and comes back (architecture 6, G1, G12): whoever wants to
//! leave something is told to come again, and what was under way goes on by itself.

use std::time::Duration;

use fluent_connector::simulator::Traffic;
use fluent_connector::simulator::commercetools::ADA;
use serde_json::{Value, json};
use sqlx::{Connection, Executor, PgConnection, SqliteConnection};

use crate::caller::Request;
use crate::database::Engine;
use crate::webhook::Booked;
use crate::world::{Settings, World};

const PLAIN: &str = "/intake/commercetools/plain/main";

fn proxied() -> Settings {
    Settings { proxied: true, ..Settings::default() }
}

async fn ready(world: &World) -> u16 {
    Request::new("GET", "/readyz").send(&world.url(0)).await.status
}

/// Looks at the database past the proxy.
struct Probe(PgConnection);

impl Probe {
    async fn new(world: &World) -> Self {
        Self(PgConnection::connect(&world.database.url).await.unwrap())
    }

    /// How many updates of orders are in that state.
    async fn count(&mut self, state: &str) -> i64 {
        let query = "select count(*) from message where route = 'commercetools.update-order' and state = $1";
        sqlx::query_scalar(query).bind(state).fetch_one(&mut self.0).await.unwrap()
    }
}

fn order_state(world: &World, id: &str) -> String {
    world.shop_order(id)["orderState"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn intake_answers_503_until_postgres_is_back() {
    let Some(booked) = Booked::with(Engine::Postgres, proxied()).await else { return };
    let token = booked.world.token(&["intake:commercetools"]).await;
    let (world, webhook) = (&booked.world, booked.signed(&booked.webhook("w-1")));
    let plain = Request::post(PLAIN, "[]").bearer(&token);
    for refused in [false, true] {
        match refused {
            true => world.proxy().refuse(),
            false => world.proxy().cut(),
        }
        let url = world.url(0);
        let (webhook, plain) = tokio::join!(webhook.send(&url), plain.send(&url));
        for reply in [webhook, plain] {
            assert_eq!(reply.problem(), (503, "unavailable"));
            assert_eq!(reply.header("retry-after"), Some("2"));
        }
        world.until("it is not ready", async || ready(world).await == 503).await;
        assert_eq!(Request::new("GET", "/healthz").send(&url).await.status, 200);
        world.proxy().restore();
        world.until("it is ready again", async || ready(world).await == 200).await;
        assert_eq!(order_state(world, &booked.shop_id), "Open", "nothing was taken");
    }
    assert_eq!(plain.send(&world.url(0)).await.status, 202);
    assert_eq!(webhook.send(&world.url(0)).await.body["status"], "accepted");
    world.settle().await;
    assert_eq!(order_state(world, &booked.shop_id), "Confirmed");
    world.nothing_lost().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn senders_come_again_and_nothing_is_missing() {
    let Some(world) = World::with(Engine::Postgres, proxied()).await else { return };
    let place = |number: u32| {
        let draft = world.commercetools.order(Some(&number.to_string()));
        draft.guest(&format!("guest-{number}@example.org")).place()
    };
    let old: Vec<String> = (1..=10).map(place).collect();
    world.settle().await;
    world.proxy().cut();
    for number in 1..=10 {
        world.fluent.set_order_status(&format!("HD_{number}"), "BOOKED");
    }
    let new: Vec<String> = (11..=20).map(place).collect();
    let tried = async || world.fluent.pending_webhooks() + world.commercetools.pending_pushes() == 0;
    world.until("every sender was sent away", tried).await;
    assert!(world.fluent.webhooks().iter().all(|row| row["status"] == 503), "{:?}", world.fluent.webhooks());
    world.proxy().restore();
    world.until("it is ready again", async || ready(&world).await == 200).await;
    world.pass(Duration::from_secs(70), Duration::from_secs(2)).await;
    for id in &old {
        assert_eq!(order_state(&world, id), "Confirmed");
    }
    for (number, id) in (11..).zip(&new) {
        let order = world.fluent.order(&format!("HD_{number}")).expect("the order is in Fluent");
        assert_eq!(world.shop_order(id)["syncInfo"][0]["externalId"], order["id"]);
    }
    assert_eq!(world.fluent_effects("createOrder", "ORDER").len(), 20);
    assert!(world.parked().await.is_empty());
    world.nothing_lost().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_that_fluent_took_meanwhile_is_one_order() {
    let Some(world) = World::with(Engine::Postgres, proxied()).await else { return };
    world.fluent.front().traffic(Traffic { latency: Duration::from_millis(400), ..Traffic::default() });
    let id = world.commercetools.order(Some("1")).customer(ADA).payment("CREDIT_CARD", 2999).place();
    // The look for the products is the last thing before the order is created.
    world.until("the products are looked for", async || world.fluent.front().received("VariantsByRef") > 0).await;
    world.proxy().cut();
    let created = async || !world.fluent_effects("createOrder", "ORDER").is_empty();
    world.until("Fluent has the order", created).await;
    world.until("its outcome cannot be stored", async || ready(&world).await == 503).await;
    world.fluent.front().traffic(Traffic::default());
    world.proxy().restore();
    world.until("it is ready again", async || ready(&world).await == 200).await;
    world.settle().await;
    world.pass(Duration::from_secs(120), Duration::from_secs(10)).await;
    assert_eq!(world.fluent_effects("createOrder", "ORDER").len(), 1);
    assert_eq!(world.fluent.transactions().len(), 1);
    let order = world.fluent.order("HD_1").unwrap();
    assert_eq!(world.shop_order(&id)["syncInfo"][0]["externalId"], order["id"]);
    assert!(world.parked().await.is_empty());
    world.nothing_lost().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_that_was_stored_unheard_is_a_duplicate() {
    let Some(booked) = Booked::with(Engine::Postgres, proxied()).await else { return };
    let (world, webhook) = (&booked.world, booked.signed(&booked.webhook("w-1")));
    world.proxy().lose_commits(true);
    assert_eq!(webhook.send(&world.url(0)).await.problem(), (503, "unavailable"));
    world.proxy().lose_commits(false);
    assert_eq!(webhook.send(&world.url(0)).await.body["status"], "duplicate");
    world.until("it has its effect", async || order_state(world, &booked.shop_id) == "Confirmed").await;
    world.settle().await;
    world.nothing_lost().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_that_was_claimed_unheard_is_done_all_the_same() {
    let Some(booked) = Booked::with(Engine::Postgres, proxied()).await else { return };
    let (world, mut probe) = (&booked.world, Probe::new(&booked.world).await);
    world.fluent.front().down(true);
    assert_eq!(booked.signed(&booked.webhook("w-1")).send(&world.url(0)).await.status, 200);
    world.settle().await;
    world.fluent.front().down(false);
    world.proxy().lose_commits(true);
    world.tick(Duration::from_secs(7));
    world.until("it is claimed", async || probe.count("running").await == 1).await;
    world.proxy().lose_commits(false);
    world.settle().await;
    assert_eq!(order_state(world, &booked.shop_id), "Confirmed");
    world.nothing_lost().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outcome_that_was_stored_unheard_stands() {
    let Some(booked) = Booked::with(Engine::Postgres, proxied()).await else { return };
    let (world, mut probe) = (&booked.world, Probe::new(&booked.world).await);
    let done = probe.count("done").await;
    world.commercetools.front().traffic(Traffic { latency: Duration::from_millis(400), ..Traffic::default() });
    assert_eq!(booked.signed(&booked.webhook("w-1")).send(&world.url(0)).await.status, 200);
    world.until("it is under way", async || probe.count("running").await == 1).await;
    world.proxy().lose_commits(true);
    world.until("it is done", async || probe.count("done").await > done).await;
    world.proxy().lose_commits(false);
    world.settle().await;
    assert_eq!(order_state(world, &booked.shop_id), "Confirmed");
    let ledger = world.commercetools.front().ledger();
    let confirmed = ledger.iter().filter(|effect| effect.detail.to_string().contains("changeOrderState"));
    assert_eq!(confirmed.count(), 1);
    world.nothing_lost().await;
}

/// What SQLite knows of a database that is gone: somebody else holds the file for writing, as a
/// shell or a backup may. A full disk cannot be had everywhere without root.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn intake_answers_503_while_somebody_else_holds_the_sqlite_file() {
    let Some(booked) = Booked::with(Engine::Sqlite, Settings::default()).await else { return };
    let token = booked.world.token(&["intake:commercetools"]).await;
    let (world, webhook) = (&booked.world, booked.signed(&booked.webhook("w-1")));
    let note = json!({
        "notificationType": "ResourceCreated", "projectKey": "demo-project", "version": 1,
        "resource": {"typeId": "subscription", "id": "s-1"}, "modifiedAt": "2026-06-15T10:00:00.000Z",
    });
    let plain = Request::post(PLAIN, Value::to_string(&note)).bearer(&token);
    let mut other = SqliteConnection::connect(&world.database.url).await.unwrap();
    other.execute("begin immediate").await.unwrap();
    let url = world.url(0);
    let (first, second) = tokio::join!(webhook.send(&url), plain.send(&url));
    for reply in [first, second] {
        assert_eq!(reply.problem(), (503, "unavailable"));
        assert_eq!(reply.header("retry-after"), Some("2"));
    }
    other.execute("rollback").await.unwrap();
    other.close().await.unwrap();
    // A write that was refused last may still be stored: then the sender's next try is a duplicate.
    assert_eq!(webhook.send(&world.url(0)).await.status, 200);
    assert_eq!(plain.send(&world.url(0)).await.status, 202);
    world.settle().await;
    assert_eq!(order_state(world, &booked.shop_id), "Confirmed");
    world.nothing_lost().await;
}
