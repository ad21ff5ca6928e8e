//! Signed URLs: whoever holds one may do one thing to one path until it expires. What the signer may do is checked when
//! the URL is made.

use super::actions::Target;
use super::{Place, answer};
use crate::api::auth::Caller;
use crate::api::body::Body;
use crate::api::{Api, Problem};
use crate::app::Error;
use crate::app::links::{Signed, SignedMethod};
use crate::blob::BlobError;
use crate::id::{ProjectId, RoomId};
use crate::spec::grant::FileAction;
use axum::Json;
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, Method};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, TimeDelta, Utc};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

/// Longest life of a signed URL, seconds: seven days.
const LIFE_SECONDS_MAX: i64 = 604_800;
/// Its life where the caller names none, seconds.
const LIFE_SECONDS_DEFAULT: i64 = 3_600;

/// What to sign.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Asked {
    target: Target,
    path: String,
    #[serde(default = "get")]
    method: String,
    /// Seconds.
    #[serde(default = "life")]
    expires_in: i64,
}

fn get() -> String {
    "GET".to_owned()
}

const fn life() -> i64 {
    LIFE_SECONDS_DEFAULT
}

pub(super) async fn make(
    State(api): State<Api>,
    caller: Caller,
    Body(asked): Body<Asked>,
) -> Result<Json<Value>, Problem> {
    let method: SignedMethod = asked.method.parse().map_err(|()| {
        Problem::bad_request(format!(
            "`{}` cannot be signed for; there are GET, HEAD, PUT and DELETE",
            asked.method
        ))
    })?;
    if !(1..=LIFE_SECONDS_MAX).contains(&asked.expires_in) {
        return Err(Problem::bad_request(format!(
            "`expires_in` is {}; give 1 to {LIFE_SECONDS_MAX} seconds",
            asked.expires_in
        )));
    }
    let project = asked.target.project_id.parse().ok();
    let operator = project.filter(|_| matches!(&caller, Caller::Account { operator: true, .. }));
    let place = Place::find(&api, &caller, &asked.target, asked.path, operator)?;
    let needed = match method {
        SignedMethod::Get | SignedMethod::Head => FileAction::Read,
        SignedMethod::Put => FileAction::Write,
        SignedMethod::Delete => FileAction::Delete,
    };
    place.may(FileAction::Presign, &place.path, false)?;
    place.may(needed, &place.path, false)?;
    crate::blob::FilePath::parse_file(&place.path)?;
    let expires_at = api.app.clock.now() + TimeDelta::seconds(asked.expires_in);
    let signed = Signed { method, room: place.room, path: &place.path, expires: expires_at.timestamp() };
    let expires_at: DateTime<Utc> = DateTime::from_timestamp(expires_at.timestamp(), 0).unwrap_or(expires_at);
    Ok(Json(json!({
        "url": api.links.signed_url(&signed), "method": asked.method, "headers": {}, "expires_at": expires_at,
    })))
}

#[derive(Debug, Deserialize)]
pub(super) struct Given {
    expires: i64,
    /// The method it was signed for.
    method: String,
    signature: String,
}

/// Does what a signed URL allows.
pub(super) async fn follow(
    State(api): State<Api>,
    Path((project, room, path)): Path<(ProjectId, Uuid, String)>,
    Query(given): Query<Given>,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, Problem> {
    let room = RoomId::new(project, room);
    let refused = || Problem::forbidden("this URL has expired or was not made here; ask for a new one");
    let method: SignedMethod = given.method.parse().map_err(|()| refused())?;
    let fits = match (method, request.method()) {
        (SignedMethod::Get, &(Method::GET | Method::HEAD)) => true,
        (signed, asked) => signed.as_str() == asked.as_str(),
    };
    let signed = Signed { method, room, path: &path, expires: given.expires };
    if !fits || !api.links.is_signed(&signed, &given.signature, api.app.clock.now()) {
        return Err(refused());
    }
    api.app.world().room(room).ok_or_else(|| Error::no_room(&room.to_string()))?;
    let files = api.files.room(room);
    match method {
        SignedMethod::Get | SignedMethod::Head => {
            let info = files.stat(&path).await?.ok_or_else(|| BlobError::NotFound { path: path.clone() })?;
            answer::file(&files, &path, info, &headers, false).await
        }
        SignedMethod::Put => {
            let info = super::receive(&files, &path, true, request).await?;
            api.host.file_changed(room, &path, false, "signed URL");
            Ok(Json(json!({"path": path, "size": info.size})).into_response())
        }
        SignedMethod::Delete => {
            files.delete(&path, false).await?;
            api.host.file_changed(room, &path, true, "signed URL");
            Ok(Json(json!({})).into_response())
        }
    }
}
