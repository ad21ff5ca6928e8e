//! Channel `chat`: conversations over the room's messaging, as single messages and as streams (process agents §3, §7).

use crate::agent::channel::{Agent, Channel, OUTBOX_MAX, Outgoing};
use crate::agent::config::EMPTY_STATE_TITLE;
use crate::agent::tools::{Tool, attach_file};
use crate::client::room::{Reply, RoomError, RoomMessage, ToolCall, ToolHost};
use crate::error_code::RoomCode;
use crate::wire::{Content, Control};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, broadcast, mpsc};
use tokio_util::sync::CancellationToken;

/// Type of a message that carries an agent message.
const AGENT_MESSAGE: &str = "agent-message";
/// Agent messages that have bytes beside them.
const AUDIO_CHUNK: &str = "meshagent.agent.realtime_audio.chunk";
const AUDIO_DELTA: &str = "meshagent.agent.audio_generation.delta";
/// Type of a stream for one thread.
const THREAD_STREAM: &str = "meshagent.chat.thread.subscribe";
/// Type of a stream for the list of threads.
const LIST_STREAM: &str = "meshagent.chat.thread_list.subscribe";
/// Messages that may wait on one stream.
const STREAM_MAX: usize = 256;
/// How long the news of a participant may take after their stream.
const NEWS_MAX: Duration = Duration::from_secs(5);
/// How long a stream may take to take its next message.
const STREAM_STEP_MAX: Duration = Duration::from_secs(30);
/// Streams of one participant.
const STREAMS_MAX: usize = 64;

/// The channel.
#[derive(Debug, Default)]
pub struct Chat {
    peers: Peers,
    /// Said when somebody comes: a stream may be quicker than the news of who opens it.
    came: Arc<Notify>,
}

type Peers = Arc<Mutex<HashMap<String, Peer>>>;

/// A participant with messaging.
#[derive(Debug, Default)]
struct Peer {
    /// Streams by thread, and under the empty name that of the list. The number tells a stream from its successor.
    streams: BTreeMap<String, (u64, mpsc::Sender<Content>)>,
    next: u64,
}

fn lock(peers: &Mutex<HashMap<String, Peer>>) -> MutexGuard<'_, HashMap<String, Peer>> {
    peers.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait::async_trait]
impl Channel for Chat {
    fn name(&self) -> String {
        "chat".to_owned()
    }

    fn attributes(&self) -> Map<String, Value> {
        let attributes = json!({"supports_chat": true, "supports_agent_messages": true,
            "supports_messaging_streams": true, "empty_state_title": EMPTY_STATE_TITLE});
        attributes.as_object().cloned().unwrap_or_default()
    }

    fn is_threaded(&self) -> bool {
        true
    }

    fn tools(&self, agent: &Agent, _: &str) -> Vec<Arc<dyn Tool>> {
        vec![attach_file(agent.clone())]
    }

    async fn open(&self, agent: &Agent) -> Result<(), RoomError> {
        let host = Streams { agent: agent.clone(), peers: self.peers.clone(), came: self.came.clone() };
        agent.room().accept_streams(Arc::new(host));
        Ok(())
    }

    async fn serve(self: Arc<Self>, agent: Agent, stop: CancellationToken, _abort: CancellationToken) {
        let mut pushes = agent.room().pushes();
        if let Err(error) = agent.room().enable_messaging().await {
            tracing::error!(%error, "the room's messaging could not be joined");
        }
        loop {
            let push = tokio::select! {
                () = stop.cancelled() => return,
                push = pushes.recv() => push,
            };
            match push {
                Ok(push) => {
                    if let Some(message) = RoomMessage::from_push(&push) {
                        self.heard(&agent, message).await;
                    }
                }
                Err(broadcast::error::RecvError::Lagged(missed)) => {
                    tracing::error!(missed, "messages came faster than they were read and are lost");
                    // The room tells again who is there.
                    if let Err(error) = agent.room().enable_messaging().await {
                        tracing::error!(%error, "the room's messaging could not be joined");
                    }
                }
                Err(broadcast::error::RecvError::Closed) => return,
            }
        }
    }
}

impl Chat {
    async fn heard(&self, agent: &Agent, message: RoomMessage) {
        let from = &message.from_participant_id;
        let id = |value: &Value| value.get("id").and_then(Value::as_str).map(str::to_owned);
        match message.kind.as_str() {
            "messaging.enabled" => {
                let all =
                    message.body.get("participants").and_then(Value::as_array).cloned().unwrap_or_default();
                let here: Vec<String> = all.iter().filter_map(id).collect();
                let gone: Vec<String> =
                    lock(&self.peers).keys().filter(|id| !here.contains(id)).cloned().collect();
                for id in gone {
                    self.left(agent, &id).await;
                }
                for participant in &all {
                    self.came(agent, participant).await;
                }
            }
            "participant.enabled" => self.came(agent, &message.body).await,
            "participant.disabled" => {
                if let Some(id) = id(&message.body) {
                    self.left(agent, &id).await;
                }
            }
            AGENT_MESSAGE => {
                let mut body = match message.body.get("payload") {
                    Some(inner @ Value::Object(_)) => inner.clone(),
                    _ => message.body,
                };
                if !message.attachment.is_empty() {
                    with_bytes(&mut body, STANDARD.encode(&message.attachment));
                }
                agent.say(from, body).await;
            }
            _ => {}
        }
    }

    async fn came(&self, agent: &Agent, participant: &Value) {
        let Some(id) = participant.get("id").and_then(Value::as_str) else { return };
        let name = participant.pointer("/attributes/name").and_then(Value::as_str).unwrap_or_default();
        {
            let mut peers = lock(&self.peers);
            if peers.contains_key(id) {
                return;
            }
            peers.insert(id.to_owned(), Peer::default());
        }
        let attended = attend(agent, id, name).await;
        self.came.notify_waiters();
        if let Some(messages) = attended {
            let (agent, peers) = (agent.clone(), self.peers.clone());
            tokio::spawn(serve(agent, peers, id.to_owned(), name.to_owned(), messages));
        }
    }

    async fn left(&self, agent: &Agent, id: &str) {
        lock(&self.peers).remove(id);
        agent.disconnect(id).await;
    }
}

/// Connects a participant; `None` when the agent stops.
async fn attend(agent: &Agent, id: &str, name: &str) -> Option<mpsc::Receiver<Outgoing>> {
    let (outbox, messages) = mpsc::channel(OUTBOX_MAX);
    agent.connect(id, name, outbox).await.then_some(messages)
}

/// Serves a participant for as long as they are there. When they were too far behind and are cut off, their streams end, so that
/// their side notices, and they are heard again from then on.
async fn serve(agent: Agent, peers: Peers, id: String, name: String, mut messages: mpsc::Receiver<Outgoing>) {
    loop {
        if !forward(&agent, &peers, &id, &mut messages).await {
            return;
        }
        match lock(&peers).get_mut(&id) {
            Some(peer) => peer.streams.clear(),
            None => return,
        }
        match attend(&agent, &id, &name).await {
            Some(again) => messages = again,
            None => return,
        }
    }
}

/// Sends a participant what they are to hear: on the thread's stream where there is one, else as single messages.
/// `true` once they were cut off or have left, `false` when the room is lost.
async fn forward(agent: &Agent, peers: &Peers, id: &str, messages: &mut mpsc::Receiver<Outgoing>) -> bool {
    while let Some(outgoing) = messages.recv().await {
        let key = if outgoing.is_of_list() { "" } else { outgoing.thread_id().unwrap_or("") };
        let stream =
            lock(peers).get(id).and_then(|peer| peer.streams.get(key)).map(|(_, stream)| stream.clone());
        let mut body = (*outgoing.message).clone();
        let bytes = bytes_of(&mut body);
        let body = Value::Object(body);
        if let Some(stream) = stream {
            let item = json!({"kind": "message", "type": AGENT_MESSAGE, "message": body, "attachment_base64": bytes});
            match tokio::time::timeout(STREAM_STEP_MAX, stream.send(Content::Json(item))).await {
                Ok(Ok(())) => continue,
                Ok(Err(_)) => {}
                Err(_) => {
                    tracing::warn!(participant = id, "a stream is not read; it is ended");
                    if let Some(peer) = lock(peers).get_mut(id) {
                        peer.streams.remove(key);
                    }
                }
            }
        }
        let bytes = bytes.and_then(|bytes| STANDARD.decode(bytes).ok());
        if let Err(error) = agent.room().send_message(id, AGENT_MESSAGE, &body, bytes.as_deref()).await {
            if error.is_final() {
                return false;
            }
            tracing::debug!(participant = id, %error, "a message could not be sent");
        }
    }
    true
}

/// Bytes travel beside a message; within the agent they are its `data`, in Base64.
fn with_bytes(message: &mut Value, bytes: String) {
    if let Value::Object(fields) = message
        && fields.get("type").and_then(Value::as_str) == Some(AUDIO_CHUNK)
    {
        fields.insert("data".to_owned(), Value::String(bytes));
    }
}

/// Takes them out of a message that has them.
fn bytes_of(message: &mut Map<String, Value>) -> Option<String> {
    if message.get("type").and_then(Value::as_str) != Some(AUDIO_DELTA) {
        return None;
    }
    match message.remove("data") {
        Some(Value::String(bytes)) => Some(bytes),
        _ => None,
    }
}

/// Takes the streams that participants open.
struct Streams {
    agent: Agent,
    peers: Peers,
    came: Arc<Notify>,
}

impl Streams {
    /// Waits a moment for the news that this participant is there.
    async fn here(&self, id: &str) {
        let news = async {
            loop {
                let came = self.came.notified();
                tokio::pin!(came);
                came.as_mut().enable();
                if lock(&self.peers).contains_key(id) {
                    return;
                }
                came.await;
            }
        };
        // Without the news the stream is refused.
        let _ = tokio::time::timeout(NEWS_MAX, news).await;
    }
}

fn refused(text: &str) -> Reply {
    Reply::Unary(Content::error(RoomCode::InvalidRequest, text))
}

/// The type and the message of one item.
fn item(content: &Content) -> Option<(String, Value)> {
    let Content::Json(item) = content else { return None };
    let kind = item.get("type")?.as_str()?.to_owned();
    let mut message = match item.get("message_json")? {
        Value::String(text) => serde_json::from_str(text).ok()?,
        other => other.clone(),
    };
    if let Some(bytes) = item.get("attachment_base64").and_then(Value::as_str) {
        with_bytes(&mut message, bytes.to_owned());
    }
    Some((kind, message))
}

#[async_trait::async_trait]
impl ToolHost for Streams {
    async fn call(&self, mut call: ToolCall) -> Reply {
        let Some(mut input) = call.input.take() else { return refused("a stream was expected") };
        let Some(first) = input.recv().await else { return refused("the stream ended before it began") };
        let from = match &first {
            Content::Json(fields) => {
                fields.get("from_participant_id").and_then(Value::as_str).map(str::to_owned)
            }
            _ => None,
        };
        let from = from.unwrap_or(call.caller_id);
        let Some((kind, message)) = item(&first) else {
            return refused("invalid agent subscription message");
        };
        if ![THREAD_STREAM, LIST_STREAM, AGENT_MESSAGE].contains(&kind.as_str()) {
            return refused("unsupported messaging chat stream type");
        }
        let thread = match message.get("type").and_then(Value::as_str) {
            Some("meshagent.agent.thread.open") => {
                message.get("thread_id").and_then(Value::as_str).unwrap_or_default()
            }
            Some("meshagent.agent.thread.watch") => "",
            _ => return refused("messaging chat streams require ThreadOpen or ThreadWatch"),
        };
        let thread = thread.to_owned();
        self.here(&from).await;
        let (stream, items) = mpsc::channel(STREAM_MAX);
        let number = {
            let mut peers = lock(&self.peers);
            let Some(peer) = peers.get_mut(&from) else { return refused("the participant has no messaging") };
            if peer.streams.len() >= STREAMS_MAX && !peer.streams.contains_key(&thread) {
                return refused("too many streams are open; close some first");
            }
            peer.next += 1;
            let number = peer.next;
            // The old one ends with its sender.
            peer.streams.insert(thread.clone(), (number, stream));
            number
        };
        self.agent.say(&from, message).await;
        let (agent, peers) = (self.agent.clone(), self.peers.clone());
        tokio::spawn(listen(agent, peers, from, thread, number, input));
        Reply::Stream(items)
    }
}

/// Passes on what comes on a stream, until it ends.
async fn listen(
    agent: Agent,
    peers: Peers,
    from: String,
    thread: String,
    number: u64,
    mut input: mpsc::Receiver<Content>,
) {
    while let Some(content) = input.recv().await {
        if matches!(content, Content::Control(Control::Close { .. })) {
            break;
        }
        if let Some((kind, message)) = item(&content)
            && kind == AGENT_MESSAGE
        {
            agent.say(&from, message).await;
        }
    }
    let current = {
        let mut peers = lock(&peers);
        match peers.get_mut(&from) {
            Some(peer) if peer.streams.get(&thread).is_some_and(|(current, _)| *current == number) => {
                peer.streams.remove(&thread);
                true
            }
            _ => false,
        }
    };
    if current {
        let closed = if thread.is_empty() {
            json!({"type": "meshagent.agent.thread.unwatch"})
        } else {
            json!({"type": "meshagent.agent.thread.close", "thread_id": thread})
        };
        agent.say(&from, closed).await;
    }
}
