//! The edge that serves routes: a request's `Host` says which route, its path which part of it: files of a room, a port
//! of a service in the room, or a queue. Who may ask, and what passes, is decided before anything answers.
//!
//! Listens for itself, apart from the REST edge, so that what tenants serve never shares an address with the API.
//! It reads the world and asks the application; it makes no facts, runs no rooms, and knows no other edge.

mod access;
mod compress;
mod content;
mod cors;
mod forward;
mod headers;
mod listener;
mod page;
mod passage;
mod path;
mod places;
mod port;
mod queue;
mod reader;
mod serve;
mod sign_in;
mod signature;
mod site;
mod target;

pub use access::COOKIE;
pub use listener::{Listening, ProxyError};
pub use port::WHOLE_BYTES_MAX;

use crate::app::App;
use crate::app::host::RoomHost;
use crate::app::outward::Outward;
use crate::app::wake::Wake;
use crate::blob::Blobs;
use crate::id::{RoomId, ServiceId};
use crate::queue::QueueStore;
use crate::share::Turns;
use crate::vault::Secret;
use async_trait::async_trait;
use axum::Router;
use passage::Passages;
use places::Places;
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// Where a port of a service answers just now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reached {
    At(SocketAddr),
    /// It is about to; the text is for the log.
    NotYet(String),
    /// Not without somebody changing something; the text is for whoever asked.
    Never(String),
}

/// Finds the ports of services that run on this server.
#[async_trait]
pub trait Ports: Send + Sync + 'static {
    /// `index`: the port's place among those of the service.
    async fn at(&self, room: RoomId, service: ServiceId, index: usize) -> Reached;

    /// Whether the service, and nobody else, listens there now: asked when a connection was made, before it is used.
    async fn is_own(&self, room: RoomId, service: ServiceId, at: SocketAddr) -> bool;
}

/// What the edge is made of.
pub struct Parts {
    pub app: Arc<App>,
    pub host: Arc<dyn RoomHost>,
    pub files: Blobs,
    pub queues: Arc<dyn QueueStore>,
    pub outward: Arc<Outward>,
    pub ports: Arc<dyn Ports>,
    /// What all servers on the same database share.
    pub secret: Secret,
    /// A server that speaks TLS stands in front of this one.
    pub https: bool,
    pub stop: CancellationToken,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts").field("https", &self.https).finish_non_exhaustive()
    }
}

/// What every request works with.
struct Shared {
    parts: Parts,
    places: Places,
    /// Those who wait for the port of a service that starts.
    starts: Turns<(ServiceId, usize)>,
    compressions: Arc<Semaphore>,
    passages: Passages,
    wake: Arc<Wake>,
}

impl Shared {
    fn new(parts: Parts) -> Self {
        let (places, starts) = (Places::default(), Turns::default());
        let passages = Passages::new(&parts.secret);
        let compressions = Arc::new(Semaphore::new(compress::AT_ONCE_MAX));
        let wake = Wake::new(Arc::clone(&parts.app), Arc::clone(&parts.host));
        Self { parts, places, starts, compressions, passages, wake }
    }
}

/// The edge, before and while it listens.
#[derive(Clone)]
pub struct Edge(Arc<Shared>);

impl std::fmt::Debug for Edge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Edge").field(&self.0.parts).finish()
    }
}

impl Edge {
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(Shared::new(parts)))
    }

    /// Starts to listen for requests for routes.
    pub async fn listen(&self, addr: SocketAddr) -> Result<Listening, ProxyError> {
        listener::listen(addr, Arc::clone(&self.0)).await
    }

    /// What other servers are answered, to be served where they reach this one.
    pub fn router(&self) -> Router {
        passage::router(Arc::clone(&self.0))
    }
}

impl Deref for Shared {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.parts
    }
}
