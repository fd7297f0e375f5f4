//! The world of a story: a daemon between both simulated platforms, on one database, under a clock
//! that only the story moves.

pub mod daemons;
pub mod look;
pub mod others;
pub mod shipped;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use fluent_connector::clock::Clock;
use fluent_connector::config::{self, Sources};
use fluent_connector::daemon::Daemon;
use fluent_connector::queue::{Kind, Routes};
use fluent_connector::simulator::commercetools::{self, Commercetools, Push};
use fluent_connector::simulator::fluent::{self, Fluent, Webhook};
use fluent_connector::simulator::{Effect, Exchange};
use fluent_connector::store::{Filter, Row, Token, token};
use serde_json::Value;

use crate::database::{Database, Engine};
use crate::proxy::{self, Proxy};

/// 2026-06-15T10:00:00Z
pub const START: i64 = 1_781_517_600_000;

/// Budgets that no story feels.
const UNFELT: &str = "  commercetools: { requests_per_second: 10000, in_flight: 32 }
  fluent: { requests_per_second: 10000, in_flight: 32 }";

/// Both platforms, the database, and the daemons on it.
pub struct World {
    pub clock: Clock,
    /// Fluent's own clock; it moves with ours.
    fluent_clock: Clock,
    /// The clock of commercetools; the same one unless the story sets them apart.
    pub shop_clock: Clock,
    pub commercetools: Commercetools,
    pub fluent: Fluent,
    pub database: Database,
    pub daemons: Vec<Daemon>,
    /// What stands between the daemons and Postgres, if the story asked for it.
    proxy: Option<(Proxy, String)>,
    /// Where the next daemon listens.
    listen: String,
    /// Where the daemon listened that was stopped last.
    last: Option<String>,
    settings: Settings,
}

/// How a world is set up; what is not said is as in `default.yml`.
#[derive(Clone, Default)]
pub struct Settings {
    /// Lines under `connections[main]`, indented by four spaces.
    pub connection: String,
    /// Further top-level sections.
    pub top: String,
    /// What is under `budgets`; else limits that are never felt.
    pub budgets: Option<String>,
    /// A second file, whose values win over all others; further connections go here.
    pub over: String,
    /// Put a proxy before Postgres.
    pub proxied: bool,
    /// How many milliseconds Fluent's clock is ahead of ours.
    pub fluent_ahead: i64,
    /// The order webhook of Fluent is not delivered at all.
    pub without_webhooks: bool,
    /// commercetools delivers nothing.
    pub without_push: bool,
    /// Workflow steps happen by themselves.
    pub automatic: bool,
    pub commercetools: Option<commercetools::Options>,
    pub fluent: Option<fluent::Options>,
    /// How far the clock of commercetools is ahead of ours, in milliseconds.
    pub shop_ahead: i64,
    /// Routes of the story's own, in every daemon.
    pub register: Option<fn(&mut Routes)>,
}

impl World {
    /// A world on this engine, or `None` (said loudly) where the engine is not at hand.
    pub async fn new(engine: Engine) -> Option<World> {
        Self::with(engine, Settings::default()).await
    }

    /// A world with other settings.
    pub async fn with(engine: Engine, settings: Settings) -> Option<World> {
        let database = Database::new(engine).await?;
        let clock = Clock::simulated(START);
        let shop = commercetools::Options {
            client_id: "connector".into(),
            ..settings.commercetools.clone().unwrap_or_default()
        };
        let shop_clock = match settings.shop_ahead {
            0 => clock.clone(),
            ahead => Clock::simulated(START + ahead),
        };
        let commercetools = Commercetools::start(shop_clock.clone(), shop).await.unwrap();
        commercetools.seed_shop();
        let mut options = settings.fluent.clone().unwrap_or_default();
        options.workflow.automatic = settings.automatic;
        let fluent_clock = match settings.fluent_ahead {
            0 => clock.clone(),
            ahead => Clock::simulated(START + ahead),
        };
        let fluent = Fluent::start(fluent_clock.clone(), options).await.unwrap();
        fluent.seed_shop(&commercetools::ARTICLES.map(|article| article.sku));
        let proxy = match settings.proxied {
            true => Some(proxy::through(&database).await),
            false => None,
        };
        if recordings().is_some() {
            commercetools.front().keep_all();
            fluent.front().keep_all();
        }
        let (daemons, listen) = (Vec::new(), "127.0.0.1:0".to_owned());
        let mut world = World {
            clock,
            shop_clock,
            fluent_clock,
            commercetools,
            fluent,
            database,
            daemons,
            proxy,
            listen,
            last: None,
            settings,
        };
        world.start_daemon().await;
        world.connect().await;
        Some(world)
    }

    /// Starts one more daemon on the same database; answers its index.
    pub async fn start_daemon(&mut self) -> usize {
        self.start_daemon_with(|_| {}).await
    }

    /// The same with routes of the story's own.
    pub async fn start_daemon_with(&mut self, register: impl FnOnce(&mut Routes)) -> usize {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::SeqCst);
        let file = self.database.folder.path().join(format!("config-{number}.yml"));
        let socket = self.database.folder.path().join(format!("admin-{number}.sock"));
        let over = self.database.folder.path().join(format!("over-{number}.yml"));
        std::fs::write(&file, self.configuration(&self.listen, &socket)).unwrap();
        std::fs::write(&over, &self.settings.over).unwrap();
        let loaded = config::load(&Sources { files: vec![file, over], ..Sources::default() })
            .unwrap_or_else(|problems| panic!("{problems}"));
        let mut routes = Routes::default();
        fluent_connector::standard(&mut routes);
        self.settings.register.iter().for_each(|register| register(&mut routes));
        register(&mut routes);
        let names: Vec<String> = routes.iter().map(|route| route.name.clone()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        config::check(&loaded, &names).await.unwrap_or_else(|problems| panic!("{problems}"));
        self.daemons.push(Daemon::start(loaded.config, routes, self.clock.clone()).await.unwrap());
        self.daemons.len() - 1
    }

    /// Stops the first daemon as an operator would.
    pub async fn stop_daemon(&mut self) {
        let daemon = self.daemons.remove(0);
        self.last = Some(daemon.address.to_string());
        daemon.stop().await;
    }

    /// Stops the first daemon and starts another one with the settings as they are now.
    pub async fn restart(&mut self) {
        self.stop_daemon().await;
        self.start_daemon_again().await;
        self.settle().await;
    }

    /// Starts a daemon where the one that was stopped last listened.
    pub async fn start_daemon_again(&mut self) {
        let last = self.last.take().expect("a daemon was stopped");
        let anywhere = std::mem::replace(&mut self.listen, last);
        self.start_daemon().await;
        self.listen = anywhere;
    }

    /// Other settings for the daemons that start from now on.
    pub fn set(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// A clock of ours that shows something else, for the daemons that start from now on.
    pub fn set_back(&mut self, to: i64) {
        self.clock = Clock::simulated(to);
    }

    /// A configuration for a daemon in this world.
    pub fn configuration(&self, listen: &str, socket: &std::path::Path) -> String {
        let (shop, fluent) = (self.commercetools.options(), self.fluent.options());
        format!(
            r#"
server: {{ listen: "{listen}", admin_socket: "{socket}", shutdown: {{ drain: 5s, deadline: 10s }} }}
database: {{ url: "{database}", disk_reserve: 0B }}
security: {{ allow_literal_secrets: true }}
intake: {{ push: {{ plain: {{ enabled: true }} }} }}
budgets:
{budgets}
{top}
connections:
  - name: main
    commercetools:
      project_key: "{project}"
      api_url: "{shop_url}"
      auth_url: "{shop_url}"
      import_url: "{shop_url}"
      client_id: "{client_id}"
      client_secret: "{client_secret}"
    fluent:
      account: {account}
      retailer_id: {retailer}
      base_url: "{fluent_url}"
      username: "{username}"
      password: "{password}"
      client_id: "{fluent_client}"
      client_secret: "{fluent_secret}"
      product_catalogue: {{ ref: "{catalogue}", type: MASTER }}
      webhook: {{ public_keys: ["{key}"] }}
    locale: {{ chain: [en-GB] }}
{connection}
"#,
            socket = socket.display(),
            database = self.proxy.as_ref().map_or(&self.database.url, |(_, url)| url),
            budgets = self.settings.budgets.as_deref().unwrap_or(UNFELT),
            top = self.settings.top,
            project = shop.project_key,
            shop_url = self.commercetools.url(),
            client_id = shop.client_id,
            client_secret = shop.client_secret,
            account = fluent.account,
            retailer = fluent.retailer_id,
            fluent_url = self.fluent.url(),
            username = fluent.username,
            password = fluent.password,
            fluent_client = fluent.client_id,
            fluent_secret = fluent.client_secret,
            catalogue = fluent.catalogue,
            key = self.fluent.public_key(),
            connection = self.settings.connection,
        )
    }

    /// Tells both platforms where to deliver.
    async fn connect(&mut self) {
        let token = self.token(&["intake:commercetools"]).await;
        if !self.settings.without_push {
            let url = format!("{}/intake/commercetools/plain/main", self.url(0));
            self.commercetools.subscribe(Push { url, token, drop: 0.0, duplicate: 0.0, reorder: false });
        }
        if !self.settings.without_webhooks {
            let url = format!("{}/api/v1/fluent-connect/webhook", self.url(0));
            self.fluent.webhook(Webhook::to(url));
        }
        self.settle().await;
    }

    /// Base URL of a daemon.
    pub fn url(&self, daemon: usize) -> String {
        format!("http://{}", self.daemons[daemon].address)
    }

    /// The proxy before Postgres.
    pub fn proxy(&self) -> &Proxy {
        &self.proxy.as_ref().expect("Settings::proxied").0
    }

    /// Takes over other settings; daemons that start from now on have them.
    pub fn change(&mut self, change: impl FnOnce(&mut Settings)) {
        change(&mut self.settings);
    }

    /// An API token with these scopes for connection `main`.
    pub async fn token(&self, scopes: &[&str]) -> String {
        self.token_with(scopes, |_| {}).await
    }

    /// The same with an expiry, another connection …
    pub async fn token_with(&self, scopes: &[&str], adapt: impl FnOnce(&mut Token)) -> String {
        use secrecy::ExposeSecret;
        let (id, full) = token::generate();
        let mut row = Token {
            name: format!("story {id}"),
            hash: token::hash(&full).unwrap(),
            id,
            scopes: fluent_connector::store::Json(scopes.iter().map(ToString::to_string).collect()),
            connections: fluent_connector::store::Json(vec!["main".into()]),
            created: self.clock.now(),
            created_by: "story".into(),
            expires: None,
            last_used: None,
            revoked: None,
        };
        adapt(&mut row);
        let store = self.daemons[0].app.store();
        let write = store.write(fluent_connector::store::Urgency::Urgent, move |tx| {
            Box::pin(async move { tx.put_token(&row).await })
        });
        write.await.unwrap();
        full.expose_secret().to_owned()
    }

    /// Waits until nothing can happen before time moves: no delivery is due or under way, no message
    /// is running or due. Fails after 30 s, naming what is left.
    pub async fn settle(&self) {
        self.settle_within(15_000).await;
    }

    /// The same for work that takes longer: so many times 2 ms.
    pub async fn settle_within(&self, looks: usize) {
        let mut quiet = 0;
        for _ in 0..looks {
            quiet = if self.busy(false).await.is_empty() { quiet + 1 } else { 0 };
            if quiet == 3 {
                return;
            }
            tick().await;
        }
        panic!("not settled after {looks} looks: {:?}", self.busy(true).await);
    }

    /// Waits for something that other processes do in real time; fails after 30 s.
    pub async fn until(&self, what: &str, mut happened: impl AsyncFnMut() -> bool) {
        for _ in 0..15_000 {
            if happened().await {
                return;
            }
            tick().await;
        }
        panic!("after 30 s not yet: {what}");
    }

    /// What is to be done; `named` also reads which messages that are, which takes its time.
    async fn busy(&self, named: bool) -> Vec<String> {
        let mut busy = Vec::new();
        let (pushes, webhooks) = (self.commercetools.pending_pushes(), self.fluent.pending_webhooks());
        if pushes + webhooks > 0 {
            busy.push(format!("{pushes} pushes, {webhooks} webhooks"));
        }
        if let Some(daemon) = self.daemons.first() {
            let now = self.clock.now();
            busy.extend(unplanned(daemon, now).await);
            match async { daemon.app.store().read().await?.active(now).await }.await {
                Ok(0) => {}
                Ok(active) if !named => busy.push(format!("{active} messages")),
                Ok(active) => {
                    busy.push(format!("{active} messages"));
                    let open = |row: &&Row| ["running", "ready", "waiting"].contains(&row.state.as_str());
                    let rows = self.messages(Filter::default()).await;
                    busy.extend(rows.iter().filter(open).map(|row| {
                        format!("{} {} {} due {} {:?}", row.state, row.route, row.key, row.due - START, row.detail)
                    }));
                }
                Err(error) => busy.push(error.to_string()),
            }
        }
        busy
    }

    /// Moves time and waits until everything that fell due is done.
    pub async fn advance(&self, by: Duration) {
        self.tick(by);
        self.settle().await;
    }

    /// Lets everything run for a few moments of real time, without waiting for it.
    pub async fn breathe(&self, moments: usize) {
        for _ in 0..moments {
            tick().await;
        }
    }

    /// Moves time and waits for nothing.
    pub fn tick(&self, by: Duration) {
        // Fluent's first: whoever wakes up with ours asks Fluent what time it is.
        if self.settings.fluent_ahead != 0 {
            self.fluent_clock.advance(by);
        }
        self.clock.advance(by);
        if self.settings.shop_ahead != 0 {
            self.shop_clock.advance(by);
        }
    }

    /// Moves time in steps, so that what falls due in between happens in its order.
    pub async fn pass(&self, whole: Duration, step: Duration) {
        let mut left = whole;
        while !left.is_zero() {
            let by = step.min(left);
            self.advance(by).await;
            left -= by;
        }
    }

    /// Messages by filter, newest first.
    pub async fn messages(&self, filter: Filter) -> Vec<Row> {
        self.daemons[0].app.store().read().await.unwrap().messages(&filter, 10_000).await.unwrap()
    }

    /// All parked messages.
    pub async fn parked(&self) -> Vec<Row> {
        self.messages(Filter { state: Some("parked".into()), ..Filter::default() }).await
    }

    /// The counters close, and equal a recount of the same moment.
    pub async fn nothing_lost(&self) {
        let mut db = self.daemons[0].app.store().read().await.unwrap();
        for (place, counts) in db.tally().await.unwrap() {
            assert_eq!(counts.imbalance(), 0, "{place:?}: {counts:?}");
        }
        let balance = db.balance().await.unwrap();
        assert_eq!(balance.kept, balance.counted);
    }

    /// Effects in Fluent of one operation on one kind of entity.
    pub fn fluent_effects(&self, operation: &str, entity: &str) -> Vec<Effect> {
        let meant = |effect: &Effect| effect.operation == operation && effect.entity == entity;
        self.fluent.front().ledger().into_iter().filter(meant).collect()
    }

    /// The order as commercetools has it.
    pub fn shop_order(&self, id: &str) -> Value {
        self.commercetools.document("orders", id).unwrap()
    }
}

impl Drop for World {
    /// Writes down what was sent, for the contract checkers.
    fn drop(&mut self) {
        let Some(folder) = recordings() else { return };
        let name = uuid::Uuid::now_v7();
        let shop = lines(self.commercetools.front().exchanges(), shop_line);
        std::fs::write(folder.join(format!("commercetools-{name}.jsonl")), shop).unwrap();
        let fluent = lines(self.fluent.front().exchanges(), fluent_line);
        std::fs::write(folder.join(format!("fluent-{name}.jsonl")), fluent).unwrap();
    }
}

/// How many exchanges of one operation and status are written down from the beginning of a story, and
/// from its end: a story of thousands of orders would keep the checkers busy for minutes with more of
/// the same.
const ENDS: usize = 1;
/// How many rows of a page are written down.
const PAGE: usize = 2;

fn lines(exchanges: Vec<Exchange>, line: fn(&Exchange) -> Option<Value>) -> String {
    let mut alike: BTreeMap<(String, u16), Vec<Exchange>> = BTreeMap::new();
    for exchange in exchanges {
        alike.entry((exchange.operation.clone(), exchange.status)).or_default().push(exchange);
    }
    let ends = alike.into_values().flat_map(|alike| {
        let last = alike.len().saturating_sub(ENDS);
        alike.into_iter().enumerate().filter(move |(number, _)| *number < ENDS || *number >= last)
    });
    ends.filter_map(|(_, exchange)| line(&exchange)).map(|line| format!("{line}\n")).collect()
}

/// Where recordings go, if any are asked for.
fn recordings() -> Option<PathBuf> {
    #[expect(clippy::disallowed_methods, reason = "scripts/test says where recordings go")]
    std::env::var_os("FLUENT_CONNECTOR_RECORD").map(PathBuf::from)
}

/// One line for `check-commercetools.py`: the request, and the answer where it is a success.
fn shop_line(exchange: &Exchange) -> Option<Value> {
    let auth = exchange.path.starts_with("/oauth");
    let mut line = serde_json::json!({"method": exchange.method, "path": exchange.path});
    if auth {
        return None;
    }
    if !exchange.request.is_null() {
        line["body"] = exchange.request.clone();
    }
    if (200..300).contains(&exchange.status) {
        line["status"] = exchange.status.into();
        line["response"] = exchange.response.clone();
        if let Some(results) = line["response"]["results"].as_array_mut() {
            results.truncate(PAGE);
        }
    }
    Some(line)
}

/// One line for `check-fluent.py`.
fn fluent_line(exchange: &Exchange) -> Option<Value> {
    let query = exchange.request.get("query")?.clone();
    let mut line = serde_json::json!({
        "query": query.clone(),
        "variables": exchange.request.get("variables").cloned().unwrap_or_default(),
        "operationName": exchange.request.get("operationName").cloned().unwrap_or_default(),
    });
    // The checker cannot tell which object type stands behind these interfaces when the query does not ask for it.
    let abstract_types = ["product {", "deliveryAddress {"];
    let checkable = !abstract_types.iter().any(|field| query.as_str().is_some_and(|query| query.contains(field)));
    if checkable && exchange.status == 200 && exchange.response.get("errors").is_none() {
        line["response"] = exchange.response.clone();
    }
    Some(line)
}

/// Jobs whose tick the scheduler has not made yet, though it is time.
async fn unplanned(daemon: &Daemon, now: i64) -> Vec<String> {
    let rows = async { daemon.app.store().read().await?.schedule().await }.await.unwrap_or_default();
    let planned = |connection: &str, job: &str| {
        let row = rows.iter().find(|row| row.connection == connection && row.job == job);
        row.is_some_and(|row| row.is_paused(now) || row.next_due.is_some_and(|due| due > now))
    };
    let jobs = daemon.queue.routes.iter().filter(|route| route.kind == Kind::Job);
    let pairs = jobs.flat_map(|job| daemon.app.connections().map(move |connection| (job, connection)));
    pairs
        .filter(|(job, connection)| daemon.queue.timing(connection, job).unwrap().is_some())
        .filter(|(job, connection)| !planned(&connection.config.name, &job.name))
        .map(|(job, _)| format!("{} is due", job.name))
        .collect()
}

/// Lets the other tasks run for a moment of real time.
pub async fn tick() {
    #[expect(clippy::disallowed_methods, reason = "the one place where a story waits for real work")]
    tokio::time::sleep(Duration::from_millis(2)).await;
}
