//! An agent from the first connection to the last: joins, opens its channels, works, and stops gracefully.

use super::channel::{Agent, Channel};
use super::channels;
use super::config::Config;
use super::engine::Engine;
use super::listing::{self, Listing};
use super::path::index_path;
use super::storage::Index;
use super::supervisor::{HUB_MAX, Hub, ToHub};
use super::tools::Tools;
use crate::client::room::{RoomClient, RoomError};
use crate::clock::{Clock, System};
use serde_json::{Map, Value, json};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Attribute under which an agent publishes the flags it cannot honour.
pub const UNSUPPORTED_ATTRIBUTE: &str = "meshagent.agent.unsupported";
/// How long jobs may take to be given back, and threads to be written, after their turns were stopped.
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
    #[error("threads cannot be kept: {0}")]
    Threads(#[from] super::storage::InvalidPlace),
}

/// Runs an agent until `stop`, or until its room ends the session.
pub async fn run(config: Config, stop: CancellationToken) -> Result<(), AgentError> {
    run_with(config, Vec::new(), stop).await
}

/// Runs an agent with these channels beside those of its configuration.
pub async fn run_with(
    config: Config,
    more: Vec<Arc<dyn Channel>>,
    stop: CancellationToken,
) -> Result<(), AgentError> {
    let opened = config.channels.iter().filter_map(|spec| channels::of(spec, &config)).chain(more);
    let mut opened: Vec<_> = opened.collect();
    if opened.is_empty() {
        return Err(AgentError::NoChannel);
    }
    if config.voicebot.is_some() {
        opened.push(Arc::new(channels::Calls));
    }
    let config = Arc::new(config);
    let client = tokio::select! {
        client = RoomClient::connect(config.room.clone()) => client?,
        () = stop.cancelled() => return Ok(()),
    };
    tracing::info!(room = client.room_name(), agent = config.agent_name, "joined the room");
    with(config, client, opened, stop).await
}

/// Runs an agent that has joined its room, with these channels.
pub async fn with(
    config: Arc<Config>,
    client: RoomClient,
    opened: Vec<Arc<dyn Channel>>,
    stop: CancellationToken,
) -> Result<(), AgentError> {
    let (agent, hub) = start(config, client, &opened)?;
    let abort = CancellationToken::new();
    let serving = TaskTracker::new();
    let began = open(&agent, &opened, &serving, &stop, &abort).await;
    let ended = if began.is_ok() { end(&agent, &stop).await } else { began };
    stop.cancel();
    wind_down(&agent, &serving, &abort, hub).await;
    ended
}

/// The agent's core: its supervisor and the keeper of its list of threads.
fn start(
    config: Arc<Config>,
    client: RoomClient,
    opened: &[Arc<dyn Channel>],
) -> Result<(Agent, mpsc::Sender<ToHub>), AgentError> {
    let clock: Arc<dyn Clock> = Arc::new(System);
    if config.threads.stored {
        // Only to see that the folder can be.
        Index::new(client.clone(), &config.threads.dir)?;
    }
    let listing = Listing::new(config.threads.stored.then(|| client.clone()), &config.threads, clock.clone());
    let (hub, told) = mpsc::channel(HUB_MAX);
    let (jobs, list) = mpsc::channel(listing::JOBS_MAX);
    let own: Arc<OnceLock<Agent>> = Arc::default();
    let (kinds, of) = (opened.to_vec(), own.clone());
    let extra = Box::new(move |thread: &str| {
        let mut tools = Tools::default();
        if let Some(agent) = of.get() {
            kinds.iter().for_each(|channel| tools.extend(channel.tools(agent, thread)));
        }
        tools
    });
    let engine = Arc::new(Engine::new(config, client, clock.clone(), Arc::new(System), extra));
    let agent = Agent { engine: engine.clone(), hub: hub.clone() };
    // Set once, here.
    let _ = own.set(agent.clone());
    tokio::spawn(listing.work(list, hub.clone()));
    tokio::spawn(Hub::new(engine, hub.clone(), jobs).work(told));
    Ok((agent, hub))
}

/// Waits until the agent is told to stop or its connection has ended.
async fn end(agent: &Agent, stop: &CancellationToken) -> Result<(), AgentError> {
    tokio::select! {
        () = stop.cancelled() => Ok(()),
        end = agent.room().closed() => match end {
            RoomError::Closed { reason } => {
                tracing::info!(reason, "the room connection has ended");
                Ok(())
            }
            error => Err(error.into()),
        },
    }
}

async fn open(
    agent: &Agent,
    opened: &[Arc<dyn Channel>],
    serving: &TaskTracker,
    stop: &CancellationToken,
    abort: &CancellationToken,
) -> Result<(), AgentError> {
    agent.room().set_attributes(attributes(&agent.engine.config, opened)).await?;
    for channel in opened {
        let name = channel.name();
        channel.open(agent).await.map_err(|error| AgentError::Channel { channel: name.clone(), error })?;
        serving.spawn(channel.clone().serve(agent.clone(), stop.clone(), abort.clone()));
        tracing::info!(channel = name, "channel open");
    }
    Ok(())
}

fn attributes(config: &Config, opened: &[Arc<dyn Channel>]) -> Map<String, Value> {
    let models: Vec<_> = config.models.iter().map(ToString::to_string).collect();
    let mut all = Map::new();
    // Clients take an agent for able to chat unless it says otherwise.
    all.insert("supports_chat".into(), json!(false));
    all.insert("meshagent.agent.models".into(), json!(models));
    all.insert(UNSUPPORTED_ATTRIBUTE.into(), json!(config.unsupported));
    if opened.iter().any(|channel| channel.is_threaded()) {
        let dir = &config.threads.dir;
        all.insert("meshagent.chatbot.thread-dir".into(), json!(dir));
        all.insert("meshagent.chatbot.thread-list".into(), json!(index_path(dir)));
        if config.threads.single {
            all.insert("meshagent.chatbot.thread-path".into(), json!(format!("{dir}/main")));
        } else {
            all.insert("meshagent.chatbot.threading".into(), json!("default-new"));
        }
    }
    if config.tools.mcp.is_some() {
        all.insert("supports_mcp".into(), json!(true));
    }
    opened.iter().for_each(|channel| all.extend(channel.attributes()));
    all
}

/// Lets running turns end for a while, then stops them and lets their jobs be given back.
async fn wind_down(
    agent: &Agent,
    serving: &TaskTracker,
    abort: &CancellationToken,
    hub: mpsc::Sender<ToHub>,
) {
    serving.close();
    let grace = agent.engine.config.stop_grace;
    if agent.room().is_up() && tokio::time::timeout(grace, serving.wait()).await.is_err() {
        tracing::warn!(grace_ms = grace.as_millis(), "stopping the turns that still run");
    }
    abort.cancel();
    let settled = async {
        serving.wait().await;
        let (done, stopped) = oneshot::channel();
        if hub.send(ToHub::Stop(done)).await.is_ok() {
            // It went down by itself.
            let _ = stopped.await;
        }
    };
    if tokio::time::timeout(GIVE_BACK_MAX, settled).await.is_err() {
        tracing::error!("some jobs could not be given back; their leases will end");
    }
    if tokio::time::timeout(GIVE_BACK_MAX, agent.engine.close()).await.is_err() {
        tracing::warn!("containers of the shell are left to their session");
    }
    agent.room().close().await;
}
