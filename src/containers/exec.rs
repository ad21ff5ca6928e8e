//! A program in a running container, with or without a terminal.

use super::engine::Engine;
use super::error::EngineError;
use bollard::container::LogOutput;
use bollard::exec::{StartExecOptions, StartExecResults};
use bollard::models::ExecConfig;
use bollard::query_parameters::ResizeExecOptionsBuilder;
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use rustix::process::{Pid, Signal, kill_process};
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

/// Most words of a command.
const WORDS_MAX: usize = 1_024;
/// Block in which output is read, bytes.
const BLOCK_BYTES: usize = 32 * 1024;
/// Looks for the process of a program that begins, or the exit code of one whose output ended; the pause between two.
const LOOKS_MAX: usize = 50;
const LOOK_PAUSE: Duration = Duration::from_millis(20);

/// Processes of one program that are killed with it; a container has no more anyhow.
const TREE_MAX: usize = 32_768;

/// A piece of output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExecOutput {
    Out(Bytes),
    Err(Bytes),
}

/// The way in.
pub struct ExecInput {
    write: Pin<Box<dyn AsyncWrite + Send>>,
}

impl fmt::Debug for ExecInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExecInput").finish_non_exhaustive()
    }
}

impl ExecInput {
    /// Errors: the program does not read any more.
    pub async fn write(&mut self, data: &[u8]) -> std::io::Result<()> {
        self.write.write_all(data).await?;
        self.write.flush().await
    }

    /// No more input comes.
    pub async fn close(&mut self) {
        let _ = self.write.shutdown().await;
    }
}

/// A program that runs.
#[derive(Debug, Clone)]
pub struct Exec {
    engine: Arc<Engine>,
    id: String,
}

impl Exec {
    /// Starts `command` in a running container.
    pub async fn start(
        engine: &Arc<Engine>,
        container: &str,
        command: Vec<String>,
        tty: bool,
    ) -> Result<(Self, BoxStream<'static, Result<ExecOutput, EngineError>>, ExecInput), EngineError> {
        if command.is_empty() || command.len() > WORDS_MAX {
            return Err(EngineError::Invalid(format!("a command has 1 to {WORDS_MAX} words")));
        }
        let config = ExecConfig {
            attach_stdin: Some(true),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            tty: Some(tty),
            cmd: Some(command),
            ..ExecConfig::default()
        };
        let failed = |error| EngineError::of("run a program in container", container, error);
        let made = engine.docker.create_exec(container, config).await.map_err(failed)?;
        let options = StartExecOptions { detach: false, tty, output_capacity: Some(BLOCK_BYTES) };
        let started = engine.patient.start_exec(&made.id, Some(options)).await.map_err(failed)?;
        let StartExecResults::Attached { output, input } = started else {
            return Err(EngineError::Failed {
                action: format!("run a program in container `{container}`"),
                detail: "the engine did not attach to it".to_owned(),
            });
        };
        let name = container.to_owned();
        let output = output.map(move |item| match item {
            Ok(LogOutput::StdErr { message }) => Ok(ExecOutput::Err(message)),
            Ok(
                LogOutput::StdOut { message } | LogOutput::StdIn { message } | LogOutput::Console { message },
            ) => Ok(ExecOutput::Out(message)),
            Err(error) => Err(EngineError::of("read from a program in container", &name, error)),
        });
        let exec = Self { engine: Arc::clone(engine), id: made.id };
        Ok((exec, output.boxed(), ExecInput { write: input }))
    }

    /// Sets the size of its terminal, characters.
    pub async fn resize(&self, width: u16, height: u16) -> Result<(), EngineError> {
        let size = ResizeExecOptionsBuilder::new().w(i32::from(width)).h(i32::from(height)).build();
        let resized = self.engine.docker.resize_exec(&self.id, size).await;
        resized.map_err(|error| EngineError::of("resize the terminal of", "exec", error))
    }

    /// Its exit code, asked for once its output has ended. The engine may need a moment to know.
    pub async fn ended(&self) -> Result<i64, EngineError> {
        for _ in 0..LOOKS_MAX {
            if let (Some(code), _) = self.state().await? {
                return Ok(code);
            }
            tokio::time::sleep(LOOK_PAUSE).await;
        }
        Err(EngineError::Failed {
            action: "tell the exit code of a program".to_owned(),
            detail: "it closed its output and goes on".to_owned(),
        })
    }

    /// Kills it and what it started, where its process is one of this host's. Errors mean that there is nobody left.
    pub async fn kill(&self, container: &str) {
        let Some(pid) = self.process().await else { return };
        // The id counts only on the host that the engine runs on: its group must be the container's.
        let group = tokio::fs::read_to_string(format!("/proc/{pid}/cgroup")).await.unwrap_or_default();
        let process = i32::try_from(pid).ok().and_then(Pid::from_raw);
        if let Some(process) = process.filter(|_| group.contains(container)) {
            let _ = tokio::task::spawn_blocking(move || kill_tree(process)).await;
        }
    }

    /// Its process id; none once it ended. The engine may attach to a program before it runs.
    async fn process(&self) -> Option<i64> {
        for _ in 0..LOOKS_MAX {
            match self.state().await {
                Ok((None, Some(pid))) => return Some(pid),
                Ok((None, None)) => tokio::time::sleep(LOOK_PAUSE).await,
                Ok((Some(_), _)) | Err(_) => return None,
            }
        }
        None
    }

    /// Its exit code once it ended, and its process id while it runs.
    async fn state(&self) -> Result<(Option<i64>, Option<i64>), EngineError> {
        let seen = self.engine.docker.inspect_exec(&self.id).await;
        let seen = seen.map_err(|error| EngineError::of("look at", "exec", error))?;
        let running = seen.running.unwrap_or(false);
        Ok((seen.exit_code.filter(|_| !running), seen.pid.filter(|pid| running && *pid > 0)))
    }
}

/// Ends a process and all that come from it. They are stopped from the root on, so that none starts another meanwhile;
/// a child left alone would keep the output open.
fn kill_tree(root: Pid) {
    let mut tree = vec![root];
    let mut next = 0;
    while let Some(&process) = tree.get(next).filter(|_| tree.len() < TREE_MAX) {
        let _ = kill_process(process, Signal::STOP);
        tree.extend(children(process));
        next += 1;
    }
    for process in tree {
        let _ = kill_process(process, Signal::KILL);
    }
}

fn children(process: Pid) -> Vec<Pid> {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let of_thread = |thread: std::fs::DirEntry| std::fs::read_to_string(thread.path().join("children")).ok();
    let lists: Vec<String> = threads.filter_map(of_thread).collect();
    let ids = lists.iter().flat_map(|list| list.split_whitespace());
    ids.filter_map(|id| id.parse().ok().and_then(Pid::from_raw)).collect()
}
