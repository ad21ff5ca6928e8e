//! The room edge with all its toolkits: what a new Room API adds to is [`toolkits`].

use super::agents::ServedAgents;
use super::containers::volume;
use super::doors::Doors;
use super::gate::TokenGate;
use super::livekit::LiveKitCalls;
use super::options::Options;
use super::room_secrets::{TokenEndpoints, VaultRecords};
use super::stores::Stores;
use crate::app::App;
use crate::blob::Blobs;
use crate::containers::Containers as Engines;
use crate::control::ControlHandle;
use crate::dataset::DatasetStore;
use crate::document::Documents;
use crate::room::agents::{self, AgentEdge};
use crate::room::toolkit::Toolkit;
use crate::room::toolkits::containers::{ContainerParts, Containers};
use crate::room::toolkits::{
    dataset, developer, livekit, memory, messaging, mounts, queues, secrets, services, sqlite, storage, sync,
};
use crate::room::tunnel::{self, TunnelEdge};
use crate::room::world::{Callouts, Calls, FileLinks, Services};
use crate::room::{Bus, BusParts, Hub, RoomEdge, router};
use std::sync::Arc;

/// Folder of the data directory where files are put by while they are imported.
const IMPORTS_FOLDER: &str = "imports";

/// What the edge is made of.
pub(super) struct RoomParts<'a> {
    pub app: &'a Arc<App>,
    pub hub: &'a Arc<Hub>,
    pub stores: &'a Arc<Stores>,
    pub files: &'a Blobs,
    pub documents: &'a Arc<Documents>,
    pub doors: &'a Arc<Doors>,
    pub options: &'a Options,
    pub engines: &'a Arc<Engines>,
    pub control: &'a Arc<ControlHandle>,
}

/// The endpoints, and the toolkit that cleans up after sessions.
pub(super) struct Made {
    pub router: axum::Router,
    pub containers: Arc<Containers>,
}

pub(super) fn make(parts: RoomParts<'_>) -> Made {
    let containers = Arc::new(containers(&parts));
    let bus = Arc::new(Bus::new(BusParts {
        hub: Arc::clone(parts.hub),
        toolkits: toolkits(&parts, &containers),
        callouts: Some(parts.doors.clone() as Arc<dyn Callouts>),
        clock: Arc::clone(&parts.app.clock),
        ids: Arc::clone(&parts.app.ids),
    }));
    let _ = parts.doors.bus.set(Arc::clone(&bus));
    let gate = Arc::new(TokenGate { app: Arc::clone(parts.app), limits: parts.options.room_limits });
    let tunnels =
        TunnelEdge { hub: Arc::clone(parts.hub), gate: gate.clone(), containers: Arc::clone(&containers) };
    let served = ServedAgents {
        app: Arc::clone(parts.app),
        limits: parts.options.room_limits,
        control: Arc::clone(parts.control),
    };
    let conversations = AgentEdge { hub: Arc::clone(parts.hub), agents: Arc::new(served) };
    let router =
        router(RoomEdge { bus, gate }).merge(tunnel::router(tunnels)).merge(agents::router(conversations));
    Made { router, containers }
}

/// All toolkits of the server, one line each.
fn toolkits(parts: &RoomParts<'_>, containers: &Arc<Containers>) -> Vec<Arc<dyn Toolkit>> {
    vec![
        Arc::new(queues::Queues::new(Arc::clone(&parts.stores.queues))),
        Arc::new(messaging::Messaging::default()),
        Arc::new(storage::Storage::new(parts.files.clone(), Some(parts.doors.clone() as Arc<dyn FileLinks>))),
        Arc::new(services::Services::new(parts.doors.clone() as Arc<dyn Services>)),
        Arc::new(developer::Developer::default()),
        Arc::new(dataset::Dataset::new(
            parts.stores.datasets.clone() as Arc<dyn DatasetStore>,
            parts.files.clone(),
            Arc::clone(&parts.app.ids),
            parts.options.data_dir.join(IMPORTS_FOLDER),
        )),
        Arc::new(sqlite::Sqlite::new(Arc::clone(&parts.stores.databases), Arc::clone(&parts.app.ids))),
        Arc::new(livekit::LiveKit::new(calls(parts))),
        Arc::new(mounts::Mounts::default()),
        containers.clone(),
        Arc::new(memory::Memory::new(
            Arc::clone(&parts.stores.memories),
            parts.files.clone(),
            Arc::clone(&parts.stores.datasets) as Arc<dyn DatasetStore>,
        )),
        Arc::new(secrets::Secrets::new(
            Arc::new(VaultRecords { app: Arc::clone(parts.app) }),
            Arc::new(TokenEndpoints { allowed_hosts: parts.doors.allowed_hosts().clone() }),
            Arc::clone(&parts.app.ids),
        )),
        Arc::new(sync::Sync::new(Arc::clone(parts.documents))),
    ]
}

fn containers(parts: &RoomParts<'_>) -> Containers {
    Containers::new(ContainerParts {
        engines: Arc::clone(parts.engines),
        files: parts.files.clone(),
        volume: volume(parts.options),
        doors: parts.doors.clone(),
        ids: Arc::clone(&parts.app.ids),
    })
}

fn calls(parts: &RoomParts<'_>) -> Option<Arc<dyn Calls>> {
    let server = parts.options.livekit.clone()?;
    Some(Arc::new(LiveKitCalls { server, clock: Arc::clone(&parts.app.clock) }))
}
