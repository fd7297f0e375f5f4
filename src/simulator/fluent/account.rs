//! The whole state of the simulated account, behind one lock, and the writes that all entities share.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::Notify;

use super::Options;
use super::event::Events;
use super::graphql::GraphqlFault;
use super::store::{Document, Refusal, Store, id_of, link, text};
use super::token::Tokens;
use super::webhook::Outbox;
use super::workflow::Step;
use crate::clock::Millis;
use crate::simulator::front::Front;

/// One Fluent account with one retailer.
pub struct Account {
    pub front: Arc<Front>,
    pub options: Options,
    pub store: Store,
    pub tokens: Tokens,
    pub events: Events,
    pub outbox: Outbox,
    /// Steps of the workflows, by due time and order of arrival.
    pub steps: BTreeMap<(Millis, u64), Step>,
    pub step_number: u64,
    /// Rung when a step was added.
    pub step_bell: Arc<Notify>,
    pub faults: Vec<GraphqlFault>,
    /// Operation name and how many of its next answers are broken pages.
    pub broken_pages: Vec<(String, u32)>,
    /// How long after its time a row shows up in lists by time.
    pub lag: Millis,
    /// How long after a write reads still answer what was there before it.
    pub stale: Millis,
    /// Who writes, if it is not an API client; goes into the ledger as the operation.
    pub origin: Option<&'static str>,
    pub retailer: u64,
    pub catalogue: u64,
    pub carrier: u64,
}

impl Account {
    pub fn new(front: Arc<Front>, options: Options) -> Self {
        let mut account = Self {
            tokens: Tokens::default(),
            events: Events::default(),
            outbox: Outbox::new(options.seed),
            store: Store::default(),
            steps: BTreeMap::new(),
            step_number: 0,
            step_bell: Arc::default(),
            faults: Vec::new(),
            broken_pages: Vec::new(),
            lag: 0,
            stale: 0,
            origin: None,
            retailer: options.retailer_id.parse().unwrap_or(1),
            catalogue: 0,
            carrier: 0,
            front,
            options,
        };
        account.furnish();
        account
    }

    /// What an account has before anybody uses it: retailer, user, product catalogue, carrier.
    fn furnish(&mut self) {
        let now = self.now();
        let catalogue = self.options.catalogue.clone();
        self.store.reserve(self.retailer.max(1_000));
        let retailer =
            json!({"ref": format!("RETAILER_{}", self.retailer), "status": "ACTIVE", "tradingName": "Simulated shop"});
        self.store.insert_as(self.retailer, "Retailer", now, members(retailer));
        let user = json!({"ref": self.options.username, "username": self.options.username, "type": "RETAILER",
            "status": "ACTIVE", "promotionOptIn": false, "primaryRetailer": link(self.retailer)});
        self.store.insert("User", now, members(user));
        let catalogue = json!({"ref": catalogue, "name": "Products", "type": "MASTER", "status": "ACTIVE",
            "workflowRef": "PRODUCT_CATALOGUE::MASTER", "workflowVersion": 1, "retailerRefs": [self.retailer.to_string()]});
        self.catalogue = self.store.insert("ProductCatalogue", now, members(catalogue));
        let carrier = json!({"ref": "SIMULATED_CARRIER", "name": "Simulated carrier", "type": "CARRIER", "status": "ACTIVE",
            "workflowRef": "CARRIER::CARRIER", "workflowVersion": 1, "retailer": link(self.retailer)});
        self.carrier = self.store.insert("Carrier", now, members(carrier));
        let location = json!({"ref": "LOC-1", "name": "Warehouse 1", "type": "WAREHOUSE", "status": "ACTIVE",
            "retailer": link(self.retailer), "networks": []});
        self.store.insert("Location", now, members(location));
    }

    pub fn now(&self) -> Millis {
        self.front.clock.now()
    }

    /// Runs one mutation field and returns what its selection is read from.
    pub fn mutate(&mut self, field: &str, input: &Value) -> Result<Arc<Document>, Refusal> {
        let id = match field {
            "createCategory" => self.create_category(input)?,
            "updateCategory" => self.update_category(input)?,
            "createStandardProduct" => self.create_product("StandardProduct", field, input)?,
            "updateStandardProduct" => self.update_product("StandardProduct", field, input)?,
            "createVariantProduct" => self.create_product("VariantProduct", field, input)?,
            "updateVariantProduct" => self.update_product("VariantProduct", field, input)?,
            "removeCategoriesFromStandardProduct" => return self.remove_categories("StandardProduct", field, input),
            "removeCategoriesFromVariantProduct" => return self.remove_categories("VariantProduct", field, input),
            "createCustomer" => self.create_customer(input)?,
            "updateCustomer" => self.update_customer(input)?,
            "createOrder" => self.create_order(input)?,
            "updateOrder" => self.update_order(input)?,
            "createFinancialTransaction" => self.create_transaction(input)?,
            "createSetting" => self.create_setting(input)?,
            "updateSetting" => self.update_setting(input)?,
            "updateFulfilmentChoice" => self.update_choice(input)?,
            "updateCustomerAddress" => self.update_address(input)?,
            "updateFinancialTransaction" => self.update_transaction(input)?,
            other => return Err(Refusal::new("S0001E", format!("{other} is not simulated yet"))),
        };
        self.store.any(id).ok_or_else(|| Refusal::missing(field, id))
    }

    /// Adds an entity, its ledger row and, where the platform raises one, its CREATE event
    /// (platform document 2.6).
    pub fn create(&mut self, operation: &str, kind: &str, document: Document, input: &Value) -> u64 {
        let now = self.now();
        let id = self.store.insert(kind, now, document);
        self.record(operation, id, true, input.clone());
        if raises_create(kind) {
            self.raise("CREATE", id);
        }
        id
    }

    /// Changes an entity and writes its ledger row. `moved`: something that belongs to it changed
    /// already.
    pub fn change(&mut self, operation: &str, id: u64, input: &Value, change: impl FnOnce(&mut Document), moved: bool) {
        let now = self.now();
        let changed = self.store.edit(id, now, change) || moved;
        self.record(operation, id, changed, input.clone());
    }

    /// Writes one row to the ledger.
    pub fn record(&self, operation: &str, id: u64, changed: bool, detail: Value) {
        let Some(document) = self.store.any(id) else { return };
        let entity = entity_type(text(&document, "__typename"));
        let operation = self.origin.unwrap_or(operation);
        let reference = if entity == "SETTING" { text(&document, "name") } else { text(&document, "ref") };
        self.front.effect(operation, entity, text(&document, "id"), reference, changed, detail);
    }

    /// The entity that a `{ref, catalogue: {ref}}` key names.
    pub fn keyed(&self, kind: &str, key: &Value) -> Option<u64> {
        let catalogue = key["catalogue"]["ref"].as_str()?;
        let ids = self.store.ids_of(kind, key["ref"].as_str()?);
        ids.into_iter().find(|id| {
            let owner = self.store.any(*id).and_then(|document| self.store.follow(document.get("catalogue")));
            owner.is_some_and(|owner| text(&owner, "ref") == catalogue)
        })
    }

    /// Like [`Account::keyed`], refusing with C0120E.
    pub fn need_keyed(&self, kind: &str, key: &Value) -> Result<u64, Refusal> {
        self.keyed(kind, key).ok_or_else(|| Refusal::missing(kind, &key["ref"]))
    }

    /// The product catalogue that an input names.
    pub fn need_catalogue(&self, key: &Value) -> Result<u64, Refusal> {
        let ids = self.store.ids_of("ProductCatalogue", key["ref"].as_str().unwrap_or_default());
        ids.first().copied().ok_or_else(|| Refusal::missing("ProductCatalogue", &key["ref"]))
    }

    /// The entity that an `{id}` names.
    pub fn need_id(&self, kind: &str, id: &Value) -> Result<u64, Refusal> {
        let found = id_of(id).filter(|id| self.store.find(kind, *id).is_some());
        found.ok_or_else(|| Refusal::missing(kind, id))
    }

    /// The links that `{ref, catalogue}` keys name, all of which must exist.
    pub fn need_links(&self, kind: &str, keys: &Value) -> Result<Vec<u64>, Refusal> {
        let keys = keys.as_array().into_iter().flatten().filter(|key| !key.is_null());
        keys.map(|key| self.need_keyed(kind, key)).collect()
    }

    /// Takes one use of a fault that is meant for this operation or root field.
    pub fn take_fault(&mut self, name: &str) -> Option<String> {
        let fault = self.faults.iter_mut().find(|fault| fault.operation == name && fault.times > 0)?;
        fault.times -= 1;
        Some(fault.code.clone())
    }

    /// Takes one use of a broken page of this operation.
    pub fn take_broken_page(&mut self, name: &str) -> bool {
        let broken = self.broken_pages.iter_mut().find(|(operation, times)| operation == name && *times > 0);
        broken.is_some_and(|(_, times)| {
            *times -= 1;
            true
        })
    }

    /// What the next request sees: lists by time are `lag` behind, and reads `stale`. Writes see
    /// everything as it is.
    pub fn look_back(&mut self, mutation: bool) {
        self.store.indexed_to = if self.lag == 0 { Millis::MAX } else { self.now() - self.lag };
        self.store.seen_to = if self.stale == 0 || mutation { Millis::MAX } else { self.now() - self.stale };
    }

    /// After a request: everything as it is.
    pub fn look_ahead(&mut self) {
        self.store.seen_to = Millis::MAX;
    }

    /// The members that all orchestrated entities start with.
    pub fn orchestrated(&self, workflow: &str, input: &Value) -> Document {
        let kind = input["type"].as_str().unwrap_or("DEFAULT");
        let mut document =
            members(json!({"type": kind, "status": "CREATED", "workflowRef": workflow, "workflowVersion": 1}));
        super::store::copy(&mut document, input, &["ref"]);
        super::store::upsert(&mut document, "attributes", input.get("attributes"), &["name"]);
        document
    }
}

/// The members of a JSON object literal.
pub fn members(value: Value) -> Document {
    match value {
        Value::Object(members) => members,
        _ => Document::new(),
    }
}

/// The platform's entity type of a schema type (platform document 3.3).
pub fn entity_type(kind: &str) -> &'static str {
    match kind {
        "Order" => "ORDER",
        "OrderItem" => "ORDER_ITEM",
        "FulfilmentChoice" => "FULFILMENT_CHOICE",
        "Fulfilment" => "FULFILMENT",
        "Article" => "ARTICLE",
        "Consignment" => "CONSIGNMENT",
        "ReturnOrder" => "RETURN_ORDER",
        "Location" => "LOCATION",
        "FinancialTransaction" => "FINANCIAL_TRANSACTION",
        "Customer" => "CUSTOMER",
        "CustomerAddress" => "ADDRESS",
        "Category" => "CATEGORY",
        "StandardProduct" | "VariantProduct" => "PRODUCT",
        "ProductCatalogue" => "PRODUCT_CATALOGUE",
        "Setting" => "SETTING",
        "VirtualCatalogue" => "VIRTUAL_CATALOGUE",
        "VirtualPosition" => "VIRTUAL_POSITION",
        _ => "OTHER",
    }
}

/// Customers, settings and addresses raise no CREATE event (platform document 2.6).
fn raises_create(kind: &str) -> bool {
    !matches!(kind, "Customer" | "Setting" | "CustomerAddress" | "OrderItem" | "Location")
}
