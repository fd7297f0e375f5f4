//! Stories of the cross-checks.
