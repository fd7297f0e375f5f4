//! Simulated commercetools: a project with orders and what belongs to them, behind the real paths,
//! parameters, error envelopes and guards. State is in memory; time is the [`Clock`]'s.
//!
//! What it refuses, with the section of `platform-commercetools` that says so:
//!
//! | refused | answer | section |
//! |---|---|---|
//! | no token, unknown or expired token | 401 `invalid_token` | A1 |
//! | scope missing, another project's path | 403 `insufficient_scope`, naming the scopes | A1 |
//! | wrong client, grant type or scope at `/oauth/token` | 401, 400 | A1 |
//! | unknown id, key or order number | 404 `ResourceNotFound` | A2, A4 |
//! | `limit` outside 0..500, `offset` outside 0..10000, bad `sort` or `where`, unknown field, input variable without value | 400 `InvalidInput` | A2 |
//! | stale `version` | 409 `ConcurrentModification` with `currentVersion` | A4 |
//! | body without `version` or `actions`, unknown action, value outside an enumeration | 400 `InvalidJsonInput` | A4, A8 |
//! | more than 500 actions | 400 `InvalidInput` | A4 |
//! | second channel, Type, State or order with a key or number | 400 `DuplicateField` | A4, A8, A9 |
//! | reference to nothing | 400 `ReferencedResourceNotFound` | A4 |
//! | `updateSyncInfo` with a channel without order role | 400 `InvalidOperation` | A8 |
//! | custom field without Type, outside the Type, of the wrong type, or removed though absent | 400 `InvalidOperation`, `InvalidField` | A8, A9 |
//! | `transitionState` to a State that is not initial or not among the transitions | 400 `InvalidOperation` | A8 |
//! | a new order number over an old one | 400 `InvalidOperation` | A8 |
//! | a Delivery for an Order without shipping information; with shipping mode `Multiple` without known `shippingKey` | 400 `InvalidOperation`, `RequiredField` | A8 |
//! | a second Delivery, Parcel or return item with a key of the same Order | 400 `DuplicateField` | A8 |
//! | units of a Line Item that the Order does not have; more units moved than a State holds | 400 `InvalidOperation` | A8 |
//! | a return item that begins neither `Advised` nor `Returned`, or goes on from another state than `Returned` | 400 `InvalidJsonInput`, `InvalidOperation` | A8 |
//! | key of a channel, Type or State outside `[A-Za-z0-9_-]{2,256}` | 400 `InvalidField` | A9 |
//! | field of a Type that another Type of the resource defines with another type | 400 `InvalidOperation` | A9 |
//! | field of a Type without `required`, a Set without element type | 400 `InvalidJsonInput` | A9 |
//! | a Subscription to nothing, with a destination that lacks a member, the 51st | 400 `InvalidInput`, `InvalidJsonInput`, `MaxResourceLimitExceeded` | A6 |
//! | Messages kept for less than 1 or more than 90 days | 400 `InvalidJsonInput` | A5 |
//! | a role or a name that the channel has already, no role at all | 400 `InvalidOperation` | A9 |
//! | a second entry of a SKU in a supply channel, or with a key | 400 `DuplicateField` | A9 |
//! | supply channel without the role InventorySupply | 400 `InvalidOperation` | A9 |
//! | more than 20 resources of an import, unknown container | 400 `InvalidInput`, 404 | A9 |
//! | address without ISO country | 400 `InvalidJsonInput` | A9 |
//! | `/messages` while the project setting is off | 400 `InvalidOperation` | A5 |
//!
//! All actions of an update apply or none. What the platform has and this has not (deletion, creating
//! payments) answers 501, so that no test passes by accident.

mod catalogue;
mod channel;
mod control;
mod custom;
mod delivery;
mod draft;
mod fields;
mod http;
mod id;
mod import;
mod inventory;
mod lexer;
mod line_item;
mod message;
mod money;
mod oauth;
mod order;
mod predicate;
mod project;
mod push;
mod query;
mod refusal;
mod resource;
mod returns;
mod seed;
mod shop;
mod states;
mod subscriptions;
mod types;
mod update;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::Method;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::runtime::Handle;

pub use self::catalogue::{category, product, variant};
pub use self::draft::OrderDraft;
pub use self::push::Push;
pub use self::seed::{ADA, ARTICLES, Article, BORIS, CHIARA, ORDER_CHANNEL, ORDER_TYPE};

use self::project::Project;
use self::resource::Target;
use super::front::{Front, Platform, Traffic};
use crate::clock::Clock;

/// How a simulated project is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// 0 = any free port.
    pub port: u16,
    pub project_key: String,
    pub client_id: String,
    pub client_secret: String,
    /// Lifetime of an access token.
    pub token_seconds: u64,
    pub traffic: Traffic,
    /// Ids and dice follow from it.
    pub seed: u64,
    /// Scopes of the API client, with or without `:{projectKey}`.
    pub scopes: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            port: 0,
            project_key: "demo-project".into(),
            client_id: "demo-client".into(),
            client_secret: "demo-secret".into(),
            token_seconds: 172_800,
            traffic: Traffic::default(),
            seed: 1,
            scopes: SCOPES.into_iter().map(str::to_owned).collect(),
        }
    }
}

/// What a connector needs, and no more (A1).
const SCOPES: [&str; 17] = [
    "view_products",
    "view_categories",
    "view_standalone_prices",
    "view_tax_categories",
    "view_customers",
    "view_payments",
    "view_messages",
    "view_project_settings",
    "view_shipping_methods",
    "view_stores",
    "manage_orders",
    "manage_channels",
    "manage_types",
    "manage_states",
    "manage_products",
    "manage_import_containers",
    "manage_subscriptions",
];

/// A running simulated project. Clones share it; it runs until its front is stopped.
#[derive(Clone)]
pub struct Commercetools(Arc<Inner>);

struct Inner {
    options: Options,
    address: SocketAddr,
    front: Arc<Front>,
    project: Mutex<Project>,
    http: reqwest::Client,
    runtime: Handle,
}

impl Commercetools {
    /// Binds `127.0.0.1` and serves until `front().stop()`. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// If the port is taken.
    pub async fn start(clock: Clock, options: Options) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).await?;
        let naming = Naming { project_key: options.project_key.clone() };
        let platform = Self(Arc::new(Inner {
            address: listener.local_addr()?,
            front: Front::new(clock.clone(), naming, options.traffic, options.seed),
            project: Mutex::new(Project::new(options.project_key.clone(), clock, options.seed)),
            http: http_client().map_err(std::io::Error::other)?,
            // Servers and pushers outlive the calls that start them; they end with the front.
            runtime: Handle::current(),
            options,
        }));
        platform.put("states", seed::initial_state());
        let router = Router::new().merge(control::router()).fallback(http::answer).with_state(platform.clone());
        platform.0.runtime.spawn(platform.0.front.clone().serve(listener, router));
        Ok(platform)
    }

    /// Base of both hosts: `{url}/oauth/token` and `{url}/{projectKey}/…`.
    pub fn url(&self) -> String {
        format!("http://{}", self.0.address)
    }

    /// Faults, traffic, ledger and recorded exchanges.
    pub fn front(&self) -> &Arc<Front> {
        &self.0.front
    }

    /// How this project was set up.
    pub fn options(&self) -> &Options {
        &self.0.options
    }
}

fn http_client() -> reqwest::Result<reqwest::Client> {
    // Fails only if a provider is installed already, which serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    #[expect(clippy::disallowed_methods, reason = "the simulated platform is its own HTTP client")]
    reqwest::Client::builder().no_proxy().build()
}

struct Naming {
    project_key: String,
}

impl Platform for Naming {
    fn operation(&self, method: &Method, path: &str, _body: &Value) -> String {
        let path = path.split('?').next().unwrap_or_default();
        Target::of(&self.project_key, path).operation(method)
    }

    fn error_body(&self, status: u16) -> Value {
        refusal::failure(status)
    }
}

#[cfg(test)]
mod tests;
