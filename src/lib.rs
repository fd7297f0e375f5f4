pub mod clock;
pub mod config;
pub mod failure;
pub mod remote;
pub mod simulator;
pub mod store;
