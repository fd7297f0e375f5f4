//! Fluent Commerce: what we read there and what we send there. Knows nothing of commercetools and maps nothing.

pub mod catalogue;
pub mod change;
pub mod client;
pub mod event;
pub mod fulfilment;
pub mod input;
pub mod model;
pub mod operation;
mod reading;
pub mod stock;
pub mod webhook;

pub use client::Client;
