//! Creating an order in Fluent: made sure of, step by step (C 5).
//!
//! Each step looks whether it already happened: the customer, the products, the order itself, its
//! transactions. A crash between two steps costs a look, never a second order.

use std::time::Duration;

use futures_util::future::try_join_all;
use serde::Deserialize;
use serde_json::json;

use super::told::Told;
use super::{Mapped, adopt, from_line, inbox, label, references, to_fluent, to_fluent_as, transaction};
use crate::app::{App, Connection};
use crate::clock::{self, Millis};
use crate::commercetools::model::Order;
use crate::config::model::{BackfillMode, MissingProduct};
use crate::failure::{Class, Failure, Outcome, Skip, reject, skip};
use crate::fluent::input::CreateOrderInput;
use crate::fluent::operation;
use crate::queue::{Message, Note};
use crate::remote::Error;
use crate::sync::attribute::{self, own};
use crate::sync::connection;
use crate::sync::customer;
use crate::sync::order_lookup::Pair;
use crate::sync::order_update::Update;
use crate::sync::text::Notes;

/// Stored name of the moment from which orders are taken (C 5.1).
pub const SINCE: &str = "order.since";

/// What an order needs to be read whole.
const EXPAND: &[&str] =
    &["paymentInfo.payments[*]", "shippingInfo.shippingMethod", "shipping[*].shippingInfo.shippingMethod"];
/// What is expanded only where configuration asks for it.
const STATE: &str = "state";
const SUPPLY_CHANNEL: &str = "lineItems[*].supplyChannel";

/// After an unknown outcome: pauses between the looks before a second create (C 5.3). A write may
/// become visible late.
const LOOKS: [Duration; 3] = [Duration::from_secs(2), Duration::from_secs(10), Duration::from_secs(30)];

#[derive(Debug, Deserialize)]
struct Notice {
    id: String,
    /// It comes from a back-fill.
    backfill: Option<BackfillMode>,
}

#[derive(Debug, Deserialize)]
struct Created {
    #[serde(rename = "createOrder")]
    order: crate::fluent::model::Created,
}

/// `fluent.create-order`: makes sure that the order exists in Fluent, exactly once.
///
/// # Errors
/// Rejected with the sentences of C 5.7.
pub async fn send(app: App, message: Message) -> Outcome {
    let Notice { id, backfill } = message.payload()?;
    let connection = connection(&app, &message)?;
    let pair = Pair::load(&mut app.store().read().await?, message.connection(), &id).await?;
    if pair.as_ref().is_some_and(|pair| pair.mapping.fluent_id.is_some()) {
        message.unchanged();
        return Ok(());
    }
    let Some(order) = read(&message, connection, &id).await? else {
        return Err(inbox::missing(&app, &message, pair.as_ref(), &id).await?);
    };
    // Once a create may have been sent, whether the order is in Fluent comes first.
    if pair.as_ref().is_none_or(|pair| pair.mapping.fluent_ref.is_none()) {
        if is_cancelled(&order, &connection.config) {
            return Err(inbox::never_sent(&message, &order, pair));
        }
        if backfill.is_none() {
            in_scope(&app, connection, &order).await?;
        }
    }
    let step = Step { app: &app, message: &message, connection, order: &order, backfill };
    step.run(pair).await
}

/// Reads the order as it is now, at least as new as it was announced; `None` = commercetools does not have it.
///
/// # Errors
/// As the client says.
pub async fn read(message: &Message, connection: &Connection, id: &str) -> Result<Option<Order>, Failure> {
    let commercetools = connection.commercetools.on(message.call());
    match commercetools.order::<Order>(id, &expanded(connection)).await? {
        Some(order) if order.version < message.at_least() => {
            let sentence = format!("commercetools returns an older version of order {} than announced.", label(&order));
            Err(Failure::retry(Class::Stale, sentence))
        }
        Some(mut order) => {
            read_payments(message, connection, &mut order).await?;
            Ok(Some(order))
        }
        None => Ok(None),
    }
}

/// The references to follow: each costs a lookup on the platform's side, and may need a scope.
fn expanded(connection: &Connection) -> Vec<&'static str> {
    let config = &connection.config;
    let by_state = !config.order.hold_until_states.is_empty() || !config.order_cancel.state_keys.is_empty();
    let state = by_state.then_some(STATE);
    let channel = config.order.pickup.from_supply_channel.then_some(SUPPLY_CHANNEL);
    EXPAND.iter().copied().chain(state).chain(channel).collect()
}

/// Where a payment was not expanded, the reason shows when it is read by itself: a scope that lacks
/// must not cost the order its payment. One that no longer exists stays away.
async fn read_payments(message: &Message, connection: &Connection, order: &mut Order) -> Outcome {
    let commercetools = connection.commercetools.on(message.call());
    let payments = order.payment_info.iter_mut().flat_map(|info| &mut info.payments);
    for payment in payments.filter(|payment| payment.obj.is_none()) {
        if let Some(id) = &payment.id {
            payment.obj = commercetools.payment(id).await?;
        }
    }
    Ok(())
}

/// Is the order cancelled: by its state, or by a workflow state that says so?
pub fn is_cancelled(order: &Order, config: &crate::config::model::Connection) -> bool {
    let keys = &config.order_cancel.state_keys;
    order.order_state.as_deref() == Some("Cancelled")
        || state_key(order).is_some_and(|key| keys.iter().any(|cancelled| cancelled == key))
}

/// Is this order for us, and ready to go?
///
/// # Errors
/// Skipped if it is not, waiting if it is held.
pub async fn in_scope(app: &App, connection: &Connection, order: &Order) -> Outcome {
    let (config, name) = (&connection.config.order, label(order));
    let store = order.store.as_ref().map_or("", |store| store.key.as_str());
    let stores = &connection.config.stores;
    if !stores.is_empty() && !stores.iter().any(|key| key == store) {
        return skip(Skip::Ignored, format!("Order {name} belongs to another store."));
    }
    let since = since(app, connection).await?;
    let created = order.created_at.as_deref().and_then(clock::parse_rfc3339);
    if let (Some(since), Some(created)) = (since, created)
        && created < since
    {
        let since = clock::rfc3339(since);
        return skip(Skip::Ignored, format!("Order {name} is older than {since}, from which on orders are taken."));
    }
    let state = order.order_state.as_deref().unwrap_or("Open");
    if !config.states.iter().any(|taken| taken == state) {
        return skip(Skip::Ignored, format!("Order {name} is {state}; orders in that state are not taken."));
    }
    let paid = order.payment_state.as_deref().unwrap_or_default();
    let hold = &config.hold_until_payment_state;
    if !hold.is_empty() && !hold.iter().any(|state| state == paid) {
        return Err(Failure::Waiting {
            key: format!("payment-state:{}", order.id),
            sentence: format!("Order {name} waits until its payment state is {}.", hold.join(" or ")),
        });
    }
    let states = &config.hold_until_states;
    if !states.is_empty() && !state_key(order).is_some_and(|key| states.iter().any(|state| state == key)) {
        return Err(Failure::Waiting {
            key: format!("state:{}", order.id),
            sentence: format!("Order {name} waits until its state is {}.", states.join(" or ")),
        });
    }
    Ok(())
}

/// Key of the workflow state, where it was expanded.
fn state_key(order: &Order) -> Option<&str> {
    order.state.as_ref()?.obj.as_ref()?.key.as_deref()
}

/// From when on orders are taken: configured, else since this connection first started.
///
/// # Errors
/// When the database fails.
pub async fn since(app: &App, connection: &Connection) -> Result<Option<Millis>, Failure> {
    let since = match &connection.config.order.since {
        Some(since) => Some(since.clone()),
        None => app.store().read().await?.setting(&connection.config.name, SINCE).await?,
    };
    Ok(since.as_deref().and_then(clock::parse_rfc3339))
}

struct Step<'a> {
    app: &'a App,
    message: &'a Message,
    connection: &'a Connection,
    order: &'a Order,
    backfill: Option<BackfillMode>,
}

impl Step<'_> {
    async fn run(&self, pair: Option<Pair>) -> Outcome {
        let config = &self.connection.config;
        let first = pair.as_ref().is_none_or(|pair| pair.mapping.fluent_ref.is_none());
        let mut pair = pair.unwrap_or_else(|| Pair::new(&config.name, &self.order.id));
        // What cannot be mapped is found before anything is created for it.
        let mut mapped = match &pair.mapping.fluent_ref {
            Some(name) => to_fluent_as(self.order, name, "", config)?,
            None => to_fluent(self.order, "", config)?,
        };
        let name = mapped.input.reference.clone();
        self.note(&mapped.notes);
        let names = if first { references(self.order, &mapped.input.kind, config) } else { vec![name.clone()] };
        if let Some(existing) = adopt::find(self.message, self.connection, &names, self.order, &mapped.input).await? {
            return self.adopt(pair, existing, &mapped).await;
        }
        self.wait_for_late_writes(&pair)?;
        if !first {
            if is_cancelled(self.order, config) {
                return Err(inbox::never_sent(self.message, self.order, Some(pair)));
            }
            if self.backfill.is_none() {
                in_scope(self.app, self.connection, self.order).await?;
            }
        }
        if self.backfill == Some(BackfillMode::AdoptOnly) {
            let sentence = format!("Order {} is not in Fluent; back-fill only adopts.", label(self.order));
            return skip(Skip::Ignored, sentence);
        }
        self.remember_reference(&mut pair, &name, &mapped).await?;
        mapped.input.customer.id = self.customer().await?;
        self.products(&mapped).await?;
        if self.backfill.is_some() {
            mapped.input.attributes.push(attribute::typed(own(config, "Backfilled"), "BOOLEAN", true));
        }
        let fluent = self.connection.fluent.on(self.message.call());
        let created: Result<Created, Error> = fluent.run(&operation::CREATE_ORDER, json_input(&mapped.input)).await;
        match created {
            Ok(created) => {
                let sent: Vec<_> = mapped
                    .input
                    .financial_transactions
                    .iter()
                    .map(|transaction| transaction.reference.clone())
                    .collect();
                self.done(pair, &created.order.id, &name, sent);
                Ok(())
            }
            // Somebody was faster, or our own earlier try became visible.
            Err(error) if matches!(error.code.as_str(), "C0121E" | "C0123E") => {
                let names = [name];
                match adopt::find(self.message, self.connection, &names, self.order, &mapped.input).await? {
                    Some(existing) => self.adopt(pair, existing, &mapped).await,
                    // It may not be visible yet; after several looks in a row it is something else.
                    None if error.code == "C0123E" && self.looked_before() => reject(taken(&mapped.input, &error)),
                    None => Err(Failure::retry(Class::Stale, error.sentence)),
                }
            }
            Err(error) if error.outcome_unknown() => Err(self.unknown(pair, error.sentence)),
            Err(error) => Err(error.into()),
        }
    }

    /// Did the last of several tries end with an order that does not show, too? Tries that failed for
    /// other reasons say nothing of what Fluent has.
    fn looked_before(&self) -> bool {
        self.message.attempt() > LOOKS.len() as i64 && self.message.last_failure() == Some(Class::Stale)
    }

    async fn customer(&self) -> Result<String, Failure> {
        let waits = |sentence| format!("Order {} waits for its customer; {sentence}", label(self.order));
        match customer::ensure(self.app, self.message, self.connection, self.order).await {
            Err(Failure::Retry { class, sentence, after }) => {
                Err(Failure::Retry { class, sentence: waits(sentence), after })
            }
            ensured => ensured,
        }
    }

    /// Remembers that the order may appear. The first time three looks follow; a create that keeps
    /// failing goes by the schedule, but never before the last look would have come.
    fn unknown(&self, mut pair: Pair, sentence: String) -> Failure {
        let again = pair.extra.unknown_since.replace(self.app.clock().now()).is_some();
        let row = pair.row(self.message);
        self.message.with(move |tx| Box::pin(async move { tx.put_mapping(&row).await }));
        let class = Class::UnknownOutcome;
        match again {
            false => Failure::Again { class, sentence, after: LOOKS[0] },
            true => Failure::Retry { class, sentence, after: Some(LOOKS.iter().sum()) },
        }
    }

    /// After an unknown outcome a second create has to wait until the first can no longer appear.
    fn wait_for_late_writes(&self, pair: &Pair) -> Outcome {
        let Some(since) = pair.extra.unknown_since else { return Ok(()) };
        let waited = Duration::from_millis((self.app.clock().now() - since).max(0) as u64);
        let mut looked = Duration::ZERO;
        for look in LOOKS {
            looked += look;
            if waited < looked {
                return Err(Failure::Again {
                    class: Class::UnknownOutcome,
                    sentence: format!("Order {} may still appear in Fluent; looking again.", label(self.order)),
                    after: looked - waited,
                });
            }
        }
        Ok(())
    }

    /// A ref is stored before the first call and never recomputed (D-1); so is what that call tells.
    async fn remember_reference(&self, pair: &mut Pair, reference: &str, mapped: &Mapped) -> Outcome {
        let told = Some(Told::of(&mapped.input)?);
        if pair.mapping.fluent_ref.is_some() && pair.extra.told == told {
            return Ok(());
        }
        pair.mapping.fluent_ref = Some(reference.to_owned());
        pair.mapping.commercetools_key = self.order.order_number.clone();
        pair.mapping.commercetools_version = self.order.version;
        pair.mapping.state = "absent".into();
        pair.extra.kind = Some(mapped.input.kind.clone());
        pair.extra.told = told;
        pair.extra.cancelled_before_send = false;
        let row = pair.row(self.message);
        let write = self
            .app
            .store()
            .write(crate::store::Urgency::Urgent, move |tx| Box::pin(async move { tx.put_mapping(&row).await }));
        Ok(write.await?)
    }

    /// Creates what Fluent lacks, waits for it, or refuses, as configured.
    async fn products(&self, mapped: &Mapped) -> Outcome {
        let fluent = self.connection.fluent.on(self.message.call());
        // All at once, so that they become one look-up.
        let known = try_join_all(mapped.skus.iter().map(|sku| fluent.variant_exists(sku))).await?;
        for (sku, _) in mapped.skus.iter().zip(known).filter(|(_, known)| !known) {
            let line = self.order.line_items.iter().find(|line| line.variant.sku.as_ref() == Some(sku));
            match (self.connection.config.order.missing_product, line) {
                (MissingProduct::Create, Some(line)) => {
                    let mut notes = Notes::default();
                    let (standard, variant) = from_line::products(line, &self.connection.config, &mut notes)?;
                    self.note(&notes);
                    exists(fluent.run(&operation::CREATE_STANDARD_PRODUCT, json_input(&standard)).await)?;
                    exists(fluent.run(&operation::CREATE_VARIANT_PRODUCT, json_input(&variant)).await)?;
                    self.message.note(Note::new(
                        "order.product_created",
                        format!("SKU {sku} was unknown to Fluent and was created from order {}.", label(self.order)),
                    ));
                }
                (MissingProduct::Wait, _) => {
                    return Err(Failure::Waiting {
                        key: format!("variant:{sku}"),
                        sentence: format!("Order {} waits for SKU {sku}.", label(self.order)),
                    });
                }
                _ => return Err(Failure::rejected(format!("SKU {sku} is unknown to Fluent."))),
            }
        }
        Ok(())
    }

    /// Takes over an order that is in Fluent already, and adds the transactions it lacks. What it was told is what an
    /// earlier try of ours told, else what would be told now.
    async fn adopt(&self, mut pair: Pair, existing: adopt::Existing, mapped: &Mapped) -> Outcome {
        let sent = adopt::add_transactions(self.message, self.connection, self.order, &existing).await?;
        let now = Told::of(&mapped.input)?;
        let before = pair.extra.told.get_or_insert_with(|| now.clone());
        if !now.news(before).is_empty() {
            let changed = self.message.next("commercetools.order-changed", format!("{}@adopted", self.message.key()));
            let changed = changed.subject(format!("order:{}", self.order.id));
            self.message.then([changed.payload(json!({"id": self.order.id}))]);
        }
        pair.extra.kind = Some(existing.kind.clone());
        pair.extra.items = existing.item_ids();
        pair.extra.choices = existing.choice_ids();
        self.done(pair, &existing.id, &existing.reference, sent.into_iter().collect());
        self.message.adopted();
        Ok(())
    }

    /// Commits with the outcome: the pair, its transactions, and the message that links back.
    fn done(&self, mut pair: Pair, fluent_id: &str, reference: &str, transactions: Vec<String>) {
        pair.mapping.fluent_id = Some(fluent_id.to_owned());
        pair.mapping.fluent_ref = Some(reference.to_owned());
        pair.mapping.commercetools_key = self.order.order_number.clone();
        pair.mapping.commercetools_version = self.order.version;
        pair.mapping.state = "active".into();
        pair.extra.unknown_since = None;
        let row = pair.row(self.message);
        self.message.with(move |tx| Box::pin(async move { tx.put_mapping(&row).await }));
        transaction::remember(self.message, self.connection, transactions.into_iter().collect());
        if is_cancelled(self.order, &self.connection.config) && self.connection.config.order_cancel.enabled {
            let cancel = self.message.next("fluent.cancel-order", format!("{}#cancel", self.order.id));
            let cancel = cancel.subject(format!("order:{}", self.order.id));
            self.message.then([cancel.payload(json!({"id": self.order.id}))]);
        }
        if self.connection.config.order_link.enabled {
            let update = Update { order_id: self.order.id.clone(), fluent_order_id: fluent_id.to_owned() };
            let link = self.message.next("commercetools.update-order", format!("link@{}", self.message.key()));
            self.message.then([link.subject(format!("order:{}", self.order.id)).payload(json!(update))]);
        }
        self.message.tell(format!("order {} is {reference} in Fluent", label(self.order)));
    }

    fn note(&self, notes: &Notes) {
        for (field, count) in &notes.cuts {
            let sentence = format!("{count} values of {field} were longer than Fluent allows and were cut.");
            self.message.note(Note::new("text.cut", sentence));
        }
        for sentence in &notes.sentences {
            self.message.note(Note::new("order.mapping", sentence.clone()));
        }
    }
}

/// `{"input": …}`
pub(super) fn json_input<T: serde::Serialize>(input: &T) -> Input<'_, T> {
    Input { input }
}

/// The variables of every mutation.
#[derive(serde::Serialize)]
pub(super) struct Input<'a, T> {
    input: &'a T,
}

/// Fluent says that something exists already, and it is not the order.
fn taken(input: &CreateOrderInput, error: &Error) -> String {
    let transactions = input.financial_transactions.iter().map(|transaction| transaction.reference.as_str());
    let transactions: Vec<&str> = transactions.collect();
    format!(
        "Fluent has no order {}, and yet refuses to create it because something of it exists already: {} Look in Fluent \
         for financial transactions of another order with the refs {}; remove them there, then retry.",
        input.reference,
        error.sentence,
        transactions.join(", ")
    )
}

/// It is there, whoever created it.
fn exists(created: Result<serde_json::Value, Error>) -> Outcome {
    match created {
        Ok(_) => Ok(()),
        Err(error) if error.code == "C0123E" => Ok(()),
        Err(error) => Err(error.into()),
    }
}
