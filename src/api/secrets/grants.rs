//! Who may use a caller's secrets through the proxy, and which secrets a service account pulls images with.

use super::owner::{At, Owned, account};
use super::wire;
use crate::api::auth::{Access, Caller};
use crate::api::body::Body;
use crate::api::paging::Paging;
use crate::api::route::Route;
use crate::api::{Api, Problem};
use crate::domain::secret::Owner;
use crate::id::ServiceAccountId;
use axum::Json;
use axum::extract::{Query, State};
use axum::http::Method;
use axum::routing::{delete, get, post, put};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

/// The one role there is on a secret.
const USE_PROXY: &str = "use_proxy";
const SERVICE_ACCOUNT: &str = "service_account";

pub(super) fn routes() -> Vec<Route> {
    const PULLS: &str = "/accounts/projects/{project_id}/service-accounts/{account_id}/pull-secrets";
    const PULL: &str =
        "/accounts/projects/{project_id}/service-accounts/{account_id}/pull-secrets/{secret_id}";
    let route = |method, path, name, summary, handler| {
        Route::new(method, path, name, summary, Access::Account, handler)
    };
    vec![
        route(
            Method::GET,
            "/accounts/users/me/secrets/{secret_id}/access",
            "list_user_secret_access",
            "Service accounts that may use a secret through the proxy",
            get(list),
        ),
        route(
            Method::POST,
            "/accounts/users/me/secrets/{secret_id}/access:grant-proxy",
            "grant_user_secret_proxy",
            "Let a service account use a secret through the proxy",
            post(grant),
        )
        .takes::<GrantBody>(),
        route(
            Method::POST,
            "/accounts/users/me/secrets/{secret_id}/access:revoke-proxy",
            "revoke_user_secret_proxy",
            "No longer let a service account use a secret",
            post(revoke),
        )
        .takes::<GrantBody>(),
        route(Method::GET, PULLS, "list_pull_secrets", "Secrets that images are pulled with", get(pulls)),
        route(Method::PUT, PULL, "add_pull_secret", "Pull images with a secret", put(add_pull)),
        route(
            Method::DELETE,
            PULL,
            "remove_pull_secret",
            "No longer pull images with a secret",
            delete(remove_pull),
        ),
    ]
}

#[derive(Debug, Deserialize, JsonSchema)]
struct Subject {
    /// `service_account`
    #[serde(rename = "type")]
    kind: String,
    id: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct GrantBody {
    subject: Subject,
}

async fn list(State(api): State<Api>, at: At, Query(paging): Query<Paging>) -> Result<Json<Value>, Problem> {
    let world = api.app.world();
    let project = at.id.project();
    let grant = |uuid: &uuid::Uuid| {
        let id = ServiceAccountId::new(project, *uuid);
        let profile = &world.account(id)?.profile;
        let subject = json!({
            "type": SERVICE_ACCOUNT, "id": id.to_string(), "name": profile.name,
            "email": crate::api::projects::email(&world, id),
        });
        Some(json!({"subject": subject, "roles": [USE_PROXY]}))
    };
    let all: Vec<Value> = at.secret(&world)?.proxy.iter().filter_map(grant).collect();
    let page = paging.cut(all)?;
    Ok(Json(json!({"access_grants": page.items, "continuation_token": page.next})))
}

async fn grant(
    State(api): State<Api>,
    caller: Caller,
    at: At,
    Body(body): Body<GrantBody>,
) -> Result<Json<Value>, Problem> {
    set(&api, &caller, at, &body.subject, true).await
}

async fn revoke(
    State(api): State<Api>,
    caller: Caller,
    at: At,
    Body(body): Body<GrantBody>,
) -> Result<Json<Value>, Problem> {
    set(&api, &caller, at, &body.subject, false).await
}

async fn set(
    api: &Api,
    caller: &Caller,
    at: At,
    subject: &Subject,
    granted: bool,
) -> Result<Json<Value>, Problem> {
    if subject.kind != SERVICE_ACCOUNT {
        return Err(Problem::bad_request(format!(
            "the proxy works for service accounts, not for a `{}`; give a subject of type `{SERVICE_ACCOUNT}`",
            subject.kind
        )));
    }
    let account = account(&api.app.world(), at.id.project(), &subject.id)?;
    api.app.grant_secret(&caller.actor(), at.id, account, granted).await?;
    Ok(Json(json!({})))
}

async fn pulls(State(api): State<Api>, owned: Owned) -> Result<Json<Value>, Problem> {
    let world = api.app.world();
    let Owner::ServiceAccount(account) = owned.owner else {
        return Err(Problem::not_found("images are pulled with the secrets of service accounts"));
    };
    let all = owned.all(&world).filter(|(_, secret)| secret.pull.contains(&account));
    let secrets: Vec<Value> = all.map(|(id, secret)| wire::secret(id, secret)).collect();
    Ok(Json(json!({"secrets": secrets, "continuation_token": null})))
}

async fn add_pull(
    State(api): State<Api>,
    caller: Caller,
    owned: Owned,
    at: At,
) -> Result<Json<Value>, Problem> {
    pull(&api, &caller, owned, at, true).await
}

async fn remove_pull(
    State(api): State<Api>,
    caller: Caller,
    owned: Owned,
    at: At,
) -> Result<Json<Value>, Problem> {
    pull(&api, &caller, owned, at, false).await
}

async fn pull(api: &Api, caller: &Caller, owned: Owned, at: At, pulls: bool) -> Result<Json<Value>, Problem> {
    if let Owner::ServiceAccount(account) = owned.owner {
        let account = ServiceAccountId::new(owned.project, account);
        api.app.pull_with_secret(&caller.actor(), at.id, account, pulls).await?;
    }
    Ok(Json(json!({})))
}
