//! How work ends when it does not simply succeed, decided where it is understood.
//!
//! `?` means "try again by class"; giving up is written: [`reject`] parks the message with a
//! sentence for the operator, [`waiting`] releases it when the named thing appears, [`skip`] says
//! why nothing had to be done. Nothing is logged and forgotten.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What a handler answers. `Ok(())` = done.
pub type Outcome = Result<(), Failure>;

/// Why a message is not done (yet).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Nothing is wrong with the message; try again later.
    #[error("{sentence}")]
    Retry { class: Class, sentence: String, after: Option<Duration> },
    /// The same, after exactly this long: a look that has its own time, whatever the schedule says.
    #[error("{sentence}")]
    Again { class: Class, sentence: String, after: Duration },
    /// A person has to change something first; the message is parked.
    #[error("{sentence}")]
    Rejected { sentence: String },
    /// Released when a mapping or product with this key appears (`customer:<id>`, `variant:<sku>`).
    #[error("{sentence}")]
    Waiting { key: String, sentence: String },
    /// Nothing to do.
    #[error("{sentence}")]
    Skipped { reason: Skip, sentence: String },
}

/// Classes of temporary failures; label of metrics and of attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// No connection, or it broke before the request was sent.
    Network,
    /// The remote failed too often; nothing is sent to it for a while, and no attempt counts.
    BreakerOpen,
    /// A person stopped all writes of the connection; no attempt counts, resuming releases it.
    WritesStopped,
    /// The remote asked to slow down (429, C0011E, 503 OverCapacity).
    RateLimited,
    /// The remote failed (5xx, S and T codes) before doing anything.
    Server,
    /// The request was sent and no usable answer came: it may have been done.
    UnknownOutcome,
    /// The token was refused twice.
    Unauthorized,
    /// Others kept changing the same resource (409).
    Conflict,
    /// What was read is older than what was announced, or not visible yet.
    Stale,
    /// Our own database.
    Store,
    /// A dependency outside both platforms is missing (channel, setting).
    Setup,
}

/// Reasons of the state `skipped` (`surfaces.md`, message states).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Skip {
    /// Out of scope, no route, or switched off.
    Ignored,
    /// Our own change came back.
    OwnWrite,
    /// Newer work made it needless.
    Superseded,
    /// An `include` expression said no.
    Filtered,
    /// A person decided so.
    ByOperator,
}

/// Parks the message: `return reject("Order 10001 has nothing that Fluent can fulfil.")`.
pub fn reject(sentence: impl Into<String>) -> Outcome {
    Err(Failure::rejected(sentence))
}

/// Waits for the thing with this key: `return waiting("variant:SKU-9", "Order 10001 waits for SKU-9.")`.
pub fn waiting(key: impl Into<String>, sentence: impl Into<String>) -> Outcome {
    Err(Failure::Waiting { key: key.into(), sentence: sentence.into() })
}

/// Ends the message without an effect.
pub fn skip(reason: Skip, sentence: impl Into<String>) -> Outcome {
    Err(Failure::Skipped { reason, sentence: sentence.into() })
}

impl Failure {
    /// A rejection, for functions that do not return an [`Outcome`].
    pub fn rejected(sentence: impl Into<String>) -> Self {
        Self::Rejected { sentence: sentence.into() }
    }

    /// A temporary failure.
    pub fn retry(class: Class, sentence: impl Into<String>) -> Self {
        Self::Retry { class, sentence: sentence.into(), after: None }
    }
}

impl Class {
    /// The class with this name.
    pub fn named(name: &str) -> Option<Self> {
        serde_json::from_value(name.into()).ok()
    }

    /// The stable name used in rows, metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::BreakerOpen => "breaker-open",
            Self::WritesStopped => "writes-stopped",
            Self::RateLimited => "rate-limited",
            Self::Server => "server",
            Self::UnknownOutcome => "unknown-outcome",
            Self::Unauthorized => "unauthorized",
            Self::Conflict => "conflict",
            Self::Stale => "stale",
            Self::Store => "store",
            Self::Setup => "setup",
        }
    }
}

impl Skip {
    /// The stable name used in rows, metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ignored => "ignored",
            Self::OwnWrite => "own-write",
            Self::Superseded => "superseded",
            Self::Filtered => "filtered",
            Self::ByOperator => "by-operator",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
