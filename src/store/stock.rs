//! Pairs in bulk (table `mapping`), and what the Import API has not finished yet (table
//! `import_operation`): a page of stock is looked up, claimed and written with one statement each.

use std::collections::HashSet;

use sqlx::{FromRow, QueryBuilder};
use uuid::Uuid;

use super::{Db, Mapping, Result, Tx, on};
use crate::clock::Millis;

/// Most rows of one statement: a pair has 15 columns.
const CHUNK: usize = 500;

/// A value that the Import API has taken and not written yet.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct ImportOperation {
    pub connection: String,
    /// The platform's id of it.
    pub id: String,
    pub container: String,
    /// Key of the resource.
    pub resource_key: String,
    /// `inventory:<Channel key>:<sku>`; its newer values wait.
    pub subject: String,
    pub fluent_ref: String,
    pub quantity: i64,
    /// When the position last changed.
    pub updated_on: Option<String>,
    pub sent: Millis,
}

impl Tx {
    /// Marks the pairs that a page is going to write; answers those that no other page at work has.
    pub async fn claim_pairs(
        &mut self,
        connection: &str,
        kind: &str,
        refs: &[String],
        page: Uuid,
    ) -> Result<HashSet<String>> {
        let mut claimed = HashSet::new();
        for chunk in refs.chunks(CHUNK) {
            let rows: Vec<String> = on!(&mut self.db, |c| {
                let mut update = QueryBuilder::new("update mapping set claimed_by = ");
                update.push_bind(page).push(" where connection = ").push_bind(connection.to_owned());
                update.push(" and kind = ").push_bind(kind.to_owned());
                update.push(" and (claimed_by is null or claimed_by = ").push_bind(page);
                update.push(" or not exists (select 1 from message m where m.id = claimed_by and m.state in ");
                update.push("('ready', 'running', 'waiting'))) and fluent_ref in (");
                let mut list = update.separated(", ");
                for reference in chunk {
                    list.push_bind(reference.clone());
                }
                update.push(") returning fluent_ref");
                update.build_query_scalar().persistent(false).fetch_all(c).await?
            });
            claimed.extend(rows);
        }
        Ok(claimed)
    }

    /// The page is done with its pairs.
    pub async fn release_pairs(&mut self, page: Uuid) -> Result<()> {
        on!(&mut self.db, |c| {
            sqlx::query("update mapping set claimed_by = null where claimed_by = $1")
                .bind(page)
                .execute(c)
                .await?
                .rows_affected()
        });
        Ok(())
    }

    /// Writes pairs, each known by its Fluent ref. Whoever else was paired with the same commercetools entity
    /// is not any more.
    pub async fn put_pairs(&mut self, mut pairs: Vec<Mapping>) -> Result<()> {
        let now = self.clock.now();
        // In one order, as everybody writes many rows at once.
        pairs.sort_by(|a, b| a.fluent_ref.cmp(&b.fluent_ref));
        for chunk in pairs.chunks(CHUNK) {
            let Some(first) = chunk.first() else { continue };
            on!(&mut self.db, |c| {
                let mut delete = QueryBuilder::new("delete from mapping where connection = ");
                delete.push_bind(first.connection.clone()).push(" and kind = ").push_bind(first.kind.clone());
                delete.push(" and commercetools_id in (");
                let mut ids = delete.separated(", ");
                for pair in chunk {
                    ids.push_bind(pair.commercetools_id.clone());
                }
                delete.push(") and fluent_ref not in (");
                let mut refs = delete.separated(", ");
                for pair in chunk {
                    refs.push_bind(pair.fluent_ref.clone());
                }
                delete.push(")");
                delete.build().persistent(false).execute(c).await?.rows_affected()
            });
            on!(&mut self.db, |c| {
                let mut insert = QueryBuilder::new(
                    "insert into mapping (id, connection, kind, commercetools_id, commercetools_key, \
                     commercetools_version, fluent_id, fluent_ref, content_hash, state, extra, remembered, first_seen, \
                     written, last_message) ",
                );
                insert.push_values(chunk, |mut row, pair| {
                    row.push_bind(pair.id)
                        .push_bind(pair.connection.clone())
                        .push_bind(pair.kind.clone())
                        .push_bind(pair.commercetools_id.clone())
                        .push_bind(pair.commercetools_key.clone())
                        .push_bind(pair.commercetools_version)
                        .push_bind(pair.fluent_id.clone())
                        .push_bind(pair.fluent_ref.clone())
                        .push_bind(pair.content_hash.clone())
                        .push_bind(pair.state.clone())
                        .push_bind(pair.extra.clone())
                        .push_bind(pair.remembered.clone())
                        .push_bind(now)
                        .push_bind(now)
                        .push_bind(pair.last_message);
                });
                insert.push(
                    " on conflict (connection, kind, fluent_ref) where fluent_ref is not null do update set \
                     commercetools_id = excluded.commercetools_id, commercetools_key = excluded.commercetools_key, \
                     commercetools_version = excluded.commercetools_version, content_hash = excluded.content_hash, \
                     state = excluded.state, extra = excluded.extra, written = excluded.written, \
                     last_message = excluded.last_message",
                );
                insert.build().persistent(false).execute(c).await?.rows_affected()
            });
        }
        Ok(())
    }

    /// Remembers what the Import API has taken.
    pub async fn put_imports(&mut self, operations: &[ImportOperation]) -> Result<()> {
        for chunk in operations.chunks(CHUNK) {
            on!(&mut self.db, |c| {
                let mut insert = QueryBuilder::new(
                    "insert into import_operation (connection, id, container, resource_key, subject, fluent_ref, \
                     quantity, updated_on, sent) ",
                );
                insert.push_values(chunk, |mut row, operation| {
                    row.push_bind(operation.connection.clone())
                        .push_bind(operation.id.clone())
                        .push_bind(operation.container.clone())
                        .push_bind(operation.resource_key.clone())
                        .push_bind(operation.subject.clone())
                        .push_bind(operation.fluent_ref.clone())
                        .push_bind(operation.quantity)
                        .push_bind(operation.updated_on.clone())
                        .push_bind(operation.sent);
                });
                insert.push(" on conflict (connection, id) do nothing");
                insert.build().persistent(false).execute(c).await?.rows_affected()
            });
        }
        Ok(())
    }

    /// Forgets operations that are over; what waited for their subjects goes on.
    pub async fn end_imports(&mut self, connection: &str, operations: &[ImportOperation]) -> Result<()> {
        for chunk in operations.chunks(CHUNK) {
            on!(&mut self.db, |c| {
                let mut delete = QueryBuilder::new("delete from import_operation where connection = ");
                delete.push_bind(connection.to_owned()).push(" and id in (");
                let mut ids = delete.separated(", ");
                for operation in chunk {
                    ids.push_bind(operation.id.clone());
                }
                delete.push(")");
                delete.build().persistent(false).execute(c).await?.rows_affected()
            });
            let keys = chunk.iter().map(|operation| format!("import:{}", operation.subject)).collect::<Vec<_>>();
            self.all_arrived(connection, &keys).await?;
        }
        Ok(())
    }
}

impl Db {
    /// Is a page at work on this pair?
    pub async fn is_claimed(&mut self, connection: &str, kind: &str, reference: &str) -> Result<bool> {
        let claimed: Option<i64> = on!(self, |c| {
            sqlx::query_scalar(
                "select cast(1 as bigint) from mapping p join message m on m.id = p.claimed_by \
                 where p.connection = $1 and p.kind = $2 and p.fluent_ref = $3 \
                 and m.state in ('ready', 'running', 'waiting')",
            )
            .bind(connection)
            .bind(kind)
            .bind(reference)
            .fetch_optional(c)
            .await?
        });
        Ok(claimed.is_some())
    }

    /// Which of these subjects have a message of the route that is not over.
    pub async fn open_subjects(
        &mut self,
        connection: &str,
        route: &str,
        subjects: &[String],
    ) -> Result<HashSet<String>> {
        let mut open = HashSet::new();
        for chunk in subjects.chunks(CHUNK) {
            let rows: Vec<String> = on!(self, |c| {
                let mut select = QueryBuilder::new("select distinct subject from message where connection = ");
                select.push_bind(connection.to_owned()).push(" and route = ").push_bind(route.to_owned());
                select.push(" and state in ('ready', 'waiting', 'running') and subject in (");
                let mut list = select.separated(", ");
                for subject in chunk {
                    list.push_bind(subject.clone());
                }
                select.push(")");
                select.build_query_scalar().persistent(false).fetch_all(&mut *c).await?
            });
            open.extend(rows);
        }
        Ok(open)
    }

    /// How many messages of a route are not over whose keys begin with `<prefix>:`.
    pub async fn live_messages(&mut self, connection: &str, route: &str, prefix: &str) -> Result<i64> {
        Ok(on!(self, |c| {
            sqlx::query_scalar(
                "select count(*) from message where connection = $1 and route = $2 and substr(key, 1, $3) = $4 \
                 and state in ('ready', 'waiting', 'running')",
            )
            .bind(connection)
            .bind(route)
            .bind(prefix.len() as i32 + 1)
            .bind(format!("{prefix}:"))
            .fetch_one(c)
            .await?
        }))
    }

    /// Subjects of these whose values the Import API has not written yet.
    pub async fn open_imports(&mut self, connection: &str, subjects: &[String]) -> Result<HashSet<String>> {
        let mut open = HashSet::new();
        for chunk in subjects.chunks(CHUNK) {
            let rows: Vec<String> = on!(self, |c| {
                let mut select = QueryBuilder::new("select subject from import_operation where connection = ");
                select.push_bind(connection.to_owned()).push(" and subject in (");
                let mut list = select.separated(", ");
                for subject in chunk {
                    list.push_bind(subject.clone());
                }
                select.push(")");
                select.build_query_scalar().persistent(false).fetch_all(&mut *c).await?
            });
            open.extend(rows);
        }
        Ok(open)
    }

    /// Containers with operations that are not over.
    pub async fn import_containers(&mut self, connection: &str) -> Result<Vec<String>> {
        Ok(on!(self, |c| {
            sqlx::query_scalar(
                "select distinct container from import_operation where connection = $1 order by container",
            )
            .bind(connection)
            .fetch_all(c)
            .await?
        }))
    }

    /// The operations of a container that are not over, by id.
    pub async fn imports_of(&mut self, connection: &str, container: &str) -> Result<Vec<ImportOperation>> {
        Ok(on!(self, |c| {
            sqlx::query_as(
                "select connection, id, container, resource_key, subject, fluent_ref, quantity, updated_on, sent \
                 from import_operation where connection = $1 and container = $2 order by id",
            )
            .bind(connection)
            .bind(container)
            .fetch_all(c)
            .await?
        }))
    }
}
