//! Hearing of a status change: the webhook, and the poll that finds what no webhook told (F 1.3–1.6).

use serde::Deserialize;
use serde_json::{Value, json};

use crate::app::{App, Connection};
use crate::clock;
use crate::failure::{Class, Failure, Outcome, reject};
use crate::fluent::model::{Order, OrderHeaders};
use crate::fluent::operation;
use crate::queue::{Draft, Message};
use crate::sync::connection;
use crate::sync::order_lookup::{self, KIND, Pair};
use crate::sync::order_update::Update;
use crate::sync::poll::{Found, Pace, Window};

/// The stream of the poll; its cursor carries this name.
pub const STREAM: &str = "order-status-sync";

/// What a webhook or the poll says: which entity to look at.
#[derive(Debug, Deserialize)]
struct Envelope {
    entity_type: String,
    entity_id: String,
    root_entity_type: Option<String>,
    root_entity_id: Option<String>,
    entity_status: Option<String>,
    /// Only in what the timed poll says.
    updated_on: Option<String>,
}

/// `fluent.order-updated`: finds the commercetools Order and asks for its states to be brought up to
/// date. The status in the webhook is never used: it may be old.
///
/// # Errors
/// As [`order_lookup::find`].
pub async fn receive(app: App, message: Message) -> Outcome {
    let envelope: Envelope = message.payload()?;
    let connection = connection(&app, &message)?;
    let Some(id) = order_id(&envelope) else {
        return reject(format!("The webhook names {} {} but no order.", envelope.entity_type, envelope.entity_id));
    };
    let found = order_lookup::find(&app, &message, connection, id).await?;
    if let Some(updated_on) = envelope.updated_on.as_deref() {
        let pair = Pair::load(&mut app.store().read().await?, message.connection(), &found.commercetools_id).await?;
        if pair.is_some_and(|pair| is_transferred(&pair, updated_on, envelope.entity_status.as_deref())) {
            message.unchanged();
            return Ok(());
        }
        // One of ours, and no webhook has told of it yet.
        let connection = message.connection().to_owned();
        message.with(move |tx| Box::pin(async move { tx.found(&connection, STREAM).await }));
    }
    let mut slices = vec!["status"];
    if found.unlinked && connection.config.order_link.enabled {
        slices.insert(0, "link");
    }
    let update = Update { order_id: found.commercetools_id, fluent_order_id: id.to_owned() };
    message.then(slices.into_iter().map(|slice| update_order(&message, slice, &update)));
    message.tell(format!("Fluent order {id} is commercetools order {}", update.order_id));
    Ok(())
}

/// Was this very state transferred meanwhile, or a newer one?
fn is_transferred(pair: &Pair, updated_on: &str, status: Option<&str>) -> bool {
    let transferred = pair.extra.fluent_updated_on.as_deref().and_then(clock::parse_rfc3339);
    transferred.zip(clock::parse_rfc3339(updated_on)).is_some_and(|(transferred, told)| {
        transferred > told || (transferred == told && pair.extra.fluent_status.as_deref() == status)
    })
}

/// The outbox message for one slice of an Order.
pub fn update_order(message: &Message, slice: &str, update: &Update) -> Draft {
    message
        .next("commercetools.update-order", format!("{slice}@{}", message.key()))
        .subject(format!("order:{}", update.order_id))
        .payload(json!(update))
}

fn order_id(envelope: &Envelope) -> Option<&str> {
    if envelope.entity_type == "ORDER" {
        return Some(&envelope.entity_id);
    }
    let root = envelope.root_entity_type.as_deref() == Some("ORDER");
    envelope.root_entity_id.as_deref().filter(|_| root)
}

/// `job.order-status-sync`: walks the orders that changed in a frozen window, page by page; a page
/// and the cursor behind it are one transaction. What was transferred already is passed over.
///
/// # Errors
/// A page that cannot be read leaves the window open; the next run goes on behind the last page.
pub async fn sync(app: App, message: Message) -> Outcome {
    let connection = connection(&app, &message)?;
    let poll = &connection.config.order_status.poll;
    let now = connection.fluent.on(message.call()).now().await?;
    let pace = Pace { settle: poll.settle, overlap: poll.overlap };
    let start = poll.start_at.as_deref().and_then(clock::parse_rfc3339);
    let Some(window) = Window::open(&app, &message, STREAM, now, pace, start).await? else {
        message.unchanged();
        return Ok(());
    };
    let mut walk = Walk { app: &app, message: &message, connection, window };
    while walk.page().await? {}
    match walk.window.found {
        0 => message.unchanged(),
        found => message.tell(format!("{found} orders may have changed unheard")),
    }
    Ok(())
}

struct Walk<'a> {
    app: &'a App,
    message: &'a Message,
    connection: &'a Connection,
    window: Window<'a>,
}

impl Walk<'_> {
    /// Reads and commits one page; is there another?
    async fn page(&mut self) -> Result<bool, Failure> {
        let (from, to) = (clock::rfc3339(self.window.from), clock::rfc3339(self.window.to));
        let after: Option<String> = self.window.after()?;
        let variables = json!({
            "from": from, "to": to, "retailerId": [self.connection.config.fluent.retailer_id], "after": after,
        });
        let fluent = self.connection.fluent.on(self.message.call());
        let page: OrderHeaders = match fluent.run(&operation::ORDERS_UPDATED, variables).await {
            // A cursor that Fluent no longer takes: the same window from its first page.
            Err(error) if error.refused() && after.is_some() => {
                self.window.restart().await?;
                return Err(Failure::retry(Class::Stale, format!("{error} The window starts again.")));
            }
            answer => answer?,
        };
        if page.orders.is_broken() {
            let sentence = format!(
                "Fluent announced more orders after cursor {} but sent none; the window {from} to {to} stays open.",
                after.as_deref().unwrap_or("(none)")
            );
            return Err(Failure::retry(Class::Server, sentence));
        }
        let next = page.orders.next();
        let news = self.news(page.orders.nodes()).await?;
        self.window.commit(news, next).await?;
        Ok(next.is_some())
    }

    /// Rows that were not transferred yet, as messages.
    async fn news(&self, orders: impl Iterator<Item = &Order>) -> Result<Vec<Found>, Failure> {
        let orders: Vec<&Order> = orders.collect();
        let ids: Vec<String> = orders.iter().map(|order| order.id.clone()).collect();
        let connection = self.message.connection();
        let known = self.app.store().read().await?.mappings_by_fluent_ids(connection, KIND, &ids).await?;
        let known: Vec<Pair> = known.into_iter().map(Pair::from).collect();
        let transferred = |order: &Order| {
            known.iter().any(|pair| {
                pair.mapping.fluent_id.as_deref() == Some(&order.id)
                    && pair.extra.fluent_updated_on == order.updated_on
                    && pair.extra.fluent_status == order.status
            })
        };
        let news = orders.into_iter().filter(|order| self.window.is_extra() || !transferred(order));
        Ok(news.map(|order| self.row(order)).collect())
    }

    fn row(&self, order: &Order) -> Found {
        let updated_on = order.updated_on.as_deref().unwrap_or_default();
        let payload = json!({
            "entity_type": "ORDER", "entity_id": order.id, "entity_ref": order.reference,
            "entity_status": order.status, "root_entity_type": Value::Null, "root_entity_id": Value::Null,
            "updated_on": order.updated_on.as_deref().filter(|_| !self.window.is_extra()),
        });
        let key = self.window.key(format!("poll:ORDER:{}@{updated_on}", order.id));
        let draft = self.message.polled("fluent.order-updated", key).payload(payload);
        // Whether a webhook should have told of it is known once it is known whether it is ours.
        Found { at: clock::parse_rfc3339(updated_on).unwrap_or(self.window.to), draft, counts: false }
    }
}
