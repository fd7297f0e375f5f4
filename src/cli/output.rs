//! What a verb prints: tables for people, one JSON document for programs; nothing else is on
//! standard output.

use std::io::{ErrorKind, IsTerminal, Write};
use std::process::{Command, Stdio};

use chrono::{DateTime, Local};
use comfy_table::{Table, presets};
use serde_json::Value;

use super::refusal::Refusal;
use crate::clock::{Clock, Millis, parse_rfc3339};
use crate::config::value::Span;

/// Where a verb writes.
#[derive(Debug)]
pub struct Output {
    json: bool,
    /// Columns of the terminal; `None` if standard output is none, then nothing is cut.
    width: Option<usize>,
    now: Millis,
}

impl Output {
    pub fn new(json: bool) -> Self {
        let width = std::io::stdout().is_terminal().then(terminal_width).flatten();
        Self { json, width, now: Clock::system().now() }
    }

    /// Is a JSON document wanted?
    pub fn is_json(&self) -> bool {
        self.json
    }

    pub fn now(&self) -> Millis {
        self.now
    }

    pub fn document(&self, document: &Value) -> Result<(), Refusal> {
        self.line(&format!("{document:#}"))
    }

    pub fn line(&self, line: &str) -> Result<(), Refusal> {
        self.bytes(format!("{line}\n").as_bytes())
    }

    /// Written as they are.
    pub fn bytes(&self, bytes: &[u8]) -> Result<(), Refusal> {
        let mut out = std::io::stdout().lock();
        match out.write_all(bytes).and_then(|()| out.flush()) {
            // `… | head` has seen enough.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
            Err(error) => Err(Refusal::failed(format!("Standard output cannot be written: {error}."))),
            Ok(()) => Ok(()),
        }
    }

    /// Aligned columns; on a terminal each line is cut to its width.
    pub fn table(&self, header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> Result<(), Refusal> {
        let mut table = Table::new();
        table.load_preset(presets::NOTHING).set_header(header);
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        for row in rows {
            table.add_row(row.into_iter().map(|cell| one_line(&cell)));
        }
        for line in table.lines() {
            self.line(&self.cut(line.trim_end()))?;
        }
        Ok(())
    }

    /// A name and its value on each line; empty values are left out.
    pub fn facts(&self, facts: &[(&str, String)]) -> Result<(), Refusal> {
        let known = facts.iter().filter(|(_, value)| !value.is_empty());
        let width = known.clone().map(|(name, _)| name.len()).max().unwrap_or(0);
        known.into_iter().try_for_each(|(name, value)| self.line(&format!("{name:width$}  {value}")))
    }

    /// How long ago, as `3m`.
    pub fn age(&self, time: &Value) -> String {
        let Some(at) = time.as_str().and_then(parse_rfc3339) else { return String::new() };
        let seconds = (self.now - at).max(0) / 1000;
        match seconds {
            0..120 => format!("{seconds}s"),
            120..7_200 => format!("{}m", seconds / 60),
            7_200..172_800 => format!("{}h", seconds / 3_600),
            _ => format!("{}d", seconds / 86_400),
        }
    }

    fn cut(&self, line: &str) -> String {
        match self.width {
            Some(width) if line.chars().count() > width => {
                line.chars().take(width.saturating_sub(1)).chain(['…']).collect()
            }
            _ => line.to_owned(),
        }
    }
}

/// A JSON value as a cell.
pub fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A time of the API in local time, with its zone.
pub fn local(time: &Value) -> String {
    let at = time.as_str().and_then(parse_rfc3339).and_then(DateTime::from_timestamp_millis);
    at.map_or(String::new(), |at| at.with_timezone(&Local).format("%Y-%m-%d %H:%M:%S %:z").to_string())
}

/// A moment that has been, as a person writes it: how long ago (`2h`), `now`, or a time of RFC 3339,
/// whose seconds may be left out. Answers RFC 3339.
pub fn instant(name: &str, text: &str, now: Millis) -> Result<String, Refusal> {
    moment(text, now, -1).ok_or_else(|| {
        Refusal::usage(format!("{name} is {text:?}; write how long ago (2h) or a time (2026-01-01T10:00:00Z)."))
    })
}

/// A moment to come: in how long (`2h`), or a time.
pub fn deadline(name: &str, text: &str, now: Millis) -> Result<String, Refusal> {
    moment(text, now, 1).ok_or_else(|| {
        Refusal::usage(format!("{name} is {text:?}; write in how long (2h) or a time (2026-01-01T10:00:00Z)."))
    })
}

fn moment(text: &str, now: Millis, direction: Millis) -> Option<String> {
    let span = text.strip_prefix('-').filter(|_| direction < 0).unwrap_or(text).parse::<Span>();
    let at = match (text, span) {
        ("now", _) => Some(now),
        (_, Ok(span)) => Some(now + direction * span.millis()),
        _ => parse_rfc3339(text).or_else(|| parse_rfc3339(&with_seconds(text)?)),
    };
    at.map(crate::clock::rfc3339)
}

/// `2026-01-01T10:00Z` → `2026-01-01T10:00:00Z`
fn with_seconds(text: &str) -> Option<String> {
    let (minutes, zone) = text.split_at_checked(16)?;
    Some(format!("{minutes}:00{zone}"))
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// `COLUMNS`, else what the terminal says of itself.
fn terminal_width() -> Option<usize> {
    #[expect(clippy::disallowed_methods, reason = "the width of the terminal is no configuration")]
    let given = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    given.or_else(|| {
        let asked = Command::new("stty").arg("size").stdin(Stdio::inherit()).stderr(Stdio::null()).output().ok()?;
        String::from_utf8(asked.stdout).ok()?.split_whitespace().nth(1)?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ages_and_cut_lines_stay_short() {
        let output = Output { json: false, width: Some(5), now: 200_000_000 };
        let age = |ago: Millis| output.age(&json!(crate::clock::rfc3339(output.now - ago)));
        assert_eq!(
            [age(0), age(119_000), age(120_000), age(7_200_000), age(172_800_000)],
            ["0s", "119s", "2m", "2h", "2d"]
        );
        assert_eq!([output.cut("12345"), output.cut("123456")], ["12345", "1234…"]);
        assert_eq!(Output { width: None, ..output }.cut("123456"), "123456");
    }

    #[test]
    fn a_time_is_an_age_or_an_instant() {
        assert_eq!(instant("--since", "2h", 7_200_000), Ok("1970-01-01T00:00:00.000Z".into()));
        assert_eq!(instant("--since", "2026-01-01T01:00:00+01:00", 0), Ok("2026-01-01T00:00:00.000Z".into()));
        for (text, at) in [("now", 60), ("-1m", 0), ("1970-01-01T00:01Z", 60), ("1970-01-01T01:00+01:00", 0)] {
            assert_eq!(instant("--from", text, 60_000), Ok(crate::clock::rfc3339(at * 1000)), "{text}");
        }
        assert_eq!(deadline("--until", "1m", 60_000), Ok("1970-01-01T00:02:00.000Z".into()));
        for wrong in ["yesterday", "1970-01-01", "1970-01-01T00:00", "", "--1m"] {
            assert!(instant("--since", wrong, 0).is_err(), "{wrong}");
        }
        assert!(deadline("--until", "-1m", 0).is_err());
    }
}
