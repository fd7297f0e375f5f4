//! A customer may have changed, or is gone: is there anything to send? (C 4.1, 10)

use serde::Deserialize;
use serde_json::Value;

use super::KIND;
use super::send::is_unchanged;
use crate::app::{App, Connection};
use crate::commercetools::model::Customer;
use crate::config::model::{CustomerDeleted, CustomerSync};
use crate::failure::{Class, Failure, Outcome, Skip, skip};
use crate::queue::Message;
use crate::store::Mapping;
use crate::sync::catalogue::next;
use crate::sync::connection;

#[derive(Debug, Deserialize)]
struct Notice {
    id: String,
}

/// `commercetools.customer-changed`: a customer may have to be sent.
///
/// # Errors
/// Skipped if the flow is off, or the customer came with no order and only those are wanted.
pub async fn changed(app: App, message: Message) -> Outcome {
    let Notice { id } = message.payload()?;
    let connection = connection(&app, &message)?;
    if !connection.config.customer.enabled {
        return skip(Skip::Ignored, "Customers are sent with their orders only (customer.enabled).");
    }
    let row = app.store().read().await?.mapping(message.connection(), KIND, &id).await?;
    if row.as_ref().is_none_or(|row| row.fluent_id.is_none())
        && connection.config.customer.sync == CustomerSync::OnOrder
    {
        return skip(Skip::Ignored, "No order has brought this customer to Fluent (customer.sync).");
    }
    let Some(customer) = read(&message, connection, &id).await? else {
        return missing(&message, row.as_ref(), &id);
    };
    let again = row.as_ref().is_some_and(|row| row.commercetools_version >= customer.version);
    if let Some(mut row) = row.filter(|row| is_unchanged(row, &customer, connection)) {
        row.commercetools_version = row.commercetools_version.max(customer.version);
        row.last_message = Some(message.id());
        message.with(move |tx| Box::pin(async move { tx.put_mapping(&row).await }));
        message.unchanged();
        return Ok(());
    }
    message.then([next(&message, "fluent.upsert-customer", (KIND, &id), customer.version, again)]);
    message.tell(format!("customer {} goes to Fluent", super::label(&customer)));
    Ok(())
}

/// `commercetools.customer-deleted`: a customer is said to be gone. It is looked for once more.
///
/// # Errors
/// Skipped if Fluent is to keep the customer, or never had it.
pub async fn deleted(app: App, message: Message) -> Outcome {
    let Notice { id } = message.payload()?;
    let connection = connection(&app, &message)?;
    if let Some(customer) = connection.commercetools.on(message.call()).customer::<Customer>(&id).await? {
        message.then([next(&message, "commercetools.customer-changed", (KIND, &id), customer.version, true)]);
        message.tell(format!("customer {} is there all the same", super::label(&customer)));
        return Ok(());
    }
    let config = &connection.config.customer;
    let row = app.store().read().await?.mapping(message.connection(), KIND, &id).await?;
    let mut row = row.unwrap_or_else(|| Mapping::new(message.connection(), KIND, &id));
    if row.fluent_id.is_none() {
        row.state = "absent".into();
        row.last_message = Some(message.id());
        message.with(move |tx| Box::pin(async move { tx.put_mapping(&row).await }));
        return skip(Skip::Ignored, format!("Customer {id} was never sent to Fluent."));
    }
    // The Message of a deletion and its change notification come together; only the latter tells of erasure.
    let erases = message.payloads().any(|payload| payload["erases"] == Value::Bool(true));
    let rule = if erases { config.on_erasure } else { config.on_delete };
    match rule {
        CustomerDeleted::Ignore => skip(Skip::Ignored, format!("Customer {id} was deleted; Fluent keeps it.")),
        CustomerDeleted::Anonymise => {
            message.then([next(&message, "fluent.anonymise-customer", (KIND, &id), 0, true)]);
            message.tell(format!("customer {id} is to be anonymised"));
            Ok(())
        }
    }
}

/// Reads the customer as it is now, at least as new as it was announced.
///
/// # Errors
/// As the client says.
pub async fn read(message: &Message, connection: &Connection, id: &str) -> Result<Option<Customer>, Failure> {
    match connection.commercetools.on(message.call()).customer::<Customer>(id).await? {
        Some(customer) if customer.version < message.at_least() => {
            let name = super::label(&customer);
            let sentence = format!("commercetools returns an older version of customer {name} than announced.");
            Err(Failure::retry(Class::Stale, sentence))
        }
        found => Ok(found),
    }
}

/// commercetools does not return the customer: because it was deleted, or not yet.
///
/// # Errors
/// Always: which of the two it is.
pub fn missing(message: &Message, row: Option<&Mapping>, id: &str) -> Outcome {
    match row {
        Some(_) => skip(Skip::Ignored, "The customer no longer exists in commercetools."),
        None => Err(message.not_there_yet(format!("commercetools announced customer {id} but does not return it."))),
    }
}
