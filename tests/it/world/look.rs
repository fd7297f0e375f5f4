//! What a story looks at: the platforms' own documents and ledgers.

use fluent_connector::simulator::Exchange;
use fluent_connector::simulator::commercetools::ORDER_CHANNEL;
use fluent_connector::store::{Filter, Row, Urgency};
use serde_json::Value;

use super::World;

impl World {
    /// The one Fluent order that carries this commercetools id.
    ///
    /// # Panics
    /// If there is none, or more than one.
    pub fn fluent_order(&self, commercetools_id: &str) -> Value {
        let mut orders = self.fluent_orders(commercetools_id);
        assert_eq!(orders.len(), 1, "Fluent orders of commercetools order {commercetools_id}: {orders:#?}");
        orders.remove(0)
    }

    /// All Fluent orders that carry this commercetools id.
    pub fn fluent_orders(&self, commercetools_id: &str) -> Vec<Value> {
        let is = |order: &Value| attribute(order, "commercetoolsOrderId") == Some(&commercetools_id.into());
        self.fluent.orders().into_iter().filter(is).collect()
    }

    /// The order arrived whole and once: same totals, its successful charges as payments, and each
    /// side knows the other.
    pub fn arrived(&self, id: &str) -> Value {
        let (order, shop) = (self.fluent_order(id), self.shop_order(id));
        assert_eq!(cents(&order["totalPrice"]), shop["taxedPrice"]["totalNet"]["centAmount"], "net of {id}");
        assert_eq!(cents(&order["totalTaxPrice"]), shop["taxedPrice"]["totalTax"]["centAmount"], "tax of {id}");
        let mut paid: Vec<String> = order["financialTransactions"].as_array().unwrap().iter().map(reference).collect();
        let mut charged = self.charges(&shop);
        paid.sort();
        charged.sort();
        assert_eq!(paid, charged, "payments of {id}");
        assert_eq!(self.links(id), [order["id"].as_str().unwrap()], "links of {id}");
        order
    }

    /// Ids of the successful charges of an order.
    fn charges(&self, shop: &Value) -> Vec<String> {
        let payments = shop["paymentInfo"]["payments"].as_array().cloned().unwrap_or_default();
        let payments = payments.iter().map(|it| self.commercetools.document("payments", it["id"].as_str().unwrap()));
        let transactions = payments.flat_map(|payment| payment.unwrap()["transactions"].as_array().unwrap().clone());
        let charged = transactions.filter(|one| one["type"] == "Charge" && one["state"] == "Success");
        charged.map(|charge| charge["id"].as_str().unwrap().to_owned()).collect()
    }

    /// Ids of the Fluent orders that the shop's order names in its syncInfo.
    pub fn links(&self, id: &str) -> Vec<String> {
        let links = self.shop_order(id)["syncInfo"].as_array().cloned().unwrap_or_default();
        links.iter().map(|link| link["externalId"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// Id of the channel that our links name.
    pub fn order_channel(&self) -> Value {
        let mut channels = self.commercetools.documents("channels").into_iter();
        channels.find(|channel| channel["key"] == ORDER_CHANNEL).unwrap()["id"].clone()
    }

    /// orderState and shipmentState of the shop's order.
    pub fn states(&self, id: &str) -> [String; 2] {
        let order = self.shop_order(id);
        ["orderState", "shipmentState"].map(|state| order[state].as_str().unwrap_or("-").to_owned())
    }

    /// Requests of one operation that Fluent received, oldest first.
    pub fn fluent_requests(&self, operation: &str) -> Vec<Exchange> {
        self.fluent.front().exchanges().into_iter().filter(|exchange| exchange.operation == operation).collect()
    }

    /// Requests of one operation that commercetools received, oldest first.
    pub fn shop_requests(&self, operation: &str) -> Vec<Exchange> {
        self.commercetools.front().exchanges().into_iter().filter(|exchange| exchange.operation == operation).collect()
    }

    /// Our updates of an order that changed it.
    pub fn updates(&self, id: &str) -> usize {
        let ours = |effect: &&fluent_connector::simulator::Effect| {
            effect.operation == "POST /orders/{id}" && effect.id == id && effect.changed
        };
        self.commercetools.front().ledger().iter().filter(ours).count()
    }

    /// The one parked message.
    ///
    /// # Panics
    /// If there is none, or more than one.
    pub async fn the_parked(&self) -> Row {
        let mut parked = self.parked().await;
        assert_eq!(parked.len(), 1, "parked messages: {parked:#?}");
        parked.remove(0)
    }

    /// The newest message of a route.
    pub async fn newest(&self, route: &str) -> Row {
        let filter = Filter { route: Some(route.into()), ..Filter::default() };
        self.messages(filter).await.into_iter().next().unwrap_or_else(|| panic!("no message of {route}"))
    }

    /// Sentences of all messages of a route, newest first.
    pub async fn sentences(&self, route: &str) -> Vec<String> {
        let rows = self.messages(Filter { route: Some(route.into()), ..Filter::default() }).await;
        rows.into_iter().filter_map(|row| row.detail).collect()
    }

    /// Sentences of all notes with this code.
    pub async fn notes(&self, code: &str) -> Vec<String> {
        let rows = self.messages(Filter::default()).await;
        let notes = rows.iter().filter_map(|row| row.notes.as_ref()).flat_map(|notes| notes.as_array().unwrap());
        let meant = notes.filter(|note| note["code"] == code);
        meant.map(|note| note["sentence"].as_str().unwrap().to_owned()).collect()
    }

    /// What an operator does with a parked message after the repair.
    pub async fn retry(&self, row: &Row) {
        let id = row.id;
        let store = self.daemons[0].app.store();
        let retried = store.write(Urgency::Urgent, move |tx| Box::pin(async move { tx.retry_parked(id).await }));
        assert!(retried.await.unwrap(), "the message was neither parked nor waiting");
        self.settle().await;
    }
}

/// A Fluent decimal number as cents.
pub fn cents(amount: &Value) -> i64 {
    let amount = amount.as_f64().unwrap_or_else(|| panic!("not a number: {amount}"));
    let cents = (amount * 100.0).round();
    assert!((cents - amount * 100.0).abs() < 1e-6, "{amount} has fractions of a cent");
    cents as i64
}

/// Value of a Fluent attribute.
pub fn attribute<'a>(document: &'a Value, name: &str) -> Option<&'a Value> {
    let attributes = document["attributes"].as_array()?;
    attributes.iter().find(|attribute| attribute["name"] == name).map(|attribute| &attribute["value"])
}

fn reference(document: &Value) -> String {
    document["ref"].as_str().unwrap_or_default().to_owned()
}
