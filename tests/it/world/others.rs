//! What other systems do on both platforms while the connector works.

use serde_json::{Value, json};

use super::World;
use fluent_connector::simulator::commercetools::ARTICLES;

impl World {
    /// An order that another system creates in Fluent: one basic T-shirt for 29.99 with tax. Members
    /// of `changes` replace its own. Answers the id.
    pub fn foreign_order(&self, changes: Value) -> String {
        let options = self.fluent.options();
        let retailer = json!({"id": options.retailer_id});
        let known = self.fluent.customers().into_iter().find(|customer| customer["username"] == "somebody");
        let customer = known.map_or_else(
            || {
                let input = json!({"username": "somebody", "primaryEmail": "somebody@example.org", "timezone": "UTC",
                                   "promotionOptIn": false, "retailer": retailer});
                self.fluent.add_customer(input).unwrap()
            },
            |customer| customer["id"].as_str().unwrap().to_owned(),
        );
        let item = |sku: &str, quantity: i64| {
            json!({"ref": format!("item-{sku}"), "productRef": sku, "productCatalogueRef": options.catalogue,
                   "quantity": quantity, "currency": "EUR"})
        };
        let mut input = json!({
            "ref": "10001", "type": "HD", "retailer": retailer, "customer": {"id": customer},
            "totalPrice": 25.2, "totalTaxPrice": 4.79, "items": [item(ARTICLES[0].sku, 1)],
            "fulfilmentChoice": {"fulfilmentType": "HD_PFS", "currency": "EUR", "deliveryType": "STANDARD",
                                 "deliveryAddress": {"ref": "a", "name": "Somebody", "city": "Berlin"}},
        });
        for (name, value) in changes.as_object().unwrap() {
            input[name] = value.clone();
        }
        if let Some(skus) = changes.get("skus").and_then(Value::as_array) {
            input.as_object_mut().unwrap().remove("skus");
            input["items"] = skus.iter().map(|sku| item(sku.as_str().unwrap(), 1)).collect();
        }
        self.fluent.add_order(input).unwrap_or_else(|refused| panic!("{refused}"))
    }
}
