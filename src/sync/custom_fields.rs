//! Custom fields on resources that may carry somebody else's custom Type.
//!
//! A resource has at most one custom Type, and setting another one deletes the fields of whoever
//! set the first. So a foreign Type is used where it defines our field and left alone otherwise
//! (`fluent-to-commercetools.md` 1.9).

use serde_json::value::RawValue;
use serde_json::{Map, Number, Value};

use super::slice::Note;
use crate::commercetools::known::{FieldType, Known, Type};
use crate::commercetools::remembered::Custom;
use crate::config::model::{CustomType, OnForeign};

/// How to bring the values onto the resource.
#[derive(Clone, Debug, PartialEq)]
pub enum Writing {
    /// Give it the Type with this key and these fields.
    Type { key: String, fields: Map<String, Value> },
    /// Set these fields of the Type it has; empty = all are as they should be.
    Fields(Vec<(String, Value)>),
}

/// What is to be written and how notes call it.
pub struct Wanted<'a> {
    /// Field name and value; a field without value is not in here and stays as it is.
    pub values: Vec<(&'a str, Value)>,
    /// The resource in a sentence: `order 100234`.
    pub resource: &'a str,
    /// The subject of "… was not written".
    pub what: &'a str,
}

/// Compares what is wanted with what was found.
pub fn write(wanted: &Wanted, found: Option<&Custom>, ours: &CustomType, known: &Known) -> (Writing, Option<Note>) {
    let our_type = known.type_with_key(&ours.key);
    let Some(found) = found else { return set_type(wanted, ours, our_type) };
    let found_type = known.type_named(&found.kind);
    let label = found_type.map_or_else(|| found.kind.label(), |found| &found.key);
    let is_ours = label == ours.key;
    let mut fields = Vec::new();
    let mut missing = Vec::new();
    for (name, value) in &wanted.values {
        match fit_field(name, value, found_type, is_ours) {
            Some(value) if found.fields.get(*name) != Some(&value) => fields.push(((*name).to_owned(), value)),
            Some(_) => {}
            None => missing.push(*name),
        }
    }
    if !missing.is_empty() && !is_ours && ours.on_foreign == OnForeign::Replace {
        return set_type(wanted, ours, our_type);
    }
    (Writing::Fields(fields), foreign(wanted, label, &missing))
}

/// The resource gets our Type with everything we have for it.
fn set_type(wanted: &Wanted, ours: &CustomType, our_type: Option<&Type>) -> (Writing, Option<Note>) {
    let mut fields = Map::new();
    let mut missing = Vec::new();
    for (name, value) in &wanted.values {
        match fit_field(name, value, our_type, true) {
            Some(value) => drop(fields.insert((*name).to_owned(), value)),
            None => missing.push(*name),
        }
    }
    let note = foreign(wanted, &ours.key, &missing);
    if fields.is_empty() {
        (Writing::Fields(vec![]), note)
    } else {
        (Writing::Type { key: ours.key.clone(), fields }, note)
    }
}

/// The value in the type the field has; `None` if the Type has no usable field of this name. Our
/// own Type is taken as provisioned if its definition was not read.
fn fit_field(name: &str, value: &Value, of: Option<&Type>, is_ours: bool) -> Option<Value> {
    match of {
        Some(known) => known.field(name).and_then(|kind| fit(value, kind)),
        None => is_ours.then(|| value.clone()),
    }
}

/// Number ↔ String is converted, a Set of String receives the elements of a JSON array.
fn fit(value: &Value, kind: &FieldType) -> Option<Value> {
    match (kind.name.as_str(), value) {
        ("String", Value::String(_)) | ("Number", Value::Number(_)) => Some(value.clone()),
        ("String", Value::Number(number)) => Some(number.to_string().into()),
        ("Number", Value::String(text)) => text.parse::<Number>().ok().map(Value::Number),
        ("Set", Value::String(text)) if kind.element_type.as_ref().is_some_and(|element| element.name == "String") => {
            let elements: Vec<&RawValue> = serde_json::from_str(text).ok()?;
            Some(elements.into_iter().map(element_text).collect())
        }
        _ => None,
    }
}

/// A text element without its quotes, anything else exactly as it was written.
fn element_text(element: &RawValue) -> Value {
    serde_json::from_str::<String>(element.get()).unwrap_or_else(|_| element.get().to_owned()).into()
}

fn foreign(wanted: &Wanted, label: &str, missing: &[&str]) -> Option<Note> {
    if missing.is_empty() {
        return None;
    }
    let fields = missing.join(", ");
    let what = if missing.len() == wanted.values.len() { wanted.what } else { fields.as_str() };
    Some(Note::new(
        "custom_type.foreign",
        format!(
            "{} carries the custom Type {label}, which has no field {fields}; {what} was not written.",
            wanted.resource
        ),
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn known(key: &str, fields: Value) -> Known {
        let definitions: Vec<Value> =
            fields.as_object().unwrap().iter().map(|(name, kind)| json!({"name": name, "type": kind})).collect();
        let kind = json!({"id": format!("id-of-{key}"), "key": key, "fieldDefinitions": definitions});
        Known { types: vec![serde_json::from_value(kind).unwrap()], ..Known::default() }
    }

    fn ours(on_foreign: OnForeign) -> CustomType {
        CustomType { key: "flOrder".into(), on_foreign, fields: Default::default() }
    }

    fn on(kind: &str, fields: Value) -> Custom {
        serde_json::from_value(json!({"type": {"typeId": "type", "id": format!("id-of-{kind}")}, "fields": fields}))
            .unwrap()
    }

    fn wanted() -> Wanted<'static> {
        let values = vec![("flOrderId", json!("6469")), ("flOrderRef", json!("HD_100234"))];
        Wanted { values, resource: "order 100234", what: "the link in custom fields" }
    }

    #[test]
    fn our_type_gets_only_the_fields_that_differ() {
        let known = known("flOrder", json!({"flOrderId": {"name": "String"}, "flOrderRef": {"name": "String"}}));
        let found = on("flOrder", json!({"flOrderId": "6469", "flOrderRef": "old"}));
        let (writing, note) = write(&wanted(), Some(&found), &ours(OnForeign::Skip), &known);
        assert_eq!(writing, Writing::Fields(vec![("flOrderRef".into(), json!("HD_100234"))]));
        assert_eq!(note, None);
    }

    #[test]
    fn an_extended_foreign_type_is_written_in_its_own_field_types() {
        let known = known("merchant", json!({"flOrderId": {"name": "Number"}, "flOrderRef": {"name": "String"}}));
        let (writing, note) = write(&wanted(), Some(&on("merchant", json!({}))), &ours(OnForeign::Skip), &known);
        let fields = vec![("flOrderId".into(), json!(6469)), ("flOrderRef".into(), json!("HD_100234"))];
        assert_eq!((writing, note), (Writing::Fields(fields), None));
        let same = on("merchant", json!({"flOrderId": 6469, "flOrderRef": "HD_100234"}));
        let (writing, _) = write(&wanted(), Some(&same), &ours(OnForeign::Skip), &known);
        assert_eq!(writing, Writing::Fields(vec![]));
    }

    #[test]
    fn a_field_of_an_unusable_type_counts_as_missing() {
        let known = known("merchant", json!({"flOrderId": {"name": "Boolean"}, "flOrderRef": {"name": "String"}}));
        let (writing, note) = write(&wanted(), Some(&on("merchant", json!({}))), &ours(OnForeign::Skip), &known);
        assert_eq!(writing, Writing::Fields(vec![("flOrderRef".into(), json!("HD_100234"))]));
        assert_eq!(
            note.unwrap().sentence,
            "order 100234 carries the custom Type merchant, which has no field flOrderId; flOrderId was not written."
        );
    }

    #[test]
    fn a_foreign_type_is_replaced_only_when_that_is_asked_for() {
        let known = known("merchant", json!({"gift": {"name": "String"}}));
        let found = on("merchant", json!({"gift": "Hi"}));
        let (skipped, note) = write(&wanted(), Some(&found), &ours(OnForeign::Skip), &known);
        assert_eq!((skipped, note.is_some()), (Writing::Fields(vec![]), true));
        let (replaced, note) = write(&wanted(), Some(&found), &ours(OnForeign::Replace), &known);
        let fields = json!({"flOrderId": "6469", "flOrderRef": "HD_100234"}).as_object().unwrap().clone();
        assert_eq!((replaced, note), (Writing::Type { key: "flOrder".into(), fields }, None));
    }

    #[test]
    fn a_set_of_string_receives_the_elements_as_they_are_written() {
        let set = FieldType {
            name: "Set".into(),
            element_type: Some(Box::new(FieldType { name: "String".into(), element_type: None })),
        };
        assert_eq!(fit(&json!(r#"[{"b":1,"a":2},"text"]"#), &set), Some(json!([r#"{"b":1,"a":2}"#, "text"])));
        assert_eq!(fit(&json!("HD_100234"), &set), None);
    }
}
