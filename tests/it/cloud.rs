//! Google and Amazon as far as their proofs go: published keys, certificates, identity tokens and
//! signed messages, on loopback (`simulation.clouds`); and a world whose notifications come by hand.
//!
//! The keys and certificates lie in `cloud/`: a root and an issuer of their own, and certificates for
//! SNS with one thing wrong in each but the first two. They are valid around the time of the stories.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use fluent_connector::clock::rfc3339;
use fluent_connector::store::{Filter, Row};
use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rsa::pkcs8::DecodePrivateKey;
use rsa::{Pkcs1v15Sign, RsaPrivateKey};
use serde_json::{Value, json};
use sha2::Digest;
use tokio::net::TcpListener;

use crate::caller::{Reply, Request as Asked};
use crate::database::Engine;
use crate::world::{START, Settings, World};

pub const GOOGLE: &str = "www.googleapis.com/oauth2/v3/certs";
pub const TOPIC: &str = "arn:aws:sns:eu-central-1:123456789012:ct";
const SNS: &str = "sns.eu-central-1.amazonaws.com";
const KEY: &[u8] = include_bytes!("cloud/key.der");
const OTHER_KEY: &[u8] = include_bytes!("cloud/other-key.der");

/// Certificates by the name of their file.
const CERTIFICATES: [(&str, &[u8]); 7] = [
    ("sns", include_bytes!("cloud/sns.pem")),
    ("chained", include_bytes!("cloud/chained.pem")),
    ("expired", include_bytes!("cloud/expired.pem")),
    ("early", include_bytes!("cloud/early.pem")),
    ("other-name", include_bytes!("cloud/other-name.pem")),
    ("other-root", include_bytes!("cloud/other-root.pem")),
    ("other-use", include_bytes!("cloud/other-use.pem")),
];

/// Who signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signer {
    Genuine,
    Stranger,
}

/// Both clouds.
pub struct Cloud {
    pub url: String,
    state: Arc<Pages>,
}

#[derive(Default)]
struct Pages {
    down: AtomicBool,
    /// Host and path → body.
    pages: Mutex<BTreeMap<String, Vec<u8>>>,
    /// Host, path and query, authorization and body of every request.
    asked: Mutex<Vec<String>>,
}

impl Cloud {
    pub async fn start() -> Self {
        let state = Arc::new(Pages::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = axum::Router::new().fallback(answer).with_state(state.clone());
        #[expect(clippy::disallowed_methods, reason = "the server of this story lives as long as the story")]
        tokio::spawn(axum::serve(listener, router).into_future());
        let cloud = Self { url, state };
        cloud.publish(&["key-1"]);
        cloud.put("root/root.der", include_bytes!("cloud/root.der"));
        cloud.put("crt.r2m01.amazontrust.com/r2m01.cer", include_bytes!("cloud/issuer.der"));
        cloud.put(&format!("{SNS}/"), b"<ConfirmSubscriptionResponse/>");
        for (name, pem) in CERTIFICATES {
            cloud.put(&format!("{SNS}/SimpleNotificationService-{name}.pem"), pem);
        }
        cloud
    }

    pub fn down(&self, down: bool) {
        self.state.down.store(down, Ordering::SeqCst);
    }

    /// The last request.
    pub fn last(&self) -> String {
        self.state.asked.lock().unwrap().last().cloned().unwrap_or_default()
    }

    /// How often pages whose name begins like this were asked for.
    pub fn asked(&self, page: &str) -> usize {
        self.state.asked.lock().unwrap().iter().filter(|asked| asked.starts_with(page)).count()
    }

    /// Publishes the genuine key under these names, and under no others.
    pub fn publish(&self, names: &[&str]) {
        let pair = RsaKeyPair::from_pkcs8(KEY).unwrap();
        let PublicKeyComponents::<Vec<u8>> { n, e } = pair.public().into();
        let (n, e) = (URL_SAFE_NO_PAD.encode(n), URL_SAFE_NO_PAD.encode(e));
        let key = |name: &&str| json!({"kty": "RSA", "alg": "RS256", "use": "sig", "kid": name, "n": n, "e": e});
        let keys: Vec<Value> = names.iter().map(key).collect();
        self.put(GOOGLE, json!({"keys": keys}).to_string().as_bytes());
    }

    pub fn put(&self, page: &str, body: &[u8]) {
        self.state.pages.lock().unwrap().insert(page.into(), body.into());
    }
}

async fn answer(State(state): State<Arc<Pages>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let page = head.uri.path().trim_start_matches('/').to_owned();
    let query = head.uri.query().map_or(String::new(), |query| format!("?{query}"));
    let authorization = head.headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let body = String::from_utf8_lossy(&body);
    state.asked.lock().unwrap().push(format!("{page}{query} {authorization} {body}"));
    if state.down.load(Ordering::SeqCst) {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    match state.pages.lock().unwrap().get(&page).cloned() {
        Some(body) => ([("cache-control", "public, max-age=1200")], body).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// `{"alg":"RS256","kid":"key-1"}`, as Google has it.
pub fn header() -> Value {
    json!({"alg": "RS256", "kid": "key-1", "typ": "JWT"})
}

/// A signed JWT of whatever is in it.
pub fn jwt(header: &Value, claims: &Value, signer: Signer) -> String {
    let part = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
    let signed = format!("{}.{}", part(header), part(claims));
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(sha256_with_rsa(signed.as_bytes(), signer)))
}

fn key(signer: Signer) -> &'static [u8] {
    if signer == Signer::Genuine { KEY } else { OTHER_KEY }
}

fn sha256_with_rsa(text: &[u8], signer: Signer) -> Vec<u8> {
    let pair = RsaKeyPair::from_pkcs8(key(signer)).unwrap();
    let mut signature = vec![0; pair.public().modulus_len()];
    pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text, &mut signature).unwrap();
    signature
}

/// A message of SNS around a notification, not signed yet.
pub fn envelope(message: &str) -> Value {
    json!({
        "Type": "Notification", "MessageId": "m-1", "TopicArn": TOPIC, "Message": message,
        "Timestamp": rfc3339(START), "SignatureVersion": "2",
        "SigningCertURL": format!("https://{SNS}/SimpleNotificationService-sns.pem"),
        "UnsubscribeURL": format!("https://{SNS}/?Action=Unsubscribe"),
    })
}

/// The same for a subscription that begins.
pub fn confirmation() -> Value {
    let mut confirmation = envelope("You have chosen to subscribe to the topic.");
    confirmation["Type"] = "SubscriptionConfirmation".into();
    confirmation["Token"] = "t-1".into();
    confirmation["SubscribeURL"] = format!("https://{SNS}/?Action=ConfirmSubscription&Token=t-1").into();
    confirmation
}

/// Signs a message of SNS as its version says.
pub fn signed(mut envelope: Value, signer: Signer) -> Value {
    let names: &[&str] = match envelope["Type"] == "Notification" {
        true => &["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"],
        false => &["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"],
    };
    let line = |name: &&str| Some(format!("{name}\n{}\n", envelope[*name].as_str()?));
    let text: String = names.iter().filter_map(line).collect();
    let signature = match envelope["SignatureVersion"] == "1" {
        // ring signs no SHA-1.
        true => {
            let key = RsaPrivateKey::from_pkcs8_der(key(signer)).unwrap();
            let digest = sha1_of(text.as_bytes());
            let padding = Pkcs1v15Sign { hash_len: Some(20), prefix: SHA1_PREFIX.into() };
            key.sign(padding, &digest).unwrap()
        }
        false => sha256_with_rsa(text.as_bytes(), signer),
    };
    envelope["Signature"] = STANDARD.encode(signature).into();
    envelope
}

/// DigestInfo of SHA-1 (RFC 8017 9.2).
const SHA1_PREFIX: [u8; 15] =
    [0x30, 0x21, 0x30, 0x09, 0x06, 0x05, 0x2b, 0x0e, 0x03, 0x02, 0x1a, 0x05, 0x00, 0x04, 0x14];

fn sha1_of(text: &[u8]) -> Vec<u8> {
    ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, text).as_ref().into()
}

/// A CloudEvent around a notification.
pub fn cloud_event(notification: &Value) -> Value {
    json!({
        "specversion": "1.0", "id": "e-1", "type": "com.commercetools.order.message.OrderCreated",
        "source": "/demo-project/orders", "subject": notification["resource"]["id"],
        "time": notification["lastModifiedAt"], "sequence": "1", "data": notification,
    })
}

/// SHA-256 of a text, in hex.
pub fn sha256(text: &str) -> String {
    sha2::Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A world whose shop delivers nothing by itself, between the clouds.
pub struct Brought {
    pub world: World,
    pub cloud: Cloud,
    /// As messages name it.
    source: &'static str,
    /// Effects in Fluent before anything was brought: the catalogue.
    effects: usize,
}

impl Brought {
    /// `push` is what stands under `intake.push`.
    pub async fn by(engine: Engine, source: &'static str, push: &str) -> Option<Self> {
        let cloud = Cloud::start().await;
        let over = format!(
            "server: {{ public_url: \"https://connector.example.com\" }}\n\
             intake: {{ push: {{ {push} }} }}\n\
             simulation: {{ clouds: \"{}\" }}\n",
            cloud.url
        );
        let settings = Settings { without_push: true, over, ..Settings::default() };
        let world = World::with(engine, settings).await?;
        let effects = world.fluent.front().ledger().len();
        Some(Self { world, cloud, source, effects })
    }

    /// Places an order; answers its id and what the platform would notify.
    pub fn order(&self, number: &str) -> (String, Value) {
        let id = self.world.commercetools.order(Some(number)).place();
        let told = self.world.commercetools.notifications();
        let note = told.iter().find(|told| told["resource"]["id"] == id.as_str()).unwrap().clone();
        (id, note)
    }

    pub async fn send(&self, request: &Asked) -> Reply {
        request.send(&self.world.url(0)).await
    }

    /// Messages that came this way, newest first.
    pub async fn kept(&self) -> Vec<Row> {
        self.world.settle().await;
        let rows = self.world.messages(Filter::default()).await;
        rows.into_iter().filter(|row| row.source == self.source).collect()
    }

    pub fn orders_created(&self) -> usize {
        self.world.fluent_effects("createOrder", "ORDER").len()
    }

    /// Nothing was kept, and nothing happened in Fluent.
    pub async fn untouched(&self, what: &str) {
        assert_eq!(self.kept().await.len(), 0, "{what}");
        assert_eq!(self.world.fluent.front().ledger().len(), self.effects, "{what}");
        self.world.nothing_lost().await;
    }

    /// The newest message that came this way: state, reason, sentence.
    pub async fn newest(&self) -> (String, String, String) {
        let row = self.kept().await.remove(0);
        (row.state, row.reason.unwrap_or_default(), row.detail.unwrap_or_default())
    }
}

/// What is delivered though nobody can use it: what it is, the notification, and how its message ends.
pub fn useless(order: &Value) -> Vec<(&'static str, Value, (&'static str, &'static str))> {
    let with = |changes: Value| {
        let mut changed = order.clone();
        changed.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        changed
    };
    let test = json!({
        "notificationType": "ResourceCreated", "projectKey": order["projectKey"], "version": 1,
        "resource": {"typeId": "subscription", "id": "s-1"}, "modifiedAt": order["createdAt"],
    });
    let event = json!({
        "notificationType": "Event", "id": "ev-1", "type": "ImportUnresolved", "resourceType": "import-api",
        "data": {}, "createdAt": order["createdAt"],
    });
    let review = json!({"resource": {"typeId": "review", "id": "r-1"}, "type": "ReviewCreated"});
    vec![
        ("another project", with(json!({"projectKey": "another"})), ("parked", "rejected")),
        ("the test of a subscription", test, ("skipped", "ignored")),
        ("an event of the platform", event, ("skipped", "ignored")),
        ("an unknown type", with(json!({"type": "OrderSomethingNew"})), ("skipped", "ignored")),
        ("an unknown resource", with(review), ("skipped", "ignored")),
        ("no notification", json!({"hello": "world"}), ("parked", "unreadable")),
        ("a text", json!("hello"), ("parked", "unreadable")),
    ]
}
