//! A product that Fluent lacks, made from the order line that needs it (`commercetools-to-fluent`, 5.4 and 3.4).
//!
//! An order never waits for a catalogue run (D-12). The line carries the variant as it was ordered: name,
//! SKU, images and attributes. The catalogue's own run later completes what is missing here.

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::commercetools::model::{Attribute, LineItem};
use crate::config::model::Connection;
use crate::failure::Failure;
use crate::fluent::input::{
    AttributeInput, CreateStandardProductInput, CreateVariantProductInput, ProductCatalogueKey, ProductKey,
};
use crate::sync::attribute::{self, own};
use crate::sync::canonical::hex;
use crate::sync::money::Amount;
use crate::sync::text::{Notes, clean, fits, localized, present};

/// The standard product of a line and its variant. The standard goes first; it may be there already.
///
/// # Errors
/// Rejected if the line has no SKU or one that is too long.
pub fn products(
    line: &LineItem,
    connection: &Connection,
    notes: &mut Notes,
) -> Result<(CreateStandardProductInput, CreateVariantProductInput), Failure> {
    let Some(sku) = present(line.variant.sku.as_deref()) else {
        return Err(Failure::rejected(format!("Line {} has no SKU, so Fluent cannot hold its product.", line.id)));
    };
    if !fits(sku, 100) {
        return Err(Failure::rejected(format!("The SKU {sku} is longer than 100 characters; Fluent cannot hold it.")));
    }
    let chain: Vec<&str> = connection.locale.chain.iter().map(String::as_str).collect();
    let reference = standard_ref(line, sku);
    let catalogue = ProductCatalogueKey { reference: connection.fluent.product_catalogue.reference.clone() };
    let name = localized(&line.name, &chain).map(clean).filter(|name| !name.is_empty());
    let mut name = |fallback: &str| {
        let name = name.as_deref().unwrap_or(fallback);
        notes.cut("name", Some(name), 255).unwrap_or_else(|| fallback.to_owned())
    };
    let standard = CreateStandardProductInput {
        kind: "STANDARD".into(),
        gtin: gtin(&reference),
        name: name(&reference),
        attributes: standard_attributes(line, connection),
        catalogue: catalogue.clone(),
        reference: reference.clone(),
    };
    let variant = CreateVariantProductInput {
        reference: sku.to_owned(),
        kind: "VARIANT".into(),
        product: ProductKey { reference, catalogue: catalogue.clone() },
        gtin: own_gtin(line).map_or_else(|| gtin(sku), |(_, gtin)| gtin),
        name: name(sku),
        attributes: variant_attributes(line, connection, &chain),
        catalogue,
    };
    Ok((standard, variant))
}

/// The product key, else its id; told apart from the SKU where both are the same.
fn standard_ref(line: &LineItem, sku: &str) -> String {
    let wanted = present(line.product_key.as_deref()).unwrap_or(&line.product_id);
    let wanted = if wanted == sku { format!("{wanted}_STANDARD") } else { wanted.to_owned() };
    if fits(&wanted, 100) { wanted } else { line.product_id.clone() }
}

/// Fluent requires a gtin: the ref itself, or a digest of it where it is longer than 20 characters.
fn gtin(reference: &str) -> String {
    if fits(reference, GTIN) {
        return reference.to_owned();
    }
    format!("H{}", hex(&Sha256::digest(reference))[..19].to_uppercase())
}

/// Longest gtin.
const GTIN: usize = 20;

/// Variant attributes that may hold the gtin, in order of preference.
const GTIN_ATTRIBUTES: [&str; 3] = ["gtin", "ean", "upc"];

/// The gtin the variant has, and the attribute it comes from.
fn own_gtin(line: &LineItem) -> Option<(&str, String)> {
    GTIN_ATTRIBUTES.iter().find_map(|name| {
        let attribute = line.variant.attributes.iter().find(|attribute| attribute.name == *name)?;
        let text = match &attribute.value {
            Value::String(text) => text.trim().to_owned(),
            Value::Number(number) => number.to_string(),
            _ => return None,
        };
        (!text.is_empty() && fits(&text, GTIN)).then_some((attribute.name.as_str(), text))
    })
}

fn standard_attributes(line: &LineItem, connection: &Connection) -> Vec<AttributeInput> {
    let mut attributes = vec![attribute::string(own(connection, "Id"), &line.product_id)];
    if let Some(key) = present(line.product_key.as_deref()) {
        attributes.push(attribute::string(own(connection, "ProductKey"), key));
    }
    if let Some(image) = line.variant.images.first() {
        attributes.push(attribute::string("imageUrl", &image.url));
    }
    attributes
}

fn variant_attributes(line: &LineItem, connection: &Connection, chain: &[&str]) -> Vec<AttributeInput> {
    let mut attributes = vec![
        attribute::string(own(connection, "ProductId"), &line.product_id),
        attribute::typed(own(connection, "VariantId"), "INTEGER", line.variant.id),
    ];
    let gtin = own_gtin(line).map(|(name, _)| name);
    let mut own: Vec<&Attribute> = line.variant.attributes.iter().collect();
    own.sort_by(|one, other| one.name.cmp(&other.name));
    own.retain(|attribute| Some(attribute.name.as_str()) != gtin);
    attributes.extend(own.into_iter().filter_map(|attribute| converted(attribute, chain)));
    let images: Vec<&str> = line.variant.images.iter().map(|image| image.url.as_str()).take(20).collect();
    if let Some(first) = images.first() {
        attributes.push(attribute::string("imageUrl", *first));
        attributes.push(attribute::typed("imageUrls", "JSON", images));
    }
    attributes
}

/// A product attribute as Fluent takes it; nothing if it is empty or larger than [`LARGEST`].
fn converted(attribute: &Attribute, chain: &[&str]) -> Option<AttributeInput> {
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
        Value::Object(members) => match object(&attribute.value, members, chain) {
            Some(text) => ("STRING", Value::from(text)),
            None => ("JSON", attribute.value.clone()),
        },
    };
    let empty = matches!(&value, Value::String(text) if text.is_empty()) || value == Value::Array(vec![]);
    (!empty && value.to_string().len() <= LARGEST).then(|| attribute::typed(&attribute.name, kind, value))
}

/// Bytes an attribute value may have.
const LARGEST: usize = 8192;

/// The text of an object that has one: label of an enum, amount of money, id of a reference, localised text.
fn object(value: &Value, members: &Map<String, Value>, chain: &[&str]) -> Option<String> {
    if members.contains_key("key") && members.contains_key("label") {
        return attribute::text(&members["label"], chain);
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
