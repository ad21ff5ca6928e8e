//! Sessions: the runs of rooms.

use super::auth::{Access, Caller, InProject};
use super::paging::Paging;
use super::route::Route;
use super::{Api, Problem};
use crate::domain::session::{Reason, Session};
use crate::eventlog::{Filter, PAGE_EVENTS_MAX};
use crate::id::{Position, ProjectId, RoomId, SessionId};
use crate::telemetry::Kind;
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::Method;
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

pub(super) fn routes() -> Vec<Route> {
    let route = |method, path, name, summary, handler| {
        Route::new(method, path, name, summary, Access::Account, handler)
    };
    vec![
        route(
            Method::GET,
            "/accounts/projects/{project_id}/sessions",
            "list_sessions",
            "Runs of rooms, newest first",
            get(list),
        ),
        route(
            Method::GET,
            "/accounts/projects/{project_id}/sessions/active",
            "list_active_sessions",
            "Rooms that run now",
            get(active),
        ),
        route(
            Method::GET,
            "/accounts/projects/{project_id}/rooms/{room}/sessions",
            "list_room_sessions",
            "Runs of one room, newest first",
            get(of_room),
        ),
        route(
            Method::GET,
            "/accounts/projects/{project_id}/sessions/{session_id}",
            "get_session",
            "One run",
            get(one),
        ),
        route(
            Method::GET,
            "/accounts/projects/{project_id}/sessions/{session_id}/events",
            "session_events",
            "Events of one run: facts of the log, then log lines",
            get(events),
        ),
        route(
            Method::GET,
            "/accounts/projects/{project_id}/sessions/{session_id}/participants",
            "session_participants",
            "Participants by role",
            get(participants),
        ),
        route(
            Method::POST,
            "/accounts/projects/{project_id}/sessions/{session_id}/terminate",
            "terminate_session",
            "End a run: participants are told, processes may finish",
            post(terminate),
        ),
        route(
            Method::POST,
            "/accounts/projects/{project_id}/sessions/{session_id}/kill",
            "kill_session",
            "End a run at once: sockets are dropped, processes killed",
            post(kill),
        ),
    ]
}

#[derive(Debug, Default, Deserialize)]
struct Wanted {
    room_id: Option<Uuid>,
}

fn wire(api: &Api, id: SessionId, session: &Session) -> Value {
    let participants = if session.is_active() { json!(api.host.roles(session.room)) } else { json!({}) };
    let world = api.app.world();
    let agent = world.agent_of(session.room);
    let kind = if agent.is_some() { "agent" } else { "room" };
    json!({
        "id": id.to_string(), "room_id": session.room.to_string(), "room_name": session.room_name,
        "agent_id": agent.map(|(id, _)| id.to_string()),
        "agent_name": agent.map(|(_, agent)| &agent.spec.metadata.name),
        "created_at": session.started_at, "is_active": session.is_active(), "kind": kind,
        "participants": participants, "ended_at": session.ended.map(|(at, _)| at),
    })
}

pub(super) fn page(
    api: &Api,
    project: ProjectId,
    paging: &Paging,
    wanted: impl Fn(&Session) -> bool,
) -> Result<Json<Value>, Problem> {
    let world = api.app.world();
    let mut all: Vec<_> = world.sessions(project).filter(|(_, s)| wanted(s)).collect();
    all.reverse();
    let page = paging.cut(all)?;
    let items: Vec<Value> = page.items.iter().map(|(id, s)| wire(api, *id, s)).collect();
    Ok(Json(json!({"sessions": items})))
}

async fn list(
    State(api): State<Api>,
    InProject(project): InProject,
    Query(paging): Query<Paging>,
    Query(wanted): Query<Wanted>,
) -> Result<Json<Value>, Problem> {
    let room = wanted.room_id.map(|uuid| RoomId::new(project, uuid));
    page(&api, project, &paging, |s| room.is_none_or(|r| r == s.room))
}

async fn active(
    State(api): State<Api>,
    InProject(project): InProject,
    Query(paging): Query<Paging>,
) -> Result<Json<Value>, Problem> {
    page(&api, project, &paging, Session::is_active)
}

async fn of_room(
    State(api): State<Api>,
    caller: Caller,
    InProject(project): InProject,
    Path((_, room)): Path<(String, String)>,
    Query(paging): Query<Paging>,
) -> Result<Json<Value>, Problem> {
    let (room, _) = super::rooms::find(&api, project, &caller, &room)?;
    page(&api, project, &paging, |s| s.room == room)
}

pub(super) fn find(api: &Api, project: ProjectId, text: &str) -> Result<(SessionId, Session), Problem> {
    let missing =
        || Problem::not_found(format!("no session `{text}` here; `meshagent session list` shows the newest"));
    let id = SessionId::new(project, Uuid::parse_str(text).map_err(|_| missing())?);
    let session = api.app.world().session(id).cloned().ok_or_else(missing)?;
    Ok((id, session))
}

async fn one(
    State(api): State<Api>,
    InProject(project): InProject,
    Path((_, text)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let (id, session) = find(&api, project, &text)?;
    Ok(Json(wire(&api, id, &session)))
}

async fn events(
    State(api): State<Api>,
    InProject(project): InProject,
    Path((_, text)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let (id, _) = find(&api, project, &text)?;
    let filter =
        Filter { subject: Some(id.stream().as_str().to_owned()), project: Some(project), ..Filter::all() };
    let recorded =
        api.app.log.read(Position(0), &filter, PAGE_EVENTS_MAX).await.map_err(crate::app::Error::Read)?;
    let facts = recorded.iter().map(super::events::wire);
    let lines = api.telemetry.list(id, Kind::Event).await.map_err(super::session_telemetry::unreadable)?;
    Ok(Json(json!({"events": facts.chain(lines).collect::<Vec<_>>()})))
}

async fn participants(
    State(api): State<Api>,
    InProject(project): InProject,
    Path((_, text)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let (_, session) = find(&api, project, &text)?;
    let roles = if session.is_active() {
        api.host.roles(session.room)
    } else {
        std::collections::BTreeMap::default()
    };
    Ok(Json(json!({"participants": roles})))
}

async fn terminate(
    State(api): State<Api>,
    caller: Caller,
    InProject(project): InProject,
    Path((_, text)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    end(&api, &caller, project, &text, Reason::Terminated).await
}

async fn kill(
    State(api): State<Api>,
    caller: Caller,
    InProject(project): InProject,
    Path((_, text)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    end(&api, &caller, project, &text, Reason::Killed).await
}

async fn end(
    api: &Api,
    caller: &Caller,
    project: ProjectId,
    text: &str,
    reason: Reason,
) -> Result<Json<Value>, Problem> {
    let (id, session) = find(api, project, text)?;
    if !session.is_active() {
        return Ok(Json(json!({"ok": true})));
    }
    // Who asked is on record, and a server elsewhere that runs it ends what it sees ended in the log.
    api.app.end_session(&caller.actor(), id, reason).await?;
    if api.host.live().contains(&(session.room, id)) {
        api.host.end(session.room, id, reason).await;
    }
    Ok(Json(json!({"ok": true})))
}
