//! Keys of what Fluent knows about stock: `connections[].location` and `connections[].inventory` (F 3.7, 4.9).

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::value::Span;

/// F 3.7.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Location {
    pub enabled: bool,
    /// Refs of the Fluent networks whose locations are taken; empty = all of the retailer.
    pub networks: Vec<String>,
    /// Types that are taken; empty = all.
    pub types: Vec<String>,
    /// Take locations of status CREATED, too.
    pub include_created: bool,
    /// Token `{ref}`.
    pub channel_key: String,
    /// Take over a Channel that has the key already.
    pub adopt: bool,
    /// Language tags that the name is written in.
    pub locales: Vec<String>,
    /// Location type → roles of its Channel; `default` = all other types.
    pub roles: BTreeMap<String, Vec<String>>,
    /// What of a Channel is kept up to date.
    pub own: Vec<ChannelPart>,
    /// Attributes that are written; `null` = all.
    pub attributes: Option<Vec<String>>,
    /// Country as Fluent has it → ISO 3166 code.
    pub country_map: BTreeMap<String, String>,
    pub inactive_statuses: Vec<String>,
    pub on_inactive: OnInactive,
    /// Roles of an inactive location's Channel, with `restrict`.
    pub inactive_roles: Vec<String>,
    /// Cron expression in UTC of the full sync; `null` = by hand only.
    pub full_sync: Option<String>,
    pub missing_threshold: Threshold,
    /// The look for changed locations.
    pub poll: ChangePoll,
}

/// A part of a Channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChannelPart {
    Name,
    Address,
    GeoLocation,
    Roles,
    Custom,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnInactive {
    /// Only the status field says so.
    Mark,
    /// The Channel also gets `inactive_roles`.
    Restrict,
}

/// How many may be missing before a person has to approve: the greater of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Threshold {
    /// Share of all, in percent.
    #[schemars(range(max = 100))]
    pub percent: u64,
    pub count: u64,
}

impl Threshold {
    /// Are `missing` of `total` more than may be missing?
    pub fn is_exceeded(&self, missing: u64, total: u64) -> bool {
        missing > self.count && missing * 100 > total * self.percent
    }
}

/// F 1.5; the first run is a full sync.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangePoll {
    pub enabled: bool,
    pub every: Span,
    /// The window ends this long before Fluent's clock.
    pub settle: Span,
    /// The next window starts this long before the last one's end.
    pub overlap: Span,
}

/// F 4.9.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Inventory {
    pub enabled: bool,
    /// Which virtual catalogue fills which Channel.
    pub pairs: Vec<Pair>,
    /// Token `{product_ref}`.
    pub sku: String,
    pub null_quantity: NullQuantity,
    /// Position statuses whose quantity is 0.
    pub zero_statuses: Vec<String>,
    /// Greatest quantity that is written; `null` = any.
    pub max_quantity: Option<i64>,
    /// Create entries of quantity 0, too.
    pub create_zero: bool,
    pub on_disappeared: OnDisappeared,
    pub missing_threshold: Threshold,
    pub write: StockWrite,
    /// With `auto`: more changes than this in one run go through the Import API.
    pub import_threshold: u64,
    /// Requests of one page under way at once.
    #[schemars(range(min = 1))]
    pub concurrency: usize,
    /// Cron expression in UTC of the full sync; `null` = by hand only.
    pub full_sync: Option<String>,
    /// The look for changed positions.
    pub poll: ChangePoll,
}

/// One virtual catalogue and the supply Channel that its positions are the stock of (F 4.2).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pair {
    /// `ATS:2`
    pub virtual_catalogue: String,
    /// Key of the Channel; exactly one of this and `channel_from`.
    #[serde(default)]
    pub channel: Option<String>,
    /// `group_ref`: the Channel of the location that the position names.
    #[serde(default)]
    pub channel_from: Option<ChannelFrom>,
    /// Position types; absent = all.
    #[serde(default)]
    pub types: Option<Vec<String>>,
    /// Group refs; absent = all.
    #[serde(default)]
    pub groups: Option<Vec<String>>,
    /// Held back of each quantity.
    #[serde(default)]
    pub safety_buffer: u64,
    /// Instead of it for SKUs of a pattern; the first that fits counts.
    #[serde(default)]
    pub buffers: Vec<Buffer>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChannelFrom {
    GroupRef,
}

/// What is held back of some SKUs.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Buffer {
    /// `GIFT-*`; `*` stands for any characters.
    pub sku: String,
    /// Held back of their quantity.
    pub buffer: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NullQuantity {
    /// No quantity is a quantity of 0.
    Zero,
    /// The position is left alone.
    Skip,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnDisappeared {
    Zero,
    Keep,
    Delete,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StockWrite {
    /// The Import API above `import_threshold`.
    Auto,
    Http,
    Import,
}

impl Buffer {
    /// Is this SKU meant?
    pub fn fits(&self, sku: &str) -> bool {
        let mut pieces = self.sku.split('*');
        let first = pieces.next().unwrap_or_default();
        let Some(mut rest) = sku.strip_prefix(first) else { return false };
        let mut pieces = pieces.peekable();
        if pieces.peek().is_none() {
            return rest.is_empty();
        }
        while let Some(piece) = pieces.next() {
            if pieces.peek().is_none() {
                return rest.ends_with(piece);
            }
            match rest.find(piece) {
                Some(at) => rest = &rest[at + piece.len()..],
                None => return false,
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_characters() {
        let fits = |pattern: &str, sku: &str| Buffer { sku: pattern.into(), buffer: 1 }.fits(sku);
        assert!(fits("GIFT-*", "GIFT-1") && fits("*", "") && fits("*-RED-*", "SHIRT-RED-M") && fits("A", "A"));
        assert!(
            !fits("GIFT-*", "XGIFT-1") && !fits("A", "AB") && !fits("*-RED", "SHIRT-RED-M") && !fits("A*BA", "ABA-")
        );
    }

    #[test]
    fn a_threshold_is_the_greater_of_share_and_count() {
        let threshold = Threshold { percent: 2, count: 5 };
        assert!(!threshold.is_exceeded(5, 10) && threshold.is_exceeded(6, 10));
        assert!(!threshold.is_exceeded(20, 1000) && threshold.is_exceeded(21, 1000));
    }
}
