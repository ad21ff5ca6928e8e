//! The child process of a channel and the socket between the two.

use crate::agent::pack::{Unpackable, unpack};
use crate::child::{Group, surroundings};
use crate::client::room::RoomError;
use crate::clock::IdSource;
use rustix::process::Signal;
use serde_json::Value;
use std::fmt;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::{UnixListener, UnixStream};
use tokio::process;

/// How long the program may take to connect.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// How long it may take to end.
const END_MAX: Duration = Duration::from_secs(2);
/// Bytes of the secret that lets it in.
const CAPABILITY_BYTES: usize = 32;
/// Longest greeting, bytes.
const GREETING_BYTES_MAX: usize = 4096;

/// A program that has connected.
pub struct Child {
    process: process::Child,
    group: Group,
    pub stream: Option<UnixStream>,
    /// What it said after its greeting.
    pub read: Vec<u8>,
    _folder: Folder,
}

impl fmt::Debug for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Child").field("group", &self.group).finish_non_exhaustive()
    }
}

/// A folder for this user alone, which goes when dropped.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // Left behind it holds an old socket only.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn failed(text: impl fmt::Display) -> RoomError {
    RoomError::Failed { request: "start the channel's program".into(), text: text.to_string(), code: None }
}

fn capability() -> Result<String, RoomError> {
    let mut bytes = [0; CAPABILITY_BYTES];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| failed("the system gives no randomness"))?;
    Ok(hex::encode(bytes))
}

impl Child {
    /// Starts the program and waits until it has connected.
    pub async fn start(
        words: &[String],
        room: &str,
        token: &str,
        ids: &dyn IdSource,
    ) -> Result<Self, RoomError> {
        let Some((program, arguments)) = words.split_first() else { return Err(failed("it has no name")) };
        let folder = Folder(std::env::temp_dir().join(format!("meshagent-channel-{}", ids.fresh().simple())));
        std::fs::DirBuilder::new().mode(0o700).create(&folder.0).map_err(failed)?;
        let path = folder.0.join("channel.sock");
        let listener = UnixListener::bind(&path).map_err(failed)?;
        let capability = capability()?;
        let process = process::Command::new(program)
            .args(arguments)
            .env_clear()
            .envs(surroundings())
            .env("MESHAGENT_CHANNEL_URL", format!("unix://{}", path.display()))
            .env("MESHAGENT_CHANNEL_CAPABILITY", &capability)
            .env("MESHAGENT_ROOM", room)
            .env("MESHAGENT_TOKEN", token)
            .stdin(std::process::Stdio::null())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| failed(format!("{program}: {error}; check its name and that it may be run")))?;
        let group = Group::of(&process);
        let connected = tokio::time::timeout(CONNECT_MAX, connected(&listener, &capability)).await;
        let (stream, read) = connected
            .map_err(|_| failed(format!("{program} did not connect within {} s", CONNECT_MAX.as_secs())))??;
        Ok(Self { process, group, stream: Some(stream), read, _folder: folder })
    }

    /// Asks it to end, and what it started, and ends them where they do not.
    pub async fn end(mut self) {
        self.group.signal(Signal::TERM);
        let ended = tokio::time::timeout(END_MAX, self.process.wait()).await.is_ok();
        // Those that it left behind; while there are any, the number is theirs.
        drop(self.group);
        if !ended {
            // It may have ended just now.
            let _ = self.process.wait().await;
        }
    }
}

/// The first connection that greets with the secret; others are turned away.
async fn connected(listener: &UnixListener, capability: &str) -> Result<(UnixStream, Vec<u8>), RoomError> {
    loop {
        let (mut stream, _) = listener.accept().await.map_err(failed)?;
        let mut bytes = Vec::new();
        while bytes.len() <= GREETING_BYTES_MAX {
            match unpack(&bytes) {
                Ok((greeting, used)) => {
                    let given = greeting.get("capability").and_then(Value::as_str).unwrap_or_default();
                    if aws_lc_rs::constant_time::verify_slices_are_equal(
                        given.as_bytes(),
                        capability.as_bytes(),
                    )
                    .is_ok()
                    {
                        return Ok((stream, bytes.split_off(used)));
                    }
                    break;
                }
                Err(Unpackable::Short) => {
                    let mut piece = [0; 1024];
                    match stream.read(&mut piece).await {
                        Ok(n @ 1..) => bytes.extend_from_slice(piece.get(..n).unwrap_or_default()),
                        _ => break,
                    }
                }
                Err(_) => break,
            }
        }
        tracing::warn!("a connection to a channel without its secret is turned away");
    }
}
