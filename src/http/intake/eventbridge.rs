//! `eventbridge`: an API destination of Amazon EventBridge with an API token.

use std::time::Duration;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, Path, State};
use axum::http::{HeaderMap, StatusCode};

use super::super::Surface;
use super::super::answer::Problem;
use super::super::auth::{self, Access, Peer};
use super::super::body::Sent;
use crate::app::Connection;
use crate::intake::{Arrivals, of_partner};
use crate::store::Source;

/// The sender gives up after 5 s.
const DEADLINE: Duration = Duration::from_secs(4);

/// One event; its detail is the notification.
pub async fn receive(
    State(surface): State<Surface>,
    Extension(access): Extension<Access>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<StatusCode, Problem> {
    let work = async {
        let config = &surface.queue().app.config().intake.push.eventbridge;
        let actor = auth::sender_by(&surface, access, peer, &headers, &config.header).await?;
        let connection = super::door_for(&surface, &actor, &name, "eventbridge", config.enabled)?;
        let mut arrivals = super::arrivals(&surface, connection, Source::Eventbridge, &headers);
        match super::sent(&surface, &headers, body)? {
            Sent::Plain(body) => take(&mut arrivals, connection, &body),
            Sent::Broken(body) => arrivals.unreadable(&body, "This is not gzip."),
        }
        arrivals.store().await?;
        Ok(StatusCode::OK)
    };
    let late = || Problem::unavailable("The connector did not get this done in time; send it again.").after(2);
    tokio::time::timeout(DEADLINE, work).await.unwrap_or_else(|_| Err(late()))
}

fn take(arrivals: &mut Arrivals<'_>, connection: &Connection, body: &[u8]) {
    let Some(mut document) = super::document(arrivals, body) else { return };
    let project = &connection.config.commercetools.project_key;
    match document["source"].as_str() {
        Some(source) if !of_partner(source, project) => {
            let why = format!("The event is of the source {source}, not of project {project}.");
            arrivals.refused(body, &why);
        }
        _ if document.get("detail").is_none() => arrivals.unreadable(body, "The event has no detail."),
        _ => arrivals.take_or_park(document["detail"].take(), body),
    }
}
