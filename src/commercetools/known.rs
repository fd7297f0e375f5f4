//! What a project defines and orders refer to: Types, States and Channels.
//!
//! Answers name these by id, our configuration by key; [`Known`] holds the ones read so far and
//! leads from either name to the definition. How long it may be kept is decided by who reads it.

use serde::{Deserialize, Serialize};

/// The definitions of one project that a projection may meet.
#[derive(Clone, Debug, Default)]
pub struct Known {
    pub types: Vec<Type>,
    pub states: Vec<State>,
    pub channels: Vec<Channel>,
}

impl Known {
    /// The Type an answer refers to.
    pub fn type_named(&self, reference: &Reference) -> Option<&Type> {
        self.types.iter().find(|known| reference.names(&known.id, Some(&known.key)))
    }

    /// The Type with this key.
    pub fn type_with_key(&self, key: &str) -> Option<&Type> {
        self.types.iter().find(|known| known.key == key)
    }

    /// The State an answer refers to.
    pub fn state_named(&self, reference: &Reference) -> Option<&State> {
        self.states.iter().find(|known| reference.names(&known.id, Some(&known.key)))
    }

    /// The State with this key.
    pub fn state_with_key(&self, key: &str) -> Option<&State> {
        self.states.iter().find(|known| known.key == key)
    }

    /// The Channel with this key.
    pub fn channel_with_key(&self, key: &str) -> Option<&Channel> {
        self.channels.iter().find(|known| known.key == key)
    }
}

/// A reference inside an answer: by id, in a few places by key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

impl Reference {
    /// Whether this is the resource with that id or that key.
    pub fn names(&self, id: &str, key: Option<&str>) -> bool {
        self.id.as_deref() == Some(id) || (self.key.is_some() && self.key.as_deref() == key)
    }

    /// The name for a sentence: the key if there is one, else the id.
    pub fn label(&self) -> &str {
        self.key.as_deref().or(self.id.as_deref()).unwrap_or("(unnamed)")
    }
}

/// A custom Type, as far as writing a field needs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Type {
    pub id: String,
    pub key: String,
    pub field_definitions: Vec<FieldDefinition>,
}

impl Type {
    /// The definition of a field.
    pub fn field(&self, name: &str) -> Option<&FieldType> {
        self.field_definitions.iter().find(|field| field.name == name).map(|field| &field.kind)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldDefinition {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: FieldType,
}

/// `{"name": "String"}`, `{"name": "Set", "elementType": {"name": "String"}}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FieldType {
    /// `String`, `Number`, `Boolean`, `Set` and so on.
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub element_type: Option<Box<FieldType>>,
}

/// A workflow State.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    pub id: String,
    pub key: String,
    /// Whether a resource without State may take it.
    pub initial: bool,
    /// Where one may go from here; absent = everywhere, empty = nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transitions: Option<Vec<Reference>>,
}

/// A Channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Channel {
    pub id: String,
    pub key: String,
    pub roles: Vec<String>,
}
