//! `job.inventory-sync`: looks for positions that changed (F 1.5, 4.1).

use super::run::{Place, begin, stream};
use super::{PAGES, full, pair};
use crate::app::{App, Connection};
use crate::config::model::Pair;
use crate::failure::{Failure, Outcome, Skip, skip};
use crate::queue::Message;
use crate::sync::connection;
use crate::sync::pages::is_at_work;
use crate::sync::poll::{Pace, Window};

/// Begins a run for each pair over the positions that changed in a window. The first run of a pair is a full
/// sync. A run under way goes on; its next window begins when it is done.
///
/// # Errors
/// A pair that cannot begin leaves the others alone; the job is tried again.
pub async fn sync(app: App, message: Message) -> Outcome {
    let connection = connection(&app, &message)?;
    if !connection.config.inventory.enabled {
        return skip(Skip::Ignored, "Stock is switched off for this connection.");
    }
    let (mut begun, mut failed) = (Vec::new(), None);
    for pair in &connection.config.inventory.pairs {
        match start(&app, &message, connection, pair).await {
            Ok(true) => begun.push(pair::name(pair)),
            Ok(false) => {}
            Err(failure) => failed = failed.or(Some(failure)),
        }
    }
    if let Some(failure) = failed {
        return Err(failure);
    }
    match begun.is_empty() {
        true => message.unchanged(),
        false => message.tell(format!("looking at {}", begun.join(", "))),
    }
    Ok(())
}

async fn start(app: &App, message: &Message, connection: &Connection, pair: &Pair) -> Result<bool, Failure> {
    let name = pair::name(pair);
    let (changes, all) = (stream(false, &name), stream(true, &name));
    let cursor = app.store().read().await?.cursor(message.connection(), &changes).await?;
    if cursor.is_none() {
        // From where the full sync begins on, nothing is missed.
        return full::start(app, message, connection, pair, &all).await;
    }
    if is_at_work(app, message, &changes, &PAGES).await? {
        return Ok(false);
    }
    if let Some(channel) = &pair.channel {
        pair::channel_id(connection, message, channel).await?;
    }
    let poll = &connection.config.inventory.poll;
    let now = connection.fluent.on(message.call()).now().await?;
    let pace = Pace { settle: poll.settle, overlap: poll.overlap };
    let Some(window) = Window::open(app, message, &changes, now, pace, None).await? else { return Ok(false) };
    begin(app, message, connection, pair, Place::new(pair, now, Some(window.frame()))).await
}
