//! The way from the platforms to the connector: a courier that delivers at least once, in no
//! promised order, and writes down each attempt and its answer.
//!
//! While there is trouble it holds some deliveries back until it is over (dropped, and sent again
//! much later), brings some twice at the same time, and hangs up on some before the answer comes.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::sleep;

use crate::journal::Journal;

/// Shares of all deliveries.
const DROPPED: f64 = 0.05;
const DOUBLED: f64 = 0.08;
const HUNG_UP: f64 = 0.04;
/// What a connector has for its answer; one that is stopped never answers.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

#[derive(Clone)]
pub struct Relay(Arc<Inner>);

struct Inner {
    pub address: SocketAddr,
    http: reqwest::Client,
    /// Roots of the daemons; the first `targets` of them get deliveries.
    daemons: Vec<String>,
    targets: AtomicUsize,
    token: String,
    journal: Journal,
    dice: Mutex<StdRng>,
    calm: AtomicBool,
    /// Deliveries that the connector has not taken yet.
    open: AtomicUsize,
    held: Mutex<Vec<Delivery>>,
    number: AtomicU64,
}

#[derive(Clone)]
struct Delivery {
    number: u64,
    path: &'static str,
    body: Bytes,
    headers: HeaderMap,
}

impl Relay {
    /// Listens on loopback until the process ends.
    pub async fn start(
        http: reqwest::Client,
        daemons: Vec<String>,
        token: String,
        journal: Journal,
        seed: u64,
    ) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let relay = Self(Arc::new(Inner {
            address: listener.local_addr()?,
            http,
            targets: AtomicUsize::new(daemons.len()),
            daemons,
            token,
            journal,
            dice: Mutex::new(StdRng::seed_from_u64(seed)),
            calm: AtomicBool::new(false),
            open: AtomicUsize::new(0),
            held: Mutex::default(),
            number: AtomicU64::new(0),
        }));
        let router = Router::new()
            .route("/notification", post(notification))
            .route("/webhook", post(webhook))
            .with_state(relay.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(relay)
    }

    /// Where the platforms deliver: `notification`, `webhook`.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.0.address)
    }

    /// The trouble is over: only the first daemon is there, and what was held back comes now.
    pub fn calm_down(&self) {
        self.0.targets.store(1, Ordering::SeqCst);
        self.0.calm.store(true, Ordering::SeqCst);
        let held = std::mem::take(&mut *self.0.held.lock().unwrap_or_else(PoisonError::into_inner));
        for delivery in held {
            self.bring(delivery, None);
        }
    }

    /// Has the connector taken everything?
    pub fn is_idle(&self) -> bool {
        self.0.open.load(Ordering::SeqCst) == 0
    }

    fn take(&self, path: &'static str, key: String, headers: HeaderMap, body: Bytes) {
        let number = self.0.number.fetch_add(1, Ordering::SeqCst) + 1;
        self.0.journal.note("delivery", json!({"number": number, "path": path, "key": key}));
        let delivery = Delivery { number, path, body, headers };
        let calm = self.0.calm.load(Ordering::SeqCst);
        let rolled = |share: f64| !calm && self.roll(share);
        if rolled(DROPPED) {
            self.0.journal.note("held-back", json!({"number": number}));
            self.0.held.lock().unwrap_or_else(PoisonError::into_inner).push(delivery);
            return;
        }
        if rolled(DOUBLED) {
            self.bring(delivery.clone(), None);
        }
        let patience = rolled(HUNG_UP).then(|| Duration::from_millis(self.between(1, 25)));
        self.bring(delivery, patience);
    }

    /// Brings it until it is taken; the first attempt only has so much patience.
    fn bring(&self, delivery: Delivery, mut patience: Option<Duration>) {
        self.0.open.fetch_add(1, Ordering::SeqCst);
        let relay = self.clone();
        tokio::spawn(async move {
            while !relay.attempt(&delivery, patience.take().unwrap_or(ANSWER_WITHIN)).await {
                sleep(Duration::from_millis(relay.between(50, 400))).await;
            }
            relay.0.open.fetch_sub(1, Ordering::SeqCst);
        });
    }

    async fn attempt(&self, delivery: &Delivery, patience: Duration) -> bool {
        let daemon = self.between(0, self.0.targets.load(Ordering::SeqCst) as u64) as usize;
        let number = delivery.number;
        self.0.journal.note("send", json!({"number": number, "daemon": daemon}));
        let url = format!("{}{}", self.0.daemons[daemon], delivery.path);
        let mut request = self.0.http.post(url).header("content-type", "application/json").timeout(patience);
        for name in ["fluent-signature", "flex.signature"] {
            request = request.headers(delivery.headers.get(name).map(|value| only(name, value)).unwrap_or_default());
        }
        if delivery.path == NOTIFICATIONS {
            request = request.bearer_auth(&self.0.token);
        }
        let status = request.body(delivery.body.clone()).send().await.map_or(0, |answer| answer.status().as_u16());
        self.0.journal.note("answer", json!({"number": number, "daemon": daemon, "status": status}));
        (200..300).contains(&status)
    }

    fn roll(&self, share: f64) -> bool {
        self.0.dice.lock().unwrap_or_else(PoisonError::into_inner).random_bool(share)
    }

    fn between(&self, from: u64, to: u64) -> u64 {
        self.0.dice.lock().unwrap_or_else(PoisonError::into_inner).random_range(from..to)
    }
}

const NOTIFICATIONS: &str = "/intake/commercetools/plain/main";
const WEBHOOKS: &str = "/api/v1/fluent-connect/webhook";

/// The key under which the connector must hold it: `<resource>@<sequence>`, or `#<version>` without one.
async fn notification(State(relay): State<Relay>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let Ok(document) = serde_json::from_slice::<Value>(&body) else { return StatusCode::BAD_REQUEST };
    let resource = document["resource"]["id"].as_str().unwrap_or_default();
    let key = match document["sequenceNumber"].as_u64() {
        Some(number) => format!("{resource}@{number}"),
        None => format!("{resource}#{}", document["version"]),
    };
    relay.take(NOTIFICATIONS, key, headers, body);
    StatusCode::OK
}

/// The key is account and id.
async fn webhook(State(relay): State<Relay>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let Ok(document) = serde_json::from_slice::<Value>(&body) else { return StatusCode::BAD_REQUEST };
    let part = |name: &str| document[name].as_str().unwrap_or_default().to_owned();
    relay.take(WEBHOOKS, format!("{}:{}", part("accountId").to_uppercase(), part("id")), headers, body);
    StatusCode::OK
}

fn only(name: &'static str, value: &axum::http::HeaderValue) -> HeaderMap {
    HeaderMap::from_iter([(axum::http::HeaderName::from_static(name), value.clone())])
}
