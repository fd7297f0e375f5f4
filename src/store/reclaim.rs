//! What became of work whose holder is gone: it is free again, and a message that takes its daemon
//! with it every time is parked instead.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::FromRow;
use uuid::Uuid;

use super::{Result, Tx, on};
use crate::clock::Millis;

/// A message that so many daemons died of in a row is parked. Few would do for the culprit; but who
/// kills the daemon again and again for another reason must not find innocent work parked.
pub const DEATHS: i64 = 20;
/// From its second death in a row on, a message runs this much apart from the others that died with
/// it, in milliseconds: one of them is the reason, and the others end alone.
const APART: Millis = 2_000;
const PARKED: &str = "Twenty daemons in a row died while they worked on this message. Their logs say of what; \
                      `message retry` runs it once more, `message skip` gives it up.";

/// What daemons that are gone had been running.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reclaimed {
    /// Messages that run again.
    pub ready: u64,
    /// Messages that were parked, having done this too often.
    pub parked: u64,
}

impl Tx {
    /// Everything that these daemons held is free again. What they ran is ready, and remembers that
    /// its holder died; with the [`DEATHS`]th death in a row it is parked. Any outcome that a living
    /// daemon writes ends the row.
    pub async fn reclaim(&mut self, dead: &[Uuid]) -> Result<Reclaimed> {
        let mut reclaimed = Reclaimed::default();
        let mut suspects = Vec::new();
        for daemon in dead {
            for orphan in self.orphans(*daemon, 1).await? {
                if orphan.state == "parked" {
                    reclaimed.parked += 1;
                    self.tell_of_deaths(&orphan).await?;
                } else {
                    reclaimed.ready += 1;
                    suspects.extend((orphan.deaths > 1).then_some(orphan));
                }
            }
        }
        self.part(&suspects).await?;
        Ok(reclaimed)
    }

    /// The same for a daemon that stops in good order: nobody died.
    pub async fn give_back(&mut self, holder: Uuid) -> Result<u64> {
        Ok(self.orphans(holder, 0).await?.len() as u64)
    }

    async fn orphans(&mut self, holder: Uuid, deaths: i64) -> Result<Vec<Orphan>> {
        let now = self.clock.now();
        let orphans: Vec<Orphan> = on!(&mut self.db, |c| {
            sqlx::query("update subject set holder = null, token = token + 1 where holder = $1")
                .bind(holder)
                .execute(&mut *c)
                .await?;
            sqlx::query_as(
                "update message set claim = null, holder = null, due = $1, changed = $1, deaths = deaths + $2, \
                 state = case when deaths + $2 >= $3 then 'parked' else 'ready' end, \
                 reason = case when deaths + $2 >= $3 then 'gave-up' else reason end, \
                 detail = case when deaths + $2 >= $3 then $4 else detail end, \
                 wait_for = case when deaths + $2 >= $3 then null else wait_for end, \
                 held_since = case when deaths + $2 >= $3 then null else held_since end \
                 where state = 'running' and holder = $5 \
                 returning id, connection, lane, subject, state, attempts, deaths",
            )
            .bind(now)
            .bind(deaths)
            .bind(DEATHS)
            .bind(PARKED)
            .bind(holder)
            .fetch_all(c)
            .await?
        });
        for orphan in &orphans {
            let state = if orphan.state == "parked" { "parked" } else { "ready" };
            self.tally.add(&orphan.connection, &orphan.lane, "running", -1);
            self.tally.add(&orphan.connection, &orphan.lane, state, 1);
        }
        Ok(orphans)
    }

    async fn tell_of_deaths(&mut self, orphan: &Orphan) -> Result<()> {
        if let Some(subject) = &orphan.subject {
            self.unblock(&orphan.connection, subject, orphan.id).await?;
        }
        self.put_attempt(orphan.id, orphan.attempts, "gave-up", None, PARKED).await
    }

    /// Messages of one subject stay together: they are claimed together.
    async fn part(&mut self, suspects: &[Orphan]) -> Result<()> {
        let now = self.clock.now();
        let alone = |orphan: &Orphan| match &orphan.subject {
            Some(subject) => (orphan.connection.clone(), subject.clone()),
            None => (String::new(), orphan.id.to_string()),
        };
        let groups: BTreeSet<_> = suspects.iter().map(alone).collect();
        let places: BTreeMap<_, i64> = groups.into_iter().zip(0..).collect();
        for orphan in suspects {
            let due = now + places[&alone(orphan)] * APART;
            on!(&mut self.db, |c| {
                sqlx::query("update message set due = $1 where id = $2").bind(due).bind(orphan.id).execute(c).await?;
            });
        }
        Ok(())
    }

    /// Frees what `holder` claimed without learning it: the commit of a claim was done, but its answer
    /// was lost. `known` are the claims it works on.
    pub async fn reclaim_unheard(&mut self, holder: Uuid, known: &BTreeSet<Uuid>) -> Result<u64> {
        let now = self.clock.now();
        let held: Vec<(Uuid, String, Option<String>)> = on!(&mut self.db, |c| {
            sqlx::query_as(
                "select distinct claim, connection, subject from message where state = 'running' and holder = $1",
            )
            .bind(holder)
            .fetch_all(c)
            .await?
        });
        let mut count = 0;
        for (claim, connection, subject) in held.into_iter().filter(|(claim, ..)| !known.contains(claim)) {
            let lanes: Vec<(String,)> = on!(&mut self.db, |c| {
                // A subject has one holder and one claim at a time: its lock is this claim's.
                sqlx::query(
                    "update subject set holder = null, token = token + 1 \
                     where connection = $1 and name = $2 and holder = $3",
                )
                .bind(&connection)
                .bind(subject)
                .bind(holder)
                .execute(&mut *c)
                .await?;
                sqlx::query_as(
                    "update message set state = 'ready', claim = null, holder = null, due = $1, changed = $1, \
                     attempts = attempts - 1 where claim = $2 and state = 'running' returning lane",
                )
                .bind(now)
                .bind(claim)
                .fetch_all(c)
                .await?
            });
            count += lanes.len() as u64;
            for (lane,) in lanes {
                self.tally.add(&connection, &lane, "running", -1);
                self.tally.add(&connection, &lane, "ready", 1);
            }
        }
        Ok(count)
    }
}

#[derive(FromRow)]
struct Orphan {
    id: Uuid,
    connection: String,
    lane: String,
    subject: Option<String>,
    state: String,
    attempts: i64,
    deaths: i64,
}
