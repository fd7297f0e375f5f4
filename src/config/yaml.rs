//! YAML text → tree of values, by the YAML 1.2 core schema and within limits.
//!
//! `yes`, `no`, `on` and `off` are plain text. Anchors are allowed; custom tags, merge keys, more
//! than 64 levels or 1 MiB are refused (`surfaces.md` 1.1).

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Number;
use serde_saphyr::granit_parser::{self, Event, Marker, Parser, ScalarStyle, ScanError, StrInput, StructureStyle, Tag};

use super::node::{Entry, Node, Origin, Value, join, join_item};
use super::problem::Problem;

/// Levels of lists and maps.
const DEPTH: usize = 64;
/// Bytes of one file.
pub const BYTES: u64 = 1024 * 1024;
/// Values of one file after its aliases are replaced; stops a file whose aliases multiply.
const VALUES: usize = 100_000;

/// Where a text comes from, for the origins of its values.
#[derive(Clone, Debug)]
pub enum Source {
    Default,
    File(Arc<str>),
    /// One value: a scalar or a flow list or map.
    Variable(Arc<str>),
}

/// Reads one document. Problems of single values leave the rest readable; after a syntax error there
/// is no tree. An empty text is an empty map in a file and `null` in a variable.
pub fn parse(text: &str, source: &Source) -> (Option<Node>, Vec<Problem>) {
    let options = granit_parser::options! { emit_comments: false };
    let events = Parser::new_from_str_with_options(text, options);
    let mut reader = Reader { events, source, anchors: HashMap::new(), values: 0, problems: Vec::new() };
    let tree = reader.document();
    let mut problems = reader.problems;
    match tree {
        Ok(tree) => (Some(tree), problems),
        Err(problem) => {
            problems.push(problem);
            (None, problems)
        }
    }
}

type Tagged<'t> = Option<std::borrow::Cow<'t, Tag>>;

struct Reader<'t> {
    events: Parser<'t, StrInput<'t>>,
    source: &'t Source,
    anchors: HashMap<usize, Node>,
    values: usize,
    problems: Vec<Problem>,
}

impl<'t> Reader<'t> {
    fn document(&mut self) -> Result<Node, Problem> {
        let mut tree = None;
        loop {
            match self.next()? {
                (Event::StreamStart | Event::DocumentEnd, _) => {}
                (Event::StreamEnd, _) => break,
                (Event::DocumentStart(..), at) if tree.is_some() => {
                    return Err(self.problem(at, "", "a second document; a configuration is one document"));
                }
                (Event::DocumentStart(..), _) => {
                    let (event, at) = self.next()?;
                    tree = Some(self.node(event, at, "", 0)?);
                }
                (event, at) => return Err(self.problem(at, "", format!("unexpected {event:?}"))),
            }
        }
        let start = Node { value: Value::Null, origin: self.origin(Marker::new(0, 1, 0)) };
        let mut tree = tree.unwrap_or(start);
        if tree.is_null() && !matches!(self.source, Source::Variable(_)) {
            tree.value = Value::Map(Vec::new());
        }
        Ok(tree)
    }

    fn node(&mut self, event: Event<'t>, at: Marker, path: &str, depth: usize) -> Result<Node, Problem> {
        self.values += 1;
        if self.values > VALUES {
            return Err(self.problem(at, path, format!("more than {VALUES} values")));
        }
        let (anchor, value) = match event {
            Event::Alias(anchor) => return self.alias(anchor, at, path, depth),
            Event::Scalar(text, style, anchor, tag) => (anchor, self.scalar(&text, style, tag, at, path)),
            Event::SequenceStart(style, anchor, tag) => {
                self.structure(style, tag, "seq", at, path, depth)?;
                (anchor, self.list(path, depth)?)
            }
            Event::MappingStart(style, anchor, tag) => {
                self.structure(style, tag, "map", at, path, depth)?;
                (anchor, self.map(path, depth)?)
            }
            event => return Err(self.problem(at, path, format!("unexpected {event:?}"))),
        };
        let node = Node { value, origin: self.origin(at) };
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn list(&mut self, path: &str, depth: usize) -> Result<Value, Problem> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Value::List(items)),
                (event, at) => items.push(self.node(event, at, &join_item(path, None, items.len()), depth + 1)?),
            }
        }
    }

    fn map(&mut self, path: &str, depth: usize) -> Result<Value, Problem> {
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let (event, at) = self.next()?;
            if event == Event::MappingEnd {
                return Ok(Value::Map(entries));
            }
            let key = self.key(event, at, path)?;
            let inner = join(path, &key);
            let (event, value_at) = self.next()?;
            let node = self.node(event, value_at, &inner, depth + 1)?;
            if key == "<<" {
                let sentence = "merge keys are not part of YAML 1.2; an alias (*name) stands for a whole value";
                self.report(at, path, sentence);
            } else if let Some(first) = entries.iter().find(|entry| entry.key == key) {
                let sentence = format!("duplicate key; it stands at {} already", first.origin);
                self.report(at, inner, sentence);
            } else {
                entries.push(Entry { key, origin: self.origin(at), node });
            }
        }
    }

    fn key(&mut self, event: Event<'t>, at: Marker, path: &str) -> Result<String, Problem> {
        match event {
            Event::Scalar(text, style, _, tag) => {
                let plain = style == ScalarStyle::Plain && tag.is_none();
                if plain && resolve(&text) == Value::Null {
                    return Err(self.problem(at, path, "a key cannot be null; quote it if it is meant as text"));
                }
                Ok(text.into_owned())
            }
            Event::Alias(anchor) => match self.anchors.get(&anchor).and_then(Node::text) {
                Some(text) => Ok(text.to_owned()),
                None => Err(self.problem(at, path, "a key must be text")),
            },
            _ => Err(self.problem(at, path, "a key must be text")),
        }
    }

    fn alias(&mut self, anchor: usize, at: Marker, path: &str, depth: usize) -> Result<Node, Problem> {
        let Some(node) = self.anchors.get(&anchor) else {
            return Err(self.problem(at, path, "an anchor cannot contain itself"));
        };
        self.values += node.size();
        if self.values > VALUES {
            return Err(self.problem(at, path, format!("more than {VALUES} values")));
        }
        if depth + node.depth() > DEPTH {
            return Err(self.problem(at, path, format!("more than {DEPTH} levels")));
        }
        Ok(Node { value: node.value.clone(), origin: self.origin(at) })
    }

    fn structure(
        &mut self,
        style: StructureStyle,
        tag: Tagged<'t>,
        own: &str,
        at: Marker,
        path: &str,
        depth: usize,
    ) -> Result<(), Problem> {
        if depth >= DEPTH {
            return Err(self.problem(at, path, format!("more than {DEPTH} levels")));
        }
        if style == StructureStyle::Block && matches!(self.source, Source::Variable(_)) {
            return Err(self.problem(
                at,
                path,
                "a variable holds one value: text, a number, [a, b] or {a: b}; quote it",
            ));
        }
        if let Some(tag) = tag.filter(|tag| !tag.is_yaml_core_schema_tag(own)) {
            let what = if tag.is_custom() { "custom tags are" } else { "this tag is" };
            self.report(at, path, format!("{what} not allowed: {}", tag.original()));
        }
        Ok(())
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, tag: Tagged<'t>, at: Marker, path: &str) -> Value {
        let as_written = || if style == ScalarStyle::Plain { resolve(text) } else { Value::Text(text.to_owned()) };
        let Some(tag) = tag else { return as_written() };
        let resolved = resolve(text);
        match (tag.core_suffix(), &resolved) {
            (Some("str"), _) => return Value::Text(text.to_owned()),
            (Some("null"), Value::Null) | (Some("bool"), Value::Bool(_)) => return resolved,
            (Some("int"), Value::Number(number)) if !number.is_f64() => return resolved,
            (Some("float"), Value::Number(_)) => return resolved,
            (Some(_), _) => self.report(at, path, format!("{} does not fit its tag {}", resolved, tag.original())),
            (None, _) => self.report(at, path, format!("custom tags are not allowed: {}", tag.original())),
        }
        as_written()
    }

    fn next(&mut self) -> Result<(Event<'t>, Marker), Problem> {
        match self.events.next_event() {
            Some(Ok((event, span))) => Ok((event, span.tag_start().unwrap_or(span.start))),
            Some(Err(error)) => Err(self.syntax(&error)),
            None => Ok((Event::StreamEnd, Marker::default())),
        }
    }

    fn syntax(&self, error: &ScanError) -> Problem {
        self.problem(*error.marker(), "", format!("not readable as YAML: {}", error.info()))
    }

    fn report(&mut self, at: Marker, path: impl Into<String>, sentence: impl Into<String>) {
        let problem = self.problem(at, path, sentence);
        self.problems.push(problem);
    }

    fn problem(&self, at: Marker, path: impl Into<String>, sentence: impl Into<String>) -> Problem {
        Problem::new(self.origin(at), path, sentence)
    }

    fn origin(&self, at: Marker) -> Origin {
        match self.source {
            Source::Default => Origin::Default,
            Source::File(file) => Origin::File { file: file.clone(), line: at.line(), column: at.col() + 1 },
            Source::Variable(name) => Origin::Variable(name.clone()),
        }
    }
}

/// The value of a plain scalar (YAML 1.2.2, 10.3.2). Infinity and not-a-number stay text: no key
/// takes them.
fn resolve(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    match number(text) {
        Some(number) => Value::Number(number),
        None => Value::Text(text.to_owned()),
    }
}

fn number(text: &str) -> Option<Number> {
    for (prefix, radix) in [("0o", 8), ("0x", 16)] {
        if let Some(digits) = text.strip_prefix(prefix) {
            return u64::from_str_radix(digits, radix).ok().filter(|_| !digits.starts_with('+')).map(Number::from);
        }
    }
    let digits = text.trim_start_matches(['+', '-']);
    let shaped = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && digits.contains(|c: char| c.is_ascii_digit())
        && text.len() - digits.len() <= 1
        && digits.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-'));
    if !shaped {
        return None;
    }
    let whole = text.parse::<u64>().map(Number::from).or_else(|_| text.parse::<i64>().map(Number::from));
    whole.ok().or_else(|| text.parse::<f64>().ok().and_then(Number::from_f64))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn file(text: &str) -> (Option<Node>, Vec<String>) {
        let (tree, problems) = parse(text, &Source::File("c.yml".into()));
        (tree, problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn plain_scalars_follow_the_core_schema() {
        let text = "[null, ~, true, False, yes, off, 12, -3, +7, 0x1F, 0o17, 1.5, .5, 1e3, 1_000, 1.2.3, 5s, '5', NO]";
        let (tree, problems) = file(text);
        assert!(problems.is_empty());
        let expected = json!([
            null, null, true, false, "yes", "off", 12, -3, 7, 31, 15, 1.5, 0.5, 1000.0, "1_000", "1.2.3", "5s", "5",
            "NO"
        ]);
        assert_eq!(tree.unwrap().to_json(), expected);
    }

    #[test]
    fn values_know_their_line_and_column() {
        let (tree, _) = file("server:\n  listen: \"a\"\n");
        let origin = tree.unwrap().at("server").unwrap().at("listen").unwrap().origin.to_string();
        assert_eq!(origin, "c.yml:2:11");
    }

    #[test]
    fn an_alias_stands_for_the_value_of_its_anchor() {
        let (tree, problems) = file("a: &x {b: 1}\nc: *x\n");
        assert!(problems.is_empty());
        assert_eq!(tree.unwrap().to_json(), json!({"a": {"b": 1}, "c": {"b": 1}}));
    }

    #[test]
    fn what_is_refused_is_named_with_its_place() {
        assert_eq!(file("a: 1\na: 2\n").1, ["c.yml:2:1 a: duplicate key; it stands at c.yml:1:1 already"]);
        assert_eq!(file("a: !secret b\n").1, ["c.yml:1:4 a: custom tags are not allowed: !secret"]);
        assert_eq!(file("a: !!int b\n").1, ["c.yml:1:4 a: the text \"b\" does not fit its tag !!int"]);
        assert!(file("a: &x {b: 1}\nc: {<<: *x}\n").1[0].starts_with("c.yml:2:5 c: merge keys"));
        assert!(file("a: 1\n---\nb: 1\n").1[0].contains("a second document"));
        assert!(file("a: [1, 2\nb: 3\n").1[0].contains("not readable as YAML"));
    }

    #[test]
    fn sixty_four_levels_are_allowed_and_no_more() {
        let nested = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(file(&nested(64)).1.is_empty());
        assert!(file(&nested(65)).1[0].contains("more than 64 levels"));
    }

    #[test]
    fn aliases_cannot_multiply_without_bound() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for n in 1..8 {
            let alias = format!("*a{}", n - 1);
            text += &format!("a{n}: &a{n} [{}]\n", [alias.as_str(); 10].join(", "));
        }
        assert!(file(&text).1[0].contains("more than 100000 values"));
    }

    #[test]
    fn a_variable_holds_one_scalar_or_flow_value() {
        let variable = |text: &str| parse(text, &Source::Variable("V".into()));
        assert_eq!(variable("[a, 2]").0.unwrap().to_json(), json!(["a", 2]));
        assert_eq!(variable("").0.unwrap().to_json(), json!(null));
        assert!(variable("a: b").1[0].to_string().starts_with("V: a variable holds one value"));
    }

    proptest::proptest! {
        /// Whatever an operator leaves in a file, it is a tree or a problem.
        #[test]
        fn no_text_stops_the_reader(text in "[a-b0-9:,&*!|>'\"{}\\[\\]<#~ \n-]{0,60}") {
            let (tree, problems) = file(&text);
            proptest::prop_assert!(tree.is_some() || !problems.is_empty());
        }
    }
}
