//! The daemon as a verb sees it: the admin API over the admin socket, or over the network with a token.

use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::Arguments;
use super::refusal::{Code, Refusal};
use crate::config::value::Secret;
use crate::config::{Sources, load};
use crate::remote;

/// An answer that takes longer is not waited for; an export may take its time.
const PATIENCE: Duration = Duration::from_secs(30);

/// The daemon.
pub struct Client {
    http: reqwest::Client,
    base: Url,
    token: Option<SecretString>,
    /// What it is called in sentences.
    name: String,
}

impl Client {
    /// Finds out where the daemon is; nothing is sent yet.
    ///
    /// # Errors
    /// A URL that is none, a token that cannot be read, a configuration that names no socket.
    pub async fn new(arguments: &Arguments) -> Result<Self, Refusal> {
        let unbuilt = |error: reqwest::Error| Refusal::failed(format!("No HTTP client: {error}."));
        let reach = &arguments.reach;
        let Some(url) = &reach.url else {
            let socket = socket(arguments)?;
            let http = remote::unix_client(&socket).map_err(unbuilt)?;
            let name = socket.display().to_string();
            return Ok(Self { http, base: parsed("http://localhost/")?, token: None, name });
        };
        let token = Some(token(reach.token_file.as_deref()).await?);
        let http = remote::http_client().map_err(unbuilt)?;
        let base = parsed(&format!("{}/", url.trim_end_matches('/')))?;
        Ok(Self { http, base, token, name: url.clone() })
    }

    /// `GET`; an answer that is no success is a refusal.
    pub async fn read(&self, path: &[&str], query: &[(&str, String)]) -> Result<Value, Refusal> {
        document(self.send(self.request(Method::GET, path, query).timeout(PATIENCE)).await?).await
    }

    /// `POST`
    pub async fn post(&self, path: &[&str], body: Option<&Value>) -> Result<Value, Refusal> {
        let request = self.request(Method::POST, path, &[]).timeout(PATIENCE);
        let request = if let Some(body) = body { request.json(body) } else { request };
        document(self.send(request).await?).await
    }

    /// `PUT`
    pub async fn put(&self, path: &[&str], body: &Value) -> Result<Value, Refusal> {
        document(self.send(self.request(Method::PUT, path, &[]).timeout(PATIENCE).json(body)).await?).await
    }

    /// `DELETE`
    pub async fn delete(&self, path: &[&str]) -> Result<(), Refusal> {
        document(self.send(self.request(Method::DELETE, path, &[]).timeout(PATIENCE)).await?).await.map(|_| ())
    }

    /// `GET`, whose answer is read piece by piece.
    pub async fn stream(&self, path: &[&str], query: &[(&str, String)]) -> Result<Response, Refusal> {
        let response = self.send(self.request(Method::GET, path, query)).await?;
        match response.status().is_success() {
            true => Ok(response),
            false => Err(document(response).await.err().unwrap_or_else(|| Refusal::failed("No export came."))),
        }
    }

    /// `GET`, whatever the status of the answer.
    pub async fn ask(&self, path: &[&str]) -> Result<(StatusCode, String), Refusal> {
        let response = self.send(self.request(Method::GET, path, &[]).timeout(PATIENCE)).await?;
        let status = response.status();
        Ok((status, response.text().await.map_err(broken)?))
    }

    fn request(&self, method: Method, path: &[&str], query: &[(&str, String)]) -> RequestBuilder {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        let mut request = self.http.request(method, url);
        if !query.is_empty() {
            request = request.query(query);
        }
        match &self.token {
            Some(token) => request.bearer_auth(token.expose_secret()),
            None => request,
        }
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, Refusal> {
        request.send().await.map_err(|error| {
            let why = match (error.is_timeout(), innermost(&error)) {
                (true, _) => "it did not answer in time".into(),
                (false, why) => why,
            };
            let sentence = format!(
                "The daemon cannot be reached at {}: {why}. Start it with `fluent-connector run`, or name another place \
                 with --admin-socket or --url.",
                self.name
            );
            Refusal::new(Code::Daemon, sentence)
        })
    }
}

/// Named on the command line or by the environment, else configured, else the default.
fn socket(arguments: &Arguments) -> Result<PathBuf, Refusal> {
    if let Some(socket) = &arguments.reach.admin_socket {
        return Ok(socket.clone());
    }
    let loaded = match load(&arguments.sources()) {
        // Where nobody named a file, one that others may not read must not stop a client.
        Err(_) if arguments.config.is_empty() && arguments.profile.is_none() => load(&Sources::default())?,
        loaded => loaded?,
    };
    Ok(loaded.config.server.admin_socket)
}

async fn token(file: Option<&Path>) -> Result<SecretString, Refusal> {
    if let Some(file) = file {
        let read = Secret::File { file: file.to_owned() }.read().await;
        return read.map_err(|problem| Refusal::new(Code::Credentials, format!("The token: {problem}.")));
    }
    #[expect(clippy::disallowed_methods, reason = "a token of a person's shell is no configuration of the daemon")]
    let given = std::env::var("FLUENT_CONNECTOR_TOKEN").ok().filter(|token| !token.is_empty());
    given
        .map(SecretString::from)
        .ok_or_else(|| Refusal::usage("--url needs a token: give --token-file, or set FLUENT_CONNECTOR_TOKEN."))
}

fn parsed(url: &str) -> Result<Url, Refusal> {
    let parsed = Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    parsed.ok_or_else(|| Refusal::usage(format!("--url is {url:?}; write https://connector.example.com.")))
}

async fn document(response: Response) -> Result<Value, Refusal> {
    let status = response.status();
    let text = response.text().await.map_err(broken)?;
    let document = serde_json::from_str(&text).unwrap_or(Value::Null);
    match status.is_success() {
        true => Ok(document),
        false => Err(Refusal::answered(status.as_u16(), &document)),
    }
}

/// The answer began and did not end.
pub fn broken(error: reqwest::Error) -> Refusal {
    Refusal::failed(format!("The answer of the daemon broke off: {}.", innermost(&error)))
}

/// The cause that says most: "No such file or directory", "Connection refused".
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
