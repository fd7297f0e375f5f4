//! `job.inventory-full-sync`: all positions of a pair against all entries of its Channel (F 4.7).

use super::run::{Place, begin, stream};
use super::{PAGES, pair};
use crate::app::{App, Connection};
use crate::config::model::Pair;
use crate::failure::{Failure, Outcome, Skip, skip};
use crate::queue::Message;
use crate::sync::connection;
use crate::sync::pages::is_at_work;

/// Begins a full sync of each pair, unless one is under way.
///
/// # Errors
/// A pair that cannot begin leaves the others alone; the job is tried again.
pub async fn sync(app: App, message: Message) -> Outcome {
    let connection = connection(&app, &message)?;
    if !connection.config.inventory.enabled {
        return skip(Skip::Ignored, "Stock is switched off for this connection.");
    }
    let mut failed = None;
    for pair in &connection.config.inventory.pairs {
        let stream = stream(true, &pair::name(pair));
        if let Err(failure) = start(&app, &message, connection, pair, &stream).await {
            failed = failed.or(Some(failure));
        }
    }
    match failed {
        Some(failure) => Err(failure),
        None => {
            message.tell("all positions are compared with all entries");
            Ok(())
        }
    }
}

/// Begins the full sync of one pair; `false` = one is under way.
///
/// # Errors
/// A retry while its Channel does not exist.
pub async fn start(
    app: &App,
    message: &Message,
    connection: &Connection,
    pair: &Pair,
    stream: &str,
) -> Result<bool, Failure> {
    if is_at_work(app, message, stream, &PAGES).await? {
        return Ok(false);
    }
    if let Some(channel) = &pair.channel {
        pair::channel_id(connection, message, channel).await?;
    }
    let now = connection.fluent.on(message.call()).now().await?;
    begin(app, message, connection, pair, Place::new(pair, now, None)).await
}
