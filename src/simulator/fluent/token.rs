//! `POST /oauth/token` and the bearer check (platform document 1).

use std::collections::BTreeMap;

use axum::body::{Body, Bytes};
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, Response, StatusCode, header};
use serde_json::{Value, json};
use uuid::Uuid;

use super::Fluent;
use super::account::Account;
use crate::clock::Millis;
use crate::simulator::front::plain;

/// Refresh tokens have an expiry of their own, which the platform does not publish.
const REFRESH_MILLIS: Millis = 24 * 60 * 60 * 1000;

/// The tokens handed out, with their expiry.
#[derive(Default)]
pub struct Tokens {
    access: BTreeMap<String, Millis>,
    refresh: BTreeMap<String, Millis>,
}

impl Tokens {
    /// Invalidates every access token before its time.
    pub fn revoke(&mut self) {
        self.access.clear();
    }
}

/// Parameters come as a form, or with an empty body in the query string.
pub async fn token(
    State(fluent): State<Fluent>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let text = match body.is_empty() {
        true => query.unwrap_or_default(),
        false => String::from_utf8_lossy(&body).into_owned(),
    };
    let form = body.is_empty()
        || headers
            .get(header::CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"application/x-www-form-urlencoded"));
    if !form {
        return refuse(StatusCode::BAD_REQUEST, "invalid_request", "Parameters are expected as a form");
    }
    let parameters: BTreeMap<String, String> = read_form(&text);
    let asked = |name: &str| parameters.get(name).map(String::as_str).unwrap_or_default();
    let mut account = fluent.account();
    let options = &account.options;
    if asked("client_id") != options.client_id || asked("client_secret") != options.client_secret {
        return refuse(StatusCode::UNAUTHORIZED, "invalid_client", "Bad client credentials");
    }
    let other = headers
        .get("fluent.account")
        .is_some_and(|asked| !asked.as_bytes().eq_ignore_ascii_case(options.account.as_bytes()));
    match asked("grant_type") {
        _ if other => refuse(StatusCode::BAD_REQUEST, "invalid_grant", "Bad credentials"),
        "password" if asked("scope") != "api" => refuse(StatusCode::BAD_REQUEST, "invalid_scope", "Invalid scope"),
        "password" if asked("username") == options.username && asked("password") == options.password => {
            grant(&mut account)
        }
        "password" => refuse(StatusCode::BAD_REQUEST, "invalid_grant", "Bad credentials"),
        "refresh_token" => {
            let until = account.tokens.refresh.remove(asked("refresh_token"));
            match until.is_some_and(|until| until > account.now()) {
                true => grant(&mut account),
                false => refuse(StatusCode::BAD_REQUEST, "invalid_grant", "Invalid refresh token"),
            }
        }
        other => refuse(StatusCode::BAD_REQUEST, "unsupported_grant_type", &format!("Unsupported grant type: {other}")),
    }
}

fn read_form(text: &str) -> BTreeMap<String, String> {
    let uri = format!("http://form.invalid/?{text}");
    let Ok(uri) = uri.parse() else { return BTreeMap::new() };
    axum::extract::Query::try_from_uri(&uri).map(|axum::extract::Query(parameters)| parameters).unwrap_or_default()
}

fn grant(account: &mut Account) -> Response<Body> {
    let (now, seconds) = (account.now(), account.options.token_seconds);
    let access = Uuid::new_v4().simple().to_string();
    account.tokens.access.retain(|_, until| *until > now);
    account.tokens.access.insert(access.clone(), now + seconds as Millis * 1000);
    let mut answer = json!({"access_token": access, "token_type": "bearer", "expires_in": seconds, "scope": "api",
        "Retailer_id": account.retailer, "FirstName": "Simulated", "LastName": "User", "Roles": []});
    if account.options.refresh_tokens {
        let refresh = Uuid::new_v4().simple().to_string();
        account.tokens.refresh.insert(refresh.clone(), now + REFRESH_MILLIS);
        answer["refresh_token"] = refresh.into();
    }
    plain(StatusCode::OK, answer)
}

fn refuse(status: StatusCode, error: &str, description: &str) -> Response<Body> {
    plain(status, json!({"error": error, "error_description": description}))
}

/// Does the request carry a live bearer token?
pub fn is_authorised(account: &Account, headers: &HeaderMap) -> bool {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let until = bearer.and_then(|token| account.tokens.access.get(token));
    until.is_some_and(|until| *until > account.now())
}

/// The answer to a request without one.
pub fn refusal() -> Response<Body> {
    plain(StatusCode::UNAUTHORIZED, unauthorised())
}

/// The body of a 401.
pub fn unauthorised() -> Value {
    json!({"errors": [{"code": "401", "message": "Invalid user, Authorization header value does not belong to a valid user"}]})
}
