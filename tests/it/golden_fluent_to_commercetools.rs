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
use fluent_connector::sync::order_update::project;
use fluent_connector::sync::slice::Slice;
use fluent_connector::sync::source::Source;
use serde_json::{Value, json};

use crate::{golden_provision, golden_stock};

/// Examples whose flows exist.
const IN_SCOPE: &[&str] = &[
    "order-status-",
    "order-link-",
    "order-coalesced-",
    "fulfilment-",
    "consignment-",
    "return-",
    "location-",
    "inventory-",
    "provision-",
];

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
        let got = match name.split('-').next() {
            Some("location") => golden_stock::location(&read(input)),
            Some("inventory") => golden_stock::inventory(&read(input)),
            Some("provision") => golden_provision::provision(&read(input)),
            _ => play(&read(input)),
        };
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
    let slices: BTreeSet<Slice> =
        input["slices"].as_array().unwrap().iter().map(|slice| slice_of(slice.as_str().unwrap(), input)).collect();
    let source = source(&input["fluent"], input);
    let known = known(&input["commercetools"], &connection);
    let mut order = RememberedOrder::from_answer(&input["commercetools"]["order"]).unwrap();
    let mut answers: VecDeque<Value> = input["commercetools"]["answers"].as_array().cloned().unwrap_or_default().into();
    let path = format!("/{}/orders/{}", connection.commercetools.project_key, order.id);
    let mut requests = Vec::new();
    loop {
        let projection = project(&slices, &source, &order, &known, &connection);
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

/// `consignment` and `return` stand for the one that the event names.
fn slice_of(text: &str, input: &Value) -> Slice {
    let events = input["event"].as_array().cloned().unwrap_or_else(|| vec![input["event"].clone()]);
    let named = |entity: &str, member: &str| {
        let event = events.iter().find(|event| event["entityType"] == entity).unwrap();
        event[member].as_str().unwrap().to_owned()
    };
    match text {
        "consignment" => Slice::Consignment(named("CONSIGNMENT", "entityId")),
        "return" => Slice::Return(named("RETURN_ORDER", "entityRef")),
        other => other.parse().unwrap(),
    }
}

/// What the example says Fluent answers. Returns know their order by its ref only.
fn source(fluent: &Value, input: &Value) -> Source {
    let answers = |operation: &str, field: &str| -> Vec<Value> {
        let answers = fluent.as_array().unwrap().iter().filter(|answer| answer["operation"] == operation);
        answers.map(|answer| answer["response"]["data"][field].clone()).collect()
    };
    let of_return = || {
        let reference = answers("ReturnSource", "returnOrder")[0]["order"]["ref"].clone();
        let synced = &input["commercetools"]["order"]["syncInfo"][0]["externalId"];
        json!({"id": synced, "ref": reference, "type": "HD", "status": "COMPLETE", "updatedOn": null, "retailer": null})
    };
    let order = answers("OrderUpdateSource", "orderById").pop().unwrap_or_else(of_return);
    let mut source = Source::new(serde_json::from_value(order).unwrap());
    let read = |consignment| serde_json::from_value(consignment).unwrap();
    source.consignments = answers("ConsignmentSource", "consignmentById").into_iter().map(read).collect();
    let returns = answers("ReturnSource", "returnOrder").into_iter();
    source.returns = returns.map(|found| serde_json::from_value(found).unwrap()).collect();
    for locations in answers("LocationNames", "locations") {
        let nodes = locations["edges"].as_array().unwrap().iter().map(|edge| &edge["node"]);
        let text = |node: &Value, member: &str| node[member].as_str().unwrap().to_owned();
        source.location_names.extend(nodes.map(|node| (text(node, "ref"), text(node, "name"))));
    }
    source
}

/// What the project defines: the Types of the example, and everything of ours as provisioned.
fn known(commercetools: &Value, connection: &Connection) -> Known {
    let mut known = Known { types: our_types(connection), ..Known::default() };
    for (key, fields) in commercetools["types"].as_object().into_iter().flatten() {
        let fields = fields.as_array().unwrap().iter().map(|field| field.as_str().unwrap());
        known.types.push(string_type(key, fields));
    }
    let workflow = &connection.order_status.workflow_state;
    let line_item_states = &connection.fulfilment.line_item_states.order;
    for key in workflow.mapping.values().flatten().chain(line_item_states) {
        known.states.push(State { id: format!("id-of-{key}"), key: key.clone(), initial: true, transitions: None });
    }
    known.channels.push(Channel {
        id: "9c2d7f10-1111-4222-8333-444455556666".to_owned(),
        key: connection.order_link.channel.clone(),
        roles: vec!["OrderExport".to_owned()],
    });
    known
}

/// Everything of ours as provisioned.
pub(crate) fn our_types(connection: &Connection) -> Vec<Type> {
    let types = &connection.custom_types;
    let types = [&types.order, &types.line_item, &types.delivery, &types.parcel];
    types.map(|ours| string_type(&ours.key, ours.fields.values().flatten().map(String::as_str))).into()
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
    let mut config = json!({
        "name": "default",
        "enabled": true,
        "commercetools": {
            "project_key": "demo-project", "region": null, "api_url": "http://127.0.0.1:1", "auth_url": "http://127.0.0.1:1",
            "import_url": null,
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
        "customer": other["customer"],
        "order": other["order"],
        "order_change": other["order_change"],
        "order_cancel": other["order_cancel"],
        "order_backfill": other["order_backfill"],
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
            "line_item": other["custom_types"]["line_item"],
            "delivery": other["custom_types"]["delivery"],
            "parcel": other["custom_types"]["parcel"],
        },
        "provision": other["provision"],
        "fulfilment": other["fulfilment"],
        "consignment": other["consignment"],
        "returns": other["returns"],
        "order_status": {
            "enabled": true, "unmapped": "note",
            "order": {"enabled": true, "mapping": {}, "by_type": {}},
            "shipment": {"enabled": true, "mapping": {}, "by_type": {}},
            "payment": {"enabled": false, "mapping": {}, "by_type": {}},
            "workflow_state": {"enabled": false, "mapping": {}, "order": [], "force": false},
            "partial_from_fulfilments": true, "shipped_statuses": ["COMPLETE"], "delivered_consignment_statuses": [],
            "allow_back": [],
            "poll": {"enabled": true, "every": "60s", "settle": "30s", "overlap": "5m", "start_at": null},
        },
        "order_link": {
            "enabled": true, "channel": "flOrderExport", "custom_fields": false,
            "identity_attribute": "commercetoolsOrderId",
        },
    });
    for flow in ["location", "inventory"] {
        config[flow] = other[flow].clone();
    }
    config["custom_types"]["channel"] = other["custom_types"]["channel"].clone();
    config
}
