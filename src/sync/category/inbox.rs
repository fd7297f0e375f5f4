//! A category may have changed, or is gone: is there anything to send? (C 2.1, 1.3)

use super::{KIND, send};
use crate::app::{App, Connection};
use crate::commercetools::catalogue::Category;
use crate::failure::{Class, Failure, Outcome, Skip, skip};
use crate::queue::Message;
use crate::store::Mapping;
use crate::sync::catalogue::{Notice, is_written, next};
use crate::sync::connection;

/// `commercetools.category-changed`: a category may have to be sent.
///
/// # Errors
/// Skipped if the flow is off or the category is known to be gone.
pub async fn changed(app: App, message: Message) -> Outcome {
    let Notice { id } = message.payload()?;
    let connection = connection(&app, &message)?;
    if !connection.config.category.enabled {
        return skip(Skip::Ignored, "Categories are switched off for this connection.");
    }
    let row = app.store().read().await?.mapping(message.connection(), KIND, &id).await?;
    let Some(category) = read(&message, connection, &id).await? else {
        return gone(&message, connection, row.as_ref(), &id);
    };
    let again = row.as_ref().is_some_and(|row| row.commercetools_version >= category.version);
    if let Some(row) = send::unchanged(&app, &message, connection, &category, row).await? {
        send::seen(&message, row, category.version);
        message.unchanged();
        return Ok(());
    }
    message.then([next(&message, "fluent.upsert-category", (KIND, &id), category.version, again)]);
    message.tell(format!("category {} goes to Fluent", super::reference(&category)));
    Ok(())
}

/// `commercetools.category-deleted`: a category is said to be gone. It is looked for once more.
///
/// # Errors
/// Skipped if it is of no concern to Fluent.
pub async fn deleted(app: App, message: Message) -> Outcome {
    let Notice { id } = message.payload()?;
    let connection = connection(&app, &message)?;
    if !connection.config.category.enabled {
        return skip(Skip::Ignored, "Categories are switched off for this connection.");
    }
    if let Some(category) = connection.commercetools.on(message.call()).category(&id).await? {
        message.then([next(&message, "commercetools.category-changed", (KIND, &id), category.version, true)]);
        message.tell(format!("category {} is there all the same", super::reference(&category)));
        return Ok(());
    }
    let row = app.store().read().await?.mapping(message.connection(), KIND, &id).await?;
    match row {
        Some(row) => gone(&message, connection, Some(&row), &id),
        None => {
            remember_deletion(&message, KIND, &id);
            skip(Skip::Ignored, format!("Category {id} was never sent to Fluent."))
        }
    }
}

/// Reads the category as it is now, at least as new as it was announced.
pub async fn read(message: &Message, connection: &Connection, id: &str) -> Result<Option<Category>, Failure> {
    match connection.commercetools.on(message.call()).category(id).await? {
        Some(category) if category.version < message.at_least() => {
            let name = super::reference(&category);
            let sentence = format!("commercetools returns an older version of category {name} than announced.");
            Err(Failure::retry(Class::Stale, sentence))
        }
        found => Ok(found),
    }
}

/// commercetools does not return it. One that Fluent has is deactivated there.
pub fn gone(message: &Message, connection: &Connection, row: Option<&Mapping>, id: &str) -> Outcome {
    let Some(row) = row else {
        return Err(message.not_there_yet(format!("commercetools announced category {id} but does not return it.")));
    };
    let name = row.fluent_ref.as_deref().unwrap_or(id);
    if !is_written(row) || row.state == "inactive" {
        return skip(Skip::Ignored, format!("Category {name} no longer exists in commercetools."));
    }
    if connection.config.category.on_delete == crate::config::model::OnGone::Ignore {
        return skip(Skip::Ignored, format!("Category {name} was deleted; category.on_delete leaves it in Fluent."));
    }
    message.then([next(message, "fluent.deactivate-category", (KIND, id), 0, true)]);
    message.tell(format!("category {name} is gone"));
    Ok(())
}

/// What was deleted before it was ever sent: what is still announced of it is not waited for.
pub fn remember_deletion(message: &Message, kind: &str, id: &str) {
    let mut row = Mapping::new(message.connection(), kind, id);
    row.state = "absent".into();
    row.last_message = Some(message.id());
    message.with(move |tx| Box::pin(async move { tx.put_mapping(&row).await }));
}
