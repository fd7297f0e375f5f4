//! What a product should be in Fluent, beside what was written of it before: which entities differ.

use std::collections::{BTreeSet, HashMap};

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::written::{Written, update_standard, update_variant};
use super::{KIND, VARIANT, label, reference, to_fluent, variant_id};
use crate::app::{App, Connection};
use crate::commercetools::catalogue::ProductProjection;
use crate::config::model::OnGone;
use crate::failure::Failure;
use crate::fluent::catalogue::{
    CategoryKey, CreateStandardProductInput, CreateVariantProductInput, UpdateProductInput,
};
use crate::queue::Message;
use crate::store::{Db, Mapping};
use crate::sync::canonical::canonical_hash;
use crate::sync::catalogue::{extra, is_written, set_extra};
use crate::sync::category;
use crate::sync::text::{Notes, present};

/// A product with everything that is known of it.
pub struct Plan {
    pub product: ProductProjection,
    pub standard: Entity,
    /// In the order of the product.
    pub variants: Vec<Entity>,
    /// Variants that Fluent has and the product has no longer.
    pub removed: Vec<Mapping>,
    /// Categories that are not in Fluent yet: id and name.
    pub missing: Vec<(String, String)>,
    /// Why some variants cannot be sent.
    pub refused: Vec<String>,
    pub notes: Notes,
    /// What was written of the standard product before.
    before: Written,
}

/// One standard or variant product.
pub struct Entity {
    pub kind: Kind,
    /// What a create takes.
    pub create: Box<RawValue>,
    /// What an update takes that makes it so.
    pub update: UpdateProductInput,
    /// Categories it is no longer in.
    pub left: Vec<CategoryKey>,
    /// Its row, as it was before.
    pub row: Mapping,
    /// What will have been written.
    pub written: Written,
    pub hash: String,
    /// The row of another product that had this SKU.
    pub taken_from: Option<Mapping>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Standard,
    Variant,
}

impl Plan {
    /// Maps the product and lays what was written before beside it. Calls nobody.
    ///
    /// # Errors
    /// Rejected with the sentences of C 3.5.
    pub async fn make(
        app: &App,
        message: &Message,
        connection: &Connection,
        product: ProductProjection,
    ) -> Result<Self, Failure> {
        let mut db = app.store().read().await?;
        let row = db.mapping(message.connection(), KIND, &product.id).await?;
        let row = row.unwrap_or_else(|| Mapping::new(message.connection(), KIND, &product.id));
        let name = match &row.fluent_ref {
            Some(name) => name.clone(),
            None => free_reference(&mut db, message, &product).await?,
        };
        let (categories, missing) = categories(&mut db, message, &product).await?;
        let mapped = to_fluent(&product, &name, &categories, app.clock().now(), &connection.config)?;
        let before: Written = extra(&row);
        let known = known_variants(&mut db, message, &product.id, &mapped.variants, &before).await?;
        let standard = Entity::standard(mapped.standard, row, &before, connection)?;
        let mut variants = vec![];
        for create in mapped.variants {
            variants.push(known.variant(create, message, &product.id, connection)?);
        }
        let sent: BTreeSet<&String> = variants.iter().map(|variant| &variant.update.reference).collect();
        let stays = connection.config.product.on_variant_removed == OnGone::Ignore;
        let is_gone = |row: &&Mapping| row.fluent_ref.as_ref().is_some_and(|sku| !sent.contains(sku));
        let active = known.rows.values().filter(|row| row.state == "active" && !stays);
        let removed = active.filter(is_gone).cloned().collect();
        let (refused, notes) = (mapped.refused, mapped.notes);
        Ok(Self { product, standard, variants, removed, missing, refused, notes, before })
    }

    /// Does Fluent have all of it?
    pub fn is_unchanged(&self) -> bool {
        self.missing.is_empty() && self.is_sent()
    }

    /// The same, but for categories that are missing.
    pub fn is_sent(&self) -> bool {
        self.standard.is_unchanged()
            && self.variants.iter().all(Entity::is_unchanged)
            && self.removed.is_empty()
            && self.refused == self.before.refused
    }

    /// The standard product and its variants.
    pub fn entities(&self) -> impl Iterator<Item = &Entity> {
        std::iter::once(&self.standard).chain(&self.variants)
    }

    /// Is all of it sent by one create or update each?
    pub fn is_plain(&self) -> bool {
        let is_plain = |entity: &Entity| entity.left.is_empty() && entity.taken_from.is_none();
        let nothing_else = self.missing.is_empty() && self.removed.is_empty() && self.refused.is_empty();
        nothing_else && self.entities().all(is_plain)
    }

    /// The row of the standard product once all of it was written, or while some variants are not.
    pub fn row(&self, message: &Message, whole: bool) -> Mapping {
        let mut written = self.standard.written.clone();
        written.skus = self.variants.iter().map(|variant| variant.update.reference.clone()).collect();
        if whole {
            written.refused = self.refused.clone();
        } else {
            // What is to be deactivated must not be forgotten.
            let older = self.before.skus.iter().filter(|sku| !written.skus.contains(sku));
            let older: Vec<String> = older.cloned().collect();
            written.skus.extend(older);
            written.refused = self.before.refused.clone();
        }
        let mut row = self.standard.row(message, &self.product);
        row.commercetools_key = self.product.key.clone();
        if !whole {
            row.commercetools_version = self.standard.row.commercetools_version;
        }
        set_extra(&mut row, &written);
        row
    }

    /// Remembers up to which version Fluent is up to date.
    pub fn seen(&self, message: &Message) {
        if self.product.version <= self.standard.row.commercetools_version {
            return;
        }
        let row = self.row(message, true);
        message.with(move |tx| Box::pin(async move { tx.put_mapping(&row).await }));
    }
}

impl Entity {
    fn standard(
        create: CreateStandardProductInput,
        row: Mapping,
        before: &Written,
        connection: &Connection,
    ) -> Result<Self, Failure> {
        let mut update = update_standard(&create, before);
        update.status = reactivated(&row, connection);
        Ok(Self {
            kind: Kind::Standard,
            left: before.left(&create.categories, &create.catalogue),
            written: Written::of_standard(&create),
            hash: hash(&create, connection)?,
            create: raw(&create)?,
            update,
            row,
            taken_from: None,
        })
    }

    fn variant(
        create: CreateVariantProductInput,
        row: Mapping,
        taken_from: Option<Mapping>,
        connection: &Connection,
    ) -> Result<Self, Failure> {
        let before: Written = extra(taken_from.as_ref().unwrap_or(&row));
        let mut update = update_variant(&create, &before, &connection.config.product);
        update.status = reactivated(taken_from.as_ref().unwrap_or(&row), connection);
        Ok(Self {
            kind: Kind::Variant,
            left: before.left(&create.categories, &create.catalogue),
            written: Written::of_variant(&create, &before),
            hash: hash(&create, connection)?,
            create: raw(&create)?,
            update,
            row,
            taken_from,
        })
    }

    /// Does Fluent have it with this content?
    pub fn is_unchanged(&self) -> bool {
        self.row.state == "active" && self.row.content_hash.as_ref() == Some(&self.hash)
    }

    /// Was it written before, by whichever product?
    pub fn is_known(&self) -> bool {
        is_written(self.taken_from.as_ref().unwrap_or(&self.row))
    }

    /// Its row once it was written.
    pub fn row(&self, message: &Message, product: &ProductProjection) -> Mapping {
        let mut row = self.row.clone();
        row.fluent_ref = Some(self.update.reference.clone());
        row.content_hash = Some(self.hash.clone());
        row.commercetools_version = product.version;
        row.state = "active".into();
        row.last_message = Some(message.id());
        set_extra(&mut row, &self.written);
        row
    }
}

/// What the mapping knows of a product's variants.
struct Known {
    /// By commercetools id.
    rows: HashMap<String, Mapping>,
    /// By SKU.
    holders: HashMap<String, Mapping>,
}

impl Known {
    fn variant(
        &self,
        create: CreateVariantProductInput,
        message: &Message,
        product_id: &str,
        connection: &Connection,
    ) -> Result<Entity, Failure> {
        let id = variant_id(product_id, &create.reference);
        let row = self.rows.get(&id).cloned().unwrap_or_else(|| Mapping::new(message.connection(), VARIANT, &id));
        let holder = self.holders.get(&create.reference).filter(|holder| holder.commercetools_id != id);
        Entity::variant(create, row, holder.cloned(), connection)
    }
}

async fn known_variants(
    db: &mut Db,
    message: &Message,
    product_id: &str,
    variants: &[CreateVariantProductInput],
    before: &Written,
) -> Result<Known, Failure> {
    let mut skus: BTreeSet<String> = variants.iter().map(|variant| variant.reference.clone()).collect();
    let now: Vec<String> = skus.iter().cloned().collect();
    skus.extend(before.skus.iter().cloned());
    let ids: Vec<String> = skus.iter().map(|sku| variant_id(product_id, sku)).collect();
    let rows = db.mappings_of(message.connection(), VARIANT, &ids).await?;
    let holders = db.mappings_by_fluent_refs(message.connection(), VARIANT, &now).await?;
    Ok(Known {
        rows: rows.into_iter().map(|row| (row.commercetools_id.clone(), row)).collect(),
        holders: holders.into_iter().filter_map(|row| Some((row.fluent_ref.clone()?, row))).collect(),
    })
}

/// The ref of a product that was never sent. It must not mean anything else yet.
async fn free_reference(db: &mut Db, message: &Message, product: &ProductProjection) -> Result<String, Failure> {
    let name = reference(product);
    if db.mapping_by_fluent_ref(message.connection(), KIND, &name).await?.is_some() {
        return Err(taken(&name));
    }
    let sku = db.mapping_by_fluent_ref(message.connection(), VARIANT, &name).await?;
    let own = format!("{}/", product.id);
    if sku.is_some_and(|sku| !sku.commercetools_id.starts_with(&own)) {
        return Err(Failure::rejected(format!("The key {name} is also a SKU. Change the product key, then retry.")));
    }
    Ok(name)
}

/// Somebody else has the ref.
pub fn taken(name: &str) -> Failure {
    Failure::rejected(format!(
        "Fluent already has a product {name} that belongs to another commercetools product. One SKU must belong to one \
         product."
    ))
}

/// Refs of the product's categories, and the categories that are not in Fluent yet.
async fn categories(
    db: &mut Db,
    message: &Message,
    product: &ProductProjection,
) -> Result<(Vec<String>, Vec<(String, String)>), Failure> {
    let ids: Vec<String> = product.categories.iter().filter_map(|category| category.id.clone()).collect();
    let rows = db.mappings_of(message.connection(), category::KIND, &ids).await?;
    let rows = rows.into_iter().filter(is_written);
    let known: HashMap<String, String> = rows.filter_map(|row| Some((row.commercetools_id, row.fluent_ref?))).collect();
    let (mut refs, mut missing) = (vec![], vec![]);
    for category in &product.categories {
        let Some(id) = &category.id else { continue };
        match known.get(id) {
            Some(name) => refs.push(name.clone()),
            None => {
                let key = category.obj.as_ref().and_then(|category| category.key.as_deref());
                missing.push((id.clone(), present(key).unwrap_or(id).to_owned()));
            }
        }
    }
    Ok((refs, missing))
}

fn reactivated(row: &Mapping, connection: &Connection) -> Option<String> {
    (row.state == "inactive").then(|| connection.config.product.status_active.clone())
}

/// The content together with the configuration that shaped it and is not part of it.
fn hash(create: &impl Serialize, connection: &Connection) -> Result<String, Failure> {
    let rules = &connection.config.product;
    canonical_hash(&(create, &rules.price_types, &rules.status_active)).map_err(|error| unwritable(&error))
}

fn raw(create: &impl Serialize) -> Result<Box<RawValue>, Failure> {
    to_raw_value(create).map_err(|error| unwritable(&error))
}

fn unwritable(error: &serde_json::Error) -> Failure {
    Failure::rejected(format!("The product cannot be written as JSON: {error}"))
}

/// What people call the product of a plan.
pub fn name(plan: &Plan) -> &str {
    label(&plan.product)
}
