//! Files over HTTP (REST reference §5.18): list, look, get, put, delete, copy, move; signed URLs and links; those of a
//! project.

mod actions;
mod answer;
mod presign;
mod project;

use super::auth::{Access, Caller, InProject};
use super::route::Route;
use super::{Api, Problem};
use crate::app::Error;
use crate::blob::{BlobError, FileInfo, RoomFiles};
use crate::domain::access::{self, Need, StoragePath};
use crate::error_code::RoomCode;
use crate::id::{ProjectId, RoomId};
use crate::spec::grant::FileAction;
use crate::spec::{ProjectRole, RoomRole};
use axum::Json;
use axum::extract::{FromRequestParts, Query, RawPathParams, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;
use axum::routing::{delete, get, post, put};
use futures_util::TryStreamExt;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

const ROOT: &str = "/files/{project_id}/rooms/{room}/";
const FILE: &str = "/files/{project_id}/rooms/{room}/{*path}";
const AGENT_ROOT: &str = "/files/{project_id}/agents/{agent}/";
const AGENT_FILE: &str = "/files/{project_id}/agents/{agent}/{*path}";

pub(super) fn routes() -> Vec<Route> {
    of_rooms().into_iter().chain(of_agents()).chain(beside_rooms()).collect()
}

fn of_rooms() -> Vec<Route> {
    let route = |method, path, name, summary, handler| {
        Route::new(method, path, name, summary, Access::Member, handler)
    };
    vec![
        route(
            Method::GET,
            ROOT,
            "list_files",
            "Lists a folder (`list`, `prefix`) or tells what the caller may do (`permissions`)",
            get(read),
        ),
        route(
            Method::GET,
            FILE,
            "get_file",
            "A file's bytes; ranges and conditions are honoured. HEAD works too",
            get(read),
        ),
        route(Method::PUT, FILE, "put_file", "Stores a file, whole or not at all", put(store)),
        route(
            Method::DELETE,
            FILE,
            "delete_file",
            "Deletes a file, or with `recursive` a folder",
            delete(remove),
        ),
        route(
            Method::POST,
            FILE,
            "change_files",
            "Makes a folder, or copies or moves what is elsewhere here (`action`: mkdir, copy, move)",
            post(actions::act),
        )
        .takes::<actions::Asked>(),
    ]
}

/// Files of managed agents: those of the rooms in which they live.
fn of_agents() -> Vec<Route> {
    let route = |method, path, name, summary, handler| {
        Route::new(method, path, name, summary, Access::Member, handler)
    };
    vec![
        route(Method::GET, AGENT_ROOT, "list_agent_files", "As `list_files`, of a managed agent", get(read)),
        route(Method::GET, AGENT_FILE, "get_agent_file", "As `get_file`, of a managed agent", get(read)),
        route(Method::PUT, AGENT_FILE, "put_agent_file", "As `put_file`, of a managed agent", put(store)),
        route(
            Method::DELETE,
            AGENT_FILE,
            "delete_agent_file",
            "As `delete_file`, of a managed agent",
            delete(remove),
        ),
        route(
            Method::POST,
            AGENT_FILE,
            "change_agent_files",
            "As `change_files`, of a managed agent",
            post(actions::act),
        )
        .takes::<actions::Asked>(),
    ]
}

/// Files of projects, and what needs no credential.
fn beside_rooms() -> Vec<Route> {
    vec![
        Route::new(
            Method::POST,
            "/files/v1/presign",
            "presign_file",
            "Makes a URL by which somebody without a credential may do one thing to one path for a while",
            Access::SignedIn,
            post(presign::make),
        )
        .takes::<presign::Asked>(),
        Route::new(
            Method::POST,
            "/projects/{project_id}/storage/upload",
            "upload_project_file",
            "Stores a file of the project (`path`), whole or not at all",
            Access::Account,
            post(project::upload),
        ),
        Route::new(
            Method::GET,
            "/projects/{project_id}/storage/download",
            "download_project_file",
            "A file of the project (`path`)",
            Access::Account,
            get(project::download),
        ),
        signed(Method::GET, "get_signed", "A file by a signed URL. HEAD works too", get(presign::follow)),
        signed(Method::PUT, "put_signed", "Stores a file by a signed URL", put(presign::follow)),
        signed(Method::DELETE, "delete_signed", "Deletes a file by a signed URL", delete(presign::follow)),
        Route::new(
            Method::GET,
            "/links/{project_id}/{room}/{*path}",
            "get_link",
            "A file by a signed link that expires",
            Access::Open,
            get(link),
        ),
    ]
}

fn signed(method: Method, name: &'static str, summary: &'static str, handler: MethodRouter<Api>) -> Route {
    Route::new(method, "/signed/{project_id}/{room}/{*path}", name, summary, Access::Open, handler)
}

/// A path in a room that the caller may address.
#[derive(Debug)]
struct Place {
    project: ProjectId,
    room: RoomId,
    room_name: String,
    path: String,
    caller: Caller,
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
        let path = param("path").unwrap_or_default();
        match param("agent") {
            Some(agent) => Self::of_agent(api, project, &caller, &agent, &path),
            None => Self::of_room(api, project, &caller, &param("room").unwrap_or_default(), &path),
        }
    }
}

impl Place {
    fn of_room(
        api: &Api,
        project: ProjectId,
        caller: &Caller,
        room: &str,
        path: &str,
    ) -> Result<Self, Problem> {
        if let Some(user) = caller.user() {
            let room = api.app.world().find_room(project, room).map(|(room, _)| room);
            user.must_in(api, room, RoomRole::Guest, ProjectRole::RoomManager)?;
        }
        let (room, state) = super::rooms::find(api, project, caller, room)?;
        let path = path.trim_matches('/').to_owned();
        let caller = caller.in_room(api, room)?;
        Ok(Self { project, room, room_name: state.name.to_string(), path, caller })
    }

    fn of_agent(
        api: &Api,
        project: ProjectId,
        caller: &Caller,
        agent: &str,
        path: &str,
    ) -> Result<Self, Problem> {
        let world = api.app.world();
        let found = api.app.agent_named(project, agent).and_then(|(id, _)| {
            let name = world.room(id.room()).map(|state| state.name.to_string());
            Ok((id.room(), name.ok_or_else(|| Error::no_agent(agent))?))
        });
        if let Caller::Participant(_) = caller
            && !found.as_ref().is_ok_and(|(_, name)| caller.check_room(name).is_ok())
        {
            // Whoever may not reach this agent's files learns neither that it is there nor its id.
            let text = "this participant token is not for this agent's room, if there is such an agent; use an API key";
            return Err(Problem::forbidden(text));
        }
        if let Caller::User(user) = caller {
            let room = found.as_ref().ok().map(|(room, _)| *room);
            user.must_in(api, room, RoomRole::Guest, ProjectRole::AgentManager)?;
        }
        let (room, room_name) = found?;
        let path = path.trim_matches('/').to_owned();
        Ok(Self { project, room, room_name, path, caller: caller.in_room(api, room)? })
    }

    /// Participants may do what their token's storage grant says; service accounts everything.
    fn may(&self, action: FileAction, path: &str, subtree: bool) -> Result<(), Problem> {
        let Caller::Participant(bearer) = &self.caller else { return Ok(()) };
        let scope = bearer.api.as_ref().ok_or_else(|| {
            Problem::forbidden(
                "this participant token carries no `api` grant, so it may not use room storage",
            )
        })?;
        let path = StoragePath::parse(path).map_err(|error| Problem::bad_request(error.to_string()))?;
        let need = match action {
            FileAction::List => Need::ListFolder(&path),
            action if subtree => Need::FileTree { action, path: &path },
            action => Need::File { action, path: &path },
        };
        access::check(scope, &need).map_err(|denied| Problem::forbidden(denied.to_string()))
    }

    fn files(&self, api: &Api) -> RoomFiles {
        api.files.room(self.room)
    }
}

#[derive(Debug, Default, Deserialize)]
struct Wanted {
    list: Option<String>,
    permissions: Option<String>,
    #[serde(default)]
    prefix: String,
    limit: Option<usize>,
    continuation_token: Option<String>,
    overwrite: Option<bool>,
    recursive: Option<bool>,
    action: Option<String>,
}

impl From<BlobError> for Problem {
    fn from(error: BlobError) -> Self {
        let status = match error.code() {
            RoomCode::StorageNotFound => StatusCode::NOT_FOUND,
            RoomCode::StorageInvalidPath => StatusCode::BAD_REQUEST,
            RoomCode::StorageAlreadyExists | RoomCode::StorageRecursiveRequired => StatusCode::CONFLICT,
            _ if matches!(error, BlobError::DiskFull { .. }) => StatusCode::INSUFFICIENT_STORAGE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Problem::new(status, "storage", error.to_string())
    }
}

async fn read(
    State(api): State<Api>,
    place: Place,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    if wanted.permissions.is_some() {
        return Ok(Json(permissions(&place)).into_response());
    }
    if wanted.list.is_some() {
        return list(&api, &place, &wanted).await.map(IntoResponse::into_response);
    }
    place.may(FileAction::Read, &place.path, false)?;
    let info = place.files(&api).stat(&place.path).await?;
    let missing = || BlobError::NotFound { path: place.path.clone() };
    answer::file(&place.files(&api), &place.path, info.ok_or_else(missing)?, &headers, false).await
}

fn permissions(place: &Place) -> Value {
    let all = [
        ("list", FileAction::List),
        ("read", FileAction::Read),
        ("write", FileAction::Write),
        ("delete", FileAction::Delete),
        ("presign", FileAction::Presign),
    ];
    let may = |subtree: bool| -> Vec<&str> {
        all.iter().filter(|(_, a)| place.may(*a, &place.path, subtree).is_ok()).map(|(n, _)| *n).collect()
    };
    json!({"actions": may(false), "recursive_actions": may(true)})
}

async fn list(api: &Api, place: &Place, wanted: &Wanted) -> Result<Json<Value>, Problem> {
    let folder = match (place.path.as_str(), wanted.prefix.trim_matches('/')) {
        ("", prefix) => prefix.to_owned(),
        (path, "") => path.to_owned(),
        (path, prefix) => format!("{path}/{prefix}"),
    };
    place.may(FileAction::List, &folder, false)?;
    let entries = place.files(api).list(&folder).await?;
    let after = wanted.continuation_token.clone().unwrap_or_default();
    let limit = wanted.limit.unwrap_or(super::paging::PAGE_MAX).clamp(1, super::paging::PAGE_MAX);
    let visible = |name: &str| {
        let path = if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
        place.may(FileAction::List, &path, false).is_ok()
    };
    let later = entries.into_iter().filter(|e| after.is_empty() || e.name > after);
    let mut rest = later.filter(|e| visible(&e.name)).peekable();
    let page: Vec<_> = rest.by_ref().take(limit).collect();
    let next = rest.peek().and_then(|_| page.last()).map(|e| e.name.clone());
    let entries: Vec<Value> = page
        .iter()
        .map(|e| {
            json!({"name": e.name, "is_folder": e.is_folder, "size": e.size,
                "created_at": e.created_at, "updated_at": e.updated_at})
        })
        .collect();
    Ok(Json(json!({"entries": entries, "continuation_token": next})))
}

async fn store(
    State(api): State<Api>,
    place: Place,
    Query(wanted): Query<Wanted>,
    request: Request,
) -> Result<Json<Value>, Problem> {
    place.may(FileAction::Write, &place.path, false)?;
    let files = place.files(&api);
    let info = receive(&files, &place.path, wanted.overwrite.unwrap_or(true), request).await?;
    api.host.file_changed(place.room, &place.path, false, place.caller.name());
    Ok(Json(json!({"path": place.path, "size": info.size})))
}

/// Stores a request's body as a file, whole or not at all.
async fn receive(
    files: &RoomFiles,
    path: &str,
    overwrite: bool,
    request: Request,
) -> Result<FileInfo, Problem> {
    let mut upload = files.open_write(path, overwrite).await?;
    let mut body = request.into_body().into_data_stream();
    let broken = |error: axum::Error| {
        Problem::bad_request(format!("the upload broke off: {error}; nothing was stored"))
    };
    while let Some(data) = body.try_next().await.map_err(broken)? {
        upload.write(data).await?;
    }
    Ok(upload.commit().await?)
}

async fn remove(
    State(api): State<Api>,
    place: Place,
    Query(wanted): Query<Wanted>,
) -> Result<Json<Value>, Problem> {
    let recursive = wanted.recursive.unwrap_or(false);
    place.may(FileAction::Delete, &place.path, recursive)?;
    place.files(&api).delete(&place.path, recursive).await?;
    api.host.file_changed(place.room, &place.path, true, place.caller.name());
    tracing::debug!(project = %place.project, room = place.room_name, "a file was deleted over HTTP");
    Ok(Json(json!({})))
}

#[derive(Debug, Deserialize)]
struct Signed {
    expires: i64,
    #[serde(default)]
    download: bool,
    signature: String,
}

async fn link(
    State(api): State<Api>,
    params: axum::extract::Path<(ProjectId, Uuid, String)>,
    Query(signed): Query<Signed>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (project, room, path) = params.0;
    let room = RoomId::new(project, room);
    let good = api.links.allows(
        room,
        &path,
        signed.download,
        signed.expires,
        &signed.signature,
        api.app.clock.now(),
    );
    if !good {
        return Err(Problem::forbidden("this link has expired or was not made here; ask for a new one"));
    }
    let world = api.app.world();
    world.room(room).ok_or_else(|| Error::no_room(&room.to_string()))?;
    let files = api.files.room(room);
    let info = files.stat(&path).await?.ok_or_else(|| BlobError::NotFound { path: path.clone() })?;
    answer::file(&files, &path, info, &headers, signed.download).await
}
