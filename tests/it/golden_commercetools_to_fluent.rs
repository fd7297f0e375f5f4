//! The golden examples of direction commercetools → Fluent: what the mapping yields is what they expect.
//!
//! They lie beside the project (`../shared/spec/examples`) and are skipped, loudly, where that folder is absent.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use fluent_connector::clock;
use fluent_connector::commercetools::catalogue::{Category, ProductProjection};
use fluent_connector::commercetools::model::{Customer, Order, Payment};
use fluent_connector::config::model::Connection;
use fluent_connector::fluent::change::UpdateOrderInput;
use fluent_connector::sync::text::Notes;
use fluent_connector::sync::{category, customer, order, product};
use serde::Serialize;
use serde_json::{Value, json};

/// Cases of these flows are run; any other is of a flow that this version does not have.
const FLOWS: &[&str] = &[
    "category-",
    "customer-",
    "order-billing-address-changed",
    "order-cancelled",
    "order-cc",
    "order-guest",
    "order-hd",
    "order-high-precision",
    "order-jpy",
    "order-multi",
    "order-payment-added",
    "order-total-discount",
    "product-",
];

#[test]
fn golden_examples() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/spec/examples/commercetools-to-fluent");
    if !folder.is_dir() {
        crate::summary::note(&format!(
            "golden examples commercetools-to-fluent: SKIPPED, {} is absent",
            folder.display()
        ));
        assert!(!in_ci(), "the golden examples must be there in CI");
        return;
    }
    let cases = cases(&folder);
    let (run, skipped): (Vec<&String>, Vec<&String>) =
        cases.iter().partition(|case| FLOWS.iter().any(|flow| case.starts_with(flow)));
    let failures: Vec<String> = run.iter().filter_map(|case| failure(&folder, case)).collect();
    crate::summary::note(&format!(
        "golden examples commercetools-to-fluent: {} ran, 0 skipped; {} are of flows that are not built yet ({})",
        run.len(),
        skipped.len(),
        skipped.iter().map(|case| case.as_str()).collect::<Vec<_>>().join(", ")
    ));
    assert!(run.len() >= FLOWS.len(), "every flow has a case: {run:?}");
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[expect(clippy::disallowed_methods, reason = "CI says so in the environment, and only a test asks")]
fn in_ci() -> bool {
    std::env::var_os("CI").is_some()
}

fn cases(folder: &Path) -> BTreeSet<String> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    files.filter_map(|file| file.strip_suffix(".input.json").map(str::to_owned)).collect()
}

/// What is wrong with a case.
fn failure(folder: &Path, case: &str) -> Option<String> {
    let read = |end: &str| -> Value {
        let file: PathBuf = folder.join(format!("{case}.{end}.json"));
        serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap()
    };
    let (input, expected) = (read("input"), read("expected"));
    let calls = json!({ "calls": calls(case, &input) });
    let (calls, expected) = (comparable(calls), comparable(expected));
    let pretty = |value: &Value| serde_json::to_string_pretty(value).unwrap();
    (calls != expected).then(|| format!("{case}: {}", difference(&pretty(&calls), &pretty(&expected))))
}

/// The calls the mapping leads to, in sending order.
fn calls(case: &str, input: &Value) -> Vec<Value> {
    let connection = connection(&input["config"]);
    let (source, facts) = (&input["source"], &input["facts"]);
    match case {
        "category-deleted" => vec![gone_category_call(source, facts, &connection)],
        _ if case.starts_with("category-") => vec![category_call(source, facts, &connection)],
        "product-unpublished" => gone_product_calls(source, facts, &connection),
        _ if case.starts_with("product-") => product_calls(source, facts, &connection),
        _ if case.starts_with("customer-") => vec![customer_call(source, facts, &connection)],
        "order-payment-added" => payment_calls(source, facts, &connection),
        "order-cancelled" => vec![cancel_call(source, facts, &connection)],
        "order-billing-address-changed" => vec![billing_call(source, facts, &connection)],
        _ => order_calls(source, facts, &connection),
    }
}

fn category_call(source: &Value, facts: &Value, connection: &Connection) -> Value {
    let read: Category = read(source);
    let refs = &facts["mapping"]["category"];
    let parent = read.parent.as_ref().map(|parent| refs[parent.id.as_ref().unwrap()].as_str().unwrap());
    match refs[&read.id].as_str() {
        Some(known) => {
            let mapped = category::to_fluent(&read, known, parent, connection).unwrap();
            call("UpdateCategory", mapped.update(&mapped.written()))
        }
        None => {
            let reference = category::reference(&read);
            call("CreateCategory", category::to_fluent(&read, reference, parent, connection).unwrap().create)
        }
    }
}

fn gone_category_call(source: &Value, facts: &Value, connection: &Connection) -> Value {
    let id = source["resource"]["id"].as_str().unwrap();
    let reference = facts["mapping"]["category"][id].as_str().unwrap();
    call("UpdateCategory", category::deactivation(reference, connection))
}

fn product_calls(source: &Value, facts: &Value, connection: &Connection) -> Vec<Value> {
    let read: ProductProjection = read(source);
    let refs = &facts["mapping"]["category"];
    let categories = read.categories.iter().map(|category| refs[category.id.as_ref().unwrap()].as_str().unwrap());
    let categories: Vec<String> = categories.map(str::to_owned).collect();
    let now = clock::parse_rfc3339(facts["now"].as_str().unwrap()).unwrap();
    let mapped = product::to_fluent(&read, &product::reference(&read), &categories, now, connection).unwrap();
    let mut calls = vec![call("CreateStandardProduct", mapped.standard)];
    calls.extend(mapped.variants.into_iter().map(|variant| call("CreateVariantProduct", variant)));
    calls
}

fn gone_product_calls(source: &Value, facts: &Value, connection: &Connection) -> Vec<Value> {
    let known = &facts["mapping"]["product"][source["resource"]["id"].as_str().unwrap()];
    let variants = known["variants"].as_array().unwrap().iter().map(|sku| sku.as_str().unwrap());
    let gone = |reference: &str| {
        product::written::deactivation(reference, category::catalogue(connection), &connection.product)
    };
    let mut calls: Vec<Value> = variants.map(|sku| call("UpdateVariantProduct", gone(sku))).collect();
    calls.push(call("UpdateStandardProduct", gone(known["ref"].as_str().unwrap())));
    calls
}

fn customer_call(source: &Value, facts: &Value, connection: &Connection) -> Value {
    let customer: Customer = read(source);
    let mapped = customer::to_fluent(&customer, connection).unwrap();
    match facts["mapping"]["customer"][&customer.id]["username"].as_str() {
        Some(username) => call("UpdateCustomer", mapped.update(username)),
        None => call("CreateCustomer", mapped.create),
    }
}

fn order_calls(source: &Value, facts: &Value, connection: &Connection) -> Vec<Value> {
    let order: Order = read(source);
    let mut calls = vec![];
    if order.customer_id.is_none() {
        calls.push(call("CreateCustomer", customer::guest_to_fluent(&order, connection).unwrap().create));
    }
    let customer_id = facts["fluent_customer_id"].as_str().unwrap();
    calls.push(call("CreateOrder", order::to_fluent(&order, customer_id, connection).unwrap().input));
    calls
}

/// The message says how the order would be re-read: its version, and when that came to be.
fn cancel_call(source: &Value, facts: &Value, connection: &Connection) -> Value {
    let id = source["resource"]["id"].as_str().unwrap();
    let order = json!({"id": id, "version": source["resourceVersion"], "lastModifiedAt": source["lastModifiedAt"]});
    let known = &facts["mapping"]["order"][id];
    let known = |name: &str| known[name].as_str().unwrap();
    let event = order::cancel::event(&partial(order), (known("type"), known("id"), known("ref")), connection);
    json!({"kind": "event", "mode": connection.order_cancel.mode, "body": event})
}

fn billing_call(source: &Value, facts: &Value, connection: &Connection) -> Value {
    let known = &facts["mapping"]["order"][source["resource"]["id"].as_str().unwrap()];
    let order = partial(facts["order"].clone());
    let billing = order.billing_address.as_ref().unwrap();
    let fields =
        order::address::fields(billing, order.customer_email.as_deref(), &connection.order, &mut Notes::default());
    let id = facts["fluent_billing_address_id"].as_str().unwrap();
    call(
        "UpdateOrder",
        UpdateOrderInput {
            id: known["id"].as_str().unwrap().to_owned(),
            billing_address: Some(order::change::billing_address(id, &fields)),
            attributes: vec![],
        },
    )
}

/// An order of which a case shows what it needs.
fn partial(mut order: Value) -> Order {
    order["totalPrice"] = json!({"currencyCode": "EUR", "centAmount": 0, "fractionDigits": 2});
    read(&order)
}

/// The message stands for the payment that would be re-read.
fn payment_calls(source: &Value, facts: &Value, connection: &Connection) -> Vec<Value> {
    let mut payment = source["payment"].clone();
    payment["transactions"] = json!([source["transaction"]]);
    let payment: Payment = read(&payment);
    let sent = facts["fluent_transaction_refs"].as_array().unwrap();
    let sent: BTreeSet<String> = sent.iter().map(|sent| sent.as_str().unwrap().to_owned()).collect();
    let order_id = facts["mapping"]["order"][facts["order_id"].as_str().unwrap()]["id"].as_str().unwrap();
    let mut notes = Notes::default();
    let later = order::payment::later_transactions(&payment, &sent, order_id, connection, &mut notes).unwrap();
    later.into_iter().map(|transaction| call("CreateFinancialTransaction", transaction)).collect()
}

/// The input as it would be written on the wire.
fn call(operation: &str, input: impl Serialize) -> Value {
    let input: Value = serde_json::from_str(&serde_json::to_string(&input).unwrap()).unwrap();
    json!({ "kind": "graphql", "operation": operation, "variables": { "input": input } })
}

fn read<T: serde::de::DeserializeOwned>(source: &Value) -> T {
    serde_json::from_str(&source.to_string()).unwrap()
}

/// The defaults with the overrides of a case.
fn connection(overrides: &Value) -> Connection {
    let mut connection: Value = serde_json::from_str(include_str!("../fixtures/connection.json")).unwrap();
    merge(&mut connection, overrides);
    serde_json::from_value(connection).unwrap()
}

fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from.clone(),
    }
}

/// Numbers compare as decimals: `55` and `55.0` are the same.
fn comparable(value: Value) -> Value {
    match value {
        Value::Number(number) => {
            let number: fluent_connector::commercetools::model::Number = number.to_string().parse().unwrap();
            json!(format!("{} / 10^{}", number.unscaled, number.scale))
        }
        Value::Array(values) => values.into_iter().map(comparable).collect(),
        Value::Object(members) => {
            Value::Object(members.into_iter().map(|(name, value)| (name, comparable(value))).collect())
        }
        value => value,
    }
}

/// The first lines in which two texts differ.
fn difference(actual: &str, expected: &str) -> String {
    let mut lines = actual.lines().zip(expected.lines()).enumerate();
    match lines.find(|(_, (actual, expected))| actual != expected) {
        Some((at, (actual, expected))) => {
            format!(
                "line {}:\n  yields   {}\n  expected {}\n{}",
                at + 1,
                actual.trim(),
                expected.trim(),
                "-".repeat(20)
            )
        }
        None => format!("yields {} lines, expected {}", actual.lines().count(), expected.lines().count()),
    }
}
