//! What a service manager does for the connector, as far as the connector notices: it holds the
//! listening sockets over all generations of the process, hears what it is told, and ends it.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fluent_connector::simulator::commercetools::ARTICLES;
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};
use tokio::net::UnixDatagram;
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio::time::Instant;
use uuid::Uuid;

use crate::database::Engine;
use crate::settle::eventually;
use crate::world::{Settings, World};

/// Moves the sockets from standard input and output to where sockets are handed over, and says so to
/// the process that this shell becomes.
const HAND_OVER: &str = r#"exec 3<&0 4<&1 </dev/null >/dev/null; export LISTEN_PID=$$; exec "$0" run --config "$1""#;

/// A world whose daemon is a process under a manager, or about to be.
pub struct Managed {
    pub world: World,
    pub manager: Manager,
    pub config: PathBuf,
    /// For the intake.
    pub token: String,
}

/// Holds the sockets `http` and `admin`.
pub struct Manager {
    /// Of the socket `http`.
    pub address: SocketAddr,
    /// File of the socket `admin`.
    pub admin: PathBuf,
    http: TcpListener,
    admin_listener: UnixListener,
    folder: PathBuf,
    said: Arc<Mutex<Vec<String>>>,
    _listening: JoinSet<()>,
}

/// One generation of the process; killed when it is dropped.
pub struct Service {
    child: Child,
    /// When the process was made.
    pub started: Instant,
}

impl Managed {
    /// A world that has had a daemon; none runs now, and nothing is delivered but by the story.
    pub async fn new(engine: Engine) -> Option<Self> {
        let settings = Settings {
            // The clock of processes is the machine's, that of the platforms stands in the past.
            connection: "    order: { since: \"2026-01-01T00:00:00Z\" }\n".into(),
            without_push: true,
            without_webhooks: true,
            ..Settings::default()
        };
        let mut world = World::with(engine, settings).await?;
        let token = world.token(&["intake:commercetools"]).await;
        world.daemons.remove(0).stop().await;
        let manager = Manager::new(world.database.folder.path());
        let config = world.database.folder.path().join("service.yml");
        let managed = Self { world, manager, config, token };
        managed.configure(&managed.configuration());
        Some(managed)
    }

    pub fn configuration(&self) -> String {
        self.world.configuration("127.0.0.1:0", &self.manager.admin)
    }

    pub fn configure(&self, text: &str) {
        std::fs::write(&self.config, text).unwrap();
    }

    /// The next generation.
    pub fn start(&self) -> Service {
        self.manager.start(&self.config)
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.manager.address)
    }

    fn notification(&self, id: &str) -> Value {
        json!({
            "notificationType": "Message", "projectKey": self.world.commercetools.options().project_key,
            "id": format!("m-{id}"), "version": 1, "sequenceNumber": 1, "resource": {"typeId": "order", "id": id},
            "resourceVersion": 1, "type": "OrderImported",
        })
    }

    /// A signed webhook of Fluent about an order as it is there. Answers its id, and the request.
    pub fn webhook(&self, http: &Client, url: &str, order: &Value) -> (String, RequestBuilder) {
        let fluent = self.world.fluent.options();
        let id = Uuid::new_v4().to_string();
        let body = json!({
            "id": id, "name": "fc.connect.order.webhook.status-update", "accountId": fluent.account,
            "retailerId": fluent.retailer_id, "entityId": order["id"], "entityRef": order["ref"], "entityType": "ORDER",
            "entitySubtype": "HD", "rootEntityId": order["id"], "rootEntityRef": order["ref"], "rootEntityType": "ORDER",
            "entityStatus": order["status"], "type": "NORMAL", "attributes": {}, "meta": {}, "source": null,
        })
        .to_string();
        let (signature, _) = self.world.fluent.sign(body.as_bytes());
        let request = http.post(format!("{url}/api/v1/fluent-connect/webhook"));
        let request = request.header("fluent-signature", signature).header("content-type", "application/json");
        (id, request.body(body))
    }

    /// Places a guest's order; the request brings its notification to the daemon at `url`.
    pub fn order(&self, http: &Client, url: &str, number: &str) -> RequestBuilder {
        let article = ARTICLES[0];
        let order = self.world.commercetools.order(Some(number)).guest(&format!("guest-{number}@example.org"));
        let id = order.line(article.sku, 1, article.cent_amount).shipping(495).place();
        let url = format!("{url}/intake/commercetools/plain/main");
        http.post(url).bearer_auth(&self.token).json(&self.notification(&id))
    }
}

impl Manager {
    pub fn new(folder: &Path) -> Self {
        let http = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = http.local_addr().unwrap();
        let admin = folder.join("handed.sock");
        let admin_listener = UnixListener::bind(&admin).unwrap();
        let ear = UnixDatagram::bind(folder.join("notify.sock")).unwrap();
        let said = Arc::new(Mutex::new(Vec::new()));
        let mut listening = JoinSet::new();
        listening.spawn(hear(ear, said.clone()));
        let folder = folder.to_owned();
        Self { address, admin, http, admin_listener, folder, said, _listening: listening }
    }

    /// Starts a generation on the sockets it holds, with a watchdog of one second.
    pub fn start(&self, config: &Path) -> Service {
        self.start_named(config, "http:admin")
    }

    /// The same with other names for the sockets.
    pub fn start_named(&self, config: &Path, names: &str) -> Service {
        let mut command = self.command("sh");
        command.args(["-c", HAND_OVER, env!("CARGO_BIN_EXE_fluent-connector")]).arg(config);
        command.envs([("LISTEN_FDS", "2"), ("LISTEN_FDNAMES", names), ("WATCHDOG_USEC", "1000000")]);
        command.stdin(OwnedFd::from(self.http.try_clone().unwrap()));
        command.stdout(OwnedFd::from(self.admin_listener.try_clone().unwrap()));
        Service { child: command.spawn().unwrap(), started: Instant::now() }
    }

    /// Starts a process that binds its own sockets.
    pub fn start_alone(&self, config: &Path) -> Service {
        let mut command = self.command(env!("CARGO_BIN_EXE_fluent-connector"));
        command.args(["run", "--config"]).arg(config).stdin(Stdio::null()).stdout(Stdio::null());
        Service { child: command.spawn().unwrap(), started: Instant::now() }
    }

    fn command(&self, program: &str) -> Command {
        let log = std::fs::File::options().create(true).append(true).open(self.folder.join("service.log")).unwrap();
        let mut command = Command::new(program);
        command.env("NOTIFY_SOCKET", self.folder.join("notify.sock")).stderr(log).kill_on_drop(true);
        command
    }

    /// Everything heard so far, a state per entry: `READY=1`.
    pub fn said(&self) -> Vec<String> {
        self.said.lock().unwrap().clone()
    }

    /// What was heard of one kind: `STATUS`.
    pub fn said_of(&self, kind: &str) -> Vec<String> {
        let said = self.said();
        let values = said.iter().filter_map(|state| state.strip_prefix(kind)?.strip_prefix('='));
        values.map(str::to_owned).collect()
    }

    pub fn forget(&self) {
        self.said.lock().unwrap().clear();
    }

    /// Waits until a generation says that it is ready.
    pub async fn ready(&self) {
        let ready = async || self.said().contains(&"READY=1".into());
        eventually(&format!("READY=1\n{}", self.log()), ready).await;
    }

    /// The end of what the process logged, for a failure.
    pub fn log(&self) -> String {
        let log = std::fs::read_to_string(self.folder.join("service.log")).unwrap_or_default();
        let end: Vec<String> = log.lines().rev().take(8).map(|line| line.chars().take(300).collect()).collect();
        end.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

impl Service {
    /// Tells it to stop and waits; how long that took, and the exit code.
    pub async fn stop(mut self) -> (Duration, Option<i32>) {
        let asked = Instant::now();
        self.signal("TERM").await;
        let status = self.child.wait().await.unwrap();
        (asked.elapsed(), status.code())
    }

    /// Ends it on the spot.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Waits until it ends by itself; its exit code.
    pub async fn ended(&mut self) -> Option<i32> {
        self.child.wait().await.unwrap().code()
    }

    async fn signal(&self, name: &str) {
        let pid = self.child.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().await.unwrap().success());
    }
}

async fn hear(ear: UnixDatagram, said: Arc<Mutex<Vec<String>>>) {
    let mut bytes = vec![0; 4096];
    while let Ok(count) = ear.recv(&mut bytes).await {
        let text = String::from_utf8_lossy(&bytes[..count]).into_owned();
        said.lock().unwrap().extend(text.lines().map(str::to_owned));
    }
}
