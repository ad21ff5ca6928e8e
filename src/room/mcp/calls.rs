//! Calls to the hosted tools, passed on to the server: many at once, each answered once.

use super::listing;
use crate::error_code::RoomCode;
use crate::room::hosted;
use crate::room::outbox::Outgoing;
use crate::room::session::Peer;
use crate::room::toolkit::ToolError;
use crate::wire::{Content, unpack};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use rmcp::model::CallToolRequestParams;
use rmcp::service::{RoleClient, ServiceError};
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::Duration;

/// Calls that one server works on at once.
pub const CALLS_MAX: usize = 128;
/// How long a tool may take.
const CALL_WAIT: Duration = Duration::from_mins(10);

/// The calls of one connection.
pub(super) struct Calls {
    server: rmcp::service::Peer<RoleClient>,
    peer: Arc<Peer>,
    kind: String,
    /// Each ends with why the server is lost, where it is.
    working: FuturesUnordered<BoxFuture<'static, Option<String>>>,
}

impl Calls {
    pub fn new(server: rmcp::service::Peer<RoleClient>, peer: Arc<Peer>, label: &str) -> Self {
        let kind = format!("room.tool_call.{label}");
        Self { server, peer, kind, working: FuturesUnordered::new() }
    }

    /// Takes one message to the hosting participant; what is no call is not for it.
    pub fn take(&mut self, message: &Outgoing) {
        if *message.kind != self.kind {
            return;
        }
        let id = message.id;
        let read = if self.working.len() >= CALLS_MAX {
            let text = format!("the tool server works on {CALLS_MAX} calls already; call again in a moment");
            Err(ToolError::new(RoomCode::InvalidState, text))
        } else {
            read(&message.payload)
        };
        match read {
            Ok(asked) => {
                let (server, peer) = (self.server.clone(), Arc::clone(&self.peer));
                self.working.push(Box::pin(async move {
                    let (content, lost) = call(&server, asked).await;
                    answer(&peer, id, content);
                    lost
                }));
            }
            Err(error) => answer(&self.peer, id, error.content()),
        }
    }

    /// Waits for the next call to end; for ever while there is none.
    pub async fn next(&mut self) -> Option<String> {
        match self.working.next().await {
            Some(lost) => lost,
            None => std::future::pending().await,
        }
    }
}

fn answer(peer: &Peer, id: u64, content: Content) {
    if let Some(asked) = hosted::find(peer, id) {
        asked.answered(content.pack());
    }
}

fn read(payload: &Bytes) -> Result<CallToolRequestParams, ToolError> {
    let (header, data) = unpack(payload).map_err(|error| ToolError::invalid(error.to_string()))?;
    let name = header.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let none = Map::new();
    let arguments = header.get("arguments").and_then(Value::as_object).unwrap_or(&none);
    let content =
        Content::from_parts(arguments, data).map_err(|error| ToolError::invalid(error.to_string()))?;
    let arguments = match content {
        Content::Json(Value::Object(fields)) => fields,
        Content::Json(Value::Null) | Content::Empty => Map::new(),
        _ => {
            return Err(ToolError::invalid(format!(
                "tool `{name}` takes a JSON object at once; send `arguments` of type json"
            )));
        }
    };
    let mut asked = CallToolRequestParams::new(name);
    asked.arguments = Some(arguments);
    Ok(asked)
}

/// The answer, and why the server is lost, where it is.
async fn call(
    server: &rmcp::service::Peer<RoleClient>,
    asked: CallToolRequestParams,
) -> (Content, Option<String>) {
    let name = asked.name.to_string();
    let failed = |code: RoomCode, text: String| Content::error(code, text);
    match tokio::time::timeout(CALL_WAIT, server.call_tool(asked)).await {
        Ok(Ok(result)) => (listing::content(&result), None),
        Ok(Err(ServiceError::McpError(error))) => {
            (failed(RoomCode::OperationFailed, format!("tool `{name}`: {}", error.message)), None)
        }
        Ok(Err(error)) => {
            let text = format!("the tool server is gone: {error}");
            (failed(RoomCode::OperationFailed, format!("tool `{name}`: {text}")), Some(text))
        }
        Err(_) => {
            let text = format!("tool `{name}` did not answer within {} s", CALL_WAIT.as_secs());
            (failed(RoomCode::Timeout, text), None)
        }
    }
}
