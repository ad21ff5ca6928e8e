//! The container engine beside this server, Docker or Podman, through the one API that both speak.
//!
//! ```text
//! connect   which engine, and what to do where there is none      engine   containers: run, look, stop, wait, logs
//! create    from what to run to the engine's request              exec     a program in a running container
//! mounts    from a spec's mounts to folders on this host          images   list, pull, push, load, save, build
//! rest      what the engine tells of containers
//! labels    whose a container or image is                         text     bytes cut so that each piece is UTF-8
//! ```
//!
//! A container or an image that carries another server's or another room's labels is nobody's here: look-ups take the
//! room and do not find it. Knows nothing of sockets, grants or the log.

mod connect;
mod create;
mod engine;
mod error;
mod exec;
mod images;
pub mod labels;
mod mounts;
mod rest;
pub mod text;

pub use connect::{Containers, Limits, Network, Settings, usual_addresses};
pub use create::{Bind, Run, Source};
pub use engine::{Engine, Exit, Found, LogItem, State};
pub use error::EngineError;
pub use exec::{Exec, ExecInput, ExecOutput};
pub use images::{BuildRequest, Credential, Image, ImageDetails, Progress};
pub use labels::Owner;
pub use mounts::{Files, MountError, Mounted};
