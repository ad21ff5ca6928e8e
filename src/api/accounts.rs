//! Service accounts and their API keys.

use super::auth::{Access, Caller, InProject};
use super::body::Body;
use super::paging::Paging;
use super::route::Route;
use super::{Api, Problem};
use crate::app::NewKey;
use crate::domain::account::{ApiKey, Profile, ServiceAccount};
use crate::domain::names::Kind;
use crate::id::{ApiKeyId, ProjectId, ServiceAccountId};
use crate::projection::World;
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::Method;
use axum::routing::{delete, get, post, put};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use uuid::Uuid;

pub(super) fn routes() -> Vec<Route> {
    const ALL: &str = "/accounts/projects/{project_id}/service-accounts";
    const ONE: &str = "/accounts/projects/{project_id}/service-accounts/{account_id}";
    const KEYS: &str = "/accounts/projects/{project_id}/service-accounts/{account_id}/api-keys";
    let route = |method, path, name, summary, handler| {
        Route::new(method, path, name, summary, Access::Account, handler)
    };
    vec![
        route(Method::GET, ALL, "list_service_accounts", "Service accounts of a project", get(list)),
        route(Method::POST, ALL, "create_service_account", "Make a service account", post(create))
            .takes::<AccountBody>(),
        route(
            Method::GET,
            "/accounts/projects/{project_id}/service-accounts/by-name/{name}",
            "get_service_account_by_name",
            "A service account by its name",
            get(by_name),
        ),
        route(Method::GET, ONE, "get_service_account", "One service account", get(one)),
        route(Method::PUT, ONE, "update_service_account", "Change a service account", put(update))
            .takes::<AccountBody>(),
        route(
            Method::DELETE,
            ONE,
            "delete_service_account",
            "Delete a service account and revoke its keys",
            delete(remove),
        ),
        route(
            Method::GET,
            KEYS,
            "list_api_keys",
            "API keys of a service account, without their values",
            get(keys),
        ),
        route(
            Method::POST,
            KEYS,
            "create_api_key",
            "Make an API key; its value is shown here and never again",
            post(create_key),
        )
        .takes::<KeyBody>(),
        route(
            Method::DELETE,
            "/accounts/projects/{project_id}/service-accounts/{account_id}/api-keys/{key_id}",
            "delete_api_key",
            "Revoke an API key",
            delete(revoke),
        ),
    ]
}

#[derive(Debug, Deserialize, JsonSchema)]
struct AccountBody {
    name: String,
    #[serde(default)]
    key: Option<String>,
    #[serde(default)]
    display_name: Option<String>,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    metadata: Option<Map<String, Value>>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

impl AccountBody {
    fn profile(self) -> Result<Profile, Problem> {
        let annotations = self.annotations.unwrap_or_default();
        if annotations.contains_key(super::auth::OPERATOR_ANNOTATION) {
            return Err(Problem::forbidden(format!(
                "the annotation `{}` is set by the server only; leave it out",
                super::auth::OPERATOR_ANNOTATION
            )));
        }
        Ok(Profile {
            key: self.key.unwrap_or_else(|| self.name.clone()),
            name: self.name,
            display_name: self.display_name,
            description: self.description.unwrap_or_default(),
            metadata: self.metadata.unwrap_or_default(),
            annotations,
        })
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
struct KeyBody {
    name: String,
    #[serde(default)]
    description: Option<String>,
}

pub(super) fn wire(world: &World, id: ServiceAccountId, account: &ServiceAccount) -> Value {
    let p = &account.profile;
    json!({
        "id": id.to_string(), "project_id": id.project().to_string(), "key": p.key, "name": p.name,
        "email": super::projects::email(world, id), "display_name": p.display_name, "description": p.description,
        "metadata": p.metadata, "annotations": p.annotations,
        "created_at": account.created_at, "updated_at": account.updated_at,
    })
}

fn key_wire(id: ApiKeyId, key: &ApiKey) -> Value {
    json!({
        "id": id.to_string(), "name": key.name, "description": key.description,
        "project_id": id.project().to_string(), "service_account_id": key.account.to_string(),
        "created_at": key.created_at,
    })
}

/// An account by its UUID or its name.
fn find(world: &World, project: ProjectId, text: &str) -> Result<ServiceAccountId, Problem> {
    let by_name = world.named(project, Kind::ServiceAccount, None, text);
    let id = by_name.or_else(|| Uuid::parse_str(text).ok()).map(|uuid| ServiceAccountId::new(project, uuid));
    id.filter(|id| world.account(*id).is_some())
        .ok_or_else(|| Problem::from(crate::app::Error::no_account(text)))
}

async fn list(
    State(api): State<Api>,
    InProject(project): InProject,
    Query(paging): Query<Paging>,
) -> Result<Json<Value>, Problem> {
    let world = api.app.world();
    let wanted = |id: &ServiceAccountId, a: &ServiceAccount| {
        paging.wants(&a.profile.name) || paging.wants(&id.to_string())
    };
    let all: Vec<Value> =
        world.accounts(project).filter(|(id, a)| wanted(id, a)).map(|(id, a)| wire(&world, id, a)).collect();
    let page = paging.cut(all)?;
    Ok(Json(json!({"service_accounts": page.items, "continuation_token": page.next, "total": page.total})))
}

async fn create(
    State(api): State<Api>,
    caller: Caller,
    InProject(project): InProject,
    Body(body): Body<AccountBody>,
) -> Result<Json<Value>, Problem> {
    let id = api.app.create_account(&caller.actor(), project, body.profile()?).await?;
    answer(&api.app.world(), id)
}

fn answer(world: &World, id: ServiceAccountId) -> Result<Json<Value>, Problem> {
    let account = world.account(id).ok_or_else(|| crate::app::Error::no_account(&id.to_string()))?;
    Ok(Json(wire(world, id, account)))
}

async fn one(
    State(api): State<Api>,
    InProject(project): InProject,
    Path((_, text)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let world = api.app.world();
    answer(&world, find(&world, project, &text)?)
}

async fn by_name(
    state: State<Api>,
    project: InProject,
    path: Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    one(state, project, path).await
}

async fn update(
    State(api): State<Api>,
    caller: Caller,
    InProject(project): InProject,
    Path((_, text)): Path<(String, String)>,
    Body(body): Body<AccountBody>,
) -> Result<Json<Value>, Problem> {
    let id = find(&api.app.world(), project, &text)?;
    not_of_operator(&api.app.world(), &caller, id)?;
    let mut profile = body.profile()?;
    let operator = super::auth::OPERATOR_ANNOTATION;
    if let Some(old) = api.app.world().account(id).and_then(|a| a.profile.annotations.get(operator)) {
        profile.annotations.insert(operator.to_owned(), old.clone());
    }
    api.app.update_account(&caller.actor(), id, profile).await?;
    answer(&api.app.world(), id)
}

async fn remove(
    State(api): State<Api>,
    caller: Caller,
    InProject(project): InProject,
    Path((_, text)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let id = find(&api.app.world(), project, &text)?;
    not_of_operator(&api.app.world(), &caller, id)?;
    api.app.delete_account(&caller.actor(), id).await?;
    Ok(Json(json!({})))
}

/// People have no hand in the accounts that operate the server.
pub(super) fn not_of_operator(world: &World, caller: &Caller, id: ServiceAccountId) -> Result<(), Problem> {
    let notes = world.account(id).map(|account| &account.profile.annotations);
    let operates = notes.is_some_and(|notes| notes.contains_key(super::auth::OPERATOR_ANNOTATION));
    if operates && caller.user().is_some() {
        return Err(Problem::forbidden(
            "the service account operates this server; use an API key of the project to change it",
        ));
    }
    Ok(())
}

async fn keys(
    State(api): State<Api>,
    InProject(project): InProject,
    Path((_, text)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let world = api.app.world();
    let account = find(&world, project, &text)?;
    let keys: Vec<Value> = world
        .keys(project)
        .filter(|(_, key)| key.account == account)
        .map(|(id, key)| key_wire(id, key))
        .collect();
    Ok(Json(json!({"keys": keys})))
}

async fn create_key(
    State(api): State<Api>,
    caller: Caller,
    InProject(project): InProject,
    Path((_, text)): Path<(String, String)>,
    Body(body): Body<KeyBody>,
) -> Result<Json<Value>, Problem> {
    let world = api.app.world();
    let account = find(&world, project, &text)?;
    let notes = world.account(account).map(|account| &account.profile.annotations);
    if notes.is_some_and(|notes| notes.contains_key(super::auth::OPERATOR_ANNOTATION))
        && !caller.is_operator()
    {
        return Err(Problem::forbidden(
            "the service account operates this server; only itself makes keys of it",
        ));
    }
    let new = NewKey { name: body.name, description: body.description.unwrap_or_default(), given: None };
    let (id, value) = api.app.create_key(&caller.actor(), account, new).await?;
    let world = api.app.world();
    let key = world.key(id).ok_or_else(|| Problem::not_found("the API key was revoked meanwhile"))?;
    let mut answer = key_wire(id, key);
    answer["value"] = json!(value.reveal());
    Ok(Json(answer))
}

async fn revoke(
    State(api): State<Api>,
    caller: Caller,
    InProject(project): InProject,
    Path((_, text, key)): Path<(String, String, String)>,
) -> Result<Json<Value>, Problem> {
    let world = api.app.world();
    let account = find(&world, project, &text)?;
    not_of_operator(&world, &caller, account)?;
    let missing = || {
        Problem::not_found(format!("no API key `{key}` of this service account; it may be revoked already"))
    };
    let id = ApiKeyId::new(project, Uuid::parse_str(&key).map_err(|_| missing())?);
    if world.key(id).is_none_or(|k| k.account != account) {
        return Err(missing());
    }
    api.app.revoke_key(&caller.actor(), id).await?;
    Ok(Json(json!({})))
}
