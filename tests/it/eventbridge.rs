//! Stories of API destinations of Amazon EventBridge (`surfaces.md` 2.4).

use serde_json::{Value, json};

use crate::caller::Request;
use crate::cloud::{Brought, cloud_event, useless};
use crate::database::Engine;
use crate::on_both_databases;

on_both_databases! {
    an_event_has_its_effect_once,
    whoever_may_not_is_told_so,
    another_header_may_carry_the_token,
    what_nobody_can_use_is_kept,
}

const PATH: &str = "/intake/commercetools/eventbridge/main";

async fn brought(engine: Engine, push: &str) -> Option<(Brought, String)> {
    let brought = Brought::by(engine, "eventbridge", push).await?;
    let token = brought.world.token(&["intake:commercetools"]).await;
    Some((brought, token))
}

const ON: &str = "eventbridge: { enabled: true }";

fn event(project: &Value, detail: &Value) -> Value {
    let project = project.as_str().unwrap_or("demo-project");
    json!({
        "version": "0", "id": "e-1", "detail-type": "OrderCreated", "account": "123456789012",
        "source": format!("aws.partner/commercetools.com/{project}/main"), "detail": detail,
    })
}

fn request(body: &Value, token: &str) -> Request {
    Request::post(PATH, body.to_string()).header("x-api-key", token)
}

async fn an_event_has_its_effect_once(engine: Engine) {
    let Some((brought, token)) = brought(engine, ON).await else { return };
    let notes = ["1", "2", "3"].map(|number| brought.order(number).1);
    let project = &notes[0]["projectKey"];
    let mut sourceless = event(project, &notes[2]);
    sourceless.as_object_mut().unwrap().remove("source");
    for body in [event(project, &notes[0]), event(project, &cloud_event(&notes[1])), sourceless] {
        assert_eq!(brought.send(&request(&body, &token)).await.status, 200, "{body}");
        assert_eq!(brought.send(&request(&body, &token)).await.status, 200, "the same once more: {body}");
    }
    assert_eq!(brought.kept().await.len(), 3);
    assert_eq!(brought.orders_created(), 3);
    brought.world.nothing_lost().await;
}

async fn whoever_may_not_is_told_so(engine: Engine) {
    let Some((brought, token)) = brought(engine, ON).await else { return };
    let (world, now) = (&brought.world, brought.world.clock.now());
    let scopes = &["intake:commercetools"];
    let note = brought.order("1").1;
    let body = event(&note["projectKey"], &note);
    let last = token.chars().last().unwrap();
    let wrong_sum = format!("{}{}", &token[..token.len() - 1], if last == '0' { '1' } else { '0' });
    let (_, stranger) = fluent_connector::store::token::generate();
    let stranger = secrecy::ExposeSecret::expose_secret(&stranger).to_owned();
    for (what, token, problem) in [
        ("without the scope", world.token(&["messages:read"]).await, (403, "forbidden")),
        (
            "of another connection",
            world.token_with(scopes, |token| token.connections.0 = vec!["other".into()]).await,
            (404, "not-found"),
        ),
        ("revoked", world.token_with(scopes, |token| token.revoked = Some(now)).await, (401, "unauthenticated")),
        ("expired", world.token_with(scopes, |token| token.expires = Some(now)).await, (401, "unauthenticated")),
        ("with a typing error", wrong_sum, (401, "unauthenticated")),
        ("that nobody issued", stranger, (401, "unauthenticated")),
        ("that is none", "flc_".to_owned(), (401, "unauthenticated")),
        ("that is empty", String::new(), (401, "unauthenticated")),
    ] {
        assert_eq!(brought.send(&request(&body, &token)).await.problem(), problem, "{what}");
    }
    let bare = request(&body, &token).without("x-api-key");
    for (what, request, problem) in [
        ("no token", bare.clone(), (401, "unauthenticated")),
        ("in another header", bare.clone().bearer(&token), (401, "unauthenticated")),
        ("in yet another header", bare.header("x-token", token.as_str()), (401, "unauthenticated")),
        (
            "no connection",
            Request::post("/intake/commercetools/eventbridge/nowhere", body.to_string()).header("x-api-key", &token),
            (404, "not-found"),
        ),
        ("a token in the query", Request::post(format!("{PATH}?token={token}"), body.to_string()), (400, "malformed")),
        ("too large", Request::post(PATH, vec![b' '; (1 << 20) + 1]).header("x-api-key", &token), (413, "too-large")),
    ] {
        assert_eq!(brought.send(&request).await.problem(), problem, "{what}");
    }
    brought.untouched("whoever may not").await;
    // Whoever guesses is slowed down; who may send is not.
    let mut last = 0;
    for _ in 0..40 {
        last = brought.send(&request(&body, "flc_guess")).await.status;
    }
    assert_eq!(last, 429);
    assert_eq!(brought.send(&request(&body, &token)).await.status, 200);
    brought.world.settle().await;
    assert_eq!(brought.orders_created(), 1);
}

async fn another_header_may_carry_the_token(engine: Engine) {
    for (header, value) in [("X-Connector-Token", ""), ("authorization", "Bearer ")] {
        let push = format!("eventbridge: {{ enabled: true, header: {header} }}");
        let Some((brought, token)) = brought(engine, &push).await else { return };
        let note = brought.order("1").1;
        let body = event(&note["projectKey"], &note);
        assert_eq!(brought.send(&request(&body, &token)).await.problem(), (401, "unauthenticated"), "{header}");
        brought.untouched("the usual header").await;
        let named = request(&body, &token).without("x-api-key").header(header, format!("{value}{token}"));
        assert_eq!(brought.send(&named).await.status, 200, "{header}");
        assert_eq!(brought.kept().await.len(), 1, "{header}");
    }
}

async fn what_nobody_can_use_is_kept(engine: Engine) {
    let Some((brought, token)) = brought(engine, ON).await else { return };
    let order = brought.order("1").1;
    let project = &order["projectKey"];
    for (what, note, (state, reason)) in useless(&order) {
        assert_eq!(brought.send(&request(&event(project, &note), &token)).await.status, 200, "{what}");
        let newest = brought.newest().await;
        assert_eq!((newest.0.as_str(), newest.1.as_str()), (state, reason), "{what}: {newest:?}");
    }
    let mut detailless = event(project, &order);
    detailless.as_object_mut().unwrap().remove("detail");
    for (body, reason) in [
        (event(&json!("another"), &order).to_string(), "rejected"),
        (json!({"source": "com.evil", "detail": order}).to_string(), "rejected"),
        (detailless.to_string(), "unreadable"),
        ("<xml/>".into(), "unreadable"),
        ("[]".into(), "unreadable"),
    ] {
        let request = Request::post(PATH, body.clone()).header("x-api-key", &token);
        assert_eq!(brought.send(&request).await.status, 200, "{body}");
        let newest = brought.newest().await;
        assert_eq!((newest.0.as_str(), newest.1.as_str()), ("parked", reason), "{body}");
    }
    assert_eq!(brought.orders_created(), 0);
    brought.world.nothing_lost().await;
}
