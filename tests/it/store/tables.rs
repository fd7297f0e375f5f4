//! The smaller tables: mappings, cursors, leases, settings, tokens, attempts.

use std::time::Duration;

use fluent_connector::store::token::{self, Token};
use fluent_connector::store::{Counted, Error, Mapping, MappingFilter, Position};
use futures_util::FutureExt;
use serde_json::json;
use sqlx::types::Json;
use uuid::Uuid;

use super::{Bench, message, of};
use crate::database::{Database, START, on_both};

on_both!(
    a_pair_put_twice_is_updated,
    a_fluent_ref_belongs_to_one_pair,
    a_pair_releases_those_who_wait_for_it,
    pairs_are_found_and_paged,
    a_cursor_moves_only_from_where_it_stands_and_adds_up_what_was_found,
    a_setting_keeps_its_first_value,
    an_instance_has_one_daemon,
    a_lease_that_was_renewed_is_not_buried,
    two_starts_at_once_see_each_other,
    tokens_are_stored_used_and_revoked,
    attempts_are_remembered_in_order,
);

fn pair(id: &str) -> Mapping {
    Mapping { fluent_ref: Some(format!("HD_{id}")), ..Mapping::new("main", "order", id) }
}

async fn store_pair(bench: &Bench, pair: Mapping) -> Result<(), Error> {
    bench.write(move |tx| async move { tx.put_mapping(&pair).await }.boxed()).await
}

async fn a_pair_put_twice_is_updated(database: Database) {
    let bench = Bench::new(database).await;
    let first = Mapping { extra: Json(json!({"type": "HD"})), commercetools_version: 1, ..pair("1") };
    store_pair(&bench, first.clone()).await.unwrap();
    bench.clock.advance(Duration::from_secs(1));
    let second = Mapping {
        commercetools_key: Some("10001".into()),
        commercetools_version: 4,
        fluent_id: Some("77".into()),
        content_hash: Some("abc".into()),
        state: "inactive".into(),
        extra: Json(json!({"type": "CC"})),
        remembered: Some(Json(json!({"version": 9}))),
        last_message: Some(Uuid::now_v7()),
        ..pair("1")
    };
    store_pair(&bench, second.clone()).await.unwrap();
    let mut db = bench.store.read().await.unwrap();
    let stored = db.mapping("main", "order", "1").await.unwrap().unwrap();
    let expected = Mapping { id: first.id, first_seen: START, written: START + 1000, ..second };
    assert_eq!(format!("{stored:?}"), format!("{expected:?}"));
    assert!(db.mapping("other", "order", "1").await.unwrap().is_none());
    assert!(db.mapping("main", "customer", "1").await.unwrap().is_none());
    assert_eq!(db.mapping_by_fluent_id("main", "order", "77").await.unwrap().unwrap().id, first.id);
}

async fn a_fluent_ref_belongs_to_one_pair(database: Database) {
    let bench = Bench::new(database).await;
    store_pair(&bench, pair("1")).await.unwrap();
    let thief = Mapping { fluent_ref: Some("HD_1".into()), ..Mapping::new("main", "order", "2") };
    assert!(matches!(store_pair(&bench, thief.clone()).await, Err(Error::Database(_))));
    assert!(bench.store.read().await.unwrap().mapping("main", "order", "2").await.unwrap().is_none());
    store_pair(&bench, Mapping { connection: "other".into(), ..thief.clone() }).await.unwrap();
    store_pair(&bench, Mapping { kind: "transaction".into(), id: Uuid::now_v7(), ..thief }).await.unwrap();
    for id in ["3", "4"] {
        store_pair(&bench, Mapping::new("main", "order", id)).await.expect("without a ref there is nothing to share");
    }
}

async fn a_pair_releases_those_who_wait_for_it(database: Database) {
    let bench = Bench::new(database).await;
    let id = bench.put(of("order:1", "a")).await;
    let claimed = bench.one(Uuid::now_v7()).await;
    bench.wait(&claimed, "customer:7", START + 300_000, false).await.unwrap();
    store_pair(&bench, Mapping { fluent_id: Some("13".into()), ..Mapping::new("main", "customer", "8") })
        .await
        .unwrap();
    assert_eq!(bench.state(id).await, "waiting", "somebody else's pair");
    let absent = Mapping { state: "absent".into(), ..Mapping::new("main", "customer", "7") };
    store_pair(&bench, absent).await.unwrap();
    assert_eq!(bench.state(id).await, "waiting", "a pair without its Fluent side is none yet");
    let whole = Mapping { fluent_id: Some("12".into()), ..Mapping::new("main", "customer", "7") };
    store_pair(&bench, whole).await.unwrap();
    let row = bench.row(id).await;
    assert_eq!((row.state.as_str(), row.wait_for, row.due), ("ready", None, START));
    bench.balanced().await;
}

async fn pairs_are_found_and_paged(database: Database) {
    let bench = Bench::new(database).await;
    for n in 0..5 {
        let key = Some(format!("key {n}"));
        store_pair(&bench, Mapping { commercetools_key: key, ..pair(&n.to_string()) }).await.unwrap();
        bench.clock.advance(Duration::from_secs(1));
    }
    store_pair(&bench, Mapping::new("other", "customer", "9")).await.unwrap();
    let list = async |filter: MappingFilter, limit| -> Vec<Mapping> {
        bench.store.read().await.unwrap().mappings(&filter, limit).await.unwrap()
    };
    let ids = |pairs: &[Mapping]| pairs.iter().map(|pair| pair.commercetools_id.clone()).collect::<Vec<_>>();
    let first = list(MappingFilter::default(), 4).await;
    assert_eq!(ids(&first), ["0", "1", "2", "3"]);
    let after = MappingFilter { after: Some(first[3].id), ..MappingFilter::default() };
    assert_eq!(ids(&list(after, 4).await), ["4", "9"]);
    for any in ["2", "key 2", "HD_2"] {
        let filter = MappingFilter { any: Some(any.into()), ..MappingFilter::default() };
        assert_eq!(ids(&list(filter, 4).await), ["2"], "{any}");
    }
    let window = MappingFilter { from: Some(START + 1000), to: Some(START + 3000), ..MappingFilter::default() };
    assert_eq!(ids(&list(window, 4).await), ["1", "2"]);
    let kind = MappingFilter { connection: Some("other".into()), kind: Some("customer".into()), ..Default::default() };
    assert_eq!(ids(&list(kind, 4).await), ["9"]);
}

async fn a_cursor_moves_only_from_where_it_stands_and_adds_up_what_was_found(database: Database) {
    let bench = Bench::new(database).await;
    let done = |end: i64| Position::Done { end: START + end, since: START };
    let advance = async |stream: &'static str, from: Option<Position>, to: Position, found| {
        let counted = Counted { found, late: 1, settle: None };
        let moved =
            bench.write(move |tx| async move { tx.advance("main", stream, from.as_ref(), &to, counted).await }.boxed());
        moved.await.unwrap()
    };
    assert!(bench.store.read().await.unwrap().cursor("main", "a").await.unwrap().is_none());
    assert!(!advance("a", Some(done(0)), done(1), 8).await, "there is none yet");
    assert!(advance("a", None, done(1), 3).await);
    assert!(!advance("a", None, done(2), 8).await, "there is one by now");
    assert!(!advance("a", Some(done(2)), done(3), 8).await, "it stands elsewhere");
    bench.clock.advance(Duration::from_secs(1));
    let (from, to, after) = (START, START + 9, Some(json!({"id": "y"})));
    let window = Position::Window { from, to, fresh: START + 1, since: START, after };
    assert!(advance("a", Some(done(1)), window.clone(), 4).await);
    assert!(advance("b", None, done(1), 0).await);
    bench.write(|tx| tx.found("main", "a").boxed()).await.unwrap();
    let mut db = bench.store.read().await.unwrap();
    let cursor = db.cursor("main", "a").await.unwrap().unwrap();
    assert_eq!((cursor.position.0, cursor.found, cursor.late), (window, 8, 2));
    assert_eq!(cursor.changed, START + 1000);
    let streams: Vec<String> = db.cursors().await.unwrap().into_iter().map(|cursor| cursor.stream).collect();
    assert_eq!(streams, ["a", "b"]);
}

async fn a_setting_keeps_its_first_value(database: Database) {
    let bench = Bench::new(database).await;
    let or = async |connection: &'static str, value: &'static str| {
        bench.write(move |tx| async move { tx.setting_or(connection, "since", value).await }.boxed()).await.unwrap()
    };
    assert_eq!(or("main", "first").await, "first");
    assert_eq!(or("main", "second").await, "first");
    assert_eq!(or("other", "second").await, "second");
    let mut db = bench.store.read().await.unwrap();
    assert_eq!(db.setting("main", "since").await.unwrap().as_deref(), Some("first"));
    assert_eq!(db.setting("main", "until").await.unwrap(), None);
    drop(db);
    let put = async |value: &'static str| {
        bench.write(move |tx| async move { tx.put_setting("main", "budget", value).await }.boxed()).await.unwrap();
    };
    put("20").await;
    put("50").await;
    let mut db = bench.store.read().await.unwrap();
    assert_eq!(db.setting("main", "budget").await.unwrap().as_deref(), Some("50"), "one that is put takes the last");
}

async fn take(bench: &Bench, instance: &'static str, daemon: Uuid, until: i64) -> Option<Uuid> {
    bench.write(move |tx| async move { tx.take_lease(instance, daemon, until).await }.boxed()).await.unwrap()
}

async fn renew(bench: &Bench, daemon: Uuid, until: i64) -> Result<(), Error> {
    bench.write(move |tx| async move { tx.renew_lease(daemon, until).await }.boxed()).await
}

async fn an_instance_has_one_daemon(database: Database) {
    let bench = Bench::new(database).await;
    let [first, second, third] = [(); 3].map(|()| Uuid::now_v7());
    assert_eq!(take(&bench, "host", first, START + 60_000).await, None);
    assert_eq!(take(&bench, "host", first, START + 60_000).await, None, "nobody replaces himself");
    assert_eq!(take(&bench, "other host", third, START + 60_000).await, None);
    assert_eq!(take(&bench, "host", second, START + 60_000).await, Some(first));
    assert!(matches!(renew(&bench, first, START + 90_000).await, Err(Error::Fenced { .. })));
    renew(&bench, second, START + 90_000).await.unwrap();
    assert_eq!(bench.store.read().await.unwrap().live_daemons().await.unwrap(), 2);
    bench.write(move |tx| async move { tx.drop_lease(second).await }.boxed()).await.unwrap();
    assert_eq!(bench.store.read().await.unwrap().live_daemons().await.unwrap(), 1, "the third");
}

async fn a_lease_that_was_renewed_is_not_buried(database: Database) {
    let bench = Bench::new(database).await;
    let [dead, alive] = [(); 2].map(|()| Uuid::now_v7());
    take(&bench, "a", dead, START + 1000).await;
    take(&bench, "b", alive, START + 1000).await;
    let seen = bench.store.read().await.unwrap().leases().await.unwrap();
    assert_eq!(seen.len(), 2);
    renew(&bench, alive, START + 2000).await.unwrap();
    for (lease, buried) in seen.into_iter().map(|lease| (lease.clone(), lease.daemon == dead)) {
        let bury = bench.write(move |tx| async move { tx.bury(&lease).await }.boxed());
        assert_eq!(bury.await.unwrap(), buried, "the other one moved meanwhile");
    }
    assert_eq!(bench.store.read().await.unwrap().live_daemons().await.unwrap(), 1);
    assert!(matches!(renew(&bench, dead, START + 9000).await, Err(Error::Fenced { .. })));
}

/// Of two daemons that start for one instance at the same time, the loser is told to the winner.
async fn two_starts_at_once_see_each_other(database: Database) {
    let bench = Bench::new(database).await;
    for round in 0..20 {
        let [first, second] = [(); 2].map(|()| Uuid::now_v7());
        let take = |daemon: Uuid| {
            let instance = format!("host {round}");
            bench.write(move |tx| {
                async move {
                    let before = tx.take_lease(&instance, daemon, START + 1000).await?;
                    tokio::task::yield_now().await;
                    Ok(before)
                }
                .boxed()
            })
        };
        let (one, two) = tokio::join!(take(first), take(second));
        let mut told = [one.unwrap(), two.unwrap()];
        told.sort_unstable();
        assert!(told[0].is_none() && [Some(first), Some(second)].contains(&told[1]), "{round}: {told:?}");
    }
}

async fn tokens_are_stored_used_and_revoked(database: Database) {
    let bench = Bench::new(database).await;
    let (id, secret) = token::generate();
    let stored = Token {
        id: id.clone(),
        name: "CI".into(),
        hash: token::hash(&secret).unwrap(),
        scopes: Json(vec!["intake".into(), "read".into()]),
        connections: Json(vec!["*".into()]),
        created: START,
        created_by: "ann".into(),
        expires: Some(START + 5000),
        last_used: None,
        revoked: None,
    };
    let expected = format!("{stored:?}");
    bench.write(move |tx| async move { tx.put_token(&stored).await }.boxed()).await.unwrap();
    let found = async || bench.store.read().await.unwrap().token(&id).await.unwrap().unwrap();
    let token = found().await;
    assert_eq!(format!("{token:?}"), expected);
    assert!(token.valid(START + 4999) && !token.valid(START + 5000));
    let (used, revoked, again) = (id.clone(), id.clone(), id.clone());
    bench.write(move |tx| async move { tx.touch_token(&used, START + 60_000).await }.boxed()).await.unwrap();
    assert_eq!(found().await.last_used, Some(START + 60_000));
    assert!(bench.write(move |tx| async move { tx.revoke_token(&revoked).await }.boxed()).await.unwrap());
    assert!(!bench.write(move |tx| async move { tx.revoke_token(&again).await }.boxed()).await.unwrap());
    assert!(!bench.write(|tx| async move { tx.revoke_token("nobody").await }.boxed()).await.unwrap());
    assert!(!found().await.valid(START));
    let mut db = bench.store.read().await.unwrap();
    assert_eq!(db.tokens().await.unwrap().len(), 1);
    assert!(db.token("nobody").await.unwrap().is_none());
}

async fn attempts_are_remembered_in_order(database: Database) {
    let bench = Bench::new(database).await;
    let id = bench.put(message("a")).await;
    for (number, outcome, class) in [(1, "retry", Some("network")), (2, "waiting", None), (2, "rejected", None)] {
        bench.clock.advance(Duration::from_secs(1));
        bench
            .write(move |tx| async move { tx.put_attempt(id, number, outcome, class, "So it was.").await }.boxed())
            .await
            .unwrap();
    }
    let attempts = bench.store.read().await.unwrap().attempts(id).await.unwrap();
    let told: Vec<(i64, i64, &str, Option<&str>)> =
        attempts.iter().map(|a| (a.number, a.at - START, a.outcome.as_str(), a.class.as_deref())).collect();
    assert_eq!(told, [(1, 1000, "retry", Some("network")), (2, 2000, "waiting", None), (2, 3000, "rejected", None)]);
    assert!(bench.store.read().await.unwrap().attempts(Uuid::now_v7()).await.unwrap().is_empty());
}
