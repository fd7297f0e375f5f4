//! From a request to its answer: token, scope, target, ledger.

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Uri};
use serde_json::{Value, json};

use super::oauth::{self, Caller};
use super::project::Project;
use super::query::{Parameters, expand, query};
use super::refusal::{Answer, Refusal};
use super::resource::{Resource, Target};
use super::update::{self, Written};
use super::{Commercetools, Inner};
use crate::simulator::front::{lock, plain};

/// Every path that is not a control endpoint.
pub(super) async fn answer(
    State(platform): State<Commercetools>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let answered = platform.0.route(&method, &uri, &headers, &body);
    let mut response = match answered {
        Ok((status, body)) => plain(status, body),
        Err(refusal) => plain(refusal.status, refusal.body()),
    };
    if method == Method::HEAD {
        *response.body_mut() = Body::empty();
    }
    let correlation = format!("{}/{}", platform.0.options.project_key, uuid::Uuid::new_v4());
    if let Ok(correlation) = HeaderValue::from_str(&correlation) {
        response.headers_mut().insert("x-correlation-id", correlation);
    }
    response
}

impl Inner {
    fn route(&self, method: &Method, uri: &Uri, headers: &HeaderMap, body: &Bytes) -> Answer<(StatusCode, Value)> {
        let target = Target::of(&self.options.project_key, uri.path());
        let mut project = lock(&self.project);
        if let Target::Token = target {
            return match *method {
                Method::POST => {
                    oauth::token(&mut project, &self.options, uri, headers, body).map(|body| (StatusCode::OK, body))
                }
                _ => Err(Refusal::not_found("The token endpoint takes POST.")),
            };
        }
        let caller = oauth::caller(&project, headers)?;
        let query = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(uri);
        let parameters = Parameters(query.map_err(|why| Refusal::invalid_input(why.to_string()))?.0);
        self.write_imports(&mut project);
        if let Target::Import(import) = &target {
            return self.import(&mut project, method, import, (&parameters, &caller), body);
        }
        match *method {
            Method::DELETE => self.delete(&mut project, &target, &parameters, &caller),
            Method::GET | Method::HEAD => {
                let found = read(&project, &target, &parameters, &caller)?;
                let empty = *method == Method::HEAD && found["count"] == 0;
                Ok((if empty { StatusCode::NOT_FOUND } else { StatusCode::OK }, found))
            }
            Method::POST => self.write(&mut project, &target, &parameters, &caller, body),
            _ => Err(Refusal::not_simulated(target.operation(method))),
        }
    }

    fn write(
        &self,
        project: &mut Project,
        target: &Target,
        parameters: &Parameters,
        caller: &Caller,
        body: &Bytes,
    ) -> Answer<(StatusCode, Value)> {
        let operation = target.operation(&Method::POST);
        if let Target::Project = target {
            return self.write_settings(project, &operation, caller, body);
        }
        let resource = match target {
            Target::Collection(resource) | Target::Id(resource, _) | Target::Key(resource, _) => *resource,
            Target::Foreign => return Err(foreign(&["manage_project"])),
            Target::Token | Target::Project | Target::Import(_) | Target::Unknown => {
                return Err(Refusal::not_simulated(operation));
            }
        };
        if resource.manage.is_empty() {
            return Err(Refusal::not_simulated(operation));
        }
        caller.needs(&project.key, resource.manage)?;
        let body = serde_json::from_slice(body).map_err(|why| Refusal::invalid_json(why.to_string()))?;
        let client = self.options.client_id.as_str();
        let (status, mut written) = match target {
            Target::Collection(_) => (StatusCode::CREATED, update::create(project, resource, &body, client)?),
            _ => {
                let document = one(project, target)?;
                let id = document["id"].as_str().unwrap_or_default().to_owned();
                (StatusCode::OK, update::update(project, resource, &id, &body, client)?)
            }
        };
        self.record(&operation, resource, &written);
        expand(project, parameters, caller, &mut written.document);
        Ok((status, written.document))
    }

    fn write_settings(
        &self,
        project: &mut Project,
        operation: &str,
        caller: &Caller,
        body: &Bytes,
    ) -> Answer<(StatusCode, Value)> {
        caller.needs(&project.key, &["manage_project_settings"])?;
        let body = serde_json::from_slice(body).map_err(|why| Refusal::invalid_json(why.to_string()))?;
        let (changed, actions) = project.update_settings(&body)?;
        let settings = project.settings();
        let detail = json!({"version": settings["version"], "actions": actions, "clientId": self.options.client_id});
        self.front.effect(operation, "project", &project.key, &project.key, changed, detail);
        Ok((StatusCode::OK, settings))
    }

    /// Only inventory entries are deleted through the API.
    fn delete(
        &self,
        project: &mut Project,
        target: &Target,
        parameters: &Parameters,
        caller: &Caller,
    ) -> Answer<(StatusCode, Value)> {
        let operation = target.operation(&Method::DELETE);
        let resource = match target {
            Target::Id(resource, _) if resource.path == "inventory" => *resource,
            _ => return Err(Refusal::not_simulated(operation)),
        };
        caller.needs(&project.key, resource.manage)?;
        let document = one(project, target)?.clone();
        let id = document["id"].as_str().unwrap_or_default();
        let (expected, actual) = (parameters.version()?, document["version"].as_u64().unwrap_or_default());
        if expected != actual {
            return Err(Refusal::conflict(id, expected, actual));
        }
        project.remove(resource, id);
        self.record(&operation, resource, &Written { document: document.clone(), changed: true, actions: Vec::new() });
        Ok((StatusCode::OK, document))
    }

    /// Called with the project still locked: the ledger's order is the order of the changes.
    fn record(&self, operation: &str, resource: &Resource, written: &Written) {
        let document = &written.document;
        let text = |field: &str| document.get(field).and_then(Value::as_str).unwrap_or_default();
        let reference = resource.key.map_or("", |(field, _)| text(field));
        let mut detail = json!({
            "version": document["version"],
            "actions": written.actions,
            "clientId": self.options.client_id,
        });
        if resource.type_id == "inventory-entry" {
            detail["quantityOnStock"] = document["quantityOnStock"].clone();
        }
        if resource.type_id == "order" {
            for state in ["orderState", "shipmentState", "paymentState"] {
                detail[state] = document[state].clone();
            }
        }
        self.front.effect(operation, resource.type_id, text("id"), reference, written.changed, detail);
    }
}

fn read(project: &Project, target: &Target, parameters: &Parameters, caller: &Caller) -> Answer<Value> {
    let resource = match target {
        Target::Project => {
            caller.needs(&project.key, &["view_project_settings", "manage_project_settings"])?;
            return Ok(project.settings());
        }
        Target::Collection(resource) | Target::Id(resource, _) | Target::Key(resource, _) => *resource,
        Target::Foreign => return Err(foreign(&["view_project_settings"])),
        Target::Token | Target::Import(_) | Target::Unknown => return Err(Refusal::not_simulated("This path")),
    };
    caller.needs(&project.key, resource.view)?;
    if resource.path == "messages" && !project.messages_enabled {
        return Err(Refusal::invalid_operation("Querying Messages is not enabled in this project."));
    }
    if let Target::Collection(_) = target {
        return query(project, resource, parameters, caller);
    }
    let now = one(project, target)?;
    let seen = project.read(resource, now["id"].as_str().unwrap_or_default());
    let mut document = seen.ok_or_else(|| Refusal::not_found("The resource was not found."))?.clone();
    expand(project, parameters, caller, &mut document);
    Ok(document)
}

/// The resource that an id or key names.
fn one<'a>(project: &'a Project, target: &Target) -> Answer<&'a Value> {
    let (found, name, value) = match target {
        Target::Id(resource, id) => (project.find(resource, id), "id", id.as_str()),
        Target::Key(resource, key) => {
            (project.find_key(resource, key), resource.key.map_or("key", |(field, _)| field), key.as_str())
        }
        _ => (None, "path", ""),
    };
    found.ok_or_else(|| Refusal::not_found(format!("The resource with {name} '{value}' was not found.")))
}

/// A token carries the project's key in its scopes, so it opens no other project.
fn foreign(scopes: &[&str]) -> Refusal {
    let scopes: Vec<String> = scopes.iter().map(|scope| format!("{scope} of that project")).collect();
    Refusal::insufficient_scope(&scopes)
}
