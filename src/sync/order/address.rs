//! Addresses of orders as Fluent takes them (`commercetools-to-fluent`, 5.6, table "Address").

use crate::commercetools::model::Address;
use crate::config::model::{CountryForm, Order, StreetNumber};
use crate::fluent::input::CreateOrderBillingAddressInput;
use crate::sync::country;
use crate::sync::text::{Notes, present};

/// The members of an address. `email` is used where the address has none of its own.
pub fn fields(
    address: &Address,
    email: Option<&str>,
    rules: &Order,
    notes: &mut Notes,
) -> CreateOrderBillingAddressInput {
    let name = name(address);
    let country = present(address.country.as_deref());
    let country = match rules.country {
        CountryForm::Code => country,
        CountryForm::Name => country.map(|code| country::name(code).unwrap_or(code)),
    };
    CreateOrderBillingAddressInput {
        company_name: notes.cut("companyName", address.company.as_deref(), LINE),
        name: notes.cut("name", name.as_deref(), LINE),
        street: notes.cut("street", street(address, rules).as_deref(), LINE),
        street2: notes.cut("street2", street2(address).as_deref(), LINE),
        city: notes.cut("city", address.city.as_deref(), LINE),
        state: notes.cut("state", address.state.as_deref(), 200),
        postcode: notes.cut("postcode", address.postal_code.as_deref(), 100),
        region: notes.cut("region", address.region.as_deref(), 250),
        country: notes.cut("country", country, 100),
        email: present(address.email.as_deref()).or(present(email)).map(str::to_owned),
    }
}

/// Longest address line.
const LINE: usize = 255;

/// The mobile number, else the phone.
pub fn phone(address: &Address) -> Option<&str> {
    present(address.mobile.as_deref()).or(present(address.phone.as_deref()))
}

/// First and last name, else the company.
fn name(address: &Address) -> Option<String> {
    join(&[address.first_name.as_deref(), address.last_name.as_deref()], " ")
        .or_else(|| present(address.company.as_deref()).map(str::to_owned))
}

fn street(address: &Address, rules: &Order) -> Option<String> {
    let last = match rules.street_number {
        StreetNumber::Auto => address.country.as_deref().is_some_and(country::number_comes_last),
        StreetNumber::After => true,
        StreetNumber::Before => false,
    };
    let (street, number) = (address.street_name.as_deref(), address.street_number.as_deref());
    if last { join(&[street, number], " ") } else { join(&[number, street], " ") }
}

fn street2(address: &Address) -> Option<String> {
    let po_box = present(address.po_box.as_deref()).map(|number| format!("PO Box {number}"));
    let parts = [
        address.additional_street_info.as_deref(),
        address.building.as_deref(),
        address.apartment.as_deref(),
        po_box.as_deref(),
    ];
    join(&parts, ", ")
}

/// The parts that are there; `None` if none is.
fn join(parts: &[Option<&str>], between: &str) -> Option<String> {
    let parts: Vec<&str> = parts.iter().filter_map(|part| present(*part)).collect();
    (!parts.is_empty()).then(|| parts.join(between))
}
