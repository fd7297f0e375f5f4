//! Creating and updating through the API (platform-commercetools A4): shape of the body, version
//! guard, all actions or none.

use serde_json::Value;

use super::message;
use super::project::{Author, Project};
use super::refusal::{Answer, Refusal};
use super::resource::Resource;

/// What a write did.
pub(super) struct Written {
    pub document: Value,
    pub changed: bool,
    pub actions: Vec<String>,
}

/// `POST /{resource}`: stores a new resource from its draft.
pub(super) fn create(
    project: &mut Project,
    resource: &'static Resource,
    draft: &Value,
    client: &str,
) -> Answer<Written> {
    let Some(create) = resource.create else {
        return Err(Refusal::not_simulated(format!("Creating {} through the API", resource.path)));
    };
    let mut document = create(project, draft)?;
    document["id"] = project.new_id().into();
    document["version"] = 1.into();
    project.check_unique(resource, &document)?;
    let steps = message::events(resource.type_id, None, &document).into_iter().map(|event| (1, event)).collect();
    let document = project.commit(resource, document, Author::Client(client), steps);
    Ok(Written { document, changed: true, actions: Vec::new() })
}

/// `POST /{resource}/{id}`: applies all actions to the expected version, or none.
///
/// The version rises by one per action that changed something, and not at all if none did.
pub(super) fn update(
    project: &mut Project,
    resource: &'static Resource,
    id: &str,
    body: &Value,
    client: &str,
) -> Answer<Written> {
    let Some(change) = resource.change else {
        return Err(Refusal::not_simulated(format!("Updating {} through the API", resource.path)));
    };
    let (expected, actions) = parts(body)?;
    let stored = project.find(resource, id).cloned();
    let stored = stored.ok_or_else(|| Refusal::not_found(format!("The resource with id '{id}' was not found.")))?;
    let mut version = stored["version"].as_u64().unwrap_or_default();
    if version != expected {
        return Err(Refusal::conflict(id, expected, version));
    }
    let mut draft = stored.clone();
    let mut steps = Vec::new();
    for (name, action) in &actions {
        let before = draft.clone();
        change(project, &mut draft, name, action)?;
        if draft == before {
            continue;
        }
        version += 1;
        for mut event in message::events(resource.type_id, Some(&before), &draft) {
            if event.kind == "OrderStateTransition" {
                event.fields.insert("force".into(), (action["force"] == true).into());
            }
            steps.push((version, event));
        }
    }
    let actions = actions.into_iter().map(|(name, _)| name.to_owned()).collect();
    if draft == stored {
        return Ok(Written { document: stored, changed: false, actions });
    }
    project.check_unique(resource, &draft)?;
    draft["version"] = version.into();
    let document = project.commit(resource, draft, Author::Client(client), steps);
    Ok(Written { document, changed: true, actions })
}

/// Version and actions of an update body.
pub(super) fn parts(body: &Value) -> Answer<(u64, Vec<(&str, &Value)>)> {
    let version = body.get("version").and_then(Value::as_u64);
    let version = version.ok_or_else(|| Refusal::invalid_json("version: Missing required value"))?;
    let actions = body.get("actions").and_then(Value::as_array);
    let actions = actions.ok_or_else(|| Refusal::invalid_json("actions: Missing required value"))?;
    if actions.len() > 500 {
        let message = format!("At most 500 update actions are allowed in one request, found {}.", actions.len());
        return Err(Refusal::invalid_input(message));
    }
    let named = actions.iter().map(|action| match action.get("action").and_then(Value::as_str) {
        Some(name) => Ok((name, action)),
        None => Err(Refusal::invalid_json("actions -> action: Missing required value")),
    });
    Ok((version, named.collect::<Answer<_>>()?))
}

/// An action name that the resource does not have.
pub(super) fn unknown_action(name: &str) -> Refusal {
    Refusal::invalid_json(format!("actions -> action: Invalid value '{name}'"))
}

/// A field of an action or draft that must be a text.
pub(super) fn text<'a>(of: &'a Value, field: &str) -> Answer<&'a str> {
    of.get(field)
        .and_then(Value::as_str)
        .ok_or_else(|| Refusal::invalid_json(format!("{field}: Missing required value")))
}

/// A field that may be absent or null, and must be a text otherwise.
pub(super) fn optional_text(of: &Value, field: &str) -> Answer<Option<Value>> {
    match of.get(field).filter(|value| !value.is_null()) {
        None => Ok(None),
        Some(value) if value.is_string() => Ok(Some(value.clone())),
        Some(_) => Err(Refusal::invalid_json(format!("{field}: Expected a text"))),
    }
}

/// A key: 2 to 256 letters, digits, `_` or `-` (A9).
pub(super) fn key(of: &Value) -> Answer<Value> {
    key_named(of, "key")
}

/// A key in a field of another name.
pub(super) fn key_named(of: &Value, field: &str) -> Answer<Value> {
    let key = text(of, field)?;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if !(2..=256).contains(&key.len()) || !key.bytes().all(allowed) {
        return Err(Refusal::invalid_field(field, &of[field], "Expected 2 to 256 letters, digits, '_' or '-'."));
    }
    Ok(key.into())
}

/// A text that must be one of `allowed`.
pub(super) fn one_of<'a>(of: &'a Value, field: &str, allowed: &[&str]) -> Answer<&'a str> {
    let value = text(of, field)?;
    check_enum(field, value, allowed)?;
    Ok(value)
}

pub(super) fn check_enum(field: &str, value: &str, allowed: &[&str]) -> Answer<()> {
    if allowed.contains(&value) {
        return Ok(());
    }
    let allowed = allowed.iter().map(|value| format!("'{value}'")).collect::<Vec<_>>().join(",");
    Err(Refusal::invalid_json(format!("{field}: Invalid enum value: '{value}'. Expected one of: {allowed}.")))
}

/// Sets an optional field; an absent or null value removes it.
pub(super) fn set(document: &mut Value, field: &str, value: Option<Value>) {
    match value.filter(|value| !value.is_null()) {
        Some(value) => document[field] = value,
        None => {
            if let Some(fields) = document.as_object_mut() {
                fields.remove(field);
            }
        }
    }
}

/// A localised text: an object of texts with at least one entry.
pub(super) fn localized(of: &Value, field: &str) -> Answer<Option<Value>> {
    let Some(value) = of.get(field).filter(|value| !value.is_null()) else { return Ok(None) };
    match value.as_object() {
        Some(texts) if texts.values().all(Value::is_string) => Ok(Some(value.clone())),
        _ => Err(Refusal::invalid_json(format!("{field}: Expected a localized string"))),
    }
}

/// An address with the required country; names the platform does not know are dropped (A9).
pub(super) fn address(of: &Value, field: &str) -> Answer<Option<Value>> {
    let Some(value) = of.get(field).filter(|value| !value.is_null()) else { return Ok(None) };
    let Some(fields) = value.as_object() else {
        return Err(Refusal::invalid_json(format!("{field}: Expected an address")));
    };
    let country = text(value, "country")
        .map_err(|_| Refusal::invalid_json(format!("{field} -> country: Missing required value")))?;
    if country.len() != 2 || !country.bytes().all(|byte| byte.is_ascii_uppercase()) {
        return Err(Refusal::invalid_json(format!("{field} -> country: '{country}' is no ISO 3166-1 code")));
    }
    let known = super::fields::ADDRESS;
    let kept = fields.iter().filter(|(name, value)| known.contains(&name.as_str()) && !value.is_null());
    Ok(Some(kept.map(|(name, value)| (name.clone(), value.clone())).collect::<serde_json::Map<_, _>>().into()))
}
