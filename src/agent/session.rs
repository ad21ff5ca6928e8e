//! A person's side of a conversation with an agent: over the room's messaging, over a socket of its own, or with an agent in this same
//! process.

mod socket;

use super::channel::{Agent, OUTBOX_MAX, Outgoing};
use super::message::{Body, Message};
use crate::client::room::{Push, RoomClient, RoomError, RoomMessage};
use crate::clock::{Clock, IdSource, System};
use serde_json::{Map, Value};
use socket::Socket;
use std::time::Duration;
use tokio::sync::{broadcast, mpsc};

/// How long the agent may take to be in the room.
const FIND_MAX: Duration = Duration::from_secs(30);

/// Why there is no conversation.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    #[error(transparent)]
    Room(#[from] RoomError),
    #[error("agent `{name}` did not come into the room within {} s, or takes no messages; start it with `meshagent process join --channel chat`", FIND_MAX.as_secs())]
    NotThere { name: String },
    #[error("agent `{name}` has left the room")]
    Left { name: String },
    #[error("messages came faster than they were read, and {missed} are lost; open the thread again")]
    Behind { missed: u64 },
    #[error("the agent has ended")]
    Ended,
    #[error("the agent does not answer: {why}")]
    Socket { why: String },
}

enum Way {
    Room { room: RoomClient, pushes: broadcast::Receiver<Push>, agent_id: String, agent_name: String },
    Socket(Box<Socket>),
    Local { agent: Agent, id: String, inbox: mpsc::Receiver<Outgoing> },
}

/// A conversation.
pub struct Session {
    way: Way,
    /// What the agent says of itself.
    pub attributes: Map<String, Value>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Session")
    }
}

fn named<'a>(participant: &'a Value, name: &str) -> Option<(&'a str, &'a Map<String, Value>)> {
    let attributes = participant.get("attributes")?.as_object()?;
    let id = participant.get("id")?.as_str()?;
    (attributes.get("name")?.as_str()? == name).then_some((id, attributes))
}

impl Session {
    /// Finds agent `name` in the room and talks to it there.
    pub async fn in_room(room: RoomClient, name: &str) -> Result<Self, SessionError> {
        let mut pushes = room.pushes();
        room.enable_messaging().await?;
        let find = async {
            loop {
                let push = match pushes.recv().await {
                    Ok(push) => push,
                    Err(broadcast::error::RecvError::Lagged(_)) => continue,
                    Err(broadcast::error::RecvError::Closed) => return Err(room.closed().await.into()),
                };
                let Some(message) = RoomMessage::from_push(&push) else { continue };
                let listed = message.body.get("participants").and_then(Value::as_array);
                let here = match message.kind.as_str() {
                    "messaging.enabled" => listed.into_iter().flatten().find_map(|p| named(p, name)),
                    "participant.enabled" => named(&message.body, name),
                    _ => None,
                };
                if let Some((id, attributes)) = here {
                    return Ok::<_, SessionError>((id.to_owned(), attributes.clone()));
                }
            }
        };
        let found = tokio::time::timeout(FIND_MAX, find).await;
        let (agent_id, attributes) =
            found.map_err(|_| SessionError::NotThere { name: name.to_owned() })??;
        let agent_name = name.to_owned();
        Ok(Self { way: Way::Room { room, pushes, agent_id, agent_name }, attributes })
    }

    /// Talks to an agent at its own socket, `ws(s)://…`, with a token for it.
    pub async fn at(url: &str, token: &str) -> Result<Self, SessionError> {
        let socket = Box::new(Socket::dial(url, token).await?);
        Ok(Self { way: Way::Socket(socket), attributes: Map::new() })
    }

    /// Talks to an agent of this process, as `name`.
    pub async fn with_agent(agent: Agent, name: &str) -> Self {
        let (outbox, inbox) = mpsc::channel(OUTBOX_MAX);
        let id = format!("local:{name}");
        agent.connect(&id, name, outbox).await;
        Self { way: Way::Local { agent, id, inbox }, attributes: Map::new() }
    }

    /// Says something; its message id.
    pub async fn say(&self, body: Body) -> Result<String, SessionError> {
        let message = Message::new(System.fresh().to_string(), System.now(), body);
        let full = Value::Object(message.full());
        match &self.way {
            Way::Room { room, agent_id, .. } => {
                room.send_message(agent_id, "agent-message", &full, None).await?;
            }
            Way::Socket(socket) => socket.say(&full).await?,
            Way::Local { agent, id, .. } => agent.say(id, full).await,
        }
        Ok(message.message_id)
    }

    /// The next thing the agent says.
    pub async fn hear(&mut self) -> Result<Map<String, Value>, SessionError> {
        match &mut self.way {
            Way::Socket(socket) => socket.hear().await,
            Way::Local { inbox, .. } => {
                let outgoing = inbox.recv().await.ok_or(SessionError::Ended)?;
                Ok((*outgoing.message).clone())
            }
            Way::Room { room, pushes, agent_id, agent_name } => loop {
                let push = match pushes.recv().await {
                    Ok(push) => push,
                    Err(broadcast::error::RecvError::Lagged(missed)) => {
                        return Err(SessionError::Behind { missed });
                    }
                    Err(broadcast::error::RecvError::Closed) => return Err(room.closed().await.into()),
                };
                let Some(message) = RoomMessage::from_push(&push) else { continue };
                let left = message.body.get("id").and_then(Value::as_str) == Some(agent_id.as_str());
                match (message.kind.as_str(), message.body) {
                    ("participant.disabled", _) if left => {
                        return Err(SessionError::Left { name: agent_name.clone() });
                    }
                    ("agent-message", Value::Object(body)) if message.from_participant_id == *agent_id => {
                        return Ok(body);
                    }
                    _ => {}
                }
            },
        }
    }

    /// Leaves.
    pub async fn end(self) {
        match self.way {
            Way::Room { room, .. } => room.close().await,
            Way::Socket(socket) => socket.end().await,
            Way::Local { agent, id, .. } => agent.disconnect(&id).await,
        }
    }
}
