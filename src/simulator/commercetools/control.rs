//! `/_control`: the shop's own doings over HTTP, for the demo and for processes under test.

use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Commercetools;
use super::push::Push;
use super::resource::resource;

/// Options of `POST /_control/orders`; everything may be left out.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct Order {
    number: Option<String>,
    lines: Vec<Line>,
    customer: Option<String>,
    guest: Option<String>,
    shipping: Option<i64>,
    payments: Vec<Payment>,
    total_discount: i64,
    currency: Option<String>,
    without_sku: bool,
    from_cart: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Line {
    sku: String,
    quantity: i64,
    cent_amount: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Payment {
    method: String,
    cent_amount: i64,
}

pub(super) fn router() -> Router<Commercetools> {
    Router::new()
        .route("/_control/orders", post(place))
        .route("/_control/orders/{id}/email", post(set_email))
        .route("/_control/documents/{resource}", get(documents).post(put_documents))
        .route("/_control/seed", post(seed))
        .route("/_control/subscribe", post(subscribe))
        .route("/_control/messages", post(messages))
        .route("/_control/commit-late", post(commit_late))
        .route("/_control/stale-reads", post(stale_reads))
        .route("/_control/pending-pushes", get(pending_pushes))
}

async fn place(State(platform): State<Commercetools>, Json(options): Json<Order>) -> (StatusCode, Json<Value>) {
    let mut draft = platform.order(options.number.as_deref()).total_discount(options.total_discount);
    for line in options.lines {
        draft = draft.line(&line.sku, line.quantity, line.cent_amount);
    }
    for payment in options.payments {
        draft = draft.payment(&payment.method, payment.cent_amount);
    }
    if let Some(id) = options.customer {
        draft = draft.customer(&id);
    }
    if let Some(email) = options.guest {
        draft = draft.guest(&email);
    }
    if let Some(cents) = options.shipping {
        draft = draft.shipping(cents);
    }
    if let Some(code) = options.currency {
        draft = draft.currency(&code);
    }
    if options.without_sku {
        draft = draft.without_sku();
    }
    if options.from_cart {
        draft = draft.from_cart();
    }
    match draft.try_place() {
        Ok(id) => (StatusCode::CREATED, Json(json!({"id": id}))),
        Err(refusal) => (refusal.status, Json(refusal.body())),
    }
}

/// The shop changes the order, so that its version is not the one that a connector remembers. 404 if
/// there is no such order.
async fn set_email(
    State(platform): State<Commercetools>,
    Path(id): Path<String>,
    Json(email): Json<String>,
) -> StatusCode {
    match platform.edit("orders", &id, |order| order["customerEmail"] = email.into()) {
        Some(_) => StatusCode::NO_CONTENT,
        None => StatusCode::NOT_FOUND,
    }
}

async fn documents(
    State(platform): State<Commercetools>,
    Path(path): Path<String>,
) -> Result<Json<Vec<Value>>, StatusCode> {
    match resource(&path) {
        Some(_) => Ok(Json(platform.documents(&path))),
        None => Err(StatusCode::NOT_FOUND),
    }
}

/// Puts documents as the shop itself, like [`Commercetools::put`]. Answers how many.
async fn put_documents(
    State(platform): State<Commercetools>,
    Path(path): Path<String>,
    Json(documents): Json<Vec<Value>>,
) -> Result<Json<usize>, StatusCode> {
    if resource(&path).is_none() {
        return Err(StatusCode::NOT_FOUND);
    }
    let count = documents.len();
    for document in documents {
        platform.put(&path, document);
    }
    Ok(Json(count))
}

async fn seed(State(platform): State<Commercetools>) -> StatusCode {
    platform.seed_shop();
    StatusCode::NO_CONTENT
}

async fn subscribe(State(platform): State<Commercetools>, Json(push): Json<Push>) -> StatusCode {
    platform.subscribe(push);
    StatusCode::NO_CONTENT
}

async fn messages(State(platform): State<Commercetools>, Json(enabled): Json<bool>) -> StatusCode {
    platform.messages(enabled);
    StatusCode::NO_CONTENT
}

/// Milliseconds.
async fn commit_late(State(platform): State<Commercetools>, Json(by): Json<u64>) -> StatusCode {
    platform.commit_late(Duration::from_millis(by));
    StatusCode::NO_CONTENT
}

/// Milliseconds.
async fn stale_reads(State(platform): State<Commercetools>, Json(by): Json<u64>) -> StatusCode {
    platform.stale_reads(Duration::from_millis(by));
    StatusCode::NO_CONTENT
}

async fn pending_pushes(State(platform): State<Commercetools>) -> Json<usize> {
    Json(platform.pending_pushes())
}
