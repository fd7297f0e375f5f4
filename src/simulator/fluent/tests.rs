//! The simulator over HTTP, as a client meets it.

mod access;
mod faults;
mod movement;
mod writes;

use std::sync::Mutex;
use std::time::Duration;

use serde_json::json;

use super::*;
use crate::clock::parse_rfc3339;

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
