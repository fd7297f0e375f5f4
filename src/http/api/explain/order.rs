//! Which order is explained: its names on both sides, as far as they are known.

use serde_json::Value;

use crate::commercetools::remembered::RememberedOrder;
use crate::store::Mapping;

/// An order of one connection.
#[derive(Clone, Debug)]
pub struct Order {
    pub connection: String,
    pub commercetools_id: Option<String>,
    pub order_number: Option<String>,
    pub fluent_id: Option<String>,
    pub fluent_ref: Option<String>,
    /// The stored pair, if there is one.
    pub mapping: Option<Mapping>,
}

impl Order {
    /// An order that nothing is known of yet.
    pub fn new(connection: &str) -> Self {
        let connection = connection.to_owned();
        let nothing = None;
        Self {
            connection,
            commercetools_id: nothing.clone(),
            order_number: nothing.clone(),
            fluent_id: nothing.clone(),
            fluent_ref: nothing,
            mapping: None,
        }
    }

    /// The order of a stored pair.
    pub fn paired(pair: Mapping) -> Self {
        Self {
            connection: pair.connection.clone(),
            commercetools_id: Some(pair.commercetools_id.clone()),
            order_number: pair.commercetools_key.clone(),
            fluent_id: pair.fluent_id.clone(),
            fluent_ref: pair.fluent_ref.clone(),
            mapping: Some(pair),
        }
    }

    /// The commercetools Order as our last write left it.
    pub fn remembered(&self) -> Option<RememberedOrder> {
        serde_json::from_value(self.mapping.as_ref()?.remembered.as_ref()?.0.clone()).ok()
    }

    /// The Fluent status that was last transferred.
    pub fn transferred(&self) -> Option<&str> {
        self.mapping.as_ref()?.extra.0.get("fluent_status").and_then(Value::as_str)
    }
}
