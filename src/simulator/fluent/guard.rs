//! What the platform checks about an argument beyond its type: lengths, signs, dates.
//!
//! Lengths: platform document 2.3 (255 where a field has none of its own), counted in code points.
//! Codes: platform document 2.4.

use apollo_compiler::Schema;
use apollo_compiler::ast::Type;
use apollo_compiler::schema::ExtendedType;
use chrono::{NaiveDate, NaiveDateTime, NaiveTime};
use serde_json::Value;

use super::store::Refusal;
use crate::clock::{Millis, parse_rfc3339};

/// Checks one argument, input objects included.
pub fn check(schema: &Schema, name: &str, ty: &Type, value: &Value) -> Result<(), Refusal> {
    check_in(schema, "", name, ty, value)
}

fn check_in(schema: &Schema, owner: &str, name: &str, ty: &Type, value: &Value) -> Result<(), Refusal> {
    if value.is_null() {
        return Ok(());
    }
    if ty.is_list() {
        let items = value.as_array().into_iter().flatten();
        return items.into_iter().try_for_each(|item| check_in(schema, owner, name, ty.item_type(), item));
    }
    let kind = ty.inner_named_type().as_str();
    match (kind, value) {
        ("String" | "ID", Value::String(text)) => check_length(owner, name, text),
        ("Int" | "Float", Value::Number(number)) => check_sign(name, number.as_f64().unwrap_or_default()),
        ("DateTime", value) => check_date(name, value),
        _ => match schema.types.get(kind) {
            Some(ExtendedType::InputObject(input)) => {
                if kind == "DateRange" && ["from", "to"].iter().all(|end| value[end].is_null()) {
                    return Err(Refusal::new("C0101E", format!("{name} has neither from nor to")));
                }
                // A category's parent is held to 36 characters, other keys to 100.
                let kind = if name == "parentCategory" { "parentCategory" } else { kind };
                let members = input.fields.iter();
                members
                    .into_iter()
                    .try_for_each(|(member, field)| check_in(schema, kind, member, &field.ty, &value[member.as_str()]))
            }
            _ => Ok(()),
        },
    }
}

fn check_length(owner: &str, name: &str, text: &str) -> Result<(), Refusal> {
    let (length, longest) = (text.chars().count(), longest(owner, name));
    if length <= longest {
        return Ok(());
    }
    Err(Refusal::new("C0141E", format!("{name} has {length} characters, the maximum is {longest}")))
}

fn longest(owner: &str, name: &str) -> usize {
    match (owner, name) {
        ("parentCategory", "ref") => 36,
        (_, "after" | "before") => usize::MAX,
        (_, "ref" | "productRef" | "productCatalogueRef" | "fulfilmentChoiceRef") => 100,
        (owner, "type") if owner.contains("FinancialTransaction") => 25,
        (_, "type") => 50,
        (_, "gtin") => 20,
        (_, "username" | "primaryEmail") => 250,
        (_, "firstName" | "lastName" | "title") => 50,
        (_, "primaryPhone") => 20,
        (_, "timezone") => 32,
        (owner, "country") if owner.contains("CustomerInput") => 100,
        (owner, "state") if owner.contains("Address") => 200,
        (owner, "postcode") if owner.contains("Address") => 100,
        (owner, "region") if owner.contains("Address") => 250,
        (_, "currency") => 3,
        (_, "deliveryInstruction") => 250,
        _ => 255,
    }
}

fn check_sign(name: &str, number: f64) -> Result<(), Refusal> {
    if number < 0.0 && name != "latitude" && name != "longitude" {
        return Err(Refusal::new("C0122E", format!("{name} is negative")));
    }
    Ok(())
}

fn check_date(name: &str, value: &Value) -> Result<(), Refusal> {
    match value.as_str().and_then(instant) {
        Some(_) => Ok(()),
        None => Err(Refusal::new("C0100E", format!("{name}: {value} is not a date"))),
    }
}

/// Reads a `DateTime` (ISO 8601, UTC when no zone is given; platform document 2.1).
pub fn instant(text: &str) -> Option<Millis> {
    let naive = || NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").ok();
    let day = || Some(text.parse::<NaiveDate>().ok()?.and_time(NaiveTime::MIN));
    parse_rfc3339(text).or_else(|| naive().or_else(day).map(|at| at.and_utc().timestamp_millis()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::simulator::fluent::graphql::schema;

    fn code(input: &str, value: Value) -> Result<(), Refusal> {
        let ty = Type::parse(input, "test").unwrap();
        check(schema(), "input", &ty, &value)
    }

    #[test]
    fn lengths_are_the_platforms() {
        let long = |length: usize| "ß".repeat(length);
        assert_eq!(code("CreateOrderInput", json!({"ref": long(100)})), Ok(()));
        let refusal = code("CreateOrderInput", json!({"ref": long(101)})).unwrap_err();
        assert_eq!(refusal.code, "C0141E");
        assert!(refusal.message.contains("ref"), "{refusal}");
        let parent = |length| json!({"parentCategory": {"ref": long(length), "catalogue": {"ref": "c"}}});
        assert_eq!(code("CreateCategoryInput", parent(36)), Ok(()));
        assert_eq!(code("CreateCategoryInput", parent(37)).unwrap_err().code, "C0141E");
        assert_eq!(code("CreateCustomerInput", json!({"primaryPhone": long(21)})).unwrap_err().code, "C0141E");
        assert_eq!(code("CreateVariantProductInput", json!({"summary": long(256)})).unwrap_err().code, "C0141E");
        let address = json!({"fulfilmentChoice": {"deliveryAddress": {"state": long(201)}}});
        assert!(code("CreateOrderInput", address).unwrap_err().message.contains("state"));
        assert_eq!(code("CreateFinancialTransactionInput", json!({"type": long(26)})).unwrap_err().code, "C0141E");
        assert_eq!(code("CreateFinancialTransactionInput", json!({"currency": "EURO"})).unwrap_err().code, "C0141E");
    }

    #[test]
    fn attribute_values_are_free() {
        let attributes = json!({"attributes": [{"name": "n", "type": "STRING", "value": "x".repeat(10_000)}]});
        assert_eq!(code("CreateOrderInput", attributes), Ok(()));
    }

    #[test]
    fn amounts_are_not_negative() {
        assert_eq!(code("CreateOrderInput", json!({"totalPrice": -0.01})).unwrap_err().code, "C0122E");
        let address = json!({"billingAddress": {"latitude": -33.9}});
        assert_eq!(code("CreateOrderInput", address), Ok(()));
    }

    #[test]
    fn ranges_need_an_end_and_dates_must_be_dates() {
        assert_eq!(code("DateRange", json!({})).unwrap_err().code, "C0101E");
        assert_eq!(code("DateRange", json!({"from": "yesterday"})).unwrap_err().code, "C0100E");
        assert_eq!(code("DateRange", json!({"to": "2026-06-15T10:00:00"})), Ok(()));
    }
}
