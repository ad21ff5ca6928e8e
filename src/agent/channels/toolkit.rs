//! Channel `toolkit:NAME`: the agent as a tool of the room (process agents §10).

use crate::agent::channel::{Agent, Channel, TurnRequest};
use crate::agent::message::InputContent;
use crate::agent::naming;
use crate::agent::turn::Outcome;
use crate::client::room::{Reply, RoomError, ToolCall, ToolHost, Toolkit, ToolkitTool};
use crate::error_code::RoomCode;
use crate::wire::Content;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The channel.
#[derive(Debug)]
pub struct TaskToolkit {
    name: String,
    under_way: TaskTracker,
    stopping: CancellationToken,
}

impl TaskToolkit {
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), under_way: TaskTracker::new(), stopping: CancellationToken::new() }
    }
}

#[async_trait::async_trait]
impl Channel for TaskToolkit {
    fn name(&self) -> String {
        format!("toolkit:{}", self.name)
    }

    async fn open(&self, agent: &Agent) -> Result<(), RoomError> {
        let host = TaskHost {
            name: self.name.clone(),
            agent: agent.clone(),
            under_way: self.under_way.clone(),
            stopping: self.stopping.clone(),
        };
        agent.room().host(toolkit(&self.name), Arc::new(host)).await
    }

    async fn serve(self: Arc<Self>, _: Agent, stop: CancellationToken, abort: CancellationToken) {
        stop.cancelled().await;
        self.under_way.close();
        tokio::select! {
            () = self.under_way.wait() => {}
            () = abort.cancelled() => self.stopping.cancel(),
        }
        self.under_way.wait().await;
    }
}

/// The toolkit that channel `toolkit:name` hosts: one task tool, under the name as it is and, where that differs,
/// with underscores for what is no letter or digit, as the documentation spells it.
fn toolkit(name: &str) -> Toolkit {
    let mut names = vec![format!("run_{name}_task"), format!("run_{}_task", underscored(name))];
    names.dedup();
    let tool = |tool_name: String| ToolkitTool {
        name: tool_name,
        title: format!("Run {name} Task"),
        description: format!("Gives agent {name} a task and answers with its result."),
        input_schema: schema(),
        strict: true,
        output_types: vec!["text"],
    };
    Toolkit {
        name: name.to_owned(),
        title: name.to_owned(),
        description: format!("Tasks for agent {name}"),
        public: true,
        annotations: BTreeMap::new(),
        tools: names.into_iter().map(tool).collect(),
    }
}

fn underscored(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

fn schema() -> Value {
    let optional = |what: &str| json!({"type": ["string", "null"], "description": what});
    json!({
        "type": "object",
        "properties": {
            "prompt": {"type": "string", "description": "what to do"},
            "path": optional("thread to continue; null for a new one"),
            "thread_id": optional("the same as path"),
            "model": optional("one of the agent's models"),
            "instructions": optional("instructions for this task"),
        },
        "required": ["prompt"],
        "additionalProperties": false,
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Task {
    prompt: String,
    path: Option<String>,
    thread_id: Option<String>,
    model: Option<String>,
    instructions: Option<String>,
}

impl Task {
    fn read(call: &ToolCall) -> Result<Self, String> {
        let Content::Json(arguments) = &call.arguments else {
            return Err("the arguments are not JSON; want {\"prompt\": …}".into());
        };
        let task: Self = serde_json::from_value(arguments.clone())
            .map_err(|e| format!("the arguments do not fit: {e}; want {{\"prompt\": …}}"))?;
        match (&task.path, &task.thread_id) {
            (Some(path), Some(thread)) if path != thread => {
                Err("`path` and `thread_id` name different threads; give one of them".into())
            }
            _ if task.prompt.trim().is_empty() => Err("the prompt is empty".into()),
            _ => Ok(task),
        }
    }
}

/// Answers the calls of one toolkit channel.
struct TaskHost {
    name: String,
    agent: Agent,
    under_way: TaskTracker,
    stopping: CancellationToken,
}

#[async_trait::async_trait]
impl ToolHost for TaskHost {
    async fn call(&self, call: ToolCall) -> Reply {
        let _under_way = self.under_way.token();
        if !toolkit(&self.name).tools.iter().any(|tool| tool.name == call.tool) {
            let text =
                format!("toolkit `{}` has no tool `{}`; call run_{}_task", self.name, call.tool, self.name);
            return Reply::Unary(Content::error(RoomCode::NotFound, text));
        }
        let task = match Task::read(&call) {
            Ok(task) => task,
            Err(text) => return Reply::Unary(Content::error(RoomCode::InvalidRequest, text)),
        };
        let filled = |text: Option<String>| text.filter(|t| !t.trim().is_empty());
        let request = TurnRequest {
            thread: filled(task.path.or(task.thread_id)),
            thread_name: Some(naming::sanitize(&task.prompt)),
            content: vec![InputContent::text(task.prompt)],
            model: filled(task.model),
            instructions: filled(task.instructions),
            participant_id: call.on_behalf_of_id.or(Some(call.caller_id)),
            unattended: true,
            ..TurnRequest::default()
        };
        let stopped = "toolkit channel stopped before the turn completed";
        let outcome = tokio::select! {
            outcome = self.agent.turn(request) => outcome,
            () = self.stopping.cancelled() => {
                return Reply::Unary(Content::error(RoomCode::OperationFailed, stopped));
            }
        };
        Reply::Unary(match outcome {
            Outcome::Done { text, .. } => Content::Text(text),
            Outcome::Failed(failure) if failure.code == "cancelled" => {
                Content::error(RoomCode::OperationFailed, stopped)
            }
            Outcome::Failed(failure) => Content::error(RoomCode::OperationFailed, failure.message),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_of_the_tool_are_offered_and_one_where_they_agree() {
        let names =
            |name: &str| -> Vec<String> { toolkit(name).tools.into_iter().map(|tool| tool.name).collect() };
        assert_eq!(names("support-agent"), ["run_support-agent_task", "run_support_agent_task"]);
        assert_eq!(names("helper"), ["run_helper_task"]);
    }
}
