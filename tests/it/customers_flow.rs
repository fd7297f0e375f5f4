//! Stories of customers that come and change without an order, and of those who want to be forgotten.

use std::time::Duration;

use fluent_connector::simulator::commercetools::{ADA, BORIS};
use fluent_connector::simulator::{Fault, Rule};
use serde_json::{Value, json};

use crate::database::Engine;
use crate::on_both_databases;
use crate::world::look::attribute;
use crate::world::{Settings, World};

on_both_databases! {
    a_customer_that_changes_is_changed_in_fluent,
    a_new_customer_comes_without_an_order,
    the_poll_finds_customers_that_nobody_told_of,
    only_customers_of_orders_may_be_wanted,
    an_older_message_after_a_newer_one_changes_no_customer,
    a_lost_answer_is_no_second_customer_without_order,
    a_customer_without_email_is_parked,
    an_attribute_of_a_customer_that_is_gone_becomes_empty,
    a_deleted_customer_is_kept,
    an_erased_customer_is_anonymous,
}

async fn a_customer_that_changes_is_changed_in_fluent(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    world.commercetools.order(Some("1")).customer(ADA).place();
    world.settle().await;
    edit(&world, ADA, |customer| {
        customer["email"] = "ada.new@example.com".into();
        customer["lastName"] = "Okafor".into();
    });
    world.settle().await;

    let [customer] = &world.fluent.customers()[..] else { panic!("not one customer") };
    assert_eq!((&customer["primaryEmail"], &customer["lastName"]), (&json!("ada.new@example.com"), &json!("Okafor")));
    assert_eq!(customer["username"], ADA, "the user name stays");
    assert_eq!(world.fluent_requests("UpdateCustomer").len(), 1);
    assert!(world.parked().await.is_empty());
    world.nothing_lost().await;
}

async fn a_new_customer_comes_without_an_order(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    let id = put(&world, "new@example.com");
    world.settle().await;

    let customer = known(&world, &id).expect("the customer is in Fluent");
    assert_eq!(customer["primaryEmail"], "new@example.com");
    let order = world.commercetools.order(Some("1")).customer(&id).place();
    world.settle().await;
    assert_eq!(world.arrived(&order)["customer"]["id"], customer["id"]);
    assert_eq!(world.fluent_requests("CreateCustomer").len(), 1);
    world.nothing_lost().await;
}

async fn the_poll_finds_customers_that_nobody_told_of(engine: Engine) {
    let Some(world) = World::with(engine, Settings { without_push: true, ..Settings::default() }).await else { return };
    world.pass(Duration::from_secs(1800), Duration::from_secs(300)).await;
    assert!(known(&world, ADA).is_some() && known(&world, BORIS).is_some());
    edit(&world, ADA, |customer| customer["firstName"] = "Augusta".into());
    world.pass(Duration::from_secs(1800), Duration::from_secs(300)).await;

    assert_eq!(known(&world, ADA).unwrap()["firstName"], "Augusta");
    assert_eq!(world.fluent_requests("UpdateCustomer").len(), 1);
    world.nothing_lost().await;
}

async fn only_customers_of_orders_may_be_wanted(engine: Engine) {
    let Some(world) = with(engine, "    customer: { sync: on_order }").await else { return };
    let order = world.commercetools.order(Some("1")).customer(ADA).place();
    world.settle().await;
    world.arrived(&order);
    put(&world, "new@example.com");
    edit(&world, ADA, |customer| customer["firstName"] = "Augusta".into());
    world.pass(Duration::from_secs(1800), Duration::from_secs(300)).await;

    assert_eq!(world.fluent.customers().len(), 1);
    assert_eq!(known(&world, ADA).unwrap()["firstName"], "Augusta");
    world.nothing_lost().await;
}

async fn an_older_message_after_a_newer_one_changes_no_customer(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    let id = put(&world, "new@example.com");
    world.settle().await;
    for name in ["One", "Two"] {
        edit(&world, &id, move |customer| customer["firstName"] = name.into());
        world.settle().await;
    }
    let told = world.commercetools.notifications();
    let older = told.into_iter().find(|it| it["notificationType"] == "ResourceUpdated").unwrap();
    let mut again = older.clone();
    again["version"] = 1.into();
    world.commercetools.deliver(&older).await;
    world.commercetools.deliver(&again).await;
    world.settle().await;

    assert_eq!(known(&world, &id).unwrap()["firstName"], "Two");
    assert_eq!(world.fluent_requests("UpdateCustomer").len(), 2);
    world.nothing_lost().await;
}

async fn a_lost_answer_is_no_second_customer_without_order(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    world.fluent.front().fault(Rule {
        fault: Fault::LostAnswer,
        operation: Some("CreateCustomer".into()),
        times: Some(1),
        rate: 1.0,
    });
    let id = put(&world, "new@example.com");
    world.settle().await;
    world.pass(Duration::from_secs(60), Duration::from_secs(10)).await;

    assert!(known(&world, &id).is_some());
    assert_eq!(world.fluent_requests("CreateCustomer").len(), 1);
    assert!(world.parked().await.is_empty());
    world.nothing_lost().await;
}

async fn a_customer_without_email_is_parked(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    let id = put(&world, "");
    let other = put(&world, "other@example.com");
    world.settle().await;
    let parked = world.the_parked().await;
    assert_eq!(parked.detail.clone().unwrap(), format!("Customer {id} has no email; Fluent requires one."));
    assert!(known(&world, &other).is_some());

    edit(&world, &id, |customer| customer["email"] = "new@example.com".into());
    world.settle().await;
    assert!(known(&world, &id).is_some(), "the repair is news of its own");
    world.retry(&parked).await;
    assert_eq!(world.fluent.customers().len(), 2);
    world.nothing_lost().await;
}

async fn an_attribute_of_a_customer_that_is_gone_becomes_empty(engine: Engine) {
    let rules = "    customer: { attributes: [{ from: externalId, to: erp, type: STRING }] }";
    let Some(world) = with(engine, rules).await else { return };
    let id = put(&world, "new@example.com");
    edit(&world, &id, |customer| customer["externalId"] = "E-7".into());
    world.settle().await;
    assert_eq!(attribute(&known(&world, &id).unwrap(), "erp"), Some(&json!("E-7")));
    edit(&world, &id, |customer| drop(customer.as_object_mut().unwrap().remove("externalId")));
    world.settle().await;

    assert_eq!(attribute(&known(&world, &id).unwrap(), "erp"), Some(&json!("")));
    world.nothing_lost().await;
}

async fn a_deleted_customer_is_kept(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    let id = put(&world, "new@example.com");
    world.settle().await;
    world.commercetools.delete("customers", &id);
    world.settle().await;

    assert_eq!(known(&world, &id).unwrap()["primaryEmail"], "new@example.com");
    assert!(world.parked().await.is_empty());
    world.nothing_lost().await;
}

async fn an_erased_customer_is_anonymous(engine: Engine) {
    let Some(world) = with(engine, "    customer: { addresses: default }").await else { return };
    let order = world.commercetools.order(Some("1")).customer(ADA).place();
    world.settle().await;
    world.arrived(&order);
    let before = known(&world, ADA).unwrap();
    assert!(attribute(&before, "defaultShippingAddress").is_some_and(Value::is_object));
    let created = world.newest("commercetools.order-created").await.id;
    assert!(body(&world, created).await.is_some());
    world.commercetools.erase("customers", ADA);
    world.settle().await;

    let after = known(&world, ADA).unwrap();
    for member in ["title", "firstName", "lastName", "primaryPhone"] {
        assert_eq!(after[member], "", "{member}");
    }
    assert_eq!(after["primaryEmail"], format!("{ADA}@erased.invalid"));
    assert_eq!(attribute(&after, "defaultShippingAddress"), Some(&json!("")));
    assert_eq!(after["id"], before["id"]);
    assert_eq!(body(&world, created).await, None, "what we received of that person is gone");
    let said = world.newest("fluent.anonymise-customer").await.detail.unwrap();
    assert!(said.contains("the addresses inside 1 orders stay there"), "{said}");
    world.nothing_lost().await;
}

/// The Fluent customer with this user name.
fn known(world: &World, id: &str) -> Option<Value> {
    world.fluent.customers().into_iter().find(|customer| customer["username"] == id)
}

fn edit(world: &World, id: &str, change: impl FnOnce(&mut Value)) {
    world.commercetools.edit("customers", id, change).unwrap();
}

fn put(world: &World, email: &str) -> String {
    let document = json!({
        "email": email, "firstName": "New", "lastName": "Comer", "addresses": [], "isEmailVerified": false,
        "shippingAddressIds": [], "billingAddressIds": [], "stores": [], "authenticationMode": "Password",
        "customerGroupAssignments": [],
    });
    world.commercetools.put("customers", document)["id"].as_str().unwrap().to_owned()
}

async fn body(world: &World, id: uuid::Uuid) -> Option<Vec<u8>> {
    world.daemons[0].app.store().read().await.unwrap().message_body(id).await.unwrap()
}

async fn with(engine: Engine, connection: &str) -> Option<World> {
    World::with(engine, Settings { connection: connection.into(), ..Settings::default() }).await
}
