//! `/healthz` and `/readyz`. A remote outage does not make us unready: intake must go on.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::Surface;

/// 200 while the process can answer.
pub async fn alive() -> &'static str {
    "ok"
}

/// 200 when the store answers within a second and we are not stopping.
pub async fn ready(State(surface): State<Surface>) -> (StatusCode, Json<Value>) {
    let store = surface.queue().app.store().clone();
    let answered = tokio::time::timeout(Duration::from_secs(1), async move { store.read().await?.ping().await }).await;
    let draining = surface.0.draining.is_cancelled();
    let store = match answered {
        Ok(Ok(())) => "ok",
        Ok(Err(_)) => "the database fails",
        Err(_) => "the database does not answer",
    };
    let status = if store == "ok" && !draining { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({"store": store, "draining": draining})))
}
