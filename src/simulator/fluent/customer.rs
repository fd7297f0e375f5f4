//! Customers and settings: the entities without a workflow.
//!
//! A customer is keyed by `username`, unique in the account; `ref` carries the user name (platform
//! document 2.7, 2.8). A setting is unique by (name, context, contextId).

use serde_json::{Value, json};

use super::account::{Account, members};
use super::store::{Document, Refusal, copy, link, text, upsert};

const CUSTOMER: [&str; 9] = [
    "title",
    "department",
    "country",
    "firstName",
    "lastName",
    "primaryEmail",
    "primaryPhone",
    "timezone",
    "promotionOptIn",
];
const SETTING: [&str; 6] = ["name", "valueType", "lobValue", "value", "context", "contextId"];
const CONTEXTS: [&str; 5] = ["GLOBAL", "ACCOUNT", "RETAILER", "AGENT", "CUSTOMER"];

impl Account {
    /// Refuses an unknown retailer (C0120E) and a taken user name (C0123E).
    pub fn create_customer(&mut self, input: &Value) -> Result<u64, Refusal> {
        let retailer = self.need_id("Retailer", &input["retailer"]["id"])?;
        let username = input["username"].as_str().unwrap_or_default();
        if !self.store.ids_of("Customer", username).is_empty() {
            return Err(Refusal::taken("Customer", username));
        }
        let mut customer =
            members(json!({"ref": username, "username": username, "status": "CREATED", "retailer": link(retailer)}));
        copy(&mut customer, input, &CUSTOMER);
        upsert(&mut customer, "attributes", input.get("attributes"), &["name"]);
        Ok(self.create("createCustomer", "Customer", customer, input))
    }

    /// Refuses an unknown user name (C0120E).
    pub fn update_customer(&mut self, input: &Value) -> Result<u64, Refusal> {
        let username = input["username"].as_str().unwrap_or_default();
        let found = self.store.ids_of("Customer", username);
        let id = found.first().copied().ok_or_else(|| Refusal::missing("Customer", username))?;
        self.change(
            "updateCustomer",
            id,
            input,
            |customer| {
                copy(customer, input, &CUSTOMER);
                upsert(customer, "attributes", input.get("attributes"), &["name"]);
            },
            false,
        );
        Ok(id)
    }

    /// Refuses an unknown context (C0160E) and a taken (name, context, contextId) (C0123E).
    pub fn create_setting(&mut self, input: &Value) -> Result<u64, Refusal> {
        self.check_setting(None, input)?;
        let mut setting = Document::new();
        copy(&mut setting, input, &SETTING);
        Ok(self.create("createSetting", "Setting", setting, input))
    }

    /// Refuses an unknown id (C0120E), else like [`Account::create_setting`].
    pub fn update_setting(&mut self, input: &Value) -> Result<u64, Refusal> {
        let id = self.need_id("Setting", &input["id"])?;
        self.check_setting(Some(id), input)?;
        self.change("updateSetting", id, input, |setting| copy(setting, input, &SETTING), false);
        Ok(id)
    }

    fn check_setting(&self, own: Option<u64>, input: &Value) -> Result<(), Refusal> {
        let context = input["context"].as_str().unwrap_or_default();
        if !CONTEXTS.contains(&context) {
            return Err(Refusal::new("C0160E", format!("{context} is not a context of settings")));
        }
        let stored = own.and_then(|id| self.store.any(id));
        let name =
            input["name"].as_str().or_else(|| stored.as_ref().map(|stored| text(stored, "name"))).unwrap_or_default();
        let mut others = self.store.ids("Setting").into_iter().filter(|id| Some(*id) != own);
        let taken = others.any(|id| {
            self.store.any(id).is_some_and(|other| {
                text(&other, "name") == name
                    && text(&other, "context") == context
                    && other.get("contextId") == input.get("contextId")
            })
        });
        if taken { Err(Refusal::taken("Setting", name)) } else { Ok(()) }
    }
}
