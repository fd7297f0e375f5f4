//! Which Line Item of a commercetools Order is this item of a Fluent order (F 6.3)?

use crate::commercetools::action::Item;
use crate::commercetools::remembered::{RememberedLineItem, RememberedOrder};
use crate::fluent::fulfilment::OrderItemRef;

/// A Line Item or a custom Line Item.
#[derive(Clone, Copy, Debug)]
pub enum Line<'a> {
    Item(&'a RememberedLineItem),
    /// It has no SKU, and actions of its own.
    Custom(&'a RememberedLineItem),
}

impl<'a> Line<'a> {
    pub fn row(self) -> &'a RememberedLineItem {
        match self {
            Self::Item(row) | Self::Custom(row) => row,
        }
    }

    pub fn id(self) -> &'a str {
        &self.row().id
    }
}

/// By the id of the line (of a line that several deliveries share: `<id>:<n>`), else its key, else the SKU if no
/// other line has it.
pub fn find<'a>(order: &'a RememberedOrder, reference: Option<&str>, sku: Option<&str>) -> Option<Line<'a>> {
    let lines = || lines(order);
    if let Some(reference) = reference {
        let of_id = lines().find(|line| line.id() == reference || is_part(line.id(), reference));
        let named = of_id.or_else(|| lines().find(|line| line.row().key.as_deref() == Some(reference)));
        if named.is_some() {
            return named;
        }
    }
    let sku = sku?;
    let mut sold = order.line_items.iter().filter(|line| line.sku.as_deref() == Some(sku));
    let only = sold.next().filter(|_| sold.next().is_none());
    only.map(Line::Item)
}

/// Is this the ref of a part of the line, as the order flow makes it (`commercetools-to-fluent`, 5.6)?
fn is_part(id: &str, reference: &str) -> bool {
    let number = reference.strip_prefix(id).and_then(|rest| rest.strip_prefix(':'));
    number.is_some_and(|number| number.parse::<usize>().is_ok())
}

/// The line of an order item that something in Fluent names.
pub fn of_item<'a>(order: &'a RememberedOrder, item: &OrderItemRef) -> Option<Line<'a>> {
    let sku = item.product.as_ref().map(|product| product.reference.as_str());
    find(order, item.reference.as_deref(), sku)
}

/// Sums units per line, in the order of the lines. Lines without units are left out.
pub fn sum<'a>(order: &RememberedOrder, units: impl IntoIterator<Item = (&'a str, i64)>) -> Vec<Item> {
    let units: Vec<(&str, i64)> = units.into_iter().collect();
    let items = lines(order).map(|line| {
        let quantity = units.iter().filter(|(id, _)| *id == line.id()).map(|(_, quantity)| quantity).sum();
        Item { id: line.id().to_owned(), quantity }
    });
    items.filter(|item| item.quantity > 0).collect()
}

fn lines(order: &RememberedOrder) -> impl Iterator<Item = Line<'_>> {
    order.line_items.iter().map(Line::Item).chain(order.custom_line_items.iter().map(Line::Custom))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn order() -> RememberedOrder {
        let line = |id: &str, key: &str, sku: Value| json!({"id": id, "key": key, "variant": {"sku": sku}, "quantity": 1, "state": []});
        RememberedOrder::from_answer(&json!({
            "id": "o", "version": 1, "orderState": "Open",
            "lineItems": [line("l-1", "a", json!("SHIRT")), line("l-2", "l-1", json!("CAP")), line("l-3", "c", json!("CAP"))],
            "customLineItems": [{"id": "c-1", "key": "wrap", "quantity": 1, "state": []}],
        }))
        .unwrap()
    }

    #[test]
    fn the_id_comes_first_then_the_key_then_a_sku_of_one_line() {
        let order = order();
        let found = |reference, sku| find(&order, reference, sku).map(|line| line.id());
        assert_eq!(found(Some("l-1"), Some("CAP")), Some("l-1"), "an id beats a key of the same text");
        assert_eq!(found(Some("c"), None), Some("l-3"));
        assert_eq!(found(Some("unknown"), Some("SHIRT")), Some("l-1"));
        assert_eq!(found(None, Some("CAP")), None, "two lines sell it");
        assert_eq!(found(Some("wrap"), None), Some("c-1"));
        assert_eq!(found(Some("l-2:2"), Some("CAP")), Some("l-2"), "two deliveries share the line");
        assert_eq!(found(Some("l-2:b"), Some("CAP")), None);
        assert_eq!(found(None, None), None);
    }

    #[test]
    fn units_are_summed_in_the_order_of_the_lines() {
        let item = |id: &str, quantity| Item { id: id.to_owned(), quantity };
        let units = [("l-3", 2), ("c-1", 1), ("l-1", 1), ("l-3", 1), ("l-2", 0)];
        assert_eq!(sum(&order(), units), [item("l-1", 1), item("l-3", 3), item("c-1", 1)]);
    }
}
