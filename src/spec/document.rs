//! Any document, by its kind.

use super::common::{Annotations, annotation};
use super::{
    ApiKey, Feed, GitSource, Mailbox, ManagedAgent, Project, Room, RoomRoles, Route, ScheduledTask, Secret,
    Service, ServiceAccount, ServiceInstance, ServiceTemplate, Subscription, service,
};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Any document a user can write.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
#[allow(clippy::large_enum_variant, reason = "documents are few and short-lived")]
pub enum Document {
    Project(Project),
    RoomRoles(RoomRoles),
    Room(Room),
    ServiceAccount(ServiceAccount),
    Secret(Secret),
    ApiKey(ApiKey),
    Service(Service),
    ServiceTemplate(ServiceTemplate),
    ServiceInstance(ServiceInstance),
    ScheduledTask(ScheduledTask),
    Mailbox(Mailbox),
    Feed(Feed),
    Subscription(Subscription),
    Route(Route),
    ManagedAgent(ManagedAgent),
    GitSource(GitSource),
}

impl Document {
    /// The kind as a value.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Project(_) => Kind::Project,
            Self::RoomRoles(_) => Kind::RoomRoles,
            Self::Room(_) => Kind::Room,
            Self::ServiceAccount(_) => Kind::ServiceAccount,
            Self::Secret(_) => Kind::Secret,
            Self::ApiKey(_) => Kind::ApiKey,
            Self::Service(_) => Kind::Service,
            Self::ServiceTemplate(_) => Kind::ServiceTemplate,
            Self::ServiceInstance(_) => Kind::ServiceInstance,
            Self::ScheduledTask(_) => Kind::ScheduledTask,
            Self::Mailbox(_) => Kind::Mailbox,
            Self::Feed(_) => Kind::Feed,
            Self::Subscription(_) => Kind::Subscription,
            Self::Route(_) => Kind::Route,
            Self::ManagedAgent(_) => Kind::ManagedAgent,
            Self::GitSource(_) => Kind::GitSource,
        }
    }

    /// Name of the document: `metadata.name`, the address of a mailbox, the domain of a route; empty for a task without a name.
    pub fn name(&self) -> &str {
        match self {
            Self::Project(project) => &project.metadata.name,
            Self::RoomRoles(roles) => &roles.metadata.name,
            Self::Room(room) => &room.metadata.name,
            Self::ServiceAccount(account) => &account.metadata.name,
            Self::Secret(secret) => &secret.metadata.name,
            Self::ApiKey(key) => &key.metadata.name,
            Self::Service(service) => &service.metadata.name,
            Self::ServiceTemplate(template) => &template.metadata.name,
            Self::ServiceInstance(instance) => &instance.metadata.name,
            Self::ScheduledTask(task) => task.metadata.name.as_deref().unwrap_or_default(),
            Self::Mailbox(mailbox) => &mailbox.address,
            Self::Feed(feed) => &feed.metadata.name,
            Self::Subscription(subscription) => &subscription.metadata.name,
            Self::Route(route) => &route.domain,
            Self::ManagedAgent(agent) => &agent.metadata.name,
            Self::GitSource(source) => &source.metadata.name,
        }
    }

    /// One annotation of the document.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        annotation(self.annotations(), key)
    }

    /// Its annotations, where its list of them is not missing.
    pub fn annotations(&self) -> Option<&Annotations> {
        match self {
            Self::Project(project) => Some(&project.metadata.annotations),
            Self::RoomRoles(roles) => Some(&roles.metadata.annotations),
            Self::Room(room) => Some(&room.metadata.annotations),
            Self::ServiceAccount(account) => Some(&account.metadata.annotations),
            Self::Secret(secret) => Some(&secret.metadata.annotations),
            Self::ApiKey(key) => Some(&key.metadata.annotations),
            Self::Service(service) => service.metadata.annotations.as_ref(),
            Self::ServiceTemplate(template) => template.metadata.annotations.as_ref(),
            Self::ServiceInstance(instance) => Some(&instance.metadata.annotations),
            Self::ScheduledTask(task) => Some(&task.metadata.annotations),
            Self::Mailbox(mailbox) => Some(&mailbox.annotations),
            Self::Feed(feed) => Some(&feed.metadata.annotations),
            Self::Subscription(subscription) => Some(&subscription.metadata.annotations),
            Self::Route(route) => Some(&route.metadata.annotations),
            Self::ManagedAgent(agent) => Some(&agent.metadata.annotations),
            Self::GitSource(source) => Some(&source.metadata.annotations),
        }
    }

    /// Name of the room it belongs to, where the document says so.
    pub fn room(&self) -> Option<&str> {
        match self {
            Self::Project(_)
            | Self::RoomRoles(_)
            | Self::Room(_)
            | Self::ServiceAccount(_)
            | Self::Secret(_)
            | Self::ApiKey(_)
            | Self::Feed(_)
            | Self::ManagedAgent(_)
            | Self::GitSource(_) => None,
            Self::Mailbox(mailbox) => Some(&mailbox.room),
            Self::Subscription(subscription) => Some(&subscription.room),
            Self::Route(route) => route.backend.room.as_ref().map(|room| room.name.as_str()),
            Self::Service(_)
            | Self::ServiceTemplate(_)
            | Self::ServiceInstance(_)
            | Self::ScheduledTask(_) => self.annotation(service::ROOM),
        }
    }
}

/// Every kind of document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    Project,
    RoomRoles,
    Room,
    ServiceAccount,
    Secret,
    ApiKey,
    Service,
    ServiceTemplate,
    ServiceInstance,
    ScheduledTask,
    Mailbox,
    Feed,
    Subscription,
    Route,
    ManagedAgent,
    GitSource,
}

impl Kind {
    /// All kinds, in the order in which they depend on each other.
    pub const ALL: [Kind; 16] = [
        Kind::Project,
        Kind::RoomRoles,
        Kind::Room,
        Kind::ServiceAccount,
        Kind::Secret,
        Kind::ApiKey,
        Kind::Service,
        Kind::ServiceTemplate,
        Kind::ServiceInstance,
        Kind::ScheduledTask,
        Kind::Mailbox,
        Kind::Feed,
        Kind::Subscription,
        Kind::Route,
        Kind::ManagedAgent,
        Kind::GitSource,
    ];

    /// The text in `kind:`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Project => "Project",
            Kind::RoomRoles => "RoomRoles",
            Kind::Room => "Room",
            Kind::ServiceAccount => "ServiceAccount",
            Kind::Secret => "Secret",
            Kind::ApiKey => "ApiKey",
            Kind::Service => "Service",
            Kind::ServiceTemplate => "ServiceTemplate",
            Kind::ServiceInstance => "ServiceInstance",
            Kind::ScheduledTask => "ScheduledTask",
            Kind::Mailbox => "Mailbox",
            Kind::Feed => "Feed",
            Kind::Subscription => "Subscription",
            Kind::Route => "Route",
            Kind::ManagedAgent => "ManagedAgent",
            Kind::GitSource => "GitSource",
        }
    }

    /// The kind in names of files and folders: `service-account`.
    pub const fn slug(self) -> &'static str {
        match self {
            Kind::Project => "project",
            Kind::RoomRoles => "room-roles",
            Kind::Room => "room",
            Kind::ServiceAccount => "service-account",
            Kind::Secret => "secret",
            Kind::ApiKey => "api-key",
            Kind::Service => "service",
            Kind::ServiceTemplate => "service-template",
            Kind::ServiceInstance => "service-instance",
            Kind::ScheduledTask => "scheduled-task",
            Kind::Mailbox => "mailbox",
            Kind::Feed => "feed",
            Kind::Subscription => "subscription",
            Kind::Route => "route",
            Kind::ManagedAgent => "managed-agent",
            Kind::GitSource => "git-source",
        }
    }

    /// Other names than those of `kind:` and of files.
    pub const fn short_names(self) -> &'static [&'static str] {
        match self {
            Kind::ServiceAccount => &["sa"],
            Kind::Service => &["svc"],
            Kind::ScheduledTask => &["task"],
            Kind::ServiceTemplate => &["template"],
            Kind::ServiceInstance => &["instance"],
            Kind::ManagedAgent => &["agent"],
            Kind::GitSource => &["source"],
            _ => &[],
        }
    }

    /// The kind as people write it: as in `kind:` or as in names of files, or short; one or many, in any letter case.
    pub fn from_argument(text: &str) -> Option<Self> {
        let plain: String = text.chars().filter(|c| !matches!(c, '-' | '_')).collect();
        let plain = plain.to_ascii_lowercase();
        let one = plain.strip_suffix("es").filter(|text| text.ends_with('x')).or(plain.strip_suffix('s'));
        let is = |kind: &Self, text: &str| {
            kind.as_str().eq_ignore_ascii_case(text) || kind.short_names().contains(&text)
        };
        Self::ALL.into_iter().find(|kind| is(kind, &plain) || one.is_some_and(|one| is(kind, one)))
    }

    /// The kind with this exact text.
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
