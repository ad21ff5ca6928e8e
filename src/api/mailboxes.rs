//! Mailboxes.

mod deliveries;

use super::auth::{Access, Caller, InProject};
use super::body::Body;
use super::paging::Paging;
use super::route::Route;
use super::{Api, Problem};
use crate::app::Error;
use crate::domain::mailbox::Mailbox;
use crate::id::{ProjectId, RoomId};
use crate::name::QueueName;
use crate::projection::World;
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::Method;
use axum::routing::{delete, get, post, put};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

pub(super) fn routes() -> Vec<Route> {
    const ALL: &str = "/accounts/projects/{project_id}/mailboxes";
    const ONE: &str = "/accounts/projects/{project_id}/mailboxes/{address}";
    let route = |method, path, name, summary, handler| {
        Route::new(method, path, name, summary, Access::Account, handler)
    };
    let mut routes = vec![
        route(Method::GET, ALL, "list_mailboxes", "Mailboxes of a project", get(list)),
        route(Method::POST, ALL, "create_mailbox", "Make a mailbox", post(create)).takes::<MailboxBody>(),
        route(Method::GET, ONE, "get_mailbox", "One mailbox", get(one)),
        route(Method::PUT, ONE, "update_mailbox", "Change a mailbox", put(update)).takes::<MailboxBody>(),
        route(Method::DELETE, ONE, "delete_mailbox", "Delete a mailbox", delete(remove)),
        route(
            Method::GET,
            "/accounts/projects/{project_id}/rooms/{room}/mailboxes",
            "list_room_mailboxes",
            "Mailboxes of a room",
            get(of_room),
        ),
    ];
    routes.extend(deliveries::routes());
    routes
}

#[derive(Debug, Deserialize, JsonSchema)]
struct MailboxBody {
    /// Not in updates: the path has it.
    #[serde(default)]
    address: Option<String>,
    room: String,
    queue: String,
    #[serde(default)]
    public: bool,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

impl MailboxBody {
    fn read(self, world: &World, project: ProjectId, address: String) -> Result<Mailbox, Problem> {
        let (room, _) = world.find_room(project, &self.room).ok_or_else(|| Error::no_room(&self.room))?;
        let queue = QueueName::new(self.queue).map_err(|e| Problem::bad_request(e.to_string()))?;
        Ok(Mailbox {
            address,
            room,
            queue,
            public: self.public,
            annotations: self.annotations.unwrap_or_default(),
        })
    }
}

fn wire(world: &World, mailbox: &Mailbox) -> Value {
    let room = world.room(mailbox.room).map(|r| r.name.to_string()).unwrap_or_default();
    json!({"address": mailbox.address, "room": room, "room_id": mailbox.room.to_string(),
        "queue": mailbox.queue, "public": mailbox.public, "annotations": mailbox.annotations})
}

fn page(
    world: &World,
    project: ProjectId,
    room: Option<RoomId>,
    paging: &Paging,
) -> Result<Json<Value>, Problem> {
    let mut all: Vec<&Mailbox> = world
        .mailboxes(project)
        .map(|(_, m)| m)
        .filter(|m| room.is_none_or(|r| r == m.room) && paging.wants(&m.address))
        .collect();
    all.sort_by(|a, b| a.address.cmp(&b.address));
    let page = paging.cut(all)?;
    let items: Vec<Value> = page.items.into_iter().map(|m| wire(world, m)).collect();
    Ok(Json(json!({"mailboxes": items, "total": page.total, "continuation_token": page.next})))
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

async fn create(
    State(api): State<Api>,
    caller: Caller,
    InProject(project): InProject,
    Body(mut body): Body<MailboxBody>,
) -> Result<Json<Value>, Problem> {
    let address = body.address.take().ok_or_else(|| Problem::bad_request("give the mailbox an `address`"))?;
    let mailbox = body.read(&api.app.world(), project, address)?;
    api.app.create_mailbox(&caller.actor(), project, mailbox).await?;
    Ok(Json(json!({})))
}

async fn one(
    State(api): State<Api>,
    InProject(project): InProject,
    Path((_, address)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let (_, mailbox) = api.app.mailbox_named(project, &address)?;
    Ok(Json(json!({"mailbox": wire(&api.app.world(), &mailbox)})))
}

async fn update(
    State(api): State<Api>,
    caller: Caller,
    InProject(project): InProject,
    Path((_, address)): Path<(String, String)>,
    Body(body): Body<MailboxBody>,
) -> Result<Json<Value>, Problem> {
    let (id, old) = api.app.mailbox_named(project, &address)?;
    let new = body.read(&api.app.world(), project, old.address)?;
    api.app.update_mailbox(&caller.actor(), id, new).await?;
    Ok(Json(json!({})))
}

async fn remove(
    State(api): State<Api>,
    caller: Caller,
    InProject(project): InProject,
    Path((_, address)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let (id, _) = api.app.mailbox_named(project, &address)?;
    api.app.delete_mailbox(&caller.actor(), id).await?;
    Ok(Json(json!({})))
}
