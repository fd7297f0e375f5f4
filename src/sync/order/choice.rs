//! Where an order goes and how: its fulfilment choice (`commercetools-to-fluent`, 5.2 and 5.6).

use std::collections::BTreeSet;

use super::amounts::Amounts;
use super::{REF, address, label};
use crate::commercetools::model::{Address, CustomFields, Order, ShippingInfo};
use crate::config::model::{Connection, ShippingMethod};
use crate::failure::Failure;
use crate::fluent::input::{CreateCustomerAddressInput, CreateFulfilmentChoiceWithOrderInput};
use crate::sync::text::{Notes, fits, present};

/// Decides that an order is one home delivery, and to where. This is the place where orders of other kinds are turned
/// away: click and collect (the pickup field is filled) and orders with several deliveries.
///
/// # Errors
/// Rejected if it is of another kind or has no address.
pub fn home_delivery(order: &Order) -> Result<&Address, Failure> {
    let label = label(order);
    let line_fields = order.line_items.iter().map(|line| line.custom.as_ref());
    let all_fields = [order.custom.as_ref(), order.shipping_custom_fields.as_ref()].into_iter().chain(line_fields);
    let collected = all_fields.flatten().any(is_pickup);
    let several = order.shipping_mode.as_deref() == Some("Multiple");
    match destination(order) {
        Some(destination) if !collected && !several => destination
            .ok_or_else(|| Failure::rejected(format!("Order {label} is a home delivery without a shipping address."))),
        _ => Err(Failure::rejected(format!(
            "Order {label} is click and collect or has several deliveries; this version sends home deliveries only."
        ))),
    }
}

/// Custom field that names the location where the customer collects.
const PICKUP_FIELD: &str = "flPickupLocationRef";

fn is_pickup(fields: &CustomFields) -> bool {
    fields.field(PICKUP_FIELD).is_some_and(|value| value.as_str() != Some(""))
}

/// The one address of a single shipping (`Some(None)` if there is none), or `None` if lines go to several.
///
/// Lines without targets go to the shipping address. A key that all lines name is where they go, even if the shipping
/// address says otherwise.
fn destination(order: &Order) -> Option<Option<&Address>> {
    let shipping = order.shipping_address.as_ref();
    let shipping_key = shipping.and_then(|address| address.key.as_deref());
    let mut keys: BTreeSet<Option<&str>> = BTreeSet::new();
    for line in &order.line_items {
        let targets = line.shipping_details.iter().flat_map(|details| &details.targets);
        let named: BTreeSet<Option<&str>> = targets
            .filter(|target| target.quantity > 0)
            .map(|target| target.address_key.as_deref().filter(|key| Some(*key) != shipping_key))
            .collect();
        if named.is_empty() {
            keys.insert(None);
        }
        keys.extend(named);
    }
    let mut keys = keys.into_iter();
    match (keys.next(), keys.next()) {
        (_, Some(_)) => None,
        (Some(Some(key)), None) => {
            let named = order.item_shipping_addresses.iter().find(|address| address.key.as_deref() == Some(key));
            Some(named.or(shipping))
        }
        (Some(None) | None, None) => Some(shipping),
    }
}

/// The fulfilment choice of a home delivery.
pub fn home(
    order: &Order,
    destination: &Address,
    reference: &str,
    amounts: &Amounts,
    connection: &Connection,
    notes: &mut Notes,
) -> CreateFulfilmentChoiceWithOrderInput {
    let rules = &connection.order;
    let email = order.customer_email.as_deref();
    let delivery_email = present(destination.email.as_deref()).or(present(email));
    let method = order.shipping_info.as_ref().and_then(|info| method(info, connection));
    let (after, before) = window(order, connection).unzip();
    let (choice_ref, address_ref) = references(order, reference);
    CreateFulfilmentChoiceWithOrderInput {
        reference: choice_ref,
        fulfilment_type: method
            .and_then(|method| method.fulfilment_type.clone())
            .unwrap_or_else(|| rules.hd.fulfilment_type.clone()),
        delivery_type: method
            .and_then(|method| method.delivery_type.clone())
            .unwrap_or_else(|| rules.hd.delivery_type.clone()),
        currency: amounts.currency.to_string(),
        fulfilment_price: amounts.shipping_price(),
        fulfilment_tax_price: amounts.shipping_tax_price(),
        delivery_first_name: notes.cut("deliveryFirstName", destination.first_name.as_deref(), 255),
        delivery_last_name: notes.cut("deliveryLastName", destination.last_name.as_deref(), 255),
        delivery_contact: notes.cut("deliveryContact", address::phone(destination), 255),
        delivery_email: delivery_email.map(str::to_owned),
        delivery_instruction: notes.cut("deliveryInstruction", instruction(order, destination, connection), 250),
        deliver_after: after,
        deliver_before: before,
        delivery_address: CreateCustomerAddressInput {
            reference: address_ref,
            address: address::fields(destination, email, rules, notes),
        },
    }
}

/// Refs of the choice and of its address. Where they would be too long the order's id takes the place of its ref.
fn references(order: &Order, reference: &str) -> (String, String) {
    let of = |reference: &str| (format!("{reference}-1"), format!("{reference}-1-address"));
    let (choice, address) = of(reference);
    if fits(&address, REF) { (choice, address) } else { of(&order.id) }
}

/// What configuration says about the shipping method, found by its key, else by its name.
fn method<'a>(info: &ShippingInfo, connection: &'a Connection) -> Option<&'a ShippingMethod> {
    let methods = &connection.order.shipping_methods;
    let key = info.shipping_method.as_ref().and_then(|method| method.obj.as_ref()?.key.as_deref());
    key.and_then(|key| methods.get(key)).or_else(|| methods.get(&info.shipping_method_name))
}

fn instruction<'a>(order: &'a Order, destination: &'a Address, connection: &Connection) -> Option<&'a str> {
    let field = connection.order.delivery_instruction_field.as_deref();
    let own = field.and_then(|name| order.custom.as_ref()?.field(name)?.as_str());
    present(own).or(destination.additional_address_info.as_deref())
}

/// Both ends of the estimated delivery, if both are there and configuration wants them.
fn window(order: &Order, connection: &Connection) -> Option<(String, String)> {
    let estimated = order.shipping_info.as_ref()?.estimated_delivery.as_ref()?;
    let both = estimated.from.clone().zip(estimated.until.clone());
    both.filter(|_| connection.order.send_delivery_window)
}
