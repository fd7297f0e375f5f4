//! Keys of the catalogue flows: `connections[].category` and `connections[].product` (C 2.6, 3.6).

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::flows::AttributeRule;
use super::value::{Size, Span};

/// C 2.6.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Category {
    pub enabled: bool,
    /// Type of the Fluent category.
    #[serde(rename = "type")]
    pub kind: String,
    pub attributes: Vec<AttributeRule>,
    pub on_delete: OnGone,
    pub status_active: String,
    pub status_inactive: String,
    /// Pause between two looks at commercetools; `0s` = none.
    pub poll: Span,
    /// Pause between two searches for what is gone from commercetools; `0s` = none.
    pub removal_sweep: Span,
    /// A category that waits longer for its parent is parked.
    pub wait_limit: Span,
}

/// C 3.6.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Product {
    pub enabled: bool,
    /// Variant attributes that may hold the gtin, tried in order.
    pub gtin_attributes: Vec<String>,
    /// Which attributes are sent.
    pub attributes: AttributeNames,
    pub enum_value: EnumValue,
    /// A larger attribute value is left out.
    pub max_attribute_bytes: Size,
    pub price_types: PriceTypes,
    /// Country whose price counts where there is none for all.
    pub price_country: Option<String>,
    pub send_prices: bool,
    /// Tax category key → Fluent tax type.
    pub tax_types: BTreeMap<String, TaxType>,
    /// How long a product waits for its categories before it is sent without them.
    pub category_wait: Span,
    pub on_unpublish: OnGone,
    pub on_delete: OnGone,
    pub on_variant_removed: OnGone,
    pub status_active: String,
    pub status_inactive: String,
    /// Take change notifications of products, too.
    pub accept_change_notifications: bool,
    /// Pause between two looks at commercetools; `0s` = none.
    pub poll: Span,
    /// Pause between two searches for what is gone from commercetools; `0s` = none.
    pub removal_sweep: Span,
}

/// What happens in Fluent to what is gone in commercetools.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnGone {
    /// Its status becomes the inactive one; Fluent cannot delete.
    Deactivate,
    Ignore,
}

/// Attribute names; `*` at the end of a name stands for the rest of it.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AttributeNames {
    pub include: Vec<String>,
    pub exclude: Vec<String>,
}

impl AttributeNames {
    /// Is an attribute of this name sent?
    pub fn take(&self, name: &str) -> bool {
        let among = |patterns: &[String]| {
            patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
                Some(start) => name.starts_with(start),
                None => name == pattern,
            })
        };
        among(&self.include) && !among(&self.exclude)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EnumValue {
    Label,
    Key,
}

/// Names of the Fluent price types.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PriceTypes {
    /// Of the list price.
    pub default: String,
    /// Of the price after a product discount; `null` = not sent.
    pub special: Option<String>,
}

/// A Fluent tax type; all three members are required there.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TaxType {
    /// As Fluent's tax service knows it: DE.
    pub country: String,
    /// As Fluent's tax service knows it: STANDARD.
    pub group: String,
    /// As Fluent's tax service knows it: 19.
    pub tariff: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_taken_if_it_is_included_and_not_excluded() {
        let names = |include: &[&str], exclude: &[&str]| {
            let own = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
            AttributeNames { include: own(include), exclude: own(exclude) }
        };
        assert!(names(&["*"], &[]).take("color"));
        assert!(!names(&["*"], &["internal*"]).take("internalCost"));
        assert!(names(&["color"], &[]).take("color") && !names(&["color"], &[]).take("colors"));
    }
}
