//! Who may come in, with what: tokens, sizes, documents, faults.

use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::simulator::front::{Fault, Rule};

#[test]
fn requests_are_named_after_their_first_operation() {
    let name = |query: &str| operation_name(&json!({"query": query}));
    assert_eq!(
        name("mutation CreateOrder($input: CreateOrderInput) { createOrder(input: $input) { id } }"),
        "CreateOrder"
    );
    assert_eq!(name("fragment f on Order { query }\nquery Orders { orders { edges { node { ...f } } } }"), "Orders");
    assert_eq!(name("query($a: ID!) { order(id: $a) { ...f } } fragment f on Order { id }"), "graphql");
    assert_eq!(name("{ me { id } }"), "graphql");
    assert_eq!(operation_name(&json!({"query": "query A { me { id } }", "operationName": "B"})), "B");
}

#[tokio::test]
async fn tokens_expire_by_the_clock() {
    let world = World::start(Options { token_seconds: 60, ..by_hand() }).await;
    let body = json!({"query": "{ me { username } }"});
    world.clock.advance(Duration::from_secs(59));
    assert_eq!(world.post("/graphql", &body).await.1["data"]["me"]["username"], "connector");
    world.clock.advance(Duration::from_secs(1));
    let (status, answer) = world.post("/graphql", &body).await;
    assert_eq!(status, 401);
    assert_eq!(answer["errors"][0]["code"], "401");
    world.log_in().await;
    assert_eq!(world.post("/graphql", &body).await.0, 200);
}

#[tokio::test]
async fn refresh_tokens_work_once_and_bad_credentials_never() {
    let world = World::start(Options { refresh_tokens: true, ..by_hand() }).await;
    let (_, granted) = world.token(&PASSWORD).await;
    let refresh = granted["refresh_token"].as_str().unwrap();
    let form = [
        ("grant_type", "refresh_token"),
        ("refresh_token", refresh),
        ("client_id", "ACME"),
        ("client_secret", "simulated-secret"),
    ];
    assert_eq!(world.token(&form).await.0, 200);
    let (status, answer) = world.token(&form).await;
    assert_eq!((status, answer["error_description"].as_str()), (400, Some("Invalid refresh token")));
    let mut wrong = PASSWORD;
    wrong[2].1 = "wrong";
    let (status, answer) = world.token(&wrong).await;
    assert_eq!((status, answer), (400, json!({"error": "invalid_grant", "error_description": "Bad credentials"})));
    let query = "grant_type=password&username=connector&password=simulated-password&client_id=ACME&client_secret=simulated-secret&scope=api";
    let answer = world.http.post(format!("{}/oauth/token?{query}", world.fluent.url())).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 200);
}

#[tokio::test]
async fn a_body_over_2_mb_is_413() {
    let world = World::start(by_hand()).await;
    let body = |length: usize| json!({"query": "{ me { id } }", "variables": {"padding": "x".repeat(length)}});
    assert_eq!(world.post("/graphql", &body(1_900_000)).await.0, 200);
    assert_eq!(world.post("/graphql", &body(2_000_000)).await.0, 413);
}

#[tokio::test]
async fn invalid_documents_and_variables_have_no_data() {
    let world = World::start(by_hand()).await;
    for query in [
        "{ orders { edges { node { nope } } } }",
        "{ orders(limit: 1) { edges { cursor } } }",
        "{ orders(first: \"1\") { edges { cursor } } }",
    ] {
        let answer = world.graphql(query, json!({})).await;
        assert!(answer["errors"][0]["message"].is_string() && answer.get("data").is_none(), "{answer}");
    }
    let by_id = "query($id: ID!) { orderById(id: $id) { id } }";
    assert_eq!(code(&world.graphql(by_id, json!({})).await), "C0140E");
    assert_eq!(world.graphql(by_id, json!({"id": 7})).await, json!({"data": {"orderById": null}}));
    let no_email =
        json!({"input": {"username": "u", "timezone": "UTC", "promotionOptIn": true, "retailer": {"id": 5}}});
    assert_eq!(code(&world.graphql(CREATE_CUSTOMER, no_email).await), "C0140E");
    let mut unknown = customer("u");
    unknown["nickname"] = "x".into();
    assert!(world.graphql(CREATE_CUSTOMER, json!({"input": unknown})).await.get("data").is_none());
    let bare = world
        .graphql("query($name: [String]) { settings(name: $name) { edges { cursor } } }", json!({"name": "x"}))
        .await;
    assert_eq!(bare, json!({"data": {"settings": {"edges": []}}}));
    let costly = "{ orders(first: 100) { edges { node { items(first: 112) { edges { cursor node { id } } } } } } }";
    assert_eq!(code(&world.graphql(costly, json!({})).await), "C0001E");
    assert_eq!(code(&world.graphql("{ networkById(id: 1) { ref } }", json!({})).await), "S0001E");
}

#[tokio::test]
async fn faults_of_the_graphql_kind_do_nothing_first() {
    let world = World::start(by_hand()).await;
    world.fluent.graphql_fault("CreateCustomer", "C0011E", 1);
    let answer = world.graphql(CREATE_CUSTOMER, json!({"input": customer("one")})).await;
    assert_eq!((code(&answer), &answer["data"]), ("C0011E", &json!({"createCustomer": null})));
    assert!(world.fluent.customers().is_empty());
    world.fluent.front().fault(Rule {
        fault: Fault::LostAnswer,
        operation: Some("CreateCustomer".into()),
        times: Some(1),
        rate: 1.0,
    });
    let lost =
        world.http.post(format!("{}/graphql", world.fluent.url())).bearer_auth(world.bearer.lock().unwrap().clone());
    let lost = lost.json(&json!({"query": CREATE_CUSTOMER, "variables": {"input": customer("one")}})).send().await;
    assert!(lost.is_err());
    assert_eq!(code(&world.graphql(CREATE_CUSTOMER, json!({"input": customer("one")})).await), "C0123E");
}

#[tokio::test]
async fn control_sets_statuses_and_registers_webhooks() {
    let world = World::start(by_hand()).await;
    world.order("HD_1").await;
    assert_eq!(world.fluent.pending_webhooks(), 0);
    let control = async |path: &str, body: Value| {
        world
            .http
            .post(format!("{}/_control{path}", world.fluent.url()))
            .json(&body)
            .send()
            .await
            .unwrap()
            .status()
            .as_u16()
    };
    assert_eq!(control("/webhook", json!({"url": "http://127.0.0.1:9/closed"})).await, 204);
    assert_eq!(control("/orders/HD_1/status", json!("ESCALATED")).await, 200);
    assert_eq!(control("/orders/HD_2/status", json!("ESCALATED")).await, 404);
    let orders = world.http.get(format!("{}/_control/orders", world.fluent.url())).send().await.unwrap();
    assert_eq!(orders.json::<Value>().await.unwrap()[0]["status"], "ESCALATED");
    world.idle().await;
    assert_eq!(world.fluent.webhooks()[0]["outcome"], "failed");
}
