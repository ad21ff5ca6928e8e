//! Measurements beside peers, and the crash harness: the figures of `docs/performance.md` come from here.
//!
//! Knows the ports and clients and how to drive them. Nothing of the server may use it.

pub mod agent;
pub mod apply;
pub mod crash;
pub mod dataset;
pub mod fanout;
pub mod invoke;
pub mod log;
pub mod measure;
mod process;
pub mod proxy;
pub mod queue;
mod stand_in;
pub mod storage;
pub mod sync;
pub mod timing;

/// Why a measurement stopped.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    #[error("cannot measure in `{place}`: {source}")]
    Disk { place: String, source: std::io::Error },
    #[error("{name} failed: {reason}")]
    Failed { name: String, reason: String },
    #[error("`{url}` is no peer; use postgres://… or nats://…#label")]
    UnknownPeer { url: String },
}
