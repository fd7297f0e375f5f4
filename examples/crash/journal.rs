//! The driver's log: JSON lines, each on its way to the file before the thing it tells of goes on.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use serde_json::{Value, json};

#[derive(Clone)]
pub struct Journal(Arc<Mutex<File>>);

impl Journal {
    pub fn create(path: &Path) -> anyhow::Result<Self> {
        let file = File::create(path).with_context(|| path.display().to_string())?;
        Ok(Self(Arc::new(Mutex::new(file))))
    }

    /// One line; `what` is an object.
    ///
    /// # Panics
    /// When it cannot be written: without its log a run proves nothing.
    pub fn note(&self, event: &str, what: Value) {
        let at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        let mut line = json!({"at": at, "event": event});
        if let (Some(line), Value::Object(what)) = (line.as_object_mut(), what) {
            line.extend(what);
        }
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(file, "{line}").expect("the driver's log can be written");
    }
}
