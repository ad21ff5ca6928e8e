//! Where a port of a running service answers, for who asks from outside its room.

use super::Services;
use crate::id::{RoomId, ServiceId};
use crate::runtime::{InstanceKey, Observed, RunState};
use std::net::SocketAddr;

/// A port of a service on this server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortPlace {
    At(SocketAddr),
    /// It is about to be there; the text says what is missing.
    NotYet(String),
    /// The service does not run by itself.
    Never(&'static str),
}

impl Services {
    /// Where the port at `index` of a service's ports answers.
    pub async fn port(&self, room: RoomId, service: ServiceId, index: usize) -> PortPlace {
        let parts = &self.execute.parts;
        let world = parts.app.world();
        let Some(state) = world.service(service) else { return PortPlace::Never("the service is gone") };
        let Some(port) = state.spec.ports().get(index) else {
            return PortPlace::Never("the service has no such port");
        };
        if !state.spec.enabled {
            return PortPlace::Never("the service is switched off");
        }
        let container = state.spec.container.as_ref();
        if !container.is_some_and(|container| container.on_demand != Some(true)) {
            return PortPlace::Never("the service does not run by itself, so nothing answers at its ports");
        }
        let key = InstanceKey { room, service, container: 0 };
        match parts.runtime.observe_one(&key).await {
            Ok(Observed::Present { state: RunState::Running, .. }) => {}
            Ok(_) => return PortPlace::NotYet("it does not run".to_owned()),
            Err(error) => return PortPlace::NotYet(error.to_string()),
        }
        let Some(number) = self.probes().number(&key, port.num) else {
            return PortPlace::NotYet("its port is not chosen yet".to_owned());
        };
        if port.liveness.is_some() {
            match self.probes().seen(&key, index) {
                Some(seen) if seen.ready => {}
                Some(seen) => {
                    return PortPlace::NotYet(seen.error.unwrap_or_else(|| "it is not ready".to_owned()));
                }
                None => return PortPlace::NotYet("it was not looked at yet".to_owned()),
            }
        }
        match parts.runtime.reach(&key, number).await {
            Some(at) => PortPlace::At(at),
            None => PortPlace::Never("the service's port cannot be reached, or is somebody else's"),
        }
    }

    /// Whether the service, and nobody else, listens at a place that [`Services::port`] told.
    pub async fn is_own(&self, room: RoomId, service: ServiceId, at: SocketAddr) -> bool {
        let key = InstanceKey { room, service, container: 0 };
        self.execute.parts.runtime.is_own(&key, at.port()).await
    }
}
