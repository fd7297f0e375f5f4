//! The driver: load, kills, and at the end everything the checker needs. It judges nothing.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::ensure;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use crate::journal::Journal;
use crate::load::Load;
use crate::relay::Relay;
use crate::world::{Daemon, LEASE, Pace, World};
use crate::{Drive, Profile, locks};

/// A daemon that is stopped is taken for dead when another one has seen its lease stand still for as
/// long as it lasts; that one looks every third of a lease.
const STOPPED_MS: std::ops::Range<u64> = 3_400..3_900;
/// Nothing may be left to do for so long before it counts as settled: longer than a poll's interval
/// and the resolution of the platforms' clocks.
const QUIET: Duration = Duration::from_secs(4);
/// Nothing was done for so long though something is open: it never will be, and is for the checker. A
/// slow machine may take as long as it needs.
const STUCK: Duration = Duration::from_secs(45);

/// One run.
///
/// # Errors
/// When the run itself fails; what the connector did wrong is for the checker.
pub async fn drive(options: Drive) -> anyhow::Result<()> {
    let postgres = options.database != "sqlite";
    ensure!(postgres || options.profile != Profile::Paused, "two daemons need Postgres");
    std::fs::create_dir_all(&options.folder)?;
    let journal = Journal::create(&options.folder.join("driver.jsonl"))?;
    let database = if postgres { "postgres" } else { "sqlite" };
    journal.note(
        "run",
        json!({"profile": options.profile.name(), "database": database, "kills": options.kills, "seed": options.seed}),
    );
    let (world, mut daemons) = World::start(&options).await?;
    if postgres {
        locks::watch(&options.database).await?;
    }
    let world = Arc::new(world);
    let relay = connect(&world, &options, &journal).await?;
    let load = Load::new(world.clone(), journal.clone());
    load.trouble().await?;
    let running = tokio::spawn(load.clone().run(options.seed));
    let gauge = tokio::spawn(gauge(world.clone(), load.clone()));
    let run = Run { options: &options, world: &world, journal: &journal, load: &load };
    match options.profile {
        Profile::Paused => run.pauses(&mut daemons).await?,
        _ => run.kills(&mut daemons[0]).await?,
    }
    load.stop();
    running.await??;
    gauge.abort();
    run.settle(&mut daemons, &relay).await?;
    run.write_down(&daemons[0]).await
}

/// Tells the platforms where to deliver.
async fn connect(world: &World, options: &Drive, journal: &Journal) -> anyhow::Result<Relay> {
    let (http, urls) = (world.http.clone(), world.urls.clone());
    let relay = Relay::start(http, urls, world.token.clone(), journal.clone(), options.seed).await?;
    if options.profile.pushes() {
        let push = json!({"url": relay.url("notification"), "token": "relay", "duplicate": 0.05, "reorder": true});
        world.commercetools.write(&world.http, "subscribe", push).await?;
        let names = json!({"ORDER": "fc.connect.order.webhook.status-update"});
        world.fluent.write(&world.http, "webhook", json!({"url": relay.url("webhook"), "names": names})).await?;
    } else {
        // The walk over the orders is the only way to hear of one.
        world.commercetools.write(&world.http, "messages", json!(false)).await?;
    }
    Ok(relay)
}

/// Keeps asking how much is to be done.
async fn gauge(world: Arc<World>, load: Arc<Load>) {
    for daemon in (0..world.urls.len()).cycle() {
        if let Ok(Ok(status)) = timeout(Duration::from_secs(1), world.ask(daemon, "status")).await {
            load.open.store(counted(&status, &OPEN, |_| true), Ordering::SeqCst);
        }
        sleep(Duration::from_millis(250)).await;
    }
}

/// States of what is to be done.
const OPEN: [&str; 3] = ["ready", "running", "waiting"];

/// Messages of some lanes that are in some states.
fn counted(status: &Value, states: &[&str], meant: impl Fn(&Value) -> bool) -> u64 {
    let lanes = status["lanes"].as_array().into_iter().flatten().filter(|lane| meant(&lane["lane"]));
    lanes.flat_map(|lane| states.iter().map(|state| lane["counts"][state].as_u64().unwrap_or(0))).sum()
}

/// There is always a tick of a job.
fn is_no_job(lane: &Value) -> bool {
    lane != "bulk"
}

struct Run<'a> {
    options: &'a Drive,
    world: &'a World,
    journal: &'a Journal,
    load: &'a Load,
}

impl Run<'_> {
    /// SIGKILL at random moments; some hit a start.
    async fn kills(&self, daemon: &mut Daemon) -> anyhow::Result<()> {
        let mut dice = StdRng::seed_from_u64(self.options.seed ^ 0x6b69_6c6c);
        for number in 1..=self.options.kills {
            if dice.random_bool(0.85) {
                daemon.ready(&self.world.http).await?;
                sleep(Duration::from_millis(dice.random_range(100..900))).await;
            } else {
                sleep(Duration::from_millis(dice.random_range(20..300))).await;
            }
            daemon.alive()?;
            daemon.kill().await?;
            self.journal.note("kill", json!({"number": number, "open": self.load.open.load(Ordering::SeqCst)}));
            daemon.start(Pace::Real)?;
        }
        daemon.ready(&self.world.http).await?;
        Ok(())
    }

    /// SIGSTOP for longer than the lease, in turn, always one at a time.
    async fn pauses(&self, daemons: &mut [Daemon]) -> anyhow::Result<()> {
        let mut dice = StdRng::seed_from_u64(self.options.seed ^ 0x7374_6f70);
        for number in 1..=self.options.kills {
            sleep(Duration::from_millis(dice.random_range(50..500))).await;
            let which = number as usize % daemons.len();
            for daemon in daemons.iter_mut() {
                daemon.alive()?;
            }
            daemons[which].signal("STOP").await?;
            let open = self.load.open.load(Ordering::SeqCst);
            self.journal.note("pause", json!({"number": number, "daemon": which, "open": open, "lease": LEASE}));
            sleep(Duration::from_millis(dice.random_range(STOPPED_MS))).await;
            daemons[which].signal("CONT").await?;
            self.journal.note("resume", json!({"number": number, "daemon": which}));
        }
        sleep(LEASE).await;
        Ok(())
    }

    /// No more trouble: a last kill, then one daemon whose waits are short does what is left.
    async fn settle(&self, daemons: &mut [Daemon], relay: &Relay) -> anyhow::Result<()> {
        for simulator in [&self.world.fluent, &self.world.commercetools] {
            simulator.heal(&self.world.http).await?;
        }
        for daemon in daemons.iter_mut() {
            daemon.kill().await?;
        }
        self.journal.note("calm", json!({}));
        relay.calm_down();
        daemons[0].start(Pace::Fast)?;
        daemons[0].ready(&self.world.http).await?;
        let finished = self.load.finish().await?;
        let (mut since, mut progress, mut counts) = (Instant::now(), Instant::now(), Vec::new());
        while progress.elapsed() < STUCK && since.elapsed() < QUIET {
            let status = self.world.ask(0, "status").await?;
            let now = ["accepted", "done", "skipped", "parked"].map(|state| counted(&status, &[state], is_no_job));
            if now.as_slice() != counts {
                (progress, since, counts) = (Instant::now(), Instant::now(), now.to_vec());
            }
            if counted(&status, &OPEN, is_no_job) > 0 || !relay.is_idle() {
                since = Instant::now();
            }
            sleep(Duration::from_millis(200)).await;
        }
        self.journal.note("settled", json!({"finished": finished, "quiet": since.elapsed() >= QUIET}));
        daemons[0].alive()
    }

    async fn write_down(&self, daemon: &Daemon) -> anyhow::Result<()> {
        let (world, folder) = (self.world, &self.options.folder);
        let status = daemon.command(&["status", "--recount", "--json"]).await?;
        std::fs::write(folder.join("status.json"), status)?;
        write(folder, "messages", &self.messages().await?)?;
        write(folder, "fluent-ledger", &world.fluent.read(&world.http, "ledger").await?)?;
        write(folder, "fluent-orders", &world.fluent.read(&world.http, "orders").await?)?;
        write(folder, "commercetools-ledger", &world.commercetools.read(&world.http, "ledger").await?)?;
        write(folder, "commercetools-orders", &world.commercetools.read(&world.http, "documents/orders").await?)?;
        if self.options.database != "sqlite" {
            write(folder, "locks", &locks::seen(&self.options.database).await?)?;
        }
        Ok(())
    }

    /// All of them, page by page.
    async fn messages(&self) -> anyhow::Result<Value> {
        let (mut messages, mut after) = (Vec::new(), String::new());
        loop {
            let page = self.world.ask(0, &format!("messages?limit=200{after}")).await?;
            messages.extend(page["items"].as_array().cloned().unwrap_or_default());
            match page["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => return Ok(messages.into()),
            }
        }
    }
}

fn write(folder: &Path, name: &str, document: &Value) -> anyhow::Result<()> {
    Ok(std::fs::write(folder.join(format!("{name}.json")), document.to_string())?)
}
