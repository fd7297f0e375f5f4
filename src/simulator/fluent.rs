//! Simulated Fluent: one account with one retailer, its GraphQL, token and Event API, its order
//! workflows and its webhooks.
//!
//! What it refuses, and the section of the platform document (`platform-fluent`) that says so:
//!
//! | refused | how | section |
//! |---|---|---|
//! | unknown client, user, password; used or expired refresh token | 400/401 `error` | 1 |
//! | missing, expired or revoked bearer | 401 `errors` | 1 |
//! | body over 2 MB | 413 | 2.3 |
//! | unknown fields, arguments, types; wrong value types | 200 `errors`, no `data` | 2.1 |
//! | missing or null variables and inputs | C0140E | 2.4 |
//! | complexity over 11,111 | C0001E | 2.3 |
//! | texts over their length | C0141E | 2.3 |
//! | a range without from and to; a text that is no date | C0101E; C0100E | 2.1, 2.4 |
//! | negative numbers (coordinates excepted) | C0122E | 2.4 |
//! | a cursor that the query did not hand out | C0160E | 2.2 |
//! | writes naming an entity, retailer or catalogue that does not exist | C0120E | 2.4 |
//! | an order ref taken at the retailer | C0121E | 2.4, 2.8 |
//! | taken user names, product and category refs, transaction refs, settings | C0123E | 2.4, 2.8 |
//! | an item's product ref that two products share | C0128E | 2.4 |
//! | an order without items, both forms of choices, unknown setting context | C0160E | 2.8 |
//! | fields of the schema that have nothing behind them | S0001E "not simulated yet" | – |
//! | events without a mandatory member, of another retailer or account | 400 `errors` | 3.1 |
//! | events that no ruleset matches (OrderCancel from PICK_PACK on) | 400 NO_MATCH | 3.1, 7.1 |
//! | event queries over 5000 rows or outside the kept range | 400 `errors` | 3.2 |
//!
//! A filter that is not simulated is refused, never ignored.
//!
//! Where the document is silent, the simulator does this: a query for one entity that does not exist
//! answers null without an error; null in an update leaves the stored value; an empty filter list
//! matches nothing; every write bumps `updatedOn`, also one that changes nothing; a transaction or
//! fulfilment does not bump its order; update mutations raise no event and send no webhook; order refs
//! are unique per retailer, user names and transaction refs in the account; an item without a
//! catalogue is looked for in `COMPATIBILITY:<retailer>`.

mod account;
mod catalogue;
mod complexity;
mod control;
mod customer;
mod event;
mod fulfil;
mod graphql;
mod guard;
mod order;
mod page;
mod resolve;
mod shop;
mod signature;
mod stock;
mod store;
#[cfg(test)]
mod tests;
mod token;
mod webhook;
mod workflow;

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, Method, Response, StatusCode, header};
use axum::routing::{get, post};
use axum::{Extension, Router};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use self::shop::Rejected;
pub use self::webhook::{Webhook, WebhookFaults};
pub use self::workflow::Workflow;

use self::account::Account;
use self::signature::Signature;
use super::front::{Front, Platform, lock, plain};
use super::{Fault, Traffic};
use crate::clock::Clock;

/// Largest request body in bytes (platform document 2.3; "2 MB" taken in its smaller sense).
const BODY_LIMIT: usize = 2_000_000;

/// What the simulated account is like.
#[derive(Clone, Debug)]
pub struct Options {
    /// 0 = a free port.
    pub port: u16,
    pub account: String,
    /// Numeric.
    pub retailer_id: String,
    /// Ref of the product catalogue that exists from the start.
    pub catalogue: String,
    pub username: String,
    pub password: String,
    pub client_id: String,
    pub client_secret: String,
    /// Life of an access token in seconds, by the clock.
    pub token_seconds: u64,
    /// Does the account hand out refresh tokens (single use)?
    pub refresh_tokens: bool,
    pub traffic: Traffic,
    /// Decides rates of faults.
    pub seed: u64,
    pub workflow: Workflow,
    /// Size of the signing key: 1024 as the platform's, or 2048.
    pub key_bits: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            port: 0,
            account: "ACME".into(),
            retailer_id: "5".into(),
            catalogue: "PC:MASTER:5".into(),
            username: "connector".into(),
            password: "simulated-password".into(),
            client_id: "ACME".into(),
            client_secret: "simulated-secret".into(),
            token_seconds: 3600,
            refresh_tokens: false,
            traffic: Traffic::default(),
            seed: 1,
            workflow: Workflow::default(),
            key_bits: 1024,
        }
    }
}

/// A running simulated Fluent. Clones are handles to the same one.
#[derive(Clone)]
pub struct Fluent(Arc<Inner>);

struct Inner {
    url: String,
    front: Arc<Front>,
    account: Mutex<Account>,
    signature: Signature,
    public_key: String,
    client: reqwest::Client,
    stop: CancellationToken,
}

impl Fluent {
    /// Starts on 127.0.0.1. Fails if the port is taken or the options name no key or retailer.
    pub async fn start(clock: Clock, options: Options) -> std::io::Result<Self> {
        if options.retailer_id.parse::<u64>().is_err() {
            return Err(std::io::Error::other("retailer_id is not a number"));
        }
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).await?;
        let signature = Signature::new(options.key_bits)?;
        let front = Front::new(clock, Face, options.traffic, options.seed);
        let fluent = Self(Arc::new(Inner {
            url: format!("http://{}", listener.local_addr()?),
            account: Mutex::new(Account::new(front.clone(), options)),
            public_key: signature.public_key()?,
            signature,
            client: client()?,
            stop: CancellationToken::new(),
            front,
        }));
        fluent.spawn(fluent.front().clone().serve(listener, fluent.router()));
        fluent.spawn(workflow::run(fluent.clone()));
        fluent.spawn(webhook::run(fluent.clone()));
        Ok(fluent)
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        #[expect(
            clippy::disallowed_methods,
            reason = "a simulated platform runs beside whoever started it, until it is stopped"
        )]
        tokio::spawn(task);
    }

    fn router(&self) -> Router {
        Router::new()
            .route("/oauth/token", post(token::token))
            .route("/graphql", post(query))
            .route("/api/v4.1/event", get(event::list))
            .route("/api/v4.1/event/{id}", get(event::one).post(event::send))
            .merge(control::routes())
            .layer(DefaultBodyLimit::disable())
            .with_state(self.clone())
    }

    /// Root of the API, without a slash at the end.
    pub fn url(&self) -> String {
        self.0.url.clone()
    }

    /// What it was started with.
    pub fn options(&self) -> Options {
        self.account().options.clone()
    }

    /// Faults, traffic, recorded exchanges, ledger.
    pub fn front(&self) -> &Arc<Front> {
        &self.0.front
    }

    /// Stops serving, moving orders and delivering webhooks.
    pub fn stop(&self) {
        self.0.front.stop();
        self.0.stop.cancel();
    }

    /// Both signatures of a body: `fluent-signature`, `flex.signature`.
    pub fn sign(&self, body: &[u8]) -> (String, String) {
        self.0.signature.sign(body)
    }

    /// The public key that verifies webhooks: X.509 SPKI, base64.
    pub fn public_key(&self) -> String {
        self.0.public_key.clone()
    }

    fn account(&self) -> MutexGuard<'_, Account> {
        lock(&self.0.account)
    }

    fn client(&self) -> &reqwest::Client {
        &self.0.client
    }

    async fn stopped(&self) {
        self.0.stop.cancelled().await;
    }
}

fn client() -> std::io::Result<reqwest::Client> {
    // An error only says that somebody installed a provider before, which is just as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    #[expect(clippy::disallowed_methods, reason = "the simulated platform is its own HTTP client")]
    let builder = reqwest::Client::builder();
    builder.no_proxy().redirect(reqwest::redirect::Policy::none()).build().map_err(std::io::Error::other)
}

async fn query(
    State(fluent): State<Fluent>,
    fault: Option<Extension<Fault>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    if body.len() > BODY_LIMIT {
        return plain(StatusCode::PAYLOAD_TOO_LARGE, graphql::failure("the request body is larger than 2 MB", None));
    }
    if !token::is_authorised(&fluent.account(), &headers) {
        return token::refusal();
    }
    let kind = headers.get(header::CONTENT_TYPE).map(|kind| kind.as_bytes()).unwrap_or_default();
    if !kind.starts_with(b"application/json") {
        return plain(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            graphql::failure("the content type is not application/json", None),
        );
    }
    let body = match serde_json::from_slice::<Value>(&body) {
        Ok(body) => body,
        Err(error) => {
            return plain(StatusCode::BAD_REQUEST, graphql::failure(&format!("the body is not JSON: {error}"), None));
        }
    };
    match graphql::prepare(&body) {
        Ok(request) => {
            plain(StatusCode::OK, graphql::execute(&mut fluent.account(), &request, fault.map(|fault| fault.0)))
        }
        Err(answer) => plain(StatusCode::OK, answer),
    }
}

/// What the shared front must know about Fluent.
struct Face;

impl Platform for Face {
    fn operation(&self, method: &Method, path: &str, body: &Value) -> String {
        match path.split('?').next().unwrap_or_default() {
            "/graphql" => operation_name(body),
            "/api/v4.1/event/sync" => "event/sync".into(),
            "/api/v4.1/event/async" => "event/async".into(),
            path if path.starts_with("/api/v4.1/event") => format!("{method} event"),
            path => format!("{method} {path}"),
        }
    }

    fn error_body(&self, status: u16) -> Value {
        match status {
            401 => token::unauthorised(),
            429 => graphql::failure("rate limit exceeded", Some("C0011E")),
            _ => graphql::failure("internal server error", Some("S0002E")),
        }
    }

    fn knows(&self, _fault: Fault) -> bool {
        true
    }

    fn meets(&self, fault: Fault, request: &Value) -> bool {
        match fault {
            Fault::NullData => request["query"].is_string(),
            Fault::FailedAlias => graphql::prepare(request).is_ok_and(|prepared| prepared.aliases().len() > 1),
            Fault::RefusedCursor => ["after", "before"].iter().any(|name| request["variables"][*name].is_string()),
            _ => true,
        }
    }
}

/// The operation's name, or that of the first operation in the document, or `graphql`.
fn operation_name(body: &Value) -> String {
    if let Some(name) = body["operationName"].as_str() {
        return name.to_owned();
    }
    let mut depth = 0;
    let outside = body["query"].as_str().unwrap_or_default().chars().filter_map(|char| {
        depth += i32::from(matches!(char, '{' | '(')) - i32::from(matches!(char, '}' | ')'));
        (depth == 0).then_some(if char == '}' || char == ')' { ' ' } else { char })
    });
    let outside: String = outside.collect();
    let mut words = outside.split_whitespace();
    let operation = words.find(|word| matches!(*word, "query" | "mutation")).and_then(|_| words.next());
    operation.filter(|name| *name != "fragment").unwrap_or("graphql").to_owned()
}
