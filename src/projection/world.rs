//! Everything, at one position of the log.

use super::view::ProjectView;
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
use crate::domain::names::Kind;
use crate::domain::room::Room;
use crate::domain::route::Route;
use crate::domain::scheduled_task::ScheduledTask;
use crate::domain::secret::Secret;
use crate::domain::service::Service;
use crate::domain::service_instance::ServiceInstance;
use crate::domain::service_template::ServiceTemplate;
use crate::domain::session::Session;
use crate::domain::subscription::Notice;
use crate::domain::webhook::Webhook;
use crate::domain::{DecodeError, Event};
use crate::eventlog::Recorded;
use crate::id::{
    ApiKeyId, DeclaredKeyId, FeedId, FeedSubscriptionId, GitSourceId, LlmLoggerId, MailboxId, ManagedAgentId,
    OwnedSecretId, Position, ProjectId, RoomId, RouteId, ScheduledTaskId, ServiceAccountId, ServiceId,
    ServiceInstanceId, ServiceTemplateId, SessionId, WebhookId,
};
use imbl::OrdMap;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Why an event cannot be folded in.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    #[error("event at position {position} cannot be read: {source}")]
    Decode { position: Position, source: DecodeError },
    #[error("event at position {got} came where {want} was due; the log has a gap")]
    Gap { got: Position, want: Position },
}

/// The fold of the log up to `position`.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct World {
    pub position: Position,
    projects: OrdMap<ProjectId, ProjectView>,
}

macro_rules! look_ups {
    ($($one:ident, $all:ident: $table:ident, $id:ident => $state:ty;)*) => {$(
        #[must_use]
        pub fn $one(&self, id: $id) -> Option<&$state> {
            self.project(id.project())?.$table.get(&id.uuid()).map(|slot| &slot.state)
        }

        /// All of one project, in order of identifier, which is the order of making.
        pub fn $all(&self, project: ProjectId) -> impl Iterator<Item = ($id, &$state)> {
            self.project(project).into_iter().flat_map(move |view| {
                view.$table.iter().map(move |(uuid, slot)| ($id::new(project, *uuid), &slot.state))
            })
        }
    )*};
}

impl World {
    /// Version of this fold's shape. A snapshot of another version is discarded and the log replayed.
    pub const VERSION: u32 = 12;

    #[must_use]
    pub fn project(&self, id: ProjectId) -> Option<&ProjectView> {
        self.projects.get(&id)
    }

    /// Every project that exists, in order of identifier.
    pub fn projects(&self) -> impl Iterator<Item = (ProjectId, &ProjectView)> {
        self.projects.iter().filter(|(_, view)| view.project.is_some()).map(|(id, view)| (*id, view))
    }

    look_ups! {
        room, rooms: rooms, RoomId => Room;
        service, services: services, ServiceId => Service;
        template, templates: templates, ServiceTemplateId => ServiceTemplate;
        service_instance, service_instances: service_instances, ServiceInstanceId => ServiceInstance;
        task, tasks: tasks, ScheduledTaskId => ScheduledTask;
        mailbox, mailboxes: mailboxes, MailboxId => Mailbox;
        route, routes: routes, RouteId => Route;
        agent, agents: agents, ManagedAgentId => ManagedAgent;
        git_source, git_sources: git_sources, GitSourceId => GitSource;
        account, accounts: accounts, ServiceAccountId => ServiceAccount;
        key, keys: keys, ApiKeyId => ApiKey;
        declared_key, declared_keys: declared_keys, DeclaredKeyId => DeclaredKey;
        session, sessions: sessions, SessionId => Session;
        secret, secrets: secrets, OwnedSecretId => Secret;
        webhook, webhooks: webhooks, WebhookId => Webhook;
        feed, feeds: feeds, FeedId => Feed;
        feed_subscription, feed_subscriptions: feed_subscriptions, FeedSubscriptionId => FeedSubscription;
        llm_logger, llm_loggers: llm_loggers, LlmLoggerId => LlmLogger;
    }

    #[must_use]
    pub fn instance(&self, key: instance::Key) -> Option<&Instance> {
        let view = self.project(key.session.project())?;
        view.instances.get(&format!("{}.{}", key.session, key.service)).map(|slot| &slot.state)
    }

    /// Every instance of one project's running sessions.
    pub fn instances(&self, project: ProjectId) -> impl Iterator<Item = &Instance> {
        self.project(project).into_iter().flat_map(|view| view.instances.values().map(|slot| &slot.state))
    }

    /// What subscribers of a project are still to be told, oldest first.
    pub fn notices(&self, project: ProjectId) -> impl Iterator<Item = &Notice> {
        self.project(project).into_iter().flat_map(|view| view.notices.state.waiting.iter())
    }

    /// What sources applied in a project; nothing where the project is unknown.
    #[must_use]
    pub fn inventory(&self, project: ProjectId) -> Option<&Inventory> {
        self.project(project).map(|view| &view.inventory.state)
    }

    /// What a name means. `scope` is the room for things that live in one.
    #[must_use]
    pub fn named(&self, project: ProjectId, kind: Kind, scope: Option<RoomId>, name: &str) -> Option<Uuid> {
        let names = self.project(project)?.names.as_ref()?;
        names.state.get(kind, scope.map(RoomId::uuid), name)
    }

    #[must_use]
    pub fn room_named(&self, project: ProjectId, name: &str) -> Option<(RoomId, &Room)> {
        let id = RoomId::new(project, self.named(project, Kind::Room, None, name)?);
        Some((id, self.room(id)?))
    }

    /// A room by its name, or by its UUID.
    #[must_use]
    pub fn find_room(&self, project: ProjectId, name_or_id: &str) -> Option<(RoomId, &Room)> {
        self.room_named(project, name_or_id).or_else(|| {
            let id = RoomId::new(project, Uuid::parse_str(name_or_id).ok()?);
            Some((id, self.room(id)?))
        })
    }

    /// The route of a domain, in its kept form, whichever project it belongs to.
    #[must_use]
    pub fn route_of(&self, domain: &str) -> Option<(RouteId, &Route)> {
        let uuid = self.named(ProjectId::PLATFORM, Kind::RouteDomain, None, domain)?;
        self.projects().find_map(|(project, _)| {
            let id = RouteId::new(project, uuid);
            self.route(id).map(|route| (id, route))
        })
    }

    /// The managed agent that lives in a room: they have the same UUID.
    #[must_use]
    pub fn agent_of(&self, room: RoomId) -> Option<(ManagedAgentId, &ManagedAgent)> {
        let id = ManagedAgentId::new(room.project(), room.uuid());
        Some((id, self.agent(id)?))
    }

    /// Runs that have not ended of rooms in which the project's own services run too: not those of managed agents.
    pub fn sessions_of_all(&self, project: ProjectId) -> impl Iterator<Item = (SessionId, &Session)> {
        self.sessions(project)
            .filter(|(_, session)| session.is_active() && self.agent_of(session.room).is_none())
    }

    /// The run of a room that has not ended.
    #[must_use]
    pub fn active_session(&self, room: RoomId) -> Option<(SessionId, &Session)> {
        self.sessions(room.project()).filter(|(_, s)| s.room == room && s.is_active()).last()
    }

    /// Version of a stream, 0 where nothing is (any more).
    #[must_use]
    pub fn version(&self, project: ProjectId, stream: &crate::id::StreamId) -> u64 {
        self.project(project).and_then(|view| view.mark(stream)).map_or(0, |mark| mark.version)
    }

    /// Position of the newest fact of a stream; none where nothing is of it (any more).
    #[must_use]
    pub fn position_of(&self, project: ProjectId, stream: &crate::id::StreamId) -> Option<Position> {
        self.project(project).and_then(|view| view.mark(stream)).map(|mark| mark.position)
    }

    /// Folds one recorded event in. It must be the very next one.
    pub fn apply(&mut self, recorded: &Recorded) -> Result<(), ApplyError> {
        let want = Position(self.position.0 + 1);
        if recorded.position != want {
            return Err(ApplyError::Gap { got: recorded.position, want });
        }
        self.fold(recorded)
    }

    /// Folds an event in that need not be the very next one: for looks at a part of the log.
    pub fn fold(&mut self, recorded: &Recorded) -> Result<(), ApplyError> {
        let event = Event::decode(&recorded.kind, recorded.schema_version, &recorded.data)
            .map_err(|source| ApplyError::Decode { position: recorded.position, source })?;
        let project = recorded.metadata.project.unwrap_or(ProjectId::PLATFORM);
        if !self.projects.contains_key(&project) {
            self.projects.insert(project, ProjectView::default());
        }
        if let Some(view) = self.projects.get_mut(&project) {
            view.apply(recorded, &event);
        }
        self.position = recorded.position;
        Ok(())
    }
}
