//! Who asks for a model, and which ones they may use.

use super::refusal::Refusal;
use crate::api::auth::{Caller, identify};
use crate::api::{Api, Problem};
use crate::app::delegation::{Delegation, Subject};
use crate::domain::access::{Need, check};
use crate::id::{ProjectId, ServiceAccountId};
use crate::llm::{Provider, budget, headers};
use crate::spec::{ApiScope, ProjectRole};
use axum::http::HeaderMap;

/// A verified user of models.
#[derive(Clone, Debug)]
pub(in crate::api) struct User {
    pub project: ProjectId,
    /// Under which the usage is counted.
    pub name: String,
    /// Empty outside of rooms.
    pub room: String,
    /// `None`: everything.
    pub scope: Option<ApiScope>,
    /// Whose leave is spent of.
    pub delegation: Option<Delegation>,
}

impl User {
    /// Whether some models may not be used, so that each must be known.
    pub(super) fn is_restricted(&self) -> bool {
        let scope = self.scope.as_ref().and_then(|scope| scope.llm.as_ref());
        scope.is_some_and(|grant| grant.models.is_some()) || self.delegation.is_some()
    }

    pub(super) fn check_provider(&self, provider: Provider) -> Result<(), Refusal> {
        if let Some(scope) = &self.scope {
            check(scope, &Need::UseProvider(provider.name()))
                .map_err(|why| Refusal::forbidden(why.to_string()))?;
        }
        let providers = self.delegation.as_ref().and_then(|delegation| delegation.providers.as_ref());
        match providers {
            Some(all) if !all.iter().any(|one| one == provider.name()) => Err(not_delegated(provider.name())),
            _ => Ok(()),
        }
    }

    pub(super) fn check_model(&self, provider: Provider, model: &str) -> Result<(), Refusal> {
        if let Some(scope) = &self.scope {
            let need = Need::UseModel { provider: provider.name(), model };
            check(scope, &need).map_err(|why| Refusal::forbidden(why.to_string()))?;
        }
        let name = format!("{provider}/{model}");
        let models = self.delegation.as_ref().and_then(|delegation| delegation.models.as_ref());
        let covered = |pattern: &String| budget::covers(pattern, &name) || budget::covers(pattern, model);
        match models {
            Some(all) if !all.iter().any(covered) => Err(not_delegated(&name)),
            _ => Ok(()),
        }
    }
}

fn not_delegated(what: &str) -> Refusal {
    Refusal::forbidden(format!(
        "the delegation does not allow {what}; ask for one that does with POST /llm/connect"
    ))
}

/// Reads the credential of a request to a provider.
pub(in crate::api) async fn admit(api: &Api, all: &HeaderMap) -> Result<User, Problem> {
    let text = headers::bearer(all);
    if let Some(text) = text
        && let Some(delegation) = api.app.verify_delegation(text).await
    {
        return of_delegation(delegation?, all);
    }
    let caller = identify(&api.app, text).await?;
    let mut user = of_caller(api, &caller, all)?;
    let Some(token) = all.get(headers::DELEGATION).and_then(|value| value.to_str().ok()) else {
        return Ok(user);
    };
    let Some(delegation) = api.app.verify_delegation(token.trim()).await else {
        return Err(Problem::unauthorized(
            "the delegation is no token of this server; make one with POST /llm/connect",
        ));
    };
    let delegation = delegation?;
    if delegation.project != user.project || !is_subject(api, &caller, &delegation.subject) {
        return Err(Problem::forbidden(format!(
            "this delegation is for another {}; ask for one for `{}`",
            delegation.subject.kind, user.name
        )));
    }
    if let Some(scope) = user.scope.as_mut()
        && scope.llm.is_none()
    {
        // What the delegation allows is enough.
        scope.llm = ApiScope::agent_default().llm;
    }
    user.delegation = Some(delegation);
    Ok(user)
}

fn of_delegation(delegation: Delegation, all: &HeaderMap) -> Result<User, Problem> {
    check_project(delegation.project, all)?;
    Ok(User {
        project: delegation.project,
        name: delegation.delegator.clone(),
        room: String::new(),
        scope: None,
        delegation: Some(delegation),
    })
}

fn of_caller(api: &Api, caller: &Caller, all: &HeaderMap) -> Result<User, Problem> {
    match caller {
        Caller::Account { id, name, operator, .. } => {
            let asked = project_header(all)?;
            let other = asked.filter(|asked| *asked != id.project());
            if let Some(other) = other {
                let exists = api.app.world().project(other).is_some_and(|view| view.project.is_some());
                if !*operator || !exists {
                    return Err(other_project(id.project()));
                }
            }
            let project = other.unwrap_or(id.project());
            Ok(User { project, name: name.clone(), room: String::new(), scope: None, delegation: None })
        }
        Caller::Participant(bearer) => {
            check_project(bearer.project, all)?;
            let room = bearer.room.clone().ok_or_else(|| {
                Problem::forbidden(
                    "this participant token is for no room; models need one with a `room` grant",
                )
            })?;
            let world = api.app.world();
            let (_, found) = world.find_room(bearer.project, &room).ok_or_else(|| {
                Problem::forbidden(format!("the room `{room}` of this participant token does not exist"))
            })?;
            if !found.enabled {
                return Err(Problem::forbidden(format!("the room `{room}` is disabled; enable it first")));
            }
            let scope = Some(bearer.api.clone().unwrap_or_default());
            Ok(User { project: bearer.project, name: bearer.name.clone(), room, scope, delegation: None })
        }
        Caller::User(user) => {
            check_project(user.project, all)?;
            user.must(ProjectRole::LlmProxyUser)?;
            let (project, name, room) = (user.project, user.name.clone(), String::new());
            Ok(User { project, name, room, scope: None, delegation: None })
        }
    }
}

fn project_header(all: &HeaderMap) -> Result<Option<ProjectId>, Problem> {
    let Some(value) = all.get(headers::PROJECT) else { return Ok(None) };
    let project = value.to_str().ok().and_then(|text| text.trim().parse().ok());
    project.map(Some).ok_or_else(|| Problem::bad_request("`Meshagent-Project-Id` is no project's identifier"))
}

fn check_project(own: ProjectId, all: &HeaderMap) -> Result<(), Problem> {
    match project_header(all)? {
        Some(asked) if asked != own => Err(other_project(own)),
        _ => Ok(()),
    }
}

fn other_project(own: ProjectId) -> Problem {
    Problem::forbidden(format!("this credential belongs to project {own}; check MESHAGENT_PROJECT_ID"))
}

/// Whether the caller is whom a delegation was made for.
fn is_subject(api: &Api, caller: &Caller, subject: &Subject) -> bool {
    let named = |id: &str, name: &str| {
        let same = |want: &Option<String>, is: &str| want.as_deref().is_some_and(|want| want == is);
        same(&subject.id, id) || same(&subject.id, name) || same(&subject.name, name)
    };
    match (subject.kind.as_str(), caller) {
        ("service_account", _) => account(api, caller).is_some_and(|id| {
            let world = api.app.world();
            let name = world.account(id).map(|account| account.profile.name.clone()).unwrap_or_default();
            named(&id.to_string(), &name)
        }),
        ("agent", Caller::Participant(bearer)) => named(&bearer.name, &bearer.name) && bearer.role == "agent",
        ("user", Caller::User(user)) => named(&user.name, &user.name),
        ("user", Caller::Participant(bearer)) => named(&bearer.name, &bearer.name) && bearer.role == "user",
        _ => false,
    }
}

/// The service account that a caller is, or acts as.
fn account(api: &Api, caller: &Caller) -> Option<ServiceAccountId> {
    let bearer = match caller {
        Caller::Account { id, .. } => return Some(*id),
        Caller::Participant(bearer) => bearer,
        Caller::User(_) => return None,
    };
    let world = api.app.world();
    if let Some(key) = bearer.key {
        return world.key(key).map(|key| key.account);
    }
    let acting = crate::app::secrets::use_of::acting_for(&world, bearer.service?).ok()?;
    Some(acting.account)
}
