//! Routes: what answers at a domain (REST reference §5.10). The listener that serves them is another edge.

use super::auth::{Access, Caller, InProject};
use super::body::{self, Body};
use super::paging::Paging;
use super::route::Route;
use super::{Api, Problem};
use crate::app::routes::shown;
use crate::domain::route::{self, canonical};
use crate::id::{ProjectId, RoomId};
use crate::projection::World;
use crate::spec;
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::Method;
use axum::routing::{delete, get, post, put};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

pub(super) fn routes() -> Vec<Route> {
    const ALL: &str = "/accounts/projects/{project_id}/routes";
    const ONE: &str = "/accounts/projects/{project_id}/routes/{domain}";
    let row = |method, path, name, summary, handler| {
        Route::new(method, path, name, summary, Access::Account, handler)
    };
    vec![
        row(Method::GET, ALL, "list_routes", "Routes of a project", get(list)),
        row(Method::POST, ALL, "create_route", "Make a route", post(create)).takes::<RouteBody>(),
        row(Method::GET, ONE, "get_route", "One route", get(one)),
        row(Method::PUT, ONE, "update_route", "Replace a route; its domain stays", put(update))
            .takes::<RouteBody>(),
        row(Method::DELETE, ONE, "delete_route", "Delete a route", delete(remove)),
        row(
            Method::GET,
            "/accounts/projects/{project_id}/rooms/{room}/routes",
            "list_room_routes",
            "Routes to a room",
            get(of_room),
        ),
        row(
            Method::GET,
            "/accounts/projects/{project_id}/agents/{agent}/routes",
            "list_agent_routes",
            "Routes to the files of a managed agent",
            get(of_agent),
        ),
    ]
}

/// `spec` is a `Route` document. The older flat form (`domain`, `room_name`, `port`, `annotations`) is read too.
#[derive(Debug, Deserialize, JsonSchema)]
struct RouteBody {
    #[serde(default)]
    spec: Option<Value>,
    #[serde(flatten)]
    flat: Map<String, Value>,
}

impl RouteBody {
    fn read(self, domain: Option<&str>) -> Result<spec::Route, Problem> {
        let mut value = self.spec.unwrap_or(Value::Object(self.flat));
        if let (Some(domain), Some(object)) = (domain, value.as_object_mut()) {
            object.entry("domain").or_insert_with(|| json!(domain));
        }
        let spec: spec::Route = body::spec(value)?;
        if domain.is_some_and(|domain| canonical(domain) != canonical(&spec.domain)) {
            return Err(Problem::bad_request(
                "the domain of a route cannot change; make a route for the other domain and delete this one",
            ));
        }
        Ok(spec)
    }
}

fn wire(world: &World, route: &route::Route) -> Value {
    json!({"domain": route.domain(), "spec": shown(world, route)})
}

fn page(
    world: &World,
    project: ProjectId,
    room: Option<RoomId>,
    paging: &Paging,
) -> Result<Json<Value>, Problem> {
    let mut all: Vec<&route::Route> = world
        .routes(project)
        .map(|(_, route)| route)
        .filter(|route| room.is_none_or(|room| room == route.backend.room()))
        .filter(|route| paging.wants(&route.domain()))
        .collect();
    all.sort_by_cached_key(|route| route.domain());
    let page = paging.cut(all)?;
    let items: Vec<Value> = page.items.into_iter().map(|route| wire(world, route)).collect();
    Ok(Json(json!({"routes": items, "total": page.total, "continuation_token": page.next})))
}

async fn list(
    State(api): State<Api>,
    InProject(project): InProject,
    Query(paging): Query<Paging>,
) -> Result<Json<Value>, Problem> {
    page(&api.app.world(), project, None, &paging)
}

async fn of_room(
    State(api): State<Api>,
    caller: Caller,
    InProject(project): InProject,
    Path((_, room)): Path<(String, String)>,
    Query(paging): Query<Paging>,
) -> Result<Json<Value>, Problem> {
    let (room, _) = super::rooms::find(&api, project, &caller, &room)?;
    page(&api.app.world(), project, Some(room), &paging)
}

async fn of_agent(
    State(api): State<Api>,
    InProject(project): InProject,
    Path((_, agent)): Path<(String, String)>,
    Query(paging): Query<Paging>,
) -> Result<Json<Value>, Problem> {
    let (agent, _) = api.app.agent_named(project, &agent)?;
    page(&api.app.world(), project, Some(agent.room()), &paging)
}

async fn create(
    State(api): State<Api>,
    caller: Caller,
    InProject(project): InProject,
    Body(body): Body<RouteBody>,
) -> Result<Json<Value>, Problem> {
    api.app.create_route(&caller.actor(), project, body.read(None)?).await?;
    Ok(Json(json!({})))
}

async fn one(
    State(api): State<Api>,
    InProject(project): InProject,
    Path((_, domain)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let (_, route) = api.app.route_named(project, &domain)?;
    Ok(Json(json!({"route": wire(&api.app.world(), &route)})))
}

async fn update(
    State(api): State<Api>,
    caller: Caller,
    InProject(project): InProject,
    Path((_, domain)): Path<(String, String)>,
    Body(body): Body<RouteBody>,
) -> Result<Json<Value>, Problem> {
    let (id, route) = api.app.route_named(project, &domain)?;
    api.app.update_route(&caller.actor(), id, body.read(Some(&route.spec.domain))?).await?;
    Ok(Json(json!({})))
}

async fn remove(
    State(api): State<Api>,
    caller: Caller,
    InProject(project): InProject,
    Path((_, domain)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let (id, _) = api.app.route_named(project, &domain)?;
    api.app.delete_route(&caller.actor(), id).await?;
    Ok(Json(json!({})))
}
