//! What a channel is: a way for work to reach the agent, one file each in [`super::channels`].
//!
//! There are two sorts. One that takes jobs (a queue, a toolkit, mail) makes a [`TurnRequest`] of each and waits for its
//! outcome with [`Agent::turn`]. One that carries conversations (chat, a socket) connects its participants with
//! [`Agent::connect`] and passes on what they say with [`Agent::say`]; everything that its participants are to hear comes to
//! the outbox they connected with.

use super::message::{InputContent, Message};
use super::supervisor::ToHub;
use super::thread::Earlier;
use super::tools::Tool;
use super::turn::{Failure, Outcome};
use crate::client::room::RoomError;
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

pub use super::engine::Engine;

/// Messages that may wait for one participant; one further behind is disconnected.
pub const OUTBOX_MAX: usize = 1024;
/// How many of them may be of histories that the participant asked for: those wait for the participant.
pub const REPLAY_MAX: usize = OUTBOX_MAX / 4;
/// How long one who asked for a history may take to take the next message of it.
const REPLAY_STEP_MAX: Duration = Duration::from_secs(30);

/// A way for work to reach the agent. Made in [`super::run`], one for each `--channel`.
#[async_trait::async_trait]
pub trait Channel: Send + Sync + 'static {
    /// As the user spelled it.
    fn name(&self) -> String;

    /// Participant attributes that the agent publishes while the channel is open.
    fn attributes(&self) -> Map<String, Value> {
        Map::new()
    }

    /// Whether threads begin here, so that the agent tells clients where its threads are.
    fn is_threaded(&self) -> bool {
        false
    }

    /// Tools that the channel adds to every turn of thread `thread`.
    fn tools(&self, _agent: &Agent, _thread: &str) -> Vec<Arc<dyn Tool>> {
        Vec::new()
    }

    /// Opens the channel; an error ends the agent.
    async fn open(&self, _agent: &Agent) -> Result<(), RoomError> {
        Ok(())
    }

    /// Serves until `stop`; takes nothing new after it. What was begun may go on until `abort`.
    async fn serve(self: Arc<Self>, agent: Agent, stop: CancellationToken, abort: CancellationToken);
}

/// A turn that a channel asks for.
#[derive(Clone, Debug, Default)]
pub struct TurnRequest {
    /// Path of the thread; a new one where absent.
    pub thread: Option<String>,
    /// Whether the thread is new although it is named.
    pub new_thread: bool,
    /// Name of a thread that is new; made from what is said where absent.
    pub thread_name: Option<String>,
    /// Whether a model may name a new thread.
    pub model_names_thread: bool,
    pub content: Vec<InputContent>,
    /// One of the agent's models, in any spelling.
    pub model: Option<String>,
    pub instructions: Option<String>,
    pub sender_name: Option<String>,
    /// Who asks, for tools that act for them.
    pub participant_id: Option<String>,
    /// Nobody is there to approve calls: they are refused.
    pub unattended: bool,
    /// Names the turn; a fresh name where absent.
    pub turn_id: Option<String>,
    /// Turns that tried the same before: where one of them is done, this one is not run.
    pub earlier: Earlier,
}

/// What a participant of a conversation is to hear.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// The message, in the form in which it is to be sent.
    pub message: Arc<Map<String, Value>>,
    /// Held until the message has left the outbox.
    _place: Option<Arc<OwnedSemaphorePermit>>,
}

/// Where a participant's histories go: into their outbox, at their pace, leaving room for what happens meanwhile.
#[derive(Clone, Debug)]
pub(super) struct Replay {
    outbox: mpsc::Sender<Outgoing>,
    places: Arc<Semaphore>,
}

impl Replay {
    pub fn new(outbox: mpsc::Sender<Outgoing>) -> Self {
        Self { outbox, places: Arc::new(Semaphore::new(REPLAY_MAX)) }
    }

    /// Sends a history; ends early when the participant is gone or takes nothing for [`REPLAY_STEP_MAX`].
    pub async fn send(&self, messages: impl IntoIterator<Item = Map<String, Value>> + Send) {
        for message in messages {
            let place = tokio::time::timeout(REPLAY_STEP_MAX, self.places.clone().acquire_owned()).await;
            let Ok(Ok(place)) = place else {
                tracing::warn!("a participant does not read the history it asked for; the rest is left out");
                return;
            };
            let outgoing = Outgoing { message: Arc::new(message), _place: Some(Arc::new(place)) };
            if self.outbox.send(outgoing).await.is_err() {
                return;
            }
        }
    }
}

impl Outgoing {
    /// A message for a participant.
    #[must_use]
    pub fn new(message: Arc<Map<String, Value>>) -> Self {
        Self { message, _place: None }
    }

    fn text(&self, key: &str) -> &str {
        self.message.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    /// The thread that the message is about.
    #[must_use]
    pub fn thread_id(&self) -> Option<&str> {
        self.message.get("thread_id").and_then(Value::as_str)
    }

    /// Whether it is about the list of threads.
    #[must_use]
    pub fn is_of_list(&self) -> bool {
        let kind = self.text("type").strip_prefix(super::message::PREFIX).unwrap_or_default();
        matches!(kind, "thread.listed" | "thread.created" | "thread.updated" | "thread.deleted")
    }
}

/// The agent as its channels know it. Clones are the same agent.
#[derive(Clone, Debug)]
pub struct Agent {
    pub(super) engine: Arc<Engine>,
    pub(super) hub: mpsc::Sender<ToHub>,
}

impl Agent {
    /// Runs a turn when its thread's line has come to it. All of it is stored when this returns.
    pub async fn turn(&self, request: TurnRequest) -> Outcome {
        let (done, outcome) = oneshot::channel();
        if self.hub.send(ToHub::Turn(Box::new(request), done)).await.is_ok()
            && let Ok(outcome) = outcome.await
        {
            return outcome;
        }
        Outcome::Failed(Failure { message: "the agent is stopping".into(), code: "cancelled" })
    }

    /// Stops a turn that runs or waits.
    pub async fn cancel(&self, thread: &str, turn_id: &str) {
        let cancel = ToHub::Cancel { thread: thread.to_owned(), turn_id: turn_id.to_owned() };
        // A stopping agent cancels all of them.
        let _ = self.hub.send(cancel).await;
    }

    /// A participant is there: `id` is unique over all channels, `name` is who they are. When their outbox is full they are
    /// taken for gone and it is closed. `false`: the agent is stopping.
    pub async fn connect(&self, id: &str, name: &str, outbox: mpsc::Sender<Outgoing>) -> bool {
        let connect = ToHub::Connect { id: id.to_owned(), name: name.to_owned(), outbox };
        self.hub.send(connect).await.is_ok()
    }

    /// A participant is gone.
    pub async fn disconnect(&self, id: &str) {
        let _ = self.hub.send(ToHub::Disconnect { id: id.to_owned() }).await;
    }

    /// A participant said something.
    pub async fn say(&self, id: &str, message: Value) {
        let _ = self.hub.send(ToHub::Say { id: id.to_owned(), message }).await;
    }

    /// Puts messages into a thread that is at work: they are stored, and shown to those who have it open. `false` when the thread takes
    /// nothing more.
    pub async fn show(&self, thread: &str, messages: Vec<Message>) -> bool {
        let (shown, done) = oneshot::channel();
        let inject = ToHub::Inject { thread: thread.to_owned(), messages, shown };
        self.hub.send(inject).await.is_ok() && done.await.is_ok()
    }

    /// Path of a thread for new work.
    #[must_use]
    pub fn new_thread(&self) -> String {
        let threads = &self.engine.config.threads;
        if threads.single {
            format!("{}/main", threads.dir)
        } else {
            format!("{}/{}", threads.dir, self.engine.ids.fresh())
        }
    }

    /// The agent's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.engine.config.agent_name
    }

    /// The room the agent is in.
    #[must_use]
    pub fn room(&self) -> &crate::client::room::RoomClient {
        &self.engine.client
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_long_history_waits_for_its_reader_and_leaves_room_for_what_happens() {
        const LONG: usize = 4 * OUTBOX_MAX;
        let (outbox, mut inbox) = mpsc::channel(OUTBOX_MAX);
        let replay = Replay::new(outbox.clone());
        let message = |n: usize| Map::from_iter([("n".to_owned(), Value::from(n))]);
        let sending = tokio::spawn(async move { replay.send((0..LONG).map(message)).await });
        while inbox.len() < REPLAY_MAX {
            tokio::task::yield_now().await;
        }
        for n in 0..OUTBOX_MAX - REPLAY_MAX {
            outbox.try_send(Outgoing::new(Arc::new(message(n)))).expect("what happens finds room");
        }
        drop(outbox);
        let mut heard = 0;
        while inbox.recv().await.is_some() {
            heard += 1;
        }
        assert_eq!(heard, LONG + OUTBOX_MAX - REPLAY_MAX, "nothing is left out");
        sending.await.unwrap();
    }
}
