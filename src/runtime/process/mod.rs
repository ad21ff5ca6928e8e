//! Child processes on this host. Each is the leader of a session of its own, in a sandbox where the kernel has one,
//! with an environment built from nothing, and ends with the server, however the server ends.

pub(super) mod command;
mod instance;
mod listening;
mod reaper;
mod spawner;

use super::sandbox::{Confinement, Limits, SandboxArgs, available};
use super::{InstanceKey, Observed, RunState, Runtime, RuntimeError, StartRequest};
use crate::clock::{Clock, IdSource};
use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use instance::Instance;
use listening::Whose;
pub use spawner::Spawner;
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::process::Command;
use tokio::sync::watch;

/// Folder of the data directory that holds the children's own directories.
const RUN_DIR: &str = "run";
/// How long a port that was found to be a child's own is taken for it: looking costs some milliseconds.
const OWNED_FOR: TimeDelta = TimeDelta::seconds(1);
/// Most children at a time.
const INSTANCES_MAX: usize = 1_000;

/// How the process runtime is set up.
#[derive(Clone, Debug)]
pub struct ProcessSettings {
    pub data_dir: PathBuf,
    /// The `meshagent` binary: what `meshagent` in a command means, and what enters the sandbox.
    pub program: PathBuf,
    /// False: children are not confined, only tied to the server.
    pub confine: bool,
    /// Further files and directories that children may read and run.
    pub readable: Vec<PathBuf>,
}

/// Runs instances as child processes.
pub struct ProcessRuntime {
    settings: ProcessSettings,
    run_dir: PathBuf,
    confinement: Confinement,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
    spawner: Spawner,
    instances: Mutex<BTreeMap<InstanceKey, Arc<Instance>>>,
    /// One start at a time, so that one key never starts twice.
    starting: tokio::sync::Mutex<()>,
    exits: watch::Sender<u64>,
    /// Ports that were found to be a session's own, and until when that is believed.
    owned: Mutex<BTreeMap<(u32, u16), DateTime<Utc>>>,
}

impl fmt::Debug for ProcessRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessRuntime").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl ProcessRuntime {
    /// Ends what a former server left behind, then is ready. Call within the async runtime.
    pub fn open(
        settings: ProcessSettings,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn IdSource>,
    ) -> std::io::Result<Self> {
        let run_dir = settings.data_dir.join(RUN_DIR);
        let killed = reaper::reap(&run_dir);
        if killed > 0 {
            tracing::warn!(killed, "processes that a former server left behind were ended");
        }
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&run_dir)?;
        // Rules hold for files, not for names: links are followed now.
        let run_dir = run_dir.canonicalize()?;
        let confinement = match available() {
            _ if !settings.confine => Confinement::None { reason: "switched off".to_owned() },
            found => found,
        };
        Ok(Self {
            settings,
            run_dir,
            confinement,
            clock,
            ids,
            spawner: Spawner::start()?,
            instances: Mutex::default(),
            starting: tokio::sync::Mutex::default(),
            exits: watch::Sender::new(0),
            owned: Mutex::default(),
        })
    }

    fn instances(&self) -> MutexGuard<'_, BTreeMap<InstanceKey, Arc<Instance>>> {
        self.instances.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn owned(&self) -> MutexGuard<'_, BTreeMap<(u32, u16), DateTime<Utc>>> {
        self.owned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, key: &InstanceKey) -> Option<Arc<Instance>> {
        self.instances().get(key).cloned()
    }

    /// Refuses a key that runs, forgets one that has ended.
    fn check_free(&self, key: &InstanceKey) -> Result<(), RuntimeError> {
        let mut instances = self.instances();
        if let Some(old) = instances.get(key) {
            if old.state() == RunState::Running {
                return Err(RuntimeError::AlreadyRunning {
                    key: key.clone(),
                    handle: Some(old.pid().to_string()),
                });
            }
            instances.remove(key);
        }
        if instances.len() >= INSTANCES_MAX {
            let detail = format!("{INSTANCES_MAX} processes are known already; stop some");
            return Err(RuntimeError::Os { action: "start", key: key.clone(), detail });
        }
        Ok(())
    }

    fn command(&self, request: &StartRequest, own: &Path) -> Result<Command, RuntimeError> {
        let words = command::words(request, &self.settings.program)?;
        let env = command::environment(request, own)?;
        let working_dir = request.working_dir.clone().unwrap_or_else(|| own.to_owned());
        let mut read = self.settings.readable.clone();
        read.push(self.settings.program.clone());
        let args = SandboxArgs {
            parent: std::process::id(),
            confine: matches!(self.confinement, Confinement::Landlock { .. }),
            read,
            write: vec![own.to_owned(), working_dir.clone()],
            limits: Limits::default(),
            command: words,
        };
        let mut command = Command::new(&self.settings.program);
        command.args(args.to_args()).env_clear().envs(env).current_dir(working_dir);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        Ok(command)
    }

    /// A directory that only this child may use.
    fn make_own_dir(&self) -> std::io::Result<PathBuf> {
        let own = self.run_dir.join(self.ids.fresh().to_string());
        let private = |path: &Path| fs::DirBuilder::new().mode(0o700).create(path);
        private(&own)?;
        private(&own.join("home"))?;
        Ok(own)
    }
}

#[async_trait]
impl Runtime for ProcessRuntime {
    fn name(&self) -> &'static str {
        "process"
    }

    async fn reach(&self, key: &InstanceKey, port: u16) -> Option<SocketAddr> {
        let at = SocketAddr::from(([127, 0, 0, 1], port));
        let session = self.find(key)?.pid();
        let now = self.clock.now();
        if self.owned().get(&(session, port)).is_some_and(|until| now < *until) {
            return Some(at);
        }
        let looked = tokio::task::spawn_blocking(move || listening::whose(session, port)).await;
        match looked {
            Ok(Whose::Own) => {
                let mut owned = self.owned();
                owned.retain(|_, until| now < *until);
                owned.insert((session, port), now + OWNED_FOR);
                Some(at)
            }
            // Whoever connects finds that out, and asks again then whose it is.
            Ok(Whose::Nobodys) => Some(at),
            Ok(Whose::Foreign) | Err(_) => {
                tracing::warn!(%key, port, "a port of a service is somebody else's; nothing is sent there");
                None
            }
        }
    }

    async fn is_own(&self, key: &InstanceKey, port: u16) -> bool {
        let Some(session) = self.find(key).map(|instance| instance.pid()) else { return false };
        let looked = tokio::task::spawn_blocking(move || listening::whose(session, port)).await;
        matches!(looked, Ok(Whose::Own))
    }

    fn describe(&self) -> String {
        format!("process: child processes of this server; sandbox: {}", self.confinement)
    }

    async fn start(&self, request: StartRequest) -> Result<Observed, RuntimeError> {
        command::check_image(&request.image)?;
        let _one_at_a_time = self.starting.lock().await;
        let key = request.key.clone();
        self.check_free(&key)?;
        let failed = |error: std::io::Error| RuntimeError::Os {
            action: "start",
            key: key.clone(),
            detail: error.to_string(),
        };
        let directory = self.make_own_dir().map_err(failed)?;
        let started = match self.command(&request, &directory.join("home")) {
            Ok(command) => self.spawner.spawn(command).await.map_err(failed),
            Err(error) => Err(error),
        };
        let child = match started {
            Ok(child) => child,
            Err(error) => {
                let _ = fs::remove_dir_all(&directory);
                return Err(error);
            }
        };
        let sink = request.log_sink;
        let instance = Instance::follow(child, directory, self.clock.now(), sink, self.exits.clone());
        let instance = instance.map_err(failed)?;
        let seen = instance.observed();
        self.instances().insert(key.clone(), instance);
        Ok(seen)
    }

    async fn stop(&self, key: &InstanceKey, grace: Duration) -> Result<Observed, RuntimeError> {
        let Some(instance) = self.find(key) else { return Ok(Observed::Absent) };
        instance.stop(grace).await;
        let mut instances = self.instances();
        if instances.get(key).is_some_and(|known| Arc::ptr_eq(known, &instance)) {
            instances.remove(key);
        }
        Ok(instance.observed())
    }

    async fn observe(&self) -> Result<Vec<(InstanceKey, Observed)>, RuntimeError> {
        Ok(self.instances().iter().map(|(key, instance)| (key.clone(), instance.observed())).collect())
    }

    fn exited(&self) -> watch::Receiver<u64> {
        self.exits.subscribe()
    }
}

impl Drop for ProcessRuntime {
    fn drop(&mut self) {
        for instance in self.instances().values() {
            instance.kill();
        }
    }
}
