//! Which deliveries an order consists of (`commercetools-to-fluent`, 5.2, 15.4 and 15.9).
//!
//! A group is what goes to one place by one shipping method; each becomes a fulfilment choice. A line
//! may be split over several. A group that the customer collects is CC, every other one HD; an order of
//! one group is of its kind, one of several is MULTI.

use super::item::product_ref;
use super::label;
use crate::commercetools::model::{Address, CustomFields, LineItem, Order, ShippingInfo, ShippingTarget};
use crate::config::model::{Connection, DeliveryKind, Multi, Order as Rules, ShippingMethod};
use crate::failure::Failure;
use crate::sync::text::present;

/// The deliveries of an order, the first one first, and what of the order belongs to which.
#[derive(Clone, Debug)]
pub struct Deliveries<'a> {
    pub groups: Vec<Group<'a>>,
    /// Of each line item its parts, by group.
    pub lines: Vec<Vec<Part>>,
    /// Of each custom line item its group; the first one's for those that do not stand for a product.
    pub custom_lines: Vec<usize>,
    /// What shipping costs, and whose price that is.
    pub shipping: Vec<(&'a ShippingInfo, usize)>,
}

/// What goes to one place by one method.
#[derive(Clone, Debug)]
pub struct Group<'a> {
    pub kind: DeliveryKind,
    pub address: Option<&'a Address>,
    pub info: Option<&'a ShippingInfo>,
    /// `shippingKey`, with shipping mode `Multiple`.
    pub key: Option<&'a str>,
    /// Ref of the location where the customer collects.
    pub pickup: Option<&'a str>,
}

/// How much of a line belongs to a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    pub group: usize,
    pub quantity: i64,
}

impl<'a> Deliveries<'a> {
    /// Reads the deliveries.
    ///
    /// # Errors
    /// Rejected if the order has several and this connection does not allow that, or if its targets
    /// cannot be followed.
    pub fn read(order: &'a Order, connection: &'a Connection) -> Result<Self, Failure> {
        let mut plan = match order.shipping_mode.as_deref() == Some("Multiple") && !order.shipping.is_empty() {
            true => Plan::multiple(order)?,
            false => Plan::single(order, &connection.order)?,
        };
        plan.place_custom_lines(order, connection);
        plan.drop_empty();
        let groups = (0..plan.places.len()).map(|at| group(&plan, at, order, &connection.order)).collect();
        let shipping = plan.prices();
        let deliveries = Self { groups, lines: plan.lines, custom_lines: plan.custom_lines, shipping };
        if deliveries.is_multi() && connection.order.multi == Multi::Reject {
            return Err(Failure::rejected(format!(
                "Order {} needs {} deliveries; this connection does not allow MULTI orders.",
                label(order),
                in_words(deliveries.groups.len())
            )));
        }
        Ok(deliveries)
    }

    /// Are there several?
    pub fn is_multi(&self) -> bool {
        self.groups.len() > 1
    }

    /// The type of the Fluent order.
    pub fn order_type<'c>(&self, rules: &'c Rules) -> &'c str {
        match (self.is_multi(), self.groups.first().map(|group| group.kind)) {
            (true, _) => &rules.types.multi,
            (false, Some(DeliveryKind::Cc)) => &rules.types.cc,
            (false, _) => &rules.types.hd,
        }
    }
}

/// What configuration says about a shipping method, found by its key, else by its name.
pub fn method<'a>(info: &ShippingInfo, rules: &'a Rules) -> Option<&'a ShippingMethod> {
    let methods = &rules.shipping_methods;
    let key = info.shipping_method.as_ref().and_then(|method| method.obj.as_ref()?.key.as_deref());
    key.and_then(|key| methods.get(key)).or_else(|| methods.get(&info.shipping_method_name))
}

/// Where something goes, before it is known whether anything does.
struct Place<'a> {
    address: Option<&'a Address>,
    info: Option<&'a ShippingInfo>,
    key: Option<&'a str>,
    /// Custom fields that may name the pickup location, in their order.
    fields: Vec<&'a CustomFields>,
    /// Named by the lines themselves.
    pickup: Option<&'a str>,
    has_price: bool,
}

struct Plan<'a> {
    places: Vec<Place<'a>>,
    lines: Vec<Vec<Part>>,
    custom_lines: Vec<usize>,
    /// Prices of places that nothing goes to.
    dropped: Vec<&'a ShippingInfo>,
}

impl<'a> Plan<'a> {
    /// One group per shipping, in their order.
    fn multiple(order: &'a Order) -> Result<Self, Failure> {
        let places = order.shipping.iter().map(|shipping| Place {
            address: shipping.shipping_address.as_ref(),
            info: shipping.shipping_info.as_ref(),
            key: shipping.shipping_key.as_deref(),
            fields: shipping.shipping_custom_fields.iter().collect(),
            pickup: None,
            has_price: true,
        });
        let mut plan = Self { places: places.collect(), lines: vec![], custom_lines: vec![], dropped: vec![] };
        for line in &order.line_items {
            let mut parts = Parts::of(line);
            for target in targets(line) {
                match plan.named(target) {
                    Some(place) => parts.add(place, target.quantity),
                    None => {
                        return Err(Failure::rejected(format!(
                            "Line {} of order {} is to be sent by {}, which is no shipping of the order.",
                            line.id,
                            label(order),
                            target
                                .shipping_method_key
                                .as_deref()
                                .or(target.address_key.as_deref())
                                .unwrap_or("nothing")
                        )));
                    }
                }
            }
            plan.lines.push(parts.rest_to(0, order)?);
        }
        Ok(plan)
    }

    /// The shipping that a target names.
    fn named(&self, target: &ShippingTarget) -> Option<usize> {
        let address_key = target.address_key.as_deref();
        let is_named = |place: &Place<'_>| match target.shipping_method_key.as_deref() {
            Some(key) => place.key == Some(key),
            None => address_key.is_some() && place.address.and_then(|address| address.key.as_deref()) == address_key,
        };
        self.places.iter().position(is_named)
    }

    /// One group per address that lines are targeted at, then one per pickup location that lines name.
    ///
    /// Lines without targets go to the shipping address. A key that all lines name is where they go, even
    /// if the shipping address says otherwise.
    fn single(order: &'a Order, rules: &Rules) -> Result<Self, Failure> {
        let shipping = order.shipping_address.as_ref();
        let own_key = shipping.and_then(|address| address.key.as_deref());
        let mut plan = Self { places: vec![], lines: vec![], custom_lines: vec![], dropped: vec![] };
        let mut keys: Vec<Option<&str>> = vec![];
        let collected = |line: &'a LineItem| pickup_in(line.custom.as_ref(), rules);
        let key_of = |target: &'a ShippingTarget| target.address_key.as_deref().filter(|key| Some(*key) != own_key);
        for line in order.line_items.iter().filter(|line| collected(line).is_none()) {
            let named: Vec<_> = targets(line).map(key_of).collect();
            let left = line.quantity - targets(line).map(|target| target.quantity).sum::<i64>();
            for key in named.iter().copied().chain((named.is_empty() || left > 0).then_some(None)) {
                if !keys.contains(&key) {
                    keys.push(key);
                }
            }
        }
        let has_others = order.line_items.iter().any(|line| collected(line).is_some());
        if keys.is_empty() && !has_others {
            keys.push(None);
        }
        for key in &keys {
            let named = order.item_shipping_addresses.iter().find(|address| address.key.as_deref() == *key);
            plan.places.push(Place { address: named.filter(|_| key.is_some()).or(shipping), ..Place::of(order) });
        }
        for line in &order.line_items {
            let mut parts = Parts::of(line);
            let rest = match collected(line) {
                Some(location) => plan.collected_at(location, order, keys.len()),
                None => {
                    for target in targets(line) {
                        let place = keys.iter().position(|key| *key == key_of(target)).unwrap_or(0);
                        parts.add(place, target.quantity);
                    }
                    keys.iter().position(Option::is_none).unwrap_or(0)
                }
            };
            plan.lines.push(parts.rest_to(rest, order)?);
        }
        if let Some(first) = plan.places.first_mut() {
            first.has_price = true;
        }
        Ok(plan)
    }

    /// The group of the lines that are collected at this location.
    fn collected_at(&mut self, location: &'a str, order: &'a Order, addresses: usize) -> usize {
        let known = self.places.iter().skip(addresses).position(|place| place.pickup == Some(location));
        known.map(|at| at + addresses).unwrap_or_else(|| {
            self.places.push(Place { pickup: Some(location), ..Place::of(order) });
            self.places.len() - 1
        })
    }

    /// Custom lines that stand for a product: where their targets say, else with the first group.
    fn place_custom_lines(&mut self, order: &Order, connection: &Connection) {
        let first = self.lines.iter().flatten().map(|part| part.group).min().unwrap_or(0);
        for line in &order.custom_line_items {
            let targets = line.shipping_details.iter().flat_map(|details| &details.targets);
            let mut named = targets.filter(|target| target.quantity > 0);
            let place = named.find_map(|target| self.named(target)).filter(|_| product_ref(line, connection).is_some());
            self.custom_lines.push(place.unwrap_or(first));
        }
    }

    /// Groups without quantity go; their price moves to the first one.
    fn drop_empty(&mut self) {
        let used = |at: usize, plan: &Self| {
            plan.lines.iter().flatten().any(|part| part.group == at) || plan.custom_lines.contains(&at)
        };
        let kept: Vec<usize> = (0..self.places.len()).filter(|at| used(*at, self)).collect();
        if kept.is_empty() {
            self.places.truncate(1);
            return;
        }
        let places = std::mem::take(&mut self.places).into_iter().enumerate();
        for (at, place) in places {
            match kept.contains(&at) {
                true => self.places.push(place),
                false => self.dropped.extend(place.info.filter(|_| place.has_price)),
            }
        }
        let new = |old: usize| kept.iter().position(|at| *at == old).unwrap_or(0);
        self.lines.iter_mut().flatten().for_each(|part| part.group = new(part.group));
        self.custom_lines.iter_mut().for_each(|group| *group = new(*group));
    }

    fn prices(&self) -> Vec<(&'a ShippingInfo, usize)> {
        let places = self.places.iter().enumerate().filter(|(_, place)| place.has_price);
        let own = places.filter_map(|(at, place)| Some((place.info?, at)));
        own.chain(self.dropped.iter().map(|info| (*info, 0))).collect()
    }
}

impl<'a> Place<'a> {
    /// The one shipping of an order.
    fn of(order: &'a Order) -> Self {
        Self {
            address: order.shipping_address.as_ref(),
            info: order.shipping_info.as_ref(),
            key: None,
            fields: order.shipping_custom_fields.iter().chain(&order.custom).collect(),
            pickup: None,
            has_price: false,
        }
    }
}

/// The parts of one line.
struct Parts<'a> {
    line: &'a LineItem,
    parts: Vec<Part>,
}

impl<'a> Parts<'a> {
    fn of(line: &'a LineItem) -> Self {
        Self { line, parts: vec![] }
    }

    fn add(&mut self, group: usize, quantity: i64) {
        match self.parts.iter_mut().find(|part| part.group == group) {
            Some(part) => part.quantity = part.quantity.saturating_add(quantity),
            None => self.parts.push(Part { group, quantity }),
        }
    }

    /// What no target names goes to `group`.
    fn rest_to(mut self, group: usize, order: &Order) -> Result<Vec<Part>, Failure> {
        let targeted = self.parts.iter().fold(0i64, |sum, part| sum.saturating_add(part.quantity));
        if targeted > self.line.quantity && !self.parts.is_empty() {
            return Err(Failure::rejected(format!(
                "Line {} of order {} has the quantity {}, but {targeted} are to be delivered.",
                self.line.id,
                label(order),
                self.line.quantity
            )));
        }
        // A line of quantity 0 stays, so that it is refused by name.
        if targeted < self.line.quantity || self.parts.is_empty() {
            self.add(group, self.line.quantity - targeted);
        }
        self.parts.sort_by_key(|part| part.group);
        Ok(self.parts)
    }
}

fn targets(line: &LineItem) -> impl Iterator<Item = &ShippingTarget> {
    let targets = line.shipping_details.iter().flat_map(|details| &details.targets);
    targets.filter(|target| target.quantity > 0)
}

fn group<'a>(plan: &Plan<'a>, at: usize, order: &'a Order, rules: &'a Rules) -> Group<'a> {
    let place = &plan.places[at];
    let method = place.info.and_then(|info| method(info, rules));
    let pickup = place
        .pickup
        .or_else(|| place.fields.iter().find_map(|fields| pickup_in(Some(*fields), rules)))
        .or_else(|| present(method?.pickup_location_ref.as_deref()))
        .or_else(|| supply_channel(plan, at, order).filter(|_| rules.pickup.from_supply_channel));
    let collected = pickup.is_some() || method.is_some_and(|method| method.order_type == Some(DeliveryKind::Cc));
    let kind = if collected { DeliveryKind::Cc } else { DeliveryKind::Hd };
    Group { kind, address: place.address, info: place.info, key: place.key, pickup }
}

/// The pickup location that custom fields name.
fn pickup_in<'a>(fields: Option<&'a CustomFields>, rules: &Rules) -> Option<&'a str> {
    present(fields?.field(&rules.pickup.custom_field)?.as_str())
}

/// The key of the one supply channel that all lines of a group share.
fn supply_channel<'a>(plan: &Plan<'a>, group: usize, order: &'a Order) -> Option<&'a str> {
    let of_group = |parts: &Vec<Part>| parts.iter().any(|part| part.group == group);
    let lines = order.line_items.iter().zip(&plan.lines).filter(|(_, parts)| of_group(parts));
    let mut keys = lines.map(|(line, _)| Some(line.supply_channel.as_ref()?.obj.as_ref()?.key.as_str()));
    let first = keys.next()??;
    keys.all(|key| key == Some(first)).then_some(first)
}

fn in_words(count: usize) -> String {
    let words = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"];
    words.get(count).map_or_else(|| count.to_string(), |word| (*word).to_owned())
}
