pub mod clock;
pub mod commercetools;
pub mod config;
pub mod failure;
pub mod fluent;
pub mod remote;
pub mod simulator;
pub mod store;
