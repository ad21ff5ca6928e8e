//! `room.list_toolkits`, `room.register_toolkit`, `room.unregister_toolkit`.

use super::connection::{Connection, Job};
use super::guard;
use super::session::{LiveSession, Peer, Registration};
use super::toolkit::ToolError;
use crate::error_code::RoomCode;
use crate::name::NAME_BYTES_MAX;
use crate::wire::Content;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::Duration;

/// Longest that a list waits for a participant's toolkit.
pub const LIST_WAIT_MAX: Duration = Duration::from_mins(5);
/// Most bytes of one registration's listing, as JSON.
pub const LISTING_BYTES_MAX: usize = 1024 * 1024;

/// Whose toolkits are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Filter {
    id: Option<String>,
    name: Option<String>,
}

/// Answers with the toolkits, by name.
pub(super) fn list(connection: &mut Connection, id: u64, header: &Map<String, Value>) {
    let text = |field: &str| header.get(field).and_then(Value::as_str).map(str::to_owned);
    let filter = Filter { id: text("participant_id"), name: text("participant_name") };
    let wait = header.get("timeout").and_then(Value::as_f64).filter(|s| *s > 0.0);
    let wait = wait.map(|seconds| Duration::from_secs_f64(seconds.min(LIST_WAIT_MAX.as_secs_f64())));
    let named = filter != Filter::default();
    let found = tools(connection, &filter);
    let Some(wait) = wait.filter(|_| named && found.is_empty()) else {
        return connection.answer(id, Content::Json(json!({"tools": found})));
    };
    let (session, peer) = (Arc::clone(&connection.session), Arc::clone(&connection.peer));
    let job: Job = Box::pin(async move {
        let mut changes = session.watch_toolkits();
        let appeared = async {
            loop {
                let found = hosted_tools(&session, &peer, &filter);
                if !found.is_empty() || changes.changed().await.is_err() {
                    return found;
                }
            }
        };
        let found = tokio::time::timeout(wait, appeared).await.unwrap_or_default();
        peer.outbox.respond(id, Content::Json(json!({"tools": found})));
        None
    });
    connection.work(id, job);
}

fn tools(connection: &Connection, filter: &Filter) -> Map<String, Value> {
    let mut found = hosted_tools(&connection.session, &connection.peer, filter);
    if *filter == Filter::default() {
        // A built-in toolkit is what its name means when no participant is given.
        for toolkit in connection.bus.toolkits() {
            let info = toolkit.describe();
            found.insert(info.name.to_owned(), info.listing());
        }
    }
    found
}

/// Those the caller may use: public ones, and all of a participant that was asked for.
fn hosted_tools(session: &LiveSession, caller: &Peer, filter: &Filter) -> Map<String, Value> {
    let wanted = |r: &Registration| {
        let by_id = filter.id.as_ref().is_none_or(|id| r.host.id == *id);
        let by_name = filter.name.as_ref().is_none_or(|name| r.host.name == *name);
        let open = r.public || *filter != Filter::default();
        by_id && by_name && open && guard::can_use(&caller.api, &r.name)
    };
    session.with_registrations(|registrations| {
        let mut found = Map::new();
        for registration in registrations.iter().filter(|r| wanted(r)) {
            found
                .entry(registration.name.clone())
                .or_insert_with(|| Value::Object(registration.listing.clone()));
        }
        found
    })
}

/// Offers a toolkit of this participant.
pub(super) fn register(connection: &mut Connection, id: u64, header: Map<String, Value>) {
    match try_register(connection, header) {
        Ok(registration) => connection.answer(id, Content::Json(json!({"id": registration}))),
        Err(error) => connection.fail(id, &error),
    }
}

fn try_register(connection: &Connection, mut header: Map<String, Value>) -> Result<String, ToolError> {
    let public = header.get("public").and_then(Value::as_bool).unwrap_or(false);
    guard::register(&connection.peer.api, public)?;
    let name = match header.remove("name") {
        Some(Value::String(name)) if !name.is_empty() && name.len() <= NAME_BYTES_MAX => name,
        _ => {
            let text =
                format!("room.register_toolkit: field `name` must be 1 to {NAME_BYTES_MAX} bytes of text");
            return Err(ToolError::invalid(text));
        }
    };
    let tools = match header.remove("tools") {
        Some(Value::Object(tools)) => tools,
        Some(Value::Null) | None => Map::new(),
        Some(_) => {
            let text =
                format!("room.register_toolkit `{name}`: field `tools` must be an object keyed by tool name");
            return Err(ToolError::invalid(text));
        }
    };
    let text = |field: &str| header.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let annotations =
        header.get("annotations").filter(|a| a.is_object()).cloned().unwrap_or_else(|| json!({}));
    let listing = json!({
        "title": text("title"),
        "description": text("description"),
        "participant_id": connection.peer.id,
        "annotations": annotations,
        "tools": tools,
    });
    let bytes = serde_json::to_vec(&listing).map_or(usize::MAX, |json| json.len());
    if bytes > LISTING_BYTES_MAX {
        let text = format!(
            "toolkit `{name}` describes itself with {bytes} bytes, at most {LISTING_BYTES_MAX} are kept"
        );
        return Err(ToolError::invalid(text));
    }
    let Value::Object(listing) = listing else {
        return Err(ToolError::failed("the toolkit's description could not be kept"));
    };
    let id = connection.bus.ids.fresh().to_string();
    let host = Arc::clone(&connection.peer);
    let registration = Registration { id: id.clone(), name, public, listing, host };
    connection
        .session
        .register(registration)
        .map_err(|error| ToolError::new(RoomCode::InvalidState, error.to_string()))?;
    Ok(id)
}

/// Takes an offer back.
pub(super) fn unregister(connection: &mut Connection, id: u64, header: &Map<String, Value>) {
    let Some(registration) = header.get("id").and_then(Value::as_str) else {
        let error = ToolError::invalid("room.unregister_toolkit: field `id` is missing");
        return connection.fail(id, &error);
    };
    if connection.session.unregister(&connection.peer.id, registration) {
        return connection.answer(id, Content::Empty);
    }
    let text =
        format!("you have no toolkit registration `{registration}`; it may have been replaced or taken back");
    connection.fail(id, &ToolError::not_found(text));
}
