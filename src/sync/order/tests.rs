//! What an order becomes, and with which words it is refused.

use serde_json::{Value, json};

use super::{Mapped, from_line, reference, references, to_fluent, to_fluent_as};
use crate::failure::Failure;
use crate::sync::canonical::canonical_hash;
use crate::sync::fixture::{connection, order};
use crate::sync::text::Notes;

fn mapped(changes: Value, overrides: Value) -> Result<Mapped, Failure> {
    to_fluent(&order(&changes), "4711", &connection(&overrides))
}

/// The mapped input as JSON.
fn input(changes: Value, overrides: Value) -> Value {
    let input = mapped(changes, overrides).unwrap().input;
    serde_json::from_str(&serde_json::to_string(&input).unwrap()).unwrap()
}

fn refusal(changes: Value, overrides: Value) -> String {
    match mapped(changes, overrides) {
        Err(Failure::Rejected { sentence }) => sentence,
        other => panic!("not rejected: {other:?}"),
    }
}

fn attribute<'a>(input: &'a Value, name: &str) -> Option<&'a Value> {
    let attributes = input["attributes"].as_array().unwrap();
    attributes.iter().find(|attribute| attribute["name"] == name).map(|attribute| &attribute["value"])
}

fn money(cents: i64) -> Value {
    json!({"type": "centPrecision", "currencyCode": "EUR", "centAmount": cents, "fractionDigits": 2})
}

#[test]
fn an_order_with_everything() {
    let overrides = json!({"locale": {"chain": ["en-GB"]}, "order": {
        "custom_line_item_product_refs": {"gift-wrap": "SERVICE-WRAP"},
        "shipping_methods": {"dhl": {"delivery_type": "EXPRESS"}},
        "attributes": [{"from": "custom.fields.giftMessage", "to": "giftMessage", "type": "STRING"}],
        "item_attributes": [{"from": "custom.fields.engraving", "to": "engraving", "type": "STRING"}],
        "country": "name", "delivery_instruction_field": "driverNote", "send_delivery_window": true
    }});
    let mapped = mapped(json!({}), overrides).unwrap();
    assert_eq!(mapped.skus, ["TEE-RED-M", "MUG", "SERVICE-WRAP"]);
    assert_eq!(mapped.notes, Notes::default());
    insta::assert_snapshot!(serde_json::to_string_pretty(&mapped.input).unwrap());
}

#[test]
fn a_total_discount_can_stay_an_attribute() {
    let input = input(json!({}), json!({"order": {"total_discount": "attribute"}}));
    assert_eq!(attribute(&input, "commercetoolsDiscountOnTotalPrice"), Some(&json!("5.79")));
    assert_eq!(input["items"][0]["totalPrice"], json!(50.4));
    assert_eq!(input["fulfilmentChoice"]["fulfilmentPrice"], json!(4.16));
    assert_eq!(input["totalPrice"], json!(52.13));
}

#[test]
fn gross_prices_carry_the_tax_and_tax_stays_beside_them() {
    let input = input(
        json!({"discountOnTotalPrice": null, "totalPrice": money(6893), "taxedPrice": {
            "totalNet": money(5792), "totalGross": money(6893), "totalTax": money(1101)
        }}),
        json!({"order": {"price_basis": "gross"}}),
    );
    assert_eq!((&input["totalPrice"], &input["totalTaxPrice"]), (&json!(68.93), &json!(11.01)));
    let item = &input["items"][0];
    assert_eq!(
        (&item["price"], &item["paidPrice"], &item["totalPrice"]),
        (&json!(29.99), &json!(29.99), &json!(59.98))
    );
    assert_eq!((&item["taxPrice"], &item["totalTaxPrice"]), (&json!(4.79), &json!(9.58)));
    assert_eq!(input["fulfilmentChoice"]["fulfilmentPrice"], json!(4.95));
}

#[test]
fn an_unknown_tax_is_left_out_and_a_disabled_one_is_zero() {
    let untaxed = |mode: &str| {
        json!({
            "taxMode": mode, "taxedPrice": null, "discountOnTotalPrice": null, "totalPrice": money(6893),
            "lineItems": [{"taxedPrice": null, "taxRate": null}, {"taxedPrice": null, "taxRate": null}],
            "customLineItems": [{"taxedPrice": null}, {"taxedPrice": null}], "shippingInfo": {"taxedPrice": null}
        })
    };
    let unknown = input(untaxed("External"), json!({}));
    assert_eq!((unknown.get("totalTaxPrice"), &unknown["totalPrice"]), (None, &json!(68.93)));
    let item = &unknown["items"][0];
    assert_eq!((item.get("taxPrice"), item.get("totalTaxPrice"), item.get("taxType")), (None, None, None));
    assert_eq!((&item["price"], &item["totalPrice"]), (&json!(29.99), &json!(59.98)));
    assert_eq!(unknown["fulfilmentChoice"].get("fulfilmentTaxPrice"), None);
    let disabled = input(untaxed("Disabled"), json!({}));
    assert_eq!((&disabled["totalTaxPrice"], &disabled["items"][0]["taxPrice"]), (&json!(0), &json!(0)));
    assert_eq!(disabled["fulfilmentChoice"]["fulfilmentTaxPrice"], json!(0));
}

#[test]
fn the_price_of_shipping_is_the_discounted_one() {
    let input = input(
        json!({
            "taxMode": "Disabled", "taxedPrice": null, "discountOnTotalPrice": null, "totalPrice": money(6000),
            "lineItems": [{"taxedPrice": null}, {"taxedPrice": null}], "customLineItems": [],
            "shippingInfo": {"taxedPrice": null, "discountedPrice": {"value": money(2), "includedDiscounts": []}}
        }),
        json!({}),
    );
    assert_eq!(input["fulfilmentChoice"]["fulfilmentPrice"], json!(0.02));
}

#[test]
fn without_shipping_info_delivery_costs_nothing() {
    let input = input(
        json!({"shippingInfo": null, "discountOnTotalPrice": null, "taxedPrice": {
            "totalNet": money(5376), "totalGross": money(6398), "totalTax": money(1022)
        }}),
        json!({}),
    );
    let choice = &input["fulfilmentChoice"];
    assert_eq!((&choice["fulfilmentPrice"], &choice["fulfilmentTaxPrice"]), (&json!(0), &json!(0)));
    assert_eq!((&choice["fulfilmentType"], &choice["deliveryType"]), (&json!("HD_PFS"), &json!("STANDARD")));
}

#[test]
fn rows_may_miss_the_total_by_a_minor_unit_each_and_no_more() {
    let apart =
        |cents: i64| json!({"taxedPrice": {"totalNet": money(5213 + cents), "totalGross": money(6204 + cents)}});
    for cents in [-5, 5] {
        let input = input(apart(cents), json!({}));
        let expected = format!("{}0.05", if cents < 0 { "-" } else { "" });
        assert_eq!(attribute(&input, "commercetoolsRoundingDifference"), Some(&json!(expected)));
    }
    assert_eq!(
        refusal(apart(6), json!({})),
        "Order 20001 does not add up: lines and shipping give 52.13, the order says 52.19 EUR."
    );
    let warned = mapped(apart(-6), json!({"order": {"total_check": "warn"}})).unwrap();
    assert_eq!(
        warned.notes.sentences,
        ["Order 20001 does not add up: lines and shipping give 52.13, the order says 52.07 EUR."]
    );
    let unchecked = mapped(apart(60), json!({"order": {"total_check": "off"}})).unwrap();
    assert_eq!(unchecked.notes, Notes::default());
}

#[test]
fn taxes_have_to_add_up_too() {
    let changes = json!({"taxedPrice": {"totalTax": money(1991)}});
    assert_eq!(
        refusal(changes, json!({})),
        "Order 20001 does not add up: the tax of lines and shipping is 9.91, the order says 19.91 EUR."
    );
}

#[test]
fn amounts_that_cannot_be_added_are_refused() {
    let huge = json!({"currencyCode": "EUR", "centAmount": i64::MAX, "fractionDigits": 0});
    let changes = json!({
        "discountOnTotalPrice": null, "taxedPrice": {"totalNet": huge, "totalGross": huge, "totalTax": huge},
        "lineItems": [{"taxedPrice": {"totalNet": {"fractionDigits": 19}}}]
    });
    let sentence = refusal(changes, json!({"order": {"price_basis": "gross"}}));
    assert_eq!(sentence, "Order 20001 has an amount that is too large.");
}

#[test]
fn orders_that_cannot_be_sent_are_refused_in_words() {
    let refused = |changes: Value| refusal(changes, json!({}));
    assert_eq!(refused(json!({"lineItems": []})), "Order 20001 has nothing that Fluent can fulfil.");
    assert_eq!(refused(json!({"lineItems": [{"variant": {"sku": null}}]})), "Line line-1 of order 20001 has no SKU.");
    assert_eq!(refused(json!({"shippingAddress": null})), "Order 20001 is a home delivery without a shipping address.");
    assert_eq!(
        refused(json!({"lineItems": [{"totalPrice": money(1), "taxedPrice": {"totalNet": {"currencyCode": "USD"}}}]})),
        "Order 20001 mixes EUR and USD."
    );
    assert_eq!(
        refused(json!({"lineItems": [{"price": {"value": {"currencyCode": "USD"}}}]})),
        "Order 20001 mixes EUR and USD."
    );
    assert_eq!(
        refused(json!({"totalPrice": {"currencyCode": "QQQ", "fractionDigits": null}})),
        "Order 20001 has an amount in QQQ, a currency whose decimals are not known."
    );
    assert_eq!(
        refused(json!({"taxedPrice": {"totalNet": money(-1)}, "orderNumber": null})),
        "Order 5b2c9a70-0000-4000-8000-00000000a001 has a negative total."
    );
    assert_eq!(
        refused(json!({"lineItems": [{"quantity": 3_000_000_000_u64}]})),
        "Line line-1 of order 20001 has the quantity 3000000000, which Fluent cannot hold."
    );
    assert_eq!(
        refused(json!({"billingAddress": {"email": "x".repeat(256)}})),
        "Order 20001 has an email longer than 255 characters; Fluent cannot hold it."
    );
}

#[test]
fn a_custom_line_is_an_item_only_by_configuration_and_never_if_negative() {
    let overrides = json!({"order": {"custom_line_item_product_refs": {"gift-wrap": "WRAP", "deposit": "DEPOSIT"}}});
    let both = input(json!({}), overrides.clone());
    assert_eq!(both["items"].as_array().unwrap().len(), 4);
    assert_eq!(attribute(&both, "commercetoolsCustomLineItems"), None);
    let negative = json!({
        "discountOnTotalPrice": null, "totalPrice": money(6293), "customLineItems": [{"money": money(-300),
        "totalPrice": money(-300), "taxedPrice": {"totalNet": money(-252), "totalGross": money(-300), "totalTax": money(-48)}}],
        "taxedPrice": {"totalNet": money(5288), "totalGross": money(6293), "totalTax": money(1005)}
    });
    let entry = input(negative, overrides);
    assert_eq!(entry["items"].as_array().unwrap().len(), 3);
    let expected = json!([{"id": "custom-1", "slug": "gift-wrap", "name": "Geschenkverpackung", "quantity": 1,
        "totalPrice": "-2.52", "totalTaxPrice": "-0.48", "currency": "EUR"}]);
    assert_eq!(attribute(&entry, "commercetoolsCustomLineItems"), Some(&expected));
}

#[test]
fn refs_follow_the_pattern_and_stay_within_their_limit() {
    let referred = |changes: Value, pattern: &str| {
        let connection = connection(&json!({"order": {"ref_pattern": pattern, "types": {"HD": "HOME"}}}));
        reference(&order(&changes), &connection.order.types.hd, &connection)
    };
    assert_eq!(referred(json!({}), "{store}-{type}-{order_number}"), "de-HOME-20001");
    let id = "5b2c9a70-0000-4000-8000-00000000a001";
    assert_eq!(referred(json!({"orderNumber": null}), "{type}_{order_number}"), format!("HOME_{id}"));
    assert_eq!(referred(json!({"orderNumber": "9".repeat(96)}), "{type}_{order_number}"), format!("HOME_{id}"));
    let all = references(&order(&json!({})), "HD", &connection(&json!({})));
    assert_eq!(all, ["HD_20001".to_owned(), format!("HD_{id}"), "20001".to_owned(), id.to_owned()]);
}

#[test]
fn a_remembered_ref_is_kept_and_refs_made_from_it_fit() {
    let long = "R".repeat(95);
    let mapped = to_fluent_as(&order(&json!({})), &long, "4711", &connection(&json!({}))).unwrap();
    assert_eq!(mapped.input.reference, long);
    let choice = mapped.input.fulfilment_choice.unwrap();
    assert_eq!(choice.reference, "5b2c9a70-0000-4000-8000-00000000a001-1");
    assert_eq!(choice.delivery_address.unwrap().reference, "5b2c9a70-0000-4000-8000-00000000a001-1-address");
}

#[test]
fn long_texts_are_cut_and_counted() {
    let changes = json!({"shippingAddress": {"additionalAddressInfo": "ü".repeat(300), "city": "c".repeat(256)}});
    let mapped = mapped(changes, json!({})).unwrap();
    assert_eq!(mapped.input.fulfilment_choice.unwrap().delivery_instruction.unwrap().chars().count(), 250);
    assert_eq!(mapped.notes.cuts, [("city", 1), ("deliveryInstruction", 1)].into());
}

#[test]
fn the_content_hash_follows_content_and_configuration() {
    let hash = |changes: Value, overrides: Value| {
        let connection = connection(&overrides);
        let mapped = to_fluent(&order(&changes), "4711", &connection).unwrap();
        canonical_hash(&(&mapped.input, &connection.order)).unwrap()
    };
    let usual = hash(json!({}), json!({}));
    assert_eq!(usual, hash(json!({"version": 8, "shipmentState": "Ready"}), json!({})));
    assert_ne!(usual, hash(json!({"shippingAddress": {"city": "Bonn"}}), json!({})));
    assert_ne!(usual, hash(json!({}), json!({"order": {"states": ["Confirmed"]}})));
}

#[test]
fn a_missing_product_is_made_from_its_line() {
    let order = order(&json!({}));
    let connection = connection(&json!({"locale": {"chain": ["en-GB"]}}));
    let mut notes = Notes::default();
    let products = from_line::products(&order.line_items[0], &connection, &mut notes).unwrap();
    insta::assert_snapshot!(serde_json::to_string_pretty(&products).unwrap());
    let (standard, variant) = from_line::products(&order.line_items[1], &connection, &mut notes).unwrap();
    assert_eq!((standard.reference.as_str(), standard.name.as_str()), ("product-2", "Tasse"));
    assert_eq!((variant.reference.as_str(), variant.gtin.as_str()), ("MUG", "MUG"));
}

#[test]
fn product_refs_that_would_clash_or_not_fit_give_way() {
    let made = |changes: Value| {
        let order = order(&json!({"lineItems": [changes]}));
        let (standard, variant) =
            from_line::products(&order.line_items[0], &connection(&json!({})), &mut Notes::default()).unwrap();
        (standard.reference, standard.gtin, variant.gtin)
    };
    let sku = "A-VERY-LONG-SKU-OF-24-CH";
    let gtin =
        format!("H{}", &crate::sync::canonical::hex(&<sha2::Sha256 as sha2::Digest>::digest(sku))[..19].to_uppercase());
    let (standard, _, variant_gtin) = made(json!({"productKey": sku, "variant": {"sku": sku, "attributes": []}}));
    assert_eq!((standard, variant_gtin.len(), variant_gtin), (format!("{sku}_STANDARD"), 20, gtin));
    let (standard, standard_gtin, _) = made(json!({"productKey": "k".repeat(101)}));
    assert_eq!((standard.as_str(), standard_gtin.as_str()), ("product-1", "product-1"));
}
