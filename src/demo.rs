//! `demo` and `simulate`: both platforms on this machine, without credentials and without network.
#![expect(clippy::print_stdout, reason = "the demo tells a person what to try")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use futures_util::FutureExt;
use secrecy::{ExposeSecret, SecretString};
use tokio_util::sync::CancellationToken;

use crate::cli;
use crate::clock::Clock;
use crate::config::{self, Sources};
use crate::daemon::{Daemon, refuse, until_told_to_stop};
use crate::queue::Routes;
use crate::simulator::commercetools::{self, ADA, ARTICLES, BORIS, Commercetools, Push};
use crate::simulator::fluent::{self, Fluent, Webhook, Workflow};
use crate::simulator::{Rule, Traffic};
use crate::store::{Json, Token, Urgency, token};
use crate::telemetry::{self, Form};

/// Seed of platforms and shop unless another is given.
const SEED: u64 = 1;

/// The verb `demo`.
pub fn run(options: &cli::Demo, routes: Routes) -> ExitCode {
    telemetry::start("warn", Form::Pretty);
    on_runtime(async {
        let clock = Clock::system();
        let started = clock.now();
        let demo = Demo::start(options, routes).await?;
        println!("{}", demo.welcome(options, clock.now() - started));
        let stop = CancellationToken::new();
        let told = stop.clone();
        tokio::join!(demo.run(stop), async move {
            until_told_to_stop().await;
            told.cancel();
        });
        Ok(())
    })
}

/// The verb `simulate`: one platform, until it is told to stop.
pub fn simulate(options: &cli::Simulate) -> ExitCode {
    let graphql = options.faults.iter().any(|(fault, _)| fault.is_graphql());
    if graphql && options.platform == cli::Platform::Commercetools {
        return refuse(2, &"null-data, failed-alias and refused-cursor are faults of Fluent only.");
    }
    telemetry::start("info", Form::Pretty);
    let traffic = Traffic { limit: options.limit.map(|rate| rate.0), latency: options.latency.0 };
    let (port, seed) = (options.port, options.seed.unwrap_or(SEED));
    on_runtime(async {
        let (front, url, credentials) = match options.platform {
            cli::Platform::Commercetools => {
                let defaults = commercetools::Options::default();
                let shop =
                    Commercetools::start(Clock::system(), commercetools::Options { port, seed, traffic, ..defaults })
                        .await?;
                shop.seed_shop();
                let project = shop.options();
                let credentials = format!(
                    "project {}, client {} / {}",
                    project.project_key, project.client_id, project.client_secret
                );
                (shop.front().clone(), shop.url(), credentials)
            }
            cli::Platform::Fluent => {
                let defaults = fluent::Options::default();
                let platform =
                    Fluent::start(Clock::system(), fluent::Options { port, seed, traffic, ..defaults }).await?;
                platform.seed_shop(&ARTICLES.map(|article| article.sku));
                let account = platform.options();
                let credentials = format!(
                    "account {}, retailer {}, user {} / {}, client {} / {}",
                    account.account,
                    account.retailer_id,
                    account.username,
                    account.password,
                    account.client_id,
                    account.client_secret
                );
                (platform.front().clone(), platform.url(), credentials)
            }
        };
        for (fault, rate) in &options.faults {
            front.fault(Rule { fault: *fault, operation: None, times: None, rate: rate.0 });
        }
        println!("{url}\n{credentials}\nfaults, ledger and state: {url}/_control/… (loopback only)\nCtrl-C ends it.");
        until_told_to_stop().await;
        front.stop();
        Ok(())
    })
}

fn on_runtime(work: impl Future<Output = anyhow::Result<()>>) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return refuse(1, &error),
    };
    match runtime.block_on(work) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => refuse(1, &format!("{error:#}")),
    }
}

/// A running demo.
pub struct Demo {
    pub daemon: Daemon,
    pub commercetools: Commercetools,
    pub fluent: Fluent,
    /// Configuration, database and admin socket.
    pub folder: PathBuf,
    kept: bool,
    /// Orders that were placed first, by number; the second one is the poison.
    pub orders: Vec<String>,
}

/// Lines the demo's orders take: SKU index and quantity.
const BASKETS: &[&[(usize, i64)]] = &[&[(1, 2), (9, 1)], &[(4, 1)], &[(8, 3), (6, 1), (11, 1)], &[(0, 1)], &[(7, 2)]];
/// Price of a delivery, in cents.
const SHIPPING: i64 = 495;
/// Between two orders of the trickle.
const TRICKLE: Duration = Duration::from_secs(30);
/// Fluent goes away this often, for so long.
const OUTAGE_EVERY: Duration = Duration::from_secs(600);
const OUTAGE: Duration = Duration::from_secs(45);

impl Demo {
    /// Starts platforms, daemon and shop; the first orders are placed.
    ///
    /// # Errors
    /// When a port is taken or the folder cannot be written.
    pub async fn start(options: &cli::Demo, routes: Routes) -> anyhow::Result<Self> {
        let clock = Clock::fast(options.speed);
        let shop = commercetools::Options { seed: options.seed.unwrap_or(SEED), ..commercetools::Options::default() };
        let commercetools = Commercetools::start(clock.clone(), shop).await?;
        commercetools.seed_shop();
        let workflow = Workflow { automatic: true, step: Duration::from_secs(20) };
        let platform = fluent::Options { seed: options.seed.unwrap_or(SEED), workflow, ..fluent::Options::default() };
        let fluent = Fluent::start(clock.clone(), platform).await?;
        fluent.seed_shop(&ARTICLES.map(|article| article.sku));
        let folder = folder(options)?;
        let file = folder.join("config.yml");
        std::fs::write(&file, configuration(options, &folder, &commercetools, &fluent))?;
        let loaded = config::load(&Sources { files: vec![file], ..Sources::default() })?;
        let names: Vec<String> = routes.iter().map(|route| route.name.clone()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        config::check(&loaded, &names).await?;
        let daemon = Daemon::start(loaded.config, routes, clock).await?;
        let url = format!("http://{}", daemon.address);
        let token = sender(&daemon).await?.expose_secret().to_owned();
        let intake = format!("{url}/intake/commercetools/plain/main");
        commercetools.subscribe(Push { url: intake, token, drop: 0.0, duplicate: 0.05, reorder: false });
        fluent.webhook(Webhook::to(format!("{url}/api/v1/fluent-connect/webhook")));
        let kept = options.keep.is_some();
        let mut demo = Self { daemon, commercetools, fluent, folder, kept, orders: Vec::new() };
        for _ in 0..3 {
            demo.place();
        }
        Ok(demo)
    }

    /// A trickle of orders and now and then an outage, until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let clock = self.daemon.app.clock().clone();
        let started = clock.now();
        while !stop.is_cancelled() {
            tokio::select! { () = clock.sleep(TRICKLE) => {}, () = stop.cancelled() => break }
            self.place();
            let into = (clock.now() - started) as u128 % OUTAGE_EVERY.as_millis();
            // The outage ends each period, so that the demo starts with everything well.
            self.fluent.front().down(into >= (OUTAGE_EVERY - OUTAGE).as_millis());
        }
        self.stop().await;
    }

    /// Ends the demo; without `--keep` nothing of it remains.
    pub async fn stop(self) {
        self.daemon.stop().await;
        self.commercetools.front().stop();
        self.fluent.stop();
        if !self.kept {
            // What cannot be removed lies in the folder for temporary files.
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }

    /// What there is to see, with commands that work as they stand.
    fn welcome(&self, options: &cli::Demo, millis: i64) -> String {
        let program =
            std::env::current_exe().map_or_else(|_| "fluent-connector".into(), |path| path.display().to_string());
        let program = format!("{program} --admin-socket {}/admin.sock", self.folder.display());
        let fate = if self.kept { "kept" } else { "gone at the end; --keep DIR keeps it" };
        let (first, poison) = (&self.orders[0], &self.orders[1]);
        format!(
            "A shop on commercetools, Fluent Commerce, and the connector between them; all simulated, all on this machine.\n\
             \n\
             ready after   {millis} ms, {speed}x as fast as real time\n\
             open          http://{address}/readyz\n\
             commercetools {shop}\n\
             Fluent        {fluent}\n\
             folder        {folder} ({fate})\n\
             \n\
             Orders come in all the time; {poison} is a poison order. Three things to try in another terminal:\n\
             \n\
             {program} explain order {first}\n\
             {program} message list --state parked\n\
             {program} mapping export --kind order --format csv\n\
             \n\
             Ctrl-C ends it.",
            speed = options.speed,
            address = self.daemon.address,
            shop = self.commercetools.url(),
            fluent = self.fluent.url(),
            folder = self.folder.display(),
        )
    }

    /// One more order; every fifth is collected, and the second of all has no SKU and can only be parked.
    fn place(&mut self) {
        let at = self.orders.len();
        let number = (100_001 + at).to_string();
        let mut draft = self.commercetools.order(Some(&number)).shipping(SHIPPING);
        let mut total = SHIPPING;
        for (article, quantity) in BASKETS[at % BASKETS.len()] {
            let article = &ARTICLES[*article];
            total += article.cent_amount * quantity;
            draft = draft.line(article.sku, *quantity, article.cent_amount);
        }
        draft = match at % 4 {
            0 => draft.customer(ADA).payment("CREDIT_CARD", total),
            1 => draft.customer(BORIS),
            _ => draft.guest(&format!("guest-{at}@example.org")),
        };
        if at % 5 == 3 {
            let pickup = serde_json::json!({
                "type": {"typeId": "type", "id": "pickup"}, "fields": {"flPickupLocationRef": "LOC-1"}
            });
            draft = draft.changed(move |order| order["shippingCustomFields"] = pickup);
        }
        if at == 1 {
            draft = draft.without_sku();
        }
        draft.place();
        self.orders.push(number);
    }
}

fn folder(options: &cli::Demo) -> anyhow::Result<PathBuf> {
    let folder = match &options.keep {
        Some(folder) => folder.clone(),
        None => std::env::temp_dir().join(format!("fluent-connector-demo-{}", std::process::id())),
    };
    std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    Ok(folder)
}

fn configuration(options: &cli::Demo, folder: &Path, shop: &Commercetools, fluent: &Fluent) -> String {
    let (project, platform) = (shop.options(), fluent.options());
    format!(
        r#"# Written by `fluent-connector demo`.
server: {{ listen: "127.0.0.1:{port}", admin_socket: "{folder}/admin.sock" }}
database: {{ url: "sqlite://{folder}/connector.db" }}
security: {{ allow_literal_secrets: true }}
simulation: {{ speed: {speed} }}
intake: {{ push: {{ plain: {{ enabled: true }} }} }}
connections:
  - name: main
    commercetools:
      project_key: "{project}"
      api_url: "{shop_url}"
      auth_url: "{shop_url}"
      client_id: "{client_id}"
      client_secret: "{client_secret}"
    fluent:
      account: "{account}"
      retailer_id: {retailer}
      base_url: "{fluent_url}"
      username: "{username}"
      password: "{password}"
      client_id: "{fluent_client}"
      client_secret: "{fluent_secret}"
      product_catalogue: {{ ref: "{catalogue}", type: MASTER }}
      webhook: {{ public_keys: ["{key}"] }}
"#,
        port = options.port,
        speed = options.speed,
        folder = folder.display(),
        project = project.project_key,
        shop_url = shop.url(),
        client_id = project.client_id,
        client_secret = project.client_secret,
        account = platform.account,
        retailer = platform.retailer_id,
        fluent_url = fluent.url(),
        username = platform.username,
        password = platform.password,
        fluent_client = platform.client_id,
        fluent_secret = platform.client_secret,
        catalogue = platform.catalogue,
        key = fluent.public_key(),
    )
}

/// A token with which the shop delivers its notifications.
async fn sender(daemon: &Daemon) -> anyhow::Result<SecretString> {
    let (id, full) = token::generate();
    let hash = token::hash(&full).context("a generated token has a hash")?;
    let now = daemon.app.clock().now();
    let row = Token {
        id,
        name: "demo shop".into(),
        hash,
        scopes: Json(vec!["intake:commercetools".into()]),
        connections: Json(vec!["main".into()]),
        created: now,
        created_by: "demo".into(),
        expires: None,
        last_used: None,
        revoked: None,
    };
    daemon.app.store().write(Urgency::Urgent, move |tx| async move { tx.put_token(&row).await }.boxed()).await?;
    Ok(full)
}
