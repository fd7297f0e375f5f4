//! What warehouses, stores, carriers and customers do by hand: fulfilments of an order, articles,
//! consignments and returns, as the workflows of a real account would make them.

use serde_json::{Value, json};

use super::Fluent;
use super::account::{Account, members};
use super::store::{Document, link, linked, text};

/// Units of an order item, named by its ref.
pub type Units<'a> = (&'a str, i64);

impl Fluent {
    /// A new fulfilment of an order at a location, with its webhook. Answers its id.
    ///
    /// # Panics
    /// If there is no such order or item: a mistake of the test.
    pub fn add_fulfilment(&self, order: &str, location: &str, status: &str, requested: &[Units]) -> String {
        let mut account = self.account();
        let order = account.known_order(order);
        let number = account.store.any(order).map_or(0, |order| order["fulfilments"].as_array().map_or(0, Vec::len));
        let own = account.store.any(order).unwrap_or_default();
        let fulfilment = json!({
            "ref": format!("{}-F{}", text(&own, "ref"), number + 1), "status": "NEW", "type": "HD_PFS",
            "deliveryType": "STANDARD", "workflowRef": own["workflowRef"], "workflowVersion": 1, "order": link(order),
            "retailer": own["retailer"], "articles": [], "items": [], "fromLocation": {"ref": location},
        });
        let id = account.create("workflow", "Fulfilment", members(fulfilment), &json!({"event": "CreateFulfilment"}));
        account.store.attach(order, "fulfilments", id);
        for (reference, quantity) in requested {
            let item = account.known_item(order, reference);
            account.insert_part(
                id,
                "items",
                "FulfilmentItem",
                json!({
                    "ref": reference, "status": "CREATED", "requestedQuantity": quantity, "filledQuantity": 0,
                    "rejectedQuantity": 0, "fulfilment": link(id), "orderItem": link(item),
                }),
            );
        }
        account.set_status(id, status, "CREATE");
        id.to_string()
    }

    /// What was found of an item of a fulfilment, and what was not; no webhook goes out for it.
    ///
    /// # Panics
    /// If there is no such item.
    pub fn fill(&self, fulfilment: &str, item: &str, filled: i64, rejected: i64) {
        let mut account = self.account();
        let (now, owner) = (account.now(), number(fulfilment));
        let items = account.parts(owner, "items");
        let of_item = |id: &u64| account.store.any(*id).is_some_and(|found| text(&found, "ref") == item);
        let id =
            items.into_iter().find(of_item).unwrap_or_else(|| panic!("fulfilment {fulfilment} has no item {item}"));
        account.store.edit(id, now, |found| {
            found.insert("filledQuantity".into(), filled.into());
            found.insert("rejectedQuantity".into(), rejected.into());
        });
        account.store.edit(owner, now, |_| {});
    }

    /// A new article of these fulfilments; `fields` replace its own. Answers its id.
    ///
    /// # Panics
    /// If there is no such order or item.
    pub fn add_article(&self, order: &str, fulfilments: &[&str], items: &[Units], fields: Value) -> String {
        let mut account = self.account();
        let order = account.known_order(order);
        let links: Vec<Value> = fulfilments.iter().map(|id| link(number(id))).collect();
        let mut article = members(json!({
            "ref": "", "type": "DEFAULT", "status": "PENDING_CONSIGNMENT", "name": "Carton", "height": 10.0,
            "length": 30.0, "width": 20.0, "weight": 1.2, "quantity": 1, "workflowRef": "ORDER::HD",
            "workflowVersion": 1, "items": [], "retailer": link(account.retailer), "fulfilments": links,
            "consignmentArticles": [],
        }));
        article.extend(members(fields));
        let id = account.create("workflow", "Article", article, &json!({"event": "WaveDispatchInitiated"}));
        if account.store.any(id).is_some_and(|article| text(&article, "ref").is_empty()) {
            let now = account.now();
            account.store.edit(id, now, |article| drop(article.insert("ref".into(), format!("ART-{id}").into())));
        }
        for fulfilment in fulfilments {
            account.store.attach(number(fulfilment), "articles", id);
        }
        for (reference, quantity) in items {
            let item = account.known_item(order, reference);
            let item = json!({"quantity": quantity, "article": link(id), "orderItem": link(item)});
            account.insert_part(id, "items", "ArticleItem", item);
        }
        id.to_string()
    }

    /// A new consignment of these articles, with its webhook; `fields` replace its own. Answers its id.
    ///
    /// # Panics
    /// If there is no such order.
    pub fn add_consignment(&self, order: &str, articles: &[&str], status: &str, fields: Value) -> String {
        let mut account = self.account();
        let order = account.known_order(order);
        let mut consignment = members(json!({
            "ref": "", "status": "NEW", "consignmentReference": "25018856", "trackingLabel": "33ABC0001",
            "labelUrl": "label.pdf", "carrier": link(account.carrier), "retailer": link(account.retailer),
            "order": link(order), "workflowRef": "ORDER::HD", "workflowVersion": 1, "consignmentArticles": [],
        }));
        consignment.extend(members(fields));
        let id = account.create("workflow", "Consignment", consignment, &json!({"event": "CreateConsignment"}));
        if account.store.any(id).is_some_and(|consignment| text(&consignment, "ref").is_empty()) {
            let now = account.now();
            account.store.edit(id, now, |found| drop(found.insert("ref".into(), format!("CON-{id}").into())));
        }
        for article in articles {
            account.consign_article(id, number(article));
        }
        account.set_status(id, status, "CREATE");
        id.to_string()
    }

    /// Another article joins a consignment; no webhook goes out for it.
    pub fn join_consignment(&self, consignment: &str, article: &str) {
        self.account().consign_article(number(consignment), number(article));
    }

    /// An article leaves a consignment; no webhook goes out for it.
    pub fn leave_consignment(&self, consignment: &str, article: &str) {
        let mut account = self.account();
        let (consignment, article) = (number(consignment), number(article));
        let of_article =
            |pair: &u64| account.store.any(*pair).is_some_and(|pair| linked(&pair["article"]) == Some(article));
        let pairs = account.parts(consignment, "consignmentArticles");
        for pair in pairs.into_iter().filter(of_article).collect::<Vec<_>>() {
            account.store.detach(consignment, "consignmentArticles", pair);
            account.store.detach(article, "consignmentArticles", pair);
        }
        let now = account.now();
        account.store.edit(consignment, now, |_| {});
    }

    /// A new return of an order's items with its webhook; without `order` it names none. Members of
    /// `fields` replace those of every item. Answers its id.
    pub fn add_return(
        &self,
        order: Option<&str>,
        reference: &str,
        status: &str,
        items: &[Units],
        fields: Value,
    ) -> String {
        let mut account = self.account();
        let retailer = json!({"id": account.retailer.to_string()});
        let found = json!({
            "ref": reference, "type": "DEFAULT", "status": "NEW", "retailer": retailer,
            "order": order.map(|order| json!({"ref": order, "retailer": retailer})), "returnOrderItems": [],
            "workflowRef": "RETURN_ORDER::DEFAULT", "workflowVersion": 1,
        });
        let id = account.create("workflow", "ReturnOrder", members(found), &json!({"event": "CREATE"}));
        for (item, quantity) in items {
            let mut part = members(json!({
                "ref": format!("RI-{item}"), "status": status, "orderItem": {"ref": item},
                "unitQuantity": {"quantity": quantity, "unit": "EA"},
                "returnReason": {"value": "WRONGSIZE", "label": "Wrong Size"}, "returnReasonComment": "too small",
                "returnOrder": link(id),
            }));
            part.extend(members(fields.clone()));
            account.insert_part(id, "returnOrderItems", "ReturnOrderItem", Value::Object(part));
        }
        account.set_status(id, status, "CREATE");
        id.to_string()
    }

    /// Changes members of an entity and of everything in its list `of`, then sends the webhook of its
    /// status. False if there is no such entity.
    pub fn change(&self, id: &str, of: Option<&str>, fields: Value) -> bool {
        let mut account = self.account();
        let (now, id) = (account.now(), number(id));
        if account.store.any(id).is_none() {
            return false;
        }
        let parts = of.map_or_else(|| vec![id], |list| account.parts(id, list));
        for part in parts {
            account.store.edit(part, now, |found| found.extend(members(fields.clone())));
        }
        account.store.edit(id, now, |_| {});
        account.announce(id);
        true
    }
}

impl Account {
    fn known_order(&self, reference: &str) -> u64 {
        let id = self.store.ids_of("Order", reference).first().copied();
        id.unwrap_or_else(|| panic!("Fluent has no order {reference}"))
    }

    fn known_item(&self, order: u64, reference: &str) -> u64 {
        let items = self.parts(order, "items").into_iter();
        let mut items = items.filter(|id| self.store.any(*id).is_some_and(|item| text(&item, "ref") == reference));
        items.next().unwrap_or_else(|| panic!("order {order} has no item {reference}"))
    }

    fn parts(&self, owner: u64, list: &str) -> Vec<u64> {
        let owner: Option<std::sync::Arc<Document>> = self.store.any(owner);
        let links = owner.as_ref().and_then(|owner| owner.get(list)).and_then(Value::as_array);
        links.into_iter().flatten().filter_map(linked).collect()
    }

    fn insert_part(&mut self, owner: u64, list: &str, kind: &str, part: Value) {
        let now = self.now();
        let id = self.store.insert(kind, now, members(part));
        self.store.attach(owner, list, id);
    }

    fn consign_article(&mut self, consignment: u64, article: u64) {
        let now = self.now();
        let pair = members(json!({"article": link(article), "consignment": link(consignment)}));
        let pair = self.store.insert("ConsignmentArticle", now, pair);
        self.store.attach(consignment, "consignmentArticles", pair);
        self.store.attach(article, "consignmentArticles", pair);
        self.store.edit(consignment, now, |_| {});
    }
}

/// An id as it is shown.
fn number(id: &str) -> u64 {
    id.parse().unwrap_or_else(|_| panic!("{id} is not an id"))
}
