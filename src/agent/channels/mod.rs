//! The channels: one file each, made from its spelling by [`of`]. What they share is [`super::channel`].

mod calls;
mod chat;
mod command;
mod mail;
mod memory;
mod queue;
mod toolkit;
mod websocket;

pub use calls::Calls;
pub use memory::Memory;

use super::channel::Channel;
use super::channel_spec::AgentChannel;
use super::config::Config;
use std::sync::Arc;

/// The channel that a spelling names; `None` where this version does not serve it.
#[must_use]
pub fn of(spec: &AgentChannel, config: &Config) -> Option<Arc<dyn Channel>> {
    Some(match spec {
        AgentChannel::Chat => Arc::new(chat::Chat::default()),
        AgentChannel::Command(words) => Arc::new(command::Command::new(words)),
        AgentChannel::Mail { address, reply_all } => Arc::new(mail::Mail::new(address, *reply_all)),
        AgentChannel::Queue(name) => Arc::new(queue::Queue::new(name)),
        AgentChannel::Toolkit(name) => Arc::new(toolkit::TaskToolkit::new(name)),
        AgentChannel::WebSocket { host, port } => {
            Arc::new(websocket::WebSocket::new(host.clone(), *port, config.websocket.clone()))
        }
        AgentChannel::Memory => return None,
    })
}
