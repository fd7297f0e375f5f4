//! The daemon: opens the store, takes its lease, listens, works, and stops without losing anything.

mod limits;

use std::fmt;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use futures_util::FutureExt;
use secrecy::ExposeSecret;
use tokio::net::{TcpListener, UnixListener};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::app::App;
use crate::clock::{self, Clock};
use crate::config::model::{LogFormat, Migrate};
use crate::config::{self, Config, Sources};
use crate::http::{Access, Peer, Surface};
use crate::queue::{Queue, Routes, Worker, schedule};
use crate::store::{Options, Store, Urgency};
use crate::sync::order::SINCE;
use crate::telemetry::{self, Form};

/// Exit codes (`surfaces.md` 6.1).
const FAILED: u8 = 1;
const CONFIGURATION: u8 = 3;
const DATABASE: u8 = 9;

/// The verb `run`: the daemon, until it is told to stop.
pub fn run(sources: &Sources, routes: Routes) -> ExitCode {
    let loaded = match config::load(sources) {
        Ok(loaded) => loaded,
        Err(problems) => return refuse(CONFIGURATION, &problems),
    };
    telemetry::start(&loaded.config.log.level, form(loaded.config.log.format));
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return refuse(FAILED, &error),
    };
    runtime.block_on(async {
        let names: Vec<String> = routes.iter().map(|route| route.name.clone()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        match config::check(&loaded, &names).await {
            Ok(warnings) => warnings.0.iter().for_each(|warning| tracing::warn!("{warning}")),
            Err(problems) => return refuse(CONFIGURATION, &problems),
        }
        let clock = Clock::fast(loaded.config.simulation.speed);
        match Daemon::start(loaded.config, routes, clock).await {
            Ok(daemon) => {
                tracing::info!("listening on http://{}", daemon.address);
                until_told_to_stop().await;
                tracing::info!("stopping");
                daemon.stop().await;
                ExitCode::SUCCESS
            }
            Err(error) => {
                let database = error.downcast_ref::<crate::store::Error>().is_some();
                refuse(if database { DATABASE } else { FAILED }, &format!("{error:#}"))
            }
        }
    })
}

/// Ctrl-C or SIGTERM.
pub async fn until_told_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        },
        Err(error) => {
            tracing::warn!("SIGTERM cannot be listened to ({error}); Ctrl-C stops");
            // Without either signal the process ends only by being killed, which is safe.
            let _ = tokio::signal::ctrl_c().await;
        }
    }
}

/// One sentence (or several lines) on standard error, and the code.
pub fn refuse(code: u8, why: &dyn fmt::Display) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "{}", why.to_string().trim_end());
    ExitCode::from(code)
}

fn form(format: LogFormat) -> Form {
    match format {
        LogFormat::Json => Form::Json,
        LogFormat::Auto if !telemetry::on_terminal() => Form::Json,
        LogFormat::Auto | LogFormat::Pretty => Form::Pretty,
    }
}

/// A running daemon.
pub struct Daemon {
    pub app: App,
    pub queue: Queue,
    /// Where the HTTP surface really listens.
    pub address: SocketAddr,
    id: Uuid,
    admin_socket: PathBuf,
    /// Intake is refused, no new work is claimed.
    draining: CancellationToken,
    /// Everything ends.
    stopped: CancellationToken,
    tasks: TaskTracker,
    /// What goes on until all tasks have ended: the sockets and the lease.
    serving: TaskTracker,
}

impl Daemon {
    /// Starts everything; returns when requests are answered.
    ///
    /// # Errors
    /// A [`crate::store::Error::Unusable`] database, an address or socket that is taken, a webhook
    /// key that cannot be read.
    pub async fn start(config: Config, routes: Routes, clock: Clock) -> anyhow::Result<Self> {
        let store = open(&config, clock.clone()).await?;
        let id = Uuid::now_v7();
        take_over(&store, &config, &clock, id).await?;
        remember_first_start(&store, &config, &clock).await?;
        let app = App::new(config, store, clock)?;
        limits::recall(&app).await?;
        let queue = Queue { app: app.clone(), routes: Arc::new(routes) };
        let (draining, stopped) = (CancellationToken::new(), CancellationToken::new());
        let surface = Surface::new(queue.clone(), draining.clone())?;
        let server = &app.config().server;
        let listener =
            TcpListener::bind(&server.listen).await.with_context(|| format!("server.listen {}", server.listen))?;
        let address = listener.local_addr()?;
        let admin_socket = server.admin_socket.clone();
        let admin = bind_admin(&admin_socket)?;
        let (tasks, serving) = (TaskTracker::new(), TaskTracker::new());
        let daemon = Self { app, queue, address, id, admin_socket, draining, stopped, tasks, serving };
        daemon.serve(listener, admin, &surface);
        daemon.work();
        Ok(daemon)
    }

    /// Stops: no new work, running handlers and requests finish, the sockets close. What still runs
    /// at the deadline is left to the next daemon.
    pub async fn stop(self) {
        self.draining.cancel();
        let shutdown = self.app.config().server.shutdown.clone();
        self.tasks.close();
        self.serving.close();
        let ended = async {
            self.tasks.wait().await;
            self.stopped.cancel();
            self.serving.wait().await;
        };
        if tokio::time::timeout(shutdown.deadline.0, ended).await.is_err() {
            tracing::warn!("not everything stopped within {}; what still runs runs again", shutdown.deadline);
        }
        self.stopped.cancel();
        limits::remember(&self.app).await;
        let id = self.id;
        // With the lease goes whatever is still claimed: nobody would free it later.
        let given_back = self.app.store().write(Urgency::Urgent, move |tx| {
            async move {
                tx.reclaim(&[id]).await?;
                tx.drop_lease(id).await
            }
            .boxed()
        });
        if let Err(error) = given_back.await {
            tracing::warn!("the lease could not be given back; it runs out by itself: {error}");
        }
        // A socket that is gone already is what we want.
        let _ = std::fs::remove_file(&self.admin_socket);
    }

    fn serve(&self, listener: TcpListener, admin: UnixListener, surface: &Surface) {
        let network = surface.router(Access::Network).into_make_service_with_connect_info::<Peer>();
        let local = surface.router(Access::Admin).into_make_service_with_connect_info::<Peer>();
        let (ended, over) = (self.stopped.clone(), self.stopped.clone());
        {
            let network = axum::serve(listener, network).with_graceful_shutdown(ended.cancelled_owned());
            let local = axum::serve(admin, local).with_graceful_shutdown(over.cancelled_owned());
            self.serving.spawn(network.into_future());
            self.serving.spawn(local.into_future());
        }
    }

    fn work(&self) {
        let drain = self.app.config().server.shutdown.drain.0;
        let worker = Worker::new(self.queue.clone(), self.id);
        {
            self.tasks.spawn(worker.run(self.draining.clone(), drain));
            self.tasks.spawn(schedule(self.queue.clone(), self.draining.clone()));
            self.serving.spawn(heartbeat(self.app.clone(), self.id, self.stopped.clone()));
            self.serving.spawn(limits::keep(self.app.clone(), self.stopped.clone()));
        }
    }
}

async fn open(config: &Config, clock: Clock) -> anyhow::Result<Store> {
    let database = &config.database;
    let mut url = database.url.clone();
    if let Some(password) = &database.password {
        url = with_password(&url, password.read().await?.expose_secret())?;
    }
    let migrate = database.migrate == Migrate::Auto;
    let options = Options { url, pool: database.pool, rows: database.group_commit.rows, migrate };
    Ok(Store::open(options, clock).await?)
}

fn with_password(url: &str, password: &str) -> anyhow::Result<String> {
    let mut url = reqwest::Url::parse(url).context("database.url")?;
    if url.password().is_none() && url.set_password(Some(password)).is_err() {
        anyhow::bail!("database.url takes no password");
    }
    Ok(url.into())
}

/// Registers this daemon and frees what its predecessor held.
async fn take_over(store: &Store, config: &Config, clock: &Clock, id: Uuid) -> anyhow::Result<()> {
    let instance = instance(store, config);
    let until = clock.now() + config.queue.lease.millis();
    let freed = store
        .write(Urgency::Urgent, move |tx| {
            async move {
                let mut dead = tx.expire_leases().await?;
                dead.extend(tx.take_lease(&instance, id, until).await?);
                tx.reclaim(&dead).await
            }
            .boxed()
        })
        .await?;
    if freed > 0 {
        tracing::info!("{freed} messages of a daemon that is gone run again");
    }
    Ok(())
}

/// What tells this daemon from the others on the same database, and is the same after a restart.
fn instance(store: &Store, config: &Config) -> String {
    if store.database() == "sqlite" {
        return "sqlite".into();
    }
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}:{}", host.trim(), config.server.admin_socket.display())
}

/// From when on orders are taken is a stored value, so that it survives whatever happens to us.
async fn remember_first_start(store: &Store, config: &Config, clock: &Clock) -> anyhow::Result<()> {
    for connection in config.connections.iter().filter(|connection| connection.enabled) {
        let (name, now) = (connection.name.clone(), clock::rfc3339(clock.now()));
        store.write(Urgency::Urgent, move |tx| async move { tx.setting_or(&name, SINCE, &now).await }.boxed()).await?;
    }
    Ok(())
}

/// Renews the lease and frees what dead daemons held.
async fn heartbeat(app: App, id: Uuid, stopped: CancellationToken) {
    let lease = app.config().queue.lease.0;
    let instance = instance(app.store(), app.config());
    while !stopped.is_cancelled() {
        tokio::select! {
            () = app.clock().sleep(lease / 3) => {}
            () = stopped.cancelled() => return,
        }
        let now = app.clock().now();
        let until = now + lease.as_millis() as i64;
        let instance = instance.clone();
        let renewed = app
            .store()
            .write(Urgency::Urgent, move |tx| {
                async move {
                    tx.take_lease(&instance, id, until).await?;
                    let dead = tx.expire_leases().await?;
                    Ok((tx.reclaim(&dead).await?, tx.live_daemons(now).await?))
                }
                .boxed()
            })
            .await;
        if let Ok((_, daemons)) = renewed {
            limits::share(&app, daemons);
        }
        match renewed {
            Ok((0, _)) => {}
            Ok((freed, _)) => tracing::warn!("{freed} messages of a daemon that no longer answers run again"),
            Err(error) => tracing::warn!("the lease could not be renewed: {error}"),
        }
    }
}

/// The admin socket: whoever may open it acts as admin, so its mode is the access control.
fn bind_admin(path: &Path) -> anyhow::Result<UnixListener> {
    use std::os::unix::fs::PermissionsExt;
    let place = || format!("server.admin_socket {}", path.display());
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(place)?;
    }
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        anyhow::bail!("{}: another daemon answers there", place());
    }
    // What is left of a daemon that was killed.
    let _ = std::fs::remove_file(path);
    let listener = UnixListener::bind(path).with_context(place)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660)).with_context(place)?;
    Ok(listener)
}
