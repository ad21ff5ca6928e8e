//! Toolkit `container`: containers that the model starts, uses and stops. It reaches no others of the room.

use super::output::Ran;
use super::{Given, Shell, container, properties, shown};
use crate::agent::config::ShellPlace;
use crate::agent::tools::{CallContext, Tool, ToolError, ToolOutput, ToolSpec, arguments, spec};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Containers that one agent may have at once.
pub const MANAGED_MAX: usize = 16;
const KIT: &str = "container";

/// A container, as it was started.
pub(super) struct Managed {
    image: String,
    working_dir: Option<String>,
    mounts: Value,
}

/// The tools of `--advanced-shell`.
pub(super) fn tools(shell: &Arc<Shell>) -> Vec<Arc<dyn Tool>> {
    let text = |what: &str| json!({"type": ["string", "null"], "description": what});
    let id = json!({"type": "string", "description": "id that start_container gave"});
    let variable = json!({"type": "object", "additionalProperties": false, "required": ["key", "value"],
        "properties": {"key": {"type": "string"}, "value": {"type": "string"}}});
    let start = json!({
        "image": text("image; null for the usual one"),
        "mounts": {"type": ["object", "null"], "description": "more of the room's files, as a service's container.storage"},
        "env": {"type": ["array", "null"], "items": variable},
        "working_dir": text("folder in which commands run"),
    });
    let mut run = properties();
    run["container_id"] = id.clone();
    let own = |tool: &str, about: &str, properties: Value| spec(KIT, tool, about, properties);
    let start = ToolSpec {
        strict: false,
        ..own("start_container", "Starts a container for commands and gives its id.", start)
    };
    let all = [
        (Op::List, own("list_managed_containers", "Lists the containers that were started here.", json!({}))),
        (Op::Start, start),
        (
            Op::Stop,
            own(
                "stop_managed_container",
                "Stops a container that was started here and removes it.",
                json!({"container_id": id}),
            ),
        ),
        (Op::Run, own("run_in_container", "Runs shell commands in a container that was started here.", run)),
    ];
    let tool = |(op, spec)| Arc::new(ManagedTool { op, spec, shell: shell.clone() }) as Arc<dyn Tool>;
    all.into_iter().map(tool).collect()
}

#[derive(Clone, Copy)]
enum Op {
    List,
    Start,
    Stop,
    Run,
}

struct ManagedTool {
    op: Op,
    spec: ToolSpec,
    shell: Arc<Shell>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Start {
    image: Option<String>,
    mounts: Option<Value>,
    env: Option<Vec<Variable>>,
    working_dir: Option<String>,
}

#[derive(Deserialize)]
struct Variable {
    key: String,
    value: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    container_id: String,
}

#[derive(Deserialize)]
struct RunIn {
    container_id: String,
    #[serde(flatten)]
    given: Given,
}

#[async_trait::async_trait]
impl Tool for ManagedTool {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn run(&self, given: Value, call: &CallContext) -> Result<ToolOutput, ToolError> {
        match self.op {
            Op::List => {
                let all = self.shell.managed.lock().await;
                let one = |(id, container): (&String, &Managed)| {
                    json!({"container_id": id, "image": container.image, "working_dir": container.working_dir,
                        "mounts": container.mounts})
                };
                Ok(json!({"containers": all.iter().map(one).collect::<Vec<_>>()}).to_string().into())
            }
            Op::Start => self.start(arguments(given)?).await,
            Op::Stop => {
                let Which { container_id } = arguments(given)?;
                self.known(&container_id).await?;
                container::end(&self.shell.client, &container_id).await?;
                self.shell.managed.lock().await.remove(&container_id);
                Ok(json!({"container_id": container_id, "ok": true}).to_string().into())
            }
            Op::Run => {
                let RunIn { container_id, given } = arguments(given)?;
                let wanted = given.checked()?;
                let folder = self.known(&container_id).await?;
                let mut results: Vec<Ran> = Vec::new();
                for command in &wanted.commands {
                    let command = container::within(folder.as_deref(), command);
                    let client = &self.shell.client;
                    results.push(container::exec(client, &container_id, &command, &wanted, call).await?);
                    if results.last().is_some_and(Ran::timed_out) {
                        break;
                    }
                }
                Ok(shown(&results))
            }
        }
    }
}

impl ManagedTool {
    async fn start(&self, start: Start) -> Result<ToolOutput, ToolError> {
        let config = &self.shell.config;
        let filled = |text: Option<String>| text.map(|t| t.trim().to_owned()).filter(|t| !t.is_empty());
        let usual = match &config.place {
            ShellPlace::Image(image) => Some(image.clone()),
            ShellPlace::Local { .. } => None,
        };
        let image = filled(start.image).or(usual).ok_or("name an image; there is no usual one")?;
        let working_dir = filled(start.working_dir).or_else(|| config.working_dir.clone());
        let mounts = merged(&config.mounts, start.mounts.as_ref());
        let mut env: BTreeMap<String, String> = config.env.clone();
        env.extend(start.env.into_iter().flatten().map(|variable| (variable.key, variable.value)));
        let mut all = self.shell.managed.lock().await;
        if all.len() >= MANAGED_MAX {
            return Err(format!("{MANAGED_MAX} containers run already; stop one first").into());
        }
        let fields = container::fields(&image, &mounts, &env, working_dir.as_deref());
        let id = self.shell.client.containers().run(fields).await?;
        all.insert(id.clone(), Managed { image, working_dir, mounts });
        Ok(json!({"container_id": id}).to_string().into())
    }

    /// The folder of a container that was started here.
    async fn known(&self, id: &str) -> Result<Option<String>, ToolError> {
        let all = self.shell.managed.lock().await;
        match all.get(id) {
            Some(container) => Ok(container.working_dir.clone()),
            None => {
                Err(format!("no container `{id}` was started here; list_managed_containers names them")
                    .into())
            }
        }
    }
}

/// The mounts of both, list by list.
fn merged(usual: &Value, more: Option<&Value>) -> Value {
    let mut all = usual.as_object().cloned().unwrap_or_default();
    for (kind, mounts) in more.and_then(Value::as_object).into_iter().flatten() {
        let Some(mounts) = mounts.as_array() else { continue };
        match all.get_mut(kind).and_then(Value::as_array_mut) {
            Some(list) => list.extend(mounts.iter().cloned()),
            None => {
                all.insert(kind.clone(), json!(mounts));
            }
        }
    }
    if all.is_empty() { Value::Null } else { Value::Object(all) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_joined_list_by_list() {
        let usual = json!({"room": [{"path": "/data"}]});
        assert_eq!(merged(&usual, None), usual);
        let more = json!({"room": [{"path": "/x"}], "files": [{"path": "/f", "text": "t"}], "images": null});
        let both =
            json!({"room": [{"path": "/data"}, {"path": "/x"}], "files": [{"path": "/f", "text": "t"}]});
        assert_eq!(merged(&usual, Some(&more)), both);
        assert_eq!(merged(&Value::Null, Some(&json!({}))), Value::Null);
    }
}
