//! fluent-connector: commercetools on one side, Fluent Commerce on the other, a durable queue between.
//!
//! The modules in reading order: what may happen ([`sync`]), how it is queued ([`queue`]), where it
//! is kept ([`store`]), how it goes out ([`remote`], [`commercetools`], [`fluent`]) and how it comes
//! in ([`http`]).

pub mod app;
pub mod clock;
pub mod commercetools;
pub mod config;
pub mod daemon;
pub mod demo;
pub mod failure;
pub mod fluent;
pub mod http;
pub mod queue;
pub mod remote;
pub mod simulator;
pub mod store;
pub mod sync;
pub mod telemetry;

use crate::queue::Routes;

/// Registers every standard flow.
pub fn standard(routes: &mut Routes) {
    sync::register(routes);
}
