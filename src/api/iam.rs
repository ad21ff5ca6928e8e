//! Roles of people in the project and in its rooms (REST reference §5.3). What a role may do in rooms is the settings document
//! `room-roles`.

use super::auth::{Access, Caller, InProject};
use super::body::Body;
use super::paging::Paging;
use super::route::Route;
use super::{Api, Problem};
use crate::app::project_members::{How, state};
use crate::domain::room::Room;
use crate::id::{ProjectId, RoomId};
use crate::projection::World;
use crate::spec::{ProjectRole, RoomRole, all_roles};
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::Method;
use axum::routing::{get, post};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

pub(super) fn routes() -> Vec<Route> {
    const POLICY: &str = "/accounts/projects/{project_id}/iam/{resource_type}/{resource_id}/policy";
    let route = |method, path, name, summary, handler| {
        Route::new(method, path, name, summary, Access::Account, handler)
    };
    vec![
        route(Method::GET, POLICY, "get_policy", "Roles of people in the project or in a room", get(policy)),
        route(
            Method::POST,
            "/accounts/projects/{project_id}/iam/{resource_type}/{resource_id}/policy:grant",
            "grant_roles",
            "Give a person roles in the project or in a room, in place of those they had",
            post(grant),
        )
        .takes::<GrantBody>(),
        route(
            Method::POST,
            "/accounts/projects/{project_id}/iam/{resource_type}/{resource_id}/policy:revoke",
            "revoke_roles",
            "Take all roles in the project or in a room from a person",
            post(revoke),
        )
        .takes::<RevokeBody>(),
    ]
}

#[derive(Debug, Deserialize, JsonSchema)]
struct Subject {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    email: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct GrantBody {
    subject: Subject,
    /// In a room `guest`, `viewer`, `operator`, `developer`, `admin`; in the project `member`, `developer`, `admin` and finer ones.
    roles: Vec<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct RevokeBody {
    subject: Subject,
}

impl Subject {
    /// The user's name: there is no directory of users, so that the address is the id.
    fn user(self) -> Result<String, Problem> {
        if self.kind != "user" {
            return Err(Problem::bad_request(format!(
                "roles are given to users here, not to a subject of type `{}`",
                self.kind.chars().take(32).collect::<String>()
            )));
        }
        let named = self.email.or(self.id).filter(|name| !name.trim().is_empty() && name != "me");
        named.ok_or_else(|| Problem::bad_request("name the user by its address, as `id` or `email`"))
    }
}

fn role(text: &String) -> Result<RoomRole, Problem> {
    RoomRole::parse(text).ok_or_else(|| {
        let all: Vec<&str> = RoomRole::ALL.into_iter().map(RoomRole::as_str).collect();
        let shown: String = text.chars().take(32).collect();
        Problem::bad_request(format!(
            "there is no role `{shown}` in rooms here; there are {}",
            all.join(", ")
        ))
    })
}

/// What roles are in.
enum Place {
    Project,
    Room(RoomId, Box<Room>),
}

/// The resource of a path, if the caller may say who has roles in it.
fn place(api: &Api, project: ProjectId, caller: &Caller, kind: &str, id: &str) -> Result<Place, Problem> {
    let shown = |text: &str| text.chars().take(64).collect::<String>();
    match kind {
        "project" => {
            if let Some(user) = caller.user() {
                user.must(ProjectRole::Admin)?;
            }
            let world = api.app.world();
            let known = state(&world, project);
            let is_own = id.parse() == Ok(project) || known.is_some_and(|state| state.key == id);
            if is_own {
                Ok(Place::Project)
            } else {
                Err(Problem::not_found(format!("`{}` is not the project of this path, {project}", shown(id))))
            }
        }
        "room" => {
            if let Some(user) = caller.user() {
                let room = api.app.world().find_room(project, id).map(|(room, _)| room);
                user.must_in(api, room, RoomRole::Admin, ProjectRole::RoomManager)?;
            }
            let (id, room) = super::rooms::find(api, project, caller, id)?;
            Ok(Place::Room(id, Box::new(room)))
        }
        other => Err(Problem::not_found(format!(
            "this server keeps roles in the project and in rooms, none for a resource of type `{}`",
            shown(other)
        ))),
    }
}

pub(super) fn wire_room(id: RoomId, room: &Room) -> Value {
    json!({"type": "room", "id": id.to_string(), "name": room.name, "metadata": room.metadata,
        "annotations": room.annotations})
}

pub(super) fn wire_project(world: &World, project: ProjectId) -> Value {
    let state = state(world, project);
    json!({"type": "project", "id": project.to_string(), "name": state.map(|state| state.name.as_str()),
        "metadata": {}, "annotations": state.map(|state| state.annotations.clone()).unwrap_or_default()})
}

/// A person as a subject.
pub(super) fn subject(user: &str) -> Value {
    json!({"type": "user", "id": user, "name": user, "email": user})
}

async fn policy(
    State(api): State<Api>,
    caller: Caller,
    InProject(project): InProject,
    Path((_, kind, id)): Path<(String, String, String)>,
    Query(paging): Query<Paging>,
) -> Result<Json<Value>, Problem> {
    let world = api.app.world();
    let (resource, all): (Value, Vec<(&String, Value)>) = match &place(&api, project, &caller, &kind, &id)? {
        Place::Project => {
            let members = state(&world, project).into_iter().flat_map(|state| state.members.iter());
            let members = members.map(|(user, roles)| (user, json!(all_roles(roles))));
            (wire_project(&world, project), members.collect())
        }
        Place::Room(id, room) => {
            let users = world.room(*id).into_iter().flat_map(|room| room.users.iter());
            (wire_room(*id, room), users.map(|(user, roles)| (user, json!(roles))).collect())
        }
    };
    let page = paging.cut(all)?;
    let grants: Vec<Value> = page
        .items
        .iter()
        .map(|(user, roles)| json!({"resource": resource, "subject": subject(user), "direct_roles": roles}))
        .collect();
    Ok(Json(json!({"resource": resource, "access_grants": grants, "continuation_token": page.next})))
}

async fn grant(
    State(api): State<Api>,
    caller: Caller,
    InProject(project): InProject,
    Path((_, kind, id)): Path<(String, String, String)>,
    Body(body): Body<GrantBody>,
) -> Result<Json<Value>, Problem> {
    match place(&api, project, &caller, &kind, &id)? {
        Place::Project => {
            let roles = super::members::read_roles(&body.roles)?;
            super::members::set(&api, &caller, project, (&body.subject.user()?, roles, How::Set)).await
        }
        Place::Room(id, _) => {
            let roles = body.roles.iter().map(role).collect::<Result<Vec<_>, _>>()?;
            api.app.grant_room_roles(&caller.actor(), id, &body.subject.user()?, roles).await?;
            Ok(Json(json!({"ok": true})))
        }
    }
}

async fn revoke(
    State(api): State<Api>,
    caller: Caller,
    InProject(project): InProject,
    Path((_, kind, id)): Path<(String, String, String)>,
    Body(body): Body<RevokeBody>,
) -> Result<Json<Value>, Problem> {
    match place(&api, project, &caller, &kind, &id)? {
        Place::Project => super::members::unset(&api, &caller, project, &body.subject.user()?).await,
        Place::Room(id, _) => {
            api.app.revoke_room_roles(&caller.actor(), id, &body.subject.user()?).await?;
            Ok(Json(json!({"ok": true})))
        }
    }
}
