//! Client of Amazon SQS (AWS JSON protocol): receive, delete, hide. What is received stays in the
//! queue until it is deleted.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};
use serde::Deserialize;
use serde_json::{Value, json};

use super::credentials::Chain;
use super::signature::{Signed, sign};
use super::unlimited;
use crate::clock::Clock;
use crate::config::model::SqsQueue;
use crate::remote::{Call, Remote, Request};

const CONTENT: &str = "application/x-amz-json-1.0";
/// What an answer may take beyond the long poll.
const PATIENCE: Duration = Duration::from_secs(10);

/// One queue.
pub struct Sqs {
    remote: Remote,
    chain: Chain,
    clock: Clock,
    queue_url: String,
    endpoint: String,
    host: String,
    region: String,
}

/// A message of the queue.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Received {
    /// What this receipt of it is deleted by.
    pub receipt_handle: String,
    pub body: String,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// Network, 5xx, throttling.
    #[error("{0}")]
    Temporary(String),
    /// Ours are refused, or there are none.
    #[error("{0}")]
    Credentials(String),
    /// There is no such queue in this region.
    #[error("{0}")]
    NoQueue(String),
}

impl Sqs {
    /// Prepares a queue; nothing is sent yet.
    ///
    /// # Errors
    /// A sentence: no credentials, no region.
    pub fn new(queue: &SqsQueue, environment: &BTreeMap<String, String>, clock: &Clock) -> Result<Self, String> {
        let chain = Chain::new(queue, environment, clock)?;
        let at = queue.endpoint.as_ref().unwrap_or(&queue.queue_url);
        let url = Url::parse(at).map_err(|error| format!("{at} is no URL: {error}"))?;
        let host = match (url.host_str(), url.port()) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (Some(host), None) => host.to_owned(),
            (None, _) => return Err(format!("{at} has no host")),
        };
        // Each poller waits, deletes and extends.
        let terms = unlimited(queue.pollers as usize * 3, clock);
        let remote = Remote::new("Amazon SQS", queue.wait.0 + PATIENCE, terms, |_| false);
        Ok(Self {
            remote: remote.map_err(|error| format!("no HTTP client can be built: {error}"))?,
            chain,
            clock: clock.clone(),
            queue_url: queue.queue_url.clone(),
            endpoint: format!("{}://{host}/", url.scheme()),
            host,
            region: queue.region().ok_or("the region is not known")?.to_owned(),
        })
    }

    /// Waits up to `wait` for at most `most` messages, hidden from others for `visibility`.
    ///
    /// # Errors
    /// [`Trouble`].
    pub async fn receive(&self, wait: Duration, most: u32, visibility: Duration) -> Result<Vec<Received>, Trouble> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Answer {
            #[serde(default)]
            messages: Vec<Received>,
        }
        let asked = json!({
            "QueueUrl": self.queue_url, "MaxNumberOfMessages": most, "WaitTimeSeconds": wait.as_secs(),
            "VisibilityTimeout": visibility.as_secs(),
        });
        let answer = self.call("ReceiveMessage", asked).await?;
        let answer: Result<Answer, _> = serde_json::from_value(answer);
        Ok(answer
            .map_err(|error| Trouble::Temporary(format!("ReceiveMessage answered no messages: {error}")))?
            .messages)
    }

    /// Deletes messages; answers the receipts that were not.
    ///
    /// # Errors
    /// [`Trouble`].
    pub async fn delete(&self, receipts: Vec<String>) -> Result<Vec<String>, Trouble> {
        let entries = entries(&receipts, None);
        self.batch("DeleteMessageBatch", entries, receipts).await
    }

    /// Hides messages for so long from now on; answers the receipts that were not.
    ///
    /// # Errors
    /// [`Trouble`].
    pub async fn hide(&self, receipts: Vec<String>, visibility: Duration) -> Result<Vec<String>, Trouble> {
        let entries = entries(&receipts, Some(visibility.as_secs()));
        self.batch("ChangeMessageVisibilityBatch", entries, receipts).await
    }

    /// Ends every call and lets none begin.
    pub fn hang_up(&self) {
        self.remote.hang_up();
        self.chain.hang_up();
    }

    async fn batch(
        &self,
        operation: &'static str,
        entries: Vec<Value>,
        receipts: Vec<String>,
    ) -> Result<Vec<String>, Trouble> {
        let answer = self.call(operation, json!({"QueueUrl": self.queue_url, "Entries": entries})).await?;
        let succeeded = answer["Successful"].as_array().into_iter().flatten();
        let done: Vec<usize> = succeeded.filter_map(|entry| entry["Id"].as_str()?.parse().ok()).collect();
        let left = receipts.into_iter().enumerate().filter(|(n, _)| !done.contains(n));
        Ok(left.map(|(_, receipt)| receipt).collect())
    }

    async fn call(&self, operation: &'static str, body: Value) -> Result<Value, Trouble> {
        let keys = self.chain.keys().await.map_err(Trouble::Credentials)?;
        let (body, target) = (body.to_string().into_bytes(), format!("AmazonSQS.{operation}"));
        let named = [("content-type", CONTENT), ("x-amz-target", target.as_str())];
        let (host, region, at) = (&self.host, &self.region, self.clock.now());
        let signed = Signed { host, headers: &named, body: &body, region, service: "sqs", at };
        let mut headers = HeaderMap::new();
        let own = named.iter().map(|(name, value)| (*name, (*value).to_owned()));
        for (name, value) in own.chain(sign(signed, &keys)) {
            let value = HeaderValue::from_str(&value);
            headers.insert(
                HeaderName::from_static(name),
                value.map_err(|_| Trouble::Credentials("the credentials fit into no header".into()))?,
            );
        }
        let call = Call { lane: "intake".into(), correlation: String::new() };
        let request = Request {
            operation,
            method: Method::POST,
            url: self.endpoint.clone(),
            headers,
            body: Some(body),
            // Repeating any of them is harmless.
            write: false,
            call: &call,
        };
        let answer = self.remote.send(request).await.map_err(|error| Trouble::Temporary(error.sentence))?;
        if answer.status.is_success() {
            return serde_json::from_slice(&answer.body)
                .map_err(|error| Trouble::Temporary(format!("{operation} answered no JSON: {error}")));
        }
        let trouble = trouble(operation, answer.status.as_u16(), &answer.body);
        if matches!(trouble, Trouble::Credentials(_)) {
            self.chain.refused(&keys).await;
        }
        Err(trouble)
    }
}

fn entries(receipts: &[String], visibility: Option<u64>) -> Vec<Value> {
    let entry = |(n, receipt): (usize, &String)| {
        let mut entry = json!({"Id": n.to_string(), "ReceiptHandle": receipt});
        if let Some(seconds) = visibility {
            entry["VisibilityTimeout"] = seconds.into();
        }
        entry
    };
    receipts.iter().enumerate().map(entry).collect()
}

/// What an error means for whoever pulls (`surfaces.md` 2.4).
fn trouble(operation: &str, status: u16, body: &[u8]) -> Trouble {
    const CREDENTIALS: [&str; 8] = [
        "ExpiredToken",
        "InvalidClientTokenId",
        "UnrecognizedClientException",
        "InvalidSignatureException",
        "SignatureDoesNotMatch",
        "MissingAuthenticationToken",
        "InvalidAccessKeyId",
        "AccessDenied",
    ];
    let said: Value = serde_json::from_slice(body).unwrap_or_default();
    let code = said["__type"].as_str().unwrap_or_default();
    let code = code.rsplit('#').next().unwrap_or_default();
    let words = said["message"].as_str().or_else(|| said["Message"].as_str()).unwrap_or_default();
    let sentence = format!("Amazon SQS refuses {operation} with {status} {code}: {words}");
    match status {
        _ if code.contains("QueueDoesNotExist") || code.contains("NonExistentQueue") => Trouble::NoQueue(sentence),
        401 | 403 => Trouble::Credentials(sentence),
        _ if CREDENTIALS.iter().any(|known| code.starts_with(known)) => Trouble::Credentials(sentence),
        _ => Trouble::Temporary(sentence),
    }
}
