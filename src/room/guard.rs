//! The one place where grants are checked, before any toolkit runs. The rules are `domain::access`'s; here is which
//! need belongs to which tool.

pub mod containers;
pub mod dataset;
mod memory;
pub mod sqlite;
pub mod storage;
pub mod sync;

use super::toolkit::ToolError;
use crate::domain::access::{self, Denied, Need};
use crate::error_code::RoomCode;
use crate::spec::ApiScope;
use serde_json::{Map, Value};

/// May the participant call this tool of a built-in toolkit with these fields? Unknown tools are denied.
pub fn check(
    api: &ApiScope,
    toolkit: &str,
    tool: &str,
    fields: &Map<String, Value>,
) -> Result<(), ToolError> {
    match toolkit {
        "queues" => queues(api, tool, text(fields, "name")),
        "messaging" => messaging(api, tool),
        "storage" => storage::check(api, tool, fields),
        "dataset" => dataset::check(api, tool, fields),
        "sqlite" => sqlite::check(api, tool, fields),
        "services" => services(api, tool),
        "sync" => sync::check(api, tool, fields),
        "developer" => developer(api, tool),
        "containers" => containers::check(api, tool, fields),
        "livekit" => livekit(api, tool, fields),
        "memory" => memory::check(api, tool, fields),
        "mounts" => mounts(api, tool),
        "secrets" => secrets(api, tool),
        _ => Err(unknown(toolkit, tool)),
    }
}

/// May the participant use a toolkit that another participant hosts?
pub fn use_toolkit(api: &ApiScope, toolkit: &str) -> Result<(), ToolError> {
    need(api, &Need::UseToolkit(toolkit))
}

/// As [`use_toolkit`], for lists.
#[must_use]
pub fn can_use(api: &ApiScope, toolkit: &str) -> bool {
    access::allows(api, &Need::UseToolkit(toolkit))
}

/// May the participant offer a toolkit?
pub fn register(api: &ApiScope, public: bool) -> Result<(), ToolError> {
    need(api, if public { &Need::RegisterPublicToolkit } else { &Need::RegisterPrivateToolkit })
}

/// May the participant have the server call somebody?
pub fn call_out(api: &ApiScope) -> Result<(), ToolError> {
    need(api, &Need::CallService)
}

/// May the participant change the room's settings, and what belongs to others?
pub fn configure(api: &ApiScope) -> Result<(), ToolError> {
    need(api, &Need::Configure)
}

/// May the participant be told who is in the room?
#[must_use]
pub fn may_list_participants(api: &ApiScope) -> bool {
    access::allows(api, &Need::ListParticipants)
}

fn need(api: &ApiScope, need: &Need<'_>) -> Result<(), ToolError> {
    Ok(access::check(api, need)?)
}

/// Passes when one of the needs is covered; the refusal is the first need's.
fn either(api: &ApiScope, first: &Need<'_>, second: &Need<'_>) -> Result<(), ToolError> {
    if access::allows(api, second) { Ok(()) } else { need(api, first) }
}

impl From<Denied> for ToolError {
    fn from(denied: Denied) -> Self {
        Self::new(RoomCode::PermissionDenied, denied.to_string())
    }
}

/// A grant that is needed as such, without a rule of its own.
fn present<G>(grant: Option<&G>, name: &str, what: &str) -> Result<(), ToolError> {
    if grant.is_some() {
        return Ok(());
    }
    let text =
        format!("the token has no `{name}` grant, which {what} needs; use a token whose api scope has it");
    Err(ToolError::new(RoomCode::PermissionDenied, text))
}

fn unknown(toolkit: &str, tool: &str) -> ToolError {
    ToolError::new(RoomCode::PermissionDenied, format!("no grant covers {toolkit}.{tool}"))
}

fn text<'a>(fields: &'a Map<String, Value>, name: &str) -> &'a str {
    fields.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn queues(api: &ApiScope, tool: &str, name: &str) -> Result<(), ToolError> {
    let (sends, receives) = (Need::SendToQueue(name), Need::ReceiveFromQueue(name));
    match tool {
        "list" => need(api, &Need::ListQueues),
        "send" => need(api, &sends),
        "open" => either(api, &sends, &receives),
        // Takes the queue away from both sides.
        "close" => need(api, &sends).and_then(|()| need(api, &receives)),
        "receive" | "drain" | "lease" | "ack" | "nack" | "extend" | "dead_letters" | "replay" => {
            need(api, &receives)
        }
        _ => Err(unknown("queues", tool)),
    }
}

fn messaging(api: &ApiScope, tool: &str) -> Result<(), ToolError> {
    match tool {
        "enable" | "disable" => present(api.messaging.as_ref(), "messaging", "messaging"),
        "send" | "stream" => need(api, &Need::SendMessage),
        "broadcast" => need(api, &Need::Broadcast),
        _ => Err(unknown("messaging", tool)),
    }
}

/// A restart also needs the right to change the room's settings.
fn services(api: &ApiScope, tool: &str) -> Result<(), ToolError> {
    match tool {
        "list" => need(api, &Need::ListServices),
        "restart" => need(api, &Need::ListServices).and_then(|()| need(api, &Need::Configure)),
        _ => Err(unknown("services", tool)),
    }
}

fn developer(api: &ApiScope, tool: &str) -> Result<(), ToolError> {
    match tool {
        "log" | "info" | "warning" | "error" => {
            present(api.developer.as_ref(), "developer", "writing to the log")
        }
        "logs" => need(api, &Need::ReadLogs),
        _ => Err(unknown("developer", tool)),
    }
}

fn livekit(api: &ApiScope, tool: &str, fields: &Map<String, Value>) -> Result<(), ToolError> {
    let breakout_room = fields.get("breakout_room").and_then(Value::as_str);
    match tool {
        "connect" => need(api, &Need::JoinCall { breakout_room }),
        _ => Err(unknown("livekit", tool)),
    }
}

/// Volumes are for containers.
fn mounts(api: &ApiScope, tool: &str) -> Result<(), ToolError> {
    match tool {
        "list" => need(api, &Need::UseContainers),
        _ => Err(unknown("mounts", tool)),
    }
}

/// Whoever is asked may answer; asking and keeping need the grant.
fn secrets(api: &ApiScope, tool: &str) -> Result<(), ToolError> {
    match tool {
        "list_secrets"
        | "exists"
        | "get_secret"
        | "set_secret"
        | "delete_secret"
        | "delete_requested_secret"
        | "request_secret"
        | "provide_secret"
        | "request_oauth_token"
        | "provide_oauth_authorization"
        | "get_offline_oauth_token" => need(api, &Need::UseSecrets),
        _ => Err(unknown("secrets", tool)),
    }
}
