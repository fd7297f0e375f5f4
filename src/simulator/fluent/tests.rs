//! The simulator over HTTP, as a client meets it.

use std::sync::Mutex;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rsa::RsaPublicKey;
use rsa::pkcs1v15::VerifyingKey;
use rsa::pkcs8::DecodePublicKey;
use rsa::signature::Verifier;
use serde_json::json;
use sha2::Sha512;

use super::*;
use crate::clock::{Millis, parse_rfc3339};
use crate::simulator::front::{Fault, Rule};

const START: &str = "2026-06-15T10:00:00.000Z";

struct World {
    fluent: Fluent,
    clock: Clock,
    http: reqwest::Client,
    bearer: Mutex<String>,
}

impl World {
    async fn start(options: Options) -> Self {
        let clock = Clock::simulated(parse_rfc3339(START).unwrap());
        let fluent = Fluent::start(clock.clone(), options).await.unwrap();
        fluent.seed_shop(&["TEE-RED-M", "MUG"]);
        let world = Self { http: client().unwrap(), fluent, clock, bearer: Mutex::default() };
        world.log_in().await;
        world
    }

    async fn log_in(&self) {
        let (status, answer) = self.token(&PASSWORD).await;
        assert_eq!(status, 200, "{answer}");
        *self.bearer.lock().unwrap() = answer["access_token"].as_str().unwrap().to_owned();
    }

    async fn token(&self, form: &[(&str, &str)]) -> (u16, Value) {
        let answer = self.http.post(format!("{}/oauth/token", self.fluent.url())).form(form).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let bearer = self.bearer.lock().unwrap().clone();
        let request = self.http.post(format!("{}{path}", self.fluent.url())).bearer_auth(bearer).json(body);
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    async fn graphql(&self, query: &str, variables: Value) -> Value {
        let (status, answer) = self.post("/graphql", &json!({"query": query, "variables": variables})).await;
        assert_eq!(status, 200, "{answer}");
        answer
    }

    async fn customer(&self) -> String {
        let answer = self.graphql(CREATE_CUSTOMER, json!({"input": customer("c-1")})).await;
        answer["data"]["createCustomer"]["id"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    async fn order(&self, reference: &str) -> String {
        let customer = self.fluent.customers().first().map(|customer| customer["id"].as_str().unwrap().to_owned());
        let customer = match customer {
            Some(id) => id,
            None => self.customer().await,
        };
        let answer = self.graphql(CREATE_ORDER, json!({"input": order(reference, &customer)})).await;
        answer["data"]["createOrder"]["id"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    async fn idle(&self) {
        eventually(|| self.fluent.pending_steps() == 0 && self.fluent.pending_webhooks() == 0).await;
    }
}

async fn eventually(mut is_so: impl FnMut() -> bool) {
    let waited = async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waited).await.expect("it should have happened by now");
}

const PASSWORD: [(&str, &str); 6] = [
    ("grant_type", "password"),
    ("username", "connector"),
    ("password", "simulated-password"),
    ("client_id", "ACME"),
    ("client_secret", "simulated-secret"),
    ("scope", "api"),
];
const CREATE_CUSTOMER: &str =
    "mutation CreateCustomer($input: CreateCustomerInput) { createCustomer(input: $input) { id ref username } }";
const CREATE_ORDER: &str =
    "mutation CreateOrder($input: CreateOrderInput) { createOrder(input: $input) { id ref type status } }";

fn customer(username: &str) -> Value {
    json!({"username": username, "primaryEmail": "a@example.com", "timezone": "UTC", "promotionOptIn": false, "retailer": {"id": 5}})
}

fn order(reference: &str, customer: &str) -> Value {
    json!({
        "ref": reference, "type": "HD", "retailer": {"id": "5"}, "customer": {"id": customer}, "totalPrice": 100.0, "totalTaxPrice": 10,
        "items": [{"ref": "line-1", "productRef": "TEE-RED-M", "productCatalogueRef": "PC:MASTER:5", "quantity": 2, "price": 45.0,
            "currency": "AUD"}],
        "fulfilmentChoice": {"ref": format!("{reference}-1"), "deliveryType": "STANDARD", "fulfilmentType": "HD_PFS",
            "deliveryAddress": {"ref": format!("{reference}-1-address"), "name": "A B", "street": "1 X St", "city": "Sydney"}},
        "billingAddress": {"name": "A B", "city": "Sydney"},
        "financialTransactions": [{"ref": format!("{reference}-pay"), "type": "PAYMENT", "amount": 110.0, "currency": "AUD",
            "paymentMethod": "CREDITCARD", "paymentProvider": "PSP"}],
        "attributes": [{"name": "commercetoolsOrderId", "type": "STRING", "value": "o-1"}],
    })
}

fn code(answer: &Value) -> &str {
    answer["errors"][0]["extensions"]["code"].as_str().unwrap_or_else(|| panic!("{answer}"))
}

fn by_hand() -> Options {
    Options { workflow: Workflow { automatic: false, ..Workflow::default() }, ..Options::default() }
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
    assert_eq!(code(&world.graphql("{ locations { edges { cursor } } }", json!({})).await), "S0001E");
}

#[tokio::test]
async fn aliases_fail_alone() {
    let world = World::start(by_hand()).await;
    let query = "mutation Two($a: CreateCustomerInput, $b: CreateCustomerInput, $c: CreateCustomerInput) {
        a: createCustomer(input: $a) { id } b: createCustomer(input: $b) { id } c: createCustomer(input: $c) { id username } }";
    let variables = json!({"a": customer("one"), "b": customer("one"), "c": customer("two")});
    let answer = world.graphql(query, variables).await;
    assert_eq!(code(&answer), "C0123E");
    assert_eq!(answer["errors"][0]["path"], json!(["b"]));
    assert_eq!(answer["data"]["b"], Value::Null);
    assert_eq!(answer["data"]["c"]["username"], "two");
    assert_eq!(world.fluent.customers().len(), 2);
}

#[tokio::test]
async fn an_order_is_created_once_with_all_it_embeds() {
    let world = World::start(by_hand()).await;
    let id = world.order("HD_1").await;
    let customer = world.fluent.customers()[0]["id"].as_str().unwrap().to_owned();
    let again = world.graphql(CREATE_ORDER, json!({"input": order("HD_1", &customer)})).await;
    assert_eq!((code(&again), &again["data"]["createOrder"]), ("C0121E", &Value::Null));
    let read = "query($ref: [String], $retailerId: [Int!]) { orders(ref: $ref, retailerId: $retailerId, first: 5) { edges { node {
        id totalPrice totalTaxPrice customer { username } customerLink { ref } attributes { name type value }
        items(first: 100) { edges { node { ref quantity product { ref ... on VariantProduct { gtin product { ref } } } } } pageInfo { hasNextPage } }
        fulfilmentChoice { ref } fulfilmentChoices(first: 20) { edges { node { type deliveryType deliveryAddress { id ref street } } } }
        billingAddress { city } financialTransactions(ref: [\"HD_1-pay\"]) { edges { node { total currency paymentProviderName } } } } } } }";
    let answer = world.graphql(read, json!({"ref": ["HD_1"], "retailerId": [5]})).await;
    let node = &answer["data"]["orders"]["edges"][0]["node"];
    assert_eq!(node["id"], id.as_str(), "{answer}");
    assert_eq!((&node["totalTaxPrice"], &node["customer"]["username"]), (&json!(10.0), &json!("c-1")));
    let item = &node["items"]["edges"][0]["node"];
    assert_eq!(
        item["product"],
        json!({"ref": "TEE-RED-M", "gtin": "TEE-RED-M", "product": {"ref": "TEE-RED-M-STANDARD"}})
    );
    assert_eq!(node["fulfilmentChoices"]["edges"][0]["node"]["deliveryAddress"]["street"], "1 X St");
    assert_eq!(
        node["financialTransactions"]["edges"][0]["node"],
        json!({"total": 110.0, "currency": "AUD", "paymentProviderName": "PSP"})
    );
    let none = world.graphql(read, json!({"ref": ["HD_1"], "retailerId": [6]})).await;
    assert_eq!(none["data"]["orders"]["edges"], json!([]));
    let created: Vec<_> = world
        .fluent
        .front()
        .ledger()
        .into_iter()
        .filter(|row| row.operation == "createOrder" && row.entity == "ORDER")
        .collect();
    assert_eq!(
        (created.len(), created[0].reference.as_str(), created[0].detail["type"].as_str()),
        (1, "HD_1", Some("HD"))
    );
}

#[tokio::test]
async fn orders_naming_what_is_not_there_are_refused_whole() {
    let world = World::start(by_hand()).await;
    let customer = world.customer().await;
    let try_with = async |change: &dyn Fn(&mut Value)| {
        let mut input = order("HD_2", &customer);
        change(&mut input);
        world.graphql(CREATE_ORDER, json!({"input": input})).await
    };
    assert_eq!(code(&try_with(&|order| order["items"][0]["productRef"] = "NOPE".into()).await), "C0120E");
    assert_eq!(code(&try_with(&|order| order["items"][0]["productCatalogueRef"] = Value::Null).await), "C0120E");
    assert_eq!(code(&try_with(&|order| order["customer"]["id"] = "99".into()).await), "C0120E");
    assert_eq!(code(&try_with(&|order| order["retailer"]["id"] = "6".into()).await), "C0120E");
    assert_eq!(code(&try_with(&|order| order["items"] = json!([])).await), "C0160E");
    assert_eq!(code(&try_with(&|order| order["totalPrice"] = json!(-1)).await), "C0122E");
    let no_ref = try_with(&|order| order["fulfilmentChoice"]["deliveryAddress"]["ref"] = Value::Null).await;
    assert_eq!(code(&no_ref), "C0140E");
    assert!(world.fluent.orders().is_empty() && world.fluent.transactions().is_empty());
    assert_eq!(try_with(&|_| {}).await["data"]["createOrder"]["status"], "CREATED");
    let again = |input: &mut Value| {
        input["ref"] = "HD_3".into();
    };
    assert_eq!(code(&try_with(&again).await), "C0123E", "the transaction's ref is in use");
}

#[tokio::test]
async fn products_are_upserted_by_parts() {
    let world = World::start(by_hand()).await;
    let catalogue = json!({"ref": "PC:MASTER:5"});
    let create = "mutation($c: CreateCategoryInput, $s: CreateStandardProductInput, $v: CreateVariantProductInput) {
        createCategory(input: $c) { id status } createStandardProduct(input: $s) { id } createVariantProduct(input: $v) { id ref status product { ref } } }";
    let answer = world.graphql(create, json!({
        "c": {"ref": "shirts", "type": "DEFAULT", "name": "Shirts", "catalogue": catalogue},
        "s": {"ref": "P-1", "type": "STANDARD", "gtin": "1", "name": "Shirt", "catalogue": catalogue, "categories": [{"ref": "shirts", "catalogue": catalogue}]},
        "v": {"ref": "V-1", "type": "VARIANT", "gtin": "2", "name": "Shirt M", "catalogue": catalogue, "product": {"ref": "P-1", "catalogue": catalogue},
            "prices": [{"type": "DEFAULT", "currency": "EUR", "value": 10}], "attributes": [{"name": "a", "type": "STRING", "value": "1"}]},
    })).await;
    assert_eq!(answer["data"]["createVariantProduct"]["product"]["ref"], "P-1", "{answer}");
    assert_eq!(answer["data"]["createVariantProduct"]["status"], "CREATED");
    let update = "mutation($i: UpdateVariantProductInput) { updateVariantProduct(input: $i) { name prices { currency value } attributes { name value } } }";
    let answer = world.graphql(update, json!({"i": {"ref": "V-1", "catalogue": catalogue, "name": "Shirt medium",
        "prices": [{"type": "DEFAULT", "currency": "USD", "value": 11}], "attributes": [{"name": "b", "type": "STRING", "value": "2"}]}})).await;
    assert_eq!(
        answer["data"]["updateVariantProduct"],
        json!({"name": "Shirt medium",
        "prices": [{"currency": "EUR", "value": 10.0}, {"currency": "USD", "value": 11.0}],
        "attributes": [{"name": "a", "value": "1"}, {"name": "b", "value": "2"}]})
    );
    world.idle().await;
    let read = "query($c: ProductCatalogueKey!) { standardProduct(ref: \"P-1\", catalogue: $c) { status
        categories { edges { node { ref } } } variants { edges { node { ref } } } }
        standardProducts(category: {ref: \"shirts\", catalogue: $c}) { edges { node { ref } } } }";
    let answer = world.graphql(read, json!({"c": catalogue})).await;
    assert_eq!(
        answer["data"]["standardProduct"],
        json!({"status": "ACTIVE", "categories": {"edges": [{"node": {"ref": "shirts"}}]},
        "variants": {"edges": [{"node": {"ref": "V-1"}}]}})
    );
    assert_eq!(answer["data"]["standardProducts"]["edges"], json!([{"node": {"ref": "P-1"}}]));
    let remove = "mutation($i: RemoveCategoriesFromStandardProductInput) { removeCategoriesFromStandardProduct(input: $i) { __typename } }";
    let input = json!({"i": {"standardProduct": {"ref": "P-1", "catalogue": catalogue}, "categories": [{"ref": "shirts", "catalogue": catalogue}]}});
    assert!(world.graphql(remove, input).await.get("errors").is_none());
    let answer = world.graphql(read, json!({"c": catalogue})).await;
    assert_eq!(answer["data"]["standardProduct"]["categories"]["edges"], json!([]));
}

#[tokio::test]
async fn settings_are_unique_by_name_and_context() {
    let world = World::start(by_hand()).await;
    let create = "mutation($i: CreateSettingInput) { createSetting(input: $i) { id name lobValue } }";
    let setting =
        json!({"name": "fc.x", "valueType": "JSON", "lobValue": {"a": [1]}, "context": "RETAILER", "contextId": 5});
    let answer = world.graphql(create, json!({"i": setting})).await;
    assert_eq!(answer["data"]["createSetting"]["lobValue"], json!({"a": [1]}));
    assert_eq!(code(&world.graphql(create, json!({"i": setting})).await), "C0123E");
    let id = &answer["data"]["createSetting"]["id"];
    let update =
        json!({"i": {"id": id, "valueType": "JSON", "lobValue": {"a": 2}, "context": "RETAILER", "contextId": 5}});
    let answer =
        world.graphql("mutation($i: UpdateSettingInput) { updateSetting(input: $i) { lobValue name } }", update).await;
    assert_eq!(answer["data"]["updateSetting"], json!({"lobValue": {"a": 2}, "name": "fc.x"}));
}

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
async fn polls_see_every_change_in_their_window() {
    let world = World::start(by_hand()).await;
    for number in 0..5 {
        world.order(&format!("HD_{number}")).await;
        world.clock.advance(Duration::from_secs(1));
    }
    world.fluent.set_order_status("HD_0", "BOOKED");
    let query = "query($from: DateTime, $to: DateTime, $after: String) { orders(updatedOn: {from: $from, to: $to}, retailerId: 5, first: 2, after: $after) {
        edges { cursor node { ref updatedOn } } pageInfo { hasNextPage hasPreviousPage } } }";
    let (mut refs, mut after) = (vec![], Value::Null);
    loop {
        let answer = world.graphql(query, json!({"from": START, "to": "2026-06-15T10:00:05Z", "after": after})).await;
        let page = &answer["data"]["orders"];
        refs.extend(
            page["edges"]
                .as_array()
                .unwrap_or_else(|| panic!("{answer}"))
                .iter()
                .map(|edge| edge["node"]["ref"].clone()),
        );
        after = page["edges"].as_array().unwrap().last().unwrap()["cursor"].clone();
        if page["pageInfo"]["hasNextPage"] == false {
            break;
        }
    }
    assert_eq!(refs, ["HD_1", "HD_2", "HD_3", "HD_4", "HD_0"]);
    let (none, at): (Value, Millis) = (json!({"after": "bm90LW91cnM"}), parse_rfc3339(START).unwrap());
    assert_eq!(code(&world.graphql(query, none).await), "C0101E");
    let late = json!({"from": crate::clock::rfc3339(at), "after": "bm90LW91cnM"});
    assert_eq!(code(&world.graphql(query, late).await), "C0160E");
}
