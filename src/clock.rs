//! The only place that knows what time it is, and the only way to wait.
//!
//! Everything that waits on purpose (retries, poll intervals, leases, webhook schedules of the
//! simulators) waits here, so that stories move time instead of sleeping. Network and pool
//! deadlines are not ours: they stay on real time.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, SecondsFormat, Utc};
use tokio::sync::watch;

/// Milliseconds since 1970-01-01T00:00:00Z. One meaning in every table and every struct.
pub type Millis = i64;

/// A cheap handle to one source of time. Clones share it.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Source>);

#[derive(Debug)]
enum Source {
    /// The machine's clock, `speed` times as fast since `started` (1 in production).
    System { started: Instant, origin: Millis, speed: f64 },
    /// Stands still until [`Clock::advance`] moves it.
    Simulated(watch::Sender<Millis>),
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self::fast(1.0)
    }

    /// The machine's clock, running `speed` times as fast from now on (`simulation.speed`).
    pub fn fast(speed: f64) -> Self {
        #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the time")]
        let (started, wall) = (Instant::now(), SystemTime::now());
        let origin = wall.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as Millis);
        Self(Arc::new(Source::System { started, origin, speed }))
    }

    /// A clock that stands still at `start` until it is advanced; for stories.
    pub fn simulated(start: Millis) -> Self {
        Self(Arc::new(Source::Simulated(watch::Sender::new(start))))
    }

    /// Now, in milliseconds since the epoch.
    pub fn now(&self) -> Millis {
        match &*self.0 {
            Source::System { started, origin, speed } => {
                origin + (started.elapsed().as_millis() as f64 * speed) as Millis
            }
            Source::Simulated(now) => *now.borrow(),
        }
    }

    /// Waits for `duration` of this clock's time.
    pub async fn sleep(&self, duration: Duration) {
        self.sleep_until(self.now() + duration.as_millis() as Millis).await;
    }

    /// Waits until this clock shows `at`; returns at once if that is past.
    pub async fn sleep_until(&self, at: Millis) {
        match &*self.0 {
            Source::System { speed, .. } => {
                let left = (at - self.now()).max(0) as f64 / speed;
                #[expect(clippy::disallowed_methods, reason = "the one place that sleeps")]
                tokio::time::sleep(Duration::from_secs_f64(left / 1000.0)).await;
            }
            Source::Simulated(now) => {
                let mut seen = now.subscribe();
                // The sender lives in `self`, so waiting cannot fail.
                let _ = seen.wait_for(|now| *now >= at).await;
            }
        }
    }

    /// Moves a simulated clock forward; everything that slept until then wakes. Does nothing to a
    /// system clock.
    pub fn advance(&self, duration: Duration) {
        if let Source::Simulated(now) = &*self.0 {
            now.send_modify(|now| *now += duration.as_millis() as Millis);
        }
    }

    /// Is this a clock that only [`Clock::advance`] moves?
    pub fn is_simulated(&self) -> bool {
        matches!(&*self.0, Source::Simulated(_))
    }
}

/// `2026-06-15T10:00:01.000Z`: the form both platforms use (RFC 3339, UTC, milliseconds).
pub fn rfc3339(at: Millis) -> String {
    DateTime::<Utc>::from_timestamp_millis(at).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Reads an RFC 3339 instant, with any offset; `None` if it is not one.
pub fn parse_rfc3339(text: &str) -> Option<Millis> {
    DateTime::parse_from_rfc3339(text).ok().map(|at| at.timestamp_millis())
}

/// Reads the `Date` header of an HTTP answer (RFC 9110 5.6.7); `None` if it is not one.
pub fn parse_http_date(text: &str) -> Option<Millis> {
    DateTime::parse_from_rfc2822(text).ok().map(|at| at.timestamp_millis())
}

/// Formats an instant for the HTTP `Date` header.
pub fn http_date(at: Millis) -> String {
    DateTime::<Utc>::from_timestamp_millis(at).unwrap_or_default().format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}
