//! What tests, the demo and the test kit do to the account by hand, and what they read from it.

use std::time::Duration;

use serde_json::{Value, json};

use super::account::members;
use super::graphql::{self, GraphqlFault};
use super::store::link;
use super::{Fluent, Webhook, WebhookFaults};
use crate::clock::Millis;

/// The ledger's operation for writes that came from neither the connector nor a workflow.
const ANOTHER_SYSTEM: &str = "another-system";

impl Fluent {
    /// All orders with what belongs to them, oldest first.
    pub fn orders(&self) -> Vec<Value> {
        self.shown("Order")
    }

    /// The order with this ref.
    pub fn order(&self, reference: &str) -> Option<Value> {
        let account = self.account();
        account.store.ids_of("Order", reference).first().map(|id| account.store.show(*id))
    }

    pub fn customers(&self) -> Vec<Value> {
        self.shown("Customer")
    }

    /// All financial transactions.
    pub fn transactions(&self) -> Vec<Value> {
        self.shown("FinancialTransaction")
    }

    /// All standard and variant products, by id.
    pub fn products(&self) -> Vec<Value> {
        let mut products = self.shown("StandardProduct");
        products.extend(self.shown("VariantProduct"));
        products
    }

    pub fn categories(&self) -> Vec<Value> {
        self.shown("Category")
    }

    pub fn settings(&self) -> Vec<Value> {
        self.shown("Setting")
    }

    pub fn fulfilments(&self) -> Vec<Value> {
        self.shown("Fulfilment")
    }

    pub fn consignments(&self) -> Vec<Value> {
        self.shown("Consignment")
    }

    /// The event log, oldest first.
    pub fn events(&self) -> Vec<Value> {
        self.account().events.all()
    }

    fn shown(&self, kind: &str) -> Vec<Value> {
        let account = self.account();
        account.store.ids(kind).into_iter().map(|id| account.store.show(id)).collect()
    }

    /// Adds an ACTIVE standard and variant product for each SKU; the variant's ref is the SKU.
    pub fn seed_shop(&self, skus: &[&str]) {
        for sku in skus {
            self.add_product(sku);
        }
    }

    /// Adds one SKU; see [`Fluent::seed_shop`]. Returns the variant's id.
    pub fn add_product(&self, sku: &str) -> String {
        let mut account = self.account();
        let (now, catalogue) = (account.now(), account.catalogue);
        let product = |reference: &str, kind: &str| {
            members(
                json!({"ref": reference, "type": kind, "status": "ACTIVE", "gtin": sku.chars().take(20).collect::<String>(),
                "name": sku, "workflowRef": "PRODUCT_CATALOGUE::MASTER", "workflowVersion": 1, "catalogue": link(catalogue),
                "categories": [], "attributes": [], "prices": []}),
            )
        };
        let standard = account.store.insert("StandardProduct", now, product(&format!("{sku}-STANDARD"), "STANDARD"));
        let mut variant = product(sku, "VARIANT");
        variant.insert("product".into(), link(standard));
        let id = account.store.insert("VariantProduct", now, variant);
        account.store.attach(standard, "variants", id);
        for id in [standard, id] {
            account.record(ANOTHER_SYSTEM, id, true, json!({"sku": sku}));
        }
        id.to_string()
    }

    /// Adds a customer as if another system had; `input` is a `CreateCustomerInput`. Returns its id.
    pub fn add_customer(&self, input: Value) -> Result<String, Rejected> {
        self.add("mutation($input: CreateCustomerInput) { added: createCustomer(input: $input) { id } }", &input)
    }

    /// Adds a category as if another system had; `input` is a `CreateCategoryInput`. Returns its id.
    pub fn add_category(&self, input: Value) -> Result<String, Rejected> {
        self.add("mutation($input: CreateCategoryInput) { added: createCategory(input: $input) { id } }", &input)
    }

    /// Adds an order as if another system had; `input` is a `CreateOrderInput`. Returns its id.
    pub fn add_order(&self, input: Value) -> Result<String, Rejected> {
        self.add("mutation($input: CreateOrderInput) { added: createOrder(input: $input) { id } }", &input)
    }

    /// Adds a payment to an order as if another system had; `input` is a
    /// `CreateFinancialTransactionInput`. Returns its id.
    pub fn add_transaction(&self, input: Value) -> Result<String, Rejected> {
        let query = "mutation($input: CreateFinancialTransactionInput) { added: createFinancialTransaction(input: $input) { id } }";
        self.add(query, &input)
    }

    /// Adds a setting as if an operator had; `input` is a `CreateSettingInput`. Returns its id.
    pub fn add_setting(&self, input: Value) -> Result<String, Rejected> {
        self.add("mutation($input: CreateSettingInput) { added: createSetting(input: $input) { id } }", &input)
    }

    fn add(&self, query: &str, input: &Value) -> Result<String, Rejected> {
        let request = json!({"query": query, "variables": {"input": input}});
        let request = graphql::prepare(&request).map_err(|answer| Rejected(answer["errors"].to_string()))?;
        let mut account = self.account();
        account.origin = Some(ANOTHER_SYSTEM);
        let answer = graphql::execute(&mut account, &request, None);
        account.origin = None;
        let id = answer["data"]["added"]["id"].as_str().map(str::to_owned);
        id.ok_or_else(|| Rejected(answer["errors"].to_string()))
    }

    /// One step of the order's workflow. The status it has then; `None` if there is no such order or
    /// nothing is left to do.
    pub fn advance_order(&self, reference: &str) -> Option<String> {
        let mut account = self.account();
        let id = account.store.ids_of("Order", reference).first().copied()?;
        let moved = account.advance(id);
        let order = account.store.any(id)?;
        moved.then(|| order["status"].as_str().unwrap_or_default().to_owned())
    }

    /// Sets an order's status as a workflow would, webhook included. False if there is no such order.
    pub fn set_order_status(&self, reference: &str, status: &str) -> bool {
        let mut account = self.account();
        let id = account.store.ids_of("Order", reference).first().copied();
        if let Some(id) = id {
            account.set_status(id, status, "SetStatus");
        }
        id.is_some()
    }

    /// Sets the status of a fulfilment, article or consignment by id, webhook included. False if
    /// there is no such entity.
    pub fn set_status(&self, id: &str, status: &str) -> bool {
        let mut account = self.account();
        let id = id.parse().ok().filter(|id| account.store.any(*id).is_some());
        if let Some(id) = id {
            account.set_status(id, status, "SetStatus");
        }
        id.is_some()
    }

    /// Workflow steps that are due now; 0 = orders stand still until the clock moves.
    pub fn pending_steps(&self) -> usize {
        let account = self.account();
        account.steps.range(..=(account.now(), u64::MAX)).count()
    }

    /// Registers a receiver of status changes.
    pub fn webhook(&self, webhook: Webhook) {
        self.account().outbox.webhooks.push(webhook);
    }

    /// Sets what goes wrong with webhooks from now on.
    pub fn webhook_faults(&self, faults: WebhookFaults) {
        self.account().outbox.faults = faults;
    }

    /// Deliveries that are due now or on their way.
    pub fn pending_webhooks(&self) -> usize {
        let account = self.account();
        account.outbox.pending(account.now())
    }

    /// Every attempt and every dropped delivery, with its outcome: `delivered`, `failed`, `dropped`,
    /// `given-up`.
    pub fn webhooks(&self) -> Vec<Value> {
        self.account().outbox.log()
    }

    /// Bodies of the webhooks that were given up.
    pub fn given_up(&self) -> Vec<Value> {
        self.account().outbox.given_up()
    }

    /// The next `times` requests of an operation (by operation name: the request as a whole; by root
    /// field name: that alias only) answer HTTP 200 with this error code and null, and do nothing.
    pub fn graphql_fault(&self, operation: &str, code: &str, times: u32) {
        self.account().faults.push(GraphqlFault { operation: operation.into(), code: code.into(), times });
    }

    /// The next `times` answers to this operation announce more rows (`hasNextPage`) and have no edges.
    pub fn broken_pages(&self, operation: &str, times: u32) {
        self.account().broken_pages.push((operation.into(), times));
    }

    /// From now on queries answer what was there before the last write until so long after it, as a
    /// replica that is behind does. Writes see everything as it is.
    pub fn stale_reads(&self, by: Duration) {
        self.account().stale = by.as_millis() as Millis;
    }

    /// From now on lists by time show a row only so long after its `updatedOn`, as an index that lags
    /// behind. Reads by id or ref see it at once.
    pub fn lag(&self, by: Duration) {
        self.account().lag = by.as_millis() as Millis;
    }

    /// Invalidates all access tokens before their time.
    pub fn revoke_tokens(&self) {
        self.account().tokens.revoke();
    }
}

/// An input that the platform would have refused: its `errors`.
#[derive(Clone, Debug, thiserror::Error)]
#[error("refused: {0}")]
pub struct Rejected(String);
