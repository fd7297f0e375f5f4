//! Rings when a commit may have made work due, and tells in which lanes.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Lanes in which something may be due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lanes {
    These(BTreeSet<String>),
    All,
}

/// Rung by commits, heard by one worker.
#[derive(Default)]
pub struct Bell {
    rung: Notify,
    lanes: Mutex<Lanes>,
}

impl Bell {
    /// Returns where something may be due since the last time.
    pub async fn notified(&self) -> Lanes {
        self.rung.notified().await;
        std::mem::take(&mut *self.lanes())
    }

    pub(super) fn ring(&self, work: Lanes) {
        if work.is_empty() {
            return;
        }
        self.lanes().merge(work);
        self.rung.notify_one();
    }

    fn lanes(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Lanes {
    fn default() -> Self {
        Self::These(BTreeSet::new())
    }
}

impl Lanes {
    /// Is it this one, too?
    pub fn contains(&self, lane: &str) -> bool {
        match self {
            Self::These(lanes) => lanes.contains(lane),
            Self::All => true,
        }
    }

    pub(super) fn add(&mut self, lane: &str) {
        match self {
            Self::These(lanes) if !lanes.contains(lane) => drop(lanes.insert(lane.to_owned())),
            _ => {}
        }
    }

    fn merge(&mut self, other: Self) {
        match (self, other) {
            (Self::These(lanes), Self::These(more)) => lanes.extend(more),
            (all, _) => *all = Self::All,
        }
    }

    fn is_empty(&self) -> bool {
        matches!(self, Self::These(lanes) if lanes.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn these(lanes: &[&str]) -> Lanes {
        Lanes::These(lanes.iter().map(ToString::to_string).collect())
    }

    #[tokio::test]
    async fn it_tells_all_that_rang_since_the_last_time() {
        let bell = Bell::default();
        bell.ring(Lanes::default());
        bell.ring(these(&["order"]));
        bell.ring(these(&["bulk"]));
        assert_eq!(bell.notified().await, these(&["bulk", "order"]));
        bell.ring(Lanes::All);
        bell.ring(these(&["order"]));
        assert_eq!(bell.notified().await, Lanes::All);
        bell.ring(these(&["status"]));
        assert_eq!(bell.notified().await, these(&["status"]), "what was told is forgotten");
    }
}
