//! The configuration's shape: one struct per section, one field per key.
//!
//! There are no defaults in here: `config/default.yml` is embedded, holds every key with its
//! default and the reason, and is the reference (`surfaces.md` 1.1, 1.3).

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use super::catalogue::*;
pub use super::flows::*;
pub use super::fulfilment::*;
pub use super::intake::*;
use super::node::{join, join_item};
pub use super::provision::*;
pub use super::stock::*;
use super::value::{Network, Pace, Rate, Secret, Share, Size, Span};

/// Everything the daemon is told.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Listening, limits and shutdown.
    pub server: Server,
    /// Where messages, mappings, cursors and tokens are kept.
    pub database: Database,
    /// One entry per commercetools project and Fluent retailer that belong together.
    pub connections: Vec<Connection>,
    /// How commercetools notifications reach us.
    pub intake: Intake,
    /// Switches of single routes, by route name.
    #[serde(default)]
    pub routes: BTreeMap<String, Route>,
    /// When jobs run.
    pub schedule: Schedule,
    /// Workers, lanes, leases and retries.
    pub queue: Queue,
    /// One limiter per remote credential, shared by all lanes.
    pub budgets: Budgets,
    /// How long what is done is kept.
    pub retention: Retention,
    /// What may be relaxed on purpose.
    pub security: Security,
    /// Log lines.
    pub log: Log,
    /// For rehearsals only.
    pub simulation: Simulation,
}

impl Config {
    /// Every secret with the path of its key.
    pub fn secrets(&self) -> Vec<(String, &Secret)> {
        let mut secrets: Vec<(String, &Secret)> = Vec::new();
        secrets.extend(self.database.password.iter().map(|secret| ("database.password".to_owned(), secret)));
        for (n, connection) in self.connections.iter().enumerate() {
            let path = |below: &str| join(&join_item("connections", Some(&connection.name), n), below);
            let fluent = &connection.fluent;
            secrets.extend([
                (format!("{}.client_secret", path("commercetools")), &connection.commercetools.client_secret),
                (format!("{}.password", path("fluent")), &fluent.password),
                (format!("{}.client_secret", path("fluent")), &fluent.client_secret),
            ]);
            let tokens = fluent.webhook.path_token.iter();
            secrets.extend(tokens.map(|token| (format!("{}.webhook.path_token", path("fluent")), token)));
        }
        for (n, queue) in self.intake.sqs.iter().enumerate() {
            let path = join_item("intake.sqs", Some(&queue.name), n);
            secrets.extend(queue.secret_access_key.iter().map(|key| (join(&path, "secret_access_key"), key)));
        }
        secrets
    }
}

#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// Address and port of the HTTP surface.
    pub listen: String,
    /// Socket of the command line; its file mode is the access control.
    pub admin_socket: PathBuf,
    /// The URL under which Fluent and others reach us.
    pub public_url: Option<String>,
    /// Whose word counts about who sends a request.
    pub trusted_proxies: Vec<Network>,
    /// Bounds of one request and of all of them.
    pub limits: Limits,
    /// How long a stop may take.
    pub shutdown: Shutdown,
}

#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Largest body of an ordinary request; Fluent webhooks are bounded by 256 KiB.
    pub body: Size,
    /// A whole request, slow bodies included.
    pub request_timeout: Span,
    /// Failed authentications per source address, then 429.
    pub per_ip_unauthenticated: Rate,
}

#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Shutdown {
    /// Running handlers may finish for this long.
    pub drain: Span,
    /// Then the process ends, whatever still runs.
    pub deadline: Span,
}

#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// `sqlite:///path/file.db` or `postgres://user@host/database`.
    pub url: String,
    /// Appended to a Postgres URL without one.
    pub password: Option<Secret>,
    /// Postgres connections. SQLite has one writer and four readers.
    #[schemars(range(min = 1))]
    pub pool: u32,
    /// Run migrations at start, or only by `database migrate`.
    pub migrate: Migrate,
    /// How much one commit may gather.
    pub group_commit: GroupCommit,
    /// Below so much free space on the disk of a SQLite file nothing is taken in.
    pub disk_reserve: Size,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Migrate {
    Auto,
    Manual,
}

#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupCommit {
    /// Most rows of one commit; there is no added delay.
    #[schemars(range(min = 1))]
    pub rows: usize,
}

/// One commercetools project tied to one Fluent account and retailer.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Connection {
    /// `[a-z0-9-]{1,32}`; part of URLs, metrics and tokens.
    #[schemars(extend("pattern" = "^[a-z0-9-]{1,32}$"))]
    pub name: String,
    /// Off: nothing is taken in, sent or polled for this connection.
    pub enabled: bool,
    /// The commercetools project.
    pub commercetools: CommercetoolsRemote,
    /// The Fluent account and retailer.
    pub fluent: FluentRemote,
    /// Store keys whose orders belong here; empty = all.
    pub stores: Vec<String>,
    /// Text fallback.
    pub locale: Locale,
    /// Money that has to be divided.
    pub money: Money,
    /// Prefix of the Fluent attributes we own.
    pub attribute_prefix: String,
    /// How polls of commercetools keep their distance.
    pub poll: CommercetoolsPoll,
    /// Which webhook names feed which route.
    pub webhooks: Webhooks,
    /// Categories.
    pub category: Category,
    /// Products and their variants.
    pub product: Product,
    /// Customers.
    pub customer: Customer,
    /// Orders.
    pub order: Order,
    /// Changes of orders that Fluent has.
    pub order_change: OrderChange,
    /// Cancellations.
    pub order_cancel: OrderCancel,
    /// Orders from before this connection's time.
    pub order_backfill: OrderBackfill,
    /// Updates of commercetools orders.
    pub order_update: OrderUpdate,
    /// Custom types we write.
    pub custom_types: CustomTypes,
    /// What `provision` creates.
    pub provision: Provision,
    /// Order status.
    pub order_status: OrderStatus,
    /// Fulfilments.
    pub fulfilment: Fulfilment,
    /// Consignments.
    pub consignment: Consignment,
    /// Returns.
    pub returns: Returns,
    /// Link from a commercetools order to its Fluent order.
    pub order_link: OrderLink,
    /// Locations.
    pub location: Location,
    /// Stock.
    pub inventory: Inventory,
}

#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CommercetoolsRemote {
    /// Key of the project.
    pub project_key: String,
    /// `europe-west1.gcp`; fills the two URLs.
    pub region: Option<String>,
    /// Wins over the region.
    pub api_url: Option<String>,
    /// Wins over the region.
    pub auth_url: Option<String>,
    /// Wins over the region.
    pub import_url: Option<String>,
    pub client_id: String,
    pub client_secret: Secret,
    /// Scopes asked for; empty = all of the client.
    pub scopes: Vec<String>,
    pub timeout: Span,
}

#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FluentRemote {
    /// Account as in its URL.
    pub account: String,
    /// Fills `base_url`.
    pub environment: Environment,
    /// Wins over account and environment.
    pub base_url: Option<String>,
    #[schemars(range(min = 1))]
    pub retailer_id: u64,
    /// A user of the retailer, with API access.
    pub username: String,
    /// Secret of that user.
    pub password: Secret,
    /// Usually the account.
    pub client_id: String,
    pub client_secret: Secret,
    /// Catalogue of products, categories and order items.
    pub product_catalogue: ProductCatalogue,
    pub timeout: Span,
    /// Verification of webhooks.
    pub webhook: Webhook,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Environment {
    Sandbox,
    Production,
}

#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProductCatalogue {
    /// `PC:MASTER:67`
    #[serde(rename = "ref")]
    pub reference: String,
    /// Type of that catalogue.
    #[serde(rename = "type")]
    pub kind: String,
}

#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// x509 SPKI, base64 or PEM; several are valid at once.
    pub public_keys: Vec<String>,
    /// Which signatures are accepted.
    pub signature: Signature,
    /// When set, only `…/webhook/{connection}/{path_token}` is accepted.
    pub path_token: Option<Secret>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Signature {
    Sha512,
    Sha512OrMd5,
    Off,
}

#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Webhooks {
    /// Route by `entityType` when the name is unknown.
    pub match_entity_type: bool,
    /// Route → names; replaces that route's default names.
    pub names: BTreeMap<String, Vec<String>>,
}

/// A switch of one route.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// Off: messages are stored as skipped (`ignored`).
    pub enabled: Option<bool>,
    /// Lane of its messages.
    pub lane: Option<String>,
    /// After this long in retry a message is parked.
    pub give_up: Option<Span>,
}

#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// Of cron expressions; IANA name.
    pub time_zone: String,
    /// A tick that fell due while nothing ran.
    pub missed: Missed,
    /// Job → when it runs; wins over the keys of its flow.
    pub jobs: BTreeMap<String, JobTiming>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Missed {
    /// Once, as soon as possible, however many there were.
    RunOnce,
    /// Not at all; the next one is as planned.
    Skip,
}

/// Exactly one of `every` and `cron`.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JobTiming {
    /// Pause between two runs.
    pub every: Option<Span>,
    /// 5 fields, or 6 with seconds first.
    pub cron: Option<String>,
    /// Instead of `schedule.time_zone`.
    pub time_zone: Option<String>,
    /// Each run is put off by a random part of this.
    pub jitter: Option<Span>,
}

#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Queue {
    /// Handler tasks.
    #[schemars(range(min = 1))]
    pub workers: usize,
    /// Lane by name.
    pub lanes: BTreeMap<String, Lane>,
    /// A daemon that has not renewed its lease for this long is taken for dead.
    pub lease: Span,
    /// What happens to a message that failed for now.
    pub retry: Retry,
    /// Above this many unfinished messages intake answers 503.
    #[schemars(range(min = 1))]
    pub max_pending: u64,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Lane {
    /// Workers nobody else may use.
    pub reserved: usize,
    /// Share of the rest.
    #[schemars(range(min = 1))]
    pub weight: u32,
}

#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// Waiting times after the first, second … attempt; the last one repeats.
    pub delays: Vec<Span>,
    /// Each is spread by this share, up or down.
    pub jitter: Share,
    /// Then the message is parked.
    pub give_up: Span,
    /// How often a waiting message looks again.
    pub recheck: Span,
}

#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Budgets {
    /// Of each commercetools API client.
    pub commercetools: Budget,
    /// Of each Fluent user.
    pub fluent: Budget,
    /// Lane → guaranteed share of the requests; an unused share is lent.
    pub reserve: BTreeMap<String, Share>,
    /// Leaves a remote alone that fails.
    pub breaker: Breaker,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// Requests per second: learned, or fixed.
    pub requests_per_second: Pace,
    /// With `auto`: the first rate.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub start: f64,
    /// With `auto`: the greatest rate.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub max: f64,
    /// Requests under way at once.
    #[schemars(range(min = 1))]
    pub in_flight: usize,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Breaker {
    /// It opens when this share of the last calls failed.
    pub failures: Share,
    /// How many calls are looked at.
    #[schemars(range(min = 1))]
    pub of: usize,
    /// How long nothing is sent; then one call tries.
    pub open: Span,
    pub mode: BreakerMode,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BreakerMode {
    Enforce,
    /// Only says what it would do.
    Observe,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    /// Bodies of done and skipped messages, as they were received.
    pub payload: Span,
    /// Their rows without bodies.
    pub message: Span,
    /// Parked messages are open work.
    pub parked: Parked,
    /// Keys of messages whose rows are gone.
    pub dedupe: Span,
    /// Tries that did not end well, of messages that ended.
    pub attempts: Span,
    /// Most rows of one commit.
    #[schemars(range(min = 1, max = 5000))]
    pub batch: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Parked {
    /// A person decides about each: `message retry`, `message skip`.
    Never,
}

#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Security {
    /// Allows secrets written into the file.
    pub allow_literal_secrets: bool,
}

#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// Shape of a line.
    pub format: LogFormat,
    /// `info`, or directives such as `info,fluent_connector::queue=debug`.
    pub level: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// Pretty on a terminal, JSON otherwise.
    Auto,
    Pretty,
    Json,
}

#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Simulation {
    /// Shortens our own waits; refused unless every remote is on loopback.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub speed: f64,
    /// Where Google's keys and Amazon's certificates are fetched from instead; refused unless it and
    /// every remote are on loopback.
    pub clouds: Option<String>,
}
