//! The state of the simulated project: documents, versions, message numbers. Everything lives behind
//! one mutex, so the ledger's order is the order of the changes.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use super::catalogue;
use super::import::Imports;
use super::message::{self, Event};
use super::oauth::Tokens;
use super::push::Pusher;
use super::refusal::{Answer, Refusal};
use super::resource::{Resource, of_type, resource};
use super::update;
use crate::clock::{Clock, Millis, rfc3339};

pub(super) struct Project {
    pub key: String,
    pub clock: Clock,
    pub tokens: Tokens,
    /// Project setting `messages.enabled`: are Messages stored and can they be queried?
    pub messages_enabled: bool,
    /// Project setting `messages.deleteDaysAfterCreation`.
    messages_days: u64,
    /// Of the project itself.
    version: u64,
    /// How long after its timestamp a written row shows up in queries.
    pub late: Millis,
    /// How long after a write reads by id still answer what was there before it.
    pub stale: Millis,
    /// Most rows of a page that fit into one answer; `None` = any.
    pub largest_page: Option<usize>,
    pub imports: Imports,
    pub subscriptions: Vec<Arc<Pusher>>,
    /// Every Message ever sent, in Platform format; as text, because there may be very many.
    pub notifications: Vec<Arc<str>>,
    created_at: String,
    collections: HashMap<&'static str, Collection>,
    /// Last `sequenceNumber` per resource id.
    sequences: HashMap<String, u64>,
    dice: RefCell<StdRng>,
}

/// Documents of one resource. Ordered by the id's text, which is deliberately not the order in which
/// the platform sorts ids: a query without `sort` promises nothing.
#[derive(Default)]
struct Collection {
    rows: BTreeMap<String, Row>,
    keys: HashMap<String, String>,
    /// Ids by what is unique beside the key.
    places: HashMap<String, String>,
}

struct Row {
    document: Value,
    /// What queries see until `visible_at`.
    before: Option<Value>,
    visible_at: Millis,
    /// What reads by id see while reads are stale.
    earlier: Option<Value>,
    written: Millis,
}

impl Row {
    fn visible(&self, now: Millis) -> Option<&Value> {
        if now >= self.visible_at { Some(&self.document) } else { self.before.as_ref() }
    }
}

/// Who changes something.
#[derive(Clone, Copy)]
pub(super) enum Author<'a> {
    Client(&'a str),
    /// The shop itself; there is no API client to name.
    Shop,
}

impl Project {
    pub fn new(key: String, clock: Clock, seed: u64) -> Self {
        let created_at = rfc3339(clock.now());
        Self {
            key,
            clock,
            tokens: Tokens::default(),
            messages_enabled: false,
            messages_days: 15,
            version: 1,
            late: 0,
            stale: 0,
            largest_page: None,
            imports: Imports::default(),
            subscriptions: Vec::new(),
            notifications: Vec::new(),
            created_at,
            collections: HashMap::new(),
            sequences: HashMap::new(),
            dice: RefCell::new(StdRng::seed_from_u64(seed)),
        }
    }

    /// The answer to `GET /{projectKey}`.
    pub fn settings(&self) -> Value {
        json!({
            "version": self.version,
            "key": self.key,
            "name": self.key,
            "countries": ["DE", "AT", "US"],
            "currencies": ["EUR", "USD", "JPY"],
            "languages": ["en-GB", "de-DE"],
            "createdAt": self.created_at,
            "messages": {"enabled": self.messages_enabled, "deleteDaysAfterCreation": self.messages_days},
            "carts": {"deleteDaysAfterLastModification": 90, "countryTaxRateFallbackEnabled": false},
            "discounts": {"discountCombinationMode": "Stacking"},
            "inventory": {"releaseExpiredReservations": true, "reservationExpirationInMinutes": 1440},
            "productCatalogModel": "Classic"
        })
    }

    /// `POST /{projectKey}`: all actions or none. Answers whether something changed, and the names of the actions.
    pub fn update_settings(&mut self, body: &Value) -> Answer<(bool, Vec<String>)> {
        let (expected, actions) = update::parts(body)?;
        if expected != self.version {
            return Err(Refusal::conflict(&self.key, expected, self.version));
        }
        let (mut enabled, mut days) = (self.messages_enabled, self.messages_days);
        for (name, action) in &actions {
            match *name {
                "changeMessagesConfiguration" => {
                    let configuration = &action["messagesConfiguration"];
                    let given =
                        configuration["enabled"].as_bool().zip(configuration["deleteDaysAfterCreation"].as_u64());
                    let given = given.filter(|(_, days)| (1..=90).contains(days));
                    (enabled, days) = given.ok_or_else(|| {
                        Refusal::invalid_json(
                            "messagesConfiguration: Expected enabled and deleteDaysAfterCreation (1 to 90)",
                        )
                    })?;
                }
                other => return Err(Refusal::not_simulated(format!("Project action {other}"))),
            }
        }
        let changed = (enabled, days) != (self.messages_enabled, self.messages_days);
        self.version += u64::from(changed);
        (self.messages_enabled, self.messages_days) = (enabled, days);
        Ok((changed, actions.into_iter().map(|(name, _)| name.to_owned()).collect()))
    }

    pub fn new_id(&self) -> String {
        uuid::Builder::from_random_bytes(self.dice.borrow_mut().random()).into_uuid().to_string()
    }

    /// The document as it is. Reads by id are strongly consistent (A3).
    pub fn find(&self, resource: &Resource, id: &str) -> Option<&Value> {
        self.collections.get(resource.path)?.rows.get(id).map(|row| &row.document)
    }

    /// What a read by id answers: [`Project::find`], unless reads are stale.
    pub fn read(&self, resource: &Resource, id: &str) -> Option<&Value> {
        let row = self.collections.get(resource.path)?.rows.get(id)?;
        let stale = self.stale > 0 && self.clock.now() < row.written + self.stale;
        if stale { row.earlier.as_ref() } else { Some(&row.document) }
    }

    pub fn find_key(&self, resource: &Resource, key: &str) -> Option<&Value> {
        let id = self.collections.get(resource.path)?.keys.get(key)?;
        self.find(resource, id)
    }

    /// Takes a document away; false if there is none.
    pub fn remove(&mut self, resource: &Resource, id: &str) -> bool {
        let Some(collection) = self.collections.get_mut(resource.path) else { return false };
        collection.keys.retain(|_, known| known.as_str() != id);
        collection.places.retain(|_, known| known.as_str() != id);
        collection.rows.remove(id).is_some()
    }

    /// All documents, whether queries see them yet or not.
    pub fn all(&self, resource: &Resource) -> impl Iterator<Item = &Value> {
        self.collections.get(resource.path).into_iter().flat_map(|all| all.rows.values()).map(|row| &row.document)
    }

    /// What a query sees now.
    pub fn visible(&self, resource: &Resource) -> impl Iterator<Item = &Value> {
        let now = self.clock.now();
        let rows = self.collections.get(resource.path).into_iter().flat_map(|all| all.rows.values());
        rows.filter_map(move |row| row.visible(now))
    }

    /// Follows a resource identifier (`id` or `key`) in `field`, which must be of type `type_id`.
    pub fn resolve(&self, type_id: &str, field: &str, identifier: Option<&Value>) -> Answer<&Value> {
        let identifier = identifier.filter(|value| value.is_object());
        let identifier = identifier.ok_or_else(|| Refusal::invalid_json(format!("{field}: Missing required value")))?;
        let text = |name: &str| identifier.get(name).and_then(Value::as_str);
        if text("typeId").is_some_and(|found| found != type_id) {
            return Err(Refusal::invalid_json(format!("{field} -> typeId: Expected '{type_id}'")));
        }
        let target = of_type(type_id);
        let (name, value, found) = match (text("id"), text("key")) {
            (Some(id), _) => ("id", id, target.and_then(|target| self.find(target, id))),
            (None, Some(key)) => ("key", key, target.and_then(|target| self.find_key(target, key))),
            (None, None) => return Err(Refusal::invalid_json(format!("{field}: Either 'id' or 'key' is required"))),
        };
        found.ok_or_else(|| Refusal::reference(type_id, name, value))
    }

    /// Refuses a document whose unique identifier another one has.
    pub fn check_unique(&self, resource: &Resource, document: &Value) -> Answer<()> {
        if let Some(place) = resource.unique.and_then(|unique| unique(document)) {
            let taken = self.collections.get(resource.path).and_then(|all| all.places.get(&place));
            if taken.is_some_and(|id| document["id"] != id.as_str()) {
                return Err(Refusal::duplicate("sku", &document["sku"]));
            }
        }
        let Some((field, _)) = resource.key else { return Ok(()) };
        let Some(key) = document.get(field).and_then(Value::as_str) else { return Ok(()) };
        match self.find_key(resource, key) {
            Some(other) if other["id"] != document["id"] => Err(Refusal::duplicate(field, &document[field])),
            _ => Ok(()),
        }
    }

    /// Stores `document` as its next version and tells the world. `steps` are the changes on the way,
    /// each with the version it led to. The caller has checked uniqueness.
    pub fn commit(
        &mut self,
        resource: &'static Resource,
        mut document: Value,
        author: Author,
        steps: Vec<(u64, Event)>,
    ) -> Value {
        let now = rfc3339(self.clock.now());
        let is_new = self.find(resource, document["id"].as_str().unwrap_or_default()).is_none();
        if document.get("createdAt").is_none() {
            document["createdAt"] = now.as_str().into();
            if let Author::Client(id) = author {
                document["createdBy"] = message::client(id);
            }
        }
        document["lastModifiedAt"] = now.into();
        match (author, document.as_object_mut()) {
            (Author::Client(id), _) => document["lastModifiedBy"] = message::client(id),
            (Author::Shop, Some(fields)) => drop(fields.remove("lastModifiedBy")),
            (Author::Shop, None) => {}
        }
        self.write(resource, document.clone());
        for (version, event) in steps {
            self.announce(resource, &document, version, event, author);
        }
        self.announce_change(resource, if is_new { "ResourceCreated" } else { "ResourceUpdated" }, &document);
        document
    }

    /// Subscriptions take changes of categories and customers only: these have few Messages.
    pub fn announce_change(&mut self, resource: &Resource, kind: &str, document: &Value) {
        if matches!(resource.type_id, "category" | "customer") {
            self.notify(message::change(&self.key, kind, resource.type_id, document));
        }
    }

    fn notify(&mut self, notification: Value) {
        let notification: Arc<str> = notification.to_string().into();
        for subscription in &self.subscriptions {
            subscription.enqueue(&notification);
        }
        self.notifications.push(notification);
    }

    fn write(&mut self, resource: &'static Resource, document: Value) {
        self.write_row(resource, document.clone());
        let projections = self::resource("product-projections").filter(|_| resource.type_id == "product");
        if let Some(projections) = projections {
            match catalogue::published(&document) {
                Some(projection) => self.write_row(projections, projection),
                None => drop(self.remove(projections, document["id"].as_str().unwrap_or_default())),
            }
        }
    }

    fn write_row(&mut self, resource: &'static Resource, document: Value) {
        let now = self.clock.now();
        let id = document["id"].as_str().unwrap_or_default().to_owned();
        let collection = self.collections.entry(resource.path).or_default();
        let before = collection.rows.remove(&id);
        if let Some(unique) = resource.unique {
            if let Some(old) = before.as_ref().and_then(|row| unique(&row.document)) {
                collection.places.remove(&old);
            }
            if let Some(place) = unique(&document) {
                collection.places.insert(place, id.clone());
            }
        }
        if let Some((field, _)) = resource.key {
            if let Some(old) = before.as_ref().and_then(|row| row.document.get(field)?.as_str()) {
                collection.keys.remove(old);
            }
            if let Some(key) = document.get(field).and_then(Value::as_str) {
                collection.keys.insert(key.to_owned(), id.clone());
            }
        }
        // Several writes of one moment are one version.
        let earlier = before.as_ref().and_then(|row| match row.written < now {
            true => Some(row.document.clone()),
            false => row.earlier.clone(),
        });
        let before = before.filter(|_| self.late > 0).and_then(|row| row.visible(now).cloned());
        collection.rows.insert(id, Row { document, before, visible_at: now + self.late, earlier, written: now });
    }

    pub fn announce(&mut self, resource: &Resource, document: &Value, version: u64, mut event: Event, author: Author) {
        // A creation carries the whole resource: as stored, with its dates.
        if let Some(whole) = event.fields.get_mut(resource.type_id) {
            *whole = document.clone();
        }
        let id = document["id"].as_str().unwrap_or_default();
        let sequence = self.sequences.entry(id.to_owned()).or_default();
        *sequence += 1;
        let sequence = *sequence;
        let message_id = self.new_id();
        let message = message::message(&message_id, sequence, resource.type_id, document, version, event, author);
        self.notify(message::notification(&self.key, &message));
        if let (true, Some(messages)) = (self.messages_enabled, self::resource("messages")) {
            self.write(messages, message);
        }
    }

    /// Reads by id are this long behind.
    pub fn stale_reads(&mut self, by: Duration) {
        self.stale = by.as_millis() as Millis;
    }

    /// Rows written from now on show up in queries this long after their timestamp.
    pub fn commit_late(&mut self, by: Duration) {
        self.late = by.as_millis() as Millis;
    }
}
