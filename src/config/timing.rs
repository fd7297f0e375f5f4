//! When a job runs: every so often, or by a cron expression in a time zone.
//!
//! Local times that a change of daylight saving time skips run once at the next valid minute, doubled
//! ones once (`surfaces.md` 1.3). What must keep its beat through the change is an interval, or lives
//! in UTC.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, LocalResult, NaiveDateTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use croner::Cron;
use croner::parser::{CronParser, Seconds};

use super::model::JobTiming;
use super::value::Span;
use crate::clock::Millis;

/// When a job runs.
#[derive(Clone, Debug)]
pub struct Timing {
    when: When,
    /// Each run is put off by a random part of this.
    pub jitter: Span,
}

#[derive(Clone, Debug)]
enum When {
    Every(Span),
    Cron { cron: Box<Cron>, zone: Tz },
}

/// The longest time that daylight saving ever skipped, in minutes.
const GAP: i64 = 24 * 60;

impl Timing {
    /// At the multiples of `every` since 1970, so that all daemons mean the same moments.
    pub fn every(every: Span) -> Self {
        Self { when: When::Every(every), jitter: Span(Duration::ZERO) }
    }

    /// At the local times of `zone` that an expression of 5 fields, or 6 with seconds first, names.
    ///
    /// # Errors
    /// What is wrong with the expression or the zone.
    pub fn cron(expression: &str, zone: &str) -> Result<Self, String> {
        let zone: Tz = zone.parse().map_err(|_| format!("{zone:?} is not a time zone: Europe/Berlin, UTC"))?;
        let fields = expression.split_whitespace().count();
        if !(5..=6).contains(&fields) {
            let sentence =
                "is not a cron expression: 5 fields (minute hour day month weekday), or 6 with seconds first";
            return Err(format!("{expression:?} {sentence}"));
        }
        let parsed = CronParser::builder().seconds(Seconds::Optional).build().parse(expression);
        let cron = parsed.map_err(|error| format!("{expression:?} is not a cron expression: {error}"))?;
        let timing = Self { when: When::Cron { cron: Box::new(cron), zone }, jitter: Span(Duration::ZERO) };
        match timing.next_after(0) {
            Some(_) => Ok(timing),
            None => Err(format!("{expression:?} names a time that never comes")),
        }
    }

    /// As configured in `schedule.jobs`; `zone` is that of `schedule.time_zone`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn configured(config: &JobTiming, zone: &str) -> Result<Self, String> {
        let timing = match (&config.every, &config.cron) {
            (Some(every), None) if every.0.is_zero() => return Err("every must be longer than 0s".into()),
            (Some(every), None) => Self::every(*every),
            (None, Some(expression)) => Self::cron(expression, config.time_zone.as_deref().unwrap_or(zone))?,
            _ => return Err("a job takes exactly one of every and cron".into()),
        };
        Ok(Self { jitter: config.jitter.unwrap_or(timing.jitter), ..timing })
    }

    /// The first moment after `at`; `None` = never again.
    pub fn next_after(&self, at: Millis) -> Option<Millis> {
        match &self.when {
            When::Every(every) => {
                let step = every.millis().max(1);
                Some((at.div_euclid(step) + 1) * step)
            }
            When::Cron { cron, zone } => {
                let local = DateTime::from_timestamp_millis(at)?.with_timezone(zone).naive_local();
                // A local time that was doubled may lie behind `at` although its clock face is ahead.
                let faces = cron.iter_after(Utc.from_utc_datetime(&local)).map(|face| face.naive_utc());
                faces.filter_map(|face| instant(face, *zone)).find(|next| *next > at)
            }
        }
    }

    /// The cron expression and its zone; `None` for an interval.
    pub fn expression(&self) -> Option<(&str, Tz)> {
        match &self.when {
            When::Every(_) => None,
            When::Cron { cron, zone } => Some((cron.as_str(), *zone)),
        }
    }

    /// Is it an interval, whose first run is now?
    pub fn is_interval(&self) -> bool {
        matches!(self.when, When::Every(_))
    }
}

/// When a local clock shows `face`: the first time if it does so twice, the next valid minute if never.
fn instant(face: NaiveDateTime, zone: Tz) -> Option<Millis> {
    match zone.from_local_datetime(&face) {
        LocalResult::Single(at) | LocalResult::Ambiguous(at, _) => Some(at.timestamp_millis()),
        LocalResult::None => {
            let minutes = (1..=GAP).filter_map(|n| face.checked_add_signed(TimeDelta::minutes(n)));
            let mut valid = minutes.filter_map(|later| zone.from_local_datetime(&later).earliest());
            let first = valid.next()?.timestamp();
            Some((first - first.rem_euclid(60)) * 1000)
        }
    }
}

impl fmt::Display for Timing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.when {
            When::Every(every) => write!(f, "every {every}"),
            When::Cron { cron, zone } => write!(f, "{} {zone}", cron.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{parse_rfc3339, rfc3339};

    fn next(expression: &str, zone: &str, from: &str, count: usize) -> Vec<String> {
        let timing = Timing::cron(expression, zone).unwrap();
        let mut at = parse_rfc3339(from).unwrap();
        let moments = (0..count).map(|_| {
            at = timing.next_after(at).unwrap();
            rfc3339(at).replace(":00.000Z", "Z")
        });
        moments.collect()
    }

    #[test]
    fn intervals_lie_on_their_multiples() {
        let timing = Timing::every("1m".parse().unwrap());
        assert_eq!([0, 1, 59_999, 60_000].map(|at| timing.next_after(at).unwrap()), [60_000, 60_000, 60_000, 120_000]);
        assert_eq!(timing.next_after(-1), Some(0));
    }

    #[test]
    fn expressions_have_five_fields_or_six() {
        assert_eq!(next("0 3 * * *", "UTC", "2026-06-15T03:00:00Z", 2), ["2026-06-16T03:00Z", "2026-06-17T03:00Z"]);
        assert_eq!(next("*/30 * * * * *", "UTC", "2026-06-15T03:00:00Z", 1), ["2026-06-15T03:00:30.000Z"]);
        assert_eq!(next("0 3 * * *", "Europe/Berlin", "2026-06-15T03:00:00Z", 1), ["2026-06-16T01:00Z"]);
        for (wrong, zone) in [
            ("0 3 * *", "UTC"),
            ("0 3 * * * * *", "UTC"),
            ("61 3 * * *", "UTC"),
            ("0 3 30 2 *", "UTC"),
            ("0 3 * * *", "Europe/Berlyn"),
        ] {
            assert!(Timing::cron(wrong, zone).is_err(), "{wrong} {zone}");
        }
    }

    /// Europe/Berlin, 2026-03-29: 02:00 to 03:00 does not exist.
    #[test]
    fn skipped_local_times_run_once_at_the_next_valid_minute() {
        let eve = "2026-03-28T12:00:00Z";
        assert_eq!(next("30 2 * * *", "Europe/Berlin", eve, 2), ["2026-03-29T01:00Z", "2026-03-30T00:30Z"]);
        // Both 02:15 and 02:45 are skipped: one run at 03:00.
        assert_eq!(next("15,45 2 * * *", "Europe/Berlin", eve, 2), ["2026-03-29T01:00Z", "2026-03-30T00:15Z"]);
    }

    /// Europe/Berlin, 2026-10-25: 02:00 to 03:00 comes twice, first as 00:00Z, then as 01:00Z.
    #[test]
    fn doubled_local_times_run_once() {
        let eve = "2026-10-24T12:00:00Z";
        assert_eq!(
            next("0,30 2 * * *", "Europe/Berlin", eve, 3),
            ["2026-10-25T00:00Z", "2026-10-25T00:30Z", "2026-10-26T01:00Z"]
        );
        let late = "2026-10-25T00:15:00Z";
        assert_eq!(next("*/30 * * * *", "Europe/Berlin", late, 2), ["2026-10-25T00:30Z", "2026-10-25T02:00Z"]);
        // The second time the clock shows 02:15 it looks for what comes after the change.
        let again = "2026-10-25T01:15:00Z";
        assert_eq!(next("*/30 * * * *", "Europe/Berlin", again, 1), ["2026-10-25T02:00Z"]);
        assert_eq!(next("*/30 * * * *", "UTC", late, 2), ["2026-10-25T00:30Z", "2026-10-25T01:00Z"]);
    }

    #[test]
    fn a_job_has_one_timing() {
        let timing = |every: Option<&str>, cron: Option<&str>| {
            let every = every.map(|every| every.parse().unwrap());
            let cron = cron.map(str::to_owned);
            Timing::configured(&JobTiming { every, cron, time_zone: None, jitter: None }, "Europe/Berlin")
        };
        assert_eq!(timing(Some("5m"), None).unwrap().to_string(), "every 5m");
        assert_eq!(timing(None, Some("0 3 * * *")).unwrap().to_string(), "0 3 * * * Europe/Berlin");
        assert!(timing(None, None).is_err() && timing(Some("5m"), Some("0 3 * * *")).is_err());
        assert!(timing(Some("0s"), None).is_err());
    }
}
