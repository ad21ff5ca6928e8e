//! Resources of every kind as documents with their status: list, get, watch. `watch` follows them; `past` looks back.

mod past;
mod pause;
pub(super) mod versions;
pub(super) mod watch;

use super::auth::{Access, Caller, InProject};
use super::paging::Paging;
use super::route::Route;
use super::{Api, Problem};
use crate::app::plan::{Found, Resource, kind_names, resource};
use crate::control::health::Health;
use crate::id::{Position, ProjectId, ServiceAccountId};
use crate::projection::World;
use crate::spec::{self, Kind, nearest};
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, Method};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use uuid::Uuid;

pub(super) fn routes() -> Vec<Route> {
    let route =
        |path, name, summary, handler| Route::new(Method::GET, path, name, summary, Access::Account, handler);
    let mut routes = vec![
        route(
            "/v1/projects/{project_id}/resources/{kind}",
            "list_resources",
            "Resources of a kind, now or at a position or time (at); with watch=true their changes after resource_version",
            get(list),
        ),
        route(
            "/v1/projects/{project_id}/resources/{kind}/{name}",
            "get_resource",
            "One resource with its document, its sources and its status",
            get(one),
        ),
        Route::new(
            Method::DELETE,
            "/v1/projects/{project_id}/resources/{kind}/{name}",
            "delete_resource",
            "Delete one resource with what is in it",
            Access::Account,
            delete(remove),
        ),
    ];
    routes.extend(pause::routes());
    routes.extend(past::routes());
    routes
}

#[derive(Debug, Default, Deserialize)]
struct Wanted {
    /// Name of a room; of what lives in rooms, only what lives in this.
    room: Option<String>,
    #[serde(default)]
    watch: bool,
    resource_version: Option<u64>,
    /// A position or a time.
    at: Option<String>,
}

/// The row of a kind by its text, in any form.
fn kind_of(text: &str) -> Result<&'static dyn Resource, Problem> {
    Kind::from_argument(text).and_then(resource).ok_or_else(|| {
        let known = kind_names().collect::<Vec<_>>().join(", ");
        let near = nearest(text, kind_names()).map(|near| format!("; did you mean `{near}`?"));
        Problem::not_found(format!("no kind `{text}` here{}; there are: {known}", near.unwrap_or_default()))
    })
}

/// What is told of one resource.
fn wire(health: &Health<'_>, world: &World, project: ProjectId, id: Uuid, found: &Found) -> Value {
    let inventory = world.inventory(project);
    let sources: serde_json::Map<String, Value> = inventory
        .into_iter()
        .flat_map(|inventory| inventory.sources(id))
        .map(|(source, share)| (source.clone(), json!(share.fields)))
        .collect();
    json!({
        "kind": found.key.kind.as_str(), "room": found.key.room, "name": found.key.name, "id": id,
        "generation": found.generation, "created_at": found.created_at,
        "resource_version": world.position, "sources": sources,
        "revisions": revisions(world, project, id), "document": applicable(found),
        "status": health.status(found.key.kind, id),
    })
}

/// The commit of each source's document, of those that have one.
fn revisions(world: &World, project: ProjectId, id: Uuid) -> serde_json::Map<String, Value> {
    let sources = world.inventory(project).into_iter().flat_map(|inventory| inventory.sources(id));
    sources.filter_map(|(source, share)| Some((source.clone(), json!(share.revision.as_ref()?)))).collect()
}

/// The document as it can be applied: with the room it lives in.
pub(super) fn applicable(found: &Found) -> Value {
    let mut document = found.document.clone();
    if let Some(room) = &found.key.room
        && let Some(metadata) = document.get_mut("metadata").and_then(Value::as_object_mut)
    {
        let notes = metadata.entry("annotations").or_insert_with(|| json!({}));
        if let Some(notes) = notes.as_object_mut() {
            notes.insert(spec::ROOM.to_owned(), json!(room));
        }
    }
    document
}

fn health<'a>(api: &'a Api, world: &'a World, project: ProjectId) -> Health<'a> {
    let floor = api.app.settings.schedule_floor_seconds;
    Health::of(world, project, api.app.clock.now(), floor).with_attempts(&api.app.attempts)
}

/// The world that is asked about.
async fn world_at(api: &Api, project: ProjectId, at: Option<&str>) -> Result<Arc<World>, Problem> {
    match at {
        None => Ok(api.app.world()),
        Some(at) => Ok(Arc::new(api.app.world_at(project, past::moment(at)?).await?)),
    }
}

async fn list(
    State(api): State<Api>,
    InProject(project): InProject,
    Path((_, kind)): Path<(String, String)>,
    Query(wanted): Query<Wanted>,
    Query(paging): Query<Paging>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let resource = kind_of(&kind)?;
    if wanted.watch {
        let from = wanted.resource_version.map(Position);
        return watch::stream(&api, project, resource, wanted.room, from, &headers).await;
    }
    let world = world_at(&api, project, wanted.at.as_deref()).await?;
    let mut all = resource.all(&world, project);
    all.retain(|(_, key)| paging.wants(&key.name) && is_wanted(wanted.room.as_deref(), key.room.as_deref()));
    all.sort_by(|a, b| a.1.cmp(&b.1));
    let page = paging.cut(all)?;
    let health = health(&api, &world, project);
    let read = |(id, _): &(Uuid, _)| {
        let found = resource.read(&world, project, *id)?;
        Some(wire(&health, &world, project, *id, &found))
    };
    let items: Vec<Value> = page.items.iter().filter_map(read).collect();
    let answer = json!({"kind": resource.kind().as_str(), "resource_version": world.position, "items": items,
        "total": page.total, "continuation_token": page.next});
    Ok(Json(answer).into_response())
}

/// Whether no room is wanted, or just this.
fn is_wanted(wanted: Option<&str>, room: Option<&str>) -> bool {
    wanted.is_none() || wanted == room
}

/// A resource by its name in a place, or by its id.
fn find(
    world: &World,
    project: ProjectId,
    resource: &dyn Resource,
    name: &str,
    room: Option<&str>,
) -> Result<(Uuid, Found), Problem> {
    if let Ok(id) = Uuid::parse_str(name)
        && let Some(found) = resource.read(world, project, id)
    {
        return Ok((id, found));
    }
    let wanted = resource.named(world, project, name);
    let all = resource.all(world, project);
    let same: Vec<_> =
        all.iter().filter(|(_, key)| key.name == wanted && is_wanted(room, key.room.as_deref())).collect();
    let kind = resource.kind().slug();
    match same.as_slice() {
        [(id, _)] => resource.read(world, project, *id).map(|found| (*id, found)),
        [] => None,
        // The one of the project itself is meant where no room is said.
        several => match several.iter().find(|(_, key)| key.room.is_none() && room.is_none()) {
            Some((id, _)) => resource.read(world, project, *id).map(|found| (*id, found)),
            None => {
                return Err(Problem::bad_request(format!(
                    "several rooms have a {kind} `{name}`; say which room"
                )));
            }
        },
    }
    .ok_or_else(|| {
        let near = nearest(&wanted, all.iter().map(|(_, key)| key.name.as_str()));
        let near = near.map(|near| format!("did you mean `{near}`?"));
        let hint = near.unwrap_or_else(|| format!("`meshagent get {kind}` shows those there are"));
        Problem::not_found(format!("no {kind} `{name}` here; {hint}"))
    })
}

async fn one(
    State(api): State<Api>,
    InProject(project): InProject,
    Path((_, kind, name)): Path<(String, String, String)>,
    Query(wanted): Query<Wanted>,
) -> Result<Json<Value>, Problem> {
    let resource = kind_of(&kind)?;
    let world = world_at(&api, project, wanted.at.as_deref()).await?;
    let (id, found) = find(&world, project, resource, &name, wanted.room.as_deref())?;
    Ok(Json(wire(&health(&api, &world, project), &world, project, id, &found)))
}

async fn remove(
    State(api): State<Api>,
    caller: Caller,
    InProject(project): InProject,
    Path((_, kind, name)): Path<(String, String, String)>,
    Query(wanted): Query<Wanted>,
) -> Result<Json<Value>, Problem> {
    let resource = kind_of(&kind)?;
    let world = api.app.world();
    let (id, found) = find(&world, project, resource, &name, wanted.room.as_deref())?;
    if let Some(why) = resource.keep(&found.key) {
        return Err(Problem::bad_request(format!("{} cannot be deleted: {why}", found.key)));
    }
    if resource.kind() == Kind::ServiceAccount {
        crate::api::accounts::not_of_operator(&world, &caller, ServiceAccountId::new(project, id))?;
    }
    api.app.delete_resource(&caller.actor(), project, (resource.kind(), id)).await?;
    Ok(Json(json!({"ok": true})))
}
