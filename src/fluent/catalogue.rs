//! Categories and products: what mutations take and what look-ups answer.
//!
//! Updates are additive: attributes are upserted by name, prices by type and currency, categories
//! are added; nothing of these is removed by leaving it out (platform-fluent.md 2.1).

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::input::{AttributeInput, Decimal, ProductCatalogueKey, ProductKey};
use super::model::{Attribute, Connection};

/// `createCategory`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CreateCategoryInput {
    /// At most 100 characters; at most 36 if it is to be a parent.
    #[serde(rename = "ref")]
    pub reference: String,
    pub catalogue: ProductCatalogueKey,
    #[serde(rename = "type")]
    pub kind: String,
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_category: Option<CategoryKey>,
    pub attributes: Vec<AttributeInput>,
}

/// `updateCategory`, by ref and catalogue. Absent members stay as they are in Fluent.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UpdateCategoryInput {
    #[serde(rename = "ref")]
    pub reference: String,
    pub catalogue: ProductCatalogueKey,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// `Some(None)` = no longer below another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_category: Option<Option<CategoryKey>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<AttributeInput>,
}

/// `createStandardProduct`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CreateStandardProductInput {
    #[serde(rename = "ref")]
    pub reference: String,
    pub catalogue: ProductCatalogueKey,
    #[serde(rename = "type")]
    pub kind: String,
    /// Required, at most 20 characters.
    pub gtin: String,
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<CategoryKey>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tax_type: Option<TaxTypeInput>,
    pub attributes: Vec<AttributeInput>,
}

/// `createVariantProduct`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CreateVariantProductInput {
    #[serde(rename = "ref")]
    pub reference: String,
    pub catalogue: ProductCatalogueKey,
    #[serde(rename = "type")]
    pub kind: String,
    /// The standard product it belongs to.
    pub product: ProductKey,
    /// Required, at most 20 characters.
    pub gtin: String,
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<CategoryKey>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prices: Vec<PriceInput>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tax_type: Option<TaxTypeInput>,
    pub attributes: Vec<AttributeInput>,
}

/// `updateStandardProduct` (without `product` and `prices`) and `updateVariantProduct`, by ref and
/// catalogue. Absent members stay as they are in Fluent.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UpdateProductInput {
    #[serde(rename = "ref")]
    pub reference: String,
    pub catalogue: ProductCatalogueKey,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub product: Option<ProductKey>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gtin: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<CategoryKey>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prices: Vec<PriceInput>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tax_type: Option<TaxTypeInput>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<AttributeInput>,
}

/// A category by ref and catalogue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CategoryKey {
    #[serde(rename = "ref")]
    pub reference: String,
    pub catalogue: ProductCatalogueKey,
}

/// One price; upserted by type and currency.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PriceInput {
    #[serde(rename = "type")]
    pub kind: String,
    pub currency: String,
    pub value: Decimal,
}

/// All three members are required.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaxTypeInput {
    pub country: String,
    pub group: String,
    pub tariff: String,
}

/// What `CategoryByRef` answers.
#[derive(Clone, Debug, Deserialize)]
pub struct CategoryFound {
    pub category: Option<Category>,
}

/// A category as its look-up shows it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Category {
    pub name: Option<String>,
    pub summary: Option<String>,
    pub parent_category: Option<Named>,
    pub attributes: Option<Vec<Attribute>>,
}

/// Something by its ref.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Named {
    #[serde(rename = "ref")]
    pub reference: String,
}

/// What `ProductsByRef` answers.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProductsFound {
    pub standard_products: Connection<Product>,
    pub variant_products: Connection<Product>,
}

/// A standard or variant product as its look-up shows it.
#[derive(Clone, Debug, Deserialize)]
pub struct Product {
    #[serde(rename = "ref")]
    pub reference: String,
    pub gtin: Option<String>,
    pub name: Option<String>,
    pub summary: Option<String>,
    pub attributes: Option<Vec<Attribute>>,
    pub tax: Option<TaxTypeInput>,
    /// The standard product of a variant.
    #[serde(default)]
    pub product: Option<Named>,
    /// Only of a variant.
    #[serde(default)]
    pub prices: Option<Vec<Price>>,
    /// Only of a standard product; the first fifty.
    #[serde(default)]
    pub categories: Option<Connection<Named>>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Price {
    #[serde(rename = "type")]
    pub kind: String,
    pub currency: String,
    pub value: Box<RawValue>,
}

/// The value of an attribute in a list that may be absent.
pub fn attribute<'a>(attributes: Option<&'a [Attribute]>, name: &str) -> Option<&'a Value> {
    attributes?.iter().find(|attribute| attribute.name == name).map(|attribute| &attribute.value)
}

/// Are all of `ours` among `theirs`, with the same value?
pub fn hold(theirs: Option<&[Attribute]>, ours: &[AttributeInput]) -> bool {
    ours.iter().all(|our| attribute(theirs, &our.name) == Some(&our.value))
}
