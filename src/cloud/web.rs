//! The public material of Google and Amazon: keys, certificates, confirmations.

use std::time::Duration;

use reqwest::Method;
use reqwest::header::HeaderMap;

use super::unlimited;
use crate::clock::Clock;
use crate::remote::{Answer, Call, Remote, Request};

/// A sender waits for its own answer meanwhile, some of them 5 s only.
const TIMEOUT: Duration = Duration::from_secs(3);

/// The one way to it.
pub struct Web {
    remote: Remote,
    /// Base URL that stands for all hosts.
    simulated: Option<String>,
}

impl Web {
    pub fn new(simulated: Option<&str>, clock: &Clock) -> Result<Self, reqwest::Error> {
        let remote = Remote::new("The key server", TIMEOUT, unlimited(16, clock), |_| false)?;
        Ok(Self { remote, simulated: simulated.map(|base| base.trim_end_matches('/').to_owned()) })
    }

    /// GET; no redirect is followed.
    ///
    /// # Errors
    /// What happened instead of a 200, in a sentence.
    pub async fn get(&self, operation: &'static str, url: &str) -> Result<Answer, String> {
        let url = match (&self.simulated, url.split_once("://")) {
            (Some(base), Some((_, rest))) => format!("{base}/{rest}"),
            _ => url.to_owned(),
        };
        let call = Call { lane: "intake".into(), correlation: String::new() };
        let request = Request {
            operation,
            method: Method::GET,
            url,
            headers: HeaderMap::new(),
            body: None,
            write: false,
            call: &call,
        };
        match self.remote.send(request).await {
            Ok(answer) if answer.status.as_u16() == 200 => Ok(answer),
            Ok(answer) => Err(format!("It was answered with {} ({operation}).", answer.status.as_u16())),
            Err(error) => Err(error.sentence),
        }
    }

    /// Is this a rehearsal, with an issuer of its own?
    pub fn is_simulated(&self) -> bool {
        self.simulated.is_some()
    }

    pub fn hang_up(&self) {
        self.remote.hang_up();
    }
}
