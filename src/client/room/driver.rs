//! Dials, brings back what a connection carried, and dials again after a loss.

use super::connection::{self, End, Welcome};
use super::dial::{self, DialError, Options};
use super::hosting::Hosted;
use super::link::{Link, PUSHES_MAX, Push, lock, packed};
use super::{RoomError, messaging};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Semaphore, broadcast, watch};
use tokio_util::sync::CancellationToken;

/// Longest wait for `connected` and `room_ready` after the upgrade: a room's first start may pull images.
const READY_MAX: Duration = Duration::from_mins(5);
/// Longest wait of a request for the connection to come back.
const UP_MAX: Duration = Duration::from_mins(1);
/// Calls to our toolkits that run at once; more are refused.
const HOSTED_CALLS_MAX: usize = 256;

/// Who we are in the room, as the server last told.
#[derive(Clone, Debug, Default)]
pub(super) struct Identity {
    pub participant_id: String,
    pub room_name: String,
    pub attributes: Map<String, Value>,
}

#[derive(Clone, Debug)]
pub(super) enum State {
    Dialling,
    Up(Arc<Link>),
    /// There is no room, and will be none.
    Nowhere,
    Closed(RoomError),
}

/// What the client's clones and its task share.
pub(super) struct Shared {
    pub options: Options,
    pub state: watch::Sender<State>,
    pub closing: CancellationToken,
    pub pushes: broadcast::Sender<Push>,
    pub hosted: Mutex<BTreeMap<String, Arc<Hosted>>>,
    pub hosted_calls: Arc<Semaphore>,
    pub messaging: AtomicBool,
    identity: Mutex<Identity>,
    /// Attributes we set ourselves; sent again after a reconnect.
    attributes: Mutex<Map<String, Value>>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("url", &self.options.url).finish_non_exhaustive()
    }
}

/// Closes the connection when the last client is dropped.
#[derive(Debug)]
pub(super) struct Closer(CancellationToken);

impl Drop for Closer {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

pub(super) fn start(options: Options) -> (Arc<Shared>, Closer) {
    let shared = Arc::new(Shared {
        options,
        state: watch::Sender::new(State::Dialling),
        closing: CancellationToken::new(),
        pushes: broadcast::Sender::new(PUSHES_MAX),
        hosted: Mutex::default(),
        hosted_calls: Arc::new(Semaphore::new(HOSTED_CALLS_MAX)),
        messaging: AtomicBool::new(false),
        identity: Mutex::default(),
        attributes: Mutex::default(),
    });
    let closer = Closer(shared.closing.clone());
    tokio::spawn(drive(shared.clone()));
    (shared, closer)
}

impl Shared {
    pub fn identity(&self) -> Identity {
        lock(&self.identity).clone()
    }

    pub fn merge_attributes(&self, attributes: &Map<String, Value>) {
        lock(&self.attributes).extend(attributes.clone());
    }

    /// Waits until the room has let us in, or will not.
    pub async fn entered(&self) -> Result<Arc<Link>, RoomError> {
        let mut state = self.state.subscribe();
        let settled = state.wait_for(|s| !matches!(s, State::Dialling)).await;
        match settled.as_deref() {
            Ok(State::Up(link)) => Ok(link.clone()),
            Ok(State::Nowhere) => Err(RoomError::nowhere()),
            Ok(State::Closed(error)) => Err(error.clone()),
            _ => Err(RoomError::closed("the client's task is gone")),
        }
    }

    /// The connection for a request; waits a while for it to come back.
    pub async fn link(&self, request: &str) -> Result<Arc<Link>, RoomError> {
        match tokio::time::timeout(UP_MAX, self.entered()).await {
            Ok(link) => link,
            Err(_) => Err(RoomError::lost(request)),
        }
    }
}

async fn drive(shared: Arc<Shared>) {
    let closing = shared.closing.clone();
    if shared.options.nowhere {
        shared.state.send_replace(State::Nowhere);
        closing.cancelled().await;
        shared.state.send_replace(State::Closed(RoomError::closed("this client was closed")));
        return;
    }
    let error = tokio::select! {
        error = dial_for_ever(&shared) => error,
        () = async {
            closing.cancelled().await;
            // The writer says goodbye first; it has its own bound.
            let mut state = shared.state.subscribe();
            let goodbye = state.wait_for(|s| matches!(s, State::Closed(_)));
            let _ = tokio::time::timeout(Duration::from_secs(2), goodbye).await;
        } => RoomError::closed("this client was closed"),
    };
    shared.state.send_replace(State::Closed(error));
}

async fn dial_for_ever(shared: &Arc<Shared>) -> RoomError {
    let mut attempt = 0;
    let mut epoch = 0;
    loop {
        epoch += 1;
        let reason = match one_connection(shared, epoch, &mut attempt).await {
            Ok(End::Clean) if shared.closing.is_cancelled() => {
                return RoomError::closed("this client was closed");
            }
            Ok(End::Clean) => return RoomError::closed("the server ended the session"),
            Ok(End::Lost(reason)) | Err(DialError::Transient(reason)) => reason,
            Err(DialError::Final(error)) => return error,
        };
        shared.state.send_replace(State::Dialling);
        if !shared.options.retry.allows(attempt) {
            return RoomError::Unreachable { url: shared.options.url.clone(), reason };
        }
        let jitter = shared.options.ids.fresh().as_u128();
        let wait = shared.options.backoff.wait(attempt, jitter);
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        tracing::warn!(url = shared.options.url, reason, wait_ms, "not connected to the room; trying again");
        attempt = attempt.saturating_add(1);
        tokio::time::sleep(wait).await;
    }
}

/// Dials once and lives through that connection. `attempt` restarts at 0 once the room has let us in.
async fn one_connection(shared: &Arc<Shared>, epoch: u64, attempt: &mut u32) -> Result<End, DialError> {
    let socket = dial::dial(&shared.options).await?;
    let (link, outbox) = Link::new(epoch);
    let link = Arc::new(link);
    let (welcome, mut welcomed) = watch::channel(Welcome::default());
    let running = connection::run(socket, shared.clone(), link.clone(), outbox, welcome);
    tokio::pin!(running);
    let entering = enter(shared, &link, &mut welcomed);
    tokio::select! {
        end = &mut running => {
            // Before the room was ready even a clean close is worth another attempt.
            let reason = match end {
                End::Clean if shared.closing.is_cancelled() => return Ok(End::Clean),
                End::Clean => "the server closed before the room was ready".to_owned(),
                End::Lost(reason) => reason,
            };
            return Err(DialError::Transient(reason));
        }
        entered = entering => entered.map_err(DialError::Transient)?,
    }
    *attempt = 0;
    shared.state.send_replace(State::Up(link));
    Ok(running.await)
}

/// Waits for the room and brings back what the last connection carried.
async fn enter(
    shared: &Arc<Shared>,
    link: &Arc<Link>,
    welcomed: &mut watch::Receiver<Welcome>,
) -> Result<(), String> {
    let ready = welcomed.wait_for(|w| w.identity().is_some());
    let identity = match tokio::time::timeout(READY_MAX, ready).await {
        Ok(Ok(welcome)) => welcome.identity().unwrap_or_default(),
        Ok(Err(_)) => return Err("the connection was lost before the room was ready".into()),
        Err(_) => return Err(format!("the room was not ready within {} s", READY_MAX.as_secs())),
    };
    *lock(&shared.identity) = identity;
    let attributes = lock(&shared.attributes).clone();
    if !attributes.is_empty() {
        link.post("set_attributes", packed(&attributes)).await.map_err(|e| e.to_string())?;
    }
    let hosted: Vec<_> = lock(&shared.hosted).values().cloned().collect();
    for toolkit in hosted {
        if let Err(error) = toolkit.register(link).await {
            tracing::error!(toolkit = toolkit.name(), %error, "a toolkit could not be registered again");
        }
    }
    if shared.messaging.load(Ordering::Relaxed)
        && let Err(error) = messaging::enable(shared, link).await
    {
        tracing::error!(%error, "messaging could not be enabled again");
    }
    Ok(())
}
