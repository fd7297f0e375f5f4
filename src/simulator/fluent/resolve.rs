//! Resolvers: how a document of the store answers the fields of its schema type.
//!
//! Nothing here knows a single type by name except the root fields; links, connections and embedded
//! values are told apart by the schema.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use apollo_compiler::ast::Type;
use apollo_compiler::resolvers::{FieldError, ObjectValue, ResolveInfo, ResolvedValue};
use apollo_compiler::response::JsonValue;
use apollo_compiler::schema::ExtendedType;
use serde_json::{Value, json};

use super::account::Account;
use super::guard;
use super::page::{Page, Rows, page};
use super::store::{Document, Refusal, id_of, linked, text};

type Shared<'m> = RefCell<&'m mut Account>;

/// `Query` or `Mutation`.
pub struct Root<'s, 'm> {
    pub account: &'s Shared<'m>,
    pub mutation: bool,
    /// The field that fails, counted from 1.
    pub failing: Option<usize>,
    /// How many fields were asked for.
    pub resolved: Cell<usize>,
}

impl ObjectValue for Root<'_, '_> {
    fn type_name(&self) -> &str {
        if self.mutation { "Mutation" } else { "Query" }
    }

    fn resolve_field<'a>(&'a self, info: &'a ResolveInfo<'a>) -> Result<ResolvedValue<'a>, FieldError> {
        let name = info.field_name();
        self.resolved.update(|resolved| resolved + 1);
        if self.failing == Some(self.resolved.get()) {
            return Err(FieldError { message: "S0002E: simulated failure".into() });
        }
        if let Some(code) = self.account.borrow_mut().take_fault(name) {
            return Err(FieldError { message: format!("{code}: simulated failure") });
        }
        let arguments = checked_arguments(info)?;
        let kind = info.field_definition().ty.inner_named_type().as_str();
        if self.mutation {
            let input = arguments.get("input").filter(|input| !input.is_null()).cloned();
            let input = input.ok_or_else(|| refusal(Refusal::new("C0140E", "input is missing")))?;
            let document = self.account.borrow_mut().mutate(name, &input).map_err(refusal)?;
            return Ok(self.node(Some(document), kind));
        }
        if !is_simulated(name) {
            return Err(refusal(Refusal::new("S0001E", format!("{name} is not simulated yet"))));
        }
        if let Some(kind) = kind.strip_suffix("Connection") {
            let page = page(&self.account.borrow().store, Rows::Kind(kind), &arguments).map_err(refusal)?;
            return Ok(connection(self.account, page, kind));
        }
        Ok(self.node(self.find(name, kind, &arguments), kind))
    }
}

/// Root queries that answer from the store; the others of the schema have nothing behind them yet.
fn is_simulated(name: &str) -> bool {
    name != "network" && name != "networkById"
}

impl<'s, 'm> Root<'s, 'm> {
    fn node<'a>(&'a self, document: Option<Arc<Document>>, kind: &str) -> ResolvedValue<'a> {
        ResolvedValue::nullable_object(document.map(|document| Node::new(self.account, document, kind)))
    }

    /// A query for one entity answers null if there is none.
    fn find(&self, name: &str, kind: &str, arguments: &Document) -> Option<Arc<Document>> {
        let account = self.account.borrow();
        if name == "me" {
            return account.store.ids("User").first().and_then(|id| account.store.any(*id));
        }
        if let Some(catalogue) = arguments.get("catalogue") {
            let key = json!({"ref": arguments.get("ref"), "catalogue": catalogue});
            let kinds: &[&str] = if kind == "Product" { &["VariantProduct", "StandardProduct"] } else { &[kind] };
            return kinds.iter().find_map(|kind| account.keyed(kind, &key)).and_then(|id| account.store.any(id));
        }
        match arguments.get("id").filter(|id| !id.is_null()) {
            Some(id) => account.store.find(kind, id_of(id)?),
            None => {
                let reference = arguments.get("ref").and_then(Value::as_str)?;
                let of_retailer = |id: &&u64| match arguments.get("retailer") {
                    Some(retailer) => account.retailer_of(**id) == id_of(&retailer["id"]),
                    None => true,
                };
                account.store.ids_of(kind, reference).iter().find(of_retailer).and_then(|id| account.store.any(*id))
            }
        }
    }
}

fn refusal(refusal: Refusal) -> FieldError {
    FieldError { message: refusal.to_string() }
}

fn checked_arguments(info: &ResolveInfo<'_>) -> Result<Document, FieldError> {
    let Value::Object(arguments) = json!(info.arguments()) else { return Ok(Document::new()) };
    for definition in &info.field_definition().arguments {
        if let Some(value) = arguments.get(definition.name.as_str()) {
            guard::check(info.schema(), &definition.name, &definition.ty, value).map_err(refusal)?;
        }
    }
    Ok(arguments)
}

fn connection<'a>(account: &'a Shared<'_>, page: Page, kind: &str) -> ResolvedValue<'a> {
    ResolvedValue::object(Connection { account, page, name: format!("{kind}Connection"), kind: kind.to_owned() })
}

struct Connection<'s, 'm> {
    account: &'s Shared<'m>,
    page: Page,
    name: String,
    kind: String,
}

impl ObjectValue for Connection<'_, '_> {
    fn type_name(&self) -> &str {
        &self.name
    }

    fn resolve_field<'a>(&'a self, info: &'a ResolveInfo<'a>) -> Result<ResolvedValue<'a>, FieldError> {
        match info.field_name() {
            "edges" => Ok(ResolvedValue::list(self.page.edges.iter().map(|(cursor, document)| {
                let node = Node::new(self.account, document.clone(), &self.kind);
                ResolvedValue::object(Edge { name: format!("{}Edge", self.kind), cursor, node })
            }))),
            "pageInfo" => {
                let info = json!({"hasPreviousPage": self.page.previous, "hasNextPage": self.page.next});
                let info = Arc::new(info.as_object().cloned().unwrap_or_default());
                Ok(ResolvedValue::object(Node::new(self.account, info, "PageInfo")))
            }
            _ => Err(self.unknown_field_error(info)),
        }
    }
}

struct Edge<'s, 'm> {
    name: String,
    cursor: &'s str,
    node: Node<'s, 'm>,
}

impl ObjectValue for Edge<'_, '_> {
    fn type_name(&self) -> &str {
        &self.name
    }

    fn resolve_field<'a>(&'a self, info: &'a ResolveInfo<'a>) -> Result<ResolvedValue<'a>, FieldError> {
        match info.field_name() {
            "cursor" => Ok(ResolvedValue::leaf(self.cursor)),
            "node" => Ok(ResolvedValue::object(self.node.clone())),
            _ => Err(self.unknown_field_error(info)),
        }
    }
}

/// An entity, or an object embedded in one.
#[derive(Clone)]
struct Node<'s, 'm> {
    account: &'s Shared<'m>,
    document: Arc<Document>,
    kind: String,
}

impl<'s, 'm> Node<'s, 'm> {
    /// `kind` is the schema's type; an entity knows its own, which counts where the schema names an
    /// interface.
    fn new(account: &'s Shared<'m>, document: Arc<Document>, kind: &str) -> Self {
        let own = text(&document, "__typename");
        let kind = if own.is_empty() { kind } else { own }.to_owned();
        Self { account, document, kind }
    }
}

impl ObjectValue for Node<'_, '_> {
    fn type_name(&self) -> &str {
        &self.kind
    }

    fn resolve_field<'a>(&'a self, info: &'a ResolveInfo<'a>) -> Result<ResolvedValue<'a>, FieldError> {
        let ty = &info.field_definition().ty;
        let kind = ty.inner_named_type().as_str();
        let value = self.document.get(info.field_name()).unwrap_or(&Value::Null);
        if let Some(kind) = kind.strip_suffix("Connection") {
            let arguments = checked_arguments(info)?;
            let links = value.as_array().map(Vec::as_slice).unwrap_or_default();
            let page = page(&self.account.borrow().store, Rows::Links(links), &arguments).map_err(refusal)?;
            return Ok(connection(self.account, page, kind));
        }
        let is_leaf = matches!(info.schema().types.get(kind), Some(ExtendedType::Scalar(_) | ExtendedType::Enum(_)));
        Ok(value_of(self.account, ty, is_leaf, value))
    }
}

fn value_of<'a>(account: &'a Shared<'_>, ty: &'a Type, is_leaf: bool, value: &'a Value) -> ResolvedValue<'a> {
    let kind = ty.inner_named_type().as_str();
    match value {
        Value::Null => ResolvedValue::null(),
        Value::Array(items) if ty.is_list() => {
            ResolvedValue::list(items.iter().map(move |item| value_of(account, ty.item_type(), is_leaf, item)))
        }
        value if is_leaf => ResolvedValue::leaf(leaf(kind, value)),
        value => {
            let document = match linked(value) {
                Some(id) => account.borrow().store.any(id),
                None => value.as_object().cloned().map(Arc::new),
            };
            ResolvedValue::nullable_object(document.map(|document| Node::new(account, document, kind)))
        }
    }
}

/// A whole number stored for a `Float` field is still a `Float`.
fn leaf(kind: &str, value: &Value) -> JsonValue {
    match (kind, value.as_f64()) {
        ("Float", Some(number)) => number.into(),
        _ => value.clone().into(),
    }
}
