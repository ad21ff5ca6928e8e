//! The composition root: options become ports, ports become the application, the application gets its edges and
//! controllers. Everything is made here, once, and stopped here, in the opposite order.

mod agents;
mod cleanup;
mod containers;
mod doors;
mod first_start;
mod gate;
mod host;
mod keeper;
mod lines;
mod livekit;
mod llm;
mod mail;
mod member;
mod memory;
mod options;
mod pods;
mod proxy;
mod report;
mod room_edge;
mod room_secrets;
mod secrets;
mod start;
mod stores;
mod tls;

pub use first_start::Connection;
pub use livekit::LiveKitServer;
pub use mail::{DEFAULT_MESSAGE_MIB, DEFAULT_RETRY_SECONDS, MailOptions, Outgoing};
pub use options::{DEFAULT_LISTEN, DEFAULT_MEMORY_MODEL, Options};
pub use pods::PodOptions;
pub use proxy::ProxyOptions;
pub use start::{Server, StartError};
