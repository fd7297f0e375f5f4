//! The queue with its workers, on both databases and on a clock that only the test moves.

mod lanes;
mod outcomes;
mod schedule;
mod stop;
mod together;

use std::sync::{Arc, Mutex};

use fluent_connector::app::App;
use fluent_connector::clock::Clock;
use fluent_connector::config::{self, Sources};
use fluent_connector::failure::Outcome;
use fluent_connector::queue::{Draft, Message, Queue, Routes, Worker};
use fluent_connector::store::{Filter, Put, Row, Source, Store};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::database::{Database, START, register};
use crate::settle::settle;

/// One connection whose remotes are closed ports of loopback; retries without jitter.
const CONFIG: &str = r#"
security: { allow_literal_secrets: true }
# The stories count the workers of four lanes; the others hold none of them.
queue:
  retry: { jitter: 0% }
  lanes:
    order: { reserved: 3, weight: 800 }
    status: { reserved: 2, weight: 600 }
    catalogue: { reserved: 1, weight: 200 }
    bulk: { reserved: 0, weight: 100 }
    stock-urgent: { reserved: 0, weight: 1 }
    stock: { reserved: 0, weight: 1 }
    channel: { reserved: 0, weight: 1 }
    backfill: { reserved: 0, weight: 1 }
routes: { test.switched-off: { enabled: false }, test.hasty: { give_up: 1m } }
connections:
  - name: main
    commercetools:
      project_key: project
      api_url: "http://127.0.0.1:9"
      auth_url: "http://127.0.0.1:9"
      client_id: client
      client_secret: "secret"
    fluent:
      account: ACCOUNT
      base_url: "http://127.0.0.1:9"
      retailer_id: 1
      username: user
      password: "secret"
      client_secret: "secret"
      product_catalogue: { ref: "PC:1" }
"#;

/// A daemon's worker on a simulated clock.
struct Bench {
    queue: Queue,
    clock: Clock,
    stop: CancellationToken,
    working: JoinSet<()>,
    daemon: Uuid,
}

impl Bench {
    /// Starts a worker with these routes.
    async fn new(database: Database, register: impl FnOnce(&mut Routes)) -> Self {
        let clock = Clock::simulated(START);
        let store = database.open(&clock).await;
        Self::on(store, clock, register)
    }

    fn on(store: Store, clock: Clock, register: impl FnOnce(&mut Routes)) -> Self {
        let queue = queue(store, &clock, register);
        let mut bench =
            Self { queue, clock, stop: CancellationToken::new(), working: JoinSet::new(), daemon: Uuid::now_v7() };
        bench.start(Duration::from_secs(20));
        bench
    }

    fn start(&mut self, drain: Duration) {
        self.stop = CancellationToken::new();
        let worker = Worker::new(self.queue.clone(), self.daemon);
        let (store, daemon, stop) = (self.store().clone(), self.daemon, self.stop.clone());
        self.working.spawn(async move {
            register(&store, daemon).await;
            worker.run(stop, drain).await;
        });
    }

    /// Stops the worker and waits until it has drained.
    async fn stop(&mut self) {
        self.stop.cancel();
        while let Some(ended) = self.working.join_next().await {
            ended.unwrap();
        }
    }

    fn store(&self) -> &Store {
        self.queue.app.store()
    }

    fn draft(&self, route: &str, key: &str) -> Draft {
        self.queue.draft("main", route, key, Source::Handler)
    }

    async fn put(&self, draft: Draft) -> Uuid {
        match self.queue.put(vec![draft]).await.unwrap()[..] {
            [Put::Accepted(id)] => id,
            ref puts => panic!("{puts:?}"),
        }
    }

    /// Puts a message and lets everything come to rest.
    async fn run(&self, draft: Draft) -> Row {
        let id = self.put(draft).await;
        self.settle().await;
        self.row(id).await
    }

    async fn settle(&self) {
        settle(self.store(), &self.clock).await;
    }

    /// Moves time and lets everything come to rest.
    async fn pass(&self, time: Duration) {
        self.clock.advance(time);
        self.settle().await;
    }

    async fn row(&self, id: Uuid) -> Row {
        self.store().read().await.unwrap().message(id).await.unwrap().unwrap()
    }

    async fn rows(&self) -> Vec<Row> {
        let mut rows = self.store().read().await.unwrap().messages(&Filter::default(), 1000).await.unwrap();
        rows.reverse();
        rows
    }
}

fn queue(store: Store, clock: &Clock, register: impl FnOnce(&mut Routes)) -> Queue {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config.yml");
    std::fs::write(&file, CONFIG).unwrap();
    let loaded = config::load(&Sources { files: vec![file], ..Sources::default() }).unwrap();
    let mut routes = Routes::default();
    register(&mut routes);
    Queue { app: App::new(loaded.config, store, clock.clone()).unwrap(), routes: Arc::new(routes) }
}

/// What handlers saw, in order.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<String>>>);

impl Seen {
    fn add(&self, what: impl Into<String>) {
        self.0.lock().unwrap().push(what.into());
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }

    fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

/// A handler that notes the key and ends as `outcome` says.
fn seen(
    seen: &Seen,
    outcome: impl Fn(&Message) -> Outcome + Send + Sync + 'static,
) -> impl Fn(App, Message) -> std::future::Ready<Outcome> + Send + Sync + 'static {
    let seen = seen.clone();
    move |_, message| {
        seen.add(message.key());
        std::future::ready(outcome(&message))
    }
}
