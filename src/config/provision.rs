//! Keys of what `provision` creates in a project: `connections[].provision` (F 11).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// F 11.1.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Provision {
    /// Language tags of names and labels.
    pub locales: Vec<String>,
    /// Key of the Subscription; differs between connections of one project.
    pub subscription: String,
    /// Where it delivers; `None` = where `intake` takes from, as far as that says it.
    pub destination: Option<Destination>,
}

/// Destination of a Subscription (platform-commercetools A6), as far as it holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Destination {
    /// Kind of destination, in commercetools' spelling.
    #[serde(rename = "type")]
    pub kind: DestinationKind,
    /// SQS.
    #[serde(default)]
    pub queue_url: Option<String>,
    /// SQS and EventBridge.
    #[serde(default)]
    pub region: Option<String>,
    /// EventBridge.
    #[serde(default)]
    pub account_id: Option<String>,
    /// SNS.
    #[serde(default)]
    pub topic_arn: Option<String>,
    /// Google Pub/Sub.
    #[serde(default)]
    pub project_id: Option<String>,
    /// Google Pub/Sub.
    #[serde(default)]
    pub topic: Option<String>,
}

/// Kinds of destination that can be provisioned; others need a secret, and are set up by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum DestinationKind {
    #[serde(rename = "SQS")]
    Sqs,
    #[serde(rename = "SNS")]
    Sns,
    EventBridge,
    GoogleCloudPubSub,
}

impl Destination {
    /// The members commercetools wants of this kind, each with our value.
    pub fn members(&self) -> Vec<(&'static str, Option<&str>)> {
        let members = match self.kind {
            DestinationKind::Sqs => vec![("queueUrl", &self.queue_url), ("region", &self.region)],
            DestinationKind::Sns => vec![("topicArn", &self.topic_arn)],
            DestinationKind::EventBridge => vec![("region", &self.region), ("accountId", &self.account_id)],
            DestinationKind::GoogleCloudPubSub => vec![("projectId", &self.project_id), ("topic", &self.topic)],
        };
        members.into_iter().map(|(name, value)| (name, value.as_deref())).collect()
    }

    /// Its name in commercetools.
    pub fn name(&self) -> &'static str {
        match self.kind {
            DestinationKind::Sqs => "SQS",
            DestinationKind::Sns => "SNS",
            DestinationKind::EventBridge => "EventBridge",
            DestinationKind::GoogleCloudPubSub => "GoogleCloudPubSub",
        }
    }
}
