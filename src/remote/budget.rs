//! The budget of one credential, as callers see it: wait for a permit, send, say what came back.
//!
//! What it decides, and how, is in [`Turns`] and [`Limit`](super::limit::Limit); this file gives
//! them a clock, callers that wait and a timer.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::limit::{At, Learned, Sent, Verdict};
use super::turns::{Limits, Next, Turns};

/// Handle to one credential's budget; clones share it.
#[derive(Clone)]
pub struct Budget(Arc<Inner>);

struct Inner {
    started: Instant,
    state: Mutex<State>,
}

struct State {
    turns: Turns<oneshot::Sender<Permit>>,
    /// A timer for the next turn is already set.
    ticking: bool,
}

/// The right to make one request. Dropped without a word, no answer came.
pub struct Permit {
    budget: Budget,
    sent: Sent,
    verdict: Option<Verdict>,
}

/// A budget as it is now.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    /// Requests per second of this daemon.
    pub limit: f64,
    /// What is known of the limit of all daemons together.
    pub learned: Option<Learned>,
    /// Requests under way.
    pub in_flight: usize,
    /// Requests that wait for their turn.
    pub waiting: usize,
}

impl Budget {
    pub fn new(limits: Limits) -> Self {
        let state = Mutex::new(State { turns: Turns::new(limits), ticking: false });
        Self(Arc::new(Inner { started: now(), state }))
    }

    /// Waits for this lane's turn.
    pub async fn acquire(&self, lane: &str) -> Permit {
        loop {
            let (turn, permit) = oneshot::channel();
            self.state().turns.ask(lane, turn);
            self.pump();
            if let Ok(permit) = permit.await {
                return permit;
            }
        }
    }

    /// Starts from what an earlier daemon learned. Does nothing to a fixed
    /// budget.
    pub fn recall(&self, learned: Learned) {
        let now = self.now();
        self.state().turns.recall(now, learned);
    }

    /// Divides the remote's limit among so many daemons, this one included.
    pub fn share(&self, daemons: usize) {
        let now = self.now();
        self.state().turns.share(now, daemons);
    }

    /// How it stands.
    pub fn standing(&self) -> Standing {
        let state = self.state();
        let limit = state.turns.limit();
        Standing {
            limit: limit.rate(),
            learned: limit.learned(),
            in_flight: state.turns.in_flight(),
            waiting: state.turns.waiting(),
        }
    }

    /// Gives out permits while there are turns; sets a timer when there are only requests left.
    fn pump(&self) {
        let mut granted = Vec::new();
        let wait = {
            let mut state = self.state();
            loop {
                match state.turns.next(self.now()) {
                    Next::Go(turn, _) if turn.is_closed() => state.turns.unused(),
                    Next::Go(turn, sent) => granted.push((turn, sent)),
                    Next::Wait(wait) => {
                        let set = !std::mem::replace(&mut state.ticking, true);
                        break set.then_some(wait);
                    }
                    Next::Rest => break None,
                }
            }
        };
        for (turn, sent) in granted {
            // A caller that went away just now gives its permit back by dropping it.
            drop(turn.send(Permit { budget: self.clone(), sent, verdict: Some(Verdict::Lost) }));
        }
        if let Some(wait) = wait {
            self.wake_in(wait);
        }
    }

    fn wake_in(&self, wait: Duration) {
        let budget = self.clone();
        #[expect(clippy::disallowed_methods, reason = "pacing is real time, as the network is")]
        tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            budget.state().ticking = false;
            budget.pump();
        });
    }

    fn now(&self) -> At {
        now().saturating_duration_since(self.0.started)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Permit {
    /// The request is over.
    pub fn answered(mut self, verdict: Verdict) {
        self.verdict = Some(verdict);
    }

    /// Nothing was sent.
    pub fn unused(mut self) {
        self.verdict = None;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let now = self.budget.now();
        match self.verdict {
            Some(verdict) => self.budget.state().turns.answered(now, self.sent, verdict),
            None => self.budget.state().turns.unused(),
        }
        self.budget.pump();
    }
}

fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "pacing is real time, as the network is")]
    Instant::now()
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests run callers side by side")]
mod tests {
    use std::collections::BTreeMap;

    use super::super::limit::Rule;
    use super::*;

    fn limits(rate: f64, in_flight: usize) -> Limits {
        let reserve = BTreeMap::from([("order".to_owned(), 0.4), ("status".to_owned(), 0.25)]);
        Limits { rule: Rule::Fixed(rate), in_flight, reserve }
    }

    /// Who is served, in which order, when both lanes have plenty of requests?
    #[tokio::test]
    async fn a_reserved_lane_gets_its_share_and_the_rest_is_lent() {
        let budget = Budget::new(limits(1_000_000.0, 1));
        let held = budget.acquire("bulk").await;
        let served = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = Vec::new();
        for lane in ["bulk", "order"] {
            for _ in 0..40 {
                let (budget, served) = (budget.clone(), served.clone());
                tasks.push(tokio::task::spawn(async move {
                    let permit = budget.acquire(lane).await;
                    served.lock().unwrap().push(lane);
                    drop(permit);
                }));
                tokio::task::yield_now().await;
            }
        }
        drop(held);
        for task in tasks {
            task.await.unwrap();
        }
        let served = served.lock().unwrap();
        assert_eq!(served.len(), 80);
        let orders = served[..40].iter().filter(|lane| **lane == "order").count();
        assert!((18..=26).contains(&orders), "order lane got {orders} of the first 40");
    }

    #[tokio::test]
    async fn never_more_than_in_flight() {
        let budget = Budget::new(limits(1_000_000.0, 2));
        let first = budget.acquire("order").await;
        let _second = budget.acquire("order").await;
        let third = tokio::task::spawn({
            let budget = budget.clone();
            async move { budget.acquire("order").await }
        });
        tokio::task::yield_now().await;
        assert!(!third.is_finished());
        drop(first);
        third.await.unwrap();
    }

    /// A caller that gives up, before or after its turn, takes nothing from the others.
    #[tokio::test]
    async fn callers_that_go_away_leave_no_hole() {
        let budget = Budget::new(limits(1_000_000.0, 1));
        let held = budget.acquire("order").await;
        for _ in 0..100 {
            let budget = budget.clone();
            let waiting = tokio::task::spawn(async move { budget.acquire("order").await });
            tokio::task::yield_now().await;
            waiting.abort();
            assert!(waiting.await.is_err());
        }
        assert_eq!(budget.standing().waiting, 100);
        held.unused();
        drop(budget.acquire("order").await);
        let standing = budget.standing();
        assert_eq!((standing.in_flight, standing.waiting), (0, 0));
    }
}
