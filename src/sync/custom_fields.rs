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
    /// Most characters of a String field (F 1.9).
    pub max_length: usize,
}

/// Compares what is wanted with what was found.
pub fn write(wanted: &Wanted, found: Option<&Custom>, ours: &CustomType, known: &Known) -> (Writing, Vec<Note>) {
    let our_type = known.type_with_key(&ours.key);
    let Some(found) = found else { return set_type(wanted, ours, our_type) };
    let found_type = known.type_named(&found.kind);
    let label = found_type.map_or_else(|| found.kind.label(), |found| &found.key);
    let is_ours = label == ours.key;
    let (mut fields, mut missing, mut notes) = (Vec::new(), Vec::new(), Vec::new());
    for (name, value) in &wanted.values {
        match wanted.fit_field(name, value, found_type, is_ours, &mut notes) {
            Some(value) if found.fields.get(*name) != Some(&value) => fields.push(((*name).to_owned(), value)),
            Some(_) => {}
            None => missing.push(*name),
        }
    }
    if !missing.is_empty() && !is_ours && ours.on_foreign == OnForeign::Replace {
        return set_type(wanted, ours, our_type);
    }
    notes.extend(foreign(wanted, label, &missing));
    (Writing::Fields(fields), notes)
}

/// The resource gets our Type with everything we have for it.
fn set_type(wanted: &Wanted, ours: &CustomType, our_type: Option<&Type>) -> (Writing, Vec<Note>) {
    let (mut fields, mut missing, mut notes) = (Map::new(), Vec::new(), Vec::new());
    for (name, value) in &wanted.values {
        match wanted.fit_field(name, value, our_type, true, &mut notes) {
            Some(value) => drop(fields.insert((*name).to_owned(), value)),
            None => missing.push(*name),
        }
    }
    notes.extend(foreign(wanted, &ours.key, &missing));
    if fields.is_empty() {
        (Writing::Fields(vec![]), notes)
    } else {
        (Writing::Type { key: ours.key.clone(), fields }, notes)
    }
}

impl Wanted<'_> {
    /// The value in the type the field has; `None` if the Type has no usable field of this name. Our
    /// own Type is taken as provisioned if its definition was not read.
    fn fit_field(
        &self,
        name: &str,
        value: &Value,
        of: Option<&Type>,
        is_ours: bool,
        notes: &mut Vec<Note>,
    ) -> Option<Value> {
        let value = match of {
            Some(known) => known.field(name).and_then(|kind| fit(value, kind))?,
            None => is_ours.then(|| value.clone())?,
        };
        let Some(cut) = value.as_str().and_then(|text| without_the_oldest(text, self.max_length)) else {
            return Some(value);
        };
        let sentence = format!(
            "{name} of {} was longer than {} characters; the oldest entries were left out.",
            self.resource, self.max_length
        );
        notes.push(Note::new("custom_type.cut", sentence));
        Some(cut.into())
    }
}

/// A JSON list that is too long, without as many of its first elements as needed; `None` if it is
/// short enough, or no list.
fn without_the_oldest(text: &str, max_length: usize) -> Option<String> {
    let mut left = text.chars().count();
    if left <= max_length {
        return None;
    }
    let elements: Vec<&RawValue> = serde_json::from_str(text).ok()?;
    let mut kept = elements.as_slice();
    left = 1 + kept.iter().map(|element| element.get().chars().count() + 1).sum::<usize>();
    while left > max_length
        && let Some((oldest, rest)) = kept.split_first()
    {
        left -= oldest.get().chars().count() + 1;
        kept = rest;
    }
    let kept: Vec<&str> = kept.iter().map(|element| element.get()).collect();
    Some(format!("[{}]", kept.join(",")))
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
        Wanted { values, resource: "order 100234", what: "the link in custom fields", max_length: 10_000 }
    }

    #[test]
    fn our_type_gets_only_the_fields_that_differ() {
        let known = known("flOrder", json!({"flOrderId": {"name": "String"}, "flOrderRef": {"name": "String"}}));
        let found = on("flOrder", json!({"flOrderId": "6469", "flOrderRef": "old"}));
        let (writing, notes) = write(&wanted(), Some(&found), &ours(OnForeign::Skip), &known);
        assert_eq!(writing, Writing::Fields(vec![("flOrderRef".into(), json!("HD_100234"))]));
        assert_eq!(notes, []);
    }

    #[test]
    fn an_extended_foreign_type_is_written_in_its_own_field_types() {
        let known = known("merchant", json!({"flOrderId": {"name": "Number"}, "flOrderRef": {"name": "String"}}));
        let (writing, notes) = write(&wanted(), Some(&on("merchant", json!({}))), &ours(OnForeign::Skip), &known);
        let fields = vec![("flOrderId".into(), json!(6469)), ("flOrderRef".into(), json!("HD_100234"))];
        assert_eq!((writing, notes), (Writing::Fields(fields), vec![]));
        let same = on("merchant", json!({"flOrderId": 6469, "flOrderRef": "HD_100234"}));
        let (writing, _) = write(&wanted(), Some(&same), &ours(OnForeign::Skip), &known);
        assert_eq!(writing, Writing::Fields(vec![]));
    }

    #[test]
    fn a_field_of_an_unusable_type_counts_as_missing() {
        let known = known("merchant", json!({"flOrderId": {"name": "Boolean"}, "flOrderRef": {"name": "String"}}));
        let (writing, notes) = write(&wanted(), Some(&on("merchant", json!({}))), &ours(OnForeign::Skip), &known);
        assert_eq!(writing, Writing::Fields(vec![("flOrderRef".into(), json!("HD_100234"))]));
        assert_eq!(
            notes[0].sentence,
            "order 100234 carries the custom Type merchant, which has no field flOrderId; flOrderId was not written."
        );
    }

    #[test]
    fn a_foreign_type_is_replaced_only_when_that_is_asked_for() {
        let known = known("merchant", json!({"gift": {"name": "String"}}));
        let found = on("merchant", json!({"gift": "Hi"}));
        let (skipped, notes) = write(&wanted(), Some(&found), &ours(OnForeign::Skip), &known);
        assert_eq!((skipped, notes.len()), (Writing::Fields(vec![]), 1));
        let (replaced, notes) = write(&wanted(), Some(&found), &ours(OnForeign::Replace), &known);
        let fields = json!({"flOrderId": "6469", "flOrderRef": "HD_100234"}).as_object().unwrap().clone();
        assert_eq!((replaced, notes), (Writing::Type { key: "flOrder".into(), fields }, vec![]));
    }

    #[test]
    fn a_list_that_is_too_long_loses_its_oldest_elements() {
        let wanted =
            |max_length| Wanted { values: vec![("list", json!(r#"[{"a":1},{"ä":2},3]"#))], max_length, ..wanted() };
        let cut = |max_length| {
            let (writing, notes) = write(&wanted(max_length), None, &ours(OnForeign::Skip), &Known::default());
            let Writing::Type { fields, .. } = writing else { panic!("{writing:?}") };
            (fields["list"].clone(), notes.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        let note = |max_length| {
            format!(
                "custom_type.cut: list of order 100234 was longer than {max_length} characters; the oldest entries were left out."
            )
        };
        assert_eq!(cut(19), (json!(r#"[{"a":1},{"ä":2},3]"#), vec![]));
        assert_eq!(cut(18), (json!(r#"[{"ä":2},3]"#), vec![note(18)]));
        assert_eq!(cut(11).0, json!(r#"[{"ä":2},3]"#));
        assert_eq!(cut(10).0, json!("[3]"));
        assert_eq!(cut(2).0, json!("[]"));
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
