//! Which notifications the flows that are on need, and where they are to be delivered (A6).

use serde_json::{Map, Value, json};

use crate::commercetools::definition::{Changes, DefinedSubscription, Messages, SubscriptionDraft};
use crate::config::model::{Connection, Destination, Intake};

/// What the flows that are on listen to: all Messages of these resources, changes of those.
///
/// All types of Messages, also those no route takes: the Messages of an order are numbered without a hole, and a
/// Subscription to some of them only would look like losses (`docs/intake.md`).
fn needed(connection: &Connection) -> (Vec<Messages>, Vec<Changes>) {
    let (order, customer, product) =
        (connection.order.enabled, connection.customer.enabled, connection.product.enabled);
    let messages = [
        ("order", order),
        ("payment", order),
        ("customer", customer),
        ("product", product),
        ("standalone-price", product),
    ];
    let changes = [
        ("category", connection.category.enabled),
        ("customer", customer),
        ("product", product && connection.product.accept_change_notifications),
    ];
    let on = |list: &[(&str, bool)]| -> Vec<String> {
        list.iter().filter(|(_, on)| *on).map(|(resource, _)| (*resource).to_owned()).collect()
    };
    let messages = on(&messages).into_iter().map(|resource_type_id| Messages { resource_type_id, types: vec![] });
    let changes = on(&changes).into_iter().map(|resource_type_id| Changes { resource_type_id });
    (messages.collect(), changes.collect())
}

/// The Subscription to create; `None` where nobody said where it delivers, or nothing is needed.
pub fn wanted(connection: &Connection, intake: &Intake) -> Option<SubscriptionDraft> {
    let destination = destination(connection, intake)?;
    let (messages, changes) = needed(connection);
    let something = !messages.is_empty() || !changes.is_empty();
    let key = connection.provision.subscription.clone();
    something.then_some(SubscriptionDraft { key, destination, messages, changes })
}

/// As configured, else the queue or topic that is listened to. AWS is entered with the role that the queue's own
/// policy names, never with a key.
fn destination(connection: &Connection, intake: &Intake) -> Option<Map<String, Value>> {
    if let Some(given) = &connection.provision.destination {
        return Some(given_destination(given));
    }
    let queue = intake.sqs.iter().find(|queue| queue.connection == connection.name);
    let document = match (queue, intake.push.sns.topics.first().filter(|_| intake.push.sns.enabled)) {
        (Some(queue), _) => {
            json!({"type": "SQS", "queueUrl": queue.queue_url, "region": queue.region()?, "authenticationMode": "IAM"})
        }
        (None, Some(topic)) => json!({"type": "SNS", "topicArn": topic, "authenticationMode": "IAM"}),
        (None, None) => return None,
    };
    document.as_object().cloned()
}

fn given_destination(given: &Destination) -> Map<String, Value> {
    let members = given.members().into_iter().map(|(name, value)| (name.to_owned(), json!(value)));
    let aws = ["SQS", "SNS"].contains(&given.name());
    let mode = aws.then(|| ("authenticationMode".to_owned(), json!("IAM")));
    [("type".to_owned(), json!(given.name()))].into_iter().chain(members).chain(mode).collect()
}

/// Does it deliver where we listen? The platform adds members and masks secrets.
pub(super) fn delivers_to(found: &DefinedSubscription, destination: &Map<String, Value>) -> bool {
    let ours = destination.iter().filter(|(name, _)| *name != "authenticationMode");
    ours.into_iter().all(|(name, value)| found.destination.get(name) == Some(value))
}

/// The lists with what is needed in them; `None` = it is in there already. Nothing is taken out.
pub fn widened_messages(found: &[Messages], needed: &[Messages]) -> Option<Vec<Messages>> {
    let mut all = found.to_vec();
    for wanted in needed {
        match all.iter_mut().find(|known| known.resource_type_id == wanted.resource_type_id) {
            Some(known) => known.types.clear(),
            None => all.push(wanted.clone()),
        }
    }
    (all != found).then_some(all)
}

/// The same for changes.
pub fn widened_changes(found: &[Changes], needed: &[Changes]) -> Option<Vec<Changes>> {
    let new: Vec<Changes> = needed.iter().filter(|wanted| !found.contains(wanted)).cloned().collect();
    (!new.is_empty()).then(|| [found.to_vec(), new].concat())
}
