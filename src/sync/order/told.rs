//! What Fluent was told of an order, class by class (`commercetools-to-fluent`, section 7): what of it
//! changed since then can be said without asking Fluent.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::fluent::input::{CreateFulfilmentChoiceWithOrderInput, CreateOrderInput};
use crate::sync::attribute;
use crate::sync::canonical::canonical_hash;

/// What was told. Classes that changed without our being able to say so stay as they were told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Told {
    /// Class → hash of its content.
    hashes: BTreeMap<Class, String>,
    lines: Lines,
    /// Names of attributes; Fluent forgets none.
    attributes: Vec<String>,
}

/// A part of an order that Fluent takes, or refuses, by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Class {
    BillingAddress,
    Attributes,
    /// Name, phone, email and instruction of a choice, by its place.
    Contact(usize),
    /// Delivery address of a choice.
    Address(usize),
    /// Where a choice is collected.
    Pickup(usize),
    /// Items, quantities, prices and totals.
    Lines,
}

/// What was ordered, and for how much.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Lines {
    /// Order type.
    pub kind: String,
    pub items: Vec<Item>,
    pub total_price: String,
    pub total_tax_price: Option<String>,
    /// Net price of each choice.
    pub shipping: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    #[serde(rename = "ref")]
    pub reference: String,
    pub sku: String,
    pub quantity: i64,
    /// Net price of all of them.
    pub price: String,
}

/// Items that came, went or changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edit {
    pub added: Vec<Item>,
    pub removed: Vec<Item>,
    /// As it was, and as it is.
    pub changed: Vec<(Item, Item)>,
}

impl Told {
    /// What creating or changing the order to this tells.
    ///
    /// # Errors
    /// Rejected if something of it cannot be written as JSON.
    pub fn of(input: &CreateOrderInput) -> Result<Self, Failure> {
        let choices: Vec<_> = input.fulfilment_choices.iter().chain(&input.fulfilment_choice).collect();
        let mut hashes = BTreeMap::new();
        if let Some(billing) = &input.billing_address {
            hashes.insert(Class::BillingAddress, hash(billing)?);
        }
        hashes.insert(Class::Attributes, hash(&input.attributes)?);
        for (at, choice) in choices.iter().enumerate() {
            hashes.insert(Class::Contact(at), hash(&contact(choice))?);
            if let Some(address) = &choice.delivery_address {
                hashes.insert(Class::Address(at), hash(&address.address)?);
            }
            if let Some(pickup) = &choice.pickup_location_ref {
                hashes.insert(Class::Pickup(at), hash(pickup)?);
            }
        }
        let items = input.items.iter().map(|item| Item {
            reference: item.reference.clone(),
            sku: item.product_ref.clone(),
            quantity: item.quantity.into(),
            price: item.total_price.to_string(),
        });
        let lines = Lines {
            kind: input.kind.clone(),
            items: items.collect(),
            total_price: input.total_price.map(|price| price.to_string()).unwrap_or_default(),
            total_tax_price: input.total_tax_price.map(|price| price.to_string()),
            shipping: choices.iter().map(|choice| choice.fulfilment_price.to_string()).collect(),
        };
        hashes.insert(Class::Lines, hash(&lines)?);
        Ok(Self { hashes, lines, attributes: attribute::names(&input.attributes) })
    }

    /// What is new, given what was told before. What is gone (an address) cannot be taken back in Fluent, and does
    /// not count; lines do.
    pub fn news(&self, before: &Self) -> BTreeSet<Class> {
        // Other deliveries than before: their contacts and addresses belong to what only a person can change.
        let same = self.lines.kind == before.lines.kind && self.lines.shipping.len() == before.lines.shipping.len();
        let is_whole = |class: &Class| matches!(class, Class::BillingAddress | Class::Attributes | Class::Lines);
        let is_new =
            |(class, hash): &(&Class, &String)| (same || is_whole(class)) && before.hashes.get(class) != Some(hash);
        self.hashes.iter().filter(is_new).map(|(class, _)| *class).collect()
    }

    /// Hash of a class, if the order has it.
    pub fn hash(&self, class: Class) -> Option<&String> {
        self.hashes.get(&class)
    }

    /// A class was told as it is in `now`.
    pub fn take(&mut self, class: Class, now: &Self) {
        if let Some(hash) = now.hashes.get(&class) {
            self.hashes.insert(class, hash.clone());
        }
        match class {
            Class::Lines => self.lines = now.lines.clone(),
            Class::Attributes => {
                let new = now.attributes.iter().filter(|name| !self.attributes.contains(name)).cloned();
                let new: Vec<String> = new.collect();
                self.attributes.extend(new);
            }
            _ => {}
        }
    }

    /// Names of attributes that were told.
    pub fn attributes(&self) -> &[String] {
        &self.attributes
    }

    pub fn lines(&self) -> &Lines {
        &self.lines
    }
}

impl Lines {
    /// What became of the items since `before`.
    pub fn edit(&self, before: &Self) -> Edit {
        let known =
            |lines: &'_ Self, item: &Item| lines.items.iter().position(|other| other.reference == item.reference);
        let mut edit = Edit::default();
        for item in &self.items {
            match known(before, item).map(|at| &before.items[at]) {
                None => edit.added.push(item.clone()),
                Some(was) if was != item => edit.changed.push((was.clone(), item.clone())),
                Some(_) => {}
            }
        }
        edit.removed = before.items.iter().filter(|item| known(self, item).is_none()).cloned().collect();
        edit
    }

    /// The difference in words: `TEE-RED-M 2 → 1, MUG 0 → 1`.
    pub fn difference(&self, before: &Self) -> String {
        let edit = self.edit(before);
        let gone = edit.removed.iter().map(|item| format!("{} {} → 0", item.sku, item.quantity));
        let come = edit.added.iter().map(|item| format!("{} 0 → {}", item.sku, item.quantity));
        let changed = edit.changed.iter().map(|(was, is)| match was.quantity == is.quantity {
            false => format!("{} {} → {}", is.sku, was.quantity, is.quantity),
            true if was.sku != is.sku => format!("{} → {}", was.sku, is.sku),
            true => format!("{} for {} instead of {}", is.sku, is.price, was.price),
        });
        let kind = (self.kind != before.kind).then(|| format!("{} → {}", before.kind, self.kind));
        let mut words: Vec<String> = kind.into_iter().chain(changed).chain(gone).chain(come).collect();
        if self.shipping != before.shipping {
            words.push(format!("shipping {} → {}", before.shipping.join(" + "), self.shipping.join(" + ")));
        }
        if words.is_empty() {
            words.push(format!("total {} → {}", before.total_price, self.total_price));
        }
        words.join(", ")
    }
}

/// What Fluent holds of the person at the door.
fn contact(choice: &CreateFulfilmentChoiceWithOrderInput) -> [&Option<String>; 7] {
    [
        &choice.delivery_first_name,
        &choice.delivery_last_name,
        &choice.delivery_contact,
        &choice.delivery_email,
        &choice.delivery_instruction,
        &choice.deliver_after,
        &choice.deliver_before,
    ]
}

fn hash(content: &impl Serialize) -> Result<String, Failure> {
    canonical_hash(content).map_err(|error| Failure::rejected(format!("The order cannot be written as JSON: {error}")))
}

impl From<Class> for String {
    fn from(class: Class) -> Self {
        match class {
            Class::BillingAddress => "billing-address".into(),
            Class::Attributes => "attributes".into(),
            Class::Contact(at) => format!("contact-{at}"),
            Class::Address(at) => format!("address-{at}"),
            Class::Pickup(at) => format!("pickup-{at}"),
            Class::Lines => "lines".into(),
        }
    }
}

impl TryFrom<String> for Class {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let unknown = || format!("{text:?} is no class of an order");
        match text.as_str() {
            "billing-address" => return Ok(Self::BillingAddress),
            "attributes" => return Ok(Self::Attributes),
            "lines" => return Ok(Self::Lines),
            _ => {}
        }
        let (name, at) = text.rsplit_once('-').ok_or_else(unknown)?;
        let at = at.parse().map_err(|_| unknown())?;
        match name {
            "contact" => Ok(Self::Contact(at)),
            "address" => Ok(Self::Address(at)),
            "pickup" => Ok(Self::Pickup(at)),
            _ => Err(unknown()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::fixture::{connection, order};
    use crate::sync::order::to_fluent;
    use serde_json::{Value, json};

    fn told(changes: Value) -> Told {
        let overrides = json!({"order": {"total_check": "off"}});
        Told::of(&to_fluent(&order(&changes), "1", &connection(&overrides)).unwrap().input).unwrap()
    }

    #[test]
    fn each_class_changes_by_itself() {
        let before = told(json!({}));
        let news = |changes: Value| told(changes).news(&before).into_iter().map(String::from).collect::<Vec<_>>();
        assert!(news(json!({"version": 9, "shipmentState": "Ready", "paymentInfo": null})).is_empty());
        assert_eq!(news(json!({"billingAddress": {"city": "Linz"}})), ["billing-address"]);
        assert_eq!(news(json!({"shippingAddress": {"city": "Linz"}})), ["address-0"]);
        assert_eq!(news(json!({"shippingAddress": {"additionalAddressInfo": "2nd bell"}})), ["contact-0"]);
        assert_eq!(news(json!({"store": {"key": "at"}})), ["attributes"]);
        assert_eq!(news(json!({"lineItems": [{"quantity": 1}]})), ["lines"]);
        assert!(news(json!({"billingAddress": null})).is_empty(), "Fluent cannot forget it");
        let collected = json!({"custom": {"fields": {"flPickupLocationRef": "LOC"}}});
        assert_eq!(news(collected), ["lines"], "another kind of order");
    }

    #[test]
    fn what_was_edited_is_said() {
        let before = told(json!({}));
        let said = |changes: Value| told(changes).lines().difference(before.lines());
        assert_eq!(said(json!({"lineItems": [{"quantity": 1}]})), "TEE-RED-M 2 → 1");
        assert_eq!(said(json!({"lineItems": [{"id": "other"}]})), "TEE-RED-M 2 → 0, TEE-RED-M 0 → 2");
        let fields = json!({"fields": {"flPickupLocationRef": "LOC"}});
        assert_eq!(said(json!({"custom": fields})), "HD → CC");
        let free = json!({"shippingInfo": null});
        assert!(said(free).ends_with("shipping 3.74 → 0"));
    }

    #[test]
    fn it_is_remembered_as_json() {
        let told = told(json!({}));
        let text = serde_json::to_string(&told).unwrap();
        assert_eq!(serde_json::from_str::<Told>(&text).unwrap(), told);
        assert!(serde_json::from_str::<Class>("\"door-1\"").is_err());
    }
}
