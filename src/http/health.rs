//! `/healthz` and `/readyz`. A remote outage does not make us unready: intake must go on.

use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use futures_util::FutureExt;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::Surface;
use crate::clock;
use crate::store::{Store, Urgency};

/// How long the store has for its test write.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long a finding is good for, in real time: whoever asks often does not cost a write each time.
const FRESH: Duration = Duration::from_secs(2);

/// What the last test write showed, and when.
#[derive(Default)]
pub struct Writable(Mutex<Option<(Instant, &'static str)>>);

/// 200 while the process can answer.
pub async fn alive() -> &'static str {
    "ok"
}

/// 200 when the store takes a write within a second and we are not stopping.
pub async fn ready(State(surface): State<Surface>) -> (StatusCode, Json<Value>) {
    let app = &surface.queue().app;
    let found = surface.0.writable.look(app.store()).await;
    // What is known to be wrong says more than that a write failed, and says it before one is tried.
    let trouble = app.store().trouble();
    let store = trouble.as_ref().map_or(found, |trouble| trouble.sentence);
    // Asked last: a stop that began meanwhile counts.
    let draining = surface.0.closing.is_leaving();
    let status = if store == "ok" && !draining { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let since = trouble.map(|trouble| clock::rfc3339(trouble.since));
    // Intake goes on, so this does not make us unready; whoever looks here should still see it.
    let stopped = app.connections().filter(|connection| connection.writes.stop().is_some()).count();
    let said = json!({"store": store, "since": since, "draining": draining, "connections_without_writes": stopped});
    (status, Json(said))
}

impl Writable {
    /// `ok`, or what is wrong. Those who ask at once share one look.
    async fn look(&self, store: &Store) -> &'static str {
        let mut last = self.0.lock().await;
        if let Some((at, said)) = *last
            && at.elapsed() < FRESH
        {
            return said;
        }
        let write = store.write(Urgency::Urgent, |tx| async move { tx.prove_writable().await }.boxed());
        let said = match tokio::time::timeout(PATIENCE, write).await {
            Ok(Ok(())) => "ok",
            Ok(Err(_)) => "the database takes no write",
            Err(_) => "the database does not answer",
        };
        #[expect(clippy::disallowed_methods, reason = "a disk is as full as it is, whatever a story's clock says")]
        let now = Instant::now();
        *last = Some((now, said));
        said
    }
}
