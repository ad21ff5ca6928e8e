//! What to run: image, command, environment, mounts.

use super::ApiScope;
use super::common::{SecretRef, yes};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A container of a service or a scheduled task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Container {
    /// Image reference; `meshagent/cli:*` means the platform's own binary.
    pub image: String,
    /// Service account the container acts as; needed when a variable comes from a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_as: Option<RunAs>,
    /// `agent` injects the token and addresses that agents need; `none` injects nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<EnvironmentTemplate>,
    /// Command line, split as a shell would.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// Registry credential.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull_secret: Option<SecretRef>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<Vec<EnvironmentVariable>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<Mounts>,
    /// Run only when invoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_demand: Option<bool>,
    /// The root file system is read-only unless this is `true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writable_root_fs: Option<bool>,
    /// Interactive access is limited to the service; `false` for public HTTP.
    #[serde(default = "yes")]
    pub private: bool,
}

impl Container {
    /// A container of this image with every other field at its default.
    pub fn of_image(image: impl Into<String>) -> Self {
        Self {
            image: image.into(),
            run_as: None,
            template: None,
            command: None,
            working_dir: None,
            pull_secret: None,
            environment: None,
            storage: None,
            on_demand: None,
            writable_root_fs: None,
            private: true,
        }
    }

    /// Its variables; none when the list is missing.
    pub fn environment(&self) -> &[EnvironmentVariable] {
        self.environment.as_deref().unwrap_or_default()
    }
}

/// Container of a template: the image may come later, and it has no pull secret.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TemplateContainer {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_as: Option<RunAs>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<EnvironmentTemplate>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<Vec<EnvironmentVariable>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<Mounts>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_demand: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writable_root_fs: Option<bool>,
    #[serde(default = "yes")]
    pub private: bool,
}

/// Service account that a container acts as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunAs {
    /// Address of the service account; trimmed and lower-cased.
    #[serde(deserialize_with = "trimmed_lower")]
    pub email: String,
    /// What the container may do as that account; trimmed, without doubles.
    #[serde(default = "secrets_proxy", deserialize_with = "trimmed_unique")]
    pub scopes: Vec<String>,
}

/// Which variables the platform adds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EnvironmentTemplate {
    Agent,
    None,
}

/// One variable: a text, a token minted at start, or a secret.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EnvironmentVariable {
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<TokenValue>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretRef>,
}

/// A participant token minted when the container starts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenValue {
    /// Participant name in the token.
    pub identity: String,
    /// Without it: the default of a user for role `user`, else the default of an agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api: Option<ApiScope>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<ParticipantRole>,
}

impl TokenValue {
    /// The scope of the token, with the default of its role when none is written.
    pub fn scope(&self) -> ApiScope {
        match (&self.api, self.role) {
            (Some(api), _) => api.clone(),
            (None, Some(ParticipantRole::User)) => ApiScope::user_default(),
            (None, _) => ApiScope::agent_default(),
        }
    }
}

/// Role of a participant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ParticipantRole {
    User,
    Agent,
    Tool,
}

/// What is mounted into a container, by source.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mounts {
    /// Room storage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<Vec<RoomMount>>,
    /// Volumes of the room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volumes: Option<Vec<VolumeMount>>,
    /// Contents of other images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<Vec<ImageMount>>,
    /// Files written in the spec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<Vec<FileMount>>,
    /// Empty folders that end with the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub empty_dirs: Option<Vec<EmptyDirMount>>,
    /// Folders with `spec.json` and `members.json`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub configs: Option<Vec<ConfigMount>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RoomMount {
    pub path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subpath: Option<String>,
    #[serde(default)]
    pub read_only: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VolumeMount {
    pub name: String,
    pub path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subpath: Option<String>,
    #[serde(default)]
    pub read_only: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ImageMount {
    pub image: String,
    pub path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subpath: Option<String>,
    #[serde(default = "yes")]
    pub read_only: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileMount {
    pub path: String,
    pub text: String,
    #[serde(default = "yes")]
    pub read_only: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EmptyDirMount {
    pub path: String,
    #[serde(default)]
    pub read_only: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfigMount {
    #[serde(default = "config_path")]
    pub path: String,
}

fn config_path() -> String {
    "/var/run/meshagent".to_owned()
}

fn secrets_proxy() -> Vec<String> {
    vec!["secrets:proxy".to_owned()]
}

pub(super) fn trimmed_lower<'de, D: serde::Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let email = String::deserialize(from)?.trim().to_lowercase();
    if email.is_empty() {
        return Err(serde::de::Error::custom(
            "`email` of `run_as` is empty; write the address of a service account",
        ));
    }
    Ok(email)
}

pub(super) fn trimmed_unique<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let mut kept: Vec<String> = Vec::new();
    for scope in Vec::<String>::deserialize(from)? {
        let scope = scope.trim().to_owned();
        if !scope.is_empty() && !kept.contains(&scope) {
            kept.push(scope);
        }
    }
    Ok(kept)
}
