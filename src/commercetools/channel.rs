//! Channels: what is read of them, and what is written (platform-commercetools A9).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::action::ResourceIdentifier;
use super::model::Localized;
use super::remembered::Custom;

/// A Channel as read.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Channel {
    pub id: String,
    pub version: i64,
    pub key: String,
    #[serde(default)]
    pub roles: Vec<String>,
    #[serde(default)]
    pub name: Localized,
    /// As answered: what others keep in it has to come back.
    pub address: Option<Map<String, Value>>,
    pub geo_location: Option<GeoLocation>,
    pub custom: Option<Custom>,
}

/// A new Channel.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ChannelDraft {
    /// 2 to 256 letters, digits, `_` and `-`; unique in the project.
    pub key: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    #[serde(skip_serializing_if = "Localized::is_empty")]
    pub name: Localized,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub geo_location: Option<GeoLocation>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub custom: Option<CustomDraft>,
}

/// A custom Type with its fields.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CustomDraft {
    #[serde(rename = "type")]
    pub kind: ResourceIdentifier,
    pub fields: Map<String, Value>,
}

/// A point.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GeoLocation {
    /// `Point`
    #[serde(rename = "type")]
    pub kind: String,
    /// Longitude, latitude, in degrees.
    pub coordinates: Vec<f64>,
}

impl GeoLocation {
    /// The point at these degrees.
    pub fn point(longitude: f64, latitude: f64) -> Self {
        Self { kind: "Point".into(), coordinates: vec![longitude, latitude] }
    }
}

/// One update action on a Channel. An equal name and a role that is there already are refused.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "action", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum ChannelAction {
    ChangeName {
        name: Localized,
    },
    /// The whole address.
    SetAddress {
        address: Map<String, Value>,
    },
    SetGeoLocation {
        geo_location: GeoLocation,
    },
    AddRoles {
        roles: Vec<String>,
    },
    SetRoles {
        roles: Vec<String>,
    },
    SetCustomType {
        #[serde(rename = "type")]
        kind: ResourceIdentifier,
        fields: Map<String, Value>,
    },
    SetCustomField {
        name: String,
        value: Value,
    },
}
