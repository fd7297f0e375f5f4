//! The command line as a person and a script meet it: the real binary, its output and its exit codes
//! (`surfaces.md` 6.1).

use std::path::Path;

use fluent_connector::store::{Ending, Mapping};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;
use uuid::Uuid;

use crate::surface::{Desk, configuration};

struct Ended {
    code: i32,
    out: String,
    err: String,
}

impl Ended {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {} {}", self.out, self.err))
    }
}

/// Runs the binary without any environment of ours, in `folder`.
async fn run(folder: &Path, arguments: &[&str]) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fluent-connector"));
    command.args(arguments).env_clear().current_dir(folder);
    let output = command.output().await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}

#[tokio::test]
async fn messages_are_listed_shown_retried_and_skipped() {
    let desk = Desk::open().await;
    let stuck = desk
        .message("main", |draft| draft.subject("order:c-1").ended(Ending::Parked("rejected"), "It has no item."))
        .await
        .to_string();
    let socket = desk.listen().display().to_string();
    let run = |line: String| {
        let (socket, folder) = (socket.clone(), desk.folder.path().to_owned());
        async move {
            let mut arguments: Vec<&str> = line.split(' ').collect();
            arguments.extend(["--admin-socket", &socket]);
            run(&folder, &arguments).await
        }
    };
    let list = run("message list --state parked".into()).await;
    assert_eq!((list.code, list.err.as_str()), (0, ""));
    let lines: Vec<&str> = list.out.lines().collect();
    assert!(lines.len() == 2 && lines[0].starts_with("id ") && lines[1].starts_with(&stuck), "{}", list.out);
    assert!(lines[1].contains("order:c-1") && lines[1].ends_with("It has no item."), "{}", list.out);
    assert_eq!(run("message list --json".into()).await.json()["items"][0]["id"], json!(stuck));
    let show = run(format!("message show {stuck}")).await;
    assert!(show.code == 0 && show.out.contains("state") && show.out.contains("parked"), "{}", show.out);
    let retry = run(format!("message retry {stuck}")).await;
    assert_eq!((retry.code, retry.out), (0, format!("{stuck} ready\n")));
    let again = run(format!("message retry {stuck}")).await;
    assert!(again.code == 1 && again.err.contains("parked or waiting") && again.out.is_empty(), "{}", again.err);
    let skip = run(format!("message skip {stuck} --reason needless")).await;
    assert_eq!((skip.code, skip.out), (0, format!("{stuck} skipped\n")));
    let unknown = run(format!("message show {}", Uuid::now_v7())).await;
    assert!(unknown.code == 7 && unknown.err.contains("There is no message"), "{}", unknown.err);
    let wrong = run("message list --state lost".into()).await;
    assert!(wrong.code == 2 && wrong.err.lines().count() == 1, "{}", wrong.err);
}

#[tokio::test]
async fn the_other_verbs_talk_to_the_daemon() {
    let desk = Desk::open().await;
    let pair = Mapping { fluent_ref: Some("HD_10001".into()), ..Mapping::new("main", "order", "c-1") };
    desk.mappings(vec![Mapping { commercetools_key: Some("10001".into()), ..pair }]).await;
    let socket = desk.listen().display().to_string();
    let folder = desk.folder.path().to_owned();
    let run = |line: &'static str| {
        let (socket, folder) = (socket.clone(), folder.clone());
        async move {
            let mut arguments: Vec<&str> = line.split(' ').collect();
            arguments.extend(["--admin-socket", &socket]);
            run(&folder, &arguments).await
        }
    };
    assert_eq!(run("healthcheck").await.out, "ok\n");
    assert_eq!(run("healthcheck --ready --json").await.json()["said"]["store"], "ok");
    let status = run("status --recount").await;
    assert!(
        status.code == 0 && status.out.contains("Nothing is parked.") && status.out.contains("equal"),
        "{}",
        status.out
    );
    assert_eq!(run("mapping find HD_10001 --json").await.json()["items"][0]["commercetools_id"], "c-1");
    assert_eq!(run("mapping find HD_1").await.code, 7);
    let story = run("explain order 10001 --stored").await;
    assert!(
        story.code == 0 && story.out.contains("first seen") && story.out.contains("Nothing is open"),
        "{}",
        story.out
    );
    assert_eq!(run("explain order 99999 --stored").await.code, 7);
    assert_eq!(run("mapping export --kind order -o pairs.csv").await.code, 0);
    let export = std::fs::read_to_string(folder.join("pairs.csv")).unwrap();
    assert!(export.lines().count() == 3 && export.contains("#trailer,1,"), "{export}");
    let created = run("token create --name you --role admin").await;
    assert!(
        created.code == 0 && created.out.starts_with("flc_") && created.out.lines().count() == 1,
        "{}",
        created.out
    );
    let id = created.out[4..14].to_owned();
    let tokens = run("token list").await;
    assert!(tokens.out.contains(&id) && !tokens.out.contains(created.out.trim()), "{}", tokens.out);
    let refused = run("token create --name you --role king").await;
    assert!(refused.code == 2 && refused.err.contains("no role king"), "{}", refused.err);
}

#[tokio::test]
async fn jobs_and_cursors_are_in_a_persons_hand() {
    let desk = Desk::open().await;
    desk.cursor("main", "order-sync", 60_000).await;
    let socket = desk.listen().display().to_string();
    let folder = desk.folder.path().to_owned();
    let run = |line: &'static str| {
        let (socket, folder) = (socket.clone(), folder.clone());
        async move {
            let mut arguments: Vec<&str> = line.split(' ').collect();
            arguments.extend(["--admin-socket", &socket]);
            run(&folder, &arguments).await
        }
    };
    let list = run("job list").await;
    assert!(
        list.code == 0 && list.out.starts_with("job ") && list.out.contains("every 1m"),
        "{} {}",
        list.out,
        list.err
    );
    let paused = run("job pause order-sync --connection main --reason rehearsal --until 2h").await;
    assert!(paused.code == 0 && paused.out.contains("by admin socket: rehearsal"), "{} {}", paused.out, paused.err);
    assert!(run("job list").await.out.contains("paused until"));
    assert!(!run("job resume order-sync").await.out.contains("paused"));
    let unclear = run("job run order-sync").await;
    assert!(unclear.code == 2 && unclear.err.contains("main, other"), "{} {}", unclear.code, unclear.err);
    let started = run("job run job.order-sync --connection main --from 24h --json").await;
    assert_eq!(started.json()["runs"][0]["job"], "job.order-sync", "{}", started.err);
    for (line, code) in [
        ("job run nothing --connection main", 7),
        ("job run order-sync --connection main --from soon", 2),
        ("job run order-sync --connection main --to 1h", 2),
        ("job pause order-sync --reason r --until -1h", 2),
        ("cursor set main nothing 1970-01-01T00:00Z --expected 1970-01-01T00:01Z --reason r", 7),
        ("cursor set main order-sync 1970-01-01T00:00Z --expected 1970-01-01T00:02Z --reason r", 1),
        ("cursor set main order-sync 1970-01-01T00:02Z --expected 1970-01-01T00:01Z --reason r", 6),
    ] {
        let ended = run(line).await;
        assert!(ended.code == code && ended.out.is_empty(), "{line}: {} {} {}", ended.code, ended.out, ended.err);
    }
    assert!(run("cursor list").await.out.contains("1970-01-01T00:01:00.000Z"));
    let set =
        run("cursor set main order-sync 1970-01-01T00:02Z --expected 1970-01-01T00:01Z --reason r --accept-gap").await;
    assert_eq!((set.code, set.out.as_str()), (0, "main order-sync 1970-01-01T00:02:00.000Z\n"), "{}", set.err);
}

#[tokio::test]
async fn without_a_daemon_it_says_where_it_looked() {
    let folder = TempDir::new().unwrap();
    let config = configuration(&folder).display().to_string();
    let ended = run(folder.path(), &["status", "--config", &config]).await;
    assert!(ended.code == 8 && ended.out.is_empty(), "{} {}", ended.code, ended.err);
    assert!(ended.err.contains("nobody.sock") && ended.err.contains("--admin-socket"), "{}", ended.err);
    let ended = run(folder.path(), &["status", "--url", "http://127.0.0.1:9"]).await;
    assert!(ended.code == 2 && ended.err.contains("FLUENT_CONNECTOR_TOKEN"), "{} {}", ended.code, ended.err);
}

#[tokio::test]
async fn the_first_token_needs_no_daemon() {
    let folder = TempDir::new().unwrap();
    let config = configuration(&folder).display().to_string();
    let create = ["token", "create", "--name", "you", "--role", "admin", "--config", &config];
    let ended = run(folder.path(), &create).await;
    assert!(ended.code == 0 && ended.out.starts_with("flc_"), "{} {}", ended.code, ended.err);
    let desk_would_hold = std::fs::File::open(folder.path().join("connector.db.lock")).unwrap();
    desk_would_hold.lock().unwrap();
    let busy = run(folder.path(), &create).await;
    assert!(busy.code == 9 && busy.err.contains("another process uses"), "{} {}", busy.code, busy.err);
}

#[tokio::test]
async fn a_bad_configuration_is_told_in_full() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("config.yml");
    std::fs::write(&file, "server: { listn: x }\nlog: { level: 3 }\n").unwrap();
    let ended = run(folder.path(), &["config", "check", "--json"]).await;
    assert_eq!((ended.code, ended.json()["valid"].clone()), (3, json!(false)));
    assert_eq!(ended.json()["problems"].as_array().unwrap().len(), 2, "{}", ended.out);
    let ended = run(folder.path(), &["config", "check"]).await;
    assert!(ended.code == 3 && ended.out.contains("did you mean \"listen\"?"), "{}", ended.out);
    let config = configuration(&folder).display().to_string();
    let ended = run(folder.path(), &["config", "show", "--origin", "--config", &config]).await;
    assert!(ended.code == 0 && ended.out.contains("connections[main].fluent.password"), "{}", ended.out);
    assert!(!ended.out.contains("secret-of-fluent") && ended.out.contains("16 bytes, sha256:"), "{}", ended.out);
}

#[tokio::test]
async fn offline_verbs_need_nothing() {
    let folder = TempDir::new().unwrap();
    let version = run(folder.path(), &["version", "--json"]).await;
    assert_eq!(version.json(), json!({"name": "fluent-connector", "version": env!("CARGO_PKG_VERSION")}));
    let schema = run(folder.path(), &["config", "schema"]).await;
    assert_eq!(schema.json()["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert_eq!(run(folder.path(), &["reconsider"]).await.code, 2);
}
