//! The daemon: opens the store, takes its lease, listens, works, and stops without losing anything.

mod incident;
mod lease;
mod limits;
mod notify;
mod sockets;
mod stops;

use std::fmt;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::app::App;
use crate::clock::{self, Clock};
use crate::config::model::LogFormat;
use crate::config::{self, Config, Sources};
use crate::http::{Access, Closing, Peer, Surface};
use crate::intake::sqs::Poller;
use crate::queue::{Queue, Routes, Worker, schedule};
use crate::store::{Options, Store, Urgency};
use crate::sync::order::SINCE;
use crate::telemetry::{self, Form};

pub use sockets::Handed;
use sockets::Sockets;

/// Exit codes (`surfaces.md` 6.1).
const FAILED: u8 = 1;
const CONFIGURATION: u8 = 3;
const DATABASE: u8 = 9;

/// Between shutting the doors and closing what is still open: peers in the middle of a conversation
/// learn with their next answer that it ends. One that just then sends on a connection that was quiet
/// for longer sees it closed without an answer; nothing else can spare it that.
const LINGER: Duration = Duration::from_secs(1);
/// What a drain must leave of the deadline: to hand messages back and to close connections.
const CLEARING: Duration = Duration::from_secs(4);
/// How long connections without a request may keep us from ending.
const CONNECTIONS: Duration = Duration::from_secs(1);
/// After the deadline, for the store to take the lease back and for the runtime to end.
const LAST: Duration = Duration::from_secs(2);

/// The verb `run`: the daemon, until it is told to stop.
pub fn run(sources: &Sources, routes: Routes) -> ExitCode {
    let loaded = match config::load(sources) {
        Ok(loaded) => loaded,
        Err(problems) => return refuse(CONFIGURATION, &problems),
    };
    telemetry::start(&loaded.config.log.level, form(loaded.config.log.format));
    // Before the runtime: it starts threads.
    let handed = match Handed::take() {
        Ok(handed) => handed,
        Err(error) => return refuse(CONFIGURATION, &format!("{error:#}")),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return refuse(FAILED, &error),
    };
    let code = runtime.block_on(async {
        let told = until_told_to_stop();
        let names: Vec<String> = routes.iter().map(|route| route.name.clone()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        match config::check(&loaded, &names).await {
            Ok(warnings) => warnings.0.iter().for_each(|warning| tracing::warn!("{warning}")),
            Err(problems) => return refuse(CONFIGURATION, &problems),
        }
        let clock = Clock::fast(loaded.config.simulation.speed);
        tokio::pin!(told);
        let started = tokio::select! {
            started = Daemon::start_on(handed, loaded.config, routes, clock) => started,
            // Nothing was promised to anybody yet: the process may end as if it had been killed.
            () = &mut told => return ExitCode::SUCCESS,
        };
        match started {
            Ok(daemon) => {
                tracing::info!("listening on http://{}", daemon.address);
                daemon.report();
                told.await;
                tracing::info!("stopping");
                notify::stopping();
                daemon.stop().await;
                ExitCode::SUCCESS
            }
            Err(error) => refuse(code(&error), &format!("{error:#}")),
        }
    });
    // What still runs after the deadline ends with the process.
    runtime.shutdown_timeout(LAST);
    code
}

/// A database that is merely away is worth another start (systemd does that); one that this binary
/// cannot use is not.
fn code(error: &anyhow::Error) -> u8 {
    match error.downcast_ref::<crate::store::Error>() {
        Some(crate::store::Error::Unusable(_)) => DATABASE,
        _ => FAILED,
    }
}

/// Ctrl-C or SIGTERM, from the moment of the call on.
pub fn until_told_to_stop() -> impl Future<Output = ()> {
    use tokio::signal::unix::{SignalKind, signal};
    let terminate = signal(SignalKind::terminate());
    async {
        match terminate {
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
    admin_file: Option<PathBuf>,
    /// The HTTP sockets outlive us.
    lent: bool,
    /// How far the surface is with stopping.
    closing: Closing,
    /// No new work is claimed.
    leaving: CancellationToken,
    /// Everything ends.
    ended: CancellationToken,
    /// What works on the queue.
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
        Self::start_on(Handed::default(), config, routes, clock).await
    }

    /// The same on sockets that were handed over; what was not is bound as configured.
    ///
    /// # Errors
    /// As [`Daemon::start`].
    pub async fn start_on(handed: Handed, config: Config, routes: Routes, clock: Clock) -> anyhow::Result<Self> {
        let store = Store::open(Options::of(&config.database).await?, clock.clone()).await?;
        let id = Uuid::now_v7();
        lease::take_over(&store, &config, &clock, id).await?;
        remember_first_start(&store, &config, &clock).await?;
        let app = App::new(config, store, clock)?;
        limits::recall(&app).await?;
        app.follow_stops().await?;
        let queue = Queue { app: app.clone(), routes: Arc::new(routes) };
        let closing = Closing::default();
        let surface = Surface::new(queue.clone(), closing.clone())?;
        let sockets = Sockets::open(handed, &app.config().server, &closing).await?;
        let (address, admin_file, lent) = (sockets.address, sockets.admin_file.clone(), sockets.lent);
        let (leaving, ended) = (CancellationToken::new(), CancellationToken::new());
        let (tasks, serving) = (TaskTracker::new(), TaskTracker::new());
        let daemon = Self { app, queue, address, id, admin_file, lent, closing, leaving, ended, tasks, serving };
        daemon.serve(sockets, &surface);
        daemon.work();
        Ok(daemon)
    }

    /// Stops: not ready, no new work; running handlers finish or give their messages back; requests
    /// are answered ([`Closing`] says how); then the sockets close. Takes no longer than
    /// `server.shutdown.deadline` and a moment.
    pub async fn stop(self) {
        let shutdown = self.app.config().server.shutdown.clone();
        self.closing.leave();
        if !self.lent {
            self.closing.refuse();
        }
        self.leaving.cancel();
        self.tasks.close();
        let orderly = async {
            self.tasks.wait().await;
            self.part().await;
            self.ended.cancel();
            self.closing.answered().await;
            self.serving.close();
            // A peer that only keeps its connection open must not keep us.
            let _ = tokio::time::timeout(CONNECTIONS, self.serving.wait()).await;
        };
        if tokio::time::timeout(shutdown.deadline.0, orderly).await.is_err() {
            tracing::warn!("not everything stopped within {}; what still runs runs again", shutdown.deadline);
        }
        self.ended.cancel();
        limits::remember(&self.app).await;
        match tokio::time::timeout(LAST, lease::give_back(self.app.store(), self.id)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!("the lease could not be given back; it runs out by itself: {error}"),
            Err(_) => tracing::warn!("the lease could not be given back in time; it runs out by itself"),
        }
        if let Some(file) = &self.admin_file {
            // A socket that is gone already is what we want.
            let _ = std::fs::remove_file(file);
        }
    }

    async fn part(&self) {
        if self.lent {
            self.closing.part();
            // Who has not sent anything by then has no answer to learn it from.
            let _ = tokio::time::timeout(LINGER, self.closing.parted()).await;
        }
    }

    fn serve(&self, sockets: Sockets, surface: &Surface) {
        let network = surface.router(Access::Network).into_make_service_with_connect_info::<Peer>();
        let local = surface.router(Access::Admin).into_make_service_with_connect_info::<Peer>();
        for door in sockets.http {
            let (service, ended) = (network.clone(), self.ended.clone().cancelled_owned());
            self.serving.spawn(axum::serve(door, service).with_graceful_shutdown(ended).into_future());
        }
        for door in sockets.admin {
            let (service, ended) = (local.clone(), self.ended.clone().cancelled_owned());
            self.serving.spawn(axum::serve(door, service).with_graceful_shutdown(ended).into_future());
        }
    }

    fn work(&self) {
        let shutdown = &self.app.config().server.shutdown;
        let drain = shutdown.drain.0.min(shutdown.deadline.0.saturating_sub(CLEARING));
        let worker = Worker::new(self.queue.clone(), self.id);
        self.tasks.spawn(worker.run(self.leaving.clone(), drain));
        self.tasks.spawn(schedule(self.queue.clone(), self.leaving.clone()));
        for (queue, client) in self.app.clouds().queues() {
            for _ in 0..queue.pollers {
                let poller = Poller::new(self.queue.clone(), queue.clone(), client.clone());
                self.tasks.spawn(poller.run(self.leaving.clone()));
            }
        }
        self.serving.spawn(lease::heartbeat(self.app.clone(), self.id, self.ended.clone()));
        self.serving.spawn(incident::watch(self.app.clone(), self.ended.clone()));
        self.serving.spawn(stops::watch(self.app.clone(), self.ended.clone()));
        self.serving.spawn(limits::keep(self.app.clone(), self.ended.clone()));
    }

    /// Tells the service manager that we are ready, and from then on how we are.
    fn report(&self) {
        #[expect(clippy::disallowed_methods, reason = "reports until everything else has stopped")]
        tokio::spawn(notify::report(self.app.clone(), self.leaving.clone(), self.ended.clone()));
    }
}

/// From when on orders are taken is a stored value, so that it survives whatever happens to us.
async fn remember_first_start(store: &Store, config: &Config, clock: &Clock) -> anyhow::Result<()> {
    for connection in config.connections.iter().filter(|connection| connection.enabled) {
        let (name, now) = (connection.name.clone(), clock::rfc3339(clock.now()));
        store.write(Urgency::Urgent, move |tx| async move { tx.setting_or(&name, SINCE, &now).await }.boxed()).await?;
    }
    Ok(())
}
