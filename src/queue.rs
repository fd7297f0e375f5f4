//! The durable queue: what a message is, which routes there are, and who works on it.
//!
//! Putting a message means: something *may* have changed. The handler of its route looks at the
//! source as it is now and does what is missing; doing it twice is harmless.

mod alarm;
mod message;
pub mod retention;
mod retry;
mod routes;
mod schedule;
mod work;
mod worker;

use std::sync::Arc;

use serde_json::Value;
use uuid::Uuid;

use crate::app::App;
use crate::clock::Millis;
use crate::store::{Ending, New, Put, Result, Source};

pub use message::{Effect, Message, Note};
pub use routes::{Handler, Kind, Route, Routes};
pub use schedule::{Range, schedule};
pub use worker::Worker;

/// The app together with its routes: what intake and workers share.
#[derive(Clone)]
pub struct Queue {
    pub app: App,
    pub routes: Arc<Routes>,
}

/// A message on its way into the queue.
#[must_use = "a draft does nothing until it is put"]
#[derive(Clone, Debug)]
pub struct Draft(New);

impl Queue {
    /// A message for `route`; its lane is the route's.
    pub fn draft(&self, connection: &str, route: &str, key: impl Into<String>, source: Source) -> Draft {
        Draft(New {
            connection: connection.into(),
            route: route.into(),
            key: key.into(),
            subject: None,
            lane: self.routes.lane(route, self.app.config()).into(),
            source,
            at_least: 0,
            due: self.app.clock().now(),
            correlation: Uuid::now_v7().to_string(),
            payload: Value::Null,
            body: None,
            ending: None,
        })
    }

    /// Stores messages; returns when they are on stable storage.
    ///
    /// # Errors
    /// When the store does not take them; then none of them is stored.
    pub async fn put(&self, drafts: Vec<Draft>) -> Result<Vec<Put>> {
        self.app.store().put(drafts.into_iter().map(New::from).collect()).await
    }
}

impl Draft {
    /// What orders work: `order:<id>`.
    pub fn subject(mut self, subject: impl Into<String>) -> Self {
        self.0.subject = Some(subject.into());
        self
    }

    /// The announced version of the source.
    pub fn at_least(mut self, version: i64) -> Self {
        self.0.at_least = version;
        self
    }

    /// Not before.
    pub fn due(mut self, at: Millis) -> Self {
        self.0.due = at;
        self
    }

    /// Another lane than the route's own.
    pub fn lane(mut self, lane: impl Into<String>) -> Self {
        self.0.lane = lane.into();
        self
    }

    /// Ties it to what caused it.
    pub fn correlation(mut self, correlation: impl Into<String>) -> Self {
        self.0.correlation = correlation.into();
        self
    }

    /// What the handler needs to know: identities, never the content to be written.
    pub fn payload(mut self, payload: Value) -> Self {
        self.0.payload = payload;
        self
    }

    /// What was received, byte for byte.
    pub fn body(mut self, body: Vec<u8>) -> Self {
        self.0.body = Some(body);
        self
    }

    /// Stored as finished: countable and re-runnable, but no work.
    pub fn ended(mut self, ending: Ending, detail: impl Into<String>) -> Self {
        self.0.ending = Some((ending, detail.into()));
        self
    }

    /// The route it is for.
    pub fn route(&self) -> &str {
        &self.0.route
    }
}

impl From<Draft> for New {
    fn from(draft: Draft) -> New {
        draft.0
    }
}
