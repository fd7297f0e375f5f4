//! Stories of provisioning: what a project is given, and what it keeps (F 11).

use fluent_connector::commercetools::Client;
use fluent_connector::config::model::Connection;
use fluent_connector::provision::{self, Extension, PARTS, Part, Row, Wanted};
use fluent_connector::simulator::commercetools::{self, ADA, Commercetools};
use fluent_connector::simulator::{Fault, Rule};
use serde_json::{Value, json};

use crate::database::Engine;
use crate::golden_provision::intake;
use crate::on_both_databases;
use crate::world::{Settings, World};

on_both_databases! {
    an_empty_project_gets_everything_once,
    the_first_order_after_it_is_linked_and_has_its_state,
    a_plan_changes_nothing,
    a_type_of_the_merchant_takes_our_fields,
    what_is_in_the_way_does_not_hold_back_the_others,
    a_missing_scope_is_told_and_the_rest_is_done,
    a_lost_answer_is_looked_for,
    somebody_was_faster,
    what_others_keep_in_a_project_stays,
}

/// Links in custom fields, workflow States, Line Item States, a pair and a Subscription.
const ALL: &str = r#"    order_link: { custom_fields: true }
    order_status: { workflow_state: { enabled: true } }
    fulfilment: { line_item_states: { enabled: true } }
    inventory: { pairs: [{ virtual_catalogue: "ATS:5", channel: ct-fluent-channel }] }
    provision: { destination: { type: GoogleCloudPubSub, project_id: acme, topic: ct } }
"#;

/// A daemon beside a project in which nothing of ours is.
async fn bare(engine: Engine, scopes: &[&str]) -> Option<World> {
    let mut options = commercetools::Options::default();
    options.scopes.push("manage_project_settings".into());
    options.scopes.retain(|scope| !scopes.contains(&scope.as_str()));
    let settings = Settings { connection: ALL.into(), commercetools: Some(options), ..Settings::default() };
    let world = World::with(engine, settings).await?;
    for resource in ["types", "channels"] {
        for document in world.commercetools.documents(resource) {
            world.commercetools.delete(resource, document["id"].as_str().unwrap());
        }
    }
    world.commercetools.messages(false);
    world.settle().await;
    Some(world)
}

fn main(world: &World) -> (&Client, &Connection) {
    let connection = world.daemons[0].app.connection("main").unwrap();
    (&connection.commercetools, &connection.config)
}

fn all(world: &World, only: &[Part], extensions: &[Extension]) -> Vec<Wanted> {
    provision::wanted(main(world).1, &intake(), only, extensions)
}

async fn apply(world: &World, wanted: &[Wanted]) -> Vec<Row> {
    let (client, config) = main(world);
    provision::apply(client, wanted, &config.commercetools.project_key).await
}

/// `create Channel flOrderExport`
fn told(rows: &[Row]) -> Vec<String> {
    let line = |row: &Row| format!("{} {} {}", row.verdict, row.resource, row.key).trim_end().to_owned();
    rows.iter().map(line).collect()
}

/// How many writes of definitions the platform saw that changed something.
fn writes(shop: &Commercetools) -> usize {
    let kinds = ["type", "channel", "state", "subscription", "project"];
    shop.front().ledger().iter().filter(|effect| kinds.contains(&effect.entity.as_str())).count()
}

fn keyed(world: &World, resource: &str, key: &str) -> Value {
    let documents = world.commercetools.documents(resource);
    documents.into_iter().find(|document| document["key"] == key).unwrap_or_default()
}

async fn an_empty_project_gets_everything_once(engine: Engine) {
    let Some(world) = bare(engine, &[]).await else { return };
    let before = writes(&world.commercetools);
    let wanted = all(&world, &PARTS, &[]);
    let rows = apply(&world, &wanted).await;
    assert!(rows.iter().all(|row| row.failed.is_none()), "{rows:?}");
    assert!(rows.iter().all(|row| ["create", "change"].contains(&row.verdict)), "{:?}", told(&rows));
    // Five Types, two Channels, four and seven States, the storage of Messages, the Subscription.
    assert_eq!((rows.len(), writes(&world.commercetools)), (20, before + 20));
    assert_eq!(keyed(&world, "states", "flOrderBooked")["initial"], json!(true));
    let subscription = keyed(&world, "subscriptions", "fluent-connector");
    let resources = |list: &Value| -> Vec<Value> {
        list.as_array().unwrap().iter().map(|row| row["resourceTypeId"].clone()).collect()
    };
    assert_eq!(
        (resources(&subscription["messages"]), resources(&subscription["changes"])),
        (
            vec![json!("order"), json!("payment"), json!("customer"), json!("product"), json!("standalone-price")],
            vec![json!("category"), json!("customer")],
        )
    );
    assert_eq!(subscription["destination"], json!({"type": "GoogleCloudPubSub", "projectId": "acme", "topic": "ct"}));

    let again = apply(&world, &wanted).await;
    assert!(again.iter().all(|row| row.verdict == "keep"), "{:?}", told(&again));
    assert_eq!(writes(&world.commercetools), before + 20, "a second apply changes nothing");
}

fn key_id(world: &World, resource: &str, key: &str) -> String {
    keyed(world, resource, key)["id"].as_str().unwrap().to_owned()
}

async fn the_first_order_after_it_is_linked_and_has_its_state(engine: Engine) {
    let Some(world) = bare(engine, &[]).await else { return };
    apply(&world, &all(&world, &PARTS, &[])).await;
    let id = world.commercetools.order(Some("1")).customer(ADA).place();
    world.settle().await;
    assert!(world.fluent.set_order_status("HD_1", "BOOKED"));
    world.settle().await;

    let order = world.shop_order(&id);
    assert_eq!(order["custom"]["fields"]["flOrderRef"], "HD_1", "{order}");
    assert_eq!(order["syncInfo"][0]["channel"]["id"], key_id(&world, "channels", "flOrderExport").as_str());
    assert_eq!(order["state"]["id"], key_id(&world, "states", "flOrderBooked").as_str());
    world.nothing_lost().await;
}

async fn a_plan_changes_nothing(engine: Engine) {
    let Some(world) = bare(engine, &[]).await else { return };
    let before = writes(&world.commercetools);
    let (client, config) = main(&world);
    let rows = provision::plan(client, &all(&world, &PARTS, &[]), &config.commercetools.project_key).await;
    assert_eq!((rows.len(), writes(&world.commercetools)), (20, before));
    let export = rows.iter().find(|row| row.key == "flOrderExport").unwrap();
    let call = json!({"method": "POST", "path": "/demo-project/channels", "body": {
        "key": "flOrderExport", "name": {"en": "Fluent Order Management"}, "roles": ["OrderExport"]}});
    assert_eq!((export.verdict, export.call.as_ref()), ("create", Some(&call)));
}

/// A Type of the merchant with one field.
fn engraving(world: &World, key: &str, field: Value) {
    let document =
        json!({"key": key, "name": {"en": key}, "resourceTypeIds": ["line-item"], "fieldDefinitions": [field]});
    world.commercetools.put("types", document);
}

fn field(name: &str, kind: Value) -> Value {
    json!({"name": name, "label": {"en": name}, "required": false, "type": kind, "inputHint": "SingleLine"})
}

async fn a_type_of_the_merchant_takes_our_fields(engine: Engine) {
    let Some(world) = bare(engine, &[]).await else { return };
    engraving(&world, "engraving", field("text", json!({"name": "String"})));
    let extension = Extension { resource: "line-item".into(), key: "engraving".into() };
    let rows = apply(&world, &all(&world, &[Part::Types], &[extension])).await;
    let row = rows.iter().find(|row| row.key == "engraving").unwrap();
    let sentence = "provision.extended: custom Type engraving (line-item) got the field flFulfilmentMetadata.";
    assert_eq!((row.verdict, row.sentences.as_slice()), ("change", &[sentence.to_owned()][..]));
    let fields = keyed(&world, "types", "engraving")["fieldDefinitions"].clone();
    assert_eq!((&fields[0]["name"], &fields[1]["name"]), (&json!("text"), &json!("flFulfilmentMetadata")));
    let unknown = Extension { resource: "line-item".into(), key: "nothing".into() };
    let rows = apply(&world, &all(&world, &[Part::Types], &[unknown])).await;
    assert_eq!(rows[5].sentences, ["custom Type nothing does not exist; name one that does with --extend."]);
}

async fn what_is_in_the_way_does_not_hold_back_the_others(engine: Engine) {
    let Some(world) = bare(engine, &[]).await else { return };
    engraving(&world, "gift", field("flFulfilmentMetadata", json!({"name": "Boolean"})));
    world.commercetools.put(
        "states",
        json!({"key": "flOrderBooked", "type": "LineItemState", "initial": true, "builtIn": false, "roles": []}),
    );
    let rows = apply(&world, &all(&world, &[Part::Types, Part::States], &[])).await;
    let conflicts: Vec<&String> =
        rows.iter().filter(|row| row.verdict == "conflict").flat_map(|row| &row.sentences).collect();
    assert_eq!(
        conflicts,
        [
            "provision.conflict: custom Type gift exists but defines the field flFulfilmentMetadata with type Boolean, \
             ours would be String; rename ours in custom_types or change it by hand.",
            "provision.conflict: State flOrderBooked exists but is of type LineItemState, not OrderState; rename ours in \
             custom_types or change it by hand.",
        ]
    );
    let created = rows.iter().filter(|row| row.verdict == "create" && row.failed.is_none()).count();
    assert_eq!(created, 4 + 10, "all others are there");
}

async fn a_missing_scope_is_told_and_the_rest_is_done(engine: Engine) {
    let Some(world) = bare(engine, &["manage_states"]).await else { return };
    let rows = apply(&world, &all(&world, &[Part::Channels, Part::States], &[])).await;
    let (channels, states) = rows.split_at(2);
    assert!(channels.iter().all(|row| row.failed.is_none()), "{channels:?}");
    for row in states {
        assert!(row.sentences[0].starts_with("The commercetools API client lacks a scope: "), "{:?}", row.sentences);
        assert!(row.sentences[0].contains("manage_states:demo-project"), "{:?}", row.sentences);
    }
    assert_eq!(keyed(&world, "channels", "flOrderExport")["roles"], json!(["OrderExport"]));
}

async fn a_lost_answer_is_looked_for(engine: Engine) {
    let Some(world) = bare(engine, &[]).await else { return };
    for operation in ["POST /types", "POST /channels", "POST /{projectKey}"] {
        let rule = Rule { fault: Fault::LostAnswer, operation: Some(operation.into()), times: Some(1), rate: 1.0 };
        world.commercetools.front().fault(rule);
    }
    let before = writes(&world.commercetools);
    let rows = apply(&world, &all(&world, &PARTS, &[])).await;
    assert!(rows.iter().all(|row| row.failed.is_none()), "{rows:?}");
    assert_eq!(world.commercetools.front().armed(), 0, "the answers were lost");
    assert_eq!(writes(&world.commercetools), before + 20, "and nothing was done twice");
}

async fn somebody_was_faster(engine: Engine) {
    let Some(world) = bare(engine, &[]).await else { return };
    world.commercetools.put("channels", json!({"key": "flOrderExport", "roles": ["Primary"]}));
    // The answer to the first try is a conflict: the Channel is read and compared again.
    let rule = Rule {
        fault: Fault::ErrorAfter(500),
        operation: Some("POST /channels/{id}".into()),
        times: Some(1),
        rate: 1.0,
    };
    world.commercetools.front().fault(rule);
    let rows = apply(&world, &all(&world, &[Part::Channels], &[])).await;
    assert_eq!(told(&rows), ["change Channel flOrderExport", "create Channel ct-fluent-channel"]);
    assert!(rows.iter().all(|row| row.failed.is_none()), "{rows:?}");
    assert_eq!(keyed(&world, "channels", "flOrderExport")["roles"], json!(["Primary", "OrderExport"]));
}

async fn what_others_keep_in_a_project_stays(engine: Engine) {
    let Some(world) = bare(engine, &[]).await else { return };
    let fields = ["flFulfilmentMetadata"].map(|name| field(name, json!({"name": "String"})));
    engraving(&world, "vendor", fields[0].clone());
    world.commercetools.put(
        "states",
        json!({"key": "flOrderReady", "type": "OrderState", "initial": false, "builtIn": false,
        "roles": [], "name": {"de": "bereit"}, "transitions": []}),
    );
    let rows = apply(&world, &all(&world, &[Part::Types, Part::States], &[])).await;
    let foreign = rows.iter().find(|row| row.key == "flFulfilment").unwrap();
    assert_eq!(
        (foreign.verdict, foreign.sentences[0].as_str()),
        (
            "foreign",
            "custom Type vendor serves line-item and has our fields already; set custom_types.line_item.key to vendor \
             instead of creating flFulfilment."
        )
    );
    assert_eq!(keyed(&world, "types", "flFulfilment"), Value::Null);
    let ready = keyed(&world, "states", "flOrderReady");
    assert_eq!(
        (&ready["initial"], &ready["name"], &ready["transitions"]),
        (&json!(true), &json!({"de": "bereit"}), &json!([]))
    );
}
