//! Simulated Fluent.
