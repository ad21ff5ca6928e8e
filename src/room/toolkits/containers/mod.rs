//! `containers`: containers and images of the room on the engine beside this server (room protocol §3.11).
//!
//! ```text
//! args    what the tools take            jobs     pushes, archives and builds under way, with their logs
//! run     starting a container           images   the image tools        build    context in, image out
//! stream  logs and exec                  show     the forms of answers   ledger   which room brought an image
//! tools   their descriptions             archive  names within an image archive
//! ```
//!
//! A room sees its own containers only; somebody else's are as good as not there. Without an engine lists are empty
//! and everything else says what to install.

mod archive;
mod args;
mod build;
mod images;
mod jobs;
mod ledger;
mod run;
mod show;
mod stream;
mod tools;

use crate::blob::Blobs;
use crate::clock::IdSource;
use crate::containers::{Containers as Engines, Engine, EngineError, Found, State, labels};
use crate::error_code::RoomCode;
use crate::id::{RoomId, SessionId};
use crate::room::guard;
use crate::room::toolkit::{Call, ToolError, Toolkit, ToolkitInfo};
use crate::room::world::{Admission, ContainerDoors};
use crate::spec::ApiScope;
use crate::volume::Volume;
use crate::wire::Content;
use async_trait::async_trait;
use jobs::Jobs;
use ledger::Ledger;
use serde_json::json;
use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How long a container may take to end when asked, before it is made to.
const STOP_GRACE: Duration = Duration::from_secs(10);
/// Shortest begin of an id that names a container.
const ID_PREFIX_MIN: usize = 8;

/// What the toolkit works with.
pub struct ContainerParts {
    pub engines: Arc<Engines>,
    pub files: Blobs,
    /// Folders of rooms; `None` where room files are not on a disk of this host.
    pub volume: Option<Volume>,
    pub doors: Arc<dyn ContainerDoors>,
    pub ids: Arc<dyn IdSource>,
}

impl fmt::Debug for ContainerParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContainerParts").field("engines", &self.engines).finish_non_exhaustive()
    }
}

/// The toolkit.
#[derive(Debug)]
pub struct Containers {
    parts: ContainerParts,
    jobs: Arc<Jobs>,
    ledger: Arc<Ledger>,
    /// One start at a time per room: names are unique, and nobody moves folders while one is mounted.
    starts: Mutex<HashMap<RoomId, Arc<tokio::sync::Mutex<()>>>>,
    info: ToolkitInfo,
}

impl Containers {
    #[must_use]
    pub fn new(parts: ContainerParts) -> Self {
        let ledger = Arc::new(Ledger::open(&parts.engines.settings().folder));
        let info = ToolkitInfo {
            name: "containers",
            title: "Containers",
            description: "Containers and images of this room.",
            tools: tools::all(),
        };
        Self { parts, jobs: Arc::default(), ledger, starts: Mutex::default(), info }
    }

    /// The room's own containers.
    async fn own(&self, engine: &Engine, room: RoomId, all: bool) -> Result<Vec<Found>, EngineError> {
        let uuid = room.uuid().to_string();
        let server = &self.parts.engines.settings().server;
        engine.list(&[(labels::SERVER, server), (labels::ROOM, &uuid)], all).await
    }

    /// A container of the room by its id, the begin of it, or its name.
    async fn find(&self, engine: &Engine, room: RoomId, id: &str) -> Result<Found, EngineError> {
        let mut all = self.own(engine, room, true).await?;
        let named = |found: &Found| found.labels.get(labels::NAME).is_some_and(|name| name == id);
        let begins = |found: &Found| id.len() >= ID_PREFIX_MIN && found.id.starts_with(id);
        let at = all
            .iter()
            .position(|found| found.id == id)
            .or_else(|| all.iter().position(begins))
            .or_else(|| all.iter().position(|found| named(found) && found.state == State::Running))
            .or_else(|| all.iter().position(named));
        at.map(|at| all.swap_remove(at)).ok_or_else(|| EngineError::NoContainer(id.to_owned()))
    }

    /// As [`Containers::find`], for what changes the container or works inside it.
    async fn find_open(&self, engine: &Engine, call: &Call, id: &str) -> Result<Found, ToolError> {
        let found = self.find(engine, call.session.room.id, id).await?;
        check_private(&found, &call.caller.name, &call.caller.api)?;
        Ok(found)
    }

    async fn list(&self, call: &Call) -> Result<Content, ToolError> {
        let args: args::List = call.args()?;
        let engine = match self.parts.engines.engine().await {
            Ok(engine) => engine,
            Err(EngineError::Missing(_)) => return Ok(Content::Json(json!({"containers": []}))),
            Err(error) => return Err(error.into()),
        };
        let mut shown = Vec::new();
        for mut found in self.own(&engine, call.session.room.id, args.all.unwrap_or(false)).await? {
            if found.state == State::Exited {
                found.exit = engine.look(&found.id).await?.and_then(|seen| seen.exit);
            }
            shown.push(show::container(&found));
        }
        Ok(Content::Json(json!({"containers": shown})))
    }

    async fn stop(&self, call: &Call) -> Result<Content, ToolError> {
        let args: args::Stop = call.args()?;
        if self.jobs.stop(call, &args.container_id) {
            return Ok(Content::Empty);
        }
        let engine = self.parts.engines.engine().await?;
        let found = self.find_open(&engine, call, &args.container_id).await?;
        if args.force.unwrap_or(false) {
            engine.kill(&found.id).await?;
        } else {
            engine.stop(&found.id, STOP_GRACE).await?;
        }
        Ok(Content::Empty)
    }

    async fn delete(&self, call: &Call) -> Result<Content, ToolError> {
        let args: args::OneContainer = call.args()?;
        if self.jobs.forget(call, &args.container_id) {
            return Ok(Content::Empty);
        }
        let engine = self.parts.engines.engine().await?;
        let found = self.find_open(&engine, call, &args.container_id).await?;
        self.take_away(&engine, &found).await?;
        Ok(Content::Empty)
    }

    async fn wait(&self, call: &Call) -> Result<Content, ToolError> {
        let args: args::OneContainer = call.args()?;
        if let Some(job) = self.jobs.find(call, &args.container_id) {
            let code = job.ended().await;
            return Ok(Content::Json(json!({"exit_code": code})));
        }
        let engine = self.parts.engines.engine().await?;
        let found = self.find(&engine, call.session.room.id, &args.container_id).await?;
        let exit = engine.wait(&found.id).await?;
        Ok(Content::Json(show::exit(&exit)))
    }

    /// Where this host reaches a port of a container of the room, or of a process of one of its services.
    pub async fn port(&self, who: &Admission, id: &str, port: u16) -> Result<SocketAddr, ToolError> {
        guard::containers::tunnel(&who.api, port)?;
        if self.parts.doors.is_process_port(who.room.id, id, port) {
            return Ok(SocketAddr::from(([127, 0, 0, 1], port)));
        }
        let engine = self.parts.engines.engine().await?;
        let found = self.find(&engine, who.room.id, id).await?;
        check_private(&found, &who.name, &who.api)?;
        if found.state != State::Running {
            let text = format!("container `{id}` does not run; start it first");
            return Err(ToolError::new(RoomCode::InvalidState, text));
        }
        engine.reach(&found.id, port).await?.ok_or_else(|| {
            ToolError::new(
                RoomCode::OperationFailed,
                format!("container `{id}` has no address that this host reaches; run it with port {port} published"),
            )
        })
    }

    /// Removes a container with the files it was given.
    async fn take_away(&self, engine: &Engine, found: &Found) -> Result<(), EngineError> {
        engine.remove(&found.id).await?;
        self.parts.engines.settings().forget_files(&found.labels).await;
        Ok(())
    }

    /// Removes what belongs to a session that ended: its containers, not those of services, and its jobs.
    pub async fn end_session(&self, session: SessionId, room: RoomId) -> Result<(), EngineError> {
        self.jobs.end_room(room);
        let uuid = session.uuid().to_string();
        self.remove_all(&[(labels::SESSION, &uuid)]).await
    }

    /// Removes everything of a room that was deleted.
    pub async fn delete_room(&self, room: RoomId) -> Result<(), EngineError> {
        self.jobs.end_room(room);
        self.ledger.forget_room(room);
        let uuid = room.uuid().to_string();
        self.remove_all(&[(labels::ROOM, &uuid)]).await
    }

    /// Removes what an earlier run of this server left, but for the containers of services: their controller knows
    /// what to do with them.
    pub async fn sweep(&self) -> Result<(), EngineError> {
        self.remove_all(&[]).await
    }

    async fn remove_all(&self, wanted: &[(&str, &str)]) -> Result<(), EngineError> {
        if self.parts.engines.is_off() {
            return Ok(());
        }
        let engine = match self.parts.engines.engine().await {
            Ok(engine) => engine,
            Err(EngineError::Missing(_)) => return Ok(()),
            Err(error) => return Err(error),
        };
        let mut all = vec![(labels::SERVER, self.parts.engines.settings().server.as_str())];
        all.extend(wanted);
        for found in engine.list(&all, true).await? {
            if !found.labels.contains_key(labels::SERVICE) {
                self.take_away(&engine, &found).await?;
            }
        }
        Ok(())
    }
}

/// Somebody else's private container is only for those who may configure the room.
fn check_private(found: &Found, name: &String, api: &ApiScope) -> Result<(), ToolError> {
    let private = found.labels.get(labels::PRIVATE).is_some_and(|text| text == "true");
    let own = found.labels.get(labels::STARTED_BY_NAME) == Some(name)
        && !found.labels.contains_key(labels::SERVICE);
    if !private || own || guard::containers::is_admin(api) {
        return Ok(());
    }
    let text = format!(
        "container `{}` is private to who started it; a token with the `admin` grant may work inside, or run it with \
         `private: false`",
        found.id
    );
    Err(ToolError::new(RoomCode::PermissionDenied, text))
}

#[async_trait]
impl Toolkit for Containers {
    fn describe(&self) -> &ToolkitInfo {
        &self.info
    }

    async fn invoke(&self, call: &mut Call) -> Result<Content, ToolError> {
        match call.tool {
            "list_containers" => self.list(call).await,
            "run" => self.run(call).await,
            "run_service" => self.run_service(call).await,
            "stop_container" => self.stop(call).await,
            "delete_container" => self.delete(call).await,
            "wait_for_exit" => self.wait(call).await,
            "logs" => self.logs(call).await,
            "exec" => self.exec(call).await,
            "list_images" => self.list_images(call).await,
            "inspect_image" => self.inspect_image(call).await,
            "delete_image" => self.delete_image(call).await,
            "pull_image" => self.pull_image(call).await,
            "push_image" => self.push_image(call).await,
            "load" => self.load(call).await,
            "load_image" => self.load_image(call).await,
            "save_image" => self.save_image(call).await,
            "build" => self.build(call).await,
            "list_builds" => Ok(self.list_builds(call)),
            "cancel_build" => self.cancel_build(call).await,
            "delete_build" => self.delete_build(call).await,
            _ => self.build_logs(call).await,
        }
    }
}

impl From<EngineError> for ToolError {
    fn from(error: EngineError) -> Self {
        let code = match &error {
            EngineError::Missing(_) => RoomCode::DependencyMissing,
            EngineError::NoContainer(_) => RoomCode::ContainerNotFound,
            EngineError::NoImage(_) => RoomCode::NotFound,
            EngineError::State(_) => RoomCode::InvalidState,
            EngineError::Invalid(_) => RoomCode::InvalidRequest,
            EngineError::Failed { .. } => RoomCode::OperationFailed,
        };
        Self::new(code, error.to_string())
    }
}
