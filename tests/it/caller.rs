//! Somebody who talks HTTP to the daemon, byte by byte. Whatever comes back must have the form that
//! every answer has (`surfaces.md` 2.1), so each story checks that too.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A request; names of headers go out as they are written here.
#[derive(Clone, Debug)]
pub struct Request {
    method: &'static str,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    /// Announced instead of the real length.
    length: Option<usize>,
}

/// A request that is under way.
pub struct Held {
    request: Request,
    stream: TcpStream,
    last: u8,
}

/// What came back.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    headers: BTreeMap<String, String>,
    /// Null if it is no JSON.
    pub body: Value,
}

impl Request {
    /// A POST of JSON.
    pub fn post(path: impl Into<String>, body: impl Into<Vec<u8>>) -> Self {
        Self::new("POST", path).body(body).header("Content-Type", "application/json")
    }

    pub fn new(method: &'static str, path: impl Into<String>) -> Self {
        Self { method, path: path.into(), headers: Vec::new(), body: Vec::new(), length: None }
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Adds a header, also one that is there already.
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Takes a header away.
    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(had, _)| !had.eq_ignore_ascii_case(name));
        self
    }

    /// Sets a header, whatever it was.
    pub fn with(self, name: &str, value: impl Into<String>) -> Self {
        self.without(name).header(name, value)
    }

    pub fn bearer(self, token: &str) -> Self {
        self.with("Authorization", format!("Bearer {token}"))
    }

    /// Announces more bytes than will ever come.
    pub fn announcing(mut self, length: usize) -> Self {
        self.length = Some(length);
        self
    }

    /// Sends it to `http://host:port`. Fails if nothing comes back within 20 s.
    pub async fn send(&self, url: &str) -> Reply {
        let talk = tokio::time::timeout(Duration::from_secs(20), self.exchange(url));
        let answer = talk.await.unwrap_or_else(|_| panic!("no answer to {} {}", self.method, self.path));
        let reply = Reply::read(&answer);
        reply.check(self);
        reply
    }

    /// Sends all but the last byte of the body.
    pub async fn begin(&self, url: &str) -> Held {
        let host = url.strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(host).await.unwrap();
        let mut bytes = self.bytes(host);
        let last = bytes.pop().unwrap();
        stream.write_all(&bytes).await.unwrap();
        Held { request: self.clone(), stream, last }
    }

    async fn exchange(&self, url: &str) -> Vec<u8> {
        let host = url.strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(host).await.unwrap();
        // A server that has seen enough may close before it has read all; its answer counts.
        let _ = stream.write_all(&self.bytes(host)).await;
        read(&mut stream).await
    }

    fn bytes(&self, host: &str) -> Vec<u8> {
        let length = self.length.unwrap_or(self.body.len());
        let mut head = format!("{} {} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n", self.method, self.path);
        head += &format!("Content-Length: {length}\r\n");
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += "\r\n";
        let mut bytes = head.into_bytes();
        bytes.extend(&self.body);
        bytes
    }
}

impl Held {
    /// Sends the last byte.
    pub async fn finish(mut self) -> Reply {
        self.stream.write_all(&[self.last]).await.unwrap();
        let reply = Reply::read(&read(&mut self.stream).await);
        reply.check(&self.request);
        reply
    }
}

async fn read(stream: &mut TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    let end = stream.read_to_end(&mut answer).await;
    assert!(!answer.is_empty(), "no answer: {end:?}");
    answer
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// Status and name of the problem.
    pub fn problem(&self) -> (u16, &str) {
        let kind = self.body["type"].as_str().unwrap_or_default();
        (self.status, kind.strip_prefix("urn:fluent-connector:problem:").unwrap_or(kind))
    }

    fn read(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no HTTP: {text:?}"));
        let (line, headers) = head.split_once("\r\n").unwrap_or((head, ""));
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let pairs = headers.lines().filter_map(|line| line.split_once(": "));
        Self {
            status: status.unwrap_or_else(|| panic!("no HTTP: {line:?}")),
            headers: pairs.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect(),
            body: serde_json::from_str(body).unwrap_or_default(),
        }
    }

    fn check(&self, request: &Request) {
        let id = self.header("x-request-id").unwrap_or_else(|| panic!("no X-Request-Id: {self:?}"));
        assert_eq!(self.header("x-content-type-options"), Some("nosniff"), "{self:?}");
        assert_eq!(self.header("referrer-policy"), Some("no-referrer"), "{self:?}");
        if request.path.starts_with("/api") {
            assert_eq!(self.header("cache-control"), Some("no-store"), "{self:?}");
        }
        if self.status < 400 || request.path == "/readyz" {
            return;
        }
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        for member in ["type", "title", "detail", "instance"] {
            assert!(self.body[member].as_str().is_some_and(|text| !text.is_empty()), "{member} of {self:?}");
        }
        assert_eq!(self.body["status"], self.status);
        assert_eq!(self.body["request_id"], id);
        let needed = match self.status {
            401 => "www-authenticate",
            405 => "allow",
            429 | 503 => "retry-after",
            _ => return,
        };
        assert!(self.header(needed).is_some(), "no {needed}: {self:?}");
    }
}
