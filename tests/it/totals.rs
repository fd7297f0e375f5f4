//! Stories of money: what commercetools says an order costs is what Fluent gets, to the cent.

use fluent_connector::simulator::commercetools::{ADA, ARTICLES};
use serde_json::{Value, json};

use crate::database::Engine;
use crate::on_both_databases;
use crate::world::look::{attribute, cents};
use crate::world::{Settings, World};

on_both_databases! {
    discounts_fees_and_vouchers_add_up,
    awkward_prices_add_up,
    an_order_that_does_not_add_up_is_parked,
    a_fee_becomes_an_item_if_configured,
    payments_count_once,
}

async fn discounts_fees_and_vouchers_add_up(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    let id = whole_order(&world);
    world.settle().await;

    let order = world.arrived(&id);
    rows_add_up(&order);
    let list_prices: Vec<i64> =
        items(&order).iter().map(|item| (number(&item["price"]) * 10_000.0).round() as i64).collect();
    assert_eq!(list_prices, [252_017, 108_403], "the list price, before all discounts, without tax");
    assert_eq!(items(&order).len(), 2, "a fee is not sourced");
    assert_eq!(
        entries(&order).iter().map(|it| it["slug"].as_str().unwrap()).collect::<Vec<_>>(),
        ["wrapping", "voucher"]
    );
    world.nothing_lost().await;
}

async fn awkward_prices_add_up(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    let [first, second, third, ..] = ARTICLES;
    let mut ids = Vec::new();
    for (number, (rate, included)) in
        [(1900, true), (700, true), (770, false), (825, false), (0, true)].iter().enumerate()
    {
        for discount in [0, 1, 333, 1_777] {
            let order = world.commercetools.order(Some(&format!("{number}-{discount}"))).guest("sam@example.org");
            let order = order.line(first.sku, 3, 333).line(second.sku, 7, 129).line(third.sku, 1, 5_999).shipping(495);
            ids.push(order.tax(*rate, *included).total_discount(discount).place());
        }
    }
    world.settle().await;

    for id in ids {
        rows_add_up(&world.arrived(&id));
    }
    assert!(world.parked().await.is_empty());
    world.nothing_lost().await;
}

async fn an_order_that_does_not_add_up_is_parked(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    let wrong = |order: &mut Value| order["taxedPrice"]["totalNet"]["centAmount"] = 2_620.into();
    world.commercetools.order(Some("1")).customer(ADA).changed(wrong).place();
    world.settle().await;

    let sentence = world.the_parked().await.detail.unwrap();
    assert_eq!(sentence, "Order 1 does not add up: lines and shipping give 25.20, the order says 26.20 EUR.");
    assert!(world.fluent.orders().is_empty());
    world.nothing_lost().await;
}

async fn a_fee_becomes_an_item_if_configured(engine: Engine) {
    let connection = "    order: { custom_line_item_product_refs: { wrapping: WRAP-1, voucher: WRAP-1 } }".into();
    let Some(world) = World::with(engine, Settings { connection, ..Settings::default() }).await else { return };
    world.fluent.add_product("WRAP-1");
    let id = whole_order(&world);
    world.settle().await;

    let order = world.arrived(&id);
    rows_add_up(&order);
    let refs: Vec<&str> = items(&order).iter().map(|item| item["product"]["ref"].as_str().unwrap()).collect();
    assert_eq!(refs, [ARTICLES[0].sku, ARTICLES[8].sku, "WRAP-1"]);
    assert_eq!(entries(&order)[0]["slug"], "voucher", "a negative one is never an item");
    world.nothing_lost().await;
}

async fn payments_count_once(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    let one = |id: &str, kind: &str, state: &str, cents: i64| json!({"id": id, "type": kind, "state": state, "amount": money(cents), "interactionId": format!("psp-{id}")});
    let payments = [
        json!([one("authorized", "Authorization", "Success", 1_000)]),
        json!([one("a2", "Authorization", "Success", 1_000), one("charged", "Charge", "Success", 999)]),
        json!([one("a3", "Authorization", "Success", 500), one("c3", "Charge", "Failure", 500)]),
        json!([one("failed", "Charge", "Failure", 700), one("pending", "Charge", "Pending", 700)]),
        json!([
            one("c5", "Charge", "Success", 300),
            one("r5", "Refund", "Success", 100),
            one("b5", "Chargeback", "Success", 9)
        ]),
    ];
    let payments = payments.map(|transactions| {
        let method = json!({"paymentInterface": "Adyen", "method": "CREDIT_CARD"});
        let payment = json!({"amountPlanned": money(1_000), "paymentMethodInfo": method, "paymentStatus": {},
                             "transactions": transactions, "interfaceInteractions": []});
        json!({"typeId": "payment", "id": world.commercetools.put("payments", payment)["id"]})
    });
    let paid = move |order: &mut Value| order["paymentInfo"] = json!({"payments": payments});
    let id = world.commercetools.order(Some("1")).customer(ADA).changed(paid).place();
    world.settle().await;

    let order = world.fluent_order(&id);
    let mut transactions: Vec<String> = order["financialTransactions"].as_array().unwrap().iter().map(shown).collect();
    transactions.sort();
    assert_eq!(
        transactions,
        ["PAYMENT a3 500", "PAYMENT authorized 1000", "PAYMENT c5 300", "PAYMENT charged 999", "REFUND r5 100"]
    );
    world.nothing_lost().await;
}

/// Product discount, line discount, fee, voucher, shipping and a discount on the total.
fn whole_order(world: &World) -> String {
    let [tee, socks] = [ARTICLES[0], ARTICLES[8]];
    let order = world.commercetools.order(Some("10001")).customer(ADA);
    let order = order.line(tee.sku, 2, tee.cent_amount).line(socks.sku, 3, socks.cent_amount);
    order.shipping(495).total_discount(333).payment("CREDIT_CARD", 8_000).changed(cheaper).place()
}

fn cheaper(order: &mut Value) {
    order["lineItems"][0]["price"]["discounted"] =
        json!({"value": money(2_399), "discount": {"typeId": "product-discount", "id": "summer"}});
    let custom = |id: &str, slug: &str, cents: i64| {
        json!({"id": id, "slug": slug, "name": {"en-GB": slug}, "money": money(cents), "quantity": 1, "state": [],
               "taxRate": order["lineItems"][0]["taxRate"], "priceMode": "Standard", "discountedPricePerQuantity": [],
               "perMethodTaxRate": [], "taxedPricePortions": []})
    };
    order["customLineItems"] = json!([custom("fee-1", "wrapping", 250), custom("voucher-1", "voucher", -500)]);
    for (row, gross) in [
        ("/lineItems/0", 2 * 2_399),
        ("/lineItems/1", 3 * 1_290 - 387),
        ("/customLineItems/0", 250),
        ("/customLineItems/1", -500),
    ] {
        let row = order.pointer_mut(row).unwrap();
        (row["totalPrice"], row["taxedPrice"]) = (money(gross), taxed(gross));
    }
    let rows = order["lineItems"].as_array().unwrap().iter().chain(order["customLineItems"].as_array().unwrap());
    let rows: Vec<Value> = rows.chain([&order["shippingInfo"]]).map(|row| row["taxedPrice"].clone()).collect();
    let discount = &order["discountOnTotalPrice"];
    let sum = |field: &str, discount: &Value| -> i64 {
        let cents = |amount: &Value| amount["centAmount"].as_i64().unwrap();
        rows.iter().map(|row| cents(&row[field])).sum::<i64>() - cents(discount)
    };
    let net = sum("totalNet", &discount["discountedNetAmount"]);
    let gross = sum("totalGross", &discount["discountedGrossAmount"]);
    order["taxedPrice"] = taxes(net, gross);
    order["totalPrice"] = money(gross);
}

/// A price with 19 % in it.
fn taxed(gross: i64) -> Value {
    taxes((gross as f64 / 1.19).round() as i64, gross)
}

fn taxes(net: i64, gross: i64) -> Value {
    json!({"totalNet": money(net), "totalGross": money(gross), "totalTax": money(gross - net), "taxPortions": []})
}

fn money(cents: i64) -> Value {
    json!({"type": "centPrecision", "currencyCode": "EUR", "centAmount": cents, "fractionDigits": 2})
}

/// Items, shipping and custom lines give the order's totals, net and tax, rounding told apart.
fn rows_add_up(order: &Value) {
    let choice = &order["fulfilmentChoices"][0];
    let entries = entries(order);
    let text =
        |entry: &Value, field: &str| (entry[field].as_str().unwrap().parse::<f64>().unwrap() * 100.0).round() as i64;
    let of_items = |field: &str| items(order).iter().map(|item| cents(&item[field])).sum::<i64>();
    let of_entries = |field: &str| entries.iter().map(|entry| text(entry, field)).sum::<i64>();
    let rounding = attribute(order, "commercetoolsRoundingDifference")
        .map_or(0, |value| (value.as_str().unwrap().parse::<f64>().unwrap() * 100.0).round() as i64);
    let net = of_items("totalPrice") + cents(&choice["fulfilmentPrice"]) + of_entries("totalPrice") + rounding;
    assert_eq!(net, cents(&order["totalPrice"]), "{order:#}");
    let tax = of_items("totalTaxPrice") + cents(&choice["fulfilmentTaxPrice"]) + of_entries("totalTaxPrice");
    let rows = items(order).len() + entries.len() + 1;
    assert!((tax - cents(&order["totalTaxPrice"])).abs() <= rows as i64, "{order:#}");
}

fn items(order: &Value) -> &Vec<Value> {
    order["items"].as_array().unwrap()
}

fn entries(order: &Value) -> Vec<Value> {
    let entries = attribute(order, "commercetoolsCustomLineItems").and_then(Value::as_array);
    entries.cloned().unwrap_or_default()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

fn shown(transaction: &Value) -> String {
    let text = |field: &str| transaction[field].as_str().unwrap().to_owned();
    format!("{} {} {}", text("type"), text("ref"), cents(&transaction["total"]))
}
