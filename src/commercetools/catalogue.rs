//! Categories, published products and their prices as far as they are read.
//!
//! Source of names and of what may be absent: HTTP API reference, general types `Category`,
//! `ProductProjection`, `ProductVariant`, `Price`, `StandalonePrice`, `TaxCategory`.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use super::model::{Attribute, Expanded, Image, Localized, Money, Reference};

/// A category as read from `GET /categories/{id}`, with its parent expanded.
#[derive(Clone, Debug, Deserialize)]
#[serde(remote = "Self", rename_all = "camelCase")]
pub struct Category {
    pub id: String,
    pub version: i64,
    pub key: Option<String>,
    #[serde(default)]
    pub name: Localized,
    #[serde(default)]
    pub slug: Localized,
    #[serde(default)]
    pub description: Localized,
    /// From the root to the parent.
    #[serde(default)]
    pub ancestors: Vec<Reference>,
    /// Absent at the root.
    pub parent: Option<Expanded<Keyed>>,
    /// The whole document, for values that configuration names by path.
    #[serde(skip)]
    pub source: Value,
}

/// A product as its customers see it: `GET /product-projections/{id}?staged=false`, with its
/// categories expanded.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProductProjection {
    pub id: String,
    pub version: i64,
    pub key: Option<String>,
    #[serde(default)]
    pub name: Localized,
    #[serde(default)]
    pub description: Localized,
    #[serde(default)]
    pub categories: Vec<Expanded<Keyed>>,
    pub tax_category: Option<Expanded<Keyed>>,
    /// `Embedded` (also if absent) or `Standalone`.
    pub price_mode: Option<String>,
    /// Of the product as a whole.
    #[serde(default)]
    pub attributes: Vec<Attribute>,
    pub master_variant: ProductVariant,
    #[serde(default)]
    pub variants: Vec<ProductVariant>,
}

impl ProductProjection {
    /// The master variant and the others.
    pub fn all_variants(&self) -> impl Iterator<Item = &ProductVariant> {
        std::iter::once(&self.master_variant).chain(&self.variants)
    }

    /// The same, to be completed with standalone prices.
    pub fn all_variants_mut(&mut self) -> impl Iterator<Item = &mut ProductVariant> {
        std::iter::once(&mut self.master_variant).chain(&mut self.variants)
    }
}

#[derive(Clone, Debug, Deserialize)]
pub struct ProductVariant {
    pub id: i64,
    pub sku: Option<String>,
    #[serde(default)]
    pub prices: Vec<ProductPrice>,
    #[serde(default)]
    pub attributes: Vec<Attribute>,
    #[serde(default)]
    pub images: Vec<Image>,
}

/// A price of a variant, embedded or standalone, and for whom and when it counts.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProductPrice {
    pub value: Money,
    /// After a product discount.
    pub discounted: Option<Discounted>,
    pub country: Option<String>,
    pub customer_group: Option<Value>,
    pub channel: Option<Value>,
    pub recurrence_policy: Option<Value>,
    /// RFC 3339; from this moment on.
    pub valid_from: Option<String>,
    /// RFC 3339; this moment excluded.
    pub valid_until: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Discounted {
    pub value: Money,
}

/// A price that stands beside the product and belongs to it by SKU.
#[derive(Clone, Debug, Deserialize)]
pub struct StandalonePrice {
    #[serde(default)]
    pub id: String,
    pub sku: String,
    /// Absent = true.
    pub active: Option<bool>,
    #[serde(flatten)]
    price: Value,
}

impl StandalonePrice {
    /// The same as an embedded price.
    ///
    /// # Errors
    /// When it has another shape.
    pub fn price(&self) -> serde_json::Result<ProductPrice> {
        serde_json::from_value(self.price.clone())
    }
}

/// Anything that has a key, such as an expanded category.
#[derive(Clone, Debug, Deserialize)]
pub struct Keyed {
    pub key: Option<String>,
}

impl<'de> Deserialize<'de> for Category {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        // The inherent `deserialize` is the derived one (`remote = "Self"`).
        let read = Self::deserialize(&mut serde_json::Deserializer::from_str(raw.get()));
        let source = serde_json::from_str(raw.get()).map_err(D::Error::custom)?;
        Ok(Self { source, ..read.map_err(D::Error::custom)? })
    }
}
