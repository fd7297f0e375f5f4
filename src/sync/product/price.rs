//! A standalone price changed: its SKU says which product is to be looked at (C 3.1).

use serde::Deserialize;

use super::{KIND, VARIANT};
use crate::app::App;
use crate::failure::{Outcome, Skip, skip};
use crate::queue::Message;
use crate::sync::catalogue::ask;
use crate::sync::connection;

#[derive(Debug, Deserialize)]
struct Notice {
    id: String,
    /// Not every message tells it.
    sku: Option<String>,
}

/// `commercetools.price-changed`: the product of the price may have to be sent.
///
/// # Errors
/// Skipped if no product that Fluent has is concerned.
pub async fn changed(app: App, message: Message) -> Outcome {
    let Notice { id, sku } = message.payload()?;
    let connection = connection(&app, &message)?;
    if !connection.config.product.enabled || !connection.config.product.send_prices {
        return skip(Skip::Ignored, "Prices are switched off for this connection.");
    }
    let sku = match sku {
        Some(sku) => Some(sku),
        None => connection.commercetools.on(message.call()).sku_of_price(&id).await?,
    };
    let Some(sku) = sku else {
        return skip(Skip::Ignored, format!("The price {id} no longer exists in commercetools."));
    };
    let row = app.store().read().await?.mapping_by_fluent_ref(message.connection(), VARIANT, &sku).await?;
    // A product that comes later comes with its prices.
    let Some((product, _)) = row.as_ref().and_then(|row| row.commercetools_id.split_once('/')) else {
        return skip(Skip::Ignored, format!("SKU {sku} is not in Fluent."));
    };
    let why = format!("price:{}", message.key());
    message.then([ask(&message, "commercetools.product-changed", (KIND, product), &why)]);
    message.tell(format!("a price of SKU {sku} changed"));
    Ok(())
}
