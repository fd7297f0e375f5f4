//! Signs of life of loops that may sleep for hours: asked from outside, a healthy one turns at once.
//!
//! A loop joins with its name, calls [`Pulse::turn`] whenever it comes around and lets
//! [`Pulse::asked`] wake it from its sleep. A loop that ends in order leaves; one that panicked stays
//! and is missed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::try_join_all;
use tokio::sync::Notify;

/// All loops of one daemon; clones share them.
#[derive(Clone, Default)]
pub struct Pulses(Arc<Mutex<Vec<Arc<Loop>>>>);

/// One loop's own end.
pub struct Pulse {
    inner: Arc<Loop>,
    all: Pulses,
}

struct Loop {
    name: &'static str,
    bell: Notify,
    turned: Notify,
}

impl Pulses {
    /// A loop that from now on has to turn when asked.
    pub fn join(&self, name: &'static str) -> Pulse {
        let inner = Arc::new(Loop { name, bell: Notify::new(), turned: Notify::new() });
        self.loops().push(inner.clone());
        Pulse { inner, all: self.clone() }
    }

    /// Asks every loop and waits until all have turned.
    ///
    /// # Errors
    /// One that did not turn `within` that time, in a sentence.
    pub async fn feel(&self, within: Duration) -> Result<(), String> {
        let loops = self.loops().clone();
        try_join_all(loops.iter().map(|one| async move {
            let turned = one.turned.notified();
            one.bell.notify_one();
            let missed = format!("the {} has not come around for {within:?}", one.name);
            tokio::time::timeout(within, turned).await.map_err(|_| missed)
        }))
        .await?;
        Ok(())
    }

    fn loops(&self) -> MutexGuard<'_, Vec<Arc<Loop>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pulse {
    /// The loop came around.
    pub fn turn(&self) {
        self.inner.turned.notify_waiters();
    }

    /// Returns when somebody wants to see the loop turn; part of its sleep.
    pub async fn asked(&self) {
        self.inner.bell.notified().await;
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.all.loops().retain(|one| !Arc::ptr_eq(one, &self.inner));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn a_sleeping_loop_turns_when_asked_and_a_stuck_one_is_named() {
        let pulses = Pulses::default();
        pulses.feel(SOON).await.unwrap();
        let pulse = pulses.join("sleeper");
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(async move {
            loop {
                pulse.turn();
                pulse.asked().await;
            }
        });
        pulses.feel(Duration::from_secs(10)).await.unwrap();
        pulses.feel(Duration::from_secs(10)).await.unwrap();
        let stuck = pulses.join("stuck loop");
        let missed = pulses.feel(SOON).await.unwrap_err();
        assert!(missed.starts_with("the stuck loop has not come around"), "{missed}");
        drop(stuck);
        pulses.feel(Duration::from_secs(10)).await.unwrap();
    }

    #[tokio::test]
    async fn a_loop_that_panicked_is_missed() {
        let pulses = Pulses::default();
        let pulse = pulses.join("broken loop");
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(async move {
            let _pulse = pulse;
            panic!("on purpose");
        });
        assert!(tasks.join_next().await.unwrap().is_err());
        assert!(pulses.feel(SOON).await.unwrap_err().contains("broken loop"));
    }
}
