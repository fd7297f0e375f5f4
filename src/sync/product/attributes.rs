//! Product attributes as Fluent attributes, and the gtin that Fluent requires (C 3.4).

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::commercetools::model::{Attribute, Image};
use crate::config::model::{Connection, EnumValue, Product};
use crate::fluent::input::AttributeInput;
use crate::sync::attribute::{self, own};
use crate::sync::canonical::hex;
use crate::sync::money::Amount;
use crate::sync::text::{Notes, fits, localized};

/// Longest gtin.
const GTIN: usize = 20;
/// Most image URLs of a variant.
const IMAGES: usize = 20;

/// A gtin made from a ref: the ref itself, or a digest of it where it is longer than 20 characters.
pub fn gtin(reference: &str) -> String {
    if fits(reference, GTIN) {
        return reference.to_owned();
    }
    format!("H{}", hex(&Sha256::digest(reference))[..19].to_uppercase())
}

/// The gtin a variant has, and the attribute it comes from.
pub fn own_gtin<'a>(attributes: &'a [Attribute], rules: &Product) -> Option<(&'a str, String)> {
    rules.gtin_attributes.iter().find_map(|name| {
        let attribute = attributes.iter().find(|attribute| attribute.name == *name)?;
        let text = match &attribute.value {
            Value::String(text) => text.trim().to_owned(),
            Value::Number(number) => number.to_string(),
            _ => return None,
        };
        (!text.is_empty() && fits(&text, GTIN)).then_some((attribute.name.as_str(), text))
    })
}

/// The attributes of a variant: whose it is, its own, its images.
pub fn of_variant(
    (product_id, variant_id): (&str, i64),
    attributes: &[Attribute],
    images: &[Image],
    connection: &Connection,
    chain: &[&str],
    notes: &mut Notes,
) -> Vec<AttributeInput> {
    let mut inputs = vec![
        attribute::string(own(connection, "ProductId"), product_id),
        attribute::typed(own(connection, "VariantId"), "INTEGER", variant_id),
    ];
    let gtin = own_gtin(attributes, &connection.product).map(|(name, _)| name);
    let rest = attributes.iter().filter(|attribute| Some(attribute.name.as_str()) != gtin);
    inputs.extend(converted(rest, &connection.product, chain, notes));
    let images: Vec<&str> = images.iter().map(|image| image.url.as_str()).take(IMAGES).collect();
    if let Some(first) = images.first() {
        inputs.push(attribute::string("imageUrl", *first));
        inputs.push(attribute::typed("imageUrls", "JSON", images));
    }
    inputs
}

/// Attributes by name, without those that are empty, not wanted or too large.
pub fn converted<'a>(
    attributes: impl Iterator<Item = &'a Attribute>,
    rules: &Product,
    chain: &[&str],
    notes: &mut Notes,
) -> Vec<AttributeInput> {
    let mut wanted: Vec<&Attribute> = attributes.filter(|attribute| rules.attributes.take(&attribute.name)).collect();
    wanted.sort_by(|one, other| one.name.cmp(&other.name));
    wanted.into_iter().filter_map(|attribute| convert(attribute, rules, chain, notes)).collect()
}

fn convert(attribute: &Attribute, rules: &Product, chain: &[&str], notes: &mut Notes) -> Option<AttributeInput> {
    let (kind, value) = match &attribute.value {
        Value::Null => return None,
        Value::Bool(_) => ("BOOLEAN", attribute.value.clone()),
        Value::Number(number) => match attribute::digits(number).map(|digits| digits.to_string()) {
            Some(digits) => match digits.parse::<i64>() {
                Ok(whole) => ("INTEGER", Value::from(whole)),
                Err(_) => ("STRING", Value::from(digits)),
            },
            None => ("STRING", Value::from(number.to_string())),
        },
        Value::String(text) => ("STRING", Value::from(text.as_str())),
        Value::Array(_) => ("JSON", attribute.value.clone()),
        Value::Object(members) => match object(&attribute.value, members, rules.enum_value, chain) {
            Some(text) => ("STRING", Value::from(text)),
            None => ("JSON", attribute.value.clone()),
        },
    };
    let empty = matches!(&value, Value::String(text) if text.is_empty()) || value == Value::Array(vec![]);
    if !empty && value.to_string().len() as u64 > rules.max_attribute_bytes.0 {
        notes.left_out("attribute");
        return None;
    }
    (!empty).then(|| attribute::typed(&attribute.name, kind, value))
}

/// The text of an object that has one: an enum's label or key, an amount of money, the id of a
/// reference, a localised text.
fn object(value: &Value, members: &Map<String, Value>, enum_value: EnumValue, chain: &[&str]) -> Option<String> {
    if members.contains_key("key") && members.contains_key("label") {
        return match enum_value {
            EnumValue::Label => attribute::text(&members["label"], chain),
            EnumValue::Key => members["key"].as_str().map(str::to_owned),
        };
    }
    if members.contains_key("currencyCode") {
        let amount = Amount::read(&serde_json::from_value(value.clone()).ok()?).ok()?;
        return Some(format!("{} {}", amount.written(), amount.currency));
    }
    if members.contains_key("typeId") {
        return members.get("id")?.as_str().map(str::to_owned);
    }
    localized(&attribute::texts(value)?, chain).map(str::to_owned)
}
