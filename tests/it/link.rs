//! Stories of the link that an order in commercetools carries to its Fluent order.

use std::time::Duration;

use fluent_connector::simulator::commercetools::{ADA, ORDER_TYPE};
use serde_json::{Value, json};

use crate::database::Engine;
use crate::on_both_databases;
use crate::world::{Settings, World};

on_both_databases! {
    the_link_in_fields_of_our_own_type,
    the_link_beside_a_foreign_type,
    the_link_in_a_foreign_type_with_our_fields,
    a_missing_channel_holds_back_the_link_only,
    an_order_that_links_elsewhere_is_parked,
    no_link_if_none_is_wanted,
}

async fn the_link_in_fields_of_our_own_type(engine: Engine) {
    let Some(world) = with(engine, FIELDS).await else { return };
    let plain = world.commercetools.order(Some("1")).customer(ADA).place();
    let typed = json!({"flOrderRef": "written by hand"});
    let typed = world.commercetools.order(Some("2")).customer(ADA).custom(ORDER_TYPE, typed).place();
    world.settle().await;

    for (id, reference) in [(&plain, "HD_1"), (&typed, "HD_2")] {
        let order = world.arrived(id);
        let fields = &world.shop_order(id)["custom"]["fields"];
        assert_eq!((&fields["flOrderId"], &fields["flOrderRef"]), (&order["id"], &json!(reference)));
        assert_eq!(world.updates(id), 1, "one update carries the whole link");
    }
    world.nothing_lost().await;
}

async fn the_link_beside_a_foreign_type(engine: Engine) {
    let Some(world) = with(engine, FIELDS).await else { return };
    add_type(&world, "shopOrder", &["gift"]);
    let id = world.commercetools.order(Some("1")).customer(ADA).custom("shopOrder", json!({"gift": "yes"})).place();
    world.settle().await;

    world.arrived(&id);
    assert_eq!(world.shop_order(&id)["custom"]["fields"], json!({"gift": "yes"}), "theirs stays as it was");
    assert_eq!(
        world.notes("custom_type.foreign").await,
        [
            "order 1 carries the custom Type shopOrder, which has no field flOrderId, flOrderRef; the link in custom fields was not written."
        ]
    );
    world.nothing_lost().await;
}

async fn the_link_in_a_foreign_type_with_our_fields(engine: Engine) {
    let Some(world) = with(engine, FIELDS).await else { return };
    add_type(&world, "shopOrder", &["gift", "flOrderId", "flOrderRef"]);
    let id = world.commercetools.order(Some("1")).customer(ADA).custom("shopOrder", json!({"gift": "yes"})).place();
    world.settle().await;

    let order = world.arrived(&id);
    let fields = json!({"gift": "yes", "flOrderId": order["id"], "flOrderRef": "HD_1"});
    assert_eq!(world.shop_order(&id)["custom"]["fields"], fields);
    world.nothing_lost().await;
}

async fn a_missing_channel_holds_back_the_link_only(engine: Engine) {
    let Some(world) = with(engine, "    order_link: { channel: oms }").await else { return };
    let id = world.commercetools.order(Some("1")).customer(ADA).place();
    world.settle().await;
    world.fluent.set_order_status("HD_1", "BOOKED");
    world.settle().await;
    assert_eq!(world.states(&id), ["Confirmed", "Pending"], "the states do not wait for it");
    assert!(world.links(&id).is_empty());
    let sentences = world.sentences("commercetools.update-order").await;
    assert!(sentences.contains(&"Channel oms with role OrderExport does not exist; run provision.".to_owned()));

    let channel = |roles: Value| json!({"id": "9f5c", "key": "oms", "roles": roles});
    world.commercetools.put("channels", channel(json!([])));
    world.pass(Duration::from_secs(900), Duration::from_secs(60)).await;
    assert!(world.links(&id).is_empty(), "without the role it is no use");
    world.commercetools.put("channels", channel(json!(["OrderExport"])));
    world.pass(Duration::from_secs(3 * 3600), Duration::from_secs(300)).await;
    world.arrived(&id);
    assert!(world.parked().await.is_empty());
    world.nothing_lost().await;
}

async fn an_order_that_links_elsewhere_is_parked(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    let channel = world.order_channel();
    let elsewhere = move |order: &mut Value| {
        let channel = json!({"typeId": "channel", "id": channel});
        order["syncInfo"] = json!([{"channel": channel, "externalId": "77", "syncedAt": "2026-06-15T09:00:00.000Z"}]);
    };
    let id = world.commercetools.order(Some("1")).customer(ADA).changed(elsewhere).place();
    world.settle().await;

    let order = world.fluent_order(&id)["id"].as_str().unwrap().to_owned();
    let sentence = world.the_parked().await.detail.unwrap();
    assert_eq!(sentence, format!("commercetools order 1 is already linked to Fluent order 77; not linked to {order}."));
    assert_eq!(world.links(&id), ["77"]);
    world.nothing_lost().await;
}

async fn no_link_if_none_is_wanted(engine: Engine) {
    let Some(world) = with(engine, "    order_link: { enabled: false }").await else { return };
    let id = world.commercetools.order(Some("1")).customer(ADA).place();
    world.settle().await;
    assert!(world.links(&id).is_empty());
    world.fluent.set_order_status("HD_1", "BOOKED");
    world.settle().await;
    assert_eq!(world.states(&id), ["Confirmed", "Pending"]);
    assert!(world.links(&id).is_empty());
    world.nothing_lost().await;
}

const FIELDS: &str = "    order_link: { custom_fields: true }";

async fn with(engine: Engine, connection: &str) -> Option<World> {
    World::with(engine, Settings { connection: connection.into(), ..Settings::default() }).await
}

fn add_type(world: &World, key: &str, fields: &[&str]) {
    let field = |name: &&str| json!({"name": name, "label": {"en": name}, "required": false, "type": {"name": "String"}, "inputHint": "SingleLine"});
    let fields: Vec<Value> = fields.iter().map(field).collect();
    world.commercetools.put(
        "types",
        json!({"key": key, "name": {"en": key}, "resourceTypeIds": ["order"], "fieldDefinitions": fields}),
    );
}
