//! Events, workflows and webhooks.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::{HeaderMap, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rsa::RsaPublicKey;
use rsa::pkcs1v15::VerifyingKey;
use rsa::pkcs8::DecodePublicKey;
use rsa::signature::Verifier;
use serde_json::{Value, json};
use sha2::Sha512;

use super::*;

#[tokio::test]
async fn order_cancel_follows_the_workflow() {
    let world = World::start(by_hand()).await;
    let id = world.order("HD_1").await;
    let cancel = json!({"name": "OrderCancel", "retailerId": "5", "accountId": "ACME", "entityType": "ORDER", "entityRef": "HD_1",
        "rootEntityType": "ORDER", "rootEntityRef": "HD_1", "entitySubtype": "HD", "attributes": {"reason": "x"}});
    world.fluent.advance_order("HD_1");
    assert_eq!(world.fluent.advance_order("HD_1").as_deref(), Some("BOOKED"));
    let (status, answer) = world.post("/api/v4.1/event/sync", &cancel).await;
    assert_eq!((status, &answer["eventStatus"], &answer["entityId"]), (200, &json!("COMPLETE"), &json!(id)));
    assert_eq!(world.fluent.order("HD_1").unwrap()["status"], "CANCELLED");
    assert_eq!(world.fluent.fulfilments()[0]["status"], "CANCELLED");
    let (status, answer) = world.post("/api/v4.1/event/sync", &cancel).await;
    assert_eq!((status, &answer["eventStatus"]), (400, &json!("NO_MATCH")));
    let mut other = cancel.clone();
    other["retailerId"] = Value::Null;
    assert_eq!(
        world.post("/api/v4.1/event/sync", &other).await.1["errors"][0],
        json!({"code": "NotNull", "message": "'retailerId' is required"})
    );
    world.order("HD_2").await;
    other = cancel.clone();
    other["entityRef"] = "HD_2".into();
    let (status, answer) = world.post("/api/v4.1/event/async", &other).await;
    assert_eq!(status, 200);
    world.idle().await;
    assert_eq!(world.fluent.order("HD_2").unwrap()["status"], "CANCELLED");
    let bearer = world.bearer.lock().unwrap().clone();
    let ask = async |path: &str| -> Value {
        world
            .http
            .get(format!("{}/api/v4.1/event{path}", world.fluent.url()))
            .bearer_auth(&bearer)
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap()
    };
    let one = ask(&format!("/{}", answer["id"].as_str().unwrap())).await;
    assert_eq!((&one["eventStatus"], &one["context"]["entityRef"]), (&json!("COMPLETE"), &json!("HD_2")));
    let list = ask("?name=OrderCancel&context.entityRef=HD_1&eventStatus=NO_MATCH&count=5").await;
    assert_eq!((list["results"].as_array().unwrap().len(), &list["hasMore"]), (1, &json!(false)));
}

#[tokio::test]
async fn a_home_delivery_walks_to_complete_by_the_clock() {
    let world = World::start(Options::default()).await;
    let receiver = Receiver::start().await;
    world.fluent.webhook(Webhook::to(&receiver.url));
    world.order("HD_1").await;
    let mut walked = vec![];
    for _ in 0..7 {
        let status = world.fluent.order("HD_1").unwrap()["status"].as_str().unwrap().to_owned();
        walked.push(status);
        world.clock.advance(Duration::from_secs(5));
        world.idle().await;
    }
    assert_eq!(
        walked,
        ["CREATED", "RECEIVED", "BOOKED", "PICK_PACK", "PICK_PACK", "AWAITING_COURIER_COLLECTION", "COMPLETE"]
    );
    let statuses = |kind: &str| -> Vec<Value> {
        let bodies = receiver.bodies();
        bodies.iter().filter(|body| body["entityType"] == kind).map(|body| body["entityStatus"].clone()).collect()
    };
    assert_eq!(statuses("ORDER"), ["RECEIVED", "BOOKED", "PICK_PACK", "AWAITING_COURIER_COLLECTION", "COMPLETE"]);
    assert_eq!(
        statuses("FULFILMENT"),
        ["PROCESSING", "AWAITING_WAVE", "ASSIGNED", "FULFILLED", "AWAITING_COURIER_COLLECTION", "COMPLETE"]
    );
    assert_eq!(statuses("CONSIGNMENT"), ["PROCESSING", "ACTIVE_LODGED"]);
    let consignment = world.fluent.consignments()[0]["id"].as_str().unwrap().to_owned();
    let read = "query($id: ID!) { consignmentById(id: $id) { status trackingLabel retailer { id } carrier { ref } consignmentArticles(first: 50) { edges {
        cursor node { article { status items { edges { node { quantity orderItem { ref product { ref } } } } }
        fulfilments(first: 2) { edges { node { ref fromLocation { ref } order { ref retailer { id } } } } } } } } pageInfo { hasNextPage } } } }";
    let answer = world.graphql(read, json!({"id": consignment})).await;
    let article = &answer["data"]["consignmentById"]["consignmentArticles"]["edges"][0]["node"]["article"];
    assert_eq!(article["status"], "COLLECTED", "{answer}");
    assert_eq!(
        article["items"]["edges"][0]["node"],
        json!({"quantity": 2, "orderItem": {"ref": "line-1", "product": {"ref": "TEE-RED-M"}}})
    );
    assert_eq!(article["fulfilments"]["edges"][0]["node"]["order"], json!({"ref": "HD_1", "retailer": {"id": "5"}}));
}

#[tokio::test]
async fn webhooks_are_signed_over_the_raw_body() {
    let world = World::start(by_hand()).await;
    let receiver = Receiver::start().await;
    world.fluent.webhook(Webhook::to(&receiver.url));
    let id = world.order("HD_1").await;
    world.fluent.advance_order("HD_1");
    world.idle().await;
    let (headers, body) = receiver.seen.lock().unwrap()[0].clone();
    let key = STANDARD.decode(world.fluent.public_key()).unwrap();
    let key = VerifyingKey::<Sha512>::new(RsaPublicKey::from_public_key_der(&key).unwrap());
    let signature = STANDARD.decode(headers["fluent-signature"].as_bytes()).unwrap();
    key.verify(&body, &rsa::pkcs1v15::Signature::try_from(signature.as_slice()).unwrap()).unwrap();
    assert!(headers.contains_key("flex.signature"));
    let mut body: Value = serde_json::from_slice(&body).unwrap();
    let webhook_id = body["id"].take();
    assert_eq!(webhook_id.as_str().unwrap().len(), 36);
    assert_eq!(
        body,
        json!({
        "id": null, "name": "fc.connect.order.webhook.status-update", "accountId": "ACME", "retailerId": "5", "entityId": id, "entityRef": "HD_1",
        "entityType": "ORDER", "entitySubtype": "HD", "rootEntityId": id, "rootEntityRef": "HD_1", "rootEntityType": "ORDER",
        "entityStatus": "RECEIVED", "type": "NORMAL", "attributes": {}, "meta": {}, "source": null})
    );
    assert_eq!(world.fluent.redeliver_last_webhook().await, Some(200));
    assert_eq!(receiver.bodies()[1]["id"], webhook_id);
}

#[tokio::test]
async fn webhooks_are_tried_at_0_2_6_and_14_seconds_then_given_up() {
    let world = World::start(by_hand()).await;
    let receiver = Receiver::start().await;
    world.fluent.webhook(Webhook::to(&receiver.url));
    *receiver.answers.lock().unwrap() = vec![500, 503, 404, 500];
    world.order("HD_1").await;
    world.fluent.advance_order("HD_1");
    world.idle().await;
    let mut seen = vec![receiver.count()];
    for step in [1_999, 1, 3_999, 1, 7_999, 1] {
        world.clock.advance(Duration::from_millis(step));
        world.idle().await;
        seen.push(receiver.count());
    }
    assert_eq!(seen, [1, 1, 2, 2, 3, 3, 4]);
    assert_eq!(world.fluent.given_up().len(), 1);
    assert_eq!(world.fluent.webhooks().last().unwrap()["outcome"], "given-up");
    world.clock.advance(Duration::from_secs(3600));
    world.idle().await;
    assert_eq!(receiver.count(), 4);
}

#[tokio::test]
async fn webhook_faults_drop_double_and_forge() {
    let world = World::start(by_hand()).await;
    let receiver = Receiver::start().await;
    world.fluent.webhook(Webhook::to(&receiver.url));
    world.order("HD_1").await;
    world.fluent.webhook_faults(WebhookFaults { drop: 1.0, ..WebhookFaults::default() });
    world.fluent.advance_order("HD_1");
    world.idle().await;
    assert_eq!((receiver.count(), &world.fluent.webhooks()[0]["outcome"]), (0, &json!("dropped")));
    world.fluent.webhook_faults(WebhookFaults { duplicate: 1.0, bad_signature: 1.0, ..WebhookFaults::default() });
    world.fluent.set_order_status("HD_1", "ESCALATED");
    world.idle().await;
    let bodies = receiver.bodies();
    assert_eq!((bodies.len(), &bodies[0]["id"]), (2, &bodies[1]["id"]));
    let (headers, body) = receiver.seen.lock().unwrap()[0].clone();
    assert_ne!(headers["fluent-signature"].to_str().unwrap(), world.fluent.sign(&body).0);
}

#[tokio::test]
async fn held_back_webhooks_are_overtaken() {
    let world = World::start(by_hand()).await;
    let receiver = Receiver::start().await;
    world.fluent.webhook(Webhook::to(&receiver.url));
    world.order("HD_1").await;
    world.fluent.webhook_faults(WebhookFaults { reorder: 1.0, ..WebhookFaults::default() });
    world.fluent.set_order_status("HD_1", "RECEIVED");
    world.fluent.webhook_faults(WebhookFaults::default());
    world.fluent.set_order_status("HD_1", "BOOKED");
    world.idle().await;
    world.clock.advance(Duration::from_secs(3));
    world.idle().await;
    let statuses: Vec<_> = receiver.bodies().iter().map(|body| body["entityStatus"].clone()).collect();
    assert_eq!(statuses, ["BOOKED", "RECEIVED"]);
}

/// A receiver that answers with the next status of its list, 200 when the list is empty.
struct Receiver {
    url: String,
    seen: Arc<Mutex<Vec<(HeaderMap, Bytes)>>>,
    answers: Arc<Mutex<Vec<u16>>>,
}

impl Receiver {
    async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let (seen, answers) = (Arc::<Mutex<Vec<_>>>::default(), Arc::<Mutex<Vec<u16>>>::default());
        let (kept, left) = (seen.clone(), answers.clone());
        let router = Router::new().route(
            "/hook",
            post(move |headers: HeaderMap, body: Bytes| async move {
                kept.lock().unwrap().push((headers, body));
                let mut left = left.lock().unwrap();
                let status = if left.is_empty() { 200 } else { left.remove(0) };
                StatusCode::from_u16(status).unwrap()
            }),
        );
        #[expect(clippy::disallowed_methods, reason = "the receiver lives as long as its test")]
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, seen, answers }
    }

    fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    fn bodies(&self) -> Vec<Value> {
        self.seen.lock().unwrap().iter().map(|(_, body)| serde_json::from_slice(body).unwrap()).collect()
    }
}

#[tokio::test]
async fn click_and_collect_waits_for_the_customer_and_multi_for_the_courier() {
    let world = World::start(by_hand()).await;
    let customer = world.customer().await;
    let mut collect = order("CC_1", &customer);
    collect["type"] = "CC".into();
    collect["fulfilmentChoice"] = json!({"ref": "CC_1-1", "deliveryType": "STANDARD", "fulfilmentType": "CC_PFS", "pickupLocationRef": "STORE-7"});
    world.fluent.add_order(collect).unwrap();
    let mut multi = order("MULTI_1", &customer);
    multi["type"] = "MULTI".into();
    multi["fulfilmentChoice"].take();
    multi["fulfilmentChoices"] = json!([
        {"ref": "M-1", "type": "HD", "deliveryType": "STANDARD", "fulfilmentType": "HD_PFS", "deliveryAddress": {"ref": "M-1-address", "name": "A B", "street": "1 X St", "city": "Sydney"}},
        {"ref": "M-2", "type": "CC", "deliveryType": "STANDARD", "fulfilmentType": "CC_PFS", "pickupLocationRef": "STORE-7"}]);
    assert!(world.fluent.add_order(multi.clone()).unwrap_err().to_string().contains("C0160E"));
    multi["items"][0]["fulfilmentChoiceRef"] = "M-2".into();
    world.fluent.add_order(multi).unwrap();
    let walk = |reference: &str| std::iter::from_fn(|| world.fluent.advance_order(reference)).collect::<Vec<_>>();
    assert_eq!(walk("CC_1"), ["RECEIVED", "BOOKED", "PICK_PACK_CC", "AWAITING_CUSTOMER_COLLECTION", "COMPLETE"]);
    assert_eq!(
        walk("MULTI_1"),
        ["RECEIVED", "BOOKED", "PICK_PACK", "PICK_PACK", "AWAITING_COURIER_COLLECTION", "COMPLETE"]
    );
    let fulfilments = world.fluent.fulfilments();
    assert_eq!(fulfilments[0]["fromLocation"]["ref"], "STORE-7");
    assert_eq!(fulfilments.iter().filter(|one| one["status"] == "COMPLETE").count(), 3);
    assert_eq!(world.fluent.consignments().len(), 1, "only the home delivery of the second order is sent");
    let made = world.fluent.front().ledger().into_iter().find(|row| row.entity == "ORDER").unwrap();
    assert_eq!(made.operation, "another-system");
}
