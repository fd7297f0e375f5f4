//! When a message is tried again (`surfaces.md`, retry schedule).

use std::time::Duration;

use rand::Rng;

use crate::clock::Millis;
use crate::config::model::Retry;

/// The next try: the schedule's delay for this attempt, spread by the jitter, but not before the
/// remote allows it.
///
/// `attempt` is 1 after the first failed try.
pub fn due(now: Millis, retry: &Retry, attempt: i64, after: Option<Duration>) -> Millis {
    let last = retry.delays.len().saturating_sub(1);
    let index = usize::try_from(attempt.saturating_sub(1)).unwrap_or(0).min(last);
    let delay = retry.delays.get(index).map_or(0, |delay| delay.millis());
    let spread = (delay as f64 * retry.jitter.0) as i64;
    let spread = if spread > 0 { rand::rng().random_range(-spread..=spread) } else { 0 };
    now + (delay + spread).max(after.map_or(0, |after| after.as_millis() as i64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::value::{Share, Span};

    #[test]
    fn follows_the_schedule_within_the_jitter_and_obeys_the_remote() {
        let span = |text: &str| text.parse::<Span>().unwrap();
        let delays = ["5s", "30s", "2m", "10m", "30m", "1h"].map(span).to_vec();
        let retry = Retry { delays, jitter: Share(0.2), give_up: span("24h"), recheck: span("5m") };
        for (attempt, seconds) in [(1, 5), (2, 30), (3, 120), (6, 3600), (50, 3600)] {
            for _ in 0..50 {
                let waited = due(0, &retry, attempt, None);
                assert!((seconds * 800..=seconds * 1200).contains(&waited), "attempt {attempt}: {waited} ms");
            }
        }
        assert_eq!(due(1000, &retry, 1, Some(Duration::from_secs(60))), 61_000);
    }
}
