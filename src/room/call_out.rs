//! `room.call`: the server calls a service's webhook with a token for the room. By http the service joins by itself; by
//! ws it takes part over the socket that was dialled (room protocol §1.7).

use super::bus::Bus;
use super::connection::{Connection, Job};
use super::dialled::{self, Dial, DialError};
use super::guard;
use super::session::LiveSession;
use super::toolkit::ToolError;
use super::world::{Admission, Callouts};
use crate::error_code::RoomCode;
use crate::net::guard::Refused;
use crate::net::webhook::{self, WebhookError};
use crate::spec::ApiScope;
use crate::wire::Content;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use url::Url;

/// One call to make.
#[derive(Debug)]
struct Plan {
    name: String,
    url: Url,
    arguments: Value,
    api: Map<String, Value>,
}

/// Takes one `room.call`.
pub(super) fn call(connection: &mut Connection, id: u64, header: Map<String, Value>) {
    let planned = plan(&connection.peer.api, header);
    let outside = connection.bus.callouts.as_ref().map(Arc::clone).ok_or_else(|| {
        ToolError::missing_dependency("this server makes no calls out; have the agent join the room itself")
    });
    let (plan, outside) = match planned.and_then(|plan| Ok((plan, outside?))) {
        Ok(parts) => parts,
        Err(error) => return connection.fail(id, &error),
    };
    let (session, peer) = (Arc::clone(&connection.session), Arc::clone(&connection.peer));
    let bus = Arc::clone(&connection.bus);
    let job: Job = Box::pin(async move {
        let content = match make(&bus, &session, &*outside, plan).await {
            Ok(()) => Content::Empty,
            Err(error) => error.content(),
        };
        peer.outbox.respond(id, content);
        None
    });
    connection.work(id, job);
}

fn plan(api: &ApiScope, mut header: Map<String, Value>) -> Result<Plan, ToolError> {
    guard::call_out(api)?;
    let mut text = |field: &str| match header.remove(field) {
        Some(Value::String(text)) if !text.is_empty() => Ok(text),
        _ => Err(ToolError::invalid(format!("room.call: field `{field}` is missing"))),
    };
    let (name, url) = (text("name")?, text("url")?);
    let url = Url::parse(&url)
        .map_err(|error| ToolError::invalid(format!("room.call: `{url}` is no URL: {error}")))?;
    match url.scheme() {
        "http" | "https" | "ws" | "wss" => {}
        other => {
            return Err(ToolError::invalid(format!(
                "room.call: a URL begins with http, https, ws or wss, not {other}"
            )));
        }
    }
    let arguments = match header.remove("arguments") {
        None | Some(Value::Null) => json!({}),
        Some(Value::Object(arguments)) => Value::Object(arguments),
        Some(_) => return Err(ToolError::invalid("room.call: field `arguments` must be an object")),
    };
    let asked = match header.remove("api") {
        None | Some(Value::Null) => ApiScope::agent_default(),
        Some(asked) => serde_json::from_value(asked).map_err(|error| {
            ToolError::invalid(format!("room.call: field `api` is no api scope: {error}"))
        })?,
    };
    Ok(Plan { name, url, arguments, api: narrowed(&asked, api) })
}

/// What was asked, but nothing that the caller itself may not do: where its own grant is missing there is none, where
/// it is restricted the restricted one stands.
fn narrowed(asked: &ApiScope, own: &ApiScope) -> Map<String, Value> {
    let fields = |scope: &ApiScope| match scope.to_token_value() {
        Value::Object(fields) => fields,
        _ => Map::new(),
    };
    let own = fields(own);
    let unrestricted = |grant: &Value| grant.as_object().is_some_and(Map::is_empty);
    fields(asked)
        .into_iter()
        .filter_map(|(name, grant)| {
            let mine = own.get(&name)?;
            Some((name, if unrestricted(mine) { grant } else { mine.clone() }))
        })
        .collect()
}

async fn make(
    bus: &Arc<Bus>,
    session: &LiveSession,
    outside: &dyn Callouts,
    plan: Plan,
) -> Result<(), ToolError> {
    let secret = outside.webhook_secret(&session.room).await.map_err(ToolError::failed)?;
    let token = outside.mint(&session.room, &plan.name, Some(&plan.api)).await.map_err(ToolError::failed)?;
    let event = json!({
        "event": "room.call",
        "data": {
            "room_name": session.room.name,
            "room_url": session.room.url,
            "token": token,
            "arguments": plan.arguments,
        },
    });
    if matches!(plan.url.scheme(), "http" | "https") {
        return webhook::send(plan.url, &event, &secret, outside.allowed_hosts()).await.map_err(refused);
    }
    let api = serde_json::from_value(Value::Object(plan.api));
    let api = api.map_err(|error| ToolError::invalid(format!("room.call: field `api`: {error}")))?;
    let admission = Admission {
        room: session.room.clone(),
        name: plan.name,
        role: "agent".to_owned(),
        api: Arc::new(api),
        service: None,
    };
    let allowed = outside.allowed_hosts();
    let (event, secret, admission, url) = (&event, &secret, &admission, plan.url);
    let dial = Dial { url, event, secret, allowed, admission, session: session.opened.id };
    match dialled::dial(bus, dial).await {
        // The task lives as long as the socket, and nobody waits for it.
        Ok(_) => Ok(()),
        Err(DialError::Call(error)) => Err(refused(error)),
        Err(error @ DialError::Join(_)) => Err(ToolError::failed(error.to_string())),
    }
}

fn refused(error: WebhookError) -> ToolError {
    match error {
        WebhookError::Refused(Refused::NotPublic(_)) => {
            ToolError::new(RoomCode::PermissionDenied, error.to_string())
        }
        WebhookError::Refused(Refused::Invalid(text)) => ToolError::invalid(format!("room.call: {text}")),
        WebhookError::TooLong { .. } => ToolError::invalid(format!("room.call: {error}")),
        other => ToolError::failed(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(value: Value) -> ApiScope {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_call_hands_out_nothing_that_the_caller_does_not_have() {
        let own = scope(json!({"agents": {}, "queues": {"send": ["a"]}, "storage": {}}));
        let asked = scope(json!({"queues": {}, "storage": {"paths": []}, "admin": {}}));
        let got = Value::Object(narrowed(&asked, &own));
        assert_eq!(got, json!({"queues": {"send": ["a"]}, "storage": {"paths": []}}));
    }

    #[test]
    fn what_is_wrong_with_a_call_is_said() {
        let full = ApiScope::full();
        let fails = |header: Value| match header {
            Value::Object(header) => plan(&full, header).unwrap_err().text,
            _ => String::new(),
        };
        assert!(fails(json!({"name": "n"})).contains("field `url` is missing"));
        assert!(fails(json!({"name": "n", "url": "no url"})).contains("is no URL"));
        assert!(fails(json!({"name": "n", "url": "file:///etc/passwd"})).contains("not file"));
        assert!(
            fails(json!({"name": "n", "url": "http://x", "arguments": []})).contains("must be an object")
        );
        assert!(fails(json!({"name": "n", "url": "http://x", "api": {"zap": {}}})).contains("no api scope"));
    }
}
