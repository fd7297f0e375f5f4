//! Payments that come or change after their order was sent (C 6).
//!
//! Routes `commercetools.payment-changed` (subject `payment:<id>`) and `fluent.create-financial-transaction` (subject
//! `order:<id>`); `job.payment-sync` finds what no message told of. What is due is decided by [`payment`], given what
//! Fluent has: each transaction is sent once, because Fluent's are immutable.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::{Value, json};

use super::adopt::{TransactionState, check, create_transaction};
use super::create::{in_scope, since};
use super::{label, payment};
use crate::app::{App, Connection};
use crate::clock;
use crate::commercetools::client::{Page, Query};
use crate::commercetools::model::{Order, Payment};
use crate::config::model::CommercetoolsPoll;
use crate::failure::{Failure, Outcome, Skip, skip};
use crate::fluent::model;
use crate::fluent::operation;
use crate::queue::{Message, Note};
use crate::store::Mapping;
use crate::sync::connection;
use crate::sync::order_lookup::Pair;
use crate::sync::poll::{Found, Pace, Window};
use crate::sync::text::Notes;
use crate::sync::walk::{self, PAGE};

/// Kind of the mapping rows of transactions.
pub const KIND: &str = "transaction";

/// The stream of the payments; its cursor carries this name.
pub const STREAM: &str = "payment-sync";

/// Refs of one look-up: as many as an answer shows.
const REFS: usize = 50;

#[derive(Debug, Deserialize)]
struct Notice {
    id: String,
}

/// What a message of `fluent.create-financial-transaction` is about.
#[derive(Debug, Deserialize)]
struct Due {
    /// commercetools order.
    id: String,
    payment: String,
}

/// `commercetools.payment-changed`: a payment may have transactions that Fluent lacks.
///
/// # Errors
/// Skipped if no order of ours has it; waiting while that order is on its way.
pub async fn changed(app: App, message: Message) -> Outcome {
    let Notice { id } = message.payload()?;
    let connection = connection(&app, &message)?;
    if !connection.config.order.enabled {
        return skip(Skip::Ignored, "Orders are switched off for this connection.");
    }
    let commercetools = connection.commercetools.on(message.call());
    let Some(read) = commercetools.payment::<Payment>(&id).await? else {
        return Err(message.not_there_yet(format!("commercetools announced payment {id} but does not return it.")));
    };
    let query = Query {
        predicates: vec!["paymentInfo(payments(id=:id))".into()],
        variables: vec![("id".into(), id.clone())],
        limit: 2,
        ..Query::default()
    };
    let orders: Page<Order> = commercetools.query("GET /orders", &query).await?;
    let Some(order) = orders.results.into_iter().next() else {
        return skip(Skip::Ignored, format!("Payment {id} belongs to no order (yet)."));
    };
    let pair = Pair::load(&mut app.store().read().await?, message.connection(), &order.id).await?;
    if pair.is_none_or(|pair| pair.mapping.fluent_id.is_none()) {
        // An order that is not for us never arrives.
        in_scope(&app, connection, &order).await?;
        return Err(Failure::Waiting {
            key: format!("order:{}", order.id),
            sentence: format!("Waiting for order {} to reach Fluent.", label(&order)),
        });
    }
    let due = due_of(&app, &message, connection, &[&read]).await?;
    if due.is_empty() {
        message.unchanged();
        return Ok(());
    }
    message.tell(format!("{} transactions of order {} go to Fluent", due.len(), label(&order)));
    message.then(due.into_iter().map(|(payment, transaction)| {
        let create = message.next("fluent.create-financial-transaction", transaction);
        create.subject(format!("order:{}", order.id)).payload(json!({"id": order.id, "payment": payment}))
    }));
    Ok(())
}

/// Transactions of an order that Fluent lacks as far as we know: payment and transaction.
///
/// # Errors
/// As the mapping of payments says.
pub async fn due(
    app: &App,
    message: &Message,
    connection: &Connection,
    order: &Order,
) -> Result<Vec<(String, String)>, Failure> {
    let payments = order.payment_info.iter().flat_map(|info| &info.payments);
    let payments: Vec<&Payment> = payments.filter_map(|payment| payment.obj.as_ref()).collect();
    due_of(app, message, connection, &payments).await
}

async fn due_of(
    app: &App,
    message: &Message,
    connection: &Connection,
    payments: &[&Payment],
) -> Result<Vec<(String, String)>, Failure> {
    let ids: Vec<String> = payments.iter().flat_map(|payment| refs(payment)).collect();
    let known = app.store().read().await?.mappings_of(message.connection(), KIND, &ids).await?;
    let known: BTreeSet<String> = known.into_iter().map(|row| row.commercetools_id).collect();
    let mut due = vec![];
    for payment in payments {
        let mut notes = Notes::default();
        let later = payment::later_transactions(payment, &known, "", &connection.config, &mut notes)?;
        due.extend(later.into_iter().map(|input| (payment.id.clone(), input.transaction.reference)));
    }
    Ok(due)
}

fn refs(payment: &Payment) -> Vec<String> {
    payment.transactions.iter().map(|transaction| transaction.id.clone()).collect()
}

/// `fluent.create-financial-transaction`: makes sure that Fluent has the transactions of a payment, each exactly once.
///
/// # Errors
/// Rejected if Fluent has one of them with another amount; waiting until Fluent has the order.
pub async fn send(app: App, message: Message) -> Outcome {
    let connection = connection(&app, &message)?;
    let mut asked: Vec<Due> = vec![];
    for payload in message.payloads() {
        let due: Due = serde_json::from_value(payload.clone())
            .map_err(|error| Failure::rejected(format!("The payload is not readable: {error}")))?;
        if !asked.iter().any(|other| other.payment == due.payment) {
            asked.push(due);
        }
    }
    let mut sent = 0;
    for Due { id, payment } in asked {
        let pair = Pair::load(&mut app.store().read().await?, message.connection(), &id).await?;
        let Some(fluent_id) = pair.and_then(|pair| pair.mapping.fluent_id) else {
            return Err(Failure::Waiting {
                key: format!("order:{id}"),
                sentence: format!("Waiting for order {id} to reach Fluent."),
            });
        };
        sent += complete(&message, connection, &fluent_id, &payment).await?;
    }
    match sent {
        0 => message.unchanged(),
        count => message.tell(format!("{count} transactions were created in Fluent")),
    }
    Ok(())
}

/// Creates what Fluent's order lacks of a payment; answers how many that were.
async fn complete(message: &Message, connection: &Connection, fluent_id: &str, id: &str) -> Result<usize, Failure> {
    let Some(read) = connection.commercetools.on(message.call()).payment::<Payment>(id).await? else {
        return Err(message.not_there_yet(format!("commercetools announced payment {id} but does not return it.")));
    };
    let had = in_fluent(message, connection, fluent_id, &read).await?;
    let mut known: BTreeSet<String> = had.iter().filter_map(|transaction| transaction.reference.clone()).collect();
    for transaction in &had {
        check(transaction, &read, &known, fluent_id, connection)?;
    }
    let mut notes = Notes::default();
    let due = payment::later_transactions(&read, &known, fluent_id, &connection.config, &mut notes)?;
    let count = due.len();
    for input in due {
        create_transaction(message, connection, &input).await?;
        known.insert(input.transaction.reference);
    }
    for sentence in notes.sentences {
        message.note(Note::new("order.mapping", sentence));
    }
    remember(message, connection, known);
    Ok(count)
}

/// Commits with the outcome which transactions Fluent has.
pub fn remember(message: &Message, connection: &Connection, transactions: BTreeSet<String>) {
    let (connection, message_id) = (connection.config.name.clone(), message.id());
    message.with(move |tx| {
        Box::pin(async move {
            for transaction in transactions {
                let mut sent = Mapping::new(&connection, KIND, &transaction);
                sent.fluent_ref = Some(transaction);
                sent.last_message = Some(message_id);
                tx.put_mapping(&sent).await?;
            }
            Ok(())
        })
    });
}

/// The transactions of a payment that Fluent's order has.
async fn in_fluent(
    message: &Message,
    connection: &Connection,
    fluent_id: &str,
    payment: &Payment,
) -> Result<Vec<TransactionState>, Failure> {
    #[derive(Deserialize)]
    struct Answer {
        #[serde(rename = "orderById")]
        order: Option<Transactions>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Transactions {
        financial_transactions: Option<model::Connection<TransactionState>>,
    }
    let fluent = connection.fluent.on(message.call());
    let mut had = vec![];
    for refs in refs(payment).chunks(REFS) {
        let variables = json!({"id": fluent_id, "ref": refs});
        let answer: Answer = fluent.run(&operation::ORDER_TRANSACTIONS, variables).await?;
        let Some(order) = answer.order else {
            return Err(Failure::rejected(format!("Fluent has no ORDER with id {fluent_id} any more.")));
        };
        had.extend(order.financial_transactions.into_iter().flat_map(|found| found.edges).map(|edge| edge.node));
    }
    Ok(had)
}

/// A row of `GET /payments`; the payment is read again by its handler.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    id: String,
    version: i64,
    last_modified_at: String,
    #[serde(default)]
    transactions: Vec<RowTransaction>,
}

#[derive(Debug, Deserialize)]
struct RowTransaction {
    id: String,
    state: String,
}

/// `job.payment-sync`: walks the payments that changed in a frozen window, page by page.
///
/// # Errors
/// A page that cannot be read leaves its window open; the next run goes on behind the last page.
pub async fn sync(app: App, message: Message) -> Outcome {
    let connection = connection(&app, &message)?;
    let commercetools = connection.commercetools.on(message.call());
    let now = walk::now(&commercetools).await?;
    let CommercetoolsPoll { settle, overlap } = connection.config.poll;
    let start = since(&app, connection).await?;
    let window = Window::open(&app, &message, STREAM, now, Pace { settle, overlap }, start).await?;
    let Some(mut window) = window else {
        message.unchanged();
        return Ok(());
    };
    let mut limit = PAGE;
    loop {
        let page: Page<Row> = walk::page(&commercetools, "GET /payments", None, &window, &mut limit).await?;
        let counts =
            |transaction: &&RowTransaction| connection.config.order.transaction_states.contains(&transaction.state);
        let ids: Vec<String> =
            page.results.iter().flat_map(|row| &row.transactions).map(|one| one.id.clone()).collect();
        let known = app.store().read().await?.mappings_of(message.connection(), KIND, &ids).await?;
        let known: BTreeSet<&str> = known.iter().map(|row| row.commercetools_id.as_str()).collect();
        let is_news = |row: &&Row| row.transactions.iter().filter(counts).any(|one| !known.contains(one.id.as_str()));
        let news = page.results.iter().filter(|row| window.is_extra() || is_news(row));
        let news = news.map(|row| found(row, &message, &window)).collect();
        let last = page.results.last().map(|row| (&row.last_modified_at, &row.id));
        let next = walk::after(last, page.results.len(), limit);
        let more = next.is_some();
        window.commit(news, next).await?;
        if !more {
            break;
        }
    }
    if window.found == 0 {
        message.unchanged();
    }
    message.tell(format!("{} payments without a message that reached us", window.found));
    Ok(())
}

fn found(row: &Row, message: &Message, window: &Window<'_>) -> Found {
    let key = window.key(format!("{}#{}", row.id, row.version));
    let draft = message.polled("commercetools.payment-changed", key).subject(format!("payment:{}", row.id));
    let draft = draft.payload(Value::from_iter([("id", row.id.as_str())]));
    // Authorizations that a charge covers are never sent: a row is not news for certain.
    Found { at: clock::parse_rfc3339(&row.last_modified_at).unwrap_or(window.to), draft, counts: false }
}
