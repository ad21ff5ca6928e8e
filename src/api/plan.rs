//! Plans and applies: documents as one change, shown before it is made, made all at once or not at all.

use super::auth::{Access, Caller, InProject};
use super::body::Body;
use super::route::Route;
use super::{Api, Problem};
use crate::app::Error;
use crate::app::plan::{Plan, Request, SOURCE_DEFAULT};
use crate::domain::git_source;
use crate::vault::Secret;
use axum::Json;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::Method;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Largest body of a plan or an apply, bytes.
pub const DOCUMENTS_BYTES_MAX: usize = 64 * 1024 * 1024;

pub(super) fn routes() -> Vec<Route> {
    let route = |path, name, summary, handler| {
        Route::new(Method::POST, path, name, summary, Access::Account, handler).takes::<Wanted>()
    };
    let limit = || DefaultBodyLimit::max(DOCUMENTS_BYTES_MAX);
    vec![
        route(
            "/v1/projects/{project_id}/plan",
            "plan",
            "What applying documents would do; changes nothing",
            post(plan).layer(limit()),
        ),
        route(
            "/v1/projects/{project_id}/apply",
            "apply",
            "Make everything as documents say, in one transaction or not at all",
            post(apply).layer(limit()),
        ),
    ]
}

/// What a plan or an apply is asked for.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// Documents of any kind, as JSON.
    documents: Vec<Value>,
    /// Values of secrets, by the index of the document whose `value_from` they were read for. They go into the vault, and
    /// nowhere else.
    #[serde(default)]
    values: BTreeMap<usize, PlainValue>,
    /// Who keeps them; `cli` where nobody is named.
    #[serde(default)]
    source: Option<String>,
    /// Room of the documents that live in one and do not say theirs.
    #[serde(default)]
    room: Option<String>,
    /// Delete what this source applied before and has no document any more.
    #[serde(default)]
    prune: bool,
    /// Take fields that other sources hold.
    #[serde(default)]
    force: bool,
    /// Delete and make anew what cannot be changed in place.
    #[serde(default)]
    replace: bool,
    /// Hash of the plan that was seen; with another plan nothing is done.
    #[serde(default)]
    expected: Option<String>,
}

/// A value of a secret. Never shown.
#[derive(Deserialize, JsonSchema)]
#[serde(transparent)]
struct PlainValue(String);

impl fmt::Debug for PlainValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PlainValue(…)")
    }
}

impl Wanted {
    fn split(self) -> Result<(Arc<Request>, Option<String>), Problem> {
        let Self { documents, values, source, room, prune, force, replace, expected } = self;
        let values = values.into_iter().map(|(index, value)| (index, Secret::from(value.0))).collect();
        let source = source.unwrap_or_else(|| SOURCE_DEFAULT.to_owned());
        if git_source::is_source(&source) {
            let text = format!("`{source}` is what a git source applies; call yours otherwise (--source)");
            return Err(Problem::bad_request(text));
        }
        let request =
            Request { source, documents, values, room, prune, force, replace, ..Request::default() };
        Ok((Arc::new(request), expected))
    }
}

/// A plan, or everything that is in its way.
pub(super) fn answer(result: Result<Plan, Error>) -> Response {
    match result {
        Ok(plan) => Json(json!(plan)).into_response(),
        Err(Error::Plan(problems)) => {
            let list = json!(problems.list);
            let count = problems.count;
            let problem = Problem::from(Error::Plan(problems));
            let error = json!({"message": problem.message, "code": problem.code, "problems": list,
                "problem_count": count});
            (problem.status, Json(json!({"error": error}))).into_response()
        }
        Err(error) => Problem::from(error).into_response(),
    }
}

async fn plan(
    State(api): State<Api>,
    InProject(project): InProject,
    Body(wanted): Body<Wanted>,
) -> Result<Response, Problem> {
    let (request, _) = wanted.split()?;
    Ok(answer(api.app.plan(project, request).await))
}

async fn apply(
    State(api): State<Api>,
    caller: Caller,
    InProject(project): InProject,
    Body(wanted): Body<Wanted>,
) -> Result<Response, Problem> {
    let (request, expected) = wanted.split()?;
    Ok(answer(api.app.apply(&caller.actor(), project, request, expected).await))
}
