//! People of a project and their roles in it (REST reference §5.2). There is no directory of users: a person is an address.

use super::auth::{Access, Caller, InProject};
use super::body::Body;
use super::paging::Paging;
use super::route::Route;
use super::{Api, Problem};
use crate::app::project_members::{How, roles, state};
use crate::domain::member;
use crate::id::ProjectId;
use crate::projection::World;
use crate::spec::{ProjectRole, ProjectRoles, all_roles, nearest, roles_imply};
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::Method;
use axum::routing::{delete, get, post, put};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// Roles that this server cannot serve at all.
const NOT_SERVED: [ProjectRole; 1] = [ProjectRole::BillingManager];
/// Letters of a caller's text that are repeated to it.
const SHOWN_CHARS: usize = 64;

pub(super) fn routes() -> Vec<Route> {
    const ALL: &str = "/accounts/projects/{project_id}/users";
    const ONE: &str = "/accounts/projects/{project_id}/users/{user_id}";
    let route = |method, path, name, summary, handler| {
        Route::new(method, path, name, summary, Access::Account, handler)
    };
    vec![
        route(Method::GET, ALL, "list_project_users", "Members of a project with their roles", get(list)),
        route(
            Method::POST,
            ALL,
            "add_project_user",
            "Give somebody roles in a project, in place of those they had",
            post(add),
        )
        .takes::<NewMember>(),
        route(Method::PUT, ONE, "update_project_user", "Set the roles of a member", put(update))
            .takes::<MemberUpdate>(),
        route(
            Method::DELETE,
            ONE,
            "remove_project_user",
            "Take all roles in the project from a member",
            delete(remove),
        ),
        route(
            Method::GET,
            "/accounts/projects/{project_id}/role",
            "project_role",
            "The caller's roles in the project, and what follows from them",
            get(own_role),
        ),
    ]
}

#[derive(Debug, Deserialize, JsonSchema)]
struct NewMember {
    /// The address of a person.
    user_id: String,
    roles: Vec<String>,
    #[serde(default)]
    project_id: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct MemberUpdate {
    roles: Vec<String>,
}

/// Reads roles in projects.
pub(super) fn read_roles(texts: &[String]) -> Result<ProjectRoles, Problem> {
    texts.iter().map(|text| role(text)).collect()
}

/// Reads a role in projects.
fn role(text: &str) -> Result<ProjectRole, Problem> {
    ProjectRole::parse(text).ok_or_else(|| {
        let near = nearest(text, ProjectRole::ALL.iter().map(|role| role.as_str()));
        let hint = near.map(|near| format!("did you mean `{near}`?"));
        let hint = hint.unwrap_or_else(|| "there are member, developer, admin and finer ones".to_owned());
        let shown: String = text.chars().take(SHOWN_CHARS).collect();
        Problem::bad_request(format!("there is no role `{shown}` in projects; {hint}"))
    })
}

/// A person, as far as this server knows one.
pub(super) fn profile(user: &str) -> Value {
    json!({"id": user, "email": user, "first_name": null, "last_name": null, "metadata": {}, "annotations": {}})
}

/// For each role whether these give it; of what this server has, all but those that it cannot serve.
pub(super) fn capabilities(roles: &ProjectRoles, asked: &[ProjectRole]) -> Map<String, Value> {
    let has = |role: ProjectRole| roles_imply(roles, role) && !NOT_SERVED.contains(&role);
    asked.iter().map(|role| (role.as_str().to_owned(), json!(has(*role)))).collect()
}

/// The roles of a caller in a project. Service accounts may do everything in theirs, participants nothing outside of rooms.
pub(super) fn roles_of(caller: &Caller) -> ProjectRoles {
    match caller {
        Caller::Account { .. } => ProjectRoles::from([ProjectRole::Admin]),
        Caller::User(user) => user.roles.clone(),
        Caller::Participant(_) => ProjectRoles::new(),
    }
}

/// The address of a person in a path or a body, by which `me` is the caller.
pub(super) fn address(caller: &Caller, text: &str) -> Result<String, Problem> {
    match (text, caller.user()) {
        ("me", Some(user)) => Ok(user.name.clone()),
        ("me", None) => Err(Problem::bad_request("this credential is no person's; name one by its address")),
        (text, _) => Ok(member::key(text)),
    }
}

async fn list(
    State(api): State<Api>,
    InProject(project): InProject,
    Query(paging): Query<Paging>,
) -> Result<Json<Value>, Problem> {
    let world = api.app.world();
    let members = state(&world, project).into_iter().flat_map(|state| state.members.iter());
    let page = paging.cut(members.filter(|(user, _)| paging.wants(user)).collect())?;
    let users: Vec<Value> = page
        .items
        .iter()
        .map(|(user, roles)| json!({"user": profile(user), "direct_roles": all_roles(roles)}))
        .collect();
    Ok(Json(json!({"users": users, "total": page.total, "continuation_token": page.next})))
}

/// Sets the roles of a person; only somebody who manages the project gets here.
pub(super) async fn set(
    api: &Api,
    caller: &Caller,
    project: ProjectId,
    (user, roles, how): (&str, ProjectRoles, How),
) -> Result<Json<Value>, Problem> {
    let user = address(caller, user)?;
    api.app.set_member(&caller.actor(), project, &user, roles, (how, caller.is_operator())).await?;
    Ok(Json(json!({"ok": true})))
}

pub(super) async fn unset(
    api: &Api,
    caller: &Caller,
    project: ProjectId,
    user: &str,
) -> Result<Json<Value>, Problem> {
    let user = address(caller, user)?;
    api.app.remove_member(&caller.actor(), project, &user, caller.is_operator()).await?;
    Ok(Json(json!({"ok": true})))
}

async fn add(
    State(api): State<Api>,
    caller: Caller,
    InProject(project): InProject,
    Body(body): Body<NewMember>,
) -> Result<Json<Value>, Problem> {
    if let Some(other) = body.project_id.filter(|id| id.parse() != Ok(project)) {
        let shown: String = other.chars().take(SHOWN_CHARS).collect();
        let text = format!("`project_id` is `{shown}`, but the request is about {project}; leave it out");
        return Err(Problem::bad_request(text));
    }
    set(&api, &caller, project, (&body.user_id, read_roles(&body.roles)?, How::Set)).await
}

async fn update(
    State(api): State<Api>,
    caller: Caller,
    InProject(project): InProject,
    Path((_, user)): Path<(String, String)>,
    Body(body): Body<MemberUpdate>,
) -> Result<Json<Value>, Problem> {
    set(&api, &caller, project, (&user, read_roles(&body.roles)?, How::Change)).await
}

async fn remove(
    State(api): State<Api>,
    caller: Caller,
    InProject(project): InProject,
    Path((_, user)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    unset(&api, &caller, project, &user).await
}

async fn own_role(caller: Caller, InProject(project): InProject) -> Json<Value> {
    let roles = roles_of(&caller);
    let role = [ProjectRole::Admin, ProjectRole::Developer, ProjectRole::Member]
        .into_iter()
        .find(|role| roles_imply(&roles, *role));
    let kind = if caller.user().is_some() { "user" } else { "service_account" };
    Json(json!({
        "project_id": project.to_string(), "role": role,
        "subject": {"type": kind, "id": caller.name(), "name": caller.name()},
        "project_roles": all_roles(&roles), "capabilities": capabilities(&roles, ProjectRole::ALL),
    }))
}

/// What somebody other than the caller was given.
pub(super) fn roles_of_user(world: &World, project: ProjectId, user: &str) -> ProjectRoles {
    roles(world, project, user)
}
