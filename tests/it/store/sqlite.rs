//! What only SQLite has: one process per file, and the settings that make a commit durable.

use fluent_connector::clock::Clock;
use fluent_connector::store::Error;

use super::{Bench, message};
use crate::database::{Database, START, on_sqlite};

on_sqlite!(a_file_belongs_to_one_process, commits_are_durable, a_file_is_opened_again);

async fn a_file_belongs_to_one_process(database: Database) {
    let bench = Bench::new(database.clone()).await;
    let second = database.try_open(&bench.clock).await.err();
    let Some(Error::Unusable(sentence)) = second else { panic!("{second:?}") };
    let file = database.folder.path().join("connector.db");
    assert_eq!(
        sentence,
        format!(
            "another process uses {}; SQLite allows one. Stop it first, or use Postgres for several",
            file.display()
        )
    );
    bench.put(message("the first goes on")).await;
}

async fn commits_are_durable(database: Database) {
    let bench = Bench::new(database).await;
    let pragmas = bench
        .write(|tx| {
            Box::pin(async move {
                let fluent_connector::store::Db::Sqlite(connection) = &mut **tx else { panic!("not SQLite") };
                let journal: String = sqlx::query_scalar("pragma journal_mode").fetch_one(&mut **connection).await?;
                let synchronous: i64 = sqlx::query_scalar("pragma synchronous").fetch_one(&mut **connection).await?;
                let keys: i64 = sqlx::query_scalar("pragma foreign_keys").fetch_one(&mut **connection).await?;
                let version: String =
                    sqlx::query_scalar("select sqlite_version()").fetch_one(&mut **connection).await?;
                Ok((journal, synchronous, keys, version))
            })
        })
        .await
        .unwrap();
    assert_eq!((pragmas.0.as_str(), pragmas.1, pragmas.2), ("wal", 2, 1), "synchronous 2 = FULL");
    let version: Vec<u32> = pragmas.3.split('.').map(|part| part.parse().unwrap()).collect();
    assert!(version >= vec![3, 51, 3], "{version:?}");
    let mut reader = bench.store.read().await.unwrap();
    let fluent_connector::store::Db::Sqlite(connection) = &mut reader else { panic!("not SQLite") };
    let refused = sqlx::query("delete from message").execute(&mut **connection).await.unwrap_err();
    assert!(refused.to_string().contains("readonly"), "{refused}");
}

async fn a_file_is_opened_again(database: Database) {
    let clock = Clock::simulated(START);
    let first = database.open(&clock).await;
    first.put(vec![message("a")]).await.unwrap();
    drop(first);
    let again = database.open(&clock).await;
    assert_eq!(again.read().await.unwrap().active(START).await.unwrap(), 1);
}
