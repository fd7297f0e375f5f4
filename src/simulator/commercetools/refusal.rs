//! What the platform says when it refuses: the error envelope of platform-commercetools A4 and the
//! authorisation errors of A1. Codes and extra fields are the documented ones; sentences are ours.

use axum::http::StatusCode;
use serde_json::{Map, Value, json};

/// A request that is answered with an error. Nothing has been changed by it.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub status: StatusCode,
    pub code: &'static str,
    pub message: String,
    /// Fields of the error object beside `code` and `message`.
    extra: Map<String, Value>,
}

pub(super) type Answer<T> = Result<T, Refusal>;

impl Refusal {
    pub fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        // Every caller passes a literal of the table in A4; 500 stands for a wrong literal.
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { status, code, message: message.into(), extra: Map::new() }
    }

    /// Adds a field to the error object.
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.extra.insert(name.to_owned(), value.into());
        self
    }

    /// The documented body.
    pub fn body(&self) -> Value {
        let mut error = self.extra.clone();
        error.insert("code".into(), self.code.into());
        error.insert("message".into(), self.message.as_str().into());
        let mut body = json!({"statusCode": self.status.as_u16(), "message": self.message, "errors": [error]});
        if self.code.starts_with(char::is_lowercase) {
            body["error"] = self.code.into();
            body["error_description"] = self.message.as_str().into();
        }
        body
    }

    /// 400: a query parameter or a value that cannot be understood.
    pub fn invalid_input(message: impl Into<String>) -> Self {
        Self::new(400, "InvalidInput", message)
    }

    /// 400: the answer would be too big; fewer rows may fit.
    pub fn content_too_large() -> Self {
        Self::new(400, "ContentTooLarge", "The answer is too large; ask for a smaller page.")
    }

    /// 400: the body does not have the shape of the request type.
    pub fn invalid_json(detail: impl Into<String>) -> Self {
        Self::new(400, "InvalidJsonInput", "Request body does not contain valid JSON.")
            .with("detailedErrorMessage", detail.into())
    }

    /// 400: a well-formed value that the field does not take.
    pub fn invalid_field(field: &str, value: &Value, why: impl std::fmt::Display) -> Self {
        Self::new(400, "InvalidField", format!("The value '{value}' is not valid for field '{field}'. {why}"))
            .with("field", field)
            .with("invalidValue", value.clone())
    }

    /// 400: a value that must be there and is not.
    pub fn required_field(field: &str) -> Self {
        Self::new(400, "RequiredField", format!("A value is required for field '{field}'.")).with("field", field)
    }

    /// 400: another resource already has this value.
    pub fn duplicate(field: &str, value: &Value) -> Self {
        Self::new(400, "DuplicateField", format!("A duplicate value '{value}' exists for field '{field}'."))
            .with("field", field)
            .with("duplicateValue", value.clone())
    }

    /// 400: a reference leads nowhere; `name` is `id` or `key`.
    pub fn reference(type_id: &str, name: &str, value: &str) -> Self {
        Self::new(
            400,
            "ReferencedResourceNotFound",
            format!("The referenced object of type '{type_id}' with {name} '{value}' was not found."),
        )
        .with("typeId", type_id)
        .with(name, value)
    }

    /// 400: the action is understood but not allowed now.
    pub fn invalid_operation(message: impl Into<String>) -> Self {
        Self::new(400, "InvalidOperation", message)
    }

    /// 404: no such resource.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(404, "ResourceNotFound", message)
    }

    /// 409: somebody else was faster.
    pub fn conflict(id: &str, expected: u64, actual: u64) -> Self {
        let message =
            format!("Object {id} has a different version than expected. Expected: {expected} - Actual: {actual}.");
        Self::new(409, "ConcurrentModification", message).with("currentVersion", actual)
    }

    /// 401: no token, an unknown one, or one that has expired.
    pub fn invalid_token() -> Self {
        Self::new(401, "invalid_token", "invalid_token")
    }

    /// 403: the token lacks all of the scopes that would allow this.
    pub fn insufficient_scope(any_of: &[String]) -> Self {
        let wanted = any_of.join(" ");
        Self::new(
            403,
            "insufficient_scope",
            format!("Insufficient scope. One of the following scopes is missing: {wanted}."),
        )
    }

    /// 501: the platform has this, its simulation has not. Loud, so that no test passes by accident.
    pub fn not_simulated(what: impl std::fmt::Display) -> Self {
        Self::new(501, "General", format!("{what} is not simulated."))
    }
}

/// The envelope for a failure that the front made up.
pub(super) fn failure(status: u16) -> Value {
    let refusal = match status {
        401 => Refusal::invalid_token(),
        429 => Refusal::new(429, "TooManyRequests", "Too many requests."),
        500 => Refusal::new(500, "General", "An internal error occurred."),
        502 => Refusal::new(502, "BadGateway", "Bad gateway."),
        503 => Refusal::new(503, "OverCapacity", "The service is over capacity."),
        504 => Refusal::new(504, "GatewayTimeout", "The request took too long."),
        other => Refusal::new(other, "General", format!("Simulated failure {other}.")),
    };
    refusal.body()
}
