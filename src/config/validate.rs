//! One source against the shape of the configuration: unknown keys, wrong types, values out of range.
//!
//! A source may leave anything out, so missing keys are looked for after merging.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use super::node::{Node, Origin, Value, join, join_item};
use super::problem::Problem;
use super::shape::{Range, Shape, named, nullable, required, shape};
use super::value::{Network, Pace, Rate, Share, Size, Span};

/// Everything in `tree` that does not fit `schema`.
pub fn validate(tree: &Node, schema: &Json) -> Vec<Problem> {
    let mut validation = Validation { root: schema, problems: Vec::new() };
    validation.value(tree, schema, "");
    validation.problems
}

/// Keys of a merged tree that nobody gave and that have no default.
pub fn missing(tree: &Node, schema: &Json) -> Vec<Problem> {
    let mut problems = Vec::new();
    find_missing(tree, schema, "", &tree.origin, &mut problems);
    problems
}

/// Takes out keys that are missing only because they were misspelt.
pub fn unexplained(mut missing: Vec<Problem>, known: &[Problem]) -> Vec<Problem> {
    missing.retain(|missing| {
        let (parent, key) = missing.path.rsplit_once('.').unwrap_or(("", &missing.path));
        let suggestion = format!("did you mean {key:?}?");
        !known.iter().any(|problem| problem.path.starts_with(parent) && problem.sentence.ends_with(&suggestion))
    });
    missing
}

/// The nearest of `words`, at most two edits away; a word that only goes on after `_` counts as near
/// (`retailer` → `retailer_id`).
pub fn nearest<'w>(word: &str, words: impl IntoIterator<Item = &'w str>) -> Option<&'w str> {
    let goes_on = |long: &str, short: &str| long.strip_prefix(short).is_some_and(|rest| rest.starts_with('_'));
    let distance = |other: &str| {
        let near = goes_on(other, word) || goes_on(word, other);
        if near { 2 } else { strsim::levenshtein(&word.to_lowercase(), &other.to_lowercase()) }
    };
    let candidates = words.into_iter().map(|other| (distance(other), other));
    candidates.filter(|(distance, other)| *distance <= 2 && *distance < other.len()).min().map(|(_, other)| other)
}

struct Validation<'s> {
    root: &'s Json,
    problems: Vec<Problem>,
}

impl Validation<'_> {
    fn value(&mut self, node: &Node, schema: &Json, path: &str) {
        match (shape(schema), &node.value) {
            (Shape::Struct(properties), Value::Map(_)) => self.fixed_keys(node, properties, path),
            (Shape::Map(values), Value::Map(entries)) => {
                for entry in entries.iter().filter(|entry| !entry.node.is_null()) {
                    self.value(&entry.node, values, &join(path, &entry.key));
                }
            }
            (Shape::List(items), Value::List(nodes)) => self.items(nodes, items, path),
            (Shape::Secret, _) => self.secret(node, schema, path),
            (Shape::Written(kind), value) => self.written(node, kind, value, path),
            (Shape::Choice(words), value) => self.choice(node, &words, value, path),
            (Shape::Number(range), Value::Number(number)) => {
                if let Some(sentence) = outside(&range, number) {
                    self.report(node, path, sentence);
                }
            }
            (Shape::Text, Value::Text(_)) | (Shape::Boolean, Value::Bool(_)) => {}
            (Shape::Text, value @ (Value::Number(_) | Value::Bool(_))) => {
                self.report(node, path, format!("{value} is not text; write it in quotes"));
            }
            (Shape::Boolean, Value::Text(word)) if boolean_of_old(word).is_some() => {
                let advice = boolean_of_old(word).unwrap_or_default();
                self.report(node, path, format!("{word:?} is plain text in YAML 1.2; write {advice}"));
            }
            (shape, value) => {
                let nothing = if node.is_null() { "; leave the key out to get the default" } else { "" };
                self.report(node, path, format!("must be {}, not {value}{nothing}", expected(&shape)));
            }
        }
    }

    fn fixed_keys(&mut self, node: &Node, properties: &serde_json::Map<String, Json>, path: &str) {
        for entry in node.entries() {
            let inner = join(path, &entry.key);
            match properties.get(&entry.key) {
                // `null` resets to the default whatever the type.
                Some(_) if entry.node.is_null() => {}
                Some(schema) => self.value(&entry.node, schema, &inner),
                None => {
                    let siblings = properties.keys().map(String::as_str);
                    let suggestion = nearest(&entry.key, siblings).map(str::to_owned);
                    let suggestion = suggestion.or_else(|| elsewhere(self.root, path, &entry.key));
                    let sentence = match suggestion {
                        Some(suggestion) => format!("unknown key; did you mean {suggestion:?}?"),
                        None => "unknown key".to_owned(),
                    };
                    self.problems.push(Problem::new(&entry.origin, inner, sentence));
                }
            }
        }
    }

    fn items(&mut self, nodes: &[Node], items: &Json, path: &str) {
        let named = named(items);
        let mut seen = BTreeSet::new();
        for (n, node) in nodes.iter().enumerate() {
            let inner = join_item(path, node.name(), n);
            self.value(node, items, &inner);
            if !named {
                let found = unexplained(missing_in_item(node, items, &inner), &self.problems);
                self.problems.extend(found);
                continue;
            }
            match node.name() {
                None if node.at("name").is_none_or(Node::is_null) => self.report(node, &inner, "has no name"),
                Some(name) if !seen.insert(name.to_owned()) => {
                    self.report(node, &inner, format!("duplicate name {name:?}"));
                }
                _ => {}
            }
        }
    }

    /// Never shows the value: it may be the secret itself.
    fn secret(&mut self, node: &Node, schema: &Json, path: &str) {
        const FORMS: [&str; 4] = ["credential", "file", "env", "command"];
        let Value::Map(entries) = &node.value else {
            if node.text().is_none() {
                let sentence = "must be a secret: { credential: … }, { file: … }, { env: … } or { command: […] }";
                self.report(node, path, sentence);
            }
            return;
        };
        let given: Vec<&str> = FORMS.into_iter().filter(|form| node.at(form).is_some()).collect();
        let [form] = given[..] else {
            let sentence = "a secret takes exactly one of credential, file, env and command";
            return self.report(node, path, sentence);
        };
        let alternatives = secret_alternatives(schema);
        let alternative = alternatives.iter().find(|schema| schema["properties"].get(form).is_some());
        let Some(Json::Object(properties)) = alternative.map(|schema| &schema["properties"]) else { return };
        for entry in entries {
            let inner = join(path, &entry.key);
            match properties.get(&entry.key) {
                Some(schema) if !(entry.node.is_null() && nullable(schema)) => self.value(&entry.node, schema, &inner),
                Some(_) => {}
                None => {
                    let sentence = format!("unknown key in a secret by {form}");
                    self.problems.push(Problem::new(&entry.origin, inner, sentence));
                }
            }
        }
        if form == "command" && node.at(form).is_some_and(|command| command.items().is_empty()) {
            self.report(node, path, "the command needs at least the path of a program");
        }
    }

    fn written(&mut self, node: &Node, kind: &str, value: &Value, path: &str) {
        let text = match value {
            Value::Text(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            value => return self.report(node, path, format!("must be {}, not {value}", expected_written(kind))),
        };
        let wrong = match kind {
            "Span" => text.parse::<Span>().err(),
            "Size" => text.parse::<Size>().err(),
            "Share" => text.parse::<Share>().err(),
            "Pace" => text.parse::<Pace>().err(),
            "Network" => text.parse::<Network>().err(),
            _ => text.parse::<Rate>().err(),
        };
        match (wrong, value) {
            (Some(_), Value::Number(number)) if kind != "Pace" => {
                self.report(node, path, format!("{number} has no unit; write {}", expected_written(kind)));
            }
            (Some(sentence), _) => self.report(node, path, sentence),
            (None, _) => {}
        }
    }

    fn choice(&mut self, node: &Node, words: &[&str], value: &Value, path: &str) {
        let text = node.text().unwrap_or_default();
        if words.contains(&text) {
            return;
        }
        let one_of = words.join(", ");
        let sentence = match nearest(text, words.iter().copied()) {
            Some(word) => format!("{text:?} is not one of {one_of}; did you mean {word:?}?"),
            None => format!("must be one of {one_of}, not {value}"),
        };
        self.report(node, path, sentence);
    }

    fn report(&mut self, node: &Node, path: &str, sentence: impl Into<String>) {
        self.problems.push(Problem::new(&node.origin, path, sentence));
    }
}

fn missing_in_item(item: &Node, schema: &Json, path: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    find_missing(item, schema, path, &item.origin, &mut problems);
    problems
}

/// `around` is the nearest place the operator wrote; what is missing in a default is missing there.
fn find_missing(node: &Node, schema: &Json, path: &str, around: &Origin, problems: &mut Vec<Problem>) {
    let around = if node.origin == Origin::Default { around } else { &node.origin };
    let mut inside = |node: &Node, schema: &Json, path: &str| find_missing(node, schema, path, around, problems);
    match shape(schema) {
        // Anything but a map is an error of another kind.
        Shape::Struct(properties) if matches!(node.value, Value::Map(_)) => {
            for entry in node.entries() {
                if let Some(schema) = properties.get(&entry.key) {
                    inside(&entry.node, schema, &join(path, &entry.key));
                }
            }
            for key in required(schema).filter(|key| node.at(key).is_none()) {
                problems.push(Problem::new(around, join(path, key), "is missing and has no default"));
            }
        }
        Shape::Map(values) => {
            for entry in node.entries() {
                inside(&entry.node, values, &join(path, &entry.key));
            }
        }
        // Items without a name are complete or wrong in their own source.
        Shape::List(items) if named(items) => {
            for (n, item) in node.items().iter().enumerate() {
                inside(item, items, &join_item(path, item.name(), n));
            }
        }
        _ => {}
    }
}

/// Where else in the configuration a key of this name is; of several the one nearest to `path`.
fn elsewhere(root: &Json, path: &str, key: &str) -> Option<String> {
    let mut places = Vec::new();
    places_of(root, "", key, &mut places);
    // The item we are in is meant, not any other.
    let here = path.find('[').and_then(|at| Some((&path[..at], &path[..=path.find(']')?])));
    let place_here = |place: String| match here {
        Some((list, item)) => match place.strip_prefix(list).and_then(|rest| rest.strip_prefix("[]")) {
            Some(rest) => format!("{item}{rest}"),
            None => place,
        },
        None => place,
    };
    let common = |place: &String| place.bytes().zip(path.bytes()).take_while(|(a, b)| a == b).count();
    places.into_iter().map(place_here).rev().max_by_key(common)
}

fn places_of(schema: &Json, path: &str, key: &str, places: &mut Vec<String>) {
    match shape(schema) {
        Shape::Struct(properties) => {
            for (name, schema) in properties {
                let inner = join(path, name);
                if name == key {
                    places.push(inner.clone());
                }
                places_of(schema, &inner, key, places);
            }
        }
        Shape::List(items) => places_of(items, &format!("{path}[]"), key, places),
        _ => {}
    }
}

fn secret_alternatives(schema: &Json) -> Vec<&Json> {
    let all = schema.get("anyOf").and_then(Json::as_array).into_iter().flatten();
    all.flat_map(|schema| if schema.get("anyOf").is_some() { secret_alternatives(schema) } else { vec![schema] })
        .collect()
}

fn outside(range: &Range, number: &serde_json::Number) -> Option<String> {
    let value = number.as_f64()?;
    if range.whole && number.is_f64() {
        return Some(format!("must be a whole number, not {number}"));
    }
    let below =
        range.least.filter(|least| value < *least).map(|least| format!("must be at least {least}, not {number}"));
    let not_above =
        range.more_than.filter(|bound| value <= *bound).map(|bound| format!("must be more than {bound}, not {number}"));
    let above = range.most.filter(|most| value > *most).map(|most| format!("must be at most {most}, not {number}"));
    below.or(not_above).or(above)
}

/// What YAML 1.1 took for a boolean.
fn boolean_of_old(word: &str) -> Option<&'static str> {
    match word.to_ascii_lowercase().as_str() {
        "yes" | "on" | "y" => Some("true"),
        "no" | "off" | "n" => Some("false"),
        _ => None,
    }
}

fn expected(shape: &Shape<'_>) -> String {
    match shape {
        Shape::Struct(_) | Shape::Map(_) => "a map".to_owned(),
        Shape::List(_) => "a list".to_owned(),
        Shape::Choice(words) => format!("one of {}", words.join(", ")),
        Shape::Written(kind) => expected_written(kind).to_owned(),
        Shape::Secret => "a secret".to_owned(),
        Shape::Text => "text".to_owned(),
        Shape::Boolean => "true or false".to_owned(),
        Shape::Number(range) if range.whole => "a whole number".to_owned(),
        Shape::Number(_) => "a number".to_owned(),
    }
}

fn expected_written(kind: &str) -> &'static str {
    match kind {
        "Span" => "a duration with a unit, such as 250ms, 15s, 5m, 2h or 30d",
        "Size" => "a size with a unit, such as 512B, 64KiB, 1MiB or 2GiB",
        "Share" => "a share in percent, such as 40%",
        "Pace" => "auto, or a number",
        "Network" => "a network with a prefix, such as 10.0.0.0/8 or fd00::/8",
        _ => "a rate per second or minute, such as 20/s or 30/min",
    }
}
