//! What passed since the last refusal, and which limit explains it.

use std::collections::VecDeque;
use std::time::Duration;

use super::At;

/// What passed, and when it was sent, since the last refusal.
///
/// For every moment `s` since then: passed since `s` ≤ limit × time since `s` + one second's worth
/// in the bucket. The greatest quotient is therefore a lower bound of the limit, and exact for the
/// moment in which the bucket was last full. Between two refusals the bucket was empty at both ends:
/// what passed in between is the limit itself, unless the bucket ran over.
#[derive(Debug)]
pub(super) struct Passed {
    since: At,
    /// Start of the first bin.
    first: At,
    bins: VecDeque<u32>,
    /// The bucket was empty at `since`.
    empty: bool,
    /// Since when every request had to wait for its turn; before, the bucket may have run over.
    paced_since: Option<At>,
    /// Nothing has passed yet.
    nothing: bool,
}

const BIN: Duration = Duration::from_millis(50);
/// Thirty seconds.
const BINS: usize = 600;
/// What the remote's bucket holds, in seconds of its limit.
const DEPTH: f64 = 1.0;

impl Passed {
    /// Nothing yet.
    pub fn new(since: At) -> Self {
        Self { since, first: since, bins: VecDeque::new(), empty: false, paced_since: None, nothing: true }
    }

    /// A refusal: the bucket is empty now.
    pub fn restart(&mut self, at: At) {
        *self = Self { empty: true, paced_since: self.paced_since, ..Self::new(at) };
    }

    /// A request goes out; `paced` if it had to wait for its turn.
    pub fn sent(&mut self, now: At, paced: bool) {
        if paced {
            self.paced_since.get_or_insert(now);
        } else {
            self.paced_since = None;
        }
    }

    /// A request that was sent at `at` passed; of those before the last refusal nobody wants to know.
    pub fn add(&mut self, at: At) {
        let Some(into) = at.checked_sub(self.first) else { return };
        self.nothing = false;
        let bin = (into.as_millis() / BIN.as_millis()) as usize;
        if bin >= BINS {
            let gone = bin - BINS + 1;
            if gone >= self.bins.len() {
                self.bins.clear();
            } else {
                self.bins.drain(..gone);
            }
            self.first += BIN * gone as u32;
        }
        let bin = bin.min(BINS - 1);
        if self.bins.len() <= bin {
            self.bins.resize(bin + 1, 0);
        }
        self.bins[bin] += 1;
    }

    /// Did nothing pass since the last refusal?
    pub fn is_empty(&self) -> bool {
        self.nothing
    }

    /// For how long there has been nothing but refusals.
    pub fn nothing_for(&self, at: At) -> Duration {
        if self.empty && self.is_empty() { at.saturating_sub(self.since) } else { Duration::ZERO }
    }

    /// The limit, if a refusal at `at` tells it: requests waited for their turn since the last
    /// refusal, or for some time.
    pub fn explained(&self, at: At) -> Option<f64> {
        let paced_since = self.paced_since?;
        let since_empty = self.empty && paced_since <= self.since && self.first == self.since;
        let for_long = at.saturating_sub(paced_since).as_secs_f64() >= DEPTH;
        (since_empty || for_long).then(|| self.fit(at))
    }

    /// The limit that explains what passed until `at`, in requests per second.
    pub fn fit(&self, at: At) -> f64 {
        let (mut count, mut best) = (0.0, 0.0_f64);
        for (n, bin) in self.bins.iter().enumerate().rev() {
            count += f64::from(*bin);
            let time = at.saturating_sub(self.first + BIN * n as u32).as_secs_f64();
            best = best.max(count / (time + DEPTH));
        }
        let time = at.saturating_sub(self.since).as_secs_f64();
        if self.empty && self.first == self.since && time > 0.0 {
            best = best.max((count + 0.5) / time);
        }
        best
    }
}
