//! An order on its way through warehouses and carriers, and what a story sees of it in the shop.

use fluent_connector::simulator::commercetools::{ADA, ARTICLES};
use serde_json::{Value, json};

use super::{Settings, World};
use crate::database::Engine;

/// One linked order of three T-shirts and a mug.
pub struct Shipped {
    pub world: World,
    /// In commercetools.
    pub id: String,
    /// Its ref in Fluent.
    pub reference: &'static str,
    /// Line Item ids.
    pub shirt: String,
    pub mug: String,
}

/// Ref of the order in Fluent, if all of it goes one way.
pub const ORDER: &str = "HD_1";

impl Shipped {
    /// With these lines under the connection.
    pub async fn new(engine: Engine, connection: &str) -> Option<Self> {
        Self::with(engine, Settings { connection: connection.into(), ..Settings::default() }).await
    }

    pub async fn with(engine: Engine, settings: Settings) -> Option<Self> {
        Self::changed(engine, settings, ORDER, |_| ()).await
    }

    /// With a document that was changed before anybody saw it; so Fluent has it by this ref.
    pub async fn changed(
        engine: Engine,
        settings: Settings,
        reference: &'static str,
        change: impl FnOnce(&mut Value) + 'static,
    ) -> Option<Self> {
        let world = World::with(engine, settings).await?;
        world.fluent.add_location("STORE_SYD", &[], json!({"name": "Sydney CBD"}));
        world.fluent.add_location("WH_MEL", &[], json!({"name": "Melbourne DC"}));
        let draft = world.commercetools.order(Some("1")).customer(ADA).shipping(499);
        let draft = draft.line(ARTICLES[0].sku, 3, 2_999).line("MUG-BLK", 1, 1_250);
        let id = draft.changed(change).place();
        world.settle().await;
        let lines = world.shop_order(&id)["lineItems"].clone();
        let line = |at: usize| lines[at]["id"].as_str().unwrap().to_owned();
        let (shirt, mug) = (line(0), line(1));
        Some(Self { world, id, reference, shirt, mug })
    }

    /// A fulfilment of the whole order.
    pub fn fulfilment(&self, status: &str) -> String {
        self.world.fluent.add_fulfilment(self.reference, "STORE_SYD", status, &[(&self.shirt, 3), (&self.mug, 1)])
    }

    /// A consignment with one article that holds these units.
    pub fn consignment(&self, fulfilment: &str, items: &[(&str, i64)], status: &str) -> (String, String) {
        let article = self.world.fluent.add_article(self.reference, &[fulfilment], items, json!({}));
        let consignment = self.world.fluent.add_consignment(self.reference, &[&article], status, json!({}));
        (consignment, article)
    }

    /// The elements of the metadata of a line.
    pub fn metadata(&self, line: &str) -> Value {
        let order = self.world.shop_order(&self.id);
        let lines = order["lineItems"].as_array().unwrap();
        let line = lines.iter().find(|found| found["id"] == line).unwrap();
        let text = line["custom"]["fields"]["flFulfilmentMetadata"].as_str();
        text.map_or(Value::Null, |text| serde_json::from_str(text).unwrap())
    }

    pub fn deliveries(&self) -> Vec<Value> {
        self.world.shop_order(&self.id)["shippingInfo"]["deliveries"].as_array().cloned().unwrap_or_default()
    }

    /// The one Delivery there is.
    pub fn delivery(&self) -> Value {
        let mut deliveries = self.deliveries();
        assert_eq!(deliveries.len(), 1, "{deliveries:#?}");
        deliveries.remove(0)
    }

    /// Units of a Delivery or Parcel per line: shirts, mugs.
    pub fn units(&self, of: &Value) -> [i64; 2] {
        let items = of["items"].as_array().unwrap();
        [&self.shirt, &self.mug].map(|line| {
            let of_line = items.iter().filter(|item| item["id"] == **line);
            of_line.map(|item| item["quantity"].as_i64().unwrap()).sum()
        })
    }

    pub fn updates(&self) -> usize {
        self.world.updates(&self.id)
    }
}
