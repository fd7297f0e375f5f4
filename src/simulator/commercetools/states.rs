//! States (platform-commercetools A9).

use serde_json::{Value, json};

use super::project::Project;
use super::refusal::{Answer, Refusal};
use super::update::{check_enum, key, localized, one_of, set, unknown_action};

const TYPES: &[&str] = &[
    "OrderState",
    "RecurringOrderState",
    "LineItemState",
    "ProductState",
    "ReviewState",
    "PaymentState",
    "QuoteRequestState",
    "StagedQuoteState",
    "QuoteState",
];

/// A State from its draft; `initial` is true unless the draft says otherwise.
pub(super) fn create(project: &Project, draft: &Value) -> Answer<Value> {
    let mut state = json!({
        "key": key(draft)?,
        "type": one_of(draft, "type", TYPES)?,
        "initial": draft["initial"] != false,
        "builtIn": false,
        "roles": [],
    });
    for field in ["name", "description"] {
        set(&mut state, field, localized(draft, field)?);
    }
    for role in draft["roles"].as_array().into_iter().flatten() {
        check_enum("roles", role.as_str().unwrap_or_default(), &["ReviewIncludedInStatistics", "Return"])?;
    }
    set(&mut state, "roles", draft.get("roles").cloned().or(Some(json!([]))));
    set(&mut state, "transitions", transitions(project, draft)?);
    Ok(state)
}

/// Applies one action to `state`.
pub(super) fn change(project: &Project, state: &mut Value, name: &str, action: &Value) -> Answer<()> {
    match name {
        "changeInitial" => match action["initial"].as_bool() {
            Some(initial) => state["initial"] = initial.into(),
            None => return Err(Refusal::invalid_json("initial: Missing required value")),
        },
        "setTransitions" => set(state, "transitions", transitions(project, action)?),
        "changeKey" => state["key"] = key(action)?,
        "setName" => set(state, "name", localized(action, "name")?),
        "setDescription" => set(state, "description", localized(action, "description")?),
        "changeType" | "addRoles" | "removeRoles" | "setRoles" => {
            return Err(Refusal::not_simulated(format!("State action {name}")));
        }
        other => return Err(unknown_action(other)),
    }
    Ok(())
}

/// Absent = any transition is allowed; an empty list = none.
fn transitions(project: &Project, of: &Value) -> Answer<Option<Value>> {
    let Some(list) = of.get("transitions").and_then(Value::as_array) else { return Ok(None) };
    let resolved = list.iter().map(|state| {
        let found = project.resolve("state", "transitions", Some(state))?;
        Ok(json!({"typeId": "state", "id": found["id"]}))
    });
    Ok(Some(Value::Array(resolved.collect::<Answer<_>>()?)))
}
