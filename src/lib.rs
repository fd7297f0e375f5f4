//! fluent-connector: commercetools on one side, Fluent Commerce on the other, a durable queue between.
//!
//! The modules in reading order: what may happen ([`sync`]), how it is queued ([`queue`]), where it
//! is kept ([`store`]), how it goes out ([`remote`], [`commercetools`], [`fluent`]) and how it comes
//! in ([`http`]).

pub mod app;
pub mod cli;
pub mod clock;
pub mod cloud;
pub mod commercetools;
pub mod config;
pub mod daemon;
pub mod demo;
pub mod failure;
pub mod fluent;
pub mod http;
pub mod intake;
pub mod provision;
pub mod pulse;
pub mod queue;
pub mod remote;
pub mod simulator;
pub mod store;
pub mod sync;
pub mod telemetry;

use std::process::ExitCode;

use crate::cli::Command;
use crate::queue::Routes;

/// Runs the command line of this process: the daemon, the demo, a simulated platform, or a verb that
/// talks to a daemon. `register` says which routes there are; [`standard`] for the ones of this crate.
///
/// ```no_run
/// fn main() -> std::process::ExitCode {
///     fluent_connector::run(|routes| fluent_connector::standard(routes))
/// }
/// ```
///
/// # Panics
/// At a wrong registration, naming both places.
pub fn run(register: impl FnOnce(&mut Routes)) -> ExitCode {
    let arguments = cli::parse();
    let mut routes = Routes::default();
    register(&mut routes);
    match &arguments.command {
        Command::Run => daemon::run(&arguments.sources(), routes),
        Command::Demo(options) => demo::run(options, routes),
        Command::Simulate(options) => demo::simulate(options),
        _ => {
            let names: Vec<&str> = routes.iter().map(|route| route.name.as_str()).collect();
            cli::execute(&arguments, &names)
        }
    }
}

/// Registers every standard flow, and the upkeep of the queue.
pub fn standard(routes: &mut Routes) {
    sync::register(routes);
    queue::retention::register(routes);
}
