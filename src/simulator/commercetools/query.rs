//! Query endpoints (platform-commercetools A2): `where`, `sort`, paging, `withTotal`, `expand`.

use std::cmp::Ordering;

use serde_json::{Value, json};

use super::oauth::Caller;
use super::predicate::{Inputs, Predicate, compare_texts};
use super::project::Project;
use super::refusal::{Answer, Refusal};
use super::resource::{Resource, of_type};

/// The parameters of one request, in the order given.
pub(super) struct Parameters(pub Vec<(String, String)>);

/// `GET /{resource}`.
pub(super) fn query(project: &Project, resource: &Resource, parameters: &Parameters, caller: &Caller) -> Answer<Value> {
    let limit = parameters.number("limit", 20, 500)?;
    let offset = parameters.number("offset", 0, 10_000)?;
    let with_total = parameters.flag("withTotal", true)?;
    let predicates = parameters.predicates(resource)?;
    let sort = parameters.sort(resource)?;
    let visible = project.visible(resource);
    let mut hits: Vec<&Value> =
        visible.filter(|document| predicates.iter().all(|predicate| predicate.matches(document))).collect();
    if !sort.is_empty() {
        hits.sort_by(|left, right| compare(&sort, left, right));
    }
    let total = if predicates.is_empty() { hits.len() } else { hits.len().min(10_000) };
    let mut results: Vec<Value> = hits.into_iter().skip(offset).take(limit).cloned().collect();
    if project.largest_page.is_some_and(|largest| results.len() > largest) {
        return Err(Refusal::content_too_large());
    }
    for document in &mut results {
        expand(project, parameters, caller, document);
    }
    let mut page = json!({"limit": limit, "offset": offset, "count": results.len(), "results": results});
    if with_total {
        page["total"] = total.into();
    }
    Ok(page)
}

impl Parameters {
    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// The version that a deletion expects.
    pub fn version(&self) -> Answer<u64> {
        let text = self.all("version").next();
        let version = text.and_then(|text| text.parse().ok());
        version.ok_or_else(|| malformed("version", "A version is required"))
    }

    pub fn number(&self, name: &str, default: usize, most: usize) -> Answer<usize> {
        let Some(text) = self.all(name).next() else { return Ok(default) };
        match text.parse() {
            Ok(number) if number <= most => Ok(number),
            _ => Err(malformed(name, format!("The {name} parameter must be in the range of [0..{most}]"))),
        }
    }

    fn flag(&self, name: &str, default: bool) -> Answer<bool> {
        match self.all(name).next() {
            None => Ok(default),
            Some(text) => text.parse().map_err(|_| malformed(name, format!("'{text}' is neither true nor false"))),
        }
    }

    fn predicates(&self, resource: &Resource) -> Answer<Vec<Predicate>> {
        let mut inputs = Inputs::new();
        for (name, value) in &self.0 {
            if let Some(name) = name.strip_prefix("var.") {
                inputs.entry(name.to_owned()).or_default().push(value.clone());
            }
        }
        self.all("where")
            .map(|text| Predicate::parse(text, &inputs, Some(resource.fields)).map_err(|why| malformed("where", why)))
            .collect()
    }

    fn sort(&self, resource: &Resource) -> Answer<Vec<Sort>> {
        self.all("sort")
            .map(|text| {
                let mut words = text.split_whitespace();
                let path = words.next().unwrap_or_default();
                let down = match words.next() {
                    None | Some("asc") => false,
                    Some("desc") => true,
                    Some(other) => return Err(malformed("sort", format!("'{other}' is no direction in '{text}'"))),
                };
                let path: Vec<String> = path.split('.').map(str::to_owned).collect();
                if words.next().is_some() || !resource.fields.contains(&path[0].as_str()) {
                    return Err(malformed("sort", format!("'{text}' is no sort expression for this resource")));
                }
                Ok(Sort { path, down })
            })
            .collect()
    }
}

fn malformed(name: &str, why: impl std::fmt::Display) -> Refusal {
    Refusal::invalid_input(format!("Malformed parameter: {name}: {why}"))
}

struct Sort {
    path: Vec<String>,
    down: bool,
}

fn compare(sort: &[Sort], left: &Value, right: &Value) -> Ordering {
    sort.iter()
        .map(|key| {
            let at = |document| key.path.iter().try_fold(document, |value: &Value, name| value.get(name));
            let order = values(key.path.last().map_or("", String::as_str), at(left), at(right));
            if key.down { order.reverse() } else { order }
        })
        .find(|order| order.is_ne())
        .unwrap_or(Ordering::Equal)
}

/// Absent values come first.
fn values(field: &str, left: Option<&Value>, right: Option<&Value>) -> Ordering {
    match (left, right) {
        (Some(Value::String(left)), Some(Value::String(right))) => compare_texts(field, left, right),
        (Some(Value::Number(left)), Some(Value::Number(right))) => {
            left.as_f64().partial_cmp(&right.as_f64()).unwrap_or(Ordering::Equal)
        }
        (Some(Value::Bool(left)), Some(Value::Bool(right))) => left.cmp(right),
        (left, right) => left.is_some().cmp(&right.is_some()),
    }
}

/// Puts `obj` on the references that the `expand` parameters name, three references deep at most.
/// Paths that lead nowhere are ignored; so are references to what the caller may not read.
pub(super) fn expand(project: &Project, parameters: &Parameters, caller: &Caller, document: &mut Value) {
    for path in parameters.all("expand") {
        let segments: Vec<&str> = path.split('.').collect();
        follow(project, caller, document, &segments, 3);
    }
}

fn follow(project: &Project, caller: &Caller, value: &mut Value, path: &[&str], depth: usize) {
    let Some((segment, rest)) = path.split_first() else { return };
    let (name, every) = match segment.strip_suffix("[*]") {
        Some(name) => (name, true),
        None => (*segment, false),
    };
    match value.get_mut(name) {
        Some(Value::Array(elements)) if every => {
            elements.iter_mut().for_each(|element| enter(project, caller, element, rest, depth));
        }
        Some(inner @ Value::Object(_)) if !every => enter(project, caller, inner, rest, depth),
        _ => {}
    }
}

fn enter(project: &Project, caller: &Caller, value: &mut Value, rest: &[&str], depth: usize) {
    let reference = value["typeId"].as_str().and_then(of_type).zip(value["id"].as_str());
    let Some((resource, id)) = reference else { return follow(project, caller, value, rest, depth) };
    if depth == 0 || !caller.may_view(&project.key, resource) {
        return;
    }
    let Some(found) = project.find(resource, id) else { return };
    if value.get("obj").is_none() {
        value["obj"] = found.clone();
    }
    follow(project, caller, &mut value["obj"], rest, depth - 1);
}
