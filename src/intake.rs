//! commercetools notifications on their way into the queue, whoever brought them (`surfaces.md` 2.4).
//!
//! What cannot be read is stored as parked: the sender would drop it on an error, and it would be
//! gone. What concerns nobody is stored as skipped. A hole before an order's message is proof that
//! one was lost; a while later it is looked for.

pub mod sqs;
mod wrapper;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::app::{App, Connection};
use crate::commercetools::notification::{Notification, Subject, Taken};
use crate::queue::{Draft, Queue};
use crate::store::{Ending, Put, Result, Source};

pub use wrapper::{PARTNER, of_partner};

/// The route that looks for what was lost.
pub const GAP: &str = "commercetools.gap-found";

/// Where messages of orders go (`surfaces.md` 11.2); the last one keeps those that no route takes.
const ORDERS: [&str; 5] = [
    "commercetools.order-created",
    "commercetools.order-changed",
    "commercetools.order-cancelled",
    "commercetools.order-deleted",
    "commercetools.order",
];

/// Notifications of one delivery.
pub struct Arrivals<'a> {
    queue: &'a Queue,
    connection: &'a Connection,
    source: Source,
    correlation: Option<String>,
    drafts: Vec<Draft>,
    /// Orders with the number of their message.
    numbers: Vec<(String, i64)>,
}

/// A notification of another project, in a sentence.
#[derive(Debug)]
pub struct Foreign(pub String);

/// How many were new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    pub accepted: usize,
    pub duplicates: usize,
}

impl<'a> Arrivals<'a> {
    /// Nothing yet. `correlation` ties what comes of it to the delivery.
    pub fn new(queue: &'a Queue, connection: &'a Connection, source: Source, correlation: Option<String>) -> Self {
        Self { queue, connection, source, correlation, drafts: Vec::new(), numbers: Vec::new() }
    }

    /// Takes one notification in either format; `raw` is what was received.
    ///
    /// # Errors
    /// It is of another project; nothing was taken.
    pub fn take(&mut self, document: Value, raw: &[u8]) -> Result<(), Foreign> {
        match Notification::read(document) {
            Ok(notification) => self.check_project(&notification).map(|()| self.add(&notification, raw)),
            Err(why) => {
                self.unreadable(raw, &why);
                Ok(())
            }
        }
    }

    /// The same, but one of another project is parked: who brought it can do nothing about it.
    pub fn take_or_park(&mut self, document: Value, raw: &[u8]) {
        if let Err(Foreign(why)) = self.take(document, raw) {
            self.refused(raw, &why);
        }
    }

    /// Keeps what cannot be read, for a person.
    pub fn unreadable(&mut self, raw: &[u8], why: &str) {
        self.park(raw, "unreadable", format!("The notification cannot be read: {why}"));
    }

    /// Keeps what is not for us, for a person.
    pub fn refused(&mut self, raw: &[u8], why: &str) {
        self.park(raw, "rejected", why.to_owned());
    }

    /// Stores all of them, or none; returns when they are on stable storage.
    ///
    /// # Errors
    /// When the store does not take them.
    pub async fn store(mut self) -> Result<Stored> {
        let looks = self.looks().await?;
        let told = self.drafts.len();
        self.drafts.extend(looks);
        if let Some(correlation) = &self.correlation {
            self.drafts = self.drafts.into_iter().map(|draft| draft.correlation(correlation)).collect();
        }
        let puts = self.queue.put(self.drafts).await?;
        let accepted = puts.iter().take(told).filter(|put| matches!(put, Put::Accepted(_))).count();
        Ok(Stored { accepted, duplicates: told - accepted })
    }

    fn check_project(&self, notification: &Notification) -> Result<(), Foreign> {
        let ours = &self.connection.config.commercetools.project_key;
        match &notification.project_key {
            Some(theirs) if theirs != ours => {
                Err(Foreign(format!("The notification is of project {theirs}, this connection of {ours}.")))
            }
            _ => Ok(()),
        }
    }

    fn add(&mut self, notification: &Notification, raw: &[u8]) {
        let (queue, name, source) = (self.queue, &self.connection.config.name, self.source);
        let start = |route: &str, key: String| queue.draft(name, route, key, source);
        self.drafts.push(draft(notification, Taken::by(&self.connection.config), start).body(raw.to_vec()));
        if let Some(number) = notification.order_number() {
            self.numbers.push((notification.resource_id.clone(), number));
        }
    }

    fn park(&mut self, raw: &[u8], reason: &'static str, why: String) {
        let key: String = Sha256::digest(raw).iter().map(|byte| format!("{byte:02x}")).collect();
        let name = &self.connection.config.name;
        let draft = self.queue.draft(name, "commercetools.unreadable", key, self.source);
        self.drafts.push(draft.body(raw.to_vec()).ended(Ending::Parked(reason), why));
    }

    /// A later look for each message whose predecessor did not come yet. Most of them are on their way.
    async fn looks(&self) -> Result<Vec<Draft>> {
        let (app, config) = (&self.queue.app, &self.connection.config);
        let came: Vec<String> = self.numbers.iter().map(|(id, number)| format!("{id}@{number}")).collect();
        let before = |(id, number): &(String, i64)| format!("{id}@{}", number - 1);
        let holes: Vec<&(String, i64)> =
            self.numbers.iter().filter(|number| number.1 > 1 && !came.contains(&before(number))).collect();
        let keys: Vec<String> = holes.iter().map(|hole| before(hole)).collect();
        let known = known(app, &config.name, &keys).await?;
        let due = app.clock().now() + config.poll.settle.millis();
        let look = |(id, number): &(String, i64)| {
            self.queue
                .draft(&config.name, GAP, format!("{id}@{number}"), Source::Handler)
                .subject(format!("gap:{id}"))
                .due(due)
                .payload(json!({"id": id, "number": number}))
        };
        Ok(holes.into_iter().filter(|hole| !known.contains(&before(hole))).map(look).collect())
    }
}

/// A notification as a message: to the route that it concerns, or ended.
pub fn draft(notification: &Notification, taken: Taken<'_>, start: impl FnOnce(&str, String) -> Draft) -> Draft {
    match notification.subject(taken) {
        Subject::Route(route) => {
            let mut payload = json!({"id": notification.resource_id, "type": notification.message_type});
            if let Some(sku) = &notification.sku {
                payload["sku"] = sku.as_str().into();
            }
            if notification.erases {
                payload["erases"] = true.into();
            }
            start(route, notification.key())
                .subject(notification.ordering())
                .at_least(notification.resource_version)
                .payload(payload)
        }
        Subject::Skip(skip, why) => {
            let route = format!("commercetools.{}", notification.resource_type);
            start(&route, notification.key()).ended(Ending::Skipped(skip.name()), why)
        }
    }
}

/// Which of these keys belong to messages of orders that came already, whatever became of them.
///
/// # Errors
/// When the database cannot be read.
pub async fn known(app: &App, connection: &str, keys: &[String]) -> Result<Vec<String>> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    app.store().read().await?.known_keys(connection, &ORDERS, keys).await
}
