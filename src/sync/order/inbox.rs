//! Something happened to an order in commercetools: is there anything to do in Fluent? (C 5.1, 7, 8, 10)
//!
//! Whatever was heard, the order is read and decides: created, changed, cancelled or gone. So a message
//! that says less than what happened, or comes late, does no harm.

use serde::Deserialize;
use serde_json::json;

use super::create::{in_scope, is_cancelled, read};
use super::told::Told;
use super::transaction::due;
use super::{label, to_fluent_as};
use crate::app::{App, Connection};
use crate::commercetools::model::Order;
use crate::config::model::{BackfillMode, OrderDeleted};
use crate::failure::{Failure, Outcome, Skip, skip};
use crate::queue::{Draft, Message, Note};
use crate::store::Filter;
use crate::sync::connection;
use crate::sync::order_lookup::Pair;

#[derive(Debug, Deserialize)]
struct Notice {
    id: String,
    /// Message type, if a message told of it.
    #[serde(rename = "type")]
    kind: Option<String>,
    /// It comes from a back-fill.
    backfill: Option<BackfillMode>,
}

/// Message types that release a held order; of an order that Fluent has they are changes.
const RELEASES: &[&str] = &["OrderPaymentStateChanged", "OrderStateTransition"];

/// `commercetools.order-created`: an order may have to be created in Fluent.
///
/// # Errors
/// Skipped if it is out of scope, waiting if it is held.
pub async fn created(app: App, message: Message) -> Outcome {
    let Notice { id, kind, backfill } = message.payload()?;
    let connection = connection(&app, &message)?;
    if !connection.config.order.enabled {
        return skip(Skip::Ignored, "Orders are switched off for this connection.");
    }
    let pair = Pair::load(&mut app.store().read().await?, message.connection(), &id).await?;
    let releases = kind.is_some_and(|kind| RELEASES.contains(&kind.as_str()));
    if !releases && pair.as_ref().is_some_and(|pair| pair.mapping.fluent_id.is_some()) {
        return skip(Skip::Ignored, "The order is in Fluent already.");
    }
    consider(&app, &message, connection, &id, pair, backfill).await
}

/// `commercetools.order-changed` and `commercetools.order-cancelled`: an order that Fluent may have is not what it was.
///
/// # Errors
/// Skipped if it is out of scope, waiting if it is held.
pub async fn changed(app: App, message: Message) -> Outcome {
    let Notice { id, .. } = message.payload()?;
    let connection = connection(&app, &message)?;
    if !connection.config.order.enabled {
        return skip(Skip::Ignored, "Orders are switched off for this connection.");
    }
    let pair = Pair::load(&mut app.store().read().await?, message.connection(), &id).await?;
    consider(&app, &message, connection, &id, pair, None).await
}

/// `commercetools.order-deleted`: an order is said to be gone. It is looked for once more.
///
/// # Errors
/// Skipped if it is of no concern to Fluent.
pub async fn deleted(app: App, message: Message) -> Outcome {
    let Notice { id, .. } = message.payload()?;
    let connection = connection(&app, &message)?;
    let pair = Pair::load(&mut app.store().read().await?, message.connection(), &id).await?;
    if connection.commercetools.on(message.call()).order::<Order>(&id, &[]).await?.is_some() {
        return consider(&app, &message, connection, &id, pair, None).await;
    }
    let is_sent = pair.as_ref().is_some_and(|pair| pair.mapping.fluent_id.is_some());
    let mut pair = pair.unwrap_or_else(|| Pair::new(message.connection(), &id));
    let name = pair.mapping.commercetools_key.clone().unwrap_or_else(|| id.clone());
    pair.extra.deleted = true;
    if !is_sent {
        pair.mapping.state = "absent".into();
        remember(&message, &pair);
        return skip(Skip::Ignored, format!("Order {name} was deleted before Fluent had it."));
    }
    remember(&message, &pair);
    let reference = pair.mapping.fluent_ref.as_deref().unwrap_or_default();
    match connection.config.order.on_delete {
        OrderDeleted::Ignore => {
            let sentence = format!("Order {name} was deleted in commercetools; Fluent order {reference} stays.");
            message.note(Note::new("order.deleted", sentence.clone()));
            message.tell(sentence);
        }
        OrderDeleted::Cancel => {
            message.then([cancellation(&message, &id)]);
            message.tell(format!("order {name} was deleted and is to be cancelled in Fluent"));
        }
    }
    Ok(())
}

async fn consider(
    app: &App,
    message: &Message,
    connection: &Connection,
    id: &str,
    pair: Option<Pair>,
    backfill: Option<BackfillMode>,
) -> Outcome {
    let Some(order) = read(message, connection, id).await? else {
        return Err(missing(app, message, pair.as_ref(), id).await?);
    };
    match pair {
        Some(pair) if pair.mapping.fluent_id.is_some() => compare(app, message, connection, &order, pair).await,
        pair => {
            if is_cancelled(&order, &connection.config) {
                if pair.as_ref().is_none_or(|pair| pair.extra.unknown_since.is_none()) {
                    return Err(never_sent(message, &order, pair));
                }
                // Fluent may have it all the same: its create looks, and cancels what it finds.
                let create = message.next("fluent.create-order", format!("{id}#create@{}", message.key()));
                message.then([create.subject(format!("order:{id}")).payload(json!({"id": id}))]);
                message.tell(format!("order {} was cancelled; Fluent is asked whether it has it", label(&order)));
                return Ok(());
            }
            let create = match backfill {
                None => {
                    in_scope(app, connection, &order).await?;
                    message.next("fluent.create-order", format!("{id}#create")).payload(json!({"id": id}))
                }
                Some(mode) => {
                    // Each run may try again: that an order is created once does not depend on the key.
                    let create = message.next("fluent.create-order", format!("{id}#create@{}", message.key()));
                    create.lane(message.lane()).payload(json!({"id": id, "backfill": mode}))
                }
            };
            message.then([create.subject(format!("order:{id}")).at_least(order.version)]);
            message.tell(format!("order {} goes to Fluent", label(&order)));
            Ok(())
        }
    }
}

/// Fluent has it: cancelled, changed, or nothing that concerns Fluent.
async fn compare(app: &App, message: &Message, connection: &Connection, order: &Order, mut pair: Pair) -> Outcome {
    let (config, name) = (&connection.config, label(order));
    let subject = format!("order:{}", order.id);
    let transactions = due(app, message, connection, order).await?.into_iter().map(|(payment, transaction)| {
        let create = message.next("fluent.create-financial-transaction", transaction);
        create.subject(&subject).payload(json!({"id": order.id, "payment": payment}))
    });
    let mut drafts: Vec<Draft> = transactions.collect();
    if is_cancelled(order, config) {
        if !config.order_cancel.enabled {
            return skip(Skip::Ignored, "Cancellations are switched off for this connection.");
        }
        drafts.push(cancellation(message, &order.id));
        message.then(drafts);
        message.tell(format!("order {name} is to be cancelled in Fluent"));
        return Ok(());
    }
    if !config.order_change.enabled {
        return skip(Skip::Ignored, "Changes of orders are switched off for this connection.");
    }
    let reference = pair.mapping.fluent_ref.clone().unwrap_or_default();
    let now = Told::of(&to_fluent_as(order, &reference, "", config)?.input)?;
    let before = pair.extra.told.get_or_insert_with(|| now.clone()).clone();
    let reported = |class: &super::told::Class| pair.extra.reported.get(class) == now.hash(*class);
    let news: Vec<_> = now.news(&before).into_iter().filter(|class| !reported(class)).collect();
    if !news.is_empty() {
        // The same version may be looked at again for another reason: what is handled collapses.
        let update = message.next("fluent.update-order", format!("{}#{}@{}", order.id, order.version, message.key()));
        let payload = json!({"id": order.id, "classes": news});
        drafts.push(update.subject(&subject).at_least(order.version).payload(payload));
    }
    pair.mapping.commercetools_version = pair.mapping.commercetools_version.max(order.version);
    pair.mapping.commercetools_key = order.order_number.clone();
    remember(message, &pair);
    match drafts.len() {
        0 => message.unchanged(),
        count => message.tell(format!("{count} changes of order {name} go to Fluent")),
    }
    message.then(drafts);
    Ok(())
}

fn cancellation(message: &Message, id: &str) -> Draft {
    message
        .next("fluent.cancel-order", format!("{id}#cancel"))
        .subject(format!("order:{id}"))
        .payload(json!({"id": id}))
}

/// An order that was cancelled before Fluent had it: nothing is sent any more.
pub fn never_sent(message: &Message, order: &Order, pair: Option<Pair>) -> Failure {
    let mut pair = pair.unwrap_or_else(|| Pair::new(message.connection(), &order.id));
    pair.extra.cancelled_before_send = true;
    pair.mapping.commercetools_key = order.order_number.clone();
    pair.mapping.commercetools_version = order.version;
    pair.mapping.state = "absent".into();
    remember(message, &pair);
    let sentence = format!("Order {} was cancelled before it was sent to Fluent.", label(order));
    Failure::Skipped { reason: Skip::Superseded, sentence }
}

/// commercetools does not return an order: because it was deleted, or not yet.
///
/// # Errors
/// When the database fails.
pub async fn missing(app: &App, message: &Message, pair: Option<&Pair>, id: &str) -> Result<Failure, Failure> {
    let told = Filter {
        connection: Some(message.connection().to_owned()),
        route: Some("commercetools.order-deleted".into()),
        subject: Some(format!("order:{id}")),
        ..Filter::default()
    };
    let known =
        pair.is_some_and(|pair| pair.extra.deleted) || !app.store().read().await?.messages(&told, 1).await?.is_empty();
    Ok(match known {
        true => {
            Failure::Skipped { reason: Skip::Ignored, sentence: "The order no longer exists in commercetools.".into() }
        }
        false => message.not_there_yet(format!("commercetools announced order {id} but does not return it.")),
    })
}

fn remember(message: &Message, pair: &Pair) {
    let row = pair.row(message);
    message.with(move |tx| Box::pin(async move { tx.put_mapping(&row).await }));
}
