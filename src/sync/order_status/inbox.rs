//! Hearing of a status change: the webhook, and the poll that finds what no webhook told (F 1.3–1.6).

use crate::app::App;
use crate::failure::{Outcome, reject};
use crate::fluent::operation;
use crate::queue::Message;
use crate::sync::twin::{self, Twin};
use crate::sync::{connection, heard, order_lookup};

const TWIN: Twin = Twin {
    stream: "order-status-sync",
    operation: &operation::ORDERS_UPDATED,
    list: "orders",
    entity: "ORDER",
    kind: order_lookup::KIND,
    route: "fluent.order-updated",
    plural: "orders",
};

/// `fluent.order-updated`: finds the commercetools Order and asks for its states to be brought up to
/// date.
///
/// # Errors
/// As [`heard::ask`].
pub async fn receive(app: App, message: Message) -> Outcome {
    let envelope: heard::Envelope = message.payload()?;
    heard::wanted(connection(&app, &message)?.config.order_status.enabled, "Order statuses are", "order_status")?;
    let Some(id) = envelope.order_id() else {
        return reject(format!("The webhook names {} {} but no order.", envelope.entity_type, envelope.entity_id));
    };
    heard::ask(&app, &message, &envelope, &TWIN, id, "status").await
}

/// `job.order-status-sync`.
///
/// # Errors
/// As [`twin::sync`].
pub async fn sync(app: App, message: Message) -> Outcome {
    let connection = connection(&app, &message)?;
    twin::sync(&app, &message, connection, &TWIN, &connection.config.order_status.poll).await
}
