//! Stories of the cross-checks.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::config::load::{Loaded, Sources, load};

use super::*;

const ROUTES: [&str; 3] = ["commercetools.order-created", "fluent.order-updated", "job.order-sync"];

/// A working configuration with one connection per name, and what differs in the first one.
fn text(names: &[&str], rest_of_first: &str, rest: &str) -> String {
    let connections: Vec<String> = names
        .iter()
        .enumerate()
        .map(|(n, name)| {
            let own = if n == 0 { rest_of_first } else { "" };
            format!(
                "  - name: {name}\n    commercetools: {{ project_key: p, client_id: c, client_secret: {{ env: SECRET }} }}\n    \
                 fluent: {{ account: ACME, retailer_id: {n}1, username: u, password: {{ env: SECRET }}, \
                 client_secret: {{ env: SECRET }}, product_catalogue: {{ ref: PC }} }}\n\
                 {}    order_link: {{ channel: link-{n} }}\n",
                own.replace("^", "    ")
            )
        })
        .collect();
    format!("connections:\n{}{rest}", connections.concat())
}

fn loaded(text: &str) -> Loaded {
    let dir = tempfile::TempDir::new().unwrap();
    let file: PathBuf = dir.path().join("config.yml");
    std::fs::write(&file, text).unwrap();
    load(&Sources { files: vec![file], ..Sources::default() }).unwrap_or_else(|problems| panic!("{problems}"))
}

fn environment(name: &str) -> Option<OsString> {
    (name == "SECRET").then(|| "s3cret".into())
}

async fn checked(text: &str) -> Result<Problems, Problems> {
    check_in(&loaded(text), &ROUTES, &environment).await
}

/// Problems as `path: sentence`.
async fn problems(text: &str) -> String {
    let problems = checked(text).await.expect_err("there is nothing wrong");
    let lines: Vec<String> = problems.0.iter().map(|found| format!("{}: {}", found.path, found.sentence)).collect();
    lines.join("\n")
}

#[tokio::test]
async fn the_example_works_with_dummy_credentials() {
    let credentials = tempfile::TempDir::new().unwrap();
    for name in ["commercetools_client_secret", "fluent_password", "fluent_client_secret"] {
        std::fs::write(credentials.path().join(name), "dummy\n").unwrap();
    }
    let directory = credentials.path().as_os_str().to_owned();
    let environment = move |name: &str| (name == "CREDENTIALS_DIRECTORY").then(|| directory.clone());
    let example = loaded(include_str!("../../../config/example.yml"));
    let warnings = check_in(&example, &ROUTES, &environment).await.unwrap();
    assert_eq!(warnings.0, []);
    assert_eq!(example.config.connections.len(), 1);
}

#[tokio::test]
async fn without_credentials_the_example_names_each_secret() {
    let example = loaded(include_str!("../../../config/example.yml"));
    let problems = check_in(&example, &ROUTES, &|_| None).await.unwrap_err();
    let paths: Vec<&str> = problems.0.iter().map(|problem| problem.path.as_str()).collect();
    let main = "connections[main]";
    let expected = ["commercetools.client_secret", "fluent.password", "fluent.client_secret"];
    assert_eq!(paths, expected.map(|path| format!("{main}.{path}")));
    assert!(problems.0.iter().all(|problem| problem.sentence.contains("CREDENTIALS_DIRECTORY")));
}

#[tokio::test]
async fn two_connections_may_share_a_project() {
    assert_eq!(checked(&text(&["a", "b"], "", "")).await, Ok(Problems::default()));
}

#[tokio::test]
async fn connections_must_differ_in_tenant_and_channel() {
    let same = text(&["a", "b"], "", "")
        .replace("retailer_id: 11", "retailer_id: 1")
        .replace("retailer_id: 01", "retailer_id: 1");
    let same = same.replace("link-1", "link-0");
    insta::assert_snapshot!(problems(&same).await, @r#"
    connections[b]: connection "a" has the same account, retailer and project
    connections[b].order_link.channel: connection "a" links orders of project p by the same channel "link-0"; give one of them another
    "#);
}

#[tokio::test]
async fn each_value_of_a_connection_is_looked_at() {
    let rest = r#"^stores: []
^webhooks: { names: { fluent.order-updated: [x, y], commercetools.order-created: [y], fluent.order-update: [z] } }
^customer: { username_pattern: "{mail}", country_default: de, timezone_by_country: { Germany: UTC } }
^order:
^  since: yesterday
^  states: [Open, Canceled]
^  hold_until_payment_state: [paid]
^  ref_pattern: "{type}"
^  transaction_states: [Success, Done]
^  tax_types: { "19%": MWST }
^  wait_limit: 0s
^order_status:
^  order: { mapping: { Booked: Confirmed, PACKED: Packed, LOST: IGNORE, GONE: null, EMPTY: "" } }
^  shipment: { by_type: { HD: { CANCELLED: Cancelled } } }
^  payment: { mapping: { COMPLETE: Payed } }
^  workflow_state: { mapping: { Booked: flOrderBooked } }
^  allow_back: [{ axis: order, from: Confirmed, to: Opened }]
^  poll: { every: 0s, start_at: "2026-13-01" }
"#;
    let text = text(&["Main_1"], rest, "")
        .replace("client_id: c,", "client_id: \"\", region: europe-west9.gcp, auth_url: nowhere,");
    insta::assert_snapshot!(problems(&text).await, @r#"
    connections[Main_1].name: "Main_1" must be 1 to 32 characters out of a-z, 0-9 and -
    connections[Main_1].commercetools.region: "europe-west9.gcp" is not a region; known are us-central1.gcp, us-east-2.aws, europe-west1.gcp, eu-central-1.aws, australia-southeast1.gcp; or give both URLs
    connections[Main_1].commercetools.auth_url: "nowhere" is not an http or https URL
    connections[Main_1].commercetools.client_id: must not be empty
    connections[Main_1].webhooks.names[fluent.order-update]: there is no route "fluent.order-update"; did you mean "fluent.order-updated"?
    connections[Main_1].webhooks.names[fluent.order-updated]: the webhook name "y" is bound to route commercetools.order-created already
    connections[Main_1].customer.username_pattern: {mail} is not a token; known are {id} {email} {customer_number} {key}
    connections[Main_1].customer.timezone_by_country.Germany: "Germany" is not a country code: DE, GB
    connections[Main_1].customer.country_default: "de" is not a country code: DE, GB
    connections[Main_1].order.since: "yesterday" is not an instant: 2026-06-15T10:00:00Z
    connections[Main_1].order.ref_pattern: needs one of {order_number} {id}: without, two could be called the same
    connections[Main_1].order.states[1]: "Canceled" is not one of Open, Confirmed, Complete, Cancelled
    connections[Main_1].order.hold_until_payment_state[0]: "paid" is not one of BalanceDue, Failed, Pending, CreditOwed, Paid
    connections[Main_1].order.transaction_states[1]: "Done" is not one of Initial, Pending, Success, Failure
    connections[Main_1].order.tax_types.19%: "MWST" is not one of GST, VAT, EXCLTAX
    connections[Main_1].order.wait_limit: must be longer than 0s
    connections[Main_1].order_status.order.mapping.Booked: Fluent statuses are in capitals: BOOKED
    connections[Main_1].order_status.order.mapping.PACKED: "Packed" is not one of Open, Confirmed, Complete, Cancelled
    connections[Main_1].order_status.shipment.by_type.HD.CANCELLED: "Cancelled" is not one of Shipped, Delivered, Ready, Pending, Delayed, Partial, Backorder, Canceled
    connections[Main_1].order_status.payment.mapping.COMPLETE: "Payed" is not one of BalanceDue, Failed, Pending, CreditOwed, Paid
    connections[Main_1].order_status.workflow_state.mapping.Booked: Fluent statuses are in capitals: BOOKED
    connections[Main_1].order_status.allow_back[0].to: "Opened" is not one of Open, Confirmed, Complete, Cancelled
    connections[Main_1].order_status.poll.every: must be longer than 0s
    connections[Main_1].order_status.poll.start_at: "2026-13-01" is not an instant: 2026-06-15T10:00:00Z
    "#);
}

#[tokio::test]
async fn what_follows_an_order_is_looked_at() {
    let rest = r#"^fulfilment:
^  line_item_states: { mapping: { picked: flLineItemPicking, SHIPPED: flGone, LOST: null }, initial_state: Begin }
^  poll: { every: 0s }
^consignment:
^  tracking_urls: { DHL: "https://dhl.example/{tracking_id}", UPS: "https://ups.example/{id}", GLS: "https://gls.example" }
^  poll: { start_at: soon }
"#;
    insta::assert_snapshot!(problems(&text(&["a"], rest, "")).await, @r#"
    connections[a].fulfilment.line_item_states.mapping.SHIPPED: "flGone" is not one of Initial, flLineItemAllocated, flLineItemPicking, flLineItemPacked, flLineItemShipped
    connections[a].fulfilment.line_item_states.mapping.picked: Fluent statuses are in capitals: PICKED
    connections[a].fulfilment.line_item_states.initial_state: "Begin" is not one of Initial, flLineItemAllocated, flLineItemPicking, flLineItemPacked, flLineItemShipped
    connections[a].consignment.tracking_urls.GLS: needs one of {tracking_id}: without, two could be called the same
    connections[a].consignment.tracking_urls.UPS: {id} is not a token; known are {tracking_id}
    connections[a].fulfilment.poll.every: must be longer than 0s
    connections[a].consignment.poll.start_at: "soon" is not an instant: 2026-06-15T10:00:00Z
    "#);
}

#[tokio::test]
async fn the_rest_is_looked_at_too() {
    let rest = r#"
server: { listen: "8080", public_url: "http://connector.example.com", shutdown: { drain: 30s } }
database: { url: "mysql://x" }
routes:
  fluent.order-updated: { lane: fast }
  fluent.order-create: { enabled: false }
queue:
  workers: 5
  lanes: { order: { reserved: 3 } }
  retry: { delays: [] }
budgets: { reserve: { order: 80%, availability: 10% } }
log: { level: "info,=x=" }
simulation: { speed: 10 }
"#;
    insta::assert_snapshot!(problems(&text(&["a"], "", rest)).await, @r#"
    server.listen: "8080" is not an address with a port: 127.0.0.1:8080
    server.public_url: must be https, unless it is on loopback
    server.shutdown.drain: must not be longer than server.shutdown.deadline, 25s
    database.url: must begin with sqlite:// or postgres://
    queue.lanes: the reserved workers are more than queue.workers, 5
    queue.retry.delays: at least one delay is needed
    budgets.reserve.availability: there is no lane "availability"; queue.lanes has backfill, bulk, catalogue, channel, order, status, stock, stock-urgent
    budgets.reserve: the shares are more than 100% together
    routes[fluent.order-create]: there is no route "fluent.order-create"
    routes[fluent.order-updated].lane: there is no lane "fast"; queue.lanes has backfill, bulk, catalogue, channel, order, status, stock, stock-urgent
    log.level: "info,=x=" is not a level or a list of directives: invalid filter directive
    simulation.speed: must be 1 unless every remote is on loopback, and https://api.europe-west1.gcp.commercetools.com is not
    "#);
}

#[tokio::test]
async fn unsigned_webhooks_are_refused_where_others_can_reach_us() {
    let unsigned =
        text(&["a"], "", "").replace("product_catalogue:", "webhook: { signature: off }, product_catalogue:");
    assert!(checked(&unsigned).await.is_ok());
    let public = format!("{unsigned}server: {{ public_url: \"https://connector.example.com\" }}\n");
    assert!(problems(&public).await.starts_with("connections[a].fluent.webhook.signature: must not be off"));
}

#[tokio::test]
async fn a_plain_public_url_is_allowed_on_loopback() {
    for url in ["http://localhost:8080", "http://127.0.0.1", "http://[::1]:1", "https://connector.example.com"] {
        let text = text(&["a"], "", &format!("server: {{ public_url: \"{url}\" }}\n"));
        assert_eq!(checked(&text).await, Ok(Problems::default()), "{url}");
    }
}

#[tokio::test]
async fn time_runs_fast_only_against_simulators() {
    let fast = "simulation: { speed: 100 }\n";
    let local = text(&["a"], "", fast)
        .replace("client_id: c,", "client_id: c, api_url: \"http://127.0.0.1:1\", auth_url: \"http://127.0.0.1:1\",")
        .replace("account: ACME,", "account: ACME, base_url: \"http://localhost:2\",");
    assert_eq!(checked(&local).await, Ok(Problems::default()));
    let half = local.replace("http://localhost:2", "https://acme.example.com");
    assert!(problems(&half).await.starts_with("simulation.speed: must be 1 unless"));
}

#[tokio::test]
async fn literal_secrets_need_permission_and_are_warned_about() {
    let literal = text(&["a"], "", "database: { password: hunter2 }\n");
    assert!(problems(&literal).await.starts_with("database.password: a literal secret needs"));
    let allowed = format!("{literal}security: {{ allow_literal_secrets: true }}\n");
    let warnings = checked(&allowed).await.unwrap();
    assert_eq!(warnings.0.len(), 1);
    assert_eq!(warnings.0[0].path, "database.password");
}

#[tokio::test]
async fn secrets_of_a_connection_that_is_off_are_not_needed() {
    let off = text(&["a"], "^enabled: false\n", "").replace("SECRET", "ABSENT");
    assert_eq!(checked(&off).await, Ok(Problems::default()));
    assert!(problems(&off.replace("enabled: false", "enabled: true")).await.contains("ABSENT is not set"));
}

#[tokio::test]
async fn a_problem_stands_where_the_operator_wrote_something() {
    // The drain is a default; what it collides with is not.
    let text = text(&["a"], "", "simulation: { speed: 2 }\nserver: { shutdown: { deadline: 5s } }\n");
    let problems = checked(&text).await.unwrap_err();
    let of = |path: &str| problems.0.iter().find(|problem| problem.path == path).map(|problem| problem.place.clone());
    assert!(of("simulation.speed").unwrap().ends_with("config.yml:6:22"), "{problems}");
    assert!(of("server.shutdown.drain").unwrap().ends_with("config.yml:7:21"), "{problems}");
}

#[tokio::test]
async fn orders_that_come_from_nowhere_are_warned_about() {
    let of = |poll: &str, rest: &str| text(&["a"], poll, rest);
    let warned = checked(&of("^order: { poll: 0s }\n", "")).await.unwrap();
    let paths: Vec<&str> = warned.0.iter().map(|warning| warning.path.as_str()).collect();
    assert_eq!(paths, ["connections[a].order.poll"]);
    let pushed = "intake: { push: { plain: { enabled: true } } }\n";
    for fine in [of("", ""), of("^order: { poll: 0s }\n", pushed), of("^order: { poll: 0s, enabled: false }\n", "")] {
        assert_eq!(checked(&fine).await, Ok(Problems::default()), "{fine}");
    }
}

#[tokio::test]
async fn the_schedule_is_looked_at() {
    let schedule = r#"schedule:
  time_zone: Europe/Berlyn
  jobs:
    job.order-synk: { every: 5m }
    fluent.order-updated: { every: 5m }
    job.order-sync: { every: 5m, cron: "0 3 * * *" }
"#;
    insta::assert_snapshot!(problems(&text(&["a"], "", schedule)).await, @r#"
    schedule.time_zone: "Europe/Berlyn" is not a time zone: Europe/Berlin, UTC
    schedule.jobs[fluent.order-updated]: only jobs are timed: job.order-sync
    schedule.jobs[job.order-sync]: a job takes exactly one of every and cron
    schedule.jobs[job.order-synk]: there is no route "job.order-synk"; did you mean "job.order-sync"?
    "#);
    for (timing, wrong) in [
        (r#"{ cron: "0 3 * * *", time_zone: Europe/Berlin, jitter: 30s }"#, false),
        ("{ every: 15m, jitter: 1m }", false),
        ("{ every: 15m, time_zone: UTC }", true),
        (r#"{ cron: "0 3 30 2 *" }"#, true),
        ("{}", true),
    ] {
        let schedule = format!("schedule: {{ jobs: {{ job.order-sync: {timing} }} }}\n");
        assert_eq!(checked(&text(&["a"], "", &schedule)).await.is_err(), wrong, "{timing}");
    }
}

/// What is wrong with this `intake`, a finding a line.
async fn intake(intake: &str, rest: &str) -> String {
    problems(&text(&["main"], "", &format!("intake: {intake}\n{rest}"))).await
}

#[tokio::test]
async fn whoever_sends_must_be_known() {
    for (sender, path, sentence) in [
        ("{ push: { pubsub: { enabled: true, audience: a } } }", "push.pubsub.service_account", "is needed"),
        ("{ push: { pubsub: { enabled: true, service_account: s } } }", "push.pubsub.audience", "server.public_url"),
        ("{ push: { sns: { enabled: true } } }", "push.sns.topics", "is needed"),
        ("{ push: { sns: { topics: [\"arn:aws:sqs:eu-central-1:1:q\"] } } }", "push.sns.topics[0]", "not the ARN"),
        ("{ push: { eventbridge: { header: \"x y\" } } }", "push.eventbridge.header", "not the name of a header"),
        ("{ push: { eventgrid: { enabled: true, origins: [] } } }", "push.eventgrid.origins", "is needed"),
    ] {
        let found = intake(sender, "").await;
        assert!(found.starts_with(&format!("intake.{path}: ")) && found.contains(sentence), "{sender}: {found}");
    }
    let with_url = "server: { public_url: \"https://c.example\" }";
    let known = "{ push: { pubsub: { enabled: true, service_account: s } } }";
    checked(&text(&["main"], "", &format!("intake: {known}\n{with_url}\n"))).await.unwrap();
}

#[tokio::test]
async fn a_queue_must_be_reachable() {
    let url = "queue_url: \"https://sqs.eu-central-1.amazonaws.com/1/q\"";
    for (entry, path, sentence) in [
        (format!("connection: other, {url}"), "connection", "there is no connection \"other\""),
        ("connection: main, queue_url: nowhere".into(), "queue_url", "not an http or https URL"),
        ("connection: main, region: r, queue_url: \"http://queue.example/1/q\"".into(), "queue_url", "must be https"),
        ("connection: main, queue_url: \"https://queue.example/1/q\"".into(), "region", "is needed"),
        (format!("connection: main, {url}, endpoint: \"https://vpce.example\""), "region", "is needed"),
        (format!("connection: main, {url}, access_key_id: A"), "access_key_id", "belong together"),
        (format!("connection: main, {url}, formats: []"), "formats", "at least one"),
        (format!("connection: main, {url}, sns_topics: [t]"), "sns_topics[0]", "not the ARN"),
        (format!("connection: main, {url}, wait: 21s"), "wait", "20s"),
        (format!("connection: main, {url}, visibility: 1s"), "visibility", "2s to 12h"),
    ] {
        let found = intake(&format!("{{ sqs: [{{ name: q, {entry} }}] }}"), "").await;
        assert!(found.starts_with(&format!("intake.sqs[q].{path}: ")) && found.contains(sentence), "{entry}: {found}");
    }
    let twice = format!("{{ sqs: [{{ name: a, connection: main, {url} }}, {{ name: b, connection: main, {url} }}] }}");
    assert!(intake(&twice, "").await.contains("queue \"a\" is the same"));
}

#[tokio::test]
async fn a_rehearsal_of_the_clouds_stays_on_loopback() {
    let simulated = "simulation: { clouds: \"http://127.0.0.1:9\" }";
    let found = problems(&text(&["main"], "", simulated)).await;
    assert!(found.starts_with("simulation.clouds: must be null unless it and every remote are on loopback"), "{found}");
    let elsewhere = "simulation: { clouds: \"http://keys.example\" }";
    assert!(problems(&text(&["main"], "", elsewhere)).await.starts_with("simulation.clouds: "));
}

#[tokio::test]
async fn a_stream_that_nothing_feeds_is_told() {
    let off = "^order: { poll: 0s }\n^category: { poll: 0s }\n^product: { poll: 0s }\n";
    let warnings = checked(&text(&["main"], off, "")).await.unwrap();
    let told = warnings.to_string();
    for noun in ["order", "category", "product"] {
        let sentence = format!("connections[main].{noun}.poll: no {noun} can reach us");
        assert!(told.contains(&sentence), "{told}");
    }
    let queue = "{ name: q, connection: main, queue_url: \"https://sqs.eu-central-1.amazonaws.com/1/q\" }";
    for source in [format!("{{ sqs: [{queue}] }}"), "{ push: { plain: { enabled: true } } }".into()] {
        let warnings = checked(&text(&["main"], off, &format!("intake: {source}\n"))).await.unwrap();
        assert_eq!(warnings.0, [], "{source}");
    }
}
