//! Restarts under load (G7, G8): the sockets stay with the manager, so nobody is refused, and
//! everything that was taken is done in the end. Real processes.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fluent_connector::clock::Clock;
use fluent_connector::remote;
use fluent_connector::simulator::Traffic;
use fluent_connector::store::Store;
use futures_util::FutureExt;
use reqwest::{RequestBuilder, Response};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::database::Engine;
use crate::on_both_databases;
use crate::service::{Managed, Service};
use crate::settle::eventually;
use crate::summary;

on_both_databases!(restarts_under_load_lose_nothing, after_a_kill_work_goes_on_at_once);

const RESTARTS: usize = 20;
const KILLS: usize = 5;
/// Senders of webhooks; every second one makes a connection per request.
const SENDERS: usize = 4;
/// What a stop may take (G8).
const STOP: Duration = Duration::from_secs(30);

/// What the senders did.
#[derive(Default)]
struct Sent {
    over: AtomicBool,
    orders: AtomicUsize,
    /// Requests that were sent a second time.
    again: AtomicUsize,
    /// Id → ref of the order it is about.
    webhooks: Mutex<BTreeMap<String, String>>,
}

async fn restarts_under_load_lose_nothing(engine: Engine) {
    let Some(managed) = Managed::new(engine).await.map(Arc::new) else { return };
    let sent = Arc::new(Sent::default());
    let mut service = start(&managed).await;
    let first = managed.order(&remote::http_client().unwrap(), &managed.url(), "10000").send().await;
    assert_eq!(first.unwrap().status(), 202);
    sent.orders.store(1, Ordering::SeqCst);
    eventually("a first order", async || !managed.world.fluent.orders().is_empty()).await;
    let mut senders = JoinSet::new();
    for number in 0..SENDERS {
        senders.spawn(webhooks(managed.clone(), sent.clone(), number));
    }
    senders.spawn(orders(managed.clone(), sent.clone()));

    let (mut stops, mut gaps) = (Vec::new(), Vec::new());
    for _ in 0..RESTARTS {
        tokio::time::sleep_until(Instant::now() + Duration::from_millis(300)).await;
        let (took, code) = service.stop().await;
        assert_eq!(code, Some(0), "{}", managed.manager.log());
        stops.push(took);
        let before = effects(&managed);
        service = managed.start();
        eventually("an effect after the start", async || effects(&managed) > before).await;
        gaps.push(service.started.elapsed());
    }
    sent.over.store(true, Ordering::SeqCst);
    while let Some(ended) = senders.join_next().await {
        ended.unwrap();
    }
    everything_is_done(&managed, &sent).await;
    assert!(service.stop().await.0 < STOP);
    assert!(stops.iter().all(|took| *took < STOP), "{stops:?}");
    balance_closes(&managed).await;
    let (orders, webhooks) = (sent.orders.load(Ordering::SeqCst), sent.webhooks.lock().unwrap().len());
    summary::note(&format!(
        "restarts on {engine:?}: {RESTARTS} under load, {orders} orders and {webhooks} webhooks sent, none refused, \
         none lost, {} sent again; stop {}; first effect after start {}",
        sent.again.load(Ordering::SeqCst),
        told(stops),
        told(gaps)
    ));
}

/// The process is killed while its handlers wait for Fluent.
async fn after_a_kill_work_goes_on_at_once(engine: Engine) {
    let Some(managed) = Managed::new(engine).await else { return };
    let http = remote::http_client().unwrap();
    let mut gaps = Vec::new();
    let mut service = start(&managed).await;
    for kill in 0..KILLS {
        managed.world.fluent.front().traffic(Traffic { limit: None, latency: Duration::from_secs(60) });
        for number in 0..4 {
            let answer = managed.order(&http, &managed.url(), &format!("{}", 20_000 + kill * 10 + number)).send().await;
            assert_eq!(answer.unwrap().status(), 202);
        }
        eventually("handlers run", async || {
            !rows(&managed, "route like 'fluent.%' and state = 'running'").await.is_empty()
        })
        .await;
        service.kill().await;
        managed.world.fluent.front().traffic(Traffic::default());
        let before = effects(&managed);
        service = managed.start();
        eventually("an effect after the kill", async || effects(&managed) > before).await;
        gaps.push(service.started.elapsed());
        eventually("the orders are in Fluent", async || {
            (0..4).all(|number| managed.world.fluent.order(&format!("HD_{}", 20_000 + kill * 10 + number)).is_some())
        })
        .await;
    }
    all_done(&managed).await;
    service.stop().await;
    assert_eq!(managed.world.fluent_effects("createOrder", "ORDER").len(), 4 * KILLS);
    balance_closes(&managed).await;
    summary::note(&format!(
        "kills on {engine:?}: {KILLS} with running handlers; first effect after start {}",
        told(gaps)
    ));
}

async fn start(managed: &Managed) -> Service {
    let service = managed.start();
    managed.manager.ready().await;
    service
}

/// Books orders in Fluent and tells so by signed webhooks, one after the other; each must be taken at
/// the first try.
async fn webhooks(managed: Arc<Managed>, sent: Arc<Sent>, number: usize) {
    let http = remote::http_client().unwrap();
    let (mut turn, reconnects) = (number, number % 2 == 1);
    while !sent.over.load(Ordering::SeqCst) {
        let orders = managed.world.fluent.orders();
        let order = &orders[turn % orders.len()];
        turn += 1;
        let reference = order["ref"].as_str().unwrap().to_owned();
        managed.world.fluent.set_order_status(&reference, "BOOKED");
        let (id, mut request) = managed.webhook(&http, &managed.url(), order);
        if reconnects {
            request = request.header("connection", "close");
        }
        let answer = taken(&sent, request, reconnects).await;
        assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
        sent.webhooks.lock().unwrap().insert(id, reference);
        pause(20).await;
    }
}

/// Sends a request that must not be refused. The one thing that HTTP cannot rule out: a kept
/// connection was closed for being quiet just when the request was on its way; then it is sent again,
/// and counted.
async fn taken(sent: &Sent, request: RequestBuilder, fresh: bool) -> Response {
    let again = request.try_clone().unwrap();
    match request.send().await {
        Ok(answer) => answer,
        Err(error) if !fresh && format!("{error:?}").contains("IncompleteMessage") => {
            sent.again.fetch_add(1, Ordering::SeqCst);
            again.header("connection", "close").send().await.unwrap_or_else(|error| panic!("refused: {error:?}"))
        }
        Err(error) => panic!("refused: {error:?}"),
    }
}

/// Places orders and brings their notifications.
async fn orders(managed: Arc<Managed>, sent: Arc<Sent>) {
    let http = remote::http_client().unwrap();
    while !sent.over.load(Ordering::SeqCst) {
        let number = 10_000 + sent.orders.load(Ordering::SeqCst);
        let answer = taken(&sent, managed.order(&http, &managed.url(), &number.to_string()), false).await;
        assert_eq!(answer.status(), 202, "{}", answer.text().await.unwrap());
        sent.orders.fetch_add(1, Ordering::SeqCst);
        pause(100).await;
    }
}

async fn everything_is_done(managed: &Managed, sent: &Sent) {
    all_done(managed).await;
    let orders = sent.orders.load(Ordering::SeqCst);
    let linked = managed.world.commercetools.documents("orders");
    let count = linked.iter().filter(|order| order["syncInfo"][0]["externalId"].is_string()).count();
    assert_eq!((managed.world.fluent.orders().len(), count), (orders, orders));
    assert_eq!(managed.world.fluent_effects("createOrder", "ORDER").len(), orders, "each once");
    let keys: BTreeSet<String> = rows(managed, "route = 'fluent.order-updated' and source = 'webhook'")
        .await
        .into_iter()
        .map(|(key, _, _)| key.split_once(':').unwrap().1.to_owned())
        .collect();
    let webhooks = sent.webhooks.lock().unwrap().clone();
    assert_eq!(keys, webhooks.keys().cloned().collect(), "every webhook that was answered is stored, and no other");
    for reference in webhooks.into_values() {
        let number = reference.trim_start_matches("HD_");
        let booked = linked.iter().any(|order| order["orderNumber"] == number && order["orderState"] == "Confirmed");
        assert!(booked, "{reference} was booked, and the shop does not know");
    }
    let tried: Vec<_> = rows(managed, "state = 'parked'").await;
    assert!(tried.is_empty(), "{tried:?}");
}

async fn all_done(managed: &Managed) {
    let open = "state in ('ready', 'running', 'waiting')";
    let done = eventually("nothing is left to do", async || rows(managed, open).await.is_empty());
    if AssertUnwindSafe(done).catch_unwind().await.is_err() {
        let left = rows(managed, open).await;
        panic!("{} left to do, {:?} and more\n{}", left.len(), &left[..left.len().min(5)], managed.manager.log());
    }
}

/// Key, state and attempts.
async fn rows(managed: &Managed, filter: &str) -> Vec<(String, String, i64)> {
    managed.world.database.rows(&format!("select key, state, attempts from message where {filter}")).await
}

/// Orders created in Fluent and updated in commercetools so far: nobody but the connector does that.
fn effects(managed: &Managed) -> u64 {
    let (shop, fluent) = (managed.world.commercetools.front(), managed.world.fluent.front());
    fluent.received("CreateOrder") + shop.received("POST /orders/{id}")
}

async fn balance_closes(managed: &Managed) {
    let store = Store::open(managed.world.database.options(), Clock::system()).await.unwrap();
    let balance = store.read().await.unwrap().balance().await.unwrap();
    assert_eq!(balance.kept, balance.counted);
}

fn told(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let millis = |time: &Duration| time.as_millis();
    format!("median {} ms, longest {} ms", millis(&times[times.len() / 2]), times.last().map_or(0, millis))
}

async fn pause(millis: u64) {
    tokio::time::sleep_until(Instant::now() + Duration::from_millis(millis)).await;
}
