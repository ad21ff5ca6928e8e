//! What a session's participants and services measured: spans and metrics.

use super::auth::{Access, InProject};
use super::route::Route;
use super::sessions::find;
use super::{Api, Problem};
use crate::telemetry::{Kind, TelemetryError};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::{Method, StatusCode};
use axum::routing::get;
use serde_json::{Value, json};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::new(
            Method::GET,
            "/accounts/projects/{project_id}/sessions/{session_id}/spans",
            "session_spans",
            "Traced work of one run",
            Access::Account,
            get(spans),
        ),
        Route::new(
            Method::GET,
            "/accounts/projects/{project_id}/sessions/{session_id}/metrics",
            "session_metrics",
            "Measured values of one run",
            Access::Account,
            get(metrics),
        ),
    ]
}

async fn spans(
    State(api): State<Api>,
    InProject(project): InProject,
    Path((_, text)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let (id, _) = find(&api, project, &text)?;
    let spans = api.telemetry.list(id, Kind::Span).await.map_err(unreadable)?;
    Ok(Json(json!({"spans": spans})))
}

async fn metrics(
    State(api): State<Api>,
    InProject(project): InProject,
    Path((_, text)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let (id, _) = find(&api, project, &text)?;
    let metrics = api.telemetry.list(id, Kind::Metric).await.map_err(unreadable)?;
    Ok(Json(json!({"metrics": metrics})))
}

pub(super) fn unreadable(error: TelemetryError) -> Problem {
    tracing::error!(%error, "telemetry could not be read");
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "operation-failed", error.to_string())
}
