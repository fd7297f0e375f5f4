//! `GET /api/v1/explain/orders/{order}`: what happened to one order, on both platforms and in between
//! (`surfaces.md` 6.5).
//!
//! Found by order number, commercetools id, Fluent id or Fluent ref: in the stored pairs first, then
//! on the platforms. No name, address or mail is in the answer.

mod live;
mod order;
mod timeline;
mod verdict;

use axum::Json;
use axum::extract::{Path, State};
use futures_util::future::join_all;
use serde::Deserialize;
use serde_json::{Value, json};

use super::mappings;
use super::{Parameters, seen};
use crate::app::Connection;
use crate::http::Surface;
use crate::http::answer::Problem;
use crate::http::auth::Actor;
use crate::store::{Attempt, MappingFilter, Row};
use live::Live;
use order::Order;

/// Kind of the mapping rows of orders.
const KIND: &str = "order";
/// Most messages of one order that are looked at; the newest ones.
const MESSAGES: i64 = 500;

/// What may be asked.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// Do not read the platforms.
    #[serde(default)]
    stored: bool,
    /// For a number that more than one connection has.
    connection: Option<String>,
}

/// One message with its failed tries.
struct Step {
    row: Row,
    attempts: Vec<Attempt>,
}

/// The timeline, both sides side by side, what differs, what is open, and one next command.
pub async fn order(
    State(surface): State<Surface>,
    actor: Actor,
    Path(name): Path<String>,
    Parameters(asked): Parameters<Asked>,
) -> Result<Json<Value>, Problem> {
    actor.may("messages:read")?;
    actor.may("mappings:read")?;
    seen(&actor, asked.connection.as_deref())?;
    let mut found = stored(&surface, &actor, &name, asked.connection.as_deref()).await?;
    let mut live = Live::default();
    if !asked.stored {
        live = match &mut found {
            Some(order) => live::read(&surface, order).await,
            None => {
                let (order, live) = search(&surface, &actor, &name, asked.connection.as_deref()).await;
                found = order;
                live
            }
        };
    }
    let Some(order) = found else { return Err(missing(&name, &live)) };
    let steps = steps(&surface, &order).await?;
    Ok(Json(document(&surface, &name, &order, &live, &steps)))
}

fn document(surface: &Surface, name: &str, order: &Order, live: &Live, steps: &[Step]) -> Value {
    let connection = surface.queue().app.connection(&order.connection);
    let differences = verdict::differences(order, live, connection);
    let open: Vec<&Row> = steps.iter().map(|step| &step.row).filter(|row| verdict::is_open(row)).collect();
    json!({
        "order": {
            "connection": order.connection,
            "commercetools_id": order.commercetools_id, "order_number": order.order_number,
            "fluent_id": order.fluent_id, "fluent_ref": order.fluent_ref,
        },
        "mapping": order.mapping.as_ref().map(mappings::view),
        "read": {"commercetools": live.commercetools.say(), "fluent": live.fluent.say()},
        "timeline": timeline::timeline(order, live, steps),
        "states": verdict::states(order, live),
        "differences": differences,
        "open": open.iter().map(|row| verdict::open(row)).collect::<Vec<_>>(),
        "next": verdict::next(name, order, &open, &differences, connection),
    })
}

/// The order whose stored pair, or whose messages, have this name.
///
/// # Errors
/// 409 if orders of several connections have it.
async fn stored(
    surface: &Surface,
    actor: &Actor,
    name: &str,
    connection: Option<&str>,
) -> Result<Option<Order>, Problem> {
    let filter = MappingFilter {
        among: actor.among(),
        connection: connection.map(str::to_owned),
        kind: Some(KIND.into()),
        any: Some(name.to_owned()),
        ..MappingFilter::default()
    };
    let mut db = surface.queue().app.store().read().await?;
    let pairs = db.mappings(&filter, 2).await?;
    if let [one, other] = &pairs[..] {
        let sentence = format!(
            "{name} means an order of connection {} and one of {}; name the connection, or use an id.",
            one.connection, other.connection
        );
        return Err(Problem::conflict(sentence));
    }
    if let Some(pair) = pairs.into_iter().next() {
        return Ok(Some(Order::paired(pair)));
    }
    for connection in visible(surface, actor, connection) {
        let subject = format!("order:{name}");
        let rows = db.messages_about(&connection.config.name, Some(&subject), &[], 0, 1).await?;
        if !rows.is_empty() {
            let unpaired = Order::new(&connection.config.name);
            return Ok(Some(Order { commercetools_id: Some(name.to_owned()), ..unpaired }));
        }
    }
    Ok(None)
}

/// Asks the platforms of all connections at once for an order with this name.
async fn search(surface: &Surface, actor: &Actor, name: &str, connection: Option<&str>) -> (Option<Order>, Live) {
    let connections = visible(surface, actor, connection);
    let searches = connections.into_iter().map(|connection| live::search(surface, connection, name));
    let mut answers = join_all(searches).await;
    let found = answers.iter().position(|(order, _)| order.is_some());
    found.map(|at| answers.swap_remove(at)).or_else(|| answers.pop()).unwrap_or_default()
}

fn visible<'a>(surface: &'a Surface, actor: &Actor, named: Option<&str>) -> Vec<&'a Connection> {
    let all = surface.queue().app.connections();
    let seen = all.filter(|connection| actor.sees(&connection.config.name));
    seen.filter(|connection| named.is_none_or(|name| name == connection.config.name)).collect()
}

/// All messages about an order, oldest first.
async fn steps(surface: &Surface, order: &Order) -> Result<Vec<Step>, Problem> {
    let mut db = surface.queue().app.store().read().await?;
    let subject = order.commercetools_id.as_ref().map(|id| format!("order:{id}"));
    let mentions: Vec<String> = [&order.fluent_id, &order.fluent_ref].into_iter().flatten().cloned().collect();
    let rows = db.messages_about(&order.connection, subject.as_deref(), &mentions, 0, MESSAGES).await?;
    let mut steps = Vec::with_capacity(rows.len());
    for row in rows.into_iter().rev() {
        let attempts = if row.attempts > 0 { db.attempts(row.id).await? } else { Vec::new() };
        steps.push(Step { row, attempts });
    }
    Ok(steps)
}

fn missing(name: &str, live: &Live) -> Problem {
    let unread: Vec<_> = [&live.commercetools.error, &live.fluent.error].into_iter().flatten().cloned().collect();
    let unread = unread.join(" ");
    Problem::not_found(
        format!("Neither the stored pairs and messages nor the platforms know an order {name}. {unread}").trim(),
    )
}
