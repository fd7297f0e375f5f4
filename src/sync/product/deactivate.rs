//! Taking what is no longer for sale out of use in Fluent: variants first, then their standard
//! product (C 10). Fluent cannot delete.

use serde_json::{Value, json};

use super::plan::Kind;
use super::written::{Written, deactivation};
use super::{KIND, VARIANT, label, variant_id};
use crate::app::{App, Connection};
use crate::failure::{Failure, Outcome, Skip, skip};
use crate::fluent::operation;
use crate::queue::{Message, Note};
use crate::store::Mapping;
use crate::sync::catalogue::{Notice, explained, extra, is_lost, next, unclaimed};
use crate::sync::category::catalogue;
use crate::sync::connection;

/// `fluent.deactivate-product`: gives every variant of a product, and then itself, the inactive status.
///
/// # Errors
/// As the client says.
pub async fn deactivate(app: App, message: Message) -> Outcome {
    let Notice { id } = message.payload()?;
    let connection = connection(&app, &message)?;
    let row = app.store().read().await?.mapping(message.connection(), KIND, &id).await?;
    let Some((row, name)) = row.and_then(|row| row.fluent_ref.clone().map(|name| (row, name))) else {
        return skip(Skip::Ignored, "The product was never sent to Fluent.");
    };
    unclaimed(&app, &message, Some(&row)).await?;
    // It may be published again since this was decided.
    if let Some(product) = connection.commercetools.on(message.call()).product_projection(&id).await? {
        message.then([next(&message, "commercetools.product-changed", (KIND, &id), product.version, true)]);
        return skip(Skip::Superseded, format!("Product {} is published again.", label(&product)));
    }
    let mut variants = variants(&app, &message, &row).await?;
    variants.sort_by(|one, other| one.fluent_ref.cmp(&other.fluent_ref));
    if variants.is_empty() && row.state != "active" {
        message.unchanged();
        return Ok(());
    }
    for variant in variants {
        one(&message, connection, Kind::Variant, variant).await?;
    }
    one(&message, connection, Kind::Standard, row).await?;
    message.tell(format!("product {name} is {} in Fluent", connection.config.product.status_inactive));
    Ok(())
}

/// Deactivates one product and remembers it with the outcome of the message.
///
/// # Errors
/// As the client says.
pub async fn one(message: &Message, connection: &Connection, kind: Kind, mut row: Mapping) -> Outcome {
    let Some(name) = &row.fluent_ref else { return Ok(()) };
    let operation = match kind {
        Kind::Standard => &operation::UPDATE_STANDARD_PRODUCT,
        Kind::Variant => &operation::UPDATE_VARIANT_PRODUCT,
    };
    let input = deactivation(name, catalogue(&connection.config), &connection.config.product);
    let done: Result<Value, _> = connection.fluent.on(message.call()).run(operation, json!({ "input": input })).await;
    match done {
        Err(error) if is_lost(&error, connection) => {
            let sentence = format!("Fluent does not have product {name} any more; nothing was left to deactivate.");
            message.note(Note::new("catalogue.lost", sentence));
        }
        done => drop(done.map_err(|error| explained(error, connection))?),
    }
    row.state = "inactive".into();
    // Whatever it has when it comes back is sent again.
    row.content_hash = None;
    row.last_message = Some(message.id());
    message.with(move |tx| Box::pin(async move { tx.put_mapping(&row).await }));
    Ok(())
}

/// The product's variants that are in use. A SKU that belongs to another product by now is not among
/// them: its row has no ref any more.
async fn variants(app: &App, message: &Message, row: &Mapping) -> Result<Vec<Mapping>, Failure> {
    let written: Written = extra(row);
    let ids: Vec<String> = written.skus.iter().map(|sku| variant_id(&row.commercetools_id, sku)).collect();
    let rows = app.store().read().await?.mappings_of(message.connection(), VARIANT, &ids).await?;
    Ok(rows.into_iter().filter(|row| row.state == "active" && row.fluent_ref.is_some()).collect())
}
