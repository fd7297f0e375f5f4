//! `fluent.upsert-product-page`: the products of a page (C 3.2; architecture 3). The standard products share
//! requests, then their variants do; what is no plain create or update goes alone.

use std::collections::HashSet;

use super::inbox::look_again_when_prices_change;
use super::plan::{Entity, Kind, Plan};
use super::poll::PRODUCTS;
use super::upsert::operations;
use super::{VARIANT, read};
use crate::app::App;
use crate::clock::Millis;
use crate::commercetools::catalogue::ProductProjection;
use crate::failure::{Failure, Outcome, Skip, skip};
use crate::queue::{Draft, Message};
use crate::store::Mapping;
use crate::sync::catalogue::note;
use crate::sync::catalogue::run::{Found, Work};
use crate::sync::connection;

/// Routes whose messages write a product by itself.
const SINGLE: [&str; 2] = ["fluent.upsert-product", "fluent.deactivate-product"];

/// Reads a page of products and writes what differs.
///
/// # Errors
/// A remote that fails: the page is tried again, without what was written.
pub async fn page(app: App, message: Message) -> Outcome {
    let connection = connection(&app, &message)?;
    let Some(work) = Work::open(&app, &message, connection, &PRODUCTS).await? else {
        return skip(Skip::Superseded, "The run of this page is over.");
    };
    let (read, found) = work.read().await?;
    if !connection.config.product.enabled {
        work.done(read, 0, vec![], vec![]);
        return skip(Skip::Ignored, "Products are switched off for this connection.");
    }
    let mut batch = Batch { work: &work, plans: vec![], alone: vec![], later: vec![] };
    batch.plan(found).await?;
    batch.claim().await?;
    let written = batch.write().await?;
    work.done(read, written, batch.alone, batch.later);
    Ok(())
}

/// What of a page is written together.
struct Batch<'a> {
    work: &'a Work<'a>,
    plans: Vec<(Found, Plan)>,
    /// What has to be looked at by itself, and when it changed.
    alone: Vec<(Millis, Draft)>,
    later: Vec<Draft>,
}

impl Batch<'_> {
    /// Plans each product. One that cannot be planned says so in a message of its own.
    async fn plan(&mut self, found: Vec<Found>) -> Outcome {
        let busy = self.work.busy(&SINGLE, &found).await?;
        let (mut seen, mut refs): (Vec<Mapping>, HashSet<String>) = Default::default();
        for (found, busy) in found.into_iter().zip(busy) {
            let plan = match busy {
                true => None,
                false => self.look(&found).await?,
            };
            match plan {
                Some(plan) if plan.is_unchanged() => {
                    if plan.product.version > plan.standard.row.commercetools_version {
                        seen.push(plan.row(self.work.message, true));
                    }
                }
                Some(plan)
                    if plan.is_plain() && plan.entities().all(|one| refs.insert(one.update.reference.clone())) =>
                {
                    note(self.work.message, &plan.notes);
                    self.plans.push((found, plan));
                }
                _ => self.leave(&found),
            }
        }
        self.work.commit(seen, vec![]).await
    }

    /// `None`: it has to be looked at by itself.
    async fn look(&mut self, found: &Found) -> Result<Option<Plan>, Failure> {
        let Work { app, message, connection, .. } = self.work;
        let Ok(mut product) = serde_json::from_str::<ProductProjection>(found.document.get()) else { return Ok(None) };
        match read::complete(message, connection, &mut product).await {
            Ok(()) => {}
            Err(Failure::Rejected { .. }) => return Ok(None),
            Err(failure) => return Err(failure),
        }
        let later = look_again_when_prices_change(app, message, connection, &product);
        match Plan::make(app, message, connection, product).await {
            Ok(plan) => {
                self.later.extend(later);
                Ok(Some(plan))
            }
            Err(Failure::Rejected { .. }) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    fn leave(&mut self, found: &Found) {
        self.alone.push((found.at, self.work.alone(found)));
    }

    /// Claims the pairs of what is written; whose pair another page has goes alone.
    async fn claim(&mut self) -> Outcome {
        let refs: Vec<String> = self.plans.iter().map(|(_, plan)| plan.standard.update.reference.clone()).collect();
        let new = self.plans.iter().filter(|(_, plan)| plan.standard.row.fluent_ref.is_none());
        let reserved = new.map(|(_, plan)| Mapping {
            fluent_ref: Some(plan.standard.update.reference.clone()),
            state: "absent".into(),
            ..plan.standard.row.clone()
        });
        let claimed = self.work.claim(reserved.collect(), refs).await?;
        for (found, plan) in std::mem::take(&mut self.plans) {
            match claimed.contains(&plan.standard.update.reference) {
                true => self.plans.push((found, plan)),
                false => self.leave(&found),
            }
        }
        Ok(())
    }

    /// Writes the standard products, then the variants of those that Fluent has. Answers how many products
    /// it has as a whole; the others look for themselves.
    async fn write(&mut self) -> Result<usize, Failure> {
        let mut failed = HashSet::new();
        for kind in [Kind::Standard, Kind::Variant] {
            let lost = self.send(kind, &failed).await?;
            failed.extend(lost);
        }
        let (mut rows, mut written) = (vec![], 0);
        for (at, (found, plan)) in std::mem::take(&mut self.plans).into_iter().enumerate() {
            if failed.contains(&at) {
                self.leave(&found);
            } else {
                rows.push(plan.row(self.work.message, true));
                written += 1;
            }
        }
        self.work.commit(rows, vec![]).await?;
        Ok(written)
    }

    /// Creates and updates the entities of a kind; answers the products of which one was not taken.
    async fn send(&self, kind: Kind, without: &HashSet<usize>) -> Result<HashSet<usize>, Failure> {
        let wanted = self.plans.iter().enumerate().filter(|(at, _)| !without.contains(at));
        let entities: Vec<(usize, &Plan, &Entity)> = wanted
            .flat_map(|(at, (_, plan))| plan.entities().map(move |entity| (at, plan, entity)))
            .filter(|(_, _, entity)| entity.kind == kind && !entity.is_unchanged())
            .collect();
        let written = |index: usize| {
            let (_, plan, entity) = entities[index];
            match kind {
                Kind::Standard => (plan.row(self.work.message, false), None),
                Kind::Variant => {
                    let row = entity.row(self.work.message, &plan.product);
                    (row, Some(format!("{VARIANT}:{}", entity.update.reference)))
                }
            }
        };
        let (create, update) = operations(kind);
        let indexed = || entities.iter().enumerate().map(|(index, (_, _, entity))| (index, *entity));
        let creates: Vec<_> =
            indexed().filter(|(_, one)| !one.is_known()).map(|(index, one)| (index, &one.create)).collect();
        let updates: Vec<_> =
            indexed().filter(|(_, one)| one.is_known()).map(|(index, one)| (index, &one.update)).collect();
        let mut taken = HashSet::new();
        taken.extend(self.work.send(create, &creates, written).await?);
        taken.extend(self.work.send(update, &updates, written).await?);
        let lost = entities.iter().enumerate().filter(|(index, _)| !taken.contains(index));
        Ok(lost.map(|(_, (at, ..))| *at).collect())
    }
}
