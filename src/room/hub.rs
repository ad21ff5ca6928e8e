//! The live sessions of this server, by room.

use super::lock;
use super::outbox::{CLOSE_NORMAL, End};
use super::session::{LiveSession, Peer, Present, SessionError};
use super::spans::Spans;
use super::toolkits::developer::LogBook;
use super::world::{
    Admission, EndReason, Host, LineSink, OpenedSession, Presence, Refusal, RoomRef, SessionKeeper, SpanSink,
};
use crate::clock::{Clock, IdSource};
use crate::id::{RoomId, SessionId};
use crate::share::Turns;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use tokio::sync::OnceCell;

/// How often a join looks for a new session after the one it found has just ended.
const JOIN_TRIES_MAX: usize = 3;

/// Why nobody could join.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Another server hosts the session.
    #[error("the session is hosted at {url}")]
    Elsewhere { url: String },
    #[error(transparent)]
    Session(#[from] SessionError),
}

type Slot = Arc<OnceCell<Arc<LiveSession>>>;

/// All live sessions.
pub struct Hub {
    keeper: Arc<dyn SessionKeeper>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
    slots: Mutex<HashMap<RoomId, Slot>>,
    turns: Turns<RoomId>,
    stopping: AtomicBool,
    lines: OnceLock<Arc<dyn LineSink>>,
    spans: OnceLock<Arc<dyn SpanSink>>,
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").field("sessions", &lock(&self.slots).len()).finish_non_exhaustive()
    }
}

/// Something that a session does, over when dropped.
pub struct AtWork(Arc<LiveSession>);

impl std::fmt::Debug for AtWork {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AtWork")
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.work_done();
    }
}

impl Hub {
    pub fn new(keeper: Arc<dyn SessionKeeper>, clock: Arc<dyn Clock>, ids: Arc<dyn IdSource>) -> Self {
        Self {
            keeper,
            clock,
            ids,
            slots: Mutex::default(),
            turns: Turns::default(),
            stopping: AtomicBool::new(false),
            lines: OnceLock::new(),
            spans: OnceLock::new(),
        }
    }

    /// Has the log lines of sessions opened from now on kept. Only the first call counts.
    pub fn keep_lines(&self, sink: Arc<dyn LineSink>) {
        let _ = self.lines.set(sink);
    }

    /// Has the tool calls of sessions opened from now on kept. Only the first call counts.
    pub fn keep_spans(&self, sink: Arc<dyn SpanSink>) {
        let _ = self.spans.set(sink);
    }

    fn new_session(&self, room: &RoomRef, opened: OpenedSession) -> LiveSession {
        let mut session = LiveSession::new(room.clone(), opened, Arc::clone(&self.clock));
        if let Some(sink) = self.lines.get() {
            session.logs = LogBook::new(Arc::clone(&self.clock)).kept_by(opened.id, Arc::clone(sink));
        }
        let sink = self.spans.get().map(|sink| (opened.id, Arc::clone(sink)));
        session.spans = Spans::new(sink, Arc::clone(&self.clock), Arc::clone(&self.ids));
        session
    }

    /// The room's live session on this server, opened if there is none.
    pub async fn ensure(&self, room: &RoomRef) -> Result<Arc<LiveSession>, JoinError> {
        if self.stopping.load(Ordering::Acquire) {
            return Err(Refusal::NotReady("the server is stopping; connect again in a moment".into()).into());
        }
        let slot = Arc::clone(lock(&self.slots).entry(room.id).or_default());
        let opened = slot
            .get_or_try_init(|| async {
                let Some(_turn) = self.turns.take(room.id).await else {
                    let text = format!(
                        "room `{}` still ends its last session; connect again in a moment",
                        room.name
                    );
                    return Err(Refusal::NotReady(text).into());
                };
                match self.keeper.open(room).await? {
                    Host::Here(opened) => Ok(Arc::new(self.new_session(room, opened))),
                    Host::Elsewhere { url } => Err(JoinError::Elsewhere { url }),
                }
            })
            .await;
        match opened {
            Ok(session) => Ok(Arc::clone(session)),
            Err(error) => {
                self.forget(room.id, &slot);
                Err(error)
            }
        }
    }

    /// Lets a participant in; sends nothing yet.
    pub async fn join(&self, admission: &Admission) -> Result<(Arc<LiveSession>, Arc<Peer>), JoinError> {
        let mut tries = 0;
        loop {
            let session = self.ensure(&admission.room).await?;
            let id = self.ids.fresh().to_string();
            match session.join(id, admission) {
                Ok(peer) => {
                    self.keeper.touched(session.room.id, session.opened.id, &peer.name, Presence::Joined);
                    return Ok((session, peer));
                }
                Err(SessionError::Ended(_)) if tries < JOIN_TRIES_MAX => {
                    self.drop_slot(session.room.id, &session);
                    tries += 1;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Lets a participant into this session, if it is live here; opens none.
    pub fn join_live(
        &self,
        admission: &Admission,
        session: SessionId,
    ) -> Result<(Arc<LiveSession>, Arc<Peer>), JoinError> {
        let live = self.live(admission.room.id).filter(|live| live.opened.id == session);
        let live = live.ok_or_else(|| SessionError::Ended(admission.room.name.clone()))?;
        let peer = live.join(self.ids.fresh().to_string(), admission)?;
        self.keeper.touched(live.room.id, session, &peer.name, Presence::Joined);
        Ok((live, peer))
    }

    /// Takes a participant out after its connection ended.
    pub fn leave(&self, session: &LiveSession, peer: &Peer) {
        session.leave(&peer.id);
        self.keeper.touched(session.room.id, session.opened.id, &peer.name, Presence::Left);
    }

    /// The live session of a room, if this server has one.
    #[must_use]
    pub fn live(&self, room: RoomId) -> Option<Arc<LiveSession>> {
        let slot = Arc::clone(lock(&self.slots).get(&room)?);
        slot.get().filter(|s| !s.has_ended()).map(Arc::clone)
    }

    /// All live sessions, as (room, session).
    #[must_use]
    pub fn sessions(&self) -> Vec<(RoomId, SessionId)> {
        let slots = lock(&self.slots);
        slots.iter().filter_map(|(room, slot)| Some((*room, slot.get()?.opened.id))).collect()
    }

    /// Ends a session for good: closes its sockets with code 1000, which the clients do not come back from.
    /// False when that session is not live here.
    pub async fn end(&self, room: RoomId, session: SessionId, reason: EndReason) -> bool {
        let find = || self.live(room).filter(|live| live.opened.id == session);
        if find().is_none() {
            return false;
        }
        // From here to the last line no session of the room opens. Only another end of the same session could make
        // this wait, after which there is none to find.
        let _turn = self.turns.take(room).await;
        let Some(live) = find() else { return false };
        if reason == EndReason::LeaseLost {
            live.move_away();
        }
        for peer in live.close() {
            let end = match reason {
                // Dropped without a close frame, the clients find the new host by connecting again.
                EndReason::LeaseLost => End::Drop("the session moved to another server"),
                EndReason::Killed => End::Drop("the session was killed"),
                EndReason::Idle | EndReason::Stopped => {
                    End::Close { code: CLOSE_NORMAL, reason: reason.text().into() }
                }
            };
            peer.outbox.end(end);
        }
        self.drop_slot(room, &live);
        self.keeper.ended(room, session, reason).await;
        true
    }

    #[must_use]
    pub fn roster(&self, room: RoomId) -> Vec<Present> {
        self.live(room).map(|session| session.roster()).unwrap_or_default()
    }

    /// Since when the room's session has had nothing to do: no participants but those that the room's services
    /// started, and no calls being worked on. `None` when it is busy or not live.
    #[must_use]
    pub fn idle_since(&self, room: RoomId) -> Option<DateTime<Utc>> {
        self.live(room)?.idle_since()
    }

    /// Makes the room's session busy for as long as the answer is held. `None` when it is not live.
    pub fn busy(&self, room: RoomId) -> Option<AtWork> {
        let session = self.live(room)?;
        session.work_begun();
        Some(AtWork(session))
    }

    /// Adds a line to the room's developer log; without a live session there is nobody to read it.
    pub fn log_line(&self, room: RoomId, kind: &str, data: Map<String, Value>) {
        if let Some(session) = self.live(room) {
            session.logs.add(kind, data);
        }
    }

    /// Tells those in the room about a file changed from outside the socket. `kind` as in [`super::toolkits::storage`].
    pub fn file_event(&self, room: RoomId, event: &super::toolkits::storage::FileEvent) {
        if let Some(session) = self.live(room) {
            event.send(&session);
        }
    }

    /// True once [`Hub::stop_all`] was called.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// What the room's live session uses of its limits: `participants` and `cut_off` so far. `None` when it is not live.
    #[must_use]
    pub fn usage(&self, room: RoomId) -> Option<(usize, u64)> {
        self.live(room).map(|session| (session.roster().len(), session.cut_offs()))
    }

    /// Drops every connection without a close frame, so that all clients come back; lets nobody in any more.
    pub fn stop_all(&self) {
        self.stopping.store(true, Ordering::Release);
        let slots: Vec<Slot> = lock(&self.slots).values().map(Arc::clone).collect();
        for session in slots.iter().filter_map(|slot| slot.get()) {
            for peer in session.close() {
                peer.outbox.end(End::Drop("the server stops"));
            }
        }
    }

    fn drop_slot(&self, room: RoomId, session: &Arc<LiveSession>) {
        let mut slots = lock(&self.slots);
        let same =
            slots.get(&room).and_then(|slot| slot.get()).is_some_and(|live| Arc::ptr_eq(live, session));
        if same {
            slots.remove(&room);
        }
    }

    fn forget(&self, room: RoomId, slot: &Slot) {
        let mut slots = lock(&self.slots);
        let same = slots.get(&room).is_some_and(|s| Arc::ptr_eq(s, slot));
        if same && slot.get().is_none() {
            slots.remove(&room);
        }
    }
}
