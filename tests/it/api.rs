//! The admin API over HTTP: who may do what, and what each route answers (`surfaces.md` 2.6, 3).

use axum::body::Body;
use axum::http::Request;
use fluent_connector::clock::Clock;
use fluent_connector::http::Access;
use fluent_connector::simulator::commercetools::{Commercetools, Options};
use fluent_connector::store::token::ROLES;
use fluent_connector::store::{Ending, Mapping, Run, Token, Urgency};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::surface::Desk;

fn parked(draft: fluent_connector::queue::Draft) -> fluent_connector::queue::Draft {
    draft.subject("order:c-1").ended(Ending::Parked("rejected"), "Order 10001 has no item.")
}

/// Method, path, body, scopes. `{parked}` is a fresh parked message, `{run}` a fresh run, `{token}` a fresh
/// token of `main`.
const ROUTES: &[(&str, &str, &str, &[&str])] = &[
    ("GET", "/api/v1/status", "", &["status:read"]),
    ("GET", "/api/v1/status?recount=true", "", &["status:read"]),
    ("GET", "/api/v1/messages", "", &["messages:read"]),
    ("GET", "/api/v1/messages/{parked}", "", &["messages:read"]),
    ("GET", "/api/v1/messages/{parked}?payload=true", "", &["messages:read", "personal-data:read"]),
    ("POST", "/api/v1/messages/{parked}/retry", "", &["messages:write"]),
    ("POST", "/api/v1/messages/{parked}/skip", r#"{"reason":"a test order"}"#, &["messages:write"]),
    ("GET", "/api/v1/connections", "", &["status:read"]),
    ("GET", "/api/v1/connections/main", "", &["status:read"]),
    ("POST", "/api/v1/connections/main/pause", r#"{"writes":true,"reason":"a rehearsal"}"#, &["jobs:write"]),
    ("POST", "/api/v1/connections/main/resume", "", &["jobs:write"]),
    ("GET", "/api/v1/jobs", "", &["jobs:read"]),
    ("GET", "/api/v1/jobs/order-sync", "", &["jobs:read"]),
    ("POST", "/api/v1/jobs/order-sync/run", "{}", &["jobs:run"]),
    ("POST", "/api/v1/jobs/order-sync/pause", r#"{"reason":"a rehearsal"}"#, &["jobs:write"]),
    ("POST", "/api/v1/jobs/order-sync/resume", "", &["jobs:write"]),
    ("GET", "/api/v1/runs/{run}", "", &["jobs:read"]),
    ("POST", "/api/v1/runs/{open}/approve", r#"{"reason":"a rehearsal"}"#, &["jobs:write"]),
    ("GET", "/api/v1/cursors", "", &["jobs:read"]),
    (
        "PUT",
        "/api/v1/cursors/main/order-sync",
        r#"{"position":"1970-01-01T00:00:01Z","expected":"1970-01-01T00:00:01Z","reason":"a rehearsal"}"#,
        &["cursors:write"],
    ),
    ("GET", "/api/v1/mappings", "", &["mappings:read"]),
    ("GET", "/api/v1/mappings/export?kind=order&format=csv", "", &["mappings:export"]),
    ("GET", "/api/v1/explain/orders/10001?stored=true", "", &["messages:read", "mappings:read"]),
    ("GET", "/api/v1/tokens", "", &["tokens:manage"]),
    ("POST", "/api/v1/tokens", r#"{"name":"n","scopes":["status:read"]}"#, &["tokens:manage"]),
    ("DELETE", "/api/v1/tokens/{token}", "", &["tokens:manage"]),
];

#[tokio::test]
async fn each_route_answers_each_role_as_its_scopes_say() {
    let desk = Desk::open().await;
    desk.mappings(vec![pair("main", "c-1", "10001")]).await;
    desk.cursor("main", "order-sync", 1000).await;
    let job = desk.queue.routes.find("job.order-sync").unwrap();
    for (role, held) in ROLES {
        let (_, text) = desk.token(role).await;
        for (method, path, body, scopes) in ROUTES {
            let message = desk.message("main", parked).await.to_string();
            let (other, _) = desk.token("storefront").await;
            let run = desk.queue.run_job("main", job, None, "test").await.unwrap().to_string();
            let path = path.replace("{parked}", &message).replace("{token}", &other.id).replace("{run}", &run);
            let path = path.replace("{open}", &open_run(&desk).await);
            let body = serde_json::from_str(body).ok();
            let reply = desk.ask(method, &path, Some(&text), body).await;
            let may = scopes.iter().all(|scope| held.contains(scope));
            match may {
                true => assert!(reply.status.is_success(), "{role} {method} {path}: {} {}", reply.status, reply.text),
                false => assert_eq!(reply.problem(), (403, "forbidden".into()), "{role} {method} {path}"),
            }
        }
    }
}

/// A run that may be approved.
async fn open_run(desk: &Desk) -> String {
    let run = Run::new("main", &format!("story:{}", Uuid::now_v7()), "", json!({}), desk.now());
    let id = run.id.to_string();
    let store = desk.queue.app.store();
    let write = store.write(Urgency::Urgent, move |tx| Box::pin(async move { tx.open_run(&run).await }));
    assert!(write.await.unwrap());
    id
}

#[tokio::test]
async fn without_a_valid_token_there_is_nothing() {
    let desk = Desk::open().await;
    let (valid, text) = desk.token("viewer").await;
    let now = desk.now();
    let (_, expired) = desk.token_with("viewer", |token| Token { expires: Some(now - 1), ..token }).await;
    let (_, revoked) = desk.token_with("viewer", |token| Token { revoked: Some(now - 1), ..token }).await;
    let last = if text.ends_with('a') { 'b' } else { 'a' };
    let misspelt = format!("{}{last}", &text[..text.len() - 1]);
    let (_, stranger) = fluent_connector::store::token::generate();
    let stranger = secrecy::ExposeSecret::expose_secret(&stranger).to_owned();
    assert_eq!(desk.ask("GET", "/api/v1/messages", Some(&text), None).await.status, 200);
    for (why, token) in [
        ("none", None),
        ("another kind", Some("password")),
        ("wrong checksum", Some(misspelt.as_str())),
        ("expired", Some(&expired)),
        ("revoked", Some(&revoked)),
        ("unknown", Some(&stranger)),
    ] {
        let reply = desk.ask("GET", "/api/v1/messages", token, None).await;
        assert_eq!(reply.problem(), (401, "unauthenticated".into()), "{why}");
        assert_eq!(reply.headers["www-authenticate"], "Bearer", "{why}");
    }
    // Whoever fails thirty times within a minute is answered 429: a desk for each twenty.
    for routes in ROUTES.chunks(20) {
        let desk = Desk::open().await;
        for (method, path, _, _) in routes {
            let path = path.replace("{parked}", &Uuid::now_v7().to_string()).replace("{token}", &valid.id);
            let reply = desk.ask(method, &path, None, None).await;
            assert_eq!(reply.problem().0, 401, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn a_foreign_connection_does_not_exist() {
    let desk = Desk::open().await;
    let (_, admin) = desk.token("admin").await;
    let (own, foreign) = (desk.message("main", parked).await, desk.message("other", parked).await);
    desk.mappings(vec![pair("main", "c-1", "10001"), pair("other", "c-2", "20002")]).await;
    let (foreign_token, _) =
        desk.token_with("viewer", |token| Token { connections: sqlx_json(&["other"]), ..token }).await;
    for (method, path) in [
        ("GET", format!("/api/v1/messages/{foreign}")),
        ("POST", format!("/api/v1/messages/{foreign}/retry")),
        ("POST", format!("/api/v1/messages/{foreign}/skip")),
        ("GET", "/api/v1/messages?connection=other".into()),
        ("GET", "/api/v1/mappings?connection=other".into()),
        ("GET", "/api/v1/mappings/export?connection=other".into()),
        ("GET", "/api/v1/explain/orders/20002?stored=true".into()),
        ("GET", "/api/v1/explain/orders/10001?stored=true&connection=other".into()),
        ("DELETE", format!("/api/v1/tokens/{}", foreign_token.id)),
    ] {
        let reply = desk.ask(method, &path, Some(&admin), Some(json!({"reason": "r"}))).await;
        assert_eq!(reply.problem(), (404, "not-found".into()), "{method} {path}");
    }
    let listed = desk.ask("GET", "/api/v1/messages", Some(&admin), None).await.json();
    assert_eq!(ids(&listed), [own.to_string()]);
    let pairs = desk.ask("GET", "/api/v1/mappings", Some(&admin), None).await.json();
    assert_eq!(pairs["items"].as_array().unwrap().len(), 1);
    let export = desk.ask("GET", "/api/v1/mappings/export", Some(&admin), None).await.text;
    assert!(export.contains("10001") && !export.contains("20002"), "{export}");
    let status = desk.ask("GET", "/api/v1/status?recount=true", Some(&admin), None).await;
    assert!(!status.text.contains("\"other\""), "{}", status.text);
    let tokens = desk.ask("GET", "/api/v1/tokens", Some(&admin), None).await.json();
    assert!(!ids(&tokens).contains(&foreign_token.id));
    let all = desk.send(Access::Admin, Request::get("/api/v1/messages").body(Body::empty()).unwrap()).await;
    assert_eq!(ids(&all.json()).len(), 2);
}

#[tokio::test]
async fn lists_are_paged_and_filtered_and_refuse_what_they_do_not_know() {
    let desk = Desk::open().await;
    let (_, viewer) = desk.token("viewer").await;
    let mut made = Vec::new();
    for n in 0..5 {
        made.push(desk.message("main", |draft| draft.subject(format!("order:{n}"))).await.to_string());
    }
    let stopped = desk.message("main", parked).await.to_string();
    made.push(stopped.clone());
    made.reverse();
    let (mut seen, mut path) = (Vec::new(), "/api/v1/messages?limit=4&connection=main".to_owned());
    loop {
        let reply = desk.ask("GET", &path, Some(&viewer), None).await;
        seen.extend(ids(&reply.json()));
        match reply.headers.get("link").map(|link| link.to_str().unwrap()) {
            None => break assert_eq!(reply.json()["next"], Value::Null),
            Some(link) => path = link.strip_prefix('<').unwrap().strip_suffix(">; rel=\"next\"").unwrap().to_owned(),
        }
    }
    assert_eq!(seen, made);
    let listed = |query: &'static str| {
        let (desk, viewer) = (&desk, &viewer);
        async move { ids(&desk.ask("GET", &format!("/api/v1/messages?{query}"), Some(viewer), None).await.json()) }
    };
    assert_eq!(listed("state=parked").await, [stopped]);
    assert_eq!(listed("subject=order:3").await, [made[2].clone()]);
    assert_eq!(listed("route=fluent.send-event").await, [""; 0]);
    assert_eq!(listed("since=2999-01-01T00:00:00Z").await, [""; 0]);
    assert_eq!(listed("lane=order&since=2020-01-01T00:00:00Z").await.len(), 6);
    for query in ["stat=parked", "limit=0", "limit=201", "limit=x", "state=lost", "since=2h", "after=1", "token=x"] {
        let reply = desk.ask("GET", &format!("/api/v1/messages?{query}"), Some(&viewer), None).await;
        assert_eq!(reply.problem(), (400, "malformed".into()), "{query}");
        assert_eq!(reply.headers["cache-control"], "no-store");
    }
}

#[tokio::test]
async fn a_person_retries_and_skips_and_the_balance_still_closes() {
    let desk = Desk::open().await;
    let (_, operator) = desk.token("operator").await;
    let (stopped, needless) = (desk.message("main", parked).await, desk.message("main", parked).await);
    let done = desk.message("main", |draft| draft.ended(Ending::Done("written"), "")).await;
    let ask = |path: String, body: Option<Value>| {
        let (desk, operator) = (&desk, &operator);
        async move { desk.ask("POST", &format!("/api/v1/messages/{path}"), Some(operator), body).await }
    };
    let retried = ask(format!("{stopped}/retry"), None).await.json();
    assert_eq!((&retried["state"], &retried["reason"]), (&json!("ready"), &Value::Null));
    let skipped = ask(format!("{needless}/skip"), Some(json!({"reason": "a test order"}))).await.json();
    assert_eq!((&skipped["state"], &skipped["reason"]), (&json!("skipped"), &json!("by-operator")));
    assert_eq!(skipped["detail"], "a test order (token a operator)");
    for (path, body, problem) in [
        (format!("{stopped}/retry"), None, (409, "conflict")),
        (format!("{done}/retry"), None, (409, "conflict")),
        (format!("{done}/skip"), Some(json!({"reason": "r"})), (409, "conflict")),
        (format!("{}/retry", Uuid::now_v7()), None, (404, "not-found")),
        ("x/retry".into(), None, (404, "not-found")),
        (format!("{stopped}/skip"), Some(json!({"reason": " "})), (422, "invalid")),
        (format!("{stopped}/skip"), Some(json!({"why": "r"})), (422, "invalid")),
        (format!("{stopped}/skip"), None, (415, "unsupported-media-type")),
    ] {
        let reply = ask(path.clone(), body).await;
        assert_eq!(reply.problem(), (problem.0, problem.1.to_owned()), "{path}: {}", reply.text);
    }
    let request = Request::post(format!("/api/v1/messages/{stopped}/skip")).header("content-type", "application/json");
    let reply = desk.send(Access::Admin, request.body(Body::from("{reason")).unwrap()).await;
    assert_eq!(reply.problem(), (400, "malformed".into()));
    let status = desk.ask("GET", "/api/v1/status?recount=true", Some(&operator), None).await.json();
    assert_eq!(status["balance"], json!({"imbalance": 0, "recount": {"equal": true, "differences": []}}));
    let counts = json!({"accepted": 3, "ready": 1, "skipped": 1, "done": 1, "parked": 0});
    let mut totals = status["totals"].clone();
    totals.as_object_mut().unwrap().entry("parked").or_insert(json!(0));
    assert_eq!(totals, counts);
    let overdue = &status["overdue_since"];
    assert!(overdue["order"].is_string() && overdue["bulk"].is_null(), "the message is in lane order: {overdue}");
}

#[tokio::test]
async fn what_was_received_is_shown_to_who_may_see_personal_data() {
    let desk = Desk::open().await;
    let id = desk.message("main", |draft| draft.body(b"{\"mail\":\"a@b.c\"}".to_vec())).await;
    let (_, viewer) = desk.token("viewer").await;
    let (_, admin) = desk.token("admin").await;
    let plain = desk.ask("GET", &format!("/api/v1/messages/{id}"), Some(&viewer), None).await;
    assert!(!plain.text.contains("a@b.c") && plain.json()["attempts"] == json!([]), "{}", plain.text);
    let whole = desk.ask("GET", &format!("/api/v1/messages/{id}?payload=true"), Some(&admin), None).await.json();
    assert_eq!(whole["received"], json!({"encoding": "text", "content": "{\"mail\":\"a@b.c\"}"}));
}

#[tokio::test]
async fn an_export_holds_every_pair_once_and_its_hash_is_right() {
    let desk = Desk::open().await;
    let (_, operator) = desk.token("operator").await;
    let mut pairs: Vec<Mapping> = (0..600).map(|n| pair("main", &format!("c-{n}"), &format!("{n}"))).collect();
    pairs[0].commercetools_key = Some("=HYPERLINK(\"http://x\")".into());
    pairs[1].fluent_ref = Some("+1, or \"so\"".into());
    pairs.push(Mapping { kind: "customer".into(), ..pair("main", "k-1", "k") });
    desk.mappings(pairs).await;
    let export = |format: &'static str| {
        let (desk, operator) = (&desk, &operator);
        async move {
            let path = format!("/api/v1/mappings/export?kind=order&format={format}");
            desk.ask("GET", &path, Some(operator), None).await.text
        }
    };
    let csv = export("csv").await;
    let (data, trailer) = csv.split_at(csv.trim_end().rfind("\r\n").unwrap() + 2);
    assert_eq!(trailer, format!("#trailer,600,{},,,,,,,,,,\r\n", sha256(data)));
    let header = "kind,connection,commercetools_id,commercetools_key,commercetools_version,fluent_id,fluent_ref,\
                  content_hash,first_seen,last_synced,last_source_change,state,last_message_id\r\n";
    assert!(data.starts_with(header), "{}", &data[..200]);
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let rows: Vec<csv::StringRecord> = reader.records().collect::<Result<_, _>>().unwrap();
    assert_eq!(rows.len(), 601);
    assert_eq!((&rows[0][3], &rows[1][6]), ("'=HYPERLINK(\"http://x\")", "'+1, or \"so\""));
    let ndjson = export("ndjson").await;
    let (data, trailer) = ndjson.split_at(ndjson.trim_end().rfind('\n').unwrap() + 1);
    let trailer: Value = serde_json::from_str(trailer).unwrap();
    assert_eq!(trailer, json!({"trailer": {"rows": 600, "sha256": sha256(data)}}));
    let first: Value = serde_json::from_str(data.lines().next().unwrap()).unwrap();
    assert_eq!(first["commercetools_key"], "=HYPERLINK(\"http://x\")", "only a spreadsheet runs formulas");
    let document = export("json").await;
    let whole: Value = serde_json::from_str(&document).unwrap();
    assert_eq!(whole["items"].as_array().unwrap().len(), 600);
    let data = document.strip_prefix("{\"items\":").unwrap().split(",\"trailer\":").next().unwrap();
    assert_eq!(whole["trailer"], json!({"rows": 600, "sha256": sha256(data)}));
}

#[tokio::test]
async fn an_export_of_nothing_is_whole_too() {
    let desk = Desk::open().await;
    let (_, operator) = desk.token("operator").await;
    let reply = desk.ask("GET", "/api/v1/mappings/export?format=json", Some(&operator), None).await;
    assert_eq!(reply.json(), json!({"items": [], "trailer": {"rows": 0, "sha256": sha256("[\n]")}}));
}

#[tokio::test]
async fn mappings_are_found_by_any_of_their_names() {
    let desk = Desk::open().await;
    let (_, viewer) = desk.token("viewer").await;
    desk.mappings(vec![pair("main", "c-1", "10001"), pair("main", "c-2", "10002")]).await;
    for query in [
        "commercetools_id=c-2",
        "commercetools_key=10002",
        "fluent_id=f-10002",
        "fluent_ref=HD_10002",
        "any=c-2",
        "any=HD_10002",
        "kind=order&state=active&any=f-10002",
    ] {
        let found = desk.ask("GET", &format!("/api/v1/mappings?{query}"), Some(&viewer), None).await.json();
        let items = found["items"].as_array().unwrap();
        assert_eq!((items.len(), &items[0]["commercetools_id"]), (1, &json!("c-2")), "{query}");
    }
    let none = desk.ask("GET", "/api/v1/mappings?to=2000-01-01T00:00:00Z", Some(&viewer), None).await.json();
    assert_eq!(none["items"], json!([]));
}

#[tokio::test]
async fn a_token_hands_on_no_more_than_it_has() {
    let desk = Desk::open().await;
    let (_, admin) = desk.token("admin").await;
    let create = |body: Value| {
        let (desk, admin) = (&desk, &admin);
        async move { desk.ask("POST", "/api/v1/tokens", Some(admin), Some(body)).await }
    };
    let made = create(json!({"name": "shop", "role": "viewer", "expires": "30d"})).await;
    assert_eq!(made.status, 201);
    let (id, text) =
        (made.json()["id"].as_str().unwrap().to_owned(), made.json()["token"].as_str().unwrap().to_owned());
    assert!(text.starts_with(&format!("flc_{id}_")) && made.json()["connections"] == json!(["main"]), "{}", made.text);
    assert_eq!(desk.ask("GET", "/api/v1/status", Some(&text), None).await.status, 200);
    let listed = desk.ask("GET", "/api/v1/tokens", Some(&admin), None).await;
    assert!(ids(&listed.json()).contains(&id) && !listed.text.contains(&text[15..]), "{}", listed.text);
    for (body, problem) in [
        (json!({"name": "n", "role": "sender"}), (403, "forbidden")),
        (json!({"name": "n", "role": "admin"}), (403, "forbidden")),
        (json!({"name": "n", "role": "viewer", "connections": ["other"]}), (422, "invalid")),
        (json!({"name": "n", "role": "viewer", "connections": ["*"]}), (422, "invalid")),
        (json!({"name": "n", "role": "king"}), (422, "invalid")),
        (json!({"name": "n", "scopes": ["status:write"]}), (422, "invalid")),
        (json!({"name": "n", "role": "viewer", "expires": "401d"}), (422, "invalid")),
        (json!({"name": "n", "role": "viewer", "expires": "never"}), (422, "invalid")),
        (json!({"name": "", "role": "viewer"}), (422, "invalid")),
        (json!({"name": "n", "role": "viewer", "cidr": "::/0"}), (422, "invalid")),
    ] {
        let reply = create(body.clone()).await;
        assert_eq!(reply.problem(), (problem.0, problem.1.to_owned()), "{body}: {}", reply.text);
    }
    for _ in 0..2 {
        assert_eq!(desk.ask("DELETE", &format!("/api/v1/tokens/{id}"), Some(&admin), None).await.status, 204);
        assert_eq!(desk.ask("GET", "/api/v1/status", Some(&text), None).await.status, 401);
    }
    let sender = json!({"name": "relay", "role": "sender", "expires": "never", "connections": ["main", "other"]});
    let request = Request::post("/api/v1/tokens").header("content-type", "application/json");
    let reply = desk.send(Access::Admin, request.body(Body::from(sender.to_string())).unwrap()).await;
    assert_eq!((reply.status.as_u16(), &reply.json()["expires"]), (201, &Value::Null), "{}", reply.text);
}

#[tokio::test]
async fn an_order_is_explained_from_what_is_stored() {
    let desk = Desk::open().await;
    let (_, viewer) = desk.token("viewer").await;
    let mut known = pair("main", "c-1", "10001");
    known.extra.0 = json!({"fluent_status": "BOOKED", "kind": "HD"});
    desk.mappings(vec![known, pair("main", "c-2", "10002")]).await;
    let webhook = desk
        .message("main", |draft| {
            let payload = json!({"entity_type": "ORDER", "entity_id": "f-10001", "entity_ref": "HD_10001"});
            draft.payload(payload).body(b"secret body".to_vec()).ended(Ending::Done("written"), "")
        })
        .await;
    let stuck = desk
        .message("main", |draft| {
            draft.subject("order:c-1").ended(Ending::Parked("rejected"), "Fluent refuses max@example.com as a name.")
        })
        .await;
    let stranger = desk.message("main", |draft| draft.payload(json!({"entity_id": "f-100010"}))).await;
    for name in ["10001", "c-1", "f-10001", "HD_10001"] {
        let path = format!("/api/v1/explain/orders/{name}?stored=true");
        let reply = desk.ask("GET", &path, Some(&viewer), None).await;
        let story = reply.json();
        assert_eq!(story["order"]["commercetools_id"], "c-1", "{name}: {}", reply.text);
        let told = story["timeline"].to_string();
        assert!(told.contains(&webhook.to_string()) && told.contains(&stuck.to_string()), "{name}: {told}");
        assert!(!told.contains(&stranger.to_string()) && !reply.text.contains("example.com"), "{name}: {}", reply.text);
        assert_eq!(story["open"].as_array().unwrap().len(), 1);
        assert_eq!(story["next"]["command"], format!("fluent-connector message retry {stuck}"));
        let why = story["next"]["why"].as_str().unwrap();
        assert!(why.contains("Mend this first: Fluent refuses (mail) as a name."), "{why}");
        assert_eq!((&story["states"][0]["fluent"], &story["read"]["fluent"]), (&json!("BOOKED"), &json!("not read")));
    }
    let quiet = desk.ask("GET", "/api/v1/explain/orders/10002?stored=true", Some(&viewer), None).await.json();
    assert_eq!((&quiet["open"], &quiet["next"]["command"]), (&json!([]), &Value::Null));
    let none = desk.ask("GET", "/api/v1/explain/orders/99999?stored=true", Some(&viewer), None).await;
    assert_eq!(none.problem(), (404, "not-found".into()));
}

#[tokio::test]
async fn an_order_is_explained_although_no_platform_answers() {
    let desk = Desk::open().await;
    let (_, viewer) = desk.token("viewer").await;
    desk.mappings(vec![pair("main", "c-1", "10001")]).await;
    let story = desk.ask("GET", "/api/v1/explain/orders/10001", Some(&viewer), None).await.json();
    for platform in ["commercetools", "fluent"] {
        let said = story["read"][platform].as_str().unwrap();
        assert!(said.contains("cannot be reached"), "{said}");
    }
    assert_eq!(story["differences"], json!([]), "what was not read does not differ");
    let unknown = desk.ask("GET", "/api/v1/explain/orders/99999", Some(&viewer), None).await;
    assert!(unknown.status == 404 && unknown.text.contains("cannot be reached"), "{}", unknown.text);
}

#[tokio::test]
async fn an_order_that_was_never_heard_of_is_found_on_its_platform() {
    let options = Options {
        project_key: "main".into(),
        client_id: "c".into(),
        client_secret: "secret-of-commercetools".into(),
        ..Options::default()
    };
    let commercetools = Commercetools::start(Clock::system(), options).await.unwrap();
    commercetools.seed_shop();
    let id = commercetools.order(Some("10007")).line("SKU-1", 1, 500).guest("sam@example.com").place();
    let desk = Desk::open_beside(Some(&commercetools)).await;
    let (_, viewer) = desk.token("viewer").await;
    for name in ["10007", &id] {
        let reply = desk.ask("GET", &format!("/api/v1/explain/orders/{name}"), Some(&viewer), None).await;
        let story = reply.json();
        let order = json!({
            "connection": "main", "commercetools_id": id, "order_number": "10007", "fluent_id": null, "fluent_ref": null,
        });
        assert_eq!((&story["order"], &story["read"]["commercetools"]), (&order, &json!("live")), "{}", reply.text);
        assert_eq!(story["states"][0]["commercetools"], "Open", "{}", reply.text);
        assert_eq!(story["timeline"][0]["what"], "order created");
        assert!(!reply.text.contains("sam") && !reply.text.contains("Sam"), "{}", reply.text);
        let command = format!("fluent-connector message list --subject order:{id}");
        assert_eq!(story["next"]["command"], command);
    }
    commercetools.front().stop();
}

fn pair(connection: &str, id: &str, number: &str) -> Mapping {
    Mapping {
        commercetools_key: Some(number.into()),
        fluent_id: Some(format!("f-{number}")),
        fluent_ref: Some(format!("HD_{number}")),
        ..Mapping::new(connection, "order", id)
    }
}

fn ids(list: &Value) -> Vec<String> {
    list["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
}

fn sha256(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sqlx_json(names: &[&str]) -> sqlx::types::Json<Vec<String>> {
    sqlx::types::Json(names.iter().map(ToString::to_string).collect())
}
