//! Golden examples of locations and stock: each page's records, mapped as the walk maps them.

use fluent_connector::commercetools::channel::Channel;
use fluent_connector::commercetools::known::Known;
use fluent_connector::fluent::stock::LocationsFound;
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
