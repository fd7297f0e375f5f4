//! Environment variables `FLUENT_CONNECTOR__A__B=value` as sources of the configuration.
//!
//! A variable's name is a path in capitals with `__` between its parts and `_` for everything that is
//! neither letter nor digit; names of list items and free keys are found among those that exist.
//! Its value is read as a YAML scalar or flow value (`surfaces.md` 1.1).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::sync::Arc;

use serde_json::Value as Json;

use super::node::{Entry, Node, Origin, Value, join, join_item};
use super::problem::Problem;
use super::shape::{Shape, named, shape};
use super::validate::nearest;
use super::yaml::{Source, parse};

/// What every variable that sets a key starts with.
pub const PREFIX: &str = "FLUENT_CONNECTOR__";

/// The variables of this process that set keys.
pub fn variables() -> BTreeMap<String, String> {
    let all = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
    let ours = all.filter(|(name, _)| name.starts_with(PREFIX));
    ours.map(|(name, value)| (name, value.to_string_lossy().into_owned())).collect()
}

/// One variable of this process.
pub fn variable(name: &str) -> Option<OsString> {
    #[expect(clippy::disallowed_methods, reason = "the configuration is the place that reads the environment")]
    std::env::var_os(name)
}

/// The tree that holds nothing but what `variable` sets. `base` is what other sources say; names of
/// items and free keys are looked up there.
pub fn tree(variable: &str, text: &str, schema: &Json, base: &Node) -> Result<Node, Vec<Problem>> {
    let source: Arc<str> = variable.into();
    let parts: Vec<&str> = variable.trim_start_matches(PREFIX).split("__").collect();
    let place = Place { variable, parts: &parts, path: String::new() };
    let steps = place.steps(schema, Some(base)).map_err(|problem| vec![problem])?;
    let path = steps.iter().fold(String::new(), |path, step| match step {
        Step::Key(key) => join(&path, key),
        Step::Item(name) => join_item(&path, Some(name), 0),
    });
    let (node, problems) = parse(text, &Source::Variable(source.clone()));
    let problems: Vec<Problem> =
        problems.into_iter().map(|problem| Problem { path: join_paths(&path, &problem.path), ..problem }).collect();
    let Some(node) = node.filter(|_| problems.is_empty()) else { return Err(problems) };
    Ok(steps.into_iter().rev().fold(node, |node, step| step.around(node, Origin::Variable(source.clone()))))
}

/// Items of lists that merge by name, whose names no variable can tell apart.
pub fn collisions(tree: &Node, schema: &Json) -> Vec<Problem> {
    let mut problems = Vec::new();
    find_collisions(tree, schema, "", &mut problems);
    problems
}

fn find_collisions(tree: &Node, schema: &Json, path: &str, problems: &mut Vec<Problem>) {
    match shape(schema) {
        Shape::Struct(properties) => {
            for entry in tree.entries() {
                if let Some(schema) = properties.get(&entry.key) {
                    find_collisions(&entry.node, schema, &join(path, &entry.key), problems);
                }
            }
        }
        Shape::List(items) if named(items) => {
            let mut seen: BTreeMap<String, &str> = BTreeMap::new();
            for (item, name) in tree.items().iter().filter_map(|item| Some((item, item.name()?))) {
                if let Some(other) = seen.insert(in_capitals(name), name) {
                    let sentence = format!("environment variables cannot tell the names {name:?} and {other:?} apart");
                    problems.push(Problem::new(&item.origin, join_item(path, Some(name), 0), sentence));
                }
            }
        }
        _ => {}
    }
}

/// One step from a value to one inside it.
#[derive(Debug)]
enum Step {
    Key(String),
    Item(String),
}

impl Step {
    /// The value that has nothing but `node` at this step.
    fn around(self, mut node: Node, origin: Origin) -> Node {
        let value = match self {
            Self::Key(key) => Value::Map(vec![Entry { key, origin: origin.clone(), node }]),
            Self::Item(name) => {
                if node.at("name").is_none() {
                    node.put("name", Node { value: Value::Text(name), origin: origin.clone() });
                }
                Value::List(vec![node])
            }
        };
        Node { value, origin }
    }
}

/// A variable's name on the way down.
struct Place<'v> {
    variable: &'v str,
    /// What is left of the name.
    parts: &'v [&'v str],
    path: String,
}

impl Place<'_> {
    fn steps(self, schema: &Json, base: Option<&Node>) -> Result<Vec<Step>, Problem> {
        let Some(&part) = self.parts.first() else { return Ok(Vec::new()) };
        match shape(schema) {
            Shape::Struct(properties) => {
                let Some((key, schema)) = properties.iter().find(|(key, _)| in_capitals(key) == part) else {
                    let suggestion = nearest(&part.to_lowercase(), properties.keys().map(String::as_str));
                    let advice =
                        suggestion.map_or(String::new(), |key| format!("; did you mean {:?}?", in_capitals(key)));
                    return Err(self.problem(part, format!("unknown key{advice}")));
                };
                self.key(key, schema, base)
            }
            Shape::Map(values) => {
                let keys = base.map(Node::entries).unwrap_or_default().iter().map(|entry| entry.key.as_str());
                let key = self.one_of(part, keys)?.ok_or_else(|| self.unknown_free_key(part))?.to_owned();
                self.key(&key, values, base)
            }
            Shape::List(items) if named(items) => {
                let nodes = base.map(Node::items).unwrap_or_default();
                // Names of items have no underscore, so a new name can be read back.
                let new_name = part.to_lowercase().replace('_', "-");
                let name = self.one_of(part, nodes.iter().filter_map(Node::name))?.unwrap_or(&new_name).to_owned();
                let node = nodes.iter().find(|node| node.name() == Some(&name));
                let path = join_item(&self.path, Some(&name), 0);
                let below = Place { parts: &self.parts[1..], path, ..self }.steps(items, node)?;
                Ok([Step::Item(name)].into_iter().chain(below).collect())
            }
            Shape::Secret => Ok(vec![Step::Key(self.parts.join("__").to_lowercase())]),
            Shape::List(_) => Err(self.problem(part, "a list is set as a whole: [a, b]".to_owned())),
            _ => Err(self.problem(part, "unknown key; nothing is below this value".to_owned())),
        }
    }

    fn key(self, key: &str, schema: &Json, base: Option<&Node>) -> Result<Vec<Step>, Problem> {
        let path = join(&self.path, key);
        let below =
            Place { parts: &self.parts[1..], path, ..self }.steps(schema, base.and_then(|node| node.at(key)))?;
        Ok([Step::Key(key.to_owned())].into_iter().chain(below).collect())
    }

    /// The name among `names` that is `part` in capitals.
    fn one_of<'n>(&self, part: &str, names: impl Iterator<Item = &'n str>) -> Result<Option<&'n str>, Problem> {
        let found: Vec<&str> = names.filter(|name| in_capitals(name) == part).collect();
        match found[..] {
            [a, b, ..] => Err(self.problem(part, format!("could be {a:?} or {b:?}"))),
            [name] => Ok(Some(name)),
            [] => Ok(None),
        }
    }

    fn unknown_free_key(&self, part: &str) -> Problem {
        let whole = self.variable.strip_suffix(&self.parts.join("__")).unwrap_or(self.variable).trim_end_matches('_');
        self.problem(part, format!("no source has this key yet; set the map: {whole}='{{key: value}}'"))
    }

    fn problem(&self, part: &str, sentence: String) -> Problem {
        Problem::new(self.variable, join(&self.path, &part.to_lowercase()), sentence)
    }
}

/// `stock-urgent` → `STOCK_URGENT`.
fn in_capitals(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
}

fn join_paths(path: &str, below: &str) -> String {
    if below.is_empty() { path.to_owned() } else { format!("{path}.{below}") }
}
