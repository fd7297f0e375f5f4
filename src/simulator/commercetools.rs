//! Simulated commercetools.
