//! A fresh database per test, on either engine.

use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tempfile::TempDir;

/// Which engine a test runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    Sqlite,
    Postgres,
}

/// An empty database of the test's own.
pub struct Database {
    pub url: String,
    pub folder: TempDir,
}

impl Database {
    /// `None` if the engine is not at hand; CI always has it.
    pub async fn new(engine: Engine) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let url = match engine {
            Engine::Sqlite => format!("sqlite://{}", folder.path().join("connector.db").display()),
            Engine::Postgres => create(&server()?).await,
        };
        Some(Self { url, folder })
    }
}

fn server() -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "scripts/test hands the server over in the environment")]
    let (server, ci) = (std::env::var("FLUENT_CONNECTOR_TEST_POSTGRES").ok(), std::env::var("CI").is_ok());
    assert!(server.is_some() || !ci, "CI has no Postgres: FLUENT_CONNECTOR_TEST_POSTGRES is not set");
    if server.is_none() {
        crate::summary::note("SKIPPED on Postgres: FLUENT_CONNECTOR_TEST_POSTGRES is not set; run scripts/test");
    }
    server
}

/// The server lives as long as the test run, so nobody has to drop the databases.
async fn create(server: &str) -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let name = format!("story_{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::SeqCst));
    let mut connection = PgConnection::connect(server).await.unwrap();
    let create = format!("create database {name}");
    sqlx::raw_sql(AssertSqlSafe(create)).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let (base, query) = server.split_once('?').unwrap_or((server, ""));
    let (base, _) = base.rsplit_once('/').unwrap();
    format!("{base}/{name}{}{query}", if query.is_empty() { "" } else { "?" })
}

/// Makes of each `async fn name(engine: Engine)` the tests `name::sqlite` and `name::postgres`.
#[macro_export]
macro_rules! on_both_databases {
    ($($name:ident),* $(,)?) => {
        $(
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
        )*
    };
}
