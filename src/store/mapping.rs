//! Table `mapping`: which commercetools entity is which Fluent entity, what was last written, and
//! what the other side looked like then (C 1.4). The reconciliation export reads this table.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::types::Json;
use sqlx::{FromRow, QueryBuilder};
use uuid::Uuid;

use super::message::push_among;
use super::{Db, Missing, Result, Tx, on};
use crate::clock::Millis;

/// One remembered pair. `(connection, kind, commercetools_id)` and `(connection, kind, fluent_ref)`
/// are unique. A ref, once stored, is never recomputed (D-1).
#[derive(Clone, Debug, FromRow, Serialize)]
pub struct Mapping {
    pub id: Uuid,
    pub connection: String,
    /// `customer`, `guest`, `order`, `transaction` …
    pub kind: String,
    pub commercetools_id: String,
    /// Key or order number.
    pub commercetools_key: Option<String>,
    /// Source version that was last written.
    pub commercetools_version: i64,
    pub fluent_id: Option<String>,
    pub fluent_ref: Option<String>,
    /// Hash of what was last written.
    pub content_hash: Option<String>,
    /// `active`, `inactive` or `absent`.
    pub state: String,
    /// What the flow wants to remember (C 1.4, column extra).
    pub extra: Json<Value>,
    /// Compact copy of the target as the last answer showed it (F 1.7).
    pub remembered: Option<Json<Value>>,
    pub first_seen: Millis,
    /// When the pair or its content was last written.
    pub written: Millis,
    pub last_message: Option<Uuid>,
}

/// What a list of mappings is narrowed to.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct MappingFilter {
    pub connection: Option<String>,
    /// Only pairs of these connections; `None` = of all.
    pub among: Option<Vec<String>>,
    pub kind: Option<String>,
    pub commercetools_id: Option<String>,
    pub commercetools_key: Option<String>,
    pub fluent_id: Option<String>,
    pub fluent_ref: Option<String>,
    pub state: Option<String>,
    /// An id, key or ref of either side.
    pub any: Option<String>,
    /// Last written at or after this …
    pub from: Option<Millis>,
    /// … and before this.
    pub to: Option<Millis>,
    /// Only rows after this one (paging by id).
    pub after: Option<Uuid>,
}

const COLUMNS: &str = "id, connection, kind, commercetools_id, commercetools_key, commercetools_version, fluent_id, \
                       fluent_ref, content_hash, state, extra, remembered, first_seen, written, last_message";

impl Mapping {
    /// A new, active pair with nothing but its identity.
    pub fn new(connection: &str, kind: &str, commercetools_id: &str) -> Self {
        Self {
            id: Uuid::now_v7(),
            connection: connection.into(),
            kind: kind.into(),
            commercetools_id: commercetools_id.into(),
            commercetools_key: None,
            commercetools_version: 0,
            fluent_id: None,
            fluent_ref: None,
            content_hash: None,
            state: "active".into(),
            extra: Json(Value::Object(Default::default())),
            remembered: None,
            first_seen: 0,
            written: 0,
            last_message: None,
        }
    }
}

impl Tx {
    /// Writes a pair; a second put for the same commercetools entity updates the first. What waited
    /// for `<kind>:<commercetools id>` is released once the pair is `active`.
    pub async fn put_mapping(&mut self, mapping: &Mapping) -> Result<()> {
        let now = self.clock.now();
        on!(&mut self.db, |c| {
            sqlx::query(
                "insert into mapping (id, connection, kind, commercetools_id, commercetools_key, commercetools_version, \
                 fluent_id, fluent_ref, content_hash, state, extra, remembered, first_seen, written, last_message) \
                 values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $13, $14) \
                 on conflict (connection, kind, commercetools_id) do update set \
                 commercetools_key = excluded.commercetools_key, commercetools_version = excluded.commercetools_version, \
                 fluent_id = excluded.fluent_id, fluent_ref = excluded.fluent_ref, content_hash = excluded.content_hash, \
                 state = excluded.state, extra = excluded.extra, remembered = excluded.remembered, \
                 written = excluded.written, last_message = excluded.last_message",
            )
            .bind(mapping.id)
            .bind(&mapping.connection)
            .bind(&mapping.kind)
            .bind(&mapping.commercetools_id)
            .bind(&mapping.commercetools_key)
            .bind(mapping.commercetools_version)
            .bind(&mapping.fluent_id)
            .bind(&mapping.fluent_ref)
            .bind(&mapping.content_hash)
            .bind(&mapping.state)
            .bind(&mapping.extra)
            .bind(&mapping.remembered)
            .bind(now)
            .bind(mapping.last_message)
            .execute(c)
            .await?
            .rows_affected()
        });
        if mapping.state == "active" {
            self.arrived(&mapping.connection, &format!("{}:{}", mapping.kind, mapping.commercetools_id)).await?;
        }
        Ok(())
    }

    /// Removes a pair: its entity was replaced by another one.
    pub async fn forget_mapping(&mut self, id: Uuid) -> Result<()> {
        on!(&mut self.db, |c| {
            sqlx::query("delete from mapping where id = $1").bind(id).execute(c).await?.rows_affected()
        });
        Ok(())
    }

    /// Was the pair that `<kind>:<commercetools id>` names written at `since` or later, and is it in use?
    /// In the same millisecond counts: whoever waits looks once too often rather than too late.
    ///
    /// Until this transaction ends nobody else writes the pair. On Postgres two transactions do not see
    /// each other: without that, one that looks here and then waits, and one that writes the pair and
    /// finds nobody waiting, would both be right, and nobody would wake the first.
    pub(super) async fn written_since(&mut self, connection: &str, key: &str, since: Millis) -> Result<bool> {
        let Some((kind, id)) = key.split_once(':') else { return Ok(false) };
        let place = Mapping::new(connection, kind, id);
        let (found, state, written): (Uuid, String, Millis) = on!(&mut self.db, |c| {
            sqlx::query_as(
                "insert into mapping (id, connection, kind, commercetools_id, commercetools_version, state, extra, \
                 first_seen, written) values ($1, $2, $3, $4, 0, 'absent', $5, 0, 0) \
                 on conflict (connection, kind, commercetools_id) do update set kind = excluded.kind \
                 returning id, state, written",
            )
            .bind(place.id)
            .bind(connection)
            .bind(kind)
            .bind(id)
            .bind(&place.extra)
            .fetch_one(c)
            .await?
        });
        if found == place.id {
            // Who wants to write it waits for us all the same.
            on!(&mut self.db, |c| {
                sqlx::query("delete from mapping where id = $1").bind(found).execute(c).await?.rows_affected()
            });
        }
        Ok(found != place.id && state == "active" && written >= since)
    }
}

impl Db {
    /// The pair of a commercetools entity.
    pub async fn mapping(&mut self, connection: &str, kind: &str, commercetools_id: &str) -> Result<Option<Mapping>> {
        self.mapping_by("commercetools_id", connection, kind, commercetools_id).await
    }

    /// The pair of a Fluent entity, by its id.
    pub async fn mapping_by_fluent_id(&mut self, connection: &str, kind: &str, id: &str) -> Result<Option<Mapping>> {
        self.mapping_by("fluent_id", connection, kind, id).await
    }

    /// The pair of a Fluent entity, by its ref.
    pub async fn mapping_by_fluent_ref(
        &mut self,
        connection: &str,
        kind: &str,
        reference: &str,
    ) -> Result<Option<Mapping>> {
        self.mapping_by("fluent_ref", connection, kind, reference).await
    }

    /// The pairs of several commercetools entities, by their ids.
    pub async fn mappings_of(&mut self, connection: &str, kind: &str, ids: &[String]) -> Result<Vec<Mapping>> {
        self.mappings_among("commercetools_id", connection, kind, ids).await
    }

    /// The pairs of several Fluent entities, by their ids.
    pub async fn mappings_by_fluent_ids(
        &mut self,
        connection: &str,
        kind: &str,
        ids: &[String],
    ) -> Result<Vec<Mapping>> {
        self.mappings_among("fluent_id", connection, kind, ids).await
    }

    /// The pairs of several Fluent entities, by their refs.
    pub async fn mappings_by_fluent_refs(
        &mut self,
        connection: &str,
        kind: &str,
        references: &[String],
    ) -> Result<Vec<Mapping>> {
        self.mappings_among("fluent_ref", connection, kind, references).await
    }

    async fn mappings_among(
        &mut self,
        column: &'static str,
        connection: &str,
        kind: &str,
        values: &[String],
    ) -> Result<Vec<Mapping>> {
        if values.is_empty() {
            return Ok(Vec::new());
        }
        Ok(on!(self, |c| {
            let mut select = QueryBuilder::new("select ");
            select.push(COLUMNS).push(" from mapping where connection = ").push_bind(connection.to_owned());
            select.push(" and kind = ").push_bind(kind.to_owned()).push(format!(" and {column} in ("));
            let mut list = select.separated(", ");
            for value in values {
                list.push_bind(value.clone());
            }
            select.push(")");
            select.build_query_as().persistent(false).fetch_all(c).await?
        }))
    }

    /// Active pairs of a kind that a run did not find, by ref and behind one.
    pub async fn unseen(
        &mut self,
        connection: &str,
        kind: &str,
        run: Uuid,
        after: Option<&str>,
        most: i64,
    ) -> Result<Vec<Mapping>> {
        Ok(on!(self, |c| {
            let mut select = QueryBuilder::new("select ");
            select.push(COLUMNS).push(" from mapping where state = 'active' and connection = ");
            select.push_bind(connection.to_owned()).push(" and kind = ").push_bind(kind.to_owned());
            if let Some(after) = after {
                select.push(" and fluent_ref > ").push_bind(after.to_owned());
            }
            select.push(" and not exists (select 1 from run_record r where r.name = fluent_ref and r.run = ");
            select.push_bind(run).push(") order by fluent_ref limit ").push_bind(most);
            select.build_query_as().fetch_all(c).await?
        }))
    }

    /// How many active pairs of a kind there are, and how many of them a run did not find.
    pub async fn count_unseen(&mut self, connection: &str, kind: &str, run: Uuid) -> Result<Missing> {
        Ok(on!(self, |c| {
            sqlx::query_as(
                "select count(case when r.name is null then 1 end) as missing, count(*) as total from mapping m \
                 left join run_record r on r.run = $3 and r.name = m.fluent_ref \
                 where m.connection = $1 and m.kind = $2 and m.state = 'active'",
            )
            .bind(connection)
            .bind(kind)
            .bind(run)
            .fetch_one(c)
            .await?
        }))
    }

    /// Which of these commercetools entities are in Fluent, and the version each was last read in.
    pub async fn transferred(&mut self, connection: &str, kind: &str, ids: &[String]) -> Result<HashMap<String, i64>> {
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let rows: Vec<(String, i64)> = on!(self, |c| {
            let mut select =
                QueryBuilder::new("select commercetools_id, commercetools_version from mapping where connection = ");
            select.push_bind(connection.to_owned()).push(" and kind = ").push_bind(kind.to_owned());
            select.push(" and fluent_id is not null and commercetools_id in (");
            let mut list = select.separated(", ");
            for id in ids {
                list.push_bind(id.clone());
            }
            select.push(")");
            select.build_query_as().persistent(false).fetch_all(c).await?
        });
        Ok(rows.into_iter().collect())
    }

    async fn mapping_by(
        &mut self,
        column: &'static str,
        connection: &str,
        kind: &str,
        value: &str,
    ) -> Result<Option<Mapping>> {
        Ok(on!(self, |c| {
            let mut select = QueryBuilder::new("select ");
            select.push(COLUMNS).push(" from mapping where connection = ").push_bind(connection.to_owned());
            select.push(" and kind = ").push_bind(kind.to_owned());
            select.push(format!(" and {column} = ")).push_bind(value.to_owned());
            select.build_query_as().fetch_optional(c).await?
        }))
    }

    /// Pairs in the order of their ids; pages by `after`.
    pub async fn mappings(&mut self, filter: &MappingFilter, limit: i64) -> Result<Vec<Mapping>> {
        Ok(on!(self, |c| {
            let mut select = QueryBuilder::new("select ");
            select.push(COLUMNS).push(" from mapping where 1 = 1");
            for (column, value) in [
                ("connection", &filter.connection),
                ("kind", &filter.kind),
                ("commercetools_id", &filter.commercetools_id),
                ("commercetools_key", &filter.commercetools_key),
                ("fluent_id", &filter.fluent_id),
                ("fluent_ref", &filter.fluent_ref),
                ("state", &filter.state),
            ] {
                if let Some(value) = value {
                    select.push(format!(" and {column} = ")).push_bind(value.clone());
                }
            }
            push_among(&mut select, filter.among.as_deref());
            if let Some(any) = &filter.any {
                select.push(" and (");
                let mut first = true;
                for column in ["commercetools_id", "commercetools_key", "fluent_id", "fluent_ref"] {
                    select.push(if first { "" } else { " or " }).push(column).push(" = ").push_bind(any.clone());
                    first = false;
                }
                select.push(")");
            }
            if let Some(from) = filter.from {
                select.push(" and written >= ").push_bind(from);
            }
            if let Some(to) = filter.to {
                select.push(" and written < ").push_bind(to);
            }
            if let Some(after) = filter.after {
                select.push(" and id > ").push_bind(after);
            }
            select.push(" order by id limit ").push_bind(limit);
            select.build_query_as().persistent(false).fetch_all(c).await?
        }))
    }
}
