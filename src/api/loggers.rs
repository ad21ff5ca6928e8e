//! Loggers of requests to models (REST reference §5.12).

use super::auth::{Access, Caller, InProject};
use super::body::Body;
use super::route::Route;
use super::{Api, Problem};
use crate::app::Error;
use crate::domain::llm_logger::{LlmLogger, Refused, Wanted};
use crate::id::{FeedId, LlmLoggerId, ProjectId};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::Method;
use axum::routing::{delete, get, post, put};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use uuid::Uuid;

pub(super) fn routes() -> Vec<Route> {
    const ALL: &str = "/accounts/projects/{project_id}/llm-loggers";
    const ONE: &str = "/accounts/projects/{project_id}/llm-loggers/{logger_id}";
    let route = |method, path, name, summary, handler| {
        Route::new(method, path, name, summary, Access::Account, handler)
    };
    vec![
        route(Method::GET, ALL, "list_llm_loggers", "Loggers of requests to models", get(list)),
        route(
            Method::POST,
            ALL,
            "create_llm_logger",
            "Have requests to models published in a feed",
            post(create),
        )
        .takes::<LoggerBody>(),
        route(Method::GET, ONE, "get_llm_logger", "One logger", get(one)),
        route(Method::PUT, ONE, "update_llm_logger", "Change a logger", put(update)).takes::<LoggerBody>(),
        route(Method::DELETE, ONE, "delete_llm_logger", "Delete a logger", delete(remove)),
    ]
}

#[derive(Debug, Deserialize, JsonSchema)]
struct LoggerBody {
    destination_feed_id: Uuid,
    /// JMESPath; empty lets everything through.
    #[serde(default)]
    filter_expression: String,
    #[serde(default)]
    paused: bool,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

impl LoggerBody {
    fn read(self, project: ProjectId) -> Wanted {
        Wanted {
            destination_feed: FeedId::new(project, self.destination_feed_id),
            filter_expression: self.filter_expression.trim().to_owned(),
            paused: self.paused,
            annotations: self.annotations.unwrap_or_default(),
        }
    }
}

fn wire(id: LlmLoggerId, logger: &LlmLogger) -> Value {
    let wanted = &logger.wanted;
    json!({
        "id": id.to_string(), "project_id": id.project().to_string(),
        "destination_feed_id": wanted.destination_feed.to_string(), "filter_expression": wanted.filter_expression,
        "paused": wanted.paused, "created_at": logger.created_at, "annotations": wanted.annotations,
    })
}

fn find(api: &Api, project: ProjectId, text: &str) -> Result<(LlmLoggerId, LlmLogger), Problem> {
    let missing = || Problem::from(Error::rejected(Refused::NotFound));
    let id = LlmLoggerId::new(project, Uuid::parse_str(text).map_err(|_| missing())?);
    let logger = api.app.world().llm_logger(id).cloned().ok_or_else(missing)?;
    Ok((id, logger))
}

async fn list(State(api): State<Api>, InProject(project): InProject) -> Json<Value> {
    let world = api.app.world();
    let all: Vec<Value> = world.llm_loggers(project).map(|(id, logger)| wire(id, logger)).collect();
    Json(json!({"loggers": all}))
}

async fn create(
    State(api): State<Api>,
    caller: Caller,
    InProject(project): InProject,
    Body(body): Body<LoggerBody>,
) -> Result<Json<Value>, Problem> {
    let id = api.app.create_llm_logger(&caller.actor(), project, body.read(project)).await?;
    let (id, logger) = find(&api, project, &id.to_string())?;
    Ok(Json(json!({"logger": wire(id, &logger)})))
}

async fn one(
    State(api): State<Api>,
    InProject(project): InProject,
    Path((_, text)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let (id, logger) = find(&api, project, &text)?;
    Ok(Json(json!({"logger": wire(id, &logger)})))
}

async fn update(
    State(api): State<Api>,
    caller: Caller,
    InProject(project): InProject,
    Path((_, text)): Path<(String, String)>,
    Body(body): Body<LoggerBody>,
) -> Result<Json<Value>, Problem> {
    let (id, _) = find(&api, project, &text)?;
    api.app.update_llm_logger(&caller.actor(), id, body.read(project)).await?;
    let (id, logger) = find(&api, project, &text)?;
    Ok(Json(json!({"logger": wire(id, &logger)})))
}

async fn remove(
    State(api): State<Api>,
    caller: Caller,
    InProject(project): InProject,
    Path((_, text)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let (id, _) = find(&api, project, &text)?;
    api.app.delete_llm_logger(&caller.actor(), id).await?;
    Ok(Json(json!({})))
}
