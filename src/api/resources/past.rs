//! Looking back over HTTP: history, differences, rollback, everything as documents, and what needs what.

use super::{applicable, find, health, kind_of, revisions, world_at};
use crate::api::auth::{Access, Caller, InProject};
use crate::api::body::Body;
use crate::api::route::Route;
use crate::api::{Api, Problem, plan};
use crate::app::past::Moment;
use crate::app::plan::{Found, KINDS, Key, Reference};
use crate::id::{Position, ProjectId};
use crate::projection::World;
use crate::spec::Kind;
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use uuid::Uuid;

pub(super) fn routes() -> Vec<Route> {
    let route = |method, path, name, summary, handler| {
        Route::new(method, path, name, summary, Access::Account, handler)
    };
    vec![
        route(
            Method::GET,
            "/v1/projects/{project_id}/resources/{kind}/{name}/history",
            "resource_history",
            "Who changed what of a resource, and when; also of one that is gone",
            get(history),
        ),
        route(
            Method::GET,
            "/v1/projects/{project_id}/differences",
            "differences",
            "What differs between two moments (from, to): positions or times",
            get(differences),
        ),
        route(
            Method::GET,
            "/v1/projects/{project_id}/drift",
            "drift",
            "What sources (source: one of them) applied, and somebody else changed since",
            get(drift),
        ),
        route(
            Method::POST,
            "/v1/projects/{project_id}/rollback",
            "rollback",
            "Bring back what a source had applied at a moment, in one transaction",
            post(rollback),
        )
        .takes::<Rollback>(),
        route(
            Method::GET,
            "/v1/projects/{project_id}/documents",
            "export_documents",
            "Every resource as a document that can be applied, now or at a moment (at)",
            get(documents),
        ),
        route(
            Method::GET,
            "/v1/projects/{project_id}/graph",
            "resource_graph",
            "Every resource with what it needs and how it is",
            get(graph),
        ),
    ]
}

#[derive(Debug, Default, Deserialize)]
struct Wanted {
    room: Option<String>,
    at: Option<String>,
    from: Option<String>,
    to: Option<String>,
    source: Option<String>,
}

/// A moment as it is written: a position, or a time.
pub(super) fn moment(text: &str) -> Result<Moment, Problem> {
    if let Ok(position) = text.parse() {
        return Ok(Moment::At(Position(position)));
    }
    let time = DateTime::parse_from_rfc3339(text).map(|time| Moment::Until(time.with_timezone(&Utc)));
    time.map_err(|_| {
        Problem::bad_request(format!(
            "`{text}` is no moment; give a position of the log, or a time such as 2026-01-31T12:00:00Z"
        ))
    })
}

async fn history(
    State(api): State<Api>,
    InProject(project): InProject,
    Path((_, kind, name)): Path<(String, String, String)>,
    Query(wanted): Query<Wanted>,
) -> Result<Json<Value>, Problem> {
    let resource = kind_of(&kind)?;
    let world = api.app.world();
    let id = match find(&world, project, resource, &name, wanted.room.as_deref()) {
        Ok((id, _)) => id,
        Err(several) if several.status == StatusCode::BAD_REQUEST => return Err(several),
        Err(missing) => {
            let formerly = api.app.formerly(project, resource.kind(), &resource.canonical(&name)).await?;
            formerly.or_else(|| Uuid::parse_str(&name).ok()).ok_or(missing)?
        }
    };
    let history = api.app.history(project, resource, id).await?;
    if history.is_empty() {
        return Err(Problem::not_found(format!("no {} `{name}` was ever here", resource.kind().slug())));
    }
    Ok(Json(json!({"kind": resource.kind().as_str(), "name": name, "id": id, "history": history})))
}

async fn differences(
    State(api): State<Api>,
    InProject(project): InProject,
    Query(wanted): Query<Wanted>,
) -> Result<Json<Value>, Problem> {
    let from = wanted.from.as_deref().ok_or_else(|| Problem::bad_request("say `from` which moment"))?;
    let to = wanted.to.as_deref().map(moment).transpose()?;
    let (from, to, steps) = api.app.differences(project, moment(from)?, to).await?;
    Ok(Json(json!({"from": from, "to": to, "steps": steps})))
}

async fn drift(
    State(api): State<Api>,
    InProject(project): InProject,
    Query(wanted): Query<Wanted>,
) -> Result<Json<Value>, Problem> {
    let world = api.app.world();
    let mut entries = world.inventory(project).into_iter().flat_map(|all| all.entries.values());
    if let Some(source) = &wanted.source
        && !entries.any(|entry| entry.shares.contains_key(source))
    {
        return Err(Problem::not_found(format!("no source `{source}` holds anything here")));
    }
    let drift = api.app.drifts(project, wanted.source.as_deref()).await?;
    Ok(Json(json!({"position": world.position, "drift": drift})))
}

/// Where to go back to.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Rollback {
    /// A position of the log, or a time.
    to: String,
    /// Whose resources; may be left out where only one source applied anything.
    #[serde(default)]
    source: Option<String>,
    /// Only tell what would be done.
    #[serde(default)]
    dry_run: bool,
}

async fn rollback(
    State(api): State<Api>,
    caller: Caller,
    InProject(project): InProject,
    Body(wanted): Body<Rollback>,
) -> Result<Response, Problem> {
    let request = api.app.request_of_then(project, moment(&wanted.to)?, wanted.source).await?;
    let result = if wanted.dry_run {
        api.app.plan(project, Arc::new(request)).await
    } else {
        api.app.apply(&caller.actor(), project, Arc::new(request), None).await
    };
    Ok(plan::answer(result))
}

fn all(world: &World, project: ProjectId) -> Vec<(Uuid, Found)> {
    let mut all = vec![];
    for resource in KINDS {
        let mut ids = resource.all(world, project);
        ids.sort_by(|a, b| a.1.cmp(&b.1));
        let found = ids.iter().filter_map(|(id, _)| Some((*id, resource.read(world, project, *id)?)));
        all.extend(found);
    }
    all
}

async fn documents(
    State(api): State<Api>,
    InProject(project): InProject,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Problem> {
    let world = world_at(&api, project, wanted.at.as_deref()).await?;
    let documents: Vec<Value> = all(&world, project).iter().map(|(_, found)| applicable(found)).collect();
    Ok(Json(json!({"position": world.position, "documents": documents})).into_response())
}

async fn graph(State(api): State<Api>, InProject(project): InProject) -> Json<Value> {
    let world = api.app.world();
    let all = all(&world, project);
    let ids: HashMap<&Key, Uuid> = all.iter().map(|(id, found)| (&found.key, *id)).collect();
    let health = health(&api, &world, project);
    let node = |(id, found): &(Uuid, Found)| {
        let needs: Vec<Value> = crate::app::plan::references(found, |key| ids.contains_key(key))
            .iter()
            .map(|Reference { path, key }| json!({"path": path, "key": key, "id": ids.get(key)}))
            .collect();
        json!({"id": id, "kind": found.key.kind.as_str(), "room": found.key.room, "name": found.key.name,
            "needs": needs, "revisions": revisions(&world, project, *id), "status": health.status(found.key.kind, *id)})
    };
    let nodes: Vec<Value> = all.iter().map(node).collect();
    Json(
        json!({"position": world.position, "kinds": KINDS.map(|resource| Kind::as_str(resource.kind())), "nodes": nodes}),
    )
}
