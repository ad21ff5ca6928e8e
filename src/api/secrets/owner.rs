//! Whose secrets a path is about, and which one. What is not the owner's does not exist for the caller.

use crate::api::auth::Caller;
use crate::api::{Api, Problem};
use crate::app::Error;
use crate::app::secrets::use_of::find_account;
use crate::domain::secret::{Owner, Secret};
use crate::id::{OwnedSecretId, ProjectId, ServiceAccountId};
use crate::projection::World;
use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use uuid::Uuid;

/// The secrets of one owner.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owned {
    pub project: ProjectId,
    pub owner: Owner,
    /// The caller.
    pub by: Uuid,
}

/// One secret of an owner, which exists.
#[derive(Clone, Copy, Debug)]
pub(super) struct At {
    pub id: OwnedSecretId,
    owner: Owner,
    pub by: Uuid,
}

impl Owned {
    pub fn all<'a>(&self, world: &'a World) -> impl Iterator<Item = (OwnedSecretId, &'a Secret)> + use<'a> {
        let owner = self.owner;
        world.secrets(self.project).filter(move |(_, secret)| secret.owner == owner)
    }
}

impl At {
    pub fn secret<'a>(&self, world: &'a World) -> Result<&'a Secret, Problem> {
        let found = world.secret(self.id).filter(|secret| secret.owner == self.owner);
        found.ok_or_else(|| none(&self.id.to_string()))
    }
}

fn none(text: &str) -> Problem {
    Problem::not_found(format!(
        "no secret has the id `{text}` here; `meshagent secret list` shows those that exist, with their ids"
    ))
}

/// A service account by its UUID, name, key or address.
pub(super) fn account(world: &World, project: ProjectId, text: &str) -> Result<ServiceAccountId, Problem> {
    find_account(world, project, text).ok_or_else(|| Problem::from(Error::no_account(text)))
}

fn segment(params: &RawPathParams, wanted: &str) -> Option<String> {
    params.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value.to_owned())
}

async fn params<S: Send + Sync>(parts: &mut Parts, state: &S) -> Result<RawPathParams, Problem> {
    let read = RawPathParams::from_request_parts(parts, state).await;
    read.map_err(|error| Problem::bad_request(error.to_string()))
}

impl FromRequestParts<Api> for Owned {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, api).await?;
        let Caller::Account { id, .. } = caller else {
            return Err(Problem::forbidden(
                "participant tokens and people own no secrets; use an API key of the project",
            ));
        };
        let params = params(parts, api).await?;
        let Some(text) = segment(&params, "account_id") else {
            return Ok(Self { project: id.project(), owner: Owner::User(id.uuid()), by: id.uuid() });
        };
        let project = segment(&params, "project_id").and_then(|text| text.parse().ok());
        let project = project.ok_or_else(|| {
            Problem::not_found("no project has this id; `meshagent project list` shows them")
        })?;
        let account = account(&api.app.world(), project, &text)?;
        Ok(Self { project, owner: Owner::ServiceAccount(account.uuid()), by: id.uuid() })
    }
}

impl FromRequestParts<Api> for At {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let owned = Owned::from_request_parts(parts, api).await?;
        let params = params(parts, api).await?;
        let text = segment(&params, "secret_id").unwrap_or_default();
        let uuid = Uuid::parse_str(&text).map_err(|_| none(&text))?;
        let at = Self { id: OwnedSecretId::new(owned.project, uuid), owner: owned.owner, by: owned.by };
        at.secret(&api.app.world())?;
        Ok(at)
    }
}
