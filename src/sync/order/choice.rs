//! How a group of an order is delivered: its fulfilment choice (`commercetools-to-fluent`, 5.6).

use super::amounts::Amounts;
use super::delivery::{Deliveries, Group, method};
use super::{REF, address, label};
use crate::commercetools::model::{Address, Order};
use crate::config::model::{Connection, DeliveryKind};
use crate::failure::Failure;
use crate::fluent::input::{CreateCustomerAddressInput, CreateFulfilmentChoiceWithOrderInput};
use crate::sync::text::{Notes, fits, present};

/// The fulfilment choices of an order, one per group.
///
/// # Errors
/// Rejected if a home delivery has no address, or nobody says where the customer collects.
pub fn choices(
    order: &Order,
    deliveries: &Deliveries<'_>,
    reference: &str,
    amounts: &Amounts,
    connection: &Connection,
    notes: &mut Notes,
) -> Result<Vec<CreateFulfilmentChoiceWithOrderInput>, Failure> {
    let mut choices = vec![];
    for (at, group) in deliveries.groups.iter().enumerate() {
        let refs = references(order, reference, at);
        let choice = Choice { order, group, amounts, connection };
        let mut input = choice.input(at, refs, notes)?;
        input.kind = deliveries.is_multi().then(|| kind(group.kind).to_owned());
        choices.push(input);
    }
    Ok(choices)
}

/// Ref of a choice: `<order ref>-<n>`. Where the address's would be too long the order's id takes the place of its ref.
pub fn reference(order: &Order, order_ref: &str, at: usize) -> String {
    references(order, order_ref, at).0
}

fn references(order: &Order, reference: &str, at: usize) -> (String, String) {
    let of = |reference: &str| (format!("{reference}-{}", at + 1), format!("{reference}-{}-address", at + 1));
    let (choice, address) = of(reference);
    if fits(&address, REF) { (choice, address) } else { of(&order.id) }
}

/// The type of a choice of a MULTI order.
fn kind(kind: DeliveryKind) -> &'static str {
    match kind {
        DeliveryKind::Hd => "HD",
        DeliveryKind::Cc => "CC",
    }
}

struct Choice<'a> {
    order: &'a Order,
    group: &'a Group<'a>,
    amounts: &'a Amounts,
    connection: &'a Connection,
}

impl Choice<'_> {
    fn input(
        &self,
        at: usize,
        (reference, address_ref): (String, String),
        notes: &mut Notes,
    ) -> Result<CreateFulfilmentChoiceWithOrderInput, Failure> {
        let rules = &self.connection.order;
        let email = self.order.customer_email.as_deref();
        let (pickup, address) = self.destination()?;
        let defaults = match self.group.kind {
            DeliveryKind::Hd => &rules.hd,
            DeliveryKind::Cc => &rules.cc,
        };
        let method = self.group.info.and_then(|info| method(info, rules));
        let (first_name, last_name) = self.name();
        let own_email = address.and_then(|address| present(address.email.as_deref()));
        let (after, before) = self.window().unzip();
        let own = |pick: fn(&crate::config::model::ShippingMethod) -> &Option<String>, default: &String| {
            method.and_then(|method| pick(method).clone()).unwrap_or_else(|| default.clone())
        };
        Ok(CreateFulfilmentChoiceWithOrderInput {
            reference,
            kind: None,
            fulfilment_type: own(|method| &method.fulfilment_type, &defaults.fulfilment_type),
            delivery_type: own(|method| &method.delivery_type, &defaults.delivery_type),
            currency: self.amounts.currency.to_string(),
            fulfilment_price: self.amounts.shipping_price(at),
            fulfilment_tax_price: self.amounts.shipping_tax_price(at),
            delivery_first_name: notes.cut("deliveryFirstName", first_name, 255),
            delivery_last_name: notes.cut("deliveryLastName", last_name, 255),
            delivery_contact: notes.cut("deliveryContact", address.and_then(address::phone), 255),
            delivery_email: own_email.or(present(email)).map(str::to_owned),
            delivery_instruction: notes.cut("deliveryInstruction", self.instruction(address), 250),
            deliver_after: after,
            deliver_before: before,
            pickup_location_ref: pickup.map(str::to_owned),
            delivery_address: address.filter(|_| pickup.is_none()).map(|address| CreateCustomerAddressInput {
                reference: address_ref,
                address: address::fields(address, email, rules, notes),
            }),
        })
    }

    /// Where the customer collects, or where it is sent.
    fn destination(&self) -> Result<(Option<&str>, Option<&Address>), Failure> {
        let label = label(self.order);
        let field = &self.connection.order.pickup.custom_field;
        match (self.group.kind, self.group.pickup, self.group.address) {
            (DeliveryKind::Hd, _, Some(address)) => Ok((None, Some(address))),
            (DeliveryKind::Hd, _, None) => {
                Err(Failure::rejected(format!("Order {label} is a home delivery without a shipping address.")))
            }
            (DeliveryKind::Cc, Some(pickup), _) if !fits(pickup, 255) => Err(Failure::rejected(format!(
                "Order {label} has a pickup location longer than 255 characters; Fluent cannot hold it."
            ))),
            (DeliveryKind::Cc, Some(pickup), address) => Ok((Some(pickup), address)),
            (DeliveryKind::Cc, None, _) => Err(Failure::rejected(format!(
                "Order {label} is click and collect, but no pickup location is given (field {field})."
            ))),
        }
    }

    /// First and last name. Whoever collects and has no name here is the one who pays.
    fn name(&self) -> (Option<&str>, Option<&str>) {
        let own = self.group.address.map(|address| (address.first_name.as_deref(), address.last_name.as_deref()));
        let own = own.unwrap_or_default();
        let named = present(own.0).or(present(own.1)).is_some();
        if named || self.group.kind == DeliveryKind::Hd {
            return own;
        }
        let payer = self.order.billing_address.as_ref();
        payer.map(|payer| (payer.first_name.as_deref(), payer.last_name.as_deref())).unwrap_or_default()
    }

    fn instruction<'s>(&'s self, address: Option<&'s Address>) -> Option<&'s str> {
        let field = self.connection.order.delivery_instruction_field.as_deref();
        let own = field.and_then(|name| self.order.custom.as_ref()?.field(name)?.as_str());
        present(own).or(address?.additional_address_info.as_deref())
    }

    /// Both ends of the estimated delivery, if both are there and configuration wants them.
    fn window(&self) -> Option<(String, String)> {
        let estimated = self.group.info?.estimated_delivery.as_ref()?;
        let both = estimated.from.clone().zip(estimated.until.clone());
        both.filter(|_| self.connection.order.send_delivery_window)
    }
}
