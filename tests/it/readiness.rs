//! What the service manager is told, and what the outside sees of a start and of a stop. Real
//! processes.

use std::time::Duration;

use fluent_connector::remote;
use fluent_connector::simulator::Traffic;
use serde_json::json;
use sqlx::{Connection, SqliteConnection};

use crate::database::Engine;
use crate::on_both_databases;
use crate::proxy;
use crate::service::Managed;
use crate::settle::eventually;

on_both_databases!(ready_signs_of_life_and_stop_are_told_in_order, a_stop_hands_back_what_does_not_finish);

/// Long enough for several signs of life.
const A_WHILE: Duration = Duration::from_secs(2);

async fn ready_signs_of_life_and_stop_are_told_in_order(engine: Engine) {
    let Some(managed) = Managed::new(engine).await else { return };
    let manager = &managed.manager;
    let service = managed.start();
    manager.ready().await;
    eventually("three signs of life", async || manager.said_of("WATCHDOG").len() >= 3).await;
    assert_eq!(manager.said()[..2], ["READY=1", "STATUS=caught up"]);
    assert_eq!(readyz(&managed).await, 200);
    manager.forget();
    assert_eq!(service.stop().await.1, Some(0), "{}", manager.log());
    let said = manager.said();
    let stopping = said.iter().position(|state| state == "STOPPING=1").expect("STOPPING=1 is told");
    assert_eq!(said[stopping + 1], "STATUS=stopping");
    assert!(!said.contains(&"READY=1".into()), "{said:?}");
    assert!(manager.admin.exists(), "the file of the admin socket is the manager's");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_not_ready_before_the_store_took_a_write() {
    let managed = Managed::new(Engine::Sqlite).await.unwrap();
    let manager = &managed.manager;
    let mut other = SqliteConnection::connect(&managed.world.database.url).await.unwrap();
    sqlx::raw_sql("begin immediate").execute(&mut other).await.unwrap();
    let service = managed.start();
    assert!(!within(A_WHILE, async || !manager.said().is_empty()).await, "{:?}", manager.said());
    sqlx::raw_sql("rollback").execute(&mut other).await.unwrap();
    manager.ready().await;
    assert_eq!(service.stop().await.1, Some(0));
}

/// A connector without its store gives no sign of life; one without its remotes does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signs_of_life_follow_the_store_and_not_the_remotes() {
    let Some(managed) = Managed::new(Engine::Postgres).await else { return };
    let (world, manager) = (&managed.world, &managed.manager);
    let (proxy, url) = proxy::through(&world.database).await;
    managed.configure(&managed.configuration().replace(&world.database.url, &url));
    let service = managed.start();
    manager.ready().await;
    world.fluent.front().down(true);
    world.commercetools.front().down(true);
    order(&managed).await;
    manager.forget();
    eventually("signs of life without remotes", async || manager.said_of("WATCHDOG").len() >= 3).await;

    proxy.cut();
    let says = async |what: &str| manager.said_of("STATUS").iter().any(|said| said.starts_with(what));
    eventually("it says why", async || says("no sign of life: ").await).await;
    manager.forget();
    assert_eq!(readyz(&managed).await, 503);
    assert!(!within(A_WHILE, async || !manager.said_of("WATCHDOG").is_empty()).await, "{:?}", manager.said());
    proxy.restore();
    eventually("signs of life with the store", async || manager.said_of("WATCHDOG").len() >= 3).await;
    eventually("the status is as before", async || says("caught up").await).await;
    assert_eq!(service.stop().await.1, Some(0), "{}", manager.log());
}

/// A database that is away is worth another start (1); one that this process cannot use is not (9).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_away_is_worth_another_start() {
    let managed = Managed::new(Engine::Sqlite).await.unwrap();
    let manager = &managed.manager;
    let sqlite = managed.configuration();
    managed.configure(&sqlite.replace(&managed.world.database.url, "postgres://nobody@127.0.0.1:9/nothing"));
    assert_eq!(managed.start().ended().await, Some(1), "{}", manager.log());
    managed.configure(&sqlite);
    let first = managed.start();
    manager.ready().await;
    assert_eq!(managed.start().ended().await, Some(9), "{}", manager.log());
    assert_eq!(first.stop().await.1, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_of_another_name_is_refused() {
    let managed = Managed::new(Engine::Sqlite).await.unwrap();
    let mut service = managed.manager.start_named(&managed.config, "http:other");
    assert_eq!(service.ended().await, Some(3), "{}", managed.manager.log());
    let sentence = "a socket named \"other\"; FileDescriptorName= is http or admin";
    assert!(managed.manager.log().contains(sentence), "{}", managed.manager.log());
}

async fn a_stop_hands_back_what_does_not_finish(engine: Engine) {
    let Some(managed) = Managed::new(engine).await else { return };
    let service = managed.start();
    managed.manager.ready().await;
    // Answers come after the end of the drain (5 s), but before our own patience ends.
    managed.world.fluent.front().traffic(Traffic { limit: None, latency: Duration::from_secs(12) });
    order(&managed).await;
    eventually("the handler runs", async || states(&managed).await.iter().any(|(state, _)| state == "running")).await;
    let (took, code) = service.stop().await;
    assert_eq!(code, Some(0));
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert_eq!(states(&managed).await, [("ready".to_owned(), 0)], "{}", managed.manager.log());
    managed.world.fluent.front().traffic(Traffic::default());
    let service = managed.start();
    eventually("the order is in Fluent", async || managed.world.fluent.order("HD_10001").is_some()).await;
    service.stop().await;
}

/// A connector that binds its own sockets says no while it stops: nobody listens there after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_its_own_sockets_it_refuses_while_it_stops() {
    let managed = Managed::new(Engine::Sqlite).await.unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let socket = managed.world.database.folder.path().join("own.sock");
    managed.configure(&managed.world.configuration(&format!("127.0.0.1:{port}"), &socket));
    let service = managed.manager.start_alone(&managed.config);
    managed.manager.ready().await;
    assert!(socket.exists());
    let http = remote::http_client().unwrap();
    let url = format!("http://127.0.0.1:{port}");
    managed.world.fluent.front().traffic(Traffic { limit: None, latency: Duration::from_millis(400) });
    assert_eq!(managed.order(&http, &url, "10001").send().await.unwrap().status(), 202);
    eventually("the handler runs", async || states(&managed).await.iter().any(|(state, _)| state == "running")).await;

    let refused = async {
        let readyz = format!("{url}/readyz");
        eventually("it is not ready", async || http.get(&readyz).send().await.unwrap().status() == 503).await;
        let about = json!({"id": "1", "ref": "HD_1", "status": "BOOKED"});
        let answer = managed.webhook(&http, &url, &about).1.send().await.unwrap();
        assert_eq!((answer.status().as_u16(), &answer.headers()["retry-after"]), (503, &"2".parse().unwrap()));
    };
    let ((_, code), ()) = tokio::join!(service.stop(), refused);
    assert_eq!(code, Some(0), "{}", managed.manager.log());
    assert!(!socket.exists(), "its own admin socket is gone with it");
    assert_eq!(states(&managed).await, [("done".to_owned(), 1)], "the handler finished");
}

async fn readyz(managed: &Managed) -> u16 {
    let answer = remote::http_client().unwrap().get(format!("{}/readyz", managed.url())).send().await;
    answer.unwrap().status().as_u16()
}

async fn order(managed: &Managed) {
    let answer = managed.order(&remote::http_client().unwrap(), &managed.url(), "10001").send().await;
    assert_eq!(answer.unwrap().status(), 202);
}

/// State and attempts of the message that creates the order.
async fn states(managed: &Managed) -> Vec<(String, i64)> {
    let statement = "select state, attempts from message where route = 'fluent.create-order'";
    managed.world.database.rows(statement).await
}

async fn within(time: Duration, condition: impl AsyncFnMut() -> bool) -> bool {
    tokio::time::timeout(time, eventually("it", condition)).await.is_ok()
}
