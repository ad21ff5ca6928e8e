//! Calls to toolkits that participants host: the server relays between the caller and the host, with identifiers of
//! its own, because two callers may choose equal ones.

use super::early::Chunk;
use super::lock;
use super::outbox::RESPONSE;
use super::session::{LiveSession, Peer};
use super::spans::OpenSpan;
use super::stream::{Action, Event, Input, Relay};
use super::toolkit::{RESPONSE_CHUNK, ToolError};
use crate::error_code::RoomCode;
use crate::wire::message::BOOKKEEPING_KEY;
use crate::wire::{Content, Control, TraceContext, pack, unpack};
use bytes::Bytes;
use serde_json::{Map, Value, json};
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex};

/// Most calls one host may be working on.
pub const HOSTED_CALLS_MAX: usize = 4_096;
/// Ended calls kept per host, because progress may come after the answer.
const ENDED_KEPT_MAX: usize = 256;

/// Something that a participant was asked to do, and whom its answers go to.
pub trait Asked: Send + Sync + fmt::Debug {
    /// The participant answered; `payload` is a packed content.
    fn answered(&self, payload: Bytes);
    /// It sent an output chunk: a content's header, or an object without a `type`; and bytes.
    fn host_chunk(&self, chunk: &Map<String, Value>, data: &Bytes);
    /// It is gone.
    fn lose_host(&self);
}

/// What one participant was asked to do, by the id of the message that asked.
#[derive(Debug, Default)]
pub struct Hosting {
    calls: HashMap<u64, Arc<dyn Asked>>,
    ended: VecDeque<u64>,
    gone: bool,
}

/// One call on its way between two participants.
#[derive(Debug)]
pub struct HostedCall {
    /// The id that the host knows the call by.
    id: String,
    message_id: u64,
    host: Arc<Peer>,
    caller: Arc<Peer>,
    /// The ids that the caller knows the call by.
    caller_call_id: String,
    request_id: u64,
    toolkit: String,
    tool: String,
    relay: Mutex<Relay>,
    /// Taken when the call is over.
    span: Mutex<Option<OpenSpan>>,
    session: Arc<LiveSession>,
}

/// What a caller asks of a participant's toolkit.
#[derive(Debug)]
pub struct Ask {
    pub toolkit: String,
    pub tool: String,
    pub tool_call_id: String,
    pub request_id: u64,
    pub on_behalf_of: Value,
    pub arguments: Map<String, Value>,
    pub data: Bytes,
    pub streamed: bool,
    /// The traced work that the host is to see itself in.
    pub trace: Option<TraceContext>,
    pub span: Option<OpenSpan>,
}

/// Passes a call on to its host.
pub fn begin(
    session: &Arc<LiveSession>,
    caller: &Arc<Peer>,
    host: &Arc<Peer>,
    ask: Ask,
) -> Result<Arc<HostedCall>, ToolError> {
    let message_id = host.outbox.reserve_id();
    let id = format!("{message_id:032x}");
    let mut header = json!({
        "name": ask.tool,
        "arguments": ask.arguments,
        "caller_id": caller.id,
        "on_behalf_of_id": ask.on_behalf_of,
        "tool_call_id": id,
    });
    if let Some(trace) = &ask.trace {
        header[BOOKKEEPING_KEY] = trace.bookkeeping();
    }
    let kind = format!("room.tool_call.{}", ask.toolkit);
    let call = Arc::new(HostedCall {
        id,
        message_id,
        host: Arc::clone(host),
        caller: Arc::clone(caller),
        caller_call_id: ask.tool_call_id,
        request_id: ask.request_id,
        toolkit: ask.toolkit,
        tool: ask.tool,
        relay: Mutex::new(Relay::new(ask.streamed)),
        span: Mutex::new(ask.span),
        session: Arc::clone(session),
    });
    add(host, message_id, Arc::clone(&call) as _)
        .map_err(|error| error.unwrap_or_else(|| call.host_is_gone()))?;
    session.work_begun();
    host.outbox.send(message_id, kind, pack(&header, &ask.data));
    Ok(call)
}

/// Remembers whom the answers to message `id` go to. The error is `None` when the participant is gone.
pub fn add(host: &Peer, id: u64, asked: Arc<dyn Asked>) -> Result<(), Option<ToolError>> {
    let mut hosting = lock(&host.hosting);
    if hosting.gone {
        return Err(None);
    }
    if hosting.calls.len() - hosting.ended.len() >= HOSTED_CALLS_MAX {
        let text = format!(
            "participant `{}` is working on {HOSTED_CALLS_MAX} calls already; call again when some are done",
            host.name
        );
        return Err(Some(ToolError::new(RoomCode::InvalidState, text)));
    }
    hosting.calls.insert(id, asked);
    Ok(())
}

/// Forgets what message `id` asked.
pub fn remove(host: &Peer, id: u64) {
    lock(&host.hosting).calls.remove(&id);
}

/// What the participant's message `id` is about.
#[must_use]
pub fn find(host: &Peer, id: u64) -> Option<Arc<dyn Asked>> {
    lock(&host.hosting).calls.get(&id).map(Arc::clone)
}

/// Fails all calls of a host whose connection is gone.
pub fn host_lost(host: &Peer) {
    let calls = {
        let mut hosting = lock(&host.hosting);
        hosting.gone = true;
        hosting.ended.clear();
        std::mem::take(&mut hosting.calls)
    };
    for call in calls.into_values() {
        call.lose_host();
    }
}

impl HostedCall {
    /// The caller sent an input chunk, or closed its input.
    pub fn from_caller(&self, chunk: &Chunk) {
        let close = matches!(chunk.content(), Some(Content::Control(Control::Close { .. })));
        let event = if close { Event::InputClose } else { Event::InputItem };
        self.on(event, |action| {
            if action == Action::ToHost {
                self.to_host(&chunk.header, &chunk.data);
            }
        });
    }

    /// The caller's connection is gone.
    pub fn lose_caller(&self) {
        self.end_span(Some("the caller left"));
        self.on(Event::CallerLost, |action| {
            if action == Action::CloseHost {
                let (close, _) = Content::Control(Control::END).into_parts();
                self.to_host(&close, b"");
            }
        });
    }

    /// True when nothing the caller says can matter any more.
    #[must_use]
    pub fn is_over(&self) -> bool {
        let relay = *lock(&self.relay);
        relay.is_over() && relay.input != Input::Open
    }

    fn host_is_gone(&self) -> ToolError {
        ToolError::failed(format!(
            "participant `{}`, who hosts toolkit `{}`, left before `{}` was done; call again when it is back",
            self.host.name, self.toolkit, self.tool
        ))
    }

    /// Steps the machine and acts under its lock, so that what is sent keeps the order of the steps.
    fn on(&self, event: Event, act: impl FnOnce(Action)) {
        let mut relay = lock(&self.relay);
        let (next, action) = relay.on(event);
        let over = next.is_over() && !relay.is_over();
        *relay = next;
        act(action);
        drop(relay);
        if over {
            // Ends of another kind were told before.
            self.end_span(None);
            self.session.work_done();
            self.keep_for_late_progress();
        }
    }

    fn keep_for_late_progress(&self) {
        let mut hosting = lock(&self.host.hosting);
        if hosting.gone {
            return;
        }
        hosting.ended.push_back(self.message_id);
        if hosting.ended.len() > ENDED_KEPT_MAX
            && let Some(oldest) = hosting.ended.pop_front()
        {
            hosting.calls.remove(&oldest);
        }
    }

    /// Ends the call's span, now that it is known how the call ended.
    fn end_span(&self, error: Option<&str>) {
        if let Some(span) = lock(&self.span).take() {
            span.ended(error);
        }
    }

    fn to_host(&self, chunk: &Map<String, Value>, data: &[u8]) {
        let header = json!({"tool_call_id": self.id, "chunk": chunk});
        let kind = format!("room.tool_call_request_chunk.{}", self.toolkit);
        self.host.outbox.send(self.message_id, kind, pack(&header, data));
    }

    fn to_caller(&self, chunk: &Map<String, Value>, data: &[u8]) {
        let header = json!({
            "tool_call_id": self.caller_call_id,
            "toolkit": self.toolkit,
            "tool": self.tool,
            "chunk": chunk,
        });
        self.caller.outbox.push(RESPONSE_CHUNK, pack(&header, data));
    }
}

impl Asked for HostedCall {
    /// Passed on as it is.
    fn answered(&self, payload: Bytes) {
        let content = unpack(&payload)
            .map_err(|e| e.to_string())
            .and_then(|(header, data)| Content::from_parts(&header, data).map_err(|e| e.to_string()));
        let (event, payload) = match content {
            Ok(Content::Control(Control::Open)) => (Event::ResultOpen, payload),
            Ok(Content::Error { text, .. }) => {
                self.end_span(Some(&text));
                (Event::Result, payload)
            }
            Ok(_) => (Event::Result, payload),
            // A malformed answer would leave the caller waiting for ever.
            Err(error) => {
                let text = format!(
                    "the host of toolkit `{}` gave an answer that is no content: {error}",
                    self.toolkit
                );
                self.end_span(Some(&text));
                (Event::Result, ToolError::invalid(text).content().pack())
            }
        };
        self.on(event, |action| {
            if action == Action::Respond {
                self.caller.outbox.send(self.request_id, RESPONSE, payload);
            }
        });
    }

    /// Passed on as it is, whether a content or not.
    fn host_chunk(&self, chunk: &Map<String, Value>, data: &Bytes) {
        let content = Content::from_parts(chunk, Bytes::new());
        let event = match content {
            Ok(Content::Control(Control::Close { .. })) => Event::OutputClose,
            Ok(_) => Event::OutputItem,
            Err(_) => Event::Progress,
        };
        self.on(event, |action| {
            if action == Action::ToCaller {
                self.to_caller(chunk, data);
            }
        });
    }

    fn lose_host(&self) {
        self.end_span(Some("the host left"));
        self.on(Event::HostLost, |action| match action {
            Action::FailCall => {
                self.caller.outbox.respond(self.request_id, self.host_is_gone().content());
            }
            Action::FailStream => {
                for content in [self.host_is_gone().content(), Content::Control(Control::END)] {
                    let (chunk, data) = content.into_parts();
                    self.to_caller(&chunk, &data);
                }
            }
            _ => {}
        });
    }
}
