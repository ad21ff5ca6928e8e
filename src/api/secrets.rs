//! Secrets of callers (`/accounts/users/me/secrets`) and of service accounts, with their versions. Values come in by a
//! new version and go out by `…/versions/{id}:access` or `include_value`, unless the secret is `http_only`.

mod grants;
mod keys;
mod owner;
mod search;
mod wire;

use super::auth::{Access, Caller};
use super::body::Body;
use super::paging::Paging;
use super::route::Route;
use super::{Api, Problem};
use crate::app::secrets::Patch;
use crate::app::secrets::use_of::UseError;
use crate::domain::secret::{About, Created};
use crate::vault::Secret as Value;
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::Method;
use axum::routing::{delete, get, patch, post};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use owner::{At, Owned};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, json};
use std::collections::HashMap;
use uuid::Uuid;

/// What follows the id of a version to ask for its value.
const ACCESS: &str = ":access";
/// Type of a secret that does not say.
const OPAQUE: &str = "opaque";

macro_rules! owned {
    ($prefix:literal, $whose:literal, $of:literal) => {{
        let row = |method, path, name, summary, handler| {
            Route::new(method, path, name, summary, Access::Account, handler)
        };
        const ALL: &str = concat!($prefix, "/secrets");
        const ONE: &str = concat!($prefix, "/secrets/{secret_id}");
        const VERSIONS: &str = concat!($prefix, "/secrets/{secret_id}/versions");
        const VERSION: &str = concat!($prefix, "/secrets/{secret_id}/versions/{version_id}");
        vec![
            row(
                Method::GET,
                ALL,
                concat!("list_", $whose, "_secrets"),
                concat!("Secrets of ", $of),
                get(list),
            ),
            row(
                Method::POST,
                ALL,
                concat!("create_", $whose, "_secret"),
                concat!("Make a secret of ", $of, ", without a value yet"),
                post(create),
            )
            .takes::<SecretBody>(),
            row(
                Method::POST,
                concat!($prefix, "/secrets:search"),
                concat!("search_", $whose, "_secrets"),
                concat!("Secrets of ", $of, " that fit"),
                post(search::run),
            )
            .takes::<search::Search>(),
            row(Method::GET, ONE, concat!("get_", $whose, "_secret"), "One secret", get(one)),
            row(
                Method::PATCH,
                ONE,
                concat!("update_", $whose, "_secret"),
                "Change what is said of a secret",
                patch(update),
            )
            .takes::<SecretBody>(),
            row(
                Method::DELETE,
                ONE,
                concat!("delete_", $whose, "_secret"),
                "Delete a secret and its values",
                delete(remove),
            ),
            row(
                Method::GET,
                VERSIONS,
                concat!("list_", $whose, "_secret_versions"),
                "Versions of a secret, without values",
                get(versions),
            ),
            row(
                Method::POST,
                VERSIONS,
                concat!("create_", $whose, "_secret_version"),
                "Give a secret a new value",
                post(add_version),
            )
            .takes::<VersionBody>(),
            row(
                Method::GET,
                VERSION,
                concat!("access_", $whose, "_secret_version"),
                "Value of a version; the id is followed by `:access`",
                get(access),
            ),
            row(
                Method::DELETE,
                VERSION,
                concat!("delete_", $whose, "_secret_version"),
                "Delete one version with its value",
                delete(remove_version),
            ),
        ]
    }};
}

pub(super) fn routes() -> Vec<Route> {
    let mut all = owned!("/accounts/users/me", "user", "the caller");
    all.extend(owned!(
        "/accounts/projects/{project_id}/service-accounts/{account_id}",
        "service_account",
        "a service account"
    ));
    all.extend(grants::routes());
    all.extend(keys::routes());
    all
}

#[derive(Debug, Deserialize, JsonSchema)]
struct SecretBody {
    /// Only where a caller makes a secret of its own.
    #[serde(default)]
    project_id: Option<String>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    http_only: Option<bool>,
    #[serde(default)]
    metadata: Option<Map<String, serde_json::Value>>,
    #[serde(default)]
    annotations: Option<Map<String, serde_json::Value>>,
}

#[derive(Deserialize, JsonSchema)]
struct VersionBody {
    value_base64: String,
    /// Whether it is the one used from now on; yes unless told.
    #[serde(default)]
    set_current: Option<bool>,
}

impl From<UseError> for Problem {
    fn from(error: UseError) -> Self {
        match error {
            UseError::Failed(error) => error.into(),
            UseError::Busy(_) => {
                Self::new(axum::http::StatusCode::TOO_MANY_REQUESTS, "busy", error.to_string())
            }
            UseError::NoToken(..) => super::proxy::bad_gateway(error.to_string()),
            UseError::NoVersion(_) | UseError::NoAccount(_) => Self::not_found(error.to_string()),
            UseError::NotAllowed(..) | UseError::ProxyOnly(_) | UseError::NoScope => {
                Self::forbidden(error.to_string())
            }
        }
    }
}

async fn list(
    State(api): State<Api>,
    owned: Owned,
    Query(paging): Query<Paging>,
) -> Result<Json<serde_json::Value>, Problem> {
    let world = api.app.world();
    let all = owned.all(&world).filter(|(_, secret)| paging.wants(&secret.about.name)).collect();
    wire::page(paging.cut(all)?)
}

async fn create(
    State(api): State<Api>,
    caller: Caller,
    owned: Owned,
    Body(body): Body<SecretBody>,
) -> Result<Json<serde_json::Value>, Problem> {
    let other = body.project_id.filter(|text| !text.eq_ignore_ascii_case(&owned.project.to_string()));
    if let Some(project) = other {
        return Err(Problem::forbidden(format!(
            "this credential belongs to project {}, not `{project}`; check MESHAGENT_PROJECT_ID",
            owned.project
        )));
    }
    let name = body.name.ok_or_else(|| Problem::bad_request("give the secret a `name`"))?;
    let about = About {
        name,
        kind: body.kind.unwrap_or_else(|| OPAQUE.to_owned()),
        http_only: body.http_only.unwrap_or(false),
        metadata: body.metadata.unwrap_or_default(),
        annotations: body.annotations.unwrap_or_default(),
    };
    let created = Created { owner: owned.owner, by: owned.by, about };
    let id = api.app.create_secret(&caller.actor(), owned.project, created).await?;
    let world = api.app.world();
    let secret = world.secret(id).ok_or_else(|| Problem::not_found("the secret was deleted meanwhile"))?;
    Ok(Json(wire::secret(id, secret)))
}

async fn one(
    State(api): State<Api>,
    at: At,
    Query(query): Query<HashMap<String, String>>,
) -> Result<Json<serde_json::Value>, Problem> {
    let world = api.app.world();
    let secret = at.secret(&world)?;
    let mut answer = wire::secret(at.id, secret);
    let wanted = query.get("include_value").is_some_and(|text| text.eq_ignore_ascii_case("true"));
    if let Some(version) = secret.current.filter(|_| wanted) {
        let value = api.app.read_secret(at.id, version).await?;
        answer["value_base64"] = json!(STANDARD.encode(value.expose()));
    }
    Ok(Json(answer))
}

async fn update(
    State(api): State<Api>,
    caller: Caller,
    at: At,
    Body(body): Body<SecretBody>,
) -> Result<Json<serde_json::Value>, Problem> {
    let patch = Patch {
        name: body.name,
        kind: body.kind,
        http_only: body.http_only,
        metadata: body.metadata,
        annotations: body.annotations,
    };
    api.app.update_secret(&caller.actor(), at.id, patch).await?;
    Ok(Json(wire::secret(at.id, at.secret(&api.app.world())?)))
}

async fn remove(State(api): State<Api>, caller: Caller, at: At) -> Result<Json<serde_json::Value>, Problem> {
    api.app.delete_secret(&caller.actor(), at.id).await?;
    Ok(Json(json!({})))
}

async fn versions(State(api): State<Api>, at: At) -> Result<Json<serde_json::Value>, Problem> {
    let world = api.app.world();
    let newest_first = at.secret(&world)?.versions.iter().rev();
    let all: Vec<_> = newest_first.map(|version| wire::version(at.id, version)).collect();
    Ok(Json(json!({"versions": all})))
}

async fn add_version(
    State(api): State<Api>,
    caller: Caller,
    at: At,
    Body(body): Body<VersionBody>,
) -> Result<Json<serde_json::Value>, Problem> {
    let value = STANDARD
        .decode(body.value_base64.as_bytes())
        .map(Value::new)
        .map_err(|_| Problem::bad_request("`value_base64` is not base64 with padding"))?;
    let current = body.set_current.unwrap_or(true);
    let version = api.app.add_secret_version(&caller.actor(), at.id, at.by, value, current).await?;
    let world = api.app.world();
    let version = at.secret(&world)?.version(version);
    let version = version.ok_or_else(|| Problem::not_found("the version was deleted meanwhile"))?;
    Ok(Json(wire::version(at.id, version)))
}

async fn access(
    State(api): State<Api>,
    at: At,
    Path(path): Path<HashMap<String, String>>,
) -> Result<Json<serde_json::Value>, Problem> {
    let text = path.get("version_id").and_then(|text| text.strip_suffix(ACCESS)).ok_or_else(|| {
        Problem::not_found("a version has a value only: ask for it with `:access` after its id")
    })?;
    let version = version_id(text)?;
    let value = api.app.read_secret(at.id, version).await?;
    Ok(Json(json!({
        "secret_id": at.id.to_string(), "version_id": version.to_string(),
        "value_base64": STANDARD.encode(value.expose()),
    })))
}

async fn remove_version(
    State(api): State<Api>,
    caller: Caller,
    at: At,
    Path(path): Path<HashMap<String, String>>,
) -> Result<Json<serde_json::Value>, Problem> {
    let version = version_id(path.get("version_id").map_or("", String::as_str))?;
    api.app.delete_secret_version(&caller.actor(), at.id, version).await?;
    Ok(Json(json!({})))
}

fn version_id(text: &str) -> Result<Uuid, Problem> {
    Uuid::parse_str(text)
        .map_err(|_| Problem::not_found(format!("no version `{text}` of this secret; list its versions")))
}
