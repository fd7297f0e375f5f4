//! Making a category in Fluent so as it is in commercetools (C 2.2, 2.3).
//!
//! Whether it exists is looked up, unless it was written before; a create that finds its ref taken
//! looks again. A category of ours, or of nobody, is taken over.

use serde_json::{Value, json};

use super::inbox::{gone, read};
use super::{KIND, Mapped, Written, deactivation, reference, to_fluent};
use crate::app::{App, Connection};
use crate::commercetools::catalogue::Category;
use crate::failure::{Class, Failure, Outcome, Skip, skip};
use crate::fluent::catalogue::{self, CategoryFound, UpdateCategoryInput};
use crate::fluent::operation;
use crate::queue::{Message, Note};
use crate::store::{Mapping, Urgency};
use crate::sync::attribute::own;
use crate::sync::canonical::canonical_hash;
use crate::sync::catalogue::{
    Notice, ask, explained, extra, held, is_lost, is_written, next, note, set_extra, unclaimed,
};
use crate::sync::connection;
use crate::sync::text::present;

/// `fluent.upsert-category`: makes sure that Fluent has the category, with this content.
///
/// # Errors
/// Rejected with the sentences of C 2.5; waiting for the parent.
pub async fn upsert(app: App, message: Message) -> Outcome {
    let Notice { id } = message.payload()?;
    let connection = connection(&app, &message)?;
    let row = app.store().read().await?.mapping(message.connection(), KIND, &id).await?;
    let Some(category) = read(&message, connection, &id).await? else {
        return gone(&message, connection, row.as_ref(), &id);
    };
    unclaimed(&app, &message, row.as_ref()).await?;
    if row.as_ref().is_some_and(|row| is_written(row) && category.version < row.commercetools_version) {
        return skip(Skip::Superseded, "A newer version was sent already.");
    }
    let parent = parent(&app, &message, connection, &category).await?;
    let row = row.unwrap_or_else(|| Mapping::new(message.connection(), KIND, &id));
    let name = row.fluent_ref.clone().unwrap_or_else(|| reference(&category).to_owned());
    let mapped = to_fluent(&category, &name, parent.as_deref(), &connection.config)?;
    note(&message, &mapped.notes);
    let hash = hash(&mapped, connection)?;
    if row.state == "active" && row.content_hash.as_ref() == Some(&hash) {
        seen(&message, row, category.version);
        message.unchanged();
        return Ok(());
    }
    let step = Step { app: &app, message: &message, connection, category: &category, mapped: &mapped };
    step.run(row, hash).await
}

/// `fluent.deactivate-category`: takes a category that is gone out of use.
///
/// # Errors
/// As the client says.
pub async fn deactivate(app: App, message: Message) -> Outcome {
    let Notice { id } = message.payload()?;
    let connection = connection(&app, &message)?;
    let row = app.store().read().await?.mapping(message.connection(), KIND, &id).await?;
    let Some((mut row, name)) = row.and_then(|row| row.fluent_ref.clone().map(|name| (row, name))) else {
        return skip(Skip::Ignored, "The category was never sent to Fluent.");
    };
    if row.state != "active" {
        message.unchanged();
        return Ok(());
    }
    unclaimed(&app, &message, Some(&row)).await?;
    // It may be back since this was decided.
    if let Some(category) = connection.commercetools.on(message.call()).category(&id).await? {
        message.then([next(&message, "commercetools.category-changed", (KIND, &id), category.version, true)]);
        return skip(Skip::Superseded, format!("Category {name} is there again."));
    }
    let input = json!({"input": deactivation(&name, &connection.config)});
    let done: Result<Value, _> = connection.fluent.on(message.call()).run(&operation::UPDATE_CATEGORY, input).await;
    match done {
        Err(error) if is_lost(&error, connection) => {
            let sentence = format!("Fluent does not have category {name} any more; nothing was left to deactivate.");
            message.note(Note::new("catalogue.lost", sentence));
        }
        done => drop(done.map_err(|error| explained(error, connection))?),
    }
    row.state = "inactive".into();
    // Whatever it has when it comes back is sent again.
    row.content_hash = None;
    row.last_message = Some(message.id());
    message.with(move |tx| Box::pin(async move { tx.put_mapping(&row).await }));
    message.tell(format!("category {name} is {} in Fluent", connection.config.category.status_inactive));
    Ok(())
}

/// The row of a category whose content Fluent has; `None` = there may be something to send.
///
/// # Errors
/// When the database fails, or the category cannot be mapped.
pub async fn unchanged(
    app: &App,
    message: &Message,
    connection: &Connection,
    category: &Category,
    row: Option<Mapping>,
) -> Result<Option<Mapping>, Failure> {
    let Some((row, name)) = row.and_then(|row| row.fluent_ref.clone().map(|name| (row, name))) else {
        return Ok(None);
    };
    let parent = match parent_id(category) {
        None => None,
        Some(id) => match known_parent(app, message, id).await? {
            None => return Ok(None),
            known => known,
        },
    };
    let mapped = to_fluent(category, &name, parent.as_deref(), &connection.config)?;
    let same = row.state == "active" && row.content_hash == Some(hash(&mapped, connection)?);
    Ok(same.then_some(row))
}

/// Remembers up to which version Fluent is up to date.
pub fn seen(message: &Message, mut row: Mapping, version: i64) {
    if version <= row.commercetools_version {
        return;
    }
    row.commercetools_version = version;
    row.last_message = Some(message.id());
    message.with(move |tx| Box::pin(async move { tx.put_mapping(&row).await }));
}

/// Hash of the content together with the configuration that shaped it and is not part of it.
///
/// # Errors
/// A rejection if it cannot be written as JSON.
pub fn hash(mapped: &Mapped, connection: &Connection) -> Result<String, Failure> {
    canonical_hash(&(&mapped.create, &connection.config.category.status_active))
        .map_err(|error| Failure::rejected(format!("The category cannot be written as JSON: {error}")))
}

/// Id of the category above it.
pub fn parent_id(category: &Category) -> Option<&str> {
    category.parent.as_ref().and_then(|parent| parent.id.as_deref())
}

async fn known_parent(app: &App, message: &Message, id: &str) -> Result<Option<String>, Failure> {
    let row = app.store().read().await?.mapping(message.connection(), KIND, id).await?;
    Ok(row.filter(is_written).and_then(|row| row.fluent_ref))
}

/// The ref of the parent. A parent that is not in Fluent yet is asked for and waited for (C 2.3).
async fn parent(
    app: &App,
    message: &Message,
    connection: &Connection,
    category: &Category,
) -> Result<Option<String>, Failure> {
    let Some(id) = parent_id(category) else { return Ok(None) };
    if let Some(parent) = known_parent(app, message, id).await? {
        return Ok(Some(parent));
    }
    let parent = category.parent.as_ref().and_then(|parent| parent.obj.as_ref());
    let name = present(parent.and_then(|parent| parent.key.as_deref())).unwrap_or(id);
    if held(app, message) >= connection.config.category.wait_limit.millis() {
        return Err(Failure::rejected(format!(
            "The parent category {name} never arrived in Fluent; see its own message."
        )));
    }
    let why = format!("wanted-by:{}", category.id);
    message.then([ask(message, "commercetools.category-changed", (KIND, id), &why)]);
    Err(Failure::Waiting { key: format!("{KIND}:{id}"), sentence: format!("Waiting for the parent category {name}.") })
}

struct Step<'a> {
    app: &'a App,
    message: &'a Message,
    connection: &'a Connection,
    category: &'a Category,
    mapped: &'a Mapped,
}

impl Step<'_> {
    async fn run(&self, mut row: Mapping, hash: String) -> Outcome {
        let before: Written = extra(&row);
        let lost = self.message.last_failure() == Some(Class::UnknownOutcome);
        if is_written(&row) && !lost {
            self.update(&row, &before).await?;
        } else {
            self.remember_reference(&mut row).await?;
            self.create_or_adopt(&row, &before).await?;
        }
        row.content_hash = Some(hash);
        row.commercetools_key = self.category.key.clone();
        row.commercetools_version = self.category.version;
        row.state = "active".into();
        row.last_message = Some(self.message.id());
        set_extra(&mut row, &self.mapped.written());
        self.message.with(move |tx| Box::pin(async move { tx.put_mapping(&row).await }));
        self.message.tell(format!("category {} is in Fluent", self.label()));
        Ok(())
    }

    /// A category that Fluent lost is created anew.
    async fn update(&self, row: &Mapping, before: &Written) -> Outcome {
        let input = self.input(row, before);
        match self.send(&operation::UPDATE_CATEGORY, json!({ "input": input })).await {
            Err(error) if is_lost(&error, self.connection) => self.create_or_adopt(row, before).await,
            Err(error) => Err(explained(error, self.connection)),
            Ok(()) => Ok(()),
        }
    }

    async fn create_or_adopt(&self, row: &Mapping, before: &Written) -> Outcome {
        if let Some(existing) = self.find().await? {
            return self.adopt(&existing, row, before).await;
        }
        match self.send(&operation::CREATE_CATEGORY, json!({"input": self.mapped.create})).await {
            // Somebody was faster, or our own earlier try became visible.
            Err(error) if error.code == "C0123E" => match self.find().await? {
                Some(existing) => self.adopt(&existing, row, before).await,
                None => Err(Failure::retry(Class::Stale, error.sentence)),
            },
            Err(error) => Err(explained(error, self.connection)),
            Ok(()) => Ok(()),
        }
    }

    /// Takes over a category that is ours or nobody's, and brings it up to date.
    async fn adopt(&self, existing: &catalogue::Category, row: &Mapping, before: &Written) -> Outcome {
        let theirs = existing.attributes.as_deref();
        let owner = catalogue::attribute(theirs, &own(&self.connection.config, "Id")).and_then(Value::as_str);
        if owner.is_some_and(|owner| owner != self.category.id) {
            return Err(self.taken());
        }
        self.message.adopted();
        let input = self.input(row, before);
        let parent = existing.parent_category.as_ref().map(|parent| parent.reference.as_str());
        let wanted = self.mapped.create.parent_category.as_ref().map(|parent| parent.reference.as_str());
        let equal = existing.name == input.name
            && present(existing.summary.as_deref()) == present(input.summary.as_deref())
            && parent == wanted
            && input.status.is_none()
            && catalogue::hold(theirs, &input.attributes);
        if equal {
            return Ok(());
        }
        let sent = self.send(&operation::UPDATE_CATEGORY, json!({ "input": input })).await;
        sent.map_err(|error| explained(error, self.connection))
    }

    fn input(&self, row: &Mapping, before: &Written) -> UpdateCategoryInput {
        let active = &self.connection.config.category.status_active;
        let status = (row.state == "inactive").then(|| active.clone());
        UpdateCategoryInput { status, ..self.mapped.update(before) }
    }

    async fn find(&self) -> Result<Option<catalogue::Category>, Failure> {
        let create = &self.mapped.create;
        let variables = json!({"ref": create.reference, "catalogue": create.catalogue});
        let fluent = self.connection.fluent.on(self.message.call());
        let found: Result<CategoryFound, _> = fluent.run(&operation::CATEGORY_BY_REF, variables).await;
        Ok(found.map_err(|error| explained(error, self.connection))?.category)
    }

    async fn send(&self, operation: &operation::Operation, variables: Value) -> Result<(), crate::remote::Error> {
        let _: Value = self.connection.fluent.on(self.message.call()).run(operation, variables).await?;
        Ok(())
    }

    /// A ref is stored before the first call and never recomputed (D-1).
    async fn remember_reference(&self, row: &mut Mapping) -> Outcome {
        if row.fluent_ref.is_some() {
            return Ok(());
        }
        let (name, store) = (self.label(), self.app.store());
        let holder = store.read().await?.mapping_by_fluent_ref(self.message.connection(), KIND, name).await?;
        if holder.is_some() {
            return Err(self.taken());
        }
        row.fluent_ref = Some(name.to_owned());
        row.state = "absent".into();
        let reserved = row.clone();
        Ok(store.write(Urgency::Bulk, move |tx| Box::pin(async move { tx.put_mapping(&reserved).await })).await?)
    }

    fn taken(&self) -> Failure {
        Failure::rejected(format!(
            "Fluent already has a category {} that belongs to another commercetools category. Rename one of the keys, \
             then retry.",
            self.label()
        ))
    }

    fn label(&self) -> &str {
        &self.mapped.create.reference
    }
}
