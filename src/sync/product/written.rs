//! What of a product was written before, and the updates that follow from it.
//!
//! Fluent's updates only add: what is gone has to be said. So the mapping remembers the names of
//! attributes, the price slots and the categories that were written (C 1.4, 1.6, 3.4).

use serde::{Deserialize, Serialize};

use super::prices::{self, Slot};
use crate::config::model::Product;
use crate::fluent::catalogue::{
    CategoryKey, CreateStandardProductInput, CreateVariantProductInput, UpdateProductInput,
};
use crate::fluent::input::ProductCatalogueKey;
use crate::sync::attribute;

/// What one standard or variant product has in Fluent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Written {
    pub attributes: Vec<String>,
    /// Refs of categories.
    pub categories: Vec<String>,
    pub summary: bool,
    pub prices: Vec<Slot>,
    /// SKUs of the product's variants; only of a standard product.
    pub skus: Vec<String>,
    /// What was told of variants that cannot be sent; only of a standard product.
    pub refused: Vec<String>,
}

impl Written {
    /// What a standard product has once it was sent.
    pub fn of_standard(create: &CreateStandardProductInput) -> Self {
        Self {
            attributes: attribute::names(&create.attributes),
            categories: references(&create.categories),
            summary: create.summary.is_some(),
            ..Self::default()
        }
    }

    /// What a variant has once it was sent; slots stay for ever.
    pub fn of_variant(create: &CreateVariantProductInput, before: &Self) -> Self {
        let mut slots: Vec<Slot> = create.prices.iter().map(Slot::of).collect();
        slots.extend(before.prices.iter().filter(|slot| !slots.contains(slot)).cloned().collect::<Vec<_>>());
        Self {
            attributes: attribute::names(&create.attributes),
            categories: references(&create.categories),
            summary: create.summary.is_some(),
            prices: slots,
            ..Self::default()
        }
    }

    /// The categories that were written and are not `now`.
    pub fn left(&self, now: &[CategoryKey], catalogue: &ProductCatalogueKey) -> Vec<CategoryKey> {
        let left = self.categories.iter().filter(|held| !now.iter().any(|key| key.reference == **held));
        left.map(|held| CategoryKey { reference: held.clone(), catalogue: catalogue.clone() }).collect()
    }
}

fn references(categories: &[CategoryKey]) -> Vec<String> {
    categories.iter().map(|category| category.reference.clone()).collect()
}

/// The update that makes a standard product so.
pub fn update_standard(create: &CreateStandardProductInput, before: &Written) -> UpdateProductInput {
    let create = create.clone();
    let mut attributes = create.attributes;
    attributes.extend(attribute::emptied(&before.attributes, &attributes));
    UpdateProductInput {
        reference: create.reference,
        catalogue: create.catalogue,
        kind: Some(create.kind),
        status: None,
        product: None,
        gtin: Some(create.gtin),
        name: Some(create.name),
        summary: create.summary.or_else(|| before.summary.then(String::new)),
        categories: create.categories,
        prices: vec![],
        tax_type: create.tax_type,
        attributes,
    }
}

/// The update that makes a variant so.
pub fn update_variant(create: &CreateVariantProductInput, before: &Written, rules: &Product) -> UpdateProductInput {
    let create = create.clone();
    let mut attributes = create.attributes;
    attributes.extend(attribute::emptied(&before.attributes, &attributes));
    let mut prices = create.prices;
    prices.extend(prices::ended(&before.prices, &prices, rules));
    UpdateProductInput {
        reference: create.reference,
        catalogue: create.catalogue,
        kind: Some(create.kind),
        status: None,
        product: Some(create.product),
        gtin: Some(create.gtin),
        name: Some(create.name),
        summary: create.summary.or_else(|| before.summary.then(String::new)),
        categories: create.categories,
        prices,
        tax_type: create.tax_type,
        attributes,
    }
}

/// The update of a product that is gone: only its status.
pub fn deactivation(reference: &str, catalogue: ProductCatalogueKey, rules: &Product) -> UpdateProductInput {
    UpdateProductInput {
        reference: reference.to_owned(),
        catalogue,
        kind: None,
        status: Some(rules.status_inactive.clone()),
        product: None,
        gtin: None,
        name: None,
        summary: None,
        categories: vec![],
        prices: vec![],
        tax_type: None,
        attributes: vec![],
    }
}
