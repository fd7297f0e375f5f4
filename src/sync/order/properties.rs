//! What holds for every order: sums close, and no document is too strange.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{from_line, payment, to_fluent};
use crate::commercetools::model::{Number, Order};
use crate::failure::Failure;
use crate::sync::customer;
use crate::sync::fixture::{connection, document, read};
use crate::sync::text::Notes;

/// Net, tax and quantity of a row.
type Row = (i64, i64, i64);

/// An order of which net and tax are known, in a currency of `digits` decimals.
#[derive(Clone, Debug)]
struct Books {
    digits: u8,
    lines: Vec<Row>,
    /// The second is whether it stands for a product.
    custom_lines: Vec<(Row, bool)>,
    shipping: Option<Row>,
    /// Net and tax in per mille of the rows.
    discount: Option<(i64, i64)>,
    /// By how much the order misses its rows, in per cent of what is tolerated.
    apart: i64,
    way: Way,
}

/// How the order is delivered; the number says how many per cent of each line go to the second place.
#[derive(Clone, Copy, Debug)]
enum Way {
    Home,
    Pickup,
    /// Two addresses of one shipping: prices of parts are not told.
    Addresses(i64),
    /// Two of three shippings, with prices of parts; the third one has a price and no line.
    Methods(i64),
}

fn way() -> impl Strategy<Value = Way> {
    prop_oneof![
        Just(Way::Home),
        Just(Way::Pickup),
        (0i64..=100).prop_map(Way::Addresses),
        (0i64..=100).prop_map(Way::Methods),
    ]
}

fn books() -> impl Strategy<Value = Books> {
    let row = || (0i64..5_000_000, 0i64..1_000_000, 1i64..50);
    let custom = (-100_000i64..5_000_000, 0i64..1_000_000, 1i64..50);
    (
        0u8..=4,
        prop::collection::vec(row(), 1..8),
        prop::collection::vec((custom, any::<bool>()), 0..4),
        prop::option::of(row()),
        prop::option::of((0i64..=1000, 0i64..=1000)),
        -100i64..=100,
        way(),
    )
        .prop_map(|(digits, lines, custom_lines, shipping, discount, apart, way)| Books {
            digits,
            lines,
            custom_lines,
            shipping,
            discount,
            apart,
            way,
        })
}

impl Books {
    fn rows(&self) -> Vec<Row> {
        let custom = self.custom_lines.iter().map(|(row, _)| *row);
        self.lines.iter().copied().chain(custom).chain(self.shipping).collect()
    }

    /// Net and tax that are taken off; never more than there is to take.
    fn discounted(&self) -> (i64, i64) {
        let (net, tax) = self.rows().iter().fold((0, 0), |sum, row| (sum.0 + row.0.max(0), sum.1 + row.1));
        let (net_share, tax_share) = self.discount.unwrap_or((0, 0));
        (net * net_share / 1000, tax * tax_share / 1000)
    }

    /// What the order says, `apart` from its rows.
    fn totals(&self, apart: i64) -> (i64, i64) {
        let (net, tax) = self.rows().iter().fold((0, 0), |sum, row| (sum.0 + row.0, sum.1 + row.1));
        let (net_off, tax_off) = self.discounted();
        (net - net_off + apart, tax - tax_off)
    }

    /// One minor unit per row; a split line has two, and so has a shipping in two parts.
    fn tolerated(&self) -> i64 {
        let split = self.lines.iter().filter(|(_, _, quantity)| !matches!(self.parts(*quantity), (0, _) | (_, 0)));
        let shipping = matches!(self.way, Way::Methods(_)) && self.shipping.is_some();
        i64::try_from(self.rows().len() + split.count()).unwrap() + i64::from(shipping)
    }

    /// How many pieces of a line go to the first and to the second place.
    fn parts(&self, quantity: i64) -> (i64, i64) {
        let second = match self.way {
            Way::Home | Way::Pickup => 0,
            Way::Addresses(share) | Way::Methods(share) => quantity * share / 100,
        };
        (quantity - second, second)
    }

    /// Puts the order on its way.
    fn deliver(&self, order: &mut Value) {
        let address = |key: &str| json!({"key": key, "country": "DE"});
        let pickup = json!({"fields": {"flPickupLocationRef": "LOC"}});
        match self.way {
            Way::Home => {}
            Way::Pickup => order["custom"] = pickup,
            Way::Addresses(_) => {
                order["shippingAddress"] = address("a");
                order["itemShippingAddresses"] = json!([address("a"), address("b")]);
            }
            Way::Methods(_) => {
                let (net, tax, _) = self.shipping.unwrap_or_default();
                let info = |net: i64, tax: i64| {
                    self.shipping.map(|_| {
                        json!({"shippingMethodName": "x", "price": self.money(net), "taxedPrice": self.taxed(net, tax)})
                    })
                };
                order["shippingMode"] = "Multiple".into();
                order["shippingInfo"] = Value::Null;
                order["shipping"] = json!([
                    {"shippingKey": "a", "shippingAddress": address("a"), "shippingInfo": info(net / 2, tax / 3)},
                    {"shippingKey": "b", "shippingAddress": address("b"), "shippingCustomFields": pickup},
                    {"shippingKey": "c", "shippingInfo": info(net - net / 2, tax - tax / 3)},
                ]);
            }
        }
        for ((net, tax, quantity), line) in self.lines.iter().zip(order["lineItems"].as_array_mut().unwrap()) {
            let (first, second) = self.parts(*quantity);
            let target =
                |key: &str, quantity: i64| json!({"addressKey": key, "shippingMethodKey": key, "quantity": quantity});
            if matches!(self.way, Way::Addresses(_) | Way::Methods(_)) {
                line["shippingDetails"] = json!({"targets": [target("a", first), target("b", second)], "valid": true});
            }
            if matches!(self.way, Way::Methods(_)) {
                let portion =
                    |key: &str, net, tax| json!({"shippingMethodKey": key, "taxedPrice": self.taxed(net, tax)});
                let first = if second == 0 { (*net, *tax) } else { (net / 3, tax / 5) };
                line["taxedPricePortions"] =
                    json!([portion("a", first.0, first.1), portion("b", net - first.0, tax - first.1)]);
            }
        }
    }

    fn money(&self, amount: i64) -> Value {
        json!({"type": "centPrecision", "currencyCode": "EUR", "centAmount": amount, "fractionDigits": self.digits})
    }

    fn taxed(&self, net: i64, tax: i64) -> Value {
        json!({"totalNet": self.money(net), "totalGross": self.money(net + tax), "totalTax": self.money(tax)})
    }

    fn order(&self, apart: i64) -> Order {
        let (net, tax) = self.totals(apart);
        let lines = self.lines.iter().enumerate().map(|(at, (net, tax, quantity))| {
            json!({
                "id": format!("line-{at}"), "productId": "p", "variant": {"id": 1, "sku": format!("SKU-{at}")},
                "price": {"value": self.money(net + tax)}, "quantity": quantity, "totalPrice": self.money(net + tax),
                "taxedPrice": self.taxed(*net, *tax),
                "taxRate": {"amount": 0.19, "includedInPrice": true, "country": "DE", "name": "x"}
            })
        });
        let custom = self.custom_lines.iter().enumerate().map(|(at, ((net, tax, quantity), product))| {
            json!({
                "id": format!("custom-{at}"), "slug": if *product { "wrap" } else { "fee" }, "quantity": quantity,
                "money": self.money(*net), "totalPrice": self.money(*net), "taxedPrice": self.taxed(*net, *tax)
            })
        });
        let (net_off, tax_off) = self.discounted();
        let mut order = json!({
            "id": "o", "version": 1, "totalPrice": self.money(net + tax), "taxedPrice": self.taxed(net, tax),
            "lineItems": lines.collect::<Vec<_>>(), "customLineItems": custom.collect::<Vec<_>>(),
            "shippingAddress": {"country": "DE"},
            "shippingInfo": self.shipping.map(|(net, tax, _)| json!({
                "shippingMethodName": "x", "price": self.money(net), "taxedPrice": self.taxed(net, tax)
            })),
            "discountOnTotalPrice": self.discount.map(|_| json!({
                "discountedAmount": self.money(net_off + tax_off), "discountedNetAmount": self.money(net_off),
                "discountedGrossAmount": self.money(net_off + tax_off)
            }))
        });
        self.deliver(&mut order);
        read(&order)
    }
}

/// The value in units of 10^-12, which holds every scale used here.
fn units(text: &str) -> i128 {
    let number: Number = text.parse().unwrap();
    number.unscaled * 10i128.pow(12 - u32::from(number.scale))
}

fn number(value: &Value) -> i128 {
    value.as_str().map_or_else(|| units(&value.to_string()), units)
}

/// Sums of net and tax over everything the mapped order shows.
fn shown(input: &Value) -> (i128, i128) {
    let items = input["items"].as_array().unwrap().iter();
    let attributes = input["attributes"].as_array().unwrap();
    let named = |name: &str| attributes.iter().find(|attribute| attribute["name"] == name).map(|found| &found["value"]);
    let entries = named("commercetoolsCustomLineItems").and_then(Value::as_array).into_iter().flatten();
    let rows = items.chain(entries).map(|row| (number(&row["totalPrice"]), number(&row["totalTaxPrice"])));
    let shipping = choices(input).into_iter();
    let shipping = shipping.map(|choice| (number(&choice["fulfilmentPrice"]), number(&choice["fulfilmentTaxPrice"])));
    let rounding = named("commercetoolsRoundingDifference").map_or(0, number);
    rows.chain(shipping).chain([(rounding, 0)]).fold((0, 0), |sum, row| (sum.0 + row.0, sum.1 + row.1))
}

/// The one choice of an order, or the several.
fn choices(input: &Value) -> Vec<&Value> {
    match input["fulfilmentChoices"].as_array() {
        Some(several) => several.iter().collect(),
        None => vec![&input["fulfilmentChoice"]],
    }
}

/// What of each line is ordered, and whether every item belongs to a choice where there are several.
fn check_pieces(books: &Books, input: &Value) {
    let (items, choices) = (input["items"].as_array().unwrap(), choices(input));
    for (at, (_, _, quantity)) in books.lines.iter().enumerate() {
        let of_line = items.iter().filter(|item| item["productRef"] == format!("SKU-{at}"));
        assert_eq!(of_line.map(|item| item["quantity"].as_i64().unwrap()).sum::<i64>(), *quantity);
    }
    for item in items {
        let named = choices.iter().filter(|choice| choice["ref"] == item["fulfilmentChoiceRef"]).count();
        assert_eq!(named, usize::from(choices.len() > 1), "{item}");
    }
    let kind = input["type"].as_str().unwrap();
    assert_eq!(choices.len() > 1, kind == "MULTI");
    for choice in choices {
        assert_ne!(choice["deliveryAddress"].is_null(), choice["pickupLocationRef"].is_null(), "{choice}");
    }
}

proptest! {
    #[test]
    fn what_the_order_shows_adds_up_to_its_total(books in books()) {
        let connection = connection(&json!({"order": {"custom_line_item_product_refs": {"wrap": "WRAP"}}}));
        let apart = books.tolerated() * books.apart / 100;
        let order = books.order(apart);
        let (net, tax) = books.totals(apart);
        match to_fluent(&order, "1", &connection) {
            Ok(mapped) => {
                let text = serde_json::to_string(&mapped.input).unwrap();
                let input: Value = serde_json::from_str(&text).unwrap();
                let unit = 10i128.pow(12 - u32::from(books.digits));
                prop_assert_eq!(number(&input["totalPrice"]), i128::from(net) * unit);
                prop_assert_eq!(number(&input["totalTaxPrice"]), i128::from(tax) * unit);
                prop_assert_eq!(shown(&input), (i128::from(net) * unit, i128::from(tax) * unit));
                check_pieces(&books, &input);
                for item in input["items"].as_array().unwrap() {
                    // The price of one is rounded at the fourth decimal at most.
                    let quantity = i128::from(item["quantity"].as_i64().unwrap());
                    let missed = number(&item["paidPrice"]) * quantity - number(&item["totalPrice"]);
                    prop_assert!(2 * missed.abs() <= quantity * 10i128.pow(8));
                }
            }
            Err(failure) => {
                prop_assert!(net < 0, "{}", failure);
                prop_assert_eq!(failure.to_string(), "Order o has a negative total.");
            }
        }
    }

    #[test]
    fn an_order_that_misses_its_rows_by_more_is_refused(books in books(), beyond in 1i64..1000, above: bool) {
        let apart = (books.tolerated() + beyond) * if above { 1 } else { -1 };
        let failure = to_fluent(&books.order(apart), "1", &connection(&json!({}))).unwrap_err();
        let sentence = failure.to_string();
        prop_assert!(sentence.contains("does not add up") || sentence.contains("negative total"), "{}", sentence);
    }

    #[test]
    fn no_document_is_too_strange(changes in prop::collection::vec((any::<prop::sample::Index>(), change()), 0..12)) {
        let mut document = document();
        for (place, change) in changes {
            let count = count(&document);
            replace(&mut document, &mut place.index(count), &change);
        }
        // What does not even have the shape of an order is the client's business.
        if let Ok(order) = serde_json::from_str::<Order>(&document.to_string()) {
            map_in_every_way(&order);
        }
    }
}

/// Every pure function, under every policy. Only panics count.
fn map_in_every_way(order: &Order) {
    for policy in [
        json!({}),
        json!({"order": {"price_basis": "gross", "total_check": "off", "total_discount": "attribute"}}),
        json!({"order": {"total_check": "warn", "country": "name", "send_delivery_window": true,
            "custom_line_item_product_refs": {"gift-wrap": "WRAP"}, "street_number": "before",
            "transaction_states": ["Success", "Failure"], "pickup": {"from_supply_channel": true},
            "shipping_methods": {"dhl": {"order_type": "CC", "pickup_location_ref": "LOC"}},
            "attributes": [{"from": "lineItems.0.price", "to": "x", "type": "STRING"}]}, "money": {"unit_scale": 12}}),
    ] {
        let connection = connection(&policy);
        if let Ok(mapped) = to_fluent(order, "1", &connection) {
            assert!(serde_json::to_string(&mapped.input).is_ok());
        }
        let rejected = |failure: Failure| assert!(matches!(failure, Failure::Rejected { .. }));
        customer::guest_to_fluent(order, &connection).err().into_iter().for_each(rejected);
        let mut notes = Notes::default();
        payment::transactions(order, &connection, &mut notes).err().into_iter().for_each(rejected);
        for line in &order.line_items {
            from_line::products(line, &connection, &mut notes).err().into_iter().for_each(rejected);
        }
    }
}

/// What a value is replaced with: one of its own kind, so that the document usually stays an order, or any other.
#[derive(Clone, Debug)]
struct Change {
    number: i64,
    text: String,
    other: Option<Value>,
}

fn change() -> impl Strategy<Value = Change> {
    let number = prop_oneof![
        any::<i64>(),
        -10i64..400,
        prop::sample::select(vec![i64::MIN, i64::MAX, i64::MAX / 2, i64::from(i32::MAX) + 1]),
    ];
    let words = vec!["highPrecision", "USD", "JPY", "QQQ", "Multiple", "Disabled", "Charge", "Refund", "", " ", "home"];
    let text = prop_oneof![prop::sample::select(words).prop_map(str::to_owned), ".{0,300}"];
    (number, text, prop::option::weighted(0.05, value())).prop_map(|(number, text, other)| Change {
        number,
        text,
        other,
    })
}

impl Change {
    fn of(&self, value: &Value) -> Value {
        match (&self.other, value) {
            (Some(other), _) => other.clone(),
            (None, Value::Number(_)) => self.number.into(),
            (None, Value::String(_)) => self.text.as_str().into(),
            (None, Value::Bool(value)) => (!value).into(),
            (None, Value::Array(values)) => values.iter().skip(1).cloned().collect(),
            (None, Value::Object(_) | Value::Null) => value.clone(),
        }
    }
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (-2.0f64..2.0).prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 8, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map("[a-zA-Z]{1,12}", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// How many values a document holds, itself included.
fn count(document: &Value) -> usize {
    1 + match document {
        Value::Array(values) => values.iter().map(count).sum(),
        Value::Object(members) => members.values().map(count).sum(),
        _ => 0,
    }
}

/// Replaces the value at a place, counted in depth-first order; `place` ends at 0 when it is found.
fn replace(document: &mut Value, place: &mut usize, change: &Change) -> bool {
    if *place == 0 {
        *document = change.of(document);
        return true;
    }
    *place -= 1;
    match document {
        Value::Array(values) => values.iter_mut().any(|child| replace(child, place, change)),
        Value::Object(members) => members.values_mut().any(|child| replace(child, place, change)),
        _ => false,
    }
}
