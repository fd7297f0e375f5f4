//! `job.category-sync`: finds the categories that no notification told of (C 2.1). Renames and moves
//! have no Message in commercetools, so without change notifications it finds them all.
//! `job.category-removal-sync`: finds those that are gone (C 10).

use crate::app::App;
use crate::failure::{Outcome, Skip, skip};
use crate::queue::Message;
use crate::sync::catalogue::removal::{Sweep, sweep};
use crate::sync::catalogue::run::{Collection, begin};
use crate::sync::connection;

/// The stream of the categories; its cursor carries this name.
pub const STREAM: &str = "category-sync";

/// What its runs walk.
pub const CATEGORIES: Collection = Collection {
    stream: STREAM,
    collection: "GET /categories",
    kind: super::KIND,
    page: super::PAGE,
    single: "commercetools.category-changed",
    plural: "categories",
};

/// Begins a run over the categories that changed in a frozen window.
///
/// # Errors
/// As [`begin`].
pub async fn sync(app: App, message: Message) -> Outcome {
    begin(&app, &message, connection(&app, &message)?, &CATEGORIES).await
}

/// Walks the ids of all categories, and has those looked at that Fluent has and commercetools does not.
///
/// # Errors
/// As [`sweep`].
pub async fn removal(app: App, message: Message) -> Outcome {
    let connection = connection(&app, &message)?;
    if !connection.config.category.enabled {
        return skip(Skip::Ignored, "Categories are switched off for this connection.");
    }
    let gone = Sweep { stream: "category-removal-sync", of: &CATEGORIES, route: "commercetools.category-deleted" };
    sweep(&app, &message, connection, &gone).await
}
