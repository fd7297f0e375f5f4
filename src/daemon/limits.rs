//! What was learned of the remotes' limits outlives the daemon: kept in the settings of each
//! connection, divided among the daemons that live.

use std::time::Duration;

use futures_util::FutureExt;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::remote::Learned;
use crate::store::{Result, Urgency};

/// How often a changed limit is stored.
const EVERY: Duration = Duration::from_secs(5);

/// Starts where the last daemon was.
pub async fn recall(app: &App) -> Result<()> {
    let mut db = app.store().read().await?;
    share(app, db.live_daemons().await?);
    for connection in app.connections() {
        for (platform, remote) in connection.remotes() {
            let stored = db.setting(&connection.config.name, &setting(platform)).await?;
            if let Some(learned) = stored.and_then(|value| value.parse().ok()) {
                remote.budget().recall(learned);
            }
        }
    }
    Ok(())
}

/// Divides every limit among the daemons that live.
pub fn share(app: &App, daemons: i64) {
    for connection in app.connections() {
        for (_, remote) in connection.remotes() {
            remote.budget().share(usize::try_from(daemons).unwrap_or(1));
        }
    }
}

/// Stores what changed, every few seconds until `stopped`.
pub async fn keep(app: App, stopped: CancellationToken) {
    while !stopped.is_cancelled() {
        tokio::select! {
            () = app.clock().sleep(EVERY) => remember(&app).await,
            () = stopped.cancelled() => {}
        }
    }
}

/// Stores what changed. A limit that cannot be stored is learned again: nothing else depends on it.
pub async fn remember(app: &App) {
    match store(app).await {
        Ok(()) => {}
        Err(error) if error.is_trouble() => tracing::debug!("the learned limits could not be stored: {error}"),
        Err(error) => tracing::warn!("the learned limits could not be stored: {error}"),
    }
}

async fn store(app: &App) -> Result<()> {
    let mut changed = Vec::new();
    {
        let mut db = app.store().read().await?;
        for connection in app.connections() {
            for (platform, remote) in connection.remotes() {
                let Some(learned) = remote.budget().standing().learned else { continue };
                let (name, setting) = (connection.config.name.clone(), setting(platform));
                let stored: Option<Learned> = db.setting(&name, &setting).await?.and_then(|value| value.parse().ok());
                if !stored.is_some_and(|stored| learned.is_near(stored)) {
                    changed.push((name, setting, learned.to_string()));
                }
            }
        }
    }
    if changed.is_empty() {
        return Ok(());
    }
    let write = app.store().write(Urgency::Bulk, move |tx| {
        async move {
            for (connection, setting, value) in changed {
                tx.put_setting(&connection, &setting, &value).await?;
            }
            Ok(())
        }
        .boxed()
    });
    write.await
}

/// `budget.fluent`: requests per second of all daemons together.
fn setting(platform: &str) -> String {
    format!("budget.{platform}")
}
