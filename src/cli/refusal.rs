//! How a verb ends when it does not succeed: a code for scripts, a sentence for people
//! (`surfaces.md` 6.1).

use std::fmt;
use std::process::ExitCode;

use serde_json::Value;

use crate::config::Problems;
use crate::store;

/// Exit codes; 0 is success, 2 also comes from the argument parser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    Failed = 1,
    Usage = 2,
    Configuration = 3,
    Differences = 4,
    /// A remote, or the daemon, refuses the credentials.
    Credentials = 5,
    Guard = 6,
    NotFound = 7,
    Daemon = 8,
    Database = 9,
    Interrupted = 130,
}

/// Why a verb did not do what it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub code: Code,
    /// What is wrong and what to do; empty if everything was said already.
    sentence: String,
}

impl Refusal {
    pub fn new(code: Code, sentence: impl Into<String>) -> Self {
        Self { code, sentence: sentence.into() }
    }

    pub fn failed(sentence: impl Into<String>) -> Self {
        Self::new(Code::Failed, sentence)
    }

    pub fn usage(sentence: impl Into<String>) -> Self {
        Self::new(Code::Usage, sentence)
    }

    pub fn interrupted() -> Self {
        Self::new(Code::Interrupted, "")
    }

    /// What a problem document of the daemon means.
    pub fn answered(status: u16, document: &Value) -> Self {
        let slug = document["type"].as_str().and_then(|kind| kind.rsplit(':').next()).unwrap_or_default();
        let detail = document["detail"].as_str().unwrap_or_default();
        let code = match (status, slug) {
            (_, "refused-by-guard") => Code::Guard,
            (400 | 405 | 415 | 422, _) => Code::Usage,
            (401 | 403, _) => Code::Credentials,
            (404, _) => Code::NotFound,
            _ => Code::Failed,
        };
        match detail.is_empty() {
            true => Self::new(code, format!("The daemon answered {status}.")),
            false => Self::new(code, detail),
        }
    }

    /// Says the sentence and answers the code.
    pub fn report(&self) -> ExitCode {
        if !self.sentence.is_empty() {
            eprintln!("fluent-connector: {}", self.sentence);
        }
        ExitCode::from(self.code as u8)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl From<Problems> for Refusal {
    fn from(problems: Problems) -> Self {
        Self::new(Code::Configuration, format!("The configuration is invalid.\n{problems}"))
    }
}

impl From<store::Error> for Refusal {
    fn from(error: store::Error) -> Self {
        Self::new(Code::Database, format!("The database cannot be used: {error}."))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_answer_of_the_daemon_has_its_code() {
        let problem =
            |slug: &str| json!({"type": format!("urn:fluent-connector:problem:{slug}"), "detail": "Because."});
        for (status, slug, code) in [
            (400, "malformed", Code::Usage),
            (401, "unauthenticated", Code::Credentials),
            (403, "forbidden", Code::Credentials),
            (404, "not-found", Code::NotFound),
            (409, "conflict", Code::Failed),
            (409, "refused-by-guard", Code::Guard),
            (422, "invalid", Code::Usage),
            (503, "unavailable", Code::Failed),
        ] {
            assert_eq!(Refusal::answered(status, &problem(slug)), Refusal::new(code, "Because."), "{slug}");
        }
        assert_eq!(Refusal::answered(502, &Value::Null).to_string(), "The daemon answered 502.");
    }
}
