//! Jobs as messages: a tick is a row keyed by its planned time, so that it happens once whoever
//! notices it, and never twice at once (the job's name is its subject).

use std::collections::BTreeMap;

use tokio_util::sync::CancellationToken;

use super::{Kind, Queue};
use crate::clock::Millis;
use crate::store::Source;

/// Puts the ticks of all jobs until `stop`. A tick that was missed while nothing ran comes once.
pub async fn tick(queue: Queue, stop: CancellationToken) {
    let mut planned: BTreeMap<(String, String), Millis> = BTreeMap::new();
    while !stop.is_cancelled() {
        let now = queue.app.clock().now();
        let mut next = Millis::MAX;
        let mut due = Vec::new();
        for connection in queue.app.connections() {
            for job in queue.routes.iter().filter(|route| route.kind == Kind::Job) {
                let Some(every) = job.every.and_then(|every| every(&connection.config)) else { continue };
                let step = every.millis().max(1);
                // Ticks lie on multiples of the interval, so that all daemons name them alike.
                let slot = now / step * step;
                let last = planned.entry((connection.config.name.clone(), job.name.clone())).or_insert(Millis::MIN);
                if *last < slot {
                    *last = slot;
                    let draft = queue.draft(&connection.config.name, &job.name, slot.to_string(), Source::Timer);
                    due.push(draft.subject(&job.name));
                }
                next = next.min(slot + step);
            }
        }
        if let Err(error) = queue.put(due).await {
            tracing::warn!("job ticks could not be stored; they come with the next look: {error}");
            planned.clear();
            next = now + 1000;
        }
        if next == Millis::MAX {
            return;
        }
        tokio::select! {
            () = queue.app.clock().sleep_until(next) => {}
            () = stop.cancelled() => {}
        }
    }
}
