//! Who asks, and what they may do (`surfaces.md` 3).

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};

use axum::extract::Request;
use axum::extract::connect_info::Connected;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::serve::IncomingStream;
use futures_util::FutureExt;
use percent_encoding::percent_decode_str;
use tokio::net::{TcpListener, UnixListener};

use super::Surface;
use super::answer::Problem;
use super::closing::Door;
use crate::clock::Millis;
use crate::config::value::Rate;
use crate::store::{Token, Urgency, token};

/// Through which door a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// The network: a token is needed.
    Network,
    /// The admin socket: its file mode is the access control, the peer may do everything.
    Admin,
}

/// The other end of the connection; `None` on the admin socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Peer(pub Option<IpAddr>);

/// An authenticated peer.
#[derive(Clone, Debug)]
pub struct Actor {
    /// `token <name>` or `admin socket`; for rows and logs.
    pub name: String,
    scopes: Vec<String>,
    connections: Vec<String>,
}

impl Actor {
    /// May this peer do that?
    ///
    /// # Errors
    /// 403 naming the missing scope.
    pub fn may(&self, scope: &str) -> Result<(), Problem> {
        match self.scopes.iter().any(|held| held == scope) {
            true => Ok(()),
            false => Err(Problem::forbidden(format!("This token lacks the scope {scope}."))),
        }
    }

    /// May this peer see that connection? A foreign one does not exist for it.
    pub fn sees(&self, connection: &str) -> bool {
        self.connections.iter().any(|name| name == "*" || name == connection)
    }

    /// The connections this peer sees; `None` = all.
    pub fn among(&self) -> Option<Vec<String>> {
        (!self.sees("*")).then(|| self.connections.clone())
    }

    /// Does this peer hold every one of these scopes?
    pub fn holds(&self, scopes: &[String]) -> bool {
        scopes.iter().all(|scope| self.scopes.contains(scope))
    }
}

/// Finds out who asks.
///
/// # Errors
/// 401 without a valid token, 429 after too many of these from one address.
pub async fn actor(surface: &Surface, access: Access, peer: Peer, headers: &HeaderMap) -> Result<Actor, Problem> {
    if access == Access::Admin {
        let scopes = token::every_scope().map(str::to_owned).collect();
        return Ok(Actor { name: "admin socket".into(), scopes, connections: vec!["*".into()] });
    }
    let presented = bearer(headers);
    identified(surface, peer, presented).await
}

/// The same for those who only send: some of them can set nothing but `x-api-key`.
///
/// # Errors
/// As [`actor`].
pub async fn sender(surface: &Surface, access: Access, peer: Peer, headers: &HeaderMap) -> Result<Actor, Problem> {
    match headers.contains_key(AUTHORIZATION) {
        true => actor(surface, access, peer, headers).await,
        false => sender_by(surface, access, peer, headers, "x-api-key").await,
    }
}

/// The same for those who send a token in one header and in no other.
///
/// # Errors
/// As [`actor`].
pub async fn sender_by(
    surface: &Surface,
    access: Access,
    peer: Peer,
    headers: &HeaderMap,
    header: &str,
) -> Result<Actor, Problem> {
    if access == Access::Admin || header.eq_ignore_ascii_case(AUTHORIZATION.as_str()) {
        return actor(surface, access, peer, headers).await;
    }
    identified(surface, peer, headers.get(header).and_then(|key| key.to_str().ok())).await
}

/// The token of `Authorization: Bearer`; schemes have no case (RFC 9110 11.1).
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}

async fn identified(surface: &Surface, peer: Peer, text: Option<&str>) -> Result<Actor, Problem> {
    let presented = text.and_then(|text| token::present(text.trim()));
    let refusal = || Problem::unauthenticated("A valid API token is needed: Authorization: Bearer flc_….");
    let Some(presented) = presented else { return Err(surface.0.failures.count(surface, peer, refusal())) };
    let store = surface.queue().app.store();
    let found = store.read().await?.token(presented.id).await?;
    let now = surface.queue().app.clock().now();
    // An unknown id does the same work as a known one.
    let matches = presented.matches(found.as_ref().map_or(&[0; 32], |token| &token.hash));
    match found.filter(|token| matches && token.valid(now)) {
        Some(token) => {
            touch(surface, &token, now).await?;
            let name = format!("token {}", token.name);
            Ok(Actor { name, scopes: token.scopes.0, connections: token.connections.0 })
        }
        None => Err(surface.0.failures.count(surface, peer, refusal())),
    }
}

/// Refuses a token in a query string, where it would end up in the logs of every proxy, whatever else
/// the request says.
pub async fn no_token_in_query(request: Request, next: Next) -> Response {
    const NAMES: [&str; 5] = ["access_token", "token", "api_key", "apikey", "x-api-key"];
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let carries = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        NAMES.contains(&decoded(name).to_ascii_lowercase().as_str()) || decoded(value).contains("flc_")
    };
    match request.uri().query().is_some_and(|query| query.split('&').any(carries)) {
        true => Problem::malformed("A token in a query string is not taken; send it in a header.").into_response(),
        false => next.run(request).await,
    }
}

async fn touch(surface: &Surface, token: &Token, now: Millis) -> Result<(), Problem> {
    if token.last_used.is_none_or(|used| now - used >= 60_000) {
        let id = token.id.clone();
        let store = surface.queue().app.store();
        let touched = store.write(Urgency::Bulk, move |tx| async move { tx.touch_token(&id, now).await }.boxed()).await;
        match touched {
            Ok(()) => {}
            // Whoever wants to see what is wrong with the database must be let in.
            Err(error) if error.is_trouble() => tracing::debug!("the use of a token could not be noted: {error}"),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Failed authentications per source address (`surfaces.md` 3.5). Only failures are counted and only
/// failures are refused: nobody can lock out a valid sender.
pub struct Failures {
    per_minute: f64,
    seen: Mutex<HashMap<Peer, Record>>,
}

/// What is known of one address.
#[derive(Default)]
struct Record {
    /// Start of the minute that is counted.
    since: Millis,
    count: u32,
    /// Refused until then …
    until: Millis,
    /// … for so long, in milliseconds.
    pause: Millis,
}

/// A count starts anew after this.
const MINUTE: Millis = 60_000;
/// Longest pause; whoever kept quiet for as long is a stranger again.
const LONGEST: Millis = 15 * MINUTE;
/// Addresses that are told apart; more share one count, so that memory stays bounded.
const ADDRESSES: usize = 10_000;

impl Failures {
    pub fn new(rate: Rate) -> Self {
        Self { per_minute: rate.0 * 60.0, seen: Mutex::default() }
    }

    /// Counts a failure; answers `refusal`, or 429 once there were too many within a minute. Each
    /// pause is twice as long as the one before.
    pub fn count(&self, surface: &Surface, peer: Peer, refusal: Problem) -> Problem {
        let now = surface.queue().app.clock().now();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.retain(|_, record| now - record.since < MINUTE || now < record.until + LONGEST);
        let peer = if seen.len() < ADDRESSES || seen.contains_key(&peer) { peer } else { Peer(None) };
        let record = seen.entry(peer).or_insert(Record { since: now, ..Record::default() });
        if now >= record.until {
            if now - record.since >= MINUTE {
                (record.since, record.count) = (now, 0);
            }
            record.count += 1;
            if record.count == 1 {
                tracing::warn!(source_ip = ?peer.0, "failed authentication");
            }
            if f64::from(record.count) <= self.per_minute {
                return refusal;
            }
            record.pause = (record.pause * 2).clamp(MINUTE, LONGEST);
            (record.until, record.count) = (now + record.pause, 0);
        }
        let seconds = (record.until - now).div_euclid(1000).max(1) as u64;
        Problem::rate_limited("Too many failed authentications from this address.").after(seconds)
    }
}

impl Connected<IncomingStream<'_, TcpListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, TcpListener>) -> Self {
        let address: &SocketAddr = stream.remote_addr();
        Peer(Some(address.ip()))
    }
}

impl Connected<IncomingStream<'_, Door<TcpListener>>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Door<TcpListener>>) -> Self {
        let address: &SocketAddr = stream.remote_addr();
        Peer(Some(address.ip()))
    }
}

impl Connected<IncomingStream<'_, Door<UnixListener>>> for Peer {
    fn connect_info(_: IncomingStream<'_, Door<UnixListener>>) -> Self {
        Peer(None)
    }
}

impl Connected<IncomingStream<'_, UnixListener>> for Peer {
    fn connect_info(_: IncomingStream<'_, UnixListener>) -> Self {
        Peer(None)
    }
}
