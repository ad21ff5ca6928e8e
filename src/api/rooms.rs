//! Rooms.

use super::auth::{Access, Caller, InProject};
use super::body::Body;
use super::paging::Paging;
use super::roles::User;
use super::route::Route;
use super::{Api, Problem};
use crate::app::Error;
use crate::app::members::room_role;
use crate::app::token::Mint;
use crate::domain::member;
use crate::domain::room::{Created, Room, Updated};
use crate::id::{ProjectId, RoomId};
use crate::name::RoomName;
use crate::spec::{ApiScope, ProjectRole, RoomRole};
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{Method, StatusCode};
use axum::routing::{delete, get, post, put};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// How long a token that `connect` hands out is good for, seconds.
pub const CONNECT_TOKEN_SECONDS: i64 = 24 * 60 * 60;

pub(super) fn routes() -> Vec<Route> {
    const ALL: &str = "/accounts/projects/{project_id}/rooms";
    const ONE: &str = "/accounts/projects/{project_id}/rooms/{room}";
    let route = |method, path, name, summary, handler| {
        Route::new(method, path, name, summary, Access::Account, handler)
    };
    let member = |method, path, name, summary, handler| {
        Route::new(method, path, name, summary, Access::Member, handler)
    };
    vec![
        route(Method::GET, ALL, "list_rooms", "Rooms of a project", get(list)),
        route(Method::POST, ALL, "create_room", "Make a room", post(create)).takes::<NewRoom>(),
        member(Method::GET, ONE, "get_room", "A room by its name or id", get(one)),
        route(Method::PUT, ONE, "update_room", "Change a room", put(update)).takes::<RoomUpdate>(),
        route(Method::DELETE, ONE, "delete_room", "Delete a room with all that is in it", delete(remove)),
        member(
            Method::POST,
            "/accounts/projects/{project_id}/rooms/{room}/connect",
            "connect_room",
            "A token and the address to connect with; starts the room",
            post(connect),
        )
        .takes::<ConnectBody>(),
        member(
            Method::GET,
            "/accounts/projects/{project_id}/rooms/{room}/status",
            "room_status",
            "Whether the room runs",
            get(status),
        ),
        member(
            Method::GET,
            "/accounts/projects/{project_id}/rooms/{room}/events",
            "room_events",
            "What happened to the room lately",
            get(events),
        ),
    ]
}

#[derive(Debug, Deserialize, JsonSchema)]
struct NewRoom {
    name: String,
    #[serde(default)]
    if_not_exists: bool,
    #[serde(default)]
    metadata: Option<Map<String, Value>>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
    /// Taken and not used: service accounts may do everything in their project.
    #[serde(default)]
    #[allow(dead_code, reason = "part of the wire form")]
    permissions: Option<Value>,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct RoomUpdate {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    metadata: Option<Map<String, Value>>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
    #[serde(default)]
    enabled: Option<bool>,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct ConnectBody {
    #[serde(default)]
    email: Option<String>,
}

pub(super) fn wire(id: RoomId, room: &Room) -> Value {
    json!({"id": id.to_string(), "name": room.name, "metadata": room.metadata,
        "annotations": room.annotations, "enabled": room.enabled})
}

/// A room by name or id, as far as the caller may see it.
pub(super) fn find(
    api: &Api,
    project: ProjectId,
    caller: &Caller,
    text: &str,
) -> Result<(RoomId, Room), Problem> {
    let world = api.app.world();
    let found = world.find_room(project, text).map(|(id, room)| (id, room.clone()));
    let name = found.as_ref().map_or(text, |(_, room)| room.name.as_str());
    caller.check_room(name)?;
    found.ok_or_else(|| Error::no_room(text).into())
}

pub(super) fn room_name(text: String) -> Result<RoomName, Problem> {
    RoomName::new(text).map_err(|error| Problem::bad_request(error.to_string()))
}

async fn list(
    State(api): State<Api>,
    caller: Caller,
    InProject(project): InProject,
    Query(paging): Query<Paging>,
) -> Result<Json<Value>, Problem> {
    let world = api.app.world();
    // Rooms of managed agents are found by their agents.
    let shown = |id: RoomId| paging.wants_all() || world.agent_of(id).is_none();
    // People see the rooms where they have a role, and those who may see the inventory all of them.
    let user = caller.user().filter(|user| !user.has(ProjectRole::RoomInventory));
    let seen = |id: RoomId| user.is_none_or(|user| room_role(&world, id, &user.name).is_some());
    let mut rooms: Vec<_> = world
        .rooms(project)
        .filter(|(id, r)| shown(*id) && paging.wants(r.name.as_str()) && seen(*id))
        .collect();
    rooms.sort_by(|a, b| a.1.name.cmp(&b.1.name));
    let page = paging.cut(rooms)?;
    let items: Vec<Value> = page.items.iter().map(|(id, room)| wire(*id, room)).collect();
    Ok(Json(json!({"rooms": items, "total": page.total, "continuation_token": page.next})))
}

async fn create(
    State(api): State<Api>,
    caller: Caller,
    InProject(project): InProject,
    Body(body): Body<NewRoom>,
) -> Result<Json<Value>, Problem> {
    let name = room_name(body.name)?;
    let world = api.app.world();
    let there = world.room_named(project, name.as_str()).map(|(id, _)| id);
    if let (Some(user), Some(_)) = (caller.user(), there) {
        user.must_in(&api, there, RoomRole::Guest, ProjectRole::RoomInventory)?;
    }
    // Whoever makes a room is at home in it.
    let own = |user: &User| (user.name.clone(), BTreeSet::from([RoomRole::Admin]));
    let created = Created {
        name,
        metadata: body.metadata.unwrap_or_default(),
        annotations: body.annotations.unwrap_or_default(),
        enabled: true,
        users: caller.user().map(|user| BTreeMap::from([own(user)])),
    };
    let id = api.app.create_room(&caller.actor(), project, created, body.if_not_exists).await?;
    let (id, room) = find(&api, project, &caller, &id.to_string())?;
    Ok(Json(wire(id, &room)))
}

async fn one(
    State(api): State<Api>,
    caller: Caller,
    InProject(project): InProject,
    Path((_, text)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let (id, room) = find(&api, project, &caller, &text)?;
    Ok(Json(wire(id, &room)))
}

async fn update(
    State(api): State<Api>,
    caller: Caller,
    InProject(project): InProject,
    Path((_, text)): Path<(String, String)>,
    Body(body): Body<RoomUpdate>,
) -> Result<Json<Value>, Problem> {
    let (id, _) = find(&api, project, &caller, &text)?;
    let update = Updated {
        name: body.name.map(room_name).transpose()?,
        metadata: body.metadata,
        annotations: body.annotations,
        enabled: body.enabled,
        users: None,
    };
    api.app.update_room(&caller.actor(), id, update).await?;
    Ok(Json(json!({})))
}

async fn remove(
    State(api): State<Api>,
    caller: Caller,
    InProject(project): InProject,
    Path((_, text)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let (id, _) = find(&api, project, &caller, &text)?;
    api.app.delete_room(&caller.actor(), id).await?;
    Ok(Json(json!({})))
}

async fn connect(
    State(api): State<Api>,
    caller: Caller,
    InProject(project): InProject,
    Path((_, text)): Path<(String, String)>,
    Body(body): Body<ConnectBody>,
) -> Result<Json<Value>, Problem> {
    let (id, room) = find(&api, project, &caller, &text)?;
    if !room.enabled {
        return Err(Problem::new(
            StatusCode::LOCKED,
            "room-disabled",
            format!(
                "room `{}` is disabled; enable it with `meshagent rooms update --name {} --enabled`",
                room.name, room.name
            ),
        ));
    }
    let hosted = api.host.open(id).await?;
    let for_user = body.email.is_some();
    let own = caller.user().map(|user| user.name.as_str());
    if let (Some(own), Some(other)) = (own, &body.email)
        && member::key(other) != own
    {
        return Err(Problem::forbidden(format!("`{own}` cannot connect as somebody else; use an API key")));
    }
    let mut mint = Mint::new(project, body.email.unwrap_or_else(|| caller.name().to_owned()));
    mint.room = Some(room.name.to_string());
    mint.lifetime_seconds = Some(CONNECT_TOKEN_SECONDS);
    match &caller {
        Caller::Account { .. } => {
            let user = if for_user { api.app.user_scope(id, &mint.name)? } else { None };
            mint.api = Some(user.unwrap_or_else(ApiScope::full));
        }
        Caller::User(user) => {
            mint.name.clone_from(&user.name);
            mint.api = Some(api.app.scope_of_role(id, &user.name)?);
        }
        // No more than the caller has.
        Caller::Participant(bearer) => {
            mint.name.clone_from(&bearer.name);
            mint.role = Some(bearer.role.clone());
            mint.api.clone_from(&bearer.api);
        }
    }
    let jwt = api.app.mint(mint).await?;
    let url = hosted.url.replacen("http", "ws", 1);
    Ok(Json(json!({
        "jwt": jwt, "room_name": room.name, "project_id": project.to_string(),
        "room_url": format!("{url}/rooms/{}", room.name),
    })))
}

async fn status(
    State(api): State<Api>,
    caller: Caller,
    InProject(project): InProject,
    Path((_, text)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let (id, _) = find(&api, project, &caller, &text)?;
    let world = api.app.world();
    let mut status = match world.active_session(id) {
        Some((_, session)) => json!({
            "status": "Allocated", "allocated_at": session.started_at,
            "running_for_seconds": (api.app.clock.now() - session.started_at).num_seconds().max(0),
        }),
        None => json!({"status": "Unallocated", "allocated_at": null, "running_for_seconds": null}),
    };
    let usage = api.host.usage(id);
    status["limits"] = usage.limits;
    status["participants"] = usage.participants.into();
    status["cut_off"] = usage.cut_off.into();
    Ok(Json(status))
}

async fn events(
    State(api): State<Api>,
    caller: Caller,
    InProject(project): InProject,
    Path((_, text)): Path<(String, String)>,
    Query(paging): Query<Paging>,
) -> Result<Json<Value>, Problem> {
    let (id, room) = find(&api, project, &caller, &text)?;
    let world = api.app.world();
    let mut lines: Vec<Value> = vec![];
    for (session, s) in world.sessions(project).filter(|(_, s)| s.room == id) {
        lines.push(line(
            &room,
            session,
            "start",
            "session.started",
            format!("session started on {}", s.host),
            s.started_at,
        ));
        if let Some((at, reason)) = s.ended {
            lines.push(line(
                &room,
                session,
                "end",
                "session.ended",
                format!("session ended: {reason:?}"),
                at,
            ));
        }
    }
    for instance in
        world.instances(project).filter(|i| world.session(i.key.session).is_some_and(|s| s.room == id))
    {
        for (n, note) in instance.notes.iter().enumerate() {
            let key = format!("{}-{n}", instance.key.service);
            lines.push(line(
                &room,
                instance.key.session,
                &key,
                &note.reason,
                note.message.clone(),
                note.last_at,
            ));
        }
    }
    lines.sort_by(|a, b| b["created_at"].as_str().cmp(&a["created_at"].as_str()));
    let page = paging.cut(lines)?;
    Ok(Json(json!({"events": page.items})))
}

fn line(
    room: &Room,
    session: crate::id::SessionId,
    key: &str,
    kind: &str,
    message: String,
    at: chrono::DateTime<chrono::Utc>,
) -> Value {
    json!({"id": format!("{session}-{key}"), "room_name": room.name, "session_id": session.to_string(),
        "type": kind, "message": message, "severity": "info", "created_at": at})
}
