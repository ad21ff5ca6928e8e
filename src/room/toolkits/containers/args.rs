//! What the tools take. Lists of pairs stand where the clients have maps.

use crate::containers::Credential;
use crate::room::toolkit::ToolError;
use crate::spec::{EnvironmentTemplate, Mounts};
use crate::vault::Secret;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Most variables of one container.
const ENV_MAX: usize = 512;
/// Most bytes of all variables of one container.
const ENV_BYTES_MAX: usize = 256 * 1024;

#[derive(Deserialize, JsonSchema)]
pub(super) struct Nothing {}

#[derive(Deserialize, JsonSchema)]
pub(super) struct List {
    /// Exited ones too.
    #[serde(default)]
    pub all: Option<bool>,
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct OneContainer {
    pub container_id: String,
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct OneBuild {
    pub build_id: String,
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct Stop {
    pub container_id: String,
    /// At once, without asking.
    #[serde(default)]
    pub force: Option<bool>,
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct Pair {
    pub key: String,
    pub value: String,
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct PortPair {
    pub container_port: u16,
    /// Of this server's loopback; 0: any.
    pub host_port: u16,
}

/// A registry's user; not printed.
#[derive(Deserialize, JsonSchema)]
pub(super) struct Login {
    #[serde(default)]
    registry: Option<String>,
    username: String,
    password: String,
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct Run {
    pub image: String,
    /// Split as a shell would.
    #[serde(default)]
    pub command: Option<String>,
    #[serde(default)]
    pub working_dir: Option<String>,
    #[serde(default)]
    pub env: Option<Vec<Pair>>,
    /// Where the room's files are mounted.
    #[serde(default)]
    pub mount_path: Option<String>,
    /// Only this folder of them.
    #[serde(default)]
    pub mount_subpath: Option<String>,
    /// Name in the token of the template `agent`; the container's without it.
    #[serde(default)]
    pub participant_name: Option<String>,
    #[serde(default)]
    pub ports: Option<Vec<PortPair>>,
    #[serde(default)]
    pub credentials: Option<Vec<Login>>,
    /// Unique among the room's running containers.
    #[serde(default)]
    pub name: Option<String>,
    #[serde(default)]
    pub annotations: Option<BTreeMap<String, String>>,
    #[serde(default)]
    pub mounts: Option<Mounts>,
    #[serde(default)]
    pub template: Option<EnvironmentTemplate>,
    #[serde(default)]
    pub writable_root_fs: Option<bool>,
    #[serde(default)]
    pub private: Option<bool>,
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct RunService {
    pub service_id: String,
    #[serde(default)]
    pub env: Option<Vec<Pair>>,
}

#[derive(Deserialize)]
pub(super) struct Logs {
    pub container_id: String,
    #[serde(default)]
    pub follow: Option<bool>,
}

#[derive(Deserialize)]
pub(super) struct BuildLogs {
    pub build_id: String,
    #[serde(default)]
    pub follow: Option<bool>,
}

/// A command line, or its words.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Command {
    Line(String),
    Words(Vec<String>),
}

#[derive(Deserialize)]
pub(super) struct Exec {
    pub container_id: String,
    #[serde(default)]
    pub command: Option<Command>,
    #[serde(default)]
    pub tty: Option<bool>,
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct InspectImage {
    pub image_id: String,
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct DeleteImage {
    pub image: String,
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct Pull {
    pub tag: String,
    #[serde(default)]
    pub credentials: Option<Vec<Login>>,
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct Push {
    pub tag: String,
    #[serde(default)]
    pub credentials: Option<Vec<Login>>,
    #[serde(default)]
    pub private: Option<bool>,
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct Load {
    /// In room storage.
    pub archive_path: String,
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct LoadImage {
    pub mounts: Vec<Mounts>,
    /// Below one of the mounts of room storage.
    pub archive_path: String,
    #[serde(default)]
    pub private: Option<bool>,
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct SaveImage {
    pub tag: String,
    pub mounts: Vec<Mounts>,
    /// Below one of the mounts of room storage.
    pub archive_path: String,
    #[serde(default)]
    pub private: Option<bool>,
}

#[derive(Deserialize)]
pub(super) struct Build {
    #[serde(default)]
    pub tags: Option<Vec<String>>,
    /// Of older clients.
    #[serde(default)]
    pub tag: Option<String>,
    /// Where the builder would see the context; paths below are relative to it.
    #[serde(default)]
    pub mount_path: Option<String>,
    #[serde(default)]
    pub context_path: Option<String>,
    #[serde(default)]
    pub dockerfile_path: Option<String>,
    #[serde(default)]
    pub private: Option<bool>,
    #[serde(default)]
    pub credentials: Option<Vec<Login>>,
    #[serde(default)]
    pub size: Option<u64>,
}

/// The credentials of a call.
pub(super) fn credentials(logins: Option<Vec<Login>>) -> Vec<Credential> {
    let one = |login: Login| Credential {
        registry: login.registry.filter(|registry| !registry.is_empty()),
        username: login.username,
        password: Secret::from(login.password),
    };
    logins.into_iter().flatten().map(one).collect()
}

/// The variables of a call; a later one of the same name wins.
pub(super) fn variables(pairs: Option<Vec<Pair>>) -> Result<Vec<(String, String)>, ToolError> {
    let pairs = pairs.unwrap_or_default();
    let bytes: usize = pairs.iter().map(|pair| pair.key.len() + pair.value.len()).sum();
    if pairs.len() > ENV_MAX || bytes > ENV_BYTES_MAX {
        return Err(ToolError::invalid(format!(
            "the environment has {} variables of {bytes} bytes; at most {ENV_MAX} of {ENV_BYTES_MAX} bytes are allowed",
            pairs.len()
        )));
    }
    let mut all: Vec<(String, String)> = Vec::with_capacity(pairs.len());
    for Pair { key, value } in pairs {
        if key.is_empty() || key.contains(['=', '\0']) || value.contains('\0') {
            return Err(ToolError::invalid(format!(
                "the variable {key:?} has a name or value that no process can have"
            )));
        }
        all.retain(|(known, _)| *known != key);
        all.push((key, value));
    }
    Ok(all)
}

/// Splits a command line as a shell would, without being one.
pub(super) fn words(command: Option<&str>) -> Result<Vec<String>, ToolError> {
    let Some(line) = command.filter(|line| !line.trim().is_empty()) else { return Ok(Vec::new()) };
    shlex::split(line).ok_or_else(|| {
        ToolError::invalid(format!("the command cannot be split into words: {line:?}; close its quotes"))
    })
}
