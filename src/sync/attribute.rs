//! Fluent attributes: our own, and those that configuration takes from the source by path.

use serde_json::Value;

use super::text::localized;
use crate::commercetools::model::{Localized, Number};
use crate::config::model::{AttributeRule, Connection};
use crate::fluent::input::{AttributeInput, Decimal};

/// An attribute of type `STRING`.
pub fn string(name: impl Into<String>, value: impl Into<String>) -> AttributeInput {
    AttributeInput { name: name.into(), kind: "STRING".into(), value: Value::String(value.into()) }
}

/// An attribute of another type.
pub fn typed(name: impl Into<String>, kind: &str, value: impl Into<Value>) -> AttributeInput {
    AttributeInput { name: name.into(), kind: kind.into(), value: value.into() }
}

/// The name of an attribute we own: `commercetools` + `OrderId`.
pub fn own(connection: &Connection, name: &str) -> String {
    format!("{}{name}", connection.attribute_prefix)
}

/// What the rules take out of the source; null and empty values are left out.
pub fn from_rules(source: &Value, rules: &[AttributeRule], chain: &[&str]) -> Vec<AttributeInput> {
    rules.iter().filter_map(|rule| from_rule(source, rule, chain)).collect()
}

fn from_rule(source: &Value, rule: &AttributeRule, chain: &[&str]) -> Option<AttributeInput> {
    let value = rule.from.split('.').try_fold(source, |value, step| match value {
        Value::Array(values) => values.get(step.parse::<usize>().ok()?),
        _ => value.get(step),
    })?;
    let value = match rule.kind.as_str() {
        "STRING" => Value::String(text(value, chain)?),
        _ => value.clone(),
    };
    let empty = match &value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        _ => false,
    };
    (!empty).then(|| typed(&rule.to, &rule.kind, value))
}

/// The names of attributes, in their order.
pub fn names(attributes: &[AttributeInput]) -> Vec<String> {
    attributes.iter().map(|attribute| attribute.name.clone()).collect()
}

/// Fluent never forgets an attribute: those that were written before and are not `now` become empty.
pub fn emptied(before: &[String], now: &[AttributeInput]) -> Vec<AttributeInput> {
    let gone = before.iter().filter(|name| !now.iter().any(|attribute| attribute.name == **name));
    gone.map(|name| string(name, "")).collect()
}

/// A value as text: digits of a number, the text of the best language, JSON of what has no shorter form.
pub fn text(value: &Value, chain: &[&str]) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Number(number) => Some(match digits(number) {
            Some(digits) => digits.to_string(),
            None => number.to_string(),
        }),
        Value::Object(_) => match texts(value) {
            Some(texts) => localized(&texts, chain).map(str::to_owned),
            None => Some(value.to_string()),
        },
        Value::Array(_) => Some(value.to_string()),
    }
}

/// A number of a free attribute with its digits, without exponent.
pub fn digits(number: &serde_json::Number) -> Option<Decimal> {
    let number: Number = number.to_string().parse().ok()?;
    Some(Decimal::new(number.unscaled, number.scale))
}

/// A localised text: an object whose members are language tags and texts.
pub fn texts(value: &Value) -> Option<Localized> {
    let members = value.as_object().filter(|members| !members.is_empty())?;
    members.iter().map(|(tag, text)| Some((tag.clone(), is_tag(tag).then(|| text.as_str())??.to_owned()))).collect()
}

/// `en`, `de-DE`, `zh-Hans-CN`.
fn is_tag(text: &str) -> bool {
    let mut parts = text.split('-');
    let language = parts
        .next()
        .is_some_and(|part| matches!(part.len(), 2 | 3) && part.bytes().all(|byte| byte.is_ascii_alphabetic()));
    language && parts.all(|part| matches!(part.len(), 1..=8) && part.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rule(from: &str, kind: &str) -> AttributeRule {
        AttributeRule { from: from.into(), to: "x".into(), kind: kind.into() }
    }

    #[test]
    fn values_are_found_by_path_and_written_by_type() {
        let source = json!({"custom": {"fields": {
            "gift": "for you", "empty": "", "null": null, "weight": 1.50, "tiny": 1e-7, "flag": true,
            "label": {"en": "Red", "de": "Rot"}, "list": [{"a": 1}], "money": {"centAmount": 1}
        }}});
        let taken = |field: &str, kind: &str| {
            let rules = [rule(&format!("custom.fields.{field}"), kind)];
            from_rules(&source, &rules, &["de"]).pop().map(|attribute| attribute.value)
        };
        assert_eq!(taken("gift", "STRING"), Some(json!("for you")));
        assert_eq!(taken("weight", "STRING"), Some(json!("1.5")));
        assert_eq!(taken("tiny", "STRING"), Some(json!("0.0000001")));
        assert_eq!(taken("flag", "STRING"), Some(json!("true")));
        assert_eq!(taken("flag", "BOOLEAN"), Some(json!(true)));
        assert_eq!(taken("label", "STRING"), Some(json!("Rot")));
        assert_eq!(taken("label", "JSON"), Some(json!({"en": "Red", "de": "Rot"})));
        assert_eq!(taken("list.0.a", "INTEGER"), Some(json!(1)));
        assert_eq!(taken("money", "STRING"), Some(json!("{\"centAmount\":1}")));
        for absent in ["empty", "null", "nothing", "gift.deeper", "list.7"] {
            assert_eq!(taken(absent, "STRING"), None, "{absent}");
        }
    }
}
