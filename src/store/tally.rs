//! Table `tally`: how many messages are in which state, kept in the same transactions.
//!
//! `accepted − pruned = done + skipped + waiting + ready + running + parked`, always. The counters
//! are split into shards so that writers on Postgres do not wait for each other's rows.

use std::collections::BTreeMap;

use serde::Serialize;
use sqlx::QueryBuilder;

use super::bell::Lanes;
use super::{Db, Result, Tx, on};

/// What a transaction adds to the counters; written once, when it commits.
#[derive(Clone, Default)]
pub struct Deltas {
    counts: BTreeMap<(String, String, &'static str), i64>,
    /// Where something became ready, or a finished subject lets its next message run. Kept apart from
    /// the counts, where what one write adds and another takes cancel each other out.
    work: Lanes,
}

/// Counters of one connection and lane.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts(pub BTreeMap<String, i64>);

/// The same counts from both sides; they are equal, or something was lost or doubled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Balance {
    /// As kept beside every change; the states only.
    pub kept: BTreeMap<(String, String), Counts>,
    /// By counting the rows.
    pub counted: BTreeMap<(String, String), Counts>,
}

impl Deltas {
    pub fn add(&mut self, connection: &str, lane: &str, state: &'static str, count: i64) {
        *self.counts.entry((connection.to_owned(), lane.to_owned(), state)).or_default() += count;
        match state {
            "ready" | "waiting" if count > 0 => self.work.add(lane),
            // What waits for the same subject may be in any lane.
            "running" if count < 0 => self.work = Lanes::All,
            _ => {}
        }
    }

    /// Something that was to be done later is to be done sooner: whoever waits for it looks again.
    pub fn sooner(&mut self) {
        self.work = Lanes::All;
    }

    /// Where this commit leaves something to do.
    pub fn work(&self) -> Lanes {
        self.work.clone()
    }
}

impl Counts {
    /// `accepted − pruned − Σ states`: zero, or something was lost or doubled.
    pub fn imbalance(&self) -> i64 {
        let of = |state: &str| self.0.get(state).copied().unwrap_or(0);
        let states = ["done", "skipped", "waiting", "ready", "running", "parked"];
        of("accepted") - of("pruned") - states.iter().map(|state| of(state)).sum::<i64>()
    }

    /// One state's count.
    pub fn of(&self, state: &str) -> i64 {
        self.0.get(state).copied().unwrap_or(0)
    }
}

impl Tx {
    pub(super) async fn write_tally(&mut self, shard: i64) -> Result<()> {
        let deltas = std::mem::take(&mut self.tally);
        let changed: Vec<_> = deltas.counts.into_iter().filter(|(_, count)| *count != 0).collect();
        if changed.is_empty() {
            return Ok(());
        }
        on!(&mut self.db, |c| {
            let mut insert = QueryBuilder::new("insert into tally (shard, connection, lane, state, count) ");
            insert.push_values(&changed, |mut row, ((connection, lane, state), count)| {
                row.push_bind(shard)
                    .push_bind(connection.clone())
                    .push_bind(lane.clone())
                    .push_bind(*state)
                    .push_bind(*count);
            });
            insert.push(
                " on conflict (shard, connection, lane, state) do update set count = tally.count + excluded.count",
            );
            insert.build().persistent(changed.len() <= 4).execute(c).await?.rows_affected();
        });
        Ok(())
    }
}

impl Db {
    /// The counters as kept, by connection and lane.
    pub async fn tally(&mut self) -> Result<BTreeMap<(String, String), Counts>> {
        let rows: Vec<(String, String, String, i64)> = on!(self, |c| {
            sqlx::query_as(
                "select connection, lane, state, cast(sum(count) as bigint) from tally group by connection, lane, state",
            )
            .fetch_all(c)
            .await?
        });
        Ok(gathered(rows))
    }

    /// Counts kept and counts recounted, of one moment: a single statement sees a single state.
    pub async fn balance(&mut self) -> Result<Balance> {
        let rows: Vec<(String, String, String, String, i64)> = on!(self, |c| {
            sqlx::query_as(
                "select 'kept', connection, lane, state, cast(sum(count) as bigint) from tally \
                 where state not in ('accepted', 'pruned') group by connection, lane, state \
                 union all \
                 select 'counted', connection, lane, state, cast(count(*) as bigint) from message \
                 group by connection, lane, state",
            )
            .fetch_all(c)
            .await?
        });
        let (kept, counted): (Vec<_>, Vec<_>) = rows.into_iter().partition(|(which, ..)| which == "kept");
        let plain = |rows: Vec<(String, String, String, String, i64)>| {
            gathered(
                rows.into_iter().map(|(_, connection, lane, state, count)| (connection, lane, state, count)).collect(),
            )
        };
        Ok(Balance { kept: plain(kept), counted: plain(counted) })
    }

    /// The counters as they should be, by counting the rows.
    pub async fn recount(&mut self) -> Result<BTreeMap<(String, String), Counts>> {
        let rows: Vec<(String, String, String, i64)> = on!(self, |c| {
            sqlx::query_as(
                "select connection, lane, state, cast(count(*) as bigint) from message group by connection, lane, state",
            )
            .fetch_all(c)
            .await?
        });
        Ok(gathered(rows))
    }
}

fn gathered(rows: Vec<(String, String, String, i64)>) -> BTreeMap<(String, String), Counts> {
    let mut counts: BTreeMap<(String, String), Counts> = BTreeMap::new();
    for (connection, lane, state, count) in rows {
        if count != 0 {
            counts.entry((connection, lane)).or_default().0.insert(state, count);
        }
    }
    counts
}
