//! Channel `command:PROGRAM`: conversations that a child process brings, over a socket that only it is let in by (process agents §3.4).

mod child;

use crate::agent::channel::{Agent, Channel, OUTBOX_MAX, Outgoing};
use crate::agent::message::live;
use crate::agent::pack::{MESSAGE_BYTES_MAX, Unpackable, pack, unpack};
use crate::client::room::RoomError;
use child::Child;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Bytes that are read at once.
const PIECE_BYTES: usize = 64 * 1024;
/// Participants of one child.
const PARTICIPANTS_MAX: usize = 4096;
/// Messages to the child that may wait.
const WRITES_MAX: usize = 256;

/// The channel.
#[derive(Debug)]
pub struct Command {
    words: Vec<String>,
    started: Mutex<Option<Child>>,
}

impl Command {
    #[must_use]
    pub fn new(words: &[String]) -> Self {
        Self { words: words.to_vec(), started: Mutex::default() }
    }
}

#[async_trait::async_trait]
impl Channel for Command {
    fn name(&self) -> String {
        format!("command:{}", self.words.join(" "))
    }

    fn is_threaded(&self) -> bool {
        true
    }

    async fn open(&self, agent: &Agent) -> Result<(), RoomError> {
        let token = agent.engine.config.room.token.reveal();
        let child = Child::start(&self.words, &agent.room().room_name(), token, &*agent.engine.ids).await?;
        *self.started.lock().unwrap_or_else(PoisonError::into_inner) = Some(child);
        Ok(())
    }

    async fn serve(self: Arc<Self>, agent: Agent, stop: CancellationToken, _abort: CancellationToken) {
        let child = self.started.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut child) = child else { return };
        let Some(stream) = child.stream.take() else { return };
        let (mut input, output) = stream.into_split();
        let (writes, queue) = mpsc::channel(WRITES_MAX);
        tokio::spawn(write(output, queue));
        let mut talk = Talk { name: self.name(), agent, writes, here: BTreeSet::new() };
        let mut bytes = std::mem::take(&mut child.read);
        let ended = loop {
            if let Err(reason) = talk.take(&mut bytes).await {
                break reason;
            }
            let mut piece = vec![0; PIECE_BYTES];
            tokio::select! {
                () = stop.cancelled() => break String::new(),
                read = input.read(&mut piece) => match read {
                    Ok(0) => break "it closed its connection".to_owned(),
                    Ok(n) => bytes.extend_from_slice(piece.get(..n).unwrap_or_default()),
                    Err(error) => break error.to_string(),
                },
            }
        };
        if !ended.is_empty() {
            tracing::error!(channel = talk.name, reason = ended, "a channel's program has ended");
        }
        talk.leave().await;
        child.end().await;
    }
}

/// Passes on what the child and the agent say.
struct Talk {
    name: String,
    agent: Agent,
    writes: mpsc::Sender<Vec<u8>>,
    /// Senders that are connected.
    here: BTreeSet<String>,
}

impl Talk {
    /// Takes the whole messages that `bytes` begins with; why the child is heard no more.
    async fn take(&mut self, bytes: &mut Vec<u8>) -> Result<(), String> {
        loop {
            match unpack(bytes) {
                Ok((message, used)) => {
                    bytes.drain(..used);
                    self.heard(&message).await;
                }
                Err(Unpackable::Short) if bytes.len() <= MESSAGE_BYTES_MAX => return Ok(()),
                Err(Unpackable::Short) => return Err(format!("a message is over {MESSAGE_BYTES_MAX} bytes")),
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    /// What is no message is left out, with a word in the log.
    async fn heard(&mut self, message: &Value) {
        let (Some(data @ Value::Object(_)), sender) = (message.get("data"), message.get("sender")) else {
            tracing::warn!(channel = self.name, "a message without data is dropped");
            return;
        };
        let id = sender.and_then(|sender| sender.get("id")).and_then(Value::as_str).unwrap_or("command");
        let kind = data.get("type").and_then(Value::as_str).unwrap_or_default();
        match kind.strip_prefix(crate::agent::message::PREFIX).unwrap_or_default() {
            "participant.disconnect" => {
                if self.here.remove(id) {
                    self.agent.disconnect(&self.own(id)).await;
                }
            }
            kind => {
                if !self.here.contains(id) && !self.came(id, sender).await {
                    return;
                }
                if kind != "participant.connect" {
                    self.agent.say(&self.own(id), data.clone()).await;
                }
            }
        }
    }

    /// The participant as the agent knows them: two programs may name theirs alike.
    fn own(&self, id: &str) -> String {
        format!("{}:{id}", self.name)
    }

    async fn came(&mut self, id: &str, sender: Option<&Value>) -> bool {
        if self.here.len() >= PARTICIPANTS_MAX {
            tracing::warn!(channel = self.name, "too many participants; one is not heard");
            return false;
        }
        let attributes =
            sender.and_then(|sender| sender.get("attributes")).cloned().unwrap_or_else(|| json!({}));
        let name = attributes.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
        let (outbox, inbox) = mpsc::channel(OUTBOX_MAX);
        if !self.agent.connect(&self.own(id), &name, outbox).await {
            return false;
        }
        self.here.insert(id.to_owned());
        let sender = json!({"id": id, "attributes": attributes});
        tokio::spawn(forward(inbox, sender, self.writes.clone()));
        true
    }

    async fn leave(self) {
        for id in &self.here {
            self.agent.disconnect(&self.own(id)).await;
        }
    }
}

/// Sends a participant's messages to the child, until the participant is gone.
async fn forward(mut inbox: mpsc::Receiver<Outgoing>, sender: Value, writes: mpsc::Sender<Vec<u8>>) {
    while let Some(outgoing) = inbox.recv().await {
        let data = Value::Object(live(&outgoing.message));
        let message = json!({"data": data, "sender": sender, "to_participant_id": sender["id"]});
        if writes.send(pack(&message)).await.is_err() {
            return;
        }
    }
}

async fn write(mut output: OwnedWriteHalf, mut queue: mpsc::Receiver<Vec<u8>>) {
    while let Some(bytes) = queue.recv().await {
        if output.write_all(&bytes).await.is_err() {
            return;
        }
    }
}
