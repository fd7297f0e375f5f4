//! The guards over HTTP: one story per family.

mod shipped;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::http::StatusCode;
use axum::routing::post;
use serde_json::json;

use super::*;
use crate::simulator::front::lock;
use crate::simulator::{Fault, Rule};

const NOON: i64 = 1_781_517_600_000;

struct Caller {
    platform: Commercetools,
    clock: Clock,
    http: reqwest::Client,
    token: String,
}

impl Caller {
    async fn with(options: Options) -> Self {
        let clock = Clock::simulated(NOON);
        let platform = Commercetools::start(clock.clone(), options).await.unwrap();
        let mut caller = Self { platform, clock, http: http_client().unwrap(), token: String::new() };
        caller.log_in().await;
        caller
    }

    async fn new() -> Self {
        let caller = Self::with(Options::default()).await;
        caller.platform.seed_shop();
        caller
    }

    async fn log_in(&mut self) {
        let url = format!("{}/oauth/token?grant_type=client_credentials", self.platform.url());
        let request = self.http.post(url).basic_auth("demo-client", Some("demo-secret"));
        let answer: Value = request.send().await.unwrap().json().await.unwrap();
        self.token = answer["access_token"].as_str().unwrap().to_owned();
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> (u16, Value) {
        let answer = request.bearer_auth(&self.token).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap_or(Value::Null))
    }

    fn at(&self, path: &str) -> String {
        format!("{}/demo-project{path}", self.platform.url())
    }

    async fn read(&self, path: &str) -> (u16, Value) {
        self.send(self.http.get(self.at(path))).await
    }

    async fn ask(&self, path: &str, query: &[(&str, &str)]) -> (u16, Value) {
        self.send(self.http.get(self.at(path)).query(query)).await
    }

    async fn write(&self, path: &str, body: Value) -> (u16, Value) {
        self.send(self.http.post(self.at(path)).json(&body)).await
    }

    async fn update(&self, id: &str, version: u64, actions: Value) -> (u16, Value) {
        self.write(&format!("/orders/{id}"), json!({"version": version, "actions": actions})).await
    }
}

fn code(answer: &(u16, Value)) -> (u16, &str) {
    (answer.0, answer.1["errors"][0]["code"].as_str().unwrap_or_default())
}

#[tokio::test]
async fn a_token_expires_by_the_clock() {
    let mut caller = Caller::with(Options { token_seconds: 60, ..Options::default() }).await;
    assert_eq!(caller.read("").await.0, 200);
    caller.clock.advance(Duration::from_secs(60));
    let refused = caller.read("").await;
    assert_eq!(code(&refused), (401, "invalid_token"));
    assert_eq!(refused.1["error"], "invalid_token");
    caller.log_in().await;
    assert_eq!(caller.read("").await.0, 200);
}

#[tokio::test]
async fn the_token_endpoint_refuses_strangers_and_foreign_scopes() {
    let caller = Caller::new().await;
    let url = format!("{}/oauth/token", caller.platform.url());
    let ask = |secret: &'static str, form: Vec<(&'static str, &'static str)>| {
        caller.http.post(&url).basic_auth("demo-client", Some(secret)).form(&form).send()
    };
    let grant = ("grant_type", "client_credentials");
    assert_eq!(ask("wrong", vec![grant]).await.unwrap().status(), 401);
    assert_eq!(ask("demo-secret", vec![]).await.unwrap().status(), 400);
    let greedy = vec![grant, ("scope", "manage_project:demo-project")];
    assert_eq!(ask("demo-secret", greedy).await.unwrap().status(), 400);
    let modest: Value =
        ask("demo-secret", vec![grant, ("scope", "manage_orders:demo-project")]).await.unwrap().json().await.unwrap();
    assert_eq!(modest["scope"], "manage_orders:demo-project");
    assert_eq!(modest["expires_in"], 172_800);
}

#[tokio::test]
async fn a_missing_scope_is_named() {
    let scopes = vec!["view_orders".into(), "view_project_settings:demo-project".into()];
    let caller = Caller::with(Options { scopes, ..Options::default() }).await;
    let id = caller.platform.order(None).payment("CARD", 2999).place();
    let refused = caller.update(&id, 1, json!([])).await;
    assert_eq!(code(&refused), (403, "insufficient_scope"));
    assert!(refused.1["message"].as_str().unwrap().contains("manage_orders:demo-project"));
    let (_, order) = caller.ask(&format!("/orders/{id}"), &[("expand", "paymentInfo.payments[*]")]).await;
    assert!(order["paymentInfo"]["payments"][0].get("obj").is_none(), "payments may not be read");
    let other = caller.http.get(format!("{}/other-project/orders", caller.platform.url()));
    assert_eq!(code(&caller.send(other).await), (403, "insufficient_scope"));
}

#[tokio::test]
async fn orders_are_found_by_id_number_and_predicate() {
    let caller = Caller::new().await;
    let order = caller.platform.order(Some("A/7 ü")).line("TEE-RED-M", 2, 2999).customer(ADA).shipping(495);
    let id = order.payment("CREDIT_CARD", 6493).place();
    let paths = "shippingInfo.shippingMethod";
    let (status, found) = caller
        .ask(&format!("/orders/{id}"), &[("expand", "paymentInfo.payments[*]"), ("expand", paths), ("expand", "x.y")])
        .await;
    assert_eq!(status, 200);
    assert_eq!(found["paymentInfo"]["payments"][0]["obj"]["transactions"][0]["amount"]["centAmount"], 6493);
    assert_eq!(found["shippingInfo"]["shippingMethod"]["obj"]["key"], "dhl-standard");
    assert_eq!(found["taxedPrice"]["totalNet"]["centAmount"], 5040 + 416);
    assert_eq!(caller.read("/orders/order-number=A%2F7%20%C3%BC").await.1["id"], id.as_str());
    let payment = found["paymentInfo"]["payments"][0]["id"].as_str().unwrap();
    let by_payment = [("where", "paymentInfo(payments(id = :id))"), ("var.id", payment), ("withTotal", "false")];
    let (_, page) = caller.ask("/orders", &by_payment).await;
    assert_eq!((page["count"].as_u64(), page.get("total")), (Some(1), None));
    for (path, status) in [("/orders/nothing", 404), ("/orders/order-number=nothing", 404), ("/orders/import", 501)] {
        assert_eq!(caller.read(path).await.0, status, "{path}");
    }
    let head = |predicate: &str| {
        let request = caller.http.head(caller.at("/orders")).query(&[("where", predicate)]);
        request.bearer_auth(&caller.token).send()
    };
    assert_eq!(head("version = 1").await.unwrap().status(), 200);
    assert_eq!(head("version = 2").await.unwrap().status(), 404);
    assert_eq!(caller.platform.front().received("GET /orders/{id}"), 2);
}

/// The amounts of a golden example: 2 × 29.99 and 4.95 for shipping, 4.93 off the total.
#[tokio::test]
async fn a_placed_order_adds_up() {
    let caller = Caller::new().await;
    let draft = caller.platform.order(Some("10006")).line("TEE-RED-L", 2, 2999).customer(ADA);
    let id = draft.shipping(495).total_discount(493).payment("CREDIT_CARD", 6000).place();
    let order = caller.platform.document("orders", &id).unwrap();
    let cents = |path: &str| order.pointer(path).and_then(|money| money["centAmount"].as_i64());
    for (path, expected) in [
        ("/totalPrice", 6000),
        ("/taxedPrice/totalNet", 5042),
        ("/taxedPrice/totalGross", 6000),
        ("/taxedPrice/totalTax", 958),
        ("/lineItems/0/taxedPrice/totalNet", 5040),
        ("/shippingInfo/taxedPrice/totalNet", 416),
        ("/discountOnTotalPrice/discountedNetAmount", 414),
        ("/discountOnTotalPrice/discountedGrossAmount", 493),
    ] {
        assert_eq!(cents(path), Some(expected), "{path}");
    }
    assert_eq!(order["paymentState"], "Paid");
    assert_eq!(order["billingAddress"]["city"], "Wien");
    assert_eq!(order["lineItems"][0]["productKey"], "tee-basic");
    let poison = caller.platform.order(None).without_sku().place();
    assert!(caller.platform.document("orders", &poison).unwrap()["lineItems"][0]["variant"].get("sku").is_none());
}

#[tokio::test]
async fn types_refuse_fields_that_contradict_each_other() {
    let caller = Caller::new().await;
    let draft = |key: &str, kind: &str| {
        let field = json!({"name": "flOrderId", "label": {"en": "Id"}, "required": false, "type": {"name": kind}});
        json!({"key": key, "name": {"en": "T"}, "resourceTypeIds": ["order"], "fieldDefinitions": [field]})
    };
    assert_eq!(code(&caller.write("/types", draft("mine", "Number")).await), (400, "InvalidOperation"));
    assert_eq!(code(&caller.write("/types", draft("mine", "Text")).await), (400, "InvalidJsonInput"));
    assert_eq!(code(&caller.write("/types", draft("not a key", "String")).await), (400, "InvalidField"));
    let (status, created) = caller.write("/types", draft("mine", "String")).await;
    assert_eq!((status, &created["version"]), (201, &json!(1)));
    let again = json!({"action": "addFieldDefinition", "fieldDefinition": draft("x", "String")["fieldDefinitions"][0]});
    let update = json!({"version": 1, "actions": [again]});
    assert_eq!(code(&caller.write("/types/key=mine", update).await), (400, "DuplicateField"));
    assert_eq!(caller.read("/types/key=mine").await.1, created);
}

#[tokio::test]
async fn malformed_queries_are_refused() {
    let caller = Caller::new().await;
    for query in [
        ("limit", "501"),
        ("limit", "-1"),
        ("limit", "many"),
        ("offset", "10001"),
        ("where", "orderState ="),
        ("where", "orderSate = \"Open\""),
        ("where", "orderState = :state"),
        ("sort", "lastModifiedAt up"),
        ("sort", "modified"),
        ("withTotal", "no"),
    ] {
        let refused = caller.ask("/orders", &[query]).await;
        assert_eq!(code(&refused), (400, "InvalidInput"), "{query:?}");
        assert_eq!(refused.1["statusCode"], 400);
        assert!(refused.1["message"].as_str().unwrap().starts_with("Malformed parameter: "));
    }
    assert_eq!(caller.ask("/orders", &[("limit", "0"), ("offset", "10000")]).await.0, 200);
}

#[tokio::test]
async fn a_keyset_scan_by_id_sees_every_row_once() {
    let caller = Caller::new().await;
    let mut placed: Vec<String> = (0..60).map(|_| caller.platform.order(None).place()).collect();
    let mut seen = Vec::new();
    loop {
        let after = seen.last().map(|last| format!("id > \"{last}\""));
        let mut query = vec![("sort", "id asc"), ("limit", "7")];
        query.extend(after.as_deref().map(|after| ("where", after)));
        let (_, page) = caller.ask("/orders", &query).await;
        let rows = page["results"].as_array().unwrap();
        seen.extend(rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()));
        if rows.len() < 7 {
            break;
        }
    }
    assert!(!seen.is_sorted(), "the order of ids is not the order of their texts");
    seen.sort();
    placed.sort();
    assert_eq!(seen, placed);
}

#[tokio::test]
async fn a_stale_version_is_a_conflict_and_no_change_keeps_the_version() {
    let caller = Caller::new().await;
    let id = caller.platform.order(Some("10001")).place();
    let confirm = json!([{"action": "changeOrderState", "orderState": "Confirmed"}]);
    let (status, order) = caller.update(&id, 1, confirm.clone()).await;
    assert_eq!((status, &order["orderState"], &order["version"]), (200, &json!("Confirmed"), &json!(2)));
    assert_eq!(order["lastModifiedBy"]["clientId"], "demo-client");
    let conflict = caller.update(&id, 1, confirm.clone()).await;
    assert_eq!(code(&conflict), (409, "ConcurrentModification"));
    assert_eq!(conflict.1["errors"][0]["currentVersion"], 2);
    assert_eq!(
        conflict.1["message"],
        format!("Object {id} has a different version than expected. Expected: 1 - Actual: 2.")
    );
    assert_eq!(caller.update(&id, 2, confirm).await.1["version"], 2);
    let ledger = caller.platform.front().ledger();
    let changes: Vec<_> = ledger.iter().map(|effect| (effect.reference.as_str(), effect.changed)).collect();
    assert_eq!(changes, [("10001", true), ("10001", false)]);
    assert_eq!(ledger[0].operation, "POST /orders/{id}");
    assert_eq!(ledger[0].detail["actions"], json!(["changeOrderState"]));
}

#[tokio::test]
async fn all_actions_apply_or_none() {
    let caller = Caller::new().await;
    let id = caller.platform.order(None).place();
    let good = json!({"action": "changeOrderState", "orderState": "Confirmed"});
    let link = |channel: &str| json!({"action": "updateSyncInfo", "channel": {"typeId": "channel", "key": channel}});
    caller.platform.put("channels", json!({"key": "stock", "roles": ["InventorySupply"]}));
    for (bad, refusal) in [
        (json!({"action": "changeShipmentState", "shipmentState": "Cancelled"}), "InvalidJsonInput"),
        (json!({"action": "changeOrderState", "orderState": "Canceled"}), "InvalidJsonInput"),
        (json!({"action": "shipIt"}), "InvalidJsonInput"),
        (link("nowhere"), "ReferencedResourceNotFound"),
        (link("stock"), "InvalidOperation"),
        (json!({"action": "setCustomField", "name": "flOrderId", "value": "1"}), "InvalidOperation"),
        (json!({"action": "setBillingAddress", "address": {"city": "Berlin"}}), "InvalidJsonInput"),
        (json!({"action": "setCustomerEmail", "email": 7}), "InvalidJsonInput"),
        (json!({"action": "addPayment", "payment": {"typeId": "payment", "id": "p"}}), "ReferencedResourceNotFound"),
        (json!({"action": "setBusinessUnit"}), "General"),
    ] {
        let refused = caller.update(&id, 1, json!([good, bad])).await;
        assert_eq!(code(&refused).1, refusal, "{bad}");
        let order = caller.platform.document("orders", &id).unwrap();
        assert_eq!((&order["version"], &order["orderState"]), (&json!(1), &json!("Open")));
    }
    let many = vec![good; 501];
    assert_eq!(code(&caller.update(&id, 1, json!(many)).await), (400, "InvalidInput"));
    assert_eq!(code(&caller.write(&format!("/orders/{id}"), json!({"actions": []})).await), (400, "InvalidJsonInput"));
    assert_eq!(code(&caller.update("nothing", 1, json!([])).await), (404, "ResourceNotFound"));
    assert!(caller.platform.front().ledger().is_empty());
}

#[tokio::test]
async fn the_order_link_replaces_its_entry_and_fields_obey_their_type() {
    let caller = Caller::new().await;
    let id = caller.platform.order(None).place();
    let channel = json!({"typeId": "channel", "key": ORDER_CHANNEL});
    let custom = json!({"typeId": "type", "key": ORDER_TYPE});
    let (status, order) = caller
        .update(
            &id,
            1,
            json!([
                {"action": "updateSyncInfo", "channel": channel, "externalId": "F-1"},
                {"action": "updateSyncInfo", "channel": channel, "externalId": "F-2"},
                {"action": "setCustomType", "type": custom, "fields": {"flOrderId": "F-2"}},
                {"action": "setCustomField", "name": "flOrderRef", "value": "HD_1"},
            ]),
        )
        .await;
    assert_eq!((status, &order["version"]), (200, &json!(5)));
    assert_eq!(order["syncInfo"].as_array().unwrap().len(), 1);
    assert_eq!(order["syncInfo"][0]["externalId"], "F-2");
    let (_, found) = caller.ask("/orders", &[("where", "syncInfo(externalId = :id)"), ("var.id", "F-2")]).await;
    assert_eq!(found["results"][0]["id"], id.as_str());
    for (name, value, refusal) in [
        ("flUnknown", json!("x"), "InvalidField"),
        ("flOrderId", json!(7), "InvalidField"),
        ("flPickupLocationRef", Value::Null, "InvalidOperation"),
    ] {
        let action = json!([{"action": "setCustomField", "name": name, "value": value}]);
        assert_eq!(code(&caller.update(&id, 5, action).await).1, refusal, "{name}");
    }
    let messages = caller.platform.notifications();
    let of_order = messages.iter().filter(|message| message["resource"]["id"] == id.as_str());
    let seen: Vec<_> = of_order
        .map(|m| (m["sequenceNumber"].as_u64().unwrap(), m["type"].as_str().unwrap(), m["resourceVersion"].as_u64()))
        .collect();
    assert_eq!(
        seen,
        [(1, "OrderImported", Some(1)), (2, "OrderCustomTypeSet", Some(4)), (3, "OrderCustomFieldAdded", Some(5))]
    );
    assert_eq!(messages.last().unwrap()["lastModifiedBy"]["clientId"], "demo-client");
}

#[tokio::test]
async fn states_obey_initial_and_transitions_unless_forced() {
    let caller = Caller::new().await;
    let id = caller.platform.order(None).place();
    let state = |key: &str, initial: bool, more: Value| {
        let mut draft = json!({"key": key, "type": "OrderState", "initial": initial});
        draft.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        draft
    };
    assert_eq!(caller.write("/states", state("done", false, json!({}))).await.0, 201);
    assert_eq!(caller.write("/states", state("sealed", true, json!({"transitions": []}))).await.0, 201);
    assert_eq!(code(&caller.write("/states", state("done", true, json!({}))).await), (400, "DuplicateField"));
    let to = |key: &str, force: bool| json!([{"action": "transitionState", "state": {"typeId": "state", "key": key}, "force": force}]);
    assert_eq!(code(&caller.update(&id, 1, to("done", false)).await), (400, "InvalidOperation"));
    assert_eq!(code(&caller.update(&id, 1, to("Initial", false)).await), (400, "InvalidOperation"));
    assert_eq!(caller.update(&id, 1, to("sealed", false)).await.0, 200);
    assert_eq!(code(&caller.update(&id, 2, to("done", false)).await), (400, "InvalidOperation"));
    let (status, order) = caller.update(&id, 2, to("done", true)).await;
    assert_eq!((status, &order["version"]), (200, &json!(3)));
    assert_eq!(caller.platform.notifications().last().unwrap()["force"], true);
}

#[tokio::test]
async fn keys_and_order_numbers_are_unique() {
    let caller = Caller::new().await;
    let draft = json!({"key": ORDER_CHANNEL, "roles": ["OrderExport"]});
    let refused = caller.write("/channels", draft).await;
    assert_eq!(code(&refused), (400, "DuplicateField"));
    assert_eq!(refused.1["errors"][0]["duplicateValue"], ORDER_CHANNEL);
    caller.platform.order(Some("1")).place();
    let id = caller.platform.order(None).place();
    let number = |number: &str| json!([{"action": "setOrderNumber", "orderNumber": number}]);
    assert_eq!(code(&caller.update(&id, 1, number("1")).await), (400, "DuplicateField"));
    assert_eq!(caller.update(&id, 1, number("2")).await.0, 200);
    assert_eq!(code(&caller.update(&id, 2, number("3")).await), (400, "InvalidOperation"));
    let more = json!({"version": 1, "actions": [{"action": "addRoles", "roles": ["OrderImport"]}]});
    let (_, channel) = caller.write("/channels/key=flOrderExport", more).await;
    assert_eq!(channel["roles"], json!(["OrderExport", "OrderImport"]));
}

#[tokio::test]
async fn messages_are_queried_only_while_the_setting_is_on() {
    let caller = Caller::with(Options::default()).await;
    caller.platform.order(None).place();
    assert_eq!(code(&caller.read("/messages").await), (400, "InvalidOperation"));
    assert_eq!(caller.read("").await.1["messages"]["enabled"], false);
    caller.platform.messages(true);
    caller.platform.order(None).from_cart().place();
    let query = [("where", r#"type in ("OrderCreated", "OrderImported")"#), ("sort", "createdAt asc")];
    let (_, page) = caller.ask("/messages", &query).await;
    assert_eq!(page["count"], 1, "what was not stored then cannot be queried now");
    let message = &page["results"][0];
    assert_eq!((&message["type"], &message["sequenceNumber"]), (&json!("OrderCreated"), &json!(1)));
    assert_eq!(message["order"]["lastModifiedAt"], message["createdAt"]);
    let id = message["id"].as_str().unwrap();
    assert_eq!(caller.read(&format!("/messages/{id}")).await.1, *message);
}

#[tokio::test]
async fn late_rows_show_up_after_their_timestamp() {
    let caller = Caller::new().await;
    let old = caller.platform.order(None).place();
    caller.platform.commit_late(Duration::from_secs(5));
    let new = caller.platform.order(None).place();
    caller.platform.edit("orders", &old, |order| order["orderState"] = "Complete".into());
    let seen = async || {
        let (_, page) = caller.ask("/orders", &[]).await;
        let rows = page["results"].as_array().unwrap().clone();
        let complete = rows.iter().any(|row| row["orderState"] == "Complete");
        (rows.len(), complete)
    };
    assert_eq!(seen().await, (1, false));
    assert_eq!(caller.read(&format!("/orders/{new}")).await.0, 200, "reads by id are strongly consistent");
    caller.clock.advance(Duration::from_secs(5));
    assert_eq!(seen().await, (2, true));
}

/// A push endpoint that answers 503 the first `failures` times.
async fn endpoint(failures: usize) -> (String, Arc<Mutex<Vec<Value>>>) {
    let received = Arc::new(Mutex::new(Vec::new()));
    let (kept, calls) = (received.clone(), Arc::new(AtomicUsize::new(0)));
    let router = Router::new().route(
        "/intake",
        post(move |headers: axum::http::HeaderMap, axum::Json(body): axum::Json<Value>| async move {
            if calls.fetch_add(1, Ordering::SeqCst) < failures {
                return StatusCode::SERVICE_UNAVAILABLE;
            }
            assert_eq!(headers["authorization"], "Bearer push-token");
            lock(&kept).push(body);
            StatusCode::OK
        }),
    );
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}/intake", listener.local_addr().unwrap());
    Handle::current().spawn(async move { axum::serve(listener, router).await });
    (url, received)
}

fn push(url: &str) -> Push {
    Push { url: url.into(), token: "push-token".into(), drop: 0.0, duplicate: 0.0, reorder: false }
}

async fn idle(platform: &Commercetools) {
    while platform.pending_pushes() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn pushes_are_retried_by_the_clock() {
    let caller = Caller::new().await;
    let (url, received) = endpoint(2).await;
    caller.platform.subscribe(push(&url));
    idle(&caller.platform).await;
    assert!(lock(&received).is_empty());
    caller.clock.advance(Duration::from_secs(1));
    idle(&caller.platform).await;
    assert!(lock(&received).is_empty());
    caller.clock.advance(Duration::from_secs(2));
    idle(&caller.platform).await;
    assert_eq!(lock(&received)[0]["resource"]["typeId"], "subscription");
    let id = caller.platform.order(Some("7")).place();
    idle(&caller.platform).await;
    let message = lock(&received)[1].clone();
    assert_eq!((&message["notificationType"], &message["type"]), (&json!("Message"), &json!("OrderImported")));
    assert_eq!(message["order"]["id"], id.as_str());
    assert_eq!(message["resourceUserProvidedIdentifiers"], json!({"orderNumber": "7"}));
    assert_eq!(caller.platform.deliver(&message).await, [200]);
    assert_eq!(lock(&received).len(), 3);
}

#[tokio::test]
async fn the_dice_lose_and_double_pushes() {
    let caller = Caller::new().await;
    let (lossy, lost) = endpoint(0).await;
    let (doubling, doubled) = endpoint(0).await;
    caller.platform.subscribe(Push { drop: 1.0, ..push(&lossy) });
    caller.platform.subscribe(Push { duplicate: 1.0, reorder: true, ..push(&doubling) });
    caller.platform.order(None).place();
    caller.clock.advance(Duration::from_secs(3));
    idle(&caller.platform).await;
    assert_eq!((lock(&lost).len(), lock(&doubled).len()), (0, 4));
}

#[tokio::test]
async fn faults_wear_the_platforms_envelope() {
    let caller = Caller::new().await;
    let id = caller.platform.order(None).place();
    let once = |fault| Rule { fault, operation: Some("POST /orders/{id}".into()), times: Some(1), rate: 1.0 };
    let confirm = json!([{"action": "changeOrderState", "orderState": "Confirmed"}]);
    caller.platform.front().fault(once(Fault::ErrorBefore(503)));
    assert_eq!(code(&caller.update(&id, 1, confirm.clone()).await), (503, "OverCapacity"));
    caller.platform.front().fault(once(Fault::ErrorAfter(500)));
    assert_eq!(code(&caller.update(&id, 1, confirm.clone()).await), (500, "General"));
    assert_eq!(code(&caller.update(&id, 1, confirm).await), (409, "ConcurrentModification"), "it had been applied");
}

#[tokio::test]
async fn reads_may_be_behind_the_last_write_and_writes_never_are() {
    let caller = Caller::new().await;
    caller.clock.advance(Duration::from_secs(60));
    caller.platform.stale_reads(Duration::from_secs(5));
    let id = caller.platform.order(Some("7")).place();
    let path = format!("/orders/{id}");
    assert_eq!(code(&caller.read(&path).await), (404, "ResourceNotFound"));
    assert_eq!(code(&caller.read("/orders/order-number=7").await), (404, "ResourceNotFound"));
    caller.clock.advance(Duration::from_secs(5));
    assert_eq!(caller.read(&path).await.1["version"], 1);
    let confirm = json!([{"action": "changeOrderState", "orderState": "Confirmed"}]);
    assert_eq!(caller.update(&id, 1, confirm.clone()).await.1["version"], 2, "the answer to a write is current");
    assert_eq!(caller.read(&path).await.1["version"], 1);
    assert_eq!(code(&caller.update(&id, 1, confirm).await), (409, "ConcurrentModification"));
    caller.clock.advance(Duration::from_secs(5));
    assert_eq!(caller.read(&path).await.1["orderState"], "Confirmed");
}

#[tokio::test]
async fn a_fault_that_the_platform_cannot_have_is_refused() {
    let caller = Caller::new().await;
    let post = async |fault: Value| {
        let url = format!("{}/_control/faults", caller.platform.url());
        caller.http.post(url).json(&json!({"fault": fault})).send().await.unwrap().status()
    };
    assert_eq!(post(json!("null-data")).await, 422);
    assert_eq!(caller.read("").await.0, 200);
    assert_eq!(post(json!("half-body")).await, 204);
    assert_eq!(post(json!({"slow": 10})).await, 204);
    let cut = caller.http.get(caller.at("")).bearer_auth(&caller.token).send().await.unwrap();
    assert_eq!(cut.status(), 200, "the headers come");
    assert!(cut.bytes().await.is_err());
}

#[tokio::test]
async fn the_control_interface_places_orders() {
    let caller = Caller::new().await;
    let at = |path: &str| format!("{}/_control/{path}", caller.platform.url());
    let order = json!({
        "number": "9",
        "customer": ADA,
        "lines": [{"sku": "MUG-BLK", "quantity": 1, "centAmount": 1250}],
        "payments": [{"method": "CREDIT_CARD", "centAmount": 1250}],
    });
    let place = |body: &Value| caller.http.post(at("orders")).json(body).send();
    assert_eq!(place(&order).await.unwrap().status(), 201);
    assert_eq!(place(&order).await.unwrap().status(), 400, "the number is taken");
    let documents = caller.http.get(at("documents/orders")).send().await.unwrap();
    let orders: Vec<Value> = documents.json().await.unwrap();
    assert_eq!((orders.len(), &orders[0]["paymentState"]), (1, &json!("Paid")));
    assert_eq!(caller.http.get(at("documents/nothing")).send().await.unwrap().status(), 404);
    assert!(caller.platform.front().exchanges().iter().all(|exchange| !exchange.path.contains("_control")));
}
