//! Orders, their items, fulfilment choices and financial transactions (platform document 2.8).

use serde_json::{Value, json};

use super::account::{Account, members};
use super::store::{Document, Refusal, copy, id_of, link, linked, text, upsert};
use super::workflow::Step;

const ITEM: [&str; 9] =
    ["ref", "quantity", "paidPrice", "currency", "price", "taxPrice", "taxType", "totalPrice", "totalTaxPrice"];
const CHOICE: [&str; 15] = [
    "ref",
    "currency",
    "deliveryInstruction",
    "deliveryType",
    "fulfilmentPrice",
    "fulfilmentTaxPrice",
    "fulfilmentType",
    "pickupLocationRef",
    "deliveryFirstName",
    "deliveryLastName",
    "deliveryContact",
    "deliveryEmail",
    "deliverAfter",
    "deliverBefore",
    "dispatchOn",
];
const ADDRESS: [&str; 13] = [
    "companyName",
    "name",
    "street",
    "street2",
    "city",
    "state",
    "postcode",
    "region",
    "country",
    "latitude",
    "longitude",
    "timeZone",
    "email",
];
const TRANSACTION: [&str; 9] = [
    "ref",
    "type",
    "scale",
    "unscaledValue",
    "currency",
    "externalTransactionCode",
    "externalTransactionId",
    "cardType",
    "paymentMethod",
];

impl Account {
    /// Creates an order with everything it embeds, or nothing at all. Refuses a ref that the retailer
    /// has already (C0121E), an unknown retailer, customer, product or choice (C0120E), a product ref
    /// that two products share (C0128E), a transaction ref in use (C0123E), an order without items,
    /// with both forms of choices, or with an item that leaves its choice open (C0160E).
    pub fn create_order(&mut self, input: &Value) -> Result<u64, Refusal> {
        let parts = self.check_order(input)?;
        let kind = input["type"].as_str().unwrap_or_default();
        let mut order = self.orchestrated(&format!("ORDER::{kind}"), input);
        copy(&mut order, input, &["totalPrice", "totalTaxPrice"]);
        let customer = self.store.any(parts.customer);
        let username = customer.as_ref().map(|customer| text(customer, "ref")).unwrap_or_default();
        order.insert("customerLink".into(), json!({"ref": username}));
        order.insert("customer".into(), link(parts.customer));
        order.insert("retailer".into(), link(parts.retailer));
        for list in ["items", "fulfilmentChoices", "fulfilments", "financialTransactions"] {
            order.insert(list.into(), json!([]));
        }
        if let Some(address) = input.get("billingAddress").filter(|address| !address.is_null()) {
            order.insert("billingAddress".into(), self.billing_address(address));
        }
        let id = self.create("createOrder", "Order", order, input);
        self.create_choices(id, kind, &parts);
        self.create_items(id, &parts);
        for transaction in listed(input, "financialTransactions") {
            self.add_transaction("createOrder", id, transaction);
        }
        if self.options.workflow.automatic {
            self.schedule(self.now() + self.step_length(), Step::Advance(id));
        }
        Ok(id)
    }

    fn check_order<'a>(&self, input: &'a Value) -> Result<Parts<'a>, Refusal> {
        let retailer = self.need_id("Retailer", &input["retailer"]["id"])?;
        let reference = input["ref"].as_str().unwrap_or_default();
        if self.store.ids_of("Order", reference).iter().any(|id| self.retailer_of(*id) == Some(retailer)) {
            return Err(Refusal::new("C0121E", format!("an order with the ref {reference} already exists")));
        }
        let customer = self.need_id("Customer", &input["customer"]["id"])?;
        let choices: Vec<_> = listed(input, "fulfilmentChoices")
            .chain(input.get("fulfilmentChoice").filter(|one| !one.is_null()))
            .collect();
        if choices.len() > 1 && !input["fulfilmentChoice"].is_null() {
            return Err(Refusal::new("C0160E", "fulfilmentChoice and fulfilmentChoices exclude each other"));
        }
        let mut refs: Vec<_> = choices.iter().filter_map(|choice| choice["ref"].as_str()).collect();
        refs.sort_unstable();
        if refs.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(Refusal::new("C0160E", "two fulfilment choices have the same ref"));
        }
        let mut items = Vec::new();
        for item in listed(input, "items") {
            let reference = &item["fulfilmentChoiceRef"];
            if !reference.is_null() && !choices.iter().any(|choice| choice["ref"] == *reference) {
                return Err(Refusal::missing("FulfilmentChoice", reference));
            }
            if reference.is_null() && choices.len() > 1 {
                return Err(Refusal::new("C0160E", "an item of an order with several choices names none of them"));
            }
            items.push((item, self.ordered_product(item, retailer)?));
        }
        if items.is_empty() {
            return Err(Refusal::new("C0160E", "items is empty"));
        }
        let mut refs: Vec<_> = listed(input, "financialTransactions").filter_map(|row| row["ref"].as_str()).collect();
        refs.sort_unstable();
        let twice = refs.windows(2).any(|pair| pair[0] == pair[1]);
        if let Some(taken) =
            refs.iter().find(|reference| twice || !self.store.ids_of("FinancialTransaction", reference).is_empty())
        {
            return Err(Refusal::taken("FinancialTransaction", taken));
        }
        Ok(Parts { retailer, customer, choices, items })
    }

    /// The product of an item; without a catalogue it is looked for in the legacy default one.
    fn ordered_product(&self, item: &Value, retailer: u64) -> Result<u64, Refusal> {
        let catalogue =
            item["productCatalogueRef"].as_str().map_or_else(|| format!("COMPATIBILITY:{retailer}"), str::to_owned);
        let key = json!({"ref": item["productRef"], "catalogue": {"ref": catalogue}});
        match (self.keyed("VariantProduct", &key), self.keyed("StandardProduct", &key)) {
            (Some(_), Some(_)) => {
                Err(Refusal::new("C0128E", format!("several products have the ref {}", item["productRef"])))
            }
            (Some(id), None) | (None, Some(id)) => Ok(id),
            (None, None) => Err(Refusal::missing("Product", &item["productRef"])),
        }
    }

    /// The retailer that an entity belongs to.
    pub fn retailer_of(&self, id: u64) -> Option<u64> {
        let owner = self.store.any(id)?;
        let retailer = owner.get("retailer")?;
        linked(retailer).or_else(|| id_of(&retailer["id"]))
    }

    fn billing_address(&mut self, input: &Value) -> Value {
        let now = self.now();
        let mut address = Document::new();
        copy(&mut address, input, &ADDRESS);
        link(self.store.insert("OrderBillingAddress", now, address))
    }

    fn create_choices(&mut self, order: u64, order_type: &str, parts: &Parts<'_>) {
        for input in &parts.choices {
            let kind = input["type"].as_str().unwrap_or(order_type);
            let mut choice = self.orchestrated(&format!("ORDER::{order_type}"), input);
            choice.insert("type".into(), kind.into());
            copy(&mut choice, input, &CHOICE);
            for (member, value) in [
                ("order", link(order)),
                ("retailer", link(parts.retailer)),
                ("items", json!([])),
                ("fulfilments", json!([])),
            ] {
                choice.insert(member.into(), value);
            }
            if let Some(given) = input.get("deliveryAddress").filter(|address| !address.is_null()) {
                let mut address = members(json!({"type": "CUSTOMER_ADDRESS"}));
                copy(&mut address, given, &["ref"]);
                copy(&mut address, given, &ADDRESS);
                let now = self.now();
                choice.insert("deliveryAddress".into(), link(self.store.insert("CustomerAddress", now, address)));
            }
            let now = self.now();
            let id = self.store.insert("FulfilmentChoice", now, choice);
            self.raise("CREATE", id);
            self.store.attach(order, "fulfilmentChoices", id);
            if parts.choices.len() == 1 {
                self.store.edit(order, now, |order| drop(order.insert("fulfilmentChoice".into(), link(id))));
            }
        }
    }

    fn create_items(&mut self, order: u64, parts: &Parts<'_>) {
        let now = self.now();
        for (input, product) in &parts.items {
            let mut item = members(json!({"status": "CREATED", "order": link(order), "product": link(*product)}));
            copy(&mut item, input, &ITEM);
            upsert(&mut item, "attributes", input.get("attributes"), &["name"]);
            let choice = self.choice_of(order, input["fulfilmentChoiceRef"].as_str());
            if let Some(choice) = choice {
                item.insert("fulfilmentChoice".into(), link(choice));
            }
            let id = self.store.insert("OrderItem", now, item);
            self.store.attach(order, "items", id);
            if let Some(choice) = choice {
                self.store.attach(choice, "items", id);
            }
        }
    }

    fn choice_of(&self, order: u64, reference: Option<&str>) -> Option<u64> {
        let order = self.store.any(order)?;
        let choices = order["fulfilmentChoices"].as_array()?;
        match reference {
            None => choices.first().and_then(linked),
            Some(reference) => choices
                .iter()
                .filter_map(linked)
                .find(|id| self.store.any(*id).is_some_and(|choice| text(&choice, "ref") == reference)),
        }
    }

    /// Refuses an unknown order or an item of another order (C0120E). No workflow runs for it.
    pub fn update_order(&mut self, input: &Value) -> Result<u64, Refusal> {
        let id = self.need_id("Order", &input["id"])?;
        let order = self.store.any(id).unwrap_or_default();
        let own = order["items"].as_array().cloned().unwrap_or_default();
        for item in listed(input, "items") {
            if !id_of(&item["id"]).is_some_and(|item| own.contains(&link(item))) {
                return Err(Refusal::missing("OrderItem", &item["id"]));
            }
        }
        let billing = order.get("billingAddress").and_then(linked);
        let given = input.get("billingAddress").filter(|address| !address.is_null());
        if given.is_some_and(|given| billing.is_none() || id_of(&given["id"]) != billing) {
            return Err(Refusal::missing("OrderBillingAddress", &input["billingAddress"]["id"]));
        }
        let now = self.now();
        let mut moved = false;
        if let (Some(id), Some(given)) = (billing, given) {
            moved |= self.store.edit(id, now, |address| copy(address, given, &ADDRESS));
        }
        for item in listed(input, "items") {
            if let Some(id) = id_of(&item["id"]) {
                moved |= self.store.edit(id, now, |stored| {
                    copy(stored, item, &ITEM);
                    copy(stored, item, &["status"]);
                    upsert(stored, "attributes", item.get("attributes"), &["name"]);
                });
            }
        }
        self.change(
            "updateOrder",
            id,
            input,
            |order| {
                copy(order, input, &["status", "totalPrice", "totalTaxPrice"]);
                upsert(order, "attributes", input.get("attributes"), &["name"]);
            },
            moved,
        );
        Ok(id)
    }

    /// Refuses an unknown order (C0120E) and a ref in use (C0123E).
    pub fn create_transaction(&mut self, input: &Value) -> Result<u64, Refusal> {
        let order = self.need_id("Order", &input["order"]["id"])?;
        let reference = input["ref"].as_str().unwrap_or_default();
        if !self.store.ids_of("FinancialTransaction", reference).is_empty() {
            return Err(Refusal::taken("FinancialTransaction", reference));
        }
        Ok(self.add_transaction("createFinancialTransaction", order, input))
    }

    /// Input and output differ in two names: `amount` → `total`, `paymentProvider` →
    /// `paymentProviderName`. The order's `updatedOn` stays.
    fn add_transaction(&mut self, operation: &str, order: u64, input: &Value) -> u64 {
        let mut transaction = self.orchestrated("ORDER::FINANCIAL_TRANSACTION", input);
        copy(&mut transaction, input, &TRANSACTION);
        transaction.insert("total".into(), input["amount"].clone());
        transaction.insert("paymentProviderName".into(), input["paymentProvider"].clone());
        transaction.insert("order".into(), link(order));
        transaction.insert("retailer".into(), self.retailer_of(order).map_or(Value::Null, link));
        let id = self.create(operation, "FinancialTransaction", transaction, input);
        self.store.attach(order, "financialTransactions", id);
        id
    }

    /// Only the status can change. Refuses an unknown id (C0120E).
    pub fn update_transaction(&mut self, input: &Value) -> Result<u64, Refusal> {
        let id = self.need_id("FinancialTransaction", &input["id"])?;
        self.change("updateFinancialTransaction", id, input, |stored| copy(stored, input, &["status"]), false);
        Ok(id)
    }

    /// Refuses an unknown choice or address (C0120E).
    pub fn update_choice(&mut self, input: &Value) -> Result<u64, Refusal> {
        let id = self.need_id("FulfilmentChoice", &input["id"])?;
        let address = match &input["deliveryAddress"] {
            Value::Null => None,
            key => Some(self.need_id("CustomerAddress", &key["id"])?),
        };
        self.change(
            "updateFulfilmentChoice",
            id,
            input,
            |choice| {
                // The ref is not written: nothing in the platform document says that it can change.
                copy(choice, input, &CHOICE[1..]);
                copy(choice, input, &["status", "type"]);
                upsert(choice, "attributes", input.get("attributes"), &["name"]);
                if let Some(address) = address {
                    choice.insert("deliveryAddress".into(), link(address));
                }
            },
            false,
        );
        Ok(id)
    }

    /// Refuses an unknown address (C0120E).
    pub fn update_address(&mut self, input: &Value) -> Result<u64, Refusal> {
        let id = self.need_id("CustomerAddress", &input["id"])?;
        self.change("updateCustomerAddress", id, input, |address| copy(address, input, &ADDRESS), false);
        Ok(id)
    }
}

struct Parts<'a> {
    retailer: u64,
    customer: u64,
    choices: Vec<&'a Value>,
    items: Vec<(&'a Value, u64)>,
}

fn listed<'a>(input: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    input[name].as_array().into_iter().flatten().filter(|row| !row.is_null())
}
