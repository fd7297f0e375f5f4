//! Where both platforms meet: one file per business flow, each read from top to bottom.

pub mod attribute;
pub mod canonical;
pub mod catalogue;
pub mod category;
pub mod consignment;
pub mod country;
pub mod custom_fields;
pub mod customer;
pub mod fulfilment;
pub mod heard;
pub mod inventory;
pub mod key;
pub mod location;
pub mod money;
pub mod order;
pub mod order_line;
pub mod order_link;
pub mod order_lookup;
pub mod order_status;
pub mod order_update;
pub mod pages;
pub mod poll;
pub mod product;
pub mod returns;
pub mod slice;
pub mod source;
pub mod text;
pub mod twin;
pub mod walk;

#[cfg(test)]
mod fixture;

use crate::app::{App, Connection};
use crate::failure::{Class, Failure};
use crate::queue::{Message, Routes};

/// Registers every standard flow.
pub fn register(routes: &mut Routes) {
    category::register(routes);
    product::register(routes);
    customer::register(routes);
    order::register(routes);
    order_status::register(routes);
    fulfilment::register(routes);
    consignment::register(routes);
    returns::register(routes);
    order_update::register(routes);
    location::register(routes);
    inventory::register(routes);
}

/// The connection a message belongs to.
///
/// # Errors
/// A retry if it is off.
pub fn connection<'a>(app: &'a App, message: &Message) -> Result<&'a Connection, Failure> {
    app.connection(message.connection()).ok_or_else(|| Failure::retry(Class::Setup, "The connection is off."))
}
