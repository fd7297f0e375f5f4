//! Answers that are not successes: RFC 9457 problem documents (`surfaces.md` 2.1). They never hold
//! SQL, a path, a stack or a secret.

use std::any::Any;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::middleware::Next;
use axum::response::IntoResponse;
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
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        tracing::warn!("a request could not be stored or answered: {error}");
        Self::unavailable("The connector cannot use its database at the moment; nothing was taken. Try again.").after(2)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response<Body> {
        let body = json!({
            "type": format!("urn:fluent-connector:problem:{}", self.slug),
            "title": self.slug.replace('-', " "),
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        let mut response = Response::new(Body::from(body.to_string()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
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

/// Names every answer; a peer's own id is kept as correlation id.
pub async fn request_id(request: Request, next: Next) -> Response<Body> {
    let mut response = next.run(request).await;
    if let Ok(id) = HeaderValue::from_str(&Uuid::now_v7().to_string()) {
        response.headers_mut().insert("x-request-id", id);
    }
    response
}
