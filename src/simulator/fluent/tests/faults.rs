//! Faults of the network and of GraphQL, as a client meets them.

use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::simulator::Rule;

const ORDERS: &str = "query Orders($after: String) { orders(first: 1, after: $after) { edges { cursor node { ref } } pageInfo { hasNextPage } } }";
const TWO: &str = "query Two { mine: orders { edges { cursor } } theirs: customers { edges { cursor } } }";

fn once(fault: Fault) -> Rule {
    Rule { fault, operation: None, times: Some(1), rate: 1.0 }
}

impl World {
    /// Status and body, or why there is none whole.
    async fn raw(&self, query: &str, variables: Value) -> Result<(u16, String), reqwest::Error> {
        let bearer = self.bearer.lock().unwrap().clone();
        let request = self.http.post(format!("{}/graphql", self.fluent.url())).bearer_auth(bearer);
        let request = request.timeout(Duration::from_millis(500));
        let answer = request.json(&json!({"query": query, "variables": variables})).send().await?;
        Ok((answer.status().as_u16(), answer.text().await?))
    }
}

#[tokio::test]
async fn an_answer_may_be_lost_on_its_way_in_many_forms() {
    let world = World::start(by_hand()).await;
    for (number, fault) in [Fault::HalfBody, Fault::Silent, Fault::Slow(5_000), Fault::InvalidJson].iter().enumerate() {
        world.fluent.front().fault(once(*fault));
        let answer = world.raw(CREATE_CUSTOMER, json!({"input": customer(&number.to_string())})).await;
        match (fault, answer) {
            (Fault::HalfBody, Err(error)) => assert!(!error.is_timeout(), "{error:?}"),
            (Fault::Silent | Fault::Slow(_), Err(error)) => assert!(error.is_timeout(), "{error:?}"),
            (Fault::InvalidJson, Ok((200, body))) => assert!(serde_json::from_str::<Value>(&body).is_err()),
            (fault, answer) => panic!("{fault:?}: {answer:?}"),
        }
        assert_eq!(world.fluent.customers().len(), number + 1, "{fault:?}: the work is done");
    }
    let statuses: Vec<u16> = world.fluent.front().exchanges().iter().rev().take(4).map(|it| it.status).collect();
    assert_eq!(statuses, [200, 200, 0, 200], "what the platform answered");
    assert!(world.raw("{ me { id } }", json!({})).await.is_ok());
}

#[tokio::test]
async fn a_slow_answer_comes_whole() {
    let world = World::start(by_hand()).await;
    for millis in [0, 80] {
        world.fluent.front().fault(once(Fault::Slow(millis)));
        let (status, body) = world.raw("{ me { username } }", json!({})).await.unwrap();
        assert_eq!((status, body.as_str()), (200, r#"{"data":{"me":{"username":"connector"}}}"#));
    }
}

#[tokio::test]
async fn data_may_be_null_after_the_work() {
    let world = World::start(by_hand()).await;
    world.fluent.front().fault(once(Fault::NullData));
    let answer = world.graphql(CREATE_CUSTOMER, json!({"input": customer("one")})).await;
    assert_eq!((code(&answer), &answer["data"]), ("S0002E", &Value::Null));
    assert_eq!(world.fluent.customers().len(), 1);
}

#[tokio::test]
async fn one_alias_fails_and_its_neighbour_does_not() {
    let world = World::start(by_hand()).await;
    world.order("HD_1").await;
    world.fluent.front().fault(once(Fault::FailedAlias));
    assert!(world.graphql(ORDERS, json!({})).await.get("errors").is_none(), "there is no neighbour");
    let answer = world.graphql(TWO, json!({})).await;
    assert_eq!((code(&answer), &answer["errors"][0]["path"]), ("S0002E", &json!(["theirs"])));
    assert_eq!(answer["data"]["theirs"], Value::Null);
    assert_eq!(answer["data"]["mine"]["edges"].as_array().unwrap().len(), 1);
    world.fluent.front().fault(once(Fault::FailedAlias));
    let two = "mutation Two($a: CreateCustomerInput, $b: CreateCustomerInput) { a: createCustomer(input: $a) { id } b: createCustomer(input: $b) { id } }";
    let before = world.fluent.customers().len();
    let answer = world.graphql(two, json!({"a": customer("a"), "b": customer("b")})).await;
    assert_eq!((answer["data"]["a"].is_object(), &answer["data"]["b"]), (true, &Value::Null));
    assert_eq!(world.fluent.customers().len(), before + 1, "what failed was not done");
}

#[tokio::test]
async fn a_cursor_may_be_refused() {
    let world = World::start(by_hand()).await;
    world.order("HD_1").await;
    world.order("HD_2").await;
    world.fluent.front().fault(once(Fault::RefusedCursor));
    let first = world.graphql(ORDERS, json!({})).await;
    let after = &first["data"]["orders"]["edges"][0]["cursor"];
    assert_eq!(code(&world.graphql(ORDERS, json!({"after": after})).await), "C0160E");
    let second = world.graphql(ORDERS, json!({"after": after})).await;
    assert_eq!(second["data"]["orders"]["edges"][0]["node"]["ref"], "HD_2");
}

#[tokio::test]
async fn reads_may_be_behind_the_last_write_and_writes_never_are() {
    let world = World::start(by_hand()).await;
    let customer = world.customer().await;
    world.fluent.stale_reads(Duration::from_secs(5));
    world.clock.advance(Duration::from_secs(10));
    let found = async || {
        let query = "query($ref: [String]) { orders(ref: $ref) { edges { node { status } } } }";
        let answer = world.graphql(query, json!({"ref": ["HD_1"]})).await;
        answer["data"]["orders"]["edges"].as_array().unwrap().first().map(|edge| edge["node"]["status"].clone())
    };
    world.graphql(CREATE_ORDER, json!({"input": order("HD_1", &customer)})).await;
    assert_eq!(found().await, None);
    let second = world.graphql(CREATE_ORDER, json!({"input": order("HD_1", &customer)})).await;
    assert_eq!(code(&second), "C0121E", "the write knows");
    world.clock.advance(Duration::from_secs(5));
    assert_eq!(found().await, Some(json!("CREATED")));
    world.fluent.set_order_status("HD_1", "BOOKED");
    assert_eq!(found().await, Some(json!("CREATED")));
    assert_eq!(world.fluent.order("HD_1").unwrap()["status"], "BOOKED");
    world.clock.advance(Duration::from_secs(5));
    assert_eq!(found().await, Some(json!("BOOKED")));
}
