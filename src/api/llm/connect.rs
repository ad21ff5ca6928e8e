//! Delegations: leave to spend on models for somebody else, up to a sum (REST reference §5.17).

use crate::api::auth::{Access, Caller};
use crate::api::body::Body;
use crate::api::route::Route;
use crate::api::{Api, Problem};
use crate::app::delegation::{Delegation, LIFETIME_SECONDS, LIFETIME_SECONDS_MAX, Subject};
use crate::id::ProjectId;
use crate::llm::{Provider, headers};
use crate::spec::llm::Dollars;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, Method};
use axum::routing::post;
use chrono::DateTime;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

/// Most providers and models of one delegation.
const NAMES_MAX: usize = 100;
/// Who a delegation can be for.
const KINDS: [&str; 3] = ["service_account", "agent", "user"];

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::new(
            Method::POST,
            "/llm/connect",
            "connect_llm",
            "Let somebody spend on models for the caller, up to a sum",
            Access::SignedIn,
            post(connect),
        )
        .takes::<Wanted>(),
    ]
}

#[derive(Debug, Deserialize, JsonSchema)]
struct Wanted {
    subject: Subject,
    max_budget: Dollars,
    #[serde(default)]
    providers: Option<Vec<String>>,
    #[serde(default)]
    models: Option<Vec<String>>,
    #[serde(default)]
    expires_in_seconds: Option<i64>,
}

async fn connect(
    State(api): State<Api>,
    caller: Caller,
    all: HeaderMap,
    Body(wanted): Body<Wanted>,
) -> Result<Json<Value>, Problem> {
    let Caller::Account { id, key, name, operator } = &caller else {
        return Err(Problem::forbidden(
            "participants cannot let others spend; make the delegation with an API key of the project",
        ));
    };
    let project = project(&api, id.project(), *operator, &all)?;
    check(&wanted)?;
    let lifetime = wanted.expires_in_seconds.unwrap_or(LIFETIME_SECONDS);
    let delegation = Delegation {
        id: api.app.ids.fresh(),
        project,
        delegator: name.clone(),
        account: *id,
        key: *key,
        subject: wanted.subject,
        providers: wanted.providers,
        models: wanted.models,
        max_budget: wanted.max_budget,
        exp: api.app.clock.now().timestamp() + lifetime,
    };
    let token = api.app.mint_delegation(delegation.clone()).await?;
    Ok(Json(json!({
        "id": delegation.id,
        "token": token,
        "expires_at": DateTime::from_timestamp(delegation.exp, 0).map(|at| at.to_rfc3339()),
        "project_id": project.to_string(),
        "delegator": {"type": "service_account", "id": id.to_string(), "name": name},
        "subject": delegation.subject,
        "providers": delegation.providers,
        "models": delegation.models,
        "max_budget": delegation.max_budget,
    })))
}

fn project(api: &Api, own: ProjectId, operator: bool, all: &HeaderMap) -> Result<ProjectId, Problem> {
    let Some(value) = all.get(headers::PROJECT) else { return Ok(own) };
    let asked: Option<ProjectId> = value.to_str().ok().and_then(|text| text.trim().parse().ok());
    let exists = |id| api.app.world().project(id).is_some_and(|view| view.project.is_some());
    match asked {
        Some(asked) if asked == own || (operator && exists(asked)) => Ok(asked),
        Some(_) => Err(Problem::forbidden(format!(
            "this credential belongs to project {own}; check `Meshagent-Project-Id`"
        ))),
        None => Err(Problem::bad_request("`Meshagent-Project-Id` is no project's identifier")),
    }
}

fn check(wanted: &Wanted) -> Result<(), Problem> {
    if !KINDS.contains(&wanted.subject.kind.as_str()) {
        return Err(Problem::bad_request(format!("`subject.type` is one of {}", KINDS.join(", "))));
    }
    if wanted.subject.id.is_none() && wanted.subject.name.is_none() {
        return Err(Problem::bad_request("`subject` needs an `id` or a `name`"));
    }
    let names = wanted.providers.iter().chain(&wanted.models).map(Vec::len).max().unwrap_or_default();
    if names > NAMES_MAX {
        return Err(Problem::bad_request(format!("at most {NAMES_MAX} providers and models")));
    }
    let unknown = wanted.providers.iter().flatten().find(|name| Provider::named(name).is_none());
    if let Some(name) = unknown {
        return Err(Problem::bad_request(format!(
            "no provider `{name}`; there are openai, anthropic and grok"
        )));
    }
    match wanted.expires_in_seconds {
        Some(seconds) if !(1..=LIFETIME_SECONDS_MAX).contains(&seconds) => {
            Err(Problem::bad_request(format!("`expires_in_seconds` is between 1 and {LIFETIME_SECONDS_MAX}")))
        }
        _ => Ok(()),
    }
}
