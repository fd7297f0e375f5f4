//! A product that Fluent lacks, made from the order line that needs it (`commercetools-to-fluent`, 5.4 and 3.4).
//!
//! An order never waits for a catalogue run (D-12). The line carries the variant as it was ordered: name,
//! SKU, images and attributes. The catalogue's own run later completes what is missing here.

use crate::commercetools::model::LineItem;
use crate::config::model::Connection;
use crate::failure::Failure;
use crate::fluent::catalogue::{CreateStandardProductInput, CreateVariantProductInput};
use crate::fluent::input::{AttributeInput, ProductCatalogueKey, ProductKey};
use crate::sync::attribute::{self, own};
use crate::sync::product::attributes;
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
    let of = (line.product_id.as_str(), line.variant.id);
    let (own, images) = (&line.variant.attributes, &line.variant.images);
    let variant_attributes = attributes::of_variant(of, own, images, connection, &chain, notes);
    let name = localized(&line.name, &chain).map(clean).filter(|name| !name.is_empty());
    let mut name = |fallback: &str| {
        let name = name.as_deref().unwrap_or(fallback);
        notes.cut("name", Some(name), 255).unwrap_or_else(|| fallback.to_owned())
    };
    let standard = CreateStandardProductInput {
        kind: "STANDARD".into(),
        gtin: attributes::gtin(&reference),
        name: name(&reference),
        summary: None,
        categories: vec![],
        tax_type: None,
        attributes: standard_attributes(line, connection),
        catalogue: catalogue.clone(),
        reference: reference.clone(),
    };
    let variant = CreateVariantProductInput {
        reference: sku.to_owned(),
        kind: "VARIANT".into(),
        product: ProductKey { reference, catalogue: catalogue.clone() },
        gtin: attributes::own_gtin(&line.variant.attributes, &connection.product)
            .map_or_else(|| attributes::gtin(sku), |(_, gtin)| gtin),
        name: name(sku),
        summary: None,
        categories: vec![],
        prices: vec![],
        tax_type: None,
        attributes: variant_attributes,
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
