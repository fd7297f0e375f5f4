//! What Fluent answers: lists with cursors, attributes and the header of an order.
//!
//! Almost everything is nullable in Fluent's schema; what may be missing says so here.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::fulfilment::Fulfilment;

/// A page of a list. `PageInfo` has no end cursor: the next page starts after the last edge.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Connection<T> {
    pub edges: Vec<Edge<T>>,
    #[serde(default)]
    pub page_info: PageInfo,
}

impl<T> Connection<T> {
    /// The entries of this page.
    pub fn nodes(&self) -> impl Iterator<Item = &T> {
        self.edges.iter().map(|edge| &edge.node)
    }

    /// Where the next page starts; `None` on the last page. A page that announces more without
    /// having an edge with a cursor is [`broken`](Self::is_broken), not the last one.
    pub fn next(&self) -> Option<&str> {
        self.page_info.has_next_page.then(|| self.edges.last()?.cursor.as_deref()).flatten()
    }

    /// More entries are announced, but there is no cursor to read them with.
    pub fn is_broken(&self) -> bool {
        self.page_info.has_next_page && self.next().is_none()
    }
}

/// One entry of a page.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Edge<T> {
    /// Not every operation asks for it.
    #[serde(default)]
    pub cursor: Option<String>,
    pub node: T,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PageInfo {
    #[serde(default)]
    pub has_next_page: bool,
}

/// A typed attribute; the value's JSON follows the type.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attribute {
    pub name: String,
    /// `STRING`, `INTEGER`, `JSON` and so on.
    #[serde(rename = "type")]
    pub kind: String,
    pub value: Value,
}

/// The header of an order: operations `OrderUpdateSource`, `OrderStatuses`, `OrdersUpdated`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Order {
    /// Numeric, unique in the account, treated as text.
    pub id: String,
    /// Unique per retailer only.
    #[serde(rename = "ref")]
    pub reference: Option<String>,
    /// `HD`, `CC`, `MULTI` or a type of the account's own.
    #[serde(rename = "type")]
    pub kind: String,
    /// Free text that the account's workflows set.
    pub status: Option<String>,
    /// RFC 3339, UTC; absent in the lists.
    #[serde(default)]
    pub created_on: Option<String>,
    /// RFC 3339, UTC.
    pub updated_on: Option<String>,
    pub retailer: Option<Id>,
    /// Absent in the lists.
    #[serde(default)]
    pub attributes: Option<Vec<Attribute>>,
    /// Only where they were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fulfilments: Option<Connection<Fulfilment>>,
}

impl Order {
    /// What a sentence calls it: the ref, else the id.
    pub fn label(&self) -> &str {
        self.reference.as_deref().unwrap_or(&self.id)
    }

    /// The value of an attribute.
    pub fn attribute(&self, name: &str) -> Option<&Value> {
        self.attributes.iter().flatten().find(|attribute| attribute.name == name).map(|attribute| &attribute.value)
    }
}

/// What an item of an order says about what was ordered.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct OrderItem {
    #[serde(default)]
    pub id: Option<String>,
    #[serde(rename = "ref")]
    pub reference: Option<String>,
    pub quantity: i64,
    pub currency: Option<String>,
    pub product: ProductRef,
}

/// The product of an item: a SKU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProductRef {
    #[serde(rename = "ref")]
    pub reference: String,
}

/// A link to an entity by id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Id {
    pub id: String,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn page(answer: Value) -> Connection<Id> {
        serde_json::from_value(answer).unwrap()
    }

    #[test]
    fn the_next_page_starts_after_the_last_edge() {
        let more = page(json!({
            "edges": [{"cursor": "c-1", "node": {"id": "1"}}, {"cursor": "c-2", "node": {"id": "2"}}],
            "pageInfo": {"hasNextPage": true},
        }));
        assert_eq!((more.next(), more.is_broken()), (Some("c-2"), false));
        let last = page(json!({"edges": [{"cursor": "c-1", "node": {"id": "1"}}], "pageInfo": {"hasNextPage": false}}));
        assert_eq!((last.next(), last.is_broken()), (None, false));
        let broken = page(json!({"edges": [], "pageInfo": {"hasNextPage": true}}));
        assert_eq!((broken.next(), broken.is_broken()), (None, true));
    }

    #[test]
    fn an_order_of_a_list_and_of_the_header_read_into_the_same() {
        let header = json!({
            "id": "6469", "ref": "HD_100234", "type": "HD", "status": "BOOKED", "updatedOn": "2026-11-20T10:15:00.120Z",
            "retailer": {"id": "2"},
            "attributes": [{"name": "commercetoolsOrderId", "type": "STRING", "value": "0b7f9a3e"}],
        });
        let order: Order = serde_json::from_value(header).unwrap();
        assert_eq!(order.attribute("commercetoolsOrderId"), Some(&json!("0b7f9a3e")));
        let bare: Order = serde_json::from_value(json!({
            "id": "6469", "ref": null, "type": "HD", "status": null, "updatedOn": null, "retailer": null,
        }))
        .unwrap();
        assert_eq!((bare.label(), bare.attribute("commercetoolsOrderId")), ("6469", None));
    }
}

/// What `OrderStatuses` and `OrdersUpdated` answer.
#[derive(Clone, Debug, Deserialize)]
pub struct OrderHeaders {
    pub orders: Connection<OrderHeader>,
}

/// Header of an order, as list queries read it.
pub type OrderHeader = Order;

/// What `VariantsByRef` answers.
#[derive(Clone, Debug, Deserialize)]
pub struct VariantRefs {
    #[serde(rename = "variantProducts")]
    variants: Connection<VariantRef>,
}

#[derive(Clone, Debug, Deserialize)]
struct VariantRef {
    #[serde(rename = "ref")]
    reference: String,
}

impl VariantRefs {
    /// Refs of the variants that exist.
    pub fn into_refs(self) -> std::collections::HashSet<String> {
        self.variants.edges.into_iter().map(|edge| edge.node.reference).collect()
    }
}

/// What a create mutation answers.
#[derive(Clone, Debug, Deserialize)]
pub struct Created {
    pub id: String,
}

/// A customer as the look-ups read it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Customer {
    pub id: String,
    pub username: Option<String>,
    pub retailer: Option<Id>,
    pub attributes: Option<Vec<Attribute>>,
}

impl Customer {
    /// The value of an attribute.
    pub fn attribute(&self, name: &str) -> Option<&Value> {
        self.attributes.iter().flatten().find(|attribute| attribute.name == name).map(|attribute| &attribute.value)
    }
}
