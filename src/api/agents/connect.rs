//! The way to talk to a managed agent: a token, and the address of its conversations.

use crate::api::auth::{Access, Caller, InProject};
use crate::api::body::Body;
use crate::api::rooms::CONNECT_TOKEN_SECONDS;
use crate::api::route::Route;
use crate::api::{Api, Problem};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::Method;
use axum::routing::post;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

pub(super) fn route() -> Route {
    Route::new(
        Method::POST,
        "/accounts/projects/{project_id}/agents/{agent}/connect",
        "connect_agent",
        "A token and the address to talk to a managed agent; starts it",
        Access::Account,
        post(connect),
    )
    .takes::<ConnectBody>()
}

#[derive(Debug, Deserialize, JsonSchema)]
struct ConnectBody {
    /// For whom the token is: the name under which they talk. The caller, unless given.
    #[serde(default)]
    email: Option<String>,
}

async fn connect(
    State(api): State<Api>,
    caller: Caller,
    InProject(project): InProject,
    Path((_, agent)): Path<(String, String)>,
    Body(body): Body<ConnectBody>,
) -> Result<Json<Value>, Problem> {
    let (id, agent) = api.app.agent_named(project, &agent)?;
    let agent_name = &agent.spec.metadata.name;
    let email = body.email.map(|email| email.trim().to_lowercase()).filter(|email| !email.is_empty());
    if let Some(other) =
        email.as_deref().filter(|email| caller.user().is_some_and(|user| user.name != *email))
    {
        return Err(Problem::forbidden(format!(
            "`{}` cannot speak for `{other}`; use an API key",
            caller.name()
        )));
    }
    let name = email.unwrap_or_else(|| caller.name().to_owned());
    let hosted = api.host.open(id.room()).await?;
    let jwt = api.app.caller_token(id, agent_name, name, CONNECT_TOKEN_SECONDS).await?;
    let url = hosted.url.replacen("http", "ws", 1);
    Ok(Json(json!({
        "jwt": jwt, "agent_name": agent_name, "project_id": project.to_string(),
        "agent_url": format!("{url}/agents/{project}/{agent_name}/messages"),
    })))
}
