//! Custom Types on resources (platform-commercetools A8, A9): a resource has at most one Type, and
//! its fields are those of the Type.

use serde_json::{Map, Value, json};

use super::project::Project;
use super::refusal::{Answer, Refusal};
use super::resource::of_type;
use super::update::{set, text};
use crate::clock::parse_rfc3339;

/// `setCustomType`: an absent type removes all custom data.
pub(super) fn set_type(project: &Project, type_id: &str, document: &mut Value, action: &Value) -> Answer<()> {
    let custom = match action.get("type").filter(|found| !found.is_null()) {
        Some(_) => Some(from_draft(project, type_id, action)?),
        None => None,
    };
    set(document, "custom", custom);
    Ok(())
}

/// The `custom` object of a draft or of `setCustomType`: `{type, fields?}`.
pub(super) fn from_draft(project: &Project, type_id: &str, draft: &Value) -> Answer<Value> {
    let found = project.resolve("type", "type", draft.get("type"))?;
    if !found["resourceTypeIds"].as_array().is_some_and(|ids| ids.iter().any(|id| id == type_id)) {
        let message = format!("Type {} cannot be used for resources of type '{type_id}'.", found["key"]);
        return Err(Refusal::invalid_operation(message));
    }
    let mut fields = Map::new();
    for (name, value) in draft["fields"].as_object().into_iter().flatten().filter(|(_, value)| !value.is_null()) {
        fields.insert(name.clone(), checked(found, name, value)?);
    }
    for definition in found["fieldDefinitions"].as_array().into_iter().flatten() {
        let name = definition["name"].as_str().unwrap_or_default();
        if definition["required"] == true && !fields.contains_key(name) {
            return Err(Refusal::required_field(name));
        }
    }
    Ok(json!({"type": {"typeId": "type", "id": found["id"]}, "fields": fields}))
}

/// `setCustomField`: an absent or null value removes the field.
pub(super) fn set_field(project: &Project, document: &mut Value, action: &Value) -> Answer<()> {
    let name = text(action, "name")?;
    let found = of_type("type").zip(document["custom"]["type"]["id"].as_str());
    let Some(found) = found.and_then(|(types, id)| project.find(types, id)) else {
        return Err(Refusal::invalid_operation("The resource has no custom Type."));
    };
    let fields = &mut document["custom"]["fields"];
    match action.get("value").filter(|value| !value.is_null()) {
        Some(value) => fields[name] = checked(found, name, value)?,
        None => {
            if definition(found, name)?["required"] == true {
                return Err(Refusal::required_field(name));
            }
            if fields.get(name).is_none() {
                return Err(Refusal::invalid_operation(format!("The custom field '{name}' is not set.")));
            }
            set(fields, name, None);
        }
    }
    Ok(())
}

fn definition<'a>(found: &'a Value, name: &str) -> Answer<&'a Value> {
    let definitions = found["fieldDefinitions"].as_array().into_iter().flatten();
    definitions.into_iter().find(|definition| definition["name"] == name).ok_or_else(|| {
        let why = format!("Type {} does not define it.", found["key"]);
        Refusal::invalid_field(name, &Value::Null, why)
    })
}

/// The value as the platform stores it, or a refusal if the field does not take it.
fn checked(found: &Value, name: &str, value: &Value) -> Answer<Value> {
    let field_type = &definition(found, name)?["type"];
    if !fits(field_type, value) {
        let why = format!("Expected a value of type {}.", field_type["name"]);
        return Err(Refusal::invalid_field(name, value, why));
    }
    Ok(value.clone())
}

fn fits(field_type: &Value, value: &Value) -> bool {
    let keys = || field_type["values"].as_array().into_iter().flatten();
    match field_type["name"].as_str().unwrap_or_default() {
        "Boolean" => value.is_boolean(),
        "String" => value.is_string(),
        "Number" => value.is_number(),
        "LocalizedString" => value.as_object().is_some_and(|texts| texts.values().all(Value::is_string)),
        "Enum" | "LocalizedEnum" => keys().any(|known| known["key"] == *value),
        "Money" => value["currencyCode"].is_string() && value["centAmount"].is_i64(),
        "Date" => value.as_str().is_some_and(|date| parse_rfc3339(&format!("{date}T00:00:00Z")).is_some()),
        "Time" => value.as_str().is_some_and(|time| parse_rfc3339(&format!("2000-01-01T{time}Z")).is_some()),
        "DateTime" => value.as_str().is_some_and(|at| parse_rfc3339(at).is_some()),
        "Reference" => value["typeId"] == field_type["referenceTypeId"] && value["id"].is_string(),
        "Set" => value
            .as_array()
            .is_some_and(|elements| elements.iter().all(|element| fits(&field_type["elementType"], element))),
        _ => false,
    }
}
