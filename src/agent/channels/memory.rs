//! Channel `memory`: a conversation inside this process, for `meshagent process run`.

use crate::agent::channel::{Agent, Channel};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

/// The channel: hands the agent to whoever holds the other end, once it is open.
#[derive(Debug, Default)]
pub struct Memory {
    to: Mutex<Option<oneshot::Sender<Agent>>>,
}

impl Memory {
    /// The channel, and what receives the agent.
    #[must_use]
    pub fn pair() -> (Arc<dyn Channel>, oneshot::Receiver<Agent>) {
        let (to, agent) = oneshot::channel();
        (Arc::new(Self { to: Mutex::new(Some(to)) }), agent)
    }
}

#[async_trait::async_trait]
impl Channel for Memory {
    fn name(&self) -> String {
        "memory".to_owned()
    }

    async fn serve(self: Arc<Self>, agent: Agent, stop: CancellationToken, _abort: CancellationToken) {
        let to = self.to.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(to) = to {
            // Whoever asked for it may have gone.
            let _ = to.send(agent);
        }
        stop.cancelled().await;
    }
}
