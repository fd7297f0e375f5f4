//! `POST /intake/commercetools/plain/{connection}`: commercetools notifications brought by a relay
//! (`surfaces.md` 2.4).
//!
//! Authenticate, store the raw body, answer. What cannot be read is stored as parked and answered
//! with success: the sender would drop it on an error and it would be gone.

use axum::body::Bytes;
use axum::extract::{ConnectInfo, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::{Extension, Json};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::Surface;
use super::answer::{self, Problem};
use super::auth::{self, Access, Peer};
use super::body::{self, Sent};
use crate::app::Connection;
use crate::commercetools::notification::{Notification, Subject, Taken};
use crate::queue::Draft;
use crate::store::{Ending, Put, Source};

/// Most notifications of one body.
const MOST: usize = 100;

/// One notification or an array of them.
pub async fn plain(
    State(surface): State<Surface>,
    Extension(access): Extension<Access>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let actor = auth::sender(&surface, access, peer, &headers).await?;
    actor.may("intake:commercetools")?;
    let app = &surface.queue().app;
    let connection = app.connection(&name).filter(|_| actor.sees(&name));
    let connection = connection.ok_or_else(|| Problem::not_found(format!("There is no connection {name}.")))?;
    if !app.config().intake.push.plain.enabled {
        return Err(Problem::not_found("Plain intake is off (intake.push.plain.enabled)."));
    }
    if surface.0.closing.is_refusing() {
        return Err(Problem::unavailable("The connector is stopping.").after(2));
    }
    let mut drafts = match body::inflated(&headers, body, app.config().server.limits.body.0 as usize)? {
        Sent::Plain(body) => drafts(&surface, connection, &body)?,
        Sent::Broken(body) => vec![unreadable(&surface, connection, &body, "This is not gzip.")],
    };
    if let Some(theirs) = answer::correlation(&headers) {
        drafts = drafts.into_iter().map(|draft| draft.correlation(&theirs)).collect();
    }
    let puts = surface.queue().put(drafts).await?;
    let accepted = puts.iter().filter(|put| matches!(put, Put::Accepted(_))).count();
    Ok((StatusCode::ACCEPTED, Json(json!({"accepted": accepted, "duplicates": puts.len() - accepted}))))
}

fn drafts(surface: &Surface, connection: &Connection, body: &Bytes) -> Result<Vec<Draft>, Problem> {
    let Ok(document) = serde_json::from_slice::<Value>(body) else {
        return Ok(vec![unreadable(surface, connection, body, "This is not JSON.")]);
    };
    let notifications = match document {
        Value::Array(many) if many.len() > MOST => {
            return Err(Problem::invalid(format!("At most {MOST} notifications fit into one request.")));
        }
        Value::Array(many) => many,
        one => vec![one],
    };
    let mut drafts = Vec::new();
    for document in notifications {
        let raw = document.to_string().into_bytes();
        match Notification::read(document) {
            Ok(notification) if notification.project_key != connection.config.commercetools.project_key => {
                return Err(Problem::invalid(format!(
                    "The notification is of project {}, this connection of {}.",
                    notification.project_key, connection.config.commercetools.project_key
                )));
            }
            Ok(notification) => drafts.push(draft(surface, connection, notification, raw)),
            Err(why) => drafts.push(unreadable(surface, connection, &raw, &why)),
        }
    }
    Ok(drafts)
}

fn draft(surface: &Surface, connection: &Connection, notification: Notification, raw: Vec<u8>) -> Draft {
    let (queue, name) = (surface.queue(), &connection.config.name);
    match notification.subject(Taken::by(&connection.config)) {
        Subject::Route(route) => {
            let id = &notification.resource_id;
            let mut payload = json!({"id": id, "type": notification.message_type});
            if let Some(sku) = &notification.sku {
                payload["sku"] = sku.as_str().into();
            }
            if notification.erases {
                payload["erases"] = true.into();
            }
            queue
                .draft(name, route, notification.key(), Source::Plain)
                .subject(notification.ordering())
                .at_least(notification.resource_version)
                .payload(payload)
                .body(raw)
        }
        Subject::Skip(skip, why) => {
            let route = format!("commercetools.{}", notification.resource_type);
            queue
                .draft(name, &route, notification.key(), Source::Plain)
                .body(raw)
                .ended(Ending::Skipped(skip.name()), why)
        }
    }
}

fn unreadable(surface: &Surface, connection: &Connection, raw: &[u8], why: &str) -> Draft {
    let key: String = Sha256::digest(raw).iter().map(|byte| format!("{byte:02x}")).collect();
    surface
        .queue()
        .draft(&connection.config.name, "commercetools.unreadable", key, Source::Plain)
        .body(raw.to_vec())
        .ended(Ending::Parked("unreadable"), format!("The notification cannot be read: {why}"))
}
