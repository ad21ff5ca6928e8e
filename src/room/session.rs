//! One live session: who is in the room and which toolkits they host. A small state behind a mutex without awaits
//! inside; requests that need none of it (built-in toolkits) never take the lock.

use super::hosted::Hosting;
use super::limits::Budget;
use super::lock;
use super::outbox::{Outbox, SHARED_IDS_FROM, SLOW_READER, Shared};
use super::spans::Spans;
use super::toolkits::developer::LogBook;
use super::world::{Admission, OpenedSession, RoomRef};
use crate::clock::{Clock, System};
use crate::id::ServiceId;
use crate::spec::ApiScope;
use crate::wire::pack;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Most toolkits one participant may host.
pub const REGISTRATIONS_MAX: usize = 256;
/// Most bytes of one participant's attributes, as JSON.
pub const ATTRIBUTES_BYTES_MAX: usize = 256 * 1024;

/// The live half of a participant, shared by whoever sends to it.
#[derive(Debug)]
pub struct Peer {
    /// Fresh for every connection.
    pub id: String,
    pub name: String,
    pub role: String,
    pub api: Arc<ApiScope>,
    pub service: Option<ServiceId>,
    pub outbox: Outbox,
    /// Bytes of its input streams that toolkits have not read.
    pub unread: Arc<Budget>,
    /// Calls that this participant's toolkits are working on, by the id of the message that asked.
    pub hosting: Mutex<Hosting>,
}

/// A toolkit that a participant hosts.
#[derive(Debug, Clone)]
pub struct Registration {
    pub id: String,
    pub name: String,
    pub public: bool,
    /// `title`, `description`, `annotations`, `tools` as `room.list_toolkits` shows them.
    pub listing: Map<String, Value>,
    pub host: Arc<Peer>,
}

#[derive(Debug)]
struct Member {
    peer: Arc<Peer>,
    attributes: Map<String, Value>,
    messaging: bool,
}

#[derive(Debug, Default)]
struct State {
    members: BTreeMap<String, Member>,
    registrations: Vec<Registration>,
    ended: bool,
    /// When it last had something to do; `None` while a participant that counts is here.
    idle_since: Option<DateTime<Utc>>,
}

/// A participant as others see it.
#[derive(Debug, Clone, PartialEq)]
pub struct Present {
    pub id: String,
    pub name: String,
    pub role: String,
    pub service: Option<ServiceId>,
    pub messaging: bool,
    pub attributes: Map<String, Value>,
}

/// Why a join or a change was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    #[error("the session of room `{0}` is over; connect again")]
    Ended(String),
    #[error("room `{room}` is full: it holds {limit} participants; try again when some have left")]
    Full { room: String, limit: usize },
    #[error(
        "attributes of participant `{0}` would be larger than {ATTRIBUTES_BYTES_MAX} bytes; remove some first"
    )]
    AttributesTooLarge(String),
    #[error("participant `{0}` hosts {REGISTRATIONS_MAX} toolkits already; unregister some first")]
    TooManyToolkits(String),
}

/// One run of a room, on this server.
pub struct LiveSession {
    pub room: RoomRef,
    pub opened: OpenedSession,
    pub logs: LogBook,
    pub spans: Spans,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    /// Calls in flight that count as work (not those that only wait for something to happen).
    working: AtomicU64,
    /// Grows with every change of registrations, for those who wait for a toolkit.
    toolkits_changed: watch::Sender<u64>,
    /// Id of the last message that many received.
    last_shared_id: AtomicU64,
    /// Participants cut off because they did not read.
    cut_off: AtomicU64,
    /// Another server runs the room now: what its participants hold is theirs there.
    moved: CancellationToken,
}

impl fmt::Debug for LiveSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveSession")
            .field("room", &self.room)
            .field("opened", &self.opened)
            .finish_non_exhaustive()
    }
}

impl LiveSession {
    #[must_use]
    pub fn new(room: RoomRef, opened: OpenedSession, clock: Arc<dyn Clock>) -> Self {
        let now = clock.now();
        Self {
            room,
            opened,
            logs: LogBook::new(Arc::clone(&clock)),
            spans: Spans::new(None, Arc::clone(&clock), Arc::new(System)),
            clock,
            state: Mutex::new(State { idle_since: Some(now), ..State::default() }),
            working: AtomicU64::new(0),
            toolkits_changed: watch::Sender::new(0),
            last_shared_id: AtomicU64::new(SHARED_IDS_FROM),
            cut_off: AtomicU64::new(0),
            moved: CancellationToken::new(),
        }
    }

    /// Lets a participant in under a fresh id.
    pub fn join(&self, id: String, admission: &Admission) -> Result<Arc<Peer>, SessionError> {
        let mut state = lock(&self.state);
        if state.ended {
            return Err(SessionError::Ended(self.room.name.clone()));
        }
        let limit = self.room.limits.participants;
        if state.members.len() >= limit {
            return Err(SessionError::Full { room: self.room.name.clone(), limit });
        }
        let peer = Arc::new(Peer {
            id: id.clone(),
            name: admission.name.clone(),
            role: admission.role.clone(),
            api: Arc::clone(&admission.api),
            service: admission.service,
            outbox: Outbox::new(&self.room.limits),
            unread: Arc::new(Budget::new(self.room.limits.unread_bytes)),
            hosting: Mutex::default(),
        });
        let mut attributes = Map::new();
        attributes.insert("name".into(), admission.name.clone().into());
        state.members.insert(id, Member { peer: Arc::clone(&peer), attributes, messaging: false });
        if admission.service.is_none() {
            state.idle_since = None;
        }
        Ok(peer)
    }

    /// Whether one more may come.
    pub fn has_room(&self) -> Result<(), SessionError> {
        let (there, limit) = (lock(&self.state).members.len(), self.room.limits.participants);
        if there < limit {
            return Ok(());
        }
        Err(SessionError::Full { room: self.room.name.clone(), limit })
    }

    /// Takes a participant out, with its toolkits, and tells those who knew it by messaging.
    pub fn leave(&self, id: &str) {
        let mut state = lock(&self.state);
        let Some(member) = state.members.remove(id) else { return };
        let hosted = state.registrations.len();
        state.registrations.retain(|r| r.host.id != id);
        if hosted != state.registrations.len() {
            self.toolkits_changed.send_modify(|n| *n += 1);
        }
        if member.messaging {
            state.tell_others(id, &self.about(id, "participant.disabled", &json!({"id": id})));
        }
        if member.peer.service.is_none() && !state.anybody_counts() {
            state.idle_since = Some(self.clock.now());
        }
    }

    #[must_use]
    pub fn roster(&self) -> Vec<Present> {
        let state = lock(&self.state);
        state.members.values().map(Member::present).collect()
    }

    /// Since when nobody but the room's own services is here and nothing is being worked on.
    #[must_use]
    pub fn idle_since(&self) -> Option<DateTime<Utc>> {
        if self.working.load(Ordering::Acquire) > 0 {
            return None;
        }
        lock(&self.state).idle_since
    }

    /// Counts one call as work until [`LiveSession::work_done`].
    pub fn work_begun(&self) {
        self.working.fetch_add(1, Ordering::AcqRel);
    }

    pub fn work_done(&self) {
        if self.working.fetch_sub(1, Ordering::AcqRel) == 1 {
            let mut state = lock(&self.state);
            if state.idle_since.is_some() {
                state.idle_since = Some(self.clock.now());
            }
        }
    }

    /// Ends the session for newcomers and returns those who are still in.
    pub fn close(&self) -> Vec<Arc<Peer>> {
        let mut state = lock(&self.state);
        state.ended = true;
        state.members.values().map(|m| Arc::clone(&m.peer)).collect()
    }

    #[must_use]
    pub fn has_ended(&self) -> bool {
        lock(&self.state).ended
    }

    /// Sends one push to everybody whom `sees` lets see it.
    pub fn push_all(&self, kind: &'static str, payload: &Bytes, sees: impl Fn(&Peer) -> bool) {
        let message = self.shared(kind, payload.clone());
        let state = lock(&self.state);
        for member in state.members.values() {
            if sees(&member.peer) {
                member.peer.outbox.share(&message);
            }
        }
    }

    /// A message for many, cut into packets once.
    fn shared(&self, kind: &'static str, payload: Bytes) -> Arc<Shared> {
        Shared::new(self.last_shared_id.fetch_add(1, Ordering::Relaxed) + 1, kind, payload)
    }

    /// A messaging push of the server's own about the participant `subject`.
    fn about(&self, subject: &str, kind: &str, message: &Value) -> Arc<Shared> {
        self.shared(MESSAGING_PUSH, server_message(subject, kind, message))
    }

    /// Records that a participant was cut off because it did not read.
    pub fn cut_off(&self, peer: &Peer) {
        self.cut_off.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(room = %self.room.name, participant = %peer.id, name = %peer.name, "cut off: {SLOW_READER}");
        let mut data = Map::new();
        data.insert("participant_id".into(), peer.id.clone().into());
        data.insert("name".into(), peer.name.clone().into());
        data.insert(
            "message".into(),
            format!("participant `{}` was cut off: {SLOW_READER}", peer.name).into(),
        );
        self.logs.add("participant.cut_off", data);
    }

    /// Participants cut off so far because they did not read.
    pub fn cut_offs(&self) -> u64 {
        self.cut_off.load(Ordering::Relaxed)
    }

    /// Another server runs the room from here on.
    pub fn has_moved(&self) -> bool {
        self.moved.is_cancelled()
    }

    /// Returns once another server runs the room.
    pub async fn moved(&self) {
        self.moved.cancelled().await;
    }

    pub fn move_away(&self) {
        self.moved.cancel();
    }

    /// Merges attributes and tells those who know the participant by messaging.
    pub fn set_attributes(&self, id: &str, changed: Map<String, Value>) -> Result<(), SessionError> {
        let mut state = lock(&self.state);
        let Some(member) = state.members.get_mut(id) else {
            return Ok(());
        };
        let mut merged = member.attributes.clone();
        merged.extend(changed.clone());
        let bytes = serde_json::to_vec(&merged).map_or(usize::MAX, |json| json.len());
        if bytes > ATTRIBUTES_BYTES_MAX {
            return Err(SessionError::AttributesTooLarge(member.peer.name.clone()));
        }
        member.attributes = merged;
        if member.messaging {
            state.tell_others(id, &self.about(id, "participant.attributes", &json!({"attributes": changed})));
        }
        Ok(())
    }

    /// Switches messaging on for a participant: it learns who is there (`lists` says whether it may), the others
    /// learn of it.
    pub fn enable_messaging(&self, id: &str, lists: bool) {
        let mut state = lock(&self.state);
        let Some(member) = state.members.get_mut(id) else { return };
        let again = std::mem::replace(&mut member.messaging, true);
        let peer = Arc::clone(&member.peer);
        let about = member.about();
        let others = state.members.values().filter(|m| lists && m.messaging && m.peer.id != id);
        let participants: Vec<Value> = others.map(Member::about).collect();
        peer.outbox.push(
            MESSAGING_PUSH,
            server_message(id, "messaging.enabled", &json!({"participants": participants})),
        );
        if !again {
            state.tell_others(id, &self.about(id, "participant.enabled", &about));
        }
    }

    pub fn disable_messaging(&self, id: &str) {
        let mut state = lock(&self.state);
        let Some(member) = state.members.get_mut(id) else { return };
        if std::mem::take(&mut member.messaging) {
            state.tell_others(id, &self.about(id, "participant.disabled", &json!({"id": id})));
        }
    }

    /// The participant `id`.
    #[must_use]
    pub fn peer(&self, id: &str) -> Option<Arc<Peer>> {
        lock(&self.state).members.get(id).map(|m| Arc::clone(&m.peer))
    }

    /// The participant `id`, if it takes messages.
    #[must_use]
    pub fn messaging_peer(&self, id: &str) -> Option<Arc<Peer>> {
        let state = lock(&self.state);
        state.members.get(id).filter(|m| m.messaging).map(|m| Arc::clone(&m.peer))
    }

    /// Sends one messaging push to everybody who takes messages, except `from`.
    pub fn broadcast(&self, from: &str, payload: &Bytes) {
        let message = self.shared(MESSAGING_PUSH, payload.clone());
        let state = lock(&self.state);
        for member in state.members.values().filter(|m| m.messaging && m.peer.id != from) {
            member.peer.outbox.share(&message);
        }
    }

    /// Registers a toolkit; one of the same name by the same participant is replaced.
    pub fn register(&self, registration: Registration) -> Result<(), SessionError> {
        let mut state = lock(&self.state);
        let host = &registration.host;
        if !state.members.contains_key(&host.id) {
            return Err(SessionError::Ended(self.room.name.clone()));
        }
        let own = state.registrations.iter().filter(|r| r.host.id == host.id).count();
        if own >= REGISTRATIONS_MAX {
            return Err(SessionError::TooManyToolkits(host.name.clone()));
        }
        let same = |r: &Registration| r.host.id == registration.host.id && r.name == registration.name;
        state.registrations.retain(|r| !same(r));
        // Those of services go first: no participant takes the name of one.
        let of_service = |r: &Registration| r.host.service.is_some();
        let at = if of_service(&registration) {
            state.registrations.partition_point(of_service)
        } else {
            state.registrations.len()
        };
        state.registrations.insert(at, registration);
        drop(state);
        self.toolkits_changed.send_modify(|n| *n += 1);
        Ok(())
    }

    /// Takes a registration back; false when this participant has none with that id.
    pub fn unregister(&self, host: &str, registration: &str) -> bool {
        let mut state = lock(&self.state);
        let before = state.registrations.len();
        state.registrations.retain(|r| r.host.id != host || r.id != registration);
        let found = before != state.registrations.len();
        drop(state);
        if found {
            self.toolkits_changed.send_modify(|n| *n += 1);
        }
        found
    }

    /// Reads the registrations: those of services, then the others, each oldest first.
    pub fn with_registrations<T>(&self, read: impl FnOnce(&[Registration]) -> T) -> T {
        read(&lock(&self.state).registrations)
    }

    /// Told when registrations change.
    #[must_use]
    pub fn watch_toolkits(&self) -> watch::Receiver<u64> {
        self.toolkits_changed.subscribe()
    }
}

/// Type of every messaging push.
pub const MESSAGING_PUSH: &str = "messaging.send";

/// A messaging push that the server itself makes about the participant `subject`.
fn server_message(subject: &str, kind: &str, message: &Value) -> Bytes {
    pack(&json!({"from_participant_id": subject, "type": kind, "message": message}), b"")
}

impl Member {
    fn about(&self) -> Value {
        json!({"id": self.peer.id, "role": self.peer.role, "attributes": self.attributes})
    }

    fn present(&self) -> Present {
        Present {
            id: self.peer.id.clone(),
            name: self.peer.name.clone(),
            role: self.peer.role.clone(),
            service: self.peer.service,
            messaging: self.messaging,
            attributes: self.attributes.clone(),
        }
    }
}

impl State {
    fn anybody_counts(&self) -> bool {
        self.members.values().any(|m| m.peer.service.is_none())
    }

    /// Tells everybody else who takes messages and may list participants.
    fn tell_others(&self, subject: &str, message: &Arc<Shared>) {
        for member in self.members.values().filter(|m| m.messaging && m.peer.id != subject) {
            if super::guard::may_list_participants(&member.peer.api) {
                member.peer.outbox.share(message);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{ProjectId, RoomId, SessionId};
    use uuid::Uuid;

    #[test]
    fn a_toolkit_of_a_service_goes_before_one_of_the_same_name() {
        let (project, limits) = (ProjectId::PLATFORM, super::super::limits::Limits::default());
        let room =
            RoomRef { id: RoomId::new(project, Uuid::nil()), name: "r".into(), url: String::new(), limits };
        let opened = OpenedSession { id: SessionId::new(project, Uuid::nil()), epoch: 1 };
        let session = LiveSession::new(room.clone(), opened, Arc::new(System));
        let offer = |who: &str, service: bool, name: &str| {
            let service = service.then(|| ServiceId::new(project, Uuid::nil()));
            let (role, api) = ("agent".to_owned(), Arc::new(ApiScope::full()));
            let admission = Admission { room: room.clone(), name: who.into(), role, api, service };
            let host = session.join(format!("{who}-{name}"), &admission).unwrap();
            let (id, name, listing) = (host.id.clone(), name.to_owned(), Map::new());
            session.register(Registration { id, name, public: true, listing, host }).unwrap();
        };
        for (who, service, name) in
            [("mallory", false, "wiki"), ("ann", false, "x"), ("svc", true, "wiki"), ("svc", true, "x")]
        {
            offer(who, service, name);
        }
        let order = session.with_registrations(|all| all.iter().map(|r| r.id.clone()).collect::<Vec<_>>());
        assert_eq!(order, ["svc-wiki", "svc-x", "mallory-wiki", "ann-x"]);
    }
}
