//! Kinds that are about names and people: `Project`, `Room`, `ServiceAccount`.

use super::common::{NamedMetadata, ProjectKind, RoomKind, ServiceAccountKind, Version, yes};
use super::project_role::ProjectRoles;
use super::room_roles::RoomRole;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// A tenant. Its document is about the project that it is applied to; it makes none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Project {
    pub version: Version,
    pub kind: ProjectKind,
    /// The name is the project's name or its key.
    pub metadata: NamedMetadata,
    /// Short name of the project, which does not change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Members by address with their roles: these and no others. Without it they stay as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub members: Option<BTreeMap<String, ProjectRoles>>,
    /// Settings documents; those left out stay as they are. Secrets are no part of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<ProjectSettings>,
}

/// Settings documents of a project, as `…/settings/{name}` takes them, without keys.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ProjectSettings {
    /// `base_url` of the provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub openai: Option<Map<String, Value>>,
    /// `base_url` of the provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anthropic: Option<Map<String, Value>>,
    /// `base_url` of the provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grok: Option<Map<String, Value>>,
    /// Which models and programs may be used, and what is changed in requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub router: Option<Map<String, Value>>,
    /// How much may be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budgets: Option<Map<String, Value>>,
    /// What roles of users may do in rooms; or a document of the kind RoomRoles says so, and this does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room_roles: Option<Map<String, Value>>,
}

impl ProjectSettings {
    /// Names of those that there can be.
    pub const NAMES: [&'static str; 6] = ["openai", "anthropic", "grok", "router", "budgets", "room-roles"];

    /// Those that are said, by name.
    pub fn said(&self) -> impl Iterator<Item = (&'static str, &Map<String, Value>)> {
        let Self { openai, anthropic, grok, router, budgets, room_roles } = self;
        let all = [openai, anthropic, grok, router, budgets, room_roles];
        Self::NAMES.into_iter().zip(all).filter_map(|(name, document)| Some((name, document.as_ref()?)))
    }
}

/// A durable workspace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Room {
    pub version: Version,
    pub kind: RoomKind,
    pub metadata: NamedMetadata,
    /// Free data kept with the room; what REST calls its `metadata`.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub properties: Map<String, Value>,
    /// `false` refuses connections.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Roles of users in the room, by address: from then on only those named may enter. Without it they stay as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub users: Option<BTreeMap<String, BTreeSet<RoomRole>>>,
}

/// An identity that is not a person and owns API keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceAccount {
    pub version: Version,
    pub kind: ServiceAccountKind,
    pub metadata: NamedMetadata,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}
