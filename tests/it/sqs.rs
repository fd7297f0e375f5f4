//! Stories of a queue that is pulled (`surfaces.md` 2.4): what happens to its messages when something
//! goes wrong. The queue is a double; `moto` tells the same of a real one.

mod double;
mod moto;

use std::time::Duration;

use fluent_connector::store::{Filter, Row};
use serde_json::{Value, json};

use crate::cloud::{TOPIC, cloud_event, useless};
use crate::database::Engine;
use crate::incident::writable;
use crate::on_both_databases;
use crate::world::{Settings, World};
use double::Double;

on_both_databases! {
    calls_are_signed_and_ask_for_what_is_configured,
    what_nobody_can_use_is_parked_and_deleted,
    a_message_is_deleted_after_its_commit_and_hidden_until_then,
    what_cannot_be_stored_goes_back,
    what_was_not_deleted_is_deleted_again,
    refused_credentials_are_tried_again_every_half_minute,
    a_queue_that_is_not_there_is_looked_for_every_minute,
    a_queue_that_fails_is_left_alone_for_a_while,
}

/// A world whose notifications wait in a queue.
struct Queued {
    world: World,
    queue: Double,
}

impl Queued {
    async fn with(engine: Engine, more: &str) -> Option<Self> {
        let queue = Double::start().await;
        let settings = pulled(&queue, more);
        Some(Self { world: World::with(engine, settings).await?, queue })
    }

    async fn new(engine: Engine) -> Option<Self> {
        Self::with(engine, "").await
    }

    fn order(&self, number: &str) -> Value {
        order(&self.world, number)
    }

    /// Lets the poller come around until the queue is empty.
    async fn drained(&self) {
        let empty = async || {
            self.world.tick(Duration::from_secs(1));
            self.queue.len() == 0
        };
        self.world.until("the queue is empty", empty).await;
        self.world.settle().await;
    }

    async fn calls(&self, operation: &'static str, count: usize) {
        let made = async || self.queue.calls(operation).len() >= count;
        self.world.until(&format!("{operation} was called {count} times"), made).await;
        assert_eq!(self.queue.calls(operation).len(), count, "{operation}");
    }

    fn orders_created(&self) -> usize {
        self.world.fluent_effects("createOrder", "ORDER").len()
    }
}

/// What comes, comes out of the queue.
const UNPOLLED: &str = "    order: { poll: 0s }";

/// What pulls this queue, and nothing else.
fn pulled(queue: &Double, more: &str) -> Settings {
    let over = entry(&queue.url, &format!("wait: 0s, pollers: 1{more}"));
    Settings { without_push: true, over, connection: UNPOLLED.to_owned(), ..Settings::default() }
}

/// The configuration of one queue.
fn entry(url: &str, more: &str) -> String {
    format!(
        "intake: {{ sqs: [{{ name: main, connection: main, queue_url: \"{url}\", region: eu-central-1, \
         access_key_id: AKIDEXAMPLE, secret_access_key: s3cret, visibility: 30s, {more} }}] }}\n"
    )
}

/// Places an order; answers what the platform would notify.
fn order(world: &World, number: &str) -> Value {
    let id = world.commercetools.order(Some(number)).place();
    let told = world.commercetools.notifications();
    told.into_iter().rev().find(|told| told["resource"]["id"] == id.as_str()).unwrap()
}

fn wrapped(message: &Value, topic: &str) -> Value {
    json!({"Type": "Notification", "MessageId": "m", "TopicArn": topic, "Message": message.to_string()})
}

fn event(project: &Value, detail: &Value) -> Value {
    let source = format!("aws.partner/commercetools.com/{}/main", project.as_str().unwrap());
    json!({"version": "0", "id": "e", "detail-type": "OrderCreated", "source": source, "detail": detail})
}

/// Messages that came out of the queue, newest first.
async fn kept(world: &World) -> Vec<Row> {
    let rows = world.messages(Filter::default()).await;
    rows.into_iter().filter(|row| row.source == "sqs").collect()
}

async fn calls_are_signed_and_ask_for_what_is_configured(engine: Engine) {
    let Some(queued) = Queued::with(engine, ", batch: 2").await else { return };
    for number in ["1", "2", "3"] {
        queued.queue.put(&queued.order(number));
    }
    queued.drained().await;
    assert_eq!(queued.orders_created(), 3);
    let asked = &queued.queue.calls("ReceiveMessage")[0];
    assert_eq!(
        asked.body,
        json!({"QueueUrl": queued.queue.url, "MaxNumberOfMessages": 2, "WaitTimeSeconds": 0, "VisibilityTimeout": 30})
    );
    let scope = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260615/eu-central-1/sqs/aws4_request, ";
    let names = "SignedHeaders=content-type;host;x-amz-date;x-amz-target, Signature=";
    assert!(asked.authorization.starts_with(&format!("{scope}{names}")), "{asked:?}");
    assert_eq!(queued.queue.calls("DeleteMessageBatch").len(), 2);
    queued.world.nothing_lost().await;
}

async fn what_nobody_can_use_is_parked_and_deleted(engine: Engine) {
    let more = format!(", formats: [platform, sns], sns_topics: [\"{TOPIC}\"]");
    let Some(queued) = Queued::with(engine, &more).await else { return };
    let order = queued.order("1");
    let more = [
        ("a form that is not accepted", event(&order["projectKey"], &order), ("parked", "rejected")),
        ("a topic that is not accepted", wrapped(&order, "arn:aws:sns:eu-central-1:1:evil"), ("parked", "rejected")),
        (
            "a wrapper without JSON",
            json!({"Type": "Notification", "TopicArn": TOPIC, "Message": "x"}),
            ("parked", "unreadable"),
        ),
        ("three wrappers", wrapped(&wrapped(&wrapped(&order, TOPIC), TOPIC), TOPIC), ("parked", "unreadable")),
    ];
    for (what, body, (state, reason)) in useless(&order).into_iter().chain(more) {
        queued.queue.put(&body);
        queued.drained().await;
        let newest = kept(&queued.world).await.remove(0);
        assert_eq!((newest.state.as_str(), newest.reason.as_deref()), (state, Some(reason)), "{what}");
        let mut db = queued.world.daemons[0].app.store().read().await.unwrap();
        assert_eq!(db.message_body(newest.id).await.unwrap(), Some(body.to_string().into_bytes()), "{what}");
    }
    assert_eq!(queued.orders_created(), 0);
    queued.queue.put(&wrapped(&wrapped(&cloud_event(&order), TOPIC), TOPIC));
    queued.drained().await;
    assert_eq!(queued.orders_created(), 1, "a wrapper may hold a wrapper once");
    queued.world.nothing_lost().await;
}

async fn a_message_is_deleted_after_its_commit_and_hidden_until_then(engine: Engine) {
    let Some(queued) = Queued::new(engine).await else { return };
    let note = queued.order("1");
    queued.world.settle().await;
    let lock = queued.world.database.lock().await;
    queued.queue.put(&note);
    queued.world.tick(Duration::from_secs(1));
    let received = async || !queued.queue.calls("ReceiveMessage").is_empty() && queued.queue.is_held();
    queued.world.until("the message was received", received).await;
    for extensions in 1..=2 {
        // Once the timer is set: it is set with the first look at the commit.
        queued.world.breathe(20).await;
        queued.world.tick(Duration::from_secs(15));
        queued.calls("ChangeMessageVisibilityBatch", extensions).await;
    }
    let extended = &queued.queue.calls("ChangeMessageVisibilityBatch")[0].body["Entries"];
    assert_eq!(*extended, json!([{"Id": "0", "ReceiptHandle": "r-1", "VisibilityTimeout": 30}]));
    assert_eq!(
        (queued.queue.len(), queued.queue.calls("DeleteMessageBatch").len()),
        (1, 0),
        "nothing is committed yet"
    );
    lock.release().await;
    queued.drained().await;
    assert_eq!(queued.orders_created(), 1);
    queued.world.nothing_lost().await;
}

async fn what_cannot_be_stored_goes_back(engine: Engine) {
    let Some(mut queued) = Queued::new(engine).await else { return };
    let note = queued.order("1");
    queued.world.settle().await;
    writable(&queued.world, false).await;
    queued.queue.put(&note);
    let given_back = async || {
        queued.world.tick(Duration::from_secs(1));
        queued.world.daemons[0].app.store().trouble().is_some() && !queued.queue.is_held()
    };
    queued.world.until("the store is in trouble, and nothing is held", given_back).await;
    assert_eq!((queued.queue.len(), queued.queue.calls("DeleteMessageBatch").len()), (1, 0));
    writable(&queued.world, true).await;
    if engine == Engine::Sqlite {
        // What made the connection read-only ends only with it.
        queued.world.restart().await;
    }
    queued.drained().await;
    assert_eq!(kept(&queued.world).await.len(), 1);
    assert_eq!(queued.orders_created(), 1);
    queued.world.nothing_lost().await;
}

/// No disk has a petabyte free.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_disk_is_low_nothing_is_received() {
    let Some(mut queued) = Queued::new(Engine::Sqlite).await else { return };
    let mut settings = pulled(&queued.queue, "");
    settings.over.push_str("database: { disk_reserve: 1048576GiB }\n");
    queued.world.set(settings);
    queued.world.restart().await;
    let low = async || {
        queued.world.tick(Duration::from_secs(1));
        queued.world.daemons[0].app.store().trouble().is_some()
    };
    queued.world.until("the disk is low", low).await;
    queued.world.breathe(20).await;
    let asked = queued.queue.calls("ReceiveMessage").len();
    queued.queue.put(&queued.order("1"));
    for _ in 0..5 {
        queued.world.tick(Duration::from_secs(1));
        queued.world.breathe(20).await;
    }
    assert_eq!((queued.queue.calls("ReceiveMessage").len(), queued.queue.len()), (asked, 1));
    queued.world.set(pulled(&queued.queue, ""));
    queued.world.restart().await;
    queued.drained().await;
    assert_eq!(queued.orders_created(), 1);
    queued.world.nothing_lost().await;
}

async fn what_was_not_deleted_is_deleted_again(engine: Engine) {
    let Some(queued) = Queued::new(engine).await else { return };
    let failed = json!({"Successful": [], "Failed": [{"Id": "0", "Code": "InternalError", "SenderFault": false}]});
    queued.queue.answer("DeleteMessageBatch", 200, failed);
    queued.queue.put(&queued.order("1"));
    queued.drained().await;
    assert_eq!(queued.queue.calls("DeleteMessageBatch").len(), 2);
    // A delete that did not work at all: the message comes again, and is a duplicate.
    let second = queued.order("2");
    for _ in 0..2 {
        queued.queue.answer("DeleteMessageBatch", 500, json!({}));
    }
    queued.queue.put(&second);
    let tried = async || {
        queued.world.tick(Duration::from_secs(1));
        queued.queue.calls("DeleteMessageBatch").len() == 4
    };
    queued.world.until("both tries failed", tried).await;
    assert_eq!(queued.queue.len(), 1);
    queued.queue.show();
    queued.drained().await;
    assert_eq!(kept(&queued.world).await.len(), 2);
    assert_eq!(queued.orders_created(), 2);
    queued.world.nothing_lost().await;
}

async fn refused_credentials_are_tried_again_every_half_minute(engine: Engine) {
    let Some(queued) = Queued::new(engine).await else { return };
    queued.calls("ReceiveMessage", 1).await;
    let refusal = json!({"__type": "com.amazon.coral.service#UnrecognizedClientException", "message": "The security token is invalid."});
    for status in [403, 400, 401] {
        queued.queue.answer("ReceiveMessage", status, refusal.clone());
    }
    queued.world.tick(Duration::from_secs(1));
    queued.calls("ReceiveMessage", 3).await;
    queued.world.breathe(20).await;
    queued.world.tick(Duration::from_secs(29));
    queued.world.breathe(20).await;
    queued.calls("ReceiveMessage", 3).await;
    queued.world.tick(Duration::from_secs(1));
    queued.calls("ReceiveMessage", 4).await;
    queued.world.breathe(20).await;
    queued.queue.put(&queued.order("1"));
    queued.world.tick(Duration::from_secs(30));
    queued.drained().await;
    assert_eq!(queued.orders_created(), 1);
    queued.world.nothing_lost().await;
}

async fn a_queue_that_is_not_there_is_looked_for_every_minute(engine: Engine) {
    let Some(queued) = Queued::new(engine).await else { return };
    queued.calls("ReceiveMessage", 1).await;
    queued.queue.answer(
        "ReceiveMessage",
        400,
        json!({"__type": "com.amazonaws.sqs#QueueDoesNotExist", "message": "?"}),
    );
    queued.world.breathe(20).await;
    queued.world.tick(Duration::from_secs(1));
    queued.calls("ReceiveMessage", 2).await;
    queued.world.breathe(20).await;
    queued.world.tick(Duration::from_secs(59));
    queued.world.breathe(20).await;
    queued.calls("ReceiveMessage", 2).await;
    queued.queue.put(&queued.order("1"));
    queued.world.tick(Duration::from_secs(1));
    queued.drained().await;
    assert_eq!(queued.orders_created(), 1);
    queued.world.nothing_lost().await;
}

async fn a_queue_that_fails_is_left_alone_for_a_while(engine: Engine) {
    let Some(queued) = Queued::new(engine).await else { return };
    queued.calls("ReceiveMessage", 1).await;
    for (status, body) in [
        (503, json!({})),
        (400, json!({"__type": "com.amazonaws.sqs#RequestThrottled", "message": "slow down"})),
        (500, json!({})),
        (200, json!("no object")),
    ] {
        queued.queue.answer("ReceiveMessage", status, body);
    }
    queued.queue.put(&queued.order("1"));
    let tried = async |count: usize| {
        let made = async || {
            queued.world.tick(Duration::from_millis(500));
            queued.queue.calls("ReceiveMessage").len() >= count
        };
        queued.world.until("it was asked again", made).await;
    };
    tried(5).await;
    assert_eq!(queued.orders_created(), 0, "nothing came out of it");
    queued.drained().await;
    assert_eq!(queued.orders_created(), 1);
    queued.world.nothing_lost().await;
}
