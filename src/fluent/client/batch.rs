//! Many mutations in one request, each under an alias of its own (C 3.2, 11).
//!
//! Such a request is no transaction: each alias has its own outcome, and what Fluent says of one does not
//! concern the others.

use std::collections::BTreeMap;

use reqwest::Method;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use super::{Asked, BODY, Client, coded, envelope, lost, refused};
use crate::fluent::operation::Operation;
use crate::remote::{Answer, Error};

/// Most aliases of one request: as many as Fluent's own tools send (platform document 2.5).
pub const ALIASES: usize = 20;

impl Client {
    /// Runs a mutation for each of these inputs, at most [`ALIASES`], in one request. The outcomes come in
    /// the order of the inputs.
    ///
    /// # Errors
    /// When the request as a whole failed; if its outcome is unknown, it is so for every input.
    pub async fn run_each<T: Serialize>(
        &self,
        operation: &Operation,
        inputs: &[T],
    ) -> Result<Vec<Result<(), Error>>, Error> {
        #[derive(Serialize)]
        struct Body<'a> {
            query: &'a str,
            variables: BTreeMap<String, Box<RawValue>>,
            #[serde(rename = "operationName")]
            operation_name: &'a str,
        }
        let unwritable = |error: serde_json::Error| {
            refused(0, "", format!("The variables of {} cannot be written as JSON: {error}", operation.name))
        };
        let variables = inputs.iter().enumerate().map(|(at, input)| Ok((alias(at), to_raw_value(input)?)));
        let variables = variables.collect::<Result<_, _>>().map_err(unwritable)?;
        let (name, query) = aliased(operation, inputs.len())
            .ok_or_else(|| refused(0, "", format!("{} takes no input of its own.", operation.name)))?;
        let body = Body { query: &query, variables, operation_name: &name };
        let body = serde_json::to_vec(&body).map_err(unwritable)?;
        if body.len() > BODY {
            return Err(refused(413, "", format!("{name} is too large for one Fluent call.")));
        }
        let (method, path) = (Method::POST, "/graphql".into());
        let asked = Asked { name: operation.name, method, path, body: Some(body), write: operation.write };
        let answer = self.account.send(&self.call, asked).await?;
        judged(operation, inputs.len(), &answer)
    }
}

fn alias(at: usize) -> String {
    format!("a{at}")
}

/// Name and text of the operation for so many inputs; `None` if it is not of the form
/// `mutation Name($input: Type) { field(input: $input) { .. } }`.
fn aliased(operation: &Operation, count: usize) -> Option<(String, String)> {
    let name = match operation.name.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None => format!("{}s", operation.name),
    };
    let (head, rest) = operation.text.split_once('{')?;
    let kind = head.split_once("$input:")?.1.split_once(')')?.0.trim();
    let (_, selection) = rest.split_once(')')?;
    let selection = selection.trim().strip_suffix('}')?.trim();
    let variables: Vec<String> = (0..count).map(|at| format!("${}: {kind}", alias(at))).collect();
    let field = operation.field;
    let fields: String = (0..count).map(|at| format!("  {0}: {field}(input: ${0}) {selection}\n", alias(at))).collect();
    let text = format!("mutation {name}({}) {{\n{fields}}}\n", variables.join(", "));
    Some((name, text))
}

/// What an answer means for each input.
fn judged(operation: &Operation, count: usize, answer: &Answer) -> Result<Vec<Result<(), Error>>, Error> {
    let status = answer.status.as_u16();
    let envelope = envelope(operation, answer)?;
    // What belongs to no alias is about the whole request.
    if let Some(entry) = envelope.errors.iter().find(|entry| entry.alias().is_none()) {
        return Err(coded(operation, status, entry));
    }
    let data: BTreeMap<String, Value> = match envelope.data {
        Some(data) => serde_json::from_str(data.get()).ok(),
        None => None,
    }
    .unwrap_or_default();
    let outcome = |at: usize| {
        let alias = alias(at);
        if let Some(entry) = envelope.errors.iter().find(|entry| entry.alias() == Some(&alias)) {
            return Err(coded(operation, status, entry));
        }
        match data.get(&alias) {
            Some(found) if !found.is_null() => Ok(()),
            _ => Err(lost(operation, answer, "without data.")),
        }
    };
    Ok((0..count).map(outcome).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fluent::operation;

    #[test]
    fn each_input_has_an_alias_and_a_variable() {
        let (name, text) = aliased(&operation::CREATE_VARIANT_PRODUCT, 2).unwrap();
        let words: Vec<&str> = text.split_whitespace().collect();
        assert_eq!(name, "CreateVariantProducts");
        assert_eq!(
            words.join(" "),
            "mutation CreateVariantProducts($a0: CreateVariantProductInput, $a1: CreateVariantProductInput) { \
             a0: createVariantProduct(input: $a0) { id ref status } \
             a1: createVariantProduct(input: $a1) { id ref status } }"
        );
        assert!(aliased(&operation::ME, 2).is_none());
    }
}
