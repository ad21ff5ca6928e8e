//! The listener of routes, where the operator asked for one.

use crate::app::App;
use crate::app::host::RoomHost;
use crate::app::outward::Outward;
use crate::blob::Blobs;
use crate::control::ControlHandle;
use crate::control::service::reach::PortPlace;
use crate::id::{RoomId, ServiceId};
use crate::proxy::{self, Listening, Parts, Ports, ProxyError, Reached};
use crate::queue::QueueStore;
use async_trait::async_trait;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// What the operator chose about routes.
#[derive(Debug, Clone, Default)]
pub struct ProxyOptions {
    /// Where requests for routes are taken; nowhere without it.
    pub listen: Option<SocketAddr>,
    /// A server that speaks TLS stands in front, and says for whom.
    pub https: bool,
}

/// What the listener works with.
pub(super) struct Made<'a> {
    pub app: &'a Arc<App>,
    pub host: &'a Arc<dyn RoomHost>,
    pub files: &'a Blobs,
    pub queues: &'a Arc<dyn QueueStore>,
    pub outward: &'a Arc<Outward>,
    pub control: &'a Arc<ControlHandle>,
    pub stop: &'a CancellationToken,
}

/// The ports of services that the controllers run here.
struct Running(Arc<ControlHandle>);

#[async_trait]
impl Ports for Running {
    async fn at(&self, room: RoomId, service: ServiceId, index: usize) -> Reached {
        match self.0.services().port(room, service, index).await {
            PortPlace::At(at) => Reached::At(at),
            PortPlace::NotYet(why) => Reached::NotYet(why),
            PortPlace::Never(why) => Reached::Never(why.to_owned()),
        }
    }
}

/// Starts it, where it is wanted.
pub(super) async fn start(options: &ProxyOptions, made: Made<'_>) -> Result<Option<Listening>, ProxyError> {
    let Some(addr) = options.listen else { return Ok(None) };
    let parts = Parts {
        app: Arc::clone(made.app),
        host: Arc::clone(made.host),
        files: made.files.clone(),
        queues: Arc::clone(made.queues),
        outward: Arc::clone(made.outward),
        ports: Arc::new(Running(Arc::clone(made.control))),
        https: options.https,
        stop: made.stop.clone(),
    };
    proxy::listen(addr, parts).await.map(Some)
}
