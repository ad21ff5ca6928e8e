//! Carries the steps of a plan out, and records what was seen. No choices are made here.

use super::agents;
use super::environment::{self, Place, Refused, Value};
use super::invoke::add_env;
use super::plan::{Act, Mark, Step, reason};
use super::probe::Probes;
use super::pull::credentials;
use super::{NAME, State, locked};
use crate::app::token::Mint;
use crate::app::{Actor, App};
use crate::blob::{BlobError, Blobs};
use crate::control::{ControlParts, Error};
use crate::domain::instance::{self, Command};
use crate::domain::service::Service;
use crate::domain::session::Reason;
use crate::id::{ServiceId, SessionId};
use crate::runtime::{
    EnvValue, InstanceKey, LogSink, Observed, OutputLine, RuntimeError, StartRequest, Stream,
};
use crate::spec::{ApiScope, Container, PortNumber, RunAs, SeedFile};
use crate::vault::Secret;
use bytes::Bytes;
use serde_json::json;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How long a process may take to end when asked, before it is made to.
pub const STOP_GRACE: Duration = Duration::from_secs(10);
/// Kind of a line of a service's output in the room's developer log.
pub const OUTPUT_KIND: &str = "service.output";

/// What a step works with.
#[derive(Clone)]
pub(super) struct Execute {
    pub parts: ControlParts,
    pub state: Arc<Mutex<State>>,
    pub probes: Arc<Probes>,
}

impl Execute {
    pub async fn step(self, step: Step) -> Result<(), Error> {
        let key = step.key;
        match step.act {
            Act::Seed { session, generation } => self.seed(&key, session, generation).await,
            Act::Start { session, generation } => self.start(&key, Mark { session, generation }).await,
            Act::Stop { record, reason } => self.stop(&key, record, reason).await,
            Act::RecordExit { instance, code, signal } => {
                tracing::warn!(instance = %key, ?code, ?signal, "a service's process ended");
                self.probes.forget(&key);
                locked(&self.state).invoked.remove(&key);
                let exited = instance::Exited { key: instance, code, signal };
                self.record(instance, Command::Exited(exited)).await
            }
            Act::Adopt { instance, generation, handle } => {
                let notes = self.notes(key.service);
                self.record_start(instance, generation, handle, notes).await
            }
            Act::Wait { .. } => Ok(()),
        }
    }

    async fn seed(&self, key: &InstanceKey, session: SessionId, generation: u64) -> Result<(), Error> {
        let world = self.parts.app.world();
        let Some(service) = world.service(key.service).filter(|s| s.run_generation == generation) else {
            return Ok(());
        };
        match put_missing(&self.parts.blobs, key, service.spec.files()).await {
            Ok(()) => {
                locked(&self.state).seeded.insert(key.clone(), Mark { session, generation });
                Ok(())
            }
            Err((path, error)) => {
                let message = format!("the file `{path}` cannot be put into the room: {error}");
                let refused = Refused { reason: reason::FILES_FAILED, message };
                self.record_failure(key, Mark { session, generation }, refused).await
            }
        }
    }

    async fn start(&self, key: &InstanceKey, mark: Mark) -> Result<(), Error> {
        self.start_with(key, mark, Vec::new()).await
    }

    /// Starts it with variables besides those of its spec.
    pub(super) async fn start_with(
        &self,
        key: &InstanceKey,
        mark: Mark,
        env: Vec<(String, String)>,
    ) -> Result<(), Error> {
        let world = self.parts.app.world();
        let Some(service) = world.service(key.service).filter(|s| s.run_generation == mark.generation) else {
            return Ok(());
        };
        let (Some(container), Some(room)) = (&service.spec.container, world.room(key.room)) else {
            return Ok(());
        };
        let room = room.name.to_string();
        let request = match self.request(key, mark, service, container, &room).await {
            Ok(mut request) => {
                add_env(&mut request.env, env);
                request
            }
            Err(refused) => return self.record_failure(key, mark, refused).await,
        };
        match self.parts.runtime.start(request).await {
            Ok(seen) => {
                locked(&self.state).marks.insert(key.clone(), mark);
                // Unknown: the next look tells, and the start is recorded then.
                let Observed::Present { handle, .. } = seen else { return Ok(()) };
                tracing::info!(
                    room,
                    service = service.spec.metadata.name,
                    handle,
                    "a service's process started"
                );
                let instance = instance::Key { session: mark.session, service: key.service };
                let apart = self.parts.runtime.is_apart(&container.image);
                let notes = environment::not_honoured(&service.spec, container, apart);
                self.record_start(instance, mark.generation, handle, notes).await
            }
            Err(RuntimeError::AlreadyRunning { .. }) => Ok(()),
            Err(error) => self.record_failure(key, mark, refusal(&error)).await,
        }
    }

    async fn request(
        &self,
        key: &InstanceKey,
        mark: Mark,
        service: &Service,
        container: &Container,
        room: &str,
    ) -> Result<StartRequest, Refused> {
        let port = self.port(key, service).await?;
        let in_container = self.parts.runtime.is_apart(&container.image);
        let place = Place {
            project: key.room.project(),
            room: room.to_owned(),
            session: mark.session,
            url: environment::url(&self.parts, in_container),
            host: if in_container { "0.0.0.0" } else { "127.0.0.1" },
            port,
        };
        let variables = environment::variables(&service.spec, container, &place, &self.parts.settings)?;
        let name = &service.spec.metadata.name;
        let mut env = mint_all(&self.parts.app, key.service, name, room, variables).await?;
        let secret = agents::secret(&self.parts.app, key).await;
        env.extend(secret.map_err(|message| Refused { reason: reason::TOKEN_FAILED, message })?);
        let mut extras = environment::extras(&service.spec, container, mark.session, &self.parts.app.world());
        if in_container {
            extras.credentials = credentials(&self.parts.app, key.room.project(), container).await?;
        }
        Ok(StartRequest {
            key: key.clone(),
            image: container.image.clone(),
            command: container.command.clone().unwrap_or_default(),
            env,
            working_dir: container.working_dir.as_ref().filter(|_| in_container).map(PathBuf::from),
            log_sink: self.sink(key, name, room),
            container: extras,
        })
    }

    /// A free port of this host, where the spec asks for any; kept for the probes.
    async fn port(&self, key: &InstanceKey, service: &Service) -> Result<Option<u16>, Refused> {
        if !service.spec.ports().iter().any(|port| port.num == PortNumber::Any) {
            return Ok(None);
        }
        let free = async { tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?.local_addr() }.await;
        let port = free.map_err(|error| Refused {
            reason: reason::START_FAILED,
            message: format!("no free port was found for the service: {error}"),
        })?;
        self.probes.set_port(key, port.port());
        Ok(Some(port.port()))
    }

    async fn stop(
        &self,
        key: &InstanceKey,
        record: Option<instance::Key>,
        reason: &'static str,
    ) -> Result<(), Error> {
        let ended = self.parts.runtime.stop(key, self.grace(key)).await?;
        tracing::info!(instance = %key, reason, ?ended, "a service's process was stopped");
        {
            let mut state = locked(&self.state);
            state.marks.remove(key);
            state.seeded.remove(key);
            state.invoked.remove(key);
        }
        self.probes.forget(key);
        let Some(instance) = record else { return Ok(()) };
        let stopped = instance::Stopped { key: instance, reason: reason.to_owned() };
        self.record(instance, Command::Stopped(stopped)).await
    }

    /// How long a process may take to stop; none in a session that was killed.
    fn grace(&self, key: &InstanceKey) -> Duration {
        let session = locked(&self.state).marks.get(key).map(|mark| mark.session);
        let world = self.parts.app.world();
        let ended = session.and_then(|session| world.session(session)).and_then(|session| session.ended);
        if ended.is_some_and(|(_, reason)| reason == Reason::Killed) { Duration::ZERO } else { STOP_GRACE }
    }

    fn notes(&self, service: ServiceId) -> Vec<String> {
        let world = self.parts.app.world();
        let Some(spec) = world.service(service).map(|service| &service.spec) else { return Vec::new() };
        let Some(container) = &spec.container else { return Vec::new() };
        environment::not_honoured(spec, container, self.parts.runtime.is_apart(&container.image))
    }

    async fn record_start(
        &self,
        instance: instance::Key,
        generation: u64,
        handle: Option<String>,
        notes: Vec<String>,
    ) -> Result<(), Error> {
        let handle = handle.unwrap_or_default();
        let runtime = self.runtime_name(instance.service).to_owned();
        let started = instance::Started { key: instance, generation, handle, runtime, notes };
        self.record(instance, Command::Started(started)).await
    }

    fn runtime_name(&self, service: ServiceId) -> &'static str {
        let world = self.parts.app.world();
        let container = world.service(service).and_then(|service| service.spec.container.as_ref());
        container.map_or(self.parts.runtime.name(), |container| self.parts.runtime.name_for(&container.image))
    }

    async fn record_failure(&self, key: &InstanceKey, mark: Mark, refused: Refused) -> Result<(), Error> {
        let Refused { reason, message } = refused;
        tracing::warn!(instance = %key, reason, message, "a service cannot be started");
        let instance = instance::Key { session: mark.session, service: key.service };
        let data = json!({"service_id": key.service.to_string(), "reason": reason, "message": message});
        self.parts.host.log_line(key.room, "service.failed", data);
        let (reason, generation) = (reason.to_owned(), mark.generation);
        self.record(
            instance,
            Command::Failed(instance::Failed { key: instance, generation, reason, message }),
        )
        .await
    }

    async fn record(&self, key: instance::Key, seen: Command) -> Result<(), Error> {
        Ok(self.parts.app.record_instance(&Actor::controller(NAME), key, seen).await?)
    }

    /// Takes the output: lines for the room's developer log and for the server's own.
    fn sink(&self, key: &InstanceKey, service: &str, room: &str) -> LogSink {
        let (host, id, service_id) = (Arc::clone(&self.parts.host), key.room, key.service.to_string());
        let (service, room) = (service.to_owned(), room.to_owned());
        Arc::new(move |line: OutputLine| {
            let stream = match line.stream {
                Stream::Stdout => "stdout",
                Stream::Stderr => "stderr",
                Stream::Runtime => "runtime",
            };
            tracing::info!(target: "service", room, service, stream, "{}", line.text);
            let data =
                json!({"service": service, "service_id": service_id, "stream": stream, "message": line.text});
            host.log_line(id, OUTPUT_KIND, data);
        })
    }
}

/// Writes the files that are not there.
async fn put_missing(
    blobs: &Blobs,
    key: &InstanceKey,
    files: &[SeedFile],
) -> Result<(), (String, BlobError)> {
    let room = blobs.room(key.room);
    for file in files {
        let path = file.path.trim_start_matches('/');
        let put = async {
            if room.exists(path).await? {
                return Ok(());
            }
            match room.write(path, Bytes::from(file.text.clone()), false).await {
                Ok(_) | Err(BlobError::AlreadyExists { .. }) => Ok(()),
                Err(error) => Err(error),
            }
        };
        put.await.map_err(|error| (file.path.clone(), error))?;
    }
    Ok(())
}

/// Turns every variable into its value.
async fn mint_all(
    app: &App,
    service: ServiceId,
    name: &str,
    room: &str,
    variables: Vec<(String, Value)>,
) -> Result<Vec<(String, EnvValue)>, Refused> {
    let token = async |identity: &str, role: &str, api: ApiScope| {
        let mint = Mint {
            role: Some(role.to_owned()),
            room: Some(room.to_owned()),
            api: Some(api),
            service: Some(service),
            ..Mint::new(service.project(), identity)
        };
        app.mint(mint).await.map(Secret::from).map_err(|error| Refused {
            reason: reason::TOKEN_FAILED,
            message: format!("the token of `{identity}` cannot be made: {error}"),
        })
    };
    let mut own: Option<Secret> = None;
    let mut env = Vec::with_capacity(variables.len());
    for (variable, value) in variables {
        let value = match value {
            Value::Text(text) => EnvValue::Plain(text),
            Value::Stored { id, run_as } => {
                EnvValue::Secret(stored(app, service, &variable, &id, &run_as).await?)
            }
            Value::Token { identity, role, api } => EnvValue::Secret(token(&identity, &role, *api).await?),
            Value::OwnToken => {
                let minted = match &own {
                    Some(minted) => minted.clone(),
                    None => token(name, "agent", ApiScope::agent_default()).await?,
                };
                EnvValue::Secret(own.insert(minted).clone())
            }
        };
        env.push((variable, value));
    }
    Ok(env)
}

/// The value of a variable that comes from a secret. It may be readable later, so the start is tried again.
async fn stored(
    app: &App,
    service: ServiceId,
    variable: &str,
    id: &str,
    run_as: &RunAs,
) -> Result<Secret, Refused> {
    let refused = |why: String| Refused {
        reason: reason::SECRET_NOT_READABLE,
        message: format!("variable `{variable}` cannot be read from its secret: {why}"),
    };
    let found = app.container_secret(service.project(), run_as, id).await;
    let value = found.map_err(|error| refused(error.to_string()))?;
    match value.expose_str() {
        Some(text) if !text.contains('\0') => Ok(value),
        _ => Err(refused("its value is not text; variables are".to_owned())),
    }
}

fn refusal(error: &RuntimeError) -> Refused {
    let reason = match error {
        RuntimeError::ImageNotSupported { .. } => reason::IMAGE_NOT_SUPPORTED,
        RuntimeError::CommandMalformed { .. }
        | RuntimeError::CommandEmpty { .. }
        | RuntimeError::RequestTooLarge { .. }
        | RuntimeError::Malformed { .. } => reason::BAD_COMMAND,
        RuntimeError::NoEngine { .. } => reason::NO_ENGINE,
        RuntimeError::NotMounted { .. } => reason::NOT_MOUNTED,
        RuntimeError::AlreadyRunning { .. } | RuntimeError::Os { .. } => reason::START_FAILED,
    };
    Refused { reason, message: error.to_string() }
}
