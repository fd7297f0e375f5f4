//! Sending: read the Fluent order, take the remembered Order, write the difference, and solve
//! conflicts within one attempt (F 1.7).

use std::collections::BTreeSet;
use std::time::Duration;

use rand::Rng;
use serde::{Deserialize, Serialize};

use super::{Projection, project};
use crate::app::{App, Connection};
use crate::commercetools;
use crate::commercetools::action::Action;
use crate::commercetools::known::{Known, Reference};
use crate::commercetools::remembered::RememberedOrder;
use crate::failure::{Class, Failure, Outcome};
use crate::fluent::model::Order;
use crate::queue::Message;
use crate::remote::{Error, Kind};
use crate::sync::connection;
use crate::sync::order_lookup::{Pair, RememberedAnswer, fluent_order};
use crate::sync::slice::Slice;

/// Payload of `commercetools.update-order`; the slice is in the key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Update {
    pub order_id: String,
    pub fluent_order_id: String,
}

/// Brings one commercetools Order up to date with its Fluent order.
///
/// # Errors
/// By the table of F 1.7.
pub async fn send(app: App, message: Message) -> Outcome {
    let update: Update = message.payload()?;
    let connection = connection(&app, &message)?;
    let slices = Slice::union(message.keys()).map_err(|unknown| Failure::rejected(unknown.to_string()))?;
    let pair = Pair::load(&mut app.store().read().await?, message.connection(), &update.order_id).await?;
    let pair = pair.unwrap_or_else(|| Pair::new(message.connection(), &update.order_id));
    let fluent = source(&message, connection, &slices, &pair, &update).await?;
    let mut round = Round { message: &message, connection, slices, fluent, pair, requests: 0 };
    let written = round.write(&update).await;
    round.remember();
    written
}

/// The header of the Fluent order; one of many in a batch when only the states are asked for.
async fn source(
    message: &Message,
    connection: &Connection,
    slices: &BTreeSet<Slice>,
    pair: &Pair,
    update: &Update,
) -> Result<Order, Failure> {
    if !slices.contains(&Slice::Link)
        && let Some(reference) = &pair.mapping.fluent_ref
        && let Some(header) = connection.fluent.on(message.call()).order_header(reference).await?
        && header.id == update.fluent_order_id
    {
        return Ok(header);
    }
    fluent_order(connection, message, &update.fluent_order_id).await
}

/// One attempt to bring one Order up to date.
struct Round<'a> {
    message: &'a Message,
    connection: &'a Connection,
    slices: BTreeSet<Slice>,
    fluent: Order,
    pair: Pair,
    /// Updates that were sent.
    requests: usize,
}

impl Round<'_> {
    async fn write(&mut self, update: &Update) -> Outcome {
        let remembered = self.pair.remembered().filter(|order| order.id == update.order_id);
        let mut fresh = remembered.is_none();
        let mut order = match remembered {
            Some(order) => order,
            None => self.read(&update.order_id).await?,
        };
        let rounds = self.connection.config.order_update.conflict_rounds.max(1);
        let mut conflicts = 0;
        loop {
            let projection = self.project(&order).await?;
            let error = match self.send(&projection, &mut order).await {
                Ok(()) => return self.finish(projection, order),
                Err(error) => error,
            };
            match error.kind {
                Kind::Temporary(Class::Conflict) if conflicts + 1 < rounds => {
                    conflicts += 1;
                    pause(conflicts).await;
                }
                Kind::Temporary(Class::Conflict) => return Err(self.conflict(&order, conflicts + 1)),
                // What happened is seen by looking; an empty difference says that it was done.
                Kind::Temporary(Class::UnknownOutcome) if conflicts < rounds => conflicts += 1,
                Kind::Refused if error.status == 400 && !fresh => {}
                // Deleted: the look says so in our own words.
                Kind::Refused if error.status == 404 && !fresh => {}
                Kind::Refused if error.status == 400 => return self.each_alone(order, projection, &error).await,
                _ => return Err(error.into()),
            }
            order = self.read(&update.order_id).await?;
            fresh = true;
        }
    }

    async fn read(&self, id: &str) -> Result<RememberedOrder, Failure> {
        let commercetools = self.commercetools();
        match commercetools.order::<RememberedAnswer>(id, &[]).await? {
            Some(answer) => Ok(answer.0),
            None => Err(Failure::rejected(format!(
                "commercetools Order {} no longer exists; Fluent order {} was not transferred.",
                self.pair.mapping.commercetools_key.as_deref().unwrap_or(id),
                self.fluent.label()
            ))),
        }
    }

    async fn project(&self, order: &RememberedOrder) -> Result<Projection, Failure> {
        let known = known(&self.commercetools(), self.connection, order, &self.slices).await?;
        Ok(project(&self.slices, &self.fluent, order, &known, &self.connection.config))
    }

    /// Sends the actions in as many updates as are needed, each with the version of the answer before.
    async fn send(&mut self, projection: &Projection, order: &mut RememberedOrder) -> Result<(), Error> {
        for actions in projection.updates(self.connection.config.order_update.max_actions) {
            self.update(&actions, order).await?;
        }
        Ok(())
    }

    async fn update(&mut self, actions: &[Action], order: &mut RememberedOrder) -> Result<(), Error> {
        let answer: RememberedAnswer = self.commercetools().update_order(&order.id, order.version, &actions).await?;
        self.requests += 1;
        // Nobody else changed it since the order flow read it: then our own change is none for that flow.
        if self.pair.mapping.commercetools_version == order.version {
            self.pair.mapping.commercetools_version = answer.0.version;
        }
        *order = answer.0;
        self.keep(order);
        Ok(())
    }

    /// Something in the update is refused: each slice on its own, so that the good ones go through.
    async fn each_alone(&mut self, mut order: RememberedOrder, projection: Projection, refusal: &Error) -> Outcome {
        let mut refused = Vec::new();
        for slice in [Slice::Link, Slice::Status] {
            let part = projection.only(&slice);
            if part.actions.is_empty() {
                continue;
            }
            match self.send(&part, &mut order).await {
                Ok(()) => {}
                Err(error) if error.status == 400 => refused.push(format!("{slice}: {}", error.sentence)),
                Err(error) => return Err(error.into()),
            }
        }
        match refused.is_empty() {
            true => self.finish(projection, order),
            false => Err(Failure::rejected(format!("{} ({})", refusal.sentence, refused.join("; ")))),
        }
    }

    fn finish(&mut self, projection: Projection, order: RememberedOrder) -> Outcome {
        self.keep(&order);
        for note in projection.notes {
            self.message.note(note);
        }
        if let Some(rejected) = projection.rejected.into_iter().next() {
            return Err(rejected.refusal.failure);
        }
        self.pair.extra.fluent_updated_on = self.fluent.updated_on.clone();
        self.pair.extra.fluent_status = self.fluent.status.clone();
        let status = self.fluent.status.as_deref().unwrap_or("without status");
        match self.requests {
            0 => self.message.unchanged(),
            _ => self.message.tell(format!(
                "order {} follows Fluent order {}, {status}: {}",
                order.label(),
                self.fluent.label(),
                states(&order)
            )),
        }
        Ok(())
    }

    fn keep(&mut self, order: &RememberedOrder) {
        self.pair.mapping.commercetools_key = order.order_number.clone();
        self.pair.mapping.remembered = serde_json::to_value(order).ok().map(crate::store::Json);
    }

    /// Commits what the Order looks like now with the outcome, whatever it is.
    fn remember(mut self) {
        let mapping = &mut self.pair.mapping;
        mapping.fluent_id = Some(self.fluent.id.clone());
        mapping.fluent_ref = mapping.fluent_ref.take().or_else(|| self.fluent.reference.clone());
        let row = self.pair.row(self.message);
        self.message.with(move |tx| Box::pin(async move { tx.put_mapping(&row).await }));
    }

    fn conflict(&self, order: &RememberedOrder, times: u32) -> Failure {
        let sentence = format!("Order {} was changed by others {times} times while we tried.", order.label());
        Failure::retry(Class::Conflict, sentence)
    }

    fn commercetools(&self) -> commercetools::Client {
        self.connection.commercetools.on(self.message.call())
    }
}

/// The definitions this projection may meet.
async fn known(
    client: &commercetools::Client,
    connection: &Connection,
    order: &RememberedOrder,
    slices: &BTreeSet<Slice>,
) -> Result<Known, Failure> {
    let (config, mut known) = (&connection.config, Known::default());
    if slices.contains(&Slice::Link) {
        known.channels.extend(client.channel_by_key(&config.order_link.channel).await?);
        if config.order_link.custom_fields {
            known.types.extend(client.type_by_key(&config.custom_types.order.key).await?);
            if let Some(Reference { id: Some(id), .. }) = order.custom.as_ref().map(|custom| &custom.kind)
                && known.types.iter().all(|known| known.id != *id)
            {
                known.types.extend(client.type_by_id(id).await?);
            }
        }
    }
    if config.order_status.workflow_state.enabled {
        known.states = client.order_states().await?;
    }
    Ok(known)
}

fn states(order: &RememberedOrder) -> String {
    let shipment = order.shipment_state.as_deref().unwrap_or("no shipment state");
    format!("{}, {shipment}", order.order_state)
}

/// Full jitter, 50 ms · 2^n, at most 2 s.
async fn pause(conflicts: u32) {
    let most = (50_u64 << conflicts.min(6)).min(2000);
    let pause = Duration::from_millis(rand::rng().random_range(0..=most));
    #[expect(clippy::disallowed_methods, reason = "getting out of another writer's way is real time, also in a story")]
    tokio::time::sleep(pause).await;
}
