//! The two schemas are one: same files, tables, columns, nullability and indices; and a database that
//! is ahead or behind is refused with a sentence.

use std::collections::BTreeMap;
use std::path::Path;

use fluent_connector::clock::Clock;
use fluent_connector::store::{Error, Options, Store};

use crate::database::{Database, Engine, START, on_both, on_postgres};

on_both!(a_newer_schema_is_refused, a_schema_that_is_behind_is_refused_when_migrating_is_off);
on_postgres!(both_schemas_are_the_same);

/// Table → column → may it be null?
type Tables = BTreeMap<String, BTreeMap<String, bool>>;
/// Index → table, unique, columns, condition.
type Indices = BTreeMap<String, (String, bool, Vec<String>, Option<String>)>;

async fn both_schemas_are_the_same(postgres: Database) {
    let sqlite = Database::sqlite();
    for database in [&sqlite, &postgres] {
        database.open(&Clock::simulated(START)).await;
    }
    let (ours, theirs) = (sqlite_tables(&sqlite).await, postgres_tables(&postgres).await);
    assert!(ours.len() >= 9, "{ours:?}");
    assert_eq!(ours, theirs);
    let (ours, theirs) = (sqlite_indices(&sqlite).await, postgres_indices(&postgres).await);
    assert!(ours.len() >= 10, "{ours:?}");
    assert_eq!(ours, theirs);
}

#[test]
fn both_databases_have_the_same_migrations() {
    let names = |folder: &str| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(folder);
        let mut names: Vec<String> =
            folder.read_dir().unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    assert!(!names("sqlite").is_empty());
    assert_eq!(names("sqlite"), names("postgres"));
}

async fn sqlite_tables(database: &Database) -> Tables {
    // A primary key is not null by its type in a table without rowid, and by declaration otherwise.
    let columns: Vec<(String, String, bool)> = database
        .rows(
            "select t.name, c.name, c.\"notnull\" = 0 and c.pk = 0 from sqlite_schema t, pragma_table_info(t.name) c \
             where t.type = 'table' and t.name not like 'sqlite!_%' escape '!' and t.name not like '!_sqlx%' escape '!'",
        )
        .await;
    gathered(columns)
}

async fn postgres_tables(database: &Database) -> Tables {
    let columns: Vec<(String, String, bool)> = database
        .rows(
            "select table_name::text, column_name::text, is_nullable = 'YES' from information_schema.columns \
             where table_schema = 'public' and table_name not like '\\_sqlx%'",
        )
        .await;
    gathered(columns)
}

fn gathered(columns: Vec<(String, String, bool)>) -> Tables {
    let mut tables = Tables::new();
    for (table, column, nullable) in columns {
        tables.entry(table).or_default().insert(column, nullable);
    }
    tables
}

async fn sqlite_indices(database: &Database) -> Indices {
    let rows: Vec<(String, String, bool, String, String, Option<String>)> = database
        .rows(
            "select i.name, t.name, i.\"unique\" = 1, i.origin, c.name, s.sql from sqlite_schema t, \
             pragma_index_list(t.name) i, pragma_index_info(i.name) c left join sqlite_schema s on s.name = i.name \
             where t.type = 'table' and t.name not like '!_sqlx%' escape '!' order by i.name, c.seqno",
        )
        .await;
    let mut indices = Indices::new();
    for (name, table, unique, origin, column, sql) in rows {
        let name = if origin == "pk" { format!("{table}_pkey") } else { name };
        let condition = sql.and_then(|sql| Some(plain(sql.split_once(" where ")?.1)));
        indices.entry(name).or_insert((table, unique, Vec::new(), condition)).2.push(column);
    }
    indices
}

async fn postgres_indices(database: &Database) -> Indices {
    let rows: Vec<(String, String, bool, String, Option<String>)> = database
        .rows(
            "select i.relname::text, t.relname::text, x.indisunique, a.attname::text, pg_get_expr(x.indpred, x.indrelid) \
             from pg_index x join pg_class i on i.oid = x.indexrelid join pg_class t on t.oid = x.indrelid \
             join pg_namespace n on n.oid = t.relnamespace \
             join lateral unnest(x.indkey) with ordinality k(attnum, at) on true \
             join pg_attribute a on a.attrelid = t.oid and a.attnum = k.attnum \
             where n.nspname = 'public' and t.relname not like '\\_sqlx%' order by i.relname, k.at",
        )
        .await;
    let mut indices = Indices::new();
    for (name, table, unique, column, condition) in rows {
        let condition = condition.as_deref().map(plain);
        indices.entry(name).or_insert((table, unique, Vec::new(), condition)).2.push(column);
    }
    indices
}

/// A condition without what each database writes in its own way.
fn plain(condition: &str) -> String {
    let condition = condition.replace("::text", "").replace("= ANY (ARRAY[", "in (").replace("])", ")");
    condition.to_lowercase().chars().filter(|c| !matches!(c, '(' | ')' | ' ' | '[' | ']')).collect()
}

async fn a_newer_schema_is_refused(database: Database) {
    let clock = Clock::simulated(START);
    drop(database.open(&clock).await);
    let checksum = match database.engine {
        Engine::Sqlite => "x'00'",
        Engine::Postgres => "'\\x00'::bytea",
    };
    database
        .execute(&format!(
            "insert into _sqlx_migrations (version, description, success, checksum, execution_time) \
             values (9999, 'of tomorrow', true, {checksum}, 1)"
        ))
        .await;
    let refused = database.try_open(&clock).await.err();
    let Some(Error::Unusable(sentence)) = refused else { panic!("{refused:?}") };
    assert!(sentence.contains("9999") && sentence.contains("newer binary"), "{sentence}");
}

async fn a_schema_that_is_behind_is_refused_when_migrating_is_off(database: Database) {
    let clock = Clock::simulated(START);
    let manual = || Options { migrate: false, ..database.options() };
    let refused = Store::open(manual(), clock.clone()).await.err();
    let Some(Error::Unusable(sentence)) = refused else { panic!("{refused:?}") };
    assert!(sentence.contains("database migrate"), "{sentence}");
    drop(database.open(&clock).await);
    let store = Store::open(manual(), clock.clone()).await.unwrap();
    store.put(vec![super::message("a")]).await.unwrap();
}
