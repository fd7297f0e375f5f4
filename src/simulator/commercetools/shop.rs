//! What the shop itself does, without the API: tests and the demo place orders, edit documents and
//! look at them here.

use std::time::Duration;

use serde_json::Value;

use super::catalogue;
use super::draft::OrderDraft;
use super::message;
use super::project::{Author, Project};
use super::push::{Push, Pusher};
use super::refusal::Answer;
use super::resource::{Resource, resource};
use super::{Commercetools, seed, update};
use crate::clock::{Millis, rfc3339};
use crate::simulator::front::lock;

impl Commercetools {
    /// Begins an order of the simulated shop; `None` = the shop gives no order numbers.
    pub fn order(&self, number: Option<&str>) -> OrderDraft {
        OrderDraft::new(self.clone(), number)
    }

    /// Stores a whole document as the shop itself: a new one, or the next version of the one with the
    /// same `id`. Sets `lastModifiedAt`, and `createdAt` unless given; changes of orders, payments and
    /// customers emit their messages. Answers the stored document.
    ///
    /// # Panics
    /// On an unknown resource and on a duplicate key or order number: both are mistakes of the test.
    pub fn put(&self, resource: &str, document: Value) -> Value {
        let stored = put(&mut lock(&self.0.project), known(resource), document);
        stored.unwrap_or_else(|refusal| panic!("the shop cannot store this: {}", refusal.message))
    }

    /// Changes a document as the shop itself, like [`Commercetools::put`]. `None` if there is none.
    ///
    /// # Panics
    /// As [`Commercetools::put`].
    pub fn edit(&self, resource: &str, id: &str, change: impl FnOnce(&mut Value)) -> Option<Value> {
        let resource = known(resource);
        let mut project = lock(&self.0.project);
        let mut document = project.find(resource, id)?.clone();
        change(&mut document);
        let stored = put(&mut project, resource, document);
        Some(stored.unwrap_or_else(|refusal| panic!("the shop cannot store this: {}", refusal.message)))
    }

    /// Deletes a document as the shop itself: with the notifications that the platform has for it, or
    /// without a word. False if there is none.
    ///
    /// # Panics
    /// On an unknown resource.
    pub fn delete(&self, resource: &str, id: &str) -> bool {
        self.delete_with(resource, id, false)
    }

    /// The same with `dataErasure`: whoever hears of it is asked to forget the person, too.
    ///
    /// # Panics
    /// On an unknown resource.
    pub fn erase(&self, resource: &str, id: &str) -> bool {
        self.delete_with(resource, id, true)
    }

    fn delete_with(&self, resource: &str, id: &str, erases: bool) -> bool {
        let resource = known(resource);
        let mut project = lock(&self.0.project);
        let Some(mut document) = project.find(resource, id).cloned() else { return false };
        let version = document["version"].as_u64().unwrap_or_default() + 1;
        document["version"] = version.into();
        document["lastModifiedAt"] = rfc3339(project.clock.now()).into();
        if resource.type_id == "product" {
            project.announce(resource, &document, version, catalogue::deleted(&document), Author::Shop);
            project.remove(known("product-projections"), id);
        }
        if let Some(event) = message::deleted(resource.type_id, &document) {
            project.announce(resource, &document, version, event, Author::Shop);
        }
        if erases {
            document["dataErasure"] = true.into();
        }
        project.announce_change(resource, "ResourceDeleted", &document);
        project.remove(resource, id)
    }

    /// An update as the API client would send it, without the way over HTTP: same guards, same messages.
    /// Answers the document as it is then.
    ///
    /// # Errors
    /// The error body that the platform would answer.
    ///
    /// # Panics
    /// On an unknown resource.
    pub fn update(&self, resource: &str, id: &str, body: &Value) -> Result<Value, Value> {
        let written = update::update(&mut lock(&self.0.project), known(resource), id, body, &self.0.options.client_id);
        written.map(|written| written.document).map_err(|refusal| refusal.body())
    }

    /// A document as it is now, also if queries do not see it yet.
    ///
    /// # Panics
    /// On an unknown resource.
    pub fn document(&self, resource: &str, id: &str) -> Option<Value> {
        lock(&self.0.project).find(known(resource), id).cloned()
    }

    /// All documents of a resource, in no promised order.
    ///
    /// # Panics
    /// On an unknown resource.
    pub fn documents(&self, resource: &str) -> Vec<Value> {
        lock(&self.0.project).all(known(resource)).cloned().collect()
    }

    /// Creates the channel, the Type, the shipping method and the customers that a connected shop has,
    /// and enables messages. May be called again.
    pub fn seed_shop(&self) {
        self.messages(true);
        for (resource, document) in seed::documents() {
            if self.document(resource, document["id"].as_str().unwrap_or_default()).is_none() {
                self.put(resource, document);
            }
        }
    }

    /// Project setting `messages.enabled`, off at first: are Messages kept for queries? Subscriptions
    /// deliver them in any case.
    pub fn messages(&self, enabled: bool) {
        lock(&self.0.project).messages_enabled = enabled;
    }

    /// Rows written from now on show up in queries only this long after their timestamp, as if their
    /// transaction took that long. Reads by id see them at once.
    pub fn commit_late(&self, by: Duration) {
        lock(&self.0.project).commit_late(by);
    }

    /// From now on reads by id, key or number answer what was there before the last write until so long
    /// after it, though the platform promises them to be current (A3). Writes see everything as it is.
    pub fn stale_reads(&self, by: Duration) {
        lock(&self.0.project).stale_reads(by);
    }

    /// Resources of the Import API are written so long after they were taken.
    pub fn import_delay(&self, by: Duration) {
        lock(&self.0.project).imports.delay = by.as_millis() as Millis;
    }

    /// A query whose answer would have more rows than this is refused with `ContentTooLarge`, as if the
    /// documents were that big.
    pub fn largest_page(&self, rows: Option<usize>) {
        lock(&self.0.project).largest_page = rows;
    }

    /// Adds a subscription to all messages; its test notification goes out first.
    pub fn subscribe(&self, push: Push) {
        let mut project = lock(&self.0.project);
        let seed = self.0.options.seed.wrapping_add(1 + project.subscriptions.len() as u64);
        let pusher = Pusher::new(push, project.clock.clone(), self.0.http.clone(), seed);
        let (id, at) = (project.new_id(), rfc3339(project.clock.now()));
        let key = format!("subscription-{}", project.subscriptions.len() + 1);
        pusher.enqueue(&message::test_notification(&project.key, &id, &key, &at).to_string().into());
        for _ in 0..pusher.workers() {
            self.0.runtime.spawn(pusher.clone().run(self.0.front.clone()));
        }
        project.subscriptions.push(pusher);
    }

    /// Deliveries that are due now or in flight; 0 = nothing happens before the clock moves.
    pub fn pending_pushes(&self) -> usize {
        lock(&self.0.project).subscriptions.iter().map(|pusher| pusher.pending()).sum()
    }

    /// Every message notification so far, whether a subscription delivered it or not.
    pub fn notifications(&self) -> Vec<Value> {
        let texts = lock(&self.0.project).notifications.clone();
        // Written by this process: every one of them is JSON.
        texts.iter().filter_map(|text| serde_json::from_str(text).ok()).collect()
    }

    /// Sends a notification (again) to every subscription, once and now. Answers the status of each;
    /// 0 = no answer.
    pub async fn deliver(&self, notification: &Value) -> Vec<u16> {
        let subscriptions = lock(&self.0.project).subscriptions.clone();
        let mut statuses = Vec::new();
        for subscription in subscriptions {
            statuses.push(subscription.attempt(notification.to_string()).await);
        }
        statuses
    }
}

/// See [`Commercetools::put`].
pub(super) fn put(project: &mut Project, resource: &'static Resource, mut document: Value) -> Answer<Value> {
    if document.get("id").is_none() {
        document["id"] = project.new_id().into();
    }
    let before = project.find(resource, document["id"].as_str().unwrap_or_default()).cloned();
    let version = match &before {
        Some(before) => before["version"].as_u64().unwrap_or_default() + 1,
        None => document["version"].as_u64().unwrap_or(1),
    };
    document["version"] = version.into();
    project.check_unique(resource, &document)?;
    let events = message::events(resource.type_id, before.as_ref(), &document);
    let steps = events.into_iter().map(|event| (version, event)).collect();
    Ok(project.commit(resource, document, Author::Shop, steps))
}

fn known(path: &str) -> &'static Resource {
    resource(path).unwrap_or_else(|| panic!("the simulated project has no resource {path}"))
}
