//! Channels (platform-commercetools A9).

use serde_json::{Value, json};

use super::custom;
use super::project::Project;
use super::refusal::{Answer, Refusal};
use super::update::{address, check_enum, key, localized, set, unknown_action};

const ROLES: &[&str] = &["InventorySupply", "ProductDistribution", "OrderExport", "OrderImport", "Primary"];

/// A Channel from its draft.
pub(super) fn create(project: &Project, draft: &Value) -> Answer<Value> {
    let roles = match draft.get("roles").filter(|roles| !roles.is_null()) {
        Some(_) => roles(draft)?,
        None => vec!["InventorySupply".into()],
    };
    let mut channel = json!({"key": key(draft)?, "roles": roles});
    for field in ["name", "description"] {
        set(&mut channel, field, localized(draft, field)?);
    }
    set(&mut channel, "address", address(draft, "address")?);
    set(&mut channel, "geoLocation", geo_location(draft)?);
    if let Some(custom) = draft.get("custom").filter(|custom| !custom.is_null()) {
        channel["custom"] = custom::from_draft(project, "channel", custom)?;
    }
    Ok(channel)
}

/// Applies one action to `channel`.
pub(super) fn change(project: &Project, channel: &mut Value, name: &str, action: &Value) -> Answer<()> {
    match name {
        "addRoles" => {
            let mut kept = channel["roles"].as_array().cloned().unwrap_or_default();
            let new = roles(action)?;
            if let Some(role) = new.iter().find(|role| kept.contains(role)) {
                return Err(Refusal::invalid_operation(format!("The channel has the role {role} already.")));
            }
            kept.extend(new);
            channel["roles"] = kept.into();
        }
        "removeRoles" => {
            let gone = roles(action)?;
            let kept = channel["roles"].as_array().cloned().unwrap_or_default();
            channel["roles"] = kept.into_iter().filter(|role| !gone.contains(role)).collect();
        }
        "setRoles" => {
            let new = roles(action)?;
            if new.is_empty() {
                return Err(Refusal::invalid_operation("A channel has at least one role."));
            }
            channel["roles"] = new.into();
        }
        "changeKey" => channel["key"] = key(action)?,
        "changeName" => {
            let name = localized(action, "name")?;
            if name.as_ref() == channel.get("name") {
                return Err(Refusal::invalid_operation("The channel has this name already."));
            }
            set(channel, "name", name);
        }
        "changeDescription" => set(channel, "description", localized(action, "description")?),
        "setAddress" => set(channel, "address", address(action, "address")?),
        "setGeoLocation" => set(channel, "geoLocation", geo_location(action)?),
        "setCustomType" => custom::set_type(project, "channel", channel, action)?,
        "setCustomField" => custom::set_field(project, channel, action)?,
        "setAddressCustomField" | "setAddressCustomType" => {
            return Err(Refusal::not_simulated(format!("Channel action {name}")));
        }
        other => return Err(unknown_action(other)),
    }
    Ok(())
}

fn roles(of: &Value) -> Answer<Vec<Value>> {
    let roles = of.get("roles").and_then(Value::as_array);
    let roles = roles.ok_or_else(|| Refusal::invalid_json("roles: Missing required value"))?;
    for role in roles {
        check_enum("roles", role.as_str().unwrap_or_default(), ROLES)?;
    }
    Ok(roles.clone())
}

/// A GeoJSON point: longitude, latitude.
fn geo_location(of: &Value) -> Answer<Option<Value>> {
    let Some(value) = of.get("geoLocation").filter(|value| !value.is_null()) else { return Ok(None) };
    let coordinates = value["coordinates"].as_array().map_or(&[][..], Vec::as_slice);
    let numbers: Vec<f64> = coordinates.iter().filter_map(Value::as_f64).collect();
    let sound = matches!(numbers[..], [longitude, latitude] if longitude.abs() <= 180.0 && latitude.abs() <= 90.0);
    if value["type"] != "Point" || coordinates.len() != 2 || !sound {
        return Err(Refusal::invalid_json("geoLocation: Expected a Point with longitude and latitude"));
    }
    Ok(Some(value.clone()))
}
