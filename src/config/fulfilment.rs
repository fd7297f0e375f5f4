//! Keys of what happens to an order after it was booked: fulfilments, consignments and returns
//! (F 6.5, 7.5, 8).

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::flows::Poll;

/// F 6.5.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fulfilment {
    pub enabled: bool,
    /// Write which fulfilment has which units of a Line Item.
    pub metadata: bool,
    /// Look up the names of locations for it.
    pub location_names: bool,
    pub line_item_states: LineItemStates,
    /// The poll twin of the fulfilment webhook.
    pub poll: Poll,
}

/// F 6.4.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LineItemStates {
    pub enabled: bool,
    /// Fulfilment status → State key, laid over the table of F 6.4; `null` or `IGNORE` = no quantity.
    pub mapping: BTreeMap<String, Option<String>>,
    /// State keys from first to last. Units never leave the last one.
    pub order: Vec<String>,
    /// Statuses from which on the filled quantity counts.
    pub after_pick_statuses: Vec<String>,
    /// State of units that no fulfilment has.
    pub initial_state: String,
    pub method: StateMethod,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StateMethod {
    /// `transitionLineItemState`, as the transitions of the States allow.
    Transition,
    /// `importLineItemState`, whatever they allow.
    Import,
}

/// F 7.5.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Consignment {
    pub enabled: bool,
    /// Nothing is written in these statuses.
    pub skip_statuses: Vec<String>,
    pub cancelled_statuses: Vec<String>,
    pub on_cancel: OnCancel,
    pub on_parcel_gone: OnParcelGone,
    /// Where the tracking id comes from; the first that is not empty counts.
    pub tracking_id: Vec<TrackingId>,
    /// Carrier ref → `https://…/{tracking_id}`.
    pub tracking_urls: BTreeMap<String, String>,
    /// Units of Fluent's measures; `null` = Parcels get none.
    pub measurements: Option<Measurements>,
    /// The poll twin of the consignment webhook.
    pub poll: Poll,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnCancel {
    /// The status field of the Delivery says so.
    Mark,
    /// The Delivery is removed.
    Remove,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnParcelGone {
    Keep,
    Remove,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum TrackingId {
    TrackingLabel,
    ConsignmentReference,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Measurements {
    /// Of lengths: mm, cm, m or in.
    pub length_unit: LengthUnit,
    /// Of weights: g, kg or lb.
    pub weight_unit: WeightUnit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LengthUnit {
    Mm,
    Cm,
    M,
    In,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WeightUnit {
    G,
    Kg,
    Lb,
}

/// F 8.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Returns {
    pub enabled: bool,
    pub create_at: CreateAt,
    pub received_statuses: Vec<String>,
    pub rejected_statuses: Vec<String>,
    /// Disposition of the goods → `BackInStock` or `Unusable`; others leave the item `Returned`.
    pub disposition: BTreeMap<String, Disposition>,
    /// The poll twin of the return webhook.
    pub poll: Poll,
}

/// When a return item is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CreateAt {
    /// When the goods are there, as `Returned`.
    Received,
    /// At once, as `Advised`; commercetools makes such an item non-refundable.
    Advised,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum Disposition {
    BackInStock,
    Unusable,
}
