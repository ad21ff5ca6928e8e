//! Files of a project as such, that belong to no room.

use super::answer;
use crate::api::auth::InProject;
use crate::api::{Api, Problem};
use crate::blob::{BlobError, RoomFiles};
use crate::id::{ProjectId, RoomId};
use axum::Json;
use axum::extract::{Query, Request, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

#[derive(Debug, Deserialize)]
pub(super) struct At {
    path: String,
}

/// They are kept beside those of the rooms; no room has this identifier.
fn files(api: &Api, project: ProjectId) -> RoomFiles {
    api.files.room(RoomId::new(project, Uuid::nil()))
}

pub(super) async fn upload(
    State(api): State<Api>,
    InProject(project): InProject,
    Query(at): Query<At>,
    request: Request,
) -> Result<Json<Value>, Problem> {
    let info = super::receive(&files(&api, project), &at.path, true, request).await?;
    Ok(Json(json!({"path": at.path, "size": info.size})))
}

pub(super) async fn download(
    State(api): State<Api>,
    InProject(project): InProject,
    Query(at): Query<At>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let files = files(&api, project);
    let info = files.stat(&at.path).await?.filter(|info| !info.is_folder);
    let info = info.ok_or_else(|| BlobError::NotFound { path: at.path.clone() })?;
    answer::file(&files, &at.path, info, &headers, false).await
}
