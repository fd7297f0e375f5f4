//! `job.product-sync`: finds the published products that no notification told of (C 3.1).

use crate::app::App;
use crate::failure::{Failure, Outcome};
use crate::queue::Message;
use crate::sync::connection;
use crate::sync::walk::{Walk, walk};

/// The stream of the products; its cursor carries this name.
pub const STREAM: &str = "product-sync";

/// Walks the published products that changed in a frozen window, page by page. `staged` is false
/// unless it is asked for otherwise (A10).
///
/// # Errors
/// As [`walk`]; a rejection if the project uses another catalogue model.
pub async fn sync(app: App, message: Message) -> Outcome {
    let connection = connection(&app, &message)?;
    if let Some(sentence) = super::read::unsupported(&message, connection).await? {
        return Err(Failure::rejected(sentence));
    }
    let products = Walk {
        stream: STREAM,
        collection: "GET /product-projections",
        kind: super::KIND,
        route: "commercetools.product-changed",
        plural: "products",
    };
    walk(&app, &message, connection, &products).await
}
