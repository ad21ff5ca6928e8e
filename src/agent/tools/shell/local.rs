//! Commands on this machine, where whoever started the agent asked for that by name: each in a process group of its
//! own, with an environment that holds none of the agent's secrets.

use super::container::WRAPPER;
use super::output::{Ran, Streams};
use super::{CallContext, Wanted};
use crate::agent::config::ShellConfig;
use crate::child::{Group, surroundings};
use std::process::{ExitStatus, Stdio};
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};

const PIECE_BYTES: usize = 8 * 1024;

/// Runs a command line; `prefix` are the words of what confines it, if anything does.
pub(super) async fn exec(
    prefix: &[String],
    config: &ShellConfig,
    command: &str,
    wanted: &Wanted,
    call: &CallContext,
) -> Ran {
    let mut child = match spawn(prefix, config, command) {
        Ok(child) => child,
        Err(error) => return Ran::failed(format!("the shell cannot be started: {error}")),
    };
    // However the call ends: a turn that is stopped leaves nothing running.
    let group = Group::of(&child);
    let mut streams = Streams::new(wanted.stream_bytes);
    let ran = tokio::time::timeout(wanted.timeout, follow(&mut child, &mut streams, call)).await;
    drop(group);
    match ran {
        Ok(Ok(status)) => Ran::ended(code(status), streams),
        Ok(Err(error)) => Ran::failed(format!("the command was lost: {error}")),
        Err(_) => Ran::too_long(streams),
    }
}

fn spawn(prefix: &[String], config: &ShellConfig, command: &str) -> std::io::Result<Child> {
    let words = ["sh", "-c", WRAPPER, "sh", command].map(str::to_owned);
    let mut all = prefix.iter().chain(&words);
    let program = all.next().map_or("sh", String::as_str);
    let mut spawned = Command::new(program);
    spawned.args(all).env_clear().envs(surroundings()).envs(&config.env);
    if let Some(folder) = &config.working_dir {
        spawned.current_dir(folder);
    }
    if prefix.is_empty() {
        // What confines a command makes a session of its own.
        spawned.process_group(0);
    }
    spawned.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).spawn()
}

/// Reads both streams to their ends and waits.
async fn follow(child: &mut Child, streams: &mut Streams, call: &CallContext) -> std::io::Result<ExitStatus> {
    let (mut out, mut err) = (child.stdout.take(), child.stderr.take());
    let (mut from_out, mut from_err) = (vec![0; PIECE_BYTES], vec![0; PIECE_BYTES]);
    while out.is_some() || err.is_some() {
        tokio::select! {
            read = read(&mut out, &mut from_out), if out.is_some() => match read? {
                0 => out = None,
                n => streams.stdout.take(from_out.get(..n).unwrap_or_default(), call).await,
            },
            read = read(&mut err, &mut from_err), if err.is_some() => match read? {
                0 => err = None,
                n => streams.stderr.take(from_err.get(..n).unwrap_or_default(), call).await,
            },
        }
    }
    child.wait().await
}

async fn read(from: &mut Option<impl AsyncReadExt + Unpin>, to: &mut [u8]) -> std::io::Result<usize> {
    match from {
        Some(from) => from.read(to).await,
        None => Ok(0),
    }
}

/// The exit code, or as shells have it 128 and the signal.
fn code(status: ExitStatus) -> i64 {
    use std::os::unix::process::ExitStatusExt;
    let of_signal = || status.signal().map(|signal| 128 + signal);
    i64::from(status.code().or_else(of_signal).unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::config::ShellPlace;
    use serde_json::{Value, json};
    use std::collections::BTreeMap;
    use std::time::{Duration, Instant};

    fn config(folder: &std::path::Path) -> ShellConfig {
        ShellConfig {
            shell: true,
            advanced: false,
            place: ShellPlace::Local { prefix: Vec::new() },
            mounts: Value::Null,
            env: BTreeMap::from([("GIVEN".to_owned(), "yes".to_owned())]),
            working_dir: Some(folder.to_str().unwrap().to_owned()),
        }
    }

    async fn ran(command: &str, timeout: Duration) -> Value {
        let folder = tempfile::tempdir().unwrap();
        let wanted = Wanted { commands: Vec::new(), stream_bytes: 100, timeout };
        let call = CallContext::new("t", "u", "i");
        exec(&[], &config(folder.path()), command, &wanted, &call).await.to_json()
    }

    #[tokio::test]
    async fn a_command_runs_in_its_folder_with_its_environment_only() {
        let long = Duration::from_mins(1);
        let done = ran("echo $GIVEN$CARGO; pwd >&2; touch made && ls; exit 7", long).await;
        assert_eq!(done["outcome"], json!({"type": "exit", "exit_code": 7}));
        assert_eq!(done["stdout"], "yes\nmade\n", "CARGO is of the test's own environment");
        assert!(done["stderr"].as_str().unwrap().contains("tmp"), "{done}");
        let much = ran("yes | head -c 100000", long).await;
        assert!(much["stdout"].as_str().unwrap().ends_with("[… 99900 more bytes were cut off]"), "{much}");
        let killed = ran("kill -9 $$", long).await;
        assert_eq!(killed["outcome"]["exit_code"], 137);
    }

    #[tokio::test]
    async fn a_command_that_takes_too_long_is_killed_with_all_it_started() {
        let begin = Instant::now();
        let slow = ran("echo begun; tail -f /dev/null & tail -f /dev/null", Duration::from_secs(2)).await;
        assert_eq!((&slow["outcome"]["type"], &slow["stdout"]), (&json!("timeout"), &json!("begun\n")));
        assert!(begin.elapsed() < Duration::from_mins(1));
    }

    #[tokio::test]
    async fn a_folder_that_is_not_there_is_told() {
        let wanted = Wanted { commands: Vec::new(), stream_bytes: 100, timeout: Duration::from_secs(5) };
        let nowhere = config(std::path::Path::new("/no/such/folder"));
        let failed = exec(&[], &nowhere, "ls", &wanted, &CallContext::new("t", "u", "i")).await.to_json();
        assert!(failed["stderr"].as_str().unwrap().contains("cannot be started"), "{failed}");
    }
}
