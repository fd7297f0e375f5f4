//! Which units are in the articles of a consignment (F 7.3).

use crate::commercetools::action::Item;
use crate::commercetools::remembered::RememberedOrder;
use crate::fluent::fulfilment::{Article, Consignment, OrderItemRef};
use crate::sync::order_line;
use crate::sync::source::{KnownConsignment, Source, of_order};

/// The units of a consignment that belong to one Order.
pub(super) struct Content<'a> {
    /// Of the Delivery, in the order of the lines.
    pub items: Vec<Item>,
    /// Does Fluent say what is in it? If not, what a Delivery has is left alone.
    pub is_told: bool,
    pub articles: Vec<ArticleContent<'a>>,
    /// A fulfilment had to tell.
    pub borrowed: bool,
    /// Order items that are no line of the Order, each once.
    pub unknown: Vec<&'a str>,
}

pub(super) struct ArticleContent<'a> {
    pub article: &'a Article,
    pub items: Vec<Item>,
    /// As in [`Content`].
    pub is_told: bool,
}

impl<'a> Content<'a> {
    pub fn new(consignment: &'a Consignment, source: &'a Source, order: &'a RememberedOrder) -> Self {
        let articles: Vec<&Article> = of_order(consignment, &source.order.id).collect();
        let mut content =
            Self { items: Vec::new(), is_told: true, articles: Vec::new(), borrowed: false, unknown: Vec::new() };
        // Units that were borrowed from a fulfilment before are taken back when it has another consignment.
        let had_borrowed = source.known.get(&consignment.id).is_some_and(|known| known.borrowed);
        let mut whole: Vec<(&str, i64)> = Vec::new();
        let mut borrowed: Vec<&str> = Vec::new();
        for article in &articles {
            let own = article.items().map(|item| (item.order_item.as_ref(), item.quantity));
            let mut units: Vec<(&str, i64)> = content.lines(order, own);
            let mut is_told = article.items().next().is_some();
            if let Some((fulfilment, shared)) = lender(article, &articles, consignment, source) {
                let packed = source.packed.get(fulfilment).into_iter().flatten();
                let packed = packed.map(|item| (item.order_item.as_ref(), item.filled_quantity.unwrap_or_default()));
                let lent = content.lines(order, packed);
                if !borrowed.contains(&fulfilment) {
                    borrowed.push(fulfilment);
                    whole.extend(&lent);
                }
                // Which of several boxes they are in, nobody says.
                if !shared {
                    units = lent;
                    is_told = true;
                }
            } else {
                whole.extend(&units);
            }
            content.articles.push(ArticleContent {
                article,
                items: order_line::sum(order, units),
                is_told: is_told || had_borrowed,
            });
        }
        content.items = order_line::sum(order, whole);
        content.borrowed = !borrowed.is_empty();
        content.is_told = !content.items.is_empty() || had_borrowed || articles.is_empty();
        content
    }

    /// The lines that items belong to; the others are kept as unknown.
    fn lines(
        &mut self,
        order: &'a RememberedOrder,
        items: impl Iterator<Item = (Option<&'a OrderItemRef>, i64)>,
    ) -> Vec<(&'a str, i64)> {
        let mut units = Vec::new();
        for (item, quantity) in items.filter(|(_, quantity)| *quantity > 0) {
            let Some(item) = item else { continue };
            match order_line::of_item(order, item) {
                Some(line) => units.push((line.id(), quantity)),
                None => {
                    let name = item.reference.as_deref().or(item.id.as_deref()).unwrap_or("(unnamed)");
                    if !self.unknown.contains(&name) {
                        self.unknown.push(name);
                    }
                }
            }
        }
        units
    }
}

/// The fulfilment that tells what is in an article without items, and whether other articles of the
/// consignment share it. None if it has another consignment, or another article names its items.
fn lender<'a>(
    article: &'a Article,
    articles: &[&Article],
    consignment: &Consignment,
    source: &Source,
) -> Option<(&'a str, bool)> {
    if article.items().next().is_some() {
        return None;
    }
    let mut fulfilments = article.fulfilments();
    let fulfilment = fulfilments.next().filter(|_| fulfilments.next().is_none())?.id.as_str();
    let packed_for =
        |other: &&&Article| other.id != article.id && other.fulfilments().any(|of_other| of_other.id == fulfilment);
    let sharing: Vec<&&Article> = articles.iter().filter(packed_for).collect();
    if sharing.iter().any(|other| other.items().next().is_some()) {
        return None;
    }
    let order = &source.order.id;
    let read = source.consignments.iter().filter(|other| other.id != consignment.id);
    let mut read = read.map(|other| KnownConsignment::new(other, order));
    let mut remembered = source.known.iter().filter(|(id, _)| **id != consignment.id).map(|(_, known)| known);
    let elsewhere = read.any(|other| other.fulfilments.contains(fulfilment))
        || remembered.any(|other| other.fulfilments.contains(fulfilment));
    (!elsewhere).then_some((fulfilment, !sharing.is_empty()))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::sync::fixture::read;

    fn list(nodes: Vec<Value>) -> Value {
        let edges: Vec<Value> = nodes.into_iter().map(|node| json!({"node": node})).collect();
        json!({"edges": edges})
    }

    /// An article of these fulfilments with so many caps; 0 = it names no items.
    fn article(id: &str, fulfilments: &[&str], caps: i64) -> Value {
        let items = (caps > 0).then(|| json!({"quantity": caps, "orderItem": {"id": "1", "ref": "l-1"}}));
        let of = |id: &&str| json!({"id": id, "order": {"id": "6469", "ref": null, "retailer": null}});
        json!({"article": {"id": id, "items": list(items.into_iter().collect()),
               "fulfilments": list(fulfilments.iter().map(of).collect())}})
    }

    fn consignment(id: &str, articles: Vec<Value>) -> Consignment {
        read(&json!({"id": id, "consignmentArticles": list(articles)}))
    }

    /// Units of the Delivery and of each Parcel; what Fluent does not tell is `None`.
    fn units(articles: Vec<Value>, others: Vec<Consignment>) -> (Option<i64>, Vec<Option<i64>>) {
        let order = RememberedOrder::from_answer(&json!({
            "id": "o", "version": 1, "orderState": "Open", "lineItems": [{"id": "l-1", "quantity": 5, "state": []}],
        }))
        .unwrap();
        let mut source = Source::new(read(&json!({"id": "6469", "type": "HD"})));
        let filled = json!({"id": "1", "filledQuantity": 5, "orderItem": {"id": "1", "ref": "l-1"}});
        source.packed.insert("7001".into(), vec![read(&filled)]);
        source.consignments = others;
        let own = consignment("9001", articles);
        let content = Content::new(&own, &source, &order);
        let sum = |items: &[Item], is_told: bool| is_told.then(|| items.iter().map(|item| item.quantity).sum::<i64>());
        let parcels = content.articles.iter().map(|article| sum(&article.items, article.is_told)).collect();
        (sum(&content.items, content.is_told), parcels)
    }

    #[test]
    fn a_fulfilment_tells_what_its_only_article_does_not() {
        assert_eq!(units(vec![article("1", &["7001"], 0)], vec![]), (Some(5), vec![Some(5)]));
        let two = vec![article("1", &["7001"], 0), article("2", &["7001"], 0)];
        assert_eq!(units(two, vec![]), (Some(5), vec![None, None]), "nobody says in which box");
        let mixed = vec![article("1", &["7001"], 0), article("2", &["7001"], 2)];
        assert_eq!(units(mixed, vec![]), (Some(2), vec![None, Some(2)]), "one of them does say");
        assert_eq!(units(vec![article("1", &["7001", "7002"], 0)], vec![]), (None, vec![None]));
        let other = consignment("9002", vec![article("3", &["7001"], 1)]);
        assert_eq!(units(vec![article("1", &["7001"], 0)], vec![other]), (None, vec![None]), "nor which consignment");
        assert_eq!(units(vec![], vec![]), (Some(0), vec![]));
    }
}
