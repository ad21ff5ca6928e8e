//! What services bring into rooms over the network: agents that run elsewhere and are called into the room by their
//! webhook, and tool servers whose tools the room offers.

use super::probe::Probes;
use super::services_of;
use super::status::Condition;
use crate::app::host::RoomHost;
use crate::app::secrets::oauth::needs_no_person;
use crate::app::token::Mint;
use crate::app::tools::{AllowedTools, ToolServer, ToolServerState};
use crate::control::{ControlParts, Error};
use crate::domain::instance::{self, Phase};
use crate::domain::service::Service;
use crate::id::{RoomId, ServiceId, SessionId};
use crate::net::webhook;
use crate::projection::World;
use crate::runtime::InstanceKey;
use crate::spec::{ApiScope, Endpoint, McpEndpoint, Port, PortNumber, RequireApproval};
use crate::vault::Secret;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use url::Url;

/// How long the token of a called agent is good for, seconds. The session ends before.
const TOKEN_SECONDS: i64 = 30 * 24 * 60 * 60;

/// One run of a service in one room: a new session or a new generation calls anew.
type Run = (SessionId, u64);
/// Place of an endpoint: of its port among the service's, and its own among the port's.
type Place = (usize, usize);

/// The call of each place, and how it went.
type Board = HashMap<(InstanceKey, Place), (Run, Result<(), String>)>;

/// Which agents elsewhere were called, and how that went.
#[derive(Debug, Default)]
pub struct Called {
    board: Mutex<Board>,
}

impl Called {
    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, key: &InstanceKey, place: Place, run: Run) -> Option<Result<(), String>> {
        self.board().get(&(key.clone(), place)).filter(|(of, _)| *of == run).map(|(_, result)| result.clone())
    }

    /// The call is to be made again.
    pub(super) fn forget(&self, call: &Call) {
        self.board().remove(&(call.key.clone(), call.place));
    }

    pub(super) fn set(&self, call: &Call, result: Result<(), String>) {
        self.board().insert((call.key.clone(), call.place), (call.run, result));
    }

    /// Forgets runs that are over.
    pub fn keep(&self, hosted: &BTreeMap<RoomId, SessionId>) {
        self.board().retain(|(key, _), ((session, _), _)| hosted.get(&key.room) == Some(session));
    }
}

/// One agent elsewhere to call.
#[derive(Clone, Debug)]
pub struct Call {
    pub key: InstanceKey,
    pub place: Place,
    pub(super) run: Run,
    pub(super) url: Result<Url, String>,
    pub(super) identity: String,
    pub(super) api: ApiScope,
}

impl Call {
    /// Whether the agent takes part over a socket that this server dials.
    #[must_use]
    pub fn is_dialled(&self) -> bool {
        self.url.as_ref().is_ok_and(|url| matches!(url.scheme(), "ws" | "wss"))
    }

    /// The `room.call` and the secret that signs it; nothing where the room is gone.
    pub(super) async fn event(&self, parts: &ControlParts) -> Result<Option<(Value, Secret)>, String> {
        let world = parts.app.world();
        let Some(room) = world.room(self.key.room).map(|room| room.name.to_string()) else {
            return Ok(None);
        };
        let service: ServiceId = self.key.service;
        let mint = Mint {
            role: Some("agent".to_owned()),
            room: Some(room.clone()),
            api: Some(self.api.clone()),
            service: Some(service),
            lifetime_seconds: Some(TOKEN_SECONDS),
            ..Mint::new(service.project(), &self.identity)
        };
        let token = parts.app.mint(mint).await.map_err(|error| error.to_string())?;
        let room_url = format!("{}/rooms/{room}", parts.app.settings.public_url.replacen("http", "ws", 1));
        let data = json!({"room_name": room, "room_url": room_url, "token": token});
        let secret = parts.app.webhook_secret(&parts.settings.outward, service.project()).await;
        let secret = secret.map_err(|error| error.to_string())?;
        Ok(Some((json!({"event": "room.call", "data": data}), secret)))
    }
}

fn key_of(room: RoomId, service: ServiceId) -> InstanceKey {
    InstanceKey { room, service, container: 0 }
}

fn endpoints(service: &Service) -> impl Iterator<Item = (Place, &Port, &Endpoint)> {
    let ports = service.spec.ports().iter().enumerate();
    ports.flat_map(|(index, port)| {
        port.endpoints.iter().enumerate().map(move |(at, endpoint)| ((index, at), port, endpoint))
    })
}

fn is_elsewhere(service: &Service) -> bool {
    service.spec.container.is_none() && service.spec.external.is_some()
}

/// Where an endpoint of a service elsewhere is.
fn url_of(service: &Service, port: &Port, endpoint: &Endpoint) -> Result<Url, String> {
    let base = service.spec.external.as_ref().and_then(|external| external.url.as_deref());
    let base = base.ok_or("the service has no `external.url`; write where it is")?;
    let mut url = Url::parse(base).map_err(|error| format!("`external.url` is no URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https" | "ws" | "wss") {
        return Err("`external.url` begins with http, https, ws or wss".to_owned());
    }
    if let (None, PortNumber::Fixed(number)) = (url.port(), port.num) {
        // The scheme's own port is not written.
        let _ = url.set_port(Some(number));
    }
    let path = format!("{}/{}", url.path().trim_end_matches('/'), endpoint.path.trim_start_matches('/'));
    url.set_path(&path);
    Ok(url)
}

/// The agents elsewhere that were not called yet in the sessions hosted here.
#[must_use]
pub fn due(world: &World, hosted: &BTreeMap<RoomId, SessionId>, called: &Called) -> Vec<Call> {
    let mut calls = Vec::new();
    for (room, session) in hosted {
        let enabled = |(_, service): &(ServiceId, &Service)| {
            service.spec.enabled && service.paused_at.is_none() && is_elsewhere(service)
        };
        for (id, service) in services_of(world, *room).filter(enabled) {
            let (key, run) = (key_of(*room, id), (*session, service.run_generation));
            for (place, port, endpoint) in endpoints(service) {
                let Some(agent) = &endpoint.meshagent else { continue };
                if called.get(&key, place, run) == Some(Ok(())) {
                    continue;
                }
                calls.push(Call {
                    key: key.clone(),
                    place,
                    run,
                    url: url_of(service, port, endpoint),
                    identity: agent.identity.clone(),
                    api: agent.api.clone().unwrap_or_else(ApiScope::agent_default),
                });
            }
        }
    }
    calls
}

/// Calls an agent into its room by http: a signed `room.call` with a token, after which it joins by itself.
pub async fn make(call: Call, parts: &ControlParts, called: &Called) -> Result<(), Error> {
    let done = post(&call, parts).await;
    called.set(&call, done.clone());
    let path = call.url.as_ref().map(|url| url.path().to_owned()).unwrap_or_default();
    done.map_err(|why| Error::Call { identity: call.identity.clone(), path, why })
}

async fn post(call: &Call, parts: &ControlParts) -> Result<(), String> {
    let url = call.url.clone()?;
    let Some((event, secret)) = call.event(parts).await? else { return Ok(()) };
    let sent = webhook::send(url, &event, secret.expose(), &parts.settings.outward.allowed).await;
    sent.map_err(|error| error.to_string())?;
    let room = call.key.room;
    tracing::info!(%room, identity = call.identity, "an agent elsewhere was called into its room");
    Ok(())
}

/// The tool servers that a room's session is to offer: those elsewhere, and those of processes that are ready.
#[must_use]
pub fn tool_servers(world: &World, room: RoomId, session: SessionId, probes: &Probes) -> Vec<ToolServer> {
    let mut servers = Vec::new();
    for (id, service) in services_of(world, room).filter(|(_, service)| service.spec.enabled) {
        for (place, port, endpoint) in endpoints(service) {
            let Some(mcp) = &endpoint.mcp else { continue };
            let here = !is_elsewhere(service);
            let url = if here {
                local(world, (room, session), (id, service), (place, port), probes)
                    .map(|at| format!("http://{at}/{}", endpoint.path.trim_start_matches('/')))
            } else {
                url_of(service, port, endpoint).ok().map(String::from)
            };
            if let Some(url) = url.filter(|_| is_served(mcp)) {
                servers.push(tool_server((id, place.0, place.1), service.run_generation, mcp, url, here));
            }
        }
    }
    servers
}

/// Connectors are called by the provider of models, not by the room; what needs the consent of a person needs the secret
/// that came of it.
fn is_served(mcp: &McpEndpoint) -> bool {
    mcp.openai_connector_id.is_none() && !asks_a_person(mcp)
}

fn asks_a_person(mcp: &McpEndpoint) -> bool {
    mcp.use_proxy_secret.is_none() && mcp.oauth.as_ref().is_some_and(|oauth| !needs_no_person(oauth))
}

/// The ports of a service that offer tools; where they answer must be known.
pub fn tool_ports(service: &Service) -> impl Iterator<Item = PortNumber> {
    let here = !is_elsewhere(service);
    let offers = |endpoint: &Endpoint| endpoint.mcp.as_ref().is_some_and(is_served);
    endpoints(service).filter(move |(_, _, endpoint)| here && offers(endpoint)).map(|(_, port, _)| port.num)
}

/// Where a port of an instance of ours answers that runs and is ready.
fn local(
    world: &World,
    (room, session): (RoomId, SessionId),
    (id, service): (ServiceId, &Service),
    (place, port): (Place, &Port),
    probes: &Probes,
) -> Option<SocketAddr> {
    let instance = world.instance(instance::Key { session, service: id })?;
    let runs = instance.phase == Phase::Running && instance.generation == service.run_generation;
    let key = key_of(room, id);
    let ready = port.liveness.is_none() || probes.seen(&key, place.0).is_some_and(|seen| seen.ready);
    let number = probes.number(&key, port.num).filter(|_| runs && ready)?;
    probes.place(&key, number)
}

fn tool_server(
    place: crate::app::tools::Place,
    generation: u64,
    mcp: &McpEndpoint,
    url: String,
    here: bool,
) -> ToolServer {
    let allowed = mcp.allowed_tools.as_ref().map(|all| {
        let entry = |entry: &crate::spec::AllowedTools| AllowedTools {
            names: entry.tool_names.clone(),
            read_only: entry.read_only,
        };
        all.iter().map(entry).collect()
    });
    ToolServer {
        place,
        generation,
        label: mcp.label.clone(),
        description: mcp.description.clone().unwrap_or_default(),
        url,
        here,
        headers: mcp.headers.clone().unwrap_or_default().into_iter().collect(),
        secret: mcp.use_proxy_secret.clone(),
        oauth: mcp.oauth.clone().filter(|_| mcp.use_proxy_secret.is_none()),
        allowed,
        approval: mcp.require_approval.map(|approval| approval == RequireApproval::Always),
    }
}

/// What keeps a service from being ready that its process, if it has one, does not: `None` where nothing does.
#[must_use]
pub fn condition(world: &World, id: ServiceId, host: &dyn RoomHost, called: &Called) -> Option<Condition> {
    let service = world.service(id).filter(|service| service.spec.enabled)?;
    let not = |reason: &str, why: String| Some(Condition::ready("False", reason, why));
    for (place, port, endpoint) in endpoints(service) {
        if endpoint.mcp.as_ref().is_some_and(asks_a_person) {
            return not(
                "NotAuthorized",
                "the tool server wants a person's consent: run `meshagent secret authorize`, and name the secret in `use_proxy_secret`"
                    .into(),
            );
        }
        let reached = endpoint.meshagent.is_some() || endpoint.mcp.as_ref().is_some_and(is_served);
        if let Some(Err(why)) = (is_elsewhere(service) && reached).then(|| url_of(service, port, endpoint)) {
            return not("BadAddress", why);
        }
        for (room, session) in host.live() {
            let here = services_of(world, room).any(|(of, _)| of == id);
            if !here {
                continue;
            }
            let served = endpoint.mcp.as_ref().is_some_and(is_served);
            match host.tool_server(room, (id, place.0, place.1)).filter(|_| served) {
                Some(ToolServerState::Failed(why)) => return not("ToolsNotReady", why),
                Some(ToolServerState::Connecting) => {
                    return not("Connecting", "the tool server is being connected to".into());
                }
                Some(ToolServerState::Ready(_)) => {}
                None if served => {
                    return not("Connecting", "the tool server was not connected to yet".into());
                }
                None => {}
            }
            if endpoint.meshagent.is_some() && is_elsewhere(service) {
                match called.get(&key_of(room, id), place, (session, service.run_generation)) {
                    Some(Ok(())) => {}
                    Some(Err(why)) => return not("CallFailed", why),
                    None => return not("Calling", "the agent was not called into the room yet".into()),
                }
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(external: &Value, num: &Value, path: &str) -> Service {
        let spec = json!({
            "version": "v1", "kind": "Service", "metadata": {"name": "s"}, "external": external,
            "ports": [{"num": num, "endpoints": [{"path": path}]}],
        });
        Service {
            room: None,
            spec: serde_json::from_value(spec).unwrap(),
            generation: 1,
            run_generation: 1,
            created_at: chrono::DateTime::UNIX_EPOCH,
            updated_at: chrono::DateTime::UNIX_EPOCH,
            paused_at: None,
        }
    }

    #[test]
    fn an_endpoint_elsewhere_is_at_its_url_port_and_path() {
        for (url, num, path, wanted) in [
            ("https://mcp.example.com", json!(443), "/mcp", "https://mcp.example.com/mcp"),
            ("https://h/base/", json!("*"), "mcp", "https://h/base/mcp"),
            ("http://h", json!(9000), "/x", "http://h:9000/x"),
            ("http://h:81", json!(9000), "/x", "http://h:81/x"),
        ] {
            let service = service(&json!({"url": url}), &num, path);
            let port = &service.spec.ports()[0];
            assert_eq!(url_of(&service, port, &port.endpoints[0]).unwrap().as_str(), wanted);
        }
        for external in [json!({}), json!({"url": "no url"}), json!({"url": "file:///x"})] {
            let service = service(&external, &json!("*"), "/");
            let port = &service.spec.ports()[0];
            let why = url_of(&service, port, &port.endpoints[0]).unwrap_err();
            assert!(why.contains("external.url"), "{why}");
        }
    }
}
