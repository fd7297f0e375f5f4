//! An order that Fluent has was changed in commercetools (C 7).
//!
//! Route `fluent.update-order`. What Fluent was told is remembered class by class; only classes that
//! differ are sent, and each is remembered as soon as it is. Doing it twice changes nothing.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::create::{json_input, read};
use super::told::{Class, Item, Told};
use super::{inbox, label, to_fluent_as};
use crate::app::{App, Connection};
use crate::commercetools::model::Order;
use crate::config::model::ChangedLines;
use crate::failure::{Failure, Outcome};
use crate::fluent::change::{
    AddressInput, ChoiceState, OrderById, OrderState, UpdateFulfilmentChoiceInput, UpdateOrderInput,
};
use crate::fluent::event::{Event, Status};
use crate::fluent::input::{CreateFulfilmentChoiceWithOrderInput, CreateOrderBillingAddressInput, CreateOrderInput};
use crate::fluent::operation::{self, Operation};
use crate::queue::Message;
use crate::sync::attribute;
use crate::sync::connection;
use crate::sync::order_lookup::Pair;

#[derive(Debug, Deserialize)]
struct Update {
    id: String,
}

/// `fluent.update-order`: makes sure that Fluent's order is what commercetools' order became.
///
/// # Errors
/// Rejected with the sentences of C 7, if Fluent cannot take the change any more.
pub async fn send(app: App, message: Message) -> Outcome {
    let Update { id } = message.payload()?;
    let connection = connection(&app, &message)?;
    let pair = Pair::load(&mut app.store().read().await?, message.connection(), &id).await?;
    let Some(mut pair) = pair.filter(|pair| pair.mapping.fluent_id.is_some()) else {
        return Err(Failure::Waiting {
            key: format!("order:{id}"),
            sentence: format!("Waiting for order {id} to reach Fluent."),
        });
    };
    let Some(order) = read(&message, connection, &id).await? else {
        return Err(inbox::missing(&app, &message, Some(&pair), &id).await?);
    };
    let reference = pair.mapping.fluent_ref.clone().unwrap_or_default();
    let input = to_fluent_as(&order, &reference, "", &connection.config)?.input;
    let now = Told::of(&input)?;
    let mut told = pair.extra.told.clone().unwrap_or_else(|| now.clone());
    let asked: BTreeSet<Class> = message.payloads().flat_map(classes).collect();
    let news: BTreeSet<Class> = now.news(&told).intersection(&asked).copied().collect();
    if news.is_empty() {
        message.unchanged();
        return Ok(());
    }
    let state = state(&message, connection, pair.mapping.fluent_id.as_deref().unwrap_or_default()).await?;
    let mut change =
        Change { message: &message, connection, order: &order, input: &input, state, now: &now, told: &mut told };
    let outcome = change.send(&news).await;
    pair.extra.reported.retain(|class, hash| now.hash(*class) == Some(hash));
    if matches!(outcome, Err(Failure::Rejected { .. })) {
        let refused = now.news(&told).intersection(&news).copied().collect::<Vec<_>>();
        let refused = refused.into_iter().filter_map(|class| Some((class, now.hash(class)?.clone())));
        pair.extra.reported.extend(refused);
    }
    pair.extra.told = Some(told);
    let row = pair.row(&message);
    message.with(move |tx| Box::pin(async move { tx.put_mapping(&row).await }));
    outcome
}

/// The classes that a message asks for.
fn classes(payload: &Value) -> Vec<Class> {
    serde_json::from_value(payload["classes"].clone()).unwrap_or_default()
}

/// The order as Fluent has it now.
///
/// # Errors
/// Rejected if Fluent lost it.
pub async fn state(message: &Message, connection: &Connection, fluent_id: &str) -> Result<OrderState, Failure> {
    let fluent = connection.fluent.on(message.call());
    let found: OrderById = fluent.run(&operation::ORDER_BY_ID, json!({"id": fluent_id})).await?;
    found.order.ok_or_else(|| Failure::rejected(format!("Fluent has no ORDER with id {fluent_id} any more.")))
}

struct Change<'a> {
    message: &'a Message,
    connection: &'a Connection,
    order: &'a Order,
    input: &'a CreateOrderInput,
    state: OrderState,
    now: &'a Told,
    told: &'a mut Told,
}

impl Change<'_> {
    /// Sends every class that Fluent takes; answers why it does not take the others.
    async fn send(&mut self, news: &BTreeSet<Class>) -> Outcome {
        let mut refused: Vec<String> = vec![];
        let (addressed, others): (Vec<Class>, Vec<Class>) =
            news.iter().partition(|class| !matches!(class, Class::Attributes | Class::Lines));
        let mut sendable = others;
        match self.is_editable() {
            true => sendable.extend(addressed),
            false if addressed.is_empty() => {}
            false => refused.push(format!(
                "The address of order {} changed, but Fluent is already at {}. Tell the store.",
                label(self.order),
                self.state.status()
            )),
        }
        refused.extend(self.update_order(&sendable).await?);
        for (at, choice) in self.choices().into_iter().enumerate() {
            self.update_choice(at, &choice, &sendable).await?;
        }
        if sendable.contains(&Class::Lines) {
            refused.extend(self.lines().await?);
        }
        match refused.is_empty() {
            true => {
                self.message.tell(format!("order {} was changed in Fluent", label(self.order)));
                Ok(())
            }
            false => Err(Failure::rejected(refused.join(" "))),
        }
    }

    fn is_editable(&self) -> bool {
        let editable = &self.connection.config.order_change.editable_statuses;
        self.state.status.as_ref().is_some_and(|status| editable.contains(status))
    }

    fn choices(&self) -> Vec<CreateFulfilmentChoiceWithOrderInput> {
        self.input.fulfilment_choices.iter().chain(&self.input.fulfilment_choice).cloned().collect()
    }

    /// Billing address and attributes.
    async fn update_order(&mut self, classes: &[Class]) -> Result<Option<String>, Failure> {
        let (mut refused, mut taken) = (None, vec![]);
        let mut update = UpdateOrderInput { id: self.state.id.clone(), billing_address: None, attributes: vec![] };
        if let Some(billing) = self.input.billing_address.as_ref().filter(|_| classes.contains(&Class::BillingAddress))
        {
            match &self.state.billing_address {
                Some(known) => {
                    update.billing_address = Some(billing_address(&known.id, billing));
                    taken.push(Class::BillingAddress);
                }
                None => {
                    refused = Some(format!(
                        "Order {} got a billing address after it was sent; Fluent cannot add one later.",
                        label(self.order)
                    ));
                }
            }
        }
        if classes.contains(&Class::Attributes) {
            update.attributes = self.input.attributes.clone();
            update.attributes.extend(attribute::emptied(self.told.attributes(), &self.input.attributes));
            taken.push(Class::Attributes);
        }
        if !taken.is_empty() {
            self.write(&operation::UPDATE_ORDER, &update, &taken).await?;
        }
        Ok(refused)
    }

    /// Who receives or collects what, and where.
    async fn update_choice(
        &mut self,
        at: usize,
        choice: &CreateFulfilmentChoiceWithOrderInput,
        classes: &[Class],
    ) -> Outcome {
        let (contact, pickup) = (Class::Contact(at), Class::Pickup(at));
        let taken: Vec<Class> =
            classes.iter().filter(|class| **class == contact || **class == pickup).copied().collect();
        let (address, moves) = (Class::Address(at), classes.contains(&Class::Address(at)));
        if taken.is_empty() && !moves {
            return Ok(());
        }
        let known = self.known_choice(at, choice)?;
        if !taken.is_empty() {
            let update = choice_update(&known.id, choice, taken.contains(&contact), taken.contains(&pickup));
            self.write(&operation::UPDATE_FULFILMENT_CHOICE, &update, &taken).await?;
        }
        if let (true, Some(wanted)) = (moves, &choice.delivery_address) {
            let Some(known) = known.delivery_address else {
                return Err(Failure::rejected(format!(
                    "Order {} got a delivery address after it was sent; Fluent cannot add one later.",
                    label(self.order)
                )));
            };
            let update = AddressInput { id: known.id, address: wanted.address.clone() };
            self.write(&operation::UPDATE_CUSTOMER_ADDRESS, &update, &[address]).await?;
        }
        Ok(())
    }

    fn known_choice(&self, at: usize, choice: &CreateFulfilmentChoiceWithOrderInput) -> Result<ChoiceState, Failure> {
        let known = self.state.choice(&choice.reference, at, self.choices().len()).cloned();
        known.ok_or_else(|| {
            Failure::rejected(format!(
                "Order {} has another number of deliveries in Fluent; edit it there or cancel.",
                label(self.order)
            ))
        })
    }

    /// Items and amounts: Fluent can neither add nor remove items (D-18).
    async fn lines(&mut self) -> Result<Option<String>, Failure> {
        let config = &self.connection.config.order_change;
        let difference = self.now.lines().difference(self.told.lines());
        let edited = format!("Order {} was edited: {difference}.", label(self.order));
        match config.lines {
            ChangedLines::Ignore => self.told.take(Class::Lines, self.now),
            ChangedLines::Report => {
                return Ok(Some(format!("{edited} Fluent cannot take this; edit it there or cancel.")));
            }
            ChangedLines::Event => match self.amend().await? {
                Status::Complete | Status::Pending => self.told.take(Class::Lines, self.now),
                Status::NoMatch | Status::Failed => {
                    return Ok(Some(format!(
                        "{edited} Fluent does not take {} at {}; edit it there or cancel.",
                        config.event_name,
                        self.state.status()
                    )));
                }
            },
        }
        Ok(None)
    }

    /// Tells the workflow what was edited.
    async fn amend(&self) -> Result<Status, Failure> {
        let config = &self.connection.config;
        let (lines, edit) = (self.now.lines(), self.now.lines().edit(self.told.lines()));
        let item = |item: &Item| json!({"ref": item.reference, "productRef": item.sku, "quantity": item.quantity});
        let list = |items: &[Item]| Value::from(items.iter().map(item).collect::<Vec<_>>());
        let changed: Vec<Item> = edit.changed.into_iter().map(|(_, is)| is).collect();
        let mut attributes = Map::new();
        attributes.insert("added".into(), list(&edit.added));
        attributes.insert("removed".into(), list(&edit.removed));
        attributes.insert("changed".into(), list(&changed));
        attributes.insert("totalPrice".into(), lines.total_price.clone().into());
        attributes.insert("totalTaxPrice".into(), lines.total_tax_price.clone().into());
        let place = (config.fluent.account.as_str(), config.fluent.retailer_id);
        let reference = self.state.reference.as_deref().unwrap_or(&self.input.reference);
        let order = (self.state.kind.as_str(), self.state.id.as_str(), reference);
        let event = Event::to_order(&config.order_change.event_name, place, order, attributes);
        let fluent = self.connection.fluent.on(self.message.call());
        Ok(fluent.send_event(crate::config::model::EventMode::Sync, &event).await?.status)
    }

    async fn write(&mut self, operation: &Operation, input: &impl serde::Serialize, classes: &[Class]) -> Outcome {
        let fluent = self.connection.fluent.on(self.message.call());
        let input = serde_json::to_value(json_input(input))
            .map_err(|error| Failure::rejected(format!("The order cannot be written as JSON: {error}")))?;
        let _: Value = fluent.run(operation, input).await?;
        classes.iter().for_each(|class| self.told.take(*class, self.now));
        Ok(())
    }
}

/// The billing address of an order that Fluent has, by the id it has there.
pub fn billing_address(id: &str, address: &CreateOrderBillingAddressInput) -> AddressInput {
    AddressInput { id: id.to_owned(), address: address.clone() }
}

fn choice_update(
    id: &str,
    choice: &CreateFulfilmentChoiceWithOrderInput,
    contact: bool,
    pickup: bool,
) -> UpdateFulfilmentChoiceInput {
    let of_contact = |text: &Option<String>| text.clone().filter(|_| contact);
    UpdateFulfilmentChoiceInput {
        id: id.to_owned(),
        delivery_first_name: of_contact(&choice.delivery_first_name),
        delivery_last_name: of_contact(&choice.delivery_last_name),
        delivery_contact: of_contact(&choice.delivery_contact),
        delivery_email: of_contact(&choice.delivery_email),
        delivery_instruction: of_contact(&choice.delivery_instruction),
        deliver_after: of_contact(&choice.deliver_after),
        deliver_before: of_contact(&choice.deliver_before),
        pickup_location_ref: choice.pickup_location_ref.clone().filter(|_| pickup),
    }
}
