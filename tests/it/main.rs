//! The one integration-test program: a module per story, so that the whole tree is linked once.

mod api;
mod cli;
mod customers;
mod database;
mod golden_commercetools_to_fluent;
mod golden_fluent_to_commercetools;
mod layers;
mod order_update;
mod orders;
mod orders_adopt;
mod orders_scope;
mod orders_trouble;
mod processes;
mod products;
mod proxy;
mod queue;
mod settle;
mod source;
mod status;
mod store;
mod structure;
mod summary;
mod surface;
mod totals;
mod world;
