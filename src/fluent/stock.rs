//! Locations and virtual positions as Fluent answers them (F 3.1, 4.1).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::model::{Attribute, Connection, Id};

/// What `Locations` and `AllLocations` answer.
#[derive(Clone, Debug, Deserialize)]
pub struct LocationsFound {
    pub locations: Connection<Location>,
}

/// What `LocationById` answers; `None` = there is none.
#[derive(Clone, Debug, Deserialize)]
pub struct LocationFound {
    #[serde(rename = "locationById")]
    pub location: Option<Location>,
}

/// A store or a warehouse.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Location {
    pub id: String,
    #[serde(rename = "ref")]
    pub reference: Option<String>,
    /// `STORE`, `WAREHOUSE`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// `CREATED`, `ACTIVE`, `INACTIVE`.
    pub status: Option<String>,
    pub name: Option<String>,
    pub support_phone_number: Option<String>,
    /// RFC 3339, UTC.
    pub updated_on: Option<String>,
    pub retailer: Option<Id>,
    pub attributes: Option<Vec<Attribute>>,
    /// One start and one end per day, `HHmm` as a number, and `allHours`.
    pub opening_schedule: Option<Map<String, Value>>,
    pub primary_address: Option<LocationAddress>,
    /// Those of the networks asked for.
    pub networks: Option<Connection<Network>>,
}

impl Location {
    /// What a sentence calls it: the ref, else the id.
    pub fn label(&self) -> &str {
        self.reference.as_deref().unwrap_or(&self.id)
    }
}

/// Where a location is.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LocationAddress {
    pub company_name: Option<String>,
    pub name: Option<String>,
    pub street: Option<String>,
    pub street2: Option<String>,
    pub city: Option<String>,
    pub state: Option<String>,
    pub postcode: Option<String>,
    pub region: Option<String>,
    /// A code or a name.
    pub country: Option<String>,
    /// Degrees; 0 and 0 when nobody knows.
    pub latitude: Option<f64>,
    pub longitude: Option<f64>,
    pub time_zone: Option<String>,
    pub email: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Network {
    #[serde(rename = "ref")]
    pub reference: Option<String>,
}

/// What the queries for many positions answer.
#[derive(Clone, Debug, Deserialize)]
pub struct PositionsFound {
    #[serde(rename = "virtualPositions")]
    pub positions: Connection<Position>,
}

/// What `VirtualPosition` answers; `None` = there is none.
#[derive(Clone, Debug, Deserialize)]
pub struct PositionFound {
    #[serde(rename = "virtualPosition")]
    pub position: Option<Position>,
}

/// How much of a product is available to sell, at a location or in a group of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Position {
    /// Unique in its virtual catalogue.
    #[serde(rename = "ref")]
    pub reference: String,
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// `ACTIVE`, `INACTIVE`, `OUT_OF_STOCK` …
    pub status: Option<String>,
    pub product_ref: Option<String>,
    /// A location, or a network.
    pub group_ref: Option<String>,
    /// May be absent, and negative.
    pub quantity: Option<i64>,
    /// RFC 3339, UTC.
    pub updated_on: Option<String>,
}
