//! Configuration: the only place that reads files and the environment.

pub mod flows;
pub mod model;
pub mod value;

pub use model::Config;
