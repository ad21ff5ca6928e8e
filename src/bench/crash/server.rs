//! The server under test: started, killed, started again, always on the same port and folder.

use super::{Error, Options};
use serde::Deserialize;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How long a start may take.
const READY_LIMIT: Duration = Duration::from_mins(1);
/// Pause between two looks for readiness.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// What `meshagent up` writes for clients.
#[derive(Clone, Deserialize)]
pub(super) struct Connection {
    pub api_url: String,
    pub project_id: String,
    pub api_key: String,
}

/// A folder that goes when dropped.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub fn make() -> Result<Self, Error> {
        use crate::clock::{IdSource, System};
        let path = std::env::temp_dir().join(format!("meshagent-crash-{}", System.fresh().simple()));
        std::fs::create_dir(&path).map_err(|source| io(&path, source))?;
        Ok(Self(path))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn io(path: &Path, source: std::io::Error) -> Error {
    Error::Io { what: path.display().to_string(), source }
}

pub(super) struct ServerUnderTest {
    options: Options,
    folder: PathBuf,
    port: u16,
    child: Option<Child>,
}

impl ServerUnderTest {
    pub fn new(options: &Options, folder: &Path) -> Result<Self, Error> {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr());
        let port = free.map_err(|source| io(folder, source))?.port();
        Ok(Self { options: options.clone(), folder: folder.to_owned(), port, child: None })
    }

    /// A command of the program on the store under test. A database URL may hold a password: environment only.
    fn command(&self, words: &[&str], store: bool) -> Command {
        let mut command = Command::new(&self.options.program);
        command.args(words).env_remove("MESHAGENT_API_KEY").env_remove("MESHAGENT_DATABASE_URL");
        if let Some(url) = &self.options.database_url {
            command.env("MESHAGENT_DATABASE_URL", url);
        }
        if store || self.options.database_url.is_none() {
            command.arg("--data-dir").arg(&self.folder);
        }
        command
    }

    pub async fn start(&mut self, round: u32) -> Result<Connection, Error> {
        let listen = format!("127.0.0.1:{}", self.port);
        let log = std::fs::File::create(self.folder.join("server.log")).map_err(|s| io(&self.folder, s))?;
        let child = self
            .command(&["up", "--listen", &listen], true)
            .env("MESHAGENT_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        self.child = Some(child.map_err(|source| io(&self.options.program, source))?);
        let ready = tokio::time::timeout(READY_LIMIT, self.ready()).await;
        ready.map_err(|_| Error::NotReady { round, said: self.said() })
    }

    async fn ready(&self) -> Connection {
        let url = format!("http://127.0.0.1:{}/healthz", self.port);
        loop {
            let answered = reqwest::get(&url).await.is_ok_and(|answer| answer.status().is_success());
            let file = std::fs::read(self.folder.join("connection.json")).ok();
            let connection = file.and_then(|bytes| serde_json::from_slice(&bytes).ok());
            if let (true, Some(connection)) = (answered, connection) {
                return connection;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn said(&self) -> String {
        std::fs::read_to_string(self.folder.join("server.log")).unwrap_or_default()
    }

    pub fn kill_9(&mut self) -> Result<(), Error> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        child.kill().and_then(|()| child.wait()).map(drop).map_err(|source| io(&self.options.program, source))
    }

    /// Ends it as an operator would.
    pub async fn stop(&mut self) -> Result<(), Error> {
        let Some(child) = self.child.take() else { return Ok(()) };
        let pid = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let waited = tokio::task::spawn_blocking(move || {
            let mut child = child;
            child.wait()
        });
        waited
            .await
            .map_err(|error| Error::Ask(error.to_string()))?
            .map_err(|s| io(&self.folder, s))
            .map(drop)
    }

    /// What `meshagent log verify` says of the stopped server's log.
    pub async fn verify_log(&self) -> Result<(bool, String), Error> {
        let mut command = self.command(&["log", "verify"], false);
        let output = tokio::task::spawn_blocking(move || command.output()).await;
        let output =
            output.map_err(|error| Error::Ask(error.to_string()))?.map_err(|s| io(&self.folder, s))?;
        let text = [output.stdout, output.stderr].concat();
        Ok((output.status.success(), String::from_utf8_lossy(&text).into_owned()))
    }
}

impl Drop for ServerUnderTest {
    fn drop(&mut self) {
        let _ = self.kill_9();
    }
}
