//! Laying sources over each other (`surfaces.md` 1.1).
//!
//! Maps merge key by key and lists replace, except lists whose items have a `name`: those merge by
//! name. `null` takes away what earlier sources said, so that the default shows again; in maps with
//! free keys whose values may be `null` (`order_status.order.mapping`) it is a value of its own.

use serde_json::Value as Json;

use super::node::{Entry, Node, Origin, Value};
use super::shape::{Shape, named, nullable, shape};

/// `over` laid over `under`; both follow `schema`.
pub fn lay_over(under: Node, over: Node, schema: &Json) -> Node {
    // A merged map or list belongs to the place where the operator first mentioned it.
    let merged_origin = if under.origin == Origin::Default { over.origin.clone() } else { under.origin };
    let (value, origin) = match (shape(schema), under.value, over.value) {
        (Shape::Struct(properties), Value::Map(entries), Value::Map(changes)) => {
            let schema_of = |key: &str| properties.get(key).unwrap_or(&Json::Null);
            (merge(entries, changes, schema_of, |_| false), merged_origin)
        }
        (Shape::Map(values), Value::Map(entries), Value::Map(changes)) => {
            (merge(entries, changes, |_| values, nullable), merged_origin)
        }
        (Shape::List(item), Value::List(items), Value::List(changes)) if named(item) => {
            (Value::List(merge_named(items, changes, item)), merged_origin)
        }
        (_, _, value) => (value, over.origin),
    };
    Node { value, origin }
}

/// What the first source is laid over.
pub fn nothing() -> Node {
    Node { value: Value::Map(Vec::new()), origin: Origin::Default }
}

fn merge<'s>(
    mut entries: Vec<Entry>,
    changes: Vec<Entry>,
    schema_of: impl Fn(&str) -> &'s Json,
    null_is_value: impl Fn(&Json) -> bool,
) -> Value {
    for change in changes {
        let schema = schema_of(&change.key);
        let at = entries.iter().position(|entry| entry.key == change.key);
        if change.node.is_null() && !null_is_value(schema) {
            entries.retain(|entry| entry.key != change.key);
            continue;
        }
        let under = at.map(|at| entries[at].node.clone());
        let node = lay_over(under.unwrap_or_else(|| nothing_like(&change.node)), change.node, schema);
        let entry = Entry { node, ..change };
        match at {
            Some(at) => entries[at] = entry,
            None => entries.push(entry),
        }
    }
    Value::Map(entries)
}

fn merge_named(mut items: Vec<Node>, changes: Vec<Node>, schema: &Json) -> Vec<Node> {
    // An item without a name is an error that validation tells; here it has nowhere to go.
    for change in changes.into_iter().filter(|change| change.name().is_some()) {
        let at = items.iter().position(|item| item.name() == change.name());
        let under = at.map_or_else(|| nothing_like(&change), |at| items[at].clone());
        let item = lay_over(under, change, schema);
        match at {
            Some(at) => items[at] = item,
            None => items.push(item),
        }
    }
    items
}

/// An empty value of the same kind: laying over it drops the `null`s inside.
fn nothing_like(node: &Node) -> Node {
    let value = match node.value {
        Value::Map(_) => Value::Map(Vec::new()),
        Value::List(_) => Value::List(Vec::new()),
        _ => Value::Null,
    };
    Node { value, origin: node.origin.clone() }
}
