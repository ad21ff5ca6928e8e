//! Kinds that only have a name: `Project`, `Room`, `ServiceAccount`.

use super::common::{NamedMetadata, ProjectKind, RoomKind, ServiceAccountKind, Version, yes};
use super::room_roles::RoomRole;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// A tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Project {
    pub version: Version,
    pub kind: ProjectKind,
    pub metadata: NamedMetadata,
    /// Short name for addresses; made from the name when missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
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
