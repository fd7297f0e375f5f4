//! Tables `run` and `run_record`: runs of jobs that take many pages, and what they found on both sides
//! (F 3.5, 4.7). A run's place moves in the transaction that stores what was read there.

use serde::Serialize;
use serde_json::Value;
use sqlx::types::Json;
use sqlx::{FromRow, QueryBuilder};
use uuid::Uuid;

use super::{Db, Result, Tx, on};
use crate::clock::Millis;

/// One run.
#[derive(Clone, Debug, FromRow, Serialize)]
pub struct Run {
    pub id: Uuid,
    pub connection: String,
    /// What it walks; one run of a stream is open at most.
    pub stream: String,
    /// Hash of what was looked for: absence counts only where an earlier run looked for the same.
    pub scope: String,
    /// `open`, `done` or `given-up`.
    pub state: String,
    /// How far it is, in its job's own form.
    pub position: Json<Value>,
    /// Who said that it may do what it found, and why.
    pub approved_by: Option<String>,
    pub approved_reason: Option<String>,
    pub started: Millis,
    pub ended: Option<Millis>,
}

/// What a run found under one name: what the source wants, what the target has.
#[derive(Clone, Debug, Default, PartialEq, Eq, FromRow)]
pub struct Record {
    pub name: String,
    /// Lower ranks are written first.
    pub rank: i64,
    /// The source's own name of it; `None` = the source does not have it.
    pub source: Option<String>,
    pub source_quantity: Option<i64>,
    pub source_updated: Option<Millis>,
    /// The target's id of it; `None` = the target does not have it.
    pub target: Option<String>,
    pub target_key: Option<String>,
    pub target_version: Option<i64>,
    pub target_quantity: Option<i64>,
    /// 1 = this run wrote it.
    pub written: i64,
}

/// Which side of a record is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Source,
    Target,
    Both,
}

/// How much is missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromRow)]
pub struct Missing {
    /// Of the target's records that are paired, those that the source does not have.
    pub missing: i64,
    /// All that are paired.
    pub total: i64,
}

const COLUMNS: &str = "id, connection, stream, scope, state, position, approved_by, approved_reason, started, ended";
const RECORD: &str = "name, rank, source, source_quantity, source_updated, target, target_key, target_version, \
                      target_quantity, written";
/// Most rows of one statement.
const CHUNK: usize = 500;

impl Run {
    /// A run that begins now.
    pub fn new(connection: &str, stream: &str, scope: &str, position: Value, now: Millis) -> Self {
        Self {
            id: Uuid::now_v7(),
            connection: connection.into(),
            stream: stream.into(),
            scope: scope.into(),
            state: "open".into(),
            position: Json(position),
            approved_by: None,
            approved_reason: None,
            started: now,
            ended: None,
        }
    }
}

impl Tx {
    /// Opens a run; `false` if one of its stream is open.
    pub async fn open_run(&mut self, run: &Run) -> Result<bool> {
        let opened = on!(&mut self.db, |c| {
            sqlx::query(
                "insert into run (id, connection, stream, scope, state, position, started) \
                 values ($1, $2, $3, $4, $5, $6, $7) on conflict (connection, stream) where state = 'open' do nothing",
            )
            .bind(run.id)
            .bind(&run.connection)
            .bind(&run.stream)
            .bind(&run.scope)
            .bind(&run.state)
            .bind(&run.position)
            .bind(run.started)
            .execute(c)
            .await?
            .rows_affected()
        });
        Ok(opened == 1)
    }

    /// A run that is open, kept from everybody else until this transaction ends; `None` = it is over.
    pub async fn hold_run(&mut self, id: Uuid) -> Result<Option<Run>> {
        let locked = self.db.locking(" for update");
        Ok(on!(&mut self.db, |c| {
            let mut select = QueryBuilder::new("select ");
            select.push(COLUMNS).push(" from run where state = 'open' and id = ").push_bind(id).push(locked);
            select.build_query_as().fetch_optional(c).await?
        }))
    }

    /// Says how far a run is.
    pub async fn move_run(&mut self, id: Uuid, position: Value) -> Result<()> {
        on!(&mut self.db, |c| {
            sqlx::query("update run set position = $1 where id = $2 and state = 'open'")
                .bind(Json(position))
                .bind(id)
                .execute(c)
                .await?
                .rows_affected()
        });
        Ok(())
    }

    /// Ends a run: `done` or `given-up`. `false` if it is over already.
    pub async fn end_run(&mut self, id: Uuid, state: &'static str) -> Result<bool> {
        let now = self.clock.now();
        let ended = on!(&mut self.db, |c| {
            sqlx::query("update run set state = $1, ended = $2 where id = $3 and state = 'open'")
                .bind(state)
                .bind(now)
                .bind(id)
                .execute(c)
                .await?
                .rows_affected()
        });
        Ok(ended == 1)
    }

    /// Forgets the runs of a stream that ended before this one did: of each stream the last one counts.
    pub async fn forget_runs(&mut self, last: &Run) -> Result<()> {
        on!(&mut self.db, |c| {
            sqlx::query("delete from run where connection = $1 and stream = $2 and state <> 'open' and id <> $3")
                .bind(&last.connection)
                .bind(&last.stream)
                .bind(last.id)
                .execute(c)
                .await?
                .rows_affected()
        });
        Ok(())
    }

    /// Lets a run do what it found, by a person's decision; what waits for that goes on. `false` if there is
    /// no such run, or it is over.
    pub async fn approve_run(&mut self, id: Uuid, by: &str, reason: &str) -> Result<bool> {
        let connection: Option<String> = on!(&mut self.db, |c| {
            sqlx::query_scalar(
                "update run set approved_by = $1, approved_reason = $2 where id = $3 and state = 'open' \
                 returning connection",
            )
            .bind(by)
            .bind(reason)
            .bind(id)
            .fetch_optional(c)
            .await?
        });
        let Some(connection) = connection else { return Ok(false) };
        self.arrived(&connection, &format!("approval:{id}")).await?;
        Ok(true)
    }

    /// Writes down what was found; the other side of a record stays as it is.
    pub async fn put_records(&mut self, run: Uuid, side: Side, mut records: Vec<Record>) -> Result<()> {
        // Pages of both sides write the same records at once: in one order, or two of them wait for each other.
        records.sort_by(|a, b| a.name.cmp(&b.name));
        for chunk in records.chunks(CHUNK) {
            on!(&mut self.db, |c| {
                let mut insert = QueryBuilder::new("insert into run_record (run, ");
                insert.push(RECORD).push(") ");
                insert.push_values(chunk, |mut row, record| {
                    row.push_bind(run)
                        .push_bind(record.name.clone())
                        .push_bind(record.rank)
                        .push_bind(record.source.clone())
                        .push_bind(record.source_quantity)
                        .push_bind(record.source_updated)
                        .push_bind(record.target.clone())
                        .push_bind(record.target_key.clone())
                        .push_bind(record.target_version)
                        .push_bind(record.target_quantity)
                        .push_bind(record.written);
                });
                insert.push(" on conflict (run, name) do update set ").push(match side {
                    Side::Source => SOURCE,
                    Side::Target => TARGET,
                    Side::Both => BOTH,
                });
                insert.build().persistent(false).execute(c).await?.rows_affected()
            });
        }
        Ok(())
    }

    /// Remembers what this run wrote, so that a page that runs again passes it over.
    pub async fn mark_written(&mut self, run: Uuid, names: &[String]) -> Result<()> {
        for chunk in names.chunks(CHUNK) {
            on!(&mut self.db, |c| {
                let mut update = QueryBuilder::new("update run_record set written = 1 where run = ");
                update.push_bind(run).push(" and name in (");
                let mut list = update.separated(", ");
                for name in chunk {
                    list.push_bind(name.clone());
                }
                update.push(")");
                update.build().persistent(false).execute(c).await?.rows_affected()
            });
        }
        Ok(())
    }

    /// Removes records of runs that are over, at most so many; answers how many.
    pub async fn prune_records(&mut self, most: i64) -> Result<u64> {
        Ok(on!(&mut self.db, |c| {
            sqlx::query(
                "delete from run_record where (run, name) in (select d.run, d.name from run_record d where not exists \
                 (select 1 from run r where r.id = d.run and r.state = 'open') limit $1)",
            )
            .bind(most)
            .execute(c)
            .await?
            .rows_affected()
        }))
    }
}

const SOURCE: &str = "rank = excluded.rank, source = excluded.source, source_quantity = excluded.source_quantity, \
                      source_updated = excluded.source_updated";
const TARGET: &str = "target = excluded.target, target_key = excluded.target_key, \
                      target_version = excluded.target_version, target_quantity = excluded.target_quantity";
const BOTH: &str = "rank = excluded.rank, source = excluded.source, source_quantity = excluded.source_quantity, \
                    source_updated = excluded.source_updated, target = excluded.target, \
                    target_key = excluded.target_key, target_version = excluded.target_version, \
                    target_quantity = excluded.target_quantity";

/// What is to be written: there is a source, and the target is another.
const DIFFERENT: &str = "r.source is not null and (r.target is null or r.target_quantity <> r.source_quantity)";
/// What is to be looked at: what differs, what is equal and not paired yet, and what is paired though there is
/// no source. A target without source that nobody paired belongs to somebody else.
const PAIRED: &str = "exists (select 1 from mapping m where m.commercetools_id = r.target and m.connection = ";

impl Db {
    /// A run, open or not.
    pub async fn run(&mut self, id: Uuid) -> Result<Option<Run>> {
        Ok(on!(self, |c| {
            let mut select = QueryBuilder::new("select ");
            select.push(COLUMNS).push(" from run where id = ").push_bind(id);
            select.build_query_as().fetch_optional(c).await?
        }))
    }

    /// The open run of a stream.
    pub async fn open_run(&mut self, connection: &str, stream: &str) -> Result<Option<Run>> {
        self.latest(connection, stream, "open").await
    }

    /// The last run of a stream that saw everything.
    pub async fn last_run(&mut self, connection: &str, stream: &str) -> Result<Option<Run>> {
        self.latest(connection, stream, "done").await
    }

    async fn latest(&mut self, connection: &str, stream: &str, state: &str) -> Result<Option<Run>> {
        Ok(on!(self, |c| {
            let mut select = QueryBuilder::new("select ");
            select.push(COLUMNS).push(" from run where connection = ").push_bind(connection.to_owned());
            select
                .push(" and stream = ")
                .push_bind(stream.to_owned())
                .push(" and state = ")
                .push_bind(state.to_owned());
            select.push(" order by started desc, id desc limit 1");
            select.build_query_as().fetch_optional(c).await?
        }))
    }

    /// Records of a run by name.
    pub async fn records(&mut self, run: Uuid, names: &[String]) -> Result<Vec<Record>> {
        let mut records = Vec::new();
        for chunk in names.chunks(CHUNK) {
            let found: Vec<Record> = on!(self, |c| {
                let mut select = QueryBuilder::new("select ");
                select.push(RECORD).push(" from run_record where run = ").push_bind(run).push(" and name in (");
                let mut list = select.separated(", ");
                for name in chunk {
                    list.push_bind(name.clone());
                }
                select.push(")");
                select.build_query_as().persistent(false).fetch_all(&mut *c).await?
            });
            records.extend(found);
        }
        Ok(records)
    }

    /// The next records that differ, by rank and name, behind a place. What this run wrote already is among
    /// them, so that a page stays the same however often it runs.
    pub async fn differences(
        &mut self,
        run: &Run,
        kind: &str,
        after: Option<&(i64, String)>,
        most: i64,
    ) -> Result<Vec<Record>> {
        Ok(on!(self, |c| {
            let mut select = QueryBuilder::new("select ");
            select.push(RECORD).push(" from run_record r where r.run = ").push_bind(run.id);
            if let Some((rank, name)) = after {
                select.push(" and (r.rank, r.name) > (").push_bind(*rank).push(", ").push_bind(name.clone()).push(")");
            }
            select.push(" and (").push(DIFFERENT).push(" or (r.target is not null and (r.source is null) = ");
            select.push(PAIRED).push_bind(run.connection.clone()).push(" and m.kind = ").push_bind(kind.to_owned());
            select.push("))) order by r.rank, r.name limit ").push_bind(most);
            select.build_query_as().fetch_all(c).await?
        }))
    }

    /// How many records are to be written because source and target differ, counted up to a bound.
    pub async fn count_differences(&mut self, run: &Run, bound: i64) -> Result<i64> {
        Ok(on!(self, |c| {
            let mut select =
                QueryBuilder::new("select count(*) from (select 1 as one from run_record r where r.run = ");
            select.push_bind(run.id).push(" and ").push(DIFFERENT).push(" limit ").push_bind(bound).push(") as found");
            select.build_query_scalar().fetch_one(c).await?
        }))
    }

    /// How many paired targets the source does not have.
    pub async fn missing(&mut self, run: &Run, kind: &str) -> Result<Missing> {
        Ok(on!(self, |c| {
            sqlx::query_as(
                "select count(case when r.source is null then 1 end) as missing, count(*) as total \
                 from run_record r join mapping m on m.connection = $1 and m.kind = $2 and m.commercetools_id = r.target \
                 where r.run = $3",
            )
            .bind(&run.connection)
            .bind(kind)
            .bind(run.id)
            .fetch_one(c)
            .await?
        }))
    }

    /// How many targets neither the source nor anybody of ours knows.
    pub async fn foreign_targets(&mut self, run: &Run, kind: &str) -> Result<i64> {
        Ok(on!(self, |c| {
            sqlx::query_scalar(
                "select count(*) from run_record r where r.run = $3 and r.source is null and not exists \
                 (select 1 from mapping m where m.connection = $1 and m.kind = $2 and m.commercetools_id = r.target)",
            )
            .bind(&run.connection)
            .bind(kind)
            .bind(run.id)
            .fetch_one(c)
            .await?
        }))
    }
}
