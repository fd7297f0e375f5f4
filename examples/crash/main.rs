//! The crash harness: does the connector lose, double or mix up anything when it is killed?
//!
//! `scripts/crash` runs its two steps. `crash drive` starts both simulated platforms and the real
//! connector as processes, brings load and trouble, and kills (or stops) the connector again and
//! again; it only writes down what it did. `crash check` is a process of its own that reads what the
//! driver wrote down and the ledgers of both platforms, and judges.
//!
//! | file in the folder | what |
//! |---|---|
//! | `driver.jsonl` | one line per thing the driver did, written before and after it |
//! | `fluent-ledger.json`, `commercetools-ledger.json` | every change of the platforms, in order |
//! | `fluent-orders.json`, `commercetools-orders.json` | how it all ended |
//! | `messages.json` | every message the connector holds |
//! | `status.json` | the connector's counts, recounted |
//! | `locks.json` | Postgres: who took and freed which subject, as triggers saw it |
#![expect(clippy::print_stdout, reason = "a harness reports to a person")]
#![expect(clippy::disallowed_methods, reason = "real processes are killed in real time")]

mod checker;
mod driver;
mod journal;
mod load;
mod locks;
mod relay;
mod world;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Kills the connector under load and checks that nothing was lost.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    step: Step,
}

#[derive(Subcommand)]
enum Step {
    /// Bring load, kill, settle, write down.
    Drive(Drive),
    /// Make or remove a database for one run.
    Database {
        /// Address of the Postgres server, with a database to connect to.
        #[arg(long)]
        server: String,
        #[arg(long, conflicts_with = "drop")]
        create: Option<String>,
        #[arg(long)]
        drop: Option<String>,
    },
    /// Judge what was written down; the last line is the verdict as JSON.
    Check {
        #[arg(long)]
        folder: PathBuf,
    },
}

#[derive(Args)]
pub struct Drive {
    /// The connector.
    #[arg(long)]
    binary: PathBuf,
    /// Where everything is written; must be empty.
    #[arg(long)]
    folder: PathBuf,
    #[arg(long, value_enum)]
    profile: Profile,
    /// `sqlite`, or the address of a Postgres database that is empty and may be written.
    #[arg(long)]
    database: String,
    #[arg(long)]
    kills: u32,
    #[arg(long)]
    seed: u64,
}

/// What the connector hears, and what happens to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Profile {
    /// Notifications and webhooks only: what an acknowledged one told must not be lost. SIGKILL.
    Push,
    /// Polls only, without overlap: what a cursor passed must not be lost. SIGKILL.
    Poll,
    /// Both, with two daemons: each in turn stops for longer than its lease and goes on. SIGSTOP.
    Paused,
}

impl Profile {
    pub fn name(self) -> &'static str {
        match self {
            Self::Push => "push",
            Self::Poll => "poll",
            Self::Paused => "paused",
        }
    }

    pub fn pushes(self) -> bool {
        self != Self::Poll
    }

    pub fn polls(self) -> bool {
        self != Self::Push
    }

    pub fn daemons(self) -> usize {
        if self == Self::Paused { 2 } else { 1 }
    }
}

fn main() -> ExitCode {
    let done = match Arguments::parse().step {
        Step::Drive(options) => on_runtime(driver::drive(options)).map(|()| true),
        Step::Database { server, create, drop } => on_runtime(locks::administer(server, create, drop)).map(|()| true),
        Step::Check { folder } => checker::check(&folder),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("crash: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn on_runtime(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(work)
}
