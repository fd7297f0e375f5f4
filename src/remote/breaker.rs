//! The breaker: a remote that fails is left alone for a while, then one call tries it.
//!
//! Closed, it counts how many of the last calls failed. When too many did it opens, and calls fail
//! at once without being made; their messages wait and lose no attempt. After the open time it lets
//! one call through; if that succeeds it closes, else it stays open as long again. A failure is an
//! answer that never came, or a 5xx; a refusal is an answer.
//!
//! Those it turns away come back one after the other, not all at once: a hundred thousand messages
//! must neither keep the queue busy while nothing can be done nor storm a remote that is back.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use serde::Serialize;

use crate::clock::{Clock, Millis};

/// When it opens.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Share of the last calls that failed, 0–1.
    pub failures: f64,
    /// How many calls are looked at.
    pub of: usize,
    /// How long nothing is sent.
    pub open: Duration,
    /// `false`: it only says what it would do.
    pub enforce: bool,
}

/// How it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Position {
    Closed,
    Open,
    /// One call is on its way to see.
    HalfOpen,
}

/// One breaker: of the reads or the writes of one remote.
pub struct Breaker {
    /// What it stops, for log lines: `Fluent reads`.
    what: String,
    clock: Clock,
    rule: Rule,
    inner: Mutex<Inner>,
}

struct Inner {
    state: State,
    /// How many calls were turned away since it opened.
    turned_away: u32,
}

/// A call that was let through; dropped without a word, nothing is known of it.
pub struct Pass<'b> {
    breaker: &'b Breaker,
    trial: bool,
    told: bool,
}

enum State {
    /// Whether the last calls failed, oldest first.
    Closed(VecDeque<bool>),
    Open {
        until: Millis,
    },
    Trying,
}

/// While one call tries, the others look again after this time.
const SOON: Duration = Duration::from_secs(1);
/// Between two that come back.
const APART: Duration = Duration::from_millis(10);

impl Breaker {
    pub fn new(what: impl Into<String>, rule: Rule, clock: Clock) -> Self {
        let inner = Inner { state: State::Closed(VecDeque::new()), turned_away: 0 };
        Self { what: what.into(), clock, rule, inner: Mutex::new(inner) }
    }

    /// Would a call be let through? Asked before it waits for anything.
    ///
    /// # Errors
    /// How long to stay away.
    pub fn look(&self) -> Result<(), Duration> {
        self.refusal(&mut self.inner()).map_or(Ok(()), Err)
    }

    /// Lets a call through, now; after the open time only one.
    ///
    /// # Errors
    /// How long to stay away.
    pub fn pass(&self) -> Result<Pass<'_>, Duration> {
        let mut inner = self.inner();
        if let Some(wait) = self.refusal(&mut inner) {
            return Err(wait);
        }
        let trial = matches!(inner.state, State::Open { until } if until <= self.clock.now());
        if trial {
            inner.state = State::Trying;
        }
        Ok(Pass { breaker: self, trial, told: false })
    }

    pub fn position(&self) -> Position {
        match self.inner().state {
            State::Closed(_) => Position::Closed,
            State::Open { .. } => Position::Open,
            State::Trying => Position::HalfOpen,
        }
    }

    fn refusal(&self, inner: &mut Inner) -> Option<Duration> {
        let now = self.clock.now();
        let wait = match inner.state {
            _ if !self.rule.enforce => return None,
            State::Open { until } if now < until => Duration::from_millis((until - now) as u64),
            State::Trying => SOON,
            _ => return None,
        };
        let wait = wait + APART * inner.turned_away;
        inner.turned_away = inner.turned_away.saturating_add(1);
        Some(wait)
    }

    fn report(&self, trial: bool, failed: bool) {
        let mut inner = self.inner();
        let until = self.clock.now() + self.rule.open.as_millis() as Millis;
        match &mut inner.state {
            State::Closed(last) => {
                last.push_back(failed);
                if last.len() > self.rule.of {
                    last.pop_front();
                }
                let failures = last.iter().filter(|failed| **failed).count();
                // A window that is not full yet counts as if the rest of it had succeeded.
                if failed && failures as f64 >= self.rule.failures * self.rule.of as f64 {
                    let calls = last.len();
                    *inner = Inner { state: State::Open { until }, turned_away: 0 };
                    self.say_open(failures, calls);
                }
            }
            _ if !trial => {}
            _ if failed => *inner = Inner { state: State::Open { until }, turned_away: 0 },
            _ => {
                inner.state = State::Closed(VecDeque::new());
                tracing::info!("{} answers again; the breaker is closed", self.what);
            }
        }
    }

    fn say_open(&self, failures: usize, calls: usize) {
        let (what, seconds) = (&self.what, self.rule.open.as_secs_f64());
        match self.rule.enforce {
            true => tracing::warn!(
                "{what}: {failures} of the last {calls} calls failed; the breaker is open, nothing is sent for {seconds} s"
            ),
            false => tracing::warn!(
                "{what}: {failures} of the last {calls} calls failed; the breaker would open, but only observes"
            ),
        }
    }

    /// The call that should have tried it never went: the next one may.
    fn give_up_trial(&self) {
        let mut inner = self.inner();
        if matches!(inner.state, State::Trying) {
            inner.state = State::Open { until: self.clock.now() };
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Pass<'_> {
    /// The call is over. Was it one that tried, in vain? Then the remote is left alone for so long.
    pub fn report(mut self, failed: bool) -> Option<Duration> {
        self.told = true;
        self.breaker.report(self.trial, failed);
        (self.trial && failed && self.breaker.rule.enforce).then_some(self.breaker.rule.open)
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if self.trial && !self.told {
            self.breaker.give_up_trial();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaker(enforce: bool) -> (Breaker, Clock) {
        let clock = Clock::simulated(0);
        let rule = Rule { failures: 0.5, of: 20, open: Duration::from_secs(30), enforce };
        (Breaker::new("Fluent reads", rule, clock.clone()), clock)
    }

    fn call(breaker: &Breaker, failed: bool) -> bool {
        breaker.pass().map(|pass| pass.report(failed)).is_ok()
    }

    #[test]
    fn it_opens_when_half_of_the_last_twenty_failed() {
        let (breaker, _) = breaker(true);
        for n in 0..100 {
            assert!(call(&breaker, n % 10 >= 6), "4 of 10 are not enough");
        }
        assert!(call(&breaker, true));
        assert_eq!(breaker.position(), Position::Closed, "9 of 20");
        assert!(call(&breaker, true));
        assert_eq!(breaker.position(), Position::Open);
        assert_eq!(breaker.look(), Err(Duration::from_secs(30)));
        assert!(!call(&breaker, false));
    }

    #[test]
    fn ten_failures_in_a_row_are_enough_at_the_start() {
        let (breaker, _) = breaker(true);
        for _ in 0..10 {
            assert!(call(&breaker, true));
        }
        assert!(!call(&breaker, true));
    }

    #[test]
    fn after_the_open_time_one_call_tries() {
        let (breaker, clock) = breaker(true);
        (0..10).for_each(|_| assert!(call(&breaker, true)));
        clock.advance(Duration::from_secs(29));
        assert_eq!(breaker.look(), Err(Duration::from_secs(1)));
        assert_eq!(breaker.look(), Err(Duration::from_millis(1010)), "the next one a little later");
        clock.advance(Duration::from_secs(1));
        let trial = breaker.pass().unwrap();
        assert_eq!(breaker.position(), Position::HalfOpen);
        assert!(breaker.pass().is_err() && breaker.look().is_err(), "one, not two");
        assert_eq!(trial.report(true), Some(Duration::from_secs(30)));
        assert_eq!(breaker.look(), Err(Duration::from_secs(30)), "still down");
        clock.advance(Duration::from_secs(30));
        assert!(call(&breaker, false));
        assert_eq!(breaker.position(), Position::Closed);
        (0..9).for_each(|_| assert!(call(&breaker, true)));
        assert_eq!(breaker.position(), Position::Closed, "what failed before is forgotten");
    }

    #[test]
    fn late_answers_and_lost_trials_decide_nothing() {
        let (breaker, clock) = breaker(true);
        let late = breaker.pass().unwrap();
        (0..10).for_each(|_| assert!(call(&breaker, true)));
        clock.advance(Duration::from_secs(30));
        let trial = breaker.pass().unwrap();
        assert_eq!(late.report(false), None);
        assert_eq!(breaker.position(), Position::HalfOpen);
        drop(trial);
        assert_eq!(breaker.position(), Position::Open);
        assert!(call(&breaker, false), "the next one may try at once");
    }

    #[test]
    fn an_observing_breaker_stops_nothing() {
        let (breaker, clock) = breaker(false);
        (0..50).for_each(|_| assert!(call(&breaker, true)));
        assert_eq!(breaker.position(), Position::Open);
        clock.advance(Duration::from_secs(31));
        assert!(call(&breaker, false));
        assert_eq!(breaker.position(), Position::Closed);
    }
}
