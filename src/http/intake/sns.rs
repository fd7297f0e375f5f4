//! `sns`: an HTTPS subscription of Amazon SNS, whose messages are signed.

use axum::body::Bytes;
use axum::extract::{ConnectInfo, Path, State};
use axum::http::{HeaderMap, StatusCode};

use super::super::Surface;
use super::super::answer::Problem;
use super::super::auth::Peer;
use super::super::body::Sent;
use crate::app::Connection;
use crate::cloud::Untrusted;
use crate::cloud::sns::Envelope;
use crate::store::Source;

/// A notification, or a subscription that begins or ends.
pub async fn receive(
    State(surface): State<Surface>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<StatusCode, Problem> {
    let app = &surface.queue().app;
    let config = &app.config().intake.push.sns;
    let connection = super::door(&surface, &name, "sns", config.enabled)?;
    let refuse = |why| super::untrusted(&surface, peer, why, Problem::forbidden);
    let refused = |why: String| refuse(Untrusted::Refused(why));
    let body = match super::sent(&surface, &headers, body)? {
        Sent::Plain(body) => body,
        Sent::Broken(_) => return Err(refused("This is not gzip.".into())),
    };
    if headers.contains_key("x-amz-sns-rawdelivery") {
        return Err(refused("Raw message delivery carries no signature; turn it off for this subscription.".into()));
    }
    let envelope: Envelope = serde_json::from_slice(&body)
        .map_err(|error| refused(format!("This is not a signed message of SNS: {error}.")))?;
    app.clouds().sns.verify(&envelope, &config.topics, config.allow_sha1).await.map_err(refuse)?;
    match envelope.kind.as_str() {
        "Notification" => store(&surface, connection, &envelope, &headers, &body).await?,
        "SubscriptionConfirmation" if config.confirm => {
            app.clouds().sns.confirm(&envelope).await.map_err(refuse)?;
            tracing::info!(topic = envelope.topic_arn, "the subscription of this topic was confirmed");
        }
        "SubscriptionConfirmation" => {
            tracing::warn!(
                topic = envelope.topic_arn,
                "a subscription waits to be confirmed in AWS (sns.confirm is off)"
            );
        }
        "UnsubscribeConfirmation" => {
            tracing::error!(
                topic = envelope.topic_arn,
                incident = "subscription-unhealthy",
                "this topic was unsubscribed; nothing more comes from it"
            );
        }
        kind => return Err(refused(format!("SNS sends no messages of the type {kind}."))),
    }
    Ok(StatusCode::OK)
}

async fn store(
    surface: &Surface,
    connection: &Connection,
    envelope: &Envelope,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<(), Problem> {
    let mut arrivals = super::arrivals(surface, connection, Source::Sns, headers);
    match serde_json::from_str(&envelope.message) {
        Ok(notification) => arrivals.take_or_park(notification, body),
        Err(_) => arrivals.unreadable(body, "The message is not JSON."),
    }
    arrivals.store().await?;
    Ok(())
}
