//! Writing a customer into Fluent, and forgetting one there (C 4, 10).

use serde::Deserialize;
use serde_json::{Value, json};

use super::ensure::{Written, content, upsert};
use super::inbox::{missing, read};
use super::{ADDRESSES, KIND, to_fluent};
use crate::app::{App, Connection};
use crate::commercetools::client::{Page, Query};
use crate::commercetools::model::Customer;
use crate::failure::{Failure, Outcome, Skip, skip};
use crate::fluent::input::UpdateCustomerInput;
use crate::fluent::operation;
use crate::queue::Message;
use crate::store::Mapping;
use crate::sync::attribute;
use crate::sync::catalogue::{extra, note};
use crate::sync::connection;

/// Orders of one look.
const PAGE: u16 = 500;

#[derive(Debug, Deserialize)]
struct Notice {
    id: String,
}

/// `fluent.upsert-customer`: makes sure that Fluent has the customer as it is.
///
/// # Errors
/// Rejections of C 4.5; retries by class.
pub async fn send(app: App, message: Message) -> Outcome {
    let Notice { id } = message.payload()?;
    let connection = connection(&app, &message)?;
    let row = app.store().read().await?.mapping(message.connection(), KIND, &id).await?;
    let Some(customer) = read(&message, connection, &id).await? else {
        return missing(&message, row.as_ref(), &id);
    };
    let mapped = to_fluent(&customer, &connection.config)?;
    note(&message, &mapped.notes);
    match upsert(&app, &message, connection, &mapped, Some(&customer)).await?.written {
        true => message.tell(format!("customer {} is in Fluent", super::label(&customer))),
        false => message.unchanged(),
    }
    Ok(())
}

/// Is the customer in Fluent as it is now?
pub fn is_unchanged(row: &Mapping, customer: &Customer, connection: &Connection) -> bool {
    let hash = to_fluent(customer, &connection.config).and_then(|mapped| content(&mapped));
    row.fluent_id.is_some() && hash.is_ok_and(|hash| row.content_hash.as_ref() == Some(&hash))
}

/// `fluent.anonymise-customer`: makes Fluent forget who a customer was, and forgets what we received of that person.
///
/// # Errors
/// As the client says.
pub async fn anonymise(app: App, message: Message) -> Outcome {
    let Notice { id } = message.payload()?;
    let connection = connection(&app, &message)?;
    let row = app.store().read().await?.mapping(message.connection(), KIND, &id).await?;
    let Some(mut row) = row.filter(|row| row.fluent_id.is_some()) else {
        return skip(Skip::Ignored, format!("Customer {id} was never sent to Fluent."));
    };
    let input = anonymous(&id, row.fluent_ref.as_deref().unwrap_or(&id), &extra::<Written>(&row));
    let fluent = connection.fluent.on(message.call());
    let _: Value = fluent.run(&operation::UPDATE_CUSTOMER, json!({"input": input})).await?;
    let orders = orders_of(&message, connection, &id).await?;
    let count = orders.len();
    let subjects: Vec<String> =
        orders.iter().map(|order| format!("order:{order}")).chain([format!("{KIND}:{id}")]).collect();
    row.state = "inactive".into();
    row.content_hash = None;
    row.last_message = Some(message.id());
    let name = message.connection().to_owned();
    message.with(move |tx| {
        Box::pin(async move {
            tx.put_mapping(&row).await?;
            tx.erase_bodies(&name, &subjects).await
        })
    });
    message.tell(format!(
        "customer {id} is anonymous in Fluent; the addresses inside {count} orders stay there, Fluent cannot change them \
         for us"
    ));
    Ok(())
}

/// What takes the place of a person.
pub fn anonymous(id: &str, username: &str, written: &Written) -> UpdateCustomerInput {
    let empty = || Some(String::new());
    let addresses = written.attributes.iter().filter(|name| ADDRESSES.contains(&name.as_str()));
    UpdateCustomerInput {
        username: username.to_owned(),
        title: empty(),
        first_name: empty(),
        last_name: empty(),
        primary_email: Some(format!("{id}@erased.invalid")),
        primary_phone: empty(),
        country: None,
        timezone: None,
        promotion_opt_in: Some(false),
        attributes: addresses.map(|name| attribute::string(name, "")).collect(),
    }
}

/// Ids of the orders that commercetools has of a customer.
async fn orders_of(message: &Message, connection: &Connection, id: &str) -> Result<Vec<String>, Failure> {
    #[derive(Deserialize)]
    struct Row {
        id: String,
    }
    let commercetools = connection.commercetools.on(message.call());
    let mut orders: Vec<String> = vec![];
    loop {
        let mut query = Query {
            predicates: vec!["customerId = :customer".into()],
            variables: vec![("customer".into(), id.to_owned())],
            sort: vec!["id asc".into()],
            limit: PAGE,
        };
        if let Some(last) = orders.last() {
            query.predicates.push("id > :last".into());
            query.variables.push(("last".into(), last.clone()));
        }
        let page: Page<Row> = commercetools.query("GET /orders", &query).await?;
        let is_last = page.results.len() < usize::from(PAGE);
        orders.extend(page.results.into_iter().map(|row| row.id));
        if is_last {
            return Ok(orders);
        }
    }
}
