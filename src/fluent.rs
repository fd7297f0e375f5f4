//! Fluent Commerce: what we read there and what we send there. Knows nothing of commercetools and maps nothing.

pub mod model;
