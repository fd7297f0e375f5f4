//! Stories of a real queue: moto's, as far as it is one (it checks no signatures). `scripts/moto` sets
//! it up; where it is not at hand these stories say that they were left out.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::{UNPOLLED, entry, event, kept, order, wrapped};
use crate::cloud::{TOPIC, cloud_event};
use crate::database::Engine;
use crate::on_both_databases;
use crate::summary;
use crate::world::{Settings, World};

on_both_databases! {
    every_form_arrives_once_and_leaves_the_queue,
    what_a_killed_daemon_held_comes_back,
}

/// The server of this test program. A shell stands between us: it ends the server when we are gone,
/// however that happens.
struct Moto {
    url: String,
    _shell: Child,
}

/// One queue on it.
struct Queue {
    url: String,
    server: String,
    http: reqwest::Client,
}

async fn moto() -> Option<&'static Moto> {
    static MOTO: OnceCell<Option<Moto>> = OnceCell::const_new();
    MOTO.get_or_init(start).await.as_ref()
}

async fn start() -> Option<Moto> {
    #[expect(clippy::disallowed_methods, reason = "scripts/test names the program to the tests, not to the connector")]
    let (program, ci) = (std::env::var("FLUENT_CONNECTOR_TEST_MOTO"), std::env::var_os("CI"));
    let Some(program) = program.ok().filter(|program| !program.is_empty()) else {
        assert!(ci.is_none(), "FLUENT_CONNECTOR_TEST_MOTO names no program; in CI nothing may be left out");
        summary::note("LEFT OUT, FLUENT_CONNECTOR_TEST_MOTO names no program (scripts/moto): stories of a real queue");
        return None;
    };
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let script = "\"$0\" -H 127.0.0.1 -p \"$1\" >/dev/null 2>&1 & server=$!; echo started; read -r _; kill $server";
    let mut shell = Command::new("/bin/sh")
        .args(["-c", script, &program, &port.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(shell.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let url = format!("http://127.0.0.1:{port}");
    let http = fluent_connector::remote::http_client().unwrap();
    let answers = async || http.get(&url).send().await.is_ok();
    crate::settle::eventually("moto answers", answers).await;
    Some(Moto { url, _shell: shell })
}

impl Queue {
    async fn new() -> Option<Self> {
        let moto = moto().await?;
        let http = fluent_connector::remote::http_client().unwrap();
        let queue = Self { url: String::new(), server: moto.url.clone(), http };
        let name = format!("ct-{}", uuid::Uuid::now_v7().simple());
        let made = queue.call("CreateQueue", json!({"QueueName": name})).await;
        let url = made["QueueUrl"].as_str().unwrap().to_owned();
        Some(Self { url, ..queue })
    }

    async fn call(&self, operation: &str, body: Value) -> Value {
        let request = self
            .http
            .post(&self.server)
            .header("content-type", "application/x-amz-json-1.0")
            .header("x-amz-target", format!("AmazonSQS.{operation}"))
            .header("authorization", "AWS4-HMAC-SHA256 Credential=x/20260615/eu-central-1/sqs/aws4_request")
            .body(body.to_string());
        let answer = request.send().await.unwrap();
        assert!(answer.status().is_success(), "{operation}: {}", answer.status());
        serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
    }

    async fn put(&self, bodies: &[String]) {
        for ten in bodies.chunks(10) {
            let entries = ten.iter().enumerate();
            let entries: Vec<Value> =
                entries.map(|(n, body)| json!({"Id": n.to_string(), "MessageBody": body})).collect();
            let put = self.call("SendMessageBatch", json!({"QueueUrl": self.url, "Entries": entries})).await;
            assert_eq!(put["Successful"].as_array().unwrap().len(), ten.len());
        }
    }

    /// Messages in the queue, hidden ones too.
    async fn len(&self) -> u64 {
        let names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"];
        let asked = json!({"QueueUrl": self.url, "AttributeNames": names});
        let answer = self.call("GetQueueAttributes", asked).await;
        names.iter().map(|name| answer["Attributes"][*name].as_str().unwrap().parse::<u64>().unwrap()).sum()
    }

    async fn world(&self, engine: Engine, visibility: &str) -> Option<World> {
        let over = entry(&self.url, "wait: 1s, pollers: 2").replace("visibility: 30s", visibility);
        let connection = UNPOLLED.to_owned();
        World::with(engine, Settings { without_push: true, over, connection, ..Settings::default() }).await
    }
}

async fn every_form_arrives_once_and_leaves_the_queue(engine: Engine) {
    let Some(queue) = Queue::new().await else { return };
    let Some(world) = queue.world(engine, "visibility: 30s").await else { return };
    let notes = ["1", "2", "3", "4", "5"].map(|number| order(&world, number));
    let project = &notes[0]["projectKey"];
    let forms = [
        notes[0].clone(),
        cloud_event(&notes[1]),
        event(project, &notes[2]),
        wrapped(&notes[3], TOPIC),
        wrapped(&event(project, &cloud_event(&notes[4])), TOPIC),
    ];
    let bodies: Vec<String> = forms.iter().chain(&forms[..2]).map(Value::to_string).chain(["<xml/>".into()]).collect();
    queue.put(&bodies).await;
    world.until("the queue is empty", async || queue.len().await == 0).await;
    world.settle().await;
    assert_eq!(world.fluent_effects("createOrder", "ORDER").len(), 5);
    assert_eq!(kept(&world).await.len(), 6, "five orders, and what cannot be read");
    assert_eq!(world.parked().await.len(), 1);
    world.nothing_lost().await;
}

async fn what_a_killed_daemon_held_comes_back(engine: Engine) {
    let count: usize = campaign().unwrap_or(200);
    let Some(queue) = Queue::new().await else { return };
    let Some(mut world) = queue.world(engine, "visibility: 2s").await else { return };
    let config = world.stop(0).await;
    let bodies: Vec<String> = (0..count).map(|number| order(&world, &number.to_string()).to_string()).collect();
    queue.put(&bodies).await;
    let mut rest = count as u64;
    let kills = 5;
    for kill in 1..=kills {
        let daemon = world.start_again(config.clone()).await;
        world.daemons.insert(0, daemon);
        let life = world.make_mortal(0).await;
        // Somewhere in the middle of what is left: with messages received, stored or deleted by half.
        let goal = rest - rest / (kills + 2 - kill);
        shrunk(&world, &queue, count, goal).await;
        rest = queue.len().await;
        world.kill(0, life);
        // Its lease ends, and what it was working on is free again.
        world.tick(Duration::from_secs(61));
    }
    let daemon = world.start_again(config).await;
    world.daemons.insert(0, daemon);
    shrunk(&world, &queue, count, 0).await;
    for _ in 0..20 {
        world.advance(Duration::from_secs(60)).await;
    }
    assert_eq!(world.fluent.orders().len(), count);
    assert_eq!(world.fluent_effects("createOrder", "ORDER").len(), count, "each exactly once");
    let queued = "select count(*) from message where source = 'sqs'";
    assert_eq!(world.database.rows::<(i64,)>(queued).await, [(count as i64,)]);
    assert!(world.parked().await.is_empty(), "{:#?}", world.parked().await);
    world.nothing_lost().await;
}

/// Waits until no more than `goal` of `count` messages are in the queue.
async fn shrunk(world: &World, queue: &Queue, count: usize, goal: u64) {
    for _ in 0..3_000 + 20 * count {
        if queue.len().await <= goal {
            return;
        }
        world.breathe(2).await;
    }
    panic!("there are still {} of {count} messages in the queue, not {goal}", queue.len().await);
}

/// How many messages, where that is a campaign (`scripts/soak`).
fn campaign() -> Option<usize> {
    #[expect(clippy::disallowed_methods, reason = "scripts/soak says how many, to the tests and not to the connector")]
    std::env::var("FLUENT_CONNECTOR_QUEUE_MESSAGES").ok()?.parse().ok()
}
