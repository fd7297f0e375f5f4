//! What is wrong with a configuration, each with the place where the operator can repair it.

use std::fmt;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where it was written: `config.yml:41:7`, a variable's name, or `default`.
    pub place: String,
    /// Which key: `connections[main].fluent.retailer`; empty if it concerns a whole file.
    pub path: String,
    /// What is wrong and what to write instead.
    pub sentence: String,
}

/// Everything that is wrong, found in one go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl Problem {
    pub fn new(place: impl fmt::Display, path: impl Into<String>, sentence: impl Into<String>) -> Self {
        Self { place: place.to_string(), path: path.into(), sentence: sentence.into() }
    }
}

impl Problems {
    /// `Ok` if there are none.
    pub fn into_result(self) -> Result<(), Self> {
        if self.0.is_empty() { Ok(()) } else { Err(self) }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, path, sentence } = self;
        if path.is_empty() { write!(f, "{place}: {sentence}") } else { write!(f, "{place} {path}: {sentence}") }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.0.iter().enumerate() {
            let separator = if n == 0 { "" } else { "\n" };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
