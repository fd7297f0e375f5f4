//! How close to what both platforms allow does a catalogue move?
//!
//! `cargo bench --bench catalogue` (`-- --scale 0.01` for a hundredth of it): 200,000 products of about 10 KB
//! with three variants each. Both simulated platforms are processes of their own: commercetools takes 100
//! requests per second and answers a list page after 800 ms, Fluent takes 50 per second and answers after
//! 200 ms. The release daemon is a process of its own, on SQLite; its limits are configured. Measured: the first
//! load, a run over everything in which nothing changed, and a run after one product in a hundred did. The best
//! time and the fewest calls follow from the limits, the latencies and aliases of twenty. Prints a table, then
//! one line of JSON.
#![expect(clippy::print_stdout, reason = "a benchmark reports to a person")]
#![expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use fluent_connector::simulator::commercetools::{Options as Project, product, variant};
use fluent_connector::simulator::fluent::Options as Account;
use serde_json::{Value, json};
use sqlx::{Connection, SqliteConnection};

const PRODUCTS: f64 = 200_000.0;
const VARIANTS: usize = 3;
/// Share of the products that change before the delta.
const CHANGED: usize = 100;
const PAGE: usize = 500;
const ALIASES: usize = 20;
/// Requests per second.
const LIMITS: [f64; 2] = [100.0, 50.0];
/// Of a list page, and of any answer of Fluent.
const LATENCIES: [Duration; 2] = [Duration::from_millis(800), Duration::from_millis(200)];
/// Products of one request that seeds them: 16 MiB is the most.
const SEED: usize = 200;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let scale = arguments.iter().position(|argument| argument == "--scale").and_then(|at| arguments.get(at + 1));
    let scale: f64 = scale.map_or(Ok(1.0), |scale| scale.parse()).context("--scale takes a number")?;
    let count = ((PRODUCTS * scale) as usize).max(CHANGED);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(measure(count))
}

async fn measure(count: usize) -> anyhow::Result<()> {
    let folder = tempfile::tempdir_in(".")?;
    let (shop, fluent) = (Platform::start("commercetools")?, Platform::start("fluent")?);
    seed(&shop, 0..count, "Shirt").await?;
    for (platform, (limit, latency)) in [&shop, &fluent].into_iter().zip(LIMITS.into_iter().zip(LATENCIES)) {
        platform.tell("traffic", &json!({"limit": limit, "latency": latency})).await?;
    }
    let daemon = Daemon::start(folder.path(), &shop, &fluent).await?;
    println!(
        "{:<10} {:>9} {:>9} {:>10} {:>9} {:>9} {:>10}",
        "run", "time s", "best s", "efficiency", "calls", "fewest", "call ratio"
    );
    let full = run(&daemon, [&shop, &fluent], &[], Best::of(count, count)).await?.report("full");
    let unchanged = run(&daemon, [&shop, &fluent], &["--from", "2000-01-01T00:00:00Z"], Best::of(count, 0))
        .await?
        .report("unchanged");
    let changed = count / CHANGED;
    seed(&shop, 0..changed, "Better shirt").await?;
    let delta = run(&daemon, [&shop, &fluent], &[], Best::of(changed, changed)).await?.report("delta");
    let made = fluent.ledger().await?;
    ensure!(made == count * (1 + VARIANTS), "{made} products were created, not {}", count * (1 + VARIANTS));
    println!(
        "{}",
        json!({
            "full_efficiency": full.efficiency(), "full_call_ratio": full.call_ratio().max(delta.call_ratio()),
            "delta_efficiency": delta.efficiency(), "unchanged_writes": unchanged.writes,
            "peak_rss_mib": daemon.peak_rss_mib()?,
        })
    );
    Ok(())
}

/// Puts these products, or changes them: their name is that of their variants, too.
async fn seed(shop: &Platform, numbers: std::ops::Range<usize>, name: &str) -> anyhow::Result<()> {
    let text = "A shirt as it should be. ".repeat(100);
    let all: Vec<usize> = numbers.collect();
    for chunk in all.chunks(SEED) {
        let documents = chunk.iter().map(|number| {
            let key = format!("P-{number:06}");
            let variants = (0..VARIANTS).map(|at| variant(&format!("{key}-{at}"), 2_999)).collect();
            let mut document = product(&key, name, &[], variants);
            for version in ["current", "staged"] {
                document["masterData"][version]["description"] = json!({"en-GB": text, "de-DE": text, "fr-FR": text});
            }
            document
        });
        let documents: Vec<Value> = documents.collect();
        shop.tell("documents/products", &json!(documents)).await?;
    }
    Ok(())
}

/// What no design can do better.
#[derive(Clone, Copy)]
struct Best {
    calls: usize,
    seconds: f64,
}

impl Best {
    /// Of so many products that are read, and so many that are written.
    fn of(read: usize, written: usize) -> Self {
        let pages = read.div_ceil(PAGE).max(1);
        let requests = written.div_ceil(ALIASES) + (written * VARIANTS).div_ceil(ALIASES);
        let [list, answer] = LATENCIES.map(|latency| latency.as_secs_f64());
        let reading = (pages as f64 / LIMITS[0]).max(pages as f64 * list);
        let writing = requests as f64 / LIMITS[1];
        // Variants come after their standard products.
        let tail = if written > 0 { 2.0 * answer } else { 0.0 };
        Self { calls: pages + requests, seconds: reading.max(writing) + list + tail }
    }
}

struct Measured {
    seconds: f64,
    calls: u64,
    writes: u64,
    best: Best,
}

impl Measured {
    fn efficiency(&self) -> f64 {
        self.best.seconds / self.seconds
    }

    fn call_ratio(&self) -> f64 {
        self.calls as f64 / self.best.calls as f64
    }

    fn report(self, name: &str) -> Self {
        println!(
            "{name:<10} {:>9.1} {:>9.1} {:>10.3} {:>9} {:>9} {:>10.3}",
            self.seconds,
            self.best.seconds,
            self.efficiency(),
            self.calls,
            self.best.calls,
            self.call_ratio()
        );
        self
    }
}

/// Has the job run, and waits until all its pages are done.
async fn run(daemon: &Daemon, platforms: [&Platform; 2], range: &[&str], best: Best) -> anyhow::Result<Measured> {
    let count = async || anyhow::Ok((platforms[0].counts().await?, platforms[1].counts().await?));
    let (shop, fluent) = count().await?;
    let began = Instant::now();
    daemon.job(range)?;
    let took = daemon.idle(began).await?;
    let (shop_after, fluent_after) = count().await?;
    Ok(Measured {
        seconds: took.as_secs_f64(),
        calls: shop_after.0 - shop.0 + fluent_after.0 - fluent.0,
        writes: fluent_after.1 - fluent.1,
        best,
    })
}

/// A simulated platform in a process of its own; ends with this value.
struct Platform {
    process: Child,
    url: String,
    http: reqwest::Client,
    /// Closed with the platform: who prints into a closed pipe dies of it.
    _output: BufReader<ChildStdout>,
}

impl Platform {
    fn start(name: &str) -> anyhow::Result<Self> {
        let mut process = Command::new(env!("CARGO_BIN_EXE_fluent-connector"))
            .args(["simulate", name])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut output = BufReader::new(process.stdout.take().context("standard output is piped")?);
        let mut url = String::new();
        output.read_line(&mut url)?;
        let http = fluent_connector::remote::http_client()?;
        Ok(Self { process, url: url.trim().to_owned(), http, _output: output })
    }

    async fn tell(&self, what: &str, body: &Value) -> anyhow::Result<()> {
        let request = self.http.post(format!("{}/_control/{what}", self.url)).json(body);
        request.send().await?.error_for_status()?;
        Ok(())
    }

    /// Requests that were taken, those for tokens left out, and those of them that write.
    async fn counts(&self) -> anyhow::Result<(u64, u64)> {
        let answer = self.http.get(format!("{}/_control/counts", self.url)).send().await?.error_for_status()?;
        let counts: Vec<(String, u16, u64)> = answer.json().await?;
        let is_work = |name: &str| !name.contains("oauth");
        let is_write = |name: &str| name.starts_with("Create") || name.starts_with("Update");
        let sum =
            |wanted: &dyn Fn(&str) -> bool| counts.iter().filter(|(name, ..)| wanted(name)).map(|(.., n)| n).sum();
        Ok((sum(&is_work), sum(&is_write)))
    }

    /// How many products were created, as the platform itself wrote down.
    async fn ledger(&self) -> anyhow::Result<usize> {
        let answer = self.http.get(format!("{}/_control/ledger", self.url)).send().await?.error_for_status()?;
        let effects: Vec<Value> = answer.json().await?;
        let is_made = |effect: &&Value| {
            effect["operation"].as_str().is_some_and(|name| name.starts_with("create") && name.ends_with("Product"))
        };
        Ok(effects.iter().filter(is_made).count())
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        // A process that is gone already is what we want.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The daemon as a process of its own; killed when dropped.
struct Daemon {
    process: Child,
    configuration: PathBuf,
    database: String,
}

impl Daemon {
    async fn start(folder: &Path, shop: &Platform, fluent: &Platform) -> anyhow::Result<Self> {
        let (project, account) = (Project::default(), Account::default());
        let folder = folder.canonicalize()?;
        let database = format!("sqlite://{}", folder.join("catalogue.db").display());
        let configuration = folder.join("catalogue.yml");
        let quiet = json!({"poll": {"enabled": false}});
        let text = json!({
            "server": {"listen": "127.0.0.1:0", "admin_socket": folder.join("admin.sock")},
            "database": {"url": database},
            "security": {"allow_literal_secrets": true},
            "log": {"level": "error"},
            "budgets": {
                "commercetools": {"requests_per_second": LIMITS[0], "in_flight": 32},
                "fluent": {"requests_per_second": LIMITS[1], "in_flight": 32},
            },
            "connections": [{
                "name": "main",
                "commercetools": {
                    "project_key": project.project_key, "api_url": shop.url, "auth_url": shop.url,
                    "import_url": shop.url, "client_id": project.client_id, "client_secret": project.client_secret,
                },
                "fluent": {
                    "account": account.account, "retailer_id": account.retailer_id, "base_url": fluent.url,
                    "username": account.username, "password": account.password, "client_id": account.client_id,
                    "client_secret": account.client_secret,
                    "product_catalogue": {"ref": account.catalogue, "type": "MASTER"},
                },
                "locale": {"chain": ["en-GB"]},
                "poll": {"settle": "0s", "overlap": "0s"},
                // Nothing else runs.
                "product": {"poll": "0s", "removal_sweep": "0s"},
                "category": {"enabled": false},
                "customer": {"poll": "0s"},
                "order": {"poll": "0s", "payment_poll": "0s"},
                "order_status": quiet, "fulfilment": quiet, "consignment": quiet, "returns": quiet,
                "location": {"enabled": false}, "inventory": {"enabled": false},
            }],
        });
        // JSON is YAML.
        std::fs::write(&configuration, text.to_string())?;
        let process = command(&configuration).arg("run").stdin(Stdio::null()).spawn()?;
        let daemon = Self { process, configuration, database };
        for _ in 0..400 {
            if client(&daemon.configuration).arg("status").stderr(Stdio::null()).output()?.status.success() {
                return Ok(daemon);
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        anyhow::bail!("the daemon does not answer")
    }

    fn job(&self, range: &[&str]) -> anyhow::Result<()> {
        let ran = client(&self.configuration).args(["job", "run", "product-sync"]).args(range).output()?;
        ensure!(ran.status.success(), "the job does not begin: {}", String::from_utf8_lossy(&ran.stderr));
        Ok(())
    }

    /// Waits until no run is open and nothing is at work; answers how long that took.
    async fn idle(&self, began: Instant) -> anyhow::Result<Duration> {
        let mut database = SqliteConnection::connect(&format!("{}?mode=ro", self.database)).await?;
        let open = "select (select count(*) from run where state = 'open') + (select count(*) from message \
                    where state in ('ready', 'running', 'waiting') and (route like '%product%' or route like 'fluent.%'))";
        loop {
            let left: i64 = sqlx::query_scalar(open).fetch_one(&mut database).await?;
            if left == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let took = began.elapsed();
        let parked: i64 =
            sqlx::query_scalar("select count(*) from message where state = 'parked'").fetch_one(&mut database).await?;
        ensure!(parked == 0, "{parked} messages are parked");
        Ok(took)
    }

    fn peak_rss_mib(&self) -> anyhow::Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("Linux tells VmHWM")?;
        let kib: f64 = peak.trim().trim_end_matches("kB").trim().parse()?;
        Ok(kib / 1024.0)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn command(configuration: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fluent-connector"));
    command.arg("--config").arg(configuration);
    command
}

/// A verb that is a client of the daemon.
fn client(configuration: &Path) -> Command {
    let mut client = command(configuration);
    client.arg("--admin-socket").arg(configuration.with_file_name("admin.sock"));
    client
}
