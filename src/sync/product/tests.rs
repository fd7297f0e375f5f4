//! The mapping of products: refs, what is refused, attributes, what is taken back.

use serde_json::{Value, json};

use super::written::{Written, update_standard, update_variant};
use super::*;
use crate::sync::fixture::{connection, read};

const ID: &str = "60477ae9-3e3b-4be0-8bed-4a343c8cf747";

fn variant(id: i64, sku: Value) -> Value {
    json!({"id": id, "sku": sku, "prices": [], "attributes": [], "images": []})
}

fn product(changes: &[(&str, Value)]) -> ProductProjection {
    let mut document = json!({
        "id": ID, "version": 27, "key": "tee-basic", "name": {"en-GB": "Basic <b>T-shirt</b>"}, "categories": [],
        "masterVariant": variant(1, json!("TEE-RED-M")), "variants": [],
    });
    for (name, value) in changes {
        document[*name] = value.clone();
    }
    read(&document)
}

fn mapped_with(changes: &[(&str, Value)], overrides: Value) -> Result<Mapped, Failure> {
    let product = product(changes);
    let reference = reference(&product);
    to_fluent(&product, &reference, &["women".into(), "men".into()], 0, &connection(&json!({ "product": overrides })))
}

fn mapped(changes: &[(&str, Value)]) -> Mapped {
    mapped_with(changes, json!({})).unwrap()
}

#[test]
fn refs_are_told_apart() {
    let of = |changes: &[(&str, Value)]| reference(&product(changes));
    assert_eq!(of(&[]), "tee-basic");
    assert_eq!(of(&[("key", json!(null))]), ID);
    assert_eq!(of(&[("key", json!("TEE-RED-M"))]), "TEE-RED-M_STANDARD");
    let other = ("variants", json!([variant(2, json!("TEE-RED-L"))]));
    assert_eq!(of(&[("key", json!("TEE-RED-L")), other]), "TEE-RED-L_STANDARD", "whichever variant it is");
    assert_eq!(of(&[("key", json!("x".repeat(101)))]), ID);
    assert_eq!(of(&[("key", json!("x".repeat(100)))]), "x".repeat(100));
}

#[test]
fn a_variant_that_fluent_cannot_hold_does_not_stop_the_others() {
    let long = "x".repeat(101);
    let variants = json!([variant(2, json!(null)), variant(3, json!(long)), variant(4, json!("TEE-RED-L"))]);
    let mapped = mapped(&[("variants", variants)]);
    let refs: Vec<&str> = mapped.variants.iter().map(|variant| variant.reference.as_str()).collect();
    assert_eq!(refs, ["TEE-RED-M", "TEE-RED-L"]);
    assert_eq!(
        mapped.refused,
        [
            "Variant 2 of product tee-basic has no SKU, so Fluent cannot hold it. The other variants were sent."
                .to_owned(),
            format!("The SKU {long} is longer than 100 characters; Fluent cannot hold it."),
        ]
    );
}

#[test]
fn a_product_without_any_sku_is_refused() {
    let refused = |master: Value| mapped_with(&[("masterVariant", master)], json!({})).unwrap_err().to_string();
    assert_eq!(refused(variant(1, json!(null))), "Product tee-basic has no variant with a SKU.");
    assert_eq!(refused(variant(1, json!(" "))), "Product tee-basic has no variant with a SKU.");
    let long = "x".repeat(101);
    assert_eq!(
        refused(variant(1, json!(long))),
        format!("The SKU {long} is longer than 100 characters; Fluent cannot hold it.")
    );
}

#[test]
fn a_price_that_cannot_be_read_leaves_its_variant_out() {
    let mut other = variant(2, json!("TEE-RED-L"));
    other["prices"] = json!([{"value": {"currencyCode": "XYZ", "centAmount": 1}}]);
    let changes = [("variants", json!([other]))];
    assert_eq!(
        mapped(&changes).refused,
        ["SKU TEE-RED-L of product tee-basic has an amount in XYZ, a currency whose decimals are not known."]
    );
    assert!(mapped_with(&changes, json!({"send_prices": false})).unwrap().refused.is_empty());
}

#[test]
fn standard_and_variants_say_the_same() {
    let mapped = mapped(&[("description", json!({"en": "<p>Soft</p>"}))]);
    let (standard, variant) = (&mapped.standard, &mapped.variants[0]);
    for (name, summary, categories) in [
        (&standard.name, &standard.summary, &standard.categories),
        (&variant.name, &variant.summary, &variant.categories),
    ] {
        assert_eq!((name.as_str(), summary.as_deref()), ("Basic T-shirt", Some("Soft")));
        let refs: Vec<&str> = categories.iter().map(|category| category.reference.as_str()).collect();
        assert_eq!(refs, ["men", "women"], "sorted by ref");
    }
    assert_eq!(variant.product.reference, "tee-basic");
}

#[test]
fn without_a_name_the_ref_stands_for_it() {
    let mapped = mapped(&[("name", json!({}))]);
    assert_eq!((mapped.standard.name.as_str(), mapped.variants[0].name.as_str()), ("tee-basic", "TEE-RED-M"));
}

#[test]
fn the_gtin_is_the_variants_own_or_made_from_the_sku() {
    let gtin = |sku: &str, attributes: Value| {
        let mut master = variant(1, json!(sku));
        master["attributes"] = attributes;
        let variant = mapped(&[("masterVariant", master)]).variants.remove(0);
        let names = attribute::names(&variant.attributes)[2..].join(",");
        (variant.gtin, names)
    };
    assert_eq!(gtin("A", json!([{"name": "ean", "value": " 4006381333931 "}])), ("4006381333931".into(), "".into()));
    assert_eq!(
        gtin("A", json!([{"name": "upc", "value": 123}, {"name": "gtin", "value": ""}])),
        ("123".into(), "".into())
    );
    let long = json!([{"name": "ean", "value": "x".repeat(21)}]);
    assert_eq!(gtin("A", long), ("A".into(), "ean".into()), "what is no gtin stays an attribute");
    let made = gtin("TEE-BASIC-RED-MEDIUM-LONG", json!([])).0;
    assert_eq!((made.len(), made.starts_with('H')), (20, true));
    assert_eq!(made, made.to_uppercase());
}

#[test]
fn attributes_follow_the_type_of_their_value() {
    let mut master = variant(1, json!("A"));
    master["attributes"] = json!([
        {"name": "text", "value": "M"}, {"name": "enum", "value": {"key": "red", "label": {"en-GB": "Red"}}},
        {"name": "plain", "value": {"key": "m", "label": "Medium"}}, {"name": "local", "value": {"en": "Soft", "de": "Weich"}},
        {"name": "whole", "value": 180}, {"name": "number", "value": 1.50}, {"name": "flag", "value": false},
        {"name": "money", "value": {"type": "centPrecision", "currencyCode": "EUR", "centAmount": 1250, "fractionDigits": 2}},
        {"name": "reference", "value": {"typeId": "product", "id": "p-2"}}, {"name": "set", "value": ["a", "b"]},
        {"name": "day", "value": "2026-06-10"}, {"name": "null", "value": null}, {"name": "empty", "value": ""},
        {"name": "none", "value": []}, {"name": "large", "value": "x".repeat(9_000)},
    ]);
    let changes = [("masterVariant", master)];
    let all = mapped(&changes);
    let found = |mapped: &Mapped, name: &str| {
        let attribute = mapped.variants[0].attributes.iter().find(|attribute| attribute.name == name);
        attribute.map(|attribute| (attribute.kind.clone(), attribute.value.clone()))
    };
    for (name, kind, value) in [
        ("text", "STRING", json!("M")),
        ("enum", "STRING", json!("Red")),
        ("plain", "STRING", json!("Medium")),
        ("local", "STRING", json!("Weich")),
        ("whole", "INTEGER", json!(180)),
        ("number", "STRING", json!("1.5")),
        ("flag", "BOOLEAN", json!(false)),
        ("money", "STRING", json!("12.50 EUR")),
        ("reference", "STRING", json!("p-2")),
        ("set", "JSON", json!(["a", "b"])),
        ("day", "STRING", json!("2026-06-10")),
    ] {
        assert_eq!(found(&all, name), Some((kind.to_owned(), value)), "{name}");
    }
    for absent in ["null", "empty", "none", "large"] {
        assert_eq!(found(&all, absent), None, "{absent}");
    }
    assert_eq!(all.notes.cuts["attribute"], 1);
    let some = json!({"enum_value": "key", "attributes": {"include": ["enum", "t*"], "exclude": []}});
    let some = mapped_with(&changes, some).unwrap();
    assert_eq!(found(&some, "enum"), Some(("STRING".into(), json!("red"))));
    assert_eq!(attribute::names(&some.variants[0].attributes)[2..], ["enum", "text"]);
}

#[test]
fn a_tax_type_is_sent_whole_or_not_at_all() {
    let rules = json!({"tax_types": {"standard": {"country": "DE", "group": "STANDARD", "tariff": "19"}}});
    let of = |key: &str| {
        let category = json!({"typeId": "tax-category", "id": "t", "obj": {"key": key}});
        let mapped = mapped_with(&[("taxCategory", category)], rules.clone()).unwrap();
        (mapped.standard.tax_type.map(|tax| tax.tariff), mapped.variants[0].tax_type.is_some())
    };
    assert_eq!(of("standard"), (Some("19".into()), true));
    assert_eq!(of("reduced"), (None, false));
}

#[test]
fn what_is_no_longer_there_is_taken_back_once() {
    let rules = connection(&json!({})).product;
    let mapped = mapped(&[]);
    let before = Written {
        attributes: vec!["brand".into()],
        categories: vec!["sale".into(), "men".into()],
        summary: true,
        prices: vec![prices::Slot { kind: "DEFAULT".into(), currency: "GBP".into() }],
        ..Written::default()
    };
    let standard = update_standard(&mapped.standard, &before);
    assert_eq!(standard.summary.as_deref(), Some(""));
    assert_eq!(standard.attributes.last().map(|last| (last.name.as_str(), &last.value)), Some(("brand", &json!(""))));
    let left = before.left(&mapped.standard.categories, &mapped.standard.catalogue);
    assert_eq!(left.iter().map(|category| category.reference.as_str()).collect::<Vec<_>>(), ["sale"]);
    let variant = update_variant(&mapped.variants[0], &before, &rules);
    assert_eq!(variant.prices, [], "a currency that is gone keeps its last price");
    let after = Written::of_variant(&mapped.variants[0], &before);
    assert_eq!(after.prices, before.prices, "the slot is there for ever");
    assert!(!after.attributes.contains(&"brand".to_owned()), "it was emptied, and that is that");
    let again = update_standard(&mapped.standard, &Written::of_standard(&mapped.standard));
    assert_eq!((again.summary, again.attributes.len()), (None, 2));
}
