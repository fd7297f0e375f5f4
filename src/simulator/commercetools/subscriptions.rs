//! Subscriptions as the API has them (platform-commercetools A6). Their destinations are clouds, which are not
//! simulated: nothing is delivered by them. What delivers is [`super::Push`].

use serde_json::{Value, json};

use super::project::Project;
use super::refusal::{Answer, Refusal};
use super::resource::of_type;
use super::update::{check_enum, key, set, text, unknown_action};

/// Most Subscriptions of a project.
const MOST: usize = 50;

/// A Subscription from its draft.
pub(super) fn create(project: &Project, draft: &Value) -> Answer<Value> {
    if of_type("subscription").is_some_and(|all| project.all(all).count() >= MOST) {
        let refusal = Refusal::new(400, "MaxResourceLimitExceeded", "A project has at most 50 subscriptions.");
        return Err(refusal.with("exceededResource", "subscription"));
    }
    let mut created = json!({
        "messages": list(draft, "messages", MESSAGES)?,
        "changes": list(draft, "changes", CHANGES)?,
        "events": [],
        "format": draft.get("format").cloned().unwrap_or_else(|| json!({"type": "Platform"})),
        "status": "Healthy",
    });
    check_enum("format -> type", created["format"]["type"].as_str().unwrap_or_default(), &["Platform", "CloudEvents"])?;
    if draft.get("key").is_some_and(|key| !key.is_null()) {
        created["key"] = key(draft)?;
    }
    created["destination"] = destination(project, draft, created["key"].as_str().unwrap_or("subscription"))?;
    if draft.get("events").is_some_and(|events| events.as_array().is_some_and(|events| !events.is_empty())) {
        return Err(Refusal::not_simulated("Events of a Subscription"));
    }
    something(&created)?;
    Ok(created)
}

/// Applies one action to `changed`.
pub(super) fn change(project: &Project, changed: &mut Value, name: &str, action: &Value) -> Answer<()> {
    match name {
        "setMessages" => changed["messages"] = list(action, "messages", MESSAGES)?,
        "setChanges" => changed["changes"] = list(action, "changes", CHANGES)?,
        "setKey" => set(changed, "key", action.get("key").map(|_| key(action)).transpose()?),
        "changeDestination" => {
            let own = changed["key"].as_str().unwrap_or("subscription").to_owned();
            changed["destination"] = destination(project, action, &own)?;
        }
        "setEvents" => return Err(Refusal::not_simulated("Subscription action setEvents")),
        other => return Err(unknown_action(other)),
    }
    something(changed)
}

/// A Subscription to nothing is refused.
fn something(subscription: &Value) -> Answer<()> {
    let some = |field: &str| subscription[field].as_array().is_some_and(|list| !list.is_empty());
    match some("messages") || some("changes") {
        true => Ok(()),
        false => Err(Refusal::invalid_input("At least one of messages, changes and events is required.")),
    }
}

/// The wanted resource types, each once.
fn list(of: &Value, field: &str, known: &[&str]) -> Answer<Value> {
    let Some(wanted) = of.get(field).filter(|wanted| !wanted.is_null()) else { return Ok(json!([])) };
    let rows = wanted.as_array().ok_or_else(|| Refusal::invalid_json(format!("{field}: Expected a list")))?;
    let mut seen: Vec<&str> = Vec::new();
    for row in rows {
        let resource = text(row, "resourceTypeId")?;
        check_enum("resourceTypeId", resource, known)?;
        if seen.contains(&resource) {
            return Err(Refusal::duplicate("resourceTypeId", &row["resourceTypeId"]));
        }
        seen.push(resource);
    }
    Ok(wanted.clone())
}

/// The destination with the members its type needs; secrets are masked when read.
fn destination(project: &Project, of: &Value, key: &str) -> Answer<Value> {
    let mut destination = of["destination"].clone();
    let needed: &[&str] = match text(&destination, "type")? {
        "SQS" => &["queueUrl", "region"],
        "SNS" => &["topicArn"],
        "EventBridge" => &["region", "accountId"],
        "GoogleCloudPubSub" => &["projectId", "topic"],
        "EventGrid" => &["uri", "accessKey"],
        "AzureServiceBus" => &["connectionString"],
        other => {
            let known = &["SQS", "SNS", "EventBridge", "GoogleCloudPubSub", "EventGrid", "AzureServiceBus"];
            return Err(check_enum("destination -> type", other, known).err().unwrap_or_else(|| unknown_action(other)));
        }
    };
    for member in needed {
        text(&destination, member)?;
    }
    if let Some(mode) = destination.get("authenticationMode").and_then(Value::as_str) {
        check_enum("authenticationMode", mode, &["Credentials", "IAM"])?;
        if mode == "Credentials" {
            text(&destination, "accessKey").and_then(|_| text(&destination, "accessSecret")).map(drop)?;
        }
    }
    for secret in ["accessKey", "accessSecret", "connectionString"] {
        if destination.get(secret).is_some() {
            destination[secret] = "****".into();
        }
    }
    if destination["type"] == "EventBridge" {
        destination["source"] = format!("aws.partner/commercetools.com/{}/{key}", project.key).into();
    }
    Ok(destination)
}

const MESSAGES: &[&str] = &[
    "approval-flow",
    "approval-rule",
    "associate-role",
    "business-unit",
    "category",
    "customer",
    "customer-email-token",
    "customer-group",
    "customer-password-token",
    "inventory-entry",
    "order",
    "payment",
    "product",
    "product-selection",
    "product-tailoring",
    "quote",
    "quote-request",
    "review",
    "shopping-list",
    "staged-quote",
    "standalone-price",
    "store",
];

const CHANGES: &[&str] = &[
    "approval-flow",
    "approval-rule",
    "associate-role",
    "attribute-group",
    "business-unit",
    "cart",
    "cart-discount",
    "category",
    "channel",
    "customer",
    "customer-email-token",
    "customer-group",
    "customer-password-token",
    "discount-code",
    "discount-group",
    "extension",
    "inventory-entry",
    "key-value-document",
    "order",
    "order-edit",
    "payment",
    "product",
    "product-discount",
    "product-selection",
    "product-tailoring",
    "product-type",
    "quote",
    "quote-request",
    "recurrence-policy",
    "recurring-order",
    "review",
    "shipping-method",
    "shopping-list",
    "staged-quote",
    "standalone-price",
    "state",
    "store",
    "subscription",
    "tax-category",
    "type",
    "zone",
];
