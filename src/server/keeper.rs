//! Sessions as facts: the lease that makes this server a room's only host, and the events that tell of it.

use crate::app::host::lease_name;
use crate::app::servers::Servers;
use crate::app::{Actor, App};
use crate::domain::session::Reason;
use crate::id::{RoomId, SessionId};
use crate::lease::{Lease, LeaseError, LeaseStore};
use crate::room::Hub;
use crate::room::world::{EndReason, Host, OpenedSession, Presence, Refusal, RoomRef, SessionKeeper};
use async_trait::async_trait;
use futures_util::future::BoxFuture;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

/// Renewals per lifetime of a lease.
const RENEWALS_PER_TTL: u32 = 3;

/// The keeper of this server.
pub(super) struct LeasedSessions {
    app: Arc<App>,
    leases: Arc<dyn LeaseStore>,
    /// A day where this server is alone on its store, seconds where it is not.
    ttl: Duration,
    servers: Arc<Servers>,
    held: Mutex<HashMap<RoomId, (SessionId, Lease)>>,
    hub: OnceLock<Weak<Hub>>,
    /// Makes the controllers look again.
    wake: OnceLock<Box<dyn Fn() + Send + Sync>>,
    /// Let go of what they hold open for a room.
    closers: Mutex<Vec<Closer>>,
}

type Closer = Box<dyn Fn(RoomId) -> BoxFuture<'static, ()> + Send + Sync>;

impl std::fmt::Debug for LeasedSessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LeasedSessions").field("ttl", &self.ttl).finish_non_exhaustive()
    }
}

impl LeasedSessions {
    pub fn new(app: Arc<App>, leases: Arc<dyn LeaseStore>, ttl: Duration, servers: Arc<Servers>) -> Self {
        Self {
            app,
            leases,
            ttl,
            servers,
            held: Mutex::default(),
            hub: OnceLock::new(),
            wake: OnceLock::new(),
            closers: Mutex::default(),
        }
    }

    /// Tells whose sessions are to end when a lease is lost.
    pub fn attach(&self, hub: &Arc<Hub>) {
        let _ = self.hub.set(Arc::downgrade(hub));
    }

    /// Tells whom to wake when participants come and go.
    pub fn wakes(&self, wake: impl Fn() + Send + Sync + 'static) {
        let _ = self.wake.set(Box::new(wake));
    }

    /// Tells who is to let go of a room when its session ended here.
    pub fn closes(&self, closer: impl Fn(RoomId) -> BoxFuture<'static, ()> + Send + Sync + 'static) {
        self.closers.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(closer));
    }

    fn held(&self) -> std::sync::MutexGuard<'_, HashMap<RoomId, (SessionId, Lease)>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lease of a session, which it has no more after this; not that of one that followed it.
    fn take(&self, room: RoomId, session: SessionId) -> Option<Lease> {
        let mut held = self.held();
        if held.get(&room).is_none_or(|(of, _)| *of != session) {
            return None;
        }
        held.remove(&room).map(|(_, lease)| lease)
    }

    fn actor() -> Actor {
        Actor::controller("session")
    }

    async fn acquire(&self, room: &RoomRef) -> Result<Lease, LeaseError> {
        let settings = &self.app.settings;
        self.leases.acquire(&lease_name(room.id), &settings.server_name, &settings.server_url, self.ttl).await
    }

    /// Who hosts a room, or is to, instead of this server. A room that nobody hosts is opened and given away at once:
    /// the others open those that lost their server.
    async fn give_away(&self, room: &RoomRef) -> Result<String, Refusal> {
        let not_ready = |error: crate::app::Error| Refusal::NotReady(error.to_string());
        let other = self.servers.other(room.id.uuid().as_u128()).await.map_err(not_ready)?;
        let other = other.ok_or_else(|| {
            let text = "this server gives its rooms away, and there is no other to take them; try again";
            Refusal::NotReady(text.to_owned())
        })?;
        let lease = match self.acquire(room).await {
            Ok(lease) => lease,
            Err(LeaseError::Held(host)) => return Ok(host.url),
            Err(error) => return Err(not_ready(error.into())),
        };
        if !self.is_lost(room.id) {
            let session = self.record(room, &lease).await.map_err(not_ready)?;
            let ended = self.app.end_session(&Self::actor(), session, Reason::HostGone).await;
            ended.map_err(not_ready)?;
        }
        self.leases.release(&lease).await.map_err(|error| not_ready(error.into()))?;
        Ok(other.url)
    }

    /// Whether the others know already that a room wants a server.
    fn is_lost(&self, room: RoomId) -> bool {
        let world = self.app.world();
        let of_room = world.sessions(room.project()).filter(|(_, session)| session.room == room);
        let newest = of_room.max_by_key(|(_, session)| session.started_at);
        newest.is_some_and(|(_, s)| s.ended.is_some_and(|(_, reason)| reason == Reason::HostGone))
    }

    async fn record(&self, room: &RoomRef, lease: &Lease) -> Result<SessionId, crate::app::Error> {
        // Whoever ran the room before is gone, or the lease would not be ours.
        let stale: Vec<SessionId> = {
            let world = self.app.world();
            let of_room = world.sessions(room.id.project());
            of_room.filter(|(_, s)| s.room == room.id && s.is_active()).map(|(id, _)| id).collect()
        };
        for session in stale {
            self.app.end_session(&Self::actor(), session, Reason::HostGone).await?;
        }
        self.app.start_session(&Self::actor(), room.id, lease.epoch).await
    }

    /// Keeps the leases of all live sessions. Run once, as a task of the server.
    pub async fn renew(self: Arc<Self>) {
        loop {
            tokio::time::sleep(self.ttl / RENEWALS_PER_TTL).await;
            let held: Vec<(RoomId, SessionId, Lease)> =
                self.held().iter().map(|(room, (session, lease))| (*room, *session, lease.clone())).collect();
            for (room, session, lease) in held {
                match self.leases.renew(&lease, self.ttl).await {
                    Ok(renewed) => {
                        if let Some((_, kept)) = self.held().get_mut(&room).filter(|(s, _)| *s == session) {
                            *kept = renewed;
                        }
                    }
                    Err(LeaseError::Lost { .. } | LeaseError::Held(_)) => self.lost(room, session).await,
                    Err(error) => tracing::warn!(%error, "a session's lease could not be renewed"),
                }
            }
        }
    }

    async fn lost(&self, room: RoomId, session: SessionId) {
        tracing::warn!(%room, %session, "another server took this room over");
        self.take(room, session);
        if let Some(hub) = self.hub.get().and_then(Weak::upgrade) {
            hub.end(room, session, EndReason::LeaseLost).await;
        }
    }
}

#[async_trait]
impl SessionKeeper for LeasedSessions {
    async fn open(&self, room: &RoomRef) -> Result<Host, Refusal> {
        let elsewhere = |url: &str| {
            Ok(Host::Elsewhere { url: format!("{}/rooms/{}", url.replacen("http", "ws", 1), room.name) })
        };
        if self.servers.is_draining() {
            return elsewhere(&self.give_away(room).await?);
        }
        let lease = match self.acquire(room).await {
            Ok(lease) => lease,
            Err(LeaseError::Held(other)) => return elsewhere(&other.url),
            Err(error) => return Err(Refusal::NotReady(error.to_string())),
        };
        let epoch = lease.epoch;
        let id = self
            .record(room, &lease)
            .await
            .map_err(|error| Refusal::NotReady(format!("the session cannot be recorded: {error}")))?;
        self.held().insert(room.id, (id, lease));
        Ok(Host::Here(OpenedSession { id, epoch }))
    }

    fn touched(&self, room: RoomId, _session: SessionId, participant: &str, presence: Presence) {
        tracing::info!(%room, participant, ?presence, "participant");
        if let Some(wake) = self.wake.get() {
            wake();
        }
    }

    async fn ended(&self, room: RoomId, session: SessionId, reason: EndReason) {
        let lease = self.take(room, session);
        let closing: Vec<BoxFuture<'static, ()>> = {
            let closers = self.closers.lock().unwrap_or_else(PoisonError::into_inner);
            closers.iter().map(|closer| closer(room)).collect()
        };
        futures_util::future::join_all(closing).await;
        let reason = match reason {
            EndReason::Idle => Reason::Idle,
            EndReason::Stopped => Reason::Terminated,
            EndReason::Killed => Reason::Killed,
            EndReason::LeaseLost => Reason::HostGone,
        };
        if let Err(error) = self.app.end_session(&Self::actor(), session, reason).await {
            tracing::error!(%error, %session, "the end of a session could not be recorded");
        }
        if let Some(lease) = lease
            && let Err(error) = self.leases.release(&lease).await
        {
            tracing::warn!(%error, "a session's lease could not be given back; it runs out by itself");
        }
    }
}
