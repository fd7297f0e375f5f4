//! Fluent Commerce: what we read there and what we send there. Knows nothing of commercetools and maps nothing.

pub mod catalogue;
pub mod client;
pub mod input;
pub mod model;
pub mod operation;
pub mod stock;
pub mod webhook;

pub use client::Client;
