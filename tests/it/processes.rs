//! Stories with the real binary: two processes on one Postgres, and processes that die.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use fluent_connector::remote;
use fluent_connector::simulator::Traffic;
use fluent_connector::simulator::commercetools::{ADA, ARTICLES};
use fluent_connector::store::DEATHS;
use serde_json::{Value, json};

use crate::database::Engine;
use crate::on_both_databases;
use crate::world::{Settings, World};

/// A connector of its own process; killed when the story ends.
struct Process {
    child: Child,
    url: String,
}

impl Process {
    async fn start(world: &World, number: u32) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let folder = world.database.folder.path();
        let file = folder.join(format!("process-{number}.yml"));
        let socket = folder.join(format!("process-{number}.sock"));
        std::fs::write(&file, world.configuration(&format!("127.0.0.1:{port}"), &socket)).unwrap();
        let log = std::fs::File::create(folder.join(format!("process-{number}.log"))).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_fluent-connector"))
            .args(["run", "--config"])
            .arg(&file)
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let process = Self { child, url: format!("http://127.0.0.1:{port}") };
        let http = remote::http_client().unwrap();
        world
            .until("the process is ready", async || {
                let answer = http.get(format!("{}/readyz", process.url)).send().await;
                answer.is_ok_and(|answer| answer.status() == 200)
            })
            .await;
        process
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The order's notification as a relay would bring it.
fn notification(world: &World, id: &str) -> Value {
    json!({
        "notificationType": "Message", "projectKey": world.commercetools.options().project_key, "id": "m-1",
        "version": 1, "sequenceNumber": 1, "resource": {"typeId": "order", "id": id}, "resourceVersion": 1,
        "type": "OrderImported",
    })
}

on_both_databases! {
    a_message_that_each_process_dies_of_is_parked,
}

/// What the process dies of is a kill from outside: for the queue that is the same.
async fn a_message_that_each_process_dies_of_is_parked(engine: Engine) {
    let seldom = "{ cron: \"0 0 1 1 *\" }";
    let settings = Settings {
        top: format!("schedule: {{ jobs: {{ job.order-sync: {seldom}, job.order-status-sync: {seldom} }} }}"),
        without_push: true,
        without_webhooks: true,
        ..Settings::default()
    };
    let Some(mut world) = World::with(engine, settings).await else { return };
    let token = world.token(&["intake:commercetools"]).await;
    world.daemons.remove(0).stop().await;
    let id = world.commercetools.order(Some("10001")).customer(ADA).place();
    world.commercetools.front().traffic(Traffic { latency: Duration::from_secs(600), ..Traffic::default() });
    let messages = "select state, coalesce(detail, '') from message where subject like 'order:%'";
    for death in 1..=3 {
        let process = Process::start(&world, 1).await;
        if death == 1 {
            let url = format!("{}/intake/commercetools/plain/main", process.url);
            let post = remote::http_client().unwrap().post(url).bearer_auth(&token);
            let post = post.header("content-type", "application/json").body(notification(&world, &id).to_string());
            assert_eq!(post.send().await.unwrap().status(), 202);
        }
        world
            .until("it runs", async || {
                let rows: Vec<(String, String)> = world.database.rows(messages).await;
                rows[0].0 == "running"
            })
            .await;
        drop(process);
        if death == 1 {
            // Many more died like that.
            let many =
                format!("update message set deaths = {} where subject like 'order:%' returning deaths", DEATHS - 3);
            let _: Vec<(i64,)> = world.database.rows(&many).await;
        }
    }
    world.commercetools.front().traffic(Traffic::default());
    let _process = Process::start(&world, 1).await;
    let rows: Vec<(String, String)> = world.database.rows(messages).await;
    assert_eq!((rows.len(), rows[0].0.as_str()), (1, "parked"), "{rows:?}");
    assert!(rows[0].1.contains("died") && rows[0].1.contains("message retry"), "{rows:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_copies_on_two_processes_are_one_order_and_one_payment() {
    let settings = Settings {
        connection: "    order: { since: \"2026-01-01T00:00:00Z\" }\n".into(),
        without_push: true,
        without_webhooks: true,
        ..Settings::default()
    };
    let Some(mut world) = World::with(Engine::Postgres, settings).await else { return };
    let token = world.token(&["intake:commercetools", "status:read"]).await;
    world.daemons.remove(0).stop().await;
    let processes = [Process::start(&world, 1).await, Process::start(&world, 2).await];
    let article = ARTICLES[0];
    let order = world.commercetools.order(Some("10001")).customer(ADA).line(article.sku, 1, article.cent_amount);
    let id = order.shipping(495).payment("CREDIT_CARD", article.cent_amount + 495).place();

    let http = remote::http_client().unwrap();
    let body = notification(&world, &id).to_string();
    let post = |at: usize| {
        let url = format!("{}/intake/commercetools/plain/main", processes[at % 2].url);
        http.post(url).bearer_auth(&token).header("content-type", "application/json").body(body.clone()).send()
    };
    let answers = futures_util::future::join_all((0..50).map(post)).await;
    assert!(answers.into_iter().all(|answer| answer.unwrap().status() == 202));

    world.until("the order is linked", async || world.shop_order(&id)["syncInfo"][0].is_object()).await;
    world
        .until("nothing is left to do", async || {
            let status = http.get(format!("{}/api/v1/status", processes[0].url)).bearer_auth(&token).send();
            let status: Value = status.await.unwrap().json().await.unwrap();
            ["ready", "running", "waiting"].iter().all(|state| status["totals"][state].as_i64().unwrap_or(0) == 0)
        })
        .await;
    assert_eq!(world.fluent_effects("createOrder", "ORDER").len(), 1);
    assert_eq!(world.fluent.transactions().len(), 1);
    assert_eq!(world.fluent.customers().len(), 1);
    assert_eq!(world.commercetools.front().received("POST /orders/{id}"), 1);
}
