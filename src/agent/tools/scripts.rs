//! Toolkit `script` (`--discover-script-tools`): services of the room that say they are scripts
//! (`meshagent.tool.type: script`). A call starts the service's container where it does not run, and runs its commands
//! there, with the arguments as environment variables.

use super::shell::{exec, shown};
use super::{CallContext, Tool, ToolError, ToolOutput, ToolSpec, spec};
use crate::client::room::RoomClient;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use tokio::sync::Mutex;

const KIT: &str = "script";
/// Script tools of one room; more are left out.
const SCRIPTS_MAX: usize = 64;
/// Lines of commands that one tool may have.
const COMMANDS_MAX: usize = 64;
/// Bytes of each stream that are kept of one command.
const STREAM_BYTES: usize = 32_000;

/// The script tools of the room as it lists its services now.
pub async fn scripts(client: &RoomClient) -> Result<Vec<Arc<dyn Tool>>, ToolError> {
    let listed = client.invoke_json("services", "list", json!({})).await?;
    let services = listed.get("services").or_else(|| listed.get("services_json")).and_then(Value::as_array);
    let services = services.into_iter().flatten().filter_map(|service| match service {
        Value::String(text) => serde_json::from_str(text).ok(),
        other => Some(other.clone()),
    });
    let tools = services.filter_map(|service: Value| script(client, &service));
    Ok(tools.take(SCRIPTS_MAX).map(|tool| Arc::new(tool) as Arc<dyn Tool>).collect())
}

fn script(client: &RoomClient, service: &Value) -> Option<ScriptTool> {
    let metadata = service.get("metadata")?;
    let note =
        |key: &str| metadata.pointer(&format!("/annotations/meshagent.tool.{key}")).and_then(Value::as_str);
    let own = |key: &str| metadata.get(key).and_then(Value::as_str);
    if note("type") != Some("script") {
        return None;
    }
    let commands: Vec<String> = note("commands")?
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .take(COMMANDS_MAX)
        .map(str::to_owned)
        .collect();
    let name = note("name").or(own("name"))?;
    let about = note("description").or(own("description")).unwrap_or_default();
    let properties = json!({"prompt": {"type": "string"}});
    Some(ScriptTool {
        spec: spec(KIT, name, about, properties),
        service_id: service.get("id")?.as_str()?.to_owned(),
        commands,
        client: client.clone(),
        starting: Mutex::default(),
    })
}

struct ScriptTool {
    spec: ToolSpec,
    service_id: String,
    commands: Vec<String>,
    client: RoomClient,
    /// One call at a time starts the container.
    starting: Mutex<()>,
}

impl ScriptTool {
    /// The container of the service: the one that runs, else a new one.
    async fn container(&self) -> Result<String, ToolError> {
        let _alone = self.starting.lock().await;
        let running = self.client.containers().list(false).await?;
        let own = running.iter().find(|container| container["service_id"] == *self.service_id);
        if let Some(id) = own.and_then(|container| container["id"].as_str()) {
            return Ok(id.to_owned());
        }
        let input = json!({"service_id": self.service_id, "env": []});
        let started = self.client.invoke_json("containers", "run_service", input).await?;
        let id = started["container_id"].as_str().map(str::to_owned);
        id.ok_or_else(|| "the container of the script has no id".into())
    }
}

#[async_trait::async_trait]
impl Tool for ScriptTool {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn run(&self, given: Value, call: &CallContext) -> Result<ToolOutput, ToolError> {
        let Value::Object(arguments) = given else { return Err("the arguments are no JSON object".into()) };
        let exported = exported(&arguments)?;
        let id = self.container().await?;
        let mut results = Vec::new();
        for line in &self.commands {
            let ran = exec(&self.client, &id, &format!("{exported}{line}"), STREAM_BYTES, call).await?;
            let last = ran.timed_out();
            results.push(ran);
            if last {
                break;
            }
        }
        Ok(shown(&results))
    }
}

/// The arguments as variables of a shell, their names in capitals.
fn exported(arguments: &Map<String, Value>) -> Result<String, String> {
    let one = |(name, value): (&String, &Value)| {
        let name = name.to_uppercase();
        let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if name.is_empty() || !plain || name.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(format!("argument `{name}` is no name of a variable"));
        }
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let quoted = shlex::try_quote(&text).map_err(|error| format!("argument `{name}`: {error}"))?;
        Ok(format!("export {name}={quoted}; "))
    };
    arguments.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_variables_and_cannot_be_more_than_that() {
        let of = |value: Value| exported(value.as_object().unwrap());
        assert_eq!(of(json!({"prompt": "it's $HOME"})).unwrap(), r#"export PROMPT="it's "'$HOME'; "#);
        assert_eq!(of(json!({"n": 3})).unwrap(), "export N=3; ");
        assert!(of(json!({"a;b": "x"})).is_err());
        assert!(of(json!({"1a": "x"})).is_err());
    }
}
