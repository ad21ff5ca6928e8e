//! Roles of users in rooms (REST reference §5.3). What a role may do is the settings document `room-roles`.

use super::auth::{Access, Caller, InProject};
use super::body::Body;
use super::paging::Paging;
use super::route::Route;
use super::{Api, Problem};
use crate::domain::room::Room;
use crate::id::{ProjectId, RoomId};
use crate::spec::RoomRole;
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
        route(Method::GET, POLICY, "get_policy", "Roles of users in a room", get(policy)),
        route(
            Method::POST,
            "/accounts/projects/{project_id}/iam/{resource_type}/{resource_id}/policy:grant",
            "grant_roles",
            "Give a user roles in a room, in place of those it had",
            post(grant),
        )
        .takes::<GrantBody>(),
        route(
            Method::POST,
            "/accounts/projects/{project_id}/iam/{resource_type}/{resource_id}/policy:revoke",
            "revoke_roles",
            "Take all roles in a room from a user",
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
    /// `guest`, `viewer`, `operator`, `developer`, `admin`.
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
                "roles in rooms are given to users here, not to a subject of type `{}`",
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

fn resource(
    api: &Api,
    project: ProjectId,
    caller: &Caller,
    kind: &str,
    id: &str,
) -> Result<(RoomId, Room), Problem> {
    if kind != "room" {
        return Err(Problem::not_found(format!(
            "this server keeps roles in rooms, none for a resource of type `{}`",
            kind.chars().take(32).collect::<String>()
        )));
    }
    super::rooms::find(api, project, caller, id)
}

fn wire_room(id: RoomId, room: &Room) -> Value {
    json!({"type": "room", "id": id.to_string(), "name": room.name, "metadata": room.metadata,
        "annotations": room.annotations})
}

async fn policy(
    State(api): State<Api>,
    caller: Caller,
    InProject(project): InProject,
    Path((_, kind, id)): Path<(String, String, String)>,
    Query(paging): Query<Paging>,
) -> Result<Json<Value>, Problem> {
    let (id, room) = resource(&api, project, &caller, &kind, &id)?;
    let page = paging.cut(room.users.iter().collect())?;
    let grants: Vec<Value> = page
        .items
        .iter()
        .map(|(user, roles)| {
            let subject = json!({"type": "user", "id": user, "name": user, "email": user});
            json!({"resource": wire_room(id, &room), "subject": subject, "direct_roles": roles})
        })
        .collect();
    Ok(Json(json!({
        "resource": wire_room(id, &room), "access_grants": grants, "continuation_token": page.next,
    })))
}

async fn grant(
    State(api): State<Api>,
    caller: Caller,
    InProject(project): InProject,
    Path((_, kind, id)): Path<(String, String, String)>,
    Body(body): Body<GrantBody>,
) -> Result<Json<Value>, Problem> {
    let (id, _) = resource(&api, project, &caller, &kind, &id)?;
    let roles = body.roles.iter().map(role).collect::<Result<Vec<_>, _>>()?;
    api.app.grant_room_roles(&caller.actor(), id, &body.subject.user()?, roles).await?;
    Ok(Json(json!({"ok": true})))
}

async fn revoke(
    State(api): State<Api>,
    caller: Caller,
    InProject(project): InProject,
    Path((_, kind, id)): Path<(String, String, String)>,
    Body(body): Body<RevokeBody>,
) -> Result<Json<Value>, Problem> {
    let (id, _) = resource(&api, project, &caller, &kind, &id)?;
    api.app.revoke_room_roles(&caller.actor(), id, &body.subject.user()?).await?;
    Ok(Json(json!({"ok": true})))
}
