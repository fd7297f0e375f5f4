//! A disk that fills up and is freed again, under load; `scripts/disk-full` runs it.
//!
//! `disk_full --daemon PROGRAM --disk FOLDER [--times N] [--seed S]`. The SQLite database of a daemon
//! process lies on the small file system FOLDER. Signed Fluent webhooks come all the time; a ballast
//! file takes the last byte at random moments and goes away again. Every answer is written down, then
//! judged: what was answered 2xx is in the database, what was not was answered 503 with `Retry-After`,
//! intake resumes within ten seconds, the process lives, the database is sound. Ends with one JSON line.
#![expect(clippy::print_stdout, reason = "a campaign prints what it sees")]
#![expect(
    clippy::disallowed_methods,
    reason = "the disk, the load and the process under test are real, and so is time"
)]

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Seek, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use fluent_connector::clock::Clock;
use fluent_connector::remote::http_client;
use fluent_connector::simulator::commercetools::{self, Commercetools};
use fluent_connector::simulator::fluent::{self, Fluent};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use sqlx::{Connection, SqliteConnection};

/// Senders, each with one delivery on its way.
const SENDERS: usize = 16;
/// Between two deliveries of one sender; what is taken in must fit the disk.
const PACE: Duration = Duration::from_millis(120);
/// How soon after there is room again a delivery must be taken.
const RESUME: Duration = Duration::from_secs(10);
/// How long a full disk may take to be felt: what the database has already is used up first.
const FELT: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    match runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(campaign())) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("disk-full: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn campaign() -> anyhow::Result<bool> {
    let options = Options::read()?;
    let platforms = Platforms::start().await?;
    let work = tempfile::tempdir()?;
    let mut daemon = Daemon::start(&options, &platforms, work.path()).await?;
    let load = Load::start(&platforms.fluent, daemon.address)?;
    let mut disk = Disk { ballast: options.disk.join("ballast"), dice: StdRng::seed_from_u64(options.seed) };
    let mut report = Report { fills: options.times, seed: options.seed, ..Report::default() };
    for number in 1..=options.times {
        load.taken_since(Instant::now()).await.context("before the disk is full nothing is taken")?;
        disk.pause(0..600).await;
        disk.fill()?;
        let full = Instant::now();
        let refused = load.refused_since(full).await;
        if refused {
            report.unready += usize::from(daemon.readiness().await? == 503);
            disk.pause(50..1_200).await;
        } else {
            report.complain(format!("fill {number}: nothing was refused within {FELT:?}"));
        }
        disk.free()?;
        let freed = Instant::now();
        match load.taken_since(freed).await {
            Ok(after) => report.longest_resume = report.longest_resume.max(after),
            Err(error) => report.complain(format!("fill {number}: {error:#}")),
        }
        if !daemon.is_ready_within(RESUME).await? {
            report.complain(format!("fill {number}: not ready within {RESUME:?}"));
        }
        daemon.lives().with_context(|| format!("fill {number}"))?;
    }
    let answers = load.stop().await;
    report.judge_log(&daemon);
    daemon.stop().await?;
    report.judge(&answers, &options.disk.join("connector.db")).await?;
    Ok(report.print())
}

struct Options {
    daemon: PathBuf,
    disk: PathBuf,
    times: usize,
    seed: u64,
}

impl Options {
    fn read() -> anyhow::Result<Self> {
        let arguments: Vec<String> = std::env::args().collect();
        let value = |name: &str| arguments.iter().position(|a| a == name).and_then(|at| arguments.get(at + 1)).cloned();
        let seed = value("--seed").map(|seed| seed.parse()).transpose().context("--seed takes a number")?;
        Ok(Self {
            daemon: value("--daemon").context("--daemon PROGRAM is missing")?.into(),
            disk: value("--disk").context("--disk FOLDER is missing")?.into(),
            times: value("--times").map_or(Ok(20), |times| times.parse()).context("--times takes a number")?,
            seed: seed.unwrap_or_else(rand::random),
        })
    }
}

/// What the daemon works with: it looks at each order that a webhook names.
struct Platforms {
    commercetools: Commercetools,
    fluent: Fluent,
}

impl Platforms {
    async fn start() -> anyhow::Result<Self> {
        let shop = commercetools::Options { client_id: "connector".into(), ..commercetools::Options::default() };
        let commercetools = Commercetools::start(Clock::system(), shop).await?;
        commercetools.seed_shop();
        Ok(Self { commercetools, fluent: Fluent::start(Clock::system(), fluent::Options::default()).await? })
    }
}

/// The daemon as a process of its own; killed when dropped.
struct Daemon {
    child: Child,
    address: SocketAddr,
    log: PathBuf,
}

impl Daemon {
    async fn start(options: &Options, platforms: &Platforms, work: &Path) -> anyhow::Result<Self> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let (file, log) = (work.join("config.yml"), work.join("daemon.log"));
        std::fs::write(&file, configuration(options, platforms, work, address))?;
        let child = Command::new(&options.daemon)
            .args(["run", "--config"])
            .arg(&file)
            .stdin(Stdio::null())
            .stderr(File::create(&log)?)
            .spawn()
            .with_context(|| options.daemon.display().to_string())?;
        let mut daemon = Self { child, address, log };
        ensure!(daemon.is_ready_within(Duration::from_secs(20)).await?, "the daemon does not start: {}", daemon.said());
        Ok(daemon)
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Status of `/readyz`.
    async fn readiness(&self) -> anyhow::Result<u16> {
        let request = http_client()?.get(format!("http://{}/readyz", self.address)).timeout(Duration::from_secs(15));
        Ok(request.send().await?.status().as_u16())
    }

    async fn is_ready_within(&mut self, limit: Duration) -> anyhow::Result<bool> {
        let until = Instant::now() + limit;
        loop {
            self.lives()?;
            if self.readiness().await.is_ok_and(|status| status == 200) {
                return Ok(true);
            }
            if Instant::now() > until {
                return Ok(false);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn lives(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("the daemon died with {status}: {}", self.said()),
        }
    }

    async fn stop(&mut self) -> anyhow::Result<()> {
        Command::new("sh").args(["-c", &format!("kill -TERM {}", self.child.id())]).status()?;
        for _ in 0..300 {
            if let Some(status) = self.child.try_wait()? {
                ensure!(status.success(), "the daemon stopped with {status}: {}", self.said());
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        bail!("the daemon does not stop")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn configuration(options: &Options, platforms: &Platforms, work: &Path, address: SocketAddr) -> String {
    let (shop, fluent) = (platforms.commercetools.options(), platforms.fluent.options());
    format!(
        r#"
server: {{ listen: "{address}", admin_socket: "{work}/admin.sock" }}
database: {{ url: "sqlite://{disk}/connector.db", disk_reserve: 0B }}
security: {{ allow_literal_secrets: true }}
log: {{ level: "warn" }}
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
        work = work.display(),
        disk = options.disk.display(),
        project = shop.project_key,
        shop_url = platforms.commercetools.url(),
        client_id = shop.client_id,
        client_secret = shop.client_secret,
        account = fluent.account,
        retailer = fluent.retailer_id,
        fluent_url = platforms.fluent.url(),
        username = fluent.username,
        password = fluent.password,
        fluent_client = fluent.client_id,
        fluent_secret = fluent.client_secret,
        catalogue = fluent.catalogue,
        key = platforms.fluent.public_key(),
    )
}

/// One delivery and its answer.
#[derive(Clone)]
struct Answer {
    id: String,
    sent: Instant,
    came: Instant,
    /// `None` = the connection broke or nothing came.
    status: Option<u16>,
    retry_after: bool,
}

impl Answer {
    fn is_taken(&self) -> bool {
        self.status.is_some_and(|status| (200..300).contains(&status))
    }
}

/// Senders that deliver without an end.
struct Load {
    answers: Arc<Mutex<Vec<Answer>>>,
    stop: Arc<AtomicBool>,
    senders: tokio::task::JoinSet<()>,
}

impl Load {
    fn start(fluent: &Fluent, address: SocketAddr) -> anyhow::Result<Self> {
        let http = http_client()?;
        let load = Self { answers: Arc::default(), stop: Arc::default(), senders: tokio::task::JoinSet::new() };
        let number = Arc::new(AtomicUsize::new(0));
        let mut load = load;
        for _ in 0..SENDERS {
            let (answers, stop, number) = (load.answers.clone(), load.stop.clone(), number.clone());
            let (http, fluent) = (http.clone(), fluent.clone());
            load.senders.spawn(async move {
                while !stop.load(Ordering::SeqCst) {
                    let answer = deliver(&http, &fluent, address, number.fetch_add(1, Ordering::SeqCst)).await;
                    answers.lock().unwrap_or_else(PoisonError::into_inner).push(answer);
                    tokio::time::sleep(PACE).await;
                }
            });
        }
        Ok(load)
    }

    /// How long after `moment` the first delivery was taken that was sent since.
    async fn taken_since(&self, moment: Instant) -> anyhow::Result<Duration> {
        let taken = |answer: &Answer| answer.sent >= moment && answer.is_taken();
        let answer = self.first(RESUME, taken).await;
        answer.map(|answer| answer.came - moment).with_context(|| format!("nothing was taken within {RESUME:?}"))
    }

    async fn refused_since(&self, moment: Instant) -> bool {
        self.first(FELT, |answer| answer.sent >= moment && !answer.is_taken()).await.is_some()
    }

    async fn first(&self, within: Duration, meant: impl Fn(&Answer) -> bool) -> Option<Answer> {
        let until = Instant::now() + within;
        loop {
            let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if let Some(answer) = answers.into_iter().rev().take(2_000).filter(&meant).min_by_key(|it| it.came) {
                return Some(answer);
            }
            if Instant::now() > until {
                return None;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn stop(mut self) -> Vec<Answer> {
        self.stop.store(true, Ordering::SeqCst);
        while self.senders.join_next().await.is_some() {}
        std::mem::take(&mut *self.answers.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn deliver(http: &reqwest::Client, fluent: &Fluent, address: SocketAddr, number: usize) -> Answer {
    let id = format!("3f0c2a10-77aa-4c1e-9d00-{number:012}");
    let body = json!({
        "id": id, "name": "fc.connect.order.webhook.status-update", "accountId": fluent.options().account,
        "retailerId": fluent.options().retailer_id, "entityId": format!("{}", 900_000 + number % 500),
        "entityRef": format!("HD_{number}"), "entityType": "ORDER", "entityStatus": "RECEIVED", "type": "NORMAL",
        "rootEntityId": format!("{}", 900_000 + number % 500), "rootEntityRef": format!("HD_{number}"),
        "rootEntityType": "ORDER", "attributes": {"filler": "x".repeat(600)},
    })
    .to_string();
    let (signature, _) = fluent.sign(body.as_bytes());
    let request = http
        .post(format!("http://{address}/api/v1/fluent-connect/webhook"))
        .header("content-type", "application/json")
        .header("fluent-signature", signature)
        .timeout(Duration::from_secs(20))
        .body(body);
    let sent = Instant::now();
    let answer = request.send().await;
    let (status, retry_after) = match &answer {
        Ok(answer) => (Some(answer.status().as_u16()), answer.headers().contains_key("retry-after")),
        Err(_) => (None, false),
    };
    Answer { id, sent, came: Instant::now(), status, retry_after }
}

/// The small file system.
struct Disk {
    ballast: PathBuf,
    dice: StdRng,
}

impl Disk {
    /// Takes what is free, down to a few last bytes or none.
    fn fill(&mut self) -> anyhow::Result<()> {
        let mut file = File::create(&self.ballast)?;
        let mut size = 1 << 20;
        let zeros = vec![0; size];
        while size > 0 {
            match file.write(&zeros[..size]) {
                Ok(0) => size /= 2,
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::StorageFull => size /= 2,
                Err(error) => return Err(error.into()),
            }
        }
        // So that it does not always end in the same place.
        let left: u64 = if self.dice.random_bool(0.5) { 0 } else { self.dice.random_range(0..200_000) };
        let end = file.stream_position()?.saturating_sub(left);
        Ok(file.set_len(end)?)
    }

    fn free(&self) -> anyhow::Result<()> {
        Ok(std::fs::remove_file(&self.ballast)?)
    }

    async fn pause(&mut self, millis: std::ops::Range<u64>) {
        tokio::time::sleep(Duration::from_millis(self.dice.random_range(millis))).await;
    }
}

/// What is told at the end.
#[derive(Default)]
struct Report {
    fills: usize,
    seed: u64,
    acknowledged: usize,
    refused: usize,
    lost: usize,
    longest_resume: Duration,
    unready: usize,
    integrity: String,
    complaints: Vec<String>,
}

impl Report {
    fn complain(&mut self, complaint: String) {
        println!("disk-full: {complaint}");
        self.complaints.push(complaint);
    }

    /// An incident is two lines, however many requests it met.
    fn judge_log(&mut self, daemon: &Daemon) {
        let said = daemon.said();
        let count = |what: &str| said.lines().filter(|line| line.contains(what)).count();
        let (begun, over) = (count("Nothing is taken in meanwhile"), count("takes writes again"));
        // What a message says of itself, and warnings about the configuration of this campaign.
        let expected =
            ["Nothing is taken in", "takes writes again", "again later", "the secret stands in", "the lease on"];
        let others: Vec<&str> =
            said.lines().filter(|line| expected.iter().all(|expected| !line.contains(expected))).collect();
        println!("disk-full: {begun} incidents began, {over} ended, {} other lines in the log", others.len());
        if begun != over || begun < self.fills || begun > 2 * self.fills || others.len() > 2 * self.fills {
            self.complain(format!("the log is not what it should be: {:#?}", &others[..others.len().min(10)]));
        }
    }

    async fn judge(&mut self, answers: &[Answer], database: &Path) -> anyhow::Result<()> {
        let mut connection = SqliteConnection::connect(&format!("sqlite://{}", database.display())).await?;
        self.integrity = sqlx::query_scalar("pragma integrity_check").fetch_one(&mut connection).await?;
        let keys: Vec<String> = sqlx::query_scalar("select key from message").fetch_all(&mut connection).await?;
        let keys: BTreeSet<String> = keys.into_iter().collect();
        connection.close().await?;
        for answer in answers {
            if answer.is_taken() {
                self.acknowledged += 1;
                self.lost += usize::from(!keys.contains(&format!("ACME:{}", answer.id)));
                continue;
            }
            self.refused += 1;
            if (answer.status, answer.retry_after) != (Some(503), true) {
                let (status, after) = (answer.status, answer.came - answer.sent);
                self.complain(format!(
                    "{} was answered {status:?} after {after:?}, not 503 with Retry-After",
                    answer.id
                ));
            }
        }
        Ok(())
    }

    fn print(&self) -> bool {
        let line: Value = json!({
            "fills": self.fills, "acknowledged": self.acknowledged, "lost": self.lost, "refused": self.refused,
            "longest_resume_ms": self.longest_resume.as_millis() as u64, "integrity": self.integrity, "seed": self.seed,
        });
        println!("disk-full: not ready while full: {} of {}", self.unready, self.fills);
        println!("{line}");
        self.lost == 0 && self.integrity == "ok" && self.complaints.is_empty() && self.longest_resume <= RESUME
    }
}
