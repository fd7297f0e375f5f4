//! Stories of commercetools notifications that a relay pushes (`surfaces.md` 2.4, 3; C 1.2, 1.3).

use std::io::Write;

use fluent_connector::simulator::commercetools;
use fluent_connector::store::{Filter, Row};
use serde_json::{Value, json};

use crate::caller::{Reply, Request};
use crate::database::Engine;
use crate::on_both_databases;
use crate::world::{Settings, World};

on_both_databases! {
    both_formats_make_an_order_once,
    many_come_at_once_up_to_a_hundred,
    another_project_is_refused_whole,
    what_cannot_be_read_is_kept_for_a_person,
    what_concerns_nobody_is_kept_and_skipped,
    a_payload_that_was_left_out_is_not_missed,
    whoever_may_not_is_told_so,
    a_token_travels_in_a_header_only,
    a_path_that_is_off_is_not_there,
    a_compressed_body_is_inflated_within_the_limit,
}

const PATH: &str = "/intake/commercetools/plain/main";

/// A world whose shop delivers nothing by itself, and a token to do that by hand.
struct Relay {
    world: World,
    token: String,
}

impl Relay {
    async fn with(engine: Engine, settings: Settings) -> Option<Self> {
        let world = World::with(engine, Settings { without_push: true, ..settings }).await?;
        let token = world.token(&["intake:commercetools"]).await;
        Some(Self { world, token })
    }

    async fn new(engine: Engine) -> Option<Self> {
        Self::with(engine, Settings::default()).await
    }

    /// Places an order; answers its id and what the platform would notify.
    fn order(&self, number: &str) -> (String, Value) {
        let id = self.world.commercetools.order(Some(number)).place();
        let told = self.world.commercetools.notifications();
        let about = |told: &&Value| told["resource"]["id"] == id.as_str();
        (id.clone(), told.iter().find(about).unwrap().clone())
    }

    fn request(&self, body: impl Into<Vec<u8>>) -> Request {
        Request::post(PATH, body).bearer(&self.token)
    }

    async fn send(&self, request: &Request) -> Reply {
        request.send(&self.world.url(0)).await
    }

    async fn deliver(&self, body: &Value) -> Reply {
        self.send(&self.request(body.to_string())).await
    }

    /// Messages that came this way.
    async fn kept(&self) -> Vec<Row> {
        self.world.settle().await;
        let rows = self.world.messages(Filter::default()).await;
        rows.into_iter().filter(|row| row.source == "plain").collect()
    }

    fn orders_created(&self) -> usize {
        self.world.fluent_effects("createOrder", "ORDER").len()
    }
}

fn counts(reply: &Reply) -> (u16, &Value, &Value) {
    (reply.status, &reply.body["accepted"], &reply.body["duplicates"])
}

fn cloud_event(notification: &Value) -> Value {
    json!({
        "specversion": "1.0", "id": "e-1", "type": "com.commercetools.order.message.OrderCreated",
        "source": "/demo-project/orders", "subject": notification["resource"]["id"],
        "time": notification["lastModifiedAt"], "sequence": "1", "data": notification,
    })
}

async fn both_formats_make_an_order_once(engine: Engine) {
    let Some(relay) = Relay::new(engine).await else { return };
    let (_, platform) = relay.order("1");
    let (_, event) = relay.order("2");
    let request = relay.request(platform.to_string()).header("x-request-id", "relay-00001");
    assert_eq!(counts(&relay.send(&request).await), (202, &json!(1), &json!(0)));
    assert_eq!(counts(&relay.deliver(&cloud_event(&event)).await), (202, &json!(1), &json!(0)));
    let kept = relay.kept().await;
    assert_eq!(kept.last().unwrap().correlation, "relay-00001");
    assert_eq!(relay.orders_created(), 2);
    for again in [&cloud_event(&platform), &event] {
        assert_eq!(counts(&relay.deliver(again).await), (202, &json!(0), &json!(1)), "whatever the format");
    }
    assert_eq!(relay.kept().await.len(), 2);
    assert_eq!(relay.orders_created(), 2);
    relay.world.nothing_lost().await;
}

async fn many_come_at_once_up_to_a_hundred(engine: Engine) {
    let Some(relay) = Relay::new(engine).await else { return };
    let notes: Vec<Value> = (0..5).map(|number| relay.order(&number.to_string()).1).collect();
    let filled = |count: usize| -> Vec<Value> { (0..count).map(|index| notes[index % 5].clone()).collect() };
    assert_eq!(relay.deliver(&json!(filled(101))).await.problem(), (422, "invalid"));
    assert_eq!(relay.kept().await.len(), 0);
    assert_eq!(counts(&relay.deliver(&json!(filled(100))).await), (202, &json!(5), &json!(95)));
    assert_eq!(counts(&relay.deliver(&json!([])).await), (202, &json!(0), &json!(0)));
    assert_eq!(relay.kept().await.len(), 5);
    assert_eq!(relay.orders_created(), 5);
    relay.world.nothing_lost().await;
}

async fn another_project_is_refused_whole(engine: Engine) {
    let Some(relay) = Relay::new(engine).await else { return };
    let (_, ours) = relay.order("1");
    let mut theirs = ours.clone();
    theirs["projectKey"] = "another-project".into();
    for body in [theirs.clone(), cloud_event(&theirs), json!([ours, theirs])] {
        let reply = relay.deliver(&body).await;
        assert_eq!(reply.problem(), (422, "invalid"));
        assert!(reply.body["detail"].as_str().unwrap().contains("another-project"), "{reply:?}");
    }
    assert_eq!(relay.kept().await.len(), 0);
    assert_eq!(relay.orders_created(), 0);
}

async fn what_cannot_be_read_is_kept_for_a_person(engine: Engine) {
    let Some(relay) = Relay::new(engine).await else { return };
    let (_, good) = relay.order("1");
    for (body, accepted) in [("<xml/>".to_owned(), 1), ("".into(), 1), (json!([{"a": 1}, good, 7]).to_string(), 3)] {
        let reply = relay.send(&relay.request(body.clone())).await;
        assert_eq!(counts(&reply), (202, &json!(accepted), &json!(0)), "{body}");
        let reply = relay.send(&relay.request(body)).await;
        assert_eq!(counts(&reply), (202, &json!(0), &json!(accepted)), "once is enough");
    }
    relay.world.settle().await;
    assert_eq!(relay.orders_created(), 1, "the good one among the bad ones");
    let parked = relay.world.parked().await;
    assert_eq!(parked.len(), 4);
    let mut db = relay.world.daemons[0].app.store().read().await.unwrap();
    for row in &parked {
        assert_eq!(row.reason.as_deref(), Some("unreadable"));
        let sentence = row.detail.as_deref().unwrap();
        assert!(sentence.starts_with("The notification cannot be read"), "{sentence}");
        assert!(db.message_body(row.id).await.unwrap().is_some(), "the body is kept as evidence");
    }
    relay.world.nothing_lost().await;
}

async fn what_concerns_nobody_is_kept_and_skipped(engine: Engine) {
    let Some(relay) = Relay::new(engine).await else { return };
    let (_, order) = relay.order("1");
    let own = &relay.world.commercetools.options().client_id;
    let with = |changes: Value| {
        let mut changed = order.clone();
        changed.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        changed
    };
    let test = json!({
        "notificationType": "ResourceCreated", "projectKey": order["projectKey"], "version": 1,
        "resource": {"typeId": "subscription", "id": "s-1"}, "modifiedAt": order["createdAt"],
    });
    let state = json!({"sequenceNumber": 7, "type": "OrderStateChanged", "lastModifiedBy": {"clientId": own}});
    let unknown = json!({"sequenceNumber": 8, "type": "OrderSomethingNew"});
    let review = json!({"resource": {"typeId": "review", "id": "r-1"}, "type": "ReviewCreated"});
    for (what, body, reason) in [
        ("the test of a subscription", test, "ignored"),
        ("our own write", with(state), "own-write"),
        ("an unknown type", with(unknown), "ignored"),
        ("an unknown resource", with(review), "ignored"),
    ] {
        assert_eq!(counts(&relay.deliver(&body).await), (202, &json!(1), &json!(0)), "{what}");
        let newest = &relay.kept().await[0];
        assert_eq!((newest.state.as_str(), newest.reason.as_deref()), ("skipped", Some(reason)), "{what}");
        assert_eq!(counts(&relay.deliver(&body).await), (202, &json!(0), &json!(1)), "{what}, again");
    }
    assert_eq!(relay.world.commercetools.front().received("GET /orders/{id}"), 0);
    assert_eq!(relay.orders_created(), 0);
    relay.world.nothing_lost().await;
}

async fn a_payload_that_was_left_out_is_not_missed(engine: Engine) {
    let Some(relay) = Relay::new(engine).await else { return };
    for (number, kept) in [("1", "type"), ("2", "payloadNotIncluded")] {
        let (_, mut note) = relay.order(number);
        let fields = note.as_object_mut().unwrap();
        let kind = fields["type"].clone();
        fields.remove("order");
        fields.insert("payloadNotIncluded".into(), json!({"reason": "Payload too large.", "payloadType": kind}));
        if kept != "type" {
            // The published form of such a notification has no type of its own.
            fields.remove("type");
        }
        assert_eq!(counts(&relay.deliver(&note).await), (202, &json!(1), &json!(0)));
        relay.world.settle().await;
        assert!(relay.world.fluent.order(&format!("HD_{number}")).is_some(), "told by {kept}");
    }
    assert!(relay.world.parked().await.is_empty());
    relay.world.nothing_lost().await;
}

async fn whoever_may_not_is_told_so(engine: Engine) {
    let options = commercetools::Options { project_key: "demo-project".into(), ..Default::default() };
    let Some(relay) = Relay::with(engine, Settings { commercetools: Some(options), ..Settings::default() }).await
    else {
        return;
    };
    let (world, now) = (&relay.world, relay.world.clock.now());
    let scopes = &["intake:commercetools"];
    let reader = world.token(&["status:read", "messages:read"]).await;
    let foreign = world.token_with(scopes, |token| token.connections.0 = vec!["other".into()]).await;
    let revoked = world.token_with(scopes, |token| token.revoked = Some(now)).await;
    let expired = world.token_with(scopes, |token| token.expires = Some(now)).await;
    let expiring = world.token_with(scopes, |token| token.expires = Some(now + 1)).await;
    let (_, note) = relay.order("1");
    let last = relay.token.chars().last().unwrap();
    let wrong_sum = format!("{}{}", &relay.token[..relay.token.len() - 1], if last == '0' { '1' } else { '0' });
    let stranger = fluent_connector::store::token::generate().1;
    let stranger = secrecy::ExposeSecret::expose_secret(&stranger).to_owned();
    for (what, token, problem) in [
        ("without the scope", &reader, (403, "forbidden")),
        ("of another connection", &foreign, (404, "not-found")),
        ("revoked", &revoked, (401, "unauthenticated")),
        ("expired", &expired, (401, "unauthenticated")),
        ("with a typing error", &wrong_sum, (401, "unauthenticated")),
        ("that nobody issued", &stranger, (401, "unauthenticated")),
        ("that is none", &"flc_".to_owned(), (401, "unauthenticated")),
    ] {
        assert_eq!(relay.send(&relay.request(note.to_string()).bearer(token)).await.problem(), problem, "{what}");
    }
    let bare = relay.request(note.to_string()).without("Authorization");
    assert_eq!(relay.send(&bare).await.problem(), (401, "unauthenticated"));
    let nowhere = Request::post("/intake/commercetools/plain/nowhere", note.to_string()).bearer(&relay.token);
    assert_eq!(relay.send(&nowhere).await.problem(), (404, "not-found"));
    assert_eq!(relay.kept().await.len(), 0);
    let request = relay.request(note.to_string()).bearer(&expiring);
    assert_eq!(counts(&relay.send(&request).await), (202, &json!(1), &json!(0)), "until it expires");
    relay.world.settle().await;
    relay.world.nothing_lost().await;
}

async fn a_token_travels_in_a_header_only(engine: Engine) {
    let Some(relay) = Relay::new(engine).await else { return };
    let (_, note) = relay.order("1");
    let token = &relay.token;
    let escaped = token.replace('_', "%5F");
    for query in [format!("token={token}"), format!("a=1&anything={escaped}"), format!("access_token={}", &token[4..])]
    {
        let asked = Request::post(format!("{PATH}?{query}"), note.to_string());
        for request in [asked.clone(), asked.bearer(token)] {
            let reply = relay.send(&request).await;
            assert_eq!(reply.problem(), (400, "malformed"), "{query}");
            assert!(reply.body["detail"].as_str().unwrap().contains("query"), "{reply:?}");
            assert!(!reply.body.to_string().contains(&token[15..30]), "{reply:?}");
        }
    }
    let bare = relay.request(note.to_string()).without("Authorization");
    let keyed = bare.clone().header("X-Api-Key", token);
    assert_eq!(counts(&relay.send(&keyed).await), (202, &json!(1), &json!(0)));
    let lower = bare.clone().header("authorization", format!("bearer {token}"));
    assert_eq!(counts(&relay.send(&lower).await), (202, &json!(0), &json!(1)), "schemes have no case");
    let basic = bare.header("Authorization", format!("Basic {token}"));
    assert_eq!(relay.send(&basic).await.problem(), (401, "unauthenticated"));
    assert_eq!(relay.kept().await.len(), 1);
    assert_eq!(relay.orders_created(), 1);
}

async fn a_path_that_is_off_is_not_there(engine: Engine) {
    let over = "intake: { push: { plain: { enabled: false } } }".to_owned();
    let Some(relay) = Relay::with(engine, Settings { over, ..Settings::default() }).await else { return };
    let (_, note) = relay.order("1");
    assert_eq!(relay.deliver(&note).await.problem(), (404, "not-found"));
    assert_eq!(relay.kept().await.len(), 0);
}

async fn a_compressed_body_is_inflated_within_the_limit(engine: Engine) {
    let Some(relay) = Relay::new(engine).await else { return };
    let (_, note) = relay.order("1");
    let zipped = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        relay.request(encoder.finish().unwrap()).header("Content-Encoding", "gzip")
    };
    assert_eq!(counts(&relay.send(&zipped(note.to_string().as_bytes())).await), (202, &json!(1), &json!(0)));
    relay.world.settle().await;
    assert_eq!(relay.orders_created(), 1);
    let plain = relay.request(note.to_string()).header("content-encoding", "identity");
    assert_eq!(counts(&relay.send(&plain).await), (202, &json!(0), &json!(1)));
    let bomb = zipped(&vec![b' '; 200 << 20]);
    assert_eq!(relay.send(&bomb).await.problem(), (413, "too-large"));
    let large = relay.request(vec![b' '; (1 << 20) + 1]);
    assert_eq!(relay.send(&large).await.problem(), (413, "too-large"));
    for encoding in ["br", "deflate", "gzip, gzip", "zstd"] {
        let request = zipped(b"[]").with("Content-Encoding", encoding);
        assert_eq!(relay.send(&request).await.problem(), (415, "unsupported-media-type"), "{encoding}");
    }
    assert!(relay.world.parked().await.is_empty());
    let broken = relay.request("no gzip at all").header("Content-Encoding", "gzip");
    assert_eq!(counts(&relay.send(&broken).await), (202, &json!(1), &json!(0)));
    let parked = relay.world.parked().await;
    let body = relay.world.daemons[0].app.store().read().await.unwrap().message_body(parked[0].id).await.unwrap();
    assert_eq!(body.as_deref(), Some(&b"no gzip at all"[..]), "kept as it came");
    relay.world.nothing_lost().await;
}
