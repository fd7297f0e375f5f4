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
use crate::commercetools::remembered::{Custom, RememberedOrder};
use crate::config::model::CustomType;
use crate::failure::{Class, Failure, Outcome, Skip};
use crate::queue::Message;
use crate::remote::{Error, Kind};
use crate::sync::order_lookup::{self, Pair, RememberedAnswer};
use crate::sync::slice::Slice;
use crate::sync::source::Source;
use crate::sync::twin::Transferred;
use crate::sync::{connection, consignment, fulfilment, heard, returns};

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
    let source = Source::read(&message, connection, &slices, &pair, &update).await?;
    let mut round = Round { app: &app, message: &message, connection, slices, source, pair, requests: 0 };
    let written = round.write(&update).await;
    round.remember();
    written
}

/// One attempt to bring one Order up to date.
struct Round<'a> {
    app: &'a App,
    message: &'a Message,
    connection: &'a Connection,
    slices: BTreeSet<Slice>,
    source: Source,
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
            None => match self.read(&update.order_id).await? {
                Some(order) => order,
                None => return self.gone(update).await,
            },
        };
        let rounds = self.connection.config.order_update.conflict_rounds.max(1);
        let (mut conflicts, mut unfinished) = (0, 0);
        loop {
            let projection = self.project(&order).await?;
            let error = match self.send(&projection, &mut order).await {
                // What was left out is computed from what the Order is like now.
                Ok(()) if projection.is_unfinished && unfinished < self.slices.len() => {
                    unfinished += 1;
                    continue;
                }
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
                Kind::Refused if error.status == 404 => return self.gone(update).await,
                Kind::Refused if error.status == 400 => return self.each_alone(order, projection, &error).await,
                _ => return Err(error.into()),
            }
            order = match self.read(&update.order_id).await? {
                Some(order) => order,
                None => return self.gone(update).await,
            };
            fresh = true;
        }
    }

    /// The Order was deleted: the pair is forgotten and the Order looked up once more (F 1.7). The
    /// work goes to whichever is found; without one nothing can be written any more.
    async fn gone(&mut self, update: &Update) -> Outcome {
        let number = self.pair.mapping.commercetools_key.clone();
        let reference = self.source.order.label().to_owned();
        self.pair = Pair::new(self.message.connection(), &update.order_id);
        self.pair.mapping.state = "absent".into();
        // First of all effects: a ref can belong to one pair only.
        let forgotten = self.pair.row(self.message);
        self.message.with(move |tx| Box::pin(async move { tx.put_mapping(&forgotten).await }));
        let found = order_lookup::candidate(self.message, self.connection, &update.fluent_order_id).await?;
        let Some(found) = found.filter(|found| found.order.id != update.order_id) else {
            return Err(Failure::rejected(format!(
                "commercetools Order {} no longer exists; Fluent order {reference} was not transferred.",
                number.as_deref().unwrap_or(&update.order_id)
            )));
        };
        order_lookup::link(self.app, self.message, &found).await?;
        let next = Update { order_id: found.order.id.clone(), fluent_order_id: update.fluent_order_id.clone() };
        let slices = self.slices.iter().map(ToString::to_string);
        let link = (found.unlinked && self.connection.config.order_link.enabled).then(|| "link".to_owned());
        let slices: BTreeSet<String> = slices.chain(link).collect();
        self.message.then(slices.into_iter().map(|slice| heard::update_order(self.message, slice, &next)));
        let sentence = format!("Fluent order {reference} is commercetools order {} now.", found.order.label());
        Err(Failure::Skipped { reason: Skip::Superseded, sentence })
    }

    async fn read(&self, id: &str) -> Result<Option<RememberedOrder>, Failure> {
        let answer = self.commercetools().order::<RememberedAnswer>(id, &[]).await?;
        Ok(answer.map(|answer| answer.0))
    }

    async fn project(&self, order: &RememberedOrder) -> Result<Projection, Failure> {
        let known = known(&self.commercetools(), self.connection, order, &self.slices).await?;
        Ok(project(&self.slices, &self.source, order, &known, &self.connection.config))
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
        for slice in projection.slices() {
            let part = projection.only(&slice);
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
        self.transferred(&order);
        let fluent = &self.source.order;
        let status = fluent.status.as_deref().unwrap_or("without status");
        match self.requests {
            0 => self.message.unchanged(),
            _ => self.message.tell(format!(
                "order {} follows Fluent order {}, {status}: {}",
                order.label(),
                fluent.label(),
                states(&order)
            )),
        }
        Ok(())
    }

    /// Remembers which state of everything that was read is in the Order now.
    fn transferred(&mut self, order: &RememberedOrder) {
        let source = &self.source;
        let extra = &mut self.pair.extra;
        extra.fluent_updated_on = source.order.updated_on.clone();
        extra.fluent_status = source.order.status.clone();
        let mut rows = Vec::new();
        let mut row = |kind: &str, id: &str, updated_on: &Option<String>, status: &Option<String>| {
            let transferred = Transferred { updated_on: updated_on.clone(), status: status.clone() };
            rows.push(transferred.row(self.message, kind, &order.id, id));
        };
        if self.slices.contains(&Slice::Fulfilment) {
            extra.fulfilments = source.order.fulfilments().count();
            for one in source.order.fulfilments() {
                row(fulfilment::KIND, &one.id, &one.updated_on, &one.status);
            }
        }
        for one in &source.consignments {
            let known = consignment::remembered(one, source, order, &self.connection.config);
            extra.consignments.insert(one.id.clone(), known);
            row(consignment::KIND, &one.id, &one.updated_on, &one.status);
            let others = one.orders().into_iter().filter(|id| *id != source.order.id);
            self.message.then(others.map(|id| consignment::for_order(self.message, one, id)));
        }
        for one in &source.returns {
            row(returns::KIND, &one.id, &one.updated_on, &one.status);
        }
        self.message.with(move |tx| {
            Box::pin(async move {
                for row in &rows {
                    tx.put_mapping(row).await?;
                }
                Ok(())
            })
        });
    }

    fn keep(&mut self, order: &RememberedOrder) {
        self.pair.mapping.commercetools_key = order.order_number.clone();
        self.pair.mapping.remembered = serde_json::to_value(order).ok().map(crate::store::Json);
    }

    /// Commits what the Order looks like now with the outcome, whatever it is.
    fn remember(mut self) {
        let (mapping, fluent) = (&mut self.pair.mapping, &self.source.order);
        if mapping.state != "absent" {
            mapping.fluent_id = Some(fluent.id.clone());
            mapping.fluent_ref = mapping.fluent_ref.take().or_else(|| fluent.reference.clone());
        }
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
    let types = &config.custom_types;
    let mut met: Vec<(&CustomType, Vec<Option<&Custom>>)> = Vec::new();
    if slices.contains(&Slice::Link) {
        known.channels.extend(client.channel_by_key(&config.order_link.channel).await?);
        if config.order_link.custom_fields {
            met.push((&types.order, vec![order.custom.as_ref()]));
        }
    }
    if slices.contains(&Slice::Fulfilment) {
        met.push((&types.line_item, order.line_items.iter().map(|line| line.custom.as_ref()).collect()));
        if config.fulfilment.line_item_states.enabled {
            known.states = client.line_item_states().await?;
        }
    }
    if slices.iter().any(|slice| matches!(slice, Slice::Consignment(_))) {
        met.push((&types.delivery, order.deliveries().map(|delivery| delivery.custom.as_ref()).collect()));
        let parcels = order.deliveries().flat_map(|delivery| &delivery.parcels);
        met.push((&types.parcel, parcels.map(|parcel| parcel.custom.as_ref()).collect()));
    }
    for (ours, found) in met {
        known.types.extend(client.type_by_key(&ours.key).await?);
        for custom in found.into_iter().flatten() {
            if let Reference { id: Some(id), .. } = &custom.kind
                && known.types.iter().all(|known| known.id != *id)
            {
                known.types.extend(client.type_by_id(id).await?);
            }
        }
    }
    if config.order_status.workflow_state.enabled {
        known.states.extend(client.order_states().await?);
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
