//! A product may have changed, or is gone: is there anything to send? (C 3.1, 1.3)

use super::plan::Plan;
use super::{KIND, label, prices, read};
use crate::app::{App, Connection};
use crate::clock::rfc3339;
use crate::commercetools::catalogue::ProductProjection;
use crate::config::model::OnGone;
use crate::failure::{Outcome, Skip, skip};
use crate::queue::{Draft, Message};
use crate::store::Mapping;
use crate::sync::catalogue::{Notice, is_written, next};
use crate::sync::category::inbox::remember_deletion;
use crate::sync::connection;

/// `commercetools.product-changed`: a product may have to be sent.
///
/// # Errors
/// Rejected with the sentences of C 3.5; skipped if there is nothing that could be sent.
pub async fn changed(app: App, message: Message) -> Outcome {
    let Notice { id } = message.payload()?;
    let connection = connection(&app, &message)?;
    if !connection.config.product.enabled {
        return skip(Skip::Ignored, "Products are switched off for this connection.");
    }
    if let Some(sentence) = read::unsupported(&message, connection).await? {
        return skip(Skip::Ignored, sentence);
    }
    let Some(product) = read::published(&message, connection, &id).await? else {
        let row = app.store().read().await?.mapping(message.connection(), KIND, &id).await?;
        return gone(&message, connection, row.as_ref(), &id).await;
    };
    message.then(look_again_when_prices_change(&app, &message, connection, &product));
    let plan = Plan::make(&app, &message, connection, product).await?;
    if plan.is_unchanged() {
        plan.seen(&message);
        message.unchanged();
        return Ok(());
    }
    let again = plan.standard.row.commercetools_version >= plan.product.version;
    message.then([next(&message, "fluent.upsert-product", (KIND, &id), plan.product.version, again)]);
    message.tell(format!("product {} goes to Fluent", label(&plan.product)));
    Ok(())
}

/// `commercetools.product-unpublished`: a product is said to be no longer for sale. It is looked for
/// once more, so that a late word does not switch off what is published again.
///
/// # Errors
/// Skipped if it is of no concern to Fluent.
pub async fn unpublished(app: App, message: Message) -> Outcome {
    no_longer(app, message).await
}

/// `commercetools.product-deleted`: the same for a product that is said to be gone.
///
/// # Errors
/// As [`unpublished`].
pub async fn deleted(app: App, message: Message) -> Outcome {
    no_longer(app, message).await
}

async fn no_longer(app: App, message: Message) -> Outcome {
    let Notice { id } = message.payload()?;
    let connection = connection(&app, &message)?;
    if !connection.config.product.enabled {
        return skip(Skip::Ignored, "Products are switched off for this connection.");
    }
    if let Some(product) = connection.commercetools.on(message.call()).product_projection(&id).await? {
        message.then([next(&message, "commercetools.product-changed", (KIND, &id), product.version, true)]);
        message.tell(format!("product {} is published all the same", label(&product)));
        return Ok(());
    }
    let row = app.store().read().await?.mapping(message.connection(), KIND, &id).await?;
    match row {
        Some(row) => gone(&message, connection, Some(&row), &id).await,
        None => {
            if message.route() == "commercetools.product-deleted" {
                remember_deletion(&message, KIND, &id);
            }
            skip(Skip::Ignored, format!("Product {id} was never sent to Fluent."))
        }
    }
}

/// commercetools does not return it as published. What Fluent has of it is deactivated there.
pub async fn gone(message: &Message, connection: &Connection, row: Option<&Mapping>, id: &str) -> Outcome {
    let name = row.and_then(|row| row.fluent_ref.as_deref()).unwrap_or(id);
    let written = row.filter(|row| is_written(row) && row.state == "active");
    if written.is_none() && row.is_some_and(|row| row.fluent_ref.is_none() || row.state == "inactive") {
        return skip(Skip::Ignored, format!("Product {name} is not published in commercetools."));
    }
    let exists = connection.commercetools.on(message.call()).product_exists(id).await?;
    let rules = &connection.config.product;
    let (what, rule) = match exists {
        true => ("unpublished", rules.on_unpublish),
        false => ("deleted", rules.on_delete),
    };
    if written.is_none() {
        return match exists {
            true => skip(Skip::Ignored, format!("Product {name} is not published in commercetools.")),
            false => {
                Err(message.not_there_yet(format!("commercetools announced product {name} but does not return it.")))
            }
        };
    }
    if rule == OnGone::Ignore {
        return skip(Skip::Ignored, format!("Product {name} was {what}; the configuration leaves it in Fluent."));
    }
    message.then([next(message, "fluent.deactivate-product", (KIND, id), 0, true)]);
    message.tell(format!("product {name} was {what}"));
    Ok(())
}

/// A price begins or ends at a known moment: nobody announces that. The message for an earlier moment
/// was claimed together with this one, so each look plans the next.
pub fn look_again_when_prices_change(
    app: &App,
    message: &Message,
    connection: &Connection,
    product: &ProductProjection,
) -> Option<Draft> {
    let rules = &connection.config.product;
    let all = product.all_variants().flat_map(|variant| &variant.prices);
    let at = prices::next_change(all, rules, app.clock().now()).filter(|_| rules.send_prices)?;
    let key = format!("{}#{}@price:{}:{}", product.id, product.version, rfc3339(at), message.id());
    let draft = message.next("commercetools.product-changed", key).subject(format!("{KIND}:{}", product.id));
    Some(draft.payload(serde_json::json!({"id": product.id})).due(at))
}
