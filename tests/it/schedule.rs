//! Stories of the scheduler: every tick once, none forgotten (G13, G14), and what an operator does
//! with jobs and cursors.

use std::time::Duration;

use fluent_connector::app::App;
use fluent_connector::failure::{Outcome, reject};
use fluent_connector::queue::{Message, Range, Routes};
use fluent_connector::simulator::{Fault, Rule};
use fluent_connector::store::{Filter, Pause, Position, Row, Scheduled};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::database::Engine;
use crate::on_both_databases;
use crate::surface::Desk;
use crate::world::{START, Settings, World};

on_both_databases! {
    an_interval_ticks_at_its_multiples,
    a_cron_job_ticks_at_its_local_time,
    ticks_that_were_missed_come_once,
    ticks_that_were_missed_are_skipped_where_that_is_wanted,
    a_pause_survives_a_restart,
    a_pause_ends_by_itself,
    another_timing_is_planned_anew,
    a_clock_that_was_set_back_silences_nobody,
    two_daemons_whose_clocks_differ_make_one_tick,
    a_job_that_fails_has_one_open_tick,
    jitter_puts_a_tick_off,
    an_extra_run_moves_no_cursor,
}

const MINUTE: Duration = Duration::from_secs(60);
const JOB: &str = "job.story";

async fn well(_: App, _: Message) -> Outcome {
    Ok(())
}

async fn badly(_: App, _: Message) -> Outcome {
    reject("It cannot be done.")
}

/// A world with a job of its own, timed by these words.
fn timed(timing: &str, rest: &str) -> Settings {
    Settings {
        register: Some(|routes: &mut Routes| {
            routes.job(JOB, well);
        }),
        top: format!("schedule: {{ jobs: {{ {JOB}: {timing} }}{rest} }}"),
        without_push: true,
        without_webhooks: true,
        ..Settings::default()
    }
}

/// Keys of the job's messages, oldest first: the planned times, in seconds after START.
async fn ticks(world: &World) -> Vec<i64> {
    let rows = runs(world).await;
    rows.iter().rev().filter_map(|row| row.key.parse::<i64>().ok()).map(|at| (at - START) / 1000).collect()
}

async fn runs(world: &World) -> Vec<Row> {
    world.messages(Filter { route: Some(JOB.into()), ..Filter::default() }).await
}

async fn row(world: &World) -> Scheduled {
    let mut db = world.daemons[0].app.store().read().await.unwrap();
    db.scheduled("main", JOB).await.unwrap().unwrap()
}

async fn an_interval_ticks_at_its_multiples(engine: Engine) {
    let Some(world) = World::with(engine, timed("{ every: 5m }", "")).await else { return };
    world.pass(11 * MINUTE, MINUTE).await;
    assert_eq!(ticks(&world).await, [0, 300, 600], "at once, and then as planned");
    let row = row(&world).await;
    assert_eq!((row.last_started, row.last_ok), (Some(START + 600_000), Some(START + 600_000)));
    assert_eq!((row.last_planned, row.next_due), (Some(START + 600_000), Some(START + 900_000)));
}

/// 10:00 UTC is noon in Berlin in June.
async fn a_cron_job_ticks_at_its_local_time(engine: Engine) {
    let settings = timed("{ cron: \"30 12 * * *\" }", ", time_zone: Europe/Berlin");
    let Some(world) = World::with(engine, settings).await else { return };
    assert_eq!(ticks(&world).await, [0; 0], "a nightly job waits for its night");
    assert_eq!(row(&world).await.next_due, Some(START + 1_800_000));
    world.pass(40 * MINUTE, 5 * MINUTE).await;
    assert_eq!(ticks(&world).await, [1_800]);
    assert_eq!(row(&world).await.next_due, Some(START + 88_200_000));
}

async fn ticks_that_were_missed_come_once(engine: Engine) {
    let Some(mut world) = World::with(engine, timed("{ cron: \"*/10 * * * *\" }", "")).await else { return };
    world.daemons.remove(0).stop().await;
    world.tick(45 * MINUTE);
    world.start_daemon().await;
    world.settle().await;
    assert_eq!(ticks(&world).await, [600], "four were missed: one run");
    world.advance(5 * MINUTE).await;
    assert_eq!(ticks(&world).await, [600, 3_000], "and on as planned");
    world.nothing_lost().await;
}

async fn ticks_that_were_missed_are_skipped_where_that_is_wanted(engine: Engine) {
    let settings = timed("{ cron: \"*/10 * * * *\" }", ", missed: skip");
    let Some(mut world) = World::with(engine, settings).await else { return };
    world.daemons.remove(0).stop().await;
    world.tick(45 * MINUTE);
    world.start_daemon().await;
    world.settle().await;
    assert_eq!(ticks(&world).await, [0; 0]);
    world.advance(5 * MINUTE).await;
    assert_eq!(ticks(&world).await, [3_000]);
}

async fn a_pause_survives_a_restart(engine: Engine) {
    let Some(mut world) = World::with(engine, timed("{ every: 5m }", "")).await else { return };
    let pause = Pause { by: "story".into(), reason: "a rehearsal".into(), until: None };
    let queue = world.daemons[0].queue.clone();
    queue.pause("main", queue.routes.find(JOB).unwrap(), pause).await.unwrap();
    drop(queue);
    world.pass(10 * MINUTE, MINUTE).await;
    world.daemons.remove(0).stop().await;
    world.start_daemon().await;
    world.pass(11 * MINUTE, MINUTE).await;
    assert_eq!(ticks(&world).await, [0], "paused before and after the restart");
    let queue = world.daemons[0].queue.clone();
    let job = queue.routes.find(JOB).unwrap();
    let run = queue.run_job("main", job, None, "story").await.unwrap();
    world.settle().await;
    let ran = runs(&world).await.into_iter().find(|row| row.id == run).unwrap();
    assert_eq!(ran.state, "done", "a run by hand runs all the same");
    assert!(queue.resume("main", job, world.clock.now()).await.unwrap());
    assert!(!queue.resume("main", job, world.clock.now()).await.unwrap(), "there is no pause any more");
    world.pass(9 * MINUTE, MINUTE).await;
    assert_eq!(ticks(&world).await, [0, 1_500, 1_800], "on as planned; what the pause held back is not made up for");
}

async fn a_pause_ends_by_itself(engine: Engine) {
    let Some(world) = World::with(engine, timed("{ every: 5m }", "")).await else { return };
    let pause = Pause { by: "story".into(), reason: "a rehearsal".into(), until: Some(START + 620_000) };
    let queue = world.daemons[0].queue.clone();
    queue.pause("main", queue.routes.find(JOB).unwrap(), pause).await.unwrap();
    world.pass(16 * MINUTE, MINUTE).await;
    assert_eq!(ticks(&world).await, [0, 900]);
    assert!(row(&world).await.paused_at.is_none());
}

async fn another_timing_is_planned_anew(engine: Engine) {
    let Some(mut world) = World::with(engine, timed("{ every: 20h }", "")).await else { return };
    assert!(row(&world).await.next_due > Some(START + 3_600_000));
    world.daemons.remove(0).stop().await;
    world.set(timed("{ every: 5m }", ""));
    world.start_daemon().await;
    world.pass(6 * MINUTE, MINUTE).await;
    assert_eq!(ticks(&world).await, [0, 300]);
}

/// As after a daemon whose clock was an hour ahead: its ticks have taken the keys of the next hour.
async fn a_clock_that_was_set_back_silences_nobody(engine: Engine) {
    let Some(mut world) = World::with(engine, timed("{ every: 5m }", "")).await else { return };
    world.pass(Duration::from_secs(3_600), 5 * MINUTE).await;
    let before = runs(&world).await.len();
    world.daemons.remove(0).stop().await;
    world.set_back(START);
    world.start_daemon().await;
    world.pass(10 * MINUTE, MINUTE).await;
    assert_eq!(runs(&world).await.len(), before + 2);
    world.nothing_lost().await;
}

async fn two_daemons_whose_clocks_differ_make_one_tick(engine: Engine) {
    if engine == Engine::Sqlite {
        return; // One daemon at a time.
    }
    let Some(mut world) = World::with(engine, timed("{ every: 1m }", "")).await else { return };
    world.settle().await;
    let first = world.clock.clone();
    world.set_back(START - 2_000);
    world.start_daemon().await;
    for minute in 1..4 {
        first.advance(MINUTE);
        world.until("the first one's tick", async || ticks(&world).await.last() == Some(&(minute * 60))).await;
        world.clock.advance(MINUTE);
        for daemon in &world.daemons {
            daemon.app.pulses().feel(MINUTE).await.unwrap();
            daemon.app.pulses().feel(MINUTE).await.unwrap();
        }
    }
    let keys: Vec<String> = runs(&world).await.iter().rev().map(|row| row.key.clone()).collect();
    assert_eq!(keys, [0, 60, 120, 180].map(|at: i64| (START + at * 1000).to_string()));
}

async fn a_job_that_fails_has_one_open_tick(engine: Engine) {
    let register: fn(&mut Routes) = |routes| {
        routes.job(JOB, badly);
    };
    let settings = Settings { register: Some(register), ..timed("{ every: 5m }", "") };
    let Some(world) = World::with(engine, settings).await else { return };
    world.pass(16 * MINUTE, MINUTE).await;
    let rows = runs(&world).await;
    let [row] = &rows[..] else { panic!("one tick that is open: {rows:?}") };
    assert_eq!((row.state.as_str(), row.attempts), ("parked", 4), "tried again at every planned time");
    let schedule = self::row(&world).await;
    assert_eq!((schedule.last_started, schedule.last_ok), (Some(START + 900_000), None));
    world.nothing_lost().await;
}

async fn jitter_puts_a_tick_off(engine: Engine) {
    let Some(world) = World::with(engine, timed("{ every: 10m, jitter: 9m }", "")).await else { return };
    world.pass(Duration::from_secs(3_600), MINUTE).await;
    let rows = runs(&world).await;
    let put_off: Vec<i64> = rows
        .iter()
        .filter(|row| row.state == "done")
        .map(|row| row.changed - row.key.parse::<i64>().unwrap())
        .collect();
    assert!(put_off.iter().any(|by| *by > 0) && put_off.iter().all(|by| *by <= 540_000), "{put_off:?}");
    assert!(ticks(&world).await.len() >= 6);
}

async fn an_extra_run_moves_no_cursor(engine: Engine) {
    let settings = Settings { without_push: true, without_webhooks: true, ..Settings::default() };
    let Some(world) = World::with(engine, settings).await else { return };
    world.commercetools.messages(false);
    world.commercetools.front().fault(Rule {
        fault: Fault::ErrorBefore(500),
        operation: Some("GET /orders".into()),
        times: None,
        rate: 1.0,
    });
    world.commercetools.order(Some("10001")).place();
    world.advance(5 * MINUTE).await;
    let position = async || {
        let mut db = world.daemons[0].app.store().read().await.unwrap();
        db.cursor("main", "order-sync").await.unwrap().unwrap().position.0
    };
    let before = position().await;
    world.commercetools.front().heal();
    let queue = world.daemons[0].queue.clone();
    let range = Range { from: START, to: Some(START + 60_000) };
    let run = queue.run_job("main", queue.routes.find("job.order-sync").unwrap(), Some(range), "story").await.unwrap();
    world.settle().await;
    let ran = world.messages(Filter { route: Some("job.order-sync".into()), ..Filter::default() }).await;
    assert_eq!(ran.iter().find(|row| row.id == run).unwrap().state, "done");
    assert_eq!(world.fluent_effects("createOrder", "ORDER").len(), 1, "the range was looked at");
    assert_eq!(position().await, before, "and the cursor left where it was");
    world.pass(2 * MINUTE, MINUTE).await;
    assert_eq!(world.fluent_effects("createOrder", "ORDER").len(), 1);
    assert_ne!(position().await, before);
    world.nothing_lost().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_runs_a_job_and_waits_for_its_end() {
    let settings = Settings { without_push: true, without_webhooks: true, ..Settings::default() };
    let Some(world) = World::with(Engine::Sqlite, settings).await else { return };
    let folder = world.database.folder.path();
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let socket = entries.into_iter().find(|path| path.extension().is_some_and(|end| end == "sock")).unwrap();
    let run = async |line: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fluent-connector"));
        command.args(line.split(' ')).arg("--admin-socket").arg(&socket).env_clear();
        let output = command.output().await.unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, out) = run("job run order-sync --from 2026-06-15T00:00Z --to 2026-06-16T00:00Z --wait --json").await;
    let ended: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &ended["runs"][0]["state"]), (0, &json!("done")), "{out}");
    assert_eq!(ended["runs"][0]["range"]["from"], "2026-06-15T00:00:00.000Z");
    world.commercetools.front().fault(Rule {
        fault: Fault::ErrorBefore(400),
        operation: Some("GET /orders".into()),
        times: None,
        rate: 1.0,
    });
    let (code, out) = run("job run order-sync --from 2026-06-15T00:00Z --wait").await;
    assert!(code == 1 && out.contains("parked"), "{code} {out}");
}

#[tokio::test]
async fn a_cursor_moves_by_hand_only_from_where_it_stands_and_over_no_gap() {
    let desk = Desk::open().await;
    let (_, admin) = desk.token("admin").await;
    desk.cursor("main", "order-sync", 60_000).await;
    let path = "/api/v1/cursors/main/order-sync";
    let set = async |position: &str, expected: Value, gap: bool| {
        let body = json!({"position": position, "expected": expected, "reason": "a story", "accept_gap": gap});
        desk.ask("PUT", path, Some(&admin), Some(body)).await
    };
    let stands = json!("1970-01-01T00:01:00Z");
    let wrong = set("1970-01-01T00:00:30Z", json!("1970-01-01T00:00:59Z"), false).await;
    assert_eq!(wrong.problem(), (409, "conflict".into()));
    let forward = set("1970-01-01T00:02:00Z", stands.clone(), false).await;
    assert_eq!(forward.problem(), (409, "refused-by-guard".into()));
    let moved = set("1970-01-01T00:02:00Z", stands.clone(), true).await;
    assert_eq!((moved.status.as_u16(), &moved.json()["position"]["end"]), (200, &json!("1970-01-01T00:02:00.000Z")));
    let back = set("1970-01-01T00:00:30Z", moved.json()["position"].clone(), false).await;
    assert_eq!(back.status, 200, "backwards nothing is lost: {}", back.text);
    let mut db = desk.store().read().await.unwrap();
    let cursor = db.cursor("main", "order-sync").await.unwrap().unwrap();
    assert_eq!(cursor.position.0, Position::Done { end: 30_000, since: 30_000 });
    drop(db);
    for (body, status) in [
        (json!({"position": "soon", "expected": "1970-01-01T00:00:30Z", "reason": "r"}), 400),
        (json!({"position": "1970-01-01T00:00:10Z", "expected": "1970-01-01T00:00:30Z", "reason": " "}), 422),
        (json!({"position": "1970-01-01T00:00:10Z", "reason": "r"}), 422),
    ] {
        assert_eq!(desk.ask("PUT", path, Some(&admin), Some(body)).await.status, status);
    }
    let unknown = desk.ask("PUT", "/api/v1/cursors/main/nothing", Some(&admin), None).await;
    assert_eq!(unknown.status, 404);
    desk.cursor("other", "order-sync", 60_000).await;
    let list = desk.ask("GET", "/api/v1/cursors", Some(&admin), None).await.json();
    assert_eq!(list["items"].as_array().unwrap().len(), 1, "a foreign connection is not seen: {list}");
}

#[tokio::test]
async fn jobs_are_named_run_and_paused_over_http() {
    let desk = Desk::open().await;
    let (_, operator) = desk.token("operator").await;
    let ask = async |method: &str, path: &str, body: Value| {
        desk.ask(method, path, Some(&operator), Some(body).filter(|body| !body.is_null())).await
    };
    let list = ask("GET", "/api/v1/jobs", Value::Null).await.json();
    let names: Vec<&str> = list["items"].as_array().unwrap().iter().map(|job| job["name"].as_str().unwrap()).collect();
    let catalogue = [
        "job.category-removal-sync",
        "job.category-sync",
        "job.consignment-sync",
        "job.customer-sync",
        "job.fulfilment-sync",
    ];
    let stock = ["job.import-operation-sync", "job.inventory-full-sync", "job.inventory-sync"];
    let places = ["job.location-full-sync", "job.location-sync"];
    let orders = ["job.order-backfill-sync", "job.order-status-sync", "job.order-sync", "job.payment-sync"];
    let rest = ["job.product-removal-sync", "job.product-sync", "job.retention", "job.return-sync"];
    assert_eq!(names, [&catalogue[..], &stock, &places, &orders, &rest].concat(), "of connection main only");
    let polls = &list["items"][names.iter().position(|name| *name == "job.order-sync").unwrap()];
    assert_eq!((&polls["timing"], &polls["connection"]), (&json!("every 1m"), &json!("main")));
    let missing = ask("GET", "/api/v1/jobs/event-failure-summary-monitor", Value::Null).await;
    assert_eq!(missing.status, 404, "it does not exist yet");
    let run = ask("POST", "/api/v1/jobs/order-sync/run", json!({"from": "2026-01-01T00:00:00Z"})).await;
    assert_eq!(run.status, 202, "{}", run.text);
    let id = run.json()["runs"][0]["id"].as_str().unwrap().to_owned();
    let shown = ask("GET", &format!("/api/v1/runs/{id}"), Value::Null).await.json();
    assert_eq!((&shown["state"], &shown["range"]["from"]), (&json!("ready"), &json!("2026-01-01T00:00:00.000Z")));
    let old = json!({"from": "2026-01-01T00:00:00Z", "dry_run": false, "confirm": 2, "props": {"states": "Open"}});
    assert_eq!(ask("POST", "/api/v1/jobs/order-backfill-sync/run", old).await.status, 202);
    let job = ask("GET", "/api/v1/jobs/job.order-sync", Value::Null).await.json();
    assert_eq!(job["runs"][0]["id"], json!(id));
    for (body, status) in [
        (json!({"connection": "other"}), 404),
        (json!({"to": "2026-01-01T00:00:00Z"}), 422),
        (json!({"from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"}), 422),
        (json!({"from": "yesterday"}), 400),
        (json!({"full": true}), 422),
        (json!({"from": "2026-01-01T00:00:00Z", "confirm": 2}), 422),
    ] {
        assert_eq!(ask("POST", "/api/v1/jobs/order-sync/run", body.clone()).await.status, status, "{body}");
    }
    let paused = ask("POST", "/api/v1/jobs/order-sync/pause", json!({"reason": "a rehearsal"})).await.json();
    let pause = &paused["jobs"][0]["paused"];
    assert_eq!((&pause["reason"], &pause["by"]), (&json!("a rehearsal"), &json!("token a operator")));
    let past = json!({"reason": "r", "until": "2026-01-01T00:00:00Z"});
    assert_eq!(ask("POST", "/api/v1/jobs/order-sync/pause", past).await.status, 422);
    let resumed = ask("POST", "/api/v1/jobs/order-sync/resume", Value::Null).await.json();
    assert_eq!(resumed["jobs"][0]["paused"], Value::Null);
    assert!(resumed["jobs"][0]["next_due"].is_string());
}
