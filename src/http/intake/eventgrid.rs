//! `eventgrid`: an event subscription of Azure Event Grid, CloudEvents 1.0 with an API token. It
//! begins with a handshake, and drops what is answered with 400 or 413.

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Path, State};
use axum::http::header::ALLOW;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use futures_util::StreamExt;
use serde_json::Value;

use super::super::Surface;
use super::super::answer::Problem;
use super::super::auth::{self, Access, Peer};
use super::super::body::Sent;
use crate::intake::Arrivals;
use crate::store::Source;

/// The event by which the classic schema asks for a handshake.
const CLASSIC: &str = "Microsoft.EventGrid.SubscriptionValidationEvent";

/// `OPTIONS`: may this origin send events here (CloudEvents webhook specification 4)?
pub async fn shake_hands(
    State(surface): State<Surface>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<(StatusCode, HeaderMap), Problem> {
    let config = &surface.queue().app.config().intake.push.eventgrid;
    super::door(&surface, &name, "eventgrid", config.enabled)?;
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let origin = text("webhook-request-origin")
        .ok_or_else(|| Problem::malformed("A handshake names its origin: WebHook-Request-Origin."))?;
    if !config.origins.iter().any(|known| known.eq_ignore_ascii_case(origin)) {
        return Err(Problem::forbidden("This origin may not send events here (intake.push.eventgrid.origins)."));
    }
    if let Some(url) = text("webhook-request-callback") {
        tracing::info!("Event Grid offers {url} to confirm the subscription by hand; it is not called");
    }
    let asked = text("webhook-request-rate").filter(|rate| rate.parse::<u64>().is_ok()).unwrap_or("*");
    let mut answer = HeaderMap::new();
    let value = |text: &str| HeaderValue::from_str(text).map_err(|_| Problem::malformed("The origin is no text."));
    answer.insert("webhook-allowed-origin", value(origin)?);
    answer.insert("webhook-allowed-rate", value(asked)?);
    answer.insert(ALLOW, HeaderValue::from_static("POST, OPTIONS"));
    Ok((StatusCode::OK, answer))
}

/// One event or a batch; in binary mode the body is the notification itself.
pub async fn receive(
    State(surface): State<Surface>,
    Extension(access): Extension<Access>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Problem> {
    let config = surface.queue().app.config();
    let grid = &config.intake.push.eventgrid;
    let actor = auth::sender_by(&surface, access, peer, &headers, &grid.header).await?;
    let connection = super::door_for(&surface, &actor, &name, "eventgrid", grid.enabled)?;
    let mut arrivals = super::arrivals(&surface, connection, Source::Eventgrid, &headers);
    match whole(body, config.server.limits.body.0 as usize).await? {
        Whole::TooLarge(head) => arrivals.unreadable(&head, "It is larger than server.limits.body; this is its head."),
        Whole::Body(body) => match super::sent(&surface, &headers, body.clone()) {
            Ok(Sent::Plain(plain)) => take(&mut arrivals, &plain)?,
            Ok(Sent::Broken(body)) => arrivals.unreadable(&body, "This is not gzip."),
            // What a 413 or a 415 would drop is kept as it came.
            Err(_) => arrivals.unreadable(&body, "It cannot be inflated within server.limits.body."),
        },
    }
    arrivals.store().await?;
    Ok(StatusCode::OK)
}

enum Whole {
    Body(Bytes),
    /// What of it was read.
    TooLarge(Bytes),
}

/// Reads a body up to a limit.
async fn whole(body: Body, most: usize) -> Result<Whole, Problem> {
    let (mut stream, mut read) = (body.into_data_stream(), Vec::new());
    while let Some(part) = stream.next().await {
        read.extend_from_slice(&part.map_err(|_| Problem::request_timeout("The request did not arrive whole."))?);
        if read.len() > most {
            read.truncate(most);
            return Ok(Whole::TooLarge(read.into()));
        }
    }
    Ok(Whole::Body(read.into()))
}

fn take(arrivals: &mut Arrivals<'_>, body: &[u8]) -> Result<(), Problem> {
    match super::document(arrivals, body) {
        None => {}
        Some(Value::Array(events)) => {
            for event in events {
                let raw = event.to_string();
                take_one(arrivals, event, raw.as_bytes())?;
            }
        }
        Some(event) => take_one(arrivals, event, body)?,
    }
    Ok(())
}

fn take_one(arrivals: &mut Arrivals<'_>, event: Value, raw: &[u8]) -> Result<(), Problem> {
    if event["eventType"] == CLASSIC {
        return Err(Problem::invalid(
            "The classic Event Grid schema is not taken; choose CloudEvents 1.0 as the delivery schema.",
        ));
    }
    arrivals.take_or_park(event, raw);
    Ok(())
}
