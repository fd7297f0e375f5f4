//! How commercetools notifications reach us (`surfaces.md` 1.3, 2.4): senders that call us, and
//! queues that are pulled.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::value::{Secret, Span};

#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Intake {
    /// Senders that call us; each path is off until it is turned on.
    pub push: Push,
    /// Queues of Amazon SQS that are pulled.
    pub sqs: Vec<SqsQueue>,
}

#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Push {
    /// `POST /intake/commercetools/pubsub/{connection}`
    pub pubsub: Pubsub,
    /// `POST /intake/commercetools/sns/{connection}`
    pub sns: Sns,
    /// `POST /intake/commercetools/eventbridge/{connection}`
    pub eventbridge: Eventbridge,
    /// `POST /intake/commercetools/eventgrid/{connection}`
    pub eventgrid: Eventgrid,
    /// `POST /intake/commercetools/plain/{connection}` with an API token.
    pub plain: Plain,
}

/// Push subscriptions of Google Pub/Sub, authenticated by an identity token.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pubsub {
    pub enabled: bool,
    /// `aud` of the token; `None` = the public URL of the path.
    pub audience: Option<String>,
    /// `email` of the token.
    pub service_account: Option<String>,
}

/// HTTPS subscriptions of Amazon SNS, authenticated by the message's signature.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sns {
    pub enabled: bool,
    /// `TopicArn` of those that are accepted.
    pub topics: Vec<String>,
    /// Confirm a new subscription of such a topic.
    pub confirm: bool,
    /// Accept signature version 1 (SHA1withRSA), too.
    pub allow_sha1: bool,
}

/// API destinations of Amazon EventBridge, authenticated by an API token.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Eventbridge {
    pub enabled: bool,
    /// Header that carries the token.
    pub header: String,
}

/// Event subscriptions of Azure Event Grid, authenticated by an API token.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Eventgrid {
    pub enabled: bool,
    /// Header that carries the token.
    pub header: String,
    /// Who may open a subscription (`WebHook-Request-Origin`).
    pub origins: Vec<String>,
}

#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Plain {
    /// The path answers.
    pub enabled: bool,
}

/// One queue.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SqsQueue {
    pub name: String,
    /// Whose notifications it holds.
    pub connection: String,
    pub queue_url: String,
    /// `None` = taken from the URL.
    pub region: Option<String>,
    /// Where it is reached instead of at its URL.
    pub endpoint: Option<String>,
    /// Where roles are assumed instead of at the region's STS.
    pub sts_endpoint: Option<String>,
    /// With `secret_access_key`; `None` = the chain.
    pub access_key_id: Option<String>,
    pub secret_access_key: Option<Secret>,
    /// Which part of the chain.
    pub credentials: AwsCredentials,
    /// What a message may be.
    pub formats: Vec<QueueFormat>,
    /// `TopicArn` of accepted wrappers; empty = any.
    pub sns_topics: Vec<String>,
    /// Long poll, at most 20 s.
    pub wait: Span,
    /// How long a received message is hidden from others.
    pub visibility: Span,
    /// Messages of one receive.
    #[schemars(range(min = 1, max = 10))]
    pub batch: u32,
    /// Receives under way at once.
    #[schemars(range(min = 1, max = 64))]
    pub pollers: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AwsCredentials {
    /// The first of the others that there is.
    Auto,
    Environment,
    Container,
    WebIdentity,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum QueueFormat {
    /// The notification itself, Platform or CloudEvents.
    Platform,
    /// In the envelope of EventBridge.
    Eventbridge,
    /// In the wrapper of SNS.
    Sns,
}

impl Push {
    /// Is any of them on?
    pub fn any(&self) -> bool {
        let Self { pubsub, sns, eventbridge, eventgrid, plain } = self;
        pubsub.enabled || sns.enabled || eventbridge.enabled || eventgrid.enabled || plain.enabled
    }
}

impl Intake {
    /// Do notifications reach this connection?
    pub fn feeds(&self, connection: &str) -> bool {
        self.push.any() || self.sqs.iter().any(|queue| queue.connection == connection)
    }
}

impl SqsQueue {
    /// `eu-central-1`: as configured, else from the host of the URL.
    pub fn region(&self) -> Option<&str> {
        let of_url = || self.queue_url.strip_prefix("https://sqs.")?.split('.').next();
        self.region.as_deref().or_else(of_url).filter(|region| !region.is_empty())
    }
}
