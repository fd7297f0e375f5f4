//! Opening a database: options, the lock file, migrations, the writer task.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use secrecy::ExposeSecret;
use sqlx::Connection;
use sqlx::migrate::{self, MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use tokio::sync::mpsc;

use super::bell::Bell;
use super::disk::Disk;
use super::line::Lines;
use super::{Db, Error, Inner, Pools, Result, Store, trouble, writer};
use crate::clock::Clock;
use crate::config::model::{Database, Migrate};

static SQLITE: Migrator = sqlx::migrate!("migrations/sqlite");
static POSTGRES: Migrator = sqlx::migrate!("migrations/postgres");

/// Oldest SQLite whose WAL is known to be sound (`dependencies.md`).
const SQLITE_AT_LEAST: (u32, u32, u32) = (3, 51, 3);
/// Writes waiting for the writer; beyond it intake answers 503.
const QUEUE: usize = 4096;

/// How to open a store.
#[derive(Clone, Debug)]
pub struct Options {
    /// `sqlite:///path/file.db` or `postgres://user:password@host/database`.
    pub url: String,
    /// Postgres connections.
    pub pool: u32,
    /// Most jobs of one group commit.
    pub rows: usize,
    /// Run pending migrations; otherwise a schema that is behind is an error.
    pub migrate: bool,
    /// How long Postgres may take for a statement; then its connection is closed.
    pub answer_within: Duration,
    /// Below so many free bytes on the disk of a SQLite file nothing is taken in.
    pub disk_reserve: u64,
}

/// As [`Options::answer_within`], unless a test asks for less. Well below the lease, which must be
/// renewed on a new connection in time.
const ANSWER: Duration = Duration::from_secs(10);
/// A connection that was given back less than this ago is taken as it is.
const FRESH: Duration = Duration::from_secs(1);
/// After this long Postgres ends a transaction that it hears nothing more of; its locks go with it.
const FORSAKEN: &str = "set idle_in_transaction_session_timeout = '30s'";

impl Options {
    /// As configured; reads the password.
    ///
    /// # Errors
    /// [`Error::Unusable`] if the password cannot be read or put into the URL.
    pub async fn of(database: &Database) -> Result<Self> {
        let mut url = database.url.clone();
        if let Some(password) = &database.password {
            let unusable = |why: String| Error::Unusable(format!("database.password {why}"));
            let password = password.read().await.map_err(|problem| unusable(problem.to_string()))?;
            let mut parsed =
                reqwest::Url::parse(&url).map_err(|error| Error::Unusable(format!("database.url: {error}")))?;
            if parsed.password().is_none() && parsed.set_password(Some(password.expose_secret())).is_err() {
                return Err(unusable("is given, but database.url takes none".into()));
            }
            url = parsed.into();
        }
        let (pool, rows, disk_reserve) = (database.pool, database.group_commit.rows, database.disk_reserve.0);
        let migrate = database.migrate == Migrate::Auto;
        Ok(Self { url, pool, rows, migrate, answer_within: ANSWER, disk_reserve })
    }
}

impl Store {
    /// Opens the database, brings its schema up to date and starts the writer.
    ///
    /// # Errors
    /// [`Error::Unusable`] if another process uses the SQLite file, the engine is too old, or the
    /// schema is newer than this binary knows.
    pub async fn open(options: Options, clock: Clock) -> Result<Store> {
        match options.url.split_once(':').map(|(scheme, _)| scheme) {
            Some("sqlite") => Self::open_sqlite(options, clock).await,
            Some("postgres" | "postgresql") => Self::open_postgres(options, clock).await,
            _ => Err(Error::Unusable(format!(
                "database.url is {:?}; write sqlite:///path/file.db or postgres://user@host/database",
                options.url
            ))),
        }
    }

    async fn open_sqlite(options: Options, clock: Clock) -> Result<Store> {
        let connect = SqliteConnectOptions::from_str(&options.url)?
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(5))
            .pragma("journal_size_limit", "67108864");
        let lock = lock(connect.get_filename())?;
        let folder = connect.get_filename().canonicalize().ok().and_then(|file| Some(file.parent()?.to_owned()));
        // A file does not go away between two statements: nobody need ask before each.
        let pool = || SqlitePoolOptions::new().test_before_acquire(false);
        let writing = pool().max_connections(1).connect_with(connect.clone()).await?;
        let version: String = sqlx::query_scalar("select sqlite_version()").fetch_one(&writing).await?;
        if numbers(&version) < SQLITE_AT_LEAST {
            return Err(Error::Unusable(format!("SQLite {version} is too old; 3.51.3 or newer is needed")));
        }
        if !options.migrate {
            up_to_date(&SQLITE, &mut *writing.acquire().await?).await?;
        }
        SQLITE.run(&writing).await.map_err(schema)?;
        let read = pool().max_connections(4).connect_with(connect.read_only(true)).await?;
        let disk = Disk::new(folder, options.disk_reserve);
        Ok(Self::start(Pools::Sqlite { read }, writer::Source::Sqlite(writing), options.rows, clock, disk, Some(lock)))
    }

    async fn open_postgres(options: Options, clock: Clock) -> Result<Store> {
        let connect = PgConnectOptions::from_str(&options.url)?.application_name("fluent-connector");
        let patience = options.answer_within;
        let pool = PgPoolOptions::new()
            .max_connections(options.pool)
            .acquire_timeout(patience.min(Duration::from_secs(5)))
            .after_connect(|connection, _| {
                Box::pin(async move { sqlx::raw_sql(FORSAKEN).execute(connection).await.map(|_| ()) })
            })
            .test_before_acquire(false)
            // One that was used a moment ago is there; its first statement would tell otherwise.
            .before_acquire(|connection, use_| {
                Box::pin(async move {
                    if use_.idle_for > FRESH {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            // A connection that comes back inside a transaction would swallow the next borrower's
            // commit; this ends whatever is open and is quiet when nothing is.
            .after_release(move |connection, _| {
                Box::pin(async move {
                    let freed = sqlx::raw_sql("begin; rollback").execute(&mut *connection);
                    tokio::time::timeout(patience, freed).await.map_err(|_| sqlx::Error::PoolTimedOut)??;
                    Ok(true)
                })
            })
            .connect_with(connect)
            .await?;
        if !options.migrate {
            up_to_date(&POSTGRES, &mut *pool.acquire().await?).await?;
        }
        POSTGRES.run(&pool).await.map_err(schema)?;
        let lines = Lines { pool, patience };
        let disk = Disk::new(None, 0);
        Ok(Self::start(
            Pools::Postgres(lines.clone()),
            writer::Source::Postgres(lines),
            options.rows,
            clock,
            disk,
            None,
        ))
    }

    fn start(pools: Pools, source: writer::Source, rows: usize, clock: Clock, disk: Disk, lock: Option<File>) -> Store {
        let (writer, urgent) = mpsc::channel(QUEUE);
        let (bulk, patient) = mpsc::channel(QUEUE);
        let due = Arc::new(Bell::default());
        let watch = trouble::Watch::new(clock.clone());
        writer::start(source, urgent, patient, rows, due.clone(), clock.clone(), watch.clone());
        Store(Arc::new(Inner { pools, writer, bulk, shard: AtomicI64::new(0), due, clock, watch, disk, _lock: lock }))
    }
}

impl Db {
    /// Proves that the store answers; for readiness.
    pub async fn ping(&mut self) -> Result<()> {
        super::on!(self, |c| sqlx::query("select 1").execute(c).await.map(|_| ()))?;
        Ok(())
    }
}

fn lock(file: &Path) -> Result<File> {
    let path = PathBuf::from(format!("{}.lock", file.display()));
    let unusable = |error| Error::Unusable(format!("{} cannot be opened: {error}", path.display()));
    let lock = File::options().create(true).truncate(false).write(true).open(&path).map_err(unusable)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(Error::Unusable(format!(
            "another process uses {}; SQLite allows one. Stop it first, or use Postgres for several",
            file.display()
        ))),
        Err(TryLockError::Error(error)) => Err(unusable(error)),
    }
}

/// An error if a migration is still to be run.
async fn up_to_date(migrator: &Migrator, connection: &mut impl migrate::Migrate) -> Result<()> {
    connection.ensure_migrations_table(&migrator.table_name).await.map_err(schema)?;
    let applied = connection.list_applied_migrations(&migrator.table_name).await.map_err(schema)?;
    let is_applied = |version| applied.iter().any(|applied| applied.version == version);
    match migrator.iter().find(|migration| !is_applied(migration.version)) {
        None => Ok(()),
        Some(behind) => Err(Error::Unusable(format!(
            "the database lacks schema version {} and database.migrate is manual; run `database migrate` first",
            behind.version
        ))),
    }
}

fn schema(error: MigrateError) -> Error {
    Error::Unusable(match error {
        MigrateError::VersionMissing(version) => {
            format!("the database has schema version {version}, which this binary does not know; use the newer binary")
        }
        other => format!("the schema could not be brought up to date: {other}"),
    })
}

fn numbers(version: &str) -> (u32, u32, u32) {
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    let mut next = || parts.next().unwrap_or(0);
    (next(), next(), next())
}
