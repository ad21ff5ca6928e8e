//! Pieces every kind shares: the version, the kind marks, metadata and secret references.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Notes by key; both sides are text.
pub type Annotations = BTreeMap<String, String>;

/// The only version there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Version {
    #[default]
    #[serde(rename = "v1")]
    V1,
}

macro_rules! kind_marks {
    ($($name:ident = $text:literal;)*) => {$(
        #[doc = concat!("The text `", $text, "` in `kind`.")]
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        pub enum $name {
            #[default]
            #[serde(rename = $text)]
            Mark,
        }
    )*};
}

kind_marks! {
    ServiceKind = "Service";
    ServiceTemplateKind = "ServiceTemplate";
    ScheduledTaskKind = "ScheduledTask";
    MailboxKind = "Mailbox";
    FeedKind = "Feed";
    SubscriptionKind = "Subscription";
    RouteKind = "Route";
    ProjectKind = "Project";
    RoomKind = "Room";
    ServiceAccountKind = "ServiceAccount";
    ManagedAgentKind = "ManagedAgent";
    GitSourceKind = "GitSource";
    SecretKind = "Secret";
    ApiKeyKind = "ApiKey";
    ServiceInstanceKind = "ServiceInstance";
    RoomRolesKind = "RoomRoles";
}

/// Name and notes of a service or service template.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Metadata {
    /// Name, unique in its scope (the room, or the project for a project service).
    pub name: String,
    /// What it is for, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Where its source is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo: Option<String>,
    /// Address of a picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icon: Option<String>,
    /// Notes by key. `meshagent.service.id` is the logical id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<Annotations>,
}

/// Name and notes of a resource that has nothing else to say about itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NamedMetadata {
    /// Name, unique in its scope.
    pub name: String,
    /// Notes by key.
    #[serde(default)]
    pub annotations: Annotations,
}

/// A secret kept by the platform, by its id. The value is never in a spec.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretRef {
    pub id: String,
}

/// Looks a key up in annotations that may be missing.
pub(super) fn annotation<'a>(notes: Option<&'a Annotations>, key: &str) -> Option<&'a str> {
    notes.and_then(|notes| notes.get(key)).map(String::as_str)
}

// Defaults as serde wants them: functions.
pub(super) const fn yes() -> bool {
    true
}
