//! Payments of an order as Fluent's financial transactions (`commercetools-to-fluent`, section 6).
//!
//! Fluent's transactions are immutable, so one purchase must not show two payments (D-17): an
//! authorization counts only while nothing was charged, and a charge after an authorization that Fluent
//! already has is sent only as far as it goes beyond it.

use std::collections::BTreeSet;

use super::label;
use crate::commercetools::model::{Order, Payment, Transaction};
use crate::config::model::Connection;
use crate::failure::Failure;
use crate::fluent::input::{CreateFinancialTransactionInput, CreateFinancialTransactionWithOrderInput, Id};
use crate::sync::attribute::{self, own};
use crate::sync::money::{Amount, MoneyError};
use crate::sync::text::{Notes, fits, present};

/// The transactions that go into `createOrder`: those of all payments of the order, which must have been expanded.
///
/// # Errors
/// Rejected if an amount cannot be read or a transaction id is too long.
pub fn transactions(
    order: &Order,
    connection: &Connection,
    notes: &mut Notes,
) -> Result<Vec<CreateFinancialTransactionWithOrderInput>, Failure> {
    let mut transactions = vec![];
    for payment in order.payment_info.iter().flat_map(|info| &info.payments) {
        match &payment.obj {
            Some(payment) => transactions.extend(of_payment(payment, &BTreeSet::new(), connection, notes)?),
            None => notes.say(format!(
                "Payment {} of order {} could not be read; the order goes without it.",
                payment.id.as_deref().unwrap_or("without id"),
                label(order)
            )),
        }
    }
    Ok(transactions)
}

/// The transactions of a payment that Fluent's order lacks. `sent` holds the refs of the transactions Fluent has,
/// `order_id` is Fluent's. Empty = nothing to do.
///
/// # Errors
/// Rejected if an amount cannot be read or a transaction id is too long.
pub fn later_transactions(
    payment: &Payment,
    sent: &BTreeSet<String>,
    order_id: &str,
    connection: &Connection,
    notes: &mut Notes,
) -> Result<Vec<CreateFinancialTransactionInput>, Failure> {
    let order = Id { id: order_id.to_owned() };
    let transactions = of_payment(payment, sent, connection, notes)?.into_iter();
    Ok(transactions.map(|transaction| CreateFinancialTransactionInput { transaction, order: order.clone() }).collect())
}

/// What of a payment has to be sent, in the payment's order, given what was sent before.
fn of_payment(
    payment: &Payment,
    sent: &BTreeSet<String>,
    connection: &Connection,
    notes: &mut Notes,
) -> Result<Vec<CreateFinancialTransactionWithOrderInput>, Failure> {
    let subject = format!("Payment {}", payment.id);
    let counts = |transaction: &&Transaction| connection.order.transaction_states.contains(&transaction.state);
    let counted: Vec<&Transaction> = payment.transactions.iter().filter(counts).collect();
    let charged = counted.iter().any(|transaction| transaction.kind == CHARGE);
    let mut covered = Covered::by_authorizations(&counted, sent).map_err(|error| error.reject(&subject))?;
    // Charges that Fluent has were measured first, whatever their place in the list.
    for charge in counted.iter().filter(|transaction| transaction.kind == CHARGE && sent.contains(&transaction.id)) {
        covered.beyond(charge).map_err(|error| error.reject(&subject))?;
    }
    let mut inputs = vec![];
    for transaction in counted.into_iter().filter(|transaction| !sent.contains(&transaction.id)) {
        let whole = Amount::read(&transaction.amount).map_err(|error| error.reject(&subject))?;
        let (kind, amount) = match transaction.kind.as_str() {
            CHARGE => ("PAYMENT", covered.beyond(transaction).map_err(|error| error.reject(&subject))?),
            AUTHORIZATION if !charged => ("PAYMENT", whole),
            "Refund" => ("REFUND", whole),
            _ => continue,
        };
        if amount.unscaled != 0 {
            let partial = amount.decimal() != whole.decimal();
            inputs.push(input(payment, transaction, kind, amount, partial, connection, notes)?);
        }
    }
    Ok(inputs)
}

const AUTHORIZATION: &str = "Authorization";
const CHARGE: &str = "Charge";

/// What Fluent already shows as paid through authorizations, and charges eat up before they count themselves.
struct Covered(Vec<Amount>);

impl Covered {
    fn by_authorizations(counted: &[&Transaction], sent: &BTreeSet<String>) -> Result<Self, MoneyError> {
        let authorizations =
            counted.iter().filter(|transaction| transaction.kind == AUTHORIZATION && sent.contains(&transaction.id));
        Ok(Self(authorizations.map(|transaction| Amount::read(&transaction.amount)).collect::<Result<_, _>>()?))
    }

    /// How much of a charge goes beyond what is covered; the rest is taken from the cover. Other currencies do not
    /// cover.
    fn beyond(&mut self, charge: &Transaction) -> Result<Amount, MoneyError> {
        let mut left = Amount::read(&charge.amount)?;
        let currency = left.currency;
        for cover in self.0.iter_mut().filter(|cover| cover.currency == currency) {
            let scale = cover.scale.max(left.scale);
            let (has, wants) = (cover.at(scale)?, left.at(scale)?);
            let taken = has.min(wants).max(0);
            *cover = Amount { unscaled: has - taken, scale, ..*cover };
            left = Amount { unscaled: wants - taken, scale, currency };
        }
        Ok(left)
    }
}

fn input(
    payment: &Payment,
    transaction: &Transaction,
    kind: &str,
    amount: Amount,
    partial: bool,
    connection: &Connection,
    notes: &mut Notes,
) -> Result<CreateFinancialTransactionWithOrderInput, Failure> {
    let interface_id = present(payment.interface_id.as_deref());
    let external_id = present(transaction.interaction_id.as_deref()).or(interface_id);
    if external_id.into_iter().chain(interface_id).any(|id| !fits(id, 255)) {
        return Err(Failure::rejected(format!(
            "Payment {} has a transaction id longer than 255 characters; Fluent cannot hold it.",
            payment.id
        )));
    }
    let in_32_bits = amount.in_32_bits();
    let mut attributes = vec![
        attribute::string(own(connection, "PaymentId"), &payment.id),
        attribute::string(own(connection, "TransactionType"), &transaction.kind),
    ];
    if partial {
        attributes.push(attribute::typed(own(connection, "Partial"), "BOOLEAN", true));
    }
    let method = method(payment.payment_method_info.method.as_deref(), connection);
    Ok(CreateFinancialTransactionWithOrderInput {
        reference: transaction.id.clone(),
        kind: kind.to_owned(),
        amount: amount.decimal(),
        scale: in_32_bits.map(|(scale, _)| scale),
        unscaled_value: in_32_bits.map(|(_, unscaled)| unscaled),
        currency: amount.currency.to_string(),
        external_transaction_id: external_id.map(str::to_owned),
        external_transaction_code: interface_id.map(str::to_owned),
        payment_method: notes.cut("paymentMethod", Some(&method), 255).unwrap_or(method),
        payment_provider: notes.cut("paymentProvider", payment.payment_method_info.payment_interface.as_deref(), 255),
        attributes,
    })
}

/// The configured method, else its ASCII letters and digits in upper case, else the default.
fn method(method: Option<&str>, connection: &Connection) -> String {
    let rules = &connection.order;
    let plain = |method: &str| -> String {
        method.chars().filter(char::is_ascii_alphanumeric).map(|character| character.to_ascii_uppercase()).collect()
    };
    method
        .and_then(|method| rules.payment_methods.get(method).cloned().or_else(|| Some(plain(method))))
        .filter(|method| !method.is_empty())
        .unwrap_or_else(|| rules.payment_method_default.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::fixture::{connection, read};
    use serde_json::{Value, json};

    fn transaction(id: &str, kind: &str, state: &str, cents: i64) -> Value {
        let amount = json!({"currencyCode": "EUR", "centAmount": cents, "fractionDigits": 2});
        json!({"id": id, "type": kind, "state": state, "amount": amount})
    }

    /// What is sent of a payment: ref, type, amount.
    fn sent(transactions: &[Value], before: &[&str], overrides: Value) -> Vec<String> {
        let payment: Payment = read(&json!({"id": "pay", "interfaceId": "PSP", "transactions": transactions}));
        let before = before.iter().map(|reference| (*reference).to_owned()).collect();
        let later =
            later_transactions(&payment, &before, "7001", &connection(&overrides), &mut Notes::default()).unwrap();
        let shown = later.into_iter().map(|CreateFinancialTransactionInput { transaction, order }| {
            assert_eq!(order.id, "7001");
            let partial = transaction.attributes.iter().any(|attribute| attribute.name == "commercetoolsPartial");
            let partial = if partial { " partial" } else { "" };
            format!("{} {} {}{partial}", transaction.reference, transaction.kind, transaction.amount)
        });
        shown.collect()
    }

    #[test]
    fn an_authorization_counts_only_while_nothing_is_charged() {
        let authorization = transaction("a", "Authorization", "Success", 1000);
        let charge = |state| transaction("c", "Charge", state, 1000);
        let of = |transactions: &[Value]| sent(transactions, &[], json!({}));
        assert_eq!(of(std::slice::from_ref(&authorization)), ["a PAYMENT 10"]);
        assert_eq!(of(&[authorization.clone(), charge("Pending")]), ["a PAYMENT 10"]);
        assert_eq!(of(&[authorization, charge("Success")]), ["c PAYMENT 10"]);
    }

    #[test]
    fn a_charge_after_a_sent_authorization_is_sent_only_as_far_as_it_goes_beyond() {
        let authorization = transaction("a", "Authorization", "Success", 1000);
        let charge = |id, cents| transaction(id, "Charge", "Success", cents);
        let of = |charges: &[Value], before: &[&str]| {
            let all: Vec<Value> = [authorization.clone()].into_iter().chain(charges.iter().cloned()).collect();
            sent(&all, before, json!({}))
        };
        assert_eq!(of(&[charge("c", 1000)], &["a"]), [""; 0]);
        assert_eq!(of(&[charge("c", 400), charge("d", 600)], &["a"]), [""; 0]);
        assert_eq!(of(&[charge("c", 1250)], &["a"]), ["c PAYMENT 2.5 partial"]);
        assert_eq!(of(&[charge("c", 800), charge("d", 700)], &["a"]), ["d PAYMENT 5 partial"]);
        assert_eq!(of(&[charge("c", 1000), charge("d", 700)], &["a"]), ["d PAYMENT 7"]);
        assert_eq!(of(&[charge("c", 800), charge("d", 700)], &["a", "d"]), ["c PAYMENT 5 partial"]);
        assert_eq!(of(&[charge("c", 1250)], &["a", "c"]), [""; 0]);
        assert_eq!(of(&[charge("c", 1250)], &[]), ["c PAYMENT 12.5"], "the authorization never went");
    }

    #[test]
    fn refunds_are_sent_and_the_rest_is_not() {
        let all = [
            transaction("r", "Refund", "Success", 5),
            transaction("f", "Refund", "Failure", 5),
            transaction("z", "Refund", "Success", 0),
            transaction("b", "Chargeback", "Success", 5),
            transaction("x", "CancelAuthorization", "Success", 5),
            transaction("i", "Charge", "Initial", 5),
        ];
        assert_eq!(sent(&all, &[], json!({})), ["r REFUND 0.05"]);
        let states = json!({"order": {"transaction_states": ["Success", "Initial"]}});
        assert_eq!(sent(&all, &["r"], states), ["i PAYMENT 0.05"]);
    }

    #[test]
    fn amounts_of_more_than_32_bits_go_without_integers() {
        let payment: Payment = read(&json!({"id": "pay", "transactions": [
            transaction("c", "Charge", "Success", 3_000_000_000)
        ]}));
        let later = later_transactions(&payment, &BTreeSet::new(), "1", &connection(&json!({})), &mut Notes::default());
        let transaction = later.unwrap().pop().unwrap().transaction;
        assert_eq!((transaction.scale, transaction.unscaled_value), (None, None));
        assert_eq!(transaction.amount.to_string(), "30000000");
    }

    #[test]
    fn the_method_is_looked_up_then_spelt_then_defaulted() {
        let connection = connection(&json!({"order": {"payment_methods": {"GIFT_VOUCHER": "GIFTVOUCHER"}}}));
        assert_eq!(method(Some("GIFT_VOUCHER"), &connection), "GIFTVOUCHER");
        assert_eq!(method(Some("Pay-Pal ü2"), &connection), "PAYPAL2");
        assert_eq!(method(Some("微信"), &connection), "OTHER");
        assert_eq!(method(None, &connection), "OTHER");
    }

    #[test]
    fn a_transaction_id_that_does_not_fit_is_refused() {
        let payment: Payment = read(&json!({"id": "pay", "interfaceId": "x".repeat(256), "transactions": [
            transaction("c", "Charge", "Success", 1)
        ]}));
        let later = later_transactions(&payment, &BTreeSet::new(), "1", &connection(&json!({})), &mut Notes::default());
        assert_eq!(
            later.unwrap_err().to_string(),
            "Payment pay has a transaction id longer than 255 characters; Fluent cannot hold it."
        );
    }

    #[test]
    fn a_payment_that_was_not_expanded_is_noted() {
        let order = crate::sync::fixture::order(&json!({"paymentInfo": {"payments": [{"obj": null}]}}));
        let mut notes = Notes::default();
        assert_eq!(transactions(&order, &connection(&json!({})), &mut notes).unwrap(), []);
        assert_eq!(notes.sentences, ["Payment pay-1 of order 20001 could not be read; the order goes without it."]);
    }
}
