//! The entities of the simulated account: JSON documents that carry the schema's field names.
//!
//! A document refers to another one by a link (`{"@": "<id>"}`); a connection is a list of links on
//! its owner. All entity types draw from one ascending id counter.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::clock::{Millis, rfc3339};

/// One entity, or an object embedded in one.
pub type Document = Map<String, Value>;

/// What the platform refused, with its error code (platform document 2.4).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Refusal {
    pub code: &'static str,
    pub message: String,
}

impl Refusal {
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// C0120E: the entity that a write names does not exist.
    pub fn missing(kind: &str, key: impl std::fmt::Display) -> Self {
        Self::new("C0120E", format!("{kind} {key} was not found"))
    }

    /// C0123E: a value that must be unique is taken.
    pub fn taken(kind: &str, key: impl std::fmt::Display) -> Self {
        Self::new("C0123E", format!("{kind} {key} already exists"))
    }
}

/// All entities, with the indexes that the look-ups need.
pub struct Store {
    /// Rows that were written later do not show up in lists by time.
    pub indexed_to: Millis,
    /// Versions that were written later are not shown; the one before is.
    pub seen_to: Millis,
    entries: BTreeMap<u64, Entry>,
    kinds: BTreeMap<String, Kind>,
    last: u64,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            indexed_to: Millis::MAX,
            seen_to: Millis::MAX,
            entries: BTreeMap::new(),
            kinds: BTreeMap::new(),
            last: 0,
        }
    }
}

struct Entry {
    document: Arc<Document>,
    updated: Millis,
    /// The version before.
    before: Option<Arc<Document>>,
}

#[derive(Default)]
struct Kind {
    ids: BTreeSet<u64>,
    updated: BTreeSet<(Millis, u64)>,
    references: BTreeMap<String, BTreeSet<u64>>,
}

impl Store {
    /// The next id is greater than `id`.
    pub fn reserve(&mut self, id: u64) {
        self.last = self.last.max(id);
    }

    /// Adds an entity under a new id.
    pub fn insert(&mut self, kind: &str, now: Millis, document: Document) -> u64 {
        self.last += 1;
        self.insert_as(self.last, kind, now, document)
    }

    /// Adds an entity under a given id, which must be free.
    pub fn insert_as(&mut self, id: u64, kind: &str, now: Millis, mut document: Document) -> u64 {
        let stamp = rfc3339(now);
        document.insert("__typename".into(), kind.into());
        document.insert("id".into(), id.to_string().into());
        document.insert("createdOn".into(), stamp.clone().into());
        document.insert("updatedOn".into(), stamp.into());
        let index = self.kinds.entry(kind.to_owned()).or_default();
        index.ids.insert(id);
        index.updated.insert((now, id));
        index.references.entry(text(&document, "ref").to_owned()).or_default().insert(id);
        self.entries.insert(id, Entry { document: Arc::new(document), updated: now, before: None });
        id
    }

    /// Takes an entity away; links to it lead nowhere.
    pub fn remove(&mut self, id: u64) -> bool {
        let Some(entry) = self.entries.remove(&id) else { return false };
        if let Some(index) = self.kinds.get_mut(text(&entry.document, "__typename")) {
            index.ids.remove(&id);
            index.updated.remove(&(entry.updated, id));
            if let Some(ids) = index.references.get_mut(text(&entry.document, "ref")) {
                ids.remove(&id);
            }
        }
        true
    }

    /// The entity `id`, if it exists and is a `kind`.
    pub fn find(&self, kind: &str, id: u64) -> Option<Arc<Document>> {
        self.any(id).filter(|document| text(document, "__typename") == kind)
    }

    /// The entity `id`, of any kind.
    pub fn any(&self, id: u64) -> Option<Arc<Document>> {
        let entry = self.entries.get(&id)?;
        if entry.updated <= self.seen_to {
            return Some(entry.document.clone());
        }
        entry.before.clone()
    }

    /// The entity that a link points to.
    pub fn follow(&self, link: Option<&Value>) -> Option<Arc<Document>> {
        self.any(linked(link?)?)
    }

    /// When the entity was last written.
    pub fn updated(&self, id: u64) -> Millis {
        self.entries.get(&id).map_or(0, |entry| entry.updated)
    }

    /// All ids of a kind, ascending.
    pub fn ids(&self, kind: &str) -> Vec<u64> {
        self.kinds.get(kind).map(|index| index.ids.iter().copied().collect()).unwrap_or_default()
    }

    /// The ids of a kind that carry `reference`; refs are unique only together with an owner.
    pub fn ids_of(&self, kind: &str, reference: &str) -> Vec<u64> {
        let index = self.kinds.get(kind).and_then(|index| index.references.get(reference));
        index.map(|ids| ids.iter().copied().collect()).unwrap_or_default()
    }

    /// The ids of a kind written from `from` to `to` (both included), by (time, id).
    pub fn ids_updated(&self, kind: &str, from: Millis, to: Millis) -> Vec<u64> {
        let to = to.min(self.indexed_to);
        if from > to {
            return Vec::new();
        }
        let index = self.kinds.get(kind);
        let range = |index: &Kind| index.updated.range((from, 0)..=(to, u64::MAX)).map(|(_, id)| *id).collect();
        index.map(range).unwrap_or_default()
    }

    /// Changes an entity and bumps its `updatedOn`, also if nothing differs. True if something did.
    pub fn edit(&mut self, id: u64, now: Millis, change: impl FnOnce(&mut Document)) -> bool {
        let Some(entry) = self.entries.get_mut(&id) else { return false };
        let before = entry.document.clone();
        let document = Arc::make_mut(&mut entry.document);
        change(document);
        let changed = *document != *before;
        document.insert("updatedOn".into(), rfc3339(now).into());
        let stamped = std::mem::replace(&mut entry.updated, now);
        // Several writes of one moment are one version.
        if stamped < now {
            entry.before = Some(before.clone());
        }
        if let Some(index) = self.kinds.get_mut(text(&before, "__typename")) {
            index.updated.remove(&(stamped, id));
            index.updated.insert((now, id));
        }
        changed
    }

    /// Appends a link to a list of `owner` without touching its `updatedOn`: the owner itself did
    /// not change.
    pub fn attach(&mut self, owner: u64, list: &str, id: u64) {
        if let Some(entry) = self.entries.get_mut(&owner) {
            let document = Arc::make_mut(&mut entry.document);
            let links = document.entry(list).or_insert_with(|| json!([]));
            if let Some(links) = links.as_array_mut().filter(|links| !links.contains(&link(id))) {
                links.push(link(id));
            }
        }
    }

    /// Takes a link out of a list of `owner`, like [`Store::attach`] without touching its `updatedOn`.
    pub fn detach(&mut self, owner: u64, list: &str, id: u64) {
        if let Some(entry) = self.entries.get_mut(&owner)
            && let Some(Value::Array(links)) = Arc::make_mut(&mut entry.document).get_mut(list)
        {
            links.retain(|held| *held != link(id));
        }
    }

    /// The entity with what it owns written out, for tests and `/_control`: lists are expanded,
    /// single links become `{id, ref}`.
    pub fn show(&self, id: u64) -> Value {
        self.expand(id, &mut Vec::new())
    }

    fn expand(&self, id: u64, above: &mut Vec<String>) -> Value {
        let Some(document) = self.any(id) else { return Value::Null };
        let kind = text(&document, "__typename").to_owned();
        let brief = json!({"id": document["id"], "ref": document.get("ref").cloned().unwrap_or_default()});
        if above.contains(&kind) {
            return brief;
        }
        above.push(kind);
        let shown = document.iter().map(|(name, value)| {
            let value = match value {
                Value::Array(items) => items
                    .iter()
                    .map(|item| linked(item).map_or_else(|| item.clone(), |id| self.expand(id, above)))
                    .collect(),
                single => match self.follow(Some(single)) {
                    Some(other) if other.contains_key("street") => Value::Object((*other).clone()),
                    Some(other) => json!({"id": other["id"], "ref": other.get("ref").cloned().unwrap_or_default()}),
                    None => single.clone(),
                },
            };
            (name.clone(), value)
        });
        let shown = Value::Object(shown.collect());
        above.pop();
        shown
    }
}

/// A reference to the entity `id`.
pub fn link(id: u64) -> Value {
    json!({"@": id.to_string()})
}

/// The id that a link points to; `None` if the value is no link.
pub fn linked(value: &Value) -> Option<u64> {
    value.get("@")?.as_str()?.parse().ok()
}

/// An id as a client may write it: number or string.
pub fn id_of(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

/// A text member; empty if it is absent or no text.
pub fn text<'a>(document: &'a Document, name: &str) -> &'a str {
    document.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// Takes over the named members of an input that are present and not null: null leaves a stored
/// value as it is.
pub fn copy(document: &mut Document, input: &Value, names: &[&str]) {
    for name in names {
        if let Some(value) = input.get(*name).filter(|value| !value.is_null()) {
            document.insert((*name).into(), value.clone());
        }
    }
}

/// Writes the rows of `new` into a list: a row with equal `keys` is replaced, another one is added,
/// none is removed (platform document 2.1, update semantics).
pub fn upsert(document: &mut Document, list: &str, new: Option<&Value>, keys: &[&str]) {
    let Some(new) = new.and_then(Value::as_array) else { return };
    let rows = document.entry(list).or_insert_with(|| json!([]));
    let Some(rows) = rows.as_array_mut() else { return };
    for row in new.iter().filter(|row| !row.is_null()) {
        match rows.iter_mut().find(|old| keys.iter().all(|key| old[*key] == row[*key])) {
            Some(old) => *old = row.clone(),
            None => rows.push(row.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(value: Value) -> Document {
        value.as_object().cloned().unwrap()
    }

    #[test]
    fn editing_bumps_the_time_and_says_whether_anything_differs() {
        let mut store = Store::default();
        let id = store.insert("Customer", 1_000, document(json!({"ref": "a", "title": "Dr"})));
        assert!(!store.edit(id, 2_000, |customer| copy(
            customer,
            &json!({"title": "Dr", "ref": null}),
            &["title", "ref"]
        )));
        assert_eq!(text(&store.any(id).unwrap(), "updatedOn"), "1970-01-01T00:00:02.000Z");
        assert_eq!(store.ids_updated("Customer", 0, 1_999), Vec::<u64>::new());
        assert_eq!(store.ids_updated("Customer", 2_000, 2_000), vec![id]);
        assert!(store.edit(id, 3_000, |customer| copy(customer, &json!({"title": "Prof"}), &["title"])));
    }

    #[test]
    fn upsert_replaces_by_key_and_never_removes() {
        let mut product = document(json!({"prices": [
            {"type": "DEFAULT", "currency": "EUR", "value": 1.0}, {"type": "DEFAULT", "currency": "USD", "value": 2.0}]}));
        let new = json!([{"type": "DEFAULT", "currency": "USD", "value": 3.0}, {"type": "SPECIAL", "currency": "USD", "value": 2.5}]);
        upsert(&mut product, "prices", Some(&new), &["type", "currency"]);
        let values: Vec<f64> =
            product["prices"].as_array().unwrap().iter().map(|row| row["value"].as_f64().unwrap()).collect();
        assert_eq!(values, [1.0, 3.0, 2.5]);
    }
}
