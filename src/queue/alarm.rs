//! An alarm clock that follows the machine's own: it wakes the scheduler at the times of every cron
//! expression, also after the machine slept or its clock was set. It decides nothing; what is due is
//! in the table `schedule`.

use std::sync::Arc;

use tokio::sync::Notify;
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};

use crate::config::timing::Timing;

/// Rings until it is dropped.
pub struct Alarm {
    jobs: Option<JobScheduler>,
    rung: Arc<Notify>,
}

impl Alarm {
    /// Sets it to the times of all cron expressions. Intervals need no alarm: they are waited for.
    pub async fn set(timings: impl Iterator<Item = &Timing>) -> Self {
        let rung = Arc::new(Notify::new());
        match jobs(timings, &rung).await {
            Ok(jobs) => Self { jobs, rung },
            Err(error) => {
                // The scheduler waits by its own clock, too; only a clock that is set is noticed later.
                tracing::warn!("the alarm clock of cron jobs does not run: {error}");
                Self { jobs: None, rung }
            }
        }
    }

    /// Waits until it rings.
    pub async fn rung(&self) {
        self.rung.notified().await;
    }

    /// Stops it.
    pub async fn stop(self) {
        if let Some(mut jobs) = self.jobs
            && let Err(error) = jobs.shutdown().await
        {
            tracing::warn!("the alarm clock of cron jobs did not stop: {error}");
        }
    }
}

/// One cron job per expression and zone; its body only wakes. `None` = there is nothing to wake for.
async fn jobs(
    timings: impl Iterator<Item = &Timing>,
    rung: &Arc<Notify>,
) -> Result<Option<JobScheduler>, JobSchedulerError> {
    let expressions: std::collections::BTreeMap<_, _> = timings
        .filter_map(Timing::expression)
        .map(|(expression, zone)| ((expression.to_owned(), zone.name()), zone))
        .collect();
    if expressions.is_empty() {
        return Ok(None);
    }
    let jobs = JobScheduler::new().await?;
    for ((expression, _), zone) in expressions {
        let rung = rung.clone();
        let with_seconds = match expression.split_whitespace().count() {
            5 => format!("0 {expression}"),
            _ => expression,
        };
        let wake = move |_, _| -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
            rung.notify_one();
            Box::pin(std::future::ready(()))
        };
        jobs.add(Job::new_async_tz(with_seconds, zone, wake)?).await?;
    }
    jobs.start().await?;
    Ok(Some(jobs))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn it_rings_at_the_times_of_an_expression_and_not_for_intervals() {
        let every = Timing::every("1ms".parse().unwrap());
        let silent = Alarm::set([&every].into_iter()).await;
        assert!(silent.jobs.is_none());
        let second = Timing::cron("* * * * * *", "Europe/Berlin").unwrap();
        let alarm = Alarm::set([&every, &second].into_iter()).await;
        for _ in 0..2 {
            tokio::time::timeout(Duration::from_secs(5), alarm.rung()).await.expect("it rings each second");
        }
        alarm.stop().await;
    }
}
