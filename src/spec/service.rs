//! `kind: Service`: what runs in a room or in every room of a project.

use super::agent::Agent;
use super::common::{Annotations, Metadata, ServiceKind, Version, annotation, yes};
use super::container::Container;
use super::port::Port;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Something that runs: a container, or an endpoint that runs elsewhere.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Service {
    pub version: Version,
    pub kind: ServiceKind,
    /// Given by the server; leave it out when creating.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// `false` stops the service and keeps it from starting.
    #[serde(default = "yes")]
    pub enabled: bool,
    pub metadata: Metadata,
    /// Agents this service brings into the room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agents: Option<Vec<Agent>>,
    /// Ports the service listens on.
    #[serde(default = "no_ports")]
    pub ports: Option<Vec<Port>>,
    /// Files put into room storage when they are not there yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<Vec<SeedFile>>,
    /// What to run. A service has a container, or is external.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<Container>,
    /// The service runs elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<External>,
}

impl Service {
    /// The service with this name and nothing to run yet.
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            version: Version::V1,
            kind: ServiceKind::Mark,
            id: None,
            enabled: true,
            metadata: Metadata { name: name.into(), ..Metadata::default() },
            agents: None,
            ports: no_ports(),
            files: None,
            container: None,
            external: None,
        }
    }

    /// Its agents; none when the list is missing.
    pub fn agents(&self) -> &[Agent] {
        self.agents.as_deref().unwrap_or_default()
    }

    /// Its ports; none when the list is missing.
    pub fn ports(&self) -> &[Port] {
        self.ports.as_deref().unwrap_or_default()
    }

    /// Files to put into room storage; none when the list is missing.
    pub fn files(&self) -> &[SeedFile] {
        self.files.as_deref().unwrap_or_default()
    }

    /// One annotation of the service itself.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        annotation(self.metadata.annotations.as_ref(), key)
    }

    /// The logical id that clients use to see whether the service exists.
    pub fn logical_id(&self) -> Option<&str> {
        self.annotation(SERVICE_ID)
    }

    /// Annotations, made when they are missing.
    pub fn annotations_mut(&mut self) -> &mut Annotations {
        self.metadata.annotations.get_or_insert_default()
    }
}

/// Annotation: the logical id of a service.
pub const SERVICE_ID: &str = "meshagent.service.id";
/// Annotation of any document below a room: which room it belongs to.
pub const ROOM: &str = "meshagent.room";

/// A file put into room storage only if it is missing there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SeedFile {
    pub path: String,
    pub text: String,
}

/// A service that runs elsewhere; `{}` for connectors that need no address.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct External {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

#[allow(clippy::unnecessary_wraps, reason = "serde default of an optional list")]
fn no_ports() -> Option<Vec<Port>> {
    Some(Vec::new())
}
