//! Toolkits this participant offers to the room (room protocol §3.3).

use super::connection::{content, text};
use super::driver::Shared;
use super::link::{Link, Outgoing, chunk, lock};
use super::{RoomClient, RoomError};
use crate::error_code::RoomCode;
use crate::wire::{Content, Control, pack};
use bytes::Bytes;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use tokio::sync::mpsc;

/// One tool of a hosted toolkit.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolkitTool {
    pub name: String,
    pub title: String,
    pub description: String,
    /// JSON Schema of its arguments; the handler checks them.
    pub input_schema: Value,
    /// Whether the schema follows the strict rules (every property required, nothing else allowed).
    pub strict: bool,
    /// Content types of its result, for example `["text"]`.
    pub output_types: Vec<&'static str>,
}

/// A toolkit as the room lists it.
#[derive(Clone, Debug, PartialEq)]
pub struct Toolkit {
    pub name: String,
    pub title: String,
    pub description: String,
    /// Usable by every participant, else only by those who name this one.
    pub public: bool,
    pub annotations: BTreeMap<String, String>,
    pub tools: Vec<ToolkitTool>,
}

/// A call that arrived for a toolkit of ours.
#[derive(Debug)]
pub struct ToolCall {
    pub tool: String,
    /// The input; `control/open` when it is streamed.
    pub arguments: Content,
    pub caller_id: String,
    pub on_behalf_of_id: Option<String>,
    /// Items of a streamed input, the closing one included.
    pub input: Option<mpsc::Receiver<Content>>,
}

/// What a handler gives back.
#[derive(Debug)]
pub enum Reply {
    /// The whole result, or an `error` content.
    Unary(Content),
    /// Items, sent as they come; the end of the channel ends the stream.
    Stream(mpsc::Receiver<Content>),
}

/// Runs the calls of one toolkit. A call is dropped when the connection goes.
#[async_trait::async_trait]
pub trait ToolHost: Send + Sync + 'static {
    async fn call(&self, call: ToolCall) -> Reply;
}

pub(super) struct Hosted {
    toolkit: Toolkit,
    host: Arc<dyn ToolHost>,
    /// Whether the room knows of it; streams between participants come without.
    listed: bool,
    /// The connection it is registered on, and the registration.
    registration: tokio::sync::Mutex<Option<(u64, String)>>,
}

impl fmt::Debug for Hosted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hosted").field("toolkit", &self.toolkit.name).finish_non_exhaustive()
    }
}

impl Hosted {
    pub fn name(&self) -> &str {
        &self.toolkit.name
    }

    /// Registers on this connection unless that is done.
    pub async fn register(&self, link: &Link) -> Result<(), RoomError> {
        if !self.listed {
            return Ok(());
        }
        let mut registration = self.registration.lock().await;
        if registration.as_ref().is_some_and(|(epoch, _)| *epoch == link.epoch) {
            return Ok(());
        }
        let answer = link.request_json("room.register_toolkit", &self.toolkit.header()).await?;
        let id = answer.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
        *registration = Some((link.epoch, id));
        Ok(())
    }
}

impl Toolkit {
    fn header(&self) -> Value {
        let tools: Map<String, Value> =
            self.tools.iter().map(|tool| (tool.name.clone(), tool.header())).collect();
        json!({
            "name": self.name,
            "title": self.title,
            "description": self.description,
            "public": self.public,
            "annotations": self.annotations,
            "tools": tools,
        })
    }
}

impl ToolkitTool {
    fn header(&self) -> Value {
        json!({
            "title": self.title,
            "description": self.description,
            "input_spec": {"types": ["json"], "stream": false, "schema": self.input_schema},
            "output_spec": {"types": self.output_types, "stream": false},
            "defs": null,
            "strict": self.strict,
        })
    }
}

impl RoomClient {
    /// Offers a toolkit to the room, now and after each reconnect.
    ///
    /// Errors: the room refuses it (no grant, or the name is taken).
    pub async fn host(&self, toolkit: Toolkit, host: Arc<dyn ToolHost>) -> Result<(), RoomError> {
        let name = toolkit.name.clone();
        let hosted =
            Arc::new(Hosted { toolkit, host, listed: true, registration: tokio::sync::Mutex::default() });
        lock(&self.shared.hosted).insert(name.clone(), hosted.clone());
        let link = self.shared.link("room.register_toolkit").await?;
        match hosted.register(&link).await {
            // The next connection registers it.
            Err(error) if error.is_lost() => Ok(()),
            Err(error) => {
                lock(&self.shared.hosted).remove(&name);
                Err(error)
            }
            Ok(()) => Ok(()),
        }
    }

    /// Takes the streams that other participants open to this one (`messaging.stream`): tool `stream`, whose first input
    /// item carries `from_participant_id`, `type` and `message_json`. A streamed reply accepts. The room must know that this
    /// participant has messaging ([`Self::enable_messaging`]).
    pub fn accept_streams(&self, host: Arc<dyn ToolHost>) {
        let toolkit = Toolkit {
            name: "messaging".to_owned(),
            title: String::new(),
            description: String::new(),
            public: false,
            annotations: BTreeMap::new(),
            tools: Vec::new(),
        };
        let hosted = Hosted { toolkit, host, listed: false, registration: tokio::sync::Mutex::default() };
        lock(&self.shared.hosted).insert("messaging".to_owned(), Arc::new(hosted));
    }

    /// Withdraws a toolkit.
    pub async fn unhost(&self, name: &str) -> Result<(), RoomError> {
        let Some(hosted) = lock(&self.shared.hosted).remove(name) else { return Ok(()) };
        let link = self.shared.link("room.unregister_toolkit").await?;
        let registration = hosted.registration.lock().await.take();
        match registration {
            Some((epoch, id)) if epoch == link.epoch => {
                link.request("room.unregister_toolkit", pack(&json!({"id": id}), &[])).await.map(|_| ())
            }
            _ => Ok(()),
        }
    }
}

/// Starts the handler of a call that arrived; never waits.
pub(super) fn begin(
    shared: &Arc<Shared>,
    link: &Arc<Link>,
    id: u64,
    toolkit: &str,
    header: &Map<String, Value>,
    data: Bytes,
) {
    let call_id = match text(header, "tool_call_id") {
        "" => id.to_string(),
        given => given.to_owned(),
    };
    let hosted = lock(&shared.hosted).get(toolkit).cloned();
    let slot = shared.hosted_calls.clone().try_acquire_owned();
    let arguments = match header.get("arguments") {
        Some(Value::Object(arguments)) => content(arguments, data),
        _ => Content::Empty,
    };
    let refused = match (&hosted, &slot) {
        (None, _) => Some(Content::error(
            RoomCode::NotFound,
            format!("this participant hosts no toolkit `{toolkit}`; list the room's toolkits"),
        )),
        (_, Err(_)) => Some(Content::error(
            RoomCode::OperationFailed,
            format!("too many calls of toolkit `{toolkit}` are running; try again later"),
        )),
        _ => None,
    };
    let input = matches!(arguments, Content::Control(Control::Open)).then(|| link.open_input(&call_id));
    let call = ToolCall {
        tool: text(header, "name").to_owned(),
        arguments,
        caller_id: text(header, "caller_id").to_owned(),
        on_behalf_of_id: header.get("on_behalf_of_id").and_then(Value::as_str).map(str::to_owned),
        input,
    };
    let link = link.clone();
    tokio::spawn(async move {
        let work = async {
            let reply = match (refused, hosted) {
                (Some(error), _) => Reply::Unary(error),
                (None, Some(hosted)) => hosted.host.call(call).await,
                (None, None) => Reply::Unary(Content::Empty),
            };
            respond(&link, id, &call_id, reply).await
        };
        tokio::select! {
            () = link.down.cancelled() => {}
            sent = work => if let Err(error) = sent {
                tracing::debug!(%error, "the result of a tool call could not be sent");
            }
        }
        link.close_input(&call_id);
        drop(slot);
    });
}

async fn respond(link: &Link, id: u64, call_id: &str, reply: Reply) -> Result<(), RoomError> {
    let response =
        |content: Content| Outgoing { id, kind: "room.tool_call_response", payload: content.pack() };
    let mut items = match reply {
        Reply::Unary(content) => return link.send(response(content)).await,
        Reply::Stream(items) => items,
    };
    let item = |content: Content| Outgoing {
        id,
        kind: "room.tool_call_response_chunk",
        payload: chunk(call_id, content),
    };
    link.send(response(Content::Control(Control::Open))).await?;
    while let Some(content) = items.recv().await {
        link.send(item(content)).await?;
    }
    link.send(item(Content::Control(Control::END))).await
}
