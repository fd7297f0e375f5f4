//! `job.product-sync`: finds the published products that no notification told of (C 3.1);
//! `job.product-removal-sync`: finds those that are gone (C 10).

use crate::app::App;
use crate::failure::{Failure, Outcome, Skip, skip};
use crate::queue::Message;
use crate::sync::catalogue::removal::{Sweep, sweep};
use crate::sync::catalogue::run::{Collection, begin};
use crate::sync::connection;

/// The stream of the products; its cursor carries this name.
pub const STREAM: &str = "product-sync";

/// What its runs walk. `staged` is false unless it is asked for otherwise (A10).
pub const PRODUCTS: Collection = Collection {
    stream: STREAM,
    collection: "GET /product-projections",
    kind: super::KIND,
    page: super::PAGE,
    single: "commercetools.product-changed",
    plural: "products",
};

/// Begins a run over the published products that changed in a frozen window.
///
/// # Errors
/// As [`begin`]; a rejection if the project uses another catalogue model.
pub async fn sync(app: App, message: Message) -> Outcome {
    let connection = connection(&app, &message)?;
    if let Some(sentence) = super::read::unsupported(&message, connection).await? {
        return Err(Failure::rejected(sentence));
    }
    begin(&app, &message, connection, &PRODUCTS).await
}

/// Walks the ids of all published products, and has those looked at that Fluent has and commercetools does not.
///
/// # Errors
/// As [`sweep`].
pub async fn removal(app: App, message: Message) -> Outcome {
    let connection = connection(&app, &message)?;
    if !connection.config.product.enabled {
        return skip(Skip::Ignored, "Products are switched off for this connection.");
    }
    let gone = Sweep { stream: "product-removal-sync", of: &PRODUCTS, route: "commercetools.product-deleted" };
    sweep(&app, &message, connection, &gone).await
}
