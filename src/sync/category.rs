//! Categories, commercetools → Fluent.
//!
//! Routes `commercetools.category-changed`, `commercetools.category-deleted` (in `inbox`),
//! `fluent.upsert-category`, `fluent.deactivate-category` (in `send`), all of subject
//! `category:<id>`; `job.category-sync` (in `poll`) finds what no notification told of. The pure
//! part is [`to_fluent`]. Field table: `commercetools-to-fluent`, section 2.

pub mod inbox;
pub mod page;
pub mod poll;
pub mod send;

use serde::{Deserialize, Serialize};

use super::attribute::{self, own};
use super::text::{Notes, clean, fits, localized, present};
use crate::commercetools::catalogue::Category;
use crate::config::model::Connection;
use crate::config::timing::Timing;
use crate::failure::Failure;
use crate::fluent::catalogue::{CategoryKey, CreateCategoryInput, UpdateCategoryInput};
use crate::fluent::input::{AttributeInput, ProductCatalogueKey};
use crate::queue::Routes;

/// Registers this flow's routes.
pub fn register(routes: &mut Routes) {
    routes.inbox("commercetools.category-changed", inbox::changed);
    routes.inbox("commercetools.category-deleted", inbox::deleted);
    routes.outbox("fluent.upsert-category", send::upsert);
    routes.outbox("fluent.deactivate-category", send::deactivate);
    routes.job("job.category-sync", poll::sync).timed(|connection| {
        let config = &connection.category;
        (config.enabled && !config.poll.0.is_zero()).then(|| Timing::every(config.poll))
    });
    routes.outbox(PAGE, page::page).lane("bulk");
    routes.job("job.category-removal-sync", poll::removal).timed(|connection| {
        let config = &connection.category;
        (config.enabled && !config.removal_sweep.0.is_zero()).then(|| Timing::every(config.removal_sweep))
    });
}

/// Mapping kind of categories.
pub const KIND: &str = "category";

/// Route of a page of a run.
const PAGE: &str = "fluent.upsert-category-page";

/// Longest ref of a category that is a parent.
const REF: usize = 36;
/// Deepest chain of ancestors.
const DEPTH: usize = 50;

/// A category as Fluent gets it.
#[derive(Clone, Debug, PartialEq)]
pub struct Mapped {
    pub create: CreateCategoryInput,
    pub notes: Notes,
}

/// What of a category was written before; kept in the mapping, because Fluent takes nothing back by
/// itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Written {
    /// Names of attributes.
    pub attributes: Vec<String>,
    pub summary: bool,
    pub parent: bool,
}

/// The ref a category gets: its key if that has 1 to 36 characters, else its id (D-2).
pub fn reference(category: &Category) -> &str {
    present(category.key.as_deref()).filter(|key| fits(key, REF)).unwrap_or(&category.id)
}

/// Maps a category under its ref, below the category that has the ref `parent`.
///
/// # Errors
/// Rejected if more than 50 categories are above it.
pub fn to_fluent(
    category: &Category,
    reference: &str,
    parent: Option<&str>,
    connection: &Connection,
) -> Result<Mapped, Failure> {
    if category.ancestors.len() > DEPTH {
        return Err(Failure::rejected(format!(
            "Category {reference} is more than {DEPTH} levels deep; Fluent does not get it."
        )));
    }
    let chain: Vec<&str> = connection.locale.chain.iter().map(String::as_str).collect();
    let mut notes = Notes::default();
    let name = localized(&category.name, &chain).map(clean);
    let name = notes.cut("name", name.as_deref(), 255);
    let summary = localized(&category.description, &chain).map(clean);
    let create = CreateCategoryInput {
        reference: reference.to_owned(),
        catalogue: catalogue(connection),
        kind: connection.category.kind.clone(),
        name: name.unwrap_or_else(|| reference.to_owned()),
        summary: notes.cut("summary", summary.as_deref(), 255),
        parent_category: parent.map(|parent| key(parent, connection)),
        attributes: attributes(category, connection, &chain),
    };
    Ok(Mapped { create, notes })
}

/// The catalogue that categories and products of a connection belong to.
pub fn catalogue(connection: &Connection) -> ProductCatalogueKey {
    ProductCatalogueKey { reference: connection.fluent.product_catalogue.reference.clone() }
}

/// A category of that catalogue.
pub fn key(reference: &str, connection: &Connection) -> CategoryKey {
    CategoryKey { reference: reference.to_owned(), catalogue: catalogue(connection) }
}

fn attributes(category: &Category, connection: &Connection, chain: &[&str]) -> Vec<AttributeInput> {
    let mut attributes = vec![attribute::string(own(connection, "Id"), &category.id)];
    if let Some(slug) = localized(&category.slug, chain) {
        attributes.push(attribute::string("slug", slug));
    }
    attributes.extend(attribute::from_rules(&category.source, &connection.category.attributes, chain));
    attributes
}

impl Mapped {
    /// The update that makes the category in Fluent so, given what of it was written before.
    pub fn update(&self, before: &Written) -> UpdateCategoryInput {
        let create = self.create.clone();
        let parent = match create.parent_category {
            Some(parent) => Some(Some(parent)),
            None => before.parent.then_some(None),
        };
        let mut attributes = create.attributes;
        attributes.extend(attribute::emptied(&before.attributes, &attributes));
        UpdateCategoryInput {
            reference: create.reference,
            catalogue: create.catalogue,
            kind: Some(create.kind),
            status: None,
            name: Some(create.name),
            summary: create.summary.or_else(|| before.summary.then(String::new)),
            parent_category: parent,
            attributes,
        }
    }

    /// What of it is in Fluent once it was sent.
    pub fn written(&self) -> Written {
        Written {
            attributes: attribute::names(&self.create.attributes),
            summary: self.create.summary.is_some(),
            parent: self.create.parent_category.is_some(),
        }
    }
}

/// The update of a category that is gone: only its status.
pub fn deactivation(reference: &str, connection: &Connection) -> UpdateCategoryInput {
    UpdateCategoryInput {
        reference: reference.to_owned(),
        catalogue: catalogue(connection),
        kind: None,
        status: Some(connection.category.status_inactive.clone()),
        name: None,
        summary: None,
        parent_category: None,
        attributes: vec![],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::fixture::{connection, read};
    use serde_json::{Value, json};

    fn category(changes: &[(&str, Value)]) -> Category {
        let mut document = json!({
            "id": "be8f471b-2653-4f90-be79-f0a85bf3485e", "version": 4, "key": "women", "orderHint": "0.1",
            "name": {"en-GB": "Women &amp; girls", "de-DE": "Damen"}, "slug": {"de-DE": "damen"},
            "description": {"en-GB": "<p>Everything   for women.</p>"}, "ancestors": [],
            "custom": {"fields": {"season": "summer"}},
        });
        for (name, value) in changes {
            document[*name] = value.clone();
        }
        read(&document)
    }

    fn mapped(changes: &[(&str, Value)], parent: Option<&str>, overrides: Value) -> Mapped {
        to_fluent(&category(changes), "women", parent, &connection(&overrides)).unwrap()
    }

    #[test]
    fn the_key_is_the_ref_if_a_parent_may_have_it() {
        let of = |key: Value| reference(&category(&[("key", key)])).to_owned();
        assert_eq!(of(json!("x".repeat(36))), "x".repeat(36));
        for without in [json!("x".repeat(37)), json!(""), json!(null)] {
            assert_eq!(of(without), "be8f471b-2653-4f90-be79-f0a85bf3485e");
        }
    }

    #[test]
    fn names_are_cleaned_and_fall_back_to_the_ref() {
        assert_eq!(mapped(&[], None, json!({"locale": {"chain": ["en"]}})).create.name, "Women & girls");
        assert_eq!(mapped(&[], None, json!({"locale": {"chain": ["de"]}})).create.name, "Damen");
        assert_eq!(mapped(&[("name", json!({"en": "<br>"}))], None, json!({})).create.name, "women");
        let long = mapped(&[("description", json!({"en": "x".repeat(256)}))], None, json!({}));
        assert_eq!(long.create.summary.unwrap().len(), 255);
        assert_eq!(long.notes.cuts["summary"], 1);
    }

    #[test]
    fn more_attributes_come_by_configuration() {
        let rules = json!({"category": {"attributes": [
            {"from": "custom.fields.season", "to": "season", "type": "STRING"},
            {"from": "externalId", "to": "erp", "type": "STRING"},
            {"from": "orderHint", "to": "order", "type": "STRING"},
        ]}});
        assert_eq!(mapped(&[], None, rules).written().attributes, ["commercetoolsId", "slug", "season", "order"]);
    }

    #[test]
    fn what_is_no_longer_there_is_taken_back_once() {
        let bare = mapped(&[("description", json!({})), ("slug", json!({}))], None, json!({}));
        let before = Written { attributes: vec!["slug".into(), "commercetoolsId".into()], summary: true, parent: true };
        let update = serde_json::to_value(bare.update(&before)).unwrap();
        assert_eq!((&update["summary"], &update["parentCategory"]), (&json!(""), &Value::Null));
        assert!(update.get("parentCategory").is_some(), "null is said");
        assert_eq!(update["attributes"][1], json!({"name": "slug", "type": "STRING", "value": ""}));
        let again = serde_json::to_value(bare.update(&bare.written())).unwrap();
        assert_eq!((again.get("summary"), again.get("parentCategory")), (None, None));
        assert_eq!(again["attributes"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn a_chain_without_end_is_refused() {
        let ancestors = |count: usize| json!(vec![json!({"typeId": "category", "id": "a"}); count]);
        let of = |count| {
            to_fluent(&category(&[("ancestors", ancestors(count))]), "women", Some("a"), &connection(&json!({})))
        };
        assert!(of(50).is_ok());
        assert_eq!(
            of(51).unwrap_err().to_string(),
            "Category women is more than 50 levels deep; Fluent does not get it."
        );
    }
}
