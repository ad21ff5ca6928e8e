//! Runs git: confined, with an environment and a configuration of its own, and with every output bounded.

use super::{GitError, LOCAL_WAIT};
use crate::child::{Group, surroundings};
use crate::runtime::Spawner;
use crate::runtime::sandbox::{Limits, SandboxArgs};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

/// Folder with the scratch folders, beside the repositories.
pub(super) const SCRATCH: &str = "scratch";
/// Bytes of what git says of errors; the rest is read and dropped.
const STDERR_BYTES_MAX: usize = 16 * 1024;
/// Bytes of an answer, where a job says nothing else.
const STDOUT_BYTES_MAX: usize = 64 * 1024;
/// Memory that one git may take, bytes of address space.
const MEMORY_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;

/// Holds for every run, whatever a repository's own configuration says.
const CONFIG: &str = "[core]\n\thooksPath = /dev/null\n\tbigFileThreshold = 1m\n\tpackedGitLimit = 256m\n\
    [safe]\n\tdirectory = *\n[fetch]\n\trecurseSubmodules = false\n\tunpackLimit = 1\n\
    [gc]\n\tauto = 0\n[maintenance]\n\tauto = false\n[pack]\n\tthreads = 1\n[credential]\n\thelper =\n\
    [http]\n\tfollowRedirects = false\n\tproxy =\n\tlowSpeedLimit = 1\n\tlowSpeedTime = 30\n\
    [protocol]\n\tallow = never\n[transfer]\n\tbundleURI = false\n\
    [gpg]\n\tminTrustLevel = fully\n[gpg \"openpgp\"]\n\tprogram = false\n[gpg \"x509\"]\n\tprogram = false\n";

/// A folder for one run: gone when dropped.
#[derive(Debug)]
pub(super) struct Scratch(TempDir);

impl Scratch {
    pub async fn make(below: &Path) -> Result<Self, GitError> {
        let below = below.join(SCRATCH);
        let made = blocking(move || {
            private_folder(&below)?;
            let dir = tempfile::Builder::new().prefix("git-").tempdir_in(below)?;
            write_private(&dir.path().join("config"), CONFIG.as_bytes())?;
            Ok(dir)
        });
        Ok(Self(made.await?))
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes a file that its owner alone may read.
    pub async fn write(&self, name: &str, bytes: &[u8]) -> Result<PathBuf, GitError> {
        let (path, bytes) = (self.path().join(name), bytes.to_vec());
        let at = path.clone();
        blocking(move || write_private(&at, &bytes)).await?;
        Ok(path)
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> std::io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(std::io::Error::other(error)))
}

fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write as _;
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(path);
    file?.write_all(bytes)
}

/// Makes a folder that its owner alone may use, where there is none.
pub(super) fn private_folder(path: &Path) -> std::io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

pub(super) async fn make_private_folder(path: &Path) -> std::io::Result<()> {
    let path = path.to_owned();
    blocking(move || private_folder(&path)).await
}

/// Removes what runs that were cut off left behind.
pub(super) fn clear_scratch(folder: &Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(folder.join(SCRATCH)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// One command of git.
#[derive(Debug)]
pub(super) struct Job {
    words: Vec<String>,
    pub env: Vec<(String, String)>,
    config: Vec<(String, String)>,
    pub stdin: Vec<u8>,
    pub wait: Duration,
    pub stdout_max: usize,
}

impl Job {
    pub fn new(words: &[&str]) -> Self {
        Self {
            words: words.iter().map(|word| (*word).to_owned()).collect(),
            env: vec![],
            config: vec![],
            stdin: vec![],
            wait: LOCAL_WAIT,
            stdout_max: STDOUT_BYTES_MAX,
        }
    }

    pub fn env(&mut self, name: &str, value: String) {
        self.env.push((name.to_owned(), value));
    }

    /// A setting for this command only. It goes by the environment: other users see what is on a command line.
    pub fn config(&mut self, name: &str, value: String) {
        self.config.push((name.to_owned(), value));
    }
}

/// What it said.
#[derive(Debug)]
pub(super) struct Said {
    pub success: bool,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Said {
    /// What it said, where it did what it was told.
    pub fn good(self) -> Result<Self, GitError> {
        if self.success { Ok(self) } else { Err(GitError::Git(super::fault::first(&self.stderr))) }
    }
}

/// How git is run for one repository.
#[derive(Debug)]
pub(super) struct Git<'a> {
    pub program: &'a Path,
    pub confine: bool,
    pub spawner: &'a Spawner,
    /// The repository.
    pub folder: &'a Path,
    pub scratch: &'a Scratch,
    /// Largest file that it may write, bytes.
    pub pack_bytes_max: u64,
    /// What it may read beside the system.
    pub read: Vec<PathBuf>,
}

impl Git<'_> {
    pub async fn run(&self, job: Job) -> Result<Said, GitError> {
        let mut command = self.command(&job);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = self.spawner.spawn(command).await?;
        // Whatever it started ends with this run.
        let _group = Group::of(&child);
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(mut stdin), Some(stdout), Some(stderr)) = (stdin, stdout, stderr) else {
            return Err(GitError::Git("it has no standard streams".to_owned()));
        };
        let work = async {
            let say = async {
                // It may end without hearing all of it.
                let _ = stdin.write_all(&job.stdin).await;
                drop(stdin);
            };
            let (out, err, ()) =
                tokio::join!(bounded(stdout, job.stdout_max), bounded(stderr, STDERR_BYTES_MAX), say);
            (out, err, child.wait().await)
        };
        let (out, err, status) =
            tokio::time::timeout(job.wait, work).await.map_err(|_| GitError::TooSlow(job.wait))?;
        let (stdout, whole) = out?;
        if !whole {
            return Err(GitError::TooMuch(job.stdout_max));
        }
        let stderr = String::from_utf8_lossy(&err?.0).into_owned();
        Ok(Said { success: status?.success(), stdout, stderr })
    }

    fn command(&self, job: &Job) -> Command {
        let args = SandboxArgs {
            parent: std::process::id(),
            confine: self.confine,
            read: self.read.clone(),
            write: vec![self.folder.to_owned(), self.scratch.path().to_owned()],
            limits: Limits { file_bytes: Some(self.pack_bytes_max), memory_bytes: Some(MEMORY_BYTES_MAX) },
            command: std::iter::once("git".into()).chain(job.words.iter().map(Into::into)).collect(),
        };
        let mut command = Command::new(self.program);
        command.args(args.to_args()).current_dir(self.folder).env_clear().envs(surroundings());
        if let Some(roots) = std::env::var_os("SSL_CERT_FILE") {
            command.env("GIT_SSL_CAINFO", roots);
        }
        let scratch = self.scratch.path();
        command.env("HOME", scratch).env("TMPDIR", scratch).env("LC_ALL", "C").env("LANGUAGE", "C");
        command.env("GIT_CONFIG_GLOBAL", scratch.join("config")).env("GIT_CONFIG_NOSYSTEM", "1");
        command.env("GIT_ATTR_NOSYSTEM", "1").env("GIT_TERMINAL_PROMPT", "0").env("GIT_ASKPASS", "false");
        command.env("GIT_DIR", self.folder).env("GIT_NO_REPLACE_OBJECTS", "1").env("GIT_NO_LAZY_FETCH", "1");
        command.env("GIT_CONFIG_COUNT", job.config.len().to_string());
        for (at, (name, value)) in job.config.iter().enumerate() {
            command.env(format!("GIT_CONFIG_KEY_{at}"), name).env(format!("GIT_CONFIG_VALUE_{at}"), value);
        }
        command.envs(job.env.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// Reads to the end and keeps so many bytes; says whether that is all.
async fn bounded(mut from: impl AsyncRead + Unpin, max: usize) -> std::io::Result<(Vec<u8>, bool)> {
    let (mut kept, mut whole, mut chunk) = (Vec::new(), true, vec![0; 64 * 1024]);
    loop {
        let got = from.read(&mut chunk).await?;
        let Some(bytes) = chunk.get(..got).filter(|bytes| !bytes.is_empty()) else {
            return Ok((kept, whole));
        };
        let room = max.saturating_sub(kept.len());
        whole &= bytes.len() <= room;
        kept.extend_from_slice(bytes.get(..room.min(bytes.len())).unwrap_or_default());
    }
}
