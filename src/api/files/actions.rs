//! Folders made, files copied and moved, also between the rooms of a project.

use super::{Place, Wanted};
use crate::api::body::Body;
use crate::api::{Api, Problem};
use crate::blob::BlobError;
use crate::spec::grant::FileAction;
use axum::Json;
use axum::extract::{Query, State};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

/// What `copy` and `move` take; `mkdir` takes nothing.
#[derive(Debug, Default, Deserialize, JsonSchema)]
pub(super) struct Asked {
    #[serde(default)]
    source: Option<Location>,
    #[serde(default)]
    overwrite: bool,
}

/// A path in a tree of files.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Location {
    pub target: Target,
    pub path: String,
}

/// Whose files.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Target {
    pub project_id: String,
    pub kind: TargetKind,
    pub name: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum TargetKind {
    Room,
    Agent,
}

pub(super) async fn act(
    State(api): State<Api>,
    place: Place,
    Query(wanted): Query<Wanted>,
    Body(asked): Body<Asked>,
) -> Result<Json<Value>, Problem> {
    match wanted.action.as_deref() {
        Some("mkdir") => {
            place.may(FileAction::Write, &place.path, false)?;
            place.files(&api).make_folder(&place.path).await?;
            api.host.file_changed(place.room, &place.path, false, place.caller.name());
        }
        Some(action @ ("copy" | "move")) => {
            let source = asked.source.ok_or_else(|| {
                Problem::bad_request(format!(
                    "`{action}` needs `source`: {{target, path}} of what is to be there"
                ))
            })?;
            let from = place.at(&api, &source.target, source.path)?;
            transfer(&api, &from, &place, action == "move", asked.overwrite).await?;
        }
        other => {
            let given = other.map_or("no action".to_owned(), |other| format!("the action `{other}`"));
            return Err(Problem::bad_request(format!(
                "{given} is not known; there are mkdir, copy and move"
            )));
        }
    }
    Ok(Json(json!({"path": place.path})))
}

async fn transfer(api: &Api, from: &Place, to: &Place, moves: bool, overwrite: bool) -> Result<(), Problem> {
    // Before anything is told of what is there.
    from.may(FileAction::Read, &from.path, false)?;
    to.may(FileAction::Write, &to.path, false)?;
    let (source, target) = (from.files(api), to.files(api));
    let missing = || BlobError::NotFound { path: from.path.clone() };
    let is_folder = source.stat(&from.path).await?.ok_or_else(missing)?.is_folder;
    from.may(FileAction::Read, &from.path, is_folder)?;
    to.may(FileAction::Write, &to.path, is_folder)?;
    if moves {
        from.may(FileAction::Delete, &from.path, is_folder)?;
    }
    if moves && from.room == to.room {
        source.rename(&from.path, &to.path, overwrite).await?;
    } else {
        source.copy(&from.path, &target, &to.path, overwrite).await?;
        if moves {
            source.delete(&from.path, is_folder).await?;
        }
    }
    api.host.file_changed(to.room, &to.path, false, to.caller.name());
    if moves {
        api.host.file_changed(from.room, &from.path, true, from.caller.name());
    }
    Ok(())
}

impl Place {
    /// Another place that the same caller names.
    pub(super) fn at(&self, api: &Api, target: &Target, path: String) -> Result<Self, Problem> {
        Self::find(api, &self.caller, target, path, Some(self.project))
    }

    /// The place a target and a path name; `project` is where the request itself is.
    pub(super) fn find(
        api: &Api,
        caller: &crate::api::auth::Caller,
        target: &Target,
        path: String,
        project: Option<crate::id::ProjectId>,
    ) -> Result<Self, Problem> {
        let own = project.unwrap_or_else(|| caller.project());
        if target.project_id.parse().ok() != Some(own) {
            return Err(Problem::forbidden(format!(
                "this request reaches files of project {own} only, not of `{}`",
                target.project_id
            )));
        }
        match target.kind {
            TargetKind::Room => Self::of_room(api, own, caller, &target.name, &path),
            TargetKind::Agent => Self::of_agent(api, own, caller, &target.name, &path),
        }
    }
}
