//! The one integration-test program: a module per story, so that the whole tree is linked once.

mod api;
mod cli;
mod database;
mod golden_commercetools_to_fluent;
mod golden_fluent_to_commercetools;
mod layers;
mod order_update;
mod orders;
mod poll_commercetools;
mod schedule;
mod source;
mod structure;
mod summary;
mod surface;
mod world;
