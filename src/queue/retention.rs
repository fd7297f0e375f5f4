//! `job.retention`: removes what is older than the section `retention` says, in small batches, each a
//! commit of its own behind everything urgent, until nothing is left or the daemon stops.
//!
//! It is one job for the whole database. Where several connections or daemons run it at once, they
//! share the batches; what one has removed the others do not find.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::{Message, Routes};
use crate::app::App;
use crate::clock::Millis;
use crate::failure::Outcome;
use crate::store::{AttemptPlace, Result, Tx, Urgency};

/// Registers the job; `schedule.jobs` times it.
pub fn register(routes: &mut Routes) {
    routes.job("job.retention", prune);
}

async fn prune(app: App, message: Message) -> Outcome {
    let retention = app.config().retention;
    let now = app.clock().now();
    let [payload, message_age, dedupe, attempts] =
        [retention.payload, retention.message, retention.dedupe, retention.attempts].map(|age| now - age.millis());
    let pruning = Pruning { app, message, batch: i64::from(retention.batch) };
    let messages = pruning.all(move |tx, batch| tx.prune_messages(message_age, batch).boxed()).await?;
    let bodies = pruning.all(move |tx, batch| tx.prune_bodies(payload, batch).boxed()).await?;
    let tries = pruning.attempts(attempts).await?;
    let keys = pruning.all(move |tx, batch| tx.prune_keys(dedupe, batch).boxed()).await?;
    // What runs found is of no use once they are over.
    pruning.all(move |tx, batch| tx.prune_records(batch).boxed()).await?;
    let Pruning { message, .. } = pruning;
    if [messages, bodies, tries, keys] == [0; 4] {
        message.unchanged();
    }
    let stopped = if message.is_leaving() { "; stopped, the next run goes on" } else { "" };
    message.tell(format!("Pruned {messages} messages, {bodies} bodies, {tries} tries and {keys} keys{stopped}."));
    Ok(())
}

struct Pruning {
    app: App,
    message: Message,
    batch: i64,
}

impl Pruning {
    /// Batch after batch, until one is not full or the daemon stops.
    async fn all<F>(&self, one: F) -> Result<u64>
    where
        F: for<'t> Fn(&'t mut Tx, i64) -> BoxFuture<'t, Result<u64>> + Copy + Send + 'static,
    {
        let (mut sum, batch) = (0, self.batch);
        while !self.message.is_leaving() {
            let count = self.app.store().write(Urgency::Bulk, move |tx| one(tx, batch)).await?;
            sum += count;
            if count < batch as u64 {
                break;
            }
        }
        Ok(sum)
    }

    async fn attempts(&self, before: Millis) -> Result<u64> {
        let (mut sum, batch, mut place) = (0, self.batch, Some(AttemptPlace::START));
        while let Some(from) = place.filter(|_| !self.message.is_leaving()) {
            let page = self.app.store().write(Urgency::Bulk, move |tx| tx.prune_attempts(before, from, batch).boxed());
            let (count, next) = page.await?;
            (sum, place) = (sum + count, next);
        }
        Ok(sum)
    }
}
