//! What retention removes and what it leaves, that the counters follow, and that a copy of what was
//! removed is still a duplicate.

use std::time::Duration;

use fluent_connector::store::{AttemptPlace, Ending, New, Put};
use futures_util::FutureExt;
use sqlx::Connection;
use uuid::Uuid;

use super::{Bench, message, of};
use crate::database::{Database, Engine, START, on_both, on_postgres, on_sqlite};

on_both!(
    old_messages_go_in_batches_and_the_balance_closes,
    open_work_never_goes,
    a_copy_of_a_pruned_message_is_a_duplicate,
    keys_are_forgotten_in_their_time,
    keys_of_ticks_are_not_kept,
    bodies_go_before_their_rows,
    attempts_go_with_their_age_but_not_those_of_open_work,
    a_subject_goes_with_its_last_message,
    a_subject_in_use_stays,
    a_stale_holder_does_not_come_back_with_its_subject,
    a_message_whose_subject_is_missing_runs,
    an_index_finds_what_goes,
);
on_sqlite!(many_puts_read_no_table);
on_postgres!(two_pruners_share_the_work);

const DAY: Duration = Duration::from_secs(86_400);

impl Bench {
    async fn prune(&self, before: i64, limit: i64) -> u64 {
        self.write(move |tx| tx.prune_messages(before, limit).boxed()).await.unwrap()
    }

    async fn prune_keys(&self, before: i64) -> u64 {
        self.write(move |tx| tx.prune_keys(before, 100).boxed()).await.unwrap()
    }

    async fn prune_bodies(&self, before: i64) -> u64 {
        self.write(move |tx| tx.prune_bodies(before, 100).boxed()).await.unwrap()
    }

    /// Puts a message and ends it.
    async fn done(&self, message: New) -> Uuid {
        let id = self.put(message).await;
        let claimed = self.one(Uuid::now_v7()).await;
        self.finish(&claimed).await.unwrap();
        id
    }

    async fn count(&self, table: &str) -> i64 {
        let rows: Vec<(i64,)> = self.database.rows(&format!("select count(*) from {table}")).await;
        rows[0].0
    }

    async fn duplicate(&self, message: New) -> bool {
        self.store.put(vec![message]).await.unwrap() == [Put::Duplicate]
    }
}

fn ended(key: impl Into<String>) -> New {
    New { ending: Some((Ending::Skipped("ignored"), "Nothing to do.".into())), ..message(key) }
}

async fn old_messages_go_in_batches_and_the_balance_closes(database: Database) {
    let bench = Bench::new(database).await;
    for n in 0..7 {
        let lane = if n % 2 == 0 { "order" } else { "status" };
        bench.put(New { lane: lane.into(), ..ended(format!("old {n}")) }).await;
    }
    bench.done(message("done")).await;
    bench.clock.advance(DAY);
    let young = bench.done(message("young")).await;
    let before = bench.now();
    let mut batches = Vec::new();
    for _ in 0..5 {
        batches.push(bench.prune(before, 3).await);
        bench.balanced().await;
    }
    assert_eq!(batches, [3, 3, 2, 0, 0]);
    assert_eq!((bench.count("message").await, bench.state(young).await.as_str()), (1, "done"));
    let tally = bench.store.read().await.unwrap().tally().await.unwrap();
    let pruned = |lane: &str| tally[&("main".to_owned(), lane.to_owned())].of("pruned");
    assert_eq!((pruned("order"), pruned("status")), (5, 3));
}

async fn open_work_never_goes(database: Database) {
    let bench = Bench::new(database).await;
    bench.put(of("parked", "parked")).await;
    bench.park(&bench.one(Uuid::now_v7()).await).await.unwrap();
    bench.put(of("waiting", "waiting")).await;
    bench.wait(&bench.one(Uuid::now_v7()).await, "customer:7", START + 1_000_000_000_000, false).await.unwrap();
    bench.put(of("running", "running")).await;
    bench.one(Uuid::now_v7()).await;
    bench.put(New { body: Some(vec![1]), ..of("ready", "ready") }).await;
    bench.clock.advance(1000 * DAY);
    let now = bench.now();
    assert_eq!((bench.prune(now, 100).await, bench.prune_bodies(now).await), (0, 0));
    assert_eq!((bench.count("message").await, bench.count("subject").await), (4, 4));
    bench.balanced().await;
}

async fn a_copy_of_a_pruned_message_is_a_duplicate(database: Database) {
    let bench = Bench::new(database).await;
    let id = bench.done(of("order:1", "k")).await;
    bench.clock.advance(DAY);
    assert_eq!(bench.prune(bench.now(), 100).await, 1);
    assert!(bench.duplicate(of("order:1", "k")).await);
    let puts = bench.store.put(vec![message("new"), of("order:1", "k"), message("newer")]).await.unwrap();
    assert!(matches!(puts[..], [Put::Accepted(_), Put::Duplicate, Put::Accepted(_)]), "{puts:?}");
    let other =
        [New { connection: "other".into(), ..message("k") }, New { route: "test.other".into(), ..message("k") }];
    for other in other {
        assert!(!bench.duplicate(other).await, "a key is one of its connection and route");
    }
    let mut db = bench.store.read().await.unwrap();
    assert_eq!(db.message_id("main", "test.thing-changed", "k").await.unwrap(), Some(id), "which one it was is known");
    drop(db);
    bench.balanced().await;
}

async fn keys_are_forgotten_in_their_time(database: Database) {
    let bench = Bench::new(database).await;
    for key in ["a", "b"] {
        bench.put(ended(key)).await;
        bench.clock.advance(DAY);
        assert_eq!(bench.prune(bench.now(), 100).await, 1);
    }
    assert_eq!(bench.prune_keys(bench.now()).await, 1, "counted from when it was pruned");
    assert!(!bench.duplicate(ended("a")).await);
    assert!(bench.duplicate(ended("b")).await);
    assert_eq!(bench.prune_keys(bench.now() + 1).await, 1);
    assert_eq!(bench.prune_keys(bench.now() + 1).await, 0);
    bench.balanced().await;
}

async fn keys_of_ticks_are_not_kept(database: Database) {
    use fluent_connector::store::Source;
    let bench = Bench::new(database).await;
    for source in [Source::Timer, Source::Operator, Source::Webhook, Source::Plain, Source::Poll, Source::Handler] {
        bench.put(New { source, ..ended(source.name()) }).await;
    }
    bench.clock.advance(DAY);
    assert_eq!(bench.prune(bench.now(), 100).await, 6);
    let mut keys: Vec<(String,)> = bench.database.rows("select key from idempotency").await;
    keys.sort();
    let keys: Vec<&str> = keys.iter().map(|(key,)| key.as_str()).collect();
    assert_eq!(keys, ["handler", "plain", "poll", "webhook"]);
}

async fn bodies_go_before_their_rows(database: Database) {
    let bench = Bench::new(database).await;
    let old = bench.done(New { body: Some(b"old".to_vec()), ..message("old") }).await;
    bench.clock.advance(DAY);
    let young = bench.done(New { body: Some(b"young".to_vec()), ..message("young") }).await;
    assert_eq!(bench.prune_bodies(bench.now()).await, 1);
    assert_eq!(bench.prune_bodies(bench.now()).await, 0, "once");
    let mut db = bench.store.read().await.unwrap();
    assert_eq!(db.message_body(old).await.unwrap(), None);
    assert_eq!(db.message_body(young).await.unwrap(), Some(b"young".to_vec()));
    drop(db);
    assert_eq!(bench.row(old).await.payload.0, message("old").payload, "what it was about stays");
    bench.balanced().await;
}

async fn attempts_go_with_their_age_but_not_those_of_open_work(database: Database) {
    let bench = Bench::new(database).await;
    let (done, parked) = (bench.done(message("done")).await, bench.put(message("parked")).await);
    bench.park(&bench.one(Uuid::now_v7()).await).await.unwrap();
    let lost = Uuid::now_v7();
    for id in [parked, done, lost] {
        for number in 1..=3 {
            bench.write(move |tx| attempt(tx, id, number)).await.unwrap();
        }
    }
    bench.clock.advance(DAY);
    bench.write(move |tx| attempt(tx, done, 4)).await.unwrap();
    let (before, mut place, mut sums) = (bench.now(), Some(AttemptPlace::START), Vec::new());
    while let Some(from) = place {
        let (count, next) = bench.write(move |tx| tx.prune_attempts(before, from, 2).boxed()).await.unwrap();
        (place, sums) = (next, [sums, vec![count]].concat());
    }
    assert_eq!(sums.iter().sum::<u64>(), 6, "{sums:?}");
    let mut db = bench.store.read().await.unwrap();
    let numbers = async |db: &mut fluent_connector::store::Db, id| -> Vec<i64> {
        db.attempts(id).await.unwrap().iter().map(|attempt| attempt.number).collect()
    };
    assert_eq!(numbers(&mut db, done).await, [4]);
    assert_eq!(numbers(&mut db, parked).await, [1, 2, 3], "why it is parked must be known");
    assert_eq!(numbers(&mut db, lost).await, [0; 0]);
    drop(db);
    bench.clock.advance(DAY);
    assert_eq!(bench.prune(bench.now(), 100).await, 1);
    assert_eq!(bench.count("attempt").await, 3, "what is left of a message goes with it");
}

fn attempt(
    tx: &mut fluent_connector::store::Tx,
    id: Uuid,
    number: i64,
) -> futures_util::future::BoxFuture<'_, fluent_connector::store::Result<()>> {
    tx.put_attempt(id, number, "retry", Some("network"), "The line is dead.").boxed()
}

async fn a_subject_goes_with_its_last_message(database: Database) {
    let bench = Bench::new(database).await;
    bench.done(of("order:1", "a")).await;
    bench.done(of("order:2", "b")).await;
    bench.clock.advance(DAY);
    bench.put(of("order:2", "open")).await;
    assert_eq!(bench.prune(bench.now(), 100).await, 2);
    let left: Vec<(String,)> = bench.database.rows("select name from subject").await;
    assert_eq!(left, [("order:2".to_owned(),)]);
    bench.put(of("order:1", "c")).await;
    let claimed = bench.claim(Uuid::now_v7(), 10).await;
    assert_eq!(claimed.len(), 2, "a subject that went comes back with its next message");
}

async fn a_subject_in_use_stays(database: Database) {
    let bench = Bench::new(database).await;
    bench.done(of("held", "a")).await;
    bench.done(of("blocked", "b")).await;
    bench.clock.advance(DAY);
    bench.put(of("blocked", "c")).await;
    bench.retry(&bench.one(Uuid::now_v7()).await, bench.now() + 1_000_000, true).await.unwrap();
    bench.put(of("held", "d")).await;
    let running = bench.one(Uuid::now_v7()).await;
    assert_eq!(bench.prune(bench.now(), 100).await, 2);
    assert_eq!(bench.count("subject").await, 2);
    bench.finish(&running).await.unwrap();
}

/// A daemon was taken for dead, its work was done by another, everything was pruned; then it claims
/// the subject anew and, with that, its old task wakes up.
async fn a_stale_holder_does_not_come_back_with_its_subject(database: Database) {
    let bench = Bench::new(database).await;
    let holder = Uuid::now_v7();
    bench.put(of("order:1", "a")).await;
    let stale = bench.one(holder).await;
    bench.reclaim(holder).await;
    let other = bench.one(Uuid::now_v7()).await;
    bench.finish(&other).await.unwrap();
    bench.clock.advance(DAY);
    assert_eq!(bench.prune(bench.now(), 100).await, 1);
    assert_eq!(bench.count("subject").await, 0);
    bench.put(of("order:1", "b")).await;
    let fresh = bench.one(holder).await;
    assert!(fresh.token > other.token && other.token > stale.token, "tokens are never used again");
    let release = stale.clone();
    let released = bench.write(move |tx| async move { tx.release(&release, None).await }.boxed()).await;
    assert!(released.is_err(), "the lock alone fences it");
    assert!(bench.finish(&stale).await.is_err());
    bench.finish(&fresh).await.unwrap();
}

/// As when a message is put while its subject is pruned.
async fn a_message_whose_subject_is_missing_runs(database: Database) {
    let bench = Bench::new(database).await;
    let id = bench.put(of("order:1", "a")).await;
    bench.database.execute("delete from subject").await;
    let claimed = bench.one(Uuid::now_v7()).await;
    bench.finish(&claimed).await.unwrap();
    assert_eq!(bench.state(id).await, "done");
}

/// Each batch reads an index in its order, so it costs what it removes, however much is kept.
async fn an_index_finds_what_goes(database: Database) {
    let bench = Bench::new(database).await;
    let statements = [
        (
            "message_ended",
            "select id from message where state in ('done', 'skipped') and changed < 7 order by changed limit 500",
        ),
        (
            "message_body",
            "select id from message where body is not null and state in ('done', 'skipped') and changed < 7 \
             order by changed limit 500",
        ),
        (
            "attempt_at",
            "select a.at, a.message, a.number from attempt a where a.at < 7 and (a.at, a.message, a.number) > \
             (1, a.message, 1) order by a.at, a.message, a.number limit 500",
        ),
        (
            "idempotency_pruned",
            "select connection, route, key from idempotency where pruned < 7 order by pruned limit 500",
        ),
    ];
    for (index, statement) in statements {
        let plan = bench.plan(statement).await;
        assert!(plan.contains(index), "{index}: {plan}");
        assert!(!plan.to_lowercase().contains("b-tree") && !plan.contains("Sort"), "{index}: {plan}");
    }
}

impl Bench {
    async fn plan(&self, statement: &str) -> String {
        match self.database.engine {
            Engine::Sqlite => {
                let rows: Vec<(String,)> = self.details(statement).await;
                rows.into_iter().map(|(line,)| line).collect::<Vec<_>>().join("\n")
            }
            Engine::Postgres => {
                // An empty table would be read as a whole, and rightly so.
                let explain = format!("explain (costs off) {statement}");
                let mut connection = sqlx::PgConnection::connect(&self.database.url).await.unwrap();
                sqlx::raw_sql(
                    "set enable_seqscan = off; set enable_bitmapscan = off; set enable_incremental_sort = off",
                )
                .execute(&mut connection)
                .await
                .unwrap();
                let rows: Vec<(String,)> =
                    sqlx::query_as(sqlx::AssertSqlSafe(explain)).fetch_all(&mut connection).await.unwrap();
                rows.into_iter().map(|(line,)| line).collect::<Vec<_>>().join("\n")
            }
        }
    }

    async fn details(&self, statement: &str) -> Vec<(String,)> {
        let mut connection = sqlx::SqliteConnection::connect(&self.database.url).await.unwrap();
        let explain = format!("explain query plan {statement}");
        let rows: Vec<(i64, i64, i64, String)> =
            sqlx::query_as(sqlx::AssertSqlSafe(explain)).fetch_all(&mut connection).await.unwrap();
        rows.into_iter().map(|(.., detail)| (detail,)).collect()
    }
}

/// The look for kept keys that each intake takes along.
async fn many_puts_read_no_table(database: Database) {
    let bench = Bench::new(database).await;
    let plan = bench
        .plan(
            "insert into setting (connection, name, value, changed) select column1, column2, column3, column4 from \
             (values ('a', 'b', 'c', 1), ('a', 'b', 'd', 1)) fresh where not exists (select 1 from idempotency i \
             where i.connection = fresh.column1 and i.route = fresh.column2 and i.key = fresh.column3) \
             on conflict (connection, name) do nothing returning name",
        )
        .await;
    assert!(plan.contains("SEARCH i USING PRIMARY KEY (connection=? AND route=? AND key=?)"), "{plan}");
}

async fn two_pruners_share_the_work(database: Database) {
    let bench = Bench::new(database.clone()).await;
    for chunk in 0..10 {
        bench
            .store
            .put((0..100).map(|n| New { subject: Some(format!("s:{n}")), ..ended(format!("{chunk}.{n}")) }).collect())
            .await
            .unwrap();
    }
    bench.clock.advance(DAY);
    let before = bench.now();
    let second = database.second(&bench.store, &bench.clock).await;
    let pruner = async |store: &fluent_connector::store::Store| {
        let mut sum = 0;
        for _ in 0..12 {
            let urgency = fluent_connector::store::Urgency::Bulk;
            sum += store.write(urgency, move |tx| tx.prune_messages(before, 100).boxed()).await.unwrap();
        }
        sum
    };
    let (one, other) = tokio::join!(pruner(&bench.store), pruner(&second));
    assert_eq!(one + other, 1000);
    assert_eq!((bench.count("message").await, bench.count("idempotency").await), (0, 1000));
    bench.balanced().await;
}
