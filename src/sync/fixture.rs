//! What the tests of the mappings start from: a connection with all defaults, and an order that uses most rules.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::commercetools::model::Order;
use crate::config::model::Connection;

/// A connection with the defaults, and these overrides.
pub fn connection(overrides: &Value) -> Connection {
    let mut connection: Value = serde_json::from_str(include_str!("../../tests/fixtures/connection.json")).unwrap();
    merge(&mut connection, overrides);
    read(&connection)
}

/// The order of `tests/fixtures/order.json` as JSON.
pub fn document() -> Value {
    serde_json::from_str(include_str!("../../tests/fixtures/order.json")).unwrap()
}

/// The same order with changes; `null` removes a member.
pub fn order(changes: &Value) -> Order {
    let mut document = document();
    merge(&mut document, changes);
    read(&document)
}

/// As the client would read it: from text.
pub fn read<T: DeserializeOwned>(document: &Value) -> T {
    serde_json::from_str(&document.to_string()).unwrap()
}

/// Merges objects, and arrays by place; everything else is replaced.
fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (Value::Array(into), Value::Array(from)) if !from.is_empty() => {
            for (at, value) in from.iter().enumerate() {
                match into.get_mut(at) {
                    Some(into) => merge(into, value),
                    None => into.push(value.clone()),
                }
            }
        }
        (into, from) => *into = from.clone(),
    }
}
