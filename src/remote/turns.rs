//! Whose turn is it, and when: the budget of one credential without a clock and without tasks.
//!
//! A token bucket decides *when* the next request may go, fair queueing decides *whose* it is: a
//! lane with a reserved share gets at least that share while it has requests, and what it does not
//! use is lent to the others.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::limit::{At, Learned, Limit, Rule, Sent, Verdict};

/// What the remote allows.
#[derive(Clone, Debug)]
pub struct Limits {
    pub rule: Rule,
    /// Requests under way at once.
    pub in_flight: usize,
    /// Lane → guaranteed share, 0–1; the others divide what is left.
    pub reserve: BTreeMap<String, f64>,
}

/// Requests of all lanes, each waiting for its turn. `T` is whom to tell.
#[derive(Debug)]
pub struct Turns<T> {
    limit: Limit,
    most: usize,
    reserve: BTreeMap<String, f64>,
    tokens: f64,
    filled: At,
    paused_until: At,
    in_flight: usize,
    lanes: BTreeMap<String, Lane<T>>,
    /// Virtual time of the lane served last; a lane that was idle starts here, not in the past.
    served: f64,
    /// Somebody waits for a token.
    short: bool,
}

/// What happens next.
#[derive(Debug)]
pub enum Next<T> {
    /// This request goes.
    Go(T, Sent),
    /// Nobody may go for so long.
    Wait(Duration),
    /// Nobody waits, or an answer must come first.
    Rest,
}

/// What may be sent at once after a pause, in seconds of the rate. Less than the remote's bucket
/// holds, so that requests that overtake each other on the way find something in it.
const BURST: f64 = 0.25;

#[derive(Debug)]
struct Lane<T> {
    virtual_time: f64,
    waiting: VecDeque<T>,
}

impl<T> Turns<T> {
    pub fn new(limits: Limits) -> Self {
        Self {
            limit: Limit::new(limits.rule),
            most: limits.in_flight,
            reserve: limits.reserve,
            tokens: 1.0,
            filled: At::ZERO,
            paused_until: At::ZERO,
            in_flight: 0,
            lanes: BTreeMap::new(),
            served: 0.0,
            short: false,
        }
    }

    /// One more request of `lane`.
    pub fn ask(&mut self, lane: &str, turn: T) {
        let lane = match self.lanes.get_mut(lane) {
            Some(lane) => lane,
            None => self.lanes.entry(lane.to_owned()).or_insert(Lane { virtual_time: 0.0, waiting: VecDeque::new() }),
        };
        if lane.waiting.is_empty() {
            lane.virtual_time = lane.virtual_time.max(self.served);
        }
        lane.waiting.push_back(turn);
    }

    /// The next request that may go now; to be called until there is none.
    pub fn next(&mut self, now: At) -> Next<T> {
        if self.waiting() == 0 {
            self.short = false;
            return Next::Rest;
        }
        if self.in_flight >= self.most {
            return Next::Rest;
        }
        if let Some(wait) = self.until_token(now) {
            self.short = true;
            return Next::Wait(wait);
        }
        let Some(turn) = self.pop() else { return Next::Rest };
        self.tokens -= 1.0;
        self.in_flight += 1;
        let sent = self.limit.sent(now, self.short);
        // With a token left, the next one did not wait for it.
        self.short &= self.tokens < 1.0;
        Next::Go(turn, sent)
    }

    /// The one whose turn it was is gone: nothing was sent.
    pub fn unused(&mut self) {
        self.in_flight -= 1;
        self.tokens += 1.0;
    }

    /// A request is over.
    pub fn answered(&mut self, now: At, sent: Sent, verdict: Verdict) {
        self.in_flight -= 1;
        self.fill(now);
        if let Some(pause) = self.limit.answered(now, sent, verdict) {
            self.paused_until = self.paused_until.max(now + pause);
            self.tokens = 0.0;
        }
    }

    /// Starts from what was learned before.
    pub fn recall(&mut self, now: At, learned: Learned) {
        self.fill(now);
        self.limit.recall(now, learned);
    }

    /// Divides the limit among so many daemons.
    pub fn share(&mut self, now: At, daemons: usize) {
        self.fill(now);
        self.limit.share(now, daemons);
    }

    pub fn limit(&self) -> &Limit {
        &self.limit
    }

    /// Requests under way.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Requests that wait.
    pub fn waiting(&self) -> usize {
        self.lanes.values().map(|lane| lane.waiting.len()).sum()
    }

    /// `None` = a token is there; else how long until one is.
    fn until_token(&mut self, now: At) -> Option<Duration> {
        self.fill(now);
        if now < self.paused_until {
            return Some(self.paused_until - now);
        }
        // A hair less than one, or rounding would ask for a wait of nothing.
        let missing = 1.0 - self.tokens;
        (missing > 1e-9).then(|| Duration::from_secs_f64(missing / self.limit.rate()) + Duration::from_nanos(1))
    }

    /// Tokens since the last look. The quarter above one is for timers that come late.
    fn fill(&mut self, now: At) {
        let since = self.filled.max(self.paused_until);
        let rate = self.limit.rate();
        if let Some(passed) = now.checked_sub(since) {
            self.tokens = (self.tokens + passed.as_secs_f64() * rate).min((BURST * rate).max(1.25));
        }
        self.filled = self.filled.max(now);
    }

    /// The next request of the lane that is furthest behind its share.
    fn pop(&mut self) -> Option<T> {
        let reserved: f64 = self.reserve.values().sum();
        let others = self.lanes.keys().filter(|lane| !self.reserve.contains_key(*lane)).count().max(1);
        let rest = ((1.0 - reserved).max(0.05)) / others as f64;
        let (name, lane) = self
            .lanes
            .iter_mut()
            .filter(|(_, lane)| !lane.waiting.is_empty())
            .min_by(|(_, a), (_, b)| a.virtual_time.total_cmp(&b.virtual_time))?;
        let share = self.reserve.get(name).copied().unwrap_or(rest).max(0.001);
        self.served = lane.virtual_time;
        lane.virtual_time += 1.0 / share;
        lane.waiting.pop_front()
    }
}
