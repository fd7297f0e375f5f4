//! Writes that a person stopped stay stopped over restarts and on every daemon of the database: the
//! gates follow the table `pause`.

use std::time::Duration;

use futures_util::FutureExt;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::store::{Result, Urgency};

/// Other daemons stop and resume, too: the table is looked at this often.
const LOOK: Duration = Duration::from_secs(1);

/// Keeps the gates as the table says until `ended`. While the database cannot be read they stay as they are.
pub async fn watch(app: App, ended: CancellationToken) {
    while !ended.is_cancelled() {
        tokio::select! {
            () = app.clock().sleep(LOOK) => {}
            () = ended.cancelled() => return,
        }
        if let Err(error) = look(&app).await {
            tracing::debug!("whether writes are stopped cannot be read: {error}");
        }
    }
}

/// Follows, and ends the stops whose time is over.
async fn look(app: &App) -> Result<()> {
    let now = app.clock().now();
    let rows = app.follow_stops().await?;
    let mut is_news = false;
    for row in rows.into_iter().filter(|row| row.paused_until.is_some_and(|until| until <= now)) {
        let connection = row.connection.clone();
        let ended = app
            .store()
            .write(Urgency::Urgent, move |tx| async move { tx.resume_writes(&connection, Some(now)).await }.boxed());
        if let Some(released) = ended.await? {
            is_news = true;
            tracing::info!(
                connection = row.connection,
                "{}: the time of the write stop is over; {released} messages go on",
                row.connection
            );
        }
    }
    if is_news {
        app.follow_stops().await?;
    }
    Ok(())
}
