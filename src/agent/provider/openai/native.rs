//! Tools that OpenAI's newer models know by themselves: they are offered by their type alone, and called and answered
//! in forms of their own. To the rest of the agent they are tools as all others. Pure.

use crate::agent::history::ToolCall;
use crate::agent::tools::ToolSpec;
use serde_json::{Map, Value, json};

/// Beginnings of the names of models that know them.
const MODELS: [&str; 2] = ["gpt-5", "gpt-6"];
/// Members of a shell call's action that its tool takes.
const ACTION: [&str; 3] = ["commands", "max_output_length", "timeout_ms"];

/// A tool that the model knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Native {
    Shell,
    ApplyPatch,
}

const ALL: [Native; 2] = [Native::Shell, Native::ApplyPatch];

impl Native {
    /// The one of ours that `toolkit` and `tool` name.
    fn named(toolkit: &str, tool: &str) -> Option<Self> {
        ALL.into_iter().find(|native| (native.tool(), native.tool()) == (toolkit, tool))
    }

    /// What a tool is to a model of OpenAI's, where that knows it.
    pub fn of(provider: &str, model: &str, spec: &ToolSpec) -> Option<Self> {
        let knows = provider == "openai" && MODELS.iter().any(|prefix| model.starts_with(prefix));
        Self::named(&spec.toolkit, &spec.tool).filter(|_| knows)
    }

    /// Our tool, which is alone in a toolkit of its name.
    pub fn tool(self) -> &'static str {
        match self {
            Self::Shell => "shell",
            Self::ApplyPatch => "apply_patch",
        }
    }

    pub fn offer(self) -> Value {
        json!({"type": self.tool()})
    }

    /// The one that an item of an answer calls.
    pub fn called(kind: &str) -> Option<Self> {
        match kind {
            "shell_call" => Some(Self::Shell),
            "apply_patch_call" => Some(Self::ApplyPatch),
            _ => None,
        }
    }

    /// The call that an item of an answer is.
    pub fn read(self, item: &Value) -> ToolCall {
        let text = |key: &str| item.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let arguments = match self {
            Self::Shell => {
                let field =
                    |key: &str| item.pointer(&format!("/action/{key}")).cloned().unwrap_or(Value::Null);
                Value::Object(ACTION.iter().map(|key| ((*key).to_owned(), field(key))).collect())
            }
            Self::ApplyPatch => item.get("operation").cloned().unwrap_or(Value::Null),
        };
        ToolCall {
            id: text("call_id"),
            item_id: text("id"),
            toolkit: self.tool().to_owned(),
            tool: self.tool().to_owned(),
            arguments: arguments.to_string(),
        }
    }

    /// A call of the past as the model wrote it; `None` for what it cannot have written.
    pub fn call(call: &ToolCall) -> Option<(Self, Value)> {
        let native = Self::named(&call.toolkit, &call.tool)?;
        let given: Map<String, Value> = serde_json::from_str(&call.arguments).ok()?;
        let item = match native {
            Self::Shell => {
                given.get("commands").filter(|commands| commands.is_array())?;
                json!({"type": "shell_call", "call_id": call.id, "status": "completed", "action": given})
            }
            Self::ApplyPatch => {
                given.get("path").filter(|path| path.is_string())?;
                let operation: Map<_, _> = given.into_iter().filter(|(_, value)| !value.is_null()).collect();
                json!({"type": "apply_patch_call", "call_id": call.id, "status": "completed",
                    "operation": operation})
            }
        };
        Some((native, item))
    }

    /// The output of a call.
    pub fn output(self, call_id: &str, text: &str) -> Value {
        match self {
            Self::Shell => {
                json!({"type": "shell_call_output", "call_id": call_id, "output": results(text)})
            }
            Self::ApplyPatch => {
                let failed =
                    serde_json::from_str::<Value>(text).is_ok_and(|said| said.get("error").is_some());
                let status = if failed { "failed" } else { "completed" };
                json!({"type": "apply_patch_call_output", "call_id": call_id, "status": status, "output": text})
            }
        }
    }
}

/// What each command came to; one that did not run failed with the reason.
fn results(text: &str) -> Value {
    let said: Option<Value> = serde_json::from_str(text).ok();
    let results = said.and_then(|mut said| Some(said.get_mut("results")?.take()));
    results.filter(Value::is_array).unwrap_or_else(
        || json!([{"stdout": "", "stderr": text, "outcome": {"type": "exit", "exit_code": 1}}]),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::tools::failed_text;

    fn spec(toolkit: &str, tool: &str) -> ToolSpec {
        ToolSpec {
            toolkit: toolkit.into(),
            tool: tool.into(),
            description: String::new(),
            parameters: json!({"type": "object"}),
            strict: true,
            approval: false,
        }
    }

    #[test]
    fn only_models_that_know_them_are_offered_native_tools() {
        let of = |provider, model, tool: &str| Native::of(provider, model, &spec(tool, tool));
        assert_eq!(of("openai", "gpt-6.1-sol", "shell"), Some(Native::Shell));
        assert_eq!(of("openai", "gpt-5", "apply_patch"), Some(Native::ApplyPatch));
        assert_eq!(of("openai", "gpt-4o", "shell"), None);
        assert_eq!(of("grok", "gpt-6", "shell"), None);
        assert_eq!(of("openai", "gpt-6", "uuid"), None);
        assert_eq!(Native::of("openai", "gpt-6", &spec("wiki", "shell")), None, "of another toolkit");
    }

    #[test]
    fn a_call_and_its_output_go_there_and_back() {
        let item = json!({"type": "shell_call", "id": "i", "call_id": "c", "status": "completed",
            "action": {"type": "exec", "commands": ["ls"], "timeout_ms": 5}});
        let call = Native::called("shell_call").unwrap().read(&item);
        assert_eq!((call.id.as_str(), call.toolkit.as_str()), ("c", "shell"));
        let given: Value = serde_json::from_str(&call.arguments).unwrap();
        assert_eq!(given, json!({"commands": ["ls"], "timeout_ms": 5, "max_output_length": null}));
        let (native, back) = Native::call(&call).unwrap();
        assert_eq!(back["action"]["commands"], json!(["ls"]));
        let result = json!({"outcome": {"type": "exit", "exit_code": 0}, "stdout": "a", "stderr": ""});
        let output = native.output("c", &json!({"results": [result]}).to_string());
        assert_eq!((&output["type"], &output["output"]), (&json!("shell_call_output"), &json!([result])));
        let failed = native.output("c", "no container");
        assert_eq!(failed["output"][0]["stderr"], "no container");

        let operation = json!({"type": "delete_file", "path": "a", "diff": null});
        let item = json!({"type": "apply_patch_call", "id": "i", "call_id": "c", "operation": operation});
        let call = Native::called("apply_patch_call").unwrap().read(&item);
        let (native, back) = Native::call(&call).unwrap();
        assert_eq!(back["operation"], json!({"type": "delete_file", "path": "a"}));
        assert_eq!(native.output("c", "Deleted file: a")["status"], "completed");
        assert_eq!(native.output("c", &failed_text("no such file"))["status"], "failed");
        for bad in ["[]", "{}", "nonsense", r#"{"commands": "ls"}"#] {
            let call = ToolCall {
                arguments: bad.into(),
                toolkit: "shell".into(),
                tool: "shell".into(),
                ..call.clone()
            };
            assert_eq!(Native::call(&call), None, "{bad}");
        }
    }
}
