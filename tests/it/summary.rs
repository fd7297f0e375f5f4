//! Lines that a reader of a test run must see: how many golden examples ran, what was left out and why.

use std::fs::OpenOptions;
use std::io::Write;

/// Puts one line into the summary that `scripts/test` prints at the end of a run; a run without that script prints it
/// at once, where `--nocapture` shows it.
pub fn note(line: &str) {
    #[expect(clippy::disallowed_methods, reason = "scripts/test names the file to the tests, not to the connector")]
    let path = std::env::var_os("FLUENT_CONNECTOR_SUMMARY");
    match path {
        // One write of one line to a file opened for appending: notes of tests running side by side do not mix.
        Some(path) => OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()))
            .unwrap_or_else(|error| panic!("the summary {} cannot be written: {error}", path.display())),
        None => eprintln!("{line}"),
    }
}
