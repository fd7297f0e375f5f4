//! Golden examples of the direction Fluent → commercetools: each input projected, each request
//! compared with the expected one, body by body.
//!
//! The examples lie next to the checkout (`../shared/spec/examples`). Without them the test says so
//! loudly; in CI that is a failure.

use std::collections::{BTreeSet, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};

use fluent_connector::commercetools::action::OrderUpdate;
use fluent_connector::commercetools::known::{Channel, Known, State, Type};
use fluent_connector::commercetools::remembered::RememberedOrder;
use fluent_connector::config::model::Connection;
use fluent_connector::fluent::model::Order;
use fluent_connector::sync::order_update::project;
use fluent_connector::sync::slice::Slice;
use serde_json::{Value, json};

/// Examples whose flows exist.
const IN_SCOPE: &[&str] = &["order-status-", "order-link-"];

#[test]
fn golden_examples() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/spec/examples/fluent-to-commercetools");
    let Ok(entries) = fs::read_dir(&folder) else { return examples_are_absent(&folder) };
    let mut inputs: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    inputs.retain(|path| path.to_string_lossy().ends_with(".input.json"));
    inputs.sort();

    let (mut ran, mut skipped, mut failed) = (0, Vec::new(), Vec::new());
    for input in &inputs {
        let name = input.file_name().unwrap().to_str().unwrap().trim_end_matches(".input.json").to_owned();
        if !IN_SCOPE.iter().any(|flow| name.starts_with(flow)) {
            skipped.push(name);
            continue;
        }
        ran += 1;
        let mut expected = read(&folder.join(format!("{name}.expected.json")));
        expected.as_object_mut().unwrap().remove("comment");
        let got = play(&read(input));
        if got != expected {
            failed.push(format!("{name}\n  expected {expected}\n  got      {got}"));
        }
    }
    crate::summary::note(&format!(
        "golden examples fluent-to-commercetools: {ran} ran, 0 skipped; {} are of flows that are not built yet ({})",
        skipped.len(),
        skipped.join(", ")
    ));
    assert!(failed.is_empty(), "{} of {ran} examples differ:\n{}", failed.len(), failed.join("\n"));
    assert!(ran > 0, "no example of {IN_SCOPE:?} in {}", folder.display());
}

#[expect(clippy::disallowed_methods, reason = "whether this is CI is a question about the environment of the test")]
fn examples_are_absent(folder: &Path) {
    crate::summary::note(&format!(
        "golden examples fluent-to-commercetools: ALL SKIPPED, there is no {}",
        folder.display()
    ));
    assert!(std::env::var_os("CI").is_none(), "CI must have the golden examples: no {}", folder.display());
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))).unwrap()
}

/// Projects and "sends" as the answers of the example dictate: a conflict is followed by reading
/// the Order and projecting again. Without answers every update succeeds.
fn play(input: &Value) -> Value {
    let connection = connection(&input["config"]);
    let fluent: Order = serde_json::from_value(input["fluent"][0]["response"]["data"]["orderById"].clone()).unwrap();
    let slices: BTreeSet<Slice> =
        input["slices"].as_array().unwrap().iter().map(|slice| slice.as_str().unwrap().parse().unwrap()).collect();
    let known = known(&input["commercetools"], &connection);
    let mut order = RememberedOrder::from_answer(&input["commercetools"]["order"]).unwrap();
    let mut answers: VecDeque<Value> = input["commercetools"]["answers"].as_array().cloned().unwrap_or_default().into();
    let path = format!("/{}/orders/{}", connection.commercetools.project_key, order.id);
    let mut requests = Vec::new();
    loop {
        let projection = project(&slices, &fluent, &order, &known, &connection);
        assert_eq!(projection.rejected, [], "no example in scope is rejected");
        let mut conflict = false;
        for actions in projection.updates(connection.order_update.max_actions) {
            let body = OrderUpdate { version: order.version, actions };
            requests.push(json!({"method": "POST", "path": path, "body": body}));
            conflict = answers.pop_front().is_some_and(|answer| answer["status"] == 409);
            if conflict {
                break;
            }
        }
        if !conflict {
            let notes: Vec<String> = projection.notes.iter().map(ToString::to_string).collect();
            assert!(answers.is_empty(), "answers nobody asked for: {answers:?}");
            return json!({"outcome": "done", "requests": requests, "notes": notes});
        }
        requests.push(json!({"method": "GET", "path": path}));
        let fresh = answers.pop_front().expect("a conflict is followed by the Order as it is");
        order = RememberedOrder::from_answer(&fresh["body"]).unwrap();
    }
}

/// What the project defines: the Types of the example, and everything of ours as provisioned.
fn known(commercetools: &Value, connection: &Connection) -> Known {
    let mut known = Known { types: vec![our_order_type(connection)], ..Known::default() };
    for (key, fields) in commercetools["types"].as_object().into_iter().flatten() {
        let fields = fields.as_array().unwrap().iter().map(|field| field.as_str().unwrap());
        known.types.push(string_type(key, fields));
    }
    let workflow = &connection.order_status.workflow_state;
    for key in workflow.mapping.values().flatten() {
        known.states.push(State { id: format!("id-of-{key}"), key: key.clone(), initial: true, transitions: None });
    }
    known.channels.push(Channel {
        id: "9c2d7f10-1111-4222-8333-444455556666".to_owned(),
        key: connection.order_link.channel.clone(),
        roles: vec!["OrderExport".to_owned()],
    });
    known
}

pub(crate) fn our_order_type(connection: &Connection) -> Type {
    let ours = &connection.custom_types.order;
    string_type(&ours.key, ours.fields.values().flatten().map(String::as_str))
}

/// A Type whose fields are all Strings.
fn string_type<'a>(key: &str, fields: impl Iterator<Item = &'a str>) -> Type {
    let definitions: Vec<Value> = fields.map(|name| json!({"name": name, "type": {"name": "String"}})).collect();
    serde_json::from_value(json!({"id": format!("id-of-{key}"), "key": key, "fieldDefinitions": definitions})).unwrap()
}

/// A connection with the documented defaults and what an example's `config` says otherwise.
pub(crate) fn connection(overrides: &Value) -> Connection {
    let mut config = defaults();
    let mut overrides = overrides.clone();
    if let Some(name) = overrides.as_object_mut().and_then(|members| members.remove("connection")) {
        config["name"] = name;
    }
    lay_over(&mut config, overrides);
    serde_json::from_value(config).unwrap()
}

/// Objects are merged member by member, everything else is replaced.
fn lay_over(base: &mut Value, over: Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                lay_over(base.entry(key).or_insert(Value::Null), value);
            }
        }
        (base, over) => *base = over,
    }
}

fn defaults() -> Value {
    // Flows of the other direction are as their own examples have them.
    let other: Value = serde_json::from_str(include_str!("../fixtures/connection.json")).unwrap();
    json!({
        "name": "default",
        "enabled": true,
        "commercetools": {
            "project_key": "demo-project", "region": null, "api_url": "http://127.0.0.1:1", "auth_url": "http://127.0.0.1:1",
            "client_id": "client", "client_secret": {"env": "CT_SECRET"}, "scopes": [], "timeout": "30s",
        },
        "fluent": {
            "account": "ACME", "environment": "sandbox", "base_url": "http://127.0.0.1:1", "retailer_id": 2,
            "username": "user", "password": {"env": "FLUENT_PASSWORD"},
            "client_id": "ACME", "client_secret": {"env": "FLUENT_SECRET"},
            "product_catalogue": {"ref": "PC:MASTER:2", "type": "MASTER"}, "timeout": "30s",
            "webhook": {"public_keys": [], "signature": "sha512-or-md5", "path_token": null},
        },
        "stores": [],
        "locale": {"chain": []},
        "money": {"unit_scale": 4},
        "attribute_prefix": "commercetools",
        "poll": {"settle": "60s", "overlap": "120s"},
        "webhooks": {"match_entity_type": true, "names": {}},
        "category": other["category"],
        "product": other["product"],
        "customer": {
            "username_pattern": "{id}", "adopt_by_email": true, "guest": "by_email",
            "timezone": "UTC", "timezone_by_country": {}, "country_default": null,
            "promotion_opt_in": {"custom_field": null, "default": false}, "addresses": "none", "attributes": [],
        },
        "order": {
            "enabled": true, "since": null, "states": ["Open", "Confirmed"], "hold_until_payment_state": [],
            "hold_until_states": [],
            "ref_pattern": "{type}_{order_number}",
            "adopt_ref_patterns": ["{type}_{order_number}", "{type}_{id}", "{order_number}", "{id}"],
            "types": {"HD": "HD"}, "hd": {"fulfilment_type": "HD_PFS", "delivery_type": "STANDARD"},
            "shipping_methods": {}, "price_basis": "net", "total_discount": "distribute", "total_check": "reject",
            "tax_types": {}, "custom_line_item_product_refs": {}, "missing_product": "create", "wait_limit": "24h",
            "payment_methods": {}, "payment_method_default": "OTHER", "transaction_states": ["Success"],
            "attributes": [], "item_attributes": [], "street_number": "auto", "country": "code",
            "delivery_instruction_field": null, "send_delivery_window": false,
            "poll": "60s",
        },
        "order_update": {
            "unknown_order": "ignore", "unknown_order_wait": "15m", "conflict_rounds": 5, "max_actions": 500,
        },
        "custom_types": {
            "max_length": 10000,
            "order": {
                "key": "flOrder", "on_foreign": "skip",
                "fields": {
                    "order_id": "flOrderId", "order_ref": "flOrderRef", "pickup_location_ref": "flPickupLocationRef",
                },
            },
        },
        "order_status": {
            "enabled": true, "unmapped": "note",
            "order": {"enabled": true, "mapping": {}, "by_type": {}},
            "shipment": {"enabled": true, "mapping": {}, "by_type": {}},
            "payment": {"enabled": false, "mapping": {}, "by_type": {}},
            "workflow_state": {"enabled": false, "mapping": {}, "order": [], "force": false},
            "allow_back": [],
            "poll": {"enabled": true, "every": "60s", "settle": "30s", "overlap": "5m", "start_at": null},
        },
        "order_link": {
            "enabled": true, "channel": "flOrderExport", "custom_fields": false,
            "identity_attribute": "commercetoolsOrderId",
        },
    })
}
