//! One project as the events tell it.

use crate::domain::account::{ApiKey, ServiceAccount};
use crate::domain::declared_key::DeclaredKey;
use crate::domain::feed::Feed;
use crate::domain::feed_subscription::FeedSubscription;
use crate::domain::git_source::GitSource;
use crate::domain::instance::{self, Instance};
use crate::domain::inventory::Inventory;
use crate::domain::llm_logger::LlmLogger;
use crate::domain::mailbox::Mailbox;
use crate::domain::managed_agent::ManagedAgent;
use crate::domain::names::Names;
use crate::domain::object::Object;
use crate::domain::project::Project;
use crate::domain::room::Room;
use crate::domain::route::Route;
use crate::domain::scheduled_task::ScheduledTask;
use crate::domain::secret::Secret;
use crate::domain::service::Service;
use crate::domain::service_instance::ServiceInstance;
use crate::domain::service_template::ServiceTemplate;
use crate::domain::session::Session;
use crate::domain::subscription::{self, Notices};
use crate::domain::webhook::{Delivery, Topic, Webhook, delivery_id};
use crate::domain::{Entity, Event};
use crate::eventlog::Recorded;
use crate::id::{Position, ProjectId, RoomId, SessionId, StreamId};
use chrono::{DateTime, Utc};
use imbl::{OrdMap, OrdSet};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Ended sessions kept per project for listing; the log has them all.
pub const SESSIONS_KEPT: usize = 200;

/// An entity with the version of its stream.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Slot<T> {
    pub version: u64,
    /// Of the newest fact of the stream.
    #[serde(default)]
    pub position: Position,
    pub state: T,
}

/// How far a stream is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mark {
    pub version: u64,
    pub position: Position,
}

impl<T> Slot<T> {
    /// How far its stream is.
    pub fn mark(&self) -> Mark {
        Mark { version: self.version, position: self.position }
    }
}

impl Mark {
    fn slot<T>(self, state: T) -> Slot<T> {
        Slot { version: self.version, position: self.position, state }
    }
}

/// Entities of one kind by the UUID of their stream.
pub type Table<T> = OrdMap<Uuid, Slot<T>>;

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct ProjectView {
    /// Of the project.
    #[serde(default)]
    pub id: Uuid,
    pub project: Option<Slot<Project>>,
    pub names: Option<Slot<Names>>,
    pub rooms: Table<Room>,
    pub services: Table<Service>,
    pub tasks: Table<ScheduledTask>,
    pub mailboxes: Table<Mailbox>,
    #[serde(default)]
    pub routes: Table<Route>,
    #[serde(default)]
    pub agents: Table<ManagedAgent>,
    #[serde(default)]
    pub git_sources: Table<GitSource>,
    #[serde(default)]
    pub templates: Table<ServiceTemplate>,
    #[serde(default)]
    pub service_instances: Table<ServiceInstance>,
    pub accounts: Table<ServiceAccount>,
    pub keys: Table<ApiKey>,
    #[serde(default)]
    pub declared_keys: Table<DeclaredKey>,
    pub sessions: Table<Session>,
    #[serde(default)]
    pub secrets: Table<Secret>,
    #[serde(default)]
    pub webhooks: Table<Webhook>,
    #[serde(default)]
    pub feeds: Table<Feed>,
    #[serde(default)]
    pub feed_subscriptions: Table<FeedSubscription>,
    #[serde(default)]
    pub llm_loggers: Table<LlmLogger>,
    /// By the key of their stream, `<session>.<service>`; only those of sessions that run.
    pub instances: OrdMap<String, Slot<Instance>>,
    /// What agents that subscribed are still to be told.
    #[serde(default)]
    pub notices: Slot<Notices>,
    /// Services whose agents subscribe to something.
    #[serde(default)]
    subscribers: OrdSet<Uuid>,
    /// What `apply` was given, and by which source.
    #[serde(default)]
    pub inventory: Slot<Inventory>,
    /// What clients of Kubernetes keep of resources, by the UUID of those.
    #[serde(default)]
    pub objects: OrdMap<Uuid, Object>,
    /// Resources whose objects have names of their own, by [`Object::key`].
    #[serde(default)]
    pub object_names: OrdMap<String, Uuid>,
}

impl ProjectView {
    /// Takes one event in. An event of a stream that this version does not fold changes nothing.
    pub(super) fn apply(&mut self, recorded: &Recorded, event: &Event) {
        use crate::id::{
            ApiKeyId, DeclaredKeyId, FeedId, FeedSubscriptionId, GitSourceId, LlmLoggerId, MailboxId,
            ManagedAgentId, OwnedSecretId, RouteId, ScheduledTaskId, ServiceAccountId, ServiceId,
            ServiceInstanceId, ServiceTemplateId, WebhookId,
        };
        let (stream, at) = (&recorded.stream, recorded.recorded_at);
        let version = Mark { version: recorded.version, position: recorded.position };
        match stream.category() {
            Names::CATEGORY => fold_one(&mut self.names, version, event, at),
            Project::CATEGORY => {
                self.id = Uuid::parse_str(stream.key()).unwrap_or_default();
                fold_one(&mut self.project, version, event, at);
            }
            RoomId::CATEGORY => {
                fold(&mut self.rooms, stream, version, event, at);
                self.tell_subscribers(recorded, event);
            }
            ServiceId::CATEGORY => {
                fold(&mut self.services, stream, version, event, at);
                self.note_subscriber(stream);
                self.tell_subscribers(recorded, event);
            }
            Notices::CATEGORY => {
                (self.notices.version, self.notices.position) = (version.version, version.position);
                self.notices.state.evolve(event);
            }
            Inventory::CATEGORY => {
                (self.inventory.version, self.inventory.position) = (version.version, version.position);
                self.inventory.state.evolve(event);
            }
            ScheduledTaskId::CATEGORY => fold(&mut self.tasks, stream, version, event, at),
            MailboxId::CATEGORY => fold(&mut self.mailboxes, stream, version, event, at),
            RouteId::CATEGORY => fold(&mut self.routes, stream, version, event, at),
            ManagedAgentId::CATEGORY => fold(&mut self.agents, stream, version, event, at),
            ServiceTemplateId::CATEGORY => fold(&mut self.templates, stream, version, event, at),
            ServiceInstanceId::CATEGORY => fold(&mut self.service_instances, stream, version, event, at),
            DeclaredKeyId::CATEGORY => fold(&mut self.declared_keys, stream, version, event, at),
            GitSourceId::CATEGORY => fold(&mut self.git_sources, stream, version, event, at),
            ServiceAccountId::CATEGORY => fold(&mut self.accounts, stream, version, event, at),
            OwnedSecretId::CATEGORY => fold(&mut self.secrets, stream, version, event, at),
            ApiKeyId::CATEGORY => fold(&mut self.keys, stream, version, event, at),
            WebhookId::CATEGORY => fold(&mut self.webhooks, stream, version, event, at),
            FeedId::CATEGORY => fold(&mut self.feeds, stream, version, event, at),
            FeedSubscriptionId::CATEGORY => fold(&mut self.feed_subscriptions, stream, version, event, at),
            LlmLoggerId::CATEGORY => fold(&mut self.llm_loggers, stream, version, event, at),
            SessionId::CATEGORY => {
                self.tell_webhooks(recorded, event);
                fold(&mut self.sessions, stream, version, event, at);
                if matches!(event, Event::SessionEnded(_)) {
                    self.forget_run(stream.key());
                }
            }
            instance::Key::CATEGORY => {
                let key = stream.key().to_owned();
                let old = self.instances.remove(&key).map(|slot| slot.state);
                if let Some(state) = Instance::evolve(old, event, at) {
                    self.instances.insert(key, version.slot(state));
                }
            }
            _ => {}
        }
        self.note_object(stream, event);
    }

    /// Keeps what clients of Kubernetes say of a resource, for as long as there is the resource.
    fn note_object(&mut self, stream: &StreamId, event: &Event) {
        let is_note = matches!(event, Event::ObjectNoted(_));
        if !is_note && self.objects.is_empty() {
            return;
        }
        let Some((id, is_there)) = self.noted(stream, event) else { return };
        if !is_note && (is_there || !self.objects.contains_key(&id)) {
            return;
        }
        if let Some(old) = self.objects.remove(&id).filter(|old| !old.name.is_empty()) {
            self.object_names.remove(&Object::key(&old.kind, &old.name));
        }
        if let (Event::ObjectNoted(object), true) = (event, is_there) {
            if !object.name.is_empty() {
                self.object_names.insert(Object::key(&object.kind, &object.name), id);
            }
            if !object.is_plain() {
                self.objects.insert(id, object.clone());
            }
        }
    }

    /// The resource that a note is about, or that a fact of the stream may have ended, and whether it is there.
    fn noted(&self, stream: &StreamId, event: &Event) -> Option<(Uuid, bool)> {
        let is_there = self.mark(stream).is_some();
        if stream.category() != Project::CATEGORY {
            return Some((Uuid::parse_str(stream.key()).ok()?, is_there));
        }
        // Two kinds of resources have their facts in this stream; the project itself never ends.
        let roles = self.project.as_ref().and_then(|slot| slot.state.room_roles);
        match (event, roles) {
            (Event::ObjectNoted(object), Some(mark)) if object.kind == "RoomRoles" => Some((mark.id, true)),
            (Event::ObjectNoted(object), _) if object.kind == "Project" => Some((self.id, is_there)),
            (Event::ObjectNoted(_), _) => None,
            _ => {
                let noted = self.objects.iter().find(|(_, object)| object.kind == "RoomRoles");
                let id = *noted?.0;
                Some((id, roles.is_some_and(|mark| mark.id == id)))
            }
        }
    }

    /// How far a stream is; none where nothing is of it (any more).
    #[must_use]
    pub fn mark(&self, stream: &StreamId) -> Option<Mark> {
        use crate::id::{
            ApiKeyId, DeclaredKeyId, FeedId, FeedSubscriptionId, GitSourceId, LlmLoggerId, MailboxId,
            ManagedAgentId, OwnedSecretId, RouteId, ScheduledTaskId, ServiceAccountId, ServiceId,
            ServiceInstanceId, ServiceTemplateId, WebhookId,
        };
        let id = Uuid::parse_str(stream.key()).ok();
        macro_rules! of {
            ($table:ident) => {
                id.and_then(|id| self.$table.get(&id)).map(Slot::mark)
            };
        }
        match stream.category() {
            Names::CATEGORY => self.names.as_ref().map(Slot::mark),
            Notices::CATEGORY => Some(self.notices.mark()),
            Inventory::CATEGORY => Some(self.inventory.mark()),
            Project::CATEGORY => self.project.as_ref().map(Slot::mark),
            RoomId::CATEGORY => of!(rooms),
            ServiceId::CATEGORY => of!(services),
            ScheduledTaskId::CATEGORY => of!(tasks),
            MailboxId::CATEGORY => of!(mailboxes),
            RouteId::CATEGORY => of!(routes),
            ManagedAgentId::CATEGORY => of!(agents),
            GitSourceId::CATEGORY => of!(git_sources),
            DeclaredKeyId::CATEGORY => of!(declared_keys),
            ServiceTemplateId::CATEGORY => of!(templates),
            ServiceInstanceId::CATEGORY => of!(service_instances),
            ServiceAccountId::CATEGORY => of!(accounts),
            ApiKeyId::CATEGORY => of!(keys),
            SessionId::CATEGORY => of!(sessions),
            OwnedSecretId::CATEGORY => of!(secrets),
            WebhookId::CATEGORY => of!(webhooks),
            FeedId::CATEGORY => of!(feeds),
            FeedSubscriptionId::CATEGORY => of!(feed_subscriptions),
            LlmLoggerId::CATEGORY => of!(llm_loggers),
            instance::Key::CATEGORY => self.instances.get(stream.key()).map(Slot::mark),
            _ => None,
        }
    }

    /// As if nothing of the stream of a resource had been recorded so far: whoever folds that stream anew begins so.
    pub(super) fn forget(&mut self, stream: &StreamId) {
        use crate::id::{
            DeclaredKeyId, FeedId, FeedSubscriptionId, GitSourceId, MailboxId, ManagedAgentId, OwnedSecretId,
            RouteId, ScheduledTaskId, ServiceAccountId, ServiceId, ServiceInstanceId, ServiceTemplateId,
        };
        let Ok(id) = Uuid::parse_str(stream.key()) else { return };
        match stream.category() {
            Project::CATEGORY => self.project = None,
            RoomId::CATEGORY => drop(self.rooms.remove(&id)),
            ServiceId::CATEGORY => drop(self.services.remove(&id)),
            ScheduledTaskId::CATEGORY => drop(self.tasks.remove(&id)),
            MailboxId::CATEGORY => drop(self.mailboxes.remove(&id)),
            RouteId::CATEGORY => drop(self.routes.remove(&id)),
            ManagedAgentId::CATEGORY => drop(self.agents.remove(&id)),
            GitSourceId::CATEGORY => drop(self.git_sources.remove(&id)),
            DeclaredKeyId::CATEGORY => drop(self.declared_keys.remove(&id)),
            ServiceTemplateId::CATEGORY => drop(self.templates.remove(&id)),
            ServiceInstanceId::CATEGORY => drop(self.service_instances.remove(&id)),
            ServiceAccountId::CATEGORY => drop(self.accounts.remove(&id)),
            OwnedSecretId::CATEGORY => drop(self.secrets.remove(&id)),
            FeedId::CATEGORY => drop(self.feeds.remove(&id)),
            FeedSubscriptionId::CATEGORY => drop(self.feed_subscriptions.remove(&id)),
            _ => {}
        }
    }

    /// Keeps track of who subscribes, so that a fact does not look at every service there is.
    fn note_subscriber(&mut self, stream: &StreamId) {
        let Ok(id) = Uuid::parse_str(stream.key()) else { return };
        if self.services.get(&id).is_some_and(|slot| subscription::subscribes(&slot.state)) {
            self.subscribers.insert(id);
        } else {
            self.subscribers.remove(&id);
        }
    }

    /// Notes what agents that subscribed are to be told of a service, or of a room's users.
    fn tell_subscribers(&mut self, recorded: &Recorded, event: &Event) {
        let Some(topic) = subscription::topic(event) else { return };
        let Ok(id) = Uuid::parse_str(recorded.stream.key()) else { return };
        let project = recorded.metadata.project.unwrap_or(ProjectId::PLATFORM);
        let about = match self.services.get(&id) {
            Some(service) => service.state.room,
            None if self.rooms.contains_key(&id) => Some(RoomId::new(project, id)),
            None => return,
        };
        let subscribers = self.subscribers.iter().filter_map(|id| self.services.get(id));
        let services = subscribers.map(|slot| &slot.state);
        let mut targets = subscription::targets(topic, about, services, || self.running());
        targets.retain(|(room, _)| self.rooms.get(&room.uuid()).is_some_and(|slot| slot.state.enabled));
        self.notices.state.note(recorded.position, targets);
    }

    /// Has the webhooks of the project called for a room that started or ended. Before the session's own fold: its end
    /// does not say whose it was.
    fn tell_webhooks(&mut self, recorded: &Recorded, event: &Event) {
        let id = Uuid::parse_str(recorded.stream.key()).ok();
        let of = id.and_then(|id| self.sessions.get(&id)).map(|slot| &slot.state);
        let (event, room, room_name) = match event {
            Event::SessionStarted(started) => (Topic::RoomStarted, started.room, started.room_name.clone()),
            Event::SessionEnded(_) => match of.filter(|session| session.is_active()) {
                Some(session) => (Topic::RoomEnded, session.room, session.room_name.clone()),
                None => return,
            },
            _ => return,
        };
        let at = recorded.recorded_at;
        let wants: Vec<Uuid> = self
            .webhooks
            .iter()
            .filter(|(_, slot)| slot.state.wanted.events.contains(&event))
            .map(|(id, _)| *id)
            .collect();
        for webhook in wants {
            let Some(slot) = self.webhooks.get_mut(&webhook) else { continue };
            slot.state.tell(Delivery {
                id: delivery_id(webhook, recorded.event_id),
                event,
                room,
                room_name: room_name.clone(),
                at,
                attempts: 0,
                again_at: None,
                reason: None,
            });
        }
    }

    fn running(&self) -> Vec<RoomId> {
        let active = self.sessions.values().filter(|slot| slot.state.is_active());
        active.map(|slot| slot.state.room).collect()
    }

    /// Drops the instances of an ended session and the oldest ended sessions beyond [`SESSIONS_KEPT`].
    fn forget_run(&mut self, session: &str) {
        let prefix = format!("{session}.");
        let gone: Vec<String> = self.instances.keys().filter(|k| k.starts_with(&prefix)).cloned().collect();
        for key in gone {
            self.instances.remove(&key);
        }
        if self.sessions.len() <= SESSIONS_KEPT {
            return;
        }
        let ended = self.sessions.iter().filter_map(|(id, s)| s.state.ended.map(|(at, _)| (at, *id)));
        if let Some((_, oldest)) = ended.min() {
            self.sessions.remove(&oldest);
        }
    }
}

fn fold<T: Entity + Clone>(
    table: &mut Table<T>,
    stream: &StreamId,
    mark: Mark,
    event: &Event,
    at: DateTime<Utc>,
) {
    let Ok(id) = Uuid::parse_str(stream.key()) else { return };
    let old = table.remove(&id).map(|slot| slot.state);
    if let Some(state) = T::evolve(old, event, at) {
        table.insert(id, mark.slot(state));
    }
}

pub(super) fn fold_one<T: Entity>(slot: &mut Option<Slot<T>>, mark: Mark, event: &Event, at: DateTime<Utc>) {
    let old = slot.take().map(|s| s.state);
    *slot = T::evolve(old, event, at).map(|state| mark.slot(state));
}
