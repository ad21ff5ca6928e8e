//! Tool calls we make, with unary or streamed input and output (room protocol §3.2).

use super::link::{Link, chunk, unexpected};
use super::{RoomClient, RoomError};
use crate::wire::{Content, Control, content::STATUS_NORMAL, pack};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

const CALL_OUT: &str = "room.call";
const REQUEST_CHUNK: &str = "room.tool_call_request_chunk";

/// Which tool to call, and for whom.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    pub toolkit: String,
    pub tool: String,
    /// Picks the toolkit that this participant hosts.
    pub participant_id: Option<String>,
    pub on_behalf_of_id: Option<String>,
}

impl Target {
    pub fn new(toolkit: impl Into<String>, tool: impl Into<String>) -> Self {
        Self { toolkit: toolkit.into(), tool: tool.into(), ..Self::default() }
    }

    fn label(&self) -> String {
        format!("{}.{}", self.toolkit, self.tool)
    }
}

/// How the tool answered.
#[derive(Debug, PartialEq)]
pub enum Answer {
    /// The whole result.
    Unary(Content),
    /// Items follow; read them with [`Call::next`].
    Stream,
}

/// A call under way. Dropping it ends its input, which tools take as a cancel.
#[derive(Debug)]
pub struct Call {
    link: Arc<Link>,
    label: String,
    id: String,
    request_id: u64,
    answer: oneshot::Receiver<Content>,
    items: mpsc::Receiver<Content>,
    input_open: bool,
}

impl RoomClient {
    /// Calls a tool and returns its whole result; an `error` content is an error.
    pub async fn invoke(&self, target: &Target, arguments: Content) -> Result<Content, RoomError> {
        let mut call = self.start(target, Some(arguments)).await?;
        match call.answer().await? {
            Answer::Unary(content) => Ok(content),
            Answer::Stream => {
                Err(RoomError::Unexpected { request: target.label(), got: "a stream", want: "one result" })
            }
        }
    }

    /// Calls a built-in tool that takes and gives JSON.
    pub async fn invoke_json(&self, toolkit: &str, tool: &str, arguments: Value) -> Result<Value, RoomError> {
        let target = Target::new(toolkit, tool);
        match self.invoke(&target, Content::Json(arguments)).await? {
            Content::Json(value) => Ok(value),
            Content::Empty => Ok(Value::Null),
            other => Err(unexpected(&target.label(), &other, "json")),
        }
    }

    /// Has the room call an agent elsewhere: it takes part as `name` and may do no more than this participant.
    pub async fn call_out(
        &self,
        name: &str,
        url: &str,
        arguments: &Map<String, Value>,
    ) -> Result<(), RoomError> {
        let header = json!({"name": name, "url": url, "arguments": arguments, "api": null});
        let link = self.shared.link(CALL_OUT).await?;
        match link.request(CALL_OUT, pack(&header, &[])).await? {
            Content::Empty => Ok(()),
            other => Err(unexpected(CALL_OUT, &other, "nothing")),
        }
    }

    /// Begins a call. With `None` for `arguments` the input is a stream: see [`Call::send`].
    pub async fn start(&self, target: &Target, arguments: Option<Content>) -> Result<Call, RoomError> {
        let label = target.label();
        let link = self.shared.link(&label).await?;
        let id = self.shared.options.ids.fresh().simple().to_string();
        let input_open = arguments.is_none();
        let (arguments, data) = arguments.unwrap_or(Content::Control(Control::Open)).into_parts();
        let header = json!({
            "toolkit": target.toolkit,
            "tool": target.tool,
            "participant_id": target.participant_id,
            "on_behalf_of_id": target.on_behalf_of_id,
            "arguments": arguments,
            "tool_call_id": id,
        });
        let items = link.open_stream(&id);
        match link.begin("room.invoke_tool", pack(&header, &data)).await {
            Ok((request_id, answer)) => Ok(Call { link, label, id, request_id, answer, items, input_open }),
            Err(error) => {
                link.close_stream(&id);
                Err(error)
            }
        }
    }
}

impl Call {
    /// Sends one input item.
    pub async fn send(&self, item: Content) -> Result<(), RoomError> {
        self.link.post(REQUEST_CHUNK, chunk(&self.id, item)).await
    }

    /// Sends input items and waits until the tool has answered each.
    pub async fn deliver<const N: usize>(&self, items: [Content; N]) -> Result<(), RoomError> {
        let mut answers = Vec::with_capacity(N);
        for item in items {
            answers.push(self.link.begin(REQUEST_CHUNK, chunk(&self.id, item)).await?);
        }
        for (_, answer) in &mut answers {
            self.link.answer(answer, &self.label).await?;
        }
        Ok(())
    }

    /// Says that no more input comes.
    pub async fn end_input(&mut self) -> Result<(), RoomError> {
        if std::mem::take(&mut self.input_open) {
            self.send(Content::Control(Control::END)).await?;
        }
        Ok(())
    }

    /// Ends the input in failure, so that the tool does not take what came for all of it.
    pub async fn fail_input(&mut self, message: &str) -> Result<(), RoomError> {
        if std::mem::take(&mut self.input_open) {
            let status = crate::wire::content::STATUS_INVALID_DATA;
            self.send(Content::Control(Control::Close { status, message: Some(message.to_owned()) })).await?;
        }
        Ok(())
    }

    /// Waits for the tool's answer; ask once.
    pub async fn answer(&mut self) -> Result<Answer, RoomError> {
        Ok(match self.link.answer(&mut self.answer, &self.label).await? {
            Content::Control(Control::Open) => Answer::Stream,
            content => Answer::Unary(content),
        })
    }

    /// The next output item; `None` after a clean end.
    ///
    /// Errors: the tool sent an `error` item or closed with another status than 1000, or the connection went.
    pub async fn next(&mut self) -> Result<Option<Content>, RoomError> {
        let failed = |text: String, code| RoomError::Failed { request: self.label.clone(), text, code };
        match self.items.recv().await {
            Some(Content::Control(Control::Close { status: STATUS_NORMAL, .. })) => Ok(None),
            Some(Content::Control(Control::Close { status, message })) => {
                Err(failed(message.unwrap_or_else(|| format!("closed with status {status}")), None))
            }
            Some(Content::Error { text, code }) => Err(failed(text, code)),
            Some(item) => Ok(Some(item)),
            None if self.link.down.is_cancelled() => Err(RoomError::lost(&self.label)),
            None => Err(RoomError::TooMuch {
                what: "the number of unread stream items",
                max: super::link::STREAM_ITEMS_MAX,
                advice: "read the stream faster or ask for less",
            }),
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.link.forget(self.request_id);
        self.link.close_stream(&self.id);
        if self.input_open {
            self.link.try_post(REQUEST_CHUNK, chunk(&self.id, Content::Control(Control::END)));
        }
    }
}
