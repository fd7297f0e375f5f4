//! What is around a notification: the envelope of EventBridge, the wrapper of SNS, told apart by
//! content. A wrapper may hold a wrapper once.

use serde_json::Value;

use crate::config::model::QueueFormat;

/// Event sources of commercetools in EventBridge: `aws.partner/commercetools.com/<project>/<subscription>`.
pub const PARTNER: &str = "aws.partner/commercetools.com/";

/// What a queue takes.
#[derive(Clone, Copy, Debug)]
pub struct Accepted<'a> {
    pub formats: &'a [QueueFormat],
    /// Empty = any.
    pub topics: &'a [String],
    pub project: &'a str,
}

/// Why there is no notification.
#[derive(Debug, PartialEq, Eq)]
pub enum Wrong {
    Unreadable(String),
    /// It can be read, and is not for us.
    Refused(String),
}

/// Takes the notification out of what a queue held.
pub fn unwrapped(body: &str, accepted: Accepted<'_>) -> Result<Value, Wrong> {
    let mut document = parsed(body)?;
    let mut wrappers = 0;
    loop {
        let format = format(&document);
        let is_bare = format == QueueFormat::Platform;
        // What is inside a wrapper is of no format of its own.
        if !(accepted.formats.contains(&format) || (is_bare && wrappers > 0)) {
            return Err(Wrong::Refused(format!("This queue takes no {} messages (formats).", named(format))));
        }
        if is_bare {
            return Ok(document);
        }
        if wrappers == 2 {
            return Err(Wrong::Unreadable("a wrapper in a wrapper in a wrapper".into()));
        }
        wrappers += 1;
        document = match format {
            QueueFormat::Sns => of_sns(&document, accepted.topics)?,
            _ => of_eventbridge(document, accepted.project)?,
        };
    }
}

/// Is this the project's own event source?
pub fn of_partner(source: &str, project: &str) -> bool {
    let named = source.strip_prefix(PARTNER).and_then(|rest| rest.split('/').next());
    named == Some(project)
}

fn parsed(text: &str) -> Result<Value, Wrong> {
    serde_json::from_str(text).map_err(|_| Wrong::Unreadable("This is not JSON.".into()))
}

fn format(document: &Value) -> QueueFormat {
    if document["Type"] == "Notification" && document["Message"].is_string() {
        QueueFormat::Sns
    } else if document.get("detail").is_some() && document.get("detail-type").is_some() {
        QueueFormat::Eventbridge
    } else {
        QueueFormat::Platform
    }
}

fn named(format: QueueFormat) -> &'static str {
    match format {
        QueueFormat::Platform => "platform",
        QueueFormat::Eventbridge => "eventbridge",
        QueueFormat::Sns => "sns",
    }
}

fn of_sns(document: &Value, topics: &[String]) -> Result<Value, Wrong> {
    let topic = document["TopicArn"].as_str().unwrap_or_default();
    if !topics.is_empty() && !topics.iter().any(|known| known == topic) {
        return Err(Wrong::Refused(format!("The message is of the topic {topic}, which is not in sns_topics.")));
    }
    parsed(document["Message"].as_str().unwrap_or_default())
}

fn of_eventbridge(mut document: Value, project: &str) -> Result<Value, Wrong> {
    match document["source"].as_str() {
        Some(source) if !of_partner(source, project) => {
            Err(Wrong::Refused(format!("The event is of the source {source}, not of project {project}.")))
        }
        _ => Ok(document["detail"].take()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ALL: [QueueFormat; 3] = [QueueFormat::Platform, QueueFormat::Eventbridge, QueueFormat::Sns];

    fn taken(document: &Value, formats: &[QueueFormat], topics: &[String]) -> Result<Value, Wrong> {
        unwrapped(&document.to_string(), Accepted { formats, topics, project: "p" })
    }

    fn sns(inner: &Value) -> Value {
        json!({"Type": "Notification", "TopicArn": "t", "Message": inner.to_string()})
    }

    fn event(inner: &Value) -> Value {
        json!({"source": "aws.partner/commercetools.com/p/s", "detail-type": "OrderCreated", "detail": inner})
    }

    #[test]
    fn what_is_inside_comes_out() {
        let note = json!({"notificationType": "Message"});
        for wrapped in [note.clone(), sns(&note), event(&note), sns(&event(&note)), event(&sns(&note))] {
            assert_eq!(taken(&wrapped, &ALL, &[]).unwrap(), note, "{wrapped}");
        }
        let thrice = sns(&event(&sns(&note)));
        assert!(matches!(taken(&thrice, &ALL, &[]), Err(Wrong::Unreadable(_))));
        assert_eq!(taken(&sns(&note), &[QueueFormat::Sns], &["t".into()]).unwrap(), note);
    }

    #[test]
    fn what_the_queue_does_not_take_is_refused() {
        let note = json!({"notificationType": "Message"});
        for (wrapped, formats, topics) in [
            (note.clone(), &ALL[1..], vec![]),
            (sns(&note), &ALL[..2], vec![]),
            (event(&note), &ALL[..1], vec![]),
            (sns(&event(&note)), &ALL[2..], vec![]),
            (sns(&note), &ALL[..], vec!["other".to_owned()]),
        ] {
            assert!(matches!(taken(&wrapped, formats, &topics), Err(Wrong::Refused(_))), "{wrapped}");
        }
        for source in ["aws.partner/commercetools.com/other/s", "aws.partner/commercetools.com/pp", "com.evil/p"] {
            let mut foreign = event(&note);
            foreign["source"] = source.into();
            assert!(matches!(taken(&foreign, &ALL, &[]), Err(Wrong::Refused(_))), "{source}");
        }
        let broken = unwrapped("<xml/>", Accepted { formats: &ALL, topics: &[], project: "p" });
        assert!(matches!(broken, Err(Wrong::Unreadable(_))));
    }
}
