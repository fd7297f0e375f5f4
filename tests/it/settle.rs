//! Waiting for what runs beside a test, without sleeping: a look every few milliseconds, and a
//! failure that names what is left.

use std::time::Duration;

use fluent_connector::clock::Clock;
use fluent_connector::store::{Filter, Store};

/// How long a test waits before it says what is missing.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until nothing runs and nothing is due by `clock`.
pub async fn settle(store: &Store, clock: &Clock) {
    let idle = until(async || store.read().await.unwrap().active(clock.now()).await.unwrap() == 0).await;
    assert!(idle, "after 30 s there is still work:\n{}", left(store).await);
}

/// Waits until `condition` holds; fails with `what` if that never happens.
#[track_caller]
pub fn eventually(what: &str, condition: impl AsyncFnMut() -> bool) -> impl Future<Output = ()> {
    let place = std::panic::Location::caller();
    async move { assert!(until(condition).await, "{place}: never came: {what}") }
}

async fn until(mut condition: impl AsyncFnMut() -> bool) -> bool {
    let look = async {
        let mut pause = tokio::time::interval(Duration::from_millis(3));
        while !condition().await {
            pause.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, look).await.is_ok()
}

/// One line for every message that did not end.
async fn left(store: &Store) -> String {
    let rows = store.read().await.unwrap().messages(&Filter::default(), 1000).await.unwrap();
    let open = rows.iter().filter(|row| matches!(row.state.as_str(), "ready" | "running" | "waiting"));
    let line = |row: &fluent_connector::store::Row| {
        let detail = row.detail.as_deref().unwrap_or_default();
        format!("  {} {} {} {} (due {}) {detail}", row.state, row.lane, row.route, row.key, row.due)
    };
    open.map(line).collect::<Vec<_>>().join("\n")
}
