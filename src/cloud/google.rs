//! Identity tokens of Google, as Pub/Sub sends them with a push: a JWT signed with RS256 by one of
//! the published keys (`surfaces.md` 2.4, OpenID Connect Core 3.1.3.7).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::sync::Mutex;

use super::Untrusted;
use super::web::Web;
use crate::clock::{Clock, Millis};

/// Where the keys are published, as JWK.
const PUBLISHED: &str = "https://www.googleapis.com/oauth2/v3/certs";
const ISSUERS: [&str; 2] = ["https://accounts.google.com", "accounts.google.com"];
/// Clocks may differ by this much.
const LEEWAY: Millis = 60_000;
/// Between two looks for a key that nobody knows.
const UNKNOWN: Millis = 60_000;
/// How long the set is believed if its answer does not say.
const BELIEVED: Duration = Duration::from_secs(3600);
/// After a failure nobody is asked for so long, so that waiting senders do not queue up.
const QUIET: Millis = 1_000;

/// What the token must say.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    pub audience: &'a str,
    /// The service account of the subscription.
    pub email: &'a str,
}

/// The published keys, fetched once for all.
pub struct Keys {
    web: Arc<Web>,
    clock: Clock,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    keys: HashMap<String, Key>,
    until: Millis,
    /// When the set was fetched last.
    fetched: Option<Millis>,
    failed: Option<(Millis, String)>,
}

#[derive(Clone)]
struct Key {
    modulus: Vec<u8>,
    exponent: Vec<u8>,
}

/// The parts of a token.
struct Token<'t> {
    key: String,
    claims: Map<String, Value>,
    signed: &'t str,
    signature: Vec<u8>,
}

impl Keys {
    pub(super) fn new(web: Arc<Web>, clock: Clock) -> Self {
        Self { web, clock, held: Mutex::default() }
    }

    /// Did Google issue this token, for us, to the expected account, and is it valid now?
    ///
    /// # Errors
    /// [`Untrusted`] with the first thing that is wrong. Claims come before the signature, so that no
    /// stranger makes us fetch keys.
    pub async fn verify(&self, token: &str, expected: Expected<'_>) -> Result<(), Untrusted> {
        let token = Token::read(token).map_err(refused)?;
        token.claim(expected, self.clock.now()).map_err(refused)?;
        let key = self.key(&token.key).await?;
        let public = RsaPublicKeyComponents { n: &key.modulus, e: &key.exponent };
        let verified = public.verify(&RSA_PKCS1_2048_8192_SHA256, token.signed.as_bytes(), &token.signature);
        verified.map_err(|_| refused("The signature of the identity token does not hold."))
    }

    async fn key(&self, id: &str) -> Result<Key, Untrusted> {
        let mut held = self.held.lock().await;
        let now = self.clock.now();
        let is_new = held.fetched.is_none_or(|at| now - at >= UNKNOWN);
        if now >= held.until || (is_new && !held.keys.contains_key(id)) {
            if let Some((at, why)) = &held.failed
                && now - at < QUIET
            {
                return Err(Untrusted::NotNow(why.clone()));
            }
            match self.fetch(now).await {
                Ok(fetched) => *held = fetched,
                Err(why) => {
                    tracing::warn!("Google's keys cannot be fetched: {why}");
                    held.failed = Some((now, why.clone()));
                    return Err(Untrusted::NotNow(why));
                }
            }
        }
        let key = held.keys.get(id).cloned();
        key.ok_or_else(|| refused("The identity token is signed with a key that Google does not publish."))
    }

    async fn fetch(&self, now: Millis) -> Result<Held, String> {
        let answer = self.web.get("GET the keys of Google", PUBLISHED).await?;
        let keys = published(&answer.body).map_err(|error| format!("Google's keys are not readable: {error}"))?;
        let believed = answer.max_age.unwrap_or(BELIEVED).as_millis() as Millis;
        Ok(Held { keys, until: now + believed, fetched: Some(now), failed: None })
    }
}

fn published(body: &[u8]) -> Result<HashMap<String, Key>, serde_json::Error> {
    #[derive(Deserialize)]
    struct Published {
        keys: Vec<Jwk>,
    }
    #[derive(Deserialize)]
    struct Jwk {
        kty: String,
        kid: Option<String>,
        n: Option<String>,
        e: Option<String>,
    }
    let read = serde_json::from_slice::<Published>(body)?.keys.into_iter();
    let keys = read.filter(|key| key.kty == "RSA").filter_map(|key| {
        let modulus = URL_SAFE_NO_PAD.decode(key.n?).ok()?;
        let exponent = URL_SAFE_NO_PAD.decode(key.e?).ok()?;
        Some((key.kid?, Key { modulus, exponent }))
    });
    Ok(keys.collect())
}

impl<'t> Token<'t> {
    fn read(token: &'t str) -> Result<Self, &'static str> {
        let malformed = "The bearer token is no identity token.";
        let (signed, signature) = token.rsplit_once('.').ok_or(malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(malformed)?;
        let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| malformed);
        let object = |part: &str| -> Result<Map<String, Value>, &'static str> {
            serde_json::from_slice(&decoded(part)?).map_err(|_| malformed)
        };
        let header = object(header)?;
        // Whoever signs must not choose how: only what is published for this purpose counts.
        if header.get("alg").and_then(Value::as_str) != Some("RS256") || header.contains_key("crit") {
            return Err("The identity token is not signed with RS256.");
        }
        let key = header.get("kid").and_then(Value::as_str).ok_or("The identity token names no key.")?.to_owned();
        Ok(Self { key, claims: object(claims)?, signed, signature: decoded(signature)? })
    }

    fn claim(&self, expected: Expected<'_>, now: Millis) -> Result<(), &'static str> {
        let text = |name: &str| self.claims.get(name).and_then(Value::as_str);
        let instant = |name: &str| self.claims.get(name).and_then(Value::as_i64).map(|at| at.saturating_mul(1000));
        if !text("iss").is_some_and(|issuer| ISSUERS.contains(&issuer)) {
            return Err("The identity token is not issued by Google.");
        }
        if text("aud") != Some(expected.audience) {
            return Err("The identity token is for another audience.");
        }
        let is_verified = self.claims.get("email_verified") == Some(&Value::Bool(true));
        if text("email") != Some(expected.email) || !is_verified {
            return Err("The identity token is of another service account.");
        }
        if instant("exp").is_none_or(|at| at.saturating_add(LEEWAY) <= now) {
            return Err("The identity token has expired.");
        }
        if instant("iat").is_none_or(|at| at.saturating_sub(LEEWAY) > now) {
            return Err("The identity token is not valid yet.");
        }
        Ok(())
    }
}

fn refused(why: impl Into<String>) -> Untrusted {
    Untrusted::Refused(why.into())
}
