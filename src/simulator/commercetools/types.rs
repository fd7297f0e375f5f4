//! Types (platform-commercetools A9).

use serde_json::{Value, json};

use super::project::Project;
use super::refusal::{Answer, Refusal};
use super::resource::of_type;
use super::update::{check_enum, key, localized, set, text, unknown_action};

/// A Type from its draft.
pub(super) fn create(project: &Project, draft: &Value) -> Answer<Value> {
    let name = localized(draft, "name")?.ok_or_else(|| Refusal::invalid_json("name: Missing required value"))?;
    let ids = draft.get("resourceTypeIds").and_then(Value::as_array).filter(|ids| !ids.is_empty());
    let ids = ids.ok_or_else(|| Refusal::invalid_json("resourceTypeIds: Missing required value"))?;
    for id in ids {
        check_enum("resourceTypeIds", id.as_str().unwrap_or_default(), RESOURCE_TYPE_IDS)?;
    }
    let mut created = json!({"key": key(draft)?, "name": name, "resourceTypeIds": ids, "fieldDefinitions": []});
    set(&mut created, "description", localized(draft, "description")?);
    for definition in draft["fieldDefinitions"].as_array().into_iter().flatten() {
        add(project, &mut created, definition)?;
    }
    Ok(created)
}

/// Applies one action to `changed`.
pub(super) fn change(project: &Project, changed: &mut Value, name: &str, action: &Value) -> Answer<()> {
    match name {
        "addFieldDefinition" => add(project, changed, &action["fieldDefinition"])?,
        "changeKey" => changed["key"] = key(action)?,
        "changeName" => set(changed, "name", localized(action, "name")?),
        "setDescription" => set(changed, "description", localized(action, "description")?),
        other if NOT_SIMULATED.contains(&other) => return Err(Refusal::not_simulated(format!("Type action {other}"))),
        other => return Err(unknown_action(other)),
    }
    Ok(())
}

/// Appends a field. Its name must be new in this Type, and wherever else a Type of the same resource
/// defines it, it must have the same type.
fn add(project: &Project, to: &mut Value, definition: &Value) -> Answer<()> {
    let name = text(definition, "name")?;
    let pattern = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if !(2..=36).contains(&name.len()) || !name.bytes().all(pattern) {
        let why = "Expected 2 to 36 letters, digits, '_' or '-'.";
        return Err(Refusal::invalid_field("name", &definition["name"], why));
    }
    check_enum("type -> name", definition["type"]["name"].as_str().unwrap_or_default(), FIELD_TYPES)?;
    if definition["type"]["name"] == "Set" {
        let element = definition["type"]["elementType"]["name"].as_str().unwrap_or_default();
        check_enum("type -> elementType -> name", element, FIELD_TYPES)?;
    }
    let required = definition.get("required").and_then(Value::as_bool);
    let required = required.ok_or_else(|| Refusal::invalid_json("required: Missing required value"))?;
    let label =
        localized(definition, "label")?.ok_or_else(|| Refusal::invalid_json("label: Missing required value"))?;
    let defines = |found: &Value| {
        let definitions = found["fieldDefinitions"].as_array().into_iter().flatten();
        definitions.into_iter().find(|known| known["name"] == name).cloned()
    };
    if defines(to).is_some() {
        return Err(Refusal::duplicate("name", &definition["name"]));
    }
    let shares = |found: &&Value| {
        let ids = found["resourceTypeIds"].as_array().into_iter().flatten();
        ids.into_iter().any(|id| to["resourceTypeIds"].as_array().is_some_and(|own| own.contains(id)))
    };
    let others = of_type("type").map(|types| project.all(types)).into_iter().flatten();
    if others.filter(shares).filter_map(defines).any(|known| known["type"] != definition["type"]) {
        let message = format!("Another Type of the same resource defines the field '{name}' with another type.");
        return Err(Refusal::invalid_operation(message));
    }
    let mut added = json!({
        "name": name,
        "label": label,
        "required": required,
        "type": definition["type"],
        "inputHint": "SingleLine",
    });
    if let Some(hint) = definition.get("inputHint").and_then(Value::as_str) {
        check_enum("inputHint", hint, &["SingleLine", "MultiLine"])?;
        added["inputHint"] = hint.into();
    }
    if let Some(definitions) = to["fieldDefinitions"].as_array_mut() {
        definitions.push(added);
    }
    Ok(())
}

const FIELD_TYPES: &[&str] = &[
    "Boolean",
    "String",
    "LocalizedString",
    "Enum",
    "LocalizedEnum",
    "Number",
    "Money",
    "Date",
    "Time",
    "DateTime",
    "Reference",
    "Set",
];

const NOT_SIMULATED: &[&str] = &[
    "addEnumValue",
    "addLocalizedEnumValue",
    "changeEnumValueLabel",
    "changeEnumValueOrder",
    "changeFieldDefinitionOrder",
    "changeInputHint",
    "changeLabel",
    "changeLocalizedEnumValueLabel",
    "changeLocalizedEnumValueOrder",
    "removeFieldDefinition",
];

const RESOURCE_TYPE_IDS: &[&str] = &[
    "address",
    "asset",
    "approval-flow",
    "approval-rule",
    "associate-role",
    "business-unit",
    "cart-discount",
    "category",
    "channel",
    "customer",
    "customer-group",
    "custom-line-item",
    "discount-code",
    "inventory-entry",
    "line-item",
    "order",
    "order-edit",
    "order-delivery",
    "order-parcel",
    "order-return-item",
    "payment",
    "payment-interface-interaction",
    "payment-method",
    "payment-method-info",
    "product-price",
    "product-selection",
    "product-tailoring",
    "quote",
    "reservation",
    "review",
    "recurring-order",
    "shipping",
    "shipping-method",
    "shopping-list",
    "shopping-list-text-line-item",
    "standalone-price",
    "store",
    "transaction",
];
