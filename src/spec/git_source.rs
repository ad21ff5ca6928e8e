//! `kind: GitSource`: a repository whose documents the server keeps applied.

use super::common::{GitSourceKind, NamedMetadata, Version};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How often a repository is looked at unless told, seconds.
pub const INTERVAL_SECONDS: u64 = 300;
/// Shortest interval, seconds.
pub const INTERVAL_SECONDS_MIN: u64 = 5;
/// Longest interval, and longest wait for health, seconds.
pub const INTERVAL_SECONDS_MAX: u64 = 86_400;
/// Most sources that one waits for.
pub const DEPENDS_ON_MAX: usize = 32;

/// The documents below a path of a repository are applied, and stay applied: what is changed by hand is put back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GitSource {
    #[serde(default)]
    pub version: Version,
    #[serde(default)]
    pub kind: GitSourceKind,
    pub metadata: NamedMetadata,
    /// `https://host/path`, `ssh://user@host/path`, or `file:///path` where the server's operator allows the folder.
    pub url: String,
    /// Branch that is followed; the repository's own default without it. At most one of `branch` and `tag`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// Tag that is followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Folder of the repository that holds the documents; all of it without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Room of the documents that live in one and do not say theirs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<String>,
    /// How often the repository is looked at and drift is corrected.
    #[serde(default = "interval")]
    pub interval_seconds: u64,
    /// Delete what this source applied before and has no document any more.
    #[serde(default)]
    pub prune: bool,
    /// Take fields that other sources hold.
    #[serde(default)]
    pub force_conflicts: bool,
    /// Delete and make anew what cannot be changed in place.
    #[serde(default)]
    pub replace: bool,
    /// `true`: the repository is left alone, and so is what was applied.
    #[serde(default)]
    pub suspend: bool,
    /// How long what was applied may take to be ready; without it, the source is ready when it was applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_timeout_seconds: Option<u64>,
    /// Names of sources that are ready before this one is applied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<String>,
    /// How the repository is reached where it is not public.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<GitCredentials>,
    /// Only commits that one of these signed are applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify: Option<GitVerify>,
    /// Lets the forge tell of a push, so that it is applied at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<NamedSecret>,
    /// Tells the forge what became of a commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit_status: Option<GitCommitStatus>,
}

/// A secret of a service account, by its name or id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NamedSecret {
    /// Name or id of the secret.
    pub secret: String,
    /// Service account that it belongs to.
    #[serde(default = "account")]
    pub account: String,
}

/// How a repository is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GitCredentials {
    /// Name or id of the secret: a password or token for https, a private key for ssh.
    pub secret: String,
    /// Service account that it belongs to.
    #[serde(default = "account")]
    pub account: String,
    /// User name for https.
    #[serde(default = "username")]
    pub username: String,
    /// Host keys for ssh, as lines of a `known_hosts` file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known_hosts: Option<String>,
}

/// Who may sign commits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GitVerify {
    /// Lines of an SSH `allowed_signers` file: `mail@example.com ssh-ed25519 AAAA…`.
    pub allowed_signers: String,
}

/// Where commit statuses go, in the manner of GitHub.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GitCommitStatus {
    /// Base URL of the repository in the forge's API: `https://api.github.com/repos/owner/name`.
    pub url: String,
    /// Name or id of the secret that holds the token.
    pub secret: String,
    /// Service account that it belongs to.
    #[serde(default = "account")]
    pub account: String,
}

impl GitCredentials {
    #[must_use]
    pub fn named(&self) -> NamedSecret {
        NamedSecret { secret: self.secret.clone(), account: self.account.clone() }
    }
}

impl GitCommitStatus {
    #[must_use]
    pub fn named(&self) -> NamedSecret {
        NamedSecret { secret: self.secret.clone(), account: self.account.clone() }
    }
}

fn account() -> String {
    "default".to_owned()
}

fn username() -> String {
    "git".to_owned()
}

const fn interval() -> u64 {
    INTERVAL_SECONDS
}
