//! Wanted and found, compared (F 11.2, 11.3).

use super::subscription::{delivers_to, widened_changes, widened_messages};
use super::{ChannelWanted, Found, Verdict, Wanted};
use crate::commercetools::definition::{
    DefinedType, DefinitionAction, FieldDraft, MessagesConfiguration, StateDraft, SubscriptionDraft, TypeDraft,
};
use crate::commercetools::known::FieldType;

/// What there is to do about it.
pub fn judge(wanted: &Wanted, found: &Found) -> Verdict {
    match wanted {
        Wanted::Type(draft) => custom_type(draft, found),
        Wanted::Extension { key, resource, fields } => match found.types.iter().find(|known| known.key == *key) {
            Some(known) if known.serves(resource) => fields_of(known, resource, fields, found),
            Some(_) => conflict("custom Type", key, &format!("is not for {resource}")),
            None => Verdict::Conflict(format!("custom Type {key} does not exist; name one that does with --extend.")),
        },
        Wanted::Channel(draft) => channel(draft, found),
        Wanted::State(draft) => state(draft, found),
        Wanted::Subscription(draft) => subscription(draft, found),
        Wanted::MessageStorage => message_storage(found),
    }
}

fn custom_type(draft: &TypeDraft, found: &Found) -> Verdict {
    let resources = &draft.resource_type_ids;
    let Some(own) = found.types.iter().find(|known| known.key == draft.key) else {
        return absent_type(draft, found);
    };
    if let Some(missing) = resources.iter().find(|resource| !own.serves(resource)) {
        return conflict("custom Type", &draft.key, &format!("is not for {missing}"));
    }
    fields_of(own, &resources.join(", "), &draft.field_definitions, found)
}

/// No Type has our key: somebody else's may serve, or forbid ours.
fn absent_type(draft: &TypeDraft, found: &Found) -> Verdict {
    let serves = |known: &&DefinedType| draft.resource_type_ids.iter().all(|resource| known.serves(resource));
    let has_all = |known: &&DefinedType| {
        let mut fields = draft.field_definitions.iter();
        fields.len() > 0 && fields.all(|field| known.field(&field.name).is_some_and(is_usable))
    };
    if let Some(other) = found.types.iter().filter(serves).find(has_all) {
        let names: Vec<&str> = draft.resource_type_ids.iter().map(|resource| configured(resource)).collect();
        let keys: Vec<String> = names.iter().map(|name| format!("custom_types.{name}.key")).collect();
        return Verdict::Foreign(format!(
            "custom Type {} serves {} and has our fields already; set {} to {} instead of creating {}.",
            other.key,
            draft.resource_type_ids.join(", "),
            keys.join(" and "),
            other.key,
            draft.key
        ));
    }
    let clashes = draft.field_definitions.iter().find_map(|field| clash(field, &draft.resource_type_ids, None, found));
    clashes.unwrap_or(Verdict::Create)
}

/// Which fields it lacks, unless one of its own is in the way.
fn fields_of(own: &DefinedType, resource: &str, fields: &[FieldDraft], found: &Found) -> Verdict {
    let (mut actions, mut got) = (Vec::new(), Vec::new());
    for field in fields {
        match own.field(&field.name) {
            Some(kind) if is_usable(kind) => {}
            Some(kind) => {
                let difference = format!("its field {} is of type {}", field.name, name(kind));
                return conflict("custom Type", &own.key, &difference);
            }
            None => {
                if let Some(clash) = clash(field, &own.resource_type_ids, Some(&own.key), found) {
                    return clash;
                }
                actions.push(DefinitionAction::AddFieldDefinition { field_definition: field.clone() });
                got.push(format!(
                    "provision.extended: custom Type {} ({resource}) got the field {}.",
                    own.key, field.name
                ));
            }
        }
    }
    changed(&own.id, own.version, actions, got)
}

/// A field must have the same type in all Types of a resource.
fn clash(field: &FieldDraft, resources: &[String], own: Option<&str>, found: &Found) -> Option<Verdict> {
    let others = found.types.iter().filter(|known| Some(known.key.as_str()) != own);
    let mut others = others.filter(|known| resources.iter().any(|resource| known.serves(resource)));
    others.find_map(|other| {
        let kind = other.field(&field.name).filter(|kind| **kind != field.kind)?;
        let difference =
            format!("defines the field {} with type {}, ours would be {}", field.name, name(kind), name(&field.kind));
        Some(conflict("custom Type", &other.key, &difference))
    })
}

/// Can our value be written into a field of this type (F 1.9)?
fn is_usable(kind: &FieldType) -> bool {
    let set_of_texts = || kind.element_type.as_ref().is_some_and(|element| element.name == "String");
    matches!(kind.name.as_str(), "String" | "Number") || (kind.name == "Set" && set_of_texts())
}

fn channel(draft: &ChannelWanted, found: &Found) -> Verdict {
    let Some(own) = found.channels.iter().find(|known| known.key == draft.key) else { return Verdict::Create };
    let missing = draft.roles.iter().filter(|role| own.roles.iter().all(|known| known != *role));
    let roles: Vec<String> = missing.map(|role| (*role).to_owned()).collect();
    if roles.is_empty() {
        return Verdict::Keep;
    }
    let got = format!("provision.extended: Channel {} got the role {}.", draft.key, roles.join(", "));
    changed(&own.id, own.version, vec![DefinitionAction::AddRoles { roles }], vec![got])
}

fn state(draft: &StateDraft, found: &Found) -> Verdict {
    let own = found.states.iter().find(|known| known.key.as_deref() == Some(&draft.key));
    match own {
        None => Verdict::Create,
        Some(own) if own.kind != draft.kind => {
            conflict("State", &draft.key, &format!("is of type {}, not {}", own.kind, draft.kind))
        }
        Some(own) if draft.initial && !own.initial => {
            let got = format!("provision.extended: State {} is initial now.", draft.key);
            changed(&own.id, own.version, vec![DefinitionAction::ChangeInitial { initial: true }], vec![got])
        }
        Some(_) => Verdict::Keep,
    }
}

/// Ours by its key, else any that delivers all of it to the same place.
fn subscription(draft: &SubscriptionDraft, found: &Found) -> Verdict {
    let own = found.subscriptions.iter().find(|known| known.key.as_deref() == Some(&draft.key));
    let Some(own) = own else {
        let serves = found.subscriptions.iter().any(|known| {
            delivers_to(known, &draft.destination)
                && widened_messages(&known.messages, &draft.messages).is_none()
                && widened_changes(&known.changes, &draft.changes).is_none()
        });
        return if serves { Verdict::Keep } else { Verdict::Create };
    };
    if !delivers_to(own, &draft.destination) {
        let kind = own.destination.get("type").and_then(|kind| kind.as_str()).unwrap_or("another");
        return conflict("Subscription", &draft.key, &format!("delivers to another destination ({kind})"));
    }
    let (mut actions, mut got) = (Vec::new(), Vec::new());
    if let Some(messages) = widened_messages(&own.messages, &draft.messages) {
        let names: Vec<&str> = draft.messages.iter().map(|wanted| wanted.resource_type_id.as_str()).collect();
        got.push(format!("provision.extended: Subscription {} has all Messages of {}.", draft.key, names.join(", ")));
        actions.push(DefinitionAction::SetMessages { messages });
    }
    if let Some(changes) = widened_changes(&own.changes, &draft.changes) {
        let names: Vec<&str> = draft.changes.iter().map(|wanted| wanted.resource_type_id.as_str()).collect();
        got.push(format!("provision.extended: Subscription {} has changes of {}.", draft.key, names.join(", ")));
        actions.push(DefinitionAction::SetChanges { changes });
    }
    changed(&own.id, own.version, actions, got)
}

fn message_storage(found: &Found) -> Verdict {
    let Some(settings) = found.settings.as_ref().filter(|settings| !settings.messages.enabled) else {
        return Verdict::Keep;
    };
    let delete_days_after_creation = settings.messages.delete_days_after_creation;
    let kept = MessagesConfiguration { enabled: true, delete_days_after_creation };
    let actions = vec![DefinitionAction::ChangeMessagesConfiguration { messages_configuration: kept }];
    let got = format!("provision.extended: Messages are kept for {delete_days_after_creation} days now.");
    changed("", settings.version, actions, vec![got])
}

fn changed(id: &str, version: i64, actions: Vec<DefinitionAction>, got: Vec<String>) -> Verdict {
    match actions.is_empty() {
        true => Verdict::Keep,
        false => Verdict::Change { id: id.to_owned(), version, actions, got },
    }
}

/// F 11.4.
fn conflict(resource: &str, key: &str, difference: &str) -> Verdict {
    Verdict::Conflict(format!(
        "provision.conflict: {resource} {key} exists but {difference}; rename ours in custom_types or change it by hand."
    ))
}

/// The key under `custom_types` of a resource.
fn configured(resource: &str) -> &str {
    match resource {
        "line-item" => "line_item",
        "order-delivery" => "delivery",
        "order-parcel" => "parcel",
        other => other,
    }
}

/// `String`, `Set of String`
fn name(kind: &FieldType) -> String {
    match &kind.element_type {
        Some(element) => format!("{} of {}", kind.name, name(element)),
        None => kind.name.clone(),
    }
}
