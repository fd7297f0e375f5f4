//! `pubsub`: a push subscription of Google Pub/Sub, whose identity token says who sends.

use axum::body::Bytes;
use axum::extract::{ConnectInfo, Path, State};
use axum::http::{HeaderMap, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::super::Surface;
use super::super::answer::Problem;
use super::super::auth::{self, Peer};
use super::super::body::Sent;
use crate::cloud::google::Expected;
use crate::config::Config;
use crate::intake::Arrivals;
use crate::store::Source;

/// Wrapped or unwrapped delivery.
pub async fn receive(
    State(surface): State<Surface>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<StatusCode, Problem> {
    let app = &surface.queue().app;
    let config = app.config();
    let connection = super::door(&surface, &name, "pubsub", config.intake.push.pubsub.enabled)?;
    let Some(token) = auth::bearer(&headers) else {
        let refusal = Problem::unauthenticated("An identity token of Google is needed: Authorization: Bearer ….");
        return Err(surface.0.failures.count(&surface, peer, refusal));
    };
    let audience = audience(config, &name);
    let email = config.intake.push.pubsub.service_account.as_deref().unwrap_or_default();
    let verified = app.clouds().google.verify(token.trim(), Expected { audience: &audience, email }).await;
    verified.map_err(|why| super::untrusted(&surface, peer, why, Problem::unauthenticated))?;
    let mut arrivals = super::arrivals(&surface, connection, Source::Pubsub, &headers);
    match super::sent(&surface, &headers, body)? {
        Sent::Plain(body) => take(&mut arrivals, &body),
        Sent::Broken(body) => arrivals.unreadable(&body, "This is not gzip."),
    }
    arrivals.store().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What the token must be for: as configured, else this path as the world sees it.
fn audience(config: &Config, name: &str) -> String {
    let public = config.server.public_url.as_deref().unwrap_or_default().trim_end_matches('/');
    let configured = config.intake.push.pubsub.audience.clone();
    configured.unwrap_or_else(|| format!("{public}/intake/commercetools/pubsub/{name}"))
}

/// Takes the notification out of its envelope, if there is one.
fn take(arrivals: &mut Arrivals<'_>, body: &[u8]) {
    let Some(document) = super::document(arrivals, body) else { return };
    let Some(message) = document.get("message").filter(|_| document.get("subscription").is_some()) else {
        return arrivals.take_or_park(document, body);
    };
    let data = message["data"].as_str().and_then(|data| STANDARD.decode(data).ok());
    match data.map(|data| serde_json::from_slice::<Value>(&data)) {
        Some(Ok(notification)) => arrivals.take_or_park(notification, body),
        Some(Err(_)) => arrivals.unreadable(body, "The data of the message is not JSON."),
        None => arrivals.unreadable(body, "The message has no data in base64."),
    }
}
