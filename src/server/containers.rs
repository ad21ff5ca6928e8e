//! Containers of rooms: what the engine is told of this server, what containers need from it, and what is cleaned up
//! after sessions.

use super::doors::Doors;
use super::options::Options;
use super::start::{StartError, data_dir_error};
use crate::app::App;
use crate::containers::{Containers as Engines, Settings};
use crate::control::service::environment;
use crate::control::service::invoke::InvokeError;
use crate::eventlog::{EventLog, Filter, KindFilter, Tail};
use crate::id::{Position, ProjectId, RoomId, SessionId};
use crate::room::toolkits::containers::Containers;
use crate::room::world::{ContainerDoors, RoomRef, ServiceError};
use crate::spec::ApiScope;
use crate::spec::PortNumber;
use crate::vault::Secret;
use crate::volume::Volume;
use async_trait::async_trait;
use std::sync::Arc;
use uuid::Uuid;

const SESSION_ENDED: &str = "session.ended";
const ROOM_DELETED: &str = "room.deleted";

/// The engine as the operator chose it.
pub(super) fn engines(options: &Options, app: &App) -> Result<Arc<Engines>, StartError> {
    let data_dir = options.data_dir.canonicalize();
    let data_dir = data_dir.map_err(|source| data_dir_error(&options.data_dir, source))?;
    Ok(Arc::new(Engines::new(Settings {
        server: app.settings.server_name.clone(),
        folder: data_dir.join("containers"),
        ..options.containers.clone()
    })))
}

/// Folders of rooms, where room files are on a disk of this host.
pub(super) fn volume(options: &Options) -> Option<Volume> {
    options.storage_url.is_none().then(|| Volume::new(options.shared_dir()))
}

/// Removes what an earlier run left, then what sessions and rooms leave behind when they end. Doing it twice does no
/// harm.
pub(super) async fn follow(
    containers: Arc<Containers>,
    app: Arc<App>,
    log: Arc<dyn EventLog>,
    head: Position,
) {
    if let Err(error) = containers.sweep().await {
        tracing::warn!(%error, "containers that a former server left behind remain");
    }
    let kinds = [SESSION_ENDED, ROOM_DELETED].map(|kind| KindFilter::Exact(kind.to_owned()));
    let mut tail = Tail::new(log, head, Filter { kinds: kinds.to_vec(), ..Filter::all() });
    loop {
        let events = match tail.next().await {
            Ok(events) => events,
            Err(error) => {
                tracing::warn!(%error, "the containers of sessions that end remain until the next start");
                return;
            }
        };
        for event in &events {
            let project: Option<ProjectId> = event.metadata.project;
            let Some((project, uuid)) = project.zip(Uuid::parse_str(event.stream.key()).ok()) else {
                continue;
            };
            let done = if event.kind == ROOM_DELETED {
                containers.delete_room(RoomId::new(project, uuid)).await
            } else {
                let session = SessionId::new(project, uuid);
                let room = app.world().session(session).map(|session| session.room);
                match room {
                    Some(room) => containers.end_session(session, room).await,
                    None => Ok(()),
                }
            };
            if let Err(error) = done {
                tracing::warn!(%error, stream = event.stream.as_str(), "the containers of what ended remain");
            }
        }
    }
}

#[async_trait]
impl ContainerDoors for Doors {
    async fn agent_environment(
        &self,
        room: &RoomRef,
        session: SessionId,
        name: &str,
        api: &ApiScope,
    ) -> Result<Vec<(String, Secret)>, String> {
        let control = self.control.get().ok_or("the server is starting; try again")?;
        control.services().agent_environment(&room.name, session, name, api).await
    }

    async fn run_service(
        &self,
        room: &RoomRef,
        service_id: &str,
        env: Vec<(String, String)>,
    ) -> Result<String, ServiceError> {
        let id =
            self.find(room.id, service_id).ok_or_else(|| ServiceError::NotFound(service_id.to_owned()))?;
        let starting = || ServiceError::Failed("the server is starting; try again".to_owned());
        let control = self.control.get().ok_or_else(starting)?;
        let session = self.app.world().active_session(room.id).map(|(id, _)| id);
        let session = session.ok_or_else(starting)?;
        control.services().invoke(room.id, id, session, env).await.map_err(|error| match error {
            InvokeError::NotFound(_) => ServiceError::NotFound(service_id.to_owned()),
            InvokeError::Refused(text) => ServiceError::Failed(text),
        })
    }

    fn configuration(&self, room: &RoomRef) -> Vec<(&'static str, String)> {
        environment::configuration(&self.app.world(), room.id.project(), None)
    }

    fn is_process_port(&self, room: RoomId, id: &str, port: u16) -> bool {
        let world = self.app.world();
        let Some((session, _)) = world.active_session(room) else { return false };
        let of_session = world.instances(room.project()).filter(|seen| seen.key.session == session);
        let found = of_session.into_iter().find(|seen| {
            seen.handle.as_deref() == Some(id) && seen.runtime.as_deref() == Some(PROCESS_RUNTIME)
        });
        let Some(service) = found.and_then(|seen| world.service(seen.key.service)) else { return false };
        let declared = |port: &crate::spec::Port| port.num;
        service.spec.ports().iter().map(declared).any(|number| number == PortNumber::Fixed(port))
    }
}

/// Name of the runtime whose ports are this host's own.
const PROCESS_RUNTIME: &str = "process";
