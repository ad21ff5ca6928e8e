//! Resources paused and resumed: their annotation set or taken away, as one more source of their documents.

use super::super::auth::{Access, Caller, InProject};
use super::super::body::Body;
use super::super::route::Route;
use super::{Api, Problem, applicable, find, health, kind_of, wire};
use crate::app::Error;
use crate::app::objects::Wish;
use crate::app::plan::{PAUSE, Request, Resource, put};
use crate::id::ProjectId;
use crate::projection::World;
use crate::spec::Kind;
use crate::spec::reconcile::{PAUSED, known};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::Method;
use axum::routing::post;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

pub(super) fn routes() -> Vec<Route> {
    let route = |path, name, summary, handler| {
        Route::new(Method::POST, path, name, summary, Access::Account, handler)
    };
    vec![
        route(
            "/v1/projects/{project_id}/resources/{kind}/{name}/pause",
            "pause_resource",
            "Have controllers leave a resource alone; what runs goes on",
            post(pause),
        ),
        route(
            "/v1/projects/{project_id}/resources/{kind}/{name}/resume",
            "resume_resource",
            "Have controllers work on a resource again",
            post(resume),
        ),
    ]
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    /// Name of the room it lives in.
    room: Option<String>,
    /// Also where another source says otherwise.
    #[serde(default)]
    force: bool,
}

type Named = (String, String, String);

async fn pause(
    State(api): State<Api>,
    caller: Caller,
    InProject(project): InProject,
    Path((_, kind, name)): Path<Named>,
    Body(asked): Body<Asked>,
) -> Result<Json<Value>, Problem> {
    set(api, caller, (project, kind, name), asked, true).await
}

async fn resume(
    State(api): State<Api>,
    caller: Caller,
    InProject(project): InProject,
    Path((_, kind, name)): Path<Named>,
    Body(asked): Body<Asked>,
) -> Result<Json<Value>, Problem> {
    set(api, caller, (project, kind, name), asked, false).await
}

async fn set(
    api: Api,
    caller: Caller,
    (project, kind, name): (ProjectId, String, String),
    asked: Asked,
    paused: bool,
) -> Result<Json<Value>, Problem> {
    let resource = kind_of(&kind)?;
    if !known(resource.kind()).contains(&PAUSED) {
        let kinds = Kind::ALL.into_iter().filter(|kind| known(*kind).contains(&PAUSED));
        let kinds: Vec<&str> = kinds.map(Kind::slug).collect();
        let text = format!(
            "nothing works on a {}; what can be paused: {}",
            resource.kind().slug(),
            kinds.join(", ")
        );
        return Err(Problem::bad_request(text));
    }
    let room = asked.room.clone();
    let sought = name.clone();
    let wish = move |world: &World| wish(world, project, resource, &sought, &asked, paused);
    let written = api.app.write_object(&caller.actor(), project, false, wish).await?;
    let (id, found) = find(&written.world, project, resource, &name, room.as_deref())?;
    Ok(Json(wire(&health(&api, &written.world, project), &written.world, project, id, &found)))
}

/// The document as it is, but for the annotation.
fn wish(
    world: &World,
    project: ProjectId,
    resource: &'static dyn Resource,
    name: &str,
    asked: &Asked,
    paused: bool,
) -> Result<Wish, Problem> {
    let (id, found) = find(world, project, resource, name, asked.room.as_deref())?;
    let field = format!("/metadata/annotations/{}", PAUSED.replace('/', "~1"));
    let mut document = applicable(&found);
    let mut exact = vec![];
    if paused {
        put(&mut document, &field, json!("true"));
        exact.push(field);
    } else {
        if let Some(holder) = holder(world, project, id, &field).filter(|_| !asked.force) {
            let text = format!(
                "the source `{holder}` says that {} is paused; change it there, or resume it against that with \
                 --force-conflicts",
                found.key
            );
            return Err(Problem::from(Error::Rejected {
                refusal: crate::domain::Refusal::State,
                code: "field-conflict",
                text,
            }));
        }
        let notes = document.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut);
        if let Some(notes) = notes {
            notes.remove(PAUSED);
        }
    }
    let request = Request {
        source: PAUSE.to_owned(),
        documents: vec![document],
        force: asked.force,
        exact: Some(exact),
        ..Request::default()
    };
    Ok(Wish::Write(Box::new(request)))
}

/// The other source that says that it is paused.
fn holder(world: &World, project: ProjectId, id: Uuid, field: &str) -> Option<String> {
    let sources = world.inventory(project).into_iter().flat_map(|inventory| inventory.sources(id));
    let mut others = sources.filter(|(source, _)| *source != PAUSE);
    others.find(|(_, share)| share.fields.iter().any(|own| own == field)).map(|(source, _)| source.clone())
}
