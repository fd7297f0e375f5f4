//! What stands in front of both simulated platforms: the socket, the rate limit, the latency, the
//! faults, the recorder and the ledger of effects.
//!
//! A request passes in this order: down? → fault before → rate limit → latency → the platform's
//! router → fault after (the write has happened) → recorded → the answer is spoiled on its way.
//! `/_control` bypasses all of it and answers loopback peers only.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Method, Request, Response, StatusCode, header, request::Parts};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

pub use super::fault::{Fault, Rule};
use crate::clock::{self, Clock, Millis};

/// How many exchanges are kept, unless all of them are.
const KEPT: usize = 10_000;

/// Speed and strictness of a platform; all of it can be changed while it runs.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Traffic {
    /// Requests per second, a token bucket with a burst of one second; `None` = unlimited.
    pub limit: Option<f64>,
    /// Real time added to every answer.
    pub latency: Duration,
}

impl Default for Traffic {
    fn default() -> Self {
        Self { limit: None, latency: Duration::ZERO }
    }
}

/// One request as received and one answer as sent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Exchange {
    pub at: Millis,
    pub operation: String,
    pub method: String,
    /// Path with query string.
    pub path: String,
    pub request: Value,
    /// 0 when the connection was cut.
    pub status: u16,
    pub response: Value,
    /// `X-Correlation-ID` as received.
    pub correlation: Option<String>,
}

/// One change of a platform's state. The ledger is append-only; tests judge by it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Effect {
    /// Position in the ledger, from 1.
    pub number: u64,
    pub at: Millis,
    /// Operation that caused it (`createOrder`, `POST /orders/{id}`), or `workflow` for the platform's own doing.
    pub operation: String,
    /// Entity type in the platform's spelling (`ORDER`, `order`).
    pub entity: String,
    pub id: String,
    /// The entity's ref, key or number; empty if it has none.
    pub reference: String,
    /// Did the stored entity differ afterwards?
    pub changed: bool,
    pub detail: Value,
}

/// What differs between the platforms, as far as the front must know.
pub trait Platform: Send + Sync + 'static {
    /// A stable name for the kind of request: `CreateOrder`, `GET /orders/{id}`, `POST /oauth/token`.
    fn operation(&self, method: &Method, path: &str, body: &Value) -> String;
    /// The platform's own error body for a status that the front makes up.
    fn error_body(&self, status: u16) -> Value;
    /// Can this fault happen here at all?
    fn knows(&self, fault: Fault) -> bool {
        !fault.is_graphql()
    }
    /// Can this fault happen to this request?
    fn meets(&self, fault: Fault, _request: &Value) -> bool {
        self.knows(fault)
    }
}

/// The shared front of one simulated platform.
pub struct Front {
    pub clock: Clock,
    platform: Box<dyn Platform>,
    traffic: Mutex<Traffic>,
    bucket: Mutex<Bucket>,
    /// Each with how many matching requests it still lets pass.
    rules: Mutex<Vec<(Rule, u32)>>,
    dice: Mutex<StdRng>,
    down: AtomicBool,
    exchanges: Mutex<VecDeque<Exchange>>,
    keeps_all: AtomicBool,
    ledger: Mutex<Vec<Effect>>,
    counts: Mutex<BTreeMap<(String, u16), u64>>,
    stop: CancellationToken,
}

#[derive(Default)]
struct Bucket {
    tokens: f64,
    at: Option<std::time::Instant>,
}

impl Front {
    pub fn new(clock: Clock, platform: impl Platform, traffic: Traffic, seed: u64) -> Arc<Self> {
        Arc::new(Self {
            clock,
            platform: Box::new(platform),
            traffic: Mutex::new(traffic),
            bucket: Mutex::default(),
            rules: Mutex::default(),
            dice: Mutex::new(StdRng::seed_from_u64(seed)),
            down: AtomicBool::new(false),
            exchanges: Mutex::default(),
            keeps_all: AtomicBool::new(false),
            ledger: Mutex::default(),
            counts: Mutex::default(),
            stop: CancellationToken::new(),
        })
    }

    /// Adds a fault rule; the first rule that matches a request and wins its dice applies.
    pub fn fault(&self, rule: Rule) {
        self.fault_after(0, rule);
    }

    /// The same, but the next `pass` matching requests are spared.
    pub fn fault_after(&self, pass: u32, rule: Rule) {
        lock(&self.rules).push((rule, pass));
    }

    /// Removes all fault rules.
    pub fn heal(&self) {
        lock(&self.rules).clear();
    }

    /// How many rules can still hit something.
    pub fn armed(&self) -> usize {
        lock(&self.rules).iter().filter(|(rule, _)| rule.times != Some(0)).count()
    }

    /// While down, every connection is cut before the platform looks at the request.
    pub fn down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    /// Changes rate limit and latency while running.
    pub fn traffic(&self, traffic: Traffic) {
        *lock(&self.traffic) = traffic;
    }

    /// What was received and what the platform answered, oldest first: the last 10,000, or
    /// everything since [`Front::keep_all`].
    pub fn exchanges(&self) -> Vec<Exchange> {
        lock(&self.exchanges).iter().cloned().collect()
    }

    /// From now on no exchange is forgotten: for recordings that are checked as a whole.
    pub fn keep_all(&self) {
        self.keeps_all.store(true, Ordering::SeqCst);
    }

    /// What was received: operation, status of the answer, how often.
    pub fn counted(&self) -> Vec<(String, u16, u64)> {
        lock(&self.counts).iter().map(|((name, status), count)| (name.clone(), *status, *count)).collect()
    }

    /// How often an operation was received, whatever the answer.
    pub fn received(&self, operation: &str) -> u64 {
        lock(&self.counts).iter().filter(|((name, _), _)| name == operation).map(|(_, n)| n).sum()
    }

    /// Writes one effect to the ledger; called by the platforms with their state still locked, so
    /// that the ledger's order is the order of the changes.
    pub fn effect(&self, operation: &str, entity: &str, id: &str, reference: &str, changed: bool, detail: Value) {
        let mut ledger = lock(&self.ledger);
        let number = ledger.len() as u64 + 1;
        ledger.push(Effect {
            number,
            at: self.clock.now(),
            operation: operation.into(),
            entity: entity.into(),
            id: id.into(),
            reference: reference.into(),
            changed,
            detail,
        });
    }

    /// The ledger so far.
    pub fn ledger(&self) -> Vec<Effect> {
        lock(&self.ledger).clone()
    }

    /// Stops accepting connections.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Waits for [`Front::stop`]; what a platform does on its own ends then.
    pub async fn stopped(&self) {
        self.stop.cancelled().await;
    }

    /// Serves `router` behind this front until [`Front::stop`].
    pub async fn serve(self: Arc<Self>, listener: TcpListener, router: Router) {
        let router = router.merge(self.clone().control());
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = self.stop.cancelled() => return,
            };
            let Ok((stream, peer)) = accepted else { continue };
            let (front, router) = (self.clone(), router.clone());
            #[expect(clippy::disallowed_methods, reason = "a connection lives as long as its peer keeps it")]
            tokio::spawn(async move {
                let stop = front.stop.clone();
                let service =
                    hyper::service::service_fn(move |request| front.clone().pass(request, peer, router.clone()));
                let builder = Builder::new(TokioExecutor::new());
                let connection = builder.serve_connection(TokioIo::new(stream), service);
                tokio::select! { _ = connection => {}, () = stop.cancelled() => {} }
            });
        }
    }

    async fn pass(
        self: Arc<Self>,
        request: Request<Incoming>,
        peer: SocketAddr,
        router: Router,
    ) -> Result<Response<Body>, Lost> {
        let (parts, body) = request.into_parts();
        let body = axum::body::to_bytes(Body::new(body), 16 << 20).await.map_err(|_| Lost)?;
        if parts.uri.path().starts_with("/_control") {
            if !peer.ip().is_loopback() {
                return Ok(plain(StatusCode::FORBIDDEN, json!({"message": "/_control answers loopback peers only"})));
            }
            return Ok(self.route(parts, body, router).await);
        }
        let seen = self.describe(&parts, &body);
        let fault = self.pick(&seen);
        let answer = self.judge(fault, parts, body, router).await;
        let Some((answer, body)) = self.record(seen, answer).await? else {
            if fault == Some(Fault::Silent) {
                // The client's going away ends this, too.
                self.stop.cancelled().await;
            }
            return Err(Lost);
        };
        Ok(match fault {
            Some(fault) => fault.spoil(answer, body),
            None => answer.map(|_| Body::from(body)),
        })
    }

    fn describe(&self, parts: &Parts, body: &Bytes) -> Exchange {
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let request = serde_json::from_slice(body).unwrap_or_else(|_| match body.is_empty() {
            true => Value::Null,
            false => Value::String(String::from_utf8_lossy(body).into_owned()),
        });
        Exchange {
            at: self.clock.now(),
            operation: self.platform.operation(&parts.method, path, &request),
            method: parts.method.to_string(),
            path: path.to_owned(),
            request,
            status: 0,
            response: Value::Null,
            correlation: parts.headers.get("x-correlation-id").and_then(|id| id.to_str().ok()).map(str::to_owned),
        }
    }

    /// `None` = there is no answer.
    async fn judge(
        &self,
        fault: Option<Fault>,
        mut parts: Parts,
        body: Bytes,
        router: Router,
    ) -> Option<Response<Body>> {
        if self.down.load(Ordering::SeqCst) {
            return None;
        }
        match fault {
            Some(Fault::Reset) => return None,
            Some(Fault::RateLimited) => return Some(self.refusal(429, None)),
            Some(Fault::RetryAfter(seconds)) => return Some(self.refusal(429, Some(seconds))),
            Some(Fault::ErrorBefore(status)) => return Some(self.refusal(status, None)),
            Some(Fault::Unauthorized) => return Some(self.refusal(401, None)),
            // The platform's own router does it.
            Some(fault) if fault.is_graphql() => drop(parts.extensions.insert(fault)),
            _ => {}
        }
        let traffic = *lock(&self.traffic);
        if !self.admit(traffic) {
            return Some(self.refusal(429, None));
        }
        if !traffic.latency.is_zero() {
            #[expect(clippy::disallowed_methods, reason = "latency of a network is real time, also in a story")]
            tokio::time::sleep(traffic.latency).await;
        }
        let answer = self.route(parts, body, router).await;
        match fault {
            Some(Fault::ErrorAfter(status)) => Some(self.refusal(status, None)),
            Some(Fault::LostAnswer | Fault::Silent) => None,
            _ => Some(answer),
        }
    }

    async fn route(&self, parts: Parts, body: Bytes, router: Router) -> Response<Body> {
        let answer: Result<_, Infallible> = router.oneshot(Request::from_parts(parts, Body::from(body))).await;
        match answer {
            Ok(answer) => answer,
            Err(never) => match never {},
        }
    }

    /// The fault that hits this request, if one does. A platform that is down has no others.
    fn pick(&self, seen: &Exchange) -> Option<Fault> {
        if self.down.load(Ordering::SeqCst) {
            return None;
        }
        let mut rules = lock(&self.rules);
        for (rule, pass) in rules.iter_mut() {
            let meant = rule.operation.as_deref().is_none_or(|name| name == seen.operation)
                && self.platform.meets(rule.fault, &seen.request);
            if meant && *pass > 0 {
                *pass -= 1;
                continue;
            }
            if !meant || rule.times == Some(0) || !lock(&self.dice).random_bool(rule.rate.clamp(0.0, 1.0)) {
                continue;
            }
            rule.times = rule.times.map(|times| times - 1);
            return Some(rule.fault);
        }
        None
    }

    fn admit(&self, traffic: Traffic) -> bool {
        let Some(limit) = traffic.limit else { return true };
        #[expect(clippy::disallowed_methods, reason = "a platform's rate limit is real time, also in a story")]
        let now = std::time::Instant::now();
        let mut bucket = lock(&self.bucket);
        let passed = bucket.at.map_or(1.0, |at| now.duration_since(at).as_secs_f64());
        bucket.tokens = (bucket.tokens + passed * limit).min(limit.max(1.0));
        bucket.at = Some(now);
        let admitted = bucket.tokens >= 1.0;
        if admitted {
            bucket.tokens -= 1.0;
        }
        admitted
    }

    fn refusal(&self, status: u16, retry_after: Option<u32>) -> Response<Body> {
        let code = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut answer = plain(code, self.platform.error_body(status));
        if let Some(seconds) = retry_after {
            answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        answer
    }

    /// Writes down what was received and answered; gives the answer back with its body apart.
    async fn record(
        &self,
        mut seen: Exchange,
        answer: Option<Response<Body>>,
    ) -> Result<Option<(Response<Body>, Bytes)>, Lost> {
        let sent = match answer {
            None => None,
            Some(answer) => {
                let (mut parts, body) = answer.into_parts();
                let body = axum::body::to_bytes(body, 64 << 20).await.map_err(|_| Lost)?;
                seen.status = parts.status.as_u16();
                seen.response = serde_json::from_slice(&body).unwrap_or(Value::Null);
                if let Ok(date) = HeaderValue::from_str(&clock::http_date(self.clock.now())) {
                    parts.headers.insert(header::DATE, date);
                }
                if let Some(id) = seen.correlation.as_deref().and_then(|id| HeaderValue::from_str(id).ok()) {
                    parts.headers.insert("x-correlation-id", id);
                }
                Some((Response::from_parts(parts, Body::empty()), body))
            }
        };
        *lock(&self.counts).entry((seen.operation.clone(), seen.status)).or_default() += 1;
        keep(&mut lock(&self.exchanges), seen, self.keeps_all.load(Ordering::SeqCst));
        Ok(sent)
    }

    /// Control endpoints that every simulated platform has.
    fn control(self: Arc<Self>) -> Router {
        use axum::Json;
        use axum::extract::State;
        use axum::routing::{get, post};
        Router::new()
            .route(
                "/_control/faults",
                post(|State(front): State<Arc<Self>>, Json(rule): Json<Rule>| async move {
                    if !front.platform.knows(rule.fault) {
                        return StatusCode::UNPROCESSABLE_ENTITY;
                    }
                    front.fault(rule);
                    StatusCode::NO_CONTENT
                })
                .delete(|State(front): State<Arc<Self>>| async move {
                    front.heal();
                    StatusCode::NO_CONTENT
                }),
            )
            .route(
                "/_control/down",
                post(|State(front): State<Arc<Self>>, Json(down): Json<bool>| async move {
                    front.down(down);
                    StatusCode::NO_CONTENT
                }),
            )
            .route(
                "/_control/traffic",
                post(|State(front): State<Arc<Self>>, Json(traffic): Json<Traffic>| async move {
                    front.traffic(traffic);
                    StatusCode::NO_CONTENT
                }),
            )
            .route("/_control/ledger", get(|State(front): State<Arc<Self>>| async move { Json(front.ledger()) }))
            .route("/_control/counts", get(|State(front): State<Arc<Self>>| async move { Json(front.counted()) }))
            .route("/_control/requests", get(|State(front): State<Arc<Self>>| async move { Json(front.exchanges()) }))
            .with_state(self)
    }
}

fn keep(exchanges: &mut VecDeque<Exchange>, seen: Exchange, all: bool) {
    if exchanges.len() >= KEPT && !all {
        exchanges.pop_front();
    }
    exchanges.push_back(seen);
}

/// The connection is cut: hyper closes it when the service fails.
#[derive(Debug, thiserror::Error)]
#[error("the simulated network lost this exchange")]
struct Lost;

/// A JSON answer.
pub fn plain(status: StatusCode, body: Value) -> Response<Body> {
    let mut answer = Response::new(Body::from(body.to_string()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

/// Simulators never poison their state on purpose: a panic in a handler is a failed test anyway.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recorder_is_bounded_unless_it_keeps_all() {
        let exchange = |at: usize| Exchange {
            at: at as Millis,
            operation: "Me".into(),
            method: "POST".into(),
            path: "/graphql".into(),
            request: Value::Null,
            status: 200,
            response: Value::Null,
            correlation: None,
        };
        let mut exchanges = VecDeque::new();
        (0..KEPT + 5).for_each(|at| keep(&mut exchanges, exchange(at), false));
        assert_eq!((exchanges.len(), exchanges[0].at), (KEPT, 5), "the oldest are forgotten");
        keep(&mut exchanges, exchange(0), true);
        assert_eq!(exchanges.len(), KEPT + 1);
    }
}
