//! `POST /graphql`: parse, validate, coerce, weigh, execute (platform document 2).

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex};

use apollo_compiler::executable::{Operation, Selection};
use apollo_compiler::request::{RequestError, coerce_variable_values};
use apollo_compiler::resolvers::Execution;
use apollo_compiler::response::{GraphQLError, JsonMap};
use apollo_compiler::validation::Valid;
use apollo_compiler::{ExecutableDocument, Node, Schema};
use serde_json::{Value, json};

use super::account::Account;
use super::complexity::{LIMIT, complexity};
use super::resolve::Root;
use crate::simulator::Fault;
use crate::simulator::front::lock;

/// The simulated part of the schema.
pub fn schema() -> &'static Valid<Schema> {
    static SCHEMA: LazyLock<Valid<Schema>> = LazyLock::new(|| {
        let text = include_str!("schema.graphql");
        Schema::parse_and_validate(text, "schema.graphql")
            .unwrap_or_else(|error| panic!("the embedded schema is part of the program: {}", error.errors))
    });
    &SCHEMA
}

/// An answer of HTTP 200 that the next requests get instead of being executed.
#[derive(Clone, Debug)]
pub struct GraphqlFault {
    /// Operation name: the whole request fails. Root field name: only that alias fails.
    pub operation: String,
    pub code: String,
    pub times: u32,
}

/// A request that may be executed.
pub struct Prepared {
    document: Arc<Valid<ExecutableDocument>>,
    operation: Node<Operation>,
    variables: Valid<JsonMap>,
}

/// Parses, validates, coerces and weighs a request body. The error is the answer (HTTP 200).
pub fn prepare(body: &Value) -> Result<Prepared, Value> {
    let query = body["query"].as_str().ok_or_else(|| failure("the request has no query", None))?;
    let document = parse(query)?;
    let operation = document.operations.get(body["operationName"].as_str());
    let operation = operation.map_err(|error| refused(&document, &error, None))?.clone();
    let variables =
        coerce(&operation, &body["variables"]).map_err(|error| refused(&document, &error, missing_variable(&error)))?;
    let cost = complexity(&document, &operation, &variables);
    if cost > LIMIT {
        return Err(failure(&format!("the query costs {cost}, the maximum is {LIMIT}"), Some("C0001E")));
    }
    Ok(Prepared { document, operation, variables })
}

/// Clients send the same few documents again and again, so valid ones are kept.
fn parse(query: &str) -> Result<Arc<Valid<ExecutableDocument>>, Value> {
    static KEPT: Mutex<BTreeMap<String, Arc<Valid<ExecutableDocument>>>> = Mutex::new(BTreeMap::new());
    if let Some(document) = lock(&KEPT).get(query) {
        return Ok(document.clone());
    }
    let document = ExecutableDocument::parse_and_validate(schema(), query, "request.graphql").map_err(|invalid| {
        let errors: Vec<_> = invalid.errors.iter().map(|error| error.unstable_to_json_compat()).collect();
        json!({"errors": errors})
    })?;
    let document = Arc::new(document);
    let mut kept = lock(&KEPT);
    if kept.len() < 500 {
        kept.insert(query.to_owned(), document.clone());
    }
    Ok(document)
}

/// A request-level error: no `data`.
pub fn failure(message: &str, code: Option<&str>) -> Value {
    match code {
        Some(code) => json!({"errors": [{"message": message, "extensions": {"code": code}}]}),
        None => json!({"errors": [{"message": message}]}),
    }
}

fn refused(document: &ExecutableDocument, error: &RequestError, code: Option<&str>) -> Value {
    let mut error = json!(error.to_graphql_error(&document.sources));
    if let Some(code) = code {
        error["extensions"] = json!({"code": code});
    }
    json!({"errors": [error]})
}

fn coerce(operation: &Operation, given: &Value) -> Result<Valid<JsonMap>, RequestError> {
    let given: JsonMap =
        given.as_object().map(|given| serde_json::from_value(json!(given))).and_then(Result::ok).unwrap_or_default();
    coerce_variable_values(schema(), operation, &given)
}

/// C0140E is for what is absent (or null); a value of the wrong type is a validation error without
/// a code of its own.
fn missing_variable(error: &RequestError) -> Option<&'static str> {
    let message = error.message().to_string();
    let absent = ["missing value", "Missing value", "null value"].iter().any(|start| message.starts_with(start));
    absent.then_some("C0140E")
}

impl Prepared {
    /// The keys of the answer.
    pub fn aliases(&self) -> Vec<&str> {
        aliases(&self.operation)
    }
}

/// Executes a request, with `fault` not as it should. Errors of single fields are part of the answer
/// (HTTP 200).
pub fn execute(account: &mut Account, request: &Prepared, fault: Option<Fault>) -> Value {
    let Prepared { document, operation, variables } = request;
    if fault == Some(Fault::RefusedCursor) {
        return failed_operation(operation, "C0160E");
    }
    if let Some(code) = operation.name.as_ref().and_then(|name| account.take_fault(name)) {
        return failed_operation(operation, &code);
    }
    let broken = operation.name.as_ref().is_some_and(|name| account.take_broken_page(name));
    account.look_back(operation.is_mutation());
    let shared = RefCell::new(&mut *account);
    let failing = (fault == Some(Fault::FailedAlias)).then(|| request.aliases().len());
    let root = Root { account: &shared, mutation: operation.is_mutation(), failing, resolved: Cell::new(0) };
    let execution = Execution::new(schema(), document).operation(operation).coerced_variable_values(variables);
    let answer = execution.enable_schema_introspection(true).execute_sync(&root);
    account.look_ahead();
    match answer {
        Ok(_) if fault == Some(Fault::NullData) => {
            json!({"data": null, "errors": [{"message": "internal server error", "extensions": {"code": "S0002E"}}]})
        }
        Ok(response) => {
            let errors: Vec<_> = response.errors.iter().map(with_code).collect();
            match errors.is_empty() {
                true if broken => json!({"data": without_edges(json!(response.data))}),
                true => json!({"data": response.data}),
                false => json!({"errors": errors, "data": response.data}),
            }
        }
        Err(error) => refused(document, &error, None),
    }
}

/// Announces more rows and sends none.
fn without_edges(mut data: Value) -> Value {
    for list in data.as_object_mut().into_iter().flat_map(|fields| fields.values_mut()) {
        if list.get("edges").is_some() {
            list["edges"] = json!([]);
            list["pageInfo"]["hasNextPage"] = true.into();
        }
    }
    data
}

/// The operation fails as a whole: every alias is null and has its error.
fn failed_operation(operation: &Operation, code: &str) -> Value {
    let aliases = aliases(operation);
    let error = |alias: &&str| json!({"message": "simulated failure", "path": [alias], "extensions": {"code": code}});
    let errors: Vec<_> = aliases.iter().map(error).collect();
    let data: serde_json::Map<_, _> = aliases.iter().map(|alias| ((*alias).to_owned(), Value::Null)).collect();
    json!({"errors": errors, "data": data})
}

fn aliases(operation: &Operation) -> Vec<&str> {
    let fields = operation.selection_set.selections.iter().filter_map(|selection| match selection {
        Selection::Field(field) => Some(field.response_key().as_str()),
        _ => None,
    });
    fields.collect()
}

/// Resolvers report `C0123E: message`; the code belongs into `extensions`.
fn with_code(error: &GraphQLError) -> Value {
    let mut shown = json!(error);
    let message = error.message.strip_prefix("resolver error: ").unwrap_or(&error.message);
    shown["message"] = message.into();
    let code = message.split_once(": ").filter(|(code, _)| is_code(code));
    if let Some((code, message)) = code {
        shown["message"] = message.into();
        shown["extensions"] = json!({"code": code});
    }
    shown
}

fn is_code(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() == 6
        && b"CST".contains(&bytes[0])
        && bytes[1..5].iter().all(u8::is_ascii_digit)
        && b"EW".contains(&bytes[5])
}
