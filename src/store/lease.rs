//! Table `lease`: which daemons live. Each daemon renews its own row; what a dead one held is free
//! again. `until` is by the clock of whose lease it is, and two machines never agree on the time: to
//! the others it is a mark that moves while its owner lives. An instance (host and admin socket) has
//! one daemon at a time, so a restart takes over at once instead of waiting for the lease of its
//! predecessor to run out.

use sqlx::{FromRow, QueryBuilder};
use uuid::Uuid;

use super::{Db, Error, Result, Tx, on};
use crate::clock::Millis;

/// A daemon's word that it lives.
#[derive(Clone, Debug, FromRow, PartialEq, Eq)]
pub struct Lease {
    pub daemon: Uuid,
    /// Until when it means to renew, by its own clock.
    pub until: Millis,
}

impl Tx {
    /// Registers `daemon` for `instance` until `until`; answers the daemon it replaces.
    pub async fn take_lease(&mut self, instance: &str, daemon: Uuid, until: Millis) -> Result<Option<Uuid>> {
        let now = self.clock.now();
        let before: Uuid = on!(&mut self.db, |c| {
            // Changes nothing in a row that is there, but locks it: of two starts at once the second
            // waits, and then sees the first.
            sqlx::query_scalar(
                "insert into lease (instance, daemon, until, started) values ($1, $2, $3, $4) \
                 on conflict (instance) do update set instance = excluded.instance returning daemon",
            )
            .bind(instance)
            .bind(daemon)
            .bind(until)
            .bind(now)
            .fetch_one(&mut *c)
            .await?
        });
        on!(&mut self.db, |c| {
            sqlx::query("update lease set daemon = $1, until = $2, started = $3 where instance = $4")
                .bind(daemon)
                .bind(until)
                .bind(now)
                .bind(instance)
                .execute(c)
                .await?
                .rows_affected()
        });
        Ok((before != daemon).then_some(before))
    }

    /// Renews the lease of `daemon`.
    ///
    /// # Errors
    /// [`Error::Fenced`] if it ran out and was cleared by another daemon.
    pub async fn renew_lease(&mut self, daemon: Uuid, until: Millis) -> Result<()> {
        let renewed = on!(&mut self.db, |c| {
            sqlx::query("update lease set until = $1 where daemon = $2")
                .bind(until)
                .bind(daemon)
                .execute(c)
                .await?
                .rows_affected()
        });
        if renewed == 1 { Ok(()) } else { Err(Error::Fenced { subject: format!("daemon {daemon}") }) }
    }

    /// Has this daemon its lease? Nobody takes that away before this transaction ends: whoever frees what a dead
    /// daemon held must see everything that it claimed, also what it claims at this moment.
    pub(super) async fn keep_lease(&mut self, daemon: Uuid) -> Result<bool> {
        let locked = self.db.locking(" for share");
        let kept: Option<Uuid> = on!(&mut self.db, |c| {
            let mut select = QueryBuilder::new("select daemon from lease where daemon = ");
            select.push_bind(daemon).push(locked);
            select.build_query_scalar().fetch_optional(c).await?
        });
        Ok(kept.is_some())
    }

    /// Removes the lease of a daemon that did not renew it; `false` if it did, after all, or is claiming just now.
    pub async fn bury(&mut self, dead: &Lease) -> Result<bool> {
        let locked = self.db.locking(" for update skip locked");
        Ok(on!(&mut self.db, |c| {
            let mut delete = QueryBuilder::new("delete from lease where daemon in (select daemon from lease");
            delete.push(" where daemon = ").push_bind(dead.daemon).push(" and until = ").push_bind(dead.until);
            delete.push(locked).push(")");
            delete.build().execute(c).await?.rows_affected()
        }) == 1)
    }

    /// Gives up the lease of `daemon`: a clean stop.
    pub async fn drop_lease(&mut self, daemon: Uuid) -> Result<()> {
        on!(&mut self.db, |c| sqlx::query("delete from lease where daemon = $1")
            .bind(daemon)
            .execute(c)
            .await?
            .rows_affected());
        Ok(())
    }
}

impl Db {
    /// The leases of all daemons.
    pub async fn leases(&mut self) -> Result<Vec<Lease>> {
        Ok(on!(self, |c| sqlx::query_as("select daemon, until from lease").fetch_all(c).await?))
    }

    /// How many daemons live; each takes its part of a remote's budget.
    pub async fn live_daemons(&mut self) -> Result<i64> {
        Ok(on!(self, |c| sqlx::query_scalar("select count(*) from lease").fetch_one(c).await?))
    }
}
