//! Stories of Fluent's webhooks: what is taken, what is refused, and how (`surfaces.md` 2.3, F 1.3).

use std::sync::Arc;
use std::time::Duration;

use fluent_connector::simulator::fluent::{self, Fluent};
use fluent_connector::store::{Filter, Row};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::caller::{Reply, Request};
use crate::database::Engine;
use crate::on_both_databases;
use crate::world::{Settings, World};

on_both_databases! {
    a_genuine_webhook_has_its_effect,
    whoever_did_not_sign_is_refused,
    md5_counts_only_where_it_is_allowed,
    every_key_that_is_configured_counts,
    what_is_no_webhook_is_refused,
    ids_may_be_numbers_and_attributes_lists,
    account_and_retailer_name_the_connection,
    a_path_token_is_part_of_the_address,
    a_name_nobody_knows_is_kept_and_ignored,
    configured_names_replace_the_default,
    a_route_that_is_off_keeps_its_webhooks,
    the_same_webhook_twice_has_one_effect,
    whoever_guesses_is_slowed_down_and_nobody_else,
    a_proxy_that_is_trusted_says_who_guesses,
    a_slow_body_ends_and_holds_up_nobody,
    a_daemon_that_stops_takes_nothing_more,
    other_paths_and_methods,
}

pub const PATH: &str = "/api/v1/fluent-connect/webhook";

/// A world whose Fluent sends nothing by itself, with an order that is BOOKED there and Open here.
pub struct Booked {
    pub world: World,
    pub shop_id: String,
    pub fluent_id: String,
}

impl Booked {
    pub async fn with(engine: Engine, settings: Settings) -> Option<Self> {
        let world = World::with(engine, Settings { without_webhooks: true, ..settings }).await?;
        let shop_id = world.commercetools.order(Some("10001")).place();
        world.settle().await;
        world.fluent.set_order_status("HD_10001", "BOOKED");
        let fluent_id = world.fluent.order("HD_10001").unwrap()["id"].as_str().unwrap().to_owned();
        Some(Self { world, shop_id, fluent_id })
    }

    async fn new(engine: Engine) -> Option<Self> {
        Self::with(engine, Settings::default()).await
    }

    /// What Fluent would send.
    pub fn webhook(&self, id: &str) -> Value {
        json!({
            "id": id, "name": "fc.connect.order.webhook.status-update", "accountId": "ACME", "retailerId": "5",
            "entityId": self.fluent_id, "entityRef": "HD_10001", "entityType": "ORDER", "entitySubtype": "HD",
            "rootEntityId": self.fluent_id, "rootEntityRef": "HD_10001", "rootEntityType": "ORDER",
            "entityStatus": "BOOKED", "type": "NORMAL", "attributes": {}, "meta": {}, "source": null,
        })
    }

    /// As it goes out: both signatures over the body.
    pub fn signed(&self, webhook: &Value) -> Request {
        signed_by(&self.world.fluent, webhook.to_string())
    }

    async fn send(&self, request: &Request) -> Reply {
        request.send(&self.world.url(0)).await
    }

    async fn state(&self) -> String {
        self.world.settle().await;
        self.world.shop_order(&self.shop_id)["orderState"].as_str().unwrap().to_owned()
    }

    async fn webhooks(&self) -> Vec<Row> {
        let rows = self.world.messages(Filter::default()).await;
        rows.into_iter().filter(|row| row.source == "webhook").collect()
    }

    /// Nothing was kept and nothing was done.
    async fn untouched(&self) {
        assert_eq!(self.state().await, "Open");
        assert_eq!(self.webhooks().await.len(), 0);
        self.world.nothing_lost().await;
    }
}

fn signed_by(fluent: &Fluent, body: String) -> Request {
    let (sha512, md5) = fluent.sign(body.as_bytes());
    Request::post(PATH, body).header("fluent-signature", sha512).header("flex.signature", md5)
}

/// Another environment with the other one of the two test keys.
async fn other_fluent(world: &World) -> Fluent {
    let options =
        fluent::Options { account: "OTHER".into(), retailer_id: "9".into(), key_bits: 2048, ..Default::default() };
    let other = Fluent::start(world.clock.clone(), options).await.unwrap();
    assert_ne!(other.public_key(), world.fluent.public_key());
    other
}

async fn a_genuine_webhook_has_its_effect(engine: Engine) {
    for (bits, name, correlation) in [(1024, "Fluent-SIGNATURE", "story-4711"), (2048, "X-Fluent-Signature", "short")] {
        let options = fluent::Options { key_bits: bits, ..Default::default() };
        let settings = Settings { fluent: Some(options), ..Settings::default() };
        let Some(booked) = Booked::with(engine, settings).await else { return };
        let request = booked.signed(&booked.webhook("w-1"));
        let signature = booked.world.fluent.sign(booked.webhook("w-1").to_string().as_bytes()).0;
        let request = request.without("fluent-signature").header(name, signature).header("X-REQUEST-ID", correlation);
        let reply = booked.send(&request.with("CONTENT-type", "Application/JSON; charset=utf-8")).await;
        assert_eq!((reply.status, &reply.body["status"]), (200, &json!("accepted")));
        assert_eq!(booked.state().await, "Confirmed");
        let kept = &booked.webhooks().await[0];
        assert_eq!(reply.body["id"], kept.id.to_string());
        assert_eq!(kept.correlation == correlation, bits == 1024, "an id of 8 to 64 characters is kept");
        booked.world.nothing_lost().await;
    }
}

async fn whoever_did_not_sign_is_refused(engine: Engine) {
    let Some(booked) = Booked::new(engine).await else { return };
    let genuine = booked.signed(&booked.webhook("w-1"));
    let signature = booked.world.fluent.sign(booked.webhook("w-1").to_string().as_bytes()).0;
    let stranger = other_fluent(&booked.world).await;
    let foreign = stranger.sign(booked.webhook("w-1").to_string().as_bytes()).0;
    let mut changed = booked.webhook("w-1").to_string();
    changed.push(' ');
    let cases = [
        ("no signature", genuine.clone().without("fluent-signature").without("flex.signature")),
        ("MD5 only", genuine.clone().without("fluent-signature")),
        ("another key", genuine.clone().with("fluent-signature", &foreign)),
        ("truncated", genuine.clone().with("fluent-signature", &signature[..signature.len() - 4])),
        ("no base64", genuine.clone().with("fluent-signature", "%%%")),
        ("empty", genuine.clone().with("fluent-signature", "")),
        ("a body with one more byte", genuine.clone().body(changed)),
        ("twice, different", genuine.clone().header("fluent-signature", &foreign)),
        ("twice under two names", genuine.clone().header("x-fluent-signature", &foreign)),
    ];
    for (what, request) in cases {
        assert_eq!(booked.send(&request).await.problem(), (401, "unauthenticated"), "{what}");
    }
    booked.untouched().await;
    let twice = genuine.header("x-fluent-signature", signature);
    assert_eq!(booked.send(&twice).await.status, 200, "twice the same is one signature");
}

async fn md5_counts_only_where_it_is_allowed(engine: Engine) {
    let over = "connections: [{ name: main, fluent: { webhook: { signature: sha512-or-md5 } } }]".to_owned();
    let Some(booked) = Booked::with(engine, Settings { over, ..Settings::default() }).await else { return };
    let genuine = booked.signed(&booked.webhook("w-1")).without("fluent-signature");
    let signature = booked.world.fluent.sign(booked.webhook("w-1").to_string().as_bytes()).1;
    let changed = genuine.clone().body(booked.webhook("w-2").to_string());
    assert_eq!(booked.send(&changed).await.problem(), (401, "unauthenticated"));
    booked.untouched().await;
    assert_eq!(booked.send(&genuine).await.body["status"], "accepted");
    let dashed = genuine.without("flex.signature").header("Flex-Signature", signature);
    assert_eq!(booked.send(&dashed).await.body["status"], "duplicate");
    assert_eq!(booked.state().await, "Confirmed");
    booked.world.nothing_lost().await;
}

async fn every_key_that_is_configured_counts(engine: Engine) {
    let Some(mut booked) = Booked::new(engine).await else { return };
    let (old, new) = (booked.world.fluent.clone(), other_fluent(&booked.world).await);
    let keys = |keys: &[String]| {
        let keys = keys.iter().map(|key| format!("{key:?}")).collect::<Vec<_>>().join(", ");
        format!("connections: [{{ name: main, fluent: {{ webhook: {{ public_keys: [{keys}] }} }} }}]")
    };
    booked.world.change(|settings| settings.over = keys(&[new.public_key(), old.public_key()]));
    booked.world.restart().await;
    for (id, signer) in [("w-1", &old), ("w-2", &new)] {
        let reply = booked.send(&signed_by(signer, booked.webhook(id).to_string())).await;
        assert_eq!((reply.status, &reply.body["status"]), (200, &json!("accepted")), "while keys rotate");
    }
    assert_eq!(booked.state().await, "Confirmed");
    booked.world.change(|settings| settings.over = keys(&[new.public_key()]));
    booked.world.restart().await;
    let reply = booked.send(&signed_by(&old, booked.webhook("w-3").to_string())).await;
    assert_eq!(reply.problem(), (401, "unauthenticated"), "the old key is gone");
    let reply = booked.send(&signed_by(&new, booked.webhook("w-3").to_string())).await;
    assert_eq!(reply.status, 200);
    booked.world.settle().await;
    booked.world.nothing_lost().await;
}

async fn what_is_no_webhook_is_refused(engine: Engine) {
    let Some(booked) = Booked::new(engine).await else { return };
    let genuine = booked.webhook("w-1");
    let mut large = genuine.clone();
    large["meta"] = json!({"filler": "x".repeat(256 * 1024)});
    assert_eq!(booked.send(&booked.signed(&large)).await.problem(), (413, "too-large"));
    let form = booked.signed(&genuine);
    for kind in ["text/plain", "application/jsonp", "application/x-www-form-urlencoded"] {
        let reply = booked.send(&form.clone().with("Content-Type", kind)).await;
        assert_eq!(reply.problem(), (415, "unsupported-media-type"), "{kind}");
    }
    let zipped = form.clone().header("Content-Encoding", "gzip");
    assert_eq!(booked.send(&zipped).await.problem(), (415, "unsupported-media-type"));
    for text in ["{", "", "[]", "null", "\"w\""] {
        let reply = booked.send(&signed_by(&booked.world.fluent, text.into())).await;
        assert_eq!(reply.problem(), (400, "malformed"), "{text:?}");
    }
    for member in ["id", "name", "accountId", "retailerId", "entityId", "entityRef", "entityType"] {
        let mut broken = genuine.clone();
        broken.as_object_mut().unwrap().remove(member);
        let reply = booked.send(&booked.signed(&broken)).await;
        assert_eq!(reply.problem(), (400, "malformed"), "without {member}");
        assert!(reply.body["detail"].as_str().unwrap().contains(member), "{reply:?}");
        broken[member] = Value::Null;
        assert_eq!(booked.send(&booked.signed(&broken)).await.problem(), (400, "malformed"), "{member}: null");
    }
    booked.untouched().await;
    assert_eq!(booked.send(&form.without("Content-Type")).await.status, 200, "a missing type means JSON");
}

async fn ids_may_be_numbers_and_attributes_lists(engine: Engine) {
    let Some(booked) = Booked::new(engine).await else { return };
    let mut webhook = booked.webhook("w-1");
    let id: u64 = booked.fluent_id.parse().unwrap();
    for (member, value) in [
        ("retailerId", json!(5)),
        ("entityId", json!(id)),
        ("rootEntityId", json!(id)),
        ("accountId", json!("acme")),
        ("attributes", json!([{"name": "a", "value": 1}])),
        ("flexType", json!("ORDER::HD")),
        ("entityStatus", Value::Null),
    ] {
        webhook[member] = value;
    }
    assert_eq!(booked.send(&booked.signed(&webhook)).await.body["status"], "accepted");
    assert_eq!(booked.state().await, "Confirmed");
    webhook["id"] = json!(4711);
    webhook["attributes"] = Value::Null;
    assert_eq!(booked.send(&booked.signed(&webhook)).await.body["status"], "accepted");
    booked.world.settle().await;
    booked.world.nothing_lost().await;
}

/// A second connection, to another account with another key.
fn second_connection(other: &Fluent, shop_url: &str) -> String {
    let (options, url, key) = (other.options(), other.url(), other.public_key());
    format!(
        r#"
connections:
  - name: other
    commercetools: {{ project_key: other, api_url: "{shop_url}", auth_url: "{shop_url}", client_id: c, client_secret: s }}
    fluent:
      account: {account}
      retailer_id: {retailer}
      base_url: "{url}"
      username: "{username}"
      password: "{password}"
      client_id: "{client}"
      client_secret: "{secret}"
      product_catalogue: {{ ref: "{catalogue}" }}
      webhook: {{ public_keys: ["{key}"] }}
"#,
        account = options.account,
        retailer = options.retailer_id,
        username = options.username,
        password = options.password,
        client = options.client_id,
        secret = options.client_secret,
        catalogue = options.catalogue,
    )
}

async fn account_and_retailer_name_the_connection(engine: Engine) {
    let Some(mut booked) = Booked::new(engine).await else { return };
    let other = other_fluent(&booked.world).await;
    let over = second_connection(&other, &booked.world.commercetools.url());
    booked.world.change(|settings| settings.over = over);
    booked.world.restart().await;
    let of = |account: &str, retailer: &str| {
        let mut webhook = booked.webhook("w-1");
        webhook["accountId"] = account.into();
        webhook["retailerId"] = retailer.into();
        webhook.to_string()
    };
    let main = &booked.world.fluent;
    for (what, request, problem) in [
        ("nobody's account", signed_by(main, of("NOBODY", "5")), (404, "not-found")),
        ("nobody's retailer", signed_by(main, of("ACME", "6")), (404, "not-found")),
        ("the other's key", signed_by(&other, of("ACME", "5")), (401, "unauthenticated")),
        ("our key, the other's account", signed_by(main, of("OTHER", "9")), (401, "unauthenticated")),
    ] {
        assert_eq!(booked.send(&request).await.problem(), problem, "{what}");
    }
    let at = |path: &str, signer: &Fluent, body: String| {
        let (sha512, _) = signer.sign(body.as_bytes());
        Request::post(format!("{PATH}/{path}"), body).header("fluent-signature", sha512)
    };
    for (what, request, problem) in [
        ("another's address", at("other", &other, of("ACME", "5")), (404, "not-found")),
        ("another's address and our key", at("other", main, of("ACME", "5")), (401, "unauthenticated")),
        ("no such address", at("third", main, of("ACME", "5")), (404, "not-found")),
        ("a token where none is", at("main/token", main, of("ACME", "5")), (404, "not-found")),
    ] {
        assert_eq!(booked.send(&request).await.problem(), problem, "{what}");
    }
    booked.untouched().await;
    assert_eq!(booked.send(&at("main", main, of("ACME", "5"))).await.body["status"], "accepted");
    assert_eq!(booked.state().await, "Confirmed");
    assert_eq!(booked.send(&signed_by(&other, of("OTHER", "9"))).await.body["status"], "accepted");
    let kept = booked.webhooks().await;
    let connections: Vec<_> = kept.iter().map(|row| row.connection.as_str()).collect();
    assert_eq!(connections, ["other", "main"]);
}

async fn a_path_token_is_part_of_the_address(engine: Engine) {
    let over = "connections: [{ name: main, fluent: { webhook: { path_token: sesame } } }]".to_owned();
    let Some(booked) = Booked::with(engine, Settings { over, ..Settings::default() }).await else { return };
    let genuine = booked.signed(&booked.webhook("w-1"));
    let to = |path: &str| {
        let body = booked.webhook("w-1").to_string();
        let (sha512, _) = booked.world.fluent.sign(body.as_bytes());
        Request::post(format!("{PATH}{path}"), body).header("fluent-signature", sha512)
    };
    assert_eq!(booked.send(&genuine).await.problem(), (404, "not-found"));
    for path in ["/main", "/main/sesam", "/main/sesame1", "/other/sesame", "/main/sesame/more"] {
        let reply = booked.send(&to(path)).await;
        assert!(matches!(reply.problem(), (404, "not-found")), "{path}: {reply:?}");
        assert!(!reply.body.to_string().contains("sesam"), "{reply:?}");
    }
    booked.untouched().await;
    assert_eq!(booked.send(&to("/main/sesame")).await.body["status"], "accepted");
    assert_eq!(booked.state().await, "Confirmed");
}

async fn a_name_nobody_knows_is_kept_and_ignored(engine: Engine) {
    for matching in [true, false] {
        let connection = format!("    webhooks: {{ match_entity_type: {matching} }}");
        let Some(booked) = Booked::with(engine, Settings { connection, ..Settings::default() }).await else { return };
        let mut webhook = booked.webhook("w-1");
        webhook["name"] = "acme.something".into();
        let reply = booked.send(&booked.signed(&webhook)).await;
        assert_eq!((reply.status, &reply.body["status"]), (200, &json!("accepted")));
        webhook["entityType"] = "INVOICE".into();
        webhook["id"] = "w-2".into();
        assert_eq!(booked.send(&booked.signed(&webhook)).await.status, 200);
        assert_eq!(booked.state().await, if matching { "Confirmed" } else { "Open" });
        let ignored: Vec<_> =
            booked.webhooks().await.into_iter().filter(|row| row.reason.as_deref() == Some("ignored")).collect();
        assert_eq!(ignored.len(), if matching { 1 } else { 2 });
        for row in ignored {
            assert_eq!(row.state, "skipped");
            let detail = row.detail.as_deref().unwrap();
            assert!(
                detail.starts_with("Webhook acme.something (") && detail.contains("has no route; add the name"),
                "{row:?}"
            );
        }
        booked.world.nothing_lost().await;
    }
}

async fn configured_names_replace_the_default(engine: Engine) {
    let connection = "    webhooks: { match_entity_type: false, names: { fluent.order-updated: [acme.moved] } }".into();
    let Some(booked) = Booked::with(engine, Settings { connection, ..Settings::default() }).await else { return };
    let mut webhook = booked.webhook("w-1");
    assert_eq!(booked.send(&booked.signed(&webhook)).await.status, 200);
    assert_eq!(booked.state().await, "Open", "the default name means nothing now");
    webhook["name"] = "acme.moved".into();
    webhook["id"] = "w-2".into();
    assert_eq!(booked.send(&booked.signed(&webhook)).await.status, 200);
    assert_eq!(booked.state().await, "Confirmed");
    booked.world.nothing_lost().await;
}

async fn a_route_that_is_off_keeps_its_webhooks(engine: Engine) {
    let top = "routes: { fluent.order-updated: { enabled: false } }".to_owned();
    let Some(booked) = Booked::with(engine, Settings { top, ..Settings::default() }).await else { return };
    let reply = booked.send(&booked.signed(&booked.webhook("w-1"))).await;
    assert_eq!((reply.status, &reply.body["status"]), (200, &json!("accepted")));
    assert_eq!(booked.state().await, "Open");
    let kept = &booked.webhooks().await[0];
    assert_eq!((kept.state.as_str(), kept.reason.as_deref()), ("skipped", Some("ignored")));
    assert!(kept.detail.as_deref().unwrap().contains("fluent.order-updated"), "{kept:?}");
    booked.world.nothing_lost().await;
}

async fn the_same_webhook_twice_has_one_effect(engine: Engine) {
    let Some(booked) = Booked::new(engine).await else { return };
    let genuine = booked.signed(&booked.webhook("w-1"));
    let first = booked.send(&genuine).await;
    assert_eq!(first.body["status"], "accepted");
    assert_eq!(booked.state().await, "Confirmed");
    let looked = booked.world.fluent.front().exchanges().len();
    let mut lower = booked.webhook("w-1");
    lower["accountId"] = "acme".into();
    for request in [genuine, booked.signed(&lower)] {
        let again = booked.send(&request).await;
        assert_eq!((again.status, &again.body["status"]), (200, &json!("duplicate")));
        assert_eq!(again.body["id"], first.body["id"], "it names the message that it repeats");
    }
    booked.world.settle().await;
    assert_eq!(booked.world.fluent.front().exchanges().len(), looked, "nobody looks again");
    booked.world.nothing_lost().await;
}

async fn whoever_guesses_is_slowed_down_and_nobody_else(engine: Engine) {
    let Some(booked) = Booked::new(engine).await else { return };
    let forged = booked.signed(&booked.webhook("w-1")).with("fluent-signature", "AAAA");
    let twice = forged.clone().header("fluent-signature", "BBBB");
    for number in 0..30 {
        let reply = booked.send(if number % 2 == 0 { &forged } else { &twice }).await;
        assert_eq!(reply.problem(), (401, "unauthenticated"), "failure {number}");
    }
    let mut waits = Vec::new();
    for request in [&forged, &twice] {
        let reply = booked.send(request).await;
        assert_eq!(reply.problem(), (429, "rate-limited"));
        waits.push(reply.header("retry-after").unwrap().parse::<u64>().unwrap());
    }
    assert_eq!(waits, [60, 60]);
    assert_eq!(booked.send(&booked.signed(&booked.webhook("w-1"))).await.body["status"], "accepted");
    assert_eq!(booked.state().await, "Confirmed");
    booked.world.advance(Duration::from_secs(60)).await;
    for _ in 0..30 {
        assert_eq!(booked.send(&forged).await.problem(), (401, "unauthenticated"), "a minute later");
    }
    assert_eq!(booked.send(&forged).await.header("retry-after"), Some("120"), "it grows");
    booked.world.nothing_lost().await;
}

async fn a_proxy_that_is_trusted_says_who_guesses(engine: Engine) {
    for (trusted, is_told) in [("[127.0.0.0/8]", true), ("[10.0.0.0/8]", false)] {
        let over = format!("server: {{ trusted_proxies: {trusted} }}");
        let Some(booked) = Booked::with(engine, Settings { over, ..Settings::default() }).await else { return };
        let forged = booked.signed(&booked.webhook("w-1")).with("fluent-signature", "AAAA");
        let from = |address: &str| forged.clone().header("X-Forwarded-For", address);
        for _ in 0..30 {
            assert_eq!(booked.send(&from("192.0.2.1")).await.problem(), (401, "unauthenticated"));
        }
        assert_eq!(booked.send(&from("192.0.2.1")).await.problem(), (429, "rate-limited"));
        let another = if is_told { (401, "unauthenticated") } else { (429, "rate-limited") };
        assert_eq!(booked.send(&from("192.0.2.2")).await.problem(), another, "{trusted}");
        assert_eq!(
            booked.send(&from("192.0.2.2, 192.0.2.1")).await.problem(),
            (429, "rate-limited"),
            "a stranger's word"
        );
        booked.untouched().await;
    }
}

async fn a_slow_body_ends_and_holds_up_nobody(engine: Engine) {
    let over = "server: { limits: { request_timeout: 1s } }".to_owned();
    let Some(booked) = Booked::with(engine, Settings { over, ..Settings::default() }).await else { return };
    let slow = booked.signed(&booked.webhook("w-1")).announcing(10_000);
    let slow: Vec<_> = (0..64).map(|_| booked.send(&slow)).collect();
    let (slow, genuine) = tokio::join!(futures_util::future::join_all(slow), async {
        let reply = booked.send(&booked.signed(&booked.webhook("w-2"))).await;
        assert_eq!(booked.state().await, "Confirmed");
        reply
    });
    assert_eq!(genuine.body["status"], "accepted");
    for reply in slow {
        assert_eq!(reply.problem(), (408, "request-timeout"));
    }
    assert_eq!(booked.webhooks().await.len(), 1);
    booked.world.nothing_lost().await;
}

async fn a_daemon_that_stops_takes_nothing_more(engine: Engine) {
    let Some(mut booked) = Booked::new(engine).await else { return };
    let token = booked.world.token(&["intake:commercetools"]).await;
    let (gate, inside) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    booked.world.stop_daemon().await;
    let (opens, enters) = (gate.clone(), inside.clone());
    let held = move |_, _| {
        let (opens, enters) = (opens.clone(), enters.clone());
        async move {
            enters.add_permits(1);
            let _ = opens.acquire().await;
            Ok(())
        }
    };
    booked.world.start_daemon_with(|routes| routes.replace("fluent.order-updated", held)).await;
    let url = booked.world.url(0);
    assert_eq!(booked.send(&booked.signed(&booked.webhook("w-1"))).await.body["status"], "accepted");
    let _ = inside.acquire().await;
    let webhook = booked.signed(&booked.webhook("w-2"));
    let plain = Request::post("/intake/commercetools/plain/main", "[]").bearer(&token);
    let daemon = booked.world.daemons.remove(0);
    let talk = async {
        booked.world.until("readyz says that it stops", async || ready(&url).await == 503).await;
        for request in [&webhook, &plain] {
            let reply = request.send(&url).await;
            assert_eq!(reply.problem(), (503, "unavailable"));
            assert_eq!(reply.header("retry-after"), Some("2"));
        }
        gate.add_permits(1);
    };
    tokio::join!(daemon.stop(), talk);
    booked.world.start_daemon().await;
    assert_eq!(booked.webhooks().await.len(), 1);
    booked.world.nothing_lost().await;
}

async fn ready(url: &str) -> u16 {
    Request::new("GET", "/readyz").send(url).await.status
}

async fn other_paths_and_methods(engine: Engine) {
    let Some(booked) = Booked::new(engine).await else { return };
    for path in ["/", "/api/v1/fluent-connect", "/api/v1/fluent-connect/webhook/", "/intake/commercetools/plain"] {
        assert_eq!(booked.send(&Request::post(path, "{}")).await.problem(), (404, "not-found"), "{path}");
    }
    let broken = Request::post("/api/v1/fluent-connect/webhook/%FF", "{}");
    assert_eq!(booked.send(&broken).await.problem(), (400, "malformed"));
    for (method, path, allow) in [
        ("GET", PATH, "POST"),
        ("PUT", "/api/v1/fluent-connect/webhook/main", "POST"),
        ("DELETE", "/intake/commercetools/plain/main", "POST"),
        ("POST", "/healthz", "GET,HEAD"),
    ] {
        let reply = booked.send(&Request::new(method, path)).await;
        assert_eq!(reply.problem(), (405, "method-not-allowed"), "{method} {path}");
        assert_eq!(reply.header("allow"), Some(allow), "{method} {path}");
    }
    assert_eq!(booked.send(&Request::new("GET", "/healthz")).await.status, 200);
    assert_eq!(ready(&booked.world.url(0)).await, 200);
    booked.untouched().await;
}
