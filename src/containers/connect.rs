//! Which engine: the first that answers among the addresses the operator named, or the usual ones.

use super::engine::Engine;
use super::error::EngineError;
use super::labels;
use super::rest::Rest;
use bollard::{API_DEFAULT_VERSION, Docker};
use std::collections::HashMap;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// Longest wait for an engine to say who it is.
const HELLO_LIMIT: Duration = Duration::from_secs(20);
/// Longest wait for the begin of an answer to a plain request, seconds.
const REQUEST_SECONDS: u64 = 120;
/// The same for requests that wait for something to happen: a container's end, a build's next step.
pub(super) const LONG_WAIT: Duration = Duration::from_hours(24 * 7);
/// Version of the interface that is enough, unless the engine wants a newer one.
const VERSION_WANTED: &str = "1.41";
/// After a look that found no engine, none is looked for this long.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// What networks containers get.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Network {
    /// Loopback only.
    None,
    /// The engine's own bridge: out to everywhere, in only through tunnels and published ports.
    #[default]
    Bridge,
    /// This host's own network, its loopback services included.
    Host,
}

impl Network {
    /// The engine's word.
    #[must_use]
    pub const fn mode(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Bridge => "bridge",
            Self::Host => "host",
        }
    }
}

impl FromStr for Network {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        [Self::None, Self::Bridge, Self::Host]
            .into_iter()
            .find(|network| network.mode() == text)
            .ok_or_else(|| format!("`{text}` is not a container network; write none, bridge or host"))
    }
}

/// What one container may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub memory_bytes: i64,
    /// Thousandths of a processor.
    pub milli_cpus: i64,
    /// Processes and threads.
    pub pids: i64,
    /// Most containers of one room at a time, exited ones too.
    pub per_room: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { memory_bytes: 2 * 1024 * 1024 * 1024, milli_cpus: 2_000, pids: 512, per_room: 64 }
    }
}

/// What the operator chose about containers.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Engines to try in order, `unix:///path` or `tcp://host:port`; empty: containers are switched off.
    pub addresses: Vec<String>,
    pub network: Network,
    pub limits: Limits,
    /// URL by which containers reach this server; its public URL without it.
    pub api_url: Option<String>,
    /// Name of this server in labels.
    pub server: String,
    /// Folder for the files of containers.
    pub folder: PathBuf,
}

impl Settings {
    /// Folder for the files of one container; not made yet.
    #[must_use]
    pub fn files_of(&self, key: &str) -> PathBuf {
        self.folder.join("files").join(key)
    }

    /// Removes the files of a container that is gone.
    pub async fn forget_files(&self, labels: &HashMap<String, String>) {
        let key =
            labels.get(labels::FILES).filter(|key| key.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        if let Some(key) = key.filter(|key| !key.is_empty()) {
            let folder = self.files_of(key);
            if let Err(error) = tokio::fs::remove_dir_all(&folder).await
                && error.kind() != std::io::ErrorKind::NotFound
            {
                tracing::warn!(%error, folder = %folder.display(), "the files of a container remain");
            }
        }
    }
}

/// Where engines usually listen: `DOCKER_HOST`, Podman, Docker, and Podman of a user without privileges.
#[must_use]
pub fn usual_addresses(docker_host: Option<String>, runtime_dir: Option<String>) -> Vec<String> {
    let mut all: Vec<String> = docker_host.filter(|host| !host.is_empty()).into_iter().collect();
    all.push("unix:///run/podman/podman.sock".to_owned());
    all.push("unix:///var/run/docker.sock".to_owned());
    all.extend(
        runtime_dir.filter(|dir| !dir.is_empty()).map(|dir| format!("unix://{dir}/podman/podman.sock")),
    );
    all
}

#[derive(Debug, Default)]
struct Looked {
    engine: Option<Arc<Engine>>,
    /// When the last look found nothing, and what it saw.
    failed: Option<(Instant, String)>,
}

/// The engine of this machine, looked for when it is needed.
#[derive(Debug)]
pub struct Containers {
    settings: Arc<Settings>,
    looked: Mutex<Looked>,
}

impl Containers {
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings: Arc::new(settings), looked: Mutex::default() }
    }

    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Whether the operator switched containers off.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.settings.addresses.is_empty()
    }

    /// The engine; one that starts later than the server is found then.
    ///
    /// Errors: [`EngineError::Missing`].
    pub async fn engine(&self) -> Result<Arc<Engine>, EngineError> {
        let mut looked = self.looked.lock().await;
        if let Some(engine) = &looked.engine {
            return Ok(Arc::clone(engine));
        }
        if let Some((at, text)) = &looked.failed
            && at.elapsed() < LOOK_AGAIN
        {
            return Err(EngineError::Missing(text.clone()));
        }
        let mut seen = Vec::new();
        for address in &self.settings.addresses {
            match connect(address, &self.settings).await {
                Ok(engine) => {
                    let engine = Arc::new(engine);
                    tracing::info!(engine = engine.describe(), "a container engine answers");
                    *looked = Looked { engine: Some(Arc::clone(&engine)), failed: None };
                    return Ok(engine);
                }
                Err(why) => seen.push(format!("{address}: {why}")),
            }
        }
        let text = missing(&seen);
        looked.failed = Some((Instant::now(), text.clone()));
        Err(EngineError::Missing(text))
    }
}

fn missing(seen: &[String]) -> String {
    if seen.is_empty() {
        return "containers are switched off on this server; start it without `--container-engine off`"
            .to_owned();
    }
    format!(
        "no container engine answers on this machine ({}); install Podman (`apt-get install podman`, then \
         `systemctl enable --now podman.socket`) or Docker, or name its socket with \
         `meshagent up --container-engine unix:///path/to.sock`",
        seen.join("; ")
    )
}

async fn connect(address: &str, settings: &Arc<Settings>) -> Result<Engine, String> {
    let docker = if let Some(path) = address.strip_prefix("unix://") {
        if !std::path::Path::new(path).exists() {
            return Err("no such file".to_owned());
        }
        Docker::connect_with_unix(path, REQUEST_SECONDS, API_DEFAULT_VERSION)
    } else if address.starts_with("tcp://") || address.starts_with("http://") {
        Docker::connect_with_http(address, REQUEST_SECONDS, API_DEFAULT_VERSION)
    } else {
        return Err("not an address; write unix:///path or tcp://host:port".to_owned());
    };
    let hello = async {
        let docker = docker.map_err(|error| error.to_string())?;
        let docker = docker.negotiate_version().await.map_err(|error| error.to_string())?;
        let version = docker.version().await.map_err(|error| error.to_string())?;
        let podman = version
            .components
            .as_ref()
            .is_some_and(|all| all.iter().any(|component| component.name.starts_with("Podman")));
        let name = if podman { "podman" } else { "docker" };
        let rest =
            Rest::new(address, version.min_api_version.as_deref().filter(|least| *least > VERSION_WANTED))?;
        let name = format!("{name} {} at {address}", version.version.unwrap_or_default());
        Ok((docker, rest, name))
    };
    let said = tokio::time::timeout(HELLO_LIMIT, hello).await;
    let (docker, rest, name) = said.unwrap_or_else(|_| Err("no answer".to_owned()))?;
    Ok(Engine::new(docker, rest, name, Arc::clone(settings)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn without_an_engine_the_text_says_what_to_install_and_where_it_looked() {
        let at = |address: &str| Settings { addresses: vec![address.to_owned()], ..Settings::default() };
        for (settings, part) in [
            (Settings::default(), "switched off"),
            (at("unix:///nowhere/podman.sock"), "/nowhere/podman.sock: no such file"),
            (at("ftp://x"), "not an address"),
            (at("tcp://127.0.0.1:1"), "apt-get install podman"),
        ] {
            let error = Containers::new(settings).engine().await.unwrap_err();
            assert!(matches!(error, EngineError::Missing(_)));
            assert!(error.to_string().contains(part), "{error}");
        }
    }

    #[test]
    fn the_operator_s_own_host_is_tried_first() {
        let all = usual_addresses(Some("tcp://engine:1".into()), Some("/run/user/7".into()));
        assert_eq!(all[0], "tcp://engine:1");
        assert_eq!(all[3], "unix:///run/user/7/podman/podman.sock");
        assert_eq!(usual_addresses(Some(String::new()), None).len(), 2);
    }
}
