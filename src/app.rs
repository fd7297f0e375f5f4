//! What every handler and every HTTP route can reach: the store, the clock, the configuration and
//! the clients of each connection.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::clock::Clock;
use crate::cloud::Clouds;
use crate::config::model::{self, BreakerMode};
use crate::config::value::Pace;
use crate::config::{self, Config};
use crate::pulse::Pulses;
use crate::remote::{Budget, Gate, Limits, Remote, Rule, Stop, Terms, breaker};
use crate::store::{self, Stopped, Store};
use crate::{commercetools, fluent};

/// A cheap handle; clones share everything.
#[derive(Clone)]
pub struct App(Arc<Inner>);

struct Inner {
    store: Store,
    clock: Clock,
    config: Config,
    pulses: Pulses,
    clouds: Clouds,
    connections: BTreeMap<String, Connection>,
}

/// One commercetools project tied to one Fluent account and retailer, with a client for each.
pub struct Connection {
    pub config: config::model::Connection,
    pub commercetools: commercetools::Client,
    pub fluent: fluent::Client,
    /// What every write to either platform passes.
    pub writes: Gate,
}

impl App {
    /// Prepares the clients of all enabled connections; nothing is sent yet.
    ///
    /// # Errors
    /// When a client cannot be built.
    pub fn new(config: Config, store: Store, clock: Clock) -> anyhow::Result<Self> {
        let mut connections = BTreeMap::new();
        // Connections with the same credential share its limit.
        let mut budgets: BTreeMap<(String, String), Budget> = BTreeMap::new();
        let mut terms = |root: String, client: &str, budget: &model::Budget, gate: &Gate| {
            let shared = budgets.entry((root, client.to_owned()));
            let budget = shared.or_insert_with(|| Budget::new(limits(&config, budget))).clone();
            Terms { budget, breaker: rule(config.budgets.breaker), gate: gate.clone(), clock: clock.clone() }
        };
        for connection in config.connections.iter().filter(|connection| connection.enabled) {
            let gate = Gate::default();
            let project = &connection.commercetools;
            let root = format!("{}/{}", project.api_url(), project.project_key);
            let commercetools = commercetools::Client::new(
                project,
                terms(root, &project.client_id, &config.budgets.commercetools, &gate),
            )?;
            let account = &connection.fluent;
            let fluent = fluent::Client::new(
                account,
                terms(account.base_url(), &account.username, &config.budgets.fluent, &gate),
            )?;
            let config = connection.clone();
            connections.insert(connection.name.clone(), Connection { config, commercetools, fluent, writes: gate });
        }
        let clouds = Clouds::new(&config, &clock)?;
        Ok(Self(Arc::new(Inner { store, clock, config, pulses: Pulses::default(), clouds, connections })))
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

    /// Signs of life of the loops that keep everything going.
    pub fn pulses(&self) -> &Pulses {
        &self.0.pulses
    }

    /// How the senders of the clouds are told from strangers.
    pub fn clouds(&self) -> &Clouds {
        &self.0.clouds
    }

    /// Ends every call to a remote and lets none begin: who waits for one gets an error. For a stop.
    pub fn hang_up(&self) {
        self.connections().flat_map(Connection::remotes).for_each(|(_, remote)| remote.hang_up());
        self.0.clouds.hang_up();
    }

    /// Opens and closes the gates of all connections as the table `pause` says; returns when no write is
    /// under way that is stopped. Answers what the table says.
    ///
    /// # Errors
    /// When the table cannot be read; the gates stay as they are.
    pub async fn follow_stops(&self) -> store::Result<Vec<Stopped>> {
        let rows = self.store().read().await?.stopped_writes().await?;
        for connection in self.connections() {
            let name = &connection.config.name;
            let row = rows.iter().find(|row| row.connection == *name).cloned();
            let stop = row.map(|row| Stop { by: row.paused_by, reason: row.paused_reason, until: row.paused_until });
            if !connection.writes.set(stop.clone()).await {
                continue;
            }
            match stop {
                Some(Stop { by, reason, .. }) => tracing::warn!(
                    connection = name,
                    "{name}: nothing is written to either platform, stopped by {by}: {reason}"
                ),
                None => tracing::info!(connection = name, "{name}: writes go on"),
            }
        }
        Ok(rows)
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

impl Connection {
    /// Both remotes by the name of their platform.
    pub fn remotes(&self) -> [(&'static str, &Remote); 2] {
        [("commercetools", self.commercetools.remote()), ("fluent", self.fluent.remote())]
    }
}

/// The client of commercetools for a verb that needs no daemon; nothing is sent yet.
///
/// # Errors
/// When it cannot be built.
pub fn commercetools_alone(
    config: &Config,
    project: &model::CommercetoolsRemote,
    clock: Clock,
) -> anyhow::Result<commercetools::Client> {
    let terms = Terms {
        budget: Budget::new(limits(config, &config.budgets.commercetools)),
        breaker: rule(config.budgets.breaker),
        // What a person does by hand passes, whatever the daemon was told to leave alone.
        gate: Gate::default(),
        clock,
    };
    commercetools::Client::new(project, terms)
}

fn limits(config: &Config, budget: &model::Budget) -> Limits {
    Limits {
        rule: match budget.requests_per_second {
            Pace::Auto => Rule::Auto { start: budget.start, max: budget.max },
            Pace::Fixed(rate) => Rule::Fixed(rate),
        },
        in_flight: budget.in_flight,
        reserve: config.budgets.reserve.iter().map(|(lane, share)| (lane.clone(), share.0)).collect(),
    }
}

fn rule(breaker: model::Breaker) -> breaker::Rule {
    breaker::Rule {
        failures: breaker.failures.0,
        of: breaker.of,
        open: breaker.open.0,
        enforce: breaker.mode == BreakerMode::Enforce,
    }
}
