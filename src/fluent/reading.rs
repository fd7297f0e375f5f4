//! Reading what an order update is made from, page by page (F 1.12, 6.1, 7.1, 8).

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::Client;
use super::fulfilment::{Article, ArticleItem, Consignment, Fulfilment, FulfilmentItem, ReturnOrder};
use super::model::{Connection, Order};
use super::operation::{self, Operation};
use crate::failure::Class;
use crate::remote::{Error, Kind};

impl Client {
    /// An order with all its fulfilments and their items, or its header only. `None` = Fluent does
    /// not have it.
    ///
    /// # Errors
    /// As for [`Client::run`]; a page that is announced but does not come is a failed read.
    pub async fn order_source(&self, id: &str, with_fulfilments: bool) -> Result<Option<Order>, Error> {
        #[derive(Deserialize)]
        struct Found {
            #[serde(rename = "orderById")]
            order: Option<Order>,
        }
        let read = async |after: Option<String>| {
            let variables = json!({"id": id, "withFulfilments": with_fulfilments, "after": after});
            existing::<Found>(self.run(&operation::ORDER_UPDATE_SOURCE, variables).await)
        };
        let Some(Found { order: Some(mut order) }) = read(None).await? else { return Ok(None) };
        let Some(fulfilments) = &mut order.fulfilments else { return Ok(Some(order)) };
        let more = format!("fulfilments of order {id}");
        while let Some(after) = next(fulfilments, &more)? {
            let page = read(Some(after)).await?.and_then(|found| found.order?.fulfilments);
            append(fulfilments, page, &more)?;
        }
        for edge in &mut fulfilments.edges {
            let after = next(&edge.node.items, &format!("items of fulfilment {}", edge.node.id))?;
            if after.is_some() {
                let rest = self.fulfilment_items(&edge.node.id, after).await?;
                edge.node.items.edges.extend(rest.edges);
                edge.node.items.page_info = rest.page_info;
            }
        }
        Ok(Some(order))
    }

    /// The items of a fulfilment after a cursor; none if Fluent does not have it.
    ///
    /// # Errors
    /// As for [`Client::order_source`].
    pub async fn fulfilment_items(&self, id: &str, after: Option<String>) -> Result<Connection<FulfilmentItem>, Error> {
        #[derive(Deserialize)]
        struct Page {
            items: Connection<FulfilmentItem>,
        }
        let more = format!("items of fulfilment {id}");
        let page = |page: Page| page.items;
        self.all(&operation::FULFILMENT_ITEMS, "fulfilmentById", id, after, &more, page).await
    }

    /// The order that a fulfilment belongs to, by its id.
    ///
    /// # Errors
    /// As for [`Client::run`].
    pub async fn order_of_fulfilment(&self, id: &str) -> Result<Option<String>, Error> {
        let variables = json!({"id": id, "after": null});
        let found: Option<Value> = existing(self.run(&operation::FULFILMENT_ITEMS, variables).await)?;
        Ok(found.and_then(|found| found["fulfilmentById"]["order"]["id"].as_str().map(str::to_owned)))
    }

    /// A consignment with all its articles and their items.
    ///
    /// # Errors
    /// As for [`Client::order_source`].
    pub async fn consignment(&self, id: &str) -> Result<Option<Consignment>, Error> {
        #[derive(Deserialize)]
        struct Found {
            #[serde(rename = "consignmentById")]
            consignment: Option<Consignment>,
        }
        let read = async |after: Option<String>| {
            let variables = json!({"id": id, "after": after});
            existing::<Found>(self.run(&operation::CONSIGNMENT_SOURCE, variables).await)
        };
        let Some(Found { consignment: Some(mut consignment) }) = read(None).await? else { return Ok(None) };
        let Some(articles) = &mut consignment.articles else { return Ok(Some(consignment)) };
        let more = format!("articles of consignment {id}");
        while let Some(after) = next(articles, &more)? {
            let page = read(Some(after)).await?.and_then(|found| found.consignment?.articles);
            append(articles, page, &more)?;
        }
        for article in articles.edges.iter_mut().filter_map(|edge| edge.node.article.as_mut()) {
            self.complete(article).await?;
        }
        Ok(Some(consignment))
    }

    async fn complete(&self, article: &mut Article) -> Result<(), Error> {
        #[derive(Deserialize)]
        struct Page {
            items: Connection<ArticleItem>,
        }
        let Some(items) = &mut article.items else { return Ok(()) };
        let more = format!("items of article {}", article.id);
        let after = next(items, &more)?;
        if after.is_some() {
            let page = |page: Page| page.items;
            let rest = self.all(&operation::ARTICLE_ITEMS, "articleById", &article.id, after, &more, page).await?;
            items.edges.extend(rest.edges);
            items.page_info = rest.page_info;
        }
        Ok(())
    }

    /// A return order of our retailer with all its items.
    ///
    /// # Errors
    /// As for [`Client::order_source`].
    pub async fn return_order(&self, reference: &str) -> Result<Option<ReturnOrder>, Error> {
        #[derive(Deserialize)]
        struct Found {
            #[serde(rename = "returnOrder")]
            found: Option<ReturnOrder>,
        }
        let retailer = self.retailer().to_string();
        let read = async |after: Option<String>| {
            let variables = json!({"ref": reference, "retailer": {"id": retailer}, "after": after});
            existing::<Found>(self.run(&operation::RETURN_SOURCE, variables).await)
        };
        let Some(Found { found: Some(mut found) }) = read(None).await? else { return Ok(None) };
        let Some(items) = &mut found.items else { return Ok(Some(found)) };
        let more = format!("items of return {reference}");
        while let Some(after) = next(items, &more)? {
            let page = read(Some(after)).await?.and_then(|page| page.found?.items);
            append(items, page, &more)?;
        }
        Ok(Some(found))
    }

    /// Names of locations by ref, as they were at most an hour ago. A location without name, or one
    /// that does not exist, is left out.
    ///
    /// # Errors
    /// As for [`Client::order_source`].
    pub async fn location_names(&self, refs: &[String]) -> Result<BTreeMap<String, String>, Error> {
        #[derive(Deserialize)]
        struct Found {
            locations: Connection<Location>,
        }
        #[derive(Deserialize)]
        struct Location {
            #[serde(rename = "ref")]
            reference: Option<String>,
            name: Option<String>,
        }
        let mut unknown = self.unknown_locations(refs);
        // One page of the list holds a hundred.
        while !unknown.is_empty() {
            let asked: Vec<String> = unknown.drain(..unknown.len().min(100)).collect();
            let mut names = BTreeMap::new();
            let mut after = None;
            loop {
                let variables = json!({"refs": asked, "after": after});
                let page: Found = self.run(&operation::LOCATION_NAMES, variables).await?;
                after = next(&page.locations, "locations")?;
                let nodes = page.locations.edges.into_iter().map(|edge| edge.node);
                names.extend(nodes.filter_map(|location| Some((location.reference?, location.name))));
                if after.is_none() {
                    break;
                }
            }
            self.keep_locations(asked, names);
        }
        Ok(self.known_locations(refs))
    }

    /// The pages of one list of one entity after a cursor.
    async fn all<P: for<'de> Deserialize<'de>, T>(
        &self,
        operation: &Operation,
        field: &str,
        id: &str,
        mut after: Option<String>,
        more: &str,
        of: impl Fn(P) -> Connection<T>,
    ) -> Result<Connection<T>, Error> {
        let mut all = Connection { edges: Vec::new(), page_info: Default::default() };
        loop {
            let variables = json!({"id": id, "after": after});
            let found: Option<BTreeMap<String, Option<P>>> = existing(self.run(operation, variables).await)?;
            let Some(page) = found.and_then(|mut found| found.remove(field)?) else { return Ok(all) };
            let page = of(page);
            after = next(&page, more)?;
            all.edges.extend(page.edges);
            if after.is_none() {
                return Ok(all);
            }
        }
    }
}

impl Order {
    /// Its fulfilments, if they were asked for.
    pub fn fulfilments(&self) -> impl Iterator<Item = &Fulfilment> {
        self.fulfilments.iter().flat_map(Connection::nodes)
    }
}

/// The next page, if one is announced.
fn next<T>(page: &Connection<T>, what: &str) -> Result<Option<String>, Error> {
    match page.is_broken() {
        true => Err(broken(what)),
        false => Ok(page.next().map(str::to_owned)),
    }
}

/// A page that stands where it was, or has gone, is no page.
fn append<T>(all: &mut Connection<T>, page: Option<Connection<T>>, what: &str) -> Result<(), Error> {
    let Some(page) = page.filter(|page| page.next() != all.next()) else { return Err(broken(what)) };
    all.edges.extend(page.edges);
    all.page_info = page.page_info;
    Ok(())
}

fn broken(what: &str) -> Error {
    let sentence = format!("Fluent announced more {what} but sent none.");
    Error { kind: Kind::Temporary(Class::Server), status: 200, code: String::new(), sentence, after: None }
}

/// C0120E says that there is no such entity.
fn existing<T>(read: Result<T, Error>) -> Result<Option<T>, Error> {
    match read {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.code == "C0120E" => Ok(None),
        Err(error) => Err(error),
    }
}
