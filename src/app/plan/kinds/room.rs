//! `kind: Room`.

use super::{Change, Found, Home, Key, Resource, differing, document_of, typed};
use crate::app::Error;
use crate::app::plan::Ground;
use crate::app::plan::draft::Draft;
use crate::app::plan::problem::{Code, Problem};
use crate::domain::room::{self, Room};
use crate::domain::{member, names};
use crate::id::{ProjectId, RoomId, ServiceInstanceId, StreamId};
use crate::name::RoomName;
use crate::projection::{ProjectView, World};
use crate::spec::{self, Kind, NamedMetadata, RoomKind, Version};
use serde_json::Value;
use uuid::Uuid;

pub struct Rooms;

fn name_of(key: &Key) -> Result<RoomName, Error> {
    RoomName::new(key.name.clone())
        .map_err(|error| Error::Invalid { code: "name-invalid", text: error.to_string() })
}

impl Resource for Rooms {
    fn kind(&self) -> Kind {
        Kind::Room
    }

    fn home(&self) -> Home {
        Home::Project
    }

    fn all(&self, world: &World, project: ProjectId) -> Vec<(Uuid, Key)> {
        let key = |room: &Room| Key::new(Kind::Room, None, room.name.as_str());
        // Those of managed agents are theirs.
        let shown = world.rooms(project).filter(|(id, _)| world.agent_of(*id).is_none());
        shown.map(|(id, room)| (id.uuid(), key(room))).collect()
    }

    fn read(&self, world: &World, project: ProjectId, id: Uuid) -> Option<Found> {
        let id = RoomId::new(project, id);
        let room = world.room(id).filter(|_| world.agent_of(id).is_none())?;
        let document = spec::Room {
            version: Version::V1,
            kind: RoomKind::Mark,
            metadata: NamedMetadata { name: room.name.to_string(), annotations: room.annotations.clone() },
            properties: room.metadata.clone(),
            enabled: room.enabled,
            users: room.by_roles.then(|| room.users.clone()),
        };
        Some(Found {
            key: Key::new(Kind::Room, None, room.name.as_str()),
            document: document_of(&document),
            generation: room.generation,
            created_at: Some(room.created_at),
        })
    }

    fn generation(&self, world: &World, project: ProjectId, id: Uuid) -> Option<u64> {
        world.room(RoomId::new(project, id)).map(|room| room.generation)
    }

    fn stream(&self, project: ProjectId, id: Uuid) -> StreamId {
        RoomId::new(project, id).stream()
    }

    fn unsaid(&self) -> &'static [&'static str] {
        &["/users"]
    }

    fn plain(&self, mut document: Value) -> Value {
        if let Some(users) = document.get_mut("users").and_then(Value::as_object_mut) {
            *users =
                std::mem::take(users).into_iter().map(|(user, roles)| (member::key(&user), roles)).collect();
        }
        document
    }

    fn check(&self, _: &Ground<'_>, key: &Key, _: &Value, _: Option<Uuid>) -> Vec<Problem> {
        let problem =
            |error: Error| Problem::of(Code::Invalid, None, key, error.to_string()).at("metadata.name");
        name_of(key).err().map(problem).into_iter().collect()
    }

    fn contents(&self, world: &World, project: ProjectId, id: Uuid) -> Vec<(Kind, Uuid)> {
        let room = RoomId::new(project, id);
        let services = world.services(project).filter(|(_, service)| service.room == Some(room));
        let owned = |id: Uuid| world.service_instance(ServiceInstanceId::new(project, id)).is_some();
        let kind = |id: Uuid| if owned(id) { Kind::ServiceInstance } else { Kind::Service };
        services.map(|(id, _)| (kind(id.uuid()), id.uuid())).chain(inside(world, room)).collect()
    }

    fn changed(&self, old: &ProjectView, new: &ProjectView) -> Vec<Uuid> {
        let of_agent = |id: &Uuid| old.agents.contains_key(id) || new.agents.contains_key(id);
        let all = differing(&old.rooms, &new.rooms);
        all.into_iter().filter(|id| !of_agent(id)).collect()
    }

    fn change(&self, draft: &mut Draft<'_>, change: Change<'_>) -> Result<(), Error> {
        let project = draft.project();
        match change {
            Change::Create { id, key, document } => {
                let spec: spec::Room = typed(key, document)?;
                let created = room::Created {
                    name: name_of(key)?,
                    metadata: spec.properties,
                    annotations: spec.metadata.annotations,
                    enabled: spec.enabled,
                    users: spec.users,
                };
                draft.claim(project, names::Kind::Room, None, &key.name, id)?;
                draft.decide::<Room>(
                    RoomId::new(project, id).stream(),
                    None,
                    room::Command::Create(created),
                )?;
            }
            Change::Update { id, key, document } => {
                let spec: spec::Room = typed(key, document)?;
                let updated = room::Updated {
                    name: None,
                    metadata: Some(spec.properties),
                    annotations: Some(spec.metadata.annotations),
                    enabled: Some(spec.enabled),
                    users: spec.users,
                };
                let id = RoomId::new(project, id);
                draft.decide(id.stream(), draft.world().room(id), room::Command::Update(updated))?;
            }
            Change::Delete { id } => {
                let id = RoomId::new(project, id);
                let old = draft.world().room(id).ok_or_else(|| Error::no_room(&id.to_string()))?;
                draft.release(project, names::Kind::Room, None, old.name.as_str())?;
                draft.decide(id.stream(), Some(old), room::Command::Delete)?;
            }
        }
        Ok(())
    }
}

/// What a room has beside its services.
pub(super) fn inside(world: &World, room: RoomId) -> impl Iterator<Item = (Kind, Uuid)> {
    let project = room.project();
    let tasks = world.tasks(project).filter(move |(_, task)| task.room == room);
    let mailboxes = world.mailboxes(project).filter(move |(_, mailbox)| mailbox.room == room);
    let subscriptions = world.feed_subscriptions(project).filter(move |(_, one)| one.wanted.room == room);
    let tasks = tasks.map(|(id, _)| (Kind::ScheduledTask, id.uuid()));
    let mailboxes = mailboxes.map(|(id, _)| (Kind::Mailbox, id.uuid()));
    let subscriptions = subscriptions.map(|(id, _)| (Kind::Subscription, id.uuid()));
    let routes = world.routes(project).filter(move |(_, route)| route.backend.room() == room);
    let routes = routes.map(|(id, _)| (Kind::Route, id.uuid()));
    tasks.chain(mailboxes).chain(subscriptions).chain(routes)
}
