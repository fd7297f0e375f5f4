//! `fluent.upsert-category-page`: the categories of a page (C 2.3; architecture 3). Parents come before their
//! children, those of one depth share requests; what is no plain create or update goes alone.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::poll::CATEGORIES;
use super::send::{hash, parent_id};
use super::{KIND, Mapped, Written, reference, to_fluent};
use crate::app::App;
use crate::clock::Millis;
use crate::commercetools::catalogue::Category;
use crate::failure::{Failure, Outcome, Skip, skip};
use crate::fluent::operation;
use crate::queue::{Draft, Message};
use crate::store::Mapping;
use crate::sync::catalogue::run::{Found, Work};
use crate::sync::catalogue::{extra, is_written, note, set_extra};
use crate::sync::connection;

/// Routes whose messages write a category by itself.
const SINGLE: [&str; 2] = ["fluent.upsert-category", "fluent.deactivate-category"];

/// Reads a page of categories and writes what differs.
///
/// # Errors
/// A remote that fails: the page is tried again, without what was written.
pub async fn page(app: App, message: Message) -> Outcome {
    let connection = connection(&app, &message)?;
    let Some(work) = Work::open(&app, &message, connection, &CATEGORIES).await? else {
        return skip(Skip::Superseded, "The run of this page is over.");
    };
    let (read, found) = work.read().await?;
    if !connection.config.category.enabled {
        work.done(read, 0, vec![], vec![]);
        return skip(Skip::Ignored, "Categories are switched off for this connection.");
    }
    let mut batch = Batch { work: &work, parents: HashMap::new(), alone: vec![] };
    let mut written = 0;
    for level in batch.levels(found).await?.into_values() {
        written += batch.write(level).await?;
    }
    work.done(read, written, batch.alone, vec![]);
    Ok(())
}

/// What of a page is written together.
struct Batch<'a> {
    work: &'a Work<'a>,
    /// Refs of the categories that Fluent has, by id.
    parents: HashMap<String, String>,
    /// What has to be looked at by itself, and when it changed.
    alone: Vec<(Millis, Draft)>,
}

/// A category with its row as it was before.
struct Planned {
    found: Found,
    category: Category,
    row: Mapping,
    mapped: Mapped,
    hash: String,
}

impl Batch<'_> {
    /// The categories by their depth. One that cannot be read says so in a message of its own.
    async fn levels(&mut self, found: Vec<Found>) -> Result<BTreeMap<usize, Vec<(Found, Category)>>, Failure> {
        let busy = self.work.busy(&SINGLE, &found).await?;
        let mut levels: BTreeMap<usize, Vec<(Found, Category)>> = BTreeMap::new();
        for (found, busy) in found.into_iter().zip(busy) {
            match serde_json::from_str::<Category>(found.document.get()) {
                Ok(category) if !busy => {
                    levels.entry(category.ancestors.len()).or_default().push((found, category));
                }
                _ => self.leave(&found),
            }
        }
        let parents: Vec<String> =
            levels.values().flatten().filter_map(|(_, category)| parent_id(category)).map(str::to_owned).collect();
        let mut db = self.work.app.store().read().await?;
        let rows = db.mappings_of(self.work.message.connection(), KIND, &parents).await?;
        let written = rows.into_iter().filter(is_written);
        self.parents = written.filter_map(|row| Some((row.commercetools_id, row.fluent_ref?))).collect();
        Ok(levels)
    }

    /// Writes the categories of one depth; answers how many.
    async fn write(&mut self, level: Vec<(Found, Category)>) -> Result<usize, Failure> {
        let planned = self.plan(level).await?;
        let planned = self.claim(planned).await?;
        let written = |at: usize| (planned[at].written(self.work.message), None);
        let all = || planned.iter().enumerate();
        let creates: Vec<_> =
            all().filter(|(_, one)| !is_written(&one.row)).map(|(at, one)| (at, &one.mapped.create)).collect();
        let updates: Vec<_> = all()
            .filter(|(_, one)| is_written(&one.row))
            .map(|(at, one)| (at, one.mapped.update(&extra::<Written>(&one.row))))
            .collect();
        let mut taken = HashSet::new();
        taken.extend(self.work.send(&operation::CREATE_CATEGORY, &creates, written).await?);
        taken.extend(self.work.send(&operation::UPDATE_CATEGORY, &updates, written).await?);
        drop((creates, updates));
        for (at, one) in planned.into_iter().enumerate() {
            if taken.contains(&at) {
                self.parents.insert(one.category.id, one.mapped.create.reference);
            } else {
                self.leave(&one.found);
            }
        }
        Ok(taken.len())
    }

    async fn plan(&mut self, level: Vec<(Found, Category)>) -> Result<Vec<Planned>, Failure> {
        let name = self.work.message.connection();
        let ids: Vec<String> = level.iter().map(|(_, category)| category.id.clone()).collect();
        let refs: Vec<String> = level.iter().map(|(_, category)| reference(category).to_owned()).collect();
        let mut db = self.work.app.store().read().await?;
        let rows = db.mappings_of(name, KIND, &ids).await?;
        let holders = db.mappings_by_fluent_refs(name, KIND, &refs).await?;
        drop(db);
        let mut rows: HashMap<String, Mapping> =
            rows.into_iter().map(|row| (row.commercetools_id.clone(), row)).collect();
        let mut taken: HashMap<String, String> =
            holders.into_iter().filter_map(|row| Some((row.fluent_ref?, row.commercetools_id))).collect();
        let (mut planned, mut seen) = (vec![], vec![]);
        for (found, category) in level {
            let row = rows.remove(&category.id).unwrap_or_else(|| Mapping::new(name, KIND, &category.id));
            let name = row.fluent_ref.clone().unwrap_or_else(|| reference(&category).to_owned());
            let is_ours = *taken.entry(name.clone()).or_insert_with(|| category.id.clone()) == category.id;
            let parent = parent_id(&category).map(|id| self.parents.get(id).cloned());
            let config = &self.work.connection.config;
            let mapped = match parent {
                // Its own message waits for the parent.
                Some(None) => None,
                parent => to_fluent(&category, &name, parent.flatten().as_deref(), config).ok(),
            };
            let Some(mapped) = mapped.filter(|_| is_ours && row.state != "inactive") else {
                self.leave(&found);
                continue;
            };
            let hash = hash(&mapped, self.work.connection)?;
            let one = Planned { found, category, row, mapped, hash };
            if one.row.state == "active" && one.row.content_hash.as_ref() == Some(&one.hash) {
                self.parents.insert(one.category.id.clone(), name);
                seen.extend(
                    (one.category.version > one.row.commercetools_version).then(|| one.seen(self.work.message)),
                );
            } else {
                note(self.work.message, &one.mapped.notes);
                planned.push(one);
            }
        }
        self.work.commit(seen, vec![]).await?;
        Ok(planned)
    }

    /// Claims the pairs of what is written; whose pair another page has goes alone.
    async fn claim(&mut self, planned: Vec<Planned>) -> Result<Vec<Planned>, Failure> {
        let refs: Vec<String> = planned.iter().map(|one| one.mapped.create.reference.clone()).collect();
        let new = planned.iter().filter(|one| one.row.fluent_ref.is_none());
        let reserved = new.map(|one| Mapping {
            fluent_ref: Some(one.mapped.create.reference.clone()),
            state: "absent".into(),
            ..one.row.clone()
        });
        let claimed = self.work.claim(reserved.collect(), refs).await?;
        let (ours, others): (Vec<_>, Vec<_>) =
            planned.into_iter().partition(|one| claimed.contains(&one.mapped.create.reference));
        others.iter().for_each(|one| self.leave(&one.found));
        Ok(ours)
    }

    fn leave(&mut self, found: &Found) {
        self.alone.push((found.at, self.work.alone(found)));
    }
}

impl Planned {
    /// The row of one that Fluent has already.
    fn seen(&self, message: &Message) -> Mapping {
        let (commercetools_version, last_message) = (self.category.version, Some(message.id()));
        Mapping { commercetools_version, last_message, ..self.row.clone() }
    }

    /// The row once it was written.
    fn written(&self, message: &Message) -> Mapping {
        let mut row = Mapping {
            fluent_ref: Some(self.mapped.create.reference.clone()),
            content_hash: Some(self.hash.clone()),
            commercetools_key: self.category.key.clone(),
            state: "active".into(),
            ..self.seen(message)
        };
        set_extra(&mut row, &self.mapped.written());
        row
    }
}
