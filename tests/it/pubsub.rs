//! Stories of push subscriptions of Google Pub/Sub (`surfaces.md` 2.4).

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::caller::Request;
use crate::cloud::{Brought, GOOGLE, Signer, cloud_event, header, jwt, sha256, useless};
use crate::database::Engine;
use crate::on_both_databases;
use crate::world::START;

on_both_databases! {
    a_push_has_its_effect_once,
    whoever_is_not_the_subscription_is_refused,
    keys_that_cannot_be_fetched_make_nobody_a_stranger,
    what_nobody_can_use_is_kept,
    a_path_that_is_off_is_not_there,
}

const PATH: &str = "/intake/commercetools/pubsub/main";
const ACCOUNT: &str = "push@project.iam.gserviceaccount.com";

async fn brought(engine: Engine) -> Option<Brought> {
    let push = format!("pubsub: {{ enabled: true, service_account: \"{ACCOUNT}\" }}");
    Brought::by(engine, "pubsub", &push).await
}

fn claims() -> Value {
    json!({
        "iss": "https://accounts.google.com", "aud": format!("https://connector.example.com{PATH}"), "sub": "1",
        "email": ACCOUNT, "email_verified": true, "iat": START / 1000, "exp": START / 1000 + 3600,
    })
}

fn with(changes: &Value) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    claims
}

fn wrapped(notification: &Value) -> Value {
    json!({
        "message": {"data": STANDARD.encode(notification.to_string()), "messageId": "1", "publishTime": "2026-06-15T10:00:00Z"},
        "subscription": "projects/p/subscriptions/s",
    })
}

fn request(body: &Value, token: &str) -> Request {
    Request::post(PATH, body.to_string()).bearer(token)
}

async fn a_push_has_its_effect_once(engine: Engine) {
    let Some(brought) = brought(engine).await else { return };
    let token = jwt(&header(), &claims(), Signer::Genuine);
    let notes: Vec<Value> = ["1", "2", "3"].map(|number| brought.order(number).1).to_vec();
    for body in [wrapped(&notes[0]), notes[1].clone(), wrapped(&cloud_event(&notes[2]))] {
        assert_eq!(brought.send(&request(&body, &token)).await.status, 204, "{body}");
        // Google repeats what it is not sure of, with the same token or another.
        assert_eq!(brought.send(&request(&body, &token)).await.status, 204, "{body}");
    }
    assert_eq!(brought.kept().await.len(), 3);
    assert_eq!(brought.orders_created(), 3);
    let old = jwt(&header(), &with(&json!({"iss": "accounts.google.com"})), Signer::Genuine);
    assert_eq!(brought.send(&request(&wrapped(&notes[0]), &old)).await.status, 204, "the issuer without its scheme");
    assert_eq!(brought.cloud.asked(GOOGLE), 1, "the keys are fetched once");
    brought.world.nothing_lost().await;
}

async fn whoever_is_not_the_subscription_is_refused(engine: Engine) {
    let Some(brought) = brought(engine).await else { return };
    let body = wrapped(&brought.order("1").1);
    let now = START / 1000;
    let genuine = |claims: &Value| jwt(&header(), claims, Signer::Genuine);
    let token = genuine(&claims());
    let parts: Vec<&str> = token.split('.').collect();
    let other_claims = jwt(&header(), &with(&json!({"sub": "2"})), Signer::Genuine);
    let spliced = format!("{}.{}.{}", parts[0], other_claims.split('.').nth(1).unwrap(), parts[2]);
    let unsigned = format!("{}.", jwt(&json!({"alg": "none"}), &claims(), Signer::Genuine).rsplit_once('.').unwrap().0);
    let cases = [
        ("no identity token", "not.a.token".to_owned()),
        ("no identity token", "flc_abcdefghij".to_owned()),
        ("not signed with RS256", unsigned),
        ("not signed with RS256", jwt(&json!({"alg": "HS256", "kid": "key-1"}), &claims(), Signer::Genuine)),
        (
            "not signed with RS256",
            jwt(&json!({"alg": "RS256", "kid": "key-1", "crit": ["x"]}), &claims(), Signer::Genuine),
        ),
        ("names no key", jwt(&json!({"alg": "RS256"}), &claims(), Signer::Genuine)),
        ("signature of the identity token does not hold", jwt(&header(), &claims(), Signer::Stranger)),
        ("signature of the identity token does not hold", spliced),
        ("does not publish", jwt(&json!({"alg": "RS256", "kid": "key-2"}), &claims(), Signer::Genuine)),
        ("not issued by Google", genuine(&with(&json!({"iss": "https://evil.example"})))),
        (
            "another audience",
            genuine(&with(&json!({"aud": "https://connector.example.com/intake/commercetools/pubsub/other"}))),
        ),
        ("another audience", genuine(&with(&json!({"aud": null})))),
        ("another service account", genuine(&with(&json!({"email": "evil@project.iam.gserviceaccount.com"})))),
        ("another service account", genuine(&with(&json!({"email_verified": false})))),
        ("another service account", genuine(&with(&json!({"email_verified": "true"})))),
        ("has expired", genuine(&with(&json!({"exp": now - 60})))),
        ("has expired", genuine(&with(&json!({"exp": null})))),
        ("not valid yet", genuine(&with(&json!({"iat": now + 61})))),
    ];
    for (sentence, token) in cases {
        let reply = brought.send(&request(&body, &token)).await;
        assert_eq!(reply.problem(), (401, "unauthenticated"), "{sentence}");
        assert!(reply.body["detail"].as_str().unwrap().contains(sentence), "{sentence}: {reply:?}");
    }
    for bare in [
        Request::post(PATH, body.to_string()),
        Request::post(PATH, body.to_string()).header("Authorization", "Basic eA=="),
    ] {
        assert_eq!(brought.send(&bare).await.problem(), (401, "unauthenticated"));
    }
    brought.untouched("whoever is not the subscription").await;
    assert_eq!(
        brought.send(&request(&body, &genuine(&with(&json!({"exp": now - 59, "iat": now + 60}))))).await.status,
        204
    );
    brought.world.settle().await;
    assert_eq!(brought.orders_created(), 1, "clocks may differ by a minute");
}

async fn keys_that_cannot_be_fetched_make_nobody_a_stranger(engine: Engine) {
    let Some(brought) = brought(engine).await else { return };
    let body = wrapped(&brought.order("1").1);
    let token = jwt(&header(), &claims(), Signer::Genuine);
    brought.cloud.down(true);
    assert_eq!(brought.send(&request(&body, &token)).await.problem(), (503, "unavailable"));
    brought.cloud.put(GOOGLE, b"<html>");
    brought.cloud.down(false);
    brought.world.advance(Duration::from_secs(2)).await;
    assert_eq!(brought.send(&request(&body, &token)).await.problem(), (503, "unavailable"), "not readable");
    brought.untouched("without keys").await;
    brought.cloud.publish(&["key-1"]);
    brought.world.advance(Duration::from_secs(2)).await;
    assert_eq!(brought.send(&request(&body, &token)).await.status, 204);
    // A key that is new is looked for, once a minute at most.
    let asked = brought.cloud.asked(GOOGLE);
    let newer = jwt(&json!({"alg": "RS256", "kid": "key-2"}), &claims(), Signer::Genuine);
    brought.cloud.publish(&["key-1", "key-2"]);
    for _ in 0..5 {
        assert_eq!(brought.send(&request(&body, &newer)).await.status, 401);
    }
    assert_eq!(brought.cloud.asked(GOOGLE), asked);
    brought.world.advance(Duration::from_secs(60)).await;
    assert_eq!(brought.send(&request(&body, &newer)).await.status, 204);
    assert_eq!(brought.cloud.asked(GOOGLE), asked + 1);
    // What is published for twenty minutes is fetched again after these, and a key that is gone counts no more.
    brought.cloud.publish(&["key-2"]);
    brought.world.advance(Duration::from_secs(1200)).await;
    assert_eq!(brought.send(&request(&body, &token)).await.status, 401);
    assert_eq!(brought.kept().await.len(), 1);
}

async fn what_nobody_can_use_is_kept(engine: Engine) {
    let Some(brought) = brought(engine).await else { return };
    let token = jwt(&header(), &claims(), Signer::Genuine);
    let order = brought.order("1").1;
    for (what, note, (state, reason)) in useless(&order) {
        assert_eq!(brought.send(&request(&wrapped(&note), &token)).await.status, 204, "{what}");
        let newest = brought.newest().await;
        assert_eq!((newest.0.as_str(), newest.1.as_str()), (state, reason), "{what}: {newest:?}");
    }
    let mut broken = wrapped(&order);
    broken["message"]["data"] = "§".into();
    let mut text = wrapped(&order);
    text["message"]["data"] = STANDARD.encode("<xml/>").into();
    for body in [broken.to_string(), text.to_string(), "<xml/>".into(), String::new()] {
        let reply = brought.send(&Request::post(PATH, body.clone()).bearer(&token)).await;
        assert_eq!(reply.status, 204, "{body}");
        assert_eq!(brought.newest().await.1, "unreadable", "{body}");
        assert_eq!(brought.kept().await[0].key, sha256(&body), "the same once more is no news");
    }
    let large = Request::post(PATH, vec![b' '; (1 << 20) + 1]).bearer(&token);
    assert_eq!(brought.send(&large).await.problem(), (413, "too-large"));
    assert_eq!(brought.orders_created(), 0);
    brought.world.nothing_lost().await;
}

async fn a_path_that_is_off_is_not_there(engine: Engine) {
    let Some(brought) = Brought::by(engine, "pubsub", "pubsub: { enabled: false }").await else { return };
    let token = jwt(&header(), &claims(), Signer::Genuine);
    assert_eq!(brought.send(&request(&json!({}), &token)).await.problem(), (404, "not-found"));
    let nowhere = Request::post("/intake/commercetools/pubsub/nowhere", "{}").bearer(&token);
    assert_eq!(brought.send(&nowhere).await.problem(), (404, "not-found"));
    brought.untouched("a path that is off").await;
}
