//! What a built-in toolkit is: a name, tools with what they take and give, and one way to be called.

use super::input::{InputStream, ItemAnswer};
use super::outbox::{Outgoing, RESPONSE, Receipt};
use super::session::{LiveSession, Peer};
use crate::error_code::RoomCode;
use crate::wire::content::STATUS_INVALID_DATA;
use crate::wire::{Content, Control, pack};
use async_trait::async_trait;
use bytes::Bytes;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Type of the chunks that a caller gets.
pub const RESPONSE_CHUNK: &str = "room.tool_call_response_chunk";

/// A toolkit of the server.
#[async_trait]
pub trait Toolkit: Send + Sync + 'static {
    /// Name, texts and tools; fixed for the life of the server.
    fn describe(&self) -> &ToolkitInfo;

    /// Does what `call` asks. Grants were checked; the tool is one of those described, called the way it takes its
    /// input. A streamed call may [`Call::open`] its output; what it returns then is not sent.
    /// When the caller is gone, a tool that waits ([`ToolInfo::waiting`]) is dropped, at any await. Others go on for a few
    /// seconds, with their input at an end as if it had failed, and are dropped then.
    async fn invoke(&self, call: &mut Call) -> Result<Content, ToolError>;

    /// Whether the participant holds something beyond its calls, so that [`Toolkit::left`] is to be run for it.
    fn holds(&self, _peer: &Peer) -> bool {
        false
    }

    /// The participant's connection is gone and its calls are over: takes back what it held.
    async fn left(&self, _session: &LiveSession, _peer: &Peer) {}
}

/// What `room.list_toolkits` says about a toolkit.
#[derive(Debug)]
pub struct ToolkitInfo {
    pub name: &'static str,
    pub title: &'static str,
    pub description: &'static str,
    pub tools: Vec<ToolInfo>,
}

/// How a tool takes its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// All at once.
    Unary,
    /// As a stream whose first item names what the call is about.
    Stream,
    /// As a stream of which only the end matters.
    OnlyEnd,
}

/// One tool.
#[derive(Debug)]
pub struct ToolInfo {
    pub name: &'static str,
    pub description: &'static str,
    pub takes: Takes,
    /// True when the call only waits for something to happen; it does not keep a session alive.
    pub waits: bool,
    /// True when the toolkit says when an input item is answered; see [`Call::next_with_answer`].
    pub answers_items: bool,
    input: Value,
    output: Value,
}

impl ToolInfo {
    /// A tool that takes a JSON object `T` and answers with one of the content types `gives`.
    pub fn unary<T: JsonSchema>(name: &'static str, gives: &[&str], description: &'static str) -> Self {
        let schema = schemars::schema_for!(T).to_value();
        let input = json!({"types": ["json"], "stream": false, "schema": schema});
        let output = json!({"types": gives, "stream": false});
        Self { name, description, takes: Takes::Unary, waits: false, answers_items: false, input, output }
    }

    /// A tool with streams of bytes both ways. It lists no specs: the npm client refuses a whole listing in which
    /// the content type `binary` stands.
    pub fn stream(name: &'static str, takes: Takes, description: &'static str) -> Self {
        Self {
            name,
            description,
            takes,
            waits: false,
            answers_items: false,
            input: Value::Null,
            output: Value::Null,
        }
    }

    /// Names the content types of the streams' items.
    pub fn of(mut self, types: &[&str]) -> Self {
        self.input = json!({"types": types, "stream": true});
        self.output = self.input.clone();
        self
    }

    /// Marks a tool that only waits.
    pub fn waiting(mut self) -> Self {
        self.waits = true;
        self
    }

    /// Marks a tool that answers each input item when it is done with it.
    pub fn answering_items(mut self) -> Self {
        self.answers_items = true;
        self
    }
}

impl ToolkitInfo {
    #[must_use]
    pub fn tool(&self, name: &str) -> Option<&ToolInfo> {
        self.tools.iter().find(|tool| tool.name == name)
    }

    /// The value under the toolkit's name in the answer of `room.list_toolkits`.
    #[must_use]
    pub fn listing(&self) -> Value {
        let tools: Map<String, Value> = self.tools.iter().map(|t| (t.name.to_owned(), t.listing())).collect();
        json!({
            "title": self.title,
            "description": self.description,
            "participant_id": null,
            "annotations": {},
            "tools": tools,
        })
    }
}

impl ToolInfo {
    fn listing(&self) -> Value {
        json!({
            "title": self.name,
            "description": self.description,
            "input_spec": self.input,
            "output_spec": self.output,
            "defs": null,
            "strict": null,
        })
    }
}

/// Why a tool did not do what it was asked; goes to the caller as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct ToolError {
    pub code: RoomCode,
    pub text: String,
}

impl ToolError {
    pub fn new(code: RoomCode, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }
    pub fn invalid(text: impl Into<String>) -> Self {
        Self::new(RoomCode::InvalidRequest, text)
    }
    pub fn not_found(text: impl Into<String>) -> Self {
        Self::new(RoomCode::NotFound, text)
    }
    pub fn missing_dependency(text: impl Into<String>) -> Self {
        Self::new(RoomCode::DependencyMissing, text)
    }
    pub fn failed(text: impl Into<String>) -> Self {
        Self::new(RoomCode::OperationFailed, text)
    }
    #[must_use]
    pub fn content(&self) -> Content {
        Content::error(self.code, self.text.clone())
    }
}

/// One call to a built-in toolkit.
#[derive(Debug)]
pub struct Call {
    pub session: Arc<LiveSession>,
    pub caller: Arc<Peer>,
    pub toolkit: &'static str,
    pub tool: &'static str,
    /// The unary input, or the first item of the stream.
    pub content: Content,
    /// Its JSON object, or the headers of a `binary` content; empty where it has neither.
    pub fields: Map<String, Value>,
    pub(super) input: Option<InputStream>,
    pub(super) request_id: u64,
    pub(super) tool_call_id: String,
    pub(super) opened: bool,
    pub(super) receipt: Option<Receipt>,
}

impl Call {
    /// Reads the fields as `T`; the error names the field that is wrong.
    pub fn args<T: DeserializeOwned>(&self) -> Result<T, ToolError> {
        let value = Value::Object(self.fields.clone());
        serde_path_to_error::deserialize(value).map_err(|error| {
            let path = error.path().to_string();
            let at = if path == "." { String::new() } else { format!("field `{path}`: ") };
            ToolError::invalid(format!(
                "the arguments of {}.{} are wrong: {at}{}",
                self.toolkit,
                self.tool,
                error.inner()
            ))
        })
    }

    /// Answers the call with an output stream. Errors from here on are chunks.
    pub fn open(&mut self) {
        if !std::mem::replace(&mut self.opened, true) {
            self.caller.outbox.respond(self.request_id, Content::Control(Control::Open));
        }
    }

    /// Sends one item of the output stream.
    pub fn send(&self, content: Content) {
        let (chunk, data) = content.into_parts();
        self.send_raw(&chunk, &data);
    }

    /// Sends one item once fewer than the window's items wait to be written: a slow reader slows the sender.
    pub async fn send_paced(&self, window: &Arc<Semaphore>, content: Content) {
        let permit = Arc::clone(window).acquire_owned().await;
        let (chunk, data) = content.into_parts();
        let outbox = &self.caller.outbox;
        outbox.put(Outgoing {
            id: outbox.reserve_id(),
            kind: RESPONSE_CHUNK.into(),
            payload: pack(&self.chunk_header(&chunk), &data),
            receipt: Some(Receipt(Box::new(move || drop(permit)))),
        });
    }

    /// Sends a chunk of somebody else's as it came.
    pub fn send_raw(&self, chunk: &Map<String, Value>, data: &Bytes) {
        self.caller.outbox.push(RESPONSE_CHUNK, pack(&self.chunk_header(chunk), data));
    }

    fn chunk_header(&self, chunk: &Map<String, Value>) -> Value {
        json!({
            "tool_call_id": self.tool_call_id,
            "toolkit": self.toolkit,
            "tool": self.tool,
            "chunk": chunk,
        })
    }

    /// The next item of the input stream, `None` when the caller closed it.
    pub async fn next(&self) -> Result<Option<Content>, ToolError> {
        match &self.input {
            Some(input) => input.next().await,
            None => Ok(None),
        }
    }

    /// The next item of the input stream, and the answer its sender waits for: sent when that is dropped.
    pub async fn next_with_answer(&self) -> Result<Option<(Content, Option<ItemAnswer>)>, ToolError> {
        match &self.input {
            Some(input) => input.next_with_answer().await,
            None => Ok(None),
        }
    }

    /// Runs `delivered` once the answer was written to the socket; drops it when it cannot be.
    pub fn on_delivery(&mut self, delivered: impl FnOnce() + Send + Sync + 'static) {
        self.receipt = Some(Receipt(Box::new(delivered)));
    }

    /// Takes the first item of the stream as what the call is about.
    pub(super) fn set_content(&mut self, content: Content) {
        self.fields = match &content {
            Content::Json(Value::Object(fields)) => fields.clone(),
            Content::Binary { headers, .. } => headers.clone(),
            _ => Map::new(),
        };
        self.content = content;
    }

    /// Sends the answer, or the end of the output stream.
    pub(super) fn finish(&mut self, result: Result<Content, ToolError>) {
        let end = |message: Option<String>, status| Content::Control(Control::Close { status, message });
        match (self.opened, result) {
            (false, result) => {
                let content = result.unwrap_or_else(|error| error.content());
                let payload = content.pack();
                let receipt = self.receipt.take();
                self.caller.outbox.put(Outgoing {
                    id: self.request_id,
                    kind: RESPONSE.into(),
                    payload,
                    receipt,
                });
            }
            (true, Ok(_)) => self.send(Content::Control(Control::END)),
            (true, Err(error)) if error.code == RoomCode::InvalidRequest => {
                self.send(end(Some(error.text), STATUS_INVALID_DATA));
            }
            (true, Err(error)) => {
                self.send(error.content());
                self.send(Content::Control(Control::END));
            }
        }
    }
}

/// A `binary` content with a `kind` header and nothing else.
#[must_use]
pub fn kind(kind: &str, data: Bytes) -> Content {
    Content::binary(json!({"kind": kind}), data)
}
