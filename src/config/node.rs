//! The tree of values between YAML text and the structs: every value knows where it was written.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde_json::{Number, Value as Json};

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// `config/default.yml`, embedded.
    Default,
    /// Line and column count from 1.
    File { file: Arc<str>, line: usize, column: usize },
    /// An environment variable.
    Variable(Arc<str>),
}

/// A value and its origin.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    pub value: Value,
    pub origin: Origin,
}

/// The values of YAML's core schema.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    /// In the order of the text.
    Map(Vec<Entry>),
}

/// A key with its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub key: String,
    /// Where the key stands.
    pub origin: Origin,
    pub node: Node,
}

impl Node {
    /// The value under `key`, if this is a map that has it.
    pub fn at(&self, key: &str) -> Option<&Node> {
        self.entries().iter().find(|entry| entry.key == key).map(|entry| &entry.node)
    }

    /// The keys of a map; nothing for anything else.
    pub fn entries(&self) -> &[Entry] {
        if let Value::Map(entries) = &self.value { entries } else { &[] }
    }

    /// The items of a list; nothing for anything else.
    pub fn items(&self) -> &[Node] {
        if let Value::List(items) = &self.value { items } else { &[] }
    }

    pub fn text(&self) -> Option<&str> {
        if let Value::Text(text) = &self.value { Some(text) } else { None }
    }

    pub fn is_null(&self) -> bool {
        self.value == Value::Null
    }

    /// The `name` of an item of a list that merges by name.
    pub fn name(&self) -> Option<&str> {
        self.at("name").and_then(Node::text)
    }

    /// Puts `node` under `key`, over what stands there.
    pub fn put(&mut self, key: &str, node: Node) {
        if let Value::Map(entries) = &mut self.value {
            match entries.iter_mut().find(|entry| entry.key == key) {
                Some(entry) => entry.node = node,
                None => entries.push(Entry { key: key.to_owned(), origin: node.origin.clone(), node }),
            }
        }
    }

    /// Takes `key` out of a map.
    pub fn remove(&mut self, key: &str) {
        if let Value::Map(entries) = &mut self.value {
            entries.retain(|entry| entry.key != key);
        }
    }

    /// Levels of lists and maps below and including this one.
    pub fn depth(&self) -> usize {
        let own = usize::from(matches!(self.value, Value::List(_) | Value::Map(_)));
        own + self.children().map(Node::depth).max().unwrap_or(0)
    }

    /// Number of values in here, this one included.
    pub fn size(&self) -> usize {
        1 + self.children().map(Node::size).sum::<usize>()
    }

    fn children(&self) -> impl Iterator<Item = &Node> {
        self.entries().iter().map(|entry| &entry.node).chain(self.items())
    }

    /// The same value without origins, for serde.
    pub fn to_json(&self) -> Json {
        match &self.value {
            Value::Null => Json::Null,
            Value::Bool(yes) => Json::Bool(*yes),
            Value::Number(number) => Json::Number(number.clone()),
            Value::Text(text) => Json::String(text.clone()),
            Value::List(items) => Json::Array(items.iter().map(Node::to_json).collect()),
            Value::Map(entries) => {
                Json::Object(entries.iter().map(|entry| (entry.key.clone(), entry.node.to_json())).collect())
            }
        }
    }

    /// Every path in here with its origin, containers included.
    pub fn origins(&self) -> BTreeMap<String, Origin> {
        let mut origins = BTreeMap::new();
        self.collect_origins("", &mut origins);
        origins
    }

    fn collect_origins(&self, path: &str, origins: &mut BTreeMap<String, Origin>) {
        for entry in self.entries() {
            entry.node.collect_origins(&join(path, &entry.key), origins);
        }
        for (n, item) in self.items().iter().enumerate() {
            item.collect_origins(&join_item(path, item.name(), n), origins);
        }
        origins.insert(path.to_owned(), self.origin.clone());
    }
}

/// `a` and `b` → `a.b`; a key that is itself dotted → `a[b.c]`.
pub fn join(path: &str, key: &str) -> String {
    match (path.is_empty(), key.contains(['.', ' ', '['])) {
        (_, true) => format!("{path}[{key}]"),
        (true, false) => key.to_owned(),
        (false, false) => format!("{path}.{key}"),
    }
}

/// `connections[main]`, or `order.attributes[2]` if items have no name.
pub fn join_item(path: &str, name: Option<&str>, index: usize) -> String {
    name.map_or_else(|| format!("{path}[{index}]"), |name| format!("{path}[{name}]"))
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => write!(f, "default"),
            Self::File { file, line, column } => write!(f, "{file}:{line}:{column}"),
            Self::Variable(name) => write!(f, "{name}"),
        }
    }
}

/// The value as an error names it; long texts are cut.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => write!(f, "null"),
            Self::Bool(yes) => write!(f, "{yes}"),
            Self::Number(number) => write!(f, "the number {number}"),
            Self::Text(text) if text.chars().count() > 40 => {
                write!(f, "the text {:?}…", text.chars().take(40).collect::<String>())
            }
            Self::Text(text) => write!(f, "the text {text:?}"),
            Self::List(_) => write!(f, "a list"),
            Self::Map(_) => write!(f, "a map"),
        }
    }
}
