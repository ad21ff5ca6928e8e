//! A participant's connection to a room: requests, tool calls both ways, messages, files and queues.
//!
//! One task per [`RoomClient`] dials, keeps the connection alive and comes back after a loss
//! (room protocol §1.6). What a request asks for is lost with its connection; toolkits, attributes and messaging are
//! brought back on the next one. Every queue and wait here has a named bound.

mod backoff;
mod call;
mod connection;
mod containers;
mod dial;
mod driver;
mod error;
#[cfg(test)]
pub(crate) mod fake;
mod hosting;
mod link;
mod memory;
mod messaging;
mod queues;
mod sqlite;
mod storage;
mod sync;
mod tables;
mod toolkits;

pub use backoff::Backoff;
pub use call::{Answer, Call, Target};
pub use containers::{Containers, Input, Output, OutputStream};
pub use dial::{Options, Retry, Token, room_url};
pub use error::RoomError;
pub use hosting::{Reply, ToolCall, ToolHost, Toolkit, ToolkitTool};
pub use link::Push;
pub use memory::{Memory, Reading};
pub use messaging::RoomMessage;
pub use queues::{Leased, Queues};
pub use storage::{Download, FileEntry, Storage};
pub use sync::{Documents, LiveDocument, LiveError, NewDocument, OpenDocument};
pub use tables::{Executed, Query, RowStream, Tables};
pub use toolkits::{ToolkitFilter, ToolkitInfo};

use driver::{Shared, State};
use serde_json::{Map, Value};
use std::sync::Arc;
use tokio::sync::broadcast;

/// A participant in one room. Clones share the connection; the last one to be dropped closes it.
#[derive(Clone, Debug)]
pub struct RoomClient {
    shared: Arc<Shared>,
    _closer: Arc<driver::Closer>,
}

impl RoomClient {
    /// Dials and waits until the room has let the participant in (`connected` and `room_ready`).
    ///
    /// Errors: the room refused for good, or `options.retry` ended first.
    pub async fn connect(options: Options) -> Result<Self, RoomError> {
        let (shared, closer) = driver::start(options);
        let client = Self { shared, _closer: Arc::new(closer) };
        if !client.is_nowhere() {
            client.shared.entered().await?;
        }
        Ok(client)
    }

    /// Whether there is no room ([`Options::nowhere`]).
    pub fn is_nowhere(&self) -> bool {
        self.shared.options.nowhere
    }

    /// This participant's id. It changes with every reconnect.
    pub fn participant_id(&self) -> String {
        self.shared.identity().participant_id
    }

    /// The room's name, as the server told it.
    pub fn room_name(&self) -> String {
        self.shared.identity().room_name
    }

    /// The participant's own name: its attribute `name`, which the server takes from the token.
    pub fn name(&self) -> String {
        self.shared.identity().attributes.get("name").and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    /// Merges `attributes` into this participant's, now and after each reconnect. A null clears.
    pub async fn set_attributes(&self, attributes: Map<String, Value>) -> Result<(), RoomError> {
        self.shared.merge_attributes(&attributes);
        if self.is_nowhere() {
            return Ok(());
        }
        let link = self.shared.link("set_attributes").await?;
        link.post("set_attributes", crate::wire::pack_map(&attributes, &[])).await
    }

    /// Everything the server pushes from now on. A reader that falls behind by more than
    /// 1024 pushes is told how many it missed.
    pub fn pushes(&self) -> broadcast::Receiver<Push> {
        self.shared.pushes.subscribe()
    }

    /// Waits until the connection has ended for good and says why.
    pub async fn closed(&self) -> RoomError {
        let mut state = self.shared.state.subscribe();
        let ended = state.wait_for(|s| matches!(s, State::Closed(_))).await;
        match ended.as_deref() {
            Ok(State::Closed(error)) => error.clone(),
            _ => RoomError::closed("this client was closed"),
        }
    }

    /// Whether the connection is up at this moment.
    pub fn is_up(&self) -> bool {
        matches!(*self.shared.state.borrow(), State::Up(_) | State::Nowhere)
    }

    /// Leaves the room; pending requests fail. Returns when the connection is down.
    pub async fn close(&self) {
        self.shared.closing.cancel();
        self.closed().await;
    }

    /// The room's files.
    pub fn storage(&self) -> Storage<'_> {
        Storage::new(self)
    }

    /// The room's containers and images.
    pub fn containers(&self) -> Containers<'_> {
        Containers::new(self)
    }

    /// A memory of the room.
    pub fn memory(&self, name: &str, namespace: Option<Vec<String>>) -> Memory<'_> {
        Memory::new(self, name, namespace)
    }

    /// The room's documents.
    pub fn documents(&self) -> Documents<'_> {
        Documents::new(self)
    }

    /// The room's queues.
    pub fn queues(&self) -> Queues<'_> {
        Queues::new(self)
    }
}

#[cfg(test)]
mod tests;
