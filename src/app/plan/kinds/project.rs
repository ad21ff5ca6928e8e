//! `kind: Project`: the project that documents are applied to. There is exactly one; documents neither make nor delete it.

use super::{Change, Found, Home, Key, Resource, document_of, typed};
use crate::app::Error;
use crate::app::plan::Ground;
use crate::app::plan::draft::Draft;
use crate::app::plan::fields::without_nulls;
use crate::app::plan::problem::{Code, Problem};
use crate::app::project_members::state;
use crate::domain::member;
use crate::domain::project::{Command, Project, ROOM_ROLES, Refused, Settings, Wanted};
use crate::domain::project_member::{self, manages};
use crate::id::{ProjectId, StreamId};
use crate::projection::{ProjectView, World};
use crate::spec::{
    self, Kind, NamedMetadata, ProjectKind, ProjectRoles, ProjectSettings, Version, fewest_roles,
    kept_settings,
};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use uuid::Uuid;

pub struct Projects;

const KEPT: &str = "a project is not deleted by documents";

impl Resource for Projects {
    fn kind(&self) -> Kind {
        Kind::Project
    }

    fn home(&self) -> Home {
        Home::Project
    }

    fn all(&self, world: &World, project: ProjectId) -> Vec<(Uuid, Key)> {
        let key = |state: &Project| Key::new(Kind::Project, None, state.name.as_str());
        state(world, project).map(|state| (project.uuid(), key(state))).into_iter().collect()
    }

    fn read(&self, world: &World, project: ProjectId, id: Uuid) -> Option<Found> {
        let state = state(world, project).filter(|_| id == project.uuid())?;
        let members = state.members.iter().map(|(user, roles)| (user.clone(), roles.clone()));
        let mut document = document_of(&spec::Project {
            version: Version::V1,
            kind: ProjectKind::Mark,
            metadata: NamedMetadata { name: state.name.clone(), annotations: state.annotations.clone() },
            // Keys are of one server; documents go from one to another.
            key: None,
            members: Some(members.collect()).filter(|members: &BTreeMap<_, _>| !members.is_empty()),
            settings: None,
        });
        let settings: Map<String, Value> =
            state.settings.iter().filter_map(|(name, it)| shown(state, name, it)).collect();
        if let (false, Some(document)) = (settings.is_empty(), document.as_object_mut()) {
            document.insert("settings".to_owned(), without_nulls(Value::Object(settings)));
        }
        Some(Found {
            key: Key::new(Kind::Project, None, state.name.as_str()),
            document,
            generation: state.generation,
            created_at: Some(state.created_at),
        })
    }

    fn generation(&self, world: &World, project: ProjectId, id: Uuid) -> Option<u64> {
        state(world, project).filter(|_| id == project.uuid()).map(|state| state.generation)
    }

    fn stream(&self, project: ProjectId, _: Uuid) -> StreamId {
        Project::stream(project)
    }

    fn named(&self, world: &World, project: ProjectId, name: &str) -> String {
        let own = state(world, project).filter(|state| state.key == name);
        own.map_or_else(|| name.to_owned(), |state| state.name.clone())
    }

    fn unsaid(&self) -> &'static [&'static str] {
        &[
            "/members",
            "/settings/openai",
            "/settings/anthropic",
            "/settings/grok",
            "/settings/router",
            "/settings/budgets",
            "/settings/room-roles",
        ]
    }

    fn plain(&self, mut document: Value) -> Value {
        if let Some(members) = document.get_mut("members").and_then(Value::as_object_mut) {
            *members = plain_members(std::mem::take(members));
        }
        for (name, settings) in
            document.get_mut("settings").and_then(Value::as_object_mut).into_iter().flatten()
        {
            if let Some(said) = settings.as_object() {
                *settings = without_nulls(Value::Object(kept_settings(name, said)));
            }
        }
        document
    }

    fn settle(&self, world: &World, project: ProjectId, wanted: &mut Value) {
        let Some(state) = state(world, project) else { return };
        if let Some(name) = wanted.pointer_mut("/metadata/name").filter(|name| **name == state.key.as_str()) {
            *name = json!(state.name);
        }
        if wanted.get("key").is_some_and(|key| *key == state.key.as_str())
            && let Some(wanted) = wanted.as_object_mut()
        {
            wanted.remove("key");
        }
    }

    fn check(&self, ground: &Ground<'_>, key: &Key, document: &Value, old: Option<Uuid>) -> Vec<Problem> {
        let Some(state) = state(ground.world, ground.project) else { return vec![] };
        let problem = |path: &str, text: String| Problem::of(Code::Invalid, None, key, text).at(path);
        if old.is_none() {
            let text = format!("documents are applied to the project `{}`, not to this one", state.name);
            let hint = format!("write `{}` or its key, or apply with a key of the other project", state.name);
            return vec![problem("metadata.name", text).hint(hint)];
        }
        let mut problems = vec![];
        if document.get("key").is_some() {
            let text = "this is not the key of the project, and a project's key does not change".to_owned();
            problems.push(problem("key", text).hint("leave it out"));
        }
        let members = document.get("members").and_then(Value::as_object);
        if let Some(members) = members {
            problems.extend(unkept(members).map(|why| problem("members", why)));
        }
        let stays_managed = members.is_none_or(|members| {
            let roles =
                |roles: &Value| serde_json::from_value::<ProjectRoles>(roles.clone()).unwrap_or_default();
            members.values().any(|member| manages(&roles(member)))
        });
        if !stays_managed && state.members.values().any(manages) {
            let text = "nobody who can manage the project would be left";
            problems.push(problem("members", text.to_owned()).hint("give the role admin to one of them"));
        }
        for (name, wanted) in document.get("settings").and_then(Value::as_object).into_iter().flatten() {
            problems.extend(of_settings(ground, state, key, name, wanted));
        }
        problems
    }

    fn keep(&self, _: &Key) -> Option<&'static str> {
        Some(KEPT)
    }

    fn outlives(&self) -> bool {
        true
    }

    fn changed(&self, old: &ProjectView, new: &ProjectView) -> Vec<Uuid> {
        let mark = |view: &ProjectView| view.project.as_ref().map(|slot| slot.mark());
        if mark(old) == mark(new) { vec![] } else { vec![new.id] }
    }

    fn change(&self, draft: &mut Draft<'_>, change: Change<'_>) -> Result<(), Error> {
        let Change::Update { key, document, .. } = change else {
            return Err(Error::Invalid { code: "invalid-request", text: KEPT.to_owned() });
        };
        let (world, project) = (draft.world(), draft.project());
        let spec: spec::Project = typed(key, document)?;
        let members = spec.members.map(project_member::plain).transpose().map_err(Error::rejected)?;
        let said = spec.settings.unwrap_or_default();
        let settings = said.said().map(|(name, document)| {
            let (document, annotations) = (document.clone(), BTreeMap::new());
            (name.to_owned(), Settings { revision: draft.fresh(), document, has_secret: false, annotations })
        });
        // Those that stay as they are, with their secrets, are told apart by the planner's own eyes: without nulls.
        let old = state(world, project).map(|state| &state.settings);
        let same = |name: &str, new: &Settings| {
            let old = old.and_then(|old| old.get(name)).map(|old| Value::Object(old.document.clone()));
            old.is_some_and(|old| without_nulls(old) == Value::Object(new.document.clone()))
        };
        let settings = settings.filter(|(name, new)| !same(name, new)).collect();
        let wanted = Wanted { annotations: spec.metadata.annotations, members, settings };
        draft.decide(Project::stream(project), state(world, project), Command::Update(wanted))
    }
}

/// A settings document as the project's own document shows it. Of providers that is their address.
fn shown(state: &Project, name: &str, settings: &Settings) -> Option<(String, Value)> {
    let is_known = ProjectSettings::NAMES.contains(&name);
    let is_own = name != ROOM_ROLES || state.room_roles.is_none();
    let says = !is_provider(name) || settings.document.contains_key("base_url");
    (is_known && is_own && says).then(|| (name.to_owned(), Value::Object(settings.document.clone())))
}

fn is_provider(name: &str) -> bool {
    matches!(name, "openai" | "anthropic" | "grok")
}

/// Members under the addresses by which they are kept, with the fewest roles that give the same.
fn plain_members(members: Map<String, Value>) -> Map<String, Value> {
    let mut all: BTreeMap<String, ProjectRoles> = BTreeMap::new();
    let mut unread = Map::new();
    for (user, roles) in members {
        match serde_json::from_value::<ProjectRoles>(roles.clone()) {
            Ok(roles) => all.entry(member::key(&user)).or_default().extend(roles),
            Err(_) => drop(unread.insert(user, roles)),
        }
    }
    let read = all.into_iter().map(|(user, roles)| (user, json!(fewest_roles(&roles))));
    read.chain(unread).collect()
}

/// Most bytes of the members of one document, as JSON: below what one fact takes.
const MEMBERS_BYTES_MAX: usize = 768 * 1024;

/// Why members cannot be kept.
fn unkept(members: &Map<String, Value>) -> Option<String> {
    if json!(members).to_string().len() > MEMBERS_BYTES_MAX {
        return Some(format!(
            "the members have more than {MEMBERS_BYTES_MAX} bytes; name fewer, or roles that give several"
        ));
    }
    let roles = |roles: &Value| serde_json::from_value::<ProjectRoles>(roles.clone()).unwrap_or_default();
    let all = members.iter().map(|(user, named)| (user.clone(), roles(named)));
    project_member::plain(all).err().map(|refused: Refused| refused.to_string())
}

/// What the state has against a settings document.
fn of_settings(
    ground: &Ground<'_>,
    state: &Project,
    key: &Key,
    name: &str,
    wanted: &Value,
) -> Option<Problem> {
    let problem = |code, path: String, text: &str| Problem::of(code, None, key, text).at(path);
    let old = state.settings.get(name);
    if is_provider(name) {
        let address = old.and_then(|old| old.document.get("base_url"));
        let moves = old.is_some_and(|old| old.has_secret) && address != wanted.get("base_url");
        // Else whoever may apply could have the key sent to an address of theirs.
        return moves.then(|| {
            let text = "the provider's key is kept for another address";
            problem(Code::Invalid, format!("settings.{name}.base_url"), text)
                .hint("set address and key together with `meshagent llm provider set`")
        });
    }
    let path = || format!("settings.{name}");
    if name == ROOM_ROLES && ground.asked.room_roles {
        let text = "another document, room-roles/default, says them too";
        return Some(problem(Code::Duplicate, path(), text).hint("leave one of the two out"));
    }
    if name == ROOM_ROLES && state.room_roles.is_some() {
        let text = "they are a resource of their own here, room-roles/default";
        return Some(problem(Code::Invalid, path(), text).hint("leave them out here, or delete that first"));
    }
    None
}
