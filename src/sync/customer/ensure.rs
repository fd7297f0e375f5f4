//! Making sure that the buyer of an order exists in Fluent (C 4.2, 5.4).

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{KIND, Mapped, guest_to_fluent, to_fluent};
use crate::app::{App, Connection};
use crate::commercetools::model::{Customer, Order};
use crate::failure::Failure;
use crate::fluent::input::{CreateCustomerInput, UpdateCustomerInput};
use crate::fluent::model::{self, Created};
use crate::fluent::{self, operation};
use crate::queue::Message;
use crate::store::{Mapping, Urgency};
use crate::sync::attribute::{self, own};
use crate::sync::canonical::canonical_hash;
use crate::sync::catalogue::{extra, set_extra};

/// Answers the Fluent id of the order's customer, creating, adopting or updating it if need be.
///
/// # Errors
/// Rejections of C 4.5; retries by class.
pub async fn ensure(app: &App, message: &Message, connection: &Connection, order: &Order) -> Result<String, Failure> {
    if let Some(id) = &order.customer_id {
        let known = app.store().read().await?.mapping(message.connection(), KIND, id).await?;
        if let Some(id) = known.and_then(|mapping| mapping.fluent_id) {
            return Ok(id);
        }
    }
    let (mapped, customer) = buyer(message, connection, order).await?;
    Ok(upsert(app, message, connection, &mapped, customer.as_ref()).await?.fluent_id)
}

/// A customer that Fluent has as it is mapped.
pub struct Ensured {
    pub fluent_id: String,
    /// Something was written for it.
    pub written: bool,
}

/// What of a customer was written before; Fluent forgets no attribute.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Written {
    /// Names of attributes.
    pub attributes: Vec<String>,
}

/// Creates, adopts or updates the customer in Fluent, unless it is there as it is; remembers that at once.
///
/// # Errors
/// Rejections of C 4.5; retries by class.
pub async fn upsert(
    app: &App,
    message: &Message,
    connection: &Connection,
    mapped: &Mapped,
    customer: Option<&Customer>,
) -> Result<Ensured, Failure> {
    let kind = if mapped.guest { "guest" } else { KIND };
    let hash = content(mapped)?;
    let known = app.store().read().await?.mapping(message.connection(), kind, &mapped.commercetools_id).await?;
    let mut row = known.unwrap_or_else(|| Mapping::new(message.connection(), kind, &mapped.commercetools_id));
    let before: Written = extra(&row);
    let upsert = Upsert { message, connection, fluent: connection.fluent.on(message.call()), mapped, before: &before };
    match (&row.fluent_id, &row.fluent_ref) {
        (Some(id), _) if row.content_hash.as_ref() == Some(&hash) => {
            return Ok(Ensured { fluent_id: id.clone(), written: false });
        }
        (Some(_), Some(username)) => upsert.update(username).await?,
        _ => {
            let person = upsert.create_or_adopt().await?;
            row.fluent_id = Some(person.id);
            row.fluent_ref = Some(person.username);
        }
    }
    set_extra(&mut row, &Written { attributes: attribute::names(&mapped.create.attributes) });
    row.content_hash = Some(hash);
    row.state = "active".into();
    row.last_message = Some(message.id());
    if let Some(customer) = customer {
        row.commercetools_key = customer.customer_number.clone();
        row.commercetools_version = customer.version;
    }
    let fluent_id = row.fluent_id.clone().unwrap_or_default();
    app.store().write(Urgency::Urgent, move |tx| Box::pin(async move { tx.put_mapping(&row).await })).await?;
    Ok(Ensured { fluent_id, written: true })
}

/// Hash of what Fluent is told of a customer.
///
/// # Errors
/// Rejected if it cannot be written as JSON.
pub fn content(mapped: &Mapped) -> Result<String, Failure> {
    canonical_hash(&mapped.create)
        .map_err(|error| Failure::rejected(format!("The customer cannot be written as JSON: {error}")))
}

/// Who bought: the customer, or a guest if there is none (any more).
async fn buyer(
    message: &Message,
    connection: &Connection,
    order: &Order,
) -> Result<(Mapped, Option<Customer>), Failure> {
    if let Some(id) = &order.customer_id {
        let commercetools = connection.commercetools.on(message.call());
        if let Some(customer) = commercetools.customer::<Customer>(id).await? {
            return Ok((to_fluent(&customer, &connection.config)?, Some(customer)));
        }
    }
    Ok((guest_to_fluent(order, &connection.config)?, None))
}

/// A customer that is in Fluent.
struct Person {
    id: String,
    username: String,
}

struct Upsert<'a> {
    message: &'a Message,
    connection: &'a Connection,
    fluent: fluent::Client,
    mapped: &'a Mapped,
    before: &'a Written,
}

#[derive(Deserialize)]
struct Customers {
    customers: model::Connection<model::Customer>,
}

#[derive(Deserialize)]
struct CreatedCustomer {
    #[serde(rename = "createCustomer")]
    customer: Created,
}

impl Upsert<'_> {
    async fn create_or_adopt(&self) -> Result<Person, Failure> {
        if let Some(person) = self.adoptable().await? {
            self.update(&person.username).await?;
            self.message.note(crate::queue::Note::new(
                "customer.adopted",
                format!("The Fluent customer {} was taken over.", person.username),
            ));
            return Ok(person);
        }
        let input = json!({"input": CreateCustomerInput::clone(&self.mapped.create)});
        let created: Result<CreatedCustomer, _> = self.fluent.run(&operation::CREATE_CUSTOMER, input).await;
        match created {
            Ok(created) => Ok(Person { id: created.customer.id, username: self.mapped.create.username.clone() }),
            // Another order of the same buyer was faster.
            Err(error) if error.code == "C0123E" => match self.by_username().await? {
                Some(person) => {
                    self.update(&person.username).await?;
                    Ok(person)
                }
                // Its reads are behind its writes.
                None => Err(self.message.not_there_yet(error.sentence)),
            },
            Err(error) => Err(error.into()),
        }
    }

    /// By user name; else by email, if that is wanted and leaves no doubt.
    async fn adoptable(&self) -> Result<Option<Person>, Failure> {
        if let Some(person) = self.by_username().await? {
            return Ok(Some(person));
        }
        if self.mapped.guest || !self.connection.config.customer.adopt_by_email {
            return Ok(None);
        }
        let variables = json!({"email": [self.mapped.create.primary_email]});
        let found: Customers = self.fluent.run(&operation::CUSTOMERS_BY_EMAIL, variables).await?;
        let guest = own(&self.connection.config, "Guest");
        let mut ours = found.customers.nodes().filter(|customer| {
            self.of_our_retailer(customer)
                && self.may_be_ours(customer)
                && customer.attribute(&guest).is_none_or(|value| value != &Value::Bool(true))
        });
        match (ours.next(), ours.next()) {
            (Some(customer), None) => Ok(person(customer)),
            _ => Ok(None),
        }
    }

    async fn by_username(&self) -> Result<Option<Person>, Failure> {
        let username = &self.mapped.create.username;
        let found: Customers =
            self.fluent.run(&operation::CUSTOMERS_BY_USERNAME, json!({"username": [username]})).await?;
        let Some(customer) = found.customers.nodes().find(|customer| customer.username.as_ref() == Some(username))
        else {
            return Ok(None);
        };
        match self.may_be_ours(customer) {
            true => Ok(person(customer)),
            false => Err(Failure::rejected(format!(
                "Fluent already has a customer with the user name {username} that belongs to another commercetools customer."
            ))),
        }
    }

    /// Without our identity, or with this very one.
    fn may_be_ours(&self, customer: &model::Customer) -> bool {
        let identity = customer.attribute(&own(&self.connection.config, "Id")).and_then(Value::as_str);
        identity.is_none_or(|id| !self.mapped.guest && id == self.mapped.commercetools_id)
    }

    fn of_our_retailer(&self, customer: &model::Customer) -> bool {
        let retailer = self.connection.config.fluent.retailer_id.to_string();
        customer.retailer.as_ref().is_none_or(|of| of.id == retailer)
    }

    async fn update(&self, username: &str) -> Result<(), Failure> {
        let mut input: UpdateCustomerInput = self.mapped.update(username);
        if !self.mapped.guest {
            input.attributes.extend(attribute::emptied(&self.before.attributes, &input.attributes));
        }
        let _: Value = self.fluent.run(&operation::UPDATE_CUSTOMER, json!({"input": input})).await?;
        Ok(())
    }
}

fn person(customer: &model::Customer) -> Option<Person> {
    Some(Person { id: customer.id.clone(), username: customer.username.clone()? })
}
