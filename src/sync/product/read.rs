//! Reading a product whole: its published projection, its standalone prices, the key of its tax
//! category (C 3.1).

use std::collections::HashMap;

use crate::app::Connection;
use crate::commercetools::catalogue::{ProductPrice, ProductProjection};
use crate::failure::{Class, Failure, Outcome};
use crate::queue::Message;

/// Why products of this project are not sent; `None` = they are.
///
/// # Errors
/// When the settings cannot be read for now.
pub async fn unsupported(message: &Message, connection: &Connection) -> Result<Option<&'static str>, Failure> {
    let settings = match connection.commercetools.on(message.call()).remembered_settings().await {
        Ok(settings) => settings,
        // Without the scope for settings the model is not known; what it is shows in the products.
        Err(error) if error.status == 403 => None,
        Err(error) => return Err(error.into()),
    };
    let modular = settings.and_then(|settings| settings.product_catalog_model).is_some_and(|model| model == "Modular");
    Ok(modular.then_some("This project uses the Modular catalogue. Product sync supports Classic and InMigration."))
}

/// The product as it is published now, at least as new as it was announced; `None` = it is not
/// published.
///
/// # Errors
/// As the client says.
pub async fn published(
    message: &Message,
    connection: &Connection,
    id: &str,
) -> Result<Option<ProductProjection>, Failure> {
    let commercetools = connection.commercetools.on(message.call());
    let Some(mut product) = commercetools.product_projection(id).await? else { return Ok(None) };
    if product.version < message.at_least() {
        let name = super::label(&product);
        let sentence = format!("commercetools returns an older version of product {name} than announced.");
        return Err(Failure::retry(Class::Stale, sentence));
    }
    complete(message, connection, &mut product).await?;
    Ok(Some(product))
}

/// Adds to a product what its projection does not say: standalone prices, the key of its tax category.
///
/// # Errors
/// As the client says.
pub async fn complete(message: &Message, connection: &Connection, product: &mut ProductProjection) -> Outcome {
    if product.price_mode.as_deref() == Some("Standalone") && connection.config.product.send_prices {
        standalone_prices(message, connection, product).await?;
    }
    let tax_category = product.tax_category.as_mut().filter(|_| !connection.config.product.tax_types.is_empty());
    if let Some(tax_category) = tax_category
        && let (Some(id), None) = (&tax_category.id, &tax_category.obj)
    {
        tax_category.obj = connection.commercetools.on(message.call()).tax_category(id).await?;
    }
    Ok(())
}

/// Standalone prices stand in the place of embedded ones.
async fn standalone_prices(
    message: &Message,
    connection: &Connection,
    product: &mut ProductProjection,
) -> Result<(), Failure> {
    let skus: Vec<&str> = product.all_variants().filter_map(|variant| variant.sku.as_deref()).collect();
    let found = connection.commercetools.on(message.call()).standalone_prices(&skus).await?;
    let mut by_sku: HashMap<String, Vec<ProductPrice>> = HashMap::new();
    for price in found {
        let read = price.price().map_err(|error| {
            Failure::rejected(format!("The standalone price {} of SKU {} cannot be read: {error}", price.id, price.sku))
        })?;
        by_sku.entry(price.sku).or_default().push(read);
    }
    for variant in product.all_variants_mut() {
        variant.prices = variant.sku.as_ref().and_then(|sku| by_sku.remove(sku)).unwrap_or_default();
    }
    Ok(())
}
