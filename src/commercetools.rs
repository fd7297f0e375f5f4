//! commercetools: what we read there and what we send there. Knows nothing of Fluent and maps nothing.

pub mod action;
pub mod catalogue;
pub mod channel;
pub mod client;
pub mod definition;
pub mod import_api;
pub mod inventory;
pub mod known;
pub mod model;
pub mod notification;
pub mod remembered;

pub use client::Client;
