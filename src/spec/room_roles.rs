//! What each role of a user may do in the rooms of a project: `kind: RoomRoles`, and the settings document `room-roles`.

use super::ApiScope;
use super::common::{Annotations, RoomRolesKind, Version};
use super::problem::{Finding, Path};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// A user's role in a room, the lesser ones first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub enum RoomRole {
    Guest,
    Viewer,
    Operator,
    Developer,
    Admin,
}

impl RoomRole {
    pub const ALL: [Self; 5] = [Self::Guest, Self::Viewer, Self::Operator, Self::Developer, Self::Admin];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Guest => "guest",
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Developer => "developer",
            Self::Admin => "admin",
        }
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text)
    }

    /// What the role may do where the project does not say.
    #[must_use]
    pub fn default_scope(self) -> ApiScope {
        match self {
            Self::Guest | Self::Viewer => {
                let full = ApiScope::full();
                let messaging = full.messaging.map(|mut grant| {
                    (grant.send, grant.broadcast) = (false, false);
                    grant
                });
                // Not `services`: their documents may have secrets in them.
                ApiScope { livekit: full.livekit, messaging, ..ApiScope::default() }
            }
            Self::Operator => ApiScope::user_default(),
            Self::Developer => ApiScope { tunnels: ApiScope::full().tunnels, ..ApiScope::agent_default() },
            Self::Admin => ApiScope::full(),
        }
    }
}

/// The text is no role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no role `{0}` in rooms; there are guest, viewer, operator, developer and admin")]
pub struct NoRole(String);

// Read as text, so that errors name the role at which they are.
impl TryFrom<String> for RoomRole {
    type Error = NoRole;
    fn try_from(text: String) -> Result<Self, NoRole> {
        Self::parse(&text).ok_or_else(|| NoRole(text.chars().take(32).collect()))
    }
}

impl From<RoomRole> for String {
    fn from(role: RoomRole) -> Self {
        role.as_str().to_owned()
    }
}

impl fmt::Display for RoomRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The one name of a RoomRoles document: a project has one.
pub const ROOM_ROLES_NAME: &str = "default";

/// What roles of users may do in the rooms of the project. Roles that are left out may do what they usually may.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RoomRoles {
    pub version: Version,
    pub kind: RoomRolesKind,
    #[serde(default)]
    pub metadata: RoomRolesMetadata,
    pub roles: BTreeMap<RoomRole, RoleDefinition>,
}

/// Name and notes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RoomRolesMetadata {
    /// `default`; a project has one such document.
    #[serde(default = "only_name")]
    pub name: String,
    /// Notes by key.
    #[serde(default)]
    pub annotations: Annotations,
}

fn only_name() -> String {
    ROOM_ROLES_NAME.to_owned()
}

impl Default for RoomRolesMetadata {
    fn default() -> Self {
        Self { name: only_name(), annotations: Annotations::new() }
    }
}

/// What is wrong with a document.
pub(super) fn check(document: &RoomRoles) -> Vec<Finding> {
    if document.metadata.name == ROOM_ROLES_NAME {
        return vec![];
    }
    let text = format!("a project has one document of this kind, named `{ROOM_ROLES_NAME}`");
    let finding = Finding::new(Path::of("metadata.name"), text);
    vec![finding.hint("write this name, or leave `metadata` out")]
}

/// The settings document: the same without what makes it a document.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleSettings {
    pub roles: BTreeMap<RoomRole, RoleDefinition>,
}

/// What one role may do.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleDefinition {
    /// As a participant; the role's usual scope where it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub participant: Option<RoleScope>,
    /// May visit the room's sites. Kept: whoever has any role in a room may.
    #[serde(default)]
    pub site_user: bool,
}

/// The scope of a role's participant tokens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleScope {
    pub api: ApiScope,
}

impl RoleSettings {
    /// What a role may do.
    #[must_use]
    pub fn scope(&self, role: RoomRole) -> ApiScope {
        let own = self.roles.get(&role).and_then(|definition| definition.participant.as_ref());
        own.map_or_else(|| role.default_scope(), |scope| scope.api.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn roles_are_ranked_and_may_no_more_than_the_next() {
        assert!(RoomRole::ALL.is_sorted());
        let token = |role: RoomRole| role.default_scope().to_token_value();
        assert_eq!(
            token(RoomRole::Viewer),
            json!({"livekit": {}, "messaging": {"send": false, "broadcast": false}})
        );
        let names =
            |role: RoomRole| -> Vec<String> { token(role).as_object().unwrap().keys().cloned().collect() };
        for (lesser, greater) in RoomRole::ALL.iter().zip(&RoomRole::ALL[1..]) {
            assert!(names(*lesser).iter().all(|name| names(*greater).contains(name)), "{lesser} {greater}");
        }
        assert_eq!(RoomRole::parse("Admin"), None);
    }

    #[test]
    fn a_project_says_what_a_role_may() {
        let roles: RoleSettings = serde_json::from_value(json!({"roles": {
            "viewer": {"participant": {"api": {"queues": {"send": ["in"]}}}}, "guest": {"site_user": true},
        }}))
        .unwrap();
        assert_eq!(roles.scope(RoomRole::Viewer).to_token_value(), json!({"queues": {"send": ["in"]}}));
        assert_eq!(roles.scope(RoomRole::Guest), RoomRole::Guest.default_scope());
        for bad in [
            json!({"roles": {"owner": {}}}),
            json!({"roles": {"guest": {"participant": {}}}}),
            json!({"roles": {"guest": {"participant": {"api": {"zap": {}}}}}}),
            json!({"role": {}}),
            json!([]),
        ] {
            assert!(serde_json::from_value::<RoleSettings>(bad).is_err());
        }
    }
}
