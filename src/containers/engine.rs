//! The containers of the engine.

use super::connect::{LONG_WAIT, Settings};
use super::create::{Run, body};
use super::error::EngineError;
use super::rest::Rest;
use bollard::Docker;
use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, KillContainerOptionsBuilder, LogsOptionsBuilder,
    RemoveContainerOptionsBuilder, StartContainerOptions, StopContainerOptionsBuilder, WaitContainerOptions,
};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::{Stream, StreamExt as _};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// What a container is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Created,
    Running,
    Exited,
    Unknown,
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Exit {
    /// 128 + n after signal n.
    pub code: i64,
    pub oom_killed: bool,
    pub message: Option<String>,
}

/// A container as the engine shows it.
#[derive(Debug, Clone)]
pub struct Found {
    pub id: String,
    pub image_id: String,
    pub labels: HashMap<String, String>,
    pub state: State,
    /// Words of the engine, such as `Up 2 minutes`.
    pub status: String,
    /// Ports of the container, with those of this host where they are published.
    pub ports: Vec<(u16, u16)>,
    pub started_at: Option<DateTime<Utc>>,
    /// Only by [`Engine::look`] and once it ended.
    pub exit: Option<Exit>,
    /// Where this host may reach it; only by [`Engine::look`].
    pub address: Option<IpAddr>,
    pub host_network: bool,
}

/// One piece of a container's output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogItem {
    pub stderr: bool,
    pub data: Bytes,
}

/// An engine that answered.
#[derive(Debug)]
pub struct Engine {
    pub(super) docker: Docker,
    /// For requests that wait for something to happen.
    pub(super) patient: Docker,
    rest: Rest,
    name: String,
    pub(super) settings: Arc<Settings>,
}

impl Engine {
    pub(super) fn new(docker: Docker, rest: Rest, name: String, settings: Arc<Settings>) -> Self {
        let patient = docker.clone().with_timeout(LONG_WAIT);
        Self { docker, patient, rest, name, settings }
    }

    /// One line for people: which engine and where.
    #[must_use]
    pub fn describe(&self) -> &str {
        &self.name
    }

    /// Containers with these labels, newest first; exited ones with `all`.
    pub async fn list(&self, wanted: &[(&str, &str)], all: bool) -> Result<Vec<Found>, EngineError> {
        self.rest.list(wanted, all).await
    }

    /// One container by its whole id or the engine's name; `None` where there is none.
    pub async fn look(&self, id: &str) -> Result<Option<Found>, EngineError> {
        self.rest.look(id).await
    }

    /// Makes and starts a container; its id. What cannot be started is not left behind.
    pub async fn run(&self, run: &Run) -> Result<String, EngineError> {
        let id = match self.create(run, true).await {
            // Engines without the small first process say so; the container works without it.
            Err(Error::DockerResponseServerError { message, .. }) if names_init(&message) => {
                self.create(run, false).await
            }
            made => made,
        };
        let id = id.map_err(|error| {
            if EngineError::is_absent(&error) {
                return EngineError::NoImage(run.image.clone());
            }
            EngineError::of("make a container of image", &run.image, error)
        })?;
        if let Err(error) = self.docker.start_container(&id, None::<StartContainerOptions>).await {
            let _ = self.remove(&id).await;
            return Err(EngineError::of("start a container of image", &run.image, error));
        }
        Ok(id)
    }

    async fn create(&self, run: &Run, init: bool) -> Result<String, Error> {
        let options = CreateContainerOptionsBuilder::new().name(&run.name).build();
        let made = self.docker.create_container(Some(options), body(run, &self.settings, init)).await?;
        Ok(made.id)
    }

    /// Asks it to end, then makes it. A container that is not there or does not run is no error.
    pub async fn stop(&self, id: &str, grace: Duration) -> Result<(), EngineError> {
        let seconds = i32::try_from(grace.as_secs()).unwrap_or(i32::MAX);
        let options = StopContainerOptionsBuilder::new().t(seconds).build();
        match self.patient.stop_container(id, Some(options)).await {
            Err(error) if !is_stopped(&error) => Err(EngineError::of("stop container", id, error)),
            _ => Ok(()),
        }
    }

    /// Ends it at once. A container that is not there or does not run is no error.
    pub async fn kill(&self, id: &str) -> Result<(), EngineError> {
        let options = KillContainerOptionsBuilder::new().signal("KILL").build();
        match self.docker.kill_container(id, Some(options)).await {
            Err(error) if !is_stopped(&error) => Err(EngineError::of("kill container", id, error)),
            _ => Ok(()),
        }
    }

    /// Ends it and takes it away with its anonymous volumes. One that is not there is no error.
    pub async fn remove(&self, id: &str) -> Result<(), EngineError> {
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        match self.patient.remove_container(id, Some(options)).await {
            Err(error) if !EngineError::is_absent(&error) => {
                Err(EngineError::of("delete container", id, error))
            }
            _ => Ok(()),
        }
    }

    /// Waits for its end.
    pub async fn wait(&self, id: &str) -> Result<Exit, EngineError> {
        let mut ended = Box::pin(self.patient.wait_container(id, None::<WaitContainerOptions>));
        match ended.next().await {
            Some(Ok(_) | Err(Error::DockerContainerWaitError { .. })) | None => {}
            Some(Err(error)) if EngineError::is_absent(&error) => {
                return Err(EngineError::NoContainer(id.to_owned()));
            }
            Some(Err(error)) => return Err(EngineError::of("wait for container", id, error)),
        }
        let found = self.look(id).await?.ok_or_else(|| EngineError::NoContainer(id.to_owned()))?;
        found.exit.ok_or_else(|| EngineError::Failed {
            action: format!("wait for container `{id}`"),
            detail: "it did not end; ask again".to_owned(),
        })
    }

    /// What it wrote; with `follow` also what it will write, until it ends.
    pub fn logs(
        &self,
        id: &str,
        follow: bool,
    ) -> impl Stream<Item = Result<LogItem, EngineError>> + Send + Unpin + use<> {
        let options = LogsOptionsBuilder::new().follow(follow).stdout(true).stderr(true).build();
        let name = id.to_owned();
        let items = self.patient.logs(id, Some(options)).map(move |item| match item {
            Ok(LogOutput::StdErr { message }) => Ok(LogItem { stderr: true, data: message }),
            Ok(
                LogOutput::StdOut { message } | LogOutput::StdIn { message } | LogOutput::Console { message },
            ) => Ok(LogItem { stderr: false, data: message }),
            Err(error) => Err(EngineError::of("read the log of container", &name, error)),
        });
        items.boxed()
    }

    /// Where this host reaches a port of a running container: where it is published, else at its own address.
    pub async fn reach(&self, id: &str, port: u16) -> Result<Option<SocketAddr>, EngineError> {
        let Some(found) = self.look(id).await?.filter(|found| found.state == State::Running) else {
            return Ok(None);
        };
        let published = found.ports.iter().find(|(inner, _)| *inner == port).map(|(_, outer)| *outer);
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Ok(match (published, found.host_network, found.address) {
            (Some(outer), ..) => Some(SocketAddr::new(loopback, outer)),
            // On this host's own network its ports cannot be told from anybody else's.
            (None, true, _) => None,
            (None, false, Some(address)) => Some(SocketAddr::new(address, port)),
            (None, false, None) => None,
        })
    }

    /// Holds all its processes where they are, until [`Engine::resume`].
    pub async fn pause(&self, id: &str) -> Result<(), EngineError> {
        self.docker.pause_container(id).await.map_err(|error| EngineError::of("pause container", id, error))
    }

    pub async fn resume(&self, id: &str) -> Result<(), EngineError> {
        self.docker
            .unpause_container(id)
            .await
            .map_err(|error| EngineError::of("resume container", id, error))
    }
}

fn names_init(message: &str) -> bool {
    message.contains("catatonit") || message.contains("docker-init") || message.contains("tini")
}

/// There is nothing to stop.
fn is_stopped(error: &Error) -> bool {
    match error {
        Error::DockerResponseServerError { status_code: 304 | 404, .. } => true,
        Error::DockerResponseServerError { status_code: 409 | 500, message } => {
            message.contains("not running") || message.contains("container state improper")
        }
        _ => false,
    }
}
