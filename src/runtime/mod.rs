//! What starts and stops the processes of services: the port and its adapters.
//!
//! An adapter reports what it sees and decides nothing: the service controller plans from [`Runtime::observe`]
//! and from [`Runtime::exited`]. Unknown means look again, never start twice.
//!
//! Knows nothing of services or the log; of specs only what a mount is.

mod chosen;
mod container;
mod fake;
pub mod kubernetes;
pub mod output;
mod process;
pub mod sandbox;

pub use chosen::ChosenRuntime;
pub use container::ContainerRuntime;
pub use fake::{FakeRuntime, Started};
pub use kubernetes::KubernetesRuntime;
pub use process::Spawner;
pub use process::command::is_own_image;
pub use process::{ProcessRuntime, ProcessSettings};

use crate::containers::Credential;
use crate::id::{RoomId, ServiceId, SessionId};
use crate::spec::{Mounts, RoomMount};
use crate::vault::Secret;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Longest command line handed to a runtime, bytes of all words together.
pub const COMMAND_BYTES_MAX: usize = 64 * 1024;
/// Most environment variables of one instance.
pub const ENV_MAX: usize = 512;
/// Longest line of output, bytes; the rest of the line is dropped and the cut is marked.
pub const LINE_BYTES_MAX: usize = 8 * 1024;

/// One instance of a container of a service in a room. At most one runs at a time.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct InstanceKey {
    pub room: RoomId,
    pub service: ServiceId,
    /// Which of the service's containers, from 0.
    pub container: u16,
}

impl fmt::Display for InstanceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.room, self.service, self.container)
    }
}

/// A variable's value. Debug never prints a secret one.
#[derive(Clone, Debug)]
pub enum EnvValue {
    Plain(String),
    Secret(Secret),
}

/// Which stream a line came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stream {
    Stdout,
    Stderr,
    /// The runtime itself: lines were dropped, the sandbox is not in force, and the like.
    Runtime,
}

/// One line of output, without its line end, at most [`LINE_BYTES_MAX`] bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OutputLine {
    pub stream: Stream,
    pub text: String,
}

/// Takes the lines of one instance. Must return at once; it is called from the reading task.
pub type LogSink = Arc<dyn Fn(OutputLine) + Send + Sync>;

/// What to start.
#[derive(Clone)]
pub struct StartRequest {
    pub key: InstanceKey,
    /// As the spec writes it; `meshagent/cli:<any tag>` is this very binary.
    pub image: String,
    /// Shell-like command line as the spec writes it; split into words, never given to a shell.
    pub command: String,
    /// The whole environment; nothing else is inherited but `PATH`, `HOME`, `TMPDIR` and `LANG`, which may be overridden.
    pub env: Vec<(String, EnvValue)>,
    /// Directory to start in; `None`: the instance's own temporary directory.
    pub working_dir: Option<PathBuf>,
    pub log_sink: LogSink,
    pub container: ContainerExtras,
}

/// What only containers have.
#[derive(Clone, Debug, Default)]
pub struct ContainerExtras {
    pub session: Option<SessionId>,
    /// Name that people know it by.
    pub name: String,
    pub mounts: Mounts,
    /// A mount of the room's files that no spec wrote: left out where nothing can be mounted.
    pub room_files: Option<RoomMount>,
    /// Names and texts of the platform's files in a configuration mount.
    pub configs: Vec<(&'static str, String)>,
    /// What its image is pulled with, where it is not on the machine.
    pub credentials: Vec<Credential>,
    /// Ports of the container and of this host's loopback.
    pub ports: Vec<(u16, u16)>,
    pub writable_root: bool,
    pub private: bool,
}

impl fmt::Debug for StartRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, image, command, .. } = self;
        f.debug_struct("StartRequest")
            .field("key", key)
            .field("image", image)
            .field("command", command)
            .finish_non_exhaustive()
    }
}

/// State of a process that is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RunState {
    Running,
    /// Ended; one of the two is set.
    Exited {
        code: Option<i32>,
        signal: Option<i32>,
    },
}

/// What a runtime sees of an instance.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Observed {
    /// It does not exist. Only said when that is certain.
    Absent,
    /// The runtime cannot tell now: look again.
    Unknown,
    Present {
        /// What the runtime calls it: a process id, a container's id.
        handle: Option<String>,
        state: RunState,
        started_at: DateTime<Utc>,
    },
}

/// Why the runtime did not do it.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    #[error(
        "image `{image}` needs a container runtime; use `meshagent/cli:default`, whose program is this binary"
    )]
    ImageNotSupported { image: String },
    /// The text says what to install.
    #[error("image `{image}` needs a container engine: {text}")]
    NoEngine { image: String, text: String },
    #[error("{what}")]
    NotMounted { what: String },
    #[error("the command of `{key}` cannot be split into words: {command:?}; close its quotes")]
    CommandMalformed { key: InstanceKey, command: String },
    #[error("the command of `{key}` is empty; give the container a command")]
    CommandEmpty { key: InstanceKey },
    #[error("the command or environment of `{key}` is too large: {detail}")]
    RequestTooLarge { key: InstanceKey, detail: String },
    /// The text says what is wrong with its spec.
    #[error("`{key}` cannot be started as it is written: {detail}")]
    Malformed { key: InstanceKey, detail: String },
    #[error("`{key}` runs already ({}); stop it first", handle.as_deref().unwrap_or("unnamed"))]
    AlreadyRunning { key: InstanceKey, handle: Option<String> },
    #[error("cannot {action} `{key}`: {detail}")]
    Os { action: &'static str, key: InstanceKey, detail: String },
}

/// Starts, stops and observes instances on one kind of compute.
#[async_trait]
pub trait Runtime: Send + Sync + fmt::Debug + 'static {
    /// Short name: `process`, `container`, `kubernetes`, `fake`.
    fn name(&self) -> &'static str;

    /// Name of the runtime that runs this image, for one that chooses among others.
    fn name_for(&self, _image: &str) -> &'static str {
        self.name()
    }

    /// Whether instances of this image are apart from this host, with addresses and files of their own.
    fn is_apart(&self, image: &str) -> bool {
        !is_own_image(image)
    }

    /// Where this host reaches a port of an instance; `None`: not at all.
    async fn reach(&self, _key: &InstanceKey, port: u16) -> Option<SocketAddr> {
        Some(SocketAddr::from(([127, 0, 0, 1], port)))
    }

    /// Whether the instance, and nobody else, listens at a port of it just now. Where its ports are nobody else's, it always is.
    async fn is_own(&self, _key: &InstanceKey, _port: u16) -> bool {
        true
    }

    /// One line for people: what it is and which sandbox is in force.
    fn describe(&self) -> String;

    /// Starts the instance; answers what is seen right after. An exited instance of the same key is replaced.
    async fn start(&self, request: StartRequest) -> Result<Observed, RuntimeError>;

    /// Asks the instance to end, makes it end after `grace`, and forgets it. Returns when it is gone; an absent
    /// instance is no error. Answers how it ended.
    async fn stop(&self, key: &InstanceKey, grace: Duration) -> Result<Observed, RuntimeError>;

    /// All instances that this runtime knows, exited ones until they are stopped or started anew.
    async fn observe(&self) -> Result<Vec<(InstanceKey, Observed)>, RuntimeError>;

    /// One instance.
    async fn observe_one(&self, key: &InstanceKey) -> Result<Observed, RuntimeError> {
        let all = self.observe().await?;
        Ok(all.into_iter().find(|(other, _)| other == key).map_or(Observed::Absent, |(_, seen)| seen))
    }

    /// A counter that changes whenever an instance ended: wait on it, then observe. Lost changes cannot be: it holds
    /// the newest value only.
    fn exited(&self) -> tokio::sync::watch::Receiver<u64>;
}
