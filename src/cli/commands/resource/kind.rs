//! Kinds of resources as they are written on the command line.

use crate::cli::args;
use crate::cli::error::CliError;
use crate::cli::output;
use serde_json::Value;

/// A kind that has resources on the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Project,
    Room,
    Service,
    ScheduledTask,
    Mailbox,
    Route,
    Session,
    ServiceAccount,
    Agent,
    Feed,
    Subscription,
    GitSource,
    Secret,
    ApiKey,
    ServiceTemplate,
    ServiceInstance,
    RoomRoles,
}

/// A kind, its names, its columns with the place of each in a resource.
type Entry = (Kind, &'static [&'static str], &'static [(&'static str, &'static str)]);

/// Each kind with its name, other ways to write it, and its table's columns (JSON pointers).
const KINDS: [Entry; 17] = [
    (
        Kind::Project,
        &["project", "projects"],
        &[("id", "/id"), ("name", "/name"), ("project_key", "/project_key")],
    ),
    (Kind::Room, &["room", "rooms"], &[("id", "/id"), ("name", "/name"), ("enabled", "/enabled")]),
    (
        Kind::Service,
        &["service", "services", "svc"],
        &[("id", "/id"), ("name", "/metadata/name"), ("enabled", "/enabled"), ("image", "/container/image")],
    ),
    (
        Kind::ScheduledTask,
        &["scheduled-task", "scheduled-tasks", "scheduledtask", "scheduledtasks", "task", "tasks"],
        &[
            ("id", "/id"),
            ("name", "/spec/metadata/name"),
            ("room_name", "/room_name"),
            ("queue_name", "/spec/queue/name"),
            ("schedule", "/spec/schedule"),
            ("active", "/spec/active"),
            ("last_status", "/last_status"),
        ],
    ),
    (
        Kind::Mailbox,
        &["mailbox", "mailboxes"],
        &[("address", "/address"), ("room", "/room"), ("queue", "/queue"), ("public", "/public")],
    ),
    (
        Kind::Route,
        &["route", "routes"],
        &[("domain", "/domain"), ("room", "/spec/backend/room/name"), ("agent", "/spec/backend/agent/name")],
    ),
    (
        Kind::Session,
        &["session", "sessions"],
        &[
            ("id", "/id"),
            ("room_name", "/room_name"),
            ("created_at", "/created_at"),
            ("is_active", "/is_active"),
        ],
    ),
    (
        Kind::ServiceAccount,
        &["service-account", "service-accounts", "serviceaccount", "serviceaccounts", "sa"],
        &[("id", "/id"), ("name", "/name"), ("description", "/description")],
    ),
    (
        Kind::Agent,
        &["agent", "agents", "managed-agent", "managed-agents", "managedagent", "managedagents"],
        &[("id", "/id"), ("name", "/name"), ("isolation", "/configuration/thread_isolation")],
    ),
    (
        Kind::GitSource,
        &["git-source", "git-sources", "gitsource", "gitsources", "source", "sources"],
        &[
            ("name", "/name"),
            ("url", "/document/url"),
            ("revision", "/status/lastAppliedRevision"),
            ("state", "/status/conditions/0/reason"),
        ],
    ),
    (
        Kind::Secret,
        &["secret", "secrets"],
        &[
            ("id", "/id"),
            ("name", "/name"),
            ("account", "/document/account"),
            ("type", "/document/type"),
            ("state", "/status/conditions/0/reason"),
        ],
    ),
    (
        Kind::ApiKey,
        &["api-key", "api-keys", "apikey", "apikeys"],
        &[
            ("id", "/id"),
            ("name", "/name"),
            ("account", "/document/account"),
            ("secret", "/document/secret/secret"),
            ("rotation", "/document/rotation"),
            ("state", "/status/conditions/0/reason"),
        ],
    ),
    (
        Kind::RoomRoles,
        &["room-roles", "roomroles"],
        &[("id", "/id"), ("name", "/name"), ("generation", "/generation")],
    ),
    (
        Kind::ServiceTemplate,
        &[
            "service-template",
            "service-templates",
            "servicetemplate",
            "servicetemplates",
            "template",
            "templates",
        ],
        &[("id", "/id"), ("name", "/name"), ("generation", "/generation")],
    ),
    (
        Kind::ServiceInstance,
        &[
            "service-instance",
            "service-instances",
            "serviceinstance",
            "serviceinstances",
            "instance",
            "instances",
        ],
        &[
            ("id", "/id"),
            ("name", "/name"),
            ("room", "/room"),
            ("template", "/document/template"),
            ("state", "/status/conditions/0/reason"),
        ],
    ),
    (
        Kind::Feed,
        &["feed", "feeds"],
        &[("id", "/id"), ("name", "/name"), ("visibility", "/visibility"), ("paused", "/paused")],
    ),
    (
        Kind::Subscription,
        &["subscription", "subscriptions"],
        &[
            ("id", "/id"),
            ("name", "/name"),
            ("feed", "/feed"),
            ("room", "/room"),
            ("path", "/path"),
            ("reconcile_error", "/reconcile_error"),
        ],
    ),
];

impl Kind {
    /// Reads a kind in any case, singular or plural.
    pub fn parse(text: &str) -> Result<Self, CliError> {
        let lower = text.to_lowercase();
        if let Some((kind, ..)) = KINDS.iter().find(|(_, names, _)| names.contains(&lower.as_str())) {
            return Ok(*kind);
        }
        let error = CliError::usage(format!("there is no kind `{text}`"));
        if let Some(near) = args::nearest(&lower, KINDS.iter().map(|(kind, ..)| kind.name())) {
            return Err(error.hint(format!("did you mean `{near}`?")));
        }
        let names: Vec<&str> = KINDS.iter().map(|(kind, ..)| kind.name()).collect();
        Err(error.hint(format!("there are: {}", names.join(", "))))
    }

    fn entry(self) -> &'static Entry {
        KINDS.iter().find(|(kind, ..)| *kind == self).unwrap_or(&KINDS[0])
    }

    /// The kind's name, singular.
    pub fn name(self) -> &'static str {
        self.entry().1.first().copied().unwrap_or_default()
    }

    /// The kind's name, plural, as the key of listings.
    pub fn plural(self) -> String {
        self.entry().1.get(1).copied().unwrap_or_default().replace('-', "_")
    }

    pub fn columns(self) -> Vec<&'static str> {
        self.entry().2.iter().map(|(column, _)| *column).collect()
    }

    /// A resource's cells, in the order of the columns.
    pub fn cells(self, resource: &Value) -> Vec<String> {
        self.entry().2.iter().map(|(_, place)| output::cell(resource.pointer(place))).collect()
    }

    /// What a resource is called, then its id.
    pub fn names(self, resource: &Value) -> [&str; 2] {
        let text = |place: &str| resource.pointer(place).and_then(Value::as_str).unwrap_or_default();
        match self {
            Self::Mailbox => [text("/address"), text("/address")],
            Self::Route => [text("/domain"), text("/domain")],
            Self::Service => [text("/metadata/name"), text("/id")],
            Self::ScheduledTask => [text("/spec/metadata/name"), text("/id")],
            Self::Session => [text("/id"), text("/id")],
            Self::Project
            | Self::Room
            | Self::ServiceAccount
            | Self::Agent
            | Self::Feed
            | Self::Subscription
            | Self::GitSource
            | Self::Secret
            | Self::ApiKey
            | Self::ServiceTemplate
            | Self::ServiceInstance
            | Self::RoomRoles => [text("/name"), text("/id")],
        }
    }

    /// `kind/name`, with the id where the resource has no name.
    pub fn label(self, resource: &Value) -> String {
        let [name, id] = self.names(resource);
        format!("{}/{}", self.name(), if name.is_empty() { id } else { name })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_read_as_people_write_them() {
        for text in ["Service", "services", "svc"] {
            assert_eq!(Kind::parse(text).unwrap(), Kind::Service, "{text}");
        }
        assert_eq!(Kind::parse("ScheduledTask").unwrap(), Kind::ScheduledTask);
        let message = Kind::parse("servise").unwrap_err().to_string();
        assert!(message.contains("did you mean `service`?"), "{message}");
        for (kind, ..) in KINDS {
            assert_eq!(Kind::parse(kind.name()).unwrap(), kind);
        }
    }
}
