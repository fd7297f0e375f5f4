//! Products, commercetools → Fluent: one STANDARD product and a VARIANT product per variant.
//!
//! Routes `commercetools.product-changed`, `commercetools.product-unpublished` and
//! `commercetools.product-deleted` (in `inbox`), `fluent.upsert-product` (in `upsert`) and
//! `fluent.deactivate-product` (in `deactivate`), all of subject `product:<id>`;
//! `commercetools.price-changed` (in `price`) leads from a standalone price to its product, and
//! `job.product-sync` (in `poll`) finds what no notification told of. The pure part is [`to_fluent`].
//! Field tables: `commercetools-to-fluent`, section 3.

pub mod attributes;
pub mod deactivate;
pub mod inbox;
pub mod page;
pub mod plan;
pub mod poll;
pub mod price;
pub mod prices;
pub mod read;
pub mod upsert;
pub mod written;

use super::attribute::{self, own};
use super::category::{catalogue, key};
use super::text::{Notes, clean, fits, localized, present};
use crate::clock::Millis;
use crate::commercetools::catalogue::{ProductProjection, ProductVariant};
use crate::config::model::Connection;
use crate::config::timing::Timing;
use crate::failure::Failure;
use crate::fluent::catalogue::{CategoryKey, CreateStandardProductInput, CreateVariantProductInput, TaxTypeInput};
use crate::fluent::input::{AttributeInput, ProductKey};
use crate::queue::Routes;

/// Registers this flow's routes.
pub fn register(routes: &mut Routes) {
    routes.inbox("commercetools.product-changed", inbox::changed);
    routes.inbox("commercetools.product-unpublished", inbox::unpublished);
    routes.inbox("commercetools.product-deleted", inbox::deleted);
    routes.inbox("commercetools.price-changed", price::changed);
    routes.outbox("fluent.upsert-product", upsert::upsert);
    routes.outbox("fluent.deactivate-product", deactivate::deactivate);
    routes.outbox(PAGE, page::page).lane("bulk");
    routes.job("job.product-sync", poll::sync).timed(|connection| {
        let config = &connection.product;
        (config.enabled && !config.poll.0.is_zero()).then(|| Timing::every(config.poll))
    });
    routes.job("job.product-removal-sync", poll::removal).timed(|connection| {
        let config = &connection.product;
        (config.enabled && !config.removal_sweep.0.is_zero()).then(|| Timing::every(config.removal_sweep))
    });
}

/// Mapping kind of standard products; commercetools id = product id.
pub const KIND: &str = "product";
/// Mapping kind of variants; commercetools id = [`variant_id`].
pub const VARIANT: &str = "variant";

/// Route of a page of a run.
const PAGE: &str = "fluent.upsert-product-page";

/// Longest ref.
const REF: usize = 100;

/// The id of a variant in the mapping.
pub fn variant_id(product_id: &str, sku: &str) -> String {
    format!("{product_id}/{sku}")
}

/// A product as Fluent gets it.
#[derive(Clone, Debug, PartialEq)]
pub struct Mapped {
    pub standard: CreateStandardProductInput,
    pub variants: Vec<CreateVariantProductInput>,
    /// Why some variants are not among them.
    pub refused: Vec<String>,
    pub notes: Notes,
}

/// What people call the product: its key, else its id.
pub fn label(product: &ProductProjection) -> &str {
    present(product.key.as_deref()).unwrap_or(&product.id)
}

/// The ref the standard product gets: key, else id; told apart from a SKU of the same product.
pub fn reference(product: &ProductProjection) -> String {
    let wanted = label(product);
    let is_sku = product.all_variants().any(|variant| variant.sku.as_deref() == Some(wanted));
    let wanted = if is_sku { format!("{wanted}_STANDARD") } else { wanted.to_owned() };
    if fits(&wanted, REF) { wanted } else { product.id.clone() }
}

/// Maps a product under its ref, in the categories with these refs, with the prices that count at
/// `now`.
///
/// # Errors
/// Rejected with the sentences of C 3.5; a variant alone is left out and told in `refused`.
pub fn to_fluent(
    product: &ProductProjection,
    reference: &str,
    categories: &[String],
    now: Millis,
    connection: &Connection,
) -> Result<Mapped, Failure> {
    let mut sender = Sender::new(product, reference, categories, now, connection);
    let (mut variants, mut refused) = (vec![], vec![]);
    for variant in product.all_variants() {
        match sender.variant(variant) {
            Ok(input) => variants.push(input),
            Err(sentence) => refused.push(sentence),
        }
    }
    if variants.is_empty() {
        return Err(Failure::rejected(match refused.as_slice() {
            [sentence] if present(product.master_variant.sku.as_deref()).is_some() => sentence.clone(),
            _ => format!("Product {} has no variant with a SKU.", label(product)),
        }));
    }
    let standard = sender.standard();
    Ok(Mapped { standard, variants, refused, notes: sender.notes })
}

/// What the standard product and its variants have in common.
struct Sender<'a> {
    product: &'a ProductProjection,
    connection: &'a Connection,
    chain: Vec<&'a str>,
    now: Millis,
    reference: &'a str,
    name: Option<String>,
    summary: Option<String>,
    categories: Vec<CategoryKey>,
    tax_type: Option<TaxTypeInput>,
    notes: Notes,
}

impl<'a> Sender<'a> {
    fn new(
        product: &'a ProductProjection,
        reference: &'a str,
        categories: &[String],
        now: Millis,
        connection: &'a Connection,
    ) -> Self {
        let chain: Vec<&str> = connection.locale.chain.iter().map(String::as_str).collect();
        let mut notes = Notes::default();
        let name = localized(&product.name, &chain).map(clean);
        let summary = localized(&product.description, &chain).map(clean);
        let mut categories: Vec<CategoryKey> = categories.iter().map(|category| key(category, connection)).collect();
        categories.sort_by(|one, other| one.reference.cmp(&other.reference));
        categories.dedup();
        Self {
            product,
            connection,
            now,
            reference,
            name: notes.cut("name", name.as_deref(), 255),
            summary: notes.cut("summary", summary.as_deref(), 255),
            categories,
            tax_type: tax_type(product, connection),
            chain,
            notes,
        }
    }

    fn standard(&mut self) -> CreateStandardProductInput {
        CreateStandardProductInput {
            reference: self.reference.to_owned(),
            catalogue: catalogue(self.connection),
            kind: "STANDARD".into(),
            gtin: attributes::gtin(self.reference),
            name: self.name.clone().unwrap_or_else(|| self.reference.to_owned()),
            summary: self.summary.clone(),
            categories: self.categories.clone(),
            tax_type: self.tax_type.clone(),
            attributes: self.standard_attributes(),
        }
    }

    fn standard_attributes(&mut self) -> Vec<AttributeInput> {
        let mut inputs = vec![attribute::string(own(self.connection, "Id"), &self.product.id)];
        if let Some(key) = present(self.product.key.as_deref()) {
            inputs.push(attribute::string(own(self.connection, "ProductKey"), key));
        }
        let rules = &self.connection.product;
        inputs.extend(attributes::converted(self.product.attributes.iter(), rules, &self.chain, &mut self.notes));
        if let Some(image) = self.product.master_variant.images.first() {
            inputs.push(attribute::string("imageUrl", &image.url));
        }
        inputs
    }

    /// A variant, or why Fluent cannot hold it.
    fn variant(&mut self, variant: &ProductVariant) -> Result<CreateVariantProductInput, String> {
        let label = label(self.product);
        let Some(sku) = present(variant.sku.as_deref()) else {
            return Err(format!(
                "Variant {} of product {label} has no SKU, so Fluent cannot hold it. The other variants were sent.",
                variant.id
            ));
        };
        if !fits(sku, REF) {
            return Err(format!("The SKU {sku} is longer than 100 characters; Fluent cannot hold it."));
        }
        let rules = &self.connection.product;
        let prices = match rules.send_prices {
            true => prices::prices(&variant.prices, rules, self.now),
            false => Ok(vec![]),
        };
        let prices = prices.map_err(|error| format!("SKU {sku} of product {label} {error}."))?;
        Ok(CreateVariantProductInput {
            reference: sku.to_owned(),
            catalogue: catalogue(self.connection),
            kind: "VARIANT".into(),
            product: ProductKey { reference: self.reference.to_owned(), catalogue: catalogue(self.connection) },
            gtin: attributes::own_gtin(&variant.attributes, rules)
                .map_or_else(|| attributes::gtin(sku), |(_, gtin)| gtin),
            name: self.name.clone().unwrap_or_else(|| sku.to_owned()),
            summary: self.summary.clone(),
            categories: self.categories.clone(),
            prices,
            tax_type: self.tax_type.clone(),
            attributes: attributes::of_variant(
                (&self.product.id, variant.id),
                &variant.attributes,
                &variant.images,
                self.connection,
                &self.chain,
                &mut self.notes,
            ),
        })
    }
}

/// Fluent wants all three members or none, so only what configuration knows is sent.
fn tax_type(product: &ProductProjection, connection: &Connection) -> Option<TaxTypeInput> {
    let key = product.tax_category.as_ref()?.obj.as_ref()?.key.as_deref()?;
    let tax = connection.product.tax_types.get(key)?;
    Some(TaxTypeInput { country: tax.country.clone(), group: tax.group.clone(), tariff: tax.tariff.clone() })
}

#[cfg(test)]
mod tests;
