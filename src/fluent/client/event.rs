//! The Event API (platform-fluent.md 3.1, 3.2): an event's outcome stands in the body, whatever the
//! HTTP status says.

use std::time::Duration;

use reqwest::Method;
use serde::Deserialize;

use super::{Asked, Client, ended, refused};
use crate::clock::{Millis, rfc3339};
use crate::config::model::EventMode;
use crate::failure::Class;
use crate::fluent::event::{Event, Logged, Sent, Status, path};
use crate::remote::{Answer, Error, Kind};

/// Most events of one look; an order has a handful of one name.
const EVENTS: usize = 100;

impl Client {
    /// Sends an event. `NO_MATCH` and `FAILED` are answers, not errors.
    ///
    /// # Errors
    /// A refusal if Fluent takes the event for malformed; without a usable answer the outcome is unknown.
    pub async fn send_event(&self, mode: EventMode, event: &Event) -> Result<Sent, Error> {
        let name = match mode {
            EventMode::Sync => "POST event/sync",
            EventMode::Async => "POST event/async",
        };
        let body = serde_json::to_vec(event)
            .map_err(|error| refused(0, "", format!("The event {} cannot be written as JSON: {error}", event.name)))?;
        let path = path(mode).to_owned();
        let asked = Asked { name, method: Method::POST, path, body: Some(body), write: true };
        let answer = self.account.send(&self.call, asked).await?;
        sent(name, mode, &answer)
    }

    /// The events of this name that were sent to an order since a moment, oldest first.
    ///
    /// # Errors
    /// As for [`Client::run`](super::Client::run).
    pub async fn events(&self, name: &str, order_ref: &str, since: Millis) -> Result<Vec<Logged>, Error> {
        #[derive(Deserialize)]
        struct Page {
            results: Vec<Logged>,
        }
        let encode =
            |text: &str| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
        let (from, count) = (rfc3339(since), EVENTS.to_string());
        let retailer = self.account.retailer.to_string();
        let filters = [
            ("name", name),
            ("context.entityRef", order_ref),
            ("context.entityType", "ORDER"),
            ("retailerId", &retailer),
            ("from", &from),
            ("count", &count),
        ];
        let query: Vec<String> = filters.iter().map(|(key, value)| format!("{key}={}", encode(value))).collect();
        let name = "GET event";
        let path = format!("/api/v4.1/event?{}", query.join("&"));
        let asked = Asked { name, method: Method::GET, path, body: None, write: false };
        let answer = self.account.send(&self.call, asked).await?;
        if !answer.status.is_success() {
            return Err(failed(name, Class::Server, &answer));
        }
        let unreadable =
            |error| temporary(&answer, Class::Server, format!("Fluent answered {name} unreadably: {error}"));
        let page: Page = serde_json::from_slice(&answer.body).map_err(unreadable)?;
        let mut events = page.results;
        events.sort_by(|one, other| one.generated_on.cmp(&other.generated_on));
        Ok(events)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    event_id: Option<String>,
    event_status: Option<String>,
    error_message: Option<String>,
    id: Option<String>,
}

/// What the answer to a sent event means; `NO_MATCH` may come as 400 or 404.
fn sent(name: &'static str, mode: EventMode, answer: &Answer) -> Result<Sent, Error> {
    let body: Option<Body> = serde_json::from_slice(&answer.body).ok();
    let status = body.as_ref().and_then(|body| body.event_status.as_deref()).map(Status::read);
    let id = body.as_ref().and_then(|body| body.event_id.clone().or_else(|| body.id.clone()));
    match (status, mode) {
        (Some(status), _) if answer.status.as_u16() < 500 => {
            Ok(Sent { status, id, message: body.and_then(|body| body.error_message) })
        }
        (None, EventMode::Async) if answer.status.is_success() => {
            Ok(Sent { status: Status::Pending, id, message: None })
        }
        _ => Err(failed(name, Class::UnknownOutcome, answer)),
    }
}

/// An answer that says nothing about the event itself.
fn failed(name: &str, lost: Class, answer: &Answer) -> Error {
    #[derive(Deserialize)]
    struct Refusal {
        errors: Vec<Reason>,
    }
    #[derive(Deserialize)]
    struct Reason {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let status = answer.status.as_u16();
    match status {
        401 => temporary(answer, Class::Unauthorized, "Fluent refuses our token.".into()),
        429 => {
            let after = answer.retry_after.or(Some(Duration::from_secs(60)));
            Error { after, ..temporary(answer, Class::RateLimited, "Fluent asks us to slow down.".into()) }
        }
        400..500 => {
            let refusal: Option<Refusal> = serde_json::from_slice(&answer.body).ok();
            match refusal.and_then(|refusal| refusal.errors.into_iter().next()) {
                Some(Reason { code, message }) => {
                    let sentence = format!("Fluent refuses {name} ({code}): {}", ended(&message));
                    refused(status, &code, sentence)
                }
                None => refused(status, "", format!("Fluent answered {status} to {name}.")),
            }
        }
        _ => temporary(answer, lost, format!("Fluent answered {status} to {name}.")),
    }
}

fn temporary(answer: &Answer, class: Class, sentence: String) -> Error {
    let status = answer.status.as_u16();
    Error { kind: Kind::Temporary(class), status, code: String::new(), sentence, after: answer.retry_after }
}
