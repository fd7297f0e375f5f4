//! What happens to an order in Fluent after it was booked: fulfilments, consignments with their
//! articles, and returns (F 1.12, 6.1, 7.1, 8).

use serde::{Deserialize, Serialize};

use super::model::{Connection, Id, ProductRef};

/// Units of an order that one location fulfils.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fulfilment {
    pub id: String,
    #[serde(rename = "ref")]
    pub reference: Option<String>,
    /// Free text that the account's workflows set.
    pub status: Option<String>,
    /// As Fluent writes it; not a date by its schema.
    pub eta: Option<String>,
    pub updated_on: Option<String>,
    pub from_location: Option<LocationRef>,
    pub items: Connection<FulfilmentItem>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocationRef {
    #[serde(rename = "ref")]
    pub reference: Option<String>,
}

/// Units of one order item in a fulfilment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FulfilmentItem {
    pub id: String,
    pub requested_quantity: Option<i64>,
    pub filled_quantity: Option<i64>,
    pub rejected_quantity: Option<i64>,
    pub order_item: Option<OrderItemRef>,
}

/// The order item that something concerns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderItemRef {
    /// Returns name an item by its ref only.
    #[serde(default)]
    pub id: Option<String>,
    #[serde(rename = "ref")]
    pub reference: Option<String>,
    #[serde(default)]
    pub product: Option<ProductRef>,
}

/// What one carrier takes along in one go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Consignment {
    pub id: String,
    #[serde(rename = "ref")]
    pub reference: Option<String>,
    pub status: Option<String>,
    pub consignment_reference: Option<String>,
    pub tracking_label: Option<String>,
    pub updated_on: Option<String>,
    pub retailer: Option<Id>,
    pub carrier: Option<Carrier>,
    #[serde(rename = "consignmentArticles")]
    pub articles: Option<Connection<ConsignmentArticle>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carrier {
    #[serde(rename = "ref")]
    pub reference: Option<String>,
    pub name: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConsignmentArticle {
    pub article: Option<Article>,
}

/// A box.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Article {
    pub id: String,
    #[serde(rename = "ref")]
    pub reference: Option<String>,
    /// Measures have no units in Fluent.
    pub height: Option<f64>,
    pub length: Option<f64>,
    pub width: Option<f64>,
    pub weight: Option<f64>,
    pub items: Option<Connection<ArticleItem>>,
    pub fulfilments: Option<Connection<ArticleFulfilment>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ArticleItem {
    pub quantity: i64,
    pub order_item: Option<OrderItemRef>,
}

/// The fulfilment an article was packed for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArticleFulfilment {
    pub id: String,
    pub order: Option<OrderRef>,
}

/// An order, as others name it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderRef {
    /// Returns name an order by its ref only.
    #[serde(default)]
    pub id: Option<String>,
    #[serde(rename = "ref")]
    pub reference: Option<String>,
    pub retailer: Option<Id>,
}

impl Consignment {
    /// What a sentence calls it: the ref, else the id.
    pub fn label(&self) -> &str {
        self.reference.as_deref().unwrap_or(&self.id)
    }

    pub fn articles(&self) -> impl Iterator<Item = &Article> {
        self.articles.iter().flat_map(Connection::nodes).filter_map(|pair| pair.article.as_ref())
    }

    /// Ids of the orders that its articles lead to, each once, in the order of the articles.
    pub fn orders(&self) -> Vec<&str> {
        let mut orders: Vec<&str> = Vec::new();
        for id in self.articles().flat_map(Article::orders) {
            if !orders.contains(&id) {
                orders.push(id);
            }
        }
        orders
    }
}

impl Article {
    pub fn items(&self) -> impl Iterator<Item = &ArticleItem> {
        self.items.iter().flat_map(Connection::nodes)
    }

    pub fn fulfilments(&self) -> impl Iterator<Item = &ArticleFulfilment> {
        self.fulfilments.iter().flat_map(Connection::nodes)
    }

    /// Ids of the orders it was packed for.
    pub fn orders(&self) -> impl Iterator<Item = &str> {
        self.fulfilments().filter_map(|fulfilment| fulfilment.order.as_ref()?.id.as_deref())
    }
}

/// Goods that come back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReturnOrder {
    pub id: String,
    #[serde(rename = "ref")]
    pub reference: String,
    pub status: Option<String>,
    pub created_on: Option<String>,
    pub updated_on: Option<String>,
    pub order: Option<OrderRef>,
    #[serde(rename = "returnOrderItems")]
    pub items: Option<Connection<ReturnItem>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReturnItem {
    pub id: String,
    #[serde(rename = "ref")]
    pub reference: Option<String>,
    pub status: Option<String>,
    pub product: Option<ProductLink>,
    pub order_item: Option<OrderItemRef>,
    pub unit_quantity: Option<Quantity>,
    pub return_reason: Option<Labelled>,
    pub return_reason_comment: Option<String>,
    pub return_disposition_action: Option<Labelled>,
}

/// A product whose ref need not be known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProductLink {
    #[serde(rename = "ref")]
    pub reference: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quantity {
    pub quantity: Option<i64>,
}

/// A value out of a setting, with the text people see.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Labelled {
    pub value: Option<String>,
    pub label: Option<String>,
}

impl ReturnOrder {
    pub fn items(&self) -> impl Iterator<Item = &ReturnItem> {
        self.items.iter().flat_map(Connection::nodes)
    }
}
