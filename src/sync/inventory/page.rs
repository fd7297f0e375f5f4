//! One page of a run.

use super::run::{PageOf, Place, Step, Work};
use super::{import, pair, read, write};
use crate::app::App;
use crate::failure::{Failure, Outcome, Skip, skip};
use crate::queue::Message;
use crate::store::Urgency;
use crate::sync::connection;

/// `commercetools.set-inventory-page` and `commercetools.import-inventory`: reads a page of a source, decides, or writes a page of what differs.
///
/// # Errors
/// A page that fails is tried again as a whole, and what it wrote is not written again.
pub async fn page(app: App, message: Message) -> Outcome {
    let page: PageOf = message.payload()?;
    let connection = connection(&app, &message)?;
    let run = app.store().read().await?.run(page.run).await?.filter(|run| run.state == "open");
    let Some(run) = run else { return skip(Skip::Superseded, "The run of this page is over.") };
    let place: Place = serde_json::from_value(run.position.0.clone())
        .map_err(|error| Failure::rejected(format!("The place of run {} cannot be read: {error}", run.id)))?;
    let config = &connection.config.inventory;
    let Some(pair) = pair::named(connection, &place.pair).filter(|_| config.enabled) else {
        let store = app.store();
        store
            .write(Urgency::Bulk, move |tx| Box::pin(async move { tx.end_run(run.id, "given-up").await.map(|_| ()) }))
            .await?;
        return skip(Skip::Ignored, format!("The pair {} is not configured any more, or switched off.", place.pair));
    };
    let work = Work { app: &app, message: &message, connection, pair, run, place, page };
    match work.page.step {
        Step::Positions => read::positions(&work).await,
        Step::Entries => read::entries(&work).await,
        Step::Decide => write::decide(&work).await,
        Step::Write if work.place.container.is_some() => import::page(&work).await,
        Step::Write => write::page(&work).await,
    }
}
