//! Table `setting`: named values that must survive a restart, such as the moment from which a
//! connection takes orders.

use super::{Db, Result, Tx, on};

impl Tx {
    /// Stores `value` unless the name has one already; answers the value in force.
    pub async fn setting_or(&mut self, connection: &str, name: &str, value: &str) -> Result<String> {
        let now = self.clock.now();
        on!(&mut self.db, |c| {
            sqlx::query(
                "insert into setting (connection, name, value, changed) values ($1, $2, $3, $4) \
                 on conflict (connection, name) do nothing",
            )
            .bind(connection)
            .bind(name)
            .bind(value)
            .bind(now)
            .execute(c)
            .await?
            .rows_affected()
        });
        Ok(self.setting(connection, name).await?.unwrap_or_else(|| value.to_owned()))
    }

    /// Stores `value` in place of the one in force.
    pub async fn put_setting(&mut self, connection: &str, name: &str, value: &str) -> Result<()> {
        let now = self.clock.now();
        on!(&mut self.db, |c| {
            sqlx::query(
                "insert into setting (connection, name, value, changed) values ($1, $2, $3, $4) \
                 on conflict (connection, name) do update set value = excluded.value, changed = excluded.changed",
            )
            .bind(connection)
            .bind(name)
            .bind(value)
            .bind(now)
            .execute(c)
            .await?
            .rows_affected()
        });
        Ok(())
    }

    /// Writes a row of no meaning: done when the disk has it, the store takes writes.
    pub async fn prove_writable(&mut self) -> Result<()> {
        self.put_setting("", "writable", "yes").await
    }
}

impl Db {
    /// A named value.
    pub async fn setting(&mut self, connection: &str, name: &str) -> Result<Option<String>> {
        Ok(on!(self, |c| {
            sqlx::query_scalar("select value from setting where connection = $1 and name = $2")
                .bind(connection)
                .bind(name)
                .fetch_optional(c)
                .await?
        }))
    }
}
