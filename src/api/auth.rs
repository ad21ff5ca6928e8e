//! Who calls, and whether the route is for them: decided here, before any handler runs.

use super::roles::User;
use super::{Api, Problem};
use crate::app::key::ApiKeyText;
use crate::app::token::Bearer;
use crate::app::{Actor, App};
use crate::id::{ApiKeyId, ProjectId, RoomId, ServiceAccountId};
use crate::vault::Secret;
use axum::extract::{FromRequestParts, RawPathParams, Request, State};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::Response;

/// Service accounts with this annotation may make projects and act in all of them.
pub const OPERATOR_ANNOTATION: &str = crate::domain::account::OPERATOR;

/// Who may use a route.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Everybody, without credentials.
    Open,
    /// Any valid credential.
    SignedIn,
    /// A service account, a member or a participant of the project in the path. Participants see their own room only, members
    /// what their roles say ([`super::roles`]).
    Member,
    /// A service account of the project in the path, or a member with the role that [`super::roles`] asks for.
    Account,
    /// A service account that operates this server.
    Operator,
    /// Whoever may use models: as [`Access::SignedIn`], a token with the `llm` grant, or a delegation.
    Models,
}

/// A verified caller.
#[derive(Clone, Debug)]
pub enum Caller {
    Account {
        id: ServiceAccountId,
        key: ApiKeyId,
        name: String,
        operator: bool,
    },
    Participant(Box<Bearer>),
    /// A person by a token of their own.
    User(Box<User>),
}

impl Caller {
    #[must_use]
    pub fn project(&self) -> ProjectId {
        match self {
            Self::Account { id, .. } => id.project(),
            Self::Participant(bearer) => bearer.project,
            Self::User(user) => user.project,
        }
    }

    #[must_use]
    pub fn actor(&self) -> Actor {
        match self {
            Self::Account { name, .. } => Actor::new("service-account", name),
            Self::Participant(bearer) => Actor::new("participant", &bearer.name),
            Self::User(user) => Actor::new("user", &user.name),
        }
    }

    /// Name by which participants see this caller.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Account { name, .. } => name,
            Self::Participant(bearer) => &bearer.name,
            Self::User(user) => &user.name,
        }
    }

    /// Participants reach only the room their token is for. Where people may go, the guard of the route has said.
    pub fn check_room(&self, room: &str) -> Result<(), Problem> {
        match self {
            Self::Account { .. } | Self::User(_) => Ok(()),
            Self::Participant(bearer) if bearer.room.as_deref() == Some(room) => Ok(()),
            Self::Participant(_) => Err(Problem::forbidden(format!(
                "this participant token is not for room `{room}`; use an API key"
            ))),
        }
    }

    /// The caller in a room: a person is a participant there, with what its role lets it do.
    pub(super) fn in_room(&self, api: &Api, room: RoomId) -> Result<Self, Problem> {
        match self {
            Self::User(user) => Ok(Self::Participant(Box::new(user.participant(api, room)?))),
            other => Ok(other.clone()),
        }
    }

    /// The person who calls, where it is one.
    pub(super) fn user(&self) -> Option<&User> {
        match self {
            Self::User(user) => Some(user),
            _ => None,
        }
    }

    /// Whether the project is one that the caller may see.
    pub(super) fn sees_project(&self, project: ProjectId) -> bool {
        let is_stranger = self.user().is_some_and(|user| user.roles.is_empty());
        self.is_operator() || (project == self.project() && !is_stranger)
    }

    pub(super) fn is_operator(&self) -> bool {
        matches!(self, Self::Account { operator: true, .. })
    }
}

/// Middleware of every route: verifies the credential and holds it against the route's [`Access`].
pub(super) async fn guard(
    State((api, access, operation)): State<(Api, Access, &'static str)>,
    path: RawPathParams,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    if access == Access::Open {
        return Ok(next.run(request).await);
    }
    if access == Access::Models {
        let user = super::llm::admit(&api, request.headers()).await?;
        request.extensions_mut().insert(user);
        return Ok(next.run(request).await);
    }
    let bearer = bearer(request.headers()).map(str::to_owned);
    let caller = identify(&api.app, bearer.as_deref()).await?;
    let project = path.iter().find(|(name, _)| *name == "project_id").map(|(_, value)| value.to_owned());
    allow(access, &caller, project.as_deref(), request.uri().path())?;
    if let Caller::User(user) = &caller {
        super::roles::check(&api, user, operation, &path)?;
    }
    request.extensions_mut().insert(caller);
    Ok(next.run(request).await)
}

fn allow(access: Access, caller: &Caller, project: Option<&str>, path: &str) -> Result<(), Problem> {
    if let Some(text) = project {
        let same = text.parse::<ProjectId>().is_ok_and(|id| id == caller.project());
        if !same && !caller.is_operator() {
            // Asking whether a project is there must not tell strangers that it is.
            let whole = path.trim_end_matches('/').ends_with(text);
            return Err(if whole {
                Problem::not_found(format!("no project `{text}` here that this credential may use"))
            } else {
                Problem::forbidden(format!(
                    "this credential belongs to project {}, not `{text}`; check MESHAGENT_PROJECT_ID",
                    caller.project()
                ))
            });
        }
    }
    match (access, caller) {
        (Access::Open | Access::SignedIn | Access::Member | Access::Models, _)
        | (Access::Account, Caller::Account { .. } | Caller::User(_)) => Ok(()),
        (Access::Account, Caller::Participant(_)) => {
            Err(Problem::forbidden("participant tokens cannot do this; use an API key of the project"))
        }
        (Access::Operator, caller) if caller.is_operator() => Ok(()),
        (Access::Operator, _) => Err(Problem::forbidden(
            "only an operator of this server may do this; use the API key that `meshagent up` made at its first start",
        )),
    }
}

/// Reads the bearer: an API key, or a participant token.
pub(super) async fn identify(app: &App, bearer: Option<&str>) -> Result<Caller, Problem> {
    let Some(bearer) = bearer else {
        return Err(Problem::unauthorized(
            "no credential: send `Authorization: Bearer` with an API key (MESHAGENT_API_KEY) or a participant token",
        ));
    };
    if bearer.starts_with("ma-") {
        return by_key(app, bearer).await;
    }
    let bearer = app.verify(bearer).await.map_err(|error| Problem::unauthorized(error.to_string()))?;
    if let Some(name) = bearer.user {
        let roles = crate::app::project_members::roles(&app.world(), bearer.project, &name);
        return Ok(Caller::User(Box::new(User { project: bearer.project, name, roles })));
    }
    Ok(Caller::Participant(Box::new(bearer)))
}

pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let header = headers.get(AUTHORIZATION)?.to_str().ok()?;
    header.strip_prefix("Bearer ").map(str::trim).filter(|b| !b.is_empty())
}

async fn by_key(app: &App, text: &str) -> Result<Caller, Problem> {
    let refused =
        || Problem::unauthorized("this API key is not known here or was revoked; check MESHAGENT_API_KEY");
    let given = ApiKeyText::parse(text).map_err(|_| refused())?;
    let id = ApiKeyId::new(given.project, given.key);
    let kept = app.key_secret(id).await?.ok_or_else(refused)?;
    if !same(&kept, &given.secret) {
        return Err(refused());
    }
    let world = app.world();
    let account = world.key(id).map(|key| key.account).ok_or_else(refused)?;
    let profile = &world.account(account).ok_or_else(refused)?.profile;
    let operator = profile.annotations.get(OPERATOR_ANNOTATION).is_some_and(|v| v == "true");
    Ok(Caller::Account { id: account, key: id, name: profile.name.clone(), operator })
}

/// In a time that does not depend on where the two differ.
fn same(kept: &Secret, given: &Secret) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(kept.expose(), given.expose()).is_ok()
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let caller = parts.extensions.get::<Self>().cloned();
        caller.ok_or_else(|| Problem::unauthorized("this route needs a credential"))
    }
}

/// The project in the path. The guard has held it against the caller already.
#[derive(Clone, Copy, Debug)]
pub(super) struct InProject(pub ProjectId);

impl<S: Send + Sync> FromRequestParts<S> for InProject {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let params = RawPathParams::from_request_parts(parts, state)
            .await
            .map_err(|error| Problem::bad_request(error.to_string()))?;
        let text = params.iter().find(|(name, _)| *name == "project_id").map(|(_, value)| value);
        let id = text.and_then(|t| t.parse().ok());
        id.map(Self).ok_or_else(|| {
            let text = text.unwrap_or_default();
            Problem::not_found(format!("no project has the id `{text}`; `meshagent project list` shows them"))
        })
    }
}
