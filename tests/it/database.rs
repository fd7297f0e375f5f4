//! A database of one's own for each test, on SQLite and on Postgres.
//!
//! `on_both!(name, …)` turns the function `name` into the tests `name::sqlite` and `name::postgres`.
//! Postgres is the server that `FLUENT_CONNECTOR_TEST_POSTGRES` names; without it those tests say
//! that they were left out, and under CI they fail.

use std::future::Future;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;
use std::time::Duration;

use fluent_connector::clock::{Clock, Millis};
use fluent_connector::store::{Options, Result, Store, Urgency};
use futures_util::FutureExt;
use sqlx::{Connection, PgConnection, SqliteConnection};
use tempfile::TempDir;
use uuid::Uuid;

use crate::summary;

/// When the simulated clocks of these tests start.
pub const START: i64 = 1_781_517_600_000;

/// Makes the tests `<name>::sqlite` and `<name>::postgres` of each function `async fn name(Database)`.
macro_rules! on_both {
    ($($name:ident),* $(,)?) => {$(
        mod $name {
            #[test]
            fn sqlite() {
                $crate::database::run($crate::database::Engine::Sqlite, super::$name);
            }
            #[test]
            fn postgres() {
                $crate::database::run($crate::database::Engine::Postgres, super::$name);
            }
        }
    )*};
}
pub(crate) use on_both;

/// Makes of each story `async fn name(engine: Engine)` the tests `name::sqlite` and `name::postgres`.
#[macro_export]
macro_rules! on_both_databases {
    ($($name:ident),* $(,)?) => {$(
        mod $name {
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                super::$name($crate::database::Engine::Sqlite).await;
            }
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                super::$name($crate::database::Engine::Postgres).await;
            }
        }
    )*};
}

/// Makes the test `<name>::postgres` of each function `async fn name(Database)`.
macro_rules! on_postgres {
    ($($name:ident),* $(,)?) => {$(
        mod $name {
            #[test]
            fn postgres() {
                $crate::database::run($crate::database::Engine::Postgres, super::$name);
            }
        }
    )*};
}
pub(crate) use on_postgres;

/// Makes the test `<name>::sqlite` of each function `async fn name(Database)`.
macro_rules! on_sqlite {
    ($($name:ident),* $(,)?) => {$(
        mod $name {
            #[test]
            fn sqlite() {
                $crate::database::run($crate::database::Engine::Sqlite, super::$name);
            }
        }
    )*};
}
pub(crate) use on_sqlite;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    Sqlite,
    Postgres,
}

/// An empty database; clones are the same one.
#[derive(Clone)]
pub struct Database {
    pub engine: Engine,
    pub url: String,
    /// A folder of its own; goes with the last clone.
    pub folder: Arc<TempDir>,
}

/// Runs a test on a fresh database and removes that afterwards, however the test ends.
pub fn run<F, A>(engine: Engine, test: F)
where
    F: FnOnce(Database) -> A,
    A: Future<Output = ()>,
{
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let Some(database) = Database::new(engine).await else { return };
        let ended = AssertUnwindSafe(test(database.clone())).catch_unwind().await;
        database.remove().await;
        if let Err(panic) = ended {
            resume_unwind(panic);
        }
    });
}

/// Address of the Postgres server, if there is one.
fn server() -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "scripts/test names the server to the tests, not to the connector")]
    let (server, ci) = (std::env::var("FLUENT_CONNECTOR_TEST_POSTGRES").ok(), std::env::var_os("CI"));
    if server.is_none() {
        assert!(ci.is_none(), "FLUENT_CONNECTOR_TEST_POSTGRES names no server; in CI nothing may be left out");
        let test = std::thread::current().name().unwrap_or_default().to_owned();
        summary::note(&format!("LEFT OUT, FLUENT_CONNECTOR_TEST_POSTGRES names no server: {test}"));
    }
    server
}

impl Database {
    /// `None` if the engine is not at hand; CI always has it.
    pub async fn new(engine: Engine) -> Option<Self> {
        if engine == Engine::Sqlite {
            return Some(Self::sqlite());
        }
        let server = server()?;
        let name = format!("test_{}", Uuid::now_v7().simple());
        administer(&server, format!("create database {name}")).await;
        let url = format!("{}/{name}", server.rsplit_once('/').expect("an address names a database").0);
        Some(Self { engine, url, folder: Arc::new(tempfile::tempdir().unwrap()) })
    }

    /// An empty SQLite database.
    pub fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("connector.db").display());
        Self { engine: Engine::Sqlite, url, folder: Arc::new(folder) }
    }

    async fn remove(self) {
        if self.engine == Engine::Postgres
            && let Some(server) = server()
        {
            administer(&server, format!("drop database {} with (force)", self.name())).await;
        }
    }

    /// Name of the Postgres database.
    pub fn name(&self) -> &str {
        self.url.rsplit_once('/').expect("an address names a database").1
    }

    pub fn options(&self) -> Options {
        Options {
            url: self.url.clone(),
            pool: 16,
            rows: 256,
            migrate: true,
            answer_within: Duration::from_secs(10),
            disk_reserve: 0,
        }
    }

    pub async fn open(&self, clock: &Clock) -> Store {
        self.try_open(clock).await.unwrap()
    }

    pub async fn try_open(&self, clock: &Clock) -> Result<Store> {
        Store::open(self.options(), clock.clone()).await
    }

    /// Another daemon's handle to the same database: its own pool on Postgres, the same file's only
    /// handle on SQLite.
    pub async fn second(&self, first: &Store, clock: &Clock) -> Store {
        match self.engine {
            Engine::Sqlite => first.clone(),
            Engine::Postgres => self.open(clock).await,
        }
    }

    /// Runs statements past the store.
    pub async fn execute(&self, statements: &str) {
        let statements = sqlx::AssertSqlSafe(statements.to_owned());
        match self.engine {
            Engine::Sqlite => {
                let mut connection = SqliteConnection::connect(&self.url).await.unwrap();
                sqlx::raw_sql(statements).execute(&mut connection).await.unwrap();
                connection.close().await.unwrap();
            }
            Engine::Postgres => {
                let mut connection = PgConnection::connect(&self.url).await.unwrap();
                sqlx::raw_sql(statements).execute(&mut connection).await.unwrap();
                connection.close().await.unwrap();
            }
        }
    }

    /// Reads rows of texts past the store.
    pub async fn rows<T>(&self, statement: &str) -> Vec<T>
    where
        T: for<'r> sqlx::FromRow<'r, sqlx::sqlite::SqliteRow>
            + for<'r> sqlx::FromRow<'r, sqlx::postgres::PgRow>
            + Send
            + Unpin,
    {
        let statement = sqlx::AssertSqlSafe(statement.to_owned());
        match self.engine {
            Engine::Sqlite => {
                let mut connection = SqliteConnection::connect(&self.url).await.unwrap();
                sqlx::query_as(statement).fetch_all(&mut connection).await.unwrap()
            }
            Engine::Postgres => {
                let mut connection = PgConnection::connect(&self.url).await.unwrap();
                sqlx::query_as(statement).fetch_all(&mut connection).await.unwrap()
            }
        }
    }

    /// From now on the database refuses messages with the key `bad`.
    pub async fn refuse_bad_keys(&self) {
        self.execute(match self.engine {
            Engine::Sqlite => {
                "create trigger bad before insert on message when new.key = 'bad' begin select raise(abort, 'bad key'); end"
            }
            Engine::Postgres => "alter table message add constraint bad check (key <> 'bad')",
        })
        .await;
    }
}

/// Keeps everybody from writing messages until it is released.
pub enum Lock {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Database {
    pub async fn lock(&self) -> Lock {
        match self.engine {
            Engine::Sqlite => {
                let mut connection = SqliteConnection::connect(&self.url).await.unwrap();
                sqlx::raw_sql("begin immediate").execute(&mut connection).await.unwrap();
                Lock::Sqlite(connection)
            }
            Engine::Postgres => {
                let mut connection = PgConnection::connect(&self.url).await.unwrap();
                let statements = "begin; lock table message in share row exclusive mode";
                sqlx::raw_sql(statements).execute(&mut connection).await.unwrap();
                Lock::Postgres(connection)
            }
        }
    }
}

impl Lock {
    pub async fn release(self) {
        match self {
            Self::Sqlite(connection) => connection.close().await.unwrap(),
            Self::Postgres(connection) => connection.close().await.unwrap(),
        }
    }
}

async fn administer(server: &str, statement: String) {
    let mut connection = PgConnection::connect(server).await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

/// A daemon of an instance of its own, that lives.
pub async fn register(store: &Store, daemon: Uuid) {
    let instance = daemon.to_string();
    let lease = store
        .write(Urgency::Urgent, move |tx| async move { tx.take_lease(&instance, daemon, Millis::MAX).await }.boxed());
    lease.await.unwrap();
}
