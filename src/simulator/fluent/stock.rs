//! Networks, locations, virtual catalogues and positions: what other systems do to them. No mutation of
//! these is simulated, because no connector sends one.

use serde_json::{Value, json};

use super::Fluent;
use super::account::members;
use super::store::link;

/// The ledger's operation for what other systems write.
const ANOTHER_SYSTEM: &str = "another-system";

impl Fluent {
    /// Adds a network, or answers the id of the one with this ref.
    pub fn add_network(&self, reference: &str) -> String {
        let mut account = self.account();
        if let Some(id) = account.store.ids_of("Network", reference).first() {
            return id.to_string();
        }
        let now = account.now();
        let network = json!({"ref": reference, "type": "BASE", "status": "ACTIVE", "attributes": [], "locations": []});
        account.store.insert("Network", now, members(network)).to_string()
    }

    /// Adds an ACTIVE location of the retailer to networks, without a webhook: Fluent raises no CREATE event
    /// for it (2.6). Members of `changes` replace its own. Answers its id.
    pub fn add_location(&self, reference: &str, networks: &[&str], changes: Value) -> String {
        let networks: Vec<u64> = networks.iter().filter_map(|network| self.add_network(network).parse().ok()).collect();
        let mut account = self.account();
        let day = |day: &str| [(format!("{day}Start"), json!(900)), (format!("{day}End"), json!(1730))];
        let days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"].into_iter().flat_map(day);
        let mut schedule: serde_json::Map<String, Value> = days.collect();
        schedule.insert("allHours".into(), false.into());
        schedule.insert("id".into(), "1".into());
        let mut location = members(json!({
            "ref": reference, "type": "STORE", "status": "ACTIVE", "name": reference, "attributes": [],
            "supportPhoneNumber": "+61 2 5550 1000", "workflowRef": "LOCATION::STORE", "workflowVersion": 1,
            "retailer": link(account.retailer), "openingSchedule": schedule,
            "networks": networks.iter().map(|id| link(*id)).collect::<Vec<_>>(),
            "primaryAddress": {"__typename": "StoreAddress", "id": "1", "ref": "A1", "companyName": "Acme", "street": "1 George St",
                "city": "Sydney", "state": "NSW", "postcode": "2000", "country": "AU", "latitude": -33.8675,
                "longitude": 151.207, "timeZone": "Australia/Sydney", "email": "sydney@acme.example"},
        }));
        location.extend(members(changes));
        let now = account.now();
        let id = account.store.insert("Location", now, location);
        account.record(ANOTHER_SYSTEM, id, true, json!({}));
        id.to_string()
    }

    /// Changes members of a location, webhook included; `networks` is a list of refs. False if there is none.
    pub fn edit_location(&self, reference: &str, changes: Value) -> bool {
        let mut changes = members(changes);
        if let Some(Value::Array(refs)) = changes.get("networks").cloned() {
            let refs = refs.iter().filter_map(Value::as_str);
            let links: Vec<Value> = refs.filter_map(|name| self.add_network(name).parse().ok().map(link)).collect();
            changes.insert("networks".into(), links.into());
        }
        let mut account = self.account();
        let Some(id) = account.store.ids_of("Location", reference).first().copied() else { return false };
        let now = account.now();
        let changed = account.store.edit(id, now, |location| location.extend(changes));
        account.record(ANOTHER_SYSTEM, id, changed, json!({}));
        account.announce(id);
        true
    }

    /// Takes a location away without a word. False if there is none.
    pub fn remove_location(&self, reference: &str) -> bool {
        let mut account = self.account();
        let id = account.store.ids_of("Location", reference).first().copied();
        id.is_some_and(|id| account.store.remove(id))
    }

    /// Adds a virtual catalogue.
    pub fn add_virtual_catalogue(&self, reference: &str) {
        let mut account = self.account();
        let now = account.now();
        let catalogue = json!({"ref": reference, "name": reference, "type": "AGGREGATE", "status": "ACTIVE",
            "workflowRef": "VIRTUAL_CATALOGUE::AGGREGATE", "workflowVersion": 1});
        account.store.insert("VirtualCatalogue", now, members(catalogue));
    }

    /// Sets the position of a product in a group: its quantity, and other members. The position's ref is
    /// `<product>:<group>`. Answers whether it was there before.
    ///
    /// # Panics
    /// If there is no such catalogue: a mistake of the test.
    pub fn set_position(&self, catalogue: &str, product: &str, group: &str, changes: Value) -> bool {
        let mut account = self.account();
        let owner = account.store.ids_of("VirtualCatalogue", catalogue).first().copied();
        let owner = owner.unwrap_or_else(|| panic!("there is no virtual catalogue {catalogue}"));
        let reference = format!("{product}:{group}");
        let now = account.now();
        let key = json!({"ref": reference, "catalogue": {"ref": catalogue}});
        if let Some(id) = account.keyed("VirtualPosition", &key) {
            let changed = account.store.edit(id, now, |position| position.extend(members(changes)));
            account.record(ANOTHER_SYSTEM, id, changed, json!({}));
            account.announce(id);
            return true;
        }
        let mut position =
            members(json!({"ref": reference, "type": "AGGREGATE", "status": "ACTIVE", "productRef": product,
            "groupRef": group, "quantity": 0, "attributes": [], "workflowRef": "VIRTUAL_CATALOGUE::AGGREGATE",
            "workflowVersion": 1, "catalogue": link(owner)}));
        position.extend(members(changes));
        let id = account.store.insert("VirtualPosition", now, position);
        account.record(ANOTHER_SYSTEM, id, true, json!({}));
        account.announce(id);
        false
    }

    /// Takes a position away without a word. False if there is none.
    pub fn remove_position(&self, catalogue: &str, reference: &str) -> bool {
        let mut account = self.account();
        let id = account.keyed("VirtualPosition", &json!({"ref": reference, "catalogue": {"ref": catalogue}}));
        id.is_some_and(|id| account.store.remove(id))
    }
}
