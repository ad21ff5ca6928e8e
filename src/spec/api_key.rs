//! `kind: ApiKey`: a key of a service account. Its text goes into a secret, and nowhere else.

use super::common::{ApiKeyKind, NamedMetadata, Version};
use super::git_source::NamedSecret;
use super::problem::{Finding, Path};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A key by which programs act as a service account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiKey {
    #[serde(default)]
    pub version: Version,
    #[serde(default)]
    pub kind: ApiKeyKind,
    pub metadata: NamedMetadata,
    /// Name of the service account that the key acts as. It cannot be changed in place.
    pub account: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// The secret that gets the key's text; made where it is not there. It cannot be changed in place.
    pub secret: NamedSecret,
    /// Another number makes a new key: the secret gets its text, and the key before it is revoked.
    #[serde(default)]
    pub rotation: u64,
}

/// What the rules of the kind say against a document.
pub(super) fn check(key: &ApiKey) -> Vec<Finding> {
    let names = [
        ("metadata.name", &key.metadata.name),
        ("account", &key.account),
        ("secret.secret", &key.secret.secret),
        ("secret.account", &key.secret.account),
    ];
    let empty = names.into_iter().filter(|(_, name)| name.trim().is_empty());
    empty.map(|(path, _)| Finding::new(Path::of(path), "the name is empty")).collect()
}
