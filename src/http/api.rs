//! The admin API (`surfaces.md` 2.6): what its routes share — who asks, parameters, bodies, lists.
//!
//! Every handler asks first whether the peer may, then whether it sees the connection; a foreign
//! connection does not exist for it. Unknown parameters are refused, so that a filter with a typing
//! error does not silently show everything.

pub mod connections;
pub mod cursors;
pub mod explain;
pub mod export;
pub mod jobs;
pub mod mappings;
pub mod messages;
pub mod status;
pub mod tokens;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{ConnectInfo, FromRequestParts, Query};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use uuid::Uuid;

use super::Surface;
use super::answer::Problem;
use super::auth::{self, Access, Actor, Peer};
use crate::clock::{Millis, parse_rfc3339, rfc3339};
use crate::store::Pause;

/// Entries of a page if nobody says otherwise, and at most.
const LIMIT: (i64, i64) = (50, 200);

/// Most characters of a person's reason.
const REASON: usize = 500;

impl FromRequestParts<Surface> for Actor {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, surface: &Surface) -> Result<Self, Problem> {
        let access = parts.extensions.get::<Access>().copied().unwrap_or(Access::Network);
        let peer = parts.extensions.get::<ConnectInfo<Peer>>().map_or(Peer(None), |info| info.0);
        auth::actor(surface, access, peer, &parts.headers).await
    }
}

/// The query string, read strictly.
pub struct Parameters<T>(pub T);

impl<T: DeserializeOwned> FromRequestParts<Surface> for Parameters<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Surface) -> Result<Self, Problem> {
        let read = Query::<T>::try_from_uri(&parts.uri);
        read.map(|Query(parameters)| Self(parameters)).map_err(|error| Problem::malformed(error.body_text()))
    }
}

/// The bytes of a body, unless there were too many.
type Received = Result<Bytes, BytesRejection>;

/// A body of the admin API.
///
/// # Errors
/// 413 if it is too large, 415 if it is not declared as JSON, 400 if it is none, 422 if it has
/// another shape.
fn body<T: DeserializeOwned>(headers: &HeaderMap, body: Received) -> Result<T, Problem> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !kind.starts_with("application/json") {
        return Err(Problem::unsupported_media_type("The body is application/json."));
    }
    let body = body.map_err(|_| Problem::too_large("The body is larger than server.limits.body allows."))?;
    serde_json::from_slice(&body).map_err(|error| match error.is_data() {
        true => Problem::invalid(format!("The body does not fit: {error}.")),
        false => Problem::malformed(format!("The body is not JSON: {error}.")),
    })
}

/// A page of a list with the place where the next one starts; a place only if there is more.
fn page(uri: &Uri, items: Vec<Value>, next: Option<Uuid>) -> Response {
    let next = next.map(|id| id.simple().to_string());
    let link = next.as_ref().map(|after| {
        let kept = uri.query().into_iter().flat_map(|query| query.split('&'));
        let mut query: Vec<_> = kept.filter(|pair| !pair.is_empty() && !pair.starts_with("after=")).collect();
        let after = format!("after={after}");
        query.push(&after);
        format!("<{}?{}>; rel=\"next\"", uri.path(), query.join("&"))
    });
    let mut response = Json(json!({"items": items, "next": next})).into_response();
    if let Some(link) = link.and_then(|link| link.parse().ok()) {
        response.headers_mut().insert(header::LINK, link);
    }
    response
}

fn limit(asked: Option<i64>) -> Result<i64, Problem> {
    let (usual, most) = LIMIT;
    match asked.unwrap_or(usual) {
        limit if (1..=most).contains(&limit) => Ok(limit),
        _ => Err(Problem::malformed(format!("limit is 1 to {most}."))),
    }
}

fn after(asked: Option<&str>) -> Result<Option<Uuid>, Problem> {
    let read = |text| Uuid::try_parse(text).map_err(|_| Problem::malformed("after is the `next` of the page before."));
    asked.map(read).transpose()
}

fn instant(name: &str, asked: Option<&str>) -> Result<Option<Millis>, Problem> {
    let read = |text| {
        let wrong = || Problem::malformed(format!("{name} is a time such as 2026-01-01T10:00:00Z."));
        parse_rfc3339(text).ok_or_else(wrong)
    };
    asked.map(read).transpose()
}

/// Why somebody decides something.
///
/// # Errors
/// 422 if it says nothing, or too much.
fn reason(said: &str) -> Result<String, Problem> {
    let said = said.trim();
    match said.is_empty() || said.chars().count() > REASON {
        true => Err(Problem::invalid(format!("reason is a sentence of at most {REASON} characters."))),
        false => Ok(said.to_owned()),
    }
}

/// Who pauses something, why, and until when.
fn pause(surface: &Surface, actor: &Actor, why: &str, until: Option<&str>) -> Result<Pause, Problem> {
    let until = instant("until", until)?;
    if until.is_some_and(|until| until <= surface.queue().app.clock().now()) {
        return Err(Problem::invalid("until is past already."));
    }
    Ok(Pause { by: actor.name.clone(), reason: reason(why)?, until })
}

/// A connection named by the peer.
///
/// # Errors
/// 404 if the peer does not see it, whether it exists or not.
fn seen(actor: &Actor, connection: Option<&str>) -> Result<(), Problem> {
    match connection {
        Some(name) if !actor.sees(name) => Err(Problem::not_found(format!("There is no connection {name}."))),
        _ => Ok(()),
    }
}

/// Times leave us as RFC 3339 with milliseconds.
fn time(at: Millis) -> Value {
    Value::String(rfc3339(at))
}

fn maybe_time(at: Option<Millis>) -> Value {
    at.map_or(Value::Null, time)
}
