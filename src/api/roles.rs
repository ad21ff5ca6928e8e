//! What each route asks of people: the roles that a signed-in person needs for it. Service accounts have all of them.
//!
//! One table for all routes, by operation id. A route that is not in it is for those who manage the project.

use super::auth::Caller;
use super::{Api, Problem};
use crate::app::members::room_role;
use crate::app::token::Bearer;
use crate::id::{ProjectId, RoomId};
use crate::spec::{Kind, ProjectRole, ProjectRoles, RoomRole, roles_imply};
use axum::extract::RawPathParams;
use serde_json::Value;

/// What a route asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Need {
    /// A valid token; no role.
    SignedIn,
    /// A role in the project.
    Role(ProjectRole),
    /// In the room of the path a role of at least this rank, or this role in the project.
    InRoom(RoomRole, ProjectRole),
    /// The inventory of the kind in the path.
    SeesKind,
    /// Its manager.
    ManagesKind,
    /// Whoever manages the settings document in the path.
    Settings,
}

/// What the route of an operation asks.
#[rustfmt::skip]
pub(super) fn needed(operation: &str) -> Need {
    use Need::{InRoom, Role, SignedIn};
    use ProjectRole::*;
    match operation {
        // What a handler itself holds against the caller's roles.
        "whoami" | "get_profile" | "list_projects" | "get_project_by_key" | "render_template" => SignedIn,
        "get_project" | "project_status" | "project_role" | "test_access" | "effective_access"
        | "access_bindings" | "list_rooms" | "get_policy" | "grant_roles" | "revoke_roles" | "presign_file"
        | "list_agent_files" | "get_agent_file" | "put_agent_file" | "delete_agent_file"
        | "change_agent_files" => Role(Member),
        "list_project_users" => Role(RoomInventory),

        "create_room" => Role(RoomCreator),
        "get_room" | "room_status" | "room_events" => InRoom(RoomRole::Guest, RoomInventory),
        "connect_room" | "list_files" | "get_file" | "put_file" | "delete_file" | "change_files" => {
            InRoom(RoomRole::Guest, RoomManager)
        }
        "update_room" | "delete_room" => InRoom(RoomRole::Admin, RoomManager),
        "list_sessions" | "list_active_sessions" | "get_session" | "session_events" | "session_metrics"
        | "session_participants" | "session_spans" | "list_agents_sessions"
        | "list_active_agents_sessions" | "list_agent_sessions" => Role(SessionInventory),
        "list_room_sessions" => InRoom(RoomRole::Developer, SessionInventory),
        "kill_session" | "terminate_session" => Role(RoomManager),
        "create_participant_token" => Role(ParticipantTokenCreator),
        _ => needed_for_things(operation),
    }
}

/// The same for what is not a room.
#[rustfmt::skip]
fn needed_for_things(operation: &str) -> Need {
    use Need::{ManagesKind, Role, SeesKind, Settings};
    use ProjectRole::*;
    match operation {
        "list_agents" | "get_agent" | "connect_agent" => Role(AgentInventory),
        "create_agent" => Role(AgentCreator),
        "update_agent" | "delete_agent" => Role(AgentManager),

        "list_services" | "get_service" | "get_service_by_name" | "list_room_services" | "get_room_service"
        | "get_room_service_by_name" => Role(ServiceInventory),
        "create_service" | "create_room_service" | "discover_mcp" => Role(ServiceCreator),
        "update_service" | "delete_service" | "update_room_service" | "delete_room_service" => Role(ServiceManager),

        "list_mailboxes" | "list_room_mailboxes" | "get_mailbox" => Role(MailboxInventory),
        "create_mailbox" => Role(MailboxCreator),
        "update_mailbox" | "delete_mailbox" | "list_mailbox_deliveries" | "get_mailbox_delivery"
        | "list_mailbox_delivery_events" => Role(MailboxManager),

        "list_scheduled_tasks" | "get_scheduled_task" | "list_scheduled_task_runs" => Role(ScheduledTaskInventory),
        "create_scheduled_task" => Role(ScheduledTaskCreator),
        "update_scheduled_task" | "delete_scheduled_task" => Role(ScheduledTaskManager),

        "list_routes" | "get_route" | "list_room_routes" | "list_agent_routes" => Role(RouteInventory),
        "create_route" => Role(RouteCreator),
        "update_route" | "delete_route" => Role(RouteManager),

        "list_feeds" | "get_feed" | "get_feed_by_name" | "list_room_feeds" => Role(FeedInventory),
        "create_feed" => Role(FeedCreator),
        "update_feed" | "delete_feed" | "publish_feed_message" | "publish_feed_batch" => Role(FeedManager),
        "list_feed_subscriptions" | "get_feed_subscription" => Role(FeedSubscriptionInventory),
        "create_feed_subscription" => Role(FeedSubscriptionCreator),
        "update_feed_subscription" | "delete_feed_subscription" => Role(FeedSubscriptionManager),

        "list_service_accounts" | "get_service_account" | "get_service_account_by_name" => Role(ServiceAccountInventory),
        "create_service_account" => Role(ServiceAccountCreator),
        "update_service_account" | "delete_service_account" => Role(ServiceAccountManager),
        "list_api_keys" => Role(ApiKeyInventory),
        // A key may do everything in the project, and so may whoever makes one.
        "create_api_key" => Role(Admin),
        "delete_api_key" => Role(ApiKeyManager),

        "list_llm_loggers" | "get_llm_logger" => Role(LlmLoggerInventory),
        "create_llm_logger" => Role(LlmLoggerCreator),
        "update_llm_logger" | "delete_llm_logger" => Role(LlmLoggerManager),
        "get_own_usage" => Role(LlmProxyUser),
        "get_usage" => Role(UsageReporter),
        "get_settings" | "set_settings" | "delete_settings" => Settings,

        "list_resources" | "get_resource" | "resource_history" => SeesKind,
        "delete_resource" | "pause_resource" | "resume_resource" => ManagesKind,

        _ => Role(Admin),
    }
}

/// A person who acts by a token of their own, with the roles they have in its project now.
#[derive(Clone, Debug)]
pub struct User {
    pub project: ProjectId,
    /// Their address.
    pub name: String,
    /// Those given; others follow from them. None for who is no member.
    pub roles: ProjectRoles,
}

impl User {
    #[must_use]
    pub fn has(&self, role: ProjectRole) -> bool {
        roles_imply(&self.roles, role)
    }

    /// Refused without a role in the project.
    pub fn must(&self, role: ProjectRole) -> Result<(), Problem> {
        if self.has(role) {
            return Ok(());
        }
        let name = &self.name;
        Err(Problem::forbidden(if self.roles.is_empty() {
            format!("`{name}` is no member of the project; ask those who manage it")
        } else {
            format!("`{name}` has not the role {role} in the project; ask those who manage it for it")
        }))
    }

    /// Refused without a role in a room of at least this rank, or this one in the project. Whoever may not see the room
    /// does not learn whether it is there.
    pub fn must_in(
        &self,
        api: &Api,
        room: Option<RoomId>,
        least: RoomRole,
        or: ProjectRole,
    ) -> Result<(), Problem> {
        let world = api.app.world();
        let own = room.and_then(|room| room_role(&world, room, &self.name));
        if own >= Some(least) || self.has(or) {
            return Ok(());
        }
        Err(Problem::forbidden(format!(
            "`{}` has neither the role {least} in this room, if there is such a room, nor {or} in the project; ask those \
             who manage it",
            self.name
        )))
    }

    /// The same person as a participant of a room, with what its role there lets it do.
    pub fn participant(&self, api: &Api, room: RoomId) -> Result<Bearer, Problem> {
        let api_scope = api.app.scope_of_role(room, &self.name)?;
        let name = api.app.world().room(room).map(|state| state.name.to_string());
        Ok(Bearer {
            project: self.project,
            name: self.name.clone(),
            role: "user".to_owned(),
            room: name,
            api: Some(api_scope),
            agent: None,
            site: None,
            user: None,
            route: None,
            signed_in_with: None,
            expires_at: None,
            key: None,
            service: None,
        })
    }
}

/// Fields whose texts mean nothing to the server.
const FREE: [&str; 4] = ["annotations", "metadata", "payload", "properties"];

/// Refuses a service, an agent or a task of somebody who does not manage the project, if it would act with what the
/// project's accounts keep: secrets, `run_as`, tokens with `admin` or `secrets`.
pub(super) fn hold<T: serde::Serialize>(caller: &Caller, spec: T) -> Result<T, Problem> {
    let Some(user) = caller.user().filter(|user| !user.has(ProjectRole::Admin)) else { return Ok(spec) };
    let written = serde_json::to_value(&spec).map_err(|error| Problem::bad_request(error.to_string()))?;
    match beyond(&written) {
        None => Ok(spec),
        Some(field) => Err(Problem::forbidden(format!(
            "`{}` may not set `{field}`, by which it would act with more than their own rights; that takes the role admin",
            user.name
        ))),
    }
}

/// The first field that reaches beyond a person's own rights.
fn beyond(value: &Value) -> Option<&str> {
    let reaches = |key: &str| key.contains("secret") || matches!(key, "run_as" | "admin");
    match value {
        Value::Object(fields) => {
            fields.iter().filter(|(key, _)| !FREE.contains(&key.as_str())).find_map(|(key, inner)| {
                let is_said = !inner.is_null() && *inner != Value::Bool(false);
                if reaches(key) && is_said { Some(key.as_str()) } else { beyond(inner) }
            })
        }
        Value::Array(items) => items.iter().find_map(beyond),
        _ => None,
    }
}

/// Holds a person against what the route of an operation asks.
pub(super) fn check(api: &Api, user: &User, operation: &str, path: &RawPathParams) -> Result<(), Problem> {
    let param = |name: &str| path.iter().find(|(known, _)| *known == name).map(|(_, value)| value);
    match needed(operation) {
        Need::SignedIn => Ok(()),
        Need::Role(role) => user.must(role),
        Need::InRoom(least, or) => {
            let room = param("room")
                .and_then(|room| api.app.world().find_room(user.project, room).map(|(id, _)| id));
            user.must_in(api, room, least, or)
        }
        Need::SeesKind => user.must(of_kind(param("kind"), false)),
        Need::ManagesKind => user.must(of_kind(param("kind"), true)),
        Need::Settings if param("name") == Some("budgets") => user.must(ProjectRole::LlmQuotaManager),
        Need::Settings => user.must(ProjectRole::Admin),
    }
}

/// The role by which all resources of a kind are seen, or managed.
fn of_kind(kind: Option<&str>, manages: bool) -> ProjectRole {
    use ProjectRole::*;
    let (sees, all) = match kind.and_then(Kind::from_argument) {
        Some(Kind::Room) => (RoomInventory, RoomManager),
        Some(Kind::ServiceAccount) => (ServiceAccountInventory, ServiceAccountManager),
        Some(Kind::Service | Kind::ServiceTemplate | Kind::ServiceInstance) => {
            (ServiceInventory, ServiceManager)
        }
        Some(Kind::ScheduledTask) => (ScheduledTaskInventory, ScheduledTaskManager),
        Some(Kind::Mailbox) => (MailboxInventory, MailboxManager),
        Some(Kind::Feed) => (FeedInventory, FeedManager),
        Some(Kind::Subscription) => (FeedSubscriptionInventory, FeedSubscriptionManager),
        Some(Kind::Route) => (RouteInventory, RouteManager),
        Some(Kind::ManagedAgent) => (AgentInventory, AgentManager),
        _ => (Admin, Admin),
    };
    if manages { all } else { sees }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_of_the_table_is_a_route() {
        let text = include_str!("roles.rs");
        let table =
            text.split_once("match operation {").and_then(|(_, rest)| rest.split("_ => Role(Admin)").next());
        let names: Vec<&str> = table.unwrap().split('"').skip(1).step_by(2).collect();
        assert!(names.len() > 90);
        let known: Vec<&str> = super::super::routes().iter().map(|route| route.name).collect();
        for name in names {
            assert!(known.contains(&name), "no route is called {name}");
        }
    }

    #[test]
    fn what_reaches_beyond_a_person_is_found() {
        use serde_json::json;
        for (spec, field) in [
            (json!({"container": {"environment": [{"name": "A", "secret": {"id": "x"}}]}}), Some("secret")),
            (json!({"run_as": {"email": "ci@x"}}), Some("run_as")),
            (
                json!({"ports": [{"endpoints": [{"mcp": {"use_proxy_secret": "x"}}]}]}),
                Some("use_proxy_secret"),
            ),
            (json!({"container": {"environment": [{"token": {"api": {"admin": {}}}}]}}), Some("admin")),
            (
                json!({"container": {"environment": [{"token": {"api": {"llm": {}, "admin": null, "secrets": null}}}]}}),
                None,
            ),
            (json!({"metadata": {"annotations": {"secret": "x"}}, "container": {"pull_secret": null}}), None),
        ] {
            assert_eq!(beyond(&spec), field, "{spec}");
        }
    }

    #[test]
    fn what_nobody_thought_of_is_for_managers() {
        assert_eq!(needed("apply"), Need::Role(ProjectRole::Admin));
        assert_eq!(needed("a_new_one"), Need::Role(ProjectRole::Admin));
        assert_eq!(of_kind(Some("secrets"), false), ProjectRole::Admin);
        assert_eq!(of_kind(Some("nonsense"), true), ProjectRole::Admin);
        assert_eq!(of_kind(Some("rooms"), true), ProjectRole::RoomManager);
    }
}
