//! Stories of orders that are in Fluent already when the connector comes.

use fluent_connector::simulator::commercetools::{ADA, ARTICLES};
use serde_json::{Value, json};

use crate::database::Engine;
use crate::on_both_databases;
use crate::world::World;

on_both_databases! {
    an_order_of_another_connector_is_taken_over,
    another_order_under_our_ref_is_parked,
    an_order_with_another_identity_under_our_ref_is_parked,
    another_order_under_a_foreign_ref_does_not_matter,
    a_transaction_of_another_amount_is_parked,
    a_big_order_of_another_connector_is_taken_over,
}

async fn an_order_of_another_connector_is_taken_over(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    let theirs = world.foreign_order(json!({}));
    let (payments, refs) = two_payments(&world);
    // The other connector had brought the first payment already.
    let transaction = json!({"ref": refs[0], "type": "PAYMENT", "amount": 20, "currency": "EUR", "order": {"id": theirs},
                             "paymentMethod": "CREDITCARD"});
    world.fluent.add_transaction(transaction).unwrap();
    let id = world.commercetools.order(Some("10001")).customer(ADA).changed(payments).place();
    world.settle().await;

    assert!(world.fluent_requests("CreateOrder").is_empty());
    assert_eq!(world.links(&id), [theirs.as_str()]);
    let mut transactions: Vec<String> =
        world.fluent.transactions().iter().map(|it| it["ref"].as_str().unwrap().to_owned()).collect();
    transactions.sort();
    assert_eq!(transactions, refs, "what was missing was added, nothing doubled");
    world.fluent.set_order_status("10001", "BOOKED");
    world.settle().await;
    assert_eq!(world.states(&id), ["Confirmed", "Pending"]);
    world.nothing_lost().await;
}

async fn another_order_under_our_ref_is_parked(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    for (number, different) in [
        json!({"skus": [ARTICLES[1].sku]}),
        json!({"totalPrice": 25.21}),
        json!({"skus": [ARTICLES[0].sku, ARTICLES[0].sku]}),
    ]
    .into_iter()
    .enumerate()
    {
        let mut order = json!({"ref": format!("HD_{number}")});
        order.as_object_mut().unwrap().extend(different.as_object().unwrap().clone());
        world.foreign_order(order);
        let id = world.commercetools.order(Some(&number.to_string())).customer(ADA).place();
        world.settle().await;

        let parked = world.the_parked().await;
        let sentence = format!("Fluent already has an order HD_{number} that is a different order.");
        assert_eq!(parked.detail, Some(sentence));
        assert!(world.links(&id).is_empty());
        skip(&world, &parked).await;
    }
    assert_eq!(world.fluent.orders().len(), 3);
    world.nothing_lost().await;
}

async fn an_order_with_another_identity_under_our_ref_is_parked(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    let identity = json!([{"name": "commercetoolsOrderId", "type": "STRING", "value": "another"}]);
    world.foreign_order(json!({"ref": "HD_10001", "attributes": identity}));
    let id = world.commercetools.order(Some("10001")).customer(ADA).place();
    world.settle().await;

    let sentence = world.the_parked().await.detail.unwrap();
    assert_eq!(sentence, "Fluent already has an order HD_10001 that is a different order.");
    assert!(world.links(&id).is_empty());
    world.nothing_lost().await;
}

async fn another_order_under_a_foreign_ref_does_not_matter(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    world.foreign_order(json!({"skus": [ARTICLES[2].sku]}));
    let id = world.commercetools.order(Some("10001")).customer(ADA).payment("PAYPAL", 2_999).place();
    world.settle().await;

    assert_eq!(world.arrived(&id)["ref"], "HD_10001");
    assert_eq!(world.fluent.orders().len(), 2);
    world.nothing_lost().await;
}

async fn a_transaction_of_another_amount_is_parked(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    let theirs = world.foreign_order(json!({}));
    let (payments, refs) = two_payments(&world);
    let transaction = json!({"ref": refs[0], "type": "PAYMENT", "amount": 19, "currency": "EUR", "order": {"id": theirs},
                             "paymentMethod": "CREDITCARD"});
    world.fluent.add_transaction(transaction).unwrap();
    world.commercetools.order(Some("10001")).customer(ADA).changed(payments).place();
    world.settle().await;

    let sentence = world.the_parked().await.detail.unwrap();
    assert_eq!(sentence, "Fluent already holds transaction charge-1 with 19, commercetools says 20.");
    assert_eq!(world.fluent.transactions().len(), 1);
    world.nothing_lost().await;
}

/// More rows than one page of a look-up holds.
async fn a_big_order_of_another_connector_is_taken_over(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    let skus: Vec<String> = (0..130).map(|number| format!("BULK-{number}")).collect();
    world.fluent.seed_shop(&skus.iter().map(String::as_str).collect::<Vec<_>>());
    let mut order = world.commercetools.order(Some("10001")).customer(ADA);
    for sku in &skus {
        order = order.line(sku, 1, 119);
    }
    let theirs = world.foreign_order(json!({"skus": skus, "totalPrice": 130, "totalTaxPrice": 24.7}));
    let id = order.place();
    world.settle().await;

    assert_eq!(world.links(&id), [theirs.as_str()], "{:?}", world.parked().await);
    world.nothing_lost().await;
}

/// Charges of 20 and 9.99, and their ids.
fn two_payments(world: &World) -> (impl FnOnce(&mut Value) + 'static, [String; 2]) {
    let payments = [2_000, 999].map(|cents| {
        let amount = json!({"type": "centPrecision", "currencyCode": "EUR", "centAmount": cents, "fractionDigits": 2});
        let number = if cents == 999 { 2 } else { 1 };
        let charge = json!({"id": format!("charge-{number}"), "type": "Charge", "state": "Success", "amount": amount});
        let payment = json!({"amountPlanned": amount, "paymentMethodInfo": {"method": "CREDIT_CARD"}, "paymentStatus": {},
                             "transactions": [charge], "interfaceInteractions": []});
        json!({"typeId": "payment", "id": world.commercetools.put("payments", payment)["id"]})
    });
    let paid = move |order: &mut Value| order["paymentInfo"] = json!({"payments": payments});
    (paid, ["charge-1".into(), "charge-2".into()])
}

async fn skip(world: &World, row: &fluent_connector::store::Row) {
    let id = row.id;
    let skip = world.daemons[0].app.store().write(fluent_connector::store::Urgency::Urgent, move |tx| {
        Box::pin(async move { tx.skip_parked(id, "seen").await })
    });
    assert!(skip.await.unwrap());
}
