//! A message as its handler sees it.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

use futures_util::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Draft, Queue};
use crate::clock::Millis;
use crate::failure::{Class, Failure};
use crate::remote::Call;
use crate::store::{Claimed, New, Result, Row, Source, Tx};

/// How long a source may not have what was announced, in milliseconds (C 1.7, F 1.7).
const NOT_THERE_YET: Millis = 600_000;

/// Something that is committed together with the outcome of a message.
pub type Effect = Box<dyn for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<()>> + Send>;

/// What the operator should know although the message is done (F 2.2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Note {
    /// `order_status.unmapped`; counted per code.
    pub code: &'static str,
    pub sentence: String,
}

impl Note {
    pub fn new(code: &'static str, sentence: impl Into<String>) -> Self {
        Self { code, sentence: sentence.into() }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.sentence)
    }
}

/// One message; the newest of those that collapsed into it. Clones share what the handler adds.
#[derive(Clone)]
pub struct Message {
    queue: Queue,
    claimed: Arc<Claimed>,
    added: Arc<Mutex<Added>>,
    leaving: CancellationToken,
}

#[derive(Default)]
struct Added {
    effects: Vec<Effect>,
    notes: Vec<Note>,
    reason: Option<&'static str>,
    detail: Option<String>,
}

/// What a handler added, taken by the worker for the finishing transaction.
pub(super) struct Findings {
    pub effects: Vec<Effect>,
    pub notes: Vec<Note>,
    pub reason: &'static str,
    pub detail: String,
}

impl Message {
    pub(super) fn new(queue: Queue, claimed: Claimed, leaving: CancellationToken) -> Self {
        Self { queue, claimed: Arc::new(claimed), added: Arc::default(), leaving }
    }

    /// Does the daemon stop? Work in many parts ends at the next border; the next run goes on.
    pub fn is_leaving(&self) -> bool {
        self.leaving.is_cancelled()
    }

    /// Which message this is.
    pub fn id(&self) -> Uuid {
        self.row().id
    }

    pub fn connection(&self) -> &str {
        &self.row().connection
    }

    pub fn route(&self) -> &str {
        &self.row().route
    }

    pub fn key(&self) -> &str {
        &self.row().key
    }

    pub fn lane(&self) -> &str {
        &self.row().lane
    }

    /// `order:<id>`, or nothing.
    pub fn subject(&self) -> Option<&str> {
        self.row().subject.as_deref()
    }

    /// Greatest version of the source that was announced for it; reading less is reading too early.
    pub fn at_least(&self) -> i64 {
        self.claimed.at_least()
    }

    /// 1 for the first try.
    pub fn attempt(&self) -> i64 {
        self.row().attempts
    }

    /// When it was put.
    pub fn created(&self) -> Millis {
        self.row().created
    }

    /// Since when it, or one that collapsed into it, is in retry or waits; `None` on the first try.
    pub fn held_since(&self) -> Option<Millis> {
        self.claimed.held_since()
    }

    /// Class of the failure that the last try ended with, if it is in retry.
    pub fn last_failure(&self) -> Option<Class> {
        self.row().reason.as_deref().and_then(Class::named)
    }

    /// The same value in every log line and remote call that this message causes.
    pub fn correlation(&self) -> &str {
        &self.row().correlation
    }

    /// On whose behalf remote calls are made.
    pub fn call(&self) -> Call {
        Call { lane: self.lane().into(), correlation: self.correlation().into() }
    }

    /// The payload.
    ///
    /// # Errors
    /// A rejection if it has another shape: an older or newer version put it.
    pub fn payload<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_value(self.row().payload.0.clone())
            .map_err(|error| Failure::rejected(format!("The payload of {} is not readable: {error}", self.route())))
    }

    /// Payloads of all messages that collapsed into this one, oldest first.
    pub fn payloads(&self) -> impl Iterator<Item = &Value> {
        self.claimed.rows.iter().map(|row| &row.payload.0)
    }

    /// Keys of all messages that collapsed into this one, oldest first.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.claimed.rows.iter().map(|row| row.key.as_str())
    }

    /// Commits `effect` together with the outcome of this message, whatever it is.
    pub fn with<F>(&self, effect: F)
    where
        F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<()>> + Send + 'static,
    {
        self.added().effects.push(Box::new(effect));
    }

    /// A message that follows from this one: same connection and correlation.
    pub fn next(&self, route: &str, key: impl Into<String>) -> Draft {
        self.queue.draft(self.connection(), route, key, Source::Handler).correlation(self.correlation())
    }

    /// A message about something this job found.
    pub fn polled(&self, route: &str, key: impl Into<String>) -> Draft {
        self.queue.draft(self.connection(), route, key, Source::Poll)
    }

    /// Puts messages together with the outcome of this one.
    pub fn then(&self, drafts: impl IntoIterator<Item = Draft>) {
        let drafts: Vec<New> = drafts.into_iter().map(New::from).collect();
        self.with(move |tx| Box::pin(async move { tx.put(drafts).await.map(|_| ()) }));
    }

    /// Tells the operator something about a message that is done.
    pub fn note(&self, note: Note) {
        self.added().notes.push(note);
    }

    /// Done, and nothing had to be written.
    pub fn unchanged(&self) {
        self.added().reason = Some("unchanged");
    }

    /// Done: what another system or an earlier try created was taken over.
    pub fn adopted(&self) {
        self.added().reason = Some("adopted");
    }

    /// What was done, in one sentence, for logs and `message show`.
    pub fn tell(&self, sentence: impl Into<String>) {
        self.added().detail = Some(sentence.into());
    }

    /// The source does not have it (yet): announcements overtake what they announce. Tried again for
    /// ten minutes, then rejected.
    pub fn not_there_yet(&self, sentence: impl Into<String>) -> Failure {
        let now = self.queue.app.clock().now();
        match self.held_since() {
            Some(since) if now - since >= NOT_THERE_YET => Failure::rejected(sentence),
            _ => Failure::retry(Class::Stale, sentence),
        }
    }

    pub(super) fn claimed(&self) -> &Claimed {
        &self.claimed
    }

    pub(super) fn findings(&self) -> Findings {
        let added = std::mem::take(&mut *self.added());
        Findings {
            effects: added.effects,
            notes: added.notes,
            reason: added.reason.unwrap_or("written"),
            detail: added.detail.unwrap_or_default(),
        }
    }

    fn row(&self) -> &Row {
        self.claimed.lead()
    }

    fn added(&self) -> MutexGuard<'_, Added> {
        self.added.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
