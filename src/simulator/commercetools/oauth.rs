//! Client credentials and scopes (platform-commercetools A1).

use std::collections::HashMap;

use axum::http::{HeaderMap, Uri, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::Options;
use super::project::Project;
use super::refusal::{Answer, Refusal};
use super::resource::Resource;
use crate::clock::Millis;

/// Tokens handed out so far.
#[derive(Default)]
pub(super) struct Tokens(HashMap<String, Token>);

struct Token {
    expires_at: Millis,
    scopes: Vec<String>,
}

/// The caller of a request, as its token says.
pub(super) struct Caller {
    scopes: Vec<String>,
}

/// `POST /oauth/token`: HTTP Basic, parameters in the form body or in the query string.
pub(super) fn token(
    project: &mut Project,
    options: &Options,
    uri: &Uri,
    headers: &HeaderMap,
    body: &[u8],
) -> Answer<Value> {
    let expected = format!("{}:{}", options.client_id, options.client_secret);
    if basic(headers).as_deref() != Some(expected.as_str()) {
        return Err(Refusal::new(401, "invalid_client", "Please provide valid client credentials."));
    }
    let form = String::from_utf8_lossy(body).into_owned();
    let parameters = [pairs(uri.query().unwrap_or_default()), pairs(&form)].concat();
    let parameter = |name: &str| parameters.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str());
    match parameter("grant_type") {
        Some("client_credentials") => {}
        Some(other) => {
            return Err(Refusal::new(400, "unsupported_grant_type", format!("Invalid grant type: {other}.")));
        }
        None => return Err(Refusal::new(400, "invalid_request", "Missing required parameter: grant_type.")),
    }
    let owned = owned_scopes(options);
    let scopes: Vec<String> = match parameter("scope").filter(|scope| !scope.is_empty()) {
        None => owned,
        Some(asked) => asked.split(' ').map(|scope| granted(scope, &owned)).collect::<Answer<_>>()?,
    };
    let access_token = project.new_id().replace('-', "");
    let expires_at = project.clock.now() + options.token_seconds as Millis * 1000;
    let answer = json!({
        "access_token": access_token,
        "token_type": "Bearer",
        "expires_in": options.token_seconds,
        "scope": scopes.join(" "),
    });
    project.tokens.0.insert(access_token, Token { expires_at, scopes });
    Ok(answer)
}

fn granted(scope: &str, owned: &[String]) -> Answer<String> {
    match owned.iter().any(|own| own == scope) {
        true => Ok(scope.to_owned()),
        false => Err(Refusal::new(400, "invalid_scope", format!("The scope {scope} is not granted to this client."))),
    }
}

/// The client's scopes with their project suffix.
fn owned_scopes(options: &Options) -> Vec<String> {
    let scopes = options.scopes.iter();
    scopes
        .map(|scope| if scope.contains(':') { scope.clone() } else { format!("{scope}:{}", options.project_key) })
        .collect()
}

fn basic(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Basic ")?;
    String::from_utf8(STANDARD.decode(value).ok()?).ok()
}

/// Decodes `a=b&c=d`; text that is not of this form has no parameters.
pub(super) fn pairs(text: &str) -> Vec<(String, String)> {
    let uri = Uri::builder().path_and_query(format!("/?{text}")).build();
    let parsed = uri.ok().and_then(|uri| axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&uri).ok());
    parsed.map_or_else(Vec::new, |axum::extract::Query(pairs)| pairs)
}

/// The caller's token, if it is known and has not expired by the simulated clock.
pub(super) fn caller(project: &Project, headers: &HeaderMap) -> Answer<Caller> {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    match bearer.and_then(|bearer| project.tokens.0.get(bearer)) {
        Some(token) if project.clock.now() < token.expires_at => Ok(Caller { scopes: token.scopes.clone() }),
        _ => Err(Refusal::invalid_token()),
    }
}

impl Caller {
    /// Refuses unless the token has one of `scopes` for this project, or `manage_project`.
    pub fn needs(&self, project_key: &str, scopes: &[&str]) -> Answer<()> {
        let wanted: Vec<String> = scopes.iter().map(|scope| format!("{scope}:{project_key}")).collect();
        let all = format!("manage_project:{project_key}");
        match self.scopes.iter().any(|scope| *scope == all || wanted.contains(scope)) {
            true => Ok(()),
            false => Err(Refusal::insufficient_scope(&wanted)),
        }
    }

    /// May this caller read the resource? Decides whether a reference to it is expanded.
    pub fn may_view(&self, project_key: &str, resource: &Resource) -> bool {
        self.needs(project_key, resource.view).is_ok()
    }
}
