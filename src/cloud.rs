//! The clouds that carry commercetools notifications: whose signature proves what, and the queue that
//! is pulled (`surfaces.md` 2.4). Nothing here knows what a notification is.
//!
//! Keys and certificates are fetched from their owners and nowhere else. One that cannot be fetched
//! is no reason to refuse somebody: the sender is asked to come again.

pub mod credentials;
pub mod google;
pub mod signature;
pub mod sns;
pub mod sqs;
mod web;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::config::model::SqsQueue;
use crate::config::{Config, aws};
use crate::remote::{Budget, Gate, Limits, Rule, Terms, breaker};

use sqs::Sqs;
use web::Web;

/// What a sender proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Untrusted {
    /// It is not who it must be, in a sentence.
    Refused(String),
    /// What would prove it cannot be fetched at the moment.
    NotNow(String),
}

/// Everybody's proofs: what is fetched for one sender serves the next.
pub struct Clouds {
    pub google: google::Keys,
    pub sns: sns::Certificates,
    web: Arc<Web>,
    queues: Vec<(SqsQueue, Arc<Sqs>)>,
}

impl Clouds {
    /// Nothing is fetched yet.
    ///
    /// # Errors
    /// A queue without credentials; when the HTTP client cannot be built.
    pub fn new(config: &Config, clock: &Clock) -> anyhow::Result<Self> {
        let web = Arc::new(Web::new(config.simulation.clouds.as_deref(), clock)?);
        let google = google::Keys::new(web.clone(), clock.clone());
        let sns = sns::Certificates::new(web.clone(), clock.clone());
        let (environment, mut queues) = (aws::environment(), Vec::new());
        for queue in &config.intake.sqs {
            let client = Sqs::new(queue, &environment, clock);
            let client = client.map_err(|why| anyhow::anyhow!("intake.sqs[{}]: {why}", queue.name))?;
            queues.push((queue.clone(), Arc::new(client)));
        }
        Ok(Self { google, sns, web, queues })
    }

    /// The queues that are pulled.
    pub fn queues(&self) -> &[(SqsQueue, Arc<Sqs>)] {
        &self.queues
    }

    /// Ends what is being fetched and lets nothing begin.
    pub fn hang_up(&self) {
        self.web.hang_up();
        self.queues.iter().for_each(|(_, queue)| queue.hang_up());
    }
}

/// Terms of remotes whose pace is the caller's own: nothing is learned, nothing is held back.
fn unlimited(in_flight: usize, clock: &Clock) -> Terms {
    let limits = Limits { rule: Rule::Fixed(1000.0), in_flight, reserve: BTreeMap::new() };
    let breaker = breaker::Rule { failures: 1.0, of: 20, open: Duration::from_secs(5), enforce: false };
    Terms { budget: Budget::new(limits), breaker, gate: Gate::default(), clock: clock.clone() }
}
