//! Cancelling an order in Fluent (C 8).
//!
//! Route `fluent.cancel-order`, once per order. Fluent has no mutation for it: its workflow is sent an event, and the
//! order's status says whether that did it. That an event is sent is stored before, so that an answer that got lost is
//! looked up in the event log instead of being asked for twice.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::change::state;
use super::create::is_cancelled;
use super::inbox::never_sent;
use super::label;
use crate::app::{App, Connection};
use crate::clock::Millis;
use crate::commercetools::model::Order;
use crate::config::model::EventMode;
use crate::failure::{Class, Failure, Outcome, Skip, skip};
use crate::fluent::change::OrderState;
use crate::fluent::event::{Event, SOURCE, Status};
use crate::queue::Message;
use crate::store::Urgency;
use crate::sync::attribute::own;
use crate::sync::connection;
use crate::sync::order_lookup::Pair;

/// Between two looks at an order whose cancellation was accepted.
const LOOK: Duration = Duration::from_secs(15);
/// Between two looks at an event that is not done.
const PENDING: Duration = Duration::from_secs(30);
/// Clocks differ: the log is read from so long before the event was sent, in milliseconds.
const MARGIN: Millis = 60_000;

#[derive(Debug, Deserialize)]
struct Notice {
    id: String,
}

/// `fluent.cancel-order`: makes sure that a cancelled order is cancelled in Fluent.
///
/// # Errors
/// Rejected with the sentences of C 8.4: goods may leave.
pub async fn send(app: App, message: Message) -> Outcome {
    let Notice { id } = message.payload()?;
    let connection = connection(&app, &message)?;
    if !connection.config.order_cancel.enabled {
        return skip(Skip::Ignored, "Cancellations are switched off for this connection.");
    }
    let pair = Pair::load(&mut app.store().read().await?, message.connection(), &id).await?;
    let order = connection.commercetools.on(message.call()).order::<Order>(&id, &["state"]).await?;
    if let Some(order) = order.as_ref().filter(|order| !is_cancelled(order, &connection.config)) {
        let state = order.order_state.as_deref().unwrap_or("Open");
        return skip(Skip::Superseded, format!("Order {} is {state} again; it is not cancelled.", label(order)));
    }
    match (order, pair) {
        (order, Some(pair)) if pair.mapping.fluent_id.is_some() => {
            Cancel { app: &app, message: &message, connection, order: order.as_ref(), pair }.run().await
        }
        (Some(order), pair) => Err(never_sent(&message, &order, pair)),
        (None, _) => skip(Skip::Ignored, "The order no longer exists in commercetools."),
    }
}

/// The event that cancels an order which Fluent has under these identities: type, id, ref.
pub fn event(order: &Order, identity: (&str, &str, &str), connection: &crate::config::model::Connection) -> Event {
    let mut attributes = Map::new();
    attributes.insert(own(connection, "OrderId"), order.id.clone().into());
    attributes.insert(own(connection, "OrderVersion"), order.version.into());
    attributes.insert("requestedAt".into(), order.last_modified_at.clone().into());
    let field = connection.order_cancel.reason_field.as_deref();
    if let Some(reason) = field.and_then(|field| order.custom.as_ref()?.field(field)) {
        attributes.insert("reason".into(), reason.clone());
    }
    to_order(attributes, identity, connection)
}

fn to_order(
    attributes: Map<String, Value>,
    identity: (&str, &str, &str),
    connection: &crate::config::model::Connection,
) -> Event {
    let place = (connection.fluent.account.as_str(), connection.fluent.retailer_id);
    Event::to_order(&connection.order_cancel.event_name, place, identity, attributes)
}

struct Cancel<'a> {
    app: &'a App,
    message: &'a Message,
    connection: &'a Connection,
    /// `None` = it was deleted.
    order: Option<&'a Order>,
    pair: Pair,
}

impl Cancel<'_> {
    async fn run(self) -> Outcome {
        let state = self.state().await?;
        if self.is_done(&state) {
            self.message.unchanged();
            return Ok(());
        }
        let event = match self.pair.extra.cancel_sent {
            Some(at) => self.logged(at).await?,
            None => None,
        };
        match event {
            Some((status, id)) => self.judge(status, &id, None, state).await,
            None => self.send(state).await,
        }
    }

    /// What became of the event that was sent; `None` = Fluent never got it.
    async fn logged(&self, at: Millis) -> Result<Option<(Status, String)>, Failure> {
        let name = &self.connection.config.order_cancel.event_name;
        let fluent = self.connection.fluent.on(self.message.call());
        let events = fluent.events(name, self.reference(), at - MARGIN).await?;
        let ours = events.into_iter().rev().find(|event| event.source.as_deref() == Some(SOURCE));
        Ok(ours.map(|event| (event.status(), event.id)))
    }

    async fn send(mut self, state: OrderState) -> Outcome {
        self.pair.extra.cancel_sent = Some(self.app.clock().now());
        let row = self.pair.row(self.message);
        let store = self.app.store();
        store.write(Urgency::Urgent, move |tx| Box::pin(async move { tx.put_mapping(&row).await })).await?;
        let config = &self.connection.config;
        let kind = self.pair.extra.kind.as_deref().unwrap_or(&state.kind);
        let identity = (kind, state.id.as_str(), self.reference());
        let event = match self.order {
            Some(order) => event(order, identity, config),
            None => to_order(Map::from_iter(self.known_attributes()), identity, config),
        };
        let fluent = self.connection.fluent.on(self.message.call());
        let sent = fluent.send_event(config.order_cancel.mode, &event).await?;
        match (sent.status, config.order_cancel.mode) {
            // Accepted; what comes of it is in the log.
            (Status::Pending, EventMode::Async) => Err(self.again(LOOK, &state)),
            (status, _) => self.judge(status, &sent.id.unwrap_or_default(), sent.message, state).await,
        }
    }

    /// What is known of an order that commercetools no longer has.
    fn known_attributes(&self) -> [(String, Value); 2] {
        let (config, mapping) = (&self.connection.config, &self.pair.mapping);
        [
            (own(config, "OrderId"), mapping.commercetools_id.clone().into()),
            (own(config, "OrderVersion"), mapping.commercetools_version.into()),
        ]
    }

    async fn judge(mut self, status: Status, event: &str, why: Option<String>, state: OrderState) -> Outcome {
        let name = self.name();
        let refusal = match status {
            Status::Complete => return self.confirm().await,
            Status::Pending => return Err(self.again(PENDING, &state)),
            Status::NoMatch => format!(
                "Fluent does not accept the cancellation of order {name} any more: it is at {}. Stop the parcel by hand \
                 or plan a return.",
                state.status()
            ),
            Status::Failed => {
                let why = why.unwrap_or_else(|| "Event has Failed".into());
                format!("Fluent tried to cancel order {name} and failed: {why}. See its event {event}.")
            }
        };
        self.forget();
        Err(Failure::rejected(refusal))
    }

    /// The event went through: the status must follow.
    async fn confirm(mut self) -> Outcome {
        let state = self.state().await?;
        if self.is_done(&state) {
            self.message.tell(format!("order {} is cancelled in Fluent", self.name()));
            return Ok(());
        }
        let within = self.connection.config.order_cancel.confirm_within;
        let sent = self.pair.extra.cancel_sent.unwrap_or_default();
        if self.app.clock().now() - sent < within.millis() {
            return Err(self.again(LOOK, &state));
        }
        self.forget();
        Err(Failure::rejected(format!(
            "Fluent accepted the cancellation of order {} but still shows {} after {}.",
            self.name(),
            state.status(),
            in_minutes(within.millis())
        )))
    }

    /// Whoever retries after this wants the event sent anew.
    fn forget(&mut self) {
        self.pair.extra.cancel_sent = None;
        let row = self.pair.row(self.message);
        self.message.with(move |tx| Box::pin(async move { tx.put_mapping(&row).await }));
    }

    fn again(&self, after: Duration, state: &OrderState) -> Failure {
        let sentence = format!("Fluent took the cancellation of order {} and shows {}.", self.name(), state.status());
        Failure::Again { class: Class::Stale, sentence, after }
    }

    async fn state(&self) -> Result<OrderState, Failure> {
        let id = self.pair.mapping.fluent_id.as_deref().unwrap_or_default();
        state(self.message, self.connection, id).await
    }

    fn is_done(&self, state: &OrderState) -> bool {
        let cancelled = &self.connection.config.order_cancel.cancelled_statuses;
        state.status.as_ref().is_some_and(|status| cancelled.contains(status))
    }

    fn reference(&self) -> &str {
        self.pair.mapping.fluent_ref.as_deref().unwrap_or_default()
    }

    fn name(&self) -> String {
        let known = self.pair.mapping.commercetools_key.as_deref();
        self.order.map_or_else(|| known.unwrap_or(&self.pair.mapping.commercetools_id), label).to_owned()
    }
}

fn in_minutes(millis: Millis) -> String {
    match millis / 60_000 {
        0 => format!("{} s", millis / 1000),
        minutes => format!("{minutes} min"),
    }
}
