//! The one way to call out.
//!
//! A request carries the lane it belongs to and a correlation id; it waits for its share of the
//! credential's budget, is sent with a deadline, and its answer comes back whole. A remote that
//! fails is not asked at all for a while. What a status or a body means is the platform client's
//! business; what a broken connection means is decided here: a write that was sent without an
//! answer has an **unknown outcome** and must be looked up before it is repeated.

pub mod breaker;
mod budget;
mod coalescer;
mod credential;
mod gate;
mod limit;
mod turns;
#[cfg(test)]
mod virtual_time;

use std::fmt;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Method, StatusCode};
use tokio_util::sync::CancellationToken;

use crate::clock::{self, Clock, Millis};
use crate::failure::{Class, Failure};

use breaker::{Breaker, Position};
pub use budget::{Budget, Permit, Standing};
pub use coalescer::Coalescer;
pub use credential::{Credential, Grant};
pub use gate::{Gate, Stop};
pub use limit::{Learned, Rule, Verdict};
pub use turns::Limits;

/// On whose behalf a request is made.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Call {
    /// Lane of the message; decides the share of the budget.
    pub lane: String,
    /// Sent as `X-Correlation-ID` and written into every log line about it.
    pub correlation: String,
}

/// One credential on one platform: HTTP client, deadline, budget, breakers.
pub struct Remote {
    /// `commercetools` or `Fluent`; used in sentences and metrics.
    pub name: &'static str,
    http: reqwest::Client,
    timeout: Duration,
    budget: Budget,
    reads: Breaker,
    writes: Breaker,
    gate: Gate,
    clock: Clock,
    /// Does this answer say in its body that we are too fast?
    refuses: fn(&Answer) -> bool,
    hung_up: CancellationToken,
}

/// How a remote is treated.
pub struct Terms {
    /// Shared by all remotes with the same credential.
    pub budget: Budget,
    pub breaker: breaker::Rule,
    /// What every write passes; shared by the remotes of a connection.
    pub gate: Gate,
    pub clock: Clock,
}

/// What is sent.
pub struct Request<'a> {
    /// Name of the operation in sentences, logs and metrics.
    pub operation: &'static str,
    pub method: Method,
    pub url: String,
    pub headers: HeaderMap,
    pub body: Option<Vec<u8>>,
    /// Does it change something? Then a lost answer is an unknown outcome.
    pub write: bool,
    pub call: &'a Call,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub body: Vec<u8>,
    /// `Retry-After`, if it came in seconds or as a date.
    pub retry_after: Option<Duration>,
    /// The remote's clock (`Date` header).
    pub date: Option<Millis>,
    /// How long the answer may be kept (`Cache-Control: max-age`).
    pub max_age: Option<Duration>,
}

/// A call that did not succeed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{sentence}")]
pub struct Error {
    pub kind: Kind,
    /// HTTP status, 0 without an answer.
    pub status: u16,
    /// The platform's own code (`C0121E`, `DuplicateField`), empty if it gave none.
    pub code: String,
    /// What the platform said, or what happened, in one sentence.
    pub sentence: String,
    /// Not before; from `Retry-After` or the platform's rule.
    pub after: Option<Duration>,
}

/// Is it worth trying again?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Temporary(Class),
    /// The platform refuses; the same request will be refused again.
    Refused,
}

impl Remote {
    /// A remote with its own connections and breakers. `refuses` finds answers that are no 429 and
    /// say the same.
    ///
    /// # Errors
    /// When the HTTP client cannot be built (no trust store).
    pub fn new(
        name: &'static str,
        timeout: Duration,
        terms: Terms,
        refuses: fn(&Answer) -> bool,
    ) -> Result<Self, reqwest::Error> {
        let breaker = |kind| Breaker::new(format!("{name} ({kind})"), terms.breaker, terms.clock.clone());
        let (reads, writes) = (breaker("reads"), breaker("writes"));
        let (http, hung_up) = (http_client()?, CancellationToken::new());
        let Terms { budget, gate, clock, .. } = terms;
        Ok(Self { name, http, timeout, budget, reads, writes, gate, clock, refuses, hung_up })
    }

    /// Sends a request within the budget and returns the answer, whatever its status.
    ///
    /// # Errors
    /// Only when no answer came: [`Class::WritesStopped`] if a person stopped writes, [`Class::BreakerOpen`]
    /// if the remote is not to be asked, [`Class::Network`] if nothing was sent (or the request was a read),
    /// [`Class::UnknownOutcome`] if a write may have been done.
    pub async fn send(&self, request: Request<'_>) -> Result<Answer, Error> {
        let (operation, write) = (request.operation, request.write);
        let breaker = if write { &self.writes } else { &self.reads };
        if let Some(stop) = self.gate.stop().filter(|_| write) {
            return Err(self.stopped(operation, &stop));
        }
        breaker.look().map_err(|wait| self.open(operation, wait))?;
        let unsent = self.cut(operation, Class::Network);
        let permit = self.unless_hung_up(self.budget.acquire(&request.call.lane), unsent).await?;
        // A stop that came meanwhile counts; one that comes later waits for this write.
        let _passing = match self.unless_hung_up(self.gate.pass(write), self.cut(operation, Class::Network)).await? {
            Ok(passing) => passing,
            Err(stop) => {
                permit.unused();
                return Err(self.stopped(operation, &stop));
            }
        };
        // It may have opened while this request waited for its turn.
        let pass = match breaker.pass() {
            Ok(pass) => pass,
            Err(wait) => {
                permit.unused();
                return Err(self.open(operation, wait));
            }
        };
        let correlation = request.call.correlation.clone();
        let unanswered = self.cut(operation, if write { Class::UnknownOutcome } else { Class::Network });
        let answer = self.unless_hung_up(self.exchange(request), unanswered).await?;
        permit.answered(answer.as_ref().map_or(Verdict::Lost, |answer| self.verdict(answer)));
        let in_vain = pass.report(answer.as_ref().map_or(true, |answer| answer.status.is_server_error()));
        if let Some(wait) = in_vain.filter(|_| !write) {
            // A read that only saw that the remote is still gone is no attempt either.
            return Err(self.open(operation, wait));
        }
        let answer = answer.map_err(|error| self.lost(operation, write, &error))?;
        tracing::debug!(
            remote = self.name,
            operation,
            status = answer.status.as_u16(),
            correlation_id = correlation,
            "{}: {operation} answered {}",
            self.name,
            answer.status.as_u16()
        );
        Ok(answer)
    }

    /// What was learned, shared and used of the credential's limit.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Breaker of the reads, and of the writes.
    pub fn breakers(&self) -> (Position, Position) {
        (self.reads.position(), self.writes.position())
    }

    fn verdict(&self, answer: &Answer) -> Verdict {
        match answer.status {
            StatusCode::TOO_MANY_REQUESTS => Verdict::TooFast(answer.retry_after),
            StatusCode::SERVICE_UNAVAILABLE => Verdict::Unavailable(answer.retry_after),
            _ if (self.refuses)(answer) => Verdict::TooFast(answer.retry_after),
            _ => Verdict::Passed,
        }
    }

    fn stopped(&self, operation: &str, stop: &Stop) -> Error {
        let after = stop.until.map(|until| Duration::from_millis(until.saturating_sub(self.clock.now()).max(0) as u64));
        Error {
            kind: Kind::Temporary(Class::WritesStopped),
            status: 0,
            code: String::new(),
            sentence: format!("Writes are stopped by {}: {} ({operation})", stop.by, stop.reason),
            after,
        }
    }

    fn open(&self, operation: &str, wait: Duration) -> Error {
        Error {
            kind: Kind::Temporary(Class::BreakerOpen),
            status: 0,
            code: String::new(),
            sentence: format!("{} failed too often and is left alone for a moment ({operation}).", self.name),
            after: Some(wait),
        }
    }

    /// Ends all calls and lets none begin. Who waits for one gets an error of the class that says
    /// whether the remote may have done it.
    pub fn hang_up(&self) {
        self.hung_up.cancel();
    }

    async fn unless_hung_up<T>(&self, work: impl Future<Output = T>, cut: Error) -> Result<T, Error> {
        tokio::select! {
            biased;
            () = self.hung_up.cancelled() => Err(cut),
            done = work => Ok(done),
        }
    }

    fn cut(&self, operation: &str, class: Class) -> Error {
        Error {
            kind: Kind::Temporary(class),
            status: 0,
            code: String::new(),
            sentence: format!("{} is not asked any more, the connector stops ({operation}).", self.name),
            after: None,
        }
    }

    async fn exchange(&self, request: Request<'_>) -> Result<Answer, reqwest::Error> {
        let mut headers = request.headers;
        if let Ok(id) = HeaderValue::from_str(&request.call.correlation) {
            headers.insert("x-correlation-id", id);
        }
        let mut builder = self.http.request(request.method, request.url).headers(headers).timeout(self.timeout);
        if let Some(body) = request.body {
            builder = builder.body(body);
        }
        let response = builder.send().await?;
        let status = response.status();
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        let date = header("date").and_then(clock::parse_http_date);
        let retry_after = header(RETRY_AFTER.as_str()).and_then(|text| retry_after(text, date));
        let max_age = header("cache-control").and_then(max_age);
        let body = response.bytes().await?.to_vec();
        Ok(Answer { status, body, retry_after, date, max_age })
    }

    fn lost(&self, operation: &str, write: bool, error: &reqwest::Error) -> Error {
        let unsent = error.is_connect() || error.is_builder();
        let class = if write && !unsent { Class::UnknownOutcome } else { Class::Network };
        let what = match (error.is_timeout(), unsent) {
            (true, _) => "did not answer in time",
            (_, true) => "cannot be reached",
            _ => "broke the connection",
        };
        Error {
            kind: Kind::Temporary(class),
            status: 0,
            code: String::new(),
            sentence: format!("{} {what} ({operation}).", self.name),
            after: None,
        }
    }
}

impl Error {
    /// Did the remote perhaps do it?
    pub fn outcome_unknown(&self) -> bool {
        self.kind == Kind::Temporary(Class::UnknownOutcome)
    }

    /// Was it refused for good?
    pub fn refused(&self) -> bool {
        self.kind == Kind::Refused
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error.kind {
            Kind::Temporary(class) => Failure::Retry { class, sentence: error.sentence, after: error.after },
            Kind::Refused => Failure::Rejected { sentence: error.sentence },
        }
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The only place that builds HTTP clients: TLS provider, no redirects, connection reuse.
///
/// # Errors
/// When no trust store can be loaded.
pub fn http_client() -> Result<reqwest::Client, reqwest::Error> {
    builder().build()
}

/// A client whose every connection is to a socket of this machine: the daemon's admin socket.
///
/// # Errors
/// As [`http_client`].
pub fn unix_client(socket: &Path) -> Result<reqwest::Client, reqwest::Error> {
    builder().unix_socket(socket).build()
}

fn builder() -> reqwest::ClientBuilder {
    static PROVIDER: OnceLock<()> = OnceLock::new();
    PROVIDER.get_or_init(|| {
        // A second installation, by a library user, is fine: it serves the same purpose.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
    #[expect(clippy::disallowed_methods, reason = "this is the one place that builds HTTP clients")]
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(Duration::from_secs(5))
        .pool_idle_timeout(Duration::from_secs(30))
        .user_agent(concat!("fluent-connector/", env!("CARGO_PKG_VERSION")))
}

/// `Retry-After` in seconds, or as a date measured against the remote's own clock.
fn retry_after(text: &str, date: Option<Millis>) -> Option<Duration> {
    match text.trim().parse::<u64>() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => {
            let at = clock::parse_http_date(text)?;
            Some(Duration::from_millis(at.saturating_sub(date?).max(0) as u64))
        }
    }
}

fn max_age(text: &str) -> Option<Duration> {
    let seconds = text.split(',').find_map(|directive| directive.trim().strip_prefix("max-age="))?;
    seconds.parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_an_answer_may_be_kept_is_one_of_several_directives() {
        assert_eq!(max_age("public, max-age=19845, must-revalidate"), Some(Duration::from_secs(19_845)));
        assert_eq!(max_age("no-store"), None);
        assert_eq!(max_age("max-age=soon"), None);
    }

    #[test]
    fn retry_after_is_read_in_seconds_and_as_a_date() {
        assert_eq!(retry_after("7", None), Some(Duration::from_secs(7)));
        let date = clock::parse_http_date("Wed, 17 Jun 2026 10:00:00 GMT");
        assert_eq!(retry_after("Wed, 17 Jun 2026 10:00:30 GMT", date), Some(Duration::from_secs(30)));
        assert_eq!(retry_after("Wed, 17 Jun 2026 10:00:30 GMT", None), None);
        assert_eq!(retry_after("soon", date), None);
    }
}
