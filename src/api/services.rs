//! Services of a project and of a room. Both have the same routes under another prefix.

use super::auth::{Access, Caller, InProject};
use super::body::{self, Body};
use super::roles::hold;
use super::route::Route;
use super::{Api, Problem};
use crate::app::Error;
use crate::domain::names::Kind;
use crate::domain::service::Service;
use crate::id::{ProjectId, RoomId, ServiceId};
use crate::projection::World;
use crate::spec;
use axum::Json;
use axum::extract::{FromRequestParts, RawPathParams, State};
use axum::http::Method;
use axum::http::request::Parts;
use axum::routing::{delete, get, post, put};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use uuid::Uuid;

pub(super) fn routes() -> Vec<Route> {
    let route = |method, path, name, summary, handler| {
        Route::new(method, path, name, summary, Access::Account, handler)
    };
    vec![
        route(
            Method::GET,
            "/accounts/projects/{project_id}/services",
            "list_services",
            "Services of a project",
            get(list),
        ),
        route(
            Method::POST,
            "/accounts/projects/{project_id}/services",
            "create_service",
            "Make a project service from a spec or a template",
            post(create),
        )
        .takes::<spec::Service>(),
        route(
            Method::GET,
            "/accounts/projects/{project_id}/services/{service}",
            "get_service",
            "One project service",
            get(one),
        ),
        route(
            Method::GET,
            "/accounts/projects/{project_id}/services/by-name/{service}",
            "get_service_by_name",
            "A project service by its name",
            get(one),
        ),
        route(
            Method::PUT,
            "/accounts/projects/{project_id}/services/{service}",
            "update_service",
            "Replace a project service's spec",
            put(update),
        )
        .takes::<spec::Service>(),
        route(
            Method::DELETE,
            "/accounts/projects/{project_id}/services/{service}",
            "delete_service",
            "Delete a project service",
            delete(remove),
        ),
        route(
            Method::GET,
            "/accounts/projects/{project_id}/rooms/{room}/services",
            "list_room_services",
            "Services of a room",
            get(list),
        ),
        route(
            Method::POST,
            "/accounts/projects/{project_id}/rooms/{room}/services",
            "create_room_service",
            "Make a room service from a spec or a template",
            post(create),
        )
        .takes::<spec::Service>(),
        route(
            Method::GET,
            "/accounts/projects/{project_id}/rooms/{room}/services/{service}",
            "get_room_service",
            "One room service",
            get(one),
        ),
        route(
            Method::GET,
            "/accounts/projects/{project_id}/rooms/{room}/services/by-name/{service}",
            "get_room_service_by_name",
            "A room service by its name",
            get(one),
        ),
        route(
            Method::PUT,
            "/accounts/projects/{project_id}/rooms/{room}/services/{service}",
            "update_room_service",
            "Replace a room service's spec",
            put(update),
        )
        .takes::<spec::Service>(),
        route(
            Method::DELETE,
            "/accounts/projects/{project_id}/rooms/{room}/services/{service}",
            "delete_room_service",
            "Delete a room service",
            delete(remove),
        ),
    ]
}

/// Where a request is about: the project, the room if the path has one, the service if it has one.
#[derive(Debug)]
struct Place {
    project: ProjectId,
    room: Option<RoomId>,
    service: Option<String>,
}

impl FromRequestParts<Api> for Place {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let InProject(project) = InProject::from_request_parts(parts, api).await?;
        let caller = Caller::from_request_parts(parts, api).await?;
        let params = RawPathParams::from_request_parts(parts, api)
            .await
            .map_err(|error| Problem::bad_request(error.to_string()))?;
        let param = |name: &str| params.iter().find(|(n, _)| *n == name).map(|(_, v)| v.to_owned());
        let room = match param("room") {
            Some(text) => Some(super::rooms::find(api, project, &caller, &text)?.0),
            None => None,
        };
        Ok(Self { project, room, service: param("service") })
    }
}

impl Place {
    /// The service by its UUID, or by its name in this place.
    fn find<'w>(&self, world: &'w World) -> Result<(ServiceId, &'w Service), Problem> {
        let text = self.service.as_deref().unwrap_or_default();
        let by_id = Uuid::parse_str(text).ok();
        let uuid = by_id.or_else(|| world.named(self.project, Kind::Service, self.room, text));
        uuid.map(|uuid| ServiceId::new(self.project, uuid))
            .and_then(|id| Some((id, world.service(id)?)))
            .filter(|(_, service)| service.room == self.room)
            .ok_or_else(|| Error::no_service(text).into())
    }
}

fn wire(id: ServiceId, service: &Service) -> spec::Service {
    spec::Service { id: Some(id.to_string()), ..service.spec.clone() }
}

/// Reads a body that is a spec, or a template with values.
async fn read(api: &Api, body: Value) -> Result<spec::Service, Problem> {
    if let Some(template) = body.get("template").and_then(Value::as_str) {
        let values: BTreeMap<String, String> = match body.get("values") {
            Some(values) => body::read(values.to_string().as_bytes())?,
            None => BTreeMap::new(),
        };
        return super::templates::service(api, template, values).await;
    }
    super::body::spec(body)
}

async fn list(State(api): State<Api>, place: Place) -> Json<Value> {
    let world = api.app.world();
    let mut all: Vec<spec::Service> = world
        .services(place.project)
        .filter(|(_, s)| s.room == place.room)
        .map(|(id, s)| wire(id, s))
        .collect();
    all.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
    Json(json!({"services": all}))
}

fn answer(api: &Api, id: ServiceId) -> Result<Json<spec::Service>, Problem> {
    let world = api.app.world();
    let service = world.service(id).ok_or_else(|| Error::no_service(&id.to_string()))?;
    Ok(Json(wire(id, service)))
}

async fn create(
    State(api): State<Api>,
    caller: Caller,
    place: Place,
    Body(body): Body<Value>,
) -> Result<Json<spec::Service>, Problem> {
    let spec = hold(&caller, read(&api, body).await?)?;
    let id = api.app.create_service(&caller.actor(), place.project, place.room, spec).await?;
    answer(&api, id)
}

async fn one(State(api): State<Api>, place: Place) -> Result<Json<spec::Service>, Problem> {
    let world = api.app.world();
    let (id, service) = place.find(&world)?;
    Ok(Json(wire(id, service)))
}

async fn update(
    State(api): State<Api>,
    caller: Caller,
    place: Place,
    Body(body): Body<Value>,
) -> Result<Json<spec::Service>, Problem> {
    let id = place.find(&api.app.world())?.0;
    let spec = hold(&caller, read(&api, body).await?)?;
    api.app.update_service(&caller.actor(), id, spec).await?;
    answer(&api, id)
}

async fn remove(State(api): State<Api>, caller: Caller, place: Place) -> Result<Json<Value>, Problem> {
    let id = place.find(&api.app.world())?.0;
    api.app.delete_service(&caller.actor(), id).await?;
    Ok(Json(json!({})))
}
