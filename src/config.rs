//! Configuration: the only place that reads files and the environment.
//!
//! [`load`] merges the embedded defaults, files, a profile and environment variables and reports
//! everything that is wrong with its place; [`check()`] looks at what the values mean together.
//! Secrets stay where they are until [`value::Secret::read`].

pub mod aws;
pub mod catalogue;
mod check;
mod environment;
pub mod flows;
pub mod fulfilment;
pub mod intake;
mod load;
mod merge;
pub mod model;
mod node;
mod problem;
pub mod provision;
mod remote;
mod schema;
pub mod secret;
mod shape;
pub mod stock;
pub mod timing;
mod validate;
pub mod value;
mod yaml;

pub use check::check;
pub use load::{Loaded, Setting, Sources, load};
pub use model::Config;
pub use node::Origin;
pub use problem::{Problem, Problems};
pub use schema::schema;
