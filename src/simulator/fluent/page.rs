//! Connections: filter, order, page (platform document 2.1 and 2.2).
//!
//! Rows come by id, or by (updatedOn, id) when `updatedOn` is filtered, so a page boundary is
//! stable. An empty filter list matches nothing; an absent or null filter matches everything.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::guard::instant;
use super::store::{Document, Refusal, Store, id_of, linked, text};
use crate::clock::Millis;

/// Rows per level when a document names neither `first` nor `last`.
pub const DEFAULT_FIRST: u64 = 10;

/// One page of a connection.
pub struct Page {
    /// Cursor and entity.
    pub edges: Vec<(String, Arc<Document>)>,
    pub previous: bool,
    pub next: bool,
}

/// Where the rows come from.
pub enum Rows<'a> {
    /// All entities of a kind.
    Kind(&'a str),
    /// The links on an owner.
    Links(&'a [Value]),
}

/// Answers a connection field. Refuses a cursor that this query did not hand out, and filters that
/// the simulator cannot apply.
pub fn page(store: &Store, rows: Rows<'_>, arguments: &Document) -> Result<Page, Refusal> {
    let by_time = arguments.get("updatedOn").is_some_and(|range| !range.is_null());
    let mut found = Vec::new();
    for id in candidates(store, &rows, arguments)? {
        let Some(document) = store.any(id) else { continue };
        if matches_all(store, &document, arguments)? {
            let key = if by_time { store.updated(id) } else { 0 };
            found.push(((key, id), document));
        }
    }
    found.sort_by_key(|(key, _)| *key);
    let (start, end) = bounds(&found, arguments, by_time)?;
    Ok(Page {
        previous: start > 0,
        next: end < found.len(),
        edges: found.drain(start..end).map(|(key, document)| (cursor(by_time, key), document)).collect(),
    })
}

fn candidates(store: &Store, rows: &Rows<'_>, arguments: &Document) -> Result<Vec<u64>, Refusal> {
    let kind = match rows {
        Rows::Links(links) => return Ok(links.iter().filter_map(linked).collect()),
        Rows::Kind(kind) => kind,
    };
    let reference = if *kind == "Customer" { "username" } else { "ref" };
    if let Some(refs) = arguments.get(reference).and_then(Value::as_array) {
        let mut refs: Vec<_> = refs.iter().filter_map(Value::as_str).collect();
        refs.sort_unstable();
        refs.dedup();
        return Ok(refs.into_iter().flat_map(|reference| store.ids_of(kind, reference)).collect());
    }
    match arguments.get("updatedOn").filter(|range| !range.is_null()) {
        Some(range) => {
            let (from, to) = ends(range)?;
            Ok(store.ids_updated(kind, from, to))
        }
        None => Ok(store.ids(kind)),
    }
}

type Key = (Millis, u64);

fn bounds(found: &[(Key, Arc<Document>)], arguments: &Document, by_time: bool) -> Result<(usize, usize), Refusal> {
    let named = |name: &str| arguments.get(name).and_then(Value::as_str);
    let mut start = 0;
    let mut end = found.len();
    if let Some(after) = named("after") {
        let after = read_cursor(after, by_time)?;
        start = found.partition_point(|(key, _)| *key <= after);
    }
    if let Some(before) = named("before") {
        let before = read_cursor(before, by_time)?;
        end = found.partition_point(|(key, _)| *key < before).max(start);
    }
    let size = |name: &str| arguments.get(name).and_then(Value::as_u64).map(|size| size as usize);
    match (size("first"), size("last")) {
        (None, Some(last)) => start = start.max(end.saturating_sub(last)),
        (first, _) => end = end.min(start + first.unwrap_or(DEFAULT_FIRST as usize)),
    }
    Ok((start, end))
}

fn cursor(by_time: bool, (at, id): Key) -> String {
    URL_SAFE_NO_PAD.encode(format!("cursor:{}:{at}:{id}", if by_time { "t" } else { "i" }))
}

fn read_cursor(cursor: &str, by_time: bool) -> Result<Key, Refusal> {
    let read = || {
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
        let text = text.strip_prefix(if by_time { "cursor:t:" } else { "cursor:i:" })?;
        let (at, id) = text.split_once(':')?;
        Some((at.parse().ok()?, id.parse().ok()?))
    };
    read().ok_or_else(|| Refusal::new("C0160E", format!("'{cursor}' is not a cursor of this query")))
}

fn matches_all(store: &Store, document: &Document, arguments: &Document) -> Result<bool, Refusal> {
    for (name, wanted) in arguments {
        if wanted.is_null() || ["first", "last", "before", "after"].contains(&name.as_str()) {
            continue;
        }
        if !matches_one(store, document, name, wanted)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn matches_one(store: &Store, document: &Document, name: &str, wanted: &Value) -> Result<bool, Refusal> {
    let have = document.get(name).unwrap_or(&Value::Null);
    match (name, wanted) {
        ("retailerId", Value::Array(ids)) => {
            // Some types hold a link, others name the retailer by its id.
            let retailer =
                document.get("retailer").and_then(|retailer| linked(retailer).or_else(|| id_of(&retailer["id"])));
            Ok(ids.iter().any(|id| id_of(id) == retailer))
        }
        (_, Value::Array(list)) if have.is_array() => Ok(list.iter().any(|one| same(one, have))),
        (_, Value::Array(list)) => Ok(list.iter().any(|one| same(one, have))),
        (_, Value::Object(key)) if key.contains_key("from") || key.contains_key("to") => {
            let (from, to) = ends(wanted)?;
            Ok(have.as_str().and_then(instant).is_some_and(|at| from <= at && at <= to))
        }
        ("category", Value::Object(key)) => {
            let links = document.get("categories").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            Ok(links.iter().filter_map(|link| store.follow(Some(link))).any(|category| {
                let catalogue = store.follow(category.get("catalogue"));
                category.get("ref") == key.get("ref")
                    && catalogue.is_some_and(|catalogue| catalogue.get("ref") == wanted["catalogue"].get("ref"))
            }))
        }
        ("catalogue" | "fromLocation" | "customerLink", Value::Object(key)) => {
            let target = store.follow(Some(have));
            let reference =
                target.as_ref().map_or_else(|| have["ref"].as_str().unwrap_or_default(), |to| text(to, "ref"));
            Ok(key.get("ref").and_then(Value::as_str) == Some(reference))
        }
        _ => Err(Refusal::new("S0001E", format!("filter {name} is not simulated yet"))),
    }
}

fn same(wanted: &Value, have: &Value) -> bool {
    match (wanted.as_f64(), have.as_f64()) {
        (Some(wanted), Some(have)) => wanted == have,
        _ => wanted == have,
    }
}

fn ends(range: &Value) -> Result<(Millis, Millis), Refusal> {
    let end = |name: &str, open: Millis| match range[name].as_str() {
        None => Ok(open),
        Some(text) => instant(text).ok_or_else(|| Refusal::new("C0100E", format!("'{text}' is not a date"))),
    };
    Ok((end("from", Millis::MIN)?, end("to", Millis::MAX)?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn orders(times: &[Millis]) -> Store {
        let mut store = Store::default();
        for (number, at) in times.iter().enumerate() {
            let order = json!({"ref": format!("O-{number}"), "type": "HD"});
            store.insert("Order", *at, order.as_object().cloned().unwrap());
        }
        store
    }

    fn read(store: &Store, arguments: Value) -> Result<(Vec<String>, Page), Refusal> {
        let page = page(store, Rows::Kind("Order"), arguments.as_object().unwrap())?;
        Ok((page.edges.iter().map(|(_, order)| text(order, "ref").to_owned()).collect(), page))
    }

    #[test]
    fn pages_by_time_then_id_and_skips_nothing_at_equal_times() {
        let store = orders(&[3_000, 1_000, 2_000, 2_000, 2_000]);
        let window = json!({"from": "1970-01-01T00:00:01.000Z", "to": "1970-01-01T00:00:02.000Z"});
        let (refs, first) = read(&store, json!({"updatedOn": window, "first": 2})).unwrap();
        assert_eq!(refs, ["O-1", "O-2"]);
        assert!(first.next && !first.previous);
        let after = &first.edges[1].0;
        let (refs, second) = read(&store, json!({"updatedOn": window, "first": 2, "after": after})).unwrap();
        assert_eq!(refs, ["O-3", "O-4"]);
        assert!(!second.next && second.previous);
    }

    #[test]
    fn ten_rows_unless_asked() {
        let store = orders(&[0; 11]);
        assert_eq!(read(&store, json!({})).unwrap().0.len(), 10);
        assert_eq!(read(&store, json!({"last": 2})).unwrap().0, ["O-9", "O-10"]);
    }

    #[test]
    fn foreign_cursors_are_refused() {
        let store = orders(&[0, 1]);
        assert_eq!(read(&store, json!({"after": "abc"})).err().unwrap().code, "C0160E");
        let (_, by_id) = read(&store, json!({"first": 1})).unwrap();
        let by_time = json!({"updatedOn": {"from": "1970-01-01T00:00:00Z"}, "after": by_id.edges[0].0});
        assert_eq!(read(&store, by_time).err().unwrap().code, "C0160E");
    }

    #[test]
    fn an_empty_list_matches_nothing_and_null_everything() {
        let store = orders(&[0, 1]);
        assert!(read(&store, json!({"ref": []})).unwrap().0.is_empty());
        assert_eq!(read(&store, json!({"ref": null})).unwrap().0.len(), 2);
        assert_eq!(read(&store, json!({"type": ["CC"]})).unwrap().0.len(), 0);
    }
}
