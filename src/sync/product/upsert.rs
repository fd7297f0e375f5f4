//! Making a product in Fluent so as it is published in commercetools: the standard product, its
//! variants, then what it has no longer (C 3.2 to 3.4). Only what differs is sent.

use std::collections::HashMap;

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::inbox::gone;
use super::plan::{Entity, Kind, Plan, name, taken};
use super::{KIND, deactivate, read};
use crate::app::{App, Connection};
use crate::commercetools::model::Number;
use crate::failure::{Class, Failure, Outcome, Skip, skip};
use crate::fluent::catalogue::{self, PriceInput, Product, ProductsFound};
use crate::fluent::input::Decimal;
use crate::fluent::operation::{self, Operation};
use crate::queue::{Message, Note};
use crate::remote::Error;
use crate::store::Urgency;
use crate::sync::attribute::own;
use crate::sync::catalogue::{Notice, ask, explained, held, is_lost, is_written, note, unclaimed};
use crate::sync::category;
use crate::sync::connection;
use crate::sync::text::present;

/// Variants of one look-up.
const PAGE: usize = 50;

/// `fluent.upsert-product`: makes sure that Fluent has the product and its variants, with this content.
///
/// # Errors
/// Rejected with the sentences of C 3.5; waiting for categories.
pub async fn upsert(app: App, message: Message) -> Outcome {
    let Notice { id } = message.payload()?;
    let connection = connection(&app, &message)?;
    let row = app.store().read().await?.mapping(message.connection(), KIND, &id).await?;
    let Some(product) = read::published(&message, connection, &id).await? else {
        return gone(&message, connection, row.as_ref(), &id).await;
    };
    unclaimed(&app, &message, row.as_ref()).await?;
    if row.as_ref().is_some_and(|row| is_written(row) && product.version < row.commercetools_version) {
        return skip(Skip::Superseded, "A newer version was sent already.");
    }
    let plan = Plan::make(&app, &message, connection, product).await?;
    note(&message, &plan.notes);
    let step = Step { app: &app, message: &message, connection, plan };
    step.run().await
}

struct Step<'a> {
    app: &'a App,
    message: &'a Message,
    connection: &'a Connection,
    plan: Plan,
}

/// What Fluent has under our refs; empty if it was not asked.
#[derive(Default)]
struct Existing {
    standard: Option<Product>,
    variants: HashMap<String, Product>,
}

/// What `input` is of every mutation.
#[derive(Serialize)]
struct Input<T> {
    input: T,
}

impl Step<'_> {
    async fn run(mut self) -> Outcome {
        self.wait_for_categories()?;
        if self.plan.is_sent() {
            return self.finish(vec![]);
        }
        let existing = self.look().await?;
        self.remember_reference().await?;
        self.write(&self.plan.standard, existing.standard.as_ref()).await?;
        self.put(self.plan.row(self.message, false));
        let mut rejections = self.plan.refused.clone();
        for variant in self.plan.variants.iter().filter(|variant| !variant.is_unchanged()) {
            // One that cannot be sent must not stop the others.
            match self.write(variant, existing.variants.get(&variant.update.reference)).await {
                Ok(()) => self.written(variant),
                Err(Failure::Rejected { sentence }) => rejections.push(sentence),
                Err(failure) => return Err(failure),
            }
        }
        self.remove().await?;
        self.finish(rejections)
    }

    /// Asks for the categories that Fluent lacks. Orders need the product, so it does not wait for
    /// them longer than `product.category_wait` (D-7).
    fn wait_for_categories(&self) -> Outcome {
        let wait = self.connection.config.product.category_wait.millis();
        let Some((id, category)) = self.plan.missing.first() else { return Ok(()) };
        let why = format!("wanted-by:{}", self.plan.product.id);
        for (id, _) in &self.plan.missing {
            self.message.then([ask(self.message, "commercetools.category-changed", (category::KIND, id), &why)]);
        }
        if held(self.app, self.message) >= wait {
            return Ok(());
        }
        Err(Failure::Waiting {
            key: format!("{}:{id}", category::KIND),
            sentence: format!("Waiting for category {category} (then sent without it)."),
        })
    }

    /// One look for the standard product and all variants, if it is not certain what Fluent has.
    async fn look(&self) -> Result<Existing, Failure> {
        let lost = self.message.last_failure() == Some(Class::UnknownOutcome);
        let mut entities = std::iter::once(&self.plan.standard).chain(&self.plan.variants);
        if !lost && entities.all(Entity::is_known) {
            return Ok(Existing::default());
        }
        let skus: Vec<&str> = self.plan.variants.iter().map(|variant| variant.update.reference.as_str()).collect();
        let mut existing = Existing::default();
        for skus in skus.chunks(PAGE) {
            let found = self.find(skus).await?;
            existing.standard = found.standard.or(existing.standard);
            existing.variants.extend(found.variants);
        }
        Ok(existing)
    }

    async fn find(&self, skus: &[&str]) -> Result<Existing, Failure> {
        let standard = &self.plan.standard.update;
        let variables = json!({
            "standard": [standard.reference], "skus": skus, "catalogue": standard.catalogue,
            "first": skus.len().max(1), "after": null,
        });
        let fluent = self.connection.fluent.on(self.message.call());
        let found: Result<ProductsFound, _> = fluent.run(&operation::PRODUCTS_BY_REF, variables).await;
        let found = found.map_err(|error| explained(error, self.connection))?;
        let variants = found.variant_products.edges.into_iter().map(|edge| edge.node);
        Ok(Existing {
            standard: found.standard_products.edges.into_iter().map(|edge| edge.node).next(),
            variants: variants.map(|variant| (variant.reference.clone(), variant)).collect(),
        })
    }

    /// A ref is stored before the first call and never recomputed (D-1).
    async fn remember_reference(&mut self) -> Outcome {
        let row = &mut self.plan.standard.row;
        if row.fluent_ref.is_some() {
            return Ok(());
        }
        row.fluent_ref = Some(self.plan.standard.update.reference.clone());
        row.state = "absent".into();
        let reserved = row.clone();
        let store = self.app.store();
        Ok(store.write(Urgency::Bulk, move |tx| Box::pin(async move { tx.put_mapping(&reserved).await })).await?)
    }

    /// Creates, takes over or updates one product.
    async fn write(&self, entity: &Entity, existing: Option<&Product>) -> Outcome {
        if entity.is_unchanged() {
            return Ok(());
        }
        match existing {
            Some(existing) => self.adopt(entity, existing).await?,
            None if entity.is_known() => self.update(entity).await?,
            None => self.create(entity).await?,
        }
        self.unlink(entity).await
    }

    async fn create(&self, entity: &Entity) -> Outcome {
        let (create, _) = operations(entity.kind);
        match self.send(create, Input::<&RawValue> { input: &entity.create }).await {
            // Somebody was faster, or our own earlier try became visible.
            Err(error) if error.code == "C0123E" => {
                let name = entity.update.reference.as_str();
                let mut found = match entity.kind {
                    Kind::Standard => self.find(&[]).await?,
                    Kind::Variant => self.find(&[name]).await?,
                };
                let existing = match entity.kind {
                    Kind::Standard => found.standard,
                    Kind::Variant => found.variants.remove(name),
                };
                match existing {
                    Some(existing) => self.adopt(entity, &existing).await,
                    None => Err(Failure::retry(Class::Stale, error.sentence)),
                }
            }
            Err(error) => Err(explained(error, self.connection)),
            Ok(()) => Ok(()),
        }
    }

    /// A product that Fluent lost is created anew.
    async fn update(&self, entity: &Entity) -> Outcome {
        let (_, update) = operations(entity.kind);
        match self.send(update, Input { input: &entity.update }).await {
            Err(error) if is_lost(&error, self.connection) => self.create(entity).await,
            Err(error) => Err(explained(error, self.connection)),
            Ok(()) => Ok(()),
        }
    }

    /// Takes over a product that is ours or nobody's, and brings it up to date.
    async fn adopt(&self, entity: &Entity, existing: &Product) -> Outcome {
        let identity = match entity.kind {
            Kind::Standard => own(&self.connection.config, "Id"),
            Kind::Variant => own(&self.connection.config, "ProductId"),
        };
        let owner = catalogue::attribute(existing.attributes.as_deref(), &identity).and_then(Value::as_str);
        // A SKU that moved from one of our products to another is ours as well.
        let is_ours = entity.taken_from.is_some() || owner.is_none_or(|owner| owner == self.plan.product.id);
        if !is_ours {
            return Err(taken(&entity.update.reference));
        }
        self.message.adopted();
        if has_all(existing, entity) {
            return Ok(());
        }
        let (_, update) = operations(entity.kind);
        let sent = self.send(update, Input { input: &entity.update }).await;
        sent.map_err(|error| explained(error, self.connection))
    }

    /// Categories are only ever added by an update; those it is no longer in are taken away.
    async fn unlink(&self, entity: &Entity) -> Outcome {
        if entity.left.is_empty() {
            return Ok(());
        }
        let key = json!({"ref": entity.update.reference, "catalogue": entity.update.catalogue});
        let (operation, product) = match entity.kind {
            Kind::Standard => (&operation::REMOVE_CATEGORIES_FROM_STANDARD_PRODUCT, "standardProduct"),
            Kind::Variant => (&operation::REMOVE_CATEGORIES_FROM_VARIANT_PRODUCT, "variantProduct"),
        };
        let input = json!({product: key, "categories": entity.left});
        self.send(operation, Input { input }).await.map_err(|error| explained(error, self.connection))
    }

    /// Variants that the product has no longer.
    async fn remove(&self) -> Outcome {
        for row in &self.plan.removed {
            deactivate::one(self.message, self.connection, Kind::Variant, row.clone()).await?;
        }
        Ok(())
    }

    async fn send(&self, operation: &Operation, variables: impl Serialize + Send) -> Result<(), Error> {
        let _: Value = self.connection.fluent.on(self.message.call()).run(operation, variables).await?;
        Ok(())
    }

    /// Commits with the outcome. A SKU that moved lets go of its old row first; orders that wait for
    /// the SKU are released.
    fn written(&self, variant: &Entity) {
        let row = variant.row(self.message, &self.plan.product);
        let old = variant.taken_from.clone();
        let waited_for = format!("{}:{}", super::VARIANT, variant.update.reference);
        self.message.with(move |tx| {
            Box::pin(async move {
                if let Some(mut old) = old {
                    (old.fluent_ref, old.content_hash, old.state) = (None, None, "absent".into());
                    tx.put_mapping(&old).await?;
                }
                tx.put_mapping(&row).await?;
                tx.arrived(&row.connection, &waited_for).await.map(|_| ())
            })
        });
    }

    fn put(&self, row: crate::store::Mapping) {
        self.message.with(move |tx| Box::pin(async move { tx.put_mapping(&row).await }));
    }

    /// All that could be sent was sent. What could not parks the message; a category that is missing
    /// keeps it waiting, and then the product is sent again.
    fn finish(&self, rejections: Vec<String>) -> Outcome {
        self.put(self.plan.row(self.message, true));
        let name = name(&self.plan);
        if !rejections.is_empty() {
            return Err(Failure::rejected(rejections.join(" ")));
        }
        let Some((id, category)) = self.plan.missing.first() else {
            if self.plan.is_sent() {
                self.message.unchanged();
            }
            self.message.tell(format!("product {name} is in Fluent"));
            return Ok(());
        };
        if held(self.app, self.message) >= self.connection.config.category.wait_limit.millis() {
            return Err(Failure::rejected(format!(
                "The category {category} never arrived in Fluent; see its own message. Product {name} was sent without \
                 it."
            )));
        }
        self.message
            .note(Note::new("product.incomplete", format!("Product {name} was sent without category {category}.")));
        Err(Failure::Waiting {
            key: format!("{}:{id}", category::KIND),
            sentence: format!(
                "Product {name} was sent without category {category} and is sent again when that arrives."
            ),
        })
    }
}

/// Create and update of a kind.
pub fn operations(kind: Kind) -> (&'static Operation, &'static Operation) {
    match kind {
        Kind::Standard => (&operation::CREATE_STANDARD_PRODUCT, &operation::UPDATE_STANDARD_PRODUCT),
        Kind::Variant => (&operation::CREATE_VARIANT_PRODUCT, &operation::UPDATE_VARIANT_PRODUCT),
    }
}

/// Does Fluent show everything that an update would write? Of a variant it shows no categories, so
/// one that has any is written.
fn has_all(existing: &Product, entity: &Entity) -> bool {
    let wanted = &entity.update;
    let parent = existing.product.as_ref().map(|product| product.reference.as_str());
    let shown = existing.categories.as_ref();
    let is_in = |name: &str| shown.is_some_and(|shown| shown.nodes().any(|category| category.reference == name));
    wanted.status.is_none()
        && existing.gtin == wanted.gtin
        && existing.name == wanted.name
        && present(existing.summary.as_deref()) == present(wanted.summary.as_deref())
        && (wanted.tax_type.is_none() || existing.tax == wanted.tax_type)
        && parent == wanted.product.as_ref().map(|product| product.reference.as_str())
        && wanted.categories.iter().all(|category| is_in(&category.reference))
        && wanted.prices.iter().all(|price| has_price(existing, price))
        && catalogue::hold(existing.attributes.as_deref(), &wanted.attributes)
}

fn has_price(existing: &Product, wanted: &PriceInput) -> bool {
    existing.prices.iter().flatten().any(|price| {
        let value = price.value.get().parse::<Number>().map(|number| Decimal::new(number.unscaled, number.scale));
        price.kind == wanted.kind && price.currency == wanted.currency && value.as_ref() == Ok(&wanted.value)
    })
}
