//! `kind: RoomRoles`: the settings document `room-roles` of the project, as a resource of its own. There is one, or none.

use super::{Change, Found, Home, Key, Resource, document_of, typed};
use crate::app::Error;
use crate::app::plan::Ground;
use crate::app::plan::draft::Draft;
use crate::app::plan::problem::{Code, Problem};
use crate::app::project_members::state;
use crate::domain::project::{
    Command, Project, ROOM_ROLES, RoomRolesMark, Settings, SettingsRemoved, SettingsSet,
};
use crate::id::{ProjectId, StreamId};
use crate::projection::{ProjectView, World};
use crate::spec::{self, Kind, ROOM_ROLES_NAME, RoleSettings, RoomRolesKind, RoomRolesMetadata, Version};
use serde_json::{Map, Value, json};
use uuid::Uuid;

pub struct RoomRoles;

fn key() -> Key {
    Key::new(Kind::RoomRoles, None, ROOM_ROLES_NAME)
}

/// What there is, where it is a resource.
fn found(world: &World, project: ProjectId) -> Option<(RoomRolesMark, &Settings)> {
    let state = state(world, project)?;
    Some((state.room_roles?, state.settings.get(ROOM_ROLES)?))
}

impl Resource for RoomRoles {
    fn kind(&self) -> Kind {
        Kind::RoomRoles
    }

    fn home(&self) -> Home {
        Home::Project
    }

    fn canonical(&self, name: &str) -> String {
        if name.is_empty() { ROOM_ROLES_NAME.to_owned() } else { name.to_owned() }
    }

    fn all(&self, world: &World, project: ProjectId) -> Vec<(Uuid, Key)> {
        found(world, project).map(|(mark, _)| (mark.id, key())).into_iter().collect()
    }

    fn read(&self, world: &World, project: ProjectId, id: Uuid) -> Option<Found> {
        let (mark, settings) = found(world, project).filter(|(mark, _)| mark.id == id)?;
        let read: RoleSettings = serde_json::from_value(Value::Object(settings.document.clone())).ok()?;
        let (name, annotations) = (ROOM_ROLES_NAME.to_owned(), settings.annotations.clone());
        let document = document_of(&spec::RoomRoles {
            version: Version::V1,
            kind: RoomRolesKind::Mark,
            metadata: RoomRolesMetadata { name, annotations },
            roles: read.roles,
        });
        Some(Found { key: key(), document, generation: mark.generation, created_at: Some(mark.created_at) })
    }

    fn generation(&self, world: &World, project: ProjectId, id: Uuid) -> Option<u64> {
        found(world, project).filter(|(mark, _)| mark.id == id).map(|(mark, _)| mark.generation)
    }

    fn stream(&self, project: ProjectId, _: Uuid) -> StreamId {
        Project::stream(project)
    }

    fn check(&self, ground: &Ground<'_>, key: &Key, _: &Value, old: Option<Uuid>) -> Vec<Problem> {
        let problem = |code, text: &str| vec![Problem::of(code, None, key, text).at("roles")];
        let settings = state(ground.world, ground.project).map(|state| &state.settings);
        if old.is_none() && settings.is_some_and(|settings| settings.contains_key(ROOM_ROLES)) {
            let hint =
                "leave them out there, and forget them with `meshagent project reset-room-roles` first";
            let text = "the document of the project says the roles in rooms, in `settings.room-roles`";
            return problem(Code::Invalid, text).into_iter().map(|problem| problem.hint(hint)).collect();
        }
        vec![]
    }

    fn changed(&self, old: &ProjectView, new: &ProjectView) -> Vec<Uuid> {
        fn part(
            view: &ProjectView,
        ) -> Option<(RoomRolesMark, &Settings, Option<&crate::domain::object::Object>)> {
            let state = &view.project.as_ref()?.state;
            let mark = state.room_roles?;
            Some((mark, state.settings.get(ROOM_ROLES)?, view.objects.get(&mark.id)))
        }
        let (old, new) = (part(old), part(new));
        if old == new {
            return vec![];
        }
        let mut ids: Vec<Uuid> = [old, new].into_iter().flatten().map(|(mark, ..)| mark.id).collect();
        ids.dedup();
        ids
    }

    fn change(&self, draft: &mut Draft<'_>, change: Change<'_>) -> Result<(), Error> {
        let (world, project) = (draft.world(), draft.project());
        let stream = Project::stream(project);
        let command = match change {
            Change::Create { id, key, document } => set(id, key, document)?,
            Change::Update { key, document, .. } => set(draft.fresh(), key, document)?,
            Change::Delete { .. } => Command::RemoveSettings(SettingsRemoved { name: ROOM_ROLES.to_owned() }),
        };
        draft.decide(stream, state(world, project), command)
    }
}

/// The first revision is what it is known by.
fn set(revision: Uuid, key: &Key, document: &Value) -> Result<Command, Error> {
    let spec: spec::RoomRoles = typed(key, document)?;
    let document = match json!(RoleSettings { roles: spec.roles }) {
        Value::Object(document) => document,
        _ => Map::new(),
    };
    let settings = Settings { revision, document, has_secret: false, annotations: spec.metadata.annotations };
    Ok(Command::SetSettings(SettingsSet { name: ROOM_ROLES.to_owned(), settings }))
}
