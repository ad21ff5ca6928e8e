//! What a user writes: typed documents, strict parsing, JSON Schema.
//!
//! Every kind is a serde type that refuses unknown fields and round-trips without loss; its JSON is
//! what the public clients send and accept. Knows only texts: no files, no network, no clock, and
//! nothing of the state that documents are applied to.

mod agent;
mod api_key;
mod check;
mod common;
mod container;
mod document;
mod feed;
pub mod folder;
mod git_source;
mod git_source_rules;
pub mod grant;
pub mod llm;
mod mailbox;
mod managed_agent;
mod managed_agent_rules;
mod parse;
mod port;
mod problem;
mod project;
mod project_role;
mod project_rules;
pub mod reconcile;
mod room_roles;
mod route;
mod route_rules;
pub mod router;
mod rules;
mod scalar;
pub mod schedule;
mod scheduled_task;
pub mod schema;
mod scope;
mod secret;
mod service;
mod service_instance;
mod service_template;
pub mod sops;
mod tree;

pub use agent::{
    Agent, AgentChannels, AgentEmail, EVENT_PREFIX, EVENTS, EmailChannel, Heartbeat, MessagingChannel,
    MessagingProtocol, Prompt, PromptContent, QueueChannel, ThreadingMode, ToolkitChannel,
};
pub use api_key::ApiKey;
pub use common::{
    Annotations, ApiKeyKind, FeedKind, GitSourceKind, MailboxKind, ManagedAgentKind, Metadata, NamedMetadata,
    ProjectKind, RoomKind, RoomRolesKind, RouteKind, ScheduledTaskKind, SecretKind, SecretRef,
    ServiceAccountKind, ServiceInstanceKind, ServiceKind, ServiceTemplateKind, SubscriptionKind, Version,
};
pub use container::{
    ConfigMount, Container, EmptyDirMount, EnvironmentTemplate, EnvironmentVariable, FileMount, ImageMount,
    Mounts, ParticipantRole, RoomMount, RunAs, TemplateContainer, TokenValue, VolumeMount,
};
pub use document::{Document, Kind};
pub use feed::{Feed, FeedVisibility, STAMP_PARTS, Subscription, is_feed_name, is_folder, is_stamp};
pub use git_source::{GitCommitStatus, GitCredentials, GitSource, GitVerify, NamedSecret};
pub use mailbox::Mailbox;
pub use managed_agent::{
    AGENT_VARIABLE, AgentHeader, AgentMcpServer, AgentRunAs, AgentToolkit, AgentVariable, AllowedModel,
    ECHO_MODEL, IMAGE_MODEL, LlmDelegation, ManagedAgent, ModelProvider, ThreadIsolation,
};
pub use parse::{
    PROBLEMS_MAX, Written, check_set, document_from_json, from_json, parse, parse_files, parse_template,
    scope_from_token, validate, values,
};
pub use port::{
    AllowedTools, Endpoint, McpEndpoint, MeshagentEndpoint, OauthClient, Port, PortNumber, PortType,
    RESERVED_PORT, RequireApproval,
};
pub use problem::{Problem, nearest, summary};
pub use project::{Project, ProjectSettings, Room, ServiceAccount};
pub use project_role::{ProjectRole, ProjectRoles, all_roles, fewest_roles, roles_imply};
pub use project_rules::kept_settings;
pub use room_roles::{ROOM_ROLES_NAME, RoleDefinition, RoleSettings, RoomRole, RoomRoles, RoomRolesMetadata};
pub use route::{
    Backend, BackendRef, Compression, Content, CorsRule, PathType, Route, RoutePath, TargetPort,
};
pub use rules::AGENT_SCHEDULE;
pub use scheduled_task::{QueueTarget, SCHEDULE_TIMEZONE, ScheduledTask, TaskMetadata};
pub use schema::Spec;
pub use scope::ApiScope;
pub use secret::{ENCRYPTED_BYTES_MAX, FINGERPRINT_PREFIX, Secret, ValueFrom};
pub use service::{External, ROOM, SERVICE_ID, SeedFile, Service};
pub use service_instance::{ServiceInstance, TEMPLATE_BYTES_MAX, TEMPLATE_SOURCE};
pub use service_template::{ServiceTemplate, TemplateExternal, TemplateVariable, VariableType};
pub use tree::{DEPTH_MAX, DOCUMENTS_MAX, NODES_MAX, TEXT_BYTES_MAX};

#[cfg(test)]
mod tests;
