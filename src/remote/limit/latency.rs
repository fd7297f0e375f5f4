//! Does the remote queue what it cannot do at once?
//!
//! Answers are taken together in windows. A queue shows when they take more than twice as long as
//! usual although no more of them come. Whether it really is one shows by letting it drain: if the
//! next answers are no faster, the remote is just slower now.

use std::time::Duration;

use super::{At, Sent};

/// One window of answers, and what is known from those before.
#[derive(Debug)]
pub(super) struct Latency {
    /// When the window opened; after a pause, when the pause ends.
    since: At,
    answers: u32,
    seconds: f64,
    /// A refusal is no work; its latency says nothing.
    spoilt: bool,
    /// What answers usually take, in seconds.
    usual: Option<f64>,
    /// Answers per second in the last window.
    throughput: f64,
    /// What they took when the remote seemed to queue.
    suspected: Option<f64>,
}

/// What a window of answers shows.
#[derive(Debug)]
pub(super) enum Finding {
    /// Answers per second, unless known from the window before, and how long a request waits over there.
    Queue { throughput: Option<f64>, wait: Duration },
    /// What was taken for a queue did not drain.
    Mistake,
}

/// A window closes after this time, with at least so many answers.
const WINDOW: Duration = Duration::from_secs(1);
const ANSWERS: u32 = 20;
/// Longest pause that lets a queue drain.
const LONGEST: Duration = Duration::from_secs(5);

impl Latency {
    pub fn new(since: At) -> Self {
        Self { since, answers: 0, seconds: 0.0, spoilt: false, usual: None, throughput: 0.0, suspected: None }
    }

    /// A request was refused.
    pub fn spoil(&mut self) {
        self.spoilt = true;
    }

    /// A request was answered.
    pub fn answer(&mut self, now: At, sent: Sent) -> Option<Finding> {
        if self.suspected.is_some() && sent.at < self.since {
            // It was in the queue already.
            return None;
        }
        self.answers += 1;
        let latest = now.saturating_sub(sent.at).as_secs_f64();
        self.seconds += latest;
        let mean = self.seconds / f64::from(self.answers);
        let time = now.saturating_sub(self.since);
        if self.answers < ANSWERS || time < WINDOW {
            return None;
        }
        let throughput = f64::from(self.answers) / time.as_secs_f64();
        let usual = self.usual.unwrap_or(mean);
        let finding = self.finding(mean, latest, usual, throughput);
        let usual = match finding {
            Some(Finding::Mistake) => mean,
            // Down quickly, up slowly: a queue must not become usual.
            _ => usual + (mean - usual) * if mean < usual { 0.2 } else { 0.02 },
        };
        let (suspected, drained) = match finding {
            Some(Finding::Queue { wait, .. }) => (Some(mean.max(latest)), now + wait),
            _ => (None, now),
        };
        *self = Self { usual: Some(usual), throughput, suspected, ..Self::new(drained) };
        finding
    }

    fn finding(&self, mean: f64, latest: f64, usual: f64, throughput: f64) -> Option<Finding> {
        let slow = mean > 2.0 * usual + 0.02;
        if self.spoilt || !slow {
            return None;
        }
        if self.suspected.is_some_and(|suspected| mean > 0.8 * suspected) {
            return Some(Finding::Mistake);
        }
        // Requests one after the other cannot queue; and more answers are more capacity.
        let crowd = throughput * mean >= 2.0;
        let queues = self.suspected.is_some() || (crowd && throughput < 1.1 * self.throughput);
        // What is under way now has about as long to wait as the latest answer had.
        let wait = Duration::from_secs_f64(mean.max(latest)).min(LONGEST);
        let throughput = self.suspected.is_none().then_some(throughput);
        queues.then_some(Finding::Queue { throughput, wait })
    }
}
