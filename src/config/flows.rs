//! Keys of the flows: `connections[].<flow>` (field tables in the flow specifications).

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::value::{Rate, Span};

#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Locale {
    /// Language tags in order of preference; empty = the project's languages.
    pub chain: Vec<String>,
}

#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Money {
    /// Decimals kept when a unit amount has to be divided.
    #[schemars(range(max = 12))]
    pub unit_scale: u32,
}

/// C 4.6.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Customer {
    pub enabled: bool,
    pub sync: CustomerSync,
    /// Tokens `{id} {email} {customer_number} {key}`.
    pub username_pattern: String,
    /// Take over a Fluent customer with the same email and without a foreign `commercetoolsId`.
    pub adopt_by_email: bool,
    pub guest: Guest,
    pub timezone: String,
    /// Country → time zone.
    pub timezone_by_country: BTreeMap<String, String>,
    pub country_default: Option<String>,
    pub promotion_opt_in: PromotionOptIn,
    pub addresses: CustomerAddresses,
    pub attributes: Vec<AttributeRule>,
    /// What a deleted customer means for Fluent.
    pub on_delete: CustomerDeleted,
    /// The same where the deletion asks for erasure.
    pub on_erasure: CustomerDeleted,
    /// Pause between two looks at commercetools; `0s` = none.
    pub poll: Span,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CustomerSync {
    All,
    /// Only customers that an order brought to Fluent are kept up to date.
    OnOrder,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CustomerDeleted {
    Ignore,
    /// Name, phone, email and address attributes become empty; Fluent cannot delete.
    Anonymise,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Guest {
    /// One Fluent customer per email address.
    ByEmail,
    /// One Fluent customer per order.
    ByOrder,
}

#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PromotionOptIn {
    pub custom_field: Option<String>,
    pub default: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CustomerAddresses {
    None,
    /// Default shipping and billing address as JSON attributes.
    Default,
}

/// One value taken from the source into a Fluent attribute.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AttributeRule {
    /// Path in the source, `custom.fields.giftMessage`.
    pub from: String,
    /// Attribute name.
    pub to: String,
    /// Fluent attribute type: STRING, INTEGER, BOOLEAN, JSON …
    #[serde(rename = "type")]
    pub kind: String,
}

/// C 5.8.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Order {
    pub enabled: bool,
    /// RFC 3339; older orders are left alone. `null` = the moment this connection first started, stored.
    pub since: Option<String>,
    /// Order states that are taken.
    pub states: Vec<String>,
    pub hold_until_payment_state: Vec<String>,
    /// Keys of workflow states an order waits for.
    pub hold_until_states: Vec<String>,
    /// Tokens `{type} {order_number} {id} {store}`.
    pub ref_pattern: String,
    /// Patterns an order of another connector may have.
    pub adopt_ref_patterns: Vec<String>,
    pub types: OrderTypes,
    /// Orders with several deliveries.
    pub multi: Multi,
    /// Home deliveries.
    pub hd: Delivery,
    /// Deliveries that the customer collects.
    pub cc: Delivery,
    pub pickup: Pickup,
    /// Shipping method key or name → what differs.
    pub shipping_methods: BTreeMap<String, ShippingMethod>,
    pub price_basis: PriceBasis,
    pub total_discount: TotalDiscount,
    pub total_check: TotalCheck,
    /// Tax rate name → GST, VAT or EXCLTAX.
    pub tax_types: BTreeMap<String, String>,
    /// Custom line item slug → product ref.
    pub custom_line_item_product_refs: BTreeMap<String, String>,
    pub missing_product: MissingProduct,
    /// A waiting order is parked after this long.
    pub wait_limit: Span,
    /// commercetools payment method → Fluent payment method.
    pub payment_methods: BTreeMap<String, String>,
    pub payment_method_default: String,
    /// Transaction states that are sent.
    pub transaction_states: Vec<String>,
    pub attributes: Vec<AttributeRule>,
    pub item_attributes: Vec<AttributeRule>,
    pub street_number: StreetNumber,
    pub country: CountryForm,
    pub delivery_instruction_field: Option<String>,
    pub send_delivery_window: bool,
    /// What a deleted order means for Fluent.
    pub on_delete: OrderDeleted,
    /// Pause between two looks at commercetools; `0s` = none.
    pub poll: Span,
    /// The same for payments.
    pub payment_poll: Span,
}

/// Names of the order types in Fluent.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "UPPERCASE")]
pub struct OrderTypes {
    pub hd: String,
    pub cc: String,
    pub multi: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Multi {
    Send,
    /// For retailers without a MULTI workflow.
    Reject,
}

/// Where the customer collects.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pickup {
    /// Custom field with the ref of the location: of the shipping, the order or a line item.
    pub custom_field: String,
    /// Else the key of the one supply channel that all lines share.
    pub from_supply_channel: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OrderDeleted {
    Ignore,
    /// As if it had been cancelled.
    Cancel,
}

/// C 7.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OrderChange {
    pub enabled: bool,
    /// What happens when lines, prices or totals changed.
    pub lines: ChangedLines,
    /// Event of `lines: event`.
    pub event_name: String,
    /// Fluent statuses in which addresses, contacts and pickup locations may still change.
    pub editable_statuses: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChangedLines {
    /// Parked with the difference; a person decides.
    Report,
    /// Sent as an event, for retailers with a ruleset.
    Event,
    Ignore,
}

/// C 8.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OrderCancel {
    pub enabled: bool,
    /// Event of the Fluent workflow.
    pub event_name: String,
    pub mode: EventMode,
    /// Keys of workflow states that mean cancelled, beside `orderState`.
    pub state_keys: Vec<String>,
    /// Fluent statuses of a cancelled order.
    pub cancelled_statuses: Vec<String>,
    /// Custom field of the order with the reason; `null` = none.
    pub reason_field: Option<String>,
    /// How long the Fluent order may keep its status after the event was accepted.
    pub confirm_within: Span,
}

/// C 9.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OrderBackfill {
    pub enabled: bool,
    pub mode: BackfillMode,
    /// Length of a window by `createdAt`.
    pub window: Span,
    /// Order states that are taken.
    pub states: Vec<String>,
    /// Shipment states that are taken; an order without one is taken, too.
    pub shipment_states: Vec<String>,
    /// Orders handed on, `5/s`.
    pub rate: Rate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BackfillMode {
    /// Links orders that are in Fluent already; never creates one.
    AdoptOnly,
    /// Creates what Fluent lacks, once the number of orders is confirmed.
    Create,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventMode {
    /// Fluent answers with the outcome.
    Sync,
    /// Fluent takes it; its outcome is looked up.
    Async,
}

#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Delivery {
    pub fulfilment_type: String,
    pub delivery_type: String,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ShippingMethod {
    /// `CC`: the customer collects, whatever else is known.
    pub order_type: Option<DeliveryKind>,
    /// Instead of the one of `hd` or `cc`.
    pub fulfilment_type: Option<String>,
    /// Instead of the one of `hd` or `cc`.
    pub delivery_type: Option<String>,
    /// Where the customer collects, if the order does not say.
    pub pickup_location_ref: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum DeliveryKind {
    /// Home delivery.
    Hd,
    /// Click and collect.
    Cc,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PriceBasis {
    Net,
    Gross,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TotalDiscount {
    /// Spread over items and shipping.
    Distribute,
    /// Rows stay, the discount is an attribute of the order.
    Attribute,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TotalCheck {
    Reject,
    Warn,
    Off,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MissingProduct {
    /// Create it from the line item.
    Create,
    /// Wait until the product exists.
    Wait,
    Reject,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StreetNumber {
    Auto,
    Before,
    After,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CountryForm {
    Code,
    Name,
}

/// F 2.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OrderUpdate {
    /// A Fluent order that commercetools does not know.
    pub unknown_order: UnknownOrder,
    pub unknown_order_wait: Span,
    #[schemars(range(min = 1))]
    pub conflict_rounds: u32,
    /// commercetools takes at most 500 actions in one update.
    #[schemars(range(min = 1, max = 500))]
    pub max_actions: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UnknownOrder {
    Ignore,
    Reject,
}

/// F 1.9 and 2.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CustomTypes {
    /// Most characters of a String field.
    #[schemars(range(min = 1))]
    pub max_length: usize,
    pub order: CustomType,
    /// On Line Items.
    pub line_item: CustomType,
    /// On Deliveries.
    pub delivery: CustomType,
    /// On Parcels.
    pub parcel: CustomType,
    /// On Channels.
    pub channel: CustomType,
}

#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CustomType {
    pub key: String,
    pub on_foreign: OnForeign,
    /// Our value → field name; `null` turns it off.
    pub fields: BTreeMap<String, Option<String>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnForeign {
    Skip,
    Replace,
}

/// F 5.7.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OrderStatus {
    pub enabled: bool,
    pub unmapped: Unmapped,
    pub order: Axis,
    pub shipment: Axis,
    pub payment: Axis,
    pub workflow_state: WorkflowState,
    /// Some, but not all fulfilments were shipped: shipmentState Partial.
    pub partial_from_fulfilments: bool,
    /// Fulfilment statuses that mean shipped.
    pub shipped_statuses: Vec<String>,
    /// Consignment statuses that mean delivered; empty = nothing is concluded from them.
    pub delivered_consignment_statuses: Vec<String>,
    /// Steps back that are allowed.
    pub allow_back: Vec<AllowBack>,
    /// The poll twin of the order webhook.
    pub poll: Poll,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unmapped {
    Note,
    Ignore,
    Reject,
}

/// One state of the commercetools order, filled from the Fluent order status.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Axis {
    pub enabled: bool,
    /// Fluent status → state, laid over the table of F 5.2; `null` or `IGNORE` = mapped to nothing.
    pub mapping: BTreeMap<String, Option<String>>,
    /// Order type → the same, for that type only.
    pub by_type: BTreeMap<String, BTreeMap<String, Option<String>>>,
}

#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WorkflowState {
    pub enabled: bool,
    /// Fluent status → State key; laid over the table of F 5.3.
    pub mapping: BTreeMap<String, Option<String>>,
    /// State keys from first to last; a step back in it is not written.
    pub order: Vec<String>,
    pub force: bool,
}

/// The built-in table of workflow States, from first to last (F 5.3).
const WORKFLOW: [(&str, &str); 10] = [
    ("RECEIVED", "flOrderReceived"),
    ("ESCALATED", "flOrderEscalated"),
    ("BOOKED", "flOrderBooked"),
    ("PICK_PACK", "flOrderPicking"),
    ("PICK_PACK_CC", "flOrderPicking"),
    ("AWAITING_COURIER_COLLECTION", "flOrderReady"),
    ("AWAITING_CUSTOMER_COLLECTION", "flOrderReady"),
    ("AWAITING_COLLECTION", "flOrderReady"),
    ("COMPLETE", "flOrderComplete"),
    ("CANCELLED", "flOrderCancelled"),
];

impl WorkflowState {
    /// The State key of a Fluent status: the operator's entry, else the built-in one.
    pub fn key_of(&self, status: &str) -> Option<&str> {
        match self.mapping.get(status).map(Option::as_deref) {
            Some(None | Some("" | "IGNORE")) => None,
            Some(Some(key)) => Some(key),
            None => WORKFLOW.iter().find(|(known, _)| *known == status).map(|(_, key)| *key),
        }
    }

    /// Every key that some status leads to, each once: the built-in statuses from first to last, then others.
    pub fn keys(&self) -> Vec<&str> {
        let statuses = WORKFLOW.iter().map(|(status, _)| *status).chain(self.mapping.keys().map(String::as_str));
        let mut keys: Vec<&str> = Vec::new();
        for key in statuses.filter_map(|status| self.key_of(status)) {
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        keys
    }

    /// Whether the operator's order of States, or without one the built-in order, has `to` before `from`.
    /// States outside it have no order.
    pub fn steps_back(&self, from: &str, to: &str) -> bool {
        let place = |key: &str| match self.order.as_slice() {
            [] => WORKFLOW.iter().position(|(_, known)| *known == key),
            order => order.iter().position(|known| known == key),
        };
        place(from).zip(place(to)).is_some_and(|(from, to)| to < from)
    }
}

#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AllowBack {
    /// Which state.
    pub axis: AxisName,
    /// State the order has.
    pub from: String,
    /// State that may be written over it.
    pub to: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AxisName {
    Order,
    Shipment,
    Payment,
}

/// C 1.8.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CommercetoolsPoll {
    /// A window ends this long before commercetools' clock.
    pub settle: Span,
    /// The next window starts this long before the last one's end.
    pub overlap: Span,
}

/// F 1.5.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Poll {
    pub enabled: bool,
    pub every: Span,
    /// The window ends this long before Fluent's clock.
    pub settle: Span,
    /// The next window starts this long before the last one's end.
    pub overlap: Span,
    /// RFC 3339; where the first window starts. `null` = now.
    pub start_at: Option<String>,
}

/// F 10.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OrderLink {
    pub enabled: bool,
    /// Channel with role OrderExport.
    pub channel: String,
    /// Also write flOrderId and flOrderRef.
    pub custom_fields: bool,
    /// Fluent order attribute that holds the commercetools order id.
    pub identity_attribute: String,
}
