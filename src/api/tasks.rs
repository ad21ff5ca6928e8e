//! Scheduled tasks and their runs.

use super::auth::{Access, Caller, InProject};
use super::body::{self, Body};
use super::paging::Paging;
use super::roles::hold;
use super::route::Route;
use super::{Api, Problem};
use crate::app::Error;
use crate::domain::scheduled_task::{Outcome, Run, ScheduledTask};
use crate::id::{ProjectId, RoomId, ScheduledTaskId};
use crate::projection::World;
use crate::spec;
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::Method;
use axum::routing::{delete, get, post, put};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

pub(super) fn routes() -> Vec<Route> {
    let route = |method, path, name, summary, handler| {
        Route::new(method, path, name, summary, Access::Account, handler)
    };
    vec![
        route(
            Method::POST,
            "/accounts/projects/{project_id}/rooms/{room}/scheduled-tasks",
            "create_scheduled_task",
            "Make a scheduled task",
            post(create),
        )
        .takes::<TaskBody>(),
        route(
            Method::GET,
            "/accounts/projects/{project_id}/scheduled-tasks",
            "list_scheduled_tasks",
            "Scheduled tasks of a project",
            get(list),
        ),
        route(
            Method::GET,
            "/accounts/projects/{project_id}/scheduled-tasks/{task_id}",
            "get_scheduled_task",
            "One scheduled task",
            get(one),
        ),
        route(
            Method::PUT,
            "/accounts/projects/{project_id}/scheduled-tasks/{task_id}",
            "update_scheduled_task",
            "Replace a scheduled task's spec",
            put(update),
        )
        .takes::<TaskBody>(),
        route(
            Method::DELETE,
            "/accounts/projects/{project_id}/scheduled-tasks/{task_id}",
            "delete_scheduled_task",
            "Delete a scheduled task",
            delete(remove),
        ),
        route(
            Method::GET,
            "/accounts/projects/{project_id}/scheduled-tasks/{task_id}/runs",
            "list_scheduled_task_runs",
            "Firings, newest first",
            get(runs),
        ),
    ]
}

#[derive(Debug, Deserialize, JsonSchema)]
struct TaskBody {
    #[schemars(with = "spec::ScheduledTask")]
    spec: Value,
}

#[derive(Debug, Default, Deserialize)]
struct Wanted {
    room_id: Option<Uuid>,
    /// One that is no UUID names no task.
    task_id: Option<String>,
    active: Option<bool>,
}

fn wire(world: &World, id: ScheduledTaskId, task: &ScheduledTask) -> Value {
    let room = world.room(task.room).map(|r| r.name.to_string()).unwrap_or_default();
    let queue = task.spec.queue.as_ref();
    let last = task.runs.last();
    json!({
        "id": id.to_string(), "project_id": id.project().to_string(),
        "room_id": task.room.to_string(), "room_name": room, "spec": task.spec,
        "queue_name": queue.map(|q| q.name.clone()),
        "payload": queue.map(|q| q.payload.clone()).unwrap_or_default(),
        "container": task.spec.container, "schedule": task.spec.schedule,
        "active": task.spec.active && !task.is_spent(), "once": task.spec.once,
        "annotations": task.spec.metadata.annotations,
        "storage_write_path": queue.and_then(|q| q.storage_write_path.clone()),
        "last_run_id": (task.fired > 0).then_some(task.fired),
        "last_start_time": last.map(|r| r.fired.scheduled_at),
        "last_end_time": last.map(|r| r.recorded_at),
        "last_status": last.map(|r| status(r.fired.outcome)),
        "last_return_message": last.and_then(|r| r.fired.reason.clone()),
    })
}

/// The clients know no firing that was left out; to them it failed, and the error says why.
fn status(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Submitted => "submitted",
        Outcome::Failed | Outcome::Missed | Outcome::Suppressed => "failed",
    }
}

fn run_wire(world: &World, id: ScheduledTaskId, task: &ScheduledTask, run: &Run) -> Value {
    let room = world.room(task.room).map(|r| r.name.to_string()).unwrap_or_default();
    let error =
        run.fired.reason.as_ref().map(|reason| format!("{:?}: {reason}", run.fired.outcome).to_lowercase());
    json!({
        "id": run.fired.run.to_string(), "task_id": id.to_string(), "project_id": id.project().to_string(),
        "room_id": task.room.to_string(), "room_name": room, "queued_message_id": run.fired.item,
        "target": if task.spec.queue.is_some() { "queue" } else { "container" },
        "status": status(run.fired.outcome), "attempt_count": 1, "error": error,
        "scheduled_time": run.fired.scheduled_at, "started_at": run.recorded_at, "completed_at": run.recorded_at,
    })
}

fn find<'w>(
    world: &'w World,
    project: ProjectId,
    text: &str,
) -> Result<(ScheduledTaskId, &'w ScheduledTask), Problem> {
    let id = Uuid::parse_str(text).ok().map(|uuid| ScheduledTaskId::new(project, uuid));
    id.and_then(|id| Some((id, world.task(id)?))).ok_or_else(|| Error::no_task(text).into())
}

async fn create(
    State(api): State<Api>,
    caller: Caller,
    InProject(project): InProject,
    Path((_, room)): Path<(String, String)>,
    Body(body): Body<TaskBody>,
) -> Result<Json<Value>, Problem> {
    let (room, _) = super::rooms::find(&api, project, &caller, &room)?;
    let spec: spec::ScheduledTask = hold(&caller, body::spec(body.spec)?)?;
    let id = api.app.create_task(&caller.actor(), room, spec).await?;
    Ok(Json(json!({"task_id": id.to_string()})))
}

async fn list(
    State(api): State<Api>,
    InProject(project): InProject,
    Query(paging): Query<Paging>,
    Query(wanted): Query<Wanted>,
) -> Result<Json<Value>, Problem> {
    let world = api.app.world();
    let room = wanted.room_id.map(|uuid| RoomId::new(project, uuid));
    let name = |t: &ScheduledTask| {
        let queue = t.spec.queue.as_ref().map(|q| q.name.clone()).unwrap_or_default();
        format!("{} {queue} {}", t.spec.metadata.name.clone().unwrap_or_default(), t.spec.schedule)
    };
    let all: Vec<_> = world
        .tasks(project)
        .filter(|(id, t)| {
            room.is_none_or(|r| r == t.room)
                && wanted.task_id.as_ref().is_none_or(|text| Uuid::parse_str(text) == Ok(id.uuid()))
                && wanted.active.is_none_or(|w| w == (t.spec.active && !t.is_spent()))
                && paging.wants(&name(t))
        })
        .collect();
    let page = paging.cut(all)?;
    let items: Vec<Value> = page.items.iter().map(|(id, t)| wire(&world, *id, t)).collect();
    Ok(Json(json!({"tasks": items, "total": page.total, "continuation_token": page.next})))
}

async fn one(
    State(api): State<Api>,
    InProject(project): InProject,
    Path((_, text)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let world = api.app.world();
    let (id, task) = find(&world, project, &text)?;
    Ok(Json(wire(&world, id, task)))
}

async fn update(
    State(api): State<Api>,
    caller: Caller,
    InProject(project): InProject,
    Path((_, text)): Path<(String, String)>,
    Body(body): Body<TaskBody>,
) -> Result<Json<Value>, Problem> {
    let id = find(&api.app.world(), project, &text)?.0;
    let spec: spec::ScheduledTask = hold(&caller, body::spec(body.spec)?)?;
    api.app.update_task(&caller.actor(), id, spec).await?;
    Ok(Json(json!({})))
}

async fn remove(
    State(api): State<Api>,
    caller: Caller,
    InProject(project): InProject,
    Path((_, text)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let id = find(&api.app.world(), project, &text)?.0;
    api.app.delete_task(&caller.actor(), id).await?;
    Ok(Json(json!({})))
}

async fn runs(
    State(api): State<Api>,
    InProject(project): InProject,
    Path((_, text)): Path<(String, String)>,
    Query(paging): Query<Paging>,
) -> Result<Json<Value>, Problem> {
    let world = api.app.world();
    let (id, task) = find(&world, project, &text)?;
    let all: Vec<&Run> = task.runs.iter().rev().collect();
    let page = paging.cut(all)?;
    let items: Vec<Value> = page.items.iter().map(|run| run_wire(&world, id, task, run)).collect();
    Ok(Json(json!({"runs": items, "total": page.total})))
}
