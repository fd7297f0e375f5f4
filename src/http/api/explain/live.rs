//! Reading one order on both platforms, now. A platform that does not answer is said to, it does not
//! spoil the answer.

use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use uuid::Uuid;

use super::order::Order;
use crate::app::Connection;
use crate::commercetools::remembered::RememberedOrder;
use crate::fluent::model::{self, OrderHeaders};
use crate::fluent::operation;
use crate::http::Surface;
use crate::remote::{Call, Error};

/// A person waits, and two rounds must fit into the default of `server.limits.request_timeout`.
const PATIENCE: Duration = Duration::from_secs(4);

/// What both platforms answered.
#[derive(Debug, Default)]
pub struct Live {
    pub commercetools: Side<Commercetools>,
    pub fluent: Side<Fluent>,
}

/// What one platform answered.
#[derive(Debug)]
pub struct Side<T> {
    pub asked: bool,
    pub found: Option<T>,
    /// Why it did not answer.
    pub error: Option<String>,
}

/// The commercetools Order.
#[derive(Debug)]
pub struct Commercetools {
    pub order: RememberedOrder,
    pub created: Option<String>,
    pub changed: Option<String>,
}

/// The Fluent order with its fulfilments.
#[derive(Debug)]
pub struct Fluent {
    pub order: model::Order,
    pub fulfilments: Vec<Fulfilment>,
}

/// A fulfilment, as far as its state goes.
#[derive(Debug, Deserialize)]
pub struct Fulfilment {
    #[serde(rename = "ref")]
    pub reference: Option<String>,
    pub status: Option<String>,
}

/// Reads the order by its ids and fills in what was not known of it.
pub async fn read(surface: &Surface, order: &mut Order) -> Live {
    let Some(connection) = surface.queue().app.connection(&order.connection) else { return Live::default() };
    let call = call();
    let (commercetools, fluent) = tokio::join!(
        in_time("commercetools", async {
            match (&order.commercetools_id, &order.order_number) {
                (Some(id), _) => commercetools_by_id(connection, &call, id).await,
                (None, Some(number)) => commercetools_by_number(connection, &call, number).await,
                (None, None) => Ok(None),
            }
        }),
        in_time("Fluent", async {
            match (&order.fluent_id, &order.fluent_ref) {
                (Some(id), _) => fluent_by_id(connection, &call, id).await,
                (None, Some(reference)) => fluent_by_ref(connection, &call, reference).await,
                (None, None) => Ok(None),
            }
        }),
    );
    let live = Live { commercetools, fluent };
    order.learn(&live);
    live
}

/// Looks for an order that has this name on either platform.
pub async fn search(surface: &Surface, connection: &Connection, name: &str) -> (Option<Order>, Live) {
    let call = call();
    let (commercetools, fluent) = tokio::join!(
        in_time("commercetools", async {
            match commercetools_by_number(connection, &call, name).await? {
                None if Uuid::try_parse(name).is_ok() => commercetools_by_id(connection, &call, name).await,
                found => Ok(found),
            }
        }),
        in_time("Fluent", async {
            match fluent_by_ref(connection, &call, name).await? {
                None if name.bytes().all(|byte| byte.is_ascii_digit()) => fluent_by_id(connection, &call, name).await,
                found => Ok(found),
            }
        }),
    );
    let mut order = Order::new(&connection.config.name);
    let found = commercetools.found.is_some() || fluent.found.is_some();
    let mut live = Live { commercetools, fluent };
    if found {
        order.learn(&live);
        other_side(surface, connection, &mut order, &mut live).await;
    }
    (found.then_some(order), live)
}

/// One side was found by name; the other one has the identity that links them.
async fn other_side(surface: &Surface, connection: &Connection, order: &mut Order, live: &mut Live) {
    let attribute = &connection.config.order_link.identity_attribute;
    if let (Some(fluent), None) = (&live.fluent.found, &live.commercetools.found) {
        order.commercetools_id = fluent.order.attribute(attribute).and_then(Value::as_str).map(str::to_owned);
    }
    if let (Some(commercetools), None) = (&live.commercetools.found, &live.fluent.found) {
        order.fluent_id = commercetools.order.sync_info.iter().find_map(|info| info.external_id.clone());
    }
    let both = order.commercetools_id.is_some() && order.fluent_id.is_some();
    if both && (live.commercetools.found.is_none() || live.fluent.found.is_none()) {
        *live = read(surface, order).await;
    }
}

impl Order {
    fn learn(&mut self, live: &Live) {
        if let Some(Commercetools { order, .. }) = &live.commercetools.found {
            self.commercetools_id = Some(order.id.clone());
            self.order_number = order.order_number.clone();
        }
        if let Some(Fluent { order, .. }) = &live.fluent.found {
            self.fluent_id = Some(order.id.clone());
            self.fluent_ref = order.reference.clone();
        }
    }
}

impl<T> Default for Side<T> {
    fn default() -> Self {
        Self { asked: false, found: None, error: None }
    }
}

impl<T> Side<T> {
    /// `live`, `absent`, `not read`, or why it could not be read.
    pub fn say(&self) -> &str {
        match (&self.error, &self.found, self.asked) {
            (Some(error), ..) => error,
            (_, Some(_), _) => "live",
            (_, None, true) => "absent",
            (_, None, false) => "not read",
        }
    }

    /// It was asked, it answered, and there was none.
    pub fn absent(&self) -> bool {
        self.asked && self.found.is_none() && self.error.is_none()
    }
}

async fn in_time<T>(platform: &str, reading: impl Future<Output = Result<Option<T>, Error>>) -> Side<T> {
    match tokio::time::timeout(PATIENCE, reading).await {
        Ok(Ok(found)) => Side { asked: true, found, error: None },
        Ok(Err(error)) => Side { asked: true, found: None, error: Some(error.sentence) },
        Err(_) => {
            let error = format!("{platform} did not answer within {} s.", PATIENCE.as_secs());
            Side { asked: true, found: None, error: Some(error) }
        }
    }
}

fn call() -> Call {
    Call { lane: "status".into(), correlation: Uuid::now_v7().to_string() }
}

async fn commercetools_by_id(connection: &Connection, call: &Call, id: &str) -> Result<Option<Commercetools>, Error> {
    let found = connection.commercetools.on(call.clone()).order::<Value>(id, &[]).await?;
    Ok(found.as_ref().and_then(Commercetools::of))
}

async fn commercetools_by_number(
    connection: &Connection,
    call: &Call,
    number: &str,
) -> Result<Option<Commercetools>, Error> {
    let found = connection.commercetools.on(call.clone()).order_by_number::<Value>(number).await?;
    Ok(found.as_ref().and_then(Commercetools::of))
}

impl Commercetools {
    /// The copy has nothing personal in it.
    fn of(answer: &Value) -> Option<Self> {
        let text = |name: &str| answer.get(name).and_then(Value::as_str).map(str::to_owned);
        let order = RememberedOrder::from_answer(answer).ok()?;
        Some(Self { order, created: text("createdAt"), changed: text("lastModifiedAt") })
    }
}

async fn fluent_by_id(connection: &Connection, call: &Call, id: &str) -> Result<Option<Fluent>, Error> {
    let variables = json!({"id": id, "withFulfilments": true, "after": null});
    let answer = connection.fluent.on(call.clone()).run::<Value>(&operation::ORDER_UPDATE_SOURCE, variables).await;
    match answer {
        // "Unable to find the entity": this id is nobody's.
        Err(error) if error.code == "C0120E" => Ok(None),
        Err(error) => Err(error),
        Ok(answer) => Ok(Fluent::of(&answer["orderById"])),
    }
}

async fn fluent_by_ref(connection: &Connection, call: &Call, reference: &str) -> Result<Option<Fluent>, Error> {
    let variables = json!({"ref": [reference], "retailerId": [connection.config.fluent.retailer_id]});
    let headers: OrderHeaders = connection.fluent.on(call.clone()).run(&operation::ORDERS_BY_REF, variables).await?;
    match headers.orders.nodes().next() {
        None => Ok(None),
        Some(order) => fluent_by_id(connection, call, &order.id).await,
    }
}

impl Fluent {
    fn of(answer: &Value) -> Option<Self> {
        let edges = answer["fulfilments"]["edges"].as_array().into_iter().flatten();
        let fulfilments = edges.filter_map(|edge| read_as(&edge["node"])).collect();
        Some(Self { order: read_as(answer)?, fulfilments })
    }
}

fn read_as<T: DeserializeOwned>(answer: &Value) -> Option<T> {
    T::deserialize(answer).ok()
}
