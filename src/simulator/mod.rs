//! Simulated commercetools and Fluent: real HTTP servers with state, the guards of the real
//! platforms, and faults on demand. `demo`, `simulate`, the tests and the test kit use the same ones.
//!
//! A simulator is never more forgiving than its platform: what it refuses is listed in its module,
//! with the document of the platform that says so.

pub mod commercetools;
pub mod fault;
pub mod fluent;
pub mod front;

pub use fault::{Fault, Rule};
pub use front::{Effect, Exchange, Traffic};
