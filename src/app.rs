//! What every handler and every HTTP route can reach: the store, the clock, the configuration and
//! the clients of each connection.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::clock::Clock;
use crate::config::model::Budget;
use crate::config::{self, Config};
use crate::remote::Limits;
use crate::store::Store;
use crate::{commercetools, fluent};

/// A cheap handle; clones share everything.
#[derive(Clone)]
pub struct App(Arc<Inner>);

struct Inner {
    store: Store,
    clock: Clock,
    config: Config,
    connections: BTreeMap<String, Connection>,
}

/// One commercetools project tied to one Fluent account and retailer, with a client for each.
pub struct Connection {
    pub config: config::model::Connection,
    pub commercetools: commercetools::Client,
    pub fluent: fluent::Client,
}

impl App {
    /// Prepares the clients of all enabled connections; nothing is sent yet.
    ///
    /// # Errors
    /// When a client cannot be built.
    pub fn new(config: Config, store: Store, clock: Clock) -> anyhow::Result<Self> {
        let mut connections = BTreeMap::new();
        for connection in config.connections.iter().filter(|connection| connection.enabled) {
            let limits = |budget: Budget| limits(&config, budget);
            let commercetools = commercetools::Client::new(
                &connection.commercetools,
                limits(config.budgets.commercetools),
                clock.clone(),
            )?;
            let fluent = fluent::Client::new(&connection.fluent, limits(config.budgets.fluent), clock.clone())?;
            let config = connection.clone();
            connections.insert(connection.name.clone(), Connection { config, commercetools, fluent });
        }
        Ok(Self(Arc::new(Inner { store, clock, config, connections })))
    }

    pub fn store(&self) -> &Store {
        &self.0.store
    }

    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// An enabled connection by name.
    pub fn connection(&self, name: &str) -> Option<&Connection> {
        self.0.connections.get(name)
    }

    /// All enabled connections.
    pub fn connections(&self) -> impl Iterator<Item = &Connection> {
        self.0.connections.values()
    }
}

fn limits(config: &Config, budget: Budget) -> Limits {
    Limits {
        requests_per_second: budget.requests_per_second,
        in_flight: budget.in_flight,
        reserve: config.budgets.reserve.iter().map(|(lane, share)| (lane.clone(), share.0)).collect(),
    }
}
