//! Containers of services, on the engine beside this server. They outlive a killed server: what it left is found by
//! its labels, and whoever plans decides what becomes of it.

use super::output::Lines;
use super::process::command::split;
use super::{
    EnvValue, InstanceKey, LogSink, Observed, RunState, Runtime, RuntimeError, StartRequest, Stream,
};
use crate::clock::IdSource;
use crate::containers::{Containers, Engine, EngineError, Exit, Files, Found, Owner, Run, State, labels};
use crate::vault::Secret;
use crate::volume::Volume;
use async_trait::async_trait;
use chrono::DateTime;
use futures_util::StreamExt as _;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// Exit codes above this are those of signals.
const SIGNALS: i64 = 128;
/// Pause before an engine that failed is asked again about a container's end.
const ASK_AGAIN: Duration = Duration::from_secs(2);

/// Runs instances as containers.
pub struct ContainerRuntime {
    containers: Arc<Containers>,
    volume: Option<Volume>,
    ids: Arc<dyn IdSource>,
    /// What runs as far as is known, for when the engine cannot tell.
    running: Arc<Mutex<BTreeSet<InstanceKey>>>,
    /// How containers ended, by id: asked for once.
    ended: Mutex<BTreeMap<String, RunState>>,
    /// One start at a time, so that one key never starts twice.
    starting: tokio::sync::Mutex<()>,
    exits: watch::Sender<u64>,
}

impl fmt::Debug for ContainerRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContainerRuntime").field("containers", &self.containers).finish_non_exhaustive()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ContainerRuntime {
    /// `volume`: folders of rooms, `None` where room files are not on a disk of this host.
    #[must_use]
    pub fn new(containers: Arc<Containers>, volume: Option<Volume>, ids: Arc<dyn IdSource>) -> Self {
        Self {
            containers,
            volume,
            ids,
            running: Arc::default(),
            ended: Mutex::default(),
            starting: tokio::sync::Mutex::default(),
            exits: watch::Sender::new(0),
        }
    }

    /// The containers of an instance, or of all; newest first.
    async fn list(&self, engine: &Engine, key: Option<&InstanceKey>) -> Result<Vec<Found>, EngineError> {
        let server = &self.containers.settings().server;
        let mut wanted = vec![(labels::SERVER.to_owned(), server.clone())];
        if let Some(key) = key {
            wanted.push((labels::ROOM.to_owned(), key.room.uuid().to_string()));
            wanted.push((labels::SERVICE.to_owned(), key.service.uuid().to_string()));
            wanted.push((labels::INSTANCE.to_owned(), key.container.to_string()));
        }
        let wanted: Vec<(&str, &str)> =
            wanted.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        engine.list(&wanted, true).await
    }

    async fn remove(&self, engine: &Engine, found: &Found) -> Result<(), EngineError> {
        engine.remove(&found.id).await?;
        locked(&self.ended).remove(&found.id);
        self.containers.settings().forget_files(&found.labels).await;
        Ok(())
    }

    async fn observed(&self, engine: &Engine, found: &Found) -> Result<Observed, EngineError> {
        let state = match found.state {
            State::Created | State::Running => RunState::Running,
            State::Unknown => return Ok(Observed::Unknown),
            State::Exited => {
                let known = locked(&self.ended).get(&found.id).copied();
                if let Some(state) = known {
                    state
                } else {
                    let seen = engine.look(&found.id).await?.and_then(|seen| seen.exit);
                    let Some(exit) = seen else { return Ok(Observed::Unknown) };
                    let state = exited(&exit, false);
                    locked(&self.ended).insert(found.id.clone(), state);
                    state
                }
            }
        };
        let started_at = found.started_at.unwrap_or(DateTime::UNIX_EPOCH);
        Ok(Observed::Present { handle: Some(found.id.clone()), state, started_at })
    }

    /// The engine's request, with the files of its mounts written.
    async fn prepare(&self, request: &StartRequest) -> Result<Run, RuntimeError> {
        let own = self.ids.fresh().simple().to_string();
        let extras = &request.container;
        let files = Files { volume: self.volume.clone(), own: self.containers.settings().files_of(&own) };
        let (room, mut mounts, configs) = (request.key.room, extras.mounts.clone(), extras.configs.clone());
        if let Some(files) = &extras.room_files {
            mounts.room.get_or_insert_default().push(files.clone());
        }
        let mounted = tokio::task::spawn_blocking(move || files.prepare(room, &mounts, &configs)).await;
        let refused = |what: String| RuntimeError::NotMounted { what };
        let mounted = mounted.map_err(|error| refused(error.to_string()))?;
        let mounted = mounted.map_err(|error| refused(error.to_string()))?;
        let owner = Owner {
            server: self.containers.settings().server.clone(),
            room,
            session: extras.session,
            service: Some(request.key.service),
        };
        let mut all: HashMap<String, String> = owner.labels();
        let mut set = |name: &str, value: String| all.insert(name.to_owned(), value);
        set(labels::INSTANCE, request.key.container.to_string());
        set(labels::NAME, extras.name.clone());
        set(labels::IMAGE, request.image.clone());
        set(labels::STARTED_BY, request.key.service.uuid().to_string());
        set(labels::STARTED_BY_NAME, extras.name.clone());
        set(labels::PRIVATE, extras.private.to_string());
        set(labels::WRITES_FILES, mounted.writes_files.to_string());
        set(labels::FILES, own.clone());
        let secret = |value: &EnvValue| match value {
            EnvValue::Plain(text) => Secret::from(text.clone()),
            EnvValue::Secret(secret) => secret.clone(),
        };
        Ok(Run {
            name: format!("meshagent-{own}"),
            image: request.image.clone(),
            command: split(&request.key, &request.command)?,
            working_dir: request.working_dir.as_ref().map(|dir| dir.display().to_string()),
            env: request.env.iter().map(|(name, value)| (name.clone(), secret(value))).collect(),
            labels: all,
            mounts: mounted.binds,
            ports: extras.ports.clone(),
            writable_root: extras.writable_root,
        })
    }

    /// Passes its output on and tells of its end.
    fn follow(&self, engine: Arc<Engine>, id: String, key: InstanceKey, sink: LogSink) {
        let (exits, running) = (self.exits.clone(), Arc::clone(&self.running));
        tokio::spawn(async move {
            let output = async {
                let mut lines =
                    [Lines::new(Stream::Stdout, Arc::clone(&sink)), Lines::new(Stream::Stderr, sink)];
                let mut items = engine.logs(&id, true);
                while let Some(Ok(item)) = items.next().await {
                    lines[usize::from(item.stderr)].take(&item.data);
                }
                lines.iter_mut().for_each(Lines::end);
            };
            let end = async {
                while let Err(error) = engine.wait(&id).await {
                    if matches!(error, EngineError::NoContainer(_)) {
                        break;
                    }
                    tracing::warn!(%error, container = id, "the engine does not tell how a container is; asked again");
                    tokio::time::sleep(ASK_AGAIN).await;
                }
            };
            tokio::join!(output, end);
            locked(&running).remove(&key);
            exits.send_modify(|count| *count = count.wrapping_add(1));
        });
    }
}

/// `asked`: we ended it, so a code of a signal is that signal.
fn exited(exit: &Exit, asked: bool) -> RunState {
    let signal = (asked && exit.code > SIGNALS).then(|| i32::try_from(exit.code - SIGNALS).ok()).flatten();
    match signal {
        Some(signal) => RunState::Exited { code: None, signal: Some(signal) },
        None => RunState::Exited { code: i32::try_from(exit.code).ok(), signal: None },
    }
}

fn key_of(found: &Found) -> Option<InstanceKey> {
    let owner = Owner::read(&found.labels)?;
    let container = found.labels.get(labels::INSTANCE)?.parse().ok()?;
    Some(InstanceKey { room: owner.room, service: owner.service?, container })
}

fn failed(action: &'static str, key: &InstanceKey, error: EngineError) -> RuntimeError {
    RuntimeError::Os { action, key: key.clone(), detail: error.to_string() }
}

#[async_trait]
impl Runtime for ContainerRuntime {
    fn name(&self) -> &'static str {
        "container"
    }

    fn describe(&self) -> String {
        let settings = self.containers.settings();
        match settings.addresses.as_slice() {
            [] => "container: switched off".to_owned(),
            all => format!("container: network {}, at {}", settings.network.mode(), all.join(", ")),
        }
    }

    async fn reach(&self, key: &InstanceKey, port: u16) -> Option<SocketAddr> {
        let engine = self.containers.engine().await.ok()?;
        let found = self.list(&engine, Some(key)).await.ok()?;
        let running = found.iter().find(|found| found.state == State::Running)?;
        engine.reach(&running.id, port).await.ok()?
    }

    async fn start(&self, request: StartRequest) -> Result<Observed, RuntimeError> {
        let key = request.key.clone();
        super::process::command::check_env(&request)?;
        let engine = self.containers.engine().await.map_err(|error| RuntimeError::NoEngine {
            image: request.image.clone(),
            text: error.to_string(),
        })?;
        let _one_at_a_time = self.starting.lock().await;
        for found in self.list(&engine, Some(&key)).await.map_err(|error| failed("look for", &key, error))? {
            if matches!(found.state, State::Running | State::Created) {
                return Err(RuntimeError::AlreadyRunning { key, handle: Some(found.id) });
            }
            self.remove(&engine, &found).await.map_err(|error| failed("replace", &key, error))?;
        }
        let there = engine.image(&request.image).await.map_err(|error| failed("start", &key, error))?;
        if there.is_none() {
            engine
                .pull(&request.image, &request.container.credentials)
                .await
                .map_err(|error| failed("start", &key, error))?;
        }
        let run = self.prepare(&request).await?;
        let id = match engine.run(&run).await {
            Ok(id) => id,
            Err(error) => {
                self.containers.settings().forget_files(&run.labels).await;
                return Err(failed("start", &key, error));
            }
        };
        locked(&self.running).insert(key.clone());
        self.follow(Arc::clone(&engine), id.clone(), key.clone(), request.log_sink);
        match engine.look(&id).await {
            Ok(Some(found)) => Ok(self.observed(&engine, &found).await.unwrap_or(Observed::Unknown)),
            Ok(None) | Err(_) => Ok(Observed::Unknown),
        }
    }

    async fn stop(&self, key: &InstanceKey, grace: Duration) -> Result<Observed, RuntimeError> {
        if self.containers.is_off() {
            return Ok(Observed::Absent);
        }
        let engine = match self.containers.engine().await {
            Ok(engine) => engine,
            Err(_) if !locked(&self.running).contains(key) => return Ok(Observed::Absent),
            Err(error) => return Err(failed("stop", key, error)),
        };
        let mut last = Observed::Absent;
        for found in self.list(&engine, Some(key)).await.map_err(|error| failed("stop", key, error))? {
            engine.stop(&found.id, grace).await.map_err(|error| failed("stop", key, error))?;
            let seen = engine.look(&found.id).await.map_err(|error| failed("stop", key, error))?;
            let exit = seen.and_then(|seen| seen.exit);
            let asked = found.state == State::Running;
            let state =
                exit.map_or(RunState::Exited { code: None, signal: None }, |exit| exited(&exit, asked));
            self.remove(&engine, &found).await.map_err(|error| failed("stop", key, error))?;
            let started_at = found.started_at.unwrap_or(DateTime::UNIX_EPOCH);
            last = Observed::Present { handle: Some(found.id), state, started_at };
        }
        locked(&self.running).remove(key);
        Ok(last)
    }

    async fn observe(&self) -> Result<Vec<(InstanceKey, Observed)>, RuntimeError> {
        if self.containers.is_off() {
            return Ok(Vec::new());
        }
        let seen = async {
            let engine = self.containers.engine().await?;
            let mut all: BTreeMap<InstanceKey, Observed> = BTreeMap::new();
            for found in self.list(&engine, None).await? {
                let Some(key) = key_of(&found) else { continue };
                let observed = self.observed(&engine, &found).await?;
                // Of several the one that runs is told; the others go with the next start or stop.
                let runs =
                    |seen: &Observed| matches!(seen, Observed::Present { state: RunState::Running, .. });
                if !all.get(&key).is_some_and(runs) {
                    all.insert(key, observed);
                }
            }
            Ok::<_, EngineError>(all)
        };
        match seen.await {
            Ok(all) => Ok(all.into_iter().collect()),
            Err(error) => {
                let running = locked(&self.running).clone();
                if !running.is_empty() {
                    tracing::warn!(%error, "the engine does not tell which containers run");
                }
                Ok(running.into_iter().map(|key| (key, Observed::Unknown)).collect())
            }
        }
    }

    fn exited(&self) -> watch::Receiver<u64> {
        self.exits.subscribe()
    }
}
