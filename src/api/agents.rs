//! Managed agents: agents that this server runs, and the way to talk to them.

mod connect;
mod sessions;

use super::auth::{Access, Caller, InProject};
use super::body::{self, Body};
use super::paging::Paging;
use super::roles::hold;
use super::route::Route;
use super::{Api, Problem};
use crate::domain::managed_agent::ManagedAgent;
use crate::id::ManagedAgentId;
use crate::spec;
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::Method;
use axum::routing::{delete, get, post, put};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

pub(super) fn routes() -> Vec<Route> {
    const ALL: &str = "/accounts/projects/{project_id}/agents";
    const ONE: &str = "/accounts/projects/{project_id}/agents/{agent}";
    let route = |method, path, name, summary, handler| {
        Route::new(method, path, name, summary, Access::Account, handler)
    };
    let mut routes = vec![
        route(Method::GET, ALL, "list_agents", "Managed agents of a project", get(list)),
        route(Method::POST, ALL, "create_agent", "Make a managed agent", post(create)).takes::<NewAgent>(),
        route(Method::GET, ONE, "get_agent", "A managed agent by its name or id", get(one)),
        route(Method::PUT, ONE, "update_agent", "Change a managed agent", put(update)).takes::<Changed>(),
        route(Method::DELETE, ONE, "delete_agent", "Delete a managed agent with its threads", delete(remove)),
    ];
    routes.push(connect::route());
    routes.extend(sessions::routes());
    routes
}

/// The document is read leniently, as the public clients write it; its shape is that of kind `ManagedAgent`.
#[derive(Debug, Deserialize, JsonSchema)]
struct NewAgent {
    #[schemars(with = "spec::ManagedAgent")]
    configuration: Value,
    #[serde(default)]
    if_not_exists: bool,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct Changed {
    #[schemars(with = "spec::ManagedAgent")]
    configuration: Value,
}

fn wire(id: ManagedAgentId, agent: &ManagedAgent) -> Value {
    let configuration = spec::ManagedAgent { id: Some(id.to_string()), ..agent.spec.clone() };
    json!({"id": id.to_string(), "name": agent.spec.metadata.name, "configuration": configuration})
}

async fn list(
    State(api): State<Api>,
    InProject(project): InProject,
    Query(paging): Query<Paging>,
) -> Result<Json<Value>, Problem> {
    let world = api.app.world();
    let mut all: Vec<_> =
        world.agents(project).filter(|(_, agent)| paging.wants(&agent.spec.metadata.name)).collect();
    all.sort_by(|a, b| a.1.spec.metadata.name.cmp(&b.1.spec.metadata.name));
    let page = paging.cut(all)?;
    let items: Vec<Value> = page.items.iter().map(|(id, agent)| wire(*id, agent)).collect();
    Ok(Json(json!({"agents": items, "total": page.total, "continuation_token": page.next})))
}

async fn create(
    State(api): State<Api>,
    caller: Caller,
    InProject(project): InProject,
    Body(body): Body<NewAgent>,
) -> Result<Json<Value>, Problem> {
    let spec: spec::ManagedAgent = hold(&caller, body::spec(body.configuration)?)?;
    let id = api.app.create_agent(&caller.actor(), project, spec, body.if_not_exists).await?;
    let (id, agent) = api.app.agent_named(project, &id.to_string())?;
    Ok(Json(wire(id, &agent)))
}

async fn one(
    State(api): State<Api>,
    InProject(project): InProject,
    Path((_, agent)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let (id, agent) = api.app.agent_named(project, &agent)?;
    Ok(Json(wire(id, &agent)))
}

async fn update(
    State(api): State<Api>,
    caller: Caller,
    InProject(project): InProject,
    Path((_, agent)): Path<(String, String)>,
    Body(body): Body<Changed>,
) -> Result<Json<Value>, Problem> {
    let (id, _) = api.app.agent_named(project, &agent)?;
    let spec: spec::ManagedAgent = hold(&caller, body::spec(body.configuration)?)?;
    api.app.update_agent(&caller.actor(), id, spec).await?;
    Ok(Json(json!({})))
}

async fn remove(
    State(api): State<Api>,
    caller: Caller,
    InProject(project): InProject,
    Path((_, agent)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let (id, _) = api.app.agent_named(project, &agent)?;
    api.app.delete_agent(&caller.actor(), id).await?;
    Ok(Json(json!({})))
}
