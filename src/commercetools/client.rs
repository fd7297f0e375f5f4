//! Client of the commercetools HTTP API: the operations the flows need, each with its error table
//! (platform-commercetools.md A2, A4).

mod catalogue;
mod channel;
mod definition;
mod import;
mod inventory;

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::known::{Channel, State, Type};
use crate::clock::{Clock, Millis};
use crate::config::model::CommercetoolsRemote;
use crate::failure::Class;
use crate::remote::{Answer, Call, Credential, Error, Grant, Kind, Remote, Request, Terms};

pub use import::OPERATIONS;
pub use inventory::PAGE as INVENTORY_PAGE;

/// A project, seen on behalf of one call. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    project: Arc<Project>,
    call: Call,
}

struct Project {
    remote: Arc<Remote>,
    credential: Credential,
    /// `https://api.europe-west1.gcp.commercetools.com/my-project`
    root: String,
    /// The same on the host of the Import API.
    import_root: String,
    clock: Clock,
    /// `Date` of the last answer, 0 before the first; polls end their windows by it.
    date: AtomicI64,
    /// Types, States and Channels by path, with the time until which they are believed.
    definitions: Mutex<HashMap<String, (Millis, Value)>>,
}

/// How long a definition is believed, in milliseconds (F 5.3).
const DEFINITION: Millis = 600_000;

/// The project's settings (`GET /{projectKey}`, A5) as far as they matter here.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Settings {
    #[serde(default)]
    pub version: i64,
    pub messages: Messages,
    /// `Classic` (also if absent), `Modular` or `InMigration` (A10).
    pub product_catalog_model: Option<String>,
}

/// Are Messages kept, so that they can be queried? Subscriptions deliver them in any case.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Messages {
    pub enabled: bool,
    /// After so many days they are gone; 15 where the platform does not say.
    #[serde(default = "fifteen")]
    pub delete_days_after_creation: u8,
}

fn fifteen() -> u8 {
    15
}

/// One page of a query (A2); there is never a total.
#[derive(Debug, Deserialize)]
pub struct Page<T> {
    pub results: Vec<T>,
}

/// A query: predicate with its variables, sort keys, page size.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Repeated predicates are ANDed.
    pub predicates: Vec<String>,
    /// Input variables of the predicates, without the colon.
    pub variables: Vec<(String, String)>,
    pub sort: Vec<String>,
    /// 1–500.
    pub limit: u16,
}

impl Client {
    /// Prepares a project; nothing is sent yet.
    ///
    /// # Errors
    /// When the HTTP client cannot be built.
    pub fn new(config: &CommercetoolsRemote, terms: Terms) -> anyhow::Result<Self> {
        let clock = terms.clock.clone();
        let remote = Arc::new(Remote::new("commercetools", config.timeout.0, terms, |_| false)?);
        let (asking, account) = (remote.clone(), config.clone());
        let credential = Credential::new(clock.clone(), move || grant(asking.clone(), account.clone()).boxed());
        let root = format!("{}/{}", config.api_url(), config.project_key);
        let import_root = format!("{}/{}", config.import_url(), config.project_key);
        let call = Call { lane: "order".into(), correlation: String::new() };
        let (date, definitions) = (AtomicI64::new(0), Mutex::default());
        let project = Project { remote, credential, root, import_root, clock, date, definitions };
        Ok(Self { project: Arc::new(project), call })
    }

    /// The same project on behalf of another call.
    pub fn on(&self, call: Call) -> Self {
        Self { project: self.project.clone(), call }
    }

    /// `GET /{projectKey}`; needs the scope `view_project_settings`.
    ///
    /// # Errors
    /// As the error table says.
    pub async fn settings(&self) -> Result<Settings, Error> {
        let operation = "GET /{projectKey}";
        parsed(operation, &self.send(operation, Method::GET, "", &[], None).await?)
    }

    /// The project's clock as of its last answer, whole seconds; `None` before the first.
    pub fn now(&self) -> Option<Millis> {
        Some(self.project.date.load(Ordering::Relaxed)).filter(|date| *date > 0)
    }

    /// The way to the project: budget and breakers.
    pub fn remote(&self) -> &Remote {
        &self.project.remote
    }

    /// `GET /orders/{id}` with reference expansion; `None` = 404.
    ///
    /// # Errors
    /// As the error table says.
    pub async fn order<T: DeserializeOwned>(&self, id: &str, expand: &[&str]) -> Result<Option<T>, Error> {
        let query: Vec<_> = expand.iter().map(|path| ("expand", *path)).collect();
        self.find("GET /orders/{id}", &format!("/orders/{id}"), &query).await
    }

    /// `GET /orders/order-number={n}`; `None` = 404.
    ///
    /// # Errors
    /// As the error table says.
    pub async fn order_by_number<T: DeserializeOwned>(&self, number: &str) -> Result<Option<T>, Error> {
        let path = format!("/orders/order-number={}", encoded(number));
        self.find("GET /orders/order-number={n}", &path, &[]).await
    }

    /// `GET /orders` (or another collection) with a query.
    ///
    /// # Errors
    /// As the error table says.
    pub async fn query<T: DeserializeOwned>(&self, collection: &'static str, query: &Query) -> Result<Page<T>, Error> {
        let limit = query.limit.to_string();
        let mut parameters = vec![("limit", limit.as_str()), ("withTotal", "false")];
        parameters.extend(query.predicates.iter().map(|predicate| ("where", predicate.as_str())));
        parameters.extend(query.sort.iter().map(|sort| ("sort", sort.as_str())));
        let variables: Vec<_> = query.variables.iter().map(|(name, value)| (format!("var.{name}"), value)).collect();
        parameters.extend(variables.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let page = self.find(collection, collection.trim_start_matches("GET "), &parameters).await?;
        page.ok_or_else(|| refused(404, "ResourceNotFound", "commercetools does not know this collection.".into()))
    }

    /// `POST /orders/{id}`: all actions or none, guarded by `version`. A 409 is
    /// [`Class::Conflict`]: read again, compute again, send again.
    ///
    /// # Errors
    /// As the error table says.
    pub async fn update_order<T: DeserializeOwned>(
        &self,
        id: &str,
        version: i64,
        actions: &(impl Serialize + Sync),
    ) -> Result<T, Error> {
        let body = json!({"version": version, "actions": actions});
        let answer = self.send("POST /orders/{id}", Method::POST, &format!("/orders/{id}"), &[], Some(&body)).await?;
        written("POST /orders/{id}", &answer)
    }

    /// `GET /customers/{id}`; `None` = 404.
    ///
    /// # Errors
    /// As the error table says.
    pub async fn customer<T: DeserializeOwned>(&self, id: &str) -> Result<Option<T>, Error> {
        self.find("GET /customers/{id}", &format!("/customers/{id}"), &[]).await
    }

    /// `GET /payments/{id}`; `None` = 404.
    ///
    /// # Errors
    /// As the error table says.
    pub async fn payment<T: DeserializeOwned>(&self, id: &str) -> Result<Option<T>, Error> {
        self.find("GET /payments/{id}", &format!("/payments/{id}"), &[]).await
    }

    /// The Type with this id, as it was at most ten minutes ago; `None` = 404.
    ///
    /// # Errors
    /// As the error table says.
    pub async fn type_by_id(&self, id: &str) -> Result<Option<Type>, Error> {
        self.defined("GET /types/{id}", &format!("/types/{}", encoded(id))).await
    }

    /// The Type with this key, as it was at most ten minutes ago; `None` = 404.
    ///
    /// # Errors
    /// As the error table says.
    pub async fn type_by_key(&self, key: &str) -> Result<Option<Type>, Error> {
        self.defined("GET /types/key={key}", &format!("/types/key={}", encoded(key))).await
    }

    /// The Channel with this key, as it was at most ten minutes ago; `None` = 404.
    ///
    /// # Errors
    /// As the error table says.
    pub async fn channel_by_key(&self, key: &str) -> Result<Option<Channel>, Error> {
        self.defined("GET /channels/key={key}", &format!("/channels/key={}", encoded(key))).await
    }

    /// The States of orders, as they were at most ten minutes ago.
    ///
    /// # Errors
    /// As the error table says.
    pub async fn order_states(&self) -> Result<Vec<State>, Error> {
        self.states("type = \"OrderState\"").await
    }

    /// The States of Line Items, as they were at most ten minutes ago.
    ///
    /// # Errors
    /// As the error table says.
    pub async fn line_item_states(&self) -> Result<Vec<State>, Error> {
        self.states("type = \"LineItemState\"").await
    }

    async fn states(&self, of: &str) -> Result<Vec<State>, Error> {
        let path = "/states".to_owned() + &query_string(&[("where", of), ("limit", "500")]);
        let page: Option<Page<State>> = self.defined("GET /states", &path).await?;
        Ok(page.map_or(Vec::new(), |page| page.results))
    }

    /// A definition that changes seldom; what does not exist is asked for again each time.
    async fn defined<T: DeserializeOwned>(&self, operation: &'static str, path: &str) -> Result<Option<T>, Error> {
        let now = self.project.clock.now();
        let kept =
            lock(&self.project.definitions).get(path).filter(|(until, _)| now < *until).map(|(_, kept)| kept.clone());
        let document = match kept {
            Some(kept) => kept,
            None => match self.find::<Value>(operation, path, &[]).await? {
                None => return Ok(None),
                Some(document) => {
                    lock(&self.project.definitions).insert(path.to_owned(), (now + DEFINITION, document.clone()));
                    document
                }
            },
        };
        let read = serde_json::from_value(document).map(Some);
        read.map_err(|error| {
            refused(0, "", format!("commercetools answered {operation} with something unreadable: {error}"))
        })
    }

    async fn find<T: DeserializeOwned>(
        &self,
        operation: &'static str,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<Option<T>, Error> {
        match self.send(operation, Method::GET, path, query, None).await {
            Ok(answer) => parsed(operation, &answer).map(Some),
            Err(error) if error.status == 404 => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sends with a valid token; a refused token is replaced once.
    async fn send(
        &self,
        operation: &'static str,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Answer, Error> {
        let url = format!("{}{path}{}", self.project.root, query_string(query));
        self.send_to(operation, method, url, body).await
    }

    /// The same to any of the project's hosts.
    async fn send_to(
        &self,
        operation: &'static str,
        method: Method,
        url: String,
        body: Option<&Value>,
    ) -> Result<Answer, Error> {
        let project = &self.project;
        let write = method != Method::GET;
        let mut renewed = false;
        loop {
            let token = project.credential.token().await?;
            let request = Request {
                operation,
                method: method.clone(),
                url: url.clone(),
                headers: headers(&token, body.is_some()),
                body: body.map(|body| body.to_string().into_bytes()),
                write,
                call: &self.call,
            };
            let answer = project.remote.send(request).await?;
            if let Some(date) = answer.date {
                project.date.store(date, Ordering::Relaxed);
            }
            if answer.status == 401 && !renewed {
                project.credential.refused(&token).await;
                renewed = true;
                continue;
            }
            return match answer.status.is_success() {
                true => Ok(answer),
                false => Err(failure(operation, write, &answer)),
            };
        }
    }
}

/// Client credentials grant (A1).
async fn grant(remote: Arc<Remote>, config: CommercetoolsRemote) -> Result<Grant, Error> {
    #[derive(Deserialize)]
    struct Token {
        access_token: SecretString,
        expires_in: u64,
    }
    let operation = "POST /oauth/token";
    let setup = |sentence: String| Error {
        kind: Kind::Temporary(Class::Setup),
        status: 0,
        code: String::new(),
        sentence,
        after: None,
    };
    let secret = config.client_secret.read().await.map_err(|problem| setup(problem.to_string()))?;
    let url = config.auth_url();
    let basic = format!("{}:{}", config.client_id, secret.expose_secret());
    let basic = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, basic);
    let mut form = vec![("grant_type", "client_credentials".to_owned())];
    if !config.scopes.is_empty() {
        form.push(("scope", config.scopes.join(" ")));
    }
    let form: Vec<(&str, &str)> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    if let Ok(mut value) = HeaderValue::from_str(&format!("Basic {basic}")) {
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    let call = Call { lane: "order".into(), correlation: String::new() };
    let request = Request {
        operation,
        method: Method::POST,
        url: format!("{url}/oauth/token"),
        headers,
        body: Some(query_string(&form).trim_start_matches('?').as_bytes().to_vec()),
        write: false,
        call: &call,
    };
    let answer = remote.send(request).await?;
    if !answer.status.is_success() {
        let mut error = failure(operation, false, &answer);
        if error.refused() {
            error.kind = Kind::Temporary(Class::Unauthorized);
            error.sentence = format!("commercetools refuses our client {}: {}", config.client_id, error.sentence);
        }
        return Err(error);
    }
    let token: Token = parsed(operation, &answer)?;
    Ok(Grant { token: token.access_token, lifetime: Duration::from_secs(token.expires_in) })
}

/// The error table (A4): what a status and code mean for the work.
fn failure(operation: &str, write: bool, answer: &Answer) -> Error {
    #[derive(Default, Deserialize)]
    struct Envelope {
        #[serde(default)]
        message: String,
        #[serde(default)]
        errors: Vec<Entry>,
    }
    #[derive(Deserialize)]
    struct Entry {
        code: String,
    }
    let envelope: Envelope = serde_json::from_slice(&answer.body).unwrap_or_default();
    let code = envelope.errors.first().map_or(String::new(), |entry| entry.code.clone());
    let status = answer.status.as_u16();
    let repeatable = matches!(code.as_str(), "QueryTimedOut" | "ContentTooLarge" | "LockedField");
    let kind = match status {
        401 => Kind::Temporary(Class::Unauthorized),
        409 => Kind::Temporary(Class::Conflict),
        429 | 503 => Kind::Temporary(Class::RateLimited),
        502 => Kind::Temporary(Class::Server),
        500.. if write => Kind::Temporary(Class::UnknownOutcome),
        500.. => Kind::Temporary(Class::Server),
        _ if repeatable => Kind::Temporary(Class::Server),
        _ => Kind::Refused,
    };
    let sentence = match status {
        403 => format!("The commercetools API client lacks a scope: {} Add it, then retry.", envelope.message),
        _ if envelope.message.is_empty() => format!("commercetools answered {status} to {operation}."),
        _ => format!("commercetools answered {status} to {operation}: {}", envelope.message),
    };
    Error { kind, status, code, sentence, after: answer.retry_after }
}

fn refused(status: u16, code: &str, sentence: String) -> Error {
    Error { kind: Kind::Refused, status, code: code.into(), sentence, after: None }
}

fn parsed<T: DeserializeOwned>(operation: &str, answer: &Answer) -> Result<T, Error> {
    serde_json::from_slice(&answer.body).map_err(|error| unreadable(operation, answer.status.as_u16(), &error))
}

fn unreadable(operation: &str, status: u16, error: &serde_json::Error) -> Error {
    let sentence = format!("commercetools answered {operation} with something unreadable: {error}");
    Error { kind: Kind::Temporary(Class::Server), status, code: String::new(), sentence, after: None }
}

/// The answer to a write. One that cannot be read was done, but what the resource is like now has to be
/// looked up.
fn written<T: DeserializeOwned>(operation: &str, answer: &Answer) -> Result<T, Error> {
    parsed(operation, answer).map_err(|error| Error { kind: Kind::Temporary(Class::UnknownOutcome), ..error })
}

fn headers(token: &SecretString, body: bool) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Ok(mut value) = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret())) {
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    if body {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    headers
}

/// `?a=b&c=d`, encoded; empty without parameters.
fn query_string(parameters: &[(&str, &str)]) -> String {
    if parameters.is_empty() {
        return String::new();
    }
    let pairs: Vec<_> =
        parameters.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
    format!("?{}", pairs.join("&"))
}

/// Percent-encodes one path segment or query part.
fn encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
