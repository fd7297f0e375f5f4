//! Stories of buyers: guests and registered customers of orders.

use fluent_connector::simulator::commercetools::{ADA, BORIS};
use serde_json::{Value, json};

use crate::database::Engine;
use crate::on_both_databases;
use crate::world::World;
use crate::world::look::attribute;

on_both_databases! {
    a_guest_comes_before_the_order,
    a_guest_who_comes_again_is_the_same_customer,
    two_orders_of_one_new_guest_at_once,
    a_registered_customer_is_created_once,
    a_customer_is_adopted_by_user_name,
    a_customer_is_adopted_by_email,
    a_customer_of_somebody_else_is_not_adopted,
    a_customer_who_is_gone_orders_as_a_guest,
    a_user_name_of_somebody_else_parks_the_order,
}

const SAM: &str = "Sam.Reyes@example.org";

async fn a_guest_comes_before_the_order(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    let id = world.commercetools.order(None).guest(SAM).shipping(495).payment("PAYPAL", 3494).place();
    world.settle().await;

    let order = world.arrived(&id);
    assert_eq!(order["ref"], format!("HD_{id}"), "without a number the id stands for it");
    let customer = the_customer(&world);
    assert_eq!(customer["username"], "guest-0acc1d45e8ba6e2fef23c41d035a584d");
    assert_eq!(customer["primaryEmail"], SAM);
    assert_eq!(attribute(&customer, "commercetoolsGuest"), Some(&json!(true)));
    assert_eq!(order["customer"]["id"], customer["id"]);
    assert!(created(&world, "createCustomer") < created(&world, "createOrder"));
    world.nothing_lost().await;
}

async fn a_guest_who_comes_again_is_the_same_customer(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    let first = world.commercetools.order(Some("1")).guest(SAM).place();
    world.settle().await;
    let married = |order: &mut Value| {
        order["billingAddress"]["lastName"] = "Okafor".into();
        order["billingAddress"]["mobile"] = "+447700900123".into();
    };
    let second = world.commercetools.order(Some("2")).guest("sam.reyes@EXAMPLE.org").changed(married).place();
    world.settle().await;

    let customer = the_customer(&world);
    for id in [first, second] {
        assert_eq!(world.arrived(&id)["customer"]["id"], customer["id"]);
    }
    assert_eq!(customer["lastName"], "Okafor");
    assert_eq!(customer["primaryPhone"], "+447700900123");
    assert_eq!(customer["primaryEmail"], SAM, "only name and phone follow");
    world.nothing_lost().await;
}

async fn two_orders_of_one_new_guest_at_once(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    let latency = std::time::Duration::from_millis(100);
    world.fluent.front().traffic(fluent_connector::simulator::Traffic { limit: None, latency });
    let ids: Vec<String> =
        (0..2).map(|number| world.commercetools.order(Some(&format!("{number}"))).guest(SAM).place()).collect();
    world.settle().await;

    let customer = the_customer(&world);
    for id in ids {
        assert_eq!(world.arrived(&id)["customer"]["id"], customer["id"]);
    }
    assert_eq!(world.fluent_requests("CreateCustomer").len(), 2, "both tried, or this story shows nothing");
    assert_eq!(world.fluent_requests("UpdateCustomer").len(), 1, "the slower one brings its name and phone");
    assert!(world.parked().await.is_empty());
    world.nothing_lost().await;
}

async fn a_registered_customer_is_created_once(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    let first = world.commercetools.order(Some("1")).customer(ADA).place();
    let other = world.commercetools.order(Some("2")).customer(BORIS).place();
    world.settle().await;
    let second = world.commercetools.order(Some("3")).customer(ADA).place();
    world.settle().await;

    let ada = customer(&world, ADA);
    assert_eq!(world.arrived(&first)["customer"]["id"], ada["id"]);
    assert_eq!(world.arrived(&second)["customer"]["id"], ada["id"]);
    assert_eq!(world.arrived(&other)["customer"]["id"], customer(&world, BORIS)["id"]);
    assert_eq!(world.fluent_requests("CreateCustomer").len(), 2);
    assert_eq!((&ada["firstName"], &ada["primaryEmail"]), (&json!("Ada"), &json!("Ada.Lindqvist@Example.com")));
    assert_eq!(attribute(&ada, "commercetoolsId"), Some(&json!(ADA)));
    world.nothing_lost().await;
}

async fn a_customer_is_adopted_by_user_name(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    let known = add_customer(&world, ADA, "old@example.com", json!([]));
    let id = world.commercetools.order(Some("1")).customer(ADA).place();
    world.settle().await;

    assert_eq!(world.arrived(&id)["customer"]["id"], known.as_str());
    let ada = the_customer(&world);
    assert_eq!(
        ada["primaryEmail"], "Ada.Lindqvist@Example.com",
        "what commercetools knows better is brought up to date"
    );
    assert_eq!(attribute(&ada, "commercetoolsId"), Some(&json!(ADA)));
    assert_eq!(world.notes("customer.adopted").await, [format!("The Fluent customer {ADA} was taken over.")]);
    world.nothing_lost().await;
}

async fn a_customer_is_adopted_by_email(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    let known = add_customer(&world, "ada", "Ada.Lindqvist@Example.com", json!([]));
    let first = world.commercetools.order(Some("1")).customer(ADA).place();
    world.settle().await;
    let second = world.commercetools.order(Some("2")).customer(ADA).place();
    world.settle().await;

    for id in [first, second] {
        assert_eq!(world.arrived(&id)["customer"]["id"], known.as_str());
    }
    let ada = the_customer(&world);
    assert_eq!(ada["username"], "ada", "a user name cannot change");
    assert_eq!(attribute(&ada, "commercetoolsId"), Some(&json!(ADA)));
    world.nothing_lost().await;
}

async fn a_customer_of_somebody_else_is_not_adopted(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    let identity = json!([{"name": "commercetoolsId", "type": "STRING", "value": "another-customer"}]);
    let other = add_customer(&world, "ada", "Ada.Lindqvist@Example.com", identity);
    let guest = json!([{"name": "commercetoolsGuest", "type": "BOOLEAN", "value": true}]);
    add_customer(&world, "guest-of-another-shop", "Ada.Lindqvist@Example.com", guest);
    let id = world.commercetools.order(Some("1")).customer(ADA).place();
    world.settle().await;

    assert_eq!(world.arrived(&id)["customer"]["id"], customer(&world, ADA)["id"]);
    assert_eq!(world.fluent.customers().len(), 3);
    let untouched = world.fluent.customers().into_iter().find(|it| it["id"] == other.as_str()).unwrap();
    assert_eq!(attribute(&untouched, "commercetoolsId"), Some(&json!("another-customer")));
    world.nothing_lost().await;
}

async fn a_customer_who_is_gone_orders_as_a_guest(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    let erased = "00000000-0000-4000-8000-000000000000";
    let id = world.commercetools.order(Some("1")).customer(erased).place();
    world.settle().await;

    let customer = the_customer(&world);
    assert_eq!(world.arrived(&id)["customer"]["id"], customer["id"]);
    assert!(customer["username"].as_str().unwrap().starts_with("guest-"), "{customer:#}");
    assert_eq!(customer["primaryEmail"], world.shop_order(&id)["customerEmail"]);
    world.nothing_lost().await;
}

async fn a_user_name_of_somebody_else_parks_the_order(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    let identity = json!([{"name": "commercetoolsId", "type": "STRING", "value": "another-customer"}]);
    add_customer(&world, ADA, "x@example.com", identity);
    world.commercetools.order(Some("1")).customer(ADA).place();
    let other = world.commercetools.order(Some("2")).customer(BORIS).place();
    world.settle().await;

    assert_eq!(
        world.the_parked().await.detail.unwrap(),
        format!(
            "Fluent already has a customer with the user name {ADA} that belongs to another commercetools customer."
        )
    );
    world.arrived(&other);
    assert_eq!(world.fluent.orders().len(), 1);
    world.nothing_lost().await;
}

fn add_customer(world: &World, username: &str, email: &str, attributes: Value) -> String {
    let retailer = world.fluent.options().retailer_id;
    let input = json!({
        "username": username, "primaryEmail": email, "firstName": "A.", "timezone": "UTC", "promotionOptIn": false,
        "retailer": {"id": retailer}, "attributes": attributes,
    });
    world.fluent.add_customer(input).unwrap()
}

fn the_customer(world: &World) -> Value {
    let mut customers = world.fluent.customers();
    assert_eq!(customers.len(), 1, "{customers:#?}");
    customers.remove(0)
}

fn customer(world: &World, username: &str) -> Value {
    let mut customers = world.fluent.customers().into_iter().filter(|customer| customer["username"] == username);
    customers.next().unwrap_or_else(|| panic!("Fluent has no customer {username}"))
}

/// Place of the one creation in Fluent's ledger.
fn created(world: &World, operation: &str) -> u64 {
    let ledger = world.fluent.front().ledger();
    let mut effects = ledger.iter().filter(|effect| effect.operation == operation);
    let (first, more) = (effects.next().unwrap().number, effects.find(|effect| !effect.entity.contains("TRANSACTION")));
    assert!(more.is_none(), "{operation} happened twice");
    first
}
