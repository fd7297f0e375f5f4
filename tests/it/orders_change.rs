//! Stories of orders that change after Fluent has them, and of their payments.

use std::time::Duration;

use fluent_connector::simulator::commercetools::{ADA, ARTICLES};
use fluent_connector::simulator::{Fault, Rule};
use serde_json::{Value, json};

use crate::database::Engine;
use crate::on_both_databases;
use crate::world::look::attribute;
use crate::world::{Settings, World};

on_both_databases! {
    each_change_reaches_its_place,
    the_poll_finds_a_change_that_nobody_told_of,
    an_older_message_after_a_newer_one_changes_nothing,
    a_lost_answer_is_no_loss,
    a_change_that_is_too_late_is_parked_and_told_once,
    an_edited_order_is_reported_once,
    an_edited_order_may_be_an_event,
    a_billing_address_cannot_be_added,
    a_change_while_the_order_is_created_is_not_lost,
    our_own_updates_are_no_changes,
    an_attribute_that_is_gone_becomes_empty,
    a_later_refund_is_sent_once,
    a_payment_that_is_added_later_is_sent,
    the_poll_finds_a_payment_that_nobody_told_of,
    a_lost_answer_is_no_second_transaction,
    a_transaction_of_another_amount_is_named,
    a_payment_of_an_order_on_its_way_waits,
    payments_of_nobody_are_left_alone,
}

async fn each_change_reaches_its_place(engine: Engine) {
    let rules = "    order: { attributes: [{ from: custom.fields.gift, to: gift, type: STRING }] }";
    let Some(world) = with(engine, rules).await else { return };
    let id = placed(&world).await;
    let before = world.fluent_order(&id);
    change(&world, &id, |order| {
        order["billingAddress"]["city"] = "Bonn".into();
        order["shippingAddress"]["city"] = "Kiel".into();
        order["shippingAddress"]["additionalAddressInfo"] = "Second bell".into();
        order["custom"] = json!({"type": {"typeId": "type", "id": "t"}, "fields": {"gift": "Hooray"}});
    });
    world.settle().await;

    let after = world.fluent_order(&id);
    assert_eq!(after["billingAddress"]["city"], "Bonn");
    let choice = &after["fulfilmentChoices"][0];
    assert_eq!(choice["deliveryAddress"]["city"], "Kiel");
    assert_eq!(choice["deliveryInstruction"], "Second bell");
    assert_eq!(attribute(&after, "gift"), Some(&json!("Hooray")));
    for member in ["id", "totalPrice", "items"] {
        assert_eq!(after[member], before[member], "{member}");
    }
    for operation in ["UpdateOrder", "UpdateFulfilmentChoice", "UpdateCustomerAddress"] {
        assert_eq!(world.fluent_requests(operation).len(), 1, "{operation}");
    }
    assert!(world.parked().await.is_empty());
    world.nothing_lost().await;
}

async fn the_poll_finds_a_change_that_nobody_told_of(engine: Engine) {
    let Some(world) = World::with(engine, Settings { without_push: true, ..Settings::default() }).await else { return };
    let id = world.commercetools.order(Some("1")).customer(ADA).place();
    world.pass(Duration::from_secs(240), Duration::from_secs(60)).await;
    assert_eq!(world.fluent_orders(&id).len(), 1);
    change(&world, &id, |order| order["billingAddress"]["city"] = "Bonn".into());
    // Our own update comes after it and must not hide it.
    world.fluent.set_order_status("HD_1", "BOOKED");
    world.pass(Duration::from_secs(240), Duration::from_secs(60)).await;

    assert_eq!(world.fluent_order(&id)["billingAddress"]["city"], "Bonn");
    world.nothing_lost().await;
}

async fn an_older_message_after_a_newer_one_changes_nothing(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    let id = placed(&world).await;
    for city in ["Bonn", "Kiel"] {
        change(&world, &id, move |order| order["billingAddress"]["city"] = city.into());
        world.settle().await;
    }
    let older =
        world.commercetools.notifications().into_iter().find(|it| it["type"] == "OrderBillingAddressSet").unwrap();
    let mut again = older.clone();
    again["sequenceNumber"] = 99.into();
    world.commercetools.deliver(&older).await;
    world.commercetools.deliver(&again).await;
    world.settle().await;

    assert_eq!(world.fluent_order(&id)["billingAddress"]["city"], "Kiel");
    assert_eq!(world.fluent_requests("UpdateOrder").len(), 2);
    world.nothing_lost().await;
}

async fn a_lost_answer_is_no_loss(engine: Engine) {
    for fault in [Fault::LostAnswer, Fault::ErrorBefore(500)] {
        let Some(world) = World::new(engine).await else { return };
        let id = placed(&world).await;
        world.fluent.front().fault(once(fault, "UpdateOrder"));
        change(&world, &id, |order| order["billingAddress"]["city"] = "Bonn".into());
        world.settle().await;
        world.pass(Duration::from_secs(120), Duration::from_secs(10)).await;

        assert_eq!(world.fluent_order(&id)["billingAddress"]["city"], "Bonn");
        assert!(world.parked().await.is_empty());
        world.nothing_lost().await;
    }
}

async fn a_change_that_is_too_late_is_parked_and_told_once(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    let id = placed(&world).await;
    world.fluent.set_order_status("HD_1", "PICK_PACK");
    world.settle().await;
    change(&world, &id, |order| order["shippingAddress"]["city"] = "Kiel".into());
    world.settle().await;
    let parked = world.the_parked().await;
    let sentence = parked.detail.clone().unwrap();
    assert_eq!(sentence, "The address of order 1 changed, but Fluent is already at PICK_PACK. Tell the store.");

    change(&world, &id, |order| order["paymentState"] = "Pending".into());
    world.settle().await;
    assert_eq!(world.parked().await.len(), 1, "nothing new about the address");
    world.fluent.set_order_status("HD_1", "BOOKED");
    world.settle().await;
    world.retry(&parked).await;
    assert_eq!(world.fluent_order(&id)["fulfilmentChoices"][0]["deliveryAddress"]["city"], "Kiel");
    world.nothing_lost().await;
}

async fn an_edited_order_is_reported_once(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    let id = placed(&world).await;
    halve(&world, &id);
    world.settle().await;
    let sku = ARTICLES[0].sku;
    let sentence = world.the_parked().await.detail.unwrap();
    assert_eq!(sentence, format!("Order 1 was edited: {sku} 2 → 1. Fluent cannot take this; edit it there or cancel."));
    change(&world, &id, |order| order["billingAddress"]["city"] = "Bonn".into());
    world.settle().await;

    assert_eq!(world.fluent_order(&id)["billingAddress"]["city"], "Bonn");
    assert_eq!(world.parked().await.len(), 1);
    world.nothing_lost().await;
}

async fn an_edited_order_may_be_an_event(engine: Engine) {
    let Some(world) = with(engine, "    order_change: { lines: event }").await else { return };
    let id = placed(&world).await;
    halve(&world, &id);
    world.settle().await;

    let event = world.fluent_requests("event/sync").remove(0).request;
    assert_eq!((&event["name"], &event["entityRef"]), (&json!("OrderAmended"), &json!("HD_1")));
    assert_eq!(event["attributes"]["changed"][0]["quantity"], 1);
    // The reference workflow has no ruleset for it.
    let sentence = world.the_parked().await.detail.unwrap();
    assert!(sentence.ends_with("Fluent does not take OrderAmended at CREATED; edit it there or cancel."), "{sentence}");
    world.nothing_lost().await;
}

async fn a_billing_address_cannot_be_added(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    let bare = |order: &mut Value| drop(order.as_object_mut().unwrap().remove("billingAddress"));
    let id = world.commercetools.order(Some("1")).customer(ADA).changed(bare).place();
    world.settle().await;
    change(&world, &id, |order| order["billingAddress"] = json!({"city": "Bonn", "country": "DE"}));
    world.settle().await;

    let sentence = world.the_parked().await.detail.unwrap();
    assert_eq!(sentence, "Order 1 got a billing address after it was sent; Fluent cannot add one later.");
    world.nothing_lost().await;
}

/// The first create was done, though its answer got lost; what changed meanwhile follows.
async fn a_change_while_the_order_is_created_is_not_lost(engine: Engine) {
    let Some(world) = World::with(engine, Settings { without_push: true, ..Settings::default() }).await else { return };
    world.fluent.front().fault(once(Fault::LostAnswer, "CreateOrder"));
    let id = world.commercetools.order(Some("1")).customer(ADA).place();
    world.advance(Duration::from_secs(61)).await;
    assert_eq!(world.fluent_orders(&id).len(), 1);
    change(&world, &id, |order| order["billingAddress"]["city"] = "Bonn".into());
    world.advance(Duration::from_secs(3)).await;

    assert_eq!(world.fluent_order(&id)["billingAddress"]["city"], "Bonn");
    assert_eq!(world.fluent_requests("CreateOrder").len(), 1);
    world.nothing_lost().await;
}

async fn our_own_updates_are_no_changes(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    let id = placed(&world).await;
    let reads = || world.shop_requests("GET /orders/{id}").len();
    let before = reads();
    for status in ["RECEIVED", "BOOKED", "PICK_PACK"] {
        world.fluent.set_order_status("HD_1", status);
        world.pass(Duration::from_secs(180), Duration::from_secs(60)).await;
    }
    assert_eq!(world.states(&id)[0], "Confirmed");
    assert_eq!(reads(), before, "neither messages nor polls make us read what we wrote");
    world.nothing_lost().await;
}

async fn an_attribute_that_is_gone_becomes_empty(engine: Engine) {
    let rules = "    order: { attributes: [{ from: purchaseOrderNumber, to: po, type: STRING }] }";
    let Some(world) = with(engine, rules).await else { return };
    let number = |order: &mut Value| order["purchaseOrderNumber"] = "PO-1".into();
    let id = world.commercetools.order(Some("1")).customer(ADA).changed(number).place();
    world.settle().await;
    assert_eq!(attribute(&world.fluent_order(&id), "po"), Some(&json!("PO-1")));
    change(&world, &id, |order| {
        order.as_object_mut().unwrap().remove("purchaseOrderNumber");
        order["paymentState"] = "Paid".into();
    });
    world.settle().await;

    assert_eq!(attribute(&world.fluent_order(&id), "po"), Some(&json!("")));
    world.nothing_lost().await;
}

async fn a_later_refund_is_sent_once(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    let id = placed(&world).await;
    let payment = payment_of(&world, &id);
    add_transaction(&world, &payment, "refund-1", "Refund", "Pending", 500);
    world.settle().await;
    assert_eq!(world.fluent.transactions().len(), 1, "it may still fail");
    world.commercetools.edit("payments", &payment, |payment| payment["transactions"][1]["state"] = "Success".into());
    world.settle().await;
    let told = world.commercetools.notifications();
    let told = told.into_iter().find(|it| it["type"] == "PaymentTransactionStateChanged").unwrap();
    world.commercetools.deliver(&told).await;
    world.pass(Duration::from_secs(900), Duration::from_secs(60)).await;

    let transactions = world.fluent.transactions();
    assert_eq!(transactions.len(), 2);
    assert_eq!((&transactions[1]["ref"], &transactions[1]["type"]), (&json!("refund-1"), &json!("REFUND")));
    assert_eq!(transactions[1]["total"], json!(5));
    assert_eq!(world.fluent_requests("CreateFinancialTransaction").len(), 1);
    world.nothing_lost().await;
}

async fn a_payment_that_is_added_later_is_sent(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    let id = world.commercetools.order(Some("1")).customer(ADA).place();
    world.settle().await;
    assert!(world.fluent.transactions().is_empty());
    let payment = put_payment(&world, "charge-1", 2_999);
    change(&world, &id, move |order| {
        order["paymentInfo"] = json!({"payments": [{"typeId": "payment", "id": payment}]});
    });
    world.settle().await;

    assert_eq!(world.fluent.transactions()[0]["ref"], "charge-1");
    world.arrived(&id);
    world.nothing_lost().await;
}

async fn the_poll_finds_a_payment_that_nobody_told_of(engine: Engine) {
    let Some(world) = World::with(engine, Settings { without_push: true, ..Settings::default() }).await else { return };
    let id = world.commercetools.order(Some("1")).customer(ADA).payment("PAYPAL", 2_999).place();
    world.pass(Duration::from_secs(120), Duration::from_secs(60)).await;
    let payment = payment_of(&world, &id);
    add_transaction(&world, &payment, "refund-1", "Refund", "Success", 500);
    world.pass(Duration::from_secs(900), Duration::from_secs(60)).await;

    assert_eq!(world.fluent.transactions().len(), 2);
    assert_eq!(world.fluent_requests("CreateFinancialTransaction").len(), 1);
    world.nothing_lost().await;
}

async fn a_lost_answer_is_no_second_transaction(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    let id = placed(&world).await;
    world.fluent.front().fault(once(Fault::LostAnswer, "CreateFinancialTransaction"));
    add_transaction(&world, &payment_of(&world, &id), "refund-1", "Refund", "Success", 500);
    world.settle().await;
    world.pass(Duration::from_secs(120), Duration::from_secs(10)).await;

    assert_eq!(world.fluent.transactions().len(), 2);
    assert_eq!(world.fluent_requests("CreateFinancialTransaction").len(), 1, "it was looked up");
    assert!(world.parked().await.is_empty());
    world.nothing_lost().await;
}

async fn a_transaction_of_another_amount_is_named(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    let id = placed(&world).await;
    let order = world.fluent_order(&id);
    let theirs = json!({"ref": "refund-1", "type": "REFUND", "amount": 4, "currency": "EUR", "paymentMethod": "OTHER",
                        "order": {"id": order["id"]}});
    world.fluent.add_transaction(theirs).unwrap();
    add_transaction(&world, &payment_of(&world, &id), "refund-1", "Refund", "Success", 500);
    world.settle().await;

    let sentence = world.the_parked().await.detail.unwrap();
    assert_eq!(sentence, "Fluent already holds transaction refund-1 with 4, commercetools says 5.");
    world.nothing_lost().await;
}

async fn a_payment_of_an_order_on_its_way_waits(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    world.fluent.front().fault(Rule { times: Some(2), ..once(Fault::ErrorBefore(503), "CreateOrder") });
    let id = world.commercetools.order(Some("1")).customer(ADA).payment("PAYPAL", 2_999).place();
    world.settle().await;
    add_transaction(&world, &payment_of(&world, &id), "refund-1", "Refund", "Success", 500);
    world.settle().await;
    assert_eq!(
        world.newest("commercetools.payment-changed").await.detail.unwrap(),
        "Waiting for order 1 to reach Fluent."
    );
    world.pass(Duration::from_secs(900), Duration::from_secs(5)).await;

    let refs: Vec<Value> = world.fluent.transactions().into_iter().map(|it| it["ref"].clone()).collect();
    assert_eq!(refs.len(), 2, "{refs:?}");
    assert!(world.parked().await.is_empty());
    world.nothing_lost().await;
}

async fn payments_of_nobody_are_left_alone(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    let payment = put_payment(&world, "charge-1", 2_999);
    add_transaction(&world, &payment, "charge-2", "Charge", "Success", 1);
    world.settle().await;

    let row = world.newest("commercetools.payment-changed").await;
    assert_eq!((row.state.as_str(), row.reason.as_deref()), ("skipped", Some("ignored")));
    world.nothing_lost().await;
}

/// Order 1 of two pieces, in Fluent.
async fn placed(world: &World) -> String {
    let article = ARTICLES[0];
    let draft = world.commercetools.order(Some("1")).customer(ADA).line(article.sku, 2, article.cent_amount);
    let id = draft.payment("PAYPAL", 2 * article.cent_amount).place();
    world.settle().await;
    world.arrived(&id);
    id
}

fn change(world: &World, id: &str, change: impl FnOnce(&mut Value)) {
    world.commercetools.edit("orders", id, change).unwrap();
}

/// One piece instead of two, with all amounts.
fn halve(world: &World, id: &str) {
    change(world, id, |order| {
        order["lineItems"][0]["quantity"] = 1.into();
        halve_amounts(&mut order["lineItems"][0]);
        for member in ["totalPrice", "taxedPrice"] {
            halve_amounts(&mut order[member]);
        }
    });
}

fn halve_amounts(value: &mut Value) {
    match value {
        Value::Object(members) => {
            if let Some(cents) = members.get("centAmount").and_then(Value::as_i64) {
                members.insert("centAmount".into(), (cents / 2).into());
            }
            members.iter_mut().filter(|(name, _)| *name != "price").for_each(|(_, value)| halve_amounts(value));
        }
        Value::Array(values) => values.iter_mut().for_each(halve_amounts),
        _ => {}
    }
}

fn payment_of(world: &World, id: &str) -> String {
    world.shop_order(id)["paymentInfo"]["payments"][0]["id"].as_str().unwrap().to_owned()
}

fn transaction(id: &str, kind: &str, state: &str, cents: i64) -> Value {
    let amount = json!({"type": "centPrecision", "currencyCode": "EUR", "centAmount": cents, "fractionDigits": 2});
    json!({"id": id, "type": kind, "state": state, "amount": amount, "interactionId": format!("psp-{id}")})
}

fn add_transaction(world: &World, payment: &str, id: &str, kind: &str, state: &str, cents: i64) {
    let transaction = transaction(id, kind, state, cents);
    let add = |payment: &mut Value| payment["transactions"].as_array_mut().unwrap().push(transaction);
    world.commercetools.edit("payments", payment, add).unwrap();
}

/// A payment that belongs to no order yet.
fn put_payment(world: &World, charge: &str, cents: i64) -> String {
    let transaction = transaction(charge, "Charge", "Success", cents);
    let document = json!({
        "interfaceId": "PSP-9", "amountPlanned": transaction["amount"], "paymentStatus": {},
        "paymentMethodInfo": {"paymentInterface": "Adyen", "method": "CREDIT_CARD"},
        "transactions": [transaction], "interfaceInteractions": [],
    });
    world.commercetools.put("payments", document)["id"].as_str().unwrap().to_owned()
}

async fn with(engine: Engine, connection: &str) -> Option<World> {
    World::with(engine, Settings { connection: connection.into(), ..Settings::default() }).await
}

fn once(fault: Fault, operation: &str) -> Rule {
    Rule { fault, operation: Some(operation.into()), times: Some(1), rate: 1.0 }
}
