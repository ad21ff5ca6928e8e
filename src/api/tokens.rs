//! Participant tokens minted by the server.

use super::auth::{Access, InProject};
use super::body::Body;
use super::route::Route;
use super::{Api, Problem};
use crate::app::token::{Grant, Mint};
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
            "Mint a participant token",
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

/// Either `grants`, or `room_name` with `role` and `api`.
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

async fn create(
    State(api): State<Api>,
    InProject(project): InProject,
    Body(body): Body<TokenBody>,
) -> Result<Json<Value>, Problem> {
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
    let token = api.app.mint(mint).await?;
    Ok(Json(json!({"token": token})))
}
