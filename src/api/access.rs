//! Questions about what somebody may do. A service account may do everything in its project; what people may follows from
//! their roles in the project and in its rooms.

use super::auth::{Access, Caller, InProject};
use super::body::Body;
use super::members::{address, capabilities, roles_of, roles_of_user};
use super::route::Route;
use super::{Api, Problem};
use crate::app::members::{direct_roles, room_role};
use crate::id::{ProjectId, RoomId};
use crate::projection::World;
use crate::spec::{ProjectRole, ProjectRoles, RoomRole, all_roles};
use axum::Json;
use axum::extract::State;
use axum::http::Method;
use axum::routing::post;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Relations that are asked about at once.
const RELATIONS_MAX: usize = 256;
/// Grants in one answer.
const BINDINGS_MAX: usize = 10_000;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::new(
            Method::POST,
            "/accounts/projects/{project_id}/access:test",
            "test_access",
            "Whether a subject has a relation to a resource",
            Access::Member,
            post(test),
        )
        .takes::<Question>(),
        Route::new(
            Method::POST,
            "/accounts/projects/{project_id}/access:effective",
            "effective_access",
            "All that a subject may do with a resource",
            Access::Account,
            post(effective),
        )
        .takes::<Questions>(),
        Route::new(
            Method::POST,
            "/accounts/projects/{project_id}/access:bindings",
            "access_bindings",
            "Where a person was given roles",
            Access::Account,
            post(bindings),
        )
        .takes::<Whose>(),
    ]
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
struct Subject {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<String>,
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
struct Resource {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct Question {
    subject: Subject,
    resource: Resource,
    relation: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct Questions {
    subject: Subject,
    resource: Resource,
    /// All that there are for the resource, unless given.
    #[serde(default)]
    relations: Option<Vec<String>>,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct Whose {
    subject: Subject,
}

/// Somebody who may do something.
struct Asked<'a> {
    world: &'a World,
    project: ProjectId,
    roles: ProjectRoles,
    /// The address of a person; none for a service account.
    user: Option<String>,
}

impl<'a> Asked<'a> {
    /// The subject of a question. None for one that there is not, or that this server has none of.
    fn read(
        world: &'a World,
        caller: &Caller,
        project: ProjectId,
        subject: &Subject,
    ) -> Result<Option<Self>, Problem> {
        let of = |roles, user| Ok(Some(Self { world, project, roles, user }));
        let id = subject.id.as_deref().unwrap_or("me");
        match (subject.kind.as_str(), caller, id) {
            ("user" | "service_account", Caller::Account { .. }, "me") => of(roles_of(caller), None),
            ("user", Caller::User(user), "me") => of(user.roles.clone(), Some(user.name.clone())),
            ("user", Caller::Participant(_), "me") => Ok(None),
            // Participants see who is in a room, not who has which roles in the project.
            ("user", Caller::Participant(_), id) => of(ProjectRoles::new(), Some(address(caller, id)?)),
            ("user", _, id) => {
                let name = address(caller, id)?;
                if let Some(user) = caller.user().filter(|user| user.name != name) {
                    user.must(ProjectRole::RoomInventory)?;
                }
                of(roles_of_user(world, project, &name), Some(name))
            }
            ("service_account", _, id) => {
                let known =
                    world.accounts(project).any(|(known, a)| known.to_string() == id || a.profile.name == id);
                if known { of(ProjectRoles::from([ProjectRole::Admin]), None) } else { Ok(None) }
            }
            _ => Ok(None),
        }
    }

    fn room(&self, resource: &Resource) -> Option<RoomId> {
        let id = resource.id.as_deref().filter(|_| resource.kind == "room")?;
        self.world.find_room(self.project, id).map(|(room, _)| room)
    }

    /// Whether the subject has a relation to a resource.
    fn may(&self, resource: &Resource, relation: &str) -> bool {
        let Some(user) = &self.user else {
            let is_there = resource.kind != "room" || resource.id.is_none() || self.room(resource).is_some();
            return is_there && relation != ProjectRole::BillingManager.as_str();
        };
        if resource.kind == "room" {
            let asked = RoomRole::parse(relation);
            return asked.is_some()
                && self.room(resource).and_then(|room| room_role(self.world, room, user)) >= asked;
        }
        let has = ProjectRole::parse(relation).map(|role| capabilities(&self.roles, &[role]));
        resource.kind == "project" && has.is_some_and(|has| has.values().any(|has| *has == json!(true)))
    }

    /// Every relation that there is to a resource.
    fn relations(resource: &Resource) -> Vec<&'static str> {
        match resource.kind.as_str() {
            "room" => RoomRole::ALL.into_iter().map(RoomRole::as_str).collect(),
            "project" => ProjectRole::ALL.iter().map(|role| role.as_str()).collect(),
            _ => vec![],
        }
    }
}

async fn test(
    State(api): State<Api>,
    caller: Caller,
    InProject(project): InProject,
    Body(question): Body<Question>,
) -> Result<Json<Value>, Problem> {
    let world = api.app.world();
    let asked = Asked::read(&world, &caller, project, &question.subject)?;
    let allowed = asked.is_some_and(|asked| asked.may(&question.resource, &question.relation));
    Ok(Json(json!({"allowed": allowed})))
}

async fn effective(
    State(api): State<Api>,
    caller: Caller,
    InProject(project): InProject,
    Body(questions): Body<Questions>,
) -> Result<Json<Value>, Problem> {
    let Questions { subject, resource, relations } = questions;
    let own = Asked::relations(&resource);
    let asked_for: Vec<&str> = match &relations {
        None => own.clone(),
        Some(relations) if relations.len() > RELATIONS_MAX => {
            return Err(Problem::bad_request(format!(
                "at most {RELATIONS_MAX} relations are asked about at once"
            )));
        }
        Some(relations) => relations.iter().map(String::as_str).collect(),
    };
    let world = api.app.world();
    let asked = Asked::read(&world, &caller, project, &subject)?;
    let may = |relation: &str| asked.as_ref().is_some_and(|asked| asked.may(&resource, relation));
    let roles: Vec<&str> = own.iter().copied().filter(|relation| may(relation)).collect();
    let capabilities: Map<String, Value> =
        asked_for.iter().map(|relation| ((*relation).to_owned(), json!(may(relation)))).collect();
    let id = resource.id.clone().unwrap_or_else(|| project.to_string());
    Ok(Json(json!({
        "resource": {"type": resource.kind, "id": id}, "subject": subject, "effective_roles": roles,
        "capabilities": capabilities,
    })))
}

async fn bindings(
    State(api): State<Api>,
    caller: Caller,
    InProject(project): InProject,
    Body(whose): Body<Whose>,
) -> Result<Json<Value>, Problem> {
    let world = api.app.world();
    let asked = Asked::read(&world, &caller, project, &whose.subject)?;
    let Some((roles, user)) = asked.and_then(|asked| Some((asked.roles, asked.user?))) else {
        return Ok(Json(json!({"access_grants": []})));
    };
    let subject = super::iam::subject(&user);
    let mut grants = vec![];
    if !roles.is_empty() {
        let resource = super::iam::wire_project(&world, project);
        grants.push(json!({"resource": resource, "subject": subject, "direct_roles": all_roles(&roles)}));
    }
    for (id, room, roles) in direct_roles(&world, project, &user).take(BINDINGS_MAX) {
        let resource = super::iam::wire_room(id, room);
        grants.push(json!({"resource": resource, "subject": subject, "direct_roles": roles}));
    }
    Ok(Json(json!({"access_grants": grants})))
}
