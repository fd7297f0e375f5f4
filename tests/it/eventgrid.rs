//! Stories of event subscriptions of Azure Event Grid (`surfaces.md` 2.4).

use std::io::Write;

use serde_json::{Value, json};

use crate::caller::Request;
use crate::cloud::{Brought, cloud_event, useless};
use crate::database::Engine;
use crate::on_both_databases;

on_both_databases! {
    events_have_their_effect_once,
    a_subscription_begins_with_a_handshake,
    whoever_may_not_is_told_so,
    what_nobody_can_use_is_kept_and_never_refused,
    the_classic_schema_is_refused_with_an_explanation,
}

const PATH: &str = "/intake/commercetools/eventgrid/main";

async fn brought(engine: Engine) -> Option<(Brought, String)> {
    let brought = Brought::by(engine, "eventgrid", "eventgrid: { enabled: true }").await?;
    let token = brought.world.token(&["intake:commercetools"]).await;
    Some((brought, token))
}

fn request(body: impl Into<Vec<u8>>, token: &str) -> Request {
    let request = Request::post(PATH, body).with("Content-Type", "application/cloudevents+json; charset=utf-8");
    request.header("x-api-key", token)
}

async fn events_have_their_effect_once(engine: Engine) {
    let Some((brought, token)) = brought(engine).await else { return };
    let notes = ["1", "2", "3", "4"].map(|number| brought.order(number).1);
    let batch = json!([cloud_event(&notes[1]), cloud_event(&notes[2]), cloud_event(&notes[1])]);
    let binary = request(notes[3].to_string(), &token)
        .with("Content-Type", "application/json")
        .header("ce-specversion", "1.0")
        .header("ce-type", "com.commercetools.order.message.OrderCreated")
        .header("ce-id", "e-4");
    for request in [request(cloud_event(&notes[0]).to_string(), &token), request(batch.to_string(), &token), binary] {
        assert_eq!(brought.send(&request).await.status, 200);
        assert_eq!(brought.send(&request).await.status, 200, "the same once more");
    }
    assert_eq!(brought.kept().await.len(), 4);
    assert_eq!(brought.orders_created(), 4);
    brought.world.nothing_lost().await;
}

async fn a_subscription_begins_with_a_handshake(engine: Engine) {
    let Some((brought, _)) = brought(engine).await else { return };
    let asking = |path: &str| Request::new("OPTIONS", path);
    let genuine = asking(PATH)
        .header("WebHook-Request-Origin", "eventgrid.azure.net")
        .header("WebHook-Request-Callback", format!("{}/callback", brought.cloud.url));
    let reply = brought.send(&genuine).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("webhook-allowed-origin"), Some("eventgrid.azure.net"));
    assert_eq!(reply.header("webhook-allowed-rate"), Some("*"));
    assert_eq!(reply.header("allow"), Some("POST, OPTIONS"));
    let rated = brought.send(&genuine.clone().header("WebHook-Request-Rate", "120")).await;
    assert_eq!(rated.header("webhook-allowed-rate"), Some("120"));
    let odd = brought.send(&genuine.header("WebHook-Request-Rate", "many")).await;
    assert_eq!(odd.header("webhook-allowed-rate"), Some("*"));
    let from = |origin: &str| asking(PATH).header("WebHook-Request-Origin", origin);
    for (request, problem) in [
        (from("evil.example"), (403, "forbidden")),
        (from("eventgrid.azure.net.evil.example"), (403, "forbidden")),
        (from("*"), (403, "forbidden")),
        (asking(PATH), (400, "malformed")),
        (asking("/intake/commercetools/eventgrid/nowhere"), (404, "not-found")),
    ] {
        let reply = brought.send(&request).await;
        assert_eq!(reply.problem(), problem, "{request:?}");
        assert_eq!(reply.header("webhook-allowed-origin"), None);
    }
    assert_eq!(brought.cloud.asked("callback"), 0, "the callback is not called");
    brought.untouched("handshakes").await;
}

async fn whoever_may_not_is_told_so(engine: Engine) {
    let Some((brought, token)) = brought(engine).await else { return };
    let (world, now) = (&brought.world, brought.world.clock.now());
    let scopes = &["intake:commercetools"];
    let body = cloud_event(&brought.order("1").1).to_string();
    let (_, stranger) = fluent_connector::store::token::generate();
    let stranger = secrecy::ExposeSecret::expose_secret(&stranger).to_owned();
    let foreign = world.token_with(scopes, |token| token.connections.0 = vec!["other".into()]).await;
    let wrong = if token.ends_with('0') { "1" } else { "0" };
    for (what, token, problem) in [
        ("without the scope", world.token(&["status:read"]).await, (403, "forbidden")),
        ("of another connection", foreign, (404, "not-found")),
        ("revoked", world.token_with(scopes, |token| token.revoked = Some(now)).await, (401, "unauthenticated")),
        ("expired", world.token_with(scopes, |token| token.expires = Some(now)).await, (401, "unauthenticated")),
        ("that nobody issued", stranger, (401, "unauthenticated")),
        ("with a typing error", format!("{}{wrong}", &token[..token.len() - 1]), (401, "unauthenticated")),
        ("that is none", "secret".to_owned(), (401, "unauthenticated")),
    ] {
        assert_eq!(brought.send(&request(body.as_str(), &token)).await.problem(), problem, "{what}");
    }
    let bare = request(body.as_str(), &token).without("x-api-key");
    for request in [
        bare.clone(),
        bare.clone().bearer(&token),
        bare.clone().header("aeg-sas-key", token.as_str()),
        bare.with("WebHook-Request-Origin", "eventgrid.azure.net"),
        Request::post(PATH, vec![b' '; 2 << 20]),
    ] {
        assert_eq!(brought.send(&request).await.problem(), (401, "unauthenticated"), "{request:?}");
    }
    brought.untouched("whoever may not").await;
    assert_eq!(brought.send(&request(body, &token)).await.status, 200);
    brought.world.settle().await;
    assert_eq!(brought.orders_created(), 1);
}

async fn what_nobody_can_use_is_kept_and_never_refused(engine: Engine) {
    let Some((brought, token)) = brought(engine).await else { return };
    let order = brought.order("1").1;
    for (what, note, (state, reason)) in useless(&order) {
        assert_eq!(brought.send(&request(cloud_event(&note).to_string(), &token)).await.status, 200, "{what}");
        let newest = brought.newest().await;
        assert_eq!((newest.0.as_str(), newest.1.as_str()), (state, reason), "{what}: {newest:?}");
    }
    let mut large = b" ".repeat(1 << 20);
    large.extend_from_slice(order.to_string().as_bytes());
    let mut zipped = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    zipped.write_all(&b" ".repeat(8 << 20)).unwrap();
    let zipped = request(zipped.finish().unwrap(), &token).header("Content-Encoding", "gzip");
    let dataless = json!({"specversion": "1.0", "id": "e-2", "type": "t", "source": "s"}).to_string();
    for (what, request) in [
        ("no JSON", request("<xml/>", &token)),
        ("nothing", request("", &token)),
        ("a number", request("7", &token)),
        ("no data", request(dataless, &token)),
        ("too large", request(large, &token)),
        ("too large when inflated", zipped),
        ("no gzip", request("{}", &token).header("Content-Encoding", "gzip")),
        ("another encoding", request("{\"a\":1}", &token).header("Content-Encoding", "br")),
    ] {
        let before = brought.kept().await.len();
        assert_eq!(brought.send(&request).await.status, 200, "{what}");
        assert_eq!(brought.kept().await.len(), before + 1, "{what}");
        let newest: (String, String, String) = brought.newest().await;
        assert_eq!((newest.0.as_str(), newest.1.as_str()), ("parked", "unreadable"), "{what}");
    }
    assert_eq!(brought.orders_created(), 0);
    brought.world.nothing_lost().await;
}

async fn the_classic_schema_is_refused_with_an_explanation(engine: Engine) {
    let Some((brought, token)) = brought(engine).await else { return };
    let validation: Value = json!([{
        "id": "1", "topic": "t", "subject": "", "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
        "data": {"validationCode": "code", "validationUrl": format!("{}/validate", brought.cloud.url)},
        "eventTime": "2026-06-15T10:00:00Z", "metadataVersion": "1", "dataVersion": "1",
    }]);
    let request = request(validation.to_string(), &token).header("aeg-event-type", "SubscriptionValidation");
    let reply = brought.send(&request).await;
    assert_eq!(reply.problem(), (422, "invalid"));
    assert!(reply.body["detail"].as_str().unwrap().contains("CloudEvents 1.0"), "{reply:?}");
    assert_eq!(brought.send(&request.without("x-api-key")).await.problem(), (401, "unauthenticated"));
    assert_eq!(brought.cloud.asked("validate"), 0);
    brought.untouched("a validation").await;
}
