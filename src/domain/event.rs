//! Every kind of fact, in one list. The kind's text and schema version are stored; the payload is JSON.
//!
//! A kind is never renamed and a payload only grows by optional fields; anything else is a new schema version
//! with an upcaster in [`super::upcast`] and a stored fixture.

use super::{
    account, controller, declared_key, feed, feed_subscription, git_source, instance, inventory, llm_logger,
    mailbox, managed_agent, member, names, object, project, project_member, room, route, scheduled_task,
    secret, service, service_instance, service_template, session, subscription, upcast, webhook,
};
use serde::{Deserialize, Serialize};

/// Why stored bytes are no event of ours.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    #[error("event kind `{0}` is not known to this version; a newer meshagent wrote it: run that one")]
    UnknownKind(String),
    #[error(
        "event `{kind}` has schema version {got}, newer than {known}; a newer meshagent wrote it: run that one"
    )]
    NewerSchema { kind: String, got: u16, known: u16 },
    #[error("event `{kind}` cannot be read: {source}")]
    Payload { kind: String, source: serde_json::Error },
}

macro_rules! events {
    ($($name:ident($payload:ty) = $kind:literal v $version:literal;)*) => {
        /// A fact of the control plane.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Event { $($name($payload)),* }

        impl Event {
            /// Every kind with its present schema version.
            pub const KINDS: &'static [(&'static str, u16)] = &[$(($kind, $version)),*];

            /// Stable name, `<noun>.<past participle>`.
            #[must_use]
            pub fn kind(&self) -> &'static str {
                match self { $(Self::$name(_) => $kind),* }
            }

            #[must_use]
            pub fn schema_version(&self) -> u16 {
                match self { $(Self::$name(_) => $version),* }
            }

            /// The payload as JSON text.
            pub fn encode(&self) -> Result<String, serde_json::Error> {
                match self { $(Self::$name(payload) => serde_json::to_string(payload)),* }
            }

            /// Reads a stored event, of this schema version or an older one.
            pub fn decode(kind: &str, schema_version: u16, data: &str) -> Result<Self, DecodeError> {
                match kind {
                    $($kind => {
                        let read = match schema_version {
                            $version => serde_json::from_str::<$payload>(data),
                            older if older < $version => serde_json::from_str(data)
                                .and_then(|value| serde_json::from_value(upcast::lift(kind, older, value))),
                            got => return Err(DecodeError::NewerSchema { kind: kind.to_owned(), got, known: $version }),
                        };
                        read.map(Self::$name)
                            .map_err(|source| DecodeError::Payload { kind: kind.to_owned(), source })
                    })*
                    other => Err(DecodeError::UnknownKind(other.to_owned())),
                }
            }
        }
    };
}

/// Payload of facts that say all by their kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nothing {}

events! {
    AccountCreated(account::Profile) = "account.created" v 1;
    AccountDeleted(Nothing) = "account.deleted" v 1;
    AccountUpdated(account::Profile) = "account.updated" v 1;
    AgentCreated(managed_agent::Wanted) = "agent.created" v 1;
    AgentDeleted(Nothing) = "agent.deleted" v 1;
    AgentUpdated(managed_agent::Wanted) = "agent.updated" v 1;
    ApiKeyCreated(account::KeyCreated) = "apikey.created" v 1;
    ApiKeyRevoked(Nothing) = "apikey.revoked" v 1;
    ControllerStalled(controller::Stalled) = "controller.stalled" v 1;
    DeclaredKeyCreated(declared_key::Wanted) = "declaredkey.created" v 1;
    DeclaredKeyDeleted(Nothing) = "declaredkey.deleted" v 1;
    DeclaredKeyUpdated(declared_key::Wanted) = "declaredkey.updated" v 1;
    FeedCreated(feed::Wanted) = "feed.created" v 1;
    FeedDeleted(Nothing) = "feed.deleted" v 1;
    FeedSubscriptionCreated(feed_subscription::Wanted) = "feedsubscription.created" v 1;
    FeedSubscriptionDeleted(Nothing) = "feedsubscription.deleted" v 1;
    FeedSubscriptionUpdated(feed_subscription::Wanted) = "feedsubscription.updated" v 1;
    FeedUpdated(feed::Wanted) = "feed.updated" v 1;
    GitSourceApplied(git_source::Applied) = "gitsource.applied" v 1;
    GitSourceCreated(git_source::Wanted) = "gitsource.created" v 1;
    GitSourceDeleted(Nothing) = "gitsource.deleted" v 1;
    GitSourceFailed(git_source::Failed) = "gitsource.failed" v 1;
    GitSourceReconcileRequested(Nothing) = "gitsource.reconcile-requested" v 1;
    GitSourceUpdated(git_source::Wanted) = "gitsource.updated" v 1;
    InstanceExited(instance::Exited) = "instance.exited" v 1;
    InstanceFailed(instance::Failed) = "instance.failed" v 1;
    InstanceStarted(instance::Started) = "instance.started" v 1;
    InstanceStopped(instance::Stopped) = "instance.stopped" v 1;
    InventoryApplied(inventory::Applied) = "inventory.applied" v 1;
    InventoryDropped(inventory::Dropped) = "inventory.dropped" v 1;
    InventoryHeld(inventory::Held) = "inventory.held" v 1;
    LlmLoggerCreated(llm_logger::Wanted) = "llmlogger.created" v 1;
    LlmLoggerDeleted(Nothing) = "llmlogger.deleted" v 1;
    LlmLoggerUpdated(llm_logger::Wanted) = "llmlogger.updated" v 1;
    MailboxCreated(mailbox::Mailbox) = "mailbox.created" v 1;
    MailboxDeleted(Nothing) = "mailbox.deleted" v 1;
    MailboxUpdated(mailbox::Mailbox) = "mailbox.updated" v 1;
    NameClaimed(names::Claimed) = "names.claimed" v 1;
    NameReleased(names::Key) = "names.released" v 1;
    ObjectNoted(object::Object) = "object.noted" v 1;
    ProjectCreated(project::Created) = "project.created" v 1;
    ProjectMemberChanged(project_member::Granted) = "project.member-changed" v 1;
    ProjectMemberGranted(project_member::Granted) = "project.member-granted" v 1;
    ProjectMemberRevoked(project_member::Revoked) = "project.member-revoked" v 1;
    ProjectSettingsRemoved(project::SettingsRemoved) = "project.settings-removed" v 1;
    ProjectSettingsSet(project::SettingsSet) = "project.settings-set" v 1;
    ProjectUpdated(project::Updated) = "project.updated" v 1;
    RoomCreated(room::Created) = "room.created" v 1;
    RoomDeleted(Nothing) = "room.deleted" v 1;
    RoomUpdated(room::Updated) = "room.updated" v 1;
    RoomUserChanged(member::Granted) = "room.user-changed" v 1;
    RoomUserGranted(member::Granted) = "room.user-granted" v 1;
    RoomUserRevoked(member::Revoked) = "room.user-revoked" v 1;
    RouteCreated(route::Wanted) = "route.created" v 1;
    RouteDeleted(Nothing) = "route.deleted" v 1;
    RouteUpdated(route::Wanted) = "route.updated" v 1;
    SecretCreated(secret::Created) = "secret.created" v 1;
    SecretDeclared(secret::Declared) = "secret.declared" v 1;
    SecretDeleted(Nothing) = "secret.deleted" v 1;
    SecretProxyGranted(secret::ForAccount) = "secret.proxy-granted" v 1;
    SecretProxyRevoked(secret::ForAccount) = "secret.proxy-revoked" v 1;
    SecretPullAdded(secret::ForAccount) = "secret.pull-added" v 1;
    SecretPullRemoved(secret::ForAccount) = "secret.pull-removed" v 1;
    SecretUpdated(secret::About) = "secret.updated" v 1;
    SecretVersionAdded(secret::VersionAdded) = "secret.version-added" v 1;
    SecretVersionDeleted(secret::VersionDeleted) = "secret.version-deleted" v 1;
    ServiceCreated(service::Created) = "service.created" v 1;
    ServiceDeleted(Nothing) = "service.deleted" v 1;
    ServiceInstanceCreated(service_instance::Created) = "serviceinstance.created" v 1;
    ServiceInstanceDeleted(Nothing) = "serviceinstance.deleted" v 1;
    ServiceInstanceUpdated(service_instance::Updated) = "serviceinstance.updated" v 1;
    ServiceRestartRequested(Nothing) = "service.restart-requested" v 1;
    ServiceUpdated(service::Updated) = "service.updated" v 1;
    SessionEnded(session::Ended) = "session.ended" v 1;
    SessionStarted(session::Started) = "session.started" v 1;
    SubscriptionDelivered(subscription::Delivered) = "subscription.delivered" v 1;
    TaskCreated(scheduled_task::Created) = "task.created" v 1;
    TaskDeleted(Nothing) = "task.deleted" v 1;
    TaskFired(scheduled_task::Fired) = "task.fired" v 1;
    TaskUpdated(scheduled_task::Updated) = "task.updated" v 1;
    TemplateCreated(service_template::Wanted) = "template.created" v 1;
    TemplateDeleted(Nothing) = "template.deleted" v 1;
    TemplateUpdated(service_template::Wanted) = "template.updated" v 1;
    WebhookAbandoned(webhook::Abandoned) = "webhook.abandoned" v 1;
    WebhookCreated(webhook::Wanted) = "webhook.created" v 1;
    WebhookDeferred(webhook::Deferred) = "webhook.deferred" v 1;
    WebhookDeleted(Nothing) = "webhook.deleted" v 1;
    WebhookDelivered(webhook::Delivered) = "webhook.delivered" v 1;
    WebhookReplayed(webhook::Replayed) = "webhook.replayed" v 1;
    WebhookUpdated(webhook::Wanted) = "webhook.updated" v 1;
}
