//! `room.invoke_tool`: finds the toolkit, checks the grant, calls it. Built-in and hosted toolkits take this one way.

use super::connection::{Attached, Connection, Job};
use super::early::Kept;
use super::hosted::{self, Ask};
use super::input::InputStream;
use super::session::{LiveSession, Peer, Registration};
use super::spans::What;
use super::toolkit::{Call, Takes, ToolError, ToolInfo, Toolkit};
use super::{guard, near};
use crate::error_code::RoomCode;
use crate::wire::{Content, Control, TraceContext};
use bytes::Bytes;
use serde_json::{Map, Value};
use std::sync::Arc;

/// Longest `tool_call_id` taken, bytes.
const CALL_ID_BYTES_MAX: usize = 256;

/// The request's header, read.
struct Request {
    toolkit: String,
    tool: String,
    participant: Option<String>,
    on_behalf_of: Value,
    arguments: Map<String, Value>,
    tool_call_id: String,
    /// The traced work that the caller does it for.
    trace: Option<TraceContext>,
}

/// Takes one `room.invoke_tool`.
pub(super) fn invoke(
    connection: &mut Connection,
    id: u64,
    header: Map<String, Value>,
    data: Bytes,
    trace: Option<TraceContext>,
) {
    let taken =
        Request::read(id, header, trace).and_then(|request| try_invoke(connection, id, request, data));
    if let Err(error) = taken {
        connection.fail(id, &error);
    }
}

fn try_invoke(connection: &mut Connection, id: u64, request: Request, data: Bytes) -> Result<(), ToolError> {
    let stale = |attached: &Attached| matches!(attached, Attached::Hosted(call) if call.is_over());
    if connection.calls.get(&request.tool_call_id).is_some_and(|attached| !stale(attached)) {
        let text = format!(
            "tool_call_id `{}` is in use on this connection; choose a fresh one",
            request.tool_call_id
        );
        return Err(ToolError::new(RoomCode::AlreadyExists, text));
    }
    connection.room_for_a_call()?;
    let early = connection.early.take(&request.tool_call_id);
    if early == Kept::Lost {
        let text = format!(
            "more input came before call `{}` than is kept; send the call first, then its input",
            request.tool_call_id
        );
        return Err(ToolError::invalid(text));
    }
    let built_in = match request.participant {
        None => connection.bus.toolkit(&request.toolkit).map(Arc::clone),
        Some(_) => None,
    };
    match built_in {
        Some(toolkit) => call_built_in(connection, id, toolkit, request, data, early),
        None => call_hosted(connection, id, request, data, early),
    }
}

fn call_built_in(
    connection: &mut Connection,
    id: u64,
    toolkit: Arc<dyn Toolkit>,
    request: Request,
    data: Bytes,
    early: Kept,
) -> Result<(), ToolError> {
    let info = toolkit.describe();
    let tool = info.tool(&request.tool).ok_or_else(|| {
        let known = near::hint(&request.tool, info.tools.iter().map(|t| t.name));
        ToolError::not_found(format!("toolkit `{}` has no tool `{}`; {known}", info.name, request.tool))
    })?;
    let content = Content::from_parts(&request.arguments, data).map_err(|error| {
        ToolError::invalid(format!("the arguments of {}.{}: {error}", info.name, tool.name))
    })?;
    let input = input_of(&connection.peer, info.name, tool, &content, early)?;
    let mut call = Call {
        session: Arc::clone(&connection.session),
        caller: Arc::clone(&connection.peer),
        toolkit: info.name,
        tool: tool.name,
        content: Content::Empty,
        fields: Map::new(),
        input: input.clone(),
        request_id: id,
        tool_call_id: request.tool_call_id.clone(),
        opened: false,
        receipt: None,
    };
    call.set_content(content);
    let (takes, waits) = (tool.takes, tool.waits);
    let what = What { toolkit: info.name, tool: tool.name, caller: &connection.peer, host: None };
    let span = connection.session.spans.begin(request.trace.as_ref(), what);
    connection.calls.insert(request.tool_call_id, Attached::BuiltIn(input));
    let work = (!waits).then(|| Working::begin(&connection.session));
    let job: Job = Box::pin(async move {
        let result = run(&*toolkit, &mut call, takes).await;
        if let Some(span) = span {
            span.ended(result.as_ref().err().map(|error| error.text.as_str()));
        }
        call.finish(result);
        drop(work);
        Some(call.tool_call_id)
    });
    connection.begin(job, waits);
    Ok(())
}

/// The call's input stream, if its tool takes one; the way it was called must fit.
fn input_of(
    caller: &Peer,
    toolkit: &str,
    tool: &ToolInfo,
    content: &Content,
    early: Kept,
) -> Result<Option<InputStream>, ToolError> {
    let streamed = matches!(content, Content::Control(Control::Open));
    match (tool.takes, streamed) {
        (Takes::Unary, false) => Ok(None),
        (Takes::Unary, true) => Err(ToolError::invalid(format!(
            "{toolkit}.{} takes its input at once, not as a stream; send it as `arguments` of type json",
            tool.name
        ))),
        (Takes::Stream | Takes::OnlyEnd, false) => Err(ToolError::invalid(format!(
            "{toolkit}.{} takes a stream; send `arguments` of type control/open, then chunks, then control/close",
            tool.name
        ))),
        (Takes::Stream | Takes::OnlyEnd, true) => {
            let input = InputStream::new(Arc::clone(&caller.unread));
            let input = if tool.answers_items { input.answering_itself() } else { input };
            if let Kept::Chunks(chunks) = early {
                for chunk in &chunks {
                    input.push_chunk(chunk);
                }
            }
            Ok(Some(input))
        }
    }
}

/// The one way into a built-in toolkit: first item, grant, audit, call.
async fn run(toolkit: &dyn Toolkit, call: &mut Call, takes: Takes) -> Result<Content, ToolError> {
    if takes == Takes::Stream {
        let first = call.next().await?.ok_or_else(|| {
            ToolError::invalid(format!(
                "the input of {}.{} ended before its first item",
                call.toolkit, call.tool
            ))
        })?;
        call.set_content(first);
    }
    let allowed = guard::check(&call.caller.api, call.toolkit, call.tool, &call.fields);
    audit(&call.session, &call.caller, call.toolkit, call.tool, None, &allowed);
    allowed?;
    toolkit.invoke(call).await
}

fn call_hosted(
    connection: &mut Connection,
    id: u64,
    request: Request,
    data: Bytes,
    early: Kept,
) -> Result<(), ToolError> {
    let host = find_host(connection, &request)?;
    let allowed = guard::use_toolkit(&connection.peer.api, &request.toolkit);
    audit(&connection.session, &connection.peer, &request.toolkit, &request.tool, Some(&host), &allowed);
    allowed?;
    let streamed = match Content::from_parts(&request.arguments, Bytes::new()) {
        Ok(Content::Control(control)) => control == Control::Open,
        Ok(_) => false,
        Err(error) => {
            let text = format!("the arguments of {}.{}: {error}", request.toolkit, request.tool);
            return Err(ToolError::invalid(text));
        }
    };
    let what =
        What { toolkit: &request.toolkit, tool: &request.tool, caller: &connection.peer, host: Some(&host) };
    let span = connection.session.spans.begin(request.trace.as_ref(), what);
    let ask = Ask {
        // What the host does hangs below the call; where that is not recorded, below what the caller does.
        trace: span.as_ref().map(|span| span.context.clone()).or(request.trace),
        span,
        toolkit: request.toolkit,
        tool: request.tool,
        tool_call_id: request.tool_call_id.clone(),
        request_id: id,
        on_behalf_of: request.on_behalf_of,
        arguments: request.arguments,
        data,
        streamed,
    };
    let call = hosted::begin(&connection.session, &connection.peer, &host, ask)?;
    if let Kept::Chunks(chunks) = early {
        for chunk in &chunks {
            call.from_caller(chunk);
        }
    }
    connection.calls.insert(request.tool_call_id, Attached::Hosted(call));
    Ok(())
}

/// The participant that hosts the wanted toolkit: the one named, else the first that offers it to all.
fn find_host(connection: &Connection, request: &Request) -> Result<Arc<Peer>, ToolError> {
    let wanted = |r: &&Registration| {
        r.name == request.toolkit
            && match &request.participant {
                Some(id) => r.host.id == *id,
                None => r.public,
            }
    };
    connection.session.with_registrations(|registrations| {
        if let Some(found) = registrations.iter().find(wanted) {
            let tools = found.listing.get("tools").and_then(Value::as_object);
            return match tools.filter(|tools| !tools.is_empty() && !tools.contains_key(&request.tool)) {
                Some(tools) => {
                    let known = near::hint(&request.tool, tools.keys().map(String::as_str));
                    Err(ToolError::not_found(format!(
                        "toolkit `{}` has no tool `{}`; {known}",
                        request.toolkit, request.tool
                    )))
                }
                None => Ok(Arc::clone(&found.host)),
            };
        }
        let Some(id) = &request.participant else {
            let public: Vec<String> =
                registrations.iter().filter(|r| r.public).map(|r| r.name.clone()).collect();
            return Err(connection.bus.no_toolkit(&request.toolkit, &public));
        };
        let known = registrations.iter().filter(|r| r.host.id == *id).map(|r| r.name.as_str());
        let known = near::hint(&request.toolkit, known);
        Err(ToolError::not_found(format!(
            "participant `{id}` hosts no toolkit `{}`; {known}",
            request.toolkit
        )))
    })
}

/// The one audit point of tool calls.
fn audit(
    session: &LiveSession,
    caller: &Peer,
    toolkit: &str,
    tool: &str,
    host: Option<&Arc<Peer>>,
    allowed: &Result<(), ToolError>,
) {
    let host = host.map_or("server", |h| h.id.as_str());
    let room = &session.room.name;
    match allowed {
        Ok(()) => {
            tracing::debug!(target: "meshagent::audit", %room, participant = %caller.id, name = %caller.name, toolkit, tool, host, "allowed");
        }
        Err(error) => {
            tracing::info!(target: "meshagent::audit", %room, participant = %caller.id, name = %caller.name, toolkit, tool, host, reason = %error, "denied");
        }
    }
}

/// Counts a call as work while it lives.
struct Working(Arc<LiveSession>);

impl Working {
    fn begin(session: &Arc<LiveSession>) -> Self {
        session.work_begun();
        Self(Arc::clone(session))
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        self.0.work_done();
    }
}

impl Request {
    fn read(id: u64, mut header: Map<String, Value>, trace: Option<TraceContext>) -> Result<Self, ToolError> {
        let mut text = |field: &str| match header.remove(field) {
            Some(Value::String(text)) => Ok(Some(text)),
            Some(Value::Null) | None => Ok(None),
            Some(_) => Err(ToolError::invalid(format!("room.invoke_tool: field `{field}` must be a string"))),
        };
        let needed = |field: &str, value: Option<String>| {
            value
                .filter(|v| !v.is_empty())
                .ok_or_else(|| ToolError::invalid(format!("room.invoke_tool: field `{field}` is missing")))
        };
        let toolkit = needed("toolkit", text("toolkit")?)?;
        let tool = needed("tool", text("tool")?)?;
        let participant = text("participant_id")?;
        let tool_call_id = text("tool_call_id")?.filter(|t| !t.is_empty()).unwrap_or_else(|| id.to_string());
        if tool_call_id.len() > CALL_ID_BYTES_MAX {
            let text = format!("room.invoke_tool: `tool_call_id` is longer than {CALL_ID_BYTES_MAX} bytes");
            return Err(ToolError::invalid(text));
        }
        let on_behalf_of = header.remove("on_behalf_of_id").unwrap_or(Value::Null);
        let Some(Value::Object(arguments)) = header.remove("arguments") else {
            return Err(ToolError::invalid(
                "room.invoke_tool: field `arguments` must be a content header (an object)",
            ));
        };
        Ok(Self { toolkit, tool, participant, on_behalf_of, arguments, tool_call_id, trace })
    }
}
