//! Commands in containers of the room.

use super::output::{Ran, Streams};
use super::{CallContext, Wanted};
use crate::agent::tools::ToolError;
use crate::client::room::{Input, Output, RoomClient, RoomError};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Runs a command line with bash, or with sh where the image has no bash.
pub(super) const WRAPPER: &str =
    "if command -v bash >/dev/null 2>&1; then exec bash -lc \"$1\"; else exec sh -lc \"$1\"; fi";

/// The fields of a container that waits for commands.
pub(super) fn fields(
    image: &str,
    mounts: &Value,
    env: &BTreeMap<String, String>,
    working_dir: Option<&str>,
) -> Value {
    let env: Vec<_> = env.iter().map(|(key, value)| json!({"key": key, "value": value})).collect();
    json!({
        "image": image,
        "command": "sleep infinity",
        "mounts": mounts,
        "env": env,
        "working_dir": working_dir,
        "writable_root_fs": true,
    })
}

/// The command in a folder.
pub(super) fn within(folder: Option<&str>, command: &str) -> String {
    match folder.and_then(|folder| shlex::try_quote(folder).ok()) {
        Some(folder) => format!("cd {folder} && {command}"),
        None => command.to_owned(),
    }
}

/// Runs a command in a running container, for as long as it may take.
pub(super) async fn exec(
    client: &RoomClient,
    id: &str,
    command: &str,
    wanted: &Wanted,
    call: &CallContext,
) -> Result<Ran, ToolError> {
    let words = ["sh", "-c", WRAPPER, "sh", command].map(str::to_owned);
    let mut running = match client.containers().exec(id, Some(&words), false).await {
        Ok(running) => running,
        Err(error) => return told(error),
    };
    let mut streams = Streams::new(wanted.stream_bytes);
    let all = async {
        while let Some(piece) = running.next().await? {
            match piece {
                Output::Out(data) => streams.stdout.take(&data, call).await,
                Output::Err(data) => streams.stderr.take(&data, call).await,
                Output::Status(status) => return Ok(Some(status)),
            }
        }
        Ok::<_, RoomError>(None)
    };
    match tokio::time::timeout(wanted.timeout, all).await {
        Ok(Ok(Some(status))) => Ok(Ran::ended(status, streams)),
        Ok(Ok(None)) => Ok(Ran::failed("the container ended under the command".into())),
        Ok(Err(error)) => told(error),
        Err(_) => {
            if let Err(error) = running.send(Input::Kill).await {
                tracing::debug!(%error, "a command that took too long could not be killed");
            }
            Ok(Ran::too_long(streams))
        }
    }
}

/// What went wrong is a result of the command, but for a lost connection.
fn told(error: RoomError) -> Result<Ran, ToolError> {
    match ToolError::from(error) {
        ToolError::Told(text) => Ok(Ran::failed(text)),
        lost @ ToolError::Lost(_) => Err(lost),
    }
}

/// Stops a container and removes it.
pub(super) async fn end(client: &RoomClient, id: &str) -> Result<(), RoomError> {
    if let Err(error) = client.containers().stop(id, true).await {
        tracing::debug!(container = id, %error, "a container could not be stopped");
    }
    client.containers().delete(id).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_quoted() {
        assert_eq!(within(None, "ls"), "ls");
        assert_eq!(within(Some("/a b"), "ls"), "cd '/a b' && ls");
    }
}
