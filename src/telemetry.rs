//! Log lines: one per fact, to stderr, with the identifier in the sentence and in a field
//! (`surfaces.md` 8.1).

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// How lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// For people.
    Pretty,
    /// One JSON document per line, for programs.
    Json,
}

/// Starts logging; a second call changes nothing.
pub fn start(level: &str, form: Form) {
    let filter = EnvFilter::try_new(level).unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // An embedding program may have set its own subscriber; then its lines are the ones wanted.
    let _ = match form {
        Form::Pretty => lines.with_target(false).with_ansi(on_terminal()).try_init(),
        Form::Json => lines.json().flatten_event(true).try_init(),
    };
}

/// Does stderr go to a person?
pub fn on_terminal() -> bool {
    std::io::stderr().is_terminal()
}
