//! Answers that are not successes: RFC 9457 problem documents (`surfaces.md` 2.1). They never hold
//! SQL, a path, a stack or a secret.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use axum::middleware::Next;
use axum::response::IntoResponse;
use futures_util::{StreamExt, stream};
use serde_json::json;
use uuid::Uuid;

use crate::store::Error;

/// A refusal with its stable name.
#[derive(Clone, Debug)]
pub struct Problem {
    /// `urn:fluent-connector:problem:<slug>`
    slug: &'static str,
    status: StatusCode,
    detail: String,
    /// Seconds, for 429 and 503.
    retry_after: Option<u64>,
}

/// Problem names and their statuses.
macro_rules! problems {
    ($($name:ident = $slug:literal, $status:ident;)*) => {
        impl Problem {
            $(
                #[doc = concat!("`", $slug, "`")]
                pub fn $name(detail: impl Into<String>) -> Self {
                    Self { slug: $slug, status: StatusCode::$status, detail: detail.into(), retry_after: None }
                }
            )*
        }
    };
}

problems! {
    malformed = "malformed", BAD_REQUEST;
    unauthenticated = "unauthenticated", UNAUTHORIZED;
    forbidden = "forbidden", FORBIDDEN;
    not_found = "not-found", NOT_FOUND;
    method_not_allowed = "method-not-allowed", METHOD_NOT_ALLOWED;
    request_timeout = "request-timeout", REQUEST_TIMEOUT;
    conflict = "conflict", CONFLICT;
    refused_by_guard = "refused-by-guard", CONFLICT;
    too_large = "too-large", PAYLOAD_TOO_LARGE;
    unsupported_media_type = "unsupported-media-type", UNSUPPORTED_MEDIA_TYPE;
    invalid = "invalid", UNPROCESSABLE_ENTITY;
    rate_limited = "rate-limited", TOO_MANY_REQUESTS;
    unavailable = "unavailable", SERVICE_UNAVAILABLE;
    failed = "failed", INTERNAL_SERVER_ERROR;
}

impl Problem {
    /// The peer may come back after so many seconds.
    pub fn after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// What the framework refused.
    fn of(status: StatusCode) -> Self {
        match status {
            StatusCode::NOT_FOUND => Self::not_found("There is nothing at this path."),
            StatusCode::PAYLOAD_TOO_LARGE => Self::too_large("The body is larger than this path takes."),
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Self::unsupported_media_type("This path does not take such a body."),
            StatusCode::UNPROCESSABLE_ENTITY => Self::invalid("The body is not what this path takes."),
            status if status.is_client_error() => Self::malformed("The request cannot be read."),
            _ => Self::failed("The connector failed inside; the log says where."),
        }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error.is_trouble() {
            true => tracing::debug!("a request could not be stored or answered: {error}"),
            false => tracing::warn!("a request could not be stored or answered: {error}"),
        }
        Self::unavailable("The connector cannot use its database at the moment; nothing was taken. Try again.").after(2)
    }
}

impl IntoResponse for Problem {
    /// Status and headers; the document is written by [`dress`], which knows the request's name.
    fn into_response(self) -> Response<Body> {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.status;
        response.extensions_mut().insert(self);
        response
    }
}

/// Any path that is not in the table.
pub async fn no_such_path() -> Problem {
    Problem::not_found("There is nothing at this path.")
}

/// A known path with another method.
pub async fn no_such_method() -> Problem {
    Problem::method_not_allowed("This path does not take this method.")
}

/// A handler failed inside; the peer learns no more than that.
pub fn panicked(_: Box<dyn Any + Send + 'static>) -> Response<Body> {
    Problem::failed("The connector failed inside; the log says where.").into_response()
}

/// The outermost layer: names every request, writes the problem document of every refusal, whoever
/// refused, and sets the headers that every answer has.
pub async fn dress(request: Request, next: Next) -> Response<Body> {
    let id = Uuid::now_v7().to_string();
    let api = request.uri().path().starts_with("/api");
    let mut response = documented(next.run(request).await, &id);
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(&id) {
        headers.insert("x-request-id", id);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    if api {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

/// The peer's own name for its request, if it has a form that can be kept; what the request causes
/// carries it.
pub fn correlation(headers: &HeaderMap) -> Option<String> {
    let id = headers.get("x-request-id")?.to_str().ok()?;
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    ((8..=64).contains(&id.len()) && id.chars().all(legal)).then(|| id.to_owned())
}

/// Writes the document of a refusal. What the framework refuses by itself (a body that is too large,
/// a path that is no text) comes without one and gets the one of its status.
fn documented(mut response: Response<Body>, id: &str) -> Response<Body> {
    let status = response.status();
    let json = HeaderValue::from_static("application/json");
    let problem = match response.extensions_mut().remove::<Problem>() {
        Some(problem) => problem,
        None if status.as_u16() < 400 || response.headers().get(header::CONTENT_TYPE) == Some(&json) => {
            return response;
        }
        None => Problem::of(status),
    };
    let body = json!({
        "type": format!("urn:fluent-connector:problem:{}", problem.slug),
        "title": problem.slug.replace('-', " "),
        "status": problem.status.as_u16(),
        "detail": problem.detail,
        // Not the path: it may hold a path token.
        "instance": format!("urn:uuid:{id}"),
        "request_id": id,
    });
    *response.body_mut() = Body::from(body.to_string());
    *response.status_mut() = problem.status;
    let headers = response.headers_mut();
    headers.remove(header::CONTENT_LENGTH);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    if problem.status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if let Some(seconds) = problem.retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// Ends a request that takes too long: 408 while its body is still on its way, then 503.
pub async fn in_time(State(limit): State<Duration>, request: Request, next: Next) -> Response<Body> {
    let whole = Arc::new(AtomicBool::new(request.body().is_end_stream()));
    let seen = whole.clone();
    let request = request.map(|body| {
        let end = stream::once(async move {
            seen.store(true, Ordering::SeqCst);
            Ok(Bytes::new())
        });
        Body::from_stream(body.into_data_stream().chain(end))
    });
    let problem = match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => return response,
        Err(_) if whole.load(Ordering::SeqCst) => {
            Problem::unavailable("The connector did not get this done in time; ask again.").after(2)
        }
        Err(_) => Problem::request_timeout("The request did not arrive whole in time."),
    };
    problem.into_response()
}
