//! Checks of what notifications come by: each sender's identity must be known, each queue must be reachable.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Findings, http_url, is_loopback};
use crate::config::model::{Connection, Intake, SqsQueue};

/// Bounds that SQS itself has (API reference, `ReceiveMessage`, `ChangeMessageVisibility`).
const LONGEST_WAIT: Duration = Duration::from_secs(20);
const LONGEST_VISIBILITY: Duration = Duration::from_secs(12 * 3600);

/// Checks `intake`.
pub(super) fn check(findings: &mut Findings<'_>) {
    let Intake { push, sqs } = &findings.loaded.config.intake;
    let public = findings.loaded.config.server.public_url.is_some();
    let mut check = Check { findings };
    if push.pubsub.enabled {
        if push.pubsub.service_account.as_ref().is_none_or(String::is_empty) {
            check.problem("push.pubsub.service_account", "is needed: anybody with a Google account could send");
        }
        if push.pubsub.audience.is_none() && !public {
            check.problem("push.pubsub.audience", "is needed unless server.public_url is given");
        }
    }
    if push.sns.enabled && push.sns.topics.is_empty() {
        check.problem("push.sns.topics", "is needed: anybody with a topic could send");
    }
    for (n, topic) in push.sns.topics.iter().enumerate() {
        check.topic(&format!("push.sns.topics[{n}]"), topic);
    }
    if push.sns.enabled && push.sns.allow_sha1 {
        check.warning("push.sns.allow_sha1", "SHA-1 signatures are weak; set SignatureVersion 2 on the topic");
    }
    check.header("push.eventbridge.header", &push.eventbridge.header);
    check.header("push.eventgrid.header", &push.eventgrid.header);
    if push.eventgrid.enabled && push.eventgrid.origins.is_empty() {
        check.problem("push.eventgrid.origins", "is needed: nobody could open a subscription");
    }
    let mut urls: BTreeMap<&str, &str> = BTreeMap::new();
    for queue in sqs {
        check.queue(queue);
        if let Some(other) = urls.insert(&queue.queue_url, &queue.name) {
            let sentence = format!("queue {other:?} is the same; pollers says how many receive at once");
            check.problem(&format!("sqs[{}].queue_url", queue.name), &sentence);
        }
    }
}

/// Every stream that is on must come from somewhere: what the poll does not find, somebody must tell.
pub(super) fn sources(findings: &mut Findings<'_>, connection: &Connection) {
    if !connection.enabled || findings.loaded.config.intake.feeds(&connection.name) {
        return;
    }
    let streams = [
        ("order", "order", connection.order.enabled, connection.order.poll),
        ("category", "category", connection.category.enabled, connection.category.poll),
        ("product", "product", connection.product.enabled, connection.product.poll),
    ];
    for (flow, noun, enabled, poll) in streams {
        if enabled && poll.0.is_zero() {
            let path = format!("connections[{}].{flow}.poll", connection.name);
            let sentence = format!(
                "no {noun} can reach us: there is neither a poll, nor a push (intake.push), nor a queue (intake.sqs)"
            );
            findings.warning(&path, sentence);
        }
    }
}

struct Check<'c, 'l> {
    findings: &'c mut Findings<'l>,
}

impl Check<'_, '_> {
    fn queue(&mut self, queue: &SqsQueue) {
        let path = |below: &str| format!("sqs[{}].{below}", queue.name);
        let connections = &self.findings.loaded.config.connections;
        if !connections.iter().any(|connection| connection.name == queue.connection) {
            self.problem(&path("connection"), &format!("there is no connection {:?}", queue.connection));
        }
        for (key, url) in [
            ("queue_url", Some(&queue.queue_url)),
            ("endpoint", queue.endpoint.as_ref()),
            ("sts_endpoint", queue.sts_endpoint.as_ref()),
        ] {
            let Some(url) = url else { continue };
            match http_url(url) {
                None => self.problem(&path(key), &format!("{url:?} is not an http or https URL")),
                // With an endpoint of its own the URL is a name only.
                Some(_) if key == "queue_url" && queue.endpoint.is_some() => {}
                Some(parsed) if parsed.scheme() != "https" && !is_loopback(&parsed) => {
                    self.problem(&path(key), "must be https, unless it is on loopback");
                }
                Some(_) => {}
            }
        }
        if queue.region().is_none() || (queue.endpoint.is_some() && queue.region.is_none()) {
            self.problem(&path("region"), "is needed: the URL does not tell it, or there is an endpoint");
        }
        if queue.access_key_id.is_some() != queue.secret_access_key.is_some() {
            self.problem(&path("access_key_id"), "and secret_access_key belong together");
        }
        if queue.formats.is_empty() {
            self.problem(&path("formats"), "at least one is needed: platform, eventbridge, sns");
        }
        for (n, topic) in queue.sns_topics.iter().enumerate() {
            self.topic(&path(&format!("sns_topics[{n}]")), topic);
        }
        if queue.wait.0 > LONGEST_WAIT {
            self.problem(&path("wait"), "must not be longer than 20s");
        }
        if queue.visibility.0 < Duration::from_secs(2) || queue.visibility.0 > LONGEST_VISIBILITY {
            self.problem(&path("visibility"), "must be 2s to 12h");
        }
    }

    fn topic(&mut self, path: &str, topic: &str) {
        let parts: Vec<&str> = topic.split(':').collect();
        if parts.len() != 6 || parts[0] != "arn" || parts[2] != "sns" {
            let sentence = format!("{topic:?} is not the ARN of a topic: arn:aws:sns:eu-central-1:123456789012:ct");
            self.problem(path, &sentence);
        }
    }

    fn header(&mut self, path: &str, name: &str) {
        let legal = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || !name.chars().all(legal) {
            self.problem(path, &format!("{name:?} is not the name of a header"));
        }
    }

    fn problem(&mut self, path: &str, sentence: &str) {
        self.findings.problem(&format!("intake.{path}"), sentence);
    }

    fn warning(&mut self, path: &str, sentence: &str) {
        self.findings.warning(&format!("intake.{path}"), sentence);
    }
}
