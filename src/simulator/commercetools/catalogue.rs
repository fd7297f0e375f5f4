//! Categories and products of the shop (platform-commercetools A5, A10): what is published, and what
//! their Messages say.

use serde_json::{Map, Value, json};

use super::id::stable;
use super::message::Event;

/// A category document for [`Commercetools::put`](super::Commercetools::put), below the category with
/// the key `parent`. Its id follows from the key.
pub fn category(key: &str, name: &str, parent: Option<&str>) -> Value {
    let mut document = json!({
        "id": category_id(key),
        "key": key,
        "name": {"en-GB": name},
        "slug": {"en-GB": key},
        "ancestors": [],
        "orderHint": "0.1",
        "assets": [],
    });
    if let Some(parent) = parent {
        let parent = json!({"typeId": "category", "id": category_id(parent)});
        document["ancestors"] = json!([parent]);
        document["parent"] = parent;
    }
    document
}

/// A published product document for [`Commercetools::put`](super::Commercetools::put) with these
/// [`variant`]s, in the categories with these keys. Its id follows from the key.
pub fn product(key: &str, name: &str, categories: &[&str], mut variants: Vec<Value>) -> Value {
    for (at, variant) in variants.iter_mut().enumerate() {
        variant["id"] = (at + 1).into();
    }
    let others = variants.split_off(variants.len().min(1));
    let categories = categories.iter().map(|key| json!({"typeId": "category", "id": category_id(key)}));
    let data = json!({
        "name": {"en-GB": name},
        "slug": {"en-GB": key},
        "categories": categories.collect::<Vec<_>>(),
        "masterVariant": variants.pop(),
        "variants": others,
        "attributes": [],
        "searchKeywords": {},
    });
    json!({
        "id": stable(&format!("product:{key}")),
        "key": key,
        "productType": {"typeId": "product-type", "id": stable("product-type:simple")},
        "priceMode": "Embedded",
        "masterData": {"published": true, "hasStagedChanges": false, "current": data, "staged": data},
    })
}

/// A variant that costs so many euro cents.
pub fn variant(sku: &str, cent_amount: i64) -> Value {
    let value = json!({"type": "centPrecision", "currencyCode": "EUR", "centAmount": cent_amount, "fractionDigits": 2});
    json!({
        "sku": sku,
        "prices": [{"id": stable(&format!("price:{sku}")), "value": value}],
        "attributes": [],
        "images": [],
        "assets": [],
    })
}

fn category_id(key: &str) -> String {
    stable(&format!("category:{key}"))
}

/// The published projection of a product; `None` = it is not published.
pub(super) fn published(product: &Value) -> Option<Value> {
    let data = &product["masterData"];
    if data["published"] != true {
        return None;
    }
    let mut projection: Map<String, Value> = data["current"].as_object().cloned().unwrap_or_default();
    let own = product.as_object().into_iter().flatten().filter(|(name, _)| name.as_str() != "masterData");
    projection.extend(own.map(|(name, value)| (name.clone(), value.clone())));
    projection.insert("published".into(), true.into());
    projection.insert("hasStagedChanges".into(), data["hasStagedChanges"].clone());
    Some(Value::Object(projection))
}

/// Only a creation and a new slug have a Message: no rename, no move, no deletion (A5).
pub(super) fn category_events(before: Option<&Value>, after: &Value) -> Vec<Event> {
    match before {
        None => vec![Event::new("CategoryCreated", json!({"category": after}))],
        Some(before) if before["slug"] != after["slug"] => {
            vec![Event::new("CategorySlugChanged", json!({"slug": after["slug"], "oldSlug": before["slug"]}))]
        }
        Some(_) => vec![],
    }
}

/// What is published says so; staged edits and availability have no Message here.
pub(super) fn product_events(before: Option<&Value>, after: &Value) -> Vec<Event> {
    let mut events = vec![];
    if before.is_none() {
        events.push(Event::new("ProductCreated", json!({"productProjection": published(after)})));
    }
    match (before.and_then(published), published(after)) {
        (Some(_), None) => events.push(Event::new("ProductUnpublished", json!({}))),
        (before, Some(after)) if before.as_ref().map(content) != Some(content(&after)) => {
            let fields = json!({"productProjection": after, "removedImageUrls": [], "scope": "All"});
            events.push(Event::new("ProductPublished", fields));
        }
        _ => {}
    }
    events
}

/// What a deleted product says.
pub(super) fn deleted(product: &Value) -> Event {
    Event::new("ProductDeleted", json!({"currentProjection": published(product), "removedImageUrls": []}))
}

/// A new price, or one that was edited.
pub(super) fn price_event(before: Option<&Value>, after: &Value) -> Event {
    match before {
        None => Event::new("StandalonePriceCreated", json!({"standalonePrice": after})),
        Some(before) => {
            let fields = json!({"value": after["value"], "oldValue": before["value"], "staged": false});
            Event::new("StandalonePriceValueChanged", fields)
        }
    }
}

/// A projection without what moves by itself.
fn content(projection: &Value) -> Value {
    let mut content = projection.clone();
    for name in ["version", "lastModifiedAt", "createdAt", "hasStagedChanges"] {
        content[name].take();
    }
    content["masterVariant"]["availability"].take();
    for variant in content["variants"].as_array_mut().into_iter().flatten() {
        variant["availability"].take();
    }
    content
}
