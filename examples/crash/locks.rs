//! Postgres: every change of a subject's lock, as a trigger of the harness sees it. With it the
//! checker finds commits of a daemon that no longer held what it freed (architecture: Fencing).
//!
//! Each daemon is told apart by a parameter of its sessions, `crash.daemon`.

use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};

/// Creates and drops databases.
pub async fn administer(server: String, create: Option<String>, drop: Option<String>) -> anyhow::Result<()> {
    let mut connection = PgConnection::connect(&server).await?;
    let create = create.map(|name| format!("create database {name}"));
    for statement in create.into_iter().chain(drop.map(|name| format!("drop database {name} with (force)"))) {
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await?;
    }
    connection.close().await?;
    Ok(())
}

/// To be called once the tables are there.
pub async fn watch(url: &str) -> anyhow::Result<()> {
    let mut connection = PgConnection::connect(url).await?;
    sqlx::raw_sql(
        "create table crash_locks (number bigserial primary key, daemon text, name text, old_holder uuid, \
         new_holder uuid, old_token bigint, new_token bigint); \
         create function crash_lock() returns trigger language plpgsql as $$ begin \
         insert into crash_locks (daemon, name, old_holder, new_holder, old_token, new_token) values \
         (coalesce(current_setting('crash.daemon', true), ''), new.name, old.holder, new.holder, old.token, new.token); \
         return null; end $$; \
         create trigger crash_lock after update on subject for each row execute function crash_lock();",
    )
    .execute(&mut connection)
    .await?;
    connection.close().await?;
    Ok(())
}

/// All of them, in their order.
pub async fn seen(url: &str) -> anyhow::Result<Value> {
    let mut connection = PgConnection::connect(url).await?;
    let rows = sqlx::query(
        "select daemon, name, old_holder::text, new_holder::text, old_token, new_token from crash_locks order by number",
    )
    .fetch_all(&mut connection)
    .await?;
    connection.close().await?;
    let mut seen = Vec::new();
    for row in rows {
        seen.push(json!({
            "daemon": row.try_get::<String, _>(0)?, "name": row.try_get::<String, _>(1)?,
            "old_holder": row.try_get::<Option<String>, _>(2)?, "new_holder": row.try_get::<Option<String>, _>(3)?,
            "old_token": row.try_get::<i64, _>(4)?, "new_token": row.try_get::<i64, _>(5)?,
        }));
    }
    Ok(seen.into())
}
