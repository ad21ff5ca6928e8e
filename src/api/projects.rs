//! Projects, and who the caller is.

use super::auth::{Access, Caller, InProject};
use super::body::Body;
use super::route::Route;
use super::{Api, Problem};
use crate::app::NewProject;
use crate::domain::account::ServiceAccount;
use crate::id::{ProjectId, ServiceAccountId};
use crate::projection::{ProjectView, World};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::Method;
use axum::routing::get;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

pub(super) fn routes() -> Vec<Route> {
    let route = Route::new;
    vec![
        route(
            Method::GET,
            "/accounts/whoami",
            "whoami",
            "Who the credential stands for",
            Access::SignedIn,
            get(whoami),
        ),
        route(
            Method::GET,
            "/accounts/profiles/{user_id}",
            "get_profile",
            "The caller's profile (`me`)",
            Access::SignedIn,
            get(profile),
        ),
        route(
            Method::GET,
            "/accounts/projects",
            "list_projects",
            "Projects that the caller may use",
            Access::SignedIn,
            get(list),
        ),
        route(
            Method::POST,
            "/accounts/projects",
            "create_project",
            "Make a project",
            Access::Operator,
            axum::routing::post(create),
        )
        .takes::<NewProjectBody>(),
        route(
            Method::GET,
            "/accounts/projects/by-key/{key}",
            "get_project_by_key",
            "A project by its short name",
            Access::SignedIn,
            get(by_key),
        ),
        route(
            Method::GET,
            "/accounts/projects/{project_id}",
            "get_project",
            "One project",
            Access::Member,
            get(one),
        ),
        route(
            Method::GET,
            "/accounts/projects/{project_id}/status",
            "project_status",
            "Whether the project is enabled",
            Access::Member,
            get(status),
        ),
    ]
}

#[derive(Debug, Deserialize, JsonSchema)]
struct NewProjectBody {
    name: String,
    #[serde(default)]
    key: Option<String>,
}

async fn whoami(State(api): State<Api>, caller: Caller) -> Json<Value> {
    let world = api.app.world();
    Json(match &caller {
        Caller::Account { id, .. } => {
            let email = email(&world, *id);
            let account = world.account(*id).map(|a| super::accounts::wire(&world, *id, a));
            json!({"id": id.to_string(), "email": email, "type": "service_account", "service_account": account})
        }
        Caller::Participant(bearer) => {
            json!({"id": bearer.name, "email": bearer.name, "type": "user"})
        }
        Caller::User(user) => {
            let profile = super::members::profile(&user.name);
            json!({"id": user.name, "email": user.name, "type": "user", "user": profile})
        }
    })
}

async fn profile(
    State(api): State<Api>,
    caller: Caller,
    Path(user): Path<String>,
) -> Result<Json<Value>, Problem> {
    let world = api.app.world();
    let (id, email) = match &caller {
        Caller::Account { id, .. } => (id.to_string(), email(&world, *id)),
        Caller::Participant(bearer) => (bearer.name.clone(), bearer.name.clone()),
        Caller::User(user) => (user.name.clone(), user.name.clone()),
    };
    if user != "me" && user != id {
        return Err(Problem::not_found(format!(
            "no profile `{user}` here; this server keeps the caller's own, `me`"
        )));
    }
    Ok(Json(json!({"id": id, "email": email, "first_name": caller.name(), "last_name": null,
        "metadata": {}, "annotations": {}})))
}

/// `<account key>@service.<project key>.localhost`, in the form of the hosted service.
pub(super) fn email(world: &World, id: ServiceAccountId) -> String {
    let account: Option<&ServiceAccount> = world.account(id);
    let key = account.map_or("unknown", |a| a.profile.key.as_str());
    let project = world.project(id.project()).and_then(|v| v.project.as_ref());
    let project = project.map_or("unknown", |p| p.state.key.as_str());
    format!("{key}@service.{project}.localhost")
}

fn wire(id: ProjectId, view: &ProjectView) -> Value {
    let project = view.project.as_ref().map(|slot| &slot.state);
    json!({
        "id": id.to_string(),
        "name": project.map(|p| p.name.clone()),
        "project_key": project.map(|p| p.key.clone()),
        "owner_user_id": null,
        "created_at": project.map(|p| p.created_at),
    })
}

async fn list(State(api): State<Api>, caller: Caller) -> Json<Value> {
    let world = api.app.world();
    let seen = world.projects().filter(|(id, _)| caller.sees_project(*id));
    let projects: Vec<Value> = seen.map(|(id, view)| wire(id, view)).collect();
    Json(json!({"projects": projects}))
}

async fn create(
    State(api): State<Api>,
    caller: Caller,
    Body(body): Body<NewProjectBody>,
) -> Result<Json<Value>, Problem> {
    let new = NewProject { id: None, name: body.name, key: body.key };
    let (id, _) = api.app.create_project(&caller.actor(), new).await?;
    find(&api, id)
}

async fn one(State(api): State<Api>, InProject(id): InProject) -> Result<Json<Value>, Problem> {
    find(&api, id)
}

async fn by_key(
    State(api): State<Api>,
    caller: Caller,
    Path(key): Path<String>,
) -> Result<Json<Value>, Problem> {
    let world = api.app.world();
    let named = |view: &ProjectView| view.project.as_ref().is_some_and(|p| p.state.key == key);
    let found = world.projects().find(|(id, view)| named(view) && caller.sees_project(*id));
    found.map(|(id, view)| Json(wire(id, view))).ok_or_else(|| {
        Problem::not_found(format!("no project with key `{key}` that this credential may use"))
    })
}

async fn status(State(api): State<Api>, InProject(id): InProject) -> Result<Json<Value>, Problem> {
    find(&api, id).map(|_| Json(json!({"enabled": true})))
}

fn find(api: &Api, id: ProjectId) -> Result<Json<Value>, Problem> {
    let world = api.app.world();
    let view = world.project(id).filter(|v| v.project.is_some());
    view.map(|v| Json(wire(id, v)))
        .ok_or_else(|| Problem::not_found(format!("no project `{id}` here; check MESHAGENT_PROJECT_ID")))
}
