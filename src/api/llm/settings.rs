//! Settings documents of a project (REST reference §5.2): providers of models, budgets, what roles may do in rooms. Keys go into the
//! vault and come back as asterisks.

use super::refusal::Refusal;
use super::router::ROUTER;
use crate::api::auth::{Access, Caller, InProject};
use crate::api::body::Body;
use crate::api::route::Route;
use crate::api::{Api, Problem};
use crate::app::ROOM_ROLES;
use crate::domain::project::Settings;
use crate::llm::Provider;
use crate::llm::upstream::Endpoint;
use crate::spec::RoleSettings;
use crate::spec::llm::{Budgets, ProviderSettings, check_base_url, check_budgets, without_values};
use crate::spec::router::Router;
use crate::vault::Secret;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::{Method, StatusCode};
use axum::routing::{delete, get, put};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use url::Url;

/// Name of the document with budgets and prices.
pub(super) const BUDGETS: &str = "budgets";
/// What stands for a key that is kept.
const KEPT: &str = "********";
/// Longest key, bytes.
const KEY_BYTES_MAX: usize = 4 * 1024;
/// Documents of the hosted platform that have no meaning here.
const NOT_KEPT: [&str; 3] = ["otel", "admission", "room"];

pub(super) fn routes() -> Vec<Route> {
    const PATH: &str = "/accounts/projects/{project_id}/settings/{name}";
    let route =
        |method, name, summary, handler| Route::new(method, PATH, name, summary, Access::Account, handler);
    vec![
        route(
            Method::GET,
            "get_settings",
            "A settings document of the project; 404 where it is not set",
            get(read),
        ),
        route(Method::PUT, "set_settings", "Set a settings document of the project", put(write)),
        route(Method::DELETE, "delete_settings", "Remove a settings document of the project", delete(remove)),
    ]
}

/// One name in the path beside the project.
#[derive(serde::Deserialize)]
struct Named {
    name: String,
}

async fn read(
    State(api): State<Api>,
    InProject(project): InProject,
    Path(Named { name }): Path<Named>,
) -> Result<Json<Value>, Problem> {
    let settings = api
        .app
        .settings_document(project, &name)
        .ok_or_else(|| Problem::not_found(format!("the settings `{name}` are not set; set them with PUT")))?;
    let mut document = settings.document;
    if settings.has_secret {
        document.insert("api_key".to_owned(), json!(KEPT));
    }
    Ok(Json(Value::Object(document)))
}

async fn write(
    State(api): State<Api>,
    caller: Caller,
    InProject(project): InProject,
    Path(Named { name }): Path<Named>,
    Body(body): Body<Value>,
) -> Result<Json<Value>, Problem> {
    let (document, secret) = match (Provider::named(&name), name.as_str()) {
        (Some(provider), _) => {
            let old = api.app.settings_document(project, &name);
            let old_secret = match &old {
                Some(old) => api.app.settings_secret(project, old).await?,
                None => None,
            };
            provider_settings(provider, shaped(body)?, old.as_ref(), old_secret)?
        }
        (None, BUDGETS) => {
            let budgets: Budgets = shaped(body)?;
            check_budgets(&budgets).map_err(invalid)?;
            (object(&budgets), None)
        }
        (None, ROUTER) => {
            let router = shaped::<Router>(body)?.checked().map_err(invalid)?;
            (object(&router), None)
        }
        (None, ROOM_ROLES) => (object(&shaped::<RoleSettings>(body)?), None),
        (None, other) if NOT_KEPT.contains(&other) => {
            return Err(Problem::new(
                StatusCode::NOT_IMPLEMENTED,
                "settings-invalid",
                format!("this server has no use for the settings `{other}`, and does not keep them"),
            ));
        }
        (None, other) => {
            return Err(Problem::not_found(format!(
                "no settings `{other}` here; there are openai, anthropic, grok, {ROUTER}, {BUDGETS} and {ROOM_ROLES}"
            )));
        }
    };
    api.app.set_settings(&caller.actor(), project, &name, document, secret).await?;
    Ok(Json(json!({"ok": true})))
}

async fn remove(
    State(api): State<Api>,
    caller: Caller,
    InProject(project): InProject,
    Path(Named { name }): Path<Named>,
) -> Result<Json<Value>, Problem> {
    api.app.remove_settings(&caller.actor(), project, &name).await?;
    Ok(Json(json!({"ok": true})))
}

fn invalid(why: impl std::fmt::Display) -> Problem {
    Problem::new(
        StatusCode::BAD_REQUEST,
        "settings-invalid",
        format!("the settings are not as wanted: {why}"),
    )
}

/// A key may stand at a wrong place, so the document is never repeated.
fn shaped<T: DeserializeOwned>(body: Value) -> Result<T, Problem> {
    serde_path_to_error::deserialize(body).map_err(|error| {
        let at = error.path().to_string();
        let why = error.into_inner().to_string();
        let why = without_values(&why);
        invalid(if at == "." { why } else { format!("`{at}`: {why}") })
    })
}

fn object(value: &impl Serialize) -> Map<String, Value> {
    match json!(value) {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// What is kept openly, and the key.
fn provider_settings(
    provider: Provider,
    new: ProviderSettings,
    old: Option<&Settings>,
    old_secret: Option<Secret>,
) -> Result<(Map<String, Value>, Option<Secret>), Problem> {
    let text =
        |settings: &Settings| settings.document.get("base_url").and_then(Value::as_str).map(str::to_owned);
    let base_url = new.base_url.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    if let Some(url) = &base_url {
        base(url).map_err(invalid)?;
    }
    let key = new.api_key.map(|key| key.trim().to_owned()).filter(|key| !key.is_empty());
    let secret = match key.as_deref() {
        Some(KEPT) => {
            // Else whoever may change the address could have the key sent to one of theirs.
            if old.and_then(text) != base_url {
                return Err(invalid("the address changes, so that the key must be given again"));
            }
            Some(old_secret.ok_or_else(|| invalid("there is no key to keep; give one"))?)
        }
        Some(key) if key.len() > KEY_BYTES_MAX || key.chars().any(char::is_control) => {
            return Err(invalid(format!("`api_key` is one line of at most {KEY_BYTES_MAX} bytes")));
        }
        Some(key) => Some(Secret::from(key.to_owned())),
        None => None,
    };
    if secret.is_none() && base_url.is_none() {
        return Err(invalid(format!(
            "give an `api_key` for {provider}, a `base_url`, or both; remove the settings to use the server's own"
        )));
    }
    Ok((object(&ProviderSettings { api_key: None, base_url }), secret))
}

fn base(text: &str) -> Result<Url, String> {
    check_base_url(text)?;
    Url::parse(text).map_err(|error| format!("`base_url` is no URL: {error}"))
}

/// Where a project's provider is.
pub(super) fn endpoint(settings: &Settings, api_key: Option<Secret>) -> Result<Endpoint, String> {
    let text = settings.document.get("base_url").and_then(Value::as_str);
    Ok(Endpoint { base_url: text.map(base).transpose()?, api_key })
}

impl From<crate::app::Error> for Refusal {
    fn from(error: crate::app::Error) -> Self {
        Problem::from(error).into()
    }
}
