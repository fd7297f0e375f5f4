//! Golden examples of locations and stock: each page's records, mapped as the walk maps them.

use fluent_connector::clock::parse_rfc3339;
use fluent_connector::commercetools::channel::Channel;
use fluent_connector::commercetools::import_api::InventoryImportRequest;
use fluent_connector::commercetools::inventory::InventoryEntry;
use fluent_connector::commercetools::known::Known;
use fluent_connector::config::model::StockWrite;
use fluent_connector::fluent::stock::{LocationsFound, PositionsFound};
use fluent_connector::sync::inventory::import::container_name;
use fluent_connector::sync::inventory::writer::{Entry, Request, request};
use fluent_connector::sync::inventory::{Stock, disappeared, stock};
use fluent_connector::sync::location::{Write, is_in_scope, left_out, project};
use serde_json::{Value, json};

use crate::golden_fluent_to_commercetools::connection;

/// Plays the example of a location.
pub fn location(input: &Value) -> Value {
    let connection = connection(&input["config"]);
    let found: LocationsFound = serde_json::from_value(input["fluent"][0]["response"]["data"].clone()).unwrap();
    let channel: Option<Channel> = serde_json::from_value(input["commercetools"]["channel"].clone()).unwrap();
    let project_key = &connection.commercetools.project_key;
    let (mut requests, mut notes) = (Vec::new(), Vec::new());
    for location in found.locations.nodes() {
        if !is_in_scope(location, &connection) {
            notes.push(left_out(location, &connection.location).to_string());
            continue;
        }
        let (write, told) = project(location, channel.as_ref(), &Known::default(), &connection).unwrap();
        notes.extend(told.iter().map(ToString::to_string));
        requests.extend(match write {
            Write::Nothing => None,
            Write::Create(draft) => {
                Some(json!({"method": "POST", "path": format!("/{project_key}/channels"), "body": draft}))
            }
            Write::Update { id, version, actions } => Some(json!({
                "method": "POST", "path": format!("/{project_key}/channels/{id}"),
                "body": {"version": version, "actions": actions},
            })),
        });
    }
    json!({"outcome": "done", "requests": requests, "notes": notes})
}

/// Plays the example of a page of positions, or of a full sync.
pub fn inventory(input: &Value) -> Value {
    let connection = connection(&input["config"]);
    let (config, pair) = (&connection.inventory, &connection.inventory.pairs[0]);
    let channel = pair.channel.as_deref().unwrap();
    let found: PositionsFound = serde_json::from_value(input["fluent"][0]["response"]["data"].clone()).unwrap();
    let stored = &input["commercetools"];
    let entries =
        stored["inventoryEntries"].as_array().cloned().unwrap_or_else(|| vec![stored["inventoryEntry"].clone()]);
    let entries: Vec<InventoryEntry> =
        entries.into_iter().filter(Value::is_object).map(|entry| serde_json::from_value(entry).unwrap()).collect();
    let mut notes = Vec::new();
    let positions = found.positions.nodes();
    let mut stocks: Vec<Stock> =
        positions.filter_map(|position| stock(position, pair, channel, config, &mut notes).unwrap()).collect();
    for row in input["mapping"].as_array().into_iter().flatten() {
        let name = row["fluent"].as_str().unwrap();
        let gone = Stock {
            catalogue: pair.virtual_catalogue.clone(),
            reference: name.strip_prefix(&format!("{}/", pair.virtual_catalogue)).unwrap().to_owned(),
            sku: row["sku"].as_str().unwrap().to_owned(),
            channel: row["channel"].as_str().unwrap().to_owned(),
            quantity: 0,
            updated_on: None,
        };
        if stocks.iter().all(|stock| stock.fluent_ref() != name) {
            notes.push(disappeared(&gone));
            stocks.push(gone);
        }
    }
    let project_key = &connection.commercetools.project_key;
    let requests: Vec<Value> = match config.write {
        StockWrite::Import => {
            let day = parse_rfc3339("2026-11-20T10:15:00.000Z").unwrap();
            let container = container_name(&connection.name, day, 1);
            let body = InventoryImportRequest::new(stocks.iter().map(Stock::import).collect());
            let path = format!("/{project_key}/inventories/import-containers/{container}");
            vec![json!({"host": "import", "method": "POST", "path": path, "body": body})]
        }
        _ => stocks.iter().filter_map(|stock| plain(stock, &entries, project_key)).collect(),
    };
    let notes: Vec<String> = notes.iter().map(ToString::to_string).collect();
    json!({"outcome": "done", "requests": requests, "notes": notes})
}

fn plain(stock: &Stock, entries: &[InventoryEntry], project_key: &str) -> Option<Value> {
    let entry = entries.iter().find(|entry| entry.sku == stock.sku).cloned().map(Entry::from);
    match request(stock, entry.as_ref(), true) {
        Request::Nothing => None,
        Request::Create(draft) => {
            Some(json!({"method": "POST", "path": format!("/{project_key}/inventory"), "body": draft}))
        }
        Request::Change { id, version, quantity } => Some(json!({
            "method": "POST", "path": format!("/{project_key}/inventory/{id}"),
            "body": {"version": version, "actions": [{"action": "changeQuantity", "quantity": quantity}]},
        })),
    }
}
