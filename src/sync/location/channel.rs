//! The mapping: what a Channel has from its location (F 3.4, 3.5).

use serde_json::{Map, Number, Value, json};

use super::{channel_key, restricted};
use crate::commercetools::action::ResourceIdentifier;
use crate::commercetools::channel::{Channel, ChannelAction, ChannelDraft, CustomDraft, GeoLocation};
use crate::commercetools::known::Known;
use crate::commercetools::model::Localized;
use crate::config::model::{ChannelPart, Connection};
use crate::fluent::model::Attribute;
use crate::fluent::stock::{Location, LocationAddress};
use crate::queue::Note;
use crate::sync::country;
use crate::sync::custom_fields::{self, Wanted, Writing};
use crate::sync::text::present;

/// Members of an address that follow Fluent. `phone` and `email` are never cleared: they are often kept by hand.
const FOLLOWING: [&str; 8] =
    ["country", "streetName", "additionalStreetInfo", "postalCode", "city", "region", "state", "company"];

/// A Channel as its location wants it.
pub struct Wished {
    key: String,
    /// `Channel STORE_SYD`, in sentences.
    pub label: String,
    roles: Vec<String>,
    name: String,
    address: Option<Map<String, Value>>,
    geo_location: Option<GeoLocation>,
    /// Our value's name in the configuration, and the value.
    custom: Vec<(&'static str, Value)>,
}

/// Maps a location that has a ref.
pub fn to_commercetools(
    location: &Location,
    reference: &str,
    connection: &Connection,
    notes: &mut Vec<Note>,
) -> Wished {
    let config = &connection.location;
    let key = channel_key(reference, config);
    let kind = location.kind.as_deref().unwrap_or_default();
    let roles = config.roles.get(kind).or_else(|| config.roles.get("default")).cloned().unwrap_or_default();
    Wished {
        label: format!("Channel {key}"),
        roles,
        name: trimmed(location.name.as_deref()).unwrap_or(reference).to_owned(),
        address: address(location, reference, connection, notes),
        geo_location: location.primary_address.as_ref().and_then(point),
        custom: custom(location, &key, connection, notes),
        key,
    }
}

impl Wished {
    /// The Channel when there is none yet.
    pub fn draft(self, known: &Known, connection: &Connection, notes: &mut Vec<Note>) -> ChannelDraft {
        let owns = |part: ChannelPart| connection.location.own.contains(&part);
        let custom = match owns(ChannelPart::Custom).then(|| self.write_custom(None, known, connection, notes)) {
            Some(Writing::Type { key, fields }) => {
                Some(CustomDraft { kind: ResourceIdentifier::custom_type(key), fields })
            }
            _ => None,
        };
        ChannelDraft {
            name: if owns(ChannelPart::Name) { self.names(&Localized::new(), connection) } else { Localized::new() },
            key: self.key,
            roles: if owns(ChannelPart::Roles) { self.roles } else { Vec::new() },
            address: self.address.filter(|_| owns(ChannelPart::Address)),
            geo_location: self.geo_location.filter(|_| owns(ChannelPart::GeoLocation)),
            custom,
        }
    }

    /// What brings an existing Channel up to it; what others keep in it stays.
    pub fn difference(
        &self,
        channel: &Channel,
        known: &Known,
        connection: &Connection,
        notes: &mut Vec<Note>,
    ) -> Vec<ChannelAction> {
        let owns = |part: ChannelPart| connection.location.own.contains(&part);
        let mut actions = Vec::new();
        let name = self.names(&channel.name, connection);
        if owns(ChannelPart::Name) && name != channel.name {
            actions.push(ChannelAction::ChangeName { name });
        }
        if let Some(address) = self.address.as_ref().filter(|_| owns(ChannelPart::Address)) {
            let address = merged(address, channel.address.as_ref());
            if Some(&address) != channel.address.as_ref() {
                actions.push(ChannelAction::SetAddress { address });
            }
        }
        // A place that only commercetools knows stays.
        let point = self.geo_location.as_ref().filter(|point| Some(*point) != channel.geo_location.as_ref());
        if let Some(point) = point.filter(|_| owns(ChannelPart::GeoLocation)) {
            actions.push(ChannelAction::SetGeoLocation { geo_location: point.clone() });
        }
        let roles: Vec<String> = self.roles.iter().filter(|role| !channel.roles.contains(role)).cloned().collect();
        if owns(ChannelPart::Roles) && !roles.is_empty() {
            actions.push(ChannelAction::AddRoles { roles });
        }
        if owns(ChannelPart::Custom) {
            actions.extend(custom_actions(self.write_custom(Some(channel), known, connection, notes)));
        }
        actions
    }

    fn names(&self, present: &Localized, connection: &Connection) -> Localized {
        let mut names = present.clone();
        names.extend(connection.location.locales.iter().map(|locale| (locale.clone(), self.name.clone())));
        names
    }

    fn write_custom(
        &self,
        channel: Option<&Channel>,
        known: &Known,
        connection: &Connection,
        notes: &mut Vec<Note>,
    ) -> Writing {
        write(&self.custom, &self.label, channel, known, connection, notes)
    }
}

/// What marks the Channel of a closed location, and nothing else of it.
pub fn closed(
    channel: &Channel,
    status: Option<&str>,
    label: &str,
    known: &Known,
    connection: &Connection,
    notes: &mut Vec<Note>,
) -> Vec<ChannelAction> {
    let mut actions = Vec::new();
    if let Some(roles) = restricted(&connection.location) {
        let same = roles.len() == channel.roles.len() && roles.iter().all(|role| channel.roles.contains(role));
        actions.extend((!same).then(|| ChannelAction::SetRoles { roles: roles.to_vec() }));
    }
    let status = status.map(|status| ("status", json!(status)));
    let values: Vec<_> = status.into_iter().collect();
    if connection.location.own.contains(&ChannelPart::Custom) {
        actions.extend(custom_actions(write(&values, label, Some(channel), known, connection, notes)));
    }
    actions
}

fn write(
    values: &[(&'static str, Value)],
    label: &str,
    channel: Option<&Channel>,
    known: &Known,
    connection: &Connection,
    notes: &mut Vec<Note>,
) -> Writing {
    let ours = &connection.custom_types.channel;
    let field = |name: &str| ours.fields.get(name).and_then(Option::as_deref);
    let values = values.iter().filter_map(|(name, value)| Some((field(name)?, value.clone()))).collect();
    let wanted = Wanted {
        values,
        resource: label,
        what: "what Fluent knows of the location",
        max_length: connection.custom_types.max_length,
    };
    let custom = channel.and_then(|channel| channel.custom.as_ref());
    let (writing, note) = custom_fields::write(&wanted, custom, ours, known);
    notes.extend(note);
    writing
}

fn custom_actions(writing: Writing) -> Vec<ChannelAction> {
    match writing {
        Writing::Type { key, fields } => {
            vec![ChannelAction::SetCustomType { kind: ResourceIdentifier::custom_type(key), fields }]
        }
        Writing::Fields(fields) => {
            fields.into_iter().map(|(name, value)| ChannelAction::SetCustomField { name, value }).collect()
        }
    }
}

/// The address, unless nobody knows which country it is in: commercetools requires one.
fn address(
    location: &Location,
    reference: &str,
    connection: &Connection,
    notes: &mut Vec<Note>,
) -> Option<Map<String, Value>> {
    let theirs = location.primary_address.as_ref()?;
    let named = trimmed(theirs.country.as_deref()).unwrap_or_default();
    let mapped = || connection.location.country_map.get(named).map(String::as_str);
    let Some(country) = country::code(named).or_else(mapped) else {
        let sentence = format!(
            "location {reference} has country \"{named}\", which is not an ISO 3166 country; the Channel was written \
             without address. Add it to location.country_map."
        );
        notes.push(Note::new("location.country_unknown", sentence));
        return None;
    };
    let members = [
        ("country", Some(country)),
        ("streetName", theirs.street.as_deref()),
        ("additionalStreetInfo", theirs.street2.as_deref()),
        ("postalCode", theirs.postcode.as_deref()),
        ("city", theirs.city.as_deref()),
        ("region", theirs.region.as_deref()),
        ("state", theirs.state.as_deref()),
        ("company", trimmed(theirs.company_name.as_deref()).or(theirs.name.as_deref())),
        ("phone", location.support_phone_number.as_deref()),
        ("email", theirs.email.as_deref()),
    ];
    Some(members.into_iter().filter_map(|(name, text)| Some((name.to_owned(), json!(trimmed(text)?)))).collect())
}

/// The address as it is to be: ours, and what others keep beside it.
fn merged(ours: &Map<String, Value>, theirs: Option<&Map<String, Value>>) -> Map<String, Value> {
    let kept = theirs.into_iter().flatten().filter(|(name, _)| !FOLLOWING.contains(&name.as_str()));
    let mut address: Map<String, Value> = kept.map(|(name, value)| (name.clone(), value.clone())).collect();
    address.extend(ours.clone());
    address
}

/// Fluent requires coordinates, so 0 and 0 mean that nobody knows.
fn point(address: &LocationAddress) -> Option<GeoLocation> {
    let (longitude, latitude) = (address.longitude?, address.latitude?);
    let is_known = longitude != 0.0 || latitude != 0.0;
    let is_sound = longitude.abs() <= 180.0 && latitude.abs() <= 90.0;
    (is_known && is_sound).then(|| GeoLocation::point(longitude, latitude))
}

fn custom(
    location: &Location,
    key: &str,
    connection: &Connection,
    notes: &mut Vec<Note>,
) -> Vec<(&'static str, Value)> {
    let address = location.primary_address.as_ref();
    let point = address.and_then(point);
    let degrees = |at: usize| point.as_ref().and_then(|point| number(point.coordinates[at]));
    let text = |text: Option<&str>| trimmed(text).map(|text| json!(text));
    let hours = location.opening_schedule.as_ref().map(|schedule| {
        let times: Map<String, Value> = schedule
            .iter()
            .filter(|(_, time)| !time.is_null())
            .map(|(name, time)| (name.clone(), time.clone()))
            .collect();
        json!(json!(times).to_string())
    });
    let listed = attributes(location.attributes.as_deref().unwrap_or_default(), key, connection, notes);
    let values = [
        ("type", text(location.kind.as_deref())),
        ("status", text(location.status.as_deref())),
        ("email", text(address.and_then(|address| address.email.as_deref()))),
        ("phone", text(location.support_phone_number.as_deref())),
        ("latitude", degrees(1)),
        ("longitude", degrees(0)),
        ("timezone", text(address.and_then(|address| address.time_zone.as_deref()))),
        ("opening_schedule", hours),
        ("attributes", listed.map(Value::String)),
    ];
    values.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

/// A whole number as the platform answers it, so that it equals what was sent.
fn number(degrees: f64) -> Option<Value> {
    let whole = degrees.fract() == 0.0;
    if whole { Some(json!(degrees as i64)) } else { Number::from_f64(degrees).map(Value::Number) }
}

/// JSON text of the attributes by name; those at the end are left out where it would be too long.
fn attributes(attributes: &[Attribute], key: &str, connection: &Connection, notes: &mut Vec<Note>) -> Option<String> {
    let (only, longest) = (connection.location.attributes.as_ref(), connection.custom_types.max_length);
    let mut listed: Vec<&Attribute> =
        attributes.iter().filter(|attribute| only.is_none_or(|only| only.contains(&attribute.name))).collect();
    listed.sort_by(|one, next| one.name.cmp(&next.name));
    // The members stand in the order of the type.
    let mut texts: Vec<String> = listed.iter().filter_map(|attribute| serde_json::to_string(attribute).ok()).collect();
    let all = texts.len();
    let size = |texts: &[String]| texts.iter().map(|text| text.chars().count() + 1).sum::<usize>() + 1;
    while size(&texts) > longest && texts.pop().is_some() {}
    if texts.len() < all {
        let sentence = format!(
            "attributes of Channel {key} was longer than {longest} characters; the oldest entries were left out."
        );
        notes.push(Note::new("custom_type.cut", sentence));
    }
    (!texts.is_empty()).then(|| format!("[{}]", texts.join(",")))
}

fn trimmed(text: Option<&str>) -> Option<&str> {
    present(text).map(str::trim)
}
