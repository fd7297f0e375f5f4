//! How fast a remote may be asked, learned from its answers: a state machine without a clock.
//!
//! A remote that limits its callers is taken for a bucket that holds about one second of requests.
//! Whatever its limit is, it let through no more than `limit × time + what was in the bucket`. So
//! at a refusal, when the bucket is empty, the requests that passed tell the limit (see [`Passed`]),
//! and one refusal is enough to know it to a few percent.
//!
//! - **Search**: no refusal yet. Each request that had to wait for its turn and passed raises the
//!   rate, a quarter per second. A rate that nobody needs does not grow.
//! - **Hold**: just below the ceiling. A refusal here lowers the ceiling.
//! - **Probe**: now and then, slowly at first, above the ceiling. A refusal ends it, and the ceiling
//!   rises only if more passed than the old one allows; a confirmed ceiling is probed more seldom.
//!
//! After a refusal nobody passes for a moment, so that the next ones find something in the bucket.
//! Answers to requests that were sent before the rate was last lowered change nothing.
//!
//! A remote may queue instead of refusing: then answers take longer and longer while no more of them
//! come. What it answered is then the ceiling, and the queue is given time to drain.

mod latency;
mod passed;

use std::fmt;
use std::num::ParseFloatError;
use std::str::FromStr;
use std::time::Duration;

use latency::{Finding, Latency};
use passed::Passed;

/// A moment, counted from when the budget was made.
pub type At = Duration;

/// How the rate is found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// Requests per second.
    Fixed(f64),
    /// Learned: the rate before anything is known, and the most it may become.
    Auto { start: f64, max: f64 },
}

/// What a remote made of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was looked at, whatever came of it.
    Passed,
    /// Too fast (429, C0011E), with the time the remote asks for.
    TooFast(Option<Duration>),
    /// 503: too fast, or nobody there.
    Unavailable(Option<Duration>),
    /// No answer.
    Lost,
}

/// What is known of a limit, in requests per second of all daemons together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Learned {
    Limit(f64),
    /// So many pass; nobody needed more yet.
    AtLeast(f64),
}

/// A request under way, as the law sees it.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    pub at: At,
    /// It had to wait for its turn: the rate was too low for what was wanted.
    pub paced: bool,
    epoch: u64,
}

/// The rate of one credential.
#[derive(Debug)]
pub struct Limit {
    rule: Rule,
    /// Among how many daemons the remote's limit is divided; all rates here are one daemon's.
    daemons: f64,
    rate: f64,
    ceiling: Option<f64>,
    phase: Phase,
    /// Counts the changes of phase; an answer to a request of an earlier one comes too late.
    epoch: u64,
    /// Between the last probe and the next one.
    interval: Duration,
    /// When somebody last waited for a turn.
    wanted: At,
    /// Share of the last requests that were refused.
    refused: f64,
    passed: Passed,
    latency: Latency,
    /// Rate and ceiling before the remote seemed to queue.
    before: Option<(f64, Option<f64>)>,
}

#[derive(Debug)]
enum Phase {
    Search,
    Hold {
        probe: At,
    },
    /// `most`: since when the rate is the greatest that is allowed.
    Probe {
        most: Option<At>,
    },
}

/// Part of the ceiling that is used. The rest keeps something in the remote's bucket.
const HOLD: f64 = 0.98;
/// Growth per second while no ceiling is known, or far above the known one.
const FAST: f64 = 0.25;
/// Growth per second just above the ceiling.
const SLOW: f64 = 0.02;
/// After a refusal that says no more than "too fast".
const LOWER: f64 = 0.9;
/// So many refusals among the last requests are no reason to go slower: one alone.
const TOLERATED: f64 = 0.006;
/// How many requests are "the last" ones.
const LAST: f64 = 300.0;
/// The first probe after the ceiling changed, and the longest time between two; and the requests
/// that must lie between them, because each probe costs a refusal or two.
const SOON: (Duration, f64) = (Duration::from_secs(5), 50.0);
const SELDOM: (Duration, f64) = (Duration::from_secs(60), 300.0);
/// A probe as fast as it may ever be that goes on for so long finds no ceiling.
const PROBED: Duration = Duration::from_secs(10);
/// A probe ends when nobody had to wait for so long.
const IDLE: Duration = Duration::from_secs(1);
/// Requests per second below which no refusal brings the rate.
const LEAST: f64 = 0.5;
/// Longest pause for everybody because one answer asked for it.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// After so long without anything that passed, what was known of the limit means nothing.
const NOTHING: Duration = Duration::from_secs(3);

impl Limit {
    pub fn new(rule: Rule) -> Self {
        let rate = match rule {
            Rule::Fixed(rate) => rate,
            Rule::Auto { start, max } => start.min(max),
        };
        Self {
            rule,
            daemons: 1.0,
            rate,
            ceiling: None,
            phase: Phase::Search,
            epoch: 0,
            interval: SOON.0,
            wanted: At::ZERO,
            refused: 0.0,
            passed: Passed::new(At::ZERO),
            latency: Latency::new(At::ZERO),
            before: None,
        }
    }

    /// Requests per second that this daemon may send now.
    pub fn rate(&self) -> f64 {
        self.rate
    }

    /// What is known of the limit of all daemons together; `None` while that is nothing, or if the
    /// rate is fixed.
    pub fn learned(&self) -> Option<Learned> {
        match (self.rule, self.ceiling) {
            (Rule::Fixed(_), _) => None,
            (_, Some(ceiling)) => Some(Learned::Limit(ceiling * self.daemons)),
            (Rule::Auto { start, .. }, None) => {
                let rate = self.rate * self.daemons;
                (rate > start).then_some(Learned::AtLeast(rate))
            }
        }
    }

    /// Starts from what was learned before.
    pub fn recall(&mut self, now: At, learned: Learned) {
        let (Some(most), false) = (self.most(), learned.is_nonsense()) else { return };
        match learned {
            Learned::Limit(limit) => {
                self.hold(now, limit / self.daemons);
                // What was learned is believed for a while.
                self.postpone(now, self.interval * 4);
            }
            Learned::AtLeast(rate) => {
                self.rate = (rate / self.daemons).min(most);
                self.ceiling = None;
                self.enter(Phase::Search);
            }
        }
    }

    /// Divides the limit among so many daemons, this one included.
    pub fn share(&mut self, now: At, daemons: usize) {
        let daemons = daemons.max(1) as f64;
        let factor = self.daemons / daemons;
        if (factor - 1.0).abs() < f64::EPSILON {
            return;
        }
        self.daemons = daemons;
        self.rate *= factor;
        self.ceiling = self.ceiling.map(|ceiling| ceiling * factor);
        self.before = None;
        self.epoch += 1;
        self.passed = Passed::new(now);
    }

    /// A request goes out. A probe starts only when somebody wants more than the rate allows.
    pub fn sent(&mut self, now: At, paced: bool) -> Sent {
        self.passed.sent(now, paced);
        if paced {
            self.wanted = now;
            if let (Phase::Hold { probe }, Some(ceiling)) = (&self.phase, self.ceiling)
                && now >= *probe
            {
                self.enter(Phase::Probe { most: None });
                self.raise(now, ceiling * (1.0 + SLOW));
            }
        }
        Sent { at: now, paced, epoch: self.epoch }
    }

    /// An answer came, or none; says for how long nobody may pass.
    pub fn answered(&mut self, now: At, sent: Sent, verdict: Verdict) -> Option<Duration> {
        let refused = match verdict {
            Verdict::Passed => 0.0,
            Verdict::TooFast(_) | Verdict::Unavailable(_) => 1.0,
            Verdict::Lost => self.refused,
        };
        self.refused += (refused - self.refused) / LAST;
        match verdict {
            Verdict::Passed => self.pass(now, sent),
            Verdict::TooFast(hint) => self.refusal(now, sent, hint, false),
            Verdict::Unavailable(hint) => self.refusal(now, sent, hint, true),
            Verdict::Lost => None,
        }
    }

    fn pass(&mut self, now: At, sent: Sent) -> Option<Duration> {
        self.most()?;
        self.passed.add(sent.at);
        match self.latency.answer(now, sent) {
            Some(Finding::Queue { throughput, wait }) => return Some(self.queue(now, throughput, wait)),
            Some(Finding::Mistake) => self.take_back(now),
            None => {}
        }
        if sent.epoch != self.epoch {
            return None;
        }
        match self.phase {
            Phase::Search if sent.paced => self.raise(now, self.rate + FAST),
            Phase::Probe { .. } if now.saturating_sub(self.wanted) > IDLE => self.confirm(now, None),
            Phase::Probe { .. } if sent.paced => {
                let over = self.ceiling.map_or(1.0, |ceiling| self.rate / ceiling) - 1.0;
                self.raise(now, self.rate + (over / 4.0).clamp(SLOW, FAST));
            }
            _ => {}
        }
        None
    }

    /// The remote queues: what it answers is what it can do.
    fn queue(&mut self, now: At, throughput: Option<f64>, wait: Duration) -> Duration {
        if let Some(throughput) = throughput {
            self.before = Some((self.rate, self.ceiling));
            self.hold(now, throughput.min(self.rate));
        }
        wait
    }

    /// It did not get faster by being asked less: it is just slower now.
    fn take_back(&mut self, now: At) {
        let Some((rate, ceiling)) = self.before.take() else { return };
        (self.rate, self.ceiling) = (rate, ceiling);
        match ceiling {
            Some(ceiling) => self.hold(now, ceiling),
            None => self.enter(Phase::Search),
        }
    }

    fn refusal(&mut self, now: At, sent: Sent, hint: Option<Duration>, perhaps_down: bool) -> Option<Duration> {
        let hint = hint.map(|hint| hint.min(LONGEST_PAUSE));
        self.latency.spoil();
        if self.most().is_some() && sent.epoch != self.epoch {
            return hint;
        }
        let moment = Duration::from_secs_f64((3.0 / self.rate).clamp(0.1, 1.0));
        if self.most().is_some() {
            self.lower(now, sent, perhaps_down);
        }
        Some(hint.unwrap_or_default().max(moment))
    }

    fn lower(&mut self, now: At, sent: Sent, perhaps_down: bool) {
        let ceiling = self.ceiling.unwrap_or(self.rate);
        let explained = self.passed.explained(sent.at);
        let lowered = |least: f64, most: f64| {
            explained.map_or(ceiling * LOWER, |limit| limit.clamp(ceiling * least, ceiling * most))
        };
        match self.phase {
            // Nothing passes at all: that is no rate, and after a while what was known means nothing.
            _ if perhaps_down && self.passed.is_empty() => self.epoch += 1,
            _ if self.passed.nothing_for(sent.at) > NOTHING => {
                self.ceiling = None;
                self.rate = (self.rate / 2.0).max(LEAST / self.daemons);
                self.enter(Phase::Search);
                return;
            }
            Phase::Search => self.hold(now, lowered(0.5, 1.0)),
            Phase::Probe { .. } => self.confirm(now, Some(sent.at)),
            Phase::Hold { .. } if self.refused < TOLERATED => self.epoch += 1,
            Phase::Hold { .. } => self.hold(now, lowered(0.7, 0.99)),
        }
        self.passed.restart(sent.at);
    }

    /// A probe ends. A refusal confirms the old ceiling, unless more passed than it allows; without
    /// one, a little more than the old one is possible.
    fn confirm(&mut self, now: At, refused: Option<At>) {
        let ceiling = self.ceiling.unwrap_or(self.rate);
        let fit = self.passed.fit(refused.unwrap_or(now));
        let possible = if refused.is_some() { fit } else { fit.max(ceiling * 1.05) }.min(self.rate);
        let interval = self.interval * 2;
        self.hold(now, possible.max(ceiling));
        if possible <= ceiling * 1.02 {
            self.postpone(now, interval);
        }
    }

    fn hold(&mut self, now: At, ceiling: f64) {
        let most = self.most().unwrap_or(ceiling);
        let ceiling = ceiling.max(LEAST / self.daemons).min(most);
        self.ceiling = Some(ceiling);
        self.rate = ceiling * HOLD;
        self.enter(Phase::Hold { probe: now });
        self.postpone(now, self.requests(SOON));
    }

    fn postpone(&mut self, now: At, interval: Duration) {
        self.interval = interval.min(self.requests(SELDOM));
        self.phase = Phase::Hold { probe: now + self.interval };
    }

    /// This time, and at least so many requests.
    fn requests(&self, (time, requests): (Duration, f64)) -> Duration {
        time.max(Duration::from_secs_f64(requests / self.rate))
    }

    fn raise(&mut self, now: At, rate: f64) {
        let most = self.most().unwrap_or(self.rate);
        self.rate = rate.min(most);
        if let Phase::Probe { most: since } = &mut self.phase {
            if self.rate < most {
                *since = None;
            } else if now.saturating_sub(*since.get_or_insert(now)) > PROBED {
                // As fast as it may ever be, and not refused: there is no ceiling below that.
                self.ceiling = None;
                self.enter(Phase::Search);
            }
        }
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.epoch += 1;
    }

    fn most(&self) -> Option<f64> {
        match self.rule {
            Rule::Fixed(_) => None,
            Rule::Auto { max, .. } => Some(max / self.daemons),
        }
    }
}

impl Learned {
    fn is_nonsense(self) -> bool {
        let (Self::Limit(rate) | Self::AtLeast(rate)) = self;
        !rate.is_finite() || rate <= 0.0
    }

    /// Is the other one as good as this?
    pub fn is_near(self, other: Self) -> bool {
        match (self, other) {
            (Self::Limit(a), Self::Limit(b)) | (Self::AtLeast(a), Self::AtLeast(b)) => (a / b - 1.0).abs() < 0.01,
            _ => false,
        }
    }
}

const AT_LEAST: &str = "at least ";

impl fmt::Display for Learned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Limit(rate) => write!(f, "{rate:.2}"),
            Self::AtLeast(rate) => write!(f, "{AT_LEAST}{rate:.2}"),
        }
    }
}

impl FromStr for Learned {
    type Err = ParseFloatError;
    fn from_str(text: &str) -> Result<Self, ParseFloatError> {
        match text.strip_prefix(AT_LEAST) {
            Some(rate) => rate.parse().map(Self::AtLeast),
            None => text.parse().map(Self::Limit),
        }
    }
}
