//! Query complexity (platform document 2.3: at most 11,111; 2.2 for the default page size).
//!
//! The platform publishes the limit and that nested connections multiply by their page size, not
//! the weights. Here every field that yields one object counts 1 (an edge's `node` included), times
//! the page sizes of all connections around it; lists of embedded values, connection wrappers,
//! edges and `pageInfo` count nothing. This is the estimate of the connector's own specification.

use apollo_compiler::ExecutableDocument;
use apollo_compiler::ast::Value as Literal;
use apollo_compiler::executable::{Directive, Field, Operation, Selection, SelectionSet};
use apollo_compiler::response::JsonMap;

use super::page::DEFAULT_FIRST;

/// The most that a document may cost.
pub const LIMIT: u64 = 11_111;

/// What an operation costs with these (coerced) variables.
pub fn complexity(document: &ExecutableDocument, operation: &Operation, variables: &JsonMap) -> u64 {
    Count { document, variables }.set(&operation.selection_set, 1)
}

struct Count<'a> {
    document: &'a ExecutableDocument,
    variables: &'a JsonMap,
}

impl Count<'_> {
    fn set(&self, set: &SelectionSet, times: u64) -> u64 {
        set.selections.iter().map(|selection| self.selection(selection, times)).fold(0, u64::saturating_add)
    }

    fn selection(&self, selection: &Selection, times: u64) -> u64 {
        if !self.included(&selection.directives().0) {
            return 0;
        }
        match selection {
            Selection::Field(field) => self.field(field, times),
            Selection::InlineFragment(fragment) => self.set(&fragment.selection_set, times),
            Selection::FragmentSpread(spread) => {
                spread.fragment_def(self.document).map_or(0, |fragment| self.set(&fragment.selection_set, times))
            }
        }
    }

    fn field(&self, field: &Field, times: u64) -> u64 {
        if field.selection_set.is_empty() {
            return 0;
        }
        let kind = field.definition.ty.inner_named_type().as_str();
        if kind.ends_with("Connection") {
            return self.set(&field.selection_set, times.saturating_mul(self.page_size(field)));
        }
        let own = if field.definition.ty.is_list() || kind == "PageInfo" { 0 } else { times };
        own.saturating_add(self.set(&field.selection_set, times))
    }

    fn page_size(&self, field: &Field) -> u64 {
        let size = |name: &str| {
            let argument = field.arguments.iter().find(|argument| argument.name == name)?;
            match argument.value.as_ref() {
                Literal::Int(number) => number.as_str().parse().ok(),
                Literal::Variable(name) => self.variables.get(name.as_str()).and_then(|value| value.as_u64()),
                _ => None,
            }
        };
        size("first").or_else(|| size("last")).unwrap_or(DEFAULT_FIRST)
    }

    fn included(&self, directives: &[apollo_compiler::Node<Directive>]) -> bool {
        let condition = |name: &str| {
            let directive = directives.iter().find(|directive| directive.name == name)?;
            match directive.specified_argument_by_name("if")?.as_ref() {
                Literal::Boolean(value) => Some(*value),
                Literal::Variable(name) => self.variables.get(name.as_str()).and_then(|value| value.as_bool()),
                _ => None,
            }
        };
        condition("include") != Some(false) && condition("skip") != Some(true)
    }
}

#[cfg(test)]
mod tests {
    use apollo_compiler::response::serde_json_bytes::json;

    use super::*;
    use crate::simulator::fluent::graphql::schema;

    const ORDER_UPDATE_SOURCE: &str = "query OrderUpdateSource($id: ID!, $withFulfilments: Boolean!, $after: String) {
        orderById(id: $id) { id ref type status updatedOn retailer { id } attributes { name type value }
            fulfilments(first: 20, after: $after) @include(if: $withFulfilments) {
                edges { cursor node { id ref status type deliveryType fulfilmentChoiceRef eta updatedOn fromLocation { ref }
                    items(first: 50) { edges { cursor node { id ref status requestedQuantity filledQuantity rejectedQuantity
                        orderItem { id ref quantity product { ref } } } } pageInfo { hasNextPage } } } }
                pageInfo { hasNextPage } } } }";

    fn cost(query: &str, variables: apollo_compiler::response::JsonValue) -> u64 {
        let document = ExecutableDocument::parse_and_validate(schema(), query, "test.graphql").unwrap();
        let operation = document.operations.get(None).unwrap();
        complexity(&document, operation, variables.as_object().unwrap())
    }

    #[test]
    fn the_order_read_of_the_connector_costs_about_3050() {
        assert_eq!(cost(ORDER_UPDATE_SOURCE, json!({"id": "1", "withFulfilments": true})), 3_042);
        assert_eq!(cost(ORDER_UPDATE_SOURCE, json!({"id": "1", "withFulfilments": false})), 2);
    }

    #[test]
    fn what_the_connector_reads_beside_the_order_is_below_the_limit() {
        let nothing = json!({});
        assert_eq!(cost(include_str!("../../fluent/consignment_source.graphql"), nothing.clone()), 3_403);
        assert_eq!(cost(include_str!("../../fluent/fulfilment_items.graphql"), nothing.clone()), 153);
        assert_eq!(cost(include_str!("../../fluent/article_items.graphql"), nothing.clone()), 301);
        assert_eq!(cost(include_str!("../../fluent/return_source.graphql"), nothing.clone()), 353);
        assert_eq!(cost(include_str!("../../fluent/returns_updated.graphql"), nothing.clone()), 300);
        assert_eq!(cost(include_str!("../../fluent/fulfilments_updated.graphql"), nothing.clone()), 300);
        assert_eq!(cost(include_str!("../../fluent/consignments_updated.graphql"), nothing), 200);
    }

    #[test]
    fn ten_per_level_unless_asked_and_fragments_count() {
        let query = "query($n: Int) { orders { edges { node { ...f } } } } fragment f on Order { items(first: $n) { edges { node { product { ref } } } } }";
        assert_eq!(cost(query, json!({"n": 5})), 10 + 50 + 50);
        assert_eq!(cost(query, json!({})), 10 + 100 + 100);
    }
}
