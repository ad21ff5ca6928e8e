//! Git sources: have one looked at now, suspend it, and the hook by which its forge tells of a push.

use super::auth::{Access, Caller, InProject};
use super::route::Route;
use super::{Api, Problem};
use crate::app::Actor;
use crate::domain::git_source::GitSource;
use crate::id::{GitSourceId, ProjectId};
use crate::share::{Place, Places};
use aws_lc_rs::{constant_time, hmac};
use axum::Json;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{delete, post};
use serde_json::{Value, json};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

/// Largest push that a forge tells of, bytes; forges send at most 25 MB.
const HOOK_BYTES_MAX: usize = 25 * 1024 * 1024;
/// Bytes of such pushes that are held at once: of all, of a project.
const PUSHES_BYTES_MAX: usize = 200 * 1024 * 1024;
const PUSHES_PER_PROJECT_BYTES_MAX: usize = 2 * HOOK_BYTES_MAX;
/// How long a push may take to arrive.
const HOOK_WAIT: Duration = Duration::from_secs(30);
static PUSHES: LazyLock<Arc<Places<ProjectId>>> =
    LazyLock::new(|| Places::new(PUSHES_BYTES_MAX, PUSHES_PER_PROJECT_BYTES_MAX));
/// Signature of GitHub, Gitea and Forgejo: `sha256=` and HMAC-SHA-256 of the body, hexadecimal.
const SIGNATURE: &str = "x-hub-signature-256";
const SIGNATURE_GITEA: &str = "x-gitea-signature";
/// The secret itself, as GitLab sends it.
const TOKEN: &str = "x-gitlab-token";

pub(super) fn routes() -> Vec<Route> {
    let route =
        |path, name, summary, access, handler| Route::new(Method::POST, path, name, summary, access, handler);
    vec![
        Route::new(
            Method::DELETE,
            "/v1/projects/{project_id}/sources/{name}",
            "delete_source",
            "Delete a git source; what it applied stays",
            Access::Account,
            delete(remove),
        ),
        route(
            "/v1/projects/{project_id}/sources/{name}/reconcile",
            "reconcile_source",
            "Have a git source looked at now",
            Access::Account,
            post(reconcile),
        ),
        route(
            "/v1/projects/{project_id}/sources/{name}/suspend",
            "suspend_source",
            "Leave a repository, and what was applied of it, alone",
            Access::Account,
            post(suspend),
        ),
        route(
            "/v1/projects/{project_id}/sources/{name}/resume",
            "resume_source",
            "Keep a suspended git source applied again",
            Access::Account,
            post(resume),
        ),
        route(
            "/v1/projects/{project_id}/sources/{name}/hook",
            "source_hook",
            "A forge tells of a push, signed with the secret that the source names as its webhook",
            Access::Open,
            post(hook),
        ),
    ]
}

fn told(id: GitSourceId, source: &GitSource) -> Json<Value> {
    Json(json!({
        "id": id.to_string(), "name": source.spec.metadata.name, "generation": source.generation,
        "suspended": source.spec.suspend, "request": source.requests,
    }))
}

async fn reconcile(
    State(api): State<Api>,
    caller: Caller,
    InProject(project): InProject,
    Path((_, name)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let (id, _) = api.app.git_source_named(project, &name)?;
    api.app.request_git_source(&caller.actor(), id).await?;
    let (id, source) = api.app.git_source_named(project, &name)?;
    Ok(told(id, &source))
}

async fn suspend(
    State(api): State<Api>,
    caller: Caller,
    InProject(project): InProject,
    Path((_, name)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    set_suspended(&api, &caller, project, &name, true).await
}

async fn resume(
    State(api): State<Api>,
    caller: Caller,
    InProject(project): InProject,
    Path((_, name)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    set_suspended(&api, &caller, project, &name, false).await
}

async fn remove(
    State(api): State<Api>,
    caller: Caller,
    InProject(project): InProject,
    Path((_, name)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let (id, _) = api.app.git_source_named(project, &name)?;
    api.app.delete_git_source(&caller.actor(), id).await?;
    Ok(Json(json!({})))
}

async fn set_suspended(
    api: &Api,
    caller: &Caller,
    project: ProjectId,
    name: &str,
    suspended: bool,
) -> Result<Json<Value>, Problem> {
    let (id, _) = api.app.git_source_named(project, name)?;
    api.app.suspend_git_source(&caller.actor(), id, suspended).await?;
    let (id, source) = api.app.git_source_named(project, name)?;
    Ok(told(id, &source))
}

/// Who is not known to have the secret learns nothing: not whether there is such a project, source or secret.
async fn hook(
    State(api): State<Api>,
    InProject(project): InProject,
    Path((_, name)): Path<(String, String)>,
    request: Request,
) -> Result<impl IntoResponse, Problem> {
    let refused = || {
        Problem::forbidden(
            "no git source with a webhook takes this signature; check the name, its `webhook` and the forge's secret",
        )
    };
    let (id, source) = api.app.git_source_named(project, &name).map_err(|_| refused())?;
    let named = source.spec.webhook.as_ref().ok_or_else(refused)?;
    let secret = match api.app.git_source_secret(project, named).await {
        Ok(secret) => secret,
        Err(error) => {
            tracing::warn!(source = %name, %error, "the secret of a git source's webhook cannot be used");
            return Err(refused());
        }
    };
    let (headers, body) = (request.headers().clone(), request.into_body());
    // Before a stranger's body is read.
    if ![SIGNATURE, SIGNATURE_GITEA, TOKEN].iter().any(|name| headers.contains_key(*name)) {
        return Err(refused());
    }
    let (body, _bytes) = told_body(project, &headers, body).await?;
    if !is_signed(&headers, &body, secret.expose().trim_ascii()) {
        return Err(refused());
    }
    if !source.spec.suspend {
        api.app.request_git_source(&Actor::new("webhook", &name), id).await?;
    }
    Ok((StatusCode::ACCEPTED, Json(json!({"accepted": !source.spec.suspend}))))
}

/// A whole push, and the place of its bytes, which somebody may send who has no secret.
async fn told_body(
    project: ProjectId,
    headers: &HeaderMap,
    body: Body,
) -> Result<(Bytes, Place<ProjectId>), Problem> {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let length = length.unwrap_or(HOOK_BYTES_MAX);
    if length > HOOK_BYTES_MAX {
        let text = format!("a push is told with at most {HOOK_BYTES_MAX} bytes");
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", text));
    }
    let place = PUSHES.take_many(project, length).ok_or_else(|| {
        let text = "too many pushes are told just now; try again in a moment";
        Problem::new(StatusCode::TOO_MANY_REQUESTS, "busy", text)
    })?;
    let read = tokio::time::timeout(HOOK_WAIT, to_bytes(body, HOOK_BYTES_MAX)).await;
    let read = read.map_err(|_| {
        Problem::new(StatusCode::REQUEST_TIMEOUT, "timeout", "the push did not arrive in time")
    })?;
    Ok((read.map_err(|error| Problem::bad_request(format!("the push cannot be read: {error}")))?, place))
}

/// Whether somebody who has the secret sent this body.
fn is_signed(headers: &HeaderMap, body: &[u8], secret: &[u8]) -> bool {
    if secret.is_empty() {
        return false;
    }
    let header = |name: &str| headers.get(name).map(axum::http::HeaderValue::as_bytes);
    let prefixed = header(SIGNATURE).map(|value| value.strip_prefix(b"sha256=").unwrap_or_default());
    if let Some(signature) = prefixed.or_else(|| header(SIGNATURE_GITEA)) {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        return hex::decode(signature).is_ok_and(|tag| hmac::verify(&key, body, &tag).is_ok());
    }
    header(TOKEN).is_some_and(|token| constant_time::verify_slices_are_equal(token, secret).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(axum::http::HeaderName::from_static(name), value.parse().unwrap())])
    }

    #[test]
    fn only_who_has_the_secret_tells_of_a_push() {
        // From GitHub's documentation of webhooks.
        let (secret, body) = (b"It's a Secret to Everybody".as_slice(), b"Hello, World!".as_slice());
        let signature = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        let github = |text: &str| headers(SIGNATURE, text);
        assert!(is_signed(&github(&format!("sha256={signature}")), body, secret));
        assert!(is_signed(&headers(SIGNATURE_GITEA, signature), body, secret));
        assert!(is_signed(&headers(TOKEN, "It's a Secret to Everybody"), body, secret));
        assert!(!is_signed(&github(&format!("sha256={signature}")), b"Hello, World?", secret));
        assert!(!is_signed(&github(&format!("sha256={signature}")), body, b"other"));
        for forged in ["", "sha256=", "sha256=00", "sha256=zz", "sha1=00", signature, "sha256=é"] {
            assert!(!is_signed(&github(forged), body, secret), "{forged}");
        }
        assert!(!is_signed(&headers(TOKEN, "x"), body, secret));
        assert!(!is_signed(&HeaderMap::new(), body, secret));
        assert!(!is_signed(&headers(TOKEN, ""), body, b""), "no secret, nobody");
    }
}
