//! The listener of routes, where the operator asked for one.

use super::stores::Stores;
use crate::api::Api;
use crate::control::ControlHandle;
use crate::control::service::reach::PortPlace;
use crate::id::{RoomId, ServiceId};
use crate::proxy::{Edge, Listening, Parts, Ports, ProxyError, Reached};
use crate::vault::Secret;
use async_trait::async_trait;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// What the operator chose about routes.
#[derive(Debug, Clone, Default)]
pub struct ProxyOptions {
    /// Where requests for routes are taken; nowhere without it.
    pub listen: Option<SocketAddr>,
    /// A server that speaks TLS stands in front, and says for whom.
    pub https: bool,
    /// Routes are for names below this one only.
    pub domain: Option<String>,
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

    async fn is_own(&self, room: RoomId, service: ServiceId, at: SocketAddr) -> bool {
        self.0.services().is_own(room, service, at).await
    }
}

/// What runs.
#[derive(Debug)]
pub(super) struct Routes {
    pub address: Option<SocketAddr>,
    pub task: Option<JoinHandle<()>>,
    /// What other servers are answered.
    pub between: axum::Router,
}

/// Makes the edge, on what the REST edge works with, and has it listen where that is wanted.
pub(super) async fn start(
    options: &ProxyOptions,
    api: &Api,
    (stores, secret): (&Stores, &Secret),
    control: &Arc<ControlHandle>,
    stop: &CancellationToken,
) -> Result<Routes, ProxyError> {
    let edge = Edge::new(Parts {
        app: Arc::clone(&api.app),
        host: Arc::clone(&api.host),
        files: api.files.clone(),
        queues: Arc::clone(&stores.queues),
        outward: Arc::clone(&api.outward),
        ports: Arc::new(Running(Arc::clone(control))),
        secret: secret.clone(),
        https: options.https,
        stop: stop.clone(),
    });
    let mut routes = Routes { address: None, task: None, between: edge.router() };
    if let Some(addr) = options.listen {
        let Listening { address, task } = edge.listen(addr).await?;
        (routes.address, routes.task) = (Some(address), Some(task));
    }
    Ok(routes)
}
