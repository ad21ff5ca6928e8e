//! Keys of the server itself: the one that signs a project's webhooks, and the change of the one that seals secrets.

use crate::api::auth::{Access, InProject};
use crate::api::route::Route;
use crate::api::{Api, Problem};
use axum::Json;
use axum::extract::State;
use axum::http::Method;
use axum::routing::{get, post};
use serde_json::{Value, json};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::new(
            Method::GET,
            "/accounts/projects/{project_id}/webhook-secret",
            "get_webhook_secret",
            "The secret that signs the project's calls and webhooks",
            Access::Account,
            get(webhook_secret),
        ),
        Route::new(
            Method::POST,
            "/v1/secrets:rekey",
            "rekey_secrets",
            "Seal all secrets under a fresh key, while the server runs",
            Access::Operator,
            post(rekey),
        ),
    ]
}

async fn webhook_secret(
    State(api): State<Api>,
    InProject(project): InProject,
) -> Result<Json<Value>, Problem> {
    let secret = api.app.webhook_secret(&api.outward, project).await?;
    Ok(Json(json!({"secret": secret.expose_str()})))
}

async fn rekey(State(api): State<Api>) -> Result<Json<Value>, Problem> {
    // Goes on when the caller does not wait for it.
    let work = tokio::spawn(async move { api.app.vault.rekey().await });
    let rewrapped = work
        .await
        .map_err(|error| {
            Problem::new(axum::http::StatusCode::INTERNAL_SERVER_ERROR, "busy", error.to_string())
        })?
        .map_err(crate::app::Error::from)?;
    tracing::info!(rewrapped, "secrets were sealed under a fresh key");
    Ok(Json(json!({"rewrapped": rewrapped})))
}
