//! Questions about what somebody may do. Until roles can be bound, a service account may do everything in its project.

use super::auth::{Access, Caller, InProject};
use super::body::Body;
use super::route::Route;
use super::{Api, Problem};
use crate::spec::RoomRole;
use axum::Json;
use axum::extract::State;
use axum::http::Method;
use axum::routing::post;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

/// Roles that this server cannot serve at all.
const NOT_SERVED: &[&str] = &["billing_manager"];

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
    ]
}

#[derive(Debug, Deserialize, JsonSchema)]
struct Subject {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    id: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct Resource {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    id: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct Question {
    subject: Subject,
    resource: Resource,
    relation: String,
}

async fn test(
    State(api): State<Api>,
    caller: Caller,
    InProject(project): InProject,
    Body(question): Body<Question>,
) -> Result<Json<Value>, Problem> {
    let world = api.app.world();
    let (subject, resource) = (&question.subject, &question.resource);
    let own = |id: &Option<String>| id.as_deref().is_none_or(|id| id == "me");
    let account = match subject.kind.as_str() {
        "user" | "service_account" if own(&subject.id) => matches!(caller, Caller::Account { .. }),
        "service_account" => {
            let id = subject.id.clone().unwrap_or_default();
            world.accounts(project).any(|(known, a)| known.to_string() == id || a.profile.name == id)
        }
        _ => false,
    };
    let exists = match (resource.kind.as_str(), resource.id.as_deref()) {
        ("room", Some(id)) => world.find_room(project, id).is_some(),
        _ => true,
    };
    let named = subject.id.as_deref().filter(|id| subject.kind == "user" && *id != "me");
    if let Some(user) = named {
        let room = resource.id.as_deref().filter(|_| resource.kind == "room");
        let role = room
            .and_then(|id| world.find_room(project, id))
            .and_then(|(room, _)| api.app.room_role(room, user));
        let asked = RoomRole::parse(&question.relation);
        return Ok(Json(json!({"allowed": asked.is_some() && role >= asked})));
    }
    let served = !NOT_SERVED.contains(&question.relation.as_str());
    Ok(Json(json!({"allowed": account && exists && served})))
}
