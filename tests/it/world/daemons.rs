//! Daemons that stop, die and come back.

use std::time::Duration;

use fluent_connector::config::Config;
use fluent_connector::daemon::Daemon;
use fluent_connector::queue::Routes;
use tokio::runtime::{Builder, Runtime};

use super::{World, tick};

/// A daemon in a process of its own, as far as a test can have one: it dies with its runtime.
pub struct Life(Runtime);

impl World {
    /// Stops a daemon as the service manager does, and starts it again at the same address.
    pub async fn stop_and_start(&mut self, index: usize) {
        let config = self.stop(index).await;
        self.daemons.insert(index, self.start_again(config).await);
    }

    /// Stops a daemon; answers the configuration that starts it again at the same address.
    pub async fn stop(&mut self, index: usize) -> Config {
        let daemon = self.daemons.remove(index);
        let config = at_its_address(&daemon);
        daemon.stop().await;
        config
    }

    /// Starts a daemon with this configuration.
    pub async fn start_again(&self, config: Config) -> Daemon {
        start(config, &self.clock).await
    }

    /// Moves a daemon to where it can be killed.
    pub async fn make_mortal(&mut self, index: usize) -> Life {
        let config = self.stop(index).await;
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let clock = self.clock.clone();
        let daemon = runtime.spawn(async move { start(config, &clock).await }).await.unwrap();
        self.daemons.insert(index, daemon);
        Life(runtime)
    }

    /// Kills a daemon: whatever it does stops in the middle, nothing is handed back.
    pub fn kill(&mut self, index: usize, life: Life) -> Config {
        let daemon = self.daemons.remove(index);
        let config = at_its_address(&daemon);
        life.0.shutdown_background();
        config
    }
}

fn at_its_address(daemon: &Daemon) -> Config {
    let mut config = daemon.app.config().clone();
    config.server.listen = daemon.address.to_string();
    config
}

/// What the former daemon held (port, lock, socket) is given back by the system a moment after its end.
async fn start(config: Config, clock: &fluent_connector::clock::Clock) -> Daemon {
    for _ in 0..2_500 {
        let mut routes = Routes::default();
        fluent_connector::standard(&mut routes);
        match Daemon::start(config.clone(), routes, clock.clone()).await {
            Ok(daemon) => return daemon,
            Err(error) => eprintln!("not yet: {error:#}"),
        }
        tick().await;
    }
    panic!("the daemon does not start again within {:?}", Duration::from_secs(5));
}
