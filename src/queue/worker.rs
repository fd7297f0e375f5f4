//! The worker: claims due messages lane by lane and runs their handlers, as many as there are slots.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::Queue;
use super::work::{DATABASE_GONE, End, hand_back, work};
use crate::clock::Millis;
use crate::config::model::Lane;
use crate::pulse::Pulse;
use crate::store::{Claimed, Error, Lanes, Urgency};

/// How long a daemon that shares its database looks away from what others put.
const LOOK: Duration = Duration::from_millis(500);
/// How long a handler whose calls to remotes were ended has to come back by itself.
const RETURN: Duration = Duration::from_secs(1);
/// How long handing back may take after that.
const HAND_BACK: Duration = Duration::from_secs(3);

/// Works on the queue until it is stopped.
pub struct Worker {
    queue: Queue,
    daemon: Uuid,
    /// The heaviest first.
    lanes: Vec<Slots>,
    /// Workers that are not reserved.
    shared: usize,
    freed: Arc<Notify>,
    running: TaskTracker,
    end: End,
    claims: Arc<Claims>,
}

/// Claims whose handlers run or wait for their turn, and what they work on, oldest first.
#[derive(Default)]
struct Claims {
    held: Mutex<Vec<(Uuid, Place)>>,
    ended: Notify,
}

/// Connection and subject; without a subject the message's id.
type Place = (String, String);

struct Slots {
    name: String,
    lane: Lane,
    busy: Arc<AtomicUsize>,
    look: Look,
}

/// What is known of a lane.
#[derive(Clone, Copy)]
enum Look {
    /// Something may be due.
    Open,
    /// At this time nothing was due that is not running by now.
    Closed { looked: Millis },
    /// The same, and something falls due at `wake`.
    Asleep { wake: Millis },
}

/// A lane that messages may have but the configuration does not name.
const UNNAMED: Lane = Lane { reserved: 0, weight: 1 };

impl Worker {
    pub fn new(queue: Queue, daemon: Uuid) -> Self {
        let config = queue.app.config();
        let reserved: usize = config.queue.lanes.values().map(|lane| lane.reserved).sum();
        let shared = config.queue.workers.saturating_sub(reserved);
        let mut lanes: BTreeMap<&str, Lane> =
            config.queue.lanes.iter().map(|(name, lane)| (name.as_str(), *lane)).collect();
        // Routes that are not registered have a lane too: what an older version put is told, not left.
        let of_routes = queue.routes.iter().map(|route| route.name.as_str()).chain([""]);
        for lane in of_routes.map(|route| queue.routes.lane(route, config)) {
            lanes.entry(lane).or_insert(UNNAMED);
        }
        let slots =
            |(name, lane): (&str, Lane)| Slots { name: name.to_owned(), lane, busy: Arc::default(), look: Look::Open };
        let mut lanes: Vec<Slots> = lanes.into_iter().map(slots).collect();
        lanes.sort_by_key(|slots| std::cmp::Reverse(slots.lane.weight));
        let (running, end) = (TaskTracker::new(), End::default());
        Self { queue, daemon, lanes, shared, freed: Arc::default(), running, end, claims: Arc::default() }
    }

    /// Claims and runs until `stop`; then lets running handlers finish for `drain`. The messages of
    /// those that did not are handed back, and the attempt does not count.
    pub async fn run(mut self, stop: CancellationToken, drain: Duration) {
        self.end.leaving = stop.clone();
        let pulse = self.queue.app.pulses().join("worker");
        let mut unheard = false;
        while !stop.is_cancelled() {
            pulse.turn();
            let claimed = match unheard {
                true => self.forget_unheard().await.map(|()| 0),
                false => self.claim().await,
            };
            match claimed {
                Ok(_) if unheard => {
                    unheard = false;
                    self.open(&Lanes::All);
                }
                Ok(0) => self.rest(&stop, &pulse).await,
                Ok(_) => {}
                Err(error) => {
                    match error.is_trouble() {
                        true => tracing::debug!("the queue cannot be read: {error}"),
                        false => tracing::warn!("the queue cannot be read: {error}"),
                    }
                    unheard = true;
                    self.pause(&stop, DATABASE_GONE).await;
                }
            }
        }
        drop(pulse);
        self.drain(drain).await;
    }

    async fn drain(&self, drain: Duration) {
        self.running.close();
        if tokio::time::timeout(drain, self.running.wait()).await.is_ok() {
            return;
        }
        tracing::warn!("{} handlers did not finish within {drain:?}; their messages go back", self.running.len());
        // First the network: a handler that waits for a remote comes back with an error, and what it
        // does in the database is not cut off. After this nothing of us reaches a remote any more, so
        // whoever claims a message that went back is alone with it.
        self.queue.app.hang_up();
        self.end.hung_up.cancel();
        if tokio::time::timeout(RETURN, self.running.wait()).await.is_ok() {
            return;
        }
        self.end.dropped.cancel();
        if tokio::time::timeout(HAND_BACK, self.running.wait()).await.is_err() {
            tracing::warn!(
                "{} messages could not be handed back; they are together with the lease",
                self.running.len()
            );
        }
    }

    /// After a claim that failed: it may have been stored all the same, and nobody works on it.
    async fn forget_unheard(&self) -> Result<(), Error> {
        let (daemon, known) = (self.daemon, self.claims.known());
        let store = self.queue.app.store();
        let freed = store
            .write(Urgency::Urgent, move |tx| async move { tx.reclaim_unheard(daemon, &known).await }.boxed())
            .await?;
        if freed > 0 {
            tracing::warn!("{freed} messages were claimed without our learning it; they run again");
        }
        Ok(())
    }

    /// Fills free slots with what may be due; answers how many handlers it started.
    ///
    /// Each lane gets its reserved slots and its part of the shared ones by weight; what is left of
    /// those after that is lent to lanes that still have work, the heaviest first.
    async fn claim(&mut self) -> Result<usize, Error> {
        let weights: usize = self.lanes.iter().map(|slots| slots.lane.weight as usize).sum();
        // A slot that becomes free meanwhile is for the next round, where its own lane comes first.
        let mut free = self.free();
        let mut started = 0;
        for at in 0..self.lanes.len() {
            let slots = &self.lanes[at];
            let part = (self.shared * slots.lane.weight as usize).div_ceil(weights.max(1));
            let lent = part.saturating_sub(slots.over()).min(free);
            let reserved = slots.lane.reserved.saturating_sub(slots.busy());
            let claimed = self.claim_of(at, reserved + lent).await?;
            started += claimed;
            free -= claimed.saturating_sub(reserved);
        }
        for at in 0..self.lanes.len() {
            // A lane of weight 0 has its reserved workers and no others.
            if self.lanes[at].lane.weight > 0 {
                let claimed = self.claim_of(at, free).await?;
                started += claimed;
                free -= claimed;
            }
        }
        Ok(started)
    }

    /// Shared slots that are free.
    fn free(&self) -> usize {
        self.shared.saturating_sub(self.lanes.iter().map(Slots::over).sum())
    }

    async fn claim_of(&mut self, at: usize, limit: usize) -> Result<usize, Error> {
        let (daemon, slots) = (self.daemon, &self.lanes[at]);
        if limit == 0 || !matches!(slots.look, Look::Open) {
            return Ok(0);
        }
        let (lane, app) = (slots.name.clone(), &self.queue.app);
        // Before the claim looks: what falls due meanwhile is still to come.
        let looked = app.clock().now();
        let claim = app.store().write_eager(move |tx| async move { tx.claim(daemon, &lane, limit).await }.boxed());
        let claimed = claim.await?;
        let count = claimed.len();
        for claimed in claimed {
            self.start(&self.lanes[at], claimed);
        }
        if count < limit {
            self.lanes[at].look = Look::Closed { looked };
        }
        Ok(count)
    }

    /// Something may be due in these lanes.
    fn open(&mut self, lanes: &Lanes) {
        for slots in self.lanes.iter_mut().filter(|slots| lanes.contains(&slots.name)) {
            slots.look = Look::Open;
        }
    }

    fn start(&self, slots: &Slots, claimed: Claimed) {
        slots.busy.fetch_add(1, Ordering::SeqCst);
        let (queue, end) = (self.queue.clone(), self.end.clone());
        let (busy, freed) = (slots.busy.clone(), self.freed.clone());
        let (claims, claim) = (self.claims.clone(), claimed.claim);
        let lead = claimed.lead();
        let place = (lead.connection.clone(), lead.subject.clone().unwrap_or_else(|| lead.id.to_string()));
        claims.begin(claim, place.clone());
        self.running.spawn(async move {
            tokio::select! {
                () = claims.turn(claim, &place) => work(queue, claimed, end).await,
                () = end.dropped.cancelled() => hand_back(&queue, claimed).await,
            }
            claims.end(claim);
            busy.fetch_sub(1, Ordering::SeqCst);
            freed.notify_one();
        });
    }

    /// Sleeps until something may have become due, or a slot free for what is due.
    async fn rest(&mut self, stop: &CancellationToken, pulse: &Pulse) {
        let app = self.queue.app.clone();
        let wake = self.wake().await;
        let shared = app.store().database() == "postgres";
        #[expect(clippy::disallowed_methods, reason = "other daemons are real, also in a story")]
        let look = tokio::time::sleep(LOOK);
        let open = tokio::select! {
            lanes = app.store().due().notified() => lanes,
            () = self.freed.notified() => Lanes::default(),
            () = pulse.asked() => Lanes::All,
            () = app.clock().sleep_until(wake), if wake < Millis::MAX => Lanes::All,
            () = look, if shared => Lanes::All,
            () = stop.cancelled() => return,
        };
        self.open(&open);
    }

    /// When the next message falls due in a lane in which nothing is due.
    async fn wake(&mut self) -> Millis {
        let mut first = Millis::MAX;
        for slots in &mut self.lanes {
            if let Look::Closed { looked } = slots.look {
                let next = async { self.queue.app.store().read().await?.next_due(&slots.name, looked).await }.await;
                // A database that does not tell is asked again at the next look.
                let Ok(next) = next else { continue };
                slots.look = Look::Asleep { wake: next.unwrap_or(Millis::MAX) };
            }
            if let Look::Asleep { wake } = slots.look {
                first = first.min(wake);
            }
        }
        first
    }

    async fn pause(&self, stop: &CancellationToken, pause: Duration) {
        #[expect(clippy::disallowed_methods, reason = "a database that is gone is real, also in a story")]
        let pause = tokio::time::sleep(pause);
        tokio::select! { () = pause => {}, () = stop.cancelled() => {} }
    }
}

impl Claims {
    fn begin(&self, claim: Uuid, place: Place) {
        self.held().push((claim, place));
    }

    fn end(&self, claim: Uuid) {
        self.held().retain(|(held, _)| *held != claim);
        self.ended.notify_waiters();
    }

    fn known(&self) -> BTreeSet<Uuid> {
        self.held().iter().map(|(claim, _)| *claim).collect()
    }

    /// Returns when no older claim works on the same. There is one when its handler is about to end,
    /// or when the database lost the older claim, which nobody had waited for, and its handler is at
    /// work all the same.
    async fn turn(&self, claim: Uuid, place: &Place) {
        loop {
            let mut ended = pin!(self.ended.notified());
            ended.as_mut().enable();
            if self.held().iter().find(|(_, held)| held == place).is_none_or(|(first, _)| *first == claim) {
                return;
            }
            ended.await;
        }
    }

    fn held(&self) -> MutexGuard<'_, Vec<(Uuid, Place)>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slots {
    fn busy(&self) -> usize {
        self.busy.load(Ordering::SeqCst)
    }

    /// How many shared slots it uses.
    fn over(&self) -> usize {
        self.busy().saturating_sub(self.lane.reserved)
    }
}
