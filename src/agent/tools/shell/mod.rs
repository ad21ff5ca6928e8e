//! Commands: toolkit `shell` (`--shell`) runs them in one container of the room that all turns share, or on this machine
//! where that was asked for; toolkit `container` (`--advanced-shell`) lets the model start containers. Knows the room
//! client and processes of this machine, not who asked.

mod container;
mod local;
mod managed;
mod output;

use super::{CallContext, Tool, ToolError, ToolOutput, ToolSpec, arguments, spec};
use crate::agent::config::{ShellConfig, ShellPlace};
use crate::client::room::RoomClient;
use output::Ran;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

/// Commands of one call.
const COMMANDS_MAX: usize = 32;
/// How long a command may take, unless the call says.
const TIMEOUT: Duration = Duration::from_mins(1);
/// How long a call may ask for.
const TIMEOUT_MAX: Duration = Duration::from_mins(9);
/// Bytes of each stream that are kept of one command, unless the call says.
const STREAM_BYTES: usize = 16 * 1024;
/// Bytes of each stream that a call may ask for.
const STREAM_BYTES_MAX: usize = 50 * 1024;

/// What the shell tools of an agent share.
pub struct Shell {
    config: ShellConfig,
    client: RoomClient,
    /// The container of toolkit `shell`.
    own: Mutex<Option<String>>,
    /// Those of toolkit `container`, by id.
    managed: Mutex<BTreeMap<String, managed::Managed>>,
}

impl std::fmt::Debug for Shell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shell").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Shell {
    #[must_use]
    pub fn new(config: ShellConfig, client: RoomClient) -> Self {
        Self { config, client, own: Mutex::default(), managed: Mutex::default() }
    }

    /// The tools that are switched on.
    pub fn tools(self: &Arc<Self>) -> Vec<Arc<dyn Tool>> {
        let mut tools: Vec<Arc<dyn Tool>> = Vec::new();
        if self.config.shell {
            let place = match &self.config.place {
                ShellPlace::Image(_) => "in a container, which is the same for all calls",
                ShellPlace::Local { .. } => "on the agent's machine",
            };
            let about = format!(
                "Runs shell commands one after another {place}. A command that fails does not stop the next."
            );
            tools.push(Arc::new(ShellTool {
                spec: spec("shell", "shell", &about, properties()),
                shell: self.clone(),
            }));
        }
        if self.config.advanced {
            tools.extend(managed::tools(self));
        }
        tools
    }

    /// Ends the containers that were started.
    pub async fn close(&self) {
        let own = self.own.lock().await.take();
        let managed = std::mem::take(&mut *self.managed.lock().await);
        for id in own.into_iter().chain(managed.into_keys()) {
            if let Err(error) = container::end(&self.client, &id).await {
                tracing::warn!(container = id, %error, "a container of the shell is left to its session");
            }
        }
    }

    async fn run(&self, wanted: &Wanted, call: &CallContext) -> Result<ToolOutput, ToolError> {
        let id = match &self.config.place {
            ShellPlace::Image(image) => Some(self.container(image).await?),
            ShellPlace::Local { .. } => None,
        };
        let mut results = Vec::new();
        for command in &wanted.commands {
            let ran = match (&id, &self.config.place) {
                (Some(id), _) => {
                    let command = container::within(self.config.working_dir.as_deref(), command);
                    container::exec(&self.client, id, &command, wanted, call).await?
                }
                (None, ShellPlace::Local { prefix }) => {
                    local::exec(prefix, &self.config, command, wanted, call).await
                }
                (None, ShellPlace::Image(_)) => return Err("the shell has no container".into()),
            };
            let last = ran.timed_out();
            results.push(ran);
            if last {
                break;
            }
        }
        Ok(shown(&results))
    }

    /// The container of toolkit `shell`: the one that runs, else a new one.
    async fn container(&self, image: &str) -> Result<String, ToolError> {
        let mut own = self.own.lock().await;
        if let Some(id) = own.as_deref() {
            let running = self.client.containers().list(false).await?;
            if running.iter().any(|container| container["id"] == *id) {
                return Ok(id.to_owned());
            }
        }
        let fields = container::fields(image, &self.config.mounts, &self.config.env, None);
        let id = self.client.containers().run(fields).await?;
        tracing::info!(container = id, image, "the shell has a container");
        Ok(own.insert(id).clone())
    }
}

/// Arguments of a call, within their bounds.
pub(super) struct Wanted {
    pub commands: Vec<String>,
    pub stream_bytes: usize,
    pub timeout: Duration,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    commands: Vec<String>,
    max_output_length: Option<i64>,
    timeout_ms: Option<i64>,
}

impl Given {
    fn checked(self) -> Result<Wanted, String> {
        if self.commands.is_empty() || self.commands.len() > COMMANDS_MAX {
            return Err(format!("give 1 to {COMMANDS_MAX} commands"));
        }
        let positive = |given: Option<i64>, what: &str| match given {
            None => Ok(None),
            Some(n) => u64::try_from(n)
                .ok()
                .filter(|n| *n > 0)
                .map(Some)
                .ok_or_else(|| format!("{what} must be more than 0")),
        };
        let bytes = positive(self.max_output_length, "max_output_length")?;
        let timeout = positive(self.timeout_ms, "timeout_ms")?;
        Ok(Wanted {
            commands: self.commands,
            stream_bytes: bytes.map_or(STREAM_BYTES, |n| {
                usize::try_from(n).unwrap_or(STREAM_BYTES_MAX).min(STREAM_BYTES_MAX)
            }),
            timeout: timeout.map_or(TIMEOUT, |ms| Duration::from_millis(ms).min(TIMEOUT_MAX)),
        })
    }
}

fn properties() -> Value {
    let number = |what: &str| json!({"type": ["integer", "null"], "description": what});
    json!({
        "commands": {"type": "array", "items": {"type": "string"}, "description": "commands for a shell, run in order"},
        "max_output_length": number("bytes of each stream to show; null is 16384"),
        "timeout_ms": number("how long each command may take; null is 60000"),
    })
}

/// Runs one command in a running container, for as long as any may take.
pub(super) async fn exec(
    client: &RoomClient,
    id: &str,
    command: &str,
    stream_bytes: usize,
    call: &CallContext,
) -> Result<Ran, ToolError> {
    let wanted = Wanted { commands: Vec::new(), stream_bytes, timeout: TIMEOUT_MAX };
    container::exec(client, id, command, &wanted, call).await
}

pub(super) fn shown(results: &[Ran]) -> ToolOutput {
    json!({"results": results.iter().map(Ran::to_json).collect::<Vec<_>>()}).to_string().into()
}

struct ShellTool {
    spec: ToolSpec,
    shell: Arc<Shell>,
}

#[async_trait::async_trait]
impl Tool for ShellTool {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn run(&self, given: Value, call: &CallContext) -> Result<ToolOutput, ToolError> {
        let wanted = arguments::<Given>(given)?.checked()?;
        self.shell.run(&wanted, call).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_held_within_their_bounds() {
        let read = |value: Value| arguments::<Given>(value).and_then(Given::checked);
        let plain = read(json!({"commands": ["ls"], "max_output_length": null, "timeout_ms": null})).unwrap();
        assert_eq!((plain.stream_bytes, plain.timeout), (STREAM_BYTES, TIMEOUT));
        let much =
            read(json!({"commands": ["ls"], "max_output_length": 1_u64 << 40, "timeout_ms": 1_u64 << 40}))
                .unwrap();
        assert_eq!((much.stream_bytes, much.timeout), (STREAM_BYTES_MAX, TIMEOUT_MAX));
        for (bad, why) in [
            (json!({"commands": []}), "give 1 to"),
            (json!({"commands": vec!["x"; COMMANDS_MAX + 1]}), "give 1 to"),
            (json!({"commands": ["x"], "timeout_ms": 0}), "timeout_ms must"),
            (json!({"commands": ["x"], "max_output_length": -1}), "max_output_length must"),
            (json!({"commands": "x"}), "do not fit"),
            (json!({}), "commands"),
        ] {
            let error = read(bad.clone()).err().unwrap_or_default();
            assert!(error.contains(why), "{bad}: {error}");
        }
    }
}
