//! The gate that every write to the platforms of a connection passes: closed, nothing is written, and
//! what wanted to write waits. Closing it waits for the writes that are under way.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedRwLockReadGuard, RwLock};

use crate::clock::Millis;

/// Who stopped writes, why, and until when; `None` = until somebody resumes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    pub by: String,
    pub reason: String,
    pub until: Option<Millis>,
}

/// Handle to the gate of one connection; clones share it.
#[derive(Clone, Default)]
pub struct Gate {
    stop: Arc<Mutex<Option<Stop>>>,
    under_way: Arc<RwLock<()>>,
}

/// A write that was let through, until it is dropped.
pub struct Passing {
    _write: Option<OwnedRwLockReadGuard<()>>,
}

impl Gate {
    /// Why nothing is written; `None` if the gate is open.
    pub fn stop(&self) -> Option<Stop> {
        self.stop.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Lets a request through; a read always.
    ///
    /// # Errors
    /// Why nothing is written.
    pub async fn pass(&self, write: bool) -> Result<Passing, Stop> {
        if !write {
            return Ok(Passing { _write: None });
        }
        let under_way = self.under_way.clone().read_owned().await;
        match self.stop() {
            Some(stop) => Err(stop),
            None => Ok(Passing { _write: Some(under_way) }),
        }
    }

    /// Opens or closes the gate; answers whether that is new. No write begins from the call on, and none
    /// is under way once it returns.
    pub async fn set(&self, stop: Option<Stop>) -> bool {
        let closes = stop.is_some();
        let before = std::mem::replace(&mut *self.stop.lock().unwrap_or_else(PoisonError::into_inner), stop);
        if closes {
            drop(self.under_way.write().await);
        }
        before.is_some() != closes
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn stop() -> Stop {
        Stop { by: "ada".into(), reason: "the shop moves".into(), until: None }
    }

    #[tokio::test]
    async fn closed_it_lets_reads_through_only() {
        let gate = Gate::default();
        assert!(gate.set(Some(stop())).await);
        assert!(!gate.set(Some(stop())).await, "it was closed already");
        assert!(gate.pass(false).await.is_ok());
        assert_eq!(gate.pass(true).await.err(), Some(stop()));
        assert!(gate.set(None).await);
        assert!(gate.pass(true).await.is_ok());
    }

    #[tokio::test]
    async fn closing_waits_for_the_writes_under_way_and_lets_none_begin() {
        let gate = Gate::default();
        let under_way = gate.pass(true).await.ok();
        let mut closing = Box::pin(gate.set(Some(stop())));
        assert!(closing.as_mut().now_or_never().is_none(), "a write is under way");
        assert_eq!(gate.stop(), Some(stop()));
        drop(under_way);
        assert!(closing.await);
    }
}
