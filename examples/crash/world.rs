//! The processes: both simulated platforms, which live through it all, and the connector.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, ensure};
use fluent_connector::remote;
use rand::Rng;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use crate::{Drive, Profile};

/// How long a process may take to be there.
const START: Duration = Duration::from_secs(30);
/// Added to every answer of a platform, so that there is always something under way.
const LATENCY: &str = "30ms";
/// The leases of the daemons that are stopped for longer than this.
pub const LEASE: Duration = Duration::from_secs(2);

pub struct World {
    pub http: reqwest::Client,
    pub fluent: Simulator,
    pub commercetools: Simulator,
    /// Roots of the daemons.
    pub urls: Vec<String>,
    /// May hand in notifications, read messages and status.
    pub token: String,
}

impl World {
    /// Starts everything; the token is made by the first daemon.
    pub async fn start(options: &Drive) -> anyhow::Result<(Self, Vec<Daemon>)> {
        let http = remote::http_client()?;
        let fluent = Simulator::start(options, "fluent").await?;
        let commercetools = Simulator::start(options, "commercetools").await?;
        let key = fluent.read(&http, "public-key").await?;
        let key = key.as_str().context("the key is a text")?;
        let mut daemons = Vec::new();
        for number in 0..options.profile.daemons() {
            daemons.push(Daemon::new(options, number, &fluent.url, &commercetools.url, key)?);
        }
        for daemon in &mut daemons {
            daemon.start(Pace::Real)?;
            daemon.ready(&http).await?;
        }
        let token = daemons[0].token().await?;
        let urls = daemons.iter().map(|daemon| daemon.url.clone()).collect();
        Ok((Self { http, fluent, commercetools, urls, token }, daemons))
    }

    /// `GET` of one daemon's API, whatever it takes; a dead one is an error. One that is too busy is asked again,
    /// as it says itself.
    pub async fn ask(&self, daemon: usize, path: &str) -> anyhow::Result<Value> {
        let ask = async {
            loop {
                let url = format!("{}/api/v1/{path}", self.urls[daemon]);
                let answer = self.http.get(url).bearer_auth(&self.token).timeout(START).send().await?;
                if answer.status() == 503 {
                    sleep(Duration::from_secs(2)).await;
                    continue;
                }
                return Ok(answer.error_for_status()?.json().await?);
            }
        };
        timeout(START, ask).await.with_context(|| format!("{path}: no answer for {} s", START.as_secs()))?
    }
}

/// A simulated platform in a process of its own.
pub struct Simulator {
    pub url: String,
    _child: Child,
}

impl Simulator {
    async fn start(options: &Drive, platform: &str) -> anyhow::Result<Self> {
        let log = std::fs::File::create(options.folder.join(format!("{platform}.log")))?;
        let mut child = Command::new(&options.binary)
            .args(["simulate", platform, "--latency", LATENCY, "--seed", &options.seed.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| options.binary.display().to_string())?;
        let output = child.stdout.take().context("the output is a pipe")?;
        let mut lines = BufReader::new(output).lines();
        let url = timeout(START, lines.next_line()).await??.context("the simulator says where it is")?;
        // The rest is of no interest, but must not fill the pipe.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(Self { url, _child: child })
    }

    /// `GET /_control/…`
    pub async fn read(&self, http: &reqwest::Client, path: &str) -> anyhow::Result<Value> {
        let answer = http.get(self.control(path)).send().await?.error_for_status()?;
        Ok(answer.json().await?)
    }

    /// `POST /_control/…`; `None` if there is no such thing.
    pub async fn write(&self, http: &reqwest::Client, path: &str, body: Value) -> anyhow::Result<Option<Value>> {
        let answer = http.post(self.control(path)).json(&body).send().await?;
        if answer.status() == 404 {
            return Ok(None);
        }
        let status = answer.status();
        let text = answer.text().await?;
        ensure!(status.is_success(), "{path}: {status} {text}");
        Ok(Some(serde_json::from_str(&text).unwrap_or_default()))
    }

    /// No more faults.
    pub async fn heal(&self, http: &reqwest::Client) -> anyhow::Result<()> {
        http.delete(self.control("faults")).send().await?.error_for_status()?;
        Ok(())
    }

    fn control(&self, path: &str) -> String {
        format!("{}/_control/{path}", self.url)
    }
}

/// How fast the connector's own waits pass.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Clocks of daemons that share a database must agree.
    Real,
    /// To settle without waiting long.
    Fast,
}

/// How much faster [`Pace::Fast`] is.
const SPEED: u32 = 20;

/// The connector, dead or alive.
pub struct Daemon {
    pub url: String,
    pub socket: PathBuf,
    binary: PathBuf,
    folder: PathBuf,
    number: usize,
    /// With `@…@` where the paces differ.
    configuration: String,
    child: Option<Child>,
}

impl Daemon {
    fn new(options: &Drive, number: usize, fluent: &str, commercetools: &str, key: &str) -> anyhow::Result<Self> {
        let port = free_port().context("no port is free")?;
        let folder = std::path::absolute(&options.folder)?;
        let socket = folder.join(format!("daemon-{number}.sock"));
        let database = match options.database.as_str() {
            "sqlite" => format!("sqlite://{}/connector.db", folder.display()),
            // So that what a daemon writes can be told from what another does.
            url => format!("{url}?options[crash.daemon]=daemon-{number}"),
        };
        let configuration = configuration(options.profile, port, &socket, &database, fluent, commercetools, key);
        let url = format!("http://127.0.0.1:{port}");
        Ok(Self { url, socket, binary: options.binary.clone(), folder, number, configuration, child: None })
    }

    /// Starts it and waits for nothing.
    pub fn start(&mut self, pace: Pace) -> anyhow::Result<()> {
        let file = self.folder.join(format!("daemon-{}.yml", self.number));
        std::fs::write(&file, paced(&self.configuration, pace))?;
        let log = self.folder.join(format!("daemon-{}.log", self.number));
        let log = std::fs::File::options().create(true).append(true).open(log)?;
        let mut command = Command::new(&self.binary);
        command.args(["run", "--config"]).arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.child = Some(command.kill_on_drop(true).spawn()?);
        Ok(())
    }

    /// Waits until it takes messages in.
    pub async fn ready(&mut self, http: &reqwest::Client) -> anyhow::Result<()> {
        let url = format!("{}/readyz", self.url);
        let ready = async {
            loop {
                let answer = http.get(&url).timeout(Duration::from_secs(1)).send().await;
                if answer.is_ok_and(|answer| answer.status() == 200) {
                    return;
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        let there = timeout(START, ready).await.is_ok();
        self.alive()?;
        ensure!(there, "daemon {} is not ready after {START:?}: see its log", self.number);
        Ok(())
    }

    /// It must not have ended by itself.
    pub fn alive(&mut self) -> anyhow::Result<()> {
        let ended = self.child.as_mut().map(Child::try_wait).transpose()?.flatten();
        ensure!(ended.is_none(), "daemon {} ended by itself ({ended:?}): see its log", self.number);
        Ok(())
    }

    /// SIGKILL; answers once it is gone.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        match self.child.take() {
            Some(mut child) => Ok(child.kill().await?),
            None => Ok(()),
        }
    }

    /// SIGSTOP, SIGCONT.
    pub async fn signal(&self, signal: &str) -> anyhow::Result<()> {
        let id = self.child.as_ref().and_then(Child::id).context("the daemon lives")?;
        // The shell has the command in itself; a bare machine may have no program of that name.
        let sent = Command::new("sh").arg("-c").arg(format!("kill -{signal} {id}")).status().await?;
        ensure!(sent.success(), "kill -{signal} {id}");
        Ok(())
    }

    /// Runs a verb of the command line against it.
    pub async fn command(&self, words: &[&str]) -> anyhow::Result<String> {
        let mut command = Command::new(&self.binary);
        let output = command.arg("--admin-socket").arg(&self.socket).args(words).stdin(Stdio::null()).output().await?;
        let (text, error) = (String::from_utf8(output.stdout)?, String::from_utf8_lossy(&output.stderr).into_owned());
        ensure!(!text.is_empty(), "{words:?}: {error}");
        Ok(text)
    }

    async fn token(&self) -> anyhow::Result<String> {
        let scopes = ["intake:commercetools", "status:read", "messages:read"];
        let mut words = vec!["token", "create", "--name", "crash harness", "--connection", "main"];
        words.extend(scopes.iter().flat_map(|scope| ["--scope", scope]));
        Ok(self.command(&words).await?.trim().to_owned())
    }
}

/// A port that is free now and that the system gives to nobody by itself, so that it still is when the
/// daemon comes back.
fn free_port() -> Option<u16> {
    let mut tried = std::iter::repeat_with(|| rand::rng().random_range(15_000..32_000)).take(1_000);
    tried.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
}

fn paced(configuration: &str, pace: Pace) -> String {
    let (speed, lease, poll) = match pace {
        Pace::Real => (1, format!("{}s", LEASE.as_secs()), "700ms".to_owned()),
        Pace::Fast => (SPEED, "60s".to_owned(), format!("{}s", SPEED)),
    };
    configuration.replace("@speed@", &speed.to_string()).replace("@lease@", &lease).replace("@poll@", &poll)
}

fn configuration(
    profile: Profile,
    port: u16,
    socket: &Path,
    database: &str,
    fluent: &str,
    commercetools: &str,
    key: &str,
) -> String {
    let polls = profile.polls();
    let order_poll = if polls { "@poll@" } else { "0s" };
    let (project, account) = (
        fluent_connector::simulator::commercetools::Options::default(),
        fluent_connector::simulator::fluent::Options::default(),
    );
    format!(
        r#"# Written by the crash harness.
server: {{ listen: "127.0.0.1:{port}", admin_socket: {socket} }}
database: {{ url: {database} }}
security: {{ allow_literal_secrets: true }}
simulation: {{ speed: @speed@ }}
intake: {{ push: {{ plain: {{ enabled: true }} }} }}
queue: {{ lease: @lease@, retry: {{ delays: [200ms, 500ms, 1s, 2s], recheck: 5s }} }}
budgets:
  commercetools: {{ requests_per_second: 10000, in_flight: 32 }}
  fluent: {{ requests_per_second: 10000, in_flight: 32 }}
  breaker: {{ open: 500ms }}
connections:
  - name: main
    commercetools:
      project_key: {project_key}
      api_url: {commercetools:?}
      auth_url: {commercetools:?}
      client_id: {client_id}
      client_secret: {client_secret}
    fluent:
      account: {account}
      retailer_id: {retailer}
      base_url: {fluent:?}
      username: {username}
      password: {password}
      client_id: {fluent_client}
      client_secret: {fluent_secret}
      product_catalogue: {{ ref: {catalogue}, type: MASTER }}
      webhook: {{ public_keys: [{key}] }}
    locale: {{ chain: [en-GB] }}
    poll: {{ settle: 300ms, overlap: 0s }}
    order: {{ since: "2020-01-01T00:00:00Z", poll: {order_poll}, payment_poll: 0s }}
    # The driver edits orders at any time. Once Fluent has begun to pick, an edit is parked for a person, as it should be;
    # here whatever is parked counts as lost.
    order_change: {{ enabled: false }}
    # Orders and their states are judged; what looks for other things by itself would go on when those have settled.
    customer: {{ sync: on_order, poll: 0s }}
    location: {{ enabled: false }}
    fulfilment: {{ enabled: false }}
    consignment: {{ enabled: false }}
    order_status: {{ poll: {{ enabled: {polls}, every: @poll@, settle: 300ms, overlap: 0s }} }}
"#,
        socket = json!(socket),
        database = json!(database),
        project_key = json!(project.project_key),
        client_id = json!(project.client_id),
        client_secret = json!(project.client_secret),
        account = json!(account.account),
        retailer = account.retailer_id,
        username = json!(account.username),
        password = json!(account.password),
        fluent_client = json!(account.client_id),
        fluent_secret = json!(account.client_secret),
        catalogue = json!(account.catalogue),
        key = json!(key),
    )
}
