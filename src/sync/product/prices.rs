//! Which of a variant's prices Fluent gets now, and when that changes next (C 3.4, D-9).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::clock::{Millis, parse_rfc3339};
use crate::commercetools::catalogue::ProductPrice;
use crate::config::model::Product;
use crate::fluent::catalogue::PriceInput;
use crate::sync::money::{Amount, MoneyError};

/// A price that Fluent holds, by which a later one replaces it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Slot {
    #[serde(rename = "type")]
    pub kind: String,
    pub currency: String,
}

impl Slot {
    /// Where this price goes.
    pub fn of(price: &PriceInput) -> Self {
        Self { kind: price.kind.clone(), currency: price.currency.clone() }
    }
}

/// The prices that count at `now`, by currency: the list price and, if there is one, the price after
/// a product discount.
///
/// # Errors
/// When an amount cannot be read.
pub fn prices(prices: &[ProductPrice], rules: &Product, now: Millis) -> Result<Vec<PriceInput>, MoneyError> {
    let mut inputs = vec![];
    for (currency, price) in chosen(prices, rules, now) {
        let mut push = |kind: &str, amount: Amount| {
            inputs.push(PriceInput { kind: kind.to_owned(), currency: currency.to_owned(), value: amount.decimal() });
        };
        push(&rules.price_types.default, Amount::read(&price.value)?);
        if let (Some(special), Some(discounted)) = (&rules.price_types.special, &price.discounted) {
            push(special, Amount::read(&discounted.value)?);
        }
    }
    Ok(inputs)
}

/// A slot is never removed in Fluent: where a discount ended, its slot takes the list price.
pub fn ended(before: &[Slot], now: &[PriceInput], rules: &Product) -> Vec<PriceInput> {
    let Some(special) = &rules.price_types.special else { return vec![] };
    let held = |kind: &str, currency: &str| now.iter().find(|price| price.kind == kind && price.currency == currency);
    let over = before.iter().filter(|slot| slot.kind == *special && held(special, &slot.currency).is_none());
    over.filter_map(|slot| {
        let list = held(&rules.price_types.default, &slot.currency)?;
        Some(PriceInput { kind: special.clone(), ..list.clone() })
    })
    .collect()
}

/// The next moment after `now` at which another price may count.
pub fn next_change<'a>(prices: impl Iterator<Item = &'a ProductPrice>, rules: &Product, now: Millis) -> Option<Millis> {
    let candidates = prices.filter(|price| is_candidate(price, rules));
    let bounds = candidates.flat_map(|price| [moment(price.valid_from.as_ref()), moment(price.valid_until.as_ref())]);
    bounds.flatten().filter(|at| *at > now).min()
}

/// The price of each currency: one for all countries, else the one for `product.price_country`.
fn chosen<'a>(prices: &'a [ProductPrice], rules: &Product, now: Millis) -> BTreeMap<&'a str, &'a ProductPrice> {
    let mut chosen: BTreeMap<&str, &ProductPrice> = BTreeMap::new();
    for price in prices.iter().filter(|price| is_candidate(price, rules) && is_valid(price, now)) {
        let best = chosen.entry(&price.value.currency_code).or_insert(price);
        if rank(price) > rank(best) {
            *best = price;
        }
    }
    chosen
}

/// A price for all countries wins, then one with dates, then the one that began last; among equals
/// the first stays.
fn rank(price: &ProductPrice) -> (bool, bool, Option<Millis>) {
    let dated = price.valid_from.is_some() || price.valid_until.is_some();
    (price.country.is_none(), dated, moment(price.valid_from.as_ref()))
}

/// For everybody, once, and everywhere or in our country.
fn is_candidate(price: &ProductPrice, rules: &Product) -> bool {
    let special = price.customer_group.is_some() || price.channel.is_some() || price.recurrence_policy.is_some();
    !special && (price.country.is_none() || price.country == rules.price_country)
}

fn is_valid(price: &ProductPrice, now: Millis) -> bool {
    moment(price.valid_from.as_ref()).is_none_or(|from| from <= now)
        && moment(price.valid_until.as_ref()).is_none_or(|until| now < until)
}

fn moment(text: Option<&String>) -> Option<Millis> {
    parse_rfc3339(text?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::fixture::{connection, read};
    use serde_json::{Value, json};

    const NOON: &str = "2026-06-10T12:00:00.000Z";

    fn price(cents: i64, more: Value) -> Value {
        let mut price = json!({"value": {"type": "centPrecision", "currencyCode": "EUR", "centAmount": cents, "fractionDigits": 2}});
        for (name, value) in more.as_object().unwrap() {
            price[name] = value.clone();
        }
        price
    }

    fn rules(overrides: Value) -> Product {
        connection(&json!({"product": overrides})).product
    }

    fn sent(list: Vec<Value>, overrides: Value, at: &str) -> String {
        let list: Vec<ProductPrice> = read(&json!(list));
        let inputs = prices(&list, &rules(overrides), parse_rfc3339(at).unwrap()).unwrap();
        let inputs = inputs.iter().map(|price| format!("{} {} {}", price.kind, price.value, price.currency));
        inputs.collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn only_prices_for_everybody_count() {
        for foreign in [
            json!({"country": "AT"}),
            json!({"channel": {"id": "c"}}),
            json!({"customerGroup": {"id": "g"}}),
            json!({"recurrencePolicy": {"id": "r"}}),
        ] {
            assert_eq!(sent(vec![price(100, foreign.clone())], json!({}), NOON), "", "{foreign}");
            assert_eq!(sent(vec![price(100, foreign), price(250, json!({}))], json!({}), NOON), "DEFAULT 2.5 EUR");
        }
    }

    #[test]
    fn a_country_counts_only_where_there_is_no_general_price() {
        let list = || vec![price(100, json!({"country": "AT"})), price(300, json!({"country": "DE"}))];
        assert_eq!(sent(list(), json!({"price_country": "AT"}), NOON), "DEFAULT 1 EUR");
        let mut all = list();
        all.push(price(250, json!({})));
        assert_eq!(sent(all, json!({"price_country": "AT"}), NOON), "DEFAULT 2.5 EUR");
    }

    #[test]
    fn a_dated_price_wins_while_it_is_valid() {
        let sale = json!({"validFrom": "2026-06-10T12:00:00Z", "validUntil": "2026-06-11T00:00:00Z"});
        let list = || vec![price(250, json!({})), price(199, sale.clone())];
        assert_eq!(sent(list(), json!({}), "2026-06-10T11:59:59.999Z"), "DEFAULT 2.5 EUR");
        assert_eq!(sent(list(), json!({}), NOON), "DEFAULT 1.99 EUR");
        assert_eq!(sent(list(), json!({}), "2026-06-11T00:00:00Z"), "DEFAULT 2.5 EUR", "the end is not in it");
        let list: Vec<ProductPrice> = read(&json!(list()));
        let next = |at: &str| next_change(list.iter(), &rules(json!({})), parse_rfc3339(at).unwrap());
        assert_eq!(next("2026-06-10T11:00:00Z"), parse_rfc3339(NOON));
        assert_eq!(next(NOON), parse_rfc3339("2026-06-11T00:00:00Z"));
        assert_eq!(next("2026-06-11T00:00:00Z"), None);
    }

    #[test]
    fn the_price_after_a_discount_is_another_slot_and_falls_back_to_the_list_price() {
        let discounted =
            json!({"discounted": {"value": {"currencyCode": "EUR", "centAmount": 80, "fractionDigits": 2}}});
        let list = vec![price(100, discounted)];
        assert_eq!(sent(list.clone(), json!({}), NOON), "DEFAULT 1 EUR, SPECIAL 0.8 EUR");
        assert_eq!(sent(list, json!({"price_types": {"special": null}}), NOON), "DEFAULT 1 EUR");
        let before = [Slot { kind: "SPECIAL".into(), currency: "EUR".into() }];
        let now = prices(&read::<Vec<_>>(&json!([price(100, json!({}))])), &rules(json!({})), 0).unwrap();
        let over = ended(&before, &now, &rules(json!({})));
        assert_eq!((over.len(), over[0].kind.as_str(), over[0].value.to_string()), (1, "SPECIAL", "1".into()));
        assert_eq!(ended(&[], &now, &rules(json!({}))), []);
    }

    #[test]
    fn high_precision_is_kept() {
        let precise = json!([{"value": {"type": "highPrecision", "currencyCode": "EUR", "centAmount": 1,
                                        "preciseAmount": 12345, "fractionDigits": 6}}]);
        let list: Vec<ProductPrice> = read(&precise);
        assert_eq!(prices(&list, &rules(json!({})), 0).unwrap()[0].value.to_string(), "0.012345");
    }
}
