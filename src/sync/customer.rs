//! Customers, commercetools → Fluent: registered ones and guests of orders.
//!
//! Routes `commercetools.customer-changed`, `commercetools.customer-deleted` (in `inbox`), `fluent.upsert-customer`,
//! `fluent.anonymise-customer` (in `send`), all of subject `customer:<id>`; `job.customer-sync` finds what no notification
//! told of. Orders make sure of their buyer themselves (in `ensure`).
//! The pure part: [`to_fluent`] maps a customer, [`guest_to_fluent`] the buyer of an order without one.
//! Field table: `commercetools-to-fluent`, section 4.

mod ensure;
pub mod inbox;
pub mod send;

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::attribute::{self, own};
use super::canonical::hex;
use super::connection;
use super::order::address;
use super::text::{Notes, fill, fits, present};
use super::walk::{Walk, walk};
use crate::app::App;
use crate::commercetools::model::{Address, Customer, Order};
use crate::config::model::{Connection, CustomerAddresses, Guest};
use crate::config::timing::Timing;
use crate::failure::{Failure, Outcome};
use crate::fluent::input::{AttributeInput, CreateCustomerInput, Id, UpdateCustomerInput};
use crate::queue::{Message, Routes};

pub use ensure::ensure;

/// Mapping kind of registered customers.
pub const KIND: &str = "customer";

/// The stream of the customers; its cursor carries this name.
pub const STREAM: &str = "customer-sync";

/// Attributes that hold addresses (`customer.addresses: default`).
const ADDRESSES: [&str; 2] = ["defaultShippingAddress", "defaultBillingAddress"];

/// Registers this flow's routes.
pub fn register(routes: &mut Routes) {
    routes.inbox("commercetools.customer-changed", inbox::changed);
    routes.inbox("commercetools.customer-deleted", inbox::deleted);
    routes.outbox("fluent.upsert-customer", send::send);
    routes.outbox("fluent.anonymise-customer", send::anonymise);
    routes.job("job.customer-sync", sync).timed(|connection| {
        let config = &connection.customer;
        (config.enabled && !config.poll.0.is_zero()).then(|| Timing::every(config.poll))
    });
}

/// `job.customer-sync`: walks the customers that changed in a frozen window, page by page.
///
/// # Errors
/// As [`walk`].
pub async fn sync(app: App, message: Message) -> Outcome {
    let customers = Walk {
        stream: STREAM,
        collection: "GET /customers",
        kind: KIND,
        route: "commercetools.customer-changed",
        plural: "customers",
    };
    walk(&app, &message, connection(&app, &message)?, &customers).await
}

/// What people call a customer: its number, else its id.
pub fn label(customer: &Customer) -> &str {
    customer.customer_number.as_deref().unwrap_or(&customer.id)
}

/// A customer as Fluent gets it.
#[derive(Clone, Debug, PartialEq)]
pub struct Mapped {
    /// Its key in the mapping: the customer id; of a guest the hash of the email, or the order id.
    pub commercetools_id: String,
    /// From an order without customer: mapping kind `guest`, and updates are narrower.
    pub guest: bool,
    pub create: CreateCustomerInput,
    pub notes: Notes,
}

impl Mapped {
    /// The update of the customer that Fluent knows by `username`, which may be an adopted one. Of a guest only name
    /// and phone are kept up to date.
    pub fn update(&self, username: &str) -> UpdateCustomerInput {
        let create = self.create.clone();
        let registered = !self.guest;
        UpdateCustomerInput {
            username: username.to_owned(),
            title: create.title.filter(|_| registered),
            first_name: create.first_name,
            last_name: create.last_name,
            primary_email: registered.then_some(create.primary_email),
            primary_phone: create.primary_phone,
            country: create.country.filter(|_| registered),
            timezone: registered.then_some(create.timezone),
            promotion_opt_in: registered.then_some(create.promotion_opt_in),
            attributes: if registered { create.attributes } else { vec![] },
        }
    }
}

/// A registered customer.
///
/// # Errors
/// Rejected without email, or if the user name or email is longer than Fluent allows.
pub fn to_fluent(customer: &Customer, connection: &Connection) -> Result<Mapped, Failure> {
    let label = label(customer);
    let Some(email) = present(Some(&customer.email)) else {
        return Err(Failure::rejected(format!("Customer {label} has no email; Fluent requires one.")));
    };
    let subject = format!("Customer {label}");
    let mut notes = Notes::default();
    let address = main_address(customer);
    let person = Person {
        title: customer.title.as_deref(),
        first_name: customer.first_name.as_deref(),
        last_name: customer.last_name.as_deref(),
        company: customer.company_name.as_deref(),
        address,
    };
    let create = CreateCustomerInput {
        promotion_opt_in: promotion_opt_in(customer, connection),
        attributes: attributes(customer, connection, &mut notes),
        ..person.create(username(customer, connection), email, connection, &mut notes)
    };
    check_limits(&create, &subject)?;
    Ok(Mapped { commercetools_id: customer.id.clone(), guest: false, create, notes })
}

/// The buyer of an order without customer (or whose customer is gone). All fields come from one address.
///
/// # Errors
/// Rejected if the email is longer than Fluent allows.
pub fn guest_to_fluent(order: &Order, connection: &Connection) -> Result<Mapped, Failure> {
    let mut notes = Notes::default();
    let address = order.billing_address.as_ref().or(order.shipping_address.as_ref());
    let email = present(order.customer_email.as_deref()).or_else(|| present(address?.email.as_deref()));
    let key = match (email, connection.customer.guest) {
        (Some(email), Guest::ByEmail) => hex(&Sha256::digest(email.to_lowercase()))[..32].to_owned(),
        _ => order.id.clone(),
    };
    let invalid = format!("{}@guest.invalid", order.id);
    let person = Person {
        title: address.and_then(|address| address.title.as_deref()),
        first_name: address.and_then(|address| address.first_name.as_deref()),
        last_name: address.and_then(|address| address.last_name.as_deref()),
        company: address.and_then(|address| address.company.as_deref()),
        address,
    };
    let username = format!("guest-{key}");
    let create = CreateCustomerInput {
        attributes: vec![attribute::typed(own(connection, "Guest"), "BOOLEAN", true)],
        ..person.create(username, email.unwrap_or(&invalid), connection, &mut notes)
    };
    let subject = format!("Order {}", super::order::label(order));
    check_limits(&create, &subject)?;
    Ok(Mapped { commercetools_id: key, guest: true, create, notes })
}

/// What a customer and a guest have in common.
struct Person<'a> {
    title: Option<&'a str>,
    first_name: Option<&'a str>,
    last_name: Option<&'a str>,
    company: Option<&'a str>,
    /// Where phone and country are taken from.
    address: Option<&'a Address>,
}

impl Person<'_> {
    fn create(&self, username: String, email: &str, connection: &Connection, notes: &mut Notes) -> CreateCustomerInput {
        let rules = &connection.customer;
        let named = present(self.first_name).or(present(self.last_name)).is_some();
        let last_name = if named { self.last_name } else { self.company };
        let address_country = self.address.and_then(|address| present(address.country.as_deref()));
        let country = address_country.or(rules.country_default.as_deref());
        let timezone = country.and_then(|country| rules.timezone_by_country.get(country)).unwrap_or(&rules.timezone);
        CreateCustomerInput {
            username,
            title: notes.cut("title", self.title, 50),
            first_name: notes.cut("firstName", self.first_name, 50),
            last_name: notes.cut("lastName", last_name, 50),
            primary_email: email.to_owned(),
            primary_phone: notes.phone(self.address.and_then(address::phone)),
            country: notes.cut("country", country, 100),
            timezone: timezone.clone(),
            promotion_opt_in: false,
            retailer: Id { id: connection.fluent.retailer_id.to_string() },
            attributes: vec![],
        }
    }
}

/// The default shipping address, else the default billing address, else the first.
fn main_address(customer: &Customer) -> Option<&Address> {
    by_id(customer, customer.default_shipping_address_id.as_deref())
        .or_else(|| by_id(customer, customer.default_billing_address_id.as_deref()))
        .or(customer.addresses.first())
}

fn by_id<'a>(customer: &'a Customer, id: Option<&str>) -> Option<&'a Address> {
    let id = id?;
    customer.addresses.iter().find(|address| address.id.as_deref() == Some(id))
}

/// Tokens without value fall back to the id, which is always there and unique.
fn username(customer: &Customer, connection: &Connection) -> String {
    let or_id = |value: Option<&str>| present(value).unwrap_or(&customer.id).to_owned();
    fill(&connection.customer.username_pattern, |token| match token {
        "id" => Some(customer.id.clone()),
        "email" => Some(customer.email.to_lowercase()),
        "customer_number" => Some(or_id(customer.customer_number.as_deref())),
        "key" => Some(or_id(customer.key.as_deref())),
        _ => None,
    })
}

/// Consent is never assumed: only `true` or `"true"` in the field is one.
fn promotion_opt_in(customer: &Customer, connection: &Connection) -> bool {
    let rule = &connection.customer.promotion_opt_in;
    let field = rule.custom_field.as_deref().and_then(|name| customer.custom.as_ref()?.field(name));
    match field {
        Some(Value::Bool(given)) => *given,
        Some(Value::String(given)) => given == "true",
        Some(_) => false,
        None => rule.default,
    }
}

fn attributes(customer: &Customer, connection: &Connection, notes: &mut Notes) -> Vec<AttributeInput> {
    let mut attributes = vec![attribute::string(own(connection, "Id"), &customer.id)];
    if let Some(number) = present(customer.customer_number.as_deref()) {
        attributes.push(attribute::string(own(connection, "CustomerNumber"), number));
    }
    if connection.customer.addresses == CustomerAddresses::Default {
        let defaults = [
            (ADDRESSES[0], customer.default_shipping_address_id.as_deref()),
            (ADDRESSES[1], customer.default_billing_address_id.as_deref()),
        ];
        for (name, id) in defaults {
            if let Some(address) = by_id(customer, id) {
                let fields = address::fields(address, None, &connection.order, notes);
                // Absent members are left out, so the value has no nulls.
                attributes.push(attribute::typed(name, "JSON", serde_json::json!(fields)));
            }
        }
    }
    let chain: Vec<&str> = connection.locale.chain.iter().map(String::as_str).collect();
    attributes.extend(attribute::from_rules(&customer.source, &connection.customer.attributes, &chain));
    attributes
}

/// User name and email identify and are therefore not cut.
fn check_limits(create: &CreateCustomerInput, subject: &str) -> Result<(), Failure> {
    let too_long = |what| format!("{subject} has {what} longer than 250 characters; Fluent cannot hold it.");
    if !fits(&create.primary_email, 250) {
        return Err(Failure::rejected(too_long("an email")));
    }
    if !fits(&create.username, 250) {
        return Err(Failure::rejected(too_long("a Fluent user name")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::fixture::{connection, order, read};
    use serde_json::json;

    fn customer(changes: &[(&str, Value)]) -> Customer {
        let mut document = json!({
            "id": "c-1", "version": 3, "customerNumber": "C-7", "key": "ada", "email": "Ada@Example.com",
            "firstName": "Ada", "lastName": "Lindqvist", "companyName": "Lindqvist Ltd",
            "addresses": [
                {"id": "a", "country": "DE", "phone": "1"}, {"id": "b", "country": "AT", "phone": "2"},
                {"id": "c", "country": "FR", "phone": "3", "city": "Lille"}
            ],
            "custom": {"fields": {"consent": true, "tier": "gold"}}
        });
        for (name, value) in changes {
            document[*name] = value.clone();
        }
        read(&document)
    }

    fn create(changes: &[(&str, Value)], overrides: Value) -> CreateCustomerInput {
        to_fluent(&customer(changes), &connection(&json!({ "customer": overrides }))).unwrap().create
    }

    #[test]
    fn phone_and_country_come_from_one_address() {
        let of = |changes: &[(&str, Value)]| {
            let create = create(changes, json!({}));
            (create.primary_phone.unwrap(), create.country.unwrap())
        };
        assert_eq!(of(&[]), ("1".into(), "DE".into()));
        let billing = ("defaultBillingAddressId", json!("b"));
        assert_eq!(of(std::slice::from_ref(&billing)), ("2".into(), "AT".into()));
        assert_eq!(of(&[billing, ("defaultShippingAddressId", json!("c"))]), ("3".into(), "FR".into()));
        let nowhere = create(&[("addresses", json!([]))], json!({"country_default": "SE"}));
        assert_eq!((nowhere.primary_phone, nowhere.country.as_deref()), (None, Some("SE")));
    }

    #[test]
    fn the_time_zone_follows_the_country() {
        let rules = json!({"timezone": "Europe/London", "timezone_by_country": {"AT": "Europe/Vienna"}});
        assert_eq!(create(&[], rules.clone()).timezone, "Europe/London");
        assert_eq!(create(&[("defaultBillingAddressId", json!("b"))], rules).timezone, "Europe/Vienna");
    }

    #[test]
    fn consent_is_never_assumed() {
        let rules = |default: bool| json!({"promotion_opt_in": {"custom_field": "consent", "default": default}});
        let given = |consent: Value, default: bool| {
            create(&[("custom", json!({"fields": {"consent": consent}}))], rules(default)).promotion_opt_in
        };
        assert!(given(json!(true), false) && given(json!("true"), false) && given(json!(null), true));
        assert!(!given(json!(false), true) && !given(json!("yes"), true) && !given(json!(1), true));
        assert!(!create(&[], json!({})).promotion_opt_in, "no field is configured");
    }

    #[test]
    fn a_company_is_a_last_name_only_where_no_name_is() {
        let name = |first: Value, last: Value| {
            let create = create(&[("firstName", first), ("lastName", last)], json!({}));
            (create.first_name, create.last_name)
        };
        assert_eq!(name(json!(null), json!("")), (None, Some("Lindqvist Ltd".into())));
        assert_eq!(name(json!("Ada"), json!(null)), (Some("Ada".into()), None));
    }

    #[test]
    fn user_names_follow_the_pattern() {
        let named =
            |pattern: &str, changes: &[(&str, Value)]| create(changes, json!({ "username_pattern": pattern })).username;
        assert_eq!(named("{email}|{customer_number}|{key}|{id}", &[]), "ada@example.com|C-7|ada|c-1");
        assert_eq!(named("x-{customer_number}", &[("customerNumber", json!(null))]), "x-c-1");
    }

    #[test]
    fn more_attributes_come_by_configuration() {
        let rules = json!({"addresses": "default", "attributes": [
            {"from": "custom.fields.tier", "to": "tier", "type": "STRING"}
        ]});
        let attributes = create(&[("defaultShippingAddressId", json!("c"))], rules).attributes;
        let shown: Vec<(&str, &Value)> =
            attributes.iter().map(|attribute| (attribute.name.as_str(), &attribute.value)).collect();
        assert_eq!(
            shown,
            [
                ("commercetoolsId", &json!("c-1")),
                ("commercetoolsCustomerNumber", &json!("C-7")),
                ("defaultShippingAddress", &json!({"city": "Lille", "country": "FR"})),
                ("tier", &json!("gold")),
            ]
        );
    }

    #[test]
    fn customers_fluent_cannot_hold_are_refused() {
        let refused =
            |changes: &[(&str, Value)]| to_fluent(&customer(changes), &connection(&json!({}))).unwrap_err().to_string();
        assert_eq!(refused(&[("email", json!(""))]), "Customer C-7 has no email; Fluent requires one.");
        assert_eq!(
            refused(&[("email", json!("x".repeat(251)))]),
            "Customer C-7 has an email longer than 250 characters; Fluent cannot hold it."
        );
        assert_eq!(
            refused(&[("id", json!("x".repeat(251)))]),
            "Customer C-7 has a Fluent user name longer than 250 characters; Fluent cannot hold it."
        );
    }

    #[test]
    fn an_update_keeps_the_user_name_fluent_knows() {
        let mapped = to_fluent(&customer(&[]), &connection(&json!({}))).unwrap();
        let update = serde_json::to_value(mapped.update("adopted")).unwrap();
        let create = serde_json::to_value(&mapped.create).unwrap();
        assert_eq!((&update["username"], update.get("retailer")), (&json!("adopted"), None));
        for member in ["primaryEmail", "timezone", "promotionOptIn", "attributes", "country"] {
            assert_eq!(update[member], create[member], "{member}");
        }
    }

    #[test]
    fn guests_share_a_customer_by_email() {
        let guest = |changes: Value, rule: &str| {
            let connection = connection(&json!({"customer": {"guest": rule}}));
            guest_to_fluent(&order(&changes), &connection).unwrap()
        };
        let one = guest(json!({"customerEmail": "Sam.Reyes@example.org"}), "by_email");
        assert_eq!(one.create.username, "guest-0acc1d45e8ba6e2fef23c41d035a584d");
        assert_eq!(one.commercetools_id, "0acc1d45e8ba6e2fef23c41d035a584d");
        assert_eq!(one.create.last_name.as_deref(), Some("Lindqvist Ltd"), "from the billing address, name and all");
        assert_eq!(one.create.first_name, None);
        let id = "5b2c9a70-0000-4000-8000-00000000a001";
        let other = guest(json!({}), "by_order");
        assert_eq!(other.create.username, format!("guest-{id}"));
        assert_eq!(other.create.primary_email, "ada@example.com");
        let nameless =
            guest(json!({"customerEmail": null, "billingAddress": null, "shippingAddress": null}), "by_email");
        assert_eq!(nameless.create.username, format!("guest-{id}"));
        assert_eq!(nameless.create.primary_email, format!("{id}@guest.invalid"));
        let reached = guest(json!({"customerEmail": null, "billingAddress": null}), "by_email");
        assert_eq!(reached.create.primary_email, "home@example.com");
    }

    #[test]
    fn later_orders_of_a_guest_update_name_and_phone_only() {
        let mapped = guest_to_fluent(&order(&json!({"billingAddress": null})), &connection(&json!({}))).unwrap();
        assert_eq!(
            serde_json::to_value(mapped.update("guest-x")).unwrap(),
            json!({"username": "guest-x", "firstName": "Ada", "lastName": "Lindqvist", "primaryPhone": "+49 151 1"})
        );
    }
}
