//! Client of the Fluent platform: GraphQL, where an error in a 200 is a failure
//! (platform-fluent.md 1, 2).

pub mod batch;
mod event;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::operation::{self, Operation};
use crate::clock::{Clock, Millis};
use crate::config::model::FluentRemote;
use crate::failure::Class;
use crate::fluent::model::{Connection, OrderHeader, OrderHeaders, OrderItem, VariantRefs};
use crate::remote::{Answer, Call, Coalescer, Credential, Error, Grant, Kind, Remote, Request, Terms};

/// Largest body we send; the platform refuses more than 2 MB with 413 (2.3).
const BODY: usize = 1900 * 1024;
/// Most headers or SKUs of one look-up.
const BATCH: usize = 50;
/// How long it is believed that a variant exists, in milliseconds (C 5.4); Fluent deletes none.
const BELIEVED: Millis = 600_000;
/// Most variants that are remembered.
const VARIANTS: usize = 100_000;
/// How long the name of a location is believed, in milliseconds (F 6.1).
const LOCATION: Millis = 3_600_000;

/// An account and retailer, seen on behalf of one call. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    account: Arc<Account>,
    headers: Coalescer<(Call, String), OrderHeader>,
    variants: Coalescer<(Call, String), String>,
    call: Call,
}

struct Account {
    remote: Arc<Remote>,
    credential: Credential,
    root: String,
    retailer: u64,
    catalogue: String,
    /// `Date` of the last answer; polls end their windows by it.
    date: AtomicI64,
    clock: Clock,
    /// Variants that exist, and until when that is believed.
    known: Mutex<HashMap<String, Millis>>,
    /// Names of locations by ref, with the time until which they are believed; `None` = it has none.
    locations: Mutex<HashMap<String, (Millis, Option<String>)>>,
    /// Texts of operations whose pages had to become smaller.
    smaller: Mutex<HashMap<&'static str, Arc<str>>>,
}

impl Client {
    /// Prepares an account; nothing is sent yet.
    ///
    /// # Errors
    /// When the HTTP client cannot be built.
    pub fn new(config: &FluentRemote, terms: Terms) -> anyhow::Result<Self> {
        let (clock, now) = (terms.clock.clone(), terms.clock.clone());
        let remote = Arc::new(Remote::new("Fluent", config.timeout.0, terms, is_too_fast)?);
        let (asking, login) = (remote.clone(), config.clone());
        let credential = Credential::new(clock, move || grant(asking.clone(), login.clone()).boxed());
        let account = Arc::new(Account {
            remote,
            credential,
            root: config.base_url(),
            retailer: config.retailer_id,
            catalogue: config.product_catalogue.reference.clone(),
            date: AtomicI64::new(0),
            clock: now,
            known: Mutex::default(),
            locations: Mutex::default(),
            smaller: Mutex::default(),
        });
        let (reading, looking) = (account.clone(), account.clone());
        let call = Call { lane: "order".into(), correlation: String::new() };
        Ok(Self {
            account,
            headers: Coalescer::new(BATCH, move |keys| reading.clone().order_headers(keys).boxed()),
            variants: Coalescer::new(BATCH, move |keys| looking.clone().variant_refs(keys).boxed()),
            call,
        })
    }

    /// The same account on behalf of another call.
    pub fn on(&self, call: Call) -> Self {
        Self { call, ..self.clone() }
    }

    /// The way to the account: budget and breakers.
    pub fn remote(&self) -> &Remote {
        &self.account.remote
    }

    /// Runs a query or mutation.
    ///
    /// # Errors
    /// Any entry of `errors` fails it, even when data is present; a mutation without a usable
    /// answer has an unknown outcome.
    pub async fn run<T: DeserializeOwned>(
        &self,
        operation: &Operation,
        variables: impl Serialize + Send,
    ) -> Result<T, Error> {
        self.account.run(&self.call, operation, variables).await
    }

    /// Our retailer's id.
    pub fn retailer(&self) -> u64 {
        self.account.retailer
    }

    /// Which of these locations are not known, or were asked for too long ago.
    pub(super) fn unknown_locations(&self, refs: &[String]) -> Vec<String> {
        let (now, known) = (self.account.clock.now(), lock(&self.account.locations));
        let is_known = |reference: &&String| known.get(*reference).is_some_and(|(until, _)| now < *until);
        refs.iter().filter(|reference| !is_known(reference)).cloned().collect()
    }

    /// Believes these names for an hour (F 6.1), also that those without a name have none.
    pub(super) fn keep_locations(&self, asked: Vec<String>, mut names: BTreeMap<String, Option<String>>) {
        let until = self.account.clock.now() + LOCATION;
        let rows = asked.into_iter().map(|reference| {
            let name = names.remove(&reference).flatten();
            (reference, (until, name))
        });
        lock(&self.account.locations).extend(rows);
    }

    /// The names that are known.
    pub(super) fn known_locations(&self, refs: &[String]) -> BTreeMap<String, String> {
        let known = lock(&self.account.locations);
        let name = |reference: &String| Some((reference.clone(), known.get(reference)?.1.clone()?));
        refs.iter().filter_map(name).collect()
    }

    /// Header of an order by its ref; batched with others.
    ///
    /// # Errors
    /// As for [`Client::run`].
    pub async fn order_header(&self, reference: &str) -> Result<Option<OrderHeader>, Error> {
        // Batches are per lane: an order must not wait for the share of a bulk job.
        let call = Call { lane: self.call.lane.clone(), correlation: String::new() };
        self.headers.find((call, reference.to_owned())).await
    }

    /// Does a variant product with this ref exist? Batched with others; that it does is believed for ten
    /// minutes.
    ///
    /// # Errors
    /// As for [`Client::run`].
    pub async fn variant_exists(&self, sku: &str) -> Result<bool, Error> {
        let now = self.account.clock.now();
        if self.account.known().get(sku).is_some_and(|until| now < *until) {
            return Ok(true);
        }
        let call = Call { lane: self.call.lane.clone(), correlation: String::new() };
        let found = self.variants.find((call, sku.to_owned())).await?.is_some();
        if found {
            self.account.remember(sku, now);
        }
        Ok(found)
    }

    /// The items of an order after a cursor, or all of them; page by page.
    ///
    /// # Errors
    /// As for [`Client::run`]; a page that is announced but does not come is a failed read.
    pub async fn order_items(&self, id: &str, after: Option<&str>) -> Result<Vec<OrderItem>, Error> {
        #[derive(Deserialize)]
        struct Found {
            #[serde(rename = "orderById")]
            order: Option<Items>,
        }
        #[derive(Deserialize)]
        struct Items {
            items: Connection<OrderItem>,
        }
        let (mut items, mut after) = (Vec::new(), after.map(str::to_owned));
        loop {
            let found: Found = self.run(&operation::ORDER_ITEMS, json!({"id": id, "after": after})).await?;
            let Some(order) = found.order else { return Ok(items) };
            if order.items.is_broken() {
                let sentence = format!("Fluent announced more items of order {id} but sent none.");
                let kind = Kind::Temporary(Class::Server);
                return Err(Error { kind, status: 200, code: String::new(), sentence, after: None });
            }
            after = order.items.next().map(str::to_owned);
            items.extend(order.items.edges.into_iter().map(|edge| edge.node));
            if after.is_none() {
                return Ok(items);
            }
        }
    }

    /// Fluent's clock as of its last answer; asks for something small if it never answered yet.
    ///
    /// # Errors
    /// As for [`Client::run`].
    pub async fn now(&self) -> Result<Millis, Error> {
        let _: serde_json::Value = self.run(&operation::ME, json!({})).await?;
        Ok(self.account.date.load(Ordering::Relaxed))
    }
}

/// A request before it has a token.
struct Asked {
    name: &'static str,
    method: Method,
    path: String,
    body: Option<Vec<u8>>,
    write: bool,
}

impl Account {
    fn known(&self) -> MutexGuard<'_, HashMap<String, Millis>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, sku: &str, now: Millis) {
        let mut known = self.known();
        if known.len() >= VARIANTS {
            known.retain(|_, until| now < *until);
        }
        if known.len() < VARIANTS {
            known.insert(sku.to_owned(), now + BELIEVED);
        }
    }

    async fn order_headers(
        self: Arc<Self>,
        keys: Vec<(Call, String)>,
    ) -> Result<HashMap<(Call, String), OrderHeader>, Error> {
        let Some((call, _)) = keys.first().cloned() else { return Ok(HashMap::new()) };
        let refs: Vec<_> = keys.iter().map(|(_, reference)| reference).collect();
        let variables = json!({"refs": refs, "retailerId": [self.retailer], "after": null});
        let found: OrderHeaders = self.run(&call, &operation::ORDER_STATUSES, variables).await?;
        let mut headers = HashMap::new();
        for header in found.orders.edges.into_iter().map(|edge| edge.node) {
            for key in keys.iter().filter(|(_, reference)| Some(reference) == header.reference.as_ref()) {
                headers.insert(key.clone(), header.clone());
            }
        }
        Ok(headers)
    }

    async fn variant_refs(
        self: Arc<Self>,
        keys: Vec<(Call, String)>,
    ) -> Result<HashMap<(Call, String), String>, Error> {
        let Some((call, _)) = keys.first().cloned() else { return Ok(HashMap::new()) };
        let skus: Vec<_> = keys.iter().map(|(_, sku)| sku).collect();
        let variables = json!({"skus": skus, "catalogue": {"ref": self.catalogue}, "first": BATCH});
        let found: VariantRefs = self.run(&call, &operation::VARIANTS_BY_REF, variables).await?;
        let found = found.into_refs();
        Ok(keys.into_iter().filter(|(_, sku)| found.contains(sku)).map(|key| (key.clone(), key.1)).collect())
    }

    async fn run<T: DeserializeOwned>(
        &self,
        call: &Call,
        operation: &Operation,
        variables: impl Serialize,
    ) -> Result<T, Error> {
        #[derive(Serialize)]
        struct Body<'a, V> {
            query: &'a str,
            variables: V,
            #[serde(rename = "operationName")]
            operation_name: &'a str,
        }
        loop {
            let text = lock(&self.smaller).get(operation.name).cloned().unwrap_or_else(|| operation.text.into());
            let body = Body { query: &text, variables: &variables, operation_name: operation.name };
            let body = serde_json::to_vec(&body).map_err(|error| {
                refused(0, "", format!("The variables of {} cannot be written as JSON: {error}", operation.name))
            })?;
            if body.len() > BODY {
                return Err(refused(413, "", format!("{} is too large for one Fluent call.", operation.name)));
            }
            let asked = Asked {
                name: operation.name,
                method: Method::POST,
                path: "/graphql".into(),
                body: Some(body),
                write: operation.write,
            };
            let answer = self.send(call, asked).await?;
            match (judged(operation, &answer), operation::with_smaller_pages(&text)) {
                (Err(error), Some(smaller)) if error.code == "C0001E" && !operation.write => {
                    lock(&self.smaller).insert(operation.name, smaller.into());
                }
                (judged, _) => return judged,
            }
        }
    }

    /// Sends with a valid token; a refused token is replaced once.
    async fn send(&self, call: &Call, asked: Asked) -> Result<Answer, Error> {
        let mut renewed = false;
        loop {
            let token = self.credential.token().await?;
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            if let Ok(mut value) = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret())) {
                value.set_sensitive(true);
                headers.insert(AUTHORIZATION, value);
            }
            let request = Request {
                operation: asked.name,
                method: asked.method.clone(),
                url: format!("{}{}", self.root, asked.path),
                headers,
                body: asked.body.clone(),
                write: asked.write,
                call,
            };
            let answer = self.remote.send(request).await?;
            if let Some(date) = answer.date {
                self.date.store(date, Ordering::Relaxed);
            }
            let refused = answer.status == 401 || code_of(&answer).as_deref() == Some("S0040E");
            if refused && !renewed {
                self.credential.refused(&token).await;
                renewed = true;
                continue;
            }
            return Ok(answer);
        }
    }
}

/// Password grant (1).
async fn grant(remote: Arc<Remote>, config: FluentRemote) -> Result<Grant, Error> {
    #[derive(Deserialize)]
    struct Token {
        access_token: SecretString,
        expires_in: Option<u64>,
    }
    let operation = "POST /oauth/token";
    let setup = |sentence: String| Error {
        kind: Kind::Temporary(Class::Setup),
        status: 0,
        code: String::new(),
        sentence,
        after: None,
    };
    let password = config.password.read().await.map_err(|problem| setup(problem.to_string()))?;
    let secret = config.client_secret.read().await.map_err(|problem| setup(problem.to_string()))?;
    let form = [
        ("username", config.username.as_str()),
        ("password", password.expose_secret()),
        ("scope", "api"),
        ("client_id", config.client_id.as_str()),
        ("client_secret", secret.expose_secret()),
        ("grant_type", "password"),
    ];
    let encode =
        |text: &str| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
    let form: Vec<_> = form.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    if let Ok(account) = HeaderValue::from_str(&config.account) {
        headers.insert("fluent.account", account);
    }
    let call = Call { lane: "order".into(), correlation: String::new() };
    let request = Request {
        operation,
        method: Method::POST,
        url: format!("{}/oauth/token", config.base_url()),
        headers,
        body: Some(form.join("&").into_bytes()),
        write: false,
        call: &call,
    };
    let answer = remote.send(request).await?;
    if answer.status.is_success()
        && let Ok(token) = serde_json::from_slice::<Token>(&answer.body)
    {
        // No lifetime is published; the official client falls back to an hour.
        return Ok(Grant {
            token: token.access_token,
            lifetime: Duration::from_secs(token.expires_in.unwrap_or(3600)),
        });
    }
    if answer.status.is_success() {
        let sentence = format!("Fluent answered {operation} with something unreadable.");
        return Err(Error { kind: Kind::Temporary(Class::Server), ..setup(sentence) });
    }
    let class = if answer.status.is_server_error() { Class::Server } else { Class::Unauthorized };
    Err(Error {
        kind: Kind::Temporary(class),
        status: answer.status.as_u16(),
        code: String::new(),
        sentence: format!("Fluent does not log in {}: it answered {}.", config.username, answer.status.as_u16()),
        after: answer.retry_after,
    })
}

#[derive(Deserialize)]
struct Envelope<'a> {
    /// Read only once there are no errors: an error nulls the field that it belongs to.
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(default)]
    errors: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    message: String,
    extensions: Option<Extensions>,
    /// Plain REST errors carry the code here.
    #[serde(default)]
    code: Option<String>,
    /// Which field of the answer it is about, from the root.
    #[serde(default)]
    path: Vec<Value>,
}

#[derive(Deserialize)]
struct Extensions {
    code: Option<String>,
}

impl Entry {
    /// The root field that it is about.
    fn alias(&self) -> Option<&str> {
        self.path.first().and_then(Value::as_str)
    }

    /// The code, which some answers have only inside the message (2.4).
    fn code(&self) -> String {
        let stated = self.extensions.as_ref().and_then(|extensions| extensions.code.clone());
        let stated = stated.or_else(|| self.code.clone());
        stated
            .or_else(|| {
                self.message.split(|c: char| !c.is_ascii_alphanumeric()).find(|word| is_code(word)).map(Into::into)
            })
            .unwrap_or_default()
    }
}

fn is_code(word: &str) -> bool {
    let bytes = word.as_bytes();
    bytes.len() == 6
        && matches!(bytes[0], b'C' | b'S' | b'T')
        && bytes[1..5].iter().all(u8::is_ascii_digit)
        && matches!(bytes[5], b'E' | b'W')
}

fn code_of(answer: &Answer) -> Option<String> {
    let envelope: Envelope = serde_json::from_slice(&answer.body).ok()?;
    envelope.errors.first().map(Entry::code)
}

/// The rate limit as a code in an answer that is a success (2.4).
fn is_too_fast(answer: &Answer) -> bool {
    const CODE: &[u8] = b"C0011E";
    answer.body.windows(CODE.len()).any(|bytes| bytes == CODE) && code_of(answer).as_deref() == Some("C0011E")
}

/// Is there an answer of Fluent's GraphQL at all (2.4; F 1.7)?
fn standing(operation: &Operation, answer: &Answer) -> Result<(), Error> {
    let status = answer.status.as_u16();
    let lost = if operation.write { Class::UnknownOutcome } else { Class::Server };
    match status {
        200 => Ok(()),
        401 => Err(temporary(status, Class::Unauthorized, "Fluent refuses our token.".into(), None)),
        429 => {
            let after = answer.retry_after.or(Some(Duration::from_secs(60)));
            Err(temporary(status, Class::RateLimited, "Fluent asks us to slow down.".into(), after))
        }
        500.. => {
            let sentence = format!("Fluent answered {status} to {}.", operation.name);
            Err(temporary(status, lost, sentence, answer.retry_after))
        }
        _ => Err(refused(status, "", format!("Fluent answered {status} to {}.", operation.name))),
    }
}

fn temporary(status: u16, class: Class, sentence: String, after: Option<Duration>) -> Error {
    Error { kind: Kind::Temporary(class), status, code: String::new(), sentence, after }
}

/// An answer that does not tell whether a write was done.
fn lost(operation: &Operation, answer: &Answer, what: &str) -> Error {
    let class = if operation.write { Class::UnknownOutcome } else { Class::Server };
    temporary(answer.status.as_u16(), class, format!("Fluent answered {} {what}", operation.name), None)
}

/// Data and errors of an answer (2.4).
fn envelope<'a>(operation: &Operation, answer: &'a Answer) -> Result<Envelope<'a>, Error> {
    standing(operation, answer)?;
    serde_json::from_slice(&answer.body)
        .map_err(|error| lost(operation, answer, &format!("with something unreadable: {error}")))
}

/// What an answer means for the work (2.4; F 1.7).
fn judged<T: DeserializeOwned>(operation: &Operation, answer: &Answer) -> Result<T, Error> {
    let status = answer.status.as_u16();
    let envelope = envelope(operation, answer)?;
    if let Some(entry) = envelope.errors.first() {
        return Err(coded(operation, status, entry));
    }
    let Some(data) = envelope.data else {
        return Err(lost(operation, answer, "without data."));
    };
    serde_json::from_str(data.get())
        .map_err(|error| lost(operation, answer, &format!("with something unreadable: {error}")))
}

fn coded(operation: &Operation, status: u16, entry: &Entry) -> Error {
    let code = entry.code();
    let minute = Some(Duration::from_secs(60));
    let half = Some(Duration::from_secs(30));
    let (kind, after) = match code.as_str() {
        "C0011E" => (Kind::Temporary(Class::RateLimited), minute),
        "C0003E" => (Kind::Temporary(Class::Server), minute),
        "S0040E" => (Kind::Temporary(Class::Unauthorized), Some(Duration::from_secs(10))),
        code if code.starts_with(['S', 'T']) && operation.write => (Kind::Temporary(Class::UnknownOutcome), half),
        code if code.starts_with(['S', 'T']) => (Kind::Temporary(Class::Server), half),
        _ => (Kind::Refused, None),
    };
    let sentence = match code.as_str() {
        "C0020E" => format!("The Fluent user may not run {}. Give it the permission, then retry.", operation.field),
        "C0128E" => {
            format!(
                "Fluent has several products with the same ref: {} Remove the duplicate in Fluent, then retry.",
                ended(&entry.message)
            )
        }
        "C0141E" => {
            format!("Fluent says a text is too long: {} Shorten it or change the mapping.", ended(&entry.message))
        }
        "" => format!("Fluent refuses {}: {}", operation.name, entry.message),
        code => format!("Fluent refuses {} ({code}): {}", operation.name, entry.message),
    };
    Error { kind, status, code, sentence, after }
}

/// A message as a sentence.
fn ended(message: &str) -> String {
    let message = message.trim().trim_end_matches('.');
    format!("{message}.")
}

fn refused(status: u16, code: &str, sentence: String) -> Error {
    Error { kind: Kind::Refused, status, code: code.into(), sentence, after: None }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
