//! Calls the endpoints of running services into their room: `room.call` with a token, after which the service joins
//! by itself (REST reference §8). Once per start; a call that fails is made again after a growing wait.

use super::http;
use super::probe::Probes;
use crate::app::token::Mint;
use crate::control::{ControlParts, Error};
use crate::id::ServiceId;
use crate::projection::World;
use crate::runtime::InstanceKey;
use crate::spec::{ApiScope, Service};
use serde_json::json;
use std::sync::Arc;

/// Place of an endpoint: of its port among the service's, and its own among the port's.
pub type Place = (usize, usize);

/// One endpoint to call.
#[derive(Clone, Debug)]
pub struct Call {
    pub key: InstanceKey,
    pub place: Place,
    port: u16,
    path: String,
    identity: String,
    api: ApiScope,
}

/// The endpoints of a running service that were not called yet and whose port is ready, as far as it says so.
#[must_use]
pub fn due(probes: &Probes, key: &InstanceKey, spec: &Service) -> Vec<Call> {
    let mut calls = Vec::new();
    for (index, port) in spec.ports().iter().enumerate() {
        let ready = port.liveness.is_none() || probes.seen(key, index).is_some_and(|seen| seen.ready);
        let Some(number) = probes.number(key, port.num).filter(|_| ready) else { continue };
        for (at, endpoint) in port.endpoints.iter().enumerate() {
            let Some(agent) = endpoint.meshagent.as_ref().filter(|_| !probes.was_called(key, (index, at)))
            else {
                continue;
            };
            calls.push(Call {
                key: key.clone(),
                place: (index, at),
                port: number,
                path: endpoint.path.clone(),
                identity: agent.identity.clone(),
                api: agent.api.clone().unwrap_or_else(ApiScope::agent_default),
            });
        }
    }
    calls
}

/// Makes the call.
pub async fn make(call: Call, parts: &ControlParts, probes: &Arc<Probes>) -> Result<(), Error> {
    let Some(room) = room_name(&parts.app.world(), &call) else { return Ok(()) };
    let service: ServiceId = call.key.service;
    let mint = Mint {
        role: Some("agent".to_owned()),
        room: Some(room.clone()),
        api: Some(call.api),
        service: Some(service),
        ..Mint::new(service.project(), &call.identity)
    };
    let token = parts.app.mint(mint).await?;
    let room_url = format!("{}/rooms/{room}", parts.app.settings.public_url.replacen("http", "ws", 1));
    let data = json!({"room_name": room, "room_url": room_url, "token": token});
    let event = json!({"event": "room.call", "data": data}).to_string();
    let asked = match parts.runtime.reach(&call.key, call.port).await {
        Some(at) => http::ask(at, &call.path, Some(&event)).await,
        None => Err(format!("port {} cannot be reached from this host", call.port)),
    };
    asked.map_err(|why| Error::Call { identity: call.identity.clone(), path: call.path.clone(), why })?;
    tracing::info!(room, identity = call.identity, path = call.path, "a service was called into its room");
    probes.set_called(&call.key, call.place);
    Ok(())
}

fn room_name(world: &World, call: &Call) -> Option<String> {
    world.room(call.key.room).map(|room| room.name.to_string())
}
