//! Stories of a database in trouble, as an operator sees it (architecture 6, G11, G12): what is refused,
//! what is told of it, and that it goes on by itself.

use std::time::Duration;

use fluent_connector::simulator::Traffic;
use fluent_connector::simulator::commercetools::ADA;
use fluent_connector::store::{Db, Error, Urgency};
use serde_json::Value;

use crate::caller::Request;
use crate::database::Engine;
use crate::on_both_databases;
use crate::webhook::Booked;
use crate::world::{Settings, World};

on_both_databases! {
    a_read_only_database_refuses_and_goes_on,
}

const READ_ONLY: &str = "The database is read-only. Make it writable; the connector goes on by itself.";
const LOW: &str = "The disk that holds the database has less than database.disk_reserve left. Free space there; the \
                   connector goes on by itself.";
const FULL: &str = "The disk that holds the database is full. Free space there; the connector goes on by itself.";

/// Runs a statement on the connection that the daemon writes with; SQLite only. What it answers does
/// not matter: the statement is there also when its transaction is not.
async fn on_the_writer(world: &World, statement: &'static str) {
    let write = world.daemons[0].app.store().write(Urgency::Urgent, move |tx| {
        Box::pin(async move {
            let Db::Sqlite(connection) = &mut **tx else { panic!("SQLite only") };
            sqlx::raw_sql(statement).execute(&mut **connection).await?;
            Ok(())
        })
    });
    let _ = write.await;
}

pub async fn writable(world: &World, writable: bool) {
    match (world.database.engine, writable) {
        (Engine::Sqlite, true) => {}
        (Engine::Sqlite, false) => on_the_writer(world, "pragma query_only = on").await,
        (Engine::Postgres, _) => {
            let name = world.database.name();
            let setting = if writable { "off" } else { "on" };
            let end = "select pg_terminate_backend(pid) from pg_stat_activity \
                       where datname = current_database() and pid <> pg_backend_pid()";
            // Connections that are open keep the setting they began with.
            let change = format!(
                "begin read write; alter database {name} set default_transaction_read_only = {setting}; commit; {end}"
            );
            world.database.execute(&change).await;
        }
    }
}

/// Status and what is said of the store.
async fn readiness(world: &World) -> (u16, String) {
    let reply = Request::new("GET", "/readyz").send(&world.url(0)).await;
    (reply.status, reply.body["store"].as_str().unwrap_or_default().to_owned())
}

/// Whatever the moment brings (a connection that just ended), at last it is refused for this reason.
async fn refuses(world: &World, request: &Request, sentence: &str) {
    world
        .until("it is refused and told why", async || {
            let reply = request.send(&world.url(0)).await;
            assert_eq!(reply.problem(), (503, "unavailable"));
            assert_eq!(reply.header("retry-after"), Some("2"));
            readiness(world).await == (503, sentence.to_owned())
        })
        .await;
}

/// Is ready again, and tells of nothing.
async fn recovers(world: &World) {
    world.until("it is ready again", async || readiness(world).await.0 == 200).await;
    assert_eq!(world.daemons[0].app.store().trouble(), None);
    let token = world.token(&["status:read"]).await;
    let status = Request::new("GET", "/api/v1/status").bearer(&token).send(&world.url(0)).await;
    assert_eq!(status.body["incidents"], Value::Array(Vec::new()));
}

async fn a_read_only_database_refuses_and_goes_on(engine: Engine) {
    let Some(mut booked) = Booked::with(engine, Settings::default()).await else { return };
    let (world, webhook) = (&booked.world, booked.signed(&booked.webhook("w-1")));
    let token = world.token(&["status:read"]).await;
    writable(world, false).await;
    refuses(world, &webhook, READ_ONLY).await;
    // A token that was never used before: that this cannot be noted is no reason to show nothing.
    let status = Request::new("GET", "/api/v1/status").bearer(&token).send(&world.url(0)).await;
    assert_eq!(status.status, 200);
    let incident = &status.body["incidents"][0];
    assert_eq!((incident["kind"].as_str(), incident["title"].as_str()), (Some("store-error"), Some(READ_ONLY)));
    assert_eq!(incident["first_at"], "2026-06-15T10:00:00.000Z");
    assert_eq!(Request::new("GET", "/healthz").send(&world.url(0)).await.status, 200);

    writable(world, true).await;
    if engine == Engine::Sqlite {
        // What made the connection read-only ends only with it.
        booked.world.restart().await;
    }
    let world = &booked.world;
    recovers(world).await;
    assert_eq!(webhook.send(&world.url(0)).await.body["status"], "accepted", "nothing was taken before");
    world.settle().await;
    assert_eq!(world.states(&booked.shop_id)[0], "Confirmed");
    world.nothing_lost().await;
}

/// No disk has a petabyte free.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_low_disk_takes_nothing_in_and_finishes_what_was() {
    let Some(mut booked) = Booked::with(Engine::Sqlite, Settings::default()).await else { return };
    let webhook = booked.signed(&booked.webhook("w-1"));
    let world = &mut booked.world;
    world.fluent.front().down(true);
    world.commercetools.order(Some("30001")).customer(ADA).line("TEE-RED-M", 1, 2_999).place();
    world.settle().await;
    let before = world.fluent_effects("createOrder", "ORDER").len();
    world.set(Settings { over: "database: { disk_reserve: 1048576GiB }".into(), ..Settings::default() });
    world.restart().await;
    refuses(world, &webhook, LOW).await;
    world.fluent.front().down(false);
    world.pass(Duration::from_secs(1_200), Duration::from_secs(60)).await;
    assert_eq!(world.fluent_effects("createOrder", "ORDER").len(), before + 1, "it was taken in before");
    assert_eq!(readiness(world).await, (503, LOW.to_owned()));

    world.set(Settings::default());
    world.restart().await;
    recovers(world).await;
    assert_eq!(webhook.send(&world.url(0)).await.body["status"], "accepted");
    world.settle().await;
    world.nothing_lost().await;
}

/// The database may not grow: to SQLite that is a full disk.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_and_goes_on() {
    let Some(booked) = Booked::with(Engine::Sqlite, Settings::default()).await else { return };
    let world = &booked.world;
    on_the_writer(world, "pragma max_page_count = 1").await;
    let mut taken = Vec::new();
    let mut refused = None;
    for number in 0..2_000 {
        let webhook = booked.signed(&booked.webhook(&format!("w-{number}")));
        let reply = webhook.send(&world.url(0)).await;
        if reply.status == 503 {
            assert_eq!(reply.problem(), (503, "unavailable"));
            assert_eq!(reply.header("retry-after"), Some("2"));
            refused = Some(webhook);
            break;
        }
        taken.push(reply.body["id"].as_str().unwrap().to_owned());
    }
    let refused = refused.expect("at last there is no page left");
    assert_eq!(readiness(world).await, (503, FULL.to_owned()));
    on_the_writer(world, "pragma max_page_count = 1000000").await;
    recovers(world).await;
    assert_eq!(refused.send(&world.url(0)).await.body["status"], "accepted");
    world.settle().await;
    for id in &taken {
        let row = world.messages(Default::default()).await.into_iter().find(|row| row.id.to_string() == *id);
        assert!(row.is_some(), "{id} was acknowledged");
    }
    assert_eq!(world.states(&booked.shop_id)[0], "Confirmed");
    world.nothing_lost().await;
}

/// A claim is not awaited: it may be lost with the transaction of others while its handler runs. The
/// message is due again then, but its subject has one handler at a time all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_that_was_lost_is_not_run_beside_itself() {
    let Some(world) = World::new(Engine::Sqlite).await else { return };
    world.fluent.front().traffic(Traffic { latency: Duration::from_millis(40), ..Traffic::default() });
    let ids: Vec<String> = (1..=8)
        .map(|number| {
            let draft = world.commercetools.order(Some(&number.to_string())).customer(ADA);
            draft.payment("CREDIT_CARD", 2_999).place()
        })
        .collect();
    // Transactions are taken away from under whatever was committed together with this.
    for _ in 0..150 {
        let one = || async {
            let write = world.daemons[0].app.store().write(Urgency::Urgent, |tx| {
                Box::pin(async move {
                    let Db::Sqlite(connection) = &mut **tx else { panic!("SQLite only") };
                    sqlx::raw_sql("rollback").execute(&mut **connection).await?;
                    Err::<(), Error>(Error::Busy)
                })
            });
            let _ = write.await;
        };
        tokio::join!(one(), one());
        world.breathe(2).await;
    }
    world.until("it is ready again", async || readiness(&world).await.0 == 200).await;
    world.settle().await;
    world.pass(Duration::from_secs(300), Duration::from_secs(5)).await;
    for id in &ids {
        world.arrived(id);
    }
    assert_eq!(world.fluent_effects("createOrder", "ORDER").len(), 8);
    assert_eq!(world.fluent.front().received("CreateOrder"), 8, "nobody tried it beside another");
    assert!(world.parked().await.is_empty(), "{:#?}", world.parked().await);
    world.nothing_lost().await;
}
