//! The budget of one credential: how many requests per second and at once, shared by lanes.
//!
//! A token bucket decides *when* the next request may go, fair queueing decides *whose* it is: a
//! lane with a reserved share gets at least that share while it has requests, and what it does not
//! use is lent to the others.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

/// What the remote allows.
#[derive(Clone, Debug)]
pub struct Limits {
    pub requests_per_second: f64,
    /// Requests under way at once.
    pub in_flight: usize,
    /// Lane → guaranteed share, 0–1; the others divide what is left.
    pub reserve: BTreeMap<String, f64>,
}

/// Handle to one credential's budget; clones share it.
#[derive(Clone)]
pub struct Budget(Arc<Mutex<State>>);

/// The right to make one request; ends when dropped.
pub struct Permit(Budget);

struct State {
    limits: Limits,
    tokens: f64,
    filled: Instant,
    paused_until: Option<Instant>,
    in_flight: usize,
    lanes: BTreeMap<String, Lane>,
    /// Virtual time of the lane served last; a lane that was idle starts here, not in the past.
    served: f64,
    /// A timer for the next token is already set.
    ticking: bool,
}

#[derive(Default)]
struct Lane {
    virtual_time: f64,
    waiting: VecDeque<oneshot::Sender<Permit>>,
}

impl Budget {
    pub fn new(limits: Limits) -> Self {
        let burst = limits.requests_per_second.max(1.0);
        Self(Arc::new(Mutex::new(State {
            limits,
            tokens: burst,
            filled: now(),
            paused_until: None,
            in_flight: 0,
            lanes: BTreeMap::new(),
            served: 0.0,
            ticking: false,
        })))
    }

    /// Waits for this lane's turn.
    pub async fn acquire(&self, lane: &str) -> Permit {
        loop {
            let (turn, permit) = oneshot::channel();
            {
                let mut state = self.state();
                let served = state.served;
                let queue = state.lanes.entry(lane.to_owned()).or_default();
                if queue.waiting.is_empty() {
                    queue.virtual_time = queue.virtual_time.max(served);
                }
                queue.waiting.push_back(turn);
            }
            self.pump();
            if let Ok(permit) = permit.await {
                return permit;
            }
        }
    }

    /// Lets nobody pass for `pause`.
    pub fn pause(&self, pause: Duration) {
        let mut state = self.state();
        let until = now() + pause;
        state.paused_until = Some(state.paused_until.map_or(until, |before| before.max(until)));
        state.tokens = 0.0;
    }

    /// Gives out permits while there are tokens; sets a timer when there are only requests left.
    fn pump(&self) {
        let mut granted = Vec::new();
        let wait = {
            let mut state = self.state();
            loop {
                if !state.has_waiting() || state.in_flight >= state.limits.in_flight {
                    break None;
                }
                if let Some(wait) = state.until_token() {
                    let set = !std::mem::replace(&mut state.ticking, true);
                    break set.then_some(wait);
                }
                if let Some(turn) = state.next() {
                    state.tokens -= 1.0;
                    state.in_flight += 1;
                    granted.push(turn);
                }
            }
        };
        for turn in granted {
            // A caller that went away gives its permit back by dropping it.
            drop(turn.send(Permit(self.clone())));
        }
        if let Some(wait) = wait {
            let budget = self.clone();
            #[expect(clippy::disallowed_methods, reason = "pacing is real time, as the network is")]
            tokio::spawn(async move {
                tokio::time::sleep(wait).await;
                budget.state().ticking = false;
                budget.pump();
            });
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.state().in_flight -= 1;
        self.0.pump();
    }
}

impl State {
    fn has_waiting(&self) -> bool {
        self.lanes.values().any(|lane| !lane.waiting.is_empty())
    }

    /// `None` = a token is there; else how long until one is.
    fn until_token(&mut self) -> Option<Duration> {
        let now = now();
        if let Some(until) = self.paused_until {
            if until > now {
                self.filled = now;
                return Some(until - now);
            }
            self.paused_until = None;
        }
        let rate = self.limits.requests_per_second;
        let burst = rate.max(1.0);
        self.tokens = (self.tokens + now.duration_since(self.filled).as_secs_f64() * rate).min(burst);
        self.filled = now;
        (self.tokens < 1.0).then(|| Duration::from_secs_f64((1.0 - self.tokens) / rate))
    }

    /// The next request of the lane that is furthest behind its share.
    fn next(&mut self) -> Option<oneshot::Sender<Permit>> {
        let reserved: f64 = self.limits.reserve.values().sum();
        let others = self.lanes.keys().filter(|lane| !self.limits.reserve.contains_key(*lane)).count().max(1);
        let rest = ((1.0 - reserved).max(0.05)) / others as f64;
        let (name, lane) = self
            .lanes
            .iter_mut()
            .filter(|(_, lane)| !lane.waiting.is_empty())
            .min_by(|(_, a), (_, b)| a.virtual_time.total_cmp(&b.virtual_time))?;
        let share = self.limits.reserve.get(name).copied().unwrap_or(rest).max(0.001);
        self.served = lane.virtual_time;
        lane.virtual_time += 1.0 / share;
        lane.waiting.pop_front()
    }
}

fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "pacing is real time, as the network is")]
    Instant::now()
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests run callers side by side")]
mod tests {
    use super::*;

    fn limits(rate: f64, in_flight: usize) -> Limits {
        let reserve = BTreeMap::from([("order".to_owned(), 0.4), ("status".to_owned(), 0.25)]);
        Limits { requests_per_second: rate, in_flight, reserve }
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
}
