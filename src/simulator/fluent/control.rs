//! `/_control` of the simulated Fluent, besides what every simulator has: read orders, set a status,
//! register a webhook, tell the key that verifies webhooks. Loopback only (the front sees to it).

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::Value;

use super::{Fluent, Webhook};

pub fn routes() -> Router<Fluent> {
    Router::new()
        .route("/_control/orders", get(|State(fluent): State<Fluent>| async move { Json(fluent.orders()) }))
        .route("/_control/orders/{ref}/status", post(set_status))
        .route("/_control/webhook", post(add_webhook))
        .route("/_control/stale-reads", post(stale_reads))
        .route("/_control/public-key", get(|State(fluent): State<Fluent>| async move { Json(fluent.public_key()) }))
}

/// Body: `"BOOKED"`, or null for one step of the workflow. 404 if there is no such order.
async fn set_status(
    State(fluent): State<Fluent>,
    Path(reference): Path<String>,
    Json(status): Json<Option<String>>,
) -> (StatusCode, Json<Option<Value>>) {
    let found = match status {
        Some(status) => fluent.set_order_status(&reference, &status),
        None => fluent.order(&reference).is_some_and(|_| fluent.advance_order(&reference).is_some()),
    };
    let status = if found { StatusCode::OK } else { StatusCode::NOT_FOUND };
    (status, Json(fluent.order(&reference)))
}

/// Milliseconds.
async fn stale_reads(State(fluent): State<Fluent>, Json(by): Json<u64>) -> StatusCode {
    fluent.stale_reads(Duration::from_millis(by));
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
struct NewWebhook {
    url: String,
    names: Option<BTreeMap<String, String>>,
}

async fn add_webhook(State(fluent): State<Fluent>, Json(new): Json<NewWebhook>) -> StatusCode {
    let standard = Webhook::to(new.url);
    fluent.webhook(Webhook { names: new.names.unwrap_or(standard.names), url: standard.url });
    StatusCode::NO_CONTENT
}
