//! Starting a container.

use super::{Containers, args};
use crate::containers::{Engine, EngineError, Files, Found, Mounted, Owner, Run, State, labels};
use crate::error_code::RoomCode;
use crate::id::RoomId;
use crate::room::guard;
use crate::room::lock;
use crate::room::session::LiveSession;
use crate::room::toolkit::{Call, ToolError};
use crate::spec::ApiScope;
use crate::spec::{EnvironmentTemplate, Mounts, RoomMount};
use crate::vault::Secret;
use crate::wire::Content;
use serde_json::json;
use std::collections::HashMap;
use std::sync::Arc;

/// Where the template `agent` mounts the room's files.
const DATA: &str = "/data";
/// Longest name of a container, bytes.
const NAME_BYTES_MAX: usize = 128;
/// Longest JSON of the annotations and mounts kept with a container, bytes.
const LABEL_BYTES_MAX: usize = 64 * 1024;
/// The port that rooms keep for themselves.
const RESERVED_PORT: u16 = crate::spec::RESERVED_PORT;

impl Containers {
    pub(super) async fn run(&self, call: &Call) -> Result<Content, ToolError> {
        let mut args: args::Run = call.args()?;
        let (room, session) = (call.session.room.id, &call.session);
        let env = args::variables(args.env.take())?;
        let command = args::words(args.command.as_deref())?;
        check_fields(&args)?;
        let engine = self.parts.engines.engine().await?;
        let image =
            self.have_image(&engine, call, &args.image, args::credentials(args.credentials.take())).await?;
        for mount in args.mounts.iter().flat_map(|mounts| mounts.images.iter().flatten()) {
            self.visible_image(&engine, room, &mount.image).await?;
        }

        let turn = self.turn(room).lock_owned().await;
        let others = self.own(&engine, room, true).await?;
        self.check_place(&others, args.name.as_deref(), &call.session.room.name)?;
        let key = self.parts.ids.fresh().simple().to_string();
        let name = args.name.clone().unwrap_or_else(|| format!("container-{}", &key[..8]));
        let env = self.environment(call, &args, &name, env).await?;
        let wanted = wanted_mounts(&args);
        let folder = self.parts.engines.settings().files_of(&key);
        let files = Files { volume: self.parts.volume.clone(), own: folder };
        let configs = self.parts.doors.configuration(&session.room);
        let for_files = wanted.clone();
        let mounted = tokio::task::spawn_blocking(move || files.prepare(room, &for_files, &configs)).await;
        let mounted = mounted
            .map_err(|error| ToolError::failed(error.to_string()))?
            .map_err(|error| ToolError::invalid(error.to_string()))?;

        let run = Run {
            name: format!("meshagent-{key}"),
            image,
            command,
            working_dir: args.working_dir.clone(),
            env,
            labels: self.labels(call, &args, &name, &key, &wanted, &mounted)?,
            mounts: mounted.binds.clone(),
            ports: ports(&args),
            writable_root: args.writable_root_fs.unwrap_or(false),
        };
        let labels = run.labels.clone();
        let start = {
            let engine = Arc::clone(&engine);
            // A task of its own: whoever asked may go, what is half done is finished.
            tokio::spawn(async move {
                let _turn = turn;
                start_still(&engine, &run, &mounted, &others).await
            })
        };
        let started = start.await.map_err(|error| ToolError::failed(error.to_string())).and_then(|done| done);
        let id = match started {
            Ok(id) => id,
            Err(error) => {
                self.parts.engines.settings().forget_files(&labels).await;
                return Err(error);
            }
        };
        if session.has_ended() {
            // Nobody would end it any more.
            engine.remove(&id).await?;
            self.parts.engines.settings().forget_files(&labels).await;
            return Err(ToolError::new(
                RoomCode::InvalidState,
                "the session ended while the container started",
            ));
        }
        tracing::info!(target: "meshagent::work", room = %session.room.name, by = %call.caller.name, image = args.image, container = id, "container started");
        Ok(Content::Json(json!({"container_id": id})))
    }

    pub(super) async fn run_service(&self, call: &Call) -> Result<Content, ToolError> {
        let args: args::RunService = call.args()?;
        let env = args::variables(args.env)?;
        let id = self.parts.doors.run_service(&call.session.room, &args.service_id, env).await?;
        Ok(Content::Json(json!({"container_id": id})))
    }

    fn turn(&self, room: RoomId) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = lock(&self.starts);
        // Those that nobody holds are not needed any more.
        turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        Arc::clone(turns.entry(room).or_default())
    }

    /// Whether one more container of that name fits into the room.
    fn check_place(&self, others: &[Found], name: Option<&str>, room: &str) -> Result<(), ToolError> {
        let most = self.parts.engines.settings().limits.per_room;
        if others.len() >= most {
            let text = format!("room `{room}` has {most} containers already; delete some first");
            return Err(ToolError::new(RoomCode::InvalidState, text));
        }
        let taken = |found: &Found| {
            found.state == State::Running && found.labels.get(labels::NAME).map(String::as_str) == name
        };
        match name {
            Some(name) if others.iter().any(taken) => Err(ToolError::new(
                RoomCode::AlreadyExists,
                format!("a container called `{name}` runs in this room; stop it, or choose another name"),
            )),
            _ => Ok(()),
        }
    }

    /// What the call says, then what the template adds.
    async fn environment(
        &self,
        call: &Call,
        args: &args::Run,
        name: &str,
        own: Vec<(String, String)>,
    ) -> Result<Vec<(String, Secret)>, ToolError> {
        let mut all: Vec<(String, Secret)> =
            own.into_iter().map(|(key, value)| (key, Secret::from(value))).collect();
        if args.template == Some(EnvironmentTemplate::Agent) {
            let identity = args.participant_name.as_deref().unwrap_or(name);
            let session = call.session.opened.id;
            let api = at_most_agent(&call.caller.api);
            let added = self.parts.doors.agent_environment(&call.session.room, session, identity, &api).await;
            for (key, value) in added.map_err(ToolError::failed)? {
                if !all.iter().any(|(known, _)| *known == key) {
                    all.push((key, value));
                }
            }
        }
        Ok(all)
    }

    fn labels(
        &self,
        call: &Call,
        args: &args::Run,
        name: &str,
        key: &str,
        wanted: &Mounts,
        mounted: &Mounted,
    ) -> Result<HashMap<String, String>, ToolError> {
        let session: &LiveSession = &call.session;
        let owner = Owner {
            server: self.parts.engines.settings().server.clone(),
            room: session.room.id,
            session: Some(session.opened.id),
            service: None,
        };
        let mut all: HashMap<String, String> = HashMap::new();
        for (key, value) in args.annotations.iter().flatten() {
            if key.starts_with("meshagent.") {
                return Err(ToolError::invalid(format!(
                    "the annotation `{key}` is the platform's own; leave it out"
                )));
            }
            all.insert(key.clone(), value.clone());
        }
        let shown = serde_json::to_string(wanted).unwrap_or_default();
        let bytes: usize = all.iter().map(|(key, value)| key.len() + value.len()).sum();
        if bytes + shown.len() > LABEL_BYTES_MAX && mounted.binds.is_empty() {
            return Err(ToolError::invalid(format!(
                "annotations have {bytes} bytes, at most {LABEL_BYTES_MAX} are allowed"
            )));
        }
        all.extend(owner.labels());
        let mut set = |name: &str, value: String| all.insert(name.to_owned(), value);
        set(labels::NAME, name.to_owned());
        set(labels::IMAGE, args.image.clone());
        set(labels::STARTED_BY, call.caller.id.clone());
        set(labels::STARTED_BY_NAME, call.caller.name.clone());
        set(labels::PRIVATE, args.private.unwrap_or(false).to_string());
        set(labels::WRITES_FILES, mounted.writes_files.to_string());
        set(labels::FILES, key.to_owned());
        if !mounted.binds.is_empty() && shown.len() <= LABEL_BYTES_MAX {
            set(labels::MOUNTS, shown);
        }
        Ok(all)
    }

    /// The id of the image as it is there for this room; fetched where it is not and the caller may.
    async fn have_image(
        &self,
        engine: &Engine,
        call: &Call,
        image: &str,
        credentials: Vec<crate::containers::Credential>,
    ) -> Result<String, ToolError> {
        match self.visible_image(engine, call.session.room.id, image).await {
            Ok(found) => Ok(found.image.id),
            Err(EngineError::NoImage(_)) if guard::containers::can_pull(&call.caller.api, image) => {
                if engine.image(image).await?.is_some() {
                    return Err(EngineError::NoImage(image.to_owned()).into());
                }
                self.fetch(engine, call.session.room.id, image, &credentials).await.map_err(|error| {
                    let text = format!("image `{image}` is not on this machine for this room, and {error}");
                    ToolError::not_found(text)
                })?;
                Ok(self.visible_image(engine, call.session.room.id, image).await?.image.id)
            }
            Err(error) => Err(error.into()),
        }
    }
}

fn check_fields(args: &args::Run) -> Result<(), ToolError> {
    if let Some(name) = &args.name {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(plain) {
            return Err(ToolError::invalid(format!(
                "{name:?} is not a container's name; use 1 to {NAME_BYTES_MAX} letters, digits and `-_.`"
            )));
        }
    }
    if args.working_dir.as_deref().is_some_and(|dir| !dir.starts_with('/')) {
        return Err(ToolError::invalid("`working_dir` must be an absolute path"));
    }
    if args.mount_subpath.is_some() && args.mount_path.is_none() {
        return Err(ToolError::invalid("`mount_subpath` needs a `mount_path` to be mounted at"));
    }
    let reserved = |port: &args::PortPair| port.container_port == 0 || port.container_port == RESERVED_PORT;
    if args.ports.iter().flatten().any(reserved) {
        return Err(ToolError::invalid(format!("a container's port is 1 to 65535 and not {RESERVED_PORT}")));
    }
    Ok(())
}

fn ports(args: &args::Run) -> Vec<(u16, u16)> {
    args.ports.iter().flatten().map(|port| (port.container_port, port.host_port)).collect()
}

/// All mounts of the call, those of its short forms and its template too.
fn wanted_mounts(args: &args::Run) -> Mounts {
    let mut all = args.mounts.clone().unwrap_or_default();
    let mut room = all.room.take().unwrap_or_default();
    if let Some(path) = &args.mount_path {
        let subpath = args.mount_subpath.clone().filter(|subpath| !subpath.is_empty());
        room.push(RoomMount { path: path.clone(), subpath, read_only: false });
    }
    let at_data = |mount: &RoomMount| mount.path.trim_end_matches('/') == DATA;
    if args.template == Some(EnvironmentTemplate::Agent) && !room.iter().any(at_data) {
        room.push(RoomMount { path: DATA.to_owned(), subpath: None, read_only: false });
    }
    all.room = (!room.is_empty()).then_some(room);
    all
}

/// What the caller may do, without what no agent gets by default: a container is never more than who started it.
fn at_most_agent(api: &ApiScope) -> ApiScope {
    ApiScope { admin: None, secrets: None, tunnels: None, ..api.clone() }
}

/// Starts a container. While a folder below the room's is mounted, those who could put a link in its place stand still.
async fn start_still(
    engine: &Engine,
    run: &Run,
    mounted: &Mounted,
    others: &[Found],
) -> Result<String, ToolError> {
    if mounted.guarded.is_empty() {
        return Ok(engine.run(run).await?);
    }
    let writes = |found: &&Found| {
        found.state == State::Running
            && found.labels.get(labels::WRITES_FILES).is_some_and(|text| text == "true")
    };
    let mut paused = Vec::new();
    let mut result = Ok(String::new());
    for other in others.iter().filter(writes) {
        match engine.pause(&other.id).await {
            Ok(()) => paused.push(&other.id),
            Err(error) => {
                let gone = engine.look(&other.id).await?.is_none_or(|seen| seen.state != State::Running);
                if !gone {
                    result = Err(ToolError::from(error));
                    break;
                }
            }
        }
    }
    if result.is_ok() {
        result = match mounted.check_guarded() {
            Ok(()) => engine.run(run).await.map_err(ToolError::from),
            Err(error) => Err(ToolError::new(RoomCode::Conflict, error.to_string())),
        };
    }
    for id in paused {
        if let Err(error) = engine.resume(id).await {
            tracing::error!(%error, container = id, "a container that was held for a moment does not go on");
        }
    }
    result
}
