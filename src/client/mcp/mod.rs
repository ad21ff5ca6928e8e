//! The model context protocol, both sides: a client of servers ([`Server`]), over streamable HTTP or the standard streams of
//! a child process, and tools offered to clients ([`offer`]), those of a room among them. Every wait and size is bounded.
//! Knows the protocol and the room client, not what the tools are used for.

mod connect;
mod content;
mod lines;
pub mod offer;
mod room;
pub mod sse;

pub use connect::{CALL_WAIT, Header, McpError, Reach, Server};
pub use content::{Shown, room_content, shown};
pub use rmcp::model::{CallToolResult, Tool};
pub use room::RoomTools;
