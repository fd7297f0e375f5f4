//! `job.category-sync`: finds the categories that no notification told of (C 2.1). Renames and moves
//! have no Message in commercetools, so without change notifications it finds them all.

use crate::app::App;
use crate::failure::Outcome;
use crate::queue::Message;
use crate::sync::connection;
use crate::sync::walk::{Walk, walk};

/// The stream of the categories; its cursor carries this name.
pub const STREAM: &str = "category-sync";

/// Walks the categories that changed in a frozen window, page by page.
///
/// # Errors
/// As [`walk`].
pub async fn sync(app: App, message: Message) -> Outcome {
    let categories = Walk {
        stream: STREAM,
        collection: "GET /categories",
        kind: super::KIND,
        route: "commercetools.category-changed",
        plural: "categories",
    };
    walk(&app, &message, connection(&app, &message)?, &categories).await
}
