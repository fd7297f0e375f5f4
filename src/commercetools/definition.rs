//! What a project defines once, so that orders, Channels and stock can refer to it: drafts and update actions of
//! Types, Channels, States and Subscriptions, and what is read of them (platform-commercetools A6, A9).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::known::{FieldDefinition, FieldType};

/// Where definitions of one kind are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Collection {
    Types,
    Channels,
    States,
    Subscriptions,
}

impl Collection {
    /// Its name in paths: `types`.
    pub fn path(self) -> &'static str {
        match self {
            Self::Types => "types",
            Self::Channels => "channels",
            Self::States => "states",
            Self::Subscriptions => "subscriptions",
        }
    }
}

/// Texts by language tag.
pub type Texts = BTreeMap<String, String>;

/// A new Type.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TypeDraft {
    pub key: String,
    pub name: Texts,
    /// `order`, `line-item`, `order-delivery` …
    pub resource_type_ids: Vec<String>,
    pub field_definitions: Vec<FieldDraft>,
}

/// A new field of a Type.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FieldDraft {
    /// 2 to 36 letters, digits, `_` and `-`.
    pub name: String,
    pub label: Texts,
    pub required: bool,
    #[serde(rename = "type")]
    pub kind: FieldType,
    /// `MultiLine`; absent = one line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_hint: Option<&'static str>,
}

/// A Type as read.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DefinedType {
    pub id: String,
    pub version: i64,
    pub key: String,
    pub resource_type_ids: Vec<String>,
    #[serde(default)]
    pub field_definitions: Vec<FieldDefinition>,
}

impl DefinedType {
    /// The type of a field.
    pub fn field(&self, name: &str) -> Option<&FieldType> {
        self.field_definitions.iter().find(|field| field.name == name).map(|field| &field.kind)
    }

    /// May resources of this kind carry it?
    pub fn serves(&self, resource: &str) -> bool {
        self.resource_type_ids.iter().any(|id| id == resource)
    }
}

/// A new State.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StateDraft {
    pub key: String,
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub name: Texts,
    pub initial: bool,
}

/// A State as read.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct DefinedState {
    pub id: String,
    pub version: i64,
    /// Built-in States may have none.
    pub key: Option<String>,
    #[serde(rename = "type")]
    pub kind: String,
    pub initial: bool,
}

/// A new Subscription.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SubscriptionDraft {
    pub key: String,
    pub destination: Map<String, Value>,
    pub messages: Vec<Messages>,
    pub changes: Vec<Changes>,
}

/// Which Messages of one kind of resource are delivered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Messages {
    pub resource_type_id: String,
    /// Empty = all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<String>,
}

/// Change notifications of one kind of resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Changes {
    pub resource_type_id: String,
}

/// A Subscription as read.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct DefinedSubscription {
    pub id: String,
    pub version: i64,
    pub key: Option<String>,
    pub destination: Map<String, Value>,
    #[serde(default)]
    pub messages: Vec<Messages>,
    #[serde(default)]
    pub changes: Vec<Changes>,
    /// `Healthy`, `ConfigurationError`, `ConfigurationErrorDeliveryStopped`, `TemporaryError`, `ManuallySuspended`.
    pub status: String,
}

/// One update action on a definition.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "action", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum DefinitionAction {
    /// Of a Type.
    AddFieldDefinition { field_definition: FieldDraft },
    /// Of a Channel.
    AddRoles { roles: Vec<String> },
    /// Of a State.
    ChangeInitial { initial: bool },
    /// Of a Subscription: the whole list.
    SetMessages { messages: Vec<Messages> },
    /// Of a Subscription: the whole list.
    SetChanges { changes: Vec<Changes> },
    /// Of the project.
    ChangeMessagesConfiguration { messages_configuration: MessagesConfiguration },
}

/// Are Messages kept for queries, and for how many days?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MessagesConfiguration {
    pub enabled: bool,
    /// 1 to 90.
    pub delete_days_after_creation: u8,
}
