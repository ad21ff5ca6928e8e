//! Participant tokens minted by the server, and the tokens by which people act in the project.

use super::auth::{Access, Caller, InProject};
use super::body::Body;
use super::roles::User;
use super::rooms::CONNECT_TOKEN_SECONDS;
use super::route::Route;
use super::{Api, Problem};
use crate::app::token::{Grant, Mint, USER_GRANT};
use crate::domain::member;
use crate::id::ProjectId;
use crate::spec::ApiScope;
use axum::Json;
use axum::extract::State;
use axum::http::Method;
use axum::routing::post;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::new(
            Method::POST,
            "/accounts/projects/{project_id}/participant-tokens",
            "create_participant_token",
            "Mint a participant token; with nothing but `email`, the token by which that person acts in the project",
            Access::Account,
            post(create),
        )
        .takes::<TokenBody>(),
    ]
}

#[derive(Debug, Deserialize, JsonSchema)]
struct GrantBody {
    name: String,
    scope: Value,
}

/// Either `grants`, or `room_name` with `role` and `api`, or only `email`.
#[derive(Debug, Deserialize, JsonSchema)]
struct TokenBody {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    email: Option<String>,
    #[serde(default)]
    grants: Option<Vec<GrantBody>>,
    #[serde(default)]
    room_name: Option<String>,
    #[serde(default)]
    role: Option<String>,
    #[serde(default)]
    api: Option<ApiScope>,
}

impl TokenBody {
    /// The address of whom the token is to be of, where it is for a person and for nothing else.
    fn of_person(&self) -> Option<String> {
        let is_bare = self.name.is_none()
            && self.grants.is_none()
            && self.room_name.is_none()
            && self.role.is_none()
            && self.api.is_none();
        self.email.as_deref().map(member::key).filter(|email| is_bare && !email.is_empty())
    }
}

async fn create(
    State(api): State<Api>,
    caller: Caller,
    InProject(project): InProject,
    Body(body): Body<TokenBody>,
) -> Result<Json<Value>, Problem> {
    let mint = match caller.user() {
        None => match body.of_person() {
            Some(address) => of_person(project, address)?,
            None => minted(project, body)?,
        },
        Some(user) => of_room(&api, user, body)?,
    };
    Ok(Json(json!({"token": api.app.mint(mint).await?})))
}

/// What a service account asks for; it may do everything, and hand on as much.
fn minted(project: ProjectId, body: TokenBody) -> Result<Mint, Problem> {
    let name = body
        .name
        .or(body.email)
        .filter(|n| !n.trim().is_empty())
        .ok_or_else(|| Problem::bad_request("give the participant a `name`"))?;
    let mut mint = Mint::new(project, name);
    mint.role = body.role;
    mint.room = body.room_name;
    mint.api = body.api;
    mint.grants =
        body.grants.unwrap_or_default().into_iter().map(|g| Grant { name: g.name, scope: g.scope }).collect();
    Ok(mint)
}

/// The token by which a person acts in the project, with the roles they have there whenever they use it.
fn of_person(project: ProjectId, address: String) -> Result<Mint, Problem> {
    if address.len() > member::USER_BYTES_MAX || address.chars().any(char::is_control) {
        return Err(Problem::bad_request(format!(
            "a person is named by an address of at most {} bytes",
            member::USER_BYTES_MAX
        )));
    }
    let grant = Grant { name: USER_GRANT.to_owned(), scope: json!(address) };
    let mut mint = Mint::new(project, address);
    mint.grants = vec![grant];
    mint.lifetime_seconds = Some(CONNECT_TOKEN_SECONDS);
    Ok(mint)
}

/// What a person asks for: a token for one room, which may do what that person may do there, and ends.
fn of_room(api: &Api, user: &User, body: TokenBody) -> Result<Mint, Problem> {
    if body.grants.is_some() || body.api.is_some() {
        return Err(Problem::forbidden(
            "people mint tokens for one room, which may do what they may do there themselves: give `room_name`, without \
             `grants` and `api`, or use an API key",
        ));
    }
    if let Some(role) = body.role.as_deref().filter(|role| *role != "user") {
        // Others in the room, and what was delegated to an agent, go by this.
        return Err(Problem::forbidden(format!(
            "people mint tokens for users, not for the role `{}`; leave `role` out, or use an API key",
            role.chars().take(32).collect::<String>()
        )));
    }
    let room =
        body.room_name.ok_or_else(|| Problem::bad_request("give the `room_name` that the token is for"))?;
    let name = body.name.or(body.email).unwrap_or_else(|| user.name.clone());
    let (other, world) = (member::key(&name), api.app.world());
    let found = world.find_room(user.project, &room);
    let is_known = !crate::app::project_members::roles(&world, user.project, &other).is_empty()
        || found.is_some_and(|(_, room)| room.users.contains_key(&other));
    if other != user.name && (is_known || other.contains('@')) {
        return Err(Problem::forbidden(format!(
            "`{}` cannot mint a token in the name of somebody else; give a `name` that is no address",
            user.name
        )));
    }
    let id = found.map(|(id, _)| id).ok_or_else(|| Problem::from(crate::app::Error::no_room(&room)))?;
    let as_participant = user.participant(api, id)?;
    let mut mint = Mint::new(user.project, name);
    mint.room = as_participant.room;
    mint.api = as_participant.api;
    mint.lifetime_seconds = Some(CONNECT_TOKEN_SECONDS);
    Ok(mint)
}
