//! What the connector needs in a commercetools project, and how it comes to be there (F 11).
//!
//! [`wanted`] follows from the configuration, [`Found`] is what the project has, [`judge()`] compares one with the
//! other; all of that is pure. [`plan()`] looks and compares, [`apply()`] also writes, one resource after the other:
//! a resource that is refused does not hold back the next. Nothing is ever removed, and a second run changes nothing.

mod apply;
mod judge;
mod subscription;
mod wanted;

pub use apply::{apply, look, plan};
pub use judge::judge;
pub use wanted::{RESOURCES, wanted};

use serde::Serialize;
use serde_json::{Value, json};

use crate::commercetools::channel::Channel;
use crate::commercetools::client::Settings;
use crate::commercetools::definition::{
    Collection, DefinedState, DefinedSubscription, DefinedType, DefinitionAction, FieldDraft, StateDraft,
    SubscriptionDraft, Texts, TypeDraft,
};
use crate::remote::Error;

/// A group of resources, for `--only`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Types,
    Channels,
    States,
    /// The Subscription and the storage of Messages.
    Subscription,
}

/// All groups, in the order in which they are brought about.
pub const PARTS: [Part; 4] = [Part::Types, Part::Channels, Part::States, Part::Subscription];

/// `--extend line-item=engraving`: a Type of the merchant that is to take our fields, too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extension {
    /// `line-item`
    pub resource: String,
    /// `engraving`
    pub key: String,
}

/// One thing that has to be there.
#[derive(Clone, Debug, PartialEq)]
pub enum Wanted {
    Type(TypeDraft),
    /// Our fields in somebody else's Type.
    Extension {
        key: String,
        resource: String,
        fields: Vec<FieldDraft>,
    },
    Channel(ChannelWanted),
    State(StateDraft),
    Subscription(SubscriptionDraft),
    /// Messages are kept, so that polls can ask for lost ones.
    MessageStorage,
}

/// A Channel that others than locations need.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ChannelWanted {
    pub key: String,
    pub name: Texts,
    pub roles: Vec<&'static str>,
}

/// What the project has, as far as it was looked at.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// All Types: a field must have the same type in all of a resource.
    pub types: Vec<DefinedType>,
    pub channels: Vec<Channel>,
    pub states: Vec<DefinedState>,
    pub subscriptions: Vec<DefinedSubscription>,
    pub settings: Option<Settings>,
}

/// What there is to do about one wanted thing.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// It does not exist.
    Create,
    /// It exists, but something is missing in it. `got` tells what it gets, a sentence each.
    Change { id: String, version: i64, actions: Vec<DefinitionAction>, got: Vec<String> },
    /// It is as it should be.
    Keep,
    /// Somebody else's serves as well; the sentence proposes what to configure.
    Foreign(String),
    /// It is in the way; the sentence says how.
    Conflict(String),
}

/// A line of the plan, and what became of it.
#[derive(Clone, Debug)]
pub struct Row {
    /// `custom Type`, `Channel`, `State`, `Subscription`, `Message storage`.
    pub resource: &'static str,
    pub key: String,
    pub verdict: &'static str,
    /// The exact request, if there is one to send.
    pub call: Option<Value>,
    /// What was done, or what is to be known.
    pub sentences: Vec<String>,
    /// It could not be looked at, or was refused.
    pub failed: Option<Error>,
}

impl Wanted {
    /// What it is called in sentences.
    pub fn resource(&self) -> &'static str {
        match self {
            Self::Type(_) | Self::Extension { .. } => "custom Type",
            Self::Channel(_) => "Channel",
            Self::State(_) => "State",
            Self::Subscription(_) => "Subscription",
            Self::MessageStorage => "Message storage",
        }
    }

    pub fn key(&self) -> &str {
        match self {
            Self::Type(draft) => &draft.key,
            Self::Extension { key, .. } => key,
            Self::Channel(draft) => &draft.key,
            Self::State(draft) => &draft.key,
            Self::Subscription(draft) => &draft.key,
            Self::MessageStorage => "",
        }
    }

    /// Where it is; `None` = in the settings of the project.
    pub fn collection(&self) -> Option<Collection> {
        match self {
            Self::Type(_) | Self::Extension { .. } => Some(Collection::Types),
            Self::Channel(_) => Some(Collection::Channels),
            Self::State(_) => Some(Collection::States),
            Self::Subscription(_) => Some(Collection::Subscriptions),
            Self::MessageStorage => None,
        }
    }

    /// The body that creates it; `None` where it is only ever changed.
    pub fn draft(&self) -> Option<Value> {
        match self {
            Self::Type(draft) => Some(json!(draft)),
            Self::Channel(draft) => Some(json!(draft)),
            Self::State(draft) => Some(json!(draft)),
            Self::Subscription(draft) => Some(json!(draft)),
            Self::Extension { .. } | Self::MessageStorage => None,
        }
    }

    /// The request that looks for it.
    pub fn look(&self, project_key: &str) -> Value {
        let path = match self.collection() {
            Some(collection) => format!("/{project_key}/{}/key={}", collection.path(), self.key()),
            None => format!("/{project_key}"),
        };
        json!({"method": "GET", "path": path})
    }

    /// The request that does what the verdict says; `None` = nothing is sent.
    pub fn call(&self, verdict: &Verdict, project_key: &str) -> Option<Value> {
        let (path, body) = match (verdict, self.collection()) {
            (Verdict::Create, Some(collection)) => (format!("/{project_key}/{}", collection.path()), self.draft()?),
            (Verdict::Change { id, version, actions, .. }, collection) => {
                let path = collection.map_or_else(String::new, |collection| format!("/{}/{id}", collection.path()));
                (format!("/{project_key}{path}"), json!({"version": version, "actions": actions}))
            }
            _ => return None,
        };
        Some(json!({"method": "POST", "path": path, "body": body}))
    }
}

impl Verdict {
    /// Its word in the plan.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Change { .. } => "change",
            Self::Keep => "keep",
            Self::Foreign(_) => "foreign",
            Self::Conflict(_) => "conflict",
        }
    }
}
