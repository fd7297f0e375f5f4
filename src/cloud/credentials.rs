//! Credentials for Amazon (`surfaces.md` 2.4): fixed ones, else the chain of environment, container
//! and web identity. Instance metadata is not asked.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, Url};
use secrecy::SecretString;
use serde::Deserialize;
use tokio::sync::Mutex;

use super::unlimited;
use crate::clock::{Clock, Millis, parse_rfc3339};
use crate::config::model::{AwsCredentials, SqsQueue};
use crate::config::value::Secret;
use crate::remote::{Call, Remote, Request};

/// Temporary ones are renewed so long before they expire.
const EARLY: Millis = 5 * 60 * 1000;
const TIMEOUT: Duration = Duration::from_secs(5);
/// The endpoint of a container that has only a path.
const CONTAINER: &str = "http://169.254.170.2";
/// Hosts of containers that may be asked without TLS; loopback beside these.
const CONTAINERS: [&str; 3] = ["169.254.170.2", "169.254.170.23", "fd00:ec2::23"];

/// What a request is signed with.
#[derive(Clone, Debug)]
pub struct Keys {
    pub id: String,
    pub secret: SecretString,
    pub session: Option<SecretString>,
    /// `None` = never.
    pub expires: Option<Millis>,
}

/// Where they come from, and those that are valid; one caller fetches for all.
pub struct Chain {
    source: Source,
    remote: Remote,
    clock: Clock,
    held: Mutex<Option<Keys>>,
}

enum Source {
    Fixed { id: String, secret: Secret },
    Environment(Keys),
    Container { url: String, token: Option<String>, token_file: Option<String> },
    WebIdentity { url: String, token_file: String, role: String, session: String },
}

impl Chain {
    /// Picks the source; nothing is read yet. `environment` holds the variables of the chain.
    ///
    /// # Errors
    /// A sentence: there are no credentials, or they are to be fetched from where none may be.
    pub fn new(queue: &SqsQueue, environment: &BTreeMap<String, String>, clock: &Clock) -> Result<Self, String> {
        let source = source(queue, environment)?;
        let remote = Remote::new("The source of Amazon's credentials", TIMEOUT, unlimited(4, clock), |_| false);
        let remote = remote.map_err(|error| format!("no HTTP client can be built: {error}"))?;
        Ok(Self { source, remote, clock: clock.clone(), held: Mutex::default() })
    }

    /// Credentials that are valid for a while.
    ///
    /// # Errors
    /// Why there are none, in a sentence without any part of them.
    pub async fn keys(&self) -> Result<Keys, String> {
        let mut held = self.held.lock().await;
        let is_valid = |keys: &&Keys| keys.expires.is_none_or(|at| self.clock.now() < at - EARLY);
        if let Some(keys) = held.as_ref().filter(is_valid) {
            return Ok(keys.clone());
        }
        let keys = self.fetch().await?;
        *held = Some(keys.clone());
        Ok(keys)
    }

    /// Amazon refused these: whoever comes next fetches new ones.
    pub async fn refused(&self, keys: &Keys) {
        let mut held = self.held.lock().await;
        if held.as_ref().is_some_and(|held| held.id == keys.id && held.expires == keys.expires) {
            *held = None;
            if let Source::Fixed { secret, .. } = &self.source {
                // A command is run again; whether that helps shows with the next request.
                let _ = secret.read_again().await;
            }
        }
    }

    pub fn hang_up(&self) {
        self.remote.hang_up();
    }

    async fn fetch(&self) -> Result<Keys, String> {
        match &self.source {
            Source::Fixed { id, secret } => {
                let secret = secret.read().await.map_err(|problem| format!("the secret cannot be read: {problem}"))?;
                Ok(Keys { id: id.clone(), secret, session: None, expires: None })
            }
            Source::Environment(keys) => Ok(keys.clone()),
            Source::Container { url, token, token_file } => {
                let token = match token_file {
                    Some(file) => Some(read(file).await?),
                    None => token.clone(),
                };
                self.of_container(url, token).await
            }
            Source::WebIdentity { url, token_file, role, session } => {
                let token = read(token_file).await?;
                self.of_web_identity(url, &token, role, session).await
            }
        }
    }

    async fn of_container(&self, url: &str, token: Option<String>) -> Result<Keys, String> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Given {
            access_key_id: String,
            secret_access_key: SecretString,
            token: Option<SecretString>,
            expiration: Option<String>,
        }
        let mut headers = HeaderMap::new();
        if let Some(token) = token {
            let value = HeaderValue::from_str(&token).map_err(|_| "the container's token is no header".to_owned())?;
            headers.insert(AUTHORIZATION, value);
        }
        let body = self.ask("GET credentials of the container", Method::GET, url, headers, None).await?;
        let given: Given = serde_json::from_slice(&body).map_err(|_| "the container answered no credentials")?;
        let expires = given.expiration.as_deref().and_then(parse_rfc3339);
        Ok(Keys { id: given.access_key_id, secret: given.secret_access_key, session: given.token, expires })
    }

    async fn of_web_identity(&self, url: &str, token: &str, role: &str, session: &str) -> Result<Keys, String> {
        let written = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let form = format!(
            "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn={}&RoleSessionName={}&WebIdentityToken={}",
            written(role),
            written(session),
            written(token)
        );
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        let operation = "AssumeRoleWithWebIdentity";
        let body = self.ask(operation, Method::POST, url, headers, Some(form.into_bytes())).await?;
        let text = String::from_utf8_lossy(&body);
        // None of these holds a character that XML would write in another way.
        let member = |name: &str| {
            let (_, rest) = text.split_once(&format!("<{name}>"))?;
            rest.split_once(&format!("</{name}>")).map(|(value, _)| value.trim().to_owned())
        };
        let keys = || {
            Some(Keys {
                id: member("AccessKeyId")?,
                secret: member("SecretAccessKey")?.into(),
                session: Some(member("SessionToken")?.into()),
                expires: Some(parse_rfc3339(&member("Expiration")?)?),
            })
        };
        keys().ok_or_else(|| "STS answered no credentials".into())
    }

    async fn ask(
        &self,
        operation: &'static str,
        method: Method,
        url: &str,
        headers: HeaderMap,
        body: Option<Vec<u8>>,
    ) -> Result<Vec<u8>, String> {
        let call = Call { lane: "intake".into(), correlation: String::new() };
        let request = Request { operation, method, url: url.to_owned(), headers, body, write: false, call: &call };
        let answer = self.remote.send(request).await.map_err(|error| error.sentence)?;
        match answer.status.as_u16() {
            200 => Ok(answer.body),
            status => Err(format!("{operation} was answered with {status}")),
        }
    }
}

fn source(queue: &SqsQueue, environment: &BTreeMap<String, String>) -> Result<Source, String> {
    if let (Some(id), Some(secret)) = (&queue.access_key_id, &queue.secret_access_key) {
        return Ok(Source::Fixed { id: id.clone(), secret: secret.clone() });
    }
    let wanted = |part| queue.credentials == AwsCredentials::Auto || queue.credentials == part;
    let set = |name: &str| environment.get(name).cloned();
    if let (true, Some(id), Some(secret)) =
        (wanted(AwsCredentials::Environment), set("AWS_ACCESS_KEY_ID"), set("AWS_SECRET_ACCESS_KEY"))
    {
        let session = set("AWS_SESSION_TOKEN").map(Into::into);
        return Ok(Source::Environment(Keys { id, secret: secret.into(), session, expires: None }));
    }
    if wanted(AwsCredentials::Container) {
        let relative = set("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI").map(|path| format!("{CONTAINER}{path}"));
        if let Some(url) = relative.or_else(|| set("AWS_CONTAINER_CREDENTIALS_FULL_URI")) {
            if !may_be_asked(&url) {
                return Err(format!("{url} is no place from which credentials are taken"));
            }
            let (token, token_file) =
                (set("AWS_CONTAINER_AUTHORIZATION_TOKEN"), set("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"));
            return Ok(Source::Container { url, token, token_file });
        }
    }
    if let (true, Some(token_file), Some(role)) =
        (wanted(AwsCredentials::WebIdentity), set("AWS_WEB_IDENTITY_TOKEN_FILE"), set("AWS_ROLE_ARN"))
    {
        let region = queue.region().unwrap_or_default();
        let suffix = if region.starts_with("cn-") { ".cn" } else { "" };
        let url = queue.sts_endpoint.clone();
        let url = url.unwrap_or_else(|| format!("https://sts.{region}.amazonaws.com{suffix}/"));
        let session = set("AWS_ROLE_SESSION_NAME").unwrap_or_else(|| "fluent-connector".into());
        return Ok(Source::WebIdentity { url, token_file, role, session });
    }
    Err("there are no credentials: neither access_key_id nor the environment, a container or a web identity".into())
}

/// Only by https, or at the places where containers have it (`surfaces.md` 2.4).
fn may_be_asked(url: &str) -> bool {
    let Ok(url) = Url::parse(url) else { return false };
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let is_loopback = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    url.scheme() == "https" || (url.scheme() == "http" && (is_loopback || CONTAINERS.contains(&host)))
}

async fn read(file: &str) -> Result<String, String> {
    let text = tokio::fs::read_to_string(file).await;
    text.map(|text| text.trim().to_owned()).map_err(|error| format!("{file} cannot be read: {error}"))
}
