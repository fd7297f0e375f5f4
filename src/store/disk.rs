//! Room on the disk of a SQLite file. Below a reserve nothing more is taken in, so that there is room
//! left to finish what was, and to write backups and logs.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::statvfs;

use super::{Error, Result, Store};

/// The disk that holds the database; of Postgres nothing is known.
pub struct Disk {
    folder: Option<PathBuf>,
    /// In bytes.
    reserve: u64,
    low: AtomicBool,
}

impl Disk {
    pub fn new(folder: Option<PathBuf>, reserve: u64) -> Self {
        Self { folder, reserve, low: AtomicBool::new(false) }
    }

    /// # Errors
    /// [`Error::Low`] since less than the reserve was seen to be free.
    pub fn has_room(&self) -> Result<()> {
        if self.low.load(Ordering::Relaxed) { Err(Error::Low) } else { Ok(()) }
    }

    /// Looks how much is free; once it is low, a tenth more than the reserve ends that.
    fn look(&self) -> Result<()> {
        // A disk that does not tell is for the first write to judge.
        let free = self.folder.as_ref().and_then(|folder| statvfs(folder).ok());
        let Some(free) = free.map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize)) else { return Ok(()) };
        let wanted = if self.low.load(Ordering::Relaxed) { self.reserve + self.reserve / 10 } else { self.reserve };
        self.low.store(free < wanted, Ordering::Relaxed);
        self.has_room()
    }
}

impl Store {
    /// Looks whether the disk has the room that is to be kept free; if not, that is trouble, and
    /// nothing is taken in.
    ///
    /// # Errors
    /// [`Error::Low`]
    pub fn look_at_disk(&self) -> Result<()> {
        self.0.disk.look().inspect_err(|error| self.0.watch.failed(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_low_below_the_reserve_and_until_there_is_a_tenth_more() {
        let folder = std::env::temp_dir();
        let free = statvfs(&folder).map(|disk| disk.f_bavail * disk.f_frsize).unwrap();
        let low = |reserve| Disk::new(Some(folder.clone()), reserve).look().is_err();
        assert!(!low(0) && !low(free / 2) && low(free * 2));
        // Others write to this disk meanwhile: nine tenths are far enough from either end.
        let mut disk = Disk::new(Some(folder.clone()), free * 2);
        assert!(disk.look().is_err() && disk.has_room().is_err());
        disk.reserve = free / 20 * 19;
        assert!(disk.look().is_err(), "there is room, but not a tenth more");
        disk.reserve = free / 2;
        assert!(disk.look().is_ok() && disk.has_room().is_ok());
        assert!(Disk::new(None, u64::MAX / 2).look().is_ok(), "nothing is known of Postgres' disk");
    }
}
