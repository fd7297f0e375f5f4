//! Where both platforms meet: one file per business flow, each read from top to bottom.

pub mod custom_fields;
pub mod order_link;
pub mod order_lookup;
pub mod order_status;
pub mod order_update;
pub mod slice;
pub mod text;
pub mod order;
pub mod money;
pub mod customer;
pub mod country;
pub mod canonical;
pub mod attribute;
