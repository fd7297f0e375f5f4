//! The HTTP surface: every route on one page.
//!
//! Intake authenticates, stores, answers; nothing is worked on here. 2xx is sent only after the
//! row is on stable storage.

mod answer;
mod api;
mod auth;
mod body;
mod closing;
mod health;
mod intake;
mod origin;
mod webhook;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::HeaderValue;
use axum::http::header::CONNECTION;
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::{delete, get, post, put};
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;

use crate::clock::Millis;
use crate::fluent::webhook::Key;
use crate::queue::Queue;

pub use auth::{Access, Peer};
pub use closing::{Closing, Door};

/// What every route can reach.
#[derive(Clone)]
pub struct Surface(Arc<Inner>);

struct Inner {
    queue: Queue,
    /// Webhook keys of each connection.
    keys: BTreeMap<String, Vec<Key>>,
    failures: auth::Failures,
    closing: Closing,
    writable: health::Writable,
    started: Millis,
}

impl Surface {
    /// Prepares the surface; webhook keys are read once.
    ///
    /// # Errors
    /// A key that cannot be read, with its connection.
    pub fn new(queue: Queue, closing: Closing) -> anyhow::Result<Self> {
        let mut keys = BTreeMap::new();
        for connection in queue.app.connections() {
            let texts = &connection.config.fluent.webhook.public_keys;
            let parsed: Result<Vec<Key>, String> = texts.iter().map(|text| Key::parse(text)).collect();
            let name = connection.config.name.clone();
            keys.insert(name.clone(), parsed.map_err(|error| anyhow::anyhow!("connections[{name}]: {error}"))?);
        }
        let failures = auth::Failures::new(queue.app.config().server.limits.per_ip_unauthenticated);
        let started = queue.app.clock().now();
        let writable = health::Writable::default();
        Ok(Self(Arc::new(Inner { queue, keys, failures, closing, writable, started })))
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
            .route("/intake/commercetools/pubsub/{connection}", post(intake::pubsub::receive))
            .route("/intake/commercetools/sns/{connection}", post(intake::sns::receive))
            .route("/intake/commercetools/eventbridge/{connection}", post(intake::eventbridge::receive))
            .route(
                "/intake/commercetools/eventgrid/{connection}",
                post(intake::eventgrid::receive).options(intake::eventgrid::shake_hands),
            )
            .route("/intake/commercetools/plain/{connection}", post(intake::plain::receive))
            .route("/healthz", get(health::alive))
            .route("/readyz", get(health::ready))
            .layer(DefaultBodyLimit::max(limits.body.0 as usize));
        let api = Router::new()
            .route("/api/v1/status", get(api::status::show))
            .route("/api/v1/messages", get(api::messages::list))
            .route("/api/v1/messages/{id}", get(api::messages::show))
            .route("/api/v1/messages/{id}/retry", post(api::messages::retry))
            .route("/api/v1/messages/{id}/skip", post(api::messages::skip))
            .route("/api/v1/connections", get(api::connections::list))
            .route("/api/v1/connections/{name}", get(api::connections::show))
            .route("/api/v1/connections/{name}/pause", post(api::connections::pause))
            .route("/api/v1/connections/{name}/resume", post(api::connections::resume))
            .route("/api/v1/jobs", get(api::jobs::list))
            .route("/api/v1/jobs/{name}", get(api::jobs::show))
            .route("/api/v1/jobs/{name}/run", post(api::jobs::run))
            .route("/api/v1/jobs/{name}/pause", post(api::jobs::pause))
            .route("/api/v1/jobs/{name}/resume", post(api::jobs::resume))
            .route("/api/v1/runs/{id}", get(api::jobs::run_of))
            .route("/api/v1/runs/{id}/approve", post(api::jobs::approve))
            .route("/api/v1/cursors", get(api::cursors::list))
            .route("/api/v1/cursors/{connection}/{stream}", put(api::cursors::put))
            .route("/api/v1/mappings", get(api::mappings::list))
            .route("/api/v1/mappings/export", get(api::export::stream))
            .route("/api/v1/explain/orders/{order}", get(api::explain::order))
            .route("/api/v1/tokens", get(api::tokens::list).post(api::tokens::create))
            .route("/api/v1/tokens/{id}", delete(api::tokens::revoke))
            .layer(DefaultBodyLimit::max(limits.body.0 as usize));
        // From the outside in, as one layer: a request passes one box instead of seven.
        let around = ServiceBuilder::new()
            .layer(from_fn_with_state(self.clone(), attend))
            .layer(from_fn_with_state(self.clone(), origin::believed))
            .layer(from_fn(answer::dress))
            .layer(CatchPanicLayer::custom(answer::panicked))
            .layer(from_fn_with_state(limits.request_timeout.0, answer::in_time))
            .layer(from_fn(auth::no_token_in_query))
            .layer(axum::Extension(access));
        webhooks
            .merge(rest)
            .merge(api)
            .fallback(answer::no_such_path)
            .method_not_allowed_fallback(answer::no_such_method)
            .layer(around)
            .with_state(self.clone())
    }

    pub(crate) fn queue(&self) -> &Queue {
        &self.0.queue
    }
}

/// Counts the request while it is answered; once we part, the answer is the connection's last, so
/// that the peer comes back to our successor.
async fn attend(State(surface): State<Surface>, request: Request, next: Next) -> Response {
    let _attended = surface.0.closing.request();
    let mut response = next.run(request).await;
    if surface.0.closing.is_parting() {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
