//! `plain`: a relay with an API token, one notification or an array of them.

use axum::extract::{ConnectInfo, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::{Extension, Json, body::Bytes};
use serde_json::{Value, json};

use super::super::Surface;
use super::super::answer::Problem;
use super::super::auth::{self, Access, Peer};
use super::super::body::Sent;
use crate::intake::{Arrivals, Foreign};
use crate::store::Source;

/// Most notifications of one body.
const MOST: usize = 100;

/// Answers how many were new.
pub async fn receive(
    State(surface): State<Surface>,
    Extension(access): Extension<Access>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let actor = auth::sender(&surface, access, peer, &headers).await?;
    let enabled = surface.queue().app.config().intake.push.plain.enabled;
    let connection = super::door_for(&surface, &actor, &name, "plain", enabled)?;
    let mut arrivals = super::arrivals(&surface, connection, Source::Plain, &headers);
    match super::sent(&surface, &headers, body)? {
        Sent::Plain(body) => take(&mut arrivals, &body)?,
        Sent::Broken(body) => arrivals.unreadable(&body, "This is not gzip."),
    }
    let stored = arrivals.store().await?;
    Ok((StatusCode::ACCEPTED, Json(json!({"accepted": stored.accepted, "duplicates": stored.duplicates}))))
}

fn take(arrivals: &mut Arrivals<'_>, body: &[u8]) -> Result<(), Problem> {
    let notifications = match super::document(arrivals, body) {
        None => return Ok(()),
        Some(Value::Array(many)) if many.len() > MOST => {
            return Err(Problem::invalid(format!("At most {MOST} notifications fit into one request.")));
        }
        Some(Value::Array(many)) => many,
        Some(one) => vec![one],
    };
    for document in notifications {
        let raw = document.to_string();
        arrivals.take(document, raw.as_bytes()).map_err(|Foreign(why)| Problem::invalid(why))?;
    }
    Ok(())
}
