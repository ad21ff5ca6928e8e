//! Toolkit `tool_search` (`--tool-search`): many tools behind two. The model looks for what it needs and calls what it
//! found, whatever its make. Tools that a person must approve are never among them.

use super::{CallContext, Tool, ToolError, ToolOutput, ToolSpec, Tools, arguments, spec};
use crate::agent::history::ToolCall;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::sync::Arc;

const KIT: &str = "tool_search";
/// Tools that one search shows.
const FOUND_MAX: usize = 8;

/// The two tools for `hidden`; none where nothing is hidden.
pub fn search(hidden: Vec<Arc<dyn Tool>>) -> Vec<Arc<dyn Tool>> {
    if hidden.is_empty() {
        return Vec::new();
    }
    let mut tools = Tools::default();
    tools.extend(hidden);
    let kits: Vec<_> = tools.toolkits().into_iter().collect();
    let about = format!("Finds tools by words: {} tools of {}.", tools.specs().count(), kits.join(", "));
    let find = spec(
        KIT,
        "find_tools",
        &about,
        json!({"query": {"type": "string", "description": "what the tool is to do"}}),
    );
    let properties = json!({
        "toolkit": {"type": "string"},
        "tool": {"type": "string"},
        "arguments": {"type": "object", "description": "as the tool's parameters say"},
    });
    let call = ToolSpec {
        strict: false,
        ..spec(KIT, "call_tool", "Calls a tool that find_tools found.", properties)
    };
    let tools = Arc::new(tools);
    vec![Arc::new(Find { spec: find, tools: tools.clone() }), Arc::new(CallFound { spec: call, tools })]
}

struct Find {
    spec: ToolSpec,
    tools: Arc<Tools>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Query {
    query: String,
}

#[async_trait::async_trait]
impl Tool for Find {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn run(&self, given: Value, _: &CallContext) -> Result<ToolOutput, ToolError> {
        let Query { query } = arguments(given)?;
        let words = words(&query);
        let mut scored: Vec<_> = self
            .tools
            .specs()
            .map(|spec| (score(spec, &words), spec))
            .filter(|(score, _)| *score > 0)
            .collect();
        scored.sort_by(|(a, x), (b, y)| {
            b.cmp(a).then_with(|| (&x.toolkit, &x.tool).cmp(&(&y.toolkit, &y.tool)))
        });
        let shown: Vec<_> = scored
            .iter()
            .take(FOUND_MAX)
            .map(|(_, spec)| {
                json!({"toolkit": spec.toolkit, "tool": spec.tool, "description": spec.description,
                    "parameters": spec.parameters})
            })
            .collect();
        if shown.is_empty() {
            let all: Vec<_> = self.tools.specs().map(|spec| spec.tool.as_str()).take(FOUND_MAX * 8).collect();
            return Ok(format!("no tool fits; among the tools are {}", all.join(", ")).into());
        }
        Ok(json!({"found": scored.len(), "tools": shown}).to_string().into())
    }
}

fn words(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| word.len() > 1);
    words.map(str::to_lowercase).collect()
}

/// A word in a tool's name counts more than one in its description.
fn score(spec: &ToolSpec, wanted: &[String]) -> usize {
    let (name, about) = (words(&format!("{} {}", spec.toolkit, spec.tool)), words(&spec.description));
    let has =
        |all: &[String], word: &String| all.iter().any(|own| own == word || own.starts_with(word.as_str()));
    wanted.iter().map(|word| usize::from(has(&name, word)) * 3 + usize::from(has(&about, word))).sum()
}

struct CallFound {
    spec: ToolSpec,
    tools: Arc<Tools>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Call {
    toolkit: String,
    tool: String,
    #[serde(default)]
    arguments: Map<String, Value>,
}

#[async_trait::async_trait]
impl Tool for CallFound {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn run(&self, given: Value, context: &CallContext) -> Result<ToolOutput, ToolError> {
        let wanted: Call = arguments(given)?;
        let call = ToolCall {
            id: String::new(),
            item_id: context.item_id.clone(),
            toolkit: wanted.toolkit,
            tool: wanted.tool,
            arguments: Value::Object(wanted.arguments).to_string(),
        };
        if self.tools.named(&call).is_none() {
            return Err(format!(
                "there is no tool `{}` in `{}`; find_tools says what there is",
                call.tool, call.toolkit
            )
            .into());
        }
        self.tools.try_run(&call, context).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::System;

    async fn run(tools: &[Arc<dyn Tool>], tool: usize, arguments: Value) -> Result<String, String> {
        let context = CallContext::new("t", "u", "i");
        let done = tools[tool].run(arguments, &context).await;
        done.map(|output| output.text).map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn what_is_hidden_is_found_and_called() {
        assert!(search(Vec::new()).is_empty());
        let mut hidden = super::super::datetime(Arc::new(System));
        hidden.extend(super::super::uuid(Arc::new(System)));
        let tools = search(hidden);
        let found = run(&tools, 0, json!({"query": "make a uuid"})).await.unwrap();
        let found: Value = serde_json::from_str(&found).unwrap();
        assert_eq!(found["tools"][0]["tool"], "uuid_v4", "{found}");
        assert!(run(&tools, 0, json!({"query": "zzz"})).await.unwrap().contains("no tool fits"));
        let call = json!({"toolkit": "uuid", "tool": "uuid_v4", "arguments": {"count": 1}});
        assert!(run(&tools, 1, call).await.unwrap().len() >= 36);
        let wrong = json!({"toolkit": "uuid", "tool": "uuid_v4", "arguments": {"zap": 1}});
        assert!(run(&tools, 1, wrong).await.unwrap_err().contains("do not fit"));
        let none = json!({"toolkit": "x", "tool": "y"});
        assert!(run(&tools, 1, none).await.unwrap_err().contains("there is no tool `y`"));
    }
}
