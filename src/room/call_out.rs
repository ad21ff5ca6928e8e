//! `room.call`: the server calls out to a service's webhook with a token for the room (room protocol §1.7).

use super::connection::Connection;
use super::guard;
use super::toolkit::ToolError;
use serde_json::{Map, Value};

/// Takes one `room.call`.
pub(super) fn call(connection: &mut Connection, id: u64, header: Map<String, Value>) {
    let error = match check(connection, &header) {
        Ok(()) => ToolError::missing_dependency(
            "this server does not call webhooks yet; have the agent join the room itself",
        ),
        Err(error) => error,
    };
    connection.fail(id, &error);
}

fn check(connection: &Connection, header: &Map<String, Value>) -> Result<(), ToolError> {
    guard::call_out(&connection.peer.api)?;
    for field in ["name", "url"] {
        if header.get(field).and_then(Value::as_str).is_none_or(str::is_empty) {
            return Err(ToolError::invalid(format!("room.call: field `{field}` is missing")));
        }
    }
    Ok(())
}
