//! The one integration-test binary.

mod golden_fluent_to_commercetools;
mod order_update;
