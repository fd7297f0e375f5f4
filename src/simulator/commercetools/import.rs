//! The Import API (platform-commercetools A9): containers, inventory requests, and what becomes of each
//! resource. It shares host, token and rate limit with the HTTP API of this project.
//!
//! A resource is written `delay` after it was taken, whatever its version is then; a request that comes first
//! after that does the work.

use std::collections::BTreeMap;

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use super::oauth::Caller;
use super::project::{Author, Project};
use super::query::Parameters;
use super::refusal::{Answer, Refusal};
use super::resource::resource;
use super::update::{key, text};
use super::{Inner, inventory};
use crate::clock::{Millis, rfc3339};

/// Most resources of one request.
const RESOURCES: usize = 20;
const SCOPES: &[&str] = &["manage_import_containers"];
const DAY: Millis = 24 * 60 * 60 * 1000;

/// What a path of the Import API stands for; keys are those of containers.
pub(super) enum Import {
    Containers,
    Operations(String),
    Inventories(String),
}

/// The Import API of a project.
#[derive(Default)]
pub(super) struct Imports {
    /// How long a resource waits until it is written.
    pub delay: Millis,
    containers: BTreeMap<String, Value>,
    operations: Vec<Operation>,
    number: u64,
}

struct Operation {
    id: String,
    container: String,
    resource: Value,
    state: &'static str,
    errors: Vec<Value>,
    created: Millis,
    changed: Millis,
}

impl Import {
    /// The stable name of a request.
    pub fn operation(&self, method: &Method) -> String {
        match self {
            Self::Containers => format!("{method} /import-containers"),
            Self::Operations(_) => format!("{method} /import-containers/{{key}}/import-operations"),
            Self::Inventories(_) => format!("{method} /inventories/import-containers/{{key}}"),
        }
    }
}

impl Inner {
    /// Answers a request to the Import API.
    pub(super) fn import(
        &self,
        project: &mut Project,
        method: &Method,
        target: &Import,
        (parameters, caller): (&Parameters, &Caller),
        body: &[u8],
    ) -> Answer<(StatusCode, Value)> {
        caller.needs(&project.key, SCOPES)?;
        let parsed = || serde_json::from_slice(body).map_err(|why| Refusal::invalid_json(why.to_string()));
        match (target, method) {
            (Import::Containers, &Method::POST) => Ok((StatusCode::CREATED, make(project, &parsed()?)?)),
            (Import::Inventories(container), &Method::POST) => {
                Ok((StatusCode::CREATED, take(project, container, &parsed()?)?))
            }
            (Import::Operations(container), &Method::GET) => {
                Ok((StatusCode::OK, list(project, container, parameters)?))
            }
            _ => Err(Refusal::not_simulated(target.operation(method))),
        }
    }

    /// Writes what is due.
    pub(super) fn write_imports(&self, project: &mut Project) {
        let now = project.clock.now();
        let due = now - project.imports.delay;
        for at in 0..project.imports.operations.len() {
            let operation = &project.imports.operations[at];
            if !matches!(operation.state, "processing" | "unresolved") || operation.created > due {
                continue;
            }
            let resource = operation.resource.clone();
            let (state, errors) = self.write_import(project, &resource);
            let operation = &mut project.imports.operations[at];
            (operation.state, operation.errors, operation.changed) = (state, errors, now);
        }
    }

    fn write_import(&self, project: &mut Project, draft: &Value) -> (&'static str, Vec<Value>) {
        let Some(entries) = resource("inventory") else { return ("rejected", Vec::new()) };
        let fresh = match inventory::create(project, draft) {
            Ok(fresh) => fresh,
            Err(refusal) if refusal.code == "ReferencedResourceNotFound" => return ("unresolved", Vec::new()),
            Err(refusal) => return ("validationFailed", vec![error(&refusal)]),
        };
        let mut entry = match draft["key"].as_str().and_then(|key| project.find_key(entries, key)) {
            Some(stored) => {
                let mut stored = stored.clone();
                let members = fresh.as_object().cloned().unwrap_or_default();
                if let Some(stored) = stored.as_object_mut() {
                    stored.extend(members);
                }
                stored
            }
            None => fresh,
        };
        let stored = entry["id"].as_str().and_then(|id| project.find(entries, id)).cloned();
        if stored.is_none() {
            entry["id"] = project.new_id().into();
        }
        if let Err(refusal) = project.check_unique(entries, &entry) {
            return ("rejected", vec![error(&refusal)]);
        }
        let changed = stored.as_ref() != Some(&entry);
        if changed {
            entry["version"] = (stored.map_or(0, |stored| stored["version"].as_u64().unwrap_or_default()) + 1).into();
            entry = project.commit(entries, entry, Author::Client(&self.options.client_id), Vec::new());
        }
        let text = |name: &str| entry[name].as_str().unwrap_or_default();
        let detail = json!({"version": entry["version"], "actions": [], "quantityOnStock": entry["quantityOnStock"]});
        self.front.effect("import", "inventory-entry", text("id"), text("key"), changed, detail);
        ("imported", Vec::new())
    }
}

fn error(refusal: &Refusal) -> Value {
    json!({"code": refusal.code, "message": refusal.message})
}

fn make(project: &mut Project, draft: &Value) -> Answer<Value> {
    let name = key(draft)?;
    let Some(name) = name.as_str() else { return Err(Refusal::required_field("key")) };
    if project.imports.containers.contains_key(name) {
        return Err(Refusal::duplicate("key", &draft["key"]));
    }
    if project.imports.containers.len() >= 1000 {
        return Err(Refusal::new(400, "ResourceCreationError", "A project has at most 1000 containers."));
    }
    let now = rfc3339(project.clock.now());
    let mut container = json!({"key": name, "version": 1, "createdAt": now, "lastModifiedAt": now});
    for member in ["resourceType", "retentionPolicy"] {
        if draft.get(member).is_some() {
            container[member] = draft[member].clone();
        }
    }
    project.imports.containers.insert(name.to_owned(), container.clone());
    Ok(container)
}

fn take(project: &mut Project, container: &str, request: &Value) -> Answer<Value> {
    let Some(owner) = project.imports.containers.get(container) else { return Err(missing(container)) };
    if owner["resourceType"].as_str().is_some_and(|kind| kind != "inventory") {
        return Err(Refusal::invalid_operation("The container takes resources of another type."));
    }
    if request["type"] != "inventory" {
        return Err(Refusal::invalid_json("type: Expected 'inventory'"));
    }
    let resources = request["resources"].as_array().cloned();
    let resources = resources.ok_or_else(|| Refusal::invalid_json("resources: Missing required value"))?;
    if resources.is_empty() || resources.len() > RESOURCES {
        return Err(Refusal::invalid_input(format!("A request has 1 to {RESOURCES} resources.")));
    }
    for resource in &resources {
        key(resource)?;
        text(resource, "sku")?;
        if !resource["quantityOnStock"].is_i64() {
            return Err(Refusal::invalid_json("quantityOnStock: Expected a whole number"));
        }
    }
    let now = project.clock.now();
    let statuses: Vec<Value> = resources
        .into_iter()
        .map(|resource| {
            project.imports.number += 1;
            let id = format!("{:08x}-0000-4000-8000-{:012x}", project.imports.number, project.imports.number);
            let status = json!({"operationId": id, "state": "processing"});
            let container = container.to_owned();
            let (state, errors) = ("processing", Vec::new());
            project.imports.operations.push(Operation {
                id,
                container,
                resource,
                state,
                errors,
                created: now,
                changed: now,
            });
            status
        })
        .collect();
    Ok(json!({"operationStatus": statuses}))
}

fn list(project: &Project, container: &str, parameters: &Parameters) -> Answer<Value> {
    if !project.imports.containers.contains_key(container) {
        return Err(missing(container));
    }
    let (limit, offset) = (parameters.number("limit", 20, 500)?, parameters.number("offset", 0, 10_000)?);
    // Ids ascend as the operations do.
    let all: Vec<&Operation> =
        project.imports.operations.iter().filter(|operation| operation.container == container).collect();
    let results: Vec<Value> = all
        .iter()
        .skip(offset)
        .take(limit)
        .map(|operation| {
            let mut shown = json!({
                "version": 1, "importContainerKey": container, "resourceKey": operation.resource["key"],
                "id": operation.id, "state": operation.state, "createdAt": rfc3339(operation.created),
                "lastModifiedAt": rfc3339(operation.changed), "expiresAt": rfc3339(operation.created + 2 * DAY),
            });
            if !operation.errors.is_empty() {
                shown["errors"] = operation.errors.clone().into();
            }
            shown
        })
        .collect();
    Ok(json!({"limit": limit, "offset": offset, "count": results.len(), "total": all.len(), "results": results}))
}

fn missing(container: &str) -> Refusal {
    Refusal::not_found(format!("The import container with key '{container}' was not found."))
}
