//! The HTTP surface: every route on one page.
//!
//! Intake authenticates, stores, answers; nothing is worked on here. 2xx is sent only after the
//! row is on stable storage.

mod answer;
mod auth;
mod health;
mod intake;
mod webhook;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::set_header::SetResponseHeaderLayer;
use tower_http::timeout::TimeoutLayer;

use crate::fluent::webhook::Key;
use crate::queue::Queue;

pub use auth::{Access, Peer};

/// What every route can reach.
#[derive(Clone)]
pub struct Surface(Arc<Inner>);

struct Inner {
    queue: Queue,
    /// Webhook keys of each connection.
    keys: BTreeMap<String, Vec<Key>>,
    failures: auth::Failures,
    draining: CancellationToken,
}

impl Surface {
    /// Prepares the surface; webhook keys are read once.
    ///
    /// # Errors
    /// A key that cannot be read, with its connection.
    pub fn new(queue: Queue, draining: CancellationToken) -> anyhow::Result<Self> {
        let mut keys = BTreeMap::new();
        for connection in queue.app.connections() {
            let texts = &connection.config.fluent.webhook.public_keys;
            let parsed: Result<Vec<Key>, String> = texts.iter().map(|text| Key::parse(text)).collect();
            let name = connection.config.name.clone();
            keys.insert(name.clone(), parsed.map_err(|error| anyhow::anyhow!("connections[{name}]: {error}"))?);
        }
        let failures = auth::Failures::new(queue.app.config().server.limits.per_ip_unauthenticated);
        Ok(Self(Arc::new(Inner { queue, keys, failures, draining })))
    }

    /// Every route of the process. `access` says who asks: a network peer with a token, or the
    /// admin socket, whose file mode is the access control.
    pub fn router(&self, access: Access) -> Router {
        let limits = &self.0.queue.app.config().server.limits;
        let webhooks = Router::new()
            .route("/api/v1/fluent-connect/webhook", post(webhook::receive))
            .route("/api/v1/fluent-connect/webhook/{connection}", post(webhook::receive_for))
            .route("/api/v1/fluent-connect/webhook/{connection}/{path_token}", post(webhook::receive_with_token))
            .layer(DefaultBodyLimit::max(webhook::BODY));
        let rest = Router::new()
            .route("/intake/commercetools/plain/{connection}", post(intake::plain))
            .route("/healthz", get(health::alive))
            .route("/readyz", get(health::ready))
            .layer(DefaultBodyLimit::max(limits.body.0 as usize));
        webhooks
            .merge(rest)
            .fallback(answer::no_such_path)
            .method_not_allowed_fallback(answer::no_such_method)
            .layer(axum::Extension(access))
            .layer(SetResponseHeaderLayer::overriding(
                axum::http::header::X_CONTENT_TYPE_OPTIONS,
                axum::http::HeaderValue::from_static("nosniff"),
            ))
            .layer(TimeoutLayer::with_status_code(
                axum::http::StatusCode::SERVICE_UNAVAILABLE,
                limits.request_timeout.0,
            ))
            .layer(CatchPanicLayer::custom(answer::panicked))
            .layer(axum::middleware::from_fn(answer::request_id))
            .with_state(self.clone())
    }

    pub(crate) fn queue(&self) -> &Queue {
        &self.0.queue
    }
}
