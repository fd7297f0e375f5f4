//! Golden examples of provisioning: what is wanted, compared with what the example says is there.

use fluent_connector::config::model::Intake;
use fluent_connector::config::{Sources, load};
use fluent_connector::provision::{Extension, Found, PARTS, Part, Verdict, judge, wanted};
use serde_json::{Value, json};

use crate::golden_fluent_to_commercetools::connection;

/// Plays the example. A look is listed where it led to a creation; the parts are those the example tells of.
pub fn provision(input: &Value) -> Value {
    let connection = connection(&input["config"]);
    let shop = &input["commercetools"];
    let found = Found {
        types: read(&shop["types"]),
        channels: read(&shop["channels"]),
        states: read(&shop["states"]),
        ..Found::default()
    };
    let told = |part: &Part| match part {
        Part::Types => shop["types"].is_array(),
        Part::Channels => shop["channels"].is_array(),
        Part::States => shop["states"].is_array(),
        Part::Subscription => false,
    };
    let parts: Vec<Part> = PARTS.into_iter().filter(told).collect();
    let command: Vec<&str> = input["command"].as_str().unwrap().split(' ').collect();
    let extended = command.windows(2).filter(|pair| pair[0] == "--extend");
    let extensions: Vec<Extension> = extended.filter_map(|pair| pair[1].split_once('=')).map(extension).collect();
    let (mut requests, mut notes) = (Vec::new(), Vec::new());
    for wanted in wanted(&connection, &intake(), &parts, &extensions) {
        let verdict = judge(&wanted, &found);
        let project_key = &connection.commercetools.project_key;
        requests.extend((verdict == Verdict::Create).then(|| wanted.look(project_key)));
        requests.extend(wanted.call(&verdict, project_key));
        match verdict {
            Verdict::Change { got, .. } => notes.extend(got),
            Verdict::Foreign(sentence) | Verdict::Conflict(sentence) => notes.push(sentence),
            Verdict::Create | Verdict::Keep => {}
        }
    }
    json!({"outcome": "applied", "requests": requests, "notes": notes})
}

/// Nothing is taken in, as by default.
pub fn intake() -> Intake {
    load(&Sources::default()).unwrap().config.intake
}

fn extension((resource, key): (&str, &str)) -> Extension {
    Extension { resource: resource.to_owned(), key: key.to_owned() }
}

fn read<T: serde::de::DeserializeOwned>(documents: &Value) -> Vec<T> {
    let documents = documents.as_array().cloned().unwrap_or_default();
    documents.into_iter().map(|document| serde_json::from_value(document).unwrap()).collect()
}
