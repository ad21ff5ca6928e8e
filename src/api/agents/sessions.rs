//! The runs of managed agents, as those of the rooms in which they live.

use crate::api::auth::{Access, InProject};
use crate::api::paging::Paging;
use crate::api::route::Route;
use crate::api::sessions::page;
use crate::api::{Api, Problem};
use crate::id::ManagedAgentId;
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::Method;
use axum::routing::get;
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

pub(super) fn routes() -> Vec<Route> {
    let route =
        |path, name, summary, handler| Route::new(Method::GET, path, name, summary, Access::Account, handler);
    vec![
        route(
            "/accounts/projects/{project_id}/agents/sessions",
            "list_agents_sessions",
            "Runs of managed agents, newest first",
            get(list),
        ),
        route(
            "/accounts/projects/{project_id}/agents/sessions/active",
            "list_active_agents_sessions",
            "Managed agents that run now",
            get(active),
        ),
        route(
            "/accounts/projects/{project_id}/agents/{agent}/sessions",
            "list_agent_sessions",
            "Runs of one managed agent, newest first",
            get(of_agent),
        ),
    ]
}

#[derive(Debug, Default, Deserialize)]
struct Wanted {
    agent_id: Option<Uuid>,
}

async fn list(
    State(api): State<Api>,
    InProject(project): InProject,
    Query(paging): Query<Paging>,
    Query(wanted): Query<Wanted>,
) -> Result<Json<Value>, Problem> {
    let room = wanted.agent_id.map(|uuid| ManagedAgentId::new(project, uuid).room());
    let world = api.app.world();
    page(&api, project, &paging, |s| world.agent_of(s.room).is_some() && room.is_none_or(|r| r == s.room))
}

async fn active(
    State(api): State<Api>,
    InProject(project): InProject,
    Query(paging): Query<Paging>,
) -> Result<Json<Value>, Problem> {
    let world = api.app.world();
    page(&api, project, &paging, |s| s.is_active() && world.agent_of(s.room).is_some())
}

async fn of_agent(
    State(api): State<Api>,
    InProject(project): InProject,
    Path((_, agent)): Path<(String, String)>,
    Query(paging): Query<Paging>,
) -> Result<Json<Value>, Problem> {
    let (id, _) = api.app.agent_named(project, &agent)?;
    page(&api, project, &paging, |s| s.room == id.room())
}
