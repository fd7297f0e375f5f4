//! What an order update is made from: the Fluent order and whatever its slices need beside it, each
//! read once (F 1.7, step 1).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::heard;
use super::order_lookup::{Pair, fluent_order};
use super::order_update::Update;
use super::slice::Slice;
use crate::app::Connection;
use crate::failure::Failure;
use crate::fluent::Client;
use crate::fluent::fulfilment::{Article, Consignment, FulfilmentItem, ReturnOrder};
use crate::fluent::model::Order;
use crate::queue::Message;

/// Everything a projection reads in Fluent.
#[derive(Clone, Debug)]
pub struct Source {
    /// With fulfilments only if they were needed.
    pub order: Order,
    pub consignments: Vec<Consignment>,
    pub returns: Vec<ReturnOrder>,
    /// Names of locations by ref.
    pub location_names: BTreeMap<String, String>,
    /// Items of the fulfilments whose articles name none, by fulfilment id.
    pub packed: BTreeMap<String, Vec<FulfilmentItem>>,
    /// Consignments of the order that were read before, by id.
    pub known: BTreeMap<String, KnownConsignment>,
    /// Slices whose source is not there (yet).
    pub absent: Vec<(Slice, Failure)>,
}

/// What is remembered of a consignment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KnownConsignment {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Id of its Delivery.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery: Option<String>,
    /// The fulfilments its articles were packed for.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub fulfilments: BTreeSet<String>,
    /// Some of its articles name no items; a fulfilment has to tell what is in them.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub itemless: bool,
    /// A fulfilment did tell: its units were written into the Delivery.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub borrowed: bool,
}

impl KnownConsignment {
    /// What will be remembered of a consignment for an order.
    pub fn new(consignment: &Consignment, order: &str) -> Self {
        let articles: Vec<&Article> = of_order(consignment, order).collect();
        let fulfilments = articles.iter().flat_map(|article| article.fulfilments());
        Self {
            status: consignment.status.clone(),
            delivery: None,
            fulfilments: fulfilments.map(|fulfilment| fulfilment.id.clone()).collect(),
            itemless: articles.iter().any(|article| article.items().next().is_none()),
            borrowed: false,
        }
    }
}

/// The articles of a consignment that belong to an order. One that leads nowhere belongs to whoever
/// asks.
pub fn of_order<'a>(consignment: &'a Consignment, order: &str) -> impl Iterator<Item = &'a Article> {
    consignment
        .articles()
        .filter(move |article| article.orders().next().is_none() || article.orders().any(|id| id == order))
}

impl Source {
    /// A source with nothing but the order.
    pub fn new(order: Order) -> Self {
        Self {
            order,
            consignments: Vec::new(),
            returns: Vec::new(),
            location_names: BTreeMap::new(),
            packed: BTreeMap::new(),
            known: BTreeMap::new(),
            absent: Vec::new(),
        }
    }

    /// Reads what the slices need.
    ///
    /// # Errors
    /// When a read fails. What does not exist (yet) refuses its own slice only.
    pub async fn read(
        message: &Message,
        connection: &Connection,
        slices: &BTreeSet<Slice>,
        pair: &Pair,
        update: &Update,
    ) -> Result<Self, Failure> {
        let fluent = connection.fluent.on(message.call());
        let mut source = Self::new(order(message, connection, slices, pair, update).await?);
        source.known = pair.extra.consignments.clone();
        source.name_locations(&fluent, connection).await?;
        for slice in slices {
            match slice {
                Slice::Consignment(id) => source.read_consignment(&fluent, message, slice, id).await?,
                Slice::Return(reference) => match fluent.return_order(reference).await? {
                    Some(found) => source.returns.push(found),
                    None => source.absent.push((slice.clone(), heard::not_found(message, "RETURN_ORDER", reference))),
                },
                Slice::Link | Slice::Status | Slice::Fulfilment => {}
            }
        }
        source.read_siblings(&fluent).await?;
        source.read_packed(&fluent).await?;
        Ok(source)
    }

    async fn name_locations(&mut self, fluent: &Client, connection: &Connection) -> Result<(), Failure> {
        let config = &connection.config.fulfilment;
        if !(config.enabled && config.metadata && config.location_names) {
            return Ok(());
        }
        let refs =
            self.order.fulfilments().filter_map(|fulfilment| fulfilment.from_location.as_ref()?.reference.clone());
        let refs: BTreeSet<String> = refs.filter(|reference| !reference.trim().is_empty()).collect();
        let refs: Vec<String> = refs.into_iter().collect();
        self.location_names = fluent.location_names(&refs).await?;
        Ok(())
    }

    async fn read_consignment(
        &mut self,
        fluent: &Client,
        message: &Message,
        slice: &Slice,
        id: &str,
    ) -> Result<(), Failure> {
        match fluent.consignment(id).await? {
            Some(consignment) => self.consignments.push(consignment),
            None => self.absent.push((slice.clone(), heard::not_found(message, "CONSIGNMENT", id))),
        }
        Ok(())
    }

    /// Consignments that share a fulfilment decide together whose articles its units are in: if one
    /// of them has articles without items, all are looked at.
    async fn read_siblings(&mut self, fluent: &Client) -> Result<(), Failure> {
        let order = &self.order.id;
        let read: Vec<KnownConsignment> =
            self.consignments.iter().map(|consignment| KnownConsignment::new(consignment, order)).collect();
        let is_sibling = |id: &String, known: &KnownConsignment| {
            self.consignments.iter().all(|consignment| consignment.id != *id)
                && read
                    .iter()
                    .any(|one| (one.itemless || known.itemless) && !one.fulfilments.is_disjoint(&known.fulfilments))
        };
        let siblings: Vec<String> =
            self.known.iter().filter(|(id, known)| is_sibling(id, known)).map(|(id, _)| id.clone()).collect();
        for id in siblings {
            self.consignments.extend(fluent.consignment(&id).await?);
        }
        Ok(())
    }

    /// The items of fulfilments whose articles name none.
    async fn read_packed(&mut self, fluent: &Client) -> Result<(), Failure> {
        let itemless = self.consignments.iter().flat_map(|consignment| of_order(consignment, &self.order.id));
        let itemless = itemless.filter(|article| article.items().next().is_none());
        let needed: BTreeSet<String> =
            itemless.flat_map(Article::fulfilments).map(|fulfilment| fulfilment.id.clone()).collect();
        for id in needed {
            let known = self.order.fulfilments().find(|fulfilment| fulfilment.id == id);
            let items = match known {
                Some(fulfilment) => fulfilment.items.clone(),
                None => fluent.fulfilment_items(&id, None).await?,
            };
            self.packed.insert(id, items.edges.into_iter().map(|edge| edge.node).collect());
        }
        Ok(())
    }
}

/// The order: its header from a batch where nothing else is asked for, else by its id.
async fn order(
    message: &Message,
    connection: &Connection,
    slices: &BTreeSet<Slice>,
    pair: &Pair,
    update: &Update,
) -> Result<Order, Failure> {
    let with_fulfilments = needs_fulfilments(connection, slices, pair);
    if !slices.contains(&Slice::Link)
        && !with_fulfilments
        && let Some(reference) = &pair.mapping.fluent_ref
        && let Some(header) = connection.fluent.on(message.call()).order_header(reference).await?
        && header.id == update.fluent_order_id
    {
        return Ok(header);
    }
    fluent_order(connection, message, &update.fluent_order_id, with_fulfilments).await
}

/// Slice `fulfilment` needs them; beside a consignment they could make an order of several
/// fulfilments Partial (F 14.1).
fn needs_fulfilments(connection: &Connection, slices: &BTreeSet<Slice>, pair: &Pair) -> bool {
    if slices.contains(&Slice::Fulfilment) {
        return true;
    }
    let consigned = slices.iter().any(|slice| matches!(slice, Slice::Consignment(_)));
    let status = &connection.config.order_status;
    if !(consigned && status.enabled && status.partial_from_fulfilments && pair.extra.fulfilments > 1) {
        return false;
    }
    let shipment = pair.remembered().and_then(|order| order.shipment_state);
    !matches!(shipment.as_deref(), Some("Partial" | "Shipped" | "Delivered" | "Canceled"))
}
