//! An agent from the first connection to the last: joins, opens its channels, works, and stops gracefully.

use super::config::{Config, TURNS_MAX};
use super::engine::{Engine, TurnRequest};
use super::supervisor::Supervisor;
use super::toolkit::TaskHost;
use super::turn::{Failure, Outcome};
use super::{AgentChannel, queue, toolkit};
use crate::client::room::{RoomClient, RoomError};
use crate::clock::{Clock, IdSource, System};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Attribute under which an agent publishes the flags it cannot honour.
pub const UNSUPPORTED_ATTRIBUTE: &str = "meshagent.agent.unsupported";
/// How long jobs may take to be given back after their turns were stopped.
const GIVE_BACK_MAX: Duration = Duration::from_secs(2);

/// Why an agent ended.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    #[error("the agent cannot be in its room: {0}")]
    Room(#[from] RoomError),
    #[error("channel {channel} cannot be opened: {error}")]
    Channel { channel: String, error: RoomError },
    #[error("at least one channel is required for process agents")]
    NoChannel,
}

/// What the channels of one agent share.
pub(super) struct Agent {
    pub config: Arc<Config>,
    pub client: RoomClient,
    pub clock: Arc<dyn Clock>,
    /// Turns under way, with what follows them.
    pub work: TaskTracker,
    ids: Arc<dyn IdSource>,
    supervisor: Supervisor<TurnRequest>,
}

impl Agent {
    /// The thread of a turn and whether it is worth remembering: a fresh one is not, since nobody can name it.
    pub fn thread(&self, wanted: Option<&str>) -> (String, bool) {
        let threads = &self.config.threads;
        match wanted {
            Some(path) => (path.to_owned(), true),
            None if threads.single => (format!("{}/main", threads.dir), true),
            None => (format!("{}/{}", threads.dir, self.ids.fresh()), false),
        }
    }

    /// Runs a turn when its thread's line has come to it.
    pub async fn turn(&self, thread: &str, request: TurnRequest, remember: bool) -> Outcome {
        let outcome = self.supervisor.submit(thread, request, remember).await;
        outcome.unwrap_or_else(|_| {
            Outcome::Failed(Failure { message: "the agent stopped".into(), code: "cancelled" })
        })
    }
}

/// Runs the agent until `stop`, or until the room ends the session.
///
/// Errors: the room refuses the agent, or one of its channels cannot be opened.
pub async fn run(config: Config, stop: CancellationToken) -> Result<(), AgentError> {
    if config.channels.is_empty() {
        return Err(AgentError::NoChannel);
    }
    let config = Arc::new(config);
    let client = tokio::select! {
        client = RoomClient::connect(config.room.clone()) => client?,
        () = stop.cancelled() => return Ok(()),
    };
    tracing::info!(room = client.room_name(), agent = config.agent_name, "joined the room");
    let agent = agent(config, client);
    let abort = CancellationToken::new();
    let channels = TaskTracker::new();
    let opened = open(&agent, &channels, &stop, &abort).await;
    let ended = if opened.is_ok() { end(&agent, &stop).await } else { opened };
    stop.cancel();
    wind_down(&agent, &channels, &abort).await;
    ended
}

/// Waits until the agent is told to stop or its connection has ended.
async fn end(agent: &Agent, stop: &CancellationToken) -> Result<(), AgentError> {
    tokio::select! {
        () = stop.cancelled() => Ok(()),
        end = agent.client.closed() => match end {
            RoomError::Closed { reason } => {
                tracing::info!(reason, "the room connection has ended");
                Ok(())
            }
            error => Err(error.into()),
        },
    }
}

fn agent(config: Arc<Config>, client: RoomClient) -> Arc<Agent> {
    let clock: Arc<dyn Clock> = Arc::new(System);
    let ids: Arc<dyn IdSource> = Arc::new(System);
    let engine = Engine::new(config.clone(), client.clone(), clock.clone(), ids.clone());
    let supervisor = Supervisor::new(Arc::new(engine), TURNS_MAX);
    Arc::new(Agent { config, client, clock, work: TaskTracker::new(), ids, supervisor })
}

async fn open(
    agent: &Arc<Agent>,
    channels: &TaskTracker,
    stop: &CancellationToken,
    abort: &CancellationToken,
) -> Result<(), AgentError> {
    agent.client.set_attributes(attributes(&agent.config)).await?;
    for channel in &agent.config.channels {
        match channel {
            AgentChannel::Queue(name) => {
                let consume = queue::consume(agent.clone(), name.clone(), stop.clone(), abort.clone());
                channels.spawn(consume);
            }
            AgentChannel::Toolkit(name) => {
                let (name, agent) = (name.clone(), agent.clone());
                let host = TaskHost { name: name.clone(), agent: agent.clone(), abort: abort.clone() };
                let hosted = agent.client.host(toolkit::toolkit(&name), Arc::new(host)).await;
                hosted.map_err(|error| AgentError::Channel { channel: channel.to_string(), error })?;
            }
            other => {
                tracing::warn!(channel = %other, "this version does not serve the channel");
                continue;
            }
        }
        tracing::info!(channel = %channel, "channel open");
    }
    Ok(())
}

fn attributes(config: &Config) -> Map<String, Value> {
    let models: Vec<_> = config.models.iter().map(ToString::to_string).collect();
    let mut attributes = Map::new();
    // Clients take an agent for able to chat unless it says otherwise.
    attributes.insert("supports_chat".into(), json!(false));
    attributes.insert("meshagent.agent.models".into(), json!(models));
    attributes.insert(UNSUPPORTED_ATTRIBUTE.into(), json!(config.unsupported));
    attributes
}

/// Lets running turns end for a while, then stops them and lets their jobs be given back.
async fn wind_down(agent: &Arc<Agent>, channels: &TaskTracker, abort: &CancellationToken) {
    channels.close();
    agent.work.close();
    let grace = agent.config.stop_grace;
    if agent.client.is_up() && tokio::time::timeout(grace, agent.work.wait()).await.is_err() {
        tracing::warn!(grace_ms = grace.as_millis(), "stopping the turns that still run");
    }
    abort.cancel();
    let settled = async {
        agent.work.wait().await;
        channels.wait().await;
    };
    if tokio::time::timeout(GIVE_BACK_MAX, settled).await.is_err() {
        tracing::error!("some jobs could not be given back; their leases will end");
    }
    agent.client.close().await;
}
